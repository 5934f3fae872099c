//! Every mistake in a task file: its place, its line, a caret and what could have been meant.

use crate::support::Tg;

/// What is said about a task file that must be rejected.
pub(crate) fn rejected(tasks: impl AsRef<[u8]>) -> String {
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
"#), @r"
    error: unknown key `cluter` in the task file
     --> $DIR/tasks.toml:1:2
      |
    1 | [cluter]
      |  ^^^^^^ not known here
      |
      = help: did you mean `cluster`?
    ");
}

#[test]
fn an_unknown_key_in_the_cluster() {
    insta::assert_snapshot!(rejected(r#"[cluster]
nam = "x"
"#), @r#"
    error: unknown key `nam` in [cluster]
     --> $DIR/tasks.toml:2:1
      |
    2 | nam = "x"
      | ^^^ not known here
      |
      = help: did you mean `name`?
    "#);
}

#[test]
fn an_unknown_key_in_an_image() {
    insta::assert_snapshot!(rejected(r#"[images.app]
dockerfil = "Dockerfile"
"#), @r#"
    error: unknown key `dockerfil` in an image
     --> $DIR/tasks.toml:2:1
      |
    2 | dockerfil = "Dockerfile"
      | ^^^^^^^^^ not known here
      |
      = help: did you mean `dockerfile`?
    "#);
}

#[test]
fn an_unknown_key_that_is_near_nothing() {
    insta::assert_snapshot!(rejected(r#"[images.app]
registry = "x"
"#), @r#"
    error: unknown key `registry` in an image
     --> $DIR/tasks.toml:2:1
      |
    2 | registry = "x"
      | ^^^^^^^^ not known here
      |
      = help: known here: variants, tag, context, dockerfile, args, volatile_args, env_args, target, platform, labels, network, add_hosts, secrets, ssh, contexts, base, assume_fixed
    "#);
}

#[test]
fn an_unknown_key_in_a_variant() {
    insta::assert_snapshot!(rejected(r#"[images.app.variants.fast]
taget = "x"
"#), @r#"
    error: unknown key `taget` in a variant
     --> $DIR/tasks.toml:2:1
      |
    2 | taget = "x"
      | ^^^^^ not known here
      |
      = help: did you mean `target`?
    "#);
}

#[test]
fn an_unknown_key_in_a_task() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
step = []
steps = []
"#), @r"
    error: unknown key `step` in a task
     --> $DIR/tasks.toml:2:1
      |
    2 | step = []
      | ^^^^ not known here
      |
      = help: did you mean `steps`?
    ");
}

#[test]
fn an_unknown_key_in_a_step() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ build = "app", wen = "always" }]
"#), @r#"
    error: unknown key `wen` in a step
     --> $DIR/tasks.toml:3:27
      |
    3 | steps = [{ build = "app", wen = "always" }]
      |                           ^^^ not known here
      |
      = help: did you mean `when`?
    "#);
}

#[test]
fn a_misspelt_kind_of_step() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ biuld = "app" }]
"#), @r#"
    error: unknown key `biuld` in a step
     --> $DIR/tasks.toml:3:12
      |
    3 | steps = [{ biuld = "app" }]
      |            ^^^^^ not known here
      |
      = help: did you mean `build`?
    "#);
}

#[test]
fn a_step_without_a_kind() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{}]
"#), @r"
    error: a step needs one of: build, load, cargo-test, cluster, run, task
     --> $DIR/tasks.toml:2:10
      |
    2 | steps = [{}]
      |          ^^ here
    ");
}

#[test]
fn two_kinds_in_one_step() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ build = "app", load = "app" }]
"#), @r#"
    error: a step does one thing, this has build and load
     --> $DIR/tasks.toml:3:10
      |
    3 | steps = [{ build = "app", load = "app" }]
      |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ here
    "#);
}

#[test]
fn a_wrong_type() {
    insta::assert_snapshot!(rejected(r#"[images.app]
tag = 3
"#), @r"
    error: `tag` must be a string
     --> $DIR/tasks.toml:2:7
      |
    2 | tag = 3
      |       ^ this is an integer
    ");
}

#[test]
fn a_wrong_type_for_a_table() {
    insta::assert_snapshot!(rejected(r#"images = "app"
"#), @r#"
    error: `images` must be a table
     --> $DIR/tasks.toml:1:10
      |
    1 | images = "app"
      |          ^^^^^ this is a string
    "#);
}

#[test]
fn a_wrong_type_for_steps() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = "build"
"#), @r#"
    error: `steps` must be an array of tables
     --> $DIR/tasks.toml:2:9
      |
    2 | steps = "build"
      |         ^^^^^^^ this is a string
    "#);
}

#[test]
fn a_wrong_type_in_a_list() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ run = ["echo", 1] }]
"#), @r#"
    error: `run` must be a string
     --> $DIR/tasks.toml:2:27
      |
    2 | steps = [{ run = ["echo", 1] }]
      |                           ^ this is an integer
    "#);
}

#[test]
fn a_wrong_type_for_a_flag() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ build = "app", no_cache = "yes" }]
"#), @r#"
    error: `no_cache` must be true or false
     --> $DIR/tasks.toml:3:38
      |
    3 | steps = [{ build = "app", no_cache = "yes" }]
      |                                      ^^^^^ this is a string
    "#);
}

#[test]
fn a_wrong_type_in_args() {
    insta::assert_snapshot!(rejected(r#"[images.app]
args = { A = true }
"#), @r"
    error: `args` must be a string
     --> $DIR/tasks.toml:2:14
      |
    2 | args = { A = true }
      |              ^^^^ this is a boolean
    ");
}

#[test]
fn a_wrong_type_in_volatile_args() {
    insta::assert_snapshot!(rejected(r#"[images.app]
volatile_args = { A = true }
"#), @r"
    error: `A` must be a string or { command = [..] }
     --> $DIR/tasks.toml:2:23
      |
    2 | volatile_args = { A = true }
      |                       ^^^^ this is a boolean
    ");
}

#[test]
fn a_task_without_steps() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
description = "x"
"#), @r"
    error: task `a` has no steps
     --> $DIR/tasks.toml:1:8
      |
    1 | [tasks.a]
      |        ^ add `steps = [..]`
    ");
}

#[test]
fn an_unknown_image() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ load = "ap" }]
"#), @r#"
    error: unknown image `ap`
     --> $DIR/tasks.toml:3:19
      |
    3 | steps = [{ load = "ap" }]
      |                   ^^^^ not defined
      |
      = help: did you mean `app`?
    "#);
}

#[test]
fn an_unknown_image_near_nothing() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ load = "database" }]
"#), @r#"
    error: unknown image `database`
     --> $DIR/tasks.toml:3:19
      |
    3 | steps = [{ load = "database" }]
      |                   ^^^^^^^^^^ not defined
      |
      = help: defined: app
    "#);
}

#[test]
fn an_unknown_image_in_a_file_without_images() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ load = "database" }]
"#), @r#"
    error: unknown image `database`
     --> $DIR/tasks.toml:2:19
      |
    2 | steps = [{ load = "database" }]
      |                   ^^^^^^^^^^ not defined
      |
      = help: the file defines no image
    "#);
}

#[test]
fn an_unknown_variant() {
    insta::assert_snapshot!(rejected(r#"[images.app.variants.fast]
[tasks.a]
steps = [{ build = "app", variant = "fats" }]
"#), @r#"
    error: unknown variant `fats`
     --> $DIR/tasks.toml:3:37
      |
    3 | steps = [{ build = "app", variant = "fats" }]
      |                                     ^^^^^^ not defined
      |
      = help: did you mean `fast`?
    "#);
}

#[test]
fn a_variant_of_an_image_without_any() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ build = "app", variant = "fast" }]
"#), @r#"
    error: unknown variant `fast`
     --> $DIR/tasks.toml:3:37
      |
    3 | steps = [{ build = "app", variant = "fast" }]
      |                                     ^^^^^^ not defined
      |
      = help: the file defines no variant
    "#);
}

#[test]
fn an_unknown_task() {
    insta::assert_snapshot!(rejected(r#"[tasks.unit]
steps = []
[tasks.a]
steps = [{ task = "unti" }]
"#), @r#"
    error: unknown task `unti`
     --> $DIR/tasks.toml:4:19
      |
    4 | steps = [{ task = "unti" }]
      |                   ^^^^^^ not defined
      |
      = help: did you mean `unit`?
    "#);
}

#[test]
fn a_cycle_of_tasks() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ task = "b" }]
[tasks.b]
steps = [{ task = "a" }]
"#), @r#"
    error: tasks form a cycle: a → b → a
     --> $DIR/tasks.toml:4:19
      |
    4 | steps = [{ task = "a" }]
      |                   ^^^ closes the cycle
    "#);
}

#[test]
fn a_task_that_runs_itself() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ task = "a" }]
"#), @r#"
    error: tasks form a cycle: a → a
     --> $DIR/tasks.toml:2:19
      |
    2 | steps = [{ task = "a" }]
      |                   ^^^ closes the cycle
    "#);
}

#[test]
fn one_tag_for_two_images() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[images.other]
tag = "docker.io/library/app:test"
"#), @r#"
    error: images `app` and `other` have the same tag `docker.io/library/app:test`
     --> $DIR/tasks.toml:3:7
      |
    3 | tag = "docker.io/library/app:test"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ each image needs its own
    "#);
}

#[test]
fn a_bad_tag() {
    insta::assert_snapshot!(rejected(r#"[images.app]
tag = "App:test"
"#), @r#"
    error: the repository in `App:test` must be lower case
     --> $DIR/tasks.toml:2:7
      |
    2 | tag = "App:test"
      |       ^^^^^^^^^^ not a valid tag
    "#);
}

#[test]
fn an_image_name_that_is_none() {
    insta::assert_snapshot!(rejected(r#"# a comment
[images.App]
"#), @r"
    error: `App` is not a name for an image or variant
     --> $DIR/tasks.toml:2:9
      |
    2 | [images.App]
      |         ^^^ lower case letters, digits, `-` and `_`
    ");
}

#[test]
fn a_missing_dockerfile() {
    insta::assert_snapshot!(rejected(r#"[images.app]
dockerfile = "Dockerfil"
"#), @r#"
    error: Dockerfile `Dockerfil` does not exist
     --> $DIR/tasks.toml:2:14
      |
    2 | dockerfile = "Dockerfil"
      |              ^^^^^^^^^^^ looked at $DIR/Dockerfil
    "#);
}

#[test]
fn a_dockerfile_that_is_a_directory() {
    insta::assert_snapshot!(rejected(r#"[images.app]
dockerfile = "sub"
"#), @r#"
    error: Dockerfile `sub` is of another type
     --> $DIR/tasks.toml:2:14
      |
    2 | dockerfile = "sub"
      |              ^^^^^ looked at $DIR/sub
    "#);
}

#[test]
fn no_dockerfile_in_the_context() {
    insta::assert_snapshot!(rejected(r#"[images.app]
context = "sub"
"#), @r"
    error: image `app` has no Dockerfile at $DIR/sub/Dockerfile
     --> $DIR/tasks.toml:1:9
      |
    1 | [images.app]
      |         ^^^ set `dockerfile`
    ");
}

#[test]
fn a_missing_context() {
    insta::assert_snapshot!(rejected(r#"[images.app]
context = "gone"
"#), @r#"
    error: context directory `gone` does not exist
     --> $DIR/tasks.toml:2:11
      |
    2 | context = "gone"
      |           ^^^^^^ looked at $DIR/gone
    "#);
}

#[test]
fn a_context_that_is_a_file() {
    insta::assert_snapshot!(rejected(r#"[images.app]
context = "Dockerfile"
"#), @r#"
    error: context directory `Dockerfile` is of another type
     --> $DIR/tasks.toml:2:11
      |
    2 | context = "Dockerfile"
      |           ^^^^^^^^^^^^ looked at $DIR/Dockerfile
    "#);
}

#[test]
fn a_missing_kind_configuration() {
    insta::assert_snapshot!(rejected(r#"[cluster]
config = "kind.yaml"
"#), @r#"
    error: Kind configuration `kind.yaml` does not exist
     --> $DIR/tasks.toml:2:10
      |
    2 | config = "kind.yaml"
      |          ^^^^^^^^^^^ looked at $DIR/kind.yaml
    "#);
}

#[test]
fn a_bad_cluster_name() {
    insta::assert_snapshot!(rejected(r#"[cluster]
name = "My_Cluster"
"#), @r#"
    error: `My_Cluster` is not a name that Kind accepts
     --> $DIR/tasks.toml:2:8
      |
    2 | name = "My_Cluster"
      |        ^^^^^^^^^^^^ lower case letters, digits, `.` and `-`
    "#);
}

#[test]
fn a_bad_word_for_create() {
    insta::assert_snapshot!(rejected(r#"[cluster]
create = "nevr"
"#), @r#"
    error: `create` cannot be `nevr`
     --> $DIR/tasks.toml:2:10
      |
    2 | create = "nevr"
      |          ^^^^^^ not a known value
      |
      = help: did you mean `never`?
    "#);
}

#[test]
fn a_bad_word_for_create_near_nothing() {
    insta::assert_snapshot!(rejected(r#"[cluster]
create = "sometimes"
"#), @r#"
    error: `create` cannot be `sometimes`
     --> $DIR/tasks.toml:2:10
      |
    2 | create = "sometimes"
      |          ^^^^^^^^^^^ not a known value
      |
      = help: one of: if-missing, never
    "#);
}

#[test]
fn a_bad_word_for_when() {
    insta::assert_snapshot!(rejected(r#"[images.app]
[tasks.a]
steps = [{ build = "app", when = "allways" }]
"#), @r#"
    error: `when` cannot be `allways`
     --> $DIR/tasks.toml:3:34
      |
    3 | steps = [{ build = "app", when = "allways" }]
      |                                  ^^^^^^^^^ not a known value
      |
      = help: did you mean `always`?
    "#);
}

#[test]
fn a_bad_word_for_cluster() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ cluster = "creat" }]
"#), @r#"
    error: `cluster` cannot be `creat`
     --> $DIR/tasks.toml:2:22
      |
    2 | steps = [{ cluster = "creat" }]
      |                      ^^^^^^^ not a known value
      |
      = help: did you mean `create`?
    "#);
}

#[test]
fn a_command_without_words() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ run = [] }]
"#), @r"
    error: `run` needs a program to run
     --> $DIR/tasks.toml:2:18
      |
    2 | steps = [{ run = [] }]
      |                  ^^ empty
    ");
}

#[test]
fn a_command_with_an_empty_program() {
    insta::assert_snapshot!(rejected(r#"[tasks.a]
steps = [{ run = ["", "x"] }]
"#), @r#"
    error: `run` needs a program to run
     --> $DIR/tasks.toml:2:18
      |
    2 | steps = [{ run = ["", "x"] }]
      |                  ^^^^^^^^^ empty
    "#);
}

#[test]
fn a_volatile_command_without_words() {
    insta::assert_snapshot!(rejected(r#"[images.app]
volatile_args = { A = { command = [] } }
"#), @r"
    error: `command` needs a program to run
     --> $DIR/tasks.toml:2:35
      |
    2 | volatile_args = { A = { command = [] } }
      |                                   ^^ empty
    ");
}

#[test]
fn a_nul_in_a_string() {
    insta::assert_snapshot!(rejected(r#"[images.app]
target = "a\u0000b"
"#), @r#"
    error: `target` holds a NUL byte
     --> $DIR/tasks.toml:2:10
      |
    2 | target = "a\u0000b"
      |          ^^^^^^^^^^ not allowed
    "#);
}

#[test]
fn a_duplicate_key() {
    insta::assert_snapshot!(rejected(r#"[images.app]
tag = "a:b"
tag = "c:d"
"#), @r#"
    error: duplicate key
     --> $DIR/tasks.toml:3:1
      |
    3 | tag = "c:d"
      | ^^^ here
    "#);
}

#[test]
fn a_file_that_ends_too_early() {
    insta::assert_snapshot!(rejected(r#"[images.app"#), @r"
    error: unclosed table, expected `]`
     --> $DIR/tasks.toml:1:12
      |
    1 | [images.app
      |            ^ here
    ");
}

#[test]
fn an_empty_file() {
    insta::assert_snapshot!(rejected(r#""#), @r"
    error: the file is empty
     --> $DIR/tasks.toml:1:1
      |
    1 |
      | ^
      |
      = help: a task file has [images.NAME] and [tasks.NAME] tables
    ");
}

#[test]
fn a_file_of_blanks() {
    insta::assert_snapshot!(rejected(r#"
  
"#), @r"
    error: the file is empty
     --> $DIR/tasks.toml:1:1
      |
    1 |
      | ^
      |
      = help: a task file has [images.NAME] and [tasks.NAME] tables
    ");
}

#[test]
fn several_mistakes_at_once() {
    insta::assert_snapshot!(rejected(r#"[cluster]
name = "No"
[images.app]
tag = 1
[tasks.a]
stps = []
"#), @r#"
    error: `No` is not a name that Kind accepts
     --> $DIR/tasks.toml:2:8
      |
    2 | name = "No"
      |        ^^^^ lower case letters, digits, `.` and `-`
    error: `tag` must be a string
     --> $DIR/tasks.toml:4:7
      |
    4 | tag = 1
      |       ^ this is an integer
    error: task `a` has no steps
     --> $DIR/tasks.toml:5:8
      |
    5 | [tasks.a]
      |        ^ add `steps = [..]`
    error: unknown key `stps` in a task
     --> $DIR/tasks.toml:6:1
      |
    6 | stps = []
      | ^^^^ not known here
      |
      = help: did you mean `steps`?
    "#);
}

#[test]
fn a_mistake_behind_wide_characters() {
    insta::assert_snapshot!(rejected(r#"[tasks."grüße→"]
steps = [{ run = [] }]
"#), @r"
    error: `run` needs a program to run
     --> $DIR/tasks.toml:2:18
      |
    2 | steps = [{ run = [] }]
      |                  ^^ empty
    ");
}

#[test]
fn a_file_that_is_not_utf_8() {
    insta::assert_snapshot!(rejected(b"[tasks.a]\n# caf\xe9\nsteps = []\n"), @r"
    error: the file is not UTF-8
     --> $DIR/tasks.toml:2:6
      |
    2 | # caf�
      |      ^ first bad byte here
    ");
}

#[test]
fn a_mistake_in_a_file_with_windows_line_ends() {
    insta::assert_snapshot!(rejected("[tasks.a]\r\nsteps = [{ run = [] }]\r\n"), @r"
    error: `run` needs a program to run
     --> $DIR/tasks.toml:2:18
      |
    2 | steps = [{ run = [] }]
      |                  ^^ empty
    ");
}

#[test]
fn a_mistake_behind_a_byte_order_mark() {
    insta::assert_snapshot!(rejected("\u{feff}tags = 1\n"), @r"
    error: unknown key `tags` in the task file
     --> $DIR/tasks.toml:1:1
      |
    1 | tags = 1
      | ^^^^ not known here
      |
      = help: known here: cluster, load, images, tasks
    ");
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
    insta::assert_snapshot!(output, @r"
    --- stderr
    error: cannot read $DIR/dir: Is a directory (os error 21)
    --- exit 60
    ");
}

/// Names become directories, variables and the names that commands take.
#[test]
fn names_that_could_not_be_told_apart_or_would_lead_elsewhere() {
    for tasks in [
        "[images.\"../../x\"]\ntag = \"a:b\"\n",
        "[images.\"\"]\ntag = \"a:b\"\n",
        "[images.App]\ntag = \"a:b\"\n",
        "[images.app.variants.fast]\n[images.\"app.fast\"]\ntag = \"a:b\"\n",
        "[images.app.variants.\"\"]\n",
        "[images.app.variants.\"not ok\"]\n",
        "[images.app]\nvolatile_args = { A = \"a\\u0000b\" }\n",
        "[tasks.\"\"]\nsteps = []\n",
        "[tasks.\"-x\"]\nsteps = []\n",
    ] {
        let output = Tg::with_tasks(tasks).args(["--list"]).run();
        assert_eq!(output.code, 60, "{tasks}: {output}");
    }
}
