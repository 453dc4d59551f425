//! The tables of a result. Spans are written from whole nanoseconds, without floating point.

use crate::autoscale::HOSTS;
use crate::handover::Handover;
use crate::measure;
use crate::run::{MARK_INTERVAL, RunOutcome};
use crate::stuck::Stuck;
use crate::workload::Orchestrations;
use csv::Writer;
use sim_model::ledger::Category;
use sim_model::time::{Timestamp, nanos};
use sim_world::kernel::EventTrail;
use sim_world::meter::OperationSeries;
use std::time::Duration;

/// Builds a table in memory, where writing cannot fail.
struct Table(Writer<Vec<u8>>);

impl Table {
    fn new<S: AsRef<[u8]>>(heading: impl IntoIterator<Item = S>) -> Table {
        let mut table = Table(Writer::from_writer(Vec::new()));
        table.row(heading);
        table
    }

    fn row<S: AsRef<[u8]>>(&mut self, fields: impl IntoIterator<Item = S>) {
        self.0.write_record(fields).expect("invariant: rows are as long as the heading");
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("invariant: writing to memory succeeds")
    }
}

/// Milliseconds, exact to the nanosecond.
fn millis(span: Duration) -> String {
    let nanos = nanos(span);
    format!("{}.{:06}", nanos / 1_000_000, nanos % 1_000_000)
}

/// `stuck.csv`: a row for each orchestration or job that has not ended, by index.
pub(super) fn stuck(outcome: &RunOutcome) -> Vec<u8> {
    let mut table = Table::new(["instance", "at_ns", "waits_for", "since_ns", "detail"]);
    for Stuck { instance, at, waiting } in &outcome.stuck {
        let since = waiting.since.map(|since| since.as_nanos().to_string());
        table.row([
            instance.to_string(),
            at.as_nanos().to_string(),
            waiting.kind.to_owned(),
            since.unwrap_or_default(),
            waiting.detail.clone(),
        ]);
    }
    table.finish()
}

/// `latency.csv`: one row for each orchestration or job, by index.
pub(super) fn latency(outcome: &RunOutcome, orchestrations: &Orchestrations) -> Vec<u8> {
    let fixed =
        ["instance", "created_ns", "last_updated_ns", "latency_ms", "client_latency_ms", "status"];
    let parts = Category::ALL.map(|category| format!("{}_ms", category.name()));
    let mut table = Table::new(fixed.into_iter().map(str::to_owned).chain(parts));
    for (index, record) in outcome.records.iter().enumerate() {
        let ended = record.outcome != crate::Outcome::Running;
        let shown = |text: String| if ended { text } else { String::new() };
        let fields = [
            orchestrations.instance(index as u64).to_string(),
            shown(record.created.as_nanos().to_string()),
            shown(record.last_updated.as_nanos().to_string()),
            shown(millis(record.latency())),
            record.client_latency.map(millis).unwrap_or_default(),
            record.outcome.name().to_owned(),
        ];
        let part = |category| record.timing.map(|timing| millis(timing.get(category)));
        let parts = Category::ALL.map(|category| part(category).unwrap_or_default());
        table.row(fields.into_iter().chain(parts));
    }
    table.finish()
}

/// `operations.csv`: all kinds, with counters and messages, which have no price.
pub(super) fn operations(outcome: &RunOutcome) -> Vec<u8> {
    let mut table = Table::new([
        "service",
        "kind",
        "count",
        "bytes_in",
        "bytes_out",
        "per_orchestration",
        "price_usd",
    ]);
    let completed = outcome.summary.orchestrations.completed;
    for (counted, price) in outcome.operations.iter().zip(&outcome.prices_usd) {
        let each = match completed {
            0 => String::new(),
            _ => format!("{:.3}", counted.count as f64 / completed as f64),
        };
        table.row([
            counted.service.clone(),
            counted.kind.clone(),
            counted.count.to_string(),
            counted.bytes_in.to_string(),
            counted.bytes_out.to_string(),
            each,
            format!("{:.12}", counted.count as f64 * price),
        ]);
    }
    table.finish()
}

/// `timeseries.csv`: one row for each second of virtual time.
pub(super) fn timeseries(outcome: &RunOutcome) -> Vec<u8> {
    let series = &outcome.operation_series;
    let name = |series: &OperationSeries| format!("{}.{}", series.service, series.kind);
    let fixed = ["second", "started", "ended"].map(str::to_owned);
    let mut table = Table::new(fixed.into_iter().chain(series.iter().map(name)));
    let columns: Vec<&[u32]> = [&outcome.started_per_second[..], &outcome.ended_per_second[..]]
        .into_iter()
        .chain(series.iter().map(|series| &series.per_second[..]))
        .collect();
    let seconds = columns.iter().map(|column| column.len()).max().unwrap_or(0);
    for second in 0..seconds {
        let counts =
            columns.iter().map(|column| column.get(second).copied().unwrap_or(0).to_string());
        table.row(std::iter::once(second.to_string()).chain(counts));
    }
    table.finish()
}

/// `levels.csv`: one row for each change of each level, by time and then by name.
pub(super) fn levels(outcome: &RunOutcome) -> Vec<u8> {
    let mut table = Table::new(["time_s", "what", "value"]);
    let mut changes: Vec<(Timestamp, &str, u64)> = Vec::new();
    for (what, series) in &outcome.levels {
        changes.extend(series.iter().map(|(at, value)| (*at, *what, *value)));
    }
    changes.sort_unstable();
    for (at, what, value) in changes {
        table.row([seconds(at), what.to_owned(), value.to_string()]);
    }
    table.finish()
}

/// An instant in seconds, exactly.
fn seconds(at: Timestamp) -> String {
    let nanos = at.as_nanos();
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// `handovers.csv`: one row for each partition that went from one life of a host to another.
pub(super) fn handovers(outcome: &RunOutcome) -> Vec<u8> {
    let heading = ["partition", "from_host", "from_life", "to_host", "to_life"];
    let mut table = Table::new(heading.into_iter().chain(["last_s", "first_s", "still_ms"]));
    for Handover { partition, from, to, last, first } in &outcome.handovers {
        let owners = [from.host.to_string(), from.life.to_string(), to.host.to_string()];
        let times = [to.life.to_string(), seconds(*last), seconds(*first)];
        let still = millis(first.since(*last));
        table.row([partition.to_string()].into_iter().chain(owners).chain(times).chain([still]));
    }
    table.finish()
}

/// `counters.csv`: the engine's counters, CPU time of each host, and the cost in its three parts.
pub(super) fn counters(outcome: &RunOutcome) -> Vec<u8> {
    let mut table = Table::new(["what", "value"]);
    for (name, value) in &outcome.counters {
        table.row([format!("engine {name}"), value.to_string()]);
    }
    if outcome.levels.contains_key(HOSTS) {
        table.row(["time that hosts are paid for ms".to_owned(), millis(outcome.host_time)]);
    }
    for (host, used) in outcome.cpu_used.iter().enumerate() {
        table.row([format!("cpu of host {host} ms"), millis(*used)]);
    }
    let cost = &outcome.cost;
    for (part, usd) in [
        ("compute", cost.compute_usd),
        ("operations", cost.operations_usd),
        ("reserved", cost.reserved_usd),
    ] {
        table.row([format!("cost of {part} usd"), format!("{:.12}", measure::round(usd, 12))]);
    }
    table.row(["results digest".to_owned(), outcome.results_digest.clone()]);
    table.finish()
}

/// `events.csv`: the hash over all events up to each mark, and up to the last event.
pub(super) fn events(trail: &EventTrail) -> Vec<u8> {
    let mut table = Table::new(["events", "digest"]);
    for (index, mark) in trail.marks.iter().enumerate() {
        let events = (index as u64 + 1) * trail.mark_interval;
        table.row([events.to_string(), format!("{mark:016x}")]);
    }
    table.row([trail.events.to_string(), format!("{:016x}", trail.digest)]);
    table.finish()
}

/// Reads `events.csv`.
///
/// # Errors
/// What is wrong with the text, and where.
pub(crate) fn parse_events(text: &[u8]) -> Result<EventTrail, String> {
    let mut rows: Vec<(u64, u64)> = Vec::new();
    for (index, record) in csv::Reader::from_reader(text).records().enumerate() {
        let line = index + 2;
        let record = record.map_err(|error| format!("line {line}: {error}"))?;
        let number = |field: usize, radix: u32| {
            let text = record.get(field).unwrap_or_default();
            u64::from_str_radix(text, radix)
                .map_err(|error| format!("line {line}, field {}: {text:?}: {error}", field + 1))
        };
        rows.push((number(0, 10)?, number(1, 16)?));
    }
    let (events, digest) = rows.pop().ok_or("there is no last row with the digest")?;
    for (index, (events, _)) in rows.iter().enumerate() {
        let expected = (index as u64 + 1) * MARK_INTERVAL;
        if *events != expected {
            return Err(format!("line {}: found {events} events, expected {expected}", index + 2));
        }
    }
    if events / MARK_INTERVAL != rows.len() as u64 {
        return Err(format!("{} marks do not fit {events} events", rows.len()));
    }
    let marks = rows.into_iter().map(|(_, mark)| mark).collect();
    Ok(EventTrail { digest, events, mark_interval: MARK_INTERVAL, marks, window: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_to_the_nanosecond() {
        assert_eq!(millis(Duration::from_nanos(12_345_678)), "12.345678");
        assert_eq!(millis(Duration::ZERO), "0.000000");
    }

    #[test]
    fn marks_survive_being_written() {
        let trail = EventTrail {
            digest: 0xabc,
            events: 2 * MARK_INTERVAL + 5,
            mark_interval: MARK_INTERVAL,
            marks: vec![7, u64::MAX],
            window: Vec::new(),
        };
        assert_eq!(parse_events(&events(&trail)), Ok(trail));
    }

    #[test]
    fn a_file_of_marks_that_is_cut_off_is_refused() {
        let heading = "events,digest\n";
        for (rows, message) in [
            ("", "there is no last row with the digest"),
            ("4096,00\n8192,00\n", "1 marks do not fit 8192 events"),
            ("4096,xyz\n", "line 2, field 2: \"xyz\": invalid digit found in string"),
            ("4095,00\n5000,00\n", "line 2: found 4095 events, expected 4096"),
        ] {
            let error = parse_events(format!("{heading}{rows}").as_bytes()).expect_err(rows);
            assert_eq!(error, message);
        }
    }
}
