use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What is read of a text with these arguments, target and contexts.
#[track_caller]
fn read_with(
    text: &str,
    args: &[(&str, &str)],
    target: Option<&str>,
    contexts: &[&str],
) -> Result<External, DockerfileError> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let args: BTreeMap<String, String> = args.iter().map(own).collect();
    let contexts: BTreeSet<String> = contexts.iter().map(|name| (*name).to_owned()).collect();
    let situation = Situation {
        args: &args,
        volatile: &BTreeSet::new(),
        platform: "linux/arm64/v8",
        build_platform: "linux/amd64",
        target,
        contexts: &contexts,
    };
    external(text, &situation)
}

#[track_caller]
fn images(text: &str, args: &[(&str, &str)]) -> String {
    match read_with(text, args, None, &[]) {
        Ok(found) => Vec::from_iter(found.images.into_keys()).join(" "),
        Err(error) => format!("error: {error}"),
    }
}

#[track_caller]
fn unverifiable(text: &str, args: &[(&str, &str)]) -> String {
    match read_with(text, args, None, &[]) {
        Ok(found) => Vec::from_iter(found.unverifiable.into_keys()).join(" "),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn words_expand_as_in_the_builder() {
    let mut variables = Variables::default();
    for (name, value) in [("A", "x"), ("E", ""), ("P", "a.b.c"), ("S", "a/b/a")] {
        variables.set(name, Word::known(value));
    }
    for (text, wanted) in [
        ("$A-${A}", "x-x"),
        ("$Axe$", "$"),
        ("$1a$-", "a"),
        ("${U:-y}${E:-y}", "yy"),
        ("${U-y}${E-z}", "y"),
        ("${A:+z}${E:+z}${U:+z}", "z"),
        ("${A+z}${E+z}${U+z}", "zz"),
        ("${A:?no}${A?no}", "xx"),
        ("${E?no}", ""),
        ("${U:-${U:-${A}}y}", "xy"),
        ("'$A'\"$A\"", "$Ax"),
        ("\\$A\"\\$A\\x\"'\\x'", "$A$A\\x\\x"),
        ("${U:-'$A}'}", "$A}"),
        ("${P#*.}|${P##*.}|${P%.*}|${P%%.*}", "b.c|c|a.b|a"),
        ("${P#?}|${P%?}|${P#x}|${P%\\*}", ".b.c|a.b.|a.b.c|a.b.c"),
        ("${S/a/z}|${S//a/z}|${S//\\//-}|${S/*/-}", "z/b/a|z/b/z|a-b-a|-"),
        ("${U/a/b}|${P/./}|${P//./}", "|ab.c|abc"),
        ("${A//x/'$0$0'}", "xx"),
        ("a<<b", "a<<b"),
    ] {
        assert_eq!(expand(text, &variables, '\\'), Ok(Word::known(wanted)), "{text}");
    }
    assert_eq!(expand("`$A\\$A", &variables, '`'), Ok(Word::known("$A\\x")));
}

#[test]
fn bad_words_are_errors() {
    let variables = Variables::default();
    for text in [
        "${A",
        "${",
        "${}",
        "${:-a}",
        "'a",
        "\"a",
        "${A:-b",
        "${A:#b}",
        "${A!b}",
        "${A/b}",
        "${A/b/c",
        "${A?}",
        "${A:?why}",
        "${A#\\x}",
        "${{A}}",
        "${A:}",
    ] {
        assert!(expand(text, &variables, '\\').is_err(), "{text}");
    }
    let deep = format!("{}{}", "${A:-".repeat(5000), "}".repeat(5000));
    assert!(expand(&deep, &variables, '\\').is_err());
}

#[test]
fn what_a_base_may_set_is_unknown() {
    let mut variables = Variables { open: true, ..Variables::default() };
    variables.set("A", Word::known("x"));
    let open = |text: &str| Ok(Word { text: text.to_owned(), ..Word::unknown() });
    for (text, wanted) in [
        ("a$U", open("a")),
        ("${U:-$A}", open("")),
        ("${U#a}${U/a/b}", open("")),
        ("${A:-$U}", Ok(Word::known("x"))),
        ("${A:+a$U}", open("a")),
    ] {
        assert_eq!(expand(text, &variables, '\\'), wanted, "{text}");
    }
}

#[test]
fn global_arguments_are_filled_in_in_order() {
    for (text, args, wanted) in [
        ("ARG A=1\nFROM d:$A", vec![], "docker.io/library/d:1"),
        ("ARG A=1\nFROM d:$A", vec![("A", "2")], "docker.io/library/d:2"),
        ("ARG A=1 B=$A-$A\nFROM d:$B", vec![], "docker.io/library/d:1-1"),
        ("ARG B=$A A=1\nFROM d:x$B", vec![], "docker.io/library/d:x"),
        ("ARG A=1\nARG B=${A}\nARG A=2\nFROM d:$A$B", vec![], "docker.io/library/d:21"),
        ("ARG A\nFROM d:${A-unset}", vec![], "docker.io/library/d:unset"),
        ("ARG A=\nFROM d:x${A-unset}", vec![], "docker.io/library/d:x"),
        ("ARG A=\"b c\"\nFROM d:${A%?c}", vec![], "docker.io/library/d:b"),
        ("ARG A=1\nFROM d:$A\nARG A=2", vec![], "docker.io/library/d:1"),
        ("FROM d:x$A", vec![("A", "2")], "docker.io/library/d:x"),
        ("FROM $TARGETARCH/$TARGETOS:x$TARGETVARIANT", vec![], "docker.io/arm64/linux:x"),
        ("FROM $BUILDPLATFORM:$TARGETSTAGE", vec![], "docker.io/linux/amd64:default"),
        ("FROM a:$TARGETSTAGE AS Own", vec![], "docker.io/library/a:own"),
        ("FROM $TARGETARCH", vec![("TARGETARCH", "own")], "docker.io/library/own:latest"),
        ("ARG TARGETARCH=own\nFROM $TARGETARCH", vec![], "docker.io/library/own:latest"),
        ("ARG TARGETARCH\nFROM $TARGETARCH", vec![], "docker.io/library/arm64:latest"),
        ("FROM $A", vec![], "error: line 1: the base `$A` is empty"),
        ("ARG A=${X:?why}\nFROM a", vec![], "error: line 1: X: why"),
        ("ARG A=${X:?why}\nFROM a", vec![("A", "1")], "docker.io/library/a:latest"),
    ] {
        assert_eq!(images(text, &args), wanted, "{text}");
    }
}

#[test]
fn stages_are_no_images() {
    for (text, wanted) in [
        ("FROM scratch", ""),
        ("FROM a AS b\nFROM b", "docker.io/library/a:latest"),
        ("FROM b\nFROM a AS b", "docker.io/library/a:latest"),
        ("FROM scratch AS Build\nFROM build", ""),
        // The builder lowers the name of a stage, and does not lower what stands behind FROM.
        ("FROM scratch AS Build\nFROM Build", "error: line 2: invalid image reference `Build`"),
        ("FROM a AS x\nFROM b AS x\nFROM x", "docker.io/library/b:latest"),
        ("FROM a AS x\nFROM scratch\nCOPY --from=X / /", "docker.io/library/a:latest"),
        ("FROM a\nFROM scratch\nCOPY --from=0 / /", "docker.io/library/a:latest"),
        ("FROM scratch\nCOPY --from=a / /\nCOPY --from=1 / /", "docker.io/library/a:latest"),
        ("FROM scratch\nCOPY --from=2 / /", "error: line 2: there is no stage 2"),
        ("FROM scratch\nCOPY --from=l / /\nFROM a AS l\nFROM 0", "docker.io/library/0:latest"),
        (
            "FROM scratch AS t\nCOPY --from=l / /\nFROM a AS l\nFROM t",
            "error: line 1: takes from the stage of line 3, which comes later",
        ),
        ("FROM scratch AS a b", "error: line 1: FROM takes one argument, or three with AS"),
        ("FROM scratch AS 1a", "error: line 1: invalid stage name `1a`"),
        ("FROM a AS scratch\nFROM scratch", "docker.io/library/a:latest"),
        ("FROM --platform=$BUILDPLATFORM a", "docker.io/library/a:latest"),
        ("FROM --platform=$NONE a", "error: line 1: the platform `$NONE` is empty"),
    ] {
        assert_eq!(images(text, &[]), wanted, "{text}");
    }
}

#[test]
fn only_what_the_target_needs_counts() {
    let text = "FROM a AS one\nFROM b AS two\nCOPY --from=c / /\nFROM scratch AS three\n\
        COPY --from=two / /\nFROM one AS four\n";
    for (target, wanted) in [
        (None, vec!["docker.io/library/a:latest"]),
        (Some("ONE"), vec!["docker.io/library/a:latest"]),
        (Some("three"), vec!["docker.io/library/b:latest", "docker.io/library/c:latest"]),
    ] {
        let found = read_with(text, &[], target, &[]).unwrap();
        assert_eq!(Vec::from_iter(found.images.into_keys()), wanted, "{target:?}");
    }
    let error = read_with(text, &[], Some("five"), &[]).unwrap_err();
    assert_eq!(error.to_string(), "the target stage `five` is not in the file");
    let error = read_with("FROM A AS x\nFROM scratch", &[], None, &[]).unwrap_err();
    assert_eq!(error.line, Some(1), "an invalid base counts in a stage that is skipped, too");
}

#[test]
fn mounts_name_images() {
    for (mounts, wanted) in [
        ("--mount=type=bind,from=a,target=/x", "docker.io/library/a:latest"),
        (
            "--mount=from=a,target=/x --mount=target=/y,FROM=b",
            "docker.io/library/a:latest docker.io/library/b:latest",
        ),
        ("--mount=\"type=bind,from=a\" --network=none", "docker.io/library/a:latest"),
        ("--mount='\"from=a\"'", "docker.io/library/a:latest"),
        ("--mount=type=tmpfs,from=a,target=/x", "docker.io/library/a:latest"),
        ("--mount=type=cache,target=/x", ""),
        // A number is a stage for COPY only.
        ("--mount=from=0,target=/x", "docker.io/library/0:latest"),
        ("--mount=from=st,target=/x", ""),
        ("--mount=from=$A,target=/x", "error: line 3: variables are not filled in here: `from=$A`"),
        ("true --mount=from=a,target=/x", ""),
    ] {
        let text = format!("FROM scratch AS ST\nFROM scratch\nRUN {mounts} true\n");
        assert_eq!(images(&text, &[]), wanted, "{mounts}");
    }
    let copy = "ARG A=a\nFROM scratch\nCOPY --from=$A / /\n";
    assert_eq!(images(copy, &[]), "error: line 3: variables are not filled in here: `--from=$A`");
}

#[test]
fn onbuild_acts_in_the_stages_built_from_it() {
    let text = "FROM scratch AS base\nONBUILD COPY --from=a / /\nONBUILD ADD http://h/f /\n";
    assert_eq!((images(text, &[]), unverifiable(text, &[])), (String::new(), String::new()));
    let text = format!("{text}FROM base\n");
    assert_eq!(images(&text, &[]), "docker.io/library/a:latest");
    assert_eq!(unverifiable(&text, &[]), "http://h/f");
}

#[test]
fn named_contexts_stand_in_for_images_and_stages() {
    let debian = "docker.io/library/debian:12";
    for (text, context, image) in [
        ("FROM debian:12", "debian:12", ""),
        ("FROM debian:12", "docker.io/library/debian:12", ""),
        ("FROM docker.io/library/debian", "debian", ""),
        ("FROM debian:latest", "debian", ""),
        ("FROM scratch\nCOPY --from=own / /", "own", ""),
        ("FROM debian:12 AS own", "own", ""),
        ("FROM debian:12 AS own\nCOPY --from=other / /\nFROM own", "own", ""),
        ("FROM scratch\nRUN --mount=from=own,target=/x true", "own", ""),
        ("FROM debian:12 AS scratch", "scratch", debian),
        ("FROM debian:12", "debian", debian),
    ] {
        let found = read_with(text, &[], None, &[context]).unwrap();
        let used: Vec<&str> = found.contexts.iter().map(String::as_str).collect();
        let wanted: &[&str] = if image.is_empty() { &[context] } else { &[] };
        assert_eq!(used, wanted, "{text} with {context}");
        assert_eq!(Vec::from_iter(found.images.into_keys()).join(" "), image, "{text}");
    }
}

#[test]
fn sources_that_nothing_pins_are_found() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    for (line, wanted) in [
        ("ADD http://h/f https://h/g /", "http://h/f https://h/g"),
        ("ADD --checksum=sha256:00 https://h/f /", ""),
        ("ADD --checksum=$NONE https://h/f /", "https://h/f"),
        ("ADD https://h/r.git /", "https://h/r.git"),
        ("ADD git@h:r.git /", "git@h:r.git"),
        ("ADD me@h.x:r#main /", "me@h.x:r#main"),
        ("ADD ssh://git@h/r git://h/r /", "git://h/r ssh://h/r"),
        (&format!("ADD https://h/r.git#{commit} /"), ""),
        (&format!("ADD https://h/r.git#{commit}:sub /"), ""),
        (&format!("ADD https://h/r.git?commit={commit} /"), ""),
        (&format!("ADD https://h/r.git?tag=v1&checksum={commit} /"), ""),
        (&format!("ADD --checksum={commit} https://h/r.git#main /"), ""),
        ("ADD https://h/r.git#0123456 /", "https://h/r.git#0123456"),
        (&format!("ADD https://h/f#{commit} /"), &format!("https://h/f#{commit}")),
        ("ADD github.com/a/b ftp://h/f a:b a@b ./x@y:z /", ""),
        ("ADD [\"http://h/f\", \"/\"]", "http://h/f"),
        ("COPY local /", ""),
        ("ARG U=http://h/\nADD ${U}f /", "${U}f"),
        ("ARG G\nADD $G /", "$G"),
        ("ARG A\nADD $A /", "$A"),
        ("ENV U=http://h\nARG V=$U/f\nADD $V /", "$V"),
        ("ENV U http://h/a b\nADD \"$U\" /", "\"$U\""),
        ("ENV U=a V=$U\nADD http://h/x$V /", "http://h/x$V"),
        ("ADD $G $UNSET /", ""),
        ("ADD <<EOF /x\nhttp://h/f\nEOF", ""),
        ("ONBUILD ADD http://h/f /", ""),
    ] {
        let text = format!("ARG G=http://global\nFROM scratch\n{line}\n");
        assert_eq!(unverifiable(&text, &[("A", "http://arg")]), wanted, "{line}");
    }
}

#[test]
fn no_value_and_no_password_of_a_source_is_shown() {
    for (written, wanted) in [
        ("https://$A@h/f", "https://h/f"),
        ("https://h/f-$A", "https://h/f-$A"),
        ("https://user:pass@h/f", "https://h/f"),
        ("HTTPS://u:p@ss@h/f@1", "HTTPS://h/f@1"),
        ("https://${U:-a/b}:x@h/f", "https://h/f"),
        ("\"https://user:pass@h/f\"", "\"https://h/f\""),
        ("${S}user:pass@h/f", "h/f"),
        ("https://h/f?token=x", "https://h/f"),
        ("https://user@h?token=x", "https://h"),
        ("https://h/r.git?a=b#main", "https://h/r.git#main"),
        ("https://h/r.git#a?b", "https://h/r.git#a"),
        ("https://h/${A?x}?y", "https://h/${A?x}"),
        ("git@h:r.git", "git@h:r.git"),
    ] {
        let text = format!("FROM scratch\nARG A\nARG S=https://\nADD {written} /\n");
        assert_eq!(unverifiable(&text, &[("A", "secret")]), wanted, "{written}");
    }
}

#[test]
fn volatile_arguments_decide_no_base() {
    let refused = |line: usize| {
        let message = "`V` is a volatile argument and decides a base image: put it in args";
        format!("error: line {line}: {message}")
    };
    let debian = || "docker.io/library/debian:latest".to_owned();
    let volatile = BTreeSet::from(["V".to_owned(), "TARGETARCH".to_owned()]);
    let read = |text: &str| {
        let situation = Situation {
            args: &BTreeMap::from([("A".to_owned(), "debian".to_owned())]),
            volatile: &volatile,
            platform: "linux/amd64",
            build_platform: "linux/amd64",
            target: None,
            contexts: &BTreeSet::new(),
        };
        external(text, &situation)
    };
    for (text, wanted) in [
        ("ARG V\nFROM $V", refused(2)),
        ("ARG V=debian\nFROM $V", refused(2)),
        ("ARG V\nARG B=x$V\nFROM d:$B", refused(3)),
        ("ARG V\nFROM debian${V:+x}", refused(2)),
        ("ARG V\nFROM ${V:-debian}", refused(2)),
        ("ARG V\nFROM ${V#x}", refused(2)),
        ("ARG V\nARG A\nFROM ${A/x/$V}", refused(3)),
        ("ARG V\nFROM --platform=$V debian", refused(2)),
        ("FROM $TARGETARCH/debian", refused(1).replace("`V`", "`TARGETARCH`")),
        // Without a declaration there is nothing to fill in.
        ("FROM debian$V", debian()),
        ("ARG V\nFROM debian\nARG V\nRUN x $V", debian()),
        ("ARG V\nARG A\nFROM ${A:-$V}", debian()),
        ("FROM debian\nARG V\nCOPY $V /", debian()),
    ] {
        let found = match read(text) {
            Ok(found) => Vec::from_iter(found.images.into_keys()).join(" "),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(found, wanted, "{text}");
    }
    for (line, wanted) in [
        ("ADD $V /", vec!["$V"]),
        ("ADD http://h/$V /", vec!["http://h/$V"]),
        ("ADD --checksum=$V http://h/f /", vec!["http://h/f"]),
        ("ADD --checksum=sha256:00 http://h/$V /", vec![]),
        ("ADD files/$V /", vec![]),
        ("ENV V=x\nADD $V /", vec![]),
    ] {
        let found = read(&format!("FROM scratch\nARG V=x\n{line}\n")).unwrap();
        assert_eq!(Vec::from_iter(found.unverifiable.into_keys()), wanted, "{line}");
    }
}

#[test]
fn a_volatile_argument_decides_no_frontend() {
    let situation = Situation {
        args: &BTreeMap::new(),
        volatile: &BTreeSet::from(["BUILDKIT_SYNTAX".to_owned()]),
        platform: "linux/amd64",
        build_platform: "linux/amd64",
        target: None,
        contexts: &BTreeSet::new(),
    };
    let error = external("FROM scratch", &situation).unwrap_err().to_string();
    assert!(error.starts_with("`BUILDKIT_SYNTAX` is a volatile argument"), "{error}");
}

#[test]
fn sources_that_a_base_decides_are_unverifiable() {
    for (line, wanted) in [
        ("ADD $URL /", "$URL"),
        ("ADD files/$NAME ./$NAME .$NAME /", ""),
        ("ADD a$NAME /", "a$NAME"),
        ("ADD http://h/$NAME /", "http://h/$NAME"),
        ("ADD --checksum=sha256:00 http://h/$NAME /", ""),
        ("ARG URL=x\nADD $URL /", ""),
        ("ENV $K=x URL=y\nADD $URL /", ""),
        ("ENV URL=y\nENV $K=x\nADD $URL /", "$URL"),
    ] {
        assert_eq!(unverifiable(&format!("FROM debian\n{line}\n"), &[]), wanted, "{line}");
    }
}

#[test]
fn lines_are_read_as_in_the_builder() {
    for (text, wanted) in [
        ("\u{feff}FROM a\r\nRUN x\r\n", "a"),
        ("# c\n\n  from \\\n# c\n\n  a \\\n  as b\n", "a"),
        ("# escape=`\nFROM `\na\n", "a"),
        ("#\n# escape=`\nFROM a\nRUN x `\nFROM b\n", "b"),
        ("FROM a\nRUN cat <<EOF > /x\nFROM b\nEOF\n", "a"),
        ("FROM a\nRUN <<A <<B\nFROM b\nA\nFROM c\nB\nRUN x", "a"),
        ("FROM a\nRUN 3<<-'E F' cat\nFROM b\n\tE F\n", "a"),
        ("FROM a\nCOPY <<A <<\"B\" /x/\nFROM b\nA\nFROM c\nB\n", "a"),
        ("FROM a\nRUN echo \"<<EOF\"\nRUN x", "a"),
        ("FROM a\nRUN echo $((1<<2))\nRUN x", "a"),
        ("FROM a\nRUN echo 1<<2\nRUN x", "error: line 2"),
        ("FROM a\nRUN [\"x\", \"<<EOF\"]\nRUN x", "a"),
        ("FROM a\nONBUILD RUN <<EOF\nFROM b\nEOF\n", "a"),
        ("FROM a\nRUN <<EOF\nFROM b\n", "error: line 2"),
        ("FROM a\nRUN x \\\\\nRUN y", "a"),
        ("FROM a\nRUN x \\  \n  FROM b\n", "a"),
        ("FROM a\nNOPE x\n", "error: line 2"),
        ("RUN x\nFROM a\n", "error: line 1"),
        ("# escape=x\nFROM a", "error: line 1"),
        ("# escape=`\n# escape=`\nFROM a", "error: line 2"),
        ("", "error: the file has no FROM"),
        ("# only\n", "error: the file has no FROM"),
        ("ARG A\n", "error: the file has no FROM"),
        ("ARG =a\nFROM a", "error: line 1"),
        ("FROM a\nCOPY --link --chown=1 --from=b x y\n", "a b"),
        ("FROM \"a\"", "a"),
        ("FROM a@sha256:00", "error: line 1"),
    ] {
        let found = images(text, &[]);
        let short = found.replace("docker.io/library/", "").replace(":latest", "");
        let short = short.split(": ").take(2).collect::<Vec<_>>().join(": ");
        assert_eq!(short, wanted, "{text}: {found}");
    }
}

#[test]
fn references_have_one_spelling() {
    let digest = format!("sha256:{}", "0".repeat(64));
    for (written, wanted) in [
        ("debian", Some("docker.io/library/debian:latest")),
        ("index.docker.io/debian", Some("docker.io/library/debian:latest")),
        ("docker.io/a/b:c", Some("docker.io/a/b:c")),
        ("localhost/a", Some("localhost/a:latest")),
        ("h:5000/a:b", Some("h:5000/a:b")),
        ("[::1]:5000/a", Some("[::1]:5000/a:latest")),
        ("Own/a", Some("Own/a:latest")),
        ("a__b/c-d.e--f", Some("docker.io/a__b/c-d.e--f:latest")),
        (&format!("a@{digest}"), Some(&format!("docker.io/library/a@{digest}"))),
        (&format!("a:b@{digest}"), Some(&format!("docker.io/library/a:b@{digest}"))),
        ("a..b", None),
        ("a:", None),
        ("a:-b", None),
        ("-a", None),
        ("A", None),
        ("a b", None),
        ("a//b", None),
        ("h:x/a", None),
        (&"0".repeat(64), None),
        ("", None),
    ] {
        assert_eq!(normalized(written).ok().as_deref(), wanted, "{written}");
    }
}

#[test]
fn the_frontend_is_read() {
    for (text, args, wanted) in [
        ("# syntax=docker/dockerfile:1 x\nFROM a", vec![], Some("docker/dockerfile:1")),
        ("#!x\n# check=skip=all\n#Syntax = a/b\nFROM a", vec![], Some("a/b")),
        ("# c\n# syntax=a/b\nFROM a", vec![], None),
        ("# syntax=a/b\nFROM a", vec![("BUILDKIT_SYNTAX", "c d")], Some("c")),
    ] {
        let found = read_with(text, &args, None, &[]).unwrap();
        assert_eq!(found.syntax.as_deref(), wanted, "{text}");
    }
    let found = read_with("\n// syntax=a/b\n", &[], None, &[]);
    assert!(found.is_err(), "not at the top");
    for text in ["// syntax=a/b\nx: y\n", "# syntax=a/b\nx: y\n", "{\"syntax\": \"a/b\"}"] {
        let found = read_with(text, &[], None, &[]).unwrap();
        let notes = Vec::from_iter(found.unverifiable);
        assert_eq!(notes, [("the syntax a/b is not known to tg".to_owned(), 1)], "{text}");
    }
    for own in ["docker/dockerfile", "docker.io/docker/dockerfile-upstream:master"] {
        assert!(read_with(&format!("# syntax={own}\nx: y\n"), &[], None, &[]).is_err(), "{own}");
    }
}

#[test]
fn uses_and_declarations_are_noted() {
    let text = "ARG A B=1\nFROM a\nARG C\nONBUILD ARG D=1\nFROM a\nCOPY \\\n --from=a / /\n";
    let found = read_with(text, &[], None, &[]).unwrap();
    assert_eq!(Vec::from_iter(found.declared), ["A", "B", "C", "D"]);
    assert_eq!(found.images["docker.io/library/a:latest"], [5, 6]);
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = read_with(&text, &[], None, &[]);
    }

    #[test]
    fn nothing_that_looks_like_a_dockerfile_panics(
        parts in prop::collection::vec(prop::sample::select(vec![
            "FROM ", "ARG ", "ENV ", "ADD ", "COPY ", "RUN ", "ONBUILD ", "--from=", "--mount=from=",
            "--checksum=", "--platform=", "a", "A", "=", "$A", "${A", ":-", "#", "%", "/", "}", "'",
            "\"", "\\", "`", "\n", "\r\n", " ", "\t", "<<", "<<-E", "E", "[", "]", "0", "é", "\u{a0}",
            "# escape=`\n", "# syntax=a\n", " AS ", "scratch", "http://", "git@h:", "*", "?", "//", ",",
        ]), 0..60),
    ) {
        let text = format!("ARG A=1\nFROM scratch AS a\n{}", parts.concat());
        let _ = read_with(&text, &[("A", "x")], None, &["a"]);
        let _ = read_with(&parts.concat(), &[], Some("a"), &[]);
    }
}
