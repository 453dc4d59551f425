//! An entity run by itself, one operation after the other: the specification that what clients saw of
//! an entity is held against.
//!
//! **What it models.** The application's own code for the entity, without an engine, queue or lock:
//! `(state, operation, input) -> (state', result)`. The state goes through its stored form at every
//! [`SequentialEntity::store`], as it does between two steps of an entity on an engine.
//!
//! **Assumption.** Operations are pure, as the model demands of all code that may be run again: besides
//! state and input they see only the instant and the caller that are given here. What they send or ask
//! of their host is dropped.

use super::code::{EntityState, load};
use super::context::EntityContext;
use super::request::Operation;
use crate::application::Application;
use crate::error::{ApplicationError, ApplicationResult};
use crate::id::EntityId;
use crate::payload::Payload;
use crate::step::UserWork;
use crate::time::Timestamp;

/// An entity and its state.
///
/// ```
/// use sim_model::application::Application;
/// use sim_model::entity::{EntityContext, Operation, SequentialEntity};
/// use sim_model::{id::EntityId, payload::Payload, time::Timestamp};
/// let mut app = Application::new();
/// app.entity::<i64>("Counter").operation("Add", |_: &mut EntityContext, sum: &mut i64, by: i64| {
///     *sum += by;
///     Ok(*sum)
/// });
/// let mut counter = SequentialEntity::new(&app, EntityId::new("Counter", "a"), None);
/// let input = Payload::encode(&2).unwrap();
/// let add = Operation { name: "Add".into(), input, caller: None, section: None, scheduled: None };
/// assert_eq!(counter.run(&add, Timestamp::ZERO).unwrap().as_str(), "2");
/// assert_eq!(counter.store().unwrap().unwrap().as_str(), "2");
/// ```
pub struct SequentialEntity<'a> {
    application: &'a Application,
    id: EntityId,
    state: Box<dyn EntityState>,
}

impl<'a> SequentialEntity<'a> {
    /// The entity with this stored state, or without one.
    pub fn new(application: &'a Application, id: EntityId, stored: Option<&Payload>) -> Self {
        let state = load(application, &id, stored);
        SequentialEntity { application, id, state }
    }

    /// Runs an operation that sees `now` as the present.
    ///
    /// # Errors
    /// What the operation says.
    pub fn run(&mut self, operation: &Operation, now: Timestamp) -> ApplicationResult {
        let mut context = EntityContext {
            id: self.id.clone(),
            now,
            caller: operation.caller.as_ref().map(|caller| caller.instance.clone()),
            effects: Vec::new(),
            work: UserWork::default(),
            deleted: false,
        };
        let result = self.state.run(&mut context, &operation.name, &operation.input);
        if context.deleted {
            self.state.delete();
        }
        result
    }

    /// The stored form of the state, if there is a state.
    ///
    /// # Errors
    /// If the state has no JSON form.
    pub fn peek(&self) -> Result<Option<Payload>, ApplicationError> {
        self.state.save()
    }

    /// Stores the state, and goes on from its stored form.
    ///
    /// # Errors
    /// If the state has no JSON form.
    pub fn store(&mut self) -> Result<Option<Payload>, ApplicationError> {
        let stored = self.state.save()?;
        self.state = load(self.application, &self.id, stored.as_ref());
        Ok(stored)
    }
}
