//! The parameters of consensus, the ranks of makers, and the notary delay.
//!
//! Source: dfinity/ic rs/consensus/src/consensus/notary.rs@002d5530 (the delay and its limits),
//! rs/limits/src/lib.rs@051bb67c (the constants).

use crate::block::Height;
#[cfg(test)]
use crate::block::ReplicaId;
use std::time::Duration;

/// Factor of the unit delay for each height that is notarized and not finalized.
const GROWTH: f64 = 1.5;
/// Heights that finalization may be ahead of certification before that slows notarization.
const ACCEPTABLE_GAP: Height = 1;
/// Heights ahead of certification, or of the pending package, at which notarization stops.
const STOP: Height = 70;
/// The greatest exponent of [`GROWTH`]: beyond it the delay is days.
const EXPONENT_MAX: i32 = 30;

/// What consensus of a subnet is parametrized by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters {
    /// Replicas.
    pub(crate) replicas: u16,
    /// Shares that notarize or finalize a block.
    pub(crate) quorum: u16,
    /// Shares that certify a state or a package: `n - f`.
    pub(crate) certification_quorum: u16,
    /// Shares that make a beacon: `f + 1`.
    pub(crate) beacon_quorum: u16,
    /// Seeds the ranks.
    pub(crate) seed: u64,
    /// From the end of a round to the beginning of the next: what processing takes that is not charged
    /// to a core.
    pub(crate) round_overhead: Duration,
    /// Delay of a maker for each rank.
    pub(crate) unit_delay: Duration,
    /// Least delay of a notary.
    pub(crate) initial_notary_delay: Duration,
    /// Delay for each height that is finalized and not certified.
    pub(crate) backlog_delay: Duration,
    /// Heights from one catch-up package to the next.
    pub(crate) package_interval: Height,
    /// Whether only replicas that supported no other block finalize one.
    pub(crate) finalization_check: bool,
}

/// Faults that `replicas` can tolerate.
pub(crate) fn tolerated(replicas: u16) -> u16 {
    (replicas - 1) / 3
}

/// How far a replica is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) rank: u16,
    pub(super) notarized: Height,
    pub(super) finalized: Height,
    pub(super) certified: Height,
    pub(super) package: Height,
}

impl Parameters {
    /// How long after the start of a round a block of this rank may be supported; `None` while
    /// notarization is stopped.
    pub(super) fn notary_delay(&self, at: Progress) -> Option<Duration> {
        let ahead = at.notarized.saturating_sub(at.certified);
        let next_package = at.package + self.package_interval;
        if ahead >= STOP || at.notarized.saturating_sub(next_package) >= STOP {
            return None;
        }
        let gap = at.notarized.saturating_sub(at.finalized);
        let exponent = i32::try_from(gap).unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX);
        let unit = self.unit_delay.as_secs_f64() * f64::from(at.rank) * power(GROWTH, exponent);
        let backlog = at.finalized.saturating_sub(at.certified);
        let backlog = if backlog > ACCEPTABLE_GAP { backlog as u32 } else { 0 };
        let delay = self.initial_notary_delay + Duration::from_nanos((unit * 1e9) as u64);
        Some(delay + self.backlog_delay * backlog)
    }
}

/// By multiplication alone: the same on every machine.
fn power(base: f64, exponent: i32) -> f64 {
    (0..exponent).fold(1.0, |product, _| product * base)
}

/// The rank of each replica at `height`: its place in the permutation that the random beacon of that
/// height draws.
pub(super) fn ranks(parameters: &Parameters, height: Height) -> Vec<u16> {
    let mut order: Vec<u16> = (0..parameters.replicas).collect();
    let mut beacon = mix(parameters.seed ^ mix(height));
    for last in (1..order.len()).rev() {
        beacon = mix(beacon);
        order.swap(last, (beacon % (last as u64 + 1)) as usize);
    }
    let mut ranks = vec![0; order.len()];
    for (rank, replica) in order.into_iter().enumerate() {
        ranks[usize::from(replica)] = rank as u16;
    }
    ranks
}

/// The rank of `maker` at `height`.
#[cfg(test)]
pub(super) fn rank_of(parameters: &Parameters, height: Height, maker: ReplicaId) -> u16 {
    ranks(parameters, height)[usize::from(maker.0)]
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The main network's parameters, for tests.
#[cfg(test)]
pub(super) fn test_parameters(replicas: u16) -> Parameters {
    let f = tolerated(replicas);
    Parameters {
        replicas,
        quorum: replicas - f,
        certification_quorum: replicas - f,
        beacon_quorum: f + 1,
        seed: 7,
        round_overhead: Duration::ZERO,
        unit_delay: Duration::from_secs(1),
        initial_notary_delay: Duration::from_millis(300),
        backlog_delay: Duration::from_secs(2),
        package_interval: 500,
        finalization_check: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(rank: u16, [notarized, finalized, certified, package]: [Height; 4]) -> Option<u64> {
        let at = Progress { rank, notarized, finalized, certified, package };
        test_parameters(13).notary_delay(at).map(|delay| delay.as_millis() as u64)
    }

    #[test]
    fn the_notary_delay_is_that_of_the_published_code() {
        assert_eq!(delay(0, [10, 10, 10, 0]), Some(300));
        assert_eq!(delay(1, [10, 10, 10, 0]), Some(1_300));
        assert_eq!(delay(2, [10, 8, 8, 0]), Some(300 + 4_500), "2 s times 1.5 squared");
        assert_eq!(delay(0, [10, 10, 9, 0]), Some(300), "a gap of one is acceptable");
        assert_eq!(delay(0, [10, 10, 8, 0]), Some(4_300), "2 s for each of two heights");
        assert_eq!(delay(0, [79, 79, 10, 0]), Some(300 + 138_000));
        assert_eq!(delay(0, [80, 80, 10, 0]), None, "70 heights ahead of certification");
        assert_eq!(delay(0, [569, 569, 569, 0]), Some(300));
        assert_eq!(delay(0, [570, 570, 570, 0]), None, "70 heights ahead of the package");
        assert_eq!(delay(0, [570, 570, 570, 500]), Some(300));
    }

    #[test]
    fn ranks_are_a_permutation_and_all_makers_get_their_turn() {
        let parameters = test_parameters(13);
        let mut first = [0; 13];
        for height in 1..=1_300 {
            let ranks = (0..13).map(|maker| rank_of(&parameters, height, ReplicaId(maker)));
            let mut ranks: Vec<u16> = ranks.collect();
            first[ranks.iter().position(|rank| *rank == 0).expect("a first")] += 1;
            ranks.sort_unstable();
            assert!(ranks.into_iter().eq(0..13));
        }
        // A binomial with mean 100 has a standard deviation of 10.
        assert!(first.iter().all(|times| (60..140).contains(times)), "{first:?}");
    }

    #[test]
    fn a_third_less_one_may_fail() {
        for (replicas, faults) in [(4, 1), (7, 2), (13, 4), (28, 9), (34, 11), (40, 13)] {
            assert_eq!(tolerated(replicas), faults);
        }
    }
}
