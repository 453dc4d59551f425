//! The receiving side of event logs: partitions, subscriptions, and what is on its way to them.

use super::Event;
use crate::kernel::{Device, DeviceId, Kernel, NodeId, Receiver, Sender};
use crate::meter::{Meter, OperationKind};
use crate::network::Network;
use crate::profile::EventLogProfile;
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
    credits: Slab<(usize, u64)>,
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
    closed: bool,
}

struct Delivery {
    reader: usize,
    positions: Range<u64>,
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
        let arrival = self.network.arrival(host, self.node, FRAME_BYTES);
        let state = &mut *self.state.borrow_mut();
        let key = state.readers.len();
        state.readers.push(Reader {
            log,
            partition,
            host,
            sender,
            next: from,
            credit: u64::from(self.limits.prefetch_events),
            last_arrival: arrival,
            closed: false,
        });
        self.schedule(arrival, key, step::OPEN);
        (key, receiver)
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
        let arrival = self.network.arrival(state.readers[key].host, self.node, FRAME_BYTES);
        let token = state.credits.insert((key, events));
        self.schedule(arrival, token, step::CREDIT);
    }

    fn schedule(&self, at: Timestamp, key: usize, step: u64) {
        let device = *self.device.get().expect("invariant: registered in new");
        self.kernel.schedule(at, device, (key as u64) << step::BITS | step);
    }

    /// Pushes what a reader has credit for, in one message.
    fn push(&self, state: &mut State, key: usize) {
        let now = self.kernel.now();
        let reader = &mut state.readers[key];
        let events = &state.logs[reader.log][reader.partition as usize].events;
        let end = (events.len() as u64).min(reader.next.saturating_add(reader.credit));
        if reader.closed || reader.next >= end {
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
        let arrival = self.network.arrival(self.node, reader.host, bytes) + held_back;
        reader.last_arrival = reader.last_arrival.max(arrival);
        reader.next = end;
        reader.credit -= count;
        let at = reader.last_arrival;
        self.meter.count(self.receive, now, 0, bytes);
        let events_out = u32::try_from(count).expect("invariant: bounded by the prefetch");
        self.meter.add(self.event_out, now, events_out, 0, 0);
        let token = state.deliveries.insert(Delivery { reader: key, positions });
        self.schedule(at, token, step::DELIVER);
    }

    /// The service has learnt of a reader.
    fn open_reader(&self, key: usize) {
        let state = &mut *self.state.borrow_mut();
        let reader = &state.readers[key];
        if reader.closed {
            return;
        }
        state.logs[reader.log][reader.partition as usize].readers.push(key);
        self.push(state, key);
    }

    /// Events have reached a reader's host.
    fn deliver(&self, token: usize) {
        let (sender, events) = {
            let state = &mut *self.state.borrow_mut();
            let Delivery { reader, positions } = state.deliveries.remove(token);
            let reader = &state.readers[reader];
            if reader.closed {
                return;
            }
            let events = &state.logs[reader.log][reader.partition as usize].events;
            let range = positions.start as usize..positions.end as usize;
            (reader.sender.clone(), events[range].to_vec())
        };
        for event in events {
            sender.send(event);
        }
    }

    fn credit(&self, token: usize) {
        let state = &mut *self.state.borrow_mut();
        let (key, events) = state.credits.remove(token);
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
            other => unreachable!("no step {other} of a push"),
        }
    }
}
