//! The pump: whenever no task is ready, go to the next instant and fire its events.
//!
//! The executor tells that it is idle in one way only: it moves its own clock to the earliest
//! of its timers and calls that timer's waker. So the pump keeps a few timers there, each an
//! hour after the one before, whose waker is not a task's but the pump itself: it fires the
//! events of our heap right there, without a turn through the ready queue (which would cost as
//! much again as the polls of the tasks it wakes). The executor's clock has no other meaning
//! for us, and polls move it by at most 100 ns each: an idle timer is reached by polls alone
//! only after 3.6e10 of them without one idle moment.
//!
//! The executor holds a lock on its timers during the call, so new ones cannot be set there. A
//! task sets them a batch at a time; it is woken by the last of each batch, and runs before
//! the executor can be idle again.

use super::heap::HeapEvent;
use super::standstill::Stepper;
use super::{DeviceId, Inner, Kernel, KernelError, Kind, NodeId};
use madsim::time::TimeHandle;
use send_wrapper::SendWrapper;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Time of the executor's own clock between two idle timers.
const IDLE_TIMER_SPACING: Duration = Duration::from_secs(3600);
/// Idle timers set at a time.
const IDLE_TIMERS: u32 = 64;

/// What the idle timers and the task that sets them share.
pub(super) struct Pump {
    /// Weak: the executor's timers belong to what the kernel holds.
    kernel: Weak<Inner>,
    /// Idle timers that have been set and have not fired.
    timers_left: Cell<u32>,
    /// The task that sets the next batch.
    refill: RefCell<Option<Waker>>,
}

impl Pump {
    /// Starts pumping once the executor is idle for the first time.
    pub(super) fn start(kernel: &Kernel) {
        let pump = Rc::new(Pump {
            kernel: Rc::downgrade(&kernel.0),
            timers_left: Cell::new(0),
            refill: RefCell::new(None),
        });
        kernel.spawn(NodeId::WORLD, pump.keep_timers_set());
    }

    async fn keep_timers_set(self: Rc<Self>) {
        let executor_time = TimeHandle::current();
        let waker = Waker::from(Arc::new(IdleWaker(SendWrapper::new(self.clone()))));
        std::future::poll_fn(|context| {
            *self.refill.borrow_mut() = Some(context.waker().clone());
            if self.timers_left.get() == 0 {
                set_idle_timers(&executor_time, &waker);
                self.timers_left.set(IDLE_TIMERS);
            }
            Poll::Pending
        })
        .await
    }

    /// The executor is idle, and one of the idle timers is used up.
    fn on_idle(&self) {
        let left = self.timers_left.get().checked_sub(1);
        self.timers_left.set(left.expect("invariant: every idle timer was counted"));
        if left == Some(0) {
            let refill = self.refill.borrow_mut().take();
            refill.expect("invariant: the task leaves its waker when it sets timers").wake();
        }
        let kernel = Kernel(self.kernel.upgrade().expect("invariant: the kernel outlives its run"));
        if let Err(failure) = kernel.run_until_woken() {
            kernel.fail(failure);
        }
    }
}

/// A timer of the executor stays set when the future that set it is reset, or gone.
fn set_idle_timers(executor_time: &TimeHandle, waker: &Waker) {
    let mut context = Context::from_waker(waker);
    let mut deadline = executor_time.now_instant();
    let mut timer = pin!(executor_time.sleep(IDLE_TIMER_SPACING));
    for _ in 0..IDLE_TIMERS {
        deadline += IDLE_TIMER_SPACING;
        timer.as_mut().reset(deadline);
        assert!(timer.as_mut().poll(&mut context).is_pending(), "an idle timer is in the future");
    }
}

/// The waker of the idle timers. It never leaves the run's thread.
struct IdleWaker(SendWrapper<Rc<Pump>>);

impl Wake for IdleWaker {
    fn wake(self: Arc<Self>) {
        self.0.on_idle();
    }
}

impl Kernel {
    /// Fires events, one instant after another, until a task is ready.
    fn run_until_woken(&self) -> Result<(), KernelError> {
        loop {
            let next = self.0.events.borrow_mut().next_time();
            let Some(instant) = next else {
                return Err(KernelError::Stuck { at: self.now() });
            };
            if instant > self.0.time_limit {
                return Err(KernelError::TimeLimit { limit: self.0.time_limit });
            }
            assert!(instant >= self.now(), "virtual time never goes back");
            self.0.now.set(instant);
            self.0.standstill.time_moves_to(instant);
            self.0.woke.set(false);
            self.0.firing.set(true);
            loop {
                let event = self.0.events.borrow_mut().pop_at(instant);
                let Some(event) = event else { break };
                if self.is_at_standstill(Stepper::Device(event.device)) {
                    break;
                }
                self.fire(event);
            }
            self.0.firing.set(false);
            if self.0.woke.get() {
                return Ok(());
            }
        }
    }

    fn fire(&self, event: HeapEvent) {
        if event.device == DeviceId::CLOCK {
            self.record(event.device, Kind::FIRE, 0);
            let waker = self.0.timers.borrow_mut().expire(event.token);
            self.wake(waker);
            return;
        }
        let device =
            self.0.devices.borrow()[event.device.0 as usize].as_ref().and_then(Weak::upgrade);
        if let Some(device) = device {
            self.record(event.device, Kind::FIRE, 0);
            device.fire(event.token);
        }
    }
}
