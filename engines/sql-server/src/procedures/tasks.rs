//! Fetching, completing and renewing activities.
//!
//! **Fetching** (`_LockNextTask`) takes the oldest row of NewTasks that is not locked by a worker and
//! that nobody else holds. **Completing** (`_CompleteTasks`) first makes sure that the caller exists,
//! runs, and is the execution that scheduled the task, and keeps that row locked for reading; then it
//! inserts the response for it and deletes the task. If the row of the task is gone, another worker has
//! completed it, and everything is rolled back.

use super::orchestrations::LockNext;
use super::tables::{drop_payload, fetch, insert_message};
use super::{NO_TASK, Rules, thrown};
use crate::record::Record;
use crate::rows::{
    INSTANCES, InstanceRow, NEW_TASKS, OF_TASKS, TaskRow, instance_key, number_of, numbered, read,
    row,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sim_model::id::WorkItemId;
use sim_model::message::InstanceMessage;
use sim_model::time::Timestamp;
use sim_world::sql::{Key, LockMode, SqlError, Transaction};
use std::ops::ControlFlow::{Break, Continue};
use std::rc::Rc;
use std::time::Duration;

/// An activity that was fetched.
#[derive(Serialize, Deserialize)]
pub(crate) struct LockedTask {
    /// Its number.
    pub number: u64,
    /// The execution that scheduled it.
    pub execution: u64,
    /// The message.
    pub message: Bytes,
    /// Until when it is locked.
    pub expiration: Timestamp,
}

pub(super) async fn lock_next(
    tx: Transaction,
    args: LockNext,
    rules: Rules,
) -> Result<Option<LockedTask>, SqlError> {
    tx.statement().await;
    let now = tx.now();
    let is_locked = |task: &TaskRow| task.lock_expiration.is_some_and(|until| until > now);
    let mut from = 0;
    let (key, mut task) = loop {
        let candidate: Option<(Key, TaskRow)> =
            tx.scan(NEW_TASKS, &numbered(&[], from), |key, row| {
                let task: TaskRow = read(row);
                if is_locked(&task) { Continue(()) } else { Break((key.clone(), task)) }
            });
        let Some((key, _)) = candidate else { return Ok(None) };
        from = number_of(&key) + 1;
        if !tx.try_lock(NEW_TASKS, &key, LockMode::Exclusive) {
            if rules.readpast && rules.row_locks {
                continue;
            }
            tx.lock(NEW_TASKS, &key, LockMode::Exclusive).await?;
        }
        match tx.read(NEW_TASKS, &key).map(|row| read::<TaskRow>(&row)) {
            Some(task) if !rules.row_locks || !is_locked(&task) => break (key, task),
            _ => {}
        }
    };
    let expiration = now + args.timeout;
    (task.locked_by, task.lock_expiration) = (Some(args.worker), Some(expiration));
    tx.put(NEW_TASKS, &key, row(&task)).await?;
    tx.statement().await;
    let message = fetch(&tx, OF_TASKS, task.content);
    Ok(Some(LockedTask { number: number_of(&key), execution: task.execution, message, expiration }))
}

/// Arguments of `_CompleteTasks`.
#[derive(Serialize, Deserialize)]
pub(crate) struct CompleteTask {
    pub item: WorkItemId,
    pub number: u64,
    /// The execution that scheduled the task.
    pub execution: u64,
    pub response: InstanceMessage,
}

pub(super) async fn complete(
    tx: Transaction,
    args: CompleteTask,
    rules: Rules,
    record: Rc<Record>,
) -> Result<(), SqlError> {
    tx.statement().await;
    let caller = instance_key(&args.response.target);
    let found = tx.read_locked(INSTANCES, &caller, LockMode::Shared).await?;
    let runs = found.map(|row| read::<InstanceRow>(&row)).is_some_and(|instance| {
        !instance.state.status.is_final() && instance.execution == args.execution
    });
    tx.statement().await;
    if runs {
        let now = tx.now();
        insert_message(&tx, args.response, now).await?;
    } else {
        record.follow_discards(&tx, vec![args.response.id]);
    }
    tx.statement().await;
    let key = numbered(&[], args.number);
    let task = tx.read_locked(NEW_TASKS, &key, LockMode::Exclusive).await?;
    match task.map(|row| read::<TaskRow>(&row)) {
        Some(task) => {
            tx.delete(NEW_TASKS, &key).await?;
            drop_payload(&tx, OF_TASKS, &task.content).await?;
        }
        None if rules.task_check => {
            return Err(thrown(NO_TASK, "the task was completed by another worker"));
        }
        None => {}
    }
    record.follow(&tx, args.item);
    Ok(())
}

/// Arguments of `_RenewTaskLocks`.
#[derive(Serialize, Deserialize)]
pub(crate) struct RenewTask {
    pub number: u64,
    pub worker: u64,
    pub timeout: Duration,
}

/// Renews the lock of a task if the worker still has it; until when.
pub(super) async fn renew(tx: Transaction, args: RenewTask) -> Result<Option<Timestamp>, SqlError> {
    tx.statement().await;
    let key = numbered(&[], args.number);
    let found = tx.read_locked(NEW_TASKS, &key, LockMode::Exclusive).await?;
    let Some(mut task) = found.map(|row| read::<TaskRow>(&row)) else { return Ok(None) };
    if task.locked_by != Some(args.worker) {
        return Ok(None);
    }
    let expiration = tx.now() + args.timeout;
    task.lock_expiration = Some(expiration);
    tx.put(NEW_TASKS, &key, row(&task)).await?;
    Ok(Some(expiration))
}
