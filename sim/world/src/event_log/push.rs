//! The receiving side of event logs: partitions, subscriptions, and what is on its way to them.
//!
//! A reader holds a connection, as in AMQP: events come over it in the order of their partition, and
//! credit goes back. A connection of which a [`fault`](crate::fault) loses something is broken, and so is
//! one to a service that is out: nothing comes over it any more. The reader notices when it has heard
//! nothing for the profile's `transport.reader_idle_timeout`, opens another connection from the
//! position after the last event it has received, and tries again as long as that fails. Source:
//! Azure SDK for .NET, partition receivers of Event Hubs \[general\]; that credit or events of the
//! other direction still come over half a connection is left out.

use super::Event;
use crate::fault::{Carrier, Effect};
use crate::kernel::{Device, DeviceId, Kernel, NodeId, Receiver, Sender};
use crate::meter::{Meter, OperationKind};
use crate::network::{Arrival, Network};
use crate::profile::EventLogProfile;
use crate::requests::{Request, RequestEnd};
use crate::service::{Fcfs, Site, occupancy};
use bytes::Bytes;
use sim_model::time::Timestamp;
use slab::Slab;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::{Rc, Weak};

/// Bytes that the protocol adds to an event or a control message.
const FRAME_BYTES: u64 = 32;

/// What the low bits of an event's token mean.
mod step {
    /// A subscription has reached the service.
    pub const OPEN: u64 = 0;
    /// Events have reached a reader.
    pub const DELIVER: u64 = 1;
    /// Credit has reached the service.
    pub const CREDIT: u64 = 2;
    /// A reader has heard nothing for too long.
    pub const RECONNECT: u64 = 3;
    pub const BITS: u32 = 2;
}

/// Stores the events of all logs, and pushes them to their readers.
pub(super) struct Pusher {
    kernel: Kernel,
    network: Network,
    meter: Meter,
    node: NodeId,
    device: OnceCell<DeviceId>,
    receive: OperationKind,
    event_in: OperationKind,
    event_out: OperationKind,
    limits: Rc<EventLogProfile>,
    state: RefCell<State>,
}

struct State {
    names: BTreeMap<Rc<str>, usize>,
    logs: Vec<Vec<Partition>>,
    readers: Vec<Reader>,
    deliveries: Slab<Delivery>,
    credits: Slab<Credit>,
    throughput_units: u32,
    egress: Fcfs,
}

#[derive(Default)]
struct Partition {
    events: Vec<Event>,
    /// Open subscriptions.
    readers: Vec<usize>,
}

/// A subscription, as the service knows it.
struct Reader {
    log: usize,
    partition: u32,
    host: NodeId,
    sender: Sender<Event>,
    /// Position of the next event to push.
    next: u64,
    /// Events that may still be pushed before more credit comes.
    credit: u64,
    /// When the latest push arrives: none may overtake it.
    last_arrival: Timestamp,
    /// The number of its connection: what belongs to an earlier one is discarded.
    connection: u32,
    /// Its connection is broken, and it will open another one.
    is_broken: bool,
    /// Position after the last event that has reached it.
    received: u64,
    /// Events that have reached it and were not given back as credit.
    unread: u64,
    closed: bool,
}

struct Delivery {
    reader: usize,
    connection: u32,
    positions: Range<u64>,
    pushed: Timestamp,
    bytes: u64,
}

/// Credit on its way to the service.
struct Credit {
    reader: usize,
    connection: u32,
    events: u64,
}

impl Pusher {
    pub fn new(site: &Site, node: NodeId, limits: &Rc<EventLogProfile>) -> Rc<Self> {
        let pusher = Rc::new(Pusher {
            kernel: site.kernel.clone(),
            network: site.network.clone(),
            meter: site.meter.clone(),
            node,
            device: OnceCell::new(),
            receive: site.meter.kind("eventlog", "receive"),
            event_in: site.meter.kind("eventlog", "event_in"),
            event_out: site.meter.kind("eventlog", "event_out"),
            limits: limits.clone(),
            state: RefCell::new(State {
                names: BTreeMap::new(),
                logs: Vec::new(),
                readers: Vec::new(),
                deliveries: Slab::new(),
                credits: Slab::new(),
                throughput_units: limits.throughput_units,
                egress: Fcfs::default(),
            }),
        });
        let weak: Weak<dyn Device> = Rc::downgrade(&pusher) as Weak<dyn Device>;
        let id = site.kernel.register("eventlog push", weak);
        pusher.device.set(id).expect("invariant: registered once");
        pusher
    }

    /// The log `name`, created with that many partitions.
    pub fn open(&self, name: &str, partitions: u32) -> usize {
        assert!(partitions > 0, "a log has partitions");
        let state = &mut *self.state.borrow_mut();
        if let Some(index) = state.names.get(name) {
            let existing = state.logs[*index].len();
            assert_eq!(existing, partitions as usize, "log {name:?} has other partitions");
            return *index;
        }
        let index = state.logs.len();
        state.names.insert(Rc::from(name), index);
        state.logs.push((0..partitions).map(|_| Partition::default()).collect());
        index
    }

    pub fn throughput_units(&self) -> u32 {
        self.state.borrow().throughput_units
    }

    pub fn set_throughput_units(&self, units: u32) {
        self.state.borrow_mut().throughput_units = units;
    }

    pub fn end(&self, log: usize, partition: u32) -> u64 {
        self.state.borrow().logs[log][partition as usize].events.len() as u64
    }

    /// Appends events and pushes them to the readers that have credit.
    pub fn append(&self, now: Timestamp, log: usize, partition: u32, events: &[Bytes], units: u64) {
        let units = u32::try_from(units).expect("invariant: batches are bounded");
        self.meter.add(self.event_in, now, units, 0, 0);
        let state = &mut *self.state.borrow_mut();
        let place = &mut state.logs[log][partition as usize];
        for body in events {
            let position = place.events.len() as u64;
            place.events.push(Event { position, body: body.clone(), enqueued_at: now });
        }
        for index in 0..state.logs[log][partition as usize].readers.len() {
            let reader = state.logs[log][partition as usize].readers[index];
            self.push(state, reader);
        }
    }

    /// Registers a reader; the service learns of it after the link's delay.
    pub fn subscribe(
        &self,
        host: NodeId,
        log: usize,
        partition: u32,
        from: u64,
    ) -> (usize, Receiver<Event>) {
        let (sender, receiver) = self.kernel.channel();
        let state = &mut *self.state.borrow_mut();
        let key = state.readers.len();
        state.readers.push(Reader {
            log,
            partition,
            host,
            sender,
            next: from,
            credit: u64::from(self.limits.prefetch_events),
            last_arrival: self.kernel.now(),
            connection: 0,
            is_broken: false,
            received: from,
            unread: 0,
            closed: false,
        });
        self.connect(&mut state.readers[key], key);
        (key, receiver)
    }

    /// Sends a reader's wish to be pushed events.
    fn connect(&self, reader: &mut Reader, key: usize) {
        let (way, token) = ((reader.host, self.node), Self::token(key, step::OPEN));
        let carrier = Carrier::Connection;
        match self.network.send(way, FRAME_BYTES, carrier, self.device(), token) {
            Arrival::Once(at) | Arrival::Twice(at, _) => {
                reader.last_arrival = reader.last_arrival.max(at);
            }
            Arrival::Held => {}
            Arrival::Never => self.break_connection(reader, key),
        }
    }

    /// Nothing comes over a reader's connection any more: it will notice.
    fn break_connection(&self, reader: &mut Reader, key: usize) {
        if !std::mem::replace(&mut reader.is_broken, true) {
            let idle_timeout = self.network.faults().transport().reader_idle_timeout;
            self.schedule(self.kernel.now() + idle_timeout, key, step::RECONNECT);
        }
    }

    /// A reader that has heard nothing for too long opens another connection.
    fn reconnect(&self, key: usize) {
        let state = &mut *self.state.borrow_mut();
        let reader = &mut state.readers[key];
        if reader.closed {
            return;
        }
        self.network.faults().count(Effect::Reconnection, 1);
        // The service forgets the reader until it hears of it again.
        state.logs[reader.log][reader.partition as usize].readers.retain(|other| *other != key);
        reader.connection += 1;
        reader.is_broken = false;
        reader.next = reader.received;
        reader.credit = u64::from(self.limits.prefetch_events).saturating_sub(reader.unread);
        self.connect(reader, key);
    }

    /// Whether the service takes part in nothing at present.
    fn is_out(&self) -> bool {
        self.network.faults().is_out("eventlog")
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, key: usize) {
        let state = &mut *self.state.borrow_mut();
        let reader = &mut state.readers[key];
        reader.closed = true;
        state.logs[reader.log][reader.partition as usize].readers.retain(|other| *other != key);
    }

    /// Sends credit for events that were read.
    pub fn give_back(&self, key: usize, events: u64) {
        let state = &mut *self.state.borrow_mut();
        let reader = &mut state.readers[key];
        reader.unread -= events;
        let connection = reader.connection;
        let credit = state.credits.insert(Credit { reader: key, connection, events });
        let (way, token) = ((reader.host, self.node), Self::token(credit, step::CREDIT));
        let arrival =
            self.network.send(way, FRAME_BYTES, Carrier::Connection, self.device(), token);
        if arrival == Arrival::Never {
            state.credits.remove(credit);
            self.break_connection(reader, key);
        }
    }

    fn device(&self) -> DeviceId {
        *self.device.get().expect("invariant: registered in new")
    }

    fn token(key: usize, step: u64) -> u64 {
        (key as u64) << step::BITS | step
    }

    fn schedule(&self, at: Timestamp, key: usize, step: u64) {
        self.kernel.schedule(at, self.device(), Self::token(key, step));
    }

    /// Pushes what a reader has credit for, in one message.
    fn push(&self, state: &mut State, key: usize) {
        let now = self.kernel.now();
        let reader = &mut state.readers[key];
        let events = &state.logs[reader.log][reader.partition as usize].events;
        let end = (events.len() as u64).min(reader.next.saturating_add(reader.credit));
        if reader.closed || reader.is_broken || reader.next >= end {
            return;
        }
        if self.is_out() {
            self.break_connection(reader, key);
            return;
        }
        let positions = reader.next..end;
        let count = end - reader.next;
        let bytes: u64 = events[positions.start as usize..end as usize]
            .iter()
            .map(|event| event.body.len() as u64 + FRAME_BYTES)
            .sum();
        let rented = f64::from(state.throughput_units);
        let share = occupancy(bytes as f64, self.limits.egress_bytes_per_s * rented)
            .max(occupancy(count as f64, self.limits.egress_events_per_s * rented));
        let held_back = state.egress.admit_always(now, share).since(now);
        let connection = reader.connection;
        let delivery = Delivery { reader: key, connection, positions, pushed: now, bytes };
        let delivery = state.deliveries.insert(delivery);
        let if_held = Some((self.device(), Self::token(delivery, step::DELIVER)));
        let way = (self.node, reader.host);
        let arrival = self.network.arrival(way, bytes, Carrier::Connection, if_held);
        reader.next = end;
        reader.credit -= count;
        self.meter.count(self.receive, now, 0, bytes);
        let events_out = u32::try_from(count).expect("invariant: bounded by the prefetch");
        self.meter.add(self.event_out, now, events_out, 0, 0);
        match arrival {
            Arrival::Once(at) | Arrival::Twice(at, _) => {
                reader.last_arrival = reader.last_arrival.max(at + held_back);
                self.schedule(reader.last_arrival, delivery, step::DELIVER);
            }
            Arrival::Held => {}
            Arrival::Never => {
                state.deliveries.remove(delivery);
                self.break_connection(reader, key);
            }
        }
    }

    /// The service has learnt of a reader.
    fn open_reader(&self, key: usize) {
        let state = &mut *self.state.borrow_mut();
        let reader = &mut state.readers[key];
        if reader.closed {
            return;
        }
        if self.is_out() {
            self.break_connection(reader, key);
            return;
        }
        // The wish of an earlier connection, which was held, may have come already.
        let readers = &mut state.logs[reader.log][reader.partition as usize].readers;
        if !readers.contains(&key) {
            readers.push(key);
        }
        self.push(state, key);
    }

    /// Events have reached a reader's host.
    fn deliver(&self, token: usize) {
        let (sender, events) = {
            let state = &mut *self.state.borrow_mut();
            let delivery = state.deliveries.remove(token);
            let reader = &mut state.readers[delivery.reader];
            if reader.closed || reader.connection != delivery.connection {
                return;
            }
            self.has_arrived(&delivery, reader.host);
            let positions = delivery.positions;
            debug_assert_eq!(positions.start, reader.received, "events come in order");
            reader.received = positions.end;
            reader.unread += positions.end - positions.start;
            let events = &state.logs[reader.log][reader.partition as usize].events;
            let range = positions.start as usize..positions.end as usize;
            (reader.sender.clone(), events[range].to_vec())
        };
        for event in events {
            sender.send(event);
        }
    }

    /// A push has arrived at a reader's host.
    fn has_arrived(&self, delivery: &Delivery, host: NodeId) {
        let Delivery { pushed, bytes, .. } = *delivery;
        let now = self.kernel.now();
        self.meter.request_over(now, || Request {
            service: "eventlog",
            kind: "receive",
            client: host,
            server: self.node,
            sent: pushed,
            served: Some([pushed; 3]),
            ended: now,
            end: RequestEnd::Pushed,
            bytes_in: 0,
            bytes_out: bytes,
        });
    }

    fn credit(&self, token: usize) {
        let state = &mut *self.state.borrow_mut();
        let Credit { reader: key, connection, events } = state.credits.remove(token);
        // Whoever opened another connection has counted it in.
        if state.readers[key].connection != connection {
            return;
        }
        state.readers[key].credit += events;
        debug_assert!(state.readers[key].credit <= u64::from(self.limits.prefetch_events));
        self.push(state, key);
    }
}

impl Device for Pusher {
    fn fire(&self, token: u64) {
        let key = (token >> step::BITS) as usize;
        match token & ((1 << step::BITS) - 1) {
            step::OPEN => self.open_reader(key),
            step::DELIVER => self.deliver(key),
            step::CREDIT => self.credit(key),
            step::RECONNECT => self.reconnect(key),
            other => unreachable!("no step {other} of a push"),
        }
    }
}
