//! What a run did over time, in spans of equal width.
//!
//! `timeseries.csv` has a row for each second of virtual time. A run of an hour has 3,600 of them and
//! a report may have a thousand runs, so neighbouring seconds are put together until a run has at
//! most [`points_each`] points: rates become means over the wider span, latencies the median and the
//! greatest of what ended in it, levels what held at its end. A span is at least one second.
//!
//! Units: seconds on the axis, events a second, milliseconds.

use super::ReportError;
use super::table::Table;
use std::collections::BTreeMap;
use std::path::Path;

/// All runs together have about so many points in each curve.
const POINTS_OF_ALL: usize = 120_000;
/// Fewest points of a curve: enough to see where a fault was.
const POINTS_MIN: usize = 60;
/// Most points of a curve: about as many as a wide screen has room for.
const POINTS_MAX: usize = 600;

/// The most points of each curve, if there are so many runs.
pub(super) fn points_each(runs: usize) -> usize {
    (POINTS_OF_ALL / runs.max(1)).clamp(POINTS_MIN, POINTS_MAX)
}

/// One curve: a value for each span, if there is one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    pub name: String,
    pub values: Vec<Option<f64>>,
}

/// Curves with one unit, which share a plot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plot {
    pub title: &'static str,
    pub curves: Vec<Curve>,
}

/// Everything that is known of a run over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Series {
    /// Seconds that a point stands for.
    pub width: usize,
    pub plots: Vec<Plot>,
}

/// An orchestration that ended: when, in seconds, and its latency in milliseconds.
pub(super) struct Ended {
    pub at: f64,
    pub latency: f64,
}

/// The tables that series are made of.
pub(super) struct Sources<'a> {
    pub folder: &'a Path,
    pub rates: Option<&'a Table>,
    pub ended: &'a [Ended],
    pub levels: Option<&'a Table>,
}

impl Sources<'_> {
    /// The series, with at most so many points.
    pub(super) fn series(&self, points: usize) -> Result<Series, ReportError> {
        let rates = self.rates.map_or(0, |table| table.rows.len());
        let levels = self.levels()?;
        let last_level = levels.iter().map(|level| level.at).fold(0.0, f64::max);
        let last = self.ended.iter().map(|ended| ended.at).fold(last_level, f64::max);
        // The last row of a series stands for the second that began then.
        let seconds = rates.max(libm::floor(last) as usize + usize::from(last > 0.0));
        let width = seconds.div_ceil(points).max(1);
        let spans = seconds.div_ceil(width);
        let mut plots = self.rates(width, spans)?;
        plots.extend(latencies(self.ended, width, spans));
        plots.extend(plot_of_levels(&levels, width, spans));
        Ok(Series { width, plots })
    }

    fn rates(&self, width: usize, spans: usize) -> Result<Vec<Plot>, ReportError> {
        let Some(table) = self.rates else { return Ok(Vec::new()) };
        let path = self.folder.join("timeseries.csv");
        let (mut orchestrations, mut operations) = (Vec::new(), Vec::new());
        for name in table.heading.iter().filter(|name| *name != "second") {
            let counts = table.numbers(&path, name)?;
            if counts.iter().flatten().all(|count| *count == 0.0) {
                continue;
            }
            let mean = |span: &[Option<f64>]| {
                let sum: f64 = span.iter().flatten().sum();
                Some(sum / span.len() as f64)
            };
            let mut values: Vec<Option<f64>> = counts.chunks(width).map(mean).collect();
            values.resize(spans, None);
            let of_load = name == "started" || name == "ended";
            let curve = Curve { name: name.clone(), values };
            if of_load { orchestrations.push(curve) } else { operations.push(curve) }
        }
        let plots = [
            Plot { title: "Orchestrations a second", curves: orchestrations },
            Plot { title: "Operations a second", curves: operations },
        ];
        Ok(plots.into_iter().filter(|plot| !plot.curves.is_empty()).collect())
    }

    fn levels(&self) -> Result<Vec<Level>, ReportError> {
        let Some(table) = self.levels else { return Ok(Vec::new()) };
        let path = self.folder.join("levels.csv");
        let (times, values) = (table.numbers(&path, "time_s")?, table.numbers(&path, "value")?);
        let names =
            table.column("what").map(|column| table.rows.iter().map(move |row| &row[column]));
        let names = names.into_iter().flatten();
        let rows = names.zip(times).zip(values);
        let level = |((name, at), value): ((&String, Option<f64>), Option<f64>)| {
            Some(Level { name: name.clone(), at: at?, value: value? })
        };
        Ok(rows.filter_map(level).collect())
    }
}

/// A change of a level.
struct Level {
    name: String,
    at: f64,
    value: f64,
}

/// The span that an instant lies in.
fn span_of(at: f64, width: usize, spans: usize) -> usize {
    ((at.max(0.0) as usize) / width).min(spans.saturating_sub(1))
}

fn latencies(ended: &[Ended], width: usize, spans: usize) -> Option<Plot> {
    if ended.is_empty() {
        return None;
    }
    let mut by_span: Vec<Vec<f64>> = vec![Vec::new(); spans];
    for Ended { at, latency } in ended {
        by_span[span_of(*at, width, spans)].push(*latency);
    }
    by_span.iter_mut().for_each(|latencies| latencies.sort_unstable_by(f64::total_cmp));
    let median = |sorted: &Vec<f64>| sorted.get(sorted.len() / 2).copied();
    let curve = |name: &str, values: Vec<Option<f64>>| Curve { name: name.to_owned(), values };
    let curves = vec![
        curve("median", by_span.iter().map(median).collect()),
        curve("greatest", by_span.iter().map(|sorted| sorted.last().copied()).collect()),
    ];
    Some(Plot { title: "Latency of what ended, ms", curves })
}

/// What held at the end of each span, from the first report on.
fn plot_of_levels(levels: &[Level], width: usize, spans: usize) -> Option<Plot> {
    let mut last_in: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
    for Level { name, at, value } in levels {
        let curve = last_in.entry(name).or_insert_with(|| vec![None; spans]);
        curve[span_of(*at, width, spans)] = Some(*value);
    }
    let hold = |values: Vec<Option<f64>>| {
        let mut held = None;
        values
            .into_iter()
            .map(|value| {
                held = value.or(held);
                held
            })
            .collect()
    };
    let curves = last_in.into_iter();
    let curves = curves.map(|(name, values)| Curve { name: name.to_owned(), values: hold(values) });
    let curves: Vec<Curve> = curves.collect();
    (!curves.is_empty()).then_some(Plot { title: "Levels", curves })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(heading: &[&str], rows: &[&[&str]]) -> Table {
        let owned = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        Table { heading: owned(heading), rows: rows.iter().map(|row| owned(row)).collect() }
    }

    #[test]
    fn seconds_are_put_together_and_rates_stay_rates() {
        let rates = table(
            &["second", "started", "ended", "table.get"],
            &[&["0", "4", "0", "0"], &["1", "2", "0", "0"], &["2", "5", "0", "0"]],
        );
        let ended = [Ended { at: 0.5, latency: 7.0 }, Ended { at: 1.5, latency: 9.0 }];
        let sources =
            Sources { folder: Path::new(""), rates: Some(&rates), ended: &ended, levels: None };
        let series = sources.series(2).expect("series");
        assert_eq!(series.width, 2);
        let [started, latency] = &series.plots[..] else { panic!("{series:?}") };
        // What is zero throughout is left out; the last span has one second only.
        assert_eq!(
            started.curves,
            [Curve { name: "started".into(), values: vec![Some(3.0), Some(5.0)] }]
        );
        assert_eq!(latency.curves[0].values, [Some(9.0), None]);
        assert_eq!(latency.curves[1].values, [Some(9.0), None]);
    }

    #[test]
    fn a_level_holds_until_the_next_report() {
        let levels = table(
            &["time_s", "what", "value"],
            &[&["1.5", "hosts", "2"], &["1.9", "hosts", "3"], &["4.0", "hosts", "1"]],
        );
        let sources =
            Sources { folder: Path::new(""), rates: None, ended: &[], levels: Some(&levels) };
        let series = sources.series(600).expect("series");
        assert_eq!(
            series.plots[0].curves[0].values,
            [None, Some(3.0), Some(3.0), Some(3.0), Some(1.0)]
        );
    }

    #[test]
    fn many_runs_have_fewer_points_each() {
        assert_eq!(points_each(1), 600);
        assert_eq!(points_each(1_000), 120);
        assert_eq!(points_each(1_000_000), 60);
    }
}
