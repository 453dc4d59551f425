//! What a run is measured by: the times and the result of every orchestration or job of the load,
//! and the breakdown of its latency.
//!
//! The recorder listens: to the load (what was asked for, when, and when the answer came; how a
//! job ended) and to the engine (what ended, when, and how). Orchestrations that the load did not
//! start (sub-orchestrations, those that jobs, entities and other orchestrations start) are counted
//! apart. It also knows when a run is over: the load has ended, everything that it started has
//! ended, and everyone who waits has been answered.

use crate::levels::LevelRecorder;
use crate::progress::Progress;
use crate::workload::{JobResult, Orchestrations, Start};
use rustc_hash::FxHasher;
use sim_model::engine::{ClientError, Completion};
use sim_model::error::ApplicationError;
use sim_model::id::{EntityId, InstanceId};
use sim_model::ledger::{Category, Timing};
use sim_model::orchestration::RuntimeStatus;
use sim_model::time::{Timestamp, nanos};
use sim_world::kernel::{Kernel, Notify};
use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

/// How many problems of one sort are kept in words; the rest are counted.
const PROBLEMS_KEPT: usize = 3;

/// How an orchestration or job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    #[default]
    Running,
    /// It ended with a result.
    Completed,
    /// It ended with an error.
    Failed,
    /// It was ended from outside.
    Terminated,
}

impl Outcome {
    /// The outcome as a word.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Running => "running",
            Outcome::Completed => "completed",
            Outcome::Failed => "failed",
            Outcome::Terminated => "terminated",
        }
    }

    fn of(status: &RuntimeStatus) -> Outcome {
        match status {
            RuntimeStatus::Running | RuntimeStatus::Suspended => Outcome::Running,
            RuntimeStatus::Completed(_) => Outcome::Completed,
            RuntimeStatus::Failed(_) => Outcome::Failed,
            RuntimeStatus::Terminated(_) => Outcome::Terminated,
        }
    }
}

/// One orchestration or job of the load, as measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// When its start was intended: the arrival of an open load, the request of a closed one.
    pub intended: Timestamp,
    /// The engine's creation time; of a job, when its measured work began.
    pub created: Timestamp,
    /// The engine's time of the last update; of a job, when its measured work ended.
    pub last_updated: Timestamp,
    /// From the intended start to the answer, if a client waited and got one.
    pub client_latency: Option<Duration>,
    /// How it stands.
    pub outcome: Outcome,
    /// Where its latency went; the parts sum to it. Absent until it has ended, and for jobs.
    pub timing: Option<Timing>,
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
    /// Orchestrations and jobs by index.
    pub(crate) records: Vec<Record>,
    /// Orchestrations whose start was refused.
    pub(crate) refused: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) terminated: u64,
    /// Instances that ended and were not started by the load.
    pub(crate) others_ended: u64,
    /// Orchestrations of the load that ended once more, since a robot had asked again.
    pub(crate) repeated: u64,
    pub(crate) answered: u64,
    /// Requests that were not served as they should be.
    pub(crate) client_problems: Problems,
    /// Results that are not what the workload expects.
    pub(crate) result_problems: Problems,
    /// Reports that cannot be: a second end, an end before any start, times that run backwards.
    pub(crate) report_problems: Problems,
    /// Orchestrations that have a breakdown.
    pub(crate) broken_down: u64,
    /// Breakdowns that do not sum to the latency.
    pub(crate) breakdown_problems: Problems,
    /// Hash over all ends in their order.
    pub(crate) completions: blake3::Hasher,
    /// Hash over all results, whatever their order.
    pub(crate) results: u128,
    /// How each orchestration or job ended, by index, if that is kept.
    pub(crate) kept: Option<Vec<RuntimeStatus>>,
    /// A hash of how each orchestration ended, by index, if the engine has reported its end.
    pub(crate) end_hashes: Vec<Option<u64>>,
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

    /// Orchestrations that have ended, in whichever way.
    pub(crate) fn ended(&self) -> u64 {
        self.completed + self.failed + self.terminated
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
    levels: LevelRecorder,
    clients_wait: bool,
    /// Whether the load starts orchestrations, and no jobs.
    loads_orchestrations: bool,
    recording: RefCell<Recording>,
    /// Whether robots ask again: one that does not know that its orchestration has ended starts another one
    /// in its place.
    ask_again: Cell<bool>,
    over: Cell<bool>,
    over_notify: Notify,
}

impl Recorder {
    /// A recorder of a run whose load has clients that wait for answers, or none. If asked to it
    /// keeps all results, not only their hash.
    pub(crate) fn new(
        kernel: &Kernel,
        orchestrations: &Orchestrations,
        progress: &Progress,
        clients_wait: bool,
        keep_results: bool,
    ) -> Recorder {
        let kept = keep_results.then(Vec::new);
        let start = orchestrations.workload().start();
        Recorder(Rc::new(Inner {
            loads_orchestrations: matches!(start, Start::Orchestration(_)),
            kernel: kernel.clone(),
            orchestrations: orchestrations.clone(),
            progress: progress.clone(),
            levels: LevelRecorder::default(),
            clients_wait,
            recording: RefCell::new(Recording { kept, ..Recording::default() }),
            ask_again: Cell::new(false),
            over: Cell::new(false),
            over_notify: kernel.notify(),
        }))
    }

    /// From now on robots ask again.
    pub(crate) fn robots_ask_again(&self) {
        self.0.ask_again.set(true);
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

    /// A number that grows with everything that is asked for, ends, or is answered.
    pub(crate) fn events(&self) -> u64 {
        let recording = self.0.recording.borrow();
        let asked = recording.records.len() as u64;
        asked + recording.ended() + recording.others_ended + recording.answered
    }

    /// The load asks for nothing more.
    pub(crate) fn load_ended(&self) {
        self.0.recording.borrow_mut().load_ended = true;
        self.check_over();
    }

    /// The engine answered a request to start.
    pub(crate) fn start_answered(&self, answer: &Result<(), ClientError>) {
        let Err(error) = answer else { return };
        let mut recording = self.0.recording.borrow_mut();
        if matches!(error, ClientError::Refused(_) | ClientError::Unavailable(_)) {
            recording.refused += 1;
        }
        let now = self.0.kernel.now();
        recording.client_problems.note(|| format!("a start at {now}: {error}"));
        drop(recording);
        self.check_over();
    }

    /// The engine answered a signal to a launcher. If it was refused, the orchestrations it was to
    /// start never end, which the run's bound and the check `completion` tell.
    pub(crate) fn launcher_answered(&self, launcher: &EntityId, answer: &Result<(), ClientError>) {
        let Err(error) = answer else { return };
        let now = self.0.kernel.now();
        let mut recording = self.0.recording.borrow_mut();
        recording.client_problems.note(|| format!("a signal to {launcher} at {now}: {error}"));
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
                let instance = self.0.orchestrations.instance(index);
                recording.client_problems.note(|| format!("{instance} at {now}: {error}"));
            }
        }
        drop(recording);
        self.check_over();
    }

    /// The engine or the workload reports that from now on there are `value` of `what`.
    pub(crate) fn level(&self, what: &'static str, value: u64) {
        self.0.levels.report(self.0.kernel.now(), what, value);
    }

    /// The record of all levels.
    pub(crate) fn levels(&self) -> &LevelRecorder {
        &self.0.levels
    }

    /// The engine reports the end of an instance.
    pub(crate) fn ended(&self, completion: &Completion) {
        self.instance_ended(&mut self.0.recording.borrow_mut(), completion);
        self.check_over();
    }

    fn instance_ended(&self, recording: &mut Recording, completion: &Completion) {
        let Completion { instance, created, last_updated, status, ledger } = completion;
        let index = match self.0.loads_orchestrations {
            true => self.0.orchestrations.index_of(instance),
            false => None,
        };
        let Some(index) = index else {
            recording.others_ended += 1;
            hash_end(recording, instance, [*created, *last_updated], &hash_of_result(0, status));
            return;
        };
        let timing = ledger.settle(*created, *last_updated);
        let latency = last_updated.since(*created);
        if timing.total() != latency || last_updated < created {
            recording
                .breakdown_problems
                .note(|| format!("{instance}: parts of {:?}, latency {latency:?}", timing.total()));
        }
        recording.broken_down += 1;
        let times = [*created, *last_updated];
        self.record_end(recording, index, instance, times, status, Some(timing));
    }

    /// The front end reports the end of a job that began at `began`.
    pub(crate) fn job_ended(
        &self,
        index: u64,
        began: Timestamp,
        result: Result<JobResult, String>,
    ) {
        let now = self.0.kernel.now();
        let (times, status) = match result {
            Ok(JobResult { started, ended, result }) => {
                ([started, ended], RuntimeStatus::Completed(result))
            }
            Err(problem) => ([began, now], RuntimeStatus::Failed(ApplicationError::user(problem))),
        };
        let instance = self.0.orchestrations.instance(index);
        let mut recording = self.0.recording.borrow_mut();
        if times[1] < times[0] || times[1] > now {
            let [started, ended] = times;
            recording
                .report_problems
                .note(|| format!("{instance} reported {started} to {ended} at {now}"));
        }
        self.record_end(&mut recording, index, &instance, times, &status, None);
        drop(recording);
        self.check_over();
    }

    fn record_end(
        &self,
        recording: &mut Recording,
        index: u64,
        instance: &InstanceId,
        [created, last_updated]: [Timestamp; 2],
        status: &RuntimeStatus,
        timing: Option<Timing>,
    ) {
        let Some(record) = recording.records.get_mut(index as usize) else {
            recording.report_problems.note(|| format!("{instance} ended and was never started"));
            return;
        };
        if record.outcome != Outcome::Running {
            if self.0.ask_again.get() {
                recording.repeated += 1;
            } else {
                recording.report_problems.note(|| format!("{instance} ended a second time"));
            }
            return;
        }
        let outcome = Outcome::of(status);
        *record = Record { created, last_updated, outcome, timing, ..*record };
        match outcome {
            Outcome::Completed => recording.completed += 1,
            Outcome::Failed => recording.failed += 1,
            Outcome::Terminated => recording.terminated += 1,
            Outcome::Running => unreachable!("observers are told of final states only"),
        }
        if let Err(problem) = self.0.orchestrations.workload().check(index, status) {
            recording.result_problems.note(|| format!("{instance} {problem}"));
        }
        if let Some(kept) = &mut recording.kept {
            kept.resize(recording.records.len(), RuntimeStatus::Running);
            kept[index as usize] = status.clone();
        }
        let result = hash_of_result(index, status);
        let (low, _) = result.as_bytes().split_at(16);
        let low = u128::from_le_bytes(low.try_into().expect("invariant: 16 bytes"));
        recording.results = recording.results.wrapping_add(low);
        hash_end(recording, instance, [created, last_updated], &result);
        if let Some(timing) = timing {
            let index = index as usize;
            recording.end_hashes.resize(recording.end_hashes.len().max(index + 1), None);
            recording.end_hashes[index] = Some(hash_of_end(status));
            for category in Category::ALL {
                recording.completions.update(&nanos(timing.get(category)).to_le_bytes());
            }
        }
        Recording::count_second(&mut recording.ended_per_second, last_updated, 1);
        self.0.progress.complete(self.0.kernel.now());
    }

    /// Orchestrations and jobs that were started so far.
    pub(crate) fn started(&self) -> u64 {
        self.0.recording.borrow().started()
    }

    /// Whether the run is over.
    pub(crate) fn is_over(&self) -> bool {
        self.0.over.get()
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
        let over = recording.load_ended && recording.unfinished() == 0 && everyone_answered;
        drop(recording);
        if over && !self.0.over.replace(true) {
            self.0.over_notify.notify_one();
        }
    }

    /// The recording, at the end of the run.
    pub(crate) fn take(&self) -> Recording {
        let mut recording = self.0.recording.take();
        if let Some(kept) = &mut recording.kept {
            kept.resize(recording.records.len(), RuntimeStatus::Running);
        }
        recording
    }
}

/// A hash of how an orchestration ended, to compare with another end.
pub(crate) fn hash_of_end(status: &RuntimeStatus) -> u64 {
    let mut hash = FxHasher::default();
    status.name().hash(&mut hash);
    match status {
        RuntimeStatus::Completed(payload) => payload.hash(&mut hash),
        RuntimeStatus::Failed(error) => error.to_string().hash(&mut hash),
        RuntimeStatus::Terminated(reason) => reason.hash(&mut hash),
        RuntimeStatus::Running | RuntimeStatus::Suspended => {}
    }
    hash.finish()
}

/// The hash of how the orchestration or job with this index ended.
fn hash_of_result(index: u64, status: &RuntimeStatus) -> blake3::Hash {
    let mut result = blake3::Hasher::new();
    result.update(&index.to_le_bytes());
    result.update(status.name().as_bytes());
    match status {
        RuntimeStatus::Completed(payload) => result.update(payload.as_str().as_bytes()),
        RuntimeStatus::Failed(error) => result.update(error.to_string().as_bytes()),
        RuntimeStatus::Terminated(reason) => result.update(reason.as_bytes()),
        RuntimeStatus::Running | RuntimeStatus::Suspended => {
            unreachable!("observers are told of final states only")
        }
    };
    result.finalize()
}

/// Folds an end into the hash over all ends in their order.
fn hash_end(
    recording: &mut Recording,
    instance: &InstanceId,
    times: [Timestamp; 2],
    result: &blake3::Hash,
) {
    let hasher = &mut recording.completions;
    hasher.update(instance.as_str().as_bytes());
    for time in times {
        hasher.update(&time.as_nanos().to_le_bytes());
    }
    hasher.update(result.as_bytes());
}
