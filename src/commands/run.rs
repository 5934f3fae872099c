//! Runs steps: gather → plan → execute → report; or shows the plan.

use std::num::NonZeroUsize;

use super::{Context, until_interrupted};
use crate::adapters::{cargo, cluster};
use crate::error::{Failure, Kind};
use crate::execute::live::{Live, build_request, next_generations, sweep};
use crate::execute::{self, Run};
use crate::facts::gather::World;
use crate::facts::{Facts, Known, Lacking};
use crate::names::ImageId;
use crate::plan::{Decision, Plan, Planned, expand, plan};
use crate::report::event::{Emitter, Event};
use crate::report::{Timeline, print_plan, reporter};
use crate::taskfile::model::{ClusterAction, Step, VolatileArg};
use crate::taskfile::nearest;

/// What to run.
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) extra: Vec<String>,
}

pub(crate) async fn run(context: &Context, world: &World, request: Request) -> Result<(), Failure> {
    let global = &context.app.global;
    // The first failure stops what else is under way, and nothing but this run.
    let world = &World { interrupt: world.interrupt.child(), ..world.clone() };
    let emitter = Emitter::new(told_to(context)?);
    let steps = expand(&world.file, &request.steps);
    check_nodes(world).await?;
    let facts = async {
        let loads = steps.iter().any(|step| matches!(step, Step::Load { .. }));
        let sweep = async {
            if loads && !global.dry_run {
                sweep(world).await;
            }
        };
        tokio::join!(world.gather(&steps), sweep).0
    };
    let facts = until_interrupted(&world.interrupt, facts).await?;
    let plan = plan(&request.name, &world.file, &request.steps, &facts, global.force);
    let id = run_id();
    if global.dry_run {
        let mut lines = Vec::new();
        for planned in &plan.steps {
            lines.push(commands(world, planned, &id, &request.extra).await);
        }
        let forecasts = forecasts(&plan, &facts, context.ui.explains);
        print_plan(context.ui, &plan, &world.file, &lines, &forecasts);
        return Ok(());
    }
    let images: Vec<ImageId> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Build { image, .. } | Step::Load { image, .. } => Some(image.clone()),
            _ => None,
        })
        .collect();
    let live = Live {
        world,
        emitter: &emitter,
        run: id.clone(),
        command: plan.name.clone(),
        images,
        extra: request.extra,
        color: context.ui.color,
        compiling: tokio::sync::Mutex::default(),
    };
    let run = Run {
        file: &world.file,
        facts: &facts,
        force: global.force,
        keep_going: global.keep_going,
        jobs: global.jobs.map_or_else(processors, NonZeroUsize::get),
        id,
        interrupt: &world.interrupt,
        emitter: &emitter,
    };
    execute::execute(&plan, &run, &live).await
}

/// Who hears what happens: the reporter, and the timeline where one is asked for.
fn told_to(context: &Context) -> Result<Box<dyn FnMut(Event) + Send>, Failure> {
    let (ui, mut lines) = (context.ui, reporter(context.ui));
    let Some(path) = context.app.global.timeline.clone() else { return Ok(lines) };
    if !Timeline::is_known(&path) {
        let message = format!("a timeline is a .svg or a .json, not {}", path.display());
        return Err(Failure::said(Kind::Usage, message));
    }
    let mut timeline = Timeline::new(path.clone());
    Ok(Box::new(move |event| {
        let written = timeline.take(&event);
        lines(event);
        if let Err(error) = written {
            ui.say(&format!("cannot write {}: {error}", path.display()));
        }
    }))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, NonZeroUsize::get)
}

/// What loads would move, where it is asked for and known: an image that is yet to be built has no layers.
fn forecasts(plan: &Plan, facts: &Facts, explains: bool) -> Vec<Option<Vec<Lacking>>> {
    let is_built = |id: &ImageId| {
        plan.steps.iter().any(|planned| {
            matches!(&planned.step, Step::Build { image, .. } if image == id)
                && matches!(planned.decision, Decision::Run { .. })
        })
    };
    let forecast = |planned: &Planned| {
        let Step::Load { image, .. } = &planned.step else { return None };
        let Known::Yes(Some(host)) = &facts.images.get(image)?.host else { return None };
        (explains && !is_built(image)).then(|| Lacking::of(host, &facts.nodes))
    };
    plan.steps.iter().map(forecast).collect()
}

/// Refuses nodes that the cluster does not have.
async fn check_nodes(world: &World) -> Result<(), Failure> {
    let cluster = &world.file.cluster;
    if cluster.only.is_empty() {
        return Ok(());
    }
    let nodes = world.engine.nodes(&cluster.name).await;
    let nodes = nodes.map_err(|error| Failure::new(Kind::Docker, error))?;
    let names = || nodes.iter().map(|node| node.name.as_str());
    for word in &cluster.only {
        if names().any(|node| cluster.means(word, node)) {
            continue;
        }
        let failure =
            Failure::said(Kind::Usage, format!("cluster `{}` has no node `{word}`", cluster.name));
        let roles =
            || names().filter_map(|node| node.strip_prefix(&cluster.name)?.strip_prefix('-'));
        return Err(match nearest(word, names().chain(roles())) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint(format!("it has: {}", names().collect::<Vec<_>>().join(", "))),
        });
    }
    Ok(())
}

/// Unique enough for names that live as long as a run: the time and the process.
fn run_id() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{:x}{:04x}", now.as_millis() & 0xff_ffff_ffff, std::process::id() & 0xffff)
}

/// The command lines of a step, exactly as a run would start them.
async fn commands(world: &World, planned: &Planned, id: &str, extra: &[String]) -> Vec<String> {
    let Decision::Run { nodes, .. } = &planned.decision else {
        return Vec::new();
    };
    let (file, kubeconfig) = (&world.file, world.state.kubeconfig(&world.file.cluster.name));
    match &planned.step {
        Step::Build { image, cache, .. } => {
            let Some(spec) = file.images.get(image) else {
                return Vec::new();
            };
            let Ok(current) = world.current(spec).await else {
                return Vec::new();
            };
            let generations = next_generations(world, spec, &current, *cache).await;
            let mut request = build_request(world, spec, &current, &generations, id, *cache);
            for (name, arg) in &spec.volatile_args {
                let value = match arg {
                    VolatileArg::Value(value) => value.clone(),
                    VolatileArg::Command(argv) => format!("$({})", shell_words::join(argv)),
                };
                request.args.insert(name.clone(), value);
            }
            vec![request.command().to_string()]
        }
        Step::Load { image, .. } => {
            let Some(spec) = file.images.get(image) else {
                return Vec::new();
            };
            let into = |node: &String| {
                format!(
                    "docker save {} | docker exec -i {node} ctr --namespace=k8s.io images import -",
                    spec.tag
                )
            };
            nodes.iter().map(into).collect()
        }
        Step::Cluster(ClusterAction::Ensure) => {
            let (config, image) =
                (file.cluster.config.as_deref(), file.cluster.node_image.as_deref());
            vec![
                cluster::create_command(&file.cluster.name, &kubeconfig, config, image).to_string(),
            ]
        }
        Step::Cluster(ClusterAction::Delete | ClusterAction::DeleteBroken) => {
            vec![cluster::delete_command(&file.cluster.name, &kubeconfig).to_string()]
        }
        Step::Compile(test) => vec![cargo::compile_command(test, &file.root).to_string()],
        Step::CargoTest(test) => {
            let command = cargo::command(test, &file.root, extra);
            vec![command.env("KUBECONFIG", kubeconfig.into_os_string()).to_string()]
        }
        Step::Run { argv } => vec![shell_words::join(argv)],
        Step::Task(_) => Vec::new(),
    }
}
