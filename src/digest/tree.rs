//! The context as the builder receives it, as plain data, and its digest.
//! Depends on: std, serde, sha2.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Sha = [u8; 32];

/// What a path is, with what the builder counts of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A regular file: SHA-256 of its bytes.
    File(Sha),
    /// A directory.
    Directory,
    /// A symbolic link: its text, never followed.
    Link(Box<[u8]>),
    /// A FIFO, socket or device; never opened.
    Special(Special),
}

/// A kind of file that has no content of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A device with its number.
    Device(u64),
}

/// What a path is, before its content is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Special(Special),
}

impl Content {
    /// What it is the content of.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::File(_) => Kind::File,
            Self::Directory => Kind::Directory,
            Self::Link(_) => Kind::Link,
            Self::Special(special) => Kind::Special(*special),
        }
    }
}

/// One path of a context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub content: Content,
    /// A digest of the extended attributes that the builder counts, if it has any.
    pub xattrs: Option<Box<Sha>>,
    /// What `lstat` said.
    pub stat: Stat,
}

/// What `lstat` says of a path. Of these only `mode` is part of the key; the rest tells whether a path may have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Bytes; 0 for anything but files.
    pub size: u64,
    /// Modification time in nanoseconds since 1970. The builder compares files by it.
    pub mtime_ns: i64,
    /// Time of the last change of content or attributes, in nanoseconds since 1970. Nobody can set it.
    pub ctime_ns: i64,
    /// The inode.
    pub inode: u64,
}

/// Every path that the builder is sent, by its bytes relative to the context, in their order. A sorted list takes half the
/// memory of a map, and two of them can be walked side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree(Vec<(Box<[u8]>, Entry)>);

impl Tree {
    /// A tree of entries in any order; no path twice.
    #[must_use]
    pub fn new(mut entries: Vec<(Box<[u8]>, Entry)>) -> Self {
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self(entries)
    }

    /// How many paths there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry of a path.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&Entry> {
        let at = self.0.binary_search_by(|(known, _)| known.as_ref().cmp(path)).ok()?;
        self.0.get(at).map(|(_, entry)| entry)
    }

    /// The tree without what only tells whether a path may have changed: it is kept to be compared, not to be trusted.
    #[must_use]
    pub fn without_times(&self) -> Self {
        let bare = |entry: &Entry| {
            let stat = Stat { mode: entry.stat.mode, ..Stat::default() };
            Entry { stat, ..entry.clone() }
        };
        Self(self.0.iter().map(|(path, entry)| (path.clone(), bare(entry))).collect())
    }

    /// The part of the tree whose entries have a property.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&Entry) -> bool) -> Self {
        Self(self.0.iter().filter(|(_, entry)| keep(entry)).cloned().collect())
    }

    /// All paths with their entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_ref(), entry))
    }

    /// The entries from the first whose path is not before `path`.
    pub fn from(&self, path: &[u8]) -> impl Iterator<Item = (&[u8], &Entry)> {
        let start = self.0.partition_point(|(known, _)| known.as_ref() < path);
        self.0.iter().skip(start).map(|(path, entry)| (path.as_ref(), entry))
    }
}

/// The trees of an image: its context under [`MAIN`], named contexts under their names.
pub type Trees = BTreeMap<String, Tree>;

/// The name of the main context among the trees of an image.
pub const MAIN: &str = "";

/// The digest of a tree: path, type, mode, content and counted extended attributes of every entry; no times, no owners, as
/// the builder counts. Every field is preceded by its length, so that no two trees read the same.
#[must_use]
pub fn digest(tree: &Tree) -> Sha {
    let mut hasher = Sha256::new();
    // One update for each entry: many short ones cost more than the hashing.
    let mut line = Vec::with_capacity(512);
    for (path, entry) in tree.iter() {
        line.clear();
        field(&mut line, path);
        field(&mut line, &entry.stat.mode.to_be_bytes());
        match &entry.content {
            Content::File(sha) => tagged(&mut line, b"file", sha),
            Content::Directory => tagged(&mut line, b"directory", b""),
            Content::Link(target) => tagged(&mut line, b"link", target),
            Content::Special(Special::Fifo) => tagged(&mut line, b"fifo", b""),
            Content::Special(Special::Socket) => tagged(&mut line, b"socket", b""),
            Content::Special(Special::Device(number)) => {
                tagged(&mut line, b"device", &number.to_be_bytes());
            }
        }
        field(&mut line, entry.xattrs.as_deref().map_or(&[][..], |sha| sha));
        hasher.update(&line);
    }
    hasher.finalize().into()
}

fn tagged(line: &mut Vec<u8>, kind: &[u8], content: &[u8]) {
    field(line, kind);
    field(line, content);
}

/// Appends a field with its length before it.
pub(super) fn field(line: &mut Vec<u8>, bytes: &[u8]) {
    line.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    line.extend_from_slice(bytes);
}

/// Whether a tree holds a change that the builder's own comparison (type, size, modification time, mode) cannot see, or is
/// known to miss: a directory's mode alone (moby/buildkit#7176), another type under the same name, extended attributes.
/// Then a transfer into a cache that holds `sent` would bake stale bytes.
#[must_use]
pub fn hides_a_change(sent: &Tree, now: &Tree) -> bool {
    now.iter().any(|(path, new)| {
        sent.get(path).is_some_and(|old| match (&old.content, &new.content) {
            _ if old.xattrs != new.xattrs => true,
            (Content::Directory, Content::Directory) => old.stat.mode != new.stat.mode,
            (Content::File(before), Content::File(after)) => {
                let seen = |entry: &Entry| (entry.stat.size, entry.stat.mtime_ns, entry.stat.mode);
                before != after && seen(old) == seen(new)
            }
            (before, after) => before != after,
        })
    })
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
