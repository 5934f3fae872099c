//! Shows the three states of images, by the same facts and decisions as a run. Reads only.

use super::{Context, until_interrupted};
use crate::error::Failure;
use crate::facts::Facts;
use crate::facts::gather::World;
use crate::names::ImageId;
use crate::plan::decide;
use crate::report::{StatusRow, print_status};
use crate::taskfile::model::{BuildCache, Step, When};

pub(crate) async fn status(
    context: &Context,
    world: &World,
    images: &[ImageId],
) -> Result<(), Failure> {
    let facts = facts(world, images).await?;
    print_status(context.ui, &world.file, &facts, &rows(world, images, &facts));
    Ok(())
}

fn build(image: &ImageId) -> Step {
    Step::Build { image: image.clone(), when: When::IfNeeded, cache: BuildCache::Use }
}

fn load(image: &ImageId) -> Step {
    Step::Load { image: image.clone(), when: When::IfNeeded }
}

/// What is true of some images and the cluster.
pub(super) async fn facts(world: &World, images: &[ImageId]) -> Result<Facts, Failure> {
    let steps: Vec<Step> = images.iter().flat_map(|image| [build(image), load(image)]).collect();
    until_interrupted(&world.interrupt, world.look(&steps, true)).await
}

/// What would be done about each image.
pub(super) fn rows<'a>(
    world: &'a World,
    images: &[ImageId],
    facts: &'a Facts,
) -> Vec<StatusRow<'a>> {
    let row = |image: &ImageId| {
        Some(StatusRow {
            spec: world.file.images.get(image)?,
            facts: facts.images.get(image)?,
            build: decide(&build(image), &world.file, facts, false),
            load: decide(&load(image), &world.file, facts, false),
        })
    };
    images.iter().filter_map(row).collect()
}
