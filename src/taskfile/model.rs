//! The checked model of a task file: plain data that every later stage may trust.
//! Depends on: names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use crate::names::{ImageId, ImageRef};

/// A whole task file, checked: every name resolves, every path exists but those that only a build may have (secrets, keys,
/// OCI layouts), no cycles.
#[derive(Clone, Debug)]
pub struct TaskFile {
    /// The file itself.
    pub path: PathBuf,
    /// The directory of the file: relative paths and commands start here.
    pub root: PathBuf,
    /// `[cluster]`.
    pub cluster: ClusterSpec,
    /// `strategy` of `[load]`.
    pub load: LoadStrategy,
    /// `[images.*]` and their variants, each under its own id.
    pub images: BTreeMap<ImageId, ImageSpec>,
    /// `[tasks.*]`.
    pub tasks: BTreeMap<String, Task>,
}

/// The Kind cluster that the tasks run in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Kind's name for it.
    pub name: String,
    /// A Kind configuration file.
    pub config: Option<PathBuf>,
    /// The node image; Kind's own default when absent.
    pub node_image: Option<String>,
    /// Whether tg may create it.
    pub create: CreatePolicy,
    /// The only nodes to load into, by their names or what follows the cluster's name in them; all when empty.
    pub only: Vec<String>,
}

impl ClusterSpec {
    /// Whether images are loaded into a node.
    #[must_use]
    pub fn is_loaded(&self, node: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| self.means(only, node))
    }

    /// Whether somebody who writes `word` means this node: its name, or what follows the cluster's name in it.
    #[must_use]
    pub fn means(&self, word: &str, node: &str) -> bool {
        let role = node.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('-'));
        word == node || role == Some(word)
    }
}

/// How what a node lacks of an image gets there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadStrategy {
    /// The first that works, in the order below.
    #[default]
    Auto,
    /// Docker pushes what no node has to tg, and the nodes pull from there.
    PushAndPull,
    /// Docker pushes what no node has to tg, which has the nodes import it.
    PushAndImport,
    /// Docker exports the image, and the nodes import it without what they have.
    Archive,
    /// Docker pushes to the registry that the cluster names (KEP-1755), and the nodes pull from there. Never chosen by `Auto`.
    Registry,
}

impl LoadStrategy {
    /// All, by the words of the task file.
    pub const ALL: [(&str, Self); 5] = [
        ("auto", Self::Auto),
        ("push-and-pull", Self::PushAndPull),
        ("push-and-import", Self::PushAndImport),
        ("archive", Self::Archive),
        ("registry", Self::Registry),
    ];
}

/// Whether a missing cluster is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatePolicy {
    /// Create it when a step needs it.
    IfMissing,
    /// Never: a missing cluster is an error.
    Never,
}

/// How one image is built and what it is called.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// Its name in the task file.
    pub id: ImageId,
    /// The public tag.
    pub tag: ImageRef,
    /// The build context, absolute.
    pub context: PathBuf,
    /// The Dockerfile, absolute.
    pub dockerfile: PathBuf,
    /// `--target`.
    pub target: Option<String>,
    /// Build arguments that are part of the key.
    pub args: BTreeMap<String, String>,
    /// Build arguments that are passed on without being part of the key.
    pub volatile_args: BTreeMap<String, VolatileArg>,
    /// Build arguments whose value is that of tg's own environment; one that is not set there is not passed.
    pub env_args: BTreeSet<String>,
    /// `--platform`.
    pub platform: Option<String>,
    /// `--label`, without tg's own.
    pub labels: BTreeMap<String, String>,
    /// `--network`: `none`, `host` or `default`.
    pub network: Option<String>,
    /// `--add-host`: names and their addresses, or `host-gateway`.
    pub add_hosts: BTreeMap<String, String>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, SecretSource>,
    /// `--ssh`, by id: a socket or key, absolute; the agent of the environment when there is none.
    pub ssh: BTreeMap<String, Option<PathBuf>>,
    /// `--build-context`, by the name that the builder reduces it to: `docker.io/library/x:latest` is `x`.
    pub contexts: BTreeMap<String, ContextSource>,
    /// When base images are looked up.
    pub base: BasePolicy,
    /// What `ADD` and named contexts take from elsewhere is taken to be the same for ever.
    pub assume_fixed: bool,
}

impl ImageSpec {
    /// An image of which nothing but its name, tag, context and Dockerfile is known.
    #[must_use]
    pub fn new(id: ImageId, tag: ImageRef, context: PathBuf, dockerfile: PathBuf) -> Self {
        Self {
            id,
            tag,
            context,
            dockerfile,
            target: None,
            args: BTreeMap::new(),
            volatile_args: BTreeMap::new(),
            env_args: BTreeSet::new(),
            platform: None,
            labels: BTreeMap::new(),
            network: None,
            add_hosts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            contexts: BTreeMap::new(),
            base: BasePolicy::default(),
            assume_fixed: false,
        }
    }
}

/// Where a secret comes from. Its value is read by the builder alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The variable of this name.
    Env(String),
    /// This file, absolute; only a build needs it to be there.
    File(PathBuf),
}

/// What a named context stands for. Shown as the builder's command line takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSource {
    /// A directory, absolute.
    Local(PathBuf),
    /// An image, without `docker-image://`.
    Image(String),
    /// An image in a directory, `DIRECTORY[:TAG]@DIGEST` without `oci-layout://`, absolute.
    OciLayout(String),
    /// A repository or an archive on the network.
    Remote(String),
}

impl fmt::Display for ContextSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Image(reference) => write!(f, "docker-image://{reference}"),
            Self::OciLayout(layout) => write!(f, "oci-layout://{layout}"),
            Self::Remote(address) => f.write_str(address),
        }
    }
}

/// What the images that a Dockerfile begins with stand for, and when they are looked up where they come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BasePolicy {
    /// What Docker has; else what the registry said when it was first asked.
    #[default]
    Locked,
    /// What the registry says now; else what it said last, or what Docker has.
    Refresh,
    /// What the registry says now; where it cannot be asked, the image is built.
    Always,
}

/// A build argument that does not count for the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolatileArg {
    /// A fixed text.
    Value(String),
    /// What a command prints on its first line, run in the root when the image is built.
    Command(Vec<String>),
}

/// A named list of steps.
#[derive(Clone, Debug)]
pub struct Task {
    /// One line for `tg --list`.
    pub description: Option<String>,
    /// What it does. Where one step needs another, that comes before it.
    pub steps: Vec<Step>,
}

/// One step of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Build an image.
    Build {
        /// Which image.
        image: ImageId,
        /// Always, or when the inputs changed.
        when: When,
        /// Whether the builder's cache may be used.
        cache: BuildCache,
    },
    /// Load an image into the cluster's nodes.
    Load {
        /// Which image.
        image: ImageId,
        /// Always, or where a node differs.
        when: When,
    },
    /// Compile what a later `cargo test` runs. No task file names it: a run adds it, so that it happens beside other steps.
    Compile(CargoTest),
    /// Run `cargo test`.
    CargoTest(CargoTest),
    /// Create or delete the cluster.
    Cluster(ClusterAction),
    /// Run a command.
    Run {
        /// Program and arguments; no shell.
        argv: Vec<String>,
    },
    /// Run another task's steps here.
    Task(String),
}

/// When a build or load happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Every time.
    Always,
    /// When something differs.
    IfNeeded,
}

/// Whether a build may use the builder's layer cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildCache {
    /// Use it.
    Use,
    /// `--no-cache`.
    Bypass,
}

/// What a cluster step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterAction {
    /// Make sure it is there and ready.
    Ensure,
    /// Delete it.
    Delete,
    /// Delete it, unless somebody else has made it anew meanwhile.
    DeleteBroken,
}

/// A `cargo test` call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CargoTest {
    /// The test target (`--test NAME`).
    pub test: String,
    /// `-p PACKAGE`.
    pub package: Option<String>,
    /// `--features`.
    pub features: Vec<String>,
    /// Arguments for the test binary.
    pub args: Vec<String>,
    /// Additional environment.
    pub env: BTreeMap<String, String>,
    /// Zero tests run is not a failure.
    pub allow_no_tests: bool,
}

impl TaskFile {
    /// The steps of a list with every `task` step replaced by that task's own steps. Names were checked on loading,
    /// and so were cycles; an unknown name yields nothing.
    #[must_use]
    pub fn flatten(&self, steps: &[Step]) -> Vec<Step> {
        steps
            .iter()
            .flat_map(|step| match step {
                Step::Task(name) => {
                    self.tasks.get(name).map(|task| self.flatten(&task.steps)).unwrap_or_default()
                }
                other => vec![other.clone()],
            })
            .collect()
    }
}

impl Step {
    /// The key that names the kind of step in the task file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Build { .. } => "build",
            Self::Load { .. } => "load",
            Self::Compile(_) => "compile",
            Self::CargoTest(_) => "cargo-test",
            Self::Cluster(_) => "cluster",
            Self::Run { .. } => "run",
            Self::Task(_) => "task",
        }
    }

    /// What the step is about, for people.
    #[must_use]
    pub fn object(&self) -> String {
        match self {
            Self::Build { image, .. } | Self::Load { image, .. } => image.to_string(),
            Self::Compile(test) | Self::CargoTest(test) => test.test.clone(),
            Self::Cluster(ClusterAction::Ensure) => "create".to_owned(),
            Self::Cluster(ClusterAction::Delete | ClusterAction::DeleteBroken) => {
                "delete".to_owned()
            }
            Self::Run { argv } => argv.join(" "),
            Self::Task(name) => name.clone(),
        }
    }
}
