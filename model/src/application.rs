//! User code: orchestrations and activities, registered by name.
//!
//! User code is written as ordinary `async fn`s over typed values; registering it wraps it into a
//! form that takes and returns [`Payload`]s, which is all that engines see. Errors in user code are
//! results with a message, never faults: an engine does not retry them.

use crate::orchestration::OrchestrationContext;
use crate::payload::Payload;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What kind of error an orchestration or activity ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// User code returned it.
    User,
    /// A value could not be encoded or decoded.
    Data,
    /// No orchestration or activity has the name.
    UnknownFunction,
    /// The code decided something else than its history says.
    NonDeterminism,
}

/// An error of user code: a result with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationError {
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// What went wrong, for a person.
    pub message: Arc<str>,
}

/// What user code returns, encoded.
pub type ApplicationResult = Result<Payload, ApplicationError>;

impl ApplicationError {
    /// An error that user code returns.
    pub fn user(message: impl Into<Arc<str>>) -> Self {
        ApplicationError { kind: ErrorKind::User, message: message.into() }
    }

    /// A value that has no encoding or no decoding.
    pub fn data(message: impl Into<Arc<str>>) -> Self {
        ApplicationError { kind: ErrorKind::Data, message: message.into() }
    }

    /// A name that is not registered.
    pub fn unknown_function(what: &str, name: &str) -> Self {
        let message = format!("no {what} is registered as {name:?}").into();
        ApplicationError { kind: ErrorKind::UnknownFunction, message }
    }

    /// A replay that went another way than the history.
    pub fn non_determinism(message: impl Into<Arc<str>>) -> Self {
        ApplicationError { kind: ErrorKind::NonDeterminism, message: message.into() }
    }
}

impl fmt::Display for ApplicationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ErrorKind::User => "error",
            ErrorKind::Data => "data error",
            ErrorKind::UnknownFunction => "unknown function",
            ErrorKind::NonDeterminism => "non-determinism",
        };
        write!(f, "{kind}: {}", self.message)
    }
}

impl std::error::Error for ApplicationError {}

/// What an activity may use of the machine it runs on. Implemented by whoever runs activities.
pub trait ActivityEnvironment {
    /// Occupies a core of the host for `work` of core time.
    fn compute(&self, work: Duration) -> LocalBoxFuture<'static, ()>;

    /// Waits for something outside the testbed for `span` (a remote call, say); no core is used.
    fn wait(&self, span: Duration) -> LocalBoxFuture<'static, ()>;
}

/// What an activity is given besides its input.
#[derive(Clone)]
pub struct ActivityContext {
    environment: Rc<dyn ActivityEnvironment>,
}

impl ActivityContext {
    /// A context on `environment`.
    pub fn new(environment: Rc<dyn ActivityEnvironment>) -> Self {
        ActivityContext { environment }
    }

    /// Occupies a core of the host for `work` of core time.
    pub fn compute(&self, work: Duration) -> LocalBoxFuture<'static, ()> {
        self.environment.compute(work)
    }

    /// Waits for something outside the testbed for `span`; no core is used.
    pub fn wait(&self, span: Duration) -> LocalBoxFuture<'static, ()> {
        self.environment.wait(span)
    }
}

/// The running code of an orchestration or activity.
pub type Running = LocalBoxFuture<'static, ApplicationResult>;

type Orchestrator = Rc<dyn Fn(OrchestrationContext, Payload) -> Running>;
type Activity = Rc<dyn Fn(ActivityContext, Payload) -> Running>;

/// A stateful serverless application: its orchestrations and activities.
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
/// assert!(app.has_orchestration("Greet"));
/// ```
#[derive(Default)]
pub struct Application {
    orchestrations: BTreeMap<Arc<str>, Orchestrator>,
    activities: BTreeMap<Arc<str>, Activity>,
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

    /// Whether an orchestration has this name.
    pub fn has_orchestration(&self, name: &str) -> bool {
        self.orchestrations.contains_key(name)
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
