//! Building so that the built bytes are the hashed bytes: an aliased context with generations, a private tag, a second look.
//! Depends on: facts, adapters, digest, report::event, error.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use super::Live;
use crate::adapters::buildx::{BuildRequest, Progress, ProgressReader, config_digest};
use crate::adapters::process::{self, Command, ProcessError, Stream};
use crate::digest;
use crate::error::{Failure, Kind};
use crate::execute::interrupted;
use crate::facts::gather::{Current, World, chain};
use crate::names::{ConfigDigest, ImageId, Key};
use crate::report::event::StepName;
use crate::taskfile::model::{BasePolicy, BuildCache, ImageSpec, VolatileArg};

/// How often a build is begun when files change under it.
const ATTEMPTS: usize = 3;
/// How many of the last lines of a failed build are shown.
const LAST_LINES: usize = 50;

/// The request for one build, as a dry run shows it and a real run makes it. Volatile arguments are added by the latter.
#[must_use]
pub fn build_request(
    world: &World,
    spec: &ImageSpec,
    key: &Key,
    generation: u64,
    run: &str,
    cache: BuildCache,
) -> BuildRequest {
    // The builder also names its transfer cache for Dockerfiles after the directory, so the run is in its name.
    let directory = world.state.build_directory(&spec.id).join(format!("{}-{run}", spec.id));
    BuildRequest {
        context: world.state.alias(&spec.id, generation),
        dockerfile: directory.join("Dockerfile"),
        metadata: directory.join("metadata.json"),
        tag: format!("tg-build/{}:{}-{run}", spec.id.to_string().to_lowercase(), key.short()),
        key: key.clone(),
        image: spec.id.to_string(),
        target: spec.target.clone(),
        platform: spec.platform.clone(),
        args: spec.args.clone(),
        env_args: spec.env_args.clone(),
        labels: spec.labels.clone(),
        network: spec.network.clone(),
        add_hosts: spec.add_hosts.clone(),
        secrets: spec.secrets.clone(),
        ssh: spec.ssh.clone(),
        contexts: spec.contexts.iter().map(|(name, at)| (name.clone(), at.to_string())).collect(),
        pull: spec.base != BasePolicy::Locked,
        no_cache: cache == BuildCache::Bypass,
    }
}

impl Live<'_> {
    pub(super) async fn build_image(
        &self,
        name: &StepName,
        image: &ImageId,
        cache: BuildCache,
    ) -> Result<String, Failure> {
        let Some(spec) = self.world.file.images.get(image) else {
            return Err(Failure::said(Kind::TaskFile, format!("unknown image `{image}`")));
        };
        let volatile = self.volatile_args(spec).await?;
        let mut current = self.look(spec).await?;
        let mut moved = Vec::new();
        for _ in 0..ATTEMPTS {
            for base in &current.by_name {
                self.note(
                    name,
                    format!("base {base} is not in Docker: followed by name only"),
                    true,
                );
            }
            let generation = self.generation(spec, &current);
            let mut request =
                build_request(self.world, spec, &current.key, generation, &self.run, cache);
            request.args.extend(volatile.clone());
            let built = self.build_once(name, spec, &current, generation, &request).await;
            let after = self.look(spec).await;
            let settled = self.settle(spec, &request, &current, built, after).await?;
            match settled {
                Settled::Done(config, summary) => {
                    return Ok(format!("{} is {} ({summary})", spec.tag, config.short()));
                }
                Settled::Moved(now) => {
                    moved = digest::changed_paths(&current.sources.tree, &now.sources.tree);
                    moved.extend(now.inputs.changed_parts(&current.inputs));
                    self.note(
                        name,
                        format!(
                            "changed while it was built: {}; building again",
                            shortened(&moved)
                        ),
                        false,
                    );
                    current = *now;
                }
            }
        }
        let message = format!(
            "the inputs of `{image}` keep changing while it is built: {}",
            shortened(&moved)
        );
        Err(Failure::said(Kind::Build, message)
            .hint("exclude files that the build itself writes in .dockerignore"))
    }

    async fn look(&self, spec: &ImageSpec) -> Result<Current, Failure> {
        self.world.current(spec).await.map_err(|error| {
            Failure::said(Kind::Build, format!("cannot build `{}`: {}", spec.id, chain(&error)))
        })
    }

    /// The generation to send under: a new one when the builder could not see what changed, or when what it holds is
    /// unknown.
    fn generation(&self, spec: &ImageSpec, current: &Current) -> u64 {
        next_generation(self.world, spec, current)
    }

    async fn build_once(
        &self,
        name: &StepName,
        spec: &ImageSpec,
        current: &Current,
        generation: u64,
        request: &BuildRequest,
    ) -> Result<(ConfigDigest, String), Failure> {
        let internal = |error: std::io::Error| Failure::new(Kind::Internal, error);
        let state = &self.world.state;
        state.record_sent(&spec.id, generation, None).map_err(internal)?;
        link(&spec.context, &request.context).map_err(internal)?;
        state.write_file(&request.dockerfile, &current.sources.dockerfile).map_err(internal)?;
        if let Some(ignore) = &current.sources.ignore {
            let mut path = request.dockerfile.clone().into_os_string();
            path.push(".dockerignore");
            state.write_file(Path::new(&path), ignore).map_err(internal)?;
        }
        let mut told = Told::default();
        let mut reader = ProgressReader::default();
        let status = process::stream(&request.command(), &self.world.interrupt, |from, bytes| {
            if from == Stream::Err {
                for progress in reader.read(bytes) {
                    self.tell(name, &progress);
                    told.take(progress);
                }
            }
        })
        .await;
        let metadata = std::fs::read_to_string(&request.metadata).unwrap_or_default();
        let status = status.map_err(|error| self.builder_error(error))?;
        if !status.success() {
            return Err(told.failure(spec));
        }
        state.record_sent(&spec.id, generation, Some(&current.sources.tree)).map_err(internal)?;
        let config = config_digest(&metadata).ok_or_else(|| {
            Failure::said(Kind::Build, "the builder did not say which image it made")
                .hint("docker buildx version: 0.10 or newer is needed")
        })?;
        Ok((config, format!("{} of {} steps cached", told.cached, told.steps)))
    }

    /// Gives an image whose inputs did not move its public tag; drops the private one in any case.
    async fn settle(
        &self,
        spec: &ImageSpec,
        request: &BuildRequest,
        current: &Current,
        built: Result<(ConfigDigest, String), Failure>,
        after: Result<Current, Failure>,
    ) -> Result<Settled, Failure> {
        let engine = &self.world.engine;
        let outcome = match (built, after) {
            (Err(failure), _) | (Ok(_), Err(failure)) => Err(failure),
            (Ok(_), Ok(after)) if after.key != current.key => Ok(Settled::Moved(Box::new(after))),
            (Ok((config, summary)), Ok(_)) => engine
                .tag(&request.tag, &spec.tag)
                .await
                .map(|()| Settled::Done(config, summary))
                .map_err(|error| Failure::new(Kind::Docker, error)),
        };
        // Left over, it would only be one more name of the same image: no reason to fail.
        let _ = engine.untag(&request.tag).await;
        if let Some(directory) = request.dockerfile.parent() {
            let _ = std::fs::remove_dir_all(directory);
        }
        if let Ok(Settled::Done(config, _)) = &outcome {
            let recorded =
                self.world.state.record_build(&spec.id, &current.key, config, &current.inputs);
            recorded.map_err(|error| Failure::new(Kind::Internal, error))?;
        }
        outcome
    }

    async fn volatile_args(&self, spec: &ImageSpec) -> Result<BTreeMap<String, String>, Failure> {
        let mut values = BTreeMap::new();
        for (name, arg) in &spec.volatile_args {
            let value = match arg {
                VolatileArg::Value(value) => value.clone(),
                VolatileArg::Command(argv) => {
                    let (program, args) =
                        argv.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
                    let command = Command::new(program)
                        .args(args)
                        .directory(&self.world.file.root)
                        .timeout(Duration::from_secs(60));
                    let output = process::output(&command, &self.world.interrupt).await;
                    let output = output.map_err(|error| {
                        Failure::said(
                            Kind::Build,
                            format!("volatile argument {name}: {}", chain(&error)),
                        )
                    })?;
                    output.lines().next().unwrap_or_default().to_owned()
                }
            };
            values.insert(name.clone(), value);
        }
        Ok(values)
    }

    fn tell(&self, name: &StepName, progress: &Progress) {
        match progress {
            Progress::Started(step) if !step.starts_with("[internal]") => {
                self.note(name, step, true)
            }
            Progress::Log(line) => self.note(name, line, true),
            _ => {}
        }
    }

    fn builder_error(&self, error: ProcessError) -> Failure {
        match (self.world.interrupt.signal(), error) {
            (Some(signal), _) => interrupted(signal),
            (None, error) => Failure::new(Kind::Docker, error)
                .hint("install Docker's client with its buildx plug-in"),
        }
    }
}

/// See [`Live::generation`]; a dry run asks the same.
#[must_use]
pub fn next_generation(world: &World, spec: &ImageSpec, current: &Current) -> u64 {
    let (last, sent) = world.state.sent(&spec.id);
    match sent {
        Some(sent) if !digest::hides_a_change(&sent, &current.sources.tree) => last,
        _ => last + 1,
    }
}

enum Settled {
    Done(ConfigDigest, String),
    Moved(Box<Current>),
}

/// The first names of a list that may be long.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Points the alias at the context.
fn link(context: &Path, alias: &Path) -> std::io::Result<()> {
    let context = context.canonicalize()?;
    if std::fs::read_link(alias).is_ok_and(|target| target == context) {
        return Ok(());
    }
    let directory = alias.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    match std::fs::remove_file(alias) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(context, alias)
}

/// What a build told, as far as its end needs it.
#[derive(Default)]
struct Told {
    steps: usize,
    cached: usize,
    last: VecDeque<String>,
    errors: Vec<String>,
}

impl Told {
    fn take(&mut self, progress: Progress) {
        match progress {
            Progress::Started(_) => {}
            Progress::Finished { name, cached }
                if name.starts_with('[') && !name.starts_with("[internal]") =>
            {
                self.steps += 1;
                self.cached += usize::from(cached);
            }
            Progress::Finished { .. } => {}
            Progress::Log(line) => {
                self.last.push_back(line);
                if self.last.len() > LAST_LINES {
                    self.last.pop_front();
                }
            }
            Progress::Error(text) => self.errors.push(text),
        }
    }

    fn failure(self, spec: &ImageSpec) -> Failure {
        let lines: Vec<String> = self.last.into_iter().chain(self.errors).collect();
        let message = format!(
            "building `{}` from {} failed:\n{}",
            spec.id,
            spec.dockerfile.display(),
            lines.join("\n")
        );
        let failure = Failure::said(Kind::Build, message);
        // What Docker's client says where the plug-in is missing: unknown command, unknown flag, not a docker command.
        let missing = ["unknown command", "unknown flag", "is not a docker command"];
        if lines.iter().any(|line| missing.iter().any(|words| line.contains(words))) {
            return Failure { kind: Kind::Docker, ..failure }.hint(
                "install Docker's buildx plug-in; docker buildx version tells whether it is there",
            );
        }
        failure
    }
}
