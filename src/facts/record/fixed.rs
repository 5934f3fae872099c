//! What never changes, by what it is the content of, and what tells itself when it did: it need not be asked for twice.
//! Depends on: adapters (types), names, facts::record.

use std::path::PathBuf;

use super::{State, keep_newest, read, write_hint};
use crate::adapters::docker::Image;
use crate::adapters::node::Contents;
use crate::names::ConfigDigest;

/// How many of a kind are remembered.
const KEEP: usize = 500;

impl State {
    fn fixed(&self, kind: &str, name: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        self.base.join(kind).join(name.chars().map(plain).collect::<String>())
    }

    fn record_fixed(&self, kind: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        write_hint(&self.fixed(kind, name), bytes)?;
        keep_newest(&self.base.join(kind), KEEP);
        Ok(())
    }

    /// The config digest of what an index, by its own digest, holds for a platform.
    #[must_use]
    pub fn identity(&self, id: &str, platform: &str) -> Option<ConfigDigest> {
        let path = self.fixed("identities", &format!("{id}-{platform}"));
        ConfigDigest::parse(std::fs::read_to_string(path).ok()?.trim())
    }

    /// Remembers the config digest of what an index holds for a platform.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_identity(
        &self,
        id: &str,
        platform: &str,
        config: &ConfigDigest,
    ) -> std::io::Result<()> {
        self.record_fixed("identities", &format!("{id}-{platform}"), config.as_str().as_bytes())
    }

    /// The blob that an engine last made of a layer, by the digest of the unpacked layer; and the blob's bytes.
    #[must_use]
    pub fn blob(&self, layer: &str) -> Option<(String, u64)> {
        read(&self.fixed("blobs", layer))
    }

    /// Remembers the blob that an engine makes of a layer.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_blob(&self, layer: &str, digest: &str, size: u64) -> std::io::Result<()> {
        self.record_fixed("blobs", layer, &serde_json::to_vec(&(digest, size))?)
    }

    /// What an engine said of an image, by its id.
    #[must_use]
    pub fn inspected(&self, id: &str) -> Option<Image> {
        let image: Image = read(&self.fixed("images", id))?;
        (image.id == id).then_some(image)
    }

    /// Remembers what an engine said of an image that is no index.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_inspected(&self, image: &Image) -> std::io::Result<()> {
        self.record_fixed("images", &image.id, &serde_json::to_vec(image)?)
    }

    /// What was seen in a node, by its container's id.
    #[must_use]
    pub fn look(&self, container: &str) -> Option<Contents> {
        read(&self.fixed("looks", container))
    }

    /// Remembers what was seen in a node.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_look(&self, container: &str, contents: &Contents) -> std::io::Result<()> {
        self.record_fixed("looks", container, &serde_json::to_vec(contents)?)
    }

    /// The snapshotter of a node's CRI, by its container's id and the start of its containerd.
    #[must_use]
    pub fn snapshotter(&self, container: &str, containerd: &str) -> Option<String> {
        read(&self.fixed("snapshotters", &format!("{container}-{containerd}")))
    }

    /// Remembers the snapshotter of a node's CRI.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_snapshotter(
        &self,
        container: &str,
        containerd: &str,
        snapshotter: &str,
    ) -> std::io::Result<()> {
        let name = format!("{container}-{containerd}");
        self.record_fixed("snapshotters", &name, &serde_json::to_vec(snapshotter)?)
    }

    /// The platform of an engine, by its fingerprint.
    #[must_use]
    pub fn platform(&self, fingerprint: &str) -> Option<String> {
        let platform = std::fs::read_to_string(self.fixed("engines", fingerprint)).ok()?;
        // A crash of the machine may have left it empty.
        let (os, architecture) = platform.split_once('/')?;
        let is_whole = !os.is_empty() && !architecture.is_empty();
        is_whole.then_some(platform)
    }

    /// Remembers the platform of an engine.
    ///
    /// # Errors
    /// What the system said when it could not be written.
    pub fn record_platform(&self, fingerprint: &str, platform: &str) -> std::io::Result<()> {
        self.record_fixed("engines", fingerprint, platform.as_bytes())
    }
}
