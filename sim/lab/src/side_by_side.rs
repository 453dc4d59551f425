//! Engines side by side: what the same workload, under the same load and seeds, costs on each.
//!
//! One row for each workload and engine, over all seeds together: throughput is the mean of the runs',
//! percentiles are those of all their orchestrations, and operations, bytes and money are sums by
//! completed orchestrations. An engine that cannot carry a workload has a row that says why. Runs are
//! independent and go on side by side; what comes out does not depend on how many threads carry them.
//!
//! Latency is what the engine reports (last update minus creation), of a job the duration that its
//! benchmark defines; the latency of clients is there too where clients wait.

mod files;

pub use files::MARKER;

use crate::checks::Verdict;
use crate::compare::Comparison;
use crate::load::LoadSpec;
use crate::measure::{self, Latencies, Percentiles, round};
use crate::progress::Progress;
use crate::run::{RunError, RunOptions, RunOutcome, run_with};
use crate::spec::{CheckedSpec, SpecError};
use crate::statistics;
use rayon::prelude::*;
use serde::Serialize;
use sim_model::engine::DeployError;
use std::collections::BTreeSet;

/// Most runs of one comparison.
const RUNS_MAX: usize = 10_000;

/// A comparison whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedSideBySide {
    asked: Comparison,
    /// For each workload: for each engine, a run for each seed.
    groups: Vec<Vec<Vec<CheckedSpec>>>,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct SideBySideOutcome {
    /// Whether no check of any run failed.
    pub passed: bool,
    /// One for each workload.
    pub groups: Vec<Group>,
    /// Every run, in the order of workloads, engines and seeds.
    pub runs: Vec<SideRun>,
    #[serde(skip)]
    checked: CheckedSideBySide,
}

/// A workload on all engines.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// The workload with its parameters.
    pub workload: String,
    /// The load.
    pub load: String,
    /// Whether the load runs jobs, not orchestrations.
    pub jobs: bool,
    /// What throughput counts: a plural.
    pub unit: String,
    /// One for each engine, in the order in which they were asked for.
    pub engines: Vec<EngineRow>,
}

/// A workload on an engine.
#[derive(Clone, Debug, Serialize)]
pub struct EngineRow {
    /// The engine.
    pub engine: String,
    /// Why the engine does not carry the workload, if so.
    pub refused: Option<String>,
    /// What was measured, otherwise.
    pub measured: Option<Measured>,
}

/// What was measured over all seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// How many runs.
    pub runs: u64,
    /// Orchestrations or jobs that completed.
    pub completed: u64,
    /// Units a second: the mean of the runs that have a throughput.
    pub throughput_per_s: Option<f64>,
    /// The lowest of them.
    pub throughput_min_per_s: Option<f64>,
    /// The highest of them.
    pub throughput_max_per_s: Option<f64>,
    /// Latency as the engine reports it.
    pub latency_ms: Percentiles,
    /// Latency as clients see it; absent if no client waits.
    pub client_latency_ms: Option<Percentiles>,
    /// Operations on storage and event services by completed orchestration.
    pub operations_each: Option<f64>,
    /// Kilobytes of their requests and replies by completed orchestration.
    pub kilobytes_each: Option<f64>,
    /// US dollars for a million completed orchestrations.
    pub usd_per_million: Option<f64>,
    /// Checks that failed in any run, by name.
    pub failed_checks: BTreeSet<String>,
    /// Checks that observed a breach of something that is not promised, by name.
    pub observed_checks: BTreeSet<String>,
    /// The distribution of [`Measured::latency_ms`].
    #[serde(skip)]
    latencies: Latencies,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct SideRun {
    /// The workload with its parameters.
    pub workload: String,
    /// The engine.
    pub engine: String,
    /// The load.
    pub load: String,
    /// The seed.
    pub seed: u64,
    /// The run's digest; absent if the engine refused it.
    pub digest: Option<String>,
    /// Orchestrations or jobs that completed.
    pub completed: u64,
    /// Units a second.
    pub throughput_per_s: Option<f64>,
    /// Checks that failed, by name.
    pub failed_checks: Vec<String>,
}

/// What is kept of a run.
struct Kept {
    unit: String,
    jobs: bool,
    digest: String,
    completed: u64,
    per_s: Option<f64>,
    latencies: Latencies,
    clients: Option<Latencies>,
    operations: u64,
    bytes: u64,
    usd: f64,
    failed: Vec<String>,
    observed: Vec<String>,
}

impl Kept {
    fn of(spec: &CheckedSpec, outcome: &RunOutcome) -> Kept {
        let summary = &outcome.summary;
        let named = |verdict: Verdict| {
            let checks = summary.checks.iter().filter(move |check| check.verdict == verdict);
            checks.map(|check| check.name.clone()).collect()
        };
        let bytes = |name| summary.bytes.get(name).copied().unwrap_or(0);
        let clients_wait = spec.spec().load.clients_wait();
        Kept {
            unit: summary.work.unit.clone(),
            jobs: outcome.jobs,
            digest: summary.digest.clone(),
            completed: summary.orchestrations.completed,
            per_s: summary.work.per_s,
            latencies: measure::engine_latencies(&outcome.records),
            clients: clients_wait.then(|| measure::client_latencies(&outcome.records)),
            operations: summary.operations.values().sum(),
            bytes: summary.operations.keys().map(bytes).sum(),
            usd: outcome.cost.total_usd(),
            failed: named(Verdict::Fail),
            observed: named(Verdict::Observed),
        }
    }
}

/// A run that was carried out, or why its engine refused it.
type Tried = Result<Kept, String>;

impl Comparison {
    /// Checks every run of a comparison of what engines cost.
    ///
    /// # Errors
    /// The first fault.
    pub fn check_side_by_side(&self) -> Result<CheckedSideBySide, SpecError> {
        let runs = [self.engines.len(), self.workloads.len(), self.seeds.len()];
        match runs.iter().product::<usize>() {
            0 => {
                let expected = "at least one engine, workload and seed";
                return Err(SpecError::bad("comparison: runs", 0, expected));
            }
            runs if runs > RUNS_MAX => {
                let expected = format!("at most {RUNS_MAX}");
                return Err(SpecError::bad("comparison: runs", runs, expected));
            }
            _ => {}
        }
        let mut groups = Vec::new();
        for workload in &self.workloads {
            let of_engine = |engine: &String| -> Result<Vec<CheckedSpec>, SpecError> {
                let seeds = self.seeds.iter();
                seeds.map(|seed| self.run_spec(workload, engine, *seed).check()).collect()
            };
            groups.push(self.engines.iter().map(of_engine).collect::<Result<_, _>>()?);
        }
        Ok(CheckedSideBySide { asked: self.clone(), groups })
    }
}

impl CheckedSideBySide {
    fn specs(&self) -> impl Iterator<Item = &CheckedSpec> {
        self.groups.iter().flatten().flatten()
    }

    /// How many runs there are.
    pub fn runs(&self) -> usize {
        self.specs().count()
    }

    /// Carries out all runs on `threads` threads, or as many as there are cores.
    ///
    /// # Errors
    /// The error of the first run, in their order, that could not be carried out; and the first
    /// refusal if every run was refused.
    ///
    /// # Panics
    /// If the system has no room for the threads.
    pub fn run(
        self,
        threads: Option<usize>,
        progress: &Progress,
    ) -> Result<SideBySideOutcome, RunError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .build()
            .expect("the system has no room for more threads");
        let one = |spec: &&CheckedSpec| {
            let outcome = run_with(spec, progress, &RunOptions::default())?;
            Ok(Kept::of(spec, &outcome))
        };
        let specs: Vec<&CheckedSpec> = self.specs().collect();
        let results: Vec<Result<Kept, RunError>> =
            pool.install(|| specs.par_iter().map(one).collect());
        // Not collected as a result in parallel, which would keep any of several errors.
        let mut tried: Vec<Tried> = Vec::with_capacity(results.len());
        let mut refusal = None;
        for result in results {
            tried.push(match result {
                Ok(kept) => Ok(kept),
                Err(RunError::Deploy(error)) => {
                    let DeployError::Unsupported { problem, .. } = &error;
                    let problem = problem.clone();
                    refusal.get_or_insert(error);
                    Err(problem)
                }
                Err(other) => return Err(other),
            });
        }
        match refusal {
            Some(refusal) if tried.iter().all(Result::is_err) => Err(RunError::Deploy(refusal)),
            _ => Ok(self.judge(tried)),
        }
    }

    fn judge(self, tried: Vec<Tried>) -> SideBySideOutcome {
        let runs: Vec<SideRun> =
            self.specs().zip(&tried).map(|(spec, tried)| SideRun::of(spec, tried)).collect();
        let mut tried = tried.into_iter();
        let mut groups = Vec::new();
        for specs in &self.groups {
            let of_engine = |seeds: &Vec<CheckedSpec>| -> Vec<Tried> {
                tried.by_ref().take(seeds.len()).collect()
            };
            let of_engines: Vec<Vec<Tried>> = specs.iter().map(of_engine).collect();
            groups.push(Group::of(specs, &of_engines));
        }
        let passed = runs.iter().all(|run| run.failed_checks.is_empty());
        SideBySideOutcome { passed, groups, runs, checked: self }
    }
}

impl SideRun {
    fn of(spec: &CheckedSpec, tried: &Tried) -> SideRun {
        let kept = tried.as_ref().ok();
        let asked = spec.spec();
        SideRun {
            workload: asked.workload.shown().to_string(),
            engine: asked.engine.clone(),
            load: asked.load.to_string(),
            seed: asked.seed,
            digest: kept.map(|kept| kept.digest.clone()),
            completed: kept.map_or(0, |kept| kept.completed),
            throughput_per_s: kept.and_then(|kept| kept.per_s),
            failed_checks: kept.map(|kept| kept.failed.clone()).unwrap_or_default(),
        }
    }
}

impl Group {
    fn of(specs: &[Vec<CheckedSpec>], tried: &[Vec<Tried>]) -> Group {
        let asked = specs[0][0].spec();
        let any = tried.iter().flatten().find_map(|tried| tried.as_ref().ok());
        let row = |(specs, tried): (&Vec<CheckedSpec>, &Vec<Tried>)| {
            let engine = specs[0].spec().engine.clone();
            let kept: Result<Vec<&Kept>, &String> = tried.iter().map(Result::as_ref).collect();
            match kept {
                Ok(kept) => {
                    EngineRow { engine, refused: None, measured: Some(Measured::of(&kept)) }
                }
                Err(problem) => {
                    EngineRow { engine, refused: Some(problem.clone()), measured: None }
                }
            }
        };
        Group {
            workload: asked.workload.shown().to_string(),
            load: asked.load.to_string(),
            jobs: any.is_some_and(|kept| kept.jobs),
            unit: any.map(|kept| kept.unit.clone()).unwrap_or_default(),
            engines: specs.iter().zip(tried).map(row).collect(),
        }
    }
}

impl Measured {
    fn of(runs: &[&Kept]) -> Measured {
        let completed: u64 = runs.iter().map(|run| run.completed).sum();
        let each =
            |sum: f64, digits| (completed > 0).then(|| round(sum / completed as f64, digits));
        let rates: Vec<f64> = runs.iter().filter_map(|run| run.per_s).collect();
        let merged = |of: fn(&Kept) -> Option<&Latencies>| {
            let mut all = Latencies::default();
            runs.iter().filter_map(|run| of(run)).for_each(|latencies| all.merge(latencies));
            all
        };
        let names =
            |of: fn(&Kept) -> &Vec<String>| runs.iter().flat_map(move |run| of(run)).cloned();
        let latencies = merged(|run| Some(&run.latencies));
        let clients = runs.iter().any(|run| run.clients.is_some());
        let bytes: u64 = runs.iter().map(|run| run.bytes).sum();
        let operations: u64 = runs.iter().map(|run| run.operations).sum();
        Measured {
            runs: runs.len() as u64,
            completed,
            throughput_per_s: statistics::mean(&rates).map(|mean| round(mean, 3)),
            throughput_min_per_s: rates.iter().copied().reduce(f64::min),
            throughput_max_per_s: rates.iter().copied().reduce(f64::max),
            latency_ms: latencies.percentiles(),
            client_latency_ms: clients.then(|| merged(|run| run.clients.as_ref()).percentiles()),
            operations_each: each(operations as f64, 3),
            kilobytes_each: each(bytes as f64 / 1e3, 3),
            usd_per_million: each(runs.iter().map(|run| run.usd).sum::<f64>() * 1e6, 3),
            failed_checks: names(|run| &run.failed).collect(),
            observed_checks: names(|run| &run.observed).collect(),
            latencies,
        }
    }
}

impl SideBySideOutcome {
    /// The outcome on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: a comparison has a JSON form")
    }

    /// The load that was asked for, for all workloads.
    fn load(&self) -> Option<&LoadSpec> {
        self.checked.asked.load.as_ref()
    }
}
