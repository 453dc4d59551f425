//! The trail of ledgers: how each came to hold what it holds, for whoever explains a latency.
//!
//! A [`Ledger`] says how much time went to each category. A trail says in which order, why,
//! and with which messages. It is kept apart, since ledgers travel as bytes through stores: anything more in
//! them would change what an engine stores. A ledger is known by its *content*. It only ever grows, so
//! every content has been reached from an earlier one by a charge, and the charges lead back to the origin.
//! Ledgers that were copied into several messages are one entry until they are charged differently; which
//! message was where is noted beside it.
//!
//! **Assumption.** Two ledgers of one origin that have spent the same time on the same categories, in a
//! different order, are taken for one that was reached in two ways. Sums are right whichever way is followed.
//!
//! A trail is kept per thread, from [`begin`] to [`take`], and only there: a run has a thread of its own.
//! Unless one is kept, nothing is recorded. Like the ledger it is a measurement.

use super::{Ledger, Timing};
use crate::id::MessageId;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};

thread_local! {
    static IS_KEPT: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<Trail> = RefCell::default();
}

/// From now on a trail of the ledgers of this thread is kept, which is empty.
pub fn begin() {
    KEPT.with(|kept| *kept.borrow_mut() = Trail::default());
    IS_KEPT.with(|is_kept| is_kept.set(true));
}

/// Ends the trail of this thread, and returns it.
pub fn take() -> Trail {
    IS_KEPT.with(|is_kept| is_kept.set(false));
    KEPT.with(RefCell::take)
}

/// Whether a trail is kept.
#[inline]
pub(super) fn is_kept() -> bool {
    IS_KEPT.with(Cell::get)
}

#[cold]
pub(super) fn charged(before: Ledger, after: Ledger, words: &'static str, through: Option<Ledger>) {
    if before != after {
        KEPT.with(|kept| kept.borrow_mut().charged(before, after, words, through));
    }
}

/// A message was sent with this ledger.
pub(crate) fn sent(ledger: &Ledger, message: MessageId) {
    if is_kept() {
        KEPT.with(|kept| kept.borrow_mut().entry(*ledger).sent.push(message));
    }
}

/// One charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The ledger before it.
    pub before: Ledger,
    /// What the time was spent on, in words.
    pub words: &'static str,
    /// The ledger of another orchestration that was waited for, if it was one.
    pub through: Option<Ledger>,
}

#[derive(Debug, Default)]
struct Entry {
    charges: SmallVec<[Charge; 1]>,
    sent: SmallVec<[MessageId; 2]>,
}

/// How ledgers came to hold what they hold.
#[derive(Debug, Default)]
pub struct Trail(IndexMap<Ledger, Entry, FxBuildHasher>);

impl Trail {
    fn entry(&mut self, ledger: Ledger) -> &mut Entry {
        self.0.entry(ledger).or_default()
    }

    fn charged(
        &mut self,
        before: Ledger,
        after: Ledger,
        words: &'static str,
        through: Option<Ledger>,
    ) {
        let charge = Charge { before, words, through };
        let charges = &mut self.entry(after).charges;
        if !charges.contains(&charge) {
            charges.push(charge);
        }
    }

    /// The charges by which a ledger was reached: none for one that has just begun, more than one if copies
    /// came to the same by different ways.
    pub fn charges(&self, ledger: &Ledger) -> &[Charge] {
        self.0.get(ledger).map_or(&[], |entry| &entry.charges)
    }

    /// The messages that were sent with a ledger.
    pub fn sent(&self, ledger: &Ledger) -> &[MessageId] {
        self.0.get(ledger).map_or(&[], |entry| &entry.sent)
    }

    /// How many ledgers there were.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What went to each category between two ledgers, the second of which was reached from the first.
pub fn between(before: &Ledger, after: &Ledger) -> Timing {
    after.timing.less(&before.timing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Producer;
    use crate::ledger::Category;
    use crate::time::Timestamp;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn charges_lead_back_to_the_origin() {
        begin();
        let mut ledger = Ledger::new(at(1));
        ledger.charge(Category::Network.because("on its way"), at(3));
        let half = ledger;
        ledger.charge(Category::Cpu, at(3));
        ledger.charge(Category::Cpu, at(4));
        let trail = take();
        let last = trail.charges(&ledger);
        assert_eq!(last.len(), 1, "a charge of no time is none");
        assert_eq!((last[0].before, last[0].words), (half, Category::Cpu.words()));
        assert_eq!(between(&half, &ledger).get(Category::Cpu).as_millis(), 1);
        let first = trail.charges(&half);
        assert_eq!((first[0].before, first[0].words), (Ledger::new(at(1)), "on its way"));
        assert!(trail.charges(&Ledger::new(at(1))).is_empty());
    }

    #[test]
    fn copies_part_when_they_are_charged_differently() {
        begin();
        let ledger = Ledger::new(at(0));
        let message = |index| MessageId { producer: Producer::Client, index };
        let (mut one, mut other) = (ledger, ledger);
        sent(&one, message(0));
        sent(&other, message(1));
        one.charge(Category::Cpu, at(1));
        one.charge(Category::Network, at(3));
        other.charge(Category::Network, at(2));
        other.charge(Category::Cpu, at(3));
        let trail = take();
        assert_eq!(trail.sent(&ledger), [message(0), message(1)]);
        assert_eq!(one, other, "the same sums");
        assert_eq!(trail.charges(&one).len(), 2, "reached in two ways");
    }

    #[test]
    fn nothing_is_recorded_unless_a_trail_is_kept() {
        let mut ledger = Ledger::new(at(0));
        ledger.charge(Category::Cpu, at(1));
        assert!(take().is_empty());
    }
}
