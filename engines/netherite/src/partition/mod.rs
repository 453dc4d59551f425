//! The state of one partition, as a plain state machine.
//!
//! **What it models.** The tracked objects of the published engine (instances with their history,
//! sessions, activities, outbox, dedup) and the one deterministic function that applies an event to
//! them. The owner appends an event to the log, applies it here, and carries out the effects; it
//! tells the machine when a log position has become durable. There is no clock and no I/O: instants
//! come in with the events.
//!
//! **Speculation.** With `local`, the effects of a step inside the partition begin when its event is
//! applied, before it is durable. With `none`, a step's event is applied twice: the first time it is
//! only remembered; once durable it is submitted again and its effects begin.
//!
//! Source: microsoft/durabletask-netherite, `PartitionState/`; Burckhardt et al., VLDB 2022, 5.

mod activities;
mod dedup;
mod outbox;
mod session;

pub(crate) use activities::ActivityWork;
pub(crate) use outbox::Outgoing;

use crate::event::{BatchProcessed, ClientEvent, PartitionEvent, Phase, RequestId};
use crate::placement::partition_of;
use crate::settings::{Config, Speculation};
use activities::Activities;
use bytes::Bytes;
use dedup::Dedup;
use indexmap::IndexMap;
use outbox::Outbox;
use rustc_hash::{FxBuildHasher, FxHashMap};
use session::{Batch, Session};
use sim_model::codec;
use sim_model::engine::{Completion, InstanceState};
use sim_model::history::HistoryEvent;
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::ledger::{Category, Ledger};
use sim_model::message::InstanceMessage;
use sim_model::orchestration::RuntimeStatus;
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// A step to execute.
pub(crate) struct StepWork {
    pub instance: InstanceId,
    pub session: u64,
    pub batch_start: u64,
    pub messages: Vec<InstanceMessage>,
}

/// What the owner has to do after applying an event.
pub(crate) enum Effect {
    /// Execute a step on the host.
    StartStep(StepWork),
    /// Execute an activity on the host.
    StartActivity(ActivityWork),
    /// Submit an event to this partition.
    Submit(PartitionEvent),
    /// Hand messages and answers to the transport.
    Send(Outgoing),
    /// A work item became final.
    Committed(WorkItemId),
    /// A step was given up: its session was replaced.
    Aborted(WorkItemId),
    /// An orchestration's end became final.
    Completed(Completion),
    /// A message has no taker.
    Discarded(MessageId),
}

/// An instance of the partition.
struct Instance {
    state: InstanceState,
    /// The history as encoded episodes.
    episodes: Vec<Bytes>,
    waiting: Vec<RequestId>,
}

/// What becomes final with the log.
enum Commit {
    WorkItem(WorkItemId),
    Completion(Box<Completion>),
}

/// When an event was handled: it queued until `begun` and held a core until `ended`.
#[derive(Clone, Copy)]
pub(crate) struct Handling {
    pub begun: Timestamp,
    pub ended: Timestamp,
    /// Whether the host's queue of activities is below its limit.
    pub host_has_room: bool,
}

impl Handling {
    fn charge(&self, ledger: &mut Ledger) {
        ledger.charge(Category::Queueing, self.begun);
        ledger.charge(Category::Cpu, self.ended);
    }
}

/// The tracked objects of a partition.
pub(crate) struct Partition {
    index: u32,
    partitions: u32,
    config: Config,
    instances: FxHashMap<InstanceId, Instance>,
    sessions: FxHashMap<InstanceId, Session>,
    next_session: u64,
    activities: Activities,
    outbox: Outbox,
    dedup: Dedup,
    awaiting_persistence: BTreeMap<u64, Box<BatchProcessed>>,
    commits: VecDeque<(u64, Commit)>,
}

impl Partition {
    pub(crate) fn new(index: u32, partitions: u32, config: Config) -> Partition {
        Partition {
            index,
            partitions,
            config,
            instances: FxHashMap::default(),
            sessions: FxHashMap::default(),
            next_session: 0,
            activities: Activities::default(),
            outbox: Outbox::default(),
            dedup: Dedup::default(),
            awaiting_persistence: BTreeMap::new(),
            commits: VecDeque::new(),
        }
    }

    /// How many instances the partition holds.
    pub(crate) fn instance_count(&self) -> usize {
        self.instances.len()
    }

    /// The history of an instance, for a replay.
    pub(crate) fn history(&self, instance: &InstanceId) -> Vec<HistoryEvent> {
        let episodes = self.instances.get(instance).map(|found| found.episodes.as_slice());
        let decode = |episode: &Bytes| -> Vec<HistoryEvent> {
            codec::decode(episode).expect("invariant: episodes in memory decode")
        };
        episodes.unwrap_or_default().iter().flat_map(decode).collect()
    }

    /// Applies the event at log position `position`.
    pub(crate) fn process(
        &mut self,
        position: u64,
        event: PartitionEvent,
        handling: Handling,
        effects: &mut Vec<Effect>,
    ) {
        let mut out = Outgoing { position, ..Outgoing::default() };
        match event {
            PartitionEvent::CreationRequestReceived {
                request,
                phase: Phase::Read,
                mut message,
            } => {
                // Reading the instance is the first phase; the request is logged again to be
                // processed. All instances are in memory, so the read ends at once.
                handling.charge(&mut message.ledger);
                let phase = Phase::ConfirmAndProcess;
                let event = PartitionEvent::CreationRequestReceived { request, phase, message };
                effects.push(Effect::Submit(event));
            }
            PartitionEvent::CreationRequestReceived { request, message, .. } => {
                let created = !self.instances.contains_key(&message.target);
                self.deliver(message, handling, effects);
                out.clients.push((request.client, ClientEvent::Creation { request, created }));
            }
            PartitionEvent::WaitRequestReceived { request, phase: Phase::Read, instance } => {
                let phase = Phase::ConfirmAndProcess;
                let event = PartitionEvent::WaitRequestReceived { request, phase, instance };
                effects.push(Effect::Submit(event));
            }
            PartitionEvent::WaitRequestReceived { request, instance, .. } => {
                self.wait(request, &instance, &mut out);
            }
            PartitionEvent::StateRequestReceived { request, instance } => {
                let state = self.instances.get(&instance).map(|found| found.state.clone());
                let answer = ClientEvent::State { request, state };
                out.clients.push((request.client, answer));
                effects.push(Effect::Send(out));
                return;
            }
            PartitionEvent::TaskMessagesReceived { origin, position, sub_position, messages } => {
                let new = self.dedup.admit(origin, position, sub_position);
                if new || !self.config.dedup {
                    for message in messages {
                        self.deliver(message, handling, effects);
                    }
                }
            }
            PartitionEvent::ActivityCompleted { activity, work_item, response } => {
                self.activity_completed(
                    position,
                    activity,
                    (work_item, response),
                    handling,
                    effects,
                );
            }
            PartitionEvent::BatchProcessed(batch) => {
                self.batch_processed(batch, handling, &mut out, effects);
            }
            PartitionEvent::SendConfirmed { position } => self.outbox.confirm(position),
        }
        if self.config.outbox_after_durability {
            self.outbox.add(out);
        } else if !out.is_empty() {
            effects.push(Effect::Send(self.outbox.sending(out)));
        }
    }

    /// The log is durable up to (not including) `durable`.
    pub(crate) fn became_durable(
        &mut self,
        durable: u64,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        while self.commits.front().is_some_and(|(position, _)| *position < durable) {
            let (_, commit) = self.commits.pop_front().expect("invariant: the front was seen");
            effects.push(match commit {
                Commit::WorkItem(item) => Effect::Committed(item),
                Commit::Completion(completion) => Effect::Completed(*completion),
            });
        }
        let later = self.awaiting_persistence.split_off(&durable);
        for mut batch in std::mem::replace(&mut self.awaiting_persistence, later).into_values() {
            batch.persisted = true;
            let mut event = PartitionEvent::BatchProcessed(batch);
            event.charge(|ledger| ledger.charge(Category::Commit, now));
            effects.push(Effect::Submit(event));
        }
        for mut outgoing in self.outbox.release(durable) {
            for (_, event) in &mut outgoing.partitions {
                event.charge(|ledger| ledger.charge(Category::Commit, now));
            }
            effects.push(Effect::Send(outgoing));
        }
    }

    /// Puts a message into its instance's session, and starts a step if none is in progress.
    fn deliver(
        &mut self,
        mut message: InstanceMessage,
        handling: Handling,
        effects: &mut Vec<Effect>,
    ) {
        handling.charge(&mut message.ledger);
        let known = self.instances.get(&message.target);
        let ended = known.is_some_and(|instance| instance.state.status.is_final());
        if ended || known.is_some() == message.starts_instance() {
            effects.push(Effect::Discarded(message.id));
            return;
        }
        if message.starts_instance() {
            let created = message.event.timestamp;
            let status = RuntimeStatus::Running;
            let state = InstanceState { created, last_updated: created, status };
            let instance = Instance { state, episodes: Vec::new(), waiting: Vec::new() };
            self.instances.insert(message.target.clone(), instance);
        }
        let target = message.target.clone();
        let next_session = &mut self.next_session;
        let session = self.sessions.entry(target.clone()).or_insert_with(|| {
            *next_session += 1;
            Session::new(*next_session)
        });
        if let Some(batch) = session.push(message) {
            effects.push(Effect::StartStep(step_work(target, session.id, batch)));
        }
    }

    fn wait(&mut self, request: RequestId, instance: &InstanceId, out: &mut Outgoing) {
        let Some(found) = self.instances.get_mut(instance) else {
            let answer = ClientEvent::State { request, state: None };
            out.clients.push((request.client, answer));
            return;
        };
        if found.state.status.is_final() {
            let answer = ClientEvent::End { request, state: found.state.clone() };
            out.clients.push((request.client, answer));
        } else {
            found.waiting.push(request);
        }
    }

    fn activity_completed(
        &mut self,
        position: u64,
        activity: u64,
        (work_item, response): (WorkItemId, InstanceMessage),
        handling: Handling,
        effects: &mut Vec<Effect>,
    ) {
        if self.activities.complete(activity).is_none() {
            effects.push(Effect::Aborted(work_item));
            return;
        }
        self.commits.push_back((position, Commit::WorkItem(work_item)));
        self.deliver(response, handling, effects);
        effects.extend(self.activities.next(handling.host_has_room).map(Effect::StartActivity));
    }

    fn batch_processed(
        &mut self,
        mut batch: Box<BatchProcessed>,
        handling: Handling,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        let session = self.sessions.get(&batch.instance).map(|session| session.id);
        if session != Some(batch.session) {
            effects.push(Effect::Aborted(batch.work_item));
            return;
        }
        if !batch.persisted {
            self.commits.push_back((out.position, Commit::WorkItem(batch.work_item)));
            if self.config.speculation == Speculation::None {
                batch.activities.iter_mut().for_each(|task| handling.charge(&mut task.ledger));
                batch.messages.iter_mut().for_each(|message| handling.charge(&mut message.ledger));
                self.awaiting_persistence.insert(out.position, batch);
                return;
            }
        }
        self.write_back(&batch, out);
        for mut task in batch.activities.drain(..) {
            handling.charge(&mut task.ledger);
            let started = self.activities.add(task, handling.host_has_room);
            effects.extend(started.map(Effect::StartActivity));
        }
        self.route(std::mem::take(&mut batch.messages), handling, out, effects);
        self.continue_session(&batch, effects);
        if batch.persisted && !out.is_empty() {
            // The step is durable already: nothing to wait for.
            let sent = self.outbox.sending(std::mem::take(out));
            effects.push(Effect::Send(sent));
        }
    }

    /// Writes the step's episode and status to its instance, and answers whoever waits for an end.
    fn write_back(&mut self, batch: &BatchProcessed, out: &mut Outgoing) {
        let instance =
            self.instances.get_mut(&batch.instance).expect("invariant: a stepped instance exists");
        instance.episodes.push(codec::encode(&batch.new_events));
        instance.state.last_updated = batch.timestamp;
        instance.state.status = batch.status.clone();
        if !batch.status.is_final() {
            return;
        }
        for request in instance.waiting.drain(..) {
            let answer = ClientEvent::End { request, state: instance.state.clone() };
            out.clients.push((request.client, answer));
        }
        let completion = Completion {
            instance: batch.instance.clone(),
            created: instance.state.created,
            last_updated: instance.state.last_updated,
            status: batch.status.clone(),
            ledger: batch.ledger,
        };
        self.commits.push_back((out.position, Commit::Completion(Box::new(completion))));
    }

    /// Delivers messages within the partition, and packs the others by destination.
    fn route(
        &mut self,
        messages: Vec<InstanceMessage>,
        handling: Handling,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        let mut remote: IndexMap<u32, Vec<InstanceMessage>, FxBuildHasher> = IndexMap::default();
        for mut message in messages {
            let target = partition_of(&message.target, self.partitions);
            if target == self.index {
                self.deliver(message, handling, effects);
            } else {
                handling.charge(&mut message.ledger);
                remote.entry(target).or_default().push(message);
            }
        }
        for (target, messages) in remote {
            for (sub_position, packed) in messages.chunks(self.config.pack_messages).enumerate() {
                let event = PartitionEvent::TaskMessagesReceived {
                    origin: self.index,
                    position: out.position,
                    sub_position: sub_position as u32,
                    messages: packed.to_vec(),
                };
                out.partitions.push((target, event));
            }
        }
    }

    /// Removes the consumed messages; starts the next step, or closes the session of an instance
    /// that has ended.
    fn continue_session(&mut self, batch: &BatchProcessed, effects: &mut Vec<Effect>) {
        let session = self.sessions.get_mut(&batch.instance).expect("invariant: it was checked");
        let next = session.consume(batch.batch_start, batch.batch_length as usize);
        if batch.status.is_final() {
            let session = self.sessions.remove(&batch.instance).expect("invariant: it was checked");
            effects.extend(session.into_rest().map(|message| Effect::Discarded(message.id)));
        } else if let Some(next) = next {
            effects.push(Effect::StartStep(step_work(batch.instance.clone(), session.id, next)));
        }
    }
}

fn step_work(instance: InstanceId, session: u64, batch: Batch) -> StepWork {
    StepWork { instance, session, batch_start: batch.start, messages: batch.messages }
}

#[cfg(test)]
mod tests;
