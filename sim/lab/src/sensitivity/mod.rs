//! Sensitivity: which parameter moves a result most, one at a time.
//!
//! Every parameter is set below and above its default (by a factor), or to each of its other choices, while
//! all others stay. Each value runs under the same seeds as the defaults, so its effect is a paired
//! difference with Student's t interval. The *swing* of a parameter is the difference between the values
//! (its default among them) with the highest and the lowest mean, with the interval of that pair; since
//! these two are picked after the fact, the interval of a swing near zero is a little too short.
//!
//! **No effect is proved, not estimated**: if the run under the first seed has the same digest as with
//! the defaults, no event of it was touched, and the other seeds are spared.
//!
//! One at a time means that interactions are not seen: two parameters that matter only together show
//! nothing here (Saltelli and others, *Global Sensitivity Analysis*, 2008, section 1.2).

mod files;
mod parameters;

pub use files::MARKER;
pub use parameters::Direction;

use crate::checks::Verdict as CheckVerdict;
use crate::experiment::pool;
use crate::metric::Metric;
use crate::progress::Progress;
use crate::run::{RunError, run};
use crate::spec::{CheckedSpec, RunSpec, SpecError};
use crate::statistics::{Confidence, Difference, mean};
use parameters::Parameter;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeSet;
use thiserror::Error;

/// Limits of the factor.
pub const FACTOR: [f64; 2] = [1.01, 100.0];
/// Most runs of one analysis.
const RUNS_MAX: usize = 100_000;

/// What is analysed.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// The run with its defaults; its seed is replaced.
    pub base: RunSpec,
    /// What is looked at.
    pub metric: Metric,
    /// Names of parameters, or of groups of them; none stands for all.
    pub parameters: Vec<String>,
    /// By how much numbers are divided and multiplied.
    pub factor: f64,
    /// Runs of every value.
    pub seeds: Vec<u64>,
}

/// An analysis that was checked.
#[derive(Clone, Debug)]
pub struct CheckedSensitivity {
    asked: Sensitivity,
    base: CheckedSpec,
    parameters: Vec<Parameter>,
}

/// An analysis that could not be carried out.
#[derive(Debug, Error)]
pub enum SensitivityError {
    /// A run with the defaults could not be carried out.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The defaults have no such result.
    #[error("{metric}: nothing was measured with the defaults, seed {seed}")]
    NothingMeasured {
        /// What was looked at.
        metric: &'static str,
        /// The seed.
        seed: u64,
    },
}

/// What a value of a parameter does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The run is the same, event for event.
    None,
    /// The difference to the defaults.
    Change(Difference),
    /// The engine or the world refuses the value, or the run cannot go on.
    Refused(String),
    /// Nothing was measured.
    NothingMeasured,
}

/// A value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueEffect {
    /// The value.
    pub value: String,
    /// Which way it goes.
    pub direction: Direction,
    /// What it does.
    pub effect: Effect,
    /// Checks that failed under any seed.
    pub failed_checks: BTreeSet<String>,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParameterRow {
    /// Its name: `netherite.key` or `profile.section.key`.
    pub name: String,
    /// Its default.
    pub default: String,
    /// Its other values.
    pub values: Vec<ValueEffect>,
    /// From the value with the lowest mean to that with the highest; absent if nothing was measured.
    pub swing: Option<Swing>,
}

/// How far a parameter moves the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Swing {
    /// The value with the lowest mean.
    pub lowest_at: String,
    /// The value with the highest mean.
    pub highest_at: String,
    /// The difference.
    #[serde(flatten)]
    pub difference: Difference,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct SensitivityOutcome {
    /// The engine.
    pub engine: String,
    /// The workload with its parameters.
    pub workload: String,
    /// The load.
    pub load: String,
    /// What was looked at.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Its mean with the defaults.
    pub default_mean: f64,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// How intervals came about.
    pub method: String,
    /// By swing, the greatest first.
    pub parameters: Vec<ParameterRow>,
    #[serde(skip)]
    checked: CheckedSensitivity,
}

impl Sensitivity {
    /// Checks everything before anything runs.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedSensitivity, SpecError> {
        let [low, high] = FACTOR;
        if !(low..=high).contains(&self.factor) {
            let expected = format!("a factor from {low} to {high}");
            return Err(SpecError::bad("factor", self.factor, expected));
        }
        if self.seeds.is_empty() {
            return Err(SpecError::bad("seeds", "none", "at least one"));
        }
        let base = RunSpec { seed: self.seeds[0], ..self.base.clone() }.check()?;
        let parameters = parameters::of(&base, self)?;
        let values: usize = parameters.iter().map(|parameter| parameter.values.len()).sum();
        let runs = (values + 1).saturating_mul(self.seeds.len());
        if runs > RUNS_MAX {
            return Err(SpecError::bad("runs", runs, format!("at most {RUNS_MAX}")));
        }
        Ok(CheckedSensitivity { asked: self.clone(), base, parameters })
    }
}

/// What is kept of a run.
#[derive(Clone, Debug)]
struct Seen {
    digest: String,
    value: Option<f64>,
    failed: Vec<String>,
}

/// A run that was carried out, or why it was refused.
type Tried = Result<Seen, String>;

impl CheckedSensitivity {
    /// How many runs there are at most, and how many parameters.
    pub fn runs_at_most(&self) -> usize {
        let values: usize = self.parameters.iter().map(|parameter| parameter.values.len()).sum();
        (values + 1) * self.asked.seeds.len()
    }

    /// How many parameters are looked at.
    pub fn parameters(&self) -> usize {
        self.parameters.len()
    }

    /// Carries out all runs on `threads` threads, or as many as there are cores.
    ///
    /// # Errors
    /// If a run with the defaults cannot be carried out or measured.
    ///
    /// # Panics
    /// If the system has no room for the threads.
    pub fn run(
        self,
        threads: Option<usize>,
        progress: &Progress,
    ) -> Result<SensitivityOutcome, SensitivityError> {
        let pool = pool(threads);
        let defaults = self.defaults(&pool, progress)?;
        let specs: Vec<&CheckedSpec> = self
            .parameters
            .iter()
            .flat_map(|parameter| &parameter.values)
            .map(|value| &value.spec)
            .collect();
        let first: Vec<Tried> =
            pool.install(|| specs.par_iter().map(|spec| self.attempt(spec, progress)).collect());
        let differs =
            |tried: &Tried| tried.as_ref().is_ok_and(|seen| seen.digest != defaults[0].digest);
        let mut rest: Vec<CheckedSpec> = Vec::new();
        for (spec, _) in specs.iter().zip(&first).filter(|(_, tried)| differs(tried)) {
            rest.extend(self.asked.seeds[1..].iter().map(|seed| spec.with_seed(*seed)));
        }
        let rest: Vec<Tried> =
            pool.install(|| rest.par_iter().map(|spec| self.attempt(spec, progress)).collect());
        let mut rest = rest.into_iter();
        let mut tried = Vec::with_capacity(first.len());
        for first in first {
            let more = if differs(&first) { self.asked.seeds.len() - 1 } else { 0 };
            tried.push(std::iter::once(first).chain(rest.by_ref().take(more)).collect::<Vec<_>>());
        }
        Ok(self.outcome(&defaults, tried))
    }

    fn defaults(
        &self,
        pool: &rayon::ThreadPool,
        progress: &Progress,
    ) -> Result<Vec<Seen>, SensitivityError> {
        let one = |seed: &u64| {
            let outcome = run(&self.base.with_seed(*seed), progress)?;
            let seen = self.seen(&outcome.summary);
            let (metric, seed) = (self.asked.metric.name, *seed);
            match seen.value {
                Some(_) => Ok(seen),
                None => Err(SensitivityError::NothingMeasured { metric, seed }),
            }
        };
        let results: Vec<Result<Seen, SensitivityError>> =
            pool.install(|| self.asked.seeds.par_iter().map(one).collect());
        // Not collected as a result in parallel, which would keep any of several errors.
        results.into_iter().collect()
    }

    fn attempt(&self, spec: &CheckedSpec, progress: &Progress) -> Tried {
        let outcome = run(spec, progress).map_err(|error| error.to_string())?;
        Ok(self.seen(&outcome.summary))
    }

    fn seen(&self, summary: &crate::summary::Summary) -> Seen {
        let failed = summary.checks.iter().filter(|check| check.verdict == CheckVerdict::Fail);
        Seen {
            digest: summary.digest.clone(),
            value: self.asked.metric.of(summary),
            failed: failed.map(|check| check.name.clone()).collect(),
        }
    }

    fn outcome(self, defaults: &[Seen], tried: Vec<Vec<Tried>>) -> SensitivityOutcome {
        let base: Vec<f64> = defaults.iter().filter_map(|seen| seen.value).collect();
        let mut tried = tried.into_iter();
        let mut rows: Vec<ParameterRow> = self
            .parameters
            .iter()
            .map(|parameter| {
                let of_values: Vec<Vec<Tried>> =
                    tried.by_ref().take(parameter.values.len()).collect();
                row(parameter, &base, &of_values)
            })
            .collect();
        let size = |row: &ParameterRow| {
            row.swing.as_ref().map_or(-1.0, |swing| swing.difference.difference)
        };
        // Stable: equal swings stay in the order of the parameters.
        rows.sort_by(|one, other| size(other).total_cmp(&size(one)));
        let method = Difference::paired(&base, &base, Confidence::default());
        let spec = self.base.spec();
        SensitivityOutcome {
            engine: spec.engine.clone(),
            workload: spec.workload.shown().to_string(),
            load: spec.load.to_string(),
            metric: self.asked.metric.name,
            unit: self.asked.metric.unit,
            default_mean: mean(&base).expect("invariant: there is a seed"),
            seeds: self.asked.seeds.clone(),
            method: method.map(|difference| difference.method()).unwrap_or_default(),
            parameters: rows,
            checked: self,
        }
    }
}

fn row(parameter: &Parameter, base: &[f64], tried: &[Vec<Tried>]) -> ParameterRow {
    let mut values = Vec::new();
    let mut measured: Vec<(&str, Vec<f64>)> = vec![(&parameter.default, base.to_vec())];
    for (value, tried) in parameter.values.iter().zip(tried) {
        let seen: Result<Vec<&Seen>, &String> = tried.iter().map(Result::as_ref).collect();
        let failed = |seen: &[&Seen]| seen.iter().flat_map(|seen| seen.failed.clone()).collect();
        let (effect, failed_checks) = match seen {
            Err(problem) => (Effect::Refused(problem.clone()), BTreeSet::new()),
            // Other seeds were spared: the first run is that of the defaults.
            Ok(seen) if seen.len() < base.len() => (Effect::None, failed(&seen)),
            Ok(seen) => {
                let found: Option<Vec<f64>> = seen.iter().map(|seen| seen.value).collect();
                let change = found
                    .as_ref()
                    .and_then(|found| Difference::paired(base, found, Confidence::default()));
                if let Some(found) = found {
                    measured.push((&value.shown, found));
                }
                (change.map_or(Effect::NothingMeasured, Effect::Change), failed(&seen))
            }
        };
        let (value, direction) = (value.shown.clone(), value.direction);
        values.push(ValueEffect { value, direction, effect, failed_checks });
    }
    let (name, default) = (parameter.name.clone(), parameter.default.clone());
    ParameterRow { name, default, values, swing: swing(&measured) }
}

/// From the lowest mean to the highest; `None` if only the default was measured and nothing is known of
/// the others.
fn swing(measured: &[(&str, Vec<f64>)]) -> Option<Swing> {
    let mean_of = |values: &[f64]| mean(values).unwrap_or_default();
    let by_mean = |one: &&(&str, Vec<f64>), other: &&(&str, Vec<f64>)| {
        mean_of(&one.1).total_cmp(&mean_of(&other.1))
    };
    let (lowest_at, low) = measured.iter().min_by(by_mean)?;
    let (highest_at, high) = measured.iter().max_by(by_mean)?;
    let difference = Difference::paired(low, high, Confidence::default())?;
    Some(Swing {
        lowest_at: (*lowest_at).to_owned(),
        highest_at: (*highest_at).to_owned(),
        difference,
    })
}

impl SensitivityOutcome {
    /// The outcome on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: an outcome has a JSON form")
    }

    /// The specification of the runs with the defaults.
    pub fn base(&self) -> &RunSpec {
        self.checked.base.spec()
    }
}

impl ParameterRow {
    /// Whether some value moves the result at all.
    pub fn moves(&self) -> bool {
        self.swing.as_ref().is_some_and(|swing| swing.difference.difference > 0.0)
    }
    /// Whether every value that could be tried leaves the run as it is.
    pub fn has_no_effect(&self) -> bool {
        self.values.iter().all(|value| value.effect == Effect::None)
    }
}

#[cfg(test)]
mod tests;
