//! The file system: names, files, page cache, metadata journal. A plain state machine.
//!
//! Names and sizes are metadata. A change of names is seen at once and becomes durable, in the order
//! of the changes, with the next commit of the journal; a commit also makes the sizes durable up to
//! which pages have reached the device. Shortening a file makes a new file of its bytes and
//! gives it the name: until the commit the old one is what survives.

use super::error::DiskError;
use super::inode::{Cached, Inode, Page, Writing, cut_tail, pages};
use super::write_cache::WriteCache;
use crate::profile::DiskProfile;
use crate::seed::Stream;
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// A file, whatever its name.
pub(super) type InodeId = u64;
/// A change of names that takes place as a whole.
type Renaming = Vec<(String, Option<InodeId>)>;

/// A change of a page's bytes.
#[derive(Clone, Copy)]
struct Change {
    at: Timestamp,
    /// The first byte that makes the file longer, if one does.
    growth: Option<u64>,
}

/// What a commit of the journal makes durable.
pub(super) struct Commit {
    /// Number of changes of names, from the oldest.
    changes: usize,
    sizes: Vec<(InodeId, u64)>,
    /// Acknowledged writes that the device flushes before it writes the record of the commit.
    mark: u64,
}

/// All files of a disk.
pub(super) struct Files {
    profile: Arc<DiskProfile>,
    names: BTreeMap<String, InodeId>,
    durable_names: BTreeMap<String, InodeId>,
    /// Changes of names that no commit has made durable, oldest first.
    changes: VecDeque<Renaming>,
    inodes: BTreeMap<InodeId, Inode>,
    next_inode: InodeId,
    pub(super) write_cache: WriteCache,
    dirty_pages: u64,
    /// Pages of all caches by their last use.
    uses: BTreeMap<u64, (InodeId, u64)>,
    next_use: u64,
    next_version: u64,
    /// Pages that named files occupy.
    occupied_pages: u64,
    /// Bytes that are occupied by something else.
    pub(super) foreign_bytes: u64,
}

impl Files {
    pub fn new(profile: &Arc<DiskProfile>) -> Files {
        Files {
            profile: profile.clone(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: VecDeque::new(),
            inodes: BTreeMap::new(),
            next_inode: 0,
            write_cache: WriteCache::new(profile.write_cache_bytes, profile.page_bytes),
            dirty_pages: 0,
            uses: BTreeMap::new(),
            next_use: 0,
            next_version: 1,
            occupied_pages: 0,
            foreign_bytes: 0,
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    /// The file of that name.
    pub fn find(&self, name: &str) -> Result<InodeId, DiskError> {
        let found = self.names.get(name).copied();
        found.ok_or_else(|| DiskError::NotFound { file: name.to_owned() })
    }

    /// The file of that name, which is made if there is none.
    pub fn find_or_create(&mut self, name: &str) -> InodeId {
        if let Some(inode) = self.names.get(name) {
            return *inode;
        }
        let inode = Inode { name: name.into(), ..Inode::default() };
        let id = self.add(inode);
        self.change(vec![(name.to_owned(), Some(id))]);
        id
    }

    fn add(&mut self, inode: Inode) -> InodeId {
        let id = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(id, inode);
        id
    }

    /// A file that exists, unless it was deleted meanwhile.
    pub fn get(&self, inode: InodeId) -> Option<&Inode> {
        self.inodes.get(&inode)
    }

    pub fn get_mut(&mut self, inode: InodeId) -> Option<&mut Inode> {
        self.inodes.get_mut(&inode)
    }

    fn change(&mut self, change: Renaming) {
        for (name, inode) in &change {
            let before = match inode {
                Some(inode) => self.names.insert(name.clone(), *inode),
                None => self.names.remove(name),
            };
            let _ = before;
        }
        self.changes.push_back(change);
        let referenced: BTreeSet<InodeId> = self.names.values().copied().collect();
        let lost: Vec<InodeId> =
            self.inodes.keys().copied().filter(|inode| !referenced.contains(inode)).collect();
        for inode in lost {
            self.forget_cache(inode);
        }
        self.count_occupied();
    }

    /// Drops the page cache of a file that has no name any more: nobody will write it back.
    fn forget_cache(&mut self, inode: InodeId) {
        let Some(inode) = self.inodes.get_mut(&inode) else { return };
        for cached in std::mem::take(&mut inode.cache).into_values() {
            self.uses.remove(&cached.used);
        }
        self.dirty_pages -= inode.dirty.len() as u64;
        inode.dirty.clear();
    }

    fn count_occupied(&mut self) {
        let page = self.profile.page_bytes;
        let sizes = self.names.values().map(|inode| self.inodes[inode].size.div_ceil(page));
        self.occupied_pages = sizes.sum();
    }

    /// Gives a file another name, and what had that name none.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let inode = self.find(from)?;
        if from != to {
            self.change(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        }
        Ok(())
    }

    /// Takes a file's name away.
    pub fn delete(&mut self, name: &str) -> Result<(), DiskError> {
        self.find(name)?;
        self.change(vec![(name.to_owned(), None)]);
        Ok(())
    }

    /// Cuts a file off after `size` bytes; does nothing if it is not longer.
    pub fn truncate(&mut self, now: Timestamp, name: &str, size: u64) -> Result<(), DiskError> {
        let old = self.find(name)?;
        let page_bytes = self.profile.page_bytes;
        let inode = &self.inodes[&old];
        if inode.size <= size {
            return Ok(());
        }
        let mut new = Inode {
            name: inode.name.clone(),
            size,
            media: inode.media.clone(),
            // The new size is metadata as the name is; pages that hold back the one hold back the
            // other.
            landed_size: size,
            committed_size: inode.committed_size.min(size),
            write_failed: inode.write_failed,
            ..Inode::default()
        };
        new.cut_media(size, page_bytes);
        let kept: Vec<(u64, Page, Option<Change>)> = (inode.cache.iter())
            .filter(|(page, _)| **page * page_bytes < size)
            .map(|(page, cached)| {
                let writing = inode.writing.get(page);
                let is_dirty = cached.dirty_since.is_some() || writing.is_some();
                let growth = cached.growth.or(writing.and_then(|writing| writing.growth));
                let growth = growth.filter(|growth| *growth < size);
                (*page, cached.data.clone(), is_dirty.then_some(Change { at: now, growth }))
            })
            .collect();
        let id = self.add(new);
        for (page, mut data, change) in kept {
            if (page + 1) * page_bytes > size {
                cut_tail(Some(&mut data), size % page_bytes);
            }
            self.put(id, page, data, change);
        }
        self.change(vec![(name.to_owned(), Some(id))]);
        Ok(())
    }

    /// Bytes that can still be occupied.
    pub fn free_bytes(&self) -> u64 {
        let taken = self.occupied_pages * self.profile.page_bytes + self.foreign_bytes;
        self.profile.capacity_bytes.saturating_sub(taken)
    }

    /// Bytes of dirty pages.
    pub fn dirty_bytes(&self) -> u64 {
        self.dirty_pages * self.profile.page_bytes
    }

    /// Bytes of pages that are dirty or on their way to the device.
    pub fn unclean_bytes(&self) -> u64 {
        let writing: usize = self.inodes.values().map(|inode| inode.writing.len()).sum();
        (self.dirty_pages + writing as u64) * self.profile.page_bytes
    }

    /// Pages that a write must read first: those it covers in part.
    pub fn must_load_to_write(&self, inode: InodeId, offset: u64, length: u64) -> Vec<u64> {
        let (page, end) = (self.profile.page_bytes, offset + length);
        let Some(inode) = self.inodes.get(&inode) else { return Vec::new() };
        let mut edges = Vec::new();
        if length > 0 && !offset.is_multiple_of(page) {
            edges.push(offset / page);
        }
        if length > 0 && !end.is_multiple_of(page) && end < inode.size {
            edges.push(end / page);
        }
        edges.dedup();
        edges.retain(|page| inode.must_load(*page));
        edges
    }

    /// Writes into the page cache.
    pub fn write(
        &mut self,
        now: Timestamp,
        inode: InodeId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), DiskError> {
        let page_bytes = self.profile.page_bytes;
        let Some(file) = self.inodes.get(&inode).filter(|_| !bytes.is_empty()) else {
            return Ok(());
        };
        let (before, end) = (file.size, offset + bytes.len() as u64);
        let more = end.max(before).div_ceil(page_bytes) - before.div_ceil(page_bytes);
        let free = self.free_bytes();
        if more * page_bytes > free {
            return Err(DiskError::Full { wanted: more * page_bytes, free });
        }
        for page in pages(offset, end, page_bytes) {
            let start = page * page_bytes;
            let (from, to) = (offset.max(start), end.min(start + page_bytes));
            let piece = &bytes[(from - offset) as usize..(to - offset) as usize];
            let file = &mut self.inodes.get_mut(&inode).expect("invariant: found above");
            let cached = file.cache.get_mut(&page).map(|cached| std::mem::take(&mut cached.data));
            let known = cached.or_else(|| file.media.get(&page).cloned());
            let mut data = known.unwrap_or_default();
            let content = Rc::make_mut(&mut data);
            let (from, to) = ((from - start) as usize, (to - start) as usize);
            if content.len() < to {
                content.resize(to, 0);
            }
            content[from..to].copy_from_slice(piece);
            let grows_from = before.max(start);
            let growth = (start + to as u64 > before).then_some(grows_from);
            self.put(inode, page, data, Some(Change { at: now, growth }));
        }
        let file = self.inodes.get_mut(&inode).expect("invariant: found above");
        file.size = file.size.max(end);
        self.occupied_pages += more;
        Ok(())
    }

    /// A page has come from the device.
    pub fn loaded(&mut self, inode: InodeId, page: u64) {
        let Some(file) = self.inodes.get(&inode) else { return };
        if file.cache.contains_key(&page) || page * self.profile.page_bytes >= file.size {
            return;
        }
        if let Some(data) = file.media.get(&page).cloned() {
            self.put(inode, page, data, None);
        }
    }

    /// Puts a page into the cache, changed or as it is on the medium.
    fn put(&mut self, id: InodeId, page: u64, data: Page, change: Option<Change>) {
        let used = self.next_use;
        self.next_use += 1;
        self.uses.insert(used, (id, page));
        let inode = self.inodes.get_mut(&id).expect("invariant: the caller has found it");
        let before = inode.cache.get(&page);
        let dirty_since = before.and_then(|cached| cached.dirty_since).or(change.map(|it| it.at));
        let growth = before.and_then(|cached| cached.growth).or(change.and_then(|it| it.growth));
        let mut version = before.map_or(0, |cached| cached.version);
        if change.is_some() {
            version = self.next_version;
            self.next_version += 1;
            if inode.dirty.insert(page) {
                self.dirty_pages += 1;
            }
        }
        let cached = Cached { data, version, dirty_since, used, growth };
        if let Some(before) = inode.cache.insert(page, cached) {
            self.uses.remove(&before.used);
        }
        self.evict();
    }

    /// Drops clean pages that were not used for the longest time, until the cache fits.
    fn evict(&mut self) {
        let most = (self.profile.cache_bytes / self.profile.page_bytes) as usize;
        if self.uses.len() <= most {
            return;
        }
        let excess = self.uses.len() - most;
        let is_clean = |(inode, page): &(InodeId, u64)| {
            let inode = &self.inodes[inode];
            inode.cache[page].dirty_since.is_none() && !inode.writing.contains_key(page)
        };
        let clean = self.uses.iter().filter(|(_, key)| is_clean(key)).take(excess);
        let victims: Vec<(u64, (InodeId, u64))> = clean.map(|(used, key)| (*used, *key)).collect();
        for (used, (inode, page)) in victims {
            self.uses.remove(&used);
            let inode = self.inodes.get_mut(&inode).expect("invariant: it has cached pages");
            inode.cache.remove(&page);
        }
    }

    /// Dirty pages that can be written now, of one file or all, dirty since `before` or earlier.
    pub fn writable(&self, of: Option<InodeId>, before: Timestamp) -> Vec<(InodeId, Vec<u64>)> {
        let inodes = self.inodes.iter().filter(|(id, _)| of.is_none_or(|only| only == **id));
        let writable = inodes.map(|(id, inode)| {
            let is_due = |page: &&u64| {
                let since = inode.cache[*page].dirty_since.expect("invariant: it is dirty");
                since <= before && !inode.writing.contains_key(*page)
            };
            (*id, inode.dirty.iter().filter(is_due).copied().collect::<Vec<u64>>())
        });
        writable.filter(|(_, pages)| !pages.is_empty()).collect()
    }

    /// A dirty page is given to the device.
    pub fn begin_write(&mut self, inode: InodeId, page: u64) {
        let inode = self.inodes.get_mut(&inode).expect("invariant: it has a dirty page");
        let cached = inode.cache.get_mut(&page).expect("invariant: dirty pages are cached");
        let writing = Writing {
            data: cached.data.clone(),
            version: cached.version,
            size: inode.size,
            growth: cached.growth.take(),
        };
        cached.dirty_since = None;
        inode.dirty.remove(&page);
        self.dirty_pages -= 1;
        let before = inode.writing.insert(page, writing);
        debug_assert!(before.is_none(), "one version of a page is written at a time");
    }

    /// The device has acknowledged a page: the version, unless the file is gone. `kept` is false if
    /// the device lied, and did not write it.
    pub fn landed(&mut self, id: InodeId, page: u64, kept: bool) -> Option<u64> {
        let page_bytes = self.profile.page_bytes;
        let inode = self.inodes.get_mut(&id)?;
        let written = inode.writing.remove(&page)?;
        if kept {
            let before = inode.media.insert(page, written.data).unwrap_or_default();
            self.write_cache.acknowledged((id, page), before);
        }
        let end = written.size.min((page + 1) * page_bytes);
        inode.landed_size = inode.landed_size.max(end);
        self.evict();
        Some(written.version)
    }

    /// The device could not write a page: the version, unless the file is gone.
    pub fn failed(&mut self, id: InodeId, page: u64) -> Option<u64> {
        let inode = self.inodes.get_mut(&id)?;
        let written = inode.writing.remove(&page)?;
        inode.write_failed = true;
        self.evict();
        Some(written.version)
    }

    /// Whether there is metadata that no commit has made durable.
    pub fn needs_commit(&self) -> bool {
        let grown = |inode: &Inode| inode.size_to_commit() != inode.committed_size;
        !self.changes.is_empty() || self.inodes.values().any(grown)
    }

    /// What a commit that begins now makes durable.
    pub fn begin_commit(&self) -> Commit {
        let sizes = self.inodes.iter().map(|(id, inode)| (*id, inode.size_to_commit()));
        let (changes, mark) = (self.changes.len(), self.write_cache.mark());
        Commit { changes, sizes: sizes.collect(), mark }
    }

    /// A commit is on the medium.
    pub fn finish_commit(&mut self, commit: Commit) {
        self.write_cache.flushed(commit.mark);
        for (name, inode) in self.changes.drain(..commit.changes).flatten() {
            match inode {
                Some(inode) => self.durable_names.insert(name, inode),
                None => self.durable_names.remove(&name),
            };
        }
        for (inode, size) in commit.sizes {
            if let Some(inode) = self.inodes.get_mut(&inode) {
                inode.committed_size = size;
            }
        }
        self.drop_unnamed();
    }

    /// Drops files that no name, durable or to come, refers to.
    fn drop_unnamed(&mut self) {
        let coming = self.changes.iter().flatten().filter_map(|(_, inode)| *inode);
        let named = self.names.values().chain(self.durable_names.values()).copied();
        let referenced: BTreeSet<InodeId> = named.chain(coming).collect();
        self.inodes.retain(|inode, _| referenced.contains(inode));
    }

    /// The power fails: what is left of names and files is what a restart finds. A commit that was
    /// under way has taken place or not, and each sector that was being written, or that the
    /// device had only acknowledged, has any one of its versions.
    pub fn lose_power(&mut self, stream: &mut Stream, commit: Option<Commit>, sectors_tear: bool) {
        if let Some(commit) = commit
            && stream.chance(0.5)
        {
            self.finish_commit(commit);
        }
        self.changes.clear();
        self.names = self.durable_names.clone();
        self.drop_unnamed();
        self.uses.clear();
        self.dirty_pages = 0;
        let mut older = self.write_cache.lose();
        let (page_bytes, sector) = (self.profile.page_bytes, self.profile.sector_bytes as usize);
        for (id, inode) in &mut self.inodes {
            inode.cache.clear();
            inode.dirty.clear();
            inode.write_failed = false;
            let mut writing = std::mem::take(&mut inode.writing);
            let unsure: Vec<u64> =
                older.range((*id, 0)..=(*id, u64::MAX)).map(|(k, _)| k.1).collect();
            let unsure: BTreeSet<u64> = unsure.into_iter().chain(writing.keys().copied()).collect();
            for page in unsure {
                let mut versions = older.remove(&(*id, page)).unwrap_or_default();
                versions.push_back(inode.media.get(&page).cloned().unwrap_or_default());
                versions.extend(writing.remove(&page).map(|writing| writing.data));
                let versions = versions.make_contiguous();
                let torn = tear(versions, sector, stream, sectors_tear);
                inode.media.insert(page, Rc::new(torn));
            }
            inode.size = inode.committed_size;
            inode.landed_size = inode.committed_size;
            inode.cut_media(inode.size, page_bytes);
        }
        self.count_occupied();
    }

    /// The device writes a page to the place of another one, chosen evenly among those that files have
    /// on the medium; into free space if there is no other.
    pub fn misdirect(&mut self, own: (InodeId, u64), stream: &mut Stream) {
        let written = self.inodes.get(&own.0).and_then(|inode| inode.writing.get(&own.1));
        let Some(data) = written.map(|written| written.data.clone()) else { return };
        let places = self.inodes.iter().flat_map(|(id, inode)| {
            inode.media.keys().map(move |page| (*id, *page)).filter(|place| *place != own)
        });
        let places: Vec<(InodeId, u64)> = places.collect();
        if places.is_empty() {
            return;
        }
        let (id, page) = places[stream.below(places.len() as u64) as usize];
        let victim = self.inodes.get_mut(&id).expect("invariant: it has the page");
        victim.media.insert(page, data);
    }

    /// Flips a bit that the medium has, chosen evenly; false if it has none.
    pub fn flip_bit(&mut self, stream: &mut Stream) -> bool {
        let pages = self.inodes.values_mut().flat_map(|inode| inode.media.values_mut());
        let mut pages: Vec<&mut Page> = pages.filter(|page| !page.is_empty()).collect();
        let bits: u64 = pages.iter().map(|page| page.len() as u64 * 8).sum();
        if bits == 0 {
            return false;
        }
        let mut bit = stream.below(bits);
        for page in &mut pages {
            let here = page.len() as u64 * 8;
            if bit < here {
                Rc::make_mut(page)[(bit / 8) as usize] ^= 1 << (bit % 8);
                return true;
            }
            bit -= here;
        }
        unreachable!("the bit lies in one of the pages")
    }
}

/// A page of which each sector has any one of its versions; if sectors tear, another one from some byte
/// of it on.
fn tear(versions: &[Page], sector: usize, stream: &mut Stream, sectors_tear: bool) -> Vec<u8> {
    let length = versions.iter().map(|version| version.len()).max().unwrap_or(0);
    let mut torn = vec![0; length];
    let mut copy = |version: &Page, from: usize, to: usize| {
        torn[from..to].fill(0);
        let to = to.min(version.len());
        if from < to {
            torn[from..to].copy_from_slice(&version[from..to]);
        }
    };
    for from in (0..length).step_by(sector) {
        let to = (from + sector).min(length);
        copy(&versions[stream.below(versions.len() as u64) as usize], from, to);
        if sectors_tear {
            let cut = from + stream.below((to - from) as u64) as usize;
            copy(&versions[stream.below(versions.len() as u64) as usize], cut, to);
        }
    }
    torn
}
