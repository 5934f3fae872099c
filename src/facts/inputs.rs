//! The inputs of an image as they are now: read from disk, with the identity of each base image.
//! Depends on: taskfile::model, digest, adapters, facts.

use std::collections::BTreeMap;

use super::gather::{World, chain};
use super::{HostImage, InputFacts, Known};
use crate::adapters::registry;
use crate::digest::change::between_manifests;
use crate::digest::manifest::{Manifest, lines};
use crate::digest::{self, InputError, Inputs, Sources, familiar};
use crate::names::{ImageRef, Key};
use crate::taskfile::model::{BasePolicy, ContextSource, ImageSpec};

/// The inputs of an image as they are now, with what they were made from.
#[derive(Clone, Debug)]
pub struct Current {
    /// Named and digested.
    pub inputs: Inputs,
    /// The key of the inputs.
    pub key: Key,
    /// The bytes.
    pub sources: Sources,
    /// What is to be said about base images.
    pub notes: Vec<String>,
    /// Why the builder has to find out by itself what a base image is.
    pub unknown_bases: Vec<String>,
    /// The digest that the builder has to use for a base, by its reference.
    pub pins: BTreeMap<String, String>,
}

impl Current {
    /// What there is to remember of a build of this.
    #[must_use]
    pub fn manifest(&self) -> Manifest {
        let trees = self.sources.trees.iter();
        Manifest {
            key: self.key.as_str().to_owned(),
            parts: self.inputs.parts.clone(),
            lines: lines(&self.sources.dockerfile),
            trees: trees.map(|(name, tree)| (name.clone(), tree.without_times())).collect(),
        }
    }
}

/// What the bases of an image are.
#[derive(Default)]
struct Bases {
    identities: BTreeMap<String, String>,
    notes: Vec<String>,
    unknown: Vec<String>,
    pins: BTreeMap<String, String>,
    /// What registries said just now.
    learned: BTreeMap<String, String>,
}

impl World {
    /// Reads the inputs of an image from disk and finds out about its bases.
    ///
    /// # Errors
    /// What could not be read.
    pub async fn current(&self, spec: &ImageSpec) -> Result<Current, InputError> {
        let (owned, state) = (spec.clone(), self.state.clone());
        let (surroundings, memory) = (self.surroundings.clone(), self.memory);
        let read = tokio::task::spawn_blocking(move || {
            let cache = memory.uses_records().then(|| state.stat_cache(&owned.id)).flatten();
            let sources = digest::read(&owned, &surroundings, cache.as_ref())?;
            drop(cache);
            if memory.is_renewed()
                && let Some(cache) = sources.worth_remembering()
            {
                // Without it the next look takes longer, no more.
                let _ = state.record_stat_cache(&owned.id, &cache);
            }
            Ok::<_, InputError>(sources)
        });
        let sources = match read.await {
            Ok(sources) => sources?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let bases = self.bases(spec, &sources).await;
        let inputs = Inputs::new(spec, &sources, &self.surroundings, &bases.identities);
        let key = inputs.key();
        let Bases { notes, unknown, pins, .. } = bases;
        Ok(Current { inputs, key, sources, notes, unknown_bases: unknown, pins })
    }

    async fn bases(&self, spec: &ImageSpec, sources: &Sources) -> Bases {
        let mut bases = Bases::default();
        let recorded = self.state.bases();
        for reference in references(spec, sources) {
            self.base(spec, reference, &recorded, &mut bases).await;
        }
        if self.memory.is_renewed() && !bases.learned.is_empty() {
            // Without it the registry is asked again.
            let _ = self.state.record_bases(&bases.learned);
        }
        bases
    }

    /// Finds out what a reference stands for, the way the builder will: a digest is what it says; the engine's builder
    /// takes what Docker has, unless the policy is to follow the registry; for the rest the registry counts, or what it
    /// last said, and then the builder is told to use just that.
    async fn base(
        &self,
        spec: &ImageSpec,
        reference: &str,
        recorded: &BTreeMap<String, String>,
        bases: &mut Bases,
    ) {
        let mut known = |identity: String| bases.identities.insert(reference.to_owned(), identity);
        if let Some((_, digest)) = reference.split_once('@') {
            known(digest.to_owned());
            return;
        }
        if spec.base == BasePolicy::Locked
            && let Some(identity) = self.in_engine(reference).await
        {
            known(identity);
            return;
        }
        let name = format!("{reference} {}", self.surroundings.platform_of(spec));
        let last = recorded.get(&name).cloned();
        let (digest, error) = match (&last, spec.base) {
            (Some(_), BasePolicy::Locked) => (last, None),
            _ => match registry::digest(reference, &self.interrupt).await {
                Ok(digest) => {
                    bases.learned.insert(name, digest.clone());
                    (Some(digest), None)
                }
                Err(error) => (last, Some(last_line(&chain(&error)))),
            },
        };
        let shown = familiar(reference);
        let (identity, note) = match (digest, error) {
            (Some(digest), None) => (digest, None),
            (_, Some(why)) if spec.base == BasePolicy::Always => {
                known("unknown".to_owned());
                bases.unknown.push(format!("the registry does not tell what {shown} is: {why}"));
                return;
            }
            (Some(digest), Some(why)) => {
                let note = format!("base {shown} is taken as it last was, {digest}: {why}");
                (digest, Some(note))
            }
            (None, why) => {
                let why = why.unwrap_or_default();
                let Some(identity) = self.in_engine(reference).await else {
                    known("unknown".to_owned());
                    bases.unknown.push(format!("nobody tells what base {shown} is: {why}"));
                    return;
                };
                let note = format!("base {shown} is taken from Docker: {why}");
                known(identity);
                bases.notes.push(note);
                return;
            }
        };
        known(identity.clone());
        bases.notes.extend(note);
        bases.pins.insert(reference.to_owned(), identity);
    }

    /// The identity of an image that the builder would take from the engine.
    async fn in_engine(&self, reference: &str) -> Option<String> {
        if !self.builds_in_engine {
            return None;
        }
        let image = self.engine.image(reference).await.ok().flatten()?;
        Some(image.config.map_or(image.id, |config| config.to_string()))
    }

    pub(super) fn compare(
        &self,
        spec: &ImageSpec,
        current: Current,
        host: &Known<Option<HostImage>>,
    ) -> InputFacts {
        let last = self.state.last_build(&spec.id);
        let built = last.as_ref().filter(|last| last.key == current.key);
        let built = built.map(|last| last.config.clone());
        // What made the image that is there; without an image, what made the last one.
        let before = match host {
            Known::Yes(Some(host)) => host.key.clone(),
            _ => last.as_ref().map(|last| last.key.clone()),
        };
        let manifest = before
            .filter(|key| *key != current.key)
            .and_then(|key| self.state.manifest(&spec.id, &key));
        let changes = manifest.map(|before| between_manifests(&before, &current.manifest()));
        // By its name: the address may hold a password.
        let remote = spec.contexts.iter().filter_map(|(name, source)| match source {
            ContextSource::Remote(_) => Some(format!("context {name}")),
            _ => None,
        });
        let unverifiable = current.sources.external.unverifiable.keys().cloned().chain(remote);
        let unverifiable = unverifiable.filter(|_| !spec.assume_fixed).collect();
        let bases =
            references(spec, &current.sources).filter_map(|base| ImageRef::parse(base).ok());
        let bases = bases.map(|base| base.canonical().to_owned()).collect();
        let bases = (!current.sources.external.is_foreign).then_some(bases);
        InputFacts {
            key: current.key,
            built,
            last,
            changes: changes.unwrap_or_default(),
            unverifiable,
            bases,
            unknown_bases: current.unknown_bases,
            notes: current.notes,
        }
    }
}

/// The images that an image begins with or takes files from.
fn references<'a>(spec: &'a ImageSpec, sources: &'a Sources) -> impl Iterator<Item = &'a String> {
    let contexts = spec.contexts.values().filter_map(|source| match source {
        ContextSource::Image(reference) => Some(reference),
        _ => None,
    });
    sources.external.images.keys().chain(contexts)
}

/// The last line that says something: where tools put what went wrong.
fn last_line(text: &str) -> String {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}
