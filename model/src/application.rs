//! User code: orchestrations, entities and activities, registered by name.
//!
//! User code is written as ordinary `async fn`s over typed values; registering it wraps it into a
//! form that takes and returns [`Payload`]s, which is all that engines see. Errors in user code are
//! results with a message, never faults: an engine does not retry them.

use crate::entity::{EntityBuilder, EntityCode};
use crate::message::TaskMessage;
use crate::orchestration::OrchestrationContext;
use crate::payload::Payload;
use crate::workflow::Workflow;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use crate::error::{ApplicationError, ApplicationResult, ErrorKind};

/// What an activity may use of the machine it runs on. Implemented by whoever runs activities.
pub trait ActivityEnvironment {
    /// Occupies a core of the host for `work` of core time.
    fn compute(&self, work: Duration) -> LocalBoxFuture<'static, ()>;

    /// Waits for something outside the testbed for `span` (a remote call, say); no core is used.
    fn wait(&self, span: Duration) -> LocalBoxFuture<'static, ()>;

    /// Reads `bytes` bytes of one blob of the application's own storage.
    fn read_blob(&self, bytes: u64) -> LocalBoxFuture<'static, ()>;

    /// Writes `bytes` bytes to one blob of the application's own storage.
    fn write_blob(&self, bytes: u64) -> LocalBoxFuture<'static, ()>;
}

/// What an activity is given besides its input.
#[derive(Clone)]
pub struct ActivityContext {
    environment: Rc<dyn ActivityEnvironment>,
    call_key: u64,
}

impl ActivityContext {
    /// The context of the call `task` on `environment`.
    pub fn new(environment: Rc<dyn ActivityEnvironment>, task: &TaskMessage) -> Self {
        ActivityContext { environment, call_key: call_key(task) }
    }

    /// A number that names the call: the same for every attempt at it and on every engine, another
    /// one for every other call. Code that needs chance seeds its generator with it.
    pub fn call_key(&self) -> u64 {
        self.call_key
    }

    /// Occupies a core of the host for `work` of core time.
    pub fn compute(&self, work: Duration) -> LocalBoxFuture<'static, ()> {
        self.environment.compute(work)
    }

    /// Waits for something outside the testbed for `span`; no core is used.
    pub fn wait(&self, span: Duration) -> LocalBoxFuture<'static, ()> {
        self.environment.wait(span)
    }

    /// Reads `bytes` bytes of one blob of the application's own storage.
    pub fn read_blob(&self, bytes: u64) -> LocalBoxFuture<'static, ()> {
        self.environment.read_blob(bytes)
    }

    /// Writes `bytes` bytes to one blob of the application's own storage.
    pub fn write_blob(&self, bytes: u64) -> LocalBoxFuture<'static, ()> {
        self.environment.write_blob(bytes)
    }
}

/// The 64-bit FNV-1a hash (Fowler, Noll, Vo) of the caller and the number of its decision.
fn call_key(task: &TaskMessage) -> u64 {
    let number = task.event_id.to_le_bytes();
    let bytes = task.caller.as_str().bytes().chain([0]).chain(number);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The running code of an orchestration or activity.
pub type Running = LocalBoxFuture<'static, ApplicationResult>;

type Orchestrator = Rc<dyn Fn(OrchestrationContext, Payload) -> Running>;
type Activity = Rc<dyn Fn(ActivityContext, Payload) -> Running>;

/// A stateful serverless application: its orchestrations, entities and activities.
///
/// ```
/// use sim_model::application::{ActivityContext, Application};
/// use sim_model::orchestration::OrchestrationContext;
///
/// let mut app = Application::new();
/// app.activity("SayHello", |_: ActivityContext, city: String| async move {
///     Ok(format!("Hello {city}!"))
/// });
/// app.orchestration("Greet", |ctx: OrchestrationContext, cities: Vec<String>| async move {
///     let mut greetings: Vec<String> = Vec::new();
///     for city in cities {
///         greetings.push(ctx.call_activity("SayHello", &city).await?);
///     }
///     Ok(greetings)
/// });
/// app.entity::<i64>("Counter").operation("Add", |_, count: &mut i64, amount: i64| {
///     *count += amount;
///     Ok(*count)
/// });
/// assert!(app.has_orchestration("Greet"));
/// ```
#[derive(Default)]
pub struct Application {
    orchestrations: BTreeMap<Arc<str>, Orchestrator>,
    entities: BTreeMap<Arc<str>, Rc<dyn EntityCode>>,
    activities: BTreeMap<Arc<str>, Activity>,
    workflows: BTreeMap<Arc<str>, Workflow>,
}

impl Application {
    /// An application without code.
    pub fn new() -> Self {
        Application::default()
    }

    /// Registers an orchestration.
    ///
    /// # Panics
    /// If the name is taken: two meanings for one name would make histories ambiguous.
    pub fn orchestration<I, O, F, Fut>(&mut self, name: &str, code: F)
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(OrchestrationContext, I) -> Fut + 'static,
        Fut: Future<Output = Result<O, ApplicationError>> + 'static,
    {
        let code: Orchestrator = Rc::new(move |context, input| match input.decode::<I>() {
            Ok(input) => encode_result(code(context, input)),
            Err(error) => Box::pin(async move { Err(error) }),
        });
        let previous = self.orchestrations.insert(name.into(), code);
        assert!(previous.is_none(), "orchestration {name:?} is registered twice");
    }

    /// Registers an entity with this state; its operations are added to what is returned.
    ///
    /// # Panics
    /// If the name is taken, is empty, or contains `@`.
    pub fn entity<S>(&mut self, name: &str) -> EntityBuilder<S>
    where
        S: Default + Serialize + DeserializeOwned + 'static,
    {
        assert!(!name.is_empty() && !name.contains('@'), "an entity cannot be named {name:?}");
        let builder = EntityBuilder::new(name);
        let previous = self.entities.insert(name.into(), builder.code());
        assert!(previous.is_none(), "entity {name:?} is registered twice");
        builder
    }

    /// Registers an activity.
    ///
    /// # Panics
    /// If the name is taken.
    pub fn activity<I, O, F, Fut>(&mut self, name: &str, code: F)
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(ActivityContext, I) -> Fut + 'static,
        Fut: Future<Output = Result<O, ApplicationError>> + 'static,
    {
        let code: Activity = Rc::new(move |context, input| match input.decode::<I>() {
            Ok(input) => encode_result(code(context, input)),
            Err(error) => Box::pin(async move { Err(error) }),
        });
        let previous = self.activities.insert(name.into(), code);
        assert!(previous.is_none(), "activity {name:?} is registered twice");
    }

    /// Registers a workflow, and the orchestration of this name that carries it out on an engine
    /// which has no form of its own for it.
    ///
    /// # Panics
    /// If the name is taken, or the workflow cannot be carried out: [`Workflow::validate`] says so
    /// as an error.
    pub fn workflow(&mut self, name: &str, workflow: Workflow) {
        if let Err(error) = workflow.validate() {
            panic!("workflow {name:?} cannot be registered: {error}");
        }
        let code = workflow.clone();
        let code: Orchestrator = Rc::new(move |context, input| code.run(context, input));
        let previous = self.orchestrations.insert(name.into(), code);
        assert!(previous.is_none(), "orchestration {name:?} is registered twice");
        self.workflows.insert(name.into(), workflow);
    }

    /// The workflow that is registered as data under this name.
    pub fn workflow_named(&self, name: &str) -> Option<&Workflow> {
        self.workflows.get(name)
    }

    /// The first orchestration, by name, that is code and not a workflow given as data.
    pub fn first_orchestration_as_code(&self) -> Option<&str> {
        let mut names = self.orchestrations.keys();
        names.find(|name| !self.workflows.contains_key(*name)).map(|name| &**name)
    }

    /// Whether an orchestration has this name.
    pub fn has_orchestration(&self, name: &str) -> bool {
        self.orchestrations.contains_key(name)
    }

    /// The code of an entity.
    pub(crate) fn entity_code(&self, name: &str) -> Option<&Rc<dyn EntityCode>> {
        self.entities.get(name)
    }

    /// Starts the code of an orchestration; an unknown name is a failed orchestration.
    pub(crate) fn run_orchestration(
        &self,
        name: &str,
        context: OrchestrationContext,
        input: Payload,
    ) -> Running {
        match self.orchestrations.get(name) {
            Some(code) => code(context, input),
            None => failed(ApplicationError::unknown_function("orchestration", name)),
        }
    }

    /// Starts the code of an activity; an unknown name is a failed activity.
    pub fn run_activity(&self, name: &str, context: ActivityContext, input: Payload) -> Running {
        match self.activities.get(name) {
            Some(code) => code(context, input),
            None => failed(ApplicationError::unknown_function("activity", name)),
        }
    }
}

fn failed(error: ApplicationError) -> Running {
    Box::pin(async move { Err(error) })
}

fn encode_result<O: Serialize>(
    code: impl Future<Output = Result<O, ApplicationError>> + 'static,
) -> Running {
    Box::pin(async move { code.await.and_then(|value| Payload::encode(&value)) })
}
