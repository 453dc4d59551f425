//! The contract between an engine and everything else.
//!
//! An engine stores messages and state, brings work items to hosts, and commits them. It declares
//! its guarantees and its settings as data; it is judged on what it declares. `W` is the world it
//! is deployed in: the model does not know what a world is.
//!
//! To add an engine: one crate that implements [`Engine`], [`TaskHub`] and [`Client`], and one line
//! in the lab's registry. It then gets every workload, check and figure.

mod budget;
mod client;

pub use budget::{FaultBudget, FaultClass};
pub use client::{
    Client, ClientAnswer, ClientError, ClientMessage, InstanceQuery, InstanceState, StartRequest,
};

use crate::application::Application;
use crate::graph::GraphRecorder;
use crate::id::InstanceId;
use crate::ledger::Ledger;
use crate::orchestration::RuntimeStatus;
use crate::settings::{Setting, Settings};
use crate::time::Timestamp;
use futures_util::future::LocalBoxFuture;
use std::rc::Rc;
use thiserror::Error;

/// How often the effect of a work item may become final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Once, whatever fails.
    ExactlyOnce,
    /// Once or, after a fault, more often.
    AtLeastOnce,
}

/// What an engine promises. Anomalies outside these are observations, not failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantees {
    /// How often a step's effects become final.
    pub steps: Delivery,
    /// How often a task's effects become final.
    pub tasks: Delivery,
    /// Whether a work item is committed only after everything it depends on.
    pub causally_consistent_commit: bool,
    /// Whether messages of one instance to another arrive in the order they were sent.
    pub fifo_between_instances: bool,
    /// Whether what a client was told is complete, when it waited for that, survives the loss of every host.
    pub durable: bool,
    /// Whether a status or a query, too, tells of no end that could still be lost. An engine that answers them
    /// from memory does not promise it.
    pub durable_reads: bool,
    /// Whether every message that was accepted is consumed in the end, so that everything ends.
    pub lossless: bool,
    /// Whether the committed steps of an instance form one chain: no two continue from the same state.
    pub serial_instances: bool,
}

impl Guarantees {
    /// Whether everything that `other` promises is promised here.
    pub fn include(&self, other: &Guarantees) -> bool {
        let delivery = |own: Delivery, others: Delivery| {
            own == Delivery::ExactlyOnce || others == Delivery::AtLeastOnce
        };
        delivery(self.steps, other.steps)
            && delivery(self.tasks, other.tasks)
            && self.causally_consistent_commit >= other.causally_consistent_commit
            && self.fifo_between_instances >= other.fifo_between_instances
            && self.durable >= other.durable
            && self.durable_reads >= other.durable_reads
            && self.lossless >= other.lossless
            && self.serial_instances >= other.serial_instances
    }
}

/// The end of an orchestration, reported by the engine once it is committed.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The instance.
    pub instance: InstanceId,
    /// The creation time that the engine keeps in the instance's status.
    pub created: Timestamp,
    /// The time of the last update that the engine keeps in the instance's status.
    pub last_updated: Timestamp,
    /// How it ended.
    pub status: RuntimeStatus,
    /// How its time was spent.
    pub ledger: Ledger,
}

/// One life of a host: what an engine has in memory lives as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostLife {
    /// The host.
    pub host: usize,
    /// How often it had been restarted before.
    pub life: u32,
}

/// Where an engine reports what happens. Reports are measurements: they cost nothing and nothing
/// in an engine may depend on them.
#[derive(Clone)]
pub struct Observer {
    graph: GraphRecorder,
    completed: Rc<dyn Fn(Completion)>,
    level: Rc<dyn Fn(&'static str, u64)>,
    progressed: Rc<dyn Fn(u32, HostLife)>,
}

impl Observer {
    /// An observer that records work items in `graph` and hands completions to `completed`.
    pub fn new(graph: GraphRecorder, completed: impl Fn(Completion) + 'static) -> Observer {
        let (level, progressed) = (Rc::new(|_, _| ()), Rc::new(|_, _| ()));
        Observer { graph, completed: Rc::new(completed), level, progressed }
    }

    /// The same, and hands levels to `level`.
    pub fn with_levels(self, level: impl Fn(&'static str, u64) + 'static) -> Observer {
        Observer { level: Rc::new(level), ..self }
    }

    /// The same, and hands the progress of partitions to `progressed`.
    pub fn with_progress(self, progressed: impl Fn(u32, HostLife) + 'static) -> Observer {
        Observer { progressed: Rc::new(progressed), ..self }
    }

    /// The recorder of work items.
    pub fn graph(&self) -> &GraphRecorder {
        &self.graph
    }

    /// Reports the end of an orchestration.
    ///
    /// # Panics
    /// If the status is not final.
    pub fn completed(&self, completion: Completion) {
        assert!(completion.status.is_final(), "{} has not ended", completion.instance);
        (self.completed)(completion);
    }

    /// Reports that from now on `value` of `what` (a plural: workers, paused executions) are there:
    /// a level over time, where [`TaskHub::counters`] are totals.
    pub fn level(&self, what: &'static str, value: u64) {
        (self.level)(what, value);
    }

    /// Reports that a step of an instance of `partition` has become final, which `owner` has executed:
    /// for engines whose instances are in partitions, each of which one host works for at a time, and
    /// which can move.
    pub fn progressed(&self, partition: u32, owner: HostLife) {
        (self.progressed)(partition, owner);
    }
}

/// What is deployed.
pub struct Deployment {
    /// The code.
    pub application: Rc<Application>,
    /// A complete set of the engine's settings.
    pub settings: Settings,
    /// Where to report.
    pub observer: Observer,
}

/// A deployment the engine cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeployError {
    /// The settings contradict each other, the plan, or the world.
    #[error("engine {engine}: {problem}")]
    Unsupported {
        /// The engine.
        engine: &'static str,
        /// What does not fit, and what would.
        problem: String,
    },
}

/// The level by which an engine says how many hosts it wants ([`Observer::level`]).
pub const RECOMMENDED_WORKERS: &str = "recommended_workers";

/// An engine: how messages and state are stored, batched and recovered.
pub trait Engine<W> {
    /// Its name on the command line and in results.
    fn name(&self) -> &'static str;

    /// One line that says what it is.
    fn summary(&self) -> &'static str;

    /// What it promises under `settings`.
    fn guarantees(&self, settings: &Settings) -> Guarantees;

    /// Under which faults it keeps these promises, under `settings`.
    fn fault_budget(&self, settings: &Settings) -> FaultBudget;

    /// What can be set.
    fn settings(&self) -> &'static [Setting];

    /// Settings by key, with values of which campaigns of small runs draw one each, all equally likely:
    /// sizes at which a short run reaches what a long and large one does.
    fn small_scales(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[]
    }

    /// Whether, under `settings`, it says how many hosts it wants ([`RECOMMENDED_WORKERS`]), and lets hosts
    /// come and go by that.
    ///
    /// # Errors
    /// Why it does not, and what would change that, in words.
    fn votes(&self, _settings: &Settings) -> Result<(), &'static str> {
        Err("this engine does not say how many hosts it wants")
    }

    /// Creates a task hub: its stores exist afterwards, and no host works for it yet.
    ///
    /// # Errors
    /// If the engine cannot run with these settings in this world.
    fn deploy(&self, world: &W, deployment: Deployment) -> Result<Rc<dyn TaskHub>, DeployError>;
}

/// A deployed application.
pub trait TaskHub {
    /// Starts the engine on a host, at the beginning and after each restart of that host.
    fn start_host(&self, host: usize);

    /// Takes a host out of service in an orderly way: it finishes or hands over what it has begun, and
    /// gives up what it owns. Resolves when nothing of the task hub is left on it. An engine without
    /// ownership has nothing to hand over: unless it says otherwise, this resolves at once, and the
    /// host is then stopped as it is.
    fn stop_host(&self, _host: usize) -> LocalBoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    /// The handle of an application that runs on `host`.
    fn client(&self, host: usize) -> Rc<dyn Client>;

    /// How often each of the engine's own mechanisms came into play, by name.
    fn counters(&self) -> Vec<(&'static str, u64)>;
}
