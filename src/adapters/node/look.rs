//! One look into a node: what its CRI lists, which layers are unpacked, which blobs are there.
//! Depends on: names, adapters::docker, jiff.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard::query_parameters::ContainerArchiveInfoOptionsBuilder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{NodeError, failed};
use crate::adapters::docker::Engine;
use crate::names::ConfigDigest;

/// How long a look into a node may take.
const LIMIT: Duration = Duration::from_secs(20);
/// What `ctr` and the CRI use unless they are told otherwise.
pub const DEFAULT_SNAPSHOTTER: &str = "overlayfs";

/// Where containerd notes its images, blobs and snapshots. A macro, since it is a part of scripts.
macro_rules! database {
    () => {
        "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"
    };
}
/// How long that must not have been written for what is seen to be all that was written. The CRI followed containerd within
/// 20 ms, on a busy machine too, and the clocks of files tick every few milliseconds.
const SETTLED: Duration = Duration::from_secs(1);
/// The same for a file system whose clock may tick in seconds.
const SETTLED_IN_SECONDS: Duration = Duration::from_secs(4);

/// A state of containerd's database. Whatever changes images, blobs or snapshots in a node writes it, and so does a start of
/// containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its size.
    bytes: u64,
    /// When it was written last.
    at: Timestamp,
}

/// What a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The state of containerd's database that all of this belongs to; `None` when that was written only just before.
    pub written: Option<Written>,
    /// The images that its CRI lists.
    pub images: Vec<ListedImage>,
    /// The chain ids of the layers that are unpacked.
    pub chains: BTreeSet<String>,
    /// Which start of containerd this is; `None` where it cannot be told.
    pub containerd: Option<String>,
    /// The snapshotter of the CRI, which those layers are unpacked by; `None` where it was not asked, and then they are the
    /// layers of the default.
    pub snapshotter: Option<String>,
    /// The blobs of its content store, with their sizes in bytes; `None` where they were not looked at.
    pub blobs: Option<BTreeMap<String, u64>>,
}

impl Contents {
    /// The snapshotter that the layers are unpacked by.
    #[must_use]
    pub fn snapshotter(&self) -> &str {
        self.snapshotter.as_deref().unwrap_or(DEFAULT_SNAPSHOTTER)
    }
}

/// An image that a CRI lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedImage {
    /// Its config digest.
    pub id: ConfigDigest,
    /// Its names with a tag, in their canonical form. None when the tags were moved to other images.
    pub names: Vec<String>,
}

/// The first answer of every look, from before all others. containerd makes its socket anew whenever it starts, and only then
/// reads its configuration.
/// The database is locked by the containerd that uses it; one that nobody uses, since containerd was told to keep its files
/// elsewhere, says nothing.
pub(super) const WRITTEN: &str = concat!(
    "echo \"$({ flock --nonblock 3 3<",
    database!(),
    "; } 2>/dev/null || stat --format='%s %.9Y' ",
    database!(),
    ") $EPOCHREALTIME $(stat --format='%i.%.9Z' /run/containerd/containerd.sock)\"; echo; echo '== 0'\n"
);

/// What the scripts of a look share. The tools live for milliseconds: threads and collecting garbage cost them more than they
/// are worth.
const TOOLS: &str = r#"
export GOMAXPROCS=1 GOGC=off
ctr() { command ctr --namespace=k8s.io "$@"; }
ask() { "$@"; echo; echo "== $?"; }
"#;

/// Two questions, answered side by side, each with its exit code behind it.
const LISTS: &str = r#"
exec 3< <(ask crictl images -o json) 4< <(ask ctr snapshots --snapshotter "$snapshotter" ls 2>&1)
cat <&3; cat <&4
"#;

/// `ctr` rounds the sizes of blobs, and a manifest needs them exact: the files of the store have them; but only blobs that
/// containerd lists for Kubernetes are there for it.
const CLOSER: &str = r#"
files() { cd /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256 && find . -ignore_readdir_race -type f -printf '%f %s\n'; true; }
exec 3< <(ask ctr content ls -q) 4< <(ask files)
place=$(crictl imagefsinfo) || exit
place=${place##*io.containerd.snapshotter.v1.} place=${place%%\"*}
cat <&3; cat <&4
echo "$place"; echo "== 0"
[ "$place" = "$snapshotter" ] || ask ctr snapshots --snapshotter "$place" ls
"#;

impl Engine {
    /// Looks at what a node lists: its images, and the layers that are unpacked by a snapshotter.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn contents(&self, node: &str, snapshotter: &str) -> Result<Contents, NodeError> {
        let script = [TOOLS, WRITTEN, LISTS].concat();
        self.look(node, snapshotter, &script, read).await
    }

    /// Looks at what else a node has than what it lists: its blobs, and which snapshotter its CRI uses.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn closer(&self, node: &str, listed: &Contents) -> Result<Contents, NodeError> {
        let script = [TOOLS, CLOSER].concat();
        let read = |text: &str| read_closer(text, listed);
        self.look(node, listed.snapshotter(), &script, read).await
    }

    async fn look(
        &self,
        node: &str,
        snapshotter: &str,
        script: &str,
        read: impl Fn(&str) -> Option<Contents>,
    ) -> Result<Contents, NodeError> {
        let shown = ["crictl", "images"];
        let variables = [("snapshotter", snapshotter)];
        let finished = self.run_within(LIMIT, node, (&variables, script), &shown).await?;
        let contents = (finished.code == 0).then(|| read(&finished.stdout));
        contents.flatten().ok_or_else(|| failed(node, &shown, &finished))
    }

    /// The state of a node's database, without starting anything there; `None` where it cannot be told.
    pub async fn written(&self, node: &str) -> Option<Written> {
        let options = ContainerArchiveInfoOptionsBuilder::new().path(database!()).build();
        let told = self.client().get_container_archive_info(node, Some(options));
        let told = tokio::time::timeout(LIMIT, told).await.ok()?.ok()?;
        Some(Written {
            bytes: told.size.try_into().ok()?,
            at: told.modification_time?.parse().ok()?,
        })
    }
}

/// From `BYTES WRITTEN NOW START`, the times in seconds with a fraction. What the database was when it was left alone for long
/// enough, and which start of containerd it is.
fn settled(text: &str) -> (Option<Written>, Option<String>) {
    let mut parts = text.split_whitespace();
    let time = |text: &str| {
        let (seconds, fraction) = text.split_once('.')?;
        Timestamp::new(seconds.parse().ok()?, format!("{fraction:0<9}").parse().ok()?).ok()
    };
    let mut written = || {
        let (bytes, at, now) = (parts.next()?, time(parts.next()?)?, time(parts.next()?)?);
        let age = Duration::try_from(now.duration_since(at)).ok()?;
        let ticks_in_seconds = at.subsec_nanosecond() == 0;
        let needed = if ticks_in_seconds { SETTLED_IN_SECONDS } else { SETTLED };
        Some((age > needed).then_some(Written { bytes: bytes.parse().ok()?, at }))
    };
    let Some(written) = written() else { return (None, None) };
    (written, parts.next().map(str::to_owned))
}

/// The answers to the questions of a script; `None` where one failed.
fn answers(text: &str) -> impl Iterator<Item = Option<&str>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (answer, after) = rest.split_once("\n== ")?;
        let (code, after) = after.split_once('\n').unwrap_or((after, ""));
        rest = after;
        Some((code.trim() == "0").then_some(answer))
    })
}

/// `None` when a question was not answered. A snapshotter that is not there has no layers.
pub(super) fn read(text: &str) -> Option<Contents> {
    let mut answers = answers(text);
    let (written, containerd) = settled(answers.next()??);
    let images = listed_images(answers.next()??)?;
    let chains = answers.next()?.map(chains).unwrap_or_default();
    Some(Contents { written, containerd, images, chains, ..Contents::default() })
}

fn read_closer(text: &str, before: &Contents) -> Option<Contents> {
    let mut answers = answers(text);
    let (listed, files) = (answers.next()??, answers.next()??);
    let snapshotter = answers.next()??.trim().to_owned();
    let is_same = snapshotter == before.snapshotter();
    let chains = if is_same { before.chains.clone() } else { chains(answers.next()??) };
    let blobs = Some(blobs(listed, files));
    Some(Contents { chains, snapshotter: Some(snapshotter), blobs, ..before.clone() })
}

#[derive(Deserialize)]
struct Images {
    images: Vec<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    id: String,
    #[serde(default)]
    repo_tags: Vec<String>,
}

fn listed_images(text: &str) -> Option<Vec<ListedImage>> {
    let list: Images = serde_json::from_str(text).ok()?;
    let image = |image: Image| {
        Some(ListedImage { id: ConfigDigest::parse(&image.id)?, names: image.repo_tags })
    };
    list.images.into_iter().map(image).collect()
}

/// The keys of a listing `KEY PARENT KIND`. The snapshots of containers are active; only committed ones are layers.
fn chains(text: &str) -> BTreeSet<String> {
    let committed = text.lines().filter(|line| line.trim_end().ends_with("Committed"));
    let keys = committed.filter_map(|line| line.split_whitespace().next());
    keys.filter(|key| key.starts_with("sha256:")).map(str::to_owned).collect()
}

fn blobs(listed: &str, files: &str) -> BTreeMap<String, u64> {
    let listed: BTreeSet<&str> = listed.lines().collect();
    let file = |line: &str| {
        let (hex, size) = line.split_once(' ')?;
        Some((format!("sha256:{hex}"), size.parse::<u64>().ok()?))
    };
    let files = files.lines().filter_map(file);
    files.filter(|(digest, _)| listed.contains(digest.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: &str = r#"{"images":[{"id":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","repoTags":["docker.io/library/app:test"],"repoDigests":[]},
        {"id":"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}]}"#;
    const SNAPSHOTS: &str = "KEY PARENT KIND\nsha256:1  Committed \nsha256:2 sha256:1 Committed\nsha256:3 sha256:2 Active\n77aa sha256:2 Committed";

    fn answer(text: &str, code: i32) -> String {
        format!("{text}\n\n== {code}\n")
    }

    fn all(answers: &[(&str, i32)]) -> String {
        answers.iter().map(|(text, code)| answer(text, *code)).collect()
    }

    const WRITTEN: &str = "4096 1000.000000001 1003.000001 7.9";

    #[test]
    fn a_look_is_read_whole_or_not_at_all() {
        let asked = [(WRITTEN, 0), (IMAGES, 0), (SNAPSHOTS, 0)];
        let light = read(&all(&asked)).unwrap();
        assert_eq!(light.images[0].names, ["docker.io/library/app:test"]);
        assert_eq!(light.images[1].names, [""; 0]);
        assert_eq!(light.chains, BTreeSet::from(["sha256:1".to_owned(), "sha256:2".to_owned()]));
        assert_eq!((&light.snapshotter, &light.blobs), (&None, &None));
        assert_eq!((light.written, light.containerd), settled(WRITTEN));
        for length in 0..asked.len() {
            assert_eq!(read(&all(&asked[..length])), None, "only {length} answered");
        }
        let no_plugin = [(WRITTEN, 0), (IMAGES, 0), ("no such plugin", 1)];
        assert_eq!(read(&all(&no_plugin)).unwrap().chains, BTreeSet::new());
        for broken in [("no json", 0), (r#"{"images":[{"id":"odd"}]}"#, 0), (IMAGES, 1)] {
            assert_eq!(read(&all(&[(WRITTEN, 0), broken, (SNAPSHOTS, 0)])), None, "{broken:?}");
        }
    }

    #[test]
    fn a_closer_look_is_read_whole_or_not_at_all() {
        let light = read(&all(&[(WRITTEN, 0), (IMAGES, 0), (SNAPSHOTS, 0)])).unwrap();
        let (listed, files) = ("sha256:1f\nsha256:2f", "1f 10\n3f 30");
        let blobs = Some(BTreeMap::from([("sha256:1f".to_owned(), 10)]));
        let asked = [(listed, 0), (files, 0), ("overlayfs", 0)];
        let full = read_closer(&all(&asked), &light).unwrap();
        let snapshotter = Some("overlayfs".to_owned());
        assert_eq!(full, Contents { snapshotter, blobs: blobs.clone(), ..light.clone() });

        // Another snapshotter: its own listing counts.
        let other = [(listed, 0), (files, 0), ("native", 0), ("sha256:9 Committed", 0)];
        let other_one = read_closer(&all(&other), &light).unwrap();
        let chains = BTreeSet::from(["sha256:9".to_owned()]);
        let snapshotter = Some("native".to_owned());
        assert_eq!(other_one, Contents { chains, snapshotter, blobs, ..light.clone() });

        // Every single answer that fails or is cut off makes the whole look fail.
        for broken in 0..other.len() {
            let mut answers = other;
            answers[broken].1 = 1;
            assert_eq!(read_closer(&all(&answers), &light), None, "{broken} failed");
            assert_eq!(read_closer(&all(&other[..broken]), &light), None, "{broken} answered");
        }
    }

    #[test]
    fn a_look_holds_for_a_database_that_was_left_alone() {
        let written = |at: &str| Some(Written { bytes: 4096, at: at.parse().unwrap() });
        for (text, wanted) in [
            ("4096 1000.000000001 1003.000000", written("1970-01-01T00:16:40.000000001Z")),
            ("4096 1000.120000000 1001.120001", written("1970-01-01T00:16:40.12Z")),
            ("4096 1000.120000000 1001.120000", None),
            ("4096 1000.120000000 1000.2", None),
            ("4096 1000.120000000 900.12", None),
            ("4096 1000.000000000 1003.5", None),
            ("4096 1000.000000000 1004.5", written("1970-01-01T00:16:40Z")),
            ("4096 1000 1010", None),
            ("4096 1000.120000000", None),
            ("1010", None),
            ("", None),
        ] {
            assert_eq!(settled(text).0, wanted, "{text}");
        }
        assert_eq!(settled("4096 1000.1 1000.2 7.9"), (None, Some("7.9".to_owned())));
        assert_eq!(settled("4096 1000.1 1002.2"), (written("1970-01-01T00:16:40.1Z"), None));
        assert_eq!(settled("1000.2 7.9"), (None, None));
    }
}
