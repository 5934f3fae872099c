//! Giving a node an image: by a pull from an endpoint of ours, as an archive, or by one more name for what it has.
//! Depends on: names, adapters::docker.

use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::look::{Contents, WRITTEN, read};
use super::{NodeError, failed};
use crate::adapters::docker::{Engine, Finished};
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

impl Naming<'_> {
    /// What the scripts call its parts.
    fn variables(&self) -> [(&str, &str); 4] {
        [
            ("image", self.image.canonical()),
            ("config", self.config.as_str()),
            ("superseded", self.superseded.map_or("", ConfigDigest::as_str)),
            ("snapshotter", self.snapshotter),
        ]
    }
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
/// How long a pull may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// Pulls by a configuration of registries that knows only one host for all names. So the image gets its real name at once,
/// and a load that is killed leaves none that nobody asked for. The directory is on a tmpfs. The address holds the secret of the
/// load, so nobody else may read the file.
const PULL: &str = r#"
umask 077 && hosts=/run/tg-load-$BASHPID-$RANDOM$RANDOM && trap 'rm -rf "$hosts"' EXIT && mkdir "$hosts" "$hosts/_default" || exit
[ -n "$where" ] || export GOMAXPROCS=1 GOGC=off
printf 'server = "%s"\noverride_path = true\ncapabilities = ["pull", "resolve"]\n' "$url" >"$hosts/_default/hosts.toml" || exit
ctr images pull $where --hosts-dir "$hosts" --snapshotter "$snapshotter" "$image" >/dev/null || exit
# Everything is unpacked, or it would have failed.
layers=true
"#;

/// containerd's transfer service, which `ctr` has used since 2.0 unless told otherwise, unpacks by the snapshotter that it is
/// configured for, and for no other: `no unpack platforms defined`.
const WHERE: &str = r#"
where=
[ "$snapshotter" = overlayfs ] || [[ $(ctr images import --help) != *--local* ]] || where=--local
"#;

/// Without `--digests`, which leaves `import-<date>@…` names behind that nobody asked for.
const IMPORT: &str = r#"
ctr images import $where --snapshotter "$snapshotter" -
"#;

const ADD_NAME: &str = r#"
ctr images tag --force "$known_as" "$image" >/dev/null || exit
layers="ctr snapshots --snapshotter $snapshotter ls"
"#;

/// The same look as ever, in the same exec.
///
/// The superseded image has nothing left but the name that the CRI gave it, its own digest; that is removed once the CRI shows
/// the new image, unless a container is made from the old one. Should somebody have given it another name meanwhile, the image
/// stays under that one. Nobody waits for it but the next load, by the lock.
const LOOK: &str = r#"
export GOMAXPROCS=1 GOGC=off
exec 3< <(ask crictl images -o json) 4< <(ask $layers)
found=$(cat <&3; cat <&4)
echo "$found"
[ -n "$superseded" ] && [[ $found == *"\"$config\""* ]] || exit 0
{ renice -n 19 $BASHPID; containers=$(crictl ps --all -o json) && [[ $containers != *"$superseded"* ]] && ctr images rm "$superseded"; } >/dev/null 2>&1 &
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
    /// Pulls an image under its real name from `http://ADDRESS:PORT/v2/SECRET` and unpacks it. What the node has then, without
    /// the layers that are unpacked: all of the image's are.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn pull(
        &self,
        node: &str,
        naming: &Naming<'_>,
        url: &str,
    ) -> Result<Contents, NodeError> {
        let shown = ["ctr", "images", "pull", "--snapshotter", naming.snapshotter];
        let script = [LOCK, WHERE, PULL, WRITTEN, LOOK].concat();
        let variables = [&naming.variables()[..], &[("url", url)]].concat();
        seen(node, &shown, &self.under_lock(node, (&variables, &script), &shown, LIMIT).await?)
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
        let shown = ["ctr", "images", "tag", "--force", known_as, naming.image.canonical()];
        let script = [LOCK, ADD_NAME, WRITTEN, LOOK].concat();
        let variables = [&naming.variables()[..], &[("known_as", known_as)]].concat();
        seen(node, &shown, &self.under_lock(node, (&variables, &script), &shown, SMALL).await?)
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
        let shown = ["ctr", "images", "rm", naming.image.canonical()];
        let script = [LOCK, REMOVE_BROKEN].concat();
        let variables = [&naming.variables()[..], &[("chain", chain)]].concat();
        done(node, &shown, &self.under_lock(node, (&variables, &script), &shown, SMALL).await?)
    }

    /// Runs a script that takes the lock, again until it gets it.
    async fn under_lock(
        &self,
        node: &str,
        script: (&[(&str, &str)], &str),
        shown: &[&str],
        limit: Duration,
    ) -> Result<Finished, NodeError> {
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            let finished = self.run_within(limit, node, script, shown).await?;
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
        let shown = ["crictl", "pull", name];
        let script = [LOCK, PULL_FROM_REGISTRY].concat();
        let variables = [("name", name), ("image", image.canonical())];
        done(node, &shown, &self.under_lock(node, (&variables, &script), &shown, LIMIT).await?)
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
        let shown = ["ctr", "images", "import", "--snapshotter", snapshotter, "-"];
        // An archive cannot be sent twice, so another load is waited for beforehand.
        let variables = [("image", image.canonical())];
        self.under_lock(node, (&variables, LOCK), &shown, SMALL).await?;
        let script = ["image=$1 snapshotter=$2", LOCK, WHERE, IMPORT].concat();
        let argv = ["bash", "-c", &script, "tg", image.canonical(), snapshotter];
        let finished = self.feed(node, &argv, pieces).await;
        let finished = finished.map_err(|source| NodeError::Exec {
            node: node.to_owned(),
            command: shown.join(" "),
            source: Box::new(source),
        })?;
        done(node, &shown, &finished)
    }

    /// Removes an image that has no name any more from a node, unless a container is made from it. Whether it was removed.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what was printed.
    pub async fn remove_unused(&self, node: &str, image: &ConfigDigest) -> Result<bool, NodeError> {
        const SCRIPT: &str = r#"
containers=$(crictl ps --all -o json) || exit
[[ $containers != *"$id"* ]] || exit 3
ctr --namespace=k8s.io images rm "$id" >/dev/null"#;
        let shown = ["ctr", "images", "rm", image.as_str()];
        let script = (&[("id", image.as_str())][..], SCRIPT);
        let finished = self.run_within(SMALL, node, script, &shown).await?;
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
    read(&finished.stdout).ok_or_else(|| failed(node, shown, finished))
}
