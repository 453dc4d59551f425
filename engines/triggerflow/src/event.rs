//! Events: what a workspace's stream holds, and what activates triggers.
//!
//! An event has an id, a subject that selects triggers, and a kind that says what happened, as a
//! CloudEvent has. Everything the model sends to an instance travels in one. The termination event of
//! a function is named after its *invocation*: a function that was invoked twice, or run twice, ends
//! with two events of one id.

use crate::store::Stored;
use serde::{Deserialize, Serialize};
use sim_model::application::{ApplicationError, ApplicationResult};
use sim_model::history::{EventKind, HistoryEvent, RaisedEvent};
use sim_model::id::{InstanceId, MessageId};
use sim_model::ledger::Ledger;
use sim_model::message::{InstanceMessage, TaskMessage};
use sim_model::payload::Payload;
use std::sync::Arc;

/// The subject that starts a workflow. Source: triggerflow/triggerflow@e1f9f6d, `dags/dagrun.py`.
pub(crate) const INIT: &str = "__init__";

/// Subject of what is no event of a workflow: its end from outside.
const CONTROL: &str = "__control__";

/// The identity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct EventId {
    /// The message that the event carries, or the invocation whose end it is.
    pub(crate) of: MessageId,
    /// Which of the two.
    pub(crate) termination: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A workflow, or a machine within one, is to begin.
    Init,
    /// Something ended well.
    Success,
    /// Something failed.
    Failure,
    /// Somebody sent a message.
    Signal,
}

/// Which iteration of which branch an event belongs to, outermost first: state machines nest.
pub(crate) type Frame = Vec<u32>;

/// Where an event is in its workspace's stream.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct Position(pub(crate) u64, pub(crate) u64);

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    pub(crate) subject: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) frame: Frame,
    /// What it carries.
    pub(crate) message: InstanceMessage,
}

impl Stored for Event {}

impl Event {
    /// The event that carries `message`.
    pub(crate) fn of_message(message: InstanceMessage) -> Event {
        let (subject, kind) = match &message.event.kind {
            EventKind::ExecutionStarted { .. } => (INIT.into(), Kind::Init),
            _ if message.target.is_entity() => (message.target.as_str().into(), Kind::Signal),
            EventKind::EventRaised { event: RaisedEvent::External { name, .. } } => {
                (name.clone(), Kind::Signal)
            }
            EventKind::ExecutionTerminated { .. }
            | EventKind::ExecutionSuspended { .. }
            | EventKind::ExecutionResumed { .. } => (CONTROL.into(), Kind::Signal),
            other => {
                let number = other.answers().unwrap_or_default();
                (format!("decision-{number}").into(), Kind::Success)
            }
        };
        let id = EventId { of: message.id, termination: false };
        Event { id, subject, kind, frame: Frame::new(), message }
    }

    /// The event with which the invocation of `task` ends.
    pub(crate) fn termination(invocation: &TaskCall, response: InstanceMessage) -> Event {
        let failed = matches!(response.event.kind, EventKind::TaskFailed { .. });
        Event {
            id: EventId { of: invocation.task.id, termination: true },
            subject: invocation.subject.clone(),
            kind: if failed { Kind::Failure } else { Kind::Success },
            frame: invocation.frame.clone(),
            message: response,
        }
    }

    /// An event that an action sends to its own workspace.
    pub(crate) fn local(
        id: MessageId,
        instance: &InstanceId,
        (subject, kind, frame): (Arc<str>, Kind, Frame),
        result: ApplicationResult,
        ledger: Ledger,
    ) -> Event {
        let happened = match result {
            Ok(result) => {
                EventKind::SubOrchestrationInstanceCompleted { task_scheduled_id: 0, result }
            }
            Err(error) => EventKind::SubOrchestrationInstanceFailed { task_scheduled_id: 0, error },
        };
        let event = HistoryEvent { timestamp: ledger.at(), kind: happened };
        let message = InstanceMessage { id, target: instance.clone(), event, ledger };
        Event { id: EventId { of: id, termination: false }, subject, kind, frame, message }
    }

    /// The result that the event carries, and the number of the call that it answers.
    pub(crate) fn result(&self) -> Option<(u32, ApplicationResult)> {
        match &self.message.event.kind {
            EventKind::TaskCompleted { task_scheduled_id, result }
            | EventKind::SubOrchestrationInstanceCompleted { task_scheduled_id, result } => {
                Some((*task_scheduled_id, Ok(result.clone())))
            }
            EventKind::TaskFailed { task_scheduled_id, error }
            | EventKind::SubOrchestrationInstanceFailed { task_scheduled_id, error } => {
                Some((*task_scheduled_id, Err(error.clone())))
            }
            _ => None,
        }
    }

    /// The input of a workflow, or of a machine within one.
    pub(crate) fn input(&self) -> Result<Payload, ApplicationError> {
        match &self.message.event.kind {
            EventKind::ExecutionStarted { input, .. } => Ok(input.clone()),
            _ => self.result().map_or_else(
                || Err(ApplicationError::data("the event carries no input")),
                |(_, result)| result,
            ),
        }
    }

    /// Whether it starts the workflow that `start` starts.
    pub(crate) fn starts(&self, start: MessageId) -> bool {
        self.message.starts_orchestration() && self.message.id == start
    }

    /// Whether it starts another run of the workflow than the one that `start` starts.
    pub(crate) fn starts_another(&self, start: MessageId) -> bool {
        self.message.starts_orchestration() && self.message.id != start
    }

    /// Why the workflow is to end, if that is what the event says.
    pub(crate) fn terminates(&self) -> Option<&Arc<str>> {
        match &self.message.event.kind {
            EventKind::ExecutionTerminated { reason } => Some(reason),
            _ => None,
        }
    }
}

/// The invocation of a task by an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskCall {
    /// The subject of its termination event.
    pub(crate) subject: Arc<str>,
    pub(crate) frame: Frame,
    pub(crate) task: TaskMessage,
}

impl TaskCall {
    /// An invocation of workflow code: the subject is the number of the decision.
    pub(crate) fn of_task(task: TaskMessage) -> TaskCall {
        let subject = format!("decision-{}", task.event_id).into();
        TaskCall { subject, frame: Frame::new(), task }
    }
}
