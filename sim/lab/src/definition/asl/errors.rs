//! `Retry`, `Catch` and `ResultPath`: what becomes of errors and results.

use super::super::failure::{RESERVED, names};
use super::super::fields::mismatch;
use super::*;
use crate::suggest::UnknownName;
use std::time::Duration;

/// The prefix of the names that the language reserves.
const RESERVED_PREFIX: &str = "States.";
/// Most further attempts, and the greatest pause, as AWS Step Functions has them.
const ATTEMPTS_MAX: u64 = 99_999_999;

/// Where the result goes: null is nowhere, and an absent field the whole payload.
pub(super) fn result_path(fields: &mut Fields<'_>) -> Target {
    match fields.take("ResultPath") {
        None => Target::At(Path::WHOLE),
        Some(Value::Null) => Target::Nowhere,
        Some(Value::String(text)) => match Path::parse_reference(text) {
            Ok(path) => Target::At(path),
            Err(problem) => {
                fields.problem("ResultPath", format!("{}: {problem}", quoted(text)));
                Target::Nowhere
            }
        },
        Some(other) => {
            fields.problem("ResultPath", mismatch(other, "a path such as $.name, or null"));
            Target::Nowhere
        }
    }
}

/// Reads `Retry`.
pub(super) fn retry(fields: &mut Fields<'_>) -> Vec<Retrier> {
    each_of(fields, "Retry", |fields, is_last| {
        let errors = error_equals(fields, is_last);
        let interval = fields.count("IntervalSeconds", 1..=WAIT_S_MAX).unwrap_or(1);
        let attempts = fields.count("MaxAttempts", 0..=ATTEMPTS_MAX).unwrap_or(3);
        let backoff = fields.number("BackoffRate", 1.0..=1e6).unwrap_or(2.0);
        let most = fields.count("MaxDelaySeconds", 1..=WAIT_S_MAX);
        let jitter = fields.text("JitterStrategy", "FULL or NONE");
        if jitter.is_some_and(|jitter| jitter != "NONE") {
            fields.warning("JitterStrategy", "is not simulated: pauses are not spread");
        }
        Some(Retrier {
            errors: errors?,
            interval: Duration::from_secs(interval),
            attempts,
            backoff,
            interval_max: most.map(Duration::from_secs),
        })
    })
}

/// Reads `Catch`.
pub(super) fn catch(fields: &mut Fields<'_>) -> Vec<Catch> {
    each_of(fields, "Catch", |fields, is_last| {
        let errors = error_equals(fields, is_last);
        let result = result_path(fields);
        fields.not_simulated(&[("Assign", "no variables are set")]);
        let next = fields.required_text("Next", "the name of a state").map(str::to_owned);
        let next = next.map(|name| Link { name, place: fields.at("Next") });
        Some(Catch { errors: errors?, result, next: next? })
    })
}

/// Reads the objects of the array `key`; `read` is told whether an object is the last.
fn each_of<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    mut read: impl FnMut(&mut Fields<'_>, bool) -> Option<T>,
) -> Vec<T> {
    let items = fields.array(key, "an array of objects").unwrap_or_default();
    let (place, findings) = (fields.at(key), fields.findings());
    let mut found = Vec::new();
    for (index, value) in items.iter().enumerate() {
        let Some(mut fields) = Fields::of(value, place.index(index), findings) else { continue };
        fields.text("Comment", "a text");
        found.extend(read(&mut fields, index + 1 == items.len()));
        fields.finish(key);
    }
    found
}

/// Reads `ErrorEquals`. `States.ALL` stands alone, and in the last of its kind only.
fn error_equals(fields: &mut Fields<'_>, is_last: bool) -> Option<Vec<Arc<str>>> {
    const KEY: &str = "ErrorEquals";
    let listed = fields.required_array(KEY, "an array of error names")?;
    let place = fields.at(KEY);
    let mut errors = Vec::new();
    for (index, value) in listed.iter().enumerate() {
        let place = place.index(index);
        let Value::String(name) = value else {
            fields.findings().problem(&place, mismatch(value, "the name of an error"));
            continue;
        };
        let reserved = RESERVED.contains(&name.as_str());
        if name.starts_with(RESERVED_PREFIX) && !reserved {
            let name = super::super::fields::short(name);
            let unknown = UnknownName::new("reserved error", name, RESERVED);
            fields.findings().problem(&place, unknown.to_string());
        }
        if name == names::ALL && !(is_last && listed.len() == 1) {
            let said = "States.ALL stands alone, and in the last entry only";
            fields.findings().problem(&place, said);
        }
        errors.push(name.as_str().into());
    }
    Some(errors)
}
