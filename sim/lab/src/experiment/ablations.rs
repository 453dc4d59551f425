//! Ablations: each safety mechanism switched off, and how many seeds it takes until an oracle notices.
//!
//! For each mechanism of each engine, and each group of kinds of faults, a campaign of small runs
//! ([`crate::explore`]) goes on until a run fails, or its seeds are used up. What fails is made smaller, so
//! that the table holds the smallest plan of faults that shows what the mechanism is for. It is a
//! test of the oracles, since every mechanism is there for something, and a result about the engines:
//! which faults each mechanism is against.
//!
//! A run that fails with the mechanism switched on as well says nothing about it: the search goes on, and it
//! is a miss of the engine's, unless another mechanism is off too.
//!
//! A mechanism that has a second line of defence behind it is switched off together with that; one that
//! does something in some mode only is looked at in this mode (`settings`).

use super::matrix::{self, Matrix};
use super::runs;
use super::{Experiment, ExperimentOutcome};
use crate::explore::{self, Campaign, Finding, FirstFailure};
use crate::fault::{self, Kind};
use crate::figure::{MatrixFigure, MatrixGroup, MatrixRow, Shade};
use crate::measure;
use crate::progress::Progress;
use crate::registry;
use crate::run::{self, RunError};
use crate::spec::{RunSpec, SpecError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sim_model::settings::Purpose;
use std::collections::{BTreeMap, BTreeSet};
use table::Row;

/// An ablation study, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AblationsExperiment {
    /// Its name.
    pub name: String,
    /// Stands over the figure.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// The seeds of a campaign under all faults of the budget.
    #[serde(with = "matrix::seeds")]
    pub seeds: Vec<u64>,
    /// How many of them a campaign under faults of one group has.
    pub seeds_by_group: u64,
    /// Groups of kinds of faults.
    pub groups: Vec<FaultGroup>,
    /// What is switched off.
    pub ablations: Vec<Ablation>,
}

/// Kinds of faults that belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultGroup {
    /// Stands over the column.
    pub title: String,
    /// The kinds; none for no faults at all.
    pub kinds: Vec<String>,
}

/// A mechanism that is switched off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ablation {
    /// The engine.
    pub engine: String,
    /// The setting.
    pub mechanism: String,
    /// Other settings of all runs, by key: the mode in which the mechanism does something, or a second line
    /// of defence that is switched off too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// Rules that the mechanism keeps although the engine does not promise them: that one is broken counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strict: Vec<String>,
    /// The workload of all runs; drawn for each if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
}

impl Ablation {
    fn campaign(&self, kinds: Option<Vec<String>>) -> Campaign {
        let mut settings = matrix::settings_of(&self.engine, &self.settings);
        settings.insert(format!("{}.{}", self.engine, self.mechanism), "false".to_owned());
        Campaign {
            settings,
            kinds,
            strict: self.strict.clone(),
            workload: self.workload.clone(),
            ..Campaign::of(&self.engine)
        }
    }

    /// Whether another mechanism is off too: then runs may fail with this one.
    fn lacks_another(&self) -> bool {
        let engine = registry::engine(&self.engine).expect("invariant: it was checked");
        let is_safety = |key: &str| {
            let setting = engine.settings().iter().find(|setting| setting.key == key);
            setting.is_some_and(|setting| setting.purpose == Purpose::Safety)
        };
        self.settings.iter().any(|(key, value)| is_safety(key) && value == "false")
    }

    /// The same run with the mechanism on.
    fn control(&self, spec: &RunSpec) -> RunSpec {
        let mut control = spec.clone();
        control.settings.insert(format!("{}.{}", self.engine, self.mechanism), "true".to_owned());
        control
    }

    /// What is switched off, with the settings besides.
    fn label(&self) -> String {
        let others: Vec<String> =
            self.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        match others.is_empty() {
            true => self.mechanism.clone(),
            false => format!("{} ({})", self.mechanism, others.join(", ")),
        }
    }
}

/// The name of the column for all faults of the budget.
const ALL: &str = "all faults";

/// One campaign of a study.
#[derive(Clone, Debug)]
struct Job {
    ablation: usize,
    column: usize,
    /// None if the engine's budget has no fault of the group.
    campaign: Option<Campaign>,
    seeds: u64,
}

/// What came of one campaign.
#[derive(Clone, Debug)]
struct Cell {
    /// Runs until the first that failed, or all.
    runs: u64,
    /// Seeds whose runs failed with the mechanism on as well.
    sick: Vec<u64>,
    /// What was found, made smaller.
    found: Option<Finding>,
}

/// A study whose every campaign was checked.
#[derive(Clone, Debug)]
pub struct CheckedAblations {
    experiment: AblationsExperiment,
    jobs: Vec<Job>,
}

impl AblationsExperiment {
    /// Only all faults of the budget, and few seeds: what takes more of them is not found.
    pub(super) fn make_quick(&mut self) {
        self.groups.clear();
        self.seeds.truncate(super::QUICK_CAMPAIGN);
    }

    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        let (first, count) = matrix::span(&self.seeds);
        let by_group = self.seeds_by_group.min(count);
        format!(
            "seeds from {first} on, at most {count} under all faults of an engine's budget, {by_group} \
             under those of a group; workload, hosts and performance settings drawn from the seed"
        )
    }

    fn columns(&self) -> Vec<String> {
        let groups = self.groups.iter().map(|group| group.title.clone());
        [ALL.to_owned()].into_iter().chain(groups).collect()
    }

    /// Checks every campaign, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedAblations, SpecError> {
        let place = |what: &str| format!("experiment {}: {what}", self.name);
        let (_, count) = matrix::span(&self.seeds);
        runs::check_count(&self.name, &[("ablations", self.ablations.len())])?;
        if count == 0 {
            return Err(SpecError::bad(place("seeds"), "none", "at least one"));
        }
        let mut seen = BTreeSet::new();
        let mut jobs = Vec::new();
        for (index, ablation) in self.ablations.iter().enumerate() {
            self.check_ablation(ablation)?;
            if !seen.insert((&ablation.engine, ablation.label())) {
                return Err(SpecError::Twice { place: place(&ablation.label()) });
            }
            let all = ablation.campaign(None);
            jobs.push(Job { ablation: index, column: 0, campaign: Some(all), seeds: count });
            for (column, group) in self.groups.iter().enumerate() {
                let campaign = ablation.campaign(Some(group.kinds.clone()));
                let kinds = campaign.kinds()?.unwrap_or_default();
                let applies = kinds.is_empty() || can_happen(&campaign, &kinds)?;
                jobs.push(Job {
                    ablation: index,
                    column: column + 1,
                    campaign: applies.then_some(campaign),
                    seeds: self.seeds_by_group.min(count),
                });
            }
        }
        Ok(CheckedAblations { experiment: self.clone(), jobs })
    }

    fn check_ablation(&self, ablation: &Ablation) -> Result<(), SpecError> {
        let engine = registry::engine(&ablation.engine)?;
        let safety: Vec<&str> = (engine.settings().iter())
            .filter(|setting| setting.purpose == Purpose::Safety)
            .map(|setting| setting.key)
            .collect();
        if !safety.contains(&ablation.mechanism.as_str()) {
            let what = format!("safety mechanism of {}", ablation.engine);
            return Err(SpecError::unknown(what, &ablation.mechanism, safety));
        }
        let campaign = ablation.campaign(None);
        campaign.check()?;
        let settings = campaign.settings;
        RunSpec { engine: ablation.engine.clone(), settings, ..RunSpec::default() }.check()?;
        Ok(())
    }
}

/// Whether a fault of these kinds is in the engine's budget.
fn can_happen(campaign: &Campaign, kinds: &[&'static Kind]) -> Result<bool, SpecError> {
    let spec = RunSpec {
        engine: campaign.engine.clone(),
        settings: campaign.settings.clone(),
        ..RunSpec::default()
    };
    let Ok((targets, budget)) = run::targets(&spec.check()?) else { return Ok(false) };
    Ok(fault::drawable(&budget, &targets, Some(kinds)).next().is_some())
}

impl CheckedAblations {
    /// How many campaigns there are.
    pub fn runs(&self) -> usize {
        self.jobs.iter().filter(|job| job.campaign.is_some()).count()
    }

    /// Carries out all campaigns on `threads` threads, or as many as there are cores. The outcome does
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
        let (first, _) = matrix::span(&self.experiment.seeds);
        let one = |job: &Job| -> Result<Option<Cell>, RunError> {
            let Some(campaign) = &job.campaign else { return Ok(None) };
            let ablation = &self.experiment.ablations[job.ablation];
            let cell = search(ablation, campaign, first, job.seeds)?;
            progress.complete_run();
            Ok(Some(cell))
        };
        let cells: Vec<Result<Option<Cell>, RunError>> =
            runs::pool(threads).install(|| self.jobs.par_iter().with_max_len(1).map(one).collect());
        let cells: Vec<Option<Cell>> = cells.into_iter().collect::<Result<_, _>>()?;
        let matrix = self.matrix(&cells);
        let conclusion = matrix.figure.caption.clone();
        Ok(matrix.outcome(Experiment::Ablations(self.experiment.clone()), conclusion))
    }

    fn matrix(&self, cells: &[Option<Cell>]) -> Matrix {
        let AblationsExperiment { title, ablations, .. } = &self.experiment;
        let columns = self.experiment.columns();
        let mut groups: Vec<MatrixGroup> = Vec::new();
        for (ablation, row) in ablations.iter().zip(cells.chunks(columns.len())) {
            let cells = row.iter().map(|cell| table::shown(cell.as_ref())).collect();
            let row = MatrixRow { label: ablation.label(), cells };
            matrix::add_row(&mut groups, &ablation.engine, row);
        }
        let rows = self.rows(cells);
        Matrix {
            csv: table::csv(&rows),
            files: table::plans(&rows),
            runs: cells.iter().flatten().map(Cell::all_runs).sum(),
            misses: table::misses(&rows),
            figure: MatrixFigure {
                title: title.clone(),
                of: "switched off".to_owned(),
                columns,
                groups,
                shades: vec![
                    (Shade::Good, "found: the first seed that fails, and how".to_owned()),
                    (Shade::Plain, "not found in so many seeds".to_owned()),
                    (Shade::Blank, "no such fault in the engine's budget".to_owned()),
                ],
                caption: self.caption(&rows),
            },
        }
    }

    fn rows<'a>(&'a self, cells: &'a [Option<Cell>]) -> Vec<Row<'a>> {
        let ablation = |job: &Job| &self.experiment.ablations[job.ablation];
        let title = |job: &Job| match job.column {
            0 => ALL,
            column => &self.experiment.groups[column - 1].title,
        };
        let done = self.jobs.iter().zip(cells);
        done.filter_map(|(job, cell)| {
            let cell = cell.as_ref()?;
            Some(Row { ablation: ablation(job), group: title(job), cell })
        })
        .collect()
    }

    fn caption(&self, rows: &[Row<'_>]) -> String {
        let of_all: Vec<&Row<'_>> = rows.iter().filter(|row| row.group == ALL).collect();
        let found: Vec<u64> = of_all.iter().filter_map(|row| row.seeds_taken()).collect();
        let removed: Vec<f64> = rows.iter().filter_map(Row::removed).collect();
        let mut caption = format!(
            "Experiment {}: {}. Found under all faults: {} of {}",
            self.experiment.name,
            self.experiment.setup(),
            found.len(),
            of_all.len()
        );
        if let Some(most) = found.iter().max() {
            let mut sorted = found.clone();
            sorted.sort_unstable();
            let median = sorted[(sorted.len() - 1) / 2];
            caption += &format!(", after {median} seeds in the median and {most} at most");
        }
        let needed = rows.iter().filter(|row| row.faults_left() > Some(0));
        let needed: Vec<f64> = needed.filter_map(Row::removed).collect();
        for (what, removed) in [("failing", removed), ("those that need a fault to fail", needed)] {
            let count = removed.len();
            if let Some(median) = table::median(removed) {
                let percent = measure::round(median * 100.0, 1);
                let runs = match what {
                    "failing" => format!("Of the faults of {count} failing runs that had any"),
                    those => format!("of the {count} {those}"),
                };
                let join = if what == "failing" { ". " } else { ", " };
                caption += &format!("{join}{runs}, {percent:.0} % could be removed in the median");
            }
        }
        caption + "."
    }
}

impl Cell {
    fn all_runs(&self) -> u64 {
        self.runs + self.found.as_ref().map_or(0, |found| u64::from(found.attempts) + 1)
    }
}

/// The campaign up to the first failure that the mechanism would have prevented, which is made smaller.
fn search(
    ablation: &Ablation,
    campaign: &Campaign,
    first_seed: u64,
    seeds: u64,
) -> Result<Cell, RunError> {
    let mut cell = Cell { runs: 0, sick: Vec::new(), found: None };
    while cell.runs < seeds {
        let from = first_seed + cell.runs;
        let Some(failing) = explore::first_failure(campaign, from, seeds - cell.runs)? else {
            cell.runs = seeds;
            break;
        };
        let FirstFailure { spec, failure } = failing;
        cell.runs = spec.seed - first_seed + 1;
        let with_it = explore::judge_strictly(&ablation.control(&spec), &campaign.strict)?;
        if with_it.failure.is_some() {
            cell.sick.push(spec.seed);
            continue;
        }
        let shrunk = explore::shrink(&spec, &failure, &campaign.strict)?;
        cell.found = Some(Finding::of(spec.seed, &shrunk));
        break;
    }
    Ok(cell)
}

mod table;
#[cfg(test)]
mod tests;
