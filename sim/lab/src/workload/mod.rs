//! Workloads: what applications the testbed runs, one file each.
//!
//! A workload is an application, what the load starts of it (an orchestration, or a [`Job`] that
//! drives the application from an HTTP trigger), and checks of what comes out. It knows neither
//! engines nor hosts. The number of an orchestration or job within a run (its *index*) fixes its
//! input and its expected result, so runs on different engines can be compared one by one. To add
//! a workload: one file, one line in [`kinds`].
//!
//! Source of the published ones: microsoft/durabletask-netherite,
//! `test/PerformanceTests/Benchmarks`; of `dag`, `ingestion` and `waves`: triggerflow/triggerflow,
//! `tests/`.

mod bank;
mod collision;
mod corpus;
mod counter;
mod dag;
mod declare;
mod definition;
mod dotnet_random;
mod fanout;
mod filehash;
mod hello;
mod imagerecognition;
mod ingestion;
mod job;
pub mod launcher;
mod parameters;
mod passes;
mod periodic;
mod producerconsumer;
mod semaphore;
mod sequence;
mod states;
mod store;
mod tally;
mod waves;
mod wordcount;

pub(crate) use job::in_parallel;
pub use job::{Job, JobContext, JobResult, Start, Unit};
pub use parameters::{FileParameter, Parameters, SourceFile};

use crate::suggest::UnknownName;
use sim_model::application::Application;
use sim_model::engine::StartRequest;
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Setting;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// A kind of workload: what can be asked for on the command line.
#[derive(Clone, Copy)]
pub struct WorkloadKind {
    /// Its name on the command line and in results.
    pub name: &'static str,
    /// One line that says what it does.
    pub summary: &'static str,
    /// Its parameters.
    pub parameters: &'static [Setting],
    /// Its parameters that name files.
    pub files: &'static [FileParameter],
    /// The load of a run that names none, as on the command line.
    pub load: &'static str,
    /// Makes the workload with these parameters, a complete set of the declared ones. The error
    /// says, for a person, why these parameters do not go together or a file does not fit.
    pub build: fn(&Parameters) -> Result<Rc<dyn Workload>, String>,
}

impl fmt::Debug for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkloadKind").field(&self.name).finish()
    }
}

/// A workload with its parameters.
pub trait Workload {
    /// Registers the application's code.
    fn register(&self, application: &mut Application);

    /// What the load starts.
    fn start(&self) -> Start;

    /// The input of the orchestration with this index. Jobs may take none (`null`).
    fn input(&self, index: u64) -> Payload;

    /// Checks how the orchestration or job with this index ended: a job has completed with the
    /// result it returned, or failed.
    ///
    /// # Errors
    /// What is wrong with the result, for a person.
    fn check(&self, index: u64, status: &RuntimeStatus) -> Result<(), String>;

    /// Whether results depend on inputs only, and never on the order in which messages arrive:
    /// then every engine must give the same results.
    fn timing_independent(&self) -> bool;

    /// What throughput counts.
    fn unit(&self) -> Unit {
        Unit::orchestrations()
    }

    /// What the name of the instance with this index ends in, for example `!3` to pin it to
    /// partition 3 where the engine has partitions.
    fn instance_suffix(&self, _index: u64) -> Option<String> {
        None
    }

    /// The entities whose final states are results too, if the load has started `started`
    /// orchestrations or jobs. They are read when the run has come to rest.
    fn entities(&self, _started: u64) -> Vec<EntityId> {
        Vec::new()
    }

    /// Checks the final states of [`Workload::entities`]: a state, or nothing where an entity has
    /// none or never came into being.
    ///
    /// # Errors
    /// What is wrong with the states, for a person.
    fn check_entities(&self, _started: u64, _states: &EntityStates) -> Result<(), String> {
        Ok(())
    }

    /// Parameters that were left out and whose values follow from the others. They are written
    /// into the specification of the run, so that a repetition is checked against them.
    fn determined(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What a person should know before the run: what was assumed, and what is not simulated. Each
    /// is one line.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// States of entities, if they have any.
pub type EntityStates = BTreeMap<EntityId, Option<Payload>>;

/// All kinds of workloads, sorted by name.
pub fn kinds() -> &'static [WorkloadKind] {
    const KINDS: &[WorkloadKind] = &[
        bank::KIND,
        collision::KIND,
        counter::KIND,
        dag::KIND,
        definition::KIND,
        fanout::KIND,
        filehash::KIND,
        hello::KIND,
        imagerecognition::KIND,
        ingestion::KIND,
        passes::KIND,
        periodic::KIND,
        producerconsumer::KIND,
        semaphore::KIND,
        sequence::KIND,
        store::KIND,
        tally::KIND,
        waves::KIND,
        wordcount::KIND,
    ];
    KINDS
}

/// The kind of this name.
///
/// # Errors
/// If there is none; the error names the nearest.
pub fn kind(name: &str) -> Result<&'static WorkloadKind, UnknownName> {
    let found = kinds().iter().find(|kind| kind.name == name);
    found.ok_or_else(|| UnknownName::new("workload", name, kinds().iter().map(|kind| kind.name)))
}

/// The names of the instances that the load of one run starts.
///
/// An instance is named after its index, then a hash of it: `000123-9f86d081`. The hash spreads
/// instances over partitions as the random names of real clients do, and is keyed by the run's
/// seed, so that two seeds place them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naming {
    key: u64,
}

impl Naming {
    /// Names hashed under `key`.
    pub fn new(key: u64) -> Self {
        Naming { key }
    }

    /// The instance with this index.
    pub fn instance(self, index: u64) -> InstanceId {
        InstanceId::new(format!("{index:06}-{:08x}", mix(self.key ^ mix(index)) >> 32))
    }

    /// The index that the name of `instance` starts with, which need not be one of this run.
    fn index_in(self, instance: &InstanceId) -> Option<u64> {
        let (index, _) = instance.as_str().split_once('-')?;
        index.parse().ok()
    }
}

/// What the load of one run starts: index, name and input of each.
#[derive(Clone)]
pub struct Orchestrations {
    workload: Rc<dyn Workload>,
    naming: Naming,
}

impl Orchestrations {
    /// The orchestrations of `workload`.
    pub fn new(workload: Rc<dyn Workload>, naming: Naming) -> Self {
        Orchestrations { workload, naming }
    }

    /// The workload.
    pub fn workload(&self) -> &dyn Workload {
        &*self.workload
    }

    /// The names of their instances.
    pub fn naming(&self) -> Naming {
        self.naming
    }

    /// The instance with this index; for a job, the name it is known by.
    pub fn instance(&self, index: u64) -> InstanceId {
        let plain = self.naming.instance(index);
        match self.workload.instance_suffix(index) {
            None => plain,
            Some(suffix) => InstanceId::new(format!("{plain}{suffix}")),
        }
    }

    /// The index of an instance; `None` if it is not one of [`Orchestrations::instance`].
    pub fn index_of(&self, instance: &InstanceId) -> Option<u64> {
        let index = self.naming.index_in(instance)?;
        (self.instance(index) == *instance).then_some(index)
    }

    /// The request that starts the orchestration `name` with this index.
    pub fn request(&self, name: &'static str, index: u64) -> StartRequest {
        StartRequest {
            instance: self.instance(index),
            name: name.into(),
            input: self.workload.input(index),
        }
    }

    /// The whole application: the workload's code, and the launcher that starts it in numbers.
    pub fn application(&self) -> Application {
        let mut application = Application::new();
        self.workload.register(&mut application);
        if let Start::Orchestration(name) = self.workload.start() {
            launcher::register(&mut application, self.clone(), name);
        }
        application
    }
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014): a bijection that mixes all bits.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The result of a completed orchestration, decoded.
fn completed<T: serde::de::DeserializeOwned>(status: &RuntimeStatus) -> Result<T, String> {
    match status {
        RuntimeStatus::Completed(result) => result.decode().map_err(|error| error.to_string()),
        other => Err(ended_badly(other)),
    }
}

/// How an orchestration that has no result stands, for a person.
fn ended_badly(status: &RuntimeStatus) -> String {
    match status {
        RuntimeStatus::Failed(error) => format!("failed with {error}"),
        RuntimeStatus::Completed(_) => "completed".to_owned(),
        RuntimeStatus::Terminated(reason) => format!("was terminated: {reason}"),
        RuntimeStatus::Running | RuntimeStatus::Suspended => "has not ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::LoadSpec;
    use sim_model::settings::Settings;

    /// Every workload at its defaults, but those that need files.
    fn defaults() -> impl Iterator<Item = (&'static WorkloadKind, Rc<dyn Workload>)> {
        let buildable = |kind: &&WorkloadKind| kind.files.iter().all(|file| !file.required);
        kinds().iter().filter(buildable).map(|kind| {
            let parameters = Parameters::new(Settings::defaults(kind.parameters));
            (kind, (kind.build)(&parameters).expect(kind.name))
        })
    }

    #[test]
    fn kinds_are_sorted_and_their_defaults_valid() {
        assert!(kinds().is_sorted_by_key(|kind| kind.name));
        for kind in kinds() {
            let load = kind.load.parse::<LoadSpec>();
            assert!(load.is_ok(), "{}: {load:?}", kind.name);
            let keys = kind.parameters.iter().map(|parameter| parameter.key);
            let mut keys: Vec<_> = keys.chain(kind.files.iter().map(|file| file.key)).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), kind.parameters.len() + kind.files.len(), "{}", kind.name);
        }
        for (kind, workload) in defaults() {
            let mut application = Application::new();
            workload.register(&mut application);
            if let Start::Orchestration(name) = workload.start() {
                assert!(application.has_orchestration(name), "{}", kind.name);
            }
            assert!(workload.unit().per_orchestration > 0.0, "{}", kind.name);
        }
    }

    fn hello(key: u64) -> Orchestrations {
        let (_, workload) = defaults().find(|(kind, _)| kind.name == "hello").expect("hello");
        Orchestrations::new(workload, Naming::new(key))
    }

    #[test]
    fn instances_and_indices_name_each_other() {
        let run = hello(7);
        for index in [0, 1, 999_999, 1_000_000, 4_999_999] {
            assert_eq!(run.index_of(&run.instance(index)), Some(index));
        }
        for other in ["000001-00000000", "launcher-1", "@Account@1", ""] {
            assert_eq!(run.index_of(&InstanceId::new(other)), None, "{other}");
        }
        let child = InstanceId::new(format!("{}:1", run.instance(1)));
        assert_eq!(run.index_of(&child), None);
        assert_ne!(run.instance(1), hello(8).instance(1));
    }

    #[test]
    fn instances_spread_evenly_over_partitions() {
        let run = Naming::new(7);
        let mut counts = [0u32; 12];
        for index in 0..12_000 {
            counts[run.instance(index).fnv1a() as usize % 12] += 1;
        }
        // A binomial with mean 1000 has a standard deviation of 30.
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
