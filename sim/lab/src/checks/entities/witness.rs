//! Whether the order in which an entity ran its operations explains what was seen of it.
//!
//! Operations: the code is run in that order. Each result has to be the one that was seen, each state
//! the one that the step left; every call that was answered has to have run; nothing may have
//! run that nobody asked for, or twice; and no operation may have run before another one that was
//! answered before it was asked for.
//!
//! Reads: each has to show the state after some step, such that what ran before was asked for before the
//! read was answered, what ran behind was not answered before the read was asked for, and a read that
//! begins after another one has ended shows the same state or a later one. Taking the earliest step that
//! fits, in the order in which reads were asked for, finds a place for all of them if there is one.

use super::collect::{Object, Op};
use rustc_hash::FxHashMap;
use sim_model::application::Application;
use sim_model::entity::SequentialEntity;
use sim_model::time::Timestamp;

/// What the order explains.
pub(super) struct Witness {
    /// What callers saw.
    pub(super) operations: bool,
    /// What status reads showed.
    pub(super) reads: bool,
}

/// Runs the operations as the steps did.
pub(super) fn explain(application: &Application, object: &Object) -> Witness {
    let operations = ran_as_seen(application, object) && in_real_time(object);
    let reads = operations && reads_fit(object);
    Witness { operations, reads }
}

fn ran_as_seen(application: &Application, object: &Object) -> bool {
    let mut entity = SequentialEntity::new(application, object.entity.clone(), None);
    for step in &object.steps {
        for ran in &step.ran {
            let Some(op) = ran.op.map(|op| &object.ops[op]) else { return false };
            let result = entity.run(&ran.operation, step.now);
            if op.observed.as_ref().is_some_and(|seen| seen.result != result) {
                return false;
            }
        }
        match entity.store() {
            Ok(state) if state == step.state => {}
            _ => return false,
        }
    }
    object.ops.iter().all(|op| op.observed.is_none() || op.ran_at.is_some())
}

fn order(object: &Object) -> impl DoubleEndedIterator<Item = &Op> {
    let ran = object.steps.iter().flat_map(|step| &step.ran);
    ran.filter_map(|ran| ran.op).map(|op| &object.ops[op])
}

fn responded(op: &Op) -> Timestamp {
    op.observed.as_ref().map_or(Timestamp::MAX, |seen| seen.at)
}

fn in_real_time(object: &Object) -> bool {
    let mut earliest = Timestamp::MAX;
    order(object).rev().all(|op| {
        let fits = op.invoked <= earliest;
        earliest = earliest.min(responded(op));
        fits
    })
}

fn reads_fit(object: &Object) -> bool {
    // Before the first step there is no state; then the state after each step.
    let states = std::iter::once(None).chain(object.steps.iter().map(|step| step.state.as_ref()));
    let mut by_state: FxHashMap<Option<&str>, Vec<usize>> = FxHashMap::default();
    for (position, state) in states.enumerate() {
        by_state.entry(state.map(|state| state.as_str())).or_default().push(position);
    }
    let count = object.steps.len() + 1;
    // What ran before a position was asked for at this instant at the latest.
    let mut asked = vec![Timestamp::ZERO; count];
    // What runs from a position on was answered at this instant at the earliest.
    let mut answered = vec![Timestamp::MAX; count];
    for (step, ranked) in object.steps.iter().enumerate() {
        let ops = ranked.ran.iter().filter_map(|ran| ran.op).map(|op| &object.ops[op]);
        asked[step + 1] = ops.map(|op| op.invoked).fold(asked[step], Timestamp::max);
    }
    for (step, ranked) in object.steps.iter().enumerate().rev() {
        let ops = ranked.ran.iter().filter_map(|ran| ran.op).map(|op| &object.ops[op]);
        answered[step] = ops.map(responded).fold(answered[step + 1], Timestamp::min);
    }
    let mut by_request: Vec<usize> = (0..object.reads.len()).collect();
    by_request.sort_by_key(|read| object.reads[*read].invoked);
    let mut by_answer: Vec<usize> = (0..object.reads.len()).collect();
    by_answer.sort_by_key(|read| object.reads[*read].responded);
    let mut ended = by_answer.into_iter().peekable();
    let mut place = vec![0; object.reads.len()];
    let mut least = 0;
    for read in by_request {
        let seen = &object.reads[read];
        while let Some(before) =
            ended.next_if(|other| object.reads[*other].responded < seen.invoked)
        {
            least = least.max(place[before]);
        }
        let from = least.max(answered.partition_point(|at| *at < seen.invoked));
        let until = asked.partition_point(|at| *at <= seen.responded);
        let Some(positions) = by_state.get(&seen.seen.as_ref().map(|state| state.as_str())) else {
            return false;
        };
        let next = positions.partition_point(|position| *position < from);
        match positions.get(next).filter(|position| **position < until) {
            Some(position) => place[read] = *position,
            None => return false,
        }
    }
    true
}
