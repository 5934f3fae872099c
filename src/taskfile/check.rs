//! From TOML to the model: every name, type, path and cycle is checked here, and every finding is kept.
//! Depends on: names, taskfile::{diagnostic, model, table}.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::diagnostic::{Diagnostic, nearest};
use super::model::{ClusterSpec, CreatePolicy, LoadStrategy, TaskFile};
use super::table::{At, Table, finding};
use images::{duplicate_tags, images};
use tasks::{check_cycles, check_uses, tasks};

mod args;
mod images;
mod settings;
mod sources;
mod tasks;

type Findings = Vec<Diagnostic>;

/// Turns the text of a task file into the model.
///
/// # Errors
/// Everything found wrong, in the order of the file.
pub(super) fn check(path: &Path, text: &str) -> Result<TaskFile, Findings> {
    if text.trim().is_empty() {
        let mut empty = finding("the file is empty", 0..0, "");
        empty.help = Some("a task file has [images.NAME] and [tasks.NAME] tables".to_owned());
        return Err(vec![empty]);
    }
    let document = DeTable::parse(text)
        .map_err(|error| vec![finding(error.message(), error.span().unwrap_or(0..0), "here")])?;
    let root = path.parent().unwrap_or(Path::new("."));
    let mut out = Findings::new();
    let mut top = Table::new(document.get_ref(), "the task file");
    let cluster = cluster(top.table("cluster", "[cluster]", &mut out), root, &mut out);
    let load = load(top.table("load", "[load]", &mut out), &mut out);
    let (images, tags) = images(top.table("images", "[images]", &mut out), root, &mut out);
    duplicate_tags(&images, &tags, &mut out);
    let (tasks, uses) = tasks(top.table("tasks", "[tasks]", &mut out), &mut out);
    top.finish(&mut out);
    check_uses(&uses, &images, &tasks, &mut out);
    check_cycles(&tasks, &uses, &mut out);
    if out.is_empty() {
        let (path, root) = (path.to_path_buf(), root.to_path_buf());
        return Ok(TaskFile { path, root, cluster, load, images, tasks });
    }
    out.sort_by_key(|finding| finding.span.start);
    Err(out)
}

fn cluster(table: Option<Table<'_>>, root: &Path, out: &mut Findings) -> ClusterSpec {
    let mut spec = ClusterSpec {
        name: "kind".to_owned(),
        config: None,
        node_image: None,
        create: CreatePolicy::IfMissing,
        only: Vec::new(),
    };
    let Some(mut table) = table else { return spec };
    if let Some(name) = table.string("name", out) {
        if is_cluster_name(&name.value) {
            spec.name = name.value;
        } else {
            let message = format!("`{}` is not a name that Kind accepts", name.value);
            out.push(finding(message, name.span, "lower case letters, digits, `.` and `-`"));
        }
    }
    spec.config = table
        .string("config", out)
        .and_then(|config| existing(root, &config, "Kind configuration", Path::is_file, out));
    spec.node_image = table.string("node_image", out).map(|image| image.value);
    if let Some(create) = table.string("create", out) {
        match create.value.as_str() {
            "if-missing" => {}
            "never" => spec.create = CreatePolicy::Never,
            other => out.push(unknown_word("create", other, &["if-missing", "never"], create.span)),
        }
    }
    table.finish(out);
    spec
}

fn load(table: Option<Table<'_>>, out: &mut Findings) -> LoadStrategy {
    let Some(mut table) = table else { return LoadStrategy::Auto };
    let mut strategy = LoadStrategy::Auto;
    if let Some(word) = table.string("strategy", out) {
        match LoadStrategy::ALL.iter().find(|(known, _)| *known == word.value) {
            Some((_, found)) => strategy = *found,
            None => {
                let known = LoadStrategy::ALL.map(|(known, _)| known);
                out.push(unknown_word("strategy", &word.value, &known, word.span));
            }
        }
    }
    table.finish(out);
    strategy
}

/// Whether Kind accepts a cluster name: its own rule (`validNameRE` in its cluster package).
#[must_use]
pub fn is_cluster_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
}

pub(in crate::taskfile) fn unknown_word(
    key: &str,
    word: &str,
    known: &[&str],
    span: Range<usize>,
) -> Diagnostic {
    let mut unknown = finding(format!("`{key}` cannot be `{word}`"), span, "not a known value");
    unknown.help = Some(match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of: {}", known.join(", ")),
    });
    unknown
}

pub(in crate::taskfile) fn existing(
    root: &Path,
    written: &At<String>,
    what: &str,
    is: impl Fn(&Path) -> bool,
    out: &mut Findings,
) -> Option<PathBuf> {
    let path = root.join(&written.value);
    if is(&path) {
        // `.` components would make two spellings of one path look like two paths.
        return Some(path.components().collect());
    }
    let state = if path.exists() { "is of another type" } else { "does not exist" };
    let message = format!("{what} `{}` {state}", written.value);
    out.push(finding(message, written.span.clone(), format!("looked at {}", path.display())));
    None
}

pub(in crate::taskfile) fn not_empty(
    key: &str,
    argv: &At<Vec<String>>,
    out: &mut Findings,
) -> bool {
    let usable = argv.value.first().is_some_and(|program| !program.is_empty());
    if !usable {
        let message = format!("`{key}` needs a program to run");
        out.push(finding(message, argv.span.clone(), "empty"));
    }
    usable
}
