//! Which files need not be read again: git's rules for an index that may be as young as its files ("racy git").
//! Depends on: rustix, digest::tree.

#[cfg(target_os = "linux")]
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tree::{Entry, Kind, Stat, Tree, Trees};

/// How old a file must be to be believed, in nanoseconds. Time stamps lag by the kernel's tick (10 ms at worst), by two
/// seconds on coarse file systems; and a page that a program wrote through `mmap` may be written again without a new time
/// stamp until the kernel has written it back, which it does after 30 seconds (`vm.dirty_expire_centisecs`) and a little.
const SETTLED_NS: i64 = 60_000_000_000;

/// What was read of the trees of an image, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatCache {
    /// When the look began, in nanoseconds since 1970.
    pub looked_ns: i64,
    /// The device of each context's root, by the context's name.
    pub devices: Vec<(String, u64)>,
    /// What was found, without entries that are too young to be trusted.
    pub trees: Trees,
}

impl StatCache {
    /// What may be trusted of one context at `now_ns`; nothing when the clock was set back or the context is on another
    /// device than it was.
    #[must_use]
    pub fn of(&self, context: &str, device: u64, now_ns: i64) -> Option<&Tree> {
        let same = self.devices.iter().any(|(name, known)| name == context && *known == device);
        (same && self.looked_ns <= now_ns).then(|| self.trees.get(context)).flatten()
    }
}

/// Whether an entry on record is still true: a change of the content changes the size or one of the times, and what was too
/// young for that was not recorded.
#[must_use]
pub fn is_current(recorded: &Entry, now: &Stat, kind: Kind) -> bool {
    recorded.stat == *now && recorded.content.kind() == kind
}

/// Whether an entry read after `looked_ns` is old enough to be recorded. A younger one may change once more without a new
/// time stamp.
#[must_use]
pub fn is_settled(stat: &Stat, looked_ns: i64) -> bool {
    let youngest = stat.mtime_ns.max(stat.ctime_ns);
    youngest < looked_ns.saturating_sub(SETTLED_NS)
}

/// The device of a directory whose file system is on this machine and stamps every change; nothing for a network file
/// system and any other that is not known to.
#[cfg(target_os = "linux")]
#[must_use]
pub fn device_that_keeps_times(directory: &Path) -> Option<u64> {
    // From linux/magic.h and the file systems' own headers: ext2 to ext4, xfs, btrfs, overlay, zfs, f2fs, bcachefs. Not
    // tmpfs: it never writes pages back, so a program that wrote through `mmap` leaves no time stamp for ever.
    const KNOWN: [u64; 7] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0x794c_7630, 0x2fc1_2fc1, 0xf2f5_2010, 0xca45_1a4e];
    let kind = rustix::fs::statfs(directory).ok()?.f_type;
    let known = u64::try_from(kind).is_ok_and(|kind| KNOWN.contains(&kind));
    known.then(|| std::fs::metadata(directory).ok()).flatten().map(|metadata| metadata.dev())
}

/// Elsewhere nothing is remembered: every file is read each time.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn device_that_keeps_times(_directory: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::tree::{Content, MAIN};

    const LOOKED: i64 = 1_000_000_000_000_000_123;

    fn stat() -> Stat {
        Stat { mode: 0o644, size: 3, mtime_ns: 5, ctime_ns: LOOKED - 70_000_000_007, inode: 9 }
    }

    fn cache() -> StatCache {
        let entry = Entry { content: Content::File([1; 32]), xattrs: None, stat: stat() };
        let tree = Tree::new(vec![(Box::from(&b"a"[..]), entry)]);
        let trees = Trees::from([(MAIN.to_owned(), tree)]);
        StatCache { looked_ns: LOOKED, devices: vec![(MAIN.to_owned(), 4)], trees }
    }

    #[test]
    fn an_entry_is_believed_only_if_every_field_is_the_same() {
        let cache = cache();
        let recorded = cache.of(MAIN, 4, LOOKED).and_then(|tree| tree.get(b"a")).unwrap();
        let believed = |stat: &Stat| is_current(recorded, stat, Kind::File);
        assert!(believed(&stat()));
        assert!(!believed(&Stat { mode: 0o645, ..stat() }));
        assert!(!believed(&Stat { size: 4, ..stat() }));
        assert!(!believed(&Stat { mtime_ns: 6, ..stat() }));
        assert!(!believed(&Stat { ctime_ns: stat().ctime_ns + 1, ..stat() }));
        assert!(!believed(&Stat { inode: 8, ..stat() }));
        assert!(!is_current(recorded, &stat(), Kind::Link));
    }

    #[test]
    fn another_device_context_or_a_clock_set_back_voids_everything() {
        assert!(cache().of(MAIN, 5, LOOKED).is_none());
        assert!(cache().of("other", 4, LOOKED).is_none());
        assert!(cache().of(MAIN, 4, LOOKED - 1).is_none());
    }

    #[test]
    fn what_is_young_is_not_recorded() {
        let aged = |ctime_ns| Stat { mtime_ns: 0, ctime_ns, ..stat() };
        for (stat, settled) in [
            (stat(), true),
            (aged(LOOKED - SETTLED_NS - 1), true),
            (aged(LOOKED - SETTLED_NS), false),
            (aged(LOOKED + 1), false),
            // A modification time in the future says nothing about the next change.
            (Stat { mtime_ns: LOOKED + 1, ..stat() }, false),
        ] {
            assert_eq!(is_settled(&stat, LOOKED), settled, "{stat:?}");
        }
    }
}
