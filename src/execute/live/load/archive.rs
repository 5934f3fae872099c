//! Loading by archive: one stream into all nodes at once. What Docker pushed, with only what the nodes lack; or Docker's own
//! export, without what they have.
//! Depends on: adapters, report::event, tar, oci-spec.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{Stream, StreamExt, stream};
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::Load;
use super::push::Delivery;
use super::tell::count;
use crate::adapters::archive::{Filter, entry_header, index, padding};
use crate::facts::Contents;
use crate::facts::gather::chain;
use crate::names::ConfigDigest;
use crate::report::event::{EventKind, LoadReport, NodeLoad};

/// Pieces of the archive in flight per node: the slowest node sets the pace, memory stays bounded.
const IN_FLIGHT: usize = 16;
/// How long Docker may be silent while it exports.
const SILENCE: Duration = Duration::from_secs(300);

type Piece = Result<Bytes, String>;

/// What was sent to every node, and how long that took.
#[derive(Clone, Copy)]
struct Sent {
    bytes: u64,
    took: Duration,
}

impl Sent {
    /// Of a node whose import ended after `whole`.
    fn tell(self, outcome: &mut NodeLoad, whole: Duration) {
        outcome.bytes_moved = self.bytes;
        outcome.transfer = self.took.min(whole);
        outcome.import = whole - outcome.transfer;
    }
}

impl Load<'_> {
    /// Imports what Docker pushed.
    pub(super) async fn import_into_all(
        &self,
        delivery: &Delivery,
        left: &mut Vec<String>,
        whys: &mut BTreeMap<String, String>,
        report: &mut LoadReport,
    ) {
        let parcel = self.parcel(delivery);
        let (sent, imported) = self.stream_into_all(left, std::pin::pin!(parcel)).await;
        let mut failed = Vec::new();
        for (node, (imported, took)) in left.drain(..).zip(imported) {
            let mut outcome = NodeLoad::by("push-and-import");
            outcome.why = whys.remove(&node);
            count(&mut outcome, &delivery.pushed, |digest| delivery.endpoint().holds(digest));
            sent.tell(&mut outcome, took);
            self.prove(&node, imported, &delivery.pushed.config, &mut outcome).await;
            match &outcome.result {
                Ok(()) => drop(report.nodes.insert(node, outcome)),
                Err(why) => {
                    whys.insert(node.clone(), why.clone());
                    failed.push(node);
                }
            }
        }
        *left = failed;
    }

    /// An image layout of everything that arrived, and the manifest of one platform.
    fn parcel<'a>(&self, delivery: &'a Delivery) -> impl Stream<Item = Piece> + use<'a> {
        let pushed = &delivery.pushed;
        let layers = pushed.layers.iter().map(|layer| layer.digest.as_str());
        let all =
            [pushed.manifest.digest.as_str(), pushed.config.as_str()].into_iter().chain(layers);
        let digests: BTreeSet<String> = all.map(str::to_owned).collect();
        let layout = entry("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        let index = entry("index.json", index(pushed, &self.spec.tag));
        let blobs = stream::iter(digests).then(move |digest| async move {
            match delivery.endpoint().open(&digest) {
                // What only was claimed is in the node.
                None => stream::empty().boxed(),
                Some((content, length)) => {
                    let name = format!("blobs/{}", digest.replace(':', "/"));
                    let head = stream::iter([Ok(entry_header(&name, length))]);
                    let content = content.map(|piece| piece.map_err(|error| error.to_string()));
                    head.chain(content).chain(stream::iter([Ok(padding(length))])).boxed()
                }
            }
        });
        let end = stream::iter([Ok(Bytes::from(vec![0; 1024]))]);
        layout.chain(blobs.flatten()).chain(index).chain(end)
    }

    /// Exports from Docker and imports. First without the blobs that the nodes have; whole where that does not work.
    pub(super) async fn by_archive(
        &self,
        nodes: &[String],
        config: &ConfigDigest,
        why: Option<&str>,
        report: &mut LoadReport,
    ) {
        let mut left = nodes.to_vec();
        let mut whys: BTreeMap<String, String> = left
            .iter()
            .filter_map(|node| {
                let failed =
                    report.nodes.get(node).and_then(|outcome| outcome.result.clone().err());
                Some((node.clone(), failed.or(why.map(str::to_owned))?))
            })
            .collect();
        if !whys.is_empty() {
            self.note_fallback("an archive is loaded", &left, &whys);
        }
        let known = self.known_to_all(&left);
        for known in [known, BTreeSet::new()] {
            let whole = known.is_empty();
            let export = self.live.world.engine.export(self.spec.tag.familiar());
            let exported = AtomicU64::new(0);
            let export = export.map(|piece| {
                let piece = piece.map_err(|error| chain(&error))?;
                exported.fetch_add(piece.len() as u64, Ordering::Relaxed);
                Ok(piece)
            });
            let filter = Filter::new(known);
            let filtered = export.scan(filter, |filter, piece: Piece| {
                let piece = piece.map(|bytes| filter.pass(&bytes));
                std::future::ready(Some(piece))
            });
            let (sent, imported) = self.stream_into_all(&left, std::pin::pin!(filtered)).await;
            let mut failed = Vec::new();
            for (node, (imported, took)) in left.drain(..).zip(imported) {
                let mut outcome = NodeLoad::by("archive");
                sent.tell(&mut outcome, took);
                outcome.bytes_saved = exported.load(Ordering::Relaxed).saturating_sub(sent.bytes);
                outcome.why = whys.get(&node).cloned();
                self.prove(&node, imported, config, &mut outcome).await;
                if let Err(why) = &outcome.result {
                    whys.insert(node.clone(), why.clone());
                    failed.push(node.clone());
                }
                report.nodes.insert(node, outcome);
            }
            left = failed;
            if left.is_empty() || whole {
                return;
            }
            self.note_fallback("the whole archive is loaded", &left, &whys);
        }
    }

    /// Digests of layers that need not be moved: their blobs are in all nodes, or they are unpacked there. The overlay2
    /// store exports layers unpacked, under their own digests.
    fn known_to_all(&self, nodes: &[String]) -> BTreeSet<String> {
        let blobs = self.claims(nodes).into_keys();
        blobs.chain(self.common_layers(nodes).cloned()).collect()
    }

    /// The end of an import: its result, and what the CRI says.
    pub(super) async fn prove(
        &self,
        node: &str,
        imported: Result<(), String>,
        config: &ConfigDigest,
        outcome: &mut NodeLoad,
    ) {
        let began = Instant::now();
        outcome.result = match imported {
            Ok(()) => self.verify(node, None, config).await,
            Err(why) => Err(why),
        };
        outcome.verify = began.elapsed();
        match outcome.result {
            Ok(()) => self.remove_superseded(node, config).await,
            Err(_) => self.remove_broken(node, config).await,
        }
    }

    /// Streams pieces into all nodes at once: what was sent, and the result of each node with how long it took.
    async fn stream_into_all(
        &self,
        nodes: &[String],
        mut archive: impl Stream<Item = Piece> + Unpin,
    ) -> (Sent, Vec<(Result<(), String>, Duration)>) {
        let (began, engine) = (Instant::now(), &self.live.world.engine);
        let nothing = Contents::default();
        let (mut senders, mut imports) = (Vec::new(), Vec::new());
        for node in nodes {
            let (sender, receiver) = mpsc::channel(IN_FLIGHT);
            senders.push(sender);
            let before = self.before.get(node).unwrap_or(&nothing);
            let import = engine.import(node, &self.spec.tag, before.snapshotter(), receiver);
            imports.push(async move {
                let imported = self.while_it_runs(node, import).await;
                (imported, began.elapsed())
            });
        }
        let feed = async move {
            let (mut bytes, mut broken) = (0_u64, None);
            loop {
                let piece = match tokio::time::timeout(SILENCE, archive.next()).await {
                    Ok(None) => break,
                    Ok(Some(Ok(piece))) => piece,
                    Ok(Some(Err(why))) => {
                        broken = Some(why);
                        break;
                    }
                    Err(_elapsed) => {
                        broken = Some(format!("no data from Docker for {} s", SILENCE.as_secs()));
                        break;
                    }
                };
                bytes += piece.len() as u64;
                // A node whose import ended early no longer takes anything; its own result says why.
                senders.retain(|sender| !sender.is_closed());
                if senders.is_empty() {
                    break;
                }
                join_all(senders.iter().map(|sender| sender.send(piece.clone()))).await;
                self.live.emitter.emit(EventKind::Bytes { step: self.step.clone(), bytes });
            }
            // Dropping the senders tells the nodes that the archive has ended.
            (Sent { bytes, took: began.elapsed() }, broken)
        };
        let ((sent, broken), mut imported) = tokio::join!(feed, join_all(imports));
        if let Some(why) = broken {
            imported.iter_mut().for_each(|(result, _)| *result = Err(why.clone()));
        }
        (sent, imported)
    }

    /// Says that another way is taken, and why.
    pub(super) fn note_fallback(
        &self,
        what: &str,
        nodes: &[String],
        whys: &BTreeMap<String, String>,
    ) {
        let why = nodes.iter().find_map(|node| whys.get(node)).map_or("", String::as_str);
        let why = why.lines().next().unwrap_or_default();
        self.live.note(self.step, format!("{what} into {}: {why}", nodes.join(", ")), true);
    }
}

/// A small file of an archive.
fn entry(name: &str, content: Vec<u8>) -> impl Stream<Item = Piece> + use<> {
    let length = content.len() as u64;
    let pieces = [entry_header(name, length), Bytes::from(content), padding(length)];
    stream::iter(pieces.map(Ok))
}
