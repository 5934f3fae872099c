//! Loading by push and pull: Docker pushes what no node has into an endpoint of ours, and every node pulls from it.
//! Depends on: facts, adapters, digest, error.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::Live;
use crate::adapters::endpoint::{Endpoint, maker_of};
use crate::facts::HostImage;
use crate::facts::gather::{chain, is_alive};
use crate::taskfile::model::ImageSpec;

/// More than any image that is loaded into a cluster on one machine.
const LIMIT: u64 = 64 << 30;

/// What was moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    /// Blobs that Docker sent.
    pub(super) blobs: usize,
    /// Their bytes.
    pub(super) bytes: u64,
}

impl Live<'_> {
    /// Moves what is missing into all nodes at once. The result of each node, in their order.
    ///
    /// # Errors
    /// Why it cannot be done this way at all, in one line; nothing in any node has changed then.
    pub(super) async fn push_and_pull(
        &self,
        spec: &ImageSpec,
        host: &HostImage,
        nodes: &[String],
    ) -> Result<(Moved, Vec<Result<(), String>>), String> {
        let engine = &self.world.engine;
        let said = |error: &(dyn std::error::Error + 'static)| chain(error);
        self.sweep().await;
        let gateways = engine.gateways(&nodes[0]).await.map_err(|error| said(&error))?;
        let gateway = *gateways.first().ok_or("the nodes have no network with a gateway")?;
        let claims = self.common_blobs(nodes).await;
        let endpoint = Endpoint::start(&gateways, claims, LIMIT).await.map_err(|error| {
            format!("cannot listen on {gateway}, where the nodes would reach this machine: {error}")
        })?;
        let name = spec.id.to_string().to_lowercase();
        let pushed = endpoint.repository(std::net::Ipv4Addr::LOCALHOST.into(), &name);
        let pulled = endpoint.repository(gateway, &name);
        engine.push_as(&host.id, &pushed).await.map_err(|error| said(&error))?;
        let digest = endpoint.manifest_digest("load").ok_or("Docker pushed no manifest")?;
        let reference = format!("{pulled}@{digest}");
        let pull = |node: String| {
            let reference = reference.clone();
            async move { engine.pull(&node, &reference, &spec.tag).await }
        };
        let mut results = join_all(nodes.iter().map(|node| pull(node.clone()))).await;
        // A node may lack what it said it had: its own collection of garbage ran in between. Docker sends that now.
        if !endpoint.take_missed().is_empty() {
            engine.push_as(&host.id, &pushed).await.map_err(|error| said(&error))?;
            for (node, result) in nodes.iter().zip(&mut results).filter(|(_, r)| r.is_err()) {
                *result = pull(node.clone()).await;
            }
        }
        let (blobs, bytes) = endpoint.arrived();
        let results = results.into_iter().map(|result| result.map_err(|error| chain(&error)));
        Ok((Moved { blobs, bytes }, results.collect()))
    }

    /// Removes the temporary names in Docker of loads that were killed.
    async fn sweep(&self) {
        let names = self.world.engine.names_like("127.0.0.1:*/tg-load-*/*").await;
        for name in names.unwrap_or_default() {
            if maker_of(&name).is_some_and(|pid| !is_alive(pid)) {
                // It stays for the next load to try.
                let _ = self.world.engine.untag(&name).await;
            }
        }
    }

    /// The blobs that every node has, with their sizes. A node that does not say has none.
    async fn common_blobs(&self, nodes: &[String]) -> BTreeMap<String, u64> {
        let engine = &self.world.engine;
        let asked = join_all(nodes.iter().map(|node| engine.blobs(node))).await;
        let mut answers = asked.into_iter().map(Result::unwrap_or_default);
        let first: BTreeMap<String, u64> = answers.next().unwrap_or_default();
        answers.fold(first, |mut common, other| {
            let other: BTreeSet<String> = other.into_keys().collect();
            common.retain(|digest, _| other.contains(digest));
            common
        })
    }
}
