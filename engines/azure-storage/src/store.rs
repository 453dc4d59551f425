//! Storage operations of one host: the limit on how many run side by side, and large content.

use crate::history::{EventRow, History, HistoryError, SENTINEL, Sentinel};
use crate::journal::Journal;
use crate::shared::Shared;
use crate::wire::{self, InstanceRow, MESSAGE_BYTES_MAX, PROPERTY_BYTES_MAX, Stored};
use bytes::Bytes;
use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sim_model::codec::{self, DecodeError};
use sim_model::id::{InstanceId, MessageId, Producer};
use sim_model::ledger::Timing;
use sim_model::time::Timestamp;
use sim_world::host::Host;
use sim_world::kernel::Semaphore;
use sim_world::queue::{Queue, QueueMessage};
use sim_world::service::{Reply, RequestOptions, StorageError};
use sim_world::table::TableOperation;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use thiserror::Error;

/// Why a read or write did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum StoreError {
    /// The service refused or did not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What was read is nothing this engine wrote.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The rows that were read are no history.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// The storage client of one host.
pub(crate) struct Store {
    pub shared: Rc<Shared>,
    pub host: Host,
    permits: Semaphore,
}

impl Store {
    /// The storage client of `host`.
    pub fn new(shared: &Rc<Shared>, host: &Host) -> Store {
        let permits = shared.parameters.storage_operations_per_core * host.cores() as usize;
        let permits = shared.kernel().semaphore(permits);
        Store { shared: shared.clone(), host: host.clone(), permits }
    }

    /// Runs one storage operation when the limit allows it.
    pub async fn limited<T>(&self, operation: impl Future<Output = T>) -> T {
        let permit = self.permits.acquire().await;
        let outcome = operation.await;
        drop(permit);
        outcome
    }

    /// Takes messages from a queue.
    pub async fn get(
        &self,
        queue: &Queue,
        max: usize,
        visibility: Duration,
    ) -> Result<Reply<Vec<QueueMessage>>, StorageError> {
        self.limited(queue.get(&self.host, max, visibility)).await
    }

    /// Puts a message that becomes visible at `due`; content beyond the threshold goes to a blob
    /// first. The timing is kept for the ledger of whoever takes the message.
    pub async fn put<T: Serialize>(
        &self,
        queue: &Queue,
        (id, target): (MessageId, &InstanceId),
        content: &T,
        envelope: usize,
        due: Timestamp,
    ) -> Result<(), StorageError> {
        let mut timing = Timing::default();
        let mut body = wire::inline(content, envelope);
        if body.len() > MESSAGE_BYTES_MAX {
            let blob = wire::message_blob(target, id);
            timing = self.put_large(&blob, content).await?;
            body = wire::pointer(&blob, envelope);
        }
        let put = async {
            // The delay counts from the instant at which the service applies the put: no earlier
            // than this one.
            let hidden = self.shared.hidden_until(&self.host, due);
            match self.shared.parameters.history_first && id.producer == Producer::Client {
                false => queue.put(&self.host, body, hidden).await,
                true => self.put_once(queue, body, hidden).await,
            }
        };
        let reply = self.limited(put).await?;
        timing.merge(&reply.timing);
        self.shared.transit.acknowledged(id, timing, self.shared.now());
        Ok(())
    }

    /// Puts a message that must not be in its queue twice: a client's, which nothing tells from a second
    /// copy. Only refused attempts are repeated. One without an answer may have been applied, and the
    /// caller is told so.
    async fn put_once(
        &self,
        queue: &Queue,
        body: Bytes,
        hidden: Duration,
    ) -> Result<Reply<()>, StorageError> {
        let retry = &self.shared.world.profile().retry;
        let queue = queue.with_options(RequestOptions::once(retry.timeout));
        for _ in 0..retry.retries_max {
            match queue.put(&self.host, body.clone(), hidden).await {
                Err(StorageError::ServerBusy { .. }) => {
                    self.shared.kernel().sleep(retry.min_backoff).await;
                }
                outcome => return outcome,
            }
        }
        queue.put(&self.host, body, hidden).await
    }

    /// Deletes a message that was consumed; true if it is gone. A message that is no longer this
    /// worker's is left to whoever has it.
    pub async fn delete(
        &self,
        queue: &Queue,
        message: &QueueMessage,
    ) -> Result<bool, StorageError> {
        let delete = queue.delete(&self.host, message.id, message.pop_receipt);
        let outcome = self.limited(delete).await;
        let lives_on = matches!(outcome, Err(StorageError::PopReceiptMismatch));
        self.settle(outcome).map(|()| !lives_on)
    }

    /// Hides a message for `delay` and leaves it in its queue.
    pub async fn put_back(
        &self,
        queue: &Queue,
        message: &QueueMessage,
        delay: Duration,
    ) -> Result<(), StorageError> {
        let update = queue.update(&self.host, message.id, message.pop_receipt, delay);
        self.settle(self.limited(update).await)
    }

    fn settle<T>(&self, outcome: Result<Reply<T>, StorageError>) -> Result<(), StorageError> {
        match outcome {
            Ok(_) => Ok(()),
            Err(StorageError::NotFound { .. } | StorageError::PopReceiptMismatch) => {
                self.shared.counters.lost_locks.count();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the blobs of an instance's large messages and rows.
    pub async fn delete_large(&self, instance: &InstanceId) -> Result<(), StorageError> {
        let large = &self.shared.large;
        let names = self.limited(large.list(&self.host, &format!("{instance}/"))).await?.value;
        let deletes = names.iter().map(|name| self.limited(large.delete(&self.host, name, None)));
        for outcome in join_all(deletes).await {
            match outcome {
                Ok(_) | Err(StorageError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn put_large<T: Serialize>(
        &self,
        blob: &str,
        content: &T,
    ) -> Result<Timing, StorageError> {
        self.shared.counters.large_writes.count();
        let body = codec::encode(content);
        let put = self.shared.large.put(&self.host, blob, body, None);
        Ok(self.limited(put).await?.timing)
    }

    /// The content of a message or row; from its blob if it is there. The timing is that of the
    /// blob's reading.
    pub async fn open<T: DeserializeOwned>(&self, body: &[u8]) -> Result<(T, Timing), StoreError> {
        let blob = match wire::open(body)? {
            Stored::Inline(content) => return Ok((content, Timing::default())),
            Stored::Blob(blob) => blob,
        };
        self.shared.counters.large_reads.count();
        let reply = self.limited(self.shared.large.get(&self.host, &blob)).await?;
        Ok((codec::decode(&reply.value)?, reply.timing))
    }

    /// The body of a row; content beyond the threshold goes to the blob first.
    pub async fn row<T: Serialize>(
        &self,
        content: &T,
        envelope: usize,
        blob: impl FnOnce() -> String,
    ) -> Result<Bytes, StorageError> {
        let body = wire::inline(content, envelope);
        if body.len() - envelope <= PROPERTY_BYTES_MAX {
            return Ok(body);
        }
        let blob = blob();
        self.put_large(&blob, content).await?;
        Ok(wire::pointer(&blob, envelope))
    }

    /// Reads the history of an instance.
    pub async fn read_history(&self, instance: &InstanceId) -> Result<Reply<History>, StoreError> {
        self.shared.counters.history_reads.count();
        let query = self.shared.history.query_partition(&self.host, instance.as_str());
        let reply = self.limited(query).await?;
        let mut timing = reply.timing;
        let mut entities = reply.value;
        let last = entities.last().is_some_and(|entity| &*entity.row_key == SENTINEL);
        let sentinel = match entities.pop().filter(|_| last) {
            None => None,
            Some(entity) => {
                let (row, large) = self.open::<(Sentinel, Journal)>(&entity.body).await?;
                timing.merge(&large);
                Some((row.0, row.1, entity.etag))
            }
        };
        let named = sentinel.as_ref().map_or(0..0, |(sentinel, ..)| sentinel.rows());
        let keys = [named.start, named.end].map(|row| self.shared.row_keys.key(row));
        let [first, end] =
            keys.map(|key| entities.partition_point(|entity| *entity.row_key < *key));
        let mut rows = Vec::with_capacity(named.len());
        for entity in entities.drain(first..end) {
            let (row, large) = self.open::<EventRow>(&entity.body).await?;
            timing.merge(&large);
            rows.push(row);
        }
        let history = History::assemble(sentinel, rows.into_iter())?;
        Ok(Reply { value: history, timing })
    }

    /// Writes rows of a history, all or none; the reply is their new ETags.
    pub async fn write_history(
        &self,
        instance: &InstanceId,
        operations: Vec<TableOperation>,
    ) -> Result<Reply<Vec<u64>>, StorageError> {
        self.shared.counters.history_transactions.count();
        let history = &self.shared.history;
        self.limited(history.transaction(&self.host, instance.as_str(), operations)).await
    }

    /// Reads the Instances row of an instance, with its ETag.
    pub async fn read_instance(
        &self,
        instance: &InstanceId,
    ) -> Result<Reply<Option<(InstanceRow, u64)>>, StoreError> {
        let read = self.shared.instances.get(&self.host, instance.as_str(), "");
        let reply = self.limited(read).await?;
        let Some(entity) = reply.value else {
            return Ok(Reply { value: None, timing: reply.timing });
        };
        let (row, large) = self.open::<InstanceRow>(&entity.body).await?;
        let mut timing = reply.timing;
        timing.merge(&large);
        Ok(Reply { value: Some((row, entity.etag)), timing })
    }
}
