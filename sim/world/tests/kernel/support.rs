//! What the tests of the kernel share.

use sim_model::time::Timestamp;
use sim_world::kernel::{
    EventTrail, Kernel, KernelError, KernelOptions, on_fresh_thread, simulate,
};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

pub fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

pub fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// Runs a program on a fresh thread with seed 1.
pub fn run<T, F>(main: impl FnOnce(Kernel) -> F + Send) -> Result<(T, EventTrail), KernelError>
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    on_fresh_thread(|| simulate(KernelOptions::with_seed(1), main))
}

/// A program that must come to its end.
pub fn run_to_end<T, F>(main: impl FnOnce(Kernel) -> F + Send) -> T
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    run(main).expect("the program comes to its end").0
}

/// Collects what happened, in order.
pub struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Log(self.0.clone())
    }
}

impl<T> Log<T> {
    pub fn new() -> Self {
        Log(Rc::default())
    }

    pub fn push(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    pub fn take(&self) -> Vec<T> {
        self.0.take()
    }
}
