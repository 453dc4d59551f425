//! A relational database on a rented machine: stored procedures, row locks, a write-ahead log.
//!
//! **What it models.** Tables of rows under primary keys with secondary indexes; procedures that run
//! on the server, each call one transaction; row locks (shared, update, exclusive) with waiting in
//! line, skipping of locked rows and deadlock victims; read committed snapshots for plain reads;
//! violations of primary keys; commit after the log is on the disk, with all writers' records in one
//! write; checkpoints and recovery. What limits it is the machine: cores (each call, statement and
//! row has its price in core time), the disk under the log, and locks held until the log is durable.
//!
//! | module | holds |
//! |---|---|
//! | `lock`, `table`, `log`, `checkpoint`, `core` | the database as a state machine, without time |
//! | `process`, `transaction` | the same on a machine: cores, disk, waiting |
//! | `server` | requests of clients, procedures |
//!
//! **Left out.** Backups, replicas and failover; locks on ranges, pages and tables, and their
//! escalation; query plans (a procedure says itself which rows it looks at); the buffer pool (all
//! pages fit into memory); `tempdb`.
//!
//! **Meter.** Under the service `sql`: each answered call by its procedure, and besides `log_flush`
//! (with bytes), `checkpoint` (with bytes), `lock_wait` and `deadlock`.
//!
//! Units: core time at full core speed, sizes in bytes.

mod checkpoint;
mod core;
mod error;
mod lock;
mod log;
mod process;
mod server;
mod table;
mod transaction;

pub use self::core::TableSpec;
pub use error::SqlError;
pub use lock::{LockMode, TransactionId};
pub use server::{Database, DatabaseClient, DatabaseOptions, SERVICE, Schema};
pub use table::{Key, Row, TableId};
pub use transaction::{Fate, Transaction, Verdict};
