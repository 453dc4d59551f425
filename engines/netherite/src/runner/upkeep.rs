//! What an incarnation does at its own pace: reports to the load monitor, and memory.

use super::PartitionRunner;
use crate::event::MonitorEvent;
use crate::reports::bump;
use crate::transport::{Letter, Receipt};
use std::rc::Rc;
use std::time::Duration;

/// How often a partition looks whether its load has to be reported (`StoreWorker.cs`).
const POKE_INTERVAL: Duration = Duration::from_secs(3);
/// How long a promise may stay open before its origin is asked (speculation `global`).
const PROMISE_INTERVAL: Duration = Duration::from_secs(2);
/// Every so many reports of positions one says everything, whoever may have missed the others.
const FULL_REPORT: u64 = 8;

impl PartitionRunner {
    /// Tells the load monitor how busy the partition is, if that is due.
    pub(super) fn report_load(&self) {
        let report = self.state.borrow_mut().load_report(self.process.setup.kernel.now());
        if let Some(report) = report {
            self.process.send_to_monitor(MonitorEvent::Load(report));
        }
    }

    /// Lets a partition without events report too.
    pub(super) async fn poke(self: Rc<Self>) {
        while self.is_running() {
            self.report_load();
            self.process.setup.kernel.sleep(POKE_INTERVAL).await;
        }
    }

    /// Tells the load monitor what was received and is durable, now and then.
    pub(super) async fn report_positions(self: Rc<Self>) {
        let setup = &self.process.setup;
        for number in 1_u64.. {
            let pause = setup.kernel.sleep(setup.config.ack_interval);
            if self.closed.unless(pause).await.is_none() {
                return;
            }
            let all = number.is_multiple_of(FULL_REPORT);
            let (end, durable) = (self.log.end(), self.log.durable());
            let report = self.state.borrow_mut().report_positions(end, durable, all);
            if let Some(report) = report {
                self.process.send_to_monitor(MonitorEvent::Positions(report));
            }
        }
    }

    /// Asks other partitions how far they are durable, if they have not said so for long.
    pub(super) async fn ask_for_durability(self: Rc<Self>) {
        let kernel = &self.process.setup.kernel;
        while self.closed.unless(kernel.sleep(PROMISE_INTERVAL)).await.is_some() {
            let question = self.state.borrow_mut().ask_for_durability();
            if let Some((partition, event)) = question {
                let letter = Letter { event, receipt: Receipt::None };
                self.process.send_to_partition(partition, letter);
            }
        }
    }

    /// Drops instances, and their suspended code, that there is no memory for.
    pub(super) fn evict(&self) {
        let share = self.process.cache_share();
        if self.state.borrow().resident_bytes() <= share {
            return;
        }
        let evicted = self.state.borrow_mut().evict(share);
        bump(&self.reports.counts().evicted, evicted.len() as u64);
        let cursors = &mut *self.cursors.borrow_mut();
        evicted.iter().for_each(|instance| drop(cursors.remove(instance)));
    }
}
