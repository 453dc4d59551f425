//! One worker: its memory and its tasks.
//!
//! A worker has a fixed set of long-lived tasks: a dequeue loop for each control queue it owns, one
//! that reads histories ahead, a dispatcher for each slot for orchestrations and each for entities
//! (the published host limits the two apart), one dequeue loop for the work-item queue, a runner for each activity slot, and one that renews the visibility timeouts of
//! running activities. They share the memory below, which is lost with the host.

use crate::activity::{self, Job};
use crate::backoff::PollingBackoff;
use crate::history::History;
use crate::renewal::Locks;
use crate::rules;
use crate::sessions::{Added, Delivered, Sessions};
use crate::shared::Shared;
use crate::store::Store;
use crate::{control, dispatch};
use futures_util::future::join_all;
use sim_model::history::EventKind;
use sim_model::id::InstanceId;
use sim_model::ledger::Timing;
use sim_model::message::InstanceMessage;
use sim_model::time::Timestamp;
use sim_world::functions::FunctionsHost;
use sim_world::kernel::{Notify, Receiver, Semaphore, Sender};
use sim_world::queue::QueueMessage;
use sim_world::seed::Stream;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A control message in memory.
pub(crate) struct Received {
    /// What it says.
    pub message: InstanceMessage,
    /// As it was handed out, without its body.
    pub delivery: QueueMessage,
    /// The control queue it is in.
    pub queue: usize,
}

impl Delivered for Received {
    fn same_message(&self, other: &Self) -> bool {
        self.queue == other.queue && self.delivery.id == other.delivery.id
    }

    fn starts_execution(&self) -> bool {
        matches!(self.message.event.kind, EventKind::ExecutionStarted { .. })
    }
}

/// A history that was read, and when.
pub(crate) struct Loaded {
    pub history: History,
    pub timing: Timing,
    pub at: Timestamp,
}

/// The memory of a worker.
pub(crate) struct Worker {
    pub shared: Rc<Shared>,
    pub index: usize,
    pub store: Store,
    pub functions: FunctionsHost,
    pub sessions: RefCell<Sessions<Received, Loaded>>,
    /// Control messages that were handed out and neither deleted nor put back.
    buffered: Cell<usize>,
    /// Ends the polling delay of each control queue; used for the owned ones.
    control_wake_ups: Vec<Notify>,
    /// Ends the polling delay of the work-item queue.
    pub work_item_wake_up: Notify,
    /// Tells the session in each slot that messages arrived for it.
    pub slot_signals: Vec<Notify>,
    /// Slots below this number are for orchestrations, the others for entities.
    orchestration_slots: usize,
    batches: Sender<InstanceId>,
    /// Ready batches of orchestrations and of entities.
    orchestrations: Sender<InstanceId>,
    entities: Sender<InstanceId>,
    pub activity_slots: Semaphore,
    pub locks: Locks,
    inputs: RefCell<Option<Inputs>>,
}

/// The receiving ends that the worker's tasks are given when it starts.
struct Inputs {
    batches: Receiver<InstanceId>,
    orchestrations: Receiver<InstanceId>,
    entities: Receiver<InstanceId>,
}

impl Worker {
    /// The worker on the host with this index, not started yet.
    pub fn new(shared: &Rc<Shared>, index: usize) -> Rc<Worker> {
        let kernel = shared.kernel();
        let backend = shared.parameters.entity_backend();
        let functions = FunctionsHost::new(&shared.world, index, backend);
        let cores = functions.host().cores() as usize;
        let parameters = &shared.parameters;
        let (batches, batch_inputs) = kernel.channel();
        let (orchestrations, orchestration_inputs) = kernel.channel();
        let (entities, entity_inputs) = kernel.channel();
        let orchestration_slots = parameters.orchestrations_per_core * cores;
        let slots = orchestration_slots + parameters.entities_per_core * cores;
        let activities = parameters.activities_per_core * cores;
        Rc::new(Worker {
            shared: shared.clone(),
            index,
            store: Store::new(shared, functions.host()),
            functions,
            sessions: RefCell::new(Sessions::new(parameters.extended_sessions)),
            buffered: Cell::new(0),
            control_wake_ups: shared.control_queues.iter().map(|_| kernel.notify()).collect(),
            work_item_wake_up: kernel.notify(),
            slot_signals: (0..slots).map(|_| kernel.notify()).collect(),
            orchestration_slots,
            batches,
            orchestrations,
            entities,
            activity_slots: kernel.semaphore(activities),
            locks: Locks::new(activities),
            inputs: RefCell::new(Some(Inputs {
                batches: batch_inputs,
                orchestrations: orchestration_inputs,
                entities: entity_inputs,
            })),
        })
    }

    /// Spawns the worker's tasks on its host.
    ///
    /// # Panics
    /// If it was started before.
    pub fn start(self: &Rc<Self>) {
        let inputs = self.inputs.borrow_mut().take().expect("a worker is started once");
        let host = self.functions.host();
        for queue in self.shared.ownership.owned_by(self.index) {
            host.spawn(control::dequeue(self.clone(), queue));
        }
        host.spawn(control::read_ahead(self.clone(), inputs.batches));
        for slot in 0..self.slot_signals.len() {
            let orchestrations = slot < self.orchestration_slots;
            let ready = if orchestrations { &inputs.orchestrations } else { &inputs.entities };
            host.spawn(dispatch::dispatch(self.clone(), slot, ready.clone()));
        }
        let (jobs, job_inputs) = self.shared.kernel().channel::<Job>();
        host.spawn(activity::dequeue(self.clone(), jobs));
        for slot in 0..self.locks.slots() {
            host.spawn(activity::run(self.clone(), slot, job_inputs.clone()));
        }
        host.spawn(crate::renewal::renew(self.clone()));
    }

    /// The stream of random numbers of one of this worker's loops.
    pub fn stream(&self, name: &str) -> Stream {
        let host = self.functions.host().name();
        self.shared.world.seeds().stream(&format!("engine azure-storage {host} {name}"))
    }

    /// The back-off of one of this worker's loops.
    pub fn backoff(&self) -> PollingBackoff {
        let parameters = &self.shared.parameters;
        PollingBackoff::new(parameters.min_polling_interval, parameters.max_polling_interval)
    }

    /// Waits after an empty poll, or until this worker itself puts a message into the queue.
    pub async fn rest(&self, backoff: &mut PollingBackoff, stream: &mut Stream, wake_up: &Notify) {
        let delay = backoff.after_empty_poll(stream.unit());
        let woken = self.shared.kernel().timeout(delay, wake_up.notified()).await;
        if woken.is_some() {
            self.shared.counters.local_wake_ups.count();
            backoff.reset();
        }
    }

    /// The signal that ends the polling delay of a control queue.
    pub fn control_wake_up(&self, queue: usize) -> &Notify {
        &self.control_wake_ups[queue]
    }

    /// This worker put a message into a control queue.
    pub fn wake_control(&self, queue: usize) {
        let mine = self.shared.ownership.owner_of(queue) == self.index;
        if mine && self.shared.parameters.local_wake_up {
            self.control_wake_ups[queue].notify_one();
        }
    }

    /// This worker put a message into the work-item queue.
    pub fn wake_work_items(&self) {
        if self.shared.parameters.local_wake_up {
            self.work_item_wake_up.notify_one();
        }
    }

    /// How many control messages are in memory.
    pub fn buffered(&self) -> usize {
        self.buffered.get()
    }

    /// Takes messages into memory and gives each to its instance.
    pub fn receive(&self, messages: impl Iterator<Item = Received>) {
        for received in messages {
            self.buffered.set(self.buffered.get() + 1);
            self.pass_on(received);
        }
    }

    /// Gives a message in memory to its instance: to a pending batch, or to an open session.
    pub fn pass_on(&self, received: Received) {
        let instance = received.message.target.clone();
        let added = self.sessions.borrow_mut().add(&instance, received);
        match added {
            Added::NewBatch if self.shared.parameters.prefetch => self.batches.send(instance),
            Added::NewBatch => self.loaded(&instance, None),
            Added::Joined => {}
            Added::Replaced => self.forget(1),
            Added::Inbox { slot } => self.slot_signals[slot].notify_one(),
        }
    }

    /// The history of a new batch was read, or will be read at dispatch.
    pub fn loaded(&self, instance: &InstanceId, history: Option<Loaded>) {
        let ready = self.sessions.borrow_mut().loaded(instance, history);
        if ready {
            self.announce(instance.clone());
        }
    }

    /// The batch of an instance is ready for a slot.
    pub fn announce(&self, instance: InstanceId) {
        let slots = if instance.is_entity() { &self.entities } else { &self.orchestrations };
        slots.send(instance);
    }

    /// `count` messages are no longer in memory.
    pub fn forget(&self, count: usize) {
        let buffered = self.buffered.get();
        assert!(buffered >= count, "only what is in memory is forgotten");
        self.buffered.set(buffered - count);
    }

    /// Deletes messages that were consumed or dropped. An operation that fails leaves its message
    /// to be handed out again.
    pub async fn delete(&self, messages: &[Received]) {
        let deletes = messages.iter().map(|received| {
            let queue = &self.shared.control_queues[received.queue];
            self.store.delete(queue, &received.delivery)
        });
        for outcome in join_all(deletes).await {
            self.note_failure(outcome);
        }
        self.forget(messages.len());
    }

    /// Puts messages back into their queues, hidden for a time that grows with each delivery.
    pub async fn abandon(&self, messages: &[Received]) {
        let updates = messages.iter().map(|received| {
            let queue = &self.shared.control_queues[received.queue];
            let delay = rules::abandon_delay(received.delivery.dequeue_count);
            self.store.put_back(queue, &received.delivery, delay)
        });
        for outcome in join_all(updates).await {
            self.note_failure(outcome);
        }
        self.forget(messages.len());
    }

    /// Notes an operation on a message whose failure leaves it to be handed out again.
    pub fn note_failure<E>(&self, outcome: Result<(), E>) {
        if outcome.is_err() {
            self.shared.counters.failed_operations.count();
        }
    }
}
