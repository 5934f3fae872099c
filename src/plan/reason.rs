//! Why a step runs, is skipped or cannot run: every answer carries its evidence. Worded here and nowhere else.
//! Depends on: names, digest::change.

use std::fmt;

use crate::digest::change::Change;
use crate::names::{ConfigDigest, ImageRef, Key};

/// How many changes a line names; `tg why` shows them all.
const NAMED: usize = 3;

/// Why each node that does not have an image under its tag does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesDiffer {
    /// Nodes without the image.
    pub missing: Vec<String>,
    /// Nodes with another image under the tag.
    pub other: Vec<(String, ConfigDigest)>,
    /// Nodes that have the image under another name, so that nothing is to be moved.
    pub renamed: Vec<(String, String)>,
    /// Nodes whose CRI lists the image, while its layers are not unpacked.
    pub incomplete: Vec<String>,
    /// Nodes that could not be asked, and why.
    pub unknown: Vec<(String, String)>,
    /// How many nodes there are.
    pub of: usize,
}

impl fmt::Display for NodesDiffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, other, renamed, incomplete, unknown, of } = self;
        let mut parts = Vec::new();
        if !missing.is_empty() {
            parts.push(format!("missing on {}", missing.join(", ")));
        }
        parts.extend(other.iter().map(|(node, id)| format!("{node} has {}", id.short())));
        parts.extend(renamed.iter().map(|(node, name)| format!("{node} has it as {name}")));
        if !incomplete.is_empty() {
            parts.push(format!("without its layers on {}", incomplete.join(", ")));
        }
        parts.extend(unknown.iter().map(|(node, why)| format!("{node}: {why}")));
        let nodes = missing.len() + other.len() + renamed.len() + incomplete.len() + unknown.len();
        write!(f, "{nodes} of {of} nodes: {}", parts.join("; "))
    }
}

/// The reason of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The step or the command line says so.
    Forced,
    /// The step has no condition.
    Unconditional,
    /// The tests are compiled while other steps run.
    CompiledMeanwhile,
    /// A fact is unknown: then the work is done.
    FactsUnknown(String),
    /// What an `ADD` of a remote source brings cannot be known.
    Unverifiable(Vec<String>),
    /// What a base image is could not be found out, and the policy is to know.
    UnknownBases(Vec<String>),
    /// The tag is not in Docker.
    ImageMissing(ImageRef),
    /// The tag is not in Docker, but was.
    ImageGone {
        /// The tag.
        tag: ImageRef,
        /// What the last build made.
        built: ConfigDigest,
    },
    /// The image carries no key: something else built it.
    NotBuiltByTg,
    /// The image was built as another image of a task file.
    BuiltAs(String),
    /// The inputs have another key than the image.
    InputsChanged {
        /// The image's key.
        image: Key,
        /// The key of the inputs now.
        now: Key,
        /// What differs, as far as it is known.
        changes: Vec<Change>,
    },
    /// A tg that reckons keys in another way built the image.
    OtherSchema {
        /// The image's key.
        image: Key,
    },
    /// The inputs are those of the last build, but the tag stands for an image with another key.
    Retagged {
        /// The image's key.
        image: Key,
        /// What the last build made.
        built: ConfigDigest,
    },
    /// The label claims the key, but there is no record of which image that key made (labels are inherited by `FROM`).
    Unproven,
    /// The label claims the key, but tg's build of that key made another image.
    Replaced {
        /// What the build made.
        built: ConfigDigest,
    },
    /// The label has the right key, but Docker does not tell the image's config digest.
    NoConfigDigest,
    /// Inputs and image have the same key.
    UpToDate {
        /// The key.
        key: Key,
        /// What is to be said about base images.
        notes: Vec<String>,
    },
    /// An earlier step builds the image.
    AfterBuild,
    /// An earlier step creates the cluster.
    AfterCluster,
    /// Nodes that do not have the image under the tag.
    NodesDiffer(NodesDiffer),
    /// Every node has the image.
    NodesHave {
        /// The image.
        image: ConfigDigest,
        /// How many nodes there are.
        nodes: usize,
    },
    /// There is no cluster of that name.
    ClusterAbsent,
    /// Another tg, by its process id, is making the cluster.
    ClusterBeingMade(u32),
    /// The cluster is up.
    ClusterReady {
        /// How many nodes it has.
        nodes: usize,
    },
    /// The nodes of the cluster run, and nothing more is needed of it.
    ClusterRunning {
        /// How many nodes it has.
        nodes: usize,
    },
    /// There is a cluster, but it cannot be used.
    ClusterBroken {
        /// What is wrong.
        why: String,
        /// Whether tg made it.
        ours: bool,
    },
    /// The cluster is absent and `create = "never"`.
    MayNotCreate,
}

impl Reason {
    /// The evidence of changed inputs, one by one.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::InputsChanged { changes, .. } => changes,
            _ => &[],
        }
    }

    /// A stable name for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Forced => "forced",
            Self::Unconditional => "unconditional",
            Self::CompiledMeanwhile => "compiled-meanwhile",
            Self::FactsUnknown(_) => "facts-unknown",
            Self::Unverifiable(_) => "unverifiable",
            Self::UnknownBases(_) => "unknown-bases",
            Self::ImageMissing(_) => "image-missing",
            Self::ImageGone { .. } => "image-gone",
            Self::NotBuiltByTg => "not-built-by-tg",
            Self::BuiltAs(_) => "built-as-other",
            Self::InputsChanged { .. } => "inputs-changed",
            Self::OtherSchema { .. } => "other-schema",
            Self::Retagged { .. } => "retagged",
            Self::Unproven => "unproven",
            Self::NoConfigDigest => "no-config-digest",
            Self::Replaced { .. } => "replaced",
            Self::UpToDate { .. } => "up-to-date",
            Self::AfterBuild => "after-build",
            Self::AfterCluster => "after-cluster",
            Self::NodesDiffer(_) => "nodes-differ",
            Self::NodesHave { .. } => "nodes-have",
            Self::ClusterAbsent => "cluster-absent",
            Self::ClusterBeingMade(_) => "cluster-being-made",
            Self::ClusterReady { .. } => "cluster-ready",
            Self::ClusterRunning { .. } => "cluster-running",
            Self::ClusterBroken { .. } => "cluster-broken",
            Self::MayNotCreate => "may-not-create",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forced => f.write_str("asked for"),
            Self::Unconditional => f.write_str("runs every time"),
            Self::CompiledMeanwhile => f.write_str("while the other steps run"),
            Self::FactsUnknown(why) => write!(f, "cannot tell: {why}"),
            Self::Unverifiable(sources) => {
                write!(f, "content of {} is only known by building", sources.join(", "))
            }
            Self::UnknownBases(why) => f.write_str(&why.join("; ")),
            Self::ImageMissing(tag) => write!(f, "{tag} is not in Docker"),
            Self::ImageGone { tag, built } => {
                write!(f, "{tag} is not in Docker: {} was removed since its build", built.short())
            }
            Self::NotBuiltByTg => f.write_str("the image in Docker was not built by tg"),
            Self::BuiltAs(other) => write!(f, "the image in Docker was built as `{other}`"),
            Self::InputsChanged { image, now, changes } => {
                if changes.is_empty() {
                    return write!(f, "inputs changed: key {} → {}", image.short(), now.short());
                }
                let more = changes.len().saturating_sub(NAMED);
                let named: Vec<String> =
                    changes.iter().take(NAMED).map(Change::to_string).collect();
                write!(f, "inputs changed: {}", named.join(", "))?;
                if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Self::OtherSchema { image } => {
                write!(f, "another version of tg built the image: its key is {image}")
            }
            Self::Retagged { image, built } => write!(
                f,
                "the tag was moved to an image of key {}; the build of these inputs made {}",
                image.short(),
                built.short()
            ),
            Self::Unproven => f.write_str(
                "the label has the right key, but no record says which image that key made",
            ),
            Self::Replaced { built } => write!(
                f,
                "the tag was moved: this image has its key from a parent or a copy, the build of the key made {}",
                built.short()
            ),
            Self::NoConfigDigest => f.write_str(
                "Docker does not tell the config digest of the image (it has attestations or several platforms)",
            ),
            Self::UpToDate { key, notes } => {
                write!(f, "inputs unchanged, key {}", key.short())?;
                notes.iter().try_for_each(|note| write!(f, "; {note}"))
            }
            Self::AfterBuild => f.write_str("after the build"),
            Self::AfterCluster => f.write_str("the nodes will be new"),
            Self::NodesDiffer(differ) => differ.fmt(f),
            Self::NodesHave { image, nodes: 1 } => write!(f, "the node has {}", image.short()),
            Self::NodesHave { image, nodes } => {
                write!(f, "all {nodes} nodes have {}", image.short())
            }
            Self::ClusterAbsent => f.write_str("there is no such cluster"),
            Self::ClusterBeingMade(pid) => write!(f, "process {pid} is making it"),
            Self::ClusterReady { nodes: 1 } => f.write_str("1 node ready"),
            Self::ClusterReady { nodes } => write!(f, "{nodes} nodes ready"),
            Self::ClusterRunning { nodes: 1 } => f.write_str("1 node running"),
            Self::ClusterRunning { nodes } => write!(f, "{nodes} nodes running"),
            Self::ClusterBroken { why, .. } => write!(f, "the cluster cannot be used: {why}"),
            Self::MayNotCreate => {
                f.write_str("there is no such cluster, and create = \"never\" forbids to make it")
            }
        }
    }
}
