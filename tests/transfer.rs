//! Built bytes are hashed bytes, on a real Docker engine: `cargo test --test transfer -- --ignored`.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use registry::Registry;
use support::{Project, answer_of, listing, output};

#[path = "support/registry.rs"]
mod registry;
mod support;

/// Writes a file again and gives it the times that it had.
fn rewrite(path: &Path, text: &str) {
    let before = std::fs::metadata(path).unwrap();
    std::fs::write(path, text).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    let after = std::fs::metadata(path).unwrap();
    let seen = |m: &std::fs::Metadata| (m.len(), m.modified().unwrap());
    assert_eq!(seen(&before), seen(&after), "the builder must have nothing to see");
}

/// A project whose image lists what was copied, with types, modes and attributes that matter here.
fn list_project() -> Project {
    let project = Project::new();
    let dockerfile = "FROM debian:bookworm-slim\nCOPY . /all\n\
        RUN cd /all && find . -printf '%P %y %m %l\\n' | sort > /answer\n";
    project.write("app/Dockerfile", dockerfile);
    project
}

#[test]
#[ignore = "needs docker"]
fn a_mode_of_a_directory_alone_is_built() {
    let project = list_project();
    project.write("app/sub/file", "");
    project.tg(&["build"]).code(0);
    assert!(answer_of(&project.tag()).contains("sub d 755"));
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(project.path("app/sub"), mode).unwrap();
    project.tg(&["build-if-needed"]).code(0).says("~ sub (mode 0755 → 0700)");
    assert!(answer_of(&project.tag()).contains("sub d 700"));
}

#[test]
#[ignore = "needs docker"]
fn another_type_under_the_same_name_is_built() {
    let project = list_project();
    project.write("app/thing", "");
    project.tg(&["build"]).code(0);
    std::fs::remove_file(project.path("app/thing")).unwrap();
    symlink("answer", project.path("app/thing")).unwrap();
    project.tg(&["build-if-needed"]).code(0).says("~ thing (file → link)");
    assert!(answer_of(&project.tag()).contains("thing l 777 answer"));
    std::fs::remove_file(project.path("app/thing")).unwrap();
    std::fs::create_dir(project.path("app/thing")).unwrap();
    project.tg(&["build-if-needed"]).code(0).says("~ thing (link → directory)");
    assert!(answer_of(&project.tag()).contains("thing d 755"));
}

#[test]
#[ignore = "needs docker"]
fn two_work_trees_of_one_name_do_not_share_what_the_builder_holds() {
    let (one, two) = (Project::new(), Project::new());
    let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for (project, text) in [(&one, "one\n"), (&two, "two\n")] {
        project.write("app/answer", text);
        for name in ["answer", "Dockerfile", ".dockerignore"] {
            let path = project.path("app").join(name);
            File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }
        project.tg(&["build"]).code(0);
    }
    assert_eq!(answer_of(&one.tag()), "one");
    assert_eq!(answer_of(&two.tag()), "two");
}

#[test]
#[ignore = "needs docker"]
fn a_damaged_foreign_or_lost_record_of_what_was_sent_costs_time_only() {
    let project = Project::new();
    let sent = || {
        let find = output("find", &[project.path("state").to_str().unwrap(), "-name", "sent"]);
        std::path::PathBuf::from(find)
    };
    project.tg(&["build"]).code(0);
    let first = std::fs::read(sent()).unwrap();
    rewrite(&project.path("app/answer"), "two\n");
    let mut damaged = first.clone();
    damaged[first.len() / 2] ^= 1;
    std::fs::write(sent(), damaged).unwrap();
    project.tg(&["build-if-needed"]).code(0).says("~ answer");
    assert_eq!(answer_of(&project.tag()), "two");
    rewrite(&project.path("app/answer"), "six\n");
    std::fs::remove_file(sent()).unwrap();
    project.tg(&["build-if-needed"]).code(0);
    assert_eq!(answer_of(&project.tag()), "six");
    // The record of another time of the same project: what it says was sent is not what the builder holds now.
    rewrite(&project.path("app/answer"), "ten\n");
    std::fs::write(sent(), first).unwrap();
    project.tg(&["build-if-needed"]).code(0);
    assert_eq!(answer_of(&project.tag()), "ten");
}

#[test]
#[ignore = "needs docker"]
fn what_was_saved_during_a_build_is_built_and_what_never_rests_is_an_error() {
    let project = Project::new();
    // The file changes after it was sent, and before the build ends.
    let dockerfile = "FROM debian:bookworm-slim\nCOPY answer /answer\nRUN sleep 3\n";
    project.write("app/Dockerfile", dockerfile);
    let answer = project.path("app/answer");
    let mut command = project.command(&["build", "--verbose"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
        // The step that runs comes after the one that copies.
        if line.contains("RUN sleep") && !told.contains("RUN sleep") {
            std::fs::write(&answer, "two\n").unwrap();
        }
        told.extend([&line, "\n"]);
    }
    assert!(child.wait().unwrap().success(), "{told}");
    let again = "changed while it was built: ~ answer; building again";
    assert!(told.contains(again), "{told}");
    assert_eq!(answer_of(&project.tag()), "two");
    let stop = AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = File::options().append(true).open(&answer).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"more\n").unwrap();
                // Not so fast that the disk fills.
                file.sync_data().unwrap();
            }
        });
        let ran = project.tg(&["build"]);
        stop.store(true, Ordering::Relaxed);
        ran
    });
    ran.code(63).says("keep changing while it is built: ~ answer").says(".dockerignore");
    assert!(answer_of(&project.tag()).starts_with("two"), "the public tag stays where it was");
}

#[test]
#[ignore = "needs docker"]
fn old_copies_of_a_context_leave_the_builder() {
    let project = Project::new();
    let copies = || {
        let args = ["buildx", "du", "--filter", "type=source.local", "--format", "json"];
        let rows = output("docker", &args);
        let context = rows.lines().filter(|line| line.contains("local source for context"));
        context.map(|line| line.split("\"ID\":\"").nth(1).unwrap()[..25].to_owned()).collect()
    };
    let before: std::collections::BTreeSet<String> = copies();
    project.tg(&["build"]).code(0);
    let first: std::collections::BTreeSet<String> = copies().difference(&before).cloned().collect();
    assert_eq!(first.len(), 1, "one context, one copy");
    rewrite(&project.path("app/answer"), "two\n");
    project.tg(&["build-if-needed"]).code(0);
    let second = copies();
    assert!(second.is_disjoint(&first), "the old copy is still there");
    assert_eq!(second.difference(&before).count(), 1, "and the new one is not");
    // A change that the builder sees needs no new copy, and neither does a build that fails after the transfer.
    project.write("app/answer", "three\n");
    project.write("app/Dockerfile", "FROM debian:bookworm-slim\nCOPY answer /answer\nRUN false\n");
    project.tg(&["build-if-needed"]).code(63);
    project.write("app/Dockerfile", "FROM debian:bookworm-slim\nCOPY answer /answer\n");
    project.tg(&["build-if-needed"]).code(0);
    assert_eq!(answer_of(&project.tag()), "three");
    // The builder may have collected copies of others meanwhile.
    let ours = |copies: std::collections::BTreeSet<String>| {
        copies.difference(&before).cloned().collect::<Vec<_>>()
    };
    assert_eq!(ours(copies()), ours(second));
}

#[test]
#[ignore = "needs docker"]
fn odd_files_neither_hang_nor_confuse() {
    let project = list_project();
    let fifo = project.path("app/fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    symlink("/nonexistent/target", project.path("app/dangling")).unwrap();
    std::fs::create_dir(project.path("app/empty")).unwrap();
    project.write("app/with space\tand tab", "");
    project.tg(&["build-if-needed"]).code(0);
    let answer = answer_of(&project.tag());
    for line in ["fifo p 700", "dangling l 777 /nonexistent/target", "empty d 755"] {
        assert!(answer.contains(line), "no {line} in {answer}");
    }
    project.tg(&["build-if-needed"]).code(0).says("skipped");
    // Two names that a careless reader takes for one.
    let name = |byte: u8| project.path("app").join(OsStr::from_bytes(&[b'n', byte]));
    std::fs::write(name(0xff), "").unwrap();
    let ran = project.tg(&["build-if-needed"]);
    assert!(ran.stderr.contains("+ n\u{fffd}"), "{}", ran.stderr);
    std::fs::rename(name(0xff), name(0xfe)).unwrap();
    let status = project.tg(&["cache-status"]).code(0).stdout;
    assert!(!status.contains("build   skip"), "{status}");
}

#[test]
#[ignore = "needs docker"]
fn a_base_is_what_its_registry_says_by_the_policy() {
    let (mut project, registry) = (Project::new(), Registry::start());
    let first = registry.push(&project.path("scratch"), "first");
    let image = registry.image();
    project.write("app/Dockerfile", &format!("FROM {image}\nCOPY answer /answer\n"));
    let policy = |project: &Project, word: &str| {
        let (name, image) = (&project.name, "context = \"app\"");
        project.write(
            "tasks.toml",
            &format!("[images.app]\ntag = \"{name}:test\"\n{image}\nbase = \"{word}\"\n"),
        );
    };
    let from = |project: &Project| {
        let container = output("docker", &["create", &project.tag(), "none"]);
        let text = output("sh", &["-c", &format!("docker cp {container}:/from - | tar -xO")]);
        output("docker", &["rm", &container]);
        text
    };
    project.env("NO_PROXY", "127.0.0.1");
    policy(&project, "locked");
    project.tg(&["build-if-needed"]).code(0);
    assert_eq!(from(&project), "first");
    registry.asked();
    // Locked: what was found stays what is used, and nobody is asked.
    let second = registry.push(&project.path("scratch"), "second");
    project.tg(&["build-if-needed"]).code(0).says("skipped");
    assert_eq!(registry.asked(), Vec::<String>::new());
    project.write("app/answer", "two\n");
    project.tg(&["build-if-needed"]).code(0).says("~ answer");
    assert_eq!(from(&project), "first", "the builder must use the digest of the key");
    // Refresh: the registry is asked each time.
    policy(&project, "refresh");
    let changed = format!("~ base {image} ({} → {})", &first[..19], &second[..19]);
    project.tg(&["build-if-needed"]).code(0).says(&changed);
    assert_eq!(from(&project), "second");
    project.tg(&["build-if-needed"]).code(0).says("skipped");
    // Without the registry: the last answer counts, and tg says so; or nothing counts, and the builder has to say.
    registry.fail();
    let status = project.tg(&["cache-status"]).code(0).stdout;
    assert!(
        status.contains("is taken as it last was") && status.contains("build   skip"),
        "{status}"
    );
    policy(&project, "always");
    let status = project.tg(&["cache-status"]).code(0).stdout;
    assert!(status.contains("the registry does not tell what"), "{status}");
}

#[test]
#[ignore = "needs docker"]
fn asking_why_names_everything_and_writes_nothing() {
    let project = Project::new();
    project.write("app/run.sh", "");
    project.tg(&["build"]).code(0);
    let key = || {
        let why = project.tg(&["why", "--json"]).code(0).stdout;
        let why: serde_json::Value = serde_json::from_str(&why).unwrap();
        why["images"][0]["key"].as_str().unwrap().to_owned()
    };
    let first = key();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(project.path("app/run.sh"), mode).unwrap();
    project.write("app/answer", "two\n");
    let dockerfile = "FROM debian:bookworm-slim\nARG PROFILE\nCOPY answer /answer\n";
    project.write("app/Dockerfile", dockerfile);
    let tasks = std::fs::read_to_string(project.path("tasks.toml")).unwrap();
    let tasks = tasks.replace("context =", "args = { PROFILE = \"hidden value\" }\ncontext =");
    project.write("tasks.toml", &tasks);
    let before = listing(&project.path("state"));
    let why = project.tg(&["why", "--verify"]).code(0).stdout;
    for line in [
        "build run: inputs changed: ~ answer, ~ run.sh (mode 0644 → 0755), + arg PROFILE and 1 more",
        "    ~ Dockerfile lines 2 to 3",
        &format!("    last build         {first} made"),
    ] {
        assert!(why.contains(line), "no {line} in {why}");
    }
    assert!(!why.contains("hidden value"), "{why}");
    project.tg(&["ignore", "explain", "answer", "Dockerfile"]).code(0);
    assert_eq!(listing(&project.path("state")), before);
    // Afterwards the same is told of the two builds, and a hand-moved tag is told from changed inputs.
    project.tg(&["build-if-needed"]).code(0);
    let second = key();
    let between = project.tg(&["why", "--between", &first[..16], &second[..16]]).code(0).stdout;
    for line in
        ["~ answer", "~ run.sh (mode 0644 → 0755)", "+ arg PROFILE", "~ Dockerfile lines 2 to 3"]
    {
        assert!(between.contains(line), "no {line} in {between}");
    }
    project.tg(&["why", "--between", "ffff", "0"]).code(2).says("no build of key `ffff`");
}

#[test]
#[ignore = "needs docker"]
fn a_context_that_a_build_did_not_use_is_not_taken_for_sent() {
    let project = Project::new();
    let used = "FROM debian:bookworm-slim\nCOPY answer /answer\n";
    let unused = "FROM debian:bookworm-slim\nRUN echo nothing of the context > /answer\n";
    let answer = project.path("app/answer");
    let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let build = |dockerfile: &str, text: &str| {
        project.write("app/Dockerfile", dockerfile);
        std::fs::write(&answer, text).unwrap();
        File::options().write(true).open(&answer).unwrap().set_modified(time).unwrap();
        project.tg(&["build-if-needed"]).code(0);
    };
    build(used, "AAAA\n");
    assert_eq!(answer_of(&project.tag()), "AAAA");
    build(unused, "BBBBBB\n");
    // To the builder's copy, which is of the first time, this looks the same.
    build(used, "CCCC\n");
    assert_eq!(answer_of(&project.tag()), "CCCC");
}

#[test]
#[ignore = "needs docker"]
fn what_comes_and_goes_during_a_build_is_not_baked_in() {
    let mut project = list_project();
    // In front of the real one: something is in the context for the time of the first build only.
    let real = output("sh", &["-c", "command -v docker"]);
    let (swap, once) = (project.path("app/sub/swap"), project.path("once"));
    project.write("app/sub/file", "");
    project.write(
        "bin/docker",
        &format!(
            "#!/bin/sh\ncase \"$*\" in *buildx\\ build*) [ -e '{once}' ] || {{ : > '{once}'; : > '{swap}'; }};; esac\n\
             '{real}' \"$@\"\ncode=$?\nrm -f '{swap}'\nexit $code\n",
            once = once.display(),
            swap = swap.display()
        ),
    );
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(project.path("bin/docker"), mode).unwrap();
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap());
    project.env("PATH", &path);
    project.tg(&["build"]).code(0).says("sub (written to); building again");
    assert!(!answer_of(&project.tag()).contains("swap"), "{}", answer_of(&project.tag()));
}

#[test]
#[ignore = "needs docker"]
fn builds_of_one_image_wait_for_each_other() {
    let project = Project::new();
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut command = project.command(&["build"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut waited = 0;
    for child in children {
        let ran = support::ran(child.wait_with_output().unwrap()).code(0);
        waited += usize::from(ran.stderr.contains("(tg build), which builds `app`"));
    }
    assert!(waited > 0, "three at once, and none waited");
    assert_eq!(answer_of(&project.tag()), "one");
}

#[test]
#[ignore = "needs docker"]
fn a_linked_ignore_file_of_a_named_context_is_refused() {
    let project = Project::new();
    project.write("lib/gen", "one");
    project.write("shared/ignore", "gen\n");
    symlink("../shared/ignore", project.path("lib/.dockerignore")).unwrap();
    let (name, app) = (&project.name, "context = \"app\"\ncontexts = { lib = \"lib\" }");
    project.write("tasks.toml", &format!("[images.app]\ntag = \"{name}:test\"\n{app}\n"));
    project.tg(&["build-if-needed"]).code(63).says("lib/.dockerignore is a link");
}
