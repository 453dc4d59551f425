//! One run: the executor, the main task, and how it ends.

use super::heap::EventHeap;
use super::pump::Pump;
use super::standstill::{self, Standstill, Stepper};
use super::tasks::Nodes;
use super::timer::Timers;
use super::trail::{EventTrail, Trail};
use super::{DeviceId, Inner, Kernel, NodeId};
use madsim::Config;
use madsim::runtime::{Handle, Runtime};
use sim_model::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

/// What a run of the kernel depends on, besides its program.
#[derive(Clone, Debug)]
pub struct KernelOptions {
    /// Seeds the order in which ready tasks are polled.
    pub seed: u64,
    /// The end of virtual time: an event after it ends the run with an error.
    pub time_limit: Timestamp,
    /// The most that may happen within a millisecond of virtual time: one step more ends the run with an
    /// error. A step is a poll of a task, an event that fires, or an attempt to sleep, receive or acquire.
    pub standstill_limit: u64,
    /// Events between two marks of the event trail; see [`EventTrail::marks`].
    pub mark_interval: u64,
    /// Events, by their index, to keep in full; see [`EventTrail::window`].
    pub window: Option<Range<u64>>,
}

impl KernelOptions {
    /// Options with a time limit of a year, a limit of ten million steps, a mark every 4096 events, and no
    /// window.
    pub fn with_seed(seed: u64) -> Self {
        KernelOptions {
            seed,
            time_limit: Timestamp::from_secs(365 * 24 * 3600),
            standstill_limit: standstill::LIMIT_DEFAULT,
            mark_interval: 4096,
            window: None,
        }
    }
}

/// Why a run could not go on to the end of its main task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// Every task waits, and no event is scheduled that could wake one.
    #[error("the run is stuck at {at}: every task waits, and no event is scheduled")]
    Stuck {
        /// Instant of the last event.
        at: Timestamp,
    },
    /// The next event lies after the end of virtual time.
    #[error("the run reached its limit of virtual time, {limit}, before it was complete")]
    TimeLimit {
        /// The limit of [`KernelOptions::time_limit`].
        limit: Timestamp,
    },
    /// Things go on happening, and virtual time does not move.
    #[error(
        "virtual time stands still at {at}: {steps} steps within {window:?}, and no end of them; the last \
         was by {last}"
    )]
    Standstill {
        /// The instant.
        at: Timestamp,
        /// Steps that were counted.
        steps: u64,
        /// The virtual time within which they were.
        window: Duration,
        /// Who took the last: a task of a node, the program, or a device.
        last: String,
    },
}

/// Kernels that were made and not dropped, in the whole process.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// How many runs of this process have a kernel in memory. A run that is over and keeps one keeps all of its
/// world: something in there holds itself. For tests; nothing of a run depends on it.
pub fn kernels_alive() -> usize {
    ALIVE.load(Ordering::Relaxed)
}

impl Drop for Inner {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `main` to its end in a world of its own, and returns its result and the event trail.
/// Tasks that are left are dropped. A panic of any task unwinds out of this call.
///
/// The body must run on a fresh thread (see [`on_fresh_thread`]): state that a thread keeps,
/// such as the seed of hash maps in the standard library, would differ in a second run.
///
/// ```
/// use sim_model::time::Timestamp;
/// use sim_world::kernel::{KernelOptions, on_fresh_thread, simulate};
/// use std::time::Duration;
///
/// let (now, trail) = on_fresh_thread(|| {
///     simulate(KernelOptions::with_seed(7), |kernel| async move {
///         kernel.sleep(Duration::from_nanos(1)).await;
///         kernel.now()
///     })
/// })
/// .expect("nothing to be stuck at");
/// assert_eq!(now, Timestamp::from_nanos(1));
/// assert!(trail.events > 0);
/// ```
///
/// # Errors
/// [`KernelError`] if the run is stuck, reaches its limit of virtual time, or does not move it any more.
pub fn simulate<T, F>(
    options: KernelOptions,
    main: impl FnOnce(Kernel) -> F,
) -> Result<(T, EventTrail), KernelError>
where
    F: Future<Output = T> + 'static,
    T: 'static,
{
    let runtime = Runtime::with_seed_and_config(options.seed, Config::default());
    let handle = runtime.handle().clone();
    runtime.block_on(async move {
        let kernel = Kernel::new(options, handle);
        Pump::start(&kernel);
        let body = main(kernel.clone());
        let outcome = kernel.run_main(body).await;
        kernel.end_trail();
        let trail = kernel.0.trail.take();
        kernel.kill_all();
        outcome.map(|value| (value, trail))
    })
}

impl Kernel {
    fn new(options: KernelOptions, handle: Handle) -> Kernel {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        let kernel = Kernel(Rc::new(Inner {
            now: Cell::new(Timestamp::ZERO),
            time_limit: options.time_limit,
            events: RefCell::new(EventHeap::new()),
            devices: RefCell::new(vec![None, None]),
            timers: RefCell::new(Timers::new()),
            nodes: RefCell::new(Nodes::new(handle)),
            trail: Trail::new(options.mark_interval, options.window),
            woke: Cell::new(false),
            firing: Cell::new(false),
            failure: Cell::new(None),
            standstill: Standstill::new(options.standstill_limit),
            main_waker: RefCell::new(None),
        }));
        kernel.0.trail.add_component(DeviceId::KERNEL, "kernel");
        kernel.0.trail.add_component(DeviceId::CLOCK, "clock");
        let world = kernel.create_node("world");
        assert_eq!(world, NodeId::WORLD);
        kernel
    }

    /// The main task: the program, unless the pump finds that it cannot go on.
    async fn run_main<T>(&self, body: impl Future<Output = T>) -> Result<T, KernelError> {
        let mut body = pin!(body);
        std::future::poll_fn(|context| {
            // Left before the body is polled: what ends the run may happen in there.
            *self.0.main_waker.borrow_mut() = Some(context.waker().clone());
            self.is_at_standstill(Stepper::Task);
            if let Some(failure) = self.0.failure.take() {
                return Poll::Ready(Err(failure));
            }
            body.as_mut().poll(context).map(Ok)
        })
        .await
    }
}

/// Stack of a run's thread: deep futures and recursive programs fit in.
const STACK_BYTES: usize = 16 << 20;

/// Runs `body` on a new thread, to its end. Thread-local state starts afresh there, so that
/// two runs in one process begin equal. A panic of the body goes on in the caller.
pub fn on_fresh_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("simulation".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, body)
            .expect("the system has no room for one more thread");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// [`on_fresh_thread`], with iteration orders of the standard library's hash maps that differ
/// from run to run.
///
/// The executor seeds these orders from the run's seed, which hides a hash map that reaches an
/// effect until something shifts the order. The determinism check must find such a map, so it
/// runs its programs here.
pub fn on_fresh_thread_with_random_hash_order<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    on_fresh_thread(|| {
        #[allow(clippy::disallowed_types, reason = "to make other uses of it show")]
        let _seeds_this_thread = std::hash::RandomState::new();
        body()
    })
}
