//! What can go wrong in the world, as data that is switched on and off.
//!
//! A [`Trouble`] says what is wrong and with what; [`World::begin`](crate::world::World::begin) lets it
//! go wrong, [`World::end`](crate::world::World::end) heals it. Who decides when is not the world's
//! affair. Crashes, pauses and restarts of hosts are not here: see [`Host`](crate::host::Host) and
//! [`Machine`](crate::machine::Machine).
//!
//! **Links.** Every message goes over TCP, mostly with TLS; one message is taken for one segment.
//! Messages on their own ([`Carrier::Message`]: HTTP requests, messages between replicas) are told
//! from those of one long-lived connection ([`Carrier::Connection`]: commands to self-hosted servers,
//! events pushed to readers).
//!
//! | trouble | what happens | source |
//! |---|---|---|
//! | `Cut` | what is sent meanwhile is gone; what is in flight arrives. Who waits for an answer runs into its timeout and cannot know whether the request was served | \[assumption\] the connection is given up before TCP's own repetitions would get through |
//! | `Clog` | what is sent meanwhile is held, and arrives after the end, in order on an ordered link, whatever became of the sender | \[general\] buffers of a router or a paused proxy |
//! | `Delay` | latency plus `by`, plus up to `jitter`, evenly | |
//! | `Lose` | a lost transmission is repeated after the retransmission timeout, which doubles up to a maximum; on an ordered link the next messages wait. After the last repetition the message is gone | RFC 6298 section 5; constants in `[transport]` of the profile |
//! | `Corrupt` | checksums or TLS notice; the connection breaks and the message is gone | RFC 8446 section 5.2: `bad_record_mac` ends the connection |
//! | `Duplicate` | the message comes again after another latency of the link: a service applies the request twice, and its second answer finds nobody | \[general\] a proxy or library that repeats |
//! | `Reorder` | the message comes `by` later, and others overtake it, on an ordered link too | \[general\] several connections of a pool |
//!
//! On a connection TCP numbers the bytes: a duplicate is discarded, and a reordered message holds up
//! those behind it. A connection that lost a message is broken: the client of a self-hosted server
//! opens a new one, the reader of an event log subscribes again from its position. Messages that
//! nobody can copy (those that carry an answer's place, such as requests to a front end or to a
//! function's host) are not duplicated: common proxies do not repeat a request that is not idempotent
//! (RFC 9110 section 9.2.2). A node reaches itself without a link.
//!
//! **Services**, of the cloud or on rented machines, by the service's name:
//!
//! | trouble | what happens |
//! |---|---|
//! | `Outage` | requests that come meanwhile are not taken in, and get no answer; those that were taken in before are served |
//! | `Throttle` | a request is refused as by the limiter (503), and metered as throttled; a self-hosted server has no limiter, and closes the connection |
//! | `Delay` | a request is served so much longer; it takes effect half-way as ever |
//! | `LoseAnswer` | a request is applied, and its answer never comes: an ambiguous timeout |
//! | `ApplyLate` | a request is taken in and applied `by` later, also if the client has given up or died meanwhile: the late write that fencing is for |
//!
//! What an event log pushes to its readers knows outages only. Of hosts and machines those are concerned
//! that are there when the trouble begins.
//!
//! **Leases.** The service ends the leases on blobs, as an administrator's break with period 0 does:
//! whoever named the lease from then on has lost it (Azure Blob Storage, Lease Blob).
//!
//! **Disks**: see [`disk`](crate::disk). **Cores**: work that is under way or comes takes `slowdown`
//! times as long: a noisy neighbour, thermal throttling. **Clocks** are ahead by `offset`, and gain
//! `drift_ppm` millionths of the time since the trouble began; when it ends they are right at once
//! (a step, as NTP does with large errors).
//!
//! **Replicas** that do not follow their protocol: what each can be made to do is for the software to
//! declare that runs on it, see [`World::replicas`](crate::world::World::replicas).
//!
//! **Random draws** come from streams of their own (`fault <kind> <place>`). With no trouble not one
//! draw or event of a run differs from a run without this module. A message that is lost or late has
//! drawn its latency and used the link as ever, so later ones meet what they would have met.
//!
//! **The trail** has an event for each begin, with the digest of the trouble, and each end.
//! [`World::fault_counts`](crate::world::World::fault_counts) counts what troubles did.

mod apply;
mod board;
mod conduct;
mod effect;
mod error;
mod pattern;
mod trouble;

pub use apply::FaultTargets;
pub(crate) use board::{Board, MessageFate, RequestFate};
pub use board::{Carrier, TroubleId};
pub use conduct::{Conduct, ReplicaGroup};
pub use effect::{Effect, FaultCounts};
pub use error::TroubleError;
pub use pattern::{Pattern, PatternError};
pub use trouble::{
    DRIFT_PPM_MAX, LinkTrouble, OFFSET_MAX, SLOWDOWN_MAX, SPAN_MAX, ServiceTrouble, Trouble,
};
