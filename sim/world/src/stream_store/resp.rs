//! The wire format of commands: arrays of strings with their lengths before them.
//!
//! `*2\r\n$4\r\nHGET\r\n...`: the array's length, then each string's. The append-only file is a
//! sequence of commands in this format. It has no checksum.

use bytes::Bytes;

/// Bytes of a string: its length, itself, and line ends.
pub(super) fn string_bytes(length: u64) -> u64 {
    header_bytes(length) + length + 2
}

/// Bytes of a line that holds a mark and a number.
pub(super) fn header_bytes(number: u64) -> u64 {
    1 + u64::from(number.checked_ilog10().unwrap_or(0)) + 1 + 2
}

/// A command in the wire format.
pub(super) fn encode(parts: &[&[u8]]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        text.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        text.extend_from_slice(part);
        text.extend_from_slice(b"\r\n");
    }
    text
}

/// The first command of `text` and the bytes it takes; none if `text` does not begin with a whole
/// one.
pub(super) fn decode(text: &Bytes) -> Option<(Vec<Bytes>, usize)> {
    let (count, mut at) = number(text, 0, b'*')?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let (length, start) = number(text, at, b'$')?;
        let end = start.checked_add(length)?;
        if text.get(end..end.checked_add(2)?)? != b"\r\n" {
            return None;
        }
        parts.push(text.slice(start..end));
        at = end + 2;
    }
    Some((parts, at))
}

/// The number on the line at `at`, which begins with `mark`, and where the next line begins.
fn number(text: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let line = text.get(at..)?;
    if *line.first()? != mark {
        return None;
    }
    // No length has more digits.
    let end = line.iter().take(24).position(|byte| *byte == b'\r')?;
    if *line.get(end + 1)? != b'\n' {
        return None;
    }
    let digits = std::str::from_utf8(&line[1..end]).ok()?;
    Some((digits.parse().ok()?, at + end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn commands_come_back_and_cut_ones_do_not(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
            cut in 1usize..30,
        ) {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let mut text = encode(&slices);
            let length = text.len();
            let strings: u64 = parts.iter().map(|part| string_bytes(part.len() as u64)).sum();
            prop_assert_eq!(length as u64, header_bytes(parts.len() as u64) + strings);
            text.extend_from_slice(b"*1\r\n");
            let (decoded, used) = decode(&Bytes::from(text.clone())).expect("a whole command");
            prop_assert_eq!(used, length);
            prop_assert_eq!(decoded.len(), parts.len());
            for (decoded, part) in decoded.iter().zip(&parts) {
                prop_assert_eq!(&decoded[..], &part[..]);
            }
            text.truncate(length - cut.min(length));
            prop_assert!(decode(&Bytes::from(text)).is_none(), "a cut command");
        }

        #[test]
        fn noise_is_refused_without_panic(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&Bytes::from(text));
        }
    }
}
