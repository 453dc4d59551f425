//! Levels over time: how many of something there were, from instant to instant.
//!
//! Engines report levels (workers, say), and workloads may (active workspaces); a counter says how
//! often, a level how many at a time. A level holds from the instant of its report to the next one. Of
//! several reports at one instant the last counts, and a report that changes nothing is none. Before
//! its first report there is no level: means are over the time from then to the end of the run, each
//! value weighted by how long it held; a value that held for no time at all counts for nothing.
//!
//! Reports are measurements. They take no virtual time and are no part of a run's digest, as counters
//! are not: an engine that begins to report a level still has the digests it had.

use crate::measure::round;
use serde::{Deserialize, Serialize};
use sim_model::time::{Timestamp, nanos};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// The changes of one level: from when on, and the value.
pub type LevelSeries = Vec<(Timestamp, u64)>;

/// A level over a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelSummary {
    /// The lowest value that held for any time.
    pub min: u64,
    /// The mean, each value weighted by how long it held.
    pub mean: f64,
    /// The highest value that held for any time.
    pub max: u64,
}

/// Where levels are reported. Cloning shares the record.
#[derive(Clone, Debug, Default)]
pub(crate) struct LevelRecorder(Rc<RefCell<BTreeMap<&'static str, LevelSeries>>>);

impl LevelRecorder {
    /// `value` of `what` from `at` on.
    pub(crate) fn report(&self, at: Timestamp, what: &'static str, value: u64) {
        let mut levels = self.0.borrow_mut();
        let series = levels.entry(what).or_default();
        if let Some((last, _)) = series.last() {
            assert!(*last <= at, "level {what:?} was reported for {at} after {last}");
        }
        series.pop_if(|(last, _)| *last == at);
        if series.last().is_none_or(|(_, held)| *held != value) {
            series.push((at, value));
        }
    }

    /// Everything that was reported up to `end`, by name, where there is anything.
    pub(crate) fn take(&self, end: Timestamp) -> BTreeMap<&'static str, LevelSeries> {
        let mut levels = self.0.take();
        levels.values_mut().for_each(|series| series.retain(|(at, _)| *at <= end));
        levels.retain(|_, series| !series.is_empty());
        levels
    }
}

/// The level over the time from its first report to `end`.
///
/// # Panics
/// If nothing was reported, or something after `end`.
pub(crate) fn summarize(series: &[(Timestamp, u64)], end: Timestamp) -> LevelSummary {
    let [(first, only), ..] = series else { panic!("a level without a report") };
    let ends = series.iter().skip(1).map(|(at, _)| *at).chain([end]);
    let held: Vec<(u64, Duration)> =
        series.iter().zip(ends).map(|((at, value), until)| (*value, until.since(*at))).collect();
    let total = end.since(*first);
    if total.is_zero() {
        return LevelSummary { min: *only, mean: *only as f64, max: *only };
    }
    let weighted = held.iter().map(|(value, span)| u128::from(*value) * u128::from(nanos(*span)));
    let mean = weighted.sum::<u128>() as f64 / nanos(total) as f64;
    let lasting = || held.iter().filter(|(_, span)| !span.is_zero()).map(|(value, _)| *value);
    LevelSummary {
        min: lasting().min().unwrap_or(*only),
        mean: round(mean, 6),
        max: lasting().max().unwrap_or(*only),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_level_is_the_list_of_its_changes() {
        let levels = LevelRecorder::default();
        for (millis, value) in [(1, 0), (2, 3), (2, 1), (4, 1), (6, 2), (6, 1), (7, 0)] {
            levels.report(at(millis), "workers", value);
        }
        levels.report(at(9), "pages", 1);
        let taken = levels.take(at(8));
        // 3 held for no time; 2 was taken back at once, so that nothing changed at 6 ms.
        assert_eq!(taken, [("workers", vec![(at(1), 0), (at(2), 1), (at(7), 0)])].into());
        assert!(levels.take(at(8)).is_empty());
    }

    #[test]
    fn values_weigh_by_how_long_they_held() {
        let series = [(at(10), 4), (at(20), 0), (at(50), 10)];
        let expected = LevelSummary { min: 0, mean: (4.0 * 10.0 + 10.0 * 40.0) / 80.0, max: 10 };
        assert_eq!(summarize(&series, at(90)), expected);
        let cut = summarize(&series, at(50));
        assert_eq!(cut, LevelSummary { min: 0, mean: 1.0, max: 4 }, "10 held for no time");
        let none = summarize(&series[..1], at(10));
        assert_eq!(none, LevelSummary { min: 4, mean: 4.0, max: 4 });
    }
}
