//! The rules of `Choice` states: every comparison operator of the language.

use super::super::condition::{Condition, Operand, Pattern, Relation, Test, Type};
use super::super::context;
use super::super::fields::mismatch;
use super::state::path;
use super::*;
use crate::suggest::UnknownName;

/// Operators that take a value, as they are written, with the type and relation they stand for;
/// each has a twin that ends in `Path` and takes a path.
const COMPARISONS: [(&str, &str, Type, Relation); 16] = {
    use Relation::*;
    use Type::*;
    [
        ("StringEquals", "StringEqualsPath", Text, Equal),
        ("StringLessThan", "StringLessThanPath", Text, Less),
        ("StringGreaterThan", "StringGreaterThanPath", Text, Greater),
        ("StringLessThanEquals", "StringLessThanEqualsPath", Text, LessOrEqual),
        ("StringGreaterThanEquals", "StringGreaterThanEqualsPath", Text, GreaterOrEqual),
        ("NumericEquals", "NumericEqualsPath", Number, Equal),
        ("NumericLessThan", "NumericLessThanPath", Number, Less),
        ("NumericGreaterThan", "NumericGreaterThanPath", Number, Greater),
        ("NumericLessThanEquals", "NumericLessThanEqualsPath", Number, LessOrEqual),
        ("NumericGreaterThanEquals", "NumericGreaterThanEqualsPath", Number, GreaterOrEqual),
        ("BooleanEquals", "BooleanEqualsPath", Flag, Equal),
        ("TimestampEquals", "TimestampEqualsPath", Instant, Equal),
        ("TimestampLessThan", "TimestampLessThanPath", Instant, Less),
        ("TimestampGreaterThan", "TimestampGreaterThanPath", Instant, Greater),
        ("TimestampLessThanEquals", "TimestampLessThanEqualsPath", Instant, LessOrEqual),
        ("TimestampGreaterThanEquals", "TimestampGreaterThanEqualsPath", Instant, GreaterOrEqual),
    ]
};
/// Operators that ask whether a value is of a type.
const KINDS: [(&str, Type); 4] = [
    ("IsNumeric", Type::Number),
    ("IsString", Type::Text),
    ("IsBoolean", Type::Flag),
    ("IsTimestamp", Type::Instant),
];

/// Reads the rules and the default of a `Choice` state.
pub(super) fn read(fields: &mut Fields<'_>) -> Option<Kind> {
    let default = fields.text("Default", "the name of a state");
    let default = default.map(|name| Link { name: name.to_owned(), place: fields.at("Default") });
    let rules = fields.required_array("Choices", "an array of rules")?;
    let (place, findings) = (fields.at("Choices"), fields.findings());
    let rule = |(index, value): (usize, &Value)| {
        let mut fields = Fields::of(value, place.index(index), findings)?;
        fields.text("Comment", "a text");
        fields.not_simulated(&[("Assign", "no variables are set")]);
        let next = fields.required_text("Next", "the name of a state").map(str::to_owned);
        let next = next.map(|name| Link { name, place: fields.at("Next") });
        condition(&mut fields).zip(next)
    };
    let rules: Vec<Option<(Condition, Link)>> = rules.iter().enumerate().map(rule).collect();
    Some(Kind::Choice(rules.into_iter().collect::<Option<_>>()?, default))
}

/// A rule within another.
fn nested(value: &Value, place: Place, findings: &Findings) -> Option<Condition> {
    let mut fields = Fields::of(value, place, findings)?;
    fields.text("Comment", "a text");
    if fields.has("Next") {
        fields.take("Next");
        fields.problem("Next", "stands in an inner rule, expected in the outermost only");
    }
    condition(&mut fields)
}

/// The operator of a rule, of which there must be exactly one.
fn condition(fields: &mut Fields<'_>) -> Option<Condition> {
    let operators = operators();
    let given: Vec<&'static str> =
        operators.iter().copied().filter(|key| fields.has(key)).collect();
    let [operator] = given[..] else {
        report_operators(fields, &operators, &given);
        return None;
    };
    let condition = match operator {
        "And" => several(fields, "And").map(Condition::And),
        "Or" => several(fields, "Or").map(Condition::Or),
        "Not" => {
            let (value, place) = (fields.take("Not")?, fields.at("Not"));
            nested(value, place, fields.findings()).map(|part| Condition::Not(Box::new(part)))
        }
        _ => {
            let expected = "a path such as $.name";
            let variable =
                fields.required("Variable", expected).and_then(|_| path(fields, "Variable"));
            let test = test(fields, operator);
            variable.zip(test).map(|(variable, test)| Condition::Test(variable, test))
        }
    };
    fields.finish("rule");
    condition
}

/// Every operator.
fn operators() -> Vec<&'static str> {
    let mut all = vec!["And", "Or", "Not", "StringMatches", "IsPresent", "IsNull"];
    all.extend(KINDS.map(|(operator, _)| operator));
    all.extend(COMPARISONS.iter().flat_map(|(by_value, by_path, ..)| [*by_value, *by_path]));
    all
}

fn report_operators(fields: &mut Fields<'_>, operators: &[&'static str], given: &[&str]) {
    if !given.is_empty() {
        let said = format!("found {}, expected one operator", given.join(" and "));
        return fields.problem_here(said);
    }
    let unknown = fields.keys().find(|key| !["Variable", "Next", "Comment"].contains(key));
    match unknown {
        Some(key) => {
            let key = super::super::fields::short(key);
            let unknown = UnknownName::new("operator", key, operators.iter().copied());
            fields.problem_here(unknown.to_string());
        }
        None => fields.problem_here("has no operator such as StringEquals"),
    }
}

fn several(fields: &mut Fields<'_>, key: &'static str) -> Option<Vec<Condition>> {
    let rules = fields.required_array(key, "an array of rules")?;
    let (place, findings) = (fields.at(key), fields.findings());
    let rule = |(index, value)| nested(value, place.index(index), findings);
    let rules: Vec<Option<Condition>> = rules.iter().enumerate().map(rule).collect();
    rules.into_iter().collect()
}

fn test(fields: &mut Fields<'_>, operator: &'static str) -> Option<Test> {
    let flag = |fields: &mut Fields<'_>| fields.flag(operator);
    if operator == "IsPresent" {
        return flag(fields).map(Test::Present);
    }
    if operator == "IsNull" {
        return flag(fields).map(Test::Null);
    }
    if let Some((_, of_type)) = KINDS.iter().find(|(known, _)| *known == operator) {
        return flag(fields).map(|wanted| Test::Is(*of_type, wanted));
    }
    if operator == "StringMatches" {
        let text = fields.text(operator, "a text in which * stands for any letters")?;
        let pattern = Pattern::parse(text);
        if let Err(problem) = &pattern {
            fields.problem(operator, format!("{}: {problem}", quoted(text)));
        }
        return pattern.ok().map(Test::Matches);
    }
    comparison(fields, operator)
}

fn comparison(fields: &mut Fields<'_>, operator: &'static str) -> Option<Test> {
    let row = COMPARISONS.iter().find(|row| row.0 == operator || row.1 == operator)?;
    let (_, by_path, of_type, relation) = *row;
    let value = fields.take(operator)?;
    if operator == by_path {
        let other = value.as_str().map(Path::parse);
        let path = match other {
            Some(path) => path.and_then(|path| context::check(&path).map(|()| path)),
            None => Err(mismatch(value, "a path such as $.name")),
        };
        if let Err(problem) = &path {
            fields.problem(operator, problem.clone());
        }
        return path.ok().map(|path| Test::Compare(of_type, relation, Operand::Path(path)));
    }
    if !of_type.has(value) {
        let expected = match of_type {
            Type::Text => "a text",
            Type::Number => "a number",
            Type::Flag => "true or false",
            Type::Instant => "a timestamp such as 2026-01-01T12:00:00Z",
        };
        fields.problem(operator, mismatch(value, expected));
        return None;
    }
    Some(Test::Compare(of_type, relation, Operand::Value(value.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comparison_has_its_twin_by_path() {
        for (by_value, by_path, ..) in COMPARISONS {
            assert_eq!(format!("{by_value}Path"), by_path);
        }
        let mut all = operators();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6 + 4 + 32);
    }
}
