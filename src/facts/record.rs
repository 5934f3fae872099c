//! What tg remembers between runs: hints that save time and may be deleted at any moment. Anything unreadable, of another
//! schema or missing means "unknown". Written atomically, readable by the user alone.
//! Depends on: std, serde, tempfile, names, digest (types).

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::digest::Inputs;
use crate::digest::tree::{Entry, Tree, hex};
use crate::names::{ConfigDigest, ImageId, Key};

const SCHEMA: u32 = 1;

/// Where the records of one project and of the clusters are.
#[derive(Clone, Debug)]
pub struct State {
    base: PathBuf,
    project: String,
}

/// The last build of an image.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct BuildRecord {
    schema: u32,
    key: String,
    config: String,
    inputs: Inputs,
}

/// What the builder was last sent under an alias.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SentRecord {
    schema: u32,
    generation: u64,
    /// Absent while a transfer is under way: what the builder holds is unknown then.
    tree: Option<Vec<(Vec<u8>, Entry)>>,
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
    /// Who is creating it; absent once it is there.
    pub creating: Option<Creating>,
    /// The ids of its node containers.
    pub containers: Vec<String>,
}

impl State {
    /// The records below `base` for the project whose task file is at `task_file`.
    #[must_use]
    pub fn new(base: PathBuf, task_file: &Path) -> Self {
        let path = task_file.canonicalize().unwrap_or_else(|_| task_file.to_path_buf());
        let digest = hex(&sha2::Sha256::digest(path.as_os_str().as_encoded_bytes()));
        Self { base, project: digest.chars().take(16).collect() }
    }

    fn image(&self, id: &ImageId, file: &str) -> PathBuf {
        self.base.join("projects").join(&self.project).join(id.to_string()).join(file)
    }

    /// The directory of one image's build files.
    #[must_use]
    pub fn build_directory(&self, id: &ImageId) -> PathBuf {
        self.image(id, "build")
    }

    /// The symlink that stands for a context. Its base name is the builder's name for its transfer cache, so it carries
    /// the project, the image and the generation.
    #[must_use]
    pub fn alias(&self, id: &ImageId, generation: u64) -> PathBuf {
        self.image(id, &format!("{id}-{}-{generation}", self.project))
    }

    /// The kubeconfig of a cluster.
    #[must_use]
    pub fn kubeconfig(&self, cluster: &str) -> PathBuf {
        self.base.join("clusters").join(cluster).join("kubeconfig")
    }

    fn cluster_file(&self, cluster: &str) -> PathBuf {
        self.base.join("clusters").join(cluster).join("cluster.json")
    }

    /// The config digest that the build of `key` made, and the inputs of the last build whatever its key.
    #[must_use]
    pub fn last_build(&self, id: &ImageId, key: &Key) -> (Option<ConfigDigest>, Option<Inputs>) {
        let record: Option<BuildRecord> = read(&self.image(id, "built.json"));
        let Some(record) = record.filter(|record| record.schema == SCHEMA) else {
            return (None, None);
        };
        let built = (record.key == key.as_str()).then(|| ConfigDigest::parse(&record.config));
        (built.flatten(), Some(record.inputs))
    }

    /// Remembers what a build made.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_build(
        &self,
        id: &ImageId,
        key: &Key,
        config: &ConfigDigest,
        inputs: &Inputs,
    ) -> std::io::Result<()> {
        let (key, config) = (key.as_str().to_owned(), config.as_str().to_owned());
        let record = BuildRecord { schema: SCHEMA, key, config, inputs: inputs.clone() };
        write(&self.image(id, "built.json"), &serde_json::to_vec(&record)?)
    }

    /// The generation last used for an image's context, and what was sent under it when that is known.
    #[must_use]
    pub fn sent(&self, id: &ImageId) -> (u64, Option<Tree>) {
        let record: Option<SentRecord> = read(&self.image(id, "sent.json"));
        match record.filter(|record| record.schema == SCHEMA) {
            Some(record) => (record.generation, record.tree.map(|t| t.into_iter().collect())),
            None => {
                // Nobody knows which generations were used: one from the clock has not been.
                let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                (now.as_secs(), None)
            }
        }
    }

    /// Remembers what was sent; `None` before a transfer, when that becomes unknown.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_sent(
        &self,
        id: &ImageId,
        generation: u64,
        tree: Option<&Tree>,
    ) -> std::io::Result<()> {
        let tree = tree.map(|tree| tree.iter().map(|(p, e)| (p.clone(), e.clone())).collect());
        let record = SentRecord { schema: SCHEMA, generation, tree };
        write(&self.image(id, "sent.json"), &serde_json::to_vec(&record)?)
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
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// A reader sees the old file or the new one, never half of one. Temporary files are private (0600) from the start.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
