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

use futures_util::future::LocalBoxFuture;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use sim_model::application::Application;
use sim_model::engine::{
    Client, ClientError, Completion, Delivery, DeployError, Deployment, Engine, Guarantees,
    InstanceState, Observer, StartRequest, TaskHub,
};
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::{InstanceId, MessageId, Producer};
use sim_model::ledger::Ledger;
use sim_model::message::{InstanceMessage, TaskMessage, critical_ledger};
use sim_model::orchestration::{Cursor, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::{Setting, Settings};
use sim_world::functions::FunctionsHost;
use sim_world::kernel::{Kernel, Receiver, Resolver, Sender};
use sim_world::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Work items that one host executes side by side. More than any plan has cores: cores, not slots,
/// are what limits this engine.
const SLOTS: usize = 64;

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
        }
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
                HostQueue { functions: FunctionsHost::new(world, index), sender, receiver }
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
    state: Option<InstanceState>,
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

    /// Appends a message to its instance's queue and schedules a step if none is.
    fn deliver(&self, message: InstanceMessage) {
        let target = message.target.clone();
        let mut instances = self.instances.borrow_mut();
        let instance = instances.entry(target.clone()).or_insert_with(|| Instance {
            queue: Vec::new(),
            cursor: Some(Cursor::new(self.application.clone(), target.clone())),
            scheduled: false,
            state: None,
            waiting: Vec::new(),
        });
        let ended = instance.state.as_ref().is_some_and(|state| state.status.is_final());
        if ended || (instance.state.is_none() && !message.starts_instance()) {
            self.observer.graph().discarded(message.id);
            return;
        }
        if instance.state.is_none() {
            let created = message.event.timestamp;
            let status = RuntimeStatus::Running;
            instance.state = Some(InstanceState { created, last_updated: created, status });
        }
        instance.queue.push(message);
        if !instance.scheduled {
            instance.scheduled = true;
            self.home(&target).sender.send(Ready::Step(target));
        }
    }

    async fn step(&self, host: &FunctionsHost, id: InstanceId) {
        let (messages, mut cursor) = {
            let mut instances = self.instances.borrow_mut();
            let instance = instances.get_mut(&id).expect("invariant: a scheduled instance exists");
            let messages = std::mem::take(&mut instance.queue);
            let cursor = instance.cursor.take().expect("invariant: one step at a time");
            (messages, cursor)
        };
        let graph = self.observer.graph();
        let ids = messages.iter().map(|message| message.id);
        let item = graph.fetch_step(&id, cursor.last_step(), ids, self.kernel.now());
        let mut ledger = critical_ledger(&messages);
        let outcome = host.step(&mut cursor, 0, item, &mut ledger, messages).await;
        graph.executed(item, outcome.produced());
        graph.committed(item);
        self.commit_step(&id, cursor, &outcome.status, ledger);
        for task in outcome.tasks {
            self.home(&id).sender.send(Ready::Task(task));
        }
        for message in outcome.messages {
            self.deliver(message);
        }
    }

    /// Writes the state back, tells whoever waits, and schedules the next step if there is one.
    fn commit_step(&self, id: &InstanceId, cursor: Cursor, status: &RuntimeStatus, ledger: Ledger) {
        let mut instances = self.instances.borrow_mut();
        let instance = instances.get_mut(id).expect("invariant: instances are not removed");
        let state = instance.state.as_mut().expect("invariant: a stepped instance has a state");
        state.last_updated = self.kernel.now();
        state.status = status.clone();
        instance.scheduled = false;
        if !status.is_final() {
            instance.cursor = Some(cursor);
            if !instance.queue.is_empty() {
                instance.scheduled = true;
                self.home(id).sender.send(Ready::Step(id.clone()));
            }
            return;
        }
        for late in instance.queue.drain(..) {
            self.observer.graph().discarded(late.id);
        }
        let state = state.clone();
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
                        Ready::Step(id) => hub.step(&functions, id).await,
                        Ready::Task(task) => hub.task(&functions, task).await,
                    }
                }
            });
        }
    }

    fn client(&self, _host: usize) -> Rc<dyn Client> {
        Rc::new(Hub(self.0.clone()))
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("instances", self.0.instances.borrow().len() as u64)]
    }
}

/// The message that starts an instance, as a client sends it.
fn start_message(
    hub: &HubInner,
    name: Arc<str>,
    request: (InstanceId, Payload),
) -> InstanceMessage {
    let (target, input) = request;
    let now = hub.kernel.now();
    InstanceMessage {
        id: hub.observer.graph().client_message(),
        target,
        event: HistoryEvent { timestamp: now, kind: EventKind::ExecutionStarted { name, input } },
        ledger: Ledger::new(now),
    }
}

impl Client for Hub {
    fn start(&self, request: StartRequest) -> LocalBoxFuture<'static, Result<(), ClientError>> {
        if self.0.instances.borrow().contains_key(&request.instance) {
            let error = ClientError::Refused(format!("{} exists already", request.instance));
            return Box::pin(std::future::ready(Err(error)));
        }
        let message = start_message(&self.0, request.name, (request.instance, request.input));
        self.0.deliver(message);
        Box::pin(std::future::ready(Ok(())))
    }

    fn status(
        &self,
        instance: InstanceId,
    ) -> LocalBoxFuture<'static, Result<Option<InstanceState>, ClientError>> {
        let instances = self.0.instances.borrow();
        let state = instances.get(&instance).and_then(|instance| instance.state.clone());
        Box::pin(std::future::ready(Ok(state)))
    }

    fn wait(
        &self,
        instance: InstanceId,
    ) -> LocalBoxFuture<'static, Result<InstanceState, ClientError>> {
        let mut instances = self.0.instances.borrow_mut();
        let Some(found) = instances.get_mut(&instance) else {
            let error = ClientError::Refused(format!("there is no instance {instance}"));
            return Box::pin(std::future::ready(Err(error)));
        };
        match &found.state {
            Some(state) if state.status.is_final() => {
                Box::pin(std::future::ready(Ok(state.clone())))
            }
            _ => {
                let (resolver, completion) = self.0.kernel.completion();
                found.waiting.push(resolver);
                Box::pin(async move { Ok(completion.await) })
            }
        }
    }
}
