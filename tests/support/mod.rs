//! A project in a directory of its own with a state directory of its own, and tools to look at Docker and nodes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What a command left.
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ran {
    /// Fails the test with everything the command said unless it ended with this code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the narration has this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in stderr:\n{}", self.stderr);
        self
    }
}

/// A project whose names no other test and no developer uses; what it made is removed at the end, also of a failure.
pub(crate) struct Project {
    directory: tempfile::TempDir,
    /// The name of its image, without a tag, and of its cluster.
    pub(crate) name: String,
    environment: Vec<(String, String)>,
}

impl Project {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::tempdir().unwrap();
        let name = format!("tg-test-{}-{number}", std::process::id());
        let project = Self { directory, name, environment: Vec::new() };
        project.write("app/answer", "one\n");
        let dockerfile =
            "FROM debian:bookworm-slim\nCOPY answer /answer\nCMD [\"sleep\", \"infinity\"]\n";
        project.write("app/Dockerfile", dockerfile);
        project.write("app/.dockerignore", "Dockerfile\n.dockerignore\n");
        let name = &project.name;
        project.write(
            "tasks.toml",
            &format!(
                "[cluster]\nname = \"{name}\"\nconfig = \"kind.yaml\"\n\
                 [images.app]\ntag = \"{name}:test\"\ncontext = \"app\"\n\
                 [tasks.test-cached]\nsteps = [{{ build = \"app\" }}, {{ load = \"app\" }}, {{ run = [\"sh\", \"-c\", \"echo $TG_IMAGE_APP $TG_IMAGE_ID_APP\"] }}]\n\
                 [tasks.test-fast]\nsteps = [{{ load = \"app\" }}]\n"
            ),
        );
        project.nodes(1);
        project
    }

    /// Sets how many nodes the cluster will have.
    pub(crate) fn nodes(&self, count: usize) {
        let workers = "- role: worker\n".repeat(count - 1);
        let head =
            "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n";
        self.write("kind.yaml", &format!("{head}{workers}"));
    }

    /// Sets a variable of every `tg` from now on.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn tag(&self) -> String {
        format!("{}:test", self.name)
    }

    /// A `tg` in this project that has not been started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tg"));
        command
            .args(args)
            .current_dir(self.directory.path())
            .env("TG_STATE_DIR", self.path("state"))
            .env_remove("KIND_CLUSTER_NAME")
            // A test that fell back to the ambient context would find nothing there.
            .env("KUBECONFIG", self.path("ambient"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn tg(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().unwrap())
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // By name, never by id: a name of ours may stand for somebody else's image.
        output("docker", &["image", "rm", &self.tag()]);
        let label = format!("label=io.x-k8s.kind.cluster={}", self.name);
        if !output("docker", &["ps", "-aq", "--filter", &label]).is_empty() {
            let kubeconfig = self.path("delete-kubeconfig");
            let kubeconfig = kubeconfig.to_str().unwrap();
            output(
                "kind",
                &["delete", "cluster", "--name", &self.name, "--kubeconfig", kubeconfig],
            );
        }
    }
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What a tool prints, whether or not it succeeds.
pub(crate) fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What an image says in a container made from it.
pub(crate) fn answer_of(image: &str) -> String {
    output("docker", &["run", "--rm", "--network=none", image, "cat", "/answer"])
}

/// Every path below a directory with its size and modification time: equal lists mean that nothing was written.
pub(crate) fn listing(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let metadata = entry.path().symlink_metadata().unwrap();
            found.push(format!(
                "{} {:?}",
                entry.path().display(),
                (metadata.len(), metadata.modified().unwrap())
            ));
            if metadata.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
