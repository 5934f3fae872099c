//! The context as the builder receives it: walked after the ignore rules, every file read and hashed.
//! Depends on: std, rustix, sha2, rayon, digest::ignore.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ignore::{BadPattern, IgnoreRules, Matched};

/// What a path is, with what the builder counts of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A regular file: SHA-256 of its bytes, in hex.
    File(String),
    /// A directory.
    Directory,
    /// A symbolic link: its text, never followed.
    Link(Vec<u8>),
    /// A FIFO, socket or device: its type only; never opened.
    Special(String),
}

/// One path of the context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub content: Content,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Bytes; 0 for anything but files.
    pub size: u64,
    /// Modification time in nanoseconds since 1970. Not part of the key: the builder compares files by it.
    pub mtime_ns: i128,
}

/// Every path that the builder is sent, by its bytes relative to the context.
pub type Tree = BTreeMap<Vec<u8>, Entry>;

/// A path of the context that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {} of the build context", path.display())]
pub struct TreeError {
    /// The path.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// The ignore file, which only the paths of the context show to be malformed.
fn malformed(context: &Path) -> impl Fn(BadPattern) -> TreeError {
    move |bad| {
        let message = format!("line {} of the ignore file: {}", bad.line, bad.message);
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, message);
        TreeError { path: context.to_path_buf(), source }
    }
}

/// Walks `context` and hashes every file that the rules leave in it. Memory grows with the number of paths only.
///
/// # Errors
/// The first path that is part of the context and cannot be read.
pub fn read(context: &Path, rules: &IgnoreRules) -> Result<Tree, TreeError> {
    let mut found = Vec::new();
    walk(context, &[], rules, &Matched::default(), &mut found)?;
    found
        .into_par_iter()
        .map(|(relative, metadata)| {
            let path = context.join(OsStr::from_bytes(&relative));
            let entry = entry(&path, &metadata).map_err(|source| TreeError { path, source })?;
            Ok((relative, entry))
        })
        .collect()
}

/// Collects what is kept. Returns whether anything was, since an excluded directory is sent with its kept children.
fn walk(
    directory: &Path,
    prefix: &[u8],
    rules: &IgnoreRules,
    parent: &Matched,
    found: &mut Vec<(Vec<u8>, Metadata)>,
) -> Result<bool, TreeError> {
    let fail = |path: &Path, source| TreeError { path: path.to_path_buf(), source };
    let mut any = false;
    for child in std::fs::read_dir(directory).map_err(|source| fail(directory, source))? {
        let child = child.map_err(|source| fail(directory, source))?;
        let mut relative = prefix.to_vec();
        relative.extend(child.file_name().into_vec());
        let (verdict, matched) = rules.enter(parent, &relative).map_err(malformed(directory))?;
        let excluded = verdict.excluded;
        let kind = child.file_type().map_err(|source| fail(&child.path(), source))?;
        if excluded && (!kind.is_dir() || rules.prunes(&relative)) {
            continue;
        }
        let metadata = child.metadata().map_err(|source| fail(&child.path(), source))?;
        let mut keep = !excluded;
        if kind.is_dir() {
            let mut below = relative.clone();
            below.push(b'/');
            keep |= match walk(&child.path(), &below, rules, &matched, found) {
                // What cannot be read does not count where it is excluded anyway.
                Err(error) if excluded && error.path == child.path() => false,
                other => other?,
            };
        }
        if keep {
            found.push((relative, metadata));
            any = true;
        }
    }
    Ok(any)
}

fn entry(path: &Path, metadata: &Metadata) -> std::io::Result<Entry> {
    let kind = metadata.file_type();
    let content = if kind.is_file() {
        Content::File(hash_file(path)?)
    } else if kind.is_dir() {
        Content::Directory
    } else if kind.is_symlink() {
        Content::Link(std::fs::read_link(path)?.into_os_string().into_vec())
    } else if kind.is_fifo() {
        Content::Special("fifo".to_owned())
    } else if kind.is_socket() {
        Content::Special("socket".to_owned())
    } else {
        Content::Special(format!("device {}", metadata.rdev()))
    };
    let size = if kind.is_file() { metadata.len() } else { 0 };
    let mtime_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Ok(Entry { content, mode: metadata.mode() & 0o7777, size, mtime_ns })
}

/// Hashes a file that was a regular one a moment ago; if it was swapped for a link or a FIFO since, this fails or
/// returns at once instead of following or hanging.
fn hash_file(path: &Path) -> std::io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
