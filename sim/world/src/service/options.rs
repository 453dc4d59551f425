//! How a client library treats its requests: timeout, and back-off before repetitions.

use crate::profile::RetryProfile;
use std::time::Duration;

/// Timeout and retry policy of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestOptions {
    /// An attempt without an answer for this long has failed, counted from its sending.
    pub timeout: Duration,
    /// What to do about refused and unanswered attempts.
    pub retry: RetryPolicy,
}

/// Exponential back-off: before repetition k = 0, 1, ... the client waits
/// `min(max_backoff, min_backoff + (2^k - 1) * delta_backoff * jitter)`, with a jitter drawn
/// evenly from `jitter_low..jitter_high`. This is the rule of the storage client libraries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Attempts after the first one.
    pub retries_max: u32,
    /// Step of the back-off.
    pub delta_backoff: Duration,
    /// Wait before the first repetition.
    pub min_backoff: Duration,
    /// Longest wait.
    pub max_backoff: Duration,
    /// Least factor of the step.
    pub jitter_low: f64,
    /// Greatest factor of the step.
    pub jitter_high: f64,
}

impl RetryPolicy {
    /// Never repeat: the caller decides.
    pub const NONE: RetryPolicy = RetryPolicy {
        retries_max: 0,
        delta_backoff: Duration::ZERO,
        min_backoff: Duration::ZERO,
        max_backoff: Duration::ZERO,
        jitter_low: 1.0,
        jitter_high: 1.0,
    };

    /// The wait before repetition `retry`, for a draw evenly from `0..1`.
    pub fn backoff(&self, retry: u32, draw: f64) -> Duration {
        debug_assert!((0.0..=1.0).contains(&draw), "a draw from 0..1");
        let jitter = self.jitter_low + (self.jitter_high - self.jitter_low) * draw;
        let steps = ((1u64 << retry.min(40)) - 1) as f64;
        let wait =
            self.min_backoff.as_secs_f64() + steps * self.delta_backoff.as_secs_f64() * jitter;
        Duration::from_secs_f64(wait.min(self.max_backoff.as_secs_f64()))
    }
}

impl RequestOptions {
    /// The defaults of a profile's client library.
    pub fn from_profile(profile: &RetryProfile) -> Self {
        RequestOptions {
            timeout: profile.timeout,
            retry: RetryPolicy {
                retries_max: profile.retries_max,
                delta_backoff: profile.delta_backoff,
                min_backoff: profile.min_backoff,
                max_backoff: profile.max_backoff,
                jitter_low: profile.jitter_low,
                jitter_high: profile.jitter_high,
            },
        }
    }

    /// The same options without repetitions, and with this timeout.
    pub fn once(timeout: Duration) -> Self {
        RequestOptions { timeout, retry: RetryPolicy::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_grows_from_the_least_to_the_greatest_wait() {
        let policy = RetryPolicy {
            retries_max: 9,
            delta_backoff: Duration::from_secs(4),
            min_backoff: Duration::from_secs(3),
            max_backoff: Duration::from_secs(120),
            jitter_low: 0.8,
            jitter_high: 1.2,
        };
        assert_eq!(policy.backoff(0, 0.9), Duration::from_secs(3));
        assert_eq!(policy.backoff(1, 0.5), Duration::from_secs(7));
        assert_eq!(policy.backoff(2, 0.0), Duration::from_secs_f64(3.0 + 3.0 * 3.2));
        assert_eq!(policy.backoff(2, 1.0), Duration::from_secs_f64(3.0 + 3.0 * 4.8));
        assert_eq!(policy.backoff(63, 0.5), Duration::from_secs(120));
    }
}
