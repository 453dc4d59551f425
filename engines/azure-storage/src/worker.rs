//! One worker: its memory and its tasks.
//!
//! A worker has a set of long-lived tasks: a dequeue loop for each control queue it owns, one that
//! reads histories ahead, a dispatcher for each slot for orchestrations and each for entities (the
//! published host limits the two apart), one dequeue loop for the work-item queue, a runner for each
//! activity slot, one that renews visibility timeouts, and those that manage leases. They share the
//! memory below, which is lost with the host. A worker that is taken out of service ends them all.

use crate::activity::{self, Job};
use crate::backoff::PollingBackoff;
use crate::history::History;
use crate::journal::Known;
use crate::leases;
use crate::listening::Listening;
use crate::renewal::{ControlLocks, Locks};
use crate::rules;
use crate::sessions::{Added, Delivered, Sessions};
use crate::settings::PartitionManagement;
use crate::shared::Shared;
use crate::store::{Store, StoreError};
use crate::{control, dispatch};
use futures_util::future::{join_all, select};
use rustc_hash::FxHashMap;
use sim_model::engine::HostLife;
use sim_model::history::EventKind;
use sim_model::id::{InstanceId, WorkItemId};
use sim_model::ledger::Timing;
use sim_model::message::InstanceMessage;
use sim_model::time::Timestamp;
use sim_world::functions::FunctionsHost;
use sim_world::kernel::{Notify, Receiver, Semaphore, Sender};
use sim_world::queue::{Queue, QueueMessage};
use sim_world::seed::Stream;
use sim_world::service::StorageError;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// A control message in memory.
pub(crate) struct Received {
    /// What it says.
    pub message: InstanceMessage,
    /// As it was handed out, without its body.
    pub delivery: QueueMessage,
    /// The control queue it is in.
    pub queue: usize,
    /// Until when it is hidden from others, if that is not renewed.
    pub until: Timestamp,
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

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    /// Takes work.
    Running,
    /// Finishes what it has begun.
    Stopping,
    /// Nothing of it is left.
    Ended,
}

/// How often a worker that stops looks whether it is done. Source: \[assumption\].
pub(crate) const STOP_POLL: Duration = Duration::from_millis(100);

/// The memory of a worker.
pub(crate) struct Worker {
    pub shared: Rc<Shared>,
    pub index: usize,
    /// The life of the host that it is.
    pub life: HostLife,
    /// By what it signs its leases: another one for each start, so that a restarted host does not take
    /// the leases of the one that crashed for its own.
    pub name: Rc<str>,
    pub store: Store,
    pub functions: FunctionsHost,
    pub sessions: RefCell<Sessions<Received, Loaded>>,
    /// The control queues it dequeues, and what of them is in memory: messages that were handed out
    /// and neither deleted nor put back.
    pub listening: RefCell<Listening>,
    /// Control messages of running steps, kept hidden.
    pub control_locks: ControlLocks,
    /// What this worker knows of the steps that the journals of instances still name.
    known_steps: RefCell<FxHashMap<InstanceId, Vec<(WorkItemId, Known)>>>,
    /// Where it is in its own life.
    service: Cell<Service>,
    /// Ends the pause of whoever manages leases.
    pub lease_wake_up: Notify,
    /// Ends all its tasks.
    ended: Notify,
    /// Tasks that must end by themselves before the worker has ended: they hold work or leases.
    pub tasks: Cell<usize>,
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
    /// The worker on the host with this index, not started yet; the `incarnation`-th there.
    pub fn new(shared: &Rc<Shared>, index: usize, incarnation: u32) -> Rc<Worker> {
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
            life: HostLife { host: index, life: incarnation },
            name: format!("{}/{incarnation}", functions.host().name()).into(),
            store: Store::new(shared, functions.host()),
            functions,
            sessions: RefCell::new(Sessions::new(parameters.extended_sessions)),
            listening: RefCell::new(Listening::new(shared.control_queues.len())),
            control_locks: ControlLocks::default(),
            known_steps: RefCell::default(),
            service: Cell::new(Service::Running),
            lease_wake_up: kernel.notify(),
            ended: kernel.notify(),
            tasks: Cell::new(0),
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
        match self.shared.parameters.partition_management {
            PartitionManagement::Static => {
                self.shared.ownership.owned_by(self.index).for_each(|queue| self.listen(queue));
            }
            _ => leases::start(self),
        }
        self.spawn(control::read_ahead(self.clone(), inputs.batches));
        for slot in 0..self.slot_signals.len() {
            let orchestrations = slot < self.orchestration_slots;
            let ready = if orchestrations { &inputs.orchestrations } else { &inputs.entities };
            self.spawn(dispatch::dispatch(self.clone(), slot, ready.clone()));
        }
        let (jobs, job_inputs) = self.shared.kernel().channel::<Job>();
        self.spawn_counted(activity::dequeue(self.clone(), jobs));
        for slot in 0..self.locks.slots() {
            self.spawn(activity::run(self.clone(), slot, job_inputs.clone()));
        }
        self.spawn(crate::renewal::renew(self.clone()));
    }

    /// Runs `task` on the worker's host until the worker has ended.
    pub fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let ended = self.ended.notified();
        self.functions.host().spawn(async move {
            select(pin!(task), pin!(ended)).await;
        });
    }

    /// Runs `task`, which ends by itself when the worker stops, and not before the worker may end.
    pub fn spawn_counted(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.tasks.set(self.tasks.get() + 1);
        let worker = self.clone();
        self.spawn(async move {
            task.await;
            worker.tasks.set(worker.tasks.get() - 1);
        });
    }

    /// Dequeues a control queue from now on.
    pub fn listen(self: &Rc<Self>, queue: usize) {
        let new = self.listening.borrow_mut().start(queue);
        if new {
            self.spawn(control::dequeue(self.clone(), queue));
        }
    }

    /// Takes no more messages from a control queue.
    pub fn stop_listening(&self, queue: usize) {
        let listened = self.listening.borrow_mut().stop(queue);
        if listened {
            self.control_wake_ups[queue].notify_one();
        }
    }

    /// Whether this worker dequeues a control queue.
    pub fn listens(&self, queue: usize) -> bool {
        self.listening.borrow().listens(queue)
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.service.get() != Service::Running
    }

    /// Whether nothing of it is left.
    pub fn has_ended(&self) -> bool {
        self.service.get() == Service::Ended
    }

    /// Takes the worker out of service: it takes nothing more, finishes what it has begun, gives up
    /// its leases, and ends.
    pub fn stop(self: &Rc<Self>) {
        if self.is_stopping() {
            return;
        }
        self.service.set(Service::Stopping);
        if self.shared.parameters.partition_management == PartitionManagement::Static {
            (0..self.control_wake_ups.len()).for_each(|queue| self.stop_listening(queue));
        }
        self.lease_wake_up.notify_one();
        self.work_item_wake_up.notify_one();
        let worker = self.clone();
        self.spawn(async move {
            while !worker.is_done() {
                worker.shared.kernel().sleep(STOP_POLL).await;
            }
            worker.service.set(Service::Ended);
            worker.ended.notify_all();
        });
    }

    /// Whether a worker that stops has finished everything.
    fn is_done(&self) -> bool {
        let idle = self.activity_slots.available() == self.locks.slots();
        self.tasks.get() == 0 && idle && self.listening.borrow().all_drained()
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
        if self.listens(queue) && self.shared.parameters.local_wake_up {
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
        self.listening.borrow().messages()
    }

    /// Notes what became of a step of `instance` that its journal names.
    pub fn note_step(&self, instance: &InstanceId, step: WorkItemId, known: Known) {
        let mut all = self.known_steps.borrow_mut();
        let steps = all.entry(instance.clone()).or_default();
        steps.retain(|(other, _)| *other != step);
        steps.push((step, known));
    }

    /// What this worker knows of a step of `instance`.
    pub fn known_step(&self, instance: &InstanceId, step: WorkItemId) -> Option<Known> {
        let all = self.known_steps.borrow();
        let steps = all.get(instance)?;
        steps.iter().find(|(other, _)| *other == step).map(|(_, known)| *known)
    }

    /// The journal of `instance` was written anew, or will not be any more: what was known of the
    /// steps before is of no use now.
    pub fn forget_steps(&self, instance: &InstanceId) {
        self.known_steps.borrow_mut().remove(instance);
    }

    /// Takes messages into memory and gives each to its instance.
    pub fn receive(&self, messages: impl Iterator<Item = Received>) {
        for received in messages {
            self.listening.borrow_mut().hold(received.queue);
            self.pass_on(received);
        }
    }

    /// Gives a message in memory to its instance: to a pending batch, or to an open session.
    pub fn pass_on(&self, received: Received) {
        let (instance, queue) = (received.message.target.clone(), received.queue);
        let added = self.sessions.borrow_mut().add(&instance, received);
        match added {
            Added::NewBatch if self.shared.parameters.prefetch => self.batches.send(instance),
            Added::NewBatch => self.loaded(&instance, None),
            Added::Joined => {}
            Added::Replaced => self.listening.borrow_mut().forget(queue),
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

    /// Messages are no longer in memory.
    fn forget(&self, messages: &[Received]) {
        let mut listening = self.listening.borrow_mut();
        messages.iter().for_each(|received| listening.forget(received.queue));
    }

    /// Deletes messages that were consumed or dropped; true if all are gone. An operation that fails
    /// leaves its message to be handed out again.
    pub async fn delete(&self, messages: &[Received]) -> bool {
        let deletes = messages.iter().map(|received| {
            let queue = &self.shared.control_queues[received.queue];
            let delivery = self.control_locks.release(received);
            async move { self.store.delete(queue, &delivery).await }
        });
        let mut all_gone = true;
        for outcome in join_all(deletes).await {
            all_gone &= matches!(outcome, Ok(true));
            self.note_failure(outcome);
        }
        self.forget(messages);
        all_gone
    }

    /// Puts messages back into their queues, hidden for a time that grows with each delivery.
    pub async fn abandon(&self, messages: &[Received]) {
        let updates = messages.iter().map(|received| {
            let queue = &self.shared.control_queues[received.queue];
            let delivery = self.control_locks.release(received);
            async move { self.abandon_delivery(queue, &delivery).await }
        });
        for outcome in join_all(updates).await {
            self.note_failure(outcome);
        }
        self.forget(messages);
    }

    /// Puts one message back into its queue, hidden for a time that grows with each delivery. One that
    /// has come to the longest time is known as poison, and still tried again and again: the published
    /// engine logs it, and never gives it up.
    pub async fn abandon_delivery(
        &self,
        queue: &Queue,
        delivery: &QueueMessage,
    ) -> Result<(), StorageError> {
        if rules::is_poison(delivery.dequeue_count) {
            self.shared.counters.poison_messages.count();
        }
        let delay = rules::abandon_delay(delivery.dequeue_count);
        self.store.put_back(queue, delivery, delay).await
    }

    /// A message could not be read. One that does not decode is put back, and comes to the longest time
    /// in the end; one whose blob could not be read is handed out again after its visibility timeout.
    pub async fn cannot_open(&self, queue: &Queue, delivery: &QueueMessage, error: &StoreError) {
        if let StoreError::Decode(_) = error {
            self.shared.counters.undecodable_messages.count();
            let put_back = self.abandon_delivery(queue, delivery).await;
            self.note_failure(put_back);
        } else {
            self.shared.counters.failed_operations.count();
        }
    }

    /// Notes an operation on a message whose failure leaves it to be handed out again.
    pub fn note_failure<T, E>(&self, outcome: Result<T, E>) {
        if outcome.is_err() {
            self.shared.counters.failed_operations.count();
        }
    }
}
