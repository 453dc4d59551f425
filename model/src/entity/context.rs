//! What an operation of an entity sees.

use crate::error::ApplicationError;
use crate::id::{EntityId, InstanceId};
use crate::payload::Payload;
use crate::step::UserWork;
use crate::time::Timestamp;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// What an operation did besides changing the state.
pub(super) enum Effect {
    Signal { target: EntityId, operation: Arc<str>, input: Payload, at: Option<Timestamp> },
    Start { name: Arc<str>, instance: InstanceId, input: Payload },
}

/// The handle through which an operation acts on the world.
pub struct EntityContext {
    pub(super) id: EntityId,
    pub(super) now: Timestamp,
    pub(super) caller: Option<InstanceId>,
    pub(super) effects: Vec<Effect>,
    pub(super) work: UserWork,
    pub(super) deleted: bool,
}

impl EntityContext {
    /// The entity that runs.
    pub fn id(&self) -> &EntityId {
        &self.id
    }

    /// The time of the current step.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The orchestration that called; `None` for a signal.
    pub fn caller(&self) -> Option<&InstanceId> {
        self.caller.as_ref()
    }

    /// Sends an operation to an entity and does not wait for it.
    ///
    /// # Errors
    /// If the input has no JSON form.
    pub fn signal(
        &mut self,
        target: &EntityId,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<(), ApplicationError> {
        self.push_signal(target, None, operation, input)
    }

    /// [`EntityContext::signal`], to be run at an instant, not before.
    ///
    /// # Errors
    /// If the input has no JSON form.
    pub fn signal_at(
        &mut self,
        target: &EntityId,
        at: Timestamp,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<(), ApplicationError> {
        self.push_signal(target, Some(at), operation, input)
    }

    fn push_signal(
        &mut self,
        target: &EntityId,
        at: Option<Timestamp>,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<(), ApplicationError> {
        let (target, operation) = (target.clone(), operation.into());
        let input = Payload::encode(input)?;
        self.effects.push(Effect::Signal { target, operation, input, at });
        Ok(())
    }

    /// Starts the orchestration registered as `name` under the key `instance` and does not wait
    /// for it.
    ///
    /// # Errors
    /// If the input has no JSON form, or the key is one of an entity.
    pub fn start_orchestration(
        &mut self,
        name: &str,
        instance: InstanceId,
        input: &impl Serialize,
    ) -> Result<(), ApplicationError> {
        let input = Payload::encode(input)?;
        self.start_encoded(name, instance, input)
    }

    /// [`EntityContext::start_orchestration`], with an input that is encoded already.
    ///
    /// # Errors
    /// If the key is one of an entity.
    pub fn start_encoded(
        &mut self,
        name: &str,
        instance: InstanceId,
        input: Payload,
    ) -> Result<(), ApplicationError> {
        if instance.is_entity() {
            return Err(ApplicationError::misuse(format!(
                "an orchestration cannot be named like an entity: {instance}"
            )));
        }
        self.effects.push(Effect::Start { name: name.into(), instance, input });
        Ok(())
    }

    /// Drops the state once the operation has ended; the next operation begins with the initial one.
    pub fn delete_state(&mut self) {
        self.deleted = true;
    }

    /// Occupies a core of the host for `work` of core time.
    pub fn compute(&mut self, work: Duration) {
        self.work.compute += work;
    }

    /// Waits for something outside the testbed for `span`; no core is used.
    pub fn wait(&mut self, span: Duration) {
        self.work.wait += span;
    }

    /// Reads `bytes` bytes of one blob of the application's own storage.
    pub fn read_blob(&mut self, bytes: u64) {
        self.work.read_bytes += bytes;
        self.work.reads += 1;
    }

    /// Writes `bytes` bytes to one blob of the application's own storage.
    pub fn write_blob(&mut self, bytes: u64) {
        self.work.written_bytes += bytes;
        self.work.writes += 1;
    }
}
