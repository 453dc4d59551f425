//! Reading the trace event format, and taking a window out of it.

use super::{Arrow, FaultSpan, Lane, SpaceTime, Span, Window};
use crate::report::ReportError;
use crate::report::find::natural;
use crate::span;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// So much of the window lies before its first fault, if nobody asked for another.
const LEAD_NANOS: u64 = 20_000_000;

/// The identity of a process, thread or flow: numbers by most writers, texts by some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
}

impl Default for Id {
    fn default() -> Id {
        Id::Number(0)
    }
}

/// What is read of the values of an event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Values<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    sort_index: Option<f64>,
}

/// An event, of which only what is drawn is read.
#[derive(Debug, Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    ph: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    cat: Cow<'a, str>,
    /// Microseconds.
    #[serde(default)]
    ts: f64,
    #[serde(default)]
    dur: f64,
    #[serde(default)]
    pid: Id,
    #[serde(default)]
    tid: Id,
    #[serde(default)]
    id: Id,
    #[serde(borrow, default)]
    args: Values<'a>,
}

impl Event<'_> {
    fn at(&self) -> u64 {
        nanos(self.ts)
    }

    fn end(&self) -> u64 {
        nanos(self.ts + self.dur)
    }

    fn key(&self) -> Key {
        (self.pid.clone(), self.tid.clone())
    }

    fn is_fault(&self) -> bool {
        self.cat.split(',').any(|category| category == "fault")
    }

    /// Whether it happens at some time, and is not about names.
    fn is_timed(&self) -> bool {
        matches!(self.ph.as_ref(), "X" | "s" | "t" | "f" | "i" | "I")
    }
}

fn nanos(micros: f64) -> u64 {
    (micros * 1e3).round().max(0.0) as u64
}

/// A process and a thread of it.
type Key = (Id, Id);

/// The two forms of a file: a list of events, or an object that has one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    #[serde(borrow)]
    trace_events: Vec<Event<'a>>,
    #[serde(default)]
    other_data: Other,
}

/// What a trace says of itself: where it was cut, if it had too many events.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Other {
    cut_at_us: Option<u64>,
}

/// A message under way: who sent it, when, and what it is called.
struct Sent<'a> {
    key: Key,
    at: u64,
    name: &'a str,
}

/// A whole trace.
pub(super) struct Trace<'a> {
    events: Vec<Event<'a>>,
    cut_at: Option<u64>,
    /// Names and sort indices of processes and threads.
    processes: BTreeMap<Id, (f64, String)>,
    threads: BTreeMap<Key, (f64, String)>,
}

impl<'a> Trace<'a> {
    /// Reads a trace.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Trace<'a>, String> {
        let is_list = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        let whole = match is_list {
            true => serde_json::from_slice(bytes)
                .map(|trace_events| Whole { trace_events, other_data: Other::default() }),
            false => serde_json::from_slice(bytes),
        };
        let Whole { trace_events: events, other_data } =
            whole.map_err(|error| error.to_string())?;
        let cut_at = other_data.cut_at_us.map(|micros| micros.saturating_mul(1_000));
        let mut trace =
            Trace { events, cut_at, processes: BTreeMap::new(), threads: BTreeMap::new() };
        trace.read_names();
        if trace.events.iter().any(|event| event.ts < 0.0 || event.dur < 0.0) {
            return Err("an event has a time or a duration below 0".to_owned());
        }
        Ok(trace)
    }

    fn read_names(&mut self) {
        for event in self.events.iter().filter(|event| event.ph == "M") {
            let place = match event.name.as_ref() {
                "process_name" | "process_sort_index" => {
                    self.processes.entry(event.pid.clone()).or_default()
                }
                "thread_name" | "thread_sort_index" => self.threads.entry(event.key()).or_default(),
                _ => continue,
            };
            if let Some(name) = &event.args.name {
                place.1 = name.clone().into_owned();
            }
            place.0 = event.args.sort_index.unwrap_or(place.0);
        }
    }

    fn process(&self, id: &Id) -> String {
        let known = self.processes.get(id).map(|(_, name)| name.clone());
        known.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("process {}", shown(id)))
    }

    fn lane(&self, key: &Key) -> Lane {
        let known = self.threads.get(key).map(|(_, name)| name.clone());
        let thread = known.filter(|name| !name.is_empty());
        Lane { process: self.process(&key.0), thread: thread.unwrap_or_else(|| shown(&key.1)) }
    }

    /// What is drawn of the window; at most so many events.
    pub(super) fn view(
        &self,
        path: &Path,
        window: Option<Window>,
        load_starts: u64,
        most: usize,
    ) -> Result<SpaceTime, ReportError> {
        let timed = || self.events.iter().filter(|event| event.is_timed());
        let trace_from = timed().map(Event::at).min().unwrap_or(0);
        let trace_to = timed().map(Event::end).max().unwrap_or(0);
        if timed().next().is_none() {
            return Err(ReportError::damaged(path, "has no events that happen at any time"));
        }
        let (from, to): (u64, u64) = match window {
            Some(Window { from, until }) => {
                (as_nanos(from).max(trace_from), as_nanos(until).min(trace_to.max(1)))
            }
            None => (self.worth_a_look(load_starts).max(trace_from), trace_to.max(1)),
        };
        let mut drawn = Drawn::new(from, to);
        let mut under_way: BTreeMap<(Id, &str), Sent<'_>> = BTreeMap::new();
        let mut in_order: Vec<&Event<'a>> = timed().collect();
        // Ties keep the order of the file, in which what is sent comes before what arrives.
        in_order.sort_by_key(|event| event.at());
        for event in in_order {
            match event.ph.as_ref() {
                _ if event.is_fault() => drawn.fault(event, self.concerns_all(event)),
                "X" => drawn.span(event),
                "s" | "t" | "f" => drawn.flow(event, &mut under_way),
                _ => {}
            }
        }
        let shown = |nanos: u64| span::format(Duration::from_nanos(nanos));
        let empty = drawn.is_empty();
        if let Some(window) = window.filter(|_| empty) {
            return Err(ReportError::EmptyWindow {
                path: path.to_owned(),
                window: window.to_string(),
                from: shown(trace_from),
                to: shown(trace_to),
            });
        }
        let view = drawn.finish(most, self);
        Ok(SpaceTime { trace_from, trace_to, cut_at: self.cut_at, ..view })
    }

    /// Where a window begins that nobody asked for.
    fn worth_a_look(&self, load_starts: u64) -> u64 {
        let first = |wanted: &dyn Fn(&Event<'a>) -> bool| {
            self.events
                .iter()
                .filter(|event| event.is_timed() && wanted(event))
                .map(Event::at)
                .min()
        };
        let fault = first(&|event| event.is_fault()).map(|at| at.saturating_sub(LEAD_NANOS));
        fault.or_else(|| first(&|event| event.ph == "s" && event.at() >= load_starts)).unwrap_or(0)
    }

    /// Whether a fault concerns everything, not the lane it stands on.
    fn concerns_all(&self, event: &Event<'_>) -> bool {
        self.process(&event.pid).to_lowercase().contains("fault")
    }

    /// The order of lanes: that of the file's sort indices, then of names.
    fn rank(&self, key: &Key) -> impl Ord + use<> {
        let index = |known: Option<f64>| ordered(known.unwrap_or(0.0));
        let lane = self.lane(key);
        (
            index(self.processes.get(&key.0).map(|known| known.0)),
            natural(&lane.process),
            index(self.threads.get(key).map(|known| known.0)),
            natural(&lane.thread),
            key.clone(),
        )
    }
}

/// A number as something that can be sorted.
fn ordered(number: f64) -> i64 {
    (number * 1e3) as i64
}

fn as_nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn shown(id: &Id) -> String {
    match id {
        Id::Number(number) => number.to_string(),
        Id::Text(text) => text.clone(),
    }
}

/// Everything in the window, with the lanes as the trace names them.
struct Drawn {
    from: u64,
    to: u64,
    spans: Vec<(Key, Span)>,
    arrows: Vec<(Key, Key, Arrow)>,
    faults: Vec<(Option<Key>, FaultSpan)>,
}

impl Drawn {
    fn new(from: u64, to: u64) -> Drawn {
        Drawn { from, to, spans: Vec::new(), arrows: Vec::new(), faults: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.arrows.is_empty() && self.faults.is_empty()
    }

    fn overlaps(&self, at: u64, end: u64) -> bool {
        at <= self.to && end >= self.from
    }

    fn fault(&mut self, event: &Event<'_>, concerns_all: bool) {
        let (at, end) = (event.at(), event.end());
        if self.overlaps(at, end) {
            let name = event.name.clone().into_owned();
            let key = (!concerns_all).then(|| event.key());
            self.faults.push((key, FaultSpan { lane: None, at, lasting: end - at, name }));
        }
    }

    fn span(&mut self, event: &Event<'_>) {
        let (at, end) = (event.at(), event.end());
        if self.overlaps(at, end) {
            let (name, category) =
                (event.name.clone().into_owned(), event.cat.clone().into_owned());
            self.spans.push((event.key(), Span { lane: 0, at, lasting: end - at, name, category }));
        }
    }

    fn flow<'a>(
        &mut self,
        event: &'a Event<'_>,
        under_way: &mut BTreeMap<(Id, &'a str), Sent<'a>>,
    ) {
        let identity = (event.id.clone(), event.cat.as_ref());
        let before = (event.ph != "s").then(|| under_way.remove(&identity)).flatten();
        if let Some(Sent { key, at: sent, name }) = before {
            let (arrived, name) = (event.at(), name.to_owned());
            if self.overlaps(sent, arrived) {
                self.arrows.push((key, event.key(), Arrow { from: 0, sent, to: 0, arrived, name }));
            }
        }
        if event.ph != "f" {
            under_way
                .insert(identity, Sent { key: event.key(), at: event.at(), name: &event.name });
        }
    }

    /// Cuts the window where there are too many events, and numbers the lanes.
    fn finish(mut self, most: usize, trace: &Trace<'_>) -> SpaceTime {
        let spans = self.spans.iter().map(|(_, span)| span.at);
        let mut starts: Vec<u64> =
            spans.chain(self.arrows.iter().map(|(.., arrow)| arrow.sent)).collect();
        starts.sort_unstable();
        let last_kept = starts.get(most).copied().unwrap_or(self.to);
        let to = last_kept.min(self.to);
        let before = starts.len();
        if starts.len() > most {
            self.spans.retain(|(_, span)| span.at < to);
            self.arrows.retain(|(.., arrow)| arrow.sent < to);
            self.faults.retain(|(_, fault)| fault.at < to);
        }
        let left_out = before - self.spans.len() - self.arrows.len();
        let of_spans = self.spans.iter().map(|(key, _)| key);
        let of_arrows = self.arrows.iter().flat_map(|(from, to, _)| [from, to]);
        let of_faults = self.faults.iter().filter_map(|(key, _)| key.as_ref());
        let mut keys: Vec<Key> = of_spans.chain(of_arrows).chain(of_faults).cloned().collect();
        keys.sort_by_cached_key(|key| trace.rank(key));
        keys.dedup();
        let number: BTreeMap<&Key, usize> =
            keys.iter().enumerate().map(|(n, key)| (key, n)).collect();
        let spans = self.spans.into_iter();
        let arrows = self.arrows.into_iter();
        let faults = self.faults.into_iter();
        SpaceTime {
            from: self.from,
            to: to.max(self.from + 1),
            lanes: keys.iter().map(|key| trace.lane(key)).collect(),
            spans: spans.map(|(key, span)| Span { lane: number[&key], ..span }).collect(),
            arrows: arrows
                .map(|(from, to, arrow)| Arrow { from: number[&from], to: number[&to], ..arrow })
                .collect(),
            faults: faults
                .map(|(key, fault)| FaultSpan { lane: key.map(|key| number[&key]), ..fault })
                .collect(),
            left_out,
            ..SpaceTime::default()
        }
    }
}

#[cfg(test)]
mod tests;
