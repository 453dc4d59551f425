//! Permits that are handed out fairly.

use super::line::Line;
use crate::kernel::Kernel;
use crate::kernel::standstill::Stepper;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

struct SemaphoreState {
    kernel: Kernel,
    line: RefCell<Line<()>>,
    permits: Cell<usize>,
}

/// Hands out a number of permits; clones are the same semaphore.
#[derive(Clone)]
pub struct Semaphore(Rc<SemaphoreState>);

/// A permit of a [`Semaphore`]; dropping it gives it to the next task in line.
#[must_use = "a permit is returned when it is dropped"]
pub struct Permit(Semaphore);

impl Semaphore {
    pub(in crate::kernel) fn new(kernel: &Kernel, permits: usize) -> Self {
        Semaphore(Rc::new(SemaphoreState {
            kernel: kernel.clone(),
            line: RefCell::new(Line::new()),
            permits: Cell::new(permits),
        }))
    }

    /// Waits for a permit.
    pub fn acquire(&self) -> Acquire {
        Acquire { semaphore: self.clone(), place: None }
    }

    /// A permit, if one is free; tasks that wait come first.
    pub fn try_acquire(&self) -> Option<Permit> {
        let free = self.0.permits.get();
        if free == 0 {
            return None;
        }
        debug_assert_eq!(self.waiting(), 0, "a permit is free only when nobody waits");
        self.0.permits.set(free - 1);
        Some(Permit(self.clone()))
    }

    /// Number of free permits.
    pub fn available(&self) -> usize {
        self.0.permits.get()
    }

    /// Number of tasks that wait for a permit.
    pub fn waiting(&self) -> usize {
        self.0.line.borrow().waiting()
    }

    fn release(&self) {
        let served = self.0.line.borrow_mut().serve(());
        match served {
            Ok(waker) => self.0.kernel.wake(waker),
            Err(()) => self.0.permits.set(self.0.permits.get() + 1),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The future of [`Semaphore::acquire`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Acquire {
    semaphore: Semaphore,
    place: Option<usize>,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let semaphore = self.semaphore.clone();
        if semaphore.0.kernel.is_at_standstill(Stepper::Task) {
            return Poll::Pending;
        }
        let Some(place) = self.place else {
            if let Some(permit) = semaphore.try_acquire() {
                return Poll::Ready(permit);
            }
            self.place = Some(semaphore.0.line.borrow_mut().join(context.waker().clone()));
            return Poll::Pending;
        };
        let served = semaphore.0.line.borrow_mut().poll(place, context.waker());
        served.map(|()| {
            self.place = None;
            Permit(semaphore)
        })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let unused = self.semaphore.0.line.borrow_mut().leave(place);
        if unused.is_some() {
            self.semaphore.release();
        }
    }
}
