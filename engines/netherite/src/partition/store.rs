//! The instance store: more instances than memory holds.
//!
//! **What it models.** A hybrid log (FASTER). Records of instances lie in a log of segments in storage;
//! the index says where each instance's latest record is. Some records are in memory: those changed
//! since they were last written (the mutable region) and a cache of unchanged ones. A checkpoint
//! writes all changed records into a new segment (a fold-over) and the index beside it. Memory beyond
//! the budget is freed by dropping unchanged records, least recently used first (second chance);
//! whoever needs one again reads it from storage. Compaction writes the live records of a segment
//! that holds mostly dead ones anew, and the segment can go.
//!
//! **Assumptions.** The index is exact and in memory whole (FASTER's has 8 bytes for each bucket
//! entry; keys are kept in memory as the published engine does by default, `KeepInstanceIdsInMemory`).
//! A segment is what one checkpoint writes, not a fixed number of pages. The size of a record in
//! memory is estimated from its parts.
//!
//! No I/O: the owner reads and writes segments. Source: microsoft/durabletask-netherite,
//! `StorageLayer/Faster/FasterKV.cs`.

use crate::event::RequestId;
use bytes::Bytes;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};
use sim_model::codec;
use sim_model::engine::InstanceState;
use sim_model::id::InstanceId;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a record in memory besides its key, its episodes and its payloads.
const RECORD_OVERHEAD_BYTES: u64 = 300;
/// Bytes of the suspended code of an orchestration that has not ended [infer].
const CURSOR_BYTES: u64 = 1_500;
const EPISODE_OVERHEAD_BYTES: u64 = 40;
/// The log is compacted when it is so many times as long as its live part.
const COMPACTION_RATIO: u64 = 2;
/// A compaction writes at most so many records anew, and is not begun for fewer bytes than these.
pub(crate) const COMPACTION_RECORDS: usize = 50_000;
const COMPACTION_BYTES_MIN: u64 = 1 << 19;

/// An instance of the partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub state: InstanceState,
    /// The history as encoded episodes.
    pub episodes: Vec<Bytes>,
    pub waiting: Vec<RequestId>,
}

impl Instance {
    pub(crate) fn has_ended(&self) -> bool {
        self.state.status.is_final()
    }

    fn bytes(&self, id: &InstanceId) -> u64 {
        let payload = |payload: &Option<sim_model::payload::Payload>| {
            payload.as_ref().map_or(0, |payload| payload.as_str().len() as u64)
        };
        let episode = |episode: &Bytes| episode.len() as u64 + EPISODE_OVERHEAD_BYTES;
        let suspended = !self.has_ended() && !id.is_entity();
        RECORD_OVERHEAD_BYTES
            + if suspended { CURSOR_BYTES } else { 0 }
            + id.as_str().len() as u64
            + self.episodes.iter().map(episode).sum::<u64>()
            + payload(&self.state.custom_status)
            + payload(&self.state.entity_state)
            + 16 * self.waiting.len() as u64
    }
}

/// A segment of the store's log: the incarnation that wrote it, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SegmentId {
    pub epoch: u32,
    pub number: u64,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub segment: SegmentId,
    pub offset: u64,
    pub length: u32,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Segment {
    bytes: u64,
    live: u64,
}

/// A record in memory.
struct Resident {
    instance: Instance,
    /// Where the same record is in storage; none if it was changed since.
    address: Option<Address>,
    /// Used since the hand of the clock passed.
    referenced: bool,
    bytes: u64,
}

/// The instances of one partition.
#[derive(Default)]
pub(crate) struct InstanceStore {
    resident: IndexMap<InstanceId, Resident, FxBuildHasher>,
    /// Instances whose record is only in storage.
    cold: IndexMap<InstanceId, Address, FxBuildHasher>,
    segments: BTreeMap<SegmentId, Segment>,
    /// Segments that are being written: their records cannot be dropped yet.
    in_flight: BTreeSet<SegmentId>,
    resident_bytes: u64,
    changed: usize,
    hand: usize,
}

impl InstanceStore {
    /// How many instances there are.
    pub(crate) fn len(&self) -> usize {
        self.resident.len() + self.cold.len()
    }

    /// Bytes of the records in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    /// Where the record of an instance is, if it has to be read before it can be used.
    pub(crate) fn cold(&self, id: &InstanceId) -> Option<Address> {
        self.cold.get(id).copied()
    }

    /// All instances that are only in storage.
    pub(crate) fn all_cold(&self) -> impl Iterator<Item = (&InstanceId, Address)> {
        self.cold.iter().map(|(id, address)| (id, *address))
    }

    /// An instance.
    ///
    /// # Panics
    /// If it is only in storage: who needs it has to see that it is loaded.
    pub(crate) fn get(&self, id: &InstanceId) -> Option<&Instance> {
        let found = self.resident.get(id).map(|resident| &resident.instance);
        assert!(found.is_some() || !self.cold.contains_key(id), "{id} was not loaded");
        found
    }

    /// An instance in memory.
    pub(crate) fn resident(&self) -> impl Iterator<Item = (&InstanceId, &Instance)> {
        self.resident.iter().map(|(id, resident)| (id, &resident.instance))
    }

    /// Adds or replaces an instance.
    pub(crate) fn insert(&mut self, id: InstanceId, instance: Instance) {
        self.remove(&id);
        let bytes = instance.bytes(&id);
        self.resident_bytes += bytes;
        self.changed += 1;
        let resident = Resident { instance, address: None, referenced: true, bytes };
        self.resident.insert(id, resident);
    }

    /// Changes an instance; `None` if there is none.
    ///
    /// # Panics
    /// As for [`InstanceStore::get`].
    pub(crate) fn change<R>(
        &mut self,
        id: &InstanceId,
        change: impl FnOnce(&mut Instance) -> R,
    ) -> Option<R> {
        let Some(resident) = self.resident.get_mut(id) else {
            assert!(!self.cold.contains_key(id), "{id} was not loaded");
            return None;
        };
        let result = change(&mut resident.instance);
        let bytes = resident.instance.bytes(id);
        self.resident_bytes = self.resident_bytes - resident.bytes + bytes;
        resident.bytes = bytes;
        resident.referenced = true;
        if let Some(address) = resident.address.take() {
            self.changed += 1;
            free(&mut self.segments, address);
        }
        Some(result)
    }

    /// Removes an instance.
    pub(crate) fn remove(&mut self, id: &InstanceId) {
        if let Some(resident) = self.resident.swap_remove(id) {
            self.resident_bytes -= resident.bytes;
            match resident.address {
                Some(address) => free(&mut self.segments, address),
                None => self.changed -= 1,
            }
        } else if let Some(address) = self.cold.swap_remove(id) {
            free(&mut self.segments, address);
        }
    }

    /// Takes a record that was read from storage. It may have been loaded or removed meanwhile, or
    /// written anew.
    pub(crate) fn loaded(&mut self, id: &InstanceId, address: Address, record: &[u8]) {
        if self.cold(id) != Some(address) {
            return;
        }
        self.cold.swap_remove(id);
        let instance: Instance =
            codec::decode(record).expect("invariant: a record is read as it was written");
        let bytes = instance.bytes(id);
        self.resident_bytes += bytes;
        let resident = Resident { instance, address: Some(address), referenced: true, bytes };
        self.resident.insert(id.clone(), resident);
    }

    /// Notes that an instance was used.
    pub(crate) fn touch(&mut self, id: &InstanceId) {
        if let Some(resident) = self.resident.get_mut(id) {
            resident.referenced = true;
        }
    }

    /// Encodes all changed records into a segment, which the owner has to write; nothing if there
    /// are none. Until [`InstanceStore::written`] they stay in memory.
    pub(crate) fn flush(&mut self, segment: SegmentId) -> Option<Bytes> {
        if self.changed == 0 {
            return None;
        }
        let mut content = Vec::new();
        for resident in self.resident.values_mut().filter(|resident| resident.address.is_none()) {
            let offset = content.len() as u64;
            postcard::to_io(&resident.instance, &mut content)
                .expect("invariant: instances have an encoding, and memory takes it");
            let length = u32::try_from(content.len() as u64 - offset).expect("below 4 GiB");
            resident.address = Some(Address { segment, offset, length });
        }
        self.changed = 0;
        let bytes = content.len() as u64;
        self.segments.insert(segment, Segment { bytes, live: bytes });
        self.in_flight.insert(segment);
        Some(Bytes::from(content))
    }

    /// A segment was written.
    pub(crate) fn written(&mut self, segment: SegmentId) {
        self.in_flight.remove(&segment);
    }

    /// Takes the segments without a live record out of the store. They can be deleted when no
    /// checkpoint names them.
    pub(crate) fn take_dead(&mut self) -> Vec<SegmentId> {
        let dead: Vec<SegmentId> = self
            .segments
            .iter()
            .filter(|(id, segment)| segment.live == 0 && !self.in_flight.contains(id))
            .map(|(id, _)| *id)
            .collect();
        for segment in &dead {
            self.segments.remove(segment);
        }
        dead
    }

    /// Encodes the index.
    ///
    /// # Panics
    /// If a record was changed since the last flush.
    pub(crate) fn encode_index(&self) -> Bytes {
        assert_eq!(self.changed, 0, "an index is written right after a flush");
        let resident = self.resident.iter().map(|(id, resident)| {
            (id, resident.address.expect("invariant: an unchanged record has an address"))
        });
        let cold = self.cold.iter().map(|(id, address)| (id, *address));
        let entries: Vec<(&InstanceId, Address)> = resident.chain(cold).collect();
        codec::encode(&(entries, &self.segments))
    }

    /// The store that an encoded index describes, with nothing in memory.
    pub(crate) fn decode_index(bytes: &[u8]) -> InstanceStore {
        let (entries, segments): (Vec<(InstanceId, Address)>, BTreeMap<SegmentId, Segment>) =
            codec::decode(bytes).expect("invariant: an index is read as it was written");
        let cold = entries.into_iter().collect();
        InstanceStore { cold, segments, ..InstanceStore::default() }
    }

    /// Drops unchanged records until those in memory take at most `budget` bytes, as far as there
    /// are any; which.
    pub(crate) fn evict(&mut self, budget: u64) -> Vec<InstanceId> {
        let (mut evicted, mut passed) = (Vec::new(), 0);
        while self.resident_bytes > budget && passed < 2 * self.resident.len() {
            if self.hand >= self.resident.len() {
                self.hand = 0;
            }
            let (_, resident) = self.resident.get_index_mut(self.hand).expect("within the length");
            let droppable =
                resident.address.filter(|address| !self.in_flight.contains(&address.segment));
            match droppable {
                Some(address) if !resident.referenced => {
                    let dropped = self.resident.swap_remove_index(self.hand);
                    let (id, resident) = dropped.expect("within the length");
                    self.resident_bytes -= resident.bytes;
                    evicted.push(id.clone());
                    self.cold.insert(id, address);
                    passed = 0;
                }
                _ => {
                    resident.referenced = false;
                    self.hand += 1;
                    passed += 1;
                }
            }
        }
        evicted
    }

    /// Instances whose records should be written anew, so that a segment can go; none if the log is
    /// short enough. The owner loads them and says [`InstanceStore::rewrite`].
    pub(crate) fn to_compact(&self) -> Vec<InstanceId> {
        let (bytes, live) = self
            .segments
            .values()
            .fold((0, 0), |(bytes, live), segment| (bytes + segment.bytes, live + segment.live));
        if bytes < COMPACTION_BYTES_MIN.max(COMPACTION_RATIO * live) {
            return Vec::new();
        }
        let dead = |segment: &Segment| segment.bytes - segment.live;
        let worst = self
            .segments
            .iter()
            .filter(|(id, segment)| dead(segment) > 0 && !self.in_flight.contains(id))
            .max_by_key(|(_, segment)| dead(segment));
        let Some((worst, _)) = worst else { return Vec::new() };
        let in_worst = |address: Option<Address>| address.is_some_and(|at| at.segment == *worst);
        let resident = self.resident.iter().filter(|(_, resident)| in_worst(resident.address));
        let cold = self.cold.iter().filter(|(_, address)| in_worst(Some(**address)));
        let resident = resident.map(|(id, _)| id.clone());
        resident.chain(cold.map(|(id, _)| id.clone())).take(COMPACTION_RECORDS).collect()
    }

    /// Makes the next flush write the record of an instance in memory anew.
    pub(crate) fn rewrite(&mut self, id: &InstanceId) {
        if let Some(resident) = self.resident.get_mut(id)
            && let Some(address) = resident.address.take()
        {
            self.changed += 1;
            free(&mut self.segments, address);
        }
    }

    /// Bytes of the log of segments, dead records included.
    #[cfg(test)]
    fn log_bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.bytes).sum()
    }
}

fn free(segments: &mut BTreeMap<SegmentId, Segment>, address: Address) {
    let segment = segments.get_mut(&address.segment).expect("invariant: it has a live record");
    segment.live -= u64::from(address.length);
}

#[cfg(test)]
mod tests;
