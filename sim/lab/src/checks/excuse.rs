//! What is only observed: broken rules that the engine does not promise to keep under what went wrong.
//!
//! - Everything, if something went wrong that is outside of the engine's fault budget.
//! - Results and early timers, where a clock was wrong.
//! - Results, and states of entities, where robots had an orchestration run once more (the published clients
//!   replace an orchestration that has ended), or where steps are promised *at least once*.
//! - That everything ends, where a step that was lost may have asked for locks: nobody releases those, or they are
//!   not asked for in one order any more. Then all who did not end must wait for locks, or ask an entity in
//!   vain that does what such a step had asked of it (`checks/lost.rs`).
//! - States of entities, where the engine does not promise that what it told stays so: a client may be told
//!   what an earlier step left. Then every state must be one that a committed step of the entity left, and
//!   the last ones must be as the workload expects.
//!
//! All but the first need a fault, or a robot that asked again. `docs/faults.md` says the same to users.

use super::lost::LostEffects;
use super::{Check, Entities, Evidence, Verdict, durability};
use crate::stuck::Stuck;
use sim_model::engine::{Delivery, FaultBudget, FaultClass};
use std::collections::BTreeSet;
use std::time::Duration;

/// Takes broken rules for observed where the engine promises nothing, under faults of these classes.
pub(crate) fn excuse(
    checks: &mut [Check],
    evidence: &Evidence<'_>,
    classes: &BTreeSet<FaultClass>,
    budget: &FaultBudget,
) {
    let Evidence { guarantees, recording, .. } = *evidence;
    if recording.repeated > 0 {
        let why = format!("robots that asked again had {} run once more", recording.repeated);
        observe(checks, &["results", "entities"], &why);
    }
    if classes.contains(&FaultClass::ClockError) {
        // Workloads with timers see it in their results.
        let why = "timers go by clocks, and a clock was wrong";
        observe(checks, &["no-timer-early", "results"], why);
    }
    if classes.is_empty() {
        return;
    }
    if guarantees.steps == Delivery::AtLeastOnce {
        observe(checks, &["results", "entities"], "steps may take effect twice");
        if fails(checks, "completion")
            && let Some(why) = waits_for_lost_steps(evidence, budget.heals_within)
        {
            observe(checks, &["completion"], why);
        }
    }
    if !guarantees.durable && fails(checks, "entities") && is_told_late(evidence) {
        observe(checks, &["entities"], "a client is told what an earlier step left");
    }
    if let Some(why) = outside_of_budget(classes, budget) {
        observe(checks, &super::NAMES, &why);
    }
}

/// Why nothing is promised under faults of these classes, if it is not.
pub(crate) fn outside_of_budget(
    classes: &BTreeSet<FaultClass>,
    budget: &FaultBudget,
) -> Option<String> {
    let outside: Vec<&str> =
        classes.iter().filter(|class| !budget.covers(**class)).map(|class| class.name()).collect();
    let why = || format!("outside of the fault budget ({})", outside.join(", "));
    (!outside.is_empty()).then(why)
}

fn fails(checks: &[Check], name: &str) -> bool {
    checks.iter().any(|check| check.name == name && check.verdict == Verdict::Fail)
}

/// Takes those of the named checks that failed for observed.
fn observe(checks: &mut [Check], names: &[&str], why: &str) {
    let named = |check: &&mut Check| names.contains(&check.name.as_str());
    let failed = checks.iter_mut().filter(|check| check.verdict == Verdict::Fail);
    for check in failed.filter(named) {
        check.verdict = Verdict::Observed;
        check.detail = format!("{why}: {}", check.detail);
    }
}

/// Why nothing is wrong with the end of the run but what steps that were lost have left: locks that they may
/// have asked for, or what they asked of an entity that answers all who did not end, `lately` too.
fn waits_for_lost_steps(evidence: &Evidence<'_>, lately: Duration) -> Option<&'static str> {
    let Evidence { graph, at, guarantees, recording, orchestrations, stuck, .. } = *evidence;
    let others = recording.client_problems.count + recording.report_problems.count;
    if stuck.is_empty() || others > 0 || guarantees.causally_consistent_commit {
        return None;
    }
    let mut asking = stuck.iter().filter(|stuck| !stuck.waiting.held).peekable();
    if asking.peek().is_none() {
        return Some("steps that were lost had asked for locks");
    }
    let effects = LostEffects::of(graph, &orchestrations.application());
    let has_misled = |entity| stuck.iter().any(|one| effects.has_misled(entity, &one.instance));
    let in_vain = |one: &Stuck| {
        effects.asked_in_vain(&one.instance, at.before(lately)).is_some_and(has_misled)
    };
    asking.all(in_vain).then_some("an entity does what steps that were lost had asked of it")
}

/// Whether entities are as the workload expects, and only those who ask are told what they were before.
fn is_told_late(evidence: &Evidence<'_>) -> bool {
    let Evidence { graph, orchestrations, recording, entities, .. } = *evidence;
    let Entities::Read(told) = entities else { return false };
    let workload = orchestrations.workload();
    durability::last_states(graph, told)
        .is_some_and(|last| workload.check_entities(recording.started(), &last).is_ok())
}
