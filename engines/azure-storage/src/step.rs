//! One step of an instance, from execution to the deletion of its messages.
//!
//! The order of storage operations is that of Azure/durabletask main@5217032,
//! `AzureStorageOrchestrationService.cs:1150-1283`, for orchestrations and entities alike:
//! 1. execute (replay and new code);
//! 2. put all outbound messages, timers included, side by side;
//! 3. write the history, one transaction for each 99 events; the last carries the sentinel with its
//!    ETag, and is the checkpoint: the step is committed when it is written;
//! 4. write the Instances row;
//! 5. delete the consumed messages, side by side.
//!
//! Only each transaction of 3 is atomic. A step whose history was refused (another worker wrote it)
//! or whose operation failed puts its messages back. With `step_order=history-first` 3 comes before 2,
//! and the sentinel holds what 2 puts (see [`crate::journal`]).

use crate::checkpoint::{self, ENTITIES_MAX, Plan};
use crate::dispatch::Session;
use crate::history::{EventRow, SENTINEL, Sentinel};
use crate::instances::{self, View};
use crate::journal::{Journal, Known, Outbox, Unsettled};
use crate::outbox;
use crate::rules;
use crate::wire::{HISTORY_ROW_ENVELOPE, history_blob, inline, journal_blob};
use crate::worker::{Received, Worker};
use bytes::Bytes;
use futures_util::future::try_join_all;
use sim_model::engine::Completion;
use sim_model::history::HistoryEvent;
use sim_model::id::{MessageId, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::step::StepOutcome;
use sim_model::time::Timestamp;
use sim_world::service::StorageError;
use sim_world::table::{TableAction, TableOperation};
use std::ops::Range;

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
    worker.control_locks.hold(&messages);
    let item = fetch(worker, session, &messages, duplicates);
    let replayed = std::mem::take(&mut session.replayed);
    let consumed = messages.iter().map(|received| received.message.clone()).collect();
    // A new life of an instance is written over the former one.
    let begins = session.cursor.history_len() == 0;
    let outcome =
        worker.functions.step(&mut session.cursor, replayed, item, &mut ledger, consumed).await;
    worker.shared.observer.graph().executed_step(item, &outcome);
    let replaces = begins || outcome.replaces_history;
    if !make_final(worker, session, item, &messages, &outcome, replaces).await {
        worker.abandon(&messages).await;
        return None;
    }
    session.facts.after_step(&outcome.new_events, replaces);
    let view = View::of(&session.instance, &outcome);
    let execution = session.execution.expect("invariant: a step has started its execution");
    let ended = outcome.status.is_final();
    if instances::write(worker, session, execution, &view).await.is_err() {
        worker.shared.counters.failed_work_items.count();
        worker.abandon(&messages).await;
        return None;
    }
    if ended {
        report(worker, session, execution, view, ledger);
    }
    let all_gone = worker.delete(&messages).await;
    if ended {
        worker.forget_steps(&session.instance);
    } else if worker.shared.parameters.history_first && all_gone {
        worker.note_step(&session.instance, item, Known::Settled);
    }
    Some(Committed { ended })
}

/// Phases 2 and 3, in the order that is set; false if one of them failed.
async fn make_final(
    worker: &Worker,
    session: &mut Session,
    item: WorkItemId,
    messages: &[Received],
    outcome: &StepOutcome,
    replaces: bool,
) -> bool {
    let begun = worker.shared.now();
    let history_first = worker.shared.parameters.history_first;
    let journal = history_first.then(|| journal(worker, session, item, messages, outcome));
    let sent = match history_first {
        false => outbox::put_all(worker, outcome).await,
        true => Ok(()),
    };
    let committed = match sent {
        Ok(()) => commit(worker, session, item, outcome, replaces, journal).await,
        Err(error) => Err(error),
    };
    if let Err(error) = committed {
        give_up(worker, item, &error, begun);
        return false;
    }
    let shared = &worker.shared;
    shared.record_committed(item);
    let queue = shared.ownership.queue_of(&session.instance);
    shared.observer.progressed(queue as u32, worker.life);
    if !history_first {
        return true;
    }
    worker.forget_steps(&session.instance);
    if outbox::put_all(worker, outcome).await.is_err() {
        // The messages come again, and with them what the step sends.
        worker.shared.counters.failed_work_items.count();
        return false;
    }
    worker.note_step(&session.instance, item, Known::Sent);
    true
}

/// The journal that a step writes.
fn journal(
    worker: &Worker,
    session: &Session,
    item: WorkItemId,
    messages: &[Received],
    outcome: &StepOutcome,
) -> Journal {
    let parameters = &worker.shared.parameters;
    let consumed = messages.iter().map(|received| received.message.id).collect();
    let step = Unsettled::new(item, consumed, Outbox::of(outcome));
    let remember = messages.iter().map(|received| &received.message);
    let remember = remember.filter(|message| rules::is_to_be_remembered(message));
    let known = |step| worker.known_step(&session.instance, step);
    let (now, keep) = (worker.shared.now(), parameters.journal_keep());
    session.journal.after_step(step, remember.map(|message| message.id), known, now, keep)
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
    if session.instance.is_entity() {
        shared.counters.entity_steps.count();
    }
    for index in duplicates {
        shared.counters.duplicates.count();
        graph.discarded(messages[*index].message.id);
    }
    // The indices are in order.
    let mut skipped = duplicates.iter().peekable();
    let effective = messages.iter().enumerate().filter_map(|(index, received)| {
        let effective = skipped.next_if_eq(&&index).is_none();
        effective.then_some(received.message.id)
    });
    let predecessor = session.cursor.last_step();
    graph.fetch_step(&session.instance, predecessor, effective, shared.now())
}

/// Phase 3: afterwards the step is final.
async fn commit(
    worker: &Worker,
    session: &mut Session,
    item: WorkItemId,
    outcome: &StepOutcome,
    replaces: bool,
    journal: Option<Journal>,
) -> Result<(), StorageError> {
    let events = &outcome.new_events;
    if replaces && !session.rows.is_empty() {
        worker.shared.counters.replaced_histories.count();
    }
    let former = session.rows.clone();
    let bodies = bodies(worker, session, item, events).await?;
    let sizes: Vec<usize> = bodies.iter().map(Bytes::len).collect();
    let plan = checkpoint::plan(&former, &sizes, replaces);
    let execution = session.execution.expect("invariant: a step has started its execution");
    let row = Sentinel::new(execution, &plan.rows);
    let row = match &journal {
        None => inline(&row, HISTORY_ROW_ENVELOPE),
        Some(journal) => {
            let blob = || journal_blob(&session.instance, item.0);
            worker.store.row(&(row, journal), HISTORY_ROW_ENVELOPE, blob).await?
        }
    };
    session.version = Some(write_history(worker, session, &plan, &bodies, row).await?);
    session.rows = plan.rows;
    session.journal = journal.unwrap_or_default();
    clean_up(worker, session, plan.cleanup).await;
    Ok(())
}

/// Records a step whose commit, begun at `begun`, failed.
fn give_up(worker: &Worker, item: WorkItemId, error: &StorageError, begun: Timestamp) {
    let shared = &worker.shared;
    let refused = matches!(
        error,
        StorageError::Conflict { .. }
            | StorageError::PreconditionFailed
            | StorageError::NotFound { .. }
    );
    let counters = &shared.counters;
    let counter = if refused { &counters.split_brains } else { &counters.failed_work_items };
    counter.count();
    // Whether an unanswered write was applied shows when the history is read again. A refusal may be
    // the answer to a repetition of a write that was applied and not answered.
    let repeated = shared.now().since(begun) >= shared.world.profile().retry.timeout;
    if !error.is_ambiguous() && !repeated {
        shared.record_aborted(item);
    }
}

/// The rows of events; large ones go to blobs first.
async fn bodies(
    worker: &Worker,
    session: &Session,
    item: WorkItemId,
    events: &[HistoryEvent],
) -> Result<Vec<Bytes>, StorageError> {
    let execution = session.execution.expect("invariant: a step has started its execution");
    let rows = events.iter().enumerate().map(|(index, event)| {
        let row = EventRow { execution, event: event.clone() };
        let blob = move || history_blob(&session.instance, item.0, index);
        async move { worker.store.row(&row, HISTORY_ROW_ENVELOPE, blob).await }
    });
    try_join_all(rows).await
}

/// Writes events as planned; returns the history's new version.
async fn write_history(
    worker: &Worker,
    session: &Session,
    plan: &Plan,
    bodies: &[Bytes],
    row: Bytes,
) -> Result<u64, StorageError> {
    let key = |row| worker.shared.row_keys.key(row);
    let last = plan.parts.len() - 1;
    for (number, part) in plan.parts.iter().enumerate() {
        let writes = part.events.clone().map(|index| {
            let action = TableAction::InsertOrReplace(bodies[index].clone());
            TableOperation::new(key(plan.first_row + index), action)
        });
        let deletes = delete_rows(worker, part.deletes.clone());
        let mut operations: Vec<TableOperation> = writes.chain(deletes).collect();
        if number == last {
            operations.push(sentinel(worker, session, row.clone()));
        }
        let reply = worker.store.write_history(&session.instance, operations).await?;
        if number == last {
            let version = reply.value.last().copied();
            return Ok(version.expect("invariant: every row that is written gets an ETag"));
        }
    }
    unreachable!("a step writes events, and the last transaction carries the sentinel")
}

fn delete_rows(worker: &Worker, rows: Range<usize>) -> impl Iterator<Item = TableOperation> + '_ {
    let key = |row| worker.shared.row_keys.key(row);
    rows.map(move |row| TableOperation::new(key(row), TableAction::Delete(None)))
}

/// Deletes rows that the history no longer has. What is left if that fails is ignored by readers.
async fn clean_up(worker: &Worker, session: &Session, rows: Range<usize>) {
    for start in rows.clone().step_by(ENTITIES_MAX) {
        let part = start..rows.end.min(start + ENTITIES_MAX);
        let operations = delete_rows(worker, part).collect();
        if worker.store.write_history(&session.instance, operations).await.is_err() {
            worker.shared.counters.failed_operations.count();
        }
    }
}

/// The write of the sentinel row: the first one creates it, the others need its ETag.
fn sentinel(worker: &Worker, session: &Session, body: Bytes) -> TableOperation {
    let action = match (worker.shared.parameters.history_etag, session.version) {
        (true, None) => TableAction::Insert(body),
        (true, Some(version)) => TableAction::Merge(body, Some(version)),
        (false, _) => TableAction::InsertOrMerge(body),
    };
    TableOperation::new(SENTINEL, action)
}

/// Reports the end of an orchestration. Its latency ends with the execution of its last step, as
/// the status row says, so `ledger` is that of the execution.
pub(crate) fn report(
    worker: &Worker,
    session: &Session,
    execution: MessageId,
    view: View,
    ledger: Ledger,
) {
    let completion = Completion {
        instance: session.instance.clone(),
        created: session.cursor.created().expect("invariant: it was started"),
        last_updated: view.at,
        status: view.status,
        ledger,
    };
    worker.shared.report(execution, completion);
}
