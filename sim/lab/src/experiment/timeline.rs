//! Timelines: rates over time while hosts crash, leave and join, and while other things go wrong.
//!
//! Every panel (a workload, a load, and what happens meanwhile) is run with every series (an engine with
//! settings) under every seed. What is looked at ([`TimelineMeasure`]) is taken in windows of equal length
//! and averaged over the seeds: completed orchestrations, by the engine's time of the last update;
//! operations on storage and event services; or levels that engine and workload report. The table says
//! what the first event cost; it compares with nothing, since no such measurement of the real systems was
//! released. Where it is asked for, it also says how long partitions stood still that were handed over
//! ([`crate::handover`]): percentiles over all handovers of all seeds.

mod cost;
mod drawn;
mod measured;
mod table;

use self::cost::SMOOTHED;
use self::measured::{Measured, Wanted};
use super::runs::{self, Job};
use super::{Experiment, ExperimentOutcome, ResultTable, Series};
use crate::fault::Fault;
use crate::figure::Figure;
use crate::host_event::HostEvent;
use crate::load::LoadSpec;
use crate::progress::Progress;
use crate::run::RunError;
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
    /// What is looked at.
    #[serde(default, skip_serializing_if = "TimelineMeasure::is_default")]
    pub measure: TimelineMeasure,
    /// A run for each.
    pub seeds: Vec<u64>,
    /// Engines and their settings.
    pub series: Vec<Series>,
    /// What happens.
    pub panels: Vec<TimelineScenario>,
}

/// What a timeline looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimelineMeasure {
    /// Completed orchestrations a second.
    #[default]
    Completed,
    /// Operations on storage and event services a second; windows are whole seconds.
    Operations,
    /// Levels, in the middle of each window.
    Levels,
}

impl TimelineMeasure {
    fn is_default(&self) -> bool {
        *self == TimelineMeasure::default()
    }
}

/// A workload, a load, and what happens meanwhile.
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_events: Vec<HostEvent>,
    /// What else goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// The levels that are shown, in a timeline of levels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<String>,
    /// Up to when it is shown, from the start of the load; to the end of the load if nothing is said, which
    /// a batch does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
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

    /// When the first of all that happens begins; `None` if nothing does.
    fn first_event(&self) -> Option<Duration> {
        let hosts = self.host_events.iter().map(|event| event.at);
        hosts.chain(self.faults.iter().map(Fault::at)).min()
    }

    /// Up to when it is shown.
    fn end(&self) -> Result<Duration, SpecError> {
        let Some(shown) = &self.shown else { return Ok(self.load.duration()) };
        let place = || format!("panel {}: shown", self.title);
        span::parse(shown).ok_or_else(|| SpecError::bad(place(), shown, span::EXPECTED))
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
        let levels = self.measure == TimelineMeasure::Levels;
        if asked.first_event().is_none() && !levels {
            return Err(SpecError::bad(place("host_events"), "none", "at least one, or a fault"));
        }
        if levels == asked.levels.is_empty() {
            let expected = "levels in a timeline of levels, and nowhere else";
            return Err(SpecError::bad(place("levels"), asked.levels.len(), expected));
        }
        if !levels && !matches!(asked.load, LoadSpec::Open { .. }) {
            let expected = "an open load: only that goes on at one rate whatever happens";
            return Err(SpecError::bad(place("load"), &asked.load, expected));
        }
        let end = asked.end()?;
        let late = asked.host_events.iter().find(|event| event.at >= end);
        if let Some(late) = late {
            return Err(SpecError::bad(place("host_events"), late, "an instant during the load"));
        }
        if let Some(late) = asked.faults.iter().find(|fault| fault.at() >= end) {
            return Err(SpecError::bad(place("faults"), late, "an instant during the load"));
        }
        let is_whole = window.subsec_nanos() == 0;
        if self.measure == TimelineMeasure::Operations && !is_whole {
            return Err(SpecError::bad("window", &self.window, "whole seconds for operations"));
        }
        let windows = (end.as_nanos() / window.as_nanos()) as u64;
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
            faults: asked.faults.clone(),
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
        let counters: Vec<String> =
            self.experiment.panels.iter().flat_map(|panel| panel.counters.clone()).collect();
        let (measured, rows) =
            runs::carry_out_with(&self.jobs, threads, progress, |job, outcome| {
                let panel = &self.experiment.panels[job.panel];
                let (window, measure) = (self.window, self.experiment.measure);
                Measured::of(outcome, &Wanted { panel, window, measure, counters: &counters })
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
}

/// A panel and a series, and what its runs came to.
struct Line {
    panel: usize,
    series: usize,
    measured: Measured,
}

#[cfg(test)]
mod tests;
