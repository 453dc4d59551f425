//! The client's side: one method for each request.

use super::batch::{self, Record};
use super::command::{Answer, Request};
use crate::selfhosted::{CallError, Client};
use crate::service::Reply;
use std::time::Duration;
use thiserror::Error;

/// A request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BrokerError {
    /// No answer: see [`CallError`].
    #[error(transparent)]
    Call(#[from] CallError),
    /// There is no such topic, or it has no such partition.
    #[error("there is no such topic or partition")]
    UnknownPartition,
    /// The topic exists with another number of partitions.
    #[error("the topic exists with {partitions} partitions")]
    TopicExists {
        /// Its partitions.
        partitions: u32,
    },
    /// The partition has no record at that offset, and will not get one next.
    #[error("the offset is not between the first, {first}, and the end, {end}")]
    OffsetOutOfRange {
        /// Offset of the first record.
        first: u64,
        /// Offset of the next record to come.
        end: u64,
    },
    /// A batch that was fetched has a wrong checksum.
    #[error("a batch has a wrong checksum")]
    CorruptBatch,
}

impl BrokerError {
    /// Whether the request may have taken effect in spite of the error.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, BrokerError::Call(error) if error.is_ambiguous())
    }
}

/// Which acknowledgement a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// None: the batch is sent, and what becomes of it is not told.
    None,
    /// The broker's. With one broker this is also the acknowledgement of all replicas.
    Leader,
}

/// How much a fetch returns, and how long it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchOptions {
    /// Most bytes of batches, but at least one batch.
    pub bytes_max: u64,
    /// How long the broker waits for records if there are none.
    pub wait_max: Duration,
}

impl Default for FetchOptions {
    /// Kafka's defaults for consumers: 1 MiB for each partition, 500 ms.
    fn default() -> Self {
        FetchOptions { bytes_max: 1 << 20, wait_max: Duration::from_millis(500) }
    }
}

/// What a fetch returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Records with their offsets, in order.
    pub records: Vec<(u64, Record)>,
    /// Offset of the next record to come.
    pub end: u64,
}

type Answered<T> = Result<Reply<T>, BrokerError>;

/// A connection to the broker. It reopens after it broke; clones share it.
#[derive(Clone)]
pub struct BrokerClient {
    client: Client<Request>,
    /// How long an answer may take, besides waiting that was asked for.
    timeout: Duration,
}

impl BrokerClient {
    pub(super) fn new(client: Client<Request>, timeout: Duration) -> BrokerClient {
        BrokerClient { client, timeout }
    }

    /// Gives the connection up; the next request opens another one.
    pub fn disconnect(&self) {
        self.client.disconnect();
    }

    async fn call<T>(
        &self,
        timeout: Duration,
        request: Request,
        take: impl FnOnce(Answer) -> Option<Result<T, BrokerError>>,
    ) -> Answered<T> {
        let reply = self.client.call_within(Some(timeout), request).await?;
        let value = match reply.value {
            Answer::UnknownPartition => Err(BrokerError::UnknownPartition),
            Answer::TopicExists { partitions } => Err(BrokerError::TopicExists { partitions }),
            Answer::OffsetOutOfRange { first, end } => {
                Err(BrokerError::OffsetOutOfRange { first, end })
            }
            answer => take(answer).expect("invariant: requests get their kind of answer"),
        }?;
        Ok(Reply { value, timing: reply.timing })
    }

    /// Makes a topic durably: whether it is new.
    ///
    /// # Errors
    /// [`BrokerError::TopicExists`] with another number of partitions; no answer.
    ///
    /// # Panics
    /// Without partitions, or with a name of which files cannot be made.
    pub async fn create_topic(&self, topic: &str, partitions: u32) -> Answered<bool> {
        assert!(partitions > 0, "a topic has at least one partition");
        let is_name = !topic.is_empty() && !topic.contains(['/', '\n']);
        assert!(is_name, "{topic:?} is no name of a topic");
        let request = Request::CreateTopic { topic: topic.to_owned(), partitions };
        self.call(self.timeout, request, |answer| match answer {
            Answer::Created(is_new) => Some(Ok(is_new)),
            _ => None,
        })
        .await
    }

    /// Appends records to a partition as one batch: the offset of the first, if that is told.
    /// Repeating it after an error is the caller's to do, and can append the records twice.
    ///
    /// # Errors
    /// [`BrokerError::UnknownPartition`]; no answer.
    ///
    /// # Panics
    /// Without records.
    pub async fn produce(
        &self,
        topic: &str,
        partition: u32,
        records: &[Record],
        acks: Acks,
    ) -> Answered<Option<u64>> {
        assert!(!records.is_empty(), "a batch has at least one record");
        let request = Request::Produce {
            partition: (topic.to_owned(), partition),
            batch: batch::encode(records),
            records: records.len() as u64,
        };
        if acks == Acks::None {
            let timing = self.client.post(request).await?;
            return Ok(Reply { value: None, timing });
        }
        self.call(self.timeout, request, |answer| match answer {
            Answer::Produced(offset) => Some(Ok(Some(offset))),
            _ => None,
        })
        .await
    }

    /// The records of a partition from an offset on; waits as `options` say if there are none.
    ///
    /// # Errors
    /// [`BrokerError::UnknownPartition`], [`BrokerError::OffsetOutOfRange`],
    /// [`BrokerError::CorruptBatch`]; no answer.
    pub async fn fetch(
        &self,
        topic: &str,
        partition: u32,
        offset: u64,
        options: FetchOptions,
    ) -> Answered<Fetched> {
        let FetchOptions { bytes_max, wait_max } = options;
        let partition = (topic.to_owned(), partition);
        let request = Request::Fetch { partition, offset, bytes_max, wait_max };
        self.call(self.timeout + wait_max, request, |answer| match answer {
            Answer::Fetched { batches, end } => Some(match batch::decode(batches) {
                None => Err(BrokerError::CorruptBatch),
                Some(mut records) => {
                    // A batch comes whole, also if the offset lies within it.
                    records.retain(|(of, _)| *of >= offset);
                    Ok(Fetched { records, end })
                }
            }),
            _ => None,
        })
        .await
    }

    /// The offsets of a partition's first record and of the next to come.
    ///
    /// # Errors
    /// [`BrokerError::UnknownPartition`]; no answer.
    pub async fn offsets(&self, topic: &str, partition: u32) -> Answered<(u64, u64)> {
        let request = Request::Offsets { partition: (topic.to_owned(), partition) };
        self.call(self.timeout, request, |answer| match answer {
            Answer::Offsets { first, end } => Some(Ok((first, end))),
            _ => None,
        })
        .await
    }

    /// Stores that a group has consumed everything before `offset`.
    ///
    /// # Errors
    /// No answer.
    pub async fn commit(
        &self,
        group: &str,
        topic: &str,
        partition: u32,
        offset: u64,
    ) -> Answered<()> {
        let partition = (topic.to_owned(), partition);
        let request = Request::Commit { group: group.to_owned(), partition, offset };
        self.call(self.timeout, request, |answer| match answer {
            Answer::Done => Some(Ok(())),
            _ => None,
        })
        .await
    }

    /// The offset that a group committed last.
    ///
    /// # Errors
    /// No answer.
    pub async fn committed(
        &self,
        group: &str,
        topic: &str,
        partition: u32,
    ) -> Answered<Option<u64>> {
        let partition = (topic.to_owned(), partition);
        let request = Request::Committed { group: group.to_owned(), partition };
        self.call(self.timeout, request, |answer| match answer {
            Answer::Committed(offset) => Some(Ok(offset)),
            _ => None,
        })
        .await
    }
}
