//! A campaign on its way: how far it is, what it has found, and how it goes on after an interruption.
//!
//! A campaign works through its seeds in chunks. After each the state is complete, and can be written
//! down; a campaign that is taken up again from a written state comes to the same end as one that was
//! never interrupted, on any number of threads.

use super::coverage::Coverage;
use super::draw::Campaign;
use super::regression::{Expectation, Regression};
use super::shrink::{Shrunk, shrink_with};
use super::verdict::{Failure, Judgement, judge_with};
use crate::registry::Engines;
use crate::run::RunError;
use crate::spec::RunSpec;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use thiserror::Error;

/// Runs of one chunk: enough to keep threads busy, few enough to lose little.
const CHUNK: u64 = 64;
/// How many failures of one check are made smaller; the rest are counted.
const KEPT_PER_CHECK: usize = 3;

/// Something that a campaign has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The seed.
    pub seed: u64,
    /// Faults of the run as it was drawn.
    pub faults_before: usize,
    /// Runs that making it smaller has taken.
    pub attempts: u32,
    /// Whether no single fault of the smaller run can be removed.
    pub minimal: bool,
    /// The smaller run.
    pub regression: Regression,
}

/// How far a campaign is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What is explored.
    pub campaign: Campaign,
    /// The first seed.
    pub first_seed: u64,
    /// Seeds that are done, from the first on.
    pub done: u64,
    /// Faults of all runs together.
    pub faults: u64,
    /// Hash over the digests of all runs in their order.
    pub digest: String,
    /// What was reached.
    pub coverage: Coverage,
    /// How many runs failed, by check.
    pub failures: BTreeMap<String, u64>,
    /// What was found and made smaller.
    pub findings: Vec<Finding>,
}

/// A state that cannot be taken up.
#[derive(Debug, Error)]
pub enum StateError {
    /// The file is none.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It is of another campaign.
    #[error("{path}: is of another campaign ({what} differs); take another folder")]
    Other {
        /// The file.
        path: String,
        /// What differs.
        what: &'static str,
    },
}

impl State {
    /// The beginning of a campaign.
    pub fn new(campaign: &Campaign, first_seed: u64) -> State {
        State {
            campaign: campaign.clone(),
            first_seed,
            done: 0,
            faults: 0,
            digest: String::new(),
            coverage: Coverage::default(),
            failures: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    /// The state that was written down in a file, which must be of this campaign.
    ///
    /// # Errors
    /// If it is none, or of another.
    pub fn load(path: &Path, campaign: &Campaign, first_seed: u64) -> Result<State, StateError> {
        let shown = path.display().to_string();
        let failed = |problem: String| StateError::File { path: shown.clone(), problem };
        let text = crate::text_file::read(path).map_err(failed)?;
        let state: State =
            serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        let other = |what| Err(StateError::Other { path: shown.clone(), what });
        if state.campaign != *campaign {
            return other("what is explored");
        }
        if state.first_seed != first_seed {
            return other("the first seed");
        }
        Ok(state)
    }

    /// The state as a file.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("invariant: a state has a JSON form") + "\n"
    }

    /// Runs that failed.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Takes in the runs of a chunk, in the order of their seeds. Returns those that are to be made
    /// smaller.
    fn take_in(&mut self, runs: Vec<(RunSpec, Judgement)>) -> Vec<(RunSpec, Failure)> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.digest.as_bytes());
        let mut failing = Vec::new();
        for (spec, judgement) in runs {
            hasher.update(judgement.digest.as_bytes());
            self.done += 1;
            self.faults += spec.faults.len() as u64;
            self.coverage.add(&judgement);
            if let Some(failure) = judgement.failure {
                let count = self.failures.entry(failure.check.clone()).or_default();
                *count += 1;
                if *count <= KEPT_PER_CHECK as u64 {
                    failing.push((spec, failure));
                }
            }
        }
        self.digest = hasher.finalize().to_hex()[..32].to_owned();
        failing
    }
}

impl Finding {
    /// The check that fails.
    pub fn check(&self) -> String {
        match &self.regression.expect {
            Expectation::Pass => "pass".to_owned(),
            Expectation::Fail(check) => check.clone(),
        }
    }

    pub(crate) fn of(seed: u64, shrunk: &Shrunk) -> Finding {
        Finding {
            seed,
            faults_before: shrunk.faults_before,
            attempts: shrunk.attempts,
            minimal: shrunk.minimal,
            regression: Regression::of(shrunk),
        }
    }
}

/// Goes on with a campaign until `runs` seeds are done, or `go_on`, which sees the state after each chunk,
/// says no. Runs go side by side on the threads of the pool that this is called on.
///
/// # Errors
/// If a specification cannot be run at all, or what `go_on` fails with.
pub fn carry_on<E: From<RunError>>(
    state: &mut State,
    runs: u64,
    go_on: impl FnMut(&State) -> Result<bool, E>,
) -> Result<(), E> {
    carry_on_with(&Engines::built_in(), state, runs, go_on)
}

/// [`carry_on`], with a campaign for one of these engines.
///
/// # Errors
/// As for [`carry_on`].
pub fn carry_on_with<E: From<RunError>>(
    engines: &Engines,
    state: &mut State,
    runs: u64,
    mut go_on: impl FnMut(&State) -> Result<bool, E>,
) -> Result<(), E> {
    while state.done < runs {
        let begin = state.first_seed + state.done;
        let end = begin + CHUNK.min(runs - state.done);
        let campaign = &state.campaign;
        let one = |seed| -> Result<(RunSpec, Judgement), RunError> {
            let spec = campaign.draw_with(engines, seed)?;
            let judgement = judge_with(engines, &spec, &campaign.strict)?;
            Ok((spec, judgement))
        };
        let done: Vec<Result<_, RunError>> = (begin..end).into_par_iter().map(one).collect();
        let done = done.into_iter().collect::<Result<Vec<_>, RunError>>()?;
        let strict = campaign.strict.clone();
        let failing = state.take_in(done);
        let smaller: Vec<Result<Finding, RunError>> = failing
            .par_iter()
            .map(|(spec, failure)| {
                Ok(Finding::of(spec.seed, &shrink_with(engines, spec, failure, &strict)?))
            })
            .collect();
        for finding in smaller {
            state.findings.push(finding?);
        }
        if !go_on(state)? {
            break;
        }
    }
    Ok(())
}
