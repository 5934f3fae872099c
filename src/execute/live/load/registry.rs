//! Loading by the registry that the cluster names: Docker pushes there, and every node pulls from it.
//! Depends on: facts, adapters, report::event.

use std::time::Instant;

use futures_util::future::join_all;

use super::Load;
use crate::adapters::cluster::LocalRegistry;
use crate::names::ConfigDigest;
use crate::report::event::{LoadReport, NodeLoad};

impl Load<'_> {
    pub(super) async fn by_registry(
        &self,
        nodes: &[String],
        config: &ConfigDigest,
        report: &mut LoadReport,
    ) {
        let began = Instant::now();
        let pushed = self.push_to_registry(config).await;
        report.export = began.elapsed();
        let loaded = match pushed {
            Err(why) => vec![NodeLoad::failed(why); nodes.len()],
            Ok(name) => {
                join_all(nodes.iter().map(|node| self.pull_from(node, &name, config))).await
            }
        };
        report.nodes.extend(nodes.iter().cloned().zip(loaded));
    }

    /// The name, as nodes know it, under which the image is in the registry.
    async fn push_to_registry(&self, config: &ConfigDigest) -> Result<String, String> {
        let world = self.live.world;
        let LocalRegistry { host, from_nodes } = world.local_registry().await?;
        // Without its own registry's name, and under a tag that no other image can have.
        let repository = self.spec.tag.canonical().split_once('/').map_or("", |(_, rest)| rest);
        let repository = repository.rsplit_once(':').map_or(repository, |(name, _)| name);
        let tag = format!("tg-{}", config.short());
        let name = format!("{host}/{repository}");
        self.push_as(&name, &tag).await?;
        Ok(format!("{from_nodes}/{repository}:{tag}"))
    }

    async fn pull_from(&self, node: &str, name: &str, config: &ConfigDigest) -> NodeLoad {
        let began = Instant::now();
        let mut outcome = NodeLoad::by("registry");
        let pulled = self.live.world.engine.pull_from_registry(node, name, &self.spec.tag);
        let pulled = self.while_it_runs(node, pulled).await;
        outcome.transfer = began.elapsed();
        self.prove(node, pulled, config, &mut outcome).await;
        outcome
    }
}
