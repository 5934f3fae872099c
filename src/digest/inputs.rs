//! Everything that decides a build, as named parts, and the key of it all.
//! Depends on: std, sha2, names, taskfile::model, digest::{sources, tree}.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::sources::{Sources, Surroundings};
use super::tree::{self, field, hex};
use super::{DOCKERFILE, FILES};
use crate::names::Key;
use crate::taskfile::model::{ContextSource, ImageSpec, SecretSource};

/// The schema of the key: raised whenever the same inputs would give another key.
pub const SCHEMA: &str = "tg2";

/// Arguments that the builder knows without `ARG` and that change nothing but how it reaches the network
/// (`reference.md` of BuildKit, "Predefined ARGs"): they count only where the Dockerfile declares them.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];
/// It adds the cache to the image, and nothing to what is in it.
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";
/// The builder's client passes it on as an argument where it is set.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The inputs of a build, each as a name and a digest or short value, ready to be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// `dockerfile`, `files`, `target`, `platform`, `arg NAME`, `base REF` and so on; digests where a value could be a
    /// secret.
    pub parts: BTreeMap<String, String>,
}

impl Inputs {
    /// Puts together what decides the build: what was read, what the task file says, what surrounds it, and the identity of
    /// each base image.
    #[must_use]
    pub fn new(
        spec: &ImageSpec,
        sources: &Sources,
        surroundings: &Surroundings,
        bases: &BTreeMap<String, String>,
    ) -> Self {
        let mut parts = Parts::default();
        parts.secret(DOCKERFILE, &sources.dockerfile);
        for (name, tree) in &sources.trees {
            parts.add(format!("{FILES} {name}").trim_end(), hex(&tree::digest(tree)));
        }
        parts.add("platform", surroundings.platform_of(spec));
        // Another builder than the engine's may have another platform of its own.
        parts.option("builder", surroundings.builder.as_deref());
        parts.option("target", spec.target.as_deref());
        parts.option("network", spec.network.as_deref());
        for (name, value) in effective_args(spec, sources, surroundings) {
            parts.secret(&format!("arg {name}"), value.as_bytes());
        }
        for (name, value) in &spec.labels {
            parts.secret(&format!("label {name}"), value.as_bytes());
        }
        for (host, address) in &spec.add_hosts {
            parts.secret(&format!("host {host}"), address.as_bytes());
        }
        // Never the value, nor its digest: what has few possible values can be guessed.
        for (id, source) in &spec.secrets {
            let kind = match source {
                SecretSource::Env(variable) => format!("env {variable}"),
                SecretSource::File(_) => "file".to_owned(),
            };
            parts.add(&format!("secret {id}"), kind);
        }
        for id in spec.ssh.keys() {
            parts.add(&format!("ssh {id}"), "agent".to_owned());
        }
        for (name, source) in &spec.contexts {
            let text = match source {
                // Its files count.
                ContextSource::Local(_) => continue,
                ContextSource::Image(reference) => bases
                    .get(reference)
                    .map_or_else(|| reference.clone(), |id| format!("{reference} {id}")),
                ContextSource::OciLayout(text) => text.clone(),
                // It may hold a password.
                ContextSource::Remote(address) => {
                    parts.secret(&format!("remote {name}"), address.as_bytes());
                    continue;
                }
            };
            parts.add(&format!("context {name}"), text);
        }
        for (reference, identity) in bases {
            parts.add(&format!("base {reference}"), identity.clone());
        }
        Self { parts: parts.0 }
    }

    /// The key. Every field is preceded by its length, so that no two lists of fields read the same.
    #[must_use]
    pub fn key(&self) -> Key {
        let mut text = Vec::new();
        field(&mut text, SCHEMA.as_bytes());
        for (name, value) in &self.parts {
            field(&mut text, name.as_bytes());
            field(&mut text, value.as_bytes());
        }
        Key::new(format!("{SCHEMA}:{}", hex(&Sha256::digest(&text))))
    }
}

/// A reference as people write it, from the spelling in which the builder resolves it. For showing only: two references may
/// be shown alike.
#[must_use]
pub fn familiar(reference: &str) -> &str {
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    short.strip_prefix("library/").filter(|name| !name.contains('/')).unwrap_or(short)
}

#[derive(Default)]
struct Parts(BTreeMap<String, String>);

impl Parts {
    fn add(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    fn option(&mut self, name: &str, value: Option<&str>) {
        self.0.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    fn secret(&mut self, name: &str, value: &[u8]) {
        self.add(name, hex(&Sha256::digest(value)));
    }
}

/// The arguments that decide what is built, with their values. One that is not set anywhere is not among them, which is
/// another thing than one that is empty.
fn effective_args(
    spec: &ImageSpec,
    sources: &Sources,
    surroundings: &Surroundings,
) -> BTreeMap<String, String> {
    let mut args = surroundings.args_of(spec);
    for (name, value) in &surroundings.proxies {
        args.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let epoch = surroundings.variables.get(EPOCH).filter(|value| !value.is_empty());
    if let Some(epoch) = epoch {
        args.entry(EPOCH.to_owned()).or_insert_with(|| epoch.clone());
    }
    args.retain(|name, _| {
        let proxy = PROXIES.contains(&name.to_lowercase().as_str());
        let volatile = spec.volatile_args.contains_key(name);
        name != INLINE_CACHE && !volatile && (!proxy || sources.external.declared.contains(name))
    });
    args
}
