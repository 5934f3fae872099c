//! What Docker pushed: the manifest of one platform, with the identity and the layers that it names.
//! Depends on: oci-spec, adapters::endpoint::store.

use oci_spec::image::{Arch, Descriptor, ImageIndex, ImageManifest, Os, Platform};

use super::store::{Manifest, Store};
use crate::names::ConfigDigest;

/// A blob as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
}

/// The image that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its manifest.
    pub manifest: Blob,
    /// The manifest's media type.
    pub media_type: String,
    /// Its configuration.
    pub config: ConfigDigest,
    /// The bytes of the configuration.
    pub config_size: u64,
    /// Its layers, the lowest first.
    pub layers: Vec<Blob>,
}

/// The image for a platform such as `linux/amd64`. Of an index it is the manifest for that platform, if it was pushed, too.
pub(super) fn pushed(store: &Store, platform: &str) -> Option<Pushed> {
    let mut found = store.manifest("pushed")?;
    if let Ok(index) = ImageIndex::from_reader(found.bytes.as_slice()) {
        let child = index.manifests().iter().find(|child| is_for(child, platform))?;
        found = store.manifest(child.digest().as_ref())?;
    }
    let manifest = ImageManifest::from_reader(found.bytes.as_slice()).ok()?;
    let Manifest { media_type, bytes } = found;
    Some(Pushed {
        manifest: Blob { digest: super::store::digest_of_bytes(&bytes), size: bytes.len() as u64 },
        media_type,
        config: ConfigDigest::parse(manifest.config().digest().as_ref())?,
        config_size: manifest.config().size(),
        layers: manifest.layers().iter().map(blob).collect(),
    })
}

fn blob(descriptor: &Descriptor) -> Blob {
    Blob { digest: descriptor.digest().to_string(), size: descriptor.size() }
}

fn is_for(descriptor: &Descriptor, platform: &str) -> bool {
    let mut parts = platform.split('/');
    let (os, arch) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is = |has: &Platform| *has.os() == Os::from(os) && *has.architecture() == Arch::from(arch);
    descriptor.platform().as_ref().is_some_and(is)
}
