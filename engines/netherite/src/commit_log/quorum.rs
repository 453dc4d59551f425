//! A log on the disks of several machines, as its one writer sees them.
//!
//! **What it models.** A small quorum log: a commit is acknowledged when a majority of the machines (two of
//! three) has it on disk. There is one round trip for a commit, and no machine waits for another.
//!
//! **Incarnations.** The number of a new one is written into a blob under the partition's lease, so that no
//! two have the same. It asks every machine to take nothing any more from those before it, and goes on when a
//! majority has promised: of what they have, the newest version holds everything that was ever acknowledged,
//! since any two majorities share a machine. It reads that one, and begins with an entry of its own after it.
//! What was not acknowledged may be in it, and then counts.
//!
//! **Machines that are behind** are sent the entries that they miss, some at a time, or, if those are not kept
//! any more, all content from the last checkpoint on. A machine that does not answer is asked again and again.
//! Without a majority nothing is acknowledged: the partition stands still, and goes on when enough machines
//! are back, if it still has its lease.
//!
//! **Late writers.** A host that was thought dead finds its entries refused by every machine that has promised
//! its successor, and stops. Without fencing they are taken.

use super::journal::{Content, Entry, Version};
use super::server::{Ask, LogAnswer, LogRequest, LogServer};
use super::{CommitRecord, LogLost};
use crate::lease::PartitionLease;
use bytes::Bytes;
use sim_world::host::Host;
use sim_world::kernel::Notify;
use sim_world::profile::LogStoreProfile;
use sim_world::selfhosted::Client;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Entries that are kept for machines that are behind.
const KEPT: usize = 256;
/// Entries that one command carries at most.
const BATCH: usize = 32;

/// The machines, and what talking to them costs.
pub(crate) struct LogMachines {
    pub servers: Vec<Rc<LogServer>>,
    pub costs: Arc<LogStoreProfile>,
    /// How many of them have to have what is acknowledged.
    pub quorum: usize,
}

/// Who opens a log.
pub(crate) struct Opener {
    pub host: Host,
    pub partition: u32,
    /// The number of the new incarnation.
    pub epoch: u32,
    pub fenced: bool,
    pub lease: Rc<PartitionLease>,
}

/// A machine, as the writer knows it.
struct Replica {
    client: Client<LogRequest>,
    /// What it has; unknown until it has promised.
    at: Cell<Option<Version>>,
}

struct Writer {
    opener: Opener,
    costs: Arc<LogStoreProfile>,
    quorum: usize,
    replicas: Vec<Replica>,
    content: RefCell<Content>,
    /// The last entries, oldest first.
    recent: RefCell<VecDeque<Rc<Entry>>>,
    /// A machine has refused: there is a later incarnation.
    fenced_off: Cell<bool>,
    closed: Cell<bool>,
    grown: Notify,
    heard: Notify,
}

/// The log, until it is dropped.
pub(crate) struct QuorumLog(Rc<Writer>);

impl Drop for QuorumLog {
    fn drop(&mut self) {
        self.0.closed.set(true);
        self.0.grown.notify_all();
    }
}

impl QuorumLog {
    /// Fences earlier incarnations off, and learns what the log holds.
    pub(crate) async fn open(machines: &LogMachines, opener: Opener) -> Result<QuorumLog, LogLost> {
        let kernel = opener.host.kernel().clone();
        let replica = |server: &Rc<LogServer>| Replica {
            client: server.endpoint.client(&opener.host),
            at: Cell::new(None),
        };
        let log = QuorumLog(Rc::new(Writer {
            costs: machines.costs.clone(),
            replicas: machines.servers.iter().map(replica).collect(),
            quorum: machines.quorum,
            content: RefCell::default(),
            recent: RefCell::default(),
            fenced_off: Cell::new(false),
            closed: Cell::new(false),
            grown: kernel.notify(),
            heard: kernel.notify(),
            opener,
        }));
        let writer = &log.0;
        for index in 0..writer.replicas.len() {
            writer.opener.host.spawn(writer.clone().feed(index));
        }
        writer.until_majority(|at| at.is_some()).await?;
        let content = writer.read_newest().await?;
        let work = writer.costs.bytes_cpu(content.len());
        writer.opener.host.run(work).await;
        writer.content.replace(content);
        Ok(log)
    }

    /// The number of the incarnation that writes it.
    pub(crate) fn epoch(&self) -> u32 {
        self.0.opener.epoch
    }

    /// What it holds.
    pub(crate) fn content(&self) -> std::cell::Ref<'_, Content> {
        self.0.content.borrow()
    }

    /// Appends bytes, and the commit record and up to where the log is committed; done when a majority has them.
    pub(crate) async fn commit(
        &self,
        commit: (CommitRecord, u64),
        bytes: Bytes,
    ) -> Result<(), LogLost> {
        let writer = &self.0;
        writer.opener.host.run(writer.costs.bytes_cpu(bytes.len() as u64)).await;
        let entry = Entry::next(&writer.content.borrow(), writer.opener.epoch, commit, bytes);
        let version = entry.version;
        let follows = writer.content.borrow_mut().take(&entry);
        assert!(follows, "invariant: the entry was made after what is there");
        {
            let recent = &mut *writer.recent.borrow_mut();
            recent.push_back(Rc::new(entry));
            let surplus = recent.len().saturating_sub(KEPT);
            recent.drain(..surplus);
        }
        writer.grown.notify_all();
        let has = |at: Version| at.epoch == version.epoch && at.entry >= version.entry;
        writer.until_majority(|at| at.is_some_and(has)).await
    }
}

impl Writer {
    /// Waits until it is true of a majority.
    async fn until_majority(&self, of: impl Fn(Option<Version>) -> bool) -> Result<(), LogLost> {
        loop {
            let heard = self.heard.notified();
            if self.fenced_off.get() || self.opener.lease.is_lost() {
                return Err(LogLost);
            }
            let count = self.replicas.iter().filter(|replica| of(replica.at.get())).count();
            if count >= self.quorum {
                return Ok(());
            }
            heard.await;
        }
    }

    /// The newest content among those that have promised.
    async fn read_newest(&self) -> Result<Content, LogLost> {
        let newest = self.replicas.iter().max_by_key(|replica| replica.at.get());
        let newest = newest.expect("invariant: there are machines");
        if newest.at.get() == Some(Version::default()) {
            return Ok(Content::default());
        }
        match newest.client.call(self.request(Ask::Read)).await.map(|reply| reply.value) {
            Ok(LogAnswer::Content(content)) => Ok(*content),
            Ok(LogAnswer::At(_)) => unreachable!("a read is answered with content"),
            // The next incarnation asks again.
            Ok(LogAnswer::Fenced) | Err(_) => Err(LogLost),
        }
    }

    fn request(&self, ask: Ask) -> LogRequest {
        let Opener { partition, epoch, fenced, .. } = self.opener;
        LogRequest { partition, epoch, fenced, ask }
    }

    /// Keeps one machine up to date, until the log is closed.
    async fn feed(self: Rc<Self>, index: usize) {
        let replica = &self.replicas[index];
        while !self.closed.get() && !self.fenced_off.get() {
            let grown = self.grown.notified();
            let Some(ask) = self.next_for(replica) else {
                grown.await;
                continue;
            };
            match replica.client.call(self.request(ask)).await.map(|reply| reply.value) {
                Ok(LogAnswer::At(version)) => replica.at.set(Some(version)),
                Ok(LogAnswer::Fenced) => self.fenced_off.set(true),
                Ok(LogAnswer::Content(_)) => unreachable!("nobody asked for content"),
                Err(_) => self.opener.host.kernel().sleep(self.costs.retry).await,
            }
            self.heard.notify_all();
        }
    }

    /// What a machine is asked next, if there is anything.
    fn next_for(&self, replica: &Replica) -> Option<Ask> {
        let Some(at) = replica.at.get() else { return Some(Ask::Fence) };
        let version = self.content.borrow().version;
        // What was recovered is passed on with the first own entry: only that says that it counts.
        if version.epoch != self.opener.epoch || at == version {
            return None;
        }
        let recent = self.recent.borrow();
        match recent.iter().position(|entry| entry.after == at) {
            Some(first) => {
                Some(Ask::Append(recent.iter().skip(first).take(BATCH).cloned().collect()))
            }
            None => Some(Ask::Replace(Rc::new(self.content.borrow().clone()))),
        }
    }
}
