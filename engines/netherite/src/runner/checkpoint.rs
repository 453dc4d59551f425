//! Checkpoints: when they are taken, and how they get into blobs.
//!
//! A checkpoint is due after so many bytes of log or events (20 MiB, 10,000), and when there was none
//! for a while (60 s, staggered by partition). It encodes the state at the present end of the log, in
//! one instant; events go on being taken in while it is written. Its blobs are, in this order: a
//! segment with changed instances, the index, the rest of the state. When the log is committed up to its
//! position, so that nothing in it can be undone, the next commit names it. Then whatever is not needed any more is deleted: the log in
//! front of it, the checkpoint before it, and segments without live records.
//!
//! **Assumption.** Encoding takes no core time: the published engine flushes pages that exist anyway.
//! Source: microsoft/durabletask-netherite, `StorageLayer/Faster/StoreWorker.cs`.

use super::PartitionRunner;
use crate::commit_log::CheckpointRef;
use crate::partition::{SegmentId, Snapshot};
use crate::reports::bump;
use bytes::Bytes;
use futures_util::future::join_all;
use sim_world::kernel::{Kernel, Notify};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The part of its share of memory by which a partition may exceed it while changed instances are
/// written.
const OVERDRAFT: u64 = 4;
/// How long to wait before a write that failed is tried again.
const WRITE_RETRY: Duration = Duration::from_secs(1);

/// How far the checkpoints of an incarnation are.
pub(super) struct Progress {
    /// Log position of the last one that was begun.
    position: Cell<u64>,
    /// Events since then.
    events: Cell<u64>,
    /// How many were begun.
    begun: Cell<u64>,
    in_flight: Cell<bool>,
    /// Whether changed instances are on their way to storage, and who waits for that.
    flushing: Cell<bool>,
    flushed: Notify,
}

impl Progress {
    pub(super) fn new(kernel: &Kernel, position: u64) -> Progress {
        Progress {
            position: Cell::new(position),
            events: Cell::new(0),
            begun: Cell::new(0),
            in_flight: Cell::new(false),
            flushing: Cell::new(false),
            flushed: kernel.notify(),
        }
    }

    fn flush_ended(&self) {
        self.flushing.set(false);
        self.flushed.notify_all();
    }

    pub(super) fn note_event(&self) {
        self.events.set(self.events.get() + 1);
    }
}

/// The blobs of a checkpoint: the index, and the rest of the state.
pub(super) fn checkpoint_names(prefix: &str, checkpoint: &CheckpointRef) -> [String; 2] {
    let CheckpointRef { epoch, number, .. } = checkpoint;
    ["index", "state"].map(|part| format!("{prefix}/checkpoint.{epoch}.{number}.{part}"))
}

impl PartitionRunner {
    /// The blob of a segment of the instance store.
    pub(super) fn segment_name(&self, segment: SegmentId) -> String {
        let SegmentId { epoch, number } = segment;
        format!("{}/store.{epoch}.{number}", self.prefix)
    }

    /// Begins a checkpoint, if there has been so much since the last one.
    pub(super) fn checkpoint_if_due(self: &Rc<Self>) {
        let config = &self.process.setup.config;
        let bytes = self.log.end() - self.checkpoints.position.get();
        if bytes >= config.checkpoint_bytes
            || self.checkpoints.events.get() >= config.checkpoint_events
        {
            self.begin_checkpoint();
        }
    }

    /// Drops what there is no memory for. If changed instances take too much, a checkpoint lets them
    /// out, and nothing is taken in until they are written.
    pub(super) async fn make_room(self: &Rc<Self>) {
        self.evict();
        let share = self.process.cache_share();
        let is_over = |least: u64| self.state.borrow().resident_bytes() > least;
        if is_over(share) && self.checkpoints.events.get() > 0 {
            self.begin_checkpoint();
        }
        if is_over(share + share / OVERDRAFT) {
            while self.checkpoints.flushing.get() {
                self.checkpoints.flushed.notified().await;
            }
            self.evict();
        }
    }

    fn begin_checkpoint(self: &Rc<Self>) {
        if self.checkpoints.in_flight.replace(true) {
            return;
        }
        self.checkpoints.flushing.set(true);
        let checkpoint = self.clone().write_checkpoint();
        let runner = self.clone();
        self.process.host().spawn(async move {
            runner.ended.unless(checkpoint).await;
            runner.checkpoints.in_flight.set(false);
            runner.checkpoints.flush_ended();
        });
    }

    /// The checkpoint of a partition that is being stopped. It takes no statements in any more, so there is
    /// none if something in the log waits for one.
    pub(super) async fn last_checkpoint(self: Rc<Self>) {
        let nothing_new = self.checkpoints.events.get() == 0;
        if nothing_new
            || self.state.borrow().has_promises()
            || self.checkpoints.in_flight.replace(true)
        {
            return;
        }
        self.write_checkpoint().await;
    }

    async fn write_checkpoint(self: Rc<Self>) {
        let number = self.checkpoints.begun.get() + 1;
        self.checkpoints.begun.set(number);
        let epoch = self.log.epoch();
        let segment = SegmentId { epoch, number };
        let checkpoint = CheckpointRef { epoch, number, position: self.log.end() };
        let Snapshot { segment: records, index, rest, dead } =
            self.state.borrow_mut().snapshot(segment);
        self.checkpoints.position.set(checkpoint.position);
        self.checkpoints.events.set(0);
        if let Some(records) = records {
            self.write(&self.segment_name(segment), records).await;
            self.state.borrow_mut().segment_written(segment);
        }
        self.checkpoints.flush_ended();
        let [index_name, state_name] = checkpoint_names(&self.prefix, &checkpoint);
        self.write(&index_name, index).await;
        self.write(&state_name, rest).await;
        self.until_committed(checkpoint.position).await;
        let before = self.log.last_checkpoint();
        self.log.publish(checkpoint).await;
        bump(&self.reports.counts().checkpoints, 1);
        let position = before.map_or(0, |before| before.position);
        let mut obsolete = self.log.obsolete(position, checkpoint.position);
        obsolete.extend(before.iter().flat_map(|before| checkpoint_names(&self.prefix, before)));
        obsolete.extend(dead.into_iter().map(|segment| self.segment_name(segment)));
        self.delete(obsolete).await;
    }

    /// Writes a blob, however often it takes.
    async fn write(&self, name: &str, content: Bytes) {
        let setup = &self.process.setup;
        let (host, blobs) = (self.process.host(), &setup.services.blobs);
        while blobs.put(host, name, content.clone(), None).await.is_err() {
            setup.kernel.sleep(WRITE_RETRY).await;
        }
    }

    /// Deletes blobs that nobody reads any more. Those that cannot be deleted are left.
    async fn delete(&self, names: Vec<String>) {
        let (host, blobs) = (self.process.host(), &self.process.setup.services.blobs);
        let delete = async |name: String| drop(blobs.delete(host, &name, None).await);
        join_all(names.into_iter().map(delete)).await;
    }

    /// Takes checkpoints of a partition with little to do, and compacts its store.
    pub(super) async fn checkpoint_when_idle(self: Rc<Self>) {
        let setup = &self.process.setup;
        let interval = setup.config.checkpoint_idle;
        let mut pause = interval.mul_f64(f64::from(self.index + 1) / f64::from(setup.partitions));
        while self.is_running() {
            if self.closed.unless(setup.kernel.sleep(pause)).await.is_none() {
                return;
            }
            pause = interval;
            self.compact().await;
            if self.checkpoints.events.get() > 0 && self.is_running() {
                self.begin_checkpoint();
            }
        }
    }

    /// Makes the next checkpoint write the live records of a segment anew that holds mostly dead ones.
    async fn compact(&self) {
        let instances = self.state.borrow().to_compact();
        if instances.is_empty() {
            return;
        }
        bump(&self.reports.counts().compactions, 1);
        let cold = |instance| {
            let address = self.state.borrow().cold(instance)?;
            Some((Clone::clone(instance), address))
        };
        let needed = instances.iter().filter_map(cold).collect();
        if self.load(needed).await.is_some() {
            let state = &mut *self.state.borrow_mut();
            instances.iter().for_each(|instance| state.rewrite(instance));
            self.checkpoints.note_event();
        }
    }
}
