//! What is said of a load.
//! Depends on: adapters::endpoint (types), facts, report::event.

use crate::adapters::endpoint::{Blob, Pushed};
use crate::facts::HostImage;
use crate::names::ConfigDigest;
use crate::report::event::{LoadReport, NodeLoad};

/// Such as `aaaaaaaaaaaa verified on 3 nodes (1 of 9 layers, 346 kB)`.
pub(super) fn summary(report: &LoadReport, host: &HostImage) -> String {
    let config = report.config.as_ref().or(host.config.as_ref());
    let id = config.map_or(host.id.as_str(), ConfigDigest::short);
    let nodes = match report.nodes.len() {
        1 => report.nodes.keys().next().cloned().unwrap_or_default(),
        several => format!("{several} nodes"),
    };
    let most =
        |part: fn(&NodeLoad) -> u64| report.nodes.values().map(part).max().unwrap_or_default();
    let bytes = human_bytes(most(|node| node.bytes_moved));
    let moved = match (report.layers.len(), most(|node| node.layers_moved as u64)) {
        _ if report.nodes.values().all(|node| node.strategy == "tag-only") => {
            "only named".to_owned()
        }
        (0, _) => bytes,
        (of, moved) => format!("{moved} of {of} layers, {bytes}"),
    };
    format!("{id} verified on {nodes} ({moved})")
}

/// Notes which layers a node got, and which it did not need.
pub(super) fn count(outcome: &mut NodeLoad, pushed: &Pushed, got: impl Fn(&str) -> bool) {
    let (moved, saved): (Vec<&Blob>, Vec<&Blob>) =
        pushed.layers.iter().partition(|layer| got(&layer.digest));
    let config = if got(pushed.config.as_str()) { pushed.config_size } else { 0 };
    let bytes = |layers: &[&Blob]| layers.iter().map(|layer| layer.size).sum::<u64>();
    outcome.layers_moved = moved.len();
    outcome.bytes_moved = bytes(&moved) + config;
    outcome.bytes_saved = bytes(&saved);
}

/// Bytes for people, in powers of 1000 as Docker shows them.
pub(super) fn human_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}
