//! One rate under one seed: whether it meets the target.
//!
//! 1. **Warm-up.** MSER-5 on the latencies in the order of arrivals says how many of the first are left
//!    out. Where the series is too short to tell, none are.
//! 2. **Latency.** The percentile of the rest keeps the bound.
//! 3. **Completion.** Between the first and the last arrival that counts, completions keep up with arrivals:
//!    what is left behind is at most the part that may be, and what Little's law leaves under way if the
//!    target is met (the rate times the bound).
//! 4. No check of the run fails. A run that does not end within [`DRAIN_MIN`] or ten times the bound after
//!    its load has not met the target; nor has one that cannot go on.

use super::Saturation;
use crate::checks::Verdict;
use crate::measure::Latencies;
use crate::progress::Progress;
use crate::recorder::{Outcome, Record};
use crate::run::{RunError, RunOptions, RunOutcome, run_with};
use crate::spec::CheckedSpec;
use crate::statistics::warm_up;
use serde::Serialize;
use std::time::Duration;

/// How long a run may go on after its load, at least.
pub const DRAIN_MIN: Duration = Duration::from_secs(60);

/// Whether a rate meets the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// It does.
    Met,
    /// The latency is beyond the bound.
    TooSlow,
    /// Completions do not keep up with arrivals.
    FallsBehind,
    /// Nothing completed that could be measured.
    NothingMeasured,
    /// A check failed, or the run could not go on.
    Failed(String),
}

impl Judgement {
    /// In a few words.
    pub fn words(&self) -> String {
        match self {
            Judgement::Met => "met".to_owned(),
            Judgement::TooSlow => "too slow".to_owned(),
            Judgement::FallsBehind => "falls behind".to_owned(),
            Judgement::NothingMeasured => "nothing measured".to_owned(),
            Judgement::Failed(why) => why.clone(),
        }
    }
}

/// A rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// What was offered, a second.
    pub rate_per_s: f64,
    /// Arrivals.
    pub arrivals: u64,
    /// Arrivals left out as warm-up.
    pub warm_up: u64,
    /// The percentile of the target, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Completions by arrivals, after the warm-up.
    pub completed_part: Option<f64>,
    /// Whether the target is met.
    pub judgement: Judgement,
    /// Whether completions keep up with arrivals, however long they take.
    pub keeps_up: bool,
    /// The run's digest.
    pub digest: Option<String>,
}

/// Carries out the run at one rate and judges it.
///
/// # Errors
/// If engine or world refuse the run.
pub(super) fn attempt(
    checked: &CheckedSpec,
    asked: &Saturation,
    rate: f64,
    progress: &Progress,
) -> Result<Trial, RunError> {
    let bound = Duration::from_secs_f64(asked.target.bound() / 1e3);
    let options =
        RunOptions { bound: DRAIN_MIN.max(bound.saturating_mul(10)), ..RunOptions::default() };
    match run_with(checked, progress, &options) {
        Ok(outcome) => Ok(Trial::of(&outcome, asked, rate)),
        Err(RunError::Kernel(error)) => Ok(Trial {
            rate_per_s: rate,
            arrivals: 0,
            warm_up: 0,
            latency_ms: None,
            completed_part: None,
            judgement: Judgement::Failed(error.to_string()),
            keeps_up: false,
            digest: None,
        }),
        Err(other) => Err(other),
    }
}

/// What is seen of a run after its warm-up.
#[derive(Debug, PartialEq)]
struct Steady {
    warm_up: usize,
    latency_ms: Option<f64>,
    arrivals: usize,
    completions: usize,
}

impl Steady {
    fn of(records: &[Record], quantile: f64, clients: bool) -> Steady {
        let latency = |record: &Record| match (record.outcome, clients) {
            (Outcome::Completed, true) => record.client_latency,
            (Outcome::Completed, false) => Some(record.latency()),
            _ => None,
        };
        let mut order: Vec<&Record> = records.iter().collect();
        order.sort_by_key(|record| record.intended);
        let measured: Vec<(&Record, Duration)> =
            order.iter().filter_map(|record| Some((*record, latency(record)?))).collect();
        let series: Vec<f64> = measured.iter().map(|(_, span)| span.as_secs_f64() * 1e3).collect();
        let cut = warm_up::mser_5(&series).observations();
        let from = measured.get(cut).map(|(record, _)| record.intended);
        let to = order.last().map(|record| record.intended);
        let (Some(from), Some(to)) = (from, to) else {
            return Steady { warm_up: 0, latency_ms: None, arrivals: order.len(), completions: 0 };
        };
        let latencies: Latencies = measured[cut..].iter().map(|(_, span)| *span).collect();
        let ended = |record: &&&Record| {
            record.outcome == Outcome::Completed && (from..=to).contains(&record.last_updated)
        };
        Steady {
            warm_up: order.iter().filter(|record| record.intended < from).count(),
            latency_ms: latencies.quantile_ms(quantile),
            arrivals: order.iter().filter(|record| record.intended >= from).count(),
            completions: order.iter().filter(ended).count(),
        }
    }

    fn judge(&self, asked: &Saturation, rate: f64) -> Judgement {
        let Some(latency) = self.latency_ms else { return Judgement::NothingMeasured };
        match (asked.target.holds(latency), self.keeps_up(asked, rate)) {
            (false, _) => Judgement::TooSlow,
            (true, false) => Judgement::FallsBehind,
            (true, true) => Judgement::Met,
        }
    }
}

impl Steady {
    fn keeps_up(&self, asked: &Saturation, rate: f64) -> bool {
        let behind = self.arrivals as f64 - self.completions as f64;
        let under_way = rate * asked.target.bound() / 1e3 + 1.0;
        behind <= (1.0 - asked.completes) * self.arrivals as f64 + under_way
    }
}

impl Trial {
    fn of(outcome: &RunOutcome, asked: &Saturation, rate: f64) -> Trial {
        let (quantile, clients) =
            asked.target.metric.percentile().expect("invariant: the target is a latency");
        let steady = Steady::of(&outcome.records, quantile, clients);
        let failed = outcome.summary.checks.iter().find(|check| check.verdict == Verdict::Fail);
        let judgement = match failed {
            Some(check) if check.name == "completion" => Judgement::FallsBehind,
            Some(check) => Judgement::Failed(format!("check {} failed", check.name)),
            None => steady.judge(asked, rate),
        };
        let keeps_up = judgement != Judgement::FallsBehind && steady.keeps_up(asked, rate);
        let part = steady.completions as f64 / steady.arrivals as f64;
        Trial {
            rate_per_s: rate,
            arrivals: outcome.records.len() as u64,
            warm_up: steady.warm_up as u64,
            latency_ms: steady.latency_ms,
            completed_part: (steady.arrivals > 0).then(|| crate::measure::round(part, 6)),
            judgement,
            keeps_up,
            digest: Some(outcome.summary.digest.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saturate::search::Rates;
    use crate::spec::RunSpec;
    use sim_model::time::Timestamp;

    fn asked(target: &str) -> Saturation {
        Saturation {
            place: RunSpec::default(),
            target: target.parse().expect("a target"),
            completes: 0.95,
            rates: Rates::default(),
            duration: Duration::from_secs(100),
            settle: Duration::ZERO,
            seeds: vec![1],
        }
    }

    /// Ten arrivals a second for 100 s, each with this latency in milliseconds.
    fn records(latency_ms: impl Fn(u64) -> u64) -> Vec<Record> {
        let record = |index: u64| {
            let created = Timestamp::from_millis(index * 100);
            let last_updated = Timestamp::from_millis(index * 100 + latency_ms(index));
            Record {
                intended: created,
                created,
                last_updated,
                outcome: Outcome::Completed,
                ..Record::default()
            }
        };
        (0..1_000).map(record).collect()
    }

    #[test]
    fn a_slow_start_does_not_count() {
        let records = records(|index| if index < 100 { 5_000 } else { 100 + index % 5 });
        let steady = Steady::of(&records, 0.95, false);
        assert_eq!((steady.warm_up, steady.arrivals), (100, 900));
        assert_eq!(steady.judge(&asked("p95<200ms"), 10.0), Judgement::Met);
        assert_eq!(steady.judge(&asked("p95<100ms"), 10.0), Judgement::TooSlow);
    }

    #[test]
    fn what_only_seems_fast_falls_behind() {
        let mut all = records(|_| 100);
        // Every second one is never completed: the latency of the others says nothing of it.
        all.iter_mut().step_by(2).for_each(|record| record.outcome = Outcome::Running);
        let steady = Steady::of(&all, 0.95, false);
        assert_eq!(steady.judge(&asked("p95<200ms"), 10.0), Judgement::FallsBehind);
        let nothing = Steady::of(&all, 0.95, true);
        assert_eq!(nothing.judge(&asked("client.p95<200ms"), 10.0), Judgement::NothingMeasured);
    }

    #[test]
    fn what_is_under_way_at_the_end_is_no_backlog() {
        // Two seconds each: 20 of 1,000 are under way at the end, as Little's law has it.
        let steady = Steady::of(&records(|_| 2_000), 0.5, false);
        assert_eq!(steady.arrivals - steady.completions, 20);
        let strict = Saturation { completes: 1.0, ..asked("p50<3s") };
        assert_eq!(steady.judge(&strict, 10.0), Judgement::Met);
        // A queue that grows by two sevenths of what arrives.
        let growing = Steady::of(&records(|index| 40 * index), 0.5, false);
        assert_eq!(growing.judge(&asked("p50<21s"), 10.0), Judgement::FallsBehind);
    }
}
