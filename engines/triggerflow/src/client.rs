//! The client of a task hub, on a host.
//!
//! Requests go to the stores through the Trigger API ([`crate::api`]). A status is read from the row of
//! the workspace, the stream that says how it ended, and the context of its coordinator's trigger; that
//! of an entity from the context of its trigger. Who waits for a workflow waits for the first entry of
//! that stream.

use crate::api::{self, End, WorkspaceRow};
use crate::event::Position;
use crate::hub::{Hub, entity_workspace};
use crate::keys::{self, WorkspaceName};
use crate::record::Record;
use crate::starts::{self, NotCreated};
use crate::store::{Connection, RowChange, StoreError};
use crate::trigger::{Role, Trigger};
use crate::worker::EntityValue;
use sim_model::codec::decode;
use sim_model::engine::{
    Client, ClientAnswer, ClientError, ClientMessage, InstanceQuery, InstanceState, StartRequest,
};
use sim_model::graph::Sending;
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::{InstanceId, MessageId};
use sim_model::ledger::Ledger;
use sim_model::message::InstanceMessage;
use sim_model::orchestration::RuntimeStatus;
use std::rc::Rc;
use std::time::Duration;

/// How often a client tries a command.
const ATTEMPTS: u32 = 5;
/// Pause between two tries, and between two looks at an entity that is to be removed [assumption].
const PAUSE: Duration = Duration::from_millis(200);

/// A client on a host.
#[derive(Clone)]
pub(crate) struct TriggerClient {
    hub: Rc<Hub>,
    place: usize,
    connection: Connection,
}

impl TriggerClient {
    pub(crate) fn new(hub: &Rc<Hub>, place: usize) -> TriggerClient {
        let connection = hub.store.connect_for(hub.host(place), ATTEMPTS, PAUSE);
        TriggerClient { hub: hub.clone(), place, connection }
    }

    /// A message that counts once its sender was told that it was taken.
    fn message(&self, target: InstanceId, kind: EventKind) -> (InstanceMessage, Sending) {
        let now = self.hub.now();
        let sending = self.hub.observer.graph().sending();
        let event = HistoryEvent { timestamp: now, kind };
        let id = sending.message();
        (InstanceMessage { id, target, event, ledger: Ledger::new(now) }, sending)
    }

    async fn start(&self, request: StartRequest) -> Result<(), ClientError> {
        let StartRequest { instance, name, input } = request;
        if instance.is_entity() {
            return Err(ClientError::Refused(format!("{instance} is the key of an entity")));
        }
        let kind = EventKind::execution_started(name, input);
        let (message, sending) = self.message(instance.clone(), kind);
        let host = self.hub.host(self.place);
        match starts::start(&self.hub, host, &self.connection, message, false).await {
            Ok(()) => {
                sending.accepted();
                Ok(())
            }
            Err(NotCreated::Exists) => {
                Err(ClientError::Refused(format!("instance {instance} exists and has not ended")))
            }
            Err(NotCreated::Unsupported) => Err(ClientError::Refused(
                "discipline v3 deletes the stream that workflow as code is run from: start a \
                 workflow that is data, or use v1, v2 or v4"
                    .to_owned(),
            )),
            // Some of its commands may have taken effect, whichever of them failed.
            Err(NotCreated::Store(error) | NotCreated::Unknown(error)) => Err(unknown(&error)),
        }
    }

    async fn send(&self, instance: InstanceId, message: ClientMessage) -> Result<(), ClientError> {
        let (message, sending) = self.message(instance.clone(), message.into_event());
        if !instance.is_entity() {
            let exists = self.connection.has(keys::WORKSPACES, instance.as_str()).await;
            if !exists.map_err(|error| unanswered(&error))? {
                return Ok(());
            }
        }
        match api::append(&self.hub, &self.connection, message).await {
            Ok(()) => {
                sending.accepted();
                Ok(())
            }
            Err(error) if error.is_ambiguous() => Err(unknown(&error)),
            Err(error) => Err(ClientError::Unavailable(error.to_string())),
        }
    }

    async fn status(&self, instance: &InstanceId) -> Result<Option<InstanceState>, StoreError> {
        if instance.is_entity() {
            let triggers = WorkspaceName::plain(self.hub.stream_of(instance)).triggers();
            let trigger = self.connection.get::<Trigger>(&triggers, instance.as_str()).await?;
            return Ok(trigger.as_ref().and_then(entity_state));
        }
        let mut known = api::row(&self.connection, instance.as_str()).await?;
        while let Some((row, stored)) = known {
            let state = self.started(&row.workspace(instance.as_str()), row).await?;
            if state.is_some() {
                return Ok(state);
            }
            // What is not there may have gone with its row.
            known = api::row(&self.connection, instance.as_str()).await?;
            if known.as_ref().is_some_and(|(_, now)| *now == stored) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The state of an orchestration whose workspace exists; none if it was not started.
    async fn started(
        &self,
        workspace: &WorkspaceName,
        row: WorkspaceRow,
    ) -> Result<Option<InstanceState>, StoreError> {
        let state = self.orchestration(workspace, row.clone()).await?;
        // One that nothing has happened to may never have got its start: then somebody is to start it.
        let is_untouched = state == row.state;
        if is_untouched && starts::lacks_start(&self.hub, &self.connection, workspace, &row).await?
        {
            return Ok(None);
        }
        Ok(Some(state))
    }

    /// The state of an orchestration whose workspace exists.
    async fn orchestration(
        &self,
        workspace: &WorkspaceName,
        row: WorkspaceRow,
    ) -> Result<InstanceState, StoreError> {
        let ended = api::end(&self.connection, workspace.stream(), &row).await?;
        if let Some(end) = ended {
            return Ok(end.state);
        }
        let triggers = self.connection.all::<Trigger>(&workspace.triggers()).await?;
        let wakes = triggers.iter().filter(|(_, trigger)| trigger.role == Role::Wake);
        let last = wakes.map(|(_, trigger)| Record::of(trigger)).max_by_key(|record| record.number);
        let mut state = row.state;
        if let Some(record) = last {
            state.last_updated = state.last_updated.max(record.updated);
            state.custom_status = record.custom_status;
            // An end counts once it is published.
            let status = record.status.filter(|status| !status.is_final());
            state.status = status.unwrap_or(RuntimeStatus::Running);
        }
        Ok(state)
    }

    async fn wait(&self, instance: &InstanceId) -> Result<InstanceState, ClientError> {
        let missing = || ClientError::Refused(format!("there is no instance {instance}"));
        let start = self.run_of(instance).await?.ok_or_else(missing)?;
        let connection = self.hub.store.connect(self.hub.host(self.place));
        let termination = keys::termination(instance.as_str());
        let mut after = Position::default();
        loop {
            for (position, body) in connection.wait_for_entries(&termination, after).await {
                let end = connection.decoded::<End>(&body);
                let end = end.ok_or_else(|| unanswered(&StoreError::Unreadable))?;
                // Another run may have taken the place of the one that was found.
                if end.start == start || self.run_of(instance).await? == Some(end.start) {
                    return Ok(end.state);
                }
                after = position;
            }
        }
    }

    /// The message that started the present run of an orchestration.
    async fn run_of(&self, instance: &InstanceId) -> Result<Option<MessageId>, ClientError> {
        let row = api::row(&self.connection, instance.as_str()).await;
        Ok(row.map_err(|error| unanswered(&error))?.map(|(row, _)| row.start))
    }

    async fn query(
        &self,
        query: InstanceQuery,
    ) -> Result<Vec<(InstanceId, InstanceState)>, StoreError> {
        let mut found = Vec::new();
        for (name, row) in self.connection.all::<WorkspaceRow>(keys::WORKSPACES).await? {
            let instance = InstanceId::new(name.as_str());
            if !instance.is_entity() {
                let workspace = row.workspace(&name);
                found.push((instance, self.orchestration(&workspace, row).await?));
            }
        }
        for number in 0..self.hub.parameters.entity_workspaces {
            let triggers = WorkspaceName::plain(entity_workspace(number)).triggers();
            for (name, trigger) in self.connection.all::<Trigger>(&triggers).await? {
                let state = entity_state(&trigger);
                found.extend(state.map(|state| (InstanceId::new(name.as_str()), state)));
            }
        }
        found.retain(|(instance, state)| query.selects(instance, state));
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(found)
    }

    async fn purge(&self, instance: InstanceId) -> Result<bool, ClientError> {
        let unanswered = |error| unanswered(&error);
        if instance.is_entity() {
            let state = self.status(&instance).await.map_err(unanswered)?;
            return if state.is_some() { self.purge_entity(instance).await } else { Ok(false) };
        }
        let stream = instance.as_str();
        loop {
            let row = api::row(&self.connection, stream).await.map_err(unanswered)?;
            let Some((row, stored)) = row else { return Ok(false) };
            let workspace = row.workspace(stream);
            let state = self.started(&workspace, row).await.map_err(unanswered)?;
            let Some(state) = state else { return Ok(false) };
            if !state.status.is_final() {
                return Err(ClientError::Refused(format!("instance {instance} has not ended")));
            }
            let known = Some((&workspace, stored));
            let removed = self.connection.change_row(stream, known, None).await;
            match removed.map_err(|error| unknown(&error))? {
                RowChange::Done => return Ok(true),
                RowChange::Unknown(error) => return Err(unknown(&error)),
                // Somebody else has removed it, or started it again.
                RowChange::IsAnother => {}
            }
        }
    }

    /// Removes an entity: its worker does, since it has the state in memory.
    async fn purge_entity(&self, instance: InstanceId) -> Result<bool, ClientError> {
        let kind = EventKind::ExecutionTerminated { reason: "purged".into() };
        // Its step is not recorded: nobody is to wait for it.
        let (message, sending) = self.message(instance.clone(), kind);
        drop(sending);
        let appended = api::append(&self.hub, &self.connection, message).await;
        appended.map_err(|error| unknown(&error))?;
        loop {
            let state = self.status(&instance).await.map_err(|error| unknown(&error))?;
            if state.is_none() {
                return Ok(true);
            }
            self.hub.kernel.sleep(PAUSE).await;
        }
    }
}

fn entity_state(trigger: &Trigger) -> Option<InstanceState> {
    let value = trigger.context.value.as_ref().filter(|_| trigger.role == Role::Entity)?;
    let value: EntityValue = decode(value).expect("invariant: only whole triggers are read");
    Some(value.state)
}

/// What was only read has had no effect.
fn unanswered(error: &StoreError) -> ClientError {
    ClientError::Unavailable(error.to_string())
}

fn unknown(error: &StoreError) -> ClientError {
    ClientError::Unknown(error.to_string())
}

impl Client for TriggerClient {
    fn start(&self, request: StartRequest) -> ClientAnswer<()> {
        let client = self.clone();
        Box::pin(async move { client.start(request).await })
    }

    fn send(&self, instance: InstanceId, message: ClientMessage) -> ClientAnswer<()> {
        let client = self.clone();
        Box::pin(async move { client.send(instance, message).await })
    }

    fn status(&self, instance: InstanceId) -> ClientAnswer<Option<InstanceState>> {
        let client = self.clone();
        Box::pin(async move { client.status(&instance).await.map_err(|error| unanswered(&error)) })
    }

    fn wait(&self, instance: InstanceId) -> ClientAnswer<InstanceState> {
        let client = self.clone();
        Box::pin(async move { client.wait(&instance).await })
    }

    fn query(&self, query: InstanceQuery) -> ClientAnswer<Vec<(InstanceId, InstanceState)>> {
        let client = self.clone();
        Box::pin(async move { client.query(query).await.map_err(|error| unanswered(&error)) })
    }

    fn purge(&self, instance: InstanceId) -> ClientAnswer<bool> {
        let client = self.clone();
        Box::pin(async move { client.purge(instance).await })
    }
}
