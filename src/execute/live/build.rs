//! Building so that the built bytes are the hashed bytes: an aliased context with generations, a private tag, a second look.
//! Depends on: facts, adapters, digest, report::event, error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::told::Told;
use super::transfer::{Generations, Transfer};
use super::{Live, next_generations};
use crate::adapters::buildx::{BuildRequest, Progress, ProgressReader, config_digest};
use crate::adapters::process::{self, Command, ProcessError, Stream};
use crate::digest::change::{Touched, between_manifests, touched};
use crate::digest::tree::MAIN;
use crate::error::{Failure, Kind};
use crate::execute::interrupted;
use crate::facts::gather::{World, chain};
use crate::facts::inputs::Current;
use crate::names::{ConfigDigest, ImageId};
use crate::report::event::StepName;
use crate::taskfile::model::{BuildCache, ContextSource, ImageSpec, SecretSource, VolatileArg};

/// How often a build is begun when files change under it.
const ATTEMPTS: usize = 3;

/// The request for one build, as a dry run shows it and a real run makes it. Volatile arguments are added by the latter.
#[must_use]
pub fn build_request(
    world: &World,
    spec: &ImageSpec,
    current: &Current,
    generations: &Generations,
    run: &str,
    cache: BuildCache,
) -> BuildRequest {
    let Current { key, sources, .. } = current;
    // The builder names its copy of a Dockerfile after the directory and compares it by size and time, too; so the
    // directory is named after what is in it.
    let directory = world.state.build_directory(&spec.id);
    let digest = sources.build_files_digest();
    let own = directory.join(format!("{}-{}", spec.id, &digest[..12]));
    BuildRequest {
        context: alias(world, spec, MAIN, generations),
        dockerfile: own.join("Dockerfile"),
        metadata: directory.join(format!("{run}.json")),
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
        contexts: contexts(world, spec, current, generations),
        // Only where nobody could say what a base is: otherwise it is told in `contexts`, or in Docker.
        pull: !current.unknown_bases.is_empty(),
        no_cache: cache == BuildCache::Bypass,
    }
}

/// The sources of named contexts: aliases for local ones, and for a base image that a registry told the digest of just
/// that digest, so that what is built on is what is in the key.
fn contexts(
    world: &World,
    spec: &ImageSpec,
    current: &Current,
    generations: &Generations,
) -> BTreeMap<String, String> {
    let pinned = |reference: &str| {
        let digest = current.pins.get(reference)?;
        Some(format!("docker-image://{reference}@{digest}"))
    };
    let named = spec.contexts.iter().map(|(name, source)| {
        let text = match source {
            ContextSource::Local(_) => alias(world, spec, name, generations).display().to_string(),
            ContextSource::Image(reference) => {
                pinned(reference).unwrap_or_else(|| source.to_string())
            }
            other => other.to_string(),
        };
        (name.clone(), text)
    });
    let bases = current.sources.external.images.keys();
    let bases = bases.filter_map(|reference| Some((reference.clone(), pinned(reference)?)));
    bases.chain(named).collect()
}

fn alias(world: &World, spec: &ImageSpec, context: &str, generations: &Generations) -> PathBuf {
    let generation = generations.get(context).copied().unwrap_or_default();
    world.state.alias(&spec.id, context, generation)
}

impl Live<'_> {
    pub(super) async fn build_image(
        &self,
        name: &StepName,
        image: &ImageId,
        cache: BuildCache,
        is_forced: bool,
    ) -> Result<String, Failure> {
        let Some(spec) = self.world.file.images.get(image) else {
            return Err(Failure::said(Kind::TaskFile, format!("unknown image `{image}`")));
        };
        self.check_secrets(spec)?;
        // Both would use one set of aliases.
        let lock = self.world.state.build_lock(&spec.id);
        let held = self.lock(name, lock, &format!("builds `{image}`")).await?;
        if held.waited
            && !is_forced
            && let Some(built) = self.is_built(image).await
        {
            return Ok(built);
        }
        let volatile = self.volatile_args(spec).await?;
        let mut current = self.look(spec).await?;
        let mut moved = Vec::new();
        let mut attempt = 1;
        while attempt <= ATTEMPTS {
            for note in &current.notes {
                self.note(name, note, false);
            }
            let generations = next_generations(self.world, spec, &current, cache).await;
            let mut request =
                build_request(self.world, spec, &current, &generations, &self.run, cache);
            request.args.extend(volatile.clone());
            let built = self.build_once(name, spec, &current, &generations, &request).await;
            let last = attempt == ATTEMPTS;
            match self.settle(spec, &request, &current, built, last).await? {
                Settled::Done(config, summary) => {
                    return Ok(format!("{} is {} ({summary})", spec.tag, config.short()));
                }
                Settled::Moved(now, what) => {
                    let what_short = shortened(&what);
                    let text = format!("changed while it was built: {what_short}; building again");
                    self.note(name, text, false);
                    (current, moved) = (*now, what);
                    attempt += 1;
                    if self.compiling.try_lock().is_err() {
                        let text =
                            "waiting until the tests are compiled: that may be what writes there";
                        self.note(name, text, false);
                        drop(self.compiling.lock().await);
                        attempt -= 1;
                        current = self.look(spec).await?;
                    }
                }
            }
        }
        let message = format!(
            "the inputs of `{image}` keep changing while it is built: {}",
            shortened(&moved)
        );
        let state = self.world.state.base();
        let inside = state.canonicalize().is_ok_and(|state| {
            spec.context.canonicalize().is_ok_and(|context| state.starts_with(context))
        });
        let hint = match inside {
            true => {
                "tg's own records are in the context: exclude them in .dockerignore, or set TG_STATE_DIR"
            }
            false => "exclude files that the build itself writes in .dockerignore",
        };
        Err(Failure::said(Kind::Build, message).hint(hint))
    }

    async fn look(&self, spec: &ImageSpec) -> Result<Current, Failure> {
        self.world.current(spec).await.map_err(|error| {
            Failure::said(Kind::Build, format!("cannot build `{}`: {}", spec.id, chain(&error)))
        })
    }

    async fn build_once(
        &self,
        name: &StepName,
        spec: &ImageSpec,
        current: &Current,
        generations: &Generations,
        request: &BuildRequest,
    ) -> Result<Attempt, Failure> {
        self.write_build_files(request, current)?;
        let transfer = self.begin_transfer(spec, generations).await?;
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
        let _ = std::fs::remove_file(&request.metadata);
        let status = status.map_err(|error| self.builder_error(error))?;
        let arrived = told.all_arrived().then(|| (told.arrived.clone(), told.copies));
        let result = match (status.success(), config_digest(&metadata)) {
            (false, _) => Err(told.failure(spec)),
            (true, Some(config)) => {
                Ok((config, format!("{} of {} steps cached", told.cached, told.steps)))
            }
            (true, None) => {
                let failure =
                    Failure::said(Kind::Build, "the builder did not say which image it made");
                Err(failure.hint("docker buildx version: 0.10 or newer is needed"))
            }
        };
        Ok(Attempt { result, transfer, arrived })
    }

    /// Writes the copies of the Dockerfile and the ignore file that were hashed, and drops those of other times.
    fn write_build_files(&self, request: &BuildRequest, current: &Current) -> Result<(), Failure> {
        let internal = |error: std::io::Error| Failure::new(Kind::Internal, error);
        let state = &self.world.state;
        state.write_file(&request.dockerfile, &current.sources.dockerfile).map_err(internal)?;
        if let Some(ignore) = &current.sources.ignore {
            let mut path = request.dockerfile.clone().into_os_string();
            path.push(".dockerignore");
            state.write_file(Path::new(&path), ignore).map_err(internal)?;
        }
        if let Some(own) = request.dockerfile.parent() {
            drop_old(own);
        }
        Ok(())
    }

    /// Looks at the inputs again and gives an image whose inputs nobody touched its public tag; drops the private one in any
    /// case.
    async fn settle(
        &self,
        spec: &ImageSpec,
        request: &BuildRequest,
        current: &Current,
        built: Result<Attempt, Failure>,
        last: bool,
    ) -> Result<Settled, Failure> {
        let outcome = self.settled(spec, request, current, built, last).await;
        // Left over, it would only be one more name of the same image: no reason to fail.
        let _ = self.world.engine.untag(&request.tag).await;
        if let Ok(Settled::Done(config, _)) = &outcome {
            let recorded = self.world.state.record_build(&spec.id, config, &current.manifest());
            recorded.map_err(|error| Failure::new(Kind::Internal, error))?;
        }
        outcome
    }

    async fn settled(
        &self,
        spec: &ImageSpec,
        request: &BuildRequest,
        current: &Current,
        built: Result<Attempt, Failure>,
        last: bool,
    ) -> Result<Settled, Failure> {
        let Attempt { result, transfer, arrived } = built?;
        let after = self.look(spec).await;
        let moved = after.as_ref().ok().map(|after| moved_between(current, after));
        // What a build that fails later on was sent is there all the same; but while files moved, nobody knows what was sent.
        if let (Some((arrived, copies)), true) =
            (arrived, moved.as_ref().is_some_and(Moved::is_nothing))
        {
            self.end_transfer(spec, transfer, current, &arrived, copies).await?;
        }
        let (config, summary) = result?;
        let (after, moved) = (after?, moved.unwrap_or_default());
        // Something is written into an ignored corner all the time, most likely: that must not keep the image for ever.
        let accepted = moved.is_nothing() || (last && moved.only_directories);
        if !accepted {
            return Ok(Settled::Moved(Box::new(after), moved.what));
        }
        let tagged = self.world.engine.tag(&request.tag, &spec.tag).await;
        tagged.map_err(|error| Failure::new(Kind::Docker, error))?;
        Ok(Settled::Done(config, summary))
    }

    /// The builder takes a variable that is not set for an empty secret, without a word.
    fn check_secrets(&self, spec: &ImageSpec) -> Result<(), Failure> {
        for (id, source) in &spec.secrets {
            if let SecretSource::Env(variable) = source
                && !self.world.surroundings.variables.contains_key(variable)
            {
                let message =
                    format!("secret `{id}` of `{}` is in {variable}, which is not set", spec.id);
                return Err(
                    Failure::said(Kind::Build, message).hint(format!("export {variable}=…"))
                );
            }
        }
        Ok(())
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

/// Removes what is beside a directory and was not used for an hour, which no build of another process still needs.
fn drop_old(own: &Path) {
    const HOUR: Duration = Duration::from_secs(3600);
    let siblings = own.parent().and_then(|directory| std::fs::read_dir(directory).ok());
    for sibling in siblings.into_iter().flatten().flatten().filter(|s| s.path() != own) {
        let age = sibling.metadata().ok().and_then(|m| m.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age > HOUR) {
            // Left over, it would only take a little space.
            let _ = std::fs::remove_dir_all(sibling.path());
        }
    }
}

/// How a call of the builder ended.
struct Attempt {
    result: Result<(ConfigDigest, String), Failure>,
    transfer: Transfer,
    /// The contexts that the builder has now, and how many copies it made, if all that it asked for arrived.
    arrived: Option<(BTreeSet<String>, usize)>,
}

enum Settled {
    Done(ConfigDigest, String),
    /// The inputs as they are now, and what of them moved.
    Moved(Box<Current>, Vec<String>),
}

/// What moved between two looks.
#[derive(Default)]
struct Moved {
    what: Vec<String>,
    /// The key is the same, and so is every file: something came and went, perhaps something that is ignored.
    only_directories: bool,
}

impl Moved {
    fn is_nothing(&self) -> bool {
        self.what.is_empty()
    }
}

/// A file that has its old content again was another one in between, as far as anyone knows; and where a directory was
/// written to, something may have been there in between.
fn moved_between(before: &Current, after: &Current) -> Moved {
    if before.key != after.key {
        let changes = between_manifests(&before.manifest(), &after.manifest());
        let what = changes.iter().map(ToString::to_string).collect();
        return Moved { what, only_directories: false };
    }
    let files = touched(&before.sources.trees, &after.sources.trees, Touched::Files);
    if !files.is_empty() {
        return Moved { what: files, only_directories: false };
    }
    let mut what = touched(&before.sources.trees, &after.sources.trees, Touched::Directories);
    if before.sources.roots != after.sources.roots {
        what.push("the context's own directory (written to)".to_owned());
    }
    Moved { what, only_directories: true }
}

/// The first names of a list that may be long.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
