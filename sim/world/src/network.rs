//! The network: links with latency and bandwidth between ordered pairs of nodes.
//!
//! **What it models.** A link is a pipe. A message first *transmits*: it queues for the link's
//! bandwidth behind earlier messages of the same link and occupies it for `bytes / bandwidth`.
//! It then *propagates* for a latency drawn from the link's own stream, together with any
//! number of other messages: bandwidth is a single server, latency is an infinite one. A
//! message has arrived when its last byte has. An `ordered` link is a TCP stream: a message
//! never overtakes an earlier one, so one slow message holds up those behind it.
//!
//! **Faults.** A message arrives once, unless a [`fault`](crate::fault) of its link makes it late,
//! holds it, lets it come twice, or loses it: an [`Arrival`] says which, and whoever sends has to
//! deal with each.
//!
//! **Assumptions.** A message to the own node arrives at once and is not counted, unless a
//! link is set for that pair. A message to a node that has been killed or restarted since its
//! mailbox was made is dropped on arrival.
//!
//! Units: bytes, bytes per second, virtual nanoseconds. Every message is metered as
//! `network.message`, with its bytes as bytes in.

mod mailbox;

pub use mailbox::MailboxSender;

use crate::distribution::{Latency, LatencyError};
use crate::fault::{Board, Carrier, Effect, MessageFate};
use crate::kernel::{Device, DeviceId, Kernel, NodeId};
use crate::meter::{Meter, OperationKind};
use crate::seed::{SeedTree, Stream};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sim_model::time::Timestamp;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
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

/// What becomes of a message that was put on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a message may be lost, and whoever waits for it must not wait for ever"]
pub enum Arrival {
    /// It arrives at this instant.
    Once(Timestamp),
    /// It arrives at the first instant, and again at the second, which is not earlier.
    Twice(Timestamp, Timestamp),
    /// The link holds it until its trouble ends.
    Held,
    /// It never arrives.
    Never,
}

impl Arrival {
    /// When it arrives first, if that is known.
    pub fn first(self) -> Option<Timestamp> {
        match self {
            Arrival::Once(at) | Arrival::Twice(at, _) => Some(at),
            Arrival::Held | Arrival::Never => None,
        }
    }
}

/// A message that a link holds.
struct Held {
    bytes: u64,
    /// Drawn when it was sent, as if it had gone on its way.
    latency: Duration,
    extra: Duration,
    /// What is fired when it arrives.
    device: DeviceId,
    token: u64,
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
    faults: Board,
    state: RefCell<State>,
}

struct State {
    default: Rc<LinkProfile>,
    links: FxHashMap<(NodeId, NodeId), Link>,
    /// Messages that clogged links hold, in the order in which they were sent.
    held: BTreeMap<(NodeId, NodeId), VecDeque<Held>>,
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
        let state = State {
            default: Rc::new(default),
            links: FxHashMap::default(),
            held: BTreeMap::new(),
            mailboxes: Vec::new(),
        };
        Network(Rc::new(Inner {
            kernel: kernel.clone(),
            seeds: seeds.clone(),
            meter: meter.clone(),
            message: meter.kind("network", "message"),
            faults: Board::new(kernel, seeds),
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

    /// The troubles of the world that this network is of.
    pub(crate) fn faults(&self) -> &Board {
        &self.0.faults
    }

    /// Puts a message of `bytes` on the link now, which fires `device` with `token` when it has
    /// arrived in full, and tells when that is. Each call is one message: it occupies the link and is
    /// metered. The second arrival of a message that comes twice is the caller's to schedule, with a
    /// token that stands for the copy.
    pub fn send(
        &self,
        (from, to): (NodeId, NodeId),
        bytes: u64,
        carrier: Carrier,
        device: DeviceId,
        token: u64,
    ) -> Arrival {
        let arrival = self.arrival((from, to), bytes, carrier, Some((device, token)));
        if let Some(at) = arrival.first() {
            self.0.kernel.schedule(at, device, token);
        }
        arrival
    }

    /// Puts a message of `bytes` on the link now, and tells when it will have arrived. Nothing happens
    /// then but what the caller does; only a message that is held fires `if_held` when it arrives
    /// after all.
    pub fn arrival(
        &self,
        (from, to): (NodeId, NodeId),
        bytes: u64,
        carrier: Carrier,
        if_held: Option<(DeviceId, u64)>,
    ) -> Arrival {
        let now = self.0.kernel.now();
        if from != to {
            self.0.meter.count(self.0.message, now, bytes, 0);
        }
        let fate = self.0.faults.message_fate(from, to, carrier);
        let Some(fate) = fate else {
            return Arrival::Once(self.with_link(from, to, |link, default| {
                let latency = link.draw_latency(default);
                link.pass(default, now, bytes, latency)
            }));
        };
        if fate.held && !fate.gone {
            let latency = self.with_link(from, to, Link::draw_latency);
            if let Some((device, token)) = if_held {
                let held = Held { bytes, latency, extra: fate.extra, device, token };
                self.0.state.borrow_mut().held.entry((from, to)).or_default().push_back(held);
            }
            return Arrival::Held;
        }
        self.put_in_trouble((from, to), bytes, fate)
    }

    /// A message that is lost, late or doubled. It draws and transmits as any other.
    fn put_in_trouble(
        &self,
        (from, to): (NodeId, NodeId),
        bytes: u64,
        fate: MessageFate,
    ) -> Arrival {
        let now = self.0.kernel.now();
        let first = self.with_link(from, to, |link, default| {
            let latency = link.draw_latency(default);
            match fate {
                MessageFate { gone: true, .. } => {
                    link.transmit(default, now, bytes);
                    None
                }
                MessageFate { overtaken: true, extra, .. } => {
                    Some(link.transmit(default, now, bytes) + latency + extra)
                }
                MessageFate { extra, .. } => Some(link.pass(default, now, bytes, latency + extra)),
            }
        });
        let Some(first) = first else { return Arrival::Never };
        if !fate.twice {
            return Arrival::Once(first);
        }
        self.0.faults.count(Effect::MessageDuplicated, 1);
        let profile = self.with_link(from, to, |link, default| link.profile(default).clone());
        let after = self.0.faults.copy_after(from, to, |stream| profile.latency.sample(stream));
        Arrival::Twice(first, first + after)
    }

    /// Lets what was held go on its way, where nothing holds it any more.
    pub(crate) fn release(&self) {
        let now = self.0.kernel.now();
        let faults = &self.0.faults;
        let clogged: Vec<_> = self.0.state.borrow().held.keys().copied().collect();
        for (from, to) in clogged.into_iter().filter(|(from, to)| !faults.is_clogged(*from, *to)) {
            let held = self.0.state.borrow_mut().held.remove(&(from, to)).unwrap_or_default();
            for Held { bytes, latency, extra, device, token } in held {
                let at = self.with_link(from, to, |link, default| {
                    link.pass(default, now, bytes, latency + extra)
                });
                self.0.kernel.schedule(at, device, token);
            }
        }
    }
}

impl Link {
    fn profile<'a>(&'a self, default: &'a Rc<LinkProfile>) -> &'a Rc<LinkProfile> {
        self.profile.as_ref().unwrap_or(default)
    }

    fn draw_latency(&mut self, default: &Rc<LinkProfile>) -> Duration {
        let profile = self.profile.as_ref().unwrap_or(default);
        profile.latency.sample(&mut self.stream)
    }

    /// Transmits a message: when its last byte is on the link.
    fn transmit(&mut self, default: &Rc<LinkProfile>, now: Timestamp, bytes: u64) -> Timestamp {
        let bandwidth = self.profile(default).bandwidth_bytes_per_s;
        let transmission = bandwidth.map_or(Duration::ZERO, |rate| transmission(bytes, rate));
        self.transmitter_free = self.transmitter_free.max(now) + transmission;
        self.transmitter_free
    }

    /// Carries a message: when it has arrived, behind those before it if the link is ordered.
    fn pass(
        &mut self,
        default: &Rc<LinkProfile>,
        now: Timestamp,
        bytes: u64,
        latency: Duration,
    ) -> Timestamp {
        let mut arrival = self.transmit(default, now, bytes) + latency;
        if self.profile(default).ordered {
            arrival = arrival.max(self.last_arrival);
            self.last_arrival = arrival;
        }
        debug_assert!(arrival >= now, "messages do not arrive in the past");
        arrival
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
