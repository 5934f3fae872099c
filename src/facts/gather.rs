//! Fills the facts through the adapters, everything at once. Reads only.
//! Depends on: taskfile::model, digest, adapters, facts.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::record::{Creating, State};
use super::{ClusterState, Contents, Facts, HostImage, ImageFacts, InputFacts, Known, NodeImage};
use crate::adapters::cluster::{self, ClusterError};
use crate::adapters::docker::{Engine, IMAGE_LABEL, KEY_LABEL, NodeContainer};
use crate::digest::Surroundings;
use crate::digest::chain::chain_ids;
use crate::interrupt::Interrupt;
use crate::names::{ImageId, Key};
use crate::taskfile::model::{ImageSpec, Step, TaskFile, When};

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
            .filter(|node| node.state == "running" && self.file.cluster.is_loaded(&node.name))
            .map(|node| node.name.clone())
            .collect();
        let wanted: Vec<&ImageSpec> =
            self.file.images.values().filter(|spec| about(&spec.id) != (false, false)).collect();
        let loads = || wanted.iter().filter(|spec| about(&spec.id).1);
        let whole = steps.iter().any(|s| matches!(s, Step::Load { when: When::Always, .. }));
        let images = async {
            let hosts = join_all(wanted.iter().map(|spec| self.host_image(spec))).await;
            let hosts: BTreeMap<&ImageId, _> = wanted.iter().map(|s| &s.id).zip(hosts).collect();
            let sought = if whole { Vec::new() } else { sought(loads().copied(), &hosts) };
            let asked = join_all(running.iter().map(|node| self.contents(node, &sought)));
            let current =
                join_all(wanted.iter().map(|spec| self.inputs(spec, about(&spec.id).0, &hosts)));
            let asked = async { if loads().next().is_some() { asked.await } else { Vec::new() } };
            let (asked, current) = tokio::join!(asked, current);
            (hosts, running.iter().cloned().zip(asked).collect::<BTreeMap<_, _>>(), current)
        };
        let ((mut hosts, nodes, inputs), cluster) = tokio::join!(images, self.cluster(containers));
        let images = wanted.iter().zip(inputs).filter_map(|(spec, inputs)| {
            let host = hosts.remove(&spec.id)?;
            let nodes =
                if about(&spec.id).1 { on_nodes(&nodes, spec, &host) } else { BTreeMap::new() };
            Some((spec.id.clone(), ImageFacts { inputs, host, nodes }))
        });
        Facts { images: images.collect(), cluster, nodes }
    }

    async fn contents(&self, node: &str, sought: &[String]) -> Known<Contents> {
        match self.engine.contents(node, sought).await {
            Ok(contents) => Known::Yes(contents),
            Err(error) => Known::Unknown(chain(&error)),
        }
    }

    /// The inputs of an image that a step builds.
    async fn inputs(
        &self,
        spec: &ImageSpec,
        builds: bool,
        hosts: &BTreeMap<&ImageId, Known<Option<HostImage>>>,
    ) -> Known<InputFacts> {
        let (true, Some(host)) = (builds, hosts.get(&spec.id)) else {
            return Known::Unknown("not looked at".to_owned());
        };
        match self.current(spec).await {
            Ok(current) => Known::Yes(self.compare(spec, current, host)),
            Err(error) => Known::Unknown(chain(&error)),
        }
    }

    /// The image under the public tag.
    pub async fn host_image(&self, spec: &ImageSpec) -> Known<Option<HostImage>> {
        match self.engine.image(spec.tag.familiar()).await {
            Ok(found) => Known::Yes(found.map(|mut image| HostImage {
                config:
                    image.config.or_else(|| self.state.identity(&image.id, self.engine.platform())),
                chains: chain_ids(&image.layers),
                layers: image.layers,
                is_index: image.is_index,
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
        match self.not_ready(&nodes).await {
            Err(error) => broken(chain(&error)),
            Ok(Some(why)) => broken(why),
            Ok(None) => {
                let nodes = nodes.into_iter().map(|node| node.name);
                let nodes = nodes.filter(|node| self.file.cluster.is_loaded(node)).collect();
                Known::Yes(ClusterState::Ready { nodes })
            }
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

    /// What keeps the cluster from being used, by what is on record of how to reach it, or by what kind says.
    async fn not_ready(&self, nodes: &[NodeContainer]) -> Result<Option<String>, ClusterError> {
        let name = &self.file.cluster.name;
        let ids: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        let on_record = if self.is_ours(nodes) {
            std::fs::read_to_string(self.state.kubeconfig(name)).ok()
        } else {
            self.state.access(name, &ids)
        };
        let host = self.engine.host();
        if let Some(kubeconfig) = on_record
            && let Ok(None) = cluster::nodes_not_ready(&kubeconfig, host).await
        {
            return Ok(None);
        }
        // The way there may have changed since.
        let kubeconfig = cluster::kubeconfig(name, &self.interrupt).await?;
        if matches!(self.memory, Memory::Renew | Memory::Verify) && !self.is_ours(nodes) {
            // Without it kind is asked again.
            let _ = self.state.record_access(name, &ids, &kubeconfig);
        }
        cluster::nodes_not_ready(&kubeconfig, host).await
    }
}

/// What is to be found in a node that needs no load: names, identities, and the chain id of the topmost layer.
fn sought<'a>(
    loads: impl Iterator<Item = &'a ImageSpec>,
    hosts: &BTreeMap<&ImageId, Known<Option<HostImage>>>,
) -> Vec<String> {
    let of = |spec: &ImageSpec| {
        let Some(Known::Yes(Some(host))) = hosts.get(&spec.id) else { return Vec::new() };
        let id = host.config.as_ref().map_or_else(|| host.id.clone(), ToString::to_string);
        let name = format!("\"{}\"", spec.tag.canonical());
        [name, id].into_iter().chain(host.chains.last().cloned()).collect()
    };
    loads.flat_map(of).collect()
}

fn on_nodes(
    nodes: &BTreeMap<String, Known<Contents>>,
    spec: &ImageSpec,
    host: &Known<Option<HostImage>>,
) -> BTreeMap<String, Known<NodeImage>> {
    let host = if let Known::Yes(Some(host)) = host { Some(host) } else { None };
    let of = |contents: &Known<Contents>| match contents {
        Known::Yes(contents) => Known::Yes(NodeImage::of(contents, &spec.tag, host)),
        Known::Unknown(why) => Known::Unknown(why.clone()),
    };
    nodes.iter().map(|(node, contents)| (node.clone(), of(contents))).collect()
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
