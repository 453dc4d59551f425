//! The event trail: proof that two runs are equal, and the first event in which they are not.
//!
//! Every event `(time, component, kind, payload digest)` is folded into a rolling 64-bit hash
//! (xxh3, seeded with the hash so far), so the final digest depends on every event and their
//! order. A mark, the hash so far, is kept every `mark_interval` events. Two runs that should
//! be equal and are not are bisected in two steps: [`first_difference`] compares the marks and
//! names the first interval of events that differs; both runs are repeated with that interval
//! as [`KernelOptions::window`](super::KernelOptions::window), which keeps its events in full,
//! and [`first_difference`] then names the event.
//!
//! Names of components and kinds are part of the hash: their registration is an event.

use super::{DeviceId, Kind};
use serde::{Deserialize, Serialize};
use sim_model::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::Arc;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The digest of a payload for the event trail.
pub(super) fn digest_of(payload: &[u8]) -> u64 {
    xxh3_64(payload)
}

/// What a run leaves for comparison with another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTrail {
    /// Hash over all events.
    pub digest: u64,
    /// Number of events.
    pub events: u64,
    /// Events between two marks.
    pub mark_interval: u64,
    /// The hash after each full interval of events.
    pub marks: Vec<u64>,
    /// The events of the window that was asked for.
    pub window: Vec<TrailEvent>,
}

/// One recorded event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailEvent {
    /// Position in the run, from 0.
    pub index: u64,
    /// Virtual time of the event.
    pub time: Timestamp,
    /// Name of the device or component.
    pub component: Arc<str>,
    /// Name of the kind.
    pub kind: Arc<str>,
    /// Digest of the payload.
    pub digest: u64,
}

impl std::fmt::Display for TrailEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TrailEvent { index, time, component, kind, digest } = self;
        write!(f, "event {index} at {time}: {component}: {kind}, payload digest {digest:016x}")
    }
}

/// Where two runs part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Nowhere: the runs are equal event for event.
    None,
    /// Somewhere among these events: repeat both runs with this window.
    Within(Range<u64>),
    /// At this event; a side is absent if its run ended before.
    At {
        /// Position of the first event that differs.
        index: u64,
        /// What the first run has there.
        left: Option<TrailEvent>,
        /// What the second run has there.
        right: Option<TrailEvent>,
    },
}

/// Finds where two runs part: by their marks, and to the very event if both kept the window
/// that [`Difference::Within`] asked for. The runs must have the same mark interval.
///
/// # Panics
/// If the mark intervals differ: the marks are then not comparable.
pub fn first_difference(a: &EventTrail, b: &EventTrail) -> Difference {
    assert_eq!(a.mark_interval, b.mark_interval, "trails with different mark intervals");
    if a.digest == b.digest && a.events == b.events {
        return Difference::None;
    }
    let equal_marks = a.marks.iter().zip(&b.marks).take_while(|(x, y)| x == y).count() as u64;
    let start = equal_marks * a.mark_interval;
    let end = (start + a.mark_interval).min(a.events.max(b.events));
    debug_assert!(start < end, "a difference lies after the last equal mark");
    if !(keeps(a, start..end) && keeps(b, start..end)) {
        return Difference::Within(start..end);
    }
    let event = |trail: &EventTrail, index: u64| {
        let position = trail.window.partition_point(|event| event.index < index);
        trail.window.get(position).filter(|event| event.index == index).cloned()
    };
    for index in start..end {
        let (left, right) = (event(a, index), event(b, index));
        if left != right {
            return Difference::At { index, left, right };
        }
    }
    unreachable!("unequal hashes over equal events")
}

/// Whether the trail's window holds every event of `range` that the run has.
fn keeps(trail: &EventTrail, range: Range<u64>) -> bool {
    let needed = range.start..range.end.min(trail.events);
    needed.is_empty()
        || (trail.window.first().is_some_and(|first| first.index <= needed.start)
            && trail.window.last().is_some_and(|last| last.index + 1 >= needed.end))
}

/// The recorder of a running simulation.
pub(super) struct Trail {
    digest: Cell<u64>,
    events: Cell<u64>,
    mark_interval: u64,
    next_mark: Cell<u64>,
    window: Range<u64>,
    kept: RefCell<Kept>,
}

#[derive(Default)]
struct Kept {
    marks: Vec<u64>,
    window: Vec<TrailEvent>,
    components: Vec<Arc<str>>,
    kinds: Vec<Arc<str>>,
    ended: Option<EventTrail>,
}

impl Trail {
    pub(super) fn new(mark_interval: u64, window: Option<Range<u64>>) -> Self {
        assert!(mark_interval > 0, "a mark interval of 0 events");
        let kinds = Kind::BUILT_IN.iter().map(|name| Arc::from(*name)).collect();
        Trail {
            digest: Cell::new(0),
            events: Cell::new(0),
            mark_interval,
            next_mark: Cell::new(mark_interval),
            window: window.unwrap_or(0..0),
            kept: RefCell::new(Kept { kinds, ..Kept::default() }),
        }
    }

    pub(super) fn events(&self) -> u64 {
        self.events.get()
    }

    pub(super) fn add_component(&self, id: DeviceId, name: &str) {
        let components = &mut self.kept.borrow_mut().components;
        assert_eq!(components.len(), id.0 as usize, "components are numbered in turn");
        components.push(Arc::from(name));
    }

    /// The name of a component.
    pub(super) fn component(&self, id: DeviceId) -> Arc<str> {
        self.kept.borrow().components[id.0 as usize].clone()
    }

    /// Finds or adds a kind, and tells whether it is new. Kinds are few and interned once, so
    /// a scan is fine.
    pub(super) fn kind(&self, name: &str) -> (Kind, bool) {
        let kinds = &mut self.kept.borrow_mut().kinds;
        let known = kinds.iter().position(|known| &**known == name);
        let index = known.unwrap_or_else(|| {
            kinds.push(Arc::from(name));
            kinds.len() - 1
        });
        (Kind(u32::try_from(index).expect("invariant: under 2^32 kinds")), known.is_none())
    }

    #[inline]
    pub(super) fn record(&self, time: Timestamp, component: DeviceId, kind: Kind, digest: u64) {
        let mut bytes = [0u8; 24];
        bytes[0..8].copy_from_slice(&time.as_nanos().to_le_bytes());
        bytes[8..12].copy_from_slice(&component.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&kind.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&digest.to_le_bytes());
        self.digest.set(xxh3_64_with_seed(&bytes, self.digest.get()));
        let index = self.events.get();
        self.events.set(index + 1);
        if self.window.contains(&index) {
            self.keep(index, time, component, kind, digest);
        }
        if index + 1 == self.next_mark.get() {
            self.mark();
        }
    }

    #[cold]
    fn mark(&self) {
        self.kept.borrow_mut().marks.push(self.digest.get());
        self.next_mark.set(self.next_mark.get() + self.mark_interval);
    }

    #[cold]
    fn keep(&self, index: u64, time: Timestamp, component: DeviceId, kind: Kind, digest: u64) {
        let kept = &mut *self.kept.borrow_mut();
        let component = kept.components[component.0 as usize].clone();
        let kind = kept.kinds[kind.0 as usize].clone();
        kept.window.push(TrailEvent { index, time, component, kind, digest });
    }

    /// Ends the trail here: what is recorded from now on is no part of it.
    pub(super) fn end(&self) {
        let ended = self.up_to_now();
        self.kept.borrow_mut().ended.get_or_insert(ended);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.kept.borrow().ended.is_some()
    }

    /// The trail up to its end, or else up to now.
    pub(super) fn take(&self) -> EventTrail {
        let ended = self.kept.borrow_mut().ended.take();
        ended.unwrap_or_else(|| self.up_to_now())
    }

    fn up_to_now(&self) -> EventTrail {
        let mut kept = self.kept.borrow_mut();
        EventTrail {
            digest: self.digest.get(),
            events: self.events.get(),
            mark_interval: self.mark_interval,
            marks: std::mem::take(&mut kept.marks),
            window: std::mem::take(&mut kept.window),
        }
    }
}
