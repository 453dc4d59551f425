//! What work items consume and produce.

use crate::error::ApplicationResult;
use crate::history::{EventId, EventKind, HistoryEvent};
use crate::id::{InstanceId, MessageId};
use crate::ledger::{Ledger, trail};
use crate::payload::Payload;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A message of the task queue: one call of a stateless task (an activity).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMessage {
    /// Its identity.
    pub id: MessageId,
    /// The instance that waits for the response.
    pub caller: InstanceId,
    /// The caller's decision that the response answers.
    pub event_id: EventId,
    /// The registered name of the activity.
    pub name: Arc<str>,
    /// The activity's input.
    pub input: Payload,
    /// How the caller's time was spent up to here.
    pub ledger: Ledger,
}

impl TaskMessage {
    /// The response to this call.
    pub fn response(
        &self,
        id: MessageId,
        result: ApplicationResult,
        ledger: Ledger,
    ) -> InstanceMessage {
        let task_scheduled_id = self.event_id;
        let kind = match result {
            Ok(result) => EventKind::TaskCompleted { task_scheduled_id, result },
            Err(error) => EventKind::TaskFailed { task_scheduled_id, error },
        };
        let event = HistoryEvent { timestamp: ledger.at(), kind };
        trail::sent(&ledger, id);
        InstanceMessage { id, target: self.caller.clone(), event, ledger }
    }
}

/// A message of an instance's queue: an event that its next step consumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceMessage {
    /// Its identity.
    pub id: MessageId,
    /// The instance whose queue it is in.
    pub target: InstanceId,
    /// The event that the step adds to the history.
    pub event: HistoryEvent,
    /// How the orchestration's time was spent up to here.
    pub ledger: Ledger,
}

impl InstanceMessage {
    /// Whether this message brings its target into being: the start of an orchestration, or
    /// whatever reaches an entity first.
    pub fn creates_instance(&self) -> bool {
        self.starts_orchestration() || self.target.is_entity()
    }

    /// Lets the orchestration that this message starts number its decisions from `first` on.
    ///
    /// An engine that starts a key again whose orchestration has ended passes what
    /// [`next_event_id`](crate::history::next_event_id) says of the former life. What was called there
    /// and answers only now is then recognised as late, and its locks and the keys of its
    /// sub-orchestrations are not taken for those of the new life. The published code tells lives apart
    /// by an execution id in each message.
    pub fn number_decisions_from(&mut self, first: EventId) {
        if let EventKind::ExecutionStarted { first_event_id, .. } = &mut self.event.kind {
            *first_event_id = first;
        }
    }

    /// Whether this message starts an orchestration.
    pub fn starts_orchestration(&self) -> bool {
        matches!(self.event.kind, EventKind::ExecutionStarted { .. })
    }
}

/// A message that an instance sends to itself and that arrives at an instant, not before: a durable
/// timer, or a signal that is scheduled for later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerMessage {
    /// When it is to be delivered. May have passed already.
    pub fire_at: Timestamp,
    /// What is delivered. Its ledger is explained up to `fire_at`.
    pub message: InstanceMessage,
}

/// The ledger a step starts with: that of the message which arrived last.
///
/// # Panics
/// If `messages` is empty: a step consumes at least one message.
pub fn critical_ledger(messages: &[InstanceMessage]) -> Ledger {
    let (first, rest) = messages.split_first().expect("invariant: a step consumes a message");
    *rest.iter().fold(&first.ledger, |latest, message| latest.later(&message.ledger))
}
