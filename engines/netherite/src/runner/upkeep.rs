//! What an incarnation does at its own pace: reports to the load monitor, and memory.

use super::PartitionRunner;
use crate::event::MonitorEvent;
use crate::reports::bump;
use crate::scaling::{PUBLISH_INTERVAL, PartitionLoad};
use crate::scaling_runner::TABLE_KEY;
use crate::transport::{Letter, Receipt};
use sim_model::codec;
use sim_model::time::Timestamp;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How often a partition looks whether its load has to be reported (`StoreWorker.cs`).
const POKE_INTERVAL: Duration = Duration::from_secs(3);
/// How long a promise may stay open before its origin is asked (speculation `global`).
const PROMISE_INTERVAL: Duration = Duration::from_secs(2);
/// Every so many reports of positions one says everything, whoever may have missed the others.
const FULL_REPORT: u64 = 8;

/// How long events take from the intake to durability.
#[derive(Default)]
pub(super) struct Latencies {
    /// When the oldest event was taken in that is not durable.
    oldest: Cell<Option<Timestamp>>,
    /// The longest in this interval.
    slowest: Cell<Option<Duration>>,
}

impl Latencies {
    /// An event was taken in.
    pub(super) fn taken(&self, at: Timestamp) {
        self.oldest.set(self.oldest.get().or(Some(at)));
    }

    /// A commit was made; whether something was taken in meanwhile.
    pub(super) fn durable(&self, now: Timestamp, more: bool) {
        if let Some(oldest) = self.oldest.take() {
            self.slowest.set(self.slowest.get().max(Some(now.since(oldest))));
        }
        self.oldest.set(more.then_some(now));
    }
}

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

    /// Tells the load monitor what was received and is committed, now and then.
    pub(super) async fn report_positions(self: Rc<Self>) {
        let setup = &self.process.setup;
        for number in 1_u64.. {
            let pause = setup.kernel.sleep(setup.config.ack_interval);
            if self.closed.unless(pause).await.is_none() {
                return;
            }
            let all = number.is_multiple_of(FULL_REPORT);
            let report = self.state.borrow_mut().report_positions(self.log.end(), all);
            if let Some(report) = report {
                self.process.send_to_monitor(MonitorEvent::Positions(report));
            }
        }
    }

    /// Publishes how much the partition has to do, for the scale controller.
    pub(super) async fn publish_load(self: Rc<Self>) {
        let setup = &self.process.setup;
        let mut load = PartitionLoad::default();
        while self.closed.unless(setup.kernel.sleep(PUBLISH_INTERVAL)).await.is_some() {
            let slowest = self.latency.slowest.take();
            let work = self.state.borrow().work();
            if load.next(work, slowest) {
                let row = codec::encode(&load);
                let (loads, host) = (&setup.services.loads, self.process.host());
                // A row that is not written now is written in the next interval.
                let written = loads.insert_or_replace(host, TABLE_KEY, &*self.prefix, row);
                let _written = self.closed.unless(written).await;
            }
        }
    }

    /// Asks other partitions how far they are committed, if they have not said so for long.
    pub(super) async fn ask_for_commit(self: Rc<Self>) {
        let kernel = &self.process.setup.kernel;
        while self.closed.unless(kernel.sleep(PROMISE_INTERVAL)).await.is_some() {
            let question = self.state.borrow_mut().ask_for_commit();
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
