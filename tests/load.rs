//! Loading into real nodes: `cargo test --test load -- --ignored`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may end where it stands")]
#![expect(dead_code, reason = "the other tests use the rest of the support module")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use registry::Registry;
use serde_json::Value;
use support::{Project, output, ran};

#[path = "load/by_registry.rs"]
mod by_registry;
#[path = "load/interrupted.rs"]
mod interrupted;
#[path = "support/registry.rs"]
mod registry;
#[path = "load/remembered.rs"]
mod remembered;
mod support;

/// How a load went: its exit code, its narration, and the event that tells what was moved.
struct Load {
    code: i32,
    text: String,
    loaded: Value,
}

impl Load {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.text);
        self
    }

    /// The sum of a number over all nodes.
    fn sum(&self, field: &str) -> u64 {
        let nodes = self.loaded["nodes"].as_array().unwrap();
        nodes.iter().map(|node| node[field].as_u64().unwrap()).sum()
    }

    fn strategies(&self) -> Vec<&str> {
        let nodes = self.loaded["nodes"].as_array().unwrap();
        nodes.iter().map(|node| node["strategy"].as_str().unwrap()).collect()
    }

    fn config(&self) -> &str {
        self.loaded["config"].as_str().unwrap()
    }
}

fn load(project: &Project, args: &[&str]) -> Load {
    let ran = project.tg(&[args, &["--json"]].concat());
    let mut events = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let loaded = events.rfind(|event| event["event"] == "loaded").unwrap_or_default();
    Load { code: ran.code, text: format!("{}\n{}", ran.stdout, ran.stderr), loaded }
}

/// What containerd finds under a name and starts.
fn answer_on(node: &str, name: &str) -> String {
    let container = format!("tg-test-{}", std::process::id());
    let run = ["exec", node, "ctr", "-n", "k8s.io", "run", "--rm", name, &container];
    output("docker", &[run.as_slice(), &["cat", "/answer"]].concat())
}

/// The config digest that a node's CRI has under a name.
fn id_on(node: &str, name: &str) -> String {
    let template = ["-o", "go-template", "--template", "{{.status.id}}"];
    output(
        "docker",
        &[["exec", node, "crictl", "inspecti"].as_slice(), &template, &[name]].concat(),
    )
}

fn in_node(node: &str, script: &str) -> String {
    output("docker", &["exec", node, "bash", "-c", script])
}

/// Every name and image in a node that is not Kubernetes' own.
fn names_on(node: &str) -> Vec<String> {
    let names = in_node(node, "ctr -n k8s.io images ls -q | grep -v '^registry.k8s.io\\|^sha256:'");
    names.lines().map(str::to_owned).collect()
}

fn images_on(node: &str) -> usize {
    in_node(node, "crictl images -q").lines().count()
}

/// A project with one image whose first layer is large, in a cluster that is there already. Its CRI has more settings.
fn project(nodes: usize, settings: &str) -> Project {
    let project = Project::new();
    project.nodes(nodes);
    // As Kind's documentation has it for a local registry.
    let registries = format!(
        "containerdConfigPatches:\n- |-\n  [plugins.\"io.containerd.cri.v1.images\"]\n  {settings}\n  [plugins.\"io.containerd.cri.v1.images\".registry]\n    config_path = \"/etc/containerd/certs.d\"\n"
    );
    let kind = std::fs::read_to_string(project.path("kind.yaml")).unwrap();
    project.write("kind.yaml", &format!("{kind}{registries}"));
    project.write(
        "app/Dockerfile",
        "FROM debian:bookworm-slim\nRUN head -c 3000000 /dev/urandom >/large\nCOPY answer /answer\n",
    );
    project.tg(&["cluster", "create"]).code(0);
    project
}

/// Gives the project's image other content by hand.
fn make(project: &Project, dockerfile: &str, options: &[&str]) {
    project.write("hand/Dockerfile", dockerfile);
    let directory = project.path("hand");
    let all = ["buildx", "build", "--load", "-t", &project.tag(), directory.to_str().unwrap()];
    let built = std::process::Command::new("docker").args(all).args(options).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

const PLAIN: &str = "--provenance=false";

#[test]
#[ignore = "needs docker and kind"]
fn whatever_docker_has_is_loaded_and_recognized() {
    let project = project(1, "");
    let node = format!("{}-control-plane", project.name);
    let name = format!("docker.io/library/{}", project.tag());
    // Loads what was made, and sees that the node has it and knows so.
    let check = |what: &str, answer: &str| {
        let first = load(&project, &["load-if-needed"]).ok();
        assert_eq!(id_on(&node, &name), first.config(), "{what}");
        assert_eq!(answer_on(&node, &name), answer, "{what}");
        let again = project.tg(&["load-if-needed"]).code(0);
        again.says("load app skipped: the node has");
        project.tg(&["cache-status"]).code(0);
    };
    let from = |text: &str| format!("FROM debian:bookworm-slim\nRUN echo {text} >/answer\n");
    let before = images_on(&node);

    make(&project, &from("plain"), &[PLAIN]);
    check("plain", "plain");
    make(&project, &format!("{}WORKDIR /a\nRUN true\nENV x=y\n", from("empty")), &[PLAIN]);
    check("empty layers", "empty");
    let steps: String = (0..95).map(|step| format!("RUN echo {step} >/step\n")).collect();
    make(&project, &format!("{}{steps}", from("many")), &[PLAIN]);
    check("many layers", "many");
    // What had the tag before is gone with it.
    assert_eq!(images_on(&node), before + 1);

    // Saved and loaded.
    make(&project, &from("saved"), &[PLAIN]);
    let archive = project.path("saved.tar");
    let archive = archive.to_str().unwrap();
    output("docker", &["save", "-o", archive, &project.tag()]);
    output("docker", &["image", "rm", &project.tag()]);
    output("docker", &["load", "-i", archive]);
    check("saved and loaded", "saved");

    // By the classic builder.
    project.write("hand/Dockerfile", &from("classic"));
    let hand = project.path("hand");
    let mut classic = std::process::Command::new("docker");
    classic.args(["build", "-t", &project.tag()]).arg(hand).env("DOCKER_BUILDKIT", "0");
    let classic = ran(classic.output().unwrap());
    assert_eq!(classic.code, 0, "{}", classic.stderr);
    check("classic builder", "classic");

    // Pulled by its digest.
    let registry = Registry::start();
    let digest = registry.push(&project.path("scratch"), "pulled");
    let pulled = format!("{}@{digest}", registry.image().trim_end_matches(":1"));
    output("docker", &["pull", &pulled]);
    output("docker", &["tag", &pulled, &project.tag()]);
    let first = load(&project, &["load-if-needed"]).ok();
    assert_eq!(id_on(&node, &name), first.config());
    project.tg(&["load-if-needed"]).code(0).says("the node has");
    output("docker", &["image", "rm", &pulled]);

    // The other store holds none of these.
    if output("docker", &["info", "-f", "{{json .DriverStatus}}"]).contains("containerd") {
        make(&project, &from("attested"), &["--provenance=true", "--sbom=false"]);
        check("attested", "attested");
        // Two platforms; and one that is an index of which only this platform is there.
        let two = "FROM debian:bookworm-slim AS amd64\nFROM scratch AS arm64\nARG TARGETARCH\nFROM $TARGETARCH\nCOPY Dockerfile /answer\n";
        make(&project, two, &["--platform", "linux/amd64,linux/arm64"]);
        let text = std::fs::read_to_string(project.path("hand/Dockerfile")).unwrap();
        check("two platforms", text.trim());
        let archive = project.path("two.tar");
        let archive = archive.to_str().unwrap();
        output("docker", &["save", "-o", archive, &project.tag()]);
        output("docker", &["image", "rm", &project.tag()]);
        output("docker", &["load", "--platform", "linux/amd64", "-i", archive]);
        // It is the same image: a node that has it needs nothing.
        project.tg(&["load-if-needed"]).code(0).says("load app skipped");
        in_node(&node, &format!("crictl rmi {name}"));
        check("one platform of two", text.trim());
        // Layers that are compressed in another way.
        make(
            &project,
            &from("zstd"),
            &[
                PLAIN,
                "--output",
                &format!(
                    "type=image,name={},compression=zstd,force-compression=true,unpack=true",
                    project.tag()
                ),
            ],
        );
        check("zstd", "zstd");
    }

    names_of_every_form(&project, &node);
    only_the_name_is_missing(&project, &node, &name);
    a_name_without_layers_is_not_believed(&project, &node, &name);
    old_images_in_use_stay(&project, &node, &name);
    remembered::changes_behind_our_back(&project, &node, &name);
}

fn names_of_every_form(project: &Project, node: &str) {
    make(project, "FROM debian:bookworm-slim\nRUN echo named >/answer\n", &[PLAIN]);
    let bare = project.name.clone();
    for (tag, canonical) in [
        (bare.clone(), format!("docker.io/library/{bare}:latest")),
        (format!("docker.io/library/{bare}:a"), format!("docker.io/library/{bare}:a")),
        (format!("localhost:5001/x/{bare}:b_1.2"), format!("localhost:5001/x/{bare}:b_1.2")),
        (format!("example.com/{bare}:c"), format!("example.com/{bare}:c")),
    ] {
        output("docker", &["tag", &project.tag(), &tag]);
        project.write(
            "names.toml",
            &format!(
                "[cluster]\nname = \"{bare}\"\n[images.app]\ntag = \"{tag}\"\ncontext = \"app\"\n"
            ),
        );
        let ran = project.tg(&["-f", "names.toml", "load-if-needed"]).code(0);
        assert_eq!(ran.stderr.contains("pods pull `:latest`"), tag == bare, "{}", ran.stderr);
        assert_eq!(answer_on(node, &canonical), "named", "{tag}");
        project.tg(&["-f", "names.toml", "load-if-needed"]).code(0).says("the node has");
        output("docker", &["exec", node, "ctr", "-n", "k8s.io", "images", "rm", &canonical]);
        output("docker", &["image", "rm", &tag]);
    }
}

fn only_the_name_is_missing(project: &Project, node: &str, name: &str) {
    load(project, &["load"]).ok();
    in_node(
        node,
        &format!(
            "ctr -n k8s.io images tag {name} example.com/other:1 && ctr -n k8s.io images rm {name}"
        ),
    );
    let named = load(project, &["load-if-needed"]).ok();
    assert!(named.text.contains("has it as example.com/other:1"), "{}", named.text);
    assert_eq!(named.strategies(), ["tag-only"]);
    assert_eq!(named.sum("bytes_moved"), 0);
    assert_eq!(answer_on(node, name), "named");
    // The other name is somebody else's.
    assert!(names_on(node).contains(&"example.com/other:1".to_owned()));
    in_node(node, "ctr -n k8s.io images rm example.com/other:1");
}

/// Removes the topmost layers of images that no container uses, and tells which.
const REMOVE_SNAPSHOTS: &str = "ctr -n k8s.io snapshots ls | awk '$3 == \"Committed\" { print $1 }' | while read -r chain; do \
     ctr -n k8s.io snapshots rm $chain 2>/dev/null && echo $chain; done";

/// What `kind load` leaves when it is interrupted: the right name, and not what it stands for.
fn a_name_without_layers_is_not_believed(project: &Project, node: &str, name: &str) {
    make(project, "FROM debian:bookworm-slim\nRUN echo whole >/answer\n", &[PLAIN]);
    let first = load(project, &["load"]).ok();
    let top = in_node(node, REMOVE_SNAPSHOTS);
    assert!(!top.is_empty(), "no snapshot could be removed");
    assert_eq!(id_on(node, name), first.config(), "the CRI lists it all the same");
    let again = load(project, &["load-if-needed"]).ok();
    assert!(again.text.contains(&format!("without its layers on {node}")), "{}", again.text);
    assert_eq!(answer_on(node, name), "whole");
}

fn old_images_in_use_stay(project: &Project, node: &str, name: &str) {
    let old = id_on(node, name);
    let run = format!(
        "kubectl --kubeconfig /etc/kubernetes/admin.conf run user --image={name} --image-pull-policy=Never -- sleep 1000"
    );
    assert!(!in_node(node, &run).is_empty());
    wait_for("the pod runs", || !in_node(node, "crictl ps -q --name user").is_empty());
    make(project, "FROM debian:bookworm-slim\nRUN echo newer >/answer\n", &[PLAIN]);
    load(project, &["load"]).ok();
    assert_eq!(answer_on(node, name), "newer");
    assert!(in_node(node, "crictl images -q --no-trunc").contains(&old), "a container needs it");
}

#[test]
#[ignore = "needs docker and kind"]
fn layers_are_unpacked_by_the_snapshotter_of_the_node() {
    let project = project(1, "  snapshotter = \"native\"\n");
    let node = format!("{}-control-plane", project.name);
    let name = format!("docker.io/library/{}", project.tag());
    for strategy in ["push-and-pull", "push-and-import", "archive"] {
        for edit in ["one", "two"] {
            project.write("app/answer", &format!("{strategy} {edit}"));
            project.tg(&["build-if-needed"]).code(0);
            load(&project, &["load-if-needed", "--strategy", strategy]).ok();
            let run = format!("ctr -n k8s.io run --rm --snapshotter native {name} x cat /answer");
            assert_eq!(in_node(&node, &run), format!("{strategy} {edit}"));
            project.tg(&["load-if-needed"]).code(0).says("skipped: the node has");
        }
    }
    let others = in_node(&node, "ctr -n k8s.io snapshots --snapshotter overlayfs ls | wc -l");
    assert_eq!(others, "1", "only the head of the list");
}

#[test]
#[ignore = "needs docker and kind"]
fn every_way_into_three_nodes() {
    let project = project(3, "");
    let nodes: Vec<String> = ["control-plane", "worker", "worker2"]
        .map(|role| format!("{}-{role}", project.name))
        .into();
    let name = format!("docker.io/library/{}", project.tag());
    let edit = |text: &str| {
        project.write("app/answer", text);
        project.tg(&["build-if-needed"]).code(0);
    };
    let forget = || {
        for node in &nodes {
            in_node(node, &format!("crictl rmi {name}"));
        }
    };
    let all_answer = |wanted: &str| {
        for node in &nodes {
            assert_eq!(answer_on(node, &name), wanted, "{node}");
        }
    };
    for strategy in ["push-and-pull", "push-and-import", "archive", "auto"] {
        edit(&format!("{strategy} one"));
        let first = load(&project, &["load", "--strategy", strategy]).ok();
        assert!(first.sum("bytes_moved") > 3 * 3_000_000, "{strategy}: {}", first.loaded);
        all_answer(&format!("{strategy} one"));
        edit(&format!("{strategy} two"));
        let plan = project.tg(&["load-if-needed", "--explain", "-n"]).code(0).stdout;
        let moved = format!("to be moved: missing on {}", nodes.join(", "));
        assert_eq!(plan.matches(&moved).count(), 1, "{plan}");
        assert_eq!(plan.matches("on every node").count(), 2, "{plan}");
        let edited = load(&project, &["load-if-needed", "--strategy", strategy]).ok();
        assert!(edited.sum("bytes_moved") < 3 * 64_000, "{strategy}: {}", edited.loaded);
        assert!(edited.sum("bytes_saved") > 3 * 3_000_000, "{strategy}: {}", edited.loaded);
        let taken = if strategy == "auto" { "push-and-pull" } else { strategy };
        assert_eq!(edited.strategies(), [taken; 3]);
        all_answer(&format!("{strategy} two"));
        for node in &nodes {
            assert_eq!(names_on(node), std::slice::from_ref(&name));
        }
        forget();
    }
    assert_eq!(
        output("docker", &["image", "ls", "-q", "--filter", "reference=127.0.0.1:*/*/*"]),
        ""
    );

    only_some_nodes(&project, &nodes, &name);
    by_registry::the_cluster_s_own_registry(&project, &nodes, &name);
    edit("fallback");
    what_goes_wrong(&project, &nodes, &name);
    interrupted::random_interruptions(&project, &nodes, &name);
    interrupted::many_at_once(&project, &nodes);
}

fn only_some_nodes(project: &Project, nodes: &[String], name: &str) {
    let some = load(project, &["load", "--nodes", "worker,worker2"]).ok();
    assert_eq!(some.strategies().len(), 2);
    let has: Vec<bool> = nodes.iter().map(|node| !id_on(node, name).is_empty()).collect();
    assert_eq!(has, [false, true, true]);
    project.tg(&["load", "--nodes", "worker3"]).code(2).says("did you mean `worker");
    let rest = load(project, &["load-if-needed"]).ok();
    assert!(rest.text.contains(&format!("missing on {}", nodes[0])), "{}", rest.text);
    assert_eq!(rest.strategies().len(), 1);
}

fn what_goes_wrong(project: &Project, nodes: &[String], name: &str) {
    let all_answer = |wanted: &str| {
        for node in nodes {
            assert_eq!(answer_on(node, name), wanted, "{node}");
        }
    };
    // One node cannot reach this machine: it gets what arrived as an archive.
    let block = "iptables -I OUTPUT -p tcp -m owner --uid-owner 0 -d $(ip route | awk '/default/ { print $3 }') -j REJECT";
    in_node(&nodes[1], block);
    let blocked = load(project, &["load-if-needed"]).ok();
    in_node(&nodes[1], &block.replace("-I", "-D"));
    assert_eq!(blocked.strategies(), ["push-and-pull", "push-and-import", "push-and-pull"]);
    assert!(blocked.text.contains("what Docker pushed is imported"), "{}", blocked.text);
    all_answer("fallback");

    // A blob goes after the node said that it had it.
    project.write("app/answer", "vanished");
    project.tg(&["build-if-needed"]).code(0);
    let wrapper = "#!/bin/bash\ncase \"$*\" in *'images pull'*)\n for blob in $(/usr/local/bin/ctr -n k8s.io content ls -q); do /usr/local/bin/ctr -n k8s.io content rm $blob; done\n\
         /usr/local/bin/ctr -n k8s.io images rm --sync $(/usr/local/bin/ctr -n k8s.io images ls -q | grep tg-test); rm -f /usr/local/sbin/ctr ;; esac\n\
         exec /usr/local/bin/ctr \"$@\"\n";
    in_node(
        &nodes[2],
        &format!("cat >/usr/local/sbin/ctr <<'EOF'\n{wrapper}EOF\nchmod +x /usr/local/sbin/ctr"),
    );
    load(project, &["load-if-needed"]).ok();
    assert_eq!(in_node(&nodes[2], "ls /usr/local/sbin"), "", "the blobs were not removed");
    all_answer("vanished");

    // A node that is paused is named, and the others have the image.
    project.write("app/answer", "paused");
    project.tg(&["build-if-needed"]).code(0);
    output("docker", &["pause", &nodes[2]]);
    let paused = load(project, &["load-if-needed"]);
    output("docker", &["unpause", &nodes[2]]);
    assert_eq!(paused.code, 62, "{}", paused.text);
    assert!(paused.text.contains(&format!("{} is paused", nodes[2])), "{}", paused.text);
    load(project, &["load-if-needed"]).ok();
    all_answer("paused");
}

/// Waits for something, a minute at most.
#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A `tg` that is under way.
fn start(project: &Project, args: &[&str]) -> std::process::Child {
    project.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
