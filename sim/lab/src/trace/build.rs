//! From spans to events: rows for what goes on side by side, arrows with both ends, the limit.

use super::Nodes;
use super::slice::{Arrow, ArrowEnd, Group, Slice};
use super::window::TraceOptions;
use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde_json::Value;
use sim_model::time::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

/// What an event of a trace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A span of that length.
    Span(Duration),
    /// An instant.
    Instant,
    /// An arrow with this number begins.
    ArrowBegins(u64),
    /// An arrow with this number ends.
    ArrowEnds(u64),
}

/// An event of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it begins.
    pub at: Timestamp,
    /// Number of its process.
    pub process: u32,
    /// Number of its thread, within the process.
    pub thread: u32,
    /// What it is.
    pub phase: Phase,
    /// Its category.
    pub category: &'static str,
    /// Its name.
    pub name: String,
    /// More, by name.
    pub args: Vec<(&'static str, Value)>,
}

/// A thread of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its number, within the process.
    pub number: u32,
    /// Its name.
    pub name: String,
}

/// A process of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its threads, as they are shown.
    pub threads: Vec<Thread>,
}

/// Where a trace was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// What begins later is left out.
    pub at: Timestamp,
    /// How many events are left out, at least.
    pub left_out: u64,
}

/// What happened in a run, event by event.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The tracks.
    pub processes: Vec<Process>,
    /// The events in the order of time; of those that begin at one instant on one track, the longest first.
    pub events: Vec<Event>,
    /// The most events that were asked for.
    pub events_max: u64,
    /// Where the limit was reached, if it was.
    pub cut: Option<Cut>,
}

/// Collects spans.
pub(super) struct Builder {
    options: TraceOptions,
    slices: Vec<Slice>,
    /// When there was no more room for requests.
    full_at: Option<Timestamp>,
}

/// The rows of a thread, by their numbers.
#[derive(Default)]
struct ThreadRows {
    all: Vec<u32>,
    /// Those in use, by the instant at which they are free again, and their place among all.
    busy: BinaryHeap<Reverse<(Timestamp, usize)>>,
    free: BTreeSet<usize>,
}

/// Finds a row for each span, and numbers rows.
#[derive(Default)]
struct Rows {
    threads: BTreeMap<(Group, u64, String), ThreadRows>,
    next: BTreeMap<Group, u32>,
}

impl Rows {
    /// The row of a span: the first that is free. Spans come in the order of time.
    fn place(&mut self, slice: &mut Slice) -> u32 {
        let key = (slice.group, slice.rank, std::mem::take(&mut slice.thread));
        let rows = self.threads.entry(key).or_default();
        while let Some(Reverse((free_at, row))) = rows.busy.peek().copied() {
            if free_at > slice.from {
                break;
            }
            rows.busy.pop();
            rows.free.insert(row);
        }
        let row = rows.free.pop_first().unwrap_or_else(|| {
            let next = self.next.entry(slice.group).or_insert(0);
            *next += 1;
            rows.all.push(*next);
            rows.all.len() - 1
        });
        rows.busy.push(Reverse((slice.until, row)));
        rows.all[row]
    }

    fn processes(self, nodes: &Nodes) -> Vec<Process> {
        let mut processes: IndexMap<Group, Process, FxBuildHasher> = IndexMap::default();
        for ((group, _, name), rows) in self.threads {
            let number = number_of(group);
            let process = processes.entry(group).or_insert_with(|| Process {
                number,
                name: name_of(group, nodes),
                threads: Vec::new(),
            });
            for (index, number) in rows.all.into_iter().enumerate() {
                let name = match index {
                    0 => name.clone(),
                    _ => format!("{name} ({})", index + 1),
                };
                process.threads.push(Thread { number, name });
            }
        }
        processes.into_values().collect()
    }
}

/// The number of a process. Some viewers show the smallest first.
fn number_of(group: Group) -> u32 {
    match group {
        Group::Orchestrations => 1,
        Group::Entities => 2,
        Group::Partitions => 3,
        Group::Elsewhere => 4,
        Group::Node(node) => 10 + node,
    }
}

fn name_of(group: Group, nodes: &Nodes) -> String {
    match group {
        Group::Node(node) => nodes.process(node),
        Group::Elsewhere => "elsewhere".to_owned(),
        Group::Partitions => "partitions".to_owned(),
        Group::Orchestrations => "orchestrations".to_owned(),
        Group::Entities => "entities".to_owned(),
    }
}

impl Builder {
    pub fn new(options: TraceOptions) -> Builder {
        Builder { options, slices: Vec::new(), full_at: None }
    }

    /// Adds a span, if it touches the window.
    pub fn add(&mut self, slice: Slice) {
        if self.options.window.touches(slice.from, slice.until) {
            self.slices.push(slice);
        }
    }

    /// Requests that ended from this instant on were not kept.
    pub fn requests_end(&mut self, full_at: Option<Timestamp>) {
        self.full_at = full_at;
    }

    pub fn build(mut self, nodes: &Nodes) -> Trace {
        self.slices.sort_by_key(|slice| (slice.from, Reverse(slice.until)));
        let cut = self.cut();
        let arrows = whole_arrows(&self.slices);
        let mut rows = Rows::default();
        let mut events = Vec::new();
        for mut slice in self.slices {
            let place = (number_of(slice.group), rows.place(&mut slice));
            emit(slice, place, &arrows, &mut events);
        }
        let rank = |event: &Event| match event.phase {
            Phase::Span(dur) => (0, Reverse(dur)),
            _ => (1, Reverse(Duration::ZERO)),
        };
        // Stable: spans that are equal keep their order, the outer one first.
        events.sort_by_key(|event| (event.at, rank(event)));
        let processes = rows.processes(nodes);
        Trace { processes, events, events_max: self.options.events_max, cut }
    }

    /// Cuts off what there are too many of, in the order of time.
    fn cut(&mut self) -> Option<Cut> {
        let (mut room, full_at) = (self.options.events_max, self.full_at);
        let fits = |slice: &&Slice| {
            let events = slice.events();
            let fits = events <= room && full_at.is_none_or(|full_at| slice.from < full_at);
            room = room.saturating_sub(events);
            fits
        };
        let kept = self.slices.iter().take_while(fits).count();
        let at = self.slices.get(kept)?.from;
        let left_out = self.slices.drain(kept..).map(|slice| slice.events()).sum();
        Some(Cut { at, left_out })
    }
}

/// The numbers of the arrows that have both ends, the first no later than the second.
fn whole_arrows(slices: &[Slice]) -> FxHashMap<Arrow, u64> {
    let mut begins: FxHashMap<Arrow, Timestamp> = FxHashMap::default();
    let mut all = Vec::new();
    fn visit<'a>(slice: &'a Slice, ends: &mut Vec<&'a ArrowEnd>) {
        ends.extend(&slice.arrows);
        slice.inside.iter().for_each(|inner| visit(inner, ends));
    }
    slices.iter().for_each(|slice| visit(slice, &mut all));
    for end in all.iter().filter(|end| end.begins) {
        begins.insert(end.arrow, end.at);
    }
    let mut numbers = FxHashMap::default();
    for end in all.iter().filter(|end| !end.begins) {
        let begun = begins.get(&end.arrow);
        if begun.is_some_and(|begun| *begun <= end.at) {
            let next = numbers.len() as u64 + 1;
            numbers.entry(end.arrow).or_insert(next);
        }
    }
    numbers
}

fn emit(
    slice: Slice,
    (process, thread): (u32, u32),
    arrows: &FxHashMap<Arrow, u64>,
    events: &mut Vec<Event>,
) {
    let phase = match slice.is_instant {
        true => Phase::Instant,
        false => Phase::Span(slice.until.since(slice.from)),
    };
    let (category, name, args) = (slice.category, slice.name, slice.args);
    events.push(Event { at: slice.from, process, thread, phase, category, name, args });
    for end in slice.arrows {
        let Some(number) = arrows.get(&end.arrow) else { continue };
        let phase = match end.begins {
            true => Phase::ArrowBegins(*number),
            false => Phase::ArrowEnds(*number),
        };
        let category = end.arrow.category;
        events.push(Event {
            at: end.at,
            process,
            thread,
            phase,
            category,
            name: category.to_owned(),
            args: Vec::new(),
        });
    }
    for inner in slice.inside {
        emit(inner, (process, thread), arrows, events);
    }
}
