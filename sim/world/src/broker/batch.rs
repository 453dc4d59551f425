//! Record batches: what a produce request appends, a segment holds, and a fetch returns, byte for byte.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | offset of the first record |
//! | 4 | length of all that follows |
//! | 8 | checksum of all that follows |
//! | 4 | number of records |
//! | 37 | reserved: the header of the real format (version 2) has 61 bytes |
//!
//! and for each record 4 bytes length of the key (all ones for no key), the key, 4 bytes length of the
//! value, the value. Numbers are little-endian. The broker writes the offset, and checks nothing else.

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a batch's header.
pub(super) const HEADER_BYTES: usize = 61;
/// Where the length that the header states begins to count.
const LENGTH_FROM: usize = 12;
/// Where the checksummed part begins.
const SUMMED_FROM: usize = 20;
const NO_KEY: u32 = u32::MAX;

/// A record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Bytes,
}

impl Record {
    /// A record without a key.
    pub fn of(value: Bytes) -> Record {
        Record { key: None, value }
    }
}

/// A batch of records in its format, with offset 0.
pub(super) fn encode(records: &[Record]) -> Bytes {
    let mut batch = BytesMut::zeroed(HEADER_BYTES);
    for record in records {
        match &record.key {
            Some(key) => {
                batch.put_u32_le(length(key.len()));
                batch.put_slice(key);
            }
            None => batch.put_u32_le(NO_KEY),
        }
        batch.put_u32_le(length(record.value.len()));
        batch.put_slice(&record.value);
    }
    let follows = length(batch.len() - LENGTH_FROM);
    batch[8..12].copy_from_slice(&follows.to_le_bytes());
    batch[20..24].copy_from_slice(&length(records.len()).to_le_bytes());
    let sum = xxh3_64(&batch[SUMMED_FROM..]);
    batch[12..20].copy_from_slice(&sum.to_le_bytes());
    batch.freeze()
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("records are smaller than 4 GiB")
}

/// The batch with its first record at `offset`.
pub(super) fn placed_at(batch: &Bytes, offset: u64) -> Bytes {
    let mut placed = BytesMut::from(&batch[..]);
    placed[..8].copy_from_slice(&offset.to_le_bytes());
    placed.freeze()
}

/// What the header of a whole and sound batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub offset: u64,
    pub records: u32,
    /// Bytes of the batch.
    pub bytes: usize,
}

/// The header of the batch at the beginning of `text`, if a whole one with the right checksum is there.
pub(super) fn check(text: &[u8]) -> Option<Header> {
    let number = |at: usize| Some(u32::from_le_bytes(text.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(text.get(at..at + 8)?.try_into().ok()?));
    let bytes = LENGTH_FROM.checked_add(number(8)? as usize)?;
    if bytes < HEADER_BYTES {
        return None;
    }
    let summed = text.get(SUMMED_FROM..bytes)?;
    if xxh3_64(summed) != long(12)? {
        return None;
    }
    Some(Header { offset: long(0)?, records: number(20)?, bytes })
}

/// The records of the batches in `text`, with their offsets; none if one of the batches is broken.
pub(super) fn decode(mut text: Bytes) -> Option<Vec<(u64, Record)>> {
    let mut records = Vec::new();
    while !text.is_empty() {
        let header = check(&text)?;
        let mut body = text.slice(HEADER_BYTES..header.bytes);
        for number in 0..u64::from(header.records) {
            let key = take(&mut body)?;
            let value = take(&mut body)??;
            records.push((header.offset + number, Record { key, value }));
        }
        text = text.slice(header.bytes..);
    }
    Some(records)
}

/// The next string of a batch's body, or none where a key is absent; nothing if the body is too short.
fn take(body: &mut Bytes) -> Option<Option<Bytes>> {
    let length = u32::from_le_bytes(body.get(..4)?.try_into().ok()?);
    let start = 4;
    if length == NO_KEY {
        *body = body.slice(start..);
        return Some(None);
    }
    let end = start + length as usize;
    if body.len() < end {
        return None;
    }
    let string = body.slice(start..end);
    *body = body.slice(end..);
    Some(Some(string))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn batches_come_back_and_broken_ones_do_not(
            records in proptest::collection::vec(
                (proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
                 proptest::collection::vec(any::<u8>(), 0..30)), 1..6),
            offset in 0u64..1 << 40,
            at in 0usize..1000,
            flip in 1u8..,
        ) {
            let record = |(key, value): (Option<Vec<u8>>, Vec<u8>)| {
                Record { key: key.map(Bytes::from), value: Bytes::from(value) }
            };
            let records: Vec<Record> = records.into_iter().map(record).collect();
            let batch = placed_at(&encode(&records), offset);
            let header = check(&batch).expect("sound");
            prop_assert_eq!((header.offset, header.bytes), (offset, batch.len()));
            let decoded = decode(batch.clone()).expect("sound");
            let expected: Vec<_> =
                records.into_iter().enumerate().map(|(n, r)| (offset + n as u64, r)).collect();
            prop_assert_eq!(decoded, expected);
            prop_assert!(check(&batch[..batch.len() - 1]).is_none(), "cut");
            let mut broken = batch.to_vec();
            let at = 8 + at % (broken.len() - 8);
            broken[at] ^= flip;
            prop_assert!(check(&broken).is_none(), "one byte is different");
        }
    }
}
