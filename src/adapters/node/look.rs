//! One look into a node: what its CRI lists, which layers are unpacked, which blobs are there.
//! Depends on: names, adapters::docker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;

use super::{NodeError, failed};
use crate::adapters::docker::Engine;
use crate::names::ConfigDigest;

/// How long a look into a node may take.
const LIMIT: Duration = Duration::from_secs(20);
/// What `ctr` and the CRI use unless they are told otherwise.
const DEFAULT_SNAPSHOTTER: &str = "overlayfs";

/// What a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The images that its CRI lists.
    pub images: Vec<ListedImage>,
    /// The chain ids of the layers that are unpacked.
    pub chains: BTreeSet<String>,
    /// The snapshotter that its CRI uses, which those layers are unpacked for; where it was not asked, it is the default.
    pub snapshotter: Option<String>,
    /// The blobs of its content store, with their sizes in bytes; `None` where they were not looked at.
    pub blobs: Option<BTreeMap<String, u64>>,
}

impl Contents {
    /// The snapshotter that the node's CRI uses.
    #[must_use]
    pub fn snapshotter(&self) -> &str {
        self.snapshotter.as_deref().unwrap_or(DEFAULT_SNAPSHOTTER)
    }
}

/// An image that a CRI lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedImage {
    /// Its config digest.
    pub id: ConfigDigest,
    /// Its names with a tag, in their canonical form. None when the tags were moved to other images.
    pub names: Vec<String>,
}

/// All questions of one look, answered side by side, each with its exit code behind it. The first arguments are what must be
/// found among the images and the snapshots; where all of it is, nothing is to be loaded and the rest is not asked.
///
/// `ctr` rounds the sizes of blobs, and a manifest needs them exact: the files of the store have them; but only blobs that
/// containerd lists for Kubernetes are there for it.
///
/// The tools live for milliseconds: threads and collecting garbage cost them more than they are worth.
const SCRIPT: &str = r#"
export GOMAXPROCS=1 GOGC=off
ctr() { command ctr --namespace=k8s.io "$@"; }
ask() { "$@"; echo; echo "== $?"; }
files() { cd /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256 && find . -ignore_readdir_race -type f -printf '%f %s\n'; true; }
exec 3< <(ask crictl images -o json) 4< <(ask ctr snapshots --snapshotter overlayfs ls 2>&1)
found=$(cat <&3; cat <&4)
echo "$found"
for wanted; do [[ $found == *"$wanted"* ]] || break; done
[[ $# -eq 0 || $found != *"$wanted"* ]] || exit 0
exec 3< <(ask ctr content ls -q) 4< <(ask files)
place=$(crictl imagefsinfo) || exit
place=${place##*io.containerd.snapshotter.v1.} place=${place%%\"*}
cat <&3; cat <&4
echo "$place"; echo "== 0"
[ "$place" = overlayfs ] || ask ctr snapshots --snapshotter "$place" ls
"#;

impl Engine {
    /// Looks at what a node has, in one exec. Of a node where all the `wanted` texts (names, ids, chain ids) are found the
    /// blobs are not looked at; with none wanted they are.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn contents(&self, node: &str, wanted: &[String]) -> Result<Contents, NodeError> {
        let mut argv = vec!["bash", "-c", SCRIPT, "tg"];
        argv.extend(wanted.iter().map(String::as_str));
        let shown = ["crictl", "images"];
        let finished = self.exec_within(LIMIT, node, &argv, &shown).await?;
        let contents = (finished.code == 0).then(|| read(&finished.stdout, wanted.is_empty()));
        contents.flatten().ok_or_else(|| failed(node, &shown, &finished))
    }
}

/// `None` when a question was not answered; with `whole`, all of them have to be.
pub(super) fn read(text: &str, whole: bool) -> Option<Contents> {
    let mut answers = Vec::new();
    let mut rest = text;
    while let Some((answer, after)) = rest.split_once("\n== ") {
        let (code, after) = after.split_once('\n').unwrap_or((after, ""));
        answers.push((code.trim() == "0").then_some(answer));
        rest = after;
    }
    let mut answers = answers.into_iter();
    let images = listed_images(answers.next()??)?;
    let common = answers.next()?;
    let Some(listed) = answers.next() else {
        if whole {
            return None;
        }
        return Some(Contents { images, chains: chains(common?), ..Contents::default() });
    };
    let (files, snapshotter) = (answers.next()??, answers.next()??.trim().to_owned());
    // One that the CRI does not use may not be there to be listed.
    let chains =
        chains(if snapshotter == DEFAULT_SNAPSHOTTER { common? } else { answers.next()?? });
    Some(Contents {
        images,
        chains,
        snapshotter: Some(snapshotter),
        blobs: Some(blobs(listed?, files)),
    })
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

    fn told(answers: &[(&str, i32)]) -> Option<Contents> {
        read(&answers.iter().map(|(text, code)| answer(text, *code)).collect::<String>(), false)
    }

    #[test]
    fn a_look_is_read_whole_or_not_at_all() {
        let light = told(&[(IMAGES, 0), (SNAPSHOTS, 0)]).unwrap();
        assert_eq!(light.images[0].names, ["docker.io/library/app:test"]);
        assert_eq!(light.images[1].names, [""; 0]);
        assert_eq!(light.chains, BTreeSet::from(["sha256:1".to_owned(), "sha256:2".to_owned()]));
        assert_eq!((light.snapshotter, light.blobs), (None, None));
        let answers = format!("{}{}", answer(IMAGES, 0), answer(SNAPSHOTS, 0));
        assert_eq!(read(&answers, true), None, "asked for everything");

        let (listed, files) = ("sha256:1f\nsha256:2f", "1f 10\n3f 30");
        let blobs = Some(BTreeMap::from([("sha256:1f".to_owned(), 10)]));
        let whole = [(IMAGES, 0), (SNAPSHOTS, 0), (listed, 0), (files, 0), ("overlayfs", 0)];
        let full = told(&whole).unwrap();
        assert_eq!((full.snapshotter.as_deref(), full.blobs), (Some("overlayfs"), blobs.clone()));
        assert_eq!(full.chains.len(), 2);

        // Another snapshotter: the default's own listing failed, or is of no interest.
        for (text, code) in [("no such plugin", 1), ("sha256:9 Committed", 0)] {
            let other =
                [(IMAGES, 0), (text, code), (listed, 0), (files, 0), ("native", 0), (SNAPSHOTS, 0)];
            let other = told(&other).unwrap();
            assert_eq!((other.snapshotter.as_deref(), &other.blobs), (Some("native"), &blobs));
            assert_eq!(other.chains.len(), 2);
        }

        // Every single answer that fails or is cut off makes the whole look fail.
        for broken in 0..whole.len() {
            let mut answers = whole;
            answers[broken].1 = 1;
            assert_eq!(told(&answers), None, "{broken} failed");
        }
        for length in [0, 1, 3, 4] {
            assert_eq!(told(&whole[..length]), None, "only {length} answered");
        }
        assert_eq!(told(&[("no json", 0), (SNAPSHOTS, 0)]), None);
        assert_eq!(told(&[(r#"{"images":[{"id":"odd"}]}"#, 0), (SNAPSHOTS, 0)]), None);
    }
}
