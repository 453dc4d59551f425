//! A partition: its segments, where its batches lie, what is flushed. A plain state machine.

use crate::kernel::Semaphore;
use std::collections::BTreeMap;

/// A topic and the number of one of its partitions.
pub(super) type PartitionKey = (String, u32);

/// The topic in which committed offsets are stored; it has one partition.
pub(super) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Where a batch lies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// Base offset of its segment.
    segment: u64,
    position: u64,
    bytes: u64,
}

/// A range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub file: String,
    pub position: u64,
    pub bytes: u64,
}

/// What an append has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Append {
    pub file: String,
    /// Offset of the first record.
    pub offset: u64,
    /// The segment that is full now, and is flushed in the background.
    pub rolled: Option<String>,
    /// Whether the policy wants a flush before the append is answered.
    pub flush: bool,
}

/// A partition.
pub(super) struct Partition {
    key: PartitionKey,
    /// Bytes of each segment by its base offset; the last is written to.
    segments: BTreeMap<u64, u64>,
    /// Batches by the offset of their first record.
    batches: BTreeMap<u64, Place>,
    next_offset: u64,
    /// Records appended since the last flush that the policy asked for.
    unflushed: u64,
    /// Held by whoever appends.
    pub appending: Semaphore,
}

/// The name of a segment's file.
pub(super) fn file_name((topic, partition): &PartitionKey, base: u64) -> String {
    format!("{topic}-{partition}/{base:020}.log")
}

/// The partition and the base offset that the name of a segment's file says.
pub(super) fn parse_file_name(name: &str) -> Option<(PartitionKey, u64)> {
    let (partition, segment) = name.rsplit_once('/')?;
    let (topic, number) = partition.rsplit_once('-')?;
    let base = segment.strip_suffix(".log")?.parse().ok()?;
    Some(((topic.to_owned(), number.parse().ok()?), base))
}

impl Partition {
    /// A partition without records, whose first segment begins at `base`.
    pub fn new(key: PartitionKey, base: u64, appending: Semaphore) -> Partition {
        Partition {
            key,
            segments: BTreeMap::from([(base, 0)]),
            batches: BTreeMap::new(),
            next_offset: base,
            unflushed: 0,
            appending,
        }
    }

    /// The offset of the first record, or of the next if there is none.
    pub fn first_offset(&self) -> u64 {
        self.batches.keys().next().copied().unwrap_or(self.next_offset)
    }

    /// The offset that the next record gets.
    pub fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Where a batch goes: into the last segment, or into a new one if that would be larger than
    /// `segment_bytes`.
    pub fn plan_append(
        &mut self,
        bytes: u64,
        records: u64,
        segment_bytes: u64,
        flush_records: Option<u64>,
    ) -> Append {
        let (base, size) = self.last_segment();
        let mut rolled = None;
        if size > 0 && size + bytes > segment_bytes {
            rolled = Some(file_name(&self.key, base));
            self.segments.insert(self.next_offset, 0);
        }
        let (base, _) = self.last_segment();
        let flush = flush_records.is_some_and(|most| self.unflushed + records >= most);
        let file = file_name(&self.key, base);
        Append { file, offset: self.next_offset, rolled, flush }
    }

    fn last_segment(&self) -> (u64, u64) {
        let last = self.segments.last_key_value();
        let (base, size) = last.expect("invariant: a partition has a segment");
        (*base, *size)
    }

    /// A batch was appended where [`Partition::plan_append`] said, at `position` of the file.
    pub fn appended(&mut self, position: u64, bytes: u64, records: u64, flushed: bool) {
        let (base, size) = self.last_segment();
        assert_eq!(position, size, "only the partition's own appends write to its segments");
        self.batches.insert(self.next_offset, Place { segment: base, position, bytes });
        self.segments.insert(base, size + bytes);
        self.next_offset += records;
        self.unflushed = if flushed { 0 } else { self.unflushed + records };
    }

    /// A sound batch was found at the end of the segment `base` when recovering.
    pub fn recovered(&mut self, base: u64, offset: u64, bytes: u64, records: u64) {
        debug_assert_eq!(offset, self.next_offset, "batches follow each other");
        let size = self.segments.entry(base).or_insert(0);
        self.batches.insert(offset, Place { segment: base, position: *size, bytes });
        *size += bytes;
        self.next_offset = offset + records;
    }

    /// An empty segment, the last one, was found when recovering.
    pub fn recovered_empty(&mut self, base: u64) {
        self.segments.insert(base, 0);
    }

    /// The batches from the one with record `offset` on, at least one, and as many as fit into
    /// `bytes_max`; nothing if that record does not exist yet.
    pub fn plan_fetch(&self, offset: u64, bytes_max: u64) -> Vec<Piece> {
        if offset >= self.next_offset {
            return Vec::new();
        }
        let first = self.batches.range(..=offset).next_back().map_or(offset, |(first, _)| *first);
        let mut pieces: Vec<Piece> = Vec::new();
        let mut total = 0;
        let mut segment = None;
        for place in self.batches.range(first..).map(|(_, place)| place) {
            if total > 0 && total + place.bytes > bytes_max {
                break;
            }
            total += place.bytes;
            match pieces.last_mut() {
                Some(piece) if segment == Some(place.segment) => piece.bytes += place.bytes,
                _ => pieces.push(Piece {
                    file: file_name(&self.key, place.segment),
                    position: place.position,
                    bytes: place.bytes,
                }),
            }
            segment = Some(place.segment);
        }
        pieces
    }
}
