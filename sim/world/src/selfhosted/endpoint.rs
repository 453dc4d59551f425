//! Where a server is reached: commands on their way, as a device of the kernel.

use super::client::Client;
use super::incoming::Incoming;
use super::{Command, EndpointOptions};
use crate::fault::{Carrier, Effect};
use crate::host::Host;
use crate::kernel::{
    Completion, Device, DeviceId, EventId, Kernel, Kind, NodeId, Receiver, Resolver, Sender,
};
use crate::machine::Machine;
use crate::meter::{Meter, OperationKind};
use crate::network::{Arrival, Network};
use crate::profile::SelfHostedProfile;
use crate::requests::{Request, RequestEnd};
use sim_model::ledger::Timing;
use sim_model::time::Timestamp;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// How a call ended, as the client sees it.
pub(super) enum Outcome<A> {
    /// The server answered, or accepted the connection of the given number.
    Answered { answer: Option<A>, epoch: u32, arrived: Timestamp, served: Timing },
    /// The connection broke, or none could be opened.
    Broken,
    /// No answer in time.
    TimedOut,
}

/// Where a call is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    ToServer,
    AtServer,
    /// Its answer, or the news that there will be none, is on the way to the client.
    ToClient,
}

struct Call<C: Command> {
    /// Distinguishes it from later calls under the same key.
    number: u64,
    client: NodeId,
    sent: Timestamp,
    /// When the client gave up, if it did.
    given_up: Option<Timestamp>,
    /// Kind and bytes of the command, with the envelope; none of a handshake.
    command_sent: Option<(usize, u64)>,
    /// The connection: which listening of the server it belongs to. None opens one.
    epoch: Option<u32>,
    /// Absent in a handshake, and once it is at the server.
    command: Option<C>,
    place: Place,
    /// A trouble of the service has had its say about it.
    is_judged: bool,
    /// Nobody waits for its answer, and none is sent.
    is_posted: bool,
    /// Taken when the client has its answer or its timeout.
    resolver: Option<Resolver<Outcome<C::Answer>>>,
    timeout: Option<EventId>,
    arrived: Timestamp,
    departed: Timestamp,
    answer: Option<(C::Answer, Timing)>,
}

/// A server that listens.
struct Listening<C: Command> {
    epoch: u32,
    /// The generation of the machine's node.
    generation: u32,
    /// Power losses of the machine before.
    power_losses: u32,
    incoming: Sender<Incoming<C>>,
}

/// The steps of a call; the low bits of an event's token.
mod step {
    pub const ARRIVE: u64 = 0;
    pub const RETURN: u64 = 1;
    pub const BREAK: u64 = 2;
    pub const TIME_OUT: u64 = 3;
    pub const BITS: u32 = 2;
}

pub(super) struct Inner<C: Command> {
    me: Weak<Inner<C>>,
    pub kernel: Kernel,
    pub machine: Machine,
    pub options: EndpointOptions,
    network: Network,
    meter: Meter,
    profile: SelfHostedProfile,
    device: DeviceId,
    kinds: Vec<(OperationKind, Kind)>,
    calls: RefCell<Slab<Call<C>>>,
    next_call: Cell<u64>,
    epoch: Cell<u32>,
    /// The last connection number that clients know to be broken.
    known_broken: Cell<u32>,
    listening: RefCell<Option<Listening<C>>>,
    /// When the last command that a trouble delays will be let in: none overtakes it.
    delayed_until: Cell<Timestamp>,
}

/// A command on its way.
pub(super) struct Sent<A> {
    pub outcome: Completion<Outcome<A>>,
    /// The network has lost it, and so has broken the connection.
    pub is_lost: bool,
}

/// Where a server on a machine is reached; clones are the same endpoint.
pub struct Endpoint<C: Command>(pub(super) Rc<Inner<C>>);

impl<C: Command> Clone for Endpoint<C> {
    fn clone(&self) -> Self {
        Endpoint(self.0.clone())
    }
}

impl<C: Command> Endpoint<C> {
    pub(crate) fn new(
        kernel: &Kernel,
        network: &Network,
        meter: &Meter,
        profile: &SelfHostedProfile,
        machine: &Machine,
        options: EndpointOptions,
    ) -> Endpoint<C> {
        let name = format!("{} on {}", options.service, machine.host().name());
        let kind = |kind: &&str| (meter.kind(options.service, kind), kernel.kind(kind));
        Endpoint(Rc::new_cyclic(|weak: &Weak<Inner<C>>| Inner {
            me: weak.clone(),
            kernel: kernel.clone(),
            machine: machine.clone(),
            options,
            network: network.clone(),
            meter: meter.clone(),
            profile: profile.clone(),
            device: kernel.register(&name, weak.clone()),
            kinds: C::KINDS.iter().map(kind).collect(),
            calls: RefCell::default(),
            next_call: Cell::new(0),
            epoch: Cell::new(0),
            known_broken: Cell::new(0),
            listening: RefCell::new(None),
            delayed_until: Cell::new(Timestamp::ZERO),
        }))
    }

    /// The machine that the server runs on.
    pub fn machine(&self) -> &Machine {
        &self.0.machine
    }

    /// Lets the server take commands, from now until the last clone of the listener is dropped: at
    /// the latest when the machine dies. A listener from before is replaced.
    pub fn listen(&self) -> Listener<C> {
        let inner = &self.0;
        inner.end_listening();
        let (sender, receiver) = inner.kernel.channel();
        inner.epoch.set(inner.epoch.get() + 1);
        let epoch = inner.epoch.get();
        *inner.listening.borrow_mut() = Some(Listening {
            epoch,
            generation: inner.kernel.generation(inner.machine.node()),
            power_losses: inner.machine.power_losses(),
            incoming: sender,
        });
        Listener(Rc::new(Open { endpoint: inner.clone(), epoch, receiver }))
    }

    /// A client of the server on a host, not yet connected.
    pub fn client(&self, host: &Host) -> Client<C> {
        Client::new(self, host)
    }
}

struct Open<C: Command> {
    endpoint: Rc<Inner<C>>,
    epoch: u32,
    receiver: Receiver<Incoming<C>>,
}

impl<C: Command> Open<C> {
    fn end(&self) {
        let is_current = (self.endpoint.listening.borrow().as_ref())
            .is_some_and(|listening| listening.epoch == self.epoch);
        if is_current {
            self.endpoint.end_listening();
        }
    }
}

impl<C: Command> Drop for Open<C> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The server's side of an endpoint; clones take commands from the same line.
pub struct Listener<C: Command>(Rc<Open<C>>);

impl<C: Command> Clone for Listener<C> {
    fn clone(&self) -> Self {
        Listener(self.0.clone())
    }
}

impl<C: Command> Listener<C> {
    /// Waits for the next command.
    pub async fn next(&self) -> Incoming<C> {
        self.0.receiver.recv().await
    }

    /// The next command, if one has arrived.
    pub fn try_next(&self) -> Option<Incoming<C>> {
        self.0.receiver.try_recv()
    }

    /// Stops taking commands, for all clones: open connections break.
    pub fn close(&self) {
        self.0.end();
    }

    /// Commands that have arrived and were not taken.
    pub fn waiting(&self) -> usize {
        self.0.receiver.len()
    }
}

impl<C: Command> Inner<C> {
    fn token(key: usize, step: u64) -> u64 {
        (key as u64) << step::BITS | step
    }

    fn schedule(&self, at: Timestamp, key: usize, step: u64) -> EventId {
        self.kernel.schedule(at, self.device, Self::token(key, step))
    }

    /// Whether clients know that a connection is broken.
    pub fn is_known_broken(&self, epoch: u32) -> bool {
        epoch <= self.known_broken.get()
    }

    /// Sends a command on a connection, or a handshake if there is none.
    pub fn send(
        &self,
        client: NodeId,
        epoch: Option<u32>,
        command: Option<C>,
        timeout: Option<Duration>,
    ) -> Sent<C::Answer> {
        let (resolver, outcome) = self.kernel.completion();
        let (key, is_lost) = self.put_under_way(client, epoch, command, Some(resolver));
        if let Some(timeout) = timeout {
            let event = self.schedule(self.kernel.now() + timeout, key, step::TIME_OUT);
            self.calls.borrow_mut()[key].timeout = Some(event);
        }
        Sent { outcome, is_lost }
    }

    /// Sends a command whose answer nobody waits for. False if that breaks the connection.
    pub fn post(&self, client: NodeId, epoch: u32, command: C) -> bool {
        let (_, is_lost) = self.put_under_way(client, Some(epoch), Some(command), None);
        !is_lost
    }

    fn put_under_way(
        &self,
        client: NodeId,
        epoch: Option<u32>,
        command: Option<C>,
        resolver: Option<Resolver<Outcome<C::Answer>>>,
    ) -> (usize, bool) {
        let body = command.as_ref().map_or(0, Command::bytes);
        let bytes = self.profile.envelope_bytes + body;
        let number = self.next_call.get();
        self.next_call.set(number + 1);
        let mut calls = self.calls.borrow_mut();
        let entry = calls.vacant_entry();
        let key = entry.key();
        let (way, token) = ((client, self.machine.node()), Self::token(key, step::ARRIVE));
        let arrival = self.network.send(way, bytes, Carrier::Connection, self.device, token);
        let now = self.kernel.now();
        let call = entry.insert(Call {
            number,
            client,
            sent: now,
            given_up: None,
            command_sent: command.as_ref().map(|command| (command.kind(), bytes)),
            epoch,
            command,
            place: Place::ToServer,
            is_judged: false,
            is_posted: resolver.is_none(),
            resolver,
            timeout: None,
            arrived: arrival.first().unwrap_or(now),
            departed: now,
            answer: None,
        });
        let is_lost = arrival == Arrival::Never;
        if is_lost {
            self.fall_silent(key, call);
        }
        (key, is_lost)
    }

    /// Lets a call's client find out by itself that nothing more comes: when its keep-alive runs out,
    /// in a handshake its timeout.
    fn fall_silent(&self, key: usize, call: &mut Call<C>) {
        call.place = Place::ToClient;
        let at = self.kernel.now() + self.patience(call);
        self.schedule(at, key, step::BREAK);
    }

    fn patience(&self, call: &Call<C>) -> Duration {
        match call.epoch {
            Some(_) => self.profile.keep_alive,
            None => self.profile.connect_timeout,
        }
    }

    /// What a trouble of the service makes of a call that arrives. False if it is not let in now.
    fn is_let_in(&self, key: usize) -> bool {
        let faults = self.network.faults();
        let Some(fate) = faults.request_fate(self.options.service) else { return true };
        let now = self.kernel.now();
        let mut calls = self.calls.borrow_mut();
        let call = &mut calls[key];
        if std::mem::replace(&mut call.is_judged, true) {
            return true;
        }
        if fate.unanswered {
            self.fall_silent(key, call);
            return false;
        }
        if fate.refused {
            faults.count(Effect::RequestThrottled, 1);
            drop(calls);
            let is_told = self.machine.is_powered();
            self.break_call(key, is_told);
            return false;
        }
        let mut at = now + fate.late;
        if !fate.delay.is_zero() {
            at = (at + fate.delay).max(self.delayed_until.get());
            self.delayed_until.set(at);
        }
        if at > now {
            self.schedule(at, key, step::ARRIVE);
        }
        at == now
    }

    /// The present listening, if its server lives.
    fn living_epoch(&self) -> Option<u32> {
        let (kernel, node) = (&self.kernel, self.machine.node());
        let listening = self.listening.borrow();
        let listening = listening.as_ref()?;
        let lives = kernel.is_alive(node) && kernel.generation(node) == listening.generation;
        lives.then_some(listening.epoch)
    }

    fn arrive(&self, key: usize) {
        if !self.is_let_in(key) {
            return;
        }
        let mut calls = self.calls.borrow_mut();
        let call = &mut calls[key];
        debug_assert!(call.place == Place::ToServer, "a call arrives once");
        call.place = Place::AtServer;
        call.arrived = self.kernel.now();
        let epoch = self.living_epoch();
        match (epoch, call.epoch, call.command.take()) {
            (Some(epoch), None, _) => {
                call.epoch = Some(epoch);
                call.place = Place::ToClient;
                self.reply(key, call, 0);
            }
            (Some(living), Some(epoch), Some(command)) if living == epoch => {
                let (_, trail) = self.kinds[command.kind()];
                self.kernel.record(self.device, trail, command.digest());
                let number = call.number;
                drop(calls);
                let endpoint = self.me.upgrade().expect("invariant: devices fire while they live");
                let incoming = Incoming::new(&endpoint, key, number, command);
                let listening = self.listening.borrow();
                listening.as_ref().expect("invariant: it lives").incoming.send(incoming);
            }
            _ => {
                drop(calls);
                let is_told = self.machine.is_powered();
                self.break_call(key, is_told);
            }
        }
    }

    /// Puts something of that size on the way back to a call's client.
    fn reply(&self, key: usize, call: &mut Call<C>, body: u64) {
        let bytes = self.profile.envelope_bytes + body;
        let (way, token) = ((self.machine.node(), call.client), Self::token(key, step::RETURN));
        let arrival = self.network.send(way, bytes, Carrier::Connection, self.device, token);
        if arrival == Arrival::Never {
            self.fall_silent(key, call);
        }
    }

    /// The server answers a command that it has.
    pub fn answer(
        &self,
        key: usize,
        number: u64,
        bytes: u64,
        kind: usize,
        answer: C::Answer,
        served: Timing,
    ) {
        let mut calls = self.calls.borrow_mut();
        let Some(call) = calls.get_mut(key).filter(|call| call.number == number) else { return };
        if call.place != Place::AtServer {
            return;
        }
        let envelope = self.profile.envelope_bytes;
        let (meter, now) = (self.kinds[kind].0, self.kernel.now());
        if call.is_posted {
            self.meter.count(meter, now, envelope + bytes, 0);
            call.departed = now;
            self.is_over(&calls.remove(key), RequestEnd::Unawaited);
            return;
        }
        let body = C::answer_bytes(&answer);
        self.meter.count(meter, now, envelope + bytes, envelope + body);
        call.place = Place::ToClient;
        call.departed = now;
        if self.network.faults().loses_answer(self.options.service) {
            self.fall_silent(key, call);
            return;
        }
        call.answer = Some((answer, served));
        self.reply(key, call, body);
    }

    /// Whether the client of a command waits no more.
    pub fn is_abandoned(&self, key: usize, number: u64) -> bool {
        let calls = self.calls.borrow();
        let waits = |call: &Call<C>| {
            let resolver = call.resolver.as_ref();
            let has_client = resolver.is_some_and(|resolver| !resolver.is_abandoned());
            call.number == number && (call.is_posted || has_client)
        };
        !calls.get(key).is_some_and(waits)
    }

    /// The server drops a command that it has, without an answer: the connection is closed.
    pub fn abandon(&self, key: usize, number: u64) {
        let is_there = (self.calls.borrow().get(key))
            .is_some_and(|call| call.number == number && call.place == Place::AtServer);
        if is_there {
            let is_told = self.is_told();
            self.break_call(key, is_told);
        }
    }

    /// Whether clients of the present listening are told that it is over: not if the power failed.
    fn is_told(&self) -> bool {
        let losses = self.machine.power_losses();
        (self.listening.borrow().as_ref()).is_none_or(|open| open.power_losses == losses)
            && self.machine.is_powered()
    }

    /// Lets a call's client know that there will be no answer: by a reset, or when its keep-alive
    /// (in a handshake its timeout) runs out.
    fn break_call(&self, key: usize, is_told: bool) {
        let mut calls = self.calls.borrow_mut();
        let call = &mut calls[key];
        if !is_told {
            self.fall_silent(key, call);
            return;
        }
        call.place = Place::ToClient;
        let (way, token) = ((self.machine.node(), call.client), Self::token(key, step::BREAK));
        let envelope = self.profile.envelope_bytes;
        let arrival = self.network.send(way, envelope, Carrier::Connection, self.device, token);
        if arrival == Arrival::Never {
            self.fall_silent(key, call);
        }
    }

    /// The server does not listen any more: its connections break.
    fn end_listening(&self) {
        let Some(epoch) = self.listening.borrow().as_ref().map(|open| open.epoch) else { return };
        let is_told = self.is_told();
        let listening = self.listening.borrow_mut().take();
        if is_told {
            self.known_broken.set(epoch);
        }
        let at_server = |call: &Call<C>| call.place == Place::AtServer && call.epoch == Some(epoch);
        let broken: Vec<usize> = (self.calls.borrow().iter())
            .filter(|(_, call)| at_server(call))
            .map(|(key, _)| key)
            .collect();
        broken.into_iter().for_each(|key| self.break_call(key, is_told));
        // Commands that nobody took are dropped with nothing borrowed.
        drop(listening);
    }

    fn conclude(&self, key: usize, is_broken: bool) {
        let call = self.calls.borrow_mut().remove(key);
        if let Some(timeout) = call.timeout {
            self.kernel.cancel(timeout);
        }
        let end = if is_broken { RequestEnd::Broken } else { RequestEnd::Answered };
        self.is_over(&call, end);
        let Some(resolver) = call.resolver else { return };
        resolver.resolve(match (is_broken, call.epoch) {
            (false, Some(epoch)) => {
                let (answer, served) = call.answer.unzip();
                let served = served.unwrap_or_default();
                Outcome::Answered { answer, epoch, arrived: call.arrived, served }
            }
            _ => Outcome::Broken,
        });
    }

    /// A call is over for client and server.
    fn is_over(&self, call: &Call<C>, end: RequestEnd) {
        let Some((kind, bytes_in)) = call.command_sent else { return };
        let now = self.kernel.now();
        self.meter.request_over(now, || {
            let body = call.answer.as_ref().map_or(0, |(answer, _)| C::answer_bytes(answer));
            let was_served = call.answer.is_some() || end == RequestEnd::Unawaited;
            Request {
                service: self.options.service,
                kind: C::KINDS[kind],
                client: call.client,
                server: self.machine.node(),
                sent: call.sent,
                served: was_served.then_some([call.arrived, call.arrived, call.departed]),
                ended: call.given_up.unwrap_or(now),
                end: call.given_up.map_or(end, |_| RequestEnd::TimedOut),
                bytes_in,
                bytes_out: self.profile.envelope_bytes + body,
            }
        });
    }

    /// The client has waited long enough; the call goes on without it.
    fn time_out(&self, key: usize) {
        let resolver = {
            let calls = &mut *self.calls.borrow_mut();
            let call = &mut calls[key];
            call.timeout = None;
            call.given_up = Some(self.kernel.now());
            call.resolver.take()
        };
        if let Some(resolver) = resolver {
            resolver.resolve(Outcome::TimedOut);
        }
    }
}

impl<C: Command> Device for Inner<C> {
    fn fire(&self, token: u64) {
        let key = (token >> step::BITS) as usize;
        match token & ((1 << step::BITS) - 1) {
            step::ARRIVE => self.arrive(key),
            step::RETURN => self.conclude(key, false),
            step::BREAK => self.conclude(key, true),
            step::TIME_OUT => self.time_out(key),
            other => unreachable!("no step {other} of a call"),
        }
    }
}
