//! Loading by push: Docker pushes what no node has into an endpoint of ours, and every node pulls from it, or gets what arrived
//! as an archive where it cannot reach us.
//! Depends on: facts, adapters, report::event.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::Load;
use super::tell::count;
use crate::adapters::docker::Network;
use crate::adapters::endpoint::{Endpoint, Pushed};
use crate::facts::NodeImage;
use crate::facts::gather::{World, chain};
use crate::facts::record::Pushing;
use crate::names::ConfigDigest;
use crate::report::event::{LayerLoad, LoadReport, NodeLoad};
use crate::taskfile::model::LoadStrategy;

/// More than any image that is loaded into a cluster on one machine.
const LIMIT: u64 = 64 << 30;

/// An endpoint has one image, whatever it is called.
const TAG: &str = "load";
/// How often Docker is asked for what nodes turned out to lack.
const PUSHES_AGAIN: usize = 3;

/// Where Docker pushes to and nodes pull from.
struct Place {
    endpoint: Endpoint,
    /// The name in Docker that the image is pushed under, which is there only while it is pushed.
    repository: String,
    networks: BTreeMap<String, Network>,
}

/// What Docker pushed, where the nodes can have it.
pub(super) struct Delivery {
    place: Place,
    pub(super) pushed: Pushed,
    /// How long Docker took.
    took: Duration,
    /// How nodes fared that began to pull before everything had been pushed, in their order; none did if this is empty.
    early: Vec<NodeLoad>,
}

impl Delivery {
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.place.endpoint
    }
}

/// Removes the names in Docker that killed loads left there.
pub async fn sweep(world: &World) {
    remove_left_over(world, false).await;
}

/// The same, and those of this process, whose load is given up.
pub(super) async fn sweep_own(world: &World) {
    remove_left_over(world, true).await;
}

async fn remove_left_over(world: &World, ends: bool) {
    for (name, pushing) in world.state.left_over(world.engine.host(), ends) {
        // What cannot be removed is tried again by the next run.
        if world.engine.untag(&name).await.is_ok() {
            pushing.forget();
        }
    }
}

impl Load<'_> {
    /// Has Docker push what the nodes lack. Where it is known beforehand what the image is, the nodes begin to pull at the
    /// same time: starting that takes as long as a small push, and the endpoint keeps them waiting for the rest.
    ///
    /// # Errors
    /// Why it cannot be done this way at all, in one line; no node has another image then.
    pub(super) async fn deliver(&self, nodes: &[String]) -> Result<Delivery, String> {
        let began = Instant::now();
        let (world, engine) = (self.live.world, &self.live.world.engine);
        let place = self.place(nodes).await?;
        let config = match &self.host.config {
            // With the manifest at hand nodes take each layer as soon as it has arrived.
            _ if self.is_first() => self.push_manifest(&place).await?,
            known => known.clone(),
        };
        let push = async {
            let pushed = self.push(&place.repository).await;
            place.endpoint.complete();
            (pushed, began.elapsed())
        };
        let pulls = world.file.load != LoadStrategy::PushAndImport && place.endpoint.is_reachable();
        let early = async {
            match &config {
                Some(config) if pulls => {
                    join_all(nodes.iter().map(|node| self.pull(&place, config, node))).await
                }
                _ => Vec::new(),
            }
        };
        let ((pushed, took), early) = tokio::join!(push, early);
        pushed?;
        let pushed = place.endpoint.pushed(engine.platform());
        let pushed =
            pushed.ok_or_else(|| format!("Docker pushed no manifest for {}", engine.platform()))?;
        self.record_blobs(&pushed);
        match &self.host.config {
            Some(config) if *config != pushed.config => {
                let (is, wanted) = (pushed.config.short(), config.short());
                return Err(format!("Docker pushed {is}, not {wanted}"));
            }
            Some(_) => {}
            // What an index holds never changes: the next decision need not ask for it. Unknown, it is loaded again.
            None => {
                let (id, platform) = (&self.host.id, engine.platform());
                drop(world.state.record_identity(id, platform, &pushed.config));
            }
        }
        Ok(Delivery { place, pushed, took, early })
    }

    /// Whether a node lacks even the lowest layer, so that much is to be moved, and Docker knows the digests of the blobs:
    /// those of the overlay2 store come to be while it pushes.
    fn is_first(&self) -> bool {
        let is_overlay2 = self.host.config.as_ref().is_some_and(|id| id.as_str() == self.host.id);
        let lacks = |lowest| self.before.values().any(|node| !node.chains.contains(lowest));
        !is_overlay2 && self.host.chains.first().is_some_and(lacks)
    }

    /// Finds out what an index holds for the engine's platform, by a push of its manifest that nobody pulls.
    pub(super) async fn learn(&self) -> Result<ConfigDigest, String> {
        let place = self.place(&[]).await?;
        let config = self.push_manifest(&place).await?.ok_or("it pushed no manifest")?;
        let (id, platform) = (&self.host.id, self.live.world.engine.platform());
        // Unknown, it is asked again.
        drop(self.live.world.state.record_identity(id, platform, &config));
        Ok(config)
    }

    /// Has Docker push the manifest and nothing else. What the image will be called.
    async fn push_manifest(&self, place: &Place) -> Result<Option<ConfigDigest>, String> {
        place.endpoint.claim_all(true);
        let pushed = self.push(&place.repository).await;
        place.endpoint.claim_all(false);
        pushed?;
        let platform = self.live.world.engine.platform();
        Ok(place.endpoint.pushed(platform).map(|pushed| pushed.config))
    }

    /// Listens where Docker and the nodes reach this machine.
    async fn place(&self, nodes: &[String]) -> Result<Place, String> {
        let engine = &self.live.world.engine;
        let networks = join_all(nodes.iter().map(|node| engine.network(node))).await;
        let networks = networks.into_iter().collect::<Result<Vec<_>, _>>();
        let networks = networks.map_err(|error| chain(&error))?;
        let networks: BTreeMap<String, Network> = nodes.iter().cloned().zip(networks).collect();
        let gateways: BTreeSet<IpAddr> =
            networks.values().flat_map(|network| network.gateways.clone()).collect();
        let gateways: Vec<IpAddr> = gateways.into_iter().collect();
        let endpoint = Endpoint::start(&gateways, self.claims(nodes), LIMIT).await;
        let endpoint = endpoint.map_err(|error| format!("cannot listen: {error}"))?;
        let name = self.spec.id.to_string().to_lowercase();
        let repository = endpoint.repository(Ipv4Addr::LOCALHOST.into(), &name);
        Ok(Place { endpoint, repository, networks })
    }

    async fn push(&self, repository: &str) -> Result<(), String> {
        self.push_as(repository, TAG).await
    }

    /// Has Docker push the image under a name that it has only for that time.
    pub(super) async fn push_as(&self, repository: &str, tag: &str) -> Result<(), String> {
        let World { engine, state, .. } = self.live.world;
        // Without a record a name could stay there: that harms less than an image that is not loaded.
        let pushing = state.record_push(engine.host(), &format!("{repository}:{tag}")).ok();
        let pushed = engine.push_as(&self.host.id, (repository, tag), self.host.is_index).await;
        if pushed.is_ok() {
            pushing.into_iter().for_each(Pushing::forget);
        }
        pushed.map_err(|error| chain(&error))
    }

    /// The blobs that no node needs, with their sizes: every node has them, or has unpacked what is in them. A node that
    /// was loaded by other means has the layers and not these blobs, and then only the record of earlier loads tells which
    /// they are.
    pub(super) fn claims(&self, nodes: &[String]) -> BTreeMap<String, u64> {
        let mut claims = self.common_blobs(nodes);
        let state = &self.live.world.state;
        claims.extend(self.common_layers(nodes).filter_map(|layer| state.blob(layer)));
        claims
    }

    fn record_blobs(&self, pushed: &Pushed) {
        let (layers, state) = (&self.host.layers, &self.live.world.state);
        if layers.len() != pushed.layers.len() {
            return;
        }
        for (layer, blob) in layers.iter().zip(&pushed.layers) {
            if state.blob(layer).is_none_or(|(digest, _)| digest != blob.digest) {
                // Without it Docker sends the blob again, and no node takes it.
                let _ = state.record_blob(layer, &blob.digest, blob.size);
            }
        }
    }

    /// The layers that every node has unpacked, by the digests that they have then.
    pub(super) fn common_layers(&self, nodes: &[String]) -> impl Iterator<Item = &String> {
        let has = |node: &String, chain| {
            self.before.get(node).is_some_and(|before| before.chains.contains(chain))
        };
        let layers = self.host.layers.iter().zip(&self.host.chains);
        let common = layers.filter(move |(_, chain)| nodes.iter().all(|node| has(node, *chain)));
        common.map(|(layer, _)| layer)
    }

    /// The blobs that every node has, with their sizes.
    fn common_blobs(&self, nodes: &[String]) -> BTreeMap<String, u64> {
        let mut all = nodes.iter().map(|node| self.before.get(node)?.blobs.as_ref());
        let mut common = all.next().flatten().cloned().unwrap_or_default();
        for blobs in all {
            common.retain(|digest, _| blobs.is_some_and(|blobs| blobs.contains_key(digest)));
        }
        common
    }

    /// Brings what was pushed into nodes. Those where neither way works are left.
    pub(super) async fn by_push(
        &self,
        delivery: &mut Delivery,
        left: &mut Vec<String>,
        report: &mut LoadReport,
    ) {
        let strategy = self.live.world.file.load;
        let imports_only = strategy == LoadStrategy::PushAndImport;
        let mut whys = BTreeMap::new();
        if !imports_only && delivery.place.endpoint.is_reachable() {
            self.pull_into_all(delivery, left, &mut whys, report).await;
        } else if !imports_only {
            let why = "the nodes cannot reach this machine: their gateway is not here";
            whys.extend(left.iter().map(|node| (node.clone(), why.to_owned())));
        }
        if !left.is_empty() && strategy != LoadStrategy::PushAndPull {
            if !imports_only {
                self.note_fallback("what Docker pushed is imported", left, &whys);
            }
            self.import_into_all(delivery, left, &mut whys, report).await;
        }
        for node in left.iter() {
            let why = whys.remove(node).unwrap_or_default();
            report.nodes.insert(node.clone(), NodeLoad::failed(why));
        }
        report.config = Some(delivery.pushed.config.clone());
        report.export = delivery.took;
        report.layers = self.layers(delivery);
        if strategy != LoadStrategy::Auto {
            left.clear();
        }
    }

    async fn pull_into_all(
        &self,
        delivery: &mut Delivery,
        left: &mut Vec<String>,
        whys: &mut BTreeMap<String, String>,
        report: &mut LoadReport,
    ) {
        let place = &delivery.place;
        let config = delivery.pushed.config.clone();
        let config = &config;
        let mut pulled = std::mem::take(&mut delivery.early);
        let mut may_retry = !pulled.is_empty();
        let mut pushes_left = PUSHES_AGAIN;
        if pulled.is_empty() {
            pulled = join_all(left.iter().map(|node| self.pull(place, config, node))).await;
        }
        loop {
            let mut failed = Vec::new();
            for (node, mut outcome) in left.drain(..).zip(pulled) {
                if let Err(why) = &outcome.result {
                    whys.insert(node.clone(), why.clone());
                    failed.push(node);
                    continue;
                }
                let addresses = place.networks.get(&node).map(|network| &network.addresses);
                let served = addresses.into_iter().flatten().map(|at| place.endpoint.served(*at));
                let served: Vec<_> = served.collect();
                count(&mut outcome, &delivery.pushed, |digest| {
                    served.iter().any(|served| served.blobs.contains(digest))
                });
                report.nodes.insert(node, outcome);
            }
            *left = failed;
            // A node may lack what it said it had: its own collection of garbage ran in between. Docker sends that now. And
            // one that began early may have been tired of waiting.
            let missed = !place.endpoint.take_missed().is_empty();
            let again = !left.is_empty() && (missed || std::mem::take(&mut may_retry));
            if !again || pushes_left == 0 || (missed && self.push(&place.repository).await.is_err())
            {
                return;
            }
            pushes_left -= 1;
            // The overlay2 store may have compressed a layer anew, and then it is another manifest.
            let platform = self.live.world.engine.platform();
            if let Some(pushed) = place.endpoint.pushed(platform).filter(|p| p.config == *config) {
                delivery.pushed = pushed;
            }
            pulled = join_all(left.iter().map(|node| self.pull(place, config, node))).await;
        }
    }

    async fn pull(&self, place: &Place, config: &ConfigDigest, node: &str) -> NodeLoad {
        let began = Instant::now();
        let mut outcome = NodeLoad::by("push-and-pull");
        let (Some(network), Some(before)) = (place.networks.get(node), self.before.get(node))
        else {
            return NodeLoad::failed(format!("node {node} is unknown"));
        };
        let gateway = network.gateways.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
        let superseded = NodeImage::superseded(before, &self.spec.tag);
        let naming = self.naming(before, config, superseded.as_ref());
        let url = place.endpoint.url(gateway);
        let pulled = self.live.world.engine.pull(node, &naming, &url);
        let pulled = self.while_it_runs(node, pulled).await;
        let took = began.elapsed();
        outcome.result = match pulled {
            Ok(mut told) => {
                told.chains.extend(self.host.chains.iter().cloned());
                self.verify(node, Some(told), config).await
            }
            Err(why) => {
                self.remove_broken(node, config).await;
                Err(why)
            }
        };
        outcome.verify = began.elapsed() - took;
        let served = network.addresses.iter().map(|address| place.endpoint.served(*address));
        let last = served.filter_map(|served| served.last).max();
        outcome.transfer =
            last.map_or(Duration::ZERO, |last| last.saturating_duration_since(began)).min(took);
        outcome.import = took - outcome.transfer;
        outcome
    }

    /// Each layer, and the nodes that had neither its blob nor its snapshot.
    fn layers(&self, delivery: &Delivery) -> Vec<LayerLoad> {
        let chains = &self.host.chains;
        let layers = delivery.pushed.layers.iter().enumerate();
        let lacks = |at: usize, digest: &str| {
            let chain = (chains.len() == delivery.pushed.layers.len()).then(|| &chains[at]);
            let lacks = self.before.iter().filter(|(_, node)| {
                let has_blob = node.blobs.as_ref().is_some_and(|blobs| blobs.contains_key(digest));
                !has_blob && !chain.is_some_and(|chain| node.chains.contains(chain))
            });
            lacks.map(|(node, _)| node.clone()).collect()
        };
        layers
            .map(|(at, layer)| LayerLoad {
                digest: layer.digest.clone(),
                size: layer.size,
                sent: delivery.endpoint().holds(&layer.digest),
                lacked_by: lacks(at, &layer.digest),
            })
            .collect()
    }
}
