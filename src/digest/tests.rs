use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::names::{ImageId, ImageRef};

struct Project {
    directory: tempfile::TempDir,
    args: BTreeMap<String, String>,
}

impl Project {
    fn new() -> Self {
        let project = Self { directory: tempfile::tempdir().unwrap(), args: BTreeMap::new() };
        project.write("Dockerfile", "FROM debian\nCOPY . .\n");
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
        read(&self.spec()).unwrap()
    }

    fn spec(&self) -> ImageSpec {
        let id = ImageId { name: "app".to_owned(), variant: None };
        let tag = ImageRef::parse("app:test").unwrap();
        let (context, dockerfile) = (self.directory.path().to_path_buf(), self.path("Dockerfile"));
        ImageSpec { args: self.args.clone(), ..ImageSpec::new(id, tag, context, dockerfile) }
    }

    fn key(&self) -> Key {
        let bases = BTreeMap::from([("debian".to_owned(), "sha256:1".to_owned())]);
        Inputs::new(&self.spec(), &self.sources(), &bases).key()
    }
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
fn the_specific_ignore_file_replaces_the_general_one() {
    let project = Project::new();
    project.write("Dockerfile.dockerignore", "src\n");
    let tree = project.sources().tree;
    assert!(tree.contains_key(b"target/out".as_slice()));
    assert!(!tree.contains_key(b"src".as_slice()));
}

#[test]
fn a_kept_file_brings_its_excluded_parents() {
    let project = Project::new();
    project.write(".dockerignore", "*\n!src/main.rs\n");
    let paths: Vec<_> = project.sources().tree.into_keys().collect();
    assert_eq!(paths, [b"src".to_vec(), b"src/main.rs".to_vec()]);
}

#[test]
fn links_are_not_followed_and_fifos_not_opened() {
    let project = Project::new();
    std::os::unix::fs::symlink("/etc/shadow", project.path("secret")).unwrap();
    std::os::unix::fs::symlink("loop", project.path("loop")).unwrap();
    let fifo = project.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let tree = project.sources().tree;
    assert_eq!(tree[b"secret".as_slice()].content, Content::Link(b"/etc/shadow".to_vec()));
    assert_eq!(tree[b"fifo".as_slice()].content, Content::Special("fifo".to_owned()));
}

#[test]
fn a_change_under_the_same_size_and_time_is_seen() {
    let project = Project::new();
    let before = project.sources().tree;
    let time = std::fs::metadata(project.path("src/main.rs")).unwrap().modified().unwrap();
    project.write("src/main.rs", "fn niam() {}\n");
    assert!(!hides_a_change(&before, &project.sources().tree) || time.elapsed().is_ok());
    let file = std::fs::File::options().write(true).open(project.path("src/main.rs")).unwrap();
    file.set_modified(time).unwrap();
    let after = project.sources().tree;
    assert!(hides_a_change(&before, &after));
    assert_eq!(changed_paths(&before, &after), ["~ src/main.rs"]);
}

#[test]
fn reasons_name_paths_and_parts() {
    let mut project = Project::new();
    let (before, tree) = (
        Inputs::new(&project.spec(), &project.sources(), &BTreeMap::new()),
        project.sources().tree,
    );
    project.write("a", "");
    std::fs::remove_file(project.path("src/main.rs")).unwrap();
    project.args.insert("PROFILE".to_owned(), "x".to_owned());
    let after = Inputs::new(&project.spec(), &project.sources(), &BTreeMap::new());
    assert_eq!(after.changed_parts(&before), ["arg PROFILE"]);
    assert_eq!(changed_paths(&tree, &project.sources().tree), ["+ a", "- src/main.rs"]);
}
