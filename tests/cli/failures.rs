//! What is said when a command cannot be carried out: names that nobody knows, no Docker, another provider; and its colour.

use serde_json::Value;

use crate::support::Tg;

const TASKS: &str = r#"
[images.app]
[images.app.variants.fast]
dockerfile = "Dockerfile"

[tasks.test-kind]
steps = [{ cargo-test = "it" }]
"#;

fn tg<const N: usize>(args: [&str; N]) -> Tg {
    Tg::with_tasks(TASKS).args(args)
}

#[test]
fn an_unknown_task_or_command_is_a_usage_error() {
    insta::assert_snapshot!(tg(["test-kidn"]).run(), @r"
    --- stderr
    error: no task or command `test-kidn`
    hint: did you mean `test-kind`?
    hint: tg --list shows the tasks, tg --help the commands
    --- exit 2
    ");
    insta::assert_snapshot!(tg(["cache-statu"]).run(), @r"
    --- stderr
    error: no task or command `cache-statu`
    hint: did you mean `cache-status`?
    hint: tg --list shows the tasks, tg --help the commands
    --- exit 2
    ");
    insta::assert_snapshot!(tg(["something-else"]).run(), @r"
    --- stderr
    error: no task or command `something-else`
    hint: tg --list shows the tasks, tg --help the commands
    --- exit 2
    ");
}

#[test]
fn an_unknown_tier_or_task_by_its_command_is_a_usage_error() {
    insta::assert_snapshot!(tg(["test", "kidn"]).run(), @r"
    --- stderr
    error: no task or command `test-kidn`
    hint: did you mean `test-kind`?
    hint: tg --list shows the tasks, tg --help the commands
    --- exit 2
    ");
    insta::assert_snapshot!(tg(["run", "test-kinds"]).run(), @r"
    --- stderr
    error: no task or command `test-kinds`
    hint: did you mean `test-kind`?
    hint: tg --list shows the tasks, tg --help the commands
    --- exit 2
    ");
}

#[test]
fn an_unknown_image_is_a_usage_error() {
    insta::assert_snapshot!(tg(["build", "ap"]).run(), @r"
    --- stderr
    error: no image `ap` in the task file
    hint: did you mean `app`?
    --- exit 2
    ");
    insta::assert_snapshot!(tg(["load-if-needed", "app.fats"]).run(), @r"
    --- stderr
    error: no image `app.fats` in the task file
    hint: did you mean `app.fast`?
    --- exit 2
    ");
    insta::assert_snapshot!(tg(["cache-status", "database"]).run(), @r"
    --- stderr
    error: no image `database` in the task file
    hint: defined: app, app.fast
    --- exit 2
    ");
}

#[test]
fn docker_that_cannot_be_reached_is_told_with_what_to_do() {
    insta::assert_snapshot!(tg(["cache-status"]).run(), @r"
    --- stderr
    error: cannot reach Docker at unix:///nonexistent.sock: Socket not found: /nonexistent.sock
    hint: start Docker, or set DOCKER_HOST or DOCKER_CONTEXT to a running engine; docker info tells more
    --- exit 61
    ");
}

#[test]
fn every_command_that_needs_docker_says_so() {
    for args in [
        ["test", "kind"],
        ["run", "test-kind"],
        ["test-kind", "--dry-run"],
        ["build", "app"],
        ["build-if-needed", "app"],
        ["rebuild", "app"],
        ["load", "app"],
        ["load-if-needed", "app.fast"],
        ["cluster", "status"],
        ["cluster", "create"],
        ["cluster", "delete"],
        ["clean", "--yes"],
    ] {
        let output = tg(args).run();
        assert_eq!((output.code, output.stdout.as_str()), (61, ""), "{args:?}: {output}");
        assert!(output.stderr.contains("hint:"), "{args:?}: {output}");
    }
}

#[test]
fn docker_that_cannot_be_reached_is_told_as_json() {
    let output = tg(["cache-status", "--json"]).run();
    let answer: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.code, &answer["exit_code"], &answer["schema"]), (61, &61.into(), &1.into()));
    assert!(answer["error"].as_str().unwrap().contains("/nonexistent.sock"), "{answer}");
    assert_eq!(answer["hints"].as_array().unwrap().len(), 1, "{answer}");
}

#[test]
fn quiet_keeps_failures() {
    let output = tg(["cache-status", "--quiet"]).run();
    assert_eq!(output.to_string(), tg(["cache-status"]).run().to_string());
    assert_eq!(output.code, 61);
}

#[test]
fn another_provider_is_refused() {
    let output = tg(["cache-status"]).env("KIND_EXPERIMENTAL_PROVIDER", "podman").run();
    insta::assert_snapshot!(output, @r"
    --- stderr
    error: KIND_EXPERIMENTAL_PROVIDER=podman: tg works with Docker only
    hint: unset KIND_EXPERIMENTAL_PROVIDER
    --- exit 62
    ");
    let docker = tg(["cache-status"]).env("KIND_EXPERIMENTAL_PROVIDER", "docker").run();
    assert_eq!(docker.code, 61, "Docker named outright is fine: {docker}");
}

#[test]
fn colour_is_where_it_was_asked_for() {
    let colored = |tg: Tg| {
        let output = tg.run();
        assert_ne!(output.code, 0);
        output.stderr.contains("\u{1b}[")
    };
    let wrong = |when: &str| Tg::with_tasks("[cluter]\n").args(["--list", "--color", when]);
    let unreachable = |when: &str| tg(["cache-status", "--color", when]);
    assert!(colored(wrong("always")) && colored(unreachable("always")));
    assert!(!colored(wrong("auto")) && !colored(unreachable("auto")), "not on a terminal");
    assert!(!colored(wrong("never")) && !colored(unreachable("never")));
    assert!(!colored(unreachable("auto").env("NO_COLOR", "1")));
    assert!(
        colored(unreachable("always").env("NO_COLOR", "1")),
        "the option is nearer than NO_COLOR"
    );
}

#[test]
fn json_is_never_coloured() {
    let output = tg(["cache-status", "--json", "--color", "always"]).run();
    assert!(!output.stdout.contains('\u{1b}'), "{}", output.stdout);
}

#[test]
fn github_gets_an_annotation_on_one_line() {
    let tasks = "[cluter]\n[tsks]\n";
    let output = Tg::with_tasks(tasks).args(["--list"]).env("GITHUB_ACTIONS", "true").run();
    insta::assert_snapshot!(output.stdout, @"::error title=tg::$DIR/tasks.toml:1:2: unknown key `cluter` in the task file%0A$DIR/tasks.toml:2:2: unknown key `tsks` in the task file");
}

#[test]
fn json_stays_one_value_in_github_too() {
    let tg = Tg::with_tasks("[cluter]\n").args(["--list", "--json"]);
    let output = tg.env("GITHUB_ACTIONS", "true").run();
    let answer: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(answer["exit_code"], 60);
}

#[test]
fn an_engine_that_does_not_answer_can_be_interrupted() {
    use std::os::unix::net::UnixListener;

    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let engine = UnixListener::bind(&socket).unwrap();
    std::fs::write(directory.path().join("tasks.toml"), "[tasks.a]\nsteps = []\n").unwrap();
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_tg"))
        .arg("cache-status")
        .current_dir(directory.path())
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .env_remove("KIND_EXPERIMENTAL_PROVIDER")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It has connected, so it listens to signals, and waits for an answer that never comes.
    let connection = engine.accept().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    drop(connection);
}
