//! The dequeue loop of a control queue, and the reading ahead of histories.
//!
//! **Timers.** A message that is for later is hidden in its queue until it is due. The service hides
//! a message for seven days at most, so one that is due later is handed out before; it is hidden
//! again, for what is left of its time or for another seven days, and never delivered early. (The
//! published engine splits timers of more than six days into several, one after the other.)

use crate::rules::{self, Start};
use crate::store::StoreError;
use crate::worker::{Loaded, Received, Worker};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{Either, join, join_all, select};
use futures_util::stream::FuturesUnordered;
use sim_model::history::EventKind;
use sim_model::id::{InstanceId, Producer};
use sim_model::ledger::{Category, Timing};
use sim_model::message::InstanceMessage;
use sim_world::kernel::Receiver;
use sim_world::queue::QueueMessage;
use sim_world::service::Reply;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// How long a loop rests while the worker's buffer is full.
/// Source: Azure/durabletask main@5217032, `Messaging/ControlQueue.cs:73`.
const BUFFER_FULL_REST: Duration = Duration::from_secs(1);
/// Pause before a history that could not be read is read again.
/// Source: Azure/durabletask main@5217032, `OrchestrationSessionManager.cs` \[general\].
const READ_AHEAD_RETRY: Duration = Duration::from_secs(5);

/// Takes messages from a control queue, as long as the worker listens to it.
pub(crate) async fn dequeue(worker: Rc<Worker>, queue: usize) {
    let parameters = &worker.shared.parameters;
    let (counters, kernel) = (&worker.shared.counters, worker.shared.kernel());
    let source = &worker.shared.control_queues[queue];
    let mut backoff = worker.backoff();
    let mut stream = worker.stream(&format!("control-{queue:02}"));
    while worker.listens(queue) {
        if worker.buffered() >= parameters.control_queue_buffer {
            counters.buffer_full_seconds.count();
            kernel.sleep(BUFFER_FULL_REST).await;
            continue;
        }
        counters.control_queue_gets.count();
        let (max, visibility) =
            (parameters.control_queue_batch, parameters.control_queue_visibility);
        match worker.store.get(source, max, visibility).await {
            Err(_) => kernel.sleep(parameters.fetch_error_delay).await,
            Ok(reply) if reply.value.is_empty() => {
                counters.control_queue_empty_polls.count();
                worker.rest(&mut backoff, &mut stream, worker.control_wake_up(queue)).await;
            }
            Ok(reply) => {
                backoff.reset();
                take_in(&worker, queue, reply).await;
            }
        }
    }
    worker.listening.borrow_mut().loop_ended(queue);
}

/// Reads the messages of one get, checks those that start an execution, and passes them on in the
/// order in which they were put.
async fn take_in(worker: &Worker, queue: usize, reply: Reply<Vec<QueueMessage>>) {
    let opened =
        reply.value.into_iter().map(|delivery| open(worker, queue, delivery, &reply.timing));
    let messages = join_all(opened).await.into_iter().flatten();
    let now = worker.store.host.clock_now();
    let (early, mut messages): (Vec<_>, Vec<_>) =
        messages.partition(|received| received.message.event.timestamp > now);
    if !early.is_empty() {
        hide_again(worker, &early).await;
    }
    messages.sort_by_key(|received| received.delivery.insertion_time);
    if worker.shared.parameters.dedupe_read
        && messages.iter().any(|received| received.message.starts_orchestration())
    {
        messages = dedupe(worker, messages).await;
    }
    worker.receive(messages.into_iter());
}

/// Hides messages that are not due yet. One whose operation fails is handed out again after its
/// visibility timeout.
async fn hide_again(worker: &Worker, early: &[Received]) {
    let shared = &worker.shared;
    let updates = early.iter().map(|received| {
        shared.counters.timers_put_back.count();
        let source = &shared.control_queues[received.queue];
        let delay = shared.hidden_until(&worker.store.host, received.message.event.timestamp);
        worker.store.put_back(source, &received.delivery, delay)
    });
    for outcome in join_all(updates).await {
        worker.note_failure(outcome);
    }
}

/// Reads one message and brings its ledger up to the present.
async fn open(
    worker: &Worker,
    queue: usize,
    mut delivery: QueueMessage,
    get: &Timing,
) -> Option<Received> {
    let shared = &worker.shared;
    shared.counters.control_messages_taken.count();
    let taken = shared.now();
    let until = taken + shared.parameters.control_queue_visibility;
    let body = std::mem::replace(&mut delivery.body, Bytes::new());
    let (mut message, large) = match worker.store.open::<InstanceMessage>(&body).await {
        Ok(opened) => opened,
        Err(error) => {
            worker.cannot_open(&shared.control_queues[queue], &delivery, &error).await;
            return None;
        }
    };
    shared.transit.charge_delivery(message.id, &mut message.ledger, &delivery, get, taken);
    let why = Category::Queueing.because("the worker opened the message");
    message.ledger.charge_request(&large, shared.now(), why);
    if let (
        EventKind::TaskCompleted { .. } | EventKind::TaskFailed { .. },
        Producer::WorkItem(task),
    ) = (&message.event.kind, message.id.producer)
    {
        // The answer of a task that is in its queue is final, whether its put was acknowledged or
        // not. What a step sends is in its queue before the step is final.
        shared.record_committed(task);
    }
    Some(Received { message, delivery, queue, until })
}

/// Checks start messages against the Instances table: what is left may run.
async fn dedupe(worker: &Worker, messages: Vec<Received>) -> Vec<Received> {
    let checks = messages.into_iter().map(|received| check_start(worker, received));
    let (mut passed, mut put_back, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    for (received, decision) in join_all(checks).await {
        match decision {
            Start::Run => passed.push(received),
            Start::Abandon => put_back.push(received),
            Start::Discard => dropped.push(received),
        }
    }
    let shared = &worker.shared;
    for received in &dropped {
        shared.counters.start_discards.count();
        shared.observer.graph().discarded(received.message.id);
    }
    put_back.iter().for_each(|_| shared.counters.start_abandons.count());
    let abandons = put_back.iter().map(|received| {
        let source = &shared.control_queues[received.queue];
        worker.abandon_delivery(source, &received.delivery)
    });
    let deletes = dropped.iter().map(|received| {
        let source = &shared.control_queues[received.queue];
        worker.store.delete(source, &received.delivery)
    });
    // A message whose operation fails is handed out again after its visibility timeout.
    if !put_back.is_empty() || !dropped.is_empty() {
        join(join_all(abandons), join_all(deletes)).await;
    }
    passed
}

async fn check_start(worker: &Worker, mut received: Received) -> (Received, Start) {
    if !received.message.starts_orchestration() {
        return (received, Start::Run);
    }
    worker.shared.counters.dedupe_reads.count();
    let Ok(reply) = worker.store.read_instance(&received.message.target).await else {
        return (received, Start::Abandon);
    };
    let ledger = &mut received.message.ledger;
    let why = Category::Queueing.because("the worker looked the instance up");
    ledger.charge_request(&reply.timing, worker.shared.now(), why);
    let row = reply.value.as_ref().map(|(row, _)| row);
    let decision = rules::decide_start(&received.message, row, received.delivery.dequeue_count);
    (received, decision)
}

/// Reads the histories of new batches, many side by side, for ever.
pub(crate) async fn read_ahead(worker: Rc<Worker>, batches: Receiver<InstanceId>) {
    let mut reading = FuturesUnordered::new();
    loop {
        if reading.is_empty() {
            reading.push(read(&worker, batches.recv().await));
        }
        let event = {
            let next = pin!(batches.recv());
            match select(next, reading.next()).await {
                Either::Left((instance, _)) => Either::Left(instance),
                Either::Right((done, _)) => Either::Right(done),
            }
        };
        match event {
            Either::Left(instance) => reading.push(read(&worker, instance)),
            Either::Right(None) => {}
            Either::Right(Some((instance, loaded))) => worker.loaded(&instance, Some(loaded)),
        }
    }
}

async fn read(worker: &Worker, instance: InstanceId) -> (InstanceId, Loaded) {
    worker.shared.counters.prefetches.count();
    loop {
        match load(worker, &instance).await {
            Ok(loaded) => return (instance, loaded),
            Err(_) => worker.shared.kernel().sleep(READ_AHEAD_RETRY).await,
        }
    }
}

/// Reads the history of `instance`.
pub(crate) async fn load(worker: &Worker, instance: &InstanceId) -> Result<Loaded, StoreError> {
    let reply = worker.store.read_history(instance).await?;
    Ok(Loaded { history: reply.value, timing: reply.timing, at: worker.shared.now() })
}
