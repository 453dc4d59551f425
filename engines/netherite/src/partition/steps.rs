//! What a partition does about a step that has been executed.

use super::session::Batch;
use super::{Commit, Effect, Handling, Outgoing, Partition, StepWork};
use crate::event::{BatchProcessed, ClientEvent, PartitionEvent};
use crate::placement::partition_of;
use crate::settings::Speculation;
use bytes::Bytes;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use sim_model::engine::Completion;
use sim_model::id::InstanceId;
use sim_model::message::{InstanceMessage, TimerMessage};

impl Partition {
    /// Takes over what a step did. Without speculation that happens when the step is durable.
    pub(super) fn batch_processed(
        &mut self,
        mut batch: Box<BatchProcessed>,
        handling: Handling,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        let (start, length) = (batch.batch_start, batch.batch_length as usize);
        let session = self.sessions.get(&batch.instance);
        let own = session.filter(|session| session.id == batch.session);
        if !own.is_some_and(|session| session.continues_at(start, length)) {
            effects.push(Effect::Aborted(batch.work_item));
            return;
        }
        match batch.persisted {
            Some(first) => drop(self.awaiting_persistence.remove(&first)),
            None => {
                self.commits.push_back((out.position, Commit::WorkItem(batch.work_item)));
                if self.config.speculation == Speculation::None {
                    self.await_persistence(batch, handling, out);
                    return;
                }
            }
        }
        self.write_back(&mut batch, out);
        let activities = std::mem::take(&mut batch.activities);
        self.call_activities(activities, batch.timestamp, handling, effects);
        self.arm(std::mem::take(&mut batch.timers), effects);
        let messages = std::mem::take(&mut batch.messages);
        let to_itself = messages.iter().any(|message| message.target == batch.instance);
        let remote = self.deliver_locally(messages, handling, effects);
        if batch.persisted.is_none() {
            self.pack(remote, handling, out);
        }
        if to_itself && batch.persisted.is_none() {
            self.put_up_barrier(&batch.instance, out.position);
        }
        self.continue_session(&batch, effects);
        if batch.persisted.is_some() && !out.is_empty() {
            // The step is durable already: the answers of clients have nothing to wait for.
            debug_assert!(out.partitions.is_empty(), "messages have left under the first position");
            let out = std::mem::take(out);
            let position = out.position;
            self.outbox.add(out, self.config.outbox_acks);
            effects.extend(self.outbox.send_now(position).map(Effect::Send));
        }
    }

    /// Without speculation: remembers the step until it is durable. What it sends to other partitions
    /// leaves then, under this position, which a recovery finds again.
    fn await_persistence(
        &mut self,
        mut batch: Box<BatchProcessed>,
        handling: Handling,
        out: &mut Outgoing,
    ) {
        batch.activities.iter_mut().for_each(|task| handling.charge(&mut task.ledger));
        batch.messages.iter_mut().for_each(|message| handling.charge(&mut message.ledger));
        let is_remote = |message: &&InstanceMessage| !self.is_local(&message.target);
        let remote: Vec<InstanceMessage> =
            batch.messages.iter().filter(is_remote).cloned().collect();
        self.pack(remote, handling, out);
        self.awaiting_persistence.insert(out.position, batch);
    }

    /// Writes the step's episode and state to its instance, and answers whoever waits for an end.
    fn write_back(&mut self, batch: &mut BatchProcessed, out: &mut Outgoing) {
        let scratch = &mut self.scratch;
        let ended = self.instances.change(&batch.instance, |instance| {
            if batch.replaces_history {
                instance.episodes.clear();
            }
            if !batch.deleted {
                scratch.clear();
                postcard::to_io(&batch.new_events, &mut *scratch)
                    .expect("invariant: events have an encoding, and memory takes it");
                instance.episodes.push(Bytes::copy_from_slice(scratch));
            }
            instance.state.last_updated = batch.timestamp;
            instance.state.status = batch.status.clone();
            instance.state.custom_status = batch.custom_status.take();
            instance.state.entity_state = batch.entity_state.take();
            let is_final = batch.status.is_final();
            is_final.then(|| (instance.state.clone(), std::mem::take(&mut instance.waiting)))
        });
        let Some((state, waiting)) = ended.expect("invariant: a stepped instance exists") else {
            return;
        };
        let completion = Completion {
            instance: batch.instance.clone(),
            created: state.created,
            last_updated: state.last_updated,
            status: batch.status.clone(),
            ledger: batch.ledger,
        };
        for request in waiting {
            let answer = ClientEvent::End { request, state: state.clone() };
            out.clients.push((request.client, answer));
        }
        self.commits.push_back((out.position, Commit::Completion(Box::new(completion))));
    }

    fn arm(&mut self, timers: Vec<TimerMessage>, effects: &mut Vec<Effect>) {
        let mut first = false;
        for timer in timers {
            first |= self.timers.add(timer);
        }
        if first {
            effects.push(Effect::SetAlarm);
        }
    }

    fn is_local(&self, target: &InstanceId) -> bool {
        partition_of(target, self.partitions) == self.index
    }

    /// Delivers messages within the partition; the others.
    fn deliver_locally(
        &mut self,
        messages: Vec<InstanceMessage>,
        handling: Handling,
        effects: &mut Vec<Effect>,
    ) -> Vec<InstanceMessage> {
        let mut remote = Vec::new();
        for message in messages {
            if self.is_local(&message.target) {
                self.deliver(message, handling, effects);
            } else {
                remote.push(message);
            }
        }
        remote
    }

    /// Packs messages to other partitions by destination.
    fn pack(&self, messages: Vec<InstanceMessage>, handling: Handling, out: &mut Outgoing) {
        let mut remote: IndexMap<u32, Vec<InstanceMessage>, FxBuildHasher> = IndexMap::default();
        for mut message in messages {
            handling.charge(&mut message.ledger);
            let target = partition_of(&message.target, self.partitions);
            remote.entry(target).or_default().push(message);
        }
        for (target, messages) in remote {
            let (mut messages, mut sub_position) = (messages, 0);
            while !messages.is_empty() {
                let rest = messages.split_off(messages.len().min(self.config.pack_messages));
                // What is split off leaves its room behind, and this goes into the outbox.
                messages.shrink_to_fit();
                let origin = self.origin(out.position, sub_position);
                let event = PartitionEvent::TaskMessagesReceived { origin, messages };
                out.partitions.push((target, event));
                messages = rest;
                sub_position += 1;
            }
        }
    }

    fn put_up_barrier(&mut self, instance: &InstanceId, position: u64) {
        let session = self.sessions.get_mut(instance).expect("invariant: it was checked");
        session.put_up_barrier(position);
        self.barriers.push_back((position, session.id, instance.clone()));
    }

    /// Starts the batches that waited for the log to be durable up to (not including) `durable`.
    pub(super) fn remove_barriers(&mut self, durable: u64, effects: &mut Vec<Effect>) {
        while self.barriers.front().is_some_and(|(position, ..)| *position < durable) {
            let front = self.barriers.pop_front();
            let (position, id, instance) = front.expect("invariant: the front was seen");
            let session = self.sessions.get_mut(&instance).filter(|session| session.id == id);
            let batch = session.and_then(|session| session.remove_barrier(position));
            effects.extend(batch.map(|batch| Effect::StartStep(step_work(instance, id, batch))));
        }
    }

    /// Removes the consumed messages; starts the next step, or closes the session of an instance
    /// whose life has ended.
    fn continue_session(&mut self, batch: &BatchProcessed, effects: &mut Vec<Effect>) {
        let session = self.sessions.get_mut(&batch.instance).expect("invariant: it was checked");
        let next = session.consume(batch.batch_start, batch.batch_length as usize);
        if batch.status.is_final() {
            let session =
                self.sessions.swap_remove(&batch.instance).expect("invariant: it was checked");
            effects.extend(session.into_rest().map(|message| Effect::Discarded(message.id)));
        } else if let Some(next) = next {
            effects.push(Effect::StartStep(step_work(batch.instance.clone(), session.id, next)));
        } else if batch.deleted && session.is_idle() {
            self.sessions.swap_remove(&batch.instance);
            self.instances.remove(&batch.instance);
        }
    }
}

/// The work of a batch taken from the session with this number.
pub(super) fn step_work(instance: InstanceId, session: u64, batch: Batch) -> StepWork {
    StepWork { instance, session, batch_start: batch.start, messages: batch.messages }
}
