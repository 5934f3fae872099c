//! What an image's build is told in single words: labels, network, hosts, and when its base images are looked up.
//! Depends on: taskfile::{check, model, table}.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Findings, unknown_word};
use crate::taskfile::model::{BasePolicy, ImageSpec};
use crate::taskfile::table::{Table, finding};

/// What tg's own labels begin with.
const OWN_LABELS: &str = "dev.tg.";
const NETWORKS: [&str; 3] = ["none", "host", "default"];
const POLICIES: [(&str, BasePolicy); 3] = [
    ("locked", BasePolicy::Locked),
    ("refresh", BasePolicy::Refresh),
    ("always", BasePolicy::Always),
];

pub(super) fn labels(
    table: &mut Table<'_>,
    base: Option<&ImageSpec>,
    out: &mut Findings,
) -> BTreeMap<String, String> {
    let mut labels = base.map(|base| base.labels.clone()).unwrap_or_default();
    for (name, text) in table.named_texts("labels", out) {
        if name.value.starts_with(OWN_LABELS) {
            let message = format!("labels that begin with `{OWN_LABELS}` are tg's own");
            out.push(finding(message, name.span, "another name"));
        } else if name.value.is_empty() || name.value.contains('=') {
            let message = format!("`{}` is not a name for a label", name.value);
            out.push(finding(message, name.span, "a name without `=`"));
        } else {
            labels.insert(name.value, text.value);
        }
    }
    labels
}

pub(super) fn network(
    table: &mut Table<'_>,
    base: Option<&ImageSpec>,
    out: &mut Findings,
) -> Option<String> {
    let Some(word) = table.string("network", out) else {
        return base.and_then(|base| base.network.clone());
    };
    if !NETWORKS.contains(&word.value.as_str()) {
        out.push(unknown_word("network", &word.value, &NETWORKS, word.span));
    }
    Some(word.value)
}

pub(super) fn add_hosts(
    table: &mut Table<'_>,
    base: Option<&ImageSpec>,
    out: &mut Findings,
) -> BTreeMap<String, String> {
    let mut hosts = base.map(|base| base.add_hosts.clone()).unwrap_or_default();
    for (name, address) in table.named_texts("add_hosts", out) {
        // The builder splits what it is given at `=`, `:` and, between hosts, at commas.
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.value.is_empty() || !name.value.chars().all(allowed) {
            let message = format!("`{}` is not a name for a host", name.value);
            out.push(finding(message, name.span, "letters, digits, `.`, `-` and `_`"));
        }
        if address.value != "host-gateway" && address.value.parse::<IpAddr>().is_err() {
            let message = format!("`{}` is not an address", address.value);
            out.push(finding(message, address.span, "an IP address or `host-gateway`"));
        }
        hosts.insert(name.value, address.value);
    }
    hosts
}

pub(super) fn base_policy(
    table: &mut Table<'_>,
    base: Option<&ImageSpec>,
    out: &mut Findings,
) -> BasePolicy {
    let inherited = base.map(|base| base.base).unwrap_or_default();
    let Some(word) = table.string("base", out) else { return inherited };
    let known = POLICIES.iter().find(|(name, _)| *name == word.value);
    known.map(|(_, policy)| *policy).unwrap_or_else(|| {
        let names = POLICIES.map(|(name, _)| name);
        out.push(unknown_word("base", &word.value, &names, word.span));
        inherited
    })
}
