//! Service limits as queues of deterministic servers.

use sim_model::time::Timestamp;
use std::cell::RefCell;
use std::time::Duration;

/// A request was refused because of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// How long `units` things occupy a limiter of `rate` things per second.
pub(crate) fn occupancy(units: f64, rate: f64) -> Duration {
    debug_assert!(units >= 0.0 && rate > 0.0, "limits are positive");
    Duration::from_nanos((units * 1e9 / rate).round() as u64)
}

/// One server, first come first served, with a given occupancy for each request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fcfs {
    next_free: Timestamp,
}

impl Fcfs {
    /// The turn of a request that comes at `at` and occupies the server for `occupancy`; refused
    /// if the turn comes later than `at + patience`.
    pub fn admit(
        &mut self,
        at: Timestamp,
        occupancy: Duration,
        patience: Duration,
    ) -> Result<Timestamp, Busy> {
        let start = at.max(self.next_free);
        if start.since(at) > patience {
            return Err(Busy);
        }
        self.next_free = start + occupancy;
        Ok(start)
    }

    /// The turn of a request that is never refused.
    pub fn admit_always(&mut self, at: Timestamp, occupancy: Duration) -> Timestamp {
        let start = at.max(self.next_free);
        self.next_free = start + occupancy;
        start
    }
}

/// A limit that saves up unused throughput (a token bucket, kept as its virtual finishing time):
/// requests never wait, and are refused while the bucket is empty.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    empty_until: Timestamp,
}

impl Bucket {
    /// Whether a request of this occupancy fits at `at`, with `burst` saved up at most. A request
    /// larger than the whole bucket fits into a full one.
    pub fn fits(&self, at: Timestamp, occupancy: Duration, burst: Duration) -> bool {
        let backlog = self.empty_until.since(at);
        backlog + occupancy <= burst || backlog.is_zero()
    }

    /// Takes a request's share out of the bucket.
    pub fn take(&mut self, at: Timestamp, occupancy: Duration) {
        self.empty_until = at.max(self.empty_until) + occupancy;
    }
}

/// The limiter that all services of a storage account share.
pub(crate) struct Account {
    limiter: RefCell<Fcfs>,
    occupancy: Duration,
    patience: Duration,
}

impl Account {
    /// An account that serves `rate` requests per second.
    pub fn new(rate: f64, patience: Duration) -> Self {
        Account { limiter: RefCell::default(), occupancy: occupancy(1.0, rate), patience }
    }

    /// The turn of a request that arrives at `at`.
    pub fn admit(&self, at: Timestamp) -> Result<Timestamp, Busy> {
        self.limiter.borrow_mut().admit(at, self.occupancy, self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_given_in_order_and_refused_beyond_the_patience() {
        let mut limiter = Fcfs::default();
        let (at, slot) = (Timestamp::from_millis(5), Duration::from_millis(2));
        let patience = Duration::from_millis(4);
        assert_eq!(limiter.admit(at, slot, patience), Ok(Timestamp::from_millis(5)));
        assert_eq!(limiter.admit(at, slot, patience), Ok(Timestamp::from_millis(7)));
        assert_eq!(limiter.admit(at, slot, patience), Ok(Timestamp::from_millis(9)));
        assert_eq!(limiter.admit(at, slot, patience), Err(Busy));
        let later = Timestamp::from_millis(30);
        assert_eq!(limiter.admit(later, slot, patience), Ok(later), "an idle server is free");
    }

    #[test]
    fn a_bucket_allows_bursts_and_the_rate_in_the_long_run() {
        let (mut bucket, burst) = (Bucket::default(), Duration::from_secs(1));
        let slot = occupancy(1.0, 100.0);
        let mut admitted = 0;
        for millisecond in 0..10_000 {
            let at = Timestamp::from_millis(millisecond);
            if bucket.fits(at, slot, burst) {
                bucket.take(at, slot);
                admitted += 1;
            }
        }
        assert!((1_098..=1_101).contains(&admitted), "{admitted} of a rate of 100/s and a burst");
    }
}
