//! The story of a day, in a real Kind cluster: `cargo test --test kind -- --ignored`.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]
#![expect(dead_code, reason = "the Docker tests use the rest of the support module")]

use support::{Project, answer_of, output};

#[path = "kind/at_once.rs"]
mod at_once;
mod support;

/// What the CRI of a node has under the project's tag: the config digest.
fn on_node(project: &Project, node: &str) -> String {
    let name = format!("docker.io/library/{}", project.tag());
    let template = "{{.status.id}}";
    let args =
        ["exec", node, "crictl", "inspecti", "-o", "go-template", "--template", template, &name];
    output("docker", &args)
}

/// What a container that a node's containerd starts from the image finds in `/answer`: the code that would run.
fn answer_on_node(project: &Project, node: &str) -> String {
    let name = format!("docker.io/library/{}", project.tag());
    let run = [
        "exec",
        node,
        "ctr",
        "-n",
        "k8s.io",
        "run",
        "--rm",
        &name,
        "tg-test-answer",
        "cat",
        "/answer",
    ];
    output("docker", &run)
}

#[test]
#[ignore = "needs docker and kind"]
fn a_day_on_three_nodes() {
    let project = Project::new();
    project.nodes(3);
    let nodes =
        ["control-plane", "worker", "worker2"].map(|role| format!("{}-{role}", project.name));
    let all_answer = |wanted: &str| {
        for node in &nodes {
            assert_eq!(answer_on_node(&project, node), wanted, "{node}");
        }
    };

    // Cold: the cluster is made, the image built and loaded.
    let cold = project.tg(&["test", "cached"]).code(0).says("there is no such cluster");
    let cold = cold.says("is not in Docker").says("verified on 3 nodes");
    assert!(cold.stdout.contains(&on_node(&project, &nodes[0])), "{}", cold.stdout);
    all_answer("one");

    // Warm: nothing is built, nothing is loaded, and it says why.
    let warm =
        project.tg(&["test", "cached"]).code(0).says("cluster").says("skipped: 3 nodes ready");
    warm.says("build app skipped: inputs unchanged").says("load app skipped: all 3 nodes have");

    // An edit: one image is built and reloaded; the nodes have the new code.
    project.write("app/answer", "two\n");
    project
        .tg(&["test", "cached"])
        .code(0)
        .says("inputs changed: ~ answer")
        // The layer that changed.
        .says("verified on 3 nodes (1 of 2 layers, ");
    all_answer("two");
    assert_eq!(
        output("docker", &["image", "ls", "-q", "--filter", "reference=127.0.0.1:*/*/*"]),
        ""
    );
    for node in &nodes {
        let names = output("docker", &["exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q"]);
        assert!(!names.contains("tg-load"), "{names}");
    }

    // Gone from one node: that node alone is loaded.
    output(
        "docker",
        &["exec", &nodes[1], "crictl", "rmi", &format!("docker.io/library/{}", project.tag())],
    );
    let reload = project.tg(&["test", "cached"]).code(0);
    reload
        .says(&format!("1 of 3 nodes: missing on {}", nodes[1]))
        .says(&format!("verified on {}", nodes[1]));
    all_answer("two");

    // The same tag built by hand: `fast` never builds, and loads what is there.
    project.write(
        "hand/Dockerfile",
        "FROM debian:bookworm-slim\nRUN echo hand > /answer\nCMD [\"sleep\", \"1\"]\n",
    );
    let hand = project.path("hand");
    let hand = hand.to_str().unwrap();
    output(
        "docker",
        &["buildx", "build", "--load", "--provenance=false", "-t", &project.tag(), hand],
    );
    let fast =
        project.tg(&["test", "fast"]).code(0).says("3 of 3 nodes").says("verified on 3 nodes");
    assert!(!fast.stderr.contains("build app"), "{}", fast.stderr);
    all_answer("hand");

    // With attestations the engine tells no config digest before the first load, and then tg remembers it.
    output(
        "docker",
        &["buildx", "build", "--load", "--provenance=true", "-t", &project.tag(), hand],
    );
    project.tg(&["test", "fast"]).code(0);
    all_answer("hand");
    project.tg(&["test", "fast"]).code(0).says("load app skipped: all 3 nodes have");

    // A stopped node is a failure that names it and what to do.
    output("docker", &["stop", "-t", "1", &nodes[2]]);
    let stopped = project.tg(&["test", "fast"]).code(62).says(&format!("{} is exited", nodes[2]));
    stopped.says("tg cluster create --recreate");

    // The cluster deleted: it is made again and loaded.
    project.tg(&["cluster", "delete"]).code(0);
    project.tg(&["cluster", "status"]).code(62);
    project.nodes(1);
    project.tg(&["test", "cached"]).code(0).says("there is no such cluster").says("verified on");
    assert_eq!(answer_on_node(&project, &nodes[0]), "two");
    assert_eq!(answer_of(&project.tag()), "two");
    project.tg(&["clean", "--yes"]).code(0);
    assert_eq!(output("docker", &["ps", "-aq", "--filter", &format!("name={}", project.name)]), "");
}

#[test]
#[ignore = "needs docker and kind"]
fn a_cluster_that_tg_did_not_make_is_used_but_never_deleted() {
    let project = Project::new();
    project.write("tasks.toml", &format!(
        "[cluster]\nname = \"{0}\"\ncreate = \"never\"\n[images.app]\ntag = \"{0}:test\"\ncontext = \"app\"\n\
         [tasks.go]\nsteps = [{{ build = \"app\" }}, {{ load = \"app\" }}, {{ run = [\"kubectl\", \"get\", \"nodes\", \"-o\", \"name\"] }}]\n",
        project.name
    ));
    project.tg(&["go"]).code(62).says("create = \"never\"");
    let kubeconfig = project.path("by-hand");
    let kubeconfig = kubeconfig.to_str().unwrap();
    let mut create = vec![
        "create",
        "cluster",
        "--name",
        &project.name,
        "--kubeconfig",
        kubeconfig,
        "--wait",
        "120s",
    ];
    let image = std::env::var("TG_NODE_IMAGE").unwrap_or_default();
    if !image.is_empty() {
        create.extend(["--image", &image]);
    }
    output("kind", &create);
    let ran = project.tg(&["go"]).code(0);
    assert_eq!(ran.stdout.trim(), format!("node/{}-control-plane", project.name));
    project.tg(&["cluster", "delete"]).code(66).says("tg did not make");
    project.tg(&["clean", "cluster", "--yes"]).code(0).says("left alone");
    assert_ne!(output("docker", &["ps", "-q", "--filter", &format!("name={}", project.name)]), "");
}
