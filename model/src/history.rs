//! What an instance remembers: its history of events.
//!
//! The state of an orchestration is the list of everything that happened to it and everything it
//! decided, in order; its code is replayed from that list. One episode (one step work item) appends
//! [`EventKind::OrchestratorStarted`], the events of the consumed messages, the events of the new
//! decisions, and [`EventKind::OrchestratorCompleted`]. An entity is an eternal orchestration: each
//! of its steps replaces the history by one episode whose `ExecutionStarted` holds its whole state.
//! Names follow Azure/durabletask (`src/DurableTask.Core/History/EventType.cs`).

use crate::entity::EntityRequest;
use crate::error::{ApplicationError, ApplicationResult};
use crate::id::{InstanceId, WorkItemId};
use crate::ledger::Ledger;
use crate::payload::Payload;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The number of a decision within its instance, counted from 0 in the order of the code. An
/// orchestration that continues as new goes on counting, and so does one that is started again under
/// a key whose orchestration has ended ([`next_event_id`]): an answer to a former life is never taken
/// for one to the present.
pub type EventId = u32;

/// The number of the decision that would follow `history`: the first one of the next life under the
/// same key.
pub fn next_event_id(history: &[HistoryEvent]) -> EventId {
    let next = |event: &HistoryEvent| match &event.kind {
        EventKind::ExecutionStarted { first_event_id, .. } => Some(*first_event_id),
        kind => kind.decision().map(|id| id + 1),
    };
    history.iter().filter_map(next).max().unwrap_or(0)
}

/// One entry of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// When it happened, by the clock of the host that recorded it.
    pub timestamp: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

/// Who waits for the end of an orchestration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentInstance {
    /// The orchestration that called this one.
    pub instance: InstanceId,
    /// The decision that the end answers.
    pub event_id: EventId,
    /// How the caller's time was spent up to the call.
    pub ledger: Ledger,
}

/// What an execution that continues as new leaves to the next, besides its input and the external
/// events it has not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Its custom status.
    pub custom_status: Option<Payload>,
    /// When it last sent something to an entity: the order of messages goes on.
    pub sent: Vec<(InstanceId, Timestamp)>,
}

/// What one instance raises in another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaisedEvent {
    /// An external event of an orchestration.
    External {
        /// The name it is awaited by.
        name: Arc<str>,
        /// What it carries.
        input: Payload,
    },
    /// A request to an entity.
    Request(Box<EntityRequest>),
    /// The answer to a call of an entity, or the grant of a lock.
    Answer {
        /// The decision that it answers.
        event_id: EventId,
        /// The result of the operation; `null` for a lock.
        result: ApplicationResult,
    },
}

/// What happened to an instance, or what it decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// An episode began; user code sees this event's timestamp as the present.
    OrchestratorStarted {
        /// The work item that ran the episode: the next one names it as its predecessor.
        work_item: WorkItemId,
    },
    /// An episode ended.
    OrchestratorCompleted,
    /// The orchestration was started. The timestamp is the instance's creation time.
    ExecutionStarted {
        /// The registered name of the orchestration.
        name: Arc<str>,
        /// Its input; for an entity, its whole state.
        input: Payload,
        /// Who waits for its end.
        parent: Option<Box<ParentInstance>>,
        /// The number of its first decision: above 0 once it has continued as new.
        first_event_id: EventId,
        /// What the execution before it has left, if there was one that left anything.
        carried: Option<Box<Carried>>,
    },
    /// The orchestration returned a result.
    ExecutionCompleted {
        /// The result.
        result: Payload,
    },
    /// The orchestration returned an error or broke a rule of the model.
    ExecutionFailed {
        /// What went wrong.
        error: ApplicationError,
    },
    /// The orchestration was ended from outside.
    ExecutionTerminated {
        /// Why.
        reason: Arc<str>,
    },
    /// The orchestration was told to stand still.
    ExecutionSuspended {
        /// Why.
        reason: Arc<str>,
    },
    /// The orchestration was told to go on.
    ExecutionResumed {
        /// Why.
        reason: Arc<str>,
    },
    /// The orchestration called an activity.
    TaskScheduled {
        /// The number of the decision.
        event_id: EventId,
        /// The registered name of the activity.
        name: Arc<str>,
        /// Its input.
        input: Payload,
    },
    /// An activity returned a result.
    TaskCompleted {
        /// The number of the decision that called it.
        task_scheduled_id: EventId,
        /// The result.
        result: Payload,
    },
    /// An activity returned an error.
    TaskFailed {
        /// The number of the decision that called it.
        task_scheduled_id: EventId,
        /// What went wrong.
        error: ApplicationError,
    },
    /// The orchestration created a durable timer.
    TimerCreated {
        /// The number of the decision.
        event_id: EventId,
        /// When it fires.
        fire_at: Timestamp,
    },
    /// A durable timer fired.
    TimerFired {
        /// The number of the decision that created it.
        timer_id: EventId,
        /// When it was to fire.
        fire_at: Timestamp,
    },
    /// The orchestration started another one.
    SubOrchestrationInstanceCreated {
        /// The number of the decision.
        event_id: EventId,
        /// The instance that was started.
        instance: InstanceId,
        /// The registered name of the started orchestration.
        name: Arc<str>,
        /// Its input.
        input: Payload,
        /// Whether nobody waits for its end.
        fire_and_forget: bool,
    },
    /// An orchestration that was called returned a result.
    SubOrchestrationInstanceCompleted {
        /// The number of the decision that called it.
        task_scheduled_id: EventId,
        /// The result.
        result: Payload,
    },
    /// An orchestration that was called ended without a result.
    SubOrchestrationInstanceFailed {
        /// The number of the decision that called it.
        task_scheduled_id: EventId,
        /// What went wrong.
        error: ApplicationError,
    },
    /// The orchestration sent an event to another instance.
    EventSent {
        /// The number of the decision.
        event_id: EventId,
        /// The instance it was sent to.
        target: InstanceId,
        /// What was sent.
        event: RaisedEvent,
    },
    /// Another instance or a client sent an event.
    EventRaised {
        /// What was sent.
        event: RaisedEvent,
    },
}

impl EventKind {
    /// The event's name, as error messages and exports show it.
    pub const fn name(&self) -> &'static str {
        match self {
            EventKind::OrchestratorStarted { .. } => "OrchestratorStarted",
            EventKind::OrchestratorCompleted => "OrchestratorCompleted",
            EventKind::ExecutionStarted { .. } => "ExecutionStarted",
            EventKind::ExecutionCompleted { .. } => "ExecutionCompleted",
            EventKind::ExecutionFailed { .. } => "ExecutionFailed",
            EventKind::ExecutionTerminated { .. } => "ExecutionTerminated",
            EventKind::ExecutionSuspended { .. } => "ExecutionSuspended",
            EventKind::ExecutionResumed { .. } => "ExecutionResumed",
            EventKind::TaskScheduled { .. } => "TaskScheduled",
            EventKind::TaskCompleted { .. } => "TaskCompleted",
            EventKind::TaskFailed { .. } => "TaskFailed",
            EventKind::TimerCreated { .. } => "TimerCreated",
            EventKind::TimerFired { .. } => "TimerFired",
            EventKind::SubOrchestrationInstanceCreated { .. } => "SubOrchestrationInstanceCreated",
            EventKind::SubOrchestrationInstanceCompleted { .. } => {
                "SubOrchestrationInstanceCompleted"
            }
            EventKind::SubOrchestrationInstanceFailed { .. } => "SubOrchestrationInstanceFailed",
            EventKind::EventSent { .. } => "EventSent",
            EventKind::EventRaised { .. } => "EventRaised",
        }
    }

    /// The event that starts the orchestration registered as `name` for the first time, with
    /// nobody waiting for its end.
    pub const fn execution_started(name: Arc<str>, input: Payload) -> EventKind {
        EventKind::ExecutionStarted { name, input, parent: None, first_event_id: 0, carried: None }
    }

    /// Whether this event ends the orchestration.
    pub const fn is_end(&self) -> bool {
        matches!(
            self,
            EventKind::ExecutionCompleted { .. }
                | EventKind::ExecutionFailed { .. }
                | EventKind::ExecutionTerminated { .. }
        )
    }

    /// The decision that this event answers, if it is an answer.
    pub const fn answers(&self) -> Option<EventId> {
        match self {
            EventKind::TaskCompleted { task_scheduled_id, .. }
            | EventKind::TaskFailed { task_scheduled_id, .. }
            | EventKind::SubOrchestrationInstanceCompleted { task_scheduled_id, .. }
            | EventKind::SubOrchestrationInstanceFailed { task_scheduled_id, .. } => {
                Some(*task_scheduled_id)
            }
            EventKind::TimerFired { timer_id, .. } => Some(*timer_id),
            EventKind::EventRaised { event: RaisedEvent::Answer { event_id, .. } } => {
                Some(*event_id)
            }
            _ => None,
        }
    }

    /// The number of the decision that this event records, if it records one.
    pub const fn decision(&self) -> Option<EventId> {
        match self {
            EventKind::TaskScheduled { event_id, .. }
            | EventKind::TimerCreated { event_id, .. }
            | EventKind::SubOrchestrationInstanceCreated { event_id, .. }
            | EventKind::EventSent { event_id, .. } => Some(*event_id),
            _ => None,
        }
    }
}
