//! Build arguments of three kinds: fixed, of the environment, volatile. A name is of one kind only.
//! Depends on: taskfile::{check, model, table}.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeValue;

use super::{Findings, not_empty};
use crate::taskfile::model::{ImageSpec, VolatileArg};
use crate::taskfile::table::{At, Table, finding, text, wrong_type};

/// What an image passes on, with what it has from its base.
pub(super) struct Args {
    pub(super) fixed: BTreeMap<String, String>,
    pub(super) volatile: BTreeMap<String, VolatileArg>,
    pub(super) environment: BTreeSet<String>,
}

/// Reads the arguments of an image, or of a variant on top of its `base`: a name that the variant gives as one kind is no
/// longer of another.
pub(super) fn args(table: &mut Table<'_>, base: Option<&ImageSpec>, out: &mut Findings) -> Args {
    let fixed = table.named_texts("args", out);
    let volatile = volatile_args(table.table("volatile_args", "volatile_args", out), out);
    let environment = table.listed_texts("env_args", out);
    let names = (fixed.iter().map(|(name, _)| ("args", name)))
        .chain(volatile.iter().map(|(name, _)| ("volatile_args", name)))
        .chain(environment.iter().map(|name| ("env_args", name)));
    let mut own = BTreeMap::new();
    for (kind, name) in names {
        is_variable(name, out);
        if let Some(first) = own.insert(name.value.clone(), kind).filter(|first| *first != kind) {
            let message = format!("`{}` is in `{first}` and in `{kind}`", name.value);
            out.push(finding(message, name.span.clone(), "keep one of them"));
        }
    }
    let mut args = base.map_or_else(Args::none, Args::of);
    args.fixed.retain(|name, _| !own.contains_key(name));
    args.volatile.retain(|name, _| !own.contains_key(name));
    args.environment.retain(|name| !own.contains_key(name));
    args.fixed.extend(fixed.into_iter().map(|(name, text)| (name.value, text.value)));
    args.volatile.extend(volatile.into_iter().map(|(name, arg)| (name.value, arg)));
    args.environment.extend(environment.into_iter().map(|name| name.value));
    args
}

impl Args {
    fn none() -> Self {
        Self { fixed: BTreeMap::new(), volatile: BTreeMap::new(), environment: BTreeSet::new() }
    }

    fn of(spec: &ImageSpec) -> Self {
        Self {
            fixed: spec.args.clone(),
            volatile: spec.volatile_args.clone(),
            environment: spec.env_args.clone(),
        }
    }
}

/// The builder and the environment both end a name at its first `=`.
pub(super) fn is_variable(name: &At<String>, out: &mut Findings) -> bool {
    let sound = !name.value.is_empty() && !name.value.contains('=');
    if !sound {
        let message = format!("`{}` is not a name for a variable", name.value);
        out.push(finding(message, name.span.clone(), "a name without `=`"));
    }
    sound
}

fn volatile_args(table: Option<Table<'_>>, out: &mut Findings) -> Vec<(At<String>, VolatileArg)> {
    let mut args = Vec::new();
    for (name, value) in table.iter().flat_map(Table::entries) {
        let arg = match value.get_ref() {
            DeValue::String(_) => {
                text(value, &name.value, out).map(|text| VolatileArg::Value(text.value))
            }
            DeValue::Table(inner) => {
                let mut inner = Table::new(inner, "a volatile argument");
                let argv = inner.strings("command", out);
                inner.finish(out);
                argv.filter(|argv| not_empty("command", argv, out))
                    .map(|argv| VolatileArg::Command(argv.value))
            }
            other => {
                let wanted = "a string or { command = [..] }";
                out.push(wrong_type(&name.value, wanted, other, value.span()));
                None
            }
        };
        args.extend(arg.map(|arg| (name, arg)));
    }
    args
}
