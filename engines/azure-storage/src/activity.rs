//! Activities: one dequeue loop on the work-item queue, and the slots that run what it takes.
//!
//! The loop takes one message at a time, and only when a slot is free. In the slot: execute, put
//! the answer into the control queue of the caller, delete the work item. A crash after the put
//! makes the activity run again, and its caller get two answers.

use crate::outbox;
use crate::worker::Worker;
use bytes::Bytes;
use sim_model::id::{MessageId, Producer};
use sim_model::ledger::{Category, Timing};
use sim_model::message::TaskMessage;
use sim_model::time::Timestamp;
use sim_world::kernel::{Permit, Receiver, Sender};
use sim_world::queue::QueueMessage;
use std::rc::Rc;

/// A work item on its way from the loop to a slot.
pub(crate) struct Job {
    delivery: QueueMessage,
    get: Timing,
    taken: Timestamp,
    /// Frees the slot.
    permit: Permit,
}

/// Takes work items, until the worker is to stop.
pub(crate) async fn dequeue(worker: Rc<Worker>, jobs: Sender<Job>) {
    let shared = &worker.shared;
    let mut backoff = worker.backoff();
    let mut stream = worker.stream("workitems");
    loop {
        let permit = worker.activity_slots.acquire().await;
        let job = loop {
            if worker.is_stopping() {
                return;
            }
            shared.counters.work_item_gets.count();
            let visibility = shared.parameters.work_item_visibility;
            match worker.store.get(&shared.work_items, 1, visibility).await {
                Err(_) => shared.kernel().sleep(shared.parameters.fetch_error_delay).await,
                Ok(mut reply) => match reply.value.pop() {
                    Some(delivery) => {
                        shared.counters.work_items_taken.count();
                        backoff.reset();
                        let (get, taken) = (reply.timing, shared.now());
                        break Job { delivery, get, taken, permit };
                    }
                    None => {
                        shared.counters.work_item_empty_polls.count();
                        worker.rest(&mut backoff, &mut stream, &worker.work_item_wake_up).await;
                    }
                },
            }
        };
        jobs.send(job);
    }
}

/// Runs work items in one slot, for ever.
pub(crate) async fn run(worker: Rc<Worker>, slot: usize, jobs: Receiver<Job>) {
    loop {
        let job = jobs.recv().await;
        let permit = execute(&worker, slot, job).await;
        drop(permit);
    }
}

async fn execute(worker: &Worker, slot: usize, job: Job) -> Permit {
    let Job { mut delivery, get, taken, permit } = job;
    let shared = &worker.shared;
    let body = std::mem::replace(&mut delivery.body, Bytes::new());
    let (task, large) = match worker.store.open::<TaskMessage>(&body).await {
        Ok(opened) => opened,
        Err(error) => {
            worker.cannot_open(&shared.work_items, &delivery, &error).await;
            return permit;
        }
    };
    let mut ledger = task.ledger;
    shared.transit.charge_delivery(task.id, &mut ledger, &delivery, &get, taken);
    let why = Category::Queueing.because("the worker opened the message");
    ledger.charge_request(&large, shared.now(), why);
    worker.locks.hold(slot, delivery, taken + shared.parameters.work_item_visibility);
    let graph = shared.observer.graph();
    let item = graph.fetch_task(task.id, shared.now());
    let result = worker.functions.task(&shared.application, &mut ledger, &task).await;
    let id = MessageId { producer: Producer::WorkItem(item), index: 0 };
    let response = task.response(id, result, ledger);
    graph.executed(item, 1);
    let put = outbox::put_message(worker, &response).await;
    let delivery = worker.locks.release(slot);
    let settled = match put {
        Ok(()) => {
            shared.record_committed(item);
            worker.store.delete(&shared.work_items, &delivery).await.map(|_| ())
        }
        Err(error) => {
            shared.counters.failed_work_items.count();
            // Whether an unanswered put was applied shows when the answer is taken.
            if !error.is_ambiguous() {
                shared.record_aborted(item);
            }
            worker.abandon_delivery(&shared.work_items, &delivery).await
        }
    };
    if settled.is_err() {
        shared.counters.failed_operations.count();
    }
    permit
}
