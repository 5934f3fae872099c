//! Fills the facts through the adapters, everything at once. Reads only.
//! Depends on: taskfile::model, digest, adapters, facts.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::record::{Creating, State};
use super::{ClusterState, Facts, HostImage, ImageFacts, Known};
use crate::adapters::cluster::{self, ClusterError, LocalRegistry};
use crate::adapters::docker::{DockerError, Engine, IMAGE_LABEL, Image, KEY_LABEL, NodeContainer};
use crate::digest::Surroundings;
use crate::digest::chain::chain_ids;
use crate::interrupt::Interrupt;
use crate::names::{ImageId, ImageRef, Key};
use crate::taskfile::model::{ClusterAction, ImageSpec, Step, TaskFile};

mod nodes;

use nodes::{Asked, Hosts, on_nodes};

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

impl Memory {
    /// Whether anything may be written.
    #[must_use]
    pub fn is_renewed(self) -> bool {
        matches!(self, Self::Renew | Self::Verify)
    }

    /// Whether what was seen before may stand for what is there.
    #[must_use]
    pub fn uses_records(self) -> bool {
        matches!(self, Self::Renew | Self::ReadOnly)
    }
}

impl World {
    /// Looks at everything that the steps are about. Whether Kubernetes is ready is only asked where more is done than to
    /// build and load, since loading needs nothing of it.
    pub async fn gather(&self, steps: &[Step]) -> Facts {
        let needs_no_api = |step: &Step| {
            matches!(
                step,
                Step::Build { .. } | Step::Load { .. } | Step::Cluster(ClusterAction::Ensure)
            )
        };
        let only_loads = steps.iter().any(|step| matches!(step, Step::Load { .. }))
            && steps.iter().all(needs_no_api);
        self.look(steps, !only_loads).await
    }

    /// The same, and asks Kubernetes or not.
    pub async fn look(&self, steps: &[Step], asks_api: bool) -> Facts {
        let builds = |id: &ImageId| {
            steps.iter().any(|s| matches!(s, Step::Build { image, .. } if image == id))
        };
        let loads = |id: &ImageId| {
            steps.iter().any(|s| matches!(s, Step::Load { image, .. } if image == id))
        };
        let all = || self.file.images.values();
        let built: Vec<&ImageSpec> = all().filter(|spec| builds(&spec.id)).collect();
        let loaded: Vec<&ImageSpec> = all().filter(|spec| loads(&spec.id)).collect();
        let wanted: Vec<&ImageSpec> =
            all().filter(|spec| builds(&spec.id) || loads(&spec.id)).collect();

        let inputs = join_all(built.iter().map(|spec| self.current(spec)));
        let rest = async {
            let containers = self.containers(steps);
            let hosts = async {
                let hosts = join_all(wanted.iter().map(|spec| self.host_image(spec))).await;
                wanted.iter().map(|spec| spec.id.clone()).zip(hosts).collect::<Hosts>()
            };
            let asked =
                async { if loaded.is_empty() { Asked::new() } else { self.ask_known().await } };
            let (containers, hosts, asked) = tokio::join!(containers, hosts, asked);
            let nodes = async {
                let host = |spec: &ImageSpec| match hosts.get(&spec.id) {
                    Some(Known::Yes(host)) => host.as_ref(),
                    _ => None,
                };
                let loaded: Vec<_> = loaded.iter().map(|spec| (*spec, host(spec))).collect();
                if loaded.is_empty() {
                    return BTreeMap::new();
                }
                self.nodes(&containers, asked, &loaded).await
            };
            let cluster = self.cluster(containers.clone(), asks_api);
            let (nodes, cluster) = tokio::join!(nodes, cluster);
            (hosts, nodes, cluster)
        };
        let (inputs, (hosts, nodes, cluster)) = tokio::join!(inputs, rest);
        let mut inputs: BTreeMap<&ImageId, _> =
            built.iter().map(|spec| &spec.id).zip(inputs).collect();
        let images = wanted.iter().filter_map(|spec| {
            let host = hosts.get(&spec.id)?.clone();
            let inputs = match inputs.remove(&spec.id) {
                Some(Ok(current)) => Known::Yes(self.compare(spec, current, &host)),
                Some(Err(error)) => Known::Unknown(chain(&error)),
                None => Known::Unknown("not looked at".to_owned()),
            };
            let nodes =
                if loads(&spec.id) { on_nodes(&nodes, spec, &host) } else { BTreeMap::new() };
            Some((spec.id.clone(), ImageFacts { inputs, host, nodes }))
        });
        Facts { images: images.collect(), cluster, nodes }
    }

    /// The image under the public tag.
    pub async fn host_image(&self, spec: &ImageSpec) -> Known<Option<HostImage>> {
        match self.inspect(&spec.tag).await {
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

    /// The image of a tag. What an id stands for never changes, so it need not be asked for twice; but of an index the engine
    /// may come to have another platform.
    async fn inspect(&self, tag: &ImageRef) -> Result<Option<Image>, DockerError> {
        let Some(id) = self.engine.image_id(tag).await? else { return Ok(None) };
        if let Some(image) = self.state.inspected(&id) {
            return Ok(Some(image));
        }
        let found = self.engine.image(&id).await?;
        if let Some(image) = found.as_ref().filter(|image| !image.is_index && image.id == id)
            && self.memory.is_renewed()
        {
            // Without it the engine is asked again.
            let _ = self.state.record_inspected(image);
        }
        Ok(found)
    }

    async fn cluster(
        &self,
        containers: Result<Vec<NodeContainer>, String>,
        asks_api: bool,
    ) -> Known<ClusterState> {
        let nodes = match containers {
            Err(why) => return Known::Unknown(why),
            Ok(nodes) => nodes,
        };
        let record = self.state.cluster(&self.file.cluster.name);
        let maker = record.as_ref().and_then(|record| record.creating).map(|creating| creating.pid);
        let is_locked = self.state.is_cluster_locked(&self.file.cluster.name);
        if let Some(pid) = maker.filter(|pid| is_locked && *pid != std::process::id()) {
            return Known::Yes(ClusterState::BeingMade { pid });
        }
        if nodes.is_empty() {
            return Known::Yes(ClusterState::Absent);
        }
        let ours = self.is_ours(&nodes);
        let abandoned = record
            .filter(|record| ours && !is_locked && record.containers.is_empty())
            .and_then(|record| record.creating);
        let broken = |why| Known::Yes(ClusterState::Broken { why, ours });
        if let Some(Creating { pid, .. }) = abandoned {
            return broken(format!("the tg that was creating it (process {pid}) is gone"));
        }
        let stopped: Vec<String> = nodes
            .iter()
            .filter(|node| node.state != "running" && self.file.cluster.is_loaded(&node.name))
            .map(|node| format!("{} is {}", node.name, node.state))
            .collect();
        if !stopped.is_empty() {
            return broken(format!("node {}", stopped.join(", ")));
        }
        let not_ready = if asks_api { self.not_ready(&nodes).await } else { Ok(None) };
        let nodes = nodes.into_iter().map(|node| node.name);
        let nodes = nodes.filter(|node| self.file.cluster.is_loaded(node)).collect();
        match not_ready {
            Err(error) => broken(chain(&error)),
            Ok(Some(why)) => broken(why),
            Ok(None) if asks_api => Known::Yes(ClusterState::Ready { nodes }),
            Ok(None) => Known::Yes(ClusterState::Running { nodes }),
        }
    }

    /// Whether tg made the cluster that these containers are: their ids are on record, or they came to be while a tg was
    /// creating it. One that somebody made later under the same name is not ours.
    #[must_use]
    pub fn is_ours(&self, nodes: &[NodeContainer]) -> bool {
        let Some(record) = self.state.cluster(&self.file.cluster.name) else { return false };
        let made = |node: &NodeContainer| match record.creating {
            Some(Creating { since, .. }) if record.containers.is_empty() => {
                (since..=since + cluster::CREATE_LIMIT.as_secs()).contains(&node.created)
            }
            _ => record.containers.contains(&node.id),
        };
        nodes.iter().all(made)
    }

    /// The registry that the cluster names.
    ///
    /// # Errors
    /// Why there is none, in one line.
    pub async fn local_registry(&self) -> Result<LocalRegistry, String> {
        let name = &self.file.cluster.name;
        let nodes = self.engine.nodes(name).await.map_err(|error| chain(&error))?;
        let kubeconfig = match self.access_on_record(&nodes) {
            Some(kubeconfig) => kubeconfig,
            None => {
                cluster::kubeconfig(name, &self.interrupt).await.map_err(|error| chain(&error))?
            }
        };
        cluster::local_registry(&kubeconfig, self.engine.host())
            .await
            .map_err(|error| chain(&error))
    }

    /// How to reach the cluster that these containers are, as far as it is on record.
    fn access_on_record(&self, nodes: &[NodeContainer]) -> Option<String> {
        let name = &self.file.cluster.name;
        if self.is_ours(nodes) {
            return std::fs::read_to_string(self.state.kubeconfig(name)).ok();
        }
        let ids: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        self.state.access(name, &ids)
    }

    /// What keeps the cluster from being used, by what is on record of how to reach it, or by what kind says.
    ///
    /// # Errors
    /// Why nobody could be asked.
    pub async fn not_ready(&self, nodes: &[NodeContainer]) -> Result<Option<String>, ClusterError> {
        let name = &self.file.cluster.name;
        let ids: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
        let host = self.engine.host();
        if let Some(kubeconfig) = self.access_on_record(nodes)
            && let Ok(None) = cluster::nodes_not_ready(&kubeconfig, host).await
        {
            return Ok(None);
        }
        // The way there may have changed since.
        let kubeconfig = cluster::kubeconfig(name, &self.interrupt).await?;
        if self.memory.is_renewed() && !self.is_ours(nodes) {
            // Without it kind is asked again.
            let _ = self.state.record_access(name, &ids, &kubeconfig);
        }
        cluster::nodes_not_ready(&kubeconfig, host).await
    }
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
