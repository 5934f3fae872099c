//! Reads everything of an image's inputs that is on this machine's disk.
//! Depends on: std, taskfile::model, digest::{contents, dockerfile, ignore, stat_cache, tree, walk}.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::dockerfile::{self, External, Situation};
use super::ignore::IgnoreRules;
use super::stat_cache::{StatCache, is_settled};
use super::tree::{MAIN, Stat, Trees, field, hex};
use super::walk::TreeError;
use super::{contents, stat_cache};
use crate::taskfile::model::{ContextSource, ImageSpec};

/// What decides a build besides the task file and the disk.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The environment, for arguments that take their values from it.
    pub variables: BTreeMap<String, String>,
    /// Proxy arguments of Docker's configuration, which its client passes to every build.
    pub proxies: BTreeMap<String, String>,
    /// The platform of the engine, such as `linux/amd64`; its own builder builds for it where nothing is said.
    pub platform: String,
    /// The builder, where it is not the engine's own.
    pub builder: Option<String>,
}

/// Without values: they may be secrets.
impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("platform", &self.platform).finish_non_exhaustive()
    }
}

impl Surroundings {
    /// The platform that an image is built for.
    #[must_use]
    pub fn platform_of(&self, spec: &ImageSpec) -> String {
        spec.platform.clone().unwrap_or_else(|| self.platform.clone())
    }

    /// The build arguments of the task file that have a value now.
    #[must_use]
    pub fn args_of(&self, spec: &ImageSpec) -> BTreeMap<String, String> {
        let mut args = spec.args.clone();
        for name in &spec.env_args {
            args.extend(self.variables.get(name).map(|value| (name.clone(), value.clone())));
        }
        args
    }
}

/// An ignore file that applies to a context.
#[derive(Clone, Debug)]
pub struct IgnoreFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub rules: IgnoreRules,
}

/// Everything that is read from disk for one image.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The Dockerfile's bytes.
    pub dockerfile: Vec<u8>,
    /// The bytes of the ignore file of the main context, if there is one.
    pub ignore: Option<Vec<u8>>,
    /// The contexts after their ignore rules.
    pub trees: Trees,
    /// What `lstat` said of each context's own directory.
    pub roots: BTreeMap<String, Stat>,
    /// What the Dockerfile takes from outside.
    pub external: External,
    /// When the look began, in nanoseconds since 1970.
    pub looked_ns: i64,
    /// The device of each context that keeps times well enough to be remembered.
    devices: Vec<(String, u64)>,
    /// How many entries were read, not remembered.
    pub read: usize,
}

/// Why the inputs of an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The Dockerfile or ignore file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The Dockerfile is malformed.
    #[error("{}{}: {message}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Dockerfile {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<usize>,
        /// What the parser said.
        message: String,
    },
    /// A line of the ignore file is malformed.
    #[error("{}:{line}: {message}", path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The ignore file of a named context is a link.
    #[error(
        "{} is a link, which the builder does not follow as tg would: put a file in its place",
        path.display()
    )]
    LinkedIgnoreFile {
        /// The file.
        path: PathBuf,
    },
    /// A path of the context cannot be read.
    #[error(transparent)]
    Tree(TreeError),
}

/// Reads Dockerfile, ignore files and contexts of an image; `recorded` spares the reading of what did not change.
///
/// # Errors
/// The first file that cannot be read or is malformed.
pub fn read(
    spec: &ImageSpec,
    surroundings: &Surroundings,
    recorded: Option<&StatCache>,
) -> Result<Sources, InputError> {
    let looked_ns = now_ns();
    let file = |path: &Path, source| InputError::File { path: path.to_path_buf(), source };
    let dockerfile =
        std::fs::read(&spec.dockerfile).map_err(|source| file(&spec.dockerfile, source))?;
    let external = external(spec, surroundings, &dockerfile)?;
    let main = ignore_file(&spec.context, Some(&spec.dockerfile))?;
    let ignore = main.as_ref().map(|file| file.bytes.clone());
    let mut sources = Sources {
        dockerfile,
        ignore,
        trees: Trees::new(),
        roots: BTreeMap::new(),
        external,
        looked_ns,
        devices: Vec::new(),
        read: 0,
    };
    sources.add(MAIN, &spec.context, main, recorded)?;
    for (name, source) in &spec.contexts {
        if let ContextSource::Local(path) = source {
            refuse_linked_ignore_file(path)?;
            sources.add(name, path, ignore_file(path, None)?, recorded)?;
        }
    }
    Ok(sources)
}

fn external(
    spec: &ImageSpec,
    surroundings: &Surroundings,
    dockerfile: &[u8],
) -> Result<External, InputError> {
    let malformed =
        |line, message| InputError::Dockerfile { path: spec.dockerfile.clone(), line, message };
    // The builder takes any bytes, as in a comment in Latin-1.
    let text = String::from_utf8_lossy(dockerfile);
    let contexts: BTreeSet<String> = spec.contexts.keys().cloned().collect();
    let volatile: BTreeSet<String> = spec.volatile_args.keys().cloned().collect();
    let situation = Situation {
        args: &surroundings.args_of(spec),
        volatile: &volatile,
        platform: &surroundings.platform_of(spec),
        build_platform: &surroundings.platform,
        target: spec.target.as_deref(),
        contexts: &contexts,
    };
    dockerfile::external(&text, &situation).map_err(|error| malformed(error.line, error.message))
}

impl Sources {
    fn add(
        &mut self,
        name: &str,
        context: &Path,
        ignore: Option<IgnoreFile>,
        recorded: Option<&StatCache>,
    ) -> Result<(), InputError> {
        let (rules, file) = ignore.map(|ignore| (ignore.rules, ignore.path)).unzip();
        let device = stat_cache::device_that_keeps_times(context);
        let recorded = recorded
            .zip(device)
            .and_then(|(cache, device)| Some((cache.of(name, device, self.looked_ns)?, device)));
        let tree = contents::read(context, &rules.unwrap_or_default(), recorded);
        let tree = tree.map_err(|error| match (error, file) {
            (TreeError::Ignore(bad), Some(path)) => {
                InputError::Ignore { path, line: bad.line, message: bad.message }
            }
            (error, _) => InputError::Tree(error),
        })?;
        self.devices.extend(device.map(|device| (name.to_owned(), device)));
        self.read += tree.read;
        self.trees.insert(name.to_owned(), tree.tree);
        self.roots.insert(name.to_owned(), tree.root);
        Ok(())
    }

    /// A digest of the files that tell the builder what to do, in hex.
    #[must_use]
    pub fn build_files_digest(&self) -> String {
        let mut text = Vec::new();
        field(&mut text, &self.dockerfile);
        field(&mut text, self.ignore.as_deref().unwrap_or_default());
        text.push(u8::from(self.ignore.is_some()));
        hex(&Sha256::digest(&text))
    }

    /// What may be remembered of this look; nothing when it would teach nothing new.
    #[must_use]
    pub fn worth_remembering(&self) -> Option<StatCache> {
        if self.read == 0 || self.devices.is_empty() {
            return None;
        }
        let settled = |name: &str| {
            let tree = self.trees.get(name)?;
            Some(tree.filtered(|entry| is_settled(&entry.stat, self.looked_ns)))
        };
        let trees: Trees = self
            .devices
            .iter()
            .filter_map(|(name, _)| Some((name.clone(), settled(name)?)))
            .collect();
        Some(StatCache { looked_ns: self.looked_ns, devices: self.devices.clone(), trees })
    }
}

/// The builder reads the ignore file of a named context itself, and does not follow a link out of the context.
fn refuse_linked_ignore_file(context: &Path) -> Result<(), InputError> {
    let path = context.join(".dockerignore");
    let linked = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    if linked { Err(InputError::LinkedIgnoreFile { path }) } else { Ok(()) }
}

fn now_ns() -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    i64::try_from(now).unwrap_or(i64::MAX)
}

/// The ignore file that applies to a context: the one named after the Dockerfile replaces the context's own. A named
/// context has no Dockerfile and always uses its own.
///
/// # Errors
/// A file that cannot be read or is malformed.
pub fn ignore_file(
    context: &Path,
    dockerfile: Option<&Path>,
) -> Result<Option<IgnoreFile>, InputError> {
    let specific = dockerfile.map(|dockerfile| {
        let mut name = dockerfile.to_path_buf().into_os_string();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in specific.into_iter().chain([context.join(".dockerignore")]) {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(InputError::File { path, source }),
        };
        let rules = IgnoreRules::parse(&bytes).map_err(|bad| InputError::Ignore {
            path: path.clone(),
            line: bad.line,
            message: bad.message,
        })?;
        return Ok(Some(IgnoreFile { path, bytes, rules }));
    }
    Ok(None)
}
