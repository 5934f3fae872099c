//! What a build takes from outside its contexts, read from its Dockerfile as BuildKit's frontend reads it.
//! Depends on: serde_json, thiserror.
//!
//! Only stages that the target needs count: the builder does not even look up the images of the others. `ONBUILD` in a
//! base image acts on the build and cannot be seen from here; what it copies from its own context is in the tree.

use std::collections::{BTreeMap, BTreeSet};

mod lexer;
mod lines;
mod pattern;
mod reference;
mod remote;
mod stages;
mod variables;

use lexer::expand;
use lines::{Instruction, directive, is_heredoc, pairs, quoted_words};
use reference::{context_name, normalized};
use remote::{Origin, origin, without_secrets};
use stages::{Stages, declaration, globals, split};
use variables::{Variables, Word};

/// What a Dockerfile is read with.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The build arguments that have values.
    pub args: &'a BTreeMap<String, String>,
    /// The build arguments that get values of which nothing may depend that counts.
    pub volatile: &'a BTreeSet<String>,
    /// The platform to build for, such as `linux/arm64/v8`.
    pub platform: &'a str,
    /// The platform of the builder.
    pub build_platform: &'a str,
    /// The stage to build; without it, the last.
    pub target: Option<&'a str>,
    /// The named contexts. Each stands in for the image and for the stage of its name.
    pub contexts: &'a BTreeSet<String>,
}

impl Situation<'_> {
    /// The value of a build argument, where it gets one.
    fn arg(&self, name: &str) -> Option<Word> {
        if self.volatile.contains(name) {
            return Some(Word::volatile(name));
        }
        self.args.get(name).map(Word::known)
    }
}

/// The address of a remote source. Arguments in it may be secrets, so it shows nothing by itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(pub String);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Address(…)")
    }
}

/// The outside world of a Dockerfile, with build arguments filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External {
    /// The images in the spelling that the builder resolves, such as `docker.io/library/debian:latest`, with the lines
    /// that use them. `FROM --platform` chooses a manifest of the same reference and is no part of it: the identity of an
    /// index covers all of its platforms, and the platform itself is text of the Dockerfile or an argument.
    pub images: BTreeMap<String, Vec<usize>>,
    /// The named contexts that are used, as the caller spells them.
    pub contexts: BTreeSet<String>,
    /// What cannot be known before the build, with its line: remote sources of `ADD` that nothing pins, and files in a
    /// language that `tg` does not read. Sources are as the file has them, for the values of arguments may be secrets.
    pub unverifiable: BTreeMap<String, usize>,
    /// What the unverifiable sources are with their variables filled in, in their order.
    pub addresses: Vec<Address>,
    /// Every name that an `ARG` declares, anywhere.
    pub declared: BTreeSet<String>,
    /// Whether the file is in a language that `tg` does not read, so that the rest is not known.
    pub is_foreign: bool,
    /// The frontend that `# syntax=` or `BUILDKIT_SYNTAX` asks for.
    pub syntax: Option<String>,
}

/// Why a Dockerfile cannot be read, or cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct DockerfileError {
    /// The line, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl DockerfileError {
    fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into() }
    }

    fn whole(message: impl Into<String>) -> Self {
        Self { line: None, message: message.into() }
    }
}

/// Reads what a Dockerfile takes from outside.
///
/// # Errors
/// What the builder would refuse as well: an instruction that is none, an expansion that fails, a reference that is invalid.
/// And a volatile argument that decides a base image or the frontend.
pub fn external(text: &str, situation: &Situation<'_>) -> Result<External, DockerfileError> {
    if situation.volatile.contains(SYNTAX) {
        let message =
            format!("`{SYNTAX}` is a volatile argument and decides the frontend: put it in args");
        return Err(DockerfileError::whole(message));
    }
    let (syntax, line) = frontend(text, situation.args);
    match read(text, situation) {
        Ok(found) => Ok(External { syntax, ..found }),
        Err(error) => match syntax {
            Some(syntax) if !is_dockerfile_frontend(&syntax) => {
                let note = format!("the syntax {syntax} is not known to tg");
                let unverifiable = BTreeMap::from([(note, line)]);
                let syntax = Some(syntax);
                Ok(External { unverifiable, syntax, is_foreign: true, ..External::default() })
            }
            _ => Err(error),
        },
    }
}

/// The argument that names the frontend.
const SYNTAX: &str = "BUILDKIT_SYNTAX";

/// The frontend, and the line that names it. The argument goes before the file.
fn frontend(text: &str, args: &BTreeMap<String, String>) -> (Option<String>, usize) {
    let first = |value: &str| value.split(' ').next().unwrap_or_default().to_owned();
    if let Some(value) = args.get(SYNTAX) {
        return (Some(first(value.trim())), 1);
    }
    let found = directive(text, "syntax", "#").or_else(|| directive(text, "syntax", "//"));
    if let Some((value, line)) = found {
        return (Some(first(&value)), line);
    }
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let value = json.as_ref().and_then(|json| json.get("syntax")?.as_str());
    (value.map(str::to_owned), 1)
}

fn is_dockerfile_frontend(syntax: &str) -> bool {
    let name = context_name(syntax).unwrap_or_default();
    let name = name.split([':', '@']).next().unwrap_or_default();
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
}

fn read(text: &str, situation: &Situation<'_>) -> Result<External, DockerfileError> {
    let lines = lines::read(text)?;
    let parts = split(&lines)?;
    let variables = globals(&parts, situation, lines.escape)?;
    let spelled = situation.contexts.iter();
    let contexts: BTreeMap<String, String> =
        spelled.filter_map(|name| Some((context_name(name)?, name.clone()))).collect();
    let mut stages = Stages::new(&parts, &variables, situation, &contexts, lines.escape)?;
    let target = stages.target(situation.target)?;
    let reached = stages.reachable(target)?;

    let mut found = External::default();
    for instruction in &lines.instructions {
        let inner = instruction.trigger(lines.escape);
        let acting = inner.as_ref().unwrap_or(instruction);
        if acting.name == "arg" {
            for word in quoted_words(&acting.rest, lines.escape) {
                found.declared.insert(declaration(&word, acting.line)?.0.to_owned());
            }
        }
    }
    for (number, stage) in stages.all.iter().enumerate() {
        let scratch = stage.from == "scratch" && stage.replaced.is_none();
        if stage.base.is_some() || scratch {
            continue;
        }
        // The builder refuses an invalid reference in a stage that it skips, too.
        let image =
            normalized(&stage.from).map_err(|message| DockerfileError::at(stage.line, message))?;
        if !reached.contains(&number) {
            continue;
        }
        let replacement = context_name(&image).and_then(|name| contexts.get(&name));
        if let Some(context) = stage.replaced.as_ref().or(replacement) {
            found.contexts.insert(context.clone());
        } else {
            let used = found.images.entry(image).or_default();
            used.push(stage.line);
            used.sort_unstable();
            used.dedup();
        }
    }
    let fetched = fetched(&stages, &reached, &variables, situation, lines.escape)?;
    (found.unverifiable, found.addresses) = (fetched.unverifiable, fetched.addresses);
    Ok(found)
}

/// What `ADD` brings from elsewhere.
#[derive(Default)]
struct Fetched {
    unverifiable: BTreeMap<String, usize>,
    addresses: Vec<Address>,
}

/// The remote sources of the stages that take part, with variables as they stand at each `ADD`.
fn fetched(
    stages: &Stages,
    reached: &BTreeSet<usize>,
    globals: &Variables,
    situation: &Situation<'_>,
    escape: char,
) -> Result<Fetched, DockerfileError> {
    let mut scopes: BTreeMap<usize, Variables> = BTreeMap::new();
    let mut fetched = Fetched::default();
    for number in reached {
        let stage = &stages.all[*number];
        let mut scope = match stage.base {
            Some(base) => scopes.get(&base).cloned().unwrap_or_default(),
            None => Variables { open: stage.from != "scratch", ..Variables::default() },
        };
        if stage.replaced.is_some() {
            scope = Variables { open: true, ..Variables::default() };
        } else {
            // The builder sets a path where the base has none.
            scope.values.entry("PATH".to_owned()).or_insert_with(Word::unknown);
            let mut reader = Scope { variables: scope, globals, situation, escape };
            for command in &stage.commands {
                let read = reader.read(command, &mut fetched);
                read.map_err(|message| DockerfileError::at(command.line, message))?;
            }
            scope = reader.variables;
        }
        scopes.insert(*number, scope);
    }
    Ok(fetched)
}

/// One stage as far as it has been read.
struct Scope<'a> {
    variables: Variables,
    globals: &'a Variables,
    situation: &'a Situation<'a>,
    escape: char,
}

impl Scope<'_> {
    fn read(&mut self, command: &Instruction, fetched: &mut Fetched) -> Result<(), String> {
        match command.name.as_str() {
            "arg" => self.arg(command),
            "env" => {
                let pairs = pairs(&command.rest, self.escape).ok_or("malformed ENV")?;
                // All values of one ENV see the variables from before it.
                let expand = |text: &String| expand(text, &self.variables, self.escape);
                let pairs: Vec<(Word, Word)> = pairs
                    .iter()
                    .map(|(name, value)| Ok((expand(name)?, expand(value)?)))
                    .collect::<Result<_, String>>()?;
                for (name, value) in pairs {
                    // A name that is not known could be any.
                    if name.open {
                        self.forget();
                    } else {
                        self.variables.set(name.text, value);
                    }
                }
                Ok(())
            }
            "add" => self.add(command, fetched),
            _ => Ok(()),
        }
    }

    fn forget(&mut self) {
        self.variables = Variables { open: true, ..Variables::default() };
    }

    fn arg(&mut self, command: &Instruction) -> Result<(), String> {
        for word in quoted_words(&command.rest, self.escape) {
            let (name, default) =
                declaration(&word, command.line).map_err(|error| error.message)?;
            let value = match (self.situation.arg(name), default) {
                (Some(value), _) => value,
                (None, Some(default)) => expand(default, &self.variables, self.escape)?,
                (None, None) => match self.globals.values.get(name) {
                    Some(value) => value.clone(),
                    None => continue,
                },
            };
            self.variables.set(name, value);
        }
        Ok(())
    }

    fn add(&self, command: &Instruction, fetched: &mut Fetched) -> Result<(), String> {
        let expand = |text: &str| expand(text, &self.variables, self.escape);
        let checksum = command.flag("checksum").map(expand).transpose()?;
        let mut sources = command.arguments();
        sources.pop();
        for written in sources.iter().filter(|source| !is_heredoc(source)) {
            let source = expand(written)?;
            if origin(&source, checksum.as_ref()) == Origin::Open {
                fetched.unverifiable.entry(without_secrets(written)).or_insert(command.line);
                fetched.addresses.push(Address(source.text));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
