//! Traces as Chrome trace JSON.
//!
//! Written by hand but for texts and arguments: the format wants times in microseconds as numbers with
//! digits after the point, which are exact to the nanosecond here (but see [`duration`]).

use super::build::{Event, Phase, Trace};
use crate::summary::Summary;
use serde_json::{Value, json};
use sim_model::time::{Timestamp, nanos};
use std::fmt::Write;
use std::time::Duration;

/// Microseconds with three digits.
fn micros(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1_000, nanos % 1_000)
}

fn at(timestamp: Timestamp) -> String {
    micros(timestamp.as_nanos())
}

/// How long a span lasts, in microseconds. Viewers add it to the start as binary numbers; where that would come
/// out beyond the end, and so within the neighbour, which is then drawn as a part of it, the span is written a
/// tenth of a nanosecond shorter.
fn duration(from: Timestamp, span: Duration) -> String {
    let exact = micros(nanos(span));
    let number = |text: &str| text.parse::<f64>().expect("invariant: a number was written");
    let ends = number(&at(from + span));
    if number(&at(from)) + number(&exact) <= ends {
        return exact;
    }
    let shorter = micros(nanos(span) - 1) + "9";
    debug_assert!(number(&at(from)) + number(&shorter) <= ends, "{exact} from {from}");
    shorter
}

impl Trace {
    /// The trace as JSON, a line for each event. The summary is that of its run.
    pub fn write(&self, summary: &Summary) -> String {
        let mut text = String::with_capacity(self.events.len() * 160);
        text.push_str("{\"traceEvents\":[\n");
        let mut lines = self.names();
        lines.extend(self.events.iter().map(line));
        text.push_str(&lines.join(",\n"));
        text.push_str("\n],\"otherData\":");
        text.push_str(&self.other_data(summary).to_string());
        text.push_str("}\n");
        text
    }

    /// The names of tracks, and their order.
    fn names(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut name = |what: &str, process: u32, thread: Option<u32>, args: Value| {
            let mut event = json!({"ph": "M", "name": what, "pid": process});
            if let Some(thread) = thread {
                event["tid"] = thread.into();
            }
            event["args"] = args;
            lines.push(event.to_string());
        };
        for (index, process) in self.processes.iter().enumerate() {
            name("process_name", process.number, None, json!({"name": process.name}));
            name("process_sort_index", process.number, None, json!({"sort_index": index}));
            for (index, thread) in process.threads.iter().enumerate() {
                let (process, thread_number) = (process.number, Some(thread.number));
                name("thread_name", process, thread_number, json!({"name": thread.name}));
                name("thread_sort_index", process, thread_number, json!({"sort_index": index}));
            }
        }
        lines
    }

    fn other_data(&self, summary: &Summary) -> Value {
        let mut data = json!({
            "engine": summary.engine,
            "workload": summary.workload,
            "seed": summary.seed,
            "digest": summary.digest,
            "events_max": self.events_max,
        });
        if let Some(cut) = self.cut {
            data["cut_at_us"] = json!(cut.at.as_nanos() / 1_000);
            data["left_out"] = json!(cut.left_out);
        }
        data
    }
}

fn line(event: &Event) -> String {
    let (phase, more) = match event.phase {
        Phase::Span(dur) => ("X", format!(",\"dur\":{}", duration(event.at, dur))),
        Phase::Instant => ("i", ",\"s\":\"t\"".to_owned()),
        Phase::ArrowBegins(id) => ("s", format!(",\"id\":{id}")),
        Phase::ArrowEnds(id) => ("f", format!(",\"id\":{id},\"bp\":\"e\"")),
    };
    let mut line = format!(
        "{{\"ph\":\"{phase}\",\"ts\":{}{more},\"pid\":{},\"tid\":{},\"cat\":\"{}\",\"name\":{}",
        at(event.at),
        event.process,
        event.thread,
        event.category,
        text(&event.name),
    );
    if !event.args.is_empty() {
        line.push_str(",\"args\":{");
        for (index, (name, value)) in event.args.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let written = write!(line, "{comma}\"{name}\":{value}");
            written.expect("invariant: writing to memory succeeds");
        }
        line.push('}');
    }
    line.push('}');
    line
}

fn text(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Within a day of virtual time, and for spans of up to an hour.
        #[test]
        fn no_span_reaches_into_its_neighbour(
            from in 0..86_400_000_000_000_u64,
            span in 0..3_600_000_000_000_u64,
        ) {
            let (from, span) = (Timestamp::from_nanos(from), Duration::from_nanos(span));
            let number = |text: String| text.parse::<f64>().expect("a number");
            let (written, exact) = (number(duration(from, span)), number(micros(nanos(span))));
            prop_assert!(number(at(from)) + written <= number(at(from + span)));
            prop_assert!(exact - written < 0.000_2, "{} {}", written, exact);
        }
    }

    #[test]
    fn a_span_whose_binary_end_is_late_is_written_shorter() {
        let late = |ends: u64| {
            let (from, span) = (Timestamp::from_nanos(100), Duration::from_nanos(ends - 100));
            duration(from, span) != micros(nanos(span))
        };
        let count = (101..10_000).filter(|ends| late(*ends)).count();
        assert!((100..9_000).contains(&count), "some are, some are not: {count}");
        assert_eq!(duration(Timestamp::from_nanos(100), Duration::from_nanos(200)), "0.1999");
        assert_eq!(duration(Timestamp::from_nanos(100), Duration::from_nanos(100)), "0.100");
    }
}
