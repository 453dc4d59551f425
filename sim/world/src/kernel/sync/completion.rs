//! A result that is awaited once: the reply to a request.

use crate::kernel::Kernel;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

struct CompletionState<T> {
    kernel: Kernel,
    value: RefCell<Slot<T>>,
}

enum Slot<T> {
    /// Not resolved; the waker of a task that has polled.
    Empty(Option<Waker>),
    Full(T),
    Taken,
}

/// Gives a [`Completion`] its value.
#[must_use = "dropping a resolver leaves its completion pending for ever"]
pub struct Resolver<T>(Rc<CompletionState<T>>);

/// Waits for the value of a [`Resolver`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Completion<T>(Rc<CompletionState<T>>);

pub(in crate::kernel) fn completion<T>(kernel: &Kernel) -> (Resolver<T>, Completion<T>) {
    let value = RefCell::new(Slot::Empty(None));
    let state = Rc::new(CompletionState { kernel: kernel.clone(), value });
    (Resolver(state.clone()), Completion(state))
}

impl<T> Resolver<T> {
    /// Hands the value over and wakes the waiting task. Nothing happens, but that the value is
    /// dropped, if nobody waits any more.
    pub fn resolve(self, value: T) {
        if self.is_abandoned() {
            return;
        }
        let before = self.0.value.replace(Slot::Full(value));
        match before {
            Slot::Empty(Some(waker)) => self.0.kernel.wake(waker),
            Slot::Empty(None) => {}
            Slot::Full(_) | Slot::Taken => unreachable!("a resolver resolves once"),
        }
    }

    /// Whether the completion was dropped, so that the value will not be seen.
    pub fn is_abandoned(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

impl<T> Completion<T> {
    /// Whether the value is there.
    pub fn is_resolved(&self) -> bool {
        matches!(*self.0.value.borrow(), Slot::Full(_))
    }
}

impl<T> Future for Completion<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.value.borrow_mut();
        match &mut *slot {
            Slot::Empty(Some(waker)) => waker.clone_from(context.waker()),
            Slot::Empty(waker) => *waker = Some(context.waker().clone()),
            Slot::Full(_) => {
                if let Slot::Full(value) = std::mem::replace(&mut *slot, Slot::Taken) {
                    return Poll::Ready(value);
                }
            }
            Slot::Taken => panic!("a completion was polled after it completed"),
        }
        Poll::Pending
    }
}
