//! Unknown names: one format for all messages, with the nearest valid choice.

use std::fmt;

/// A name that is not among the valid ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// What the name is of: `engine`, `workload`, `setting of netherite`, ...
    pub what: String,
    /// The name as given.
    pub given: String,
    /// The valid names, in the order to be shown.
    pub valid: Vec<String>,
}

impl UnknownName {
    /// `given` is none of the `valid` names of a `what`.
    pub fn new<S: Into<String>>(
        what: impl Into<String>,
        given: impl Into<String>,
        valid: impl IntoIterator<Item = S>,
    ) -> Self {
        let valid = valid.into_iter().map(Into::into).collect();
        UnknownName { what: what.into(), given: given.into(), valid }
    }

    /// The valid name that was most likely meant; `None` if none is near.
    pub fn nearest(&self) -> Option<&str> {
        nearest(&self.given, self.valid.iter().map(String::as_str))
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {} {:?}: ", self.what, self.given)?;
        if let Some(nearest) = self.nearest() {
            write!(f, "did you mean {nearest:?}? ")?;
        }
        if self.valid.is_empty() {
            return f.write_str("there are none");
        }
        write!(f, "valid: {}", self.valid.join(", "))
    }
}

/// The candidate nearest to `given` by edit distance, the first of equals. A candidate that would
/// need more than two edits and also more than half of the letters changed is no suggestion;
/// capitals do not count as edits.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let length = given.chars().count();
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&given, &candidate.to_lowercase()), candidate)
        })
        .filter(|(edits, candidate)| {
            let longer = length.max(candidate.chars().count());
            *edits < longer && (*edits <= 2 || *edits * 2 <= longer)
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_nearest_choice_and_all_others() {
        let engines = ["azure-storage", "in-memory", "netherite"];
        let unknown = UnknownName::new("engine", "netherit", engines);
        assert_eq!(
            unknown.to_string(),
            "unknown engine \"netherit\": did you mean \"netherite\"? valid: azure-storage, \
             in-memory, netherite"
        );
    }

    #[test]
    fn what_is_like_nothing_gets_no_suggestion() {
        assert_eq!(nearest("postgres", ["azure-storage", "in-memory", "netherite"]), None);
        assert_eq!(nearest("", ["a"]), None);
        assert_eq!(nearest("EP9", ["EP1", "EP2"]), Some("EP1"));
        assert_eq!(nearest("ep2", ["EP1", "EP2"]), Some("EP2"));
        let unknown = UnknownName::new("engine", "postgres", ["in-memory"]);
        assert_eq!(unknown.to_string(), "unknown engine \"postgres\": valid: in-memory");
        let none: [&str; 0] = [];
        let unknown = UnknownName::new("setting of in-memory", "x", none);
        assert_eq!(unknown.to_string(), "unknown setting of in-memory \"x\": there are none");
    }
}
