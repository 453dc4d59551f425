//! Steps: fetched, replayed, executed, committed.
//!
//! The code of an instance runs again from its start through the whole history for every step; nothing
//! is kept between two steps. A commit that another worker was faster with is given up: what the step
//! did is not visible to anybody.

use crate::procedures::{
    Checkpoint, Discard, LockNext, LockedOrchestration, NewHistory, NewMessage, Part, Procedure,
};
use crate::record::End;
use crate::rows::{Content, has_payload};
use crate::worker::{Held, Worker};
use bytes::Bytes;
use sim_model::codec::{decode, encode};
use sim_model::cursor::Cursor;
use sim_model::history::HistoryEvent;
use sim_model::id::WorkItemId;
use sim_model::ledger::{Ledger, Timing};
use sim_model::message::{InstanceMessage, critical_ledger};
use sim_model::step::StepOutcome;
use sim_world::kernel::{Permit, Receiver, Semaphore, Sender};
use sim_world::sql::SqlError;
use std::rc::Rc;

/// A step on its way from the dispatcher to a slot.
pub(crate) struct Job {
    locked: LockedOrchestration,
    timing: Timing,
    /// Frees the slot.
    permit: Permit,
}

/// Fetches steps, for ever.
pub(crate) async fn dispatch(worker: Rc<Worker>, slots: Semaphore, jobs: Sender<Job>) {
    let (mut backoff, mut stream) = (worker.backoff(), worker.stream("orchestrations"));
    let parameters = &worker.shared.parameters;
    let args = LockNext {
        worker: worker.number(),
        timeout: parameters.lock_timeout,
        batch: parameters.batch,
    };
    let counters = &worker.record().counters;
    loop {
        let permit = slots.acquire().await;
        let (locked, timing) = loop {
            counters.orchestration_fetches.count();
            match worker.call(Procedure::LockNextOrchestration, &args, None).await {
                Ok(reply) => match reply.value {
                    Some(locked) => break (locked, reply.timing),
                    None => {
                        counters.empty_orchestration_fetches.count();
                        worker.rest_orchestrations(&mut backoff, &mut stream).await;
                    }
                },
                Err(SqlError::Deadlock) => {}
                Err(_) => worker.pause_after_error().await,
            }
        };
        backoff.reset();
        jobs.send(Job { locked, timing, permit });
    }
}

/// Runs steps in one slot, for ever.
pub(crate) async fn run(worker: Rc<Worker>, jobs: Receiver<Job>) {
    loop {
        let Job { locked, timing, permit } = jobs.recv().await;
        let held = Held::Orchestration(locked.instance.clone());
        worker.hold(held.clone(), locked.expiration);
        step(&worker, locked, &timing).await;
        worker.release(&held);
        drop(permit);
    }
}

async fn step(worker: &Worker, locked: LockedOrchestration, timing: &Timing) {
    let content = |bytes: &Bytes| {
        decode::<Content>(bytes).expect("invariant: the database keeps what was written")
    };
    let mut messages: Vec<InstanceMessage> = Vec::new();
    for (_, bytes) in &locked.messages {
        if let Content::Message(message) = content(bytes) {
            messages.push(message);
        }
    }
    for message in &mut messages {
        worker.record().charge_fetch(&mut message.ledger, message.id, timing);
    }
    let history: Vec<HistoryEvent> =
        locked.history.iter().map(|bytes| content(bytes).into_event()).collect();
    let application = worker.shared.application.clone();
    let mut cursor = Cursor::replay(application, locked.instance.clone(), &history);
    let starts = cursor.has_started() || messages.iter().any(InstanceMessage::creates_instance);
    let has_ended = locked.has_ended || cursor.status().is_final();
    if has_ended || !starts || messages.is_empty() {
        discard(worker, &locked).await;
        return;
    }
    if locked.instance.is_entity() {
        worker.record().counters.entity_steps.count();
    }
    let graph = worker.record().observer.graph();
    let ids = messages.iter().map(|message| message.id);
    let item = graph.fetch_step(&locked.instance, cursor.last_step(), ids, worker.now());
    let mut ledger = critical_ledger(&messages);
    let consumed: Vec<HistoryEvent> =
        messages.iter().map(|message| message.event.clone()).collect();
    let replayed = history.len();
    let outcome = worker.functions.step(&mut cursor, replayed, item, &mut ledger, messages).await;
    graph.executed_step(item, &outcome);
    commit(worker, &locked, item, &consumed, outcome, ledger).await;
}

/// The messages find an instance that will not consume them.
async fn discard(worker: &Worker, locked: &LockedOrchestration) {
    let args = Discard {
        instance: locked.instance.clone(),
        messages: locked.messages.iter().map(|(number, _)| *number).collect(),
    };
    let procedure = Procedure::DiscardEventsAndUnlockInstance;
    let done: Result<sim_world::service::Reply<()>, SqlError> =
        worker.call_until(procedure, &args, locked.expiration).await;
    if done.is_err() {
        worker.record().counters.unfinished_work_items.count();
    }
}

async fn commit(
    worker: &Worker,
    locked: &LockedOrchestration,
    item: WorkItemId,
    consumed: &[HistoryEvent],
    outcome: StepOutcome,
    ledger: Ledger,
) {
    if outcome.status.is_final() {
        let (instance, status) = (locked.instance.clone(), outcome.status.clone());
        let end = End { instance, created: locked.created, status, ledger };
        worker.record().will_end(item, end);
    }
    let has_tasks = !outcome.tasks.is_empty();
    let has_messages = !outcome.messages.is_empty() || !outcome.timers.is_empty();
    let mut args = checkpoint(locked, item, consumed, outcome);
    let parts: &[Part] = match worker.shared.parameters.atomic_commit {
        true => &[Part::All],
        false => &[Part::Outbox, Part::State],
    };
    for part in parts {
        args.part = *part;
        let procedure = Procedure::CheckpointOrchestration;
        let done: Result<sim_world::service::Reply<()>, SqlError> =
            worker.call_until(procedure, &args, locked.expiration).await;
        if let Err(error) = done {
            failed(worker, item, &error);
            return;
        }
    }
    if has_tasks {
        worker.wake_activities();
    }
    if has_messages {
        worker.wake_orchestrations();
    }
}

/// A commit failed: another worker was faster, or an attempt of this one whose answer was lost; or
/// the database did not answer for as long as the lock lasts.
fn failed(worker: &Worker, item: WorkItemId, error: &SqlError) {
    let counters = &worker.record().counters;
    match error {
        SqlError::DuplicateKey { .. } | SqlError::Thrown { .. } => counters.split_brains.count(),
        _ => counters.unfinished_work_items.count(),
    }
    if !error.is_ambiguous() {
        worker.record().gave_up(item);
    }
}

fn checkpoint(
    locked: &LockedOrchestration,
    item: WorkItemId,
    consumed: &[HistoryEvent],
    outcome: StepOutcome,
) -> Checkpoint {
    let at_once = outcome.messages.into_iter().map(|message| NewMessage { message, visible: None });
    let later = outcome
        .timers
        .into_iter()
        .map(|timer| NewMessage { message: timer.message, visible: Some(timer.fire_at) });
    Checkpoint {
        item,
        part: Part::All,
        instance: locked.instance.clone(),
        execution: locked.execution,
        rows: locked.history.len() as u64,
        replaces_history: outcome.replaces_history,
        status: outcome.status,
        custom_status: outcome.custom_status,
        entity_state: outcome.entity_state,
        consumed: locked.messages.iter().map(|(number, _)| *number).collect(),
        history: rows_of(outcome.new_events, consumed),
        messages: at_once.chain(later).collect(),
        tasks: outcome.tasks,
    }
}

/// New rows of history: those of consumed messages take over what the messages hold already.
fn rows_of(events: Vec<HistoryEvent>, consumed: &[HistoryEvent]) -> Vec<NewHistory> {
    let mut next = 0;
    let mut row = |event: HistoryEvent| {
        let found = consumed[next..].iter().position(|consumed| *consumed == event);
        let has_payload = has_payload(&event.kind);
        let bytes = encode(&Content::Event(event));
        match found {
            Some(ahead) => {
                next += ahead + 1;
                NewHistory::Consumed(next - 1, bytes)
            }
            None => NewHistory::Event(bytes, has_payload),
        }
    };
    events.into_iter().map(&mut row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_model::history::EventKind;
    use sim_model::time::Timestamp;

    fn event(at: u64, kind: EventKind) -> HistoryEvent {
        HistoryEvent { timestamp: Timestamp::from_millis(at), kind }
    }

    #[test]
    fn consumed_events_are_found_once_and_in_order() {
        let fired = |at| event(at, EventKind::TimerFired { timer_id: 3, fire_at: Timestamp::ZERO });
        let consumed = [fired(1), fired(1), fired(2)];
        let completed = event(9, EventKind::OrchestratorCompleted);
        let rows = rows_of(vec![fired(1), completed, fired(2)], &consumed);
        let found: Vec<Option<usize>> = rows
            .iter()
            .map(|row| match row {
                NewHistory::Consumed(index, _) => Some(*index),
                NewHistory::Event(..) => None,
            })
            .collect();
        assert_eq!(found, [Some(0), None, Some(2)]);
    }
}
