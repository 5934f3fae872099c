//! Order: what is done, what is looked at again and what is told, with effects that only write down that they were called.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::effects::Effects;
use super::{Run, execute};
use crate::error::{Failure, Kind};
use crate::facts::{ClusterState, Facts, HostImage, ImageFacts, InputFacts, Known, NodeImage};
use crate::interrupt::Interrupt;
use crate::names::{ConfigDigest, ImageId, ImageRef, Key};
use crate::plan::{Decision, Plan, Planned, Reason, order};
use crate::report::event::{Emitter, EventKind, StepName};
use crate::taskfile::model::{
    BuildCache, CargoTest, ClusterAction, ClusterSpec, CreatePolicy, ImageSpec, LoadStrategy, Step,
    TaskFile, When,
};

/// Writes down every call; fails the kind of step it was told to fail; always sees the same world.
struct Recorder<'a> {
    log: RefCell<Vec<String>>,
    facts: Facts,
    fails: Option<(&'static str, Kind)>,
    /// Sends this process a signal while that kind of step is under way.
    signals: Option<(&'static str, &'a Interrupt)>,
    /// These kinds of steps go on when all of them are under way.
    meets: Option<(&'a [&'static str], tokio::sync::Barrier)>,
    /// That kind of step takes until it is stopped.
    lasts: Option<(&'static str, &'a Interrupt)>,
    /// How many builds are under way, and how many were at most.
    builds: Cell<(usize, usize)>,
    keep_going: bool,
}

impl Recorder<'_> {
    fn new() -> Self {
        Self {
            log: RefCell::default(),
            facts: world(&[]),
            fails: None,
            signals: None,
            meets: None,
            lasts: None,
            builds: Cell::default(),
            keep_going: false,
        }
    }

    async fn act(&self, kind: &'static str, line: String) -> Result<String, Failure> {
        self.log.borrow_mut().push(line);
        if let Some((_, interrupt)) = self.signals.filter(|(signalled, _)| *signalled == kind) {
            raise_hangup(interrupt).await;
        }
        if let Some((_, barrier)) = self.meets.as_ref().filter(|(kinds, _)| kinds.contains(&kind)) {
            barrier.wait().await;
        }
        if let Some((_, interrupt)) = self.lasts.filter(|(lasting, _)| *lasting == kind) {
            interrupt.requested().await;
            return Err(Failure::said(Kind::Child(127), "interrupted"));
        }
        match self.fails {
            Some((failing, failure)) if failing == kind => {
                Err(Failure::said(failure, format!("{kind} went wrong")).hint("look"))
            }
            _ => Ok(format!("{kind} went well")),
        }
    }
}

impl Effects for Recorder<'_> {
    async fn observe(&self, step: &Step) -> Facts {
        self.log.borrow_mut().push(format!("observe {} {}", step.kind(), step.object()));
        self.facts.clone()
    }

    async fn build(
        &self,
        _: &StepName,
        image: &ImageId,
        cache: BuildCache,
        _: bool,
    ) -> Result<String, Failure> {
        let (under_way, most) = self.builds.get();
        self.builds.set((under_way + 1, most.max(under_way + 1)));
        tokio::task::yield_now().await;
        let built = self.act("build", format!("build {image} {cache:?}")).await;
        let (under_way, most) = self.builds.get();
        self.builds.set((under_way - 1, most));
        built
    }

    async fn load(
        &self,
        _: &StepName,
        image: &ImageId,
        nodes: &[String],
        _: &Facts,
    ) -> Result<String, Failure> {
        self.act("load", format!("load {image} on {}", nodes.join("+"))).await
    }

    async fn cluster(&self, _: &StepName, action: ClusterAction) -> Result<String, Failure> {
        self.act("cluster", format!("cluster {action:?}")).await
    }

    async fn compile(&self, _: &StepName, test: &CargoTest) -> Result<String, Failure> {
        self.act("compile", format!("compile {}", test.test)).await
    }

    async fn test(&self, _: &StepName, test: &CargoTest) -> Result<String, Failure> {
        self.act("cargo-test", format!("test {}", test.test)).await
    }

    async fn command(&self, _: &StepName, argv: &[String]) -> Result<String, Failure> {
        self.act("run", format!("command {}", argv.join(" "))).await
    }
}

/// Every listener of the process hears a signal, so tests that send one take turns.
static HANGUPS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The handler of [`Interrupt::listen`] keeps the signal from ending the test.
async fn raise_hangup(interrupt: &Interrupt) {
    use rustix::process::{Signal, getpid, kill_process};
    kill_process(getpid(), Signal::HUP).unwrap();
    interrupt.requested().await;
}

fn app() -> ImageId {
    ImageId { name: "app".to_owned(), variant: None }
}

/// None of them begins with another.
fn images() -> [ImageId; 3] {
    ["app", "second", "third"].map(|name| ImageId { name: name.to_owned(), variant: None })
}

fn config() -> ConfigDigest {
    ConfigDigest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap()
}

/// Two nodes that have the image `app` of Docker, whose inputs are unchanged, except the nodes that lack it.
fn world(lacking: &[&str]) -> Facts {
    let key = Key::new(format!("tg1:{}", "a".repeat(64)));
    let inputs = InputFacts {
        key: key.clone(),
        built: Some(config()),
        changes: Vec::new(),
        unverifiable: Vec::new(),
        last: None,
        bases: Some(BTreeSet::new()),
        unknown_bases: Vec::new(),
        notes: Vec::new(),
    };
    let host = HostImage {
        config: Some(config()),
        id: config().to_string(),
        layers: Vec::new(),
        chains: Vec::new(),
        is_index: false,
        key: Some(key),
        built_as: Some("app".to_owned()),
        size: 1,
    };
    let has = |node| NodeImage {
        tagged: (!lacking.contains(&node)).then(config),
        is_unpacked: true,
        ..NodeImage::default()
    };
    let nodes = ["n1", "n2"].map(|node| (node.to_owned(), Known::Yes(has(node))));
    let (inputs, host) = (Known::Yes(inputs), Known::Yes(Some(host)));
    let image = ImageFacts { inputs, host, nodes: nodes.into() };
    let nodes_up = vec!["n1".to_owned(), "n2".to_owned()];
    Facts {
        images: images().map(|id| (id, image.clone())).into(),
        cluster: Known::Yes(ClusterState::Ready { nodes: nodes_up }),
        nodes: BTreeMap::new(),
    }
}

fn build() -> Step {
    Step::Build { image: app(), when: When::IfNeeded, cache: BuildCache::Use }
}

fn load() -> Step {
    Step::Load { image: app(), when: When::IfNeeded }
}

fn ensure() -> Step {
    Step::Cluster(ClusterAction::Ensure)
}

fn test() -> Step {
    Step::CargoTest(CargoTest { test: "it".to_owned(), ..CargoTest::default() })
}

fn command() -> Step {
    Step::Run { argv: vec!["echo".to_owned(), "hi".to_owned()] }
}

fn runs(step: Step, reason: Reason) -> Planned {
    let nodes = Vec::new();
    Planned { step, decision: Decision::Run { reason, nodes }, after: Vec::new() }
}

fn skips(step: Step, reason: Reason) -> Planned {
    Planned { step, decision: Decision::Skip(reason), after: Vec::new() }
}

fn blocked(step: Step, reason: Reason) -> Planned {
    Planned { step, decision: Decision::Blocked(reason), after: Vec::new() }
}

fn spec(id: ImageId) -> ImageSpec {
    let tag = ImageRef::parse(&format!("{}:test", id.name)).unwrap();
    ImageSpec::new(id, tag, "/project".into(), "/project/Dockerfile".into())
}

fn file() -> TaskFile {
    TaskFile {
        path: PathBuf::from("/project/tasks.toml"),
        root: PathBuf::from("/project"),
        cluster: ClusterSpec {
            name: "my-kind".to_owned(),
            config: None,
            node_image: None,
            create: CreatePolicy::IfMissing,
            only: Vec::new(),
        },
        load: LoadStrategy::Auto,
        images: images().map(|id| (id.clone(), spec(id))).into(),
        tasks: BTreeMap::new(),
    }
}

/// How a run went: its result, the calls and the events, each as a line.
struct Went {
    result: Result<(), Failure>,
    calls: Vec<String>,
    events: Vec<String>,
    /// How many images were built at the same time, at most.
    builds: usize,
}

impl Went {
    fn failure(self) -> Failure {
        self.result.unwrap_err()
    }
}

async fn go(steps: &[Planned], effects: Recorder<'_>, interrupt: &Interrupt) -> Went {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let emitter = Emitter::new(move |event| sink.lock().unwrap().extend(line(event.kind)));
    let file = file();
    let (facts, id) = (&world(&[]), "r1".to_owned());
    let keep_going = effects.keep_going;
    let run = Run {
        file: &file,
        facts,
        force: false,
        keep_going,
        jobs: 2,
        id,
        interrupt,
        emitter: &emitter,
    };
    let mut steps = steps.to_vec();
    let all: Vec<Step> = steps.iter().map(|planned| planned.step.clone()).collect();
    for (planned, after) in steps.iter_mut().zip(order(&file, &all, facts)) {
        planned.after = after;
    }
    let plan = Plan { name: "it".to_owned(), steps };
    let result = execute(&plan, &run, &effects).await;
    let events = events.lock().unwrap().clone();
    let builds = effects.builds.get().1;
    Went { result, calls: effects.log.into_inner(), events, builds }
}

async fn went(steps: &[Planned], effects: Recorder<'_>) -> Went {
    go(steps, effects, &Interrupt::default()).await
}

fn line(kind: EventKind) -> Option<String> {
    let name = |step: StepName| format!("{} {} {}", step.index, step.kind, step.object);
    Some(match kind {
        EventKind::RunStarted { name, run, cluster } => format!("begin {name} {run} {cluster}"),
        EventKind::StepStarted { step, reason, code } => {
            format!("{}: start [{code}] {reason}", name(step))
        }
        EventKind::Revised { step, reason } => format!("{}: revised {reason}", name(step)),
        EventKind::StepFinished { step, outcome, detail, code, .. } => {
            format!("{}: {outcome:?} [{code}] {detail}", name(step))
        }
        EventKind::RunFinished { ok, chain } => {
            let chain: Vec<String> = chain.into_iter().map(|(step, _)| name(step)).collect();
            format!("end {ok}: {}", chain.join(", "))
        }
        EventKind::Note { .. }
        | EventKind::Bytes { .. }
        | EventKind::Loaded { .. }
        | EventKind::Output { .. } => return None,
    })
}

#[tokio::test]
async fn steps_run_in_order_and_events_tell_it() {
    let effects = Recorder { facts: world(&["n1", "n2"]), ..Recorder::new() };
    let steps = [
        skips(ensure(), Reason::ClusterReady { nodes: 2 }),
        runs(build(), Reason::NotBuiltByTg),
        runs(load(), Reason::AfterBuild),
        runs(test(), Reason::Unconditional),
        runs(command(), Reason::Unconditional),
    ];
    let went = went(&steps, effects).await;
    assert!(went.result.is_ok());
    let calls =
        ["build app Use", "observe load app", "load app on n1+n2", "test it", "command echo hi"];
    assert_eq!(went.calls, calls);
    let events = [
        "begin it r1 my-kind",
        "0 cluster my-kind: Skipped [cluster-ready] 2 nodes ready",
        "1 build app: start [not-built-by-tg] the image in Docker was not built by tg",
        "1 build app: Done [not-built-by-tg] build went well",
        "2 load app: start [nodes-differ] 2 of 2 nodes: missing on n1, n2",
        "2 load app: Done [nodes-differ] load went well",
        "3 cargo-test it: start [unconditional] runs every time",
        "3 cargo-test it: Done [unconditional] cargo-test went well",
        "4 run echo hi: start [unconditional] runs every time",
        "4 run echo hi: Done [unconditional] run went well",
        "end true: 1 build app, 2 load app, 3 cargo-test it, 4 run echo hi",
    ];
    assert_eq!(went.events, events);
}

#[tokio::test]
async fn a_failing_build_stops_the_run() {
    let effects = Recorder { fails: Some(("build", Kind::Build)), ..Recorder::new() };
    let steps = [
        runs(build(), Reason::NotBuiltByTg),
        runs(load(), Reason::AfterBuild),
        skips(ensure(), Reason::ClusterReady { nodes: 2 }),
        runs(test(), Reason::Unconditional),
    ];
    let went = went(&steps, effects).await;
    assert_eq!(went.calls, ["build app Use"]);
    let events = [
        "begin it r1 my-kind",
        "0 build app: start [not-built-by-tg] the image in Docker was not built by tg",
        "0 build app: Failed [not-built-by-tg] build went wrong",
        "1 load app: NotReached [not-reached] an earlier step failed",
        "2 cluster my-kind: NotReached [not-reached] an earlier step failed",
        "3 cargo-test it: NotReached [not-reached] an earlier step failed",
        "end false: ",
    ];
    assert_eq!(went.events, events);
    let failure = went.failure();
    assert_eq!((failure.kind, failure.kind.exit_code()), (Kind::Build, 63));
    assert_eq!(failure.cause.to_string(), "build went wrong");
    assert_eq!(failure.hints, ["look"]);
}

#[tokio::test]
async fn a_load_behind_a_build_is_decided_afresh_and_may_turn_out_to_be_needless() {
    let steps = [runs(build(), Reason::Unproven), runs(load(), Reason::AfterBuild)];
    let went = went(&steps, Recorder::new()).await;
    assert!(went.result.is_ok());
    assert_eq!(went.calls, ["build app Use", "observe load app"]);
    let load: Vec<&String> = went.events.iter().filter(|line| line.contains("load")).collect();
    let expected = [
        "1 load app: revised all 2 nodes have aaaaaaaaaaaa",
        "1 load app: Skipped [nodes-have] all 2 nodes have aaaaaaaaaaaa",
    ];
    assert_eq!(load, expected);
}

#[tokio::test]
async fn a_load_behind_a_build_goes_to_the_nodes_that_lack_the_image_now() {
    let effects = Recorder { facts: world(&["n2"]), ..Recorder::new() };
    let steps = [runs(build(), Reason::Unproven), runs(load(), Reason::AfterBuild)];
    let went = went(&steps, effects).await;
    assert_eq!(went.calls, ["build app Use", "observe load app", "load app on n2"]);
    assert!(!went.events.iter().any(|line| line.contains("revised")), "{:?}", went.events);
}

#[tokio::test]
async fn a_step_that_was_to_be_skipped_runs_when_the_world_has_changed() {
    let effects = Recorder { facts: world(&["n1"]), ..Recorder::new() };
    let image = config();
    let steps = [
        runs(command(), Reason::Unconditional),
        skips(load(), Reason::NodesHave { image, nodes: 2 }),
    ];
    let went = went(&steps, effects).await;
    assert_eq!(went.calls, ["command echo hi", "observe load app", "load app on n1"]);
    let revised = "1 load app: revised 1 of 2 nodes: missing on n1".to_owned();
    assert!(went.events.contains(&revised), "{:?}", went.events);
}

#[tokio::test]
async fn what_is_done_with_a_cluster_changes_the_world() {
    for action in [ClusterAction::Ensure, ClusterAction::Delete] {
        let effects = Recorder { facts: world(&["n1"]), ..Recorder::new() };
        let made = runs(Step::Cluster(action), Reason::ClusterAbsent);
        let went = went(&[made, runs(load(), Reason::AfterCluster)], effects).await;
        let first = format!("cluster {action:?}");
        assert_eq!(went.calls, [first.as_str(), "observe load app", "load app on n1"]);
    }
}

#[tokio::test]
async fn where_nothing_ran_nothing_is_looked_at_again() {
    let image = config();
    let steps = [
        skips(ensure(), Reason::ClusterReady { nodes: 2 }),
        skips(build(), Reason::UpToDate { key: Key::new("tg2:a"), notes: Vec::new() }),
        skips(load(), Reason::NodesHave { image, nodes: 2 }),
        runs(test(), Reason::Unconditional),
    ];
    let went = went(&steps, Recorder::new()).await;
    assert!(went.result.is_ok());
    assert_eq!(went.calls, ["test it"]);
}

#[tokio::test]
async fn a_blocked_step_fails_with_what_to_do() {
    let broken = |ours| Reason::ClusterBroken { why: "node n1 is exited".to_owned(), ours };
    let tag = ImageRef::parse("app:test").unwrap();
    let unknown = Reason::FactsUnknown("no answer".to_owned());
    let table = [
        (
            load(),
            Reason::ImageMissing(tag),
            Kind::Load,
            "cannot load app: app:test is not in Docker",
            "tg build app",
        ),
        (
            load(),
            Reason::ClusterAbsent,
            Kind::Cluster,
            "cannot load app: there is no such cluster",
            "tg cluster create",
        ),
        (
            ensure(),
            Reason::MayNotCreate,
            Kind::Cluster,
            "cannot use the cluster my-kind: there is no such cluster, and create = \"never\" forbids to make it",
            "kind create cluster --name my-kind, or set create = \"if-missing\" in [cluster]",
        ),
        (
            ensure(),
            broken(true),
            Kind::Cluster,
            "cannot use the cluster my-kind: the cluster cannot be used: node n1 is exited",
            "tg cluster create --recreate",
        ),
        (
            ensure(),
            broken(false),
            Kind::Cluster,
            "cannot use the cluster my-kind: the cluster cannot be used: node n1 is exited",
            "tg did not make this cluster and leaves it alone: start its nodes (docker start), or kind delete cluster --name my-kind",
        ),
        (
            ensure(),
            unknown,
            Kind::Cluster,
            "cannot use the cluster my-kind: cannot tell: no answer",
            "tg cluster status",
        ),
    ];
    for (step, reason, kind, message, hint) in table {
        let steps = [blocked(step, reason), runs(test(), Reason::Unconditional)];
        let went = went(&steps, Recorder::new()).await;
        assert!(went.calls.is_empty(), "{message}: {:?}", went.calls);
        assert!(went.events[1].contains(": Failed ["), "{message}: {:?}", went.events);
        assert!(went.events[2].contains(": NotReached ["), "{message}: {:?}", went.events);
        let failure = went.failure();
        assert_eq!((failure.kind, failure.cause.to_string()), (kind, message.to_owned()));
        assert_eq!(failure.hints, [hint]);
    }
}

#[tokio::test]
async fn the_code_of_a_child_is_passed_through() {
    for (kind, step) in [("cargo-test", test()), ("run", command())] {
        let effects = Recorder { fails: Some((kind, Kind::Child(7))), ..Recorder::new() };
        let failure = went(&[runs(step, Reason::Unconditional)], effects).await.failure();
        assert_eq!((failure.kind, failure.kind.exit_code()), (Kind::Child(7), 7));
    }
}

#[tokio::test]
async fn a_signal_makes_the_failure_of_the_step_an_interruption_and_nothing_starts_after_it() {
    let _turn = HANGUPS.lock().await;
    let interrupt = Interrupt::listen().unwrap();
    let failing = Recorder {
        fails: Some(("cargo-test", Kind::Child(130))),
        signals: Some(("cargo-test", &interrupt)),
        ..Recorder::new()
    };
    let steps = [runs(test(), Reason::Unconditional), runs(command(), Reason::Unconditional)];
    let during = go(&steps, failing, &interrupt.child()).await;
    assert_eq!(during.calls, ["test it"]);
    for expected in [
        "0 cargo-test it: Failed [unconditional] interrupted",
        "1 run echo hi: NotReached [not-reached] interrupted",
    ] {
        assert!(during.events.iter().any(|line| line == expected), "{:?}", during.events);
    }
    let failure = during.failure();
    assert_eq!((failure.kind, failure.kind.exit_code()), (Kind::Interrupted(1), 129));
    let after = go(&steps, Recorder::new(), &interrupt).await;
    assert!(after.calls.is_empty(), "{:?}", after.calls);
    assert_eq!(after.failure().kind, Kind::Interrupted(1));
}

#[tokio::test]
async fn a_signal_while_a_step_succeeds_keeps_the_next_from_starting() {
    let _turn = HANGUPS.lock().await;
    let interrupt = Interrupt::listen().unwrap();
    let signalled = Recorder { signals: Some(("cargo-test", &interrupt)), ..Recorder::new() };
    let steps = [runs(test(), Reason::Unconditional), runs(command(), Reason::Unconditional)];
    let went = go(&steps, signalled, &interrupt).await;
    assert_eq!(went.calls, ["test it"]);
    let done = "0 cargo-test it: Done [unconditional] cargo-test went well".to_owned();
    assert!(went.events.contains(&done), "{:?}", went.events);
    assert_eq!(went.failure().kind, Kind::Interrupted(1));
}

fn compile() -> Step {
    Step::Compile(CargoTest { test: "it".to_owned(), ..CargoTest::default() })
}

fn built(image: ImageId) -> Step {
    Step::Build { image, when: When::Always, cache: BuildCache::Use }
}

#[tokio::test]
async fn steps_that_do_not_wait_for_each_other_run_side_by_side() {
    let kinds = ["compile", "cluster", "build"];
    let meets = Some((kinds.as_slice(), tokio::sync::Barrier::new(3)));
    let effects = Recorder { facts: world(&["n1"]), meets, ..Recorder::new() };
    let steps = [
        runs(compile(), Reason::CompiledMeanwhile),
        runs(ensure(), Reason::ClusterAbsent),
        runs(build(), Reason::Unproven),
        runs(load(), Reason::AfterBuild),
        runs(test(), Reason::Unconditional),
    ];
    let interrupt = Interrupt::default();
    let all = go(&steps, effects, &interrupt);
    let went = tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    assert!(went.result.is_ok());
    assert_eq!(went.calls[..3].len(), 3);
    assert_eq!(went.calls[3..], ["observe load app", "load app on n1", "test it"]);
}

#[tokio::test]
async fn the_first_failure_stops_what_is_under_way() {
    let interrupt = Interrupt::default();
    let effects = Recorder {
        fails: Some(("compile", Kind::Child(101))),
        lasts: Some(("build", &interrupt)),
        ..Recorder::new()
    };
    let steps = [
        runs(compile(), Reason::CompiledMeanwhile),
        runs(build(), Reason::Unproven),
        runs(test(), Reason::Unconditional),
    ];
    let all = go(&steps, effects, &interrupt);
    let went = tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    for expected in [
        "0 compile it: Failed [compiled-meanwhile] compile went wrong",
        "1 build app: Stopped [unproven] another step failed",
        "2 cargo-test it: NotReached [not-reached] an earlier step failed",
    ] {
        assert!(went.events.iter().any(|line| line == expected), "{:?}", went.events);
    }
    assert_eq!(went.failure().kind, Kind::Child(101));
}

#[tokio::test]
async fn no_more_images_are_built_at_a_time_than_there_are_jobs() {
    let steps = images().map(|image| runs(built(image), Reason::Forced));
    let went = went(&steps, Recorder::new()).await;
    assert!(went.result.is_ok());
    assert_eq!(went.builds, 2);
}

#[tokio::test]
async fn a_run_that_keeps_going_does_what_does_not_need_what_failed() {
    let steps = [
        runs(build(), Reason::Unproven),
        runs(test(), Reason::Unconditional),
        runs(load(), Reason::AfterBuild),
        runs(test(), Reason::Unconditional),
    ];
    let keeping = |fails| Recorder { fails: Some(fails), keep_going: true, ..Recorder::new() };
    let failing = keeping(("cargo-test", Kind::Child(101)));
    let went = went(&steps, Recorder { facts: world(&["n1"]), ..failing }).await;
    let calls = ["build app Use", "test it", "observe load app", "load app on n1", "test it"];
    assert_eq!(went.calls, calls);
    assert_eq!(went.failure().kind, Kind::Child(101));

    let went = self::went(&steps, keeping(("build", Kind::Build))).await;
    assert_eq!(went.calls, ["build app Use"]);
    assert_eq!(went.failure().kind, Kind::Build);
}

#[tokio::test]
async fn a_test_that_failed_may_have_changed_the_world() {
    let image = config();
    let steps =
        [runs(test(), Reason::Unconditional), skips(load(), Reason::NodesHave { image, nodes: 2 })];
    let fails = Some(("cargo-test", Kind::Child(101)));
    let effects = Recorder { fails, keep_going: true, facts: world(&["n1"]), ..Recorder::new() };
    let went = went(&steps, effects).await;
    assert_eq!(went.calls, ["test it", "observe load app", "load app on n1"]);
}

#[tokio::test]
async fn a_test_that_does_not_compile_keeps_no_other_from_running_where_the_run_goes_on() {
    let steps = [
        runs(compile(), Reason::CompiledMeanwhile),
        runs(build(), Reason::Unproven),
        runs(test(), Reason::Unconditional),
    ];
    let fails = Some(("compile", Kind::Child(101)));
    let went = went(&steps, Recorder { fails, keep_going: true, ..Recorder::new() }).await;
    assert!(went.calls.contains(&"test it".to_owned()), "{:?}", went.calls);
    assert_eq!(went.failure().kind, Kind::Child(101));
}
