//! One step of an instance: what it consumes and what it produces.

use crate::entity::{Operation, SectionId};
use crate::error::ApplicationResult;
use crate::history::{EventKind, HistoryEvent, RaisedEvent};
use crate::id::{InstanceId, MessageId, Producer, WorkItemId};
use crate::ledger::{Category, Ledger, Timing, trail};
use crate::message::{InstanceMessage, TaskMessage, TimerMessage};
use crate::orchestration::RuntimeStatus;
use crate::payload::Payload;
use crate::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// What the model has to know of the engine below it.
///
/// Source: Azure/durabletask, `EntityBackendProperties`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityBackend {
    /// How long an entity remembers what it has received in order to bring messages into the order
    /// they were sent and to drop duplicates. Zero if the transport does both: messages then
    /// carry no stamps.
    pub reorder_window: Duration,
    /// How many operations one step runs at most.
    pub max_operations: usize,
    /// How far ahead a message can be scheduled; later ones are scheduled in stages.
    pub max_signal_delay: Option<Duration>,
    /// Whether the instance of an entity without a state is removed.
    pub implicit_deletion: bool,
}

/// What a step consumes besides the instance's state.
pub struct StepInput {
    /// The attempt that runs the step.
    pub work_item: WorkItemId,
    /// The present, by the clock of the host.
    pub now: Timestamp,
    /// How the time of whoever waits was spent up to now, along the message that arrived last; goes
    /// with every message that an orchestration produces.
    pub ledger: Ledger,
    /// What executing this step has cost: an entity charges it to each request it answers.
    pub execution: Timing,
    /// The consumed messages, in order. Never empty.
    pub messages: Vec<InstanceMessage>,
    /// The engine below.
    pub backend: EntityBackend,
}

/// What the code of a step asks of its host: known once it has run, taken before it is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserWork {
    /// Operations that an entity has run.
    pub operations: u32,
    /// Core time.
    pub compute: Duration,
    /// Waiting for something outside the testbed.
    pub wait: Duration,
    /// Bytes read from the application's own storage.
    pub read_bytes: u64,
    /// Reads, one blob each.
    pub reads: u32,
    /// Bytes written to the application's own storage.
    pub written_bytes: u64,
    /// Writes, one blob each.
    pub writes: u32,
}

impl UserWork {
    /// Whether the code asked for nothing.
    pub fn is_empty(&self) -> bool {
        *self == UserWork::default()
    }
}

/// What a step produces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOutcome {
    /// The events to append to the history.
    pub new_events: Vec<HistoryEvent>,
    /// Whether the history so far is dropped and `new_events` are all of it: after continue-as-new,
    /// and in every step of an entity.
    pub replaces_history: bool,
    /// Messages for the task queue.
    pub tasks: Vec<TaskMessage>,
    /// Messages for instances, this one included.
    pub messages: Vec<InstanceMessage>,
    /// Messages to the instance itself that arrive later.
    pub timers: Vec<TimerMessage>,
    /// Where the instance is after the step. An entity is always running.
    pub status: RuntimeStatus,
    /// What the orchestration has last set for whoever looks.
    pub custom_status: Option<Payload>,
    /// The state of an entity, if it has one.
    pub entity_state: Option<Payload>,
    /// Whether nothing is left to remember of an entity: the engine removes the instance.
    pub deleted: bool,
    /// What the code asked of its host.
    pub work: UserWork,
    /// What an entity did. It is for whoever records the step, is stored nowhere, and costs nothing.
    pub served: Option<Rc<Served>>,
}

/// What an entity did in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The instant that its operations saw as the present.
    pub now: Timestamp,
    /// The operations that ran, in their order.
    pub operations: Vec<Operation>,
    /// The critical section that holds the entity's lock after the step.
    pub locked_by: Option<SectionId>,
}

impl StepOutcome {
    /// The outcome of a step that asked for nothing, and after which the instance is in this state.
    pub fn without_effects(status: RuntimeStatus) -> StepOutcome {
        StepOutcome {
            new_events: Vec::new(),
            replaces_history: false,
            tasks: Vec::new(),
            messages: Vec::new(),
            timers: Vec::new(),
            status,
            custom_status: None,
            entity_state: None,
            deleted: false,
            work: UserWork::default(),
            served: None,
        }
    }

    /// How many messages the step produced.
    pub fn produced(&self) -> u32 {
        (self.tasks.len() + self.messages.len() + self.timers.len()) as u32
    }

    /// Whether the instance's life ends with this step: what comes next begins a new one.
    pub fn ends_life(&self) -> bool {
        self.deleted || self.status.is_final()
    }

    /// Charges time that passes between the execution of the code and the production of its
    /// messages to all of them.
    pub fn charge(&mut self, timing: &Timing, until: Timestamp) {
        let tasks = self.tasks.iter_mut().map(|task| &mut task.ledger);
        let messages = self.messages.iter_mut().map(|message| &mut message.ledger);
        for ledger in tasks.chain(messages) {
            let why = Category::Queueing.because("the code of the step worked on its host");
            ledger.charge_request(timing, until, why);
        }
    }
}

/// Collects what a step sends, and numbers it.
pub(crate) struct Outgoing {
    work_item: WorkItemId,
    count: u32,
    pub(crate) tasks: Vec<TaskMessage>,
    pub(crate) messages: Vec<InstanceMessage>,
    pub(crate) timers: Vec<TimerMessage>,
}

impl Outgoing {
    pub(crate) fn new(work_item: WorkItemId) -> Outgoing {
        Outgoing {
            work_item,
            count: 0,
            tasks: Vec::new(),
            messages: Vec::new(),
            timers: Vec::new(),
        }
    }

    /// The identity of the next message.
    pub(crate) fn next_id(&mut self) -> MessageId {
        let id = MessageId { producer: Producer::WorkItem(self.work_item), index: self.count };
        self.count += 1;
        id
    }

    /// Sends an event.
    pub(crate) fn send(&mut self, target: InstanceId, kind: EventKind, ledger: Ledger) {
        let id = self.next_id();
        let event = HistoryEvent { timestamp: ledger.at(), kind };
        trail::sent(&ledger, id);
        self.messages.push(InstanceMessage { id, target, event, ledger });
    }

    /// Sends an answer to the decision `event_id` of `target`.
    pub(crate) fn answer(
        &mut self,
        target: InstanceId,
        event_id: u32,
        result: ApplicationResult,
        ledger: Ledger,
    ) {
        let event = RaisedEvent::Answer { event_id, result };
        self.send(target, EventKind::EventRaised { event }, ledger);
    }

    /// Sends an event to the instance itself, for later. The wait is the application's own.
    pub(crate) fn later(
        &mut self,
        target: InstanceId,
        kind: EventKind,
        fire_at: Timestamp,
        mut ledger: Ledger,
    ) {
        let id = self.next_id();
        trail::sent(&ledger, id);
        ledger.charge(Category::Application.because("waited for its time to come"), fire_at);
        let event = HistoryEvent { timestamp: fire_at, kind };
        let message = InstanceMessage { id, target, event, ledger };
        self.timers.push(TimerMessage { fire_at, message });
    }
}
