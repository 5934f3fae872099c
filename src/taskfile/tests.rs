use std::collections::{BTreeMap, BTreeSet};

use super::model::{BasePolicy, ContextSource, ImageSpec, SecretSource, VolatileArg};
use super::*;

const DIGEST: &str = "sha256:204e6e5f123202fe3f6b800b7c196e12958b237e3f0708f17f2b17a5f8cb6bf3";

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        std::fs::create_dir_all(directory.path().join("lib.git")).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The image of this name in a task file that must load.
    fn image(&self, tasks: &str, id: &str) -> ImageSpec {
        std::fs::write(self.path("tasks.toml"), tasks).unwrap();
        let file = load(&self.path("tasks.toml")).unwrap_or_else(|error| panic!("{error}"));
        let found = file.images.into_values().find(|image| image.id.to_string() == id);
        found.unwrap_or_else(|| panic!("no image {id}"))
    }
}

fn map<T: Clone>(entries: &[(&str, T)]) -> BTreeMap<String, T> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn texts(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    map(entries).into_iter().map(|(name, text)| (name, text.to_owned())).collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn what_is_not_said_is_what_docker_does() {
    let spec = Project::new().image("[images.app]\n", "app");
    let plain = ImageSpec::new(spec.id.clone(), spec.tag.clone(), spec.context.clone(), {
        spec.dockerfile.clone()
    });
    assert_eq!(format!("{spec:?}"), format!("{plain:?}"));
    assert_eq!((spec.base, spec.network, spec.assume_fixed), (BasePolicy::Locked, None, false));
}

#[test]
fn every_key_of_a_build_is_read() {
    let project = Project::new();
    let spec = project.image(
        &format!(
            r#"[images.app]
            env_args = ["GIT_SHA", "USER", "USER"]
            labels = {{ "org.example/a" = "x=y", "b" = "" }}
            network = "none"
            add_hosts = {{ db = "10.0.0.1", v6 = "fd00::1", "my_gw.local" = "host-gateway" }}
            base = "refresh"
            assume_fixed = true
            ssh = ["default", "git=keys/id", "abs=/a=b"]
            [images.app.secrets]
            npm = {{ env = "NPM_TOKEN" }}
            key = {{ file = "./not/there.txt" }}
            [images.app.contexts]
            lib = "lib.git"
            "docker.io/library/debian:latest" = "docker-image://alpine:3@{DIGEST}"
            "ghcr.io/a/b:1" = "oci-layout://dir:tag@{DIGEST}"
            "docker.io/a/b" = "oci-layout:///abs@{DIGEST}"
            web = "https://example.org/x.git#main"
            scp = "git@example.org:x"
            "#
        ),
        "app",
    );
    assert_eq!(spec.env_args, names(["GIT_SHA", "USER"]));
    assert_eq!(spec.labels, texts(&[("org.example/a", "x=y"), ("b", "")]));
    assert_eq!(spec.network.as_deref(), Some("none"));
    let hosts = [("db", "10.0.0.1"), ("v6", "fd00::1"), ("my_gw.local", "host-gateway")];
    assert_eq!(spec.add_hosts, texts(&hosts));
    assert_eq!((spec.base, spec.assume_fixed), (BasePolicy::Refresh, true));
    let key = SecretSource::File(project.path("not/there.txt"));
    let npm = SecretSource::Env("NPM_TOKEN".to_owned());
    assert_eq!(spec.secrets, map(&[("npm", npm), ("key", key)]));
    let (git, abs) = (Some(project.path("keys/id")), Some(PathBuf::from("/a=b")));
    assert_eq!(spec.ssh, map(&[("default", None), ("git", git), ("abs", abs)]));
    let layout = format!("{}:tag@{DIGEST}", project.path("dir").display());
    let contexts = [
        // A directory whatever its name ends in, as it is to the builder.
        ("lib", ContextSource::Local(project.path("lib.git"))),
        ("debian", ContextSource::Image(format!("alpine:3@{DIGEST}"))),
        ("ghcr.io/a/b:1", ContextSource::OciLayout(layout)),
        ("a/b", ContextSource::OciLayout(format!("/abs@{DIGEST}"))),
        ("web", ContextSource::Remote("https://example.org/x.git#main".to_owned())),
        ("scp", ContextSource::Remote("git@example.org:x".to_owned())),
    ];
    assert_eq!(spec.contexts, map(&contexts));
    assert_eq!(spec.contexts["debian"].to_string(), format!("docker-image://alpine:3@{DIGEST}"));
    assert_eq!(spec.contexts["a/b"].to_string(), format!("oci-layout:///abs@{DIGEST}"));
}

#[test]
fn a_variant_has_what_its_image_has_and_more() {
    let tasks = r#"[images.app]
        env_args = ["A"]
        labels = { a = "1", b = "1" }
        network = "host"
        add_hosts = { a = "10.0.0.1" }
        secrets = { a = { env = "A" } }
        ssh = ["default"]
        contexts = { a = "." }
        base = "always"
        assume_fixed = true
        [images.app.variants.same]
        [images.app.variants.other]
        env_args = ["B"]
        labels = { b = "2" }
        network = "none"
        add_hosts = { b = "10.0.0.2" }
        secrets = { a = { env = "B" } }
        ssh = ["default=/key"]
        contexts = { "a:latest" = "lib.git", b = "." }
        base = "locked"
        assume_fixed = false
        "#;
    let project = Project::new();
    let (base, same) = (project.image(tasks, "app"), project.image(tasks, "app.same"));
    let (id, tag) = (same.id.clone(), same.tag.clone());
    assert_eq!(format!("{same:?}"), format!("{:?}", ImageSpec { id, tag, ..base }));
    let other = project.image(tasks, "app.other");
    assert_eq!(other.env_args, names(["A", "B"]));
    assert_eq!(other.labels, texts(&[("a", "1"), ("b", "2")]));
    assert_eq!(other.network.as_deref(), Some("none"));
    assert_eq!(other.add_hosts, texts(&[("a", "10.0.0.1"), ("b", "10.0.0.2")]));
    assert_eq!(other.secrets, map(&[("a", SecretSource::Env("B".to_owned()))]));
    assert_eq!(other.ssh, map(&[("default", Some(PathBuf::from("/key")))]));
    let lib = ContextSource::Local(project.path("lib.git"));
    let here = ContextSource::Local(project.0.path().to_path_buf());
    assert_eq!(other.contexts, map(&[("a", lib), ("b", here)]));
    assert_eq!((other.base, other.assume_fixed), (BasePolicy::Locked, false));
}

#[test]
fn a_variant_may_give_an_argument_in_another_way() {
    let tasks = r#"[images.app]
        args = { A = "1", B = "1" }
        volatile_args = { C = "1", D = "1" }
        env_args = ["E", "F"]
        [images.app.variants.other]
        args = { C = "2", E = "2" }
        volatile_args = { A = "2" }
        env_args = ["D"]
        "#;
    let spec = Project::new().image(tasks, "app.other");
    assert_eq!(spec.args, texts(&[("B", "1"), ("C", "2"), ("E", "2")]));
    assert_eq!(spec.volatile_args, map(&[("A", VolatileArg::Value("2".to_owned()))]));
    assert_eq!(spec.env_args, names(["D", "F"]));
}
