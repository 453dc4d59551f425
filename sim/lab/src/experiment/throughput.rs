//! Throughput experiments: plans by engines by numbers of hosts, each with a load of its own.
//!
//! Every panel (a plan) is run with every series (an engine with settings) on every number of
//! hosts under every seed; the throughput of a configuration is the mean over its seeds. It is
//! drawn over the number of hosts, with the measured mean, minimum and maximum as marks, and
//! compared row by row: simulated, measured mean, and the ratio of the two.

use super::runs::{self, Job};
use super::{Agreement, Experiment, ExperimentOutcome, ResultTable, Row, RunRow, Series, Unit};
use crate::figure::{
    Figure, MeasuredThroughput, ThroughputCurve, ThroughputFigure, ThroughputMarks, ThroughputPanel,
};
use crate::load::LoadSpec;
use crate::measure;
use crate::progress::Progress;
use crate::published::{self, ThroughputRun};
use crate::run::RunError;
use crate::spec::{RunSpec, SpecError, WorkloadSpec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A throughput experiment, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThroughputExperiment {
    /// Its name.
    pub name: String,
    /// Stands over the figure.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// The workload.
    pub workload: WorkloadSpec,
    /// Numbers of hosts, ascending.
    pub hosts: Vec<u32>,
    /// Partitions.
    pub partitions: u32,
    /// The profile.
    pub profile: String,
    /// A run of every configuration for each.
    pub seeds: Vec<u64>,
    /// The published campaign that is compared with.
    pub campaign: String,
    /// The tag of a series in that campaign, by its label.
    #[serde(default)]
    pub published: BTreeMap<String, String>,
    /// What a reader of the comparison has to know: which of it the profile was fitted to.
    pub fitted: String,
    /// Engines and their settings.
    pub series: Vec<Series>,
    /// Plans.
    pub panels: Vec<PlanPanel>,
}

/// A plan, and how it is loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanPanel {
    /// Stands over the panel.
    pub title: String,
    /// The plan of the hosts.
    pub plan: String,
    /// The loads of a series, by its label: one for each number of hosts.
    pub loads: BTreeMap<String, Vec<LoadSpec>>,
}

/// A configuration: index of the panel, index of the series, hosts.
type Place = (usize, usize, u32);

impl ThroughputExperiment {
    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        let ThroughputExperiment { workload, partitions, profile, .. } = self;
        format!("{workload}, {partitions} partitions, profile {profile}")
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedThroughput, SpecError> {
        let factors = [
            ("seeds", self.seeds.len()),
            ("series", self.series.len()),
            ("hosts", self.hosts.len()),
            ("panels", self.panels.len()),
        ];
        runs::check_count(&self.name, &factors)?;
        runs::check_ascending(&self.name, &self.hosts)?;
        let labels = runs::labels(&self.name, &self.series)?;
        let measured = self.measured(&labels)?;
        let mut jobs = Vec::new();
        for (panel, asked) in self.panels.iter().enumerate() {
            runs::check_labels(&format!("panel {}", asked.title), asked.loads.keys(), &labels)?;
            for (series, variant) in self.series.iter().enumerate() {
                let loads = self.loads(asked, &variant.label)?;
                for (hosts, load) in self.hosts.iter().zip(loads) {
                    for seed in &self.seeds {
                        let spec = self.run_spec(asked, variant, *hosts, load, *seed).check()?;
                        let (panel_title, series_label) =
                            (asked.title.clone(), variant.label.clone());
                        jobs.push(Job { panel, panel_title, series, series_label, spec });
                    }
                }
            }
        }
        Ok(CheckedThroughput { experiment: self.clone(), jobs, measured })
    }

    /// The loads of a series in a panel.
    fn loads<'a>(&self, panel: &'a PlanPanel, label: &str) -> Result<&'a [LoadSpec], SpecError> {
        let loads = panel.loads.get(label).map_or(&[][..], Vec::as_slice);
        if loads.len() == self.hosts.len() {
            return Ok(loads);
        }
        let place = format!("experiment {}: panel {}: loads of {label}", self.name, panel.title);
        let expected = format!("{}, one for each number of hosts", self.hosts.len());
        Err(SpecError::bad(place, loads.len(), expected))
    }

    fn run_spec(
        &self,
        panel: &PlanPanel,
        series: &Series,
        hosts: u32,
        load: &LoadSpec,
        seed: u64,
    ) -> RunSpec {
        RunSpec {
            engine: series.engine.clone(),
            workload: self.workload.clone(),
            load: load.clone(),
            plan: panel.plan.clone(),
            hosts,
            partitions: self.partitions,
            profile: self.profile.clone(),
            seed,
            host_events: Vec::new(),
            autoscale: None,
            faults: Vec::new(),
            settings: series.settings.clone(),
        }
    }

    /// The published rows of all configurations that have one.
    fn measured(&self, labels: &BTreeSet<&str>) -> Result<Measured, SpecError> {
        let published = published::throughput_runs()
            .expect("invariant: the embedded measurements are valid (a test)");
        runs::check_labels("published", self.published.keys(), labels)?;
        let campaigns: BTreeSet<&str> = published.iter().map(|run| run.campaign.as_str()).collect();
        if !campaigns.contains(self.campaign.as_str()) {
            return Err(SpecError::unknown("published campaign", &self.campaign, campaigns));
        }
        let campaign: Vec<&ThroughputRun> =
            published.iter().filter(|run| run.campaign == self.campaign).collect();
        let tags: BTreeSet<&str> = campaign.iter().map(|run| run.tag.as_str()).collect();
        let mut measured = BTreeMap::new();
        for (series, variant) in self.series.iter().enumerate() {
            let Some(tag) = self.published.get(&variant.label) else { continue };
            if !tags.contains(tag.as_str()) {
                let what = format!("tag in campaign {}", self.campaign);
                return Err(SpecError::unknown(what, tag, tags));
            }
            for run in campaign.iter().filter(|run| run.tag == *tag) {
                for (panel, asked) in self.panels.iter().enumerate() {
                    if asked.plan != run.plan || !self.hosts.contains(&run.hosts) {
                        continue;
                    }
                    let place: Place = (panel, series, run.hosts);
                    if measured.insert(place, (*run).clone()).is_some() {
                        let at = format!("{}, {}, {} hosts", run.campaign, run.plan, run.hosts);
                        let place = format!("the published row {tag} of {at}");
                        return Err(SpecError::Twice { place });
                    }
                }
            }
        }
        Ok(measured)
    }
}

/// Published rows by configuration.
type Measured = BTreeMap<Place, ThroughputRun>;

/// A throughput experiment whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedThroughput {
    experiment: ThroughputExperiment,
    jobs: Vec<Job>,
    measured: Measured,
}

impl CheckedThroughput {
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
        let (_, runs) = runs::carry_out(&self.jobs, threads, progress, |_| ())?;
        let simulated = self.means(&runs);
        let rows = self.rows(&simulated);
        let fitted = &self.experiment.fitted;
        let conclusion = Agreement::of(&rows).map(|agreement| format!("{agreement} {fitted}"));
        let figure = Figure::Throughput(self.figure(&simulated, conclusion.as_deref()));
        Ok(ExperimentOutcome {
            experiment: Experiment::Throughput(self.experiment.clone()),
            figures: vec![super::drawn(&self.experiment.name, figure)],
            table: ResultTable::Comparison(rows),
            conclusion,
            runs,
        })
    }

    /// The mean throughput of each configuration; absent where a run has none, so that a mean
    /// never hides a run in which nothing completed.
    fn means(&self, runs: &[RunRow]) -> BTreeMap<Place, f64> {
        let mut sums: BTreeMap<Place, Option<f64>> = BTreeMap::new();
        for (job, run) in self.jobs.iter().zip(runs) {
            let place = (job.panel, job.series, run.hosts);
            let sum = sums.entry(place).or_insert(Some(0.0));
            *sum = sum.and_then(|sum| Some(sum + run.throughput_per_s?));
        }
        let seeds = self.experiment.seeds.len() as f64;
        let mean =
            |(place, sum): (Place, Option<f64>)| Some((place, measure::round(sum? / seeds, 3)));
        sums.into_iter().filter_map(mean).collect()
    }

    fn rows(&self, simulated: &BTreeMap<Place, f64>) -> Vec<Row> {
        let mut rows = Vec::new();
        for (panel, asked) in self.experiment.panels.iter().enumerate() {
            for (series, variant) in self.experiment.series.iter().enumerate() {
                for hosts in &self.experiment.hosts {
                    let place = (panel, series, *hosts);
                    let noun = if *hosts == 1 { "host" } else { "hosts" };
                    rows.push(Row {
                        panel: asked.title.clone(),
                        series: variant.label.clone(),
                        metric: format!("{hosts} {noun}, per s"),
                        unit: Unit::PerSecond,
                        simulated: simulated.get(&place).copied(),
                        measured: self.measured.get(&place).map(|run| run.mean),
                    });
                }
            }
        }
        rows
    }

    fn figure(
        &self,
        simulated: &BTreeMap<Place, f64>,
        conclusion: Option<&str>,
    ) -> ThroughputFigure {
        let ThroughputExperiment { panels, series, hosts, .. } = &self.experiment;
        let panel = |(panel, asked): (usize, &PlanPanel)| {
            let numbered = || series.iter().enumerate();
            let curves = numbered().map(|(number, variant)| ThroughputCurve {
                label: variant.label.clone(),
                engine: variant.engine.clone(),
                stroke: variant.stroke(),
                points: hosts
                    .iter()
                    .filter_map(|hosts| Some((*hosts, *simulated.get(&(panel, number, *hosts))?)))
                    .collect(),
            });
            let marks = numbered().map(|(number, variant)| ThroughputMarks {
                label: format!("{}, measured", variant.label),
                engine: variant.engine.clone(),
                points: hosts
                    .iter()
                    .filter_map(|hosts| self.measured.get(&(panel, number, *hosts)))
                    .map(|ThroughputRun { hosts, mean, min, max, .. }| MeasuredThroughput {
                        hosts: *hosts,
                        mean: *mean,
                        min: *min,
                        max: *max,
                    })
                    .collect(),
            });
            ThroughputPanel {
                title: asked.title.clone(),
                curves: curves.filter(|curve| !curve.points.is_empty()).collect(),
                marks: marks.filter(|marks| !marks.points.is_empty()).collect(),
            }
        };
        ThroughputFigure {
            title: self.experiment.title.clone(),
            unit: "orchestrations".to_owned(),
            of: "hosts".to_owned(),
            hosts: hosts.clone(),
            panels: panels.iter().enumerate().map(panel).collect(),
            caption: self.caption(conclusion),
        }
    }

    fn caption(&self, conclusion: Option<&str>) -> String {
        let ThroughputExperiment { name, campaign, seeds, .. } = &self.experiment;
        let mut caption = format!(
            "Experiment {name}: {}, {}. Lines: simulated. Marks: mean of the measured \
             repetitions, bars from their minimum to their maximum, from \
             experiments/published/throughput-runs.csv, campaign {campaign}.",
            self.experiment.setup(),
            super::seeds_in_words(seeds)
        );
        if let Some(conclusion) = conclusion {
            caption.push(' ');
            caption.push_str(conclusion);
        }
        caption
    }
}

#[cfg(test)]
mod tests {
    use super::super::named;
    use super::*;

    fn embedded() -> ThroughputExperiment {
        match named("netherite-hello-throughput") {
            Ok(Experiment::Throughput(experiment)) => experiment,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_configuration_was_measured_under_the_same_load() {
        let experiment = embedded();
        let checked = experiment.check().expect("valid");
        assert_eq!((checked.runs(), checked.measured.len()), (24, 24));
        for job in &checked.jobs {
            let spec = job.spec.spec();
            let published = &checked.measured[&(job.panel, job.series, spec.hosts)];
            assert_eq!((&published.plan, published.hosts), (&spec.plan, spec.hosts));
            let LoadSpec::Batch { size, launcher: Some(launcher), .. } = spec.load else {
                panic!("{} is no batch of a given launcher", spec.load);
            };
            assert_eq!(published.test, format!("HelloSequence5.{size}.{launcher}"));
            assert_eq!(published.size, size as f64);
        }
    }

    #[test]
    fn a_mean_is_over_the_seeds_and_hides_no_run() {
        let mut experiment = embedded();
        experiment.seeds = vec![1, 2];
        let checked = experiment.check().expect("valid");
        let mut runs: Vec<RunRow> = checked
            .jobs
            .iter()
            .map(|job| RunRow {
                panel: job.panel_title.clone(),
                series: job.series_label.clone(),
                hosts: job.spec.spec().hosts,
                load: String::new(),
                seed: job.spec.spec().seed,
                digest: String::new(),
                completed: 1,
                throughput_per_s: Some(job.spec.spec().seed as f64 * 10.0),
                failed_checks: Vec::new(),
            })
            .collect();
        runs[2].throughput_per_s = None;
        let means = checked.means(&runs);
        assert_eq!(means.len(), 23);
        assert!(means.values().all(|mean| *mean == 15.0), "{means:?}");
        assert!(!means.contains_key(&(0, 0, 4)));
        let rows = checked.rows(&means);
        assert_eq!(rows.len(), 24);
        assert_eq!((&*rows[1].metric, rows[1].simulated), ("4 hosts, per s", None));
        assert_eq!(rows[0].metric, "1 host, per s");
        assert_eq!(rows[0].ratio(), Some(measure::round(15.0 / rows[0].measured.unwrap(), 3)));
    }
}
