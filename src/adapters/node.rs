//! A Kind node through exec in its container: what its CRI has, and importing an archive.
//! Depends on: names, adapters::docker, bollard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::docker::{DockerError, Engine, call};
use crate::names::{ConfigDigest, ImageRef};

/// How long a question to a node's CRI may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);

/// Why a node did not answer or take an image.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Docker could not run a command in it.
    #[error("node {node}: cannot run `{command}`")]
    Exec {
        /// The node.
        node: String,
        /// The command.
        command: String,
        /// What Docker said.
        source: DockerError,
    },
    /// The command failed.
    #[error("node {node}: `{command}` failed with code {code}: {output}")]
    Failed {
        /// The node.
        node: String,
        /// The command.
        command: String,
        /// Its exit code.
        code: i64,
        /// What it printed.
        output: String,
    },
    /// It did not answer in time.
    #[error("node {node}: `{command}` did not answer within {} s", QUESTION_LIMIT.as_secs())]
    TimedOut {
        /// The node.
        node: String,
        /// The command.
        command: String,
    },
}

struct Finished {
    code: i64,
    stdout: String,
    stderr: String,
}

impl Engine {
    /// The config digest that a node's CRI has under a name; `None` when it has nothing there.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn node_image(
        &self,
        node: &str,
        image: &ImageRef,
    ) -> Result<Option<ConfigDigest>, NodeError> {
        let argv = ["crictl", "inspecti", "-o", "json", image.canonical()];
        let asked = tokio::time::timeout(QUESTION_LIMIT, self.exec(node, &argv, None));
        let timed_out = |_| NodeError::TimedOut { node: node.to_owned(), command: argv.join(" ") };
        let finished = asked.await.map_err(timed_out)??;
        if finished.code == 0 {
            let json: serde_json::Value =
                serde_json::from_str(&finished.stdout).unwrap_or_default();
            let id = json.pointer("/status/id").and_then(|id| ConfigDigest::parse(id.as_str()?));
            return id.map(Some).ok_or_else(|| failed(node, &argv, &finished));
        }
        if finished.stderr.contains("no such image") || finished.stderr.contains("not present") {
            return Ok(None);
        }
        Err(failed(node, &argv, &finished))
    }

    /// The blobs in a node's content store, with their sizes in bytes.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn blobs(&self, node: &str) -> Result<BTreeMap<String, u64>, NodeError> {
        // `ctr` rounds sizes, and a manifest needs them exact: the files of the store have them.
        const SCRIPT: &str = "ctr --namespace=k8s.io content ls -q && echo && \
            cd /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256 && find . -type f -printf '%f %s\\n'";
        let argv = ["sh", "-c", SCRIPT];
        let asked = tokio::time::timeout(QUESTION_LIMIT, self.exec(node, &argv, None));
        let timed_out = |_| NodeError::TimedOut { node: node.to_owned(), command: argv.join(" ") };
        let finished = asked.await.map_err(timed_out)??;
        if finished.code == 0 {
            Ok(content(&finished.stdout))
        } else {
            Err(failed(node, &["ctr", "content", "ls"], &finished))
        }
    }

    /// Pulls an image by digest over plain HTTP and gives it its real name.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what it printed.
    pub async fn pull(
        &self,
        node: &str,
        reference: &str,
        image: &ImageRef,
    ) -> Result<(), NodeError> {
        // One round trip. The names are arguments of the script, never part of it.
        const SCRIPT: &str = "ctr --namespace=k8s.io images pull --plain-http \"$1\" >/dev/null && \
            ctr --namespace=k8s.io images tag --force \"$1\" \"$2\" >/dev/null; code=$?; \
            ctr --namespace=k8s.io images rm \"$1\" >/dev/null 2>&1; exit $code";
        let argv = ["sh", "-c", SCRIPT, "tg", reference, image.canonical()];
        let finished = self.exec(node, &argv, None).await?;
        let shown = ["ctr", "--namespace=k8s.io", "images", "pull", "--plain-http", reference];
        if finished.code == 0 { Ok(()) } else { Err(failed(node, &shown, &finished)) }
    }

    /// Imports an archive that comes in pieces into a node's containerd. Ends when `pieces` closes.
    ///
    /// # Errors
    /// [`NodeError`] with the node's name and what `ctr` printed.
    pub async fn import(
        &self,
        node: &str,
        pieces: mpsc::Receiver<std::sync::Arc<Vec<u8>>>,
    ) -> Result<(), NodeError> {
        // No --digests: it leaves `import-<date>@…` names behind that nobody asked for.
        let argv = ["ctr", "--namespace=k8s.io", "images", "import", "-"];
        let finished = self.exec(node, &argv, Some(pieces)).await?;
        if finished.code == 0 { Ok(()) } else { Err(failed(node, &argv, &finished)) }
    }

    /// Removes a name from a node's containerd. The name may be gone already.
    ///
    /// # Errors
    /// [`NodeError::Exec`].
    pub async fn remove_name(&self, node: &str, image: &ImageRef) -> Result<(), NodeError> {
        let argv = ["ctr", "--namespace=k8s.io", "images", "rm", image.canonical()];
        self.exec(node, &argv, None).await.map(drop)
    }

    async fn exec(
        &self,
        node: &str,
        argv: &[&str],
        input: Option<mpsc::Receiver<std::sync::Arc<Vec<u8>>>>,
    ) -> Result<Finished, NodeError> {
        let fail = |source| NodeError::Exec {
            node: node.to_owned(),
            command: argv.join(" "),
            source: call("exec in", node, source),
        };
        let options = CreateExecOptions {
            attach_stdin: Some(input.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv.iter().map(|arg| (*arg).to_owned()).collect()),
            ..Default::default()
        };
        let exec = self.client().create_exec(node, options).await.map_err(fail)?.id;
        let started = self.client().start_exec(&exec, None).await.map_err(fail)?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let StartExecResults::Attached { mut output, input: mut stdin } = started {
            let feed = async {
                let Some(mut pieces) = input else { return };
                while let Some(piece) = pieces.recv().await {
                    // A process that ended early closes its end; its own message tells why.
                    if stdin.write_all(&piece).await.is_err() {
                        return;
                    }
                }
                let _ = stdin.shutdown().await;
            };
            let collect = async {
                while let Some(piece) = output.next().await {
                    match piece? {
                        LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                        other => stdout.extend_from_slice(&other.into_bytes()),
                    }
                }
                Ok(())
            };
            tokio::pin!(feed, collect);
            // The output ends with the process; input that it no longer reads must not keep us.
            let collected = tokio::select! {
                collected = &mut collect => collected,
                () = &mut feed => collect.await,
            };
            collected.map_err(fail)?;
        }
        // Only now is the exit code final: asked earlier, the engine may still say 0.
        let code = self.client().inspect_exec(&exec).await.map_err(fail)?.exit_code;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok(Finished { code: code.unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) })
    }
}

/// Digests that containerd knows, an empty line, then the hexadecimal digits and size of every file of its store.
fn content(text: &str) -> BTreeMap<String, u64> {
    let (known, files) = text.split_once("\n\n").unwrap_or_default();
    let known: BTreeSet<&str> = known.lines().collect();
    let file = |line: &str| {
        let (hex, size) = line.split_once(' ')?;
        Some((format!("sha256:{hex}"), size.parse::<u64>().ok()?))
    };
    files.lines().filter_map(file).filter(|(digest, _)| known.contains(digest.as_str())).collect()
}

fn failed(node: &str, argv: &[&str], finished: &Finished) -> NodeError {
    let output = if finished.stderr.is_empty() { &finished.stdout } else { &finished.stderr };
    NodeError::Failed {
        node: node.to_owned(),
        command: argv.join(" "),
        code: finished.code,
        output: output.chars().take(2000).collect(),
    }
}
