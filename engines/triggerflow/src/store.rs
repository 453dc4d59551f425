//! The stores: the event streams and the hashes of triggers, over one stream/hash store.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `<workspace>` | stream | events |
//! | `<workspace>-commited` | list | positions of acknowledged events (so spelt) |
//! | `<workspace>-triggers` | hash | triggers with their contexts |
//! | `<workspace>-event_sources`, `<workspace>-global_context` | hash | what a worker reads when it starts |
//! | `<workspace>-termination` | stream | how the workflow ended, for whoever waits [extension] |
//! | `triggerflow-workspaces` | hash | the workspaces |
//!
//! Source of the keys: triggerflow/triggerflow@e1f9f6d, `triggerflow/service/storage/redis.py`,
//! `eventsources/redis.py`. With positional acknowledgement the events are in a log broker instead
//! ([`crate::logs`]).
//!
//! A command that fails is repeated after a pause: by workers and the control plane until it is answered,
//! by others a number of times. A repeated append may add an event twice.

use crate::event::Position;
use crate::logs::Logs;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use sim_model::codec::{decode, encode};
use sim_world::broker::BrokerError;
use sim_world::host::Host;
use sim_world::service::Reply;
use sim_world::stream_store::{self, Block, EntryId, StoreClient, StreamStore};
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
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
}

impl StoreError {
    /// Whether the command may have taken effect in spite of the error.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match self {
            StoreError::Store(error) => error.is_ambiguous(),
            StoreError::Log(error) => error.is_ambiguous(),
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

/// Names of keys.
pub(crate) mod keys {
    /// The hash of workspaces.
    pub(crate) const WORKSPACES: &str = "triggerflow-workspaces";

    pub(crate) fn acknowledged(workspace: &str) -> String {
        format!("{workspace}-commited")
    }

    pub(crate) fn triggers(workspace: &str) -> String {
        format!("{workspace}-triggers")
    }

    pub(crate) fn sources(workspace: &str) -> String {
        format!("{workspace}-event_sources")
    }

    pub(crate) fn globals(workspace: &str) -> String {
        format!("{workspace}-global_context")
    }

    pub(crate) fn termination(workspace: &str) -> String {
        format!("{workspace}-termination")
    }
}

/// The stores of a task hub.
pub(crate) struct Store {
    store: StreamStore,
    logs: Option<Logs>,
    repeated: Rc<Cell<u64>>,
}

/// A connection from a host to the stores.
#[derive(Clone)]
pub(crate) struct Connection {
    client: StoreClient,
    logs: Option<crate::logs::LogConnection>,
    host: Host,
    attempts: u32,
    pause: Duration,
    repeated: Rc<Cell<u64>>,
}

impl Store {
    pub(crate) fn new(store: StreamStore, logs: Option<Logs>) -> Store {
        Store { store, logs, repeated: Rc::default() }
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
            repeated: self.repeated.clone(),
        }
    }

    /// How many commands were repeated.
    pub(crate) fn repeated(&self) -> u64 {
        self.repeated.get()
    }
}

fn id(position: Position) -> EntryId {
    EntryId { millis: position.0, sequence: position.1 }
}

fn position(id: EntryId) -> Position {
    Position(id.millis, id.sequence)
}

/// The answer of a command that is repeated until there is one.
fn sure<T>(answer: Result<T, StoreError>) -> T {
    answer.unwrap_or_else(|error| unreachable!("invariant: repeated until answered: {error}"))
}

impl Connection {
    async fn tried<T, E, F>(&self, command: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<Reply<T>, E>>,
        StoreError: From<E>,
    {
        let mut left = self.attempts;
        let mut in_doubt = None;
        loop {
            left -= 1;
            match command().await.map_err(StoreError::from) {
                Ok(reply) => return Ok(reply.value),
                // What an earlier attempt may have done is not undone by the failure of a later one.
                Err(error) if left == 0 || error.is_final() => {
                    return Err(in_doubt.unwrap_or(error));
                }
                Err(error) => {
                    if error.is_ambiguous() {
                        in_doubt.get_or_insert(error);
                    }
                    self.repeated.set(self.repeated.get() + 1);
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
        sure(self.try_read(stream, after).await)
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
            Some(logs) => sure(self.tried(|| logs.wait(stream, after)).await),
            None => sure(self.entries(stream, after, Block::Forever).await),
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
        let entry = |mut entry: stream_store::Entry| {
            let (_, body) = entry.fields.pop().expect("invariant: an entry has one field");
            (position(entry.id), body)
        };
        Ok(read.into_iter().map(entry).collect())
    }

    /// Entries of a stream that is none of events, once there are any.
    pub(crate) async fn wait_for_entries(
        &self,
        stream: &str,
        after: Position,
    ) -> Vec<(Position, Bytes)> {
        sure(self.entries(stream, after, Block::Forever).await)
    }

    /// The first entry of a stream that is none of events.
    pub(crate) async fn first<T: DeserializeOwned>(
        &self,
        stream: &str,
    ) -> Result<Option<T>, StoreError> {
        let read = || self.client.xread(stream, EntryId::ZERO, Some(1), Block::No);
        let entries = self.tried(read).await?;
        let body = entries.into_iter().next().and_then(|mut entry| entry.fields.pop());
        Ok(body.map(|(_, body)| decoded(&body)))
    }

    /// The last event of a workspace; the start if there is none.
    pub(crate) async fn last_event(&self, stream: &str) -> Result<Position, StoreError> {
        match &self.logs {
            Some(logs) => self.tried(|| logs.last(stream)).await,
            None => self.tried(|| self.client.xinfo(stream)).await.map(position),
        }
    }

    /// Events of a workspace that were acknowledged; a position that stands for all up to it.
    pub(crate) async fn acknowledged(&self, workspace: &str) -> (Vec<Position>, Position) {
        if let Some(logs) = &self.logs {
            return (Vec::new(), sure(self.tried(|| logs.committed(workspace)).await));
        }
        let list = keys::acknowledged(workspace);
        let values = sure(self.tried(|| self.client.lrange(&list, 0, -1)).await);
        (values.iter().map(decoded).collect(), Position::default())
    }

    /// Acknowledges events: those named, or all up to the last of them.
    pub(crate) async fn acknowledge(&self, workspace: &str, positions: &[Position]) {
        let Some(last) = positions.iter().max() else { return };
        if let Some(logs) = &self.logs {
            return sure(self.tried(|| logs.commit(workspace, *last)).await);
        }
        let list = keys::acknowledged(workspace);
        let values = || positions.iter().map(encode).collect::<Vec<Bytes>>();
        sure(self.tried(|| self.client.rpush(&list, values())).await);
    }

    /// Deletes events of a workspace; a log keeps them.
    pub(crate) async fn delete_events(&self, workspace: &str, positions: Vec<Position>) {
        if self.logs.is_none() {
            self.delete_entries(workspace, positions).await;
        }
    }

    /// Deletes entries of a stream.
    pub(crate) async fn delete_entries(&self, stream: &str, positions: Vec<Position>) {
        if !positions.is_empty() {
            let ids = || positions.iter().copied().map(id).collect::<Vec<EntryId>>();
            sure(self.tried(|| self.client.xdel(stream, ids())).await);
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
    pub(crate) async fn set_new(&self, hash: &str, field: &str, value: Bytes) -> bool {
        sure(self.tried(|| self.client.hsetnx(hash, field, value.clone())).await)
    }

    /// A field of a hash.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        hash: &str,
        field: &str,
    ) -> Result<Option<T>, StoreError> {
        let value = self.tried(|| self.client.hget(hash, field)).await?;
        Ok(value.map(|value| decoded(&value)))
    }

    /// Whether a hash has a field.
    pub(crate) async fn has(&self, hash: &str, field: &str) -> Result<bool, StoreError> {
        self.tried(|| self.client.hexists(hash, field)).await
    }

    /// All fields of a hash.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        hash: &str,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let fields = self.tried(|| self.client.hgetall(hash)).await?;
        Ok(fields.into_iter().map(|(field, value)| (field, decoded(&value))).collect())
    }

    /// Removes fields of a hash.
    pub(crate) async fn remove(&self, hash: &str, fields: Vec<Arc<str>>) -> Result<(), StoreError> {
        if fields.is_empty() {
            return Ok(());
        }
        let names = || fields.iter().map(|field| field.to_string()).collect::<Vec<String>>();
        self.tried(|| self.client.hdel(hash, names())).await.map(|_| ())
    }

    /// Deletes everything of a workspace.
    pub(crate) async fn delete_workspace(&self, workspace: &str) -> Result<(), StoreError> {
        let all = || {
            vec![
                workspace.to_owned(),
                keys::acknowledged(workspace),
                keys::triggers(workspace),
                keys::sources(workspace),
                keys::globals(workspace),
                keys::termination(workspace),
            ]
        };
        self.tried(|| self.client.del(all())).await.map(|_| ())
    }
}

/// What bytes of this engine's own say.
fn decoded<T: DeserializeOwned>(bytes: &Bytes) -> T {
    decode(bytes).unwrap_or_else(|error| panic!("a value of a store: {error}"))
}
