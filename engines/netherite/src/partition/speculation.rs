//! Global speculation: what depends on work of other partitions that is not durable yet.
//!
//! **What it models.** With speculation `global` a partition sends messages to others before they are
//! durable. The receiver works on at once, and notes a *promise* for the log position of the event:
//! its log is not committed beyond the first position whose promise is not kept. The origin says how
//! far it is durable whenever a commit has covered something it had sent early; that keeps promises,
//! and lets the receiver commit.
//!
//! **Rollback.** Each incarnation of a partition has a number (epoch) and begins at the position up
//! to which its log was durable. The list of epochs with their first positions is in the log's commit
//! record, and goes with every statement. An event that epoch `e` sent at position `p` is *void* if a
//! later epoch began at or before `p`: the origin has lost what it was sent by. A promise that turns
//! out void makes the receiver roll back: it commits up to its first promise that is not kept,
//! begins a new incarnation from there, and tells all others. After a rollback or a recovery a
//! partition is *cautious* for a while: it sends only what is durable, so that void work dies out.
//! `docs/speculation.md` has the protocol and its argument.
//!
//! Source: microsoft/durabletask-netherite, branch `consistent-recovery` (promises, confirmations and
//! the clipped commit); the rollback is this project's.

use crate::event::Origin;
use sim_model::time::Timestamp;
use std::collections::BTreeMap;

/// What a receiver knows of a partition that sends to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct OriginState {
    /// First position and number of each incarnation.
    epochs: Vec<(u64, u32)>,
    /// Up to where it is durable.
    durable: u64,
}

impl OriginState {
    /// Whether the origin has lost what it sent this event by.
    fn is_void(&self, origin: &Origin) -> bool {
        self.epochs.iter().any(|(first, epoch)| *epoch > origin.epoch && *first <= origin.position)
    }

    fn is_durable(&self, origin: &Origin) -> bool {
        origin.position < self.durable && !self.is_void(origin)
    }
}

/// What is known of other partitions; outlives a rollback, not a crash.
pub(crate) type Origins = BTreeMap<u32, OriginState>;

/// What to do with an event of another partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Take it in: it is durable at its origin.
    Durable,
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
    /// Something that was taken in is void.
    RollBack,
}

/// The promises and statements of one incarnation of a partition.
#[derive(Default)]
pub(crate) struct Speculation {
    origins: Origins,
    /// By log position: the event that was taken in before its origin was durable.
    promises: BTreeMap<u64, Origin>,
    /// First and last position sent early and not durable yet, by destination.
    early: BTreeMap<u32, (u64, u64)>,
    /// Nothing is sent early before this instant.
    cautious_until: Timestamp,
    /// The first promise when it was last looked whether one is overdue.
    looked_at: Option<u64>,
    /// Whether void events are dropped and rolled back; otherwise they count as durable.
    rollback: bool,
}

impl Speculation {
    pub(crate) fn new(origins: Origins, cautious_until: Timestamp, rollback: bool) -> Speculation {
        Speculation { origins, cautious_until, rollback, ..Speculation::default() }
    }

    /// Everything taken in so far is durable, and so is what it depends on.
    pub(crate) fn recover(&mut self) {
        self.promises.clear();
        self.early.clear();
    }

    /// What is known of other partitions.
    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// What to do with an event of another partition.
    pub(crate) fn judge(&self, origin: &Origin) -> Verdict {
        if !origin.speculative {
            return Verdict::Durable;
        }
        match self.origins.get(&origin.partition) {
            Some(state) if state.is_void(origin) && self.rollback => Verdict::Void,
            Some(state) if state.is_void(origin) || state.is_durable(origin) => Verdict::Durable,
            _ => Verdict::Promise,
        }
    }

    /// Notes that the event at log position `position` depends on its origin.
    pub(crate) fn promise(&mut self, position: u64, origin: Origin) {
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
    /// durable. Statements of former incarnations may come late.
    pub(crate) fn learn(
        &mut self,
        partition: u32,
        epochs: Vec<(u64, u32)>,
        durable: u64,
    ) -> Consequence {
        let state = self.origins.entry(partition).or_default();
        if epochs.len() > state.epochs.len() {
            state.epochs = epochs;
        }
        state.durable = state.durable.max(durable);
        let limit = self.promises.first_key_value().map(|(position, _)| *position);
        let (mut void, rollback) = (false, self.rollback);
        self.promises.retain(|_, origin| {
            let is_void = origin.partition == partition && state.is_void(origin);
            void |= is_void;
            let kept = origin.partition == partition && state.is_durable(origin);
            !kept && (rollback || !is_void)
        });
        if void && rollback {
            return Consequence::RollBack;
        }
        match self.promises.first_key_value().map(|(position, _)| *position) == limit {
            true => Consequence::None,
            false => Consequence::Progress,
        }
    }

    /// Whether something may be sent before it is durable.
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

    /// The log is durable up to (not including) `durable`: whom to tell.
    pub(crate) fn newly_durable(&mut self, durable: u64) -> Vec<u32> {
        let mut told = Vec::new();
        self.early.retain(|destination, (first, last)| {
            if *first >= durable {
                return true;
            }
            told.push(*destination);
            *first = durable;
            *last >= durable
        });
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(epoch: u32, position: u64) -> Origin {
        Origin { partition: 3, position, sub_position: 0, epoch, speculative: true }
    }

    fn speculation() -> Speculation {
        Speculation::new(Origins::new(), Timestamp::ZERO, true)
    }

    #[test]
    fn a_promise_holds_the_log_back_until_the_origin_is_durable() {
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
        assert_eq!(receiver.judge(&origin(1, 180)), Verdict::Durable, "known already");
    }

    #[test]
    fn what_a_later_incarnation_did_not_find_is_void() {
        let mut receiver = speculation();
        receiver.promise(640, origin(1, 100));
        let second = vec![(64, 1), (101, 2)];
        assert_eq!(
            receiver.learn(3, second.clone(), 101),
            Consequence::Progress,
            "100 was durable"
        );
        receiver.promise(720, origin(2, 150));
        assert_eq!(receiver.judge(&origin(1, 101)), Verdict::Void, "lost, and comes late");
        assert_eq!(receiver.judge(&origin(2, 101)), Verdict::Promise, "sent anew");
        let third = vec![(64, 1), (101, 2), (120, 3)];
        assert_eq!(receiver.learn(3, third, 120), Consequence::RollBack);
        assert_eq!(receiver.learn(3, second, 110), Consequence::RollBack, "it stays void");
        assert_eq!(receiver.limit(), Some(720));
    }

    #[test]
    fn a_position_that_was_passed_by_a_later_incarnation_is_not_taken_for_durable() {
        let mut receiver = speculation();
        receiver.promise(640, origin(1, 130));
        // Epoch 2 began at 120 and has come to 200: what epoch 1 had at 130 is lost all the same.
        assert_eq!(receiver.learn(3, vec![(64, 1), (120, 2)], 200), Consequence::RollBack);
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
    fn without_rollback_void_work_counts_as_durable() {
        let mut receiver = Speculation::new(Origins::new(), Timestamp::ZERO, false);
        receiver.promise(640, origin(1, 130));
        assert_eq!(receiver.learn(3, vec![(64, 1), (120, 2)], 120), Consequence::Progress);
        assert_eq!(receiver.judge(&origin(1, 140)), Verdict::Durable);
    }

    #[test]
    fn statements_go_to_whom_was_sent_something_that_is_durable_now() {
        let mut sender = Speculation::new(Origins::new(), Timestamp::from_secs(5), true);
        assert!(!sender.is_bold(Timestamp::from_secs(4)));
        assert!(sender.is_bold(Timestamp::from_secs(5)));
        sender.sent_early(1, 100);
        sender.sent_early(2, 300);
        sender.sent_early(1, 200);
        assert!(sender.newly_durable(100).is_empty());
        assert_eq!(sender.newly_durable(150), [1]);
        assert_eq!(sender.newly_durable(301), [1, 2]);
        assert!(sender.newly_durable(900).is_empty());
    }
}
