//! Leases: which worker owns which control queue, when workers come, go, crash and hang.
//!
//! Three managers of the published engine, chosen by the setting `partition_management`:
//!
//! | manager | a lease is | moves by |
//! |---|---|---|
//! | `table` | a row of the Partitions table with an owner, the next owner and an expiry | `NextOwner`, then drain, then release |
//! | `blob-safe` | two leased blobs: *intent*, which is balanced, and *ownership*, which follows it | stealing the intent; ownership goes over when its holder has drained |
//! | `blob-legacy` | one leased blob | stealing it: the former owner finds out at its next renewal |
//!
//! What they decide is in [`table`] and [`balance`], without a world; [`table_manager`] and
//! [`blob_manager`] carry it out. None of them is needed for safety: two workers that dequeue one
//! control queue for a while are fenced by the ETag of each history.
//!
//! **Not modelled.** Clocks of hosts agree, so a lease expires for all at the same instant.

pub(crate) mod balance;
mod blob_manager;
pub(crate) mod table;
mod table_manager;

use crate::settings::PartitionManagement;
use crate::worker::Worker;
use std::rc::Rc;

/// Starts the tasks that manage the leases of a worker.
pub(crate) fn start(worker: &Rc<Worker>) {
    match worker.shared.parameters.partition_management {
        PartitionManagement::Static => {}
        PartitionManagement::Table => worker.spawn_counted(table_manager::run(worker.clone())),
        PartitionManagement::BlobSafe => blob_manager::start_safe(worker),
        PartitionManagement::BlobLegacy => blob_manager::start_legacy(worker),
    }
}

/// The worker owns a control queue from now on.
fn own(worker: &Rc<Worker>, queue: usize) {
    if !worker.listens(queue) {
        worker.shared.counters.leases_claimed.count();
        worker.listen(queue);
    }
}

/// The worker finds that it does not own a control queue any more.
fn lose(worker: &Worker, queue: usize) {
    if worker.listens(queue) {
        worker.shared.counters.leases_lost.count();
        worker.stop_listening(queue);
    }
}

/// The worker begins to hand over a control queue.
fn drain(worker: &Worker, queue: usize) {
    if worker.listens(queue) {
        worker.shared.counters.leases_drained.count();
        worker.stop_listening(queue);
    }
}

/// Whether a control queue that is being drained can be handed over.
fn is_drained(worker: &Worker, queue: usize) -> bool {
    !worker.shared.parameters.drain_before_release || worker.listening.borrow().is_drained(queue)
}
