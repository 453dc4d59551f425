//! What can be set on an engine, and how a text becomes a checked value.
//!
//! An engine declares its settings as data. The lab lists them, parses `engine.key=value`, and
//! hands the engine a complete set: every key has a value of its declared kind and range.

use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SettingKind {
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds, both included.
    Count {
        /// The least allowed value.
        min: u64,
        /// The greatest allowed value.
        max: u64,
    },
    /// A span such as `50ms`, `2s` or `5m`, up to `max`.
    Span {
        /// The longest allowed span.
        max: Duration,
    },
    /// One of some words.
    Choice(&'static [&'static str]),
}

impl SettingKind {
    /// What the kind accepts, for a person.
    pub fn expected(&self) -> String {
        match self {
            SettingKind::Flag => "true or false".to_string(),
            SettingKind::Count { min, max } => format!("a whole number from {min} to {max}"),
            SettingKind::Span { max } => {
                format!("a span such as 50ms, 2s or 5m, at most {} s", max.as_secs())
            }
            SettingKind::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }
}

/// What a setting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A number of the published system.
    Parameter,
    /// A mechanism that makes the engine fast; results stay correct without it.
    Performance,
    /// A mechanism that keeps the engine correct. Switching it off is an ablation.
    Safety,
}

/// One declared setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key, in snake case.
    pub key: &'static str,
    /// What values it takes.
    pub kind: SettingKind,
    /// The default, written as a user would write it.
    pub default: &'static str,
    /// What it is for.
    pub purpose: Purpose,
    /// One line for the listing, with the source of the default.
    pub help: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Flag(bool),
    Count(u64),
    Span(Duration),
    Choice(&'static str),
}

/// A setting that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingError {
    /// The engine has no such key.
    #[error("there is no setting {key:?}")]
    UnknownKey {
        /// The key as given.
        key: String,
        /// The keys there are.
        valid: Vec<&'static str>,
    },
    /// The value does not fit.
    #[error("setting {key:?} cannot be {value:?}: expected {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value as given.
        value: String,
        /// What would fit.
        expected: String,
    },
}

/// A complete set of checked values.
///
/// ```
/// use sim_model::settings::{Purpose, Setting, SettingKind, Settings};
/// const DECLARED: &[Setting] = &[Setting {
///     key: "batch",
///     kind: SettingKind::Count { min: 1, max: 500 },
///     default: "500",
///     purpose: Purpose::Performance,
///     help: "events in one batch",
/// }];
/// let mut settings = Settings::defaults(DECLARED);
/// settings.set("batch", "20").unwrap();
/// assert_eq!(settings.count("batch"), 20);
/// assert!(settings.set("batch", "0").is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    declared: &'static [Setting],
    values: BTreeMap<&'static str, Value>,
}

impl Settings {
    /// The declared defaults.
    ///
    /// # Panics
    /// If a declared default does not fit its own kind, or a key is declared twice.
    pub fn defaults(declared: &'static [Setting]) -> Settings {
        let mut values = BTreeMap::new();
        for setting in declared {
            let value = parse(setting, setting.default)
                .unwrap_or_else(|error| panic!("declared default: {error}"));
            let previous = values.insert(setting.key, value);
            assert!(previous.is_none(), "setting {:?} is declared twice", setting.key);
        }
        Settings { declared, values }
    }

    /// Sets `key` to the value written as `text`.
    ///
    /// # Errors
    /// If the key is not declared or the value does not fit.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), SettingError> {
        let Some(setting) = self.declared.iter().find(|setting| setting.key == key) else {
            let valid = self.declared.iter().map(|setting| setting.key).collect();
            return Err(SettingError::UnknownKey { key: key.to_string(), valid });
        };
        self.values.insert(setting.key, parse(setting, text)?);
        Ok(())
    }

    /// The value of a flag.
    ///
    /// # Panics
    /// This and the other getters panic if the engine did not declare the key with that kind.
    pub fn flag(&self, key: &str) -> bool {
        match self.value(key) {
            Value::Flag(value) => *value,
            other => panic!("setting {key:?} is {other:?}, not a flag"),
        }
    }

    /// The value of a count.
    pub fn count(&self, key: &str) -> u64 {
        match self.value(key) {
            Value::Count(value) => *value,
            other => panic!("setting {key:?} is {other:?}, not a count"),
        }
    }

    /// The value of a span.
    pub fn span(&self, key: &str) -> Duration {
        match self.value(key) {
            Value::Span(value) => *value,
            other => panic!("setting {key:?} is {other:?}, not a span"),
        }
    }

    /// The value of a choice.
    pub fn choice(&self, key: &str) -> &'static str {
        match self.value(key) {
            Value::Choice(value) => value,
            other => panic!("setting {key:?} is {other:?}, not a choice"),
        }
    }

    /// All values as text, in the order of their keys; each text can be given to
    /// [`Settings::set`] again.
    pub fn to_texts(&self) -> Vec<(&'static str, String)> {
        let text = |value: &Value| match value {
            Value::Flag(flag) => flag.to_string(),
            Value::Count(count) => count.to_string(),
            Value::Span(span) => span_text(*span),
            Value::Choice(word) => (*word).to_string(),
        };
        self.values.iter().map(|(key, value)| (*key, text(value))).collect()
    }

    fn value(&self, key: &str) -> &Value {
        self.values.get(key).unwrap_or_else(|| panic!("setting {key:?} was not declared"))
    }
}

fn parse(setting: &Setting, text: &str) -> Result<Value, SettingError> {
    let value = match setting.kind {
        SettingKind::Flag => text.parse().ok().map(Value::Flag),
        SettingKind::Count { min, max } => {
            text.parse().ok().filter(|count| (min..=max).contains(count)).map(Value::Count)
        }
        SettingKind::Span { max } => parse_span(text).filter(|span| *span <= max).map(Value::Span),
        SettingKind::Choice(words) => {
            words.iter().find(|word| **word == text).map(|word| Value::Choice(word))
        }
    };
    value.ok_or_else(|| SettingError::BadValue {
        key: setting.key,
        value: text.to_string(),
        expected: setting.kind.expected(),
    })
}

/// A span in the largest unit of which it is a whole number.
fn span_text(span: Duration) -> String {
    match span.as_micros() {
        micros if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        micros if micros.is_multiple_of(1_000) => format!("{}ms", micros / 1_000),
        micros => format!("{micros}us"),
    }
}

/// Reads a span: a number with a unit `us`, `ms`, `s`, `m` or `h`, to the microsecond.
fn parse_span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(digits);
    let micros_per_unit = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        "h" => 3600e6,
        _ => return None,
    };
    let micros = number.parse::<f64>().ok()? * micros_per_unit;
    (micros.is_finite() && micros <= 1e15).then(|| Duration::from_micros(micros.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &[Setting] = &[
        Setting {
            key: "dedup",
            kind: SettingKind::Flag,
            default: "true",
            purpose: Purpose::Safety,
            help: "",
        },
        Setting {
            key: "delay",
            kind: SettingKind::Span { max: Duration::from_secs(60) },
            default: "50ms",
            purpose: Purpose::Parameter,
            help: "",
        },
        Setting {
            key: "speculation",
            kind: SettingKind::Choice(&["none", "local"]),
            default: "local",
            purpose: Purpose::Performance,
            help: "",
        },
    ];

    #[test]
    fn values_survive_a_round_trip_through_text() {
        let mut settings = Settings::defaults(DECLARED);
        settings.set("speculation", "none").expect("a word");
        for (span, shown) in [("1.5s", "1500ms"), ("0s", "0s"), ("1m", "60s"), ("0.25ms", "250us")]
        {
            settings.set("delay", span).expect("a span");
            let mut again = Settings::defaults(DECLARED);
            for (key, text) in settings.to_texts() {
                again.set(key, &text).expect("its own text");
                assert!(key != "delay" || text == shown, "{span}: {text}");
            }
            assert_eq!(again.values, settings.values);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_named() {
        let mut settings = Settings::defaults(DECLARED);
        for (key, bad) in [
            ("dedup", "yes"),
            ("delay", "-1s"),
            ("delay", "NaNs"),
            ("delay", "2m"),
            ("delay", "5"),
            ("delay", ""),
            ("speculation", "Local"),
            ("delay", "99999999999999999999h"),
        ] {
            let error = settings.set(key, bad).expect_err(bad);
            assert!(matches!(error, SettingError::BadValue { .. }), "{error}");
        }
        let error = settings.set("dedupe", "true").expect_err("no such key");
        assert!(
            matches!(error, SettingError::UnknownKey { valid, .. } if valid.contains(&"dedup"))
        );
    }
}
