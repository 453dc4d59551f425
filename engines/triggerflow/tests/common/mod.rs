//! A small world with one task hub, and what came of it.

#![allow(dead_code, reason = "each file of tests uses its part")]

use engine_triggerflow::Triggerflow;
use sim_model::application::Application;
use sim_model::engine::{Client, Completion, Deployment, Engine, Observer, StartRequest, TaskHub};
use sim_model::graph::{GraphRecorder, checks};
use sim_model::id::InstanceId;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use sim_world::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
use sim_world::profile::Profile;
use sim_world::world::{Deployment as Machines, World};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

/// Where a test plays.
#[derive(Clone, Copy)]
pub struct Stage {
    pub seed: u64,
    pub plan: &'static str,
    pub hosts: u32,
    pub sets: &'static [(&'static str, &'static str)],
    pub profile: fn() -> Profile,
    pub application: fn() -> Application,
}

impl Stage {
    /// Two hosts of the default plan, the standard profile, default settings.
    pub fn new(application: fn() -> Application) -> Stage {
        let profile = || Profile::named("azure-2021-10").expect("the profile");
        Stage { seed: 1, plan: "EP2", hosts: 2, sets: &[], profile, application }
    }

    /// Deploys the hub, lets it start for a second, plays `scene`, and lets it come to rest.
    pub fn play<T, F>(self, scene: impl FnOnce(Rc<Play>) -> F + Send + 'static) -> Outcome<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let options = KernelOptions {
            time_limit: Timestamp::from_secs(7200),
            ..KernelOptions::with_seed(self.seed)
        };
        on_fresh_thread(move || {
            let main = move |kernel: Kernel| self.main(kernel, scene);
            let (mut outcome, trail) = simulate(options, main).expect("the run ends");
            outcome.digest = trail.digest;
            outcome
        })
    }

    fn main<T, F>(
        self,
        kernel: Kernel,
        scene: impl FnOnce(Rc<Play>) -> F,
    ) -> impl Future<Output = Outcome<T>>
    where
        F: Future<Output = T>,
    {
        let mut settings = Settings::defaults(Triggerflow.settings());
        for (key, value) in self.sets {
            settings.set(key, value).expect("a valid setting");
        }
        let profile = Rc::new((self.profile)());
        let plan = self.plan.to_string();
        let machines = Machines { plan, hosts: self.hosts, partitions: 12 };
        let world = World::new(&kernel, self.seed, profile, &machines).expect("a world");
        let graph = GraphRecorder::default();
        let completions: Rc<RefCell<Vec<Completion>>> = Rc::default();
        let sink = completions.clone();
        let levels: Rc<RefCell<Vec<(Timestamp, u64)>>> = Rc::default();
        let (level_sink, clock) = (levels.clone(), kernel.clone());
        let observer = Observer::new(graph.clone(), move |done| sink.borrow_mut().push(done))
            .with_levels(move |what, value| {
                assert_eq!(what, "workers");
                level_sink.borrow_mut().push((clock.now(), value));
            });
        let application = Rc::new((self.application)());
        let deployment = Deployment { application, settings, observer };
        let hub = Triggerflow.deploy(&world, deployment).expect("deployed");
        (0..self.hosts as usize).for_each(|host| hub.start_host(host));
        let play = Rc::new(Play { kernel, hub, world: world.clone(), completions });
        let played = scene(play.clone());
        async move {
            play.kernel.sleep(Duration::from_secs(1)).await;
            let value = played.await;
            play.kernel.sleep(Duration::from_secs(1)).await;
            let graph = graph.graph();
            let findings = [
                checks::exactly_once(&graph, checks::is_step),
                checks::exactly_once(&graph, checks::is_task),
                checks::no_message_lost(&graph, play.kernel.now()),
                checks::serial_instances(&graph),
                checks::causally_consistent_commit(&graph),
            ];
            let findings = findings.map(|finding| finding.map(|(_, violation)| violation.detail));
            let operations = world.meter().snapshot().into_iter();
            let operations =
                operations.map(|op| (format!("{}.{}", op.service, op.kind), op.count)).collect();
            let completions = play.completions.borrow().clone();
            let steps = graph.items().filter(|(_, item)| checks::is_step(&item.kind)).count();
            let counters = play.hub.counters();
            let levels = levels.borrow().clone();
            Outcome { value, digest: 0, completions, counters, findings, operations, steps, levels }
        }
    }
}

/// The hub while a test plays.
pub struct Play {
    pub kernel: Kernel,
    pub world: World,
    pub hub: Rc<dyn TaskHub>,
    pub completions: Rc<RefCell<Vec<Completion>>>,
}

impl Play {
    pub fn client(&self) -> Rc<dyn Client> {
        self.hub.client(0)
    }

    /// Crashes a host and starts it again after `down`.
    pub async fn crash(&self, host: usize, down: Duration) {
        self.world.hosts()[host].kill();
        self.kernel.sleep(down).await;
        self.world.hosts()[host].restart();
        self.hub.start_host(host);
    }

    /// How many operations of this kind the store has served.
    pub fn operations(&self, kind: &str) -> u64 {
        self.world.meter().total("stream-store", kind)
    }

    /// Starts an orchestration from host 0.
    pub async fn start<I: serde::Serialize>(&self, instance: &str, name: &str, input: I) {
        self.client().start(request(instance, name, input)).await.expect("accepted");
    }

    /// Waits for the result of an orchestration that was started.
    pub async fn result<O: serde::de::DeserializeOwned>(&self, instance: &str) -> O {
        let state = self.client().wait(InstanceId::new(instance)).await.expect("an answer");
        match state.status {
            sim_model::orchestration::RuntimeStatus::Completed(result) => {
                result.decode().expect("a result of this type")
            }
            other => panic!("{instance} ended as {other:?}"),
        }
    }

    /// Waits until so many orchestrations have ended.
    pub async fn ended(&self, count: usize) {
        while self.completions.borrow().len() < count {
            self.kernel.sleep(Duration::from_millis(100)).await;
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
    pub digest: u64,
    pub completions: Vec<Completion>,
    pub counters: Vec<(&'static str, u64)>,
    /// What each check found: steps and tasks once, no message lost, serial instances, causal order.
    pub findings: [Option<String>; 5],
    pub operations: Vec<(String, u64)>,
    pub steps: usize,
    /// How many workers ran, and since when.
    pub levels: Vec<(Timestamp, u64)>,
}

impl<T> Outcome<T> {
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.iter().find(|(key, _)| *key == name).expect("a counter").1
    }

    pub fn operations_of(&self, name: &str) -> u64 {
        self.operations.iter().find(|(key, _)| key == name).map_or(0, |(_, count)| *count)
    }

    /// # Panics
    /// If a rule of the model was broken.
    pub fn sound(self) -> Self {
        assert_eq!(self.findings, [const { None }; 5]);
        self
    }

    /// The same after faults: a task may then have run twice.
    ///
    /// # Panics
    /// If another rule of the model was broken.
    pub fn sound_after_faults(mut self) -> Self {
        self.findings[1] = None;
        self.sound()
    }
}
