//! Starts of workflows: how a workspace comes into being.
//!
//! A new workspace takes one read and, in this order, a write of the global context, one of the event sources,
//! for each trigger a test and a write, and the write of the row by which the workspace exists; then the event
//! that starts it is appended, and the control plane is told. Source: triggerflow/triggerflow@e1f9f6d,
//! `trigger-api/api/triggers.py`, `triggerflow/service/storage/redis.py`.
//!
//! **Interrupted starts, and several at once.** Whoever starts may die, get no answer, or be held up for minutes
//! between any two of these commands, while others start the same orchestration. The published API leaves what
//! it has written, and lets the last one win. Here a start can be asked again, whatever was done before
//! [assumption: the plainest repair that adds no command to a start that nothing interrupts]:
//!
//! - The row alone says which workspace is an orchestration's, and everything that it names was written before.
//!   It is written only if there is none (HSETNX), or in place of the one of a run that has ended, if it is
//!   still that one (a script). Of several starts one gets it; the others find it, and leave theirs.
//! - A workspace is written under keys that no other has ([`WorkspaceName`]). The first takes those without
//!   a number, by writing the global context only if there is none; whoever finds anything there, from a
//!   start that goes on or from one that was interrupted, writes its own under its start's identity. So nothing
//!   has to be deleted before a start, and what comes late changes nothing.
//! - A row whose stream holds no start: the event is appended under the id that the row has. If the first one
//!   comes after all, one of the two is dropped (v4). Starts under other ids are dropped by the worker: they
//!   are of former runs.
//! - A host that comes back tells the control plane of all workspaces that have not ended ([`crate::api::relist`]).
//!
//! A status calls an orchestration that has no start yet unknown.

use crate::api::{self, Globals, WorkspaceRow};
use crate::event::{Event, Position};
use crate::hub::{Hub, Notice};
use crate::keys::WorkspaceName;
use crate::record::Record;
use crate::settings::Discipline;
use crate::store::{Connection, RowChange, StoreError};
use crate::trigger::{Role, Trigger};
use crate::workspace::Logic;
use bytes::Bytes;
use sim_model::codec::encode;
use sim_model::engine::InstanceState;
use sim_model::history::{EventId, EventKind, ParentInstance};
use sim_model::message::InstanceMessage;
use sim_world::host::Host;
use std::sync::Arc;

/// Why a workspace was not created.
pub(crate) enum NotCreated {
    /// One of its name exists and has not ended.
    Exists,
    /// Workflow as code, under the discipline that deletes what it is run from.
    Unsupported,
    /// The store did not answer.
    Store(StoreError),
    /// Another one is there, and perhaps this one was, because an attempt got no answer.
    Unknown(StoreError),
}

impl From<StoreError> for NotCreated {
    fn from(error: StoreError) -> NotCreated {
        NotCreated::Store(error)
    }
}

/// What was found under a name.
struct Found {
    row: WorkspaceRow,
    /// The row as it is stored.
    stored: Bytes,
    workspace: WorkspaceName,
    /// From where on the next workflow numbers its decisions, if this one has ended.
    ended: Option<EventId>,
}

async fn find(connection: &Connection, stream: &str) -> Result<Option<Found>, StoreError> {
    let mut known = api::row(connection, stream).await?;
    while let Some((row, stored)) = known {
        let end = api::end(connection, stream, &row).await?;
        if end.is_none() {
            // The end that is not there may have gone with its row.
            let now = api::row(connection, stream).await?;
            if now.as_ref().is_none_or(|(_, now)| *now != stored) {
                known = now;
                continue;
            }
        }
        let workspace = row.workspace(stream);
        let ended = end.map(|end| end.next_event_id);
        return Ok(Some(Found { row, stored, workspace, ended }));
    }
    Ok(None)
}

/// What became of an attempt at a start.
enum Attempt {
    /// The workspace exists.
    Won(WorkspaceName),
    /// Something is under the keys without a number.
    KeysTaken,
    /// The row is another one than was known: what was written for it, and whether it was perhaps written.
    Lost(WorkspaceName, Option<StoreError>),
}

/// Starts the workflow that `message` starts, in a workspace of its own. With `may_exist` it is asked for until
/// it is there, and being there is no error.
pub(crate) async fn start(
    hub: &Hub,
    host: &Host,
    connection: &Connection,
    mut message: InstanceMessage,
    may_exist: bool,
) -> Result<(), NotCreated> {
    let stream: Arc<str> = message.target.as_str().into();
    let mut is_plain = true;
    let (mut abandoned, mut doubt) = (None, None);
    let (workspace, former) = loop {
        let found = find(connection, &stream).await?;
        let is_own = |found: &&Found| found.row.start == message.id;
        if let Some(found) = found.as_ref().filter(is_own) {
            return started(hub, host, connection, message, found, may_exist).await;
        }
        if let Some(abandoned) = abandoned.take() {
            connection.delete_keys(&abandoned).await?;
        }
        if let Some(doubt) = doubt {
            return Err(NotCreated::Unknown(doubt));
        }
        if let Some(found) = &found {
            let Some(next_event_id) = found.ended else {
                return complete(hub, host, connection, message, found).await;
            };
            message.number_decisions_from(next_event_id);
            is_plain = false;
        }
        match attempt(hub, connection, &message, found.as_ref(), is_plain).await? {
            Attempt::Won(workspace) => break (workspace, found.map(|found| found.row.start)),
            Attempt::KeysTaken => is_plain = false,
            Attempt::Lost(workspace, in_doubt) => (abandoned, doubt) = (Some(workspace), in_doubt),
        }
        hub.counters.starts_overtaken.count();
    };
    hub.counters.runs_replaced.add(u64::from(former.is_some()));
    hub.measure.begun(&message.target, message.id, former);
    if matches!(hub.logic(Some(called(&message).0)), Logic::Joins(_)) {
        // Nothing waits for a start.
        hub.observer.graph().discarded(message.id);
        hub.notify(host, Notice::Created(hub.workspace(&workspace)));
        return Ok(());
    }
    append_start(hub, host, connection, message, &workspace).await
}

/// The registered name of the workflow that a message starts, and who waits for its end.
fn called(message: &InstanceMessage) -> (&Arc<str>, &Option<Box<ParentInstance>>) {
    match &message.event.kind {
        EventKind::ExecutionStarted { name, parent, .. } => (name, parent),
        _ => unreachable!("invariant: only a start creates a workspace"),
    }
}

/// Writes a workspace, and then its row in place of that of the former one.
async fn attempt(
    hub: &Hub,
    connection: &Connection,
    message: &InstanceMessage,
    former: Option<&Found>,
    is_plain: bool,
) -> Result<Attempt, NotCreated> {
    let (workflow, parent) = called(message);
    let logic = hub.logic(Some(workflow));
    if matches!(logic, Logic::Code) && hub.rules.discipline == Discipline::V3 {
        return Err(NotCreated::Unsupported);
    }
    let stream = message.target.as_str();
    let state = InstanceState::of_message(message);
    let row = WorkspaceRow { start: message.id, state, is_plain };
    let workspace = row.workspace(stream);
    let globals = Globals {
        first: connection.begin(stream).await?,
        start: message.id,
        workflow: Some(workflow.clone()),
        created: message.event.timestamp,
        parent: parent.clone(),
    };
    if !create(connection, &workspace, &logic, &globals, !is_plain).await? {
        return Ok(Attempt::KeysTaken);
    }
    let former = former.map(|found| (&found.workspace, found.stored.clone()));
    Ok(match connection.change_row(stream, former, Some(encode(&row))).await? {
        RowChange::Done => Attempt::Won(workspace),
        RowChange::IsAnother => Attempt::Lost(workspace, None),
        RowChange::Unknown(error) => Attempt::Lost(workspace, Some(error)),
    })
}

/// The workspace is that of this start: an earlier attempt has created it, and got no answer, or did not come
/// to telling.
async fn started(
    hub: &Hub,
    host: &Host,
    connection: &Connection,
    message: InstanceMessage,
    found: &Found,
    may_exist: bool,
) -> Result<(), NotCreated> {
    if found.ended.is_some() {
        return Ok(());
    }
    hub.measure.begun(&message.target, message.id, None);
    if may_exist || lacks_start(hub, connection, &found.workspace, &found.row).await? {
        return append_start(hub, host, connection, message, &found.workspace).await;
    }
    Ok(())
}

/// Appends the event that starts a workflow, and tells the control plane of its workspace: also if the event
/// may not be there, since nobody would tell it if it is.
async fn append_start(
    hub: &Hub,
    host: &Host,
    connection: &Connection,
    message: InstanceMessage,
    workspace: &WorkspaceName,
) -> Result<(), NotCreated> {
    let appended = api::append(hub, connection, message).await;
    hub.notify(host, Notice::Created(hub.workspace(workspace)));
    Ok(appended?)
}

/// Finishes what another start of the workspace has begun, if it was interrupted before its event.
async fn complete(
    hub: &Hub,
    host: &Host,
    connection: &Connection,
    mut message: InstanceMessage,
    found: &Found,
) -> Result<(), NotCreated> {
    if !lacks_start(hub, connection, &found.workspace, &found.row).await? {
        return Err(NotCreated::Exists);
    }
    hub.counters.starts_completed.count();
    hub.observer.graph().discarded(message.id);
    message.id = found.row.start;
    hub.measure.begun(&message.target, message.id, None);
    append_start(hub, host, connection, message, &found.workspace).await
}

/// Whether a workspace exists whose stream has not got the event that starts its workflow.
pub(crate) async fn lacks_start(
    hub: &Hub,
    connection: &Connection,
    workspace: &WorkspaceName,
    row: &WorkspaceRow,
) -> Result<bool, StoreError> {
    let logic = hub.logic(Some(&row.state.name));
    if matches!(logic, Logic::Joins(_)) {
        return Ok(false);
    }
    let globals = connection.all::<Globals>(&workspace.globals()).await?;
    let first = globals.first().map_or(Position::default(), |(_, globals)| globals.first);
    if connection.last_event(workspace.stream()).await? <= first {
        return Ok(true);
    }
    // Events of v3 are deleted once they were received.
    if hub.rules.discipline == Discipline::V3 {
        return Ok(false);
    }
    // Code that continues as new deletes its start.
    let triggers = connection.all::<Trigger>(&workspace.triggers()).await?;
    let has_run = |trigger: &Trigger| match trigger.role {
        Role::Wake => Record::of(trigger).number > 0,
        Role::Done => true,
        _ => false,
    };
    if triggers.iter().any(|(_, trigger)| has_run(trigger)) {
        return Ok(false);
    }
    let entries = connection.try_read(workspace.stream(), first).await?;
    let is_start = |event: Event| event.starts(row.start);
    Ok(!entries.iter().any(|(_, body)| connection.decoded(body).is_some_and(is_start)))
}

/// Writes what a workspace has, but its row. False, with nothing more done, if something is under its keys that
/// is not `is_own`: of nobody else.
pub(crate) async fn create(
    connection: &Connection,
    workspace: &WorkspaceName,
    logic: &Logic,
    globals: &Globals,
    is_own: bool,
) -> Result<bool, StoreError> {
    if !connection.set_new(&workspace.globals(), "0", encode(globals)).await? && !is_own {
        return Ok(false);
    }
    let sources = vec![("0".into(), encode(workspace.stream()))];
    connection.set(&workspace.sources(), sources).await?;
    let triggers = workspace.triggers();
    for trigger in logic.triggers(globals.first) {
        if connection.has(&triggers, &trigger.id).await? && !is_own {
            return Ok(false);
        }
        connection.set_new(&triggers, &trigger.id, encode(&trigger)).await?;
    }
    Ok(true)
}
