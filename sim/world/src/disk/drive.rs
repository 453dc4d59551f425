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
use std::sync::Arc;
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
    profile: Arc<DiskProfile>,
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
    pub fn new(profile: &Arc<DiskProfile>, seeds: &SeedTree, name: &str) -> Drive {
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

    /// Ends a stall.
    pub fn end_stall(&mut self, now: Timestamp) {
        self.stalled_until = self.stalled_until.min(now);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    /// What the measured mean may be off, relatively.
    const TOLERANCE: f64 = 0.01;
    /// Customers before the measurement begins.
    const WARM_UP: usize = 50_000;

    fn profile() -> DiskProfile {
        DiskProfile {
            capacity_bytes: 1 << 30,
            sector_bytes: 512,
            page_bytes: 4096,
            request_bytes_max: 4096,
            queue_depth: u32::MAX,
            iops: 1e12,
            bandwidth_bytes_per_s: 1e15,
            read: Latency::ZERO,
            write: Latency::ZERO,
            flush: Latency::ZERO,
            write_cache_bytes: 0,
            cache_bytes: 1 << 20,
            dirty_background_bytes: 1 << 18,
            dirty_limit_bytes: 1 << 19,
            writeback_interval: Duration::from_secs(5),
            dirty_expire: Duration::from_secs(30),
            price_per_hour: 0.0,
        }
    }

    /// The mean wait, in milliseconds, of reads of 4 KiB that arrive in a Poisson stream.
    fn mean_wait_ms(profile: DiskProfile, gap_ms: f64, customers: usize) -> f64 {
        let seeds = SeedTree::new(5);
        let mut drive = Drive::new(&Arc::new(profile), &seeds, "machine");
        let (mut gaps, gap) = (seeds.stream("gaps"), Latency::Exponential { mean_ms: gap_ms });
        let (mut now, mut total) = (Timestamp::ZERO, 0.0);
        let mut came = Vec::with_capacity(customers);
        let mut ends = BinaryHeap::new();
        let mut take_up = |drive: &mut Drive, ends: &mut BinaryHeap<_>, came: &[Timestamp], now| {
            while let Some(Started { key, turn, ends: end }) = drive.start(now) {
                ends.push(Reverse(end));
                if key >= WARM_UP {
                    total += turn.since(came[key]).as_secs_f64() * 1e3;
                }
            }
        };
        for key in 0..customers {
            now += gap.sample(&mut gaps);
            while let Some(Reverse(end)) = ends.peek().copied().filter(|Reverse(end)| *end <= now) {
                ends.pop();
                drive.finish();
                take_up(&mut drive, &mut ends, &came, end);
            }
            came.push(now);
            drive.submit(key, Access::Read, 4096);
            take_up(&mut drive, &mut ends, &came, now);
        }
        total / (customers - WARM_UP) as f64
    }

    fn assert_agrees(what: &str, measured_ms: f64, formula_ms: f64) {
        let error = measured_ms / formula_ms - 1.0;
        assert!(error.abs() < TOLERANCE, "{what}: {measured_ms} ms, formula {formula_ms} ms");
    }

    // The numbers of customers are chosen as in the tests of cores and links: over seeds the
    // measured mean has a standard deviation of at most a third of the tolerance.

    #[test]
    fn bandwidth_is_an_m_d_1_queue() {
        let limited = DiskProfile { bandwidth_bytes_per_s: 4_096_000.0, ..profile() };
        let measured = mean_wait_ms(limited, 1.0 / 0.6, 1_300_000);
        assert_agrees("bandwidth", measured, 0.6 / (2.0 * 0.4));
    }

    #[test]
    fn the_rate_of_requests_is_an_m_d_1_queue() {
        let limited = DiskProfile { iops: 1000.0, ..profile() };
        let measured = mean_wait_ms(limited, 1.0 / 0.6, 1_300_000);
        assert_agrees("requests per second", measured, 0.6 / (2.0 * 0.4));
    }

    #[test]
    fn the_depth_is_the_number_of_servers_of_an_m_m_c_queue() {
        let read = Latency::Exponential { mean_ms: 1.0 };
        let limited = DiskProfile { queue_depth: 2, read, ..profile() };
        let measured = mean_wait_ms(limited, 1.0 / (2.0 * 0.5), 3_000_000);
        // Erlang's C of two servers at a utilisation of a half is a third.
        assert_agrees("depth", measured, (1.0 / 3.0) / (2.0 * 0.5));
    }

    #[test]
    fn a_slow_device_takes_longer_and_a_stalled_one_nothing() {
        let read = Latency::Constant { value_ms: 2.0 };
        let limited = DiskProfile { read, bandwidth_bytes_per_s: 4_096_000.0, ..profile() };
        let mut drive = Drive::new(&Arc::new(limited), &SeedTree::new(1), "machine");
        let at = Timestamp::from_millis;
        drive.slow(3.0);
        drive.submit(7, Access::Read, 4096);
        let started = drive.start(at(10)).expect("it is free");
        assert_eq!(started, Started { key: 7, turn: at(10), ends: at(10 + 3 * (1 + 2)) });
        drive.stall_until(at(100));
        drive.submit(8, Access::Read, 4096);
        assert_eq!(drive.start(at(99)), None);
        drive.slow(1.0);
        let started = drive.start(at(100)).expect("the stall is over");
        assert_eq!(started, Started { key: 8, turn: at(100), ends: at(103) });
    }
}
