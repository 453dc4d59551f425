//! Latency experiments: workloads by engines, the same load, several seeds.
//!
//! Every panel (a workload) is run with every series (an engine with settings) under every seed.
//! The runs of one panel and series make one distribution. It is drawn as a curve, with measured
//! percentiles as marks, and compared row by row: simulated, measured, and the ratio of the two.

use super::runs::{self, Job};
use super::{Experiment, ExperimentOutcome, ResultTable, Row, Series, Unit};
use crate::figure::{CdfCurve, CdfFigure, CdfMarks, CdfPanel, Figure};
use crate::load::LoadSpec;
use crate::measure::{self, Latencies};
use crate::progress::Progress;
use crate::published::{self, LatencySeries};
use crate::run::{RunError, RunOutcome};
use crate::span;
use crate::spec::{RunSpec, SpecError, WorkloadSpec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The percentiles that are compared.
const COMPARED: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

/// A latency experiment, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyExperiment {
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
    /// The load of every run.
    pub load: LoadSpec,
    /// A run for each.
    pub seeds: Vec<u64>,
    /// The fraction of latencies above this span is compared too.
    pub slow: String,
    /// Engines and their settings.
    pub series: Vec<Series>,
    /// Workloads.
    pub panels: Vec<Panel>,
}

/// A workload, and what was measured of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    /// Stands over the panel.
    pub title: String,
    /// The workload.
    pub workload: WorkloadSpec,
    /// The published percentiles of a series, by its label.
    #[serde(default)]
    pub published: BTreeMap<String, String>,
    /// The published fraction above `slow`, by label.
    #[serde(default)]
    pub published_slow: BTreeMap<String, f64>,
}

impl LatencyExperiment {
    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        let LatencyExperiment { load, plan, hosts, partitions, profile, .. } = self;
        format!(
            "load {load}, plan {plan}, {hosts} hosts, {partitions} partitions, profile {profile}"
        )
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedLatency, SpecError> {
        let slow = span::parse(&self.slow)
            .ok_or_else(|| SpecError::bad("slow", &self.slow, span::EXPECTED))?;
        let factors = [
            ("seeds", self.seeds.len()),
            ("series", self.series.len()),
            ("panels", self.panels.len()),
        ];
        runs::check_count(&self.name, &factors)?;
        let measured = self.measured(&runs::labels(&self.name, &self.series)?)?;
        let mut jobs = Vec::new();
        for (panel, asked) in self.panels.iter().enumerate() {
            for (series, variant) in self.series.iter().enumerate() {
                for seed in &self.seeds {
                    let spec = self.run_spec(&asked.workload, variant, *seed).check()?;
                    let (panel_title, series_label) = (asked.title.clone(), variant.label.clone());
                    jobs.push(Job { panel, panel_title, series, series_label, spec });
                }
            }
        }
        Ok(CheckedLatency { experiment: self.clone(), slow, jobs, measured })
    }

    fn run_spec(&self, workload: &WorkloadSpec, series: &Series, seed: u64) -> RunSpec {
        RunSpec {
            engine: series.engine.clone(),
            workload: workload.clone(),
            load: self.load.clone(),
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

    /// The published percentiles of each panel and series that has some.
    fn measured(&self, labels: &BTreeSet<&str>) -> Result<Measured, SpecError> {
        let published = published::latency_series()
            .expect("invariant: the embedded measurements are valid (a test)");
        let mut measured = BTreeMap::new();
        for (panel, asked) in self.panels.iter().enumerate() {
            let named = asked.published.keys().chain(asked.published_slow.keys());
            runs::check_labels(&format!("panel {}", asked.title), named, labels)?;
            for (series, variant) in self.series.iter().enumerate() {
                let Some(name) = asked.published.get(&variant.label) else { continue };
                let found = published.iter().find(|known| known.series == *name);
                let found = found.ok_or_else(|| {
                    let known = published.iter().map(|known| known.series.as_str());
                    SpecError::unknown("published series", name, known)
                })?;
                measured.insert((panel, series), found.clone());
            }
        }
        Ok(measured)
    }
}

/// Published percentiles by panel and series.
type Measured = BTreeMap<(usize, usize), LatencySeries>;

/// A latency experiment whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedLatency {
    experiment: LatencyExperiment,
    slow: Duration,
    jobs: Vec<Job>,
    measured: Measured,
}

impl CheckedLatency {
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
        let measure = |outcome: &RunOutcome| measure::engine_latencies(&outcome.records);
        let (latencies, runs) = runs::carry_out(&self.jobs, threads, progress, measure)?;
        let mut merged: BTreeMap<(usize, usize), Latencies> = BTreeMap::new();
        for (job, latencies) in self.jobs.iter().zip(latencies) {
            merged.entry((job.panel, job.series)).or_default().merge(&latencies);
        }
        Ok(ExperimentOutcome {
            experiment: Experiment::Latency(self.experiment.clone()),
            figures: vec![super::drawn(&self.experiment.name, Figure::Cdf(self.figure(&merged)))],
            table: ResultTable::Comparison(self.rows(&merged)),
            conclusion: None,
            runs,
        })
    }

    fn rows(&self, merged: &BTreeMap<(usize, usize), Latencies>) -> Vec<Row> {
        let mut rows = Vec::new();
        for ((panel, series), latencies) in merged {
            let asked = &self.experiment.panels[*panel];
            let label = &self.experiment.series[*series].label;
            let published = self.measured.get(&(*panel, *series));
            let mut row = |metric: String, unit, simulated, measured| {
                let (panel, series) = (asked.title.clone(), label.clone());
                rows.push(Row { panel, series, metric, unit, simulated, measured });
            };
            for (name, quantile) in COMPARED {
                let measured = published.and_then(|published| published.at(quantile));
                let simulated = latencies.quantile_ms(quantile);
                row(format!("{name} ms"), Unit::Milliseconds, simulated, measured);
            }
            let slow = latencies.fraction_above(self.slow);
            row(
                format!("above {}", self.experiment.slow),
                Unit::Fraction,
                slow,
                asked.published_slow.get(label).copied(),
            );
        }
        rows
    }

    fn figure(&self, merged: &BTreeMap<(usize, usize), Latencies>) -> CdfFigure {
        let LatencyExperiment { panels, series, .. } = &self.experiment;
        let panel = |(index, asked): (usize, &Panel)| {
            let numbered = || series.iter().enumerate();
            let curves = numbered().filter_map(|(number, variant)| {
                let latencies = merged.get(&(index, number)).filter(|found| found.count() > 0)?;
                Some(CdfCurve {
                    label: variant.label.clone(),
                    engine: variant.engine.clone(),
                    stroke: variant.stroke(),
                    points: latencies.points(),
                })
            });
            let marks = numbered().filter_map(|(number, variant)| {
                Some(CdfMarks {
                    label: format!("{}, measured", variant.label),
                    engine: variant.engine.clone(),
                    points: self.measured.get(&(index, number))?.points(),
                })
            });
            CdfPanel {
                title: asked.title.clone(),
                curves: curves.collect(),
                marks: marks.collect(),
            }
        };
        CdfFigure {
            title: self.experiment.title.clone(),
            panels: panels.iter().enumerate().map(panel).collect(),
            own_axes: false,
            caption: self.caption(),
        }
    }

    fn caption(&self) -> String {
        let LatencyExperiment { name, seeds, .. } = &self.experiment;
        format!(
            "Experiment {name}: {}, {}. Lines: simulated. Marks: measured percentiles, from \
             experiments/published/latency-percentiles.csv.",
            self.experiment.setup(),
            super::seeds_in_words(seeds)
        )
    }
}
