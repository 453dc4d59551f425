//! What can be wrong, as data.

use super::error::TroubleError;
use super::pattern::Pattern;
use crate::disk::DiskFault;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest span in a trouble: nothing that is measured lasts longer.
pub const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);
/// The most by which cores can be slowed down (or, as its inverse, sped up).
pub const SLOWDOWN_MAX: f64 = 1e6;
/// The most by which a clock can be wrong: a year.
pub const OFFSET_MAX: i64 = 365 * 24 * 3600 * 1_000_000_000;
/// The most by which a clock can be fast or slow, in parts per million: it stands still only almost.
pub const DRIFT_PPM_MAX: i64 = 900_000;

/// Something that is wrong with the world while it lasts, or happens once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Trouble {
    /// Messages from one node to another.
    Link {
        /// Nodes that send.
        from: Pattern,
        /// Nodes that are sent to.
        to: Pattern,
        /// Whether the way back is concerned too.
        both_ways: bool,
        /// What happens to messages.
        what: LinkTrouble,
    },
    /// Requests to a service.
    Service {
        /// The services.
        service: Pattern,
        /// What happens to requests.
        what: ServiceTrouble,
    },
    /// Once: the blob service ends the leases on blobs, as an administrator's break-lease does.
    Lease {
        /// The blobs, as `container/blob`.
        blob: Pattern,
    },
    /// Disks of hosts and machines.
    Disk {
        /// The machines, by name.
        of: Pattern,
        /// What is wrong with their disks.
        what: DiskFault,
    },
    /// Cores of hosts and machines take longer for the same work.
    Cpu {
        /// The hosts and machines.
        node: Pattern,
        /// How many times as long.
        slowdown: f64,
    },
    /// Clocks of hosts and machines are wrong: [`Host::clock_now`](crate::host::Host::clock_now).
    Clock {
        /// The hosts and machines.
        node: Pattern,
        /// By how much the clock is ahead at first, in nanoseconds.
        offset: i64,
        /// How much faster it goes than time, in parts per million.
        drift_ppm: i64,
    },
    /// Replicas do not follow their protocol: [`Conduct`](super::Conduct).
    Misconduct {
        /// The replicas, by the names of their nodes.
        replica: Pattern,
        /// What they do, one of the behaviours that they were declared with.
        behaviour: String,
    },
}

/// What happens to the messages of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LinkTrouble {
    /// What is sent is gone.
    Cut,
    /// What is sent is held, and goes on its way when the trouble ends.
    Clog,
    /// Everything takes longer.
    Delay {
        /// By so much,
        by: Duration,
        /// and by up to so much more, evenly.
        jitter: Duration,
    },
    /// Transmissions are lost and repeated.
    Lose {
        /// Of each transmission.
        probability: f64,
    },
    /// A message comes twice.
    Duplicate {
        /// Of each message.
        probability: f64,
    },
    /// A message is held back, and overtaken.
    Reorder {
        /// Of each message.
        probability: f64,
        /// For how long.
        by: Duration,
    },
    /// Bytes are changed on the way; the receiver notices, and the connection breaks.
    Corrupt {
        /// Of each message.
        probability: f64,
    },
}

/// What happens to the requests of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ServiceTrouble {
    /// Requests are not taken in, and get no answer.
    Outage,
    /// Requests are refused as its limiter refuses them.
    Throttle {
        /// Of each request.
        probability: f64,
    },
    /// Requests take longer.
    Delay {
        /// By so much,
        by: Duration,
        /// and by up to so much more, evenly.
        jitter: Duration,
    },
    /// A request is applied, and its answer is lost.
    LoseAnswer {
        /// Of each request.
        probability: f64,
    },
    /// A request is taken in, and applied later, whatever has become of its client.
    ApplyLate {
        /// Of each request.
        probability: f64,
        /// How much later.
        by: Duration,
    },
}

impl Trouble {
    /// All kinds: what the trouble concerns, and what happens to it.
    pub const KINDS: [&'static str; 26] = [
        "link-cut",
        "link-clog",
        "link-delay",
        "link-lose",
        "link-duplicate",
        "link-reorder",
        "link-corrupt",
        "service-outage",
        "service-throttle",
        "service-delay",
        "service-lose-answer",
        "service-apply-late",
        "lease",
        "disk-stall",
        "disk-slow",
        "disk-read-errors",
        "disk-write-errors",
        "disk-sync-errors",
        "disk-lost-writes",
        "disk-misdirected-writes",
        "disk-torn-sectors",
        "disk-bit-rot",
        "disk-full",
        "cpu",
        "clock",
        "misconduct",
    ];

    /// Its kind, one of [`Trouble::KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Trouble::Link { what, .. } => match what {
                LinkTrouble::Cut => "link-cut",
                LinkTrouble::Clog => "link-clog",
                LinkTrouble::Delay { .. } => "link-delay",
                LinkTrouble::Lose { .. } => "link-lose",
                LinkTrouble::Duplicate { .. } => "link-duplicate",
                LinkTrouble::Reorder { .. } => "link-reorder",
                LinkTrouble::Corrupt { .. } => "link-corrupt",
            },
            Trouble::Service { what, .. } => match what {
                ServiceTrouble::Outage => "service-outage",
                ServiceTrouble::Throttle { .. } => "service-throttle",
                ServiceTrouble::Delay { .. } => "service-delay",
                ServiceTrouble::LoseAnswer { .. } => "service-lose-answer",
                ServiceTrouble::ApplyLate { .. } => "service-apply-late",
            },
            Trouble::Lease { .. } => "lease",
            Trouble::Disk { what, .. } => what.kind(),
            Trouble::Cpu { .. } => "cpu",
            Trouble::Clock { .. } => "clock",
            Trouble::Misconduct { .. } => "misconduct",
        }
    }

    /// Whether it happens at an instant and has no end.
    pub fn happens_once(&self) -> bool {
        match self {
            Trouble::Lease { .. } => true,
            Trouble::Disk { what, .. } => what.happens_once(),
            Trouble::Link { .. }
            | Trouble::Service { .. }
            | Trouble::Cpu { .. }
            | Trouble::Clock { .. }
            | Trouble::Misconduct { .. } => false,
        }
    }

    /// Checks every number.
    ///
    /// # Errors
    /// The first number that is out of its range, with what was expected.
    pub fn validate(&self) -> Result<(), TroubleError> {
        let kind = self.kind();
        match self {
            Trouble::Link { what, .. } => match what {
                LinkTrouble::Cut | LinkTrouble::Clog => Ok(()),
                LinkTrouble::Delay { by, jitter } => delay(kind, *by, *jitter),
                LinkTrouble::Lose { probability: p }
                | LinkTrouble::Duplicate { probability: p }
                | LinkTrouble::Corrupt { probability: p } => probability(kind, *p),
                LinkTrouble::Reorder { probability: p, by } => {
                    probability(kind, *p)?;
                    span(kind, "by", *by)
                }
            },
            Trouble::Service { what, .. } => match what {
                ServiceTrouble::Outage => Ok(()),
                ServiceTrouble::Delay { by, jitter } => delay(kind, *by, *jitter),
                ServiceTrouble::Throttle { probability: p }
                | ServiceTrouble::LoseAnswer { probability: p } => probability(kind, *p),
                ServiceTrouble::ApplyLate { probability: p, by } => {
                    probability(kind, *p)?;
                    span(kind, "by", *by)
                }
            },
            Trouble::Lease { .. } | Trouble::Misconduct { .. } => Ok(()),
            Trouble::Disk { what, .. } => match what {
                DiskFault::Slow { factor } => number(kind, "factor", *factor, SLOWDOWN_MAX),
                DiskFault::Stall { span: stall } => span(kind, "span", *stall),
                _ => Ok(()),
            },
            Trouble::Cpu { slowdown, .. } => number(kind, "slowdown", *slowdown, SLOWDOWN_MAX),
            Trouble::Clock { offset, drift_ppm, .. } => {
                whole(kind, "offset", *offset, OFFSET_MAX)?;
                whole(kind, "drift_ppm", *drift_ppm, DRIFT_PPM_MAX)
            }
        }
    }
}

fn error(
    kind: &'static str,
    field: &'static str,
    value: impl ToString,
    expected: String,
) -> TroubleError {
    TroubleError::Field { kind, field, value: value.to_string(), expected }
}

fn probability(kind: &'static str, value: f64) -> Result<(), TroubleError> {
    // A comparison with NaN is false.
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(error(kind, "probability", value, "a number from 0 to 1".to_owned()))
}

fn delay(kind: &'static str, by: Duration, jitter: Duration) -> Result<(), TroubleError> {
    span(kind, "by", by)?;
    span(kind, "jitter", jitter)
}

fn span(kind: &'static str, field: &'static str, value: Duration) -> Result<(), TroubleError> {
    if value <= SPAN_MAX {
        return Ok(());
    }
    let expected = format!("at most {SPAN_MAX:?}");
    Err(error(kind, field, format!("{value:?}"), expected))
}

fn number(
    kind: &'static str,
    field: &'static str,
    value: f64,
    most: f64,
) -> Result<(), TroubleError> {
    if (1.0 / most..=most).contains(&value) {
        return Ok(());
    }
    Err(error(kind, field, value, format!("a number from {} to {most}", 1.0 / most)))
}

fn whole(
    kind: &'static str,
    field: &'static str,
    value: i64,
    most: i64,
) -> Result<(), TroubleError> {
    if (-most..=most).contains(&value) {
        return Ok(());
    }
    Err(error(kind, field, value, format!("from -{most} to {most}")))
}
