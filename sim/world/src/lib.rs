//! The simulated world under an engine: virtual time, hosts, network, cloud storage.
//!
//! **What it models.** Everything an engine touches and does not own: cores that serve work in
//! turn, links with latency and bandwidth, storage services with limits and throttling, and
//! the meter that counts every operation. All of it runs on one thread from one seed, and two
//! runs with one seed agree event for event.
//!
//! **What it does not know.** Neither engines nor workloads: no name of either appears here.
//! Only [`kernel`] knows the executor underneath (madsim), so that it can be replaced.
//!
//! | room | holds |
//! |---|---|
//! | [`kernel`] | virtual clock, event heap, tasks on nodes that crash and restart, event trail |
//! | [`seed`], [`distribution`] | named random streams; latency distributions |
//! | [`host`], [`network`] | cores that queue work; links that carry many messages at once |
//! | [`machine`] | machines that are rented besides the hosts of the plan |
//! | [`disk`] | files over a page cache over a device that can lose, tear and spoil |
//! | [`fault`] | what can go wrong with links, services, leases, disks, cores and clocks |
//! | [`meter`], [`cost`] | operations by service, kind, bytes and second; money |
//! | [`service`] | the path of a request: turn, latency, effect, retry, timing |
//! | [`selfhosted`] | servers that run on rented machines, and their clients |
//! | [`stream_store`] | streams, lists and hashes on a machine of its own |
//! | [`broker`] | partitioned logs on a machine of its own |
//! | [`sql`] | a relational database: procedures, row locks, a write-ahead log |
//! | [`queue`], [`table`], [`blob`], [`event_log`] | the cloud services; [`storage`] is their account |
//! | [`profile`] | every latency, limit and price, with its source |
//! | [`functions`] | what executing user code costs on a host |
//! | [`stage`] | a small world with one task hub, for tests of engines |
//! | [`world`] | a deployment: all of the above, from a profile |
//!
//! Units: instants are [`sim_model::time::Timestamp`]s (virtual nanoseconds since the start of
//! the run), spans are [`std::time::Duration`]s, sizes are bytes.
#![forbid(unsafe_code)]

#[cfg(not(madsim))]
compile_error!(
    "the simulation is compiled in only under `--cfg madsim`. The repository's .cargo/config.toml \
     sets it, but RUSTFLAGS or CARGO_ENCODED_RUSTFLAGS in the environment replaces that setting, \
     and a build started outside the repository does not read it. Run `env -u RUSTFLAGS -u \
     CARGO_ENCODED_RUSTFLAGS cargo build` inside the repository, or, to keep flags of your own, \
     `RUSTFLAGS=\"--cfg madsim <your flags>\" cargo build`. Documentation and its tests need the \
     same in RUSTDOCFLAGS."
);

#[cfg(madsim)]
pub mod application_storage;
pub mod blob;
#[cfg(madsim)]
pub mod broker;
#[cfg(madsim)]
pub mod cost;
#[cfg(madsim)]
pub mod disk;
#[cfg(madsim)]
pub mod distribution;
#[cfg(madsim)]
pub mod event_log;
#[cfg(madsim)]
pub mod fault;
#[cfg(madsim)]
pub mod functions;
#[cfg(madsim)]
pub mod host;
#[cfg(madsim)]
pub mod kernel;
#[cfg(madsim)]
pub mod machine;
#[cfg(madsim)]
pub mod meter;
#[cfg(madsim)]
pub mod network;
#[cfg(madsim)]
pub mod profile;
#[cfg(madsim)]
pub mod queue;
#[cfg(madsim)]
pub mod requests;
#[cfg(madsim)]
pub mod seed;
#[cfg(madsim)]
pub mod selfhosted;
#[cfg(madsim)]
pub mod service;
#[cfg(madsim)]
pub mod sql;
#[cfg(madsim)]
pub mod stage;
#[cfg(madsim)]
pub mod storage;
#[cfg(madsim)]
pub mod stream_store;
#[cfg(madsim)]
pub mod table;
#[cfg(madsim)]
pub mod world;
