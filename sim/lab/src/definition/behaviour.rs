//! What a function does when it is called: its time, its storage, its result or its failure.
//!
//! Every draw of a call comes from one stream, named after the function and keyed by the place of
//! the call in the execution (`scope.rs`): all engines, and every repetition of an activity by one
//! engine, see the same durations and failures. A call reads its blobs, computes, waits, writes
//! its blobs, and then gives its result; a call that fails spends the time and writes nothing.

use super::failure::{Failure, names};
use super::flow::check_size;
use super::path::Path;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sim_world::distribution::Latency;
use sim_world::seed::SeedTree;
use std::time::Duration;

/// The CPU time of a function that nothing is said of, in milliseconds.
pub(super) const CPU_MS_DEFAULT: f64 = 10.0;

/// What a function does.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Behaviour {
    /// Core time.
    pub cpu: Latency,
    /// Time it waits for others, without a core.
    pub wait: Latency,
    /// Bytes it reads from the application's blob storage.
    pub read_bytes: u64,
    /// Bytes it writes there.
    pub write_bytes: u64,
    /// What it gives.
    pub result: Outcome,
    /// When it fails.
    pub failure: Option<Failing>,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            cpu: Latency::Constant { value_ms: CPU_MS_DEFAULT },
            wait: Latency::ZERO,
            read_bytes: 0,
            write_bytes: 0,
            result: Outcome::Echo,
            failure: None,
        }
    }
}

/// What a function gives.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// What it was given.
    Echo,
    /// A text of so many bytes.
    Bytes(u64),
    /// A filled template.
    Template(Filling),
    /// What it was given, with these fields set.
    Merge(Vec<(String, Filling)>),
}

/// A value with references into the input.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filling {
    /// A value that is written out.
    Constant(Value),
    /// What a path finds in the input, or null.
    Reference(Path),
    /// A text with references in it.
    Text(Vec<Piece>),
    /// An object.
    Object(Vec<(String, Filling)>),
    /// An array.
    Array(Vec<Filling>),
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// Letters.
    Letters(String),
    /// What a path finds in the input.
    Reference(Path),
}

/// When and how a function fails.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failing {
    /// How likely a call is to fail.
    pub probability: f64,
    /// The name of the error.
    pub error: String,
    /// What it says.
    pub cause: String,
}

/// A call, as it reaches an activity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    /// The key of the call's random draws.
    pub key: u64,
    /// The time the function may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// What the function is given.
    pub input: Value,
}

/// What a call comes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Work {
    /// Core time.
    pub cpu: Duration,
    /// Time without a core.
    pub wait: Duration,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Its result.
    pub outcome: Result<Value, Failure>,
}

impl Behaviour {
    /// What the call `order` of the function `name` comes to.
    pub fn work(&self, name: &str, order: &Order) -> Work {
        let mut stream = SeedTree::new(order.key).stream(&format!("definition function {name}"));
        let (cpu, wait) = (self.cpu.sample(&mut stream), self.wait.sample(&mut stream));
        let failing = self.failure.as_ref();
        let failing = failing.filter(|failing| stream.chance(failing.probability));
        let timeout = order.timeout_s.map(Duration::from_secs);
        if let Some(timeout) = timeout.filter(|timeout| cpu + wait > *timeout) {
            let cpu = cpu.min(timeout);
            let said = format!("{name} took longer than {} s", timeout.as_secs());
            let outcome = Err(Failure::new(names::TIMEOUT, said));
            let (read_bytes, wait) = (self.read_bytes, timeout - cpu);
            return Work { cpu, wait, read_bytes, write_bytes: 0, outcome };
        }
        let outcome = match failing {
            Some(failing) => Err(Failure::new(failing.error.as_str(), failing.cause.as_str())),
            None => {
                let result = self.result.of(&order.input);
                check_size(&result).map(|()| result)
            }
        };
        let write_bytes = if outcome.is_ok() { self.write_bytes } else { 0 };
        Work { cpu, wait, read_bytes: self.read_bytes, write_bytes, outcome }
    }
}

impl Outcome {
    fn of(&self, input: &Value) -> Value {
        match self {
            Outcome::Echo => input.clone(),
            Outcome::Bytes(bytes) => "x".repeat(*bytes as usize).into(),
            Outcome::Template(filling) => filling.fill(input),
            Outcome::Merge(entries) => {
                let mut merged = input.as_object().cloned().unwrap_or_default();
                let filled =
                    |(key, filling): &(String, Filling)| (key.clone(), filling.fill(input));
                merged.extend(entries.iter().map(filled));
                merged.into()
            }
        }
    }
}

impl Filling {
    /// Reads a value in which `{{path}}` stands for what the path finds in the input, and `{{.}}`
    /// for all of it.
    ///
    /// # Errors
    /// A reference that is no path, or is not closed.
    pub fn parse(value: &Value) -> Result<Filling, String> {
        Ok(match value {
            Value::String(text) => match &mut pieces(text)?[..] {
                [] => Filling::Constant(value.clone()),
                [Piece::Letters(_)] => Filling::Constant(value.clone()),
                [Piece::Reference(path)] => Filling::Reference(path.clone()),
                several => Filling::Text(several.to_vec()),
            },
            Value::Array(items) => {
                Filling::Array(items.iter().map(Filling::parse).collect::<Result<_, _>>()?)
            }
            Value::Object(object) => Filling::Object(Filling::entries(object)?),
            other => Filling::Constant(other.clone()),
        })
    }

    /// Reads the entries of an object.
    ///
    /// # Errors
    /// As for [`Filling::parse`].
    pub fn entries(object: &Map<String, Value>) -> Result<Vec<(String, Filling)>, String> {
        let entry = |(key, value): (&String, &Value)| Ok((key.clone(), Filling::parse(value)?));
        object.iter().map(entry).collect()
    }

    fn fill(&self, input: &Value) -> Value {
        match self {
            Filling::Constant(value) => value.clone(),
            Filling::Reference(path) => find(path, input),
            Filling::Text(pieces) => {
                let piece = |piece: &Piece| match piece {
                    Piece::Letters(letters) => letters.clone(),
                    Piece::Reference(path) => match find(path, input) {
                        Value::String(text) => text,
                        other => other.to_string(),
                    },
                };
                pieces.iter().map(piece).collect::<String>().into()
            }
            Filling::Object(entries) => {
                let filled =
                    |(key, filling): &(String, Filling)| (key.clone(), filling.fill(input));
                Value::Object(entries.iter().map(filled).collect())
            }
            Filling::Array(items) => items.iter().map(|item| item.fill(input)).collect(),
        }
    }
}

fn find(path: &Path, input: &Value) -> Value {
    path.get(input).map_or(Value::Null, |found| found.into_owned())
}

/// The letters and references of a text.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((letters, after)) = rest.split_once("{{") {
        let Some((reference, left)) = after.split_once("}}") else {
            return Err("a reference is not closed by }}".to_owned());
        };
        if !letters.is_empty() {
            pieces.push(Piece::Letters(letters.to_owned()));
        }
        pieces.push(Piece::Reference(match reference.trim() {
            "." => Path::WHOLE,
            path if path.starts_with('$') => Path::parse_reference(path)?,
            path => Path::parse_dotted(path)?,
        }));
        rest = left;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Letters(rest.to_owned()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn order(key: u64, input: Value) -> Order {
        Order { key, timeout_s: None, input }
    }

    #[test]
    fn a_template_refers_to_the_input() {
        let filling = Filling::parse(&json!({
            "id": "{{order.id}}",
            "label": "order {{order.id}} of {{ $.names[0] }}",
            "all": ["{{.}}", 1],
            "absent": "{{x.y}}",
        }));
        let input = json!({"order": {"id": 7}, "names": ["Ann"]});
        assert_eq!(
            filling.expect("a template").fill(&input),
            json!({
                "id": 7,
                "label": "order 7 of Ann",
                "all": [input, 1],
                "absent": null,
            })
        );
        assert!(Filling::parse(&json!("{{a")).is_err());
        assert!(Filling::parse(&json!(["{{a..b}}"])).is_err());
    }

    #[test]
    fn a_call_is_the_same_whenever_it_is_made() {
        let behaviour = Behaviour {
            cpu: Latency::Exponential { mean_ms: 5.0 },
            failure: Some(Failing {
                probability: 0.5,
                error: "Declined".to_owned(),
                cause: String::new(),
            }),
            ..Behaviour::default()
        };
        let mut failed = 0;
        for key in 0..1_000 {
            let work = behaviour.work("pay", &order(key, json!(key)));
            assert_eq!(work, behaviour.work("pay", &order(key, json!(key))));
            failed += u32::from(work.outcome.is_err());
        }
        // A binomial with mean 500 has a standard deviation of 16.
        assert!((430..570).contains(&failed), "{failed}");
        let (one, other) = (order(1, json!(1)), order(2, json!(1)));
        assert_ne!(behaviour.work("pay", &one).cpu, behaviour.work("pay", &other).cpu);
        assert_ne!(behaviour.work("pay", &one).cpu, behaviour.work("ship", &one).cpu);
    }

    #[test]
    fn a_call_that_takes_too_long_ends_at_its_limit() {
        let behaviour = Behaviour {
            cpu: Latency::Constant { value_ms: 1_500.0 },
            wait: Latency::Constant { value_ms: 1_000.0 },
            write_bytes: 10,
            ..Behaviour::default()
        };
        let work = behaviour.work("f", &Order { timeout_s: Some(2), ..order(1, json!(1)) });
        assert_eq!(work.cpu + work.wait, Duration::from_secs(2));
        assert_eq!(work.write_bytes, 0);
        assert_eq!(&*work.outcome.expect_err("late").error, names::TIMEOUT);
        let work = behaviour.work("f", &Order { timeout_s: Some(3), ..order(1, json!(1)) });
        assert_eq!((work.outcome, work.write_bytes), (Ok(json!(1)), 10));
    }

    #[test]
    fn results_have_the_form_that_was_asked_for() {
        let input = json!({"a": 1});
        assert_eq!(Outcome::Echo.of(&input), input);
        assert_eq!(Outcome::Bytes(3).of(&input), json!("xxx"));
        let entries = vec![("b".to_owned(), Filling::parse(&json!("{{a}}")).expect("a template"))];
        assert_eq!(Outcome::Merge(entries).of(&input), json!({"a": 1, "b": 1}));
    }
}
