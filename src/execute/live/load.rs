//! Loading: one export from Docker, fanned out to every node that lacks the image, then proved by each node's CRI.
//! Depends on: facts, adapters, report::event, error.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::Live;
use crate::error::{Failure, Kind};
use crate::execute::interrupted;
use crate::facts::gather::chain;
use crate::facts::{HostImage, Known};
use crate::names::{ConfigDigest, ImageId};
use crate::report::event::{EventKind, StepName};
use crate::taskfile::model::ImageSpec;

/// Pieces of the archive in flight per node: the slowest node sets the pace, memory stays bounded.
const IN_FLIGHT: usize = 16;

impl Live<'_> {
    pub(super) async fn load_image(
        &self,
        name: &StepName,
        image: &ImageId,
        nodes: &[String],
    ) -> Result<String, Failure> {
        let Some(spec) = self.world.file.images.get(image) else {
            return Err(Failure::said(Kind::TaskFile, format!("unknown image `{image}`")));
        };
        let host = match self.world.host_image(spec).await {
            Known::Yes(Some(host)) => host,
            Known::Yes(None) => {
                let message = format!("{} is not in Docker", spec.tag);
                return Err(Failure::said(Kind::Load, message).hint(format!("tg build {image}")));
            }
            Known::Unknown(why) => return Err(Failure::said(Kind::Docker, why)),
        };
        if nodes.is_empty() {
            return Err(Failure::said(Kind::Cluster, "the cluster has no node to load into")
                .hint("tg cluster status"));
        }
        tokio::select! {
            loaded = self.transfer_and_verify(name, spec, &host, nodes) => loaded,
            () = self.world.interrupt.requested() => {
                Err(interrupted(self.world.interrupt.signal().unwrap_or(2)))
            }
        }
    }

    async fn transfer_and_verify(
        &self,
        name: &StepName,
        spec: &ImageSpec,
        host: &HostImage,
        nodes: &[String],
    ) -> Result<String, Failure> {
        let (moved, imported) = self.bring(name, spec, host, nodes).await?;
        let verified = join_all(nodes.iter().map(|node| self.verify(spec, host, node))).await;
        let failed: Vec<String> = imported
            .into_iter()
            .zip(verified)
            .filter_map(|(imported, verified)| imported.err().or(verified.err()))
            .collect();
        if failed.is_empty() {
            let id = host.config.as_ref().map_or(host.id.as_str(), ConfigDigest::short);
            let nodes =
                if nodes.len() == 1 { nodes[0].clone() } else { format!("{} nodes", nodes.len()) };
            return Ok(format!("{id} verified on {nodes} ({moved})"));
        }
        let good = nodes.len() - failed.len();
        let message = format!(
            "loading {} failed on {} of {} nodes ({good} have it):\n{}",
            spec.tag,
            failed.len(),
            nodes.len(),
            failed.join("\n")
        );
        Err(Failure::said(Kind::Load, message).hint(format!("tg load {}", spec.id)))
    }

    /// Brings the image into all nodes, by push and pull where that is possible, else as an archive. What was moved, and the
    /// result of each node in their order.
    async fn bring(
        &self,
        name: &StepName,
        spec: &ImageSpec,
        host: &HostImage,
        nodes: &[String],
    ) -> Result<(String, Vec<Result<(), String>>), Failure> {
        let (moved, mut results) = match self.push_and_pull(spec, host, nodes).await {
            Ok(pulled) => pulled,
            Err(why) => {
                self.note(name, format!("loading the whole image as an archive: {why}"), true);
                let (bytes, results) = self.transfer(name, spec, nodes).await?;
                return Ok((human_bytes(bytes), results));
            }
        };
        let blobs = if moved.blobs == 1 { "blob" } else { "blobs" };
        let mut text = format!("{} {blobs}, {}", moved.blobs, human_bytes(moved.bytes));
        let (failed, whys): (Vec<String>, Vec<&String>) = nodes
            .iter()
            .zip(&results)
            .filter_map(|(node, result)| Some((node.clone(), result.as_ref().err()?)))
            .unzip();
        if !failed.is_empty() {
            self.note(name, format!("loading an archive after a failed pull: {}", whys[0]), true);
            let (bytes, again) = self.transfer(name, spec, &failed).await?;
            let mut again = again.into_iter();
            for result in results.iter_mut().filter(|result| result.is_err()) {
                *result = again.next().unwrap_or(Ok(()));
            }
            text = format!("{text}, and an archive of {}", human_bytes(bytes));
        }
        Ok((text, results))
    }

    /// Streams the image into all nodes at once. The result of each node, in their order, and the bytes of the archive.
    async fn transfer(
        &self,
        name: &StepName,
        spec: &ImageSpec,
        nodes: &[String],
    ) -> Result<(u64, Vec<Result<(), String>>), Failure> {
        let engine = &self.world.engine;
        let (mut senders, mut imports) = (Vec::new(), Vec::new());
        for node in nodes {
            let (sender, receiver) = mpsc::channel(IN_FLIGHT);
            senders.push(sender);
            imports.push(engine.import(node, receiver));
        }
        let feed = async {
            let mut archive = std::pin::pin!(engine.export(spec.tag.familiar()));
            let mut bytes = 0_u64;
            while let Some(piece) = archive.next().await {
                let piece = Arc::new(piece?);
                bytes += piece.len() as u64;
                // A node whose import ended early no longer takes anything; its own result says why.
                senders.retain(|sender| !sender.is_closed());
                join_all(senders.iter().map(|sender| sender.send(Arc::clone(&piece)))).await;
                self.emitter.emit(EventKind::Bytes { step: name.clone(), bytes });
            }
            // Dropping them tells the nodes that the archive is complete.
            senders.clear();
            Ok(bytes)
        };
        let (fed, imported) = tokio::join!(feed, join_all(imports));
        let bytes = fed.map_err(|error: crate::adapters::docker::DockerError| {
            Failure::said(Kind::Load, chain(&error))
        })?;
        Ok((
            bytes,
            imported.into_iter().map(|result| result.map_err(|error| chain(&error))).collect(),
        ))
    }

    /// Asks the node what it has now. A wrong image under the right name is worse than none: the name is removed.
    async fn verify(&self, spec: &ImageSpec, host: &HostImage, node: &str) -> Result<(), String> {
        let engine = &self.world.engine;
        let found = engine.node_image(node, &spec.tag).await.map_err(|error| chain(&error))?;
        match (found, &host.config) {
            (None, _) => Err(format!("node {node}: {} is not there after the import", spec.tag)),
            (Some(found), Some(wanted)) if found != *wanted => {
                engine.remove_name(node, &spec.tag).await.map_err(|error| chain(&error))?;
                Err(format!(
                    "node {node}: has {} after the import, not {}",
                    found.short(),
                    wanted.short()
                ))
            }
            (Some(_), _) => Ok(()),
        }
    }
}

/// Bytes for people, in powers of 1000 as Docker shows them.
fn human_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}
