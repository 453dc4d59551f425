//! The database without its machine: tables, locks, log and transactions as one state machine.
//!
//! **Transactions** are numbered as they begin. Writes are made under an exclusive lock, as pending
//! versions, each with its record in the log. A commit appends its record; when the log is durable up
//! to there, the pending versions become the committed ones and the locks are released (strict
//! two-phase locking), so that nobody sees what a crash could take back. With delayed durability
//! both happen when the record is appended. A transaction that wrote nothing ends at once.
//!
//! **Deadlocks.** A wait that closes a cycle rolls back the transaction of the cycle with the fewest
//! bytes in the log, the youngest of several. The real lock monitor looks every 5 s, and more often
//! once it finds any; here it looks at once.
//!
//! No time passes here, and nothing waits: the process around it ([`super::process`]) does.

use super::lock::{LockMode, LockTable, Requested, TransactionId};
use super::log::{LogBuffer, LogFormat, LogRecord};
use super::table::{Key, Row, Table, TableId};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// A table of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// Its name.
    pub name: &'static str,
    /// How many secondary indexes it has.
    pub indexes: usize,
}

/// What came of a request for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// It is held.
    Granted,
    /// The transaction stands in line, and may be let in later.
    Waiting,
    /// It closed a cycle of waits: this transaction, the caller's own or another that stands in
    /// line, is to be rolled back.
    Deadlock(TransactionId),
}

/// What came of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The transaction has ended.
    Ended(Ended),
    /// It ends when the log is durable.
    Waiting,
}

/// A transaction that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Transactions that now hold the lock they waited for.
    pub granted: Vec<TransactionId>,
}

#[derive(Default)]
struct Active {
    writes: Vec<(TableId, Key)>,
    /// Segment of its first record.
    first_segment: Option<u64>,
    log_bytes: u64,
    committing: bool,
}

/// The state of a database.
pub struct Core {
    schema: &'static [TableSpec],
    tables: Vec<Table>,
    locks: LockTable<(TableId, Key)>,
    log: LogBuffer,
    segment: u64,
    /// Where segments of the log begin: the present one, and those with records of active transactions.
    segment_starts: BTreeMap<u64, u64>,
    active: BTreeMap<TransactionId, Active>,
    next_transaction: u64,
    /// Transactions that wait for the log, with the position they wait for, in order.
    committing: VecDeque<(u64, TransactionId)>,
}

impl Core {
    /// The database with these tables and nothing in its log, which goes on in `segment`.
    pub(super) fn new(
        schema: &'static [TableSpec],
        tables: Vec<Table>,
        mut log: LogBuffer,
        segment: u64,
        next_transaction: u64,
    ) -> Core {
        assert_eq!(schema.len(), tables.len(), "a table for each of the schema");
        let position = log.end();
        log.append(&LogRecord::Segment { number: segment, position });
        Core {
            schema,
            tables,
            locks: LockTable::default(),
            log,
            segment,
            segment_starts: BTreeMap::from([(segment, position)]),
            active: BTreeMap::new(),
            next_transaction,
            committing: VecDeque::new(),
        }
    }

    /// An empty database.
    pub fn create(schema: &'static [TableSpec], format: LogFormat) -> Core {
        let log = LogBuffer::new(0, format);
        let tables = schema.iter().map(|table| Table::new(table.indexes)).collect();
        Core::new(schema, tables, log, 0, 1)
    }

    /// Whether a transaction waits for what no write of the log has taken.
    pub fn wants_log(&self) -> bool {
        let taken = self.log.end() - self.log.unwritten() as u64;
        self.committing.back().is_some_and(|(end, _)| *end > taken)
    }

    /// The name of a table.
    pub fn table_name(&self, table: TableId) -> &'static str {
        self.schema[usize::from(table.0)].name
    }

    /// A table.
    pub fn table(&self, table: TableId) -> &Table {
        &self.tables[usize::from(table.0)]
    }

    /// Whether anything has changed since the last checkpoint.
    pub fn is_dirty(&self) -> bool {
        self.tables.iter().any(Table::is_dirty)
    }

    /// All tables.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The log.
    pub fn log(&self) -> &LogBuffer {
        &self.log
    }

    /// The log, for writing it to the disk.
    pub fn log_mut(&mut self) -> &mut LogBuffer {
        &mut self.log
    }

    /// The segment of the log that blocks are written to.
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// How many transactions have begun and not ended.
    #[cfg(test)]
    pub fn active(&self) -> usize {
        self.active.len()
    }

    /// The number that the next transaction gets.
    pub fn next_transaction(&self) -> u64 {
        self.next_transaction
    }

    /// Begins a transaction.
    pub fn begin(&mut self) -> TransactionId {
        let id = TransactionId(self.next_transaction);
        self.next_transaction += 1;
        self.active.insert(id, Active::default());
        id
    }

    /// Asks for a lock on a row, which need not exist.
    pub fn lock(
        &mut self,
        transaction: TransactionId,
        table: TableId,
        key: &Key,
        mode: LockMode,
    ) -> Locked {
        debug_assert!(self.active.contains_key(&transaction), "it has not ended");
        match self.locks.request(transaction, &(table, key.clone()), mode) {
            Requested::Granted => Locked::Granted,
            Requested::Waiting => self.recheck(transaction),
        }
    }

    /// Takes a lock if it is to be had at once.
    pub fn try_lock(
        &mut self,
        transaction: TransactionId,
        table: TableId,
        key: &Key,
        mode: LockMode,
    ) -> bool {
        self.locks.try_request(transaction, &(table, key.clone()), mode)
    }

    /// The mode in which a transaction holds a row.
    pub fn held(&self, transaction: TransactionId, table: TableId, key: &Key) -> Option<LockMode> {
        self.locks.held(transaction, &(table, key.clone()))
    }

    /// Sets a row, or deletes it.
    ///
    /// # Panics
    /// If the transaction does not hold it exclusively.
    pub fn write(
        &mut self,
        transaction: TransactionId,
        table: TableId,
        key: &Key,
        row: Option<Row>,
    ) {
        let held = self.held(transaction, table, key);
        assert_eq!(held, Some(LockMode::Exclusive), "rows are written under an exclusive lock");
        let record = LogRecord::Write {
            transaction: transaction.0,
            table,
            key: Bytes::copy_from_slice(key),
            row: row.clone(),
        };
        let before = self.log.end();
        let bytes = self.log.append(&record) - before;
        let is_first = self.tables[usize::from(table.0)].write(transaction, key, row);
        let segment = self.segment;
        let active = self.active.get_mut(&transaction).expect("invariant: it has not ended");
        assert!(!active.committing, "nothing is written after the commit");
        active.log_bytes += bytes;
        active.first_segment.get_or_insert(segment);
        if is_first {
            active.writes.push((table, key.clone()));
        }
    }

    /// The next number of a table's identity column.
    pub fn next_identity(&mut self, table: TableId) -> u64 {
        let value = self.tables[usize::from(table.0)].next_identity();
        self.log.append(&LogRecord::Identity { table, value });
        value
    }

    /// Commits a transaction. If it waits for the log, [`Core::log_written`] ends it.
    pub fn commit(&mut self, transaction: TransactionId, delayed: bool) -> Committed {
        let active = self.active.get_mut(&transaction).expect("invariant: it has not ended");
        if active.writes.is_empty() {
            return Committed::Ended(self.end(transaction));
        }
        active.committing = true;
        let end = self.log.append(&LogRecord::Commit { transaction: transaction.0 });
        if delayed {
            return Committed::Ended(self.harden(transaction));
        }
        self.committing.push_back((end, transaction));
        Committed::Waiting
    }

    /// A write of the log is on the disk: the transactions that end with it, in the order of their
    /// commits, and who holds now what they held.
    pub fn log_written(&mut self, end: u64) -> Vec<(TransactionId, Ended)> {
        let mut ended = Vec::new();
        if !self.log.written(end) {
            return ended;
        }
        while let Some((end, transaction)) = self.committing.front().copied() {
            if end > self.log.durable() {
                break;
            }
            self.committing.pop_front();
            ended.push((transaction, self.harden(transaction)));
        }
        ended
    }

    fn harden(&mut self, transaction: TransactionId) -> Ended {
        for (table, key) in std::mem::take(&mut self.active_mut(transaction).writes) {
            self.tables[usize::from(table.0)].commit(transaction, &key);
        }
        self.end(transaction)
    }

    /// Looks again at a transaction that stood in line, after another one was rolled back.
    pub fn recheck(&self, transaction: TransactionId) -> Locked {
        match self.locks.is_waiting(transaction) {
            true => self.deadlock(transaction).map_or(Locked::Waiting, Locked::Deadlock),
            false => Locked::Granted,
        }
    }

    /// Who is to be rolled back because `transaction` waits for itself.
    fn deadlock(&self, transaction: TransactionId) -> Option<TransactionId> {
        let cost = |id: &TransactionId| self.active[id].log_bytes;
        let cycle = self.locks.cycle(transaction);
        cycle.into_iter().min_by_key(|id| (cost(id), std::cmp::Reverse(*id)))
    }

    /// Undoes what a transaction has written, and ends it; nothing happens if it has ended.
    ///
    /// # Panics
    /// If it is being committed.
    pub fn roll_back(&mut self, transaction: TransactionId) -> Ended {
        let Some(active) = self.active.get_mut(&transaction) else { return Ended::default() };
        assert!(!active.committing, "what is being committed is not undone");
        let writes = std::mem::take(&mut active.writes);
        if !writes.is_empty() {
            self.log.append(&LogRecord::Abort { transaction: transaction.0 });
        }
        for (table, key) in writes {
            self.tables[usize::from(table.0)].roll_back(transaction, &key);
        }
        self.end(transaction)
    }

    fn active_mut(&mut self, transaction: TransactionId) -> &mut Active {
        self.active.get_mut(&transaction).expect("invariant: it has not ended")
    }

    fn end(&mut self, transaction: TransactionId) -> Ended {
        self.active.remove(&transaction);
        Ended { granted: self.locks.release_all(transaction) }
    }

    /// Begins a new segment of the log. Everything that was appended before must have been taken
    /// for the one before.
    ///
    /// Returns the first segment that recovery will need, and where it begins, if the committed versions of this
    /// instant are on the disk: that of the oldest record of a transaction which has not ended.
    pub(super) fn begin_segment(&mut self) -> (u64, u64) {
        assert_eq!(self.log.unwritten(), 0, "the old segment has everything that is its own");
        self.segment += 1;
        let position = self.log.end();
        self.log.append(&LogRecord::Segment { number: self.segment, position });
        self.segment_starts.insert(self.segment, position);
        let oldest = self.active.values().filter_map(|active| active.first_segment).min();
        let oldest = oldest.unwrap_or(self.segment);
        self.segment_starts.retain(|segment, _| *segment >= oldest);
        (oldest, self.segment_starts[&oldest])
    }

    pub(super) fn tables_mut(&mut self) -> &mut [Table] {
        &mut self.tables
    }
}

#[cfg(test)]
mod tests;
