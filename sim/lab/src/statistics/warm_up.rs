//! Warm-up removal: where a series has left its initial transient, by MSER-5.
//!
//! The *marginal standard error rule* (White, *An effective truncation heuristic for bias reduction in
//! simulation output*, Simulation 69(6), 1997) cuts off as many observations from the front as make the
//! standard error of the mean of the rest least. It weighs the bias that the transient brings against the
//! precision that shorter series lose. MSER-5 applies it to the means of 5 observations each (White, Cobb
//! and Spratt, *A comparison of five steady-state truncation heuristics for simulation*, Winter Simulation
//! Conference 2000).
//!
//! The rule is not asked where fewer than [`REST_MIN`] batches would be left, since the error of a few
//! similar values is small by chance (Hoad, Robinson and Davies, *Automating warm-up length estimation*,
//! Journal of the Operational Research Society 61, 2010, leave out the last five). If the least error lies
//! beyond the middle, the series is too short to tell, and nothing is cut off.
//!
//! Observations are in order and equally spaced, or one for each orchestration by its start.

use serde::Serialize;

/// Observations by batch.
pub const BATCH: usize = 5;
/// Fewest batches whose mean is looked at.
pub const REST_MIN: usize = 5;
/// Fewest batches of a series that is looked at.
pub const BATCHES_MIN: usize = 10;

/// Where a series has left its transient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "warm_up")]
pub enum WarmUp {
    /// These first observations are the transient; 0 if there is none.
    Cut {
        /// How many.
        observations: usize,
    },
    /// The series is too short to tell.
    TooShort,
}

impl WarmUp {
    /// How many observations are left out; 0 if the series is too short to tell.
    pub fn observations(self) -> usize {
        match self {
            WarmUp::Cut { observations } => observations,
            WarmUp::TooShort => 0,
        }
    }

    /// The method, for whatever prints the result.
    pub const METHOD: &'static str = "MSER-5 (White, Cobb and Spratt 2000)";
}

/// Finds the transient of a series by MSER-5.
pub fn mser_5(series: &[f64]) -> WarmUp {
    let batches: Vec<f64> =
        series.chunks_exact(BATCH).map(|batch| batch.iter().sum::<f64>() / BATCH as f64).collect();
    if batches.len() < BATCHES_MIN || batches.iter().any(|mean| !mean.is_finite()) {
        return WarmUp::TooShort;
    }
    let last = batches.len() - REST_MIN;
    let errors = marginal_errors(&batches);
    let mut best = 0;
    for cut in 1..=last {
        if errors[cut] < errors[best] {
            best = cut;
        }
    }
    match best <= batches.len() / 2 {
        true => WarmUp::Cut { observations: best * BATCH },
        false => WarmUp::TooShort,
    }
}

/// What is left of a series without its transient.
pub fn steady(series: &[f64]) -> &[f64] {
    &series[mser_5(series).observations()..]
}

/// For each number of batches cut off: the sum of squares around the mean of the rest, by the square of
/// how many are left. From the back, with Welford's recurrence.
fn marginal_errors(batches: &[f64]) -> Vec<f64> {
    let mut errors = vec![0.0; batches.len()];
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for (cut, value) in batches.iter().enumerate().rev() {
        count += 1.0;
        let from_mean = value - mean;
        mean += from_mean / count;
        squares += from_mean * (value - mean);
        errors[cut] = squares / (count * count);
    }
    errors
}
