//! The task hub: a queue for each instance, and hosts that execute what is ready.

use crate::blobs::Blobs;
use crate::client::TinyClient;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use sim_model::application::Application;
use sim_model::cursor::Cursor;
use sim_model::engine::{Client, Completion, Deployment, InstanceState, Observer, TaskHub};
use sim_model::history::{EventId, HistoryEvent};
use sim_model::id::{InstanceId, MessageId, Producer};
use sim_model::ledger::{Category, Ledger};
use sim_model::message::{InstanceMessage, TaskMessage, TimerMessage, critical_ledger};
use sim_model::step::{EntityBackend, StepOutcome};
use sim_world::functions::FunctionsHost;
use sim_world::kernel::{Kernel, Receiver, Resolver, Sender};
use sim_world::world::World;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// Work items that one host executes side by side.
const SLOTS: usize = 64;

/// Messages arrive once and in order, so that entities need not sort them.
const BACKEND: EntityBackend = EntityBackend {
    reorder_window: Duration::ZERO,
    max_operations: usize::MAX,
    max_signal_delay: None,
    implicit_deletion: false,
};

/// A work item that is ready to be executed.
enum Ready {
    Step(InstanceId),
    Task(TaskMessage),
}

struct HostQueue {
    functions: FunctionsHost,
    sender: Sender<Ready>,
    receiver: Receiver<Ready>,
}

/// What is in memory of an instance.
pub(crate) struct Instance {
    queue: Vec<InstanceMessage>,
    /// Whether a step waits or executes: an instance has one at a time.
    pub(crate) scheduled: bool,
    /// Whether there is a blob to be read.
    written: bool,
    /// The instance as its last step left it, with `keep_cursors`.
    kept: Option<(Cursor, Vec<HistoryEvent>)>,
    pub(crate) state: InstanceState,
    /// The number of the decision that would follow, once the orchestration has ended.
    next_event_id: EventId,
    pub(crate) waiting: Vec<Resolver<InstanceState>>,
}

pub(crate) struct HubInner {
    pub(crate) kernel: Kernel,
    application: Rc<Application>,
    pub(crate) observer: Observer,
    hosts: Vec<HostQueue>,
    pub(crate) blobs: Blobs,
    pub(crate) instances: RefCell<IndexMap<InstanceId, Instance, FxBuildHasher>>,
    keep_cursors: bool,
    write_before_send: bool,
    reads: Cell<u64>,
}

impl HubInner {
    fn home(&self, instance: &InstanceId) -> &HostQueue {
        &self.hosts[instance.fnv1a() as usize % self.hosts.len()]
    }

    pub(crate) fn functions(&self, instance: &InstanceId) -> &FunctionsHost {
        &self.home(instance).functions
    }

    /// Appends a message to its instance's queue. One that nobody will consume is dropped.
    pub(crate) fn deliver(&self, mut message: InstanceMessage) {
        let target = message.target.clone();
        let mut instances = self.instances.borrow_mut();
        if instances.get(&target).is_none_or(|found| found.state.status.is_final()) {
            if !message.creates_instance() {
                self.observer.graph().discarded(message.id);
                return;
            }
            let former = instances.swap_remove(&target);
            if let Some(former) = &former {
                // Late answers to the former orchestration must not look like answers to this one.
                message.number_decisions_from(former.next_event_id);
            }
            let created = Instance {
                queue: Vec::new(),
                scheduled: false,
                written: false,
                kept: None,
                state: InstanceState::of_message(&message),
                next_event_id: 0,
                waiting: former.map(|former| former.waiting).unwrap_or_default(),
            };
            instances.insert(target.clone(), created);
        }
        let instance = instances.get_mut(&target).expect("invariant: it exists or was created");
        instance.queue.push(message);
        self.schedule(&target, instance);
    }

    fn schedule(&self, id: &InstanceId, instance: &mut Instance) {
        if !instance.scheduled && !instance.queue.is_empty() {
            instance.scheduled = true;
            self.home(id).sender.send(Ready::Step(id.clone()));
        }
    }

    /// Fetches, executes and commits one step.
    async fn step(self: &Rc<Self>, host: &FunctionsHost, id: InstanceId) {
        let (messages, kept, written) = {
            let mut instances = self.instances.borrow_mut();
            let instance = instances.get_mut(&id).expect("invariant: what is scheduled stays");
            (std::mem::take(&mut instance.queue), instance.kept.take(), instance.written)
        };
        let mut ledger = critical_ledger(&messages);
        let (mut cursor, mut history, replayed) = match kept {
            Some((cursor, history)) => (cursor, history, 0),
            None => self.load(host, &id, written, &mut ledger).await,
        };
        let graph = self.observer.graph();
        let ids = messages.iter().map(|message| message.id);
        let item = graph.fetch_step(&id, cursor.last_step(), ids, self.kernel.now());
        let mut outcome = host.step(&mut cursor, replayed, item, &mut ledger, messages).await;
        graph.executed_step(item, &outcome);

        if outcome.replaces_history {
            history.clear();
        }
        history.extend(outcome.new_events.iter().cloned());
        if !self.write_before_send {
            self.send(&id, &mut outcome);
        }
        let timing = self.blobs.write(host.host(), &id, &history).await;
        let now = self.kernel.now();
        ledger.charge_request(&timing, now, Category::Retries);
        outcome.charge(&timing, now);
        graph.committed(item);
        self.committed(&id, cursor, history, &outcome, ledger);
        self.send(&id, &mut outcome);
    }

    /// An instance from its blob: cursor, history, and how many events were replayed.
    async fn load(
        &self,
        host: &FunctionsHost,
        id: &InstanceId,
        written: bool,
        ledger: &mut Ledger,
    ) -> (Cursor, Vec<HistoryEvent>, usize) {
        if !written {
            return (Cursor::new(self.application.clone(), id.clone()), Vec::new(), 0);
        }
        self.reads.set(self.reads.get() + 1);
        let history = self.blobs.read(host.host(), id, ledger).await;
        let cursor = Cursor::replay(self.application.clone(), id.clone(), &history);
        let replayed = history.len();
        (cursor, history, replayed)
    }

    /// Lets the messages of a step leave; those that have left are gone from `outcome`.
    fn send(self: &Rc<Self>, id: &InstanceId, outcome: &mut StepOutcome) {
        for task in std::mem::take(&mut outcome.tasks) {
            self.home(id).sender.send(Ready::Task(task));
        }
        for message in std::mem::take(&mut outcome.messages) {
            self.deliver(message);
        }
        for timer in std::mem::take(&mut outcome.timers) {
            self.start_timer(timer);
        }
    }

    fn start_timer(self: &Rc<Self>, timer: TimerMessage) {
        let hub = self.clone();
        self.functions(&timer.message.target).host().spawn(async move {
            hub.kernel.sleep_until(timer.fire_at).await;
            hub.deliver(timer.message);
        });
    }

    /// Takes over what a step has left, tells whoever waits, and schedules the next one.
    fn committed(
        &self,
        id: &InstanceId,
        cursor: Cursor,
        history: Vec<HistoryEvent>,
        outcome: &StepOutcome,
        ledger: Ledger,
    ) {
        let mut instances = self.instances.borrow_mut();
        let instance = instances.get_mut(id).expect("invariant: a stepping instance stays");
        instance.state.update(outcome, self.kernel.now());
        (instance.scheduled, instance.written) = (false, true);
        if !outcome.status.is_final() {
            instance.kept = self.keep_cursors.then_some((cursor, history));
            self.schedule(id, instance);
            return;
        }
        instance.next_event_id = cursor.next_event_id();
        for late in instance.queue.drain(..) {
            self.observer.graph().discarded(late.id);
        }
        let state = instance.state.clone();
        for waiting in instance.waiting.drain(..) {
            waiting.resolve(state.clone());
        }
        drop(instances);
        self.observer.completed(Completion {
            instance: id.clone(),
            created: state.created,
            last_updated: state.last_updated,
            status: state.status,
            ledger,
        });
    }

    /// Executes an activity. Nothing is stored: its answer is a message in memory.
    async fn task(&self, host: &FunctionsHost, task: TaskMessage) {
        let graph = self.observer.graph();
        let item = graph.fetch_task(task.id, self.kernel.now());
        let mut ledger = task.ledger;
        let result = host.task(&self.application, &mut ledger, &task).await;
        graph.executed(item, 1);
        graph.committed(item);
        let id = MessageId { producer: Producer::WorkItem(item), index: 0 };
        self.deliver(task.response(id, result, ledger));
    }
}

/// The deployed application.
pub(crate) struct Hub(Rc<HubInner>);

impl Hub {
    pub(crate) fn new(world: &World, deployment: Deployment) -> Hub {
        let queue = |index| {
            let (sender, receiver) = world.kernel().channel();
            HostQueue { functions: FunctionsHost::new(world, index, BACKEND), sender, receiver }
        };
        Hub(Rc::new(HubInner {
            kernel: world.kernel().clone(),
            application: deployment.application,
            observer: deployment.observer,
            hosts: (0..world.hosts().len()).map(queue).collect(),
            blobs: Blobs::new(world),
            instances: RefCell::new(IndexMap::default()),
            keep_cursors: deployment.settings.flag("keep_cursors"),
            write_before_send: deployment.settings.flag("write_before_send"),
            reads: Cell::new(0),
        }))
    }
}

impl TaskHub for Hub {
    fn start_host(&self, host: usize) {
        for _ in 0..SLOTS {
            let hub = self.0.clone();
            let queue = &self.0.hosts[host];
            let (functions, ready) = (queue.functions.clone(), queue.receiver.clone());
            queue.functions.host().spawn(async move {
                loop {
                    match ready.recv().await {
                        Ready::Step(id) => hub.step(&functions, id).await,
                        Ready::Task(task) => hub.task(&functions, task).await,
                    }
                }
            });
        }
    }

    fn client(&self, _host: usize) -> Rc<dyn Client> {
        Rc::new(TinyClient::new(self.0.clone()))
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("histories_read", self.0.reads.get())]
    }
}
