//! The content of a page blob: written pieces over zeros.

use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;

/// Pieces that do not overlap, by offset. Later pieces replace what they cover of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Extents(BTreeMap<u64, Bytes>);

impl Extents {
    /// Writes `body` at `offset`.
    pub fn write(&mut self, offset: u64, body: Bytes) {
        let end = offset + body.len() as u64;
        let mut covered: Vec<u64> = self.0.range(offset..end).map(|(start, _)| *start).collect();
        if let Some((before, piece)) = self.0.range(..offset).next_back()
            && before + piece.len() as u64 > offset
        {
            covered.push(*before);
        }
        for start in covered {
            let piece = self.0.remove(&start).expect("invariant: listed just now");
            let piece_end = start + piece.len() as u64;
            if start < offset {
                self.0.insert(start, piece.slice(..(offset - start) as usize));
            }
            if piece_end > end {
                self.0.insert(end, piece.slice((end - start) as usize..));
            }
        }
        if !body.is_empty() {
            self.0.insert(offset, body);
        }
    }

    /// The bytes from `offset` to `end`, zeros where nothing was written.
    pub fn read(&self, offset: u64, end: u64) -> Bytes {
        debug_assert!(offset <= end, "a range has its start before its end");
        let first = self.0.range(..=offset).next_back().map_or(offset, |(start, _)| *start);
        if let Some(piece) = self.0.get(&first)
            && first <= offset
            && first + piece.len() as u64 >= end
        {
            return piece.slice((offset - first) as usize..(end - first) as usize);
        }
        let mut content = BytesMut::zeroed((end - offset) as usize);
        for (start, piece) in self.0.range(first..end) {
            let from = (*start).max(offset);
            let to = (start + piece.len() as u64).min(end);
            if from < to {
                content[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&piece[(from - start) as usize..(to - start) as usize]);
            }
        }
        content.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn extents_agree_with_an_array(
            writes in proptest::collection::vec((0u64..200, 0usize..60, 1u8..), 0..40),
            from in 0u64..260,
            length in 0u64..260,
        ) {
            let (mut extents, mut array) = (Extents::default(), vec![0u8; 600]);
            for (offset, length, value) in writes {
                extents.write(offset, Bytes::from(vec![value; length]));
                array[offset as usize..offset as usize + length].fill(value);
                let pieces: Vec<_> = extents.0.iter().collect();
                for pair in pieces.windows(2) {
                    prop_assert!(pair[0].0 + pair[0].1.len() as u64 <= *pair[1].0, "overlap");
                }
            }
            let read = extents.read(from, from + length);
            prop_assert_eq!(&read[..], &array[from as usize..(from + length) as usize]);
        }
    }
}
