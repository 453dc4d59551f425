//! Timelines: rates over time while hosts crash, leave and join.
//!
//! Every panel (a workload, a load, and what happens to hosts) is run with every series (an engine with
//! settings) under every seed. Completed orchestrations are counted in windows of equal length, by the
//! engine's time of the last update, and averaged over the seeds. The table says what the first event
//! cost; it compares with nothing, since no such measurement of the real systems was released. Where it is
//! asked for, it also says how long partitions stood still that were handed over ([`crate::handover`]):
//! percentiles over all handovers of all seeds.

mod cost;

use self::cost::{Cost, SMOOTHED};
use super::runs::{self, Job};
use super::{Experiment, ExperimentOutcome, ResultTable, Row, Series, Unit};
use crate::figure::{Figure, TimelineBand, TimelineCurve, TimelineFigure, TimelinePanel};
use crate::handover::Handover;
use crate::host_event::{HostChange, HostEvent};
use crate::load::LoadSpec;
use crate::measure::{self, Latencies};
use crate::progress::Progress;
use crate::recorder::Outcome;
use crate::run::{RunError, RunOutcome};
use crate::span;
use crate::spec::{RunSpec, SpecError, WorkloadSpec};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most windows of a panel.
const WINDOWS_MAX: u64 = 20_000;

/// A timeline experiment, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimelineExperiment {
    /// Its name.
    pub name: String,
    /// Stands over the figure.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// The plan of the hosts.
    pub plan: String,
    /// Partitions.
    pub partitions: u32,
    /// The profile.
    pub profile: String,
    /// Length of a window in which completions are counted.
    pub window: String,
    /// A run for each.
    pub seeds: Vec<u64>,
    /// Engines and their settings.
    pub series: Vec<Series>,
    /// What happens.
    pub panels: Vec<TimelineScenario>,
}

/// A workload, a load, and what happens to hosts meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimelineScenario {
    /// Stands over the panel.
    pub title: String,
    /// The workload.
    pub workload: WorkloadSpec,
    /// The load.
    pub load: LoadSpec,
    /// Hosts, those that join later among them.
    pub hosts: u32,
    /// What happens to them.
    pub host_events: Vec<HostEvent>,
    /// The series that are run; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Counters of the engines that stand in the table, where an engine has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<String>,
    /// Whether the table says how long partitions stood still that were handed over.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub handovers: bool,
}

impl TimelineScenario {
    fn runs(&self, series: &Series) -> bool {
        self.only.is_empty() || self.only.contains(&series.label)
    }

    fn first_event(&self) -> Duration {
        self.host_events.iter().map(|event| event.at).min().unwrap_or_default()
    }
}

impl TimelineExperiment {
    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        let TimelineExperiment { plan, partitions, profile, window, .. } = self;
        format!("plan {plan}, {partitions} partitions, profile {profile}, windows of {window}")
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedTimeline, SpecError> {
        let window = span::parse(&self.window).filter(|window| !window.is_zero());
        let window =
            window.ok_or_else(|| SpecError::bad("window", &self.window, span::EXPECTED))?;
        let factors = [
            ("seeds", self.seeds.len()),
            ("series", self.series.len()),
            ("panels", self.panels.len()),
        ];
        runs::check_count(&self.name, &factors)?;
        let labels = runs::labels(&self.name, &self.series)?;
        let mut jobs = Vec::new();
        for (panel, asked) in self.panels.iter().enumerate() {
            self.check_panel(asked, window)?;
            runs::check_labels(&format!("panel {}", asked.title), &asked.only, &labels)?;
            let wanted = self.series.iter().enumerate().filter(|(_, series)| asked.runs(series));
            for (series, variant) in wanted {
                for seed in &self.seeds {
                    let spec = self.run_spec(asked, variant, *seed).check()?;
                    let (panel_title, series_label) = (asked.title.clone(), variant.label.clone());
                    jobs.push(Job { panel, panel_title, series, series_label, spec });
                }
            }
        }
        Ok(CheckedTimeline { experiment: self.clone(), window, jobs })
    }

    fn check_panel(&self, asked: &TimelineScenario, window: Duration) -> Result<(), SpecError> {
        let place = |what: &str| format!("panel {}: {what}", asked.title);
        if asked.host_events.is_empty() {
            return Err(SpecError::bad(place("host_events"), "none", "at least one"));
        }
        let LoadSpec::Open { duration, .. } = asked.load else {
            let expected = "an open load: only that goes on at one rate whatever happens";
            return Err(SpecError::bad(place("load"), &asked.load, expected));
        };
        let late = asked.host_events.iter().find(|event| event.at >= duration);
        if let Some(late) = late {
            return Err(SpecError::bad(place("host_events"), late, "an instant during the load"));
        }
        let windows = (duration.as_nanos() / window.as_nanos()) as u64;
        if !(SMOOTHED as u64..=WINDOWS_MAX).contains(&windows) {
            let expected = format!("{SMOOTHED} to {WINDOWS_MAX} windows in the load");
            return Err(SpecError::bad(place("window"), windows, expected));
        }
        Ok(())
    }

    fn run_spec(&self, asked: &TimelineScenario, series: &Series, seed: u64) -> RunSpec {
        RunSpec {
            engine: series.engine.clone(),
            workload: asked.workload.clone(),
            load: asked.load.clone(),
            plan: self.plan.clone(),
            hosts: asked.hosts,
            partitions: self.partitions,
            profile: self.profile.clone(),
            seed,
            host_events: asked.host_events.clone(),
            autoscale: None,
            faults: Vec::new(),
            settings: series.settings.clone(),
        }
    }
}

/// A timeline experiment whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedTimeline {
    experiment: TimelineExperiment,
    window: Duration,
    jobs: Vec<Job>,
}

/// What is kept of a run, or of several of them.
#[derive(Clone, Debug, Default)]
struct Measured {
    /// Orchestrations completed in each window of the load.
    completed: Vec<f64>,
    /// The greatest latency as the engine reports it, in milliseconds.
    slowest_ms: f64,
    /// The counters that are asked for, if the engine has them.
    counters: Vec<Option<f64>>,
    /// How long partitions stood still that were handed over.
    handovers: Latencies,
}

impl Measured {
    fn of(
        outcome: &RunOutcome,
        window: Duration,
        counters: &[String],
        load: &LoadSpec,
    ) -> Measured {
        let count = (load.duration().as_nanos() / window.as_nanos()) as usize;
        let mut completed = vec![0.0; count];
        let done = outcome.records.iter().filter(|record| record.outcome == Outcome::Completed);
        let mut slowest = Duration::ZERO;
        for record in done {
            slowest = slowest.max(record.latency());
            let ended = Duration::from_nanos(record.last_updated.as_nanos());
            let since_load = ended.saturating_sub(load.settle());
            let index = (since_load.as_nanos() / window.as_nanos()) as usize;
            if let Some(slot) = completed.get_mut(index) {
                *slot += 1.0;
            }
        }
        let counter = |name: &String| {
            let found = outcome.counters.iter().find(|(known, _)| known == name);
            found.map(|(_, count)| *count as f64)
        };
        Measured {
            completed,
            slowest_ms: slowest.as_secs_f64() * 1e3,
            counters: counters.iter().map(counter).collect(),
            handovers: outcome.handovers.iter().map(Handover::span).collect(),
        }
    }

    /// The mean of several runs; of latencies, the greatest; of handovers, all.
    fn mean(all: &[&Measured]) -> Measured {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / all.len() as f64;
        let windows = all.first().map_or(0, |first| first.completed.len());
        let counters = all.first().map_or(0, |first| first.counters.len());
        Measured {
            completed: (0..windows)
                .map(|index| mean(&mut all.iter().map(|one| one.completed[index])))
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

impl CheckedTimeline {
    /// How many runs there are.
    pub fn runs(&self) -> usize {
        self.jobs.len()
    }

    /// Carries out all runs on `threads` threads, or as many as there are cores. The outcome does
    /// not depend on their number.
    ///
    /// # Errors
    /// The error of the first run, in their order, that could not be carried out.
    ///
    /// # Panics
    /// If the system has no room for the threads.
    pub fn run(
        &self,
        threads: Option<usize>,
        progress: &Progress,
    ) -> Result<ExperimentOutcome, RunError> {
        // Which panel a run is of follows from its specification; what is kept of it needs no more.
        let window = self.window;
        let counters: Vec<String> =
            self.experiment.panels.iter().flat_map(|panel| panel.counters.clone()).collect();
        let measure =
            |outcome: &RunOutcome, load: &LoadSpec| Measured::of(outcome, window, &counters, load);
        let (measured, rows) =
            runs::carry_out_with(&self.jobs, threads, progress, |job, outcome| {
                measure(outcome, &job.spec.spec().load)
            })?;
        let mut lines = Vec::new();
        for panel in 0..self.experiment.panels.len() {
            for series in 0..self.experiment.series.len() {
                let of_line = self.jobs.iter().zip(&measured);
                let of_line = of_line.filter(|(job, _)| (job.panel, job.series) == (panel, series));
                let all: Vec<&Measured> = of_line.map(|(_, measured)| measured).collect();
                if !all.is_empty() {
                    lines.push(Line { panel, series, measured: Measured::mean(&all) });
                }
            }
        }
        let figure = Figure::Timeline(self.figure(&lines));
        Ok(ExperimentOutcome {
            experiment: Experiment::Timeline(self.experiment.clone()),
            figures: vec![super::drawn(&self.experiment.name, figure)],
            table: ResultTable::Comparison(
                lines.iter().flat_map(|line| self.rows(line, &counters)).collect(),
            ),
            conclusion: None,
            runs: rows,
        })
    }

    fn rows(&self, line: &Line, counters: &[String]) -> Vec<Row> {
        let asked = &self.experiment.panels[line.panel];
        let window = self.window.as_secs_f64();
        let event = (asked.first_event().as_nanos() / self.window.as_nanos()) as usize;
        let cost = Cost::of(&line.measured.completed, event);
        let row = |metric: &str, unit, simulated: Option<f64>| Row {
            panel: asked.title.clone(),
            series: self.experiment.series[line.series].label.clone(),
            metric: metric.to_owned(),
            unit,
            simulated: simulated.map(|value| measure::round(value, 3)),
            measured: None,
        };
        let mut rows = vec![
            row("before, per s", Unit::PerSecond, Some(cost.before / window)),
            row("lowest, per s", Unit::PerSecond, Some(cost.lowest / window)),
            row("without any, s", Unit::Seconds, Some(cost.gap as f64 * window)),
            row("until back, s", Unit::Seconds, cost.recovered.map(|after| after as f64 * window)),
            row("slowest, ms", Unit::Milliseconds, Some(line.measured.slowest_ms)),
        ];
        for (name, value) in counters.iter().zip(&line.measured.counters) {
            if asked.counters.contains(name) && value.is_some() {
                rows.push(row(&name.replace('_', " "), Unit::Count, *value));
            }
        }
        if asked.handovers {
            let spans = &line.measured.handovers;
            let for_each_seed = spans.count() as f64 / self.experiment.seeds.len() as f64;
            rows.push(row("handovers", Unit::Count, Some(for_each_seed)));
            for (metric, quantile) in [
                ("partition still p50, ms", 0.5),
                ("partition still p95, ms", 0.95),
                ("partition still longest, ms", 1.0),
            ] {
                rows.push(row(metric, Unit::Milliseconds, spans.quantile_ms(quantile)));
            }
        }
        rows
    }

    fn figure(&self, lines: &[Line]) -> TimelineFigure {
        let TimelineExperiment { panels, series, .. } = &self.experiment;
        let window = self.window.as_secs_f64();
        let curve = |line: &Line| {
            let points = line.measured.completed.iter().enumerate();
            let variant = &series[line.series];
            TimelineCurve {
                label: variant.label.clone(),
                engine: variant.engine.clone(),
                stroke: variant.stroke(),
                points: points
                    .map(|(index, completed)| ((index as f64 + 0.5) * window, completed / window))
                    .collect(),
            }
        };
        let panel = |(index, asked): (usize, &TimelineScenario)| TimelinePanel {
            title: asked.title.clone(),
            end: asked.load.duration().as_secs_f64(),
            curves: lines.iter().filter(|line| line.panel == index).map(curve).collect(),
            bands: bands(&asked.host_events),
        };
        TimelineFigure {
            title: self.experiment.title.clone(),
            unit: "orchestrations".to_owned(),
            panels: panels.iter().enumerate().map(panel).collect(),
            caption: self.caption(lines),
        }
    }

    fn caption(&self, lines: &[Line]) -> String {
        let TimelineExperiment { name, seeds, panels, .. } = &self.experiment;
        let handed_over: Vec<String> = lines.iter().filter_map(|line| self.stood(line)).collect();
        let handed_over = match &handed_over[..] {
            [] => String::new(),
            all => {
                format!(" A partition that went to another host stood still: {}.", all.join("; "))
            }
        };
        let loads: Vec<String> = panels
            .iter()
            .map(|panel| format!("{}: {}, {}", panel.title, panel.workload, panel.load))
            .collect();
        format!(
            "Experiment {name}: {}, {}. {}. Completed orchestrations, mean of the seeds; shaded: what \
             happens to hosts.{handed_over}",
            self.experiment.setup(),
            super::seeds_in_words(seeds),
            loads.join("; ")
        )
    }

    /// How long partitions stood still that were handed over, in words.
    fn stood(&self, line: &Line) -> Option<String> {
        let spans = &line.measured.handovers;
        let seconds =
            |quantile| spans.quantile_ms(quantile).map(|span| format!("{:.1}", span / 1e3));
        if !self.experiment.panels[line.panel].handovers {
            return None;
        }
        Some(format!(
            "{} median {} s, 95 of 100 at most {} s, longest {} s ({} times)",
            self.experiment.series[line.series].label,
            seconds(0.5)?,
            seconds(0.95)?,
            seconds(1.0)?,
            spans.count()
        ))
    }
}

/// A panel and a series, and what its runs came to.
struct Line {
    panel: usize,
    series: usize,
    measured: Measured,
}

/// What is shaded. Events at one instant are one band.
fn bands(events: &[HostEvent]) -> Vec<TimelineBand> {
    let mut sorted: Vec<&HostEvent> = events.iter().collect();
    sorted.sort_by_key(|event| (event.at, event.host));
    let same = |one: &&HostEvent, other: &&HostEvent| {
        (one.at, one.end(), name(one)) == (other.at, other.end(), name(other))
    };
    let band = |group: &[&HostEvent]| TimelineBand {
        from: group[0].at.as_secs_f64(),
        to: group[0].end().as_secs_f64(),
        label: match group {
            [one] => format!("host {} {}", one.host, name(one)),
            several => {
                format!("{} hosts {}", several.len(), name(several[0]).trim_end_matches('s'))
            }
        },
    };
    sorted.chunk_by(same).map(band).collect()
}

fn name(event: &HostEvent) -> &'static str {
    match event.change {
        HostChange::Crash(_) | HostChange::PowerLoss(_) => "down",
        HostChange::Pause(_) => "paused",
        HostChange::Leave => "leaves",
        HostChange::Join => "joins",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_at_one_instant_are_one_band() {
        let events: Vec<HostEvent> =
            ["join:host=2,at=1m", "join:host=3,at=1m", "crash:host=0,at=10s,for=5s"]
                .map(|text| text.parse().expect(text))
                .to_vec();
        let shaded = bands(&events);
        let labels: Vec<&str> = shaded.iter().map(|band| band.label.as_str()).collect();
        assert_eq!(labels, ["host 0 down", "2 hosts join"]);
        assert_eq!((shaded[0].from, shaded[0].to), (10.0, 15.0));
    }
}
