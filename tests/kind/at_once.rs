//! Several tg that begin at the same moment, with nothing there.

use std::process::Stdio;

use super::support::{Project, Ran, output, ran};

#[test]
#[ignore = "needs docker and kind"]
fn eight_at_once_make_one_cluster_and_build_each_image_once() {
    let project = Project::new();
    let name = &project.name;
    project.write("second/Dockerfile", "FROM debian:bookworm-slim\nRUN echo two >/answer\n");
    project.write(
        "tasks.toml",
        &format!(
            "[cluster]\nname = \"{name}\"\nconfig = \"kind.yaml\"\n\
             [images.app]\ntag = \"{name}:test\"\ncontext = \"app\"\n\
             [images.second]\ntag = \"{name}:second\"\ncontext = \"second\"\n\
             [tasks.test-cached]\nsteps = [{{ build = \"app\" }}, {{ build = \"second\" }}, {{ load = \"app\" }}, {{ load = \"second\" }}, {{ run = [\"true\"] }}]\n"
        ),
    );
    let start = || {
        let mut command = project.command(&["test", "cached"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let started: Vec<_> = (0..8).map(|_| start()).collect();
    let done: Vec<Ran> =
        started.into_iter().map(|child| ran(child.wait_with_output().unwrap()).code(0)).collect();
    let all: String = done.iter().map(|ran| ran.stderr.as_str()).collect();
    let lines = |begin: &str, has: &str| {
        all.lines().filter(|line| line.starts_with(begin) && line.contains(has)).count()
    };
    assert_eq!(lines("✓ build app", "steps cached"), 1, "{all}");
    assert_eq!(lines("✓ build second", "steps cached"), 1, "{all}");
    assert_eq!(lines("  nodes are up", ""), 1, "{all}");
    let node = format!("{name}-control-plane");
    for image in ["test", "second"] {
        let id = ["exec", &node, "crictl", "inspecti", "-q", &format!("{name}:{image}")];
        assert_ne!(output("docker", &id), "", "{image} is not in the node");
    }
    // All of them see the same now.
    project.tg(&["test", "cached"]).code(0).says("load second skipped: the node has");
    output("docker", &["image", "rm", &format!("{name}:second")]);
}
