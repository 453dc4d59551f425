//! What a partition does about requests of clients.
//!
//! Requests that may change something come in two phases, each logged: the first sees that the
//! instance is in memory, the second decides. A recovery submits the second phases that are missing.
//! Answers wait in the outbox like everything that leaves the partition.

use super::store::Instance;
use super::{Effect, Handling, Outgoing, Partition};
use crate::event::{ClientEvent, Deletion, PartitionEvent, Phase, RequestId};
use sim_model::engine::InstanceQuery;
use sim_model::id::InstanceId;
use sim_model::message::InstanceMessage;

impl Partition {
    /// Starts an orchestration, unless one with this key has not ended.
    pub(super) fn create(
        &mut self,
        request: RequestId,
        phase: Phase,
        mut message: InstanceMessage,
        handling: Handling,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        if phase == Phase::Read {
            handling.charge(&mut message.ledger);
            let phase = Phase::ConfirmAndProcess;
            let event = PartitionEvent::CreationRequestReceived { request, phase, message };
            self.confirm_later(request, event, effects);
            return;
        }
        self.prefetch.remove(&request);
        let known = self.instances.get(&message.target);
        // A second copy of the request that has created it, which a transport has delivered twice: a client makes
        // no two requests at one instant [assumption].
        let repeated = known.is_some_and(|found| found.state.created == message.event.timestamp);
        let created = repeated || known.is_none_or(Instance::has_ended);
        if created && !repeated {
            self.deliver(message, handling, effects);
        } else {
            effects.push(Effect::Discarded(message.id));
        }
        out.clients.push((request.client, ClientEvent::Creation { request, created }));
    }

    /// Answers when the instance has ended.
    pub(super) fn wait(
        &mut self,
        request: RequestId,
        phase: Phase,
        instance: InstanceId,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        if phase == Phase::Read {
            let phase = Phase::ConfirmAndProcess;
            let event = PartitionEvent::WaitRequestReceived { request, phase, instance };
            self.confirm_later(request, event, effects);
            return;
        }
        self.prefetch.remove(&request);
        let answer = match self.instances.get(&instance) {
            None => ClientEvent::State { request, state: None },
            Some(found) if found.has_ended() => {
                ClientEvent::End { request, state: found.state.clone() }
            }
            Some(_) => {
                self.instances.change(&instance, |found| found.waiting.push(request));
                return;
            }
        };
        out.clients.push((request.client, answer));
    }

    /// Removes an orchestration that has ended, or an entity that has nothing to do.
    pub(super) fn delete(
        &mut self,
        request: RequestId,
        phase: Phase,
        instance: InstanceId,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        if phase == Phase::Read {
            let phase = Phase::ConfirmAndProcess;
            let event = PartitionEvent::DeletionRequestReceived { request, phase, instance };
            self.confirm_later(request, event, effects);
            return;
        }
        self.prefetch.remove(&request);
        let idle = self.sessions.get(&instance).is_none_or(|session| session.is_idle());
        let deletion = match self.instances.get(&instance) {
            None => Deletion::Absent,
            Some(found) if idle && (found.has_ended() || instance.is_entity()) => {
                self.instances.remove(&instance);
                self.sessions.swap_remove(&instance);
                Deletion::Removed
            }
            Some(_) => Deletion::Refused,
        };
        out.clients.push((request.client, ClientEvent::Deletion { request, deletion }));
        if deletion == Deletion::Removed && instance.is_entity() {
            effects.push(Effect::Removed(instance));
        }
    }

    /// Submits the second phase of a request, now or, if this incarnation ends, in the next one.
    fn confirm_later(
        &mut self,
        request: RequestId,
        event: PartitionEvent,
        effects: &mut Vec<Effect>,
    ) {
        self.prefetch.insert(request, event.clone());
        effects.push(Effect::Submit(event));
    }

    /// The present state of an instance.
    pub(super) fn state_of(&self, request: RequestId, instance: &InstanceId) -> ClientEvent {
        let state = self.instances.get(instance).map(|found| found.state.clone());
        ClientEvent::State { request, state }
    }

    /// The instances in memory that a query selects, sorted by key: the owner has loaded all others.
    pub(super) fn select(&self, request: RequestId, query: &InstanceQuery) -> ClientEvent {
        let mut instances: Vec<_> = self
            .instances
            .resident()
            .filter(|(id, found)| query.selects(id, &found.state))
            .map(|(id, found)| (id.clone(), found.state.clone()))
            .collect();
        instances.sort_by(|(left, _), (right, _)| left.cmp(right));
        ClientEvent::Selected { request, instances }
    }
}
