//! What a step, an activity or a client sends: one put into a queue for each message.
//!
//! Activities go to the work-item queue, everything else to the control queue of its target. A
//! message to the instance itself for later (a timer, a delayed signal) is put into the instance's
//! own control queue like any other, hidden until it is due. A queue hides a message for seven days
//! at most: one that is due later is handed out early and hidden again (see [`crate::control`]).
//!
//! Source: Azure/durabletask main@5217032, `Messaging/ControlQueue.cs`, `Messaging/TaskHubQueue.cs`.

use crate::journal::Outbox;
use crate::wire::{CONTROL_MESSAGE_ENVELOPE, WORK_ITEM_ENVELOPE};
use crate::worker::Worker;
use futures_util::future::{join_all, join3};
use sim_model::message::{InstanceMessage, TaskMessage, TimerMessage};
use sim_model::step::StepOutcome;
use sim_model::time::Timestamp;
use sim_world::service::StorageError;

/// A message that is visible as soon as it is in its queue.
const AT_ONCE: Timestamp = Timestamp::ZERO;

/// Puts everything that a step sends, side by side.
pub(crate) async fn put_all(worker: &Worker, outcome: &StepOutcome) -> Result<(), StorageError> {
    let StepOutcome { tasks, messages, timers, .. } = outcome;
    put(worker, tasks, messages, timers).await
}

/// Puts once more what a step sends that was final before it had sent everything.
pub(crate) async fn put_again(worker: &Worker, outbox: &Outbox) -> Result<(), StorageError> {
    let Outbox { tasks, messages, timers } = outbox;
    put(worker, tasks, messages, timers).await
}

async fn put(
    worker: &Worker,
    tasks: &[TaskMessage],
    messages: &[InstanceMessage],
    timers: &[TimerMessage],
) -> Result<(), StorageError> {
    let tasks = tasks.iter().map(|task| put_task(worker, task));
    let others = messages.iter().map(|message| put_message(worker, message));
    let timers = timers.iter().map(|timer| put_timer(worker, timer));
    let (tasks, others, timers) = join3(join_all(tasks), join_all(others), join_all(timers)).await;
    tasks.into_iter().chain(others).chain(timers).collect()
}

async fn put_task(worker: &Worker, task: &TaskMessage) -> Result<(), StorageError> {
    let (store, queue) = (&worker.store, &worker.shared.work_items);
    store.put(queue, (task.id, &task.caller), task, WORK_ITEM_ENVELOPE, AT_ONCE).await?;
    worker.wake_work_items();
    Ok(())
}

/// Puts a message into the control queue of its target.
pub(crate) async fn put_message(
    worker: &Worker,
    message: &InstanceMessage,
) -> Result<(), StorageError> {
    put_control(worker, message, AT_ONCE).await
}

async fn put_timer(worker: &Worker, timer: &TimerMessage) -> Result<(), StorageError> {
    worker.shared.counters.timers.count();
    put_control(worker, &timer.message, timer.fire_at).await
}

async fn put_control(
    worker: &Worker,
    message: &InstanceMessage,
    due: Timestamp,
) -> Result<(), StorageError> {
    let queue = worker.shared.ownership.queue_of(&message.target);
    let target = &worker.shared.control_queues[queue];
    let addressed = (message.id, &message.target);
    worker.store.put(target, addressed, message, CONTROL_MESSAGE_ENVELOPE, due).await?;
    worker.wake_control(queue);
    Ok(())
}
