//! `docker buildx build`: its command line, and its `rawjson` progress read into plain values.
//! Depends on: names, adapters::{docker, process}, taskfile::model.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::Deserialize;

use super::docker::{IMAGE_LABEL, KEY_LABEL};
use super::process::Command;
use crate::names::{ConfigDigest, Key};
use crate::taskfile::model::SecretSource;

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
    /// `--build-arg` without a value: the builder's client reads it from the environment it inherits, and passes nothing
    /// where it is not set.
    pub env_args: BTreeSet<String>,
    /// `--label`; tg's own win.
    pub labels: BTreeMap<String, String>,
    /// `--network`.
    pub network: Option<String>,
    /// `--add-host`.
    pub add_hosts: BTreeMap<String, String>,
    /// `--secret`.
    pub secrets: BTreeMap<String, SecretSource>,
    /// `--ssh`.
    pub ssh: BTreeMap<String, Option<PathBuf>>,
    /// `--build-context`, each with its source as the command line takes it.
    pub contexts: BTreeMap<String, String>,
    /// `--pull`.
    pub pull: bool,
    /// `--no-cache`.
    pub no_cache: bool,
}

impl BuildRequest {
    /// The command line, exactly as it is run. What it is told to take from the environment is not in it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("docker")
            .args(["buildx", "build", "--progress=rawjson", "--load"])
            // Default attestations would give a fully cached build a new digest each time.
            .args(["--provenance=false", "--sbom=false"]);
        for (name, text) in &self.labels {
            command = command.arg("--label").arg(format!("{name}={text}"));
        }
        command = command
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
        let words = [
            ("--target", &self.target),
            ("--platform", &self.platform),
            ("--network", &self.network),
        ];
        for (name, value) in words {
            if let Some(value) = value {
                command = command.arg(name).arg(value);
            }
        }
        for (name, value) in &self.args {
            command = command.arg("--build-arg").arg(format!("{name}={value}"));
        }
        for name in &self.env_args {
            command = command.arg("--build-arg").arg(name);
        }
        for (flag, set) in [("--pull", self.pull), ("--no-cache", self.no_cache)] {
            if set {
                command = command.arg(flag);
            }
        }
        self.sources(command).arg(&self.context)
    }

    /// Adds where else the build may read: hosts, secrets, agents, named contexts.
    fn sources(&self, mut command: Command) -> Command {
        for (host, address) in &self.add_hosts {
            command = command.arg("--add-host").arg(format!("{host}:{address}"));
        }
        for (id, source) in &self.secrets {
            command = command.arg("--secret").arg(secret(id, source));
        }
        for (id, path) in &self.ssh {
            let mut agent = OsString::from(id);
            if let Some(path) = path {
                agent.push("=");
                agent.push(path);
            }
            command = command.arg("--ssh").arg(agent);
        }
        for (name, source) in &self.contexts {
            command = command.arg("--build-context").arg(format!("{name}={source}"));
        }
        command
    }
}

/// A secret as `--secret` takes it: one record of comma-separated values, each quoted where it must be.
fn secret(id: &str, source: &SecretSource) -> OsString {
    let (key, value) = match source {
        SecretSource::Env(name) => ("env=", name.as_bytes()),
        SecretSource::File(path) => ("src=", path.as_os_str().as_bytes()),
    };
    let mut record = csv_field(&[b"id=", id.as_bytes()].concat());
    record.push(b',');
    record.extend(csv_field(&[key.as_bytes(), value].concat()));
    OsString::from_vec(record)
}

fn csv_field(text: &[u8]) -> Vec<u8> {
    if !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        return text.to_vec();
    }
    let mut quoted = vec![b'"'];
    for byte in text {
        quoted.extend(std::iter::repeat_n(byte, if *byte == b'"' { 2 } else { 1 }));
    }
    quoted.push(b'"');
    quoted
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

    fn request() -> BuildRequest {
        BuildRequest {
            context: PathBuf::from("/state/context"),
            dockerfile: PathBuf::from("/state/Dockerfile"),
            metadata: PathBuf::from("/state/metadata.json"),
            tag: "tg-build/app:1".to_owned(),
            key: Key::new("tg1:0"),
            image: "app".to_owned(),
            target: None,
            platform: None,
            args: BTreeMap::new(),
            env_args: BTreeSet::new(),
            labels: BTreeMap::new(),
            network: None,
            add_hosts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            contexts: BTreeMap::new(),
            pull: false,
            no_cache: false,
        }
    }

    fn words(request: &BuildRequest) -> Vec<String> {
        let mut words = shell_words::split(&request.command().to_string()).unwrap();
        assert_eq!(words.pop().as_deref(), Some("/state/context"));
        words
    }

    /// What one modification adds to the command line.
    #[track_caller]
    fn adds(modify: impl Fn(&mut BuildRequest), added: &[&str]) {
        let (plain, mut request) = (words(&request()), request());
        modify(&mut request);
        let words = words(&request);
        assert_eq!(words.strip_prefix(plain.as_slice()).unwrap(), added);
    }

    fn one<T>(name: &str, value: T) -> BTreeMap<String, T> {
        BTreeMap::from([(name.to_owned(), value)])
    }

    #[test]
    fn every_field_has_its_words() {
        let text = |text: &str| text.to_owned();
        let host = |address: &str| one("db", address.to_owned());
        let env = |id: &str, name: &str| one(id, SecretSource::Env(name.to_owned()));
        let file = |id: &str, path: &str| one(id, SecretSource::File(PathBuf::from(path)));
        adds(|_| {}, &[]);
        adds(|r| r.target = Some(text("final")), &["--target", "final"]);
        adds(|r| r.platform = Some(text("linux/arm64")), &["--platform", "linux/arm64"]);
        adds(|r| r.network = Some(text("none")), &["--network", "none"]);
        adds(|r| r.args = one("A", text("b c")), &["--build-arg", "A=b c"]);
        adds(|r| r.env_args = BTreeSet::from([text("SHA")]), &["--build-arg", "SHA"]);
        adds(|r| r.pull = true, &["--pull"]);
        adds(|r| r.no_cache = true, &["--no-cache"]);
        adds(|r| r.add_hosts = host("10.0.0.1"), &["--add-host", "db:10.0.0.1"]);
        adds(|r| r.add_hosts = host("fd00::1"), &["--add-host", "db:fd00::1"]);
        adds(|r| r.secrets = env("npm", "TOKEN"), &["--secret", "id=npm,env=TOKEN"]);
        adds(|r| r.secrets = file("key", "/a=b c"), &["--secret", "id=key,src=/a=b c"]);
        adds(
            |r| r.secrets = file("a,b", "/x,\"y\""),
            &["--secret", "\"id=a,b\",\"src=/x,\"\"y\"\"\""],
        );
        adds(|r| r.ssh = one("default", None), &["--ssh", "default"]);
        adds(|r| r.ssh = one("git", Some(PathBuf::from("/key"))), &["--ssh", "git=/key"]);
        adds(|r| r.contexts = one("lib", text("/a=b")), &["--build-context", "lib=/a=b"]);
    }

    #[test]
    fn labels_of_tg_come_last() {
        let labels = one("dev.tg.key", "forged".to_owned());
        let line = BuildRequest { labels, ..request() }.command().to_string();
        let at = |label: &str| line.find(label).unwrap_or_else(|| panic!("no {label}: {line}"));
        assert!(at("dev.tg.key=forged") < at("dev.tg.key=tg1:0"));
    }

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
