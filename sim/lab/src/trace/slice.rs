//! Spans on their way into a trace.

use serde_json::Value;
use sim_model::time::Timestamp;

/// A process of a trace, in the order in which viewers show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Group {
    /// A host, machine or service, by its node.
    Node(u32),
    /// Faults that concern no node.
    Elsewhere,
    /// Partitions of the task hub.
    Partitions,
    /// Orchestrations.
    Orchestrations,
    /// Entities.
    Entities,
}

/// What the two ends of an arrow have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Arrow {
    pub category: &'static str,
    /// Distinguishes it from others of its category.
    pub key: u128,
}

/// An end of an arrow, in a span.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrowEnd {
    pub arrow: Arrow,
    pub at: Timestamp,
    pub begins: bool,
}

/// Something that lasts, or an instant.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub group: Group,
    /// The thread, without the number of its row.
    pub thread: String,
    /// Orders the threads of a process.
    pub rank: u64,
    pub category: &'static str,
    pub name: String,
    pub from: Timestamp,
    pub until: Timestamp,
    /// Whether it is an instant.
    pub is_instant: bool,
    pub args: Vec<(&'static str, Value)>,
    /// Spans in it, one after the other.
    pub inside: Vec<Slice>,
    pub arrows: Vec<ArrowEnd>,
}

impl Slice {
    pub fn new(
        group: Group,
        (rank, thread): (u64, impl Into<String>),
        category: &'static str,
        name: impl Into<String>,
        (from, until): (Timestamp, Timestamp),
    ) -> Slice {
        Slice {
            group,
            thread: thread.into(),
            rank,
            category,
            name: name.into(),
            from,
            until: until.max(from),
            is_instant: false,
            args: Vec::new(),
            inside: Vec::new(),
            arrows: Vec::new(),
        }
    }

    /// The same with one argument more.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Slice {
        self.args.push((name, value.into()));
        self
    }

    /// A span in this one, of the same thread.
    pub fn holds(
        &mut self,
        category: &'static str,
        name: impl Into<String>,
        (from, until): (Timestamp, Timestamp),
    ) -> &mut Slice {
        let until = until.min(self.until);
        let span = (from.max(self.from).min(until), until);
        let inner = Slice::new(self.group, (self.rank, ""), category, name, span);
        self.inside.push(inner);
        self.inside.last_mut().expect("invariant: pushed just now")
    }

    /// An arrow begins in this span at an instant; at the very end of the span, a nanosecond earlier.
    pub fn sends(&mut self, arrow: Arrow, at: Timestamp) {
        self.arrow(arrow, at, true);
    }

    /// An arrow ends in this span.
    pub fn receives(&mut self, arrow: Arrow, at: Timestamp) {
        self.arrow(arrow, at, false);
    }

    fn arrow(&mut self, arrow: Arrow, at: Timestamp, begins: bool) {
        let last = Timestamp::from_nanos(self.until.as_nanos().saturating_sub(1)).max(self.from);
        let at = at.max(self.from).min(last);
        self.arrows.push(ArrowEnd { arrow, at, begins });
    }

    /// How many events it makes.
    pub fn events(&self) -> u64 {
        let inside: u64 = self.inside.iter().map(Slice::events).sum();
        1 + inside + self.arrows.len() as u64
    }
}
