//! Damaged records read as nothing, and those that carry a valid head and sum, whatever is in them, harm nobody.
//!
//! The first byte of an input is the length of a second record in 16ths: the rest is cut there.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tg::digest::change::{Touched, between_manifests, touched};
use tg::digest::manifest::{Manifest, decode, encode};
use tg::digest::stat_cache::StatCache;
use tg::digest::tree::{Tree, digest, hides_a_change};
use tg::facts::record::Sent;

fuzz_target!(|input: &[u8]| {
    for kind in ["manifest 1", "sent 2", "stat-cache 1"] {
        assert_eq!(decode::<Manifest>(kind, input), None, "somebody found a SHA-256");
    }
    let Some((cut, rest)) = input.split_first() else { return };
    let (one, other) = rest.split_at(rest.len() * usize::from(cut % 17) / 16);
    let manifests: Vec<Manifest> =
        [one, other].iter().filter_map(|body| read("manifest 1", body)).collect();
    for before in &manifests {
        for after in &manifests {
            compare(before, after);
        }
        before.trees.values().for_each(look);
    }
    if let Some(sent) = read::<Sent>("sent 2", rest) {
        sent.contexts.values().filter_map(|context| context.tree.as_ref()).for_each(look);
    }
    if let Some(cache) = read::<StatCache>("stat-cache 1", rest) {
        for (name, device) in &cache.devices {
            cache.of(name, *device, cache.looked_ns).into_iter().for_each(look);
        }
    }
});

/// Reads a body with the head and the sum that it would have if tg had written it. What can be read is written again, and
/// reads the same.
fn read<T>(kind: &str, body: &[u8]) -> Option<T>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let mut bytes = format!("tg {kind}\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&Sha256::digest(&bytes));
    let value: T = decode(kind, &bytes)?;
    let written = encode(kind, &value).expect("what was read can be written");
    assert_eq!(decode(kind, &written).as_ref(), Some(&value));
    Some(value)
}

fn compare(before: &Manifest, after: &Manifest) {
    let changes = between_manifests(before, after);
    assert!(before != after || changes.is_empty(), "{changes:?}");
    for change in &changes {
        assert!(!change.to_string().is_empty());
    }
    for what in [Touched::Files, Touched::Directories] {
        let _ = touched(&before.trees, &after.trees, what);
    }
    for (name, tree) in &before.trees {
        if let Some(now) = after.trees.get(name) {
            let _ = hides_a_change(tree, now);
        }
    }
}

/// A tree on record need not be in order, or name a path once.
fn look(tree: &Tree) {
    let _ = digest(tree);
    assert_eq!(tree.iter().count(), tree.len());
    for (path, _) in tree.iter() {
        let _ = (tree.get(path), tree.from(path).count());
    }
}
