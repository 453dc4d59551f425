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
        let session = self.sessions.get(&batch.instance).map(|session| session.id);
        if session != Some(batch.session) {
            effects.push(Effect::Aborted(batch.work_item));
            return;
        }
        if !batch.persisted {
            self.commits.push_back((out.position, Commit::WorkItem(batch.work_item)));
            if self.config.speculation == Speculation::None {
                batch.activities.iter_mut().for_each(|task| handling.charge(&mut task.ledger));
                batch.messages.iter_mut().for_each(|message| handling.charge(&mut message.ledger));
                self.awaiting_persistence.insert(out.position, batch);
                return;
            }
        }
        self.write_back(&mut batch, out);
        let activities = std::mem::take(&mut batch.activities);
        self.call_activities(activities, batch.timestamp, handling, effects);
        self.arm(std::mem::take(&mut batch.timers), effects);
        let messages = std::mem::take(&mut batch.messages);
        let to_itself = messages.iter().any(|message| message.target == batch.instance);
        self.route(messages, handling, out, effects);
        if to_itself && !batch.persisted {
            self.put_up_barrier(&batch.instance, out.position);
        }
        self.continue_session(&batch, effects);
        if batch.persisted && !out.is_empty() && !self.outbox.would_overtake(out) {
            // The step is durable already: nothing to wait for.
            let sent = self.outbox.sending(std::mem::take(out));
            effects.push(Effect::Send(sent));
        }
    }

    /// Writes the step's episode and state to its instance, and answers whoever waits for an end.
    fn write_back(&mut self, batch: &mut BatchProcessed, out: &mut Outgoing) {
        let instance =
            self.instances.get_mut(&batch.instance).expect("invariant: a stepped instance exists");
        if batch.replaces_history {
            instance.episodes.clear();
        }
        if !batch.deleted {
            self.scratch.clear();
            postcard::to_io(&batch.new_events, &mut self.scratch)
                .expect("invariant: events have an encoding, and memory takes it");
            instance.episodes.push(Bytes::copy_from_slice(&self.scratch));
        }
        instance.state.last_updated = batch.timestamp;
        instance.state.status = batch.status.clone();
        instance.state.custom_status = batch.custom_status.take();
        instance.state.entity_state = batch.entity_state.take();
        if !batch.status.is_final() {
            return;
        }
        for request in instance.waiting.drain(..) {
            let answer = ClientEvent::End { request, state: instance.state.clone() };
            out.clients.push((request.client, answer));
        }
        let completion = Completion {
            instance: batch.instance.clone(),
            created: instance.state.created,
            last_updated: instance.state.last_updated,
            status: batch.status.clone(),
            ledger: batch.ledger,
        };
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

    /// Delivers messages within the partition, and packs the others by destination.
    fn route(
        &mut self,
        messages: Vec<InstanceMessage>,
        handling: Handling,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        let mut remote: IndexMap<u32, Vec<InstanceMessage>, FxBuildHasher> = IndexMap::default();
        for mut message in messages {
            let target = partition_of(&message.target, self.partitions);
            if target == self.index {
                self.deliver(message, handling, effects);
            } else {
                handling.charge(&mut message.ledger);
                remote.entry(target).or_default().push(message);
            }
        }
        for (target, messages) in remote {
            let (mut messages, mut sub_position) = (messages, 0);
            while !messages.is_empty() {
                let rest = messages.split_off(messages.len().min(self.config.pack_messages));
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
            let session = self.sessions.remove(&batch.instance).expect("invariant: it was checked");
            effects.extend(session.into_rest().map(|message| Effect::Discarded(message.id)));
        } else if let Some(next) = next {
            effects.push(Effect::StartStep(step_work(batch.instance.clone(), session.id, next)));
        } else if batch.deleted && session.is_idle() {
            self.sessions.remove(&batch.instance);
            self.instances.swap_remove(&batch.instance);
        }
    }
}

/// The work of a batch taken from the session with this number.
pub(super) fn step_work(instance: InstanceId, session: u64, batch: Batch) -> StepWork {
    StepWork { instance, session, batch_start: batch.start, messages: batch.messages }
}
