//! Runs the load monitor: reports in, commands out.
//!
//! The monitor has an event log of its own with one partition, and runs on the host that owns that
//! (see `ownership.rs`). Its commands travel through the event logs of the partitions. Nothing of it is
//! stored: after a restart it learns the loads from the next reports.

use crate::event::{InputPosition, MonitorEvent, PartitionEvent};
use crate::host::HostProcess;
use crate::monitor::LoadMonitor;
use crate::transport::{Letter, Receipt, receive};
use std::cell::Cell;
use std::rc::Rc;

/// Reports that the monitor takes from the transport at once.
const RECEIVE_BATCH: usize = 300;

/// Counts of what the monitor did.
#[derive(Default)]
pub(crate) struct MonitorCounts {
    pub reports: Cell<u64>,
    pub commands: Cell<u64>,
}

/// Balances the partitions' activities, for ever.
pub(crate) async fn run(process: Rc<HostProcess>, counts: Rc<MonitorCounts>) {
    let setup = &process.setup;
    let mut monitor = LoadMonitor::new(setup.partitions, setup.config.max_activities);
    let log = &setup.services.monitor_log;
    let mut subscription = log.subscribe(process.host(), 0, log.end(0));
    loop {
        let reports = receive::<MonitorEvent>(
            &setup.kernel,
            process.host(),
            &mut subscription,
            &setup.services.blobs,
            RECEIVE_BATCH,
            InputPosition::default(),
        )
        .await;
        process.host().run(setup.event_work * reports.len() as u32).await;
        counts.reports.set(counts.reports.get() + reports.len() as u64);
        let reports = reports.into_iter().map(|(_, report)| report).collect();
        for (partition, event) in monitor.process(reports, setup.kernel.now()) {
            let command = matches!(event, PartitionEvent::TransferCommandReceived { .. });
            counts.commands.set(counts.commands.get() + u64::from(command));
            process.send_to_partition(partition, Letter { event, receipt: Receipt::None });
        }
    }
}
