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

pub mod checks;

use crate::id::{InstanceId, MessageId, Producer, WorkItemId};
use crate::step::StepOutcome;
use crate::time::Timestamp;
use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

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
    consumed: Range<u32>,
}

/// The graph of one run.
#[derive(Default)]
pub struct Graph {
    items: Vec<WorkItem>,
    consumed: Vec<MessageId>,
    discarded: Vec<MessageId>,
    instances: IndexSet<InstanceId, FxBuildHasher>,
    client_messages: u32,
    commits: u32,
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
        self.client_messages
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

    /// The name of the instance with this index.
    pub fn instance(&self, index: u32) -> &InstanceId {
        self.instances.get_index(index as usize).expect("invariant: instances are interned")
    }

    fn fetch(&mut self, kind: WorkItemKind, now: Timestamp, consumed: Range<u32>) -> WorkItemId {
        let id = WorkItemId(u32::try_from(self.items.len()).expect("fewer than 2^32 work items"));
        let progress = Progress::Fetched;
        self.items.push(WorkItem {
            kind,
            fetched_at: now,
            progress,
            produced: 0,
            ends_life: false,
            consumed,
        });
        id
    }

    fn consume(&mut self, messages: impl Iterator<Item = MessageId>) -> Range<u32> {
        let start = self.consumed.len() as u32;
        self.consumed.extend(messages);
        start..u32::try_from(self.consumed.len()).expect("fewer than 2^32 messages")
    }
}

/// The handle through which an engine records what it does. Cloning shares the graph.
///
/// ```
/// use sim_model::graph::{GraphRecorder, Progress};
/// use sim_model::time::Timestamp;
/// let recorder = GraphRecorder::default();
/// let message = recorder.client_message();
/// let item = recorder.fetch_task(message, Timestamp::ZERO);
/// recorder.executed(item, 1);
/// recorder.committed(item);
/// assert_eq!(recorder.graph().item(item).progress, Progress::Committed(0));
/// ```
#[derive(Clone, Default)]
pub struct GraphRecorder(Rc<RefCell<Graph>>);

impl GraphRecorder {
    /// The identity of the next message from a client.
    pub fn client_message(&self) -> MessageId {
        let mut graph = self.0.borrow_mut();
        let index = graph.client_messages;
        graph.client_messages += 1;
        MessageId { producer: Producer::Client, index }
    }

    /// A task was taken from the task queue.
    pub fn fetch_task(&self, message: MessageId, now: Timestamp) -> WorkItemId {
        let mut graph = self.0.borrow_mut();
        let consumed = graph.consume(std::iter::once(message));
        graph.fetch(WorkItemKind::Task, now, consumed)
    }

    /// A batch of messages of `instance` was taken, with the state that `predecessor` wrote.
    pub fn fetch_step(
        &self,
        instance: &InstanceId,
        predecessor: Option<WorkItemId>,
        messages: impl Iterator<Item = MessageId>,
        now: Timestamp,
    ) -> WorkItemId {
        let mut graph = self.0.borrow_mut();
        let known = graph.instances.get_index_of(instance);
        let index = known.unwrap_or_else(|| graph.instances.insert_full(instance.clone()).0);
        let consumed = graph.consume(messages);
        let kind = WorkItemKind::Step { instance: index as u32, predecessor };
        graph.fetch(kind, now, consumed)
    }

    /// The work item was executed and produced `produced` messages.
    ///
    /// # Panics
    /// If it was executed before: a second attempt is another work item.
    pub fn executed(&self, id: WorkItemId, produced: u32) {
        let mut graph = self.0.borrow_mut();
        let item = &mut graph.items[id.0 as usize];
        assert_eq!(item.progress, Progress::Fetched, "{id} is executed once, after its fetch");
        item.progress = Progress::Executed;
        item.produced = produced;
    }

    /// The step was executed, with this outcome.
    ///
    /// # Panics
    /// As [`GraphRecorder::executed`].
    pub fn executed_step(&self, id: WorkItemId, outcome: &StepOutcome) {
        self.executed(id, outcome.produced());
        let mut graph = self.0.borrow_mut();
        graph.items[id.0 as usize].ends_life = outcome.ends_life();
        for timer in &outcome.timers {
            graph.timers.insert(timer.message.id, timer.fire_at);
        }
    }

    /// An instance was removed by a client: its next step begins a new life.
    pub fn removed(&self, instance: &InstanceId) {
        let mut graph = self.0.borrow_mut();
        if let Some(index) = graph.instances.get_index_of(instance) {
            *graph.removed.entry(index as u32).or_default() += 1;
        }
    }

    /// The effects of the work item became final.
    ///
    /// # Panics
    /// If it was not executed, or is final already.
    pub fn committed(&self, id: WorkItemId) {
        let mut graph = self.0.borrow_mut();
        let order = graph.commits;
        graph.commits += 1;
        let item = &mut graph.items[id.0 as usize];
        assert_eq!(item.progress, Progress::Executed, "{id} is committed once, after execution");
        item.progress = Progress::Committed(order);
    }

    /// The attempt was given up.
    ///
    /// # Panics
    /// If it was committed: what is final cannot be undone.
    pub fn aborted(&self, id: WorkItemId) {
        let mut graph = self.0.borrow_mut();
        let item = &mut graph.items[id.0 as usize];
        assert!(!matches!(item.progress, Progress::Committed(_)), "{id} is committed already");
        item.progress = Progress::Aborted;
    }

    /// The message was dropped on purpose: its target has ended, or it is a known duplicate.
    pub fn discarded(&self, message: MessageId) {
        self.0.borrow_mut().discarded.push(message);
    }

    /// The graph recorded so far.
    pub fn graph(&self) -> Ref<'_, Graph> {
        self.0.borrow()
    }
}
