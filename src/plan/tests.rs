//! Decisions as a table: one world where everything is up to date, and one change to it per row.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Decision, NodesDiffer, Reason, decide, expand, plan};
use crate::digest::change::{Change, PathChange};
use crate::facts::record::LastBuild;
use crate::facts::{ClusterState, Facts, HostImage, ImageFacts, InputFacts, Known, NodeImage};
use crate::names::{ConfigDigest, ImageId, ImageRef, Key};
use crate::taskfile::model::{
    BuildCache, CargoTest, ClusterAction, ClusterSpec, CreatePolicy, ImageSpec, LoadStrategy, Step,
    Task, TaskFile, When,
};

/// The world that a row changes.
struct World {
    file: TaskFile,
    facts: Facts,
    force: bool,
}

fn id(name: &str) -> ImageId {
    match name.split_once('.') {
        Some((name, variant)) => {
            ImageId { name: name.to_owned(), variant: Some(variant.to_owned()) }
        }
        None => ImageId { name: name.to_owned(), variant: None },
    }
}

fn key(digit: char) -> Key {
    Key::new(format!("tg2:{}", digit.to_string().repeat(64)))
}

fn config(digit: char) -> ConfigDigest {
    ConfigDigest::parse(&format!("sha256:{}", digit.to_string().repeat(64))).unwrap()
}

fn spec(name: &str, tag: &str) -> ImageSpec {
    let (context, dockerfile) = ("/project".into(), "/project/Dockerfile".into());
    ImageSpec::new(id(name), ImageRef::parse(tag).unwrap(), context, dockerfile)
}

/// A node with this under the tag, and the layers of the image in Docker.
fn has(tagged: Option<ConfigDigest>) -> Known<NodeImage> {
    Known::Yes(NodeImage { tagged, is_unpacked: true, elsewhere: None })
}

/// An image whose inputs, host image and nodes agree.
fn sound(name: &str, digit: char) -> ImageFacts {
    let nodes = ["n1", "n2", "n3"];
    ImageFacts {
        inputs: Known::Yes(InputFacts {
            key: key(digit),
            built: Some(config(digit)),
            changes: Vec::new(),
            unverifiable: Vec::new(),
            last: None,
            bases: Some(BTreeSet::new()),
            unknown_bases: Vec::new(),
            notes: Vec::new(),
        }),
        host: Known::Yes(Some(HostImage {
            config: Some(config(digit)),
            id: config(digit).to_string(),
            layers: Vec::new(),
            chains: Vec::new(),
            is_index: false,
            key: Some(key(digit)),
            built_as: Some(name.to_owned()),
            size: 1,
        })),
        nodes: nodes.map(|node| (node.to_owned(), has(Some(config(digit))))).into(),
    }
}

impl World {
    fn sound() -> Self {
        let specs = [spec("app", "app:test"), spec("app.fast", "app:test-fast")];
        let file = TaskFile {
            path: PathBuf::from("/project/tasks.toml"),
            root: PathBuf::from("/project"),
            cluster: ClusterSpec {
                name: "kind".to_owned(),
                config: None,
                node_image: None,
                create: CreatePolicy::IfMissing,
                only: Vec::new(),
            },
            load: LoadStrategy::Auto,
            images: specs.into_iter().map(|spec| (spec.id.clone(), spec)).collect(),
            tasks: BTreeMap::new(),
        };
        let images = [("app", 'a'), ("app.fast", 'f')];
        let facts = Facts {
            images: images.map(|(name, digit)| (id(name), sound(name, digit))).into(),
            cluster: ready(&["n1", "n2", "n3"]),
            nodes: BTreeMap::new(),
        };
        Self { file, facts, force: false }
    }

    fn image(&mut self) -> &mut ImageFacts {
        self.facts.images.get_mut(&id("app")).unwrap()
    }

    fn inputs(&mut self) -> &mut InputFacts {
        match &mut self.image().inputs {
            Known::Yes(inputs) => inputs,
            Known::Unknown(why) => panic!("{why}"),
        }
    }

    fn host(&mut self) -> &mut HostImage {
        match &mut self.image().host {
            Known::Yes(Some(host)) => host,
            other => panic!("{other:?}"),
        }
    }

    fn node(&mut self, name: &str, found: Known<NodeImage>) {
        self.image().nodes.insert(name.to_owned(), found);
    }

    fn no_host_image(&mut self) {
        self.image().host = Known::Yes(None);
    }

    fn edited(&mut self) {
        self.inputs().key = key('b');
        self.inputs().built = None;
    }
}

fn ready(nodes: &[&str]) -> Known<ClusterState> {
    Known::Yes(ClusterState::Ready { nodes: nodes.iter().map(ToString::to_string).collect() })
}

fn absent() -> Known<ClusterState> {
    Known::Yes(ClusterState::Absent)
}

fn broken(ours: bool) -> Known<ClusterState> {
    Known::Yes(ClusterState::Broken { why: "node n1 is exited".to_owned(), ours })
}

fn unknown<T>() -> Known<T> {
    Known::Unknown("no answer".to_owned())
}

fn build(name: &str) -> Step {
    Step::Build { image: id(name), when: When::IfNeeded, cache: BuildCache::Use }
}

fn load(name: &str) -> Step {
    Step::Load { image: id(name), when: When::IfNeeded }
}

fn always(step: Step) -> Step {
    match step {
        Step::Build { image, cache, .. } => Step::Build { image, cache, when: When::Always },
        Step::Load { image, .. } => Step::Load { image, when: When::Always },
        other => other,
    }
}

/// A change of a path as it is shown: `+`, `-` or `~`, and the path.
fn moved(text: &str) -> Change {
    let (sign, path) = text.split_once(' ').unwrap();
    let what = match sign {
        "+" => PathChange::Added,
        "-" => PathChange::Removed,
        _ => PathChange::Modified { content: true, mode: None, link: None, attributes: false },
    };
    Change::Path { context: String::new(), path: path.as_bytes().to_vec(), what }
}

fn ensure() -> Step {
    Step::Cluster(ClusterAction::Ensure)
}

fn delete() -> Step {
    Step::Cluster(ClusterAction::Delete)
}

fn shown(decision: &Decision) -> String {
    let reason = decision.reason();
    let (verdict, nodes) = match decision {
        Decision::Run { nodes, .. } if nodes.is_empty() => ("run", String::new()),
        Decision::Run { nodes, .. } => ("run", format!(" on {}", nodes.join("+"))),
        Decision::Skip(_) => ("skip", String::new()),
        Decision::Blocked(_) => ("blocked", String::new()),
    };
    format!("{verdict}{nodes} [{}] {reason}", reason.code())
}

/// One row: in a sound world with this change, this is decided about the step.
#[track_caller]
fn check(step: &Step, change: impl FnOnce(&mut World), expected: &str) {
    let mut world = World::sound();
    change(&mut world);
    let decision = decide(step, &world.file, &world.facts, world.force);
    assert_eq!(shown(&decision), expected, "{step:?}");
}

/// As [`check`], for all steps of a plan.
#[track_caller]
fn check_plan(steps: &[Step], change: impl FnOnce(&mut World), expected: &[&str]) {
    let mut world = World::sound();
    change(&mut world);
    let plan = plan("it", &world.file, steps, &world.facts, world.force);
    let lines: Vec<String> = plan
        .steps
        .iter()
        .map(|planned| {
            let (step, decision) = (&planned.step, shown(&planned.decision));
            format!("{} {}: {decision}", step.kind(), step.object())
        })
        .collect();
    assert_eq!(lines, expected);
    assert_eq!(plan.name, "it");
}

#[test]
fn an_image_is_built_unless_its_very_build_is_there() {
    let app = build("app");
    let same = "skip [up-to-date] inputs unchanged, key aaaaaaaaaaaa";
    check(&app, |_| {}, same);
    check(&build("app.fast"), |_| {}, "skip [up-to-date] inputs unchanged, key ffffffffffff");
    check(&app, World::no_host_image, "run [image-missing] app:test is not in Docker");
    let foreign = "run [not-built-by-tg] the image in Docker was not built by tg";
    check(&app, |w| w.host().key = None, foreign);
    let other = "run [built-as-other] the image in Docker was built as `other`";
    check(&app, |w| w.host().built_as = Some("other".to_owned()), other);
    let variant = "run [built-as-other] the image in Docker was built as `app.fast`";
    check(&app, |w| w.host().built_as = Some("app.fast".to_owned()), variant);
    let unnamed = "run [built-as-other] the image in Docker was built as `an unnamed image`";
    check(&app, |w| w.host().built_as = None, unnamed);
    let unproven =
        "run [unproven] the label has the right key, but no record says which image that key made";
    check(&app, |w| w.inputs().built = None, unproven);
    let untold = "run [no-config-digest] Docker does not tell the config digest of the image \
        (it has attestations or several platforms)";
    check(&app, |w| w.host().config = None, untold);
    let replaced = "run [replaced] the tag was moved: this image has its key from a parent or a copy, \
        the build of the key made bbbbbbbbbbbb";
    check(&app, |w| w.inputs().built = Some(config('b')), replaced);
    let retagged = "run [retagged] the tag was moved to an image of key bbbbbbbbbbbb; \
        the build of these inputs made aaaaaaaaaaaa";
    check(&app, |w| w.host().key = Some(key('b')), retagged);
    let schema = "run [other-schema] another version of tg built the image: its key is tg0:aa";
    check(&app, |w| w.host().key = Some(Key::new("tg0:aa")), schema);
    let gone =
        "run [image-gone] app:test is not in Docker: cccccccccccc was removed since its build";
    let vanished = |world: &mut World| {
        world.inputs().last = Some(LastBuild { key: key('a'), config: config('c') });
        world.no_host_image();
    };
    check(&app, vanished, gone);
    // Where the nodes and the cluster are is nothing to a build.
    check(&app, |w| w.facts.cluster = absent(), same);
    check(&app, |w| w.node("n1", has(None)), same);
}

#[test]
fn changed_inputs_are_named() {
    let app = build("app");
    let keys = "run [inputs-changed] inputs changed: key aaaaaaaaaaaa → bbbbbbbbbbbb";
    check(&app, World::edited, keys);
    let edited = |changes: &'static [&'static str]| {
        move |world: &mut World| {
            world.edited();
            world.inputs().changes = changes.iter().map(|text| moved(text)).collect();
        }
    };
    let three = "run [inputs-changed] inputs changed: ~ a, + b, - c";
    check(&app, edited(&["~ a", "+ b", "- c"]), three);
    let more = "run [inputs-changed] inputs changed: ~ a, + b, - c and 2 more";
    check(&app, edited(&["~ a", "+ b", "- c", "~ d", "~ e"]), more);
    // A difference to the last build alone is no reason: the image may be of an older one.
    let same = "skip [up-to-date] inputs unchanged, key aaaaaaaaaaaa";
    check(&app, |w| w.inputs().changes = vec![moved("~ a")], same);
}

#[test]
fn what_cannot_be_known_is_built() {
    let app = build("app");
    let cannot_tell = "run [facts-unknown] cannot tell: no answer";
    check(&app, |w| w.image().inputs = unknown(), cannot_tell);
    check(&app, |w| w.image().host = unknown(), cannot_tell);
    let remote = "run [unverifiable] content of https://x/y is only known by building";
    check(&app, |w| w.inputs().unverifiable = vec!["https://x/y".to_owned()], remote);
    let base = "run [unknown-bases] no answer";
    check(&app, |w| w.inputs().unknown_bases = vec!["no answer".to_owned()], base);
    let unseen = "run [facts-unknown] cannot tell: nothing was looked at";
    check(&app, |w| w.facts.images.clear(), unseen);
}

#[test]
fn what_is_asked_for_is_built() {
    let forced = "run [forced] asked for";
    check(&build("app"), |w| w.force = true, forced);
    check(&always(build("app")), |_| {}, forced);
    let (image, when) = (id("app"), When::IfNeeded);
    check(&Step::Build { image, when, cache: BuildCache::Bypass }, |_| {}, forced);
}

#[test]
fn an_image_is_loaded_where_a_node_lacks_it() {
    let app = load("app");
    check(&app, |_| {}, "skip [nodes-have] all 3 nodes have aaaaaaaaaaaa");
    let missing = "run on n2 [nodes-differ] 1 of 3 nodes: missing on n2";
    check(&app, |w| w.node("n2", has(None)), missing);
    let other = "run on n3 [nodes-differ] 1 of 3 nodes: n3 has bbbbbbbbbbbb";
    check(&app, |w| w.node("n3", has(Some(config('b')))), other);
    let no_answer = "run on n1 [nodes-differ] 1 of 3 nodes: n1: no answer";
    check(&app, |w| w.node("n1", unknown()), no_answer);
    let unasked = "run on n1 [nodes-differ] 1 of 3 nodes: n1: was not asked";
    check(&app, |w| w.image().nodes.remove("n1").map(drop).unwrap(), unasked);
    let all = |w: &mut World| {
        w.node("n1", has(None));
        w.node("n2", has(Some(config('b'))));
        w.node("n3", unknown());
    };
    let every = "run on n1+n2+n3 [nodes-differ] 3 of 3 nodes: missing on n1; n2 has bbbbbbbbbbbb; n3: no answer";
    check(&app, all, every);
    // The CRI lists an image whose layers are not unpacked: a load was interrupted.
    let broken = |w: &mut World| {
        let (tagged, elsewhere) = (Some(config('a')), None);
        w.node("n2", Known::Yes(NodeImage { tagged, elsewhere, is_unpacked: false }));
    };
    check(&app, broken, "run on n2 [nodes-differ] 1 of 3 nodes: without its layers on n2");
    // The image is there under another name, whole or not.
    for (is_unpacked, tagged, text) in [
        (true, None, "n2 has it as app:old"),
        (true, Some(config('b')), "n2 has it as app:old"),
        (false, None, "missing on n2"),
        (false, Some(config('b')), "n2 has bbbbbbbbbbbb"),
    ] {
        let elsewhere = Some("app:old".to_owned());
        let renamed = NodeImage { tagged, elsewhere, is_unpacked };
        let expected = format!("run on n2 [nodes-differ] 1 of 3 nodes: {text}");
        check(&app, |w| w.node("n2", Known::Yes(renamed)), &expected);
    }
    // A node that is gone from the cluster does not count.
    let two = |w: &mut World| {
        w.node("n3", has(None));
        w.facts.cluster = ready(&["n1", "n2"]);
    };
    check(&app, two, "skip [nodes-have] all 2 nodes have aaaaaaaaaaaa");
    // The image in Docker is what nodes need, whether or not a build would replace it.
    check(&app, World::edited, "skip [nodes-have] all 3 nodes have aaaaaaaaaaaa");
}

#[test]
fn what_cannot_be_known_is_loaded_into_all_nodes() {
    let app = load("app");
    let on_all = |why: &str| format!("run on n1+n2+n3 [facts-unknown] cannot tell: {why}");
    let untold = "Docker does not tell the config digest of an image with attestations or of several platforms, and tg has not loaded this one yet";
    check(&app, |w| w.host().config = None, &on_all(untold));
    check(&app, |w| w.image().host = unknown(), &on_all("no answer"));
    let no_nodes = "run [facts-unknown] cannot tell: no answer";
    check(&app, |w| w.facts.cluster = unknown(), no_nodes);
    let unseen = "run [facts-unknown] cannot tell: nothing was looked at";
    check(&app, |w| w.facts.images.clear(), unseen);
    check(&app, |w| w.force = true, "run on n1+n2+n3 [forced] asked for");
    check(&always(app), |_| {}, "run on n1+n2+n3 [forced] asked for");
}

#[test]
fn a_load_that_cannot_be_done_is_blocked_even_when_forced() {
    for step in [load("app"), always(load("app"))] {
        let missing = "blocked [image-missing] app:test is not in Docker";
        check(&step, World::no_host_image, missing);
        let no_cluster = "blocked [cluster-absent] there is no such cluster";
        check(&step, |w| w.facts.cluster = absent(), no_cluster);
        let unusable = "blocked [cluster-broken] the cluster cannot be used: node n1 is exited";
        check(&step, |w| w.facts.cluster = broken(true), unusable);
    }
}

#[test]
fn a_cluster_is_made_where_there_is_none_and_never_over_something() {
    let step = ensure();
    check(&step, |_| {}, "skip [cluster-ready] 3 nodes ready");
    check(&step, |w| w.force = true, "skip [cluster-ready] 3 nodes ready");
    let make = "run [cluster-absent] there is no such cluster";
    check(&step, |w| w.facts.cluster = absent(), make);
    let never = |cluster: Known<ClusterState>| {
        move |w: &mut World| {
            w.file.cluster.create = CreatePolicy::Never;
            w.facts.cluster = cluster;
        }
    };
    let forbidden = "blocked [may-not-create] there is no such cluster, and create = \"never\" forbids to make it";
    check(&step, never(absent()), forbidden);
    check(&step, never(ready(&["n1"])), "skip [cluster-ready] 1 node ready");
    let unusable = "blocked [cluster-broken] the cluster cannot be used: node n1 is exited";
    check(&step, |w| w.facts.cluster = broken(true), unusable);
    check(&step, |w| w.facts.cluster = broken(false), unusable);
    let cannot_tell = "blocked [facts-unknown] cannot tell: no answer";
    check(&step, |w| w.facts.cluster = unknown(), cannot_tell);
}

#[test]
fn whose_broken_cluster_it_is_stays_known() {
    for ours in [true, false] {
        let mut world = World::sound();
        world.facts.cluster = broken(ours);
        let reason = Reason::ClusterBroken { why: "node n1 is exited".to_owned(), ours };
        for step in [ensure(), load("app")] {
            let decision = decide(&step, &world.file, &world.facts, false);
            assert_eq!(decision, Decision::Blocked(reason.clone()), "{step:?}");
        }
    }
}

#[test]
fn a_cluster_is_deleted_unless_there_is_none() {
    check(&delete(), |_| {}, "run [unconditional] runs every time");
    check(&delete(), |w| w.facts.cluster = unknown(), "run [unconditional] runs every time");
    let none = "skip [cluster-absent] there is no such cluster";
    check(&delete(), |w| w.facts.cluster = absent(), none);
}

#[test]
fn tests_and_commands_run_every_time() {
    let test = Step::CargoTest(CargoTest { test: "it".to_owned(), ..CargoTest::default() });
    for step in [test, Step::Run { argv: vec!["true".to_owned()] }] {
        check(&step, |_| {}, "run [unconditional] runs every time");
    }
}

#[test]
fn where_all_is_up_to_date_all_is_skipped() {
    let expected = [
        "cluster create: skip [cluster-ready] 3 nodes ready",
        "build app: skip [up-to-date] inputs unchanged, key aaaaaaaaaaaa",
        "load app: skip [nodes-have] all 3 nodes have aaaaaaaaaaaa",
    ];
    check_plan(&[build("app"), load("app")], |_| {}, &expected);
}

#[test]
fn an_image_that_is_built_is_loaded() {
    let steps = [build("app"), load("app"), load("app.fast")];
    let fast = "load app.fast: skip [nodes-have] all 3 nodes have ffffffffffff";
    let edited = [
        "cluster create: skip [cluster-ready] 3 nodes ready",
        "build app: run [inputs-changed] inputs changed: key aaaaaaaaaaaa → bbbbbbbbbbbb",
        "load app: run on n1+n2+n3 [after-build] after the build",
        fast,
    ];
    check_plan(&steps, World::edited, &edited);
    let missing =
        [edited[0], "build app: run [image-missing] app:test is not in Docker", edited[2], fast];
    check_plan(&steps, World::no_host_image, &missing);
}

#[test]
fn a_load_before_the_build_is_about_the_image_of_now() {
    let expected = [
        "cluster create: skip [cluster-ready] 3 nodes ready",
        "load app: skip [nodes-have] all 3 nodes have aaaaaaaaaaaa",
        "build app: run [inputs-changed] inputs changed: key aaaaaaaaaaaa → bbbbbbbbbbbb",
    ];
    check_plan(&[load("app"), build("app")], World::edited, &expected);
}

#[test]
fn what_is_forced_stays_forced_behind_a_build() {
    let expected = [
        "cluster create: skip [cluster-ready] 3 nodes ready",
        "build app: run [forced] asked for",
        "load app: run on n1+n2+n3 [forced] asked for",
    ];
    check_plan(&[build("app"), load("app")], |w| w.force = true, &expected);
}

#[test]
fn nodes_that_will_be_new_are_loaded() {
    let no_cluster = |w: &mut World| w.facts.cluster = absent();
    let made = "cluster create: run [cluster-absent] there is no such cluster";
    let expected = [
        made,
        "build app: skip [up-to-date] inputs unchanged, key aaaaaaaaaaaa",
        "load app: run [after-cluster] the nodes will be new",
    ];
    check_plan(&[build("app"), load("app")], no_cluster, &expected);
    let untold = |w: &mut World| {
        w.facts.cluster = absent();
        w.host().config = None;
    };
    check_plan(&[load("app")], untold, &[made, expected[2]]);
    let both = |w: &mut World| {
        w.facts.cluster = absent();
        w.edited();
    };
    let rebuilt = [
        made,
        "build app: run [inputs-changed] inputs changed: key aaaaaaaaaaaa → bbbbbbbbbbbb",
        "load app: run [after-build] after the build",
    ];
    check_plan(&[build("app"), load("app")], both, &rebuilt);
}

#[test]
fn a_cluster_that_cannot_be_made_blocks_the_load_too() {
    let never = |w: &mut World| {
        w.file.cluster.create = CreatePolicy::Never;
        w.facts.cluster = absent();
    };
    let expected = [
        "cluster create: blocked [may-not-create] there is no such cluster, and create = \"never\" forbids to make it",
        "load app: blocked [cluster-absent] there is no such cluster",
    ];
    check_plan(&[load("app")], never, &expected);
}

#[test]
fn a_cluster_that_is_deleted_and_made_again_has_new_nodes() {
    let expected = [
        "cluster delete: run [unconditional] runs every time",
        "cluster create: run [cluster-absent] there is no such cluster",
        "load app: run [after-cluster] the nodes will be new",
    ];
    check_plan(&[delete(), ensure(), load("app")], |_| {}, &expected);
    let gone = [expected[0], "load app: blocked [cluster-absent] there is no such cluster"];
    check_plan(&[delete(), load("app")], |_| {}, &gone);
}

#[test]
fn steps_of_tasks_stand_in_their_place_and_the_cluster_comes_first() {
    let mut file = World::sound().file;
    let task = |steps: &[Step]| Task { description: None, steps: steps.to_vec() };
    let to = |name: &str| Step::Task(name.to_owned());
    file.tasks.insert("inner".to_owned(), task(&[load("app")]));
    file.tasks.insert("outer".to_owned(), task(&[build("app"), to("inner")]));
    let expanded = expand(&file, &[to("outer"), load("app.fast")]);
    assert_eq!(expanded, [ensure(), build("app"), load("app"), load("app.fast")]);
    assert_eq!(expand(&file, &[build("app")]), [build("app")], "a build needs no cluster");
    let own = [build("app"), ensure(), load("app")];
    assert_eq!(expand(&file, &own), own, "where a task says it itself, it stands");
}

#[test]
fn reasons_are_worded_for_people() {
    let text = str::to_owned;
    let app = ImageRef::parse("app:test").unwrap();
    let changed = |changes: &[&str]| Reason::InputsChanged {
        image: key('a'),
        now: key('b'),
        changes: changes.iter().map(|text| moved(text)).collect(),
    };
    let nodes = |nodes| Reason::NodesHave { image: config('a'), nodes };
    let differ = Reason::NodesDiffer(NodesDiffer {
        missing: vec![text("n1"), text("n2")],
        other: vec![(text("n3"), config('b'))],
        renamed: vec![(text("n5"), text("app:old"))],
        incomplete: vec![text("n6")],
        unknown: vec![(text("n4"), text("no answer"))],
        of: 7,
    });
    let wording = [
        (Reason::Forced, "asked for"),
        (Reason::Unconditional, "runs every time"),
        (Reason::FactsUnknown(text("no answer")), "cannot tell: no answer"),
        (
            Reason::Unverifiable(vec![text("git://x"), text("https://y")]),
            "content of git://x, https://y is only known by building",
        ),
        (Reason::UnknownBases(vec![text("a"), text("b")]), "a; b"),
        (Reason::ImageMissing(app.clone()), "app:test is not in Docker"),
        (
            Reason::ImageGone { tag: app, built: config('b') },
            "app:test is not in Docker: bbbbbbbbbbbb was removed since its build",
        ),
        (
            Reason::OtherSchema { image: key('a') },
            "another version of tg built the image: its key is tg2:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        (
            Reason::Retagged { image: key('a'), built: config('b') },
            "the tag was moved to an image of key aaaaaaaaaaaa; the build of these inputs made bbbbbbbbbbbb",
        ),
        (Reason::NotBuiltByTg, "the image in Docker was not built by tg"),
        (Reason::BuiltAs(text("x")), "the image in Docker was built as `x`"),
        (changed(&[]), "inputs changed: key aaaaaaaaaaaa → bbbbbbbbbbbb"),
        (changed(&["~ a"]), "inputs changed: ~ a"),
        (changed(&["~ a", "~ b", "~ c", "~ d"]), "inputs changed: ~ a, ~ b, ~ c and 1 more"),
        (
            Reason::Unproven,
            "the label has the right key, but no record says which image that key made",
        ),
        (
            Reason::NoConfigDigest,
            "Docker does not tell the config digest of the image (it has attestations or several platforms)",
        ),
        (
            Reason::Replaced { built: config('b') },
            "the tag was moved: this image has its key from a parent or a copy, the build of the key made bbbbbbbbbbbb",
        ),
        (
            Reason::UpToDate { key: key('a'), notes: vec![text("note")] },
            "inputs unchanged, key aaaaaaaaaaaa; note",
        ),
        (Reason::AfterBuild, "after the build"),
        (Reason::AfterCluster, "the nodes will be new"),
        (
            differ,
            "6 of 7 nodes: missing on n1, n2; n3 has bbbbbbbbbbbb; n5 has it as app:old; without its layers on n6; n4: no answer",
        ),
        (nodes(1), "the node has aaaaaaaaaaaa"),
        (nodes(3), "all 3 nodes have aaaaaaaaaaaa"),
        (Reason::ClusterAbsent, "there is no such cluster"),
        (Reason::ClusterReady { nodes: 1 }, "1 node ready"),
        (Reason::ClusterReady { nodes: 2 }, "2 nodes ready"),
        (Reason::ClusterRunning { nodes: 1 }, "1 node running"),
        (Reason::ClusterRunning { nodes: 2 }, "2 nodes running"),
        (Reason::ClusterBroken { why: text("why"), ours: true }, "the cluster cannot be used: why"),
        (
            Reason::MayNotCreate,
            "there is no such cluster, and create = \"never\" forbids to make it",
        ),
    ];
    let mut codes = std::collections::BTreeSet::new();
    for (reason, expected) in &wording {
        assert_eq!(reason.to_string(), *expected, "{reason:?}");
        codes.insert(reason.code());
    }
    assert_eq!(codes.len(), 25, "every reason has a row and a code of its own: {codes:?}");
}

/// What each step waits for, as `kind object: kind object, …`.
fn waits(world: &World, steps: &[Step]) -> Vec<String> {
    let plan = plan("it", &world.file, steps, &world.facts, false);
    let name = |at: usize| {
        let step = &plan.steps[at].step;
        format!("{} {}", step.kind(), step.object())
    };
    let line = |at: usize| {
        let after: Vec<String> = plan.steps[at].after.iter().map(|at| name(*at)).collect();
        format!("{}: {}", name(at), after.join(", "))
    };
    (0..plan.steps.len()).map(line).collect()
}

fn cargo_test(name: &str) -> Step {
    Step::CargoTest(CargoTest { test: name.to_owned(), ..CargoTest::default() })
}

fn command() -> Step {
    Step::Run { argv: vec!["make".to_owned()] }
}

#[test]
fn only_what_is_needed_is_waited_for() {
    let mut world = World::sound();
    world.edited();
    let steps = [build("app"), build("app.fast"), load("app"), load("app.fast"), cargo_test("it")];
    let expected = [
        "compile it: ",
        "cluster create: ",
        "build app: ",
        "build app.fast: ",
        "load app: cluster create, build app",
        "load app.fast: cluster create, build app.fast, load app",
        "cargo-test it: compile it, cluster create, build app, build app.fast, load app, load app.fast",
    ];
    assert_eq!(waits(&world, &steps), expected);

    // One that begins with the other, and one of which nobody knows.
    let fast = world.facts.images.get_mut(&id("app.fast")).unwrap();
    let Known::Yes(inputs) = &mut fast.inputs else { panic!() };
    inputs.bases = Some(BTreeSet::from(["docker.io/library/app:test".to_owned()]));
    assert_eq!(waits(&world, &[build("app"), build("app.fast")])[1], "build app.fast: build app");
    assert_eq!(waits(&world, &[build("app.fast"), build("app")])[1], "build app: ");
    world.facts.images.get_mut(&id("app.fast")).unwrap().inputs = unknown();
    assert_eq!(waits(&world, &[build("app"), build("app.fast")])[1], "build app.fast: build app");

    // In a language that tg does not read; and behind a command, which may write another Dockerfile.
    world.facts.images.insert(id("app.fast"), sound("app.fast", 'f'));
    assert_eq!(waits(&world, &[build("app"), build("app.fast")])[1], "build app.fast: ");
    let behind = waits(&world, &[command(), build("app"), build("app.fast")]);
    assert_eq!(behind[2], "build app.fast: run make, build app");
    let Known::Yes(inputs) = &mut world.facts.images.get_mut(&id("app.fast")).unwrap().inputs
    else {
        panic!()
    };
    inputs.bases = None;
    assert_eq!(waits(&world, &[build("app"), build("app.fast")])[1], "build app.fast: build app");

    // What was to be loaded is loaded before it is built again.
    assert_eq!(waits(&world, &[load("app"), build("app")])[2], "build app: load app");
    assert_eq!(waits(&world, &[delete(), ensure()])[1], "cluster create: cluster delete");
    assert_eq!(waits(&world, &[load("app"), delete()])[1], "cluster delete: load app");
}

#[test]
fn commands_and_tests_wait_for_all_and_all_wait_for_them() {
    let mut world = World::sound();
    world.edited();
    let steps = [command(), build("app"), cargo_test("one"), build("app.fast"), cargo_test("two")];
    let expected = [
        "run make: ",
        "compile one: run make",
        "compile two: run make, compile one",
        "build app: run make",
        "cargo-test one: run make, compile one, compile two, build app",
        "build app.fast: run make, build app, cargo-test one",
        "cargo-test two: run make, compile one, compile two, build app, cargo-test one, build app.fast",
    ];
    assert_eq!(waits(&world, &steps), expected);
    // Behind a command that may have written them, sources are compiled again.
    let steps = [build("app"), cargo_test("one"), command(), build("app"), cargo_test("two")];
    let all = waits(&world, &steps);
    assert_eq!(all[0], "compile one: ");
    assert_eq!(all[4], "compile two: compile one, run make");
}

#[test]
fn tests_are_compiled_beforehand_where_something_else_takes_time() {
    let steps = [build("app"), cargo_test("it")];
    let runs = "cargo-test it: run [unconditional] runs every time";
    let up_to_date = "build app: skip [up-to-date] inputs unchanged, key aaaaaaaaaaaa";
    check_plan(&steps, |_| {}, &[up_to_date, runs]);
    let compiled = "compile it: run [compiled-meanwhile] while the other steps run";
    let built = "build app: run [inputs-changed] inputs changed: key aaaaaaaaaaaa → bbbbbbbbbbbb";
    check_plan(&steps, World::edited, &[compiled, built, runs]);
    check_plan(&[cargo_test("it")], |_| {}, &[runs]);
    check_plan(
        &[command(), cargo_test("it")],
        |_| {},
        &["run make: run [unconditional] runs every time", runs],
    );
}
