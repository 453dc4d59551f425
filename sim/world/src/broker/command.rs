//! Commands and answers of the broker.

use super::partition::PartitionKey;
use crate::selfhosted::Command;
use bytes::Bytes;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of the header of a request or an answer: length, kind, version, correlation, client's name.
const HEADER_BYTES: u64 = 30;
/// Bytes of the numbers about one partition in a request or an answer.
const PARTITION_BYTES: u64 = 24;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    CreateTopic { topic: String, partitions: u32 },
    Produce { partition: PartitionKey, batch: Bytes, records: u64 },
    Fetch { partition: PartitionKey, offset: u64, bytes_max: u64, wait_max: Duration },
    Offsets { partition: PartitionKey },
    Commit { group: String, partition: PartitionKey, offset: u64 },
    Committed { group: String, partition: PartitionKey },
}

/// What the broker answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Whether the topic is new.
    Created(bool),
    /// Offset of the first record that was produced.
    Produced(u64),
    /// Batches, and the offset of the next record to come.
    Fetched {
        batches: Bytes,
        end: u64,
    },
    /// Offsets of the first record and of the next to come.
    Offsets {
        first: u64,
        end: u64,
    },
    Committed(Option<u64>),
    Done,
    UnknownPartition,
    /// The topic has another number of partitions.
    TopicExists {
        partitions: u32,
    },
    OffsetOutOfRange {
        first: u64,
        end: u64,
    },
}

impl Request {
    fn names_bytes(&self) -> u64 {
        let of = |(topic, _): &PartitionKey| topic.len() as u64;
        match self {
            Request::CreateTopic { topic, .. } => topic.len() as u64,
            Request::Produce { partition, .. }
            | Request::Fetch { partition, .. }
            | Request::Offsets { partition } => of(partition),
            Request::Commit { group, partition, .. } | Request::Committed { group, partition } => {
                group.len() as u64 + of(partition)
            }
        }
    }
}

impl Command for Request {
    type Answer = Answer;
    const KINDS: &'static [&'static str] =
        &["create_topic", "produce", "fetch", "offsets", "commit", "committed"];

    fn kind(&self) -> usize {
        match self {
            Request::CreateTopic { .. } => 0,
            Request::Produce { .. } => 1,
            Request::Fetch { .. } => 2,
            Request::Offsets { .. } => 3,
            Request::Commit { .. } => 4,
            Request::Committed { .. } => 5,
        }
    }

    fn bytes(&self) -> u64 {
        let body = match self {
            Request::Produce { batch, .. } => batch.len() as u64,
            _ => 0,
        };
        HEADER_BYTES + PARTITION_BYTES + self.names_bytes() + body
    }

    fn answer_bytes(answer: &Answer) -> u64 {
        let body = match answer {
            Answer::Fetched { batches, .. } => batches.len() as u64,
            _ => 0,
        };
        HEADER_BYTES + PARTITION_BYTES + body
    }

    fn digest(&self) -> u64 {
        match self {
            Request::Produce { partition, batch, .. } => {
                xxh3_64(batch) ^ xxh3_64(format!("{partition:?}").as_bytes())
            }
            other => xxh3_64(format!("{other:?}").as_bytes()),
        }
    }
}
