//! Checkpoints and recovery: what is on the disk, and the state that follows from it.
//!
//! **What it models.** A checkpoint writes the committed rows that have changed since the last one,
//! padded to whole pages, and then frees the log before the oldest transaction that has not ended.
//! Recovery takes the checkpoints and repeats, in the order of the log, what transactions wrote whose
//! commit record was found; what others wrote is gone.
//!
//! **Damage.** Files say which they are, and have checksums. A checkpoint that is not whole although another one
//! followed, or with nothing in front of it, was lost or changed by the disk: such a database is not opened, as
//! the real server marks it suspect. The last checkpoint, if it is not whole, looks as if it had never been finished,
//! and a block that is missing from the log looks like its end: what followed is lost, and nobody is told.
//!
//! **Assumptions.** The real database writes changed pages in place and undoes, in recovery, what they
//! hold of transactions that were not committed; here versions that are not committed never leave
//! memory, and each checkpoint is a file of its own, of which a torn one does not count. Once the
//! files hold more than twice what there is, a checkpoint writes everything, and the older files are
//! deleted. The bytes written are of the same order: changed rows by pages.
//!
//! Plain functions over bytes. Source: learn.microsoft.com, Database checkpoints [general].

use super::core::{Core, TableSpec};
use super::log::{LogBuffer, LogFormat, LogRecord, read_log};
use super::table::{Row, Table, TableId};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sim_model::codec::{decode, encode};
use std::collections::BTreeSet;
use std::rc::Rc;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a page. Source: learn.microsoft.com, Pages and extents architecture guide.
pub const PAGE_BYTES: usize = 8192;

/// What a checkpoint has of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its number; a later one has a higher.
    pub number: u64,
    /// Whether it has everything, and not only what has changed since the one before.
    pub complete: bool,
    /// The segment of the log from which recovery goes on: the oldest with records of a transaction that has
    /// not ended.
    pub first_segment: u64,
    /// Where that one begins in the log.
    first_position: u64,
    next_transaction: u64,
    identities: Vec<u64>,
    rows: Vec<(TableId, Bytes, Option<Row>)>,
}

impl Image {
    /// The image as a file: checksum, length, content, and padding to whole pages.
    pub fn to_bytes(&self) -> Bytes {
        let body = encode(self);
        let mut file = BytesMut::with_capacity(body.len() + PAGE_BYTES);
        file.put_u64_le(xxh3_64(&body));
        file.put_u64_le(body.len() as u64);
        file.extend_from_slice(&body);
        let padding = file.len().next_multiple_of(PAGE_BYTES) - file.len();
        file.put_bytes(0, padding);
        file.freeze()
    }

    /// The image in the file of this number, if it is whole.
    pub fn of_bytes(file: &[u8], number: u64) -> Option<Image> {
        let checksum = u64::from_le_bytes(file.get(..8)?.try_into().ok()?);
        let length = u64::from_le_bytes(file.get(8..16)?.try_into().ok()?);
        let body = file.get(16..16_usize.checked_add(usize::try_from(length).ok()?)?)?;
        if xxh3_64(body) != checksum {
            return None;
        }
        decode(body).ok().filter(|image: &Image| image.number == number)
    }
}

impl Core {
    /// Takes an image of this instant, and begins a new segment of the log.
    ///
    /// # Panics
    /// If not all of the log has been taken for writing.
    pub fn checkpoint(&mut self, number: u64, complete: bool) -> Image {
        let (first_segment, first_position) = self.begin_segment();
        let next_transaction = self.next_transaction();
        let identities = self.tables().iter().map(Table::identity).collect();
        let mut rows = Vec::new();
        for (index, table) in self.tables_mut().iter_mut().enumerate() {
            let changed = if complete { table.take_all() } else { table.take_dirty() };
            let id = TableId(index as u8);
            rows.extend(
                changed.into_iter().map(|(key, row)| (id, Bytes::copy_from_slice(&key), row)),
            );
        }
        Image {
            number,
            complete,
            first_segment,
            first_position,
            next_transaction,
            identities,
            rows,
        }
    }
}

/// A database that was recovered.
pub struct Recovered {
    /// Its state. Its log begins a new segment, which no file has.
    pub core: Core,
    /// The committed transactions of the log that was read.
    pub committed: BTreeSet<u64>,
    /// Rows that were read from images or repeated from the log.
    pub rows: usize,
    /// The number of the last image.
    pub image: u64,
}

impl Recovered {
    /// A database of which there is nothing.
    pub fn nothing(schema: &'static [TableSpec], format: LogFormat) -> Recovered {
        let core = Core::create(schema, format);
        Recovered { core, committed: BTreeSet::new(), rows: 0, image: 0 }
    }
}

/// What is on the disk cannot be what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// Recovers a database from the images and the segments of the log that are on its disk, each with its
/// number.
///
/// `None` if there is neither: the database was never created.
///
/// # Errors
/// If the disk has lost or changed what was on it.
pub fn recover(
    schema: &'static [TableSpec],
    images: &[(u64, Bytes)],
    segments: &[(u64, Bytes)],
    format: LogFormat,
) -> Result<Option<Recovered>, Damaged> {
    if images.is_empty() && segments.is_empty() {
        return Ok(None);
    }
    let images = whole_images(images)?;
    let first = images.last().map_or((0, 0), |image| (image.first_segment, image.first_position));
    let (records, position) = log_from(segments, first, format.sector);
    let mut tables: Vec<Table> = schema.iter().map(|spec| Table::new(spec.indexes)).collect();
    let (mut next_transaction, mut first_segment, mut last_image, mut rows) = (1, 0, 0, 0);
    for image in images {
        (next_transaction, first_segment) = (image.next_transaction, image.first_segment);
        last_image = image.number;
        for (table, identity) in tables.iter_mut().zip(image.identities) {
            table.raise_identity(identity);
        }
        rows += image.rows.len();
        for (table, key, row) in image.rows {
            tables[usize::from(table.0)].replace(&Rc::from(&key[..]), row);
        }
    }
    // What the images have need not be written by the next one.
    tables.iter_mut().for_each(|table| _ = table.take_dirty());
    let committed: BTreeSet<u64> = records.iter().filter_map(committed).collect();
    for record in records {
        match record {
            LogRecord::Write { transaction, table, key, row } => {
                next_transaction = next_transaction.max(transaction + 1);
                if committed.contains(&transaction) {
                    tables[usize::from(table.0)].replace(&Rc::from(&key[..]), row);
                    rows += 1;
                }
            }
            LogRecord::Identity { table, value } => {
                tables[usize::from(table.0)].raise_identity(value);
            }
            LogRecord::Segment { .. } | LogRecord::Commit { .. } | LogRecord::Abort { .. } => {}
        }
    }
    let last_segment = segments.iter().map(|(number, _)| *number).max();
    let segment = last_segment.map_or(first_segment, |last| last + 1).max(first_segment);
    let core =
        Core::new(schema, tables, LogBuffer::new(position, format), segment, next_transaction);
    Ok(Some(Recovered { core, committed, rows, image: last_image }))
}

fn committed(record: &LogRecord) -> Option<u64> {
    match record {
        LogRecord::Commit { transaction } => Some(*transaction),
        _ => None,
    }
}

/// The images that recovery needs: the last complete one, and those after it. The last of all need not be
/// whole: then it was not finished.
fn whole_images(files: &[(u64, Bytes)]) -> Result<Vec<Image>, Damaged> {
    let mut files: Vec<&(u64, Bytes)> = files.iter().collect();
    files.sort_by_key(|(number, _)| *number);
    let of_file = |(number, file): &(u64, Bytes)| Image::of_bytes(file, *number);
    let mut images: Vec<Image> = Vec::new();
    for (index, file) in files.iter().enumerate().rev() {
        let Some(image) = of_file(file) else {
            let is_last = index + 1 == files.len();
            // The first one of all has nothing in front of it.
            if is_last && (index > 0 || file.0 == 1) {
                continue;
            }
            return Err(Damaged);
        };
        if images.last().is_some_and(|next| next.number != image.number + 1) {
            return Err(Damaged);
        }
        images.push(image);
        if images.last().is_some_and(|image| image.complete) {
            break;
        }
    }
    images.reverse();
    match images.first().is_none_or(|image| image.complete) {
        true => Ok(images),
        false => Err(Damaged),
    }
}

/// The records of the log that were durable, from the segment on that begins at `position`, and where they end.
fn log_from(
    segments: &[(u64, Bytes)],
    (first, position): (u64, u64),
    sector: usize,
) -> (Vec<LogRecord>, u64) {
    let mut ordered: Vec<&(u64, Bytes)> = segments.iter().filter(|(n, _)| *n >= first).collect();
    ordered.sort_by_key(|(number, _)| *number);
    let (mut all, mut end) = (Vec::new(), position);
    for (number, bytes) in ordered {
        let (records, whole) = read_log(bytes, sector, *number);
        match records.first() {
            Some(LogRecord::Segment { position: start, .. }) if *start == end => {}
            // The segment before this one has lost its end in a crash: nothing here was ever
            // durable, and the log went on from there in the segment after this one.
            _ => continue,
        }
        end += whole as u64;
        all.extend(records);
    }
    (all, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(number: u64, complete: bool) -> (u64, Bytes) {
        let image = Image {
            number,
            complete,
            first_segment: 0,
            first_position: 0,
            next_transaction: 1,
            identities: Vec::new(),
            rows: Vec::new(),
        };
        (number, image.to_bytes())
    }

    fn damaged((number, file): (u64, Bytes)) -> (u64, Bytes) {
        let mut file = file.to_vec();
        file[20] ^= 1;
        (number, file.into())
    }

    fn numbers(files: &[(u64, Bytes)]) -> Result<Vec<u64>, Damaged> {
        whole_images(files).map(|images| images.iter().map(|image| image.number).collect())
    }

    #[test]
    fn recovery_begins_with_the_last_complete_image() {
        let files = [image(1, true), image(2, false), image(3, true), image(4, false)];
        assert_eq!(numbers(&files), Ok(vec![3, 4]));
        let mut files = files.to_vec();
        files.reverse();
        assert_eq!(numbers(&files), Ok(vec![3, 4]), "in any order");
        assert_eq!(numbers(&[]), Ok(vec![]));
    }

    #[test]
    fn an_image_that_was_not_finished_does_not_count() {
        assert_eq!(numbers(&[damaged(image(1, true))]), Ok(vec![]));
        let files = [image(3, true), image(4, false), damaged(image(5, true))];
        assert_eq!(numbers(&files), Ok(vec![3, 4]));
    }

    #[test]
    fn an_image_that_was_finished_once_must_be_whole() {
        for files in [
            vec![damaged(image(1, true)), image(2, false)],
            vec![image(1, true), damaged(image(2, false)), image(3, false)],
            vec![image(1, true), image(3, false)],
            vec![damaged(image(3, true))],
            vec![image(2, false)],
            vec![(3, image(4, true).1), image(4, false)],
        ] {
            assert_eq!(numbers(&files), Err(Damaged), "{files:?}");
        }
    }
}
