//! The write-ahead log: its records, and who waits until which of them is durable.
//!
//! **What it models.** Every change is a record in the log before its transaction is committed. A
//! transaction is committed once its commit record, and so everything before it, is on the disk.
//! Records that were appended while a write of the log could not begin leave together in the next
//! (group commit), filled up to whole sectors; several writes may be under way at once, and the log is
//! durable up to the first of them that is not. Records are framed with length and checksum, so that
//! recovery finds the end of what was written whole.
//!
//! Positions are bytes from the beginning of the database's first log.
//!
//! A plain state machine. Source: learn.microsoft.com, SQL Server transaction log architecture and
//! management guide (write-ahead, log blocks, asynchronous log writes) [general].

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

/// The records of a segment up to the first that is not whole, and where they end. Blocks begin at
/// multiples of `sector` bytes.
pub fn read_log(log: &[u8], sector: usize) -> (Vec<LogRecord>, usize) {
    let (mut records, mut at) = (Vec::new(), 0);
    loop {
        match read_record(&log[at.min(log.len())..]) {
            Some((record, length)) => {
                records.push(record);
                at += length;
            }
            // What fills up a block; a block that is missing has no record at its beginning.
            None if at % sector != 0 => at = at.next_multiple_of(sector),
            None => return (records, at),
        }
    }
}

fn read_record(log: &[u8]) -> Option<(LogRecord, usize)> {
    let frame = log.get(..FRAME)?;
    let length = u32::from_le_bytes(frame[..4].try_into().expect("4 bytes")) as usize;
    let checksum = u64::from_le_bytes(frame[4..].try_into().expect("8 bytes"));
    let body = log.get(FRAME..FRAME + length)?;
    if length == 0 || xxh3_64(body) != checksum {
        return None;
    }
    Some((decode(body).ok()?, FRAME + length))
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
    format: LogFormat,
}

/// Sizes of a log, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFormat {
    /// Writes are filled up to a multiple of this.
    pub sector: usize,
    /// What a record has besides what it says.
    pub overhead: usize,
}

impl LogBuffer {
    /// A log that is durable up to `position`.
    pub fn new(position: u64, format: LogFormat) -> LogBuffer {
        LogBuffer {
            unwritten: BytesMut::new(),
            end: position,
            writes: VecDeque::new(),
            durable: position,
            format,
        }
    }

    /// Appends a record; the position of its end.
    pub fn append(&mut self, record: &LogRecord) -> u64 {
        let before = self.unwritten.len();
        record.append(&mut self.unwritten, self.format.overhead);
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
    #[cfg(test)]
    pub fn writes(&self) -> usize {
        self.writes.len()
    }

    /// Takes everything that no write has taken, and the position of its end.
    pub fn take(&mut self) -> Option<(Bytes, u64)> {
        if self.unwritten.is_empty() {
            return None;
        }
        let padding =
            self.unwritten.len().next_multiple_of(self.format.sector) - self.unwritten.len();
        self.unwritten.put_bytes(0, padding);
        self.end += padding as u64;
        self.writes.push_back(Write { end: self.end, done: false });
        Some((self.unwritten.split().freeze(), self.end))
    }

    /// The write that ends at `end` is on the disk. True if the log is durable further than before.
    ///
    /// # Panics
    /// If there is no such write.
    pub fn written(&mut self, end: u64) -> bool {
        let write = self.writes.iter_mut().find(|write| write.end == end);
        write.expect("invariant: a write ends once").done = true;
        let before = self.durable;
        while let Some(Write { end, .. }) = self.writes.front().filter(|write| write.done).copied()
        {
            self.durable = end;
            self.writes.pop_front();
        }
        self.durable > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECTOR: usize = 64;

    fn log(position: u64) -> LogBuffer {
        LogBuffer::new(position, LogFormat { sector: SECTOR, overhead: 20 })
    }

    fn commit(transaction: u64) -> LogRecord {
        LogRecord::Commit { transaction }
    }

    #[test]
    fn records_survive_up_to_the_first_torn_one() {
        let mut log = log(0);
        (0..3).for_each(|number| _ = log.append(&commit(number)));
        let records_end = log.end() as usize;
        let (bytes, end) = log.take().expect("records");
        assert_eq!((bytes.len() as u64, bytes.len() % SECTOR), (end, 0));
        assert_eq!(read_log(&bytes, SECTOR), ((0..3).map(commit).collect(), bytes.len()));
        let (records, _) = read_log(&bytes[..records_end - 1], SECTOR);
        assert_eq!(records, [commit(0), commit(1)]);
        let mut torn = bytes.to_vec();
        torn[records_end / 3 + FRAME + 2] ^= 1;
        assert_eq!(read_log(&torn, SECTOR).0, [commit(0)]);
        assert_eq!(read_log(&[0; 100], SECTOR), (vec![], 0), "zeroes are no record");
    }

    #[test]
    fn the_log_is_durable_up_to_the_first_write_under_way() {
        let mut log = log(128);
        let mut ends = Vec::new();
        for number in 0..3 {
            log.append(&commit(number));
            ends.push(log.take().expect("a record").1);
        }
        assert_eq!(log.take(), None);
        assert!(!log.written(ends[1]));
        assert_eq!(log.durable(), 128);
        assert!(log.written(ends[0]));
        assert_eq!(log.durable(), ends[1]);
        assert!(log.written(ends[2]));
        assert_eq!((log.durable(), log.writes()), (log.end(), 0));
    }

    proptest! {
        /// Writes of any sizes, one after the other, are the log; without one of them, the log ends
        /// before it.
        #[test]
        fn writes_follow_each_other(sizes in proptest::collection::vec(1u64..9, 1..12), hole in 0usize..12) {
            let (mut log, mut next, mut file) = (log(0), 0, Vec::new());
            let mut before_hole = None;
            for (index, size) in sizes.iter().enumerate() {
                (next..next + size).for_each(|number| _ = log.append(&commit(number)));
                let (bytes, _) = log.take().expect("records");
                if index == hole {
                    before_hole = Some((next, file.len()));
                    file.resize(file.len() + bytes.len(), 0);
                } else {
                    file.extend_from_slice(&bytes);
                }
                next += size;
            }
            let (count, end) = before_hole.unwrap_or((next, file.len()));
            let (records, found) = read_log(&file, SECTOR);
            prop_assert_eq!(records, (0..count).map(commit).collect::<Vec<_>>());
            prop_assert_eq!(found, end);
        }
    }
}
