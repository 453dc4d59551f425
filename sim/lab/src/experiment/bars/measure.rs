//! What bars look at, and its unit.
//!
//! All but rates and latencies are for each completed unit of the workload, as the workload counts
//! them (an orchestration, a transfer, an event). Operations and bytes are those on storage and event
//! services in the whole run, start-up and polling included, and leave out the network between hosts.
//! Money is that of the price list of the profile. Parts of the latency are the mean breakdown along the
//! critical path, and sum to the mean latency as the engine reports it; workloads that are jobs have none.

use super::super::Unit;
use crate::run::RunOutcome;
use serde::{Deserialize, Serialize};

/// Parts by name, in the order in which they are drawn.
pub(super) type Parts = Vec<(String, f64)>;

/// What a panel looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Operations for each unit, by service.
    Operations,
    /// Kilobytes in and out for each unit, by service.
    Kilobytes,
    /// US dollars for a million units: hosts, operations, reserved throughput.
    Money,
    /// Milliseconds of the mean latency, by category.
    Latency,
    /// The same in percent of the mean latency.
    LatencyShares,
    /// Units a second.
    Rate,
}

impl Measure {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All of them, each at its own index.
    pub const ALL: [Measure; Measure::COUNT] = [
        Measure::Operations,
        Measure::Kilobytes,
        Measure::Money,
        Measure::Latency,
        Measure::LatencyShares,
        Measure::Rate,
    ];

    /// What is counted.
    pub(super) const fn unit(self) -> Unit {
        match self {
            Measure::Operations | Measure::Kilobytes | Measure::Money => Unit::Count,
            Measure::Latency => Unit::Milliseconds,
            Measure::LatencyShares => Unit::Count,
            Measure::Rate => Unit::PerSecond,
        }
    }

    /// Whether sums differ between runs: shares always sum to 100.
    pub(super) fn varies(self) -> bool {
        self != Measure::LatencyShares
    }

    /// What stands behind the name of a bar instead of its sum.
    pub(super) fn note(self) -> Option<String> {
        (!self.varies()).then(String::new)
    }

    /// What a run came to; `None` if it has nothing to show.
    pub(super) fn parts(self, outcome: &RunOutcome) -> Option<Parts> {
        let summary = &outcome.summary;
        let units = Some(summary.work.total).filter(|total| *total > 0.0);
        let named = |name: &str, value: f64| (name.to_owned(), value);
        match self {
            Measure::Operations => {
                let counts = summary.operations.iter();
                let counts = counts.map(|(kind, count)| (kind.as_str(), *count as f64));
                Some(by_service(counts, units?))
            }
            Measure::Kilobytes => {
                let stored = summary.bytes.iter().filter(|(kind, _)| !is_network(kind));
                let kilobytes = stored.map(|(kind, bytes)| (kind.as_str(), *bytes as f64 / 1e3));
                Some(by_service(kilobytes, units?))
            }
            Measure::Money => {
                let millions = units? / 1e6;
                let cost = outcome.cost;
                Some(vec![
                    named("hosts", cost.compute_usd / millions),
                    named("operations", cost.operations_usd / millions),
                    named("reserved throughput", cost.reserved_usd / millions),
                ])
            }
            Measure::Latency => {
                let breakdown = summary.breakdown_ms.as_ref()?;
                Some(breakdown.iter().map(|(name, ms)| named(name, *ms)).collect())
            }
            Measure::LatencyShares => {
                let breakdown = summary.breakdown_ms.as_ref()?;
                let latency = Some(breakdown.values().sum::<f64>()).filter(|sum| *sum > 0.0)?;
                Some(breakdown.iter().map(|(name, ms)| named(name, ms / latency * 100.0)).collect())
            }
            Measure::Rate => Some(vec![named("rate", summary.work.per_s?)]),
        }
    }
}

/// Messages between hosts are no operations on a service.
fn is_network(kind: &str) -> bool {
    kind.starts_with("network.")
}

/// Sums by what stands before the point of a kind, for each unit; at least one part.
fn by_service<'a>(counts: impl Iterator<Item = (&'a str, f64)>, units: f64) -> Parts {
    let mut parts: Parts = Vec::new();
    for (kind, count) in counts {
        let service = kind.split('.').next().unwrap_or(kind);
        match parts.iter_mut().find(|(known, _)| known == service) {
            Some((_, sum)) => *sum += count / units,
            None => parts.push((service.to_owned(), count / units)),
        }
    }
    if parts.is_empty() {
        parts.push(("none".to_owned(), 0.0));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_is_at_its_own_index() {
        for (index, measure) in Measure::ALL.into_iter().enumerate() {
            assert_eq!(measure as usize, index);
        }
    }

    #[test]
    fn kinds_of_a_service_are_one_part() {
        let counts = [("blob.get", 2.0), ("queue.put", 8.0), ("blob.put", 4.0)];
        let parts = by_service(counts.into_iter(), 2.0);
        assert_eq!(parts, [("blob".to_owned(), 3.0), ("queue".to_owned(), 4.0)]);
        assert_eq!(by_service([].into_iter(), 2.0), [("none".to_owned(), 0.0)]);
    }
}
