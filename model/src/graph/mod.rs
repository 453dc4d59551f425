//! The execution graph: which work items were fetched, executed, committed and aborted.
//!
//! **What it models.** Vertices are attempts at work items. Message edges lead from the producer
//! of a message to its consumer, state edges from a step of an instance to the step that read the
//! state it wrote. Aborted attempts stay in the graph (a *fault-augmented* execution graph); the
//! rules of [`checks`] say when deleting them leaves a legal fault-free execution. Source:
//! Burckhardt et al., VLDB 2022, sections 1.1, 3 and 5.3.
//!
//! **How it is recorded.** The engine reports what it does, with the identities that were in its
//! own stored data: the predecessor of a step is read from the state the engine loaded, not from
//! what the recorder thinks it should have loaded. Recording costs O(1) for each work item; the
//! identity of a message names its producer, so message edges need no table.
//!
//! **What is kept besides.** When and on which host it happened, if the recorder can ask for
//! ([`GraphRecorder::with_moments`]); whom each message was for ([`Graph::target`]); what entities were asked, did
//! and answered ([`entities`]). Nothing of it takes part in the rules on work items: it is for whoever
//! tells a person what happened ([`words`], [`waiting`]), and for the checks of what clients see.

pub mod checks;
pub mod entities;
mod numbers;
mod recorder;
mod sending;
pub mod waiting;
pub mod words;

pub use recorder::GraphRecorder;
pub use sending::Sending;

use crate::id::{InstanceId, MessageId, Producer, WorkItemId};
use crate::step::StepOutcome;
use crate::time::Timestamp;
use entities::EntityLog;
use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::collections::BTreeMap;
use std::ops::Range;

/// Where and when something is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The instant.
    pub at: Timestamp,
    /// The machine, by a number that [`GraphRecorder::name_places`] gives a name.
    pub place: Option<u32>,
}

/// How far an attempt at a work item came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Fetched; its messages are still in their queues.
    Fetched,
    /// Executed: its effects are known in memory.
    Executed,
    /// Committed as the n-th of the run: its effects are final.
    Committed(u32),
    /// Given up: nothing it did is visible inside the model.
    Aborted,
}

/// What a work item is an attempt at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkItemKind {
    /// A stateless task.
    Task,
    /// A step of an instance.
    Step {
        /// The instance, as an index into the graph's names.
        instance: u32,
        /// The step that wrote the state this one read; `None` for the first.
        predecessor: Option<WorkItemId>,
    },
}

/// One attempt at a work item.
#[derive(Clone, Debug)]
pub struct WorkItem {
    /// What it is.
    pub kind: WorkItemKind,
    /// When it was fetched.
    pub fetched_at: Timestamp,
    /// How far it came.
    pub progress: Progress,
    /// How many messages it produced, known once executed.
    pub produced: u32,
    /// Whether it was a step that ended the life of its instance, known once executed.
    pub ends_life: bool,
    /// When it was executed, and where: if the recorder knows.
    pub executed: Option<Moment>,
    /// When it was committed or given up, if it was and the recorder knows.
    pub settled_at: Option<Timestamp>,
    /// Where it was fetched, if the recorder knows.
    pub fetched_on: Option<u32>,
    consumed: Range<u32>,
    /// Where the targets of its messages begin; [`NOT_RECORDED`] if they were not told.
    targets: u32,
}

/// No target, or none that is recorded.
const NOT_RECORDED: u32 = u32::MAX;
/// The target of a message of the task queue.
const TASK_QUEUE: u32 = u32::MAX - 1;

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The task queue.
    TaskQueue,
    /// The instance with this index.
    Instance(u32),
}

/// The graph of one run.
#[derive(Default)]
pub struct Graph {
    items: Vec<WorkItem>,
    consumed: Vec<MessageId>,
    discarded: Vec<MessageId>,
    instances: IndexSet<InstanceId, FxBuildHasher>,
    /// When clients sent their messages, if the recorder knows.
    client_messages: Vec<Option<Timestamp>>,
    commits: u32,
    last_committed: Option<WorkItemId>,
    /// Whom the messages of steps are for.
    targets: Vec<u32>,
    entities: EntityLog,
    places: Vec<Box<str>>,
    /// Messages that arrive later than they are sent, and when.
    timers: FxHashMap<MessageId, Timestamp>,
    /// How often an instance was removed, by its index.
    removed: BTreeMap<u32, u32>,
}

impl Graph {
    /// All attempts, in the order they were fetched.
    pub fn items(&self) -> impl ExactSizeIterator<Item = (WorkItemId, &WorkItem)> {
        self.items.iter().enumerate().map(|(index, item)| (WorkItemId(index as u32), item))
    }

    /// One attempt.
    ///
    /// # Panics
    /// If the identifier is not of this graph.
    pub fn item(&self, id: WorkItemId) -> &WorkItem {
        &self.items[id.0 as usize]
    }

    /// The work item with this identity, if there is one: bytes that were damaged may name any.
    pub fn find(&self, id: WorkItemId) -> Option<&WorkItem> {
        self.items.get(id.0 as usize)
    }

    /// The messages that `item` consumed.
    pub fn consumed(&self, item: &WorkItem) -> &[MessageId] {
        &self.consumed[item.consumed.start as usize..item.consumed.end as usize]
    }

    /// Messages that were dropped on purpose: their target had ended, or they were duplicates.
    pub fn discarded(&self) -> &[MessageId] {
        &self.discarded
    }

    /// How many messages clients sent.
    pub fn client_messages(&self) -> u32 {
        self.client_messages.len() as u32
    }

    /// When a client sent the message with this number, if the recorder knows.
    pub fn client_sent_at(&self, index: u32) -> Option<Timestamp> {
        self.client_messages.get(index as usize).copied().flatten()
    }

    /// How many messages were sent for later.
    pub fn timers(&self) -> usize {
        self.timers.len()
    }

    /// When a message arrives that was sent for later.
    pub fn due(&self, message: &MessageId) -> Option<Timestamp> {
        self.timers.get(message).copied()
    }

    /// How often instances were removed by clients, by their index.
    pub fn removed(&self) -> impl Iterator<Item = (u32, u32)> {
        self.removed.iter().map(|(instance, times)| (*instance, *times))
    }

    /// How many work items were committed.
    pub fn commits(&self) -> u32 {
        self.commits
    }

    /// The work item that was committed last.
    pub fn last_committed(&self) -> Option<WorkItemId> {
        self.last_committed
    }

    /// The name of the instance with this index.
    pub fn instance(&self, index: u32) -> &InstanceId {
        self.instances.get_index(index as usize).expect("invariant: instances are interned")
    }

    /// The index of an instance, if it has run a step or was sent a message.
    pub fn index_of(&self, instance: &InstanceId) -> Option<u32> {
        self.instances.get_index_of(instance).map(|index| index as u32)
    }

    /// How many instances have run a step or were sent a message.
    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    /// What entities were asked, did and answered.
    pub fn entities(&self) -> &EntityLog {
        &self.entities
    }

    /// The name of a machine.
    pub fn place(&self, number: u32) -> Option<&str> {
        self.places.get(number as usize).map(|name| &**name)
    }

    /// Whom a message is for: of a step, as its outcome says; of a task, whoever called it. Unknown of
    /// messages from clients, and of messages nobody has produced.
    pub fn target(&self, message: &MessageId) -> Option<Target> {
        let Producer::WorkItem(producer) = message.producer else { return None };
        let item = self.items.get(producer.0 as usize)?;
        if message.index >= item.produced {
            return None;
        }
        match item.kind {
            WorkItemKind::Task => {
                let call = self.consumed(item).first()?;
                let Producer::WorkItem(caller) = call.producer else { return None };
                match self.items.get(caller.0 as usize)?.kind {
                    WorkItemKind::Step { instance, .. } => Some(Target::Instance(instance)),
                    WorkItemKind::Task => None,
                }
            }
            WorkItemKind::Step { .. } if item.targets == NOT_RECORDED => None,
            WorkItemKind::Step { .. } => {
                match self.targets[(item.targets + message.index) as usize] {
                    NOT_RECORDED => None,
                    TASK_QUEUE => Some(Target::TaskQueue),
                    instance => Some(Target::Instance(instance)),
                }
            }
        }
    }

    fn fetch(
        &mut self,
        kind: WorkItemKind,
        now: Timestamp,
        fetched_on: Option<u32>,
        consumed: Range<u32>,
    ) -> WorkItemId {
        let id = WorkItemId(u32::try_from(self.items.len()).expect("fewer than 2^32 work items"));
        let progress = Progress::Fetched;
        self.items.push(WorkItem {
            kind,
            fetched_at: now,
            progress,
            produced: 0,
            ends_life: false,
            executed: None,
            settled_at: None,
            fetched_on,
            consumed,
            targets: NOT_RECORDED,
        });
        id
    }

    fn intern(&mut self, instance: &InstanceId) -> u32 {
        let known = self.instances.get_index_of(instance);
        let index = known.unwrap_or_else(|| self.instances.insert_full(instance.clone()).0);
        u32::try_from(index).expect("fewer than 2^32 instances")
    }

    /// Notes whom the messages of a step are for, and what an entity was asked, did or answered.
    fn note_outcome(&mut self, id: WorkItemId, outcome: &StepOutcome) {
        let produced = outcome.produced();
        let first = u32::try_from(self.targets.len()).expect("fewer than 2^32 messages");
        self.targets.resize((first + produced) as usize, NOT_RECORDED);
        let own = |message: &MessageId| {
            message.producer == Producer::WorkItem(id) && message.index < produced
        };
        for task in outcome.tasks.iter().filter(|task| own(&task.id)) {
            self.targets[(first + task.id.index) as usize] = TASK_QUEUE;
        }
        for message in outcome.messages.iter().filter(|message| own(&message.id)) {
            let target = self.intern(&message.target);
            self.targets[(first + message.id.index) as usize] = target;
            self.entities.note_message(id, target, message);
        }
        for timer in outcome.timers.iter().filter(|timer| own(&timer.message.id)) {
            let target = self.intern(&timer.message.target);
            self.targets[(first + timer.message.id.index) as usize] = target;
        }
        if let Some(served) = &outcome.served {
            self.entities.note_served(id, served, outcome.entity_state.as_ref());
        }
        self.items[id.0 as usize].targets = first;
    }

    fn consume(&mut self, messages: impl Iterator<Item = MessageId>) -> Range<u32> {
        let start = self.consumed.len() as u32;
        self.consumed.extend(messages);
        start..u32::try_from(self.consumed.len()).expect("fewer than 2^32 messages")
    }
}
