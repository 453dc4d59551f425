//! Saturation: the highest rate of an open load at which an engine still meets a latency target.
//!
//! **Search.** For each seed by itself: rates are doubled (or halved) until one meets the target and another
//! does not, then the gap is halved on a logarithmic scale until it is within the tolerance ([`search`]). Each
//! seed is a replication of the whole search, so its rate is one independent value, and the result is
//! their mean with Student's t interval. Two engines under the same seeds can be compared pair by pair.
//!
//! **A rate meets the target** ([`trial`]) if, after the warm-up (MSER-5), the percentile of the latency
//! keeps the bound, what was offered is completed as fast as it comes, and no check fails. It is presumed
//! that between a rate that meets it and one that does not the answer changes once: near the limit a single
//! seed may say otherwise, by chance.
//!
//! **The interval** runs from the lower end for the highest rates that met the target to the upper end for
//! the lowest ones that did not, so it holds what the tolerance leaves open too.
//!
//! Units: rates are orchestrations (or jobs) a second, latencies milliseconds.

mod files;
pub mod search;
pub mod trial;

pub use files::MARKER;
pub use trial::{Judgement, Trial};

use crate::experiment::pool;
use crate::load::LoadSpec;
use crate::metric::Requirement;
use crate::progress::Progress;
use crate::run::RunError;
use crate::spec::{CheckedSpec, RunSpec, SpecError};
use crate::statistics::{Confidence, Interval, MeanEstimate};
use rayon::prelude::*;
use search::{Answer, Bracket, Rates};
use serde::Serialize;
use std::time::Duration;

/// What is searched for.
#[derive(Clone, Debug, PartialEq)]
pub struct Saturation {
    /// Engine, workload, hosts, profile and settings; its load is replaced.
    pub place: RunSpec,
    /// A bound on a latency from above.
    pub target: Requirement,
    /// The part of what is offered that has to be completed.
    pub completes: f64,
    /// Which rates are tried.
    pub rates: Rates,
    /// How long each rate is offered.
    pub duration: Duration,
    /// Time before it.
    pub settle: Duration,
    /// One search for each.
    pub seeds: Vec<u64>,
}

/// A search that was checked.
#[derive(Clone, Debug)]
pub struct CheckedSaturation {
    asked: Saturation,
    /// The run at the first rate under the first seed, with everything written out.
    first: CheckedSpec,
}

/// The search under one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeedSearch {
    /// The seed.
    pub seed: u64,
    /// What was found.
    #[serde(flatten)]
    pub bracket: Bracket,
    /// Every rate that was tried, in order.
    pub trail: Vec<Trial>,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct SaturationOutcome {
    /// The engine.
    pub engine: String,
    /// The workload with its parameters.
    pub workload: String,
    /// The target.
    pub target: Requirement,
    /// The mean of the highest rates that met the target; absent if some seed has none.
    pub rate_per_s: Option<f64>,
    /// Where the highest rate lies; absent for one seed.
    pub interval: Option<Interval>,
    /// Whether some search ended at the highest rate that may be tried: the rate is at least this.
    pub at_least: bool,
    /// How the interval came about.
    pub method: String,
    /// The searches, by seed.
    pub searches: Vec<SeedSearch>,
    #[serde(skip)]
    checked: CheckedSaturation,
}

impl Saturation {
    /// Checks everything before anything runs.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedSaturation, SpecError> {
        if !(self.target.metric.is_latency() && self.target.is_ceiling()) {
            let expected = "a bound on a latency from above, such as p95<500ms";
            return Err(SpecError::bad("target", self.target, expected));
        }
        if self.target.bound() <= 0.0 {
            return Err(SpecError::bad("target", self.target, "a bound above 0"));
        }
        if !(self.completes > 0.0 && self.completes <= 1.0) {
            let expected = "a part above 0 %, at most 100 %";
            return Err(SpecError::bad("completes", self.completes, expected));
        }
        if self.seeds.is_empty() {
            return Err(SpecError::bad("seeds", "none", "at least one"));
        }
        self.rates.check()?;
        self.spec(self.rates.max, self.seeds[0]).check()?;
        let first = self.spec(self.rates.start, self.seeds[0]).check()?;
        Ok(CheckedSaturation { asked: self.clone(), first })
    }

    fn spec(&self, rate: f64, seed: u64) -> RunSpec {
        let (duration, settle) = (self.duration, self.settle);
        RunSpec { load: LoadSpec::Open { rate, duration, settle }, seed, ..self.place.clone() }
    }
}

impl CheckedSaturation {
    /// What is searched for.
    pub fn asked(&self) -> &Saturation {
        &self.asked
    }

    /// The run at the first rate, with every default written out.
    pub fn first(&self) -> &CheckedSpec {
        &self.first
    }

    /// How many runs there will be, about.
    pub fn runs_about(&self) -> usize {
        self.asked.seeds.len() * self.asked.rates.steps_about()
    }

    /// Searches under all seeds, on `threads` threads, or as many as there are cores.
    ///
    /// # Errors
    /// The first error, in the order of the seeds, of a run that could not be carried out at all.
    ///
    /// # Panics
    /// If the system has no room for the threads.
    pub fn run(
        self,
        threads: Option<usize>,
        progress: &Progress,
    ) -> Result<SaturationOutcome, RunError> {
        let one = |seed: &u64| self.search(*seed, progress);
        let results: Vec<Result<SeedSearch, RunError>> =
            pool(threads).install(|| self.asked.seeds.par_iter().map(one).collect());
        // Not collected as a result in parallel, which would keep any of several errors.
        let searches = results.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(self.outcome(searches))
    }

    fn search(&self, seed: u64, progress: &Progress) -> Result<SeedSearch, RunError> {
        let mut trail = Vec::new();
        let bracket = self.asked.rates.search(|rate| {
            let checked = self.asked.spec(rate, seed).check();
            let checked = checked.expect("invariant: the highest rate was checked");
            let trial = trial::attempt(&checked, &self.asked, rate, progress)?;
            let answer = match (trial.judgement == Judgement::Met, trial.keeps_up) {
                (true, _) => Answer::Met,
                (false, true) => Answer::Missed,
                (false, false) => Answer::Behind,
            };
            trail.push(trial);
            Ok::<_, RunError>(answer)
        })?;
        Ok(SeedSearch { seed, bracket, trail })
    }

    fn outcome(self, searches: Vec<SeedSearch>) -> SaturationOutcome {
        let confidence = Confidence::default();
        let met: Option<Vec<f64>> = searches.iter().map(|search| search.bracket.met).collect();
        let max = self.asked.rates.max;
        let unmet: Vec<f64> =
            searches.iter().map(|search| search.bracket.unmet.unwrap_or(max)).collect();
        let met = met.and_then(|met| MeanEstimate::of(&met, confidence));
        let unmet = MeanEstimate::of(&unmet, confidence);
        let interval = met
            .as_ref()
            .and_then(|met| met.interval)
            .zip(unmet.and_then(|unmet| unmet.interval))
            .map(|(met, unmet)| Interval { low: met.low.max(0.0), high: unmet.high });
        let spec = self.first.spec();
        SaturationOutcome {
            engine: spec.engine.clone(),
            workload: spec.workload.shown().to_string(),
            target: self.asked.target,
            rate_per_s: met.as_ref().map(|met| crate::measure::round(met.mean, 3)),
            interval,
            at_least: searches.iter().any(|search| search.bracket.unmet.is_none()),
            method: method(met.as_ref(), &self.asked),
            searches,
            checked: self,
        }
    }
}

fn method(met: Option<&MeanEstimate>, asked: &Saturation) -> String {
    let tolerance = crate::measure::round(asked.rates.tolerance * 100.0, 3);
    let searched = format!(
        "bracketing and bisection to {tolerance} % for each seed, warm-up removed by {}",
        crate::statistics::warm_up::WarmUp::METHOD
    );
    match met {
        Some(met) => format!("{}; {searched}", met.method()),
        None => searched,
    }
}

impl SaturationOutcome {
    /// The outcome on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: an outcome has a JSON form")
    }
}

#[cfg(test)]
mod tests;
