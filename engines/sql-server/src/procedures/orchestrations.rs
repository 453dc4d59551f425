//! Fetching, committing, renewing and discarding steps.
//!
//! **Fetching** (`_LockNextOrchestration`) goes through NewEvents in the order of its clustered index
//! (by instance), takes the first instance that has a visible message, is not locked by a worker, and
//! whose row nobody else holds, locks it, and returns the oldest messages and the full history. One
//! look at the instance of each candidate is counted, whatever number of messages it has. The order
//! in which the real server goes through the join is its optimizer's choice; this is an assumption.
//!
//! **Committing** (`_CheckpointOrchestration`) is everything that a step does, in one transaction.
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
    create_instance, delete_message, drop_message, drop_payload, fetch, insert_message,
    put_instance, store, visible_messages,
};
use super::{NO_INSTANCE, Rules, thrown};
use crate::record::Record;
use crate::rows::{
    Content, HISTORY, INSTANCES, InstanceRow, NEW_EVENTS, NEW_TASKS, OF_TASKS, Place, TaskRow,
    behind, execution_prefix, instance_key, instance_of, numbered, prefix, read, row, visible,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sim_model::codec::{decode, encode};
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::message::{InstanceMessage, TaskMessage};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use sim_world::sql::{Key, LockMode, SqlError, Transaction};
use std::collections::BTreeMap;
use std::ops::ControlFlow::{Break, Continue};
use std::rc::Rc;
use std::time::Duration;

/// Arguments of `_LockNextOrchestration` and `_LockNextTask`.
#[derive(Serialize, Deserialize)]
pub(crate) struct LockNext {
    /// Who fetches.
    pub worker: u64,
    /// For how long.
    pub timeout: Duration,
    /// Most messages.
    pub batch: usize,
}

/// A step that was fetched.
#[derive(Serialize, Deserialize)]
pub(crate) struct LockedOrchestration {
    pub instance: InstanceId,
    pub execution: u64,
    /// Whether the instance has ended: nobody will consume the messages.
    pub has_ended: bool,
    /// When it was created.
    pub created: Timestamp,
    /// Until when it is locked.
    pub expiration: Timestamp,
    /// Messages by number.
    pub messages: Vec<(u64, Bytes)>,
    /// The history.
    pub history: Vec<Bytes>,
}

/// What came of an attempt to claim a candidate.
enum Claim {
    Locked(InstanceRow),
    Taken,
    /// There is no such instance, and nobody is creating it.
    Absent,
}

pub(super) async fn lock_next(
    tx: Transaction,
    args: LockNext,
    rules: Rules,
    record: Rc<Record>,
) -> Result<Option<LockedOrchestration>, SqlError> {
    tx.statement().await;
    let now = tx.now();
    let (mut from, mut dropped) = (Vec::new(), Vec::new());
    let (instance, mut found) = loop {
        let Some(instance) = next_candidate(&tx, &from, now) else {
            record.follow_discards(&tx, dropped);
            return Ok(None);
        };
        from = behind(prefix(&instance));
        match claim(&tx, &instance, now, rules).await? {
            Claim::Locked(row) => break (instance, row),
            Claim::Taken => {}
            Claim::Absent if instance.is_entity() => {
                let row = create_entity(&tx, &instance, now).await?;
                break (instance, row);
            }
            Claim::Absent => {
                let prefix = prefix(&instance);
                for (number, _) in visible_messages(&tx, &prefix, now, args.batch) {
                    dropped.extend(drop_message(&tx, &prefix, &numbered(&prefix, number)).await?);
                }
            }
        }
    };
    record.follow_discards(&tx, dropped);
    let expiration = now + args.timeout;
    (found.locked_by, found.lock_expiration) = (Some(args.worker), Some(expiration));
    put_instance(&tx, &instance_key(&instance), &found).await?;
    tx.statement().await;
    let prefix = prefix(&instance);
    let messages = visible_messages(&tx, &prefix, now, args.batch);
    tx.statement().await;
    let rows = tx.scan_prefix(HISTORY, &execution_prefix(&prefix, found.execution));
    let history = rows.iter().map(|(_, row)| fetch(&tx, &prefix, read(row))).collect();
    Ok(Some(LockedOrchestration {
        execution: found.execution,
        has_ended: found.state.status.is_final(),
        created: found.state.created,
        instance,
        expiration,
        messages,
        history,
    }))
}

/// Brings an entity into being whose row was removed while a message to it was on its way.
async fn create_entity(
    tx: &Transaction,
    instance: &InstanceId,
    now: Timestamp,
) -> Result<InstanceRow, SqlError> {
    let messages = visible_messages(tx, &prefix(instance), now, 1);
    let first = decode(&messages[0].1).expect("invariant: the database keeps what was written");
    let Content::Message(message) = first else { unreachable!("NewEvents holds messages") };
    create_instance(tx, &message).await?;
    let row = tx.read(INSTANCES, &instance_key(instance));
    Ok(read(&row.expect("invariant: it was inserted just now")))
}

/// The first instance from `from` on that has a visible message.
fn next_candidate(tx: &Transaction, from: &[u8], now: Timestamp) -> Option<InstanceId> {
    tx.scan(NEW_EVENTS, from, |key, row| match visible(row) <= now {
        true => Break(instance_of(key)),
        false => Continue(()),
    })
}

async fn claim(
    tx: &Transaction,
    instance: &InstanceId,
    now: Timestamp,
    rules: Rules,
) -> Result<Claim, SqlError> {
    let key = instance_key(instance);
    let current = |tx: &Transaction| tx.read(INSTANCES, &key).map(|row| read::<InstanceRow>(&row));
    let is_locked = |row: &InstanceRow| row.lock_expiration.is_some_and(|until| until > now);
    match current(tx) {
        Some(row) if is_locked(&row) => return Ok(Claim::Taken),
        None => {
            let is_free = tx.try_lock(INSTANCES, &key, LockMode::Exclusive);
            let is_absent = is_free && current(tx).is_none();
            return Ok(if is_absent { Claim::Absent } else { Claim::Taken });
        }
        Some(_) => {}
    }
    if !tx.try_lock(INSTANCES, &key, LockMode::Exclusive) {
        if rules.readpast && rules.row_locks {
            return Ok(Claim::Taken);
        }
        tx.lock(INSTANCES, &key, LockMode::Exclusive).await?;
    }
    Ok(match current(tx) {
        Some(row) if !rules.row_locks || !is_locked(&row) => Claim::Locked(row),
        _ => Claim::Taken,
    })
}

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
async fn send(tx: &Transaction, messages: Vec<NewMessage>) -> Result<Vec<MessageId>, SqlError> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    // In the order of keys: two commits that create the same instances do not wait for each other.
    let mut creating: BTreeMap<Key, &InstanceMessage> = BTreeMap::new();
    for NewMessage { message, .. } in &messages {
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

/// Arguments of `_DiscardEventsAndUnlockInstance`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Discard {
    pub instance: InstanceId,
    pub messages: Vec<u64>,
}

pub(super) async fn discard(
    tx: Transaction,
    args: Discard,
    record: Rc<Record>,
) -> Result<(), SqlError> {
    let (key, prefix) = (instance_key(&args.instance), prefix(&args.instance));
    tx.statement().await;
    let mut dropped = Vec::new();
    for number in args.messages {
        dropped.extend(drop_message(&tx, &prefix, &numbered(&prefix, number)).await?);
    }
    record.follow_discards(&tx, dropped);
    tx.statement().await;
    if let Some(row) = tx.read_locked(INSTANCES, &key, LockMode::Exclusive).await? {
        let mut instance: InstanceRow = read(&row);
        (instance.locked_by, instance.lock_expiration) = (None, None);
        put_instance(&tx, &key, &instance).await?;
    }
    Ok(())
}

/// Arguments of `_RenewOrchestrationLocks`.
#[derive(Serialize, Deserialize)]
pub(crate) struct RenewOrchestration {
    pub instance: InstanceId,
    pub worker: u64,
    pub timeout: Duration,
}

/// Renews the lock of an instance if the worker still has it; until when.
pub(super) async fn renew(
    tx: Transaction,
    args: RenewOrchestration,
) -> Result<Option<Timestamp>, SqlError> {
    tx.statement().await;
    let key = instance_key(&args.instance);
    let found = tx.read_locked(INSTANCES, &key, LockMode::Exclusive).await?;
    let Some(mut instance) = found.map(|row| read::<InstanceRow>(&row)) else { return Ok(None) };
    if instance.locked_by != Some(args.worker) {
        return Ok(None);
    }
    let expiration = tx.now() + args.timeout;
    instance.lock_expiration = Some(expiration);
    put_instance(&tx, &key, &instance).await?;
    Ok(Some(expiration))
}
