//! How long a dequeue loop waits after an empty poll.
//!
//! The first delay is the least one; after the n-th empty poll in a row the delay becomes
//! `least + factor * 2^(n-1) * least` with a factor drawn evenly from 0.8..1.2, until the longest
//! delay is reached. A message that is found, or a message that the same worker puts into the
//! queue, brings the delay back to the least. Source: Azure/durabletask main@5217032,
//! `src/DurableTask.AzureStorage/BackoffPollingHelper.cs`.

use std::time::Duration;

/// The random factor lies in `1 - SPREAD .. 1 + SPREAD`.
const SPREAD: f64 = 0.2;

/// The state of one loop's delay.
#[derive(Clone, Debug)]
pub(crate) struct PollingBackoff {
    least: Duration,
    longest: Duration,
    delay: Duration,
    exponent: i32,
}

impl PollingBackoff {
    /// A loop that has found something just now.
    pub fn new(least: Duration, longest: Duration) -> Self {
        assert!(!least.is_zero() && least <= longest, "a loop waits between two polls");
        PollingBackoff { least, longest, delay: least, exponent: 1 }
    }

    /// The delay after one more empty poll; `draw`, evenly from `0..1`, spreads the next one.
    pub fn after_empty_poll(&mut self, draw: f64) -> Duration {
        debug_assert!((0.0..=1.0).contains(&draw), "a draw from 0..1");
        let delay = self.delay;
        if delay < self.longest {
            let factor = 1.0 - SPREAD + 2.0 * SPREAD * draw;
            let growth = factor * 2f64.powi(self.exponent - 1) * self.least.as_secs_f64();
            self.delay = (self.least + Duration::from_secs_f64(growth)).min(self.longest);
            self.exponent += 1;
        }
        debug_assert!(delay >= self.least && delay <= self.longest, "delays keep their bounds");
        delay
    }

    /// A message was found, or one is known to be there.
    pub fn reset(&mut self) {
        self.delay = self.least;
        self.exponent = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(backoff: &mut PollingBackoff, draw: f64, count: usize) -> Vec<u128> {
        (0..count).map(|_| backoff.after_empty_poll(draw).as_millis()).collect()
    }

    #[test]
    fn delays_double_from_the_least_to_the_longest() {
        let least = Duration::from_millis(50);
        let mut backoff = PollingBackoff::new(least, Duration::from_secs(30));
        let expected = [50, 100, 150, 250, 450, 850, 1650, 3250, 6450, 12850, 25650, 30000, 30000];
        assert_eq!(millis(&mut backoff, 0.5, 13), expected);
        backoff.reset();
        assert_eq!(millis(&mut backoff, 0.5, 3), [50, 100, 150]);
    }

    #[test]
    fn the_draw_spreads_the_growth_by_a_fifth() {
        let (least, longest) = (Duration::from_millis(50), Duration::from_secs(30));
        assert_eq!(millis(&mut PollingBackoff::new(least, longest), 0.0, 4), [50, 90, 130, 210]);
        assert_eq!(millis(&mut PollingBackoff::new(least, longest), 1.0, 4), [50, 110, 170, 290]);
    }

    #[test]
    fn a_single_delay_stays() {
        let only = Duration::from_millis(50);
        assert_eq!(millis(&mut PollingBackoff::new(only, only), 0.9, 3), [50, 50, 50]);
    }
}
