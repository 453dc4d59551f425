//! What an instance that has not ended waits for, from the record of work items.
//!
//! Looked at in this order, and the first that applies is told: an attempt at a step of the instance
//! that was begun and not settled; a message to it that nobody has consumed (an answer in flight, a timer);
//! something that it sent and that has not come back: a call of an activity, a request to an entity
//! (and who holds its lock), an orchestration that it started. If nothing of it is open, it waits
//! for something nobody has sent, such as an external event.
//!
//! **Assumption.** A call is answered by the message that the model says; an engine that has lost one
//! shows as waiting for it. An orchestration that was started and has not ended is taken for one
//! whose end is awaited, also where nobody waits for it.

use super::entities::{Asked, EntityAnswer, EntityRequestSent, EntityStep};
use super::numbers::Column;
use super::words::{name, on, recipient};
use super::{Graph, Progress, Target, WorkItemKind};
use crate::entity::SectionId;
use crate::history::EventId;
use crate::id::{EntityId, InstanceId, MessageId, Producer, WorkItemId};
use crate::time::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

/// How many instances a chain of waiting is followed through.
const DEPTH_MAX: usize = 3;

/// What an instance waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The kind of thing, as a word of results: `step`, `message`, `timer`, `activity`, `lock`,
    /// `entity`, `orchestration`, `start`, `event`.
    pub kind: &'static str,
    /// Since when, if that is known.
    pub since: Option<Timestamp>,
    /// Whether it waits for locks that a critical section holds: somebody else's, or its own, which was not told.
    pub held: bool,
    /// What, for a person.
    pub detail: String,
}

impl Waiting {
    /// Waiting for something that no critical section holds.
    pub fn new(kind: &'static str, since: Option<Timestamp>, detail: String) -> Waiting {
        Waiting { kind, since, held: false, detail }
    }
}

/// The open ends of a graph. Making it costs a pass over the graph.
pub struct OpenEnds<'a> {
    graph: &'a Graph,
    now: Timestamp,
    /// The committed consumer of each message.
    consumer: Column,
    /// The last attempt at consuming each message, however it ended.
    attempt: Column,
    /// The steps of each instance, and the messages to it that nobody consumed.
    steps: Vec<Vec<WorkItemId>>,
    inbound: Vec<Vec<MessageId>>,
    answered: FxHashSet<(u32, EventId)>,
    locked_by: FxHashMap<u32, Option<SectionId>>,
    asked: FxHashMap<MessageId, &'a Asked>,
}

impl<'a> OpenEnds<'a> {
    /// The open ends of `graph` at `now`.
    pub fn of(graph: &'a Graph, now: Timestamp) -> OpenEnds<'a> {
        let mut ends = OpenEnds {
            graph,
            now,
            consumer: Column::new(graph),
            attempt: Column::new(graph),
            steps: vec![Vec::new(); graph.instances()],
            inbound: vec![Vec::new(); graph.instances()],
            answered: FxHashSet::default(),
            locked_by: FxHashMap::default(),
            asked: FxHashMap::default(),
        };
        let is_committed =
            |id: WorkItemId| matches!(graph.item(id).progress, Progress::Committed(_));
        for (id, item) in graph.items() {
            for message in graph.consumed(item) {
                ends.attempt.set(message, id.0);
                if is_committed(id) {
                    ends.consumer.set(message, id.0);
                }
            }
            if let WorkItemKind::Step { instance, .. } = item.kind {
                ends.steps[instance as usize].push(id);
            }
        }
        let dropped: FxHashSet<&MessageId> = graph.discarded().iter().collect();
        for (id, item) in graph.items().filter(|(id, _)| is_committed(*id)) {
            for index in 0..item.produced {
                let message = MessageId { producer: Producer::WorkItem(id), index };
                let open = ends.consumer.get(&message).is_none() && !dropped.contains(&message);
                if let Some(Target::Instance(target)) = graph.target(&message).filter(|_| open) {
                    ends.inbound[target as usize].push(message);
                }
            }
        }
        let log = graph.entities();
        // An answer that was dropped came to nobody.
        let told =
            |answer: &&EntityAnswer| is_committed(answer.by) && !dropped.contains(&answer.message);
        let answers = log.answers().iter().filter(told);
        ends.answered.extend(answers.map(|answer| (answer.to, answer.event_id)));
        for step in log.steps().iter().filter(|step| is_committed(step.item)) {
            if let WorkItemKind::Step { instance, .. } = graph.item(step.item).kind {
                ends.locked_by.insert(instance, step.served.locked_by.clone());
            }
        }
        ends.asked.extend(log.requests().iter().map(|sent| (sent.message, &sent.asked)));
        ends
    }

    /// What `instance` waits for.
    pub fn waiting(&self, instance: &InstanceId) -> Waiting {
        match self.graph.index_of(instance) {
            Some(index) => self.look(index, 0),
            None => never_fetched(),
        }
    }

    fn look(&self, index: u32, depth: usize) -> Waiting {
        let steps = &self.steps[index as usize];
        let found = self.open_step(steps).or_else(|| self.open_message(index));
        let found = found.or_else(|| self.open_request(index, steps, depth));
        found.unwrap_or_else(|| match steps.is_empty() {
            true => never_fetched(),
            false => {
                let last = steps.iter().rev().map(|step| self.graph.item(*step).settled_at);
                let what = "an external event, or another message that nobody has sent".to_owned();
                Waiting::new("event", last.flatten().next(), what)
            }
        })
    }

    /// An attempt at a step that was begun and not settled, after the last step that was committed: those
    /// before it were lost, and another attempt has taken their place.
    fn open_step(&self, steps: &[WorkItemId]) -> Option<Waiting> {
        let progress = |id: &WorkItemId| self.graph.item(*id).progress;
        let latest =
            steps.iter().rev().take_while(|id| !matches!(progress(id), Progress::Committed(_)));
        let mut open =
            latest.filter(|id| matches!(progress(id), Progress::Fetched | Progress::Executed));
        let id = *open.next()?;
        Some(self.open_item("step", "its step", id))
    }

    fn open_item(&self, kind: &'static str, what: &str, id: WorkItemId) -> Waiting {
        let item = self.graph.item(id);
        let detail = match (item.progress, item.executed) {
            (Progress::Executed, executed) => {
                let place = executed.and_then(|moment| moment.place);
                let at = executed.map_or(item.fetched_at, |moment| moment.at);
                let on = on(self.graph, place);
                format!("{what}, {id}, executed{on} at {at} and not committed")
            }
            (Progress::Aborted, _) => {
                let at = item.settled_at.unwrap_or(item.fetched_at);
                format!("{what}, {id}, given up at {at} and not tried again")
            }
            (_, _) => {
                let on = on(self.graph, item.fetched_on);
                format!("{what}, {id}, fetched{on} at {} and not executed", item.fetched_at)
            }
        };
        Waiting::new(kind, Some(item.fetched_at), detail)
    }

    fn sent_at(&self, message: &MessageId) -> Option<Timestamp> {
        match message.producer {
            Producer::Client => self.graph.client_sent_at(message.index),
            Producer::WorkItem(id) => {
                let item = self.graph.item(id);
                Some(item.executed.map_or(item.fetched_at, |moment| moment.at))
            }
        }
    }

    /// A message to the instance that nobody has consumed: one that is in flight before a timer.
    fn open_message(&self, index: u32) -> Option<Waiting> {
        let inbound = &self.inbound[index as usize];
        let later = |message: &MessageId| self.graph.due(message).filter(|due| *due > self.now);
        if let Some(message) = inbound.iter().find(|message| later(message).is_none()) {
            let from = match message.producer {
                Producer::WorkItem(id) => name(self.graph, id),
                Producer::Client => "a client".to_owned(),
            };
            let mut detail = format!("{message} from {from}, in flight");
            if let Some(due) = self.graph.due(message) {
                detail = format!("a timer that was due at {due} and has not fired ({message})");
            }
            if let Some(last) = self.attempt.get(message) {
                let attempt = self.open_item("step", "the last attempt", WorkItemId(last));
                detail += &format!(": {}", attempt.detail);
            }
            return Some(Waiting::new("message", self.sent_at(message), detail));
        }
        let (message, due) = inbound
            .iter()
            .filter_map(|message| Some((message, later(message)?)))
            .min_by_key(|(_, due)| *due)?;
        let since = self.sent_at(message);
        Some(Waiting::new("timer", since, format!("a timer due at {due}")))
    }

    /// Something that the instance has sent and that has not come back.
    fn open_request(&self, index: u32, steps: &[WorkItemId], depth: usize) -> Option<Waiting> {
        for id in steps.iter().rev() {
            let item = self.graph.item(*id);
            if !matches!(item.progress, Progress::Committed(_)) {
                continue;
            }
            for number in (0..item.produced).rev() {
                let message = MessageId { producer: Producer::WorkItem(*id), index: number };
                let open = match self.graph.target(&message) {
                    Some(Target::TaskQueue) => self.open_call(&message),
                    Some(Target::Instance(target)) if target != index => {
                        self.open_start_or_entity(index, target, &message, depth)
                    }
                    _ => None,
                };
                if open.is_some() {
                    return open;
                }
            }
            if item.ends_life {
                break;
            }
        }
        None
    }

    /// A call of an activity that has not been committed.
    fn open_call(&self, call: &MessageId) -> Option<Waiting> {
        if self.consumer.get(call).is_some() {
            return None;
        }
        Some(match self.attempt.get(call) {
            Some(attempt) => self.open_item("activity", "an activity", WorkItemId(attempt)),
            None => {
                let what = format!("an activity that was called by {call} and not fetched");
                Waiting::new("activity", self.sent_at(call), what)
            }
        })
    }

    fn open_start_or_entity(
        &self,
        index: u32,
        target: u32,
        message: &MessageId,
        depth: usize,
    ) -> Option<Waiting> {
        let since = self.sent_at(message);
        let to = self.graph.instance(target);
        let in_flight = self.consumer.get(message).is_none();
        if let Some(asked) = self.asked.get(message) {
            let (event_id, of, kind) = match asked {
                Asked::Operation(operation) => {
                    let caller = operation.caller.as_ref()?;
                    (caller.event_id, format!("the answer of {to} to {}", operation.name), "entity")
                }
                Asked::Lock(section) => {
                    (section.event_id, "the grant of its locks".to_owned(), "lock")
                }
            };
            if self.answered.contains(&(index, event_id)) {
                return None;
            }
            let mut detail = of;
            let holder = if in_flight { None } else { self.holder(asked, target) };
            let holder = holder.or_else(|| self.overtaken(asked, target, message));
            let held = holder.is_some();
            if in_flight {
                detail += &format!(": {message} to {to} is in flight");
            } else if let Some(holder) = holder {
                detail += &format!(": {holder}");
            }
            return Some(Waiting { kind, since, held, detail });
        }
        if to.is_entity() {
            return None;
        }
        let steps = &self.steps[target as usize];
        let ended = steps.iter().any(|step| {
            let item = self.graph.item(*step);
            item.ends_life && matches!(item.progress, Progress::Committed(_))
        });
        if ended || depth >= DEPTH_MAX {
            return None;
        }
        let (held, inner) = match in_flight {
            true => (false, format!("{message}{} is in flight", recipient(self.graph, message))),
            false => {
                let inner = self.look(target, depth + 1);
                (inner.held, format!("it waits for {}", inner.detail))
            }
        };
        let detail = format!("the end of {to}: {inner}");
        Some(Waiting { kind: "orchestration", since, held, detail })
    }

    /// An operation that came to its entity before its critical section had the lock there, which it has now: the
    /// operation is behind requests for the lock that others have made, and those wait for the section. So
    /// it is if an attempt at a step of an entity was lost that had granted a lock. The operation may even come
    /// with the request for its own lock, which was handed to the attempt that was lost and comes again.
    fn overtaken(&self, asked: &Asked, entity: u32, message: &MessageId) -> Option<String> {
        let Asked::Operation(operation) = asked else { return None };
        let own = operation.section.as_ref()?;
        let taken = WorkItemId(self.consumer.get(message)?);
        let log = self.graph.entities();
        let mut steps: Vec<_> =
            log.steps().iter().filter(|step| self.is_of(step, entity)).collect();
        steps.sort_by_key(|step| self.committed_as(step.item));
        let at = steps.iter().position(|step| step.item == taken)?;
        let lock = |step: &'a EntityStep| step.served.locked_by.as_ref();
        let then = at.checked_sub(1).and_then(|before| lock(steps[before]));
        let has_run = steps.iter().any(|step| step.served.operations.contains(operation));
        let holders: Vec<&SectionId> = steps.iter().filter_map(|step| lock(step)).collect();
        let is_behind = |sent: &EntityRequestSent| match &sent.asked {
            Asked::Lock(section) if sent.entity == entity && !holders.contains(&section) => {
                let by = self.consumer.get(&sent.message).map(WorkItemId);
                by.is_some_and(|by| self.committed_as(by) <= self.committed_as(taken))
            }
            _ => false,
        };
        let has_lock = steps.last().and_then(|step| lock(step)) == Some(own);
        let others_wait = log.requests().iter().any(is_behind);
        if has_run || !has_lock || then == Some(own) || !others_wait {
            return None;
        }
        let then = then.map_or("not locked".to_owned(), |then| format!("locked by {then}"));
        let entity = self.graph.instance(entity);
        Some(format!("{entity} was {then} when it came, and others wait for the lock"))
    }

    /// Whether a step is a committed one of the entity with this index.
    fn is_of(&self, step: &EntityStep, entity: u32) -> bool {
        let kind = self.graph.item(step.item).kind;
        let is_own = matches!(kind, WorkItemKind::Step { instance, .. } if instance == entity);
        is_own && self.committed_as(step.item).is_some()
    }

    /// The number of a work item among those that were committed.
    fn committed_as(&self, id: WorkItemId) -> Option<u32> {
        match self.graph.item(id).progress {
            Progress::Committed(number) => Some(number),
            _ => None,
        }
    }

    /// Who holds the lock that a request runs into: at the first of the entities from `entity` on, in
    /// the order in which a critical section locks them, that is locked by someone else.
    fn holder(&self, asked: &Asked, entity: u32) -> Option<String> {
        let own = match asked {
            Asked::Operation(operation) => operation.section.as_ref(),
            Asked::Lock(section) => Some(section),
        };
        let locked = |index: u32| {
            let holder = self.locked_by.get(&index)?.as_ref()?;
            (Some(holder) != own)
                .then(|| format!("{} is locked by {holder}", self.graph.instance(index)))
        };
        if let Some(holder) = locked(entity) {
            return Some(holder);
        }
        // The request may have gone on from one entity to the next.
        let Asked::Lock(section) = asked else { return None };
        let requests = self.graph.entities().requests().iter();
        let passed_on =
            requests.filter(|sent| matches!(&sent.asked, Asked::Lock(of) if of == section));
        let reached =
            passed_on.max_by_key(|sent| EntityId::of(self.graph.instance(sent.entity)))?;
        locked(reached.entity).or_else(|| {
            let to = self.graph.instance(reached.entity);
            Some(format!("its request has reached {to}"))
        })
    }
}

fn never_fetched() -> Waiting {
    let detail = "its first step, which was never fetched".to_owned();
    Waiting::new("start", None, detail)
}

#[cfg(test)]
mod tests;
