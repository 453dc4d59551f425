//! The kernel: virtual time, an event heap, tasks on nodes that crash, and the event trail.
//!
//! **What it models.** A single-threaded machine room. *Devices* (links, cores, services) put
//! events on one heap and are fired at exactly the event's instant. *Tasks* are futures that
//! live on a node and die with it. Nothing else in the tree names the executor underneath
//! (madsim), which gives three things only: it polls ready tasks in an order drawn from the
//! seed, it drops the tasks of a killed node, and it tells when no task is ready.
//!
//! **The clock.** Events wait on a heap ordered by `(time, sequence)`. Whenever the executor is
//! idle, the pump sets the clock to the earliest event and fires every event of that instant;
//! then the tasks that these made ready run. An instant that wakes nobody is followed by the
//! next at once. So a task sees `now()` equal to the time of the event that woke it, to the
//! nanosecond, and computation takes no virtual time except where a host's core is charged.
//!
//! **Rules for devices.** [`Device::fire`] is called with nothing of the kernel borrowed, and
//! may call everything here. It may wake tasks only through this module's primitives
//! ([`Resolver`], [`Sender`], [`Notify`], [`Semaphore`], [`Kernel::spawn`], ...): they tell the
//! pump to yield, a foreign waker does not, and its task would run at a later instant.
//!
//! **Rules for tasks.** Tasks are meant to be long-lived and fed by channels. A task costs
//! about a microsecond to spawn, and the executor keeps some 250 bytes for each task ever
//! spawned until it prunes its list; the kernel makes it prune every few thousand spawns.
//! A task never blocks. One that yields for ever without waiting for an event is found by the guard
//! against a clock that stands still (`standstill`), which ends the run with an error.
//!
//! **Determinism.** Every fired event and every payload digest a device records goes into a
//! rolling hash, the [`EventTrail`]. Run each simulation [`on_fresh_thread`].
//!
//! Units: [`Timestamp`]s are virtual nanoseconds since the start.

mod heap;
mod pump;
mod simulate;
mod standstill;
mod sync;
mod tasks;
mod timer;
mod trail;

pub use simulate::{
    KernelError, KernelOptions, kernels_alive, on_fresh_thread,
    on_fresh_thread_with_random_hash_order, simulate,
};
pub use sync::{
    Acquire, Completion, Notified, Notify, Permit, Receiver, Recv, Resolver, Semaphore, Sender,
};
pub use timer::Sleep;
pub use trail::{Difference, EventTrail, TrailEvent, first_difference};

use heap::EventHeap;
use sim_model::time::Timestamp;
use standstill::Standstill;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Duration;
use tasks::Nodes;
use timer::Timers;
use trail::Trail;

/// A host, service or other place that runs tasks and fails as a whole. Node 0 is the world
/// itself: it holds what never fails, and cannot be killed or paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The world itself.
    pub const WORLD: NodeId = NodeId(0);
}

/// A registered device, or another component that records events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(u32);

impl DeviceId {
    /// The kernel itself: nodes, tasks and registrations are recorded under it.
    pub const KERNEL: DeviceId = DeviceId(0);
    /// The clock: the ends of [`Sleep`]s are recorded under it.
    const CLOCK: DeviceId = DeviceId(1);
}

/// The kind of a recorded event, interned by [`Kernel::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(u32);

impl Kind {
    const FIRE: Kind = Kind(0);
    const REGISTER: Kind = Kind(1);
    const SPAWN: Kind = Kind(2);
    const KILL: Kind = Kind(3);
    const PAUSE: Kind = Kind(4);
    const RESUME: Kind = Kind(5);
    const RESTART: Kind = Kind(6);
    const FINISH: Kind = Kind(7);
    /// The names of the kinds above, in their order.
    const BUILT_IN: [&str; 8] =
        ["fire", "register", "spawn", "kill", "pause", "resume", "restart", "finish"];
}

/// A scheduled event: cancels it through [`Kernel::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    at: Timestamp,
    sequence: u64,
}

impl EventId {
    /// The instant at which the event fires.
    pub fn at(self) -> Timestamp {
        self.at
    }
}

/// Something that reacts to its own scheduled events: a link, a core, a service.
pub trait Device {
    /// Called at the instant of an event this device scheduled, with the token it gave.
    fn fire(&self, token: u64);
}

/// Handle to the simulation's kernel; cheap to clone, valid on the run's thread only.
#[derive(Clone)]
pub struct Kernel(Rc<Inner>);

/// What all handles share. Fields are borrowed one at a time, never across foreign code.
struct Inner {
    now: Cell<Timestamp>,
    time_limit: Timestamp,
    events: RefCell<EventHeap>,
    devices: RefCell<Vec<Option<Weak<dyn Device>>>>,
    timers: RefCell<Timers>,
    nodes: RefCell<Nodes>,
    trail: Trail,
    /// Set when a task was made ready: the pump must let it run before time moves on.
    woke: Cell<bool>,
    /// Whether events fire, so that no task runs.
    firing: Cell<bool>,
    /// Why the run cannot go on; taken by the main task.
    failure: Cell<Option<KernelError>>,
    standstill: Standstill,
    main_waker: RefCell<Option<Waker>>,
}

impl Kernel {
    /// The present instant of virtual time.
    pub fn now(&self) -> Timestamp {
        self.0.now.get()
    }

    /// Waits for `span` of virtual time, exactly. Dropping the future cancels it.
    pub fn sleep(&self, span: Duration) -> Sleep {
        self.sleep_until(self.now() + span)
    }

    /// Waits until `deadline`; an instant that is not in the future completes at once.
    pub fn sleep_until(&self, deadline: Timestamp) -> Sleep {
        Sleep::new(self.clone(), deadline)
    }

    /// Runs `future` for at most `span` from this call on: `None` if it did not complete. A
    /// future that is ready at the very instant of the deadline completes if it is polled then.
    pub fn timeout<F: Future>(
        &self,
        span: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        timer::timeout(self.sleep(span), future)
    }

    /// Makes `device` known under `name`, which appears in the event trail.
    pub fn register(&self, name: &str, device: Weak<dyn Device>) -> DeviceId {
        self.register_component(name, Some(device))
    }

    /// Makes a component known that records events but never schedules any.
    pub fn register_recorder(&self, name: &str) -> DeviceId {
        self.register_component(name, None)
    }

    fn register_component(&self, name: &str, device: Option<Weak<dyn Device>>) -> DeviceId {
        let mut devices = self.0.devices.borrow_mut();
        let id = DeviceId(u32::try_from(devices.len()).expect("invariant: under 2^32 devices"));
        devices.push(device);
        drop(devices);
        self.0.trail.add_component(id, name);
        self.record(id, Kind::REGISTER, trail::digest_of(name.as_bytes()));
        id
    }

    /// Lets `device` fire with `token` at instant `at`, or now if `at` has passed. Events of
    /// one instant fire in the order in which they were scheduled.
    pub fn schedule(&self, at: Timestamp, device: DeviceId, token: u64) -> EventId {
        let at = at.max(self.now());
        let sequence = self.0.events.borrow_mut().push(at, device, token);
        EventId { at, sequence }
    }

    /// Takes a scheduled event back. False if it has fired or was cancelled before.
    pub fn cancel(&self, id: EventId) -> bool {
        self.0.events.borrow_mut().cancel(id.at, id.sequence)
    }

    /// Number of events scheduled and not yet fired or cancelled.
    pub fn pending_events(&self) -> usize {
        self.0.events.borrow().len()
    }

    /// Interns the name of a kind of event for [`Kernel::record`].
    pub fn kind(&self, name: &str) -> Kind {
        let (kind, is_new) = self.0.trail.kind(name);
        if is_new {
            self.record(DeviceId::KERNEL, Kind::REGISTER, trail::digest_of(name.as_bytes()));
        }
        kind
    }

    /// Puts one event, with the digest of its payload, into the event trail.
    pub fn record(&self, component: DeviceId, kind: Kind, digest: u64) {
        self.0.trail.record(self.now(), component, kind, digest);
    }

    /// [`Kernel::record`] with the digest of `payload`'s bytes.
    pub fn record_bytes(&self, component: DeviceId, kind: Kind, payload: &[u8]) {
        self.record(component, kind, trail::digest_of(payload));
    }

    /// Ends the event trail: what happens from now on is no part of it. A run that is only looked at
    /// any more, to judge it, keeps the digest that it has.
    pub fn end_trail(&self) {
        if !self.0.trail.has_ended() {
            self.record(DeviceId::KERNEL, Kind::FINISH, 0);
            self.0.trail.end();
        }
    }

    /// Number of events recorded so far.
    pub fn recorded_events(&self) -> u64 {
        self.0.trail.events()
    }

    /// A one-shot result: the resolver's value is what the completion waits for. A resolver
    /// dropped without a value leaves the completion pending for ever, as a lost reply does.
    pub fn completion<T>(&self) -> (Resolver<T>, Completion<T>) {
        sync::completion(self)
    }

    /// An unbounded channel, first in first out, for values and for waiting receivers.
    pub fn channel<T>(&self) -> (Sender<T>, Receiver<T>) {
        sync::channel(self)
    }

    /// A signal without a value.
    pub fn notify(&self) -> Notify {
        Notify::new(self)
    }

    /// A counting semaphore, fair in the order of arrival.
    pub fn semaphore(&self, permits: usize) -> Semaphore {
        Semaphore::new(self, permits)
    }

    /// Ends the run: the main task takes the failure, the first if there are several, as soon as it is
    /// polled.
    fn fail(&self, failure: KernelError) {
        let first = self.0.failure.take().unwrap_or(failure);
        self.0.failure.set(Some(first));
        if let Some(main) = self.0.main_waker.borrow_mut().take() {
            self.wake(main);
        }
    }

    /// Wakes a task, and tells the pump that one is ready.
    fn wake(&self, waker: Waker) {
        self.0.woke.set(true);
        waker.wake();
    }
}
