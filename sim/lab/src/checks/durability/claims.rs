//! What was said in a run, and to which rule each of it belongs.

use crate::checks::Evidence;
use crate::history::{ClientRequest, Told};
use crate::recorder::Outcome;
use rustc_hash::{FxHashMap, FxHashSet};
use sim_model::graph::{Graph, Progress, WorkItemKind};
use sim_model::id::InstanceId;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use std::collections::BTreeMap;

/// What was said of one instance.
#[derive(Clone, Debug)]
pub(super) enum Claim {
    /// It ended, with a result of this hash: the engine reported it.
    Reported(u64, Outcome, Timestamp),
    /// It ended like this: a client was told who waited for it.
    Told(RuntimeStatus, Timestamp),
    /// It had ended like this: a client was told who asked for its status.
    Read(RuntimeStatus, Timestamp),
    /// Its start was accepted.
    Accepted(Timestamp),
    /// It is an entity in this state, after so many committed steps.
    Entity(Option<Payload>, usize, Timestamp),
}

impl Claim {
    /// The rule that a claim belongs to.
    pub(super) fn rule(&self) -> Rule {
        match self {
            Claim::Read(..) => Rule::DurableReads,
            Claim::Reported(..) | Claim::Told(..) | Claim::Accepted(_) | Claim::Entity(..) => {
                Rule::Durability
            }
        }
    }
}

/// The rules that are judged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Durability,
    DurableReads,
}

impl Rule {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Rule::Durability => "durability",
            Rule::DurableReads => "durable-reads",
        }
    }

    /// What holds where nothing was found.
    pub(super) fn kept(self, instances: usize) -> String {
        match self {
            Rule::Durability => format!("{instances} instances are as was told"),
            Rule::DurableReads => format!("{instances} orchestrations ended as was read"),
        }
    }
}

/// Everything that was said in a run.
pub(crate) struct Claims(pub(super) BTreeMap<InstanceId, Vec<Claim>>);

impl Claims {
    /// The claims of a run that has come to rest.
    pub(crate) fn of(evidence: &Evidence<'_>) -> Claims {
        let Evidence { graph, at: now, recording, orchestrations, history, .. } = *evidence;
        let mut claims: BTreeMap<InstanceId, Vec<Claim>> = BTreeMap::new();
        for (index, hash) in recording.end_hashes.iter().enumerate() {
            let record = &recording.records[index];
            if let Some(hash) = hash {
                let instance = orchestrations.instance(index as u64);
                let claim = Claim::Reported(*hash, record.outcome, record.last_updated);
                claims.entry(instance).or_default().push(claim);
            }
        }
        let mut starts: FxHashMap<&InstanceId, Timestamp> = FxHashMap::default();
        let mut removed: FxHashSet<InstanceId> =
            graph.removed().map(|(instance, _)| graph.instance(instance).clone()).collect();
        for operation in history {
            match operation.request {
                ClientRequest::Start { .. } => {
                    let last = starts.entry(&operation.instance).or_default();
                    *last = operation.invoked.max(*last);
                }
                ClientRequest::Purge => {
                    removed.insert(operation.instance.clone());
                }
                _ => {}
            }
        }
        for operation in history {
            let Some((at, told)) = &operation.answer else { continue };
            let claim = match (&operation.request, told) {
                (ClientRequest::Start { .. }, Told::Accepted) => Claim::Accepted(*at),
                (
                    request @ (ClientRequest::Wait | ClientRequest::Status),
                    Told::State(Some(state)),
                ) if state.status.is_final()
                    && starts.get(&operation.instance).is_none_or(|start| start < at) =>
                {
                    let claim = match request {
                        ClientRequest::Wait => Claim::Told,
                        _ => Claim::Read,
                    };
                    claim(state.status.clone(), *at)
                }
                _ => continue,
            };
            claims.entry(operation.instance.clone()).or_default().push(claim);
        }
        for (instance, state, steps) in entity_states(graph) {
            let claim = Claim::Entity(state, steps, now);
            claims.entry(graph.instance(instance).clone()).or_default().push(claim);
        }
        claims.retain(|instance, _| !removed.contains(instance));
        Claims(claims)
    }

    /// Of how many instances something was said that belongs to a rule.
    pub(super) fn count(&self, rule: Rule) -> usize {
        self.0.values().filter(|said| said.iter().any(|claim| claim.rule() == rule)).count()
    }
}

/// The state of each entity after its last committed step, and how many it has had.
pub(super) fn entity_states(graph: &Graph) -> Vec<(u32, Option<Payload>, usize)> {
    let mut last: BTreeMap<u32, (u32, Option<Payload>, usize)> = BTreeMap::new();
    for step in graph.entities().steps() {
        let item = graph.item(step.item);
        let (Progress::Committed(order), WorkItemKind::Step { instance, .. }) =
            (item.progress, item.kind)
        else {
            continue;
        };
        let state = step.state.clone().filter(|_| !item.ends_life);
        let entry = last.entry(instance).or_insert((order, None, 0));
        entry.2 += 1;
        if order >= entry.0 {
            (entry.0, entry.1) = (order, state);
        }
    }
    last.into_iter().map(|(instance, (_, state, steps))| (instance, state, steps)).collect()
}
