//! Critical sections: locks on several entities, held by one orchestration.
//!
//! Inside a critical section (Azure/durabletask main@5217032,
//! `DurableTask.Core/Entities/OrchestrationEntityContext.cs`): only locked entities can be called, each
//! with one call at a time; locked entities cannot be signalled; no sub-orchestration can be called;
//! no further section can be entered. Code that breaks one of these rules fails its orchestration. The
//! locks are released when the guard is dropped, which every way out of the code does, and when the
//! orchestration ends in any other way.

use super::calls::Call;
use super::shared::Shared;
use crate::entity::{EntityRequest, LockRequest, RequestKind, SectionId};
use crate::error::ApplicationError;
use crate::history::{EventId, RaisedEvent};
use crate::id::{EntityId, InstanceId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The critical section of an orchestration: entered, or waited for.
pub(super) struct Section {
    pub(super) id: SectionId,
    /// Sorted, without duplicates.
    entities: Vec<EntityId>,
    entered: bool,
    /// Calls of its entities that are not answered yet.
    calls: BTreeMap<EventId, EntityId>,
}

impl Section {
    pub(super) fn new(id: SectionId, entities: Vec<EntityId>) -> Section {
        Section { id, entities, entered: false, calls: BTreeMap::new() }
    }

    /// The critical section that a recorded request asked for.
    pub(super) fn of(request: &LockRequest) -> Section {
        Section::new(request.section.clone(), request.entities.clone())
    }

    /// The request that goes from entity to entity.
    pub(super) fn request(&self) -> (InstanceId, RaisedEvent) {
        let lock = LockRequest {
            section: self.id.clone(),
            entities: self.entities.clone(),
            position: 0,
            cancelled: false,
        };
        let request = EntityRequest::unordered(RequestKind::Lock(lock));
        (self.entities[0].instance_id(), RaisedEvent::Request(Box::new(request)))
    }

    /// One release for each entity.
    pub(super) fn releases(self) -> impl Iterator<Item = (InstanceId, RaisedEvent)> {
        let id = self.id;
        self.entities.into_iter().map(move |entity| {
            let request = EntityRequest::unordered(RequestKind::Release(id.clone()));
            (entity.instance_id(), RaisedEvent::Request(Box::new(request)))
        })
    }

    pub(super) fn is_entered(&self) -> bool {
        self.entered
    }

    fn locks(&self, entity: &EntityId) -> bool {
        self.entities.binary_search(entity).is_ok()
    }

    /// Why `entity` cannot be called now, if so.
    pub(super) fn refuses_call(&self, entity: &EntityId) -> Option<String> {
        if !self.locks(entity) {
            return Some(format!(
                "entity {entity} was called inside a critical section that does not lock it"
            ));
        }
        let busy = self.calls.values().any(|called| called == entity);
        busy.then(|| {
            format!(
                "entity {entity} was called inside a critical section while another call of it \
                 was not answered"
            )
        })
    }

    /// Why `entity` cannot be signalled now, if so.
    pub(super) fn refuses_signal(&self, entity: &EntityId) -> Option<String> {
        self.locks(entity).then(|| {
            format!("entity {entity} was signalled inside a critical section that locks it")
        })
    }

    pub(super) fn called(&mut self, event_id: EventId, entity: EntityId) {
        self.calls.insert(event_id, entity);
    }

    pub(super) fn answered(&mut self, event_id: EventId) {
        if event_id == self.id.event_id {
            self.entered = true;
        }
        self.calls.remove(&event_id);
    }
}

/// A critical section to be entered; resolves once all locks are held.
///
/// Dropped before that, it is given up: whatever was locked meanwhile is released.
#[must_use = "a critical section is entered by awaiting its lock"]
pub struct Lock {
    pub(super) shared: Rc<RefCell<Shared>>,
    /// `None` if a rule was broken: then nothing is ever granted.
    pub(super) number: Option<EventId>,
    pub(super) granted: Call<()>,
}

impl Future for Lock {
    type Output = Result<CriticalSection, ApplicationError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.granted).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                let number = self.number.take();
                Poll::Ready(Ok(CriticalSection { shared: self.shared.clone(), number }))
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.number.is_some() {
            self.shared.borrow_mut().leave_section(self.number);
        }
    }
}

/// Locks on entities, held until this is dropped.
#[must_use = "dropping a critical section releases its locks"]
pub struct CriticalSection {
    shared: Rc<RefCell<Shared>>,
    number: Option<EventId>,
}

impl CriticalSection {
    /// Leaves the critical section, as dropping it does.
    pub fn release(self) {}
}

impl Drop for CriticalSection {
    fn drop(&mut self) {
        if self.number.is_some() {
            self.shared.borrow_mut().leave_section(self.number);
        }
    }
}
