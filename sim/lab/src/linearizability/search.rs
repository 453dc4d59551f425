//! The search for an order.
//!
//! Requests and answers stand in one list by time. From its front, operations are tried until an answer
//! is met: whatever was asked for before it may take effect next. One that fits is lifted out of the
//! list, and the search goes on from the front; where nothing fits, the last one is put back.

use super::{Evidence, Interval, Specification, Verdict};
use rustc_hash::FxHashSet;

/// No entry.
const END: usize = usize::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Request(usize),
    Answer(usize),
}

pub(super) struct Search<'a, S: Specification> {
    specification: &'a S,
    history: &'a [Interval<S::Operation>],
    events: Vec<Event>,
    /// The list of events: what comes after and before each; the last place is its head.
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Where each operation's request and answer are in the list.
    request_at: Vec<usize>,
    answer_at: Vec<usize>,
    /// Of an open operation: the one of its class that has to take effect before.
    after: Vec<Option<usize>>,
    done: Done,
    seen: FxHashSet<(Key, S::State)>,
}

impl<'a, S: Specification> Search<'a, S> {
    pub(super) fn new(specification: &'a S, history: &'a [Interval<S::Operation>]) -> Self {
        // At one instant requests come first: then it counts as concurrent.
        let mut events: Vec<Event> = (0..history.len()).map(Event::Request).collect();
        let answered = (0..history.len()).filter(|index| history[*index].responded.is_some());
        events.extend(answered.map(Event::Answer));
        events.sort_by_key(|event| match *event {
            Event::Request(index) => (history[index].invoked, 0, index),
            Event::Answer(index) => {
                (history[index].responded.unwrap_or(history[index].invoked), 1, index)
            }
        });
        let head = events.len();
        let mut request_at = vec![END; history.len()];
        let mut answer_at = vec![END; history.len()];
        for (place, event) in events.iter().enumerate() {
            match *event {
                Event::Request(index) => request_at[index] = place,
                Event::Answer(index) => answer_at[index] = place,
            }
        }
        let next = (0..head).map(|place| place + 1).chain([0]).collect();
        let previous = (0..=head).map(|place| place.checked_sub(1).unwrap_or(head)).collect();
        Search {
            specification,
            history,
            next,
            previous,
            request_at,
            answer_at,
            after: Self::classes(history, &events),
            done: Done::new(history.len()),
            events,
            seen: FxHashSet::default(),
        }
    }

    fn classes(history: &[Interval<S::Operation>], events: &[Event]) -> Vec<Option<usize>> {
        let mut last = std::collections::BTreeMap::new();
        let mut after = vec![None; history.len()];
        for event in events {
            let Event::Request(index) = *event else { continue };
            let one = &history[index];
            if let (None, Some(class)) = (one.responded, one.class) {
                after[index] = last.insert(class, index);
            }
        }
        after
    }

    fn unlink(&mut self, place: usize) {
        if place != END {
            let (before, behind) = (self.previous[place], self.next[place]);
            self.next[before] = behind;
            self.previous[behind] = before;
        }
    }

    fn relink(&mut self, place: usize) {
        if place != END {
            let (before, behind) = (self.previous[place], self.next[place]);
            self.next[before] = place;
            self.previous[behind] = place;
        }
    }

    pub(super) fn run(mut self, budget: &mut u64) -> Verdict {
        let head = self.events.len();
        let mut left = self.history.iter().filter(|one| one.responded.is_some()).count();
        let mut state = self.specification.initial();
        let mut order: Vec<(usize, S::State)> = Vec::new();
        let mut best: Option<Evidence> = None;
        let mut place = self.next[head];
        while left > 0 {
            if let Event::Request(index) = self.events[place] {
                let allowed = self.after[index].is_none_or(|before| self.done.has(before));
                if allowed && let Some(after) = self.try_one(&state, index, budget) {
                    self.done.set(index, true);
                    if self.seen.insert((self.done.key(), after.clone())) {
                        order.push((index, std::mem::replace(&mut state, after)));
                        left -= usize::from(self.history[index].responded.is_some());
                        self.unlink(self.request_at[index]);
                        self.unlink(self.answer_at[index]);
                        place = self.next[head];
                        continue;
                    }
                    self.done.set(index, false);
                }
                if *budget == 0 {
                    return Verdict::TooConcurrent;
                }
                place = self.next[place];
                continue;
            }
            if best.as_ref().is_none_or(|best| best.explained.len() < order.len()) {
                best = Some(self.evidence(&order, place));
            }
            let Some((index, before)) = order.pop() else {
                return Verdict::Violation(best.expect("invariant: an answer was met"));
            };
            state = before;
            self.done.set(index, false);
            self.relink(self.answer_at[index]);
            self.relink(self.request_at[index]);
            left += usize::from(self.history[index].responded.is_some());
            place = self.next[self.request_at[index]];
        }
        Verdict::Linearizable(order.into_iter().map(|(index, _)| index).collect())
    }

    fn try_one(&self, state: &S::State, index: usize, budget: &mut u64) -> Option<S::State> {
        *budget = budget.checked_sub(1)?;
        self.specification.apply(state, &self.history[index].operation)
    }

    /// What stands before the answer at `place`: none of it fits.
    fn evidence(&self, order: &[(usize, S::State)], place: usize) -> Evidence {
        let mut unexplained = Vec::new();
        let mut at = self.next[self.events.len()];
        while at != place {
            if let Event::Request(index) = self.events[at]
                && Event::Answer(index) != self.events[place]
            {
                unexplained.push(index);
            }
            at = self.next[at];
        }
        if let Event::Answer(index) = self.events[place] {
            unexplained.insert(0, index);
        }
        Evidence { explained: order.iter().map(|(index, _)| *index).collect(), unexplained }
    }
}

/// The operations that have taken effect, and a short form of that set: of a history with little
/// concurrency almost everything is done up to some point, and nothing behind it.
struct Done {
    words: Vec<u64>,
    /// Words before this one are full.
    full: usize,
    /// Words from this one on are empty.
    used: usize,
}

type Key = (usize, Box<[u64]>);

impl Done {
    fn new(count: usize) -> Done {
        Done { words: vec![0; count.div_ceil(64)], full: 0, used: 0 }
    }

    fn has(&self, index: usize) -> bool {
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    fn set(&mut self, index: usize, value: bool) {
        let (word, bit) = (index / 64, 1u64 << (index % 64));
        if value {
            self.words[word] |= bit;
            self.used = self.used.max(word + 1);
        } else {
            self.words[word] &= !bit;
            self.full = self.full.min(word);
        }
        while self.full < self.words.len() && self.words[self.full] == u64::MAX {
            self.full += 1;
        }
        while self.used > 0 && self.words[self.used - 1] == 0 {
            self.used -= 1;
        }
    }

    fn key(&self) -> Key {
        let end = self.used.max(self.full);
        (self.full, self.words[self.full..end].into())
    }
}
