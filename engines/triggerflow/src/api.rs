//! The Trigger API: what stands for a workspace, and how messages get to it.
//!
//! It runs where it is called, and keeps nothing. Workspaces are created by [`crate::starts`]. Source:
//! triggerflow/triggerflow@e1f9f6d, `trigger-api/api/triggers.py`, `triggerflow/service/storage/redis.py`.
//!
//! Timers are an extension: the published system has no source of events by time. A timer is an event of
//! a stream of its own; the timer service ([`crate::timers`]) moves it when it is due.

use crate::event::{Event, Position};
use crate::hub::{Hub, Notice};
use crate::keys::{self, WorkspaceName};
use crate::starts::{self, NotCreated};
use crate::store::{Connection, StoreError, Stored};
use crate::timers;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sim_model::codec::encode;
use sim_model::engine::InstanceState;
use sim_model::history::{EventId, EventKind, ParentInstance, RaisedEvent};
use sim_model::id::{InstanceId, MessageId};
use sim_model::message::{InstanceMessage, TimerMessage};
use sim_model::time::Timestamp;
use sim_world::host::Host;
use std::collections::BTreeMap;
use std::sync::Arc;

/// By what a workspace exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkspaceRow {
    /// The message that started its workflow.
    pub(crate) start: MessageId,
    /// The state of the workflow when it was created.
    pub(crate) state: InstanceState,
    /// Whether its keys are those without a number.
    pub(crate) is_plain: bool,
}

impl WorkspaceRow {
    /// The workspace that this is the row of, under the name of its stream.
    pub(crate) fn workspace(&self, stream: &str) -> WorkspaceName {
        match self.is_plain {
            true => WorkspaceName::plain(stream.into()),
            false => WorkspaceName::of_run(stream.into(), self.start),
        }
    }
}

/// How a workflow ended, for whoever waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// The message that had started it.
    pub(crate) start: MessageId,
    pub(crate) state: InstanceState,
    /// The number of the first decision of the next workflow under the same key.
    pub(crate) next_event_id: EventId,
}

/// The global context of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Globals {
    /// The registered name of its workflow; none for a workspace of entities.
    pub(crate) workflow: Option<Arc<str>>,
    pub(crate) created: Timestamp,
    /// Events up to here are of a former workspace with this stream.
    pub(crate) first: Position,
    /// The message that starts its workflow: other starts are of former ones.
    pub(crate) start: MessageId,
    /// Who waits for its end, if the workflow is data.
    pub(crate) parent: Option<Box<ParentInstance>>,
}

impl Stored for WorkspaceRow {}
impl Stored for End {}
impl Stored for Globals {}

/// How the run that this is the row of has ended, if it has.
pub(crate) async fn end(
    connection: &Connection,
    stream: &str,
    row: &WorkspaceRow,
) -> Result<Option<End>, StoreError> {
    let is_of_run = |end: &End| end.start == row.start;
    connection.first(&keys::termination(stream), is_of_run).await
}

/// The row of the workspace whose events are in `stream`, and how it is stored.
pub(crate) async fn row(
    connection: &Connection,
    stream: &str,
) -> Result<Option<(WorkspaceRow, Bytes)>, StoreError> {
    connection.get_with_bytes::<WorkspaceRow>(keys::WORKSPACES, stream).await
}

/// Tells the control plane of every workspace whose workflow has not ended: a host that comes back does so,
/// because it may have died between creating one and telling. Source: Kubernetes, controllers list what
/// there is when they start, besides watching for what comes \[general\].
pub(crate) async fn relist(hub: &Hub, host: &Host) {
    let connection = hub.store.connect(host);
    let rows = connection.all::<WorkspaceRow>(keys::WORKSPACES).await;
    for (stream, row) in connection.sure(rows) {
        if end(&connection, &stream, &row).await == Ok(None) {
            hub.counters.workspaces_relisted.count();
            hub.notify(host, Notice::Created(hub.workspace(&row.workspace(&stream))));
        }
    }
}

/// Appends the event that carries `message` to the stream of its target's workspace.
pub(crate) async fn append(
    hub: &Hub,
    connection: &Connection,
    message: InstanceMessage,
) -> Result<(), StoreError> {
    let stream = hub.stream_of(&message.target);
    append_event(hub, connection, &stream, &Event::of_message(message)).await
}

/// Appends an event to a stream.
pub(crate) async fn append_event(
    hub: &Hub,
    connection: &Connection,
    stream: &str,
    event: &Event,
) -> Result<(), StoreError> {
    connection.append(stream, encode(event)).await?;
    hub.measure.sent(&event.message.target, event.message.id);
    Ok(())
}

/// Sends a message to an instance, whatever it is.
pub(crate) async fn send(
    hub: &Hub,
    host: &Host,
    connection: &Connection,
    message: InstanceMessage,
) -> Result<(), StoreError> {
    if message.starts_orchestration() {
        let id = message.id;
        return match starts::start(hub, host, connection, message, true).await {
            Ok(()) => Ok(()),
            Err(NotCreated::Exists | NotCreated::Unsupported | NotCreated::Unknown(_)) => {
                hub.observer.graph().discarded(id);
                Ok(())
            }
            Err(NotCreated::Store(error)) => Err(error),
        };
    }
    let raised = matches!(
        message.event.kind,
        EventKind::EventRaised { event: RaisedEvent::External { .. } }
    );
    let target = &message.target;
    if raised && !target.is_entity() && !connection.has(keys::WORKSPACES, target.as_str()).await? {
        hub.observer.graph().discarded(message.id);
        return Ok(());
    }
    append(hub, connection, message).await
}

/// Sends messages: those to one instance in their order, those to different instances side by side.
pub(crate) async fn send_all(
    hub: &Hub,
    host: &Host,
    connection: &Connection,
    messages: Vec<InstanceMessage>,
) -> Result<(), StoreError> {
    let mut by_target: BTreeMap<InstanceId, Vec<InstanceMessage>> = BTreeMap::new();
    for message in messages {
        by_target.entry(message.target.clone()).or_default().push(message);
    }
    let sending = by_target.into_values().map(|messages| async move {
        for message in messages {
            send(hub, host, connection, message).await?;
        }
        Ok::<(), StoreError>(())
    });
    futures_util::future::try_join_all(sending).await.map(|_| ())
}

/// Sends a message for later.
pub(crate) async fn send_later(
    hub: &Hub,
    connection: &Connection,
    timer: &TimerMessage,
) -> Result<(), StoreError> {
    hub.counters.timers.count();
    connection.add(timers::STREAM, encode(timer)).await
}
