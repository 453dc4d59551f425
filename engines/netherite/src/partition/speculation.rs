//! Global speculation: what depends on work of other partitions that they may still lose.
//!
//! **What it models.** With speculation `global` a partition sends messages to others before they are
//! durable. The receiver works on at once and makes its own log durable at once, and notes a *promise*
//! for the log position of the event: it is not *committed* beyond the first position whose promise is
//! not kept, and nobody outside is told of anything that is not committed. A partition says how far it
//! is committed whenever that has covered something it had sent early; that keeps promises, and
//! commits the receiver further.
//!
//! **Rollback.** Each incarnation of a partition has a number (epoch) and begins at a position of its
//! log: where the log was durable, or in front of the first thing that had to be undone. The list of
//! epochs with their first positions is in the log's commit record, and goes with every statement. An
//! event that epoch `e` sent at position `p` is *void* if a later epoch began at or before `p`: the
//! origin has lost what it was sent by. So is one that depends on such work: an event that is sent early
//! names all that its sender's open promises depend on, so that one statement of the partition that has
//! lost something finds all that has come of it, wherever that went. A promise that turns out void makes the receiver roll back: it
//! begins a new incarnation at that promise, and tells all others. After a rollback or a recovery a
//! partition is *cautious* for a while: it sends only what is committed, so that void work dies out.
//! `docs/speculation.md` has the protocol and its argument.
//!
//! Sources: microsoft/durabletask-netherite, branch `consistent-recovery` (promises, confirmations);
//! Strom and Yemini, "Optimistic recovery in distributed systems", ACM TOCS 3 (3), 1985 (making durable
//! what depends on what is not, and committing it later). The rollback is this project's.

use super::Incarnation;
use crate::event::{Dependency, Origin};
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What a receiver knows of a partition that sends to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct OriginState {
    /// First position and number of each incarnation.
    epochs: Vec<(u64, u32)>,
    /// Up to where it is committed.
    committed: u64,
}

impl OriginState {
    /// Whether the partition has lost this work of its.
    fn is_void(&self, work: &Dependency) -> bool {
        self.epochs.iter().any(|(first, epoch)| *epoch > work.epoch && *first <= work.position)
    }

    fn is_committed(&self, work: &Dependency) -> bool {
        work.position < self.committed && !self.is_void(work)
    }
}

/// What is known of other partitions; outlives a rollback, not a crash.
pub(crate) type Origins = BTreeMap<u32, OriginState>;

/// What to do with an event of another partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Take it in: it is committed at its origin.
    Committed,
    /// Take it in, and promise not to commit it before its origin has.
    Promise,
    /// Drop it: its origin has lost it.
    Void,
}

/// What a statement of another partition leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// The log may be committed further than before.
    Progress,
    /// Nothing.
    None,
    /// What was taken in at this position is void, nothing before it.
    RollBack(u64),
}

/// The promises and statements of one incarnation of a partition.
#[derive(Default)]
pub(crate) struct Speculation {
    /// The partition itself.
    index: u32,
    /// It is among them: others may send it what depends on work that it has lost.
    origins: Origins,
    /// By log position: the event that was taken in before its origin was committed.
    promises: BTreeMap<u64, Origin>,
    /// What open promises depend on: the last position, by partition and epoch. What has been kept since
    /// may be among it.
    depends: BTreeMap<(u32, u32), u64>,
    /// First and last position sent early and not committed yet, by destination.
    early: BTreeMap<u32, (u64, u64)>,
    /// Nothing is sent early before this instant.
    cautious_until: Timestamp,
    /// The first promise when it was last looked whether one is overdue.
    looked_at: Option<u64>,
    /// Whether void events are dropped and rolled back; otherwise they count as committed.
    rollback: bool,
}

impl Speculation {
    /// Of partition `index`, for its incarnation with these epochs and this knowledge of others.
    pub(crate) fn new(index: u32, incarnation: Incarnation, rollback: bool) -> Speculation {
        let Incarnation { epochs, mut origins, cautious_until } = incarnation;
        origins.entry(index).or_default().epochs = epochs;
        Speculation { index, origins, cautious_until, rollback, ..Speculation::default() }
    }

    /// What was taken in before position `committed` depends on nothing that can be lost.
    pub(crate) fn recover(&mut self, committed: u64) {
        let open = self.promises.split_off(&committed);
        self.promises.clear();
        self.depends.clear();
        open.into_iter().for_each(|(position, origin)| self.promise(position, origin));
    }

    /// What the partition depends on that may be lost.
    pub(crate) fn depends(&self) -> Vec<Dependency> {
        let dependency = |(work, position): (&(u32, u32), &u64)| {
            let (partition, epoch) = *work;
            Dependency { partition, epoch, position: *position }
        };
        self.depends.iter().map(dependency).collect()
    }

    /// The origins of all open promises.
    pub(crate) fn open_origins(&self) -> BTreeSet<u32> {
        self.promises.values().map(|origin| origin.partition).collect()
    }

    /// What is known of other partitions.
    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// What to do with an event of another partition.
    pub(crate) fn judge(&self, origin: &Origin) -> Verdict {
        let known = |work: &Dependency| self.origins.get(&work.partition);
        let is_void = |work| known(work).is_some_and(|state| state.is_void(work));
        let is_committed = |work| known(work).is_some_and(|state| state.is_committed(work));
        if !origin.is_speculative() || is_committed(&origin.itself()) {
            Verdict::Committed
        } else if origin.depends.iter().any(is_void) {
            if self.rollback { Verdict::Void } else { Verdict::Committed }
        } else {
            Verdict::Promise
        }
    }

    /// Notes that the event at log position `position` depends on its origin.
    pub(crate) fn promise(&mut self, position: u64, origin: Origin) {
        for work in origin.depends.iter().filter(|work| work.partition != self.index) {
            let last = self.depends.entry((work.partition, work.epoch)).or_default();
            *last = work.position.max(*last);
        }
        self.promises.insert(position, origin);
    }

    /// The first log position that must not be committed yet.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.promises.first_key_value().map(|(position, _)| *position)
    }

    /// The origin of the first promise, if that was the first one at the last call too.
    pub(crate) fn overdue(&mut self) -> Option<u32> {
        let first = self.limit();
        let before = std::mem::replace(&mut self.looked_at, first);
        let position = first.filter(|_| first == before)?;
        self.promises.get(&position).map(|origin| origin.partition)
    }

    /// Takes a statement: where the incarnations of `partition` began, and up to where it is
    /// committed. Statements of former incarnations may come late.
    pub(crate) fn learn(
        &mut self,
        partition: u32,
        epochs: Vec<(u64, u32)>,
        committed: u64,
    ) -> Consequence {
        let state = self.origins.entry(partition).or_default();
        if epochs.len() > state.epochs.len() {
            state.epochs = epochs;
        }
        state.committed = state.committed.max(committed);
        let limit = self.promises.first_key_value().map(|(position, _)| *position);
        let (mut void, rollback) = (None, self.rollback);
        self.promises.retain(|position, origin| {
            let mut own = origin.depends.iter().filter(|work| work.partition == partition);
            let is_void = own.any(|work| state.is_void(work));
            void = void.or(is_void.then_some(*position));
            let kept = origin.partition == partition && state.is_committed(&origin.itself());
            !kept && (rollback || !is_void)
        });
        self.depends.retain(|(of, epoch), position| {
            let work = Dependency { partition: *of, epoch: *epoch, position: *position };
            *of != partition || !state.is_committed(&work)
        });
        if self.promises.is_empty() {
            self.depends.clear();
        }
        if let Some(position) = void.filter(|_| rollback) {
            return Consequence::RollBack(position);
        }
        match self.promises.first_key_value().map(|(position, _)| *position) == limit {
            true => Consequence::None,
            false => Consequence::Progress,
        }
    }

    /// Whether something may be sent before it is committed.
    pub(crate) fn is_bold(&self, now: Timestamp) -> bool {
        now >= self.cautious_until
    }

    /// Notes that something was sent early.
    pub(crate) fn sent_early(&mut self, destination: u32, position: u64) {
        self.early
            .entry(destination)
            .and_modify(|(_, last)| *last = position)
            .or_insert((position, position));
    }

    /// The log is committed up to (not including) `committed`: whom to tell.
    pub(crate) fn newly_committed(&mut self, committed: u64) -> Vec<u32> {
        let mut told = Vec::new();
        self.early.retain(|destination, (first, last)| {
            if *first >= committed {
                return true;
            }
            told.push(*destination);
            *first = committed;
            *last >= committed
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(epoch: u32, position: u64) -> Origin {
        let depends = vec![Dependency { partition: 3, epoch, position }];
        Origin { partition: 3, position, sub_position: 0, epoch, depends }
    }

    /// The second one of a partition, which has lost what lay behind 100.
    fn incarnation(cautious_until: Timestamp) -> Incarnation {
        Incarnation { epochs: vec![(64, 1), (100, 2)], origins: Origins::new(), cautious_until }
    }

    fn speculation() -> Speculation {
        Speculation::new(0, incarnation(Timestamp::ZERO), true)
    }

    #[test]
    fn a_promise_holds_the_log_back_until_the_origin_is_committed() {
        let mut receiver = speculation();
        assert_eq!(receiver.judge(&origin(1, 100)), Verdict::Promise);
        receiver.promise(640, origin(1, 100));
        receiver.promise(720, origin(1, 200));
        assert_eq!(receiver.limit(), Some(640));
        assert_eq!(receiver.learn(3, vec![(64, 1)], 100), Consequence::None, "not 100 itself");
        assert_eq!(receiver.learn(5, vec![(64, 1)], 900), Consequence::None, "of another one");
        assert_eq!(receiver.learn(3, vec![(64, 1)], 150), Consequence::Progress);
        assert_eq!(receiver.limit(), Some(720));
        assert_eq!(receiver.learn(3, vec![(64, 1)], 201), Consequence::Progress);
        assert_eq!(receiver.limit(), None);
        assert_eq!(receiver.judge(&origin(1, 180)), Verdict::Committed, "known already");
    }

    #[test]
    fn what_a_later_incarnation_did_not_find_is_void() {
        let mut receiver = speculation();
        receiver.promise(640, origin(1, 100));
        let second = vec![(64, 1), (101, 2)];
        assert_eq!(
            receiver.learn(3, second.clone(), 101),
            Consequence::Progress,
            "100 was committed"
        );
        receiver.promise(720, origin(2, 150));
        assert_eq!(receiver.judge(&origin(1, 101)), Verdict::Void, "lost, and comes late");
        assert_eq!(receiver.judge(&origin(2, 101)), Verdict::Promise, "sent anew");
        let third = vec![(64, 1), (101, 2), (120, 3)];
        assert_eq!(receiver.learn(3, third, 120), Consequence::RollBack(720));
        assert_eq!(receiver.learn(3, second, 110), Consequence::RollBack(720), "it stays void");
        assert_eq!(receiver.limit(), Some(720));
    }

    #[test]
    fn a_position_that_was_passed_by_a_later_incarnation_is_not_taken_for_committed() {
        let mut receiver = speculation();
        receiver.promise(640, origin(1, 130));
        // Epoch 2 began at 120 and has come to 200: what epoch 1 had at 130 is lost all the same.
        assert_eq!(receiver.learn(3, vec![(64, 1), (120, 2)], 200), Consequence::RollBack(640));
    }

    #[test]
    fn work_is_void_if_anything_it_comes_from_is() {
        let mut receiver = speculation();
        let mut through_third = origin(1, 100);
        through_third.depends.push(Dependency { partition: 5, epoch: 1, position: 70 });
        assert_eq!(receiver.judge(&through_third), Verdict::Promise);
        receiver.promise(640, through_third.clone());
        assert_eq!(
            receiver.depends(),
            [(3, 100), (5, 70)]
                .map(|(partition, position)| { Dependency { partition, epoch: 1, position } })
        );
        assert_eq!(receiver.learn(5, vec![(64, 1), (70, 2)], 70), Consequence::RollBack(640));
        assert_eq!(receiver.judge(&through_third), Verdict::Void, "whatever its origin says");
    }

    #[test]
    fn what_comes_of_work_that_the_partition_itself_has_lost_is_void() {
        let receiver = speculation();
        let mut echo = origin(1, 500);
        echo.depends.push(Dependency { partition: 0, epoch: 1, position: 99 });
        assert_eq!(receiver.judge(&echo), Verdict::Promise);
        echo.depends.push(Dependency { partition: 0, epoch: 1, position: 100 });
        assert_eq!(receiver.judge(&echo), Verdict::Void);
    }

    #[test]
    fn what_is_committed_is_not_named_any_more() {
        let mut receiver = speculation();
        receiver.promise(640, origin(1, 100));
        receiver.promise(720, origin(1, 200));
        receiver.learn(3, vec![(64, 1)], 150);
        assert_eq!(receiver.depends().len(), 1, "200 is open");
        receiver.learn(3, vec![(64, 1)], 201);
        assert!(receiver.depends().is_empty());
    }

    #[test]
    fn a_promise_that_stays_open_is_asked_for() {
        let mut receiver = speculation();
        assert_eq!(receiver.overdue(), None);
        receiver.promise(640, origin(1, 100));
        assert_eq!(receiver.overdue(), None, "not yet");
        assert_eq!(receiver.overdue(), Some(3));
        receiver.learn(3, vec![(64, 1)], 101);
        assert_eq!(receiver.overdue(), None);
    }

    #[test]
    fn without_rollback_void_work_counts_as_committed() {
        let mut receiver = Speculation::new(0, incarnation(Timestamp::ZERO), false);
        receiver.promise(640, origin(1, 130));
        assert_eq!(receiver.learn(3, vec![(64, 1), (120, 2)], 120), Consequence::Progress);
        assert_eq!(receiver.judge(&origin(1, 140)), Verdict::Committed);
    }

    #[test]
    fn statements_go_to_whom_was_sent_something_that_is_committed_now() {
        let mut sender = Speculation::new(0, incarnation(Timestamp::from_secs(5)), true);
        assert!(!sender.is_bold(Timestamp::from_secs(4)));
        assert!(sender.is_bold(Timestamp::from_secs(5)));
        sender.sent_early(1, 100);
        sender.sent_early(2, 300);
        sender.sent_early(1, 200);
        assert!(sender.newly_committed(100).is_empty());
        assert_eq!(sender.newly_committed(150), [1]);
        assert_eq!(sender.newly_committed(301), [1, 2]);
        assert!(sender.newly_committed(900).is_empty());
    }
}
