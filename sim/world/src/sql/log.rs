//! The write-ahead log: its records, and who waits until which of them is durable.
//!
//! **What it models.** Every change is a record in the log before its transaction is committed. A
//! transaction is committed once its commit record, and so everything before it, is on the disk.
//! Records that were appended while writes of the log were under way leave together in the next
//! write (group commit), at most `block` bytes at a time; several writes may be under way at once,
//! and the log is durable up to the first of them that is not. Records are framed with length and
//! checksum, so that recovery finds the end of what was written whole.
//!
//! Positions are bytes from the beginning of the database's first log.
//!
//! A plain state machine. Source: learn.microsoft.com, SQL Server transaction log architecture and
//! management guide (log blocks up to 60 KB, write-ahead, asynchronous log writes) [general].

use super::table::{Row, TableId};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sim_model::codec::{decode, encode};
use std::collections::VecDeque;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of length and checksum before each record.
const FRAME: usize = 12;

/// One record.
///
/// A log is a row of segments. Each begins with its place in the whole, so that recovery knows
/// whether one before it has lost its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogRecord {
    /// A segment of the log begins.
    Segment {
        /// Its number.
        number: u64,
        /// Its position in the log.
        position: u64,
    },
    /// A transaction has set a row, or deleted it.
    Write {
        /// The transaction.
        transaction: u64,
        /// The table.
        table: TableId,
        /// The primary key.
        key: Bytes,
        /// The row from now on, if it is one.
        row: Option<Row>,
    },
    /// The identity column of a table has given out this number.
    Identity {
        /// The table.
        table: TableId,
        /// The number.
        value: u64,
    },
    /// A transaction is committed.
    Commit {
        /// The transaction.
        transaction: u64,
        /// What its caller knows it by, if it said.
        tag: Option<u64>,
    },
    /// A transaction was rolled back.
    Abort {
        /// The transaction.
        transaction: u64,
    },
}

impl LogRecord {
    /// Appends the framed record to `log`, with `overhead` bytes more: what the real format stores
    /// besides (transaction identifiers, page numbers, locks, images before the change).
    fn append(&self, log: &mut BytesMut, overhead: usize) {
        let start = log.len();
        log.put_bytes(0, FRAME);
        log.extend_from_slice(&encode(self));
        log.put_bytes(0, overhead);
        let length = (log.len() - start - FRAME) as u32;
        let checksum = xxh3_64(&log[start + FRAME..]);
        log[start..start + 4].copy_from_slice(&length.to_le_bytes());
        log[start + 4..start + FRAME].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// The records of a log up to the first that is not whole, and how many bytes they have.
pub fn read_log(log: &[u8]) -> (Vec<LogRecord>, usize) {
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some(frame) = log.get(at..at + FRAME) {
        let length = u32::from_le_bytes(frame[..4].try_into().expect("4 bytes")) as usize;
        let checksum = u64::from_le_bytes(frame[4..].try_into().expect("8 bytes"));
        let Some(body) = log.get(at + FRAME..at + FRAME + length) else { break };
        if length == 0 || xxh3_64(body) != checksum {
            break;
        }
        let Ok(record) = decode(body) else { break };
        records.push(record);
        at += FRAME + length;
    }
    (records, at)
}

/// A write of the log that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Write {
    end: u64,
    done: bool,
}

/// The end of the log in memory.
pub struct LogBuffer {
    /// Records that no write has taken.
    unwritten: BytesMut,
    /// Position of the end of all records.
    end: u64,
    /// Writes under way, in the order of their positions.
    writes: VecDeque<Write>,
    durable: u64,
    block: usize,
    overhead: usize,
}

impl LogBuffer {
    /// A log that is durable up to `position`. A write takes `block` bytes, and what makes the last
    /// record whole; a record has `overhead` bytes besides what it says.
    pub fn new(position: u64, block: usize, overhead: usize) -> LogBuffer {
        LogBuffer {
            unwritten: BytesMut::new(),
            end: position,
            writes: VecDeque::new(),
            durable: position,
            block,
            overhead,
        }
    }

    /// Appends a record; the position of its end.
    pub fn append(&mut self, record: &LogRecord) -> u64 {
        let before = self.unwritten.len();
        record.append(&mut self.unwritten, self.overhead);
        self.end += (self.unwritten.len() - before) as u64;
        self.end
    }

    /// The position of the end of all records.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The position up to which the log is on the disk.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Bytes that no write has taken.
    pub fn unwritten(&self) -> usize {
        self.unwritten.len()
    }

    /// Writes under way.
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// Takes the next block to be written, and the position of its end.
    pub fn take(&mut self) -> Option<(Bytes, u64)> {
        if self.unwritten.is_empty() {
            return None;
        }
        let length = match self.unwritten.len() <= self.block {
            true => self.unwritten.len(),
            false => whole_records(&self.unwritten, self.block),
        };
        let bytes = self.unwritten.split_to(length).freeze();
        let end = self.end - self.unwritten.len() as u64;
        self.writes.push_back(Write { end, done: false });
        Some((bytes, end))
    }

    /// The write that ends at `end` is on the disk. True if the log is durable further than before.
    ///
    /// # Panics
    /// If there is no such write.
    pub fn written(&mut self, end: u64) -> bool {
        let write = self.writes.iter_mut().find(|write| write.end == end);
        write.expect("invariant: a write ends once").done = true;
        let before = self.durable;
        while let Some(Write { end, .. }) = self.writes.front().filter(|write| write.done).copied() {
            self.durable = end;
            self.writes.pop_front();
        }
        self.durable > before
    }
}

/// How many bytes of whole records make up at least `least` bytes of a log.
fn whole_records(log: &[u8], least: usize) -> usize {
    let mut at = 0;
    while at < least {
        let length = u32::from_le_bytes(log[at..at + 4].try_into().expect("4 bytes")) as usize;
        at += FRAME + length;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commit(transaction: u64) -> LogRecord {
        LogRecord::Commit { transaction, tag: Some(transaction + 7) }
    }

    #[test]
    fn records_survive_up_to_the_first_torn_one() {
        let mut log = LogBuffer::new(0, 1 << 16, 20);
        (0..3).for_each(|number| _ = log.append(&commit(number)));
        let (bytes, end) = log.take().expect("records");
        assert_eq!(bytes.len() as u64, end);
        let (records, whole) = read_log(&bytes);
        assert_eq!((records.len(), whole), (3, bytes.len()));
        let (records, whole) = read_log(&bytes[..bytes.len() - 1]);
        assert_eq!((records, whole), (vec![commit(0), commit(1)], bytes.len() / 3 * 2));
        let mut torn = bytes.to_vec();
        torn[bytes.len() / 3 + FRAME + 2] ^= 1;
        assert_eq!(read_log(&torn).0, [commit(0)]);
        assert_eq!(read_log(&[0; 100]), (vec![], 0), "zeroes are no record");
    }

    #[test]
    fn the_log_is_durable_up_to_the_first_write_under_way() {
        let mut log = LogBuffer::new(100, 1 << 16, 0);
        let mut ends = Vec::new();
        for number in 0..3 {
            log.append(&commit(number));
            ends.push(log.take().expect("a record").1);
        }
        assert_eq!(log.take(), None);
        assert!(!log.written(ends[1]));
        assert_eq!(log.durable(), 100);
        assert!(log.written(ends[0]));
        assert_eq!(log.durable(), ends[1]);
        assert!(log.written(ends[2]));
        assert_eq!((log.durable(), log.writes()), (log.end(), 0));
    }

    proptest! {
        /// Blocks cut the log between records, and together they are the log.
        #[test]
        fn blocks_are_whole_records(count in 1u64..60, block in 1usize..400) {
            let mut log = LogBuffer::new(0, block, 5);
            (0..count).for_each(|number| _ = log.append(&commit(number)));
            let mut records = Vec::new();
            while let Some((bytes, _)) = log.take() {
                let (some, whole) = read_log(&bytes);
                prop_assert_eq!(whole, bytes.len());
                records.extend(some);
            }
            prop_assert_eq!(records, (0..count).map(commit).collect::<Vec<_>>());
        }
    }
}
