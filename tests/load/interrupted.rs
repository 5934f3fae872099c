//! Loads that are killed, nodes that fall over under them, and many loads at once.

use std::time::Duration;

use super::{answer_on, id_on, in_node, load, make, names_on, output, start, wait_for};
use crate::support::Project;

/// Numbers that look random and are the same for the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// As often as `TG_INTERRUPTIONS` says.
pub(crate) fn random_interruptions(project: &Project, nodes: &[String], name: &str) {
    let text = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = text("TG_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let times = text("TG_INTERRUPTIONS").unwrap_or(8);
    let mut numbers = Numbers(seed);
    let variants: Vec<String> = (0..4).map(|n| format!("{}:v{n}", project.name)).collect();
    for (number, variant) in variants.iter().enumerate() {
        let dockerfile = format!(
            "FROM debian:bookworm-slim\nRUN echo v{number} >/answer; head -c 8000000 /dev/urandom >/large\n"
        );
        make(project, &dockerfile, &["--provenance=false"]);
        output("docker", &["tag", &project.tag(), variant]);
    }
    for round in 0..times {
        let number = numbers.below(4) as usize;
        output("docker", &["tag", &variants[number], &project.tag()]);
        let mut child = start(project, &["load"]);
        std::thread::sleep(Duration::from_millis(numbers.below(1200)));
        let node = &nodes[numbers.below(3) as usize];
        let how = numbers.below(4);
        let story = format!("seed {seed}, round {round}: v{number}, way {how}, {node}");
        match how {
            0 => child.kill().unwrap(),
            1 => drop(in_node(node, "pkill -KILL -x ctr")),
            2 => drop(in_node(node, "systemctl restart containerd")),
            _ => drop(output("docker", &["pause", node])),
        }
        let code = child.wait().unwrap().code();
        output("docker", &["unpause", node]);
        wait_for("containerd", || in_node(node, "crictl info >/dev/null && echo up") == "up");
        let wanted = format!("v{number}");
        let all_have_it = || nodes.iter().all(|node| answer_on(node, name) == wanted);
        if code == Some(0) {
            assert!(all_have_it(), "{story}: reported as loaded, but it is not");
        }
        let next = load(project, &["load-if-needed"]);
        assert_eq!(next.code, 0, "{story}\n{}", next.text);
        assert!(all_have_it(), "{story}\n{}", next.text);
        assert_eq!(
            output("docker", &["image", "ls", "-q", "--filter", "reference=127.0.0.1:*/*/*"]),
            "",
            "{story}: a temporary name is left in Docker"
        );
    }
    for node in nodes {
        assert_eq!(names_on(node), [name.to_owned()]);
        let left = "ls -d /run/tg-load-* 2>/dev/null";
        wait_for("no directory is left", || in_node(node, left).is_empty());
    }
    for variant in &variants {
        output("docker", &["image", "rm", variant]);
    }
}

/// Twenty loads of five images that share layers, all at once.
pub(crate) fn many_at_once(project: &Project, nodes: &[String]) {
    let images: Vec<String> = (0..5).map(|n| format!("{}:m{n}", project.name)).collect();
    let mut file = format!("[cluster]\nname = \"{}\"\n", project.name);
    for (number, image) in images.iter().enumerate() {
        let dockerfile = format!(
            "FROM debian:bookworm-slim\nRUN echo shared >/shared\nRUN echo m{number} >/answer\n"
        );
        make(project, &dockerfile, &["--provenance=false"]);
        output("docker", &["tag", &project.tag(), image]);
        file.push_str(&format!("[images.m{number}]\ntag = \"{image}\"\ncontext = \"app\"\n"));
    }
    project.write("many.toml", &file);
    let started: Vec<_> = (0..20)
        .map(|n| {
            let args = ["-f", "many.toml", "load", &format!("m{}", n % 5)];
            let mut command = project.command(&args);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in started {
        let ran = crate::support::ran(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("verified on 3 nodes"), "{}", ran.stderr);
    }
    for node in nodes {
        for (number, image) in images.iter().enumerate() {
            let name = format!("docker.io/library/{image}");
            assert_eq!(answer_on(node, &name), format!("m{number}"), "{node}");
            assert!(!id_on(node, &name).is_empty());
        }
    }
    for image in &images {
        output("docker", &["image", "rm", image]);
    }
}
