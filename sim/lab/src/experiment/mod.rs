//! Experiments: many runs that together answer a question, and what they are drawn as.
//!
//! An experiment is data: a TOML file in `experiments/`, embedded, so that `sim figure NAME` works
//! from any folder. Its `kind` says what it varies and compares ([`Experiment`]). Its runs are
//! independent and go on side by side; what comes out does not depend on how many threads carry
//! them.

mod agreement;
mod latency;
mod maxima;
mod outcome;
mod predictions;
mod runs;
mod throughput;

pub use agreement::Agreement;
pub use latency::{CheckedLatency, LatencyExperiment, Panel};
pub use maxima::{CheckedMaxima, MaximaExperiment, Maximum, Scenario};
pub use outcome::{ExperimentOutcome, ResultTable, Row, Unit};
pub use predictions::{CheckedPredictions, Prediction, PredictionsExperiment, WorkloadPanel};
pub use runs::RunRow;
pub use throughput::{CheckedThroughput, PlanPanel, ThroughputExperiment};

use crate::figure::{Figure, Stroke};
use crate::progress::Progress;
use crate::run::RunError;
use crate::spec::SpecError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The file by which the results of an experiment are known.
pub const MARKER: &str = "experiment.toml";

/// The embedded experiments.
const EMBEDDED: [&str; 4] = [
    include_str!("../../../../experiments/netherite-hello-latency.toml"),
    include_str!("../../../../experiments/netherite-hello-throughput.toml"),
    include_str!("../../../../experiments/netherite-maxima.toml"),
    include_str!("../../../../experiments/predictions.toml"),
];

/// An experiment, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Experiment {
    /// Distributions of latency: workloads by engines.
    Latency(LatencyExperiment),
    /// Throughput by hosts: plans by engines.
    Throughput(ThroughputExperiment),
    /// The highest rates of one worker: scenarios by plans.
    Maxima(MaximaExperiment),
    /// Workloads by engines by plans by hosts, with nothing to compare with.
    Predictions(PredictionsExperiment),
}

/// An engine with settings: a curve of a figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Its name in figure and table.
    pub label: String,
    /// The engine.
    pub engine: String,
    /// Settings, by `engine.key`.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Whether its curve is dashed.
    #[serde(default)]
    pub dashed: bool,
    /// Whether its curve is dotted, if it is not dashed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dotted: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Series {
    /// How its curve is drawn.
    fn stroke(&self) -> Stroke {
        match (self.dashed, self.dotted) {
            (true, _) => Stroke::Dashed,
            (false, true) => Stroke::Dotted,
            (false, false) => Stroke::Solid,
        }
    }
}

/// A figure that is the only one of its experiment bears the experiment's name.
fn drawn(experiment: &str, figure: Figure) -> (String, Figure) {
    (experiment.to_owned(), figure)
}

/// An experiment whose every run was checked.
#[derive(Clone, Debug)]
pub enum CheckedExperiment {
    /// Distributions of latency.
    Latency(CheckedLatency),
    /// Throughput by hosts.
    Throughput(CheckedThroughput),
    /// Maxima of one worker.
    Maxima(CheckedMaxima),
    /// Predictions.
    Predictions(CheckedPredictions),
}

/// All embedded experiments.
pub fn all() -> Vec<Experiment> {
    let all: Result<Vec<_>, _> = EMBEDDED.into_iter().map(Experiment::from_toml).collect();
    all.expect("invariant: embedded experiments are valid (a test)")
}

/// The embedded experiment of this name.
///
/// # Errors
/// If there is none; the error names the nearest.
pub fn named(name: &str) -> Result<Experiment, SpecError> {
    let all = all();
    let unknown = SpecError::unknown("figure", name, all.iter().map(Experiment::name));
    all.into_iter().find(|known| known.name() == name).ok_or(unknown)
}

impl Experiment {
    /// Reads an experiment.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn from_toml(text: &str) -> Result<Experiment, SpecError> {
        toml::from_str(text).map_err(|error: toml::de::Error| SpecError::File {
            path: PathBuf::from(MARKER),
            problem: error.to_string().trim_end().to_owned(),
        })
    }

    /// The experiment as a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("invariant: an experiment has a TOML form")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Experiment::Latency(LatencyExperiment { name, .. })
            | Experiment::Throughput(ThroughputExperiment { name, .. })
            | Experiment::Maxima(MaximaExperiment { name, .. })
            | Experiment::Predictions(PredictionsExperiment { name, .. }) => name,
        }
    }

    /// What stands over the figure.
    pub fn title(&self) -> &str {
        match self {
            Experiment::Latency(LatencyExperiment { title, .. })
            | Experiment::Throughput(ThroughputExperiment { title, .. })
            | Experiment::Maxima(MaximaExperiment { title, .. })
            | Experiment::Predictions(PredictionsExperiment { title, .. }) => title,
        }
    }

    /// One line that says what it does.
    pub fn summary(&self) -> &str {
        match self {
            Experiment::Latency(LatencyExperiment { summary, .. })
            | Experiment::Throughput(ThroughputExperiment { summary, .. })
            | Experiment::Maxima(MaximaExperiment { summary, .. })
            | Experiment::Predictions(PredictionsExperiment { summary, .. }) => summary,
        }
    }

    /// What all its runs have in common, in a few words.
    pub fn setup(&self) -> String {
        match self {
            Experiment::Latency(experiment) => experiment.setup(),
            Experiment::Throughput(experiment) => experiment.setup(),
            Experiment::Maxima(experiment) => experiment.setup(),
            Experiment::Predictions(experiment) => experiment.setup(),
        }
    }

    /// A run of every configuration for each of these seeds.
    pub fn seeds(&self) -> &[u64] {
        match self {
            Experiment::Latency(LatencyExperiment { seeds, .. })
            | Experiment::Throughput(ThroughputExperiment { seeds, .. })
            | Experiment::Maxima(MaximaExperiment { seeds, .. })
            | Experiment::Predictions(PredictionsExperiment { seeds, .. }) => seeds,
        }
    }

    /// Runs every configuration for other seeds.
    pub fn set_seeds(&mut self, other: Vec<u64>) {
        match self {
            Experiment::Latency(LatencyExperiment { seeds, .. })
            | Experiment::Throughput(ThroughputExperiment { seeds, .. })
            | Experiment::Maxima(MaximaExperiment { seeds, .. })
            | Experiment::Predictions(PredictionsExperiment { seeds, .. }) => *seeds = other,
        }
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedExperiment, SpecError> {
        Ok(match self {
            Experiment::Latency(experiment) => CheckedExperiment::Latency(experiment.check()?),
            Experiment::Throughput(experiment) => {
                CheckedExperiment::Throughput(experiment.check()?)
            }
            Experiment::Maxima(experiment) => CheckedExperiment::Maxima(experiment.check()?),
            Experiment::Predictions(experiment) => {
                CheckedExperiment::Predictions(experiment.check()?)
            }
        })
    }
}

impl CheckedExperiment {
    /// How many runs there are.
    pub fn runs(&self) -> usize {
        match self {
            CheckedExperiment::Latency(checked) => checked.runs(),
            CheckedExperiment::Throughput(checked) => checked.runs(),
            CheckedExperiment::Maxima(checked) => checked.runs(),
            CheckedExperiment::Predictions(checked) => checked.runs(),
        }
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
        match self {
            CheckedExperiment::Latency(checked) => checked.run(threads, progress),
            CheckedExperiment::Throughput(checked) => checked.run(threads, progress),
            CheckedExperiment::Maxima(checked) => checked.run(threads, progress),
            CheckedExperiment::Predictions(checked) => checked.run(threads, progress),
        }
    }
}

/// The end of every caption's first sentence: which seeds.
fn seeds_in_words(seeds: &[u64]) -> String {
    let numbers: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let noun = if seeds.len() == 1 { "seed" } else { "seeds" };
    format!("{noun} {}", numbers.join(", "))
}

pub(crate) fn csv_of<const N: usize>(
    heading: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let memory = "invariant: writing to memory succeeds";
    writer.write_record(heading).expect(memory);
    rows.for_each(|row| writer.write_record(row).expect(memory));
    writer.into_inner().expect(memory)
}
