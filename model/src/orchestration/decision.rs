//! What user code can decide, and how a decision shows in the history.

use crate::history::{EventId, EventKind, RaisedEvent};
use crate::id::InstanceId;
use crate::payload::Payload;
use crate::time::Timestamp;
use std::fmt;
use std::sync::Arc;

/// One decision of an orchestration's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Call an activity and expect its answer.
    CallActivity { name: Arc<str>, input: Payload },
    /// Create a durable timer and expect it to fire.
    CreateTimer { fire_at: Timestamp },
    /// Start another orchestration; expect its end unless it is fire-and-forget.
    StartOrchestration {
        instance: InstanceId,
        name: Arc<str>,
        input: Payload,
        fire_and_forget: bool,
    },
    /// Send an event to another instance. A request to an entity gets its stamp when it is sent.
    SendEvent { target: InstanceId, event: RaisedEvent },
}

impl Decision {
    /// The history event that records this decision as number `event_id`.
    pub(super) fn event(&self, event_id: EventId) -> EventKind {
        match self.clone() {
            Decision::CallActivity { name, input } => {
                EventKind::TaskScheduled { event_id, name, input }
            }
            Decision::CreateTimer { fire_at } => EventKind::TimerCreated { event_id, fire_at },
            Decision::StartOrchestration { instance, name, input, fire_and_forget } => {
                EventKind::SubOrchestrationInstanceCreated {
                    event_id,
                    instance,
                    name,
                    input,
                    fire_and_forget,
                }
            }
            Decision::SendEvent { target, event } => {
                EventKind::EventSent { event_id, target, event }
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
            (Decision::CreateTimer { .. }, EventKind::TimerCreated { .. }) => true,
            (
                Decision::StartOrchestration { name, instance, .. },
                EventKind::SubOrchestrationInstanceCreated {
                    name: recorded, instance: target, ..
                },
            ) => name == recorded && instance == target,
            (Decision::SendEvent { target, .. }, EventKind::EventSent { target: recorded, .. }) => {
                target == recorded
            }
            _ => false,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::CallActivity { name, .. } => write!(f, "call of activity {name:?}"),
            Decision::CreateTimer { .. } => f.write_str("creation of a timer"),
            Decision::StartOrchestration { name, instance, .. } => {
                write!(f, "start of orchestration {name:?} as {instance}")
            }
            Decision::SendEvent { target, .. } => write!(f, "event to {target}"),
        }
    }
}

/// A recorded event in words, for error messages.
pub(super) fn describe(event: &EventKind) -> String {
    match event {
        EventKind::TaskScheduled { event_id, name, .. } => {
            format!("event {event_id} TaskScheduled {name:?}")
        }
        EventKind::SubOrchestrationInstanceCreated { event_id, name, instance, .. } => {
            format!("event {event_id} SubOrchestrationInstanceCreated {name:?} as {instance}")
        }
        EventKind::EventSent { event_id, target, .. } => {
            format!("event {event_id} EventSent to {target}")
        }
        other => match (other.decision(), other.answers()) {
            (Some(id), _) => format!("event {id} {}", other.name()),
            (None, Some(id)) => format!("{} for event {id}", other.name()),
            (None, None) => other.name().to_string(),
        },
    }
}
