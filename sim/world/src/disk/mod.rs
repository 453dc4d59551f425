//! Disks: files over a page cache over a device that can lose, tear and spoil what it was given.
//!
//! **What it models.** A device with a queue (see `drive.rs`: depth, requests and bytes per second,
//! latency without seeks), before it the page cache of an operating system, on it a file system
//! with a journal in which names and sizes are changed in order (as ext4 in its ordered mode).
//! Reads of cached pages, and writes, touch no device and take no virtual time, until pages that are
//! dirty or being written exceed a limit: then the writer waits. Rounds of background write-back write old dirty pages
//! and commit metadata. A write to part of a page that is not cached reads it first.
//!
//! **Durable** is what a [`Disk::sync`] that returned had seen: it writes the file's dirty pages,
//! commits the journal (one commit at a time, for all that wait), and flushes the device's own
//! cache. Any sync, and [`Disk::sync_names`], commits all changes of names made before it.
//!
//! **A crash of processes** ([`Machine::kill`](crate::machine::Machine::kill)) leaves page cache and
//! device alone: operations under way go on, everything that was written can be read.
//!
//! **A power loss** ([`Disk::lose_power`]) leaves:
//! - names as of some commit since the last sync: an older commit is never kept without those before;
//! - of each file the size of that commit, which covers no new bytes that the device did not have
//!   then; bytes beyond it are gone, so a file that is only appended to keeps a prefix;
//! - of each sector within the size, one of: its content at the last sync, or any content that
//!   write-back gave to the device since (and the page cache had at that instant). Sectors are
//!   independent of each other: an overwrite of several can be torn, and overwrites can survive in
//!   another order than they were made. No sector is torn, unless a fault lets it be.
//!
//! **Faults** beyond that are injected by [`Disk::inject`] and ended by [`Disk::heal`]; each, as each power loss, is an event of
//! the trail, and draws from the stream `disk <name> faults`.
//!
//! **Assumptions.** Copying to and from the page cache is part of the core time that a server
//! charges itself. Names form one flat directory. A file occupies its size in whole pages, holes
//! included. Journal and names take no room, and do not fail or rot.
//!
//! **Meter.** `disk.read`, `disk.write`, `disk.flush`: requests that the device completed, with their
//! bytes; `disk.fsync`: syncs that returned. They are no operations of a service.

mod device;
mod drive;
mod error;
mod fault;
mod files;
mod inode;
mod operation;
mod sync;
mod write_cache;

pub use error::DiskError;
pub use fault::DiskFault;

use crate::kernel::{Completion, Kernel};
use crate::meter::Meter;
use crate::profile::DiskProfile;
use crate::seed::SeedTree;
use crate::service::Reply;
use bytes::Bytes;
use device::{Inner, State};
use operation::{Answer, Done, Work};
use std::rc::Rc;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// A disk; clones are the same disk.
///
/// The parts of a reply's timing are `Queueing` (waiting for the device's turn, or for write-back)
/// and `Storage` (the device at work); they sum to the time from call to return.
#[derive(Clone)]
pub struct Disk(Rc<Inner>);

impl Disk {
    /// An empty disk of the machine `name`.
    pub fn new(
        kernel: &Kernel,
        seeds: &SeedTree,
        meter: &Meter,
        name: &str,
        profile: &Arc<DiskProfile>,
    ) -> Disk {
        Disk(Inner::new(kernel, seeds, meter, name, profile))
    }

    /// The class it belongs to, in numbers.
    pub fn profile(&self) -> &DiskProfile {
        &self.0.profile
    }

    /// Writes `bytes` at the end of a file, which is made if there is none; says where they begin.
    ///
    /// # Errors
    /// [`DiskError::Full`]; [`DiskError::ReadFailed`] if the page at the end cannot be read.
    pub async fn append(&self, file: &str, bytes: Bytes) -> Result<Reply<u64>, DiskError> {
        let reply = self.write_somewhere(file, None, bytes).await?;
        Ok(reply.map(|done| match done {
            Done::Offset(offset) => offset,
            _ => unreachable!("a write answers with its place"),
        }))
    }

    /// Writes `bytes` at `offset` of a file, which is made if there is none. Bytes between its end
    /// and the offset are zeros.
    ///
    /// # Errors
    /// [`DiskError::Full`]; [`DiskError::ReadFailed`] if a page that is written in part cannot be read.
    pub async fn write(
        &self,
        file: &str,
        offset: u64,
        bytes: Bytes,
    ) -> Result<Reply<()>, DiskError> {
        Ok(self.write_somewhere(file, Some(offset), bytes).await?.map(drop))
    }

    fn write_somewhere(&self, file: &str, offset: Option<u64>, bytes: Bytes) -> Completion<Answer> {
        let place = offset.unwrap_or(u64::MAX);
        let inner = &self.0;
        let digest = digest(file, &[place, xxh3_64(&bytes)]);
        inner.kernel.record(inner.device, inner.trails.write, digest);
        inner.begin(|state| {
            let inode = state.files.find_or_create(file);
            Ok(Work::Write { inode, offset, bytes })
        })
    }

    /// Reads `length` bytes from `offset` of a file.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::BeyondEnd`], [`DiskError::ReadFailed`].
    pub async fn read(
        &self,
        file: &str,
        offset: u64,
        length: u64,
    ) -> Result<Reply<Bytes>, DiskError> {
        self.read_range(file, |_| (offset, offset.saturating_add(length))).await
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::ReadFailed`].
    pub async fn read_all(&self, file: &str) -> Result<Reply<Bytes>, DiskError> {
        self.read_range(file, |size| (0, size)).await
    }

    async fn read_range(
        &self,
        file: &str,
        range: impl FnOnce(u64) -> (u64, u64),
    ) -> Result<Reply<Bytes>, DiskError> {
        let inner = &self.0;
        let plan = |state: &mut State| {
            let inode = state.files.find(file)?;
            let size = state.files.get(inode).expect("invariant: it has a name").size;
            let (from, to) = range(size);
            inner.kernel.record(inner.device, inner.trails.read, digest(file, &[from, to]));
            if to > size {
                let file = file.to_owned();
                return Err(DiskError::BeyondEnd { file, offset: from, end: to, size });
            }
            Ok(Work::Read { inode, from, to })
        };
        let completion = inner.begin(plan);
        Ok(completion.await?.map(|done| match done {
            Done::Bytes(bytes) => bytes,
            _ => unreachable!("a read answers with bytes"),
        }))
    }

    /// Makes durable what was written to a file so far, and all changes of names.
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::SyncFailed`] if a write failed since the last sync.
    pub async fn sync(&self, file: &str) -> Result<Reply<()>, DiskError> {
        let inner = &self.0;
        inner.kernel.record(inner.device, inner.trails.sync, digest(file, &[]));
        let plan = |state: &mut State| Ok(Work::Sync { inode: Some(state.files.find(file)?) });
        let completion = inner.begin(plan);
        Ok(completion.await?.map(drop))
    }

    /// Makes durable all changes of names so far: what syncing a directory does.
    ///
    /// # Errors
    /// [`DiskError::PowerLost`] only.
    pub async fn sync_names(&self) -> Result<Reply<()>, DiskError> {
        let inner = &self.0;
        inner.kernel.record(inner.device, inner.trails.sync, digest("", &[]));
        let completion = inner.begin(|_| Ok(Work::Sync { inode: None }));
        Ok(completion.await?.map(drop))
    }

    /// Cuts a file off after `size` bytes, at once; does nothing if it is not longer.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    pub fn truncate(&self, file: &str, size: u64) -> Result<(), DiskError> {
        let now = self.0.kernel.now();
        self.change_names(file, size, |state| state.files.truncate(now, file, size))
    }

    /// Gives a file another name, at once; a file that has it already is deleted.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let change = xxh3_64(to.as_bytes());
        self.change_names(from, change, |state| state.files.rename(from, to))
    }

    /// Deletes a file, at once.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    pub fn delete(&self, file: &str) -> Result<(), DiskError> {
        self.change_names(file, u64::MAX, |state| state.files.delete(file))
    }

    fn change_names(
        &self,
        file: &str,
        change: u64,
        act: impl FnOnce(&mut State) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let inner = &self.0;
        inner.kernel.record(inner.device, inner.trails.names, digest(file, &[change]));
        inner.with(act)
    }

    /// Size of a file in bytes; none if there is no such file.
    pub fn size(&self, file: &str) -> Option<u64> {
        self.0.with(|state| {
            let inode = state.files.find(file).ok()?;
            state.files.get(inode).map(|file| file.size)
        })
    }

    /// The names of all files, sorted.
    pub fn list(&self) -> Vec<String> {
        self.0.with(|state| state.files.names().cloned().collect())
    }

    /// Bytes that files can still occupy.
    pub fn free_bytes(&self) -> u64 {
        self.0.with(|state| state.files.free_bytes())
    }

    /// Bytes of pages that were changed and not given to the device since.
    pub fn dirty_bytes(&self) -> u64 {
        self.0.with(|state| state.files.dirty_bytes())
    }

    /// The power fails: see the module's text. Operations under way end with
    /// [`DiskError::PowerLost`].
    pub fn lose_power(&self) {
        self.0.kernel.record(self.0.device, self.0.trails.power_loss, 0);
        self.0.lose_power();
    }

    /// Injects a fault.
    ///
    /// # Panics
    /// If the factor of [`DiskFault::Slow`] is not a finite number above 0.
    pub fn inject(&self, fault: DiskFault) {
        let inner = &self.0;
        let text = format!("{fault:?}");
        inner.kernel.record_bytes(inner.device, inner.trails.fault, text.as_bytes());
        inner.with(|state| match fault {
            DiskFault::Stall { span } => inner.stall_until(state, inner.kernel.now() + span),
            DiskFault::Slow { factor } => {
                assert!(factor.is_finite() && factor > 0.0, "{text} of the disk of {}", inner.name);
                state.drive.slow(factor);
            }
            DiskFault::ReadErrors { count } => state.injected.read_errors += count,
            DiskFault::WriteErrors { count } => state.injected.write_errors += count,
            DiskFault::LostWrites { count } => state.injected.lost_writes += count,
            DiskFault::MisdirectedWrites { count } => state.injected.misdirected_writes += count,
            DiskFault::SyncErrors { count } => state.injected.sync_errors += count,
            DiskFault::TornSectors => state.injected.torn_sectors = true,
            DiskFault::BitRot { bits } => {
                for _ in 0..bits {
                    state.files.flip_bit(&mut state.faults);
                }
            }
            DiskFault::Full { free_bytes } => {
                state.files.foreign_bytes = 0;
                let free = state.files.free_bytes();
                state.files.foreign_bytes = free.saturating_sub(free_bytes);
            }
        });
    }
}

impl Disk {
    /// Ends a fault that lasts, or what is left of one that waits for requests. Of several faults of one
    /// kind all end.
    pub fn heal(&self, fault: DiskFault) {
        let inner = &self.0;
        let text = format!("healed {fault:?}");
        inner.kernel.record_bytes(inner.device, inner.trails.fault, text.as_bytes());
        inner.with(|state| match fault {
            DiskFault::Stall { .. } => inner.end_stall(state),
            DiskFault::Slow { .. } => state.drive.slow(1.0),
            DiskFault::ReadErrors { .. } => state.injected.read_errors = 0,
            DiskFault::WriteErrors { .. } => state.injected.write_errors = 0,
            DiskFault::LostWrites { .. } => state.injected.lost_writes = 0,
            DiskFault::MisdirectedWrites { .. } => state.injected.misdirected_writes = 0,
            DiskFault::SyncErrors { .. } => state.injected.sync_errors = 0,
            DiskFault::TornSectors => state.injected.torn_sectors = false,
            DiskFault::BitRot { .. } => {}
            DiskFault::Full { .. } => state.files.foreign_bytes = 0,
        });
    }
}

/// The digest of an operation on a file.
fn digest(file: &str, numbers: &[u64]) -> u64 {
    numbers.iter().fold(xxh3_64(file.as_bytes()), |digest, number| {
        xxhash_rust::xxh3::xxh3_64_with_seed(&number.to_le_bytes(), digest)
    })
}
