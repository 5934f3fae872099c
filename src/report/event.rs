//! What happens in a run, as values: the contract between `execute` and the reporters. Every event carries its time.
//! Depends on: std.

use std::sync::Mutex;
use std::time::{Duration, Instant};

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
    /// An earlier failure kept it from being started.
    NotReached,
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
