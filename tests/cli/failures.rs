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
    insta::assert_snapshot!(tg(["test-kidn"]).run(), @"");
    insta::assert_snapshot!(tg(["cache-statu"]).run(), @"");
    insta::assert_snapshot!(tg(["something-else"]).run(), @"");
}

#[test]
fn an_unknown_tier_or_task_by_its_command_is_a_usage_error() {
    insta::assert_snapshot!(tg(["test", "kidn"]).run(), @"");
    insta::assert_snapshot!(tg(["run", "test-kinds"]).run(), @"");
}

#[test]
fn an_unknown_image_is_a_usage_error() {
    insta::assert_snapshot!(tg(["build", "ap"]).run(), @"");
    insta::assert_snapshot!(tg(["load-if-needed", "app.fats"]).run(), @"");
    insta::assert_snapshot!(tg(["cache-status", "database"]).run(), @"");
}

#[test]
fn docker_that_cannot_be_reached_is_told_with_what_to_do() {
    insta::assert_snapshot!(tg(["cache-status"]).run(), @"");
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
    insta::assert_snapshot!(output, @"");
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
    insta::assert_snapshot!(output.stdout, @"");
}
