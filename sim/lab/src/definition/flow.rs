//! What happens to a payload on its way through a state: plain functions, shared by the
//! interpreter and by the reference that its results are checked against.

use super::condition::Condition;
use super::context::{Context, Item};
use super::failure::{Failure, names};
use super::fields::{kind, whole};
use super::instant::{self, Instant};
use super::machine::*;
use super::path::Path;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long a state waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// For a span.
    For(Duration),
    /// Until an instant of the calendar.
    Until(Instant),
}

impl State {
    /// What the state sees of `payload`.
    pub fn enter(&self, payload: &Value, cx: Context<'_>) -> Result<Value, Failure> {
        self.picked(self.flow.input.as_ref(), "InputPath", payload, cx)
    }

    /// What its step is given, made from what it sees.
    pub fn prepare(&self, seen: Value, cx: Context<'_>) -> Result<Value, Failure> {
        match &self.flow.parameters {
            Some(template) => self.told(template.fill(&seen, cx)),
            None => Ok(seen),
        }
    }

    /// The payload with the result of the step in its place.
    pub fn settle(
        &self,
        payload: &Value,
        result: Value,
        cx: Context<'_>,
    ) -> Result<Value, Failure> {
        let result = match &self.flow.selector {
            Some(template) => self.told(template.fill(&result, cx))?,
            None => result,
        };
        let settled = self.told(self.flow.result.put(payload, result))?;
        self.hand_on(settled, cx)
    }

    /// What goes on to the next state.
    pub fn hand_on(&self, payload: Value, cx: Context<'_>) -> Result<Value, Failure> {
        let output = match &self.flow.output {
            Some(path) if *path == Path::WHOLE => payload,
            other => self.picked(other.as_ref(), "OutputPath", &payload, cx)?,
        };
        self.told(check_size(&output))?;
        Ok(output)
    }

    fn picked(
        &self,
        path: Option<&Path>,
        field: &str,
        payload: &Value,
        cx: Context<'_>,
    ) -> Result<Value, Failure> {
        let Some(path) = path else { return Ok(Value::Object(Map::new())) };
        let absent = || Failure::runtime(format!("{field} {path} is not in the payload"));
        self.told(cx.find(path, payload).ok_or_else(absent))
    }

    /// Names the state in a failure that the definition has caused.
    pub fn told<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.map_err(|failure| failure.in_state(&self.name))
    }

    /// Where a choice leads with this payload.
    pub fn chosen(
        &self,
        cases: &[(Condition, usize)],
        otherwise: Otherwise,
        seen: &Value,
        cx: Context<'_>,
    ) -> Result<Option<usize>, Failure> {
        for (condition, next) in cases {
            if self.told(condition.holds(seen, cx))? {
                return Ok(Some(*next));
            }
        }
        match otherwise {
            Otherwise::Go(next) => Ok(Some(next)),
            Otherwise::End => Ok(None),
            Otherwise::Fail => {
                let said = "no rule holds and there is no default";
                self.told(Err(Failure::new(names::NO_CHOICE, said)))
            }
        }
    }

    /// The retrier that takes a failure, if it may once more; `taken` counts the attempts of each.
    pub fn retried<'a>(&'a self, failure: &Failure, taken: &mut [u64]) -> Option<Duration> {
        let matches = |retrier: &&'a Retrier| {
            retrier.errors.iter().any(|pattern| failure.is_matched_by(pattern))
        };
        let index = self.retry.iter().position(|retrier| matches(&retrier))?;
        let (retrier, taken) = (&self.retry[index], &mut taken[index]);
        (*taken < retrier.attempts).then(|| {
            *taken += 1;
            retrier.pause(*taken)
        })
    }

    /// Where a failure leads, with what payload.
    ///
    /// # Errors
    /// The failure, if no catcher is for it, or that of the catcher.
    pub fn caught(&self, failure: Failure, payload: &Value) -> Result<(usize, Value), Failure> {
        let matches = |catcher: &&Catcher| {
            catcher.errors.iter().any(|pattern| failure.is_matched_by(pattern))
        };
        let Some(catcher) = self.catch.iter().find(matches) else { return Err(failure) };
        let value = self.told(catcher.result.put(payload, failure.to_value()))?;
        Ok((catcher.next, value))
    }
}

impl Target {
    /// The payload with the result in its place.
    fn put(&self, payload: &Value, result: Value) -> Result<Value, Failure> {
        match self {
            Target::Nowhere => Ok(payload.clone()),
            Target::At(path) if *path == Path::WHOLE => Ok(result),
            Target::At(path) => {
                let mut settled = payload.clone();
                let put = path.put(&mut settled, result);
                put.map_err(|problem| Failure::new(names::RESULT_PATH, problem))?;
                Ok(settled)
            }
            Target::Over(path) => {
                let mut settled = payload.clone();
                path.put_over(&mut settled, result);
                Ok(settled)
            }
        }
    }
}

impl Call {
    /// What the function is given, from what the step is given.
    pub fn input(&self, given: Value) -> Result<Value, Failure> {
        let input = match self.wrapped {
            false => given,
            true => given.get("Payload").cloned().unwrap_or_else(|| json!({})),
        };
        check_size(&input).map(|()| input)
    }

    /// The result of the step, from that of the function.
    pub fn output(&self, result: Value) -> Value {
        match self.wrapped {
            false => result,
            true => json!({
                "ExecutedVersion": "$LATEST",
                "Payload": result,
                "StatusCode": 200,
            }),
        }
    }

    /// The time the function may take, in seconds.
    pub fn timeout_s(&self, seen: &Value, cx: Context<'_>) -> Result<Option<u64>, Failure> {
        let amount = |amount: &Amount| amount.value("TimeoutSecondsPath", WAIT_S_MAX, seen, cx);
        self.timeout.as_ref().map(amount).transpose()
    }
}

impl Amount {
    /// The number.
    pub fn value(
        &self,
        field: &str,
        most: u64,
        seen: &Value,
        cx: Context<'_>,
    ) -> Result<u64, Failure> {
        match self {
            Amount::Fixed(number) => Ok(*number),
            Amount::Found(path) => {
                let found = cx.find(path, seen);
                let number = found.as_ref().and_then(whole).filter(|number| *number <= most);
                number.ok_or_else(|| {
                    let found = found.as_ref().map_or("nothing", kind);
                    let expected = format!("expected a whole number from 0 to {most}");
                    Failure::runtime(format!("{field} {path}: found {found}, {expected}"))
                })
            }
        }
    }
}

impl Text {
    /// The text.
    pub fn value(&self, seen: &Value, cx: Context<'_>) -> Result<String, Failure> {
        match self {
            Text::Fixed(text) => Ok(text.to_string()),
            Text::Computed(expression) => match expression.value(seen, cx)? {
                Value::String(text) => Ok(text),
                other => Err(Failure::runtime(format!("found {}, expected a text", kind(&other)))),
            },
        }
    }
}

impl Delay {
    /// How long to wait with this payload.
    pub fn pause(&self, seen: &Value, cx: Context<'_>) -> Result<Pause, Failure> {
        match self {
            Delay::For(amount) => {
                let seconds = amount.value("SecondsPath", WAIT_S_MAX, seen, cx)?;
                Ok(Pause::For(Duration::from_secs(seconds)))
            }
            Delay::Until(text) => {
                let text = text.value(seen, cx)?;
                let wrong = || Failure::runtime(format!("{text:?} is no timestamp"));
                instant::parse(&text).map(Pause::Until).ok_or_else(wrong)
            }
        }
    }
}

impl Each {
    /// The elements to go over.
    pub fn elements(&self, seen: &Value, cx: Context<'_>) -> Result<Vec<Value>, Failure> {
        match cx.find(&self.items, seen) {
            Some(Value::Array(items)) => Ok(items),
            None => Ok(self.default_elements()),
            // The payload as a whole is always there; that it is no array means that it lacks one.
            Some(_) if self.items == Path::WHOLE => Ok(self.default_elements()),
            Some(other) => Err(Failure::runtime(format!(
                "{}: found {}, expected an array",
                self.items,
                kind(&other)
            ))),
        }
    }

    /// The elements of an array that the payload lacks.
    fn default_elements(&self) -> Vec<Value> {
        (0..self.default_length).map(|index| json!({ "index": index })).collect()
    }

    /// What an iteration is given.
    pub fn given(&self, item: &Item, seen: &Value, cx: Context<'_>) -> Result<Value, Failure> {
        match &self.item {
            None => Ok(item.value.clone()),
            Some(template) => template.fill(seen, Context { item: Some(item), ..cx }),
        }
    }
}

/// Checks that a payload is neither too large nor too deep.
pub(super) fn check_size(payload: &Value) -> Result<(), Failure> {
    let bytes = bytes_at_least(payload, 0)?;
    match bytes <= PAYLOAD_BYTES_MAX {
        true => Ok(()),
        false => {
            let said = format!("the payload has over {PAYLOAD_BYTES_MAX} bytes");
            Err(Failure::new(names::DATA_LIMIT, said))
        }
    }
}

/// A lower bound of the size of a value as JSON, which is never less than half of it for what
/// paths and functions make.
fn bytes_at_least(value: &Value, depth: usize) -> Result<usize, Failure> {
    if depth > PAYLOAD_DEPTH_MAX {
        let said = format!("the payload nests over {PAYLOAD_DEPTH_MAX} deep");
        return Err(Failure::new(names::DATA_LIMIT, said));
    }
    Ok(match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => 2 + text.len(),
        Value::Array(items) => {
            let mut bytes = 2;
            for item in items {
                bytes += 1 + bytes_at_least(item, depth + 1)?;
            }
            bytes
        }
        Value::Object(object) => {
            let mut bytes = 2;
            for (key, value) in object {
                bytes += 4 + key.len() + bytes_at_least(value, depth + 1)?;
            }
            bytes
        }
    })
}
