//! Reading a text file that a person has named.
//!
//! The file may be anything: a folder, a device that never ends, an image. What is wrong is said in
//! plain words, without the name of the file, which the caller puts in front. A byte order mark, which
//! some editors put before UTF-8, is no part of the text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest file that is read, in bytes: far beyond any specification or document.
const BYTES_MAX: u64 = 16 << 20;

/// The text of a file.
///
/// # Errors
/// If it cannot be read, is too large, or is not text in UTF-8: what is wrong, in words.
pub fn read(path: &Path) -> Result<String, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err("is a folder, expected a file".to_owned());
    }
    let mut bytes = Vec::new();
    // What a file says of its size need not be true: a device has none.
    let read = file.by_ref().take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("has more than {BYTES_MAX} bytes, which is the most that is read"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("is not text in UTF-8: byte {at} is part of no letter")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).expect("written");
        read(&path)
    }

    #[test]
    fn text_is_read_without_its_byte_order_mark() {
        assert_eq!(written("\u{feff}é".as_bytes()), Ok("é".to_owned()));
        assert_eq!(written(b""), Ok(String::new()));
    }

    #[test]
    fn what_is_no_text_file_is_said_in_words() {
        let refused = |bytes: &[u8]| written(bytes).expect_err("no text");
        assert_eq!(refused(b"ab\xff"), "is not text in UTF-8: byte 2 is part of no letter");
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()), Err("is a folder, expected a file".to_owned()));
        assert!(read(&folder.path().join("none")).is_err_and(|said| said.contains("No such file")));
        assert!(read(Path::new("")).is_err());
    }

    #[test]
    fn what_never_ends_is_refused() {
        let endless = Path::new("/dev/zero");
        if endless.exists() {
            assert!(read(endless).is_err_and(|said| said.contains("more than 16777216 bytes")));
        }
    }
}
