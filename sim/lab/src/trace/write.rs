//! Traces as Chrome trace JSON.
//!
//! Written by hand but for texts and arguments: the format wants times in microseconds as numbers with
//! digits after the point, which are exact to the nanosecond here.

use super::build::{Event, Phase, Trace};
use crate::summary::Summary;
use serde_json::{Value, json};
use sim_model::time::{Timestamp, nanos};
use std::fmt::Write;

/// Microseconds with three digits.
fn micros(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1_000, nanos % 1_000)
}

fn at(timestamp: Timestamp) -> String {
    micros(timestamp.as_nanos())
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
        Phase::Span(dur) => ("X", format!(",\"dur\":{}", micros(nanos(dur)))),
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
