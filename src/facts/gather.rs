//! Fills the facts through the adapters, everything at once. Reads only.
//! Depends on: taskfile::model, digest, adapters, facts.

use futures_util::future::join_all;

use super::record::{Creating, State};
use super::{ClusterState, Facts, HostImage, ImageFacts, Known};
use crate::adapters::cluster;
use crate::adapters::docker::{Engine, IMAGE_LABEL, KEY_LABEL, NodeContainer};
use crate::digest::Surroundings;
use crate::interrupt::Interrupt;
use crate::names::{ImageId, Key};
use crate::taskfile::model::{ImageSpec, Step, TaskFile};

/// What the facts are gathered from.
#[derive(Clone, Debug)]
pub struct World {
    /// The checked task file.
    pub file: TaskFile,
    /// The Docker engine.
    pub engine: Engine,
    /// What tg remembers.
    pub state: State,
    /// The wish to stop.
    pub interrupt: Interrupt,
    /// What decides builds besides the task file and the disk.
    pub surroundings: Surroundings,
    /// The builder that is set; empty for the engine's own.
    pub builder: String,
    /// Whether builds take base images from the engine, where they are there.
    pub builds_in_engine: bool,
    /// What of the memory is used.
    pub memory: Memory,
}

/// How much of what tg remembers of files it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Uses the stat cache and what registries said, and renews them.
    Renew,
    /// Uses both and writes nothing: for commands that only ask.
    ReadOnly,
    /// Reads every file again, whatever the stat cache says, and renews it.
    Verify,
    /// Reads every file again and writes nothing.
    VerifyReadOnly,
}

impl World {
    /// Looks at everything that the steps are about.
    pub async fn gather(&self, steps: &[Step]) -> Facts {
        let about = |wanted: &ImageId| {
            let builds =
                steps.iter().any(|s| matches!(s, Step::Build { image, .. } if image == wanted));
            let loads =
                steps.iter().any(|s| matches!(s, Step::Load { image, .. } if image == wanted));
            (builds, loads)
        };
        let needs_cluster =
            steps.iter().any(|step| matches!(step, Step::Load { .. } | Step::Cluster(_)));
        let containers = if needs_cluster {
            self.engine.nodes(&self.file.cluster.name).await.map_err(|error| chain(&error))
        } else {
            Ok(Vec::new())
        };
        let running: Vec<String> = containers
            .iter()
            .flatten()
            .filter(|node| node.state == "running")
            .map(|node| node.name.clone())
            .collect();
        let wanted: Vec<&ImageSpec> =
            self.file.images.values().filter(|spec| about(&spec.id) != (false, false)).collect();
        let images = join_all(wanted.iter().map(|spec| {
            let (builds, loads) = about(&spec.id);
            let nodes: &[String] = if loads { &running } else { &[] };
            self.image(spec, builds, nodes)
        }));
        let (images, cluster) = tokio::join!(images, self.cluster(containers));
        let images = wanted.iter().map(|spec| spec.id.clone()).zip(images).collect();
        Facts { images, cluster }
    }

    async fn image(&self, spec: &ImageSpec, builds: bool, nodes: &[String]) -> ImageFacts {
        let current = async { if builds { Some(self.current(spec).await) } else { None } };
        let asked = join_all(nodes.iter().map(|node| self.engine.node_image(node, &spec.tag)));
        let (current, host, answers) = tokio::join!(current, self.host_image(spec), asked);
        let inputs = match current {
            Some(Ok(current)) => Known::Yes(self.compare(spec, current, &host)),
            Some(Err(error)) => Known::Unknown(chain(&error)),
            None => Known::Unknown("not looked at".to_owned()),
        };
        let answers = answers.into_iter().map(|answer| match answer {
            Ok(found) => Known::Yes(found),
            Err(error) => Known::Unknown(chain(&error)),
        });
        ImageFacts { inputs, host, nodes: nodes.iter().cloned().zip(answers).collect() }
    }

    /// The image under the public tag.
    pub async fn host_image(&self, spec: &ImageSpec) -> Known<Option<HostImage>> {
        match self.engine.image(spec.tag.familiar()).await {
            Ok(found) => Known::Yes(found.map(|mut image| HostImage {
                config: image.config,
                id: image.id,
                key: image.labels.remove(KEY_LABEL).map(Key::new),
                built_as: image.labels.remove(IMAGE_LABEL),
                size: image.size,
            })),
            Err(error) => Known::Unknown(chain(&error)),
        }
    }

    async fn cluster(&self, containers: Result<Vec<NodeContainer>, String>) -> Known<ClusterState> {
        let nodes = match containers {
            Err(why) => return Known::Unknown(why),
            Ok(nodes) if nodes.is_empty() => return Known::Yes(ClusterState::Absent),
            Ok(nodes) => nodes,
        };
        let record = self.state.cluster(&self.file.cluster.name);
        let ours = self.is_ours(&nodes);
        let abandoned = record
            .and_then(|record| record.creating)
            .filter(|creating| ours && !is_alive(creating.pid));
        let broken = |why| Known::Yes(ClusterState::Broken { why, ours });
        if let Some(Creating { pid, .. }) = abandoned {
            return broken(format!("the tg that was creating it (process {pid}) is gone"));
        }
        let stopped: Vec<String> = nodes
            .iter()
            .filter(|node| node.state != "running")
            .map(|node| format!("{} is {}", node.name, node.state))
            .collect();
        if !stopped.is_empty() {
            return broken(format!("node {}", stopped.join(", ")));
        }
        let kubeconfig = match self.kubeconfig(&nodes).await {
            Ok(kubeconfig) => kubeconfig,
            Err(error) => return broken(chain(&error)),
        };
        match cluster::nodes_not_ready(&kubeconfig, self.engine.host()).await {
            Err(error) => broken(chain(&error)),
            Ok(Some(why)) => broken(why),
            Ok(None) => Known::Yes(ClusterState::Ready {
                nodes: nodes.into_iter().map(|n| n.name).collect(),
            }),
        }
    }

    /// Whether tg made the cluster that these containers are: their ids are on record, or they came to be while a tg was
    /// creating it. One that somebody made later under the same name is not ours.
    #[must_use]
    pub fn is_ours(&self, nodes: &[NodeContainer]) -> bool {
        let Some(record) = self.state.cluster(&self.file.cluster.name) else { return false };
        let made = |node: &NodeContainer| match record.creating {
            Some(Creating { since, .. }) => {
                (since..=since + cluster::CREATE_LIMIT.as_secs()).contains(&node.created)
            }
            None => record.containers.contains(&node.id),
        };
        nodes.iter().all(made)
    }

    /// The cluster's own kubeconfig: the one on disk when it is of these very containers, else what kind says.
    async fn kubeconfig(&self, nodes: &[NodeContainer]) -> Result<String, cluster::ClusterError> {
        let name = &self.file.cluster.name;
        if self.is_ours(nodes)
            && let Ok(text) = std::fs::read_to_string(self.state.kubeconfig(name))
        {
            return Ok(text);
        }
        cluster::kubeconfig(name, &self.interrupt).await
    }
}

/// Whether there is such a process on this machine.
pub(crate) fn is_alive(pid: u32) -> bool {
    rustix::process::Pid::from_raw(pid.cast_signed())
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
