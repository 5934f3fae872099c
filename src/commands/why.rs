//! Says why an image would be built and loaded, with all the evidence, or what differs between two keys. Reads only.

use super::{Context, select, status};
use crate::digest::change::between_manifests;
use crate::error::{Failure, Kind};
use crate::facts::gather::World;
use crate::facts::record::State;
use crate::names::{ImageId, Key};
use crate::report::{print_between, print_why};
use crate::taskfile::model::TaskFile;

pub(crate) async fn why(
    context: &Context,
    world: &World,
    images: &[ImageId],
) -> Result<(), Failure> {
    let facts = status::facts(world, images).await?;
    print_why(context.ui, &status::rows(world, images, &facts));
    Ok(())
}

/// Compares what the images of two keys were made from. Needs no Docker: both are on record or the answer is not known.
pub(crate) fn between(
    context: &Context,
    file: &TaskFile,
    images: &[String],
    keys: &[String],
) -> Result<(), Failure> {
    let state = State::new(context.environment.state.clone(), &file.path);
    let candidates = match images {
        [] => file.images.keys().cloned().collect(),
        named => select(file, named)?,
    };
    let mut known = Vec::new();
    for image in &candidates {
        known.extend(state.manifests(image).into_iter().map(|key| (image, key)));
    }
    let [before, after] = keys else {
        return Err(Failure::said(Kind::Usage, "two keys are needed to compare"));
    };
    let (image, before) = find(before, &known)?;
    let (other, after) = find(after, &known)?;
    if image != other {
        let message =
            format!("{} is a key of `{image}`, {} of `{other}`", before.short(), after.short());
        return Err(Failure::said(Kind::Usage, message));
    }
    let manifest = |key: &Key| {
        state.manifest(image, key).ok_or_else(|| {
            Failure::said(Kind::Usage, format!("the record of key {} cannot be read", key.short()))
        })
    };
    let changes = between_manifests(&manifest(before)?, &manifest(after)?);
    print_between(context.ui, &image.to_string(), [before, after], &changes);
    Ok(())
}

/// The one key that begins with these digits.
fn find<'a>(
    text: &str,
    known: &'a [(&'a ImageId, Key)],
) -> Result<(&'a ImageId, &'a Key), Failure> {
    let digits = text.split_once(':').map_or(text, |(_, digits)| digits);
    let fits = |key: &Key| {
        let own = key.as_str().split_once(':').map_or(key.as_str(), |(_, digits)| digits);
        !digits.is_empty() && own.starts_with(digits)
    };
    let mut found = known.iter().filter(|(_, key)| fits(key));
    match (found.next(), found.next()) {
        (Some((image, key)), None) => Ok((image, key)),
        (Some(_), Some(_)) => {
            Err(Failure::said(Kind::Usage, format!("more than one key begins with `{digits}`")))
        }
        (None, _) => {
            let failure =
                Failure::said(Kind::Usage, format!("no build of key `{text}` is on record"));
            let keys: Vec<&str> = known.iter().map(|(_, key)| key.short()).collect();
            Err(match keys.as_slice() {
                [] => failure.hint("tg build makes the first record"),
                keys => failure.hint(format!("on record: {}", keys.join(", "))),
            })
        }
    }
}
