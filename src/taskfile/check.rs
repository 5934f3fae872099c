//! From TOML to the model: every name, type, path and cycle is checked here, and every finding is kept.
//! Depends on: names, taskfile::{diagnostic, model, table}.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, nearest};
use super::model::{
    BuildCache, CargoTest, ClusterAction, ClusterSpec, CreatePolicy, ImageSpec, Step, Task,
    TaskFile, VolatileArg, When,
};
use super::table::{At, Table, as_table, finding, text, texts, wrong_type};
use crate::names::{ImageId, ImageRef};

type Findings = Vec<Diagnostic>;

/// Turns the text of a task file into the model.
///
/// # Errors
/// Everything found wrong, in the order of the file.
pub(super) fn check(path: &Path, text: &str) -> Result<TaskFile, Findings> {
    if text.trim().is_empty() {
        let mut empty = finding("the file is empty", 0..0, "");
        empty.help = Some("a task file has [images.NAME] and [tasks.NAME] tables".to_owned());
        return Err(vec![empty]);
    }
    let document = DeTable::parse(text).map_err(|error| {
        vec![finding(
            error.message(),
            error.span().unwrap_or(0..0),
            "here",
        )]
    })?;
    let root = path.parent().unwrap_or(Path::new("."));
    let mut out = Findings::new();
    let mut top = Table::new(document.get_ref(), "the task file");
    let cluster = cluster(top.table("cluster", "[cluster]", &mut out), root, &mut out);
    let (images, tags) = images(top.table("images", "[images]", &mut out), root, &mut out);
    duplicate_tags(&images, &tags, &mut out);
    let (tasks, uses) = tasks(top.table("tasks", "[tasks]", &mut out), &mut out);
    top.finish(&mut out);
    check_uses(&uses, &images, &tasks, &mut out);
    check_cycles(&tasks, &uses, &mut out);
    if out.is_empty() {
        let (path, root) = (path.to_path_buf(), root.to_path_buf());
        return Ok(TaskFile {
            path,
            root,
            cluster,
            images,
            tasks,
        });
    }
    out.sort_by_key(|finding| finding.span.start);
    Err(out)
}

fn cluster(table: Option<Table<'_>>, root: &Path, out: &mut Findings) -> ClusterSpec {
    let mut spec = ClusterSpec {
        name: "kind".to_owned(),
        config: None,
        node_image: None,
        create: CreatePolicy::IfMissing,
    };
    let Some(mut table) = table else { return spec };
    if let Some(name) = table.string("name", out) {
        if is_cluster_name(&name.value) {
            spec.name = name.value;
        } else {
            let message = format!("`{}` is not a name that Kind accepts", name.value);
            out.push(finding(
                message,
                name.span,
                "lower case letters, digits, `.` and `-`",
            ));
        }
    }
    spec.config = table
        .string("config", out)
        .and_then(|config| existing(root, &config, "Kind configuration", Path::is_file, out));
    spec.node_image = table.string("node_image", out).map(|image| image.value);
    if let Some(create) = table.string("create", out) {
        match create.value.as_str() {
            "if-missing" => {}
            "never" => spec.create = CreatePolicy::Never,
            other => out.push(unknown_word(
                "create",
                other,
                &["if-missing", "never"],
                create.span,
            )),
        }
    }
    table.finish(out);
    spec
}

/// Whether Kind accepts a cluster name: its own rule (`validNameRE` in its cluster package).
#[must_use]
pub fn is_cluster_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
}

type Tags = Vec<(ImageId, Range<usize>)>;

fn images(
    table: Option<Table<'_>>,
    root: &Path,
    out: &mut Findings,
) -> (BTreeMap<ImageId, ImageSpec>, Tags) {
    let (mut specs, mut tags) = (BTreeMap::new(), Tags::new());
    for (name, value) in table.iter().flat_map(Table::entries) {
        let Some(mut table) = as_table(value, &name.value, "an image", out) else {
            continue;
        };
        let id = ImageId {
            name: name.value.clone(),
            variant: None,
        };
        let variants = table.table("variants", "variants", out);
        let (spec, tag_span) = image(id, &name.span, &mut table, None, root, out);
        table.finish(out);
        for (variant, value) in variants.iter().flat_map(Table::entries) {
            let Some(mut table) = as_table(value, &variant.value, "a variant", out) else {
                continue;
            };
            let id = ImageId {
                name: name.value.clone(),
                variant: Some(variant.value),
            };
            let (spec, tag_span) = image(
                id.clone(),
                &variant.span,
                &mut table,
                spec.as_ref(),
                root,
                out,
            );
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
    let tag_span = tag
        .as_ref()
        .map_or(name_span.clone(), |tag| tag.span.clone());
    let tag = image_tag(&id, tag, base, out);
    let context = table.string("context", out);
    let context = match (&context, base) {
        (None, Some(base)) => Some(base.context.clone()),
        (None, None) => Some(root.to_path_buf()),
        (Some(context), _) => existing(root, context, "context directory", Path::is_dir, out),
    };
    let dockerfile = match (table.string("dockerfile", out), base, &context) {
        (Some(written), ..) => existing(root, &written, "Dockerfile", Path::is_file, out),
        (None, Some(base), _) => Some(base.dockerfile.clone()),
        (None, None, None) => None,
        (None, None, Some(context)) => {
            let default = context.join("Dockerfile");
            if !default.is_file() {
                let message = format!("image `{id}` has no Dockerfile at {}", default.display());
                out.push(finding(message, name_span.clone(), "set `dockerfile`"));
            }
            Some(default)
        }
    };
    let mut args = base.map(|base| base.args.clone()).unwrap_or_default();
    args.extend(table.string_map("args", out));
    let mut volatile = base
        .map(|base| base.volatile_args.clone())
        .unwrap_or_default();
    volatile.extend(volatile_args(
        table.table("volatile_args", "volatile_args", out),
        out,
    ));
    let inherit = |own: Option<At<String>>, base: Option<&String>| {
        own.map(|own| own.value).or_else(|| base.cloned())
    };
    let target = inherit(
        table.string("target", out),
        base.and_then(|b| b.target.as_ref()),
    );
    let platform = inherit(
        table.string("platform", out),
        base.and_then(|b| b.platform.as_ref()),
    );
    let (Some(tag), Some(context), Some(dockerfile)) = (tag, context, dockerfile) else {
        return (None, tag_span);
    };
    let spec = ImageSpec {
        id,
        tag,
        context,
        dockerfile,
        target,
        args,
        volatile_args: volatile,
        platform,
    };
    ((out.len() == before).then_some(spec), tag_span)
}

/// A variant without a tag of its own gets its base's with `-<variant>` behind it, so that a task that asks for the one
/// never finds the other.
fn image_tag(
    id: &ImageId,
    written: Option<At<String>>,
    base: Option<&ImageSpec>,
    out: &mut Findings,
) -> Option<ImageRef> {
    let (parsed, span) = match (written, base, &id.variant) {
        (Some(tag), ..) => (ImageRef::parse(&tag.value), tag.span),
        (None, Some(base), Some(variant)) => (
            base.tag.with_tag(&format!("{}-{variant}", base.tag.tag())),
            0..0,
        ),
        _ => (ImageRef::parse(&format!("{}:test", id.name)), 0..0),
    };
    parsed
        .map_err(|message| out.push(finding(message, span, "not a valid tag")))
        .ok()
}

fn volatile_args(table: Option<Table<'_>>, out: &mut Findings) -> BTreeMap<String, VolatileArg> {
    let mut args = BTreeMap::new();
    for (name, value) in table.iter().flat_map(Table::entries) {
        let arg = match value.get_ref() {
            DeValue::String(text) => Some(VolatileArg::Value(text.to_string())),
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
        args.extend(arg.map(|arg| (name.value, arg)));
    }
    args
}

/// A name that a step uses, and where.
enum Use {
    Image(ImageId, Range<usize>),
    Task {
        from: String,
        to: String,
        span: Range<usize>,
    },
}

fn tasks(table: Option<Table<'_>>, out: &mut Findings) -> (BTreeMap<String, Task>, Vec<Use>) {
    let (mut tasks, mut uses) = (BTreeMap::new(), Vec::new());
    for (name, value) in table.iter().flat_map(Table::entries) {
        let Some(mut table) = as_table(value, &name.value, "a task", out) else {
            continue;
        };
        let description = table.string("description", out).map(|text| text.value);
        let mut steps = Vec::new();
        match table.get("steps").map(|value| (value, value.get_ref())) {
            Some((_, DeValue::Array(items))) => {
                for item in items.iter() {
                    steps.extend(step(&name.value, item, &mut uses, out));
                }
            }
            Some((value, other)) => {
                out.push(wrong_type(
                    "steps",
                    "an array of tables",
                    other,
                    value.span(),
                ));
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
        STEP_KINDS
            .into_iter()
            .filter(|kind| names.iter().any(|name| name == kind))
            .collect()
    };
    let &[kind] = kinds.as_slice() else {
        let message = match kinds.as_slice() {
            [] => "a step needs one of: ".to_owned() + &STEP_KINDS.join(", "),
            several => format!("a step does one thing, this has {}", several.join(" and ")),
        };
        let before = out.len();
        if kinds.is_empty() {
            let known = STEP_KINDS.map(|kind| table.get(kind).is_some());
            debug_assert!(known.iter().all(|found| !found));
            table.finish(out);
        }
        if out.len() == before {
            out.push(finding(message, value.span(), "here"));
        }
        return None;
    };
    let step = match kind {
        "build" => {
            let image = used_image(&mut table, "build", uses, out);
            let when = when(&mut table, out);
            let bypass = table.boolean("no_cache", out).unwrap_or(false);
            let cache = if bypass {
                BuildCache::Bypass
            } else {
                BuildCache::Use
            };
            image.map(|image| Step::Build { image, when, cache })
        }
        "load" => {
            let image = used_image(&mut table, "load", uses, out);
            let when = when(&mut table, out);
            image.map(|image| Step::Load { image, when })
        }
        "cargo-test" => cargo_test(&mut table, out),
        "cluster" => table
            .string("cluster", out)
            .and_then(|action| match action.value.as_str() {
                "create" => Some(Step::Cluster(ClusterAction::Ensure)),
                "delete" => Some(Step::Cluster(ClusterAction::Delete)),
                other => {
                    out.push(unknown_word(
                        "cluster",
                        other,
                        &["create", "delete"],
                        action.span,
                    ));
                    None
                }
            }),
        "run" => table
            .get("run")
            .and_then(|value| texts(value, "run", out))
            .and_then(|argv| {
                not_empty("run", &argv, out).then_some(Step::Run { argv: argv.value })
            }),
        _ => table
            .get("task")
            .and_then(|value| text(value, "task", out))
            .map(|name| {
                let (from, to) = (task.to_owned(), name.value.clone());
                uses.push(Use::Task {
                    from,
                    to,
                    span: name.span,
                });
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
        features: table
            .strings("features", out)
            .map(|list| list.value)
            .unwrap_or_default(),
        args: table
            .strings("args", out)
            .map(|list| list.value)
            .unwrap_or_default(),
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
    let span = variant
        .as_ref()
        .map_or(name.span, |variant| variant.span.clone());
    let id = ImageId {
        name: name.value,
        variant: variant.map(|variant| variant.value),
    };
    uses.push(Use::Image(id.clone(), span));
    Some(id)
}

fn when(table: &mut Table<'_>, out: &mut Findings) -> When {
    match table.string("when", out) {
        Some(word) if word.value == "always" => When::Always,
        Some(word) if word.value != "if-needed" => {
            out.push(unknown_word(
                "when",
                &word.value,
                &["always", "if-needed"],
                word.span,
            ));
            When::IfNeeded
        }
        _ => When::IfNeeded,
    }
}

fn check_uses(
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
        _ => unknown_name(
            "image",
            &id.name,
            span,
            images.keys().map(|known| known.name.as_str()),
        ),
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

fn unknown_word(key: &str, word: &str, known: &[&str], span: Range<usize>) -> Diagnostic {
    let mut unknown = finding(
        format!("`{key}` cannot be `{word}`"),
        span,
        "not a known value",
    );
    unknown.help = Some(match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("one of: {}", known.join(", ")),
    });
    unknown
}

fn duplicate_tags(images: &BTreeMap<ImageId, ImageSpec>, tags: &Tags, out: &mut Findings) {
    let mut seen: BTreeMap<&str, &ImageId> = BTreeMap::new();
    for (id, span) in tags {
        let Some(spec) = images.get(id) else { continue };
        if let Some(first) = seen.insert(spec.tag.canonical(), id) {
            let message = format!(
                "images `{first}` and `{id}` have the same tag `{}`",
                spec.tag
            );
            out.push(finding(message, span.clone(), "each image needs its own"));
        }
    }
}

/// Reports each cycle once, as `a → b → a`, at the step that closes it.
fn check_cycles(tasks: &BTreeMap<String, Task>, uses: &[Use], out: &mut Findings) {
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
        let closing = cycle
            .len()
            .checked_sub(2)
            .map(|at| (cycle[at], cycle[at + 1]));
        let span = uses.iter().find_map(|used| match used {
            Use::Task { from, to, span } if closing == Some((from, to)) => Some(span.clone()),
            _ => None,
        });
        let message = format!("tasks form a cycle: {}", cycle.join(" → "));
        out.push(finding(message, span.unwrap_or(0..0), "closes the cycle"));
    }
}

fn existing(
    root: &Path,
    written: &At<String>,
    what: &str,
    is: impl Fn(&Path) -> bool,
    out: &mut Findings,
) -> Option<std::path::PathBuf> {
    let path = root.join(&written.value);
    if is(&path) {
        // `.` components would make two spellings of one path look like two paths.
        return Some(path.components().collect());
    }
    let state = if path.exists() {
        "is of another type"
    } else {
        "does not exist"
    };
    let message = format!("{what} `{}` {state}", written.value);
    out.push(finding(
        message,
        written.span.clone(),
        format!("looked at {}", path.display()),
    ));
    None
}

fn not_empty(key: &str, argv: &At<Vec<String>>, out: &mut Findings) -> bool {
    let usable = argv
        .value
        .first()
        .is_some_and(|program| !program.is_empty());
    if !usable {
        let message = format!("`{key}` needs a program to run");
        out.push(finding(message, argv.span.clone(), "empty"));
    }
    usable
}
