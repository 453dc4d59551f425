//! What a partition takes in: events of the transport, of its own work items, and of its timers.

use super::{Ending, PartitionRunner};
use crate::event::{Input, InputPosition};
use crate::partition::{Address, Handling};
use crate::reports::bump;
use crate::transport::receive;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use sim_model::id::InstanceId;
use sim_model::time::{Timestamp, nanos};
use std::rc::Rc;
use std::time::Duration;

/// Events that the receiver takes from the transport at once (2021: maximum batch 300).
const RECEIVE_BATCH: usize = 300;
/// Requests to storage that a recovery or a load has in flight for each core (and at most 100).
const READS_PER_CORE: u32 = 20;
const READS_MAX: u32 = 100;
/// How long to wait before a read that failed is tried again.
const READ_RETRY: Duration = Duration::from_secs(1);

impl PartitionRunner {
    /// Takes in what was submitted, until the partition is closed.
    pub(super) async fn take_in(self: Rc<Self>) {
        let setup = &self.process.setup;
        loop {
            let inputs = self.submitted.1.recv_many(setup.config.intake_batch);
            let Some(inputs) = self.closed.unless(inputs).await else { return };
            let timing = self.process.host().run(setup.event_work * inputs.len() as u32).await;
            let ended = setup.kernel.now();
            let begun = Timestamp::from_nanos(ended.as_nanos() - nanos(timing.ran));
            for input in inputs {
                if self.lease.is_lost() {
                    self.end(Ending::Lost);
                }
                if self.closed.is_stopped() {
                    return;
                }
                if self.take(input, Handling { begun, ended }).await.is_none() {
                    return;
                }
            }
            self.log.wake();
            self.report_load();
            self.checkpoint_if_due();
            if self.closed.unless(self.make_room()).await.is_none() {
                return;
            }
        }
    }

    /// Takes in one event; `None` if the incarnation ends meanwhile. The instances it needs are
    /// loaded first, so that it is logged and applied in one go.
    async fn take(self: &Rc<Self>, input: Input, handling: Handling) -> Option<()> {
        if !self.state.borrow().admits(&input.event) {
            bump(&self.reports.counts().voided, 1);
            return Some(());
        }
        loop {
            let mut needed = Vec::new();
            self.state.borrow().needs(&input.event, &mut needed);
            if needed.is_empty() {
                break;
            }
            self.closed.unless(self.load(needed)).await??;
        }
        let mut position = 0;
        if input.event.is_logged() {
            position = self.log.append(&input);
            bump(&self.reports.counts().logged, 1);
            self.checkpoints.note_event();
            self.latency.taken(handling.begun);
        }
        let mut effects = Vec::new();
        self.state.borrow_mut().process(position, input, handling, &mut effects);
        self.perform(&mut effects);
        Some(())
    }

    /// Reads the records of instances from storage; `None` if the incarnation ends first.
    pub(super) async fn load(&self, mut needed: Vec<(InstanceId, Address)>) -> Option<()> {
        needed.sort_by(|(left, _), (right, _)| left.cmp(right));
        needed.dedup_by(|(left, _), (right, _)| left == right);
        bump(&self.reports.counts().loaded, needed.len() as u64);
        let width = (READS_PER_CORE * self.process.host().cores()).min(READS_MAX);
        let read = |(instance, address): (InstanceId, Address)| async move {
            let blob = self.segment_name(address.segment);
            let record = self.read(&blob, address.offset, u64::from(address.length)).await;
            (instance, address, record)
        };
        let mut records = stream::iter(needed).map(read).buffered(width as usize);
        while let Some((instance, address, record)) = records.next().await {
            self.state.borrow_mut().loaded(&instance, address, &record?);
        }
        Some(())
    }

    /// Reads a part of a blob, however often it takes; `None` if the incarnation ends first.
    pub(super) async fn read(&self, blob: &str, offset: u64, length: u64) -> Option<Bytes> {
        let (setup, host) = (&self.process.setup, self.process.host());
        while !self.ended.is_stopped() && !self.lease.is_lost() {
            match setup.services.blobs.get_range(host, blob, offset, length).await {
                Ok(reply) => return Some(reply.value),
                Err(_) => setup.kernel.sleep(READ_RETRY).await,
            }
        }
        None
    }

    /// Submits timers when they are due, by the clock of the host.
    pub(super) async fn fire_timers(self: Rc<Self>) {
        let host = self.process.host();
        while self.is_running() {
            let now = host.clock_now();
            loop {
                let due = self.state.borrow_mut().take_due_timer(now);
                let Some(event) = due else { break };
                self.submit(event);
            }
            let next = self.state.borrow().next_timer();
            let alarm = self.closed.unless(self.alarm.notified());
            match next {
                Some(due) => {
                    let _in_time = host.timeout(due.since(now), alarm).await;
                }
                None => {
                    alarm.await;
                }
            }
        }
    }

    /// Receives events, from the place at which the log ends.
    pub(super) async fn receive_events(self: Rc<Self>) {
        let setup = &self.process.setup;
        let log = &setup.services.partition_log;
        let from = match setup.config.input_position || !self.is_restart() {
            true => self.input_position(),
            false => InputPosition { position: log.end(self.index), sub_position: 0 },
        };
        let mut subscription = log.subscribe(self.process.host(), self.index, from.position);
        loop {
            let events = receive(
                &setup.kernel,
                self.process.host(),
                &mut subscription,
                &setup.services.blobs,
                RECEIVE_BATCH,
                from,
            );
            let Some(events) = self.closed.unless(events).await else { return };
            for (next, event) in events {
                self.submitted.0.send(Input { next: Some(next), event });
            }
        }
    }
}
