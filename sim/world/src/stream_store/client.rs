//! The client's side: one method for each command.

use super::command::{Answer, Block, Entry, EntryId, Fields, Operation, Request};
use crate::selfhosted::{CallError, Client};
use crate::service::Reply;
use bytes::Bytes;
use thiserror::Error;

/// A command that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StoreError {
    /// No answer: see [`CallError`].
    #[error(transparent)]
    Call(#[from] CallError),
    /// The key holds another type of value.
    #[error("WRONGTYPE: the key holds another type of value")]
    WrongType,
    /// The append-only file cannot be written. The command was refused.
    #[error("MISCONF: the append-only file cannot be written, changes are refused")]
    CannotPersist,
}

impl StoreError {
    /// Whether the command may have taken effect in spite of the error.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, StoreError::Call(error) if error.is_ambiguous())
    }
}

type Answered<T> = Result<Reply<T>, StoreError>;

/// A connection to the store. It reopens after it broke; clones share it.
#[derive(Clone)]
pub struct StoreClient(Client<Request>);

impl StoreClient {
    pub(super) fn new(client: Client<Request>) -> StoreClient {
        StoreClient(client)
    }

    /// Gives the connection up; the next command opens another one.
    pub fn disconnect(&self) {
        self.0.disconnect();
    }

    async fn call<T>(
        &self,
        operation: Operation,
        take: impl FnOnce(Answer) -> Option<T>,
    ) -> Answered<T> {
        let reply = self.0.call(Request::new(operation)).await?;
        match reply.value {
            Answer::WrongType => Err(StoreError::WrongType),
            Answer::CannotPersist => Err(StoreError::CannotPersist),
            answer => {
                let value = take(answer).expect("invariant: commands get their kind of answer");
                Ok(Reply { value, timing: reply.timing })
            }
        }
    }

    /// Adds an entry to a stream, which is made if there is none: its id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn xadd(&self, stream: &str, fields: Fields) -> Answered<EntryId> {
        let operation = Operation::StreamAdd { stream: stream.to_owned(), fields };
        self.call(operation, |answer| match answer {
            Answer::Id(id) => Some(id),
            _ => None,
        })
        .await
    }

    /// The entries of a stream after an id, `count` at most, or all there are; waits as `block` says if
    /// there are none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn xread(
        &self,
        stream: &str,
        after: EntryId,
        count: Option<u64>,
        block: Block,
    ) -> Answered<Vec<Entry>> {
        let operation = Operation::StreamRead { stream: stream.to_owned(), after, count, block };
        self.call(operation, |answer| match answer {
            Answer::Entries(entries) => Some(entries),
            _ => None,
        })
        .await
    }

    /// Deletes entries of a stream: how many there were.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn xdel(&self, stream: &str, ids: Vec<EntryId>) -> Answered<u64> {
        self.count(Operation::StreamDelete { stream: stream.to_owned(), ids }).await
    }

    /// Adds values to the end of a list, which is made if there is none: its length.
    ///
    /// # Errors
    /// See [`StoreError`].
    ///
    /// # Panics
    /// Without values.
    pub async fn rpush(&self, list: &str, values: Vec<Bytes>) -> Answered<u64> {
        assert!(!values.is_empty(), "rpush to {list:?} without values");
        self.count(Operation::ListPush { list: list.to_owned(), values }).await
    }

    /// The values of a list from place `start` to `stop`, both included; negative places count from
    /// the end.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn lrange(&self, list: &str, start: i64, stop: i64) -> Answered<Vec<Bytes>> {
        let operation = Operation::ListRange { list: list.to_owned(), start, stop };
        self.call(operation, |answer| match answer {
            Answer::Values(values) => Some(values),
            _ => None,
        })
        .await
    }

    /// Sets a field of a hash: whether it is new.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn hset(&self, hash: &str, field: &str, value: Bytes) -> Answered<bool> {
        let fields = vec![(field.to_owned(), value)];
        let operation = Operation::HashSet { hash: hash.to_owned(), fields, many: false };
        Ok(self.count(operation).await?.map(|added| added > 0))
    }

    /// Sets many fields of a hash at once: how many are new.
    ///
    /// # Errors
    /// See [`StoreError`].
    ///
    /// # Panics
    /// Without fields.
    pub async fn hmset(&self, hash: &str, fields: Fields) -> Answered<u64> {
        assert!(!fields.is_empty(), "hmset of {hash:?} without fields");
        self.count(Operation::HashSet { hash: hash.to_owned(), fields, many: true }).await
    }

    /// A field of a hash.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn hget(&self, hash: &str, field: &str) -> Answered<Option<Bytes>> {
        let operation = Operation::HashGet { hash: hash.to_owned(), field: field.to_owned() };
        self.call(operation, |answer| match answer {
            Answer::Value(value) => Some(value),
            _ => None,
        })
        .await
    }

    /// All fields of a hash, sorted by their names; none of them if there is no such hash.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn hgetall(&self, hash: &str) -> Answered<Fields> {
        self.call(Operation::HashGetAll { hash: hash.to_owned() }, |answer| match answer {
            Answer::Fields(fields) => Some(fields),
            _ => None,
        })
        .await
    }

    /// Whether a hash has a field.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn hexists(&self, hash: &str, field: &str) -> Answered<bool> {
        let operation = Operation::HashExists { hash: hash.to_owned(), field: field.to_owned() };
        Ok(self.count(operation).await?.map(|count| count > 0))
    }

    /// Sets a field of a hash unless the hash has it: whether it was set.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn hsetnx(&self, hash: &str, field: &str, value: Bytes) -> Answered<bool> {
        let (hash, field) = (hash.to_owned(), field.to_owned());
        let operation = Operation::HashSetNew { hash, field, value };
        Ok(self.count(operation).await?.map(|count| count > 0))
    }

    /// Gives a field of a hash another value, or removes it, if it holds `expected`, and deletes other keys
    /// with it: whether it did. One step of the server: the script `if redis.call('hget', KEYS[1], ARGV[1])
    /// == ARGV[2] then ...`, which the store has loaded.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn replace(
        &self,
        hash: &str,
        field: &str,
        (expected, value): (Bytes, Option<Bytes>),
        deleted: Vec<String>,
    ) -> Answered<bool> {
        let (hash, field) = (hash.to_owned(), field.to_owned());
        let operation = Operation::HashReplace { hash, field, expected, value, deleted };
        Ok(self.count(operation).await?.map(|count| count > 0))
    }

    /// The greatest id that an entry of a stream ever had; [`EntryId::ZERO`] if there is no such stream.
    /// Of what the real command tells (`XINFO STREAM`), the last generated id alone.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn xinfo(&self, stream: &str) -> Answered<EntryId> {
        self.call(Operation::StreamLast { stream: stream.to_owned() }, |answer| match answer {
            Answer::Id(id) => Some(id),
            _ => None,
        })
        .await
    }

    /// Deletes fields of a hash: how many there were.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn hdel(&self, hash: &str, fields: Vec<String>) -> Answered<u64> {
        self.count(Operation::HashDelete { hash: hash.to_owned(), fields }).await
    }

    /// Deletes keys: how many there were.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn del(&self, keys: Vec<String>) -> Answered<u64> {
        self.count(Operation::Delete { keys }).await
    }

    async fn count(&self, operation: Operation) -> Answered<u64> {
        self.call(operation, |answer| match answer {
            Answer::Count(count) => Some(count),
            _ => None,
        })
        .await
    }
}
