//! From a recording to figures: percentiles, throughput, mean breakdown.
//!
//! - **Latency** of an orchestration is last update minus creation, as the engine keeps them;
//!   client latency is intended start to answer.
//! - **Percentiles** come from an HDR histogram in nanoseconds with 3 significant digits, from
//!   1 us to 1 h: values are off by less than 0.1 %, and never above the true maximum.
//! - **Throughput** is what the published benchmark defines: completed orchestrations by the time
//!   from the earliest creation to the latest update. Without any duration there is no throughput.
//!   It is also given in the workload's own unit, such as signals or words.
//!
//! What is said of orchestrations holds for jobs. Only those that completed count. Units: milliseconds, orchestrations a second.

use crate::recorder::{Outcome, Record};
use crate::summary::Work;
use crate::workload::Unit;
use hdrhistogram::Histogram;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use sim_model::ledger::{Category, Timing};
use sim_model::time::nanos;
use std::time::Duration;

/// Shortest latency that is told from zero, in nanoseconds.
const LATENCY_NANOS_MIN: u64 = 1_000;
/// Longest latency that is told from longer ones: one hour, in nanoseconds.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Percentiles of a latency in milliseconds; all absent if nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Percentiles {
    /// Median.
    pub p50: Option<f64>,
    /// 90 in 100 are at most this.
    pub p90: Option<f64>,
    /// 95 in 100 are at most this.
    pub p95: Option<f64>,
    /// 99 in 100 are at most this.
    pub p99: Option<f64>,
    /// 999 in 1000 are at most this.
    pub p99_9: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

/// A distribution of latencies. Two of them merge exactly.
#[derive(Clone, Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
    /// The longest, exactly: the histogram rounds its own up.
    longest: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        let bounds = "invariant: the bounds are those of a histogram";
        let histogram =
            Histogram::new_with_bounds(LATENCY_NANOS_MIN, LATENCY_NANOS_MAX, SIGNIFICANT_DIGITS);
        Latencies { histogram: histogram.expect(bounds), longest: Duration::ZERO }
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<T: IntoIterator<Item = Duration>>(spans: T) -> Latencies {
        let mut latencies = Latencies::default();
        spans.into_iter().for_each(|span| latencies.record(span));
        latencies
    }
}

impl Latencies {
    /// Adds one latency; in percentiles below the maximum, more than an hour counts as an hour.
    pub fn record(&mut self, latency: Duration) {
        self.histogram.saturating_record(nanos(latency));
        self.longest = self.longest.max(latency);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Latencies) {
        self.histogram.add(&other.histogram).expect("invariant: histograms of one shape merge");
        self.longest = self.longest.max(other.longest);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The latency in milliseconds that the fraction `quantile` does not exceed.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        if self.histogram.is_empty() {
            return None;
        }
        let nanos = if quantile >= 1.0 {
            nanos(self.longest)
        } else {
            self.exact_at_most(self.histogram.value_at_quantile(quantile))
        };
        Some(round(nanos as f64 / 1e6, 3))
    }

    /// The longest latency in milliseconds.
    pub fn max_ms(&self) -> Option<f64> {
        self.quantile_ms(1.0)
    }

    fn exact_at_most(&self, nanos_of_bucket: u64) -> u64 {
        nanos_of_bucket.min(nanos(self.longest))
    }

    /// The fraction that is longer than `bound`, to the histogram's resolution.
    pub fn fraction_above(&self, bound: Duration) -> Option<f64> {
        if self.histogram.is_empty() {
            return None;
        }
        let up_to = self.histogram.count_between(0, nanos(bound));
        Some(round(1.0 - up_to as f64 / self.histogram.len() as f64, 6))
    }

    /// The percentiles of reports.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50: self.quantile_ms(0.5),
            p90: self.quantile_ms(0.9),
            p95: self.quantile_ms(0.95),
            p99: self.quantile_ms(0.99),
            p99_9: self.quantile_ms(0.999),
            max: self.max_ms(),
        }
    }

    /// The distribution as points (latency in milliseconds, fraction at most as long), ascending:
    /// one for each value that was recorded, to the histogram's resolution.
    pub fn points(&self) -> Vec<(f64, f64)> {
        let total = self.histogram.len() as f64;
        let mut so_far = 0;
        self.histogram
            .iter_recorded()
            .map(|bucket| {
                so_far += bucket.count_since_last_iteration();
                let nanos = self.exact_at_most(bucket.value_iterated_to());
                (nanos as f64 / 1e6, so_far as f64 / total)
            })
            .collect()
    }
}

fn completed(records: &[Record]) -> impl Iterator<Item = &Record> {
    records.iter().filter(|record| record.outcome == Outcome::Completed)
}

/// Latencies as the engine reports them.
pub fn engine_latencies(records: &[Record]) -> Latencies {
    let mut latencies = Latencies::default();
    completed(records).for_each(|record| latencies.record(record.latency()));
    latencies
}

/// Latencies as clients see them.
pub fn client_latencies(records: &[Record]) -> Latencies {
    let mut latencies = Latencies::default();
    let measured = completed(records).filter_map(|record| record.client_latency);
    measured.for_each(|latency| latencies.record(latency));
    latencies
}

/// Completed orchestrations a second, from the earliest creation to the latest update.
pub fn throughput_per_s(records: &[Record]) -> Option<f64> {
    work(records, Unit::orchestrations()).per_s
}

/// What completed in this unit, and how much a second, from the earliest creation to the latest
/// update.
pub fn work(records: &[Record], unit: Unit) -> Work {
    let total = completed(records).count() as f64 * unit.per_orchestration;
    let duration = || {
        let first = completed(records).map(|record| record.created).min()?;
        let last = completed(records).map(|record| record.last_updated).max()?;
        Some(last.since(first)).filter(|duration| !duration.is_zero())
    };
    let per_s = duration().map(|duration| round(total / duration.as_secs_f64(), 3));
    Work { unit: unit.name.to_owned(), total: round(total, 3), per_s }
}

/// The mean time for each category in milliseconds; together they are the mean latency. Absent if
/// nothing that completed has a breakdown.
pub fn mean_breakdown_ms(records: &[Record]) -> Option<IndexMap<String, f64>> {
    let (mut sum, mut count) = (Timing::default(), 0_u64);
    for timing in completed(records).filter_map(|record| record.timing.as_ref()) {
        sum.merge(timing);
        count += 1;
    }
    let mean = |category| round(nanos(sum.get(category)) as f64 / count as f64 / 1e6, 6);
    let named = |category: Category| (category.name().to_owned(), mean(category));
    (count > 0).then(|| Category::ALL.map(named).into_iter().collect())
}

/// `value` rounded to `digits` after the point: what is written has the same bytes everywhere.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_model::time::Timestamp;

    fn record(created_ms: u64, last_updated_ms: u64) -> Record {
        let (created, last_updated) =
            (Timestamp::from_millis(created_ms), Timestamp::from_millis(last_updated_ms));
        let timing = Some(Timing::of(Category::Cpu, last_updated.since(created)));
        Record { created, last_updated, timing, outcome: Outcome::Completed, ..Record::default() }
    }

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let records: Vec<_> = (1..=1_000).map(|ms| record(0, ms)).collect();
        let percentiles = engine_latencies(&records).percentiles();
        for (found, exact) in [
            (percentiles.p50, 500.0),
            (percentiles.p90, 900.0),
            (percentiles.p99, 990.0),
            (percentiles.max, 1_000.0),
        ] {
            let found = found.expect("measured");
            assert!((found - exact).abs() <= exact / 1_000.0, "{found} instead of {exact}");
        }
        assert_eq!(percentiles.max, Some(1_000.0), "never above the true maximum");
    }

    #[test]
    fn nothing_measured_is_no_number() {
        assert_eq!(engine_latencies(&[]).percentiles(), Percentiles::default());
        assert_eq!(throughput_per_s(&[]), None);
        assert_eq!(throughput_per_s(&[record(5, 5)]), None, "a zero duration");
        assert_eq!(mean_breakdown_ms(&[]), None);
        let job = Record { timing: None, ..record(0, 5) };
        assert_eq!(mean_breakdown_ms(&[job]), None, "a job");
        let running = Record { outcome: Outcome::Running, ..record(0, 5) };
        assert_eq!(engine_latencies(&[running]).count(), 0);
    }

    #[test]
    fn zero_latency_stays_zero() {
        assert_eq!(engine_latencies(&[record(5, 5)]).quantile_ms(0.5), Some(0.0));
    }

    #[test]
    fn throughput_runs_from_the_first_creation_to_the_last_update() {
        let records = [record(1_000, 1_500), record(1_100, 3_000)];
        assert_eq!(throughput_per_s(&records), Some(1.0));
        let failed = Record { outcome: Outcome::Failed, ..record(0, 9_000) };
        assert_eq!(throughput_per_s(&[records[0], records[1], failed]), Some(1.0));
    }

    #[test]
    fn the_breakdown_sums_to_the_mean_latency() {
        let job = Record { timing: None, ..record(0, 100) };
        let records = [record(0, 10), job, record(0, 20)];
        let breakdown = mean_breakdown_ms(&records).expect("two have a breakdown");
        assert_eq!(breakdown.len(), Category::COUNT);
        assert_eq!(breakdown["cpu"], 15.0);
        assert_eq!(breakdown.values().sum::<f64>(), 15.0);
    }

    #[test]
    fn points_are_a_distribution() {
        let points = engine_latencies(&[record(0, 10), record(0, 10), record(0, 20)]).points();
        assert_eq!(points.len(), 2);
        assert!(points.is_sorted());
        assert_eq!(points[1], (20.0, 1.0));
        let above = engine_latencies(&[record(0, 10), record(0, 3_000)]);
        assert_eq!(above.fraction_above(Duration::from_secs(2)), Some(0.5));
    }
}
