//! What can be wrong with a host's cores and clock.
//!
//! **Cores.** Work takes as many times as long as all troubles together say: what waits, what is on a
//! core, and what comes. A noisy neighbour on the machine, or throttling by heat.
//!
//! **Clock.** A host has a clock of its own, which is virtual time unless a trouble puts it wrong: then
//! it is ahead by an offset, and gains a number of millionths of the time since the trouble began.
//! Clocks that are wrong by several troubles are wrong by their sum. A clock never shows an instant
//! before the start of the run. Timers are not set by the clock but count at its speed, as monotonic
//! clocks do: a step does not move them, a drift makes them short or long. A sleep takes its speed from
//! the moment at which it begins, and what a timer gained in a trouble that has ended is forgotten. The speed of cores is another quantity, and does not change.
//!
//! Source of both kinds of clocks: Linux, `clock_gettime(2)`, CLOCK_REALTIME and CLOCK_MONOTONIC.

use super::{Cores, Host, Inner, Job};
use crate::fault::TroubleId;
use crate::kernel::Sleep;
use sim_model::time::Timestamp;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// Parts in a million.
const MILLION: i128 = 1_000_000;

/// What is wrong with a host at present.
#[derive(Default)]
pub(super) struct Wrong {
    slowdowns: RefCell<BTreeMap<TroubleId, f64>>,
    clocks: RefCell<BTreeMap<TroubleId, WrongClock>>,
}

struct WrongClock {
    since: Timestamp,
    offset: i64,
    drift_ppm: i64,
}

impl Wrong {
    /// How many times as long work takes because of troubles.
    pub fn slowdown(&self) -> f64 {
        self.slowdowns.borrow().values().product()
    }
}

impl Host {
    /// What the host's own clock shows: virtual time, unless something is wrong with it.
    pub fn clock_now(&self) -> Timestamp {
        let now = self.0.kernel.now();
        let clocks = self.0.wrong.clocks.borrow();
        if clocks.is_empty() {
            return now;
        }
        let ahead: i128 = clocks.values().map(|clock| clock.ahead(now)).sum();
        let shown = (i128::from(now.as_nanos()) + ahead).clamp(0, i128::from(u64::MAX));
        Timestamp::from_nanos(shown as u64)
    }

    /// Waits until the host's own timer has counted `span`.
    pub fn sleep(&self, span: Duration) -> Sleep {
        self.0.kernel.sleep(self.time_for(span))
    }

    /// Runs `future` until the host's own timer has counted `span`, at most; see
    /// [`Kernel::timeout`](crate::kernel::Kernel::timeout).
    pub fn timeout<F: Future>(
        &self,
        span: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        self.0.kernel.timeout(self.time_for(span), future)
    }

    /// How much time passes while the host's own timer counts `span`; rounded up, so that whoever waits for
    /// the last nanosecond does not wait for none, over and over.
    pub fn time_for(&self, span: Duration) -> Duration {
        let clocks = self.0.wrong.clocks.borrow();
        let drift: i64 = clocks.values().map(|clock| clock.drift_ppm).sum();
        if drift == 0 {
            return span;
        }
        // Several troubles together cannot stop a clock.
        let speed = (MILLION + i128::from(drift)).max(1) as u128;
        let nanos = (span.as_nanos() * MILLION as u128).div_ceil(speed);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How much the host's own timer has counted since an instant of virtual time.
    pub fn counted_since(&self, instant: Timestamp) -> Duration {
        let now = self.0.kernel.now();
        let elapsed = now.since(instant);
        let clocks = self.0.wrong.clocks.borrow();
        let gained: i128 = clocks.values().map(|clock| clock.gained(instant, now)).sum();
        if gained == 0 {
            return elapsed;
        }
        let counted = (elapsed.as_nanos() as i128 + gained).clamp(0, i128::from(u64::MAX));
        Duration::from_nanos(counted as u64)
    }

    pub(crate) fn put_clock_wrong(&self, id: TroubleId, offset: i64, drift_ppm: i64) {
        let clock = WrongClock { since: self.0.kernel.now(), offset, drift_ppm };
        self.0.wrong.clocks.borrow_mut().insert(id, clock);
    }

    pub(crate) fn put_clock_right(&self, id: TroubleId) {
        self.0.wrong.clocks.borrow_mut().remove(&id);
    }

    pub(crate) fn slow_down(&self, id: TroubleId, slowdown: f64) {
        self.0.wrong.slowdowns.borrow_mut().insert(id, slowdown);
        self.0.stretch_work(slowdown);
    }

    pub(crate) fn speed_up(&self, id: TroubleId) {
        let slowdown = self.0.wrong.slowdowns.borrow_mut().remove(&id);
        if let Some(slowdown) = slowdown {
            self.0.stretch_work(1.0 / slowdown);
        }
    }
}

impl WrongClock {
    /// By how many nanoseconds it is ahead.
    fn ahead(&self, now: Timestamp) -> i128 {
        i128::from(self.offset) + self.gained(self.since, now)
    }

    /// How many nanoseconds its drift has gained since `instant`.
    fn gained(&self, instant: Timestamp, now: Timestamp) -> i128 {
        let elapsed = now.since(self.since.max(instant)).as_nanos() as i128;
        elapsed * i128::from(self.drift_ppm) / MILLION
    }
}

impl Inner {
    /// Lets what is still to be done take `factor` times as long.
    fn stretch_work(&self, factor: f64) {
        let was_paused = self.cores.borrow().paused;
        self.freeze();
        {
            let cores = &mut *self.cores.borrow_mut();
            let Cores { running, queue, .. } = cores;
            for slot in running.iter_mut().flatten() {
                stretch(&mut slot.job, factor);
                let quantum = self.spec.quantum.map_or(u64::MAX, sim_model::time::nanos);
                slot.slice = slot.job.remaining.min(quantum);
            }
            queue.iter_mut().for_each(|job| stretch(job, factor));
        }
        if !was_paused {
            self.thaw();
        }
    }
}

fn stretch(job: &mut Job, factor: f64) {
    let remaining = libm::rint(job.remaining as f64 * factor) as u64;
    // Work that was not done does not become done.
    let remaining = remaining.max(u64::from(job.remaining > 0));
    job.demand = job.demand - job.remaining + remaining;
    job.remaining = remaining;
}
