//! Errors of user code: results with a message, never faults.
//!
//! An engine neither retries them nor reacts to them: a retry is user code (see
//! [`RetryPolicy`](crate::orchestration::RetryPolicy)).

use crate::payload::Payload;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What kind of error an orchestration, entity operation or activity ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// User code returned it.
    User,
    /// A value could not be encoded or decoded.
    Data,
    /// No orchestration, entity, operation or activity has the name.
    UnknownFunction,
    /// The code decided something else than its history says.
    NonDeterminism,
    /// The code broke a rule of the model, for example nested two critical sections.
    Misuse,
}

/// An error of user code: a result with a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationError {
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// What went wrong, for a person.
    pub message: Arc<str>,
}

/// What user code returns, encoded.
pub type ApplicationResult = Result<Payload, ApplicationError>;

impl ApplicationError {
    /// An error that user code returns.
    pub fn user(message: impl Into<Arc<str>>) -> Self {
        ApplicationError { kind: ErrorKind::User, message: message.into() }
    }

    /// A value that has no encoding or no decoding.
    pub fn data(message: impl Into<Arc<str>>) -> Self {
        ApplicationError { kind: ErrorKind::Data, message: message.into() }
    }

    /// A name that is not registered.
    pub fn unknown_function(what: &str, name: &str) -> Self {
        let message = format!("no {what} is registered as {name:?}").into();
        ApplicationError { kind: ErrorKind::UnknownFunction, message }
    }

    /// A replay that went another way than the history.
    pub fn non_determinism(message: impl Into<Arc<str>>) -> Self {
        ApplicationError { kind: ErrorKind::NonDeterminism, message: message.into() }
    }

    /// A broken rule of the model.
    pub fn misuse(message: impl Into<Arc<str>>) -> Self {
        ApplicationError { kind: ErrorKind::Misuse, message: message.into() }
    }
}

impl fmt::Display for ApplicationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ErrorKind::User => "error",
            ErrorKind::Data => "data error",
            ErrorKind::UnknownFunction => "unknown function",
            ErrorKind::NonDeterminism => "non-determinism",
            ErrorKind::Misuse => "misuse",
        };
        write!(f, "{kind}: {}", self.message)
    }
}

impl std::error::Error for ApplicationError {}
