//! The heap of scheduled events, ordered by `(time, sequence)`.
//!
//! Sequence numbers grow with every scheduling, so events of one instant leave in the order in
//! which they were scheduled, and events leave in strictly increasing `(time, sequence)` order.
//! That makes cancellation cheap without a table of live events: an event is still here if and
//! only if its key is greater than the last key that left. A cancelled event stays as a
//! tombstone until it surfaces; when tombstones outnumber live events the heap is rebuilt
//! without them, so the heap is never more than about twice its live size.
//!
//! The order holds because the owner goes to the instant that [`EventHeap::next_time`] tells,
//! and schedules nothing earlier from then on; if there is none, the run is over.

use super::DeviceId;
use rustc_hash::FxHashSet;
use sim_model::time::Timestamp;

/// Children of each node of the heap: four share two cache lines, and halve the depth of two.
const ARITY: usize = 4;
/// Below this number of tombstones a rebuild is not worth its cost.
const REBUILD_MIN: usize = 1024;

/// Orders events by time, then by sequence: one integer compares without a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u128);

impl Key {
    fn new(time: Timestamp, sequence: u64) -> Self {
        Key(u128::from(time.as_nanos()) << 64 | u128::from(sequence))
    }

    fn time(self) -> Timestamp {
        Timestamp::from_nanos((self.0 >> 64) as u64)
    }

    fn sequence(self) -> u64 {
        self.0 as u64
    }
}

/// One scheduled event.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeapEvent {
    key: Key,
    /// Who is fired.
    pub(super) device: DeviceId,
    /// With what.
    pub(super) token: u64,
}

/// Scheduled events, earliest first.
pub(super) struct EventHeap {
    entries: Vec<HeapEvent>,
    next_sequence: u64,
    /// Key of the last event that left, cancelled or not; every event here has a greater one.
    last_left: Option<Key>,
    /// Sequence numbers of cancelled events that are still among the entries.
    tombstones: FxHashSet<u64>,
}

impl EventHeap {
    pub(super) fn new() -> Self {
        EventHeap {
            entries: Vec::new(),
            next_sequence: 0,
            last_left: None,
            tombstones: FxHashSet::default(),
        }
    }

    /// Number of live events.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.tombstones.len()
    }

    /// Adds an event and returns its sequence number.
    pub(super) fn push(&mut self, time: Timestamp, device: DeviceId, token: u64) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let event = HeapEvent { key: Key::new(time, sequence), device, token };
        self.entries.push(event);
        self.sift_up(self.entries.len() - 1);
        sequence
    }

    /// Cancels an event; false if it has left or is cancelled already.
    pub(super) fn cancel(&mut self, time: Timestamp, sequence: u64) -> bool {
        debug_assert!(sequence < self.next_sequence, "an event of another kernel");
        if self.last_left.is_some_and(|last| Key::new(time, sequence) <= last) {
            return false;
        }
        if !self.tombstones.insert(sequence) {
            return false;
        }
        if self.tombstones.len() >= REBUILD_MIN && self.tombstones.len() * 2 > self.entries.len() {
            self.rebuild();
        }
        true
    }

    /// Time of the earliest live event. The caller goes to that instant next.
    pub(super) fn next_time(&mut self) -> Option<Timestamp> {
        loop {
            let head = *self.entries.first()?;
            if !self.bury(head.key.sequence()) {
                return Some(head.key.time());
            }
            self.pop_head();
        }
    }

    /// Removes the earliest live event that is due at `instant`, if any.
    pub(super) fn pop_at(&mut self, instant: Timestamp) -> Option<HeapEvent> {
        loop {
            let head = *self.entries.first()?;
            if head.key.time() != instant {
                debug_assert!(head.key.time() > instant, "an event was passed over");
                return None;
            }
            self.pop_head();
            if !self.bury(head.key.sequence()) {
                return Some(head);
            }
        }
    }

    /// Whether the event is cancelled; its tombstone is removed.
    fn bury(&mut self, sequence: u64) -> bool {
        !self.tombstones.is_empty() && self.tombstones.remove(&sequence)
    }

    /// Removes the head, whether cancelled or not. The heap must not be empty.
    fn pop_head(&mut self) {
        let head = self.entries.swap_remove(0);
        debug_assert!(self.last_left.is_none_or(|last| last < head.key));
        self.last_left = Some(head.key);
        if self.entries.len() > 1 {
            self.sift_down(0);
        }
    }

    fn rebuild(&mut self) {
        let tombstones = std::mem::take(&mut self.tombstones);
        self.entries.retain(|event| !tombstones.contains(&event.key.sequence()));
        for index in (0..self.entries.len().div_ceil(ARITY)).rev() {
            self.sift_down(index);
        }
    }

    fn sift_up(&mut self, mut index: usize) {
        let event = self.entries[index];
        while index > 0 {
            let parent = (index - 1) / ARITY;
            if self.entries[parent].key <= event.key {
                break;
            }
            self.entries[index] = self.entries[parent];
            index = parent;
        }
        self.entries[index] = event;
    }

    fn sift_down(&mut self, mut index: usize) {
        if index >= self.entries.len() {
            return;
        }
        let event = self.entries[index];
        loop {
            let first = index * ARITY + 1;
            let last = (first + ARITY).min(self.entries.len());
            if first >= last {
                break;
            }
            let mut least = first;
            let mut least_key = self.entries[first].key;
            for (offset, child) in self.entries[first + 1..last].iter().enumerate() {
                let key = child.key;
                if key < least_key {
                    least = first + 1 + offset;
                    least_key = key;
                }
            }
            if event.key <= least_key {
                break;
            }
            self.entries[index] = self.entries[least];
            index = least;
        }
        self.entries[index] = event;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const DEVICE: DeviceId = DeviceId(7);

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn one_instant_leaves_in_order_of_scheduling() {
        let mut heap = EventHeap::new();
        for token in 0..100 {
            heap.push(at(5), DEVICE, token);
        }
        heap.push(at(4), DEVICE, 1000);
        assert_eq!(heap.next_time(), Some(at(4)));
        assert_eq!(heap.pop_at(at(4)).map(|event| event.token), Some(1000));
        assert!(heap.pop_at(at(4)).is_none(), "nothing else is due at 4");
        for token in 0..100 {
            assert_eq!(heap.pop_at(at(5)).map(|event| event.token), Some(token));
        }
        assert_eq!(heap.next_time(), None);
    }

    #[test]
    fn tombstones_are_swept_away() {
        let mut heap = EventHeap::new();
        let sequences: Vec<u64> =
            (0..100_000).map(|nanos| heap.push(at(nanos), DEVICE, nanos)).collect();
        for (nanos, sequence) in sequences.iter().enumerate().skip(10) {
            assert!(heap.cancel(at(nanos as u64), *sequence));
        }
        assert_eq!(heap.len(), 10);
        assert!(heap.entries.len() <= 2 * REBUILD_MIN, "{} entries", heap.entries.len());
        for nanos in 0..10 {
            assert_eq!(heap.pop_at(at(nanos)).map(|event| event.token), Some(nanos));
        }
        assert_eq!(heap.next_time(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { delay: u64 },
        Cancel { nth: usize },
        Pop,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0u64..20).prop_map(|delay| Step::Push { delay }),
            1 => (0usize..200).prop_map(|nth| Step::Cancel { nth }),
            2 => Just(Step::Pop),
        ];
        prop::collection::vec(step, 0..400)
    }

    proptest! {
        /// The heap agrees with a sorted map, also on which events can still be cancelled.
        #[test]
        fn agrees_with_a_sorted_map(steps in steps()) {
            let mut heap = EventHeap::new();
            let mut reference = BTreeMap::new();
            let mut all = Vec::new();
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Push { delay } => {
                        let sequence = heap.push(at(now + delay), DEVICE, now);
                        reference.insert((at(now + delay), sequence), now);
                        all.push((at(now + delay), sequence));
                    }
                    Step::Cancel { nth } if !all.is_empty() => {
                        let (time, sequence) = all[nth % all.len()];
                        let was_live = reference.remove(&(time, sequence)).is_some();
                        prop_assert_eq!(heap.cancel(time, sequence), was_live);
                    }
                    Step::Cancel { .. } => {}
                    Step::Pop => {
                        let expected = reference.pop_first();
                        let instant = heap.next_time();
                        prop_assert_eq!(instant, expected.map(|((time, _), _)| time));
                        let Some(instant) = instant else { break };
                        now = instant.as_nanos();
                        let event = heap.pop_at(instant).expect("it is due");
                        let key = (event.key.time(), event.key.sequence());
                        prop_assert_eq!(Some((key, event.token)), expected);
                    }
                }
                prop_assert_eq!(heap.len(), reference.len());
            }
        }
    }
}
