//! The history of each entity, from the record of work items and from what clients asked.

use crate::history::{ClientOperation, ClientRequest, Told};
use rustc_hash::FxHashMap;
use sim_model::engine::ClientMessage;
use sim_model::entity::Operation;
use sim_model::error::ApplicationResult;
use sim_model::graph::checks::in_commit_order;
use sim_model::graph::entities::{Asked, EntityStep};
use sim_model::graph::{Graph, Progress, WorkItem, WorkItemKind};
use sim_model::history::EventId;
use sim_model::id::{EntityId, InstanceId, MessageId, WorkItemId};
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use std::collections::BTreeMap;

/// Who asked for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A step.
    Step(WorkItemId),
    /// A client on this host.
    Client(usize),
}

/// What a caller saw of its call.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// When it had the answer for certain.
    pub(super) at: Timestamp,
    pub(super) result: ApplicationResult,
    /// The step that consumed the answer.
    pub(super) by: WorkItemId,
}

/// An operation of an entity.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) operation: Operation,
    pub(super) origin: Origin,
    pub(super) invoked: Timestamp,
    pub(super) observed: Option<Observed>,
    /// The instant that it saw when it ran, if a committed step ran it.
    pub(super) ran_at: Option<Timestamp>,
}

/// A status read of a client.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) host: usize,
    pub(super) invoked: Timestamp,
    pub(super) responded: Timestamp,
    pub(super) seen: Option<Payload>,
}

/// An operation as a committed step ran it.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    /// The operation of the history that this was; none if nobody asked for it, or asked once and
    /// it ran before.
    pub(super) op: Option<usize>,
    pub(super) operation: Operation,
}

/// A committed step of an entity.
#[derive(Clone, Debug)]
pub(super) struct StepRun {
    pub(super) now: Timestamp,
    pub(super) ran: Vec<Ran>,
    pub(super) state: Option<Payload>,
}

/// Everything seen and known of one entity.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) entity: EntityId,
    pub(super) ops: Vec<Op>,
    pub(super) reads: Vec<Read>,
    /// Whether a client asked to remove it.
    pub(super) purged: bool,
    /// Its committed steps, in the order of their commits.
    pub(super) steps: Vec<StepRun>,
}

impl Object {
    fn new(entity: EntityId) -> Object {
        Object { entity, ops: Vec::new(), reads: Vec::new(), purged: false, steps: Vec::new() }
    }

    /// Whether anybody saw anything of it.
    pub(super) fn is_observed(&self) -> bool {
        !self.reads.is_empty() || self.ops.iter().any(|op| op.observed.is_some())
    }
}

fn is_committed(item: &WorkItem) -> bool {
    matches!(item.progress, Progress::Committed(_))
}

/// The histories of all entities, in the order in which they were first heard of. Of an engine that `exactly` commits its steps once, what an attempt
/// asked that was given up is no part of it.
pub(super) fn objects(graph: &Graph, clients: &[ClientOperation], exactly: bool) -> Vec<Object> {
    let mut objects = Objects { graph, objects: BTreeMap::new(), strangers: FxHashMap::default() };
    let called = objects.requests(exactly);
    objects.answers(&called);
    objects.clients(clients);
    objects.steps(&called);
    objects.objects.into_values().collect()
}

/// Where the operation of a call is: by its caller and the number of its decision.
type Called = FxHashMap<(u32, EventId), (u32, usize)>;

struct Objects<'a> {
    graph: &'a Graph,
    /// By the graph's index of the entity.
    objects: BTreeMap<u32, Object>,
    /// Entities that only clients have named, with indices beyond those of the graph.
    strangers: FxHashMap<InstanceId, u32>,
}

impl<'a> Objects<'a> {
    /// The object of an entity that the graph knows; none if the instance is no entity.
    fn of(&mut self, index: u32) -> Option<&mut Object> {
        use std::collections::btree_map::Entry;
        match self.objects.entry(index) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) => {
                let entity = EntityId::of(self.graph.instance(index))?;
                Some(entry.insert(Object::new(entity)))
            }
        }
    }

    /// The object of an entity that a client has named.
    fn named(&mut self, instance: &InstanceId) -> Option<&mut Object> {
        if !instance.is_entity() {
            return None;
        }
        if let Some(index) = self.graph.index_of(instance) {
            return self.of(index);
        }
        let entity = EntityId::of(instance)?;
        let next = (self.graph.instances() + self.strangers.len()) as u32;
        let index = *self.strangers.entry(instance.clone()).or_insert(next);
        Some(self.objects.entry(index).or_insert_with(|| Object::new(entity)))
    }

    fn requests(&mut self, exactly: bool) -> Called {
        let graph = self.graph;
        let mut called: Called = FxHashMap::default();
        for sent in graph.entities().requests() {
            let Asked::Operation(operation) = &sent.asked else { continue };
            let item = graph.item(sent.by);
            if exactly && !is_committed(item) {
                continue;
            }
            let invoked = item.fetched_at;
            let Some(object) = self.of(sent.entity) else { continue };
            let key = operation
                .caller
                .as_ref()
                .and_then(|caller| Some((graph.index_of(&caller.instance)?, caller.event_id)));
            let known = key.and_then(|key| called.get(&key));
            if let Some((_, known)) = known.filter(|(entity, _)| *entity == sent.entity) {
                // Another attempt at the same step: the first may have been heard.
                let op = &mut object.ops[*known];
                op.invoked = op.invoked.min(invoked);
                continue;
            }
            if let Some(key) = key {
                called.insert(key, (sent.entity, object.ops.len()));
            }
            object.ops.push(Op {
                operation: operation.clone(),
                origin: Origin::Step(sent.by),
                invoked,
                observed: None,
                ran_at: None,
            });
        }
        called
    }

    fn answers(&mut self, called: &Called) {
        let graph = self.graph;
        let answers = graph.entities().answers();
        if answers.is_empty() {
            return;
        }
        let by_message: FxHashMap<MessageId, usize> =
            answers.iter().enumerate().map(|(index, answer)| (answer.message, index)).collect();
        for id in in_commit_order(graph) {
            let item = graph.item(id);
            if !matches!(item.kind, WorkItemKind::Step { .. }) {
                continue;
            }
            for message in graph.consumed(item) {
                let Some(answer) = by_message.get(message).map(|index| &answers[*index]) else {
                    continue;
                };
                let Some((entity, op)) = called.get(&(answer.to, answer.event_id)) else {
                    continue;
                };
                let (at, result) = (item.fetched_at, answer.result.clone());
                let Some(op) = self.of(*entity).map(|object| &mut object.ops[*op]) else {
                    continue;
                };
                op.observed.get_or_insert(Observed { at, result, by: id });
            }
        }
    }

    fn clients(&mut self, clients: &[ClientOperation]) {
        for ClientOperation { host, instance, request, invoked, answer } in clients {
            let Some(object) = self.named(instance) else { continue };
            match (request, answer) {
                (ClientRequest::Send(_), Some((_, Told::Refused(_)))) => {}
                (ClientRequest::Send(ClientMessage::Signal { operation, input, at }), _) => {
                    let (name, input, scheduled) = (operation.clone(), input.clone(), *at);
                    let operation =
                        Operation { name, input, caller: None, section: None, scheduled };
                    object.ops.push(Op {
                        operation,
                        origin: Origin::Client(*host),
                        invoked: *invoked,
                        observed: None,
                        ran_at: None,
                    });
                }
                (ClientRequest::Status, Some((responded, Told::State(state)))) => {
                    let seen = state.as_ref().and_then(|state| state.entity_state.clone());
                    let (host, invoked, responded) = (*host, *invoked, *responded);
                    object.reads.push(Read { host, invoked, responded, seen });
                }
                (ClientRequest::Purge, _) => object.purged = true,
                _ => {}
            }
        }
    }

    /// The committed steps, and which operations of the histories they ran. Signals that ask the
    /// same are interchangeable: the first that ran is the one that was asked for first.
    fn steps(&mut self, called: &Called) {
        let graph = self.graph;
        let committed = |step: &&EntityStep| is_committed(graph.item(step.item));
        let mut steps: Vec<&EntityStep> =
            graph.entities().steps().iter().filter(committed).collect();
        steps.sort_by_key(|step| match graph.item(step.item).progress {
            Progress::Committed(order) => order,
            _ => u32::MAX,
        });
        let mut by_entity: BTreeMap<u32, Vec<&EntityStep>> = BTreeMap::new();
        for step in steps {
            if let WorkItemKind::Step { instance, .. } = graph.item(step.item).kind {
                by_entity.entry(instance).or_default().push(step);
            }
        }
        for (instance, steps) in by_entity {
            let Some(object) = self.of(instance) else { continue };
            if !object.is_observed() {
                continue;
            }
            let mut signals = Signals::of(&object.ops);
            for step in steps {
                let served = &step.served;
                let ran = served.operations.iter().map(|operation| {
                    let op = match &operation.caller {
                        None => signals.next(operation),
                        Some(caller) => graph
                            .index_of(&caller.instance)
                            .and_then(|caller_index| called.get(&(caller_index, caller.event_id)))
                            .filter(|(entity, _)| *entity == instance)
                            .map(|(_, op)| *op),
                    };
                    let op = op.filter(|op| object.ops[*op].ran_at.is_none());
                    if let Some(op) = op {
                        object.ops[op].ran_at = Some(served.now);
                    }
                    Ran { op, operation: operation.clone() }
                });
                let (ran, now) = (ran.collect(), served.now);
                object.steps.push(StepRun { now, ran, state: step.state.clone() });
            }
        }
    }
}

/// The signals to one entity that have not run, by what they ask.
struct Signals(FxHashMap<(String, String), std::vec::IntoIter<usize>>);

impl Signals {
    fn of(ops: &[Op]) -> Signals {
        let mut signals: FxHashMap<(String, String), Vec<usize>> = FxHashMap::default();
        for (index, op) in ops.iter().enumerate().filter(|(_, op)| op.operation.caller.is_none()) {
            signals.entry(Signals::key(&op.operation)).or_default().push(index);
        }
        let in_turn = signals.into_iter().map(|(key, mut indices)| {
            indices.sort_by_key(|index| (ops[*index].invoked, *index));
            (key, indices.into_iter())
        });
        Signals(in_turn.collect())
    }

    fn key(operation: &Operation) -> (String, String) {
        (operation.name.to_string(), operation.input.as_str().to_owned())
    }

    fn next(&mut self, operation: &Operation) -> Option<usize> {
        self.0.get_mut(&Signals::key(operation))?.next()
    }
}
