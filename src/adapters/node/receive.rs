//! Giving a node an image: by a pull from an endpoint of ours, as an archive, or by one more name for what it has.
//! Depends on: names, adapters::docker.

use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::look::{Contents, read};
use super::{Finished, NodeError, failed};
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
/// end behind the next load; so nothing waits for the lock in the node, where it would outlive its `tg`.
const LOCK: &str = r#"
ctr() { command ctr --namespace=k8s.io "$@"; }
ask() { "$@"; echo; echo "== $?"; }
exec 9>"/run/tg-load.${image//[^a-zA-Z0-9.]/-}.lock" && flock --nonblock --conflict-exit-code 75 9 || exit
"#;
/// The code of a script that did not get the lock.
const LOCKED: i64 = 75;
/// Between two attempts to get the lock.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// Longer than any load that another `tg` may be about.
const LOCK_LIMIT: Duration = Duration::from_secs(600);
/// How long a small command may take.
const SMALL: Duration = Duration::from_secs(60);

/// Pulls by a configuration of registries that knows only one host for all names. So the image gets its real name at once,
/// and a load that is killed leaves none that nobody asked for. The directory is on a tmpfs. The address holds the secret of the
/// load, so it comes on standard input, and nobody else may read the file: arguments can be seen by everybody.
const PULL: &str = r#"
read -r url && umask 077 && hosts=$(mktemp -d /run/tg-load-XXXXXXXX) || exit
trap 'rm -rf "$hosts"' EXIT
mkdir "$hosts/_default" || exit
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

/// The CRI notes what it pulled under its tag and under its digest; both go once the image has its real name. What was there
/// before is somebody else's. Two images of one repository do not get in each other's way, since each has a tag of its own.
const PULL_FROM_REGISTRY: &str = r#"
before=$'\n'$(ctr images ls -q)$'\n' || exit
crictl pull "$name" >/dev/null && ctr images tag --force "$name" "$image" >/dev/null || exit
after=$(ctr images ls -q) || exit
for other in $after; do
  case $other in "$name" | "${name%:*}"@*) [[ $before == *$'\n'"$other"$'\n'* ]] || ctr images rm "$other" >/dev/null ;; esac
done
exit 0
"#;

/// A name whose layers are not unpacked is worse than none. One that stands for something else by now is somebody else's.
const REMOVE_BROKEN: &str = r#"
found=$(crictl inspecti -o go-template --template '{{.status.id}}' "$image") || exit 0
[ "$found" = "$config" ] || exit 0
! ctr snapshots --snapshotter "$snapshotter" info "$chain" >/dev/null 2>&1 || exit 0
ctr images rm "$image" >/dev/null
"#;

impl Engine {
    /// Pulls an image under its real name from `http://ADDRESS:PORT/v2/SECRET` and unpacks it. What the node has then.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn pull(
        &self,
        node: &str,
        naming: &Naming<'_>,
        url: &str,
    ) -> Result<Contents, NodeError> {
        let script = [LOCK, PULL, LOOK].concat();
        let shown = ["ctr", "images", "pull", "--snapshotter", naming.snapshotter];
        let finished = self.give(node, naming, &script, &[], Some(url)).await?;
        seen(node, &shown, &finished)
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
        let shown = ["ctr", "images", "tag", "--force", known_as, naming.image.canonical()];
        let finished = self.give(node, naming, &script, &[known_as], None).await?;
        seen(node, &shown, &finished)
    }

    /// Removes a name again if it stands for this image while the layers up to `chain` are not unpacked.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn remove_broken(
        &self,
        node: &str,
        naming: &Naming<'_>,
        chain: &str,
    ) -> Result<(), NodeError> {
        let script = ["chain=$5", LOCK, REMOVE_BROKEN].concat();
        let finished = self.give(node, naming, &script, &[chain], None).await?;
        done(node, &["ctr", "images", "rm", naming.image.canonical()], &finished)
    }

    /// Runs a script under the lock of the name. It has the parts of `naming` as variables, `rest` as its arguments from the
    /// fifth on, and a line on its standard input.
    async fn give(
        &self,
        node: &str,
        naming: &Naming<'_>,
        script: &str,
        rest: &[&str],
        line: Option<&str>,
    ) -> Result<Finished, NodeError> {
        let script = format!("image=$1 config=$2 superseded=$3 snapshotter=$4 {script}");
        let Naming { image, config, superseded, snapshotter } = naming;
        let superseded = superseded.map_or("", ConfigDigest::as_str);
        let own = [image.canonical(), config.as_str(), superseded, snapshotter];
        let argv = [["bash", "-c", &script, "tg"].as_slice(), &own, rest].concat();
        self.under_lock(node, &argv, line).await
    }

    /// Runs a script that takes the lock, again until it gets it.
    async fn under_lock(
        &self,
        node: &str,
        argv: &[&str],
        line: Option<&str>,
    ) -> Result<Finished, NodeError> {
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            let input = match line {
                None => None,
                Some(line) => {
                    let (sender, receiver) = mpsc::channel(1);
                    // There is room for one, and nobody can have closed it.
                    let _ = sender.try_send(Bytes::from(format!("{line}\n")));
                    Some(receiver)
                }
            };
            let finished = self.exec(node, argv, input).await?;
            if finished.code != LOCKED || Instant::now() > deadline {
                return Ok(finished);
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
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
        let finished = self.under_lock(node, &argv, None).await?;
        done(node, &["crictl", "pull", name], &finished)
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
        // An archive cannot be sent twice, so another load is waited for beforehand.
        let wait = ["image=$1", LOCK].concat();
        self.under_lock(node, &["bash", "-c", &wait, "tg", image.canonical()], None).await?;
        let script = ["image=$1 snapshotter=$2", LOCK, IMPORT].concat();
        let argv = ["bash", "-c", &script, "tg", image.canonical(), snapshotter];
        let finished = self.exec(node, &argv, Some(pieces)).await?;
        done(node, &["ctr", "images", "import", "--snapshotter", snapshotter, "-"], &finished)
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
        let shown = ["ctr", "images", "rm", image.as_str()];
        let argv = ["bash", "-c", SCRIPT, "tg", image.as_str()];
        let finished = self.exec_within(SMALL, node, &argv, &shown).await?;
        match finished.code {
            0 => Ok(true),
            3 => Ok(false),
            _ => Err(failed(node, &shown, &finished)),
        }
    }
}

/// The end of a script that has nothing to say.
fn done(node: &str, shown: &[&str], finished: &Finished) -> Result<(), NodeError> {
    if finished.code == 0 { Ok(()) } else { Err(failed(node, shown, finished)) }
}

/// The end of a script that looked at the node.
fn seen(node: &str, shown: &[&str], finished: &Finished) -> Result<Contents, NodeError> {
    done(node, shown, finished)?;
    read(&finished.stdout, false).ok_or_else(|| failed(node, shown, finished))
}
