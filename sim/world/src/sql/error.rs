//! What a database can answer instead of a value.

use thiserror::Error;

/// An error of a database, as its client library reports it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SqlError {
    /// The table has a row of this primary key.
    #[error("2627: violation of the primary key of table {table}: a row of this key exists")]
    DuplicateKey {
        /// The table.
        table: &'static str,
    },
    /// The transaction was chosen as the victim of a deadlock, and rolled back.
    #[error("1205: the transaction was deadlocked and has been chosen as the victim")]
    Deadlock,
    /// The procedure has thrown an error of its own; the transaction was rolled back.
    #[error("{number}: {message}")]
    Thrown {
        /// The number of the error, from 50000 on.
        number: u32,
        /// What it says.
        message: &'static str,
    },
    /// The server did not take the request: it does not run, or has not recovered yet.
    #[error("40613: the database is not available; the request had no effect")]
    Unavailable,
    /// The request took too long, and was cancelled before it had an effect.
    #[error("-2: the request was cancelled because of its timeout; it had no effect")]
    Cancelled,
    /// No answer came in time, or the connection was lost: the transaction may or may not have been
    /// committed.
    #[error("-2: no answer from the database; the transaction may or may not have been committed")]
    Unanswered,
}

impl SqlError {
    /// Whether the transaction may have been committed in spite of the error.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, SqlError::Unanswered)
    }

    /// Whether the same request may succeed if it is repeated: the database is not available, or was
    /// busy with something that stood in the way.
    pub fn is_transient(&self) -> bool {
        use SqlError::{Cancelled, Deadlock, Unanswered, Unavailable};
        matches!(self, Deadlock | Unavailable | Cancelled | Unanswered)
    }
}
