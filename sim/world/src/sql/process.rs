//! The running server: the state machine, its machine's cores and disk, and who waits for what.
//!
//! **Log.** A commit wakes one of the log's writers; each takes everything that was appended, writes it
//! at its place in the segment's file and syncs the file. Several writes can be under way, up to the
//! profile's limit; transactions end in the order of the log. Files are filled with zeros ahead of
//! the log, so that a write of the log changes no metadata of the file system. With delayed durability
//! a commit wakes nobody until a block's worth of log is there.
//!
//! **Checkpoints.** Every so often, if anything has changed, the rest of the log goes to the old
//! segment, an image is taken at one instant, written and synced, and then what recovery no longer
//! needs is deleted.
//!
//! **Recovery** reads images and log, syncs what it has read, and pays core time for each row. A crash of the
//! processes alone leaves in the page cache what they had written and not synced: shown to anybody before it is on
//! the disk, it could be lost with the power, and with it everything that followed. (The real server writes past
//! the page cache \[general\].) A database that is damaged is not opened: its machine runs, and nobody answers. All
//! of this happens in tasks of the machine; a crash takes them and this state along.

use super::checkpoint::{Damaged, PAGE_BYTES, Recovered, recover};
use super::core::{Core, Ended, TableSpec};
use super::error::SqlError;
use super::lock::TransactionId;
use super::log::LogFormat;
use super::transaction::{Fate, Verdict};
use crate::disk::Disk;
use crate::host::Host;
use crate::kernel::{Kernel, Notify, Resolver};
use crate::meter::{Meter, OperationKind};
use crate::profile::{DatabaseCosts, DatabaseProfile};
use bytes::Bytes;
use futures_util::future::join_all;
use sim_model::time::Timestamp;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

/// Pause before a disk operation that failed is repeated.
const DISK_RETRY: Duration = Duration::from_millis(10);

/// What a server reports besides its answers.
#[derive(Clone)]
pub(super) struct Reports {
    pub meter: Meter,
    pub log_flush: OperationKind,
    pub lock_wait: OperationKind,
    pub deadlock: OperationKind,
    pub checkpoint: OperationKind,
    /// Who is to be told about transactions that were being committed when the server crashed.
    pub in_doubt: Rc<RefCell<BTreeMap<TransactionId, Vec<Verdict>>>>,
}

/// What a server runs on and how it is set up.
#[derive(Clone)]
pub(super) struct Setup {
    pub kernel: Kernel,
    pub host: Host,
    pub disk: Disk,
    pub profile: Rc<DatabaseProfile>,
    pub schema: &'static [TableSpec],
    pub delayed_durability: bool,
    pub reports: Reports,
}

impl Setup {
    /// Writes and syncs, again and again until both succeed: a write that failed in the background
    /// shows in the sync, and its bytes have to be written once more.
    async fn write_synced(&self, file: &str, offset: u64, bytes: Bytes) {
        loop {
            if self.disk.write(file, offset, bytes.clone()).await.is_ok()
                && self.disk.sync(file).await.is_ok()
            {
                return;
            }
            self.kernel.sleep(DISK_RETRY).await;
        }
    }

    /// Reads a file, and makes durable what was read: it is written anew if it cannot be synced as it is.
    async fn read_synced(&self, file: &str) -> Bytes {
        let content = loop {
            match self.disk.read_all(file).await {
                Ok(reply) => break reply.value,
                Err(_) => self.kernel.sleep(DISK_RETRY).await,
            }
        };
        if self.disk.sync(file).await.is_err() {
            self.write_synced(file, 0, content.clone()).await;
        }
        content
    }
}

/// A server that runs.
pub(super) struct Process {
    setup: Setup,
    core: RefCell<Core>,
    lock_waits: RefCell<BTreeMap<TransactionId, Resolver<Result<(), SqlError>>>>,
    log_waits: RefCell<BTreeMap<TransactionId, Resolver<()>>>,
    log_work: Notify,
    /// The segment being written: its number, where its file's next write goes, and up to where the
    /// file is filled.
    segment: RefCell<Segment>,
    allocated: Notify,
    image: Cell<u64>,
    /// Bytes of images since the last complete one, and of that one.
    image_bytes: Cell<(u64, u64)>,
}

#[derive(Clone, Copy, Default)]
struct Segment {
    number: u64,
    next: u64,
    allocated: u64,
    allocating: bool,
}

fn segment_file(number: u64) -> String {
    format!("log-{number:08}")
}

fn image_file(number: u64) -> String {
    format!("data-{number:08}")
}

fn numbered(name: &str, kind: &str) -> Option<u64> {
    name.strip_prefix(kind)?.parse().ok()
}

impl Process {
    /// Starts a server on what its disk holds: recovers the database, or creates it.
    ///
    /// # Errors
    /// If what the disk holds is damaged.
    pub async fn start(setup: Setup) -> Result<Rc<Process>, Damaged> {
        let format = LogFormat {
            sector: setup.disk.profile().page_bytes as usize,
            overhead: setup.profile.log_record_overhead_bytes as usize,
        };
        let (images, segments) = read_files(&setup).await;
        let recovered = recover(setup.schema, &images, &segments, format)?;
        // A database of which nothing has reached the disk is created again.
        let Recovered { core, committed, rows, image } =
            recovered.unwrap_or_else(|| Recovered::nothing(setup.schema, format));
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        setup.host.run(setup.profile.costs.row_write * rows).await;
        for (id, verdicts) in setup.reports.in_doubt.take() {
            let survived = committed.contains(&id.0);
            let fate = if survived { Fate::Committed } else { Fate::Lost };
            verdicts.into_iter().for_each(|verdict| verdict(fate));
        }
        let segment = Segment { number: core.segment(), ..Segment::default() };
        let process = Rc::new(Process {
            core: RefCell::new(core),
            lock_waits: RefCell::default(),
            log_waits: RefCell::default(),
            log_work: setup.kernel.notify(),
            segment: RefCell::new(segment),
            allocated: setup.kernel.notify(),
            image: Cell::new(image),
            image_bytes: Cell::new((0, 0)),
            setup,
        });
        for _ in 0..process.setup.profile.log_writes_max {
            process.setup.host.spawn(process.clone().write_log());
        }
        process.setup.host.spawn(process.clone().make_checkpoints());
        Ok(process)
    }

    pub fn core(&self) -> RefMut<'_, Core> {
        self.core.borrow_mut()
    }

    pub fn now(&self) -> Timestamp {
        self.setup.kernel.now()
    }

    pub fn host(&self) -> &Host {
        &self.setup.host
    }

    pub fn costs(&self) -> &DatabaseCosts {
        &self.setup.profile.costs
    }

    pub fn delayed_durability(&self) -> bool {
        self.setup.delayed_durability
    }

    fn count(&self, kind: OperationKind, bytes: u64) {
        self.setup.reports.meter.count(kind, self.now(), bytes, 0);
    }

    pub fn count_lock_wait(&self) {
        self.count(self.setup.reports.lock_wait, 0);
    }

    pub fn count_deadlock(&self) {
        self.count(self.setup.reports.deadlock, 0);
    }

    /// Whether a transaction was committed shows in recovery.
    pub fn in_doubt(&self, id: TransactionId, verdicts: Vec<Verdict>) {
        self.setup.reports.in_doubt.borrow_mut().insert(id, verdicts);
    }

    /// Waits until a lock is granted that the transaction stands in line for.
    pub fn wait_for_lock(
        self: &Rc<Self>,
        id: TransactionId,
        deadline: Timestamp,
    ) -> impl Future<Output = Result<(), SqlError>> + use<> {
        let (resolver, completion) = self.setup.kernel.completion();
        self.lock_waits.borrow_mut().insert(id, resolver);
        let waited = self.setup.kernel.timeout(deadline.since(self.now()), completion);
        let process = self.clone();
        async move {
            waited.await.unwrap_or_else(|| {
                process.lock_waits.borrow_mut().remove(&id);
                Err(SqlError::Cancelled)
            })
        }
    }

    /// Rolls back a transaction that waits for a lock.
    pub fn give_up(&self, victim: TransactionId) {
        let ended = self.core().roll_back(victim);
        let waiting = self.lock_waits.borrow_mut().remove(&victim);
        waiting.expect("invariant: who is in a deadlock waits").resolve(Err(SqlError::Deadlock));
        self.let_in(&ended);
    }

    /// Lets those go on who were waiting for a transaction that has ended.
    pub fn let_in(&self, ended: &Ended) {
        let mut waits = self.lock_waits.borrow_mut();
        for id in &ended.granted {
            if let Some(resolver) = waits.remove(id) {
                resolver.resolve(Ok(()));
            }
        }
    }

    /// Waits until the log is durable up to a transaction's commit.
    pub fn wait_for_log(&self, id: TransactionId) -> impl Future<Output = ()> + use<> {
        let (resolver, completion) = self.setup.kernel.completion();
        self.log_waits.borrow_mut().insert(id, resolver);
        self.log_work.notify_one();
        completion
    }

    /// A transaction has been committed that does not wait for the log.
    pub fn after_commit(&self) {
        let block = self.setup.profile.log_block_bytes as usize;
        if self.core().log().unwritten() >= block {
            self.log_work.notify_one();
        }
    }

    /// Writes the log whenever somebody waits for it, for ever.
    async fn write_log(self: Rc<Self>) {
        loop {
            let work = self.log_work.notified();
            match self.take_block() {
                Some(block) => self.write_block(block).await,
                None => work.await,
            }
        }
    }

    /// Takes the end of the log, if anybody waits for it, and gives it its place in the file.
    fn take_block(&self) -> Option<Block> {
        let mut core = self.core();
        let is_full = core.log().unwritten() as u64 >= self.setup.profile.log_block_bytes;
        if core.wants_log() || is_full { self.place(&mut core) } else { None }
    }

    fn place(&self, core: &mut Core) -> Option<Block> {
        let (bytes, end) = core.log_mut().take()?;
        let mut segment = self.segment.borrow_mut();
        let block = Block { segment: segment.number, offset: segment.next, bytes, end };
        segment.next += block.bytes.len() as u64;
        Some(block)
    }

    async fn write_block(&self, block: Block) {
        let Block { segment, offset, bytes, end } = block;
        let length = bytes.len() as u64;
        self.allocate(segment, offset + length).await;
        self.setup.write_synced(&segment_file(segment), offset, bytes).await;
        self.count(self.setup.reports.log_flush, length);
        let ended = self.core().log_written(end);
        for (id, ended) in ended {
            let waiting = self.log_waits.borrow_mut().remove(&id);
            waiting.expect("invariant: who commits waits for the log").resolve(());
            self.let_in(&ended);
        }
    }

    /// Fills the file of the present segment with zeros ahead of the log.
    async fn allocate(&self, number: u64, needed: u64) {
        loop {
            let change = self.allocated.notified();
            let from = {
                let mut segment = self.segment.borrow_mut();
                if segment.number != number || segment.allocated >= needed {
                    return;
                }
                if segment.allocating {
                    None
                } else {
                    segment.allocating = true;
                    Some(segment.allocated)
                }
            };
            let Some(from) = from else {
                change.await;
                continue;
            };
            let chunk = self.setup.profile.log_growth_bytes.max(needed - from);
            let zeros = Bytes::from(vec![0; chunk as usize]);
            self.setup.write_synced(&segment_file(number), from, zeros).await;
            let mut segment = self.segment.borrow_mut();
            if segment.number == number {
                segment.allocated = from + chunk;
                segment.allocating = false;
            }
            drop(segment);
            self.allocated.notify_all();
        }
    }

    async fn make_checkpoints(self: Rc<Self>) {
        loop {
            self.setup.kernel.sleep(self.setup.profile.checkpoint_interval).await;
            if self.core().is_dirty() {
                self.checkpoint().await;
            }
        }
    }

    async fn checkpoint(self: &Rc<Self>) {
        let number = self.image.get() + 1;
        let (of_changes, of_complete) = self.image_bytes.get();
        let complete = number == 1 || of_changes > 2 * of_complete;
        let (rest, image) = {
            let mut core = self.core();
            let rest = self.place(&mut core);
            let image = core.checkpoint(number, complete);
            *self.segment.borrow_mut() = Segment { number: core.segment(), ..Segment::default() };
            (rest, image)
        };
        join_all(rest.map(|block| self.write_block(block))).await;
        let first_segment = image.first_segment;
        let bytes = image.to_bytes();
        let pages = u32::try_from(bytes.len() / PAGE_BYTES).unwrap_or(u32::MAX);
        self.setup.host.run(self.costs().page_write * pages).await;
        let length = bytes.len() as u64;
        self.setup.write_synced(&image_file(number), 0, bytes).await;
        self.count(self.setup.reports.checkpoint, length);
        self.image.set(number);
        let after = if complete { (0, length) } else { (of_changes + length, of_complete) };
        self.image_bytes.set(after);
        self.delete_files(first_segment, if complete { number } else { 0 });
    }

    /// Deletes what recovery will not need.
    fn delete_files(&self, first_segment: u64, first_image: u64) {
        let disk = &self.setup.disk;
        for name in disk.list() {
            let old_log = numbered(&name, "log-").is_some_and(|number| number < first_segment);
            let old_image = numbered(&name, "data-").is_some_and(|number| number < first_image);
            if old_log || old_image {
                // A file that is gone already is as good.
                let _ = disk.delete(&name);
            }
        }
    }
}

/// A part of the log on its way to its place.
struct Block {
    segment: u64,
    offset: u64,
    bytes: Bytes,
    end: u64,
}

/// The files of images and the segments of the log, with their numbers; all of it is durable.
async fn read_files(setup: &Setup) -> (Vec<(u64, Bytes)>, Vec<(u64, Bytes)>) {
    let (mut images, mut segments) = (Vec::new(), Vec::new());
    for name in setup.disk.list() {
        let content = setup.read_synced(&name).await;
        if let Some(number) = numbered(&name, "data-") {
            images.push((number, content));
        } else if let Some(number) = numbered(&name, "log-") {
            segments.push((number, content));
        }
    }
    (images, segments)
}
