//! The rows of a history.
//!
//! A history is one partition of the History table: a row for each event, keyed by its number as 16
//! hexadecimal digits, and one *sentinel* row with the execution and the rows that count. The
//! sentinel is the checkpoint: its ETag is the version of the history, and all other rows are
//! remains of a checkpoint that was not finished or of an earlier life of the instance; they are
//! ignored, and overwritten later. Which rows are written is planned in [`crate::checkpoint`].
//!
//! Behind the sentinel, in its row, is the [`Journal`] if there is one; in its place the row's padding
//! reads as an empty one.
//!
//! Source: Azure/durabletask main@5217032, `Tracking/AzureTableTrackingStore.cs`. The rows in the
//! sentinel are an addition: they make a checkpoint of several transactions atomic for the reader.

use crate::journal::Journal;
use serde::{Deserialize, Serialize};
use sim_model::codec::DecodeError;
use sim_model::history::HistoryEvent;
use sim_model::id::MessageId;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// Row key of the sentinel; it sorts behind all numbers.
pub(crate) const SENTINEL: &str = "sentinel";

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
    /// The row of its first event.
    pub first_row: u32,
    /// How many events it has.
    pub events: u32,
}

impl Sentinel {
    /// The sentinel of a history in these rows.
    pub fn new(execution: MessageId, rows: &Range<usize>) -> Sentinel {
        let number = |number| u32::try_from(number).expect("fewer than 2^32 events");
        Sentinel { execution, first_row: number(rows.start), events: number(rows.len()) }
    }

    /// The rows of the history.
    pub fn rows(&self) -> Range<usize> {
        let first = self.first_row as usize;
        first..first + self.events as usize
    }
}

/// A history as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// The execution, if the instance has a history.
    pub execution: Option<MessageId>,
    /// Its events.
    pub events: Vec<HistoryEvent>,
    /// The rows of the table that hold it, or the history that it takes the place of.
    pub rows: Range<usize>,
    /// The version, if the instance has a history.
    pub version: Option<u64>,
    /// What it remembers of steps whose messages may come again.
    pub journal: Journal,
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
    /// Puts a history together from the rows that its sentinel names, in the order of their keys.
    ///
    /// # Errors
    /// If the sentinel counts more rows than there are.
    pub fn assemble(
        sentinel: Option<(Sentinel, Journal, u64)>,
        rows: impl Iterator<Item = EventRow>,
    ) -> Result<History, HistoryError> {
        let Some((sentinel, journal, version)) = sentinel else { return Ok(History::default()) };
        let expected = sentinel.events as usize;
        let events: Vec<HistoryEvent> =
            rows.filter(|row| row.execution == sentinel.execution).map(|row| row.event).collect();
        if events.len() != expected {
            return Err(HistoryError::Incomplete { expected, actual: events.len() });
        }
        let (execution, rows) = (Some(sentinel.execution), sentinel.rows());
        Ok(History { execution, events, rows, version: Some(version), journal })
    }

    /// Forgets the events, not their rows: a new execution begins in place of one that has ended.
    pub fn restart(&mut self, execution: MessageId) {
        self.execution = Some(execution);
        self.events.clear();
    }
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
    fn a_history_is_the_rows_that_its_sentinel_names() {
        let sentinel = Sentinel::new(execution(1), &(5..7));
        let rows = [row(1, 0), row(1, 1)];
        let history = History::assemble(Some((sentinel, Journal::default(), 7)), rows.into_iter())
            .expect("complete");
        assert_eq!((history.events.len(), history.rows.clone()), (2, 5..7));
        assert_eq!((history.execution, history.version), (Some(execution(1)), Some(7)));
        assert_eq!(History::assemble(None, [row(1, 0)].into_iter()), Ok(History::default()));
    }

    #[test]
    fn a_missing_row_is_an_error() {
        let sentinel = Sentinel::new(execution(1), &(0..2));
        let sentinel = Some((sentinel, Journal::default(), 7));
        let error = History::assemble(sentinel, [row(1, 0), row(2, 1)].into_iter());
        assert_eq!(error, Err(HistoryError::Incomplete { expected: 2, actual: 1 }));
    }

    #[test]
    fn the_padding_of_a_sentinel_reads_as_an_empty_journal() {
        use crate::wire::{HISTORY_ROW_ENVELOPE, Stored, inline, open};
        let sentinel = Sentinel::new(execution(1), &(0..2));
        let body = inline(&sentinel, HISTORY_ROW_ENVELOPE);
        let Ok(Stored::Inline(read)) = open::<(Sentinel, Journal)>(&body) else { panic!("inline") };
        assert_eq!(read, (sentinel, Journal::default()));
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
