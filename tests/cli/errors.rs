//! Every mistake in a task file: its place, its line, a caret and what could have been meant.

use crate::support::Tg;

/// What is said about a task file that must be rejected.
fn rejected(tasks: impl AsRef<[u8]>) -> String {
    let tg = Tg::new()
        .file("Dockerfile", "FROM scratch\n")
        .file("sub/keep", "")
        .file("tasks.toml", tasks)
        .args(["--list"]);
    let output = tg.run();
    assert_eq!((output.code, output.stdout.as_str()), (60, ""), "{output}");
    output.stderr
}

#[test]
fn an_unknown_key_in_the_file() {
    insta::assert_snapshot!(rejected(r#"[cluter]
name = "x"
"#), @"");
}

#[test]
fn an_unknown_key_in_the_cluster() {
    insta::assert_snapshot!(rejected(r#"[cluster]
nam = "x"
"#), @"");
}

#[test]
fn an_unknown_key_in_an_image() {
    insta::assert_snapshot!(rejected(r#"[images.app]
dockerfil = "Dockerfile"
"#), @"");
}

#[test]
fn an_unknown_key_that_is_near_nothing() {
    insta::assert_snapshot!(rejected(r#"[images.app]
registry = "x"
"#), @"");
}

#[test]
fn an_unknown_key_in_a_variant() {
    insta::assert_snapshot!(rejected(r#"[images.app.variants.fast]
taget = "x"
"#), @"");
}

#[test]
fn an_unknown_key_in_a_task() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
step = []
steps = []
"#), @"");
}

#[test]
fn an_unknown_key_in_a_step() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ build = "app", wen = "always" }]
"#), @"");
}

#[test]
fn a_misspelt_kind_of_step() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ biuld = "app" }]
"#), @"");
}

#[test]
fn a_step_without_a_kind() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{}]
"#), @"");
}

#[test]
fn two_kinds_in_one_step() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ build = "app", load = "app" }]
"#), @"");
}

#[test]
fn a_wrong_type() {
    insta::assert_snapshot!(rejected(r#"[images.app]
tag = 3
"#), @"");
}

#[test]
fn a_wrong_type_for_a_table() {
    insta::assert_snapshot!(rejected(r#"images = "app"
"#), @"");
}

#[test]
fn a_wrong_type_for_steps() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = "build"
"#), @"");
}

#[test]
fn a_wrong_type_in_a_list() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ run = ["echo", 1] }]
"#), @"");
}

#[test]
fn a_wrong_type_for_a_flag() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ build = "app", no_cache = "yes" }]
"#), @"");
}

#[test]
fn a_wrong_type_in_args() {
    insta::assert_snapshot!(rejected(r#"[images.app]
args = { A = true }
"#), @"");
}

#[test]
fn a_wrong_type_in_volatile_args() {
    insta::assert_snapshot!(rejected(r#"[images.app]
volatile_args = { A = true }
"#), @"");
}

#[test]
fn a_task_without_steps() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
description = "x"
"#), @"");
}

#[test]
fn an_unknown_image() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ load = "ap" }]
"#), @"");
}

#[test]
fn an_unknown_image_near_nothing() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ load = "database" }]
"#), @"");
}

#[test]
fn an_unknown_image_in_a_file_without_images() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ load = "database" }]
"#), @"");
}

#[test]
fn an_unknown_variant() {
    insta::assert_snapshot!(rejected(r#"[images.app.variants.fast]
[tasks.a]
steps = [{ build = "app", variant = "fats" }]
"#), @"");
}

#[test]
fn a_variant_of_an_image_without_any() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ build = "app", variant = "fast" }]
"#), @"");
}

#[test]
fn an_unknown_task() {
    insta::assert_snapshot!(rejected(r#"[tasks.unit]
steps = []
[tasks.a]
steps = [{ task = "unti" }]
"#), @"");
}

#[test]
fn a_cycle_of_tasks() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ task = "b" }]
[tasks.b]
steps = [{ task = "a" }]
"#), @"");
}

#[test]
fn a_task_that_runs_itself() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ task = "a" }]
"#), @"");
}

#[test]
fn one_tag_for_two_images() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[images.other]
tag = "docker.io/library/app:test"
"#), @"");
}

#[test]
fn a_bad_tag() {
    insta::assert_snapshot!(rejected(r#"[images.app]
tag = "App:test"
"#), @"");
}

#[test]
fn an_image_name_that_makes_no_tag() {
    insta::assert_snapshot!(rejected(r#"# a comment
[images.App]
"#), @"");
}

#[test]
fn a_variant_name_that_makes_no_tag() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[images.app.variants."not ok"]
"#), @"");
}

#[test]
fn a_missing_dockerfile() {
    insta::assert_snapshot!(rejected(r#"[images.app]
dockerfile = "Dockerfil"
"#), @"");
}

#[test]
fn a_dockerfile_that_is_a_directory() {
    insta::assert_snapshot!(rejected(r#"[images.app]
dockerfile = "sub"
"#), @"");
}

#[test]
fn no_dockerfile_in_the_context() {
    insta::assert_snapshot!(rejected(r#"[images.app]
context = "sub"
"#), @"");
}

#[test]
fn a_missing_context() {
    insta::assert_snapshot!(rejected(r#"[images.app]
context = "gone"
"#), @"");
}

#[test]
fn a_context_that_is_a_file() {
    insta::assert_snapshot!(rejected(r#"[images.app]
context = "Dockerfile"
"#), @"");
}

#[test]
fn a_missing_kind_configuration() {
    insta::assert_snapshot!(rejected(r#"[cluster]
config = "kind.yaml"
"#), @"");
}

#[test]
fn a_bad_cluster_name() {
    insta::assert_snapshot!(rejected(r#"[cluster]
name = "My_Cluster"
"#), @"");
}

#[test]
fn a_bad_word_for_create() {
    insta::assert_snapshot!(rejected(r#"[cluster]
create = "nevr"
"#), @"");
}

#[test]
fn a_bad_word_for_create_near_nothing() {
    insta::assert_snapshot!(rejected(r#"[cluster]
create = "sometimes"
"#), @"");
}

#[test]
fn a_bad_word_for_when() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ build = "app", when = "allways" }]
"#), @"");
}

#[test]
fn a_bad_word_for_cluster() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ cluster = "creat" }]
"#), @"");
}

#[test]
fn a_command_without_words() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ run = [] }]
"#), @"");
}

#[test]
fn a_command_with_an_empty_program() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ run = ["", "x"] }]
"#), @"");
}

#[test]
fn a_volatile_command_without_words() {
    insta::assert_snapshot!(rejected(r#"[images.app]
volatile_args = { A = { command = [] } }
"#), @"");
}

#[test]
fn a_nul_in_a_string() {
    insta::assert_snapshot!(rejected(r#"[images.app]
target = "a\u0000b"
"#), @"");
}

#[test]
fn a_duplicate_key() {
    insta::assert_snapshot!(rejected(r#"[images.app]
tag = "a:b"
tag = "c:d"
"#), @"");
}

#[test]
fn a_file_that_ends_too_early() {
    insta::assert_snapshot!(rejected(r#"[images.app"#), @"");
}

#[test]
fn an_empty_file() {
    insta::assert_snapshot!(rejected(r#""#), @"");
}

#[test]
fn a_file_of_blanks() {
    insta::assert_snapshot!(rejected(r#"
  
"#), @"");
}

#[test]
fn several_mistakes_at_once() {
    insta::assert_snapshot!(rejected(r#"[cluster]
name = "No"
[images.app]
tag = 1
[tasks.a]
stps = []
"#), @"");
}

#[test]
fn a_mistake_behind_wide_characters() {
    insta::assert_snapshot!(rejected(r#"[tasks."grüße→"]
steps = [{ run = [] }]
"#), @"");
}

#[test]
fn a_file_that_is_not_utf_8() {
    insta::assert_snapshot!(rejected(b"[tasks.a]\n# caf\xe9\nsteps = []\n"), @"");
}

#[test]
fn a_mistake_in_a_file_with_windows_line_ends() {
    insta::assert_snapshot!(rejected("[tasks.a]\r\nsteps = [{ run = [] }]\r\n"), @"");
}

#[test]
fn a_mistake_behind_a_byte_order_mark() {
    insta::assert_snapshot!(rejected("\u{feff}tags = 1\n"), @"");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_accepted() {
    let plain = "[images.app]\ntag = \"app:x\"\n\n[tasks.a]\nsteps = [{ build = \"app\" }]\n";
    let list = |text: &str| Tg::with_tasks(text).args(["--list"]).run().to_string();
    let expected = list(plain);
    assert!(expected.contains("app:x"), "{expected}");
    assert_eq!(list(&format!("\u{feff}{}", plain.replace('\n', "\r\n"))), expected);
}

#[test]
fn a_mistake_as_json_has_its_place() {
    let output = Tg::with_tasks("[cluter]\n").args(["--list", "--json"]).run();
    let answer: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.code, &answer["exit_code"]), (60, &60.into()));
    assert_eq!(answer["schema"], 1);
    assert_eq!(answer["error"], "$DIR/tasks.toml:1:2: unknown key `cluter` in the task file");
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let output = Tg::new().file("dir/keep", "").args(["--list", "-f", "dir"]).run();
    insta::assert_snapshot!(output, @"");
}
