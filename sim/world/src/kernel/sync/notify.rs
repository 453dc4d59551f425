//! A signal without a value, to one waiting task or to all.

use super::line::Line;
use crate::kernel::Kernel;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Whom a signal was for.
enum Signal {
    /// One task: if that cannot use it, the next.
    One,
    /// All tasks that waited, each.
    All,
}

struct NotifyState {
    kernel: Kernel,
    line: RefCell<Line<Signal>>,
    /// One stored signal of [`Notify::notify_one`].
    stored: Cell<bool>,
    /// Number of calls of [`Notify::notify_all`].
    broadcasts: Cell<u64>,
}

/// A signal without a value; clones are the same signal.
#[derive(Clone)]
pub struct Notify(Rc<NotifyState>);

impl Notify {
    pub(in crate::kernel) fn new(kernel: &Kernel) -> Self {
        Notify(Rc::new(NotifyState {
            kernel: kernel.clone(),
            line: RefCell::new(Line::new()),
            stored: Cell::new(false),
            broadcasts: Cell::new(0),
        }))
    }

    /// Wakes the task that has waited longest; if none waits, the next to wait passes at once.
    /// At most one such signal is stored.
    pub fn notify_one(&self) {
        let served = self.0.line.borrow_mut().serve(Signal::One);
        match served {
            Ok(waker) => self.0.kernel.wake(waker),
            Err(_) => self.0.stored.set(true),
        }
    }

    /// Wakes every task that waits, and those whose [`Notify::notified`] was called before.
    pub fn notify_all(&self) {
        self.0.broadcasts.set(self.0.broadcasts.get() + 1);
        loop {
            let served = self.0.line.borrow_mut().serve(Signal::All);
            let Ok(waker) = served else { return };
            self.0.kernel.wake(waker);
        }
    }

    /// Waits for a signal given after this call, or for the stored one.
    pub fn notified(&self) -> Notified {
        Notified { notify: self.clone(), place: None, broadcasts: self.0.broadcasts.get() }
    }
}

/// The future of [`Notify::notified`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Notified {
    notify: Notify,
    place: Option<usize>,
    /// Broadcasts before the wait began.
    broadcasts: u64,
}

impl Future for Notified {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let state = self.notify.0.clone();
        if let Some(place) = self.place {
            let served = state.line.borrow_mut().poll(place, context.waker());
            if served.is_ready() {
                self.place = None;
            }
            return served.map(|_| ());
        }
        if state.broadcasts.get() != self.broadcasts || state.stored.replace(false) {
            return Poll::Ready(());
        }
        self.place = Some(state.line.borrow_mut().join(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Notified {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let state = &self.notify.0;
        let unused = state.line.borrow_mut().leave(place);
        if let Some(Signal::One) = unused {
            self.notify.notify_one();
        }
    }
}
