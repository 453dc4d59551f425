//! The futures that an orchestration's code awaits.

use super::shared::Shared;
use crate::error::ApplicationError;
use crate::history::EventId;
use crate::payload::Payload;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Makes the result of a call out of what was answered.
type Decode<O> = fn(Payload) -> Result<O, ApplicationError>;

enum State<O> {
    Called {
        event_id: EventId,
        shared: Rc<RefCell<Shared>>,
        decode: Decode<O>,
    },
    Failed(ApplicationError),
    /// The code broke a rule: its orchestration fails, and this never resolves.
    Never,
    /// The result was taken.
    Taken(Option<Rc<RefCell<Shared>>>),
}

/// A call in progress (of an activity, an entity or an orchestration), or a timer; resolves to its
/// result.
///
/// A call that is dropped is not undone: what was called runs and its answer is ignored.
#[must_use = "what is called and never awaited loses its result"]
pub struct Call<O> {
    state: State<O>,
}

impl<O: DeserializeOwned> Call<O> {
    pub(super) fn of(event_id: EventId, shared: Rc<RefCell<Shared>>) -> Self {
        Call { state: State::Called { event_id, shared, decode: |answer| answer.decode() } }
    }
}

impl Call<Payload> {
    /// A call whose result stays encoded.
    pub(super) fn encoded(event_id: EventId, shared: Rc<RefCell<Shared>>) -> Self {
        Call { state: State::Called { event_id, shared, decode: Ok } }
    }
}

impl<O> Call<O> {
    pub(super) fn failed(error: ApplicationError) -> Self {
        Call { state: State::Failed(error) }
    }

    pub(super) fn never() -> Self {
        Call { state: State::Never }
    }
}

impl<O> Future for Call<O> {
    type Output = Result<O, ApplicationError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Never) {
            State::Failed(error) => {
                self.state = State::Taken(None);
                Poll::Ready(Err(error))
            }
            State::Taken(shared) => {
                if let Some(shared) = shared {
                    shared.borrow_mut().break_rule("a call was awaited again after its end");
                }
                Poll::Pending
            }
            State::Never => Poll::Pending,
            State::Called { event_id, shared, decode } => {
                let answer = shared.borrow_mut().poll_answer(event_id, cx.waker());
                let Some(result) = answer else {
                    self.state = State::Called { event_id, shared, decode };
                    return Poll::Pending;
                };
                self.state = State::Taken(Some(shared));
                Poll::Ready(result.and_then(decode))
            }
        }
    }
}

impl<O> Drop for Call<O> {
    fn drop(&mut self) {
        if let State::Called { event_id, shared, .. } = &self.state {
            shared.borrow_mut().forget_answer(*event_id);
        }
    }
}

/// Waiting for an external event; resolves to what the event carries.
///
/// Waits for one name are served in the order they were made. A wait that is dropped leaves its
/// event to the next.
#[must_use = "an event is received by awaiting it"]
pub struct EventWait<O> {
    pub(super) shared: Rc<RefCell<Shared>>,
    /// `None` once the event was taken.
    pub(super) id: Option<u64>,
    pub(super) output: PhantomData<fn() -> O>,
}

impl<O: DeserializeOwned> Future for EventWait<O> {
    type Output = Result<O, ApplicationError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(id) = self.id else {
            self.shared.borrow_mut().break_rule("an event was awaited again after it was received");
            return Poll::Pending;
        };
        let arrived = self.shared.borrow_mut().poll_wait(id, cx.waker());
        match arrived {
            None => Poll::Pending,
            Some(input) => {
                self.id = None;
                Poll::Ready(input.decode())
            }
        }
    }
}

impl<O> Drop for EventWait<O> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let next = self.shared.borrow_mut().end_wait(id);
            next.flatten().into_iter().for_each(Waker::wake);
        }
    }
}

/// The end of an execution that continues as new once this is awaited; does not resolve, unless the
/// input of the next execution has no JSON form.
#[must_use = "an orchestration continues as new when this is awaited"]
pub struct ContinueAsNew<O> {
    pub(super) shared: Rc<RefCell<Shared>>,
    /// `None` once it was awaited.
    pub(super) input: Option<Result<Payload, ApplicationError>>,
    pub(super) output: PhantomData<fn() -> O>,
}

impl<O> Future for ContinueAsNew<O> {
    type Output = Result<O, ApplicationError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        match self.input.take() {
            Some(Err(error)) => Poll::Ready(Err(error)),
            Some(Ok(input)) => {
                self.shared.borrow_mut().continue_with = Some(input);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}
