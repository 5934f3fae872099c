//! Shows the three states of images, by the same facts and decisions as a run. Reads only.

use super::{Context, until_interrupted};
use crate::error::Failure;
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
    let when = When::IfNeeded;
    let build =
        |image: &ImageId| Step::Build { image: image.clone(), when, cache: BuildCache::Use };
    let load = |image: &ImageId| Step::Load { image: image.clone(), when };
    let steps: Vec<Step> = images.iter().flat_map(|image| [build(image), load(image)]).collect();
    let facts = until_interrupted(&world.interrupt, world.gather(&steps)).await?;
    let rows: Vec<StatusRow<'_>> = images
        .iter()
        .filter_map(|image| {
            Some(StatusRow {
                spec: world.file.images.get(image)?,
                facts: facts.images.get(image)?,
                build: decide(&build(image), &world.file, &facts, false),
                load: decide(&load(image), &world.file, &facts, false),
            })
        })
        .collect();
    print_status(context.ui, &world.file, &facts, &rows);
    Ok(())
}
