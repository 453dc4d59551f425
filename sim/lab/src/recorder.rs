//! What a run is measured by: every orchestration's times, results, and the breakdown of its
//! latency.
//!
//! The recorder listens: to the load (what was asked for, when, and when the answer came) and to
//! the engine (what ended, when, and how). It also knows when a run is over: the load has ended,
//! everything that was started has ended, and everyone who waits has been answered.

use crate::progress::Progress;
use crate::workload::{Orchestrations, launcher};
use sim_model::engine::{ClientError, Completion};
use sim_model::ledger::Timing;
use sim_model::orchestration::RuntimeStatus;
use sim_model::time::{Timestamp, nanos};
use sim_world::kernel::{Kernel, Notify};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// How many problems of one sort are kept in words; the rest are counted.
const PROBLEMS_KEPT: usize = 3;

/// How an orchestration stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    #[default]
    Running,
    /// It ended with a result.
    Completed,
    /// It ended with an error.
    Failed,
}

impl Outcome {
    /// The outcome as a word.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Completed => "completed",
            Outcome::Failed => "failed",
        }
    }
}

/// One orchestration, as measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// When its start was intended: the arrival of an open load, the request of a closed one.
    pub intended: Timestamp,
    /// The engine's creation time.
    pub created: Timestamp,
    /// The engine's time of the last update.
    pub last_updated: Timestamp,
    /// From the intended start to the answer, if a client waited and got one.
    pub client_latency: Option<Duration>,
    /// How it stands.
    pub outcome: Outcome,
    /// Where its latency went; the parts sum to it.
    pub timing: Timing,
}

impl Record {
    /// The latency as the engine reports it: last update minus creation.
    pub fn latency(&self) -> Duration {
        self.last_updated.since(self.created)
    }
}

/// Problems of one sort: how many, and the first in words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems {
    /// How many.
    pub(crate) count: u64,
    /// The first of them.
    pub(crate) first: Vec<String>,
}

impl Problems {
    pub(crate) fn note(&mut self, describe: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < PROBLEMS_KEPT {
            self.first.push(describe());
        }
    }
}

/// Everything recorded in one run.
#[derive(Default)]
pub(crate) struct Recording {
    /// Orchestrations by index.
    pub(crate) records: Vec<Record>,
    /// Orchestrations whose start was refused.
    pub(crate) refused: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) answered: u64,
    pub(crate) launchers_expected: u64,
    pub(crate) launchers_ended: u64,
    /// Requests that were not served as they should be.
    pub(crate) client_problems: Problems,
    /// Results that are not what the workload expects.
    pub(crate) result_problems: Problems,
    /// Reports of the engine that cannot be: of an unknown instance, or a second end.
    pub(crate) report_problems: Problems,
    /// Breakdowns that do not sum to the latency.
    pub(crate) breakdown_problems: Problems,
    /// Hash over all completions in their order.
    pub(crate) completions: blake3::Hasher,
    /// Hash over all results, whatever their order.
    pub(crate) results: u128,
    /// Orchestrations started and ended, by second.
    pub(crate) started_per_second: Vec<u32>,
    pub(crate) ended_per_second: Vec<u32>,
    pub(crate) load_ended: bool,
}

impl Recording {
    /// Orchestrations that were asked for and not refused.
    pub(crate) fn started(&self) -> u64 {
        self.records.len() as u64 - self.refused
    }

    /// Orchestrations that have ended, in either way.
    pub(crate) fn ended(&self) -> u64 {
        self.completed + self.failed
    }

    /// Orchestrations that were started and have not ended.
    pub(crate) fn unfinished(&self) -> u64 {
        self.started().saturating_sub(self.ended())
    }

    fn count_second(series: &mut Vec<u32>, at: Timestamp, count: u32) {
        let second = (at.as_nanos() / 1_000_000_000) as usize;
        if series.len() <= second {
            series.resize(second + 1, 0);
        }
        series[second] += count;
    }
}

/// The handle through which load and engine report. Cloning shares the recording.
#[derive(Clone)]
pub(crate) struct Recorder(Rc<Inner>);

struct Inner {
    kernel: Kernel,
    orchestrations: Orchestrations,
    progress: Progress,
    clients_wait: bool,
    recording: RefCell<Recording>,
    over: Cell<bool>,
    over_notify: Notify,
}

impl Recorder {
    /// A recorder of a run whose load has clients that wait for answers, or none.
    pub(crate) fn new(
        kernel: &Kernel,
        orchestrations: &Orchestrations,
        progress: &Progress,
        clients_wait: bool,
    ) -> Recorder {
        Recorder(Rc::new(Inner {
            kernel: kernel.clone(),
            orchestrations: orchestrations.clone(),
            progress: progress.clone(),
            clients_wait,
            recording: RefCell::default(),
            over: Cell::new(false),
            over_notify: kernel.notify(),
        }))
    }

    /// Reserves the next index for an orchestration that the load asks for now.
    pub(crate) fn issue(&self) -> u64 {
        self.issue_many(1)
    }

    /// Reserves the next `count` indices, and returns the first.
    pub(crate) fn issue_many(&self, count: u64) -> u64 {
        let now = self.0.kernel.now();
        let mut recording = self.0.recording.borrow_mut();
        let first = recording.records.len();
        let count = usize::try_from(count).expect("invariant: 64-bit machine");
        let record = Record { intended: now, ..Record::default() };
        recording.records.resize(first + count, record);
        Recording::count_second(&mut recording.started_per_second, now, count as u32);
        first as u64
    }

    /// Orchestrations that the load has asked for so far.
    pub(crate) fn issued(&self) -> u64 {
        self.0.recording.borrow().records.len() as u64
    }

    /// The load asks for nothing more.
    pub(crate) fn load_ended(&self) {
        self.0.recording.borrow_mut().load_ended = true;
        self.check_over();
    }

    /// This many launchers will be started besides the orchestrations.
    pub(crate) fn expect_launchers(&self, count: u64) {
        self.0.recording.borrow_mut().launchers_expected += count;
    }

    /// The engine answered a request to start.
    pub(crate) fn start_answered(&self, answer: &Result<(), ClientError>) {
        let Err(error) = answer else { return };
        let mut recording = self.0.recording.borrow_mut();
        if matches!(error, ClientError::Refused(_)) {
            recording.refused += 1;
        }
        let now = self.0.kernel.now();
        recording.client_problems.note(|| format!("a start at {now}: {error}"));
        drop(recording);
        self.check_over();
    }

    /// The client that asked for an orchestration was answered.
    pub(crate) fn answered(&self, index: u64, answer: &Result<(), ClientError>) {
        let now = self.0.kernel.now();
        let mut recording = self.0.recording.borrow_mut();
        recording.answered += 1;
        let record = &mut recording.records[index as usize];
        match answer {
            Ok(()) => record.client_latency = Some(now.since(record.intended)),
            Err(error) => {
                let instance = self.0.orchestrations.naming().instance(index);
                recording.client_problems.note(|| format!("{instance} at {now}: {error}"));
            }
        }
        drop(recording);
        self.check_over();
    }

    /// The engine reports the end of an instance.
    pub(crate) fn ended(&self, completion: &Completion) {
        let mut recording = self.0.recording.borrow_mut();
        if launcher::is_launcher(&completion.instance) {
            recording.launchers_ended += 1;
            if let RuntimeStatus::Failed(error) = &completion.status {
                let instance = &completion.instance;
                recording.result_problems.note(|| format!("{instance} failed with {error}"));
            }
        } else {
            self.record_end(&mut recording, completion);
        }
        drop(recording);
        self.check_over();
    }

    fn record_end(&self, recording: &mut Recording, completion: &Completion) {
        let Completion { instance, created, last_updated, status, ledger } = completion;
        let index = self.0.orchestrations.naming().index_of(instance);
        let Some(index) = index.filter(|index| *index < recording.records.len() as u64) else {
            recording.report_problems.note(|| format!("{instance} ended and was never started"));
            return;
        };
        if recording.records[index as usize].outcome != Outcome::Running {
            recording.report_problems.note(|| format!("{instance} ended a second time"));
            return;
        }
        let timing = ledger.settle(*created, *last_updated);
        let latency = last_updated.since(*created);
        if timing.total() != latency || last_updated < created {
            recording
                .breakdown_problems
                .note(|| format!("{instance}: parts of {:?}, latency {latency:?}", timing.total()));
        }
        let outcome = match status {
            RuntimeStatus::Completed(_) => Outcome::Completed,
            _ => Outcome::Failed,
        };
        let record = &mut recording.records[index as usize];
        *record =
            Record { created: *created, last_updated: *last_updated, outcome, timing, ..*record };
        match outcome {
            Outcome::Completed => recording.completed += 1,
            _ => recording.failed += 1,
        }
        if let Err(problem) = self.0.orchestrations.workload().check(index, status) {
            recording.result_problems.note(|| format!("{instance} {problem}"));
        }
        hash_completion(recording, index, completion, &timing);
        Recording::count_second(&mut recording.ended_per_second, *last_updated, 1);
        self.0.progress.complete(self.0.kernel.now());
    }

    /// Resolves when the run is over.
    pub(crate) async fn over(&self) {
        while !self.0.over.get() {
            self.0.over_notify.notified().await;
        }
    }

    fn check_over(&self) {
        let recording = self.0.recording.borrow();
        let everyone_answered =
            !self.0.clients_wait || recording.answered == recording.records.len() as u64;
        let over = recording.load_ended
            && recording.unfinished() == 0
            && recording.launchers_ended >= recording.launchers_expected
            && everyone_answered;
        drop(recording);
        if over && !self.0.over.replace(true) {
            self.0.over_notify.notify_one();
        }
    }

    /// The recording, at the end of the run.
    pub(crate) fn take(&self) -> Recording {
        self.0.recording.take()
    }
}

/// Folds a completion into the hash over completions (every field, in order) and its result into
/// the hash over results (a sum, so that the order in which orchestrations end does not matter).
fn hash_completion(
    recording: &mut Recording,
    index: u64,
    completion: &Completion,
    timing: &Timing,
) {
    let mut result = blake3::Hasher::new();
    result.update(&index.to_le_bytes());
    result.update(completion.status.name().as_bytes());
    match &completion.status {
        RuntimeStatus::Completed(payload) => result.update(payload.as_str().as_bytes()),
        RuntimeStatus::Failed(error) => result.update(error.to_string().as_bytes()),
        RuntimeStatus::Running => unreachable!("observers are told of final states only"),
    };
    let result = result.finalize();
    let (low, _) = result.as_bytes().split_at(16);
    let low = u128::from_le_bytes(low.try_into().expect("invariant: 16 bytes"));
    recording.results = recording.results.wrapping_add(low);
    let hasher = &mut recording.completions;
    hasher.update(completion.instance.as_str().as_bytes());
    hasher.update(&completion.created.as_nanos().to_le_bytes());
    hasher.update(&completion.last_updated.as_nanos().to_le_bytes());
    hasher.update(result.as_bytes());
    for category in sim_model::ledger::Category::ALL {
        hasher.update(&nanos(timing.get(category)).to_le_bytes());
    }
}
