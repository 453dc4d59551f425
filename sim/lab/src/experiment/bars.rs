//! Bars: what a unit of a workload costs on each engine, and what that is made of.
//!
//! Every panel (a workload, a load, and what is looked at) is run with every series (an engine with
//! settings) under every seed; panels that run the same look at the same runs. Each bar is the mean over
//! the seeds, part by part; its range is the least and the greatest sum of a seed. What was published of
//! a bar stands beside it.
//!
//! What is looked at ([`Measure`]) and its unit: see `bars/measure.rs`.

mod measure;

pub use measure::Measure;

use self::measure::Parts;
use super::runs::{self, Job};
use super::{Agreement, Experiment, ExperimentOutcome, ResultTable, Row, Series};
use crate::figure::{Bar, BarPart, BarsFigure, BarsPanel, Figure};
use crate::load::LoadSpec;
use crate::measure::round;
use crate::progress::Progress;
use crate::published;
use crate::run::{RunError, RunOutcome};
use crate::spec::{RunSpec, SpecError, WorkloadSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An experiment of bars, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BarsExperiment {
    /// Its name.
    pub name: String,
    /// Stands over the figure.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// The plan of the hosts.
    pub plan: String,
    /// Hosts.
    pub hosts: u32,
    /// Partitions.
    pub partitions: u32,
    /// The profile.
    pub profile: String,
    /// A run for each.
    pub seeds: Vec<u64>,
    /// What a reader has to know, at the end of the caption.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remark: String,
    /// Engines and their settings.
    pub series: Vec<Series>,
    /// What is run and looked at.
    pub panels: Vec<BarsPanelSpec>,
}

/// A workload, a load, and what is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BarsPanelSpec {
    /// Stands over the panel.
    pub title: String,
    /// What is looked at.
    pub measure: Measure,
    /// Stands below the axis.
    pub of: String,
    /// The workload.
    pub workload: WorkloadSpec,
    /// The load.
    pub load: LoadSpec,
    /// The series that are run; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// What was published of a series, by its label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub published: BTreeMap<String, PublishedSum>,
}

/// A published sum: figures of `experiments/published/tables.csv`, added, by so many units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedSum {
    /// The column `table`.
    pub table: String,
    /// The column `engine`.
    pub engine: String,
    /// The column `metric` of each figure.
    pub metrics: Vec<String>,
    /// The units of the workload that the figures are of.
    pub by: f64,
}

impl PublishedSum {
    fn value(&self, place: &str) -> Result<f64, SpecError> {
        if !(self.by.is_finite() && self.by > 0.0) {
            return Err(SpecError::bad(format!("{place}: by"), self.by, "a number above 0"));
        }
        let rows = published::table_rows(&self.table)
            .expect("invariant: the embedded measurements are valid (a test)");
        let of_engine: Vec<_> = rows.iter().filter(|row| row.engine == self.engine).collect();
        let mut sum = 0.0;
        for metric in &self.metrics {
            let found = of_engine.iter().find(|row| row.metric == *metric);
            let found = found.ok_or_else(|| {
                let known = of_engine.iter().map(|row| row.metric.as_str());
                SpecError::unknown(format!("published metric in {place}"), metric, known)
            })?;
            sum += found.value;
        }
        Ok(sum / self.by)
    }
}

impl BarsExperiment {
    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        let BarsExperiment { plan, hosts, partitions, profile, .. } = self;
        format!("plan {plan}, {hosts} hosts, {partitions} partitions, profile {profile}")
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedBars, SpecError> {
        let factors = [
            ("seeds", self.seeds.len()),
            ("series", self.series.len()),
            ("panels", self.panels.len()),
        ];
        runs::check_count(&self.name, &factors)?;
        let labels = runs::labels(&self.name, &self.series)?;
        let (mut jobs, mut measured) = (Vec::new(), BTreeMap::new());
        for (panel, asked) in self.panels.iter().enumerate() {
            let place = format!("panel {}", asked.title);
            runs::check_labels(&place, asked.only.iter().chain(asked.published.keys()), &labels)?;
            for (series, variant) in self.series.iter().enumerate() {
                if let Some(sum) = asked.published.get(&variant.label) {
                    measured.insert((panel, series), sum.value(&place)?);
                }
                if !asked.shows(variant) || self.runner(panel, variant) != panel {
                    continue;
                }
                for seed in &self.seeds {
                    let spec = self.run_spec(asked, variant, *seed).check()?;
                    let (panel_title, series_label) = (asked.title.clone(), variant.label.clone());
                    jobs.push(Job { panel, panel_title, series, series_label, spec });
                }
            }
        }
        Ok(CheckedBars { experiment: self.clone(), jobs, measured })
    }

    /// The first panel that runs with this series what panel number `panel` runs.
    fn runner(&self, panel: usize, series: &Series) -> usize {
        let asked = &self.panels[panel];
        let same = |other: &BarsPanelSpec| {
            other.shows(series) && (&other.workload, &other.load) == (&asked.workload, &asked.load)
        };
        self.panels[..panel].iter().position(same).unwrap_or(panel)
    }

    fn run_spec(&self, asked: &BarsPanelSpec, series: &Series, seed: u64) -> RunSpec {
        RunSpec {
            engine: series.engine.clone(),
            workload: asked.workload.clone(),
            load: asked.load.clone(),
            plan: self.plan.clone(),
            hosts: self.hosts,
            partitions: self.partitions,
            profile: self.profile.clone(),
            seed,
            host_events: Vec::new(),
            autoscale: None,
            faults: Vec::new(),
            settings: series.settings.clone(),
        }
    }
}

impl BarsPanelSpec {
    fn shows(&self, series: &Series) -> bool {
        self.only.is_empty() || self.only.contains(&series.label)
    }
}

/// An experiment of bars whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedBars {
    experiment: BarsExperiment,
    jobs: Vec<Job>,
    /// Published sums by index of the panel and of the series.
    measured: BTreeMap<(usize, usize), f64>,
}

/// A bar: its place, what its parts come to in the mean, and its least and greatest sum.
struct Line {
    panel: usize,
    series: usize,
    parts: Parts,
    range: (f64, f64),
}

impl CheckedBars {
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
        let all = |outcome: &RunOutcome| Measure::ALL.map(|measure| measure.parts(outcome));
        let (measured, runs) = runs::carry_out(&self.jobs, threads, progress, all)?;
        let lines = self.lines(&measured);
        let rows: Vec<Row> = lines.iter().flat_map(|line| self.rows(line)).collect();
        let conclusion = Agreement::of(&rows).map(|agreement| agreement.to_string());
        let figure = Figure::Bars(self.figure(&lines));
        Ok(ExperimentOutcome {
            experiment: Experiment::Bars(self.experiment.clone()),
            figures: vec![super::drawn(&self.experiment.name, figure)],
            table: ResultTable::Comparison(rows),
            conclusion,
            runs,
        })
    }

    /// The bars, by panel and then by series; none where a run has nothing to show.
    fn lines(&self, measured: &[[Option<Parts>; Measure::COUNT]]) -> Vec<Line> {
        let BarsExperiment { panels, series, .. } = &self.experiment;
        let mut lines = Vec::new();
        for (panel, asked) in panels.iter().enumerate() {
            let shown = series.iter().enumerate().filter(|(_, variant)| asked.shows(variant));
            for (number, variant) in shown {
                let place = (self.experiment.runner(panel, variant), number);
                let of_bar = self.jobs.iter().zip(measured);
                let of_bar = of_bar.filter(|(job, _)| (job.panel, job.series) == place);
                let seeds: Option<Vec<&Parts>> =
                    of_bar.map(|(_, all)| all[asked.measure as usize].as_ref()).collect();
                if let Some(seeds) = seeds.filter(|seeds| !seeds.is_empty()) {
                    let (parts, range) = (mean(&seeds), range(&seeds));
                    lines.push(Line { panel, series: number, parts, range });
                }
            }
        }
        lines
    }

    /// A row for each part, and one for their sum where there are several.
    fn rows(&self, line: &Line) -> Vec<Row> {
        let asked = &self.experiment.panels[line.panel];
        let row = |metric: &str, simulated: f64, measured| Row {
            panel: asked.title.clone(),
            series: self.experiment.series[line.series].label.clone(),
            metric: metric.to_owned(),
            unit: asked.measure.unit(),
            simulated: Some(round(simulated, 6)),
            measured,
        };
        let published = self.measured.get(&(line.panel, line.series)).copied();
        match &line.parts[..] {
            [(name, only)] => vec![row(name, *only, published)],
            several => {
                let parts = several.iter().map(|(name, value)| row(name, *value, None));
                let sum = several.iter().map(|(_, value)| value).sum();
                parts.chain([row("sum", sum, published)]).collect()
            }
        }
    }

    fn figure(&self, lines: &[Line]) -> BarsFigure {
        let BarsExperiment { panels, series, .. } = &self.experiment;
        let bar = |line: &Line| {
            let variant = &series[line.series];
            let parts = line.parts.iter();
            Bar {
                label: variant.label.clone(),
                engine: variant.engine.clone(),
                parts: parts
                    .map(|(name, value)| BarPart { name: name.clone(), value: *value })
                    .collect(),
                range: Some(line.range).filter(|_| panels[line.panel].measure.varies()),
                measured: self.measured.get(&(line.panel, line.series)).copied(),
                note: panels[line.panel].measure.note(),
            }
        };
        let panel = |(index, asked): (usize, &BarsPanelSpec)| BarsPanel {
            title: asked.title.clone(),
            of: asked.of.clone(),
            bars: lines.iter().filter(|line| line.panel == index).map(bar).collect(),
        };
        let drawn = panels.iter().enumerate().map(panel);
        BarsFigure {
            title: self.experiment.title.clone(),
            panels: drawn.filter(|panel| !panel.bars.is_empty()).collect(),
            caption: self.caption(),
        }
    }

    fn caption(&self) -> String {
        let BarsExperiment { name, seeds, panels, remark, .. } = &self.experiment;
        let mut loads: Vec<String> = Vec::new();
        for panel in panels {
            let load = format!("{}, {}", panel.workload.shown(), panel.load);
            if !loads.contains(&load) {
                loads.push(load);
            }
        }
        let measured = match self.measured.is_empty() {
            true => "",
            false => " Marks: measured, from experiments/published/tables.csv.",
        };
        let caption = format!(
            "Experiment {name}: {}, {}; {}. Bars: mean of the seeds; lines: least and greatest of \
             a seed.{measured} {remark}",
            self.experiment.setup(),
            super::seeds_in_words(seeds),
            loads.join("; ")
        );
        caption.trim_end().to_owned()
    }
}

/// The mean of each part over runs; a part that a run does not have counts for nothing there.
fn mean(runs: &[&Parts]) -> Parts {
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in runs.iter().copied().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let value = |parts: &Parts, wanted: &String| {
        parts.iter().find(|(name, _)| name == wanted).map_or(0.0, |(_, value)| *value)
    };
    let mean = |name: &String| {
        runs.iter().map(|parts| value(parts, name)).sum::<f64>() / runs.len() as f64
    };
    names.into_iter().map(|name| (name.clone(), mean(name))).collect()
}

/// The least and the greatest sum.
fn range(runs: &[&Parts]) -> (f64, f64) {
    let sums = runs.iter().map(|parts| parts.iter().map(|(_, value)| value).sum::<f64>());
    let ends = |(least, greatest): (f64, f64), sum: f64| (least.min(sum), greatest.max(sum));
    sums.fold((f64::INFINITY, 0.0), ends)
}

#[cfg(test)]
mod tests;
