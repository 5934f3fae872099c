//! One verb per file. The only place that wires the stages together. May use all.

use std::path::{Path, PathBuf};

use crate::adapters::docker::{Address, DockerError, Engine};
use crate::adapters::docker_config;
use crate::cli::{App, ClusterVerb, ColorChoice, Environment, IgnoreVerb, Strategy, Verb};
use crate::digest::Surroundings;
use crate::error::{Failure, Kind};
use crate::execute::interrupted;
use crate::facts::gather::{Memory, World};
use crate::facts::record::State;
use crate::interrupt::Interrupt;
use crate::names::ImageId;
use crate::report::{Ui, print_list};
use crate::taskfile::model::{BuildCache, LoadStrategy, Step, Task, TaskFile, When};
use crate::taskfile::{self, LoadError, nearest};

mod clean;
mod cluster;
mod completions;
mod ignore;
mod run;
mod status;
mod why;

/// What every command gets.
pub(crate) struct Context {
    pub(crate) app: App,
    pub(crate) environment: Environment,
    pub(crate) ui: Ui,
    /// The command only asks, so nothing may be written.
    pub(crate) asks_only: bool,
}

/// How to speak, by the command line and the environment.
#[must_use]
pub fn ui(app: &App, environment: &Environment) -> Ui {
    let color = match app.global.color {
        ColorChoice::Auto => environment.color,
        ColorChoice::Always => true,
        ColorChoice::Never => false,
    };
    Ui {
        color,
        json: app.global.json,
        quiet: app.global.quiet,
        verbose: app.global.verbose,
        explains: matches!(
            &app.command,
            Some(Verb::Load(loads) | Verb::LoadIfNeeded(loads)) if loads.explain
        ),
        draws: environment.draws && !app.global.json && !app.global.verbose,
        github: environment.github,
    }
}

/// Carries out the command line.
///
/// # Errors
/// The failure to report and exit with.
pub fn dispatch(app: App, environment: Environment) -> Result<(), Failure> {
    let ui = ui(&app, &environment);
    let mut context = Context { app, environment, ui, asks_only: false };
    let verb = context.app.command.take();
    context.asks_only = matches!(
        verb,
        Some(Verb::CacheStatus(_) | Verb::Why { .. } | Verb::Cluster(ClusterVerb::Status))
    );
    if let Some(Verb::Completions { shell }) = verb {
        completions::print(ui, shell);
        return Ok(());
    }
    let mut file = context.task_file()?;
    if let Some(Verb::Load(loads) | Verb::LoadIfNeeded(loads)) = &verb {
        file.load = loads.strategy.map_or(file.load, strategy);
        file.cluster.only.clone_from(&loads.nodes);
    }
    let file = file;
    let Some(verb) = verb.filter(|_| !context.app.global.list) else {
        print_list(ui, &file);
        return Ok(());
    };
    let ad_hoc = |name: &str, images: &[String], step: fn(ImageId) -> Step| {
        let steps = select(&file, images)?.into_iter().map(step).collect();
        Ok::<_, Failure>(run::Request { name: name.to_owned(), steps, extra: Vec::new() })
    };
    let request = match &verb {
        Verb::Test { tier, extra } => named(&file, &[format!("test-{tier}")], extra)?,
        Verb::Run { tasks, extra } => named(&file, tasks, extra)?,
        Verb::Build(list) => {
            ad_hoc("build", &list.images, |image| build(image, When::Always, BuildCache::Use))?
        }
        Verb::BuildIfNeeded(list) => ad_hoc("build-if-needed", &list.images, |image| {
            build(image, When::IfNeeded, BuildCache::Use)
        })?,
        Verb::Rebuild(list) => {
            ad_hoc("rebuild", &list.images, |image| build(image, When::Always, BuildCache::Bypass))?
        }
        Verb::Load(list) => {
            ad_hoc("load", &list.images, |image| Step::Load { image, when: When::Always })?
        }
        Verb::LoadIfNeeded(list) => ad_hoc("load-if-needed", &list.images, |image| Step::Load {
            image,
            when: When::IfNeeded,
        })?,
        Verb::Cluster(what) => {
            return context.block_on(file, async |c, w| cluster::cluster(c, w, *what).await);
        }
        Verb::CacheStatus(list) => {
            let images = select(&file, &list.images)?;
            return context.block_on(file, async |c, w| status::status(c, w, &images).await);
        }
        Verb::Why { images, between: None } => {
            let images = select(&file, images)?;
            return context.block_on(file, async |c, w| why::why(c, w, &images).await);
        }
        Verb::Why { images, between: Some(keys) } => {
            return why::between(&context, &file, images, keys);
        }
        Verb::Ignore(IgnoreVerb::Explain { paths, image, context: name }) => {
            return ignore::explain(ui, &file, image.as_deref(), name.as_deref(), paths);
        }
        Verb::Clean { what, yes } => {
            return context.block_on(file, async |c, w| {
                until_interrupted(&w.interrupt, clean::clean(c, w, *what, *yes)).await?
            });
        }
        // Both were dealt with before the task file was read.
        Verb::Task(_) | Verb::Completions { .. } => return Ok(()),
    };
    context.block_on(file, async |c, w| run::run(c, w, request).await)
}

fn strategy(word: Strategy) -> LoadStrategy {
    match word {
        Strategy::Auto => LoadStrategy::Auto,
        Strategy::PushAndPull => LoadStrategy::PushAndPull,
        Strategy::PushAndImport => LoadStrategy::PushAndImport,
        Strategy::Archive => LoadStrategy::Archive,
        Strategy::Registry => LoadStrategy::Registry,
    }
}

fn build(image: ImageId, when: When, cache: BuildCache) -> Step {
    Step::Build { image, when, cache }
}

/// Tasks, one behind the other.
fn named(file: &TaskFile, names: &[String], extra: &[String]) -> Result<run::Request, Failure> {
    let mut steps = Vec::new();
    for name in names {
        steps.extend_from_slice(&task(file, name)?.steps);
    }
    Ok(run::Request { name: names.join(" "), steps, extra: extra.to_vec() })
}

fn task<'a>(file: &'a TaskFile, name: &str) -> Result<&'a Task, Failure> {
    file.tasks.get(name).ok_or_else(|| {
        let failure = Failure::said(Kind::Usage, format!("no task or command `{name}`"));
        let commands =
            ["test", "run", "build", "load", "cluster", "cache-status", "why", "ignore", "clean"];
        let known = file.tasks.keys().map(String::as_str).chain(commands);
        let failure = match nearest(name, known) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure,
        };
        failure.hint("tg --list shows the tasks, tg --help the commands")
    })
}

/// The images that names stand for; all that are no variants when there are no names.
fn select(file: &TaskFile, names: &[String]) -> Result<Vec<ImageId>, Failure> {
    if names.is_empty() {
        return Ok(file.images.keys().filter(|id| id.variant.is_none()).cloned().collect());
    }
    let known: Vec<String> = file.images.keys().map(ToString::to_string).collect();
    names
        .iter()
        .map(|name| {
            file.images.keys().find(|id| id.to_string() == *name).cloned().ok_or_else(|| {
                let failure =
                    Failure::said(Kind::Usage, format!("no image `{name}` in the task file"));
                match nearest(name, known.iter().map(String::as_str)) {
                    Some(near) => failure.hint(format!("did you mean `{near}`?")),
                    None => failure.hint(format!("defined: {}", known.join(", "))),
                }
            })
        })
        .collect()
}

impl Context {
    fn task_file(&self) -> Result<TaskFile, Failure> {
        let global = &self.app.global;
        let here = std::env::current_dir().map_err(|error| Failure::new(Kind::Internal, error))?;
        let start =
            global.directory.as_ref().map_or(here.clone(), |directory| here.join(directory));
        // Without `..` components: the directories above `a/..` do not begin with `a`.
        let start = start.canonicalize().unwrap_or(start);
        // A variable that is set to nothing is as one that is not set.
        let explicit = global.file.as_deref().filter(|path| !path.is_empty()).map(Path::new);
        let loaded = taskfile::locate(explicit, &start).and_then(|path| taskfile::load(&path));
        let mut file = loaded.map_err(|error| {
            let missing = matches!(error, LoadError::NotFound { .. });
            let failure = Failure::new(Kind::TaskFile, error);
            if missing { failure.hint("write one, or name one with --file") } else { failure }
        })?;
        if let Some(name) = global.cluster.as_ref().filter(|name| !name.is_empty()) {
            if !taskfile::is_cluster_name(name) {
                return Err(Failure::said(
                    Kind::Usage,
                    format!("`{name}` is not a name that Kind accepts"),
                ));
            }
            file.cluster.name.clone_from(name);
        }
        if let Some(image) = global.node_image.as_ref().filter(|image| !image.is_empty()) {
            file.cluster.node_image = Some(image.clone());
        }
        // It decides what the builder makes, so it belongs into the key like a platform that is written down.
        for spec in file.images.values_mut().filter(|spec| spec.platform.is_none()) {
            spec.platform.clone_from(&self.environment.platform);
        }
        Ok(file)
    }

    /// Connects to Docker and runs a command on it. The first signal ends the connecting, and whatever the command lets
    /// it end; a second one ends everything, also a call to an engine that does not answer.
    fn block_on(
        &self,
        file: TaskFile,
        command: impl AsyncFnOnce(&Self, &World) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let internal = |error: std::io::Error| Failure::new(Kind::Internal, error);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(internal)?;
        let result = runtime.block_on(async {
            let interrupt = Interrupt::listen().map_err(internal)?;
            let world = until_interrupted(&interrupt, self.world(file, &interrupt)).await??;
            tokio::select! {
                result = command(self, &world) => result,
                () = interrupt.insisted() => Err(interrupted(interrupt.signal().unwrap_or(2))),
            }
        });
        // A walk through a large tree that nobody waits for any more must not keep the process.
        runtime.shutdown_background();
        result
    }

    fn memory(&self) -> Memory {
        let global = &self.app.global;
        match (global.verify, global.dry_run || self.asks_only) {
            (false, false) => Memory::Renew,
            (false, true) => Memory::ReadOnly,
            (true, false) => Memory::Verify,
            (true, true) => Memory::VerifyReadOnly,
        }
    }

    async fn world(&self, file: TaskFile, interrupt: &Interrupt) -> Result<World, Failure> {
        let provider = self.environment.provider.as_deref();
        if let Some(provider) = provider.filter(|name| *name != "docker") {
            let message =
                format!("KIND_EXPERIMENTAL_PROVIDER={provider}: tg works with Docker only");
            return Err(
                Failure::said(Kind::Cluster, message).hint("unset KIND_EXPERIMENTAL_PROVIDER")
            );
        }
        let address = Address {
            host: self.environment.docker_host.clone(),
            context: self.environment.docker_context.clone(),
            config: self.environment.docker_config.clone(),
        };
        let state = State::new(self.environment.state.clone(), &file.path);
        let met = |fingerprint: &str| state.platform(fingerprint);
        let engine = Engine::connect(&address, interrupt, met).await.map_err(no_docker)?;
        if let Some(fingerprint) = engine.fingerprint().filter(|known| met(known).is_none())
            && self.memory().is_renewed()
        {
            // Without it the engine is asked again.
            let _ = state.record_platform(fingerprint, engine.platform());
        }
        let docker = self.environment.docker_config.clone().unwrap_or_default();
        let variable = |name| self.environment.variables.get(name);
        let buildx = variable("BUILDX_CONFIG").map_or(docker.join("buildx"), PathBuf::from);
        let chosen = variable("BUILDX_BUILDER").map(String::as_str);
        let builder = docker_config::builder(&buildx, chosen, engine.host());
        let builds_in_engine = docker_config::builds_in_engine(&buildx, &builder);
        let surroundings = Surroundings {
            variables: self.environment.variables.clone(),
            proxies: docker_config::proxies(&docker, engine.host()),
            platform: engine.platform().to_owned(),
            builder: (!builds_in_engine).then(|| builder.clone()),
        };
        let memory = self.memory();
        let interrupt = interrupt.clone();
        Ok(World {
            file,
            engine,
            state,
            interrupt,
            surroundings,
            builder,
            builds_in_engine,
            memory,
        })
    }
}

/// The result of some work, unless a signal comes first. For work that leaves nothing behind when it is dropped.
async fn until_interrupted<T>(
    interrupt: &Interrupt,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    tokio::select! {
        result = work => Ok(result),
        () = interrupt.requested() => Err(interrupted(interrupt.signal().unwrap_or(2))),
    }
}

fn no_docker(error: DockerError) -> Failure {
    let text = format!("{:#}", anyhow::Error::new(error));
    let hint = if text.contains("ermission denied") {
        "your user may not use the socket: add it to the docker group, or set DOCKER_HOST"
    } else {
        "start Docker, or set DOCKER_HOST or DOCKER_CONTEXT to a running engine; docker info tells more"
    };
    Failure::said(Kind::Docker, text).hint(hint)
}
