//! What an entity can be asked.

use super::sorter::Stamp;
use crate::history::EventId;
use crate::id::{EntityId, InstanceId};
use crate::payload::Payload;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Who waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The orchestration.
    pub instance: InstanceId,
    /// Its decision that the answer answers.
    pub event_id: EventId,
}

/// A critical section: the orchestration that asked for it, and which of its decisions that was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SectionId {
    /// The orchestration.
    pub owner: InstanceId,
    /// Its decision to lock.
    pub event_id: EventId,
}

impl fmt::Display for SectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "critical section {} of {}", self.event_id, self.owner)
    }
}

/// An operation to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The registered name.
    pub name: Arc<str>,
    /// Its input.
    pub input: Payload,
    /// Who called it; `None` for a signal.
    pub caller: Option<Caller>,
    /// The critical section inside which it was called.
    pub section: Option<SectionId>,
    /// When it is to run; `None` for at once.
    pub scheduled: Option<Timestamp>,
}

/// A request for the locks of a critical section, on its way from one entity to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRequest {
    /// The critical section.
    pub section: SectionId,
    /// All entities to lock, sorted, without duplicates.
    pub entities: Vec<EntityId>,
    /// The entity that is to be locked next.
    pub position: u32,
    /// Whether the section was given up meanwhile: nothing is locked, and nobody waits.
    pub cancelled: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestKind {
    /// Run an operation.
    Operation(Operation),
    /// Take a lock.
    Lock(LockRequest),
    /// Give up a lock.
    Release(SectionId),
    /// Go on with the queue, after the batch limit.
    Continue,
}

/// A request to an entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityRequest {
    /// Its place among the messages of its sender to this entity, if the transport does not keep
    /// their order.
    pub stamp: Option<Stamp>,
    /// What is asked.
    pub kind: RequestKind,
}

impl EntityRequest {
    /// A request without a stamp.
    pub fn unordered(kind: RequestKind) -> EntityRequest {
        EntityRequest { stamp: None, kind }
    }

    /// Whether requests of this kind take part in the ordering: not those that other entities
    /// forward, nor releases, which nothing can overtake that matters.
    pub(crate) fn is_ordered(&self) -> bool {
        match &self.kind {
            RequestKind::Operation(_) => true,
            RequestKind::Lock(lock) => lock.position == 0,
            RequestKind::Release(_) | RequestKind::Continue => false,
        }
    }
}
