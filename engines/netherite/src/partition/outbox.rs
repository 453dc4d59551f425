//! Outbox: what leaves the partition, and when it may.
//!
//! Messages to other partitions and answers to clients wait under the log position of the event
//! that produced them, and leave when that position is durable: nobody outside sees what could
//! still be lost. An entry is removed when the transport has taken all of it.
//!
//! Receivers tell old from new by position, so nothing may overtake an earlier entry on its way to
//! one partition: what could leave at once waits too if such an entry does.

use crate::event::{ClientEvent, PartitionEvent};
use std::collections::BTreeMap;

/// Everything one event sends.
#[derive(Clone, Default, Debug)]
pub(crate) struct Outgoing {
    /// The log position of the event.
    pub position: u64,
    /// Events for other partitions.
    pub partitions: Vec<(u32, PartitionEvent)>,
    /// Answers to clients, by client.
    pub clients: Vec<(u32, ClientEvent)>,
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty() && self.clients.is_empty()
    }
}

/// Entries that wait for durability or for the transport.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: BTreeMap<u64, Outgoing>,
    /// How many events wait, for each partition they are for.
    waiting_for: BTreeMap<u32, usize>,
    /// Sent, not yet confirmed by the transport; kept so that a recovery can send them again.
    sent: BTreeMap<u64, Outgoing>,
}

impl Outbox {
    /// Keeps `outgoing` until its position is durable.
    pub(crate) fn add(&mut self, outgoing: Outgoing) {
        if !outgoing.is_empty() {
            for (partition, _) in &outgoing.partitions {
                *self.waiting_for.entry(*partition).or_default() += 1;
            }
            let previous = self.waiting.insert(outgoing.position, outgoing);
            assert!(previous.is_none(), "one entry for each log position");
        }
    }

    /// Whether something that waits is for a partition that `outgoing` is for too.
    pub(crate) fn would_overtake(&self, outgoing: &Outgoing) -> bool {
        outgoing.partitions.iter().any(|(partition, _)| self.waiting_for.contains_key(partition))
    }

    /// What may leave once the log is durable up to (not including) `durable`.
    pub(crate) fn release(&mut self, durable: u64) -> Vec<Outgoing> {
        let later = self.waiting.split_off(&durable);
        let released = std::mem::replace(&mut self.waiting, later);
        for (partition, _) in released.values().flat_map(|outgoing| &outgoing.partitions) {
            let left = self.waiting_for.get_mut(partition).expect("invariant: it was counted");
            *left -= 1;
            if *left == 0 {
                self.waiting_for.remove(partition);
            }
        }
        released.into_values().map(|outgoing| self.sending(outgoing)).collect()
    }

    /// Marks an entry as handed to the transport.
    pub(crate) fn sending(&mut self, outgoing: Outgoing) -> Outgoing {
        self.sent.insert(outgoing.position, outgoing.clone());
        outgoing
    }

    /// The transport has taken everything of the entry.
    pub(crate) fn confirm(&mut self, position: u64) {
        self.sent.remove(&position);
    }
}
