//! Sleeping tasks: exact, cancellable, and outside of the executor's own timers.

use super::standstill::Stepper;
use super::{DeviceId, EventId, Kernel};
use sim_model::time::Timestamp;
use slab::Slab;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// The wakers of sleeping tasks; an event of the clock names its slot by its token.
pub(super) struct Timers {
    wakers: Slab<Waker>,
}

impl Timers {
    pub(super) fn new() -> Self {
        Timers { wakers: Slab::new() }
    }

    /// The clock fired: hands out the waker and frees the slot.
    pub(super) fn expire(&mut self, token: u64) -> Waker {
        self.wakers.remove(token as usize)
    }
}

/// Waits for an instant of virtual time; see [`Kernel::sleep`]. Dropping it cancels it.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    kernel: Kernel,
    deadline: Timestamp,
    /// The event that will wake the task, and the slot that holds its waker.
    armed: Option<(EventId, usize)>,
}

impl Sleep {
    pub(super) fn new(kernel: Kernel, deadline: Timestamp) -> Self {
        Sleep { kernel, deadline, armed: None }
    }

    /// The instant at which the sleep ends.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    fn arm(&mut self, waker: &Waker) {
        let inner = &self.kernel.0;
        let slot = inner.timers.borrow_mut().wakers.insert(waker.clone());
        let event = self.kernel.schedule(self.deadline, DeviceId::CLOCK, slot as u64);
        self.armed = Some((event, slot));
    }

    /// The slot is free already if the event has fired.
    fn disarm(&mut self) {
        if let Some((event, slot)) = self.armed.take()
            && self.kernel.cancel(event)
        {
            let waker = self.kernel.0.timers.borrow_mut().wakers.remove(slot);
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.kernel.is_at_standstill(Stepper::Task) {
            return Poll::Pending;
        }
        if self.kernel.now() >= self.deadline {
            self.disarm();
            return Poll::Ready(());
        }
        match self.armed {
            None => self.arm(context.waker()),
            Some((_, slot)) => {
                let mut timers = self.kernel.0.timers.borrow_mut();
                timers.wakers[slot].clone_from(context.waker());
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// Whichever comes first: the future's output, or the end of the sleep.
pub(super) async fn timeout<F: Future>(sleep: Sleep, future: F) -> Option<F::Output> {
    let mut sleep = pin!(sleep);
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}
