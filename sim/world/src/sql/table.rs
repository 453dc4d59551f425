//! Tables: rows by primary key, with their versions and secondary indexes.
//!
//! **What it models.** A row is bytes under a primary key, with a key for each secondary index of its
//! table. A row has at most two versions: the one that was committed last, which anybody may read
//! without a lock (read committed snapshot), and the one that a transaction which has not ended has
//! written, under its exclusive lock. Ending the transaction makes the second the first, or drops it.
//! Indexes list committed versions.
//!
//! A plain state machine: who may write, the lock manager says.

use super::lock::TransactionId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

/// A key, ordered as its bytes are.
pub type Key = Rc<[u8]>;

/// A table of a schema, by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId(pub u8);

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its columns, encoded.
    pub value: Bytes,
    /// Its key in each secondary index of the table.
    pub index_keys: Vec<Bytes>,
}

impl Row {
    /// A row of a table without secondary indexes.
    pub fn new(value: Bytes) -> Row {
        Row { value, index_keys: Vec::new() }
    }
}

/// The versions of one row.
#[derive(Clone, Debug, Default)]
struct Versions {
    committed: Option<Row>,
    /// What a transaction has written: a row, or that there is none.
    pending: Option<(TransactionId, Option<Row>)>,
}

impl Versions {
    fn seen_by(&self, transaction: TransactionId) -> Option<&Row> {
        match &self.pending {
            Some((writer, row)) if *writer == transaction => row.as_ref(),
            _ => self.committed.as_ref(),
        }
    }

    fn is_empty(&self) -> bool {
        self.committed.is_none() && self.pending.is_none()
    }
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: BTreeMap<Key, Versions>,
    indexes: Vec<BTreeSet<(Bytes, Key)>>,
    /// The last number given out by its identity column.
    identity: u64,
    /// Keys whose committed version has changed since the last checkpoint.
    dirty: BTreeSet<Key>,
}

impl Table {
    /// An empty table with that many secondary indexes.
    pub fn new(indexes: usize) -> Table {
        Table { indexes: vec![BTreeSet::new(); indexes], ..Table::default() }
    }

    /// The row as a transaction sees it: its own version, or else the committed one.
    pub fn get(&self, transaction: TransactionId, key: &[u8]) -> Option<&Row> {
        self.rows.get(key)?.seen_by(transaction)
    }

    /// Rows from `from` on, as a transaction sees them, in the order of their keys.
    pub fn scan<'a>(
        &'a self,
        transaction: TransactionId,
        from: &[u8],
    ) -> impl Iterator<Item = (&'a Key, &'a Row)> + use<'a> {
        let seen = move |(key, versions): (&'a Key, &'a Versions)| {
            Some((key, versions.seen_by(transaction)?))
        };
        self.rows.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).filter_map(seen)
    }

    /// Entries of a secondary index from `from` on: index key and primary key, committed rows only.
    pub fn scan_index(
        &self,
        index: usize,
        from: Bytes,
    ) -> impl Iterator<Item = (&Bytes, &Key)> + use<'_> {
        let least: Key = Rc::from([]);
        self.indexes[index].range((from, least)..).map(|(indexed, key)| (indexed, key))
    }

    /// Writes a version for a transaction, which holds the row exclusively. True if it has not
    /// written the row before.
    ///
    /// # Panics
    /// If another transaction has written the row and not ended, or the row does not have a key for
    /// each index.
    pub fn write(&mut self, transaction: TransactionId, key: &Key, row: Option<Row>) -> bool {
        if let Some(row) = &row {
            let expected = self.indexes.len();
            assert_eq!(row.index_keys.len(), expected, "a row has a key for each index");
        }
        let versions = self.rows.entry(key.clone()).or_default();
        let before = versions.pending.replace((transaction, row));
        if let Some((writer, _)) = &before {
            assert_eq!(*writer, transaction, "a row is written by one transaction at a time");
        }
        before.is_none()
    }

    /// Makes a transaction's version of a row the committed one.
    ///
    /// # Panics
    /// If it has none.
    pub fn commit(&mut self, transaction: TransactionId, key: &Key) {
        let versions = self.rows.get_mut(key).expect("invariant: a written row is there");
        let (writer, row) = versions.pending.take().expect("invariant: it has a version");
        assert_eq!(writer, transaction, "a transaction commits its own versions");
        self.replace(key, row);
    }

    /// Drops a transaction's version of a row.
    pub fn roll_back(&mut self, transaction: TransactionId, key: &Key) {
        let Some(versions) = self.rows.get_mut(key) else { return };
        if versions.pending.as_ref().is_some_and(|(writer, _)| *writer == transaction) {
            versions.pending = None;
        }
        if versions.is_empty() {
            self.rows.remove(key);
        }
    }

    /// Sets the committed version of a row: the end of a transaction, or its repetition in recovery.
    pub fn replace(&mut self, key: &Key, row: Option<Row>) {
        let versions = self.rows.entry(key.clone()).or_default();
        let before = std::mem::replace(&mut versions.committed, row);
        if let Some(before) = &before {
            for (index, indexed) in self.indexes.iter_mut().zip(&before.index_keys) {
                index.remove(&(indexed.clone(), key.clone()));
            }
        }
        if let Some(after) = &versions.committed {
            for (index, indexed) in self.indexes.iter_mut().zip(&after.index_keys) {
                index.insert((indexed.clone(), key.clone()));
            }
        }
        if versions.is_empty() {
            self.rows.remove(key);
        }
        self.dirty.insert(key.clone());
    }

    /// The next number of the identity column. Numbers are never given out twice; a transaction that
    /// is rolled back leaves a gap.
    pub fn next_identity(&mut self) -> u64 {
        self.identity += 1;
        self.identity
    }

    /// The last number given out.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// The identity column is at least there.
    pub fn raise_identity(&mut self, at_least: u64) {
        self.identity = self.identity.max(at_least);
    }

    /// Whether anything has changed since the last checkpoint.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The committed versions that have changed since the last call; for a row that is gone, none.
    pub fn take_dirty(&mut self) -> Vec<(Key, Option<Row>)> {
        let committed = |key: &Key| self.rows.get(key).and_then(|row| row.committed.clone());
        let changed = self.dirty.iter().map(|key| (key.clone(), committed(key))).collect();
        self.dirty.clear();
        changed
    }

    /// All committed versions, and nothing is dirty any more.
    pub fn take_all(&mut self) -> Vec<(Key, Option<Row>)> {
        self.dirty.clear();
        let committed = |(key, row): (&Key, &Versions)| {
            row.committed.clone().map(|row| (key.clone(), Some(row)))
        };
        self.rows.iter().filter_map(committed).collect()
    }

    /// The committed rows, for comparing two states.
    #[cfg(test)]
    pub fn committed(&self) -> impl Iterator<Item = (&Key, &Row)> {
        self.rows.iter().filter_map(|(key, row)| Some((key, row.committed.as_ref()?)))
    }
}
