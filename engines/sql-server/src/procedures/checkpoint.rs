//! Committing a step: `_CheckpointOrchestration`.
//!
//! This is everything that a step does, in one transaction.
//! History rows are inserted behind those that were fetched: if another worker has committed in
//! between, a row is there, and the violation of the primary key aborts. Continuing as new begins
//! another execution, whose rows have other keys; so a commit also has to find the execution that was
//! fetched. (The published procedure takes another execution for one that continued as new; the
//! check is an addition.)
//!
//! **Messages to nobody.** A commit does not look at the instances it sends to, beyond bringing
//! orchestrations and entities into being. A message whose instance does not exist is found, and
//! deleted, by whoever fetches next; the published one stays where it is.

use super::tables::{
    create_instance, delete_message, drop_payload, insert_message, put_instance, store,
};
use super::{NO_INSTANCE, Rules, thrown};
use crate::record::Record;
use crate::rows::{
    HISTORY, INSTANCES, InstanceRow, NEW_TASKS, OF_TASKS, Place, TaskRow, execution_prefix,
    instance_key, numbered, prefix, read, row,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sim_model::codec::encode;
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::message::{InstanceMessage, TaskMessage};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use sim_world::sql::{Key, LockMode, SqlError, Transaction};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A new row of a history.
#[derive(Serialize, Deserialize)]
pub(crate) enum NewHistory {
    /// The event, encoded, of the consumed message of this index, whose payload it takes over.
    Consumed(usize, Bytes),
    /// An event, encoded, and whether it has a payload.
    Event(Bytes, bool),
}

/// A message to an instance.
#[derive(Serialize, Deserialize)]
pub(crate) struct NewMessage {
    pub message: InstanceMessage,
    /// When it becomes visible; absent for at once.
    pub visible: Option<Timestamp>,
}

/// Which part of a step is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    /// All of it.
    All,
    /// What it sends.
    Outbox,
    /// What it remembers and has consumed.
    State,
}

/// Arguments of `_CheckpointOrchestration`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub item: WorkItemId,
    pub part: Part,
    pub instance: InstanceId,
    /// The execution that was fetched.
    pub execution: u64,
    /// How many rows its history had.
    pub rows: u64,
    /// Whether the history so far is dropped.
    pub replaces_history: bool,
    pub status: RuntimeStatus,
    pub custom_status: Option<Payload>,
    pub entity_state: Option<Payload>,
    /// Numbers of the consumed messages.
    pub consumed: Vec<u64>,
    pub history: Vec<NewHistory>,
    pub messages: Vec<NewMessage>,
    pub tasks: Vec<TaskMessage>,
}

pub(super) async fn checkpoint(
    tx: Transaction,
    args: Checkpoint,
    rules: Rules,
    record: Rc<Record>,
) -> Result<(), SqlError> {
    tx.statement().await;
    let key = instance_key(&args.instance);
    let found = tx.read_locked(INSTANCES, &key, LockMode::Exclusive).await?;
    let mut instance: InstanceRow = match found {
        None => return Err(thrown(NO_INSTANCE, "the instance does not exist")),
        Some(row) => read(&row),
    };
    if rules.execution_check && instance.execution != args.execution {
        return Err(thrown(NO_INSTANCE, "the execution is not the instance's any more"));
    }
    if args.part != Part::Outbox {
        write_state(&tx, &args, &mut instance, rules).await?;
        record.follow(&tx, args.item);
    }
    if args.part != Part::State {
        schedule(&tx, args.tasks, instance.execution).await?;
        let dropped = send(&tx, args.messages).await?;
        record.follow_discards(&tx, dropped);
    }
    Ok(())
}

/// Consumes the messages, and writes history and instance.
async fn write_state(
    tx: &Transaction,
    args: &Checkpoint,
    instance: &mut InstanceRow,
    rules: Rules,
) -> Result<(), SqlError> {
    let prefix = prefix(&args.instance);
    tx.statement().await;
    let mut consumed = Vec::new();
    for number in &args.consumed {
        consumed.push(delete_message(tx, &numbered(&prefix, *number)).await?);
    }
    let places = store_history(tx, args, &consumed).await?;
    // The payloads of messages that leave no trace in the history.
    for place in consumed.into_iter().flatten().filter(|place| !places.contains(place)) {
        drop_payload(tx, &prefix, &place).await?;
    }
    let mut first = args.rows;
    if args.replaces_history {
        tx.statement().await;
        let former = execution_prefix(&prefix, instance.execution);
        for (key, row) in tx.scan_prefix(HISTORY, &former) {
            drop_payload(tx, &prefix, &read(&row)).await?;
            tx.delete(HISTORY, &key).await?;
        }
        instance.execution = tx.next_identity(INSTANCES);
        first = 0;
    }
    tx.statement().await;
    (instance.locked_by, instance.lock_expiration) = (None, None);
    instance.state.last_updated = tx.now();
    instance.state.status = args.status.clone();
    instance.state.custom_status = args.custom_status.clone();
    instance.state.entity_state = args.entity_state.clone();
    put_instance(tx, &instance_key(&args.instance), instance).await?;
    tx.statement().await;
    let rows = execution_prefix(&prefix, instance.execution);
    for (number, place) in (first..).zip(&places) {
        let key = numbered(&rows, number);
        match rules.history_key {
            true => tx.insert(HISTORY, key, row(place)).await?,
            false => tx.put(HISTORY, &key, row(place)).await?,
        }
    }
    Ok(())
}

/// Stores the content of new rows of history, besides that of consumed messages, which is there.
async fn store_history(
    tx: &Transaction,
    args: &Checkpoint,
    consumed: &[Option<Place>],
) -> Result<Vec<Place>, SqlError> {
    let prefix = prefix(&args.instance);
    tx.statement().await;
    let mut places = Vec::new();
    for new in &args.history {
        places.push(match new {
            NewHistory::Consumed(index, event) => match consumed.get(*index).cloned().flatten() {
                Some(place) => place,
                None => Place::Inline(event.clone()),
            },
            NewHistory::Event(event, has_payload) => {
                store(tx, &prefix, event.clone(), *has_payload).await?
            }
        });
    }
    Ok(places)
}

async fn schedule(
    tx: &Transaction,
    tasks: Vec<TaskMessage>,
    execution: u64,
) -> Result<(), SqlError> {
    if tasks.is_empty() {
        return Ok(());
    }
    tx.statement().await;
    for task in tasks {
        let caller = task.caller.clone();
        let content = store(tx, OF_TASKS, encode(&task), true).await?;
        let (lock_expiration, locked_by) = (None, None);
        let task = TaskRow { caller, execution, content, lock_expiration, locked_by };
        let number = tx.next_identity(NEW_TASKS);
        tx.insert(NEW_TASKS, numbered(&[], number), row(&task)).await?;
    }
    Ok(())
}

/// Inserts messages, and brings into being whom they are the first for. Returns the messages to
/// former lives that nobody will consume.
async fn send(tx: &Transaction, mut messages: Vec<NewMessage>) -> Result<Vec<MessageId>, SqlError> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    // In the order of keys: two commits that create the same instances do not wait for each other.
    let mut creating: BTreeMap<Key, &mut InstanceMessage> = BTreeMap::new();
    for NewMessage { message, .. } in &mut messages {
        let key = instance_key(&message.target);
        let is_needed = message.starts_orchestration()
            || (message.target.is_entity() && tx.read(INSTANCES, &key).is_none());
        if is_needed {
            creating.entry(key).or_insert(message);
        }
    }
    let mut dropped = Vec::new();
    if !creating.is_empty() {
        tx.statement().await;
    }
    for (key, message) in creating {
        tx.lock(INSTANCES, &key, LockMode::Exclusive).await?;
        dropped.extend(create_instance(tx, message).await?);
    }
    tx.statement().await;
    let now = tx.now();
    for NewMessage { message, visible } in messages {
        insert_message(tx, message, visible.unwrap_or(now)).await?;
    }
    Ok(dropped)
}
