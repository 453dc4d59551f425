//! Mutants: engines with one bug each, to see whether campaigns find it.
//!
//! **What this evaluates.** The oracles of the lab: checks, fault budgets and what campaigns draw. Ablations
//! switch off a mechanism that a check was written for; a mutant is a small mistake in the code of an engine
//! that nobody wrote a check for. A campaign ([`sim_lab::explore`]) that does not find it would not find its
//! like in an engine either.
//!
//! **How.** The build script copies the sources of engines and plants the bugs in the copies, from the files
//! in `edits/` ([`edits`]); the engines themselves hold no bugs and no switches. A copy holds all mutants
//! of its engine, and chooses when it is deployed (`EngineCopy`); without a choice it behaves as the
//! engine does, bit for bit.
//!
//! The table of which campaign found what is `results/mutants/`, kept by `tests/campaigns.rs`.
#![forbid(unsafe_code)]

pub mod edits;
mod mutant;

use sim_lab::explore::Campaign;
use sim_lab::registry::Engines;
use sim_model::engine::{DeployError, Deployment, Engine, FaultBudget, Guarantees, TaskHub};
use sim_model::settings::{Setting, Settings};
use sim_world::world::World;
use std::rc::Rc;

include!(concat!(env!("OUT_DIR"), "/copies.rs"));

/// A mutant of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// The engine.
    pub engine: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What no longer holds.
    pub breaks: &'static str,
    /// Settings of its campaign, as `engine.key=value`.
    pub settings: &'static [&'static str],
}

impl Mutant {
    /// The campaign that is to find it.
    pub fn campaign(&self) -> Campaign {
        let setting = |text: &&str| {
            let (key, value) = text.split_once('=').expect("invariant: a setting has a value");
            (key.to_owned(), value.to_owned())
        };
        let settings = self.settings.iter().map(setting).collect();
        Campaign { settings, ..Campaign::of(self.engine) }
    }

    /// The engines of which its own is this mutant.
    pub fn engines(&self) -> Engines {
        engines(self.engine, Some(self.name))
    }
}

/// The engines that are built in, of which `engine` is a copy: the mutant `mutant`, or none.
///
/// # Panics
/// If that engine has no copy.
pub fn engines(engine: &str, mutant: Option<&'static str>) -> Engines {
    let all = Engines::built_in();
    match engine {
        "azure-storage" => all.with(EngineCopy { engine: azure_storage::AzureStorage, mutant }),
        "internet-computer" => {
            all.with(EngineCopy { engine: internet_computer::InternetComputer, mutant })
        }
        "netherite" => all.with(EngineCopy { engine: netherite::Netherite, mutant }),
        "sql-server" => all.with(EngineCopy { engine: sql_server::SqlServer, mutant }),
        "triggerflow" => all.with(EngineCopy { engine: triggerflow::Triggerflow, mutant }),
        other => panic!("{other} has no copy: give it a folder in edits/ and a line here"),
    }
}

/// The copy of an engine, as one of its mutants or as none.
struct EngineCopy<E> {
    engine: E,
    mutant: Option<&'static str>,
}

impl<E: Engine<World>> Engine<World> for EngineCopy<E> {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn summary(&self) -> &'static str {
        self.engine.summary()
    }

    fn guarantees(&self, settings: &Settings) -> Guarantees {
        self.engine.guarantees(settings)
    }

    fn fault_budget(&self, settings: &Settings) -> FaultBudget {
        self.engine.fault_budget(settings)
    }

    fn settings(&self) -> &'static [Setting] {
        self.engine.settings()
    }

    fn small_scales(&self) -> &'static [(&'static str, &'static [&'static str])] {
        self.engine.small_scales()
    }

    fn votes(&self, settings: &Settings) -> Result<(), &'static str> {
        self.engine.votes(settings)
    }

    fn deploy(
        &self,
        world: &World,
        deployment: Deployment,
    ) -> Result<Rc<dyn TaskHub>, DeployError> {
        mutant::choose(self.mutant);
        self.engine.deploy(world, deployment)
    }
}
