//! `sim figure NAME`: an experiment, drawn beside what was measured.

use super::{in_words, provenance};
use crate::arguments::FigureArguments;
use crate::crash;
use crate::failure::{Exit, Failure};
use crate::repeat;
use crate::terminal::{self, Look};
use crate::text;
use crate::wall;
use anyhow::Error;
use sim_lab::experiment::{self, ExperimentOutcome, Prediction, ResultTable, Row};
use sim_lab::figure::{MatrixFigure, MatrixRow};
use sim_lab::results::{self, ResultsFolder};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs the experiment, writes its files, and prints the comparison.
pub(crate) fn figure(asked: &FigureArguments) -> Result<(), Failure> {
    let Some(name_or_path) = &asked.name else { return super::figures::figures(asked) };
    let mut experiment = experiment::load(name_or_path)?;
    let mut command = format!("sim figure {}", repeat::quoted(name_or_path));
    if let Some(count) = asked.seeds {
        experiment.set_seeds(seeds(experiment.seeds(), count));
        command += &format!(" --seeds {count}");
    }
    if asked.quick {
        experiment.make_quick();
        command += " --quick";
    }
    let (name, checked) = (experiment.name(), experiment.check()?);
    let out = asked.out.clone().unwrap_or_else(|| default_folder().join(name));
    let folder = check_folder(&out)?;
    crash::remember(crash::Running { what: format!("figure {name}"), command });
    let (outcome, took) = wall::timed(|| {
        terminal::with_progress(checked.runs(), |progress| checked.run(asked.threads, progress))
    });
    let outcome = outcome?;
    let written = write(&outcome, &folder, took)?;
    terminal::print(&page(&outcome, Look::of_standard_output()))?;
    for file in written {
        terminal::note(&format!("wrote {}", out.join(file).display()));
    }
    terminal::note(&format!("took {:.2} s", took.as_secs_f64()));
    judge(&outcome)
}

/// The folder of the results of an experiment, which must be new, empty, or that of such results.
///
/// # Errors
/// If it is something else.
pub(super) fn check_folder(out: &Path) -> Result<ResultsFolder, Failure> {
    ResultsFolder::check_for(out, experiment::MARKER)
        .map_err(|error| Failure::input(Error::new(error).context("--out")))
}

/// Writes the files of an outcome; the names of its figures, or of its table if it has none.
///
/// # Errors
/// If a figure cannot be drawn, or a file not be written.
pub(super) fn write(
    outcome: &ExperimentOutcome,
    folder: &ResultsFolder,
    took: Duration,
) -> Result<Vec<String>, Failure> {
    let not_carried_out = |error: Error| Failure::new(Exit::NotCarriedOut, error);
    let files = outcome.files().map_err(|error| not_carried_out(error.into()))?;
    let is_figure = |file: &&String| file.ends_with(".svg") || file.ends_with(".png");
    let mut written: Vec<String> = files.keys().filter(is_figure).cloned().collect();
    if written.is_empty() {
        written.push("table.csv".to_owned());
    }
    results::write_files(folder, files, &provenance(took))
        .map_err(|error| not_carried_out(error.into()))?;
    Ok(written)
}

/// `results/runs` is not under version control.
pub(super) fn default_folder() -> PathBuf {
    Path::new("results").join("runs")
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
    page += &match (&outcome.table, experiment.seeds()) {
        (ResultTable::Matrix(_), _) | (_, []) => {
            wrapped(&format!("{}; {runs}", experiment.setup()))
        }
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

/// So many columns of text each column of a matrix takes at least.
const MATRIX_COLUMN: usize = 14;

/// A matrix: a table for each engine, or a list of what there is for each row where a table has no room.
fn combined(matrix: &MatrixFigure, look: Look) -> String {
    let mut page = String::new();
    let columns = matrix.columns.iter().map(String::as_str);
    let heading: Vec<&str> = [matrix.of.as_str()].into_iter().chain(columns).collect();
    let is_narrow = look.columns < heading.len() * MATRIX_COLUMN;
    for group in &matrix.groups {
        page += &format!("\n{}\n", look.heading(&group.engine));
        if is_narrow {
            page.extend(group.rows.iter().map(|row| listed(row, &matrix.columns, look)));
            continue;
        }
        let row = |row: &MatrixRow| {
            let cells = row.cells.iter().map(|cell| cell.text.clone());
            [row.label.clone()].into_iter().chain(cells).collect()
        };
        let rows: Vec<Vec<String>> = group.rows.iter().map(row).collect();
        page += &text::table(&heading, &rows, heading.len(), look.columns);
    }
    page
}

/// A row in words: its label, and what stands in the columns where anything does.
fn listed(row: &MatrixRow, columns: &[String], look: Look) -> String {
    let said = columns.iter().zip(&row.cells).filter(|(_, cell)| !cell.text.is_empty());
    let said = said.map(|(column, cell)| format!("{column}: {}", cell.text.replace('\n', ", ")));
    let said: Vec<String> = said.collect();
    let label = text::wrap(&row.label, look.columns, text::INDENT, text::INDENT);
    label + &text::wrap(&said.join("; "), look.columns, text::INDENT * 2, text::INDENT * 2)
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
    use sim_lab::figure::{MatrixCell, MatrixGroup, Shade};

    #[test]
    fn a_matrix_is_a_list_where_a_table_has_no_room() {
        let cell = |text: &str| MatrixCell { text: text.to_owned(), shade: Shade::Plain };
        let row = MatrixRow {
            label: "dedup".to_owned(),
            cells: vec![cell("4: stuck"), cell(""), cell("none\nany: 3")],
        };
        let matrix = MatrixFigure {
            title: String::new(),
            of: "off".to_owned(),
            columns: ["all", "disks", "leases"].map(ToOwned::to_owned).to_vec(),
            groups: vec![MatrixGroup { engine: "netherite".to_owned(), rows: vec![row] }],
            shades: Vec::new(),
            caption: String::new(),
        };
        let narrow = combined(&matrix, Look { columns: 40, ..Look::PIPED });
        assert_eq!(narrow, "\nnetherite\n  dedup\n    all: 4: stuck; leases: none, any: 3\n");
        let wide = combined(&matrix, Look { columns: 100, ..Look::PIPED });
        assert!(wide.contains("off    all       disks  leases\n"), "{wide}");
    }

    #[test]
    fn seeds_are_the_declared_ones_first() {
        assert_eq!(seeds(&[1, 2, 3], 2), [1, 2]);
        assert_eq!(seeds(&[5, 3], 4), [5, 3, 6, 7]);
    }
}
