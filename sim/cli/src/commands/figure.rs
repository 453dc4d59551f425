//! `sim figure NAME`: an experiment, drawn beside what was measured.

use super::{in_words, provenance};
use crate::arguments::FigureArguments;
use crate::crash;
use crate::failure::{Exit, Failure};
use crate::terminal::{self, Look};
use crate::text;
use crate::wall;
use anyhow::Error;
use sim_lab::experiment::{self, ExperimentOutcome, Prediction, ResultTable, Row};
use sim_lab::figure::{MatrixFigure, MatrixRow};
use sim_lab::results::{self, ResultsFolder};
use std::path::{Path, PathBuf};

/// Runs the experiment, writes its files, and prints the comparison.
pub(crate) fn figure(asked: &FigureArguments) -> Result<(), Failure> {
    let mut experiment = experiment::named(&asked.name)?;
    if let Some(count) = asked.seeds {
        experiment.set_seeds(seeds(experiment.seeds(), count));
    }
    let (name, count) = (experiment.name(), experiment.seeds().len());
    let checked = experiment.check()?;
    let out = asked.out.clone().unwrap_or_else(|| default_folder(name));
    let folder = ResultsFolder::check_for(&out, experiment::MARKER)
        .map_err(|error| Failure::input(Error::new(error).context("--out")))?;
    crash::remember(crash::Running {
        what: format!("figure {name}, {}", in_words(count, "seed")),
        command: format!("sim figure {name} --seeds {count}"),
    });
    let (outcome, took) = wall::timed(|| {
        terminal::with_progress(checked.runs(), |progress| checked.run(asked.threads, progress))
    });
    let outcome = outcome?;
    let not_carried_out = |error: Error| Failure::new(Exit::NotCarriedOut, error);
    let files = outcome.files().map_err(|error| not_carried_out(error.into()))?;
    let is_figure = |file: &&String| file.ends_with(".svg") || file.ends_with(".png");
    let mut written: Vec<String> = files.keys().filter(is_figure).cloned().collect();
    if written.is_empty() {
        written.push("table.csv".to_owned());
    }
    results::write_files(&folder, files, &provenance(took))
        .map_err(|error| not_carried_out(error.into()))?;
    terminal::print(&page(&outcome, Look::of_standard_output()))?;
    for file in written {
        terminal::note(&format!("wrote {}", out.join(file).display()));
    }
    terminal::note(&format!("took {:.2} s", took.as_secs_f64()));
    judge(&outcome)
}

/// `results/runs` is not under version control.
fn default_folder(name: &str) -> PathBuf {
    Path::new("results").join("runs").join(name)
}

/// The first `count` of the experiment's seeds, and the numbers after the last if that is not
/// enough.
fn seeds(declared: &[u64], count: usize) -> Vec<u64> {
    let next = declared.iter().max().map_or(1, |last| last + 1);
    declared.iter().copied().chain(next..).take(count).collect()
}

fn page(outcome: &ExperimentOutcome, look: Look) -> String {
    let experiment = &outcome.experiment;
    let runs = in_words(outcome.carried_out() as usize, "run");
    let seeds = in_words(experiment.seeds().len(), "seed");
    let wrapped = |text: &str| text::wrap(text, look.columns, text::INDENT, text::INDENT);
    let mut page = look.heading(experiment.title()) + "\n";
    page += &match &outcome.table {
        ResultTable::Matrix(_) => wrapped(&format!("{}; {runs}", experiment.setup())),
        _ => wrapped(&format!("{}; {runs}, {seeds} each", experiment.setup())),
    };
    page += &match &outcome.table {
        ResultTable::Comparison(_) | ResultTable::Maxima(_) => comparison(&outcome.rows(), look),
        ResultTable::Predictions(predictions) => predicted(predictions, look),
        ResultTable::Matrix(matrix) => combined(&matrix.figure, look),
    };
    if let Some(conclusion) = &outcome.conclusion {
        let heading = match &outcome.table {
            ResultTable::Predictions(_) | ResultTable::Matrix(_) => "What to know",
            _ => "Agreement",
        };
        page += &format!("\n{}\n{}", look.heading(heading), wrapped(conclusion));
    }
    page
}

/// Simulated beside measured, a table for each panel and series.
fn comparison(rows: &[&Row], look: Look) -> String {
    let together =
        |one: &&Row, other: &&Row| (&one.panel, &one.series) == (&other.panel, &other.series);
    let mut page = String::new();
    for group in rows.chunk_by(together) {
        let Row { panel, series, .. } = group[0];
        page += &format!("\n{}\n", look.heading(&format!("{panel}, {series}")));
        let rows: Vec<Vec<String>> = group.iter().map(|row| cells(row)).collect();
        page += &text::table(&["", "simulated", "measured", "ratio"], &rows, 1, look.columns);
    }
    page
}

/// Predictions, a table for each workload and series.
fn predicted(predictions: &[Prediction], look: Look) -> String {
    let together = |one: &Prediction, other: &Prediction| {
        (&one.panel, &one.series) == (&other.panel, &other.series)
    };
    let mut page = String::new();
    for group in predictions.chunk_by(together) {
        let Prediction { panel, series, unit, .. } = &group[0];
        page += &format!("\n{}\n", look.heading(&format!("{panel}, {series}: {unit}")));
        let row = |row: &Prediction| {
            let [p50, _, p99] = row.latency_ms;
            let state = if row.complete { "" } else { "incomplete" };
            vec![
                format!("{}, {}", row.plan, in_words(row.hosts as usize, "host")),
                text::number(row.per_s, 2),
                text::number(p50, 0),
                text::number(p99, 0),
                text::number(row.operations_per_orchestration, 1),
                state.to_owned(),
            ]
        };
        let rows: Vec<Vec<String>> = group.iter().map(row).collect();
        let heading = ["", "per s", "p50, ms", "p99, ms", "operations each", ""];
        page += &text::table(&heading, &rows, 1, look.columns);
    }
    page
}

/// A matrix, a table for each engine.
fn combined(matrix: &MatrixFigure, look: Look) -> String {
    let mut page = String::new();
    let columns = matrix.columns.iter().map(String::as_str);
    let heading: Vec<&str> = [matrix.of.as_str()].into_iter().chain(columns).collect();
    for group in &matrix.groups {
        page += &format!("\n{}\n", look.heading(&group.engine));
        let row = |row: &MatrixRow| {
            let cells = row.cells.iter().map(|cell| cell.text.clone());
            [row.label.clone()].into_iter().chain(cells).collect()
        };
        let rows: Vec<Vec<String>> = group.rows.iter().map(row).collect();
        page += &text::table(&heading, &rows, heading.len(), look.columns);
    }
    page
}

fn cells(row: &Row) -> Vec<String> {
    let digits = row.unit.digits();
    vec![
        row.metric.clone(),
        text::number(row.simulated, digits),
        text::number(row.measured, digits),
        text::number(row.ratio(), 2),
    ]
}

fn judge(outcome: &ExperimentOutcome) -> Result<(), Failure> {
    if let ResultTable::Matrix(matrix) = &outcome.table {
        return match &matrix.misses[..] {
            [] => Ok(()),
            [first] => Err(Failure::checks(first.clone())),
            [first, rest @ ..] => Err(Failure::checks(format!("{first}, and {} more", rest.len()))),
        };
    }
    match outcome.failed().next() {
        None => Ok(()),
        Some(first) => Err(Failure::checks(format!(
            "checks failed in {} of {}, first in {}, {}, {}, seed {}: {}",
            outcome.failed().count(),
            in_words(outcome.runs.len(), "run"),
            first.panel,
            first.series,
            in_words(first.hosts as usize, "host"),
            first.seed,
            first.failed_checks.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_the_declared_ones_first() {
        assert_eq!(seeds(&[1, 2, 3], 2), [1, 2]);
        assert_eq!(seeds(&[5, 3], 4), [5, 3, 6, 7]);
    }
}
