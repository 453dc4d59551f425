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
//! | `partition/` | the state machine: instances, sessions, activities, timers, outbox, dedup, promises; no clock, no I/O |
//! | `monitor.rs` | the load monitor as a state machine: which activities move where, who has what |
//! | `ownership.rs` | which host runs which partition, as a plain function |
//! | `runner/` | one incarnation of a partition on its host: recovery, intake, checkpoints |
//! | `commit_log.rs`, `lease.rs` | group commit and the record of what is durable; who may write it |
//! | `commit_log/` | what a log lies on: page blobs, the disk of the host, the disks of three machines |
//! | `ownership_runner.rs`, `monitor_runner.rs` | what a host owns; the load monitor on its host |
//! | `scaling.rs`, `scaling_runner.rs` | how many workers are needed; the scale controller |
//! | `transport.rs` | batches to partitions, clients and the load monitor |
//! | `host.rs`, `client.rs` | slots that execute work items; requests and answers |
//!
//! **Durable Functions.** An entity is an instance whose history is replaced by each step, and which
//! is removed when nothing is left to remember. The transport keeps order and drops duplicates, so
//! its messages need no stamps. Timers are state of the partition. An instance that sends messages
//! to itself waits until they are durable.
//!
//! **Failures.** A partition lives in its commit log and its checkpoints, under a lease. A host that
//! crashes, is frozen or loses its network loses its partitions; others take them over, rebuild their
//! state, and go on. A partition has many *incarnations*, one after the other.
//!
//! **Limits of this version.** Sizes are those of a compact encoding, not of the data contracts of the
//! published code. See `docs/engines/netherite.md`.
//!
//! Sources: Burckhardt et al., "Netherite: Efficient Execution of Serverless Workflows", VLDB 2022;
//! microsoft/durabletask-netherite main@8526653 for structure and parameters.

mod client;
mod commit_log;
mod event;
mod host;
mod lease;
mod monitor;
mod monitor_runner;
mod ownership;
mod ownership_runner;
mod partition;
mod placement;
mod reports;
mod runner;
mod scaling;
mod scaling_runner;
mod settings;
mod stop;
mod transport;

use crate::client::NetheriteClient;
use crate::commit_log::LogPlace;
use crate::host::{HostProcess, ProcessSetup, Services};
use crate::monitor_runner::MonitorCounts;
use crate::ownership_runner::Owner;
use crate::reports::{Counts, PartitionReports};
use crate::settings::{Config, LogMedium, SETTINGS};
use crate::transport::TransportCounts;
use futures_util::future::LocalBoxFuture;
use sim_model::application::Application;
use sim_model::engine::{
    Client, Delivery, DeployError, Deployment, Engine, FaultBudget, FaultClass, Guarantees,
    Observer, TaskHub,
};
use sim_model::settings::{Setting, Settings};
use sim_world::functions::FunctionsHost;
use sim_world::kernel::NodeId;
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

    fn guarantees(&self, settings: &Settings) -> Guarantees {
        // A status and a query are answered from memory, which is ahead of the log; only what has to be fit for
        // a rollback lets them wait.
        let durable_reads = settings.choice("speculation") == "global";
        Guarantees {
            steps: Delivery::ExactlyOnce,
            tasks: Delivery::ExactlyOnce,
            causally_consistent_commit: true,
            fifo_between_instances: true,
            durable: true,
            durable_reads,
            lossless: true,
            serial_instances: true,
        }
    }

    fn fault_budget(&self, settings: &Settings) -> FaultBudget {
        // A client gives up and asks again; before that a lease and an ownership run out, twice if the
        // first new owner is lost too.
        let takeover = settings.span("lease_duration")
            + settings.span("ownership_lease")
            + settings.span("ownership_interval");
        let again = settings.span("request_timeout") + settings.span("ack_interval");
        let mut survives = FaultClass::OF_CLOUD.to_vec();
        match Config::new(settings).log {
            LogMedium::PageBlob => {}
            LogMedium::LocalDisk => survives.push(FaultClass::DiskDelay),
            LogMedium::ReplicatedDisk => survives.extend(FaultClass::OF_MACHINES),
        }
        FaultBudget { survives, heals_within: again + takeover * 2 }
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn votes(&self, settings: &Settings) -> Result<(), &'static str> {
        if settings.choice("log") == LogMedium::LocalDisk.name() {
            return Err("a partition whose log is on the disk of a host stays there: set another \
                        netherite.log");
        }
        match settings.flag("load_publishing") {
            true => Ok(()),
            false => Err("nobody counts what is to be done: set netherite.load_publishing=true"),
        }
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
        let log_place = LogPlace::prepare(world, &config);
        let log_place = log_place
            .map_err(|problem| DeployError::Unsupported { engine: self.name(), problem })?;
        let services = Services {
            log_place,
            partition_log: world.event_log("partitions", partitions),
            client_log: world.event_log("clients", hosts),
            monitor_log: world.event_log("loadmonitor", 1),
            blobs: world.storage().container("netherite"),
            loads: world.storage().table("DurableTaskPartitions"),
        };
        let observer = &deployment.observer;
        let reports =
            (0..partitions).map(|index| PartitionReports::new(index, observer.clone())).collect();
        let hub = Rc::new(Hub {
            world: world.clone(),
            application: deployment.application,
            observer: deployment.observer,
            config,
            services,
            partitions,
            reports: Rc::new(reports),
            processes: RefCell::default(),
            sent: RefCell::default(),
            monitored: Rc::default(),
        });
        if hub.config.load_publishing {
            hub.clone().start_scale_controller();
        }
        Ok(hub)
    }
}

/// What runs on one host.
struct Running {
    process: Rc<HostProcess>,
    owner: Rc<Owner>,
}

struct Hub {
    world: World,
    application: Rc<Application>,
    observer: Observer,
    config: Config,
    services: Services,
    partitions: u32,
    reports: Rc<Vec<Rc<PartitionReports>>>,
    processes: RefCell<BTreeMap<usize, Running>>,
    /// What the transport counted, in all processes there ever were.
    sent: RefCell<Vec<Rc<TransportCounts>>>,
    monitored: Rc<MonitorCounts>,
}

impl Hub {
    fn setup(&self, host: usize) -> ProcessSetup {
        let backend = self.config.entity_backend();
        ProcessSetup {
            index: host as u32,
            kernel: self.world.kernel().clone(),
            functions: FunctionsHost::new(&self.world, host, backend),
            application: self.application.clone(),
            observer: self.observer.clone(),
            config: self.config.clone(),
            services: self.services.clone(),
            reports: self.reports.clone(),
            seeds: self.world.seeds().clone(),
            event_work: self.world.profile().cpu.event,
            partitions: self.partitions,
            hosts: self.world.hosts().len() as u32,
        }
    }

    /// The controller belongs to the platform, not to a host.
    fn start_scale_controller(self: Rc<Self>) {
        let (world, loads) = (self.world.clone(), self.services.loads.clone());
        let (kernel, observer) = (self.world.kernel().clone(), self.observer.clone());
        let workers = move || {
            let processes = self.processes.borrow();
            processes.values().filter(|running| running.process.host().is_alive()).count()
        };
        kernel.spawn(NodeId::WORLD, scaling_runner::run(world, loads, observer, workers));
    }

    fn sum(&self, of: impl Fn(&Counts) -> u64) -> u64 {
        self.reports.iter().map(|partition| of(&partition.counts)).sum()
    }
}

impl TaskHub for Hub {
    fn start_host(&self, host: usize) {
        let process = HostProcess::start(self.setup(host));
        self.sent.borrow_mut().push(process.counts.clone());
        process.host().spawn(NetheriteClient::take_answers(process.clone()));
        let owner = Owner::new(process.clone(), self.monitored.clone());
        process.host().spawn(owner.clone().run());
        self.processes.borrow_mut().insert(host, Running { process, owner });
    }

    fn stop_host(&self, host: usize) -> LocalBoxFuture<'static, ()> {
        let owner = self.processes.borrow().get(&host).map(|running| running.owner.clone());
        let kernel = self.world.kernel().clone();
        let worker = self.world.hosts()[host].clone();
        Box::pin(async move {
            let Some(owner) = owner else { return };
            let (resolver, stopped) = kernel.completion();
            worker.spawn(async move {
                owner.stop().await;
                resolver.resolve(());
            });
            stopped.await;
        })
    }

    fn client(&self, host: usize) -> Rc<dyn Client> {
        let processes = self.processes.borrow();
        let running = processes.get(&host).expect("a client runs on a host that was started");
        Rc::new(NetheriteClient::new(running.process.clone(), self.partitions))
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let runners: Vec<_> = self
            .processes
            .borrow()
            .values()
            .filter(|running| running.process.host().is_alive())
            .flat_map(|running| running.process.runners())
            .collect();
        let now = |of: &dyn Fn(&runner::PartitionRunner) -> u64| -> u64 {
            runners.iter().map(|runner| of(runner)).sum()
        };
        let sent = |of: fn(&TransportCounts) -> u64| -> u64 {
            self.sent.borrow().iter().map(|counts| of(counts)).sum()
        };
        vec![
            ("aborted_work_items", self.sum(|counts| counts.aborted.get())),
            ("checkpoints", self.sum(|counts| counts.checkpoints.get())),
            ("compactions", self.sum(|counts| counts.compactions.get())),
            ("early_sends", self.sum(|counts| counts.early.get())),
            ("instances", now(&|runner| runner.instances())),
            ("instances_evicted", self.sum(|counts| counts.evicted.get())),
            ("instances_loaded", self.sum(|counts| counts.loaded.get())),
            ("leases_lost", self.sum(|counts| counts.lost.get())),
            ("load_reports", self.monitored.reports.get()),
            ("log_commit_us", self.sum(|counts| counts.commit_time.get().as_micros() as u64)),
            ("log_commits", self.sum(|counts| counts.commits.get())),
            ("log_events", self.sum(|counts| counts.logged.get())),
            ("moved_activities", now(&|runner| runner.moved_activities())),
            ("outbox_entries", now(&|runner| runner.outbox_entries())),
            ("recoveries", self.sum(|counts| counts.recoveries.get())),
            ("recovery_ms", self.sum(|counts| counts.recovery_time.get().as_millis() as u64)),
            ("replayed_events", self.sum(|counts| counts.replayed.get())),
            ("replays", self.sum(|counts| counts.replays.get())),
            ("resident_bytes", now(&|runner| runner.resident_bytes())),
            ("rollbacks", self.sum(|counts| counts.rollbacks.get())),
            ("sent_batches", sent(|counts| counts.batches.get())),
            ("sent_batches_through_blobs", sent(|counts| counts.through_blobs.get())),
            ("sent_events", sent(|counts| counts.events.get())),
            ("sends_refused", sent(|counts| counts.refused.get())),
            ("timers_fired", now(&|runner| runner.timers_fired())),
            ("transfer_commands", self.monitored.commands.get()),
            ("void_events", self.sum(|counts| counts.voided.get())),
        ]
    }
}
