//! A trouble that cannot be.

use super::pattern::Pattern;
use thiserror::Error;

/// A trouble that cannot begin.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TroubleError {
    /// A number is out of its range.
    #[error("{kind}: {field} is {value}, expected {expected}")]
    Field {
        /// The kind of trouble.
        kind: &'static str,
        /// The field.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// The world has nothing of that name.
    #[error(
        "{kind}: no {what} matches {pattern:?}{}; there are: {}",
        hint(pattern, known),
        list(known)
    )]
    NothingMatches {
        /// The kind of trouble.
        kind: &'static str,
        /// What was looked for.
        what: &'static str,
        /// The name that nothing has.
        pattern: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The replicas do nothing of that name.
    #[error(
        "{kind}: these replicas cannot be made to {behaviour:?}{}; they can be made to: {}",
        hint(behaviour, known),
        list(known)
    )]
    Behaviour {
        /// The kind of trouble.
        kind: &'static str,
        /// What they were to do.
        behaviour: String,
        /// What they can do.
        known: Vec<String>,
    },
    /// A link has two ends.
    #[error(
        "{kind}: from {from:?} to {to:?} is one node only, and a node reaches itself without a link"
    )]
    NoLink {
        /// The kind of trouble.
        kind: &'static str,
        /// Who sends.
        from: String,
        /// Who is sent to.
        to: String,
    },
}

impl TroubleError {
    pub(super) fn nothing_matches(
        kind: &'static str,
        what: &'static str,
        pattern: &Pattern,
        known: &[String],
    ) -> TroubleError {
        let pattern = pattern.to_string();
        TroubleError::NothingMatches { kind, what, pattern, known: known.to_vec() }
    }
}

fn hint(pattern: &str, known: &[String]) -> String {
    match crate::profile::nearest(pattern, known.iter().map(String::as_str)) {
        Some(near) => format!(", did you mean {near:?}?"),
        None => String::new(),
    }
}

fn list(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
