//! A storage account: queues, tables and blobs behind one limit on requests.

use crate::blob::{BlobBackend, BlobContainer};
use crate::fault::Pattern;
use crate::kernel::NodeId;
use crate::profile::{BlobProfile, Profile, QueueProfile, TableProfile};
use crate::queue::{Queue, QueueBackend};
use crate::service::{Account, Server, Site};
use crate::table::{Table, TableBackend};
use sim_model::time::Timestamp;
use std::rc::Rc;

/// The nodes on which the services of an account live.
pub(crate) struct StorageNodes {
    pub queue: NodeId,
    pub table: NodeId,
    pub blob: NodeId,
}

/// A storage account; cheap to clone.
#[derive(Clone)]
pub struct Storage {
    queues: Rc<Server<QueueBackend>>,
    tables: Rc<Server<TableBackend>>,
    blobs: Rc<Server<BlobBackend>>,
    queue_limits: Rc<QueueProfile>,
    table_limits: Rc<TableProfile>,
    blob_limits: Rc<BlobProfile>,
}

impl Storage {
    pub(crate) fn new(site: &Site, nodes: &StorageNodes, profile: &Profile) -> Self {
        let services = &profile.services;
        let account = &services.account;
        let account = Some(Rc::new(Account::new(account.rate, account.busy_threshold)));
        let cpu = profile.cpu.storage_request;
        let queue_limits = Rc::new(services.queue.clone());
        let table_limits = Rc::new(services.table.clone());
        let blob_limits = Rc::new(services.blob.clone());
        Storage {
            queues: Server::new(
                site,
                "queue",
                nodes.queue,
                account.clone(),
                cpu,
                &QueueBackend::operations(&queue_limits),
                QueueBackend::new(&queue_limits, &site.meter),
            ),
            tables: Server::new(
                site,
                "table",
                nodes.table,
                account.clone(),
                cpu,
                &TableBackend::operations(&table_limits),
                TableBackend::new(&table_limits),
            ),
            blobs: Server::new(
                site,
                "blob",
                nodes.blob,
                account,
                cpu,
                &BlobBackend::operations(&blob_limits),
                BlobBackend::new(&blob_limits),
            ),
            queue_limits,
            table_limits,
            blob_limits,
        }
    }

    /// Ends the leases on all blobs whose name `container/blob` matches; how many there were.
    pub(crate) fn break_leases(&self, now: Timestamp, blobs: &Pattern) -> u64 {
        self.blobs.backend().break_leases(now, blobs)
    }

    /// The names of all blobs that exist, as `container/blob`, sorted.
    pub(crate) fn blob_names(&self) -> Vec<String> {
        self.blobs.backend().blob_names()
    }

    /// The queue `name`; it exists when it is named.
    pub fn queue(&self, name: &str) -> Queue {
        Queue::new(&self.queues, &self.queue_limits, name)
    }

    /// The table `name`; it exists when it is named.
    pub fn table(&self, name: &str) -> Table {
        Table::new(&self.tables, &self.table_limits, name)
    }

    /// The blob container `name`; it exists when it is named.
    pub fn container(&self, name: &str) -> BlobContainer {
        BlobContainer::new(&self.blobs, &self.blob_limits, name)
    }
}
