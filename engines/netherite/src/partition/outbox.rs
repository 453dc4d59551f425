//! Outbox: what leaves the partition, when it may, and until when it is kept.
//!
//! Messages to other partitions and answers to clients wait under the log position of the event
//! that produced them, and leave when that position is committed, that is, durable with everything it
//! depends on: nobody outside sees what could still be lost. With speculation `global` messages to
//! partitions leave at once, marked as speculative; answers to clients wait in every mode.
//!
//! An entry is kept until the transport has taken all of it, and until the partitions it is for have
//! said that they have it durably. A recovery sends everything again that is still there; receivers
//! drop what they know. Receivers tell old from new by position, so nothing may overtake an earlier
//! entry on its way to one partition.
//!
//! Source: microsoft/durabletask-netherite, `PartitionState/OutboxState.cs`.

use crate::event::{Acknowledged, ClientEvent, PartitionEvent};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything one event sends.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
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

/// What is known of one entry.
#[derive(Serialize, Deserialize)]
struct Entry {
    out: Outgoing,
    /// The transport has taken what is for partitions, and for clients.
    partitions_taken: bool,
    clients_taken: bool,
    /// Partitions that have not said that they have it.
    unacknowledged: Vec<u32>,
    /// Whether it was handed to the transport by this incarnation.
    #[serde(skip)]
    partitions_sent: bool,
    #[serde(skip)]
    clients_sent: bool,
    /// Whether a report to the load monitor has seen it before.
    #[serde(skip)]
    reported: bool,
}

impl Entry {
    fn new(out: Outgoing, acknowledged: bool) -> Entry {
        let mut unacknowledged: Vec<u32> = Vec::new();
        if acknowledged {
            unacknowledged.extend(out.partitions.iter().map(|(partition, _)| *partition));
            unacknowledged.sort_unstable();
            unacknowledged.dedup();
        }
        Entry {
            partitions_taken: out.partitions.is_empty(),
            clients_taken: out.clients.is_empty(),
            unacknowledged,
            out,
            partitions_sent: false,
            clients_sent: false,
            reported: false,
        }
    }

    fn is_done(&self) -> bool {
        self.partitions_taken && self.clients_taken && self.unacknowledged.is_empty()
    }

    fn is_sent(&self) -> bool {
        (self.partitions_sent || self.out.partitions.is_empty())
            && (self.clients_sent || self.out.clients.is_empty())
    }
}

/// Entries that wait for durability, for the transport, or for their receivers.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Outbox {
    entries: BTreeMap<u64, Entry>,
    /// Every entry before this position was handed to the transport by this incarnation.
    #[serde(skip)]
    released: u64,
    /// What every entry before this position has for partitions was handed over.
    #[serde(skip)]
    sent_early: u64,
}

impl Outbox {
    /// Keeps `outgoing` until its position is committed. Its receivers have to acknowledge it if
    /// `acknowledged` says so.
    pub(crate) fn add(&mut self, outgoing: Outgoing, acknowledged: bool) {
        if outgoing.is_empty() {
            return;
        }
        let position = outgoing.position;
        let previous = self.entries.insert(position, Entry::new(outgoing, acknowledged));
        assert!(previous.is_none(), "one entry for each log position");
    }

    /// What is for partitions and waits in the entries up to `position`, to send it before it is
    /// committed. What waited because the partition was cautious goes first: so order is kept.
    pub(crate) fn send_early(&mut self, position: u64) -> Vec<Outgoing> {
        let mut early = Vec::new();
        let from = self.sent_early.max(self.released).min(position);
        for (position, entry) in self.entries.range_mut(from..=position) {
            if !entry.out.partitions.is_empty() && !entry.partitions_sent {
                entry.partitions_sent = true;
                let partitions = entry.out.partitions.clone();
                early.push(Outgoing { position: *position, partitions, clients: Vec::new() });
            }
        }
        self.sent_early = self.sent_early.max(position + 1);
        early
    }

    /// All that is kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Outgoing> {
        self.entries.values().map(|entry| &entry.out)
    }

    /// Hands the whole entry at `position` to the transport now.
    pub(crate) fn send_now(&mut self, position: u64) -> Option<Outgoing> {
        let entry = self.entries.get_mut(&position)?;
        (entry.partitions_sent, entry.clients_sent) = (true, true);
        Some(entry.out.clone())
    }

    /// What may leave once the log is committed up to (not including) `committed`.
    pub(crate) fn release(&mut self, committed: u64) -> Vec<Outgoing> {
        let mut released = Vec::new();
        for (position, entry) in self.entries.range_mut(self.released.min(committed)..committed) {
            if entry.is_sent() {
                continue;
            }
            let mut out = Outgoing { position: *position, ..Outgoing::default() };
            if !entry.partitions_sent {
                out.partitions = entry.out.partitions.clone();
            }
            if !entry.clients_sent {
                out.clients = entry.out.clients.clone();
            }
            (entry.partitions_sent, entry.clients_sent) = (true, true);
            released.push(out);
        }
        self.released = self.released.max(committed);
        released
    }

    /// The transport has taken what the entry has for partitions, for clients, or both.
    pub(crate) fn confirm(&mut self, position: u64, partitions: bool, clients: bool) {
        if let Some(entry) = self.entries.get_mut(&position) {
            entry.partitions_taken |= partitions;
            entry.clients_taken |= clients;
            if entry.is_done() {
                self.entries.remove(&position);
            }
        }
    }

    /// A partition has durably received everything up to a position and number.
    pub(crate) fn acknowledge(&mut self, ack: &Acknowledged) {
        let mut done = Vec::new();
        for (position, entry) in self.entries.range_mut(..=ack.position) {
            let all = |(to, event): &(u32, PartitionEvent)| {
                let sub_position = event.origin().map_or(0, |origin| origin.sub_position);
                *to != ack.receiver || (*position, sub_position) <= (ack.position, ack.sub_position)
            };
            if entry.out.partitions.iter().all(all) {
                entry.unacknowledged.retain(|receiver| *receiver != ack.receiver);
            }
            if entry.is_done() {
                done.push(*position);
            }
        }
        for position in done {
            self.entries.remove(&position);
        }
    }

    /// Partitions that have not acknowledged what was reported before; now reported.
    pub(crate) fn wanted(&mut self) -> Vec<u32> {
        let mut wanted = Vec::new();
        for entry in self.entries.values_mut() {
            if std::mem::replace(&mut entry.reported, true) {
                wanted.extend(&entry.unacknowledged);
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    /// A new incarnation begins: everything has to be sent again.
    pub(crate) fn recover(&mut self) {
        (self.released, self.sent_early) = (0, 0);
        for entry in self.entries.values_mut() {
            (entry.partitions_sent, entry.clients_sent) = (false, false);
        }
    }

    /// Forgets what a former incarnation has not seen taken (an ablation).
    pub(crate) fn forget(&mut self) {
        self.entries.clear();
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
