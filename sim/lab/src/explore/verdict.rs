//! What a run of a campaign came to.

use crate::checks::{Check, Verdict};
use crate::progress::Progress;
use crate::registry::Engines;
use crate::run::{self, RunError, RunOptions};
use crate::spec::RunSpec;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};

/// What a run did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name of the check that failed first, in the order of checks; `stuck` for a run that had nothing
    /// left to do or in which virtual time stood still, `panic` for one in which an invariant broke.
    pub check: String,
    /// What it found.
    pub detail: String,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The digest; empty if there was none.
    pub digest: String,
    /// What it did wrong, if anything.
    pub failure: Option<Failure>,
    /// What each check says; none if the run did not come to an end.
    pub checks: Vec<Check>,
    /// How often the engine's mechanisms and the effects of faults came about.
    pub counts: BTreeMap<String, u64>,
}

/// Carries out a run and judges it.
///
/// # Errors
/// If the specification cannot be run.
pub fn judge(spec: &RunSpec) -> Result<Judgement, RunError> {
    judge_strictly(spec, &[])
}

/// Carries out a run and judges it; the rules that `strict` names count as if they were promised, whatever the
/// engine promises and whatever goes wrong.
///
/// # Errors
/// If the specification cannot be run.
pub fn judge_strictly(spec: &RunSpec, strict: &[String]) -> Result<Judgement, RunError> {
    judge_with(&Engines::built_in(), spec, strict)
}

/// [`judge_strictly`], for a run of one of these engines.
///
/// # Errors
/// As for [`judge`].
pub fn judge_with(
    engines: &Engines,
    spec: &RunSpec,
    strict: &[String],
) -> Result<Judgement, RunError> {
    let checked = spec.check_with(engines)?;
    let run = || run::run_with(&checked, &Progress::default(), &RunOptions::default());
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(outcome)) => {
            let fails = |check: &&Check| {
                check.verdict == Verdict::Fail || strict.contains(&check.name) && check.is_broken()
            };
            let failed = outcome.summary.checks.iter().find(fails);
            let failure = failed
                .map(|check| Failure { check: check.name.clone(), detail: check.detail.clone() });
            let counters =
                outcome.counters.iter().map(|(name, count)| ((*name).to_owned(), *count));
            let effects = outcome.summary.faults.iter().flat_map(|faults| {
                faults.effects.iter().map(|(name, count)| (format!("fault: {name}"), *count))
            });
            let counts = counters.chain(effects).collect();
            let (digest, checks) = (outcome.summary.digest, outcome.summary.checks);
            Ok(Judgement { digest, failure, checks, counts })
        }
        Ok(Err(RunError::Kernel(error))) => Ok(failed("stuck", error.to_string())),
        Ok(Err(error)) => Err(error),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            Ok(failed("panic", text.unwrap_or("a panic without a message").to_owned()))
        }
    }
}

fn failed(check: &str, detail: String) -> Judgement {
    let failure = Failure { check: check.to_owned(), detail };
    Judgement { failure: Some(failure), ..Judgement::default() }
}
