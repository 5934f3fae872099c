//! The command line and the environment: what the user typed and set, read once.
//! Depends on: clap.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Integration tests in Kind: build what changed, load what a node lacks, say why.
#[derive(Debug, Parser)]
#[command(name = "tg", version, disable_help_subcommand = true, arg_required_else_help = false)]
pub struct App {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; without it the tasks are listed.
    #[command(subcommand)]
    pub command: Option<Verb>,
}

/// Options that every command takes.
#[derive(Args, Debug)]
pub struct Global {
    /// The task file, instead of the nearest tasks.toml at or above the working directory
    #[arg(short, long, global = true, value_name = "PATH", env = "TG_FILE")]
    pub file: Option<OsString>,
    /// Work as if started in this directory
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// List the tasks and images of the task file
    #[arg(short, long)]
    pub list: bool,
    /// Show what would be done and why, with the command lines; do nothing
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,
    /// Build and load even where nothing differs
    #[arg(long, global = true, env = "TG_FORCE", value_parser = FalseyValueParser::new())]
    pub force: bool,
    /// Read every file and ask every node again, whatever is remembered of them
    #[arg(long, global = true, env = "TG_VERIFY", value_parser = FalseyValueParser::new())]
    pub verify: bool,
    /// How many images may be built at a time, instead of as many as there are processors
    #[arg(short, long, global = true, value_name = "N", env = "TG_JOBS")]
    pub jobs: Option<NonZeroUsize>,
    /// When tests fail, run what does not need them all the same
    #[arg(short, long, global = true)]
    pub keep_going: bool,
    /// Draw when each step ran (.svg), or write a trace for a browser (.json)
    #[arg(long, global = true, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// The Kind cluster, instead of the one that the task file names
    #[arg(long, global = true, value_name = "NAME", env = "KIND_CLUSTER_NAME")]
    pub cluster: Option<String>,
    /// The node image for a cluster that is created
    #[arg(long, global = true, value_name = "IMAGE", env = "TG_NODE_IMAGE")]
    pub node_image: Option<String>,
    /// Answer on standard output as JSON with a schema version
    #[arg(long, global = true)]
    pub json: bool,
    /// Only failures and the tests' own output
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show what builders and tools print
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the task test-TIER: kind, cached or fast
    Test {
        /// The tier
        tier: String,
        /// Arguments for the test command
        #[arg(last = true)]
        extra: Vec<String>,
    },
    /// Run tasks, one behind the other
    Run {
        /// The tasks
        #[arg(required = true, value_name = "TASK")]
        tasks: Vec<String>,
        /// Arguments for the test command
        #[arg(last = true)]
        extra: Vec<String>,
    },
    /// Build images, whether or not their inputs changed
    Build(Images),
    /// Build images whose inputs changed
    BuildIfNeeded(Images),
    /// Build images without the builder's cache
    Rebuild(Images),
    /// Load images into every node
    Load(Loads),
    /// Load images into the nodes that differ
    LoadIfNeeded(Loads),
    /// Create, delete or look at the cluster
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Show inputs, host image and node images side by side, with what would be done and why
    CacheStatus(Images),
    /// Say why images would be built and loaded, with every difference; or what differs between two keys
    Why {
        /// Images of the task file, as NAME or NAME.VARIANT; all without variants when none is named
        #[arg(value_name = "IMAGE")]
        images: Vec<String>,
        /// Compare what two builds were made from, by the first digits of their keys
        #[arg(long, num_args = 2, value_name = "KEY")]
        between: Option<Vec<String>>,
    },
    /// Look into the ignore rules of a context
    #[command(subcommand)]
    Ignore(IgnoreVerb),
    /// Remove the cluster and the images that tg made
    Clean {
        /// What to remove
        #[arg(default_value = "all")]
        what: CleanPart,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// A task of the task file.
    #[command(external_subcommand)]
    Task(Vec<OsString>),
}

/// Which images a command is about.
#[derive(Args, Debug)]
pub struct Images {
    /// Images of the task file, as NAME or NAME.VARIANT; all without variants when none is named
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// Which images are loaded where and how.
#[derive(Args, Debug)]
pub struct Loads {
    /// Images of the task file, as NAME or NAME.VARIANT; all without variants when none is named
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Only into these nodes, by their names or what follows the cluster's name in them
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// How layers get into nodes, instead of what the task file says
    #[arg(long, value_name = "STRATEGY")]
    pub strategy: Option<Strategy>,
    /// Say which layers were moved and why
    #[arg(long)]
    pub explain: bool,
}

/// How layers get into nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// The first of the others that works
    Auto,
    /// Docker pushes what no node has to tg, and the nodes pull from there
    PushAndPull,
    /// Docker pushes what no node has to tg, which has the nodes import it
    PushAndImport,
    /// Docker exports the image, and the nodes import it without what they have
    Archive,
    /// Docker pushes to the registry that the cluster names, and the nodes pull from there
    Registry,
}

/// What to ask of ignore rules.
#[derive(Debug, Subcommand)]
pub enum IgnoreVerb {
    /// Say whether a path is sent to the builder, and which rule decides
    Explain {
        /// Paths relative to the context, or to the working directory where that is in it
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// The image whose context and Dockerfile count; needed where the task file has several
        #[arg(long, value_name = "IMAGE")]
        image: Option<String>,
        /// A named context of the image instead of its main one
        #[arg(long, value_name = "NAME")]
        context: Option<String>,
    },
}

/// What to do with the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum ClusterVerb {
    /// Make sure that it is there and ready
    Create {
        /// Delete it first when it cannot be used and tg made it
        #[arg(long)]
        recreate: bool,
    },
    /// Delete it, if tg made it
    Delete,
    /// Say how it is
    Status,
}

/// What `clean` removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CleanPart {
    /// The cluster
    Cluster,
    /// The images in Docker
    Images,
    /// Both
    All,
}

/// What the environment says, read once.
#[derive(Clone, Default)]
pub struct Environment {
    /// Standard error is a terminal that progress may be drawn on.
    pub draws: bool,
    /// Standard input can answer a question.
    pub asks: bool,
    /// Colour when the choice is `auto`.
    pub color: bool,
    /// Runs in GitHub Actions.
    pub github: bool,
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// Docker's configuration directory.
    pub docker_config: Option<PathBuf>,
    /// Where tg remembers things.
    pub state: PathBuf,
    /// `KIND_EXPERIMENTAL_PROVIDER`.
    pub provider: Option<String>,
    /// `DOCKER_DEFAULT_PLATFORM`, which the builder obeys.
    pub platform: Option<String>,
    /// Every variable that is UTF-8, for build arguments and secrets. Never printed, not even for debugging.
    pub variables: BTreeMap<String, String>,
}

/// Without the values of [`Environment::variables`].
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart, so that a field that is added here is not forgotten.
        let Self {
            draws,
            asks,
            color,
            github,
            docker_host,
            docker_context,
            docker_config,
            state,
            provider,
            platform,
            variables,
        } = self;
        f.debug_struct("Environment")
            .field("draws", draws)
            .field("asks", asks)
            .field("color", color)
            .field("github", github)
            .field("docker_host", docker_host)
            .field("docker_context", docker_context)
            .field("docker_config", docker_config)
            .field("state", state)
            .field("provider", provider)
            .field("platform", platform)
            .field("variables", &variables.keys())
            .finish()
    }
}

impl Environment {
    /// Reads the process's environment and looks at its standard streams.
    #[must_use]
    pub fn read() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        let home = path("HOME");
        let ci = text("CI").is_some();
        let terminal = std::io::stderr().is_terminal();
        let dumb = text("TERM").is_none_or(|term| term == "dumb");
        let state = path("TG_STATE_DIR")
            .or_else(|| path("XDG_STATE_HOME").map(|dir| dir.join("tg")))
            .or_else(|| home.as_ref().map(|home| home.join(".local/state/tg")))
            .unwrap_or_else(|| std::env::temp_dir().join("tg-state"));
        Self {
            draws: terminal && !dumb && !ci,
            asks: terminal && std::io::stdin().is_terminal() && !ci,
            color: terminal && !dumb && text("NO_COLOR").is_none(),
            github: text("GITHUB_ACTIONS").is_some(),
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            docker_config: path("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker"))),
            state,
            provider: text("KIND_EXPERIMENTAL_PROVIDER"),
            platform: text("DOCKER_DEFAULT_PLATFORM"),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        }
    }
}

/// Parses the command line. `tg TASK` is read as `tg run TASK`.
///
/// # Errors
/// clap's own, which also carries help and version.
pub fn parse(argv: &[OsString]) -> Result<App, clap::Error> {
    let app = App::try_parse_from(argv)?;
    let Some(Verb::Task(rest)) = &app.command else {
        return Ok(app);
    };
    let at = argv.len() - rest.len();
    let (before, after) = argv.split_at(at);
    let run = [OsString::from("run")];
    App::try_parse_from(before.iter().chain(&run).chain(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_variables_are_not_shown() {
        let variables = BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]);
        let shown = format!("{:?}", Environment { variables, ..Environment::default() });
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }
}
