//! Reads what a walk found: contents, link targets and extended attributes, or takes them from the stat cache.
//! Depends on: std, rayon, rustix, sha2, digest::{ignore, stat_cache, tree, walk}.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

use super::ignore::IgnoreRules;
use super::stat_cache::is_current;
use super::tree::{Content, Entry, Kind, Sha, Stat, Tree, field};
use super::walk::{Found, TreeError, found, walk};

/// How many files one thread takes at a time.
const CHUNK: usize = 256;
/// How often a path is looked at again that changes its type while it is read.
const LOOKS: usize = 5;
/// How much more of a file than its size is read: one that grows without end must not keep tg.
const GROWTH: u64 = 1 << 20;

/// Linux allows no longer value of an extended attribute, and no longer list of their names (`linux/limits.h`).
const LONGEST_XATTR: usize = 64 * 1024;

/// A context as it is now.
#[derive(Debug)]
pub struct ReadTree {
    /// All of it.
    pub tree: Tree,
    /// What `lstat` said of its own directory, before anything in it was looked at.
    pub root: Stat,
    /// How many of its entries were not on record and had to be read.
    pub read: usize,
}

/// Walks `context` and reads what is not on record. Memory grows with the number of paths only.
///
/// # Errors
/// The first path that is part of the context and cannot be read, or a malformed pattern.
pub fn read(
    context: &Path,
    rules: &IgnoreRules,
    recorded: Option<(&Tree, u64)>,
) -> Result<ReadTree, TreeError> {
    let root = std::fs::metadata(context)
        .map_err(|source| TreeError::Path { path: context.to_path_buf(), source })?;
    let root = super::walk::found(&[], &root).stat;
    let mut found = walk(context, rules)?;
    let mut entries = Vec::new();
    entries.resize_with(found.len(), || None);
    let read = entries
        .par_chunks_mut(CHUNK)
        .zip(found.par_chunks_mut(CHUNK))
        .map(|(entries, found)| fill(context, entries, found, recorded))
        .try_reduce(|| 0, |a, b| Ok(a + b))?;
    drop(found);
    Ok(ReadTree { tree: Tree::new(entries.into_iter().flatten().collect()), root, read })
}

type Slot = Option<(Box<[u8]>, Entry)>;

/// Fills in the entries of what was found, in the order of the paths, and returns how many had to be read. What is on record
/// has the same order, so one pass finds it. `recorded` comes with the device that it is about: another one may be mounted
/// somewhere below.
fn fill(
    context: &Path,
    entries: &mut [Slot],
    found: &mut [Found],
    recorded: Option<(&Tree, u64)>,
) -> Result<usize, TreeError> {
    let mut read = 0;
    let first = found.first().map(|found| found.path.clone()).unwrap_or_default();
    let device = recorded.map(|(_, device)| device);
    let mut known = recorded.into_iter().flat_map(|(tree, _)| tree.from(&first)).peekable();
    for (slot, found) in entries.iter_mut().zip(found) {
        while known.next_if(|(path, _)| *path < found.path.as_ref()).is_some() {}
        let entry = known.peek().filter(|(path, _)| *path == found.path.as_ref());
        let entry = entry.map(|(_, entry)| *entry).filter(|entry| {
            device == Some(found.device) && is_current(entry, &found.stat, found.kind)
        });
        let entry = match entry {
            Some(entry) => Some(entry.clone()),
            None => {
                read += 1;
                let path = context.join(OsStr::from_bytes(&found.path));
                look(&path, found).map_err(|source| TreeError::Path { path, source })?
            }
        };
        *slot = entry.map(|entry| (std::mem::take(&mut found.path), entry));
    }
    Ok(read)
}

/// Reads one path; nothing when it went away since it was found. One that was swapped for another type since is looked at
/// again, never followed and never waited for.
fn look(path: &Path, was: &Found) -> std::io::Result<Option<Entry>> {
    let mut now = was.clone();
    let mut looks = 0;
    loop {
        let error = match describe(path, &now) {
            Ok(Some(entry)) => return Ok(Some(entry)),
            Ok(None) => std::io::Error::other("its type keeps changing"),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
            Err(error) => error,
        };
        now = match std::fs::symlink_metadata(path) {
            Ok(metadata) => found(&was.path, &metadata),
            Err(gone) if gone.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        looks += 1;
        if looks == LOOKS {
            return Err(error);
        }
    }
}

/// The entry of a path that is still of the type that was found; `None` when it is not.
fn describe(path: &Path, found: &Found) -> std::io::Result<Option<Entry>> {
    let mut stat = found.stat;
    let (content, xattrs) = match found.kind {
        Kind::File => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
            let metadata = file.metadata()?;
            if !metadata.is_file() || metadata.ino() != found.stat.inode {
                return Ok(None);
            }
            stat = super::walk::found(&found.path, &metadata).stat;
            let xattrs = xattrs(
                |buffer| rustix::fs::flistxattr(&file, buffer),
                |name, buffer| rustix::fs::fgetxattr(&file, name, buffer),
            );
            (Content::File(hash(&mut file, stat.size)?), xattrs)
        }
        Kind::Directory => (Content::Directory, xattrs_of(path)),
        Kind::Link => {
            let target = std::fs::read_link(path)?.into_os_string().into_vec();
            (Content::Link(target.into()), xattrs_of(path))
        }
        Kind::Special(special) => (Content::Special(special), xattrs_of(path)),
    };
    Ok(Some(Entry { content, xattrs, stat }))
}

fn hash(file: &mut File, size: u64) -> std::io::Result<Sha> {
    let mut hasher = Sha256::new();
    // A small file needs no large buffer, and clearing one costs more than reading such a file.
    let mut buffer = vec![0; size.clamp(4 * 1024, 128 * 1024) as usize];
    let mut file = file.take(size.saturating_add(GROWTH));
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn xattrs_of(path: &Path) -> Option<Box<Sha>> {
    xattrs(
        |buffer| rustix::fs::llistxattr(path, buffer),
        |name, buffer| rustix::fs::lgetxattr(path, name, buffer),
    )
}

/// A digest of the extended attributes that the builder counts. One that cannot be read does not reach the builder either.
fn xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> Option<Box<Sha>> {
    // The names of nearly every path fit here, and most paths have none.
    let mut few = [0; 512];
    let mut many = Vec::new();
    let names = match list(&mut few) {
        Ok(0) => return None,
        Ok(length) => &few[..length],
        Err(_) => {
            many.resize(LONGEST_XATTR, 0);
            let length = list(&mut many).ok()?;
            &many[..length]
        }
    };
    let mut counted: Vec<&[u8]> =
        names.split(|byte| *byte == 0).filter(|name| counts(name)).collect();
    counted.sort_unstable();
    let mut line = Vec::new();
    for name in counted {
        let mut value = vec![0; LONGEST_XATTR];
        let Ok(length) = get(name, &mut value) else { continue };
        field(&mut line, name);
        field(&mut line, &value[..length]);
    }
    (!line.is_empty()).then(|| Box::new(Sha256::digest(&line).into()))
}

/// BuildKit counts all but `security.*` and `system.*`, and of those the capabilities (`cache/contenthash/tarsum.go`).
fn counts(name: &[u8]) -> bool {
    let set_by_the_system = name.starts_with(b"security.") || name.starts_with(b"system.");
    !name.is_empty() && (!set_by_the_system || name == b"security.capability")
}
