//! A Kind node through exec in its container: looking at what it has, and giving it images.
//! Depends on: names, adapters::docker, shell-words.

use std::time::Duration;

use super::docker::{DockerError, Engine, Finished};

mod look;
mod receive;

pub use look::{Contents, DEFAULT_SNAPSHOTTER, ListedImage, Written};
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

impl Engine {
    /// Runs a script that must not take longer than `limit`, with some variables, and is shown as something shorter.
    async fn run_within(
        &self,
        limit: Duration,
        node: &str,
        (variables, script): (&[(&str, &str)], &str),
        shown: &[&str],
    ) -> Result<Finished, NodeError> {
        let set: String = variables
            .iter()
            .map(|(name, value)| format!("{name}={}\n", shell_words::quote(value)))
            .collect();
        let script = format!("{set}{script}");
        let ran = tokio::time::timeout(limit, self.run_in(node, &script)).await;
        let (node, command) = (node.to_owned(), shown.join(" "));
        match ran {
            Ok(Ok(finished)) => Ok(finished),
            Ok(Err(source)) => Err(NodeError::Exec { node, command, source: Box::new(source) }),
            Err(_elapsed) => Err(NodeError::TimedOut { node, command, limit }),
        }
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
