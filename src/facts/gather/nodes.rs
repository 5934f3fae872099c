//! What the nodes of the cluster have.
//! Depends on: taskfile::model, adapters, facts.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{World, chain};
use crate::adapters::docker::NodeContainer;
use crate::adapters::node::DEFAULT_SNAPSHOTTER;
use crate::facts::{Contents, HostImage, Known, NodeImage};
use crate::names::ImageId;
use crate::taskfile::model::{ImageSpec, Step};

/// What containers have, by their ids.
pub(super) type Asked = BTreeMap<String, Known<Contents>>;

/// The images in Docker, by their ids in the task file.
pub(super) type Hosts = BTreeMap<ImageId, Known<Option<HostImage>>>;

impl World {
    /// The containers of the cluster, if the steps need it.
    pub(super) async fn containers(&self, steps: &[Step]) -> Result<Vec<NodeContainer>, String> {
        if !steps.iter().any(|step| matches!(step, Step::Load { .. } | Step::Cluster(_))) {
            return Ok(Vec::new());
        }
        self.engine.nodes(&self.file.cluster.name).await.map_err(|error| chain(&error))
    }

    /// Asks the containers that were the nodes when last looked, so that nothing waits for the list of those that are now.
    pub(super) async fn ask_known(&self) -> Asked {
        let cluster = &self.file.cluster;
        let known =
            if cluster.only.is_empty() { self.state.nodes(&cluster.name) } else { Vec::new() };
        let asked = join_all(known.iter().map(|(id, name)| self.contents(id, name))).await;
        known.into_iter().map(|(id, _)| id).zip(asked).collect()
    }

    /// What each running node has. What was `asked` of a container that is no running node is forgotten. One that lacks
    /// something of what is to be `loaded` is looked at closer.
    pub(super) async fn nodes(
        &self,
        containers: &Result<Vec<NodeContainer>, String>,
        mut asked: Asked,
        loaded: &[(&ImageSpec, Option<&HostImage>)],
    ) -> BTreeMap<String, Known<Contents>> {
        let cluster = &self.file.cluster;
        let is_loaded = |n: &&NodeContainer| n.state == "running" && cluster.is_loaded(&n.name);
        let running: Vec<&NodeContainer> = containers.iter().flatten().filter(is_loaded).collect();
        let was_known =
            asked.len() == running.len() && running.iter().all(|node| asked.contains_key(&node.id));
        if self.memory.is_renewed() && cluster.only.is_empty() && !was_known {
            let nodes = running.iter().map(|node| (node.id.clone(), node.name.clone()));
            // Without it the next look takes a little longer.
            let _ = self.state.record_nodes(&cluster.name, &nodes.collect::<Vec<_>>());
        }
        let mut contents = Vec::new();
        for node in running {
            let early = asked.remove(&node.id).filter(|found| matches!(found, Known::Yes(_)));
            contents.push(async move {
                let found = match early {
                    Some(found) => found,
                    None => self.contents(&node.id, &node.name).await,
                };
                (node.name.clone(), self.closer(node, found, loaded).await)
            });
        }
        join_all(contents).await.into_iter().collect()
    }

    /// What a node lists: what it did last, where its database was not written since; or what it says now.
    async fn contents(&self, id: &str, node: &str) -> Known<Contents> {
        if self.memory.uses_records()
            && let Some(seen) = self.state.look(id).filter(|seen| seen.written.is_some())
            && self.engine.written(id).await == seen.written
        {
            return Known::Yes(seen);
        }
        match self.engine.contents(node, DEFAULT_SNAPSHOTTER).await {
            Ok(mut contents) => {
                contents.snapshotter = contents
                    .containerd
                    .as_ref()
                    .and_then(|start| self.state.snapshotter(id, start))
                    .filter(|known| known == DEFAULT_SNAPSHOTTER);
                self.record_look(id, &contents);
                Known::Yes(contents)
            }
            Err(error) => Known::Unknown(chain(&error)),
        }
    }

    /// Whether a load needs to know no more than this of a node. Layers that are unpacked there need not be moved when it is on
    /// record which blobs they are; the node's own blobs tell of the others.
    #[must_use]
    pub fn is_enough(&self, contents: &Contents, host: &HostImage) -> bool {
        let mut layers = host.layers.iter().zip(&host.chains);
        let is_recorded = |(layer, chain): (&String, &String)| {
            !contents.chains.contains(chain) || self.state.blob(layer).is_some()
        };
        contents.blobs.is_some() || (contents.snapshotter.is_some() && layers.all(is_recorded))
    }

    async fn closer(
        &self,
        node: &NodeContainer,
        found: Known<Contents>,
        loaded: &[(&ImageSpec, Option<&HostImage>)],
    ) -> Known<Contents> {
        let Known::Yes(contents) = found else { return found };
        let has = |(spec, host): &(&ImageSpec, Option<&HostImage>)| {
            let image = NodeImage::of(&contents, &spec.tag, *host);
            let is_there = image.tagged == host.and_then(|host| host.config.clone());
            (is_there && image.is_unpacked)
                || host.is_some_and(|host| self.is_enough(&contents, host))
        };
        if loaded.iter().all(has) {
            return Known::Yes(contents);
        }
        match self.engine.closer(&node.name, &contents).await {
            Ok(contents) => {
                self.record_look(&node.id, &contents);
                if let (Some(start), true) = (&contents.containerd, self.memory.is_renewed()) {
                    // Without it the node is looked at closer again.
                    let _ = self.state.record_snapshotter(&node.id, start, contents.snapshotter());
                }
                Known::Yes(contents)
            }
            Err(error) => Known::Unknown(chain(&error)),
        }
    }

    fn record_look(&self, id: &str, contents: &Contents) {
        if self.memory.is_renewed() && contents.written.is_some() {
            // Without it the node is asked again.
            let _ = self.state.record_look(id, contents);
        }
    }
}

pub(super) fn on_nodes(
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
