//! `[images.*]` and their variants.
//! Depends on: names, taskfile::{check, model, table}.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::args::args;
use super::settings::{add_hosts, base_policy, labels, network};
use super::sources::{contexts, secrets, ssh};
use super::{Findings, existing};
use crate::names::{ImageId, ImageRef};
use crate::taskfile::model::ImageSpec;
use crate::taskfile::table::{At, Table, as_table, finding};

pub(super) type Tags = Vec<(ImageId, Range<usize>)>;

pub(super) fn images(
    table: Option<Table<'_>>,
    root: &Path,
    out: &mut Findings,
) -> (BTreeMap<ImageId, ImageSpec>, Tags) {
    let (mut specs, mut tags) = (BTreeMap::new(), Tags::new());
    for (name, value) in table.iter().flat_map(Table::entries) {
        let Some(mut table) = as_table(value, &name.value, "an image", out) else {
            continue;
        };
        if !is_name(&name, out) {
            continue;
        }
        let id = ImageId { name: name.value.clone(), variant: None };
        let variants = table.table("variants", "variants", out);
        let (spec, tag_span) = image(id, &name.span, &mut table, None, root, out);
        table.finish(out);
        for (variant, value) in variants.iter().flat_map(Table::entries) {
            let Some(mut table) = as_table(value, &variant.value, "a variant", out) else {
                continue;
            };
            // Without a sound base, what is missing in it would be reported once more for each variant.
            if !is_name(&variant, out) || spec.is_none() {
                continue;
            }
            let id = ImageId { name: name.value.clone(), variant: Some(variant.value) };
            let (spec, tag_span) =
                image(id.clone(), &variant.span, &mut table, spec.as_ref(), root, out);
            table.finish(out);
            tags.push((id.clone(), tag_span));
            specs.extend(spec.map(|spec| (id, spec)));
        }
        if let Some(spec) = spec {
            tags.push((spec.id.clone(), tag_span));
            specs.insert(spec.id.clone(), spec);
        }
    }
    (specs, tags)
}

/// Reads an image, or a variant on top of its `base`. The second value is where its tag (or else its name) stands.
fn image(
    id: ImageId,
    name_span: &Range<usize>,
    table: &mut Table<'_>,
    base: Option<&ImageSpec>,
    root: &Path,
    out: &mut Findings,
) -> (Option<ImageSpec>, Range<usize>) {
    let before = out.len();
    let tag = table.string("tag", out);
    let tag_span = tag.as_ref().map_or(name_span.clone(), |tag| tag.span.clone());
    let tag = image_tag(&id, name_span, tag, base, out);
    let context = table.string("context", out);
    let context = match (&context, base) {
        (None, Some(base)) => Some(base.context.clone()),
        (None, None) => Some(root.to_path_buf()),
        (Some(context), _) => existing(root, context, "context directory", Path::is_dir, out),
    };
    let dockerfile = match (table.string("dockerfile", out), base) {
        (Some(written), _) => existing(root, &written, "Dockerfile", Path::is_file, out),
        (None, Some(base)) => Some(base.dockerfile.clone()),
        (None, None) => default_dockerfile(&id, context.as_deref(), name_span, out),
    };
    let args = args(table, base, out);
    let inherit = |own: Option<At<String>>, base: Option<&String>| {
        own.map(|own| own.value).or_else(|| base.cloned())
    };
    let target = inherit(table.string("target", out), base.and_then(|b| b.target.as_ref()));
    let platform = inherit(table.string("platform", out), base.and_then(|b| b.platform.as_ref()));
    let labels = labels(table, base, out);
    let network = network(table, base, out);
    let add_hosts = add_hosts(table, base, out);
    let secrets = secrets(table, base, root, out);
    let ssh = ssh(table, base, root, out);
    let contexts = contexts(table, base, root, out);
    let policy = base_policy(table, base, out);
    let assume_fixed = table.boolean("assume_fixed", out);
    let (Some(tag), Some(context), Some(dockerfile)) = (tag, context, dockerfile) else {
        return (None, tag_span);
    };
    let spec = ImageSpec {
        id,
        tag,
        context,
        dockerfile,
        target,
        args: args.fixed,
        volatile_args: args.volatile,
        env_args: args.environment,
        platform,
        labels,
        network,
        add_hosts,
        secrets,
        ssh,
        contexts,
        base: policy,
        assume_fixed: assume_fixed.unwrap_or(base.is_some_and(|base| base.assume_fixed)),
    };
    ((out.len() == before).then_some(spec), tag_span)
}

/// Names of images and variants become directories, variables and, joined by a dot, what commands take.
fn is_name(name: &At<String>, out: &mut Findings) -> bool {
    let bytes = name.value.as_bytes();
    let first = bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let sound = first && bytes.iter().all(allowed);
    if !sound {
        let message = format!("`{}` is not a name for an image or variant", name.value);
        out.push(finding(message, name.span.clone(), "lower case letters, digits, `-` and `_`"));
    }
    sound
}

/// A variant without a tag of its own gets its base's with `-<variant>` behind it, so that a task that asks for the one
/// never finds the other.
fn image_tag(
    id: &ImageId,
    name_span: &Range<usize>,
    written: Option<At<String>>,
    base: Option<&ImageSpec>,
    out: &mut Findings,
) -> Option<ImageRef> {
    let (parsed, span) = match (written, base, &id.variant) {
        (Some(tag), ..) => (ImageRef::parse(&tag.value), tag.span),
        (None, Some(base), Some(variant)) => {
            (base.tag.with_tag(&format!("{}-{variant}", base.tag.tag())), name_span.clone())
        }
        _ => (ImageRef::parse(&format!("{}:test", id.name)), name_span.clone()),
    };
    parsed.map_err(|message| out.push(finding(message, span, "not a valid tag"))).ok()
}

pub(super) fn duplicate_tags(
    images: &BTreeMap<ImageId, ImageSpec>,
    tags: &Tags,
    out: &mut Findings,
) {
    let mut seen: BTreeMap<&str, &ImageId> = BTreeMap::new();
    for (id, span) in tags {
        let Some(spec) = images.get(id) else { continue };
        if let Some(first) = seen.insert(spec.tag.canonical(), id) {
            let message = format!("images `{first}` and `{id}` have the same tag `{}`", spec.tag);
            out.push(finding(message, span.clone(), "each image needs its own"));
        }
    }
}

fn default_dockerfile(
    id: &ImageId,
    context: Option<&Path>,
    name_span: &Range<usize>,
    out: &mut Findings,
) -> Option<PathBuf> {
    let default = context?.join("Dockerfile");
    if !default.is_file() {
        let message = format!("image `{id}` has no Dockerfile at {}", default.display());
        out.push(finding(message, name_span.clone(), "set `dockerfile`"));
    }
    Some(default)
}
