//! Walks a plan: looks again where an earlier step changed the world, decides with the same function, acts, emits events.
//! Depends on: plan, facts, report::event, error.

use std::time::Instant;

pub mod effects;
pub mod live;

use crate::error::{Failure, Kind};
use crate::facts::Facts;
use crate::interrupt::Interrupt;
use crate::plan::{Decision, Plan, Reason, decide};
use crate::report::event::{Emitter, EventKind, Outcome, StepName};
use crate::taskfile::model::{Step, TaskFile};
use effects::Effects;

/// What a run needs besides its plan.
pub struct Run<'a> {
    /// The task file.
    pub file: &'a TaskFile,
    /// What the plan was made from.
    pub facts: &'a Facts,
    /// `--force`.
    pub force: bool,
    /// Its id.
    pub id: String,
    /// The wish to stop.
    pub interrupt: &'a Interrupt,
    /// Where events go.
    pub emitter: &'a Emitter,
}

/// Runs every step in order and stops at the first failure.
///
/// # Errors
/// The failure of the step that failed.
pub async fn execute(plan: &Plan, run: &Run<'_>, effects: &impl Effects) -> Result<(), Failure> {
    run.emitter.emit(EventKind::RunStarted {
        name: plan.name.clone(),
        run: run.id.clone(),
        cluster: run.file.cluster.name.clone(),
    });
    let mut failure = None;
    let mut world_changed = false;
    for (index, planned) in plan.steps.iter().enumerate() {
        let step = &planned.step;
        let name = StepName { index, kind: step.kind(), object: object(step, run.file) };
        if failure.is_some() {
            finish(
                run,
                name,
                Outcome::NotReached,
                "an earlier step failed",
                "not-reached",
                Instant::now(),
            );
            continue;
        }
        let mut decision = planned.decision.clone();
        let mut seen = None;
        if world_changed
            && matches!(step, Step::Build { .. } | Step::Load { .. } | Step::Cluster(_))
        {
            let facts = effects.observe(step).await;
            let fresh = decide(step, run.file, &facts, run.force);
            if std::mem::discriminant(&fresh) != std::mem::discriminant(&decision) {
                let (step, reason) = (name.clone(), fresh.reason().to_string());
                run.emitter.emit(EventKind::Revised { step, reason });
            }
            decision = fresh;
            seen = Some(facts);
        }
        let facts = seen.as_ref().unwrap_or(run.facts);
        match perform(&name, step, &decision, facts, run, effects).await {
            Ok(ran) => world_changed |= ran,
            Err(failed) => failure = Some(failed),
        }
    }
    run.emitter.emit(EventKind::RunFinished { ok: failure.is_none() });
    failure.map_or(Ok(()), Err)
}

/// What a step is about, with the cluster's name where that is it.
fn object(step: &Step, file: &TaskFile) -> String {
    if matches!(step, Step::Cluster(_)) { file.cluster.name.clone() } else { step.object() }
}

/// Does what was decided. Returns whether anything ran.
async fn perform(
    name: &StepName,
    step: &Step,
    decision: &Decision,
    facts: &Facts,
    run: &Run<'_>,
    effects: &impl Effects,
) -> Result<bool, Failure> {
    let began = Instant::now();
    let code = decision.reason().code();
    let (reason, nodes) = match decision {
        Decision::Skip(reason) => {
            finish(run, name.clone(), Outcome::Skipped, &reason.to_string(), code, began);
            return Ok(false);
        }
        Decision::Blocked(reason) => {
            finish(run, name.clone(), Outcome::Failed, &reason.to_string(), code, began);
            return Err(blocked(step, reason, run.file));
        }
        Decision::Run { reason, nodes } => (reason, nodes),
    };
    let (started, text) = (name.clone(), reason.to_string());
    run.emitter.emit(EventKind::StepStarted { step: started, reason: text, code });
    let result = if let Some(signal) = run.interrupt.signal() {
        Err(interrupted(signal))
    } else {
        match step {
            Step::Build { image, cache, .. } => effects.build(name, image, *cache).await,
            Step::Load { image, .. } => effects.load(name, image, nodes, facts).await,
            Step::Cluster(action) => effects.cluster(name, *action).await,
            Step::CargoTest(test) => effects.test(name, test).await,
            Step::Run { argv } => effects.command(name, argv).await,
            // Plans hold no task steps: they were replaced by the task's own.
            Step::Task(_) => Ok(String::new()),
        }
    };
    match result {
        Ok(detail) => {
            finish(run, name.clone(), Outcome::Done, &detail, code, began);
            Ok(true)
        }
        Err(failure) => {
            let failure = run.interrupt.signal().map_or(failure, interrupted);
            let cause = failure.cause.to_string();
            let summary = cause.lines().next().unwrap_or_default();
            finish(run, name.clone(), Outcome::Failed, summary, code, began);
            Err(failure)
        }
    }
}

/// The failure that a signal makes of whatever was under way.
#[must_use]
pub fn interrupted(signal: i32) -> Failure {
    Failure::said(Kind::Interrupted(u8::try_from(signal).unwrap_or(2)), "interrupted")
}

fn blocked(step: &Step, reason: &Reason, file: &TaskFile) -> Failure {
    let verb = if matches!(step, Step::Cluster(_)) { "use the cluster" } else { step.kind() };
    let failure =
        |kind| Failure::said(kind, format!("cannot {} {}: {reason}", verb, object(step, file)));
    match reason {
        Reason::ImageMissing(_) => {
            failure(Kind::Load).hint(format!("tg build {}", step.object()))
        }
        Reason::MayNotCreate => failure(Kind::Cluster).hint(format!(
            "kind create cluster --name {}, or set create = \"if-missing\" in [cluster]",
            file.cluster.name
        )),
        Reason::ClusterAbsent => failure(Kind::Cluster).hint("tg cluster create"),
        Reason::ClusterBroken { ours: true, .. } => {
            failure(Kind::Cluster).hint("tg cluster create --recreate")
        }
        Reason::ClusterBroken { ours: false, .. } => failure(Kind::Cluster).hint(format!(
            "tg did not make this cluster and leaves it alone: start its nodes (docker start), or kind delete cluster --name {}",
            file.cluster.name
        )),
        _ => failure(Kind::Cluster).hint("tg cluster status"),
    }
}

fn finish(
    run: &Run<'_>,
    step: StepName,
    outcome: Outcome,
    detail: &str,
    code: &'static str,
    began: Instant,
) {
    let (detail, took) = (detail.to_owned(), began.elapsed());
    run.emitter.emit(EventKind::StepFinished { step, outcome, detail, code, took });
}

#[cfg(test)]
mod tests;
