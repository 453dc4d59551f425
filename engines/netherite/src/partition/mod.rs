//! The state of one partition, as a plain state machine.
//!
//! **What it models.** The tracked objects of the published engine (instances with their history,
//! sessions, activities, outbox, dedup) and the one deterministic function that applies an event to
//! them. The owner appends an event to the log, applies it here, and carries out the effects; it
//! tells the machine when a log position has become durable. There is no clock and no I/O: instants
//! come in with the events.
//!
//! **Recovery.** The state is what the events make of it. A checkpoint is its encoding at a log
//! position (`recovery.rs`); applying the rest of the log to it, with all effects dropped, gives the
//! same state again. Then what was under way starts anew.
//!
//! **Memory.** Instances may lie in storage (`store.rs`): the owner loads those that an event needs
//! ([`Partition::needs`]) before it applies it.
//!
//! **Speculation.** With `local`, the effects of a step inside the partition begin when its event is
//! applied, before it is durable. With `none`, a step's event is applied twice: the first time it is
//! only remembered; once durable it is submitted again and its effects begin. With `global`,
//! messages to other partitions leave at once too (`speculation.rs`), and what is durable is *committed*
//! only when everything it depends on is; otherwise what is durable is committed.
//!
//! Source: microsoft/durabletask-netherite, `PartitionState/`; Burckhardt et al., VLDB 2022, 5.

mod activities;
mod balancing;
mod dedup;
mod outbox;
mod recovery;
mod requests;
mod session;
mod speculation;
mod steps;
mod store;
mod timers;

pub(crate) use activities::ActivityWork;
pub(crate) use outbox::Outgoing;
pub(crate) use recovery::Snapshot;
pub(crate) use speculation::Origins;
pub(crate) use store::{Address, SegmentId};

use crate::event::{
    BatchProcessed, Input, InputPosition, LoadInformation, Origin, PartitionEvent, Positions,
    RequestId,
};
use crate::settings::{Config, Speculation as Mode};
use activities::Activities;
use dedup::Dedup;
use indexmap::IndexMap;
use outbox::Outbox;
use rustc_hash::FxBuildHasher;
use session::Session;
use sim_model::codec;
use sim_model::engine::{Completion, InstanceState};
use sim_model::history::{HistoryEvent, next_event_id};
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::ledger::{Category, Ledger};
use sim_model::message::InstanceMessage;
use sim_model::time::Timestamp;
use speculation::{Consequence, Speculation, Verdict};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use steps::step_work;
use store::{Instance, InstanceStore};
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
    /// Hand an event that is not kept to the transport.
    Tell(u32, PartitionEvent),
    /// Tell the load monitor what has been received.
    Report(Positions),
    /// What was taken in at this log position is void: the partition has to roll back.
    RollBack(u64),
    /// A work item whose event is at this log position became final.
    Committed(u64, WorkItemId),
    /// A step was given up: its session was replaced.
    Aborted(WorkItemId),
    /// An orchestration's end, at this log position, became final.
    Completed(u64, Box<Completion>),
    /// A message has no taker.
    Discarded(MessageId),
    /// A client has removed an entity.
    Removed(InstanceId),
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
        let turn = Category::Queueing.because("waited for the partition to take it in");
        ledger.charge(turn, self.begun);
        ledger.charge(Category::Cpu.because("a core took it into the partition"), self.ended);
    }
}

/// Which incarnation of a partition a state belongs to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Incarnation {
    /// First position and number of each incarnation of the partition, this one last.
    pub epochs: Vec<(u64, u32)>,
    /// What is known of other partitions.
    pub origins: Origins,
    /// With speculation `global`, nothing is sent early before this instant.
    pub cautious_until: Timestamp,
}

/// The tracked objects of a partition.
pub(crate) struct Partition {
    index: u32,
    partitions: u32,
    config: Config,
    /// First position and number of each incarnation, this one last.
    epochs: Vec<(u64, u32)>,
    instances: InstanceStore,
    sessions: IndexMap<InstanceId, Session, FxBuildHasher>,
    next_session: u64,
    activities: Activities,
    timers: Timers,
    outbox: Outbox,
    dedup: Dedup,
    /// Where in the input queue to go on.
    input: InputPosition,
    /// The second phases of client requests whose first phase was applied.
    prefetch: BTreeMap<RequestId, PartitionEvent>,
    /// Steps that wait to be durable before their effects begin.
    awaiting_persistence: BTreeMap<u64, Box<BatchProcessed>>,
    /// Those before this position were submitted again.
    resubmitted: u64,
    speculation: Speculation,
    /// Up to where the log is durable, and up to where it is committed.
    durable: u64,
    committed: u64,
    /// Sessions whose next batch waits until a log position is durable.
    barriers: VecDeque<(u64, u64, InstanceId)>,
    commits: VecDeque<(u64, Commit)>,
    /// The position of the last event that was applied, if any was.
    applied: Option<u64>,
    /// Answers to questions about the state that wait until what they saw is committed.
    answers: VecDeque<(u64, Outgoing)>,
    /// Reports to the load monitor that wait until a log position is committed.
    reports: VecDeque<(u64, Positions)>,
    /// What the last report said was received.
    reported: Vec<(u32, u64, u32)>,
    /// Where episodes are encoded before they are stored.
    scratch: Vec<u8>,
}

impl Partition {
    /// A partition that nothing has happened to.
    pub(crate) fn new(
        index: u32,
        partitions: u32,
        config: Config,
        incarnation: Incarnation,
    ) -> Partition {
        Partition {
            index,
            partitions,
            epochs: incarnation.epochs.clone(),
            activities: Activities::new(config.placement, config.activity_queue_limit),
            instances: InstanceStore::default(),
            sessions: IndexMap::default(),
            next_session: 0,
            timers: Timers::default(),
            outbox: Outbox::default(),
            dedup: Dedup::default(),
            input: InputPosition::default(),
            prefetch: BTreeMap::new(),
            awaiting_persistence: BTreeMap::new(),
            resubmitted: 0,
            speculation: Speculation::new(index, incarnation, config.rollback),
            durable: 0,
            committed: 0,
            barriers: VecDeque::new(),
            commits: VecDeque::new(),
            applied: None,
            answers: VecDeque::new(),
            reports: VecDeque::new(),
            reported: Vec::new(),
            scratch: Vec::new(),
            config,
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
        let decode = |episode: &bytes::Bytes| -> Vec<HistoryEvent> {
            codec::decode(episode).expect("invariant: episodes in memory decode")
        };
        episodes.unwrap_or_default().iter().flat_map(decode).collect()
    }

    /// What to do with an event before it is logged: whether to take it in at all.
    pub(crate) fn admits(&self, event: &PartitionEvent) -> bool {
        event.origin().is_none_or(|origin| self.speculation.judge(origin) != Verdict::Void)
    }

    /// Applies what was taken in, at log position `position`; a read-only event has none.
    pub(crate) fn process(
        &mut self,
        position: u64,
        input: Input,
        handling: Handling,
        effects: &mut Vec<Effect>,
    ) {
        let Input { next, event } = input;
        let read_only = !event.is_logged();
        if let Some(next) = next.filter(|_| !read_only) {
            self.input = next;
        }
        let mut out = Outgoing { position, ..Outgoing::default() };
        self.apply(event, handling, &mut out, effects);
        if out.is_empty() {
            return;
        }
        if read_only {
            // Nobody outside is to see what can be rolled back. In the other modes answers go at once, as in
            // the published engine: what they tell can be lost with the host.
            let uncommitted = self.applied.filter(|applied| *applied >= self.committed);
            match uncommitted.filter(|_| self.config.speculation == Mode::Global) {
                Some(applied) => self.answers.push_back((applied, out)),
                None => effects.push(Effect::Send(out)),
            }
        } else {
            self.outbox.add(out, self.config.outbox_acks);
            self.send_early(position, handling.ended, effects);
        }
    }

    /// Sends what does not have to wait until it is committed.
    fn send_early(&mut self, position: u64, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.config.outbox_after_durability {
            effects.extend(self.outbox.send_now(position).map(Effect::Send));
        } else if self.config.speculation == Mode::Global && self.speculation.is_bold(now) {
            for mut early in self.outbox.send_early(position) {
                for (destination, event) in &mut early.partitions {
                    event.speculate(&self.speculation.depends());
                    self.speculation.sent_early(*destination, early.position);
                }
                effects.push(Effect::Send(early));
            }
        }
    }

    fn apply(
        &mut self,
        event: PartitionEvent,
        handling: Handling,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        self.applied = self.applied.max(Some(out.position).filter(|position| *position > 0));
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
                if self.admit(origin, out.position) {
                    for message in messages {
                        self.deliver(message, handling, effects);
                    }
                }
            }
            PartitionEvent::RemoteActivityResultReceived { origin, response } => {
                if self.admit(origin, out.position) {
                    self.deliver(response, handling, effects);
                }
            }
            PartitionEvent::ActivityTransferReceived { origin, decided, activities } => {
                let from = origin.partition;
                if self.admit(origin, out.position) {
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
            PartitionEvent::SendConfirmed { position, partitions, clients } => {
                self.outbox.confirm(position, partitions, clients);
            }
            PartitionEvent::AcksReceived { acks } => {
                acks.iter().for_each(|ack| self.outbox.acknowledge(ack));
            }
            PartitionEvent::RecoveryCompleted { recovered } => {
                self.restart(out.position, recovered, effects);
            }
            PartitionEvent::OriginCommitted { partition, epochs, committed } => {
                match self.speculation.learn(partition, epochs, committed) {
                    Consequence::None => {}
                    Consequence::Progress => {
                        self.commit(effects);
                        self.release(handling.ended, effects);
                    }
                    Consequence::RollBack(position) => effects.push(Effect::RollBack(position)),
                }
            }
            PartitionEvent::CommitAsked { by } => {
                effects.push(Effect::Tell(by, self.statement()));
            }
        }
    }

    /// The number of this incarnation.
    fn epoch(&self) -> u32 {
        self.epochs.last().map_or(0, |(_, epoch)| *epoch)
    }

    /// What other partitions are told of this one.
    fn statement(&self) -> PartitionEvent {
        let (partition, epochs, committed) = (self.index, self.epochs.clone(), self.committed);
        PartitionEvent::OriginCommitted { partition, epochs, committed }
    }

    /// Up to where the log is committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// Whether something that was taken in depends on work that is not committed at its origin.
    pub(crate) fn has_promises(&self) -> bool {
        self.speculation.limit().is_some()
    }

    /// The log is durable up to (not including) `durable`.
    pub(crate) fn became_durable(
        &mut self,
        durable: u64,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.durable = durable;
        self.commit(effects);
        self.remove_barriers(durable, effects);
        let from = self.resubmitted.min(durable);
        self.resubmitted = durable;
        for (position, batch) in self.awaiting_persistence.range(from..durable) {
            let mut batch = batch.clone();
            batch.persisted = Some(*position);
            let mut event = PartitionEvent::BatchProcessed(batch);
            let why = Category::Commit.because("waited until the step was durable");
            event.charge(|ledger| ledger.charge(why, now));
            effects.push(Effect::Submit(event));
        }
        self.release(now, effects);
    }

    /// Commits what is durable and depends on nothing that can be lost.
    fn commit(&mut self, effects: &mut Vec<Effect>) {
        let limit = self.speculation.limit().filter(|_| self.config.commit_clip);
        let committed = limit.map_or(self.durable, |limit| limit.min(self.durable));
        self.committed = committed;
        while self.commits.front().is_some_and(|(position, _)| *position < committed) {
            let (position, commit) =
                self.commits.pop_front().expect("invariant: the front was seen");
            effects.push(match commit {
                Commit::WorkItem(item) => Effect::Committed(position, item),
                Commit::Completion(completion) => Effect::Completed(position, completion),
            });
        }
    }

    /// Lets out what waited to be committed.
    fn release(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let committed = self.committed;
        for mut outgoing in self.outbox.release(committed) {
            for (_, event) in &mut outgoing.partitions {
                let why =
                    Category::Commit.because("waited in the outbox until its step was durable");
                event.charge(|ledger| ledger.charge(why, now));
            }
            effects.push(Effect::Send(outgoing));
        }
        while self.answers.front().is_some_and(|(seen, _)| *seen < committed) {
            let (_, answer) = self.answers.pop_front().expect("invariant: the front was seen");
            effects.push(Effect::Send(answer));
        }
        for destination in self.speculation.newly_committed(committed) {
            effects.push(Effect::Tell(destination, self.statement()));
        }
        while self.reports.front().is_some_and(|(position, _)| *position <= committed) {
            let (_, report) = self.reports.pop_front().expect("invariant: the front was seen");
            effects.push(Effect::Report(report));
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
        self.instances.touch(&target);
        if let Some(batch) = session.push(message) {
            effects.push(Effect::StartStep(step_work(target, session.id, batch)));
        }
    }

    /// Whether an event of another partition is new, or has to be taken for new. What depends on it
    /// must not be committed before its origin has.
    fn admit(&mut self, origin: Origin, position: u64) -> bool {
        let is_new = self.dedup.admit(&origin) || !self.config.dedup;
        if is_new
            && self.config.speculation == Mode::Global
            && self.speculation.judge(&origin) != Verdict::Committed
        {
            self.speculation.promise(position, origin);
        }
        is_new
    }
}

#[cfg(test)]
mod tests;
