//! The broker's threads: each takes a request, carries it out, and answers it.

use super::BrokerSettings;
use super::batch;
use super::command::{Answer, Request};
use super::offsets::{self, Offsets};
use super::partition::{OFFSETS_TOPIC, Partition, PartitionKey, file_name};
use crate::disk::{Disk, DiskError};
use crate::kernel::{Kernel, Notify};
use crate::machine::Machine;
use crate::profile::BrokerProfile;
use crate::selfhosted::{Incoming, Listener};
use bytes::{Bytes, BytesMut};
use sim_model::ledger::Category;
use sim_model::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A fetch that waits for records.
struct Waiting {
    incoming: Incoming<Request>,
    partition: PartitionKey,
    deadline: Timestamp,
}

/// One life of the broker's process; its threads share it.
pub(super) struct Server {
    pub kernel: Kernel,
    pub machine: Machine,
    pub disk: Disk,
    pub costs: Arc<BrokerProfile>,
    pub settings: BrokerSettings,
    pub listener: Listener<Request>,
    pub partitions: RefCell<BTreeMap<PartitionKey, Partition>>,
    pub offsets: RefCell<Offsets>,
    waiting: RefCell<Vec<Waiting>>,
    /// A fetch began to wait.
    waits: Notify,
    /// The disk has failed.
    offline: Cell<bool>,
}

/// What a broker is made of that has recovered.
pub(super) struct Recovered {
    pub partitions: BTreeMap<PartitionKey, Partition>,
    pub offsets: Offsets,
}

impl Server {
    pub fn new(
        kernel: &Kernel,
        machine: &Machine,
        disk: &Disk,
        costs: &Arc<BrokerProfile>,
        settings: BrokerSettings,
        listener: Listener<Request>,
        recovered: Recovered,
    ) -> Rc<Server> {
        Rc::new(Server {
            kernel: kernel.clone(),
            machine: machine.clone(),
            disk: disk.clone(),
            costs: costs.clone(),
            settings,
            listener,
            partitions: RefCell::new(recovered.partitions),
            offsets: RefCell::new(recovered.offsets),
            waiting: RefCell::default(),
            waits: kernel.notify(),
            offline: Cell::new(false),
        })
    }

    /// Starts the threads.
    pub fn start(self: &Rc<Self>) {
        for _ in 0..self.costs.threads {
            let server = self.clone();
            self.machine.host().spawn(async move { server.work().await });
        }
        let server = self.clone();
        self.machine.host().spawn(async move { server.expire().await });
    }

    /// One thread. A disk that fails ends the broker: it has no other place for its logs.
    async fn work(&self) {
        loop {
            let incoming = self.listener.next().await;
            if self.serve(incoming).await.is_err() {
                self.offline.set(true);
                self.listener.close();
                return;
            }
        }
    }

    /// Waits for ever if the broker has ended: what other threads were about ends with it.
    async fn while_online(&self) {
        if self.offline.get() {
            std::future::pending().await
        }
    }

    async fn serve(&self, mut incoming: Incoming<Request>) -> Result<(), DiskError> {
        incoming.cpu(self.costs.request_cpu).await;
        let request = incoming.command().clone();
        let answer = match request {
            Request::CreateTopic { topic, partitions } => {
                self.create_topic(&mut incoming, topic, partitions).await?
            }
            Request::Produce { partition, batch, records } => {
                let answer = self.append(&mut incoming, &partition, &batch, records).await?;
                incoming.answer(answer);
                return self.wake(&partition).await;
            }
            Request::Fetch { partition, offset, bytes_max, wait_max } => {
                let answer = self.fetch(&mut incoming, &partition, offset, bytes_max).await?;
                if wait_max.is_zero() || !is_empty(&answer) {
                    answer
                } else {
                    self.park(incoming, partition, wait_max);
                    return Ok(());
                }
            }
            Request::Offsets { partition } => match self.partitions.borrow().get(&partition) {
                Some(log) => Answer::Offsets { first: log.first_offset(), end: log.next_offset() },
                None => Answer::UnknownPartition,
            },
            Request::Commit { group, partition, offset } => {
                let batch = offsets::encode(&group, &partition, offset);
                let place = (OFFSETS_TOPIC.to_owned(), 0);
                self.append(&mut incoming, &place, &batch, 1).await?;
                self.offsets.borrow_mut().set(&group, &partition, offset);
                Answer::Done
            }
            Request::Committed { group, partition } => {
                Answer::Committed(self.offsets.borrow().get(&group, &partition))
            }
        };
        incoming.answer(answer);
        Ok(())
    }

    async fn create_topic(
        &self,
        incoming: &mut Incoming<Request>,
        topic: String,
        partitions: u32,
    ) -> Result<Answer, DiskError> {
        let all = (topic.clone(), 0)..=(topic.clone(), u32::MAX);
        let count = self.partitions.borrow().range(all).count() as u32;
        if count == partitions {
            return Ok(Answer::Created(false));
        }
        if count > 0 {
            return Ok(Answer::TopicExists { partitions: count });
        }
        for number in 0..partitions {
            let key = (topic.clone(), number);
            let made = self.disk.append(&file_name(&key, 0), Bytes::new()).await?;
            incoming.note(made);
            let partition = Partition::new(key.clone(), 0, self.kernel.semaphore(1));
            self.partitions.borrow_mut().insert(key, partition);
        }
        incoming.note(self.disk.sync_names().await?);
        Ok(Answer::Created(true))
    }

    /// Appends a batch to a partition's log, and flushes it if that is the policy.
    async fn append(
        &self,
        incoming: &mut Incoming<Request>,
        key: &PartitionKey,
        batch: &Bytes,
        records: u64,
    ) -> Result<Answer, DiskError> {
        let cost = self.costs.record_cpu * u32::try_from(records).unwrap_or(u32::MAX);
        incoming.cpu(cost + per_kibibyte(self.costs.kibibyte_cpu, batch.len())).await;
        let turn = match self.partitions.borrow().get(key) {
            None => return Ok(Answer::UnknownPartition),
            Some(partition) => partition.appending.acquire(),
        };
        let _turn = turn.await;
        self.while_online().await;
        let plan = self.with(key, |partition| {
            let BrokerSettings { segment_bytes, flush_messages } = self.settings;
            partition.plan_append(batch.len() as u64, records, segment_bytes, flush_messages)
        });
        if let Some(full) = plan.rolled {
            let disk = self.disk.clone();
            // Nobody waits for it: a failure shows when the next flush fails.
            self.machine.host().spawn(async move { drop(disk.sync(&full).await) });
        }
        let placed = batch::placed_at(batch, plan.offset);
        let position = incoming.note(self.disk.append(&plan.file, placed).await?);
        if plan.flush {
            incoming.note(self.disk.sync(&plan.file).await?);
        }
        self.with(key, |partition| {
            partition.appended(position, batch.len() as u64, records, plan.flush);
        });
        Ok(Answer::Produced(plan.offset))
    }

    fn with<R>(&self, key: &PartitionKey, act: impl FnOnce(&mut Partition) -> R) -> R {
        let mut partitions = self.partitions.borrow_mut();
        act(partitions.get_mut(key).expect("invariant: partitions are never deleted"))
    }

    async fn fetch(
        &self,
        incoming: &mut Incoming<Request>,
        key: &PartitionKey,
        offset: u64,
        bytes_max: u64,
    ) -> Result<Answer, DiskError> {
        let (pieces, end) = {
            let partitions = self.partitions.borrow();
            let Some(partition) = partitions.get(key) else { return Ok(Answer::UnknownPartition) };
            let (first, end) = (partition.first_offset(), partition.next_offset());
            if offset < first || offset > end {
                return Ok(Answer::OffsetOutOfRange { first, end });
            }
            (partition.plan_fetch(offset, bytes_max), end)
        };
        let mut batches = BytesMut::new();
        for piece in pieces {
            let read = self.disk.read(&piece.file, piece.position, piece.bytes).await?;
            batches.extend_from_slice(&incoming.note(read));
        }
        incoming.cpu(per_kibibyte(self.costs.kibibyte_cpu, batches.len())).await;
        Ok(Answer::Fetched { batches: batches.freeze(), end })
    }

    /// Lets a fetch wait for records.
    fn park(&self, mut incoming: Incoming<Request>, partition: PartitionKey, wait_max: Duration) {
        incoming.charge(Category::Queueing);
        let deadline = incoming.arrived() + wait_max;
        self.waiting.borrow_mut().push(Waiting { incoming, partition, deadline });
        self.waits.notify_one();
    }

    /// Serves the fetches that wait for records of a partition, first come, first served.
    async fn wake(&self, key: &PartitionKey) -> Result<(), DiskError> {
        let all = std::mem::take(&mut *self.waiting.borrow_mut());
        let (woken, still): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|waiting| waiting.partition == *key);
        self.waiting.borrow_mut().extend(still);
        for mut waiting in woken {
            if waiting.incoming.is_abandoned() {
                continue;
            }
            waiting.incoming.charge(Category::Polling);
            let Request::Fetch { offset, bytes_max, .. } = *waiting.incoming.command() else {
                unreachable!("only fetches wait")
            };
            let answer = self.fetch(&mut waiting.incoming, key, offset, bytes_max).await?;
            if is_empty(&answer) && waiting.deadline > self.kernel.now() {
                self.waiting.borrow_mut().push(waiting);
            } else {
                waiting.incoming.answer(answer);
            }
        }
        Ok(())
    }

    /// Answers fetches that have waited long enough.
    async fn expire(&self) {
        loop {
            let earliest = self.waiting.borrow().iter().map(|waiting| waiting.deadline).min();
            match earliest {
                None => self.waits.notified().await,
                Some(deadline) => {
                    let span = deadline.since(self.kernel.now());
                    // A fetch that begins to wait meanwhile may end earlier.
                    let _ = self.kernel.timeout(span, self.waits.notified()).await;
                }
            }
            self.while_online().await;
            let now = self.kernel.now();
            let all = std::mem::take(&mut *self.waiting.borrow_mut());
            let (over, still): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|waiting| waiting.deadline <= now);
            self.waiting.borrow_mut().extend(still);
            for mut waiting in over {
                waiting.incoming.charge(Category::Polling);
                let end = self.with(&waiting.partition, |partition| partition.next_offset());
                waiting.incoming.answer(Answer::Fetched { batches: Bytes::new(), end });
            }
        }
    }
}

fn is_empty(answer: &Answer) -> bool {
    matches!(answer, Answer::Fetched { batches, .. } if batches.is_empty())
}

/// Core time for so many bytes.
pub(super) fn per_kibibyte(cost: Duration, bytes: usize) -> Duration {
    Duration::from_nanos(sim_model::time::nanos(cost) * bytes as u64 / 1024)
}
