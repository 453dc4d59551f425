//! The deterministic scheduler: which canisters execute when, and on which thread.
//!
//! **What it models.** A round has a limit of instructions for each of its threads, and several inner
//! iterations. In an iteration the canisters with work are ordered (long executions that were paused
//! first, then by accumulated priority, then by identity) and dealt to the threads: the long ones to
//! the first threads, one each, the rest round robin. A thread executes the messages of its canisters
//! one canister after the other. Priority is credit: a canister that had its full turn pays, and what
//! is paid is shared evenly, so that everyone is scheduled in the end; the sum is always zero.
//!
//! **Left out.** Compute allocations that are paid for: all canisters have the same share.
//! Sources: dfinity/ic rs/execution_environment/src/scheduler/round_schedule.rs@002d5530,
//! rs/config/src/subnet_config.rs@002d5530.

use crate::block::CanisterId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Credit that a full turn costs, in hundredths of a percent of a round.
const TURN: i64 = 10_000;
/// Rounds after which all credit is forgotten. Source: subnet_config.rs (24 * 3600).
const RESET_ROUNDS: u64 = 24 * 3_600;

/// Limits of a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Threads.
    pub(crate) threads: usize,
    /// Instructions of one thread in a round.
    pub(crate) round: u64,
    /// Instructions of one slice of a message execution.
    pub(crate) slice: u64,
    /// Instructions that each message execution costs besides its own.
    pub(crate) message_overhead: u64,
    /// Instructions that each canister costs in each iteration it executes in.
    pub(crate) canister_overhead: u64,
    /// Instructions for each active canister at the end of an iteration.
    pub(crate) finalization_overhead: u64,
    /// Bytes of heap delta in an iteration, after which the round ends.
    pub(crate) iteration_heap_delta: u64,
    /// Bytes of heap delta of one canister in a round; more is waited off.
    pub(crate) canister_heap_delta: u64,
    /// Paused executions that are kept; others start again.
    pub(crate) paused_max: usize,
    /// Whether an execution is paused after a slice.
    pub(crate) slicing: bool,
    /// Whether what canisters send each other is executed in the same round.
    pub(crate) transitive: bool,
}

impl Default for Limits {
    /// Those of an application subnet. Source: subnet_config.rs@002d5530.
    fn default() -> Limits {
        Limits {
            threads: 4,
            round: 7_000_000_000,
            slice: 2_000_000_000,
            message_overhead: 2_000_000,
            canister_overhead: 8_000_000,
            finalization_overhead: 12_000,
            iteration_heap_delta: 200_000_000,
            canister_heap_delta: 75 << 20,
            paused_max: 4,
            slicing: true,
            transitive: true,
        }
    }
}

/// The credit of each canister.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Priorities {
    credit: BTreeMap<CanisterId, i64>,
    rounds: u64,
}

impl Priorities {
    /// Priorities of these canisters, all equal.
    pub(crate) fn new(canisters: impl Iterator<Item = CanisterId>) -> Priorities {
        Priorities { credit: canisters.map(|id| (id, 0)).collect(), rounds: 0 }
    }

    fn of(&self, canister: CanisterId) -> i64 {
        self.credit[&canister]
    }

    /// Orders canisters with work, of which `long` have a paused execution, and deals them to threads.
    pub(crate) fn assign(
        &self,
        ready: &[CanisterId],
        long: &BTreeSet<CanisterId>,
        threads: usize,
    ) -> Vec<Vec<CanisterId>> {
        let mut order = ready.to_vec();
        order.sort_by_key(|id| (!long.contains(id), -self.of(*id), *id));
        let mut dealt = vec![Vec::new(); threads];
        let long_threads = order.iter().filter(|id| long.contains(id)).count().min(threads);
        let (first, rest) = order.split_at(long_threads);
        for (thread, id) in first.iter().enumerate() {
            dealt[thread].push(*id);
        }
        for (place, id) in rest.iter().enumerate() {
            dealt[(long_threads + place) % threads].push(*id);
        }
        dealt
    }

    /// The paused executions that are given up, if there are more than `most`: those of least priority.
    pub(crate) fn aborted(&self, paused: &[CanisterId], most: usize) -> Vec<CanisterId> {
        let mut order = paused.to_vec();
        order.sort_by_key(|id| (-self.of(*id), *id));
        order.split_off(most.min(order.len()))
    }

    /// Ends a round in which these canisters had their full turn.
    pub(crate) fn end_round(&mut self, full: &BTreeSet<CanisterId>) {
        self.rounds += 1;
        if self.rounds.is_multiple_of(RESET_ROUNDS) {
            self.credit.values_mut().for_each(|credit| *credit = 0);
            return;
        }
        let paid = TURN * full.len() as i64;
        let count = self.credit.len() as i64;
        let (share, rest) = (paid / count.max(1), paid % count.max(1));
        for (place, (id, credit)) in self.credit.iter_mut().enumerate() {
            *credit += share + i64::from((place as i64) < rest);
            if full.contains(id) {
                *credit -= TURN;
            }
        }
        debug_assert_eq!(self.credit.values().sum::<i64>(), 0, "credit is neither made nor lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(count: u32) -> Vec<CanisterId> {
        (0..count).map(CanisterId).collect()
    }

    #[test]
    fn long_executions_come_first_on_threads_of_their_own() {
        let priorities = Priorities::new(ids(8).into_iter());
        let long = BTreeSet::from([CanisterId(5), CanisterId(7)]);
        let dealt = priorities.assign(&ids(8), &long, 4);
        assert_eq!(dealt[0][0], CanisterId(5));
        assert_eq!(dealt[1][0], CanisterId(7));
        assert_eq!(dealt[2][0], CanisterId(0));
        assert_eq!(dealt.iter().map(Vec::len).sum::<usize>(), 8);
    }

    #[test]
    fn of_too_many_paused_executions_the_least_are_given_up() {
        let mut priorities = Priorities::new(ids(6).into_iter());
        priorities.end_round(&BTreeSet::from([CanisterId(0), CanisterId(3)]));
        assert_eq!(priorities.aborted(&ids(6), 4), [CanisterId(0), CanisterId(3)]);
        assert_eq!(priorities.aborted(&ids(3), 4), []);
    }

    proptest! {
        /// With one full turn in each round and everyone always ready, nobody waits for more than a
        /// turn of all others, and a credit of zero.
        #[test]
        fn everyone_has_a_turn(count in 2u32..20, rounds in 50usize..200) {
            let all = ids(count);
            let mut priorities = Priorities::new(all.iter().copied());
            let mut last = vec![0; count as usize];
            for round in 1..=rounds {
                let first = priorities.assign(&all, &BTreeSet::new(), 1)[0][0];
                priorities.end_round(&BTreeSet::from([first]));
                let waited = round - last[first.0 as usize];
                prop_assert!(waited <= 2 * count as usize, "{first} waited {waited} rounds");
                last[first.0 as usize] = round;
                prop_assert_eq!(priorities.credit.values().sum::<i64>(), 0);
            }
        }
    }
}
