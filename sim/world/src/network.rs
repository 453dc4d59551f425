//! The network: links with latency and bandwidth between ordered pairs of nodes.
//!
//! **What it models.** A link is a pipe. A message first *transmits*: it queues for the link's
//! bandwidth behind earlier messages of the same link and occupies it for `bytes / bandwidth`.
//! It then *propagates* for a latency drawn from the link's own stream, together with any
//! number of other messages: bandwidth is a single server, latency is an infinite one. A
//! message has arrived when its last byte has. An `ordered` link is a TCP stream: a message
//! never overtakes an earlier one, so one slow message holds up those behind it.
//!
//! **Assumptions.** A message to the own node arrives at once and is not counted, unless a
//! link is set for that pair. Messages are neither lost nor duplicated. A message to a node
//! that has been killed or restarted since its mailbox was made is dropped on arrival.
//!
//! Units: bytes, bytes per second, virtual nanoseconds. Every message is metered as
//! `network.message`, with its bytes as bytes in.

use crate::distribution::{Latency, LatencyError};
use crate::kernel::{Device, DeviceId, EventId, Kernel, NodeId, Receiver, Sender};
use crate::meter::{Meter, OperationKind};
use crate::seed::{SeedTree, Stream};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sim_model::time::Timestamp;
use slab::Slab;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// How a link behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkProfile {
    /// Propagation: drawn for each message.
    pub latency: Latency,
    /// Bytes the link transmits in a second; without it transmission takes no time.
    pub bandwidth_bytes_per_s: Option<u64>,
    /// A TCP stream: messages never overtake each other.
    pub ordered: bool,
}

impl LinkProfile {
    /// A link that takes no time.
    pub const INSTANT: LinkProfile =
        LinkProfile { latency: Latency::ZERO, bandwidth_bytes_per_s: None, ordered: false };

    /// Checks every parameter.
    ///
    /// # Errors
    /// The first parameter that cannot be, with what was expected.
    pub fn validate(&self) -> Result<(), LatencyError> {
        if self.bandwidth_bytes_per_s == Some(0) {
            let expected = "at least 1 byte per second";
            return Err(LatencyError { field: "bandwidth_bytes_per_s", value: 0.0, expected });
        }
        self.latency.validate()
    }
}

/// One direction between two nodes.
struct Link {
    /// A profile of its own; else the default holds.
    profile: Option<Rc<LinkProfile>>,
    stream: Stream,
    /// When the last message so far will have been transmitted.
    transmitter_free: Timestamp,
    /// When the last message so far will have arrived: the bound of an ordered link.
    last_arrival: Timestamp,
}

struct Inner {
    kernel: Kernel,
    seeds: SeedTree,
    meter: Meter,
    message: OperationKind,
    state: RefCell<State>,
}

struct State {
    default: Rc<LinkProfile>,
    links: FxHashMap<(NodeId, NodeId), Link>,
    /// Keeps mailboxes alive while messages to them are in flight.
    mailboxes: Vec<Rc<dyn Device>>,
}

/// All links of a run; clones are the same network.
#[derive(Clone)]
pub struct Network(Rc<Inner>);

impl Network {
    /// A network whose links all have the profile `default`, which must be valid.
    pub fn new(kernel: &Kernel, seeds: &SeedTree, meter: &Meter, default: LinkProfile) -> Self {
        assert_valid(&default);
        let state =
            State { default: Rc::new(default), links: FxHashMap::default(), mailboxes: Vec::new() };
        Network(Rc::new(Inner {
            kernel: kernel.clone(),
            seeds: seeds.clone(),
            meter: meter.clone(),
            message: meter.kind("network", "message"),
            state: RefCell::new(state),
        }))
    }

    /// Sets the profile of all links that have none of their own, from the next message on.
    pub fn set_default(&self, profile: LinkProfile) {
        assert_valid(&profile);
        self.0.state.borrow_mut().default = Rc::new(profile);
    }

    /// Gives one direction between two nodes a profile of its own, from the next message on.
    pub fn set_link(&self, from: NodeId, to: NodeId, profile: LinkProfile) {
        assert_valid(&profile);
        self.with_link(from, to, |link, _| link.profile = Some(Rc::new(profile)));
    }

    fn with_link<R>(
        &self,
        from: NodeId,
        to: NodeId,
        act: impl FnOnce(&mut Link, &Rc<LinkProfile>) -> R,
    ) -> R {
        let state = &mut *self.0.state.borrow_mut();
        let link = state.links.entry((from, to)).or_insert_with(|| self.new_link(from, to));
        act(link, &state.default)
    }

    fn new_link(&self, from: NodeId, to: NodeId) -> Link {
        let Inner { kernel, seeds, .. } = &*self.0;
        let name = format!("link {}->{}", kernel.node_name(from), kernel.node_name(to));
        Link {
            profile: (from == to).then(|| Rc::new(LinkProfile::INSTANT)),
            stream: seeds.stream(&name),
            transmitter_free: Timestamp::ZERO,
            last_arrival: Timestamp::ZERO,
        }
    }

    /// Puts a message of `bytes` on the link now, and tells when it will have arrived in full.
    /// Each call is one message: it occupies the link and is metered.
    pub fn arrival(&self, from: NodeId, to: NodeId, bytes: u64) -> Timestamp {
        let now = self.0.kernel.now();
        if from != to {
            self.0.meter.count(self.0.message, now, bytes, 0);
        }
        self.with_link(from, to, |link, default| {
            let profile = link.profile.as_ref().unwrap_or(default);
            let transmission = profile
                .bandwidth_bytes_per_s
                .map_or(Duration::ZERO, |bandwidth| transmission(bytes, bandwidth));
            link.transmitter_free = link.transmitter_free.max(now) + transmission;
            let mut arrival = link.transmitter_free + profile.latency.sample(&mut link.stream);
            if profile.ordered {
                arrival = arrival.max(link.last_arrival);
                link.last_arrival = arrival;
            }
            debug_assert!(arrival >= now, "messages do not arrive in the past");
            arrival
        })
    }

    /// Sends a message that fires `device` with `token` when it has arrived.
    pub fn send(
        &self,
        from: NodeId,
        to: NodeId,
        bytes: u64,
        device: DeviceId,
        token: u64,
    ) -> EventId {
        let arrival = self.arrival(from, to, bytes);
        self.0.kernel.schedule(arrival, device, token)
    }

    /// Makes a mailbox on `node` for messages of one type. It belongs to the node's present
    /// generation: a node that restarts makes a new one, and messages to the old are dropped.
    pub fn mailbox<T: 'static>(&self, node: NodeId) -> (MailboxSender<T>, Receiver<T>) {
        let kernel = &self.0.kernel;
        let (deliver, receiver) = kernel.channel();
        let mut state = self.0.state.borrow_mut();
        let name = format!("mailbox {} of {}", state.mailboxes.len(), kernel.node_name(node));
        let mailbox = Rc::new(Mailbox {
            kernel: kernel.clone(),
            node,
            generation: kernel.generation(node),
            in_flight: RefCell::new(Slab::new()),
            deliver,
        });
        let device: Rc<dyn Device> = mailbox.clone();
        let id = kernel.register(&name, Rc::downgrade(&device));
        state.mailboxes.push(device);
        (MailboxSender { network: self.clone(), mailbox, id }, receiver)
    }
}

fn assert_valid(profile: &LinkProfile) {
    if let Err(error) = profile.validate() {
        panic!("the profile of a link is not valid: {error}");
    }
}

/// Time to put `bytes` on a link of `bandwidth` bytes per second, rounded up.
fn transmission(bytes: u64, bandwidth: u64) -> Duration {
    let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(bandwidth));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

struct Mailbox<T> {
    kernel: Kernel,
    node: NodeId,
    generation: u32,
    in_flight: RefCell<Slab<T>>,
    deliver: Sender<T>,
}

impl<T> Device for Mailbox<T> {
    fn fire(&self, token: u64) {
        let message = self.in_flight.borrow_mut().remove(token as usize);
        let reachable =
            self.kernel.is_alive(self.node) && self.kernel.generation(self.node) == self.generation;
        if reachable {
            self.deliver.send(message);
        }
    }
}

/// Sends messages of one type to one mailbox; clones send to the same.
pub struct MailboxSender<T> {
    network: Network,
    mailbox: Rc<Mailbox<T>>,
    id: DeviceId,
}

impl<T> Clone for MailboxSender<T> {
    fn clone(&self) -> Self {
        MailboxSender { network: self.network.clone(), mailbox: self.mailbox.clone(), id: self.id }
    }
}

impl<T> MailboxSender<T> {
    /// Sends a message of `bytes` from node `from`. It stays in flight if the sender dies.
    pub fn send(&self, from: NodeId, bytes: u64, message: T) {
        let token = self.mailbox.in_flight.borrow_mut().insert(message);
        self.network.send(from, self.mailbox.node, bytes, self.id, token as u64);
    }

    /// The node of the mailbox.
    pub fn node(&self) -> NodeId {
        self.mailbox.node
    }
}
