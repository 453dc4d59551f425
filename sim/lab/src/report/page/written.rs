//! Each of the first runs, written out for readers without scripts and for printing: figure, parts
//! of the latency, checks, operations, counters, specification and the command that repeats it. With
//! scripts on, the picker shows the same for every run, and this section is hidden.

use super::results::{figure, table};
use super::runs::number;
use crate::checks::{Check, Verdict};
use crate::report::metric::METRICS;
use crate::report::run::Run;
use crate::report::{RUNS_WRITTEN_OUT, Report};
use maud::{Markup, html};

/// The first runs.
pub(super) fn all(report: &Report) -> Markup {
    if report.runs.is_empty() {
        return html! {};
    }
    let rest = report.runs.len().saturating_sub(RUNS_WRITTEN_OUT);
    html! {
        section #written.unscripted aria-labelledby="written-heading" {
            h2 #written-heading { "Each run" }
            @if rest > 0 { p.note { "The first " (RUNS_WRITTEN_OUT) " runs; with scripts on, the other " (rest) " can be picked as well." } }
            @for (index, run) in report.runs.iter().take(RUNS_WRITTEN_OUT).enumerate() {
                details id={ "run-" (index) } { summary { (report.labels.of_run(run, index)) } (one(run)) }
            }
        }
    }
}

fn one(run: &Run) -> Markup {
    html! {
        p.note { "In " code { (run.name) } ", digest " code { (run.summary.digest) } }
        @for picture in &run.figures { (figure(picture)) }
        div.scroll tabindex="0" role="region" aria-label="Numbers of the run" {
            table { tbody { @for metric in &METRICS {
                @if let Some(value) = (metric.of)(run) {
                    tr { th scope="row" { (metric.name) } td.number { (number(Some(value), metric.digits)) } td { (metric.meaning) } }
                }
            } } }
        }
        (parts(run))
        (checks(&run.summary.checks))
        @if let Some(operations) = &run.operations { details { summary { "Operations" } (table(operations, "operations.csv", &run.name)) } }
        @if let Some(counters) = &run.counters { details { summary { "Counters" } (table(counters, "counters.csv", &run.name)) } }
        @if let Some(stuck) = &run.stuck { details { summary { "What has not ended" } (table(stuck, "stuck.csv", &run.name)) } }
        @if !run.disturbances.is_empty() {
            details { summary { "What went wrong on purpose" } ul { @for disturbance in &run.disturbances { li { (disturbance.name) } } } }
        }
        details { summary { "Specification (spec.toml)" } pre tabindex="0" { (run.spec_text) } }
        p { "Repeat it with" }
        pre.command tabindex="0" { (run.command()) }
    }
}

fn parts(run: &Run) -> Markup {
    html! { @if let Some(parts) = crate::report::breakdown::of_run(run) {
        div.bars { (super::charts::bar("where the latency goes", &run.spec.engine, &parts, parts.iter().sum())) }
    } }
}

fn checks(checks: &[Check]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Checks" {
            table {
                thead { tr { th scope="col" { "check" } th scope="col" { "verdict" } th scope="col" { "detail" } } }
                tbody { @for check in checks { tr {
                    th scope="row" { (check.name) }
                    td { @match check.verdict {
                        Verdict::Fail => strong.bad { "FAIL" },
                        other => (other.name()),
                    } }
                    td { (check.detail) @for line in &check.history { br; (line) } }
                } } }
            }
        }
    }
}
