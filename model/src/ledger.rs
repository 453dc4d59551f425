//! The exact split of an orchestration's latency along its critical path.
//!
//! A [`Ledger`] travels with every message, as a tracing context does in a real system. It
//! holds the instant up to which time has been explained (`at`) and how much of the time since
//! its origin went to each [`Category`]. Each stage that handles the message advances it by
//! charging the time that has passed since. A step that waits for several messages goes on with
//! the ledger of the one that arrived last: that is the critical path. Nothing is ever charged
//! twice and nothing is left out, so the parts always sum to the latency, to the nanosecond.
//!
//! The ledger is a measurement: no engine may decide anything by it. Asked to, a [`trail`] is kept of how
//! each ledger came to hold what it holds; for it, a charge may say in words what was waited for
//! ([`Category::because`]).

pub mod trail;

use crate::time::{Timestamp, nanos};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What an orchestration was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Category {
    /// A message on its way over a link.
    Network,
    /// A storage or event service working on a request.
    Storage,
    /// A request held back or refused by a service limit.
    Throttling,
    /// A message that lay in a queue until somebody polled it.
    Polling,
    /// A work item or a request waiting for a core, a slot or its turn on a host.
    Queueing,
    /// A core working for the orchestration.
    Cpu,
    /// Waiting for a batch to be filled or for the batch before it to leave.
    Batching,
    /// Waiting until a step is durable.
    Commit,
    /// Back-off and repetition after an error, or after a message was put back.
    Retries,
    /// The application's own waiting: timers, external events, I/O inside activities.
    Application,
}

impl Category {
    /// How many categories there are.
    pub const COUNT: usize = 10;

    /// All categories, in the order of reports.
    pub const ALL: [Category; Category::COUNT] = [
        Category::Network,
        Category::Storage,
        Category::Throttling,
        Category::Polling,
        Category::Queueing,
        Category::Cpu,
        Category::Batching,
        Category::Commit,
        Category::Retries,
        Category::Application,
    ];

    /// The name used in results.
    pub const fn name(self) -> &'static str {
        match self {
            Category::Network => "network",
            Category::Storage => "storage",
            Category::Throttling => "throttling",
            Category::Polling => "polling",
            Category::Queueing => "queueing",
            Category::Cpu => "cpu",
            Category::Batching => "batching",
            Category::Commit => "commit",
            Category::Retries => "retries",
            Category::Application => "application",
        }
    }

    /// What the time went to, in words, where nobody says more.
    pub const fn words(self) -> &'static str {
        match self {
            Category::Network => "on its way over the network",
            Category::Storage => "served by a storage or event service",
            Category::Throttling => "held back by the limit of a service",
            Category::Polling => "in a queue until somebody polled it",
            Category::Queueing => "waited for its turn on a host",
            Category::Cpu => "worked on by a core",
            Category::Batching => "waited for a batch to leave",
            Category::Commit => "waited until it was durable",
            Category::Retries => "repeated after an error",
            Category::Application => "the application's own waiting",
        }
    }

    /// The category with what the time went to in words, for whoever reads an explanation. In a charge of a
    /// request the words are for all of it, and the category for what the request does not account for.
    ///
    /// ```
    /// use sim_model::ledger::{Category, Ledger};
    /// use sim_model::time::Timestamp;
    /// let mut ledger = Ledger::new(Timestamp::ZERO);
    /// let why = Category::Batching.because("waited for the batch before it to be sent");
    /// ledger.charge(why, Timestamp::from_millis(2));
    /// ```
    pub const fn because(self, words: &'static str) -> Cause {
        Cause { category: self, words: Some(words) }
    }
}

/// What time is charged to, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    category: Category,
    /// In words, if there is more to say than the category does.
    words: Option<&'static str>,
}

impl From<Category> for Cause {
    fn from(category: Category) -> Cause {
        Cause { category, words: None }
    }
}

/// Time spent for each category, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Timing([u64; Category::COUNT]);

impl Timing {
    /// A timing with one entry.
    pub fn of(category: Category, span: Duration) -> Timing {
        let mut timing = Timing::default();
        timing.add(category, span);
        timing
    }

    /// Adds `span` to `category`.
    pub fn add(&mut self, category: Category, span: Duration) {
        self.0[category as usize] += nanos(span);
    }

    /// Time spent for `category`.
    pub fn get(&self, category: Category) -> Duration {
        Duration::from_nanos(self.0[category as usize])
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Timing) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// What is left after all of `other`, where there is as much.
    pub fn less(&self, other: &Timing) -> Timing {
        let mut left = *self;
        for (mine, theirs) in left.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_sub(theirs);
        }
        left
    }

    /// The sum over all categories.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.0.iter().sum())
    }
}

/// The explained time of one orchestration from its origin up to an instant.
///
/// Invariant: `timing.total() == at - origin`.
///
/// ```
/// use sim_model::ledger::{Category, Ledger};
/// use sim_model::time::Timestamp;
/// let mut ledger = Ledger::new(Timestamp::from_millis(10));
/// ledger.charge(Category::Network, Timestamp::from_millis(12));
/// ledger.charge(Category::Cpu, Timestamp::from_millis(15));
/// let timing = ledger.settle(Timestamp::from_millis(10), Timestamp::from_millis(15));
/// assert_eq!(timing.total().as_millis(), 5);
/// assert_eq!(timing.get(Category::Cpu).as_millis(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ledger {
    origin: Timestamp,
    at: Timestamp,
    timing: Timing,
}

impl Ledger {
    /// A ledger that begins at `origin`, with nothing charged.
    pub fn new(origin: Timestamp) -> Ledger {
        Ledger { origin, at: origin, timing: Timing::default() }
    }

    /// The instant at which the explained time begins.
    pub fn origin(&self) -> Timestamp {
        self.origin
    }

    /// The instant up to which time is explained.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// How the explained time was spent.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Charges the time since [`Ledger::at`] to a category, perhaps with words. An instant that is not later
    /// changes nothing: the time was explained already, by something that went on at the same time.
    pub fn charge(&mut self, cause: impl Into<Cause>, until: Timestamp) {
        let Cause { category, words } = cause.into();
        let before = *self;
        self.add(category, until);
        if trail::is_kept() {
            trail::charged(before, *self, words.unwrap_or(category.words()), None);
        }
    }

    fn add(&mut self, category: Category, until: Timestamp) {
        self.timing.add(category, until.since(self.at));
        self.at = self.at.max(until);
    }

    /// Charges a request that ended at `until` and was split by its service into `timing`.
    ///
    /// The request may have begun before [`Ledger::at`] (time then explained by something else)
    /// or after it; the difference goes to `rest`.
    pub fn charge_request(&mut self, timing: &Timing, until: Timestamp, rest: impl Into<Cause>) {
        let Cause { category, words } = rest.into();
        let before = *self;
        self.add_request(timing, until, category);
        if trail::is_kept() {
            let words = words.unwrap_or_else(|| words_for(&trail::between(&before, self)));
            trail::charged(before, *self, words, None);
        }
    }

    /// Charges what somebody else's time went to, whom this one has waited for: up to where `other` is
    /// explained. What it does not account for goes to `rest`.
    pub fn charge_other(&mut self, other: &Ledger, rest: impl Into<Cause>) {
        let Cause { category, words } = rest.into();
        let before = *self;
        self.add_request(&other.timing, other.at, category);
        if trail::is_kept() {
            let words = words.unwrap_or("waited for another orchestration");
            trail::charged(before, *self, words, Some(*other));
        }
    }

    fn add_request(&mut self, timing: &Timing, until: Timestamp, rest: Category) {
        let elapsed = until.since(self.at);
        if timing.total() <= elapsed {
            self.add(rest, self.at + (elapsed - timing.total()));
            self.timing.merge(timing);
            self.at = self.at.max(until);
        } else {
            self.add_tail(timing, elapsed);
        }
    }

    /// Charges the last `elapsed` of a request of which an earlier part was explained already.
    /// The parts are taken in the order network, storage, ... from the end of the list.
    fn add_tail(&mut self, timing: &Timing, elapsed: Duration) {
        let mut left = elapsed;
        for category in Category::ALL {
            let part = timing.get(category).min(left);
            self.add(category, self.at + part);
            left -= part;
        }
        debug_assert!(left.is_zero(), "a request longer than the gap fills it");
    }

    /// The ledger of the two that was explained further: the later message of a batch.
    pub fn later<'a>(&'a self, other: &'a Ledger) -> &'a Ledger {
        if other.at > self.at { other } else { self }
    }

    /// Closes the ledger of an orchestration that lived from `created` to `completed`: the parts
    /// sum to exactly `completed - created`.
    ///
    /// A ledger with another origin (the last message came from outside the orchestration, for
    /// example an external event) explains only the time since its origin; what lies before is the
    /// application's own waiting.
    pub fn settle(mut self, created: Timestamp, completed: Timestamp) -> Timing {
        self.add(Category::Queueing, completed);
        let latency = completed.since(created);
        let explained = self.timing.total();
        if explained <= latency {
            self.timing.add(Category::Application, latency - explained);
            return self.timing;
        }
        let mut kept = Ledger::new(created);
        kept.add_tail(&self.timing, latency);
        kept.timing
    }
}

/// What a request was, in words, where nobody says more.
fn words_for(timing: &Timing) -> &'static str {
    let mut parts = Category::ALL.into_iter().filter(|part| !timing.get(*part).is_zero());
    match (parts.next(), parts.next()) {
        (Some(only), None) => only.words(),
        _ => "waited for a request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_always_sum_to_the_latency(
            stages in proptest::collection::vec((0usize..Category::COUNT, 0u64..1_000_000), 0..40),
            shift in -1_000i64..1_000,
        ) {
            let created = Timestamp::from_nanos(5_000);
            let mut ledger = Ledger::new(Timestamp::from_nanos((5_000 + shift) as u64));
            let mut at = ledger.origin();
            for (category, span) in stages {
                at += Duration::from_nanos(span);
                ledger.charge(Category::ALL[category], at);
                prop_assert_eq!(ledger.timing.total(), ledger.at.since(ledger.origin));
            }
            let completed = at.max(created);
            prop_assert_eq!(ledger.settle(created, completed).total(), completed.since(created));
        }

        #[test]
        fn requests_keep_the_sum(begin in 0u64..1_000, explained in 0u64..3_000, storage in 0u64..2_000, network in 0u64..2_000) {
            let mut ledger = Ledger::new(Timestamp::ZERO);
            ledger.charge(Category::Cpu, Timestamp::from_nanos(explained));
            let mut timing = Timing::of(Category::Storage, Duration::from_nanos(storage));
            timing.add(Category::Network, Duration::from_nanos(network));
            let end = Timestamp::from_nanos(begin + storage + network);
            ledger.charge_request(&timing, end, Category::Queueing);
            prop_assert_eq!(ledger.at(), end.max(Timestamp::from_nanos(explained)));
            prop_assert_eq!(ledger.timing.total(), ledger.at.since(Timestamp::ZERO));
        }
    }
}
