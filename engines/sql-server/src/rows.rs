//! The tables: their keys and rows as bytes.
//!
//! Five of the published tables: Instances, History, NewEvents (messages to instances), NewTasks
//! (activities), Payloads (whatever carries a value of user code). Keys are ordered by instance first,
//! as the clustered indexes of the published schema are; Instances has a secondary index on the time
//! of creation. A row has, besides what it says, the bytes of columns that the model does not have
//! (task hub, names of types, versions, trace contexts). Source: microsoft/durabletask-mssql
//! main@e7d35db, `Scripts/schema-*.sql`.

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sim_model::codec::{decode, encode};
use sim_model::engine::InstanceState;
use sim_model::history::{EventKind, HistoryEvent, RaisedEvent};
use sim_model::id::InstanceId;
use sim_model::message::InstanceMessage;
use sim_model::time::Timestamp;
use sim_world::sql::{Key, Row, TableId, TableSpec};
use std::rc::Rc;

/// One row for each instance.
pub(crate) const INSTANCES: TableId = TableId(0);
/// One row for each event of a history.
pub(crate) const HISTORY: TableId = TableId(1);
/// One row for each message to an instance that was not consumed.
pub(crate) const NEW_EVENTS: TableId = TableId(2);
/// One row for each activity that was not completed.
pub(crate) const NEW_TASKS: TableId = TableId(3);
/// Values of user code, with what refers to them.
pub(crate) const PAYLOADS: TableId = TableId(4);

/// The schema.
pub(crate) const TABLES: &[TableSpec] = &[
    TableSpec { name: "Instances", indexes: 1 },
    TableSpec { name: "History", indexes: 0 },
    TableSpec { name: "NewEvents", indexes: 0 },
    TableSpec { name: "NewTasks", indexes: 0 },
    TableSpec { name: "Payloads", indexes: 0 },
];

/// Bytes of columns that the model does not have, in every row. [assumption]
const ENVELOPE: usize = 100;

/// A row of Instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstanceRow {
    /// The present execution: another one once the instance has continued as new.
    pub execution: u64,
    /// What clients see.
    pub state: InstanceState,
    /// The worker that has fetched its messages.
    pub locked_by: Option<u64>,
    /// Until when nobody else fetches them.
    pub lock_expiration: Option<Timestamp>,
}

/// What a row of History, NewEvents or Payloads holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// A message, and the event that it became in the history.
    Message(InstanceMessage),
    /// An event that a step has produced.
    Event(HistoryEvent),
}

impl Content {
    /// The event.
    pub fn into_event(self) -> HistoryEvent {
        match self {
            Content::Message(message) => message.event,
            Content::Event(event) => event,
        }
    }
}

/// A row of History or NewEvents: its content, or where in Payloads that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// Here.
    Inline(Bytes),
    /// There.
    Payload(u64),
}

/// A row of NewTasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskRow {
    /// Who waits for the response.
    pub caller: InstanceId,
    /// Its execution.
    pub execution: u64,
    /// The message.
    pub content: Place,
    /// Until when nobody else fetches it.
    pub lock_expiration: Option<Timestamp>,
    /// The worker that has fetched it.
    pub locked_by: Option<u64>,
}

fn pad(body: &[u8]) -> Bytes {
    let mut value = BytesMut::with_capacity(body.len() + ENVELOPE);
    value.extend_from_slice(body);
    value.put_bytes(0, ENVELOPE);
    value.freeze()
}

/// The row that holds `value`, in a table without secondary indexes.
pub(crate) fn row<T: Serialize>(value: &T) -> Row {
    Row::new(pad(&encode(value)))
}

/// The row of an instance, listed by the time of its creation.
pub(crate) fn instance_row(value: &InstanceRow) -> Row {
    let created = value.state.created.as_nanos().to_be_bytes();
    Row { value: pad(&encode(value)), index_keys: vec![Bytes::copy_from_slice(&created)] }
}

/// The row of a message that becomes visible then.
pub(crate) fn event_row(visible: Timestamp, place: &Place) -> Row {
    let body = encode(place);
    let mut value = BytesMut::with_capacity(8 + body.len() + ENVELOPE);
    value.put_u64(visible.as_nanos());
    value.extend_from_slice(&body);
    value.put_bytes(0, ENVELOPE);
    Row::new(value.freeze())
}

/// When a message becomes visible.
pub(crate) fn visible(row: &Row) -> Timestamp {
    let bytes = row.value[..8].try_into().expect("invariant: a row begins with an instant");
    Timestamp::from_nanos(u64::from_be_bytes(bytes))
}

/// Where the content of a message is.
pub(crate) fn place_of_event(row: &Row) -> Place {
    decode(&row.value[8..]).expect("invariant: the database keeps what was written")
}

/// What a row holds.
///
/// # Panics
/// If it holds something else: the database returns what was written, or nothing.
pub(crate) fn read<T: DeserializeOwned>(row: &Row) -> T {
    decode(&row.value).expect("invariant: the database keeps what was written")
}

/// Whether an event carries a value of user code, which goes into Payloads.
pub(crate) fn has_payload(event: &EventKind) -> bool {
    match event {
        EventKind::ExecutionStarted { .. }
        | EventKind::ExecutionCompleted { .. }
        | EventKind::ExecutionFailed { .. }
        | EventKind::ExecutionTerminated { .. }
        | EventKind::TaskScheduled { .. }
        | EventKind::TaskCompleted { .. }
        | EventKind::TaskFailed { .. }
        | EventKind::SubOrchestrationInstanceCreated { .. }
        | EventKind::SubOrchestrationInstanceCompleted { .. }
        | EventKind::SubOrchestrationInstanceFailed { .. }
        | EventKind::EventSent { .. } => true,
        EventKind::EventRaised { event } => match event {
            RaisedEvent::External { .. } | RaisedEvent::Request(_) | RaisedEvent::Answer { .. } => {
                true
            }
        },
        EventKind::OrchestratorStarted { .. }
        | EventKind::OrchestratorCompleted
        | EventKind::ExecutionSuspended { .. }
        | EventKind::ExecutionResumed { .. }
        | EventKind::TimerCreated { .. }
        | EventKind::TimerFired { .. } => false,
    }
}

/// What the keys of payloads of tasks begin with: a task outlives what becomes of its caller.
pub(crate) const OF_TASKS: &[u8] = &[0, 3];

/// The primary key of an instance.
pub(crate) fn instance_key(instance: &InstanceId) -> Key {
    Rc::from(instance.as_str().as_bytes())
}

/// What the keys of everything begin with that belongs to an instance: its name, with an end that
/// no other name continues.
pub(crate) fn prefix(instance: &InstanceId) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(instance.as_str().len() + 18);
    for byte in instance.as_str().bytes() {
        prefix.push(byte);
        if byte == 0 {
            prefix.push(0xff);
        }
    }
    prefix.extend([0, 1]);
    prefix
}

/// The first key behind everything of an instance.
pub(crate) fn behind(mut prefix: Vec<u8>) -> Vec<u8> {
    *prefix.last_mut().expect("invariant: a prefix has an end") = 2;
    prefix
}

/// The instance whose prefix a key begins with.
pub(crate) fn instance_of(key: &[u8]) -> InstanceId {
    let mut name = Vec::with_capacity(key.len());
    let mut bytes = key.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == 0 && bytes.next() != Some(0xff) {
            break;
        }
        name.push(byte);
    }
    let name = String::from_utf8(name).expect("invariant: keys begin with the names of instances");
    InstanceId::new(name)
}

/// The key `prefix` followed by a number.
pub(crate) fn numbered(prefix: &[u8], number: u64) -> Key {
    let mut key = Vec::with_capacity(prefix.len() + 8);
    key.extend_from_slice(prefix);
    key.extend_from_slice(&number.to_be_bytes());
    key.into()
}

/// The number at the end of a key.
pub(crate) fn number_of(key: &Key) -> u64 {
    let tail = key.len() - 8;
    u64::from_be_bytes(key[tail..].try_into().expect("invariant: the key ends with a number"))
}

/// What the keys of the history of an execution begin with.
pub(crate) fn execution_prefix(prefix: &[u8], execution: u64) -> Vec<u8> {
    numbered(prefix, execution).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What belongs to an instance lies together, in the order of numbers, and nothing else does.
        #[test]
        fn keys_keep_instances_together(a in "[\\x00-\\x02a@]{0,4}", b in "[\\x00-\\x02a@]{0,4}", n: u64, m: u64) {
            let (first, second) = (InstanceId::new(a.as_str()), InstanceId::new(b.as_str()));
            let key = numbered(&prefix(&first), n);
            prop_assert_eq!(instance_of(&key), first.clone());
            prop_assert_eq!(number_of(&key), n);
            let other = numbered(&prefix(&second), m);
            prop_assert_eq!(other.starts_with(&prefix(&first)), first == second);
            prop_assert!(key[..] < behind(prefix(&first))[..]);
            let is_behind = other[..] >= behind(prefix(&first))[..];
            prop_assert!(first != second || !is_behind);
            prop_assert_eq!(key < other, (prefix(&first), n) < (prefix(&second), m));
        }
    }

    #[test]
    fn rows_survive_with_their_envelope() {
        let place = Place::Inline(Bytes::from_static(b"content"));
        let event = event_row(Timestamp::from_millis(5), &place);
        assert_eq!(visible(&event), Timestamp::from_millis(5));
        assert_eq!(place_of_event(&event), place);
        assert_eq!(read::<Place>(&row(&Place::Payload(9))), Place::Payload(9));
        assert_eq!(event.value.len(), 8 + 1 + 1 + 7 + ENVELOPE);
    }
}
