//! What orchestration code sees: its context and the futures it awaits.

use super::decision::Decision;
use crate::application::{ApplicationError, ApplicationResult};
use crate::history::EventId;
use crate::id::InstanceId;
use crate::payload::Payload;
use crate::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// An answer that user code waits for, or has not taken yet.
pub(super) enum Answer {
    /// Nobody answered; the waker of the code that awaits it, if any does.
    Open(Option<Waker>),
    /// Answered, and not taken by the code yet.
    Ready(ApplicationResult),
}

/// State shared between user code and the cursor that drives it.
pub(super) struct Shared {
    pub(super) instance: InstanceId,
    pub(super) now: Timestamp,
    pub(super) replaying: bool,
    pub(super) next_event_id: EventId,
    /// Decisions of the code that no history event has recorded yet, oldest first.
    pub(super) unrecorded: VecDeque<(EventId, Decision)>,
    pub(super) answers: BTreeMap<EventId, Answer>,
}

impl Shared {
    fn decide(&mut self, decision: Decision) -> EventId {
        let event_id = self.next_event_id;
        self.next_event_id += 1;
        self.unrecorded.push_back((event_id, decision));
        event_id
    }

    /// Delivers an answer, and returns the waker to wake once this state is no longer borrowed.
    /// `None` if the call was answered before: a duplicate.
    pub(super) fn answer(
        &mut self,
        event_id: EventId,
        result: ApplicationResult,
    ) -> Option<Option<Waker>> {
        match self.answers.get_mut(&event_id) {
            Some(answer @ Answer::Open(_)) => {
                match std::mem::replace(answer, Answer::Ready(result)) {
                    Answer::Open(waker) => Some(waker),
                    Answer::Ready(_) => unreachable!("the slot was seen to be open"),
                }
            }
            Some(Answer::Ready(_)) | None => None,
        }
    }
}

/// The handle through which an orchestration's code acts on the world.
///
/// Code must be deterministic: it may use what its inputs, answers and this context give it, and
/// nothing else.
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

    /// Calls the activity registered as `name`; await the call for its result. Calls run side by
    /// side from the moment they are made.
    pub fn call_activity<O: DeserializeOwned>(
        &self,
        name: &str,
        input: &impl Serialize,
    ) -> ActivityCall<O> {
        let state = match Payload::encode(input) {
            Err(error) => CallState::Failed(error),
            Ok(input) => {
                let mut shared = self.shared.borrow_mut();
                let event_id = shared.decide(Decision::CallActivity { name: name.into(), input });
                shared.answers.insert(event_id, Answer::Open(None));
                CallState::Called { event_id, shared: self.shared.clone() }
            }
        };
        ActivityCall { state, output: PhantomData }
    }

    /// Starts the orchestration registered as `name` under the key `instance` and does not wait
    /// for it.
    ///
    /// # Errors
    /// If the input has no JSON form.
    pub fn start_orchestration(
        &self,
        name: &str,
        instance: InstanceId,
        input: &impl Serialize,
    ) -> Result<(), ApplicationError> {
        let input = Payload::encode(input)?;
        let decision = Decision::StartOrchestration { instance, name: name.into(), input };
        self.shared.borrow_mut().decide(decision);
        Ok(())
    }
}

enum CallState {
    Called { event_id: EventId, shared: Rc<RefCell<Shared>> },
    Failed(ApplicationError),
    Taken,
}

/// A call of an activity in progress; resolves to its result.
///
/// A call that is dropped is not undone: the activity runs and its answer is ignored.
#[must_use = "an activity that is called and never awaited loses its result"]
pub struct ActivityCall<O> {
    state: CallState,
    output: PhantomData<fn() -> O>,
}

impl<O: DeserializeOwned> Future for ActivityCall<O> {
    type Output = Result<O, ApplicationError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, CallState::Taken) {
            CallState::Failed(error) => Poll::Ready(Err(error)),
            CallState::Taken => panic!("an activity call was polled after it had completed"),
            CallState::Called { event_id, shared } => {
                let mut state = shared.borrow_mut();
                let answer = state
                    .answers
                    .get_mut(&event_id)
                    .expect("invariant: an answer slot lives until its call takes it");
                if let Answer::Open(waker) = answer {
                    *waker = Some(cx.waker().clone());
                    drop(state);
                    self.state = CallState::Called { event_id, shared };
                    return Poll::Pending;
                }
                let Some(Answer::Ready(result)) = state.answers.remove(&event_id) else {
                    unreachable!("the slot was seen to be ready");
                };
                drop(state);
                Poll::Ready(result.and_then(|payload| payload.decode()))
            }
        }
    }
}
