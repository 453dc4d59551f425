//! The handle through which an engine records what it does.

use super::{Graph, Moment, Progress, WorkItemKind};
use crate::id::{InstanceId, MessageId, Producer, WorkItemId};
use crate::step::StepOutcome;
use crate::time::Timestamp;
use std::cell::{Ref, RefCell};
use std::rc::Rc;

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
pub struct GraphRecorder(Rc<Shared>);

#[derive(Default)]
struct Shared {
    graph: RefCell<Graph>,
    surroundings: Option<Surroundings>,
}

struct Surroundings {
    now: Box<dyn Fn() -> Timestamp>,
    place: Box<dyn Fn() -> Option<u32>>,
}

impl GraphRecorder {
    /// A recorder that asks `now` when something is reported, and `place` on which machine a work item
    /// is fetched and executed.
    pub fn with_moments(
        now: impl Fn() -> Timestamp + 'static,
        place: impl Fn() -> Option<u32> + 'static,
    ) -> GraphRecorder {
        let surroundings = Some(Surroundings { now: Box::new(now), place: Box::new(place) });
        GraphRecorder(Rc::new(Shared { surroundings, ..Shared::default() }))
    }

    fn now(&self) -> Option<Timestamp> {
        self.0.surroundings.as_ref().map(|surroundings| (surroundings.now)())
    }

    fn place(&self) -> Option<u32> {
        self.0.surroundings.as_ref().and_then(|surroundings| (surroundings.place)())
    }

    fn moment(&self) -> Option<Moment> {
        self.now().map(|at| Moment { at, place: self.place() })
    }

    /// Names the machines that a [`Moment`] gives by their numbers.
    pub fn name_places(&self, names: impl IntoIterator<Item = String>) {
        let names = names.into_iter().map(String::into_boxed_str).collect();
        self.0.graph.borrow_mut().places = names;
    }

    /// The identity of the next message from a client.
    pub fn client_message(&self) -> MessageId {
        let now = self.now();
        let mut graph = self.0.graph.borrow_mut();
        let index = graph.client_messages();
        graph.client_messages.push(now);
        MessageId { producer: Producer::Client, index }
    }

    /// A task was taken from the task queue.
    pub fn fetch_task(&self, message: MessageId, now: Timestamp) -> WorkItemId {
        let place = self.place();
        let mut graph = self.0.graph.borrow_mut();
        let consumed = graph.consume(std::iter::once(message));
        graph.fetch(WorkItemKind::Task, now, place, consumed)
    }

    /// A batch of messages of `instance` was taken, with the state that `predecessor` wrote.
    pub fn fetch_step(
        &self,
        instance: &InstanceId,
        predecessor: Option<WorkItemId>,
        messages: impl Iterator<Item = MessageId>,
        now: Timestamp,
    ) -> WorkItemId {
        let place = self.place();
        let mut graph = self.0.graph.borrow_mut();
        let instance = graph.intern(instance);
        let consumed = graph.consume(messages);
        graph.fetch(WorkItemKind::Step { instance, predecessor }, now, place, consumed)
    }

    /// The work item was executed and produced `produced` messages.
    ///
    /// # Panics
    /// If it was executed before: a second attempt is another work item.
    pub fn executed(&self, id: WorkItemId, produced: u32) {
        let executed = self.moment();
        let mut graph = self.0.graph.borrow_mut();
        let item = &mut graph.items[id.0 as usize];
        assert_eq!(item.progress, Progress::Fetched, "{id} is executed once, after its fetch");
        item.progress = Progress::Executed;
        item.executed = executed;
        item.produced = produced;
    }

    /// The step was executed, with this outcome.
    ///
    /// # Panics
    /// As [`GraphRecorder::executed`].
    pub fn executed_step(&self, id: WorkItemId, outcome: &StepOutcome) {
        self.executed(id, outcome.produced());
        let mut graph = self.0.graph.borrow_mut();
        graph.items[id.0 as usize].ends_life = outcome.ends_life();
        graph.note_outcome(id, outcome);
        for timer in &outcome.timers {
            graph.timers.insert(timer.message.id, timer.fire_at);
        }
    }

    /// An instance was removed by a client: its next step begins a new life.
    pub fn removed(&self, instance: &InstanceId) {
        let mut graph = self.0.graph.borrow_mut();
        if let Some(index) = graph.index_of(instance) {
            *graph.removed.entry(index).or_default() += 1;
        }
    }

    /// The effects of the work item became final.
    ///
    /// # Panics
    /// If it was not executed, or is final already.
    pub fn committed(&self, id: WorkItemId) {
        let now = self.now();
        let mut graph = self.0.graph.borrow_mut();
        let order = graph.commits;
        graph.commits += 1;
        graph.last_committed = Some(id);
        let item = &mut graph.items[id.0 as usize];
        assert_eq!(item.progress, Progress::Executed, "{id} is committed once, after execution");
        item.progress = Progress::Committed(order);
        item.settled_at = now;
    }

    /// The attempt was given up.
    ///
    /// # Panics
    /// If it was committed: what is final cannot be undone.
    pub fn aborted(&self, id: WorkItemId) {
        let now = self.now();
        let mut graph = self.0.graph.borrow_mut();
        let item = &mut graph.items[id.0 as usize];
        assert!(!matches!(item.progress, Progress::Committed(_)), "{id} is committed already");
        item.progress = Progress::Aborted;
        item.settled_at = now;
    }

    /// The attempt was given up by mistake: its effects are found in storage. Whoever gave it up was told
    /// that a copy of its own request stood in the way.
    ///
    /// # Panics
    /// If it was not given up.
    pub fn committed_after_all(&self, id: WorkItemId) {
        let now = self.now();
        let mut graph = self.0.graph.borrow_mut();
        let order = graph.commits;
        graph.commits += 1;
        graph.last_committed = Some(id);
        let item = &mut graph.items[id.0 as usize];
        assert_eq!(item.progress, Progress::Aborted, "{id} was given up");
        item.progress = Progress::Committed(order);
        item.settled_at = now;
    }

    /// The message was dropped on purpose: its target has ended, or it is a known duplicate.
    pub fn discarded(&self, message: MessageId) {
        self.0.graph.borrow_mut().discarded.push(message);
    }

    /// The graph recorded so far.
    pub fn graph(&self) -> Ref<'_, Graph> {
        self.0.graph.borrow()
    }
}
