//! The crash matrix: what a crash breaks, by where in an engine's protocol it came.
//!
//! Every scenario (a workload and its load) is run with every version of an engine on every broker, and in
//! each run one host crashes, at one of many instants spread evenly over a window. The engine counts where
//! it was when the host crashed ([`CrashPoint::counter`]); nothing is placed by hand, and runs in which the
//! crash met nothing are left out. What went wrong is what the checks of the run say, whether the engine
//! promises the rule or not: a rule that is broken and not promised is *observed*, and counts here as well;
//! what could not be judged does not.
//!
//! Runs of one scenario and seed are equal up to their crash, so that the number of runs at a point is its
//! share of the window. The table compares with nothing: no such measurement of the real systems exists.

use super::runs::{self, Job, RunRow};
use super::{Experiment, ExperimentOutcome, Matrix, Series};
use crate::figure::{MatrixCell, MatrixFigure, MatrixGroup, MatrixRow, Shade};
use crate::load::LoadSpec;
use crate::progress::Progress;
use crate::run::{RunError, RunOutcome};
use crate::span;
use crate::spec::{RunSpec, SpecError, WorkloadSpec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A crash matrix, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrashMatrixExperiment {
    /// Its name.
    pub name: String,
    /// Stands over the figure.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// The plan of the hosts.
    pub plan: String,
    /// Hosts.
    pub hosts: u32,
    /// Partitions.
    pub partitions: u32,
    /// The profile.
    pub profile: String,
    /// Every crash under each of these seeds.
    pub seeds: Vec<u64>,
    /// The host that crashes.
    pub host: u32,
    /// How long it is away.
    pub down: String,
    /// Where crashes may come; the first whose counter counts is where one came.
    pub points: Vec<CrashPoint>,
    /// The versions of one engine, each a column.
    pub versions: Vec<Series>,
    /// What they are run on, each with a row for every point.
    pub brokers: Vec<Broker>,
    /// What is run.
    pub scenarios: Vec<CrashScenario>,
}

/// A point of an engine's protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrashPoint {
    /// The engine's counter of crashes that came there.
    pub counter: String,
    /// What is interrupted, in a few words.
    pub label: String,
}

/// What versions are run on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Its name in figure and table.
    pub label: String,
    /// Settings besides those of the version, by `engine.key`.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// A workload, and when the host crashes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrashScenario {
    /// Its name in the table.
    pub label: String,
    /// The workload.
    pub workload: WorkloadSpec,
    /// The load.
    pub load: LoadSpec,
    /// The first instant of a crash, counted from the start of the load.
    pub from: String,
    /// Crashes come before this instant.
    pub to: String,
    /// How many crashes there are, evenly spread.
    pub crashes: u32,
}

/// One row of the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashRow {
    /// The scenario.
    pub scenario: String,
    /// The version.
    pub version: String,
    /// The broker.
    pub broker: String,
    /// Where the crash came.
    pub point: String,
    /// Runs in which it came there.
    pub runs: u64,
    /// Those in which every rule held.
    pub clean: u64,
    /// In how many of them each rule was broken, promised or not, by the name of its check.
    pub broken: BTreeMap<String, u64>,
}

impl CrashRow {
    /// Takes a run in, with the checks that it broke.
    fn add(&mut self, broken: &BTreeSet<String>) {
        self.runs += 1;
        self.clean += u64::from(broken.is_empty());
        for check in broken {
            *self.broken.entry(check.clone()).or_default() += 1;
        }
    }
}

/// What a broken rule is called where there is no room for more.
fn word(check: &str) -> &str {
    match check {
        "completion" => "stuck",
        "no-message-lost" => "message lost",
        "exactly-once-steps" => "step doubled",
        "exactly-once-tasks" => "task doubled",
        "serial-instances" => "history forked",
        "causally-consistent-commit" => "effect before cause",
        "fifo-between-instances" => "out of order",
        "results" => "wrong result",
        "entities" => "wrong state",
        other => other,
    }
}

/// The table as CSV: a column for each check that was broken anywhere.
pub(super) fn csv(rows: &[CrashRow]) -> Vec<u8> {
    let checks: BTreeSet<&String> = rows.iter().flat_map(|row| row.broken.keys()).collect();
    let fixed = ["scenario", "version", "broker", "crash_point", "runs", "clean"];
    let heading: Vec<String> =
        fixed.iter().map(ToString::to_string).chain(checks.iter().copied().cloned()).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let memory = "invariant: writing to memory succeeds";
    writer.write_record(&heading).expect(memory);
    for row in rows {
        let words = [&row.scenario, &row.version, &row.broker, &row.point].map(String::clone);
        let numbers = [row.runs, row.clean].map(|number| number.to_string());
        let broken = checks
            .iter()
            .map(|check| row.broken.get(*check).copied().unwrap_or_default().to_string());
        let record: Vec<String> = words.into_iter().chain(numbers).chain(broken).collect();
        writer.write_record(&record).expect(memory);
    }
    writer.into_inner().expect(memory)
}

/// One run: where its crash came, and which rules it broke.
type Observed = (Option<usize>, BTreeSet<String>);

fn observe(points: &[CrashPoint], outcome: &RunOutcome) -> Observed {
    let counted = |point: &CrashPoint| {
        let mut counters = outcome.counters.iter();
        counters.any(|(name, count)| **name == point.counter && *count > 0)
    };
    let broken = outcome.summary.checks.iter().filter(|check| check.is_broken());
    (points.iter().position(counted), broken.map(|check| check.name.clone()).collect())
}

/// Where a run belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    scenario: usize,
    version: usize,
    broker: usize,
}

impl CrashMatrixExperiment {
    /// What all runs have in common, in a few words.
    pub fn setup(&self) -> String {
        let CrashMatrixExperiment { plan, hosts, profile, down, host, .. } = self;
        format!("{hosts} hosts of plan {plan}, profile {profile}, host {host} down for {down}")
    }

    fn span(&self, key: &str, text: &str) -> Result<Duration, SpecError> {
        let place = format!("experiment {}: {key}", self.name);
        span::parse(text).ok_or_else(|| SpecError::bad(place, text, span::EXPECTED))
    }

    /// Checks every run, and that everything that is named exists.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<CheckedCrashMatrix, SpecError> {
        let crashes = self.scenarios.iter().map(|scenario| scenario.crashes as usize);
        let factors = [
            ("seeds", self.seeds.len()),
            ("versions", self.versions.len()),
            ("brokers", self.brokers.len()),
            ("points", self.points.len()),
            ("crashes", crashes.clone().min().unwrap_or_default()),
        ];
        // Points are no factor of the runs.
        runs::check_count(&self.name, &factors[3..4])?;
        let all = [&factors[..3], &[("crashes", crashes.sum::<usize>())]].concat();
        runs::check_count(&self.name, &factors[4..])?;
        runs::check_count(&self.name, &all)?;
        runs::labels(&self.name, &self.versions)?;
        let down = self.span("down", &self.down)?;
        let (mut jobs, mut places) = (Vec::new(), Vec::new());
        for (scenario_index, scenario) in self.scenarios.iter().enumerate() {
            let (from, to) = (self.span("from", &scenario.from)?, self.span("to", &scenario.to)?);
            let window = to.checked_sub(from).filter(|window| !window.is_zero());
            let Some(window) = window else {
                let place = format!("experiment {}: to", self.name);
                return Err(SpecError::bad(place, &scenario.to, "an instant after from"));
            };
            for (version_index, version) in self.versions.iter().enumerate() {
                for (broker_index, broker) in self.brokers.iter().enumerate() {
                    for number in 0..scenario.crashes {
                        let at = from + window * number / scenario.crashes;
                        for seed in &self.seeds {
                            let spec =
                                self.run_spec(scenario, version, broker, (at, down), *seed)?;
                            jobs.push(Job {
                                panel: scenario_index,
                                panel_title: scenario.label.clone(),
                                series: version_index,
                                series_label: format!("{}, {}", version.label, broker.label),
                                spec: spec.check()?,
                            });
                            places.push(Place {
                                scenario: scenario_index,
                                version: version_index,
                                broker: broker_index,
                            });
                        }
                    }
                }
            }
        }
        Ok(CheckedCrashMatrix { experiment: self.clone(), jobs, places })
    }

    fn run_spec(
        &self,
        scenario: &CrashScenario,
        version: &Series,
        broker: &Broker,
        (at, down): (Duration, Duration),
        seed: u64,
    ) -> Result<RunSpec, SpecError> {
        let mut settings = version.settings.clone();
        settings.extend(broker.settings.clone());
        let host = self.host;
        let micros = |span: Duration| span.as_micros();
        let crash = format!("crash:host={host},at={}us,for={}us", micros(at), micros(down));
        Ok(RunSpec {
            engine: version.engine.clone(),
            workload: scenario.workload.clone(),
            load: scenario.load.clone(),
            plan: self.plan.clone(),
            hosts: self.hosts,
            partitions: self.partitions,
            profile: self.profile.clone(),
            seed,
            host_events: Vec::new(),
            autoscale: None,
            faults: vec![crash.parse()?],
            settings,
        })
    }
}

/// A crash matrix whose every run was checked.
#[derive(Clone, Debug)]
pub struct CheckedCrashMatrix {
    experiment: CrashMatrixExperiment,
    jobs: Vec<Job>,
    /// Where each job belongs.
    places: Vec<Place>,
}

impl CheckedCrashMatrix {
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
        let points = &self.experiment.points;
        let (observed, runs) =
            runs::carry_out(&self.jobs, threads, progress, |outcome| observe(points, outcome))?;
        let rows = self.rows(&observed);
        let conclusion = self.conclusion(&rows);
        let failed = runs.iter().filter(|run| !run.failed_checks.is_empty());
        let miss = |run: &RunRow| {
            format!("{}, {}: {} failed", run.panel, run.series, run.failed_checks.join(", "))
        };
        let matrix = Matrix {
            figure: self.figure(&rows),
            csv: csv(&rows),
            files: BTreeMap::from([("runs.csv".to_owned(), runs::runs_csv(&runs))]),
            runs: runs.len() as u64,
            misses: failed.map(miss).collect(),
        };
        Ok(matrix.outcome(Experiment::CrashMatrix(self.experiment.clone()), conclusion))
    }

    /// The rows that have runs, in the order of the experiment.
    fn rows(&self, observed: &[Observed]) -> Vec<CrashRow> {
        let CrashMatrixExperiment { scenarios, versions, brokers, points, .. } = &self.experiment;
        let mut rows: BTreeMap<[usize; 4], CrashRow> = BTreeMap::new();
        for (place, (point, broken)) in self.places.iter().zip(observed) {
            let Some(point) = *point else { continue };
            let key = [place.scenario, place.version, place.broker, point];
            let row = rows.entry(key).or_insert_with(|| CrashRow {
                scenario: scenarios[place.scenario].label.clone(),
                version: versions[place.version].label.clone(),
                broker: brokers[place.broker].label.clone(),
                point: points[point].label.clone(),
                runs: 0,
                clean: 0,
                broken: BTreeMap::new(),
            });
            row.add(broken);
        }
        rows.into_values().collect()
    }

    /// All scenarios together, for a version on a broker and a point; none if no crash came there.
    fn cell(rows: &[CrashRow], version: &str, broker: &str, point: &str) -> Option<CrashRow> {
        let here = rows.iter().filter(|row| {
            (row.version.as_str(), row.broker.as_str(), row.point.as_str())
                == (version, broker, point)
        });
        here.cloned().reduce(|mut all, row| {
            all.runs += row.runs;
            all.clean += row.clean;
            for (check, count) in row.broken {
                *all.broken.entry(check).or_default() += count;
            }
            all
        })
    }

    /// For each version and broker, how many crashes left what went wrong.
    fn conclusion(&self, rows: &[CrashRow]) -> String {
        let CrashMatrixExperiment { versions, brokers, .. } = &self.experiment;
        let mut parts = Vec::new();
        for version in versions {
            for broker in brokers {
                let of = rows
                    .iter()
                    .filter(|row| (&row.version, &row.broker) == (&version.label, &broker.label));
                let (mut runs, mut clean) = (0, 0);
                let mut broken: BTreeMap<&str, u64> = BTreeMap::new();
                for row in of {
                    runs += row.runs;
                    clean += row.clean;
                    for (check, count) in &row.broken {
                        *broken.entry(word(check)).or_default() += count;
                    }
                }
                let broken: Vec<String> =
                    broken.into_iter().map(|(word, count)| format!("{word} {count}")).collect();
                let wrong = match broken.is_empty() {
                    true => "nothing".to_owned(),
                    false => broken.join(", "),
                };
                let (version, broker) = (&version.label, &broker.label);
                parts.push(format!("{version} on {broker}: {clean} of {runs} clean ({wrong})"));
            }
        }
        format!("{}.", parts.join("; "))
    }

    fn figure(&self, rows: &[CrashRow]) -> MatrixFigure {
        let CrashMatrixExperiment { name, title, versions, brokers, points, scenarios, .. } =
            &self.experiment;
        let row = |broker: &Broker, point: &CrashPoint| {
            let cell = |version: &Series| {
                drawn(Self::cell(rows, &version.label, &broker.label, &point.label))
            };
            let label = format!("{}: {}", broker.label, point.label);
            MatrixRow { label, cells: versions.iter().map(cell).collect() }
        };
        let of_broker = |broker| points.iter().map(move |point| (broker, point));
        let all = brokers.iter().flat_map(of_broker);
        let all: Vec<MatrixRow> = all.map(|(broker, point)| row(broker, point)).collect();
        let scenarios: Vec<String> = scenarios
            .iter()
            .map(|scenario| format!("{} ({})", scenario.label, scenario.workload.shown()))
            .collect();
        let caption = format!(
            "Experiment {name}: {}, {}; scenarios {}. Each cell: runs whose crash came there, and in how \
             many of them which rule was broken, promised or not, as the checks of the run say.",
            self.experiment.setup(),
            super::seeds_in_words(&self.experiment.seeds),
            scenarios.join(", ")
        );
        let engine = versions.first().map(|version| version.engine.clone()).unwrap_or_default();
        MatrixFigure {
            title: title.clone(),
            of: "where it was".to_owned(),
            columns: versions.iter().map(|version| version.label.clone()).collect(),
            groups: vec![MatrixGroup { engine, rows: all }],
            shades: [
                (Shade::Good, "every rule held"),
                (Shade::Notable, "broken in less than half of the runs"),
                (Shade::Bad, "broken in half of them or more"),
                (Shade::Plain, "no crash came there"),
            ]
            .map(|(shade, words)| (shade, words.to_owned()))
            .to_vec(),
            caption,
        }
    }
}

/// A cell as it is drawn: the rules that were broken most often first.
fn drawn(row: Option<CrashRow>) -> MatrixCell {
    let Some(row) = row else {
        return MatrixCell { text: String::new(), shade: Shade::Plain };
    };
    let mut broken: Vec<(&String, u64)> =
        row.broken.iter().map(|(check, count)| (check, *count)).collect();
    broken.sort_by_key(|(check, count)| (u64::MAX - count, check.as_str()));
    let broken: Vec<String> =
        broken.into_iter().map(|(check, count)| format!("{} {count}", word(check))).collect();
    let shade = match row.runs - row.clean {
        0 => Shade::Good,
        wrong if wrong * 2 < row.runs => Shade::Notable,
        _ => Shade::Bad,
    };
    let wrong = if broken.is_empty() { "nothing".to_owned() } else { broken.join(", ") };
    MatrixCell { text: format!("{} runs: {wrong}", row.runs), shade }
}

#[cfg(test)]
mod tests {
    use super::super::named;
    use super::*;

    fn embedded() -> CrashMatrixExperiment {
        match named("triggerflow-crashes") {
            Ok(Experiment::CrashMatrix(experiment)) => experiment,
            other => panic!("{other:?}"),
        }
    }

    fn broken(checks: &[&str]) -> BTreeSet<String> {
        checks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn runs_are_counted_where_their_crash_came() {
        let mut experiment = embedded();
        experiment.scenarios.truncate(1);
        experiment.scenarios[0].crashes = 2;
        experiment.versions.truncate(1);
        experiment.brokers.truncate(2);
        experiment.seeds = vec![1];
        let checked = experiment.check().expect("valid");
        assert_eq!(checked.runs(), 4);
        let observed = [
            (Some(1), broken(&["completion"])),
            (Some(1), broken(&[])),
            (None, broken(&["completion"])),
            (Some(0), broken(&["completion", "exactly-once-tasks"])),
        ];
        let rows = checked.rows(&observed);
        let shown: Vec<(&str, u64, u64)> =
            rows.iter().map(|row| (row.broker.as_str(), row.runs, row.clean)).collect();
        let brokers = [&experiment.brokers[0].label, &experiment.brokers[1].label];
        assert_eq!(shown, [(brokers[0].as_str(), 2, 1), (brokers[1].as_str(), 1, 0)]);
        let text = String::from_utf8(csv(&rows)).expect("text");
        let last = text.lines().last().expect("rows");
        assert!(text.starts_with("scenario,version,broker,crash_point,runs,clean,completion,"));
        assert!(last.ends_with(",1,0,1,1"), "{text}");
        let conclusion = checked.conclusion(&rows);
        assert!(conclusion.contains("1 of 2 clean (stuck 1)"), "{conclusion}");
        assert!(conclusion.contains("0 of 1 clean (stuck 1, task doubled 1)"), "{conclusion}");
        let figure = checked.figure(&rows);
        let points = &figure.groups[0].rows;
        assert_eq!(
            (points[0].cells[0].shade, points[1].cells[0].shade),
            (Shade::Plain, Shade::Bad)
        );
        assert_eq!(points[1].cells[0].text, "2 runs: stuck 1");
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let refused = |change: fn(&mut CrashMatrixExperiment)| {
            let mut experiment = embedded();
            change(&mut experiment);
            experiment.check().expect_err("refused").to_string()
        };
        assert!(refused(|all| all.down = "soon".to_owned()).contains("down"));
        assert!(refused(|all| all.scenarios[0].to = "0s".to_owned()).contains("after from"));
        assert!(refused(|all| all.scenarios[0].crashes = 0).contains("crashes"));
        assert!(refused(|all| all.points.clear()).contains("points"));
        assert!(refused(|all| all.host = 9).contains("host"));
    }
}
