//! What a build told, kept as far as its end needs it.
//! Depends on: adapters::buildx, digest::tree, error, taskfile::model.

use std::collections::{BTreeSet, VecDeque};

use crate::adapters::buildx::Progress;
use crate::digest::tree::MAIN;
use crate::error::{Failure, Kind};
use crate::taskfile::model::ImageSpec;

/// How many of the last lines of a failed build are shown.
const LAST_LINES: usize = 50;

/// Whether a step of the builder brings a local context (or its ignore file) to the builder; each leaves a copy there.
fn is_transfer(step: &str) -> bool {
    step == "[internal] load build context"
        || (step.starts_with("[context ")
            && (step.ends_with("] load from client") || step.ends_with("] load .dockerignore")))
}

/// The name of the context that a step brings.
fn context_of(step: &str) -> Option<String> {
    if step == "[internal] load build context" {
        return Some(MAIN.to_owned());
    }
    Some(step.strip_prefix("[context ")?.strip_suffix("] load from client")?.to_owned())
}

/// What a build told, as far as its end needs it.
#[derive(Default)]
pub(super) struct Told {
    pub(super) steps: usize,
    pub(super) cached: usize,
    /// Transfers of contexts that were begun, and that ended well.
    awaited: usize,
    /// How many ended well; each leaves a copy at the builder.
    pub(super) copies: usize,
    /// The contexts that the builder has now.
    pub(super) arrived: BTreeSet<String>,
    last: VecDeque<String>,
    errors: Vec<String>,
}

impl Told {
    pub(super) fn take(&mut self, progress: Progress) {
        match progress {
            Progress::Started(name) => self.awaited += usize::from(is_transfer(&name)),
            Progress::Finished { name, .. } if is_transfer(&name) => {
                self.copies += 1;
                self.arrived.extend(context_of(&name));
            }
            Progress::Finished { name, cached }
                if name.starts_with('[') && !name.starts_with("[internal]") =>
            {
                self.steps += 1;
                self.cached += usize::from(cached);
            }
            Progress::Finished { .. } => {}
            Progress::Log(line) => {
                self.last.push_back(line);
                if self.last.len() > LAST_LINES {
                    self.last.pop_front();
                }
            }
            Progress::Error(text) => self.errors.push(text),
        }
    }

    /// Whether every context that the builder asked for was sent to its end.
    pub(super) fn all_arrived(&self) -> bool {
        self.awaited > 0 && self.awaited == self.copies
    }

    pub(super) fn failure(self, spec: &ImageSpec) -> Failure {
        let lines: Vec<String> = self.last.into_iter().chain(self.errors).collect();
        let message = format!(
            "building `{}` from {} failed:\n{}",
            spec.id,
            spec.dockerfile.display(),
            lines.join("\n")
        );
        let failure = Failure::said(Kind::Build, message);
        // What Docker's client says where the plug-in is missing: unknown command, unknown flag, not a docker command.
        let missing = ["unknown command", "unknown flag", "is not a docker command"];
        if lines.iter().any(|line| missing.iter().any(|words| line.contains(words))) {
            return Failure { kind: Kind::Docker, ..failure }.hint(
                "install Docker's buildx plug-in; docker buildx version tells whether it is there",
            );
        }
        failure
    }
}
