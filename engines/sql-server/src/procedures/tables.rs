//! What several procedures do with the tables.

use crate::rows::{
    Content, HISTORY, INSTANCES, InstanceRow, NEW_EVENTS, PAYLOADS, Place, event_row,
    execution_prefix, instance_key, instance_row, number_of, numbered, place_of_event, prefix,
    read,
};
use bytes::Bytes;
use sim_model::codec::{decode, encode};
use sim_model::engine::InstanceState;
use sim_model::history::{EventId, HistoryEvent, next_event_id};
use sim_model::id::{InstanceId, MessageId};
use sim_model::message::InstanceMessage;
use sim_model::time::Timestamp;
use sim_world::sql::{Key, Row, SqlError, Transaction};

/// Stores content: in Payloads if it has a payload.
pub(super) async fn store(
    tx: &Transaction,
    prefix: &[u8],
    content: Bytes,
    has_payload: bool,
) -> Result<Place, SqlError> {
    if !has_payload {
        return Ok(Place::Inline(content));
    }
    let number = tx.next_identity(PAYLOADS);
    tx.insert(PAYLOADS, numbered(prefix, number), Row::new(content)).await?;
    Ok(Place::Payload(number))
}

/// The content at a place, as bytes.
pub(super) fn fetch(tx: &Transaction, prefix: &[u8], place: Place) -> Bytes {
    match place {
        Place::Inline(content) => content,
        Place::Payload(number) => {
            let found = tx.read(PAYLOADS, &numbered(prefix, number));
            found.map(|row| row.value).unwrap_or_default()
        }
    }
}

/// Deletes content, if it is in Payloads.
pub(super) async fn drop_payload(
    tx: &Transaction,
    prefix: &[u8],
    place: &Place,
) -> Result<(), SqlError> {
    if let Place::Payload(number) = place {
        tx.delete(PAYLOADS, &numbered(prefix, *number)).await?;
    }
    Ok(())
}

/// Inserts a message, visible from then on.
pub(super) async fn insert_message(
    tx: &Transaction,
    message: InstanceMessage,
    visible: Timestamp,
) -> Result<(), SqlError> {
    let prefix = prefix(&message.target);
    let has_payload = crate::rows::has_payload(&message.event.kind);
    let content = encode(&Content::Message(message));
    let place = store(tx, &prefix, content, has_payload).await?;
    let number = tx.next_identity(NEW_EVENTS);
    tx.insert(NEW_EVENTS, numbered(&prefix, number), event_row(visible, &place)).await
}

/// Deletes a message; the place of its content, if it was there.
pub(super) async fn delete_message(tx: &Transaction, key: &Key) -> Result<Option<Place>, SqlError> {
    let Some(found) = tx.read(NEW_EVENTS, key) else { return Ok(None) };
    let deleted = tx.delete(NEW_EVENTS, key).await?;
    Ok(deleted.then(|| place_of_event(&found)))
}

/// Deletes a message that nobody will consume, with its payload; its identity, if it was there.
pub(super) async fn drop_message(
    tx: &Transaction,
    prefix: &[u8],
    key: &Key,
) -> Result<Option<MessageId>, SqlError> {
    let Some(place) = delete_message(tx, key).await? else { return Ok(None) };
    let content = fetch(tx, prefix, place.clone());
    drop_payload(tx, prefix, &place).await?;
    Ok(match decode(&content) {
        Ok(Content::Message(message)) => Some(message.id),
        _ => None,
    })
}

/// Deletes all messages to an instance; which they were.
pub(super) async fn drop_messages(
    tx: &Transaction,
    prefix: &[u8],
) -> Result<Vec<MessageId>, SqlError> {
    let mut dropped = Vec::new();
    for (key, _) in tx.scan_prefix(NEW_EVENTS, prefix) {
        dropped.extend(drop_message(tx, prefix, &key).await?);
    }
    Ok(dropped)
}

/// Deletes everything of an instance but its row; the messages that nobody will consume.
pub(super) async fn wipe(
    tx: &Transaction,
    instance: &InstanceId,
) -> Result<Vec<MessageId>, SqlError> {
    let prefix = prefix(instance);
    let dropped = drop_messages(tx, &prefix).await?;
    tx.statement().await;
    for table in [HISTORY, PAYLOADS] {
        for (key, _) in tx.scan_prefix(table, &prefix) {
            tx.delete(table, &key).await?;
        }
    }
    Ok(dropped)
}

/// The number of the decision that would follow the history of an execution.
fn next_decision(tx: &Transaction, instance: &InstanceId, execution: u64) -> EventId {
    let prefix = prefix(instance);
    let rows = tx.scan_prefix(HISTORY, &execution_prefix(&prefix, execution));
    let event = |row: &Row| {
        let content = decode::<Content>(&fetch(tx, &prefix, read(row)));
        content.expect("invariant: the database keeps what was written").into_event()
    };
    let history: Vec<HistoryEvent> = rows.iter().map(|(_, row)| event(row)).collect();
    next_event_id(&history)
}

/// Sets the row of an instance.
pub(super) async fn put_instance(
    tx: &Transaction,
    key: &Key,
    instance: &InstanceRow,
) -> Result<(), SqlError> {
    tx.put(INSTANCES, key, instance_row(instance)).await
}

/// Brings the instance into being that a message is for, unless it exists and has not ended. The
/// caller holds its row.
///
/// Returns the messages to a former life that nobody will consume.
pub(super) async fn create_instance(
    tx: &Transaction,
    message: &mut InstanceMessage,
) -> Result<Vec<MessageId>, SqlError> {
    let key = instance_key(&message.target);
    let existing = tx.read(INSTANCES, &key).map(|row| read::<InstanceRow>(&row));
    let dropped = match existing {
        Some(instance) if !instance.state.status.is_final() => return Ok(Vec::new()),
        Some(former) => {
            message.number_decisions_from(next_decision(tx, &message.target, former.execution));
            wipe(tx, &message.target).await?
        }
        None if message.target.is_entity() => Vec::new(),
        // What came before the instance did is for nobody.
        None => drop_messages(tx, &prefix(&message.target)).await?,
    };
    let instance = InstanceRow {
        execution: tx.next_identity(INSTANCES),
        state: InstanceState::of_message(message),
        locked_by: None,
        lock_expiration: None,
    };
    tx.statement().await;
    put_instance(tx, &key, &instance).await?;
    Ok(dropped)
}

/// The numbers and contents of visible messages of an instance, at most so many.
pub(super) fn visible_messages(
    tx: &Transaction,
    prefix: &[u8],
    now: Timestamp,
    most: usize,
) -> Vec<(u64, Bytes)> {
    use std::ops::ControlFlow::{Break, Continue};
    let mut found = Vec::new();
    tx.scan(NEW_EVENTS, prefix, |key, row| {
        if !key.starts_with(prefix) || found.len() == most {
            return Break(());
        }
        if crate::rows::visible(row) <= now {
            found.push((number_of(key), place_of_event(row)));
        }
        Continue(())
    });
    found.into_iter().map(|(number, place)| (number, fetch(tx, prefix, place))).collect()
}
