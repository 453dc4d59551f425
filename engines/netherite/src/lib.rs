//! The engine `netherite`: partitions, each with a commit log and speculation.
//!
//! **What it models.** The task hub is split into partitions; a partition holds instances together
//! with their pending activities and runs on one host at a time. Everything that happens to it is an
//! event in its log; its state is what the events make of it, kept in memory. Events become durable
//! in group commits, one in flight, two dependent storage writes each ([`commit_log`](self)). Steps
//! need not wait for that: within a partition successors start at once (speculation `local`), and
//! only what leaves the partition waits in an outbox. Partitions and clients talk through event logs.
//!
//! | file | holds |
//! |---|---|
//! | `partition/` | the state machine: sessions, activities, timers, outbox, dedup; no clock, no I/O |
//! | `monitor.rs` | the load monitor as a state machine: which activities move where |
//! | `runner.rs`, `commit_log.rs` | one partition on its host: intake, group commit, receiving |
//! | `monitor_runner.rs` | the load monitor on its host |
//! | `transport.rs` | batches to partitions, clients and the load monitor |
//! | `host.rs`, `client.rs` | slots that execute work items; requests and answers |
//!
//! **Durable Functions.** An entity is an instance whose history is replaced by each step, and which
//! is removed when nothing is left to remember. The transport keeps order and drops duplicates, so
//! its messages need no stamps. Timers are state of the partition. An instance that sends messages
//! to itself waits until they are durable.
//!
//! **Limits of this version.** The fault-free path: partitions stay where they were deployed, all
//! state is in memory, there are no checkpoints and no recovery; a partition whose lease or log is
//! lost stops. Outbox entries are removed when the transport confirms them, without the
//! acknowledgements of receivers that recovery needs. Sizes are those of a compact encoding, not of
//! the data contracts of the published code. See `docs/engines/netherite.md`.
//!
//! Sources: Burckhardt et al., "Netherite: Efficient Execution of Serverless Workflows", VLDB 2022;
//! microsoft/durabletask-netherite main@8526653 for structure and parameters.

mod client;
mod commit_log;
mod event;
mod host;
mod monitor;
mod monitor_runner;
mod partition;
mod placement;
mod runner;
mod settings;
mod transport;

use crate::client::NetheriteClient;
use crate::host::{HostProcess, ProcessSetup, Services};
use crate::monitor_runner::MonitorCounts;
use crate::runner::{Counters, PartitionRunner};
use crate::settings::{Config, Placement, SETTINGS};
use sim_model::application::Application;
use sim_model::engine::{
    Client, Delivery, DeployError, Deployment, Engine, Guarantees, Observer, TaskHub,
};
use sim_model::settings::{Setting, Settings};
use sim_world::functions::FunctionsHost;
use sim_world::world::World;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The engine `netherite`.
pub struct Netherite;

impl Engine<World> for Netherite {
    fn name(&self) -> &'static str {
        "netherite"
    }

    fn summary(&self) -> &'static str {
        "partitions with a commit log: group commit, speculation, outbox, event-log transport"
    }

    fn guarantees(&self, _settings: &Settings) -> Guarantees {
        Guarantees {
            steps: Delivery::ExactlyOnce,
            tasks: Delivery::ExactlyOnce,
            causally_consistent_commit: true,
            fifo_between_instances: true,
            durable: true,
            lossless: true,
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
        let config = Config::new(&deployment.settings);
        if let Some(problem) = config.problem(&world.profile().services.blob) {
            return Err(DeployError::Unsupported { engine: self.name(), problem });
        }
        let partitions = world.deployment().partitions;
        let hosts = world.hosts().len() as u32;
        let services = Services {
            partition_log: world.event_log("partitions", partitions),
            client_log: world.event_log("clients", hosts),
            monitor_log: world.event_log("loadmonitor", 1),
            blobs: world.storage().container("netherite"),
        };
        Ok(Rc::new(Hub {
            world: world.clone(),
            application: deployment.application,
            observer: deployment.observer,
            config,
            services,
            partitions,
            processes: RefCell::default(),
            runners: RefCell::default(),
            monitored: Rc::default(),
        }))
    }
}

struct Hub {
    world: World,
    application: Rc<Application>,
    observer: Observer,
    config: Config,
    services: Services,
    partitions: u32,
    processes: RefCell<BTreeMap<usize, Rc<HostProcess>>>,
    runners: RefCell<BTreeMap<u32, Rc<PartitionRunner>>>,
    monitored: Rc<MonitorCounts>,
}

impl TaskHub for Hub {
    fn start_host(&self, host: usize) {
        let backend = self.config.entity_backend();
        let functions = FunctionsHost::new(&self.world, host, backend);
        let hosts = self.world.hosts().len();
        let process = HostProcess::start(ProcessSetup {
            index: host as u32,
            kernel: self.world.kernel().clone(),
            functions,
            application: self.application.clone(),
            observer: self.observer.clone(),
            config: self.config.clone(),
            services: self.services.clone(),
            event_work: self.world.profile().cpu.event,
            partitions: self.partitions,
            hosts: hosts as u32,
        });
        process.host().spawn(NetheriteClient::take_answers(process.clone()));
        if self.config.placement == Placement::Locavore && placement::host_of(0, hosts) == host {
            process.host().spawn(monitor_runner::run(process.clone(), self.monitored.clone()));
        }
        for partition in 0..self.partitions {
            if placement::host_of(partition, hosts) == host {
                let runner = PartitionRunner::start(partition, self.partitions, process.clone());
                self.runners.borrow_mut().insert(partition, runner);
            }
        }
        self.processes.borrow_mut().insert(host, process);
    }

    fn client(&self, host: usize) -> Rc<dyn Client> {
        let processes = self.processes.borrow();
        let process = processes.get(&host).expect("a client runs on a host that was started");
        Rc::new(NetheriteClient::new(process.clone(), self.partitions))
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut sums = Counters::default();
        self.runners.borrow().values().for_each(|runner| runner.count(&mut sums));
        let (mut batches, mut events, mut blobs, mut refused) = (0, 0, 0, 0);
        for process in self.processes.borrow().values() {
            batches += process.counts.batches.get();
            events += process.counts.events.get();
            blobs += process.counts.through_blobs.get();
            refused += process.counts.refused.get();
        }
        vec![
            ("instances", sums.instances),
            ("load_reports", self.monitored.reports.get()),
            ("log_commits", sums.log_commits),
            ("log_events", sums.log_events),
            ("moved_activities", sums.moved_activities),
            ("replays", sums.replays),
            ("sent_batches", batches),
            ("sent_batches_through_blobs", blobs),
            ("sent_events", events),
            ("sends_refused", refused),
            ("timers_fired", sums.timers_fired),
            ("transfer_commands", self.monitored.commands.get()),
        ]
    }
}
