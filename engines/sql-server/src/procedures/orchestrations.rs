//! Fetching, renewing and discarding steps.
//!
//! **Fetching** (`_LockNextOrchestration`) goes through NewEvents in the order of its clustered index
//! (by instance), takes the first instance that has a visible message, is not locked by a worker, and
//! whose row nobody else holds, locks it, and returns the oldest messages and the full history. One
//! look at the instance of each candidate is counted, whatever number of messages it has. The order
//! in which the real server goes through the join is its optimizer's choice; this is an assumption.

use super::Rules;
use super::tables::{create_instance, drop_message, fetch, put_instance, visible_messages};
use crate::record::Record;
use crate::rows::{
    Content, HISTORY, INSTANCES, InstanceRow, NEW_EVENTS, behind, execution_prefix, instance_key,
    instance_of, numbered, prefix, read, visible,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sim_model::codec::decode;
use sim_model::id::InstanceId;
use sim_model::time::Timestamp;
use sim_world::sql::{LockMode, SqlError, Transaction};
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
    let Content::Message(mut message) = first else { unreachable!("NewEvents holds messages") };
    create_instance(tx, &mut message).await?;
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
