//! Outbox: what leaves the partition, when it may, and until when it is kept.
//!
//! Messages to other partitions and answers to clients wait under the log position of the event
//! that produced them, and leave when that position is durable: nobody outside sees what could
//! still be lost. With speculation `global` messages to partitions leave at once, marked as
//! speculative; answers to clients wait in every mode.
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
    /// How many events wait, for each partition they are for.
    #[serde(skip)]
    waiting_for: BTreeMap<u32, usize>,
}

impl Outbox {
    /// Keeps `outgoing` until its position is durable. Its receivers have to acknowledge it if
    /// `acknowledged` says so.
    pub(crate) fn add(&mut self, outgoing: Outgoing, acknowledged: bool) {
        if outgoing.is_empty() {
            return;
        }
        for (partition, _) in &outgoing.partitions {
            *self.waiting_for.entry(*partition).or_default() += 1;
        }
        let position = outgoing.position;
        let previous = self.entries.insert(position, Entry::new(outgoing, acknowledged));
        assert!(previous.is_none(), "one entry for each log position");
    }

    /// Takes out of the entry at `position` what is for partitions, to send it before it is durable;
    /// nothing if an earlier entry waits for one of them, or there is no such entry.
    pub(crate) fn send_early(&mut self, position: u64) -> Option<Outgoing> {
        let entry = self.entries.get_mut(&position)?;
        let partitions = &entry.out.partitions;
        let own = |partition: u32| partitions.iter().filter(|(to, _)| *to == partition).count();
        let waits = |(partition, _): &(u32, PartitionEvent)| {
            self.waiting_for.get(partition).copied().unwrap_or_default() > own(*partition)
        };
        if partitions.is_empty() || partitions.iter().any(waits) {
            return None;
        }
        entry.partitions_sent = true;
        let partitions = partitions.clone();
        uncount(&mut self.waiting_for, &partitions);
        Some(Outgoing { position, partitions, clients: Vec::new() })
    }

    /// Hands the whole entry at `position` to the transport now.
    pub(crate) fn send_now(&mut self, position: u64) -> Option<Outgoing> {
        let entry = self.entries.get_mut(&position)?;
        (entry.partitions_sent, entry.clients_sent) = (true, true);
        let out = entry.out.clone();
        uncount(&mut self.waiting_for, &out.partitions);
        Some(out)
    }

    /// What may leave once the log is durable up to (not including) `durable`.
    pub(crate) fn release(&mut self, durable: u64) -> Vec<Outgoing> {
        let mut released = Vec::new();
        for (position, entry) in self.entries.range_mut(self.released.min(durable)..durable) {
            if entry.is_sent() {
                continue;
            }
            let mut out = Outgoing { position: *position, ..Outgoing::default() };
            if !entry.partitions_sent {
                out.partitions = entry.out.partitions.clone();
                uncount(&mut self.waiting_for, &out.partitions);
            }
            if !entry.clients_sent {
                out.clients = entry.out.clients.clone();
            }
            (entry.partitions_sent, entry.clients_sent) = (true, true);
            released.push(out);
        }
        self.released = self.released.max(durable);
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
        self.released = 0;
        self.waiting_for.clear();
        for entry in self.entries.values_mut() {
            (entry.partitions_sent, entry.clients_sent) = (false, false);
            for (partition, _) in &entry.out.partitions {
                *self.waiting_for.entry(*partition).or_default() += 1;
            }
        }
    }

    /// Forgets what a former incarnation has not seen taken (an ablation).
    pub(crate) fn forget(&mut self) {
        self.entries.clear();
        self.waiting_for.clear();
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn uncount(waiting_for: &mut BTreeMap<u32, usize>, events: &[(u32, PartitionEvent)]) {
    for (partition, _) in events {
        let left = waiting_for.get_mut(partition).expect("invariant: it was counted");
        *left -= 1;
        if *left == 0 {
            waiting_for.remove(partition);
        }
    }
}
