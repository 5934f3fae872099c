//! What is remembered of one image: its last build, what it and earlier ones were made from, what the builder was sent, and
//! the stat cache.
//! Depends on: std, serde, digest (types), names.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::{SCHEMA, State, keep_newest, lock_file, newest_first, read, write, write_hint};
use crate::digest::manifest::{Manifest, decode, encode};
use crate::digest::stat_cache::StatCache;
use crate::digest::tree::{MAIN, Tree, hex};
use crate::names::{ConfigDigest, ImageId, Key};

/// How many manifests are kept of an image: enough to compare what a day of branches was made from.
const MANIFESTS: usize = 8;
const MANIFEST: &str = "manifest 1";
const SENT: &str = "sent 2";
const STAT_CACHE: &str = "stat-cache 1";

/// The last build of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastBuild {
    /// The key that was built.
    pub key: Key,
    /// The image that it made.
    pub config: ConfigDigest,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct BuildRecord {
    schema: u32,
    key: String,
    config: String,
}

/// What the builder was last sent of an image's contexts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The builder that it was sent to.
    pub builder: String,
    /// Each context by its name.
    pub contexts: BTreeMap<String, SentContext>,
    /// The builder's names for its copies of these contexts, where they could be told from others.
    pub copies: Vec<String>,
    /// The same of earlier generations, which are to be removed.
    pub obsolete: Vec<String>,
}

/// What the builder was last sent under an alias.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentContext {
    /// The number in the alias.
    pub generation: u64,
    /// Absent while a transfer is under way, and when none was seen: what the builder holds is unknown then.
    pub tree: Option<Tree>,
}

impl State {
    /// The directory of one image's build files.
    #[must_use]
    pub fn build_directory(&self, id: &ImageId) -> PathBuf {
        self.image(id, "build")
    }

    /// The symlink that stands for a context. Its base name is the builder's name for its transfer cache, so it carries
    /// the project, the image, the context where it is not the main one, and the generation.
    #[must_use]
    pub fn alias(&self, id: &ImageId, context: &str, generation: u64) -> PathBuf {
        let context = match context {
            MAIN => String::new(),
            // Names of contexts may hold slashes.
            name => format!("-{}", &hex(&sha2::Sha256::digest(name))[..12]),
        };
        self.image(id, &format!("{id}{context}-{}-{generation}", self.project))
    }

    /// The file that a tg locks while it builds an image.
    ///
    /// # Errors
    /// What the system said when it could not be opened.
    pub fn build_lock(&self, id: &ImageId) -> std::io::Result<File> {
        lock_file(&self.image(id, "lock"))
    }

    /// The last build of an image.
    #[must_use]
    pub fn last_build(&self, id: &ImageId) -> Option<LastBuild> {
        let record: BuildRecord = read(&self.image(id, "built.json"))?;
        let config = ConfigDigest::parse(&record.config)?;
        (record.schema == SCHEMA).then(|| LastBuild { key: Key::new(record.key), config })
    }

    /// Remembers what a build made, and from what.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_build(
        &self,
        id: &ImageId,
        config: &ConfigDigest,
        manifest: &Manifest,
    ) -> std::io::Result<()> {
        let path = self.manifest_path(id, &manifest.key);
        write_hint(&path, &bytes_of(MANIFEST, manifest)?)?;
        keep_newest(&self.image(id, "manifests"), MANIFESTS);
        let (key, config) = (manifest.key.clone(), config.as_str().to_owned());
        let record = BuildRecord { schema: SCHEMA, key, config };
        write_hint(&self.image(id, "built.json"), &serde_json::to_vec(&record)?)
    }

    fn manifest_path(&self, id: &ImageId, key: &str) -> PathBuf {
        self.image(id, "manifests").join(key.replace(':', "-"))
    }

    /// What the image of a key was made from, if that is still on record.
    #[must_use]
    pub fn manifest(&self, id: &ImageId, key: &Key) -> Option<Manifest> {
        let found: Manifest = read_bytes(MANIFEST, &self.manifest_path(id, key.as_str()))?;
        (found.key == key.as_str()).then_some(found)
    }

    /// The keys whose manifests are on record, the youngest first.
    #[must_use]
    pub fn manifests(&self, id: &ImageId) -> Vec<Key> {
        let named = |path: &Path| path.file_name()?.to_str()?.split_once('-').map(key_of);
        newest_first(&self.image(id, "manifests")).iter().filter_map(|path| named(path)).collect()
    }

    /// What the builder was sent, as far as that is known.
    #[must_use]
    pub fn sent(&self, id: &ImageId) -> Sent {
        read_bytes(SENT, &self.image(id, "sent")).unwrap_or_default()
    }

    /// Remembers what was sent.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_sent(&self, id: &ImageId, sent: &Sent) -> std::io::Result<()> {
        // Waits for the disk: an older record that came back after a crash of the machine would be believed.
        write(&self.image(id, "sent"), &bytes_of(SENT, sent)?)
    }

    /// What was read of an image's contexts, and when.
    #[must_use]
    pub fn stat_cache(&self, id: &ImageId) -> Option<StatCache> {
        read_bytes(STAT_CACHE, &self.image(id, "stat-cache"))
    }

    /// Remembers what was read.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_stat_cache(&self, id: &ImageId, cache: &StatCache) -> std::io::Result<()> {
        write_hint(&self.image(id, "stat-cache"), &bytes_of(STAT_CACHE, cache)?)
    }
}

fn key_of((schema, hex): (&str, &str)) -> Key {
    Key::new(format!("{schema}:{hex}"))
}

fn bytes_of(kind: &str, value: &impl Serialize) -> std::io::Result<Vec<u8>> {
    encode(kind, value).map_err(std::io::Error::other)
}

fn read_bytes<T: serde::de::DeserializeOwned>(kind: &str, path: &Path) -> Option<T> {
    decode(kind, &std::fs::read(path).ok()?)
}
