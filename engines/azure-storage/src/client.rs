//! The client of a task hub, on a worker's host.
//!
//! Starting an orchestration is three storage operations that are not atomic: read the Instances
//! row, put the start message, insert the row (or replace the one of an execution that has ended).
//! A row that somebody else wrote meanwhile (409, 412) is left as it is. Source: Azure/durabletask
//! main@5217032, `AzureStorageOrchestrationService.cs` (CreateTaskOrchestrationAsync,
//! WaitForOrchestrationAsync).

use crate::step;
use crate::store::StoreError;
use crate::wire::{INSTANCE_ROW_ENVELOPE, InstanceRow, instance_blob};
use crate::worker::Worker;
use sim_model::engine::{ClientError, InstanceState, StartRequest};
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::InstanceId;
use sim_model::ledger::{Category, Ledger};
use sim_model::message::InstanceMessage;
use sim_model::orchestration::RuntimeStatus;
use sim_world::service::StorageError;
use sim_world::table::{TableAction, TableOperation};

/// Starts an orchestration.
pub(crate) async fn start(worker: &Worker, request: StartRequest) -> Result<(), ClientError> {
    let (shared, store) = (&worker.shared, &worker.store);
    let created = shared.now();
    let mut ledger = Ledger::new(created);
    let existing = store.read_instance(&request.instance).await.map_err(refused)?;
    ledger.charge_request(&existing.timing, shared.now(), Category::Queueing);
    let version = match existing.value {
        Some((row, _)) if !row.status.is_final() => {
            let problem = format!("instance {} exists and has not ended", request.instance);
            return Err(ClientError::Refused(problem));
        }
        Some((_, version)) => Some(version),
        None => None,
    };
    let (name, input) = (request.name, request.input);
    let kind = EventKind::ExecutionStarted { name, input: input.clone() };
    let event = HistoryEvent { timestamp: created, kind };
    let id = shared.observer.graph().client_message();
    let message = InstanceMessage { id, target: request.instance.clone(), event, ledger };
    if let Err(error) = step::put_message(worker, &message).await {
        if !error.is_ambiguous() {
            shared.observer.graph().discarded(id);
        }
        return Err(after_put(&error));
    }
    let status = RuntimeStatus::Running;
    let row =
        InstanceRow { execution: id, created, last_updated: created, status, input: Some(input) };
    write_row(worker, &request.instance, &row, version).await.map_err(|error| after_put(&error))
}

async fn write_row(
    worker: &Worker,
    instance: &InstanceId,
    row: &InstanceRow,
    version: Option<u64>,
) -> Result<(), StorageError> {
    let store = &worker.store;
    let body = store.row(row, INSTANCE_ROW_ENVELOPE, || instance_blob(instance, None)).await?;
    let action = match version {
        None => TableAction::Insert(body),
        Some(version) => TableAction::Replace(body, Some(version)),
    };
    let operation = TableOperation::new("", action);
    let table = &worker.shared.instances;
    let write = table.execute(&store.host, instance.as_str(), operation);
    match store.limited(write).await {
        Ok(_)
        | Err(
            StorageError::Conflict { .. }
            | StorageError::PreconditionFailed
            | StorageError::NotFound { .. },
        ) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The present state of an instance.
pub(crate) async fn status(
    worker: &Worker,
    instance: &InstanceId,
) -> Result<Option<InstanceState>, ClientError> {
    worker.shared.counters.status_reads.count();
    let reply = worker.store.read_instance(instance).await.map_err(refused)?;
    Ok(reply.value.map(|(row, _)| InstanceState {
        created: row.created,
        last_updated: row.last_updated,
        status: row.status,
    }))
}

/// Reads the state of an instance, now and then, until it has ended.
pub(crate) async fn wait(
    worker: &Worker,
    instance: &InstanceId,
) -> Result<InstanceState, ClientError> {
    loop {
        match status(worker, instance).await? {
            Some(state) if state.status.is_final() => return Ok(state),
            _ => {
                let pause = worker.shared.parameters.status_polling_interval;
                worker.shared.kernel().sleep(pause).await;
            }
        }
    }
}

/// A read failed: nothing has taken effect.
fn refused(error: StoreError) -> ClientError {
    ClientError::Refused(error.to_string())
}

/// A write failed once the start message may have been put.
fn after_put(error: &StorageError) -> ClientError {
    ClientError::Unknown(error.to_string())
}
