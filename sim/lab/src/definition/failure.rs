//! The errors a workflow meets while it runs, by the names that definitions react to.

use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// An error with its name, as `Retry`, `Catch` and `failure` see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The name: one of [`names`], or whatever a function or a `Fail` state says.
    pub error: Arc<str>,
    /// What happened, for a person.
    pub cause: String,
}

/// The error names that the Amazon States Language reserves and the testbed raises.
pub(super) mod names {
    /// Matches everything but [`RUNTIME`] and [`DATA_LIMIT`], which nothing but their names match.
    pub const ALL: &str = "States.ALL";
    /// Matches everything that [`ALL`] matches but [`TIMEOUT`].
    pub const TASK_FAILED: &str = "States.TaskFailed";
    /// A task took longer than it may.
    pub const TIMEOUT: &str = "States.Timeout";
    /// No case of a choice holds and there is no default.
    pub const NO_CHOICE: &str = "States.NoChoiceMatched";
    /// A path in a template leads nowhere.
    pub const PARAMETER_PATH: &str = "States.ParameterPathFailure";
    /// A result has no place in the payload.
    pub const RESULT_PATH: &str = "States.ResultPathMatchFailure";
    /// An intrinsic function cannot take its arguments.
    pub const INTRINSIC: &str = "States.IntrinsicFailure";
    /// A payload is too large or too deep.
    pub const DATA_LIMIT: &str = "States.DataLimitExceeded";
    /// Anything else that the definition does wrong with this payload.
    pub const RUNTIME: &str = "States.Runtime";
}

/// All names that begin with `States.` and may stand in `ErrorEquals`.
pub(super) const RESERVED: [&str; 16] = [
    names::ALL,
    "States.BranchFailed",
    names::DATA_LIMIT,
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.Http.Socket",
    names::INTRINSIC,
    "States.ItemReaderFailed",
    names::NO_CHOICE,
    names::PARAMETER_PATH,
    "States.Permissions",
    names::RESULT_PATH,
    "States.ResultWriterFailed",
    names::RUNTIME,
    names::TASK_FAILED,
    names::TIMEOUT,
];

impl Failure {
    /// An error of this name.
    pub fn new(error: impl Into<Arc<str>>, cause: impl Into<String>) -> Failure {
        Failure { error: error.into(), cause: cause.into() }
    }

    /// The definition does something wrong with this payload.
    pub fn runtime(cause: impl Into<String>) -> Failure {
        Failure::new(names::RUNTIME, cause)
    }

    /// The same, said of the state `name`.
    pub fn in_state(self, name: &str) -> Failure {
        Failure { cause: format!("state {name:?}: {}", self.cause), ..self }
    }

    /// The value that a catcher is given.
    pub fn to_value(&self) -> Value {
        json!({ "Error": &*self.error, "Cause": self.cause })
    }

    /// Whether an entry of `ErrorEquals` means this error.
    pub fn is_matched_by(&self, pattern: &str) -> bool {
        if pattern == &*self.error {
            return true;
        }
        let only_by_name = [names::RUNTIME, names::DATA_LIMIT].contains(&&*self.error);
        match pattern {
            names::ALL => !only_by_name,
            names::TASK_FAILED => !only_by_name && &*self.error != names::TIMEOUT,
            _ => false,
        }
    }

    /// How the error travels through the message of an activity that failed.
    pub fn to_message(&self) -> String {
        self.to_value().to_string()
    }

    /// Reads [`Failure::to_message`]; any other text is a failed task with that cause.
    pub fn from_message(message: &str) -> Failure {
        let value: Option<Value> = serde_json::from_str(message).ok();
        let text = |key: &str| value.as_ref()?.get(key)?.as_str();
        match (text("Error"), text("Cause")) {
            (Some(error), Some(cause)) => Failure::new(error, cause),
            _ => Failure::new(names::TASK_FAILED, message),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause.is_empty() {
            true => f.write_str(&self.error),
            false => write!(f, "{}: {}", self.error, self.cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_what_the_language_says() {
        let declined = Failure::new("CardDeclined", "no funds");
        for (pattern, matches) in [
            ("CardDeclined", true),
            (names::ALL, true),
            (names::TASK_FAILED, true),
            (names::TIMEOUT, false),
        ] {
            assert_eq!(declined.is_matched_by(pattern), matches, "{pattern}");
        }
        let late = Failure::new(names::TIMEOUT, "");
        assert!(late.is_matched_by(names::ALL) && !late.is_matched_by(names::TASK_FAILED));
        let broken = Failure::runtime("");
        assert!(!broken.is_matched_by(names::ALL) && broken.is_matched_by(names::RUNTIME));
    }

    #[test]
    fn an_error_survives_the_message_of_an_activity() {
        let declined = Failure::new("CardDeclined", "no \"funds\"");
        assert_eq!(Failure::from_message(&declined.to_message()), declined);
        let foreign = Failure::from_message("host lost");
        assert_eq!(foreign, Failure::new(names::TASK_FAILED, "host lost"));
    }
}
