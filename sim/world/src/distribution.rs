//! Distributions of latencies, as profiles write them.
//!
//! Samples are spans of virtual time, rounded to the nanosecond. All mathematics goes through
//! `libm` and a pinned `rand_distr`, so that a stream gives the same samples on every machine.
//! Parameters are milliseconds; every parameter is finite and not negative.

use crate::seed::Stream;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A distribution of latencies.
///
/// ```
/// use sim_world::{distribution::Latency, seed::SeedTree};
/// let latency: Latency = toml::from_str("kind = 'lognormal'\nmedian_ms = 8.0\nsigma = 0.3")?;
/// latency.validate()?;
/// let sample = latency.sample(&mut SeedTree::new(7).stream("link a->b"));
/// assert!(sample.as_millis() < 80);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Latency {
    /// Always the same.
    Constant {
        /// The latency in milliseconds.
        value_ms: f64,
    },
    /// `median * exp(sigma * N)` with a standard normal `N`.
    LogNormal {
        /// The median in milliseconds.
        median_ms: f64,
        /// Standard deviation of the logarithm, without a unit.
        sigma: f64,
    },
    /// Exponential.
    Exponential {
        /// The mean in milliseconds.
        mean_ms: f64,
    },
    /// Uniform between two latencies.
    Uniform {
        /// The least latency in milliseconds.
        low_ms: f64,
        /// The greatest latency in milliseconds.
        high_ms: f64,
    },
    /// Linear interpolation between measured quantiles.
    Measured {
        /// Pairs of probability and latency in milliseconds: probabilities strictly increase
        /// from 0 to 1, latencies never decrease.
        quantiles_ms: Vec<(f64, f64)>,
    },
}

/// A parameter of a distribution that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field} = {value}: expected {expected}")]
pub struct LatencyError {
    /// Name of the parameter.
    pub field: &'static str,
    /// What it was set to.
    pub value: f64,
    /// What would be right.
    pub expected: &'static str,
}

/// The greatest latency a profile may ask for, in milliseconds: a day.
const LATENCY_MS_MAX: f64 = 24.0 * 3600.0 * 1000.0;
/// The greatest sigma: beyond it the tail of a log-normal has no use as a latency.
const SIGMA_MAX: f64 = 5.0;

impl Latency {
    /// Always zero.
    pub const ZERO: Latency = Latency::Constant { value_ms: 0.0 };

    /// Always `value`.
    pub fn constant(value: Duration) -> Self {
        Latency::Constant { value_ms: value.as_nanos() as f64 / 1e6 }
    }

    /// Exponential with this mean.
    pub fn exponential(mean: Duration) -> Self {
        Latency::Exponential { mean_ms: mean.as_nanos() as f64 / 1e6 }
    }

    /// Checks every parameter.
    ///
    /// # Errors
    /// The first parameter that cannot be, with what was expected.
    pub fn validate(&self) -> Result<(), LatencyError> {
        match self {
            Latency::Constant { value_ms } => check_ms("value_ms", *value_ms),
            Latency::LogNormal { median_ms, sigma } => {
                check_ms("median_ms", *median_ms)?;
                check("sigma", *sigma, (0.0..=SIGMA_MAX).contains(sigma), "a number from 0 to 5")
            }
            Latency::Exponential { mean_ms } => check_ms("mean_ms", *mean_ms),
            Latency::Uniform { low_ms, high_ms } => {
                check_ms("low_ms", *low_ms)?;
                check_ms("high_ms", *high_ms)?;
                check("high_ms", *high_ms, low_ms <= high_ms, "at least low_ms")
            }
            Latency::Measured { quantiles_ms } => validate_quantiles(quantiles_ms),
        }
    }

    /// Draws one latency. The distribution must be valid.
    pub fn sample(&self, stream: &mut Stream) -> Duration {
        let ms = match self {
            Latency::Constant { value_ms } => *value_ms,
            Latency::LogNormal { median_ms, sigma } => {
                let normal: f64 = StandardNormal.sample(stream);
                median_ms * libm::exp(sigma * normal)
            }
            // 1 - u lies in (0, 1], so the logarithm is finite.
            Latency::Exponential { mean_ms } => -mean_ms * libm::log(1.0 - stream.unit()),
            Latency::Uniform { low_ms, high_ms } => low_ms + (high_ms - low_ms) * stream.unit(),
            Latency::Measured { quantiles_ms } => interpolate(quantiles_ms, stream.unit()),
        };
        let nanos = libm::rint(ms * 1e6);
        debug_assert!(nanos.is_finite() && nanos >= 0.0, "a latency of {ms} ms");
        Duration::from_nanos(nanos as u64)
    }

    /// The mean of the distribution in milliseconds.
    pub fn mean_ms(&self) -> f64 {
        match self {
            Latency::Constant { value_ms } => *value_ms,
            Latency::LogNormal { median_ms, sigma } => median_ms * libm::exp(sigma * sigma / 2.0),
            Latency::Exponential { mean_ms } => *mean_ms,
            Latency::Uniform { low_ms, high_ms } => (low_ms + high_ms) / 2.0,
            Latency::Measured { quantiles_ms } => quantiles_ms
                .windows(2)
                .map(|pair| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0)
                .sum(),
        }
    }
}

fn check(
    field: &'static str,
    value: f64,
    holds: bool,
    expected: &'static str,
) -> Result<(), LatencyError> {
    if holds { Ok(()) } else { Err(LatencyError { field, value, expected }) }
}

fn check_ms(field: &'static str, value: f64) -> Result<(), LatencyError> {
    // A comparison with NaN is false.
    let holds = (0.0..=LATENCY_MS_MAX).contains(&value);
    check(field, value, holds, "a number of milliseconds from 0 to 86400000 (a day)")
}

fn validate_quantiles(quantiles: &[(f64, f64)]) -> Result<(), LatencyError> {
    const FIELD: &str = "quantiles_ms";
    let count = quantiles.len();
    check(FIELD, count as f64, count >= 2, "at least the quantiles of probability 0 and 1")?;
    for (_, ms) in quantiles {
        check_ms(FIELD, *ms)?;
    }
    let (first, last) = (quantiles[0].0, quantiles[count - 1].0);
    check(FIELD, first, first == 0.0, "the first probability to be 0")?;
    check(FIELD, last, last == 1.0, "the last probability to be 1")?;
    for pair in quantiles.windows(2) {
        check(FIELD, pair[1].0, pair[0].0 < pair[1].0, "strictly increasing probabilities")?;
        check(FIELD, pair[1].1, pair[0].1 <= pair[1].1, "latencies that never decrease")?;
    }
    Ok(())
}

/// The quantile of `probability`, which lies in `[0, 1)`.
fn interpolate(quantiles: &[(f64, f64)], probability: f64) -> f64 {
    let above = quantiles.partition_point(|(p, _)| *p <= probability);
    let (low, high) = (quantiles[above - 1], quantiles[above]);
    low.1 + (high.1 - low.1) * (probability - low.0) / (high.0 - low.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::SeedTree;

    fn all() -> Vec<Latency> {
        vec![
            Latency::Constant { value_ms: 3.5 },
            Latency::LogNormal { median_ms: 8.0, sigma: 0.4 },
            Latency::Exponential { mean_ms: 2.0 },
            Latency::Uniform { low_ms: 1.0, high_ms: 5.0 },
            Latency::Measured {
                quantiles_ms: vec![(0.0, 4.0), (0.5, 8.0), (0.99, 20.0), (1.0, 90.0)],
            },
        ]
    }

    #[test]
    fn sample_means_agree_with_the_formulas() {
        for latency in all() {
            latency.validate().expect("valid");
            let mut stream = SeedTree::new(11).stream("mean");
            let total: Duration = (0..200_000).map(|_| latency.sample(&mut stream)).sum();
            let mean_ms = total.as_secs_f64() * 1e3 / 200_000.0;
            let error = (mean_ms / latency.mean_ms() - 1.0).abs();
            assert!(error < 0.01, "{latency:?}: mean {mean_ms} ms, off by {error}");
        }
    }

    #[test]
    fn profiles_write_every_kind() {
        for latency in all() {
            let text = toml::to_string(&latency).expect("serializable");
            assert_eq!(toml::from_str::<Latency>(&text).expect("own output"), latency, "{text}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let text = "kind = 'constant'\nvalue_ms = 1.0\nmean_ms = 2.0";
        assert!(toml::from_str::<Latency>(text).is_err());
    }

    #[test]
    fn errors_name_the_field() {
        let bad = [
            (Latency::Constant { value_ms: f64::NAN }, "value_ms"),
            (Latency::Constant { value_ms: -1.0 }, "value_ms"),
            (Latency::Constant { value_ms: f64::INFINITY }, "value_ms"),
            (Latency::LogNormal { median_ms: 1.0, sigma: -0.1 }, "sigma"),
            (Latency::Exponential { mean_ms: -0.0001 }, "mean_ms"),
            (Latency::Uniform { low_ms: 2.0, high_ms: 1.0 }, "high_ms"),
            (Latency::Measured { quantiles_ms: vec![] }, "quantiles_ms"),
            (Latency::Measured { quantiles_ms: vec![(0.0, 1.0), (0.9, 2.0)] }, "quantiles_ms"),
            (Latency::Measured { quantiles_ms: vec![(0.0, 3.0), (1.0, 2.0)] }, "quantiles_ms"),
        ];
        for (latency, field) in bad {
            let error = latency.validate().expect_err("invalid");
            assert_eq!(error.field, field, "{error}");
        }
    }
}
