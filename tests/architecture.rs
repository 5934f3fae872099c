//! The layers hold: who may use whom, what is pure, who prints, who starts processes, who reads the environment.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file without its tests and comments.
struct Source {
    /// Below `src`, with `/`.
    path: String,
    lines: usize,
    code: String,
}

/// What each top-level module may name of the others. `report::event` admits that part of `report` only.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("main", &[]),
    ("cli", &[]),
    ("names", &[]),
    ("error", &[]),
    ("interrupt", &[]),
    ("taskfile", &["names"]),
    ("digest", &["names", "taskfile"]),
    ("facts", &["names", "digest", "adapters", "interrupt", "taskfile"]),
    ("plan", &["names", "facts", "taskfile", "digest::change"]),
    (
        "execute",
        &[
            "plan",
            "facts",
            "adapters",
            "digest",
            "report::event",
            "taskfile",
            "error",
            "names",
            "interrupt",
        ],
    ),
    ("adapters", &["names", "interrupt", "taskfile::model"]),
    ("report", &["error", "plan", "facts", "taskfile", "names", "digest"]),
];

/// These wire the others together.
const WIRING: [&str; 2] = ["lib", "commands"];

const LONGEST: usize = 420;

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    let sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            Source { path, lines: text.lines().count(), code: code(&text) }
        })
        .collect();
    assert!(sources.len() > 20, "sources were not found");
    sources
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).unwrap();
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            paths.push(path);
        }
    }
}

/// What is left without comments and without everything behind `#[cfg(test)]`.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]").next().unwrap_or(text);
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.fold(String::new(), |mut code, line| {
        writeln!(code, "{line}").unwrap();
        code
    })
}

/// The module at the top that a file belongs to.
fn module(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// Every `crate::a::b` in the code, as `a::b` (or `a` where nothing follows).
fn named(code: &str) -> Vec<String> {
    let identifier = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    code.match_indices("crate::")
        .map(|(at, found)| {
            let rest = &code[at + found.len()..];
            let first = identifier(rest);
            let second = rest[first.len()..].strip_prefix("::").map(identifier).unwrap_or_default();
            if second.is_empty() { first } else { format!("{first}::{second}") }
        })
        .collect()
}

fn may_use(own: &str, allowed: &[&str], name: &str) -> bool {
    let top = name.split("::").next().unwrap_or(name);
    top == own || allowed.iter().any(|allowed| *allowed == top || *allowed == name)
}

/// The lines that hold one of the words, as `path: line`.
fn lines_with(
    sources: &[Source],
    words: &[&str],
    keep: impl Fn(&Source, &str) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for line in source.code.lines() {
            if words.iter().any(|word| line.contains(word)) && keep(source, line) {
                found.push(format!("{}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

#[track_caller]
fn none(found: &[String]) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn modules_use_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for source in sources() {
        let own = module(&source.path);
        if WIRING.contains(&own) {
            continue;
        }
        let row = ALLOWED.iter().find(|(name, _)| *name == own);
        let (_, allowed) = row.unwrap_or_else(|| panic!("{own} has no row in the table"));
        for name in named(&source.code) {
            // `crate::{` has no name here and is refused with the rest: one line for each module.
            if !may_use(own, allowed, &name) {
                wrong.push(format!("{} uses crate::{name}", source.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_row_of_the_table_is_a_module() {
    let sources = sources();
    for name in ALLOWED.iter().map(|(name, _)| *name).chain(WIRING) {
        assert!(sources.iter().any(|source| module(&source.path) == name), "{name} is gone");
    }
}

#[test]
fn planning_is_pure() {
    let mut sources = sources();
    sources.retain(|source| module(&source.path) == "plan");
    assert!(sources.len() >= 3);
    let impure = [
        "async",
        "std::fs",
        "std::env",
        "Instant",
        "SystemTime",
        "tokio",
        "facts::gather",
        "facts::record",
    ];
    none(&lines_with(&sources, &impure, |_, _| true));
}

#[test]
fn only_the_report_prints() {
    let words = ["println!", "print!(", "eprint", "stdout()", "stderr()"];
    let found = lines_with(&sources(), &words, |source, line| {
        let asks_only = source.path == "cli.rs" && line.contains(".is_terminal()");
        let hands_on = source.path == "commands/completions.rs" && line.contains("stdout()");
        module(&source.path) != "report" && !asks_only && !hands_on
    });
    none(&found);
}

#[test]
fn only_one_file_starts_processes() {
    let words = ["std::process::", "tokio::process", "use std::process;"];
    let found = lines_with(&sources(), &words, |source, line| {
        let starts = line.contains("Command")
            || line.contains("tokio::process")
            || line.contains("process;");
        source.path != "adapters/process.rs" && starts
    });
    none(&found);
}

#[test]
fn only_the_command_line_reads_the_environment() {
    let words = ["env::var", "env::{", "use std::env;"];
    none(&lines_with(&sources(), &words, |source, _| source.path != "cli.rs"));
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines > LONGEST)
        .map(|source| format!("{}: {} lines, at most {LONGEST}", source.path, source.lines))
        .collect();
    none(&long);
}

#[test]
fn modules_are_named_after_what_they_are() {
    let vague = ["util", "utils", "helper", "helpers", "manager", "service", "common", "imp"];
    let found: Vec<String> = sources()
        .iter()
        .filter(|source| {
            source.path.trim_end_matches(".rs").split('/').any(|part| vague.contains(&part))
        })
        .map(|source| source.path.clone())
        .collect();
    none(&found);
}

#[test]
fn the_reader_of_sources_sees_what_is_there() {
    let text = "// crate::x\nuse crate::a::{B};\nlet y = crate::c;\n#[cfg(test)]\nuse crate::d;\n";
    assert_eq!(named(&code(text)), ["a", "c"]);
    assert_eq!(named("crate::report::event::Event"), ["report::event"]);
    assert!(may_use("execute", &["report::event"], "report::event"));
    assert!(may_use("execute", &[], "execute::live"));
    assert!(!may_use("execute", &["report::event"], "report::Ui"));
    assert!(!may_use("plan", &["names"], ""), "crate::{{a, b}}");
    assert_eq!((module("cli.rs"), module("execute/live/load.rs")), ("cli", "execute"));
}
