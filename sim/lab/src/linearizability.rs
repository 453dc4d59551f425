//! Linearizability of one object: whether what its clients saw can be explained by operations that
//! took effect one after the other, each at some instant between its request and its answer.
//!
//! **What it models.** The definition of Herlihy and Wing (TOPLAS 1990). The search is that of Wing and
//! Gong ("Testing and verifying concurrent objects", 1993) with the memory of Lowe ("Testing for
//! linearizability", 2017): a set of operations that have taken effect, together with the state they
//! led to, is visited once. Objects are checked one by one, which is sound because linearizability is
//! local (the "P-compositionality" of Horn and Kroening, 2015). The structure follows Porcupine
//! (A. Athalye, 2017).
//!
//! **Operations without an answer** may take effect at any instant after their request, or never: they
//! stay open, and the search is over when all those that were answered have taken effect. Open
//! operations that are interchangeable (`class`) take effect in the order in which they were asked:
//! exchanging two of them changes nothing that anyone can see.
//!
//! **Limits.** The problem is NP-complete (Gibbons and Korach, 1997). A search that tries more than its
//! budget of operations says so and judges nothing. Two operations of which one was answered at
//! the very instant at which the other was asked count as concurrent.

mod search;
#[cfg(test)]
mod tests;

use sim_model::time::Timestamp;
use std::hash::Hash;

/// What an object does, one operation after the other.
pub trait Specification {
    /// The object's state.
    type State: Clone + Eq + Hash;
    /// An operation, with what its client saw.
    type Operation;

    /// The state before all operations.
    fn initial(&self) -> Self::State;

    /// The state after `operation` took effect in `state`; nothing if its client would then have seen
    /// something else.
    fn apply(&self, state: &Self::State, operation: &Self::Operation) -> Option<Self::State>;

    /// The same operation, of which its client saw nothing; nothing if it then does nothing.
    fn unanswered(&self, operation: &Self::Operation) -> Option<Self::Operation>;
}

/// An operation, and when it may have taken effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval<O> {
    /// When it was asked for.
    pub invoked: Timestamp,
    /// When it was answered; nothing if it is open.
    pub responded: Option<Timestamp>,
    /// Open operations of one class are interchangeable.
    pub class: Option<u32>,
    /// The operation.
    pub operation: O,
}

/// What a search says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The operations, by their index, in an order that explains everything; open ones that had no
    /// effect are left out.
    Linearizable(Vec<usize>),
    /// There is no such order.
    Violation(Evidence),
    /// More operations were tried than the budget allows.
    TooConcurrent,
}

/// Why there is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// A longest order that explains what it has, by index.
    pub explained: Vec<usize>,
    /// The operation that had to take effect next, and those that could have before it: none of them
    /// explains what its client saw.
    pub unexplained: Vec<usize>,
}

/// Searches for an order of `history`, trying at most `budget` operations; what is left of the budget
/// stays in it.
pub fn check<S: Specification>(
    specification: &S,
    history: &[Interval<S::Operation>],
    budget: &mut u64,
) -> Verdict {
    search::Search::new(specification, history).run(budget)
}

/// The shortest part of a history, from its begin, that has no order either: the indices of its
/// operations, and those among them that are open in it. Linearizability is closed under prefixes, so
/// it is found by bisection over the instants of answers.
pub fn shortest_violation<S: Specification>(
    specification: &S,
    history: &[Interval<S::Operation>],
    budget: &mut u64,
) -> Option<(Vec<usize>, Evidence)>
where
    S::Operation: Clone,
{
    let mut answers: Vec<Timestamp> = history.iter().filter_map(|one| one.responded).collect();
    answers.sort_unstable();
    answers.dedup();
    let mut judge = |until: Timestamp| {
        let mut indices = Vec::new();
        let mut cut: Vec<Interval<S::Operation>> = Vec::new();
        for (index, one) in history.iter().enumerate().filter(|(_, one)| one.invoked <= until) {
            let one = match one.responded {
                Some(at) if at > until => specification
                    .unanswered(&one.operation)
                    .map(|operation| Interval { responded: None, class: None, operation, ..*one }),
                _ => Some(one.clone()),
            };
            indices.extend(one.is_some().then_some(index));
            cut.extend(one);
        }
        match check(specification, &cut, budget) {
            Verdict::Violation(evidence) => {
                let back = |of: Vec<usize>| of.into_iter().map(|index| indices[index]).collect();
                let explained = back(evidence.explained);
                let unexplained = back(evidence.unexplained);
                Some((indices, Evidence { explained, unexplained }))
            }
            _ => None,
        }
    };
    let (mut low, mut high) = (0, answers.len());
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match judge(answers[middle]) {
            Some(violation) => {
                found = Some(violation);
                high = middle;
            }
            None => low = middle + 1,
        }
    }
    found
}
