//! Conditions of choices: the comparison operators of the Amazon States Language, and those of
//! SeBS.
//!
//! In the former a comparison names the type it is for, values of another type never compare, and
//! a variable that is absent is an error unless the question is whether it is there. In the latter
//! values of two types never compare either, and an absent variable makes no case hold.

use super::context::Context;
use super::failure::Failure;
use super::instant;
use super::path::Path;
use serde_json::{Number, Value};
use std::cmp::Ordering;
use std::fmt;

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// All of them hold.
    And(Vec<Condition>),
    /// One of them holds.
    Or(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// Something holds for what a path finds.
    Test(Path, Test),
    /// SeBS: what a path finds compares so to a value.
    Plain(Path, Relation, Value),
}

/// Something that holds for a value, or does not.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// It compares so to another value, both of one type.
    Compare(Type, Relation, Operand),
    /// It is a text of this form, in which `*` stands for any letters.
    Matches(Pattern),
    /// Whether it is there.
    Present(bool),
    /// Whether it is null.
    Null(bool),
    /// Whether it is of a type.
    Is(Type, bool),
}

/// The types that comparisons know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Flag,
    /// A text that is a timestamp.
    Instant,
}

/// How one value compares to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// `==`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// What a value is compared to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    /// A value that is written out.
    Value(Value),
    /// What a path finds.
    Path(Path),
}

impl Relation {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Relation::Equal => order.is_eq(),
            Relation::Less => order.is_lt(),
            Relation::LessOrEqual => order.is_le(),
            Relation::Greater => order.is_gt(),
            Relation::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Relation::Equal => "==",
            Relation::Less => "<",
            Relation::LessOrEqual => "<=",
            Relation::Greater => ">",
            Relation::GreaterOrEqual => ">=",
        })
    }
}

impl Type {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Type::Text => "a text",
            Type::Number => "a number",
            Type::Flag => "a boolean",
            Type::Instant => "a timestamp",
        }
    }

    /// How two values of this type compare; nothing if one is of another.
    fn order(self, left: &Value, right: &Value) -> Option<Ordering> {
        match self {
            Type::Text => Some(left.as_str()?.cmp(right.as_str()?)),
            Type::Number => numbers(left.as_number()?, right.as_number()?),
            Type::Flag => Some(left.as_bool()?.cmp(&right.as_bool()?)),
            Type::Instant => Some(instant_of(left)?.cmp(&instant_of(right)?)),
        }
    }

    /// Whether a value is of this type.
    pub fn has(self, value: &Value) -> bool {
        self.order(value, value).is_some()
    }
}

fn instant_of(value: &Value) -> Option<instant::Instant> {
    instant::parse(value.as_str()?)
}

/// Whole numbers compare exactly.
fn numbers(left: &Number, right: &Number) -> Option<Ordering> {
    let exact = |number: &Number| {
        number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
    };
    match (exact(left), exact(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

/// How two values of one type compare, for SeBS; numbers, texts and booleans do.
fn plain_order(left: &Value, right: &Value) -> Option<Ordering> {
    let types = [Type::Number, Type::Text, Type::Flag];
    types.iter().find_map(|of_type| of_type.order(left, right))
}

impl Condition {
    /// Whether it holds.
    ///
    /// # Errors
    /// If a variable is absent.
    pub fn holds(&self, payload: &Value, cx: Context<'_>) -> Result<bool, Failure> {
        match self {
            Condition::And(parts) => {
                for part in parts {
                    if !part.holds(payload, cx)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Or(parts) => {
                for part in parts {
                    if part.holds(payload, cx)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::Not(part) => part.holds(payload, cx).map(|holds| !holds),
            Condition::Test(path, Test::Present(wanted)) => {
                Ok(cx.find(path, payload).is_some() == *wanted)
            }
            Condition::Test(path, test) => test.holds(&variable(path, payload, cx)?, payload, cx),
            Condition::Plain(path, relation, value) => {
                let found = cx.find(path, payload);
                Ok(found.is_some_and(|found| match plain_order(&found, value) {
                    Some(order) => relation.holds(order),
                    None => *relation == Relation::Equal && found == *value,
                }))
            }
        }
    }
}

fn variable(path: &Path, payload: &Value, cx: Context<'_>) -> Result<Value, Failure> {
    let absent = || Failure::runtime(format!("the variable {path} is not in the payload"));
    cx.find(path, payload).ok_or_else(absent)
}

impl Test {
    fn holds(&self, value: &Value, payload: &Value, cx: Context<'_>) -> Result<bool, Failure> {
        Ok(match self {
            Test::Compare(of_type, relation, operand) => {
                let order = match operand {
                    Operand::Value(other) => of_type.order(value, other),
                    Operand::Path(path) => of_type.order(value, &variable(path, payload, cx)?),
                };
                order.is_some_and(|order| relation.holds(order))
            }
            Test::Matches(pattern) => value.as_str().is_some_and(|text| pattern.matches(text)),
            Test::Present(wanted) => *wanted,
            Test::Null(wanted) => value.is_null() == *wanted,
            Test::Is(of_type, wanted) => of_type.has(value) == *wanted,
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = |parts: &[Condition], word: &str| {
            let parts = parts.iter().map(|part| match part {
                Condition::And(_) | Condition::Or(_) => format!("({part})"),
                _ => part.to_string(),
            });
            parts.collect::<Vec<_>>().join(word)
        };
        match self {
            Condition::And(parts) => f.write_str(&several(parts, " and ")),
            Condition::Or(parts) => f.write_str(&several(parts, " or ")),
            Condition::Not(part) => write!(f, "not ({part})"),
            Condition::Test(path, test) => write!(f, "{path} {test}"),
            Condition::Plain(path, relation, value) => write!(f, "{path} {relation} {value}"),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = |wanted: &bool| if *wanted { "is" } else { "is not" };
        match self {
            Test::Compare(_, relation, Operand::Value(value)) => write!(f, "{relation} {value}"),
            Test::Compare(_, relation, Operand::Path(path)) => write!(f, "{relation} {path}"),
            Test::Matches(pattern) => write!(f, "matches {:?}", pattern.to_string()),
            Test::Present(wanted) => write!(f, "{} there", is(wanted)),
            Test::Null(wanted) => write!(f, "{} null", is(wanted)),
            Test::Is(of_type, wanted) => write!(f, "{} {}", is(wanted), of_type.name()),
        }
    }
}

/// A text in which `*` stands for any letters, and a backslash keeps a star or a backslash as it
/// is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// `None` is a star.
    letters: Vec<Option<char>>,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = self.letters.iter().map(|letter| letter.unwrap_or('*'));
        f.write_str(&letters.collect::<String>())
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If a backslash stands before anything else.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let (mut letters, mut rest) = (Vec::new(), text.chars());
        while let Some(letter) = rest.next() {
            letters.push(match letter {
                '*' => None,
                '\\' => match rest.next() {
                    Some(escaped @ ('*' | '\\')) => Some(escaped),
                    _ => return Err("a backslash stands before * or \\ only".to_owned()),
                },
                other => Some(other),
            });
        }
        Ok(Pattern { letters })
    }

    /// Whether `text` has this form. Time is bounded by the product of both lengths: after a
    /// mismatch only the last star can take another letter.
    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut in_text) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while in_text < text.len() {
            match self.letters.get(at) {
                Some(None) => {
                    star = Some((at, in_text));
                    at += 1;
                }
                Some(Some(letter)) if *letter == text[in_text] => {
                    at += 1;
                    in_text += 1;
                }
                _ => match star {
                    Some((star_at, taken)) => {
                        star = Some((star_at, taken + 1));
                        at = star_at + 1;
                        in_text = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        self.letters[at..].iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::context::Execution;
    use serde_json::json;

    fn holds(condition: &Condition, payload: &Value) -> Result<bool, Failure> {
        let execution = Execution { index: 0, input: json!({}) };
        let cx = Context { execution: &execution, item: None, state: "S", retries: 0 };
        condition.holds(payload, cx)
    }

    fn path(text: &str) -> Path {
        Path::parse(text).expect(text)
    }

    fn compare(of_type: Type, relation: Relation, value: Value) -> Condition {
        Condition::Test(path("$.x"), Test::Compare(of_type, relation, Operand::Value(value)))
    }

    #[test]
    fn values_compare_within_their_type_only() {
        use Relation::*;
        for (of_type, relation, x, value, expected) in [
            (Type::Number, Less, json!(1), json!(1.5), true),
            (Type::Number, Equal, json!(u64::MAX), json!(u64::MAX - 1), false),
            (Type::Number, GreaterOrEqual, json!("2"), json!(1), false),
            (Type::Text, Greater, json!("b"), json!("a"), true),
            (Type::Flag, Equal, json!(true), json!(true), true),
            (
                Type::Instant,
                Less,
                json!("2026-01-01T00:00:00Z"),
                json!("2026-01-01T00:00:00-01:00"),
                true,
            ),
            (Type::Instant, Equal, json!("soon"), json!("soon"), false),
        ] {
            let condition = compare(of_type, relation, value);
            assert_eq!(holds(&condition, &json!({"x": x})), Ok(expected), "{condition:?} {x}");
        }
    }

    #[test]
    fn an_absent_variable_is_an_error_unless_its_presence_is_asked_for() {
        let equals = compare(Type::Number, Relation::Equal, json!(1));
        assert!(holds(&equals, &json!({})).is_err());
        let present = Condition::Test(path("$.x"), Test::Present(true));
        assert_eq!(holds(&present, &json!({})), Ok(false));
        assert_eq!(holds(&present, &json!({"x": null})), Ok(true));
        let guarded = Condition::And(vec![present.clone(), equals]);
        assert_eq!(holds(&guarded, &json!({})), Ok(false), "the first decides");
        assert_eq!(holds(&Condition::Not(Box::new(guarded)), &json!({})), Ok(true));
        let plain = Condition::Plain(path("$.x"), Relation::Equal, json!(1));
        assert_eq!(holds(&plain, &json!({})), Ok(false));
        assert_eq!(holds(&Condition::Or(vec![plain, present]), &json!({"x": 1.0})), Ok(true));
    }

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, text, expected) in [
            ("log-*.txt", "log-2026.txt", true),
            ("log-*.txt", "log-2026.csv", false),
            ("*", "", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("", "", true),
            ("", "a", false),
        ] {
            let matches = Pattern::parse(pattern).expect(pattern).matches(text);
            assert_eq!(matches, expected, "{pattern} {text}");
        }
        assert!(Pattern::parse("a\\b").is_err());
        let slow = Pattern::parse(&"*a".repeat(200)).expect("a pattern");
        assert!(!slow.matches(&"a".repeat(199)));
    }
}
