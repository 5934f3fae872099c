//! What happens in a run, as values: the contract between `execute` and the reporters. Every event carries its time.
//! Depends on: names.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::names::ConfigDigest;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Since the run began.
    pub elapsed: Duration,
    /// What it was.
    pub kind: EventKind,
}

/// A step as events name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepName {
    /// Its place in the run, from 0.
    pub index: usize,
    /// `build`, `load`, …
    pub kind: &'static str,
    /// What it is about.
    pub object: String,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and did its work.
    Done,
    /// There was nothing to do.
    Skipped,
    /// It failed.
    Failed,
    /// It was ended, since another step failed.
    Stopped,
    /// An earlier failure kept it from being started.
    NotReached,
}

/// How an image was brought to nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// The image, as the nodes' CRI calls it, if that is known.
    pub config: Option<ConfigDigest>,
    /// Its layers, the lowest first; none where they are not known, since Docker exported the image as a whole.
    pub layers: Vec<LayerLoad>,
    /// Looking at the nodes.
    pub facts: Duration,
    /// Getting what is missing out of Docker, before the nodes get it.
    pub export: Duration,
    /// Each node.
    pub nodes: BTreeMap<String, NodeLoad>,
}

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerLoad {
    /// The digest of its blob.
    pub digest: String,
    /// The bytes of its blob.
    pub size: u64,
    /// Whether Docker sent it.
    pub sent: bool,
    /// The nodes that had neither its blob nor its snapshot.
    pub lacked_by: Vec<String>,
}

/// How an image was brought to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLoad {
    /// `push-and-pull`, `push-and-import`, `archive`, `tag-only` or `none`.
    pub strategy: &'static str,
    /// Why it was not the strategy before that.
    pub why: Option<String>,
    /// Layers that were sent to the node.
    pub layers_moved: usize,
    /// Bytes that were sent to the node.
    pub bytes_moved: u64,
    /// Bytes of layers that were not.
    pub bytes_saved: u64,
    /// Until everything had been sent.
    pub transfer: Duration,
    /// From then on, until it was unpacked.
    pub import: Duration,
    /// Until the CRI showed it.
    pub verify: Duration,
    /// Why it failed, with the node's name.
    pub result: Result<(), String>,
}

impl NodeLoad {
    /// Nothing moved yet.
    #[must_use]
    pub fn by(strategy: &'static str) -> Self {
        Self {
            strategy,
            why: None,
            layers_moved: 0,
            bytes_moved: 0,
            bytes_saved: 0,
            transfer: Duration::ZERO,
            import: Duration::ZERO,
            verify: Duration::ZERO,
            result: Ok(()),
        }
    }

    /// It could not be begun.
    #[must_use]
    pub fn failed(why: impl Into<String>) -> Self {
        Self { result: Err(why.into()), ..Self::by("none") }
    }
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A run begins.
    RunStarted {
        /// What was asked for.
        name: String,
        /// The id of the run.
        run: String,
        /// The cluster it is about.
        cluster: String,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: StepName,
        /// Why it runs.
        reason: String,
        /// The reason's stable name.
        code: &'static str,
    },
    /// Fresh facts changed what the plan said about a step.
    Revised {
        /// Which.
        step: StepName,
        /// The decision now.
        reason: String,
    },
    /// Something within a step, one line.
    Note {
        /// Which.
        step: StepName,
        /// What.
        text: String,
        /// Only of interest when asked for more.
        detail: bool,
    },
    /// Bytes have been moved; the sum so far.
    Bytes {
        /// Which.
        step: StepName,
        /// The sum.
        bytes: u64,
    },
    /// An image has been brought to nodes, or was not.
    Loaded {
        /// Which step.
        step: StepName,
        /// How.
        report: Box<LoadReport>,
    },
    /// A child printed something.
    Output {
        /// Which.
        step: StepName,
        /// On its standard error.
        stderr: bool,
        /// The bytes, as they came.
        bytes: Vec<u8>,
    },
    /// A step has ended.
    StepFinished {
        /// Which.
        step: StepName,
        /// How.
        outcome: Outcome,
        /// Why it was skipped or what it did.
        detail: String,
        /// The reason's stable name.
        code: &'static str,
        /// How long it took.
        took: Duration,
    },
    /// The run has ended.
    RunFinished {
        /// Whether every step is done or was skipped.
        ok: bool,
        /// The steps that decided how long it took, in their order: each waited for the one before it.
        chain: Vec<(StepName, Duration)>,
    },
}

/// Gives events their time and hands them on. Synchronous: a slow reporter slows the run instead of filling the memory.
pub struct Emitter {
    started: Instant,
    sink: Mutex<Box<dyn FnMut(Event) + Send>>,
}

impl Emitter {
    /// Starts the clock.
    pub fn new(sink: impl FnMut(Event) + Send + 'static) -> Self {
        Self { started: Instant::now(), sink: Mutex::new(Box::new(sink)) }
    }

    /// Tells that something happened now.
    pub fn emit(&self, kind: EventKind) {
        let event = Event { elapsed: self.started.elapsed(), kind };
        // A reporter that panicked has already ended the run; the next event may still try.
        let mut sink = self.sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sink(event);
    }
}
