//! The data that scripts draw from: one JSON object in the page.
//!
//! | key | holds |
//! |---|---|
//! | `strings` | texts that runs have in common; elsewhere they are told by their index here |
//! | `fractions` | at which the quantiles of every distribution were taken |
//! | `metrics` | name, meaning, digits, and which of two values is better (1 more, -1 less, 0 neither) |
//! | `categories` | name and colour of each part of a latency |
//! | `groups` | label, engine and runs of each group |
//! | `runs` | what is known of each run, in the order of the table |
//!
//! Numbers are rounded to six significant digits, which is finer than a pixel.

use super::Report;
use super::breakdown::{categories, hex, of_run};
use super::latency::fractions_of_one;
use super::metric::METRICS;
use super::run::{Disturbance, Run};
use super::series::{Curve, Plot};
use super::table::Table;
use super::trace::SpaceTime;
use crate::checks::Check;
use crate::figure::engine_color;
use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use serde_json::{Value, json};

/// The data of a report, as text that is safe within a `<script>` element.
pub(super) fn of(report: &Report) -> String {
    let mut strings = Strings::default();
    let runs: Vec<Value> = report
        .runs
        .iter()
        .enumerate()
        .map(|(index, run)| of_one(report, index, run, &mut strings))
        .collect();
    let groups = report.labels.groups.iter().map(|group| {
        json!({ "label": group.label, "engine": group.engine,
            "color": hex(engine_color(&group.engine)), "runs": group.runs })
    });
    let metrics = METRICS.iter().map(|metric| {
        json!({ "name": metric.name, "meaning": metric.meaning, "digits": metric.digits,
            "better": metric.better.sign() })
    });
    let categories = categories().map(|(name, color)| json!({ "name": name, "color": color }));
    let whole = json!({
        "fractions": fractions_of_one().map(number).collect::<Vec<_>>(),
        "metrics": metrics.collect::<Vec<_>>(),
        "categories": categories.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "runs": runs,
        "strings": strings.0,
    });
    inert(&whole.to_string())
}

/// JSON in which nothing can end a `<script>` element, begin a comment, or break a line of script.
pub(super) fn inert(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text += &format!("\\u{:04x}", u32::from(letter));
            }
            _ => text.push(letter),
        }
    }
    text
}

/// Texts, each of them once.
#[derive(Default)]
struct Strings(IndexSet<String, FxBuildHasher>);

impl Strings {
    fn index(&mut self, text: &str) -> Value {
        if let Some(index) = self.0.get_index_of(text) {
            return json!(index);
        }
        json!(self.0.insert_full(text.to_owned()).0)
    }

    fn indices<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> Vec<Value> {
        texts.into_iter().map(|text| self.index(text)).collect()
    }
}

/// A number with six significant digits, whole if it is.
fn number(value: f64) -> Value {
    if value == 0.0 || !value.is_finite() {
        return json!(0);
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return json!(value as i64);
    }
    let rounded: f64 = format!("{value:.5e}").parse().expect("invariant: a number was written");
    json!(rounded)
}

fn numbers(values: &[Option<f64>]) -> Value {
    values.iter().map(|value| value.map_or(Value::Null, number)).collect()
}

fn of_one(report: &Report, index: usize, run: &Run, strings: &mut Strings) -> Value {
    let quantiles = |of: &Option<Vec<f64>>| {
        of.as_ref().map(|of| of.iter().map(|value| number(*value)).collect::<Vec<_>>())
    };
    let metrics: Vec<Option<f64>> = METRICS.iter().map(|metric| (metric.of)(run)).collect();
    let checks =
        run.summary.checks.iter().map(|check| of_check(check, strings)).collect::<Vec<_>>();
    let breakdown = of_run(run).map(|parts| parts.into_iter().map(number).collect::<Vec<_>>());
    let faults = run.disturbances.iter().map(|Disturbance { name, from, to }| {
        json!([strings.index(name), number(*from), number(*to)])
    });
    let faults = faults.collect::<Vec<_>>();
    json!({
        "name": run.name,
        "label": report.labels.of_run(run, index),
        "engine": run.spec.engine,
        "workload": strings.index(&run.summary.workload),
        "color": hex(engine_color(&run.spec.engine)),
        "group": report.labels.group_of[index],
        "seed": run.spec.seed,
        "digest": run.summary.digest,
        "command": run.command(),
        "spec": strings.indices(run.spec_text.lines()),
        "versions": run.versions().map(|versions| strings.index(&versions)),
        "wall": run.provenance.as_ref().map(|of| number(of.wall_seconds)),
        "metrics": numbers(&metrics),
        "checks": checks,
        "breakdown": breakdown,
        "latency": quantiles(&run.latency),
        "client": quantiles(&run.client_latency),
        "operations": run.operations.as_ref().map(|table| of_operations(table, strings)),
        "counters": run.counters.as_ref().map(|table| of_pairs(table, strings)),
        "stuck": run.stuck.as_ref().map(|table| table.rows.len()),
        "faults": faults,
        "width": run.series.width,
        "plots": run.series.plots.iter().map(|plot| of_plot(plot, strings)).collect::<Vec<_>>(),
        "trace": run.trace.as_ref().map(|view| of_trace(view, strings)),
    })
}

fn of_check(check: &Check, strings: &mut Strings) -> Value {
    let history = strings.indices(check.history.iter().map(String::as_str));
    json!([strings.index(&check.name), check.verdict.name(), strings.index(&check.detail), history])
}

fn of_plot(plot: &Plot, strings: &mut Strings) -> Value {
    let curve = |Curve { name, values }: &Curve| json!([strings.index(name), numbers(values)]);
    json!({ "title": plot.title, "curves": plot.curves.iter().map(curve).collect::<Vec<_>>() })
}

/// A cell: a number if it is one, or the index of a text.
fn cell(text: &str, strings: &mut Strings) -> Value {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => number(value),
        _ => json!([strings.index(text)]),
    }
}

/// Rows of `operations.csv`: the name `service.kind`, then the columns after these two.
fn of_operations(table: &Table, strings: &mut Strings) -> Value {
    let row = |row: &Vec<String>| {
        let name = row.iter().take(2).cloned().collect::<Vec<_>>().join(".");
        let cells = row.iter().skip(2).map(|text| cell(text, strings)).collect::<Vec<_>>();
        std::iter::once(json!([strings.index(&name)])).chain(cells).collect::<Vec<_>>()
    };
    let rows = table.rows.iter().map(row).collect::<Vec<_>>();
    let heading = table.heading.iter().skip(2).map(String::as_str);
    json!({ "heading": strings.indices(std::iter::once("operation").chain(heading)), "rows": rows })
}

/// Rows as they are.
fn of_pairs(table: &Table, strings: &mut Strings) -> Value {
    let row = |row: &Vec<String>| row.iter().map(|text| cell(text, strings)).collect::<Vec<_>>();
    let rows = table.rows.iter().map(row).collect::<Vec<_>>();
    json!({ "heading": strings.indices(table.heading.iter().map(String::as_str)), "rows": rows })
}

/// Times are nanoseconds from the beginning of the window.
fn of_trace(view: &SpaceTime, strings: &mut Strings) -> Value {
    let from = |at: u64| at as i64 - view.from as i64;
    let lanes = view
        .lanes
        .iter()
        .map(|lane| json!([strings.index(&lane.process), strings.index(&lane.thread)]));
    let lanes = lanes.collect::<Vec<_>>();
    let spans = view.spans.iter().map(|span| {
        let names = (strings.index(&span.name), strings.index(&span.category));
        json!([span.lane, from(span.at), span.lasting, names.0, names.1])
    });
    let spans = spans.collect::<Vec<_>>();
    let arrows = view.arrows.iter().map(|arrow| {
        json!([
            arrow.from,
            from(arrow.sent),
            arrow.to,
            from(arrow.arrived),
            strings.index(&arrow.name)
        ])
    });
    let arrows = arrows.collect::<Vec<_>>();
    let faults = view.faults.iter().map(|fault| {
        json!([fault.lane, from(fault.at), fault.lasting, strings.index(&fault.name)])
    });
    let faults = faults.collect::<Vec<_>>();
    json!({
        "from": view.from, "to": view.to, "traceFrom": view.trace_from, "traceTo": view.trace_to,
        "leftOut": view.left_out, "cutAt": view.cut_at, "lanes": lanes, "spans": spans, "arrows": arrows, "faults": faults,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_end_the_script_it_stands_in() {
        let text = json!(["</script><script>alert(1)", "<!--", "a & b", "\u{2028}"]).to_string();
        let inert = inert(&text);
        assert!(!inert.contains(['<', '>', '&', '\u{2028}']), "{inert}");
        let read: Vec<String> = serde_json::from_str(&inert).expect("still JSON");
        assert_eq!(read[0], "</script><script>alert(1)");
    }

    #[test]
    fn numbers_keep_six_digits() {
        assert_eq!(number(1234.56789).to_string(), "1234.57");
        assert_eq!(number(3.0).to_string(), "3");
        assert_eq!(number(0.000_001_234_567_8).to_string(), "1.23457e-6");
        assert_eq!(number(f64::NAN).to_string(), "0");
    }
}
