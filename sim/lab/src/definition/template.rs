//! Payload templates of the Amazon States Language: JSON in which a key that ends in `.$` has a
//! path or an intrinsic function for its value.

use super::context::Context;
use super::expression::Expression;
use super::failure::Failure;
use super::path::Path;
use super::problem::{Findings, Place, quoted};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// A template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Template {
    /// A value that is written out.
    Constant(Value),
    /// What an expression gives.
    Computed(Expression),
    /// What a path finds, or null.
    OrNull(Path),
    /// An object of templates.
    Object(Vec<(String, Template)>),
    /// An array of templates.
    Array(Vec<Template>),
}

impl Template {
    /// Reads the template `value` at `place`. What is wrong is noted, and stands for null.
    pub fn parse(value: &Value, place: &Place, findings: &Findings) -> Template {
        match value {
            Value::Object(object) => {
                let (mut entries, mut names) = (Vec::new(), BTreeSet::new());
                for (key, value) in object {
                    let (name, template) = entry(key, value, &place.field(key), findings);
                    if !names.insert(name) {
                        let said = format!("{} is given twice, with .$ and without", quoted(name));
                        findings.problem(place, said);
                    }
                    entries.push((name.to_owned(), template));
                }
                match entries.iter().all(|(_, template): &(_, Template)| template.is_constant()) {
                    true => Template::Constant(value.clone()),
                    false => Template::Object(entries),
                }
            }
            Value::Array(items) => {
                let item = |(index, item): (usize, &Value)| {
                    Template::parse(item, &place.index(index), findings)
                };
                let items: Vec<Template> = items.iter().enumerate().map(item).collect();
                match items.iter().all(Template::is_constant) {
                    true => Template::Constant(value.clone()),
                    false => Template::Array(items),
                }
            }
            other => Template::Constant(other.clone()),
        }
    }

    fn is_constant(&self) -> bool {
        matches!(self, Template::Constant(_))
    }

    /// Fills the template from a payload.
    ///
    /// # Errors
    /// If an expression has no value.
    pub fn fill(&self, payload: &Value, cx: Context<'_>) -> Result<Value, Failure> {
        match self {
            Template::Constant(value) => Ok(value.clone()),
            Template::Computed(expression) => expression.value(payload, cx),
            Template::OrNull(path) => Ok(cx.find(path, payload).unwrap_or(Value::Null)),
            Template::Object(entries) => {
                let entry = |(key, template): &(String, Template)| {
                    template.fill(payload, cx).map(|value| (key.clone(), value))
                };
                let object: Result<Map<String, Value>, Failure> =
                    entries.iter().map(entry).collect();
                object.map(Value::Object)
            }
            Template::Array(items) => items.iter().map(|item| item.fill(payload, cx)).collect(),
        }
    }
}

/// One entry of an object: its key without `.$`, and its template.
fn entry<'a>(
    key: &'a str,
    value: &Value,
    place: &Place,
    findings: &Findings,
) -> (&'a str, Template) {
    let Some(name) = key.strip_suffix(".$") else {
        return (key, Template::parse(value, place, findings));
    };
    let Value::String(text) = value else {
        let expected = "a text with a path or a function, since the key ends in .$";
        findings.problem(place, super::fields::mismatch(value, expected));
        return (name, Template::Constant(Value::Null));
    };
    match Expression::parse(text) {
        Ok(expression) => (name, Template::Computed(expression)),
        Err(problem) => {
            findings.problem(place, format!("{}: {problem}", quoted(text)));
            (name, Template::Constant(Value::Null))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::context::Execution;
    use serde_json::json;

    #[test]
    fn keys_with_a_dollar_are_computed_and_others_are_kept() {
        let findings = Findings::default();
        let template = json!({
            "fixed": {"a": 1, "list": [1, "$.x"]},
            "name.$": "$.user.name",
            "nested": [{"n.$": "States.MathAdd($.n, 1)"}, 2],
        });
        let template = Template::parse(&template, &Place::root(), &findings);
        assert!(findings.is_sound());
        let execution = Execution { index: 0, input: json!({}) };
        let cx = Context { execution: &execution, item: None, state: "S", retries: 0 };
        let filled = template.fill(&json!({"user": {"name": "Ann"}, "n": 1}), cx);
        assert_eq!(
            filled,
            Ok(json!({
                "fixed": {"a": 1, "list": [1, "$.x"]},
                "name": "Ann",
                "nested": [{"n": 2}, 2],
            }))
        );
        assert!(template.fill(&json!({}), cx).is_err());
    }

    #[test]
    fn faults_are_noted_with_their_place() {
        let findings = Findings::default();
        let template = json!({"a.$": 3, "b": [{"c.$": "x"}], "d": 1, "d.$": "$.d"});
        Template::parse(&template, &Place::root().field("Parameters"), &findings);
        let problems = findings.into_warnings().expect_err("three problems");
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("a.$") && lines[0].contains(": found 3"), "{lines:?}");
        assert!(
            lines[1].starts_with("Parameters.b[0].") && lines[1].contains("it must be a path"),
            "{lines:?}"
        );
        assert!(lines[2].contains("given twice"), "{lines:?}");
    }
}
