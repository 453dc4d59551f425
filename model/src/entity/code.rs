//! The code of an entity: operations by name, over a typed state.

use super::context::EntityContext;
use crate::application::Application;
use crate::error::{ApplicationError, ApplicationResult};
use crate::id::EntityId;
use crate::payload::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// The code of an entity, whatever its state is.
pub(crate) trait EntityCode {
    /// The state from its stored form; without one, the initial state.
    fn load(&self, stored: Option<&Payload>) -> Result<Box<dyn EntityState>, ApplicationError>;
}

/// The state of an entity in memory.
pub(crate) trait EntityState {
    /// Runs an operation.
    fn run(
        &mut self,
        context: &mut EntityContext,
        name: &str,
        input: &Payload,
    ) -> ApplicationResult;

    /// The stored form; `None` if there is no state.
    fn save(&self) -> Result<Option<Payload>, ApplicationError>;

    /// Drops the state: the next operation begins with the initial one.
    fn delete(&mut self);
}

type OperationCode<S> = dyn Fn(&mut EntityContext, &mut S, &Payload) -> ApplicationResult;

struct Code<S> {
    name: Arc<str>,
    operations: RefCell<BTreeMap<Arc<str>, Rc<OperationCode<S>>>>,
}

/// Adds operations to an entity; see [`Application::entity`](crate::application::Application::entity).
///
/// ```
/// use sim_model::application::Application;
/// use sim_model::entity::EntityContext;
/// let mut app = Application::new();
/// app.entity::<i64>("Account")
///     .operation("Get", |_: &mut EntityContext, balance: &mut i64, (): ()| Ok(*balance))
///     .operation("Add", |_: &mut EntityContext, balance: &mut i64, amount: i64| {
///         *balance += amount;
///         Ok(*balance)
///     });
/// ```
pub struct EntityBuilder<S> {
    code: Rc<Code<S>>,
}

impl<S> EntityBuilder<S>
where
    S: Default + Serialize + DeserializeOwned + 'static,
{
    pub(crate) fn new(name: &str) -> Self {
        let operations = RefCell::default();
        EntityBuilder { code: Rc::new(Code { name: name.into(), operations }) }
    }

    pub(crate) fn code(&self) -> Rc<dyn EntityCode> {
        Rc::new(SharedCode(self.code.clone()))
    }

    /// Adds an operation.
    ///
    /// # Panics
    /// If the entity has an operation of this name.
    pub fn operation<I, O, F>(self, name: &str, operation: F) -> Self
    where
        I: DeserializeOwned,
        O: Serialize,
        F: Fn(&mut EntityContext, &mut S, I) -> Result<O, ApplicationError> + 'static,
    {
        let code: Rc<OperationCode<S>> = Rc::new(move |context, state, input| {
            let result = operation(context, state, input.decode::<I>()?)?;
            Payload::encode(&result)
        });
        let previous = self.code.operations.borrow_mut().insert(name.into(), code);
        assert!(previous.is_none(), "operation {name:?} of {:?} exists", self.code.name);
        self
    }
}

struct SharedCode<S>(Rc<Code<S>>);

impl<S> EntityCode for SharedCode<S>
where
    S: Default + Serialize + DeserializeOwned + 'static,
{
    fn load(&self, stored: Option<&Payload>) -> Result<Box<dyn EntityState>, ApplicationError> {
        let state = stored.map(Payload::decode::<S>).transpose()?;
        Ok(Box::new(Loaded { code: self.0.clone(), state }))
    }
}

struct Loaded<S> {
    code: Rc<Code<S>>,
    state: Option<S>,
}

impl<S: Default + Serialize> EntityState for Loaded<S> {
    fn run(
        &mut self,
        context: &mut EntityContext,
        name: &str,
        input: &Payload,
    ) -> ApplicationResult {
        let operation = self.code.operations.borrow().get(name).cloned();
        let Some(operation) = operation else {
            let what = format!("operation of entity {:?}", self.code.name);
            return Err(ApplicationError::unknown_function(&what, name));
        };
        operation(context, self.state.get_or_insert_with(S::default), input)
    }

    fn save(&self) -> Result<Option<Payload>, ApplicationError> {
        self.state.as_ref().map(Payload::encode).transpose()
    }

    fn delete(&mut self) {
        self.state = None;
    }
}

/// The state of an entity from its stored form, in memory.
pub(super) fn load(
    application: &Application,
    id: &EntityId,
    stored: Option<&Payload>,
) -> Box<dyn EntityState> {
    let unknown = || ApplicationError::unknown_function("entity", id.name());
    let code = application.entity_code(id.name()).ok_or_else(unknown);
    code.and_then(|code| code.load(stored))
        .unwrap_or_else(|reason| Box::new(Unusable { reason, stored: stored.cloned() }))
}

/// The state of an entity that nobody can run: its code is not registered, or its stored form does
/// not decode. Every operation is answered with the reason, and what was stored stays.
struct Unusable {
    reason: ApplicationError,
    stored: Option<Payload>,
}

impl EntityState for Unusable {
    fn run(&mut self, _: &mut EntityContext, _: &str, _: &Payload) -> ApplicationResult {
        Err(self.reason.clone())
    }

    fn save(&self) -> Result<Option<Payload>, ApplicationError> {
        Ok(self.stored.clone())
    }

    fn delete(&mut self) {}
}
