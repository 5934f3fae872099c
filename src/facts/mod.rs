//! What is true now, as plain data: inputs, host images, node images, the cluster. Every field may be unknown, with why.
//! Depends on: names, digest, adapters::node (plain types). Filled by [`gather`] through the adapters; read by `plan`.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::change::Change;
use crate::names::{ConfigDigest, ImageId, Key};

pub mod gather;
pub mod inputs;
mod on_node;
pub mod record;

pub use crate::adapters::node::Contents;
pub use on_node::{Lacking, NodeImage};

use record::LastBuild;

/// A fact, or why it could not be learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// The fact.
    Yes(T),
    /// It could not be learned; one line.
    Unknown(String),
}

/// Everything looked at for a plan.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The images that the steps use.
    pub images: BTreeMap<ImageId, ImageFacts>,
    /// The cluster.
    pub cluster: Known<ClusterState>,
    /// What each running node has.
    pub nodes: BTreeMap<String, Known<Contents>>,
}

/// The three states of one image.
#[derive(Clone, Debug)]
pub struct ImageFacts {
    /// What a build would be made from.
    pub inputs: Known<InputFacts>,
    /// The image under its public tag in Docker.
    pub host: Known<Option<HostImage>>,
    /// What each running node has of it.
    pub nodes: BTreeMap<String, Known<NodeImage>>,
}

/// The inputs of an image now, beside those of the last build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFacts {
    /// The key of the inputs now.
    pub key: Key,
    /// The image that tg's own build of this very key produced, if that is on record.
    pub built: Option<ConfigDigest>,
    /// The last build on record, whatever its key.
    pub last: Option<LastBuild>,
    /// What differs from the inputs of the image that is there, as far as they are on record.
    pub changes: Vec<Change>,
    /// Remote sources whose content cannot be known without building.
    pub unverifiable: Vec<String>,
    /// The images that it begins with or takes files from, by their canonical names; `None` where `tg` cannot read that.
    pub bases: Option<BTreeSet<String>>,
    /// Base images that only the builder can tell.
    pub unknown_bases: Vec<String>,
    /// What is to be said about base images.
    pub notes: Vec<String>,
}

/// An image in Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostImage {
    /// Its config digest, when the engine tells it.
    pub config: Option<ConfigDigest>,
    /// The id that `docker image ls` shows.
    pub id: String,
    /// The digests of its layers when they are unpacked, the lowest first.
    pub layers: Vec<String>,
    /// The chain ids of its layers, the lowest first.
    pub chains: Vec<String>,
    /// Whether it is an index: of several platforms, or with attestations.
    pub is_index: bool,
    /// The content key that its label claims.
    pub key: Option<Key>,
    /// The image of a task file that its label claims to be.
    pub built_as: Option<String>,
    /// Bytes, as the engine counts them.
    pub size: u64,
}

/// The cluster as its containers and its API say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// No container carries Kind's label for that name.
    Absent,
    /// All nodes run and are ready.
    Ready {
        /// Names of the node containers.
        nodes: Vec<String>,
    },
    /// All nodes run. Whether Kubernetes is ready was not asked.
    Running {
        /// Names of the node containers.
        nodes: Vec<String>,
    },
    /// Another tg is making it.
    BeingMade {
        /// Its process id.
        pid: u32,
    },
    /// Containers are there, but the cluster cannot be used.
    Broken {
        /// What is wrong, one line.
        why: String,
        /// Whether tg made it and so may delete it.
        ours: bool,
    },
}

impl Facts {
    /// The names of the nodes of a usable cluster.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        match &self.cluster {
            Known::Yes(ClusterState::Ready { nodes } | ClusterState::Running { nodes }) => nodes,
            _ => &[],
        }
    }
}
