//! The page: its frame, and its sections in the order in which a reader wants them.
//!
//! What needs no script is written out: the table of runs, latencies and their parts ([`charts`]),
//! results of experiments ([`results`]), and each of the first runs ([`written`]). What needs one has
//! its place here and is filled by the scripts; without them, a note stands there instead. All text
//! from results is escaped by the templates of maud.

mod charts;
mod results;
mod runs;
mod written;

use super::Report;
use super::assets::{SCRIPTS, STYLES, UPLOT_LICENSE};
use super::data;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Nothing is loaded: no request leaves the page, whatever stands in a result.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src data:; base-uri 'none'; form-action 'none'";

/// The page of a report.
pub(super) fn of(report: &Report) -> String {
    let title = title(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                // Without an icon, browsers ask for one.
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLES.join("\n"))) }
            }
            body {
                a.skip href="#main" { "To the results" }
                header {
                    h1 { (title) }
                    p { (lead(report)) }
                    (navigation(report))
                }
                main #main {
                    noscript { p.note { "Scripts are off: tables and figures are all here; sorting, zooming, comparing and the space-time view need scripts." } }
                    (runs::table(report))
                    (charts::ranges(report))
                    (charts::breakdown(report))
                    @if !report.runs.is_empty() { (scripted(report.runs.len())) }
                    (results::all(report))
                    (written::all(report))
                    (about(report))
                }
                script #data type="application/json" { (PreEscaped(data::of(report))) }
                script { (PreEscaped(SCRIPTS.join("\n"))) }
            }
        }
    };
    page.into_string()
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// What the results have in common.
fn title(report: &Report) -> String {
    let Some(first) = report.runs.first() else {
        return match &report.experiments[..] {
            [one] => one.title.clone(),
            all => format!("{} results", all.len()),
        };
    };
    let engines: std::collections::BTreeSet<&str> =
        report.runs.iter().map(|run| run.spec.engine.as_str()).collect();
    let of = match report.labels.workloads_vary {
        true => "Several workloads".to_owned(),
        false => first.summary.workload.clone(),
    };
    match engines.len() {
        1 => format!("{of} on {}", first.spec.engine),
        count => format!("{of} on {count} engines"),
    }
}

fn lead(report: &Report) -> String {
    let failed = report.runs.iter().filter(|run| !run.summary.passed()).count();
    let mut parts = Vec::new();
    if !report.runs.is_empty() {
        let groups = counted(report.labels.groups.len(), "group");
        parts.push(format!(
            "{} in {groups} that differ in more than the seed",
            counted(report.runs.len(), "run")
        ));
        parts.push(match failed {
            0 => "all checks of all runs passed".to_owned(),
            failed => format!("checks failed in {}", counted(failed, "run")),
        });
    }
    if !report.experiments.is_empty() {
        let results = counted(report.experiments.len(), "result");
        parts.push(format!("{results} of experiments and comparisons"));
    }
    parts.join("; ") + "."
}

fn navigation(report: &Report) -> Markup {
    let has_breakdown = report.runs.iter().any(|run| super::breakdown::of_run(run).is_some());
    html! {
        nav aria-label="Sections" {
            @if !report.runs.is_empty() {
                a href="#runs" { "Runs" } " "
                a href="#latency" { "Latency" } " "
                @if has_breakdown { a href="#breakdown" { "Breakdown" } " " }
                a.scripted href="#run" { "One run" } " "
                @if report.runs.len() > 1 { a.scripted href="#compare" { "Compare two" } " " }
                a.scripted href="#space-time" { "Space-time" } " "
            }
            @if !report.experiments.is_empty() { a href="#results" { "Experiments" } " " }
            a href="#about" { "About" }
        }
    }
}

/// The places that scripts fill. They are hidden until a script shows them.
fn scripted(runs: usize) -> Markup {
    html! {
        section #run.scripted aria-labelledby="run-heading" {
            h2 #run-heading { "One run" }
            div.picker {
                label for="run-filter" { "Runs with" }
                input #run-filter type="search" placeholder="words, such as netherite seed 3" autocomplete="off";
                label for="run-pick" { "Run" }
                select #run-pick {}
                button #run-previous type="button" { "Previous" }
                button #run-next type="button" { "Next" }
            }
            div #run-view aria-live="polite" {}
        }
        section #space-time.scripted aria-labelledby="space-time-heading" {
            h2 #space-time-heading { "Space-time view of the run" }
            div #space-time-view {}
        }
        @if runs > 1 {
            section #compare.scripted aria-labelledby="compare-heading" {
                h2 #compare-heading { "Compare two runs" }
                div.picker {
                    label for="compare-a" { "A" }
                    select #compare-a {}
                    label for="compare-b" { "B" }
                    select #compare-b {}
                    button #compare-swap type="button" { "Swap" }
                }
                div #compare-view aria-live="polite" {}
            }
        }
    }
}

fn about(report: &Report) -> Markup {
    html! {
        section #about aria-labelledby="about-heading" {
            h2 #about-heading { "About this page" }
            p {
                "Made by " code { "sim report" } " from the files of the results alone; nothing was run for it, and it loads nothing. "
                "The same files give the same page, byte by byte. Each run is repeated by its command, which has to print the digest that is shown; "
                "times are virtual. Colours of engines are those of the figures."
            }
            details {
                summary { "What the columns mean" }
                dl { @for metric in &super::metric::METRICS { dt { (metric.name) } dd { (metric.meaning) } } }
            }
            details {
                summary { "What the runs were made with" }
                (provenance(report))
            }
            details {
                summary { "Licence of the plots" }
                p { "Zoomable series are drawn by uPlot 1.6.32." }
                pre { (UPLOT_LICENSE) }
            }
        }
    }
}

/// Versions, as the results have them, with how many runs had each.
fn provenance(report: &Report) -> Markup {
    let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for run in &report.runs {
        *counts.entry(run.versions().unwrap_or_else(|| "not told".to_owned())).or_default() += 1;
    }
    html! {
        @if counts.is_empty() { p { "There are no single runs in this report." } }
        ul { @for (versions, count) in counts { li { (counted(count, "run")) ": " (versions) } } }
    }
}
