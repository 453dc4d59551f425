//! A broker of partitioned logs on a machine of its own, as one Kafka broker is.
//!
//! **What it models.** One server process on a machine of class `broker`, with a number of threads that
//! share its cores. Topics have partitions; a partition is a log of batches in segments on the
//! machine's disk. Batches are appended to a partition one after another. A fetch reads them
//! from the disk, which mostly means from its page cache, and waits for records if there are none.
//!
//! **Requests**, each one round trip, counted under its name: `create_topic`, `produce`, `fetch`,
//! `offsets`, `commit`, `committed`. A [`Consumer`] is the client's state between them.
//!
//! **Durability.** A record that was acknowledged is in the page cache. It is synced before that if
//! [`BrokerSettings::flush_messages`] says so; else the operating system writes it back when it likes,
//! and a power loss can take acknowledged records (a single broker has no replicas to rely on). A crash
//! of the processes takes none. A full segment is synced in the background. Committed offsets are records
//! of a topic of their own and fare as all records: offsets and what they point at can survive
//! independently of each other.
//!
//! **Start.** The broker reads all its segments, checks the checksum of each batch, and cuts a partition
//! off after the last sound batch that follows the one before without a gap. Then it listens.
//!
//! **Commits are positional**: a group has one offset for each partition, and everything before it
//! counts as consumed.
//!
//! A disk that fails or is full ends the broker (its only log directory is offline); restarting the
//! machine starts it again.
//!
//! **Assumptions.** One broker and so no replication: acknowledgement by the leader and by all are the
//! same. No group membership and no rebalancing: whoever names a group commits for it. No retention, no
//! compaction, no idempotent or transactional producers: a repeated produce request appends again.
//! The start checks all segments, where the real broker begins at a checkpoint.
//!
//! **Core time** is `request_cpu` for each request, `record_cpu` for each record produced and
//! `kibibyte_cpu` for each KiB moved (profile `[broker]`). Waiting of a fetch counts as polling.

mod batch;
mod client;
mod command;
mod consumer;
mod offsets;
mod partition;
mod recovery;
mod server;

pub use batch::Record;
pub use client::{Acks, BrokerClient, BrokerError, FetchOptions, Fetched};
pub use consumer::{Consumer, StartAt};

use crate::host::Host;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::profile::BrokerProfile;
use crate::selfhosted::{Endpoint, EndpointOptions};
use crate::world::{World, WorldError};
use command::Request;
use server::Server;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// The class of machines it runs on, and the name by which the meter knows it.
const CLASS: &str = "broker";

/// Settings of the broker's logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerSettings {
    /// A partition is synced when so many records were appended since the last time (`flush.messages`
    /// of Kafka, 1 for every append); without it, never by the broker.
    pub flush_messages: Option<u64>,
    /// A segment is not made larger than this (`segment.bytes` of Kafka).
    pub segment_bytes: u64,
}

impl Default for BrokerSettings {
    /// Kafka's defaults: no flushes, segments of 1 GiB.
    fn default() -> Self {
        BrokerSettings { flush_messages: None, segment_bytes: 1 << 30 }
    }
}

/// What the last start of a broker found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records in all partitions, committed offsets included.
    pub records: u64,
    /// Bytes that were cut off.
    pub cut_bytes: u64,
}

struct Inner {
    kernel: Kernel,
    machine: Machine,
    endpoint: Endpoint<Request>,
    costs: Arc<BrokerProfile>,
    settings: BrokerSettings,
    recovery: Cell<Option<Recovery>>,
}

/// A broker with its machine; clones are the same broker.
#[derive(Clone)]
pub struct Broker(Rc<Inner>);

impl Broker {
    /// Rents a machine `name` of class `broker` and starts a broker without topics on it.
    ///
    /// # Errors
    /// A profile without the sections `[broker]` or `[selfhosted]`, without machines of the class, or
    /// with machines that have no disk.
    ///
    /// # Panics
    /// If the name is taken.
    pub fn start(
        world: &World,
        name: &str,
        settings: BrokerSettings,
    ) -> Result<Broker, WorldError> {
        let costs = world.profile().broker.clone();
        let costs = costs.ok_or_else(|| world.lacks("broker", "a log broker"))?;
        let machine = world.rent(name, CLASS, None)?;
        if machine.disk().is_none() {
            return Err(world.lacks_disk(CLASS, "a log broker"));
        }
        let client_cpu = costs.client_cpu;
        let timeout = Some(costs.request_timeout);
        let options = EndpointOptions { service: CLASS, client_cpu, timeout };
        let endpoint = world.endpoint(&machine, options)?;
        let kernel = world.kernel().clone();
        let recovery = Cell::new(None);
        let broker =
            Broker(Rc::new(Inner { kernel, machine, endpoint, costs, settings, recovery }));
        let weak = Rc::downgrade(&broker.0);
        broker.0.machine.run(move || {
            if let Some(inner) = weak.upgrade() {
                let node = inner.machine.node();
                inner.kernel.clone().spawn(node, start(inner));
            }
        });
        Ok(broker)
    }

    /// The machine it runs on: to crash it, to restart it, for its disk and its price.
    pub fn machine(&self) -> &Machine {
        &self.0.machine
    }

    /// What the broker that runs found when it started; none while it starts.
    pub fn recovery(&self) -> Option<Recovery> {
        self.0.recovery.get()
    }

    /// A client on a host, with a connection of its own that is opened by its first request.
    pub fn client(&self, host: &Host) -> BrokerClient {
        BrokerClient::new(self.0.endpoint.client(host), self.0.costs.request_timeout)
    }
}

/// One life of the broker's process.
async fn start(inner: Rc<Inner>) {
    let Inner { kernel, machine, endpoint, costs, settings, recovery } = &*inner;
    recovery.set(None);
    let disk = machine.disk().expect("invariant: checked when it was rented");
    // A broker that cannot read its logs does not start.
    let Ok((recovered, found)) = recovery::recover(kernel, machine, disk, costs).await else {
        return;
    };
    recovery.set(Some(found));
    let listener = endpoint.listen();
    Server::new(kernel, machine, disk, costs, *settings, listener, recovered).start();
}
