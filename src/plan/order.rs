//! What waits for what: steps that do not need each other run side by side. Pure.
//! Depends on: taskfile::model, facts (types), names.

use crate::facts::{Facts, Known};
use crate::names::{ImageId, ImageRef};
use crate::taskfile::model::{Step, TaskFile};

/// For each step the places of the earlier ones that it waits for.
///
/// Commands and tests may do anything, so they wait for everything before them, and everything behind waits for them. Only
/// compiling tests does not: it waits for commands, which may write sources, and for others that compile, since cargo lets one
/// compile at a time. A build waits for the builds of what it begins with. A load waits for the build of its image, for the
/// cluster, and for the load before it: what two images have in common is moved once. What was to be loaded before it is
/// built again is loaded by then.
#[must_use]
pub fn order(file: &TaskFile, steps: &[Step], facts: &Facts) -> Vec<Vec<usize>> {
    let waits = |at: usize| {
        // What a command or a test may have written was not read yet when the facts were gathered.
        let is_old = steps[..at].iter().any(may_do_anything);
        let waits = |before: &Step| waits_for(&steps[at], before, file, facts, is_old);
        (0..at).filter(|before| waits(&steps[*before])).collect()
    };
    (0..steps.len()).map(waits).collect()
}

fn may_do_anything(step: &Step) -> bool {
    matches!(step, Step::CargoTest(_) | Step::Run { .. } | Step::Task(_))
}

fn waits_for(step: &Step, before: &Step, file: &TaskFile, facts: &Facts, is_old: bool) -> bool {
    if !matches!(step, Step::Compile(_)) && (may_do_anything(step) || may_do_anything(before)) {
        return true;
    }
    match (step, before) {
        (Step::Compile(_), Step::Run { .. } | Step::Compile(_)) => true,
        (Step::Build { image, .. }, Step::Build { image: other, .. }) => {
            is_old || shares_tag(file, image, other) || begins_with(file, facts, image, other)
        }
        (Step::Build { image, .. }, Step::Load { image: loaded, .. }) => {
            shares_tag(file, image, loaded)
        }
        (Step::Load { image, .. }, Step::Build { image: built, .. }) => {
            shares_tag(file, image, built)
        }
        (Step::Load { .. }, Step::Load { .. } | Step::Cluster(_)) => true,
        (Step::Cluster(_), Step::Load { .. } | Step::Cluster(_)) => true,
        // Compiling waits for nothing else and keeps nobody else waiting; building needs no cluster.
        _ => false,
    }
}

fn tag<'a>(file: &'a TaskFile, image: &ImageId) -> Option<&'a ImageRef> {
    Some(&file.images.get(image)?.tag)
}

fn shares_tag(file: &TaskFile, one: &ImageId, other: &ImageId) -> bool {
    one == other || tag(file, one) == tag(file, other)
}

/// Whether an image may be made from another. Where it is not known from what it is made, it may.
fn begins_with(file: &TaskFile, facts: &Facts, image: &ImageId, other: &ImageId) -> bool {
    let inputs = facts.images.get(image).map(|known| &known.inputs);
    let (Some(Known::Yes(inputs)), Some(other)) = (inputs, tag(file, other)) else { return true };
    inputs.bases.as_ref().is_none_or(|bases| bases.contains(other.canonical()))
}
