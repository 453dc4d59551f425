//! Names that a fault concerns, with `*` for any run of characters.

use serde_with::{DeserializeFromStr, SerializeDisplay};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Longest pattern, in bytes: names of the world are far shorter, and matching stays cheap.
const LENGTH_MAX: usize = 200;

/// The names of nodes, services, disks or blobs that a fault concerns. `*` stands for any run of
/// characters, none included; everything else stands for itself: `worker-*`, `queue`, `*`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, SerializeDisplay, DeserializeFromStr,
)]
pub struct Pattern(String);

/// Text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Nothing, which no name is.
    #[error("the pattern is empty, expected a name such as \"worker-0\", \"worker-*\" or \"*\"")]
    Empty,
    /// A character that no name has.
    #[error(
        "pattern {pattern:?}: names have no {character:?}, expected letters, digits, -, _, ., /, @ and *"
    )]
    Character {
        /// The text.
        pattern: String,
        /// The character.
        character: char,
    },
    /// More text than any name has.
    #[error("a pattern of {length} bytes, expected at most {LENGTH_MAX}")]
    TooLong {
        /// How long it is.
        length: usize,
    },
}

impl Pattern {
    /// The pattern of all names.
    pub fn any() -> Pattern {
        Pattern("*".to_owned())
    }

    /// Whether a name is one of those.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(last) else { return false };
        // The leftmost place of each part leaves most room to those after it.
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > LENGTH_MAX {
            return Err(PatternError::TooLong { length: text.len() });
        }
        let is_known = |c: &char| c.is_ascii_alphanumeric() || "-_./@*".contains(*c);
        if let Some(character) = text.chars().find(|character| !is_known(character)) {
            return Err(PatternError::Character { pattern: text.to_owned(), character });
        }
        Ok(Pattern(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().expect("a pattern")
    }

    #[test]
    fn a_star_stands_for_any_run() {
        for (text, name, expected) in [
            ("worker-*", "worker-12", true),
            ("worker-*", "worker-", true),
            ("worker-*", "client", false),
            ("queue", "queue", true),
            ("queue", "queues", false),
            ("*", "anything", true),
            ("*-1", "worker-1", true),
            ("*-1", "worker-11", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("**", "", true),
        ] {
            assert_eq!(pattern(text).matches(name), expected, "{text} and {name}");
        }
    }

    #[test]
    fn what_no_name_has_is_refused_in_words() {
        let message = |text: &str| text.parse::<Pattern>().expect_err(text).to_string();
        assert!(message("").starts_with("the pattern is empty"));
        assert!(message("worker 1").contains("names have no ' '"));
        assert!(message(&"x".repeat(201)).contains("201 bytes"));
    }

    proptest! {
        /// Against the plain definition: a star takes some prefix of what is left.
        #[test]
        fn agrees_with_the_definition(text in "[ab*]{1,8}", name in "[ab]{0,8}") {
            fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
                match pattern.split_first() {
                    None => name.is_empty(),
                    Some((b'*', rest)) => {
                        (0..=name.len()).any(|taken| by_definition(rest, &name[taken..]))
                    }
                    Some((own, rest)) => {
                        name.first() == Some(own) && by_definition(rest, &name[1..])
                    }
                }
            }
            let expected = by_definition(text.as_bytes(), name.as_bytes());
            prop_assert_eq!(pattern(&text).matches(&name), expected);
        }
    }
}
