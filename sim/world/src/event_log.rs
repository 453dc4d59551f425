//! A partitioned event log with throughput units, as an event-hubs namespace offers it.
//!
//! **Model.** A log has partitions; a partition is a list of events that only grows. A send appends
//! one batch to one partition, whole, at the end of the server latency. A subscription reads a
//! partition from a position on: the service pushes events over the link as they are appended, as
//! far ahead of the reader as the prefetch bound allows; what was read is given back to the service
//! as credit, half a prefetch at a time. Events arrive in the order of the partition.
//!
//! **Throughput units** are shared by all logs of a namespace. Into the service they are a bucket
//! that saves up unused throughput: a send that finds it empty is refused (server busy). The
//! client library does not repeat it unless told to, since back-off is the caller's affair. Out of
//! the service they hold events back.
//!
//! **Assumptions.** Events are kept for ever; a subscription is ended at once when its reader drops
//! it or its host dies. Two sends of one client to one partition that are in flight at once may be
//! appended in either order: who needs order sends one batch at a time.
//!
//! Meter: `eventlog.send` for each batch sent, `eventlog.receive` for each push; the counters
//! `event_in` (begun pieces of 64 KB, as they are charged for) and `event_out`.

mod push;

use crate::distribution::Latency;
use crate::host::Host;
use crate::kernel::{NodeId, Receiver};
use crate::profile::{EventLogProfile, ProfileError};
use crate::service::{
    Admitted, Backend, Bucket, Busy, Reply, RequestOptions, RetryPolicy, Server, Site,
    StorageError, check_limit, occupancy,
};
use bytes::Bytes;
use push::Pusher;
use sim_model::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// An event of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its position in the partition, counted from 0 without gaps.
    pub position: u64,
    /// Its content.
    pub body: Bytes,
    /// When it was appended.
    pub enqueued_at: Timestamp,
}

/// All event logs of a world: one namespace with its throughput units.
#[derive(Clone)]
pub(crate) struct EventHub {
    service: Rc<Server<LogBackend>>,
    pusher: Rc<Pusher>,
    limits: Rc<EventLogProfile>,
}

impl EventHub {
    pub fn new(
        site: &Site,
        node: NodeId,
        limits: &Rc<EventLogProfile>,
        client_cpu: Duration,
    ) -> Self {
        let pusher = Pusher::new(site, node, limits);
        let backend = LogBackend {
            pusher: pusher.clone(),
            limits: limits.clone(),
            ingress: Bucket::default(),
        };
        let operations: [(&'static str, &Latency); 1] = [("send", &limits.send)];
        let site = Site {
            options: RequestOptions { retry: RetryPolicy::NONE, ..site.options },
            ..site.clone()
        };
        let service = Server::new(&site, "eventlog", node, None, client_cpu, &operations, backend);
        EventHub { service, pusher, limits: limits.clone() }
    }

    /// Opens the log `name`, which is created with that many partitions.
    pub fn open(&self, name: &str, partitions: u32) -> EventLog {
        let log = self.pusher.open(name, partitions);
        EventLog {
            service: self.service.clone(),
            pusher: self.pusher.clone(),
            limits: self.limits.clone(),
            log,
            partitions,
            options: self.service.default_options(),
        }
    }

    pub fn throughput_units(&self) -> u32 {
        self.pusher.throughput_units()
    }

    /// Rents another number of throughput units.
    pub fn set_throughput_units(&self, profile: &str, units: u32) -> Result<(), ProfileError> {
        let most = self.limits.throughput_units_max;
        if !(1..=most).contains(&units) {
            return Err(ProfileError::Field {
                profile: profile.to_owned(),
                field: "services.eventlog.throughput_units".to_owned(),
                problem: format!("value is {units}, expected 1 to {most}"),
            });
        }
        self.pusher.set_throughput_units(units);
        Ok(())
    }
}

/// A handle to one event log; cheap to clone.
#[derive(Clone)]
pub struct EventLog {
    service: Rc<Server<LogBackend>>,
    pusher: Rc<Pusher>,
    limits: Rc<EventLogProfile>,
    log: usize,
    partitions: u32,
    options: RequestOptions,
}

impl EventLog {
    /// The same log with other client options.
    pub fn with_options(&self, options: RequestOptions) -> Self {
        EventLog { options, ..self.clone() }
    }

    /// Number of partitions.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Position of the next event that will be appended to a partition: an observation of the
    /// simulation, at no cost.
    ///
    /// # Panics
    /// If the partition does not exist.
    pub fn end(&self, partition: u32) -> u64 {
        assert!(partition < self.partitions, "partition {partition} of {}", self.partitions);
        self.pusher.end(self.log, partition)
    }

    /// Appends a batch of events to a partition, all or none.
    ///
    /// # Errors
    /// [`StorageError::InvalidRequest`] for an empty batch or a partition that does not exist; a
    /// batch beyond the size limit; [`StorageError::ServerBusy`] if the throughput units are used
    /// up; [`StorageError::TimedOut`].
    pub async fn send(
        &self,
        host: &Host,
        partition: u32,
        events: Vec<Bytes>,
    ) -> Result<Reply<()>, StorageError> {
        if partition >= self.partitions {
            return Err(StorageError::InvalidRequest { what: "no such partition" });
        }
        if events.is_empty() {
            return Err(StorageError::InvalidRequest { what: "a batch without events" });
        }
        let request = SendRequest { log: self.log, partition, events };
        check_limit("batch bytes", request.bytes(), self.limits.batch_bytes_max)?;
        self.service.call(host, &self.options, request).await
    }

    /// Reads a partition from position `from` on, on `host`. The service learns of it after the
    /// link's delay; a position beyond the end waits for the events to come.
    ///
    /// # Panics
    /// If the partition does not exist.
    pub fn subscribe(&self, host: &Host, partition: u32, from: u64) -> Subscription {
        assert!(partition < self.partitions, "partition {partition} of {}", self.partitions);
        let (key, events) = self.pusher.subscribe(host.node(), self.log, partition, from);
        let credit_step = u64::from(self.limits.prefetch_events / 2).max(1);
        Subscription { pusher: self.pusher.clone(), key, events, read: 0, credit_step }
    }
}

/// A reader of one partition. Dropping it ends the subscription.
pub struct Subscription {
    pusher: Rc<Pusher>,
    key: usize,
    events: Receiver<Event>,
    /// Events read and not yet given back as credit.
    read: u64,
    credit_step: u64,
}

impl Subscription {
    /// Waits for events, and takes up to `max` of those that have arrived (at least one).
    pub async fn recv(&mut self, max: usize) -> Vec<Event> {
        assert!(max > 0, "a reader takes at least one event");
        let first = self.events.recv().await;
        let mut events = vec![first];
        events.extend(self.events.drain(max - 1));
        self.read += events.len() as u64;
        if self.read >= self.credit_step {
            self.pusher.give_back(self.key, self.read);
            self.read = 0;
        }
        events
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.pusher.unsubscribe(self.key);
    }
}

/// A batch on its way to a partition.
pub(crate) struct SendRequest {
    log: usize,
    partition: u32,
    events: Vec<Bytes>,
}

impl SendRequest {
    fn bytes(&self) -> u64 {
        self.events.iter().map(|event| event.len() as u64).sum()
    }

    /// Events as they are charged for.
    fn units(&self, unit_bytes: u64) -> u64 {
        self.events.iter().map(|event| (event.len() as u64).div_ceil(unit_bytes).max(1)).sum()
    }
}

/// The sending side of the service.
pub(crate) struct LogBackend {
    pusher: Rc<Pusher>,
    limits: Rc<EventLogProfile>,
    ingress: Bucket,
}

impl Backend for LogBackend {
    type Request = SendRequest;
    type Response = ();

    fn operation(_request: &SendRequest) -> usize {
        0
    }

    fn request_bytes(request: &SendRequest) -> u64 {
        request.bytes()
    }

    fn response_bytes(_response: &()) -> u64 {
        0
    }

    fn digest(request: &SendRequest) -> u64 {
        let place = ((request.log as u64) << 32) ^ u64::from(request.partition);
        request.events.iter().fold(place, |digest, event| xxh3_64_with_seed(event, digest))
    }

    fn admit(&mut self, at: Timestamp, request: &SendRequest) -> Result<Admitted, Busy> {
        let limits = &self.limits;
        let rented = f64::from(self.pusher.throughput_units());
        let units = request.units(limits.event_unit_bytes) as f64;
        let share = occupancy(request.bytes() as f64, limits.ingress_bytes_per_s * rented)
            .max(occupancy(units, limits.ingress_events_per_s * rented));
        if !self.ingress.fits(at, share, limits.burst) {
            return Err(Busy);
        }
        self.ingress.take(at, share);
        Ok(Admitted { start: at, transfer: Duration::ZERO })
    }

    fn apply(&mut self, now: Timestamp, request: &SendRequest) -> Result<(), StorageError> {
        let units = request.units(self.limits.event_unit_bytes);
        self.pusher.append(now, request.log, request.partition, &request.events, units);
        Ok(())
    }
}
