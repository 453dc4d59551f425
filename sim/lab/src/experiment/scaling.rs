//! Scaling: throughput, and core time of the database, by the database's size.
//!
//! One workload under one load on one number of hosts is run for each number of cores that a setting
//! gives the database, under every seed. Throughput and the part of the database's core time that was
//! used, from the first start to the last end, are means over the seeds. Compared row by row with
//! the table `sql-scaling` of `experiments/published/tables.csv`.

use super::runs::{self, Job};
use super::{Experiment, ExperimentOutcome, ResultTable, Row, Series, Unit};
use crate::figure::{
    Figure, MeasuredThroughput, ThroughputCurve, ThroughputFigure, ThroughputMarks, ThroughputPanel,
};
use crate::load::LoadSpec;
use crate::measure;
use crate::progress::Progress;
use crate::published::{self, DatabaseScaling};
use crate::run::{RunError, RunOutcome};
use crate::spec::{RunSpec, SpecError, WorkloadSpec};
use serde::{Deserialize, Serialize};

/// An experiment on scaling, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalingExperiment {
    /// Its name.
    pub name: String,
    /// Stands over the figure.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// The workload.
    pub workload: WorkloadSpec,
    /// The load.
    pub load: LoadSpec,
    /// The plan of the hosts.
    pub plan: String,
    /// Hosts.
    pub hosts: u32,
    /// Partitions.
    pub partitions: u32,
    /// The profile.
    pub profile: String,
    /// A run with every number of cores for each.
    pub seeds: Vec<u64>,
    /// The setting, by `engine.key`, that gives the database its cores.
    pub setting: String,
    /// The numbers of cores.
    pub cores: Vec<u32>,
    /// The class of the database's machine.
    pub machines: String,
    /// How far from the published number a number may be to agree with it, as a fraction of it.
    pub tolerance: f64,
    /// What a reader of the comparison has to know: which of it the profile was fitted to.
    pub fitted: String,
    /// The engine and its settings.
    pub engine: Series,
}

impl ScalingExperiment {
    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        format!(
            "{}, {}, {} hosts of plan {}, profile {}",
            self.workload.shown(),
            self.load,
            self.hosts,
            self.plan,
            self.profile
        )
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedScaling, SpecError> {
        let factors = [("seeds", self.seeds.len()), ("cores", self.cores.len())];
        runs::check_count(&self.name, &factors)?;
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            let place = format!("experiment {}: tolerance", self.name);
            return Err(SpecError::bad(place, self.tolerance, "a fraction between 0 and 1"));
        }
        let mut jobs = Vec::new();
        for (series, cores) in self.cores.iter().enumerate() {
            for seed in &self.seeds {
                let spec = self.run_spec(*cores, *seed).check()?;
                let (panel_title, series_label) = (self.engine.label.clone(), vcores(*cores));
                jobs.push(Job { panel: 0, panel_title, series, series_label, spec });
            }
        }
        let published = published::database_scaling()
            .expect("invariant: the embedded measurements are valid (a test)");
        Ok(CheckedScaling { experiment: self.clone(), jobs, published })
    }

    fn run_spec(&self, cores: u32, seed: u64) -> RunSpec {
        let mut settings = self.engine.settings.clone();
        settings.insert(self.setting.clone(), cores.to_string());
        RunSpec {
            engine: self.engine.engine.clone(),
            workload: self.workload.clone(),
            load: self.load.clone(),
            plan: self.plan.clone(),
            hosts: self.hosts,
            partitions: self.partitions,
            profile: self.profile.clone(),
            seed,
            host_events: Vec::new(),
            autoscale: None,
            faults: Vec::new(),
            settings,
        }
    }
}

fn vcores(cores: u32) -> String {
    format!("{cores} vCores")
}

/// What one run came to: units a second, and the part of the database's core time that was used.
#[derive(Clone, Copy, Debug)]
struct Measured {
    per_s: Option<f64>,
    cpu: Option<f64>,
}

fn measured(class: &str, outcome: &RunOutcome) -> Measured {
    let per_s = outcome.summary.throughput_per_s;
    let machine = outcome.machines.iter().find(|machine| machine.class == class);
    // From the first start to the last end: what was completed, by how many a second.
    let completed = outcome.summary.orchestrations.completed as f64;
    let span = per_s.filter(|rate| *rate > 0.0).map(|rate| completed / rate);
    let cpu = machine
        .zip(span)
        .map(|(machine, span)| machine.cpu_used.as_secs_f64() / (f64::from(machine.cores) * span));
    Measured { per_s, cpu }
}

/// A scaling experiment whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedScaling {
    experiment: ScalingExperiment,
    jobs: Vec<Job>,
    published: Vec<DatabaseScaling>,
}

impl CheckedScaling {
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
        let class = self.experiment.machines.clone();
        let (all, runs) =
            runs::carry_out(&self.jobs, threads, progress, |outcome| measured(&class, outcome))?;
        let rows = self.rows(&all);
        let conclusion = self.conclusion(&rows);
        let figure = self.figure(&rows, &conclusion);
        let figures = match figure {
            Some(figure) => vec![super::drawn(&self.experiment.name, Figure::Throughput(figure))],
            None => Vec::new(),
        };
        Ok(ExperimentOutcome {
            experiment: Experiment::Scaling(self.experiment.clone()),
            figures,
            table: ResultTable::Comparison(rows),
            conclusion: Some(conclusion),
            runs,
        })
    }

    /// For each number of cores a row of throughput, and then one of core time.
    fn rows(&self, all: &[Measured]) -> Vec<Row> {
        let ScalingExperiment { cores, seeds, engine, .. } = &self.experiment;
        let mean = |values: &[Measured], of: fn(&Measured) -> Option<f64>| {
            let sum: Option<f64> = values.iter().map(of).sum();
            sum.map(|sum| measure::round(sum / values.len() as f64, 3))
        };
        let (mut rows, mut of_cores) = (Vec::new(), Vec::new());
        for (cores, values) in cores.iter().zip(all.chunks(seeds.len())) {
            let published = self.published.iter().find(|row| row.cores == *cores);
            let row = |panel: &str, unit, simulated, measured| Row {
                panel: panel.to_owned(),
                series: engine.label.clone(),
                metric: vcores(*cores),
                unit,
                simulated,
                measured,
            };
            let per_s = mean(values, |run| run.per_s);
            rows.push(row(THROUGHPUT, Unit::PerSecond, per_s, published.map(|row| row.per_s)));
            let cpu = mean(values, |run| run.cpu);
            of_cores.push(row(CORE_TIME, Unit::Fraction, cpu, published.map(|row| row.cpu)));
        }
        rows.extend(of_cores);
        rows
    }

    fn conclusion(&self, rows: &[Row]) -> String {
        let ScalingExperiment { tolerance, fitted, .. } = &self.experiment;
        let of = |panel: &str| {
            let ratios = rows.iter().filter(|row| row.panel == panel).filter_map(Row::ratio);
            let agreeing = ratios.clone().filter(|ratio| (ratio - 1.0).abs() <= *tolerance);
            let shown: Vec<String> = ratios.clone().map(|ratio| format!("{ratio:.2}")).collect();
            let (count, all) = (agreeing.count(), ratios.count());
            format!("{panel}: {} of the published numbers, {count} of {all}", shown.join(", "))
        };
        format!("{}; {} within {:.0} %. {fitted}", of(THROUGHPUT), of(CORE_TIME), tolerance * 100.0)
    }

    /// Throughput by cores; none if nothing completed.
    fn figure(&self, rows: &[Row], conclusion: &str) -> Option<ThroughputFigure> {
        let ScalingExperiment { name, title, engine, cores, seeds, .. } = &self.experiment;
        let of_cores = || {
            let throughput = rows.iter().filter(|row| row.panel == THROUGHPUT);
            cores.iter().copied().zip(throughput)
        };
        let curve = ThroughputCurve {
            label: engine.label.clone(),
            engine: engine.engine.clone(),
            stroke: engine.stroke(),
            points: of_cores().filter_map(|(cores, row)| Some((cores, row.simulated?))).collect(),
        };
        let mark = |(hosts, row): (u32, &Row)| {
            let mean = row.measured?;
            Some(MeasuredThroughput { hosts, mean, min: mean, max: mean })
        };
        let marks = ThroughputMarks {
            label: format!("{}, measured", engine.label),
            engine: engine.engine.clone(),
            points: of_cores().filter_map(mark).collect(),
        };
        let caption = format!(
            "Experiment {name}: {}, {}. Line: simulated. Marks: published, from \
             experiments/published/tables.csv, table sql-scaling. {conclusion}",
            self.experiment.setup(),
            super::seeds_in_words(seeds)
        );
        (!curve.points.is_empty()).then(|| ThroughputFigure {
            title: title.clone(),
            unit: "orchestrations".to_owned(),
            of: "vCores of the database".to_owned(),
            hosts: cores.clone(),
            panels: vec![ThroughputPanel {
                title: self.experiment.workload.shown().to_string(),
                curves: vec![curve],
                marks: if marks.points.is_empty() { Vec::new() } else { vec![marks] },
            }],
            caption,
        })
    }
}

/// Name of the panel of throughput.
const THROUGHPUT: &str = "orchestrations a second";
/// Name of the panel of core time.
const CORE_TIME: &str = "core time of the database";

#[cfg(test)]
mod tests {
    use super::super::named;
    use super::*;

    fn embedded() -> ScalingExperiment {
        match named("sql-server-scaling") {
            Ok(Experiment::Scaling(experiment)) => experiment,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_size_was_published() {
        let checked = embedded().check().expect("valid");
        let published: Vec<u32> = checked.published.iter().map(|row| row.cores).collect();
        assert_eq!(published, embedded().cores);
        assert_eq!(checked.published[3].per_s, 60.0);
        assert_eq!(checked.published[0].cpu, 0.99);
    }

    #[test]
    fn rows_are_means_over_the_seeds_and_agree_within_the_tolerance() {
        let mut experiment = embedded();
        experiment.seeds = vec![1, 2];
        let checked = experiment.check().expect("valid");
        let run = |per_s, cpu| Measured { per_s: Some(per_s), cpu: Some(cpu) };
        let mut all: Vec<Measured> = Vec::new();
        for (per_s, cpu) in [(21.0, 0.9), (33.0, 0.9), (45.0, 0.1), (90.0, 0.4)] {
            all.extend([run(per_s - 1.0, cpu), run(per_s + 1.0, cpu)]);
        }
        let rows = checked.rows(&all);
        assert_eq!((rows.len(), rows[0].simulated, rows[0].measured), (8, Some(21.0), Some(21.0)));
        let conclusion = checked.conclusion(&rows);
        assert!(conclusion.contains("1.00, 1.00, 1.00, 1.50 of the published"), "{conclusion}");
        assert!(conclusion.contains("3 of 4; "), "{conclusion}");
        all[0].per_s = None;
        assert_eq!(checked.rows(&all)[0].simulated, None, "a mean hides no run");
    }
}
