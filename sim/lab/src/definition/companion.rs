//! The description of what a definition's functions do: a TOML file beside it.
//!
//! ```toml
//! start_time = "2026-01-01T00:00:00Z"   # the calendar date at which a run begins
//!
//! [input]                     # the payload that every execution begins with
//! order = { id = 7 }
//!
//! [arrays]                    # arrays that the payload lacks
//! default_length = 4
//! lengths = { "order.lines" = 3 }
//!
//! [default]                   # functions that are not listed; the same fields as below
//! cpu_ms = 5
//!
//! [functions.Charge]
//! cpu = { kind = "lognormal", median_ms = 20, sigma = 0.3 }   # or cpu_ms = 20
//! wait_ms = 50                                                # or wait = { kind = ... }
//! read_bytes = 100_000
//! write_bytes = 2_000
//! result = { merge = { receipt = "receipt of {{order.id}}" } }
//! failure = { probability = 0.1, error = "CardDeclined", cause = "no funds" }
//! ```
//!
//! What is left out has a default: [`CPU_MS_DEFAULT`] of core time, no waiting, no storage, a
//! result that echoes the input, no failures, [`LENGTH_DEFAULT`] elements, and an empty object for
//! a payload.

use super::behaviour::*;
use super::fields::Fields;
use super::instant::{self, Instant};
use super::path::Path;
use super::problem::{Findings, Place, Problem, quoted};
use crate::suggest::UnknownName;
use serde_json::{Map, Number, Value};
use sim_world::distribution::Latency;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// How many elements an array has that the payload lacks.
pub(super) const LENGTH_DEFAULT: u64 = 10;
/// Most elements of such an array.
const LENGTH_MAX: u64 = 10_000;
/// Most bytes that a call reads or writes: a TiB.
const BLOB_BYTES_MAX: u64 = 1 << 40;
/// Most bytes of a result.
const RESULT_BYTES_MAX: u64 = 1 << 20;

/// What was described.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Companion {
    /// The payload that executions begin with.
    pub input: Value,
    /// The date at which virtual time begins.
    pub start: Instant,
    /// How many elements an array has that the payload lacks.
    pub default_length: u64,
    /// The same for single arrays, by their paths.
    pub lengths: Vec<(Path, u64)>,
    /// Functions that are not listed.
    pub default: Behaviour,
    /// Functions by name.
    pub functions: BTreeMap<String, Behaviour>,
}

impl Default for Companion {
    fn default() -> Companion {
        Companion {
            input: Value::Object(Map::new()),
            start: instant::parse(instant::START).expect("invariant: a timestamp"),
            default_length: LENGTH_DEFAULT,
            lengths: Vec::new(),
            default: Behaviour::default(),
            functions: BTreeMap::new(),
        }
    }
}

impl Companion {
    /// Reads a description.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Companion, Vec<Problem>> {
        let value = from_toml(text).map_err(|problem| vec![problem])?;
        let findings = Findings::default();
        let companion = Fields::of(&value, Place::root(), &findings)
            .map(|mut fields| read(&mut fields))
            .unwrap_or_default();
        findings.into_warnings().map(|_| companion)
    }
}

/// A TOML text as a JSON value.
fn from_toml(text: &str) -> Result<Value, Problem> {
    let table = text.parse::<toml::Table>().map_err(|error| {
        let end = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count() + 1;
        let said = error.message().lines().collect::<Vec<_>>().join(" ");
        Problem { place: format!("line {line}"), message: format!("not valid TOML: {said}") }
    })?;
    to_json(toml::Value::Table(table), &Place::root())
}

/// Dates become texts. Numbers that JSON does not have fit nowhere, and are refused.
fn to_json(value: toml::Value, place: &Place) -> Result<Value, Problem> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => match Number::from_f64(number) {
            Some(number) => Value::Number(number),
            None => {
                let message = format!("found {number}, expected a number that is finite");
                return Err(Problem { place: place.to_string(), message });
            }
        },
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(instant) => instant.to_string().into(),
        toml::Value::Array(items) => {
            let items = items.into_iter().enumerate();
            let items = items.map(|(index, item)| to_json(item, &place.index(index)));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        toml::Value::Table(table) => {
            let entry = |(key, value): (String, _)| {
                let value = to_json(value, &place.field(&key))?;
                Ok((key, value))
            };
            Value::Object(table.into_iter().map(entry).collect::<Result<_, _>>()?)
        }
    })
}

fn read(fields: &mut Fields<'_>) -> Companion {
    let mut companion = Companion::default();
    if let Some(input) = fields.take("input") {
        companion.input = input.clone();
    }
    let expected = "a timestamp such as 2026-01-01T12:00:00Z";
    if let Some(text) = fields.text("start_time", expected) {
        match instant::parse(text) {
            Some(start) => companion.start = start,
            None => {
                fields
                    .problem("start_time", format!("found {}, expected {expected}", quoted(text)));
            }
        }
    }
    if let Some(mut arrays) = section(fields, "arrays") {
        let length = arrays.count("default_length", 0..=LENGTH_MAX);
        companion.default_length = length.unwrap_or(companion.default_length);
        companion.lengths = lengths(&mut arrays);
        arrays.finish("arrays");
    }
    if let Some(mut default) = section(fields, "default") {
        companion.default = behaviour(&mut default, &Behaviour::default());
    }
    if let Some(functions) = fields.take("functions") {
        let (place, findings) = (fields.at("functions"), fields.findings());
        for (name, value) in functions.as_object().into_iter().flatten() {
            if let Some(mut function) = Fields::of(value, place.field(name), findings) {
                let read = behaviour(&mut function, &companion.default);
                companion.functions.insert(name.clone(), read);
            }
        }
        if !functions.is_object() {
            fields.problem("functions", super::fields::mismatch(functions, "a table"));
        }
    }
    fields.finish("description of functions");
    companion
}

fn section<'a>(fields: &mut Fields<'a>, key: &'static str) -> Option<Fields<'a>> {
    let value = fields.take(key)?;
    Fields::of(value, fields.at(key), fields.findings())
}

fn lengths(arrays: &mut Fields<'_>) -> Vec<(Path, u64)> {
    let Some(lengths) = section(arrays, "lengths") else { return Vec::new() };
    let mut found = Vec::new();
    for (key, value) in lengths.entries() {
        let path = if key.starts_with('$') { Path::parse(key) } else { Path::parse_dotted(key) };
        let length = super::fields::whole(value).filter(|length| *length <= LENGTH_MAX);
        match (path, length) {
            (Ok(path), Some(length)) => found.push((path, length)),
            (Err(problem), _) => lengths.problem(key, problem),
            (_, None) => {
                let expected = format!("a whole number from 0 to {LENGTH_MAX}");
                lengths.problem(key, super::fields::mismatch(value, &expected));
            }
        }
    }
    found
}

/// Reads what a function does; what is left out is as `default` has it.
fn behaviour(fields: &mut Fields<'_>, default: &Behaviour) -> Behaviour {
    let cpu = time(fields, "cpu", "cpu_ms");
    let wait = time(fields, "wait", "wait_ms");
    let read_bytes = fields.count("read_bytes", 0..=BLOB_BYTES_MAX);
    let write_bytes = fields.count("write_bytes", 0..=BLOB_BYTES_MAX);
    let result = result(fields);
    let failure = section(fields, "failure").map(|mut failure| failing(&mut failure));
    fields.finish("function");
    Behaviour {
        cpu: cpu.unwrap_or_else(|| default.cpu.clone()),
        wait: wait.unwrap_or_else(|| default.wait.clone()),
        read_bytes: read_bytes.unwrap_or(default.read_bytes),
        write_bytes: write_bytes.unwrap_or(default.write_bytes),
        result: result.unwrap_or_else(|| default.result.clone()),
        failure: failure.or_else(|| default.failure.clone()),
    }
}

const MS_RANGE: RangeInclusive<f64> = 0.0..=86_400_000.0;

/// A time: a distribution under `key`, or milliseconds under `key_ms`.
fn time(fields: &mut Fields<'_>, key: &'static str, key_ms: &'static str) -> Option<Latency> {
    let constant = fields.number(key_ms, MS_RANGE).map(|value_ms| Latency::Constant { value_ms });
    let Some(mut distribution) = section(fields, key) else { return constant };
    if fields.has(key_ms) {
        fields.problem(key_ms, format!("stands beside {key}, expected one of them"));
    }
    const KINDS: [&str; 4] = ["constant", "exponential", "lognormal", "uniform"];
    let kind = distribution.required_text("kind", &format!("one of {}", KINDS.join(", ")))?;
    let mut number = |key: &'static str, range: RangeInclusive<f64>| {
        distribution.required(key, "a number");
        distribution.number(key, range)
    };
    let latency = match kind {
        "constant" => number("value_ms", MS_RANGE).map(|value_ms| Latency::Constant { value_ms }),
        "exponential" => {
            number("mean_ms", MS_RANGE).map(|mean_ms| Latency::Exponential { mean_ms })
        }
        "lognormal" => {
            let (median_ms, sigma) = (number("median_ms", MS_RANGE), number("sigma", 0.0..=5.0));
            median_ms.zip(sigma).map(|(median_ms, sigma)| Latency::LogNormal { median_ms, sigma })
        }
        "uniform" => {
            let (low_ms, high_ms) = (number("low_ms", MS_RANGE), number("high_ms", MS_RANGE));
            low_ms.zip(high_ms).map(|(low_ms, high_ms)| Latency::Uniform { low_ms, high_ms })
        }
        other => {
            let unknown = UnknownName::new("distribution", super::fields::short(other), KINDS);
            distribution.problem("kind", unknown.to_string());
            return None;
        }
    };
    if let Some(Err(error)) = latency.as_ref().map(Latency::validate) {
        distribution.problem_here(error.to_string());
    }
    distribution.finish(&format!("{kind} distribution"));
    latency
}

/// What a function gives: `"echo"`, or a table with one way to make it.
fn result(fields: &mut Fields<'_>) -> Option<Outcome> {
    const EXPECTED: &str = "\"echo\", or a table with template, merge or bytes";
    let value = fields.take("result")?;
    if value == "echo" {
        return Some(Outcome::Echo);
    }
    let Value::Object(object) = value else {
        fields.problem("result", super::fields::mismatch(value, EXPECTED));
        return None;
    };
    let mut ways = Fields::of(value, fields.at("result"), fields.findings())?;
    let bytes = ways.count("bytes", 0..=RESULT_BYTES_MAX).map(Outcome::Bytes);
    let template = ways.take("template").map(Filling::parse);
    let merge = ways.take("merge");
    ways.finish("result");
    if object.len() != 1 {
        ways.problem_here(format!("found {} fields, expected {EXPECTED}", object.len()));
    }
    let merge = merge.map(|merge| match merge {
        Value::Object(object) => Filling::entries(object).map(Outcome::Merge),
        other => Err(super::fields::mismatch(other, "a table")),
    });
    let filled = template.map(|template| template.map(Outcome::Template)).or(merge);
    match filled {
        Some(Err(problem)) => {
            ways.problem_here(problem);
            None
        }
        Some(Ok(outcome)) => Some(outcome),
        None => bytes,
    }
}

fn failing(fields: &mut Fields<'_>) -> Failing {
    fields.required("probability", "a number from 0 to 1");
    let probability = fields.number("probability", 0.0..=1.0).unwrap_or(0.0);
    let error = fields.required_text("error", "the name of an error").unwrap_or_default();
    let cause = fields.text("cause", "a text").unwrap_or_default();
    fields.finish("failure");
    Failing { probability, error: error.to_owned(), cause: cause.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_description_says_what_it_is_for_and_leaves_the_rest() {
        let companion = Companion::parse(
            "[input]\nid = 7\n[arrays]\ndefault_length = 4\nlengths = { 'a.b' = 3 }\n\
             [default]\nwait_ms = 5\n[functions.f]\ncpu = { kind = 'uniform', low_ms = 1, \
             high_ms = 2.5 }\nresult = { bytes = 9 }\n\
             failure = { probability = 0.5, error = 'E' }\n",
        )
        .expect("valid");
        assert_eq!(companion.input, json!({"id": 7}));
        assert_eq!(companion.default_length, 4);
        assert_eq!(companion.lengths, [(Path::parse("$.a.b").expect("a path"), 3)]);
        assert_eq!(companion.default.cpu, Latency::Constant { value_ms: CPU_MS_DEFAULT });
        let f = &companion.functions["f"];
        assert_eq!(f.cpu, Latency::Uniform { low_ms: 1.0, high_ms: 2.5 });
        assert_eq!(f.wait, Latency::Constant { value_ms: 5.0 }, "from the default");
        assert_eq!(f.result, Outcome::Bytes(9));
        assert_eq!(Companion::parse(""), Ok(Companion::default()));
    }

    #[test]
    fn numbers_that_json_does_not_have_are_refused_wherever_they_stand() {
        for (text, said) in [
            ("functions.f.cpu_ms = nan", "functions.f.cpu_ms: found NaN"),
            ("input.a = [1.0, -inf]", "input.a[1]: found -inf"),
        ] {
            let problems = Companion::parse(text).expect_err(text);
            assert_eq!(problems.len(), 1);
            assert!(problems[0].to_string().starts_with(said), "{problems:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let problems = Companion::parse(
            "strat_time = 1\n[functions.f]\ncpu_ms = -1\nwait = { kind = 'normal' }\n\
             result = { bytes = 1, template = 2 }\nfailure = { probability = 2 }\n\
             [functions.g]\ncpu = { kind = 'uniform', low_ms = 3, high_ms = 2 }\nresult = 'ecko'\n\
             [arrays]\nlengths = { '' = 1, a = -1 }\n",
        )
        .expect_err("wrong");
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for (place, said) in [
            ("functions.f.cpu_ms: ", "found -1, expected a number from 0 to 86400000"),
            ("functions.f.wait.kind: ", "unknown distribution \"normal\": did you mean"),
            ("functions.f.result: ", "found 2 fields"),
            ("functions.f.failure.probability: ", "found 2, expected a number from 0 to 1"),
            ("functions.f.failure.error: ", "is missing"),
            ("functions.g.cpu: ", "expected at least low_ms"),
            ("functions.g.result: ", "found the text \"ecko\""),
            ("arrays.lengths.\"\": ", "names of fields"),
            ("arrays.lengths.a: ", "found -1"),
            ("document: ", "did you mean \"start_time\"?"),
        ] {
            let found = lines.iter().any(|line| line.starts_with(place) && line.contains(said));
            assert!(found, "{place}{said}: {lines:#?}");
        }
        assert!(lines.iter().all(|line| !line.contains('\n')));
        let syntax = Companion::parse("a = 1\nb = [").expect_err("no TOML");
        assert!(syntax[0].to_string().starts_with("line 2: not valid TOML: "), "{syntax:?}");
    }
}
