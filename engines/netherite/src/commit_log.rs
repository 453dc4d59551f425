//! The commit log of a partition: group commit with one commit in flight.
//!
//! **What it models.** Events are appended to an in-memory tail. One commit at a time makes
//! everything appended so far durable: the 512-byte-aligned tail is written to page blobs (chunks of
//! at most 1 MiB, segments of 64 MiB), and then the commit record, which says how far the log
//! reaches, to a block blob under the partition's lease: two dependent storage writes. What is
//! appended meanwhile joins the next commit. Source: microsoft/durabletask-netherite, `LogWorker.cs`
//! and FASTER's log (page 2 MB, segment 64 MB, positions from 64).
//!
//! **Incarnations.** Who opens the log writes the number of a new incarnation (epoch) into the commit
//! record before anything else, and its pages into blobs of its own. Pages are not under the lease,
//! as in the published engine; there a host that was frozen between two writes could write over pages
//! of its successor. Here its late pages land in blobs that nobody reads beyond where the successor
//! began.
//!
//! **Late copies.** A write that was not answered in time is repeated by the client library, and the first
//! copy may be applied after later writes of the same incarnation: a lease does not keep it out. So each
//! write of a page or of the record is made on condition that its blob has the ETag of the write
//! before. One that is refused has either been applied already, unanswered, which reading shows, or the
//! log is lost. \[infer\] from the published storage device, which writes pages under the ETag that it
//! has seen last.
//!
//! **Speculation `global`.** What is durable may depend on work that another partition can still lose;
//! it is *committed* when that cannot happen any more. The record then also says up to where that was
//! known, and an incarnation that has to roll back is followed by one that begins in front of the durable
//! end: the log is cut there. The last commit of the incarnation before has ended by then
//! ([`CommitLog::close`]), so that it does not write its record after the new one.
//!
//! **Checkpoints.** The record also names the last checkpoint (the published engine has a blob of its
//! own for that): so log and checkpoint are fenced by one lease, and one write makes both valid. The
//! log in front of the checkpoint is deleted by whole segments.
//!
//! Units: positions are bytes from the start of the log.

mod reader;

pub(crate) use reader::RecordReader;

use crate::lease::PartitionLease;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sim_model::codec;
use sim_world::blob::{BlobContainer, Condition};
use sim_world::host::Host;
use sim_world::kernel::{Completion, Notify, Resolver};
use sim_world::service::StorageError;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Log positions below this one are the log's own header.
pub(crate) const FIRST_POSITION: u64 = 64;
const PAGE_BYTES: u64 = 512;
const CHUNK_BYTES: u64 = 1 << 20;
const SEGMENT_BYTES: u64 = 1 << 26;
/// Bytes that a recovery reads at once: a page of FASTER's log.
const READ_BYTES: u64 = 1 << 21;
/// The length in front of each record.
const RECORD_HEADER_BYTES: usize = 4;

/// The log lost its blobs or its lease; the partition has to stop.
#[derive(Debug)]
pub(crate) struct LogLost;

/// A checkpoint: the incarnation that took it, its number, and the log position it describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointRef {
    pub epoch: u32,
    pub number: u64,
    pub position: u64,
}

/// What the commit blob holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CommitRecord {
    /// Up to where the log is durable.
    end: u64,
    /// First position and number of each incarnation.
    epochs: Vec<(u64, u32)>,
    checkpoint: Option<CheckpointRef>,
}

/// How a log is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// Write under the lease, each incarnation into blobs of its own.
    pub fenced: bool,
    /// What is durable may not be committed.
    pub speculative: bool,
    /// Nothing from this position on is kept.
    pub cut: Option<u64>,
}

struct Tail {
    /// Position of the first byte of `bytes`, a multiple of the page size.
    base: u64,
    bytes: Vec<u8>,
}

/// A piece of a log blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub blob: String,
    pub offset: u64,
    pub length: u64,
}

/// The log of one partition, as its holder writes it.
pub(crate) struct CommitLog {
    container: BlobContainer,
    prefix: String,
    host: Host,
    lease: Rc<PartitionLease>,
    fenced: bool,
    speculative: bool,
    tail: RefCell<Tail>,
    appended: Notify,
    committed: Notify,
    record: RefCell<CommitRecord>,
    /// What the next writes of the record, and of the last segment, ask for.
    record_tag: Cell<Condition>,
    segment_tag: Cell<Condition>,
    /// Up to where the last record said that the log is committed.
    committed_before: Cell<u64>,
    /// Nothing from this position on is to be written any more.
    closing: Cell<Option<u64>>,
    /// A checkpoint that the next commit names, and whom to tell then.
    checkpoint: RefCell<Option<(CheckpointRef, Resolver<()>)>>,
}

impl CommitLog {
    /// Opens the log and begins a new incarnation, where the log ends.
    pub(crate) async fn open(
        container: BlobContainer,
        prefix: String,
        host: Host,
        lease: Rc<PartitionLease>,
        opening: Opening,
    ) -> Result<CommitLog, LogLost> {
        let Opening { fenced, speculative, cut } = opening;
        let blob = format!("{prefix}/commit");
        let (read, record_tag) = match container.get_tagged(&host, &blob, 0, u64::MAX).await {
            Ok(reply) => (reply.value.0, Condition::Tag(reply.value.1)),
            Err(StorageError::NotFound { .. }) => (Bytes::new(), Condition::Absent),
            Err(_) => return Err(LogLost),
        };
        let (mut record, committed) = if read.is_empty() {
            let epochs = Vec::new();
            let record = CommitRecord { end: FIRST_POSITION, epochs, checkpoint: None };
            (record, FIRST_POSITION)
        } else {
            decode_record(&read, speculative)
        };
        // What is committed is never cut off.
        record.end = cut.map_or(record.end, |cut| cut.max(committed).min(record.end));
        let epoch = record.epochs.last().map_or(1, |(_, epoch)| epoch + 1);
        let is_new = record.epochs.is_empty();
        record.epochs.push((record.end, epoch));
        let base = record.end / PAGE_BYTES * PAGE_BYTES;
        let kernel = host.kernel().clone();
        let log = CommitLog {
            container,
            prefix,
            host,
            lease,
            fenced,
            speculative,
            tail: RefCell::new(Tail { base, bytes: vec![0; (record.end - base) as usize] }),
            appended: kernel.notify(),
            committed: kernel.notify(),
            record: RefCell::new(record),
            record_tag: Cell::new(record_tag),
            segment_tag: Cell::new(Condition::Any),
            committed_before: Cell::new(committed),
            closing: Cell::new(None),
            checkpoint: RefCell::default(),
        };
        log.write_record_up_to(log.durable()).await?;
        if fenced || is_new {
            log.create_segment(base / SEGMENT_BYTES).await?;
        } else {
            log.read_last_page().await?;
        }
        Ok(log)
    }

    /// An unfenced log goes on in the page in which its predecessor ended.
    async fn read_last_page(&self) -> Result<(), LogLost> {
        let base = self.tail.borrow().base;
        let (blob, offset) =
            (self.segment(self.epoch(), base / SEGMENT_BYTES), base % SEGMENT_BYTES);
        let read = self.container.get_range(&self.host, &blob, offset, PAGE_BYTES).await;
        let page = read.map_err(|_| LogLost)?.value;
        let tail = &mut *self.tail.borrow_mut();
        let kept = tail.bytes.len();
        tail.bytes.copy_from_slice(&page[..kept]);
        Ok(())
    }

    /// First position and number of each incarnation, this one last.
    pub(crate) fn epochs(&self) -> Vec<(u64, u32)> {
        self.record.borrow().epochs.clone()
    }

    /// The number of this incarnation.
    pub(crate) fn epoch(&self) -> u32 {
        self.record.borrow().epochs.last().map_or(0, |(_, epoch)| *epoch)
    }

    /// The last checkpoint that is valid.
    pub(crate) fn last_checkpoint(&self) -> Option<CheckpointRef> {
        self.record.borrow().checkpoint
    }

    /// Up to where the log is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.record.borrow().end
    }

    /// Up to where this incarnation found the log to be committed, or has said so since.
    pub(crate) fn committed_before(&self) -> u64 {
        self.committed_before.get().min(self.durable())
    }

    /// Where the next record goes.
    pub(crate) fn end(&self) -> u64 {
        let tail = self.tail.borrow();
        tail.base + tail.bytes.len() as u64
    }

    /// Appends the encoding of `record` to the tail in memory; its position. What many events of a
    /// run have to go through is written in place.
    pub(crate) fn append<T: Serialize>(&self, record: &T) -> u64 {
        let tail = &mut *self.tail.borrow_mut();
        let begin = tail.bytes.len();
        let content = begin + RECORD_HEADER_BYTES;
        tail.bytes.resize(content, 0);
        postcard::to_io(record, &mut tail.bytes)
            .expect("invariant: events have an encoding, and memory takes it");
        let length = (tail.bytes.len() - content) as u32;
        tail.bytes[begin..content].copy_from_slice(&length.to_le_bytes());
        tail.base + begin as u64
    }

    /// Lets the next commit begin, if none is in flight.
    pub(crate) fn wake(&self) {
        self.appended.notify_one();
    }

    /// Waits until the log is durable up to `position`.
    pub(crate) async fn until_durable(&self, position: u64) {
        loop {
            let committed = self.committed.notified();
            if self.durable() >= position {
                return;
            }
            committed.await;
        }
    }

    /// Makes the next commit name this checkpoint; resolved when that is durable.
    pub(crate) fn publish(&self, checkpoint: CheckpointRef) -> Completion<()> {
        let (resolver, published) = self.host.kernel().completion();
        self.checkpoint.replace(Some((checkpoint, resolver)));
        self.wake();
        published
    }

    /// Makes the log end: what lies before `position` is written, and then [`CommitLog::run`] returns.
    pub(crate) fn close(&self, position: u64) {
        self.closing.set(Some(position));
        self.wake();
    }

    /// Makes durable what is appended, until the log is closed. `committed` says up to where it is
    /// committed, and `on_durable` is told up to where it is durable. The position at which it was closed.
    pub(crate) async fn run(
        &self,
        committed: impl Fn() -> u64,
        on_durable: impl Fn(u64),
    ) -> Result<u64, LogLost> {
        loop {
            let goal = || self.closing.get().map_or(self.end(), |last| last.min(self.end()));
            while goal() <= self.durable() {
                if let Some(last) = self.closing.get() {
                    return Ok(last);
                }
                if self.checkpoint.borrow().is_some() {
                    break;
                }
                self.appended.notified().await;
            }
            let end = goal().max(self.durable());
            self.write_tail(end).await?;
            self.committed_before.set(committed());
            let published = self.checkpoint.take();
            {
                let record = &mut *self.record.borrow_mut();
                if let Some((checkpoint, _)) = &published {
                    record.checkpoint = Some(*checkpoint);
                }
            }
            self.write_record_up_to(end).await?;
            self.trim(end);
            self.record.borrow_mut().end = end;
            on_durable(end);
            self.committed.notify_all();
            if let Some((_, resolver)) = published {
                resolver.resolve(());
            }
        }
    }

    fn segment(&self, epoch: u32, number: u64) -> String {
        let epoch = if self.fenced { epoch } else { 0 };
        format!("{}/log.{epoch}.{number}", self.prefix)
    }

    /// Pages are not under the lease: they count only once the commit blob, which is, names them.
    async fn create_segment(&self, number: u64) -> Result<(), LogLost> {
        let segment = self.segment(self.epoch(), number);
        let condition = self.if_fenced(Condition::Absent);
        let created =
            self.container.page_create_if(&self.host, &segment, SEGMENT_BYTES, condition).await;
        let etag = match created {
            Ok(reply) => Some(reply.value),
            // Nobody else makes it: there is nothing in it yet.
            Err(StorageError::PreconditionFailed) => {
                self.applied(&segment, (0, 0), &Bytes::new()).await
            }
            Err(_) => None,
        };
        self.segment_tag.set(Condition::Tag(etag.ok_or(LogLost)?));
        Ok(())
    }

    /// An unfenced log asks for nothing.
    fn if_fenced(&self, condition: Condition) -> Condition {
        if self.fenced { condition } else { Condition::Any }
    }

    /// The ETag of a blob in which a write that was refused is found after all.
    async fn applied(&self, blob: &str, (offset, length): (u64, u64), body: &Bytes) -> Option<u64> {
        let read = self.container.get_tagged(&self.host, blob, offset, length).await;
        let (found, etag) = read.ok()?.value;
        (found == *body).then_some(etag)
    }

    async fn write_record_up_to(&self, end: u64) -> Result<(), LogLost> {
        let record = CommitRecord { end, ..self.record.borrow().clone() };
        let name = format!("{}/commit", self.prefix);
        let lease = self.fenced.then_some(self.lease.id);
        let body = match self.speculative {
            true => codec::encode(&(record, self.committed_before.get().min(end))),
            false => codec::encode(&record),
        };
        let condition = self.if_fenced(self.record_tag.get());
        let put = self.container.put_if(&self.host, &name, body.clone(), lease, condition).await;
        let etag = match put {
            Ok(reply) => Some(reply.value),
            Err(StorageError::PreconditionFailed) => {
                self.applied(&name, (0, u64::MAX), &body).await
            }
            Err(_) => None,
        };
        self.record_tag.set(Condition::Tag(etag.ok_or(LogLost)?));
        Ok(())
    }

    /// Writes the pages from the last durable one up to `end`, in order.
    async fn write_tail(&self, end: u64) -> Result<(), LogLost> {
        let durable = self.durable();
        let mut from = durable / PAGE_BYTES * PAGE_BYTES;
        let to = if end > durable { end.next_multiple_of(PAGE_BYTES) } else { from };
        while from < to {
            if self.lease.is_lost() {
                return Err(LogLost);
            }
            let segment_end = (from / SEGMENT_BYTES + 1) * SEGMENT_BYTES;
            let until = to.min(from + CHUNK_BYTES).min(segment_end);
            let offset = from % SEGMENT_BYTES;
            if offset == 0 && from > 0 && from >= durable {
                self.create_segment(from / SEGMENT_BYTES).await?;
            }
            let segment = self.segment(self.epoch(), from / SEGMENT_BYTES);
            let pages = self.pages(from, until);
            let condition = self.if_fenced(self.segment_tag.get());
            let write = (offset, pages.clone());
            let written =
                self.container.page_write_if(&self.host, &segment, write, condition).await;
            let etag = match written {
                Ok(reply) => Some(reply.value),
                Err(StorageError::PreconditionFailed) => {
                    self.applied(&segment, (offset, until - from), &pages).await
                }
                Err(_) => None,
            };
            self.segment_tag.set(Condition::Tag(etag.ok_or(LogLost)?));
            from = until;
        }
        Ok(())
    }

    /// The bytes from `from` to `until`, zero-padded behind the end of the log.
    fn pages(&self, from: u64, until: u64) -> Bytes {
        let tail = self.tail.borrow();
        let begin = (from - tail.base) as usize;
        let end = ((until - tail.base) as usize).min(tail.bytes.len());
        let mut pages = tail.bytes[begin..end].to_vec();
        pages.resize((until - from) as usize, 0);
        Bytes::from(pages)
    }

    /// Forgets the pages that are durable and full.
    fn trim(&self, durable: u64) {
        let mut tail = self.tail.borrow_mut();
        let base = durable / PAGE_BYTES * PAGE_BYTES;
        let full = (base - tail.base) as usize;
        tail.bytes.drain(..full);
        tail.base = base;
    }

    /// The pieces of the log from `from` to its durable end, to be read in this order.
    pub(crate) fn pieces(&self, from: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (epoch, begin, end) in self.ranges() {
            let mut at = begin.max(from);
            while at < end {
                let segment_end = (at / SEGMENT_BYTES + 1) * SEGMENT_BYTES;
                let until = end.min(segment_end).min(at + READ_BYTES);
                let blob = self.segment(epoch, at / SEGMENT_BYTES);
                pieces.push(Piece { blob, offset: at % SEGMENT_BYTES, length: until - at });
                at = until;
            }
        }
        pieces
    }

    /// Blobs that hold nothing from `checkpoint` on and something from `before` on: they can be
    /// deleted when a checkpoint at `checkpoint` is valid, after one at `before`.
    pub(crate) fn obsolete(&self, before: u64, checkpoint: u64) -> Vec<String> {
        let mut blobs = Vec::new();
        let current = self.segment(self.epoch(), self.durable() / SEGMENT_BYTES);
        for (epoch, begin, end) in self.ranges() {
            let mut at = begin;
            while at < end {
                let until = end.min((at / SEGMENT_BYTES + 1) * SEGMENT_BYTES);
                let blob = self.segment(epoch, at / SEGMENT_BYTES);
                if until > before && until <= checkpoint && blob != current {
                    blobs.push(blob);
                }
                at = until;
            }
        }
        blobs
    }

    /// What each incarnation has written and is durable: its number, from where, to where.
    fn ranges(&self) -> Vec<(u32, u64, u64)> {
        ranges(&self.record.borrow())
    }
}

/// The commit record and up to where it says that the log is committed.
fn decode_record(bytes: &[u8], speculative: bool) -> (CommitRecord, u64) {
    const READ: &str = "invariant: the commit record is read as it was written";
    if speculative {
        return codec::decode(bytes).expect(READ);
    }
    let record: CommitRecord = codec::decode(bytes).expect(READ);
    let end = record.end;
    (record, end)
}

/// What is left of each incarnation: an incarnation may begin in front of where others began, and
/// then nothing behind its beginning is theirs any more.
fn ranges(record: &CommitRecord) -> Vec<(u32, u64, u64)> {
    let mut end = record.end;
    let mut ranges = Vec::new();
    for (begin, epoch) in record.epochs.iter().rev() {
        ranges.push((*epoch, *begin, end.max(*begin)));
        end = end.min(*begin);
    }
    ranges.reverse();
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_that_rolled_back_takes_what_lies_behind_its_beginning_from_the_others() {
        let epochs = vec![(64, 1), (200, 2), (150, 3), (180, 4)];
        let record = CommitRecord { end: 300, epochs, checkpoint: None };
        assert_eq!(ranges(&record), [(1, 64, 150), (2, 200, 200), (3, 150, 180), (4, 180, 300)]);
    }
}
