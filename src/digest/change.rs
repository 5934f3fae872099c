//! What differs between the inputs of two builds, with evidence, and worded here and nowhere else.
//! Depends on: std, digest::{manifest, tree}.

use std::collections::BTreeSet;
use std::fmt;

use super::manifest::Manifest;
use super::tree::{Content, Entry, MAIN, Special, Tree, Trees};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A path of a context.
    Path {
        /// The context; empty for the main one.
        context: String,
        /// The path in it.
        path: Vec<u8>,
        /// What of it.
        what: PathChange,
    },
    /// Anything that has a name.
    Part {
        /// As in [`super::Inputs`], such as `arg PROFILE`.
        name: String,
        /// Its value before, where it had one and it may be shown.
        before: Option<Shown>,
        /// Its value now.
        after: Option<Shown>,
    },
    /// Lines of the Dockerfile as it is now, from 1.
    Dockerfile(Vec<usize>),
    /// Something in a context, when nothing is known of the paths before.
    Files {
        /// The context; empty for the main one.
        context: String,
    },
}

/// The value of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It may be seen.
    Value(String),
    /// It is kept as a digest only.
    Hidden,
}

/// What changed of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is the same kind of thing with other properties; at least one of them.
    Modified {
        /// Its bytes.
        content: bool,
        /// Its mode before and now.
        mode: Option<(u32, u32)>,
        /// The target of a link before and now.
        link: Option<(Vec<u8>, Vec<u8>)>,
        /// Its extended attributes.
        attributes: bool,
    },
    /// It is another kind of thing, before and now.
    Kind(&'static str, &'static str),
}

/// The differences between two trees, in the order of their paths.
#[must_use]
pub fn between_trees(context: &str, before: &Tree, after: &Tree) -> Vec<Change> {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    let mut changes = Vec::new();
    let mut tell = |path: &[u8], what| {
        changes.push(Change::Path { context: context.to_owned(), path: path.to_vec(), what });
    };
    loop {
        match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some((path, _)), other) if other.is_none_or(|(next, _)| path < next) => {
                tell(path, PathChange::Removed);
                old.next();
            }
            (Some((path, was)), Some((next, is))) if path == next => {
                if let Some(what) = between(was, is) {
                    tell(path, what);
                }
                old.next();
                new.next();
            }
            (_, Some((path, _))) => {
                tell(path, PathChange::Added);
                new.next();
            }
            // Not reached: the second case takes every `old` without a `new`.
            (Some(_), None) => return changes,
        }
    }
}

fn between(old: &Entry, new: &Entry) -> Option<PathChange> {
    if old.content.kind() != new.content.kind() {
        return Some(PathChange::Kind(kind(&old.content), kind(&new.content)));
    }
    let mode = (old.stat.mode != new.stat.mode).then_some((old.stat.mode, new.stat.mode));
    let attributes = old.xattrs != new.xattrs;
    let link = match (&old.content, &new.content) {
        (Content::Link(was), Content::Link(is)) if was != is => Some((was.to_vec(), is.to_vec())),
        _ => None,
    };
    let content = link.is_none() && old.content != new.content;
    let differs = content || mode.is_some() || link.is_some() || attributes;
    differs.then_some(PathChange::Modified { content, mode, link, attributes })
}

fn kind(content: &Content) -> &'static str {
    match content {
        Content::File(_) => "file",
        Content::Directory => "directory",
        Content::Link(_) => "link",
        Content::Special(Special::Fifo) => "fifo",
        Content::Special(Special::Socket) => "socket",
        Content::Special(Special::Device(_)) => "device",
    }
}

/// The differences between all trees of two builds.
#[must_use]
pub fn between_all_trees(before: &Trees, after: &Trees) -> Vec<Change> {
    let empty = Tree::default();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |trees: &'_ Trees, name: &String| trees.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .flat_map(|name| match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) => between_trees(name, old, new),
            (Some(old), None) => between_trees(name, old, &empty),
            _ => between_trees(name, &empty, &of(after, name)),
        })
        .collect()
}

/// What [`touched`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Everything but directories.
    Files,
    /// Directories: something in them was made or removed.
    Directories,
}

/// Paths that were written between two looks, even if they are the same again.
#[must_use]
pub fn touched(before: &Trees, after: &Trees, what: Touched) -> Vec<String> {
    let mut paths = Vec::new();
    for (name, tree) in after {
        let earlier = before.get(name);
        let wanted =
            |entry: &Entry| (entry.content == Content::Directory) == (what == Touched::Directories);
        for (path, entry) in tree.iter().filter(|(_, entry)| wanted(entry)) {
            let same = |old: &Entry| old.stat == entry.stat;
            if !earlier.and_then(|tree| tree.get(path)).is_some_and(same) {
                paths.push(format!("{} (written to)", readable(path)));
            }
        }
    }
    paths
}

/// The differences between what two images were made from.
#[must_use]
pub fn between_manifests(before: &Manifest, after: &Manifest) -> Vec<Change> {
    let mut changes = between_all_trees(&before.trees, &after.trees);
    let names: BTreeSet<&String> = before.parts.keys().chain(after.parts.keys()).collect();
    for name in names {
        let (old, new) = (before.parts.get(name), after.parts.get(name));
        if old == new {
            continue;
        }
        if let Some(context) = name.strip_prefix(super::FILES) {
            let context = context.trim_start();
            let told = |change: &Change| matches!(change, Change::Path { context: known, .. } if known == context);
            if !changes.iter().any(told) {
                changes.push(Change::Files { context: context.to_owned() });
            }
        } else if name == super::DOCKERFILE {
            changes.push(Change::Dockerfile(changed_lines(&before.lines, &after.lines)));
        } else {
            let shown = |value: &String| match super::may_be_shown(name) {
                true => Shown::Value(value.clone()),
                false => Shown::Hidden,
            };
            let (before, after) = (old.map(shown), new.map(shown));
            changes.push(Change::Part { name: name.clone(), before, after });
        }
    }
    changes
}

/// The lines of `after` between what both files begin with and what both end with; where lines were only removed, the line
/// in their place.
fn changed_lines(before: &[[u8; 8]], after: &[[u8; 8]]) -> Vec<usize> {
    if before.is_empty() {
        return Vec::new();
    }
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let rest = before.len().min(after.len()) - head;
    let tail = before.iter().rev().zip(after.iter().rev()).take(rest);
    let tail = tail.take_while(|(a, b)| a == b).count();
    let lines: Vec<usize> = (head + 1..=after.len() - tail).collect();
    if lines.is_empty() { vec![(head + 1).min(after.len())] } else { lines }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = |context: &str| match context {
            MAIN => String::new(),
            name => format!("{name}: "),
        };
        match self {
            Self::Path { context, path, what } => {
                let place = inside(context) + &readable(path);
                match what {
                    PathChange::Added => write!(f, "+ {place}"),
                    PathChange::Removed => write!(f, "- {place}"),
                    PathChange::Kind(old, new) => write!(f, "~ {place} ({old} → {new})"),
                    PathChange::Modified { content, mode, link, attributes } => {
                        write!(f, "~ {place}")?;
                        modified(f, *content, *mode, link.as_ref(), *attributes)
                    }
                }
            }
            Self::Part { name, before: None, .. } => write!(f, "+ {}", shown_name(name)),
            Self::Part { name, after: None, .. } => write!(f, "- {}", shown_name(name)),
            Self::Part {
                name,
                before: Some(Shown::Value(old)),
                after: Some(Shown::Value(new)),
            } => write!(f, "~ {} ({} → {})", shown_name(name), brief(old), brief(new)),
            Self::Part { name, .. } => write!(f, "~ {}", shown_name(name)),
            Self::Dockerfile(lines) => match lines.as_slice() {
                [] => f.write_str("~ Dockerfile"),
                [line] => write!(f, "~ Dockerfile line {line}"),
                [first, .., last] => write!(f, "~ Dockerfile lines {first} to {last}"),
            },
            Self::Files { context: name } if name == MAIN => f.write_str("~ files of the context"),
            Self::Files { context } => write!(f, "~ files of the context {context}"),
        }
    }
}

fn modified(
    f: &mut fmt::Formatter<'_>,
    content: bool,
    mode: Option<(u32, u32)>,
    link: Option<&(Vec<u8>, Vec<u8>)>,
    attributes: bool,
) -> fmt::Result {
    let mut what = Vec::new();
    if content {
        what.push("content".to_owned());
    }
    what.extend(mode.map(|(old, new)| format!("mode {old:04o} → {new:04o}")));
    what.extend(link.map(|(old, new)| format!("link {} → {}", readable(old), readable(new))));
    if attributes {
        what.push("extended attributes".to_owned());
    }
    // Content alone is what people expect of a changed file.
    if what == ["content"] { Ok(()) } else { write!(f, " ({})", what.join(", ")) }
}

/// A path for people: what is no text, and what would spoil the line, escaped.
fn readable(path: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(path);
    lossy.chars().fold(String::new(), |mut text, c| {
        if c.is_control() {
            text.extend(c.escape_default())
        } else {
            text.push(c)
        }
        text
    })
}

/// A part as people call it: bases without the registry and the namespace that are meant where none is said.
fn shown_name(part: &str) -> String {
    match part.strip_prefix("base ") {
        Some(reference) => format!("base {}", super::familiar(reference)),
        None => part.to_owned(),
    }
}

/// A digest cut to what people compare; anything else as it is.
fn brief(value: &str) -> String {
    match value.split_once("sha256:") {
        Some((before, hex)) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("{before}sha256:{}", hex.get(..12).unwrap_or(hex))
        }
        _ => value.to_owned(),
    }
}
