//! Rank tests of whether there is any difference: Wilcoxon's signed ranks for pairs, Mann and Whitney's
//! for two samples.
//!
//! Both are two-sided. Up to [`EXACT_MAX`] values the distribution of the statistic is counted out, given
//! the ranks that occurred, so ties are exact too; beyond, it is the normal one with corrections for ties
//! and continuity. (The test of the crate `statrs` enumerates subsets one by one, which for 8 runs against
//! 100 would take hours.) Zero differences are left out, as Wilcoxon did.

use statrs::distribution::{ContinuousCDF, Normal};

/// Most values whose distribution is counted out.
pub const EXACT_MAX: usize = 60;

/// What a rank test found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankTest {
    /// Wilcoxon's sum of positive ranks, or Mann and Whitney's U of the first sample.
    pub statistic: f64,
    /// The probability of a statistic at least as far out, if there is no difference.
    pub p_value: f64,
    /// Whether the distribution was counted out.
    pub exact: bool,
}

/// Wilcoxon's signed-rank test of paired differences; `None` if all are zero.
pub fn signed_rank(differences: &[f64]) -> Option<RankTest> {
    let differences: Vec<f64> = differences.iter().copied().filter(|value| *value != 0.0).collect();
    let sizes: Vec<f64> = differences.iter().map(|value| value.abs()).collect();
    let ranks = twice_ranks(&sizes);
    let positive = differences.iter().zip(&ranks).filter(|(value, _)| **value > 0.0);
    let statistic: usize = positive.map(|(_, rank)| rank).sum();
    let count = differences.len();
    let total: usize = ranks.iter().sum();
    let exact = count <= EXACT_MAX;
    let p_value = match count {
        0 => return None,
        _ if exact => {
            let mut ways = vec![0.0; total + 1];
            ways[0] = 1.0;
            for rank in &ranks {
                for sum in (*rank..=total).rev() {
                    ways[sum] += ways[sum - rank];
                }
            }
            two_sided(&ways, statistic)
        }
        _ => {
            // The sum of ranks has half of their total as its mean, a quarter of their squares as
            // its variance.
            let squares: f64 = ranks.iter().map(|rank| (*rank as f64 / 2.0).powi(2)).sum();
            normal_p(statistic as f64 / 2.0 - total as f64 / 4.0, squares / 4.0)
        }
    };
    Some(RankTest { statistic: statistic as f64 / 2.0, p_value, exact })
}

/// Mann and Whitney's test of two independent samples; `None` if one is empty.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<RankTest> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let all: Vec<f64> = first.iter().chain(second).copied().collect();
    let ranks = twice_ranks(&all);
    let of_first: usize = ranks[..first.len()].iter().sum();
    let least = first.len() * (first.len() + 1);
    let exact = all.len() <= EXACT_MAX;
    let p_value = if exact {
        let total: usize = ranks.iter().sum();
        // By how many are chosen, and the sum of their ranks.
        let mut ways = vec![vec![0.0; total + 1]; first.len() + 1];
        ways[0][0] = 1.0;
        for rank in &ranks {
            for chosen in (1..=first.len()).rev() {
                let (fewer, more) = ways.split_at_mut(chosen);
                for sum in *rank..=total {
                    more[0][sum] += fewer[chosen - 1][sum - rank];
                }
            }
        }
        two_sided(&ways[first.len()], of_first)
    } else {
        let (one, other, both) = (first.len() as f64, second.len() as f64, all.len() as f64);
        let mean_rank = (both + 1.0) / 2.0;
        let spread: f64 = ranks.iter().map(|rank| (*rank as f64 / 2.0 - mean_rank).powi(2)).sum();
        let variance = one * other * spread / (both * (both - 1.0));
        normal_p(of_first as f64 / 2.0 - one * mean_rank, variance)
    };
    Some(RankTest { statistic: (of_first - least) as f64 / 2.0, p_value, exact })
}

/// Twice the rank of each value, from 1; equal values share the mean of their ranks. Twice, so that halves
/// are whole numbers.
fn twice_ranks(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut ranks = vec![0; values.len()];
    let mut from = 0;
    for ties in order.chunk_by(|one, other| values[*one] == values[*other]) {
        let to = from + ties.len();
        ties.iter().for_each(|index| ranks[*index] = from + 1 + to);
        from = to;
    }
    ranks
}

/// Twice the smaller tail, both with `at`; `ways` counts outcomes by their statistic.
fn two_sided(ways: &[f64], at: usize) -> f64 {
    let total: f64 = ways.iter().sum();
    let below: f64 = ways[..=at].iter().sum();
    let above: f64 = ways[at..].iter().sum();
    (2.0 * below.min(above) / total).min(1.0)
}

/// Two-sided, with the correction for continuity.
fn normal_p(from_mean: f64, variance: f64) -> f64 {
    if variance <= 0.0 {
        return 1.0;
    }
    let z = (from_mean.abs() - 0.5).max(0.0) / variance.sqrt();
    (2.0 * Normal::standard().sf(z)).min(1.0)
}
