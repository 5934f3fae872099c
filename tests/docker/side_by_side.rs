//! Steps that do not need each other run at the same time, and what stops then.

use serde_json::Value;

use super::support::{Project, output};

/// A project with two images and a crate whose test compiles, or not.
fn project(source: &str, slow: &str) -> Project {
    let project = Project::new();
    let name = &project.name;
    project.write(
        "Cargo.toml",
        "[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    project.write("src/lib.rs", "");
    project.write("tests/it.rs", source);
    project.write("app/Dockerfile", &format!("FROM debian:bookworm-slim\nRUN sleep {slow}\n"));
    project.write("second/Dockerfile", &format!("FROM debian:bookworm-slim\nRUN sleep {slow}.1\n"));
    project.write("third/Dockerfile", &format!("FROM {name}:test\nRUN true\n"));
    let mut file = format!(
        "[cluster]\nname = \"{name}\"\n[images.app]\ntag = \"{name}:test\"\ncontext = \"app\"\n"
    );
    for image in ["second", "third"] {
        file += &format!("[images.{image}]\ntag = \"{name}:{image}\"\ncontext = \"{image}\"\n");
    }
    file += "[tasks.all]\nsteps = [{ build = \"app\" }, { build = \"second\" }, { build = \"third\" }, { cargo-test = \"it\" }]\n";
    project.write("tasks.toml", &file);
    project
}

/// When a step started and ended, in seconds since the run began.
fn span(events: &[Value], kind: &str, object: &str) -> (f64, f64) {
    let at = |event: &str| {
        let is_it = |found: &&Value| {
            found["event"] == event
                && found["step"]["kind"] == kind
                && found["step"]["object"] == object
        };
        let found = events.iter().find(is_it);
        found.unwrap_or_else(|| panic!("no {event} of {kind} {object}"))["elapsed"]
            .as_f64()
            .unwrap()
    };
    (at("step-started"), at("step-finished"))
}

#[test]
#[ignore = "needs docker"]
fn tests_are_compiled_while_images_are_built() {
    let project = project("#[test]\nfn it() {}\n", "2");
    let picture = project.path("run.svg");
    let ran = project.tg(&["all", "--json", "--timeline", picture.to_str().unwrap()]).code(0);
    let events: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [app, second, third] =
        ["app", "second", "third"].map(|image| span(&events, "build", image));
    let (compile, test) = (span(&events, "compile", "it"), span(&events, "cargo-test", "it"));
    let beside = |one: (f64, f64), other: (f64, f64)| one.0 < other.1 && other.0 < one.1;
    assert!(beside(app, second) && beside(app, compile) && beside(second, compile), "{events:?}");
    assert!(third.0 >= app.1, "it begins with app: {events:?}");
    assert!([app, second, third, compile].iter().all(|step| test.0 >= step.1), "{events:?}");
    let chain: Vec<&str> = events.last().unwrap()["chain"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"]["object"].as_str().unwrap())
        .collect();
    assert_eq!(chain.last(), Some(&"it"), "{events:?}");
    assert!(std::fs::read_to_string(picture).unwrap().contains("build second"));

    // With nothing else to do, cargo is asked once.
    let again = project.tg(&["all"]).code(0);
    assert!(!again.stderr.contains("compile"), "{}", again.stderr);
    for image in ["second", "third"] {
        output("docker", &["image", "rm", &format!("{}:{image}", project.name)]);
    }
}

#[test]
#[ignore = "needs docker"]
fn a_test_that_does_not_compile_stops_the_builds() {
    let project = project("fn it() { this is wrong }\n", "900");
    let ran = project.tg(&["all"]).code(101);
    let ran = ran.says("error: expected one of").says("the tests did not compile");
    ran.says("build app stopped").says("build second stopped");
    let left = output("docker", &["image", "ls", "-q", &project.name]);
    assert_eq!(left, "", "what was not built has no tag");
}

#[test]
#[ignore = "needs docker"]
fn a_context_that_cargo_compiles_into_is_built_once_that_is_done() {
    let project = project("#[test]\nfn it() {}\n", "1");
    // Longer than three builds.
    let script = "use std::time::{Duration, Instant};\nfn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    let (out, began) = (std::env::var(\"OUT_DIR\").unwrap(), Instant::now());\n    \
         while began.elapsed() < Duration::from_secs(15) {\n        std::fs::write(format!(\"{out}/now\"), format!(\"{began:?} {:?}\", began.elapsed())).unwrap();\n    }\n}\n";
    project.write("build.rs", script);
    project.write("Dockerfile", "FROM debian:bookworm-slim\nCOPY src /src\n");
    let name = &project.name;
    project.write("tasks.toml", &format!(
        "[cluster]\nname = \"{name}\"\n[images.app]\ntag = \"{name}:test\"\n[tasks.all]\nsteps = [{{ build = \"app\" }}, {{ cargo-test = \"it\" }}]\n"
    ));
    project.write(".dockerignore", "state\n");
    project.tg(&["all"]).code(0).says("waiting until the tests are compiled");
}
