//! What is wrong with a definition, and where.
//!
//! A document is read to its end whatever is found: every problem is reported at once, as one line
//! with the place it concerns. A place is the path of keys and positions from the root of the
//! document, for example `states.Book hotel.next`.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use thiserror::Error;

/// Most problems that are kept: a document with more is wrong as a whole.
const PROBLEMS_MAX: usize = 100;
/// Most problems in the one-line form of an error.
const SHOWN_MAX: usize = 3;
/// Most characters of a quoted text in a message.
const QUOTED_MAX: usize = 60;

/// A place in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place(Rc<str>);

impl Place {
    /// The whole document.
    pub fn root() -> Place {
        Place("".into())
    }

    /// The field `key` of the object here.
    pub fn field(&self, key: &str) -> Place {
        let plain = |letter: char| letter.is_alphanumeric() || "_- $*/".contains(letter);
        let key = match !key.is_empty() && key.chars().all(plain) && key.chars().count() <= 80 {
            true => key.to_owned(),
            false => quoted(key),
        };
        match self.0.is_empty() {
            true => Place(key.into()),
            false => Place(format!("{}.{key}", self.0).into()),
        }
    }

    /// The element at `index` of the array here.
    pub fn index(&self, index: usize) -> Place {
        Place(format!("{}[{index}]", self.0).into())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "document" } else { &self.0 })
    }
}

/// A text of a document as messages show it: quoted, on one line, and not endless.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

/// A text of a document as it stands in a list: on one line, with control characters by their escapes.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => shown.extend(letter.escape_debug()),
            false => shown.push(letter),
        }
    }
    shown
}

/// One thing that is wrong, or worth a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: the path of keys and positions, or a line of the text.
    pub place: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A file that is no valid definition, or no valid description of its functions.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.in_one_line())]
pub struct DefinitionError {
    /// The file, as it was named.
    pub file: String,
    /// Every problem, in the order of the document. There is at least one.
    pub problems: Vec<Problem>,
}

impl DefinitionError {
    /// The first problems, and how many there are besides.
    fn in_one_line(&self) -> String {
        let shown = self.problems.iter().take(SHOWN_MAX).map(Problem::to_string);
        let shown = format!("{}: {}", self.file, shown.collect::<Vec<_>>().join("; "));
        match self.problems.len().saturating_sub(SHOWN_MAX) {
            0 => shown,
            more => format!("{shown}; and {more} more, see 'sim definition check'"),
        }
    }
}

/// What was found so far in a document.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Findings {
    /// Something makes the document unusable.
    pub fn problem(&self, place: &Place, message: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push(Problem { place: place.to_string(), message: message.into() });
        }
    }

    /// Something is taken otherwise than the document may expect.
    pub fn warning(&self, place: &Place, message: impl Into<String>) {
        let warning = Problem { place: place.to_string(), message: message.into() };
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < PROBLEMS_MAX && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_sound(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// The warnings about a sound document.
    ///
    /// # Errors
    /// Every problem, if there are any.
    pub fn into_warnings(self) -> Result<Vec<Problem>, Vec<Problem>> {
        let problems = self.problems.into_inner();
        match problems.is_empty() {
            true => Ok(self.warnings.into_inner()),
            false => Err(problems),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_paths_that_never_break_a_line() {
        let place = Place::root().field("states").field("Book hotel").field("cases").index(2);
        assert_eq!(place.to_string(), "states.Book hotel.cases[2]");
        assert_eq!(Place::root().to_string(), "document");
        assert_eq!(Place::root().field("a\nb").to_string(), r#""a\nb""#);
        assert_eq!(Place::root().field("").to_string(), r#""""#);
    }

    #[test]
    fn listed_texts_stay_on_their_line_and_leave_the_terminal_alone() {
        assert_eq!(plain("B\u{fc}cher \"x\""), "B\u{fc}cher \"x\"");
        assert_eq!(plain("a\u{1b}[31m\nb\u{9b}"), "a\\u{1b}[31m\\nb\\u{9b}");
    }

    #[test]
    fn one_line_has_the_first_problems_and_the_number_of_others() {
        let findings = Findings::default();
        for number in 0..5 {
            findings.problem(&Place::root().index(number), "wrong");
        }
        let problems = findings.into_warnings().expect_err("problems");
        assert_eq!(problems.len(), 5);
        assert_eq!(
            DefinitionError { file: "x.json".to_owned(), problems }.to_string(),
            "x.json: [0]: wrong; [1]: wrong; [2]: wrong; and 2 more, see 'sim definition check'"
        );
    }
}
