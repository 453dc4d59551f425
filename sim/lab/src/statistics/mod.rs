//! Statistics of simulated runs: intervals, paired comparisons, percentiles, warm-up, verdicts.
//!
//! A run is a pure function of its seed, so runs with different seeds are independent replications, and
//! two runs with one seed share everything but what was changed: they are *paired* (common random
//! numbers). What each part assumes:
//!
//! | part | method | assumes | source |
//! |---|---|---|---|
//! | [`MeanEstimate`] | mean of replications, Student's t interval | replications are independent; their means nearly normal | Student 1908; Law, *Simulation Modeling and Analysis*, 5th ed., section 4.5 |
//! | [`Difference::paired`] | differences of pairs, Student's t interval; effect size d_z; Wilcoxon's signed-rank test | pairs are independent of each other | Law, section 10.2.1; Cohen 1988, section 2.3.5; Wilcoxon 1945 |
//! | [`Difference::independent`] | Welch's t interval; Hedges' g; Mann-Whitney test | both samples are independent | Welch 1947; Hedges 1981; Mann and Whitney 1947 |
//! | [`Bootstrap`] | percentile interval over seeded resamples | what is drawn (values, or whole runs) is independent | Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, section 13.3 |
//! | [`warm_up`] | MSER-5 truncation | the transient is over in the first half of the series | White 1997; White, Cobb and Spratt 2000 |
//! | [`Verdict`] | better or worse if the interval of the difference leaves zero out | as the interval | - |
//! | [`ranks`] | exact null distributions, conditional on ties; normal beyond | - | Lehmann, *Nonparametrics*, 1975, chapters 1 and 3 |
//!
//! Each result names its method (`method()`), so that whatever prints it can say where a number comes from.
//! Nothing here reads a clock or a free source of randomness: resamples are drawn from a stream of the
//! seed tree. Values are plain numbers in any unit; a sample that is too small, or that holds something
//! infinite or no number, has no result, never a wrong one.

mod bootstrap;
mod difference;
mod mean;
pub mod ranks;
mod verdict;
pub mod warm_up;

#[cfg(test)]
mod tests;

pub use bootstrap::{Bootstrap, PercentileDifference, PercentileEstimate, Resampled};
pub use difference::{Design, Difference};
pub use mean::{Confidence, Interval, MeanEstimate, mean, median, quantile};
pub use verdict::{Better, Verdict};
