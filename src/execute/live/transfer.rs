//! What the builder is sent, and what it keeps of it: aliases of contexts with generations.
//! Depends on: facts, adapters, digest, error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Live;
use crate::adapters::copies;
use crate::digest::tree::{MAIN, Tree, hides_a_change};
use crate::error::{Failure, Kind};
use crate::facts::gather::World;
use crate::facts::inputs::Current;
use crate::facts::record::{Sent, SentContext};
use crate::taskfile::model::{BuildCache, ContextSource, ImageSpec};

/// The number in the alias of each context.
pub(super) type Generations = BTreeMap<String, u64>;

/// A transfer that has been announced in the records.
pub(super) struct Transfer {
    sent: Sent,
    /// The builder's copies before; `None` where none will be new.
    copies_before: Option<BTreeSet<String>>,
}

/// The numbers for the aliases of the contexts. One is new when the builder could not see what changed, when what it holds
/// is unknown, and when nothing that it holds is to be used.
pub async fn next_generations(
    world: &World,
    spec: &ImageSpec,
    current: &Current,
    cache: BuildCache,
) -> Generations {
    let mut sent = world.state.sent(&spec.id);
    if cache == BuildCache::Bypass || sent.builder != builder(world).await {
        sent.contexts.values_mut().for_each(|context| context.tree = None);
    }
    let trees = current.sources.trees.iter();
    trees.map(|(name, now)| (name.clone(), next(sent.contexts.get(name), now))).collect()
}

fn next(sent: Option<&SentContext>, now: &Tree) -> u64 {
    let last = sent.map_or(0, |sent| sent.generation);
    match sent.and_then(|sent| sent.tree.as_ref()) {
        Some(before) if !hides_a_change(before, now) => last,
        // From the clock, so that it is new even if the record is one of an earlier time.
        _ => {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
            u64::try_from(now).unwrap_or_default().max(last + 1)
        }
    }
}

/// Whose copies the record is about: the engine, and the builder that is set. Empty, and so nobody's, where the engine
/// does not tell.
async fn builder(world: &World) -> String {
    let id = world.engine.id().await.unwrap_or_default();
    if id.is_empty() {
        // Not even equal to itself a moment later.
        return format!("{:?}", SystemTime::now());
    }
    format!("{id} {}", world.builder)
}

impl Live<'_> {
    /// Points the aliases at the contexts. From now until [`Self::end_transfer`] it is on record as unknown what the builder
    /// holds, so that a tg that is killed in between leaves no wrong memory.
    pub(super) async fn begin_transfer(
        &self,
        spec: &ImageSpec,
        generations: &Generations,
    ) -> Result<Transfer, Failure> {
        let internal = |error: std::io::Error| Failure::new(Kind::Internal, error);
        let state = &self.world.state;
        let mut sent = state.sent(&spec.id);
        let builder = builder(self.world).await;
        if sent.builder != builder {
            // Another builder may have others under the same names.
            sent = Sent { builder, ..Sent::default() };
        }
        let number = |name: &str| sent.contexts.get(name).map(|context| context.generation);
        let fresh = generations.iter().any(|(name, new)| number(name) != Some(*new));
        let unknown = |(name, new): (&String, &u64)| {
            (name.clone(), SentContext { generation: *new, tree: None })
        };
        sent.contexts = generations.iter().map(unknown).collect();
        if fresh {
            sent.obsolete.append(&mut sent.copies);
        }
        state.record_sent(&spec.id, &sent).map_err(internal)?;
        for (name, generation) in generations {
            let path = match spec.contexts.get(name) {
                Some(ContextSource::Local(path)) => path,
                _ => &spec.context,
            };
            link(path, &state.alias(&spec.id, name, *generation)).map_err(internal)?;
        }
        let copies_before = match fresh {
            true => copies::list(&spec.contexts, &self.world.interrupt).await.ok(),
            false => None,
        };
        Ok(Transfer { sent, copies_before })
    }

    /// Records what the builder holds of the contexts that arrived, and drops its copies of earlier generations. `copies` is
    /// how many copies it said it made.
    pub(super) async fn end_transfer(
        &self,
        spec: &ImageSpec,
        transfer: Transfer,
        current: &Current,
        arrived: &BTreeSet<String>,
        copies: usize,
    ) -> Result<(), Failure> {
        let interrupt = &self.world.interrupt;
        let mut sent = transfer.sent;
        for (name, context) in &mut sent.contexts {
            let tree = current.sources.trees.get(name).filter(|_| arrived.contains(name));
            context.tree = tree.cloned();
        }
        if let Some(before) = transfer.copies_before {
            let after = copies::list(&spec.contexts, interrupt).await.unwrap_or_default();
            let new: Vec<String> = after.difference(&before).cloned().collect();
            // More than ours: somebody else builds, too, and nobody can tell whose is which.
            if new.len() <= copies {
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
        self.drop_aliases(spec, &sent);
        let recorded = self.world.state.record_sent(&spec.id, &sent);
        recorded.map_err(|error| Failure::new(Kind::Internal, error))
    }

    /// Removes the links of earlier generations.
    fn drop_aliases(&self, spec: &ImageSpec, sent: &Sent) {
        let state = &self.world.state;
        let used = sent.contexts.iter();
        let used: BTreeSet<PathBuf> =
            used.map(|(name, sent)| state.alias(&spec.id, name, sent.generation)).collect();
        let directory = state.alias(&spec.id, MAIN, 0);
        let links = directory.parent().and_then(|directory| std::fs::read_dir(directory).ok());
        for link in links.into_iter().flatten().flatten() {
            if link.file_type().is_ok_and(|kind| kind.is_symlink()) && !used.contains(&link.path())
            {
                // A link that stays is in nobody's way.
                let _ = std::fs::remove_file(link.path());
            }
        }
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
