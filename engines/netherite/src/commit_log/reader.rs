//! Records of a log that is read in pieces.

use super::RECORD_HEADER_BYTES;
use bytes::{Bytes, BytesMut};

/// Cuts the bytes of a log into its records.
pub(crate) struct RecordReader {
    /// The position of the first byte that was not handed out.
    position: u64,
    bytes: BytesMut,
}

impl RecordReader {
    /// A reader that begins at `position`.
    pub(crate) fn new(position: u64) -> RecordReader {
        RecordReader { position, bytes: BytesMut::new() }
    }

    /// Adds the bytes that follow in the log.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next record and its position, if it is complete.
    pub(crate) fn next(&mut self) -> Option<(u64, Bytes)> {
        let header: [u8; RECORD_HEADER_BYTES] =
            self.bytes.get(..RECORD_HEADER_BYTES)?.try_into().expect("of this length");
        let whole = RECORD_HEADER_BYTES + u32::from_le_bytes(header) as usize;
        if self.bytes.len() < whole {
            return None;
        }
        let mut record = self.bytes.split_to(whole).freeze();
        let position = self.position;
        self.position += whole as u64;
        Some((position, record.split_off(RECORD_HEADER_BYTES)))
    }

    /// Whether nothing is left over.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However the log is cut into pieces, its records come out whole and in order.
        #[test]
        fn records_survive_any_cut(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            cut in 1usize..17,
        ) {
            let mut log = Vec::new();
            for record in &records {
                log.extend((record.len() as u32).to_le_bytes());
                log.extend(record);
            }
            let mut reader = RecordReader::new(64);
            let mut read = Vec::new();
            for piece in log.chunks(cut) {
                reader.push(piece);
                while let Some((position, record)) = reader.next() {
                    read.push((position, record.to_vec()));
                }
            }
            prop_assert!(reader.is_empty());
            let mut position = 64;
            for (record, (at, content)) in records.iter().zip(&read) {
                prop_assert_eq!((position, record), (*at, content));
                position += 4 + record.len() as u64;
            }
            prop_assert_eq!(read.len(), records.len());
        }
    }
}
