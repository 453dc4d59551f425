//! Bars in plain HTML: where latency goes, and how far latencies lie apart. They need no script and
//! fit any width; every number in them is also in a table beside.

use crate::figure::engine_color;
use crate::report::Report;
use crate::report::breakdown::{categories, hex, mean, of_group};
use crate::report::label::Group;
use crate::report::run::Run;
use maud::{Markup, html};

/// More groups than this are in tables only.
const GROUPS_MAX: usize = 60;
/// A part of a bar has its name written into it from this share of the bar's place on.
const NAMED_FROM: f64 = 0.09;

fn groups(report: &Report) -> impl Iterator<Item = &Group> {
    report.labels.groups.iter().take(GROUPS_MAX)
}

fn told(shown: usize, all: usize) -> Markup {
    html! { @if shown < all { p.note { "The first " (shown) " of " (all) " groups of runs; all runs are in the table." } } }
}

/// The bars of the breakdown, with their table.
pub(super) fn breakdown(report: &Report) -> Markup {
    let parts = groups(report).filter_map(|group| Some((group, of_group(group, &report.runs)?)));
    let parts: Vec<(&Group, Vec<f64>)> = parts.collect();
    if parts.is_empty() {
        return html! {};
    }
    let longest = parts.iter().map(|(_, parts)| parts.iter().sum::<f64>()).fold(0.0, f64::max);
    let used: Vec<bool> = categories()
        .enumerate()
        .map(|(n, _)| parts.iter().any(|(_, parts)| parts[n] > 0.0))
        .collect();
    html! {
        section #breakdown aria-labelledby="breakdown-heading" {
            h2 #breakdown-heading { "Where the latency goes" }
            p { "Mean latency along the critical path of each orchestration, by what it waited for; means over the runs of a group. "
                "Parts always sum to the whole latency." }
            ul.legend {
                @for (n, (name, color)) in categories().enumerate() {
                    @if used[n] { li { span.swatch style={ "background:" (color) } {} (name) } }
                }
            }
            label.choice { input #breakdown-full type="checkbox"; " every bar to full width (shares)" }
            div.bars {
                @for (group, parts) in &parts { (bar(&group.label, &group.engine, parts, longest)) }
            }
            details {
                summary { "The numbers, in milliseconds" }
                div.scroll tabindex="0" role="region" aria-label="Parts of the latency" {
                    table.sortable {
                        thead { tr {
                            th scope="col" { "runs" }
                            @for (n, (name, _)) in categories().enumerate() { @if used[n] { th.number scope="col" { (name) } } }
                            th.number scope="col" { "latency" }
                        } }
                        tbody { @for (group, parts) in &parts { tr {
                            th scope="row" { (group.label) }
                            @for (n, part) in parts.iter().enumerate() { @if used[n] { td.number { (format!("{part:.3}")) } } }
                            td.number { (format!("{:.3}", parts.iter().sum::<f64>())) }
                        } } }
                    }
                }
            }
            (told(groups(report).count(), report.labels.groups.len()))
        }
    }
}

/// One bar, as long as its sum by the longest.
pub(super) fn bar(label: &str, engine: &str, parts: &[f64], longest: f64) -> Markup {
    let sum: f64 = parts.iter().sum();
    let whole = if longest > 0.0 { sum / longest } else { 0.0 };
    let share = |part: f64| if sum > 0.0 { part / sum } else { 0.0 };
    let names: Vec<_> = categories().zip(parts).filter(|(_, part)| **part > 0.0).collect();
    let said = names.iter().map(|((name, _), part)| format!("{name} {part:.2} ms"));
    let said = said.collect::<Vec<_>>().join(", ");
    html! {
        div.row {
            div.name { span.swatch style={ "background:" (hex(engine_color(engine))) } {} (label) }
            div.track {
                div.bar role="img" aria-label={ (label) ": " (said) } style={ "--share:" (percent(whole)) } {
                    @for ((name, color), part) in &names {
                        span style={ "width:" (percent(share(**part))) ";background:" (color) ";color:" (ink(color)) }
                            title={ (name) " " (format!("{part:.3}")) " ms, " (percent(share(**part))) } {
                            @if whole * share(**part) > NAMED_FROM { (name) }
                        }
                    }
                }
                span.value { (short(sum)) " ms" }
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// Three digits and a unit are enough beside a bar.
fn short(value: f64) -> String {
    match value {
        value if value >= 1_000.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Black or white, whichever can be read on a colour `#RRGGBB`.
fn ink(color: &str) -> &'static str {
    let part = |at: usize| u32::from_str_radix(&color[at..at + 2], 16).unwrap_or(0);
    let luma = 299 * part(1) + 587 * part(3) + 114 * part(5);
    if luma > 130_000 { "#111" } else { "#fff" }
}

/// How far the latencies of each group lie apart.
struct Range<'a> {
    group: &'a Group,
    p50: f64,
    p95: f64,
    p99: f64,
}

/// The latencies of all groups on one logarithmic axis.
pub(super) fn ranges(report: &Report) -> Markup {
    let of = |group, value: fn(&Run) -> Option<f64>| mean(group, &report.runs, value);
    let range = |group| {
        let p50 = of(group, |run| run.summary.latency_ms.p50)?;
        let p95 = of(group, |run| run.summary.latency_ms.p95)?;
        Some(Range { group, p50, p95, p99: of(group, |run| run.summary.latency_ms.p99)? })
    };
    let ranges: Vec<Range<'_>> =
        groups(report).filter_map(range).filter(|range| range.p50 > 0.0).collect();
    if ranges.is_empty() {
        return html! {};
    }
    let least = ranges.iter().map(|range| range.p50).fold(f64::INFINITY, f64::min);
    let most = ranges.iter().map(|range| range.p99).fold(0.0, f64::max);
    let axis = Axis::over(least, most);
    html! {
        section #latency aria-labelledby="latency-heading" {
            h2 #latency-heading { "Latency" }
            p { "As engines report it, in milliseconds on a logarithmic axis: median (dot), up to the 95th percentile (bar) and the 99th (line); "
                "means over the runs of a group." }
            div.ranges {
                @for range in &ranges { (axis.row(range)) }
                div.row.axis aria-hidden="true" {
                    div.name {}
                    div.track { @for (at, label) in axis.ticks() { span.tick style={ "left:" (percent(at)) } { (label) } } }
                }
            }
            (told(groups(report).count(), report.labels.groups.len()))
        }
    }
}

/// A logarithmic axis from a decade to a later one.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    fn over(least: f64, most: f64) -> Axis {
        let (from, to) = (libm::floor(libm::log10(least)), libm::ceil(libm::log10(most)));
        Axis { from, to: if to > from { to } else { from + 1.0 } }
    }

    fn place(&self, value: f64) -> f64 {
        ((libm::log10(value) - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let decades = (self.to - self.from) as i32;
        let tick = |n: i32| {
            let decade = self.from as i32 + n;
            let label = if decade >= 0 {
                format!("{:.0}", libm::exp10(f64::from(decade)))
            } else {
                format!("0.{}1", "0".repeat((-decade - 1) as usize))
            };
            (f64::from(n) / f64::from(decades), label)
        };
        (0..=decades).map(tick).collect()
    }

    fn row(&self, range: &Range<'_>) -> Markup {
        let Range { group, p50, p95, p99 } = range;
        let color = hex(engine_color(&group.engine));
        let (from, bar, line) = (self.place(*p50), self.place(*p95), self.place(*p99));
        let said = format!("p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms");
        html! {
            div.row {
                div.name { span.swatch style={ "background:" (color) } {} (group.label) }
                div.track role="img" aria-label={ (group.label) ": " (said) } title=(said) {
                    @for (at, _) in self.ticks() { span.grid style={ "left:" (percent(at)) } {} }
                    span.line style={ "left:" (percent(from)) ";width:" (percent(line - from)) ";background:" (color) } {}
                    span.box style={ "left:" (percent(from)) ";width:" (percent(bar - from)) ";background:" (color) } {}
                    span.dot style={ "left:" (percent(from)) ";background:" (color) } {}
                    span.value { (short(*p50)) " · " (short(*p99)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_covers_what_is_on_it_by_decades() {
        let axis = Axis::over(0.05, 900.0);
        let labels: Vec<String> = axis.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0.01", "0.1", "1", "10", "100", "1000"]);
        assert!(axis.place(0.05) > 0.0 && axis.place(900.0) < 1.0);
        let point = Axis::over(10.0, 10.0);
        assert_eq!(point.ticks().len(), 2);
    }

    #[test]
    fn names_in_bars_can_be_read() {
        assert_eq!(ink("#332288"), "#fff");
        assert_eq!(ink("#DDCC77"), "#111");
    }
}
