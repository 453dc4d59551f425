//! A transaction as a stored procedure sees it.
//!
//! A procedure is a sequence of statements; each pays its core time on the server, with that of the
//! rows it touched, before the next begins. Plain reads see what was committed last and take no locks
//! (read committed snapshot, the default of the cloud service); reads with a lock wait for it and keep
//! it to the end (`HOLDLOCK`, `UPDLOCK`); reads past locks skip rows that others hold (`READPAST`).
//! Writes lock their row exclusively.
//!
//! Locks are on rows by their primary key, whether the row exists or not: a reader with a lock keeps
//! another from inserting it. There are no locks on ranges, pages or tables, and none on the entries of
//! secondary indexes.

use super::core::{Committed, Ended, Locked};
use super::error::SqlError;
use super::lock::{LockMode, TransactionId};
use super::process::Process;
use super::table::{Key, Row, TableId};
use bytes::Bytes;
use sim_model::ledger::{Category, Timing};
use sim_model::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

/// How far a transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Committing,
    Ended,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is committed.
    Committed,
    /// It never will be.
    Lost,
}

/// Who is told what became of a transaction, once it is certain: for measurement.
pub type Verdict = Box<dyn FnOnce(Fate)>;

struct Inner {
    process: Rc<Process>,
    id: TransactionId,
    verdicts: RefCell<Vec<Verdict>>,
    /// When the client stops waiting: nothing is begun after that.
    deadline: Timestamp,
    stage: Cell<Stage>,
    /// Core time of what was done and not paid.
    unpaid: Cell<Duration>,
    timing: RefCell<Timing>,
}

/// A transaction under way; clones are the same.
#[derive(Clone)]
pub struct Transaction(Rc<Inner>);

impl Transaction {
    pub(super) fn begin(
        process: &Rc<Process>,
        verdict: Option<Verdict>,
        deadline: Timestamp,
    ) -> Transaction {
        let id = process.core().begin();
        let unpaid = Cell::new(process.costs().call);
        Transaction(Rc::new(Inner {
            process: process.clone(),
            id,
            verdicts: RefCell::new(verdict.into_iter().collect()),
            deadline,
            stage: Cell::new(Stage::Open),
            unpaid,
            timing: RefCell::default(),
        }))
    }

    /// The present, by the clock of the server.
    pub fn now(&self) -> Timestamp {
        self.0.process.now()
    }

    /// Has somebody told what became of this transaction: when it is durable, when it is rolled back,
    /// or in recovery after a crash in between. For measurement: a procedure cannot know it.
    pub fn when_settled(&self, verdict: impl FnOnce(Fate) + 'static) {
        self.0.verdicts.borrow_mut().push(Box::new(verdict));
    }

    /// Begins a statement: what was done before is paid for.
    pub async fn statement(&self) {
        self.pay().await;
        self.add(self.0.process.costs().statement);
    }

    /// The row as the transaction sees it, without a lock.
    pub fn read(&self, table: TableId, key: &[u8]) -> Option<Row> {
        self.touch(1);
        self.0.process.core().table(table).get(self.0.id, key).cloned()
    }

    /// The row, locked to the end of the transaction.
    ///
    /// # Errors
    /// [`SqlError::Deadlock`]; [`SqlError::Cancelled`].
    pub async fn read_locked(
        &self,
        table: TableId,
        key: &Key,
        mode: LockMode,
    ) -> Result<Option<Row>, SqlError> {
        self.lock(table, key, mode).await?;
        Ok(self.read(table, key))
    }

    /// Takes the lock of a row if it is to be had at once.
    pub fn try_lock(&self, table: TableId, key: &Key, mode: LockMode) -> bool {
        self.0.process.core().try_lock(self.0.id, table, key, mode)
    }

    /// Goes through the rows from `from` on, without locks, until `visit` breaks off.
    pub fn scan<B>(
        &self,
        table: TableId,
        from: &[u8],
        mut visit: impl FnMut(&Key, &Row) -> ControlFlow<B>,
    ) -> Option<B> {
        let mut touched = 0;
        let core = self.0.process.core();
        let found = core.table(table).scan(self.0.id, from).find_map(|(key, row)| {
            touched += 1;
            visit(key, row).break_value()
        });
        drop(core);
        self.touch(touched);
        found
    }

    /// The rows whose keys begin with `prefix`.
    pub fn scan_prefix(&self, table: TableId, prefix: &[u8]) -> Vec<(Key, Row)> {
        let mut rows = Vec::new();
        self.scan(table, prefix, |key, row| {
            if !key.starts_with(prefix) {
                return ControlFlow::Break(());
            }
            rows.push((key.clone(), row.clone()));
            ControlFlow::Continue(())
        });
        rows
    }

    /// Goes through the entries of a secondary index from `from` on: index key and primary key of
    /// committed rows.
    pub fn scan_index<B>(
        &self,
        table: TableId,
        index: usize,
        from: Bytes,
        mut visit: impl FnMut(&Bytes, &Key) -> ControlFlow<B>,
    ) -> Option<B> {
        let mut touched = 0;
        let core = self.0.process.core();
        let found = core.table(table).scan_index(index, from).find_map(|(indexed, key)| {
            touched += 1;
            visit(indexed, key).break_value()
        });
        drop(core);
        self.touch(touched);
        found
    }

    /// Inserts a row.
    ///
    /// # Errors
    /// [`SqlError::DuplicateKey`]; [`SqlError::Deadlock`], [`SqlError::Cancelled`].
    pub async fn insert(&self, table: TableId, key: Key, row: Row) -> Result<(), SqlError> {
        self.lock(table, &key, LockMode::Exclusive).await?;
        let exists = self.0.process.core().table(table).get(self.0.id, &key).is_some();
        if exists {
            let table = self.0.process.core().table_name(table);
            return Err(SqlError::DuplicateKey { table });
        }
        self.set(table, &key, Some(row));
        Ok(())
    }

    /// Sets a row, whether it exists or not.
    ///
    /// # Errors
    /// [`SqlError::Deadlock`], [`SqlError::Cancelled`].
    pub async fn put(&self, table: TableId, key: &Key, row: Row) -> Result<(), SqlError> {
        self.lock(table, key, LockMode::Exclusive).await?;
        self.set(table, key, Some(row));
        Ok(())
    }

    /// Deletes a row; false if there is none.
    ///
    /// # Errors
    /// [`SqlError::Deadlock`], [`SqlError::Cancelled`].
    pub async fn delete(&self, table: TableId, key: &Key) -> Result<bool, SqlError> {
        self.lock(table, key, LockMode::Exclusive).await?;
        let exists = self.read(table, key).is_some();
        if exists {
            self.set(table, key, None);
        }
        Ok(exists)
    }

    /// The next number of a table's identity column.
    pub fn next_identity(&self, table: TableId) -> u64 {
        self.0.process.core().next_identity(table)
    }

    /// Waits for the lock of a row.
    ///
    /// # Errors
    /// [`SqlError::Deadlock`], [`SqlError::Cancelled`].
    pub async fn lock(&self, table: TableId, key: &Key, mode: LockMode) -> Result<(), SqlError> {
        let (process, id) = (&self.0.process, self.0.id);
        let mut locked = process.core().lock(id, table, key, mode);
        if locked == Locked::Granted {
            return Ok(());
        }
        process.count_lock_wait();
        while let Locked::Deadlock(victim) = locked {
            process.count_deadlock();
            if victim == id {
                return Err(SqlError::Deadlock);
            }
            process.give_up(victim);
            locked = process.core().recheck(id);
        }
        if locked == Locked::Granted {
            return Ok(());
        }
        let waited = process.wait_for_lock(id, self.0.deadline);
        let begun = process.now();
        let outcome = waited.await;
        self.spent(Category::Queueing, process.now().since(begun));
        outcome
    }

    fn set(&self, table: TableId, key: &Key, row: Option<Row>) {
        self.add(self.0.process.costs().row_write);
        self.0.process.core().write(self.0.id, table, key, row);
    }

    fn touch(&self, rows: u32) {
        self.add(self.0.process.costs().row_read * rows);
    }

    fn add(&self, cost: Duration) {
        self.0.unpaid.set(self.0.unpaid.get() + cost);
    }

    fn spent(&self, category: Category, span: Duration) {
        self.0.timing.borrow_mut().add(category, span);
    }

    async fn pay(&self) {
        let unpaid = self.0.unpaid.take();
        if !unpaid.is_zero() {
            let timing = self.0.process.host().run(unpaid).await;
            self.spent(Category::Queueing, timing.queued);
            self.spent(Category::Cpu, timing.ran);
        }
    }

    /// Commits, and waits until the log is durable.
    pub(super) async fn commit(&self) -> Result<(), SqlError> {
        self.pay().await;
        let (process, id) = (&self.0.process, self.0.id);
        if process.now() >= self.0.deadline {
            return Err(SqlError::Cancelled);
        }
        self.0.stage.set(Stage::Committing);
        let committed = process.core().commit(id, process.delayed_durability());
        let begun = process.now();
        match committed {
            Committed::Ended(ended) => {
                process.let_in(&ended);
                process.after_commit();
            }
            Committed::Waiting => process.wait_for_log(id).await,
        }
        self.0.stage.set(Stage::Ended);
        self.spent(Category::Commit, process.now().since(begun));
        self.report(Fate::Committed);
        Ok(())
    }

    /// Undoes everything, and pays for what was done.
    pub(super) async fn roll_back(&self) {
        self.undo();
        self.pay().await;
    }

    fn undo(&self) {
        if self.0.stage.replace(Stage::Ended) == Stage::Open {
            let ended: Ended = self.0.process.core().roll_back(self.0.id);
            self.0.process.let_in(&ended);
            self.report(Fate::Lost);
        }
    }

    fn report(&self, fate: Fate) {
        self.0.verdicts.take().into_iter().for_each(|verdict| verdict(fate));
    }

    /// Where the time on the server went so far.
    pub(super) fn timing(&self) -> Timing {
        *self.0.timing.borrow()
    }
}

impl Drop for Inner {
    /// The server has crashed, and the transaction with it.
    fn drop(&mut self) {
        let verdicts = self.verdicts.take();
        match self.stage.get() {
            Stage::Committing => self.process.in_doubt(self.id, verdicts),
            Stage::Open | Stage::Ended => {
                verdicts.into_iter().for_each(|verdict| verdict(Fate::Lost));
            }
        }
    }
}
