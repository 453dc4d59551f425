//! Workloads: what applications the testbed runs, one file each.
//!
//! A workload is an application, the inputs of its orchestrations, and a check of each result.
//! It knows neither engines nor hosts. The number of an orchestration within a run (its *index*)
//! fixes its input and its expected result, so runs on different engines can be compared one by
//! one. To add a workload: one file, one line in [`kinds`].
//!
//! Source of the published ones: microsoft/durabletask-netherite,
//! `test/PerformanceTests/Benchmarks`.

mod hello;
pub mod launcher;
mod sequence;

use crate::suggest::UnknownName;
use sim_model::application::Application;
use sim_model::engine::StartRequest;
use sim_model::id::InstanceId;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::{Setting, Settings};
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
    /// Makes the workload with these parameters, a complete set of the declared ones.
    pub build: fn(&Settings) -> Rc<dyn Workload>,
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

    /// The registered name of the orchestration that is started.
    fn orchestration(&self) -> &'static str;

    /// The input of the orchestration with this index.
    fn input(&self, index: u64) -> Payload;

    /// Checks how the orchestration with this index ended.
    ///
    /// # Errors
    /// What is wrong with the result, for a person.
    fn check(&self, index: u64, status: &RuntimeStatus) -> Result<(), String>;

    /// Whether results depend on inputs only, and never on the order in which messages arrive:
    /// then every engine must give the same results.
    fn timing_independent(&self) -> bool;
}

/// All kinds of workloads, sorted by name.
pub fn kinds() -> &'static [WorkloadKind] {
    const KINDS: &[WorkloadKind] = &[hello::KIND, sequence::KIND];
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

/// The names of the instances of one run.
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

    /// The index of an instance; `None` if it is not one of [`Naming::instance`].
    pub fn index_of(self, instance: &InstanceId) -> Option<u64> {
        let (index, _) = instance.as_str().split_once('-')?;
        let index = index.parse().ok()?;
        (self.instance(index) == *instance).then_some(index)
    }
}

/// The orchestrations of one run: index, name and input of each.
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

    /// The request that starts the orchestration with this index.
    pub fn request(&self, index: u64) -> StartRequest {
        StartRequest {
            instance: self.naming.instance(index),
            name: self.workload.orchestration().into(),
            input: self.workload.input(index),
        }
    }

    /// The whole application: the workload's code, and the launcher that starts it in numbers.
    pub fn application(&self) -> Application {
        let mut application = Application::new();
        self.workload.register(&mut application);
        launcher::register(&mut application, self.clone());
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
        RuntimeStatus::Failed(error) => Err(format!("failed with {error}")),
        RuntimeStatus::Running => Err("has not ended".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_sorted_and_their_defaults_valid() {
        assert!(kinds().is_sorted_by_key(|kind| kind.name));
        for kind in kinds() {
            let workload = (kind.build)(&Settings::defaults(kind.parameters));
            let mut application = Application::new();
            workload.register(&mut application);
            assert!(application.has_orchestration(workload.orchestration()));
        }
    }

    #[test]
    fn instances_and_indices_name_each_other() {
        let run = Naming::new(7);
        for index in [0, 1, 999_999, 1_000_000, 4_999_999] {
            assert_eq!(run.index_of(&run.instance(index)), Some(index));
        }
        assert_eq!(run.index_of(&InstanceId::new("000001-00000000")), None);
        assert_eq!(run.index_of(&InstanceId::new("launcher-1")), None);
        assert_ne!(run.instance(1), Naming::new(8).instance(1));
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
