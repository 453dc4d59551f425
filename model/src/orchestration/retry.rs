//! Retries with back-off: user code, made of calls and timers.
//!
//! Source: Azure/durabletask main@5217032, `DurableTask.Core/RetryInterceptor.cs`.

use super::context::OrchestrationContext;
use crate::error::ApplicationError;
use crate::time::Timestamp;
use std::future::Future;
use std::time::Duration;

/// How often, and after what pauses, a call that failed is made again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The pause after the first failure.
    pub first_interval: Duration,
    /// How often the call is made at most, the first time included.
    pub max_attempts: u32,
    /// By how much each pause is longer than the one before it.
    pub backoff: f64,
    /// The longest pause.
    pub max_interval: Option<Duration>,
    /// No call is made again once this much time has passed since the first.
    pub timeout: Option<Duration>,
}

impl RetryPolicy {
    /// Up to `max_attempts` calls with equal pauses.
    pub const fn new(first_interval: Duration, max_attempts: u32) -> RetryPolicy {
        RetryPolicy {
            first_interval,
            max_attempts,
            backoff: 1.0,
            max_interval: None,
            timeout: None,
        }
    }

    /// The pause after the `failures`-th failure, counted from 1; never more than a year, so that
    /// no sum of instants overflows.
    pub fn pause(&self, failures: u32) -> Duration {
        const LONGEST: f64 = 365.0 * 24.0 * 3600.0;
        let longest = self.max_interval.map_or(LONGEST, |max| max.as_secs_f64().min(LONGEST));
        let mut seconds = self.first_interval.as_secs_f64();
        for _ in 1..failures {
            seconds *= self.backoff;
            if seconds.is_nan() || seconds <= 0.0 || seconds > longest {
                break;
            }
        }
        let seconds = if seconds.is_nan() { 0.0 } else { seconds.clamp(0.0, longest) };
        Duration::from_secs_f64(seconds)
    }

    /// Makes a call until it succeeds or the policy gives up; then its last error. The first call is
    /// made at once.
    pub(super) fn run<O, F>(
        self,
        context: OrchestrationContext,
        call: impl Fn() -> F,
    ) -> impl Future<Output = Result<O, ApplicationError>>
    where
        F: Future<Output = Result<O, ApplicationError>>,
    {
        let begun = context.now();
        let mut current = call();
        async move {
            let mut failures = 0;
            loop {
                let error = match current.await {
                    Ok(result) => return Ok(result),
                    Err(error) => error,
                };
                failures += 1;
                if failures >= self.max_attempts || self.is_over(begun, context.now()) {
                    return Err(error);
                }
                context.sleep(self.pause(failures)).await?;
                current = call();
            }
        }
    }

    fn is_over(&self, begun: Timestamp, now: Timestamp) -> bool {
        self.timeout.is_some_and(|timeout| now.since(begun) >= timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let policy = RetryPolicy {
            backoff: 2.0,
            max_interval: Some(Duration::from_secs(30)),
            ..RetryPolicy::new(Duration::from_secs(5), 10)
        };
        let pauses: Vec<u64> = (1..6).map(|failures| policy.pause(failures).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 30, 30]);
    }

    #[test]
    fn odd_factors_stay_within_reason() {
        for backoff in [f64::NAN, f64::INFINITY, -3.0, 0.0, 1e300] {
            let policy = RetryPolicy { backoff, ..RetryPolicy::new(Duration::from_secs(1), 9) };
            assert!(policy.pause(9) <= Duration::from_secs(366 * 24 * 3600), "{backoff}");
        }
    }
}
