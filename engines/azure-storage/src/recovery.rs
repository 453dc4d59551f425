//! What a worker does about the traces of steps that were cut off after their history was written.
//!
//! Messages that find an instance that has ended show that its last step may have been cut off before
//! its row was written: the row is written if it does not show the end, and the end is reported unless
//! it was. With `step_order=history-first`, messages that a journal names (see [`crate::journal`]) show
//! that their step may have been cut off before it had sent everything: its outbox is put once more,
//! the row is written again, and the messages are deleted.

use crate::dispatch::{Session, begin};
use crate::instances::{self, View};
use crate::journal::{Journal, Known};
use crate::outbox;
use crate::rules::Facts;
use crate::step;
use crate::wire::InstanceRow;
use crate::worker::{Loaded, Received, Worker};
use rustc_hash::FxHashSet;
use sim_model::history::EventKind;
use sim_model::id::{InstanceId, MessageId};
use sim_model::ledger::Ledger;
use sim_model::time::Timestamp;
use sim_world::service::StorageError;

/// Splits messages into those that were consumed before, or are second copies of one another, and the
/// others.
fn split(journal: &Journal, messages: Vec<Received>) -> (Vec<Received>, Vec<Received>) {
    let mut here = FxHashSet::default();
    messages.into_iter().partition(|received| {
        let id = received.message.id;
        journal.has_consumed(&id) || !here.insert(id)
    })
}

/// Deals with the messages that the journal of `instance` names; returns the others.
pub(crate) async fn set_aside(
    worker: &Worker,
    instance: &InstanceId,
    loaded: &Loaded,
    messages: Vec<Received>,
) -> Vec<Received> {
    let (again, new) = split(&loaded.history.journal, messages);
    if again.is_empty() {
        return new;
    }
    match send_again(worker, instance, loaded, &again).await {
        Ok(()) => drop_again(worker, &again).await,
        Err(_) => {
            worker.shared.counters.failed_operations.count();
            worker.abandon(&again).await;
        }
    }
    new
}

/// The same for a session that is open. What its own steps sent is in its queues, but the step before them may
/// have been one whose commit was not answered: the journal still has its outbox.
pub(crate) async fn set_aside_in_session(
    worker: &Worker,
    session: &Session,
    messages: Vec<Received>,
) -> Vec<Received> {
    if !worker.shared.parameters.history_first {
        return messages;
    }
    let (again, new) = split(&session.journal, messages);
    if !again.is_empty() {
        match put_outboxes(worker, &session.instance, &session.journal, &again).await {
            Ok(_) => drop_again(worker, &again).await,
            Err(_) => {
                worker.shared.counters.failed_operations.count();
                worker.abandon(&again).await;
            }
        }
    }
    new
}

async fn drop_again(worker: &Worker, again: &[Received]) {
    for received in again {
        worker.shared.counters.duplicates.count();
        worker.shared.observer.graph().discarded(received.message.id);
    }
    worker.delete(again).await;
}

/// Puts the outboxes of steps that have consumed some of these messages, and writes the row.
async fn send_again(
    worker: &Worker,
    instance: &InstanceId,
    loaded: &Loaded,
    again: &[Received],
) -> Result<(), StorageError> {
    let found = put_outboxes(worker, instance, &loaded.history.journal, again).await?;
    let facts = Facts::of(instance, &loaded.history.events);
    if found && !facts.ended() {
        rewrite(worker, instance, facts, loaded).await?;
    }
    Ok(())
}

/// Puts the outboxes of steps that have consumed some of these messages, unless this worker knows that they
/// were put. Says whether it put any.
async fn put_outboxes(
    worker: &Worker,
    instance: &InstanceId,
    journal: &Journal,
    again: &[Received],
) -> Result<bool, StorageError> {
    let ids: Vec<MessageId> = again.iter().map(|received| received.message.id).collect();
    let mut found = false;
    for consumer in journal.consumers(&ids) {
        worker.shared.record_committed(consumer.step);
        if worker.known_step(instance, consumer.step).is_none() {
            worker.shared.counters.outboxes_put_again.count();
            outbox::put_again(worker, &consumer.outbox).await?;
            worker.note_step(instance, consumer.step, Known::Sent);
            found = true;
        }
    }
    Ok(found)
}

/// Writes the row of an instance that has not ended by its history.
async fn rewrite(
    worker: &Worker,
    instance: &InstanceId,
    facts: Facts,
    loaded: &Loaded,
) -> Result<(), StorageError> {
    let mut session = begin(worker, instance, facts, loaded);
    let last = loaded.history.events.last().map(|event| event.timestamp);
    let (Some(at), Some(execution)) = (last, session.execution) else { return Ok(()) };
    let row = match worker.store.read_instance(instance).await {
        Ok(reply) => reply.value,
        // The row is written by the next step at the latest.
        Err(_) => return Ok(()),
    };
    session.row_version = row.as_ref().map(|(_, version)| *version);
    let view = view(&session, at, row.map(|(row, _)| row), loaded);
    instances::write(worker, &mut session, execution, &view).await
}

/// What a history shows to clients. What the last step set for whoever looks is not in it: what was
/// there before stays.
fn view(session: &Session, at: Timestamp, row: Option<InstanceRow>, loaded: &Loaded) -> View {
    let input = loaded.history.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::ExecutionStarted { input, .. } => Some(input.clone()),
        _ => None,
    });
    View {
        at,
        status: session.cursor.status().clone(),
        custom_status: row.and_then(|row| row.custom_status),
        remembered: input.filter(|_| session.instance.is_entity()),
    }
}

/// Messages found an instance that has ended: its last step may have been cut off after the history
/// was written. The Instances row is written if it does not show the end, and the end is reported
/// unless it was. False if that could not be done: the messages must come again.
pub(crate) async fn repair(
    worker: &Worker,
    instance: &InstanceId,
    facts: Facts,
    loaded: &Loaded,
) -> bool {
    let mut session = begin(worker, instance, facts, loaded);
    let last = loaded.history.events.last().map(|event| event.timestamp);
    let (Some(at), Some(execution)) = (last, session.execution) else { return true };
    let Ok(row) = worker.store.read_instance(instance).await else { return false };
    session.row_version = row.value.as_ref().map(|(_, version)| *version);
    let row = row.value.map(|(row, _)| row);
    // The row of a later execution is none of this one's business.
    let shows_end = |row: &InstanceRow| row.execution != execution || row.status.is_final();
    let is_needed = !row.as_ref().is_some_and(shows_end);
    let view = view(&session, at, row, loaded);
    if is_needed && instances::write(worker, &mut session, execution, &view).await.is_err() {
        // A repetition is refused if the write before it was applied and its answer lost.
        let Ok(row) = worker.store.read_instance(instance).await else { return false };
        if !row.value.is_some_and(|(row, _)| shows_end(&row)) {
            return false;
        }
    }
    step::report(worker, &session, execution, view, Ledger::new(at));
    true
}
