//! The stores: the event streams and the hashes of triggers, over one stream/hash store.
//!
//! Keys are named in [`crate::keys`]. With positional acknowledgement the events are in a log broker instead
//! ([`crate::logs`]).
//!
//! A command that fails is repeated after a pause: by workers and the control plane until it is answered,
//! by others a number of times. A repeated append may add an event twice.
//!
//! **Damage.** The file of the stream store has no checksum: a disk that changes bytes changes values and
//! events, and what remains is read as it is. Bytes that do not decode are left where they are, counted
//! (`store_unreadable`), and taken for absent; who asked for just that value gets an error. The worker of a workflow
//! that is data does not run without all of its triggers. The artefact's parser would throw, and its worker start
//! again and find the same \[general\]. A command that the
//! store refuses for good, because a damaged key holds another type, is given up and counted
//! (`store_refused`). Whatever then waits for ever is what the checks find.

use crate::counters::Counter;
use crate::event::Position;
use crate::keys::{self, WorkspaceName};
use crate::logs::Logs;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use sim_model::codec::{decode, encode};
use sim_model::message::TimerMessage;
use sim_world::broker::BrokerError;
use sim_world::host::Host;
use sim_world::service::Reply;
use sim_world::stream_store::{self, Block, EntryId, StoreClient, StreamStore};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// A command that was not answered, or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum StoreError {
    /// By the store.
    #[error(transparent)]
    Store(#[from] stream_store::StoreError),
    /// By the log broker.
    #[error(transparent)]
    Log(#[from] BrokerError),
    /// The store has answered with bytes that do not decode.
    #[error("what the store holds does not decode")]
    Unreadable,
}

impl StoreError {
    /// Whether the command may have taken effect in spite of the error.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match self {
            StoreError::Store(error) => error.is_ambiguous(),
            StoreError::Log(error) => error.is_ambiguous(),
            StoreError::Unreadable => false,
        }
    }

    /// Whether it would be the same again.
    fn is_final(&self) -> bool {
        *self == StoreError::Store(stream_store::StoreError::WrongType)
    }
}

/// The only field of a stream's entry.
const BODY: &str = "event";

/// Pause before a command is repeated [assumption].
const PAUSE: Duration = Duration::from_millis(100);

/// What became of a change of a workspace's row.
pub(crate) enum RowChange {
    /// It is as it was asked for.
    Done,
    /// It was another one than was known.
    IsAnother,
    /// It is another one than was known, perhaps since an attempt that was not answered has changed it.
    Unknown(StoreError),
}

/// What is stored and read again.
pub(crate) trait Stored: DeserializeOwned {
    /// Whether what it holds as bytes decodes, too.
    fn is_whole(&self) -> bool {
        true
    }
}

impl Stored for Position {}
impl Stored for String {}
impl Stored for TimerMessage {}

/// What went otherwise than asked.
#[derive(Clone, Default)]
pub(crate) struct Trouble {
    /// Commands that were repeated.
    pub(crate) retries: Counter,
    /// Values and events that did not decode, each time they were read.
    pub(crate) unreadable: Counter,
    /// Commands that were refused for good.
    pub(crate) refused: Counter,
}

/// The stores of a task hub.
pub(crate) struct Store {
    store: StreamStore,
    logs: Option<Logs>,
    trouble: Trouble,
}

/// A connection from a host to the stores.
#[derive(Clone)]
pub(crate) struct Connection {
    client: StoreClient,
    logs: Option<crate::logs::LogConnection>,
    host: Host,
    attempts: u32,
    pause: Duration,
    trouble: Trouble,
}

impl Store {
    pub(crate) fn new(store: StreamStore, logs: Option<Logs>) -> Store {
        Store { store, logs, trouble: Trouble::default() }
    }

    /// A connection that repeats until it is answered.
    pub(crate) fn connect(&self, host: &Host) -> Connection {
        self.connect_for(host, u32::MAX, PAUSE)
    }

    /// A connection that tries each command so often, with a pause in between.
    pub(crate) fn connect_for(&self, host: &Host, attempts: u32, pause: Duration) -> Connection {
        Connection {
            client: self.store.client(host),
            logs: self.logs.as_ref().map(|logs| logs.connect(host)),
            host: host.clone(),
            attempts,
            pause,
            trouble: self.trouble.clone(),
        }
    }

    /// What went otherwise than asked so far.
    pub(crate) fn trouble(&self) -> &Trouble {
        &self.trouble
    }
}

fn id(position: Position) -> EntryId {
    EntryId { millis: position.0, sequence: position.1 }
}

fn position(id: EntryId) -> Position {
    Position(id.millis, id.sequence)
}

impl Connection {
    /// The answer of a command that is repeated until there is one. If it was refused for good, there is
    /// nothing.
    pub(crate) fn sure<T: Default>(&self, answer: Result<T, StoreError>) -> T {
        answer.unwrap_or_else(|error| {
            debug_assert!(error.is_final(), "repeated until answered: {error}");
            self.trouble.refused.count();
            T::default()
        })
    }

    /// What bytes of this engine's own say; none if a disk has changed them so that they say nothing.
    pub(crate) fn decoded<T: Stored>(&self, bytes: &Bytes) -> Option<T> {
        let value = decode(bytes).ok().filter(T::is_whole);
        if value.is_none() {
            self.trouble.unreadable.count();
        }
        value
    }

    fn whole<T: Stored>(&self, bytes: &Bytes) -> Result<T, StoreError> {
        self.decoded(bytes).ok_or(StoreError::Unreadable)
    }

    async fn tried<T, E, F>(&self, command: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<Reply<T>, E>>,
        StoreError: From<E>,
    {
        self.tried_noting_doubt(command).await.map(|(answer, _)| answer)
    }

    /// The answer of a command that is repeated, and why an attempt before that may have taken effect, too.
    async fn tried_noting_doubt<T, E, F>(
        &self,
        command: impl Fn() -> F,
    ) -> Result<(T, Option<StoreError>), StoreError>
    where
        F: Future<Output = Result<Reply<T>, E>>,
        StoreError: From<E>,
    {
        let mut left = self.attempts;
        let mut in_doubt = None;
        loop {
            left -= 1;
            match command().await.map_err(StoreError::from) {
                Ok(reply) => return Ok((reply.value, in_doubt)),
                // What an earlier attempt may have done is not undone by the failure of a later one.
                Err(error) if left == 0 || error.is_final() => {
                    return Err(in_doubt.unwrap_or(error));
                }
                Err(error) => {
                    if error.is_ambiguous() {
                        in_doubt.get_or_insert(error);
                    }
                    self.trouble.retries.count();
                    self.host.kernel().sleep(self.pause).await;
                }
            }
        }
    }

    /// Makes a place for a workspace's events: where they begin.
    pub(crate) async fn begin(&self, workspace: &str) -> Result<Position, StoreError> {
        match &self.logs {
            Some(logs) => self.tried(|| logs.begin(workspace)).await,
            None => Ok(Position::default()),
        }
    }

    /// Appends to a workspace's events.
    pub(crate) async fn append(&self, stream: &str, body: Bytes) -> Result<(), StoreError> {
        if let Some(logs) = &self.logs {
            return self.tried(|| logs.append(stream, body.clone())).await;
        }
        self.add(stream, body).await
    }

    /// Appends to a stream that is none of events.
    pub(crate) async fn add(&self, stream: &str, body: Bytes) -> Result<(), StoreError> {
        let fields = || vec![(BODY.to_owned(), body.clone())];
        self.tried(|| self.client.xadd(stream, fields())).await.map(|_| ())
    }

    /// All events of a workspace after a position.
    pub(crate) async fn read(&self, stream: &str, after: Position) -> Vec<(Position, Bytes)> {
        self.sure(self.try_read(stream, after).await)
    }

    /// The same, on a connection that gives up.
    pub(crate) async fn try_read(
        &self,
        stream: &str,
        after: Position,
    ) -> Result<Vec<(Position, Bytes)>, StoreError> {
        match &self.logs {
            Some(logs) => self.tried(|| logs.read(stream, after)).await,
            None => self.entries(stream, after, Block::No).await,
        }
    }

    /// All events of a workspace after a position, once there are any.
    pub(crate) async fn wait(&self, stream: &str, after: Position) -> Vec<(Position, Bytes)> {
        match &self.logs {
            Some(logs) => self.sure(self.tried(|| logs.wait(stream, after)).await),
            None => self.sure(self.entries(stream, after, Block::Forever).await),
        }
    }

    /// Entries of a stream.
    async fn entries(
        &self,
        stream: &str,
        after: Position,
        block: Block,
    ) -> Result<Vec<(Position, Bytes)>, StoreError> {
        let read = self.tried(|| self.client.xread(stream, id(after), None, block)).await?;
        // An entry has one field; one that was damaged may have none, and its bytes do not decode.
        let entry = |mut entry: stream_store::Entry| {
            let body = entry.fields.pop().map(|(_, body)| body);
            (position(entry.id), body.unwrap_or_default())
        };
        Ok(read.into_iter().map(entry).collect())
    }

    /// Entries of a stream that is none of events, once there are any.
    pub(crate) async fn wait_for_entries(
        &self,
        stream: &str,
        after: Position,
    ) -> Vec<(Position, Bytes)> {
        self.sure(self.entries(stream, after, Block::Forever).await)
    }

    /// The first entry of a stream that is none of events that is looked for.
    pub(crate) async fn first<T: Stored>(
        &self,
        stream: &str,
        is_sought: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, StoreError> {
        for (_, body) in self.entries(stream, Position::default(), Block::No).await? {
            let entry = self.whole::<T>(&body)?;
            if is_sought(&entry) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The last event of a workspace; the start if there is none.
    pub(crate) async fn last_event(&self, stream: &str) -> Result<Position, StoreError> {
        match &self.logs {
            Some(logs) => self.tried(|| logs.last(stream)).await,
            None => self.tried(|| self.client.xinfo(stream)).await.map(position),
        }
    }

    /// Events of a workspace that were acknowledged; a position that stands for all up to it.
    pub(crate) async fn acknowledged(
        &self,
        workspace: &WorkspaceName,
    ) -> (Vec<Position>, Position) {
        if let Some(logs) = &self.logs {
            return (Vec::new(), self.sure(self.tried(|| logs.committed(workspace)).await));
        }
        let list = workspace.acknowledged();
        let values = self.sure(self.tried(|| self.client.lrange(&list, 0, -1)).await);
        let positions = values.iter().filter_map(|value| self.decoded(value));
        (positions.collect(), Position::default())
    }

    /// Acknowledges events: those named, or all up to the last of them.
    pub(crate) async fn acknowledge(&self, workspace: &WorkspaceName, positions: &[Position]) {
        let Some(last) = positions.iter().max() else { return };
        if let Some(logs) = &self.logs {
            return self.sure(self.tried(|| logs.commit(workspace, *last)).await);
        }
        let list = workspace.acknowledged();
        let values = || positions.iter().map(encode).collect::<Vec<Bytes>>();
        self.sure(self.tried(|| self.client.rpush(&list, values())).await);
    }

    /// Deletes events of a stream; a log keeps them.
    pub(crate) async fn delete_events(&self, stream: &str, positions: Vec<Position>) {
        if self.logs.is_none() {
            self.delete_entries(stream, positions).await;
        }
    }

    /// Deletes entries of a stream.
    pub(crate) async fn delete_entries(&self, stream: &str, positions: Vec<Position>) {
        if !positions.is_empty() {
            let ids = || positions.iter().copied().map(id).collect::<Vec<EntryId>>();
            self.sure(self.tried(|| self.client.xdel(stream, ids())).await);
        }
    }

    /// Sets fields of a hash, all at once.
    pub(crate) async fn set(
        &self,
        hash: &str,
        fields: Vec<(Arc<str>, Bytes)>,
    ) -> Result<(), StoreError> {
        match &fields[..] {
            [] => Ok(()),
            [(field, value)] => {
                self.tried(|| self.client.hset(hash, field, value.clone())).await.map(|_| ())
            }
            _ => {
                let all = || fields.iter().map(|(field, value)| (field.to_string(), value.clone()));
                self.tried(|| self.client.hmset(hash, all().collect())).await.map(|_| ())
            }
        }
    }

    /// Sets a field of a hash unless it is there; whether it was not.
    pub(crate) async fn set_new(
        &self,
        hash: &str,
        field: &str,
        value: Bytes,
    ) -> Result<bool, StoreError> {
        self.tried(|| self.client.hsetnx(hash, field, value.clone())).await
    }

    /// A field of a hash.
    pub(crate) async fn get<T: Stored>(
        &self,
        hash: &str,
        field: &str,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.get_with_bytes(hash, field).await?.map(|(value, _)| value))
    }

    /// The same, with the bytes that it is stored as.
    pub(crate) async fn get_with_bytes<T: Stored>(
        &self,
        hash: &str,
        field: &str,
    ) -> Result<Option<(T, Bytes)>, StoreError> {
        let value = self.tried(|| self.client.hget(hash, field)).await?;
        value.map(|bytes| Ok((self.whole(&bytes)?, bytes))).transpose()
    }

    /// Whether a hash has a field.
    pub(crate) async fn has(&self, hash: &str, field: &str) -> Result<bool, StoreError> {
        self.tried(|| self.client.hexists(hash, field)).await
    }

    /// All fields of a hash that decode.
    pub(crate) async fn all<T: Stored>(&self, hash: &str) -> Result<Vec<(String, T)>, StoreError> {
        let fields = self.tried(|| self.client.hgetall(hash)).await?.into_iter();
        Ok(fields.filter_map(|(field, value)| Some((field, self.decoded(&value)?))).collect())
    }

    /// Removes fields of a hash.
    pub(crate) async fn remove(&self, hash: &str, fields: Vec<Arc<str>>) -> Result<(), StoreError> {
        if fields.is_empty() {
            return Ok(());
        }
        let names = || fields.iter().map(|field| field.to_string()).collect::<Vec<String>>();
        self.tried(|| self.client.hdel(hash, names())).await.map(|_| ())
    }

    /// Makes the row of a stream's workspace what it is to be, if it is what it was known as: none, or that of a
    /// workspace whose keys, and events, are deleted in the same step.
    pub(crate) async fn change_row(
        &self,
        stream: &str,
        was: Option<(&WorkspaceName, Bytes)>,
        row: Option<Bytes>,
    ) -> Result<RowChange, StoreError> {
        let (is_changed, doubt) = match (was, row) {
            (None, None) => return Ok(RowChange::Done),
            (None, Some(row)) => {
                let set = || self.client.hsetnx(keys::WORKSPACES, stream, row.clone());
                self.tried_noting_doubt(set).await?
            }
            (Some((former, was)), row) => {
                let mut deleted = former.own_keys();
                deleted.extend([stream.to_owned(), keys::termination(stream)]);
                let change = || {
                    let values = (was.clone(), row.clone());
                    self.client.replace(keys::WORKSPACES, stream, values, deleted.clone())
                };
                self.tried_noting_doubt(change).await?
            }
        };
        Ok(match (is_changed, doubt) {
            (true, _) => RowChange::Done,
            (false, None) => RowChange::IsAnother,
            (false, Some(doubt)) => RowChange::Unknown(doubt),
        })
    }

    /// Deletes what is under the keys that are a workspace's own.
    pub(crate) async fn delete_keys(&self, workspace: &WorkspaceName) -> Result<(), StoreError> {
        self.tried(|| self.client.del(workspace.own_keys())).await.map(|_| ())
    }
}
