//! The runs of an experiment: independent of each other, carried out side by side.

use super::{Series, csv_of};
use crate::checks::Verdict;
use crate::progress::Progress;
use crate::run::{self, RunError, RunOutcome};
use crate::spec::{CheckedSpec, SpecError};
use rayon::prelude::*;
use std::collections::BTreeSet;

/// Most runs of one experiment.
const RUNS_MAX: usize = 10_000;

/// A run, and where its result belongs.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Index of the panel.
    pub(super) panel: usize,
    /// Its title.
    pub(super) panel_title: String,
    /// Index of the series.
    pub(super) series: usize,
    /// Its label.
    pub(super) series_label: String,
    /// What is run.
    pub(super) spec: CheckedSpec,
}

/// One run of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// The panel.
    pub panel: String,
    /// The series.
    pub series: String,
    /// Hosts.
    pub hosts: u32,
    /// The load.
    pub load: String,
    /// The seed.
    pub seed: u64,
    /// The run's digest.
    pub digest: String,
    /// Orchestrations that completed.
    pub completed: u64,
    /// Completed orchestrations a second.
    pub throughput_per_s: Option<f64>,
    /// The checks that failed, by name.
    pub failed_checks: Vec<String>,
}

impl RunRow {
    fn of(job: &Job, outcome: &RunOutcome) -> RunRow {
        let (spec, summary) = (job.spec.spec(), &outcome.summary);
        let failed = summary.checks.iter().filter(|check| check.verdict == Verdict::Fail);
        RunRow {
            panel: job.panel_title.clone(),
            series: job.series_label.clone(),
            hosts: spec.hosts,
            load: spec.load.to_string(),
            seed: spec.seed,
            digest: summary.digest.clone(),
            completed: summary.orchestrations.completed,
            throughput_per_s: summary.throughput_per_s,
            failed_checks: failed.map(|check| check.name.clone()).collect(),
        }
    }
}

/// The runs as CSV.
pub(super) fn runs_csv(runs: &[RunRow]) -> Vec<u8> {
    let heading = [
        "panel",
        "series",
        "hosts",
        "load",
        "seed",
        "digest",
        "completed",
        "throughput_per_s",
        "failed_checks",
    ];
    csv_of(
        heading,
        runs.iter().map(|run| {
            [
                run.panel.clone(),
                run.series.clone(),
                run.hosts.to_string(),
                run.load.clone(),
                run.seed.to_string(),
                run.digest.clone(),
                run.completed.to_string(),
                run.throughput_per_s.map(|rate| rate.to_string()).unwrap_or_default(),
                run.failed_checks.join(" "),
            ]
        }),
    )
}

/// Carries out all jobs on `threads` threads, or as many as there are cores. What comes out, in
/// the order of the jobs, does not depend on their number.
///
/// # Errors
/// The error of the first job, in their order, that could not be carried out.
///
/// # Panics
/// If the system has no room for the threads.
pub(super) fn carry_out<T: Send>(
    jobs: &[Job],
    threads: Option<usize>,
    progress: &Progress,
    measure: impl Fn(&RunOutcome) -> T + Sync,
) -> Result<(Vec<T>, Vec<RunRow>), RunError> {
    carry_out_with(jobs, threads, progress, |_, outcome| measure(outcome))
}

/// [`carry_out`], where what is measured depends on the job.
///
/// # Errors
/// As for [`carry_out`].
///
/// # Panics
/// If the system has no room for the threads.
pub(super) fn carry_out_with<T: Send>(
    jobs: &[Job],
    threads: Option<usize>,
    progress: &Progress,
    measure: impl Fn(&Job, &RunOutcome) -> T + Sync,
) -> Result<(Vec<T>, Vec<RunRow>), RunError> {
    let one = |job: &Job| {
        let outcome = run::run(&job.spec, progress)?;
        Ok((measure(job, &outcome), RunRow::of(job, &outcome)))
    };
    let results: Vec<Result<(T, RunRow), RunError>> =
        pool(threads).install(|| jobs.par_iter().map(one).collect());
    // Not collected as a result in parallel, which would keep any of several errors.
    let results: Result<Vec<(T, RunRow)>, RunError> = results.into_iter().collect();
    Ok(results?.into_iter().unzip())
}

/// `threads` threads, or as many as there are cores.
///
/// # Panics
/// If the system has no room for them.
pub(crate) fn pool(threads: Option<usize>) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build()
        .expect("the system has no room for more threads")
}

/// Checks that there is something to run, and not too much of it.
pub(super) fn check_count(experiment: &str, factors: &[(&str, usize)]) -> Result<(), SpecError> {
    if let Some((what, _)) = factors.iter().find(|(_, count)| *count == 0) {
        let place = format!("experiment {experiment}: {what}");
        return Err(SpecError::bad(place, "none", "at least one"));
    }
    let runs = factors.iter().fold(1_usize, |runs, (_, count)| runs.saturating_mul(*count));
    if runs > RUNS_MAX {
        let place = format!("experiment {experiment}: runs");
        return Err(SpecError::bad(place, runs, format!("at most {RUNS_MAX}")));
    }
    Ok(())
}

/// Checks that numbers of hosts ascend.
pub(super) fn check_ascending(experiment: &str, hosts: &[u32]) -> Result<(), SpecError> {
    if hosts.is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
    let place = format!("experiment {experiment}: hosts");
    Err(SpecError::bad(place, format!("{hosts:?}"), "ascending numbers"))
}

/// The labels of all series, which must differ.
pub(super) fn labels<'a>(
    experiment: &str,
    series: &'a [Series],
) -> Result<BTreeSet<&'a str>, SpecError> {
    let labels: BTreeSet<&str> = series.iter().map(|series| series.label.as_str()).collect();
    if labels.len() < series.len() {
        let place = format!("experiment {experiment}: the label of a series");
        return Err(SpecError::Twice { place });
    }
    Ok(labels)
}

/// Checks that everything that is asked for by label is a series.
pub(super) fn check_labels<'a>(
    place: &str,
    asked: impl IntoIterator<Item = &'a String>,
    labels: &BTreeSet<&str>,
) -> Result<(), SpecError> {
    match asked.into_iter().find(|label| !labels.contains(label.as_str())) {
        None => Ok(()),
        Some(label) => {
            Err(SpecError::unknown(format!("series in {place}"), label, labels.iter().copied()))
        }
    }
}
