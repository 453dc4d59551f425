//! Reading an object field by field, strictly: what is of the wrong type, missing or unknown is
//! noted with its place, and reading goes on.

use super::problem::{Findings, Place, quoted};
use crate::suggest::UnknownName;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// The kind of a value, for a person.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The message for `value` where something else belongs.
pub(super) fn mismatch(value: &Value, expected: &str) -> String {
    match value {
        Value::String(text) => format!("found the text {}, expected {expected}", quoted(text)),
        Value::Number(number) => format!("found {number}, expected {expected}"),
        Value::Bool(flag) => format!("found {flag}, expected {expected}"),
        other => format!("found {}, expected {expected}", kind(other)),
    }
}

/// An object that is being read.
pub(super) struct Fields<'a> {
    place: Place,
    object: &'a Map<String, Value>,
    findings: &'a Findings,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Reads `value` at `place`, which must be an object.
    pub fn of(value: &'a Value, place: Place, findings: &'a Findings) -> Option<Fields<'a>> {
        match value {
            Value::Object(object) => Some(Fields { place, object, findings, known: Vec::new() }),
            other => {
                findings.problem(&place, mismatch(other, "an object"));
                None
            }
        }
    }

    /// Where its field `key` is.
    pub fn at(&self, key: &str) -> Place {
        self.place.field(key)
    }

    /// Notes a problem with the field `key`.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        self.findings.problem(&self.at(key), message);
    }

    /// Notes a problem with the object as a whole.
    pub fn problem_here(&self, message: impl Into<String>) {
        self.findings.problem(&self.place, message);
    }

    /// Notes a warning about the field `key`.
    pub fn warning(&self, key: &str, message: impl Into<String>) {
        self.findings.warning(&self.at(key), message);
    }

    /// What was found so far.
    pub fn findings(&self) -> &'a Findings {
        self.findings
    }

    /// Whether the field is there.
    pub fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// The field `key` as it is. From now on the field is known.
    pub fn take(&mut self, key: &'static str) -> Option<&'a Value> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.object.get(key)
    }

    /// The field `key`, which must be there.
    pub fn required(&mut self, key: &'static str, expected: &str) -> Option<&'a Value> {
        let value = self.take(key);
        if value.is_none() {
            self.problem(key, format!("is missing, expected {expected}"));
        }
        value
    }

    /// The field `key` as `read` understands it.
    fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let understood = read(value);
        if understood.is_none() {
            self.problem(key, mismatch(value, expected));
        }
        understood
    }

    /// A text that may be absent.
    pub fn text(&mut self, key: &'static str, expected: &str) -> Option<&'a str> {
        self.read(key, expected, Value::as_str)
    }

    /// A text that must be there and not empty.
    pub fn required_text(&mut self, key: &'static str, expected: &str) -> Option<&'a str> {
        self.required(key, expected)?;
        self.read(key, expected, |value| value.as_str().filter(|text| !text.is_empty()))
    }

    /// An array that may be absent.
    pub fn array(&mut self, key: &'static str, expected: &str) -> Option<&'a [Value]> {
        self.read(key, expected, |value| value.as_array().map(Vec::as_slice))
    }

    /// An array that must be there and have an element.
    pub fn required_array(&mut self, key: &'static str, expected: &str) -> Option<&'a [Value]> {
        self.required(key, expected)?;
        let array = self.array(key, expected)?;
        if array.is_empty() {
            self.problem(key, format!("is empty, expected {expected}"));
        }
        (!array.is_empty()).then_some(array)
    }

    /// An object that must be there.
    pub fn required_object(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Option<&'a Map<String, Value>> {
        self.required(key, expected)?;
        self.read(key, expected, Value::as_object)
    }

    /// A whole number within `range` that may be absent.
    pub fn count(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(key, &expected, |value| whole(value).filter(|count| range.contains(count)))
    }

    /// A number within `range` that may be absent.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.read(key, &expected, |value| value.as_f64().filter(|number| range.contains(number)))
    }

    /// True or false; may be absent.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// The fields that are there, whatever they are called.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.object.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The names of the fields that are there.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.object.keys().map(String::as_str)
    }

    /// Takes the fields among `keys` that are there, and warns that they have no effect.
    pub fn not_simulated(&mut self, keys: &[(&'static str, &str)]) {
        for (key, instead) in keys {
            if self.take(key).is_some() {
                self.warning(key, format!("is not simulated: {instead}"));
            }
        }
    }

    /// Notes every field that was not asked for, with the nearest that was. `what` names the kind
    /// of object: `task state`.
    pub fn finish(&self, what: &str) {
        for key in self.object.keys().filter(|key| !self.known.contains(&key.as_str())) {
            // Prefer what is absent from the object: that is what a misspelling leaves out.
            let absent = |known: &&'static str| !self.object.contains_key(*known);
            let mut valid: Vec<&str> = self.known.iter().copied().filter(absent).collect();
            if crate::suggest::nearest(key, valid.iter().copied()).is_none() {
                valid.clone_from(&self.known);
            }
            let unknown = UnknownName::new(format!("field of {what}"), short(key), valid);
            self.findings.problem(&self.place, unknown.to_string());
        }
    }
}

/// The beginning of a name that may be endless.
pub(super) fn short(name: &str) -> String {
    name.chars().take(80).collect()
}

/// A whole number, also if it is written as `2.0`.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let from_float = || {
        let number = value.as_f64()?;
        (number >= 0.0 && number <= 2f64.powi(53) && number.fract() == 0.0).then_some(number as u64)
    };
    value.as_u64().or_else(from_float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_that_is_wrong_is_noted_at_once() {
        let value = json!({"name": 3, "count": 11, "lenght": 1, "items": []});
        let findings = Findings::default();
        let mut fields = Fields::of(&value, Place::root().field("x"), &findings).expect("object");
        assert_eq!(fields.text("name", "a name"), None);
        assert_eq!(fields.count("count", 1..=10), None);
        assert_eq!(fields.count("length", 1..=10), None);
        assert_eq!(fields.required_array("items", "at least one item"), None);
        assert_eq!(fields.required_text("id", "an id"), None);
        fields.finish("thing");
        let problems = findings.into_warnings().expect_err("problems");
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "x.name: found 3, expected a name",
                "x.count: found 11, expected a whole number from 1 to 10",
                "x.items: is empty, expected at least one item",
                "x.id: is missing, expected an id",
                "x: unknown field of thing \"lenght\": did you mean \"length\"? valid: length, id",
            ]
        );
    }

    #[test]
    fn whole_numbers_may_have_a_point() {
        assert_eq!(whole(&json!(2.0)), Some(2));
        assert_eq!(whole(&json!(u64::MAX)), Some(u64::MAX));
        for other in [json!(-1), json!(2.5), json!(1e300), json!("2"), json!(null)] {
            assert_eq!(whole(&other), None, "{other}");
        }
    }
}
