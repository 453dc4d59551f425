//! The common core of all cloud services: how a request is served, limited, refused and repeated.
//!
//! **Path of one attempt.** The client library's CPU cost is charged to the calling host; the
//! request travels over the link host -> service; the account's limiter and the limiter of the
//! addressed queue, table partition or blob give it its turn, or refuse it (503) if it would wait
//! longer than the busy threshold; it is served for a latency drawn from its own stream; the
//! response travels back. A request therefore costs four events of the kernel, plus the CPU's.
//!
//! **When it takes effect.** Half-way through the latency, reads and writes alike: nothing is
//! published on the services' insides, and the middle commits to the least. The effect belongs to
//! the service: a client that dies or stops waiting leaves its request in flight, and it is
//! applied.
//!
//! **Limits.** A limiter is one server, first come first served, that each request occupies for
//! `1/rate` seconds (for each message, entity or byte it carries). Waiting for it is throttling.
//! The account limiter comes first; a request refused by its partition has used its turn there.
//!
//! **Retries.** A refused or unanswered attempt is repeated by the client library after the
//! exponential back-off of the caller's [`RequestOptions`], CPU cost included. An attempt that ran
//! into its timeout may or may not have been applied. Other errors are answers and not repeated.
//!
//! **Timing.** The parts of [`Reply::timing`] sum exactly to the virtual time from call to return.
//!
//! **Meter.** Every attempt that reaches the service is counted under its kind, when its response
//! leaves, with its bytes (HTTP envelope and body). [`COUNTERS`] are counted besides.

mod client;
mod error;
mod limiter;
mod options;
mod server;

pub use error::StorageError;
pub(crate) use error::check_limit;
pub use options::{RequestOptions, RetryPolicy};

pub(crate) use limiter::{Account, Bucket, Busy, Fcfs, occupancy};
pub(crate) use server::{Admitted, Backend, Server, Site};

use sim_model::ledger::Timing;

/// Kinds in the meter that count something about operations that are counted already (or their
/// events), and are no operations themselves.
pub const COUNTERS: [&str; 8] = [
    "get_empty",
    "throttled",
    "event_in",
    "event_out",
    "log_flush",
    "checkpoint",
    "lock_wait",
    "deadlock",
];

/// Whether a kind of the meter is an operation on a storage or event service: not a message of
/// the network, a request to the disk of a machine, or one of the application's own storage, and
/// not one of the [`COUNTERS`].
pub fn is_operation(service: &str, kind: &str) -> bool {
    let is_inside = matches!(service, "network" | "disk" | crate::cost::APPLICATION_BLOB);
    !is_inside && !COUNTERS.contains(&kind)
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<R> {
    /// What the service answered.
    pub value: R,
    /// Where the time from call to return went: [`Cpu`](sim_model::ledger::Category::Cpu) and
    /// `Queueing` on the calling host, `Network`, `Throttling` (waiting for a limiter; refused
    /// attempts with their back-off), `Storage`, and `Retries` (attempts without an answer with
    /// their back-off).
    pub timing: Timing,
}

impl<R> Reply<R> {
    /// The reply with its value changed by `change`.
    pub fn map<S>(self, change: impl FnOnce(R) -> S) -> Reply<S> {
        Reply { value: change(self.value), timing: self.timing }
    }
}
