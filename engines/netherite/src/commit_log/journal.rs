//! A commit log as a journal: entries that each say how far the log reaches once they are durable.
//!
//! Page blobs keep bytes and commit record apart, and need two dependent writes for a commit. A journal
//! needs one: an entry holds the bytes that were appended since the last commit *and* the commit record, under
//! one checksum. It counts as a whole or not at all.
//!
//! **Versions.** Each entry has a version: the incarnation (epoch) that wrote it and its number there.
//! An incarnation begins with an entry after what it has recovered, and each of its entries says which
//! version it follows. Only one incarnation has an epoch: so two copies of a journal with one version
//! have one content, and a copy takes an entry only if it has the version that it follows.
//!
//! **Content** is what the entries so far come to: the bytes of the log from the last checkpoint on, and the
//! commit record. What is in front of the checkpoint that the record names is forgotten at once. An entry whose
//! bytes begin in front of the end cuts off what is behind: an incarnation that rolled back begins with one.
//!
//! **On a disk** each of them is a frame with a checksum, which covers its place too: what a disk has put
//! elsewhere, or left there from before, is not sound.
//!
//! Plain state, no I/O: [`super::file`] puts it on a disk, [`super::quorum`] on several.

use super::{CommitRecord, FIRST_POSITION};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Versions, positions and checkpoint of an entry, and each incarnation that its record names, encoded.
const ENTRY_BYTES: usize = 40;
const EPOCH_BYTES: usize = 8;
/// Length and checksum in front of what is written.
const FRAME_BYTES: usize = 12;

/// What a journal has: which incarnation wrote last, and how many entries that had written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct Version {
    pub epoch: u32,
    pub entry: u64,
}

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The version that it follows.
    pub after: Version,
    /// The version that it makes.
    pub version: Version,
    /// How far the log reaches with it.
    pub record: CommitRecord,
    /// Up to where the log was known to be committed.
    pub committed: u64,
    /// The last bytes of the log, up to its new end. They follow the former end, or cut the log.
    pub bytes: Bytes,
}

impl Entry {
    /// The next commit of the incarnation `epoch`, after `content`: a record, up to where the log is
    /// committed, and bytes.
    pub(crate) fn next(
        content: &Content,
        epoch: u32,
        (record, committed): (CommitRecord, u64),
        bytes: Bytes,
    ) -> Entry {
        let after = content.version;
        let entry = if after.epoch == epoch { after.entry + 1 } else { 1 };
        Entry { after, version: Version { epoch, entry }, record, committed, bytes }
    }

    /// Its bytes on the way to another machine, about.
    pub(crate) fn size(&self) -> u64 {
        (self.bytes.len() + ENTRY_BYTES + EPOCH_BYTES * self.record.epochs.len()) as u64
    }
}

/// What the entries so far come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub version: Version,
    pub record: CommitRecord,
    /// Up to where the log was known to be committed.
    pub committed: u64,
    /// Position of the first byte of `bytes`, which end where the record says.
    start: u64,
    bytes: Vec<u8>,
}

impl Default for Content {
    fn default() -> Self {
        Content {
            version: Version::default(),
            record: CommitRecord::new(),
            committed: FIRST_POSITION,
            start: FIRST_POSITION,
            bytes: Vec::new(),
        }
    }
}

impl Content {
    /// Takes an entry that follows what is here; false if it does not.
    pub(crate) fn take(&mut self, entry: &Entry) -> bool {
        if entry.after != self.version {
            return false;
        }
        let begin = entry.record.end - entry.bytes.len() as u64;
        debug_assert!((self.start..=self.record.end).contains(&begin), "entries leave no gap");
        self.bytes.truncate((begin - self.start) as usize);
        self.bytes.extend_from_slice(&entry.bytes);
        self.record.clone_from(&entry.record);
        self.committed = entry.committed;
        self.version = entry.version;
        let checkpoint = self.record.checkpoint.map_or(self.start, |known| known.position);
        if checkpoint > self.start {
            self.bytes.drain(..(checkpoint - self.start) as usize);
            self.start = checkpoint;
        }
        true
    }

    /// The bytes of the log from `position` on, which is not in front of the last checkpoint.
    pub(crate) fn bytes_from(&self, position: u64) -> Bytes {
        Bytes::copy_from_slice(&self.bytes[(position - self.start) as usize..])
    }

    /// How many bytes of the log it holds.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// What is written to a journal's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Written {
    /// Everything so far, and the fence: the first thing in a file.
    Whole(u32, Content),
    /// One commit.
    Entry(Entry),
    /// No incarnation before this one may write any more.
    Fence(u32),
}

/// Appends the frame of `written` to `frames`, which go to `offset` of a file.
pub(crate) fn encode(written: &Written, (file, offset): (&str, u64), frames: &mut Vec<u8>) {
    let begin = frames.len();
    frames.resize(begin + FRAME_BYTES, 0);
    postcard::to_io(written, &mut *frames)
        .expect("invariant: entries have an encoding, and memory takes it");
    let body = &frames[begin + FRAME_BYTES..];
    let checksum = checksum(body, file, offset + begin as u64);
    let length = body.len() as u32;
    frames[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    frames[begin + 4..begin + FRAME_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Of what is written at `offset` of a file.
fn checksum(body: &[u8], file: &str, offset: u64) -> u64 {
    xxh3_64_with_seed(body, xxh3_64(file.as_bytes()) ^ offset)
}

/// What was written to a file, up to the first frame that is not sound: a write that was cut off by a loss
/// of power.
pub(crate) fn decode(frames: &[u8], file: &str) -> Vec<Written> {
    let mut all = Vec::new();
    let mut rest = BytesMut::from(frames);
    while rest.len() >= FRAME_BYTES {
        let offset = (frames.len() - rest.len()) as u64;
        let header = rest.split_to(FRAME_BYTES);
        let (length, summed) = header.split_at(4);
        let length = u32::from_le_bytes(length.try_into().expect("of this length")) as usize;
        let summed = u64::from_le_bytes(summed.try_into().expect("of this length"));
        if rest.len() < length || checksum(&rest[..length], file, offset) != summed {
            break;
        }
        let Ok(written) = postcard::from_bytes(&rest.split_to(length)) else { break };
        all.push(written);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit_log::CheckpointRef;
    use proptest::prelude::*;

    fn entry(content: &Content, epoch: u32, bytes: &[u8]) -> Entry {
        let mut record = content.record.clone();
        record.end += bytes.len() as u64;
        let committed = record.end;
        Entry::next(content, epoch, (record, committed), Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn an_incarnation_that_rolled_back_cuts_off_what_is_behind_its_beginning() {
        let mut content = Content::default();
        assert!(content.take(&entry(&content, 1, b"committed, lost")));
        let mut record = content.record.clone();
        record.end = FIRST_POSITION + 9;
        let cut = Entry::next(&content, 2, (record, FIRST_POSITION + 9), Bytes::new());
        assert!(content.take(&cut));
        assert!(content.take(&entry(&content, 2, b" again")));
        assert_eq!(content.bytes_from(FIRST_POSITION), &b"committed again"[..]);
        assert_eq!(content.record.end, FIRST_POSITION + 15);
    }

    #[test]
    fn an_entry_is_taken_only_after_the_one_it_follows() {
        let mut content = Content::default();
        let first = entry(&content, 1, b"one");
        assert!(content.take(&first));
        assert!(!content.take(&first), "a second time it does not follow");
        let old = entry(&content, 1, b"old");
        let new = entry(&content, 2, b"new");
        assert!(content.take(&new));
        assert!(!content.take(&old), "the incarnation before is late");
        assert_eq!(content.bytes_from(FIRST_POSITION), &b"onenew"[..]);
        assert_eq!(content.record.end, FIRST_POSITION + 6);
    }

    #[test]
    fn a_checkpoint_lets_go_of_what_is_in_front_of_it() {
        let mut content = Content::default();
        assert!(content.take(&entry(&content, 1, b"forgotten")));
        let position = content.record.end;
        let mut named = entry(&content, 1, b"kept");
        named.record.checkpoint = Some(CheckpointRef { epoch: 1, number: 1, position });
        assert!(content.take(&named));
        assert_eq!((content.len(), content.bytes_from(position)), (4, Bytes::from_static(b"kept")));
    }

    #[test]
    fn what_lies_at_another_place_is_not_sound() {
        let mut frames = Vec::new();
        encode(&Written::Fence(1), ("file", 0), &mut frames);
        encode(&Written::Fence(2), ("file", 0), &mut frames);
        let both = [Written::Fence(1), Written::Fence(2)];
        assert_eq!(decode(&frames, "file"), both);
        assert_eq!(decode(&frames, "another"), []);
        let (first, second) = frames.split_at(frames.len() / 2);
        assert_eq!(decode(&[first, first].concat(), "file"), both[..1]);
        assert_eq!(decode(second, "file"), []);
    }

    proptest! {
        /// A file that is cut anywhere, or whose tail is not what was written, gives what came before.
        #[test]
        fn a_torn_tail_is_cut_off(
            lengths in proptest::collection::vec(0usize..200, 1..8),
            cut in 0usize..2_000,
            flip in any::<bool>(),
        ) {
            let mut frames = Vec::new();
            let mut ends = vec![0];
            let mut content = Content::default();
            for length in &lengths {
                let next = entry(&content, 1, &vec![7; *length]);
                prop_assert!(content.take(&next));
                encode(&Written::Entry(next), ("file", 0), &mut frames);
                ends.push(frames.len());
            }
            let cut = cut.min(frames.len() - 1);
            match flip {
                true => frames[cut] ^= 1,
                false => frames.truncate(cut),
            }
            let sound = ends.iter().filter(|end| **end <= cut).count() - 1;
            prop_assert_eq!(decode(&frames, "file").len(), sound);
        }
    }
}
