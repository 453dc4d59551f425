//! What entities were asked, what they did, and what they answered, as steps report it.
//!
//! A step of an orchestration or an entity sends requests to entities; a step of an entity runs
//! operations and sends answers. All of it is in the outcomes of steps, so engines report nothing
//! more than they do for the graph. Of an application without entities nothing is kept.
//!
//! Reports of attempts that were given up stay here too: whoever reads looks at the progress of the
//! work item.

use crate::entity::{EntityRequest, Operation, RequestKind, SectionId};
use crate::error::ApplicationResult;
use crate::history::{EventId, EventKind, RaisedEvent};
use crate::id::{MessageId, WorkItemId};
use crate::message::InstanceMessage;
use crate::payload::Payload;
use crate::step::Served;
use std::rc::Rc;

/// What a step asked of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To run an operation: a call if it has a caller, else a signal.
    Operation(Operation),
    /// To take a lock.
    Lock(SectionId),
}

/// A request to an entity.
#[derive(Clone, Debug)]
pub struct EntityRequestSent {
    /// The step that sent it.
    pub by: WorkItemId,
    /// The message that carries it.
    pub message: MessageId,
    /// The entity, as an index into the graph's names.
    pub entity: u32,
    /// What is asked.
    pub asked: Asked,
}

/// The answer to a call of an entity, or the grant of a lock.
#[derive(Clone, Debug)]
pub struct EntityAnswer {
    /// The step that sent it.
    pub by: WorkItemId,
    /// The message that carries it.
    pub message: MessageId,
    /// The orchestration that called, as an index into the graph's names.
    pub to: u32,
    /// Its decision that is answered.
    pub event_id: EventId,
    /// The result.
    pub result: ApplicationResult,
}

/// What an entity did in a step, and the state that it left.
#[derive(Clone, Debug)]
pub struct EntityStep {
    /// The step.
    pub item: WorkItemId,
    /// What it did.
    pub served: Rc<Served>,
    /// The entity's state after it.
    pub state: Option<Payload>,
}

/// Everything that was reported of entities, in the order of the reports.
#[derive(Debug, Default)]
pub struct EntityLog {
    requests: Vec<EntityRequestSent>,
    answers: Vec<EntityAnswer>,
    steps: Vec<EntityStep>,
}

impl EntityLog {
    /// The requests that steps sent; those that entities pass on are among them.
    pub fn requests(&self) -> &[EntityRequestSent] {
        &self.requests
    }

    /// The answers that entities sent.
    pub fn answers(&self) -> &[EntityAnswer] {
        &self.answers
    }

    /// The steps of entities.
    pub fn steps(&self) -> &[EntityStep] {
        &self.steps
    }

    pub(super) fn note_message(&mut self, by: WorkItemId, target: u32, sent: &InstanceMessage) {
        let EventKind::EventRaised { event } = &sent.event.kind else { return };
        let message = sent.id;
        match event {
            RaisedEvent::External { .. } => {}
            RaisedEvent::Answer { event_id, result } => {
                let (event_id, result) = (*event_id, result.clone());
                self.answers.push(EntityAnswer { by, message, to: target, event_id, result });
            }
            RaisedEvent::Request(request) => {
                let EntityRequest { kind, .. } = &**request;
                let asked = match kind {
                    RequestKind::Operation(operation) => Asked::Operation(operation.clone()),
                    RequestKind::Lock(lock) if !lock.cancelled => Asked::Lock(lock.section.clone()),
                    RequestKind::Lock(_) | RequestKind::Release(_) | RequestKind::Continue => {
                        return;
                    }
                };
                self.requests.push(EntityRequestSent { by, message, entity: target, asked });
            }
        }
    }

    pub(super) fn note_served(
        &mut self,
        item: WorkItemId,
        served: &Rc<Served>,
        state: Option<&Payload>,
    ) {
        self.steps.push(EntityStep { item, served: served.clone(), state: state.cloned() });
    }
}
