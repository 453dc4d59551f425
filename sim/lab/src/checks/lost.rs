//! What steps that were lost have left in entities: whether someone asks one of them for ever, and in vain.
//!
//! An engine that sends before what it sends is final lets an entity take a request of a step that is lost
//! afterwards. The step runs again, asks again, and its first request has nobody who knows of it: a
//! permit of a semaphore is given to it, and never comes back. Who then asks for a permit is answered each time,
//! asks again, and never ends. No message of it is lost, and every step is right.
//!
//! An orchestration *asks in vain* if its last [`ASKED_AGAIN`] answers, all of them given lately, came from one
//! entity, to the same operation with the same input, with the same result. So the engine serves it, and an
//! engine that has lost a message does not pass for this.
//!
//! An entity *misled* someone if its own code, run through what its committed steps ran but for the operations
//! that steps which were lost had asked for, would have answered a call otherwise. So these operations
//! are the reason, and a lost step that changed nothing is none. Which of several requests of one decision ran
//! first is taken from the order in which the entity consumed them.
//!
//! Everything is read off the record of work items; looked at only if something did not end.

use rustc_hash::{FxHashMap, FxHashSet};
use sim_model::application::Application;
use sim_model::entity::{Operation, SequentialEntity};
use sim_model::error::ApplicationResult;
use sim_model::graph::checks::in_commit_order;
use sim_model::graph::entities::{Asked, EntityStep};
use sim_model::graph::{Graph, Progress, WorkItemKind};
use sim_model::history::EventId;
use sim_model::id::{EntityId, InstanceId, WorkItemId};
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// How often in a row the same has to be asked, and answered, for a caller to ask in vain: more than chance, and
/// few enough for a caller whose messages lie in idle queues for half a minute each.
const ASKED_AGAIN: usize = 5;

/// A decision: its caller, as an index into the graph's names, and its number.
type Decision = (u32, EventId);

/// An answer to a call.
struct Answer<'a> {
    entity: u32,
    at: Timestamp,
    asked: &'a Operation,
    result: &'a ApplicationResult,
}

impl Answer<'_> {
    fn is_like(&self, other: &Answer<'_>) -> bool {
        self.entity == other.entity
            && self.asked.name == other.asked.name
            && self.asked.input == other.asked.input
            && self.result == other.result
    }
}

/// What entities answered, and whom they misled.
pub(super) struct LostEffects<'a> {
    graph: &'a Graph,
    /// The answers of committed steps to each caller, in the order of their commits.
    answers: FxHashMap<u32, Vec<Answer<'a>>>,
    /// Entities, and whom they misled.
    misled: FxHashSet<(u32, u32)>,
}

impl<'a> LostEffects<'a> {
    /// Runs the entities of `graph` again that steps which were lost have asked.
    pub(super) fn of(graph: &'a Graph, application: &Application) -> LostEffects<'a> {
        let mut steps: BTreeMap<u32, Vec<&EntityStep>> = BTreeMap::new();
        let of_entities: FxHashMap<WorkItemId, &EntityStep> =
            graph.entities().steps().iter().map(|step| (step.item, step)).collect();
        for id in in_commit_order(graph) {
            if let (Some(step), Some(entity)) = (of_entities.get(&id), instance_of(graph, id)) {
                steps.entry(entity).or_default().push(step);
            }
        }
        let mut misled = FxHashSet::default();
        for (entity, steps) in &steps {
            let callers = callers_misled(graph, application, *entity, steps);
            misled.extend(callers.into_iter().map(|caller| (*entity, caller)));
        }
        LostEffects { graph, answers: answers(graph), misled }
    }

    /// The entity that `caller` asks in vain, by answers that were given from `since` on.
    pub(super) fn asked_in_vain(&self, caller: &InstanceId, since: Timestamp) -> Option<u32> {
        let answers = self.answers.get(&self.graph.index_of(caller)?)?;
        let last = answers.get(answers.len().checked_sub(ASKED_AGAIN)?..)?;
        let same = |answer: &Answer<'_>| answer.at >= since && answer.is_like(&last[0]);
        last.iter().all(same).then_some(last[0].entity)
    }

    /// Whether `entity` misled `caller`.
    pub(super) fn has_misled(&self, entity: u32, caller: &InstanceId) -> bool {
        let caller = self.graph.index_of(caller);
        caller.is_some_and(|caller| self.misled.contains(&(entity, caller)))
    }
}

fn is_committed(graph: &Graph, id: WorkItemId) -> bool {
    matches!(graph.item(id).progress, Progress::Committed(_))
}

fn instance_of(graph: &Graph, step: WorkItemId) -> Option<u32> {
    match graph.item(step).kind {
        WorkItemKind::Step { instance, .. } => Some(instance),
        WorkItemKind::Task => None,
    }
}

fn decision(graph: &Graph, operation: &Operation) -> Option<Decision> {
    let caller = operation.caller.as_ref()?;
    Some((graph.index_of(&caller.instance)?, caller.event_id))
}

/// The answers of committed steps to calls, by caller.
fn answers(graph: &Graph) -> FxHashMap<u32, Vec<Answer<'_>>> {
    let log = graph.entities();
    let mut asked: FxHashMap<Decision, &Operation> = FxHashMap::default();
    for sent in log.requests() {
        if let Asked::Operation(operation) = &sent.asked
            && let Some(decision) = decision(graph, operation)
        {
            asked.insert(decision, operation);
        }
    }
    let mut answers: FxHashMap<u32, Vec<Answer<'_>>> = FxHashMap::default();
    for answer in log.answers().iter().filter(|answer| is_committed(graph, answer.by)) {
        let of = (asked.get(&(answer.to, answer.event_id)), instance_of(graph, answer.by));
        if let (Some(asked), Some(entity)) = of {
            let at = graph.item(answer.by).fetched_at;
            let answer_of = Answer { entity, at, asked, result: &answer.result };
            answers.entry(answer.to).or_default().push(answer_of);
        }
    }
    answers
}

/// The callers that would have been answered otherwise by an entity with these committed steps, had it not run
/// what steps that were lost had asked of it.
fn callers_misled(
    graph: &Graph,
    application: &Application,
    entity: u32,
    steps: &[&EntityStep],
) -> Vec<u32> {
    let mut requests = requests_taken(graph, entity, steps);
    let (Some(id), true) = (
        EntityId::of(graph.instance(entity)),
        requests.values().any(|requests| requests.contains(&true)),
    ) else {
        return Vec::new();
    };
    let [mut as_it_ran, mut without] =
        [(); 2].map(|()| SequentialEntity::new(application, id.clone(), None));
    let mut misled = Vec::new();
    for step in steps {
        for operation in &step.served.operations {
            let now = step.served.now;
            let result = as_it_ran.run(operation, now);
            let decision = decision(graph, operation);
            let taken = decision.and_then(|decision| requests.get_mut(&decision));
            let is_lost = taken.and_then(VecDeque::pop_front) == Some(true);
            if !is_lost && without.run(operation, now) != result {
                misled.extend(decision.map(|(caller, _)| caller));
            }
        }
        if as_it_ran.store().is_err() || without.store().is_err() {
            return Vec::new();
        }
    }
    misled
}

/// The requests for operations that steps of an entity consumed, in that order, by decision: whether the
/// step that sent them was lost.
fn requests_taken(
    graph: &Graph,
    entity: u32,
    steps: &[&EntityStep],
) -> FxHashMap<Decision, VecDeque<bool>> {
    let of_entity = graph.entities().requests().iter().filter(|sent| sent.entity == entity);
    let mut open: FxHashMap<_, _> = of_entity.map(|sent| (sent.message, sent)).collect();
    let mut taken: FxHashMap<Decision, VecDeque<bool>> = FxHashMap::default();
    for step in steps {
        for message in graph.consumed(graph.item(step.item)) {
            // A second copy of a message is none of a second request.
            let Some(sent) = open.remove(message) else { continue };
            if let Asked::Operation(operation) = &sent.asked
                && let Some(decision) = decision(graph, operation)
            {
                taken.entry(decision).or_default().push_back(!is_committed(graph, sent.by));
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests;
