//! The rows of a history, and how they are written in transactions.
//!
//! A history is one partition of the History table: a row for each event, keyed by its number as 16
//! hexadecimal digits, and one *sentinel* row with the execution and the number of events. The
//! sentinel is the checkpoint: its ETag is the version of the history, and rows beyond its count,
//! or of another execution, are remains of a checkpoint that was not finished or of an earlier life
//! of the instance; they are ignored, and overwritten later.
//!
//! Source: Azure/durabletask main@5217032, `Tracking/AzureTableTrackingStore.cs`. The number of
//! events in the sentinel is an addition: it makes a checkpoint of several transactions atomic for
//! the reader.

use serde::{Deserialize, Serialize};
use sim_model::codec::DecodeError;
use sim_model::history::HistoryEvent;
use sim_model::id::MessageId;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// Row key of the sentinel; it sorts behind all numbers.
pub(crate) const SENTINEL: &str = "sentinel";
/// Most events of one transaction: with the sentinel they are 100 entities.
const EVENTS_MAX: usize = 99;
/// Most bytes of the events of one transaction.
const BYTES_MAX: usize = 3 * 1024 * 1024;

/// The row of one event.
#[derive(Serialize, Deserialize)]
pub(crate) struct EventRow {
    /// The execution that it belongs to.
    pub execution: MessageId,
    /// The event.
    pub event: HistoryEvent,
}

/// The sentinel row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sentinel {
    /// The execution whose history this is.
    pub execution: MessageId,
    /// How many events it has.
    pub events: u32,
}

/// A history as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The execution, if the instance has a history.
    pub execution: Option<MessageId>,
    /// Its events.
    pub events: Vec<HistoryEvent>,
    /// The version, if the instance has a history.
    pub version: Option<u64>,
}

/// A partition that is no history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HistoryError {
    /// A row does not decode.
    #[error("a row of a history: {0}")]
    Row(#[from] DecodeError),
    /// The sentinel counts more events than there are.
    #[error("a history of {expected} events has {actual}")]
    Incomplete {
        /// Events that the sentinel counts.
        expected: usize,
        /// Events that were found.
        actual: usize,
    },
}

impl History {
    /// Puts a history together from its rows, in the order of their keys.
    ///
    /// # Errors
    /// If the sentinel counts more rows than there are.
    pub fn assemble(
        sentinel: Option<(Sentinel, u64)>,
        rows: impl Iterator<Item = EventRow>,
    ) -> Result<History, HistoryError> {
        let Some((sentinel, version)) = sentinel else { return Ok(History::default()) };
        let expected = sentinel.events as usize;
        let events: Vec<HistoryEvent> = rows
            .take(expected)
            .filter(|row| row.execution == sentinel.execution)
            .map(|row| row.event)
            .collect();
        if events.len() != expected {
            return Err(HistoryError::Incomplete { expected, actual: events.len() });
        }
        Ok(History { execution: Some(sentinel.execution), events, version: Some(version) })
    }

    /// Forgets the events: a new execution begins in place of one that has ended.
    pub fn restart(&mut self, execution: MessageId) {
        self.execution = Some(execution);
        self.events.clear();
    }
}

/// Splits events with these sizes, in bytes, into transactions: the last is never empty, so that
/// the sentinel goes with events.
pub(crate) fn split(sizes: &[usize]) -> Vec<Range<usize>> {
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

/// The row keys of events, made once for each number.
#[derive(Default)]
pub(crate) struct RowKeys(RefCell<Vec<Rc<str>>>);

impl RowKeys {
    /// The key of the event with this number.
    pub fn key(&self, sequence: usize) -> Rc<str> {
        let mut keys = self.0.borrow_mut();
        while keys.len() <= sequence {
            let key = format!("{:016X}", keys.len());
            keys.push(Rc::from(key));
        }
        keys[sequence].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_model::history::EventKind;
    use sim_model::id::Producer;
    use sim_model::time::Timestamp;

    fn execution(index: u32) -> MessageId {
        MessageId { producer: Producer::Client, index }
    }

    fn row(of: u32, at: u64) -> EventRow {
        let timestamp = Timestamp::from_nanos(at);
        let event = HistoryEvent { timestamp, kind: EventKind::OrchestratorCompleted };
        EventRow { execution: execution(of), event }
    }

    #[test]
    fn rows_beyond_the_checkpoint_are_ignored() {
        let sentinel = Sentinel { execution: execution(1), events: 2 };
        let rows = [row(1, 0), row(1, 1), row(1, 2), row(9, 3)];
        let history = History::assemble(Some((sentinel, 7)), rows.into_iter()).expect("complete");
        assert_eq!(history.events.len(), 2);
        assert_eq!((history.execution, history.version), (Some(execution(1)), Some(7)));
        assert_eq!(History::assemble(None, [row(1, 0)].into_iter()), Ok(History::default()));
    }

    #[test]
    fn a_missing_row_is_an_error() {
        let sentinel = Sentinel { execution: execution(1), events: 2 };
        let error = History::assemble(Some((sentinel, 7)), [row(1, 0), row(2, 1)].into_iter());
        assert_eq!(error, Err(HistoryError::Incomplete { expected: 2, actual: 1 }));
    }

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
    fn keys_sort_by_number_and_before_the_sentinel() {
        let keys = RowKeys::default();
        assert_eq!(&*keys.key(17), "0000000000000011");
        let mut sorted: Vec<Rc<str>> = (0..300).map(|number| keys.key(number)).collect();
        sorted.push(SENTINEL.into());
        assert!(sorted.is_sorted());
    }
}
