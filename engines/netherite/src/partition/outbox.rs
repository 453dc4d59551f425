//! Outbox: what leaves the partition, and when it may.
//!
//! Messages to other partitions and answers to clients wait under the log position of the event
//! that produced them, and leave when that position is durable: nobody outside sees what could
//! still be lost. An entry is removed when the transport has taken all of it.

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
    /// Sent, not yet confirmed by the transport; kept so that a recovery can send them again.
    sent: BTreeMap<u64, Outgoing>,
}

impl Outbox {
    /// Keeps `outgoing` until its position is durable.
    pub(crate) fn add(&mut self, outgoing: Outgoing) {
        if !outgoing.is_empty() {
            let previous = self.waiting.insert(outgoing.position, outgoing);
            assert!(previous.is_none(), "one entry for each log position");
        }
    }

    /// What may leave once the log is durable up to (not including) `durable`.
    pub(crate) fn release(&mut self, durable: u64) -> Vec<Outgoing> {
        let later = self.waiting.split_off(&durable);
        let released = std::mem::replace(&mut self.waiting, later);
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
