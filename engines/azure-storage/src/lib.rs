//! The engine `azure-storage`: per-operation table storage.
//!
//! **What it models.** The original storage provider of Durable Functions. Messages to instances
//! go through *control queues*, one for each partition, each dequeued by one worker; activities go
//! through *one* work-item queue on which all workers compete. The state of an instance is its
//! history in a table, read and replayed for every step; a second table has one row of status for
//! each instance. Every step and activity is a fixed sequence of single storage operations, and
//! only the transaction that writes the history is atomic. A chain of `n` activities costs
//! `8n + 8` operations, besides polling.
//!
//! **Entities** are instances like any other: their messages go through control queues, their whole
//! state is three history rows that every step writes again, and the order of their messages is
//! restored by a sorter in that state. A message for later (a timer, a delayed signal) lies hidden in
//! the instance's own control queue.
//!
//! **Assumptions.** No compression of large content; one task hub; clients run on workers' hosts.
//!
//! **Recovery.** A worker's memory is lost with its host; a restarted host begins again from
//! storage. Messages that it held become visible after their visibility timeout (5 minutes), which
//! dominates the recovery of what was in flight. Control queues of a host that is lost are taken over
//! when its leases have run out (`leases`); a host that hangs and comes back is fenced by the ETag of
//! each history. A host that is taken out of service drains its queues and gives up its leases.
//!
//! **Order of a step.** The published one (puts, history, row, deletes) leaves messages of steps that
//! were never committed when a host crashes in between; `step_order=history-first` does not
//! (`journal`).
//!
//! **Source.** Azure/durabletask main@5217032, `src/DurableTask.AzureStorage`; each module names
//! its files.
//!
//! | module | holds |
//! |---|---|
//! | `backoff`, `rules`, `sessions`, `history`, `checkpoint`, `journal`, `ownership`, `listening` | decisions: plain state machines |
//! | `leases` | who owns which control queue: decisions, and the tasks that carry them out |
//! | `settings`, `wire`, `counters` | what can be set, what is stored, what is counted |
//! | `store`, `shared`, `transit` | storage operations of a host; what a task hub shares |
//! | `instances`, `outbox` | the rows that clients see; what is sent |
//! | `worker`, `control`, `dispatch`, `step`, `recovery`, `activity`, `renewal` | the tasks of a worker |
//! | `client`, `purge` | the requests of clients |
//!
//! Units: instants are virtual nanoseconds, sizes are bytes.
#![forbid(unsafe_code)]

mod activity;
mod backoff;
mod checkpoint;
mod client;
mod control;
mod counters;
mod dispatch;
mod history;
mod instances;
mod journal;
mod leases;
mod listening;
mod outbox;
mod ownership;
mod purge;
mod recovery;
mod renewal;
mod rules;
mod sessions;
mod settings;
mod shared;
mod step;
mod store;
mod transit;
mod wire;
mod worker;

use futures_util::future::LocalBoxFuture;
use settings::{PARTITIONS_MAX, Parameters, SETTINGS};
use shared::Shared;
use sim_model::engine::{
    Client, ClientAnswer, ClientMessage, Delivery, DeployError, Deployment, Engine, FaultBudget,
    FaultClass, Guarantees, InstanceQuery, InstanceState, StartRequest, TaskHub,
};
use sim_model::id::InstanceId;
use sim_model::settings::{Setting, Settings};
use sim_world::world::World;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use worker::{STOP_POLL, Worker};

/// The name of the engine.
const NAME: &str = "azure-storage";

/// The engine: per-operation table storage.
///
/// ```
/// use engine_azure_storage::AzureStorage;
/// use sim_model::engine::Engine;
/// use sim_model::settings::Settings;
/// let mut settings = Settings::defaults(AzureStorage.settings());
/// assert_eq!(AzureStorage.name(), "azure-storage");
/// assert!(!AzureStorage.guarantees(&settings).durable);
/// settings.set("instance_etag", "true").unwrap();
/// assert!(AzureStorage.guarantees(&settings).durable);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AzureStorage;

impl Engine<World> for AzureStorage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "per-operation table storage: control queues, one work-item queue, history tables"
    }

    fn guarantees(&self, settings: &Settings) -> Guarantees {
        // In the published order a crash can make a step consume again what carries no stamp, and
        // leaves what was sent by steps that were never committed. A row of the Instances table that is written
        // without a condition can undo what a client was told.
        let exact = settings.choice("step_order") == "history-first";
        Guarantees {
            steps: if exact { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce },
            tasks: Delivery::AtLeastOnce,
            causally_consistent_commit: exact,
            fifo_between_instances: false,
            durable: settings.flag("instance_etag"),
            durable_reads: settings.flag("instance_etag"),
            lossless: true,
            serial_instances: true,
        }
    }

    fn fault_budget(&self, settings: &Settings) -> FaultBudget {
        // A message that a lost worker had taken is hidden for the visibility timeout, and again if the
        // worker that takes it next is not the partition's owner yet; a lease runs out; a failed
        // fetch pauses; an idle queue is looked at again.
        let visibility = settings
            .span("control_queue_visibility_timeout")
            .max(settings.span("work_item_queue_visibility_timeout"));
        let pauses = settings.span("lease_interval").max(Duration::from_secs(60))
            + settings.span("lease_acquire_interval")
            + settings.span("fetch_error_delay")
            + settings.span("max_polling_interval");
        FaultBudget {
            survives: FaultClass::OF_CLOUD.to_vec(),
            heals_within: visibility * 2 + pauses * 2,
        }
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn deploy(
        &self,
        world: &World,
        deployment: Deployment,
    ) -> Result<Rc<dyn TaskHub>, DeployError> {
        let unsupported = |problem| DeployError::Unsupported { engine: NAME, problem };
        let parameters = Parameters::new(&deployment.settings).map_err(unsupported)?;
        let blobs = &world.profile().services.blob;
        parameters.check_blob_leases(blobs.lease_min..=blobs.lease_max).map_err(unsupported)?;
        let partitions = world.deployment().partitions;
        if partitions > PARTITIONS_MAX {
            return Err(unsupported(format!(
                "{partitions} partitions: a task hub has 1 to {PARTITIONS_MAX} control queues"
            )));
        }
        let shared = Shared::new(world, deployment.application, parameters, deployment.observer);
        let workers = (0..world.hosts().len()).map(|host| Place::new(&shared, host, 0)).collect();
        Ok(Rc::new(AzureTaskHub(Rc::new(Inner { shared, workers: RefCell::new(workers) }))))
    }
}

/// The worker on a host, and how often one was started there.
struct Place {
    worker: Rc<Worker>,
    started: u32,
}

impl Place {
    fn new(shared: &Rc<Shared>, host: usize, started: u32) -> Place {
        Place { worker: Worker::new(shared, host, started), started }
    }
}

struct Inner {
    shared: Rc<Shared>,
    workers: RefCell<Vec<Place>>,
}

impl Inner {
    /// The worker on `host` as it is now: a restarted host has a new one.
    fn worker(&self, host: usize) -> Rc<Worker> {
        self.workers.borrow()[host].worker.clone()
    }
}

struct AzureTaskHub(Rc<Inner>);

impl TaskHub for AzureTaskHub {
    fn start_host(&self, host: usize) {
        let worker = {
            let place = &mut self.0.workers.borrow_mut()[host];
            if place.started > 0 || place.worker.is_stopping() {
                *place = Place::new(&self.0.shared, host, place.started);
            }
            place.started += 1;
            place.worker.clone()
        };
        worker.start();
    }

    fn stop_host(&self, host: usize) -> LocalBoxFuture<'static, ()> {
        let worker = self.0.worker(host);
        let machine = worker.store.host.clone();
        let generation = machine.kernel().generation(machine.node());
        worker.stop();
        Box::pin(async move {
            let kernel = machine.kernel();
            // A host that crashes meanwhile has nothing left on it either.
            let same = || machine.is_alive() && kernel.generation(machine.node()) == generation;
            while !worker.has_ended() && same() {
                kernel.sleep(STOP_POLL).await;
            }
        })
    }

    fn client(&self, host: usize) -> Rc<dyn Client> {
        assert!(host < self.0.workers.borrow().len(), "there is no host {host}");
        Rc::new(AzureClient { hub: self.0.clone(), host })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.0.shared.counters.all()
    }
}

struct AzureClient {
    hub: Rc<Inner>,
    host: usize,
}

impl Client for AzureClient {
    fn start(&self, request: StartRequest) -> ClientAnswer<()> {
        let worker = self.hub.worker(self.host);
        Box::pin(async move { client::start(&worker, request).await })
    }

    fn send(&self, instance: InstanceId, message: ClientMessage) -> ClientAnswer<()> {
        let worker = self.hub.worker(self.host);
        Box::pin(async move { client::send(&worker, instance, message).await })
    }

    fn status(&self, instance: InstanceId) -> ClientAnswer<Option<InstanceState>> {
        let worker = self.hub.worker(self.host);
        Box::pin(async move { client::status(&worker, &instance).await })
    }

    fn wait(&self, instance: InstanceId) -> ClientAnswer<InstanceState> {
        let worker = self.hub.worker(self.host);
        Box::pin(async move { client::wait(&worker, &instance).await })
    }

    fn query(&self, query: InstanceQuery) -> ClientAnswer<Vec<(InstanceId, InstanceState)>> {
        let worker = self.hub.worker(self.host);
        Box::pin(async move { instances::query(&worker, &query).await.map_err(client::unread) })
    }

    fn purge(&self, instance: InstanceId) -> ClientAnswer<bool> {
        let worker = self.hub.worker(self.host);
        Box::pin(async move { purge::purge(&worker, &instance).await })
    }
}
