//! Percentiles of all latencies of several runs together, on both sides of a comparison.
//!
//! The percentile of a run is one number, and the mean of these over runs says how a usual run does. What a
//! usual *request* meets is the percentile of all of them: a run that went badly counts with all its
//! requests, and tails of small runs, which are hardly more than their slowest request, add up. Its error is
//! found by drawing whole runs again ([`Bootstrap`]), pairs of one seed together.
//!
//! Only results that have `latency.csv` are shown so; of a table of runs nothing but its own columns is known.

use super::Pairing;
use super::read::{LATENCY_COLUMNS, Run};
use crate::statistics::{Bootstrap, PercentileDifference};
use serde::Serialize;

/// The percentiles that are shown.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
/// The seed of the draws: any, but always the same, so that a page is the same when it is made again.
const SEED: u64 = 1;

/// A percentile of all runs of each side together.
#[derive(Clone, Debug, Serialize)]
pub struct PooledRow {
    /// Of what, and which: `latency.p95`, as metrics are named.
    pub metric: String,
    /// In which unit.
    pub unit: &'static str,
    /// Both sides, and how far they are apart.
    #[serde(flatten)]
    pub found: PercentileDifference,
}

impl PooledRow {
    /// All percentiles of runs on both sides: none where a side has a single run, or no latencies.
    pub(super) fn all(one: &[&Run], two: &[&Run], pairing: Pairing) -> Vec<PooledRow> {
        if one.len().min(two.len()) < 2 {
            return Vec::new();
        }
        let paired = pairing != Pairing::Independent;
        let mut rows = Vec::new();
        for (name, _) in LATENCY_COLUMNS {
            let values = |runs: &[&Run]| -> Option<Vec<Vec<f64>>> {
                runs.iter().map(|run| run.latencies.get(name).cloned()).collect()
            };
            let (Some(one), Some(two)) = (values(one), values(two)) else { continue };
            for (percentile, q) in QUANTILES {
                let metric = format!("{name}.{percentile}");
                let found =
                    Bootstrap::new(SEED).difference_of_runs(&metric, [&one, &two], q, paired);
                rows.extend(found.map(|found| PooledRow { metric, unit: "ms", found }));
            }
        }
        rows
    }

    /// The change by the baseline: what it is, and both ends of its interval.
    pub fn relative(&self) -> Option<[f64; 3]> {
        let (baseline, interval) = (self.found.baseline.value, self.found.interval?);
        let of = |difference: f64| difference / baseline;
        let all = [self.found.difference(), interval.low, interval.high].map(of);
        (baseline > 0.0).then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn run(seed: u64, latencies: &[f64]) -> Run {
        Run {
            engine: BTreeMap::new(),
            shared: BTreeMap::new(),
            seed,
            digest: None,
            values: BTreeMap::new(),
            latencies: BTreeMap::from([("latency", latencies.to_vec())]),
        }
    }

    #[test]
    fn a_bad_run_counts_with_all_its_requests() {
        let good: Vec<f64> = (0..99).map(f64::from).collect();
        let one = [run(1, &good), run(2, &good), run(3, &[500.0])];
        let doubled: Vec<f64> = good.iter().map(|value| value * 2.0).collect();
        let two = [run(1, &doubled), run(2, &doubled), run(3, &[1_000.0])];
        let of = |runs: &[Run], others: &[Run], pairing| {
            let all = |runs| -> Vec<&Run> { <[Run]>::iter(runs).collect() };
            PooledRow::all(&all(runs), &all(others), pairing)
        };
        let rows = of(&one, &two, Pairing::BySeed);
        let names: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
        assert_eq!(names, ["latency.p50", "latency.p95", "latency.p99"]);
        assert_eq!((rows[0].found.baseline.value, rows[0].found.other.value), (49.0, 98.0));
        assert_eq!(rows[0].found.baseline.drawn_from, 3);
        let [change, low, high] = rows[1].relative().expect("an interval");
        assert!(change == 1.0 && low >= 0.9 && high < 10.0, "{change} {low} {high}");
        assert!(of(&one[..1], &two[..1], Pairing::BySeed).is_empty(), "one run has no interval");
        let without = Run { latencies: BTreeMap::new(), ..run(3, &[]) };
        let two = [two[0].clone(), two[1].clone(), without];
        assert!(of(&one, &two, Pairing::BySeed).is_empty(), "not of all runs");
    }
}
