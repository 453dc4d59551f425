//! Means over seeds, with how far they can be trusted.
//!
//! The interval is the two-sided 95 % confidence interval of the mean by Student's t distribution, which
//! assumes that the values of the seeds are independent and about normal. Of one value there is none.

use crate::statistics::{Confidence, MeanEstimate};

/// A mean, and the interval around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Half the width of the interval.
    pub half_width: Option<f64>,
}

impl Interval {
    /// The mean of `values`; `None` if there are none, or one is not finite.
    pub fn of(values: &[f64]) -> Option<Interval> {
        let estimate = MeanEstimate::of(values, Confidence::default())?;
        let half_width = estimate.interval.map(|interval| interval.half_width());
        Some(Interval { mean: estimate.mean, half_width })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_tables() {
        // Quantiles 0.975 for 1, 2 and 9 degrees of freedom: 12.706, 4.303, 2.262 (any table of Student's t).
        let half = |values: &[f64]| Interval::of(values).and_then(|found| found.half_width);
        let near = |found: Option<f64>, expected: f64| {
            let found = found.expect("several values");
            assert!((found - expected).abs() < 1e-3 * expected, "{found} instead of {expected}");
        };
        near(half(&[1.0, 3.0]), 12.706);
        near(half(&[1.0, 2.0, 3.0]), 4.303 / libm::sqrt(3.0));
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        near(half(&ten), 2.262 * libm::sqrt(82.5 / 9.0 / 10.0));
    }

    #[test]
    fn one_value_has_no_interval_and_none_no_mean() {
        assert_eq!(Interval::of(&[]), None);
        assert_eq!(Interval::of(&[2.5]), Some(Interval { mean: 2.5, half_width: None }));
        let equal = Interval::of(&[2.0, 2.0]).expect("two values");
        assert_eq!((equal.mean, equal.half_width), (2.0, Some(0.0)));
    }
}
