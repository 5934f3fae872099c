//! Building against a real Docker engine: `cargo test --test docker -- --ignored`.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{Project, answer_of, listing, output, ran};

#[path = "docker/side_by_side.rs"]
mod side_by_side;
mod support;

#[test]
#[ignore = "needs docker"]
fn a_build_is_skipped_until_an_input_changes() {
    let project = Project::new();
    project.tg(&["build-if-needed"]).code(0).says("is not in Docker");
    assert_eq!(answer_of(&project.tag()), "one");
    project.tg(&["build-if-needed"]).code(0).says("build app skipped: inputs unchanged");
    project.write("app/answer", "two\n");
    project.write("app/new", "");
    project.tg(&["build-if-needed"]).code(0).says("inputs changed: ~ answer, + new");
    assert_eq!(answer_of(&project.tag()), "two");
    project.tg(&["build-if-needed"]).code(0).says("skipped");
}

#[test]
#[ignore = "needs docker"]
fn bytes_that_changed_under_the_same_size_and_time_are_built() {
    let project = Project::new();
    project.tg(&["build"]).code(0);
    let time = std::fs::metadata(project.path("app/answer")).unwrap().modified().unwrap();
    project.write("app/answer", "two\n");
    let file = std::fs::File::options().write(true).open(project.path("app/answer")).unwrap();
    file.set_modified(time).unwrap();
    project.tg(&["build-if-needed"]).code(0).says("~ answer");
    assert_eq!(answer_of(&project.tag()), "two");
}

#[test]
#[ignore = "needs docker"]
fn an_image_that_tg_did_not_build_is_not_believed() {
    let project = Project::new();
    project.tg(&["build"]).code(0);
    // A hand-made child of our own image inherits our labels.
    project.write("hand/Dockerfile", &format!("FROM {}\nRUN echo evil > /answer\n", project.tag()));
    let hand = project.path("hand");
    output(
        "docker",
        &[
            "buildx",
            "build",
            "--load",
            "--provenance=false",
            "-t",
            &project.tag(),
            hand.to_str().unwrap(),
        ],
    );
    assert_eq!(answer_of(&project.tag()), "evil");
    project.tg(&["build-if-needed"]).code(0).says("the tag was moved");
    assert_eq!(answer_of(&project.tag()), "one");
    project.write("hand/Dockerfile", "FROM debian:bookworm-slim\n");
    output(
        "docker",
        &[
            "buildx",
            "build",
            "--load",
            "--provenance=false",
            "-t",
            &project.tag(),
            hand.to_str().unwrap(),
        ],
    );
    project.tg(&["build-if-needed"]).code(0).says("was not built by tg");
    assert_eq!(answer_of(&project.tag()), "one");
}

#[test]
#[ignore = "needs docker"]
fn without_records_the_work_is_done_and_the_image_is_right() {
    let project = Project::new();
    project.tg(&["build"]).code(0);
    std::fs::remove_dir_all(project.path("state")).unwrap();
    project.write("app/answer", "two\n");
    project.tg(&["build-if-needed"]).code(0).says("inputs changed: key");
    assert_eq!(answer_of(&project.tag()), "two");
    std::fs::remove_dir_all(project.path("state")).unwrap();
    project.tg(&["build-if-needed"]).code(0).says("no record says which image");
}

#[test]
#[ignore = "needs docker"]
fn asking_writes_nothing() {
    let project = Project::new();
    let status = project.tg(&["cache-status", "--json"]).code(0).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["images"][0]["build"]["code"], "image-missing");
    project.tg(&["test", "cached", "--dry-run"]).code(0);
    assert!(!project.path("state").exists(), "{:?}", listing(&project.path("state")));
    project.tg(&["build"]).code(0);
    let images = || {
        let format = "{{.ID}} {{.Repository}}:{{.Tag}}";
        output(
            "docker",
            &[
                "image",
                "ls",
                "--format",
                format,
                "--filter",
                &format!("reference={}", project.name),
            ],
        )
    };
    let before = (listing(&project.path("state")), images());
    project.tg(&["cache-status"]).code(0);
    project.tg(&["test", "cached", "--dry-run"]).code(0);
    let after = (listing(&project.path("state")), images());
    assert_eq!(before, after);
}

#[test]
#[ignore = "needs docker"]
fn a_failed_build_shows_its_last_lines_and_leaves_the_tag() {
    let project = Project::new();
    // An image name of its own, so that the private tags of other tests' builds are not taken for what this one left.
    let name = &project.name;
    let tasks = format!("[images.{name}]\ntag = \"{name}:test\"\ncontext = \"app\"\n");
    project.write("tasks.toml", &tasks);
    project.tg(&["build"]).code(0);
    let dockerfile =
        "FROM debian:bookworm-slim\nCOPY answer /answer\nRUN echo the last words; exit 7\n";
    project.write("app/Dockerfile", dockerfile);
    project
        .tg(&["build-if-needed"])
        .code(63)
        .says("the last words")
        .says("exit code: 7")
        .says("Dockerfile:3");
    assert_eq!(answer_of(&project.tag()), "one");
    assert_eq!(output("docker", &["image", "ls", "-q", &format!("tg-build/{name}")]), "");
}

#[test]
#[ignore = "needs docker"]
fn a_cancelled_build_leaves_no_child_and_no_tag() {
    let project = Project::new();
    let dockerfile = "FROM debian:bookworm-slim\nCOPY answer /answer\nRUN echo begun; sleep 600\n";
    project.write("app/Dockerfile", dockerfile);
    let mut command = project.command(&["build", "--verbose"]);
    let child =
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The builder's command line names the state directory of this very project.
    let marker = project.path("state").display().to_string();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !output("ps", &["-eo", "args"]).contains(&marker) {
        assert!(Instant::now() < deadline, "the build did not start");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    ran(child.wait_with_output().unwrap()).code(130).says("interrupted");
    assert!(!output("ps", &["-eo", "args"]).contains(&marker));
    assert_eq!(output("docker", &["image", "ls", "-q", &project.name]), "");
}

#[test]
#[ignore = "needs docker"]
fn clean_removes_only_what_tg_built() {
    let project = Project::new();
    project.tg(&["build"]).code(0);
    project.tg(&["clean", "images"]).code(66).says("tg clean --yes");
    assert_eq!(answer_of(&project.tag()), "one");
    project.tg(&["clean", "images", "--yes"]).code(0);
    assert_eq!(output("docker", &["image", "ls", "-q", &project.name]), "");
    output("docker", &["tag", "debian:bookworm-slim", &project.tag()]);
    project.tg(&["clean", "images", "--yes"]).code(0).says("tg did not build it");
    assert_ne!(output("docker", &["image", "ls", "-q", &project.name]), "");
}

#[test]
#[ignore = "needs docker"]
fn a_platform_of_the_environment_is_an_input() {
    let mut project = Project::new();
    project.tg(&["build"]).code(0);
    let own = output("docker", &["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]);
    project.env("DOCKER_DEFAULT_PLATFORM", &own);
    project.tg(&["build-if-needed"]).code(0).says("skipped");
    project.env("DOCKER_DEFAULT_PLATFORM", "linux/riscv64");
    let why = project.tg(&["why"]).code(0).stdout;
    let changed = format!("inputs changed: ~ platform ({own} → linux/riscv64)");
    assert!(why.contains(&changed), "{why}");
}

/// A Dockerfile that looks at everything it is given; of secrets it keeps no more than their first digits of SHA-256.
const LOOKS_AT_EVERYTHING: &str = r#"FROM debian:bookworm-slim
ARG GIVEN
ARG UNSET=fallback
COPY --from=lib /word /word
RUN --mount=type=secret,id=token --mount=type=secret,id=file \
    { echo "given $GIVEN, unset $UNSET, lib $(cat /word), net $(ls /sys/class/net)"; \
      echo "token $(sha256sum < /run/secrets/token | cut -c -12)"; \
      echo "file $(sha256sum < /run/secrets/file | cut -c -12)"; \
      grep -E 'db$|six$' /etc/hosts; } > /answer
"#;
const TOKEN: (&str, &str) = ("token of the environment", "7498d87e91d4");
const FILE: (&str, &str) = ("secret of a file", "5684d0673877");

/// A project whose image is given something in every way that needs no network and no agent.
fn given_everything() -> Project {
    let mut project = Project::new();
    project.env("GIVEN", "an argument, given");
    project.env("TG_TEST_TOKEN", TOKEN.0);
    project.write("app/Dockerfile", LOOKS_AT_EVERYTHING);
    project.write("lib/word", "there");
    // The builder reads the description of a secret as CSV.
    project.write("sec,ret \"1\"", FILE.0);
    project.write(
        "tasks.toml",
        &format!(
            "[images.app]\ntag = \"{name}:test\"\ncontext = \"app\"\nnetwork = \"none\"\n\
             env_args = [\"GIVEN\", \"UNSET\"]\ncontexts = {{ lib = \"lib\" }}\n\
             labels = {{ \"org.example/a\" = \"b = c\" }}\n\
             add_hosts = {{ db = \"10.0.0.1\", six = \"fd00::1\" }}\n\
             secrets.token = {{ env = \"TG_TEST_TOKEN\" }}\n\
             secrets.file = {{ file = 'sec,ret \"1\"' }}\n",
            name = project.name
        ),
    );
    project
}

#[test]
#[ignore = "needs docker"]
fn every_way_into_a_build_reaches_the_builder() {
    let project = given_everything();
    project.tg(&["build"]).code(0);
    let expected = [
        "given an argument, given, unset fallback, lib there, net lo".to_owned(),
        format!("token {}", TOKEN.1),
        format!("file {}", FILE.1),
        "10.0.0.1\tdb".to_owned(),
        "fd00::1\tsix".to_owned(),
    ];
    assert_eq!(answer_of(&project.tag()), expected.join("\n"));
    let format =
        "{{index .Config.Labels \"org.example/a\"}} {{index .Config.Labels \"dev.tg.image\"}}";
    let labels = output("docker", &["image", "inspect", "--format", format, &project.tag()]);
    assert_eq!(labels, "b = c app");
}

#[test]
#[ignore = "needs docker"]
fn secrets_are_nowhere() {
    let mut project = given_everything();
    // In front of the real one: keeps every argument, and the state directory as it is when the builder has ended.
    let (real, kept) = (output("sh", &["-c", "command -v docker"]), project.path("kept"));
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{kept}/argv'\n'{real}' \"$@\"\ncode=$?\n\
         cp -RP \"$TG_STATE_DIR\" '{kept}/state'\nexit $code\n",
        kept = kept.display()
    );
    std::fs::create_dir(&kept).unwrap();
    project.write("bin/docker", &script);
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(project.path("bin/docker"), mode).unwrap();
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap());
    project.env("PATH", &path);
    let mut told = String::new();
    for args in [
        &["build", "--dry-run", "--json"][..],
        &["build", "--verbose", "--json"],
        &["build", "--verbose"],
        &["cache-status", "--json"],
        &["cache-status"],
        &["build-if-needed", "--dry-run"],
    ] {
        let ran = project.tg(args).code(0);
        told.extend([ran.stdout, ran.stderr]);
    }
    assert!(answer_of(&project.tag()).contains(TOKEN.1), "the build did not see the secret");
    let image = output("docker", &["image", "inspect", &project.tag()]);
    let history = output("docker", &["image", "history", "--no-trunc", &project.tag()]);
    let argv = std::fs::read_to_string(kept.join("argv")).unwrap();
    assert!(argv.contains("id=token,env=TG_TEST_TOKEN"), "{argv}");
    let (during, after) = (contents(&kept), contents(&project.path("state")));
    assert!(during.iter().any(|text| text.contains("containerimage.config.digest")), "{during:?}");
    for text in during.iter().chain(&after).chain([&told, &image, &history]) {
        for secret in [TOKEN.0, FILE.0] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    // Nor is a digest of one in the records: what has few possible values can be guessed.
    for text in &after {
        assert!(!text.contains(TOKEN.1) && !text.contains(FILE.1), "{text}");
    }
    // An argument is in the image and in what the builder prints, but in no command line and no record.
    for text in after.iter().chain([&argv]) {
        assert!(!text.contains("an argument, given"), "{text}");
    }
}

/// Every file below a directory, its name and text; links are not followed.
fn contents(directory: &Path) -> Vec<String> {
    let (mut found, mut pending) = (Vec::new(), vec![directory.to_path_buf()]);
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                pending.push(path);
            } else if kind.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                found.push(format!("{}: {}", path.display(), String::from_utf8_lossy(&bytes)));
            }
        }
    }
    found
}
