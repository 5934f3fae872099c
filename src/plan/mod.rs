//! From steps and facts to decisions with reasons. Pure: no I/O, no clock, no environment; cannot fail.
//! Depends on: taskfile::model, facts (types), names.

use crate::facts::Facts;
use crate::taskfile::model::{ClusterAction, Step, TaskFile};

mod decide;
mod order;
mod reason;

pub use decide::{Decision, decide};
pub use order::order;
pub use reason::{NodesDiffer, Reason};

/// The steps of a run with what is expected of each.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was asked for, as people call it: a task's name or a command.
    pub name: String,
    /// The steps in order.
    pub steps: Vec<Planned>,
}

/// One step and the decision about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The step.
    pub step: Step,
    /// What will be done, by what is known now.
    pub decision: Decision,
    /// The places of the earlier steps that it waits for.
    pub after: Vec<usize>,
}

/// The steps that a list stands for: tasks replaced by their steps, the cluster first where a step needs one, and compiling
/// of tests as early as it can begin.
#[must_use]
pub fn expand(file: &TaskFile, steps: &[Step]) -> Vec<Step> {
    let mut flat = file.flatten(steps);
    let loads = flat.iter().any(|step| matches!(step, Step::Load { .. }));
    let says_itself = flat.iter().any(|step| matches!(step, Step::Cluster(_)));
    if loads && !says_itself {
        flat.insert(0, Step::Cluster(ClusterAction::Ensure));
    }
    let mut expanded = Vec::with_capacity(flat.len() + 1);
    // Where nothing but compiling happens before a test, the test itself does that.
    for part in flat.split_inclusive(|step| matches!(step, Step::Run { .. })) {
        let is_other = |step: &Step| !matches!(step, Step::CargoTest(_) | Step::Run { .. });
        let tests = part.iter().enumerate().filter(|(at, _)| part[..*at].iter().any(is_other));
        expanded.extend(tests.filter_map(|(_, step)| match step {
            Step::CargoTest(test) => Some(Step::Compile(test.clone())),
            _ => None,
        }));
        expanded.extend_from_slice(part);
    }
    expanded
}

/// Decides about every step. A step behind one that will run is decided on what that one will have changed.
#[must_use]
pub fn plan(name: &str, file: &TaskFile, steps: &[Step], facts: &Facts, force: bool) -> Plan {
    let mut facts = facts.clone();
    let mut changed: Vec<(Step, Reason)> = Vec::new();
    let mut planned = Vec::new();
    for step in expand(file, steps) {
        let mut decision = decide(&step, file, &facts, force);
        if let Decision::Run { reason, .. } = &mut decision {
            let cause = changed.iter().rev().find(|(earlier, _)| affects(earlier, &step));
            if let (Some((_, because)), Step::Load { .. }, true) =
                (cause, &step, *reason != Reason::Forced)
            {
                *reason = because.clone();
            }
        }
        // A load behind a cluster that is yet to be made has no nodes to compare.
        if let (Decision::Skip(Reason::NodesHave { nodes: 0, .. }), Step::Load { .. }) =
            (&decision, &step)
        {
            decision = Decision::Run { reason: Reason::AfterCluster, nodes: Vec::new() };
        }
        if let Some(because) = decide::predict(&step, &decision, &mut facts) {
            changed.push((step.clone(), because));
        }
        planned.push(Planned { step, decision, after: Vec::new() });
    }
    compile_beside_others(&mut planned);
    let steps: Vec<Step> = planned.iter().map(|planned| planned.step.clone()).collect();
    for (planned, after) in planned.iter_mut().zip(order(file, &steps, &facts)) {
        planned.after = after;
    }
    Plan { name: name.to_owned(), steps: planned }
}

/// Asks cargo twice only where something else takes time meanwhile; otherwise the test compiles what it needs.
fn compile_beside_others(planned: &mut Vec<Planned>) {
    let is_work = |planned: &Planned| {
        matches!(planned.step, Step::Build { .. } | Step::Load { .. } | Step::Cluster(_))
            && matches!(planned.decision, Decision::Run { .. })
    };
    if !planned.iter().any(is_work) {
        planned.retain(|planned| !matches!(planned.step, Step::Compile(_)));
    }
}

fn affects(earlier: &Step, later: &Step) -> bool {
    match (earlier, later) {
        (Step::Build { image: built, .. }, Step::Load { image: loaded, .. }) => built == loaded,
        (Step::Cluster(_), Step::Load { .. }) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
