//! Faults of a disk, as a fault plan injects them.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A fault of a device or its file system.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DiskFault {
    /// The device does nothing for so long; what it works on ends afterwards.
    Stall {
        /// How long, from now on.
        span: Duration,
    },
    /// Requests that are taken up from now on take `factor` times as long; 1 ends it.
    Slow {
        /// The factor, above 0.
        factor: f64,
    },
    /// The next requests that read fail.
    ReadErrors {
        /// How many.
        count: u32,
    },
    /// The next requests that write file content fail. Whoever syncs the file is told once; the
    /// page cache keeps the bytes but takes them for written, as Linux does.
    WriteErrors {
        /// How many.
        count: u32,
    },
    /// The next requests that write file content are acknowledged and not carried out. Nobody is
    /// told.
    LostWrites {
        /// How many.
        count: u32,
    },
    /// The next requests that write file content land on another page of the medium, chosen evenly among
    /// those that files have there; their own page stays as it was. Nobody is told.
    MisdirectedWrites {
        /// How many.
        count: u32,
    },
    /// The next flushes of the device's own cache fail. Whoever waits for one is told; what the device
    /// had acknowledged is as likely to survive as before, and a later flush covers it.
    SyncErrors {
        /// How many.
        count: u32,
    },
    /// A power loss can tear single sectors too, at any byte: a device without the protection that
    /// sectors usually have.
    TornSectors,
    /// Bits on the medium, chosen evenly among those that files have there, flip. Nobody is told;
    /// the page cache keeps what it has.
    BitRot {
        /// How many.
        bits: u32,
    },
    /// Something else occupies the disk, and leaves so many bytes free.
    Full {
        /// Bytes that stay free, if so many are.
        free_bytes: u64,
    },
}

impl DiskFault {
    /// Its kind, one of [`Trouble::KINDS`](crate::fault::Trouble::KINDS).
    pub fn kind(&self) -> &'static str {
        match self {
            DiskFault::Stall { .. } => "disk-stall",
            DiskFault::Slow { .. } => "disk-slow",
            DiskFault::ReadErrors { .. } => "disk-read-errors",
            DiskFault::WriteErrors { .. } => "disk-write-errors",
            DiskFault::LostWrites { .. } => "disk-lost-writes",
            DiskFault::MisdirectedWrites { .. } => "disk-misdirected-writes",
            DiskFault::SyncErrors { .. } => "disk-sync-errors",
            DiskFault::TornSectors => "disk-torn-sectors",
            DiskFault::BitRot { .. } => "disk-bit-rot",
            DiskFault::Full { .. } => "disk-full",
        }
    }

    /// Whether it is over when it has happened: [`Disk::heal`](super::Disk::heal) ends the others.
    pub fn happens_once(&self) -> bool {
        matches!(self, DiskFault::BitRot { .. })
    }
}

/// Faults that wait for the next request they concern.
#[derive(Debug, Default)]
pub(super) struct Injected {
    pub read_errors: u32,
    pub write_errors: u32,
    pub lost_writes: u32,
    pub misdirected_writes: u32,
    pub sync_errors: u32,
    pub torn_sectors: bool,
}

impl Injected {
    pub fn fails_read(&mut self) -> bool {
        take_one(&mut self.read_errors)
    }

    pub fn fails_write(&mut self) -> bool {
        take_one(&mut self.write_errors)
    }

    pub fn misdirects_write(&mut self) -> bool {
        take_one(&mut self.misdirected_writes)
    }

    pub fn fails_sync(&mut self) -> bool {
        take_one(&mut self.sync_errors)
    }

    pub fn loses_write(&mut self) -> bool {
        take_one(&mut self.lost_writes)
    }
}

fn take_one(count: &mut u32) -> bool {
    let any = *count > 0;
    *count = count.saturating_sub(1);
    any
}
