//! What was seen in a node is believed as long as the node was not changed, whoever changes it and however.

use super::{answer_on, id_on, in_node, load, make, output, wait_for};
use crate::support::Project;

/// Runs until what was seen is on record, which takes a node that nobody has changed for a while.
fn wait_for_record(project: &Project) {
    let looks = project.path("state/looks");
    let _ = std::fs::remove_dir_all(&looks);
    wait_for("what was seen is on record", || {
        project.tg(&["load-if-needed"]).code(0);
        looks.is_dir()
    });
}

pub(crate) fn changes_behind_our_back(project: &Project, node: &str, name: &str) {
    let from = |text: &str| format!("FROM debian:bookworm-slim\nRUN echo {text} >/answer\n");
    make(project, &from("other"), &[super::PLAIN]);
    load(project, &["load-if-needed"]).ok();
    let other = id_on(node, name);
    in_node(node, &format!("ctr -n k8s.io images tag {name} docker.io/library/other:test"));
    make(project, &from("right"), &[super::PLAIN]);
    load(project, &["load-if-needed"]).ok();
    let right = id_on(node, name);
    assert_ne!(right, other);

    for change in [
        format!("crictl rmi {name}"),
        format!("ctr -n k8s.io images rm {name}"),
        format!("ctr -n k8s.io images tag --force docker.io/library/other:test {name}"),
        // The name stays, and what it stands for cannot be run any more.
        super::REMOVE_SNAPSHOTS.to_owned(),
    ] {
        wait_for_record(project);
        in_node(node, &change);
        let next = load(project, &["load-if-needed"]).ok();
        assert_eq!(id_on(node, name), right, "{change}\n{}", next.text);
        assert_eq!(answer_on(node, name), "right", "{change}\n{}", next.text);
    }

    wait_for_record(project);
    in_node(node, "systemctl restart containerd");
    wait_for("containerd", || in_node(node, "crictl info >/dev/null && echo up") == "up");
    project.tg(&["load-if-needed"]).code(0).says("skipped: the node has");

    // The same of the whole node.
    wait_for_record(project);
    output("docker", &["restart", "--time", "1", node]);
    wait_for("containerd", || in_node(node, "crictl info >/dev/null && echo up") == "up");
    project.tg(&["load-if-needed"]).code(0).says("skipped: the node has");

    // With everything read again nothing of it is believed: a record that is made up is.
    wait_for_record(project);
    let looks = std::fs::read_dir(project.path("state/looks")).unwrap();
    for look in looks.flatten() {
        let text = std::fs::read_to_string(look.path()).unwrap();
        assert!(text.contains(&right), "{text}");
        std::fs::write(look.path(), text.replace(&right, &other)).unwrap();
    }
    let plan = project.tg(&["load-if-needed", "--dry-run"]).code(0).stdout;
    assert!(plan.contains("run      load app"), "{plan}");
    project.tg(&["load-if-needed", "--verify"]).code(0).says("skipped: the node has");
}
