//! The Trigger API: what creates workspaces and triggers, and appends events.
//!
//! It runs where it is called, and keeps nothing. A new workspace takes one read and, in this order, for
//! each trigger a test and a write, a write of the global context, one of the event sources, and one of
//! the row by which the workspace exists; then the event that starts it is appended, and the control plane
//! is told. Source: triggerflow/triggerflow@e1f9f6d, `trigger-api/api/triggers.py`,
//! `triggerflow/service/storage/redis.py`.
//!
//! **Interrupted starts.** Whoever starts may die, or get no answer, between any two of these commands. The
//! published API leaves what it has written. Here it can be asked again, whatever was done before
//! [assumption: the plainest repair that adds no command to a start that nothing interrupts]:
//!
//! | interrupted | found by the next start, or status | done |
//! |---|---|---|
//! | before the row | triggers of a workspace that does not exist | all is deleted, and created again |
//! | before the event | a workspace whose stream holds no start | the event is appended under the id that the row has: if the first one comes after all, one of the two is dropped (v4) |
//! | before the control plane was told | | a host that comes back tells it of all workspaces that have not ended ([`relist`]) |
//!
//! A status calls an orchestration that has no start yet unknown.
//!
//! Timers are an extension: the published system has no source of events by time. A timer is an event of
//! a stream of its own; the timer service ([`crate::timers`]) moves it when it is due.

use crate::event::{Event, Position};
use crate::hub::{Hub, Notice};
use crate::record::Record;
use crate::settings::Discipline;
use crate::store::{Connection, StoreError, Stored, keys};
use crate::timers;
use crate::trigger::{Role, Trigger};
use crate::workspace::Logic;
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
}

/// How a workflow ended, for whoever waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
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
    /// Events up to here are of a former workspace of this name.
    pub(crate) first: Position,
    /// Who waits for its end, if the workflow is data.
    pub(crate) parent: Option<Box<ParentInstance>>,
}

impl Stored for WorkspaceRow {}
impl Stored for End {}
impl Stored for Globals {}

/// Why a workspace was not created.
pub(crate) enum NotCreated {
    /// One of its name exists and has not ended.
    Exists,
    /// Workflow as code, under the discipline that deletes what it is run from.
    Unsupported,
    /// The store did not answer.
    Store(StoreError),
}

impl From<StoreError> for NotCreated {
    fn from(error: StoreError) -> NotCreated {
        NotCreated::Store(error)
    }
}

/// What was found under the name of a workspace.
enum Found {
    Nothing,
    Running(WorkspaceRow),
    /// It has ended: whether this very message had started it, and from where on the next one numbers
    /// its decisions.
    Ended(bool, EventId),
}

async fn find(connection: &Connection, name: &str, start: MessageId) -> Result<Found, StoreError> {
    let Some(row) = connection.get::<WorkspaceRow>(keys::WORKSPACES, name).await? else {
        return Ok(Found::Nothing);
    };
    match connection.first::<End>(&keys::termination(name)).await? {
        None => Ok(Found::Running(row)),
        Some(end) => Ok(Found::Ended(row.start == start, end.next_event_id)),
    }
}

/// Starts the workflow that `message` starts, in a workspace of its own.
pub(crate) async fn start(
    hub: &Hub,
    host: &Host,
    connection: &Connection,
    mut message: InstanceMessage,
    may_exist: bool,
) -> Result<(), NotCreated> {
    let name: Arc<str> = message.target.as_str().into();
    let EventKind::ExecutionStarted { name: workflow, parent, .. } = &message.event.kind else {
        unreachable!("invariant: only a start creates a workspace");
    };
    let (workflow, parent) = (workflow.clone(), parent.clone());
    let logic = hub.logic(Some(&workflow));
    let mut is_cleared = false;
    loop {
        match find(connection, &name, message.id).await? {
            Found::Nothing => {}
            Found::Running(_) if may_exist => {
                // Whoever created it may have died before the control plane was told.
                return append_start(hub, host, connection, message).await;
            }
            Found::Running(row) => {
                return complete(hub, host, connection, message, &row).await;
            }
            Found::Ended(true, _) => return Ok(()),
            Found::Ended(false, next_event_id) => {
                message.number_decisions_from(next_event_id);
                remove(connection, &name).await?;
            }
        }
        if matches!(logic, Logic::Code) && hub.rules.discipline == Discipline::V3 {
            return Err(NotCreated::Unsupported);
        }
        let globals = Globals {
            first: connection.begin(&name).await?,
            workflow: Some(workflow.clone()),
            created: message.event.timestamp,
            parent: parent.clone(),
        };
        let row = WorkspaceRow { start: message.id, state: InstanceState::of_message(&message) };
        if create(connection, &name, &logic, &globals, &row, is_cleared).await? {
            break;
        }
        // What an interrupted start or removal has left goes, unless somebody has finished it meanwhile.
        if let Found::Nothing = find(connection, &name, message.id).await? {
            connection.delete_workspace(&name).await?;
            is_cleared = true;
        }
    }
    hub.measure.begun(&message.target);
    if matches!(logic, Logic::Joins(_)) {
        // Nothing waits for a start.
        hub.observer.graph().discarded(message.id);
        hub.notify(host, Notice::Created(hub.workspace(&name)));
        return Ok(());
    }
    append_start(hub, host, connection, message).await
}

/// Appends the event that starts a workflow, and tells the control plane of its workspace: also if the event
/// may not be there, since nobody would tell it if it is.
async fn append_start(
    hub: &Hub,
    host: &Host,
    connection: &Connection,
    message: InstanceMessage,
) -> Result<(), NotCreated> {
    let workspace = hub.workspace_of(&message.target);
    let appended = append(hub, connection, message).await;
    hub.notify(host, Notice::Created(hub.workspace(&workspace)));
    Ok(appended?)
}

/// Finishes what another start of the workspace has begun, if it was interrupted before its event.
async fn complete(
    hub: &Hub,
    host: &Host,
    connection: &Connection,
    mut message: InstanceMessage,
    row: &WorkspaceRow,
) -> Result<(), NotCreated> {
    let name: Arc<str> = message.target.as_str().into();
    if !lacks_start(hub, connection, &name, row).await? {
        return Err(NotCreated::Exists);
    }
    hub.counters.starts_completed.count();
    hub.observer.graph().discarded(message.id);
    message.id = row.start;
    hub.measure.begun_unless_under_way(&message.target);
    append_start(hub, host, connection, message).await
}

/// Whether a workspace exists whose stream has not got the event that starts its workflow.
pub(crate) async fn lacks_start(
    hub: &Hub,
    connection: &Connection,
    name: &str,
    row: &WorkspaceRow,
) -> Result<bool, StoreError> {
    let logic = hub.logic(Some(&row.state.name));
    if matches!(logic, Logic::Joins(_)) {
        return Ok(false);
    }
    let globals = connection.all::<Globals>(&keys::globals(name)).await?;
    let first = globals.first().map_or(Position::default(), |(_, globals)| globals.first);
    if connection.last_event(name).await? <= first {
        return Ok(true);
    }
    // Events of v3 are deleted once they were received.
    if hub.rules.discipline == Discipline::V3 {
        return Ok(false);
    }
    // Code that continues as new deletes its start.
    let triggers = connection.all::<Trigger>(&keys::triggers(name)).await?;
    let has_run = |trigger: &Trigger| match trigger.role {
        Role::Wake => Record::of(trigger).number > 0,
        Role::Done => true,
        _ => false,
    };
    if triggers.iter().any(|(_, trigger)| has_run(trigger)) {
        return Ok(false);
    }
    let entries = connection.try_read(name, first).await?;
    let starts = |event: Event| event.message.starts_orchestration();
    Ok(!entries.iter().any(|(_, body)| connection.decoded(body).is_some_and(starts)))
}

/// Creates a workspace. False, with nothing more done, if there are triggers of one that does not exist;
/// with `over` they are written over.
pub(crate) async fn create(
    connection: &Connection,
    name: &str,
    logic: &Logic,
    globals: &Globals,
    row: &WorkspaceRow,
    over: bool,
) -> Result<bool, StoreError> {
    let triggers = keys::triggers(name);
    for trigger in logic.triggers(globals.first) {
        if connection.has(&triggers, &trigger.id).await? && !over {
            return Ok(false);
        }
        connection.set(&triggers, vec![(trigger.id.clone(), encode(&trigger))]).await?;
    }
    let one = |value| vec![("0".into(), value)];
    connection.set(&keys::globals(name), one(encode(globals))).await?;
    connection.set(&keys::sources(name), one(encode(&name))).await?;
    connection.set(keys::WORKSPACES, vec![(name.into(), encode(row))]).await?;
    Ok(true)
}

/// Tells the control plane of every workspace whose workflow has not ended: a host that comes back does so,
/// because it may have died between creating one and telling. Source: Kubernetes, controllers list what
/// there is when they start, besides watching for what comes \[general\].
pub(crate) async fn relist(hub: &Hub, host: &Host) {
    let connection = hub.store.connect(host);
    let rows = connection.all::<WorkspaceRow>(keys::WORKSPACES).await;
    for (name, _) in connection.sure(rows) {
        let ended = connection.first::<End>(&keys::termination(&name)).await;
        if ended == Ok(None) {
            hub.counters.workspaces_relisted.count();
            hub.notify(host, Notice::Created(hub.workspace(&name.into())));
        }
    }
}

/// Removes a workspace with all it has.
pub(crate) async fn remove(connection: &Connection, name: &str) -> Result<(), StoreError> {
    connection.remove(keys::WORKSPACES, vec![name.into()]).await?;
    connection.delete_workspace(name).await
}

/// Appends the event that carries `message` to the stream of its target's workspace.
pub(crate) async fn append(
    hub: &Hub,
    connection: &Connection,
    message: InstanceMessage,
) -> Result<(), StoreError> {
    let workspace = hub.workspace_of(&message.target);
    append_event(hub, connection, &workspace, &Event::of_message(message)).await
}

/// Appends an event to the stream of a workspace.
pub(crate) async fn append_event(
    hub: &Hub,
    connection: &Connection,
    workspace: &str,
    event: &Event,
) -> Result<(), StoreError> {
    connection.append(workspace, encode(event)).await?;
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
        return match start(hub, host, connection, message, true).await {
            Ok(()) => Ok(()),
            Err(NotCreated::Exists | NotCreated::Unsupported) => {
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
