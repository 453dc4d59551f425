//! The tables of a sweep: a row for each run, and a row for each cell over its seeds.

use super::record::METRICS;
use super::{Interval, Outcome, Plan, Record};
use crate::measure::round;

/// The table of runs.
pub(super) const RUNS: &str = "runs.csv";
/// The table of cells.
pub(super) const CELLS: &str = "table.csv";
/// Digits after the point in the table of cells.
const DIGITS: i32 = 6;

/// A cell over its seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct CellRow {
    /// The cell, by number.
    pub cell: usize,
    /// How many of its runs ended how, in the order of [`Outcome::ALL`].
    pub outcomes: [usize; 5],
    /// The numbers of the table, by name; absent if no run has one.
    pub values: Vec<(&'static str, Option<Interval>)>,
}

impl CellRow {
    /// The number with this name.
    pub fn value(&self, name: &str) -> Option<Interval> {
        self.values.iter().find(|(known, _)| *known == name).and_then(|(_, value)| *value)
    }
}

/// The rows of cells, from the records of all runs in the order of the plan.
pub fn cells(plan: &Plan, records: &[Record]) -> Vec<CellRow> {
    let seeds = plan.sweep().seeds.len();
    let row = |(cell, records): (usize, &[Record])| {
        let ended = |outcome| records.iter().filter(|record| record.outcome == outcome).count();
        let value = |name: &'static str| {
            let numbers: Vec<f64> = records
                .iter()
                .filter_map(|record| record.measured.get(name)?.parse().ok())
                .collect();
            (name, Interval::of(&numbers))
        };
        let shown = METRICS.iter().filter(|metric| metric.in_cells);
        CellRow {
            cell,
            outcomes: Outcome::ALL.map(ended),
            values: shown.map(|metric| value(metric.name)).collect(),
        }
    };
    records.chunks(seeds).enumerate().map(row).collect()
}

/// `runs.csv`.
pub fn runs_csv(plan: &Plan, records: &[Record]) -> Vec<u8> {
    let axes = plan.sweep().axes.iter().map(|axis| axis.name.as_str());
    let fixed = ["seed", "key", "verdict", "detail", "digest"];
    let numbers = METRICS.iter().map(|metric| metric.name);
    let heading: Vec<&str> = axes.chain(fixed).chain(numbers).collect();
    let rows = plan.runs().iter().zip(records).map(|(run, record)| {
        let labels = plan.sweep().labels(run.cell).into_iter().map(str::to_owned);
        let fixed = [
            run.seed.to_string(),
            run.key.clone(),
            record.outcome.name().to_owned(),
            one_line(&record.detail),
            record.digest.clone(),
        ];
        let number = |name: &'static str| record.measured.get(name).cloned().unwrap_or_default();
        let numbers = METRICS.iter().map(|metric| number(metric.name));
        labels.chain(fixed).chain(numbers).collect()
    });
    written(&heading, rows)
}

/// `table.csv`. Of each number the mean, and the ends of its interval.
pub fn table_csv(plan: &Plan, cells: &[CellRow]) -> Vec<u8> {
    let axes = plan.sweep().axes.iter().map(|axis| axis.name.clone());
    let outcomes = Outcome::ALL.map(|outcome| outcome.name().to_owned());
    let shown = METRICS.iter().filter(|metric| metric.in_cells);
    let numbers = shown.flat_map(|metric| {
        let name = metric.name;
        [name.to_owned(), format!("{name}_low"), format!("{name}_high")]
    });
    let heading: Vec<String> = axes.chain(outcomes).chain(numbers).collect();
    let text = |value: f64| round(value, DIGITS).to_string();
    let rows = cells.iter().map(|row| {
        let labels = plan.sweep().labels(row.cell).into_iter().map(str::to_owned);
        let outcomes = row.outcomes.map(|count| count.to_string());
        let numbers = row.values.iter().flat_map(|(_, value)| {
            let end = |sign: f64| {
                let value = (*value)?;
                Some(text(value.mean + sign * value.half_width?))
            };
            let mean = value.map(|value| text(value.mean));
            [mean, end(-1.0), end(1.0)].map(Option::unwrap_or_default)
        });
        labels.chain(outcomes).chain(numbers).collect()
    });
    written(&heading, rows)
}

fn written<S: AsRef<[u8]>>(heading: &[S], rows: impl Iterator<Item = Vec<String>>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let memory = "invariant: writing to memory succeeds, and rows are as long as the heading";
    writer.write_record(heading).expect(memory);
    rows.for_each(|row| writer.write_record(row).expect(memory));
    writer.into_inner().expect(memory)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
