//! The content key of an image's inputs, and what changed between two of them. Knows no Docker.
//! Depends on: std, sha2, names, taskfile::model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub mod dockerfile;
pub mod ignore;
pub mod tree;

use crate::names::Key;
use crate::taskfile::model::ImageSpec;
use ignore::IgnoreRules;
use tree::{Content, Tree, hex};

/// The schema of the key: raised whenever the same inputs would give another key.
pub const SCHEMA: &str = "tg1";

/// Everything that is read from disk for one image: the first half of its key.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The Dockerfile's bytes.
    pub dockerfile: Vec<u8>,
    /// The bytes of the ignore file that applies, if there is one.
    pub ignore: Option<Vec<u8>>,
    /// The context after the ignore rules.
    pub tree: Tree,
    /// What the Dockerfile takes from outside.
    pub external: dockerfile::External,
}

/// The inputs of a build, each as a name and a digest or short value, ready to be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// `dockerfile`, `target`, `platform`, `arg NAME`, `base REF`: values only where they are no secret.
    pub parts: BTreeMap<String, String>,
    /// The digest of the whole tree.
    pub tree: String,
}

/// Why the inputs of an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The Dockerfile or ignore file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The Dockerfile is malformed.
    #[error("{}: {message}", path.display())]
    Dockerfile {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
    /// A line of the ignore file is malformed.
    #[error("{}:{line}: {message}", path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A path of the context cannot be read.
    #[error(transparent)]
    Tree(#[from] tree::TreeError),
}

/// Reads Dockerfile, ignore file and context of an image.
///
/// # Errors
/// The first file that cannot be read or is malformed.
pub fn read(spec: &ImageSpec) -> Result<Sources, InputError> {
    let file = |path: &Path, source| InputError::File { path: path.to_path_buf(), source };
    let dockerfile =
        std::fs::read(&spec.dockerfile).map_err(|source| file(&spec.dockerfile, source))?;
    let malformed = |message| InputError::Dockerfile { path: spec.dockerfile.clone(), message };
    let text = std::str::from_utf8(&dockerfile).map_err(|error| malformed(error.to_string()))?;
    let situation = dockerfile::Situation {
        args: &spec.args,
        platform: spec.platform.as_deref().unwrap_or("linux/amd64"),
        build_platform: "linux/amd64",
        target: spec.target.as_deref(),
        contexts: &BTreeSet::new(),
    };
    let external =
        dockerfile::external(text, &situation).map_err(|error| malformed(error.to_string()))?;
    let (ignore, rules) = match ignore_file(spec)? {
        None => (None, IgnoreRules::default()),
        Some((path, bytes)) => {
            let rules = IgnoreRules::parse(&bytes).map_err(|bad| InputError::Ignore {
                path,
                line: bad.line,
                message: bad.message,
            })?;
            (Some(bytes), rules)
        }
    };
    let tree = tree::read(&spec.context, &rules)?;
    Ok(Sources { dockerfile, ignore, tree, external })
}

/// The ignore file that applies: the one named after the Dockerfile replaces the context's own.
fn ignore_file(spec: &ImageSpec) -> Result<Option<(PathBuf, Vec<u8>)>, InputError> {
    let mut specific = spec.dockerfile.clone().into_os_string();
    specific.push(".dockerignore");
    for path in [PathBuf::from(specific), spec.context.join(".dockerignore")] {
        match std::fs::read(&path) {
            Ok(bytes) => return Ok(Some((path, bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(InputError::File { path, source }),
        }
    }
    Ok(None)
}

impl Inputs {
    /// Puts together what decides the build: what was read, what the task file says, and the identity of each base image.
    #[must_use]
    pub fn new(spec: &ImageSpec, sources: &Sources, bases: &BTreeMap<String, String>) -> Self {
        let mut parts = BTreeMap::new();
        parts.insert("dockerfile".to_owned(), digest(&sources.dockerfile));
        parts.extend(spec.target.iter().map(|target| ("target".to_owned(), target.clone())));
        parts.extend(spec.platform.iter().map(|name| ("platform".to_owned(), name.clone())));
        for (name, value) in &spec.args {
            parts.insert(format!("arg {name}"), digest(value.as_bytes()));
        }
        for (reference, identity) in bases {
            parts.insert(format!("base {reference}"), identity.clone());
        }
        Self { parts, tree: tree_digest(&sources.tree) }
    }

    /// The key. Every field is preceded by its length, so that no two lists of fields read the same.
    #[must_use]
    pub fn key(&self) -> Key {
        let mut hasher = Sha256::new();
        field(&mut hasher, SCHEMA.as_bytes());
        for (name, value) in &self.parts {
            field(&mut hasher, name.as_bytes());
            field(&mut hasher, value.as_bytes());
        }
        field(&mut hasher, self.tree.as_bytes());
        Key::new(format!("{SCHEMA}:{}", hex(&hasher.finalize())))
    }

    /// The names of the parts that differ, in order.
    #[must_use]
    pub fn changed_parts(&self, before: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.parts.keys().chain(before.parts.keys()).collect();
        let differs = |name: &&&String| self.parts.get(**name) != before.parts.get(**name);
        names.iter().filter(differs).map(|name| (*name).clone()).collect()
    }
}

/// The digest of a tree: path, type, mode and content of every entry; no times, no owners, as the builder counts.
fn tree_digest(tree: &Tree) -> String {
    let mut hasher = Sha256::new();
    for (path, entry) in tree {
        field(&mut hasher, path);
        field(&mut hasher, &entry.mode.to_be_bytes());
        let (kind, content): (&str, &[u8]) = match &entry.content {
            Content::File(sha) => ("file", sha.as_bytes()),
            Content::Directory => ("directory", b""),
            Content::Link(target) => ("link", target),
            Content::Special(kind) => ("special", kind.as_bytes()),
        };
        field(&mut hasher, kind.as_bytes());
        field(&mut hasher, content);
    }
    hex(&hasher.finalize())
}

fn field(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The paths that differ between two trees, as `+ path`, `~ path (what)` and `- path`, in order of their names.
#[must_use]
pub fn changed_paths(before: &Tree, after: &Tree) -> Vec<String> {
    let paths: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).collect();
    paths
        .into_iter()
        .filter_map(|path| {
            let name = String::from_utf8_lossy(path);
            match (before.get(path), after.get(path)) {
                (None, Some(_)) => Some(format!("+ {name}")),
                (Some(_), None) => Some(format!("- {name}")),
                (Some(old), Some(new)) if old.content != new.content => Some(format!("~ {name}")),
                (Some(old), Some(new)) if old.mode != new.mode => {
                    Some(format!("~ {name} (mode {:04o} → {:04o})", old.mode, new.mode))
                }
                _ => None,
            }
        })
        .collect()
}

/// Whether a tree holds a change that the builder's own comparison (type, size, modification time, mode) cannot see, or is
/// known to miss: a directory's mode alone (moby/buildkit#7176), another type under the same name. Then a transfer into a
/// cache that holds `sent` would bake stale bytes.
#[must_use]
pub fn hides_a_change(sent: &Tree, now: &Tree) -> bool {
    now.iter().any(|(path, new)| {
        sent.get(path).is_some_and(|old| match (&old.content, &new.content) {
            (Content::Directory, Content::Directory) => old.mode != new.mode,
            (Content::File(before), Content::File(after)) => {
                before != after
                    && (old.size, old.mtime_ns, old.mode) == (new.size, new.mtime_ns, new.mode)
            }
            (before, after) => before != after,
        })
    })
}

#[cfg(test)]
mod tests;
