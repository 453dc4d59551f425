//! The engine `in-memory`: the model with no durability and no cost.
//!
//! **What it models.** The serverless message-passing model by itself: a queue and a state for each
//! instance in the memory of one immortal process, and nothing else. Fetching, committing and
//! sending take no time and no operations; the only cost left is the core time that user code and
//! the functions runtime take on the hosts, which no engine can avoid. It is the oracle for results
//! and the upper bound for speed.
//!
//! **Assumptions.** Instances are spread over the hosts by the hash of their key; an activity runs
//! on the host of its caller. Memory is never lost: the engine declares no durability, and a host
//! that crashes takes its instances along.

mod client;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use sim_model::application::Application;
use sim_model::cursor::Cursor;
use sim_model::engine::{
    Client, Completion, Delivery, DeployError, Deployment, Engine, FaultBudget, FaultClass,
    Guarantees, InstanceState, Observer, TaskHub,
};
use sim_model::history::EventId;
use sim_model::id::{InstanceId, MessageId, Producer};
use sim_model::ledger::Ledger;
use sim_model::message::{InstanceMessage, TaskMessage, TimerMessage, critical_ledger};
use sim_model::settings::{Setting, Settings};
use sim_model::step::{EntityBackend, StepOutcome};
use sim_world::functions::FunctionsHost;
use sim_world::kernel::{Kernel, Receiver, Resolver, Sender};
use sim_world::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Work items that one host executes side by side. More than any plan has cores: cores, not slots,
/// are what limits this engine.
const SLOTS: usize = 64;

/// Messages arrive once and in order; nothing limits a batch or a delay.
const BACKEND: EntityBackend = EntityBackend {
    reorder_window: Duration::ZERO,
    max_operations: usize::MAX,
    max_signal_delay: None,
    implicit_deletion: true,
};

/// The engine `in-memory`.
pub struct InMemory;

impl Engine<World> for InMemory {
    fn name(&self) -> &'static str {
        "in-memory"
    }

    fn summary(&self) -> &'static str {
        "the model with no durability and no cost: the oracle for results, the upper bound for speed"
    }

    fn guarantees(&self, _settings: &Settings) -> Guarantees {
        Guarantees {
            steps: Delivery::ExactlyOnce,
            tasks: Delivery::ExactlyOnce,
            causally_consistent_commit: true,
            fifo_between_instances: true,
            durable: false,
            durable_reads: false,
            lossless: true,
            serial_instances: true,
        }
    }

    fn fault_budget(&self, _settings: &Settings) -> FaultBudget {
        // It writes nothing: what takes the memory of a host, or a message between hosts, takes the work with
        // it. It asks no service: what goes wrong there it does not meet.
        let loses = [
            FaultClass::HostCrash,
            FaultClass::HostPowerLoss,
            FaultClass::NetworkLoss,
            FaultClass::Duplication,
        ];
        let mut survives = FaultClass::OF_CLOUD.to_vec();
        survives.retain(|class| !loses.contains(class));
        FaultBudget { survives, heals_within: Duration::from_secs(60) }
    }

    fn settings(&self) -> &'static [Setting] {
        &[]
    }

    fn deploy(
        &self,
        world: &World,
        deployment: Deployment,
    ) -> Result<Rc<dyn TaskHub>, DeployError> {
        let hosts = (0..world.hosts().len())
            .map(|index| {
                let (sender, receiver) = world.kernel().channel();
                HostQueue { functions: FunctionsHost::new(world, index, BACKEND), sender, receiver }
            })
            .collect();
        Ok(Rc::new(Hub(Rc::new(HubInner {
            kernel: world.kernel().clone(),
            application: deployment.application,
            observer: deployment.observer,
            hosts,
            instances: RefCell::new(IndexMap::default()),
        }))))
    }
}

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

/// The key-queue-value triple of one instance. The value is the suspended code itself; its history
/// is not kept, since nothing ever replays it.
struct Instance {
    queue: Vec<InstanceMessage>,
    /// `None` while a step executes.
    cursor: Option<Cursor>,
    scheduled: bool,
    state: InstanceState,
    /// The number of the decision that would follow, once the orchestration has ended.
    next_event_id: EventId,
    waiting: Vec<Resolver<InstanceState>>,
}

struct HubInner {
    kernel: Kernel,
    application: Rc<Application>,
    observer: Observer,
    hosts: Vec<HostQueue>,
    instances: RefCell<IndexMap<InstanceId, Instance, FxBuildHasher>>,
}

impl HubInner {
    fn home(&self, instance: &InstanceId) -> &HostQueue {
        &self.hosts[instance.fnv1a() as usize % self.hosts.len()]
    }

    /// Appends a message to its instance's queue and schedules a step if none is. A message that
    /// nobody will consume is dropped.
    fn deliver(&self, mut message: InstanceMessage) {
        let target = message.target.clone();
        let mut instances = self.instances.borrow_mut();
        let ended = |found: &Instance| found.state.status.is_final();
        let absent = instances.get(&target).is_none_or(ended);
        if absent {
            if !message.creates_instance() {
                self.observer.graph().discarded(message.id);
                return;
            }
            let former = instances.swap_remove(&target);
            if let Some(former) = &former {
                message.number_decisions_from(former.next_event_id);
            }
            let waiting = former.map(|former| former.waiting).unwrap_or_default();
            instances.insert(target.clone(), self.create(&message, waiting));
        }
        let instance = instances.get_mut(&target).expect("invariant: it exists or was created");
        instance.queue.push(message);
        if !instance.scheduled {
            instance.scheduled = true;
            self.home(&target).sender.send(Ready::Step(target));
        }
    }

    fn create(&self, message: &InstanceMessage, waiting: Vec<Resolver<InstanceState>>) -> Instance {
        Instance {
            queue: Vec::new(),
            cursor: Some(Cursor::new(self.application.clone(), message.target.clone())),
            scheduled: false,
            state: InstanceState::of_message(message),
            next_event_id: 0,
            waiting,
        }
    }

    async fn step(self: Rc<Self>, host: &FunctionsHost, id: InstanceId) {
        let (messages, mut cursor) = {
            let mut instances = self.instances.borrow_mut();
            let Some(instance) = instances.get_mut(&id) else {
                // Removed while the step waited for its turn.
                return;
            };
            let messages = std::mem::take(&mut instance.queue);
            let cursor = instance.cursor.take().expect("invariant: one step at a time");
            (messages, cursor)
        };
        let graph = self.observer.graph();
        let ids = messages.iter().map(|message| message.id);
        let item = graph.fetch_step(&id, cursor.last_step(), ids, self.kernel.now());
        let mut ledger = critical_ledger(&messages);
        let outcome = host.step(&mut cursor, 0, item, &mut ledger, messages).await;
        graph.executed_step(item, &outcome);
        graph.committed(item);
        self.commit_step(&id, cursor, &outcome, ledger);
        for task in outcome.tasks {
            self.home(&id).sender.send(Ready::Task(task));
        }
        for message in outcome.messages {
            self.deliver(message);
        }
        for timer in outcome.timers {
            self.start_timer(timer);
        }
    }

    /// Delivers a message when its time has come. Timers live as long as the process does.
    fn start_timer(self: &Rc<Self>, timer: TimerMessage) {
        let hub = self.clone();
        let host = self.home(&timer.message.target).functions.host().clone();
        host.spawn(async move {
            hub.kernel.sleep_until(timer.fire_at).await;
            hub.deliver(timer.message);
        });
    }

    /// Writes the state back, tells whoever waits, and schedules the next step if there is one.
    fn commit_step(&self, id: &InstanceId, cursor: Cursor, outcome: &StepOutcome, ledger: Ledger) {
        let mut instances = self.instances.borrow_mut();
        let instance = instances.get_mut(id).expect("invariant: a stepping instance stays");
        instance.state.update(outcome, self.kernel.now());
        instance.scheduled = false;
        if !outcome.status.is_final() {
            if outcome.deleted && instance.queue.is_empty() {
                instances.swap_remove(id);
                return;
            }
            let fresh = || Cursor::new(self.application.clone(), id.clone());
            instance.cursor = Some(if outcome.deleted { fresh() } else { cursor });
            if !instance.queue.is_empty() {
                instance.scheduled = true;
                self.home(id).sender.send(Ready::Step(id.clone()));
            }
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

struct Hub(Rc<HubInner>);

impl TaskHub for Hub {
    fn start_host(&self, host: usize) {
        for _ in 0..SLOTS {
            let hub = self.0.clone();
            let queue = &self.0.hosts[host];
            let (functions, ready) = (queue.functions.clone(), queue.receiver.clone());
            queue.functions.host().spawn(async move {
                loop {
                    match ready.recv().await {
                        Ready::Step(id) => hub.clone().step(&functions, id).await,
                        Ready::Task(task) => hub.task(&functions, task).await,
                    }
                }
            });
        }
    }

    fn client(&self, _host: usize) -> Rc<dyn Client> {
        Rc::new(client::MemoryClient::new(self.0.clone()))
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("instances", self.0.instances.borrow().len() as u64)]
    }
}
