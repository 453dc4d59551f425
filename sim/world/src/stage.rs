//! A stage for tests of engines: a small world with one task hub, a scene that plays on it, and what came
//! of it.
//!
//! Whoever writes an engine tests it here before the lab runs it: no load, no workload and no verdict,
//! but the model's checks on the record of work items. A scene is code on the side of the test: it reaches
//! the hub through clients, and may crash and restart hosts.
//!
//! ```
//! # use sim_model::{application::Application, engine::Engine, orchestration::OrchestrationContext};
//! # use sim_world::{stage::{Play, Stage}, world::World};
//! # use std::rc::Rc;
//! fn application() -> Application {
//!     let mut app = Application::new();
//!     app.orchestration("Double", |_: OrchestrationContext, n: u32| async move { Ok(2 * n) });
//!     app
//! }
//! fn doubles(engine: fn() -> Box<dyn Engine<World>>) {
//!     let outcome = Stage::new(engine, application).play(async |play: Rc<Play>| {
//!         play.start("one", "Double", 21).await;
//!         play.result::<u32>("one").await
//!     });
//!     assert_eq!(outcome.sound().value, 42);
//! }
//! ```
//!
//! What goes wrong here is a failed test: nearly everything panics instead of returning an error.

use crate::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
use crate::profile::Profile;
use crate::world::{Deployment as Machines, World};
use serde::{Serialize, de::DeserializeOwned};
use sim_model::application::Application;
use sim_model::engine::{
    Client, Completion, DeployError, Deployment, Engine, Guarantees, Observer, StartRequest,
    TaskHub,
};
use sim_model::graph::{Graph, GraphRecorder, Progress, WorkItem, checks};
use sim_model::id::{EntityId, InstanceId, Producer};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

/// On which host the scene's client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientHost {
    /// The first.
    First,
    /// The last one that is alive.
    LastAlive,
}

/// Where a test plays.
#[derive(Clone, Copy)]
pub struct Stage {
    /// The engine.
    pub engine: fn() -> Box<dyn Engine<World>>,
    /// The application.
    pub application: fn() -> Application,
    /// The seed of the world.
    pub seed: u64,
    /// The plan of the hosts.
    pub plan: &'static str,
    /// Hosts.
    pub hosts: u32,
    /// How many of them are started with the hub; all if `None`.
    pub started: Option<u32>,
    /// Settings that are not the defaults, without the engine's name.
    pub sets: &'static [(&'static str, &'static str)],
    /// The profile.
    pub profile: fn() -> Profile,
    /// Where the scene's client is.
    pub client_host: ClientHost,
    /// How long hosts start up before the scene begins.
    pub settle: Duration,
    /// Pauses of [`Play::rest`] are shorter than this.
    pub rest: Duration,
    /// How long [`Play::rest`] goes on when no message is in flight any more: what was consumed last
    /// is deleted.
    pub tail: Duration,
    /// The most virtual time that a play takes.
    pub time_limit: Duration,
}

impl Stage {
    /// One EP2 host, the profile `azure-2021-10`, default settings, seed 1.
    pub fn new(engine: fn() -> Box<dyn Engine<World>>, application: fn() -> Application) -> Stage {
        Stage {
            engine,
            application,
            seed: 1,
            plan: "EP2",
            hosts: 1,
            started: None,
            sets: &[],
            profile: || Profile::named("azure-2021-10").expect("embedded profiles are valid"),
            client_host: ClientHost::LastAlive,
            settle: Duration::ZERO,
            rest: Duration::from_secs(1800),
            tail: Duration::from_secs(2),
            time_limit: Duration::from_secs(24 * 3600),
        }
    }

    /// The same with so many hosts.
    pub fn on(self, hosts: u32) -> Stage {
        Stage { hosts, ..self }
    }

    /// Deploys the hub, plays `scene`, and lets it come to rest.
    ///
    /// # Panics
    /// If the hub cannot be deployed, the scene panics, or time comes to its limit.
    pub fn play<T, F>(self, scene: impl FnOnce(Rc<Play>) -> F + Send + 'static) -> Outcome<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let mut options = KernelOptions::with_seed(self.seed);
        options.time_limit = Timestamp::ZERO + self.time_limit;
        on_fresh_thread(move || {
            let main = move |kernel: Kernel| async move {
                let play = Rc::new(self.deploy(kernel).expect("the engine can be deployed"));
                if !self.settle.is_zero() {
                    play.kernel.sleep(self.settle).await;
                }
                let value = scene(play.clone()).await;
                play.rest().await;
                play.outcome(value)
            };
            let (mut outcome, trail) = simulate(options, main).expect("the play ends");
            outcome.digest = trail.digest;
            outcome
        })
    }

    /// Why the engine cannot be deployed like this.
    ///
    /// # Panics
    /// If it can.
    pub fn refusal(self) -> String {
        on_fresh_thread(move || {
            let main = async move |kernel| self.deploy(kernel).err().map(|error| error.to_string());
            let told = simulate(KernelOptions::with_seed(self.seed), main).expect("it ends").0;
            told.expect("the engine refuses")
        })
    }

    fn deploy(self, kernel: Kernel) -> Result<Play, DeployError> {
        let engine = (self.engine)();
        let mut settings = Settings::defaults(engine.settings());
        for (key, value) in self.sets {
            settings.set(key, value).expect("a valid setting");
        }
        let plan = self.plan.to_owned();
        let machines = Machines { plan, hosts: self.hosts, partitions: 12 };
        let world = World::new(&kernel, self.seed, Rc::new((self.profile)()), &machines);
        let world = world.expect("a world");
        let graph = GraphRecorder::default();
        let completions: Rc<RefCell<Vec<Completion>>> = Rc::default();
        let levels: Rc<RefCell<Vec<Level>>> = Rc::default();
        let (ends, heights, clock) = (completions.clone(), levels.clone(), kernel.clone());
        let observer = Observer::new(graph.clone(), move |done| ends.borrow_mut().push(done))
            .with_levels(move |what, value| {
                heights.borrow_mut().push((clock.now(), what, value));
            });
        let guarantees = engine.guarantees(&settings);
        let application = Rc::new((self.application)());
        let hub = engine.deploy(&world, Deployment { application, settings, observer })?;
        let up = RefCell::default();
        let stage = self;
        let play = Play { stage, kernel, world, hub, graph, guarantees, completions, levels, up };
        (0..self.started.unwrap_or(self.hosts)).for_each(|host| play.start_host(host as usize));
        Ok(play)
    }
}

/// A level that an engine has reported: when, of what, how much.
pub type Level = (Timestamp, &'static str, u64);

/// The hub while a test plays.
pub struct Play {
    stage: Stage,
    /// The kernel.
    pub kernel: Kernel,
    /// The world.
    pub world: World,
    /// The task hub.
    pub hub: Rc<dyn TaskHub>,
    /// The record of work items.
    pub graph: GraphRecorder,
    guarantees: Guarantees,
    /// What has ended so far.
    pub completions: Rc<RefCell<Vec<Completion>>>,
    /// The levels that were reported and not taken.
    pub levels: Rc<RefCell<Vec<Level>>>,
    /// Hosts that were started, and neither stopped nor frozen.
    up: RefCell<BTreeSet<usize>>,
}

impl Play {
    /// The scene's client.
    pub fn client(&self) -> Rc<dyn Client> {
        let hosts = self.world.hosts();
        self.hub.client(match self.stage.client_host {
            ClientHost::First => 0,
            ClientHost::LastAlive => {
                hosts.iter().rposition(|host| host.is_alive()).expect("a host is alive")
            }
        })
    }

    /// Starts an orchestration.
    pub async fn start<I: Serialize>(&self, instance: &str, name: &str, input: I) {
        self.client().start(request(instance, name, input)).await.expect("accepted");
    }

    /// Waits until an orchestration has ended.
    pub async fn end(&self, instance: &str) -> RuntimeStatus {
        self.client().wait(InstanceId::new(instance)).await.expect("an answer").status
    }

    /// Waits for the result of an orchestration.
    pub async fn result<O: DeserializeOwned>(&self, instance: &str) -> O {
        match self.end(instance).await {
            RuntimeStatus::Completed(result) => result.decode().expect("a result of this type"),
            other => panic!("{instance} ended as {other:?}"),
        }
    }

    /// Waits until so many orchestrations have ended.
    pub async fn ended(&self, count: usize) {
        while self.completions.borrow().len() < count {
            self.kernel.sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until so many orchestrations have ended, for `bound` at most.
    pub async fn ended_within(&self, count: usize, bound: Duration) {
        let _ = self.kernel.timeout(bound, self.ended(count)).await;
    }

    /// The state of an entity as a client sees it.
    pub async fn state<S: DeserializeOwned>(&self, entity: &EntityId) -> Option<S> {
        let state = self.client().status(entity.instance_id()).await.expect("an answer")?;
        assert_eq!(state.name, *entity.name());
        state.entity_state.map(|stored| stored.decode().expect("a state of this type"))
    }

    /// Sends an operation to an entity.
    pub async fn signal(&self, entity: &EntityId, operation: &str, input: impl Serialize) {
        let input = Payload::encode(&input).expect("a value");
        self.client().signal_entity(entity, operation, input).await.expect("accepted");
    }

    /// Lets time pass, in pauses that double, until no message is in flight.
    pub async fn rest(&self) {
        let mut pause = Duration::from_secs(1);
        while pause < self.stage.rest {
            self.kernel.sleep(pause).await;
            if checks::no_message_lost(&self.graph.graph(), self.kernel.now()).is_none() {
                break;
            }
            pause *= 2;
        }
        if !self.stage.tail.is_zero() {
            self.kernel.sleep(self.stage.tail).await;
        }
    }

    /// Crashes a host.
    pub fn crash(&self, host: usize) {
        self.world.hosts()[host].kill();
    }

    /// Restarts a host that has crashed.
    pub fn restart(&self, host: usize) {
        self.world.hosts()[host].restart();
        self.start_host(host);
    }

    /// Crashes a host, and restarts it after `down`.
    pub async fn crash_for(&self, host: usize, down: Duration) {
        self.crash(host);
        self.kernel.sleep(down).await;
        self.restart(host);
    }

    /// Freezes a host.
    pub fn pause(&self, host: usize) {
        self.world.hosts()[host].pause();
        self.up.borrow_mut().remove(&host);
    }

    /// Lets a host that was frozen go on.
    pub fn resume(&self, host: usize) {
        self.world.hosts()[host].resume();
        self.up.borrow_mut().insert(host);
    }

    /// Starts a host that was not started with the hub.
    pub fn start_host(&self, host: usize) {
        self.up.borrow_mut().insert(host);
        self.hub.start_host(host);
    }

    /// Takes a host out of service, and switches it off.
    pub async fn stop_host(&self, host: usize) {
        self.up.borrow_mut().remove(&host);
        self.hub.stop_host(host).await;
        self.crash(host);
    }

    /// Whether a host is alive, not frozen, and runs the hub.
    pub fn is_up(&self, host: usize) -> bool {
        self.world.hosts()[host].is_alive() && self.up.borrow().contains(&host)
    }

    /// How many requests there were so far, by `service.kind`.
    pub fn operations(&self) -> BTreeMap<String, u64> {
        let operations = self.world.meter().snapshot().into_iter();
        operations.map(|op| (format!("{}.{}", op.service, op.kind), op.count)).collect()
    }

    fn outcome<T>(&self, value: T) -> Outcome<T> {
        let graph = self.graph.graph();
        let findings = [
            checks::exactly_once(&graph, checks::is_step),
            checks::exactly_once(&graph, checks::is_task),
            checks::no_message_lost(&graph, self.kernel.now()),
            checks::serial_instances(&graph),
            checks::causally_consistent_commit(&graph),
            checks::no_timer_early(&graph),
        ];
        Outcome {
            value,
            digest: 0,
            completions: self.completions.borrow().clone(),
            counters: self.hub.counters().into_iter().collect(),
            guarantees: self.guarantees,
            findings: findings.map(|finding| finding.map(|(_, violation)| violation.detail)),
            operations: self.operations(),
            steps: graph.items().filter(|(_, item)| checks::is_step(&item.kind)).count(),
            phantoms: phantoms(&graph),
            levels: self.levels.borrow().clone(),
        }
    }
}

/// Messages of work items that were never committed, consumed by work items that were.
fn phantoms(graph: &Graph) -> usize {
    let is_committed = |item: &WorkItem| matches!(item.progress, Progress::Committed(_));
    let committed = graph.items().filter(|(_, item)| is_committed(item));
    let consumed = committed.flat_map(|(_, item)| graph.consumed(item));
    consumed
        .filter(|message| match message.producer {
            Producer::WorkItem(producer) => !is_committed(graph.item(producer)),
            Producer::Client => false,
        })
        .count()
}

/// A request to start an orchestration.
pub fn request<I: Serialize>(instance: &str, name: &str, input: I) -> StartRequest {
    let input = Payload::encode(&input).expect("a value");
    StartRequest { instance: InstanceId::new(instance), name: name.into(), input }
}

/// What came of a play.
pub struct Outcome<T> {
    /// What the scene has returned.
    pub value: T,
    /// Digest over all events.
    pub digest: u64,
    /// What has ended.
    pub completions: Vec<Completion>,
    /// The engine's counters.
    pub counters: BTreeMap<&'static str, u64>,
    /// What the engine promises.
    pub guarantees: Guarantees,
    /// What each check found: steps once, tasks once, no message lost, serial instances, causally
    /// consistent commit, no timer early.
    pub findings: [Option<String>; 6],
    /// Requests, by `service.kind`.
    pub operations: BTreeMap<String, u64>,
    /// Steps that were fetched.
    pub steps: usize,
    /// Messages of work items that were never committed, consumed by work items that were.
    pub phantoms: usize,
    /// The levels that were reported and not taken.
    pub levels: Vec<Level>,
}

/// Where [`Outcome::findings`] has the breach of each rule that tests name.
pub mod finding {
    /// A task ran twice.
    pub const TASKS: usize = 1;
    /// A work item was committed before something it depends on.
    pub const CAUSAL: usize = 4;
}

impl<T> Outcome<T> {
    /// How often a mechanism of the engine came into play.
    ///
    /// # Panics
    /// If the engine has no such counter.
    pub fn counter(&self, name: &str) -> u64 {
        *self.counters.get(name).unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// How many requests of a kind there were, by `service.kind`.
    pub fn operations_of(&self, name: &str) -> u64 {
        self.operations.get(name).copied().unwrap_or(0)
    }

    /// The outcome, if no rule of the model was broken. Causally consistent commit counts where it is
    /// promised.
    ///
    /// # Panics
    /// If a rule was broken.
    pub fn sound(self) -> Self {
        let mut findings = self.findings.clone();
        if !self.guarantees.causally_consistent_commit {
            findings[finding::CAUSAL] = None;
        }
        assert_eq!(findings, [const { None }; 6]);
        self
    }

    /// The same after faults under an engine whose tasks may then run twice.
    ///
    /// # Panics
    /// If another rule was broken.
    pub fn sound_after_faults(mut self) -> Self {
        self.findings[finding::TASKS] = None;
        self.sound()
    }
}
