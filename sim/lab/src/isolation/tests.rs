//! Histories of transactions, by hand, at random, and against trying every serial order.

use super::*;
use proptest::prelude::*;

/// What a transaction did to an object: the version it found, as a path of writes.
#[derive(Clone, Copy, Debug)]
struct Did {
    transaction: u32,
    object: usize,
    /// The access that wrote the version it found; none for the initial one.
    found: Option<usize>,
    writes: bool,
}

fn cycle(history: &[Did]) -> Option<Vec<Edge>> {
    let mut dependencies = Dependencies::default();
    let objects = history.iter().map(|did| did.object + 1).max().unwrap_or(0);
    let initial: Vec<Version> = (0..objects).map(|_| dependencies.initial()).collect();
    let mut after: Vec<Version> = Vec::new();
    for did in history {
        let found = did.found.map_or(initial[did.object], |access| after[access]);
        after.push(dependencies.access(found, did.transaction, did.writes));
    }
    dependencies.cycle()
}

fn did(transaction: u32, object: usize, found: Option<usize>, writes: bool) -> Did {
    Did { transaction, object, found, writes }
}

#[test]
fn one_after_the_other_is_isolated() {
    let history = [
        did(0, 0, None, true),
        did(0, 1, None, true),
        did(1, 0, Some(0), true),
        did(1, 1, Some(1), true),
    ];
    assert_eq!(cycle(&history), None);
}

#[test]
fn a_lost_update_is_a_cycle_of_two() {
    let history = [did(0, 0, None, true), did(1, 0, None, true)];
    let found = cycle(&history).expect("both overwrote one version");
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|edge| edge.dependency == Dependency::ReadWrite));
}

#[test]
fn a_write_skew_is_a_cycle_of_two_read_writes() {
    let history = [
        did(0, 0, None, false),
        did(1, 1, None, false),
        did(0, 1, None, true),
        did(1, 0, None, true),
    ];
    let found = cycle(&history).expect("each read what the other overwrote");
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|edge| edge.dependency == Dependency::ReadWrite));
}

#[test]
fn a_write_between_two_reads_of_a_section_is_a_cycle() {
    let history = [did(0, 0, None, false), did(1, 0, None, true), did(0, 0, Some(1), false)];
    let found = cycle(&history).expect("it read two versions");
    let dependencies: Vec<Dependency> = found.iter().map(|edge| edge.dependency).collect();
    assert!(dependencies.contains(&Dependency::WriteRead), "{dependencies:?}");
    assert!(dependencies.contains(&Dependency::ReadWrite), "{dependencies:?}");
}

#[test]
fn a_cycle_of_three_is_told_in_order() {
    let history = [
        did(0, 0, None, true),
        did(1, 0, Some(0), false),
        did(1, 1, None, true),
        did(2, 1, Some(2), false),
        did(2, 2, None, true),
        did(0, 2, Some(4), false),
    ];
    let found = cycle(&history).expect("a cycle");
    assert_eq!(found.len(), 3);
    for (edge, next) in found.iter().zip(found.iter().cycle().skip(1)) {
        assert_eq!(edge.to, next.from);
    }
}

/// Whether some serial order lets every access find the version that it found.
fn brute_force(history: &[Did], transactions: u32) -> bool {
    fn go(history: &[Did], order: &mut Vec<u32>, transactions: u32) -> bool {
        if order.len() == transactions as usize {
            return explains(history, order);
        }
        (0..transactions).any(|next| {
            if order.contains(&next) {
                return false;
            }
            order.push(next);
            let found = go(history, order, transactions);
            order.pop();
            found
        })
    }
    go(history, &mut Vec::new(), transactions)
}

fn explains(history: &[Did], order: &[u32]) -> bool {
    let mut current = std::collections::BTreeMap::new();
    order.iter().all(|transaction| {
        let own = history.iter().enumerate().filter(|(_, did)| did.transaction == *transaction);
        own.into_iter().all(|(access, did)| {
            let fits = current.get(&did.object).copied() == did.found;
            if did.writes {
                current.insert(did.object, access);
            }
            fits
        })
    })
}

/// Accesses that interleave, each of which finds the newest version of its object, or sometimes an
/// older one.
fn interleaved() -> impl Strategy<Value = Vec<Did>> {
    let access = (0u32..4, 0usize..3, any::<bool>(), 0usize..6);
    proptest::collection::vec(access, 1..9).prop_map(|accesses| {
        let mut history: Vec<Did> = Vec::new();
        for (transaction, object, writes, back) in accesses {
            let mut versions = vec![None];
            let written = history.iter().enumerate();
            versions.extend(
                written
                    .filter(|(_, did)| did.object == object && did.writes)
                    .map(|(at, _)| Some(at)),
            );
            let back = if back == 0 { 1 } else { 0 };
            let found = versions[versions.len().saturating_sub(1 + back)];
            history.push(did(transaction, object, found, writes));
        }
        history
    })
}

/// Transactions that ran one after the other.
fn serial() -> impl Strategy<Value = Vec<Did>> {
    let accesses = proptest::collection::vec((0usize..3, any::<bool>()), 1..4);
    proptest::collection::vec(accesses, 1..20).prop_map(|transactions| {
        let mut newest = std::collections::BTreeMap::new();
        let mut history = Vec::new();
        for (number, accesses) in transactions.into_iter().enumerate() {
            for (object, writes) in accesses {
                let found = newest.get(&object).copied();
                if writes {
                    newest.insert(object, history.len());
                }
                history.push(did(number as u32, object, found, writes));
            }
        }
        history
    })
}

proptest! {
    #[test]
    fn what_ran_serially_has_no_cycle(history in serial()) {
        prop_assert_eq!(cycle(&history), None);
    }

    #[test]
    fn a_cycle_is_found_exactly_if_no_serial_order_explains(history in interleaved()) {
        prop_assert_eq!(cycle(&history).is_none(), brute_force(&history, 4));
    }

    #[test]
    fn what_is_found_is_a_cycle(history in interleaved()) {
        if let Some(found) = cycle(&history) {
            for (edge, next) in found.iter().zip(found.iter().cycle().skip(1)) {
                prop_assert_eq!(edge.to, next.from);
            }
        }
    }
}
