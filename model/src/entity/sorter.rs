//! The order of messages towards entities, over a transport that keeps none.
//!
//! **What it models.** The message sorter of Azure/durabletask main@5217032
//! (`DurableTask.Core/Entities/MessageSorter.cs`). The sender stamps each message with its time
//! and the time of its previous message to the same destination. The receiver holds a message back
//! until the one before it has arrived, and drops what it has seen. Both forget what is older than
//! the reorder window (30 minutes in AzureStorage): a message held back that long is delivered,
//! and an older one is not ordered any more. Old entries are collected at most every 10 s.
//!
//! **Beyond the published code.** There an orchestration that continues as new begins again without
//! a predecessor, and the receiver no longer knows duplicates of what the former execution sent: a
//! second copy of a lock request then locks its entity for ever. Here the stamps go on.

use crate::id::InstanceId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Old entries are collected at most this often.
const COLLECTION_INTERVAL: Duration = Duration::from_secs(10);

/// The place of a message among those of its sender to one entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Who sent it.
    pub sender: InstanceId,
    /// When it was sent; grows with every message to the same entity.
    pub timestamp: Timestamp,
    /// The stamp of the message before it, if there was one within the window.
    pub predecessor: Option<Timestamp>,
}

/// A message held back until its predecessor has arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held<T> {
    predecessor: Option<Timestamp>,
    message: T,
}

/// What was received from one sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Received<T> {
    /// The stamp of the last message delivered.
    last: Option<Timestamp>,
    held: BTreeMap<Timestamp, Held<T>>,
}

/// Both ends of the ordering, as one instance keeps them: the stamps of what it has sent, and what
/// it has received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSorter<T> {
    #[serde(default = "BTreeMap::new", skip_serializing_if = "BTreeMap::is_empty")]
    sent: BTreeMap<InstanceId, Timestamp>,
    #[serde(default = "BTreeMap::new", skip_serializing_if = "BTreeMap::is_empty")]
    received: BTreeMap<InstanceId, Received<T>>,
    /// Nothing older takes part in the ordering.
    #[serde(default)]
    horizon: Timestamp,
    /// When old stamps of sent messages were last collected.
    #[serde(default)]
    collected: Timestamp,
}

impl<T> Default for MessageSorter<T> {
    fn default() -> Self {
        MessageSorter {
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            horizon: Timestamp::ZERO,
            collected: Timestamp::ZERO,
        }
    }
}

impl<T> MessageSorter<T> {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.received.is_empty()
    }

    /// The stamp of the next message from `sender` to `destination`; none if the window is zero.
    pub fn stamp(
        &mut self,
        sender: &InstanceId,
        destination: &InstanceId,
        now: Timestamp,
        window: Duration,
    ) -> Option<Stamp> {
        if window.is_zero() {
            return None;
        }
        if now.since(self.collected) > COLLECTION_INTERVAL {
            self.sent.retain(|_, last| now.since(*last) <= window);
            self.collected = now;
        }
        // What is older than the window counts as collected, whether it was or not: a sender rebuilt
        // from its history has collected nothing yet.
        let recent = |last: &Timestamp| now.since(*last) <= window;
        let predecessor = self.sent.get(destination).copied().filter(recent);
        let timestamp = predecessor.map_or(now, |last| now.max(last + Duration::from_nanos(1)));
        self.sent.insert(destination.clone(), timestamp);
        Some(Stamp { sender: sender.clone(), timestamp, predecessor })
    }

    /// Notes, on replay, a message that was sent.
    pub fn note_sent(&mut self, destination: &InstanceId, stamped: Timestamp) {
        self.sent.insert(destination.clone(), stamped);
    }

    /// When something was last sent to each destination, as far as it still matters.
    pub fn sent(&self, now: Timestamp, window: Duration) -> Vec<(InstanceId, Timestamp)> {
        let recent = self.sent.iter().filter(|(_, last)| now.since(**last) <= window);
        recent.map(|(destination, last)| (destination.clone(), *last)).collect()
    }

    /// Takes a message in; those that can be delivered now go to `deliver`, in order.
    pub fn receive(
        &mut self,
        stamp: &Stamp,
        message: T,
        window: Duration,
        deliver: &mut impl FnMut(T),
    ) {
        self.advance(stamp.timestamp, window, deliver);
        if stamp.timestamp < self.horizon {
            // Too old to be ordered, or to be known as a duplicate.
            deliver(message);
            return;
        }
        let fresh = || Received { last: None, held: BTreeMap::new() };
        let from = self.received.entry(stamp.sender.clone()).or_insert_with(fresh);
        if from.last.is_some_and(|last| stamp.timestamp <= last) {
            return;
        }
        let held = Held { predecessor: stamp.predecessor, message };
        from.held.entry(stamp.timestamp).or_insert(held);
        from.release(self.horizon, deliver);
    }

    /// Moves the horizon, and delivers what no longer has to wait.
    fn advance(&mut self, now: Timestamp, window: Duration, deliver: &mut impl FnMut(T)) {
        if now <= self.horizon + window + COLLECTION_INTERVAL {
            return;
        }
        self.horizon = now.before(window);
        let horizon = self.horizon;
        self.received.retain(|_, from| {
            from.release(horizon, deliver);
            !from.held.is_empty() || from.last.is_some_and(|last| last >= horizon)
        });
    }
}

impl<T> Received<T> {
    /// Delivers everything whose predecessor has been delivered or is beyond the horizon.
    fn release(&mut self, horizon: Timestamp, deliver: &mut impl FnMut(T)) {
        while let Some(entry) = self.held.first_entry() {
            let ready = entry.get().predecessor.is_none_or(|predecessor| {
                predecessor < horizon || self.last.is_some_and(|last| predecessor <= last)
            });
            if !ready {
                return;
            }
            self.last = Some(*entry.key());
            deliver(entry.remove().message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(1800);

    fn send(count: u32, gap: Duration) -> Vec<(Stamp, u32)> {
        let (sender, entity) = (InstanceId::new("o"), InstanceId::new("@e@1"));
        let mut sorter = MessageSorter::<u32>::default();
        let mut now = Timestamp::from_millis(1);
        (0..count)
            .map(|number| {
                now += gap;
                let stamp = sorter.stamp(&sender, &entity, now, WINDOW);
                (stamp.expect("the window is open"), number)
            })
            .collect()
    }

    fn receive(arrivals: &[(Stamp, u32)]) -> Vec<u32> {
        let mut delivered = Vec::new();
        let mut sorter = MessageSorter::default();
        for (stamp, message) in arrivals {
            sorter.receive(stamp, *message, WINDOW, &mut |message| delivered.push(message));
        }
        delivered
    }

    proptest! {
        /// Whatever order messages arrive in, and however often: they are delivered once, as sent.
        #[test]
        fn order_is_restored_and_duplicates_are_dropped(
            count in 1u32..30,
            gap_ms in 0u64..10_000,
            shuffle in proptest::collection::vec(any::<u32>(), 60),
        ) {
            let sent = send(count, Duration::from_millis(gap_ms));
            let mut arrivals: Vec<_> = sent.iter().chain(&sent).cloned().collect();
            let mut keys = shuffle.into_iter();
            arrivals.sort_by_cached_key(|_| keys.next());
            prop_assert_eq!(receive(&arrivals), (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_message_waits_for_its_predecessor() {
        let sent = send(3, Duration::from_millis(5));
        assert_eq!(receive(&sent[1..]), [0u32; 0]);
        let late = [sent[2].clone(), sent[0].clone()];
        assert_eq!(receive(&late), [0]);
    }

    #[test]
    fn beyond_the_window_nothing_waits_any_more() {
        let sent = send(2, Duration::from_secs(1));
        let much_later = send(2, Duration::from_secs(4000));
        let arrivals = [sent[1].clone(), much_later[1].clone()];
        // The message whose predecessor was lost is let go before the late one.
        assert_eq!(receive(&arrivals), [1, 1]);
    }

    #[test]
    fn a_sender_rebuilt_from_what_it_sent_goes_on_as_the_one_that_was_kept() {
        let sender = InstanceId::new("o");
        let entities = [InstanceId::new("@e@1"), InstanceId::new("@e@2")];
        let mut kept = MessageSorter::<()>::default();
        let mut sent = Vec::new();
        // The old message to entity 1 is beyond the window, and not collected, at 1803 s.
        for (entity, secs) in [(0, 0), (1, 1795), (0, 1803), (1, 1803), (0, 1803), (0, 9999)] {
            let now = Timestamp::from_secs(secs);
            let mut rebuilt = MessageSorter::<()>::default();
            for (destination, stamped) in &sent {
                rebuilt.note_sent(destination, *stamped);
            }
            assert_eq!(rebuilt.sent(now, WINDOW), kept.sent(now, WINDOW));
            let stamp = kept.stamp(&sender, &entities[entity], now, WINDOW);
            assert_eq!(rebuilt.stamp(&sender, &entities[entity], now, WINDOW), stamp);
            sent.push((entities[entity].clone(), stamp.expect("the window is open").timestamp));
        }
    }

    #[test]
    fn no_window_means_no_stamps() {
        let (sender, entity) = (InstanceId::new("o"), InstanceId::new("@e@1"));
        let mut sorter = MessageSorter::<u32>::default();
        let stamp = sorter.stamp(&sender, &entity, Timestamp::ZERO, Duration::ZERO);
        assert_eq!(stamp, None);
        assert!(sorter.is_empty());
    }
}
