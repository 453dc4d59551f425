//! Tasks: the code of an activity, run on a canister.
//!
//! **What it models.** A canister can compute; it has no files, sockets or clock to wait on. What an
//! activity asks of the world outside (reading and writing the application's storage, waiting for a
//! remote call) becomes an HTTPS outcall: every replica carries it out for itself, and the outcome
//! enters a block once enough of them report it. A response has at most 2 MB, so a larger blob is read
//! in ranges, one outcall each; a write is a request that each replica sends, and must be idempotent,
//! as the model demands of all effects outside it.
//!
//! The code itself is deterministic and does not see time: it runs at once, and what it asked for, in
//! its order, says how long the task takes. An activity that waits for anything else ends in an error.
//! Sources: dfinity/developer-docs, HTTPS outcalls (2 MB, every replica, agreed by consensus).

use crate::canister::{Costs, OutcallRequest, OutcallStep};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use sim_model::application::{
    ActivityContext, ActivityEnvironment, Application, ApplicationError, ApplicationResult,
};
use sim_model::message::TaskMessage;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// What an activity has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Core time.
    Compute(Duration),
    /// Waiting for something remote.
    Wait(Duration),
    /// Reading a blob of so many bytes.
    Read(u64),
    /// Writing one.
    Write(u64),
}

#[derive(Default)]
struct Recorder(Rc<RefCell<Vec<Segment>>>);

impl Recorder {
    fn note(&self, segment: Segment) -> LocalBoxFuture<'static, ()> {
        self.0.borrow_mut().push(segment);
        std::future::ready(()).boxed_local()
    }
}

impl ActivityEnvironment for Recorder {
    fn compute(&self, work: Duration) -> LocalBoxFuture<'static, ()> {
        self.note(Segment::Compute(work))
    }

    fn wait(&self, span: Duration) -> LocalBoxFuture<'static, ()> {
        self.note(Segment::Wait(span))
    }

    fn read_blob(&self, bytes: u64) -> LocalBoxFuture<'static, ()> {
        self.note(Segment::Read(bytes))
    }

    fn write_blob(&self, bytes: u64) -> LocalBoxFuture<'static, ()> {
        self.note(Segment::Write(bytes))
    }
}

/// Runs the code of a task; its result, and what it asked for.
pub(crate) fn run(
    application: &Application,
    task: &TaskMessage,
) -> (ApplicationResult, Vec<Segment>) {
    let recorder = Recorder::default();
    let segments = recorder.0.clone();
    let context = ActivityContext::new(Rc::new(recorder), task);
    let code = application.run_activity(&task.name, context, task.input.clone());
    let result = code.now_or_never().unwrap_or_else(|| {
        let problem = format!("activity {:?} waits for something a canister cannot do", task.name);
        Err(ApplicationError::misuse(problem))
    });
    let asked = std::mem::take(&mut *segments.borrow_mut());
    (result, asked)
}

/// The instructions before the first outcall, and the outcalls.
pub(crate) fn plan(segments: &[Segment], costs: &Costs) -> (u64, VecDeque<OutcallStep>) {
    let mut first = 0;
    let mut steps: VecDeque<OutcallStep> = VecDeque::new();
    let most = costs.outcall_bytes_max;
    for segment in segments {
        let mut push = |request| steps.push_back(OutcallStep { request, instructions: 0 });
        match *segment {
            Segment::Compute(work) => {
                let place = steps.back_mut().map_or(&mut first, |step| &mut step.instructions);
                *place += costs.of(work);
            }
            Segment::Wait(span) => push(OutcallRequest::Wait(span)),
            Segment::Read(bytes) => pieces(bytes, most).map(OutcallRequest::Read).for_each(push),
            Segment::Write(bytes) => pieces(bytes, most).map(OutcallRequest::Write).for_each(push),
        }
    }
    (first, steps)
}

/// `bytes` in pieces of at most `most`; one empty piece if there are none.
pub(crate) fn pieces(bytes: u64, most: u64) -> impl Iterator<Item = u64> {
    let count = bytes.div_ceil(most).max(1);
    (0..count).map(move |index| (bytes - index * most).min(most))
}

/// A sum of `bytes` in `count` parts as equal as they can be.
pub(crate) fn parts(bytes: u64, count: u32) -> impl Iterator<Item = u64> {
    let count = u64::from(count);
    (0..count).map(move |index| bytes / count + u64::from(index < bytes % count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        step: 0,
        task: 0,
        operation: 0,
        per_second: 2_000_000_000,
        message_max: 40_000_000_000,
        outcall_bytes_max: 2_000_000,
    };

    #[test]
    fn computing_belongs_to_what_came_before_it() {
        let second = Segment::Compute(Duration::from_secs(1));
        let wait = Segment::Wait(Duration::from_millis(20));
        let (first, steps) =
            plan(&[second, second, wait, second, Segment::Read(5_000_000)], &COSTS);
        assert_eq!(first, 4_000_000_000);
        let instructions: Vec<u64> = steps.iter().map(|step| step.instructions).collect();
        assert_eq!(instructions, [2_000_000_000, 0, 0, 0]);
        assert_eq!(steps[3].request, OutcallRequest::Read(1_000_000));
    }

    #[test]
    fn large_transfers_go_in_pieces() {
        assert!(pieces(5, 2).eq([2, 2, 1]));
        assert!(pieces(4, 2).eq([2, 2]));
        assert!(pieces(0, 2).eq([0]));
        assert!(parts(5, 2).eq([3, 2]));
        assert_eq!(parts(0, 0).count(), 0);
    }
}
