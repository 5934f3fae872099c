//! Giving a node an image: by a pull from an endpoint of ours, as an archive, or by one more name for what it has.
//! Depends on: names, adapters::docker.

use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::look::{Contents, read};
use super::{NodeError, failed};
use crate::adapters::docker::Engine;
use crate::names::{ConfigDigest, ImageRef};

/// A pull of one node from an endpoint of ours.
#[derive(Clone, Debug)]
pub struct Pull<'a> {
    /// Where from: `http://ADDRESS:PORT/v2/SECRET`, and nowhere else.
    pub url: &'a str,
    /// A name for the directory that says so in the node while it pulls; a file name, and no two loads have the same.
    pub directory: &'a str,
    /// The name that the image gets.
    pub image: &'a ImageRef,
    /// What the CRI will call it.
    pub config: &'a ConfigDigest,
    /// The image that had the name until now, if no other name stands for it.
    pub superseded: Option<&'a ConfigDigest>,
    /// The snapshotter of the CRI.
    pub snapshotter: &'a str,
}

/// Pulls by a configuration of registries that knows only one host for all names. So the image gets its real name at once,
/// and a load that is killed leaves none that nobody asked for. The directory is on a tmpfs.
///
/// One load at a time gives an image to a node under one name. What a killed `tg` began there ends on its own, and must not
/// end behind the next load.
///
/// Then the same look as ever, in the same exec. The superseded image has nothing left but the name that the CRI gave it,
/// its own digest; that is removed once the CRI shows the new image, unless a container is made from the old one. Should
/// somebody have given it another name meanwhile, the image stays under that one.
const PULL: &str = r#"
url=$1 hosts=/run/$2 image=$3 config=$4 superseded=$5 snapshotter=$6
ctr() { command ctr --namespace=k8s.io "$@"; }
ask() { "$@"; echo; echo "== $?"; }
exec 9>"/run/tg-load.${image//[^a-zA-Z0-9.]/-}.lock" && flock --wait 600 9 || exit
mkdir -p "$hosts/_default" || exit
trap 'rm -rf "$hosts"' EXIT
printf 'server = "%s"\noverride_path = true\ncapabilities = ["pull", "resolve"]\n' "$url" >"$hosts/_default/hosts.toml" || exit
ctr images pull --hosts-dir "$hosts" --snapshotter "$snapshotter" "$image" >/dev/null || exit
export GOMAXPROCS=1 GOGC=off
exec 3< <(ask crictl images -o json) 4< <(ask ctr snapshots --snapshotter "$snapshotter" ls)
[ -z "$superseded" ] || containers=$(crictl ps --all -o json) || superseded=
found=$(cat <&3; cat <&4)
echo "$found"
[ -n "$superseded" ] && [[ $found == *"\"$config\""* && $containers != *"$superseded"* ]] || exit 0
ctr images rm "$superseded" >/dev/null 2>&1 || exit 0
"#;

/// Imports under the same lock. Without `--digests`, which leaves `import-<date>@…` names behind that nobody asked for.
const IMPORT: &str = r#"
image=$1 snapshotter=$2
exec 9>"/run/tg-load.${image//[^a-zA-Z0-9.]/-}.lock" && flock --wait 600 9 || exit
ctr --namespace=k8s.io images import --snapshotter "$snapshotter" -
"#;

impl Engine {
    /// Pulls an image under its real name and unpacks it. What the node has then.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn pull(&self, node: &str, pull: &Pull<'_>) -> Result<Contents, NodeError> {
        let image = pull.image.canonical();
        let superseded = pull.superseded.map_or("", ConfigDigest::as_str);
        let argv = [
            ["bash", "-c", PULL, "tg"].as_slice(),
            &[pull.url, pull.directory, image, pull.config.as_str(), superseded, pull.snapshotter],
        ]
        .concat();
        let finished = self.exec(node, &argv, None).await?;
        let shown = ["ctr", "images", "pull", "--snapshotter", pull.snapshotter, image];
        let contents = (finished.code == 0).then(|| read(&finished.stdout)).flatten();
        contents.ok_or_else(|| failed(node, &shown, &finished))
    }

    /// Imports an archive that comes in pieces into a node's containerd. Ends when `pieces` closes.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what `ctr` printed.
    pub async fn import(
        &self,
        node: &str,
        image: &ImageRef,
        snapshotter: &str,
        pieces: mpsc::Receiver<Bytes>,
    ) -> Result<(), NodeError> {
        let argv = ["bash", "-c", IMPORT, "tg", image.canonical(), snapshotter];
        let finished = self.exec(node, &argv, Some(pieces)).await?;
        let shown = ["ctr", "images", "import", "--snapshotter", snapshotter, "-"];
        if finished.code == 0 { Ok(()) } else { Err(failed(node, &shown, &finished)) }
    }

    /// Gives an image that a node has one more name, which another image may have had.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what `ctr` printed.
    pub async fn add_name(
        &self,
        node: &str,
        known_as: &str,
        image: &ImageRef,
    ) -> Result<(), NodeError> {
        let argv =
            ["ctr", "--namespace=k8s.io", "images", "tag", "--force", known_as, image.canonical()];
        let finished = self.exec(node, &argv, None).await?;
        if finished.code == 0 { Ok(()) } else { Err(failed(node, &argv, &finished)) }
    }

    /// Removes a name from a node's containerd. The name may be gone already.
    ///
    /// # Errors
    /// [`NodeError::Exec`].
    pub async fn remove_name(&self, node: &str, image: &ImageRef) -> Result<(), NodeError> {
        let argv = ["ctr", "--namespace=k8s.io", "images", "rm", image.canonical()];
        self.exec(node, &argv, None).await.map(drop)
    }

    /// Removes an image that has no name any more from a node, unless a container is made from it. Whether it was removed.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what was printed.
    pub async fn remove_unused(&self, node: &str, image: &ConfigDigest) -> Result<bool, NodeError> {
        const SCRIPT: &str = r#"
containers=$(crictl ps --all -o json) || exit
[[ $containers != *"$1"* ]] || exit 3
ctr --namespace=k8s.io images rm "$1" >/dev/null"#;
        let finished = self.exec(node, &["bash", "-c", SCRIPT, "tg", image.as_str()], None).await?;
        match finished.code {
            0 => Ok(true),
            3 => Ok(false),
            _ => Err(failed(node, &["ctr", "images", "rm", image.as_str()], &finished)),
        }
    }
}
