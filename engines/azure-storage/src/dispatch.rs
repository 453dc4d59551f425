//! The dispatchers: one session at a time in each slot for orchestrations or entities.
//!
//! A session begins with a ready batch. It reads the history if that was not read ahead, puts back
//! what is out of order, drops what has no target, and runs one step of what is left (see
//! [`crate::step`]). An entity without a history comes into being with its first message. Without
//! extended sessions it ends there; with them it keeps the suspended code and the slot until no message
//! has come for a while.
//!
//! **Old histories.** A batch that arrived while an earlier step was being committed may have been
//! given a history without that step. The out-of-order rule is applied to the history as it was
//! read ahead. If messages are left and this worker knows that its own earlier session has changed
//! the history since, it is read once more before the step \[infer\]: otherwise every step of a
//! fan-in would run on an old state and be refused by the ETag.

use crate::control;
use crate::history::History;
use crate::journal::Journal;
use crate::recovery;
use crate::rules::{self, Admission, Arrival, Facts};
use crate::sessions::Batch;
use crate::step::{self, Committed};
use crate::worker::{Loaded, Received, Worker};
use futures_util::future::join;
use sim_model::cursor::Cursor;
use sim_model::history::{EventKind, next_event_id};
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::ledger::{Category, Ledger};
use sim_world::kernel::Receiver;
use std::ops::Range;
use std::rc::Rc;

/// What a session knows of its instance.
pub(crate) struct Session {
    pub instance: InstanceId,
    pub facts: Facts,
    /// The execution, if the instance was started.
    pub execution: Option<MessageId>,
    /// The version of the history, if there is one.
    pub version: Option<u64>,
    /// The rows of the History table that hold it, or that a new life takes the place of.
    pub rows: Range<usize>,
    /// The instance's code, suspended after its history.
    pub cursor: Cursor,
    /// Events that were replayed to get there and not charged yet.
    pub replayed: usize,
    /// What the history remembers of steps whose messages may come again.
    pub journal: Journal,
    /// The version of the Instances row as it was read or written last, if that is of interest.
    pub row_version: Option<u64>,
}

/// The messages that a step consumes.
#[derive(Default)]
struct Sorted {
    run: Vec<Received>,
    /// Those of `run`, by index, that the history has already.
    duplicates: Vec<usize>,
}

/// Runs sessions in one slot, for ever.
pub(crate) async fn dispatch(worker: Rc<Worker>, slot: usize, ready: Receiver<InstanceId>) {
    loop {
        let instance = ready.recv().await;
        let queue = worker.shared.ownership.queue_of(&instance);
        worker.listening.borrow_mut().session_opened(queue);
        let version = session(&worker, slot, &instance).await;
        worker.listening.borrow_mut().session_closed(queue);
        let left = worker.sessions.borrow_mut().take_inbox(&instance);
        let next = worker.sessions.borrow_mut().close(&instance, version);
        if next {
            worker.announce(instance);
        }
        left.into_iter().for_each(|received| worker.pass_on(received));
    }
}

/// Runs one session; returns the version of the history that it left, if it wrote it.
async fn session(worker: &Worker, slot: usize, instance: &InstanceId) -> Option<u64> {
    let batch = worker.sessions.borrow_mut().open(instance, slot);
    let (mut session, mut sorted, loaded) = prepare(worker, instance, batch).await?;
    let mut ledger = ledger_of(&sorted.run);
    let why = Category::Queueing.because("the worker loaded the history");
    ledger.charge_request(&loaded.timing, loaded.at, why);
    let read = session.version;
    let mut written = None;
    loop {
        let outcome = step::run(worker, &mut session, sorted.run, &sorted.duplicates, ledger).await;
        if session.version != read {
            written = session.version;
        }
        let Some(Committed { ended }) = outcome else { return written };
        if ended || !worker.shared.parameters.extended_sessions {
            return written;
        }
        let Some(next) = next_messages(worker, &mut session, slot).await else { return written };
        worker.shared.counters.extended_session_hits.count();
        ledger = ledger_of(&next.run);
        sorted = next;
    }
}

/// Gets everything ready for a step: the history, the messages that may run on it, and the
/// suspended code. `None` if no message is left.
async fn prepare(
    worker: &Worker,
    instance: &InstanceId,
    batch: Batch<Received, Loaded>,
) -> Option<(Session, Sorted, Loaded)> {
    let mut loaded = match batch.history {
        Some(loaded) => loaded,
        None => load_or_abandon(worker, instance, &batch.messages).await?,
    };
    let stale = batch.expected.is_some() && batch.expected != loaded.history.version;
    let mut messages = batch.messages;
    let history_first = worker.shared.parameters.history_first;
    if history_first && stale {
        worker.shared.counters.stale_prefetches.count();
        loaded = load_or_abandon(worker, instance, &messages).await?;
    }
    mend_or_abandon(worker, instance, &loaded, &messages).await?;
    if history_first {
        messages = recovery::set_aside(worker, instance, &loaded, messages).await;
    }
    let stale = stale && !history_first;
    let (mut facts, mut sorted) = sort_out(worker, instance, &mut loaded, messages).await;
    if stale && !sorted.run.is_empty() {
        worker.shared.counters.stale_prefetches.count();
        loaded = load_or_abandon(worker, instance, &sorted.run).await?;
        mend_or_abandon(worker, instance, &loaded, &sorted.run).await?;
        (facts, sorted) = sort_out(worker, instance, &mut loaded, sorted.run).await;
    }
    if !sorted.run.is_empty() {
        let mut session = begin(worker, instance, facts, &loaded);
        if worker.shared.parameters.instance_etag {
            match worker.store.read_instance(instance).await {
                Ok(reply) => session.row_version = reply.value.map(|(_, version)| version),
                Err(_) => {
                    worker.abandon(&sorted.run).await;
                    return None;
                }
            }
        }
        return Some((session, sorted, loaded));
    }
    None
}

/// Mends what the last step of an instance that has ended may have left undone, while the messages that show
/// it are still there: once they are deleted nobody would come back to it. If that fails, they are put back.
async fn mend_or_abandon(
    worker: &Worker,
    instance: &InstanceId,
    loaded: &Loaded,
    messages: &[Received],
) -> Option<()> {
    let facts = Facts::of(instance, &loaded.history.events);
    let execution = loaded.history.execution;
    let restarts = |received: &Received| facts.is_restarted_by(execution, &received.message);
    if !facts.ended() || messages.iter().any(restarts) {
        return Some(());
    }
    if recovery::repair(worker, instance, facts, loaded).await {
        return Some(());
    }
    worker.abandon(messages).await;
    None
}

/// Reads the history; if that fails, the messages are put back.
async fn load_or_abandon(
    worker: &Worker,
    instance: &InstanceId,
    messages: &[Received],
) -> Option<Loaded> {
    match control::load(worker, instance).await {
        Ok(loaded) => Some(loaded),
        Err(_) => {
            worker.abandon(messages).await;
            None
        }
    }
}

/// Decides on the messages by the history, and carries out what is to be done without a step.
async fn sort_out(
    worker: &Worker,
    instance: &InstanceId,
    loaded: &mut Loaded,
    mut messages: Vec<Received>,
) -> (Facts, Sorted) {
    let history = &mut loaded.history;
    if let Some(step) = last_step(history) {
        // A history that was read is final, whether its write was acknowledged or not.
        worker.shared.record_committed(step);
    }
    let mut facts = Facts::of(instance, &history.events);
    let begins = messages.iter_mut().map(|received| &mut received.message).find(|message| {
        let first = history.execution.is_none() && message.creates_instance();
        first || facts.is_restarted_by(history.execution, message)
    });
    if let Some(message) = begins {
        message.number_decisions_from(next_event_id(&history.events));
        history.restart(message.id);
        facts = Facts::new(instance);
    }
    let sorted = sort(worker, &mut facts, history.execution, messages).await;
    (facts, sorted)
}

/// The step that wrote the last episode of a history.
fn last_step(history: &History) -> Option<WorkItemId> {
    history.events.iter().rev().find_map(|event| match event.kind {
        EventKind::OrchestratorStarted { work_item } => Some(work_item),
        _ => None,
    })
}

/// The next messages of an extended session; `None` if none came for too long.
async fn next_messages(worker: &Worker, session: &mut Session, slot: usize) -> Option<Sorted> {
    loop {
        let mut arrived = worker.sessions.borrow_mut().take_inbox(&session.instance);
        if !arrived.is_empty() {
            arrived = recovery::set_aside_in_session(worker, session, arrived).await;
            let sorted = sort(worker, &mut session.facts, session.execution, arrived).await;
            if !sorted.run.is_empty() {
                return Some(sorted);
            }
        } else if !wait(worker, slot).await {
            return None;
        }
    }
}

/// Waits for messages to an extended session; false if none came for too long.
async fn wait(worker: &Worker, slot: usize) -> bool {
    let idle = worker.shared.parameters.extended_session_idle;
    let signal = worker.slot_signals[slot].notified();
    worker.shared.kernel().timeout(idle, signal).await.is_some()
}

/// The ledger of the message that arrived last.
fn ledger_of(messages: &[Received]) -> Ledger {
    let (first, rest) = messages.split_first().expect("invariant: a step has a message");
    *rest.iter().fold(&first.message.ledger, |latest, next| latest.later(&next.message.ledger))
}

/// Sorts messages by what the history says of them; puts back and drops those that do not run. What
/// starts an orchestration comes before all that is for it.
async fn sort(
    worker: &Worker,
    facts: &mut Facts,
    execution: Option<MessageId>,
    mut messages: Vec<Received>,
) -> Sorted {
    let shared = &worker.shared;
    let mut sorted = Sorted::default();
    let (mut abandon, mut discard) = (Vec::new(), Vec::new());
    messages.sort_by_key(|received| !received.message.starts_orchestration());
    for received in messages {
        let arrival = Arrival {
            message: &received.message,
            dequeue_count: received.delivery.dequeue_count,
            execution,
            out_of_order_rule: shared.parameters.out_of_order_rule,
        };
        match rules::admit(facts, arrival) {
            Admission::Run if !seen_by_entity(worker, &received, &sorted.run) => {
                sorted.run.push(received);
            }
            Admission::Run | Admission::Duplicate => {
                sorted.duplicates.push(sorted.run.len());
                sorted.run.push(received);
            }
            Admission::Abandon => {
                shared.counters.out_of_order_abandons.count();
                abandon.push(received);
            }
            Admission::Discard => {
                shared.counters.discards.count();
                shared.observer.graph().discarded(received.message.id);
                discard.push(received);
            }
        }
    }
    if !abandon.is_empty() || !discard.is_empty() {
        join(worker.abandon(&abandon), worker.delete(&discard)).await;
    }
    sorted
}

/// Whether the message is a second copy of one that its entity recognises: of one that it has consumed,
/// or of one among `others`. It goes into the step like all others, and has no effect there; this is
/// for the record only.
fn seen_by_entity(worker: &Worker, received: &Received, others: &[Received]) -> bool {
    let message = &received.message;
    // A client library that got no answer puts a message twice.
    let twice = || others.iter().any(|other| other.message.id == message.id);
    rules::is_recognised(&message.event.kind)
        && (worker.shared.was_consumed(&message.id) || twice())
}

/// Runs the instance's code again through its history.
pub(crate) fn begin(
    worker: &Worker,
    instance: &InstanceId,
    facts: Facts,
    loaded: &Loaded,
) -> Session {
    let application = worker.shared.application.clone();
    let history = &loaded.history;
    let cursor = Cursor::replay(application, instance.clone(), &history.events);
    Session {
        instance: instance.clone(),
        facts,
        execution: history.execution,
        version: history.version,
        rows: history.rows.clone(),
        replayed: history.events.len(),
        journal: history.journal.clone(),
        row_version: None,
        cursor,
    }
}
