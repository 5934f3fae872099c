//! The one function that decides, for a dry run, a status and a real run alike: pure and total.
//! Depends on: names, facts (types), taskfile::model, plan::reason.

use super::reason::{NodesDiffer, Reason};
use crate::facts::{ClusterState, Facts, HostImage, ImageFacts, InputFacts, Known};
use crate::names::{ConfigDigest, ImageId};
use crate::taskfile::model::{BuildCache, ClusterAction, CreatePolicy, Step, TaskFile, When};

/// The answer for one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Do it. For a load: on these nodes only.
    Run {
        /// Why.
        reason: Reason,
        /// The nodes that need it; empty for steps that know no nodes.
        nodes: Vec<String>,
    },
    /// Nothing to do.
    Skip(Reason),
    /// It cannot be done.
    Blocked(Reason),
}

impl Decision {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        match self {
            Self::Run { reason, .. } | Self::Skip(reason) | Self::Blocked(reason) => reason,
        }
    }

    fn run(reason: Reason) -> Self {
        Self::Run { reason, nodes: Vec::new() }
    }
}

/// Decides about one step from what is known.
#[must_use]
pub fn decide(step: &Step, file: &TaskFile, facts: &Facts, force: bool) -> Decision {
    match step {
        Step::Build { image, when, cache } => {
            if force || *when == When::Always || *cache == BuildCache::Bypass {
                return Decision::run(Reason::Forced);
            }
            match facts.images.get(image) {
                Some(known) => build(image, file, known),
                None => Decision::run(Reason::FactsUnknown("nothing was looked at".to_owned())),
            }
        }
        Step::Load { image, when } => match facts.images.get(image) {
            Some(known) => load(image, file, known, facts, force || *when == When::Always),
            None => Decision::run(Reason::FactsUnknown("nothing was looked at".to_owned())),
        },
        Step::Cluster(ClusterAction::Ensure) => cluster(file, facts),
        Step::Cluster(ClusterAction::Delete | ClusterAction::DeleteBroken) => {
            match &facts.cluster {
                Known::Yes(ClusterState::Absent) => Decision::Skip(Reason::ClusterAbsent),
                _ => Decision::run(Reason::Unconditional),
            }
        }
        Step::Compile(_) => Decision::run(Reason::CompiledMeanwhile),
        Step::CargoTest(_) | Step::Run { .. } | Step::Task(_) => {
            Decision::run(Reason::Unconditional)
        }
    }
}

fn build(id: &ImageId, file: &TaskFile, image: &ImageFacts) -> Decision {
    let inputs = match &image.inputs {
        Known::Yes(inputs) => inputs,
        Known::Unknown(why) => return Decision::run(Reason::FactsUnknown(why.clone())),
    };
    if !inputs.unverifiable.is_empty() {
        return Decision::run(Reason::Unverifiable(inputs.unverifiable.clone()));
    }
    if !inputs.unknown_bases.is_empty() {
        return Decision::run(Reason::UnknownBases(inputs.unknown_bases.clone()));
    }
    let host = match &image.host {
        Known::Yes(Some(host)) => host,
        Known::Yes(None) => return Decision::run(gone(id, file, inputs)),
        Known::Unknown(why) => return Decision::run(Reason::FactsUnknown(why.clone())),
    };
    let Some(key) = &host.key else {
        return Decision::run(Reason::NotBuiltByTg);
    };
    if host.built_as.as_deref() != Some(id.to_string().as_str()) {
        let other = host.built_as.clone().unwrap_or_else(|| "an unnamed image".to_owned());
        return Decision::run(Reason::BuiltAs(other));
    }
    if key.schema() != inputs.key.schema() {
        return Decision::run(Reason::OtherSchema { image: key.clone() });
    }
    if let (true, Some(built)) = (*key != inputs.key, &inputs.built) {
        return Decision::run(Reason::Retagged { image: key.clone(), built: built.clone() });
    }
    if *key != inputs.key {
        return Decision::run(Reason::InputsChanged {
            image: key.clone(),
            now: inputs.key.clone(),
            changes: inputs.changes.clone(),
        });
    }
    match (&inputs.built, &host.config) {
        (Some(built), Some(config)) if built == config => {
            Decision::Skip(Reason::UpToDate { key: key.clone(), notes: inputs.notes.clone() })
        }
        (Some(built), Some(_)) => Decision::run(Reason::Replaced { built: built.clone() }),
        (Some(_), None) => Decision::run(Reason::NoConfigDigest),
        _ => Decision::run(Reason::Unproven),
    }
}

fn gone(id: &ImageId, file: &TaskFile, inputs: &InputFacts) -> Reason {
    match (missing(id, file), &inputs.last) {
        (Reason::ImageMissing(tag), Some(last)) => {
            Reason::ImageGone { tag, built: last.config.clone() }
        }
        (reason, _) => reason,
    }
}

fn missing(id: &ImageId, file: &TaskFile) -> Reason {
    match file.images.get(id) {
        Some(spec) => Reason::ImageMissing(spec.tag.clone()),
        None => Reason::FactsUnknown(format!("image `{id}` is not in the task file")),
    }
}

fn load(
    id: &ImageId,
    file: &TaskFile,
    image: &ImageFacts,
    facts: &Facts,
    always: bool,
) -> Decision {
    let nodes = facts.nodes().to_vec();
    let all = |reason| Decision::Run { reason, nodes: nodes.clone() };
    let host = match &image.host {
        Known::Yes(Some(host)) => host,
        Known::Yes(None) => return Decision::Blocked(missing(id, file)),
        Known::Unknown(why) => return all(Reason::FactsUnknown(why.clone())),
    };
    match &facts.cluster {
        Known::Yes(ClusterState::Ready { .. } | ClusterState::Running { .. }) => {}
        Known::Yes(ClusterState::Absent) => return Decision::Blocked(Reason::ClusterAbsent),
        Known::Yes(ClusterState::BeingMade { pid }) => {
            return Decision::Blocked(Reason::ClusterBeingMade(*pid));
        }
        Known::Yes(ClusterState::Broken { why, ours }) => {
            let (why, ours) = (why.clone(), *ours);
            return Decision::Blocked(Reason::ClusterBroken { why, ours });
        }
        Known::Unknown(why) => return all(Reason::FactsUnknown(why.clone())),
    }
    if always {
        return all(Reason::Forced);
    }
    let Some(config) = &host.config else {
        let why = "Docker does not tell the config digest of an image with attestations or of several platforms, and tg \
            has not loaded this one yet";
        let why = why.to_owned();
        return all(Reason::FactsUnknown(why));
    };
    compare_nodes(config, image, &nodes)
}

fn compare_nodes(wanted: &ConfigDigest, image: &ImageFacts, nodes: &[String]) -> Decision {
    let mut differ = NodesDiffer { of: nodes.len(), ..NodesDiffer::default() };
    let mut need = Vec::new();
    for node in nodes {
        let found = match image.nodes.get(node) {
            Some(Known::Yes(found)) => found,
            Some(Known::Unknown(why)) => {
                differ.unknown.push((node.clone(), why.clone()));
                need.push(node.clone());
                continue;
            }
            None => {
                differ.unknown.push((node.clone(), "was not asked".to_owned()));
                need.push(node.clone());
                continue;
            }
        };
        match (&found.tagged, &found.elsewhere) {
            (Some(id), _) if id == wanted && found.is_unpacked => continue,
            (Some(id), _) if id == wanted => differ.incomplete.push(node.clone()),
            (_, Some(name)) if found.is_unpacked => {
                differ.renamed.push((node.clone(), name.clone()));
            }
            (Some(id), _) => differ.other.push((node.clone(), id.clone())),
            (None, _) => differ.missing.push(node.clone()),
        }
        need.push(node.clone());
    }
    if need.is_empty() {
        let image = wanted.clone();
        return Decision::Skip(Reason::NodesHave { image, nodes: nodes.len() });
    }
    Decision::Run { reason: Reason::NodesDiffer(differ), nodes: need }
}

fn cluster(file: &TaskFile, facts: &Facts) -> Decision {
    match &facts.cluster {
        Known::Yes(ClusterState::Ready { nodes }) => {
            Decision::Skip(Reason::ClusterReady { nodes: nodes.len() })
        }
        Known::Yes(ClusterState::Running { nodes }) => {
            Decision::Skip(Reason::ClusterRunning { nodes: nodes.len() })
        }
        Known::Yes(ClusterState::Absent) if file.cluster.create == CreatePolicy::Never => {
            Decision::Blocked(Reason::MayNotCreate)
        }
        Known::Yes(ClusterState::Absent) => Decision::run(Reason::ClusterAbsent),
        Known::Yes(ClusterState::BeingMade { pid }) => {
            Decision::run(Reason::ClusterBeingMade(*pid))
        }
        Known::Yes(ClusterState::Broken { why, ours }) => {
            Decision::Blocked(Reason::ClusterBroken { why: why.clone(), ours: *ours })
        }
        // Creating over something unknown could hit a cluster that is not ours.
        Known::Unknown(why) => Decision::Blocked(Reason::FactsUnknown(why.clone())),
    }
}

/// What will be true of the facts once a step has run, for the decisions about the steps behind it.
pub(super) fn predict(step: &Step, decision: &Decision, facts: &mut Facts) -> Option<Reason> {
    let Decision::Run { .. } = decision else {
        return None;
    };
    match step {
        Step::Build { image, .. } => {
            let known = facts.images.get_mut(image)?;
            known.host = Known::Yes(Some(HostImage {
                config: None,
                id: String::new(),
                layers: Vec::new(),
                chains: Vec::new(),
                is_index: false,
                key: None,
                built_as: None,
                size: 0,
            }));
            Some(Reason::AfterBuild)
        }
        Step::Cluster(ClusterAction::Ensure) => {
            facts.cluster = Known::Yes(ClusterState::Ready { nodes: Vec::new() });
            Some(Reason::AfterCluster)
        }
        Step::Cluster(ClusterAction::Delete | ClusterAction::DeleteBroken) => {
            facts.cluster = Known::Yes(ClusterState::Absent);
            None
        }
        _ => None,
    }
}
