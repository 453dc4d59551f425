//! How a sync goes on: pages, then the journal, then the device's own cache.
//!
//! A sync waits until the pages that were dirty when it began have reached the device, in the versions
//! they had then or later ones. If names or sizes have changed it waits for a commit of the journal
//! that begins after that; one commit is under way at a time, and the next serves all that wait.
//! Otherwise it flushes the device's cache on its own.

use super::device::{Inner, State};
use super::drive::Access;
use super::error::DiskError;
use super::files::InodeId;
use super::operation::{Committing, Done, Purpose, Work};
use sim_model::time::Timestamp;
use std::collections::BTreeMap;

impl Inner {
    pub(super) fn start_sync(&self, state: &mut State, key: usize, inode: Option<InodeId>) {
        let now = self.kernel.now();
        if let Some(id) = inode
            && let Some(file) = state.files.get(id)
        {
            let on_their_way = file.writing.iter().map(|(page, writing)| (*page, writing.version));
            let dirty = file.dirty.iter().map(|page| (*page, file.cache[page].version));
            // A page that is dirty again while it is written counts with its newer version.
            state.operations[key].stores = on_their_way.chain(dirty).collect();
            if !state.operations[key].stores.is_empty() {
                state.syncing.entry(id).or_default().push(key);
                self.write_back(state, Some(id), now);
                return;
            }
        }
        self.sync_metadata(state, key);
    }

    /// The data of a sync is on the device: what about names, sizes and the device's cache?
    pub(super) fn sync_metadata(&self, state: &mut State, key: usize) {
        if state.files.needs_commit() || state.committing.is_some() {
            state.next_commit.push(key);
            if state.committing.is_none() {
                self.commit(state);
            }
        } else {
            let mark = state.files.write_cache.mark();
            let purpose = Purpose::SyncFlush { mark, operation: key };
            self.request(state, purpose, Access::Flush, 0);
        }
    }

    /// Begins a commit of the journal, for all that wait for one.
    pub(super) fn commit(&self, state: &mut State) {
        let operations = std::mem::take(&mut state.next_commit);
        state.committing = Some(Committing { commit: state.files.begin_commit(), operations });
        self.request(state, Purpose::Journal, Access::Write, self.profile.page_bytes);
    }

    /// Versions of pages have reached the device: syncs that wait for no others go on.
    pub(super) fn advance_syncs(
        &self,
        state: &mut State,
        inode: InodeId,
        versions: &BTreeMap<u64, u64>,
        turn: Timestamp,
    ) {
        let now = self.kernel.now();
        let Some(waiting) = state.syncing.remove(&inode) else { return };
        let (mut ready, mut left) = (Vec::new(), Vec::new());
        for key in waiting {
            let operation = &mut state.operations[key];
            let reached = |page: &u64, needed: &u64| {
                versions.get(page).is_some_and(|version| version >= needed)
            };
            operation.stores.retain(|page, needed| !reached(page, needed));
            operation.charge(now, turn);
            if operation.stores.is_empty() { ready.push(key) } else { left.push(key) }
        }
        if !left.is_empty() {
            state.syncing.insert(inode, left);
        }
        for key in ready {
            self.sync_metadata(state, key);
        }
    }

    pub(super) fn committed(&self, state: &mut State, turn: Timestamp) {
        let now = self.kernel.now();
        let done = state.committing.take().expect("invariant: a commit is under way");
        state.files.finish_commit(done.commit);
        for key in done.operations {
            state.operations[key].charge(now, turn);
            self.synced(state, key);
        }
        if !state.next_commit.is_empty() {
            self.commit(state);
        }
    }

    /// The flush that ends a commit has failed: nothing of it counts, and the next one makes it anew.
    pub(super) fn commit_failed(&self, state: &mut State, turn: Timestamp) {
        let now = self.kernel.now();
        let failed = state.committing.take().expect("invariant: a commit is under way");
        for key in failed.operations {
            state.operations[key].charge(now, turn);
            self.flush_failed(state, key);
        }
        if !state.next_commit.is_empty() {
            self.commit(state);
        }
    }

    /// A sync ends with the news that the device's cache was not flushed.
    pub(super) fn flush_failed(&self, state: &mut State, key: usize) {
        let Work::Sync { inode } = state.operations[key].work else {
            unreachable!("the operation syncs")
        };
        let file = inode.and_then(|inode| state.files.get(inode));
        let file = file.map_or("(names)", |file| &file.name).to_owned();
        self.end(state, key, Err(DiskError::FlushFailed { file }));
    }

    pub(super) fn synced(&self, state: &mut State, key: usize) {
        self.meter.count(self.kinds.fsync, self.kernel.now(), 0, 0);
        let Work::Sync { inode } = state.operations[key].work else {
            unreachable!("the operation syncs")
        };
        let file = inode.and_then(|inode| state.files.get_mut(inode));
        let result = match file {
            Some(file) if file.write_failed => {
                file.write_failed = false;
                Err(DiskError::SyncFailed { file: file.name.as_ref().to_owned() })
            }
            _ => Ok(Done::Synced),
        };
        self.end(state, key, result);
    }
}
