//! The faults of a run, from what a person asked for: single faults, a plan, a level of chaos.

use super::{Chaos, Fault, FaultPlan, Kind, Targets};
use crate::registry::Engines;
use crate::run::{self, RunError};
use crate::spec::RunSpec;
use sim_model::engine::{FaultBudget, FaultClass};
use std::time::Duration;

/// The shortest span over which chaos is spread: a batch is started in no time.
pub const CHAOS_SPAN_MIN: Duration = Duration::from_secs(10);

/// Faults that a run is asked to have.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Single faults.
    pub faults: Vec<Fault>,
    /// A plan.
    pub plan: Option<FaultPlan>,
    /// A level of chaos.
    pub chaos: Option<Chaos>,
    /// Whether chaos draws faults outside of the budget, too.
    pub beyond_budget: bool,
    /// The kinds that chaos draws from, as far as they are in the budget; all of the budget if `None`.
    pub kinds: Option<Vec<&'static Kind>>,
}

impl Asked {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.plan.is_none() && self.chaos.is_none()
    }
}

/// The plans of a run, and its faults in the order of their instants, besides those that `spec` has.
///
/// # Errors
/// If the specification cannot be run, or a plan does not fit it.
pub fn make(spec: &RunSpec, asked: &Asked) -> Result<Made, RunError> {
    make_with(&Engines::built_in(), spec, asked)
}

/// [`make`], for a run of one of these engines.
///
/// # Errors
/// As for [`make`].
pub fn make_with(engines: &Engines, spec: &RunSpec, asked: &Asked) -> Result<Made, RunError> {
    let quiet = RunSpec { faults: Vec::new(), ..spec.clone() };
    let (targets, budget) = run::targets(&quiet.check_with(engines)?)?;
    let load = spec.load.duration().max(CHAOS_SPAN_MIN);
    let kinds = asked.kinds.as_deref();
    let survives = FaultClass::ALL.to_vec();
    let drawn_from = match asked.beyond_budget {
        true => FaultBudget { survives, ..budget.clone() },
        false => budget.clone(),
    };
    let chaos = asked
        .chaos
        .map(|level| level.plan(spec.seed, &drawn_from, kinds, &targets, Duration::ZERO..load));
    let mut faults = asked.faults.clone();
    for plan in asked.plan.iter().chain(&chaos) {
        faults = plan.expand(spec.seed, &targets, load, &faults)?;
    }
    faults.sort_by_cached_key(|fault| (fault.at(), fault.to_string()));
    let under = super::budget_under(&budget, &faults, &targets);
    Ok(Made { faults, chaos, targets, budget, under })
}

/// What [`make`] makes.
#[derive(Clone, Debug)]
pub struct Made {
    /// All faults.
    pub faults: Vec<Fault>,
    /// The plan that chaos has made.
    pub chaos: Option<FaultPlan>,
    /// What there is to go wrong.
    pub targets: Targets,
    /// What the engine promises to survive.
    pub budget: FaultBudget,
    /// The same for these faults: without Byzantine replicas if there are more than are tolerated.
    pub under: FaultBudget,
}
