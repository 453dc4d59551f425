//! Predictions: what the simulator says of runs of which no measurement was released.
//!
//! Every workload is run with each of its series (an engine with settings) on every plan and number
//! of hosts under every seed. Nothing is fitted and nothing compared: a row of the table says how
//! a configuration did. Latencies of all seeds make one distribution; throughput, operations and
//! virtual time are means over the seeds, absent where a run has none. Where the load is one job or
//! one orchestration, all percentiles are its duration. Each workload has a figure of throughput
//! over the number of hosts, with a panel for each plan.

use super::runs::{self, Job};
use super::{Experiment, ExperimentOutcome, ResultTable, Series, csv_of};
use crate::figure::{Figure, ThroughputCurve, ThroughputFigure, ThroughputPanel};
use crate::load::LoadSpec;
use crate::measure::{self, Latencies};
use crate::progress::Progress;
use crate::run::{RunError, RunOutcome};
use crate::spec::{RunSpec, SpecError, WorkloadSpec};
use crate::summary::{OrchestrationCounts, Work};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Predictions, as their file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionsExperiment {
    /// Its name.
    pub name: String,
    /// Stands over table and figures.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// What a reader has to know: where sizes or configurations are not those of published runs.
    pub note: String,
    /// The plans of the hosts.
    pub plans: Vec<String>,
    /// Numbers of hosts, ascending.
    pub hosts: Vec<u32>,
    /// Partitions.
    pub partitions: u32,
    /// The profile.
    pub profile: String,
    /// A run of every configuration for each.
    pub seeds: Vec<u64>,
    /// Engines and their settings.
    pub series: Vec<Series>,
    /// Workloads.
    pub panels: Vec<WorkloadPanel>,
}

/// A workload and the series it is run with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadPanel {
    /// Its name in table and figures.
    pub title: String,
    /// The workload.
    pub workload: WorkloadSpec,
    /// The load.
    pub load: LoadSpec,
    /// The series, by label.
    pub series: Vec<String>,
    /// Numbers of hosts, if not those of the experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<u32>>,
}

/// One configuration and what it is predicted to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The workload, by its title.
    pub panel: String,
    /// The workload with its parameters.
    pub workload: String,
    /// The load.
    pub load: String,
    /// The plan.
    pub plan: String,
    /// Hosts.
    pub hosts: u32,
    /// The series.
    pub series: String,
    /// How many orchestrations or jobs came how far, over all seeds.
    pub counts: OrchestrationCounts,
    /// Whether everything that was started completed, and no check failed.
    pub complete: bool,
    /// Latency percentiles in milliseconds: 50, 95, 99.
    pub latency_ms: [Option<f64>; 3],
    /// What throughput counts.
    pub unit: String,
    /// Units a second.
    pub per_s: Option<f64>,
    /// Operations on storage and event services for each completed orchestration or job.
    pub operations_per_orchestration: Option<f64>,
    /// Cost of a run in US dollars.
    pub cost_usd: f64,
}

/// A configuration: index of the workload, of the series, of the plan, and hosts.
type Place = (usize, usize, usize, u32);

impl PredictionsExperiment {
    /// One seed, on the first plan, on the least number of hosts and the one after it.
    pub(super) fn make_quick(&mut self) {
        self.seeds.truncate(1);
        self.plans.truncate(1);
        self.hosts.truncate(2);
        for hosts in self.panels.iter_mut().filter_map(|panel| panel.hosts.as_mut()) {
            hosts.truncate(2);
        }
    }

    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        format!("{} partitions, profile {}", self.partitions, self.profile)
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedPredictions, SpecError> {
        let factors = [
            ("seeds", self.seeds.len()),
            ("series", self.series.len()),
            ("hosts", self.hosts.len()),
            ("plans", self.plans.len()),
            ("panels", self.panels.len()),
        ];
        runs::check_count(&self.name, &factors)?;
        let labels = runs::labels(&self.name, &self.series)?;
        let titles: BTreeSet<&str> = self.panels.iter().map(|panel| &*panel.title).collect();
        if titles.len() < self.panels.len() {
            let place = format!("experiment {}: the title of a panel", self.name);
            return Err(SpecError::Twice { place });
        }
        let (mut jobs, mut places) = (Vec::new(), Vec::new());
        for (panel, asked) in self.panels.iter().enumerate() {
            runs::check_labels(&format!("panel {}", asked.title), &asked.series, &labels)?;
            runs::check_ascending(&self.name, self.hosts_of(asked))?;
            for (series, variant) in self.series_of(asked) {
                for (plan, plan_name) in self.plans.iter().enumerate() {
                    for hosts in self.hosts_of(asked) {
                        for seed in &self.seeds {
                            let spec = self.run_spec(asked, variant, plan_name, *hosts, *seed);
                            places.push((panel, series, plan, *hosts));
                            jobs.push(Job {
                                panel,
                                panel_title: format!("{}, {plan_name}", asked.title),
                                series,
                                series_label: variant.label.clone(),
                                spec: spec.check()?,
                            });
                        }
                    }
                }
            }
        }
        Ok(CheckedPredictions { experiment: self.clone(), jobs, places })
    }

    fn hosts_of<'a>(&'a self, panel: &'a WorkloadPanel) -> &'a [u32] {
        panel.hosts.as_deref().unwrap_or(&self.hosts)
    }

    /// The series of a panel, with their indices, in the order of the experiment.
    fn series_of(&self, panel: &WorkloadPanel) -> impl Iterator<Item = (usize, &Series)> {
        let asked = |(_, series): &(usize, &Series)| panel.series.contains(&series.label);
        self.series.iter().enumerate().filter(asked)
    }

    fn run_spec(
        &self,
        panel: &WorkloadPanel,
        series: &Series,
        plan: &str,
        hosts: u32,
        seed: u64,
    ) -> RunSpec {
        RunSpec {
            engine: series.engine.clone(),
            workload: panel.workload.clone(),
            load: panel.load.clone(),
            plan: plan.to_owned(),
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
}

/// Predictions whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedPredictions {
    experiment: PredictionsExperiment,
    jobs: Vec<Job>,
    /// Where the result of each job belongs.
    places: Vec<Place>,
}

/// What is kept of a run.
struct Measured {
    counts: OrchestrationCounts,
    passed: bool,
    latencies: Latencies,
    work: Work,
    operations_per_orchestration: Option<f64>,
    cost_usd: f64,
}

impl Measured {
    fn of(outcome: &RunOutcome) -> Measured {
        let summary = &outcome.summary;
        Measured {
            counts: summary.orchestrations,
            passed: summary.passed(),
            latencies: measure::engine_latencies(&outcome.records),
            work: summary.work.clone(),
            operations_per_orchestration: summary.operations_per_orchestration,
            cost_usd: summary.cost_usd,
        }
    }
}

impl CheckedPredictions {
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
        let (measured, runs) = runs::carry_out(&self.jobs, threads, progress, Measured::of)?;
        // Runs of one configuration stand side by side, a run for each seed.
        let seeds = self.experiment.seeds.len();
        let configurations = self.places.chunks(seeds).zip(measured.chunks(seeds));
        let predictions: Vec<(Place, Prediction)> = configurations
            .zip(self.jobs.chunks(seeds))
            .map(|((places, measured), jobs)| (places[0], self.prediction(&jobs[0], measured)))
            .collect();
        let figures = self.figures(&predictions);
        let predictions: Vec<Prediction> =
            predictions.into_iter().map(|(_, prediction)| prediction).collect();
        let complete = predictions.iter().filter(|prediction| prediction.complete).count();
        let conclusion =
            format!("{complete} of {} configurations complete. {}", predictions.len(), self.note());
        Ok(ExperimentOutcome {
            experiment: Experiment::Predictions(self.experiment.clone()),
            figures,
            table: ResultTable::Predictions(predictions),
            conclusion: Some(conclusion),
            runs,
        })
    }

    fn note(&self) -> &str {
        &self.experiment.note
    }

    /// One configuration from the runs of all seeds.
    fn prediction(&self, job: &Job, measured: &[Measured]) -> Prediction {
        let asked = job.spec.spec();
        let mut latencies = Latencies::default();
        measured.iter().for_each(|run| latencies.merge(&run.latencies));
        let sum = |count: fn(&OrchestrationCounts) -> u64| {
            measured.iter().map(|run| count(&run.counts)).sum::<u64>()
        };
        let counts = OrchestrationCounts {
            started: sum(|counts| counts.started),
            completed: sum(|counts| counts.completed),
            failed: sum(|counts| counts.failed),
            terminated: sum(|counts| counts.terminated),
        };
        let mean = |value: fn(&Measured) -> Option<f64>| {
            let sum: Option<f64> = measured.iter().map(value).sum();
            Some(measure::round(sum? / measured.len() as f64, 3))
        };
        let cost: f64 = measured.iter().map(|run| run.cost_usd).sum();
        Prediction {
            panel: self.experiment.panels[job.panel].title.clone(),
            workload: asked.workload.shown().to_string(),
            load: asked.load.to_string(),
            plan: asked.plan.clone(),
            hosts: asked.hosts,
            series: job.series_label.clone(),
            counts,
            complete: counts.completed == counts.started && measured.iter().all(|run| run.passed),
            latency_ms: [0.5, 0.95, 0.99].map(|quantile| latencies.quantile_ms(quantile)),
            unit: measured[0].work.unit.clone(),
            per_s: mean(|run| run.work.per_s),
            operations_per_orchestration: mean(|run| run.operations_per_orchestration),
            cost_usd: measure::round(cost / measured.len() as f64, 6),
        }
    }

    /// A figure for each workload, by the name of its file.
    fn figures(&self, predictions: &[(Place, Prediction)]) -> Vec<(String, Figure)> {
        let of_panel = |(number, panel): (usize, &WorkloadPanel)| {
            let figure = self.figure(number, panel, predictions)?;
            let name =
                panel.title.to_lowercase().replace(|letter: char| !letter.is_alphanumeric(), "-");
            Some((name, Figure::Throughput(figure)))
        };
        self.experiment.panels.iter().enumerate().filter_map(of_panel).collect()
    }

    /// The figure of a workload; `None` if nothing completed.
    fn figure(
        &self,
        number: usize,
        panel: &WorkloadPanel,
        predictions: &[(Place, Prediction)],
    ) -> Option<ThroughputFigure> {
        let PredictionsExperiment { name, plans, seeds, .. } = &self.experiment;
        let of_workload = || predictions.iter().filter(|((of, ..), _)| *of == number);
        let plot = |(plan_number, plan): (usize, &String)| {
            let curve = |(series, variant): (usize, &Series)| {
                let place = |((_, of, on, _), _): &&(Place, Prediction)| {
                    (*of, *on) == (series, plan_number)
                };
                let points: Vec<(u32, f64)> = of_workload()
                    .filter(place)
                    .filter_map(|((.., hosts), prediction)| Some((*hosts, prediction.per_s?)))
                    .collect();
                (!points.is_empty()).then(|| ThroughputCurve {
                    label: variant.label.clone(),
                    engine: variant.engine.clone(),
                    stroke: variant.stroke(),
                    points,
                })
            };
            let curves: Vec<_> = self.experiment.series_of(panel).filter_map(curve).collect();
            let title = plan.clone();
            (!curves.is_empty()).then_some(ThroughputPanel { title, curves, marks: Vec::new() })
        };
        let panels: Vec<ThroughputPanel> = plans.iter().enumerate().filter_map(plot).collect();
        let unit = of_workload().next().map(|(_, prediction)| prediction.unit.clone())?;
        (!panels.is_empty()).then(|| ThroughputFigure {
            title: format!("{}: predicted throughput", panel.title),
            unit,
            of: "hosts".to_owned(),
            hosts: self.experiment.hosts_of(panel).to_vec(),
            panels,
            caption: format!(
                "Experiment {name}: {}, load {}, {}, {}. Predictions: nothing of it was measured \
                 or fitted. {}",
                panel.workload,
                panel.load,
                self.experiment.setup(),
                super::seeds_in_words(seeds),
                self.note()
            ),
        })
    }
}

/// Predictions as CSV.
pub(super) fn csv(predictions: &[Prediction]) -> Vec<u8> {
    let heading = [
        "panel",
        "workload",
        "load",
        "plan",
        "hosts",
        "series",
        "started",
        "completed",
        "failed",
        "state",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "unit",
        "per_s",
        "operations_per_orchestration",
        "cost_usd",
    ];
    let text = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    csv_of(
        heading,
        predictions.iter().map(|row| {
            let [p50, p95, p99] = row.latency_ms.map(text);
            [
                row.panel.clone(),
                row.workload.clone(),
                row.load.clone(),
                row.plan.clone(),
                row.hosts.to_string(),
                row.series.clone(),
                row.counts.started.to_string(),
                row.counts.completed.to_string(),
                row.counts.failed.to_string(),
                if row.complete { "complete" } else { "incomplete" }.to_owned(),
                p50,
                p95,
                p99,
                row.unit.clone(),
                text(row.per_s),
                text(row.operations_per_orchestration),
                row.cost_usd.to_string(),
            ]
        }),
    )
}
