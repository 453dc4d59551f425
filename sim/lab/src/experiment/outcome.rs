//! What an experiment leaves: figures, a table, and its runs.

use super::matrix::Matrix;
use super::maxima::{self, Maximum};
use super::predictions::{self, Prediction};
use super::runs::{RunRow, runs_csv};
use super::{Experiment, MARKER, csv_of};
use crate::figure::{Figure, FigureError};
use crate::measure;
use std::collections::BTreeMap;

/// What a compared number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A latency.
    Milliseconds,
    /// A part of all orchestrations, from 0 to 1.
    Fraction,
    /// Orchestrations a second.
    PerSecond,
    /// A span of time.
    Seconds,
    /// A number of things.
    Count,
}

impl Unit {
    /// Digits after the point that are worth showing to a person.
    pub const fn digits(self) -> usize {
        match self {
            Unit::Milliseconds | Unit::PerSecond | Unit::Seconds | Unit::Count => 1,
            Unit::Fraction => 4,
        }
    }
}

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The panel.
    pub panel: String,
    /// The series.
    pub series: String,
    /// What is compared, with its unit: `p50 ms`, `above 2s`, `4 hosts, per s`.
    pub metric: String,
    /// The same unit, for whoever formats the numbers.
    pub unit: Unit,
    /// What the simulation gives.
    pub simulated: Option<f64>,
    /// What was measured.
    pub measured: Option<f64>,
}

impl Row {
    /// Simulated by measured.
    pub fn ratio(&self) -> Option<f64> {
        let measured = self.measured.filter(|measured| *measured > 0.0)?;
        Some(measure::round(self.simulated? / measured, 3))
    }
}

/// The table of an experiment.
#[derive(Clone, Debug)]
pub enum ResultTable {
    /// Simulated beside measured.
    Comparison(Vec<Row>),
    /// Rates of one worker beside published estimates.
    Maxima(Vec<Maximum>),
    /// Simulated alone.
    Predictions(Vec<Prediction>),
    /// Combinations of two things, a campaign each.
    Matrix(Matrix),
}

/// What an experiment leaves.
#[derive(Clone, Debug)]
pub struct ExperimentOutcome {
    /// The experiment.
    pub experiment: Experiment,
    /// The figures, each with the name of its files.
    pub figures: Vec<(String, Figure)>,
    /// The table.
    pub table: ResultTable,
    /// What the table comes to, in a sentence, if the experiment draws one.
    pub conclusion: Option<String>,
    /// The runs, in the order of the experiment; none of an experiment whose table is a matrix.
    pub runs: Vec<RunRow>,
}

impl ExperimentOutcome {
    /// The rows that compare simulated with measured numbers.
    pub fn rows(&self) -> Vec<&Row> {
        match &self.table {
            ResultTable::Comparison(rows) => rows.iter().collect(),
            ResultTable::Maxima(maxima) => maxima.iter().map(|maximum| &maximum.row).collect(),
            ResultTable::Predictions(_) | ResultTable::Matrix(_) => Vec::new(),
        }
    }

    /// The table as CSV.
    pub fn table_csv(&self) -> Vec<u8> {
        let rows = match &self.table {
            ResultTable::Comparison(rows) => rows,
            ResultTable::Maxima(maxima) => return maxima::csv(maxima),
            ResultTable::Predictions(predictions) => return predictions::csv(predictions),
            ResultTable::Matrix(matrix) => return matrix.csv.clone(),
        };
        let text = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        csv_of(
            ["panel", "series", "metric", "simulated", "measured", "ratio"],
            rows.iter().map(|row| {
                let numbers = [row.simulated, row.measured, row.ratio()].map(text);
                let [simulated, measured, ratio] = numbers;
                let (panel, series) = (row.panel.clone(), row.series.clone());
                [panel, series, row.metric.clone(), simulated, measured, ratio]
            }),
        )
    }

    /// The runs as CSV.
    pub fn runs_csv(&self) -> Vec<u8> {
        runs_csv(&self.runs)
    }

    /// How many runs were carried out.
    pub fn carried_out(&self) -> u64 {
        match &self.table {
            ResultTable::Matrix(matrix) => matrix.runs,
            _ => self.runs.len() as u64,
        }
    }

    /// The runs in which a check failed.
    pub fn failed(&self) -> impl Iterator<Item = &RunRow> {
        self.runs.iter().filter(|run| !run.failed_checks.is_empty())
    }

    /// All files of the experiment's results: the experiment itself, table, runs and figures.
    ///
    /// # Errors
    /// If a figure cannot be drawn.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, FigureError> {
        let mut files = BTreeMap::from([
            (MARKER.to_owned(), self.experiment.to_toml().into_bytes()),
            ("table.csv".to_owned(), self.table_csv()),
        ]);
        match &self.table {
            ResultTable::Matrix(matrix) => files.extend(matrix.files.clone()),
            _ => _ = files.insert("runs.csv".to_owned(), self.runs_csv()),
        }
        for (name, figure) in &self.figures {
            files.insert(format!("{name}.svg"), figure.to_svg()?.into_bytes());
            files.insert(format!("{name}.png"), figure.to_png()?);
        }
        Ok(files)
    }
}
