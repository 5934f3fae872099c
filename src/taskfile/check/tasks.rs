//! `[tasks.*]`: their steps, the names that they use, and cycles.
//! Depends on: names, taskfile::{diagnostic, model, table}.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::{Findings, not_empty, unknown_word};
use crate::names::ImageId;
use crate::taskfile::diagnostic::{Diagnostic, nearest};
use crate::taskfile::model::{BuildCache, CargoTest, ClusterAction, ImageSpec, Step, Task, When};
use crate::taskfile::table::{Table, as_table, finding, text, texts, wrong_type};

/// A name that a step uses, and where.
pub(super) enum Use {
    Image(ImageId, Range<usize>),
    Task { from: String, to: String, span: Range<usize> },
}

pub(super) fn tasks(
    table: Option<Table<'_>>,
    out: &mut Findings,
) -> (BTreeMap<String, Task>, Vec<Use>) {
    let (mut tasks, mut uses) = (BTreeMap::new(), Vec::new());
    for (name, value) in table.iter().flat_map(Table::entries) {
        let Some(mut table) = as_table(value, &name.value, "a task", out) else {
            continue;
        };
        if name.value.is_empty() || name.value.starts_with('-') {
            let message = format!("`{}` is not a name for a task", name.value);
            out.push(finding(message, name.span.clone(), "no command line could name it"));
        }
        let description = table.string("description", out).map(|text| text.value);
        let mut steps = Vec::new();
        match table.get("steps").map(|value| (value, value.get_ref())) {
            Some((_, DeValue::Array(items))) => {
                for item in items.iter() {
                    steps.extend(step(&name.value, item, &mut uses, out));
                }
            }
            Some((value, other)) => {
                out.push(wrong_type("steps", "an array of tables", other, value.span()));
            }
            None => {
                let message = format!("task `{}` has no steps", name.value);
                out.push(finding(message, name.span, "add `steps = [..]`"));
            }
        }
        table.finish(out);
        tasks.insert(name.value, Task { description, steps });
    }
    (tasks, uses)
}

const STEP_KINDS: [&str; 6] = ["build", "load", "cargo-test", "cluster", "run", "task"];

fn step(
    task: &str,
    value: &Spanned<DeValue<'_>>,
    uses: &mut Vec<Use>,
    out: &mut Findings,
) -> Option<Step> {
    let mut table = as_table(value, "a step", "a step", out)?;
    let kinds: Vec<&'static str> = {
        let names: Vec<String> = table.entries().map(|(key, _)| key.value).collect();
        STEP_KINDS.into_iter().filter(|kind| names.iter().any(|name| name == kind)).collect()
    };
    let &[kind] = kinds.as_slice() else {
        not_one_kind(&kinds, table, value.span(), out);
        return None;
    };
    let step = match kind {
        "build" => {
            let image = used_image(&mut table, "build", uses, out);
            let when = when(&mut table, out);
            let bypass = table.boolean("no_cache", out).unwrap_or(false);
            let cache = if bypass { BuildCache::Bypass } else { BuildCache::Use };
            image.map(|image| Step::Build { image, when, cache })
        }
        "load" => {
            let image = used_image(&mut table, "load", uses, out);
            let when = when(&mut table, out);
            image.map(|image| Step::Load { image, when })
        }
        "cargo-test" => cargo_test(&mut table, out),
        "cluster" => cluster_action(&mut table, out),
        "run" => table.get("run").and_then(|value| texts(value, "run", out)).and_then(|argv| {
            not_empty("run", &argv, out).then_some(Step::Run { argv: argv.value })
        }),
        _ => table.get("task").and_then(|value| text(value, "task", out)).map(|name| {
            let (from, to) = (task.to_owned(), name.value.clone());
            uses.push(Use::Task { from, to, span: name.span });
            Step::Task(name.value)
        }),
    };
    table.finish(out);
    step
}

fn cargo_test(table: &mut Table<'_>, out: &mut Findings) -> Option<Step> {
    let test = table.string("cargo-test", out);
    let test = CargoTest {
        package: table.string("package", out).map(|package| package.value),
        features: table.strings("features", out).map(|list| list.value).unwrap_or_default(),
        args: table.strings("args", out).map(|list| list.value).unwrap_or_default(),
        env: table.string_map("env", out),
        allow_no_tests: table.boolean("allow_no_tests", out).unwrap_or(false),
        test: test?.value,
    };
    Some(Step::CargoTest(test))
}

fn used_image(
    table: &mut Table<'_>,
    key: &'static str,
    uses: &mut Vec<Use>,
    out: &mut Findings,
) -> Option<ImageId> {
    let name = table.string(key, out);
    let variant = table.string("variant", out);
    let (name, variant) = (name?, variant);
    let span = variant.as_ref().map_or(name.span, |variant| variant.span.clone());
    let id = ImageId { name: name.value, variant: variant.map(|variant| variant.value) };
    uses.push(Use::Image(id.clone(), span));
    Some(id)
}

fn when(table: &mut Table<'_>, out: &mut Findings) -> When {
    match table.string("when", out) {
        Some(word) if word.value == "always" => When::Always,
        Some(word) if word.value != "if-needed" => {
            out.push(unknown_word("when", &word.value, &["always", "if-needed"], word.span));
            When::IfNeeded
        }
        _ => When::IfNeeded,
    }
}

pub(super) fn check_uses(
    uses: &[Use],
    images: &BTreeMap<ImageId, ImageSpec>,
    tasks: &BTreeMap<String, Task>,
    out: &mut Findings,
) {
    // An image that was itself rejected is not "unknown" as well: its own finding is enough.
    let images_are_sound = out.is_empty();
    for used in uses {
        match used {
            Use::Image(id, span) if images_are_sound && !images.contains_key(id) => {
                out.push(unknown_image(id, span.clone(), images));
            }
            Use::Task { to, span, .. } if !tasks.contains_key(to) => {
                let names = tasks.keys().map(String::as_str);
                out.push(unknown_name("task", to, span.clone(), names));
            }
            _ => {}
        }
    }
}

fn unknown_image(
    id: &ImageId,
    span: Range<usize>,
    images: &BTreeMap<ImageId, ImageSpec>,
) -> Diagnostic {
    let base_known = images.keys().any(|known| known.name == id.name);
    match &id.variant {
        Some(variant) if base_known => {
            let variants = images
                .keys()
                .filter(|known| known.name == id.name)
                .filter_map(|known| known.variant.as_deref());
            unknown_name("variant", variant, span, variants)
        }
        _ => unknown_name("image", &id.name, span, images.keys().map(|known| known.name.as_str())),
    }
}

fn unknown_name<'a>(
    what: &str,
    name: &str,
    span: Range<usize>,
    known: impl Iterator<Item = &'a str>,
) -> Diagnostic {
    let mut known: Vec<&str> = known.collect();
    known.dedup();
    let mut unknown = finding(format!("unknown {what} `{name}`"), span, "not defined");
    unknown.help = Some(match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("the file defines no {what}"),
        None => format!("defined: {}", known.join(", ")),
    });
    unknown
}

/// Reports each cycle once, as `a → b → a`, at the step that closes it.
pub(super) fn check_cycles(tasks: &BTreeMap<String, Task>, uses: &[Use], out: &mut Findings) {
    fn visit<'a>(
        name: &'a str,
        tasks: &'a BTreeMap<String, Task>,
        path: &mut Vec<&'a str>,
        done: &mut Vec<&'a str>,
        cycles: &mut Vec<Vec<&'a str>>,
    ) {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            cycles.push(path[start..].iter().copied().chain([name]).collect());
            return;
        }
        let Some(task) = tasks.get(name).filter(|_| !done.contains(&name)) else {
            return;
        };
        path.push(name);
        for step in &task.steps {
            if let Step::Task(next) = step {
                visit(next, tasks, path, done, cycles);
            }
        }
        path.pop();
        done.push(name);
    }
    let (mut done, mut cycles) = (Vec::new(), Vec::new());
    for name in tasks.keys() {
        visit(name, tasks, &mut Vec::new(), &mut done, &mut cycles);
    }
    for cycle in cycles {
        let closing = cycle.len().checked_sub(2).map(|at| (cycle[at], cycle[at + 1]));
        let span = uses.iter().find_map(|used| match used {
            Use::Task { from, to, span } if closing == Some((from, to)) => Some(span.clone()),
            _ => None,
        });
        let message = format!("tasks form a cycle: {}", cycle.join(" → "));
        out.push(finding(message, span.unwrap_or(0..0), "closes the cycle"));
    }
}

fn not_one_kind(
    kinds: &[&'static str],
    mut table: Table<'_>,
    span: Range<usize>,
    out: &mut Findings,
) {
    if !kinds.is_empty() {
        let message = format!("a step does one thing, this has {}", kinds.join(" and "));
        out.push(finding(message, span, "here"));
        return;
    }
    // Asked for, so that a slip in the name of the kind is answered with the nearest.
    for kind in STEP_KINDS {
        table.get(kind);
    }
    let before = out.len();
    table.finish(out);
    if out.len() == before {
        let message = format!("a step needs one of: {}", STEP_KINDS.join(", "));
        out.push(finding(message, span, "here"));
    }
}

fn cluster_action(table: &mut Table<'_>, out: &mut Findings) -> Option<Step> {
    let action = table.string("cluster", out)?;
    match action.value.as_str() {
        "create" => Some(Step::Cluster(ClusterAction::Ensure)),
        "delete" => Some(Step::Cluster(ClusterAction::Delete)),
        other => {
            out.push(unknown_word("cluster", other, &["create", "delete"], action.span));
            None
        }
    }
}
