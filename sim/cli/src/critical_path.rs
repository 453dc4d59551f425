//! The critical path of one orchestration, for a person and as JSON.
//!
//! Times of lines are rounded to the microsecond; the sums below them, and the JSON, are exact.

use crate::terminal::Look;
use crate::text::{INDENT, number, table, wrap};
use serde_json::{Map, Value, json};
use sim_lab::critical_path::{CriticalPath, Element, Stretch, Turn};
use sim_lab::explain::Explanation;
use sim_model::ledger::{Category, Timing};
use sim_model::time::{Timestamp, nanos};
use std::time::Duration;

/// Columns from which on a line has room for categories in a column of their own.
const WIDE: usize = 60;

/// Milliseconds with three digits.
fn millis(span: Duration) -> String {
    format!("{:.3}", nanos(span) as f64 / 1e6)
}

/// Milliseconds, exact to the nanosecond.
fn exact(span: Duration) -> String {
    let nanos = nanos(span);
    format!("{}.{:06}", nanos / 1_000_000, nanos % 1_000_000)
}

/// The parts of a timing, the longest first.
fn parts(timing: &Timing) -> Vec<(Category, Duration)> {
    let all = Category::ALL.into_iter().map(|part| (part, timing.get(part)));
    let mut parts: Vec<_> = all.filter(|(_, span)| !span.is_zero()).collect();
    parts.sort_by_key(|(_, span)| std::cmp::Reverse(*span));
    parts
}

/// The explanation for a person.
pub(crate) fn page(found: &Explanation, look: Look) -> String {
    let path = &found.explained.path;
    let mut page = heading(found, look);
    page.push('\n');
    page.push_str(&look.heading("Step by step"));
    page.push('\n');
    for element in &path.elements {
        page.push_str(&match element {
            Element::Turn(turn) => of_turn(turn, path.created, look),
            Element::Stretch(stretch) => of_stretch(stretch, look),
        });
    }
    page.push('\n');
    page.push_str(&look.heading("Where the latency goes"));
    page.push('\n');
    page.push_str(&sums(path, look));
    page
}

fn heading(found: &Explanation, look: Look) -> String {
    let (summary, explained) = (&found.summary, &found.explained);
    let path = &explained.path;
    let mut page = look.heading(path.instance.as_str());
    page.push('\n');
    let digest = match found.is_same_run() {
        Some(true) => "as in summary.json",
        Some(false) => "NOT that of summary.json",
        None => "not compared",
    };
    let run = format!(
        "engine {}, workload {}, seed {}, digest {} ({digest})",
        summary.engine, summary.workload, summary.seed, summary.digest
    );
    let (rank, of) = (explained.rank, explained.of);
    let place = match rank == of {
        true => format!("the slowest of {of} orchestrations"),
        false => format!("{rank} of {of} orchestrations took as long or less"),
    };
    let latency = format!(
        "{} in {} ms, from its creation at {} to its last update at {}; {place}",
        path.status,
        millis(path.latency()),
        seconds(path.created),
        seconds(path.last_updated),
    );
    for text in [run, latency] {
        page.push_str(&wrap(&text, look.columns, INDENT, INDENT));
    }
    page
}

fn seconds(at: Timestamp) -> String {
    format!("{:.6} s", at.as_secs_f64())
}

/// `+12.346 ms  a step of 000017 ... sends message 0`.
fn of_turn(turn: &Turn, created: Timestamp, look: Look) -> String {
    let at = match turn.at < created {
        true => format!("-{}", millis(created.since(turn.at))),
        false => format!("+{}", millis(turn.at.since(created))),
    };
    wrap(&format!("{at} ms: {}", turn.words), look.columns, INDENT, 2 * INDENT)
}

/// `21.034 ms  batching  waited for the batch before it to be sent`.
fn of_stretch(stretch: &Stretch, look: Look) -> String {
    let took = millis(stretch.until.since(stretch.from));
    let parts = parts(&stretch.parts);
    let main = parts.first().map_or("", |(category, _)| category.name());
    let all = parts.iter().map(|(category, span)| format!("{} {}", category.name(), millis(*span)));
    let split = match parts.len() {
        0 | 1 => String::new(),
        _ => format!(" ({})", all.collect::<Vec<_>>().join(", ")),
    };
    let words = format!("{}{split}", stretch.words);
    if look.columns < WIDE {
        let text = format!("{took} ms {main}: {words}");
        return wrap(&text, look.columns, 2 * INDENT, 3 * INDENT);
    }
    let begin = format!("{took:>12} ms  {main:<11} ");
    let indent = begin.chars().count();
    begin + wrap(&words, look.columns, indent, indent).trim_start()
}

fn sums(path: &CriticalPath, look: Look) -> String {
    let total = path.latency();
    let share = |span: Duration| {
        let share = (!total.is_zero()).then(|| span.as_secs_f64() / total.as_secs_f64() * 100.0);
        format!("{} %", number(share, 1))
    };
    let row = |name: &str, span: Duration| vec![name.to_owned(), exact(span), share(span)];
    let mut rows: Vec<Vec<String>> =
        parts(&path.timing).into_iter().map(|(part, span)| row(part.name(), span)).collect();
    rows.push(row("latency", path.timing.total()));
    let mut page = table(&["", "ms", "share"], &rows, 1, look.columns);
    let left_out = parts(&path.uncounted);
    if !left_out.is_empty() {
        let all = left_out.iter().map(|(part, span)| format!("{} {}", part.name(), exact(*span)));
        let text = format!(
            "Of the steps above these ms lie outside of creation and last update as the engine keeps \
             them, and are not counted: {}.",
            all.collect::<Vec<_>>().join(", ")
        );
        page.push_str(&wrap(&text, look.columns, INDENT, INDENT));
    }
    page
}

fn nanos_by_category(timing: &Timing) -> Value {
    let all = Category::ALL.into_iter();
    let parts = all.map(|part| (part.name().to_owned(), nanos(timing.get(part)).into()));
    Value::Object(parts.collect::<Map<String, Value>>())
}

/// The explanation as one JSON object.
pub(crate) fn json(found: &Explanation) -> String {
    let (summary, explained) = (&found.summary, &found.explained);
    let path = &explained.path;
    let elements = path.elements.iter().map(|element| match element {
        Element::Turn(Turn { at, words, work_item, host, message }) => json!({
            "kind": "turn",
            "at_ns": at.as_nanos(),
            "words": words,
            "work_item": work_item.map(|item| item.0),
            "host": host,
            "message": message,
        }),
        Element::Stretch(Stretch { from, until, parts: timing, words }) => json!({
            "kind": "stretch",
            "from_ns": from.as_nanos(),
            "until_ns": until.as_nanos(),
            "words": words,
            "parts_ns": Value::Object(
                parts(timing)
                    .into_iter()
                    .map(|(part, span)| (part.name().to_owned(), nanos(span).into()))
                    .collect(),
            ),
        }),
    });
    let object = json!({
        "instance": path.instance.as_str(),
        "status": path.status,
        "engine": summary.engine,
        "workload": summary.workload,
        "seed": summary.seed,
        "digest": summary.digest,
        "recorded_digest": found.recorded,
        "rank": explained.rank,
        "of": explained.of,
        "created_ns": path.created.as_nanos(),
        "last_updated_ns": path.last_updated.as_nanos(),
        "latency_ns": nanos(path.latency()),
        "timing_ns": nanos_by_category(&path.timing),
        "uncounted_ns": nanos_by_category(&path.uncounted),
        "elements": elements.collect::<Vec<_>>(),
    });
    format!("{object}\n")
}
