//! What a run of a sweep came to, written down so that damage shows.
//!
//! A record has the verdict, the numbers of `runs.csv` as text, and a hash of each file of the run; its
//! seal is the hash over all that. A record whose seal, or one of whose files, does not fit counts as
//! missing.

use super::Planned;
use crate::checks::Verdict;
use crate::results;
use crate::run::{RunError, RunOutcome};
use crate::summary::Summary;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No check failed.
    Passed,
    /// A check failed.
    Failed,
    /// It had nothing left to do, or reached its limit of virtual time.
    Stuck,
    /// An invariant broke: a fault of the simulator.
    Panicked,
    /// The engine cannot carry it.
    Refused,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 5] =
        [Outcome::Passed, Outcome::Failed, Outcome::Stuck, Outcome::Panicked, Outcome::Refused];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Stuck => "stuck",
            Outcome::Panicked => "panicked",
            Outcome::Refused => "refused",
        }
    }

    /// Whether the run did not come to its end.
    pub fn broke_off(self) -> bool {
        matches!(self, Outcome::Stuck | Outcome::Panicked)
    }

    /// Whether it is to be looked at: a check failed, or the run broke off.
    pub fn is_failure(self) -> bool {
        self == Outcome::Failed || self.broke_off()
    }
}

/// A number of a run.
pub(super) struct Metric {
    /// Its name in tables; ends with its unit.
    pub(super) name: &'static str,
    /// Whether the table of cells has it.
    pub(super) in_cells: bool,
    of: fn(&Summary) -> Option<f64>,
}

/// The numbers of a run, in the order of the columns.
pub(super) const METRICS: [Metric; 17] = [
    metric("started", false, |run| Some(run.orchestrations.started as f64)),
    metric("completed", true, |run| Some(run.orchestrations.completed as f64)),
    metric("virtual_seconds", false, |run| Some(run.virtual_seconds)),
    metric("throughput_per_s", true, |run| run.throughput_per_s),
    metric("work_per_s", false, |run| run.work.per_s),
    metric("p50_ms", true, |run| run.latency_ms.p50),
    metric("p90_ms", false, |run| run.latency_ms.p90),
    metric("p95_ms", true, |run| run.latency_ms.p95),
    metric("p99_ms", true, |run| run.latency_ms.p99),
    metric("p99_9_ms", false, |run| run.latency_ms.p99_9),
    metric("max_ms", true, |run| run.latency_ms.max),
    metric("client_p50_ms", true, |run| run.client_latency_ms.and_then(|latency| latency.p50)),
    metric("client_p95_ms", true, |run| run.client_latency_ms.and_then(|latency| latency.p95)),
    metric("client_p99_ms", true, |run| run.client_latency_ms.and_then(|latency| latency.p99)),
    metric("operations_per_orchestration", true, |run| run.operations_per_orchestration),
    metric("cost_usd", true, |run| Some(run.cost_usd)),
    metric("usd_per_million", true, |run| {
        let completed = run.orchestrations.completed;
        (completed > 0).then(|| crate::measure::round(run.cost_usd * 1e6 / completed as f64, 6))
    }),
];

const fn metric(name: &'static str, in_cells: bool, of: fn(&Summary) -> Option<f64>) -> Metric {
    Metric { name, in_cells, of }
}

/// What is written down of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The run's key.
    pub key: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What more there is to say: the checks that failed, or why it broke off.
    pub detail: String,
    /// The digest of the run; empty if it did not come to its end.
    pub digest: String,
    /// Numbers by their names.
    pub measured: BTreeMap<String, String>,
    /// The hash of each of its files, by name.
    pub files: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    record: Record,
    seal: String,
}

/// What came back from the thread of a run.
pub(super) type Ended = Result<Result<RunOutcome, RunError>, Box<dyn Any + Send>>;

impl Record {
    /// The record of a run, whose files are these.
    pub(super) fn of(run: &Planned, ended: &Ended, files: &BTreeMap<String, Vec<u8>>) -> Record {
        let (outcome, detail) = judge(ended);
        let summary = match ended {
            Ok(Ok(outcome)) => Some(&outcome.summary),
            _ => None,
        };
        let numbers = METRICS.iter().filter_map(|metric| {
            let value = (metric.of)(summary?)?;
            Some((metric.name.to_owned(), value.to_string()))
        });
        let hash = |content: &[u8]| blake3::hash(content).to_hex()[..32].to_owned();
        let files = files.iter().map(|(name, content)| (name.clone(), hash(content)));
        Record {
            key: run.key.clone(),
            outcome,
            detail,
            digest: summary.map(|summary| summary.digest.clone()).unwrap_or_default(),
            measured: numbers.collect(),
            files: files.collect(),
        }
    }

    /// The record as a file.
    pub(super) fn to_json(&self) -> String {
        let sealed = Sealed { record: self.clone(), seal: self.seal() };
        let text = serde_json::to_string_pretty(&sealed);
        text.expect("invariant: a record has a JSON form") + "\n"
    }

    fn seal(&self) -> String {
        let text = serde_json::to_vec(self).expect("invariant: a record has a JSON form");
        blake3::hash(&text).to_hex()[..32].to_owned()
    }

    /// The record of the run with this key, if the text is one and is intact.
    pub(super) fn from_json(text: &[u8], key: &str) -> Option<Record> {
        let Sealed { record, seal } = serde_json::from_slice(text).ok()?;
        (record.key == key && record.seal() == seal).then_some(record)
    }

    /// Whether all files of the run are there and are what they were.
    pub(super) fn fits(&self, folder: &Path) -> bool {
        self.files.iter().all(|(name, expected)| {
            let content = fs::read(folder.join(name));
            content.is_ok_and(|content| blake3::hash(&content).to_hex()[..32] == **expected)
        })
    }
}

fn judge(ended: &Ended) -> (Outcome, String) {
    match ended {
        Ok(Ok(outcome)) => {
            let failed =
                outcome.summary.checks.iter().filter(|check| check.verdict == Verdict::Fail);
            let names: Vec<&str> = failed.map(|check| check.name.as_str()).collect();
            let outcome = if names.is_empty() { Outcome::Passed } else { Outcome::Failed };
            (outcome, names.join(" "))
        }
        Ok(Err(RunError::Kernel(error))) => (Outcome::Stuck, error.to_string()),
        Ok(Err(refused)) => (Outcome::Refused, refused.to_string()),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            (Outcome::Panicked, text.unwrap_or("a panic without a message").to_owned())
        }
    }
}

/// The files that are kept of a run that came to its end; none of one that did not.
pub(super) fn kept(
    spec: &crate::spec::CheckedSpec,
    ended: &Ended,
    keep: super::Keep,
) -> BTreeMap<String, Vec<u8>> {
    let Ok(Ok(outcome)) = ended else { return BTreeMap::new() };
    let mut files = results::specification(spec);
    match keep {
        super::Keep::Tables => files.extend(results::tables(spec, outcome)),
        super::Keep::Summary => {
            let summary = outcome.summary.to_json_pretty().into_bytes();
            files.insert(results::SUMMARY.to_owned(), summary);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_model::time::Timestamp;
    use sim_world::kernel::KernelError;

    fn record() -> Record {
        let files = BTreeMap::from([("summary.json".to_owned(), "0".repeat(32))]);
        Record {
            key: "k".to_owned(),
            outcome: Outcome::Passed,
            detail: String::new(),
            digest: "d".to_owned(),
            measured: BTreeMap::from([("p50_ms".to_owned(), "1.5".to_owned())]),
            files,
        }
    }

    #[test]
    fn any_damage_to_a_record_shows() {
        let text = record().to_json();
        assert_eq!(Record::from_json(text.as_bytes(), "k"), Some(record()));
        assert_eq!(Record::from_json(text.as_bytes(), "other"), None, "of another run");
        for length in 0..text.trim_end().len() {
            assert_eq!(Record::from_json(&text.as_bytes()[..length], "k"), None, "{length} bytes");
        }
        let changed = text.replace("1.5", "1.6");
        assert_eq!(Record::from_json(changed.as_bytes(), "k"), None);
    }

    #[test]
    fn what_broke_off_is_told_apart() {
        let stuck: Ended = Ok(Err(RunError::Kernel(KernelError::Stuck { at: Timestamp::ZERO })));
        assert_eq!(judge(&stuck).0, Outcome::Stuck);
        let panicked: Ended = Err(Box::new("an invariant".to_owned()));
        assert_eq!(judge(&panicked), (Outcome::Panicked, "an invariant".to_owned()));
        assert!(Outcome::Stuck.is_failure() && Outcome::Panicked.broke_off());
        assert!(!Outcome::Refused.is_failure());
    }
}
