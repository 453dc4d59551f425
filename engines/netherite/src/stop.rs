//! A signal that ends tasks: given once, seen by all.

use futures_util::future::{Either, select};
use sim_world::kernel::{Kernel, Notify};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;

/// Whether something is to end.
pub(crate) struct Stop {
    stopped: Cell<bool>,
    changed: Notify,
}

impl Stop {
    pub(crate) fn new(kernel: &Kernel) -> Stop {
        Stop { stopped: Cell::new(false), changed: kernel.notify() }
    }

    /// Gives the signal.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        self.changed.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Waits for the signal.
    pub(crate) async fn stopped(&self) {
        let changed = self.changed.notified();
        if !self.stopped.get() {
            changed.await;
        }
    }

    /// Runs `future` until the signal is given: `None` if it was not complete by then.
    pub(crate) async fn unless<F: Future>(&self, future: F) -> Option<F::Output> {
        match select(pin!(self.stopped()), pin!(future)).await {
            Either::Left(_) => None,
            Either::Right((output, _)) => Some(output),
        }
    }
}
