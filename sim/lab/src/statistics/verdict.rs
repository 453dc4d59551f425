//! What a difference says: better, worse, or no difference shown.
//!
//! A difference is shown if its interval leaves zero out. *No difference shown* does not say that there is
//! none: with more seeds one may be shown. A single pair shows nothing, except that two equal values are
//! the same run.

use super::Difference;
use serde::Serialize;

/// Which way is better, and in which words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Time: less is faster.
    ShorterTime,
    /// Rate: more is faster.
    HigherRate,
    /// Consumption: less is cheaper.
    LowerCost,
    /// Neither: higher or lower.
    Neither,
}

/// What a difference says of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It takes less time, or does more in the same time.
    Faster,
    /// It takes more time, or does less in the same time.
    Slower,
    /// It consumes less.
    Cheaper,
    /// It consumes more.
    Dearer,
    /// It is higher, which is neither good nor bad.
    Higher,
    /// It is lower, which is neither good nor bad.
    Lower,
    /// The interval holds zero.
    NoDifferenceShown,
    /// There is no interval: too few runs.
    TooFewRuns,
}

impl Verdict {
    /// The verdict on a difference, by its interval alone.
    pub fn of(difference: &Difference, better: Better) -> Verdict {
        match difference.interval {
            None => Verdict::TooFewRuns,
            Some(interval) if interval.contains(0.0) => Verdict::NoDifferenceShown,
            Some(interval) => Verdict::shown(interval.low > 0.0, better),
        }
    }

    fn shown(more: bool, better: Better) -> Verdict {
        match (better, more) {
            (Better::ShorterTime, false) | (Better::HigherRate, true) => Verdict::Faster,
            (Better::ShorterTime, true) | (Better::HigherRate, false) => Verdict::Slower,
            (Better::LowerCost, false) => Verdict::Cheaper,
            (Better::LowerCost, true) => Verdict::Dearer,
            (Better::Neither, true) => Verdict::Higher,
            (Better::Neither, false) => Verdict::Lower,
        }
    }

    /// The verdict in words.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::Cheaper => "cheaper",
            Verdict::Dearer => "dearer",
            Verdict::Higher => "higher",
            Verdict::Lower => "lower",
            Verdict::NoDifferenceShown => "no difference shown",
            Verdict::TooFewRuns => "too few runs",
        }
    }
}
