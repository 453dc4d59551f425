//! Linearizable entities: what callers, signals and readers saw of each entity, held against the
//! entity's own code run one operation after the other.
//!
//! **The history of an entity.** A call lasts from the execution of the step that sent it to the fetch of
//! the first committed step that consumed its answer. A signal has no answer and stays open. Status
//! reads of clients last from their request to their answer. What a client or an attempt asked and
//! nobody committed stays open as well, but for attempts of an engine that promises its steps exactly
//! once: theirs must have no effect.
//!
//! **The specification** is the application's code ([`SequentialEntity`]). An operation that looks at the
//! clock sees the instant at which it ran, as the engine's steps say.
//!
//! **The judgement.** The order in which the committed steps of an entity ran its operations is a witness:
//! if it explains what everyone saw, the history is linearizable, and that costs one run of the code for each
//! operation. Only if it does not, other orders are searched ([`crate::linearizability`]). An entity whose
//! operations nobody saw the result of is linearizable as it is, and not looked at; nor is one that a
//! client has purged, which ends its history in the middle.
//!
//! Reads show what an engine has stored, which it may do late: they are a rule of their own, which no
//! engine promises (`linearizable-reads`). Only the last one is also held against the record of work
//! items, by the rule `durability`.

mod collect;
mod story;
mod witness;

use super::{Check, Verdict};
use crate::history::ClientOperation;
use crate::linearizability::{self, Interval, Specification};
use collect::{Object, Observed, Op};
use sim_model::application::Application;
use sim_model::engine::Delivery;
use sim_model::entity::SequentialEntity;
use sim_model::error::ApplicationResult;
use sim_model::graph::Graph;
use sim_model::id::EntityId;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use std::collections::BTreeMap;

/// Operations that the searches of one run try at most, all together.
const BUDGET: u64 = 300_000;

/// The rules on what is seen of entities; none if nobody saw anything.
pub(super) fn checks(
    graph: &Graph,
    history: &[ClientOperation],
    application: &Application,
    steps: Delivery,
) -> Vec<Check> {
    let objects = collect::objects(graph, history, steps == Delivery::ExactlyOnce);
    let mut tally = Tally { budget: BUDGET, ..Tally::default() };
    for object in objects.iter().filter(|object| object.is_observed() && !object.purged) {
        tally.judge(graph, application, object);
    }
    let promised = match steps {
        Delivery::ExactlyOnce => Verdict::Fail,
        Delivery::AtLeastOnce => Verdict::Observed,
    };
    let calls = tally.operations.check("linearizable-entities", "operations", promised);
    let reads = tally.reads.check("linearizable-reads", "status reads", Verdict::Observed);
    calls.into_iter().chain(reads).collect()
}

/// What one rule comes to.
#[derive(Default)]
struct Rule {
    judged: u64,
    entities: u64,
    searched: u64,
    unjudged: u64,
    breaches: u64,
    first: Option<(String, Vec<String>)>,
}

impl Rule {
    fn check(self, name: &str, what: &str, broken: Verdict) -> Option<Check> {
        if self.entities == 0 {
            return None;
        }
        let mut detail = format!("{} {what} on {} entities", self.judged, self.entities);
        if self.searched > 0 {
            detail += &format!(", {} in another order than they ran", self.searched);
        }
        let (verdict, history) = match (self.first, self.unjudged) {
            (Some((first, history)), _) => {
                detail = format!("{} breaches, first: {first}", self.breaches);
                (broken, history)
            }
            (None, 0) => (Verdict::Pass, Vec::new()),
            (None, unjudged) => {
                detail += &format!("; not judged: {unjudged} of these entities, too concurrent");
                (Verdict::Observed, Vec::new())
            }
        };
        Some(Check::new(name, verdict, detail).with_history(history))
    }

    fn note(&mut self, outcome: Judged, count: usize) {
        self.entities += 1;
        self.judged += count as u64;
        match outcome {
            Judged::AsItRan => {}
            Judged::Otherwise => self.searched += 1,
            Judged::TooConcurrent => self.unjudged += 1,
            Judged::Broken(detail, history) => {
                self.breaches += 1;
                self.first.get_or_insert((detail, history));
            }
        }
    }
}

/// How an entity's history stands to a rule.
enum Judged {
    AsItRan,
    Otherwise,
    TooConcurrent,
    Broken(String, Vec<String>),
}

#[derive(Default)]
struct Tally {
    budget: u64,
    operations: Rule,
    reads: Rule,
}

impl Tally {
    fn judge(&mut self, graph: &Graph, application: &Application, object: &Object) {
        let witness = witness::explain(application, object);
        if object.ops.iter().any(|op| op.observed.is_some()) {
            let judged = match witness.operations {
                true => Judged::AsItRan,
                false => self.search(graph, application, object, false),
            };
            self.operations.note(judged, object.ops.len());
        }
        if !object.reads.is_empty() {
            let judged = match witness.operations && witness.reads {
                true => Judged::AsItRan,
                false => self.search(graph, application, object, true),
            };
            self.reads.note(judged, object.reads.len());
        }
    }

    fn search(
        &mut self,
        graph: &Graph,
        application: &Application,
        object: &Object,
        with_reads: bool,
    ) -> Judged {
        let specification = OfEntity { application, entity: &object.entity };
        let history = intervals(object, with_reads);
        match linearizability::check(&specification, &history, &mut self.budget) {
            linearizability::Verdict::Linearizable(_) => Judged::Otherwise,
            linearizability::Verdict::TooConcurrent => Judged::TooConcurrent,
            linearizability::Verdict::Violation(evidence) => {
                let all = (0..history.len()).collect();
                let shortest =
                    linearizability::shortest_violation(&specification, &history, &mut self.budget);
                let (part, evidence) = shortest.unwrap_or((all, evidence));
                let (detail, lines) =
                    story::tell(graph, &specification, object, &history, &part, &evidence);
                Judged::Broken(detail, lines)
            }
        }
    }
}

/// Something that took effect on an entity, with what was seen of it.
#[derive(Clone, Debug)]
enum Action {
    /// An operation, by its number in the object.
    Op(usize, Op),
    /// A status read, by its number, and the state that it showed.
    Read(usize, Option<Payload>),
}

struct OfEntity<'a> {
    application: &'a Application,
    entity: &'a EntityId,
}

impl Specification for OfEntity<'_> {
    type State = Option<Payload>;
    type Operation = Action;

    fn initial(&self) -> Option<Payload> {
        None
    }

    fn apply(&self, state: &Option<Payload>, action: &Action) -> Option<Option<Payload>> {
        match action {
            Action::Read(_, seen) => (seen == state).then(|| state.clone()),
            Action::Op(_, op) => {
                let (after, result) = self.run(state, op);
                let fits = op.observed.as_ref().is_none_or(|seen| seen.result == result);
                fits.then_some(after)
            }
        }
    }

    fn unanswered(&self, action: &Action) -> Option<Action> {
        match action {
            Action::Read(..) => None,
            Action::Op(number, op) => {
                Some(Action::Op(*number, Op { observed: None, ..op.clone() }))
            }
        }
    }
}

impl OfEntity<'_> {
    /// The state after an operation, and its result.
    fn run(&self, state: &Option<Payload>, op: &Op) -> (Option<Payload>, ApplicationResult) {
        let mut entity =
            SequentialEntity::new(self.application, self.entity.clone(), state.as_ref());
        let result = entity.run(&op.operation, op.ran_at.unwrap_or(op.invoked));
        match entity.peek() {
            Ok(after) => (after, result),
            Err(reason) => (state.clone(), Err(reason)),
        }
    }
}

fn intervals(object: &Object, with_reads: bool) -> Vec<Interval<Action>> {
    let mut classes: BTreeMap<(&str, &str, Option<Timestamp>), u32> = BTreeMap::new();
    let mut history = Vec::with_capacity(object.ops.len() + object.reads.len());
    for (number, op) in object.ops.iter().enumerate() {
        let responded = op.observed.as_ref().map(|Observed { at, .. }| *at);
        // Without an answer only what is asked matters, and the instant that it sees.
        let clock = op.ran_at;
        let class = (responded.is_none() && op.operation.caller.is_none()).then(|| {
            let next = classes.len() as u32;
            let key = (&*op.operation.name, op.operation.input.as_str(), clock);
            *classes.entry(key).or_insert(next)
        });
        let operation = Action::Op(number, op.clone());
        history.push(Interval { invoked: op.invoked, responded, class, operation });
    }
    if with_reads {
        for (number, read) in object.reads.iter().enumerate() {
            let operation = Action::Read(number, read.seen.clone());
            let responded = Some(read.responded);
            history.push(Interval { invoked: read.invoked, responded, class: None, operation });
        }
    }
    history
}

#[cfg(test)]
mod tests;
