//! What is kept of the run of a timeline.

use super::{TimelineMeasure, TimelineScenario};
use crate::handover::Handover;
use crate::levels::LevelSeries;
use crate::measure::Latencies;
use crate::recorder::Outcome;
use crate::run::RunOutcome;
use std::time::Duration;

/// What is wanted of a run.
pub(super) struct Wanted<'a> {
    pub(super) panel: &'a TimelineScenario,
    pub(super) window: Duration,
    pub(super) measure: TimelineMeasure,
    pub(super) counters: &'a [String],
}

/// What is kept of a run, or of several of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// For each curve, what was seen in each window: completions or operations, how many; levels, as they
    /// were in its middle.
    pub(super) curves: Vec<Vec<f64>>,
    /// The greatest latency as the engine reports it, in milliseconds.
    pub(super) slowest_ms: f64,
    /// The counters that are asked for, if the engine has them.
    pub(super) counters: Vec<Option<f64>>,
    /// How long partitions stood still that were handed over.
    pub(super) handovers: Latencies,
}

impl Wanted<'_> {
    /// How many windows there are.
    fn windows(&self) -> usize {
        let end = self.panel.end().expect("invariant: it was checked");
        (end.as_nanos() / self.window.as_nanos()) as usize
    }

    /// Orchestrations completed in each window.
    fn completed(&self, outcome: &RunOutcome) -> Vec<f64> {
        let mut completed = vec![0.0; self.windows()];
        let done = outcome.records.iter().filter(|record| record.outcome == Outcome::Completed);
        for record in done {
            let ended = Duration::from_nanos(record.last_updated.as_nanos());
            let since_load = ended.saturating_sub(self.panel.load.settle());
            let index = (since_load.as_nanos() / self.window.as_nanos()) as usize;
            if let Some(slot) = completed.get_mut(index) {
                *slot += 1.0;
            }
        }
        completed
    }

    /// Operations in each window. They are counted by second of the run; a load begins at a whole one, or
    /// what is shown is late by the rest of a second.
    fn operations(&self, outcome: &RunOutcome) -> Vec<f64> {
        let mut operations = vec![0.0; self.windows()];
        let (settle, window) = (self.panel.load.settle().as_secs(), self.window.as_secs());
        for series in outcome.operation_series.iter().filter(|series| series.service != "network") {
            let later = series.per_second.iter().enumerate().skip(settle as usize);
            for (second, count) in later {
                let index = (second as u64 - settle) / window;
                if let Some(slot) = operations.get_mut(index as usize) {
                    *slot += f64::from(*count);
                }
            }
        }
        operations
    }

    /// A level in the middle of each window; nothing before its first report.
    fn level(&self, series: Option<&LevelSeries>) -> Vec<f64> {
        let settle = self.panel.load.settle();
        let middle = |index: usize| settle + self.window * (index as u32) + self.window / 2;
        let at = |instant: Duration| {
            let series = series?;
            let until =
                series.partition_point(|(at, _)| Duration::from_nanos(at.as_nanos()) <= instant);
            until.checked_sub(1).map(|last| series[last].1 as f64)
        };
        (0..self.windows()).map(|index| at(middle(index)).unwrap_or(0.0)).collect()
    }
}

impl Measured {
    pub(super) fn of(outcome: &RunOutcome, wanted: &Wanted<'_>) -> Measured {
        let done = outcome.records.iter().filter(|record| record.outcome == Outcome::Completed);
        let slowest = done.map(|record| record.latency()).max().unwrap_or_default();
        let counter = |name: &String| {
            let found = outcome.counters.iter().find(|(known, _)| known == name);
            found.map(|(_, count)| *count as f64)
        };
        let levels = wanted.panel.levels.iter();
        let level = |name: &String| wanted.level(outcome.levels.get(name.as_str()));
        Measured {
            curves: match wanted.measure {
                TimelineMeasure::Completed => vec![wanted.completed(outcome)],
                TimelineMeasure::Operations => vec![wanted.operations(outcome)],
                TimelineMeasure::Levels => levels.map(level).collect(),
            },
            slowest_ms: slowest.as_secs_f64() * 1e3,
            counters: wanted.counters.iter().map(counter).collect(),
            handovers: outcome.handovers.iter().map(Handover::span).collect(),
        }
    }

    /// The mean of several runs; of latencies, the greatest; of handovers, all.
    pub(super) fn mean(all: &[&Measured]) -> Measured {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / all.len() as f64;
        let curves = all.first().map_or(0, |first| first.curves.len());
        let windows = |curve: usize| all.first().map_or(0, |first| first.curves[curve].len());
        let counters = all.first().map_or(0, |first| first.counters.len());
        Measured {
            curves: (0..curves)
                .map(|curve| {
                    let window = |index| mean(&mut all.iter().map(|one| one.curves[curve][index]));
                    (0..windows(curve)).map(window).collect()
                })
                .collect(),
            slowest_ms: all.iter().map(|one| one.slowest_ms).fold(0.0, f64::max),
            counters: (0..counters)
                .map(|index| {
                    let values: Option<Vec<f64>> =
                        all.iter().map(|one| one.counters[index]).collect();
                    values.map(|values| mean(&mut values.into_iter()))
                })
                .collect(),
            handovers: all.iter().fold(Latencies::default(), |mut merged, one| {
                merged.merge(&one.handovers);
                merged
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_model::time::Timestamp;

    #[test]
    fn a_level_is_read_in_the_middle_of_a_window() {
        let panel = TimelineScenario {
            title: String::new(),
            workload: "waves".parse().expect("a workload"),
            load: "batch:1,settle=10s".parse().expect("a load"),
            hosts: 1,
            host_events: Vec::new(),
            faults: Vec::new(),
            levels: vec!["workers".to_owned()],
            shown: Some("8s".to_owned()),
            only: Vec::new(),
            counters: Vec::new(),
            handovers: false,
        };
        let (window, measure) = (Duration::from_secs(2), TimelineMeasure::Levels);
        let wanted = Wanted { panel: &panel, window, measure, counters: &[] };
        let at = Timestamp::from_millis;
        let series = vec![(at(12_000), 3), (at(13_000), 5), (at(15_500), 1)];
        assert_eq!(wanted.level(Some(&series)), [0.0, 5.0, 5.0, 1.0]);
        assert_eq!(wanted.level(None), [0.0; 4]);
    }
}
