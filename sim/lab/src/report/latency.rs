//! The distribution of latency of a run, as quantiles at fixed fractions, so that two distributions
//! can be laid over each other and a thousand fit on a page.

/// Fractions of a hundred thousand at which quantiles are taken: every second per cent, and the tail.
const FRACTIONS: [u32; 54] = fractions();

const fn fractions() -> [u32; 54] {
    let mut fractions = [0; 54];
    let mut index = 0;
    while index < 50 {
        fractions[index] = index as u32 * 2_000;
        index += 1;
    }
    fractions[50] = 99_000;
    fractions[51] = 99_500;
    fractions[52] = 99_900;
    fractions[53] = 100_000;
    fractions
}

/// The fractions, from 0 to 1.
pub(super) fn fractions_of_one() -> impl Iterator<Item = f64> {
    FRACTIONS.iter().map(|fraction| f64::from(*fraction) / 100_000.0)
}

/// The quantiles of these latencies, by nearest rank; nothing of nothing.
pub(super) fn quantiles(mut latencies: Vec<f64>) -> Option<Vec<f64>> {
    if latencies.is_empty() {
        return None;
    }
    latencies.sort_unstable_by(f64::total_cmp);
    let count = latencies.len() as u64;
    let rank = |fraction: &u32| (u64::from(*fraction) * count).div_ceil(100_000).max(1);
    Some(FRACTIONS.iter().map(|fraction| latencies[rank(fraction) as usize - 1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let of_hundred = quantiles((1..=100).map(f64::from).collect()).expect("quantiles");
        assert_eq!(of_hundred[0], 1.0);
        assert_eq!(of_hundred[25], 50.0);
        assert_eq!(of_hundred[50..], [99.0, 100.0, 100.0, 100.0]);
        assert_eq!(quantiles(vec![3.0]), Some(vec![3.0; 54]));
        assert_eq!(quantiles(Vec::new()), None);
        assert!(FRACTIONS.is_sorted());
    }
}
