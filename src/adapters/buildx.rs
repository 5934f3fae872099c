//! `docker buildx build`: its command line, and its `rawjson` progress read into plain values.
//! Depends on: names, adapters::process.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::Deserialize;

use super::docker::{IMAGE_LABEL, KEY_LABEL};
use super::process::Command;
use crate::names::{ConfigDigest, Key};

/// Everything that one call of the builder needs.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The directory to send: the alias of the context.
    pub context: PathBuf,
    /// The copy of the Dockerfile that was hashed.
    pub dockerfile: PathBuf,
    /// Where the builder writes what it made.
    pub metadata: PathBuf,
    /// The private tag.
    pub tag: String,
    /// The key, for its label.
    pub key: Key,
    /// The image's name in the task file, for its label.
    pub image: String,
    /// `--target`.
    pub target: Option<String>,
    /// `--platform`.
    pub platform: Option<String>,
    /// `--build-arg`, volatile ones included.
    pub args: BTreeMap<String, String>,
    /// `--no-cache`.
    pub no_cache: bool,
}

impl BuildRequest {
    /// The command line, exactly as it is run.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("docker")
            .args(["buildx", "build", "--progress=rawjson", "--load"])
            // Default attestations would give a fully cached build a new digest each time.
            .args(["--provenance=false", "--sbom=false"])
            .arg("--label")
            .arg(format!("{KEY_LABEL}={}", self.key))
            .arg("--label")
            .arg(format!("{IMAGE_LABEL}={}", self.image))
            .arg("--tag")
            .arg(&self.tag)
            .arg("--metadata-file")
            .arg(&self.metadata)
            .arg("--file")
            .arg(&self.dockerfile);
        for (name, value) in [("--target", &self.target), ("--platform", &self.platform)] {
            if let Some(value) = value {
                command = command.arg(name).arg(value);
            }
        }
        for (name, value) in &self.args {
            command = command.arg("--build-arg").arg(format!("{name}={value}"));
        }
        if self.no_cache {
            command = command.arg("--no-cache");
        }
        command.arg(&self.context)
    }
}

/// Something the builder told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A step of the Dockerfile began.
    Started(String),
    /// A step ended.
    Finished {
        /// Its name.
        name: String,
        /// It was not run: its result was in the cache.
        cached: bool,
    },
    /// A step printed a line.
    Log(String),
    /// A step failed, or the builder said something that is no progress.
    Error(String),
}

/// Reads the builder's progress, piece by piece.
#[derive(Debug, Default)]
pub struct ProgressReader {
    pending: Vec<u8>,
    names: BTreeMap<String, String>,
    done: HashSet<String>,
    started: HashSet<String>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    vertexes: Vec<Vertex>,
    #[serde(default)]
    logs: Vec<Log>,
}

#[derive(Deserialize)]
struct Vertex {
    digest: String,
    #[serde(default)]
    name: String,
    started: Option<String>,
    completed: Option<String>,
    #[serde(default)]
    cached: bool,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Log {
    data: Option<String>,
}

impl ProgressReader {
    /// Takes what came on standard error and returns what it tells.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Progress> {
        self.pending.extend_from_slice(bytes);
        let mut told = Vec::new();
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.line(&line, &mut told);
        }
        told
    }

    fn line(&mut self, line: &[u8], told: &mut Vec<Progress>) {
        let Ok(status) = serde_json::from_slice::<Status>(line) else {
            let text = String::from_utf8_lossy(line).trim().to_owned();
            if !text.is_empty() {
                told.push(Progress::Error(text));
            }
            return;
        };
        for vertex in status.vertexes {
            if !vertex.name.is_empty() {
                self.names.insert(vertex.digest.clone(), vertex.name.clone());
            }
            let name = self.names.get(&vertex.digest).cloned().unwrap_or_default();
            if vertex.started.is_some() && self.started.insert(vertex.digest.clone()) {
                told.push(Progress::Started(name.clone()));
            }
            if !vertex.error.is_empty() {
                told.push(Progress::Error(format!("{name}: {}", vertex.error)));
            } else if vertex.completed.is_some() && self.done.insert(vertex.digest) {
                told.push(Progress::Finished { name, cached: vertex.cached });
            }
        }
        for data in status.logs.into_iter().filter_map(|log| log.data) {
            let text = decode_base64(&data);
            let text = String::from_utf8_lossy(&text);
            told.extend(text.lines().map(|line| Progress::Log(line.to_owned())));
        }
    }
}

/// The standard alphabet with padding, as Go's JSON encodes bytes. Foreign bytes end the text.
fn decode_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for sextet in text.bytes().map_while(value) {
        bits = (bits << 6) | u32::from(sextet);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    out
}

/// The config digest that the builder wrote into its metadata file.
#[must_use]
pub fn config_digest(metadata: &str) -> Option<ConfigDigest> {
    let json: serde_json::Value = serde_json::from_str(metadata).ok()?;
    let plain =
        json.get("containerimage.config.digest").or_else(|| json.get("containerimage.digest"));
    ConfigDigest::parse(plain?.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_across_pieces() {
        let mut reader = ProgressReader::default();
        let text = concat!(
            r#"{"vertexes":[{"digest":"d1","name":"[1/2] FROM x","started":"t","completed":"t","cached":true}]}"#,
            "\n",
            r#"{"vertexes":[{"digest":"d2","name":"[2/2] RUN y","started":"t"}],"logs":[{"vertex":"d2","data":"aGkKeW91Cg=="}]}"#,
            "\n",
            r#"{"vertexes":[{"digest":"d2","completed":"t","error":"exit code: 1"}]}"#,
            "\nERROR: failed to solve\n",
        );
        let (first, second) = text.split_at(50);
        let mut told = reader.read(first.as_bytes());
        told.extend(reader.read(second.as_bytes()));
        assert_eq!(
            told,
            [
                Progress::Started("[1/2] FROM x".to_owned()),
                Progress::Finished { name: "[1/2] FROM x".to_owned(), cached: true },
                Progress::Started("[2/2] RUN y".to_owned()),
                Progress::Log("hi".to_owned()),
                Progress::Log("you".to_owned()),
                Progress::Error("[2/2] RUN y: exit code: 1".to_owned()),
                Progress::Error("ERROR: failed to solve".to_owned()),
            ]
        );
    }
}
