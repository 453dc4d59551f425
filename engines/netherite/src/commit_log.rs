//! The commit log of a partition: group commit with one commit in flight.
//!
//! **What it models.** Events are appended to an in-memory tail. One commit at a time makes everything
//! appended so far durable, together with the commit record, which says how far the log reaches; what is
//! appended meanwhile joins the next commit. Positions begin at 64. Source:
//! microsoft/durabletask-netherite, `LogWorker.cs`.
//!
//! **Media.** Where a log lies is a setting (`log`):
//!
//! | setting | a commit is | who can recover it |
//! |---|---|---|
//! | `page-blob` (published) | two dependent storage writes ([`page_blobs`]) | any host that gets the partition's lease |
//! | `local-disk` | one write and one sync on the disk of the host ([`file`]) | this host alone |
//! | `replicated-disk` | one round trip to three machines, two of which have synced ([`quorum`]) | any host that gets the lease and a majority's promise |
//!
//! The published engine has page blobs only. FASTER, whose log it uses, can also write to local devices
//! \[general\]; the other two are what-if questions of this testbed. Checkpoints and the instance store lie
//! in blobs whatever the log does.
//!
//! **Incarnations.** Who opens the log writes the number of a new incarnation (epoch) into the commit
//! record before anything else. What incarnations before it write late is refused, or not read.
//!
//! **Speculation `global`.** What is durable may depend on work that another partition can still lose;
//! it is *committed* when that cannot happen any more. The record then also says up to where that was
//! known, and an incarnation that has to roll back is followed by one that begins in front of the durable
//! end: the log is cut there. The last commit of the incarnation before has ended by then
//! ([`CommitLog::close`]), so that it does not write its record after the new one.
//!
//! **Checkpoints.** The record also names the last checkpoint (the published engine has a blob of its
//! own for that): so log and checkpoint are fenced by one mechanism, and one write makes both valid.
//!
//! Units: positions are bytes from the start of the log.

mod file;
mod journal;
mod page_blobs;
mod place;
mod quorum;
mod reader;
mod server;

pub(crate) use place::{LogPlace, Opening};
pub(crate) use reader::RecordReader;

use bytes::Bytes;
use place::{Medium, Opened};
use serde::{Deserialize, Serialize};
use sim_world::kernel::{Completion, Kernel, Notify, Resolver};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// Log positions below this one are the log's own header.
pub(crate) const FIRST_POSITION: u64 = 64;
/// Bytes that a recovery reads at once: a page of FASTER's log.
const READ_BYTES: u64 = 1 << 21;
/// The length in front of each record.
const RECORD_HEADER_BYTES: usize = 4;

/// The log lost its medium or its lease; the partition has to stop.
#[derive(Debug)]
pub(crate) struct LogLost;

/// A checkpoint: the incarnation that took it, its number, and the log position it describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointRef {
    pub epoch: u32,
    pub number: u64,
    pub position: u64,
}

/// How far the log reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitRecord {
    /// Up to where the log is durable.
    end: u64,
    /// First position and number of each incarnation.
    epochs: Vec<(u64, u32)>,
    checkpoint: Option<CheckpointRef>,
}

impl CommitRecord {
    /// The record of an empty log.
    fn new() -> CommitRecord {
        CommitRecord { end: FIRST_POSITION, epochs: Vec::new(), checkpoint: None }
    }

    /// The number of the last incarnation; 0 before the first.
    fn epoch(&self) -> u32 {
        self.epochs.last().map_or(0, |(_, epoch)| *epoch)
    }

    /// What is left of each incarnation: its number, from where, to where. An incarnation may begin in
    /// front of where others began, and then nothing behind its beginning is theirs any more.
    fn ranges(&self) -> Vec<(u32, u64, u64)> {
        let mut end = self.end;
        let mut ranges = Vec::new();
        for (begin, epoch) in self.epochs.iter().rev() {
            ranges.push((*epoch, *begin, end.max(*begin)));
            end = end.min(*begin);
        }
        ranges.reverse();
        ranges
    }
}

/// What was appended and is not durable, and, where a medium has pages, the page in which that begins.
struct Tail {
    /// Position of the first byte of `bytes`, a multiple of the medium's page.
    base: u64,
    bytes: Vec<u8>,
}

/// A piece of the log, to be read at a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A part of a blob.
    Blob { blob: String, offset: u64, length: u64 },
    /// What was read when the log was opened.
    Held(Bytes),
}

/// The log of one partition, as its holder writes it.
pub(crate) struct CommitLog {
    kernel: Kernel,
    medium: Medium,
    tail: RefCell<Tail>,
    appended: Notify,
    committed: Notify,
    record: RefCell<CommitRecord>,
    /// Up to where the last record said that the log is committed.
    committed_before: Cell<u64>,
    /// Nothing from this position on is to be written any more.
    closing: Cell<Option<u64>>,
    /// A checkpoint that the next commit names, and whom to tell then.
    checkpoint: RefCell<Option<(CheckpointRef, Resolver<()>)>>,
}

impl CommitLog {
    /// Opens the log and begins a new incarnation, where the log ends.
    pub(crate) async fn open(opening: Opening<'_>) -> Result<CommitLog, LogLost> {
        let kernel = opening.host.kernel().clone();
        let Opened { medium, record, committed, tail } = Medium::open(opening).await?;
        Ok(CommitLog {
            medium,
            tail: RefCell::new(tail),
            appended: kernel.notify(),
            committed: kernel.notify(),
            record: RefCell::new(record),
            committed_before: Cell::new(committed),
            closing: Cell::new(None),
            checkpoint: RefCell::default(),
            kernel,
        })
    }

    /// First position and number of each incarnation, this one last.
    pub(crate) fn epochs(&self) -> Vec<(u64, u32)> {
        self.record.borrow().epochs.clone()
    }

    /// The number of this incarnation.
    pub(crate) fn epoch(&self) -> u32 {
        self.record.borrow().epoch()
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
        let (resolver, published) = self.kernel.completion();
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
    /// committed, and `on_durable` is told up to where it is durable, and how long the commit took. The
    /// position at which it was closed.
    pub(crate) async fn run(
        &self,
        committed: impl Fn() -> u64,
        on_durable: impl Fn(u64, Duration),
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
            let begun = self.kernel.now();
            let (durable, end) = (self.durable(), goal().max(self.durable()));
            if let Medium::PageBlobs(blobs) = &self.medium {
                let pages = |from, until| self.pages(from, until);
                blobs.write_pages(self.epoch(), durable, end, pages).await?;
            }
            self.committed_before.set(committed());
            let published = self.checkpoint.take();
            let record = {
                let record = &mut *self.record.borrow_mut();
                if let Some((checkpoint, _)) = &published {
                    record.checkpoint = Some(*checkpoint);
                }
                CommitRecord { end, ..record.clone() }
            };
            let bytes = || self.bytes(durable, end);
            self.medium.commit(record, self.committed_before.get(), bytes).await?;
            self.trim(end);
            self.record.borrow_mut().end = end;
            on_durable(end, self.kernel.now().since(begun));
            self.committed.notify_all();
            if let Some((_, resolver)) = published {
                resolver.resolve(());
            }
        }
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

    /// The bytes from `from` to `until`.
    fn bytes(&self, from: u64, until: u64) -> Bytes {
        let tail = self.tail.borrow();
        let place = |position: u64| (position - tail.base) as usize;
        Bytes::copy_from_slice(&tail.bytes[place(from)..place(until)])
    }

    /// Forgets the pages that are durable and full.
    fn trim(&self, durable: u64) {
        let mut tail = self.tail.borrow_mut();
        let page = self.medium.page_bytes();
        let base = durable / page * page;
        let full = (base - tail.base) as usize;
        tail.bytes.drain(..full);
        tail.base = base;
    }

    /// The pieces of the log from `from` to its durable end, to be read in this order.
    pub(crate) fn pieces(&self, from: u64) -> Vec<Piece> {
        self.medium.pieces(&self.record.borrow(), from)
    }

    /// Blobs that hold nothing from `checkpoint` on and something from `before` on: they can be
    /// deleted when a checkpoint at `checkpoint` is valid, after one at `before`.
    pub(crate) fn obsolete(&self, before: u64, checkpoint: u64) -> Vec<String> {
        match &self.medium {
            Medium::PageBlobs(blobs) => blobs.obsolete(&self.record.borrow(), before, checkpoint),
            // Journals let go of it by themselves.
            Medium::LocalDisk(_) | Medium::ReplicatedDisk(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_that_rolled_back_takes_what_lies_behind_its_beginning_from_the_others() {
        let epochs = vec![(64, 1), (200, 2), (150, 3), (180, 4)];
        let record = CommitRecord { end: 300, epochs, checkpoint: None };
        assert_eq!(record.ranges(), [(1, 64, 150), (2, 200, 200), (3, 150, 180), (4, 180, 300)]);
    }
}
