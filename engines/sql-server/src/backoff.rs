//! How long a polling loop waits after an empty poll.
//!
//! The n-th delay in a row is `least + factor * (2^n - 1) * delta`, with a factor drawn evenly from
//! 0.8..1.2, and at most the longest. A work item that is found, or one that the same host has
//! committed just now, brings it back to the least. Source: microsoft/durabletask-mssql main@e7d35db,
//! `BackoffPollingHelper.cs` (50 ms to 3 s by 50 ms, with a random factor); the form of the growth is
//! that of the retry policies of the storage client libraries [general].

use std::time::Duration;

/// The random factor lies in `1 - SPREAD .. 1 + SPREAD`.
const SPREAD: f64 = 0.2;

/// The state of one loop's delay.
#[derive(Clone, Debug)]
pub(crate) struct PollingBackoff {
    least: Duration,
    longest: Duration,
    delta: Duration,
    empty_polls: i32,
}

impl PollingBackoff {
    /// A loop that has found something just now.
    pub fn new(least: Duration, longest: Duration, delta: Duration) -> Self {
        assert!(!least.is_zero() && least <= longest, "a loop waits between two polls");
        PollingBackoff { least, longest, delta, empty_polls: 0 }
    }

    /// The delay after one more empty poll, for a draw evenly from `0..1`.
    pub fn after_empty_poll(&mut self, draw: f64) -> Duration {
        debug_assert!((0.0..=1.0).contains(&draw), "a draw from 0..1");
        let factor = 1.0 - SPREAD + 2.0 * SPREAD * draw;
        let steps = 2f64.powi(self.empty_polls) - 1.0;
        let delay = self.least.as_secs_f64() + factor * steps * self.delta.as_secs_f64();
        // Beyond this the delay is the longest, whatever the draw.
        self.empty_polls = (self.empty_polls + 1).min(30);
        let longest = self.longest.as_secs_f64();
        if delay >= longest { self.longest } else { Duration::from_secs_f64(delay) }
    }

    /// A work item was found, or one is known to be there.
    pub fn reset(&mut self) {
        self.empty_polls = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(draw: f64, count: usize) -> Vec<u128> {
        let ms = Duration::from_millis;
        let mut backoff = PollingBackoff::new(ms(50), ms(3_000), ms(50));
        (0..count).map(|_| backoff.after_empty_poll(draw).as_millis()).collect()
    }

    #[test]
    fn delays_grow_from_the_least_to_the_longest() {
        assert_eq!(millis(0.5, 8), [50, 100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(millis(0.0, 4), [50, 90, 170, 330]);
        assert_eq!(millis(1.0, 4), [50, 110, 230, 470]);
        assert_eq!(millis(0.5, 100)[99], 3000);
    }

    #[test]
    fn a_find_brings_it_back() {
        let ms = Duration::from_millis;
        let mut backoff = PollingBackoff::new(ms(50), ms(3_000), ms(50));
        (0..5).for_each(|_| _ = backoff.after_empty_poll(0.5));
        backoff.reset();
        assert_eq!(backoff.after_empty_poll(0.5), ms(50));
    }
}
