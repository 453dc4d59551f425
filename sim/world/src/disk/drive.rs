//! The device itself: requests in a queue, limits, and latency. A plain state machine.
//!
//! Requests wait in one line. The device works on `queue_depth` of them at once. One that is taken
//! up gets its turn from two limits in a row, each a server that serves in the order of arrival:
//! the rate of requests (for `1 / iops`) and the bandwidth (for `bytes / bandwidth`). Its service
//! is its transfer and a latency drawn for its kind. There are no heads to move: the place on the
//! medium does not matter, and requests may end in another order than they were given in.

use crate::distribution::Latency;
use crate::profile::DiskProfile;
use crate::seed::{SeedTree, Stream};
use sim_model::time::Timestamp;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// What a request asks of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    Flush,
}

/// A request that waits.
struct Waiting {
    key: usize,
    access: Access,
    bytes: u64,
}

/// A request that was taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Started {
    pub key: usize,
    /// When its turn comes.
    pub turn: Timestamp,
    /// When it is done.
    pub ends: Timestamp,
}

/// The device.
pub(super) struct Drive {
    profile: Rc<DiskProfile>,
    read: Stream,
    write: Stream,
    flush: Stream,
    waiting: VecDeque<Waiting>,
    busy: u32,
    request_turn: Timestamp,
    transfer_turn: Timestamp,
    /// How many times as long everything takes: 1 for a healthy device.
    slowness: f64,
    stalled_until: Timestamp,
}

impl Drive {
    pub fn new(profile: &Rc<DiskProfile>, seeds: &SeedTree, name: &str) -> Drive {
        let stream = |kind: &str| seeds.stream(&format!("disk {name} {kind}"));
        Drive {
            profile: profile.clone(),
            read: stream("read"),
            write: stream("write"),
            flush: stream("flush"),
            waiting: VecDeque::new(),
            busy: 0,
            request_turn: Timestamp::ZERO,
            transfer_turn: Timestamp::ZERO,
            slowness: 1.0,
            stalled_until: Timestamp::ZERO,
        }
    }

    /// Puts a request at the end of the line.
    pub fn submit(&mut self, key: usize, access: Access, bytes: u64) {
        debug_assert!(bytes <= self.profile.request_bytes_max, "requests are split before");
        self.waiting.push_back(Waiting { key, access, bytes });
    }

    /// Takes up the next request, if the device can; to be called until it says none.
    pub fn start(&mut self, now: Timestamp) -> Option<Started> {
        if self.busy == self.profile.queue_depth || self.stalled_until > now {
            return None;
        }
        let Waiting { key, access, bytes } = self.waiting.pop_front()?;
        self.busy += 1;
        let turn = self.request_turn.max(now);
        self.request_turn = turn + self.span(1.0 / self.profile.iops);
        let turn = self.transfer_turn.max(turn);
        let transfer = self.span(bytes as f64 / self.profile.bandwidth_bytes_per_s);
        self.transfer_turn = turn + transfer;
        let ends = turn + transfer + self.latency(access);
        Some(Started { key, turn, ends })
    }

    fn span(&self, seconds: f64) -> Duration {
        Duration::from_nanos((seconds * 1e9 * self.slowness).round() as u64)
    }

    fn latency(&mut self, access: Access) -> Duration {
        let (latency, stream): (&Latency, _) = match access {
            Access::Read => (&self.profile.read, &mut self.read),
            Access::Write => (&self.profile.write, &mut self.write),
            Access::Flush => (&self.profile.flush, &mut self.flush),
        };
        let seconds = latency.sample(stream).as_secs_f64();
        self.span(seconds)
    }

    /// A request that was taken up is done.
    pub fn finish(&mut self) {
        debug_assert!(self.busy > 0, "what ends was taken up");
        self.busy -= 1;
    }

    /// Until when the device does nothing.
    pub fn stalled_until(&self) -> Timestamp {
        self.stalled_until
    }

    /// Lets the device do nothing until then.
    pub fn stall_until(&mut self, until: Timestamp) {
        self.stalled_until = self.stalled_until.max(until);
    }

    /// Lets everything that is taken up from now on take `factor` times as long.
    pub fn slow(&mut self, factor: f64) {
        self.slowness = factor;
    }

    /// Forgets every request: the power failed. Faults of the device stay.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.busy = 0;
        self.request_turn = Timestamp::ZERO;
        self.transfer_turn = Timestamp::ZERO;
    }
}
