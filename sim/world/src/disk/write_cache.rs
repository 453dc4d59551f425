//! Writes that the device has acknowledged and not yet put on the medium.
//!
//! A device may have a cache of its own that loses its content with the power. Until a flush, a
//! sector on the medium can be any of the versions that were written to it since, in whatever
//! order the device chose. A device whose acknowledged writes survive has a cache of no bytes.

use super::inode::Page;
use std::collections::{BTreeMap, VecDeque};

/// A file and a page of it.
pub(super) type PageKey = (u64, u64);

/// Acknowledged writes that a power loss may undo.
pub(super) struct WriteCache {
    bytes_max: u64,
    page_bytes: u64,
    /// Writes in the order of their acknowledgement.
    order: VecDeque<PageKey>,
    /// For each page the versions that the medium may still have in place of the acknowledged one,
    /// oldest first: one for each of its writes in `order`.
    older: BTreeMap<PageKey, VecDeque<Page>>,
    /// Writes that have left `order` so far.
    settled: u64,
}

impl WriteCache {
    pub fn new(bytes_max: u64, page_bytes: u64) -> WriteCache {
        WriteCache {
            bytes_max,
            page_bytes,
            order: VecDeque::new(),
            older: BTreeMap::new(),
            settled: 0,
        }
    }

    /// A write was acknowledged; the medium had `before`.
    pub fn acknowledged(&mut self, key: PageKey, before: Page) {
        if self.bytes_max == 0 {
            return;
        }
        self.order.push_back(key);
        self.older.entry(key).or_default().push_back(before);
        while self.order.len() as u64 * self.page_bytes > self.bytes_max {
            self.settle_oldest();
        }
    }

    /// The number of writes acknowledged so far: what a flush given to the device now covers.
    pub fn mark(&self) -> u64 {
        self.settled + self.order.len() as u64
    }

    /// A flush is done: the writes up to `mark` are on the medium.
    pub fn flushed(&mut self, mark: u64) {
        while self.settled < mark {
            self.settle_oldest();
        }
    }

    fn settle_oldest(&mut self) {
        let key = self.order.pop_front().expect("invariant: marks lie within what was written");
        self.settled += 1;
        let older = self.older.get_mut(&key).expect("invariant: one version for each write");
        older.pop_front();
        if older.is_empty() {
            self.older.remove(&key);
        }
    }

    /// What pages may have been before their last write, and empties the cache.
    pub fn lose(&mut self) -> BTreeMap<PageKey, VecDeque<Page>> {
        self.settled += self.order.len() as u64;
        self.order.clear();
        std::mem::take(&mut self.older)
    }
}
