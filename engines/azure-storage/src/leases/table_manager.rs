//! The task of a worker that manages its leases in the Partitions table.
//!
//! One loop: read all rows, carry out what [`crate::leases::table`] plans, rest. The rest is 1 s while
//! the worker drains a queue or waits for one, else the acquire interval. Reads and writes have a
//! deadline of 2 s and are not repeated by the client library; a refused write begins the round again
//! at once, ten times at most in a row. A worker that cannot reach the table goes on with what it has:
//! it finds out that it lost a lease when it reads the row again.
//!
//! Source: Azure/durabletask main@5217032, `Partitioning/TablePartitionManager.cs`.

use super::table::{Change, Lease, Me, Row, Write, plan};
use super::{drain, is_drained, lose, own};
use crate::shared::Shared;
use crate::wire::{LEASE_ENVELOPE, Stored, inline, open};
use crate::worker::Worker;
use sim_world::service::{RequestOptions, StorageError};
use sim_world::table::{Table, TableAction, TableOperation};
use std::rc::Rc;
use std::time::Duration;

/// Deadline of a read or write of the table.
const DEADLINE: Duration = Duration::from_secs(2);
/// Rest while a queue is drained or waited for.
const SHORT_REST: Duration = Duration::from_secs(1);
/// Rounds that are begun again at once, in a row.
const CONFLICTS_MAX: u32 = 10;

/// Partition key of all rows.
const PARTITION: &str = "";

/// Manages the worker's leases until it has stopped and released them all.
pub(super) async fn run(worker: Rc<Worker>) {
    let options = RequestOptions::once(DEADLINE);
    let table = worker.shared.partitions.with_options(options);
    let counters = &worker.shared.counters;
    create_rows(&worker, &table).await;
    let mut conflicts = 0;
    loop {
        let stopping = worker.is_stopping();
        let mut rest = worker.shared.parameters.lease_acquire_interval;
        match round(&worker, &table, stopping).await {
            Ok(Outcome { released_all: true, .. }) if stopping => return,
            Ok(Outcome { waits, .. }) => {
                conflicts = 0;
                if waits || stopping {
                    rest = SHORT_REST;
                }
            }
            Err(StorageError::PreconditionFailed) if conflicts < CONFLICTS_MAX => {
                counters.lease_conflicts.count();
                conflicts += 1;
                continue;
            }
            Err(_) => {
                counters.lease_failures.count();
                conflicts = 0;
                if stopping {
                    rest = SHORT_REST;
                }
            }
        }
        let kernel = worker.shared.kernel();
        kernel.timeout(rest, worker.lease_wake_up.notified()).await;
    }
}

/// Makes the rows that are not there yet.
async fn create_rows(worker: &Worker, table: &Table) {
    for queue in 0..worker.shared.control_queues.len() {
        worker.shared.counters.lease_operations.count();
        let body = inline(&Lease::unowned(), LEASE_ENVELOPE);
        let name = Shared::queue_name(queue);
        let insert = table.insert(&worker.store.host, PARTITION, name, body);
        match worker.store.limited(insert).await {
            Ok(_) | Err(StorageError::Conflict { .. }) => {}
            // Another worker makes it, or this one when it is started again.
            Err(_) => worker.shared.counters.lease_failures.count(),
        }
    }
}

struct Outcome {
    waits: bool,
    released_all: bool,
}

async fn round(
    worker: &Rc<Worker>,
    table: &Table,
    stopping: bool,
) -> Result<Outcome, StorageError> {
    let rows = read(worker, table).await?;
    let parameters = &worker.shared.parameters;
    let me = Me {
        name: &worker.name,
        now: worker.store.host.clock_now(),
        interval: parameters.lease_interval,
        stopping,
        listens: &|queue| worker.listens(queue),
        drained: &|queue| is_drained(worker, queue),
    };
    let plan = plan(&me, &rows);
    plan.lost.iter().for_each(|queue| lose(worker, *queue));
    for row in &plan.writes {
        if row.change == Change::Drain {
            drain(worker, row.queue);
        }
        let written = write(worker, table, row).await;
        let etag_refused = matches!(written, Err(StorageError::PreconditionFailed));
        if etag_refused && row.change == Change::Steal {
            // Somebody else was faster; the next round looks again.
            worker.shared.counters.lease_conflicts.count();
            continue;
        }
        written?;
        note(worker, row);
    }
    Ok(Outcome { waits: plan.waits, released_all: plan.released_all })
}

async fn read(worker: &Worker, table: &Table) -> Result<Vec<Row>, StorageError> {
    worker.shared.counters.lease_operations.count();
    let query = table.query_partition(&worker.store.host, PARTITION);
    let entities = worker.store.limited(query).await?.value;
    let queues = worker.shared.control_queues.len();
    let rows = entities.into_iter().filter_map(|entity| {
        let queue = (0..queues).find(|queue| *entity.row_key == *Shared::queue_name(*queue))?;
        match open::<Lease>(&entity.body) {
            Ok(Stored::Inline(lease)) => Some(Row { queue, etag: entity.etag, lease }),
            _ => None,
        }
    });
    Ok(rows.collect())
}

async fn write(worker: &Worker, table: &Table, write: &Write) -> Result<(), StorageError> {
    worker.shared.counters.lease_operations.count();
    let etag = worker.shared.parameters.lease_etag.then_some(write.etag);
    let action = TableAction::Replace(inline(&write.lease, LEASE_ENVELOPE), etag);
    let operation = TableOperation::new(Shared::queue_name(write.queue), action);
    let execute = table.execute(&worker.store.host, PARTITION, operation);
    worker.store.limited(execute).await.map(|_| ())
}

/// A row was written: the worker acts accordingly.
fn note(worker: &Rc<Worker>, write: &Write) {
    let counters = &worker.shared.counters;
    match write.change {
        Change::Claim => own(worker, write.queue),
        Change::Renew => {
            counters.leases_renewed.count();
            if !write.lease.draining {
                own(worker, write.queue);
            }
        }
        Change::Release => counters.leases_released.count(),
        Change::Steal => counters.leases_stolen.count(),
        Change::Drain | Change::Withdraw => {}
    }
}
