//! The application's own blob storage: what user code reads and writes besides the task hub.
//!
//! **What it models.** Another storage account than the engine's, with the same latencies, limits
//! and bandwidth for each blob (the profile's `services.blob` and `services.account`). Only sizes
//! matter: every read and write is of a blob of its own, so that blobs do not queue for each other,
//! and what they hold is the workload's business. Operations are metered as `application-blob` and
//! priced like other blob operations; they are not counted among the engine's.
//!
//! **Assumptions.** User code tries again, without end, when the client library gives up: what it
//! fetches exists. Units: bytes.

use crate::cost;
use crate::distribution::Latency;
use crate::host::Host;
use crate::kernel::NodeId;
use crate::profile::{BlobProfile, Profile};
use crate::service::{
    Account, Admitted, Backend, Busy, RequestOptions, Server, Site, StorageError, occupancy,
};
use sim_model::ledger::{Category, Timing};
use sim_model::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// One transfer.
#[derive(Clone, Copy)]
enum Transfer {
    Read(u64),
    Write(u64),
}

impl Transfer {
    const fn bytes(self) -> u64 {
        match self {
            Transfer::Read(bytes) | Transfer::Write(bytes) => bytes,
        }
    }
}

struct ApplicationBackend {
    limits: Rc<BlobProfile>,
}

impl Backend for ApplicationBackend {
    type Request = Transfer;
    /// Bytes that are sent back.
    type Response = u64;

    fn operation(request: &Transfer) -> usize {
        match request {
            Transfer::Read(_) => 0,
            Transfer::Write(_) => 1,
        }
    }

    fn request_bytes(request: &Transfer) -> u64 {
        match request {
            Transfer::Read(_) => 0,
            Transfer::Write(bytes) => *bytes,
        }
    }

    fn response_bytes(response: &u64) -> u64 {
        *response
    }

    fn digest(request: &Transfer) -> u64 {
        request.bytes() << 1 | Self::operation(request) as u64
    }

    fn admit(&mut self, at: Timestamp, request: &Transfer) -> Result<Admitted, Busy> {
        let bandwidth = self.limits.bandwidth_bytes_per_s;
        let transfer = occupancy(request.bytes() as f64, bandwidth);
        Ok(Admitted { start: at, transfer })
    }

    fn apply(&mut self, _now: Timestamp, request: &Transfer) -> Result<u64, StorageError> {
        Ok(match request {
            Transfer::Read(bytes) => *bytes,
            Transfer::Write(_) => 0,
        })
    }
}

/// The application's own blob storage; cheap to clone.
#[derive(Clone)]
pub struct ApplicationStorage {
    server: Rc<Server<ApplicationBackend>>,
    options: RequestOptions,
}

impl ApplicationStorage {
    pub(crate) fn new(site: &Site, node: NodeId, profile: &Profile) -> Self {
        let services = &profile.services;
        let account = Rc::new(Account::new(services.account.rate, services.account.busy_threshold));
        let limits = Rc::new(services.blob.clone());
        let latency = &limits.latency;
        let operations: [(&'static str, &Latency); 2] =
            [("get", &latency.get), ("put", &latency.put)];
        let server = Server::new(
            site,
            cost::APPLICATION_BLOB,
            node,
            Some(account),
            profile.cpu.storage_request,
            &operations,
            ApplicationBackend { limits: limits.clone() },
        );
        ApplicationStorage { server, options: site.options }
    }

    /// Reads a blob of `bytes` bytes; how the time was spent.
    pub async fn read(&self, host: &Host, bytes: u64) -> Timing {
        self.transfer(host, Transfer::Read(bytes)).await
    }

    /// Writes a blob of `bytes` bytes; how the time was spent.
    pub async fn write(&self, host: &Host, bytes: u64) -> Timing {
        self.transfer(host, Transfer::Write(bytes)).await
    }

    async fn transfer(&self, host: &Host, transfer: Transfer) -> Timing {
        let kernel = &self.server.site().kernel;
        let begun = kernel.now();
        loop {
            if let Ok(reply) = self.server.call(host, &self.options, transfer).await {
                let mut timing = reply.timing;
                let whole: Duration = kernel.now().since(begun);
                timing.add(Category::Retries, whole.saturating_sub(timing.total()));
                return timing;
            }
        }
    }
}
