//! Servers that run on rented machines: what a broker, a store and a database have in common.
//!
//! The services in [`service`](crate::service) are a provider's: they never crash, and their insides are
//! latencies. A self-hosted server is a program on a [`Machine`](crate::machine::Machine): it queues
//! for the machine's cores, keeps its data on the machine's disk, and dies with the machine.
//!
//! **Server side.** An [`Endpoint`] is where a server can be reached. Whenever its machine starts
//! ([`Machine::run`](crate::machine::Machine::run)), the server recovers from its disk and then
//! [listens](Endpoint::listen). Its tasks take [`Incoming`] commands, in the order of arrival, one
//! at a time or many at once, and answer each:
//!
//! ```ignore
//! let listener = endpoint.listen();
//! machine.host().spawn(async move {
//!     loop {
//!         let mut incoming = listener.next().await;
//!         incoming.cpu(cost).await;                                // a core of the machine
//!         let written = disk.append("log", bytes).await?;          // its disk
//!         incoming.note(written);                                  // who waited for what
//!         incoming.answer(answer);
//!     }
//! });
//! ```
//!
//! What a server has decided about a command takes effect whether or not the client that sent it still
//! lives. What a server keeps in memory dies with it; nothing but its disk may be carried over.
//!
//! **Client side.** A [`Client`] is a connection from a host, which it opens with the first command and
//! again after it broke: one round trip of the network. Commands of one client arrive in the order
//! in which they were sent. It fails with one of three [`CallError`]s:
//!
//! | error | what happened | the command |
//! |---|---|---|
//! | `Unreachable` | nobody listens (told at once by the operating system), or the machine is off (after the connect timeout) | was not sent |
//! | `Broken` | the server died, or closed the connection, before it answered: told at once if only its processes died, after the keep-alive time if the power failed | may have taken effect |
//! | `TimedOut` | no answer within the client's timeout; the connection is given up | may take effect yet |
//!
//! A client repeats nothing: whoever calls decides.
//!
//! **Timing** of a reply sums exactly to the time from call to return: core time and queueing on the
//! calling host, network (with opening the connection), and what the server charged to the command:
//! [`Incoming::cpu`] the machine's cores and their queue, [`Incoming::note`] the disk,
//! [`Incoming::charge`] anything else. What the server did not charge counts as queueing.
//!
//! **Meter.** Every answered command is counted under the service's name and its kind, with its
//! bytes and one envelope each way.
//!
//! **Assumptions.** Handshakes and resets are answered by the operating system and cost no core
//! time. A client that is idle when its server's processes die learns of it at once.

mod client;
mod endpoint;
mod incoming;

pub use client::Client;
pub use endpoint::{Endpoint, Listener};
pub use incoming::Incoming;

use std::time::Duration;
use thiserror::Error;

/// What clients can ask of a server.
pub trait Command: 'static {
    /// What the server answers; errors of the server are answers too.
    type Answer: 'static;

    /// The kinds of commands, as the meter names them.
    const KINDS: &'static [&'static str];

    /// Its kind: an index into [`Command::KINDS`].
    fn kind(&self) -> usize;
    /// Bytes of the command, without the envelope.
    fn bytes(&self) -> u64;
    /// Bytes of an answer, without the envelope.
    fn answer_bytes(answer: &Self::Answer) -> u64;
    /// Digest of what it addresses and carries.
    fn digest(&self) -> u64;
}

/// How a service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointOptions {
    /// Name of the service, as the meter knows it.
    pub service: &'static str,
    /// Core time of the client library for each command, on the calling host.
    pub client_cpu: Duration,
    /// How long clients wait for an answer; without it, as long as the connection lives.
    pub timeout: Option<Duration>,
}

/// A command that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CallError {
    /// No connection could be opened: the command was not sent.
    #[error("nobody listens on {service}; the command was not sent")]
    Unreachable {
        /// The service.
        service: &'static str,
    },
    /// The connection broke before the answer: the command may or may not have taken effect.
    #[error("the connection to {service} broke; the command may or may not have taken effect")]
    Broken {
        /// The service.
        service: &'static str,
    },
    /// No answer in time: the command may or may not take effect.
    #[error("{service} did not answer in time; the command may or may not take effect")]
    TimedOut {
        /// The service.
        service: &'static str,
    },
}

impl CallError {
    /// Whether the command may have taken effect, or yet take effect.
    pub fn is_ambiguous(&self) -> bool {
        !matches!(self, CallError::Unreachable { .. })
    }
}
