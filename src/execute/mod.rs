//! Walks a plan: steps that do not wait for each other run side by side. Where an earlier step changed the world it looks
//! again, decides with the same function, acts, and emits events.
//! Depends on: plan, facts, report::event, error.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

pub mod effects;
pub mod live;

use crate::error::{Failure, Kind};
use crate::facts::Facts;
use crate::interrupt::Interrupt;
use crate::plan::{Decision, Plan, Planned, Reason, decide};
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
    /// `--keep-going`.
    pub keep_going: bool,
    /// How many images may be built at a time.
    pub jobs: usize,
    /// Its id.
    pub id: String,
    /// The wish to stop, of this run alone: its first failure stops the rest.
    pub interrupt: &'a Interrupt,
    /// Where events go.
    pub emitter: &'a Emitter,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    UnderWay,
    /// It ended, and whether it changed anything; when it did, since the run began.
    Done {
        ran: bool,
        at: Duration,
    },
    Failed,
}

/// Runs every step as soon as those that it waits for are done. The first failure stops the others.
///
/// # Errors
/// The failure of the step that failed first.
pub async fn execute(plan: &Plan, run: &Run<'_>, effects: &impl Effects) -> Result<(), Failure> {
    run.emitter.emit(EventKind::RunStarted {
        name: plan.name.clone(),
        run: run.id.clone(),
        cluster: run.file.cluster.name.clone(),
    });
    let began = Instant::now();
    let mut progress = vec![Progress::Waiting; plan.steps.len()];
    let mut times = vec![Duration::ZERO; plan.steps.len()];
    let mut failure = None;
    let mut under_way = FuturesUnordered::new();
    loop {
        while (failure.is_none() || run.keep_going)
            && !run.interrupt.is_requested()
            && let Some(index) = ready(plan, &progress, run)
        {
            // What failed may have changed the world all the same.
            let ran = |at: &usize| {
                matches!(progress[*at], Progress::Done { ran: true, .. } | Progress::Failed)
            };
            let looks_again = plan.steps[index].after.iter().any(ran);
            progress[index] = Progress::UnderWay;
            under_way.push(async move {
                let started = Instant::now();
                let result = take(index, &plan.steps[index], looks_again, run, effects).await;
                (index, result, started.elapsed())
            });
        }
        let Some((index, result, took)) = under_way.next().await else { break };
        times[index] = took;
        progress[index] = match result {
            Ok(ran) => Progress::Done { ran, at: began.elapsed() },
            Err(failed) => {
                if failure.is_none() {
                    failure = Some(failed);
                    if !run.keep_going {
                        run.interrupt.stop();
                    }
                }
                Progress::Failed
            }
        };
    }
    let is_whole = failure.is_none() && !progress.contains(&Progress::Waiting);
    let mut detail = "an earlier step failed";
    if let Some(signal) = run.interrupt.signal().filter(|_| !is_whole) {
        (failure, detail) = (Some(interrupted(signal)), "interrupted");
    }
    for (index, planned) in plan.steps.iter().enumerate() {
        if progress[index] == Progress::Waiting {
            let name = name(index, &planned.step, run.file);
            finish(run, name, Outcome::NotReached, detail, "not-reached", Instant::now());
        }
    }
    let chain = chain(plan, &progress).into_iter();
    let chain = chain.map(|at| (name(at, &plan.steps[at].step, run.file), times[at])).collect();
    run.emitter.emit(EventKind::RunFinished { ok: failure.is_none(), chain });
    failure.map_or(Ok(()), Err)
}

/// The first step that waits for nothing any more. No more than `jobs` images are built at a time. Nothing needs what a test
/// did, so a test that failed keeps nothing from being done where the run goes on.
fn ready(plan: &Plan, progress: &[Progress], run: &Run<'_>) -> Option<usize> {
    let is_build = |at: usize| matches!(plan.steps[at].step, Step::Build { .. });
    let builds = (0..plan.steps.len())
        .filter(|at| is_build(*at) && progress[*at] == Progress::UnderWay)
        .count();
    let is_done = |at: &usize| match progress[*at] {
        Progress::Done { .. } => true,
        // A test that was not compiled says so itself.
        Progress::Failed => {
            run.keep_going && matches!(plan.steps[*at].step, Step::CargoTest(_) | Step::Compile(_))
        }
        Progress::Waiting | Progress::UnderWay => false,
    };
    (0..plan.steps.len()).find(|at| {
        progress[*at] == Progress::Waiting
            && (builds < run.jobs || !is_build(*at))
            && plan.steps[*at].after.iter().all(is_done)
    })
}

/// The steps that decided the time of the run: the one that was done last, the last one that it waited for, and so on.
fn chain(plan: &Plan, progress: &[Progress]) -> Vec<usize> {
    let done = |at: &usize| match progress[*at] {
        Progress::Done { ran: true, at } => Some(at),
        _ => None,
    };
    let last = |candidates: &mut dyn Iterator<Item = usize>| {
        candidates.filter(|at| done(at).is_some()).max_by_key(done)
    };
    let mut chain = Vec::new();
    let mut next = last(&mut (0..plan.steps.len()));
    while let Some(at) = next {
        chain.push(at);
        next = last(&mut plan.steps[at].after.iter().copied());
    }
    chain.reverse();
    chain
}

fn name(index: usize, step: &Step, file: &TaskFile) -> StepName {
    StepName { index, kind: step.kind(), object: object(step, file) }
}

/// Looks again where an earlier step changed the world, decides with the same function, and acts. Whether anything ran.
async fn take(
    index: usize,
    planned: &Planned,
    looks_again: bool,
    run: &Run<'_>,
    effects: &impl Effects,
) -> Result<bool, Failure> {
    let step = &planned.step;
    let name = name(index, step, run.file);
    let mut decision = planned.decision.clone();
    let mut seen = None;
    if looks_again && matches!(step, Step::Build { .. } | Step::Load { .. } | Step::Cluster(_)) {
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
    perform(&name, step, &decision, facts, run, effects).await
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
    let result = if run.interrupt.is_requested() {
        Err(interrupted(run.interrupt.signal().unwrap_or(2)))
    } else {
        match step {
            Step::Build { image, cache, .. } => {
                effects.build(name, image, *cache, *reason == Reason::Forced).await
            }
            Step::Load { image, .. } => effects.load(name, image, nodes, facts).await,
            Step::Cluster(action) => effects.cluster(name, *action).await,
            Step::Compile(test) => effects.compile(name, test).await,
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
            if run.interrupt.is_requested() && run.interrupt.signal().is_none() {
                let detail = "another step failed";
                finish(run, name.clone(), Outcome::Stopped, detail, code, began);
                return Err(failure);
            }
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
