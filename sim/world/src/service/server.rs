//! The server side of a service: calls in flight, as a device of the kernel.

use super::{Account, Busy, RequestOptions, StorageError};
use crate::distribution::Latency;
use crate::fault::{Carrier, Effect, RequestFate};
use crate::kernel::{Completion, Device, DeviceId, EventId, Kernel, Kind, NodeId, Resolver};
use crate::meter::{Meter, OperationKind};
use crate::network::{Arrival, Network};
use crate::requests::{Request, RequestEnd};
use crate::seed::{SeedTree, Stream};
use rustc_hash::FxHashMap;
use sim_model::time::Timestamp;
use slab::Slab;
use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

/// A request's turn.
#[derive(Clone, Copy)]
pub(crate) struct Admitted {
    /// When it is taken up.
    pub start: Timestamp,
    /// Time that moving its bytes adds to the server latency.
    pub transfer: Duration,
}

/// What a particular service does with its requests.
pub(crate) trait Backend: 'static {
    /// A request, as it is kept in flight.
    type Request: 'static;
    /// An answer.
    type Response: 'static;

    /// The request's index into the operations given to [`Server::new`].
    fn operation(request: &Self::Request) -> usize;
    /// Bytes of its body.
    fn request_bytes(request: &Self::Request) -> u64;
    /// Bytes of the answer's body.
    fn response_bytes(response: &Self::Response) -> u64;
    /// Digest of what it addresses and carries.
    fn digest(request: &Self::Request) -> u64;
    /// The request's turn, if its account lets it in at `at`.
    fn admit(&mut self, at: Timestamp, request: &Self::Request) -> Result<Admitted, Busy>;
    /// Applies it.
    fn apply(
        &mut self,
        now: Timestamp,
        request: &Self::Request,
    ) -> Result<Self::Response, StorageError>;
}

/// What all services of a world need.
#[derive(Clone)]
pub(crate) struct Site {
    pub kernel: Kernel,
    pub network: Network,
    pub meter: Meter,
    pub seeds: SeedTree,
    /// HTTP envelope of a request, in bytes.
    pub request_envelope: u64,
    /// HTTP envelope of a response, in bytes.
    pub response_envelope: u64,
    /// Defaults of the client library.
    pub options: RequestOptions,
}

/// How an attempt ended, as the client sees it.
pub(super) enum Outcome<R> {
    /// An answer, with the instants of its way.
    Answered {
        result: Result<R, StorageError>,
        arrived: Timestamp,
        started: Timestamp,
        departed: Timestamp,
    },
    /// Refused because of a limit.
    Busy,
    /// No answer before the deadline.
    TimedOut,
}

/// One kind of operation.
struct Operation {
    name: &'static str,
    meter: OperationKind,
    trail: Kind,
    latency: Latency,
    stream: RefCell<Stream>,
}

/// A call in flight. It lives until its response has reached the client's machine, or until the
/// service is done with it if the client has given up. The second coming of a request that came twice
/// is a call of its own, without a client.
struct Call<B: Backend> {
    request: Rc<B::Request>,
    client: NodeId,
    sent: Timestamp,
    deadline: Timestamp,
    /// When the client gave up, if it did.
    given_up: Option<Timestamp>,
    /// Taken when the client has its answer or its timeout.
    resolver: Option<Resolver<Outcome<B::Response>>>,
    /// Absent until it is applied, and if it is refused.
    result: Option<Result<B::Response, StorageError>>,
    arrived: Timestamp,
    started: Timestamp,
    departed: Timestamp,
    refused: bool,
    /// The event of its timeout, once that is known to come.
    time_out: Option<EventId>,
    /// A trouble has taken the request or its answer: nothing but the timeout comes any more.
    is_lost: bool,
    /// The answer waits on a clogged link: it comes, but perhaps after the timeout.
    is_held: bool,
}

/// The steps of a call; the low bits of an event's token.
mod step {
    pub const ARRIVE: u64 = 0;
    pub const APPLY: u64 = 1;
    pub const END: u64 = 2;
    pub const RETURN: u64 = 3;
    pub const TIME_OUT: u64 = 4;
    /// The client gave up and the service is done.
    pub const FORGET: u64 = 5;
    pub const BITS: u32 = 3;
}

/// A service of the world.
pub(crate) struct Server<B: Backend> {
    pub(super) site: Site,
    pub(super) name: &'static str,
    pub(super) client_cpu: Duration,
    node: NodeId,
    device: OnceCell<DeviceId>,
    account: Option<Rc<Account>>,
    operations: Vec<Operation>,
    throttled: OperationKind,
    backend: RefCell<B>,
    calls: RefCell<Slab<Call<B>>>,
    pub(super) retry_streams: RefCell<FxHashMap<NodeId, Stream>>,
}

impl<B: Backend> Server<B> {
    /// What it shares with all services of its world.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// A service `name` on its own node with the given operations.
    pub fn new(
        site: &Site,
        name: &'static str,
        node: NodeId,
        account: Option<Rc<Account>>,
        client_cpu: Duration,
        operations: &[(&'static str, &Latency)],
        backend: B,
    ) -> Rc<Self> {
        let operations = operations
            .iter()
            .map(|(kind, latency)| Operation {
                name: kind,
                meter: site.meter.kind(name, kind),
                trail: site.kernel.kind(kind),
                latency: (*latency).clone(),
                stream: RefCell::new(site.seeds.stream(&format!("service {name} {kind}"))),
            })
            .collect();
        let server = Rc::new(Server {
            site: site.clone(),
            name,
            client_cpu,
            node,
            device: OnceCell::new(),
            account,
            operations,
            throttled: site.meter.kind(name, "throttled"),
            backend: RefCell::new(backend),
            calls: RefCell::default(),
            retry_streams: RefCell::default(),
        });
        let weak: Weak<dyn Device> = Rc::downgrade(&server) as Weak<dyn Device>;
        let id = site.kernel.register(name, weak);
        server.device.set(id).expect("invariant: registered once");
        site.network.faults().add_service(name);
        server
    }

    /// The service's state, for what is no request (names, subscriptions).
    pub fn backend(&self) -> std::cell::RefMut<'_, B> {
        self.backend.borrow_mut()
    }

    /// The client library's defaults.
    pub fn default_options(&self) -> RequestOptions {
        self.site.options
    }

    fn device(&self) -> DeviceId {
        *self.device.get().expect("invariant: registered in new")
    }

    fn token(key: usize, step: u64) -> u64 {
        (key as u64) << step::BITS | step
    }

    fn schedule(&self, at: Timestamp, key: usize, step: u64) -> EventId {
        self.site.kernel.schedule(at, self.device(), Self::token(key, step))
    }

    /// Lets a waiting client give up at its deadline, unless that is arranged already.
    fn arrange_time_out(&self, key: usize, call: &mut Call<B>) {
        if call.resolver.is_some() && call.time_out.is_none() {
            let at = call.deadline.max(self.site.kernel.now());
            call.time_out = Some(self.schedule(at, key, step::TIME_OUT));
        }
    }

    /// Sends one attempt; the completion is its outcome at the client.
    pub(super) fn send(
        &self,
        client: NodeId,
        timeout: Duration,
        request: Rc<B::Request>,
    ) -> Completion<Outcome<B::Response>> {
        let (resolver, completion) = self.site.kernel.completion();
        let now = self.site.kernel.now();
        let deadline = now + timeout;
        let bytes = self.site.request_envelope + B::request_bytes(&request);
        let calls = &mut *self.calls.borrow_mut();
        let entry = calls.vacant_entry();
        let key = entry.key();
        let token = Self::token(key, step::ARRIVE);
        let way = (client, self.node);
        let arrival = self.site.network.send(way, bytes, Carrier::Message, self.device(), token);
        let at = arrival.first().unwrap_or(now);
        let call = entry.insert(Call {
            request,
            client,
            sent: now,
            deadline,
            given_up: None,
            resolver: Some(resolver),
            result: None,
            arrived: at,
            started: at,
            departed: at,
            refused: false,
            time_out: None,
            is_lost: arrival == Arrival::Never,
            is_held: false,
        });
        if arrival.first().is_none_or(|at| at > deadline) {
            self.arrange_time_out(key, call);
        }
        if let Arrival::Twice(_, again) = arrival {
            let request = call.request.clone();
            self.arrive_again(calls, client, request, again);
        }
        completion
    }

    /// Lets a request come once more, for nobody.
    fn arrive_again(
        &self,
        calls: &mut Slab<Call<B>>,
        client: NodeId,
        request: Rc<B::Request>,
        at: Timestamp,
    ) {
        let key = calls.insert(Call {
            request,
            client,
            sent: at,
            deadline: at,
            given_up: None,
            resolver: None,
            result: None,
            arrived: at,
            started: at,
            departed: at,
            refused: false,
            time_out: None,
            is_lost: false,
            is_held: false,
        });
        self.schedule(at, key, step::ARRIVE);
    }

    /// The request has arrived: it gets its turn, or is refused.
    fn arrive(&self, key: usize) {
        let now = self.site.kernel.now();
        let calls = &mut *self.calls.borrow_mut();
        let call = &mut calls[key];
        debug_assert!(call.arrived <= now, "requests arrive when the network said, or later");
        call.arrived = now;
        let faults = self.site.network.faults();
        let fate = faults.request_fate(self.name).unwrap_or_default();
        if fate.unanswered {
            self.vanish(key, calls);
            return;
        }
        let at = match &self.account {
            Some(account) => account.admit(now),
            None => Ok(now),
        };
        let admitted = match fate.refused {
            true => Err(Busy),
            false => at.and_then(|at| self.backend.borrow_mut().admit(at, &call.request)),
        };
        let Ok(Admitted { start, transfer }) = admitted else {
            faults.count(Effect::RequestThrottled, u64::from(fate.refused));
            call.refused = true;
            self.site.meter.count(self.throttled, now, 0, 0);
            self.respond(key, calls);
            return;
        };
        debug_assert!(start >= now, "no turn lies in the past");
        let operation = &self.operations[B::operation(&call.request)];
        let latency = operation.latency.sample(&mut operation.stream.borrow_mut()) + transfer;
        let RequestFate { delay, late, .. } = fate;
        let latency = latency + delay;
        call.started = start;
        call.departed = start + late + latency;
        if call.deadline < call.departed && call.deadline >= now {
            self.arrange_time_out(key, call);
        }
        self.schedule(start + late + latency / 2, key, step::APPLY);
    }

    /// Nothing more is heard of a request.
    fn vanish(&self, key: usize, calls: &mut Slab<Call<B>>) {
        let call = &mut calls[key];
        if call.resolver.is_some() {
            call.is_lost = true;
            self.arrange_time_out(key, call);
        } else {
            self.is_over(&calls.remove(key), false);
        }
    }

    /// A call is over for client and service.
    fn is_over(&self, call: &Call<B>, is_answered: bool) {
        let now = self.site.kernel.now();
        self.site.meter.request_over(now, || {
            let body = match &call.result {
                Some(Ok(response)) => B::response_bytes(response),
                _ => 0,
            };
            // What was lost on its way here, or came to a service that is out, was never taken up.
            let is_served = call.result.is_some() || call.refused;
            Request {
                service: self.name,
                kind: self.operations[B::operation(&call.request)].name,
                client: call.client,
                server: self.node,
                sent: call.sent,
                served: is_served.then_some([call.arrived, call.started, call.departed]),
                ended: call.given_up.unwrap_or(now),
                end: match (call.given_up, is_answered, call.refused) {
                    (Some(_), ..) => RequestEnd::TimedOut,
                    (None, true, false) => RequestEnd::Answered,
                    (None, true, true) => RequestEnd::Refused,
                    (None, false, _) => RequestEnd::Unawaited,
                },
                bytes_in: self.site.request_envelope + B::request_bytes(&call.request),
                bytes_out: self.site.response_envelope + body,
            }
        });
    }

    /// The request is half-way through its latency, and takes effect.
    fn take_effect(&self, key: usize) {
        let calls = &mut *self.calls.borrow_mut();
        let call = &mut calls[key];
        self.apply(call);
        self.schedule(call.departed, key, step::END);
    }

    /// The request has been served.
    fn end(&self, key: usize) {
        let calls = &mut *self.calls.borrow_mut();
        debug_assert!(calls[key].result.is_some(), "what was served has taken effect");
        self.respond(key, calls);
    }

    fn apply(&self, call: &mut Call<B>) {
        let kernel = &self.site.kernel;
        debug_assert!(call.result.is_none(), "a request is applied once");
        let operation = &self.operations[B::operation(&call.request)];
        kernel.record(self.device(), operation.trail, B::digest(&call.request));
        call.result = Some(self.backend.borrow_mut().apply(kernel.now(), &call.request));
    }

    /// Counts the attempt and sends the response back.
    fn respond(&self, key: usize, calls: &mut Slab<Call<B>>) {
        let call = &mut calls[key];
        let site = &self.site;
        let now = site.kernel.now();
        call.departed = now;
        let bytes_in = site.request_envelope + B::request_bytes(&call.request);
        let body = match &call.result {
            Some(Ok(response)) => B::response_bytes(response),
            _ => 0,
        };
        let bytes_out = site.response_envelope + body;
        let operation = &self.operations[B::operation(&call.request)];
        site.meter.count(operation.meter, now, bytes_in, bytes_out);
        if site.network.faults().loses_answer(self.name) {
            self.vanish(key, calls);
            return;
        }
        let way = (self.node, call.client);
        if call.resolver.is_none() {
            let token = Self::token(key, step::FORGET);
            let forgotten =
                site.network.send(way, bytes_out, Carrier::Single, self.device(), token);
            if forgotten == Arrival::Never {
                self.is_over(&calls.remove(key), false);
            }
            return;
        }
        let if_held = Some((self.device(), Self::token(key, step::RETURN)));
        let arrival = site.network.arrival(way, bytes_out, Carrier::Single, if_held);
        match arrival {
            Arrival::Once(back) | Arrival::Twice(back, _) if back <= call.deadline => {
                self.schedule(back, key, step::RETURN);
            }
            Arrival::Once(_) | Arrival::Twice(..) => self.arrange_time_out(key, call),
            Arrival::Held => {
                call.is_held = true;
                self.arrange_time_out(key, call);
            }
            Arrival::Never => self.vanish(key, calls),
        }
    }

    /// The response has reached the client's machine.
    fn deliver(&self, key: usize) {
        let call = self.calls.borrow_mut().remove(key);
        if let Some(time_out) = call.time_out {
            self.site.kernel.cancel(time_out);
        }
        self.is_over(&call, true);
        // It was held until its client had given up.
        let Some(resolver) = call.resolver else { return };
        let outcome = match call.result {
            Some(result) => Outcome::Answered {
                result,
                arrived: call.arrived,
                started: call.started,
                departed: call.departed,
            },
            None => Outcome::Busy,
        };
        resolver.resolve(outcome);
    }

    /// The client has waited long enough. The call goes on if the service is not done with it.
    fn time_out(&self, key: usize) {
        let resolver = {
            let calls = &mut *self.calls.borrow_mut();
            let call = &mut calls[key];
            let resolver = call.resolver.take();
            call.given_up = Some(self.site.kernel.now());
            let is_served =
                call.refused || (call.result.is_some() && call.departed <= self.site.kernel.now());
            if call.is_lost || (is_served && !call.is_held) {
                self.is_over(&calls.remove(key), false);
            }
            resolver
        };
        if let Some(resolver) = resolver {
            resolver.resolve(Outcome::TimedOut);
        }
    }
}

impl<B: Backend> Device for Server<B> {
    fn fire(&self, token: u64) {
        let key = (token >> step::BITS) as usize;
        match token & ((1 << step::BITS) - 1) {
            step::ARRIVE => self.arrive(key),
            step::APPLY => self.take_effect(key),
            step::END => self.end(key),
            step::RETURN => self.deliver(key),
            step::TIME_OUT => self.time_out(key),
            step::FORGET => {
                let call = self.calls.borrow_mut().remove(key);
                self.is_over(&call, false);
            }
            other => unreachable!("no step {other} of a call"),
        }
    }
}
