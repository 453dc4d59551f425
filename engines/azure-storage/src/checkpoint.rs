//! Where a step's events go in the History table, and in which transactions: a plan.
//!
//! A history is the rows that its sentinel counts (see [`crate::history`]). Appended events follow
//! behind them. Events that *replace* the history (every step of an entity, continue-as-new, a new
//! life of an instance) are written over the former rows from row 0 on, and what is left of those is
//! deleted, all in the one transaction that carries the sentinel: the history of an entity stays at
//! three rows for ever.
//!
//! **Beyond one transaction.** A replacement of more rows than one transaction takes is written
//! where the former history is not, in front of it if there is room, else behind it; the last
//! transaction turns the sentinel over; the former rows are deleted after that. So whoever reads sees
//! the former history or the new one, wherever the writer stops. The published engine overwrites in
//! place, one transaction after the other, and relies on the execution in each row; this is an
//! addition, and costs the same number of transactions for the events.
//!
//! Limits (100 entities and 4 MiB of a transaction, of which 3 MiB are used for events): Azure/
//! durabletask main@5217032, `Tracking/AzureTableTrackingStore.cs`.

use std::ops::Range;

/// Most entities of one transaction.
pub(crate) const ENTITIES_MAX: usize = 100;
/// Most events of one transaction: the sentinel goes with the last one.
const EVENTS_MAX: usize = ENTITIES_MAX - 1;
/// Most bytes of the events of one transaction.
const BYTES_MAX: usize = 3 * 1024 * 1024;

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The events, by index.
    pub events: Range<usize>,
    /// Former rows that are deleted.
    pub deletes: Range<usize>,
}

/// How the events of a step are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The row of the first event.
    pub first_row: usize,
    /// The rows of the history once the plan is carried out.
    pub rows: Range<usize>,
    /// The transactions, in order. The last one carries the sentinel.
    pub parts: Vec<Part>,
    /// Former rows to delete after that.
    pub cleanup: Range<usize>,
}

/// Plans the writing of events with these sizes, in bytes, behind the history in `rows` or in its
/// place.
pub(crate) fn plan(rows: &Range<usize>, sizes: &[usize], replaces: bool) -> Plan {
    let parts = split(sizes);
    let count = sizes.len();
    if !replaces {
        let (first_row, parts) = (rows.end, without_deletes(parts));
        return Plan { first_row, rows: rows.start..rows.end + count, parts, cleanup: 0..0 };
    }
    let left = rows.start.max(count).min(rows.end)..rows.end;
    if parts.len() == 1 && count + left.len() <= EVENTS_MAX {
        let parts = vec![Part { events: 0..count, deletes: left }];
        return Plan { first_row: 0, rows: 0..count, parts, cleanup: 0..0 };
    }
    let first_row = if rows.is_empty() || count <= rows.start { 0 } else { rows.end };
    let parts = without_deletes(parts);
    Plan { first_row, rows: first_row..first_row + count, parts, cleanup: rows.clone() }
}

fn without_deletes(parts: Vec<Range<usize>>) -> Vec<Part> {
    parts.into_iter().map(|events| Part { events, deletes: 0..0 }).collect()
}

/// Splits events with these sizes into transactions: the last is never empty, so that the sentinel
/// goes with events.
fn split(sizes: &[usize]) -> Vec<Range<usize>> {
    assert!(!sizes.is_empty(), "a step writes events");
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, size) in sizes.iter().enumerate() {
        if index > start && (index - start == EVENTS_MAX || bytes + size > BYTES_MAX) {
            parts.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    parts.push(start..sizes.len());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The ends of the transactions.
    fn ends(sizes: &[usize]) -> Vec<usize> {
        let parts = split(sizes);
        assert_eq!(parts[0].start, 0);
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start), "{parts:?}");
        parts.iter().map(|part| part.end).collect()
    }

    #[test]
    fn transactions_keep_their_limits() {
        assert_eq!(ends(&[100; 4]), [4]);
        assert_eq!(ends(&[100; 99]), [99]);
        assert_eq!(ends(&[100; 100]), [99, 100]);
        assert_eq!(ends(&[100; 250]), [99, 198, 250]);
        let mebibyte = 1024 * 1024;
        assert_eq!(ends(&[mebibyte; 7]), [3, 6, 7]);
        assert_eq!(ends(&[4 * mebibyte, 1]), [1, 2], "too large anyway: alone");
    }

    #[test]
    fn an_entity_writes_its_three_rows_again_and_again() {
        let expected = Plan {
            first_row: 0,
            rows: 0..3,
            parts: vec![Part { events: 0..3, deletes: 3..3 }],
            cleanup: 0..0,
        };
        assert_eq!(plan(&(0..0), &[100; 3], true).rows, 0..3);
        assert_eq!(plan(&(0..3), &[100; 3], true), expected);
    }

    #[test]
    fn continue_as_new_deletes_what_is_left_in_the_same_transaction() {
        let plan = plan(&(0..40), &[100; 4], true);
        assert_eq!(plan.parts, [Part { events: 0..4, deletes: 4..40 }]);
        assert_eq!((plan.rows, plan.cleanup), (0..4, 0..0));
    }

    #[test]
    fn large_replacements_use_the_room_in_front_of_the_former_rows() {
        let behind = plan(&(0..150), &[100; 150], true);
        assert_eq!((behind.rows.clone(), behind.cleanup), (150..300, 0..150));
        assert_eq!(plan(&behind.rows, &[100; 150], true).rows, 0..150);
    }

    /// A table of rows and a sentinel, as far as a reader sees it.
    #[derive(Clone, Default)]
    struct Table {
        rows: BTreeMap<usize, u32>,
        sentinel: Range<usize>,
    }

    impl Table {
        fn read(&self) -> Vec<u32> {
            self.sentinel.clone().map(|row| self.rows[&row]).collect()
        }
    }

    proptest! {
        /// Wherever a writer stops, a reader sees what was there before or all of what is new.
        #[test]
        fn every_plan_is_atomic(
            steps in proptest::collection::vec((1usize..260, any::<bool>(), 0usize..6), 1..12),
        ) {
            let (mut table, mut next) = (Table::default(), 0u32);
            let mut expected: Vec<u32> = Vec::new();
            for (count, replaces, stop_after) in steps {
                let plan = plan(&table.sentinel, &vec![10; count], replaces);
                let events: Vec<u32> = (next..next + count as u32).collect();
                next += count as u32;
                let mut new = if replaces { Vec::new() } else { expected.clone() };
                new.extend(&events);
                let last = plan.parts.len() - 1;
                for (number, part) in plan.parts.iter().enumerate().take(stop_after) {
                    prop_assert!(part.events.len() + part.deletes.len() <= EVENTS_MAX);
                    for index in part.events.clone() {
                        table.rows.insert(plan.first_row + index, events[index]);
                    }
                    for row in part.deletes.clone() {
                        prop_assert!(table.rows.remove(&row).is_some(), "row {} is there", row);
                    }
                    if number == last {
                        table.sentinel = plan.rows.clone();
                        expected = new.clone();
                        for row in plan.cleanup.clone() {
                            prop_assert!(table.rows.remove(&row).is_some(), "row {} is there", row);
                        }
                    }
                }
                prop_assert_eq!(table.read(), expected.clone());
            }
        }
    }
}
