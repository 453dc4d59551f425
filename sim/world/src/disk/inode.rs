//! One file: what processes see of it, and what the medium has of it.
//!
//! Content lies in pages. A page that is in the page cache is seen by processes; the medium may
//! have an older version of it, and perhaps newer ones are on their way. Bytes of a page that nobody
//! wrote are zeros, and need not be stored.

use sim_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The content of a page; bytes beyond its end are zeros.
pub(super) type Page = Rc<Vec<u8>>;

/// A page in the page cache.
pub(super) struct Cached {
    pub data: Page,
    /// Grows with each change.
    pub version: u64,
    /// Since when it differs from what was given to the device last.
    pub dirty_since: Option<Timestamp>,
    /// Place in the order of use.
    pub used: u64,
    /// The first byte in it that made the file longer and was not given to the device since.
    pub growth: Option<u64>,
}

/// A version of a page on its way to the medium.
pub(super) struct Writing {
    pub data: Page,
    pub version: u64,
    /// Size of the file at that time.
    pub size: u64,
    /// The first byte in it that made the file longer.
    pub growth: Option<u64>,
}

/// A file.
#[derive(Default)]
pub(super) struct Inode {
    /// The name it was made with, for messages.
    pub name: Rc<str>,
    /// Its size as processes see it.
    pub size: u64,
    /// Pages that processes see; the rest is as on the medium.
    pub cache: BTreeMap<u64, Cached>,
    /// Dirty pages of the cache.
    pub dirty: BTreeSet<u64>,
    /// Versions that are being written.
    pub writing: BTreeMap<u64, Writing>,
    /// What the device has acknowledged.
    pub media: BTreeMap<u64, Page>,
    /// Size up to which the device has acknowledged pages.
    pub landed_size: u64,
    /// Size that the file has after a power loss.
    pub committed_size: u64,
    /// A write has failed, and no sync has said so yet.
    pub write_failed: bool,
}

impl Inode {
    /// The size that a commit which begins now makes durable: up to where pages have reached the
    /// device, and not beyond a page with new bytes that has not. (The ordered mode writes data before
    /// the metadata that refers to it.)
    pub fn size_to_commit(&self) -> u64 {
        let dirty = self.dirty.iter().filter_map(|page| self.cache[page].growth);
        let growth = dirty.chain(self.writing.values().filter_map(|writing| writing.growth)).min();
        let size = growth.map_or(self.landed_size, |growth| growth.min(self.landed_size));
        size.max(self.committed_size)
    }

    /// What processes see of a page; none for zeros.
    pub fn page(&self, page: u64) -> Option<&Page> {
        self.cache.get(&page).map(|cached| &cached.data).or_else(|| self.media.get(&page))
    }

    /// Whether a page must be read from the device before its bytes are known.
    pub fn must_load(&self, page: u64) -> bool {
        !self.cache.contains_key(&page) && self.media.contains_key(&page)
    }

    /// The bytes from `offset` to `end` as processes see them.
    pub fn read(&self, offset: u64, end: u64, page_bytes: u64) -> Vec<u8> {
        let mut content =
            vec![0; usize::try_from(end - offset).expect("invariant: 64-bit machine")];
        for page in pages(offset, end, page_bytes) {
            let Some(data) = self.page(page) else { continue };
            let start = page * page_bytes;
            let from = offset.max(start);
            let to = end.min(start + data.len() as u64);
            if from < to {
                content[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&data[(from - start) as usize..(to - start) as usize]);
            }
        }
        content
    }

    /// Cuts the medium's content off at `size`.
    pub fn cut_media(&mut self, size: u64, page_bytes: u64) {
        self.media.retain(|page, _| page * page_bytes < size);
        cut_tail(self.media.get_mut(&(size / page_bytes)), size % page_bytes);
    }
}

/// Cuts a page off after `length` bytes.
pub(super) fn cut_tail(page: Option<&mut Page>, length: u64) {
    if let Some(page) = page.filter(|page| page.len() as u64 > length) {
        Rc::make_mut(page).truncate(length as usize);
    }
}

/// The pages that hold the bytes from `offset` to `end`.
pub(super) fn pages(offset: u64, end: u64, page_bytes: u64) -> std::ops::Range<u64> {
    if offset >= end { 0..0 } else { offset / page_bytes..end.div_ceil(page_bytes) }
}
