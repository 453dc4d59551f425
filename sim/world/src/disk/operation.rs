//! What is under way on a disk: operations of processes, and requests to the device for them.

use super::error::DiskError;
use super::files::{Commit, InodeId};
use crate::kernel::{EventId, Resolver};
use crate::service::Reply;
use bytes::Bytes;
use sim_model::ledger::{Category, Timing};
use sim_model::time::Timestamp;
use std::collections::BTreeMap;
use std::ops::Range;

/// What a process asks for.
pub(super) enum Work {
    /// The bytes from one offset to another.
    Read { inode: InodeId, from: u64, to: u64 },
    /// Bytes at an offset, or at the end.
    Write { inode: InodeId, offset: Option<u64>, bytes: Bytes },
    /// Durability of a file, or of names alone.
    Sync { inode: Option<InodeId> },
}

/// What it gets.
pub(super) enum Done {
    Bytes(Bytes),
    /// Where the bytes were written.
    Offset(u64),
    Synced,
}

/// The answer to an operation.
pub(super) type Answer = Result<Reply<Done>, DiskError>;

/// An operation of a process.
pub(super) struct Operation {
    pub work: Work,
    pub resolver: Resolver<Answer>,
    /// Up to when its time is explained.
    pub at: Timestamp,
    pub timing: Timing,
    /// Requests it waits for before it can go on.
    pub loads: usize,
    /// Pages, with their versions, that a sync waits for.
    pub stores: BTreeMap<u64, u64>,
    /// Where a write that waits for others to be written back has put its bytes.
    pub written_at: Option<u64>,
    /// What went wrong on the way.
    pub error: Option<DiskError>,
}

impl Operation {
    /// Explains the time up to now: waiting until the device's `turn`, and its service since.
    pub fn charge(&mut self, now: Timestamp, turn: Timestamp) {
        let (total, waited) = (now.since(self.at), turn.min(now).since(self.at));
        self.timing.add(Category::Queueing, waited);
        self.timing.add(Category::Storage, total - waited);
        self.at = now;
    }
}

/// What a request to the device is for.
pub(super) enum Purpose {
    /// Pages of a file are read.
    Load { inode: InodeId, pages: Range<u64> },
    /// Pages of a file are written.
    Store { inode: InodeId, pages: Range<u64> },
    /// The journal's record of a commit.
    Journal,
    /// The flush that ends a commit.
    CommitFlush { mark: u64 },
    /// The flush of a sync that changes no metadata.
    SyncFlush { mark: u64, operation: usize },
}

/// A request to the device.
pub(super) struct Request {
    pub purpose: Purpose,
    pub bytes: u64,
    /// When the device took it up; absent while it waits.
    pub turn: Option<Timestamp>,
    pub end: Option<EventId>,
}

/// A commit of the journal on its way.
pub(super) struct Committing {
    pub commit: Commit,
    /// Syncs that wait for it.
    pub operations: Vec<usize>,
}
