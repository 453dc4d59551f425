//! What a partition does about requests of clients.
//!
//! Requests that may change something come in two phases, each logged: the first reads the instance,
//! the second decides. All instances are in memory, so the read ends at once. Answers to them wait
//! in the outbox like everything that leaves the partition.

use super::{Effect, Handling, Instance, Outgoing, Partition};
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
            effects.push(Effect::Submit(event));
            return;
        }
        let created = self.instances.get(&message.target).is_none_or(Instance::has_ended);
        if created {
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
            effects.push(Effect::Submit(event));
            return;
        }
        let answer = match self.instances.get_mut(&instance) {
            None => ClientEvent::State { request, state: None },
            Some(found) if found.has_ended() => {
                ClientEvent::End { request, state: found.state.clone() }
            }
            Some(found) => {
                found.waiting.push(request);
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
            effects.push(Effect::Submit(event));
            return;
        }
        let idle = self.sessions.get(&instance).is_none_or(|session| session.is_idle());
        let deletion = match self.instances.get(&instance) {
            None => Deletion::Absent,
            Some(found) if idle && (found.has_ended() || instance.is_entity()) => {
                self.instances.swap_remove(&instance);
                self.sessions.remove(&instance);
                Deletion::Removed
            }
            Some(_) => Deletion::Refused,
        };
        out.clients.push((request.client, ClientEvent::Deletion { request, deletion }));
        if deletion == Deletion::Removed && instance.is_entity() {
            effects.push(Effect::Removed(instance));
        }
    }

    /// The present state of an instance.
    pub(super) fn state_of(&self, request: RequestId, instance: &InstanceId) -> ClientEvent {
        let state = self.instances.get(instance).map(|found| found.state.clone());
        ClientEvent::State { request, state }
    }

    /// The instances that a query selects, sorted by key.
    pub(super) fn select(&self, request: RequestId, query: &InstanceQuery) -> ClientEvent {
        let mut instances: Vec<_> = self
            .instances
            .iter()
            .filter(|(id, found)| query.selects(id, &found.state))
            .map(|(id, found)| (id.clone(), found.state.clone()))
            .collect();
        instances.sort_by(|(left, _), (right, _)| left.cmp(right));
        ClientEvent::Selected { request, instances }
    }
}
