//! What clients ask for: starting, sending, querying, removing.

use super::tables::{create_instance, insert_message, wipe};
use super::{INSTANCE_BUSY, INSTANCE_EXISTS, NO_INSTANCE, thrown};
use crate::record::Record;
use crate::rows::{INSTANCES, InstanceRow, NEW_EVENTS, instance_key, prefix, read};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sim_model::engine::{InstanceQuery, InstanceState};
use sim_model::id::InstanceId;
use sim_model::message::InstanceMessage;
use sim_world::sql::{Fate, LockMode, SqlError, Transaction};
use std::ops::ControlFlow::{Break, Continue};
use std::rc::Rc;

/// Arguments of `CreateInstance`, `RaiseEvent` and `TerminateInstance`.
#[derive(Serialize, Deserialize)]
pub(crate) struct SendMessage(pub InstanceMessage);

/// An instance that has ended is replaced; one that has not is an error.
pub(super) async fn create(
    tx: Transaction,
    SendMessage(mut message): SendMessage,
    record: Rc<Record>,
) -> Result<(), SqlError> {
    tx.statement().await;
    let key = instance_key(&message.target);
    let existing = tx.read_locked(INSTANCES, &key, LockMode::Update).await?;
    let runs = |row| !read::<InstanceRow>(&row).state.status.is_final();
    if existing.is_some_and(runs) {
        return Err(thrown(INSTANCE_EXISTS, "an instance of this key exists and has not ended"));
    }
    tx.lock(INSTANCES, &key, LockMode::Exclusive).await?;
    let dropped = create_instance(&tx, &mut message).await?;
    record.follow_discards(&tx, dropped);
    tx.statement().await;
    let now = tx.now();
    insert_message(&tx, message, now).await
}

/// Inserts a message for an orchestration that exists and has not ended, or for an entity.
pub(super) async fn send(
    tx: Transaction,
    SendMessage(mut message): SendMessage,
) -> Result<(), SqlError> {
    tx.statement().await;
    let key = instance_key(&message.target);
    let found = tx.read(INSTANCES, &key).map(|row| read::<InstanceRow>(&row));
    let runs = found.is_some_and(|instance| !instance.state.status.is_final());
    if !runs {
        if !message.target.is_entity() {
            return Err(thrown(NO_INSTANCE, "the instance does not exist, or has ended"));
        }
        tx.lock(INSTANCES, &key, LockMode::Exclusive).await?;
        create_instance(&tx, &mut message).await?;
    }
    tx.statement().await;
    let now = tx.now();
    insert_message(&tx, message, now).await
}

pub(super) async fn query_single(
    tx: Transaction,
    instance: InstanceId,
) -> Result<Option<InstanceState>, SqlError> {
    tx.statement().await;
    let found = tx.read(INSTANCES, &instance_key(&instance));
    Ok(found.map(|row| read::<InstanceRow>(&row).state))
}

/// Arguments of `_QueryManyOrchestrations`.
#[derive(Serialize, Deserialize)]
pub(crate) struct QueryMany {
    pub query: InstanceQuery,
    /// Where the page before this one has ended.
    pub after: Option<(Bytes, Bytes)>,
    /// Most instances of a page.
    pub page: usize,
}

/// A page of instances, in the order of their creation.
#[derive(Serialize, Deserialize)]
pub(crate) struct Page {
    pub instances: Vec<(InstanceId, InstanceState)>,
    /// Where it ends, if there may be more.
    pub end: Option<(Bytes, Bytes)>,
}

pub(super) async fn query_many(tx: Transaction, args: QueryMany) -> Result<Page, SqlError> {
    tx.statement().await;
    let QueryMany { query, after, page } = args;
    let from = match (&after, query.created_from) {
        (Some((created, _)), _) => created.clone(),
        (None, Some(created)) => Bytes::copy_from_slice(&created.as_nanos().to_be_bytes()),
        (None, None) => Bytes::new(),
    };
    let before = query.created_before.map(|created| created.as_nanos().to_be_bytes());
    let mut entries = Vec::new();
    tx.scan_index(INSTANCES, 0, from, |created, key| {
        let is_done = before.is_some_and(|before| created[..] >= before[..]);
        if is_done || entries.len() == page {
            return Break(());
        }
        let seen = after
            .as_ref()
            .is_some_and(|(last, name)| (&created[..], &key[..]) <= (&last[..], &name[..]));
        if !seen {
            entries.push((created.clone(), Bytes::copy_from_slice(key)));
        }
        Continue(())
    });
    let end = if entries.len() == page { entries.last().cloned() } else { None };
    let mut instances = Vec::new();
    for (_, key) in entries {
        let Some(row) = tx.read(INSTANCES, &key) else { continue };
        let name = std::str::from_utf8(&key).expect("invariant: the key is a name");
        let (instance, state) = (InstanceId::new(name), read::<InstanceRow>(&row).state);
        if query.selects(&instance, &state) {
            instances.push((instance, state));
        }
    }
    Ok(Page { instances, end })
}

/// Arguments of `PurgeInstanceStateByID`.
#[derive(Serialize, Deserialize)]
pub(crate) struct PurgeInstance(pub InstanceId);

/// Removes an orchestration that has ended, or an entity that nobody works for; false if there is
/// none.
pub(super) async fn purge(
    tx: Transaction,
    PurgeInstance(instance): PurgeInstance,
    record: Rc<Record>,
) -> Result<bool, SqlError> {
    tx.statement().await;
    let key = instance_key(&instance);
    let Some(row) = tx.read_locked(INSTANCES, &key, LockMode::Exclusive).await? else {
        return Ok(false);
    };
    let found: InstanceRow = read(&row);
    let is_entity = instance.is_entity();
    let is_locked = found.lock_expiration.is_some_and(|until| until > tx.now());
    let is_busy = if is_entity {
        is_locked || !tx.scan_prefix(NEW_EVENTS, &prefix(&instance)).is_empty()
    } else {
        !found.state.status.is_final()
    };
    if is_busy {
        return Err(thrown(INSTANCE_BUSY, "the instance has not ended"));
    }
    let dropped = wipe(&tx, &instance).await?;
    record.follow_discards(&tx, dropped);
    tx.delete(INSTANCES, &key).await?;
    if is_entity {
        let graph = record.observer.graph().clone();
        tx.when_settled(move |fate| {
            if fate == Fate::Committed {
                graph.removed(&instance);
            }
        });
    }
    Ok(true)
}
