//! Maxima: the highest rates of one worker, beside those that were published as estimates.
//!
//! Every scenario (a workload that strains one part of an engine) is run on every plan with one
//! host under every seed. Its rate is what the workload completes a second, times what one unit of
//! the workload stands for in the scenario (the activities of one orchestration, say); it is the
//! mean over the seeds. Compared row by row with `experiments/published/tables.csv`.

use super::runs::{self, Job};
use super::{Experiment, ExperimentOutcome, ResultTable, Row, Series, Unit, csv_of};
use crate::load::LoadSpec;
use crate::measure;
use crate::progress::Progress;
use crate::published::{self, PublishedMaximum};
use crate::run::{RunError, RunOutcome};
use crate::spec::{RunSpec, SpecError, WorkloadSpec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An experiment on maxima, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaximaExperiment {
    /// Its name.
    pub name: String,
    /// Stands over the table.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// The plans.
    pub plans: Vec<String>,
    /// Partitions.
    pub partitions: u32,
    /// The profile.
    pub profile: String,
    /// A run of every scenario on every plan for each.
    pub seeds: Vec<u64>,
    /// The name of the engine in the published table.
    pub published: String,
    /// How far from the published rate a rate may be to agree with it, as a fraction of it.
    pub tolerance: f64,
    /// What a reader of the comparison has to know: which of it the profile was fitted to.
    pub fitted: String,
    /// The engine and its settings.
    pub engine: Series,
    /// What is run.
    pub scenarios: Vec<Scenario>,
}

/// A scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name in the table.
    pub title: String,
    /// Its name in the published table.
    pub published: String,
    /// The workload.
    pub workload: WorkloadSpec,
    /// The load.
    pub load: LoadSpec,
    /// What is counted: the plural.
    pub unit: String,
    /// How many of them one unit of the workload stands for.
    #[serde(default = "one")]
    pub units: f64,
}

fn one() -> f64 {
    1.0
}

/// A rate, beside the published one.
#[derive(Clone, Debug, PartialEq)]
pub struct Maximum {
    /// The comparison.
    pub row: Row,
    /// The plan.
    pub plan: String,
    /// What is counted.
    pub counted: String,
    /// Whether the rate agrees with the published one.
    pub agrees: bool,
    /// Where the published rate is from.
    pub source: String,
}

impl MaximaExperiment {
    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        format!("1 host, {} partitions, profile {}", self.partitions, self.profile)
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedMaxima, SpecError> {
        let factors = [
            ("seeds", self.seeds.len()),
            ("plans", self.plans.len()),
            ("scenarios", self.scenarios.len()),
        ];
        runs::check_count(&self.name, &factors)?;
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            let place = format!("experiment {}: tolerance", self.name);
            return Err(SpecError::bad(place, self.tolerance, "a fraction between 0 and 1"));
        }
        let measured = self.measured()?;
        let mut jobs = Vec::new();
        for (panel, scenario) in self.scenarios.iter().enumerate() {
            for (series, plan) in self.plans.iter().enumerate() {
                for seed in &self.seeds {
                    let spec = self.run_spec(scenario, plan, *seed).check()?;
                    let (panel_title, series_label) = (scenario.title.clone(), plan.clone());
                    jobs.push(Job { panel, panel_title, series, series_label, spec });
                }
            }
        }
        Ok(CheckedMaxima { experiment: self.clone(), jobs, measured })
    }

    fn run_spec(&self, scenario: &Scenario, plan: &str, seed: u64) -> RunSpec {
        RunSpec {
            engine: self.engine.engine.clone(),
            workload: scenario.workload.clone(),
            load: scenario.load.clone(),
            plan: plan.to_owned(),
            hosts: 1,
            partitions: self.partitions,
            profile: self.profile.clone(),
            seed,
            host_events: Vec::new(),
            autoscale: None,
            faults: Vec::new(),
            settings: self.engine.settings.clone(),
        }
    }

    /// The published rates by scenario and plan.
    fn measured(&self) -> Result<Measured, SpecError> {
        let published = published::single_worker_maxima()
            .expect("invariant: the embedded measurements are valid (a test)");
        let engines: BTreeSet<&str> = published.iter().map(|known| &*known.engine).collect();
        if !engines.contains(self.published.as_str()) {
            return Err(SpecError::unknown("published engine", &self.published, engines));
        }
        let of_engine = || published.iter().filter(|known| known.engine == self.published);
        let mut measured = BTreeMap::new();
        for (number, scenario) in self.scenarios.iter().enumerate() {
            let known: BTreeSet<&str> = of_engine().map(|known| &*known.scenario).collect();
            if !known.contains(scenario.published.as_str()) {
                return Err(SpecError::unknown("published scenario", &scenario.published, known));
            }
            for row in of_engine().filter(|row| row.scenario == scenario.published) {
                if let Some(plan) = self.plans.iter().position(|plan| *plan == row.plan) {
                    measured.insert((number, plan), row.clone());
                }
            }
        }
        Ok(measured)
    }
}

/// Published rates by index of the scenario and of the plan.
type Measured = BTreeMap<(usize, usize), PublishedMaximum>;

/// An experiment on maxima whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedMaxima {
    experiment: MaximaExperiment,
    jobs: Vec<Job>,
    measured: Measured,
}

impl CheckedMaxima {
    /// How many runs there are.
    pub fn runs(&self) -> usize {
        self.jobs.len()
    }

    /// Carries out all runs on `threads` threads, or as many as there are cores. The outcome does
    /// not depend on their number.
    ///
    /// # Errors
    /// The error of the first run, in their order, that could not be carried out.
    ///
    /// # Panics
    /// If the system has no room for the threads.
    pub fn run(
        &self,
        threads: Option<usize>,
        progress: &Progress,
    ) -> Result<ExperimentOutcome, RunError> {
        let rate = |outcome: &RunOutcome| outcome.summary.work.per_s;
        let (rates, runs) = runs::carry_out(&self.jobs, threads, progress, rate)?;
        // Runs of one scenario on one plan stand side by side, a run for each seed.
        let seeds = self.experiment.seeds.len();
        let of_seeds = self.jobs.chunks(seeds).zip(rates.chunks(seeds));
        let maxima: Vec<Maximum> = of_seeds
            .map(|(jobs, rates)| {
                let sum: Option<f64> = rates.iter().copied().sum();
                self.maximum(jobs[0].panel, jobs[0].series, sum.map(|sum| sum / seeds as f64))
            })
            .collect();
        let conclusion = self.conclusion(&maxima);
        Ok(ExperimentOutcome {
            experiment: Experiment::Maxima(self.experiment.clone()),
            figures: Vec::new(),
            table: ResultTable::Maxima(maxima),
            conclusion,
            runs,
        })
    }

    fn maximum(&self, number: usize, plan_number: usize, rate: Option<f64>) -> Maximum {
        let MaximaExperiment { plans, scenarios, engine, tolerance, .. } = &self.experiment;
        let (plan, scenario) = (&plans[plan_number], &scenarios[number]);
        let published = self.measured.get(&(number, plan_number));
        let row = Row {
            panel: scenario.title.clone(),
            series: engine.label.clone(),
            metric: format!("{plan}, {} per s", scenario.unit),
            unit: Unit::PerSecond,
            simulated: rate.map(|rate| measure::round(rate * scenario.units, 3)),
            measured: published.map(|published| published.per_s),
        };
        Maximum {
            agrees: row.ratio().is_some_and(|ratio| (ratio - 1.0).abs() <= *tolerance),
            plan: plan.clone(),
            counted: scenario.unit.clone(),
            source: published.map(|published| published.source.clone()).unwrap_or_default(),
            row,
        }
    }

    fn conclusion(&self, maxima: &[Maximum]) -> Option<String> {
        let compared = maxima.iter().filter_map(|maximum| Some((maximum.row.ratio()?, maximum)));
        let off = |ratio: f64| (ratio - 1.0).abs();
        let (worst, at) =
            compared.clone().max_by(|one, other| off(one.0).total_cmp(&off(other.0)))?;
        let agreeing = maxima.iter().filter(|maximum| maximum.agrees).count();
        let MaximaExperiment { tolerance, fitted, .. } = &self.experiment;
        Some(format!(
            "{agreeing} of {} within {:.0} % of the published estimate; furthest {worst:.2} of it, \
             at {}, {}. {fitted}",
            compared.count(),
            tolerance * 100.0,
            at.row.panel,
            at.plan
        ))
    }
}

/// Maxima as CSV.
pub(super) fn csv(maxima: &[Maximum]) -> Vec<u8> {
    let heading = [
        "scenario",
        "series",
        "plan",
        "unit",
        "simulated",
        "published",
        "ratio",
        "agrees",
        "source",
    ];
    let text = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    csv_of(
        heading,
        maxima.iter().map(|maximum| {
            let row = &maximum.row;
            let [simulated, published, ratio] =
                [row.simulated, row.measured, row.ratio()].map(text);
            [
                row.panel.clone(),
                row.series.clone(),
                maximum.plan.clone(),
                format!("{}/s", maximum.counted),
                simulated,
                published,
                ratio,
                maximum.agrees.to_string(),
                maximum.source.clone(),
            ]
        }),
    )
}
