//! Giving a node an image: by a pull from an endpoint of ours, as an archive, or by one more name for what it has.
//! Depends on: names, adapters::docker.

use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::look::{Contents, read};
use super::{NodeError, failed};
use crate::adapters::docker::Engine;
use crate::names::{ConfigDigest, ImageRef};

/// An image that a node is to have under a name.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    /// The name that the image gets.
    pub image: &'a ImageRef,
    /// What the CRI will call it.
    pub config: &'a ConfigDigest,
    /// The image that had the name until now, if no other name stands for it.
    pub superseded: Option<&'a ConfigDigest>,
    /// The snapshotter of the CRI.
    pub snapshotter: &'a str,
}

/// One load at a time gives an image to a node under one name. What a killed `tg` began there ends on its own, and must not
/// end behind the next load.
const LOCK: &str = r#"
ctr() { command ctr --namespace=k8s.io "$@"; }
ask() { "$@"; echo; echo "== $?"; }
exec 9>"/run/tg-load.${image//[^a-zA-Z0-9.]/-}.lock" && flock --wait 600 9 || exit
"#;

/// Pulls by a configuration of registries that knows only one host for all names. So the image gets its real name at once,
/// and a load that is killed leaves none that nobody asked for. The directory is on a tmpfs.
const PULL: &str = r#"
hosts=/run/$directory
mkdir -p "$hosts/_default" || exit
trap 'rm -rf "$hosts"' EXIT
printf 'server = "%s"\noverride_path = true\ncapabilities = ["pull", "resolve"]\n' "$url" >"$hosts/_default/hosts.toml" || exit
ctr images pull --hosts-dir "$hosts" --snapshotter "$snapshotter" "$image" >/dev/null || exit
"#;

/// Without `--digests`, which leaves `import-<date>@…` names behind that nobody asked for.
const IMPORT: &str = r#"
ctr images import --snapshotter "$snapshotter" -
"#;

const ADD_NAME: &str = r#"
ctr images tag --force "$known_as" "$image" >/dev/null || exit
"#;

/// The same look as ever, in the same exec.
///
/// The superseded image has nothing left but the name that the CRI gave it, its own digest; that is removed once the CRI shows
/// the new image, unless a container is made from the old one. Should somebody have given it another name meanwhile, the image
/// stays under that one. Nobody waits for it but the next load, by the lock.
const LOOK: &str = r#"
export GOMAXPROCS=1 GOGC=off
exec 3< <(ask crictl images -o json) 4< <(ask ctr snapshots --snapshotter "$snapshotter" ls)
found=$(cat <&3; cat <&4)
echo "$found"
[ -n "$superseded" ] && [[ $found == *"\"$config\""* ]] || exit 0
{ containers=$(crictl ps --all -o json) && [[ $containers != *"$superseded"* ]] && ctr images rm "$superseded"; } >/dev/null 2>&1 &
"#;

/// The CRI notes what it pulled under its tag and under its digest; both go once the image has its real name.
const PULL_FROM_REGISTRY: &str = r#"
crictl pull "$name" >/dev/null && ctr images tag --force "$name" "$image" >/dev/null || exit
repository=${name%:*}
ctr images ls -q | while read -r other; do
  case $other in "$repository":tg-* | "$repository"@*) ctr images rm "$other" >/dev/null ;; esac
done
"#;

impl Engine {
    /// Pulls an image under its real name and unpacks it. What the node has then.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn pull(
        &self,
        node: &str,
        naming: &Naming<'_>,
        url: &str,
        directory: &str,
    ) -> Result<Contents, NodeError> {
        let script = ["url=$5 directory=$6", LOCK, PULL, LOOK].concat();
        let shown = ["ctr", "images", "pull", "--snapshotter", naming.snapshotter];
        self.give(node, naming, &script, &[url, directory], &shown).await
    }

    /// Gives an image that a node has one more name, which another image may have had. What the node has then.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn add_name(
        &self,
        node: &str,
        naming: &Naming<'_>,
        known_as: &str,
    ) -> Result<Contents, NodeError> {
        let script = ["known_as=$5", LOCK, ADD_NAME, LOOK].concat();
        let shown = ["ctr", "images", "tag", "--force", known_as];
        self.give(node, naming, &script, &[known_as], &shown).await
    }

    /// Runs a script that has the parts of `naming` as variables, and `rest` as its arguments from the fifth on.
    async fn give(
        &self,
        node: &str,
        naming: &Naming<'_>,
        script: &str,
        rest: &[&str],
        shown: &[&str],
    ) -> Result<Contents, NodeError> {
        let script = format!("image=$1 config=$2 superseded=$3 snapshotter=$4 {script}");
        let Naming { image, config, superseded, snapshotter } = naming;
        let image = image.canonical();
        let superseded = superseded.map_or("", ConfigDigest::as_str);
        let own = [image, config.as_str(), superseded, snapshotter];
        let argv = [["bash", "-c", &script, "tg"].as_slice(), &own, rest].concat();
        let finished = self.exec(node, &argv, None).await?;
        let contents = (finished.code == 0).then(|| read(&finished.stdout)).flatten();
        contents.ok_or_else(|| failed(node, &[shown, &[image]].concat(), &finished))
    }

    /// Has the CRI pull an image by its own configuration of registries, and gives it its real name.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what was printed.
    pub async fn pull_from_registry(
        &self,
        node: &str,
        name: &str,
        image: &ImageRef,
    ) -> Result<(), NodeError> {
        let script = ["name=$1 image=$2", LOCK, PULL_FROM_REGISTRY].concat();
        let argv = ["bash", "-c", &script, "tg", name, image.canonical()];
        let finished = self.exec(node, &argv, None).await?;
        if finished.code == 0 {
            Ok(())
        } else {
            Err(failed(node, &["crictl", "pull", name], &finished))
        }
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
        let script = ["image=$1 snapshotter=$2", LOCK, IMPORT].concat();
        let argv = ["bash", "-c", &script, "tg", image.canonical(), snapshotter];
        let finished = self.exec(node, &argv, Some(pieces)).await?;
        let shown = ["ctr", "images", "import", "--snapshotter", snapshotter, "-"];
        if finished.code == 0 { Ok(()) } else { Err(failed(node, &shown, &finished)) }
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
