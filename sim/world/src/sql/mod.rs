//! A relational database on a rented machine.

mod checkpoint;
mod core;
mod lock;
mod log;
mod table;

pub use lock::{LockMode, TransactionId};
pub use table::{Key, Row, TableId};
