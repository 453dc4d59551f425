//! A small world with one task hub, a scene that plays on it, and what came of it.
#![allow(dead_code, reason = "each file of tests uses a part of it")]

use engine_sql_server::SqlServer;
use sim_model::application::Application;
use sim_model::engine::{Client, Completion, Deployment, Engine, Observer, StartRequest, TaskHub};
use sim_model::graph::{GraphRecorder, checks};
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use sim_world::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
use sim_world::machine::Machine;
use sim_world::profile::Profile;
use sim_world::world::{Deployment as Machines, World};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

/// Where a test plays.
#[derive(Clone, Copy)]
pub struct Stage {
    pub seed: u64,
    pub hosts: u32,
    pub sets: &'static [(&'static str, &'static str)],
    pub application: fn() -> Application,
    /// Days of virtual time that a test may take.
    pub days: u64,
}

impl Stage {
    /// One EP2 host, the standard profile, default settings.
    pub fn new(application: fn() -> Application) -> Stage {
        Stage { seed: 1, hosts: 1, sets: &[], application, days: 1 }
    }

    /// Deploys the hub, plays `scene`, and lets it come to rest.
    pub fn play<T, F>(self, scene: impl FnOnce(Rc<Play>) -> F + Send + 'static) -> Outcome<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let mut options = KernelOptions::with_seed(self.seed);
        options.time_limit = Timestamp::from_secs(self.days * 24 * 3600);
        on_fresh_thread(move || {
            let main = move |kernel: Kernel| async move {
                let play = self.deploy(kernel);
                let value = scene(play.clone()).await;
                play.rest().await;
                play.outcome(value)
            };
            let (mut outcome, trail) = simulate(options, main).expect("the run ends");
            outcome.digest = trail.digest;
            outcome
        })
    }

    fn deploy(self, kernel: Kernel) -> Rc<Play> {
        let mut settings = Settings::defaults(SqlServer.settings());
        for (key, value) in self.sets {
            settings.set(key, value).expect("a valid setting");
        }
        let profile = Rc::new(Profile::named("azure-2021-10").expect("embedded"));
        let machines = Machines { plan: "EP2".to_owned(), hosts: self.hosts, partitions: 12 };
        let world = World::new(&kernel, self.seed, profile, &machines).expect("a world");
        let graph = GraphRecorder::default();
        let completions: Rc<RefCell<Vec<Completion>>> = Rc::default();
        let sink = completions.clone();
        let observer = Observer::new(graph.clone(), move |done| sink.borrow_mut().push(done));
        let application = Rc::new((self.application)());
        let deployment = Deployment { application, settings, observer };
        let hub = SqlServer.deploy(&world, deployment).expect("deployed");
        (0..self.hosts as usize).for_each(|host| hub.start_host(host));
        Rc::new(Play { world, kernel, hub, graph, completions })
    }
}

/// The hub while a test plays.
pub struct Play {
    pub world: World,
    pub kernel: Kernel,
    pub hub: Rc<dyn TaskHub>,
    pub graph: GraphRecorder,
    pub completions: Rc<RefCell<Vec<Completion>>>,
}

impl Play {
    /// A client on the last host, which no test crashes.
    pub fn client(&self) -> Rc<dyn Client> {
        self.hub.client(self.world.hosts().len() - 1)
    }

    pub async fn start<I: serde::Serialize>(&self, instance: &str, name: &str, input: I) {
        self.client().start(request(instance, name, input)).await.expect("accepted");
    }

    /// Waits until an orchestration has ended.
    pub async fn end(&self, instance: &str) -> RuntimeStatus {
        self.client().wait(InstanceId::new(instance)).await.expect("an answer").status
    }

    /// Waits for the result of an orchestration.
    pub async fn result<O: serde::de::DeserializeOwned>(&self, instance: &str) -> O {
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

    /// The state of an entity as a client sees it.
    pub async fn state<S: serde::de::DeserializeOwned>(&self, entity: &EntityId) -> Option<S> {
        let state = self.client().status(entity.instance_id()).await.expect("an answer")?;
        assert_eq!(state.name, *entity.name());
        state.entity_state.map(|stored| stored.decode().expect("a state of this type"))
    }

    pub async fn signal(&self, entity: &EntityId, operation: &str, input: impl serde::Serialize) {
        let input = Payload::encode(&input).expect("a value");
        self.client().signal_entity(entity, operation, input).await.expect("accepted");
    }

    /// Lets time pass until no message is in flight, for half an hour at most.
    pub async fn rest(&self) {
        let mut pause = Duration::from_secs(1);
        while pause < Duration::from_secs(1800) {
            self.kernel.sleep(pause).await;
            if checks::no_message_lost(&self.graph.graph(), self.kernel.now()).is_none() {
                break;
            }
            pause *= 2;
        }
        // Deletes of what was consumed last.
        self.kernel.sleep(Duration::from_secs(2)).await;
    }

    /// The machine of the database.
    pub fn database(&self) -> Machine {
        let machines = self.world.machines();
        machines.into_iter().next().expect("the engine rents one")
    }

    /// A crash of a host, and its return after `pause`.
    pub async fn crash_host(&self, host: usize, pause: Duration) {
        self.world.hosts()[host].kill();
        self.kernel.sleep(pause).await;
        self.world.hosts()[host].restart();
        self.hub.start_host(host);
    }

    /// How many requests there were so far, by "service.kind".
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
            completions: self.completions.borrow().clone(),
            counters: self.hub.counters().into_iter().collect(),
            findings: findings.map(|finding| finding.map(|(_, violation)| violation.detail)),
            operations: self.operations(),
            steps: graph.items().filter(|(_, item)| checks::is_step(&item.kind)).count(),
            digest: 0,
        }
    }
}

pub fn request<I: serde::Serialize>(instance: &str, name: &str, input: I) -> StartRequest {
    let input = Payload::encode(&input).expect("a value");
    StartRequest { instance: InstanceId::new(instance), name: name.into(), input }
}

/// What came of a play.
pub struct Outcome<T> {
    pub value: T,
    pub completions: Vec<Completion>,
    pub counters: BTreeMap<&'static str, u64>,
    /// What each check found: steps and tasks once, no message lost, serial instances, causally
    /// consistent commit, no timer early.
    pub findings: [Option<String>; 6],
    pub operations: BTreeMap<String, u64>,
    /// Steps that were fetched.
    pub steps: usize,
    /// Digest over all events.
    pub digest: u64,
}

impl<T> Outcome<T> {
    /// # Panics
    /// If a rule of the model was broken.
    pub fn sound(self) -> Self {
        assert_eq!(self.findings, [const { None }; 6]);
        self
    }
}
