//! Every mistake in what an image's build is given: arguments, labels, network, hosts, secrets, agents, contexts.

use crate::errors::rejected;

#[test]
fn an_argument_of_two_kinds() {
    insta::assert_snapshot!(rejected(r#"[images.app]
args = { A = "1" }
env_args = ["A"]
"#), @r#"
    error: `A` is in `args` and in `env_args`
     --> $DIR/tasks.toml:3:13
      |
    3 | env_args = ["A"]
      |             ^^^ keep one of them
    "#);
}

#[test]
fn a_volatile_argument_that_is_fixed_as_well() {
    insta::assert_snapshot!(rejected(r#"[images.app]
args = { A = "1" }
volatile_args = { A = "2" }
"#), @r#"
    error: `A` is in `args` and in `volatile_args`
     --> $DIR/tasks.toml:3:19
      |
    3 | volatile_args = { A = "2" }
      |                   ^ keep one of them
    "#);
}

#[test]
fn an_argument_of_two_kinds_in_a_variant() {
    insta::assert_snapshot!(rejected(r#"[images.app.variants.fast]
volatile_args = { A = "1" }
env_args = ["A"]
"#), @r#"
    error: `A` is in `volatile_args` and in `env_args`
     --> $DIR/tasks.toml:3:13
      |
    3 | env_args = ["A"]
      |             ^^^ keep one of them
    "#);
}

#[test]
fn an_argument_of_the_environment_with_a_value() {
    insta::assert_snapshot!(rejected(r#"[images.app]
env_args = ["A=1"]
"#), @r#"
    error: `A=1` is not a name for a variable
     --> $DIR/tasks.toml:2:13
      |
    2 | env_args = ["A=1"]
      |             ^^^^^ a name without `=`
    "#);
}

#[test]
fn arguments_of_the_environment_as_a_table() {
    insta::assert_snapshot!(rejected(r#"[images.app]
env_args = { A = "1" }
"#), @r#"
    error: `env_args` must be an array of strings
     --> $DIR/tasks.toml:2:12
      |
    2 | env_args = { A = "1" }
      |            ^^^^^^^^^^^ this is a table
    "#);
}

#[test]
fn a_label_that_is_tgs_own() {
    insta::assert_snapshot!(rejected(r#"[images.app]
labels = { "dev.tg.key" = "x" }
"#), @r#"
    error: labels that begin with `dev.tg.` are tg's own
     --> $DIR/tasks.toml:2:12
      |
    2 | labels = { "dev.tg.key" = "x" }
      |            ^^^^^^^^^^^^ another name
    "#);
}

#[test]
fn a_label_without_a_name() {
    insta::assert_snapshot!(rejected(r#"[images.app]
labels = { "" = "x" }
"#), @r#"
    error: `` is not a name for a label
     --> $DIR/tasks.toml:2:12
      |
    2 | labels = { "" = "x" }
      |            ^^ a name without `=`
    "#);
}

#[test]
fn an_unknown_network() {
    insta::assert_snapshot!(rejected(r#"[images.app]
network = "bridge"
"#), @r#"
    error: `network` cannot be `bridge`
     --> $DIR/tasks.toml:2:11
      |
    2 | network = "bridge"
      |           ^^^^^^^^ not a known value
      |
      = help: one of: none, host, default
    "#);
}

#[test]
fn a_host_without_an_address() {
    insta::assert_snapshot!(rejected(r#"[images.app]
add_hosts = { db = "localhost" }
"#), @r#"
    error: `localhost` is not an address
     --> $DIR/tasks.toml:2:20
      |
    2 | add_hosts = { db = "localhost" }
      |                    ^^^^^^^^^^^ an IP address or `host-gateway`
    "#);
}

#[test]
fn a_host_that_would_be_two() {
    insta::assert_snapshot!(rejected(r#"[images.app]
add_hosts = { "a:10.0.0.1,b" = "10.0.0.2" }
"#), @r#"
    error: `a:10.0.0.1,b` is not a name for a host
     --> $DIR/tasks.toml:2:15
      |
    2 | add_hosts = { "a:10.0.0.1,b" = "10.0.0.2" }
      |               ^^^^^^^^^^^^^^ letters, digits, `.`, `-` and `_`
    "#);
}

#[test]
fn a_secret_from_nowhere() {
    insta::assert_snapshot!(rejected(r#"[images.app]
secrets = { npm = {} }
"#), @r"
    error: secret `npm` comes from either `env` or `file`
     --> $DIR/tasks.toml:2:19
      |
    2 | secrets = { npm = {} }
      |                   ^^ one of the two
    ");
}

#[test]
fn a_secret_from_two_places() {
    insta::assert_snapshot!(rejected(r#"[images.app]
secrets = { npm = { env = "A", file = "b" } }
"#), @r#"
    error: secret `npm` comes from either `env` or `file`
     --> $DIR/tasks.toml:2:19
      |
    2 | secrets = { npm = { env = "A", file = "b" } }
      |                   ^^^^^^^^^^^^^^^^^^^^^^^^^ one of the two
    "#);
}

#[test]
fn a_secret_that_is_written_down() {
    insta::assert_snapshot!(rejected(r#"[images.app]
secrets = { npm = "hunter2" }
"#), @r#"
    error: `npm` must be { env = "NAME" } or { file = "PATH" }
     --> $DIR/tasks.toml:2:19
      |
    2 | secrets = { npm = "hunter2" }
      |                   ^^^^^^^^^ this is a string
    "#);
}

#[test]
fn an_unknown_key_in_a_secret() {
    insta::assert_snapshot!(rejected(r#"[images.app]
secrets = { npm = { env = "A", require = true } }
"#), @r#"
    error: unknown key `require` in a secret
     --> $DIR/tasks.toml:2:32
      |
    2 | secrets = { npm = { env = "A", require = true } }
      |                                ^^^^^^^ not known here
      |
      = help: known here: env, file
    "#);
}

#[test]
fn a_secret_without_an_id() {
    insta::assert_snapshot!(rejected(r#"[images.app]
secrets = { "" = { env = "A" } }
"#), @r#"
    error: a secret needs an id
     --> $DIR/tasks.toml:2:13
      |
    2 | secrets = { "" = { env = "A" } }
      |             ^^ empty
    "#);
}

#[test]
fn an_ssh_agent_without_an_id() {
    insta::assert_snapshot!(rejected(r#"[images.app]
ssh = ["=key"]
"#), @r#"
    error: `ssh` needs an id
     --> $DIR/tasks.toml:2:8
      |
    2 | ssh = ["=key"]
      |        ^^^^^^ "default" or "ID=PATH"
    "#);
}

#[test]
fn an_ssh_agent_with_an_empty_path() {
    insta::assert_snapshot!(rejected(r#"[images.app]
ssh = ["git="]
"#), @r#"
    error: a path may not be empty
     --> $DIR/tasks.toml:2:8
      |
    2 | ssh = ["git="]
      |        ^^^^^^ empty
    "#);
}

#[test]
fn two_keys_for_one_ssh_agent() {
    insta::assert_snapshot!(rejected(r#"[images.app]
ssh = ["git=a,b"]
"#), @r#"
    error: the builder cannot take a path with a comma for `ssh`
     --> $DIR/tasks.toml:2:8
      |
    2 | ssh = ["git=a,b"]
      |        ^^^^^^^^^ one socket or key
    "#);
}

#[test]
fn an_ssh_agent_twice() {
    insta::assert_snapshot!(rejected(r#"[images.app]
ssh = ["git", "git=key"]
"#), @r#"
    error: `ssh` has `git` twice
     --> $DIR/tasks.toml:2:15
      |
    2 | ssh = ["git", "git=key"]
      |               ^^^^^^^^^ keep one of them
    "#);
}

#[test]
fn a_named_context_that_does_not_exist() {
    insta::assert_snapshot!(rejected(r#"[images.app]
contexts = { lib = "gone" }
"#), @r#"
    error: context directory `gone` does not exist
     --> $DIR/tasks.toml:2:20
      |
    2 | contexts = { lib = "gone" }
      |                    ^^^^^^ looked at $DIR/gone
    "#);
}

#[test]
fn a_named_context_that_is_a_file() {
    insta::assert_snapshot!(rejected(r#"[images.app]
contexts = { lib = "Dockerfile" }
"#), @r#"
    error: context directory `Dockerfile` is of another type
     --> $DIR/tasks.toml:2:20
      |
    2 | contexts = { lib = "Dockerfile" }
      |                    ^^^^^^^^^^^^ looked at $DIR/Dockerfile
    "#);
}

#[test]
fn a_context_name_that_no_builder_takes() {
    insta::assert_snapshot!(rejected(r#"[images.app]
contexts = { Lib = "sub" }
"#), @r#"
    error: the repository in `Lib` must be lower case
     --> $DIR/tasks.toml:2:14
      |
    2 | contexts = { Lib = "sub" }
      |              ^^^ the builder reads it as the name of an image
    "#);
}

#[test]
fn a_context_name_with_a_digest() {
    insta::assert_snapshot!(rejected(r#"[images.app]
contexts = { "lib@sha256:0" = "sub" }
"#), @r#"
    error: `lib@sha256:0` is not a name for a context
     --> $DIR/tasks.toml:2:14
      |
    2 | contexts = { "lib@sha256:0" = "sub" }
      |              ^^^^^^^^^^^^^^ without a digest
    "#);
}

#[test]
fn two_names_of_one_context() {
    insta::assert_snapshot!(rejected(r#"[images.app]
contexts = { lib = "sub", "docker.io/library/lib:latest" = "sub" }
"#), @r#"
    error: contexts `docker.io/library/lib:latest` and `lib` are one to the builder
     --> $DIR/tasks.toml:2:14
      |
    2 | contexts = { lib = "sub", "docker.io/library/lib:latest" = "sub" }
      |              ^^^ keep one of them
    "#);
}

#[test]
fn a_context_from_a_layout_without_a_digest() {
    insta::assert_snapshot!(rejected(r#"[images.app]
contexts = { lib = "oci-layout://dir:tag" }
"#), @r#"
    error: `oci-layout://dir:tag` has no digest: its content could change unseen
     --> $DIR/tasks.toml:2:20
      |
    2 | contexts = { lib = "oci-layout://dir:tag" }
      |                    ^^^^^^^^^^^^^^^^^^^^^^ write oci-layout://DIRECTORY@sha256:DIGEST
    "#);
}

#[test]
fn a_context_from_a_bad_image() {
    insta::assert_snapshot!(rejected(r#"[images.app]
contexts = { lib = "docker-image://Alpine" }
"#), @r#"
    error: the repository in `Alpine` must be lower case
     --> $DIR/tasks.toml:2:20
      |
    2 | contexts = { lib = "docker-image://Alpine" }
      |                    ^^^^^^^^^^^^^^^^^^^^^^^ not an image
    "#);
}

#[test]
fn a_context_from_a_target_of_bake() {
    insta::assert_snapshot!(rejected(r#"[images.app]
contexts = { lib = "target:other" }
"#), @r#"
    error: `target:` is known to bake only
     --> $DIR/tasks.toml:2:20
      |
    2 | contexts = { lib = "target:other" }
      |                    ^^^^^^^^^^^^^^ not a context here
      |
      = help: build the target as an image of its own
    "#);
}

#[test]
fn a_context_of_an_unknown_kind() {
    insta::assert_snapshot!(rejected(r#"[images.app]
contexts = { lib = "ftp://host/x" }
"#), @r#"
    error: the builder has no contexts of the kind `ftp://`
     --> $DIR/tasks.toml:2:20
      |
    2 | contexts = { lib = "ftp://host/x" }
      |                    ^^^^^^^^^^^^^^ not a known kind
      |
      = help: known: docker-image, oci-layout, http, https, git, ssh
    "#);
}

#[test]
fn a_bad_word_for_base() {
    insta::assert_snapshot!(rejected(r#"[images.app]
base = "lock"
"#), @r#"
    error: `base` cannot be `lock`
     --> $DIR/tasks.toml:2:8
      |
    2 | base = "lock"
      |        ^^^^^^ not a known value
      |
      = help: one of: locked, refresh, always
    "#);
}

#[test]
fn a_wrong_type_for_assume_fixed() {
    insta::assert_snapshot!(rejected(r#"[images.app]
assume_fixed = "yes"
"#), @r#"
    error: `assume_fixed` must be true or false
     --> $DIR/tasks.toml:2:16
      |
    2 | assume_fixed = "yes"
      |                ^^^^^ this is a string
    "#);
}
