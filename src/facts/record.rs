//! What tg remembers between runs: hints that save time and may be deleted at any moment. Anything unreadable, of another
//! schema or missing means "unknown". Written atomically, readable by the user alone.
//! Depends on: std, serde, tempfile, names, digest (types).

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::digest::tree::hex;
use crate::names::ImageId;

mod fixed;
mod image;
mod pushes;

pub use image::{LastBuild, Sent, SentContext};
pub use pushes::Pushing;

const SCHEMA: u32 = 1;

/// Where the records of one project and of the clusters are.
#[derive(Clone, Debug)]
pub struct State {
    base: PathBuf,
    project: String,
}

/// A process that creates a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creating {
    /// Its process id.
    pub pid: u32,
    /// When it began, in seconds since 1970.
    pub since: u64,
}

impl Creating {
    /// This process, from now on.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        Self { pid: std::process::id(), since }
    }
}

/// A cluster that tg made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterRecord {
    schema: u32,
    /// Who is creating it; absent once it is ready.
    pub creating: Option<Creating>,
    /// The ids of its node containers; none before all of them are there.
    pub containers: Vec<String>,
}

/// How to reach the cluster that these containers are. Asking Kind starts a dozen processes.
#[derive(Serialize, Deserialize)]
struct AccessRecord {
    schema: u32,
    containers: Vec<String>,
    kubeconfig: String,
}

/// What registries said of base images.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct BaseRecord {
    schema: u32,
    digests: BTreeMap<String, String>,
}

impl State {
    /// The records below `base` for the project whose task file is at `task_file`.
    #[must_use]
    pub fn new(base: PathBuf, task_file: &Path) -> Self {
        let path = task_file.canonicalize().unwrap_or_else(|_| task_file.to_path_buf());
        let digest = hex(&sha2::Sha256::digest(path.as_os_str().as_encoded_bytes()));
        Self { base, project: digest.chars().take(16).collect() }
    }

    fn project(&self) -> PathBuf {
        self.base.join("projects").join(&self.project)
    }

    fn image(&self, id: &ImageId, file: &str) -> PathBuf {
        self.project().join(id.to_string()).join(file)
    }

    /// The directory that everything is in.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The kubeconfig of a cluster.
    #[must_use]
    pub fn kubeconfig(&self, cluster: &str) -> PathBuf {
        self.base.join("clusters").join(cluster).join("kubeconfig")
    }

    fn cluster_file(&self, cluster: &str) -> PathBuf {
        self.base.join("clusters").join(cluster).join("cluster.json")
    }

    /// The file that a tg locks while it makes or deletes a cluster. It stays when the cluster goes, and so does what it locks.
    ///
    /// # Errors
    /// What the system said when it could not be opened.
    pub fn cluster_lock(&self, name: &str) -> std::io::Result<File> {
        lock_file(&self.base.join("locks").join(name))
    }

    /// Whether a tg makes or deletes a cluster just now.
    #[must_use]
    pub fn is_cluster_locked(&self, name: &str) -> bool {
        let file = File::open(self.base.join("locks").join(name));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// What is remembered of a cluster.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<ClusterRecord> {
        read(&self.cluster_file(name)).filter(|record: &ClusterRecord| record.schema == SCHEMA)
    }

    /// Remembers a cluster that is being made (`creating`) or was made.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_cluster(
        &self,
        name: &str,
        creating: Option<Creating>,
        containers: Vec<String>,
    ) -> std::io::Result<()> {
        let record = ClusterRecord { schema: SCHEMA, creating, containers };
        write(&self.cluster_file(name), &serde_json::to_vec(&record)?)
    }

    /// Forgets a cluster and its kubeconfig.
    pub fn forget_cluster(&self, name: &str) {
        // A record that cannot be removed names containers that no longer exist: it is ignored then.
        let _ = std::fs::remove_dir_all(self.base.join("clusters").join(name));
    }

    /// Writes a file of ours.
    ///
    /// # Errors
    /// What the system said.
    pub fn write_file(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        write(path, bytes)
    }

    /// The digest that each base image was last found to have in its registry, by `reference platform`.
    #[must_use]
    pub fn bases(&self) -> BTreeMap<String, String> {
        let record: Option<BaseRecord> = read(&self.project().join("bases.json"));
        record.filter(|record| record.schema == SCHEMA).map(|r| r.digests).unwrap_or_default()
    }

    /// Remembers digests of base images beside those that are known.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_bases(&self, found: &BTreeMap<String, String>) -> std::io::Result<()> {
        let mut digests = self.bases();
        digests.extend(found.iter().map(|(name, digest)| (name.clone(), digest.clone())));
        let record = BaseRecord { schema: SCHEMA, digests };
        write(&self.project().join("bases.json"), &serde_json::to_vec(&record)?)
    }

    fn nodes_file(&self, cluster: &str) -> PathBuf {
        self.base.join("clusters").join(cluster).join("nodes.json")
    }

    /// The containers that were a cluster's running nodes when last looked: their ids and names.
    #[must_use]
    pub fn nodes(&self, cluster: &str) -> Vec<(String, String)> {
        read(&self.nodes_file(cluster)).unwrap_or_default()
    }

    /// Remembers the containers that are a cluster's running nodes, by their ids and names.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_nodes(
        &self,
        cluster: &str,
        containers: &[(String, String)],
    ) -> std::io::Result<()> {
        write_hint(&self.nodes_file(cluster), &serde_json::to_vec(containers)?)
    }

    fn access_file(&self, cluster: &str) -> PathBuf {
        self.base.join("clusters").join(cluster).join("access.json")
    }

    /// The kubeconfig that Kind gave for a cluster of exactly these containers, which tg need not have made.
    #[must_use]
    pub fn access(&self, cluster: &str, containers: &[&str]) -> Option<String> {
        let record: AccessRecord = read(&self.access_file(cluster))?;
        let is_same = record.schema == SCHEMA && record.containers == containers;
        is_same.then_some(record.kubeconfig)
    }

    /// Remembers the kubeconfig that Kind gave for a cluster of these containers.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_access(
        &self,
        cluster: &str,
        containers: &[&str],
        kubeconfig: &str,
    ) -> std::io::Result<()> {
        let containers = containers.iter().map(|id| (*id).to_owned()).collect();
        let record = AccessRecord { schema: SCHEMA, containers, kubeconfig: kubeconfig.to_owned() };
        write_hint(&self.access_file(cluster), &serde_json::to_vec(&record)?)
    }
}

fn lock_file(path: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    File::options().create(true).truncate(false).read(true).write(true).open(path)
}

/// The files of a directory, the newest first.
fn newest_first(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> = files
        .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
        .collect();
    files.sort();
    files.into_iter().rev().map(|(_, path)| path).collect()
}

/// Removes all files of a directory but some of the newest.
fn keep_newest(directory: &Path, count: usize) {
    for old in newest_first(directory).into_iter().skip(count) {
        // One that stays is in the way of nobody.
        let _ = std::fs::remove_file(old);
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// A reader sees the old file or the new one, never half of one. Temporary files are private (0600) from the start.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    replace(path, bytes, File::sync_all)
}

/// The same without waiting for the disk: a record that a crash of the machine empties is one that is missing.
fn write_hint(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    replace(path, bytes, |_| Ok(()))
}

fn replace(
    path: &Path,
    bytes: &[u8],
    settle: impl Fn(&File) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    settle(file.as_file())?;
    file.persist(path)?;
    Ok(())
}
