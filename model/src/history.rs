//! What an orchestration remembers: its history of events.
//!
//! The state of an orchestration is the list of everything that happened to it and everything it
//! decided, in order; its code is replayed from that list. One episode (one step work item) appends
//! [`EventKind::OrchestratorStarted`], the events of the consumed messages, the events of the new
//! decisions, and [`EventKind::OrchestratorCompleted`]. Names follow Azure/durabletask
//! (`src/DurableTask.Core/History/EventType.cs`).

use crate::application::ApplicationError;
use crate::id::{InstanceId, WorkItemId};
use crate::payload::Payload;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The number of a decision within its orchestration, counted from 0 in the order of the code.
pub type EventId = u32;

/// One entry of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEvent {
    /// When it happened, by the clock of the host that recorded it.
    pub timestamp: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to an orchestration, or what it decided.
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
        /// Its input.
        input: Payload,
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
    /// The orchestration started another one and does not wait for it.
    OrchestrationStarted {
        /// The number of the decision.
        event_id: EventId,
        /// The instance that was started.
        instance: InstanceId,
        /// The registered name of the started orchestration.
        name: Arc<str>,
        /// Its input.
        input: Payload,
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
            EventKind::TaskScheduled { .. } => "TaskScheduled",
            EventKind::TaskCompleted { .. } => "TaskCompleted",
            EventKind::TaskFailed { .. } => "TaskFailed",
            EventKind::OrchestrationStarted { .. } => "OrchestrationStarted",
        }
    }

    /// Whether this event ends the orchestration.
    pub const fn is_end(&self) -> bool {
        matches!(self, EventKind::ExecutionCompleted { .. } | EventKind::ExecutionFailed { .. })
    }

    /// The decision that this event answers, if it is an answer.
    pub const fn answers(&self) -> Option<EventId> {
        match self {
            EventKind::TaskCompleted { task_scheduled_id, .. }
            | EventKind::TaskFailed { task_scheduled_id, .. } => Some(*task_scheduled_id),
            _ => None,
        }
    }

    /// The number of the decision that this event records, if it records one.
    pub const fn decision(&self) -> Option<EventId> {
        match self {
            EventKind::TaskScheduled { event_id, .. }
            | EventKind::OrchestrationStarted { event_id, .. } => Some(*event_id),
            _ => None,
        }
    }
}
