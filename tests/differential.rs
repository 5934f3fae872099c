//! What `tg` takes for the build context against what the real builder copies, for random trees and ignore files:
//! `cargo test --test differential -- --ignored`. `TG_DIFFERENTIAL_CASES` says how many cases to try.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tg::digest::contents;
use tg::digest::ignore::IgnoreRules;
use tg::digest::tree::{Content, Entry};

/// Paths below the context; those that end in a slash are directories.
type Paths = BTreeSet<String>;

/// A context and its ignore file.
#[derive(Clone)]
struct Case {
    paths: Paths,
    ignore: Vec<u8>,
    /// The ignore file is beside the Dockerfile, not in the context.
    beside: bool,
}

impl Debug for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ignore, place) =
            (self.ignore.escape_ascii(), if self.beside { "Dockerfile" } else { "" });
        write!(formatter, "{place}.dockerignore: \"{ignore}\", paths: {:?}", self.paths)
    }
}

/// What arrives: every path, and whether it is a file without bytes.
type Arrived = BTreeMap<Vec<u8>, bool>;

// ---- both sides

/// What `tg` says arrives, or why it refuses the ignore file.
fn expected(context: &Path, ignore: &[u8]) -> Result<Arrived, String> {
    let rules =
        IgnoreRules::parse(ignore).map_err(|bad| format!("{}: {}", bad.line, bad.message))?;
    let read = contents::read(context, &rules, None).map_err(|error| format!("{error:?}"))?;
    let empty = |path: &[u8], entry: &Entry| {
        matches!(entry.content, Content::File(_))
            && (entry.stat.size == 0 || rules.refuses_to_open(path))
    };
    Ok(read.tree.iter().map(|(path, entry)| (path.to_vec(), empty(path, entry))).collect())
}

/// What the builder copies, or why it refuses the ignore file.
fn copied(dockerfile: &Path, context: &Path, output: &Path) -> Result<Arrived, String> {
    let run = Command::new("docker")
        .args(["buildx", "build", "--progress=plain", "--provenance=false", "-f"])
        .arg(dockerfile)
        .arg(format!("--output=type=local,dest={}", output.display()))
        .arg(context)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .output()
        .unwrap();
    if run.status.success() {
        let mut arrived = Arrived::new();
        collect(output, &mut Vec::new(), &mut arrived);
        return Ok(arrived);
    }
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    let refusals = [
        "syntax error in pattern",
        "illegal exclusion pattern",
        "non-printable ASCII characters",
        "token too long",
    ];
    assert!(refusals.iter().any(|refusal| said.contains(refusal)), "the build failed: {said}");
    Err(said)
}

fn collect(directory: &Path, prefix: &mut Vec<u8>, arrived: &mut Arrived) {
    for child in fs::read_dir(directory).unwrap() {
        let child = child.unwrap();
        let before = prefix.len();
        prefix.extend(child.file_name().into_vec());
        let metadata = child.metadata().unwrap();
        arrived.insert(prefix.clone(), metadata.is_file() && metadata.len() == 0);
        if metadata.is_dir() {
            prefix.push(b'/');
            collect(&child.path(), prefix, arrived);
        }
        prefix.truncate(before);
    }
}

fn lay_out(case: &Case, context: &Path, dockerfile: &Path) {
    fs::write(dockerfile, "FROM scratch\nCOPY . /\n").unwrap();
    for path in &case.paths {
        let whole = context.join(path);
        if path.ends_with('/') {
            fs::create_dir_all(whole).unwrap();
        } else {
            fs::create_dir_all(whole.parent().unwrap()).unwrap();
            fs::write(whole, "not empty").unwrap();
        }
    }
    let ignore = if case.beside {
        dockerfile.with_file_name("Dockerfile.dockerignore")
    } else {
        context.join(".dockerignore")
    };
    fs::write(ignore, &case.ignore).unwrap();
}

/// The difference between the two sides, in words.
fn difference(case: &Case) -> Result<(), String> {
    let name = |prefix| tempfile::Builder::new().prefix(prefix).rand_bytes(12).tempdir().unwrap();
    // The builder remembers contexts by the name of their directory: each has to have its own.
    let (context, outside) = (name("tg-test-differential-"), name("tg-test-output-"));
    let dockerfile = outside.path().join("Dockerfile");
    lay_out(case, context.path(), &dockerfile);
    let ours = expected(context.path(), &case.ignore);
    let theirs = copied(&dockerfile, context.path(), &outside.path().join("out"));
    let said = |side: &Result<Arrived, String>| match side {
        Err(message) => format!("refuses: {message}"),
        Ok(arrived) => arrived.iter().fold(String::new(), |said, (path, empty)| {
            format!(
                "{said} {:?}{}",
                path.escape_ascii().to_string(),
                if *empty { " (empty)" } else { "" }
            )
        }),
    };
    match (&ours, &theirs) {
        (Err(_), Err(_)) => Ok(()),
        (Ok(ours), Ok(theirs)) if ours == theirs => Ok(()),
        _ => Err(format!("{case:?}\n  tg:      {}\n  builder: {}", said(&ours), said(&theirs))),
    }
}

// ---- random cases

/// Few names, so that patterns hit paths, and now and then one of those with a meaning in patterns.
fn name() -> impl Strategy<Value = String> {
    let plain = ["a", "a", "b", "b", "ab", "c"];
    let names = [
        "a b", " a", ".a", "a.b", "#a", "!a", "[a]", "*", "é", "aé", "a\nb", "a\\", "a+b", "a-",
        "{a}", "^a", "a|b", "a%41", "1",
    ];
    prop_oneof![3 => one_of(&plain), 1 => one_of(&names)]
}

fn one_of(texts: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    proptest::sample::select(texts.to_vec()).prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    (proptest::collection::vec(name(), 1..5), any::<bool>()).prop_map(|(names, directory)| {
        names.join("/") + if directory && names.len() % 2 == 0 { "/" } else { "" }
    })
}

/// Paths of which none is a file and a directory at once.
fn paths() -> impl Strategy<Value = Paths> {
    proptest::collection::btree_set(path(), 0..12).prop_map(|paths| {
        let above = |path: &str| paths.iter().any(|other| other.starts_with(&format!("{path}/")));
        paths.iter().filter(|path| !above(path)).cloned().collect()
    })
}

fn piece() -> impl Strategy<Value = String> {
    let wild = ["*", "**", "**/", "/**", "?", "/", "/", "/*"];
    let odd = [
        "[a-c]",
        "[^a]",
        "[!a]",
        "[",
        "]",
        "[^",
        "-",
        "^",
        "\\",
        "\\*",
        "\\d",
        "\\W",
        "\\b",
        "\\Q",
        "\\E",
        "\\x61",
        "\\pL",
        "\\p{L}",
        "{1,2}",
        "{2}",
        "{",
        "}",
        "|",
        "(",
        ")",
        "+",
        "$",
        ".",
        "..",
        "./",
        " ",
        "#",
        "!",
        "%",
        "[[:alpha:]]",
        "[:",
        "[z-a]",
        "\u{feff}",
        "\t",
        "\r",
        "~~",
    ];
    prop_oneof![
        5 => name(),
        5 => one_of(&wild),
        1 => one_of(&odd),
    ]
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let marks = ["", "", "", "!", "!", " ", "#", "/", "! ", "!/"];
    let pattern = prop_oneof![
        // Paths that exist, with something wild at their end.
        3 => (path(), proptest::sample::select(["", "", "/", "/*", "/**", "*"].to_vec()))
            .prop_map(|(path, end)| format!("{}{end}", path.trim_end_matches('/'))),
        6 => proptest::collection::vec(piece(), 0..5).prop_map(|pieces| pieces.concat()),
    ];
    let not_text =
        prop_oneof![40 => Just(&b""[..]), 1 => Just(&b"\xff"[..]), 1 => Just(&b"\xe2\x82"[..])];
    (proptest::sample::select(marks.to_vec()), pattern, not_text).prop_map(
        |(mark, pattern, not_text)| [mark.as_bytes(), pattern.as_bytes(), not_text].concat(),
    )
}

fn case() -> impl Strategy<Value = Case> {
    let end = proptest::sample::select([&b"\n"[..], b"\n", b"\n", b"\r\n"].to_vec());
    let lines = proptest::collection::vec(line(), 0..6);
    (paths(), lines, end, any::<bool>()).prop_map(|(paths, lines, end, beside)| Case {
        paths,
        ignore: lines.join(end),
        beside,
    })
}

#[test]
#[ignore = "needs docker"]
fn random_contexts_arrive_as_tg_says() {
    let cases = std::env::var("TG_DIFFERENTIAL_CASES").ok().map(|cases| cases.parse().unwrap());
    let config = Config {
        cases: cases.unwrap_or(250),
        failure_persistence: None,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let result =
        TestRunner::new(config).run(&case(), |case| difference(&case).map_err(TestCaseError::fail));
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// Cases that are all refused, or all kept, would find nothing.
#[test]
fn random_contexts_are_of_every_sort() {
    let mut runner = TestRunner::deterministic();
    let (mut refused, mut partly, mut wholly) = (0, 0, 0);
    for _ in 0..400 {
        let case = case().new_tree(&mut runner).unwrap().current();
        let context = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        lay_out(&case, context.path(), &outside.path().join("Dockerfile"));
        let all = expected(context.path(), b"").unwrap().len();
        match expected(context.path(), &case.ignore) {
            Err(_) => refused += 1,
            Ok(arrived) if arrived.len() == all => wholly += 1,
            Ok(_) => partly += 1,
        }
    }
    let sorts = [refused, partly, wholly];
    assert!(sorts.iter().all(|count| *count >= 40), "refused, partly, wholly kept: {sorts:?}");
}

// ---- cases that were once different, or that chance finds too seldom

#[test]
#[ignore = "needs docker"]
fn known_quirks_are_the_builder_s() {
    let long = "a".repeat(65_535);
    let too_long = "#".repeat(65_536);
    let table: &[(&str, &str)] = &[
        // Kinds of patterns.
        ("**x", "x ax a/x a/bx xa"),
        ("a**", "a/b ab b/a"),
        ("a/**", "a/b/c ab"),
        ("a/**/b", "a/b a/x/b a/xb b"),
        ("**/*.md", "a.md b/a.md b/a.mdx"),
        ("**/d/**", "d/a x/d/a x/d/"),
        // Rules that are not asked.
        ("a/b\n!a", "a/b a/c"),
        ("a\n!a/b\na", "a/b a/c"),
        ("a\n!a/b/c\na\n!a/b", "a/b/c a/b/d a/c"),
        // Pruning.
        ("*\n!a/b/c", "a/b/c a/b/d a/c b/c"),
        ("a\n!c|a/*", "a/b"),
        ("a\n!c|a/*\n!x*", "a/b"),
        ("*\n!a^\n!b", "a/b c/b b/c"),
        // Lines.
        ("\u{feff}a\r\n b \n #c\n#d", "a b #c #d c d"),
        ("/!a\n./!b\n/ c\nx/../d\n*", "a b c d e"),
        ("!/", "a"),
        ("/!", "a"),
        ("!", "a"),
        ("x\n\u{feff}a*", "a ab"),
        ("x\n\u{feff}a", "a ab"),
        ("a\tb", "a"),
        ("a\tb\né", "a\tb é"),
        ("/\tb", "b"),
        (&long, "a"),
        (&too_long, "a"),
        // Operators that are not escaped.
        ("a|b*", "a ax xb c/b d"),
        ("a{2}*", "aa aab a{2} a"),
        ("a{01}?", "a{01}b a"),
        ("{a,b}*", "{a,b}x a b"),
        ("x*|", "a"),
        ("^a*", "ab ^ab"),
        // Classes and escapes.
        ("[*]", "] a] [ *"),
        ("[?]", "[] ? a"),
        ("[a&&b]", "a b & c"),
        ("[[:alpha:]]", "a 1 : é"),
        (r"\d\w", "11 dw ٣1"),
        (r"\pL", "a é 1"),
        (r"\pl", "a é 1"),
        (r"\p{Greek}*", "αβ b"),
        (r"\x{61}", "a x{61}"),
        (r"\Qa*", "a a[^/]*$b"),
        (r"a*\", "a$b a"),
        // Malformed, at once or when asked.
        ("[", "a"),
        ("x**[a", "b x"),
        ("a\n[z-a]", "a"),
        ("a\n[z-a]", "a b"),
        ("*\n![z-a]", "a"),
        ("![z-a]", "a"),
        ("[z-a]", ""),
        (r"\y", "a"),
        (r"[\b]", "a"),
        ("[[:nope:]]", "a"),
        ("*{2}", "a"),
    ];
    let mut wrong = Vec::new();
    for (index, (ignore, paths)) in table.iter().enumerate() {
        let paths = paths.split_terminator(' ').map(str::to_owned).collect();
        let case = Case { paths, ignore: ignore.as_bytes().to_vec(), beside: index % 2 == 0 };
        wrong.extend(difference(&case).err());
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
