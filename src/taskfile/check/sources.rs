//! What a build may read beyond its context: secrets, SSH agents and keys, named contexts.
//! Depends on: names, taskfile::{check, model, table}.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::args::is_variable;
use super::{Findings, existing};
use crate::names::{ConfigDigest, ImageRef};
use crate::taskfile::model::{ContextSource, ImageSpec, SecretSource};
use crate::taskfile::table::{At, Table, finding, wrong_type};

pub(super) fn secrets(
    table: &mut Table<'_>,
    base: Option<&ImageSpec>,
    root: &Path,
    out: &mut Findings,
) -> BTreeMap<String, SecretSource> {
    let mut secrets = base.map(|base| base.secrets.clone()).unwrap_or_default();
    let own = table.table("secrets", "secrets", out);
    for (id, value) in own.iter().flat_map(Table::entries) {
        if id.value.is_empty() {
            out.push(finding("a secret needs an id", id.span.clone(), "empty"));
        }
        let source = secret(&id, value, root, out);
        secrets.extend(source.map(|source| (id.value, source)));
    }
    secrets
}

fn secret(
    id: &At<String>,
    value: &Spanned<DeValue<'_>>,
    root: &Path,
    out: &mut Findings,
) -> Option<SecretSource> {
    let DeValue::Table(inner) = value.get_ref() else {
        let wanted = "{ env = \"NAME\" } or { file = \"PATH\" }";
        out.push(wrong_type(&id.value, wanted, value.get_ref(), value.span()));
        return None;
    };
    let before = out.len();
    let mut inner = Table::new(inner, "a secret");
    let (env, file) = (inner.string("env", out), inner.string("file", out));
    inner.finish(out);
    match (env, file) {
        (Some(name), None) => is_variable(&name, out).then_some(SecretSource::Env(name.value)),
        (None, Some(path)) => absolute(root, &path, out).map(SecretSource::File),
        // A value of a wrong type was reported already.
        _ if out.len() > before => None,
        _ => {
            let message = format!("secret `{}` comes from either `env` or `file`", id.value);
            out.push(finding(message, value.span(), "one of the two"));
            None
        }
    }
}

pub(super) fn ssh(
    table: &mut Table<'_>,
    base: Option<&ImageSpec>,
    root: &Path,
    out: &mut Findings,
) -> BTreeMap<String, Option<PathBuf>> {
    let mut agents = base.map(|base| base.ssh.clone()).unwrap_or_default();
    let mut seen = BTreeSet::new();
    for item in table.listed_texts("ssh", out) {
        let (id, path) = match item.value.split_once('=') {
            Some((id, path)) => (id, Some(path)),
            None => (item.value.as_str(), None),
        };
        if id.is_empty() {
            out.push(finding("`ssh` needs an id", item.span, "\"default\" or \"ID=PATH\""));
        } else if !seen.insert(id.to_owned()) {
            let message = format!("`ssh` has `{id}` twice");
            out.push(finding(message, item.span, "keep one of them"));
        } else if path.is_some_and(|path| path.contains(',')) {
            let message = "the builder cannot take a path with a comma for `ssh`";
            out.push(finding(message, item.span, "one socket or key"));
        } else {
            let path = path.map(|path| At { value: path.to_owned(), span: item.span });
            let path = path.and_then(|path| absolute(root, &path, out));
            agents.insert(id.to_owned(), path);
        }
    }
    agents
}

pub(super) fn contexts(
    table: &mut Table<'_>,
    base: Option<&ImageSpec>,
    root: &Path,
    out: &mut Findings,
) -> BTreeMap<String, ContextSource> {
    let mut contexts = base.map(|base| base.contexts.clone()).unwrap_or_default();
    let mut seen = BTreeMap::new();
    for (name, source) in table.named_texts("contexts", out) {
        let Some(reduced) = context_name(&name, out) else { continue };
        if let Some(first) = seen.insert(reduced.clone(), name.value.clone()) {
            let message = format!("contexts `{first}` and `{}` are one to the builder", name.value);
            out.push(finding(message, name.span, "keep one of them"));
        }
        let source = context_source(&source, root, out);
        contexts.extend(source.map(|source| (reduced, source)));
    }
    contexts
}

/// The name of a context, which is that of an image, as the builder compares it: without the defaults.
fn context_name(name: &At<String>, out: &mut Findings) -> Option<String> {
    let label = "the builder reads it as the name of an image";
    if name.value.contains('@') {
        let message = format!("`{}` is not a name for a context", name.value);
        out.push(finding(message, name.span.clone(), "without a digest"));
        return None;
    }
    let parsed = ImageRef::parse(&name.value);
    let parsed = parsed.map_err(|message| out.push(finding(message, name.span.clone(), label)));
    let canonical = parsed.ok()?.canonical().to_owned();
    let short = canonical.strip_prefix("docker.io/").unwrap_or(&canonical);
    let short = match short.strip_prefix("library/") {
        Some(rest) if !rest.contains('/') => rest,
        _ => short,
    };
    Some(short.strip_suffix(":latest").unwrap_or(short).to_owned())
}

fn context_source(source: &At<String>, root: &Path, out: &mut Findings) -> Option<ContextSource> {
    const REMOTE: [&str; 5] = ["http://", "https://", "git://", "ssh://", "git@"];
    let (text, span) = (&source.value, source.span.clone());
    if let Some(reference) = text.strip_prefix("docker-image://") {
        let name = reference.split_once('@').map_or(reference, |(name, _)| name);
        let checked = ImageRef::parse(name).map(|_| ContextSource::Image(reference.to_owned()));
        return checked.map_err(|message| out.push(finding(message, span, "not an image"))).ok();
    }
    if let Some(layout) = text.strip_prefix("oci-layout://") {
        return oci_layout(layout, source, root, out);
    }
    if REMOTE.iter().any(|start| text.starts_with(start)) {
        return Some(ContextSource::Remote(text.clone()));
    }
    if text.starts_with("target:") {
        let mut target = finding("`target:` is known to bake only", span, "not a context here");
        target.help = Some("build the target as an image of its own".to_owned());
        out.push(target);
        return None;
    }
    if let Some((scheme, _)) = text.split_once("://") {
        let message = format!("the builder has no contexts of the kind `{scheme}://`");
        let mut unknown = finding(message, span, "not a known kind");
        unknown.help = Some("known: docker-image, oci-layout, http, https, git, ssh".to_owned());
        out.push(unknown);
        return None;
    }
    existing(root, source, "context directory", Path::is_dir, out).map(ContextSource::Local)
}

/// `DIRECTORY[:TAG]@DIGEST`, its directory made absolute. The builder looks for the tag at the first colon.
fn oci_layout(
    layout: &str,
    source: &At<String>,
    root: &Path,
    out: &mut Findings,
) -> Option<ContextSource> {
    let (place, digest) = layout.rsplit_once('@').unwrap_or((layout, ""));
    if ConfigDigest::parse(digest).is_none() {
        let message = format!("`{}` has no digest: its content could change unseen", source.value);
        let label = "write oci-layout://DIRECTORY@sha256:DIGEST";
        out.push(finding(message, source.span.clone(), label));
        return None;
    }
    let (directory, tag) = match place.split_once(':') {
        Some((directory, tag)) => (directory, format!(":{tag}")),
        None => (place, String::new()),
    };
    let written = At { value: directory.to_owned(), span: source.span.clone() };
    let directory = absolute(root, &written, out)?.display().to_string();
    if directory.contains([':', '@']) {
        let message = format!("the builder cannot read a layout from {directory}");
        out.push(finding(message, source.span.clone(), "a path without `:` and `@`"));
        return None;
    }
    Some(ContextSource::OciLayout(format!("{directory}{tag}@{digest}")))
}

/// A path that need not be there before the build.
fn absolute(root: &Path, written: &At<String>, out: &mut Findings) -> Option<PathBuf> {
    if written.value.is_empty() {
        out.push(finding("a path may not be empty", written.span.clone(), "empty"));
        return None;
    }
    Some(root.join(&written.value).components().collect())
}
