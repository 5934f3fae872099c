//! The stages of a Dockerfile, what each needs, and which of them a target reaches.
//! Depends on: std.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::expand;
use super::lines::{Instruction, Lines, quoted_words};
use super::reference::{Platform, context_name};
use super::variables::{Variables, Word};
use super::{DockerfileError, Situation};

/// One stage, or one image or context that a `COPY` or a mount names.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// What stands behind `FROM`, filled in.
    pub(super) from: String,
    /// The stage of this file that it is built from.
    pub(super) base: Option<usize>,
    /// The named context that stands in for the whole stage.
    pub(super) replaced: Option<String>,
    pub(super) commands: Vec<Instruction>,
    /// The stages that its commands read, by number.
    pub(super) needs: BTreeSet<usize>,
    pub(super) line: usize,
    /// Whether this is a stage of the file and not just named by a command.
    declared: bool,
    /// Whether the `ONBUILD` of its base have been added to its commands.
    triggered: bool,
}

/// All stages and how to find one by its name.
#[derive(Debug)]
pub(super) struct Stages {
    pub(super) all: Vec<Stage>,
    names: BTreeMap<String, usize>,
    escape: char,
}

/// The instructions before the first `FROM`, and those from each `FROM` on.
pub(super) struct Parts {
    pub(super) globals: Vec<Instruction>,
    pub(super) stages: Vec<(Instruction, Vec<Instruction>)>,
}

const KNOWN: [&str; 18] = [
    "add",
    "arg",
    "cmd",
    "copy",
    "entrypoint",
    "env",
    "expose",
    "from",
    "healthcheck",
    "label",
    "maintainer",
    "onbuild",
    "run",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];

/// Splits a file into its global part and its stages.
pub(super) fn split(lines: &Lines) -> Result<Parts, DockerfileError> {
    let mut parts = Parts { globals: Vec::new(), stages: Vec::new() };
    for instruction in &lines.instructions {
        let at = |message: String| Err(DockerfileError::at(instruction.line, message));
        let name = instruction.name.as_str();
        if !KNOWN.contains(&name) {
            return at(format!("unknown instruction `{}`", name.to_uppercase()));
        }
        match (name, parts.stages.last_mut()) {
            ("from", _) => parts.stages.push((instruction.clone(), Vec::new())),
            (_, Some((_, commands))) => commands.push(instruction.clone()),
            ("arg", None) => parts.globals.push(instruction.clone()),
            _ => return at(format!("{} comes before the first FROM", name.to_uppercase())),
        }
    }
    if parts.stages.is_empty() {
        return Err(DockerfileError::whole("the file has no FROM"));
    }
    Ok(parts)
}

/// The name behind `AS`, in lower case.
pub(super) fn stage_name(from: &Instruction) -> Result<Option<String>, DockerfileError> {
    let at = |message: String| DockerfileError::at(from.line, message);
    match from.words().as_slice() {
        [_] => Ok(None),
        [_, word, name] if word.eq_ignore_ascii_case("as") => {
            let lower = name.to_lowercase();
            let starts = lower.starts_with(|c: char| c.is_ascii_lowercase());
            let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
            // The builder looks every name up among the named contexts, and stops at what cannot be one.
            if starts && lower.bytes().all(plain) && context_name(&lower).is_some() {
                return Ok(Some(lower));
            }
            Err(at(format!("invalid stage name `{name}`")))
        }
        _ => Err(at("FROM takes one argument, or three with AS".to_owned())),
    }
}

/// The global variables: the platforms, then every `ARG` before the first `FROM`.
pub(super) fn globals(
    parts: &Parts,
    situation: &Situation<'_>,
    escape: char,
) -> Result<Variables, DockerfileError> {
    let mut variables = platform_variables(parts, situation)?;
    for arg in &parts.globals {
        for word in quoted_words(&arg.rest, escape) {
            let (name, default) = declaration(&word, arg.line)?;
            let value = match (situation.arg(name), default) {
                (Some(value), _) => value,
                (None, Some(default)) => expand(default, &variables, escape)
                    .map_err(|message| DockerfileError::at(arg.line, message))?,
                (None, None) => continue,
            };
            variables.set(name, value);
        }
    }
    Ok(variables)
}

/// `NAME` or `NAME=default` of an `ARG`.
pub(super) fn declaration(
    word: &str,
    line: usize,
) -> Result<(&str, Option<&str>), DockerfileError> {
    match word.split_once('=') {
        Some(("", _)) => Err(DockerfileError::at(line, "an ARG has no name")),
        Some((name, default)) => Ok((name, Some(default))),
        None => Ok((word, None)),
    }
}

fn platform_variables(
    parts: &Parts,
    situation: &Situation<'_>,
) -> Result<Variables, DockerfileError> {
    let build = Platform::read(situation.build_platform, None).map_err(DockerfileError::whole)?;
    let target =
        Platform::read(situation.platform, Some(&build)).map_err(DockerfileError::whole)?;
    let mut stage = situation.target.filter(|name| !name.is_empty()).map(str::to_owned);
    if stage.is_none()
        && let Some((from, _)) = parts.stages.last()
    {
        stage = stage_name(from)?;
    }
    let mut variables = Variables::default();
    for (name, value) in [
        ("BUILDPLATFORM", build.spelled(false)),
        ("BUILDOS", build.os),
        ("BUILDOSVERSION", build.os_version),
        ("BUILDARCH", build.architecture),
        ("BUILDVARIANT", build.variant),
        ("TARGETPLATFORM", target.spelled(true)),
        ("TARGETOS", target.os),
        ("TARGETOSVERSION", target.os_version),
        ("TARGETARCH", target.architecture),
        ("TARGETVARIANT", target.variant),
        ("TARGETSTAGE", stage.unwrap_or_else(|| "default".to_owned())),
    ] {
        variables.set(name, situation.arg(name).unwrap_or_else(|| Word::known(value)));
    }
    Ok(variables)
}

impl Stages {
    /// Resolves every `FROM`, then what every command of every stage names.
    pub(super) fn new(
        parts: &Parts,
        variables: &Variables,
        situation: &Situation<'_>,
        contexts: &BTreeMap<String, String>,
        escape: char,
    ) -> Result<Self, DockerfileError> {
        let mut stages = Self { all: Vec::new(), names: BTreeMap::new(), escape };
        for (from, commands) in &parts.stages {
            let at = |message: String| DockerfileError::at(from.line, message);
            let name = stage_name(from)?;
            let words = from.words();
            let base = words.first().map_or("", String::as_str);
            let image = deciding(base, variables, escape).map_err(at)?;
            if image.is_empty() {
                return Err(at(format!("the base `{base}` is empty")));
            }
            check_platform(from, variables, situation, escape).map_err(at)?;
            let named = name.as_deref().filter(|name| !matches!(*name, "scratch" | "context"));
            let replaced = named.and_then(context_name).and_then(|name| contexts.get(&name));
            // The name of a stage is kept in lower case and FROM is not lowered: `FROM Build` is an image.
            let base = stages.names.get(&image).copied().filter(|_| replaced.is_none());
            let replaced = replaced.cloned();
            let commands = commands.clone();
            stages.names.extend(name.map(|name| (name, stages.all.len())));
            stages.all.push(Stage {
                from: image,
                base,
                replaced,
                commands,
                needs: BTreeSet::new(),
                line: from.line,
                declared: true,
                triggered: false,
            });
        }
        for stage in 0..stages.all.len() {
            for command in stages.all[stage].commands.clone() {
                stages.connect(stage, &command)?;
            }
        }
        Ok(stages)
    }

    /// The stage to build.
    pub(super) fn target(&self, name: Option<&str>) -> Result<usize, DockerfileError> {
        let declared = self.all.iter().filter(|stage| stage.declared).count();
        match name.filter(|name| !name.is_empty()) {
            None => Ok(declared.saturating_sub(1)),
            Some(name) => self.names.get(&name.to_lowercase()).copied().ok_or_else(|| {
                DockerfileError::whole(format!("the target stage `{name}` is not in the file"))
            }),
        }
    }

    /// What the target needs: the stages and images that take part in its build. A stage that a named context stands in
    /// for needs nothing. `ONBUILD` of a stage acts in the stages of this file that are built from it.
    pub(super) fn reachable(&mut self, target: usize) -> Result<BTreeSet<usize>, DockerfileError> {
        loop {
            let mut reached = BTreeSet::new();
            let mut open = vec![target];
            while let Some(stage) = open.pop() {
                if reached.insert(stage) && self.all[stage].replaced.is_none() {
                    open.extend(&self.all[stage].needs);
                    open.extend(self.all[stage].base);
                }
            }
            let waiting = reached.iter().copied().find(|stage| {
                let stage = &self.all[*stage];
                stage.base.is_some() && stage.replaced.is_none() && !stage.triggered
            });
            let Some(stage) = waiting else {
                self.check_order(&reached)?;
                return Ok(reached);
            };
            self.trigger(stage)?;
        }
    }

    fn trigger(&mut self, stage: usize) -> Result<(), DockerfileError> {
        self.all[stage].triggered = true;
        let Some(base) = self.all[stage].base else { return Ok(()) };
        let escape = self.escape;
        let held = self.all[base].commands.iter().filter_map(|command| command.trigger(escape));
        let mut commands: Vec<Instruction> = held.collect();
        for command in &commands {
            self.connect(stage, command)?;
        }
        commands.append(&mut self.all[stage].commands);
        self.all[stage].commands = commands;
        Ok(())
    }

    /// Nothing is taken from a stage that comes later, or from itself.
    fn check_order(&self, reached: &BTreeSet<usize>) -> Result<(), DockerfileError> {
        for stage in reached.iter().filter(|stage| self.all[**stage].replaced.is_none()) {
            let later = self.all[*stage].needs.range(stage..).find(|need| {
                let need = &self.all[**need];
                need.declared && need.replaced.is_none()
            });
            if let Some(later) = later {
                let line = self.all[*later].line;
                let message = format!("takes from the stage of line {line}, which comes later");
                return Err(DockerfileError::at(self.all[*stage].line, message));
            }
        }
        Ok(())
    }

    /// Notes what a command takes from other stages and images.
    fn connect(&mut self, stage: usize, command: &Instruction) -> Result<(), DockerfileError> {
        let at = |message: String| DockerfileError::at(command.line, message);
        match command.name.as_str() {
            "copy" => {
                let Some(from) = command.flag("from").filter(|from| !from.is_empty()) else {
                    return Ok(());
                };
                let same = expand(from, &Variables::default(), self.escape).map_err(at)?;
                if same.text != from {
                    return Err(at(format!("variables are not filled in here: `--from={from}`")));
                }
                // A number counts all stages so far, with the images that commands above have named.
                let need = match from.parse::<i64>() {
                    Ok(number) => usize::try_from(number)
                        .ok()
                        .filter(|number| *number < self.all.len())
                        .ok_or_else(|| at(format!("there is no stage {number}")))?,
                    Err(_) => self.named(from, command.line),
                };
                self.all[stage].needs.insert(need);
            }
            "run" => {
                for mount in command.values("mount") {
                    let from = mount_source(mount).map_err(at)?;
                    // Without a source it is `scratch`, which takes its number too.
                    let need = self.named(from.as_deref().unwrap_or("scratch"), command.line);
                    self.all[stage].needs.insert(need);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The stage of that name, or a new entry for the image or context.
    fn named(&mut self, name: &str, line: usize) -> usize {
        if let Some(stage) = self.names.get(&name.to_lowercase()) {
            return *stage;
        }
        self.all.push(Stage {
            from: name.to_owned(),
            base: None,
            replaced: None,
            commands: Vec::new(),
            needs: BTreeSet::new(),
            line,
            declared: false,
            triggered: false,
        });
        self.all.len() - 1
    }
}

/// A word of a `FROM`, filled in. With a volatile argument the builder could take another image than the one that counts.
fn deciding(written: &str, variables: &Variables, escape: char) -> Result<String, String> {
    let word = expand(written, variables, escape)?;
    match word.volatile {
        Some(name) => {
            Err(format!("`{name}` is a volatile argument and decides a base image: put it in args"))
        }
        None => Ok(word.text),
    }
}

/// The platform of a `FROM` only says which manifest of the reference is used; it has to be one.
fn check_platform(
    from: &Instruction,
    variables: &Variables,
    situation: &Situation<'_>,
    escape: char,
) -> Result<(), String> {
    let Some(written) = from.flag("platform").filter(|written| !written.is_empty()) else {
        return Ok(());
    };
    let value = deciding(written, variables, escape)?;
    if value.is_empty() {
        return Err(format!("the platform `{written}` is empty"));
    }
    let build = Platform::read(situation.build_platform, None)?;
    Platform::read(&value, Some(&build)).map(|_| ())
}

/// The `from` of a mount.
fn mount_source(mount: &str) -> Result<Option<String>, String> {
    let mut source = None;
    for field in fields(mount) {
        let Some((key, value)) = field.split_once('=') else { continue };
        if !key.eq_ignore_ascii_case("from") {
            continue;
        }
        if value.find('$').is_some_and(|at| at + 1 < value.len()) {
            return Err(format!("variables are not filled in here: `{field}`"));
        }
        source = Some(value.to_owned());
    }
    Ok(source.filter(|source| !source.is_empty()))
}

/// The fields of a line of comma-separated values.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            ',' if !quoted => fields.push(String::new()),
            '"' if !quoted && field.is_empty() => quoted = true,
            '"' if quoted && chars.next_if_eq(&'"').is_none() => quoted = false,
            c => field.push(c),
        }
    }
    fields
}
