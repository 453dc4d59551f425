//! Claims: what the committed figures are held to, and whether what was obtained meets it.
//!
//! A claim is about one figure: a number of its table beside the measured one, a ratio of two numbers, the
//! part of its comparisons that agree, or that nothing came out as it should not. Claims are data
//! (`experiments/claims.toml`, embedded); this module judges them by outcomes of experiments. A claim that
//! is missed is a result like any other: it may say why, and then it is a known miss.
//!
//! Units: factors are how many times too high or too low, 1 for equal; shares are from 0 to 1.

use crate::experiment::{Agreement, ExperimentOutcome, ResultTable, Row};
use crate::spec::SpecError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The embedded claims.
const EMBEDDED: &str = include_str!("../../../experiments/claims.toml");

/// A claim, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The figure it is about, by name.
    pub figure: String,
    /// What is claimed, in words.
    pub says: String,
    /// Why it is missed, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// How it is judged.
    #[serde(flatten)]
    pub judged: Judged,
}

/// How a claim is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Judged {
    /// One number of a table, beside the measured one.
    Row {
        /// The panel.
        panel: String,
        /// The series.
        series: String,
        /// The metric.
        metric: String,
        /// How many times too high or too low it may be.
        factor: f64,
    },
    /// A number of one series by that of another.
    Ratio {
        /// The panel; all if left out.
        #[serde(default)]
        panel: Option<String>,
        /// The series above the line.
        series: String,
        /// The series below it.
        over: String,
        /// The metric; all if left out.
        #[serde(default)]
        metric: Option<String>,
        /// Whether the greatest of all numbers of each series is taken.
        #[serde(default)]
        best: bool,
        /// What is expected.
        expected: f64,
        /// How many times too high or too low it may be.
        factor: f64,
    },
    /// The part of the comparisons within a factor of 2.
    Agreement {
        /// The least part.
        at_least: f64,
    },
    /// The median factor between simulated and measured.
    Median {
        /// The greatest.
        factor: f64,
    },
    /// Nothing that came out as it should not.
    Sound,
}

/// The file, as a whole.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    claims: Vec<Claim>,
}

/// The embedded claims, in the order of the file.
pub fn all() -> Vec<Claim> {
    from_toml(EMBEDDED).expect("invariant: the embedded claims are valid (a test)")
}

/// Reads claims.
///
/// # Errors
/// The first line that is wrong.
pub fn from_toml(text: &str) -> Result<Vec<Claim>, SpecError> {
    let file: Result<File, toml::de::Error> = toml::from_str(text);
    file.map(|file| file.claims).map_err(|error| SpecError::File {
        path: PathBuf::from("claims.toml"),
        problem: error.to_string().trim_end().to_owned(),
    })
}

/// Whether a claim is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimVerdict {
    /// It is.
    Pass,
    /// It is not.
    Miss,
    /// It is not, and the claim says why.
    KnownMiss,
}

impl ClaimVerdict {
    /// As a word or two.
    pub const fn as_str(self) -> &'static str {
        match self {
            ClaimVerdict::Pass => "pass",
            ClaimVerdict::Miss => "miss",
            ClaimVerdict::KnownMiss => "known miss",
        }
    }
}

/// A claim, and what was obtained.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedClaim {
    /// The claim.
    pub claim: Claim,
    /// What is expected, with its unit where it has one.
    pub expected: String,
    /// What was obtained; `-` if there is no such number.
    pub obtained: String,
    /// How far they may be apart.
    pub tolerance: String,
    /// Whether they are.
    pub verdict: ClaimVerdict,
}

impl Claim {
    /// Judges the claim by the outcome of its figure.
    pub fn judge(&self, outcome: &ExperimentOutcome) -> JudgedClaim {
        let rows = outcome.rows();
        match &self.judged {
            Judged::Row { panel, series, metric, factor } => {
                let is_it =
                    |row: &&&Row| (&row.panel, &row.series, &row.metric) == (panel, series, metric);
                let row = rows.iter().find(is_it);
                let expected = row.and_then(|row| row.measured);
                self.within(expected, row.and_then(|row| row.simulated), *factor)
            }
            Judged::Ratio { panel, series, over, metric, best, expected, factor } => {
                let of = |label: &String| {
                    let is_it = |row: &&&Row| {
                        row.series == *label
                            && panel.as_ref().is_none_or(|panel| row.panel == *panel)
                            && metric.as_ref().is_none_or(|metric| row.metric == *metric)
                    };
                    let mut numbers = rows.iter().filter(is_it).filter_map(|row| row.simulated);
                    match best {
                        true => numbers.max_by(f64::total_cmp),
                        false => numbers.next(),
                    }
                };
                let below = of(over).filter(|below| *below > 0.0);
                self.within(Some(*expected), of(series).zip(below).map(|(a, b)| a / b), *factor)
            }
            Judged::Agreement { at_least } => {
                let owned: Vec<Row> = rows.into_iter().cloned().collect();
                let agreement = Agreement::of(&owned);
                let share =
                    agreement.as_ref().map(|found| found.within_two as f64 / found.compared as f64);
                let said =
                    agreement.map(|found| format!("{} of {}", found.within_two, found.compared));
                self.judged(
                    format!("{:.0} %", at_least * 100.0),
                    said.unwrap_or_else(|| NONE.to_owned()),
                    "at least".to_owned(),
                    share.is_some_and(|share| share >= *at_least),
                )
            }
            Judged::Median { factor } => self.within(Some(1.0), median_factor(&rows), *factor),
            Judged::Sound => {
                let (bad, of) = unsound(outcome);
                let obtained = format!("{bad} of {of}");
                self.judged(
                    "0 unsound".to_owned(),
                    obtained,
                    "exact".to_owned(),
                    bad == 0 && of > 0,
                )
            }
        }
    }

    fn within(&self, expected: Option<f64>, obtained: Option<f64>, factor: f64) -> JudgedClaim {
        let off = expected.zip(obtained).map(|(expected, obtained)| obtained / expected);
        let is_within = off.is_some_and(|off| off.max(1.0 / off) <= factor);
        let text = |value: Option<f64>| value.map_or_else(|| NONE.to_owned(), significant);
        self.judged(text(expected), text(obtained), format!("\u{d7}{factor}"), is_within)
    }

    fn judged(
        &self,
        expected: String,
        obtained: String,
        tolerance: String,
        met: bool,
    ) -> JudgedClaim {
        let verdict = match (met, &self.because) {
            (true, _) => ClaimVerdict::Pass,
            (false, Some(_)) => ClaimVerdict::KnownMiss,
            (false, None) => ClaimVerdict::Miss,
        };
        JudgedClaim { claim: self.clone(), expected, obtained, tolerance, verdict }
    }
}

/// Stands for a number that there is not.
const NONE: &str = "-";

/// A number with three digits that count, for people.
fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        magnitude if magnitude >= 100.0 => 0,
        magnitude if magnitude >= 10.0 => 1,
        magnitude if magnitude >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// The median over the factors of all comparisons that have one.
fn median_factor(rows: &[&Row]) -> Option<f64> {
    let factor = |row: &&Row| {
        let ratio = row.simulated? / row.measured?;
        Some(ratio.max(1.0 / ratio)).filter(|factor| factor.is_finite())
    };
    let mut factors: Vec<f64> = rows.iter().filter_map(factor).collect();
    factors.sort_by(f64::total_cmp);
    let middle = factors.len().checked_sub(1)? / 2;
    Some((factors[middle] + factors[factors.len() / 2]) / 2.0)
}

/// How much came out as it should not, and of how much.
fn unsound(outcome: &ExperimentOutcome) -> (usize, usize) {
    match &outcome.table {
        ResultTable::Matrix(matrix) => {
            let rows = matrix.figure.groups.iter().map(|group| group.rows.len()).sum();
            (matrix.misses.len(), rows)
        }
        ResultTable::Predictions(predictions) => {
            let incomplete = predictions.iter().filter(|prediction| !prediction.complete).count();
            (incomplete, predictions.len())
        }
        ResultTable::Comparison(_) | ResultTable::Maxima(_) => {
            (outcome.failed().count(), outcome.runs.len())
        }
    }
}

/// Judged claims as CSV.
pub fn csv(claims: &[JudgedClaim]) -> Vec<u8> {
    let heading = ["figure", "claim", "expected", "obtained", "tolerance", "verdict", "because"];
    let row = |judged: &JudgedClaim| {
        [
            judged.claim.figure.clone(),
            judged.claim.says.clone(),
            judged.expected.clone(),
            judged.obtained.clone(),
            judged.tolerance.clone(),
            judged.verdict.as_str().to_owned(),
            match judged.verdict {
                ClaimVerdict::KnownMiss => judged.claim.because.clone().unwrap_or_default(),
                ClaimVerdict::Pass | ClaimVerdict::Miss => String::new(),
            },
        ]
    };
    crate::experiment::csv_of(heading, claims.iter().map(row))
}

#[cfg(test)]
mod tests;
