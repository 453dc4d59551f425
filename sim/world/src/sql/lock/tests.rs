//! Lines, conversions and cycles.

use super::*;
use LockMode::{Exclusive, Shared, Update};
use proptest::prelude::*;

const A: u32 = 1;
const B: u32 = 2;

fn tx(number: u64) -> TransactionId {
    TransactionId(number)
}

#[test]
fn readers_share_and_writers_wait_in_line() {
    let mut locks = LockTable::default();
    assert_eq!(locks.request(tx(1), &A, Shared), Requested::Granted);
    assert_eq!(locks.request(tx(2), &A, Shared), Requested::Granted);
    assert_eq!(locks.request(tx(3), &A, Exclusive), Requested::Waiting);
    assert_eq!(locks.request(tx(4), &A, Shared), Requested::Waiting, "not past the writer");
    assert_eq!(locks.release_all(tx(1)), []);
    assert_eq!(locks.release_all(tx(2)), [tx(3)]);
    assert_eq!(locks.release_all(tx(3)), [tx(4)]);
    assert_eq!(locks.release_all(tx(4)), []);
    assert!(locks.is_empty());
}

#[test]
fn who_does_not_want_to_wait_leaves_no_trace() {
    let mut locks = LockTable::default();
    assert!(locks.try_request(tx(1), &A, Exclusive));
    assert!(!locks.try_request(tx(2), &A, Update));
    assert!(locks.try_request(tx(1), &A, Shared), "what is held is more than that");
    assert_eq!(locks.held(tx(1), &A), Some(Exclusive));
    assert_eq!(locks.release_all(tx(1)), []);
    assert!(locks.is_empty());
}

#[test]
fn an_update_lock_keeps_readers_and_no_second_one() {
    let mut locks = LockTable::default();
    assert_eq!(locks.request(tx(1), &A, Update), Requested::Granted);
    assert_eq!(locks.request(tx(2), &A, Shared), Requested::Granted);
    assert_eq!(locks.request(tx(3), &A, Update), Requested::Waiting);
    assert_eq!(locks.request(tx(1), &A, Exclusive), Requested::Waiting, "a reader is there");
    assert_eq!(locks.release_all(tx(2)), [tx(1)], "conversions come first");
    assert_eq!(locks.held(tx(1), &A), Some(Exclusive));
    assert_eq!(locks.release_all(tx(1)), [tx(3)]);
}

#[test]
fn cycles_are_found_when_they_close() {
    let mut locks = LockTable::default();
    locks.request(tx(1), &A, Exclusive);
    locks.request(tx(2), &B, Exclusive);
    locks.request(tx(1), &B, Shared);
    assert_eq!(locks.cycle(tx(1)), []);
    locks.request(tx(2), &A, Shared);
    assert_eq!(locks.cycle(tx(2)), [tx(2), tx(1)]);
    assert_eq!(locks.release_all(tx(2)), [tx(1)]);
    assert_eq!(locks.cycle(tx(1)), []);
}

#[test]
fn two_readers_that_both_want_to_write_are_a_cycle() {
    let mut locks = LockTable::default();
    locks.request(tx(1), &A, Shared);
    locks.request(tx(2), &A, Shared);
    assert_eq!(locks.request(tx(1), &A, Exclusive), Requested::Waiting);
    assert_eq!(locks.request(tx(2), &A, Exclusive), Requested::Waiting);
    assert_eq!(locks.cycle(tx(2)), [tx(2), tx(1)]);
}

#[test]
fn a_line_is_part_of_a_cycle() {
    let mut locks = LockTable::default();
    locks.request(tx(1), &A, Shared);
    locks.request(tx(2), &B, Exclusive);
    locks.request(tx(3), &A, Exclusive);
    locks.request(tx(2), &A, Shared);
    assert_eq!(locks.cycle(tx(2)), [], "1 does not wait");
    locks.request(tx(1), &B, Shared);
    assert_eq!(locks.cycle(tx(1)), [tx(1), tx(2), tx(3)], "2 waits behind 3, which waits for 1");
}

#[derive(Clone, Debug)]
enum Act {
    Request(u64, u32, LockMode),
    Try(u64, u32, LockMode),
    End(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let mode = prop_oneof![Just(Shared), Just(Update), Just(Exclusive)];
    prop_oneof![
        4 => (0u64..6, 0u32..4, mode.clone()).prop_map(|(t, r, m)| Act::Request(t, r, m)),
        1 => (0u64..6, 0u32..4, mode).prop_map(|(t, r, m)| Act::Try(t, r, m)),
        2 => (0u64..6).prop_map(Act::End),
    ]
}

proptest! {
    /// No two transactions ever hold a resource in modes that exclude each other; whoever is let in
    /// was waiting; and once cycles are broken, ending everybody lets everybody in.
    #[test]
    fn locks_exclude_and_nobody_is_forgotten(acts in proptest::collection::vec(act(), 1..120)) {
        let mut locks: LockTable<u32> = LockTable::default();
        let mut waiting: BTreeSet<TransactionId> = BTreeSet::new();
        for act in acts {
            let granted = match act {
                Act::Request(t, r, m) if !waiting.contains(&tx(t)) => {
                    if locks.request(tx(t), &r, m) == Requested::Waiting {
                        waiting.insert(tx(t));
                        if locks.cycle(tx(t)).is_empty() {
                            Vec::new()
                        } else {
                            waiting.remove(&tx(t));
                            locks.release_all(tx(t))
                        }
                    } else {
                        Vec::new()
                    }
                }
                Act::Try(t, r, m) if !waiting.contains(&tx(t)) => {
                    locks.try_request(tx(t), &r, m);
                    Vec::new()
                }
                Act::End(t) => {
                    waiting.remove(&tx(t));
                    locks.release_all(tx(t))
                }
                _ => Vec::new(),
            };
            for transaction in granted {
                prop_assert!(waiting.remove(&transaction), "{:?} did not wait", transaction);
            }
            for resource in 0..4 {
                let holders: Vec<_> =
                    (0..6).filter_map(|t| locks.held(tx(t), &resource)).collect();
                for (index, one) in holders.iter().enumerate() {
                    for other in &holders[index + 1..] {
                        prop_assert!(one.is_compatible(*other));
                    }
                }
            }
            for transaction in &waiting {
                prop_assert!(locks.cycle(*transaction).is_empty(), "cycles were broken");
            }
        }
        while let Some(runs) = (0..6).map(tx).find(|t| !waiting.contains(t) && locks.held.contains_key(t)) {
            for transaction in locks.release_all(runs) {
                prop_assert!(waiting.remove(&transaction));
            }
        }
        prop_assert!(waiting.is_empty(), "{:?} wait for ever", waiting);
        prop_assert!(locks.is_empty());
    }
}
