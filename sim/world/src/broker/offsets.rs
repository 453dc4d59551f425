//! Committed offsets: up to where a group has consumed a partition.
//!
//! A commit is a record of the topic [`OFFSETS_TOPIC`](super::partition::OFFSETS_TOPIC), and durable as
//! any record is. The last one of a group and a partition counts.

use super::batch::{self, Record};
use super::partition::PartitionKey;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Offsets by group and partition.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets(BTreeMap<(String, PartitionKey), u64>);

impl Offsets {
    pub fn get(&self, group: &str, partition: &PartitionKey) -> Option<u64> {
        self.0.get(&(group.to_owned(), partition.clone())).copied()
    }

    pub fn set(&mut self, group: &str, partition: &PartitionKey, offset: u64) {
        self.0.insert((group.to_owned(), partition.clone()), offset);
    }

    /// Takes up a record of the topic, if it is one of its format.
    pub fn replay(&mut self, record: &Record) {
        let Some((group, partition, offset)) = decode(record) else { return };
        self.set(&group, &partition, offset);
    }
}

/// The batch that records a commit: the key is group, topic and partition on lines of their own.
pub(super) fn encode(group: &str, (topic, number): &PartitionKey, offset: u64) -> Bytes {
    let key = Some(Bytes::from(format!("{group}\n{topic}\n{number}")));
    batch::encode(&[Record { key, value: Bytes::copy_from_slice(&offset.to_le_bytes()) }])
}

fn decode(record: &Record) -> Option<(String, PartitionKey, u64)> {
    let key = std::str::from_utf8(record.key.as_ref()?).ok()?;
    let (rest, number) = key.rsplit_once('\n')?;
    let (group, topic) = rest.rsplit_once('\n')?;
    let offset = u64::from_le_bytes(record.value[..].try_into().ok()?);
    Some((group.to_owned(), (topic.to_owned(), number.parse().ok()?), offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_commit_counts() {
        let mut offsets = Offsets::default();
        let partition = ("topic-1".to_owned(), 3);
        for offset in [5, 9, 7] {
            let batch = encode("group\nof lines", &partition, offset);
            for (_, record) in batch::decode(batch).expect("sound") {
                offsets.replay(&record);
            }
        }
        assert_eq!(offsets.get("group\nof lines", &partition), Some(7));
        assert_eq!(offsets.get("group", &partition), None);
        offsets.replay(&Record::of(Bytes::from_static(b"noise")));
        assert_eq!(offsets.0.len(), 1);
    }
}
