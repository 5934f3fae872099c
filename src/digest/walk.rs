//! Walks a context after the ignore rules, as the builder's client does: lists and stats, reads nothing.
//! Depends on: std, rayon, digest::{ignore, tree}.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::ignore::{BadPattern, IgnoreRules, Matched};
use super::tree::{Kind, Special, Stat};

/// How many directories are listed before their lists are joined: enough to keep all threads busy, few enough to hold no
/// second copy of a large tree.
const BATCH: usize = 256;

/// Why a context could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A path that is part of it cannot be read.
    #[error("cannot read {} of the build context", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A pattern of the ignore file turned out to be malformed.
    #[error("line {}: {}", .0.line, .0.message)]
    Ignore(BadPattern),
}

/// A path that the builder is sent.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: Box<[u8]>,
    pub(super) kind: Kind,
    pub(super) stat: Stat,
    pub(super) device: u64,
}

/// A directory whose listing is still to be read.
struct Pending {
    path: Vec<u8>,
    matched: Matched,
    /// It is excluded itself, and walked only for what may be kept below it.
    excluded: bool,
}

/// What a directory holds.
#[derive(Default)]
struct Listed {
    kept: Vec<Found>,
    /// Excluded directories, which are sent if something below them is.
    held: Vec<Found>,
    deeper: Vec<Pending>,
}

/// Lists every path below `root` that the rules keep, in the order of the paths. Level by level, each level's directories
/// at once, so that depth costs no stack.
pub(super) fn walk(root: &Path, rules: &IgnoreRules) -> Result<Vec<Found>, TreeError> {
    let mut kept = Vec::new();
    let mut held = BTreeMap::new();
    let top = Pending { path: Vec::new(), matched: Matched::default(), excluded: false };
    let mut level = vec![top];
    while !level.is_empty() {
        let mut deeper = Vec::new();
        for batch in level.chunks(BATCH) {
            let listed: Result<Vec<Listed>, TreeError> =
                batch.par_iter().map(|directory| list(root, directory, rules)).collect();
            for mut listed in listed? {
                kept.append(&mut listed.kept);
                held.extend(listed.held.into_iter().map(|found| (found.path.clone(), found)));
                deeper.append(&mut listed.deeper);
            }
        }
        level = deeper;
    }
    if !held.is_empty() {
        bring_parents(&mut kept, held);
    }
    kept.par_sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(kept)
}

/// The excluded parents of what is kept are sent, too.
fn bring_parents(kept: &mut Vec<Found>, mut held: BTreeMap<Box<[u8]>, Found>) {
    let mut parents = Vec::new();
    for found in kept.iter() {
        let slashes = found.path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        for (at, _) in slashes {
            parents.extend(held.remove(&found.path[..at]));
        }
    }
    kept.append(&mut parents);
}

fn list(root: &Path, directory: &Pending, rules: &IgnoreRules) -> Result<Listed, TreeError> {
    let here = root.join(OsStr::from_bytes(&directory.path));
    let fail = |path: PathBuf, source| Err(TreeError::Path { path, source });
    let mut listed = Listed::default();
    let children = match std::fs::read_dir(&here) {
        Ok(children) => children,
        Err(error) if may_be_missing(&error, directory) => return Ok(listed),
        Err(source) => return fail(here, source),
    };
    for child in children {
        let child = match child {
            Ok(child) => child,
            Err(source) => return fail(here, source),
        };
        let mut path = directory.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(child.file_name().into_vec());
        // Without a stat where the file system tells the type: most of what is excluded is never looked at.
        let is_directory = match child.file_type() {
            Ok(kind) => kind.is_dir(),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(source) => return fail(child.path(), source),
        };
        let (excluded, matched) = if is_directory {
            let (verdict, matched) =
                rules.enter(&directory.matched, &path).map_err(TreeError::Ignore)?;
            (verdict.excluded, Some(matched))
        } else {
            let verdict = rules.verdict(&directory.matched, &path).map_err(TreeError::Ignore)?;
            (verdict.excluded, None)
        };
        if excluded && (!is_directory || rules.prunes(&path)) {
            continue;
        }
        let metadata = match child.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(source) => return fail(child.path(), source),
        };
        let found = found(&path, &metadata);
        if excluded { &mut listed.held } else { &mut listed.kept }.push(found);
        listed.deeper.extend(matched.map(|matched| Pending { path, matched, excluded }));
    }
    Ok(listed)
}

/// A directory below the root that went away since it was listed holds nothing; and what may not be read does not count
/// where it is excluded anyway.
fn may_be_missing(error: &std::io::Error, directory: &Pending) -> bool {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => !directory.path.is_empty(),
        ErrorKind::PermissionDenied => directory.excluded,
        _ => false,
    }
}

pub(super) fn found(path: &[u8], metadata: &Metadata) -> Found {
    let kind = metadata.file_type();
    let kind = if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Directory
    } else if kind.is_symlink() {
        Kind::Link
    } else if kind.is_fifo() {
        Kind::Special(Special::Fifo)
    } else if kind.is_socket() {
        Kind::Special(Special::Socket)
    } else {
        Kind::Special(Special::Device(metadata.rdev()))
    };
    let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    let stat = Stat {
        mode: metadata.mode() & 0o7777,
        size: if kind == Kind::File { metadata.len() } else { 0 },
        mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    };
    Found { path: Box::from(path), kind, stat, device: metadata.dev() }
}
