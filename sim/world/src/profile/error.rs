//! Errors of profiles: each is one line that names the profile, the field, and what is expected.

use thiserror::Error;

/// A profile that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileError {
    /// No embedded profile has the name and no file lies at the path.
    #[error("profile {profile:?} does not exist; did you mean {nearest:?}? (known: {known})")]
    Unknown {
        /// The name or path that was asked for.
        profile: String,
        /// The known name that is nearest by edit distance.
        nearest: String,
        /// All known names, separated by commas.
        known: String,
    },
    /// The file exists and cannot be read.
    #[error("profile {profile}: cannot be read: {reason}")]
    Unreadable {
        /// The path.
        profile: String,
        /// What the system said.
        reason: String,
    },
    /// The text is not TOML.
    #[error("profile {profile}: not valid TOML at line {line}: {reason}")]
    Syntax {
        /// The profile's name.
        profile: String,
        /// The line, counted from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A field is missing, unknown, mistyped or out of range.
    #[error("profile {profile}: field {field}: {problem}")]
    Field {
        /// The profile's name.
        profile: String,
        /// The dotted path of the field.
        field: String,
        /// What is wrong and what is expected.
        problem: String,
    },
}

/// The candidate nearest to `word` by edit distance (the first of several equals), if any is near
/// enough to be what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()).div_ceil(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
