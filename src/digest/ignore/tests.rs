use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// Walks down to the path as the builder does.
fn excludes(rules: &IgnoreRules, path: &str) -> Result<bool, BadPattern> {
    rules.explain(path.as_bytes()).map(|explanation| explanation.excluded)
}

#[track_caller]
fn check(file: &str, excluded: &[&str], kept: &[&str]) {
    let rules = IgnoreRules::parse(file.as_bytes()).unwrap();
    for path in excluded {
        assert_eq!(excludes(&rules, path), Ok(true), "{file:?} must exclude {path:?}");
    }
    for path in kept {
        assert_eq!(excludes(&rules, path), Ok(false), "{file:?} must keep {path:?}");
    }
}

#[test]
fn patterns_mean_what_the_builder_means() {
    check("target", &["target", "target/debug/x"], &["sub/target", "targets", "Target"]);
    check("/target/", &["target"], &["a/target"]);
    check("**/target", &["target", "a/target", "a/b/target/x"], &["a/targets"]);
    check("dir/**", &["dir/a", "dir/a/b"], &["dir", "dirx/a"]);
    check("dir**", &["dir", "dir/a", "dirx"], &["di"]);
    check("**/dir/**", &["dir/a", "x/dir/a"], &["dir", "x/dir"]);
    check("*.md", &["a.md", ".md"], &["sub/a.md"]);
    check("**/*.md", &["a.md", "sub/a.md"], &["a.mdx"]);
    check("*/*", &["a/b", "a/b/c"], &["a"]);
    check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["b", "a/xb"]);
    check("a/**b", &["a/b", "a/x/b"], &["a/xb"]);
    check("**x", &["x", "a/x", "ax", "a/bx"], &["xa"]);
    check("**", &["a", "a/b"], &[]);
    check("?.txt", &["a.txt", "é.txt"], &["ab.txt", ".txt", "/.txt"]);
    check("a?b", &["a b"], &["a/b"]);
    check("{a,b}", &["{a,b}"], &["a", "b"]);
    check("*.{js,ts}", &["a.{js,ts}"], &["a.js"]);
    check("a.b", &["a.b"], &["axb"]);
    check("a+b$(x)", &["a+b$(x)"], &["aab$(x)"]);
    check("./a/../b", &["b"], &["a"]);
    check("..", &[], &["a"]);
    check("../a", &[], &["a"]);
    check(".", &[], &["a"]);
    check("/", &[], &["a"]);
}

#[test]
fn classes_are_those_of_go() {
    check("[a-c].x", &["a.x", "c.x"], &["d.x", "-.x"]);
    check("[^a].x", &["b.x", "é.x"], &["a.x"]);
    check("[!a].x", &["!.x", "a.x"], &["b.x"]);
    check("[a&&b]", &["a", "b", "&"], &["c"]);
    check("[a~~b]", &["~"], &["c"]);
    check("[[a]", &["[", "a"], &["b"]);
    check(r"[\]a]", &["]", "a"], &[r"\"]);
    check(r"[\-a]", &["-", "a"], &[r"\"]);
    check("[+-.]", &["+", ",", "-", "."], &["a", r"\"]);
    check("[[:alpha:]]", &["a", "Z"], &["1", ":", "é"]);
    check("[[:^alpha:]]", &["1", "é"], &["a"]);
    check("[[:a]", &["[", ":", "a"], &["b"]);
    check("[é-ö]", &["ì"], &["e"]);
    check("a]", &["a]"], &["a"]);
    // What stands between brackets is rewritten as anywhere else: `[[^/]*]` and `[[^/]]`.
    check("[*]", &["]", "^[[]"], &["*", "a", "a]"]);
    check("[?]", &["[]", "^]"], &["?", "a"]);
    check("[**]", &["(", ".", "*", "?", ")"], &["a", "**"]);
}

#[test]
fn escapes_reach_go() {
    check(r"a\*b", &["a*b"], &["axb"]);
    check(r"\[a\]", &["[a]"], &["a"]);
    check(r"\d", &["1"], &["d", "٣"]);
    check(r"\D", &["d", "٣"], &["1"]);
    check(r"\w\W\s\S", &["a. b"], &["é. b"]);
    check(r"a\b.b", &["a.b"], &["axb"]);
    check(r"a\Bb", &["ab"], &["a", "b"]);
    check(r"\x41\101\t", &["AA\t"], &["x41101t"]);
    check(r"\x{41}", &["A"], &["x{41}"]);
    check(r"\x{d800}|a", &["a"], &["\u{fffd}"]);
    check(r"[\x{d7ff}-\x{e000}]", &["\u{d7ff}", "\u{e000}"], &["a"]);
    check(r"\pL", &["a", "é"], &["1"]);
    check(r"\P{Greek}", &["a"], &["α"]);
    check(r"[\p{^L}x]", &["1", "x"], &["a"]);
    check(r"\p{Any}\p{Lu}", &["1A"], &["1a"]);
    check(r"\Aa\z", &["a"], &["Aaz"]);
    // A last backslash takes the end of the expression with it.
    check(r"a*\", &["a$", "ab$c"], &["a", r"ab\"]);
    // `\Q` quotes what `*` was rewritten to, and the end of the expression, too.
    check(r"\Qa*", &["a[^/]*$", "a[^/]*$b"], &["a", "ab"]);
    check(r"\Qa*\Eb", &["a[^/]*b"], &["aab"]);
}

#[test]
fn oversights_of_the_builder_are_kept() {
    // Outside of plain patterns, `|` and `{2}` are operators.
    check("a|b", &["a|b"], &["a", "b"]);
    check("a|b*", &["a", "ax", "ax/y", "xb", "c/b"], &["c", "c/d"]);
    check("a{2}*", &["aa", "aab"], &["a", "a{2}"]);
    check("a{1,2}?", &["ab", "aab"], &["b"]);
    check("a{01}?", &["a{01}b"], &["ab"]);
    check("x*|", &["anything"], &[]);
    // A `^` is one, too.
    check("^a*", &["ab"], &["^ab"]);
    check("a^b", &["a^b"], &[]);
    check("a^*", &[], &["a^b", "ab"]);
    // A rule that could change nothing is not asked, and then is not known to have matched the directory.
    check("a/b\n!a", &["a/b"], &["a", "a/c"]);
    check("a\n!a/b\na", &["a", "a/c"], &["a/b"]);
    // The byte order mark is skipped only where there is an expression.
    check("x\n\u{feff}a*", &["ab"], &["\u{feff}ab"]);
    check("x\n\u{feff}a", &["\u{feff}a"], &["a"]);
}

#[test]
fn the_last_match_wins() {
    check("*\n!keep", &["a", "b/c"], &["keep", "keep/below"]);
    check("**\n!keep/a", &["keep", "keep/b"], &["keep/a", "keep/a/x"]);
    check("!a\na", &["a"], &[]);
    check("a\n!a/b\na/b/c", &["a", "a/b/c"], &["a/b", "a/b/d"]);
    check("a\n!a/*.md\na/x.md", &["a/b", "a/x.md"], &["a/y.md"]);
}

#[test]
fn newlines_in_names_are_matched() {
    check("a*", &["a\nb"], &[]);
    check("a?b", &["a\nb"], &[]);
    // The dot behind `**` does not match one.
    check("x/**/b*", &["x/y/b"], &["x/\n/b"]);
    check("**/b", &["\n/b"], &[]);
}

#[test]
fn bytes_that_are_no_text_are_matched() {
    for (file, path, excluded) in [
        (&b"a?"[..], &b"a\xff"[..], true),
        (b"a?", b"a\xe2\x82", false),
        (b"a??", b"a\xe2\x82", true),
        (b"a*", b"a\xff", true),
        (b"a\xff", b"a\xff", false),
        (b"a\xff", "a\u{fffd}".as_bytes(), true),
        (b"a\xff*", b"a\xffb", true),
        (b"a\xff*", b"a\xfeb", true),
        (b"**/\xff", b"\xff", false),
    ] {
        let rules = IgnoreRules::parse(file).unwrap();
        let verdict = rules.verdict(&Matched::default(), path).unwrap();
        assert_eq!(verdict.excluded, excluded, "{} {}", file.escape_ascii(), path.escape_ascii());
    }
}

#[test]
fn lines_are_read_as_the_builder_reads_them() {
    for (file, expected) in [
        ("\u{feff}a\r\n# comment\n\n  b  \n  # c\n! d", "1 a, 4 b, 5 # c, 6 !d, "),
        ("\u{feff}# comment\n#\n \t \n\r", ""),
        ("/a/\n//b//c\n./d/.\n/../e", "1 a, 2 b/c, 3 d, 4 e, "),
        ("!  /a ", "1 !a, "),
        ("\u{a0}a\u{3000}", "1 a, "),
        // What a leading slash or dot hid is read once more.
        ("/!a\n./!b\nx/../!c\n/ d\n/#e", "1 !a, 2 !b, 3 !c, 4 d, 5 #e, "),
        ("!!a\n! / b\n/ !c\n/ ", "1 !!a, 2 ! b, 3 !c, 4 /, "),
        ("/ /\nx /.", "2 x, "),
        ("a*\\ ", "1 a*\\, "),
    ] {
        let rules = IgnoreRules::parse(file.as_bytes()).map_err(|bad| bad.message);
        let rules = rules.unwrap_or_else(|message| panic!("{file:?}: {message}"));
        let read = rules.rules().iter().fold(String::new(), |mut read, rule| {
            let mark = if rule.keeps { "!" } else { "" };
            write!(read, "{} {mark}{}, ", rule.line, rule.pattern).unwrap();
            read
        });
        assert_eq!(read, expected, "{file:?}");
    }
    assert_eq!(IgnoreRules::parse(b" !  ./a ").unwrap().rules()[0].text, "!  ./a");
    assert!(IgnoreRules::parse(b"# nothing\n").unwrap().is_empty());
}

#[test]
fn malformed_lines_are_errors_with_their_number() {
    let (fits, long) = ("a".repeat(65_535), "#".repeat(65_536));
    for (file, line) in [
        ("a\n!", 2),
        ("!/", 1),
        ("/!", 1),
        ("[", 1),
        ("[a", 1),
        ("[^", 1),
        ("[^]", 1),
        ("[a-", 1),
        ("[a-]", 1),
        ("[-a]", 1),
        ("[a-]]", 1),
        ("\n\n[]", 3),
        ("[]a]", 1),
        ("*[", 1),
        (".[", 1),
        ("\\.[", 1),
        ("a[", 1),
        ("\\", 1),
        ("*\\", 1),
        ("a\tb", 1),
        ("a\n/\tb", 2),
        ("a\u{7f}", 1),
        (&long, 1),
        (&format!("{fits}\n{long}"), 2),
        (&format!("\u{feff}{fits}"), 1),
    ] {
        let result = IgnoreRules::parse(file.as_bytes()).map(|_| ());
        assert_eq!(result.unwrap_err().line, line, "{:?}", &file[..file.len().min(20)]);
    }
    for file in ["x*[", "[a]*[", "a\tb\né", "#\t", "\ta\t", "x\n**b*\\", "[z-a]", r"\y", &fits] {
        assert!(IgnoreRules::parse(file.as_bytes()).is_ok(), "{file:?}");
    }
}

#[test]
fn some_patterns_are_malformed_only_once_asked() {
    for pattern in [
        "[z-a]",
        "x*[",
        r"\y",
        r"\1",
        r"\é",
        r"\xg0",
        r"\x{110000}",
        r"\x{}",
        r"\C",
        r"\p",
        r"\pX",
        r"\p{Nope}",
        r"\p{L",
        r"[\b]",
        "[[:nope:]]",
        "[[:a]b:]",
        "x{2,1}?",
        "x{1001}?",
        "*{2}",
        "?|{2}",
        r"\E",
    ] {
        let rules = IgnoreRules::parse(format!("a\n{pattern}").as_bytes()).unwrap();
        assert_eq!(excludes(&rules, "a"), Ok(true), "{pattern}: decided before");
        let error = excludes(&rules, "b").unwrap_err();
        assert_eq!(error.line, 2, "{pattern}");
        let rules = IgnoreRules::parse(format!("!{pattern}").as_bytes()).unwrap();
        assert_eq!(excludes(&rules, "b"), Ok(false), "{pattern}: nothing to keep");
    }
}

#[test]
fn an_excluded_directory_is_pruned_only_when_nothing_below_can_be_kept() {
    for (file, walked, pruned) in [
        ("*", &[][..], &["a", "a/b"][..]),
        ("*\n!src/main.rs\n!docs", &["src", "src/main.rs", "docs"], &["docs/deep", "sr", "target"]),
        ("*\n!a/b/**", &["a", "a/b"], &["a/b/c", "b"]),
        ("*\n!a/b/*", &["a", "a/b"], &["a/b/c", "b"]),
        ("*\n!a/b/*/**", &["a", "a/b"], &["a/b/c", "b"]),
        ("*\n!a/b/**/*", &["target"], &[]),
        ("*\n!**/x", &["target"], &[]),
        ("*\n![x]", &["target"], &[]),
        ("*\n!a^", &["target"], &[]),
        ("*\n!a\\b", &["target"], &[]),
        ("*\n!a?", &["target"], &[]),
    ] {
        let rules = IgnoreRules::parse(file.as_bytes()).unwrap();
        for path in walked {
            assert!(!rules.prunes(path.as_bytes()), "{file:?} {path}");
        }
        for path in pruned {
            assert!(rules.prunes(path.as_bytes()), "{file:?} {path}");
        }
    }
    // What the rules say about a path below a pruned directory does not count.
    check("a\n!c|a/*", &["a/b"], &[]);
    check("a\n!c|a/*\n!x*", &[], &["a/b"]);
}

#[test]
fn explanations_name_the_rule_and_where_it_matched() {
    let rules = IgnoreRules::parse(b"target\n**/tmp\n!a/tmp/keep\n*.md").unwrap();
    for (path, excluded, line, at, pruned) in [
        ("src/x", false, None, "src/x", None),
        ("a.md", true, Some(4), "a.md", None),
        ("target/debug/x", true, Some(1), "target", Some("target")),
        ("a/tmp/other", true, Some(2), "a/tmp", None),
        ("a/tmp/keep/x", false, Some(3), "a/tmp/keep", None),
        ("b/tmp/keep", true, Some(2), "b/tmp", Some("b/tmp")),
    ] {
        let explanation = rules.explain(path.as_bytes()).unwrap();
        assert_eq!(explanation.excluded, excluded, "{path}");
        assert_eq!(explanation.by.map(|rule| rule.line), line, "{path}");
        assert_eq!(explanation.at, at.as_bytes(), "{path}");
        assert_eq!(explanation.pruned, pruned.map(str::as_bytes), "{path}");
        assert!(!explanation.emptied, "{path}");
    }
}

#[test]
fn a_file_that_the_builder_lists_but_does_not_open_is_told() {
    let rules = IgnoreRules::parse(b"a\n!a/b\na").unwrap();
    assert!(rules.explain(b"a/b").unwrap().emptied);
    let rules = IgnoreRules::parse(b"a\n!a/b").unwrap();
    assert!(!rules.explain(b"a/b").unwrap().emptied);
}

#[test]
fn more_rules_than_bits_in_a_word_are_kept_apart() {
    let mut file: String = (0..200).fold(String::new(), |file, n| file + &format!("d{n}\n"));
    file.push_str("!d130/x\n");
    let rules = IgnoreRules::parse(file.as_bytes()).unwrap();
    for (path, excluded) in [("d0/x", true), ("d64/x", true), ("d130/x", false), ("d130/y", true)] {
        assert_eq!(excludes(&rules, path), Ok(excluded), "{path}");
    }
    assert_eq!(rules.explain(b"d130/y").unwrap().by.map(|rule| rule.line), Some(131));
}

proptest! {
    #[test]
    fn any_bytes_are_rules_or_an_error(
        file in prop_oneof![
            any::<Vec<u8>>(),
            r"([!/ab*?\[\]^\\{}|.,:0-9pQExdwsb\n é-]|\[:alpha:\]){0,40}".prop_map(String::into_bytes),
        ],
        path in r"[ab/*\[\]\n é]{0,8}",
    ) {
        match IgnoreRules::parse(&file) {
            Err(bad) => prop_assert!(bad.line >= 1 && !bad.message.is_empty()),
            Ok(rules) => {
                // An error here is a verdict, too; what must not happen is a panic.
                let walked = rules.explain(path.as_bytes());
                prop_assert!(walked.is_ok() || !rules.is_empty());
                let _ = rules.refuses_to_open(path.as_bytes());
            }
        }
    }

    #[test]
    fn directories_with_and_without_exceptions_agree(
        names in proptest::collection::vec("[ab]{1,2}", 1..4),
        pattern in "[ab*/?]{1,5}",
    ) {
        // An exception that never matches turns pruning off and must change nothing else.
        let path = names.join("/");
        let pruning = IgnoreRules::parse(pattern.as_bytes()).unwrap();
        let walking = IgnoreRules::parse(format!("{pattern}\n!?nothing").as_bytes()).unwrap();
        prop_assert_eq!(excludes(&pruning, &path), excludes(&walking, &path));
    }
}
