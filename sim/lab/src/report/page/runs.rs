//! The table of all runs.

use super::counted;
use crate::checks::Verdict;
use crate::figure::engine_color;
use crate::report::Report;
use crate::report::breakdown::hex;
use crate::report::label::{cut, short};
use crate::report::metric::METRICS;
use crate::report::run::Run;
use maud::{Markup, html};

/// More keys than this that differ are told in the label of each run only.
const KEYS_MAX: usize = 6;

/// All runs, a row each.
pub(super) fn table(report: &Report) -> Markup {
    if report.runs.is_empty() {
        return html! {};
    }
    let labels = &report.labels;
    let keys = &labels.varying[..labels.varying.len().min(KEYS_MAX)];
    html! {
        section #runs aria-labelledby="runs-heading" {
            h2 #runs-heading { "Runs" }
            div.scroll.tall tabindex="0" role="region" aria-label="Table of runs" {
                table.sortable {
                    thead { tr {
                        th scope="col" { "run" }
                        th scope="col" { "engine" }
                        @if labels.workloads_vary { th scope="col" { "workload" } }
                        @for key in keys { th scope="col" { (short(key)) } }
                        th.number scope="col" { "seed" }
                        @for metric in METRICS.iter().filter(|metric| metric.in_table) {
                            th.number scope="col" title=(metric.meaning) { (metric.name) }
                        }
                        th scope="col" { "checks" }
                    } }
                    tbody { @for (index, run) in report.runs.iter().enumerate() { (row(report, index, run, keys.len())) } }
                }
            }
            p.note { (counted(report.runs.len(), "run")) ". Latencies are as the engine reports them, and as clients see them where clients wait." }
        }
    }
}

fn row(report: &Report, index: usize, run: &Run, keys: usize) -> Markup {
    let labels = &report.labels;
    html! {
        tr {
            th scope="row" { a href={ "#run-" (index) } { (run.name) } }
            td { span.swatch style={ "background:" (hex(engine_color(&run.spec.engine))) } {} (run.spec.engine) }
            @if labels.workloads_vary { td { (run.summary.workload) } }
            @for value in &labels.values[index][..keys] { td title=[(cut(value) != *value).then_some(value)] { (cut(value)) } }
            td.number { (run.spec.seed) }
            @for metric in METRICS.iter().filter(|metric| metric.in_table) {
                td.number { (number((metric.of)(run), metric.digits)) }
            }
            td { (verdict(run)) }
        }
    }
}

/// A number, or nothing.
pub(super) fn number(value: Option<f64>, digits: usize) -> String {
    value.map(|value| format!("{value:.digits$}")).unwrap_or_default()
}

/// What the checks of a run came to.
fn verdict(run: &Run) -> Markup {
    let count =
        |verdict| run.summary.checks.iter().filter(|check| check.verdict == verdict).count();
    let failed = run.summary.checks.iter().filter(|check| check.verdict == Verdict::Fail);
    let failed: Vec<&str> = failed.map(|check| check.name.as_str()).collect();
    html! {
        @if !failed.is_empty() { strong.bad { "FAIL " (failed.join(", ")) } }
        @else if count(Verdict::Observed) > 0 { "pass, " (count(Verdict::Observed)) " observed" }
        @else { "pass" }
    }
}
