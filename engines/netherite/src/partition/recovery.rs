//! What a partition leaves behind in checkpoints, and how it goes on from there.
//!
//! A checkpoint of the state at a log position has three parts: a segment with the records of all
//! instances that were changed since the one before, the index of all records, and everything else,
//! encoded. The state that it describes plus the events that follow it in the log is the state of the
//! partition. What only matters to the incarnation that lived it (steps and activities on their way,
//! what was handed to the transport, which timers were submitted) is not part of it: a new
//! incarnation starts, sends and arms all of it again.
//!
//! Source: microsoft/durabletask-netherite, `Events/PartitionEvents/Internal/RecoveryCompleted.cs`.

use super::store::{Address, InstanceStore, SegmentId};
use super::{Commit, Effect, Incarnation, Partition};
use crate::event::{PartitionEvent, Positions};
use crate::placement::partition_of;
use crate::settings::{Config, Speculation as Mode};
use bytes::Bytes;
use sim_model::codec;
use sim_model::id::{InstanceId, WorkItemId};
use sim_model::time::Timestamp;
use std::collections::BTreeMap;

/// An encoded state.
pub(crate) struct Snapshot {
    /// The records of changed instances, if there are any.
    pub segment: Option<Bytes>,
    /// The index of all records, and everything else.
    pub index: Bytes,
    pub rest: Bytes,
    /// Segments that no checkpoint after this one names.
    pub dead: Vec<SegmentId>,
}

impl Partition {
    /// Encodes the state as it is now; changed records go into `segment`, which is written by
    /// [`Partition::segment_written`] at the latest.
    pub(crate) fn snapshot(&mut self, segment: SegmentId) -> Snapshot {
        let records = self.instances.flush(segment);
        let sessions: Vec<_> = self.sessions.iter().collect();
        let awaiting = (&self.prefetch, &self.awaiting_persistence);
        let rest = (
            &sessions,
            self.next_session,
            &self.activities,
            &self.timers,
            &self.outbox,
            &self.dedup,
            self.input,
            awaiting,
        );
        let rest = codec::encode(&rest);
        let index = self.instances.encode_index();
        Snapshot { segment: records, index, rest, dead: self.instances.take_dead() }
    }

    /// The state that a checkpoint describes.
    pub(crate) fn restore(
        (index, partitions): (u32, u32),
        config: Config,
        incarnation: Incarnation,
        snapshot: (&[u8], &[u8]),
    ) -> Partition {
        let mut partition = Partition::new(index, partitions, config, incarnation);
        partition.instances = InstanceStore::decode_index(snapshot.0);
        let sessions: Vec<_>;
        let awaiting: (BTreeMap<_, _>, BTreeMap<_, _>);
        (
            sessions,
            partition.next_session,
            partition.activities,
            partition.timers,
            partition.outbox,
            partition.dedup,
            partition.input,
            awaiting,
        ) = codec::decode(snapshot.1).expect("invariant: a checkpoint is read as it was written");
        partition.sessions = sessions.into_iter().collect();
        (partition.prefetch, partition.awaiting_persistence) = awaiting;
        partition
    }

    /// The segment of a snapshot was written: its records may leave memory.
    pub(crate) fn segment_written(&mut self, segment: SegmentId) {
        self.instances.written(segment);
    }

    /// All events of the log have been applied, and are durable, up to `durable`; those before
    /// `committed` are known to be committed. Forgets what only the incarnations that lived them knew.
    pub(crate) fn recover(&mut self, committed: u64, durable: u64) {
        self.speculation.recover(committed);
        // Whoever was sent something that is not committed yet has to be told when it is.
        let open = self.speculation.limit().filter(|limit| *limit < durable);
        for other in self.others().filter(|_| open.is_some()) {
            self.speculation.sent_early(other, committed);
            self.speculation.sent_early(other, durable - 1);
        }
        self.barriers.clear();
        self.timers.recover();
        self.resubmitted = 0;
        let in_progress = |batch: &crate::event::BatchProcessed| {
            (batch.instance.clone(), (batch.session, batch.batch_length as usize))
        };
        let awaiting: BTreeMap<InstanceId, (u64, usize)> =
            self.awaiting_persistence.values().map(|batch| in_progress(batch)).collect();
        for (instance, session) in &mut self.sessions {
            let awaited = awaiting.get(instance).filter(|(id, _)| *id == session.id);
            session.recover(awaited.map_or(0, |(_, length)| *length));
        }
        if self.config.outbox_resend {
            self.outbox.recover();
        } else {
            self.outbox.forget();
        }
    }

    /// The recovery is logged at `position`: what was under way starts again. Steps wait until the
    /// recovery is durable.
    pub(super) fn restart(&mut self, position: u64, now: Timestamp, effects: &mut Vec<Effect>) {
        effects.extend(self.prefetch.values().cloned().map(Effect::Submit));
        if !self.config.restart_pending {
            return;
        }
        let restarted = self.activities.restart(now);
        effects.extend(restarted.into_iter().map(Effect::StartActivity));
        effects.extend(self.activities.plan_offload().map(Effect::PlanOffload));
        for (instance, session) in &mut self.sessions {
            if session.restart(position, now) {
                self.barriers.push_back((position, session.id, instance.clone()));
            }
        }
        effects.push(Effect::SetAlarm);
    }

    fn others(&self) -> impl Iterator<Item = u32> + use<> {
        let index = self.index;
        (0..self.partitions).filter(move |other| *other != index)
    }

    /// What the other partitions are told when this incarnation begins: nothing unless some of them may
    /// have taken in what was lost. Those on whose open work something in the log depends are asked how
    /// far they are, since what they said may have been read by the incarnation before.
    pub(crate) fn announce(&self) -> Vec<(u32, PartitionEvent)> {
        if self.config.speculation != Mode::Global {
            return Vec::new();
        }
        let ask = |origin| (origin, PartitionEvent::CommitAsked { by: self.index });
        let tell = self.others().map(|other| (other, self.statement()));
        tell.chain(self.speculation.open_origins().into_iter().map(ask)).collect()
    }

    /// Asks the origin of the first open promise how far it is committed, if the promise was the first
    /// one at the last question too: what it would have said may be lost.
    pub(crate) fn ask_for_commit(&mut self) -> Option<(u32, PartitionEvent)> {
        let origin = self.speculation.overdue()?;
        Some((origin, PartitionEvent::CommitAsked { by: self.index }))
    }

    /// The work items that are durable and not committed yet.
    pub(crate) fn uncommitted(&self) -> impl Iterator<Item = WorkItemId> {
        self.commits.iter().filter_map(|(_, commit)| match commit {
            Commit::WorkItem(item) => Some(*item),
            Commit::Completion(_) => None,
        })
    }

    /// Where in the input queue to go on.
    pub(crate) fn input_position(&self) -> crate::event::InputPosition {
        self.input
    }

    /// What is known of other partitions.
    pub(crate) fn origins(&self) -> &super::Origins {
        self.speculation.origins()
    }

    /// Adds the instances that an event is about and that have to be loaded first.
    pub(crate) fn needs(&self, event: &PartitionEvent, needed: &mut Vec<(InstanceId, Address)>) {
        let mut need = |instance: &InstanceId| {
            if let Some(address) = self.instances.cold(instance) {
                needed.push((instance.clone(), address));
            }
        };
        match event {
            PartitionEvent::CreationRequestReceived { message, .. }
            | PartitionEvent::ClientTaskMessagesReceived { message } => need(&message.target),
            PartitionEvent::WaitRequestReceived { instance, .. }
            | PartitionEvent::StateRequestReceived { instance, .. }
            | PartitionEvent::DeletionRequestReceived { instance, .. } => need(instance),
            PartitionEvent::InstanceQueryReceived { .. } => {
                needed.extend(self.instances.all_cold().map(|(id, at)| (id.clone(), at)));
            }
            PartitionEvent::TaskMessagesReceived { messages, .. } => {
                messages.iter().for_each(|message| need(&message.target));
            }
            PartitionEvent::RemoteActivityResultReceived { response, .. } => need(&response.target),
            PartitionEvent::ActivityCompleted(completed) if completed.origin == self.index => {
                need(&completed.response.target);
            }
            PartitionEvent::BatchProcessed(batch) => {
                need(&batch.instance);
                let local =
                    |instance: &InstanceId| partition_of(instance, self.partitions) == self.index;
                let messages = batch.messages.iter();
                messages.filter(|sent| local(&sent.target)).for_each(|sent| need(&sent.target));
            }
            PartitionEvent::TimerFired { timer } => {
                self.timers.message(*timer).into_iter().for_each(|message| need(&message.target));
            }
            PartitionEvent::ActivityCompleted(_)
            | PartitionEvent::ActivityTransferReceived { .. }
            | PartitionEvent::OffloadDecision { .. }
            | PartitionEvent::SolicitationReceived { .. }
            | PartitionEvent::TransferCommandReceived { .. }
            | PartitionEvent::SendConfirmed { .. }
            | PartitionEvent::AcksReceived { .. }
            | PartitionEvent::RecoveryCompleted { .. }
            | PartitionEvent::OriginCommitted { .. }
            | PartitionEvent::CommitAsked { .. } => {}
        }
    }

    /// Where the record of an instance is, if it has to be loaded.
    pub(crate) fn cold(&self, instance: &InstanceId) -> Option<Address> {
        self.instances.cold(instance)
    }

    /// Takes the record of an instance that was read from storage.
    pub(crate) fn loaded(&mut self, instance: &InstanceId, address: Address, record: &[u8]) {
        self.instances.loaded(instance, address, record);
    }

    /// Drops unchanged instances beyond the budget from memory; which.
    pub(crate) fn evict(&mut self, budget: u64) -> Vec<InstanceId> {
        self.instances.evict(budget)
    }

    /// Bytes of the instances in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.instances.resident_bytes()
    }

    /// Instances to write anew, so that old segments can go. They have to be loaded before.
    pub(crate) fn to_compact(&self) -> Vec<InstanceId> {
        self.instances.to_compact()
    }

    /// Makes the next snapshot hold this instance.
    pub(crate) fn rewrite(&mut self, instance: &InstanceId) {
        self.instances.rewrite(instance);
    }

    /// Prepares a report of what was received up to log position `end`, which leaves when that is
    /// committed; nothing if it would say what the last one did. `all` says everything again.
    pub(crate) fn report_positions(&mut self, end: u64, all: bool) -> Option<Positions> {
        let received: Vec<(u32, u64, u32)> = self.dedup.positions().collect();
        let wanted = self.outbox.wanted();
        if (received == self.reported && !all || received.is_empty()) && wanted.is_empty() {
            return None;
        }
        self.reported.clone_from(&received);
        let report = Positions { partition: self.index, received, wanted };
        if end <= self.committed {
            return Some(report);
        }
        self.reports.push_back((end, report));
        None
    }

    /// What there is to do, for the table of loads.
    pub(crate) fn work(&self) -> crate::scaling::Work {
        let steps = self.sessions.values().filter(|session| !session.is_idle()).count();
        let (activities, backlog) = self.activities.counts();
        crate::scaling::Work {
            steps: steps as u32,
            activities,
            backlog,
            requests: self.prefetch.len() as u32,
            next_timer: self.timers.next_due(),
        }
    }

    /// How many entries the outbox keeps.
    pub(crate) fn outbox_entries(&self) -> usize {
        self.outbox.len()
    }
}
