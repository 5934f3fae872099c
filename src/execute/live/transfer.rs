//! What the builder is sent, and what it keeps of it: aliases of contexts with generations.
//! Depends on: facts, adapters, digest, error.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use super::Live;
use crate::adapters::copies;
use crate::digest::tree::{MAIN, Trees, hides_a_change};
use crate::error::{Failure, Kind};
use crate::facts::gather::World;
use crate::facts::inputs::Current;
use crate::facts::record::Sent;
use crate::taskfile::model::{ContextSource, ImageSpec};

/// A transfer that has been announced in the records.
pub(super) struct Transfer {
    sent: Sent,
    /// The builder's copies when a new generation began; `None` when the generation is an old one.
    copies_before: Option<BTreeSet<String>>,
}

/// The number for the aliases of the contexts: a new one when the builder could not see what changed, or when what it
/// holds is unknown.
pub async fn next_generation(world: &World, spec: &ImageSpec, current: &Current) -> u64 {
    next(&world.state.sent(&spec.id), &current.sources.trees, &builder(world).await)
}

fn next(sent: &Sent, now: &Trees, builder: &str) -> u64 {
    let hidden = |before: &Trees| {
        now.iter()
            .any(|(name, now)| before.get(name).is_some_and(|before| hides_a_change(before, now)))
    };
    match &sent.trees {
        Some(before) if sent.builder == builder && !hidden(before) => sent.generation,
        // From the clock, so that it is new even if the record is one of an earlier time.
        _ => {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
            u64::try_from(now).unwrap_or_default().max(sent.generation + 1)
        }
    }
}

/// Whose copies the record is about: the engine, and the builder that is set. Empty, and so nobody's, where the engine
/// does not tell.
async fn builder(world: &World) -> String {
    let id = world.engine.id().await.unwrap_or_default();
    if id.is_empty() { id } else { format!("{id} {}", world.builder) }
}

impl Live<'_> {
    /// Points the aliases at the contexts. From now until [`Self::end_transfer`] it is on record as unknown what the builder
    /// holds, so that a tg that is killed in between leaves no wrong memory.
    pub(super) async fn begin_transfer(
        &self,
        spec: &ImageSpec,
        current: &Current,
        generation: u64,
    ) -> Result<Transfer, Failure> {
        let internal = |error: std::io::Error| Failure::new(Kind::Internal, error);
        let state = &self.world.state;
        let before = state.sent(&spec.id);
        let builder = builder(self.world).await;
        let fresh = generation != before.generation;
        let same_builder = before.builder == builder;
        let mut sent = Sent { generation, trees: None, builder, ..before.clone() };
        if fresh {
            sent.obsolete.append(&mut sent.copies);
            // Another builder may have others under the same names.
            sent.obsolete.retain(|_| same_builder);
            for context in current.sources.trees.keys() {
                // A link that stays is in nobody's way.
                let _ = std::fs::remove_file(state.alias(&spec.id, context, before.generation));
            }
        }
        state.record_sent(&spec.id, &sent).map_err(internal)?;
        link(&spec.context, &state.alias(&spec.id, MAIN, generation)).map_err(internal)?;
        for (name, source) in &spec.contexts {
            if let ContextSource::Local(path) = source {
                link(path, &state.alias(&spec.id, name, generation)).map_err(internal)?;
            }
        }
        let copies_before = match fresh {
            true => copies::list(&spec.contexts, &self.world.interrupt).await.ok(),
            false => None,
        };
        Ok(Transfer { sent, copies_before })
    }

    /// Records what the builder holds once everything arrived, and drops its copies of earlier generations. `arrived` is
    /// how many copies the builder said it made.
    pub(super) async fn end_transfer(
        &self,
        spec: &ImageSpec,
        transfer: Transfer,
        current: &Current,
        arrived: usize,
    ) -> Result<(), Failure> {
        let interrupt = &self.world.interrupt;
        let mut sent = Sent { trees: Some(current.sources.trees.clone()), ..transfer.sent };
        if let Some(before) = transfer.copies_before {
            let after = copies::list(&spec.contexts, interrupt).await.unwrap_or_default();
            let new: Vec<String> = after.difference(&before).cloned().collect();
            // More than ours: somebody else builds, too, and nobody can tell whose is which.
            if new.len() == arrived {
                sent.copies = new;
            }
        }
        // One that is in use now stays on record and goes another time.
        let mut left = Vec::new();
        for copy in std::mem::take(&mut sent.obsolete) {
            if copies::remove(&copy, interrupt).await.is_err() {
                left.push(copy);
            }
        }
        sent.obsolete = left;
        let recorded = self.world.state.record_sent(&spec.id, &sent);
        recorded.map_err(|error| Failure::new(Kind::Internal, error))
    }
}

/// Points an alias at a context.
fn link(context: &Path, alias: &Path) -> std::io::Result<()> {
    let context = context.canonicalize()?;
    if std::fs::read_link(alias).is_ok_and(|target| target == context) {
        return Ok(());
    }
    let directory = alias.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    match std::fs::remove_file(alias) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(context, alias)
}
