//! Where logs lie: what a hub has for its logs, and one log on its medium.

use super::file::JournalFile;
use super::journal::{Content, Entry};
use super::page_blobs::{PAGE_BYTES, PageBlobs};
use super::quorum::{LogMachines, Opener, QuorumLog};
use super::server::LogServer;
use super::{CommitRecord, LogLost, Piece, READ_BYTES, Tail};
use crate::lease::PartitionLease;
use crate::settings::{Config, LOG_MACHINES, LogMedium};
use bytes::Bytes;
use sim_world::blob::{BlobContainer, Condition};
use sim_world::disk::Disk;
use sim_world::host::Host;
use sim_world::profile::LogStoreProfile;
use sim_world::service::StorageError;
use sim_world::world::World;
use std::cell::Ref;
use std::rc::Rc;
use std::sync::Arc;

/// What a hub has for its logs.
#[derive(Clone)]
pub(crate) enum LogPlace {
    /// The storage account.
    PageBlobs,
    /// A disk in each host.
    LocalDisks { disks: Vec<Disk>, costs: Arc<LogStoreProfile>, syncs: bool },
    /// Machines that were rented for it.
    Machines(Rc<LogMachines>),
}

impl LogPlace {
    /// Gets what logs on `medium` need.
    ///
    /// # Errors
    /// What the profile of the world lacks for it, in words.
    pub(crate) fn prepare(world: &World, config: &Config) -> Result<LogPlace, String> {
        let (medium, syncs) = (config.log, config.log_sync);
        if medium == LogMedium::PageBlob {
            return Ok(LogPlace::PageBlobs);
        }
        let profile = world.profile();
        let lacks = |what: &str, medium: &str| {
            let name = &profile.name;
            format!(
                "profile {name} has no {what}, which log={medium} needs; log=page-blob does not"
            )
        };
        let medium_name = medium.name();
        let costs = profile.log_store.clone();
        let costs = costs.ok_or_else(|| lacks("section [log_store]", medium_name))?;
        if medium == LogMedium::LocalDisk {
            let disks = (0..world.hosts().len()).map(|host| world.host_disk(host)).collect();
            let disks: Option<Vec<Disk>> = disks;
            let disks = disks.ok_or_else(|| lacks("disks of hosts (host.disk)", medium_name))?;
            return Ok(LogPlace::LocalDisks { disks, costs, syncs });
        }
        let start = |index| LogServer::start(world, &format!("log-{index}"), &costs, syncs);
        let servers: Result<Vec<_>, _> = (0..LOG_MACHINES).map(start).collect();
        let servers = servers.map_err(|error| error.to_string())?;
        let quorum = config.log_quorum;
        Ok(LogPlace::Machines(Rc::new(LogMachines { servers, costs, quorum })))
    }
}

/// Who opens a log.
pub(crate) struct Opening<'a> {
    pub place: &'a LogPlace,
    pub container: BlobContainer,
    pub partition: u32,
    /// The partition's name in the storage account and on disks.
    pub prefix: String,
    pub host: Host,
    /// The index of the host.
    pub host_index: usize,
    pub lease: Rc<PartitionLease>,
    /// Write under the lease, and let no earlier incarnation write any more.
    pub fenced: bool,
    /// What is durable may not be committed.
    pub speculative: bool,
    /// Nothing from this position on is kept, as far as it is not committed.
    pub cut: Option<u64>,
}

/// A log with a new incarnation.
pub(super) struct Opened {
    pub medium: Medium,
    pub record: CommitRecord,
    /// Up to where the log was found to be committed.
    pub committed: u64,
    /// What to append to.
    pub tail: Tail,
}

/// A log on the disk of its host.
pub(super) struct LocalLog {
    host: Host,
    costs: Arc<LogStoreProfile>,
    epoch: u32,
    journal: JournalFile,
}

/// One log on its medium.
pub(super) enum Medium {
    PageBlobs(PageBlobs),
    LocalDisk(LocalLog),
    ReplicatedDisk(QuorumLog),
}

impl Medium {
    /// Opens the log and makes a new incarnation durable.
    pub(super) async fn open(opening: Opening<'_>) -> Result<Opened, LogLost> {
        let (speculative, cut) = (opening.speculative, opening.cut);
        let medium = match opening.place {
            LogPlace::PageBlobs => return open_page_blobs(opening).await,
            LogPlace::LocalDisks { disks, costs, syncs } => {
                let disk = &disks[opening.host_index];
                let journal = JournalFile::recover(disk, &opening.prefix, *syncs).await;
                let journal = journal.map_err(|_| LogLost)?;
                let work = costs.bytes_cpu(journal.content().len());
                opening.host.run(work).await;
                let epoch = journal.content().record.epoch() + 1;
                let (host, costs) = (opening.host, costs.clone());
                Medium::LocalDisk(LocalLog { host, costs, epoch, journal })
            }
            LogPlace::Machines(machines) => {
                let epoch = next_epoch(&opening).await?;
                let Opening { host, partition, lease, fenced, .. } = opening;
                let opener = Opener { host, partition, epoch, fenced, lease };
                Medium::ReplicatedDisk(QuorumLog::open(machines, opener).await?)
            }
        };
        let mut record = medium.content().record.clone();
        let committed = if speculative { medium.content().committed } else { record.end };
        record.end = cut_back(record.end, cut, committed);
        record.epochs.push((record.end, medium.epoch()));
        medium.commit(record.clone(), committed, Bytes::new).await?;
        let tail = Tail { base: record.end, bytes: Vec::new() };
        Ok(Opened { medium, record, committed, tail })
    }

    /// Makes the record durable, and with it what `bytes` gives: what was appended since the last commit.
    /// (Pages of blobs are written before.) The log is committed up to `committed`.
    pub(super) async fn commit(
        &self,
        record: CommitRecord,
        committed: u64,
        bytes: impl Fn() -> Bytes,
    ) -> Result<(), LogLost> {
        let committed = committed.min(record.end);
        match self {
            Medium::PageBlobs(blobs) => blobs.write_record(&record, committed).await,
            Medium::LocalDisk(log) => {
                let commit = (record, committed);
                let entry = Entry::next(&log.journal.content(), log.epoch, commit, bytes());
                let work = log.costs.write_cpu + log.costs.bytes_cpu(entry.size());
                log.host.run(work).await;
                log.journal.append(&[entry]).await.map_err(|_| LogLost)
            }
            Medium::ReplicatedDisk(log) => log.commit((record, committed), bytes()).await,
        }
    }

    /// What writes are aligned to.
    pub(super) fn page_bytes(&self) -> u64 {
        match self {
            Medium::PageBlobs(_) => PAGE_BYTES,
            Medium::LocalDisk(_) | Medium::ReplicatedDisk(_) => 1,
        }
    }

    /// The pieces of the log from `from` to its durable end, to be read in this order.
    pub(super) fn pieces(&self, record: &CommitRecord, from: u64) -> Vec<Piece> {
        if let Medium::PageBlobs(blobs) = self {
            return blobs.pieces(record, from);
        }
        let mut rest = self.content().bytes_from(from);
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            pieces.push(Piece::Held(rest.split_to(rest.len().min(READ_BYTES as usize))));
        }
        pieces
    }

    fn content(&self) -> Ref<'_, Content> {
        match self {
            Medium::PageBlobs(_) => unreachable!("page blobs are no journal"),
            Medium::LocalDisk(log) => log.journal.content(),
            Medium::ReplicatedDisk(log) => log.content(),
        }
    }

    fn epoch(&self) -> u32 {
        match self {
            Medium::PageBlobs(_) => unreachable!("page blobs are no journal"),
            Medium::LocalDisk(log) => log.epoch,
            Medium::ReplicatedDisk(log) => log.epoch(),
        }
    }
}

/// Where a log begins again that is to be cut: what is committed is never cut off.
fn cut_back(end: u64, cut: Option<u64>, committed: u64) -> u64 {
    cut.map_or(end, |cut| cut.max(committed).min(end))
}

async fn open_page_blobs(opening: Opening<'_>) -> Result<Opened, LogLost> {
    let cut = opening.cut;
    let blobs = PageBlobs::new(opening);
    let (mut record, committed) = blobs.read_record().await?;
    record.end = cut_back(record.end, cut, committed);
    record.epochs.push((record.end, record.epoch() + 1));
    blobs.write_record(&record, committed).await?;
    let tail = blobs.begin(&record).await?;
    Ok(Opened { medium: Medium::PageBlobs(blobs), record, committed, tail })
}

/// The number of a new incarnation of a replicated log, which nobody else has: it is counted in the blob
/// that has the partition's lease.
async fn next_epoch(opening: &Opening<'_>) -> Result<u32, LogLost> {
    let Opening { container, prefix, host, lease, fenced, .. } = opening;
    let blob = format!("{prefix}/commit");
    let (read, tag) = match container.get_tagged(host, &blob, 0, u64::MAX).await {
        Ok(reply) => (reply.value.0, Condition::Tag(reply.value.1)),
        Err(StorageError::NotFound { .. }) => (Bytes::new(), Condition::Absent),
        Err(_) => return Err(LogLost),
    };
    let last = read.as_ref().try_into().map_or(0, u32::from_le_bytes);
    let epoch = last + 1;
    let body = Bytes::copy_from_slice(&epoch.to_le_bytes());
    let lease = if *fenced { lease.id() } else { None };
    // A late copy of an earlier count must not take it back.
    container.put_if(host, &blob, body, lease, tag).await.map_err(|_| LogLost)?;
    Ok(epoch)
}
