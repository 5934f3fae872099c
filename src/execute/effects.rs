//! What a run can do to the world: the crate's one trait seam, so that order can be tested without a world.
//! Depends on: facts, plan, taskfile::model, error.

use crate::error::Failure;
use crate::facts::Facts;
use crate::names::ImageId;
use crate::report::event::StepName;
use crate::taskfile::model::{BuildCache, CargoTest, ClusterAction, Step};

/// The effects of steps. Each returns what it did, in a few words.
#[expect(async_fn_in_trait, reason = "the crate is the only user; no Send bound is needed")]
pub trait Effects {
    /// Looks again at what one step is about.
    async fn observe(&self, step: &Step) -> Facts;
    /// Builds an image, also when another tg has just done so if that `is_forced`.
    async fn build(
        &self,
        name: &StepName,
        image: &ImageId,
        cache: BuildCache,
        is_forced: bool,
    ) -> Result<String, Failure>;
    /// Loads an image, as it was last looked at, into nodes and verifies it there.
    async fn load(
        &self,
        name: &StepName,
        image: &ImageId,
        nodes: &[String],
        facts: &Facts,
    ) -> Result<String, Failure>;
    /// Creates or deletes the cluster.
    async fn cluster(&self, name: &StepName, action: ClusterAction) -> Result<String, Failure>;
    /// Compiles what `cargo test` will run.
    async fn compile(&self, name: &StepName, test: &CargoTest) -> Result<String, Failure>;
    /// Runs `cargo test`.
    async fn test(&self, name: &StepName, test: &CargoTest) -> Result<String, Failure>;
    /// Runs a command.
    async fn command(&self, name: &StepName, argv: &[String]) -> Result<String, Failure>;
}
