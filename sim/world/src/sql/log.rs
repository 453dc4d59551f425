//! The write-ahead log: its records, and who waits until which of them is durable.
//!
//! **What it models.** Every change is a record in the log before its transaction is committed. A
//! transaction is committed once its commit record, and so everything before it, is on the disk.
//! Records that were appended while a write of the log could not begin leave together in the next
//! (group commit), filled up to whole sectors; several writes may be under way at once, and the log is
//! durable up to the first of them that is not. Records are framed with length and checksum, so that
//! recovery finds the end of what was written whole. The checksum covers the place of the record too, as blocks
//! and pages of the real server have theirs in their headers: what a disk has put elsewhere is no record there.
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
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of length and checksum before each record.
const FRAME: usize = 12;
/// In the length: the record is the last of its block.
const LAST: u32 = 1 << 31;

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
    fn append(&self, log: &mut BytesMut, overhead: usize, place: Place) {
        let start = log.len();
        log.put_bytes(0, FRAME);
        log.extend_from_slice(&encode(self));
        log.put_bytes(0, overhead);
        frame(&mut log[start..], place, false);
    }
}

/// Puts length and checksum in front of a record.
fn frame(record: &mut [u8], place: Place, is_last: bool) {
    let length = u32::try_from(record.len() - FRAME).expect("records are smaller than 2 GiB");
    assert!(length < LAST, "records are smaller than 2 GiB");
    let length = if is_last { length | LAST } else { length };
    let checksum = place.checksum(&record[FRAME..], is_last);
    record[..4].copy_from_slice(&length.to_le_bytes());
    record[4..FRAME].copy_from_slice(&checksum.to_le_bytes());
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The number of its segment.
    segment: u64,
    /// Its position in the log.
    position: u64,
}

impl Place {
    fn checksum(self, body: &[u8], is_last: bool) -> u64 {
        let last = u64::from(is_last) << 63;
        xxh3_64_with_seed(body, self.segment.rotate_right(24) ^ self.position ^ last)
    }
}

/// The records of segment `number` up to the first that is not whole, and where they end. Blocks begin at
/// multiples of `sector` bytes; one that was torn does not hide that by what comes after it.
pub fn read_log(log: &[u8], sector: usize, number: u64) -> (Vec<LogRecord>, usize) {
    let Some(start) = start_of(log, number) else { return (Vec::new(), 0) };
    let (mut records, mut at) = (Vec::new(), 0);
    loop {
        let place = Place { segment: number, position: start + at as u64 };
        let Some((record, length, is_last)) = read_record(&log[at.min(log.len())..], place) else {
            return (records, at);
        };
        records.push(record);
        at += length;
        if is_last {
            at = at.next_multiple_of(sector);
        }
    }
}

/// Where a segment says that it begins.
fn start_of(log: &[u8], number: u64) -> Option<u64> {
    let Framed { body, .. } = frame_of(log)?;
    match decode(body).ok()? {
        LogRecord::Segment { number: written, position } if written == number => Some(position),
        _ => None,
    }
}

/// What is at the place of a record, sound or not.
struct Framed<'a> {
    is_last: bool,
    checksum: u64,
    body: &'a [u8],
}

fn frame_of(log: &[u8]) -> Option<Framed<'_>> {
    let frame = log.get(..FRAME)?;
    let length = u32::from_le_bytes(frame[..4].try_into().expect("4 bytes"));
    let checksum = u64::from_le_bytes(frame[4..].try_into().expect("8 bytes"));
    let body = log.get(FRAME..FRAME + (length & !LAST) as usize)?;
    (!body.is_empty()).then_some(Framed { is_last: length & LAST != 0, checksum, body })
}

/// A record with its length, and whether it is the last of its block.
fn read_record(log: &[u8], place: Place) -> Option<(LogRecord, usize, bool)> {
    let Framed { is_last, checksum, body } = frame_of(log)?;
    if place.checksum(body, is_last) != checksum {
        return None;
    }
    Some((decode(body).ok()?, FRAME + body.len(), is_last))
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
    /// Where the last one of them begins, and its place.
    last: (usize, Place),
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
            last: (0, Place { segment: 0, position }),
            end: position,
            writes: VecDeque::new(),
            durable: position,
            format,
        }
    }

    /// Appends a record; the position of its end.
    pub fn append(&mut self, record: &LogRecord) -> u64 {
        let segment = match record {
            LogRecord::Segment { number, .. } => *number,
            _ => self.last.1.segment,
        };
        let before = self.unwritten.len();
        let place = Place { segment, position: self.end };
        self.last = (before, place);
        record.append(&mut self.unwritten, self.format.overhead, place);
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
        let (last, place) = self.last;
        frame(&mut self.unwritten[last..], place, true);
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

    const NUMBER: u64 = 7;

    fn log(position: u64) -> LogBuffer {
        let mut log = LogBuffer::new(position, LogFormat { sector: SECTOR, overhead: 20 });
        log.append(&segment(position));
        log
    }

    fn segment(position: u64) -> LogRecord {
        LogRecord::Segment { number: NUMBER, position }
    }

    /// The beginning of a segment with commits.
    fn commits(position: u64, numbers: std::ops::Range<u64>) -> Vec<LogRecord> {
        [segment(position)].into_iter().chain(numbers.map(commit)).collect()
    }

    fn commit(transaction: u64) -> LogRecord {
        LogRecord::Commit { transaction }
    }

    #[test]
    fn records_survive_up_to_the_first_torn_one() {
        let mut log = log(0);
        let begin = log.end() as usize;
        (0..3).for_each(|number| _ = log.append(&commit(number)));
        let records_end = log.end() as usize;
        let (bytes, end) = log.take().expect("records");
        assert_eq!((bytes.len() as u64, bytes.len() % SECTOR), (end, 0));
        let read = |bytes: &[u8]| read_log(bytes, SECTOR, NUMBER);
        assert_eq!(read(&bytes), (commits(0, 0..3), bytes.len()));
        assert_eq!(read(&bytes[..records_end - 1]).0, commits(0, 0..2));
        log.append(&commit(3));
        let (next, _) = log.take().expect("a record");
        // What a record has besides what it says is zeros, as what was not written.
        let mut half = bytes[..records_end - 22].to_vec();
        half.resize(bytes.len(), 0);
        half.extend_from_slice(&next);
        assert_eq!(read(&half).0, commits(0, 0..2), "a block after a torn one is not the log");
        let mut torn = bytes.to_vec();
        torn[begin + (records_end - begin) / 3 + FRAME + 2] ^= 1;
        assert_eq!(read(&torn).0, commits(0, 0..1));
        assert_eq!(read(&[0; 100]), (vec![], 0), "zeroes are no record");
    }

    #[test]
    fn what_lies_at_another_place_is_no_record() {
        let mut log = log(SECTOR as u64);
        let (first, _) = log.take().expect("the beginning");
        log.append(&commit(0));
        let (second, _) = log.take().expect("a record");
        log.append(&commit(1));
        let (third, _) = log.take().expect("a record");
        let whole = [&first[..], &second[..], &third[..]].concat();
        assert_eq!(read_log(&whole, SECTOR, NUMBER).0, commits(SECTOR as u64, 0..2));
        assert_eq!(read_log(&whole, SECTOR, NUMBER + 1).0, [], "the file of another segment");
        let misplaced = [&first[..], &third[..], &third[..]].concat();
        assert_eq!(read_log(&misplaced, SECTOR, NUMBER).0, [segment(SECTOR as u64)]);
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
            file.extend_from_slice(&log.take().expect("the beginning").0);
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
            let (records, found) = read_log(&file, SECTOR, NUMBER);
            prop_assert_eq!(records, commits(0, 0..count));
            prop_assert_eq!(found, end);
        }
    }
}
