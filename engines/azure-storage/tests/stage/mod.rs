//! A small world with one task hub, a scene that plays on it, and what came of it.

// Each test uses a part of this.
#![allow(dead_code)]

use engine_azure_storage::AzureStorage;
use sim_model::application::Application;
use sim_model::engine::{Client, Completion, Deployment, Engine, Observer, StartRequest, TaskHub};
use sim_model::graph::{Graph, GraphRecorder, Progress, WorkItem, checks};
use sim_model::id::{EntityId, InstanceId, Producer};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use sim_world::distribution::Latency;
use sim_world::kernel::{Kernel, KernelOptions, NodeId, on_fresh_thread, simulate};
use sim_world::network::LinkProfile;
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
    /// How many of them are started at once.
    pub starts: u32,
    pub sets: &'static [(&'static str, &'static str)],
    pub application: fn() -> Application,
    /// Days of virtual time that a test may take.
    pub days: u64,
}

impl Stage {
    /// One EP2 host, the standard profile, default settings.
    pub fn new(application: fn() -> Application) -> Stage {
        Stage { seed: 1, hosts: 1, starts: 1, sets: &[], application, days: 1 }
    }

    /// The same with so many hosts, all started.
    pub fn on(self, hosts: u32) -> Stage {
        Stage { hosts, starts: hosts, ..self }
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
            simulate(options, main).expect("the run ends").0
        })
    }

    fn deploy(self, kernel: Kernel) -> Rc<Play> {
        let mut settings = Settings::defaults(AzureStorage.settings());
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
        let hub = AzureStorage.deploy(&world, deployment).expect("deployed");
        (0..self.starts as usize).for_each(|host| hub.start_host(host));
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
    /// A client on the last host that is alive.
    pub fn client(&self) -> Rc<dyn Client> {
        let alive = self.world.hosts().iter().rposition(|host| host.is_alive());
        self.hub.client(alive.expect("a host is alive"))
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

    /// Waits until so many orchestrations have ended, for `bound` at most.
    pub async fn ended_within(&self, count: usize, bound: Duration) {
        let _ = self.kernel.timeout(bound, self.ended(count)).await;
    }

    /// The nodes of queues, tables and blobs.
    fn services(&self) -> impl Iterator<Item = NodeId> + '_ {
        let first = self.world.client_node().0 + 1;
        let named =
            |node: &NodeId| ["queue", "table", "blob"].contains(&&*self.kernel.node_name(*node));
        (first..first + 3).map(NodeId).inspect(move |node| assert!(named(node), "a service"))
    }

    /// What a host sends to storage takes this long from now on; `None`: as long as ever.
    pub fn delay_requests(&self, host: usize, latency: Option<Duration>) {
        let usual = &self.world.profile().links.host_to_service;
        let latency = latency.map_or_else(|| usual.latency.clone(), Latency::constant);
        let bandwidth_bytes_per_s = usual.bandwidth_bytes_per_s;
        let link = LinkProfile { latency, bandwidth_bytes_per_s, ordered: false };
        let node = self.world.hosts()[host].node();
        self.services()
            .for_each(|service| self.world.network().set_link(node, service, link.clone()));
    }

    /// The owner of each control queue, as its lease says, wherever that is.
    pub async fn owners(&self) -> Vec<Option<String>> {
        let storage = self.world.storage();
        let (reader, table) = (self.world.client(), storage.table("taskhubPartitions"));
        let rows = table.query_partition(reader, "").await.expect("a read").value;
        let mut owners: Vec<_> = rows.iter().map(|row| owner(&row.body)).collect();
        let blobs = storage.container("taskhub-leases");
        for folder in ["ownership/", "default/"] {
            for name in blobs.list(reader, folder).await.expect("a list").value {
                owners.push(owner(&blobs.get(reader, &name).await.expect("a read").value));
            }
        }
        owners
    }

    /// The orchestrations that have ended so far, and how: a client may have been told of each.
    pub fn told(&self) -> Vec<(String, RuntimeStatus)> {
        let completions = self.completions.borrow();
        completions.iter().map(|end| (end.instance.to_string(), end.status.clone())).collect()
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

    /// How many rows the history of an instance has, the sentinel not counted.
    pub async fn history_rows(&self, instance: &str) -> usize {
        let table = self.world.storage().table("taskhubHistory");
        let rows = table.query_partition(self.world.client(), instance).await.expect("a read");
        rows.value.len().saturating_sub(1)
    }

    /// How many bytes the Instances row of an instance has.
    pub async fn instance_bytes(&self, instance: &str) -> usize {
        let table = self.world.storage().table("taskhubInstances");
        let row = table.get(self.world.client(), instance, "").await.expect("a read").value;
        row.expect("a row").body.len()
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
        ];
        Outcome {
            value,
            completions: self.completions.borrow().clone(),
            counters: self.hub.counters().into_iter().collect(),
            findings: findings.map(|finding| finding.map(|(_, violation)| violation.detail)),
            operations: self.operations(),
            causal: checks::causally_consistent_commit(&graph)
                .map(|(_, violation)| violation.detail),
            early: checks::no_timer_early(&graph).map(|(_, violation)| violation.detail),
            phantoms: phantoms(&graph),
            steps: graph.items().filter(|(_, item)| checks::is_step(&item.kind)).count(),
        }
    }
}

/// The owner in a lease: its first field, in a row or blob that holds it inline.
fn owner(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    enum Stored {
        Inline(Option<String>),
    }
    let Stored::Inline(owner) = sim_model::codec::decode(body).expect("a lease");
    owner
}

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

pub fn request<I: serde::Serialize>(instance: &str, name: &str, input: I) -> StartRequest {
    let input = Payload::encode(&input).expect("a value");
    StartRequest { instance: InstanceId::new(instance), name: name.into(), input }
}

/// What came of a play.
pub struct Outcome<T> {
    pub value: T,
    pub completions: Vec<Completion>,
    pub counters: BTreeMap<&'static str, u64>,
    /// What each check found: steps and tasks once, no message lost, serial instances.
    pub findings: [Option<String>; 4],
    pub operations: BTreeMap<String, u64>,
    /// What the check of causally consistent commit found.
    pub causal: Option<String>,
    /// What the check of timers found.
    pub early: Option<String>,
    /// Steps that were fetched.
    pub steps: usize,
    /// Messages of steps that were never committed, consumed by steps that were.
    pub phantoms: usize,
}

impl<T> Outcome<T> {
    /// # Panics
    /// If a rule of the model was broken.
    pub fn sound(self) -> Self {
        assert_eq!(self.findings, [const { None }; 4]);
        self
    }
}
