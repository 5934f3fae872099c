//! A Kind node through exec in its container: looking at what it has, and giving it images.
//! Depends on: names, adapters::docker, bollard.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;
use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::docker::{DockerError, Engine, call};

mod look;
mod receive;

pub use look::{Contents, ListedImage};
pub use receive::Naming;

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
        source: Box<DockerError>,
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
    #[error("node {node}: `{command}` did not answer within {} s", limit.as_secs())]
    TimedOut {
        /// The node.
        node: String,
        /// The command.
        command: String,
        /// The limit.
        limit: Duration,
    },
}

struct Finished {
    code: i64,
    stdout: String,
    stderr: String,
}

impl Engine {
    /// Runs a command that must not take longer than `limit`, and is shown as something shorter.
    async fn exec_within(
        &self,
        limit: Duration,
        node: &str,
        argv: &[&str],
        shown: &[&str],
    ) -> Result<Finished, NodeError> {
        let ran = tokio::time::timeout(limit, self.exec(node, argv, None)).await;
        let timed_out =
            |_| NodeError::TimedOut { node: node.to_owned(), command: shown.join(" "), limit };
        ran.map_err(timed_out)?
    }

    async fn exec(
        &self,
        node: &str,
        argv: &[&str],
        input: Option<mpsc::Receiver<Bytes>>,
    ) -> Result<Finished, NodeError> {
        let fail = |source| NodeError::Exec {
            node: node.to_owned(),
            command: argv.join(" "),
            source: Box::new(call("exec in", node, source)),
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

fn failed(node: &str, argv: &[&str], finished: &Finished) -> NodeError {
    let output = if finished.stderr.is_empty() { &finished.stdout } else { &finished.stderr };
    NodeError::Failed {
        node: node.to_owned(),
        command: argv.join(" "),
        code: finished.code,
        output: output.chars().take(2000).collect(),
    }
}
