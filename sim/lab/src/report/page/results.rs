//! Results of experiments, comparisons and sweeps.

use crate::report::Report;
use crate::report::experiment::Experiment;
use crate::report::picture::{Form, Picture};
use crate::report::table::Table;
use maud::{Markup, PreEscaped, html};

/// Rows of one table beyond this stay in its file.
const ROWS_MAX: usize = 2_000;
/// Columns of texts that are all shorter, in bytes, are not broken into lines.
const SHORT_MAX: usize = 28;
/// Longer tables stand in a frame of their own height.
const ROWS_OPEN: usize = 14;

/// All results, a section each.
pub(super) fn all(report: &Report) -> Markup {
    if report.experiments.is_empty() {
        return html! {};
    }
    html! {
        section #results aria-labelledby="results-heading" {
            h2 #results-heading { "Experiments" }
            @if report.experiments.len() > 1 {
                ul.contents { @for (index, result) in report.experiments.iter().enumerate() {
                    li { a href={ "#result-" (index) } { (result.title) } }
                } }
            }
            @for (index, result) in report.experiments.iter().enumerate() {
                section.result id={ "result-" (index) } aria-labelledby={ "result-" (index) "-heading" } { (one(index, result)) }
            }
        }
    }
}

fn one(index: usize, result: &Experiment) -> Markup {
    html! {
        h3 id={ "result-" (index) "-heading" } { (result.title) }
        p.note { (result.kind.name()) " in " code { (result.name) } @if let Some(summary) = &result.summary { ": " (summary) } }
        @for picture in &result.figures { (figure(picture)) }
        (table(&result.table, "table.csv", &result.title))
        @if let Some(runs) = &result.runs {
            details { summary { "Its runs (" (runs.rows.len()) "), with their digests" } (table(runs, "runs.csv", &result.title)) }
        }
        @if let Some((name, text)) = &result.asked {
            details { summary { "What was asked (" (name) ")" } pre tabindex="0" { (text) } }
        }
        @if let Some(command) = &result.command { p { "Repeat it with" } pre.command tabindex="0" { (command) } }
    }
}

/// A figure with its name.
pub(super) fn figure(picture: &Picture) -> Markup {
    html! {
        figure.wide[picture.is_wide()] {
            div.scroll tabindex="0" role="region" aria-label={ "Figure " (picture.name) } {
                @match &picture.form {
                    Form::Inline(svg) => (PreEscaped(svg)),
                    Form::Image(address) => img src=(address) alt={ "Figure " (picture.name) };,
                }
            }
            figcaption { (picture.name) ".svg" }
        }
    }
}

/// A table as its file has it.
pub(super) fn table(table: &Table, name: &str, of: &str) -> Markup {
    let numeric: Vec<bool> =
        (0..table.heading.len()).map(|column| table.is_numeric(column)).collect();
    let is_short = |column: usize| table.rows.iter().all(|row| row[column].len() <= SHORT_MAX);
    let short: Vec<bool> = (0..table.heading.len()).map(is_short).collect();
    let class = |column: usize| match (numeric[column], short[column]) {
        (true, _) => Some("number"),
        (false, true) => Some("short"),
        (false, false) => None,
    };
    let is_long = table.rows.len() > ROWS_OPEN;
    html! {
        div.scroll.tall[is_long] tabindex="0" role="region" aria-label={ (name) " of " (of) } {
            table.sortable {
                thead { tr { @for (column, heading) in table.heading.iter().enumerate() {
                    th scope="col" class=[class(column)] { (heading.replace('_', " ")) }
                } } }
                tbody { @for row in table.rows.iter().take(ROWS_MAX) { tr {
                    @for (column, cell) in row.iter().enumerate() { td class=[class(column)] { (cell) } }
                } } }
            }
        }
        @if table.rows.len() > ROWS_MAX {
            p.note { "The first " (ROWS_MAX) " of " (table.rows.len()) " rows; all are in " code { (name) } "." }
        }
    }
}
