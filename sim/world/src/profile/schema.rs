//! What a profile holds, after units have been converted.

use super::broker::BrokerProfile;
use super::database::DatabaseProfile;
use super::disk::DiskProfile;
use super::log_store::LogStoreProfile;
use super::scaling::ScalingProfile;
use super::selfhosted::SelfHostedProfile;
use super::store::StoreProfile;
use super::transport::TransportProfile;
use super::{Entry, ReplicationProfile};
use crate::distribution::Latency;
use crate::network::LinkProfile;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A simulated environment in numbers.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name: that of the embedded profile, or the file's without the extension.
    pub name: String,
    /// The plans (machine sizes) by name.
    pub plans: BTreeMap<String, Plan>,
    /// The classes of machines that can be rented besides, by name.
    pub machines: BTreeMap<String, MachineProfile>,
    /// The classes of disks, by name.
    pub disks: BTreeMap<String, Arc<DiskProfile>>,
    /// Connections to self-hosted servers, if there are any.
    pub selfhosted: Option<SelfHostedProfile>,
    /// Costs of a stream store, if there is one.
    pub store: Option<Arc<StoreProfile>>,
    /// Costs of a log broker, if there is one.
    pub broker: Option<Arc<BrokerProfile>>,
    /// The pace at which hosts are added, if that is described.
    pub scaling: Option<ScalingProfile>,
    /// Costs of logs on disks, if any are described.
    pub log_store: Option<Arc<LogStoreProfile>>,
    /// Relational databases on rented machines.
    pub database: Option<DatabaseProfile>,
    /// What replicas cost, if the profile says so.
    pub replication: Option<ReplicationProfile>,
    /// What all worker hosts have in common.
    pub host: HostProfile,
    /// CPU costs of what engines and clients do.
    pub cpu: CpuProfile,
    /// Links between machines.
    pub links: Links,
    /// What connections do about losses.
    pub transport: TransportProfile,
    /// Cloud services.
    pub services: Services,
    /// How client libraries repeat failed requests.
    pub retry: RetryProfile,
    /// Prices.
    pub prices: Prices,
    /// Every number with its source, in the order of the schema.
    pub entries: Vec<Entry>,
}

/// A machine size that can be rented.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Cores of each host.
    pub cores: u32,
    /// Memory of each host, in bytes.
    pub memory_bytes: u64,
    /// Price of a host, in US dollars per hour.
    pub price_per_hour: f64,
}

/// A class of machines for self-hosted services and replicas.
#[derive(Debug, Clone)]
pub struct MachineProfile {
    /// Cores, if whoever rents it does not say.
    pub cores: u32,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Price of one core with its share of the rest, in US dollars per hour.
    pub price_per_core_hour: f64,
    /// The way to hosts, clients and machines of other classes, each way; as between two hosts if
    /// absent.
    pub link: Option<LinkProfile>,
    /// The way to machines of the same class, each way; as between two hosts if absent.
    pub peer_link: Option<LinkProfile>,
    /// Its disk, if it has one.
    pub disk: Option<Arc<DiskProfile>>,
}

/// What all worker hosts have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct HostProfile {
    /// Cores that other processes of a host use up, at the speed of one core each.
    pub background_cores: f64,
    /// Time slice of a host's core scheduler.
    pub quantum: Duration,
    /// Cores of the load generator's machine, which has no background load.
    pub client_cores: u32,
    /// Memory of the load generator's machine, in bytes.
    pub client_memory_bytes: u64,
    /// The disk of each host, if it has one; its price is part of the plan's.
    pub disk: Option<Arc<DiskProfile>>,
}

/// Core time at full core speed.
#[derive(Debug, Clone, PartialEq)]
pub struct CpuProfile {
    /// One orchestration or entity step.
    pub step: Duration,
    /// One activity, without the application's own work.
    pub activity: Duration,
    /// One operation of an entity, without the application's own work; besides the step it is in.
    pub operation: Duration,
    /// One attempt of a storage request, in the client library of the calling host.
    pub storage_request: Duration,
    /// Handling one event of a log or a message from one.
    pub event: Duration,
    /// Sending one batch of events, in the client library of the calling host.
    pub event_send: Duration,
    /// Replaying one event of a history.
    pub replayed_event: Duration,
    /// Serving one HTTP request of a client.
    pub http_request: Duration,
    /// What a work item costs after its result was handed on: telemetry, garbage collection.
    pub after_work_item: Duration,
}

/// The delay and bandwidth of one kind of link.
#[derive(Debug, Clone)]
pub struct LinkEntry {
    /// One-way delay.
    pub latency: Latency,
    /// Bandwidth of each ordered pair of machines, in bytes per second; unlimited if absent.
    pub bandwidth_bytes_per_s: Option<u64>,
}

/// The links between machines, each way.
#[derive(Debug, Clone)]
pub struct Links {
    /// Between a host and a cloud service.
    pub host_to_service: LinkEntry,
    /// Between two hosts.
    pub host_to_host: LinkEntry,
    /// Between the load generator and a host.
    pub client_to_host: LinkEntry,
}

/// The cloud services.
#[derive(Debug, Clone)]
pub struct Services {
    /// Bytes that HTTP adds to the body of a request.
    pub request_envelope_bytes: u64,
    /// Bytes that HTTP adds to the body of a response.
    pub response_envelope_bytes: u64,
    /// The storage account that queues, tables and blobs share.
    pub account: AccountProfile,
    /// Queues.
    pub queue: QueueProfile,
    /// Tables.
    pub table: TableProfile,
    /// Blobs.
    pub blob: BlobProfile,
    /// Event logs.
    pub eventlog: EventLogProfile,
}

/// Limits of a storage account.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountProfile {
    /// Requests per second over all its services.
    pub rate: f64,
    /// A request that would wait longer than this for its turn is refused (503).
    pub busy_threshold: Duration,
}

/// Limits and latencies of queues.
#[derive(Debug, Clone)]
pub struct QueueProfile {
    /// Messages per second of one queue.
    pub rate: f64,
    /// A request that would wait longer than this for its turn is refused (503).
    pub busy_threshold: Duration,
    /// Longest message, in bytes.
    pub message_bytes_max: u64,
    /// Most messages of one get.
    pub get_max: u32,
    /// Longest visibility timeout.
    pub visibility_max: Duration,
    /// Server latencies.
    pub latency: QueueLatencies,
}

/// Server latencies of queue operations.
#[derive(Debug, Clone)]
pub struct QueueLatencies {
    /// Put a message.
    pub put: Latency,
    /// Get messages.
    pub get: Latency,
    /// Delete a message.
    pub delete: Latency,
    /// Change a message's visibility.
    pub update: Latency,
    /// Look at messages.
    pub peek: Latency,
    /// Read the length.
    pub length: Latency,
}

/// Limits and latencies of tables.
#[derive(Debug, Clone)]
pub struct TableProfile {
    /// Entities per second of one table partition.
    pub rate: f64,
    /// A request that would wait longer than this for its turn is refused (503).
    pub busy_threshold: Duration,
    /// Most entities of one transaction.
    pub transaction_entities_max: u32,
    /// Most bytes of one transaction.
    pub transaction_bytes_max: u64,
    /// Largest entity, in bytes.
    pub entity_bytes_max: u64,
    /// Entities in one page of a query.
    pub page_entities: u32,
    /// Time that each entity of a page adds to the latency of a query.
    pub query_entity_time: Duration,
    /// Server latencies.
    pub latency: TableLatencies,
}

/// Server latencies of table operations.
#[derive(Debug, Clone)]
pub struct TableLatencies {
    /// Read one entity.
    pub get: Latency,
    /// Read one page of a partition.
    pub query: Latency,
    /// Insert an entity.
    pub insert: Latency,
    /// Insert or replace an entity.
    pub replace: Latency,
    /// Insert or merge an entity.
    pub merge: Latency,
    /// Delete an entity.
    pub delete: Latency,
    /// An entity group transaction.
    pub transaction: Latency,
}

/// Limits and latencies of blobs.
#[derive(Debug, Clone)]
pub struct BlobProfile {
    /// Requests per second of one blob.
    pub rate: f64,
    /// Bytes per second of one blob: transfers take this long, and hold up those behind them.
    pub bandwidth_bytes_per_s: f64,
    /// A request that would wait longer than this for its turn is refused (503).
    pub busy_threshold: Duration,
    /// Longest write to a page blob, in bytes.
    pub page_write_bytes_max: u64,
    /// Alignment of page blobs, in bytes.
    pub page_bytes: u64,
    /// Longest block that can be appended, in bytes.
    pub append_bytes_max: u64,
    /// Most blocks of an append blob.
    pub append_blocks_max: u32,
    /// Shortest finite lease.
    pub lease_min: Duration,
    /// Longest finite lease.
    pub lease_max: Duration,
    /// Server latencies, without the time of the transfer.
    pub latency: BlobLatencies,
}

/// Server latencies of blob operations.
#[derive(Debug, Clone)]
pub struct BlobLatencies {
    /// Upload a block blob.
    pub put: Latency,
    /// Read a blob or a part of it.
    pub get: Latency,
    /// Delete a blob.
    pub delete: Latency,
    /// Create a page blob.
    pub page_create: Latency,
    /// Write pages.
    pub page_write: Latency,
    /// Append a block.
    pub append: Latency,
    /// Acquire, renew, release or break a lease.
    pub lease: Latency,
    /// List blobs.
    pub list: Latency,
}

/// Limits and latencies of event logs.
#[derive(Debug, Clone)]
pub struct EventLogProfile {
    /// Throughput units rented.
    pub throughput_units: u32,
    /// Most throughput units that can be rented.
    pub throughput_units_max: u32,
    /// Bytes per second into the service for each unit.
    pub ingress_bytes_per_s: f64,
    /// Events per second into the service for each unit.
    pub ingress_events_per_s: f64,
    /// Bytes per second out of the service for each unit.
    pub egress_bytes_per_s: f64,
    /// Events per second out of the service for each unit.
    pub egress_events_per_s: f64,
    /// How much unused throughput can be saved up, as time at the full rate.
    pub burst: Duration,
    /// Largest batch, in bytes.
    pub batch_bytes_max: u64,
    /// An event is counted once for each begun piece of this many bytes.
    pub event_unit_bytes: u64,
    /// Events that are sent to a receiver ahead of its reading them.
    pub prefetch_events: u32,
    /// Server latency of a send.
    pub send: Latency,
}

/// How client libraries repeat failed requests.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryProfile {
    /// An attempt without an answer for this long has failed.
    pub timeout: Duration,
    /// Attempts after the first one.
    pub retries_max: u32,
    /// Step of the exponential back-off.
    pub delta_backoff: Duration,
    /// Shortest back-off.
    pub min_backoff: Duration,
    /// Longest back-off.
    pub max_backoff: Duration,
    /// Least factor of the step's random jitter.
    pub jitter_low: f64,
    /// Greatest factor of the step's random jitter.
    pub jitter_high: f64,
}

/// Prices in US dollars.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// One queue operation.
    pub queue_operation: f64,
    /// One table operation.
    pub table_operation: f64,
    /// One writing or listing operation on block and append blobs.
    pub block_blob_write: f64,
    /// One reading or other operation on blobs.
    pub block_blob_read: f64,
    /// One operation on a page blob.
    pub page_blob_operation: f64,
    /// One event into an event log (each begun 64 KB).
    pub eventlog_event: f64,
    /// One throughput unit for one hour.
    pub throughput_unit_per_hour: f64,
}
