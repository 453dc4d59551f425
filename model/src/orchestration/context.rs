//! What orchestration code sees: its context.

use super::calls::{Call, ContinueAsNew, EventWait};
use super::decision::Decision;
use super::retry::RetryPolicy;
use super::section::{Lock, Section};
use super::shared::Shared;
use crate::entity::{Caller, EntityRequest, Operation, RequestKind, SectionId};
use crate::error::ApplicationError;
use crate::history::RaisedEvent;
use crate::id::{EntityId, InstanceId};
use crate::payload::Payload;
use crate::time::Timestamp;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::future::ready;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The handle through which an orchestration's code acts on the world.
///
/// Code must be deterministic: it may use what its inputs, answers and this context give it, and
/// nothing else. It may await what this context gives it, and combinations of that.
#[derive(Clone)]
pub struct OrchestrationContext {
    shared: Rc<RefCell<Shared>>,
}

impl OrchestrationContext {
    pub(super) fn new(shared: Rc<RefCell<Shared>>) -> Self {
        OrchestrationContext { shared }
    }

    /// The instance that runs.
    pub fn instance_id(&self) -> InstanceId {
        self.shared.borrow().instance.clone()
    }

    /// The time of the current episode, the same on every replay.
    pub fn now(&self) -> Timestamp {
        self.shared.borrow().now
    }

    /// Whether the code is running again what it has decided before. For logging only.
    pub fn is_replaying(&self) -> bool {
        self.shared.borrow().replaying
    }

    fn call<O: DeserializeOwned>(&self, decision: Result<Decision, ApplicationError>) -> Call<O> {
        match decision {
            Err(error) => Call::failed(error),
            Ok(decision) => {
                let event_id = self.shared.borrow_mut().call(decision);
                Call::of(event_id, self.shared.clone())
            }
        }
    }

    /// The code broke a rule: its orchestration fails, and what it awaits never comes.
    fn broken<O>(&self, problem: String) -> Call<O> {
        self.shared.borrow_mut().break_rule(problem);
        Call::never()
    }

    /// Calls the activity registered as `name`; await the call for its result. Calls run side by
    /// side from the moment they are made.
    pub fn call_activity<O: DeserializeOwned>(
        &self,
        name: &str,
        input: &impl Serialize,
    ) -> Call<O> {
        let input = Payload::encode(input);
        self.call(input.map(|input| Decision::CallActivity { name: name.into(), input }))
    }

    /// [`OrchestrationContext::call_activity`] with an input that is encoded already; so is the
    /// result, as the activity has encoded it.
    pub fn call_activity_encoded(&self, name: &str, input: Payload) -> Call<Payload> {
        let decision = Decision::CallActivity { name: name.into(), input };
        let event_id = self.shared.borrow_mut().call(decision);
        Call::encoded(event_id, self.shared.clone())
    }

    /// [`OrchestrationContext::call_activity`], again and again as `policy` says. The first call runs
    /// from the moment it is made; another one is made while this is awaited.
    pub fn call_activity_with_retry<O: DeserializeOwned + 'static>(
        &self,
        name: &str,
        input: &impl Serialize,
        policy: RetryPolicy,
    ) -> LocalBoxFuture<'static, Result<O, ApplicationError>> {
        let (context, name) = (self.clone(), Arc::<str>::from(name));
        let input = match Payload::encode(input) {
            Ok(input) => input,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        Box::pin(policy.run(self.clone(), move || {
            let (name, input) = (name.clone(), input.clone());
            context.call::<O>(Ok(Decision::CallActivity { name, input }))
        }))
    }

    /// Calls the orchestration registered as `name` and waits for its end. Its key is that of this
    /// instance and the number of the call.
    pub fn call_sub_orchestration<O: DeserializeOwned>(
        &self,
        name: &str,
        input: &impl Serialize,
    ) -> Call<O> {
        self.call_child(name, self.child(), Payload::encode(input))
    }

    /// The key of the orchestration that is called next.
    fn child(&self) -> InstanceId {
        let shared = self.shared.borrow();
        InstanceId::new(format!("{}:{:x}", shared.instance, shared.next_event_id))
    }

    /// [`OrchestrationContext::call_sub_orchestration`], with a key of its own.
    pub fn call_sub_orchestration_as<O: DeserializeOwned>(
        &self,
        name: &str,
        instance: InstanceId,
        input: &impl Serialize,
    ) -> Call<O> {
        self.call_child(name, instance, Payload::encode(input))
    }

    fn call_child<O: DeserializeOwned>(
        &self,
        name: &str,
        instance: InstanceId,
        input: Result<Payload, ApplicationError>,
    ) -> Call<O> {
        let in_section = self.in_section();
        if in_section {
            let problem = format!("orchestration {name:?} was called inside a critical section");
            return self.broken(problem);
        }
        if let Err(error) = refuse_entity_key(&instance) {
            return Call::failed(error);
        }
        let decision = input.map(|input| Decision::StartOrchestration {
            instance,
            name: name.into(),
            input,
            fire_and_forget: false,
        });
        self.call(decision)
    }

    /// [`OrchestrationContext::call_sub_orchestration`], again and again as `policy` says. Each
    /// attempt is another instance.
    pub fn call_sub_orchestration_with_retry<O: DeserializeOwned + 'static>(
        &self,
        name: &str,
        input: &impl Serialize,
        policy: RetryPolicy,
    ) -> LocalBoxFuture<'static, Result<O, ApplicationError>> {
        let (context, name) = (self.clone(), name.to_owned());
        let input = match Payload::encode(input) {
            Ok(input) => input,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let call = move || context.call_child::<O>(&name, context.child(), Ok(input.clone()));
        Box::pin(policy.run(self.clone(), call))
    }

    /// Starts the orchestration registered as `name` under the key `instance` and does not wait
    /// for it.
    ///
    /// # Errors
    /// If the input has no JSON form, or the key is one of an entity.
    pub fn start_orchestration(
        &self,
        name: &str,
        instance: InstanceId,
        input: &impl Serialize,
    ) -> Result<(), ApplicationError> {
        refuse_entity_key(&instance)?;
        let (name, input) = (name.into(), Payload::encode(input)?);
        let decision =
            Decision::StartOrchestration { instance, name, input, fire_and_forget: true };
        self.shared.borrow_mut().decide(decision);
        Ok(())
    }

    /// Waits until an instant. A timer whose instant has passed fires at once.
    pub fn create_timer(&self, fire_at: Timestamp) -> Call<()> {
        self.call(Ok(Decision::CreateTimer { fire_at }))
    }

    /// Waits for a span from now.
    pub fn sleep(&self, span: Duration) -> Call<()> {
        self.create_timer(self.now() + span)
    }

    /// Waits for an external event of this name. An event that came before is taken at once.
    pub fn wait_for_event<O: DeserializeOwned>(&self, name: &str) -> EventWait<O> {
        let id = self.shared.borrow_mut().begin_wait(name);
        EventWait { shared: self.shared.clone(), id: Some(id), output: PhantomData }
    }

    /// Sends an external event to another orchestration and does not wait for it.
    ///
    /// # Errors
    /// If the input has no JSON form, or the target is an entity.
    pub fn raise_event(
        &self,
        target: &InstanceId,
        name: &str,
        input: &impl Serialize,
    ) -> Result<(), ApplicationError> {
        refuse_entity_key(target)?;
        let event = RaisedEvent::External { name: name.into(), input: Payload::encode(input)? };
        self.shared.borrow_mut().decide(Decision::SendEvent { target: target.clone(), event });
        Ok(())
    }

    /// Sends an operation to an entity and does not wait for it.
    ///
    /// # Errors
    /// If the input has no JSON form.
    pub fn signal_entity(
        &self,
        target: &EntityId,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<(), ApplicationError> {
        self.signal(target, None, operation, input)
    }

    /// [`OrchestrationContext::signal_entity`], to be run at an instant, not before.
    ///
    /// # Errors
    /// If the input has no JSON form.
    pub fn signal_entity_at(
        &self,
        target: &EntityId,
        at: Timestamp,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<(), ApplicationError> {
        self.signal(target, Some(at), operation, input)
    }

    fn signal(
        &self,
        target: &EntityId,
        scheduled: Option<Timestamp>,
        operation: &str,
        input: &impl Serialize,
    ) -> Result<(), ApplicationError> {
        let input = Payload::encode(input)?;
        let mut shared = self.shared.borrow_mut();
        let section = shared.section.as_ref().filter(|section| section.is_entered());
        if let Some(problem) = section.and_then(|section| section.refuses_signal(target)) {
            shared.break_rule(problem);
            return Ok(());
        }
        let operation = operation.into();
        let operation =
            Operation { name: operation, input, caller: None, section: None, scheduled };
        shared.decide(request(target, RequestKind::Operation(operation)));
        Ok(())
    }

    /// Calls an operation of an entity; await the call for its result.
    pub fn call_entity<O: DeserializeOwned>(
        &self,
        target: &EntityId,
        operation: &str,
        input: &impl Serialize,
    ) -> Call<O> {
        let input = match Payload::encode(input) {
            Ok(input) => input,
            Err(error) => return Call::failed(error),
        };
        let mut shared = self.shared.borrow_mut();
        let section = shared.section.as_ref().filter(|section| section.is_entered());
        let inside = section.map(|section| section.id.clone());
        if let Some(problem) = section.and_then(|section| section.refuses_call(target)) {
            drop(shared);
            return self.broken(problem);
        }
        let event_id = shared.next_event_id;
        let operation = Operation {
            name: operation.into(),
            input,
            caller: Some(Caller { instance: shared.instance.clone(), event_id }),
            section: inside,
            scheduled: None,
        };
        shared.call(request(target, RequestKind::Operation(operation)));
        if let Some(section) = shared.section.as_mut().filter(|section| section.is_entered()) {
            section.called(event_id, target.clone());
        }
        Call::of(event_id, self.shared.clone())
    }

    /// Enters a critical section: await it for the guard that holds locks on all `entities` until
    /// it is dropped. Locks are taken in the order of the entities' identities.
    pub fn lock(&self, entities: &[EntityId]) -> Lock {
        let mut sorted = entities.to_vec();
        sorted.sort();
        sorted.dedup();
        let mut shared = self.shared.borrow_mut();
        let problem = if shared.section.is_some() {
            Some("a critical section was entered inside another one")
        } else if sorted.is_empty() {
            Some("a critical section was entered without entities to lock")
        } else {
            None
        };
        if let Some(problem) = problem {
            shared.break_rule(problem);
            return Lock { shared: self.shared.clone(), number: None, granted: Call::never() };
        }
        let event_id = shared.next_event_id;
        let section = Section::new(SectionId { owner: shared.instance.clone(), event_id }, sorted);
        let (target, event) = section.request();
        shared.call(Decision::SendEvent { target, event });
        shared.section = Some(section);
        let granted = Call::of(event_id, self.shared.clone());
        Lock { shared: self.shared.clone(), number: Some(event_id), granted }
    }

    fn in_section(&self) -> bool {
        self.shared.borrow().section.as_ref().is_some_and(Section::is_entered)
    }

    /// Ends this execution and begins another one with `input`: the history starts afresh, and
    /// external events that were not taken are carried over, and so is the custom status. Await it;
    /// it does not come back.
    pub fn continue_as_new<O>(&self, input: &impl Serialize) -> ContinueAsNew<O> {
        let input = Some(Payload::encode(input));
        ContinueAsNew { shared: self.shared.clone(), input, output: PhantomData }
    }

    /// Sets what whoever looks at the status of this orchestration is shown.
    ///
    /// # Errors
    /// If the value has no JSON form.
    pub fn set_custom_status(&self, value: &impl Serialize) -> Result<(), ApplicationError> {
        let value = Payload::encode(value)?;
        self.shared.borrow_mut().custom_status = Some(value);
        Ok(())
    }
}

fn request(target: &EntityId, kind: RequestKind) -> Decision {
    let event = RaisedEvent::Request(Box::new(EntityRequest::unordered(kind)));
    Decision::SendEvent { target: target.instance_id(), event }
}

fn refuse_entity_key(instance: &InstanceId) -> Result<(), ApplicationError> {
    if instance.is_entity() {
        let problem = format!("an orchestration cannot be named like an entity: {instance}");
        return Err(ApplicationError::misuse(problem));
    }
    Ok(())
}
