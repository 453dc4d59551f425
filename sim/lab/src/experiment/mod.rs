//! Experiments: many runs that together answer a question, and what they are drawn as.
//!
//! An experiment is data: a TOML file in `experiments/`, embedded, so that `sim figure NAME` works
//! from any folder. Its `kind` says what it varies and compares ([`Experiment`]). Its runs are
//! independent and go on side by side; what comes out does not depend on how many threads carry
//! them.

mod ablations;
mod agreement;
mod bars;
mod crash_matrix;
mod guarantees;
mod latency;
mod matrix;
mod maxima;
mod outcome;
mod predictions;
mod runs;
mod scaling;
mod throughput;
mod timeline;
mod validation;

pub use ablations::{Ablation, AblationsExperiment, CheckedAblations, FaultGroup};
pub use agreement::Agreement;
pub use bars::{BarsExperiment, BarsPanelSpec, CheckedBars, Measure, PublishedSum};
pub use crash_matrix::{
    Broker, CheckedCrashMatrix, CrashMatrixExperiment, CrashPoint, CrashRow, CrashScenario,
};
pub use guarantees::{CheckColumn, CheckedGuarantees, GuaranteesExperiment, Variant};
pub use latency::{CheckedLatency, LatencyExperiment, Panel};
pub use matrix::Matrix;
pub use maxima::{CheckedMaxima, MaximaExperiment, Maximum, Scenario};
pub use outcome::{ExperimentOutcome, ResultTable, Row, Unit};
pub use predictions::{CheckedPredictions, Prediction, PredictionsExperiment, WorkloadPanel};
pub use runs::RunRow;
pub(crate) use runs::pool;
pub use scaling::{CheckedScaling, ScalingExperiment};
pub use throughput::{CheckedThroughput, PlanPanel, ThroughputExperiment};
pub use timeline::{CheckedTimeline, TimelineExperiment, TimelineMeasure, TimelineScenario};
pub use validation::{CheckedValidation, ValidationExperiment};

use crate::figure::{Figure, Stroke};
use crate::progress::Progress;
use crate::run::RunError;
use crate::spec::SpecError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Seeds of a campaign in a quick study.
const QUICK_CAMPAIGN: usize = 40;

/// The file by which the results of an experiment are known.
pub const MARKER: &str = "experiment.toml";

/// The embedded experiments.
const EMBEDDED: [&str; 22] = [
    include_str!("../../../../experiments/ablations.toml"),
    include_str!("../../../../experiments/breakdown.toml"),
    include_str!("../../../../experiments/costs.toml"),
    include_str!("../../../../experiments/elasticity.toml"),
    include_str!("../../../../experiments/guarantees.toml"),
    include_str!("../../../../experiments/internet-computer-latency.toml"),
    include_str!("../../../../experiments/internet-computer-predictions.toml"),
    include_str!("../../../../experiments/netherite-hello-latency.toml"),
    include_str!("../../../../experiments/netherite-hello-throughput.toml"),
    include_str!("../../../../experiments/netherite-maxima.toml"),
    include_str!("../../../../experiments/netherite-storage-traffic.toml"),
    include_str!("../../../../experiments/predictions.toml"),
    include_str!("../../../../experiments/recovery.toml"),
    include_str!("../../../../experiments/recovery-operations.toml"),
    include_str!("../../../../experiments/speculation.toml"),
    include_str!("../../../../experiments/speculation-rollback.toml"),
    include_str!("../../../../experiments/sql-server-scaling.toml"),
    include_str!("../../../../experiments/triggerflow-crashes.toml"),
    include_str!("../../../../experiments/triggerflow-fault-tolerance.toml"),
    include_str!("../../../../experiments/triggerflow-ingestion.toml"),
    include_str!("../../../../experiments/triggerflow-scaling.toml"),
    include_str!("../../../../experiments/validation.toml"),
];

/// Lists the kinds: each a variant of both enums below, a checked form that becomes one of them, and an
/// arm of [`of_any_kind`].
macro_rules! kinds {
    ($($kind:ident of $checked:ident),+ $(,)?) => {
        /// Does the same with an experiment, or with a checked one, of whichever kind.
        macro_rules! of_any_kind {
            ($which:ident, $value:expr, $inner:ident => $body:expr) => {
                match $value {
                    $($which::$kind($inner) => $body,)+
                }
            };
        }
        $(impl From<$checked> for CheckedExperiment {
            fn from(checked: $checked) -> CheckedExperiment {
                CheckedExperiment::$kind(checked)
            }
        })+
    };
}

kinds! {
    Latency of CheckedLatency,
    Throughput of CheckedThroughput,
    Maxima of CheckedMaxima,
    Predictions of CheckedPredictions,
    Timeline of CheckedTimeline,
    Scaling of CheckedScaling,
    Ablations of CheckedAblations,
    Guarantees of CheckedGuarantees,
    CrashMatrix of CheckedCrashMatrix,
    Bars of CheckedBars,
    Validation of CheckedValidation,
}

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
    /// Rates over time while hosts come and go.
    Timeline(TimelineExperiment),
    /// Throughput and core time by the size of a database.
    Scaling(ScalingExperiment),
    /// Safety mechanisms switched off, by kinds of faults.
    Ablations(AblationsExperiment),
    /// Guarantees, declared and observed.
    Guarantees(GuaranteesExperiment),
    /// What a crash breaks, by where in the engine's protocol it came.
    CrashMatrix(CrashMatrixExperiment),
    /// What a unit of a workload costs, and what that is made of.
    Bars(BarsExperiment),
    /// Everything that was measured, on one plot.
    Validation(ValidationExperiment),
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
    /// Rates over time.
    Timeline(CheckedTimeline),
    /// Scaling.
    Scaling(CheckedScaling),
    /// Safety mechanisms switched off.
    Ablations(CheckedAblations),
    /// Guarantees, declared and observed.
    Guarantees(CheckedGuarantees),
    /// Crashes.
    CrashMatrix(CheckedCrashMatrix),
    /// Sums and what they are made of.
    Bars(CheckedBars),
    /// Comparisons of other experiments.
    Validation(CheckedValidation),
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

/// The embedded experiment of this name, or the one in the file if it is a path: one that ends in `.toml`.
///
/// # Errors
/// If there is none, or the file is not an experiment.
pub fn load(name_or_path: &str) -> Result<Experiment, SpecError> {
    if !name_or_path.ends_with(".toml") {
        return named(name_or_path);
    }
    let path = PathBuf::from(name_or_path);
    let failed = |problem| SpecError::File { path: path.clone(), problem };
    let text = crate::text_file::read(&path).map_err(failed)?;
    let read = toml::from_str::<Experiment>(&text);
    let experiment = read.map_err(|error| failed(error.to_string().trim_end().to_owned()))?;
    // Its name becomes that of files.
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    match experiment.name() {
        name if !name.is_empty() && name.chars().all(plain) => Ok(experiment),
        name => Err(SpecError::bad(
            format!("{}: name", path.display()),
            name,
            "letters, digits, - and _",
        )),
    }
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
        of_any_kind!(Experiment, self, experiment => &experiment.name)
    }

    /// What stands over the figure.
    pub fn title(&self) -> &str {
        of_any_kind!(Experiment, self, experiment => &experiment.title)
    }

    /// One line that says what it does.
    pub fn summary(&self) -> &str {
        of_any_kind!(Experiment, self, experiment => &experiment.summary)
    }

    /// What all its runs have in common, in a few words.
    pub fn setup(&self) -> String {
        of_any_kind!(Experiment, self, experiment => experiment.setup())
    }

    /// Its curves, if its table compares their numbers with measured ones.
    pub fn series(&self) -> Option<&[Series]> {
        match self {
            Experiment::Latency(experiment) => Some(&experiment.series),
            Experiment::Throughput(experiment) => Some(&experiment.series),
            Experiment::Timeline(experiment) => Some(&experiment.series),
            Experiment::Bars(experiment) => Some(&experiment.series),
            Experiment::Maxima(experiment) => Some(std::slice::from_ref(&experiment.engine)),
            Experiment::Scaling(experiment) => Some(std::slice::from_ref(&experiment.engine)),
            Experiment::Predictions(_)
            | Experiment::Ablations(_)
            | Experiment::Guarantees(_)
            | Experiment::CrashMatrix(_)
            | Experiment::Validation(_) => None,
        }
    }

    /// A run of every configuration for each of these seeds.
    pub fn seeds(&self) -> &[u64] {
        of_any_kind!(Experiment, self, experiment => &experiment.seeds)
    }

    /// Runs every configuration for other seeds.
    pub fn set_seeds(&mut self, other: Vec<u64>) {
        of_any_kind!(Experiment, self, experiment => experiment.seeds = other);
    }

    /// Makes it small, for a first look: one seed, few numbers of hosts, short campaigns. What it draws has
    /// the same form, with fewer runs behind it.
    pub fn make_quick(&mut self) {
        match self {
            Experiment::Ablations(study) => study.make_quick(),
            Experiment::Guarantees(study) => study.seeds.truncate(QUICK_CAMPAIGN),
            Experiment::CrashMatrix(study) => study.seeds.truncate(1),
            Experiment::Predictions(predictions) => predictions.make_quick(),
            Experiment::Validation(validation) => validation.seeds = vec![1],
            other => {
                let first = other.seeds().iter().copied().take(1).collect();
                other.set_seeds(first);
            }
        }
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedExperiment, SpecError> {
        of_any_kind!(Experiment, self, experiment => Ok(experiment.check()?.into()))
    }
}

impl CheckedExperiment {
    /// How many runs there are.
    pub fn runs(&self) -> usize {
        of_any_kind!(CheckedExperiment, self, checked => checked.runs())
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
        of_any_kind!(CheckedExperiment, self, checked => checked.run(threads, progress))
    }

    /// [`CheckedExperiment::run`], but an experiment that looks at others takes those that are done already
    /// from there.
    ///
    /// # Errors
    /// As for [`CheckedExperiment::run`].
    ///
    /// # Panics
    /// As [`CheckedExperiment::run`] does.
    pub fn run_after(
        &self,
        threads: Option<usize>,
        progress: &Progress,
        done: &[ExperimentOutcome],
    ) -> Result<ExperimentOutcome, RunError> {
        match self {
            CheckedExperiment::Validation(checked) => checked.run_after(threads, progress, done),
            other => other.run(threads, progress),
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
