//! Durability: what was said stays so. Once a run has come to rest, the states of all instances are read
//! again and held against everything that was told before.
//!
//! - An orchestration whose end the engine reported, or a client was told, has ended in the same way.
//! - An instance whose start was accepted is known.
//! - An entity has the state that its last committed step left.
//!
//! All of them are read by one query; what is missing or different there is asked for once more by
//! itself, after faults for as long as the engine may take to be well again: a replica that was away may
//! not know yet. This happens after the event trail has ended and everything has been measured, so it
//! changes no digest and costs nothing that is reported. Instances that a client or the application
//! has removed or started again are left out: what was told of their former lives is no claim.
//!
//! An engine that does not promise durability is only observed. An engine that does not answer has
//! contradicted nothing: then the rule is not judged.

use super::{Check, Verdict};
use crate::history::{ClientOperation, ClientRequest, Told};
use crate::recorder::{Outcome, Recording, hash_of_end};
use crate::run::rest::Healing;
use crate::workload::{EntityStates, Orchestrations};
use rustc_hash::{FxHashMap, FxHashSet};
use sim_model::engine::{Client, InstanceState};
use sim_model::graph::{Graph, GraphRecorder, Progress, WorkItemKind};
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use sim_world::kernel::Kernel;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How long to wait before a question is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Most virtual time that reading everything again may take.
const READ_BOUND: Duration = Duration::from_secs(600);
/// How many instances are asked for once more.
const ASKED_AGAIN_MAX: usize = 32;

/// What was said of one instance.
#[derive(Clone, Debug)]
enum Claim {
    /// It ended, with a result of this hash: the engine reported it.
    Reported(u64, Outcome, Timestamp),
    /// It ended like this: a client was told.
    Told(RuntimeStatus, Timestamp),
    /// Its start was accepted.
    Accepted(Timestamp),
    /// It is an entity in this state, after so many committed steps.
    Entity(Option<Payload>, usize, Timestamp),
}

/// Everything that was said in a run.
pub(crate) struct Claims(BTreeMap<InstanceId, Vec<Claim>>);

impl Claims {
    /// The claims of a run that has come to rest at `now`.
    pub(crate) fn of(
        graph: &Graph,
        recording: &Recording,
        orchestrations: &Orchestrations,
        history: &[ClientOperation],
        now: Timestamp,
    ) -> Claims {
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
                (ClientRequest::Wait | ClientRequest::Status, Told::State(Some(state)))
                    if state.status.is_final()
                        && starts.get(&operation.instance).is_none_or(|start| start < at) =>
                {
                    Claim::Told(state.status.clone(), *at)
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

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// What the last committed steps of these entities left, if each was told as one of its committed steps has left it.
pub(super) fn last_states(graph: &Graph, told: &EntityStates) -> Option<EntityStates> {
    let committed = Later::of(graph);
    let last = |(entity, state): (&EntityId, &Option<Payload>)| {
        let instance = entity.instance_id();
        let last = committed.last(&instance);
        let is_one = *state == last || committed.has(&instance, 0, state.as_ref());
        is_one.then(|| (entity.clone(), last))
    };
    told.iter().map(last).collect()
}

/// The state of each entity after its last committed step, and how many it has had.
fn entity_states(graph: &Graph) -> Vec<(u32, Option<Payload>, usize)> {
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

/// The check of a run that cannot be judged.
pub(crate) fn not_judged() -> Check {
    let detail = "not judged: the run did not come to rest".to_owned();
    Check::new("durability", Verdict::Observed, detail)
}

/// Reads everything again, and holds it against the claims.
pub(crate) async fn check(
    kernel: &Kernel,
    client: Rc<dyn Client>,
    graph: &GraphRecorder,
    claims: Claims,
    promised: bool,
    mut healing: Healing,
) -> Check {
    let broken = if promised { Verdict::Fail } else { Verdict::Observed };
    // The first question may go over a connection that broke long ago, unnoticed.
    let asking = async {
        loop {
            match client.query(Default::default()).await {
                Err(error) if error.is_transient() => kernel.sleep(ASK_AGAIN).await,
                answer => return answer,
            }
        }
    };
    let read = kernel.timeout(READ_BOUND, asking).await;
    let states: FxHashMap<InstanceId, InstanceState> = match read {
        Some(Ok(states)) => states.into_iter().collect(),
        Some(Err(error)) => {
            let detail = format!("not judged: nothing can be read: {error}");
            return Check::new("durability", Verdict::Observed, detail);
        }
        None => {
            let detail = format!("not judged: nothing was read within {} s", READ_BOUND.as_secs());
            return Check::new("durability", Verdict::Observed, detail);
        }
    };
    let mut breaches = Vec::new();
    // What entities have done since is looked at only where something differs.
    let later = Later(FxHashMap::default());
    for (instance, said) in &claims.0 {
        let state = states.get(instance);
        if said.iter().any(|claim| contradiction(instance, claim, state, &later).is_some()) {
            breaches.push((instance, said));
        }
    }
    let mut first = None;
    let mut count = 0;
    for (number, (instance, said)) in breaches.into_iter().enumerate() {
        // A query may miss what changes meanwhile: the instance itself has the last word.
        if number >= ASKED_AGAIN_MAX {
            count += 1;
            continue;
        }
        let mut state = states.get(instance).cloned();
        let problem = loop {
            let answer = kernel.timeout(READ_BOUND, client.status(instance.clone())).await;
            if let Some(Ok(answer)) = answer {
                state = answer;
            }
            let later = Later::of(&graph.graph());
            let problem = said.iter().find_map(|claim| {
                Some((claim, contradiction(instance, claim, state.as_ref(), &later)?))
            });
            if problem.is_none() || !healing.goes_on().await {
                break problem;
            }
        };
        if let Some((claim, problem)) = problem {
            count += 1;
            first
                .get_or_insert_with(|| (problem, history(instance, claim, state.as_ref(), kernel)));
        }
    }
    match first {
        None => {
            let detail = format!("{} instances are as was told", claims.count());
            Check::new("durability", Verdict::Pass, detail)
        }
        Some((first, history)) => {
            let detail = format!("{count} breaches, first: {first}");
            Check::new("durability", broken, detail).with_history(history)
        }
    }
}

/// The states that entities had after each of their committed steps: an application may go on after a run has
/// come to rest.
struct Later(FxHashMap<InstanceId, Vec<Option<Payload>>>);

impl Later {
    fn of(graph: &Graph) -> Later {
        let mut later: FxHashMap<InstanceId, Vec<(u32, Option<Payload>)>> = FxHashMap::default();
        for step in graph.entities().steps() {
            let item = graph.item(step.item);
            if let (Progress::Committed(order), WorkItemKind::Step { instance, .. }) =
                (item.progress, item.kind)
            {
                let state = step.state.clone().filter(|_| !item.ends_life);
                later.entry(graph.instance(instance).clone()).or_default().push((order, state));
            }
        }
        let in_order = later.into_iter().map(|(instance, mut states)| {
            states.sort_by_key(|(order, _)| *order);
            (instance, states.into_iter().map(|(_, state)| state).collect())
        });
        Later(in_order.collect())
    }

    fn last(&self, instance: &InstanceId) -> Option<Payload> {
        self.0.get(instance).and_then(|states| states.last().cloned().flatten())
    }

    fn has(&self, instance: &InstanceId, after: usize, state: Option<&Payload>) -> bool {
        let states = self.0.get(instance).map_or(&[][..], |states| &states[..]);
        states.iter().skip(after).any(|later| later.as_ref() == state)
    }
}

fn shown(status: &RuntimeStatus) -> String {
    match status {
        RuntimeStatus::Completed(result) => {
            let result: String = result.as_str().chars().take(60).collect();
            format!("completed with {result}")
        }
        RuntimeStatus::Failed(error) => format!("failed with {error}"),
        RuntimeStatus::Terminated(reason) => format!("terminated: {reason}"),
        RuntimeStatus::Running => "running".to_owned(),
        RuntimeStatus::Suspended => "suspended".to_owned(),
    }
}

fn present(state: Option<&InstanceState>) -> String {
    state.map_or_else(|| "not known".to_owned(), |state| shown(&state.status))
}

/// What is wrong with the present state of an instance, if something is.
fn contradiction(
    instance: &InstanceId,
    claim: &Claim,
    state: Option<&InstanceState>,
    later: &Later,
) -> Option<String> {
    let status = state.map(|state| &state.status);
    match claim {
        Claim::Accepted(_) => {
            let problem = || format!("the start of {instance} was accepted, and it is not known");
            state.is_none().then(problem)
        }
        Claim::Told(told, _) => (status != Some(told))
            .then(|| format!("{instance} was told as {}, and is {}", shown(told), present(state))),
        Claim::Reported(hash, outcome, _) => {
            let same =
                status.is_some_and(|status| status.is_final() && hash_of_end(status) == *hash);
            let word = outcome.name();
            (!same).then(|| format!("{instance} was reported as {word}, and is {}", present(state)))
        }
        Claim::Entity(last, steps, _) => {
            let now = state.and_then(|state| state.entity_state.as_ref());
            let same = now == last.as_ref() || later.has(instance, *steps, now);
            let words = |state: Option<&Payload>| {
                let text = state.map_or("no state", |state| state.as_str());
                text.chars().take(60).collect::<String>()
            };
            (!same).then(|| {
                let (last, now) = (words(last.as_ref()), words(now));
                format!("the last committed step of {instance} left {last}, and it has {now}")
            })
        }
    }
}

fn history(
    instance: &InstanceId,
    claim: &Claim,
    state: Option<&InstanceState>,
    kernel: &Kernel,
) -> Vec<String> {
    let (at, said) = match claim {
        Claim::Accepted(at) => {
            (at, format!("a client is told that the start of {instance} is accepted"))
        }
        Claim::Told(status, at) => {
            (at, format!("a client is told that {instance} is {}", shown(status)))
        }
        Claim::Reported(_, outcome, at) => {
            (at, format!("the engine reports that {instance} is {}", outcome.name()))
        }
        Claim::Entity(state, _, at) => {
            let state = state.as_ref().map_or("no state", |state| state.as_str());
            (
                at,
                format!(
                    "the run has come to rest; the last committed step of {instance} left {state}"
                ),
            )
        }
    };
    let now = match state {
        None => format!("{instance} is not known"),
        Some(InstanceState { status, entity_state, last_updated, .. }) => {
            let entity = entity_state.as_ref().map_or("", |state| state.as_str());
            format!("{instance} is {} {entity}, last updated at {last_updated}", shown(status))
        }
    };
    vec![format!("{at}  {said}"), format!("{}  {now}", kernel.now())]
}

#[cfg(test)]
mod tests;
