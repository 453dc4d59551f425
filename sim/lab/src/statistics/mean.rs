//! Means of replications with Student's t intervals, medians and quantiles.
//!
//! The interval is `mean ± t(n-1) s / √n`. It is exact for normal replications, and close for the means and
//! percentiles of long runs, which are nearly normal; for few replications of something very skewed it
//! covers less than it says.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::fmt;

/// How often intervals hold what they estimate: between 50 and 99.9 in 100.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Confidence(f64);

impl Confidence {
    /// The lowest that is accepted.
    pub const MIN: f64 = 0.5;
    /// The highest that is accepted: beyond it, intervals of few runs say nothing.
    pub const MAX: f64 = 0.999;

    /// A level such as 0.95; `None` outside of [`Confidence::MIN`] and [`Confidence::MAX`].
    pub fn new(level: f64) -> Option<Confidence> {
        (Confidence::MIN..=Confidence::MAX).contains(&level).then_some(Confidence(level))
    }

    /// The level as a fraction.
    pub fn level(self) -> f64 {
        self.0
    }

    /// What is left outside on each side.
    pub fn tail(self) -> f64 {
        (1.0 - self.0) / 2.0
    }
}

impl Default for Confidence {
    fn default() -> Self {
        Confidence(0.95)
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", crate::measure::round(self.0 * 100.0, 3))
    }
}

/// Where what is estimated lies, with some confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies in it, ends included.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Half of its length.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Each end multiplied by `factor`, which is positive.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Interval {
        Interval { low: self.low * factor, high: self.high * factor }
    }
}

/// The mean of replications.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeanEstimate {
    /// How many replications there are.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (with `n - 1`); absent for one.
    pub deviation: Option<f64>,
    /// Student's t interval of the mean; absent for one.
    pub interval: Option<Interval>,
    /// The confidence of the interval.
    pub confidence: Confidence,
}

impl MeanEstimate {
    /// The mean of these values, each of a replication of its own; `None` if there is none or one is not
    /// finite.
    pub fn of(values: &[f64], confidence: Confidence) -> Option<MeanEstimate> {
        let mean = mean(finite(values)?)?;
        let deviation = deviation(values);
        let interval = deviation.map(|deviation| {
            let freedom = values.len() as f64 - 1.0;
            let error = deviation / (values.len() as f64).sqrt();
            around(mean, student_quantile(freedom, confidence) * error)
        });
        Some(MeanEstimate { count: values.len(), mean, deviation, interval, confidence })
    }

    /// How mean and interval came about.
    pub fn method(&self) -> String {
        match self.interval {
            Some(_) => format!(
                "mean of {} replications with Student's t interval at {}",
                self.count, self.confidence
            ),
            None => "one replication, no interval".to_owned(),
        }
    }
}

/// The values, if there are any and all are finite.
pub(super) fn finite(values: &[f64]) -> Option<&[f64]> {
    (!values.is_empty() && values.iter().all(|value| value.is_finite())).then_some(values)
}

/// `value` with `half_width` on both sides.
pub(super) fn around(value: f64, half_width: f64) -> Interval {
    Interval { low: value - half_width, high: value + half_width }
}

/// The mean; `None` of nothing. In two passes, of which the second takes back what the first lost.
pub fn mean(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let roughly = (!values.is_empty()).then(|| values.iter().sum::<f64>() / count)?;
    Some(roughly + values.iter().map(|value| value - roughly).sum::<f64>() / count)
}

/// The middle value; of an even number, the mean of the two in the middle; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some((sorted[last / 2] + sorted[sorted.len() / 2]) / 2.0)
}

/// The value that the fraction `q` does not exceed, between neighbours in proportion (type 7 of Hyndman
/// and Fan, *Sample Quantiles in Statistical Packages*, 1996: the default of R and NumPy). `sorted`
/// ascends; `None` of nothing or outside of 0 to 1.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    (0.0..=1.0).contains(&q).then(|| {
        let (below, part) = position(last, q);
        between(sorted[below], sorted[(below + 1).min(last)], part)
    })
}

/// Where a quantile lies among `last + 1` values: the index below it, and how far it is to the next.
pub(super) fn position(last: usize, q: f64) -> (usize, f64) {
    let at = q * last as f64;
    let below = (at.floor() as usize).min(last);
    (below, at - below as f64)
}

/// The value at `part` of the way from one to the other.
pub(super) fn between(one: f64, other: f64, part: f64) -> f64 {
    one + part * (other - one)
}

/// The standard deviation with `n - 1`, in two passes; `None` of fewer than two.
pub(super) fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
    Some((squares / (values.len() as f64 - 1.0)).sqrt())
}

/// The t value that leaves the tails of `confidence` outside, with so many degrees of freedom.
pub(super) fn student_quantile(freedom: f64, confidence: Confidence) -> f64 {
    student(freedom).inverse_cdf(1.0 - confidence.tail())
}

/// The probability of a t value at least this far from zero, if there is no difference.
pub(super) fn student_p(t: f64, freedom: f64) -> f64 {
    (2.0 * student(freedom).sf(t.abs())).clamp(0.0, 1.0)
}

fn student(freedom: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom).expect("invariant: degrees of freedom are positive")
}
