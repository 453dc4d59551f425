//! A store of streams, lists and hashes on a machine of its own, as Redis is.
//!
//! **What it models.** One server process on a machine of class `stream-store` that executes commands in one
//! thread, in rounds of an event loop: it takes what has arrived, executes it command by command
//! on one core, writes the changes of the round to the append-only file, syncs it if that is
//! the policy, and then answers. So commands that arrive together share a sync, and reads of a
//! round wait for it too (`beforeSleep` of Redis does so).
//!
//! **Commands**, each one round trip of the network, counted under its name: `xadd`, `xread` (every
//! entry after an id, or waiting for the next), `xdel`, `rpush`, `lrange`, `hset`, `hmset`, `hget`,
//! `hgetall`, `hexists`, `hdel`, `del`, `hsetnx`, `xinfo`, and `evalsha` with one script: a field is replaced or
//! removed if it holds what is expected, and other keys are deleted with it. A read that waits is woken by the
//! `xadd` it waits for, first come, first served, and dropped if its client is gone.
//!
//! A script is one step, and stands in the append-only file as it was asked for, so that it is there whole or
//! not at all. (Redis did so until 6; since then its changes stand there, as one transaction \[recalled\].)
//!
//! **Durability**, as [`Durability`] says. A server that starts, after [`Machine::run`] or a restart,
//! reads the append-only file, replays it, and then listens. What is not a whole command at the end of
//! the file is cut off (`redis-check-aof --fix`, here done without being asked).
//!
//! | policy | crash of the processes loses | power loss loses |
//! |---|---|---|
//! | `None` | everything | everything |
//! | `AppendOnly(Always)` | nothing that was answered | nothing that was answered |
//! | `AppendOnly(EverySecond)` | nothing that was answered | what was written since the last sync: up to a second and the sync's own time |
//! | `AppendOnly(No)` | nothing that was answered | what the operating system has not written back and committed |
//!
//! With `Always`, the process exits if the file cannot be written or synced; with the others changes
//! are refused ([`StoreError::CannotPersist`]) until a write and a sync succeed.
//!
//! **Assumptions.** No snapshots, no rewriting of the append-only file, no limit of memory, no replication,
//! no transactions but that script, which takes the core time of a command; connections to a server that
//! loads are refused where the real one answers that it loads. What it has loaded it does not sync by
//! itself, as the real one does not \[recalled\]: what was written and not synced when the process crashed is
//! shown, and can be lost with the power until the next sync. Background syncs never hold up the server's
//! thread.
//!
//! **Core time** of a command is `command_cpu`, and for each thing it names or answers with
//! `element_cpu`, and for each KiB that it moves `kibibyte_cpu` (profile `[stream_store]`). Waiting of a
//! blocked read counts as polling, waiting for the rest of a round as batching.

mod client;
mod command;
mod log;
mod resp;
mod server;
mod state;

pub use client::{StoreClient, StoreError};
pub use command::{Block, Entry, EntryId, Fields};

use crate::host::Host;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::profile::StoreProfile;
use crate::selfhosted::{Endpoint, EndpointOptions};
use crate::world::{World, WorldError};
use command::Request;
use log::{Loaded, Log};
use server::Server;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// The class of machines it runs on, and the name by which the meter knows it.
const CLASS: &str = "stream-store";

/// When an append-only file is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before the commands of a round are answered.
    Always,
    /// Once a second, in the background.
    EverySecond,
    /// Never: the operating system writes it back when it likes.
    No,
}

/// What of the store survives its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing.
    None,
    /// What the append-only file holds.
    AppendOnly(Fsync),
}

/// What the last start of a server found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Commands that it replayed.
    pub commands: u64,
    /// Bytes at the end of the file that were no whole command.
    pub cut_bytes: u64,
}

struct Inner {
    kernel: Kernel,
    machine: Machine,
    endpoint: Endpoint<Request>,
    costs: Arc<StoreProfile>,
    durability: Durability,
    recovery: Cell<Option<Recovery>>,
}

/// A store with its machine; clones are the same store.
#[derive(Clone)]
pub struct StreamStore(Rc<Inner>);

impl StreamStore {
    /// Rents a machine `name` of class `stream-store` and starts an empty store on it.
    ///
    /// # Errors
    /// A profile without the sections `[stream_store]` or `[selfhosted]`, or without machines of the class;
    /// an append-only file on machines without a disk.
    ///
    /// # Panics
    /// If the name is taken.
    pub fn start(
        world: &World,
        name: &str,
        durability: Durability,
    ) -> Result<StreamStore, WorldError> {
        let costs = world.profile().store.clone();
        let costs = costs.ok_or_else(|| world.lacks("stream_store", "a stream store"))?;
        let machine = world.rent(name, CLASS, None)?;
        if durability != Durability::None && machine.disk().is_none() {
            return Err(world.lacks_disk(CLASS, "an append-only file"));
        }
        let client_cpu = costs.client_cpu;
        let options = EndpointOptions { service: CLASS, client_cpu, timeout: None };
        let endpoint = world.endpoint(&machine, options)?;
        let kernel = world.kernel().clone();
        let recovery = Cell::new(None);
        let store =
            StreamStore(Rc::new(Inner { kernel, machine, endpoint, costs, durability, recovery }));
        let weak = Rc::downgrade(&store.0);
        store.0.machine.run(move || {
            if let Some(inner) = weak.upgrade() {
                let node = inner.machine.node();
                inner.kernel.clone().spawn(node, start(inner));
            }
        });
        Ok(store)
    }

    /// The machine it runs on: to crash it, to restart it, for its disk and its price.
    pub fn machine(&self) -> &Machine {
        &self.0.machine
    }

    /// What the server that runs found when it started; none while it starts.
    pub fn recovery(&self) -> Option<Recovery> {
        self.0.recovery.get()
    }

    /// A client on a host, with a connection of its own that is opened by its first command.
    pub fn client(&self, host: &Host) -> StoreClient {
        StoreClient::new(self.0.endpoint.client(host))
    }
}

/// One life of the server's process.
async fn start(inner: Rc<Inner>) {
    let Inner { kernel, machine, endpoint, costs, durability, recovery } = &*inner;
    recovery.set(None);
    let (mut state, mut log, mut found) = Default::default();
    if let (Durability::AppendOnly(fsync), Some(disk)) = (*durability, machine.disk()) {
        // A server that cannot read its file does not start.
        let Ok(Loaded { state: loaded, commands, cut_bytes }) = log::load(disk).await else {
            return;
        };
        let commands_in_all = u32::try_from(commands).unwrap_or(u32::MAX);
        machine.host().run(costs.replay_cpu * commands_in_all).await;
        state = loaded;
        found = Recovery { commands, cut_bytes };
        log = Some(Log::open(kernel, machine.node(), disk, fsync));
    }
    recovery.set(Some(found));
    Server::new(kernel, costs, endpoint.listen(), state, log).serve().await;
}
