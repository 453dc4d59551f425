//! What a service can answer instead of a value.

use thiserror::Error;

/// An error of a storage or event service, as its client library reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StorageError {
    /// The message, entity or blob does not exist.
    #[error("404: {what} does not exist")]
    NotFound {
        /// What was addressed.
        what: &'static str,
    },
    /// The entity or blob exists already, or another holds the lease.
    #[error("409: {what}")]
    Conflict {
        /// What stands in the way.
        what: &'static str,
    },
    /// The entity or blob has another ETag than the one given, or exists although it must not.
    #[error("412: the entity has another ETag")]
    PreconditionFailed,
    /// The blob is leased, and the request does not hold the lease (any more).
    #[error("412: the request does not hold the lease of the blob")]
    LeaseLost,
    /// The message was handed out again (or changed) since the pop receipt was given.
    #[error("400: the pop receipt is not the message's latest")]
    PopReceiptMismatch,
    /// The request is larger than the service allows.
    #[error("413: {what} is {actual}, the service allows {limit}")]
    LimitExceeded {
        /// What is too large.
        what: &'static str,
        /// The most that is allowed.
        limit: u64,
        /// What the request has.
        actual: u64,
    },
    /// The request makes no sense to the service.
    #[error("400: {what}")]
    InvalidRequest {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The service refused every attempt because of a limit.
    #[error("503: server busy, {attempts} attempts refused")]
    ServerBusy {
        /// Attempts made.
        attempts: u32,
    },
    /// The last attempt got no answer in time: it may or may not have been applied.
    #[error("timed out after {attempts} attempts; the request may or may not have been applied")]
    TimedOut {
        /// Attempts made.
        attempts: u32,
    },
}

impl StorageError {
    /// The HTTP status code (408 for a request without an answer).
    pub fn status(&self) -> u16 {
        match self {
            StorageError::NotFound { .. } => 404,
            StorageError::Conflict { .. } => 409,
            StorageError::PreconditionFailed | StorageError::LeaseLost => 412,
            StorageError::LimitExceeded { .. } => 413,
            StorageError::PopReceiptMismatch | StorageError::InvalidRequest { .. } => 400,
            StorageError::ServerBusy { .. } => 503,
            StorageError::TimedOut { .. } => 408,
        }
    }

    /// Whether the request may have been applied in spite of the error.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, StorageError::TimedOut { .. })
    }
}

/// Refuses what is larger than a limit.
pub(crate) fn check_limit(what: &'static str, actual: u64, limit: u64) -> Result<(), StorageError> {
    if actual > limit { Err(StorageError::LimitExceeded { what, limit, actual }) } else { Ok(()) }
}
