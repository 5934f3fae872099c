//! `--list`, and how the task file is found.

use serde_json::{Value, json};

use crate::support::Tg;

const TASKS: &str = r#"
[images.app]
[images.app.variants.fast]
dockerfile = "Dockerfile"

[tasks.test-kind]
description = "Tests in Kind"
steps = [{ build = "app" }, { load = "app" }, { cargo-test = "it" }]

[tasks.up]
steps = [{ cluster = "create" }]
"#;

#[test]
fn the_list_names_tasks_and_images() {
    insta::assert_snapshot!(Tg::with_tasks(TASKS).args(["--list"]).run(), @r"
    --- stdout
    Tasks:
      test-kind  Tests in Kind
      up
    Images:
      app       app:test
      app.fast  app:test-fast
    --- exit 0
    ");
}

#[test]
fn without_a_command_the_tasks_are_listed() {
    let bare = Tg::with_tasks(TASKS).run();
    assert_eq!(bare.to_string(), Tg::with_tasks(TASKS).args(["--list"]).run().to_string());
    assert_eq!(bare.code, 0);
}

fn json_list(tg: &Tg) -> Value {
    let output = tg.run();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output}");
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn the_list_as_json_is_versioned_and_whole() {
    let list = json_list(&Tg::with_tasks(TASKS).args(["--list", "--json"]));
    let expected = json!({
        "schema": 1,
        "file": "$DIR/tasks.toml",
        "cluster": "kind",
        "tasks": [
            {
                "name": "test-kind",
                "description": "Tests in Kind",
                "steps": ["build app", "load app", "cargo-test it"],
            },
            { "name": "up", "description": null, "steps": ["cluster create"] },
        ],
        "images": [
            { "name": "app", "tag": "app:test" },
            { "name": "app.fast", "tag": "app:test-fast" },
        ],
    });
    assert_eq!(list, expected);
}

#[test]
fn the_environment_and_the_command_line_name_the_cluster() {
    let tasks = format!("[cluster]\nname = \"from-file\"\n{TASKS}");
    let cluster = |tg: Tg| json_list(&tg)["cluster"].clone();
    let tg = || Tg::with_tasks(&tasks).args(["--list", "--json"]);
    assert_eq!(cluster(tg()), "from-file");
    assert_eq!(cluster(tg().env("KIND_CLUSTER_NAME", "from-env")), "from-env");
    let both = tg().args(["--list", "--json", "--cluster", "from-flag"]);
    assert_eq!(cluster(both.env("KIND_CLUSTER_NAME", "from-env")), "from-flag");
}

#[test]
fn a_cluster_name_that_kind_refuses_is_a_usage_error() {
    let output = Tg::with_tasks(TASKS).args(["--list"]).env("KIND_CLUSTER_NAME", "Not_OK").run();
    insta::assert_snapshot!(output, @r"
    --- stderr
    error: `Not_OK` is not a name that Kind accepts
    --- exit 2
    ");
}

/// The file that `--list` reads, in a tree with a task file at the top, one in `a` and one under another name.
fn chosen(start: &str, args: &[&str]) -> String {
    let named = |name: &str| format!("[tasks.{name}]\nsteps = []\n");
    let tg = Tg::new()
        .file("tasks.toml", named("top"))
        .file("a/tasks.toml", named("a"))
        .file("a/other.toml", named("other"))
        .file("b/c/keep", "")
        .started_in(start);
    let tg = match *args {
        [] => tg.args(["--list", "--json"]),
        [one, two] => tg.args(["--list", "--json", one, two]),
        [one, two, three, four] => tg.args(["--list", "--json", one, two, three, four]),
        _ => panic!("no, one or two options"),
    };
    json_list(&tg)["tasks"][0]["name"].as_str().unwrap().to_owned()
}

#[test]
fn the_nearest_task_file_at_or_above_is_used() {
    assert_eq!(chosen("", &[]), "top");
    assert_eq!(chosen("b/c", &[]), "top");
    assert_eq!(chosen("a", &[]), "a");
    assert_eq!(chosen("a/deep/er", &[]), "a");
}

#[test]
fn directory_and_file_can_be_named() {
    assert_eq!(chosen("", &["-C", "a"]), "a");
    assert_eq!(chosen("", &["-C", "b/c"]), "top");
    assert_eq!(chosen("", &["-f", "a/other.toml"]), "other");
    assert_eq!(chosen("", &["--file", "a/tasks.toml"]), "a");
    assert_eq!(chosen("", &["-C", "a", "-f", "other.toml"]), "other");
}

#[test]
fn the_directory_above_is_above() {
    assert_eq!(chosen("a", &["-C", "../b"]), "top");
    assert_eq!(chosen("a/deep", &["-C", "../.."]), "top");
}

#[test]
fn the_directory_itself_is_not_above_its_parent() {
    let tg = Tg::new().file("a/tasks.toml", "[tasks.a]\nsteps = []\n").started_in("a");
    let output = tg.args(["--list", "-C", ".."]).run();
    assert_eq!(output.code, 60);
    assert!(output.stderr.contains("no tasks.toml in $DIR or any directory above it"), "{output}");
}

#[test]
fn the_environment_can_name_the_file() {
    let tg =
        Tg::with_tasks(TASKS).file("x.toml", "[tasks.x]\nsteps = []\n").env("TG_FILE", "x.toml");
    assert_eq!(json_list(&tg.args(["--list", "--json"]))["tasks"][0]["name"], "x");
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let code = |name: &str, value: &str| Tg::with_tasks(TASKS).env(name, value).run().code;
    assert_eq!(code("TG_FORCE", "true"), 0);
    assert_eq!(code("TG_FORCE", "1"), 0);
    for name in ["TG_FORCE", "TG_FILE", "KIND_CLUSTER_NAME", "TG_NODE_IMAGE"] {
        assert_eq!(code(name, ""), 0, "{name}");
    }
}

#[test]
fn a_missing_task_file_is_told_with_what_to_do() {
    insta::assert_snapshot!(Tg::new().args(["--list"]).run(), @r"
    --- stderr
    error: no tasks.toml in $DIR or any directory above it
    hint: write one, or name one with --file
    --- exit 60
    ");
    insta::assert_snapshot!(Tg::new().args(["--list", "-C", "gone"]).run(), @r"
    --- stderr
    error: no tasks.toml in $DIR/gone or any directory above it
    hint: write one, or name one with --file
    --- exit 60
    ");
    insta::assert_snapshot!(Tg::new().args(["--list", "-f", "gone.toml"]).run(), @r"
    --- stderr
    error: cannot read $DIR/gone.toml: No such file or directory (os error 2)
    --- exit 60
    ");
}

#[test]
fn looking_at_the_task_file_starts_no_program() {
    let mut tg = Tg::with_tasks(TASKS);
    for program in ["docker", "kind", "cargo", "kubectl"] {
        tg = tg.executable(program, "echo \"$0\" >> \"$HOME/started\"");
    }
    let tg = tg.args(["--list"]);
    assert_eq!(tg.run().code, 0);
    assert!(!tg.path(".home/started").exists());
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for args in [["--list", "--json"], ["--list", "--verbose"]] {
        let output = Tg::with_tasks(TASKS).args(args).run_with_closed_stdout();
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{args:?}");
    }
}
