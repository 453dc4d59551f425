//! The difference of two sets of replications: mean, interval, tests and effect size.
//!
//! *Paired* where each value of one side has a partner under the same seed (common random numbers): what
//! both share cancels in the differences, which makes intervals much shorter. *Independent* otherwise
//! (Welch's interval, which assumes no equal variances). The difference is `other - baseline`.
//!
//! **Effect size.** Paired: Cohen's `d_z`, the mean difference by the deviation of the differences. It says
//! how clearly a pair shows the difference, not how large it is: with common random numbers a tiny
//! difference can be very clear. Independent: Hedges' `g`, the difference by the pooled deviation, with his
//! correction for small samples. The relative difference is by the mean of the baseline, taken as known.

use super::mean::{around, deviation, finite, mean, student_p, student_quantile};
use super::ranks::{self, RankTest};
use super::{Confidence, Interval};
use serde::Serialize;

/// How two sets of values belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// Value by value under common random numbers.
    Paired,
    /// Not at all.
    Independent,
}

/// By how much two sets of replications differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// How the sets belong together.
    pub design: Design,
    /// How many values the baseline has; if paired, how many pairs there are.
    pub baseline_count: usize,
    /// How many values the other has.
    pub other_count: usize,
    /// The mean of the baseline.
    pub baseline: f64,
    /// The mean of the other.
    pub other: f64,
    /// The mean difference, other less baseline.
    pub difference: f64,
    /// Its t interval; absent where a side has one value.
    pub interval: Option<Interval>,
    /// The confidence of the interval.
    pub confidence: Confidence,
    /// The difference by the mean of the baseline; absent if that is zero.
    pub relative: Option<f64>,
    /// The interval by the mean of the baseline.
    pub relative_interval: Option<Interval>,
    /// Cohen's d_z or Hedges' g; absent where nothing varies.
    pub effect_size: Option<f64>,
    /// Of the t test: the probability of such a difference if there is none.
    pub p_value: Option<f64>,
    /// The same of the rank test, which assumes no distribution.
    pub rank_p_value: Option<f64>,
}

/// The parts that both designs find in their own way.
struct Parts {
    difference: f64,
    /// Standard error of the difference, and degrees of freedom.
    error: Option<(f64, f64)>,
    effect_size: Option<f64>,
    ranks: Option<RankTest>,
}

impl Difference {
    /// The difference of pairs: the values at one index share their seed. `None` if there is no pair, the
    /// lengths differ, or a value is not finite.
    pub fn paired(baseline: &[f64], other: &[f64], confidence: Confidence) -> Option<Difference> {
        let (baseline, other) = (finite(baseline)?, finite(other)?);
        if baseline.len() != other.len() {
            return None;
        }
        let differences: Vec<f64> =
            baseline.iter().zip(other).map(|(baseline, other)| other - baseline).collect();
        let (count, deviation) = (differences.len() as f64, deviation(&differences));
        let difference = mean(&differences)?;
        let parts = Parts {
            difference,
            error: deviation.map(|deviation| (deviation / count.sqrt(), count - 1.0)),
            effect_size: deviation.and_then(|deviation| by(difference, deviation)),
            ranks: ranks::signed_rank(&differences),
        };
        Difference::of(Design::Paired, baseline, other, parts, confidence)
    }

    /// The difference of two samples that have nothing in common. `None` if one is empty or holds a value
    /// that is not finite.
    pub fn independent(
        baseline: &[f64],
        other: &[f64],
        confidence: Confidence,
    ) -> Option<Difference> {
        let (baseline, other) = (finite(baseline)?, finite(other)?);
        let difference = mean(other)? - mean(baseline)?;
        let deviations = deviation(baseline).zip(deviation(other));
        let parts = Parts {
            difference,
            error: deviations.map(|(one, two)| welch((one, baseline.len()), (two, other.len()))),
            effect_size: deviations.and_then(|(one, two)| {
                hedges(difference, (one, baseline.len()), (two, other.len()))
            }),
            ranks: ranks::mann_whitney(other, baseline),
        };
        Difference::of(Design::Independent, baseline, other, parts, confidence)
    }

    fn of(
        design: Design,
        baseline: &[f64],
        other: &[f64],
        parts: Parts,
        confidence: Confidence,
    ) -> Option<Difference> {
        let Parts { difference, error, effect_size, ranks } = parts;
        let baseline_mean = mean(baseline)?;
        let interval = error.map(|(error, freedom)| match error > 0.0 {
            true => around(difference, student_quantile(freedom, confidence) * error),
            false => around(difference, 0.0),
        });
        let p_value = error.map(|(error, freedom)| match (error > 0.0, difference == 0.0) {
            (true, _) => student_p(difference / error, freedom),
            (false, true) => 1.0,
            (false, false) => 0.0,
        });
        let scale = (baseline_mean != 0.0).then(|| 1.0 / baseline_mean.abs());
        Some(Difference {
            design,
            baseline_count: baseline.len(),
            other_count: other.len(),
            baseline: baseline_mean,
            other: mean(other)?,
            difference,
            interval,
            confidence,
            relative: scale.map(|scale| difference * scale),
            relative_interval: interval.zip(scale).map(|(interval, scale)| interval.scaled(scale)),
            effect_size,
            p_value,
            rank_p_value: ranks.map(|test| test.p_value),
        })
    }

    /// How difference and interval came about.
    pub fn method(&self) -> String {
        let Difference { baseline_count, other_count, confidence, .. } = self;
        match (self.design, self.interval) {
            (Design::Paired, Some(_)) => format!(
                "paired differences of {baseline_count} seeds (common random numbers) with \
                 Student's t interval at {confidence}"
            ),
            (Design::Independent, Some(_)) => format!(
                "{baseline_count} and {other_count} independent runs with Welch's t interval at \
                 {confidence}"
            ),
            (Design::Paired, None) => "one pair, no interval".to_owned(),
            (Design::Independent, None) => "fewer than two runs on a side, no interval".to_owned(),
        }
    }
}

impl Design {
    /// How effect size and p values come about.
    pub fn tests(self) -> &'static str {
        match self {
            Design::Paired => {
                "effect size: Cohen's d_z; tests: Student's t, Wilcoxon's signed ranks"
            }
            Design::Independent => "effect size: Hedges' g; tests: Welch's t, Mann-Whitney",
        }
    }
}

fn by(difference: f64, deviation: f64) -> Option<f64> {
    (deviation > 0.0).then(|| difference / deviation)
}

/// Welch's standard error and degrees of freedom, of deviations and counts.
fn welch(one: (f64, usize), two: (f64, usize)) -> (f64, f64) {
    let part = |(deviation, count): (f64, usize)| deviation * deviation / count as f64;
    let (of_one, of_two) = (part(one), part(two));
    let freedom = |part: f64, count: usize| part * part / (count as f64 - 1.0);
    let both = of_one + of_two;
    match both > 0.0 {
        true => (both.sqrt(), both * both / (freedom(of_one, one.1) + freedom(of_two, two.1))),
        false => (0.0, (one.1 + two.1) as f64 - 2.0),
    }
}

/// Hedges' g: by the pooled deviation, with the usual approximation of his correction.
fn hedges(difference: f64, one: (f64, usize), two: (f64, usize)) -> Option<f64> {
    let squares = |(deviation, count): (f64, usize)| deviation * deviation * (count as f64 - 1.0);
    let freedom = (one.1 + two.1) as f64 - 2.0;
    let pooled = ((squares(one) + squares(two)) / freedom).sqrt();
    by(difference, pooled).map(|d| d * (1.0 - 3.0 / (4.0 * freedom - 1.0)))
}
