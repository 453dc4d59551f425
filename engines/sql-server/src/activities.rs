//! Activities: fetched, executed, completed.

use crate::procedures::{CompleteTask, LockNext, LockedTask, Procedure};
use crate::worker::{Held, Worker};
use sim_model::codec::decode;
use sim_model::id::{MessageId, Producer};
use sim_model::ledger::Timing;
use sim_model::message::TaskMessage;
use sim_world::kernel::{Permit, Receiver, Semaphore, Sender};
use sim_world::service::Reply;
use sim_world::sql::SqlError;
use std::rc::Rc;

/// An activity on its way from the dispatcher to a slot.
pub(crate) struct Job {
    locked: LockedTask,
    timing: Timing,
    /// Frees the slot.
    permit: Permit,
}

/// Fetches activities, for ever.
pub(crate) async fn dispatch(worker: Rc<Worker>, slots: Semaphore, jobs: Sender<Job>) {
    let (mut backoff, mut stream) = (worker.backoff(), worker.stream("activities"));
    let timeout = worker.shared.parameters.lock_timeout;
    let args = LockNext { worker: worker.number(), timeout, batch: 1 };
    let counters = &worker.record().counters;
    loop {
        let permit = slots.acquire().await;
        let (locked, timing) = loop {
            counters.activity_fetches.count();
            match worker.call(Procedure::LockNextTask, &args, None).await {
                Ok(reply) => match reply.value {
                    Some(locked) => break (locked, reply.timing),
                    None => {
                        counters.empty_activity_fetches.count();
                        worker.rest_activities(&mut backoff, &mut stream).await;
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

/// Runs activities in one slot, for ever.
pub(crate) async fn run(worker: Rc<Worker>, jobs: Receiver<Job>) {
    loop {
        let Job { locked, timing, permit } = jobs.recv().await;
        let held = Held::Task(locked.number);
        worker.hold(held.clone(), locked.expiration);
        execute(&worker, locked, &timing).await;
        worker.release(&held);
        drop(permit);
    }
}

async fn execute(worker: &Worker, locked: LockedTask, timing: &Timing) {
    let task: TaskMessage =
        decode(&locked.message).expect("invariant: the database keeps what was written");
    let record = worker.record();
    let mut ledger = task.ledger;
    record.charge_fetch(&mut ledger, task.id, timing);
    let graph = record.observer.graph();
    let item = graph.fetch_task(task.id, worker.now());
    let application = &worker.shared.application;
    let result = worker.functions.task(application, &mut ledger, &task).await;
    graph.executed(item, 1);
    let id = MessageId { producer: Producer::WorkItem(item), index: 0 };
    let args = CompleteTask {
        item,
        number: locked.number,
        execution: locked.execution,
        response: task.response(id, result, ledger),
    };
    let until = worker.now() + worker.shared.parameters.lock_timeout;
    let done: Result<Reply<()>, SqlError> =
        worker.call_until(Procedure::CompleteTasks, &args, until).await;
    match done {
        Ok(_) => worker.wake_orchestrations(),
        Err(error) => {
            match error {
                SqlError::Thrown { .. } => record.counters.lost_tasks.count(),
                _ => record.counters.unfinished_work_items.count(),
            }
            if !error.is_ambiguous() {
                record.gave_up(item);
            }
        }
    }
}
