//! The content key of an image's inputs, and what changed between two of them. Knows no Docker.
//! Depends on: std, sha2, rayon, rustix, postcard, names, taskfile::model.

pub mod chain;
pub mod change;
pub mod contents;
pub mod dockerfile;
pub mod ignore;
mod inputs;
pub mod manifest;
mod sources;
pub mod stat_cache;
pub mod tree;
mod walk;

pub use inputs::{Inputs, SCHEMA, familiar};
pub use sources::{IgnoreFile, InputError, Sources, Surroundings, ignore_file, read};
pub use walk::TreeError;

/// The part of [`Inputs`] that stands for the Dockerfile.
const DOCKERFILE: &str = "dockerfile";
/// The part of [`Inputs`] that stands for the main context; followed by a space and its name for a named one.
const FILES: &str = "files";

/// Whether the value of a part may be shown. Of arguments, labels and the like only digests are kept.
fn may_be_shown(part: &str) -> bool {
    const PUBLIC: [&str; 6] = ["target", "platform", "builder", "network", "base", "context"];
    let word = part.split(' ').next().unwrap_or(part);
    PUBLIC.contains(&word)
}

#[cfg(test)]
mod tests;
