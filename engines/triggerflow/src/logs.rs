//! A log broker in place of streams: events are acknowledged by position.
//!
//! A stream is a topic with one partition, and the worker of a workspace is a group of its name; the group's
//! offset is the only acknowledgement there is. Source: triggerflow/triggerflow@e1f9f6d, `eventsources/kafka.py`
//! (one partition, automatic commits off, start at the earliest event).
//!
//! Topics stay: a workspace that takes the place of one that has ended begins behind its events.
//!
//! A position stands for "everything up to and with this record": the offset after it.

use crate::event::Position;
use crate::keys::WorkspaceName;
use bytes::Bytes;
use sim_world::broker::{Acks, Broker, BrokerClient, BrokerError, FetchOptions, Record};
use sim_world::host::Host;
use sim_world::service::Reply;
use std::time::Duration;

/// How much one fetch for reading everything returns at most.
/// Source: Kafka, `fetch.max.bytes` of consumers, 50 MiB \[general\].
const READ_BYTES: u64 = 50 << 20;

/// The only partition of a topic.
const PARTITION: u32 = 0;

type Answered<T> = Result<Reply<T>, BrokerError>;
/// Events with their positions.
type Events = Vec<(Position, Bytes)>;

/// The logs of a task hub.
pub(crate) struct Logs(Broker);

/// A connection to the logs.
#[derive(Clone)]
pub(crate) struct LogConnection(BrokerClient);

/// The topic of a stream.
fn topic(stream: &str) -> String {
    stream.replace('%', "%25").replace('/', "%2F").replace('\n', "%0A")
}

fn at(offset: u64) -> Position {
    Position(0, offset)
}

impl Logs {
    pub(crate) fn new(broker: Broker) -> Logs {
        Logs(broker)
    }

    pub(crate) fn connect(&self, host: &Host) -> LogConnection {
        LogConnection(self.0.client(host))
    }
}

impl LogConnection {
    /// Makes the log of a stream, or begins behind the events of a former workspace.
    pub(crate) async fn begin(&self, stream: &str) -> Answered<Position> {
        let created = self.0.create_topic(&topic(stream), 1).await?;
        if created.value {
            return Ok(created.map(|_| at(0)));
        }
        self.last(stream).await
    }

    pub(crate) async fn append(&self, stream: &str, body: Bytes) -> Answered<()> {
        let record = [Record::of(body)];
        let topic = topic(stream);
        let produced = self.0.produce(&topic, PARTITION, &record, Acks::Leader).await;
        if produced != Err(BrokerError::UnknownPartition) {
            return produced.map(|reply| reply.map(drop));
        }
        // Nobody has made it yet.
        self.0.create_topic(&topic, 1).await?;
        let produced = self.0.produce(&topic, PARTITION, &record, Acks::Leader).await?;
        Ok(produced.map(drop))
    }

    async fn fetch(
        &self,
        stream: &str,
        after: Position,
        wait: Duration,
    ) -> Answered<(Events, u64)> {
        let options = FetchOptions { bytes_max: READ_BYTES, wait_max: wait };
        let fetched = self.0.fetch(&topic(stream), PARTITION, after.1, options).await?;
        Ok(fetched.map(|fetched| {
            let event = |(offset, record): (u64, Record)| (at(offset + 1), record.value);
            (fetched.records.into_iter().map(event).collect(), fetched.end)
        }))
    }

    /// All events after a position.
    pub(crate) async fn read(&self, stream: &str, after: Position) -> Answered<Events> {
        let mut all = Vec::new();
        let mut after = after;
        loop {
            let reply = self.fetch(stream, after, Duration::ZERO).await?;
            let (events, end) = reply.value;
            after = events.last().map_or(after, |(position, _)| *position);
            let is_last = events.is_empty() || after.1 >= end;
            all.extend(events);
            if is_last {
                return Ok(Reply { value: all, timing: reply.timing });
            }
        }
    }

    /// Events after a position, once there are any: a fetch returns after a while without.
    pub(crate) async fn wait(&self, stream: &str, after: Position) -> Answered<Events> {
        loop {
            let wait = FetchOptions::default().wait_max;
            let reply = self.fetch(stream, after, wait).await?;
            if !reply.value.0.is_empty() {
                return Ok(reply.map(|(events, _)| events));
            }
        }
    }

    /// The last event.
    pub(crate) async fn last(&self, stream: &str) -> Answered<Position> {
        let offsets = self.0.offsets(&topic(stream), PARTITION).await?;
        Ok(offsets.map(|(_, end)| at(end)))
    }

    /// Up to where the worker has committed.
    pub(crate) async fn committed(&self, workspace: &WorkspaceName) -> Answered<Position> {
        let (topic, group) = (topic(workspace.stream()), topic(&workspace.to_string()));
        let committed = self.0.committed(&group, &topic, PARTITION).await?;
        Ok(committed.map(|offset| at(offset.unwrap_or(0))))
    }

    /// Commits everything up to a position.
    pub(crate) async fn commit(&self, workspace: &WorkspaceName, upto: Position) -> Answered<()> {
        let (topic, group) = (topic(workspace.stream()), topic(&workspace.to_string()));
        self.0.commit(&group, &topic, PARTITION, upto.1).await
    }
}
