//! A sandbox in which the real binary runs: its own directory, a cleared environment, fakes in front of the PATH, no Docker.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The sandbox and the call that is being put together.
pub(crate) struct Tg {
    sandbox: TempDir,
    directory: PathBuf,
    args: Vec<String>,
    environment: BTreeMap<String, String>,
}

/// What a call printed and how it ended, with the sandbox's path replaced by `$DIR`.
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Tg {
    /// An empty sandbox.
    pub(crate) fn new() -> Self {
        let sandbox = tempfile::tempdir().unwrap();
        let root = sandbox.path();
        let mut environment = BTreeMap::new();
        for (name, directory) in
            [("HOME", ".home"), ("XDG_STATE_HOME", ".state"), ("TMPDIR", ".tmp")]
        {
            let directory = root.join(directory);
            std::fs::create_dir(&directory).unwrap();
            environment.insert(name.to_owned(), directory.display().to_string());
        }
        let fakes = root.join(".bin");
        std::fs::create_dir(&fakes).unwrap();
        let path = format!("{}:{}", fakes.display(), std::env::var("PATH").unwrap());
        environment.insert("PATH".to_owned(), path);
        environment.insert("DOCKER_HOST".to_owned(), "unix:///nonexistent.sock".to_owned());
        let directory = root.to_path_buf();
        Self { sandbox, directory, args: Vec::new(), environment }
    }

    /// A sandbox with a Dockerfile and this task file.
    pub(crate) fn with_tasks(tasks: &str) -> Self {
        Self::new().file("Dockerfile", "FROM scratch\n").file("tasks.toml", tasks)
    }

    /// Writes a file below the sandbox, with its directories.
    pub(crate) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// Puts a fake program in front of the PATH.
    pub(crate) fn executable(self, name: &str, script: &str) -> Self {
        let path = format!(".bin/{name}");
        let this = self.file(&path, format!("#!/bin/sh\n{script}\n"));
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(this.path(&path), mode).unwrap();
        this
    }

    /// Starts in a directory below the sandbox, which is made.
    pub(crate) fn started_in(mut self, directory: &str) -> Self {
        self.directory = self.path(directory);
        std::fs::create_dir_all(&self.directory).unwrap();
        self
    }

    /// The command line.
    pub(crate) fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.args = args.map(str::to_owned).to_vec();
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A path in the sandbox.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.sandbox.path().join(path)
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self) -> Output {
        let output = self.command().output().unwrap();
        self.output(&output)
    }

    /// Runs the binary with a standard output that nobody reads any more.
    pub(crate) fn run_with_closed_stdout(&self) -> Output {
        let (reader, mut writer) = std::io::pipe().unwrap();
        drop(reader);
        assert!(writer.write(b"x").is_err(), "the pipe is meant to be closed");
        let child = self.command().stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        self.output(&child.wait_with_output().unwrap())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tg"));
        command.args(&self.args).current_dir(&self.directory).stdin(Stdio::null());
        command.env_clear().envs(&self.environment);
        command
    }

    fn output(&self, output: &std::process::Output) -> Output {
        let (stdout, stderr) = (self.readable(&output.stdout), self.readable(&output.stderr));
        Output { stdout, stderr, code: output.status.code().unwrap_or(-1) }
    }

    fn readable(&self, bytes: &[u8]) -> String {
        let real = self.sandbox.path().canonicalize().unwrap();
        let text = String::from_utf8_lossy(bytes);
        let replace = |text: &str, path: &Path| text.replace(&path.display().to_string(), "$DIR");
        replace(&replace(&text, &real), self.sandbox.path())
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(f, "--- {name}\n{text}")?;
            }
        }
        write!(f, "--- exit {}", self.code)
    }
}
