//! The engine `sql-server`: one database, one atomic transaction for each work item.
//!
//! **What it models.** The storage provider for SQL Server. Messages to instances, activities, histories
//! and states are rows of one relational database; hosts compete for them by locking rows, without
//! partitions or leases. A work item is fetched in one transaction, which locks it for two minutes, and
//! committed in one: messages consumed, history appended, messages sent and activities scheduled, all
//! or nothing. So every commit is atomic and durable before anybody can see it, and the engine needs
//! neither dedup nor an outbox; the price is a round trip to the database and a write of its log
//! for each. A chain of `n` activities costs `4n + 3` procedure calls, besides empty polls.
//!
//! **Two workers on one work item** are possible (the lock of the first has expired while it ran, or
//! was frozen); the second commit fails: its history rows violate the primary key, or the row of its
//! activity is gone.
//!
//! **Recovery.** A worker's memory is lost with its host; what it had locked is fetched by others after
//! the lock timeout. The database recovers from its log; calls of which the answer was lost are
//! repeated, and find their own rows if they had been committed.
//!
//! **Source.** microsoft/durabletask-mssql main@e7d35db, `src/DurableTask.SqlServer`; each module
//! names its files.
//!
//! | module | holds |
//! |---|---|
//! | `backoff`, `rows`, `procedures` | decisions: polling; tables as bytes; what the database does |
//! | `settings`, `record` | what can be set, what is measured |
//! | `worker`, `steps`, `activities` | the tasks of a worker |
//! | `client` | the requests of clients |
//!
//! Units: instants are virtual nanoseconds, sizes are bytes.
#![forbid(unsafe_code)]

mod activities;
mod backoff;
mod client;
mod procedures;
mod record;
mod rows;
mod settings;
mod steps;
mod worker;

use procedures::DurableSchema;
use record::Record;
use settings::{Parameters, SETTINGS};
use sim_model::engine::{
    Client, ClientAnswer, ClientMessage, Delivery, DeployError, Deployment, Engine, FaultBudget,
    FaultClass, Guarantees, InstanceQuery, InstanceState, StartRequest, TaskHub,
};
use sim_model::id::InstanceId;
use sim_model::settings::{Setting, Settings};
use sim_world::sql::{Database, DatabaseOptions};
use sim_world::world::World;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use worker::{Shared, Worker};

/// The name of the engine.
const NAME: &str = "sql-server";
/// The name of the database's machine, and its class in the profile.
pub const MACHINE: &str = "database";

/// The engine: one database, one atomic transaction for each work item.
///
/// ```
/// use engine_sql_server::SqlServer;
/// use sim_model::engine::{Delivery, Engine};
/// use sim_model::settings::Settings;
/// let mut settings = Settings::defaults(SqlServer.settings());
/// assert_eq!(SqlServer.guarantees(&settings).tasks, Delivery::ExactlyOnce);
/// settings.set("delayed_durability", "true").unwrap();
/// assert!(!SqlServer.guarantees(&settings).durable);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SqlServer;

impl Engine<World> for SqlServer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "one database, one atomic transaction for each work item"
    }

    /// With delayed durability a crash of the database takes back what was committed last, though
    /// never a part of it: work items whose effects others have seen inside the database are gone
    /// with those effects, but run again.
    fn guarantees(&self, settings: &Settings) -> Guarantees {
        let is_durable = !settings.flag("delayed_durability");
        let delivery = if is_durable { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce };
        Guarantees {
            steps: delivery,
            tasks: delivery,
            causally_consistent_commit: true,
            fifo_between_instances: false,
            durable: is_durable,
            durable_reads: is_durable,
            lossless: is_durable,
            serial_instances: true,
        }
    }

    fn fault_budget(&self, settings: &Settings) -> FaultBudget {
        // The lock of a lost worker runs out, then somebody polls.
        let again = settings.span("work_item_lock_timeout")
            + settings.span("max_polling_interval")
            + settings.span("status_polling_interval");
        // Sessions are not repeated by anybody but their client, and a commit that need not be durable
        // does not outlive its machine.
        let durable = !settings.flag("delayed_durability");
        let mut survives = [&FaultClass::OF_CLOUD[..], &FaultClass::OF_MACHINES].concat();
        survives.retain(|class| {
            let loses_log =
                matches!(class, FaultClass::MachineCrash | FaultClass::MachinePowerLoss);
            *class != FaultClass::Duplication && (durable || !loses_log)
        });
        FaultBudget { survives, heals_within: again * 2 + Duration::from_secs(60) }
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
        let record = Record::new(world.kernel(), deployment.observer);
        let schema = Rc::new(DurableSchema { rules: parameters.rules, record: record.clone() });
        let options = DatabaseOptions {
            cores: Some(parameters.vcores),
            delayed_durability: parameters.delayed_durability,
        };
        let database = Database::open(world, MACHINE, MACHINE, schema, options)
            .map_err(|error| unsupported(error.to_string()))?;
        let shared = Rc::new(Shared {
            world: world.clone(),
            application: deployment.application,
            parameters,
            record,
            database,
            next_worker: Cell::new(0),
        });
        let workers = (0..world.hosts().len()).map(|host| Place::new(&shared, host)).collect();
        Ok(Rc::new(SqlTaskHub(Rc::new(Inner { shared, workers: RefCell::new(workers) }))))
    }
}

/// The worker on a host, and whether it has been started.
struct Place {
    worker: Rc<Worker>,
    started: bool,
}

impl Place {
    fn new(shared: &Rc<Shared>, host: usize) -> Place {
        Place { worker: Worker::new(shared, host), started: false }
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

struct SqlTaskHub(Rc<Inner>);

impl TaskHub for SqlTaskHub {
    fn start_host(&self, host: usize) {
        let worker = {
            let place = &mut self.0.workers.borrow_mut()[host];
            if place.started {
                *place = Place::new(&self.0.shared, host);
            }
            place.started = true;
            place.worker.clone()
        };
        worker.start();
    }

    fn client(&self, host: usize) -> Rc<dyn Client> {
        assert!(host < self.0.workers.borrow().len(), "there is no host {host}");
        Rc::new(SqlClient { hub: self.0.clone(), host })
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.0.shared.record.counters.all()
    }
}

struct SqlClient {
    hub: Rc<Inner>,
    host: usize,
}

impl Client for SqlClient {
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
        Box::pin(async move { client::query(&worker, query).await })
    }

    fn purge(&self, instance: InstanceId) -> ClientAnswer<bool> {
        let worker = self.hub.worker(self.host);
        Box::pin(async move { client::purge(&worker, instance).await })
    }
}
