//! One step of an orchestration, from execution to the deletion of its messages.
//!
//! The order of storage operations is that of Azure/durabletask main@5217032,
//! `AzureStorageOrchestrationService.cs:1150-1283`:
//! 1. execute (replay and new code);
//! 2. put all outbound messages, side by side;
//! 3. write the history, one transaction for each 99 events; the last carries the sentinel with its
//!    ETag, and is the checkpoint: the step is committed when it is written;
//! 4. write the Instances row;
//! 5. delete the consumed messages, side by side.
//!
//! Only each transaction of 3 is atomic. A step whose history was refused (another worker wrote it)
//! or whose operation failed puts its messages back.

use crate::dispatch::Session;
use crate::history::{self, EventRow, SENTINEL, Sentinel};
use crate::wire::{
    CONTROL_MESSAGE_ENVELOPE, HISTORY_ROW_ENVELOPE, INSTANCE_ROW_ENVELOPE, InstanceRow,
    WORK_ITEM_ENVELOPE, history_blob, inline, instance_blob,
};
use crate::worker::{Received, Worker};
use bytes::Bytes;
use futures_util::future::{join, join_all, try_join_all};
use sim_model::engine::Completion;
use sim_model::history::HistoryEvent;
use sim_model::id::{MessageId, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::message::{InstanceMessage, TaskMessage};
use sim_model::orchestration::{RuntimeStatus, StepOutcome};
use sim_model::time::Timestamp;
use sim_world::service::StorageError;
use sim_world::table::{TableAction, TableOperation};

/// A step that was committed.
pub(crate) struct Committed {
    /// Whether the orchestration has ended.
    pub ended: bool,
}

/// Runs a step that consumes `messages`, of which those at the indices `duplicates` have no effect.
/// `None` if it was given up; its messages have then been put back.
pub(crate) async fn run(
    worker: &Worker,
    session: &mut Session,
    messages: Vec<Received>,
    duplicates: &[usize],
    mut ledger: Ledger,
) -> Option<Committed> {
    let item = fetch(worker, session, &messages, duplicates);
    let first_event = session.cursor.history_len();
    let replayed = std::mem::take(&mut session.replayed);
    let consumed = messages.iter().map(|received| received.message.clone()).collect();
    let outcome =
        worker.functions.step(&mut session.cursor, replayed, item, &mut ledger, consumed).await;
    let graph = worker.shared.observer.graph();
    graph.executed(item, outcome.produced());
    if let Err(error) = commit(worker, session, item, first_event, &outcome).await {
        give_up(worker, item, &error);
        worker.abandon(&messages).await;
        return None;
    }
    worker.shared.record_committed(item);
    for event in &outcome.new_events {
        session.facts.add(&event.kind);
    }
    let at = outcome.new_events.last().expect("invariant: a step adds events").timestamp;
    let execution = session.execution.expect("invariant: a step has started its execution");
    let ended = outcome.status.is_final();
    if write_instance(worker, session, execution, at, &outcome.status).await.is_err() {
        worker.shared.counters.failed_work_items.count();
        worker.abandon(&messages).await;
        return None;
    }
    if ended {
        report(worker, session, execution, at, outcome.status, ledger);
    }
    worker.delete(&messages).await;
    Some(Committed { ended })
}

/// Records the step's fetch. Duplicates have no effect and count as dropped.
fn fetch(
    worker: &Worker,
    session: &Session,
    messages: &[Received],
    duplicates: &[usize],
) -> WorkItemId {
    let shared = &worker.shared;
    let graph = shared.observer.graph();
    for index in duplicates {
        shared.counters.duplicates.count();
        graph.discarded(messages[*index].message.id);
    }
    let effective = messages
        .iter()
        .enumerate()
        .filter(|(index, _)| !duplicates.contains(index))
        .map(|(_, received)| received.message.id);
    let predecessor = session.cursor.last_step();
    graph.fetch_step(&session.instance, predecessor, effective, shared.now())
}

/// Phases 2 and 3: afterwards the step is final.
async fn commit(
    worker: &Worker,
    session: &mut Session,
    item: WorkItemId,
    first_event: usize,
    outcome: &StepOutcome,
) -> Result<(), StorageError> {
    let tasks = outcome.tasks.iter().map(|task| put_task(worker, task));
    let others = outcome.messages.iter().map(|message| put_message(worker, message));
    let (tasks, others) = join(join_all(tasks), join_all(others)).await;
    tasks.into_iter().chain(others).collect::<Result<(), StorageError>>()?;
    let version = write_history(worker, session, item, first_event, &outcome.new_events).await?;
    session.version = Some(version);
    Ok(())
}

fn give_up(worker: &Worker, item: WorkItemId, error: &StorageError) {
    let counters = &worker.shared.counters;
    let refused = matches!(
        error,
        StorageError::Conflict { .. }
            | StorageError::PreconditionFailed
            | StorageError::NotFound { .. }
    );
    let counter = if refused { &counters.split_brains } else { &counters.failed_work_items };
    counter.count();
    // Whether an unanswered write was applied shows when the history is read again.
    if !error.is_ambiguous() {
        worker.shared.observer.graph().aborted(item);
    }
}

async fn put_task(worker: &Worker, task: &TaskMessage) -> Result<(), StorageError> {
    let (store, queue) = (&worker.store, &worker.shared.work_items);
    store.put(queue, task.id, &task.caller, task, WORK_ITEM_ENVELOPE).await?;
    worker.wake_work_items();
    Ok(())
}

/// Puts a message into the control queue of its target.
pub(crate) async fn put_message(
    worker: &Worker,
    message: &InstanceMessage,
) -> Result<(), StorageError> {
    let queue = worker.shared.ownership.queue_of(&message.target);
    let target = &worker.shared.control_queues[queue];
    let (id, instance) = (message.id, &message.target);
    worker.store.put(target, id, instance, message, CONTROL_MESSAGE_ENVELOPE).await?;
    worker.wake_control(queue);
    Ok(())
}

/// Writes new events behind the first `first_event` ones; returns the history's new version.
async fn write_history(
    worker: &Worker,
    session: &Session,
    item: WorkItemId,
    first_event: usize,
    events: &[HistoryEvent],
) -> Result<u64, StorageError> {
    let execution = session.execution.expect("invariant: a step has started its execution");
    let rows = events.iter().enumerate().map(|(index, event)| {
        let sequence = first_event + index;
        let row = EventRow { execution, event: event.clone() };
        let blob = move || history_blob(&session.instance, item.0, sequence);
        async move { worker.store.row(&row, HISTORY_ROW_ENVELOPE, blob).await }
    });
    let bodies: Vec<Bytes> = try_join_all(rows).await?;
    let sizes: Vec<usize> = bodies.iter().map(Bytes::len).collect();
    let parts = history::split(&sizes);
    let last = parts.len() - 1;
    let events = u32::try_from(first_event + events.len()).expect("fewer than 2^32 events");
    for (number, part) in parts.into_iter().enumerate() {
        let mut operations: Vec<TableOperation> = part
            .map(|index| {
                let key = worker.shared.row_keys.key(first_event + index);
                TableOperation::new(key, TableAction::InsertOrReplace(bodies[index].clone()))
            })
            .collect();
        if number == last {
            operations.push(sentinel(worker, session, Sentinel { execution, events }));
        }
        let reply = worker.store.write_history(&session.instance, operations).await?;
        if number == last {
            let version = reply.value.last().copied();
            return Ok(version.expect("invariant: every row that is written gets an ETag"));
        }
    }
    unreachable!("a step writes events, and the last transaction carries the sentinel")
}

/// The write of the sentinel row: the first one creates it, the others need its ETag.
fn sentinel(worker: &Worker, session: &Session, sentinel: Sentinel) -> TableOperation {
    let body = inline(&sentinel, HISTORY_ROW_ENVELOPE);
    let action = match (worker.shared.parameters.history_etag, session.version) {
        (true, None) => TableAction::Insert(body),
        (true, Some(version)) => TableAction::Merge(body, Some(version)),
        (false, _) => TableAction::InsertOrMerge(body),
    };
    TableOperation::new(SENTINEL, action)
}

/// Writes the status of an instance whose last step was executed at `at`.
pub(crate) async fn write_instance(
    worker: &Worker,
    session: &Session,
    execution: MessageId,
    at: Timestamp,
    status: &RuntimeStatus,
) -> Result<(), StorageError> {
    let (store, instance) = (&worker.store, &session.instance);
    let created = session.cursor.created().expect("invariant: it was started");
    let status = status.clone();
    let row = InstanceRow { execution, created, last_updated: at, status, input: None };
    let step = session.cursor.last_step().map(|step| step.0);
    let blob = || instance_blob(instance, step);
    let body = store.row(&row, INSTANCE_ROW_ENVELOPE, blob).await?;
    let table = &worker.shared.instances;
    store.limited(table.insert_or_merge(&store.host, instance.as_str(), "", body)).await?;
    Ok(())
}

/// Reports the end of an orchestration. Its latency ends with the execution of its last step, as
/// the status row says, so `ledger` is that of the execution.
pub(crate) fn report(
    worker: &Worker,
    session: &Session,
    execution: MessageId,
    at: Timestamp,
    status: RuntimeStatus,
    ledger: Ledger,
) {
    let completion = Completion {
        instance: session.instance.clone(),
        created: session.cursor.created().expect("invariant: it was started"),
        last_updated: at,
        status,
        ledger,
    };
    worker.shared.report(execution, completion);
}
