//! Replicas that do what their protocol forbids: which faults of a list stay within what groups of replicas
//! tolerate.
//!
//! A group of `3f + 1` replicas tolerates `f` that are Byzantine at some time of the run, whatever they do;
//! see `sim_world::fault` for why it is not counted instant by instant. Beyond that nothing is promised: the
//! class is then outside of the fault budget.

use super::{Fault, Value};
use crate::fault::expand::Targets;
use crate::spec::SpecError;
use sim_model::engine::{FaultBudget, FaultClass};
use sim_world::fault::{Pattern, ReplicaGroup};
use std::collections::BTreeSet;

/// The replicas that a fault makes Byzantine.
fn concerned(fault: &Fault) -> Option<&Pattern> {
    let mut values = fault.values().filter(|_| fault.class() == FaultClass::Byzantine);
    values.find_map(|(_, value)| match value {
        Value::Pattern(pattern) => Some(pattern),
        _ => None,
    })
}

/// The error of a fault of replicas where there are none.
pub(super) fn there_are_none(place: &str, given: impl ToString) -> SpecError {
    let expected = "an engine with replicas that can be Byzantine, of which this one has none (sim faults \
                    --engine NAME says how many there are)";
    SpecError::bad(place, given, expected)
}

/// Whether no group has more Byzantine replicas under these faults than it tolerates.
pub(super) fn are_tolerated<'a>(
    faults: impl Iterator<Item = &'a Fault>,
    groups: &[ReplicaGroup],
) -> bool {
    let patterns: Vec<&Pattern> = faults.filter_map(concerned).collect();
    groups.iter().all(|group| {
        let is_byzantine = |member: &&String| patterns.iter().any(|p| p.matches(member));
        let byzantine: BTreeSet<&String> = group.members.iter().filter(is_byzantine).collect();
        byzantine.len() <= group.tolerates as usize
    })
}

/// The budget of a run with these faults: without Byzantine replicas if there are more than are tolerated.
pub(crate) fn budget_under(
    budget: &FaultBudget,
    faults: &[Fault],
    targets: &Targets,
) -> FaultBudget {
    let mut budget = budget.clone();
    if !are_tolerated(faults.iter(), &targets.groups) {
        budget.survives.retain(|class| *class != FaultClass::Byzantine);
    }
    budget
}

impl Targets {
    /// The names of all replicas.
    pub(super) fn replica_names(groups: &[ReplicaGroup]) -> Vec<String> {
        groups.iter().flat_map(|group| group.members.iter().cloned()).collect()
    }

    /// What those replicas can be made to do that match.
    pub(super) fn behaviours(&self, replica: &Pattern) -> Vec<String> {
        let concerned = |group: &&ReplicaGroup| group.members.iter().any(|m| replica.matches(m));
        let known: BTreeSet<&str> = self
            .groups
            .iter()
            .filter(concerned)
            .flat_map(|group| group.behaviours)
            .copied()
            .collect();
        known.into_iter().map(str::to_owned).collect()
    }

    /// How many replicas of which groups may be Byzantine, in words.
    pub fn tolerance(&self) -> Vec<String> {
        let of = |group: &ReplicaGroup| {
            let (all, first) = (group.members.len(), group.members.first());
            let first = first.map_or("none", String::as_str);
            format!("{} of the {all} replicas {first}, ...", group.tolerates)
        };
        self.groups.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn targets(tolerates: u32) -> Targets {
        let group = |subnet: u32| ReplicaGroup {
            members: (0..7).map(|n| format!("replica-{subnet}-{n}")).collect(),
            tolerates,
            behaviours: &["withhold", "lie"],
        };
        Targets { groups: vec![group(0), group(1)], ..Targets::default() }
    }

    fn faults(texts: &[&str]) -> Vec<Fault> {
        let fault = |text: &&str| {
            let text = format!("byzantine:replica={text},behaviour=lie,at=1s,for=1s");
            text.parse().expect("a fault")
        };
        texts.iter().map(fault).collect()
    }

    /// Two in each group are tolerated, one of them twice; a third is not, even after the others.
    #[test]
    fn replicas_are_counted_by_group_over_the_whole_run() {
        let covers = |texts: &[&str]| {
            let all =
                FaultBudget { survives: vec![FaultClass::Byzantine], heals_within: Duration::ZERO };
            budget_under(&all, &faults(texts), &targets(2)).covers(FaultClass::Byzantine)
        };
        assert!(covers(&["3", "5", "replica-0-3", "3"]), "a number is of each group");
        assert!(covers(&["replica-0-1", "replica-1-2", "replica-0-2", "replica-1-1"]));
        assert!(!covers(&["replica-0-1", "replica-0-2", "replica-0-3"]));
        assert!(!covers(&["replica-1-*"]));
    }
}
