//! The state of one instance in memory, whichever kind it is.
//!
//! **Cursor.** Suspended user code plus the bookkeeping to continue it. An engine may keep it between
//! steps (extended sessions, cursor cache) or drop it and replay; the outcome of the next step is the
//! same either way.

use crate::application::Application;
use crate::entity::EntityCursor;
use crate::history::{EventId, HistoryEvent};
use crate::id::{EntityId, InstanceId, WorkItemId};
use crate::orchestration::{OrchestrationCursor, RuntimeStatus};
use crate::step::{StepInput, StepOutcome};
use crate::time::Timestamp;
use std::rc::Rc;
use std::sync::Arc;

enum Kind {
    Orchestration(OrchestrationCursor),
    Entity(EntityCursor),
}

/// An instance in memory: an orchestration or an entity, as its key says.
///
/// ```
/// use sim_model::application::Application;
/// use sim_model::cursor::Cursor;
/// use sim_model::id::InstanceId;
/// use std::rc::Rc;
/// let cursor = Cursor::new(Rc::new(Application::new()), InstanceId::new("order-17"));
/// assert!(!cursor.has_started());
/// ```
pub struct Cursor(Box<Kind>);

impl Cursor {
    /// The cursor of an instance without a history.
    pub fn new(application: Rc<Application>, instance: InstanceId) -> Cursor {
        Cursor(Box::new(match EntityId::of(&instance) {
            None => Kind::Orchestration(OrchestrationCursor::new(application, instance)),
            Some(id) => Kind::Entity(EntityCursor::new(application, instance, id)),
        }))
    }

    /// The cursor of an instance with this history: an orchestration's code is run again from its
    /// start through all of it, an entity's state is taken from its only episode.
    ///
    /// Code that decides something else than the history says does not stop here: the next step
    /// fails the orchestration with an error that names the event.
    pub fn replay(
        application: Rc<Application>,
        instance: InstanceId,
        history: &[HistoryEvent],
    ) -> Cursor {
        let mut cursor = Cursor::new(application, instance);
        match &mut *cursor.0 {
            Kind::Orchestration(orchestration) => orchestration.replay(history),
            Kind::Entity(entity) => entity.restore(history),
        }
        cursor
    }

    /// Whether the instance exists: it has run a step, or was started by a replayed history.
    pub fn has_started(&self) -> bool {
        self.created().is_some()
    }

    /// Where the instance is in its life. An entity is always running.
    pub fn status(&self) -> &RuntimeStatus {
        match &*self.0 {
            Kind::Orchestration(orchestration) => orchestration.status(),
            Kind::Entity(_) => &RuntimeStatus::Running,
        }
    }

    /// When the instance was created, if it was.
    pub fn created(&self) -> Option<Timestamp> {
        match &*self.0 {
            Kind::Orchestration(orchestration) => orchestration.created(),
            Kind::Entity(entity) => entity.created(),
        }
    }

    /// The registered name of the code, if it is known.
    pub fn name(&self) -> Option<&Arc<str>> {
        match &*self.0 {
            Kind::Orchestration(orchestration) => orchestration.name(),
            Kind::Entity(entity) => Some(entity.name()),
        }
    }

    /// The step that wrote the state this cursor continues from.
    pub fn last_step(&self) -> Option<WorkItemId> {
        match &*self.0 {
            Kind::Orchestration(orchestration) => orchestration.last_step(),
            Kind::Entity(entity) => entity.last_step(),
        }
    }

    /// The number of the next decision of an orchestration; see
    /// [`history::next_event_id`](crate::history::next_event_id). An entity decides nothing.
    pub fn next_event_id(&self) -> EventId {
        match &*self.0 {
            Kind::Orchestration(orchestration) => orchestration.next_event_id(),
            Kind::Entity(_) => 0,
        }
    }

    /// How many history events the instance has.
    pub fn history_len(&self) -> usize {
        match &*self.0 {
            Kind::Orchestration(orchestration) => orchestration.history_len(),
            Kind::Entity(entity) => entity.history_len(),
        }
    }

    /// Executes one step.
    ///
    /// # Panics
    /// If there is no message, or if the instance is an orchestration that has ended, or that was
    /// never started and none of the messages starts it: an engine must not fetch such a step.
    pub fn step(&mut self, input: StepInput) -> StepOutcome {
        match &mut *self.0 {
            Kind::Orchestration(orchestration) => orchestration.step(input),
            Kind::Entity(entity) => entity.step(input),
        }
    }
}
