//! What user code can decide, and how a decision shows in the history.

use crate::history::{EventId, EventKind};
use crate::id::InstanceId;
use crate::payload::Payload;
use std::fmt;
use std::sync::Arc;

/// One decision of an orchestration's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Call an activity and expect its answer.
    CallActivity {
        /// The registered name.
        name: Arc<str>,
        /// The activity's input.
        input: Payload,
    },
    /// Start another orchestration and do not wait for it.
    StartOrchestration {
        /// The instance to start.
        instance: InstanceId,
        /// The registered name.
        name: Arc<str>,
        /// Its input.
        input: Payload,
    },
}

impl Decision {
    /// The history event that records this decision as number `event_id`.
    pub(super) fn event(&self, event_id: EventId) -> EventKind {
        match self.clone() {
            Decision::CallActivity { name, input } => {
                EventKind::TaskScheduled { event_id, name, input }
            }
            Decision::StartOrchestration { instance, name, input } => {
                EventKind::OrchestrationStarted { event_id, instance, name, input }
            }
        }
    }

    /// Whether `event` records this very decision. Inputs are not compared, as in the published
    /// executor: code may compute an input from what a newer version of it knows better.
    pub(super) fn is_recorded_by(&self, event: &EventKind) -> bool {
        match (self, event) {
            (
                Decision::CallActivity { name, .. },
                EventKind::TaskScheduled { name: recorded, .. },
            ) => name == recorded,
            (
                Decision::StartOrchestration { name, instance, .. },
                EventKind::OrchestrationStarted { name: recorded, instance: target, .. },
            ) => name == recorded && instance == target,
            _ => false,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::CallActivity { name, .. } => write!(f, "call of activity {name:?}"),
            Decision::StartOrchestration { name, instance, .. } => {
                write!(f, "start of orchestration {name:?} as {instance}")
            }
        }
    }
}

/// A recorded decision in words, for error messages.
pub(super) fn describe(event: &EventKind) -> String {
    match event {
        EventKind::TaskScheduled { event_id, name, .. } => {
            format!("event {event_id} TaskScheduled {name:?}")
        }
        EventKind::OrchestrationStarted { event_id, name, instance, .. } => {
            format!("event {event_id} OrchestrationStarted {name:?} as {instance}")
        }
        EventKind::TaskCompleted { task_scheduled_id, .. } => {
            format!("TaskCompleted for event {task_scheduled_id}")
        }
        EventKind::TaskFailed { task_scheduled_id, .. } => {
            format!("TaskFailed for event {task_scheduled_id}")
        }
        other => other.name().to_string(),
    }
}
