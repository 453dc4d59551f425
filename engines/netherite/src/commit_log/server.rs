//! A log server: one of the machines that keep replicas of the logs of all partitions, on its disk.
//!
//! It knows nothing of the other machines. Of each partition it has a journal and a *fence*: the lowest
//! incarnation that may still write. It promises an incarnation that asks for it, durably, to take nothing
//! any more from those before; so what it answers then is the last it will ever have of them. Commands of one
//! partition are carried out one after the other; each is answered when what it says is synced.
//!
//! A journal is read from the disk when its partition is first asked for. A disk that fails ends the server:
//! it stops listening until its machine is started again.

use super::file::JournalFile;
use super::journal::{Content, Entry, Version};
use sim_world::disk::{Disk, DiskError};
use sim_world::kernel::{Receiver, Sender};
use sim_world::machine::Machine;
use sim_world::profile::LogStoreProfile;
use sim_world::selfhosted::{Command, Endpoint, EndpointOptions, Incoming, Listener};
use sim_world::world::{World, WorldError};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The class of the machines, and the name by which the meter knows the service.
const CLASS: &str = "log-store";
/// Bytes of the header of a request, and of an answer without content.
const HEADER_BYTES: u64 = 40;

/// What an incarnation asks of a server.
#[derive(Clone, Debug)]
pub(crate) struct LogRequest {
    pub partition: u32,
    /// The incarnation.
    pub epoch: u32,
    /// Whether the fence counts.
    pub fenced: bool,
    pub ask: Ask,
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// To take nothing from incarnations before this one.
    Fence,
    /// All content.
    Read,
    /// To take the entries that follow what it has.
    Append(Vec<Rc<Entry>>),
    /// To take this in the place of what it has.
    Replace(Rc<Content>),
}

#[derive(Debug)]
pub(crate) enum LogAnswer {
    /// What the server has now.
    At(Version),
    /// Only incarnations from this one on may write.
    Fenced,
    Content(Box<Content>),
}

impl Command for LogRequest {
    type Answer = LogAnswer;
    const KINDS: &'static [&'static str] = &["fence", "read", "append", "replace"];

    fn kind(&self) -> usize {
        match self.ask {
            Ask::Fence => 0,
            Ask::Read => 1,
            Ask::Append(_) => 2,
            Ask::Replace(_) => 3,
        }
    }

    fn bytes(&self) -> u64 {
        HEADER_BYTES
            + match &self.ask {
                Ask::Fence | Ask::Read => 0,
                Ask::Append(entries) => entries.iter().map(|entry| entry.size()).sum(),
                Ask::Replace(content) => content.len(),
            }
    }

    fn answer_bytes(answer: &LogAnswer) -> u64 {
        match answer {
            LogAnswer::At(_) | LogAnswer::Fenced => HEADER_BYTES,
            LogAnswer::Content(content) => HEADER_BYTES + content.len(),
        }
    }

    fn digest(&self) -> u64 {
        let version = match &self.ask {
            Ask::Fence | Ask::Read => Version::default(),
            Ask::Append(entries) => entries.last().map(|last| last.version).unwrap_or_default(),
            Ask::Replace(content) => content.version,
        };
        let numbers = [self.kind() as u64, self.partition.into(), self.epoch.into(), version.entry];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        xxh3_64(&bytes)
    }
}

/// A server with its machine, through all its lives.
pub(crate) struct LogServer {
    pub endpoint: Endpoint<LogRequest>,
    machine: Machine,
    disk: Disk,
    costs: Arc<LogStoreProfile>,
    /// Whether what is written is synced before it is acknowledged.
    syncs: bool,
}

impl LogServer {
    /// Rents the machine `name` and starts a server on it.
    ///
    /// # Errors
    /// A profile without such machines, or without disks in them.
    pub(crate) fn start(
        world: &World,
        name: &str,
        costs: &Arc<LogStoreProfile>,
        syncs: bool,
    ) -> Result<Rc<LogServer>, WorldError> {
        let machine = world.rent(name, CLASS, None)?;
        let timeout = Some(costs.request_timeout);
        let options = EndpointOptions { service: CLASS, client_cpu: costs.client_cpu, timeout };
        let endpoint = world.endpoint(&machine, options)?;
        let disk = machine.disk().cloned();
        let disk = disk.ok_or_else(|| WorldError::Disk {
            profile: world.profile().name.clone(),
            class: CLASS,
            what: "a replicated log",
        })?;
        let costs = costs.clone();
        let server = Rc::new(LogServer { endpoint, machine, disk, costs, syncs });
        let weak = Rc::downgrade(&server);
        server.machine.run(move || {
            if let Some(server) = weak.upgrade() {
                let listener = server.endpoint.listen();
                let process = Rc::new(Process { server, listener });
                process.server.machine.host().spawn(process.clone().run());
            }
        });
        Ok(server)
    }
}

/// One life of a server.
struct Process {
    server: Rc<LogServer>,
    listener: Listener<LogRequest>,
}

impl Process {
    /// Hands each command to the task of its partition.
    async fn run(self: Rc<Self>) {
        let mut partitions: BTreeMap<u32, Sender<Incoming<LogRequest>>> = BTreeMap::new();
        let host = self.server.machine.host();
        loop {
            let incoming = self.listener.next().await;
            let partition = incoming.command().partition;
            let inbox = partitions.entry(partition).or_insert_with(|| {
                let (inbox, commands) = host.kernel().channel();
                host.spawn(self.clone().serve_partition(partition, commands));
                inbox
            });
            inbox.send(incoming);
        }
    }

    /// Serves one partition, until the disk fails.
    async fn serve_partition(
        self: Rc<Self>,
        partition: u32,
        commands: Receiver<Incoming<LogRequest>>,
    ) {
        let LogServer { machine, disk, costs, syncs, .. } = &*self.server;
        let prefix = format!("p{partition:02}");
        if let Ok(journal) = JournalFile::recover(disk, &prefix, *syncs).await {
            let work = costs.bytes_cpu(journal.content().len());
            machine.host().run(work).await;
            while self.serve(&journal, commands.recv().await).await.is_ok() {}
        }
        self.listener.close();
    }

    async fn serve(
        &self,
        journal: &JournalFile,
        mut incoming: Incoming<LogRequest>,
    ) -> Result<(), DiskError> {
        let request = incoming.command().clone();
        let work = self.server.costs.request_cpu + self.server.costs.bytes_cpu(request.bytes());
        incoming.cpu(work).await;
        if request.fenced && request.epoch < journal.fence() {
            incoming.answer(LogAnswer::Fenced);
            return Ok(());
        }
        let has = journal.content().version;
        match &request.ask {
            Ask::Read => {
                let content = journal.content().clone();
                incoming.cpu(self.server.costs.bytes_cpu(content.len())).await;
                incoming.answer(LogAnswer::Content(Box::new(content)));
                return Ok(());
            }
            Ask::Fence if request.epoch <= journal.fence() => {}
            Ask::Fence => {
                incoming.cpu(self.server.costs.write_cpu).await;
                journal.fence_off(request.epoch).await?;
            }
            Ask::Append(entries) => {
                // A command that is sent again begins with what is here already.
                if let Some(first) = entries.iter().position(|entry| entry.after == has) {
                    let missing: Vec<Entry> =
                        entries[first..].iter().map(|entry| Entry::clone(entry)).collect();
                    incoming.cpu(self.server.costs.write_cpu).await;
                    journal.append(&missing).await?;
                }
            }
            Ask::Replace(content) => {
                let is_older = has.epoch == content.version.epoch && has >= content.version;
                if !is_older {
                    incoming.cpu(self.server.costs.write_cpu).await;
                    journal.replace(Content::clone(content)).await?;
                }
            }
        }
        let now = journal.content().version;
        incoming.answer(LogAnswer::At(now));
        Ok(())
    }
}
