//! The client of a task hub, on a worker's host: one procedure for each request.
//!
//! Waiting for an orchestration is asking for its state again and again, each second unless set
//! otherwise. Source: microsoft/durabletask-mssql main@e7d35db, `SqlOrchestrationService.cs`
//! (CreateTaskOrchestrationAsync, SendTaskOrchestrationMessageAsync, WaitForOrchestrationAsync,
//! GetManyOrchestrationsAsync, PurgeOrchestrationHistoryAsync).

use crate::procedures::{
    INSTANCE_BUSY, INSTANCE_EXISTS, NO_INSTANCE, Page, Procedure, PurgeInstance, QueryMany,
    SendMessage,
};
use crate::worker::Worker;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sim_model::engine::{ClientError, ClientMessage, InstanceQuery, InstanceState, StartRequest};
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::InstanceId;
use sim_model::ledger::Ledger;
use sim_model::message::InstanceMessage;
use sim_world::sql::SqlError;

/// Instances of one page of a query. Source: `SqlOrchestrationService.cs`, PageSize.
const PAGE: usize = 100;

fn refuse(error: &SqlError, instance: &InstanceId) -> ClientError {
    match error {
        SqlError::Thrown { number: INSTANCE_EXISTS, .. } => {
            ClientError::Refused(format!("instance {instance} exists and has not ended"))
        }
        SqlError::Thrown { number: INSTANCE_BUSY, .. } => {
            ClientError::Refused(format!("instance {instance} has not ended"))
        }
        error if error.is_ambiguous() => ClientError::Unknown(error.to_string()),
        error if error.is_transient() => ClientError::Unavailable(error.to_string()),
        error => ClientError::Refused(error.to_string()),
    }
}

/// What was only read has had no effect.
fn unread(error: &SqlError) -> ClientError {
    if error.is_transient() {
        ClientError::Unavailable(error.to_string())
    } else {
        ClientError::Refused(error.to_string())
    }
}

/// Calls a procedure, again if it was the victim of a deadlock.
async fn call<A: Serialize, R: DeserializeOwned>(
    worker: &Worker,
    procedure: Procedure,
    arguments: &A,
) -> Result<R, SqlError> {
    loop {
        match worker.call(procedure, arguments, None).await {
            Err(SqlError::Deadlock) => worker.record().counters.repeated_calls.count(),
            outcome => return outcome.map(|reply| reply.value),
        }
    }
}

/// Starts an orchestration.
pub(crate) async fn start(worker: &Worker, request: StartRequest) -> Result<(), ClientError> {
    let StartRequest { instance, name, input } = request;
    if instance.is_entity() {
        return Err(ClientError::Refused(format!("{instance} is the key of an entity")));
    }
    let kind = EventKind::execution_started(name, input);
    post(worker, Procedure::CreateInstance, &instance, kind)
        .await
        .map_err(|error| refuse(&error, &instance))
}

/// Sends a message to an instance; one that will not consume it is none.
pub(crate) async fn send(
    worker: &Worker,
    instance: InstanceId,
    content: ClientMessage,
) -> Result<(), ClientError> {
    let procedure = match &content {
        ClientMessage::Terminate { .. } => Procedure::TerminateInstance,
        _ => Procedure::RaiseEvent,
    };
    match post(worker, procedure, &instance, content.into_event()).await {
        Ok(()) | Err(SqlError::Thrown { number: NO_INSTANCE, .. }) => Ok(()),
        Err(error) => Err(refuse(&error, &instance)),
    }
}

/// Has a procedure insert a message; each attempt is a message of its own.
async fn post(
    worker: &Worker,
    procedure: Procedure,
    target: &InstanceId,
    kind: EventKind,
) -> Result<(), SqlError> {
    let record = worker.record();
    let begun = worker.now();
    loop {
        let id = record.observer.graph().client_message();
        let event = HistoryEvent { timestamp: begun, kind: kind.clone() };
        let ledger = Ledger::new(begun);
        let message = InstanceMessage { id, target: target.clone(), event, ledger };
        let verdict = record.verdict_of_message(id);
        let args = SendMessage(message);
        match worker.call::<_, ()>(procedure, &args, Some(verdict)).await {
            Err(SqlError::Deadlock) => record.counters.repeated_calls.count(),
            outcome => {
                outcome?;
                worker.wake_orchestrations();
                return Ok(());
            }
        }
    }
}

/// The present state of an instance.
pub(crate) async fn status(
    worker: &Worker,
    instance: &InstanceId,
) -> Result<Option<InstanceState>, ClientError> {
    worker.record().counters.status_queries.count();
    call(worker, Procedure::QuerySingleOrchestration, instance)
        .await
        .map_err(|error| unread(&error))
}

/// Asks for the state of an instance, now and then, until it has ended.
pub(crate) async fn wait(
    worker: &Worker,
    instance: &InstanceId,
) -> Result<InstanceState, ClientError> {
    loop {
        // A database that does not answer is asked again, as for an instance that has not ended.
        if let Ok(Some(state)) = status(worker, instance).await
            && state.status.is_final()
        {
            return Ok(state);
        }
        worker.kernel().sleep(worker.shared.parameters.status_polling_interval).await;
    }
}

/// All instances that a query selects, sorted by key.
pub(crate) async fn query(
    worker: &Worker,
    query: InstanceQuery,
) -> Result<Vec<(InstanceId, InstanceState)>, ClientError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let args = QueryMany { query: query.clone(), after, page: PAGE };
        let page: Result<Page, SqlError> =
            call(worker, Procedure::QueryManyOrchestrations, &args).await;
        let page = page.map_err(|error| unread(&error))?;
        found.extend(page.instances);
        after = page.end;
        if after.is_none() {
            break;
        }
    }
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(found)
}

/// Removes an instance; false if there was none.
pub(crate) async fn purge(worker: &Worker, instance: InstanceId) -> Result<bool, ClientError> {
    let args = PurgeInstance(instance.clone());
    call(worker, Procedure::PurgeInstanceStateByID, &args)
        .await
        .map_err(|error| refuse(&error, &instance))
}
