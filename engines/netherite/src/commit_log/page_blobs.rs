//! The published medium: pages in page blobs, and the commit record in a block blob.
//!
//! **What it models.** A commit is two dependent storage writes: the 512-byte-aligned tail to page blobs
//! (chunks of at most 1 MiB, segments of 64 MiB), and then the commit record to a block blob under the
//! partition's lease. Source: microsoft/durabletask-netherite, `LogWorker.cs` and FASTER's log (page 2 MB,
//! segment 64 MB).
//!
//! **Incarnations.** Pages are not under the lease, as in the published engine; there a host that was frozen
//! between two writes could write over pages of its successor. Here each incarnation writes into blobs of its
//! own: late pages land in blobs that nobody reads beyond where the successor began. The log in front of a
//! checkpoint is deleted by whole segments.
//!
//! **Late copies.** A write that was not answered in time is repeated by the client library, and the first
//! copy may be applied after later writes of the same incarnation: a lease does not keep it out. So each
//! write of a page or of the record is made on condition that its blob has the ETag of the write
//! before. One that is refused has either been applied already, unanswered, which reading shows, or the
//! log is lost. \[infer\] from the published storage device, which writes pages under the ETag that it
//! has seen last.

use super::{CommitRecord, LogLost, Opening, Piece, READ_BYTES, Tail};
use crate::lease::PartitionLease;
use bytes::Bytes;
use sim_model::codec;
use sim_world::blob::{BlobContainer, Condition};
use sim_world::host::Host;
use sim_world::service::StorageError;
use std::cell::Cell;
use std::rc::Rc;

/// Writes to a page blob are aligned to this.
pub(super) const PAGE_BYTES: u64 = 512;
const CHUNK_BYTES: u64 = 1 << 20;
const SEGMENT_BYTES: u64 = 1 << 26;

/// The blobs of one log.
pub(super) struct PageBlobs {
    pub container: BlobContainer,
    pub prefix: String,
    pub host: Host,
    pub lease: Rc<PartitionLease>,
    pub fenced: bool,
    /// What is durable may not be committed: the commit blob says both.
    pub speculative: bool,
    /// What the next writes of the record, and of the last segment, ask for.
    record_tag: Cell<Condition>,
    segment_tag: Cell<Condition>,
}

impl PageBlobs {
    pub(super) fn new(opening: Opening<'_>) -> PageBlobs {
        let Opening { container, prefix, host, lease, fenced, speculative, .. } = opening;
        let any = || Cell::new(Condition::Any);
        let (record_tag, segment_tag) = (any(), any());
        PageBlobs { container, prefix, host, lease, fenced, speculative, record_tag, segment_tag }
    }

    /// What the commit blob says, and up to where it says that the log is committed; that of an empty log
    /// if there is none yet.
    pub(super) async fn read_record(&self) -> Result<(CommitRecord, u64), LogLost> {
        const READ: &str = "invariant: the commit record is read as it was written";
        let blob = format!("{}/commit", self.prefix);
        let read = self.container.get_tagged(&self.host, &blob, 0, u64::MAX).await;
        let (read, tag) = match read {
            Ok(reply) => (reply.value.0, Condition::Tag(reply.value.1)),
            Err(StorageError::NotFound { .. }) => (Bytes::new(), Condition::Absent),
            Err(_) => return Err(LogLost),
        };
        self.record_tag.set(tag);
        if self.speculative && !read.is_empty() {
            return Ok(codec::decode(&read).expect(READ));
        }
        let record = match read.is_empty() {
            true => CommitRecord::new(),
            false => codec::decode(&read).expect(READ),
        };
        let end = record.end;
        Ok((record, end))
    }

    /// The tail with which a new incarnation begins, after its record was written.
    pub(super) async fn begin(&self, record: &CommitRecord) -> Result<Tail, LogLost> {
        let base = record.end / PAGE_BYTES * PAGE_BYTES;
        let mut bytes = vec![0; (record.end - base) as usize];
        if self.fenced || record.epochs.len() == 1 {
            self.create_segment(record.epoch(), base / SEGMENT_BYTES).await?;
        } else {
            // An unfenced log goes on in the page in which its predecessor ended.
            let (blob, offset) =
                (self.segment(record.epoch(), base / SEGMENT_BYTES), base % SEGMENT_BYTES);
            let read = self.container.get_range(&self.host, &blob, offset, PAGE_BYTES).await;
            let page = read.map_err(|_| LogLost)?.value;
            let kept = bytes.len();
            bytes.copy_from_slice(&page[..kept]);
        }
        Ok(Tail { base, bytes })
    }

    fn segment(&self, epoch: u32, number: u64) -> String {
        let epoch = if self.fenced { epoch } else { 0 };
        format!("{}/log.{epoch}.{number}", self.prefix)
    }

    /// Pages are not under the lease: they count only once the commit blob, which is, names them.
    async fn create_segment(&self, epoch: u32, number: u64) -> Result<(), LogLost> {
        let segment = self.segment(epoch, number);
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

    /// Writes the commit blob; the log is committed up to `committed`.
    pub(super) async fn write_record(
        &self,
        record: &CommitRecord,
        committed: u64,
    ) -> Result<(), LogLost> {
        let name = format!("{}/commit", self.prefix);
        let lease = if self.fenced { self.lease.id() } else { None };
        let body = match self.speculative {
            true => codec::encode(&(record, committed.min(record.end))),
            false => codec::encode(record),
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

    /// Writes the pages from the one in which the durable log ends up to `end`, in order. `pages` gives
    /// their bytes.
    pub(super) async fn write_pages(
        &self,
        epoch: u32,
        durable: u64,
        end: u64,
        pages: impl Fn(u64, u64) -> Bytes,
    ) -> Result<(), LogLost> {
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
                self.create_segment(epoch, from / SEGMENT_BYTES).await?;
            }
            let segment = self.segment(epoch, from / SEGMENT_BYTES);
            let pages = pages(from, until);
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

    /// The pieces of the log from `from` to its durable end, to be read in this order.
    pub(super) fn pieces(&self, record: &CommitRecord, from: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (epoch, begin, end) in record.ranges() {
            let mut at = begin.max(from);
            while at < end {
                let segment_end = (at / SEGMENT_BYTES + 1) * SEGMENT_BYTES;
                let until = end.min(segment_end).min(at + READ_BYTES);
                let blob = self.segment(epoch, at / SEGMENT_BYTES);
                let (offset, length) = (at % SEGMENT_BYTES, until - at);
                pieces.push(Piece::Blob { blob, offset, length });
                at = until;
            }
        }
        pieces
    }

    /// Blobs that hold nothing from `checkpoint` on and something from `before` on.
    pub(super) fn obsolete(
        &self,
        record: &CommitRecord,
        before: u64,
        checkpoint: u64,
    ) -> Vec<String> {
        let mut blobs = Vec::new();
        let current = self.segment(record.epoch(), record.end / SEGMENT_BYTES);
        for (epoch, begin, end) in record.ranges() {
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
}
