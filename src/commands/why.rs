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
    let (image, before, after) = pair(before, after, &known)?;
    let manifest = |key: &Key| {
        state.manifest(image, key).ok_or_else(|| {
            Failure::said(Kind::Usage, format!("the record of key {} cannot be read", key.short()))
        })
    };
    let changes = between_manifests(&manifest(before)?, &manifest(after)?);
    print_between(context.ui, &image.to_string(), [before, after], &changes);
    Ok(())
}

/// The two keys that begin with these digits, and an image that has both on record.
fn pair<'a>(
    before: &str,
    after: &str,
    known: &'a [(&'a ImageId, Key)],
) -> Result<(&'a ImageId, &'a Key, &'a Key), Failure> {
    let (before, after) = (find(before, known)?, find(after, known)?);
    // Images of equal inputs, such as variants of one image, have the same key.
    let both = before.iter().find_map(|(image, key)| {
        let (_, other) = after.iter().find(|(other, _)| other == image)?;
        Some((*image, key, other))
    });
    if let Some(found) = both {
        return Ok(found);
    }
    let told = |known: &[&'a (&'a ImageId, Key)]| {
        let key = known.first().map_or("", |(_, key)| key.short());
        let images: Vec<String> = known.iter().map(|(image, _)| format!("`{image}`")).collect();
        (key, images.join(", "))
    };
    let ((before, its), (after, others)) = (told(&before), told(&after));
    Err(Failure::said(Kind::Usage, format!("{before} is a key of {its}, {after} of {others}")))
}

/// The one key that begins with these digits, with every image that has it.
fn find<'a>(
    text: &str,
    known: &'a [(&'a ImageId, Key)],
) -> Result<Vec<&'a (&'a ImageId, Key)>, Failure> {
    let digits = text.split_once(':').map_or(text, |(_, digits)| digits);
    let fits = |key: &Key| {
        let own = key.as_str().split_once(':').map_or(key.as_str(), |(_, digits)| digits);
        !digits.is_empty() && own.starts_with(digits)
    };
    let found: Vec<&(&ImageId, Key)> = known.iter().filter(|(_, key)| fits(key)).collect();
    let keys = by_key(&found);
    match keys.as_slice() {
        [] => {
            let failure =
                Failure::said(Kind::Usage, format!("no build of key `{text}` is on record"));
            let keys =
                by_key(&known.iter().collect::<Vec<_>>()).into_iter().map(|(key, images)| {
                    let images: Vec<String> = images.iter().map(ToString::to_string).collect();
                    format!("{} ({})", key.short(), images.join(", "))
                });
            let keys: Vec<String> = keys.collect();
            Err(if keys.is_empty() {
                failure.hint("tg build makes the first record")
            } else {
                failure.hint(format!("on record: {}", keys.join(", ")))
            })
        }
        [_] => Ok(found),
        keys => {
            let candidates = keys.iter().flat_map(|(key, images)| {
                images.iter().map(|image| format!("{image}: {}", key.short()))
            });
            let candidates = candidates.collect::<Vec<_>>().join(", ");
            let message = format!("more than one key begins with `{digits}`: {candidates}");
            Err(Failure::said(Kind::Usage, message)
                .hint("give more digits, or name the image: tg why IMAGE --between …"))
        }
    }
}

/// Each key once with the images that have it, in the order given.
fn by_key<'a>(known: &[&'a (&'a ImageId, Key)]) -> Vec<(&'a Key, Vec<&'a ImageId>)> {
    let mut keys: Vec<(&Key, Vec<&ImageId>)> = Vec::new();
    for (image, key) in known {
        match keys.iter_mut().find(|(other, _)| *other == key) {
            None => keys.push((key, vec![*image])),
            Some((_, images)) if !images.contains(image) => images.push(*image),
            Some(_) => {}
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> ImageId {
        let (name, variant) = text.split_once('.').unwrap_or((text, ""));
        let variant = Some(variant.to_owned()).filter(|variant| !variant.is_empty());
        ImageId { name: name.to_owned(), variant }
    }

    /// What two words find among these images and keys.
    fn told(known: &[(&str, &str)], before: &str, after: &str) -> String {
        let images: Vec<ImageId> = known.iter().map(|(name, _)| image(name)).collect();
        let keys = known.iter().map(|(_, key)| Key::new(format!("tg2:{key}")));
        let known: Vec<(&ImageId, Key)> = images.iter().zip(keys).collect();
        match pair(before, after, &known) {
            Ok((image, before, after)) => format!("{image} {} {}", before.short(), after.short()),
            Err(failure) => format!("{} | {}", failure.cause, failure.hints.join(" | ")),
        }
    }

    #[test]
    fn keys_are_found_by_their_first_digits() {
        let variants = [("a", "12"), ("a.v", "12"), ("a.v", "34"), ("b", "56"), ("b", "57")];
        let hint = "give more digits, or name the image: tg why IMAGE --between …";
        for (before, after, wanted) in [
            ("56", "57", "b 56 57".to_owned()),
            ("tg2:56", "57", "b 56 57".to_owned()),
            ("12", "34", "a.v 12 34".to_owned()),
            ("34", "1", "a.v 34 12".to_owned()),
            ("12", "tg2:12", "a 12 12".to_owned()),
            ("12", "56", "12 is a key of `a`, `a.v`, 56 of `b` | ".to_owned()),
            ("5", "12", format!("more than one key begins with `5`: b: 56, b: 57 | {hint}")),
            (
                "12",
                "9",
                "no build of key `9` is on record | on record: 12 (a, a.v), 34 (a.v), 56 (b), 57 (b)"
                    .to_owned(),
            ),
        ] {
            assert_eq!(told(&variants, before, after), wanted, "{before} {after}");
        }
        let alike = [("a", "12"), ("a.v", "12"), ("b", "13")];
        let wanted = format!("more than one key begins with `1`: a: 12, a.v: 12, b: 13 | {hint}");
        assert_eq!(told(&alike, "1", "12"), wanted);
        // An image that was named twice is one.
        assert_eq!(told(&[("a", "12"), ("a", "12"), ("a", "3")], "1", "3"), "a 12 3");
        let none = "no build of key `1` is on record | tg build makes the first record";
        assert_eq!(told(&[], "1", "2"), none);
        assert!(told(&alike, "", "12").starts_with("no build of key ``"));
    }
}
