//! What a node has of one image.
//! Depends on: names, facts.

use std::collections::BTreeMap;

use super::{Contents, HostImage, Known};
use crate::names::{ConfigDigest, ImageRef};

/// What a node has of one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeImage {
    /// The image under the tag.
    pub tagged: Option<ConfigDigest>,
    /// Another name there of the image that Docker has: then it needs no more than the tag.
    pub elsewhere: Option<String>,
    /// Whether the layers of the image that Docker has are unpacked there. A load that was interrupted leaves a name without
    /// them.
    pub is_unpacked: bool,
}

impl NodeImage {
    /// Of `host` under `tag`, in a node with these contents.
    #[must_use]
    pub fn of(contents: &Contents, tag: &ImageRef, host: Option<&HostImage>) -> Self {
        let has_tag = |names: &[String]| names.iter().any(|name| name == tag.canonical());
        let tagged = contents.images.iter().find(|image| has_tag(&image.names));
        let wanted = host.and_then(|host| host.config.as_ref());
        let found = contents.images.iter().find(|image| Some(&image.id) == wanted);
        let elsewhere = found.filter(|image| !has_tag(&image.names)).map(|image| {
            // The CRI keeps every image under its own digest, too.
            image.names.first().cloned().unwrap_or_else(|| image.id.to_string())
        });
        let top = host.and_then(|host| host.chains.last());
        Self {
            tagged: tagged.map(|image| image.id.clone()),
            elsewhere,
            is_unpacked: host.is_some() && top.is_none_or(|top| contents.chains.contains(top)),
        }
    }

    /// The image under the tag, if no other name stands for it: nobody could ask for it any more once the tag moves.
    #[must_use]
    pub fn superseded(contents: &Contents, tag: &ImageRef) -> Option<ConfigDigest> {
        let only = [tag.canonical()];
        contents.images.iter().find(|image| image.names == only).map(|image| image.id.clone())
    }
}

/// A layer of an image in Docker, and the nodes where it is not unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The layer's digest when it is unpacked.
    pub layer: String,
    /// The names of the nodes, those that could not be asked included.
    pub nodes: Vec<String>,
}

impl Lacking {
    /// Of every layer of an image, the lowest first.
    #[must_use]
    pub fn of(host: &HostImage, nodes: &BTreeMap<String, Known<Contents>>) -> Vec<Self> {
        let has = |node: &Known<Contents>, chain: &String| match node {
            Known::Yes(contents) => contents.chains.contains(chain),
            Known::Unknown(_) => false,
        };
        let lacking = |(layer, chain): (&String, &String)| {
            let nodes = nodes.iter().filter(|(_, node)| !has(node, chain));
            Self { layer: layer.clone(), nodes: nodes.map(|(name, _)| name.clone()).collect() }
        };
        host.layers.iter().zip(&host.chains).map(lacking).collect()
    }
}
