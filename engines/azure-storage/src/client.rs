//! The client of a task hub, on a worker's host.
//!
//! Starting an orchestration is three storage operations that are not atomic: read the Instances
//! row, put the start message, insert the row (or replace the one of an execution that has ended).
//! Every other message (external events, signals, terminate, suspend, resume) is one put into the
//! control queue of its target, without a look at the instance first, as in the published
//! `TaskHubClient`; whether it finds its target shows when it is dispatched. A status is one read of
//! the Instances row, and waiting is reading it again and again. What was read last may be older than
//! the history: the row is written after it.
//!
//! Source: Azure/durabletask main@5217032, `AzureStorageOrchestrationService.cs`
//! (CreateTaskOrchestrationAsync, SendTaskOrchestrationMessageAsync, WaitForOrchestrationAsync).

use crate::instances;
use crate::outbox;
use crate::store::StoreError;
use crate::wire::InstanceRow;
use crate::worker::Worker;
use sim_model::engine::{ClientError, ClientMessage, InstanceState, StartRequest};
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::{InstanceId, MessageId};
use sim_model::ledger::{Category, Ledger};
use sim_model::message::InstanceMessage;
use sim_model::orchestration::RuntimeStatus;
use sim_world::service::StorageError;

/// Starts an orchestration.
pub(crate) async fn start(worker: &Worker, request: StartRequest) -> Result<(), ClientError> {
    let (shared, store) = (&worker.shared, &worker.store);
    let StartRequest { instance, name, input } = request;
    if instance.is_entity() {
        return Err(ClientError::Refused(format!("{instance} is the key of an entity")));
    }
    let created = shared.now();
    let mut ledger = Ledger::new(created);
    let existing = store.read_instance(&instance).await.map_err(unread)?;
    let why = Category::Queueing.because("the client looked the instance up");
    ledger.charge_request(&existing.timing, shared.now(), why);
    let version = match existing.value {
        Some((row, _)) if !row.status.is_final() => {
            let problem = format!("instance {instance} exists and has not ended");
            return Err(ClientError::Refused(problem));
        }
        Some((_, version)) => Some(version),
        None => None,
    };
    let kind = EventKind::execution_started(name.clone(), input.clone());
    let event = HistoryEvent { timestamp: created, kind };
    let execution = put(worker, instance.clone(), event, ledger).await?;
    let row = InstanceRow {
        execution,
        created,
        last_updated: created,
        status: RuntimeStatus::Running,
        name,
        custom_status: None,
        input: Some(input),
    };
    instances::create(worker, &instance, &row, version).await.map_err(|error| after_put(&error))
}

/// Sends a message to an instance.
pub(crate) async fn send(
    worker: &Worker,
    instance: InstanceId,
    message: ClientMessage,
) -> Result<(), ClientError> {
    let shared = &worker.shared;
    shared.counters.client_messages.count();
    let now = shared.now();
    let event = HistoryEvent { timestamp: now, kind: message.into_event() };
    put(worker, instance, event, Ledger::new(now)).await.map(|_| ())
}

/// Puts a client's message into the control queue of its target.
async fn put(
    worker: &Worker,
    target: InstanceId,
    event: HistoryEvent,
    ledger: Ledger,
) -> Result<MessageId, ClientError> {
    let graph = worker.shared.observer.graph();
    let sending = graph.sending();
    let id = sending.message();
    let message = InstanceMessage { id, target, event, ledger };
    match outbox::put_message(worker, &message).await {
        Ok(()) => {
            sending.accepted();
            Ok(id)
        }
        Err(error) if error.is_ambiguous() => Err(after_put(&error)),
        Err(error @ StorageError::ServerBusy { .. }) => {
            Err(ClientError::Unavailable(error.to_string()))
        }
        Err(error) => Err(ClientError::Refused(error.to_string())),
    }
}

/// The present state of an instance.
pub(crate) async fn status(
    worker: &Worker,
    instance: &InstanceId,
) -> Result<Option<InstanceState>, ClientError> {
    worker.shared.counters.status_reads.count();
    let reply = worker.store.read_instance(instance).await.map_err(unread)?;
    Ok(reply.value.map(|(row, _)| row.state(instance)))
}

/// Reads the state of an instance, now and then, until it has ended. A read that fails is no answer:
/// the next one is.
pub(crate) async fn wait(
    worker: &Worker,
    instance: &InstanceId,
) -> Result<InstanceState, ClientError> {
    loop {
        match status(worker, instance).await {
            Ok(Some(state)) if state.status.is_final() => return Ok(state),
            Ok(_) => {}
            Err(_) => worker.shared.counters.failed_status_reads.count(),
        }
        let pause = worker.shared.parameters.status_polling_interval;
        worker.shared.kernel().sleep(pause).await;
    }
}

/// A read failed: nothing has taken effect.
pub(crate) fn unread(error: StoreError) -> ClientError {
    match error {
        StoreError::Storage(
            error @ (StorageError::TimedOut { .. } | StorageError::ServerBusy { .. }),
        ) => ClientError::Unavailable(error.to_string()),
        error => ClientError::Refused(error.to_string()),
    }
}

/// A write failed once the start message may have been put.
fn after_put(error: &StorageError) -> ClientError {
    ClientError::Unknown(error.to_string())
}
