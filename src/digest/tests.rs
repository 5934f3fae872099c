use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::change::{Change, between_manifests};
use super::manifest::{Manifest, lines};
use super::stat_cache::StatCache;
use super::tree::{Content, MAIN, Special, hides_a_change};
use super::*;
use crate::names::{ImageId, ImageRef, Key};
use crate::taskfile::model::{ContextSource, ImageSpec, SecretSource, VolatileArg};

struct Project {
    directory: tempfile::TempDir,
    args: BTreeMap<String, String>,
    base: String,
    surroundings: Surroundings,
    adjust: fn(&mut ImageSpec),
}

impl Project {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let surroundings =
            Surroundings { platform: "linux/amd64".to_owned(), ..Surroundings::default() };
        let base = format!("sha256:{}", "1".repeat(64));
        let project = Self { directory, args: BTreeMap::new(), base, surroundings, adjust: |_| {} };
        project.write("Dockerfile", "FROM debian AS all\nCOPY . .\n");
        project.write(".dockerignore", "target\n");
        project.write("src/main.rs", "fn main() {}\n");
        project.write("target/out", "binary");
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn sources(&self) -> Sources {
        read(&self.spec(), &self.surroundings, None).unwrap()
    }

    fn tree(&self) -> tree::Tree {
        self.sources().trees.remove(MAIN).unwrap()
    }

    fn spec(&self) -> ImageSpec {
        let id = ImageId { name: "app".to_owned(), variant: None };
        let tag = ImageRef::parse("app:test").unwrap();
        let context = self.directory.path().to_path_buf();
        let mut spec = ImageSpec::new(id, tag, context, self.path("Dockerfile"));
        spec.args = self.args.clone();
        (self.adjust)(&mut spec);
        spec
    }

    fn manifest(&self) -> Manifest {
        let sources = self.sources();
        let bases = BTreeMap::from([("debian".to_owned(), self.base.clone())]);
        let inputs = Inputs::new(&self.spec(), &sources, &self.surroundings, &bases);
        let key = inputs.key().as_str().to_owned();
        let lines = lines(&sources.dockerfile);
        Manifest { key, parts: inputs.parts, lines, trees: sources.trees }
    }

    fn key(&self) -> Key {
        Key::new(self.manifest().key)
    }
}

fn told(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

/// Scenario × modification → expectation, through one function.
fn check(modify: impl Fn(&mut Project), changes: bool) {
    let mut project = Project::new();
    let before = project.key();
    modify(&mut project);
    assert_eq!(project.key() != before, changes);
}

#[test]
fn what_decides_a_build_changes_the_key() {
    check(|p| p.write("src/main.rs", "fn main() { }\n"), true);
    check(|p| p.write("new", ""), true);
    check(|p| std::fs::remove_file(p.path("src/main.rs")).unwrap(), true);
    check(|p| std::fs::rename(p.path("src/main.rs"), p.path("src/lib.rs")).unwrap(), true);
    check(|p| std::fs::create_dir(p.path("empty")).unwrap(), true);
    check(|p| std::os::unix::fs::symlink("src", p.path("link")).unwrap(), true);
    check(|p| p.write("Dockerfile", "FROM debian\nCOPY . /x\n"), true);
    check(|p| drop(p.args.insert("A".to_owned(), String::new())), true);
    check(
        |p| {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(p.path("src/main.rs"), mode).unwrap();
        },
        true,
    );
    check(
        |p| {
            let mode = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(p.path("src"), mode).unwrap();
        },
        true,
    );
}

#[test]
fn what_does_not_decide_a_build_leaves_the_key() {
    check(|_| {}, false);
    check(|p| p.write("target/out", "other"), false);
    check(|p| p.write("src/main.rs", "fn main() {}\n"), false);
}

#[test]
fn everything_that_is_said_about_a_build_is_in_the_key() {
    let lib = tempfile::tempdir().unwrap();
    std::fs::write(lib.path().join("a"), "1").unwrap();
    let mut keys = vec![Project::new().key()];
    let adjustments: [fn(&mut ImageSpec); 14] = [
        |s| s.target = Some("all".to_owned()),
        |s| s.platform = Some("linux/arm64".to_owned()),
        |s| s.network = Some("none".to_owned()),
        |s| drop(s.args.insert("A".to_owned(), String::new())),
        |s| drop(s.args.insert("A".to_owned(), "1".to_owned())),
        |s| drop(s.args.insert("B".to_owned(), "1".to_owned())),
        |s| drop(s.labels.insert("A".to_owned(), "1".to_owned())),
        |s| drop(s.add_hosts.insert("A".to_owned(), "1".to_owned())),
        |s| drop(s.secrets.insert("A".to_owned(), SecretSource::Env("X".to_owned()))),
        |s| drop(s.secrets.insert("A".to_owned(), SecretSource::Env("Y".to_owned()))),
        |s| drop(s.secrets.insert("A".to_owned(), SecretSource::File("/x".into()))),
        |s| drop(s.ssh.insert("default".to_owned(), None)),
        |s| drop(s.contexts.insert("A".to_owned(), ContextSource::Image("x".to_owned()))),
        |s| drop(s.contexts.insert("A".to_owned(), ContextSource::Remote("https://x".to_owned()))),
    ];
    for adjust in adjustments {
        let mut project = Project::new();
        project.adjust = adjust;
        keys.push(project.key());
    }
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

#[test]
fn what_does_not_reach_the_image_is_not_in_the_key() {
    let adjustments: [fn(&mut ImageSpec); 4] = [
        |s| drop(s.args.insert("BUILDKIT_INLINE_CACHE".to_owned(), "1".to_owned())),
        |s| drop(s.args.insert("https_proxy".to_owned(), "http://x".to_owned())),
        |s| s.env_args.extend(["NOT_SET".to_owned()]),
        |s| {
            let volatile = VolatileArg::Value("1".to_owned());
            s.volatile_args.insert("COMMIT".to_owned(), volatile);
        },
    ];
    for adjust in adjustments {
        let mut project = Project::new();
        let before = project.key();
        project.adjust = adjust;
        assert_eq!(project.key(), before);
    }
}

#[test]
fn the_environment_counts_where_it_reaches_the_build() {
    let mut project = Project::new();
    project.adjust = |s| s.env_args.extend(["SHA".to_owned()]);
    let set = |project: &mut Project, name: &str, value: &str| {
        project.surroundings.variables.insert(name.to_owned(), value.to_owned());
        project.key()
    };
    let unset = project.key();
    let empty = set(&mut project, "SHA", "");
    let one = set(&mut project, "SHA", "1");
    assert!(unset != empty && empty != one && one != unset);
    assert_eq!(set(&mut project, "OTHER", "1"), one);
    assert_ne!(set(&mut project, "SOURCE_DATE_EPOCH", "1"), one);
    let mut project = Project::new();
    let before = project.key();
    project.surroundings.proxies.insert("HTTP_PROXY".to_owned(), "http://x".to_owned());
    assert_eq!(project.key(), before);
    project.write("Dockerfile", "FROM debian\nARG HTTP_PROXY\nCOPY . .\n");
    let declared = project.key();
    project.surroundings.proxies.insert("HTTP_PROXY".to_owned(), "http://y".to_owned());
    assert_ne!(project.key(), declared);
}

#[test]
fn the_specific_ignore_file_replaces_the_general_one() {
    let project = Project::new();
    project.write("Dockerfile.dockerignore", "src\n");
    let tree = project.tree();
    assert!(tree.get(b"target/out").is_some());
    assert!(tree.get(b"src").is_none());
}

#[test]
fn a_kept_file_brings_its_excluded_parents() {
    let project = Project::new();
    project.write(".dockerignore", "*\n!src/main.rs\n");
    let paths: Vec<_> = project.tree().iter().map(|(path, _)| path.to_vec()).collect();
    assert_eq!(paths, [b"src".to_vec(), b"src/main.rs".to_vec()]);
}

#[test]
fn links_are_not_followed_and_fifos_not_opened() {
    let project = Project::new();
    std::os::unix::fs::symlink("/etc/shadow", project.path("secret")).unwrap();
    std::os::unix::fs::symlink("loop", project.path("loop")).unwrap();
    let fifo = project.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let tree = project.tree();
    assert_eq!(tree.get(b"secret").unwrap().content, Content::Link(Box::from(&b"/etc/shadow"[..])));
    assert_eq!(tree.get(b"fifo").unwrap().content, Content::Special(Special::Fifo));
}

#[test]
fn a_change_that_the_builder_cannot_see_is_seen() {
    let project = Project::new();
    let before = project.tree();
    let restore = |name: &str, time| {
        let file = std::fs::File::options().write(true).open(project.path(name)).unwrap();
        file.set_modified(time).unwrap();
    };
    let time = std::fs::metadata(project.path("src/main.rs")).unwrap().modified().unwrap();
    project.write("src/main.rs", "fn niam() {}\n");
    restore("src/main.rs", time);
    let after = project.tree();
    assert!(hides_a_change(&before, &after));
    assert_eq!(told(&change::between_trees("", &before, &after)), ["~ src/main.rs"]);
    project.write("src/main.rs", "fn longer() {}\n");
    restore("src/main.rs", time);
    assert!(!hides_a_change(&before, &project.tree()), "the size tells");
}

#[test]
fn a_directory_s_mode_and_another_type_are_hidden_changes() {
    let project = Project::new();
    let before = project.tree();
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(project.path("src"), mode).unwrap();
    let moved = project.tree();
    assert!(hides_a_change(&before, &moved));
    assert!(told(&change::between_trees("", &before, &moved))[0].starts_with("~ src (mode 07"));
    std::fs::remove_file(project.path("src/main.rs")).unwrap();
    std::os::unix::fs::symlink("x", project.path("src/main.rs")).unwrap();
    let linked = project.tree();
    assert!(hides_a_change(&moved, &linked));
    assert_eq!(
        told(&change::between_trees("lib", &moved, &linked)),
        ["~ lib: src/main.rs (file → link)"]
    );
}

#[test]
fn extended_attributes_count() {
    let project = Project::new();
    let before = project.tree();
    let path = project.path("src/main.rs");
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&path, "user.tg", b"1", flags).unwrap();
    let after = project.tree();
    assert!(hides_a_change(&before, &after));
    assert_eq!(
        told(&change::between_trees("", &before, &after)),
        ["~ src/main.rs (extended attributes)"]
    );
    assert_ne!(tree::digest(&before), tree::digest(&after));
}

#[test]
fn reasons_name_paths_parts_and_lines() {
    let mut project = Project::new();
    let before = project.manifest();
    project.write("a", "");
    std::fs::remove_file(project.path("src/main.rs")).unwrap();
    project.write("Dockerfile", "FROM debian AS all\nUSER x\nCOPY . .\n");
    project.args.insert("PROFILE".to_owned(), "secret".to_owned());
    project.base = format!("sha256:{}", "2".repeat(64));
    let after = project.manifest();
    let changes = told(&between_manifests(&before, &after));
    assert_eq!(
        changes,
        [
            "~ Dockerfile",
            "+ a",
            "- src/main.rs",
            "+ arg PROFILE",
            "~ base debian (sha256:111111111111 → sha256:222222222222)",
            "~ Dockerfile line 2",
        ]
    );
    assert!(!format!("{after:?}").contains("secret"));
}

#[test]
fn what_was_read_once_is_read_again_only_if_it_could_have_changed() {
    let project = Project::new();
    let spec = project.spec();
    let mut first = project.sources();
    assert!(first.read > 0);
    // As if everything were old enough to be believed.
    first.looked_ns += 100_000_000_000;
    let cache = first.worth_remembering().unwrap();
    let look = |cache: &StatCache| {
        // The future that the record is from must not be a reason to void it.
        let cache = StatCache { looked_ns: 0, ..cache.clone() };
        read(&spec, &project.surroundings, Some(&cache)).unwrap()
    };
    let second = look(&cache);
    assert_eq!((second.read, &second.trees), (0, &first.trees));
    assert!(second.worth_remembering().is_none());
    let time = std::fs::metadata(project.path("src/main.rs")).unwrap().modified().unwrap();
    project.write("src/main.rs", "fn niam() {}\n");
    let file = std::fs::File::options().write(true).open(project.path("src/main.rs")).unwrap();
    file.set_modified(time).unwrap();
    let third = look(&cache);
    assert_eq!(third.read, 1, "the time of the last change tells, which nobody can set");
    assert_ne!(third.trees, first.trees);
    assert_eq!(read(&spec, &project.surroundings, None).unwrap().trees, third.trees);
}

#[test]
fn a_record_of_young_files_has_nothing_in_it() {
    let cache = Project::new().sources().worth_remembering().unwrap();
    assert!(cache.trees.values().all(tree::Tree::is_empty), "{cache:?}");
}

#[test]
fn a_named_context_has_its_own_ignore_file() {
    let mut project = Project::new();
    project.write("lib/.dockerignore", "no\n");
    project.write("lib/yes", "1");
    project.write("lib/no", "1");
    let with = |project: &Project| {
        let mut spec = project.spec();
        spec.contexts.insert("lib".to_owned(), ContextSource::Local(project.path("lib")));
        read(&spec, &project.surroundings, None).unwrap().trees
    };
    let before = with(&project);
    let names: Vec<&[u8]> = before["lib"].iter().map(|(path, _)| path).collect();
    assert_eq!(names, [&b".dockerignore"[..], b"yes"]);
    project.write("lib/yes", "2");
    project.args.clear();
    let changes = told(&change::between_all_trees(&before, &with(&project)));
    assert_eq!(changes, ["~ lib/yes", "~ lib: yes"]);
}

#[test]
fn names_that_are_no_text_are_kept_apart() {
    use std::os::unix::ffi::OsStrExt;
    let project = Project::new();
    for name in [&b"a\xff"[..], b"a\xfe", "a\u{fffd}".as_bytes()] {
        std::fs::write(project.directory.path().join(std::ffi::OsStr::from_bytes(name)), name)
            .unwrap();
    }
    assert_eq!(project.tree().iter().filter(|(path, _)| path.starts_with(b"a")).count(), 3);
}

#[test]
fn a_dockerfile_may_be_in_any_encoding() {
    let project = Project::new();
    std::fs::write(project.path("Dockerfile"), b"# caf\xe9\nFROM debian\n").unwrap();
    let latin = project.sources();
    assert_eq!(Vec::from_iter(latin.external.images.keys()), ["docker.io/library/debian:latest"]);
    std::fs::write(project.path("Dockerfile"), b"# caf\xe8\nFROM debian\n").unwrap();
    assert_ne!(project.sources().build_files_digest(), latin.build_files_digest());
}

#[test]
fn volatile_arguments_of_the_task_file_decide_no_base() {
    let mut project = Project::new();
    project.write("Dockerfile", "ARG BASE=debian\nFROM $BASE\n");
    project.adjust = |spec| {
        spec.volatile_args.insert("BASE".to_owned(), VolatileArg::Value("ubuntu".to_owned()));
    };
    let error = read(&project.spec(), &project.surroundings, None).unwrap_err().to_string();
    assert!(error.contains("Dockerfile:2: `BASE` is a volatile argument"), "{error}");
}

/// Ends a loop in another thread, also when a test fails.
struct Stop<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn files_that_change_while_they_are_read_neither_hang_nor_confuse() {
    let project = Project::new();
    let path = project.path("src/restless");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Grows, shrinks, goes, comes back as something that would hang or lead elsewhere.
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = std::fs::write(&path, vec![b'x'; 300_000]);
                let _ = std::fs::write(&path, "short");
                let _ = std::fs::remove_file(&path);
                let _ = std::os::unix::fs::symlink("/dev/zero", &path);
                let _ = std::fs::remove_file(&path);
                let _ = rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU);
                let _ = std::fs::remove_file(&path);
            }
        });
        let _stop = Stop(&stop);
        let mut seen = std::collections::BTreeSet::new();
        let (mut rounds, begun) = (0, std::time::Instant::now());
        while rounds < 300 || seen.len() < 2 {
            assert!(begun.elapsed().as_secs() < 60, "nothing was seen to change: {seen:?}");
            rounds += 1;
            let sources = read(&project.spec(), &project.surroundings, None);
            match sources {
                Ok(sources) => {
                    let tree = &sources.trees[MAIN];
                    assert!(tree.get(b"src/main.rs").is_some(), "its neighbours are not lost");
                    seen.insert(tree.get(b"src/restless").map(|entry| entry.content.kind()));
                }
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    assert!(format!("{error:#}").contains("src/restless"), "{error:#}");
                }
            }
        }
    });
}
