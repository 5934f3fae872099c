//! One tg at a time: locks of files, which end with the process that holds them, however it ends.
//! Depends on: plan, facts, report::event, taskfile::model, error.

use std::fs::File;
use std::io::{Read, Seek, Write};

use super::Live;
use crate::error::{Failure, Kind};
use crate::execute::interrupted;
use crate::names::ImageId;
use crate::plan::{Decision, decide};
use crate::report::event::StepName;
use crate::taskfile::model::{BuildCache, Step, When};

/// A lock that is held as long as this is there.
pub(super) struct Held {
    _file: File,
    /// Somebody else held it first, so the world may be another by now.
    pub(super) waited: bool,
}

impl Live<'_> {
    /// Lets no other tg do `what` at the same time. The one that holds the lock has its process id and command in the file.
    pub(super) async fn lock(
        &self,
        name: &StepName,
        file: std::io::Result<File>,
        what: &str,
    ) -> Result<Held, Failure> {
        let internal = |error: std::io::Error| Failure::new(Kind::Internal, error);
        let mut file = file.map_err(internal)?;
        let waited = file.try_lock().is_err();
        if waited {
            let mut holder = String::new();
            // Without a name it is waited for as well.
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.is_empty() { "another tg" } else { holder.trim() };
            self.note(name, format!("waiting for {holder}, which {what}"), false);
            let waiting = file.try_clone().map_err(internal)?;
            tokio::select! {
                // A lock is the open file's, which both handles are.
                locked = tokio::task::spawn_blocking(move || waiting.lock()) => match locked {
                    Ok(locked) => locked.map_err(internal)?,
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
                () = self.world.interrupt.requested() => {
                    return Err(interrupted(self.world.interrupt.signal().unwrap_or(2)));
                }
            }
        }
        let holder = format!("process {} (tg {})", std::process::id(), self.command);
        // Nobody but people reads it.
        let _ = file.set_len(0);
        let _ = file.rewind();
        let _ = file.write_all(holder.as_bytes());
        Ok(Held { _file: file, waited })
    }

    /// Whether another tg has just built what is wanted.
    pub(super) async fn is_built(&self, image: &ImageId) -> Option<String> {
        let (image, when, cache) = (image.clone(), When::IfNeeded, BuildCache::Use);
        let step = Step::Build { image, when, cache };
        let facts = self.world.gather(std::slice::from_ref(&step)).await;
        match decide(&step, &self.world.file, &facts, false) {
            Decision::Skip(reason) => Some(format!("another tg built it: {reason}")),
            _ => None,
        }
    }
}
