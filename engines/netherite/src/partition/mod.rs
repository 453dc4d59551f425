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
mod balancing;
mod dedup;
mod outbox;
mod requests;
mod session;
mod steps;
mod timers;

pub(crate) use activities::ActivityWork;
pub(crate) use outbox::Outgoing;

use crate::event::{BatchProcessed, LoadInformation, Origin, PartitionEvent, RequestId};
use crate::settings::Config;
use activities::Activities;
use bytes::Bytes;
use dedup::Dedup;
use indexmap::IndexMap;
use outbox::Outbox;
use rustc_hash::{FxBuildHasher, FxHashMap};
use session::Session;
use sim_model::codec;
use sim_model::engine::{Completion, InstanceState};
use sim_model::history::{HistoryEvent, next_event_id};
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::ledger::{Category, Ledger};
use sim_model::message::InstanceMessage;
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use steps::step_work;
use timers::Timers;

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
    /// Submit a decision about the backlog of activities, so long from now.
    PlanOffload(Duration),
    /// Another timer than before is the next to fire.
    SetAlarm,
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
    /// A client has removed an entity.
    Removed(InstanceId),
}

/// An instance of the partition.
struct Instance {
    state: InstanceState,
    /// The history as encoded episodes.
    episodes: Vec<Bytes>,
    waiting: Vec<RequestId>,
}

impl Instance {
    fn has_ended(&self) -> bool {
        self.state.status.is_final()
    }
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
    instances: IndexMap<InstanceId, Instance, FxBuildHasher>,
    sessions: FxHashMap<InstanceId, Session>,
    next_session: u64,
    activities: Activities,
    timers: Timers,
    outbox: Outbox,
    dedup: Dedup,
    /// Sessions whose next batch waits until a log position is durable.
    barriers: VecDeque<(u64, u64, InstanceId)>,
    awaiting_persistence: BTreeMap<u64, Box<BatchProcessed>>,
    commits: VecDeque<(u64, Commit)>,
    /// Where episodes are encoded before they are stored.
    scratch: Vec<u8>,
}

impl Partition {
    pub(crate) fn new(index: u32, partitions: u32, config: Config) -> Partition {
        Partition {
            index,
            partitions,
            activities: Activities::new(config.placement, config.activity_queue_limit),
            config,
            instances: IndexMap::default(),
            sessions: FxHashMap::default(),
            next_session: 0,
            timers: Timers::default(),
            outbox: Outbox::default(),
            barriers: VecDeque::new(),
            dedup: Dedup::default(),
            awaiting_persistence: BTreeMap::new(),
            commits: VecDeque::new(),
            scratch: Vec::new(),
        }
    }

    /// How many instances the partition holds.
    pub(crate) fn instance_count(&self) -> usize {
        self.instances.len()
    }

    /// How many activities were moved to other partitions.
    pub(crate) fn moved_activities(&self) -> u64 {
        self.activities.moved()
    }

    /// How many timers have fired.
    pub(crate) fn timers_fired(&self) -> u64 {
        self.timers.fired()
    }

    /// When the next timer is due.
    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.next_due()
    }

    /// The event that fires a timer whose time has come.
    pub(crate) fn take_due_timer(&mut self, now: Timestamp) -> Option<PartitionEvent> {
        self.timers.take_due(now).map(|timer| PartitionEvent::TimerFired { timer })
    }

    /// What to tell the load monitor now, if anything.
    pub(crate) fn load_report(&mut self, now: Timestamp) -> Option<LoadInformation> {
        self.activities.report(self.index, now)
    }

    /// The history of an instance, for a replay.
    pub(crate) fn history(&self, instance: &InstanceId) -> Vec<HistoryEvent> {
        let episodes = self.instances.get(instance).map(|found| found.episodes.as_slice());
        let decode = |episode: &Bytes| -> Vec<HistoryEvent> {
            codec::decode(episode).expect("invariant: episodes in memory decode")
        };
        episodes.unwrap_or_default().iter().flat_map(decode).collect()
    }

    /// Applies the event at log position `position`; a read-only event has none.
    pub(crate) fn process(
        &mut self,
        position: u64,
        event: PartitionEvent,
        handling: Handling,
        effects: &mut Vec<Effect>,
    ) {
        let read_only = !event.is_logged();
        let mut out = Outgoing { position, ..Outgoing::default() };
        self.apply(event, handling, &mut out, effects);
        if read_only {
            effects.push(Effect::Send(out));
        } else if self.config.outbox_after_durability {
            self.outbox.add(out);
        } else if !out.is_empty() {
            effects.push(Effect::Send(self.outbox.sending(out)));
        }
    }

    fn apply(
        &mut self,
        event: PartitionEvent,
        handling: Handling,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        match event {
            PartitionEvent::StateRequestReceived { request, instance } => {
                out.clients.push((request.client, self.state_of(request, &instance)));
            }
            PartitionEvent::InstanceQueryReceived { request, query } => {
                out.clients.push((request.client, self.select(request, &query)));
            }
            PartitionEvent::CreationRequestReceived { request, phase, message } => {
                self.create(request, phase, message, handling, out, effects);
            }
            PartitionEvent::WaitRequestReceived { request, phase, instance } => {
                self.wait(request, phase, instance, out, effects);
            }
            PartitionEvent::DeletionRequestReceived { request, phase, instance } => {
                self.delete(request, phase, instance, out, effects);
            }
            PartitionEvent::ClientTaskMessagesReceived { message } => {
                self.deliver(message, handling, effects);
            }
            PartitionEvent::TimerFired { timer } => {
                if let Some(message) = self.timers.fire(timer) {
                    self.deliver(message, handling, effects);
                }
            }
            PartitionEvent::TaskMessagesReceived { origin, messages } => {
                if self.admit(origin) {
                    for message in messages {
                        self.deliver(message, handling, effects);
                    }
                }
            }
            PartitionEvent::RemoteActivityResultReceived { origin, response } => {
                if self.admit(origin) {
                    self.deliver(response, handling, effects);
                }
            }
            PartitionEvent::ActivityTransferReceived { origin, decided, activities } => {
                if self.admit(origin) {
                    let from = origin.partition;
                    self.receive_activities(from, decided, activities, handling, effects);
                }
            }
            PartitionEvent::ActivityCompleted(completed) => {
                self.activity_completed(*completed, handling, out, effects);
            }
            PartitionEvent::OffloadDecision { decided } => {
                self.offload(decided, handling, out, effects);
            }
            PartitionEvent::SolicitationReceived { asked } => self.activities.solicited(asked),
            PartitionEvent::TransferCommandReceived { decided, count, destination } => {
                self.transfer(decided, (count, destination), handling, out);
            }
            PartitionEvent::BatchProcessed(batch) => {
                self.batch_processed(batch, handling, out, effects);
            }
            PartitionEvent::SendConfirmed { position } => self.outbox.confirm(position),
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
        self.remove_barriers(durable, effects);
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
        if self.instances.get(&message.target).is_none_or(Instance::has_ended) {
            if !message.creates_instance() {
                effects.push(Effect::Discarded(message.id));
                return;
            }
            message.number_decisions_from(next_event_id(&self.history(&message.target)));
            let state = InstanceState::of_message(&message);
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

    /// Whether an event of another partition is new, or has to be taken for new.
    fn admit(&mut self, origin: Origin) -> bool {
        self.dedup.admit(origin) || !self.config.dedup
    }
}

#[cfg(test)]
mod tests;
