//! The client handle of an engine: requests of applications, and what is said about instances.

use crate::entity::{EntityRequest, Operation, RequestKind};
use crate::history::{EventKind, RaisedEvent};
use crate::id::{EntityId, InstanceId};
use crate::message::InstanceMessage;
use crate::orchestration::RuntimeStatus;
use crate::payload::Payload;
use crate::step::StepOutcome;
use crate::time::Timestamp;
use futures_util::future::LocalBoxFuture;
use std::sync::Arc;
use thiserror::Error;

/// A request to start an orchestration.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// The key of the new instance.
    pub instance: InstanceId,
    /// The registered name of the orchestration.
    pub name: Arc<str>,
    /// Its input.
    pub input: Payload,
}

/// A message of a client to an instance that exists, or to an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// Raise an external event in an orchestration.
    RaiseEvent {
        /// The name it is awaited by.
        name: Arc<str>,
        /// What it carries.
        input: Payload,
    },
    /// Send an operation to an entity.
    Signal {
        /// The registered name of the operation.
        operation: Arc<str>,
        /// Its input.
        input: Payload,
        /// When it is to run; `None` for at once.
        at: Option<Timestamp>,
    },
    /// End an orchestration.
    Terminate {
        /// Why.
        reason: Arc<str>,
    },
    /// Let an orchestration stand still.
    Suspend {
        /// Why.
        reason: Arc<str>,
    },
    /// Let a suspended orchestration go on.
    Resume {
        /// Why.
        reason: Arc<str>,
    },
}

impl ClientMessage {
    /// The event that the instance consumes.
    pub fn into_event(self) -> EventKind {
        let raised = |event| EventKind::EventRaised { event };
        match self {
            ClientMessage::RaiseEvent { name, input } => {
                raised(RaisedEvent::External { name, input })
            }
            ClientMessage::Signal { operation: name, input, at: scheduled } => {
                let operation = Operation { name, input, caller: None, section: None, scheduled };
                let request = EntityRequest::unordered(RequestKind::Operation(operation));
                raised(RaisedEvent::Request(Box::new(request)))
            }
            ClientMessage::Terminate { reason } => EventKind::ExecutionTerminated { reason },
            ClientMessage::Suspend { reason } => EventKind::ExecutionSuspended { reason },
            ClientMessage::Resume { reason } => EventKind::ExecutionResumed { reason },
        }
    }
}

/// What a client is told about an instance.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InstanceState {
    /// The registered name of its code.
    pub name: Arc<str>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last updated.
    pub last_updated: Timestamp,
    /// Where it is in its life.
    pub status: RuntimeStatus,
    /// What an orchestration has last set for whoever looks.
    pub custom_status: Option<Payload>,
    /// The state of an entity, if it has one.
    pub entity_state: Option<Payload>,
}

impl InstanceState {
    /// The state of an instance that has not run a step: the one that `message` brings into being.
    pub fn of_message(message: &InstanceMessage) -> InstanceState {
        let name = match (&message.event.kind, EntityId::of(&message.target)) {
            (EventKind::ExecutionStarted { name, .. }, _) => name.clone(),
            (_, Some(entity)) => entity.name().clone(),
            (_, None) => "".into(),
        };
        let created = message.event.timestamp;
        InstanceState {
            name,
            created,
            last_updated: created,
            status: RuntimeStatus::Running,
            custom_status: None,
            entity_state: None,
        }
    }

    /// Takes over what a step that ended at `at` has left.
    pub fn update(&mut self, outcome: &StepOutcome, at: Timestamp) {
        self.last_updated = at;
        self.status = outcome.status.clone();
        self.custom_status = outcome.custom_status.clone();
        self.entity_state = outcome.entity_state.clone();
    }
}

/// Which instances a client asks for. A condition that is absent lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InstanceQuery {
    /// Keys that begin like this.
    pub prefix: Option<Arc<str>>,
    /// Code registered under this name.
    pub name: Option<Arc<str>>,
    /// Whether the instance has ended.
    pub ended: Option<bool>,
    /// Created then or later.
    pub created_from: Option<Timestamp>,
    /// Created before then.
    pub created_before: Option<Timestamp>,
}

impl InstanceQuery {
    /// Whether an instance is asked for.
    pub fn selects(&self, instance: &InstanceId, state: &InstanceState) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| instance.as_str().starts_with(&**prefix))
            && self.name.as_ref().is_none_or(|name| *name == state.name)
            && self.ended.is_none_or(|ended| ended == state.status.is_final())
            && self.created_from.is_none_or(|from| from <= state.created)
            && self.created_before.is_none_or(|before| state.created < before)
    }
}

/// Why a client got no answer it can use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The request may or may not have taken effect.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The request did not take effect.
    #[error("refused: {0}")]
    Refused(String),
    /// The request did not take effect because something was not available: it can be made again.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl ClientError {
    /// Whether the same request may be answered otherwise if it is made again.
    pub fn is_transient(&self) -> bool {
        !matches!(self, ClientError::Refused(_))
    }
}

/// What a client gets, later.
pub type ClientAnswer<T> = LocalBoxFuture<'static, Result<T, ClientError>>;

/// The handle through which application code on a host reaches the task hub.
pub trait Client {
    /// Starts an orchestration; resolves when the engine has accepted the request. An instance of
    /// the same key that has ended is replaced.
    ///
    /// # Errors
    /// If the request was refused (an instance of the same key has not ended, or the key is one of an
    /// entity), or its outcome is unknown.
    fn start(&self, request: StartRequest) -> ClientAnswer<()>;

    /// Sends a message to an instance; resolves when the engine has accepted it. A message to an
    /// orchestration that does not exist or has ended is dropped; an entity comes into being.
    ///
    /// # Errors
    /// If the request was refused, or its outcome is unknown.
    fn send(&self, instance: InstanceId, message: ClientMessage) -> ClientAnswer<()>;

    /// The present state of an instance; `None` if there is no such instance.
    ///
    /// # Errors
    /// If the engine did not answer.
    fn status(&self, instance: InstanceId) -> ClientAnswer<Option<InstanceState>>;

    /// Waits until the instance has ended.
    ///
    /// # Errors
    /// If the engine did not answer.
    fn wait(&self, instance: InstanceId) -> ClientAnswer<InstanceState>;

    /// All instances that `query` selects, sorted by key. What changes meanwhile may be missed.
    ///
    /// # Errors
    /// If the engine did not answer.
    fn query(&self, query: InstanceQuery) -> ClientAnswer<Vec<(InstanceId, InstanceState)>>;

    /// Removes an instance and its history; false if there was none.
    ///
    /// # Errors
    /// If the instance is an orchestration that has not ended, or the engine did not answer.
    fn purge(&self, instance: InstanceId) -> ClientAnswer<bool>;

    /// Raises an external event in an orchestration; see [`Client::send`].
    fn raise_event(&self, instance: InstanceId, name: &str, input: Payload) -> ClientAnswer<()> {
        self.send(instance, ClientMessage::RaiseEvent { name: name.into(), input })
    }

    /// Sends an operation to an entity; see [`Client::send`].
    fn signal_entity(
        &self,
        entity: &EntityId,
        operation: &str,
        input: Payload,
    ) -> ClientAnswer<()> {
        let operation = operation.into();
        self.send(entity.instance_id(), ClientMessage::Signal { operation, input, at: None })
    }

    /// Ends an orchestration; see [`Client::send`].
    fn terminate(&self, instance: InstanceId, reason: &str) -> ClientAnswer<()> {
        self.send(instance, ClientMessage::Terminate { reason: reason.into() })
    }

    /// Lets an orchestration stand still; see [`Client::send`].
    fn suspend(&self, instance: InstanceId, reason: &str) -> ClientAnswer<()> {
        self.send(instance, ClientMessage::Suspend { reason: reason.into() })
    }

    /// Lets a suspended orchestration go on; see [`Client::send`].
    fn resume(&self, instance: InstanceId, reason: &str) -> ClientAnswer<()> {
        self.send(instance, ClientMessage::Resume { reason: reason.into() })
    }
}
