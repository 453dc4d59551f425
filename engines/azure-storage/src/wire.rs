//! The bytes of messages and rows.
//!
//! Content is encoded with the model's codec. The published engine writes JSON with .NET type
//! names into queues and some twenty named columns into tables; what that adds is one constant for
//! each kind of message or row, added as padding, so that meters, limits and thresholds see it.
//! All four constants have one source: \[infer\] HelloSequence5 wrote 86.9 MB in 74,910 requests
//! (vldb-oct-2021, Notebook.ipynb, Fig. 10), about 1.2 KB for each request.
//!
//! Content too large for a queue message or a table property is kept in a blob, and the message or
//! row holds the blob's name. The published engine compresses such content; here it has full size.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sim_model::codec::{DecodeError, decode};
use sim_model::engine::InstanceState;
use sim_model::id::{InstanceId, MessageId, Producer};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use std::sync::Arc;

/// Envelope of a message in a control queue, in bytes.
pub(crate) const CONTROL_MESSAGE_ENVELOPE: usize = 1000;
/// Envelope of a message in the work-item queue, in bytes.
pub(crate) const WORK_ITEM_ENVELOPE: usize = 1000;
/// Envelope of a row of the History table, in bytes.
pub(crate) const HISTORY_ROW_ENVELOPE: usize = 300;
/// Envelope of a row of the Instances table, in bytes.
pub(crate) const INSTANCE_ROW_ENVELOPE: usize = 500;

/// Envelope of a row of the Partitions table or of a lease blob, in bytes: names of columns and their
/// types. Source: \[assumption\] six columns.
pub(crate) const LEASE_ENVELOPE: usize = 200;

/// Longest message in a queue; content that makes a longer one goes to a blob.
/// Source: Azure/durabletask main@5217032, `MessageManager.cs:43`.
pub(crate) const MESSAGE_BYTES_MAX: usize = 45 * 1024;
/// Largest property of a table row; larger content goes to a blob.
/// Source: Azure/durabletask main@5217032, `Tracking/AzureTableTrackingStore.cs:52`.
pub(crate) const PROPERTY_BYTES_MAX: usize = 60 * 1024;

/// Content as it lies in a message or row.
#[derive(Serialize, Deserialize)]
pub(crate) enum Stored<T> {
    /// The content itself.
    Inline(T),
    /// The name of the blob that holds the content.
    Blob(String),
}

/// The same layout as [`Stored`], over borrowed content.
#[derive(Serialize)]
enum StoredRef<'a, T> {
    Inline(&'a T),
    Blob(&'a str),
}

/// A row of the Instances table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstanceRow {
    /// The execution: the identity of the message that started it.
    pub execution: MessageId,
    /// When the instance was created, by the clock of whoever started it.
    pub created: Timestamp,
    /// When its last step was executed.
    pub last_updated: Timestamp,
    /// Where it is in its life.
    pub status: RuntimeStatus,
    /// The registered name of its code.
    pub name: Arc<str>,
    /// What an orchestration has last set for whoever looks.
    pub custom_status: Option<Payload>,
    /// Its input: of an orchestration, written by the client only; of an entity, all that it
    /// remembers, written by every step, as the published engine does.
    pub input: Option<Payload>,
}

/// The part of what an entity remembers that clients see.
#[derive(Deserialize)]
struct Remembered {
    #[serde(default)]
    state: Option<Payload>,
}

impl InstanceRow {
    /// What a client is told about `instance`.
    pub fn state(self, instance: &InstanceId) -> InstanceState {
        let remembered = self.input.filter(|_| instance.is_entity());
        let remembered = remembered.and_then(|input| input.decode::<Remembered>().ok());
        InstanceState {
            name: self.name,
            created: self.created,
            last_updated: self.last_updated,
            status: self.status,
            custom_status: self.custom_status,
            entity_state: remembered.and_then(|remembered| remembered.state),
        }
    }
}

fn encode<T: Serialize>(stored: &StoredRef<'_, T>, envelope: usize) -> Bytes {
    let buffer = Vec::with_capacity(envelope + 256);
    let mut body = postcard::to_extend(stored, buffer)
        .expect("invariant: stored types always have an encoding");
    body.resize(body.len() + envelope, 0);
    Bytes::from(body)
}

/// Encodes content that stays where it is.
pub(crate) fn inline<T: Serialize>(content: &T, envelope: usize) -> Bytes {
    encode(&StoredRef::Inline(content), envelope)
}

/// Encodes a pointer to content in a blob.
pub(crate) fn pointer(blob: &str, envelope: usize) -> Bytes {
    encode::<()>(&StoredRef::Blob(blob), envelope)
}

/// Decodes what [`inline`] or [`pointer()`] wrote; the padding is ignored.
///
/// # Errors
/// If the bytes are something else, for example after corruption.
pub(crate) fn open<T: DeserializeOwned>(body: &[u8]) -> Result<Stored<T>, DecodeError> {
    decode(body)
}

/// The blob of a large message to `instance`.
pub(crate) fn message_blob(instance: &InstanceId, message: MessageId) -> String {
    match message.producer {
        Producer::Client => format!("{instance}/message-client-{:x}", message.index),
        Producer::WorkItem(item) => format!("{instance}/message-{:x}-{:x}", item.0, message.index),
    }
}

/// The blob of the large row of one of the events of a step of `instance`.
pub(crate) fn history_blob(instance: &InstanceId, step: u32, event: usize) -> String {
    format!("{instance}/history-{step:x}-{event:x}")
}

/// The blob of the large journal that a step of `instance` writes.
pub(crate) fn journal_blob(instance: &InstanceId, step: u32) -> String {
    format!("{instance}/journal-{step:x}")
}

/// The blob of a large Instances row, written by a step or (`None`) by the client.
pub(crate) fn instance_blob(instance: &InstanceId, step: Option<u32>) -> String {
    match step {
        Some(step) => format!("{instance}/instance-{step:x}"),
        None => format!("{instance}/instance-client"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_survives_and_the_envelope_is_added() {
        let content = (17u32, "Tokyo".to_string());
        let body = inline(&content, WORK_ITEM_ENVELOPE);
        assert_eq!(body.len(), WORK_ITEM_ENVELOPE + 1 + 1 + 1 + 5);
        let Ok(Stored::Inline(read)) = open::<(u32, String)>(&body) else { panic!("inline") };
        assert_eq!(read, content);
    }

    #[test]
    fn pointers_survive() {
        let body = pointer("a/message-1", CONTROL_MESSAGE_ENVELOPE);
        let Ok(Stored::Blob(name)) = open::<(u32, String)>(&body) else { panic!("a pointer") };
        assert_eq!(name, "a/message-1");
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(open::<(u32, String)>(&[9, 9, 9]).is_err());
    }
}
