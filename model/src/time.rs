//! Instants of virtual time.
//!
//! Virtual time is an integer count of nanoseconds since the start of the run: there are no
//! ticks and no floating point, so that two machines agree on every comparison. A span of
//! time is a [`std::time::Duration`]. 64 bits last for 584 years of virtual time.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, AddAssign};
use std::time::Duration;

/// An instant of virtual time, in nanoseconds since the start of the run.
///
/// ```
/// use sim_model::time::Timestamp;
/// use std::time::Duration;
/// let later = Timestamp::ZERO + Duration::from_millis(3);
/// assert_eq!(later.as_nanos(), 3_000_000);
/// assert_eq!(later.since(Timestamp::ZERO), Duration::from_millis(3));
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The start of the run.
    pub const ZERO: Timestamp = Timestamp(0);
    /// The end of representable time: later than every instant of a run.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The instant `nanos` nanoseconds after the start of the run.
    pub const fn from_nanos(nanos: u64) -> Self {
        Timestamp(nanos)
    }

    /// The instant `millis` milliseconds after the start of the run.
    pub const fn from_millis(millis: u64) -> Self {
        Timestamp(millis * 1_000_000)
    }

    /// The instant `secs` seconds after the start of the run.
    pub const fn from_secs(secs: u64) -> Self {
        Timestamp(secs * 1_000_000_000)
    }

    /// Nanoseconds since the start of the run.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the start of the run.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Milliseconds since the start of the run.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The instant `span` earlier, or zero if there is none.
    pub fn before(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(nanos(span)))
    }

    /// The span from `earlier` to this instant; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The length of `span` in nanoseconds; spans beyond 584 years saturate.
pub fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    /// Saturates at [`Timestamp::MAX`], which no run reaches.
    fn add(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(nanos(span)))
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
