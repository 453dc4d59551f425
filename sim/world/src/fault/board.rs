//! What is wrong at present: the board that links and services look at.
//!
//! As long as nothing of a kind is wrong, looking costs one comparison and draws nothing. Draws come
//! from one stream for each kind of trouble and link or service (`fault link-lose worker-0->queue`),
//! and only while such a trouble lasts.

use super::conduct::Replicas;
use super::effect::{Effect, FaultCounts};
use super::pattern::Pattern;
use super::trouble::{LinkTrouble, ServiceTrouble};
use crate::kernel::{DeviceId, Kernel, Kind, NodeId};
use crate::profile::TransportProfile;
use crate::seed::{SeedTree, Stream};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// A trouble that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TroubleId(pub(super) u64);

/// Troubles of links.
struct OfLinks {
    from: Pattern,
    to: Pattern,
    both_ways: bool,
    what: LinkTrouble,
}

/// How the trail knows troubles: absent until the first one, which a run without any never has.
struct Recording {
    component: DeviceId,
    begin: Kind,
    end: Kind,
}

struct Inner {
    kernel: Kernel,
    seeds: SeedTree,
    transport: OnceCell<TransportProfile>,
    recording: OnceCell<Recording>,
    next_id: Cell<u64>,
    links: RefCell<BTreeMap<TroubleId, OfLinks>>,
    services: RefCell<BTreeMap<TroubleId, (Pattern, ServiceTrouble)>>,
    any_of_links: Cell<bool>,
    any_of_services: Cell<bool>,
    /// Services there are, for messages; true if it has a limiter.
    known_services: RefCell<BTreeSet<&'static str>>,
    streams: RefCell<BTreeMap<String, Stream>>,
    counts: RefCell<FaultCounts>,
    replicas: RefCell<Replicas>,
}

/// The troubles of a world; clones are the same board.
#[derive(Clone)]
pub(crate) struct Board(Rc<Inner>);

/// What becomes of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageFate {
    /// It never arrives.
    pub gone: bool,
    /// It waits until the link is free.
    pub held: bool,
    /// It takes longer.
    pub extra: Duration,
    /// Others may overtake it.
    pub overtaken: bool,
    /// It comes twice.
    pub twice: bool,
}

/// What becomes of one request that reaches a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestFate {
    /// It is not taken in.
    pub unanswered: bool,
    /// It is refused.
    pub refused: bool,
    /// It is served so much longer.
    pub delay: Duration,
    /// It is applied so much later.
    pub late: Duration,
}

/// What a message is part of, which says what troubles can do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A message on its own: a request to a service, a message between replicas.
    Message,
    /// A message on its own that nobody repeats or can copy: a request that is not idempotent, an
    /// answer. It never comes twice.
    Single,
    /// Part of one long-lived connection. Its bytes are numbered: what comes twice is discarded, and
    /// what is late holds up what follows.
    Connection,
}

impl Board {
    pub fn new(kernel: &Kernel, seeds: &SeedTree) -> Board {
        Board(Rc::new(Inner {
            kernel: kernel.clone(),
            seeds: seeds.clone(),
            transport: OnceCell::new(),
            recording: OnceCell::new(),
            next_id: Cell::new(0),
            links: RefCell::default(),
            services: RefCell::default(),
            any_of_links: Cell::new(false),
            any_of_services: Cell::new(false),
            known_services: RefCell::default(),
            streams: RefCell::default(),
            counts: RefCell::default(),
            replicas: RefCell::default(),
        }))
    }

    /// Says how connections repeat what was lost.
    pub fn set_transport(&self, profile: &TransportProfile) {
        self.0.transport.set(profile.clone()).expect("invariant: a world has one profile");
    }

    /// How connections behave. Only worlds have troubles, and they have said so.
    pub fn transport(&self) -> &TransportProfile {
        self.0.transport.get().expect("invariant: a world sets it before anything can go wrong")
    }

    /// The replicas there are, and how they conduct themselves.
    pub(super) fn replicas(&self) -> &RefCell<Replicas> {
        &self.0.replicas
    }

    /// Makes the name of a service known.
    pub fn add_service(&self, service: &'static str) {
        self.0.known_services.borrow_mut().insert(service);
    }

    /// The names of all services.
    pub fn service_names(&self) -> Vec<String> {
        self.0.known_services.borrow().iter().map(|name| (*name).to_owned()).collect()
    }

    /// A trouble begins: its number, after it was recorded.
    pub fn record_begin(&self, text: &str) -> TroubleId {
        let id = TroubleId(self.0.next_id.get());
        self.0.next_id.set(id.0 + 1);
        let recording = self.recording();
        self.0.kernel.record_bytes(recording.component, recording.begin, text.as_bytes());
        id
    }

    /// A trouble ends.
    pub fn record_end(&self, id: TroubleId) {
        let recording = self.recording();
        self.0.kernel.record(recording.component, recording.end, id.0);
    }

    fn recording(&self) -> &Recording {
        self.0.recording.get_or_init(|| Recording {
            component: self.0.kernel.register_recorder("faults"),
            begin: self.0.kernel.kind("fault begins"),
            end: self.0.kernel.kind("fault ends"),
        })
    }

    pub fn add_link_trouble(
        &self,
        id: TroubleId,
        (from, to, both_ways): (&Pattern, &Pattern, bool),
        what: &LinkTrouble,
    ) {
        let of_links =
            OfLinks { from: from.clone(), to: to.clone(), both_ways, what: what.clone() };
        self.0.links.borrow_mut().insert(id, of_links);
        self.0.any_of_links.set(true);
    }

    pub fn add_service_trouble(&self, id: TroubleId, service: &Pattern, what: &ServiceTrouble) {
        self.0.services.borrow_mut().insert(id, (service.clone(), what.clone()));
        self.0.any_of_services.set(true);
    }

    /// Takes a trouble off the board.
    pub fn remove(&self, id: TroubleId) {
        let mut links = self.0.links.borrow_mut();
        let mut services = self.0.services.borrow_mut();
        links.remove(&id);
        services.remove(&id);
        self.0.any_of_links.set(!links.is_empty());
        self.0.any_of_services.set(!services.is_empty());
    }

    /// Counts what a trouble did.
    pub fn count(&self, effect: Effect, count: u64) {
        self.0.counts.borrow_mut().add(effect, count);
    }

    /// What was counted so far.
    pub fn counts(&self) -> FaultCounts {
        self.0.counts.borrow().clone()
    }

    /// Draws from the stream of a kind of trouble at a place.
    fn draw<R>(&self, kind: &str, place: &str, draw: impl FnOnce(&mut Stream) -> R) -> R {
        let mut streams = self.0.streams.borrow_mut();
        let name = format!("fault {kind} {place}");
        let seeds = &self.0.seeds;
        draw(streams.entry(name).or_insert_with_key(|name| seeds.stream(name)))
    }

    fn chance(&self, kind: &str, place: &str, probability: f64) -> bool {
        self.draw(kind, place, |stream| stream.chance(probability))
    }

    fn delay(&self, kind: &str, place: &str, by: Duration, jitter: Duration) -> Duration {
        if jitter.is_zero() {
            return by;
        }
        by + jitter.mul_f64(self.draw(kind, place, Stream::unit))
    }

    /// What becomes of a message that is sent now; nothing if no trouble concerns its link.
    pub fn message_fate(&self, from: NodeId, to: NodeId, carrier: Carrier) -> Option<MessageFate> {
        if !self.0.any_of_links.get() || from == to {
            return None;
        }
        let (from, to) = (self.0.kernel.node_name(from), self.0.kernel.node_name(to));
        let links = self.0.links.borrow();
        let mut concerned =
            links.values().filter(|trouble| trouble.concerns(&from, &to)).peekable();
        concerned.peek()?;
        let place = format!("{from}->{to}");
        let mut fate = MessageFate::default();
        for trouble in concerned {
            self.add_to_fate(&mut fate, &trouble.what, &place, carrier);
        }
        if fate.held && !fate.gone {
            self.count(Effect::MessageHeld, 1);
        }
        Some(fate)
    }

    fn add_to_fate(
        &self,
        fate: &mut MessageFate,
        what: &LinkTrouble,
        place: &str,
        carrier: Carrier,
    ) {
        match what {
            LinkTrouble::Cut => {
                fate.gone = true;
                self.count(Effect::MessageCut, 1);
            }
            LinkTrouble::Clog => fate.held = true,
            LinkTrouble::Delay { by, jitter } => {
                fate.extra += self.delay("link-delay", place, *by, *jitter);
                self.count(Effect::MessageDelayed, 1);
            }
            LinkTrouble::Lose { probability } => match self.transmissions_lost(place, *probability)
            {
                Some(0) => {}
                Some(lost) => {
                    fate.extra += self.transport().time_to_repeat(lost);
                    self.count(Effect::Retransmission, u64::from(lost));
                }
                None => {
                    fate.gone = true;
                    self.count(Effect::MessageLost, 1);
                }
            },
            LinkTrouble::Duplicate { probability } => {
                // Elsewhere there is no copy, and nothing to draw for.
                if carrier == Carrier::Message && self.chance("link-duplicate", place, *probability)
                {
                    fate.twice = true;
                }
            }
            LinkTrouble::Reorder { probability, by } => {
                if self.chance("link-reorder", place, *probability) {
                    fate.extra += *by;
                    fate.overtaken = carrier != Carrier::Connection;
                    self.count(Effect::MessageReordered, 1);
                }
            }
            LinkTrouble::Corrupt { probability } => {
                if self.chance("link-corrupt", place, *probability) {
                    fate.gone = true;
                    self.count(Effect::MessageCorrupted, 1);
                }
            }
        }
    }

    /// How many transmissions in a row are lost; nothing if the sender gives up.
    fn transmissions_lost(&self, place: &str, probability: f64) -> Option<u32> {
        let most = self.transport().retransmissions_max;
        self.draw("link-lose", place, |stream| (0..=most).find(|_| !stream.chance(probability)))
    }

    /// Whether messages between two nodes are held at present.
    pub fn is_clogged(&self, from: NodeId, to: NodeId) -> bool {
        let (from, to) = (self.0.kernel.node_name(from), self.0.kernel.node_name(to));
        let links = self.0.links.borrow();
        links
            .values()
            .any(|trouble| trouble.what == LinkTrouble::Clog && trouble.concerns(&from, &to))
    }

    /// A later instant at which the copy of a message comes, after the first: drawn as `latency` does.
    pub fn copy_after(
        &self,
        from: NodeId,
        to: NodeId,
        latency: impl FnOnce(&mut Stream) -> Duration,
    ) -> Duration {
        let (from, to) = (self.0.kernel.node_name(from), self.0.kernel.node_name(to));
        self.draw("copy", &format!("{from}->{to}"), latency)
    }

    /// What becomes of a request that reaches `service` now; nothing if no trouble concerns it.
    pub fn request_fate(&self, service: &str) -> Option<RequestFate> {
        if !self.0.any_of_services.get() {
            return None;
        }
        let mut fate = RequestFate::default();
        for (pattern, what) in self.0.services.borrow().values() {
            if pattern.matches(service) {
                self.add_to_request_fate(&mut fate, what, service);
            }
        }
        (fate != RequestFate::default()).then_some(fate)
    }

    fn add_to_request_fate(&self, fate: &mut RequestFate, what: &ServiceTrouble, service: &str) {
        match what {
            ServiceTrouble::Outage => {
                fate.unanswered = true;
                self.count(Effect::RequestUnanswered, 1);
            }
            ServiceTrouble::Throttle { probability } => {
                fate.refused |= self.chance("service-throttle", service, *probability);
            }
            ServiceTrouble::Delay { by, jitter } => {
                fate.delay += self.delay("service-delay", service, *by, *jitter);
                self.count(Effect::RequestDelayed, 1);
            }
            ServiceTrouble::ApplyLate { probability, by } => {
                if self.chance("service-apply-late", service, *probability) {
                    fate.late += *by;
                    self.count(Effect::RequestAppliedLate, 1);
                }
            }
            // Drawn when there is an answer.
            ServiceTrouble::LoseAnswer { .. } => {}
        }
    }

    /// Whether a service is out.
    pub fn is_out(&self, service: &str) -> bool {
        let is_out = |(pattern, what): &(Pattern, ServiceTrouble)| {
            *what == ServiceTrouble::Outage && pattern.matches(service)
        };
        self.0.any_of_services.get() && self.0.services.borrow().values().any(is_out)
    }

    /// Whether the answer that `service` is about to send gets lost.
    pub fn loses_answer(&self, service: &str) -> bool {
        if !self.0.any_of_services.get() {
            return false;
        }
        let mut is_lost = false;
        for (pattern, what) in self.0.services.borrow().values() {
            if let ServiceTrouble::LoseAnswer { probability } = what
                && pattern.matches(service)
            {
                is_lost |= self.chance("service-lose-answer", service, *probability);
            }
        }
        self.count(Effect::AnswerLost, u64::from(is_lost));
        is_lost
    }
}

impl OfLinks {
    fn concerns(&self, from: &str, to: &str) -> bool {
        let goes = |from: &str, to: &str| self.from.matches(from) && self.to.matches(to);
        goes(from, to) || self.both_ways && goes(to, from)
    }
}
