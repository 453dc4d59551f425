//! Axes, and the values that they and the base of a sweep give to the keys of a run.
//!
//! A key is one of a specification (`engine`, `load`, `hosts`, ...), `fault_plan` or `chaos`; or, with a
//! point, a parameter of the workload (`workload.length`), a number of the load (`load.rate`), or a
//! setting of an engine (`netherite.speculation`). An axis either has the name of a key, and `values` of
//! it, or a name of its own and `cases`, each of which has a label and gives values to any keys.

use crate::registry;
use crate::spec::SpecError;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use toml::{Table, Value};

/// The keys without a point.
const KEYS: [&str; 12] = [
    "engine",
    "workload",
    "load",
    "plan",
    "hosts",
    "partitions",
    "profile",
    "host_events",
    "autoscale",
    "faults",
    "fault_plan",
    "chaos",
];
/// The keys with a point, for messages.
const DOTTED: [&str; 3] = ["workload.PARAMETER", "load.NUMBER", "ENGINE.SETTING"];
/// Most values of one axis.
const VALUES_MAX: usize = 10_000;

/// A value as it was given: numbers and flags as their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// One value.
    One(String),
    /// A list.
    List(Vec<String>),
}

/// Something that varies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Its name; if [`Axis::is_key`], also the key that varies.
    pub name: String,
    /// Whether each case gives a value to the key of that name, and nothing else.
    pub is_key: bool,
    /// Its cases.
    pub cases: Vec<AxisCase>,
}

/// A place on an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxisCase {
    /// What stands in tables.
    pub label: String,
    /// Values by key.
    pub set: BTreeMap<String, Given>,
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::One(text) => f.write_str(text),
            Given::List(texts) if texts.is_empty() => f.write_str("none"),
            Given::List(texts) => f.write_str(&texts.join(" ")),
        }
    }
}

impl Given {
    fn read(place: &str, value: &Value) -> Result<Given, SpecError> {
        match value {
            Value::Array(values) => {
                let texts = values.iter().map(|value| scalar(place, value));
                Ok(Given::List(texts.collect::<Result<_, _>>()?))
            }
            value => Ok(Given::One(scalar(place, value)?)),
        }
    }

    /// The value as it stands in a file that says every choice.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Given::One(text) => Value::String(text.clone()),
            Given::List(texts) => Value::Array(texts.iter().cloned().map(Value::String).collect()),
        }
    }
}

fn scalar(place: &str, value: &Value) -> Result<String, SpecError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) if number.is_finite() => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        other => {
            let expected = "a text, a finite number, true, false, or a list of these";
            Err(SpecError::bad(place, other.to_string().replace('\n', " "), expected))
        }
    }
}

/// Checks that a key exists, as far as can be said without the rest of the run.
fn check_key(what: &str, key: &str) -> Result<(), SpecError> {
    let known = || KEYS.into_iter().chain(DOTTED);
    match key.split_once('.') {
        None if KEYS.contains(&key) => Ok(()),
        Some(("workload" | "load", rest)) if !rest.is_empty() => Ok(()),
        Some((engine, rest)) if registry::engine(engine).is_ok() && !rest.is_empty() => Ok(()),
        _ => Err(SpecError::unknown(what, key, known())),
    }
}

/// Reads a table of keys. Tables within it are keys with a point, those of `settings` too.
pub(super) fn read_table(place: &str, table: &Table) -> Result<BTreeMap<String, Given>, SpecError> {
    let mut set = BTreeMap::new();
    for (key, value) in table {
        let inner = match value {
            Value::Table(inner) if key == "settings" => {
                inner.iter().map(|(key, value)| (key.clone(), value)).collect()
            }
            Value::Table(inner) => {
                inner.iter().map(|(rest, value)| (format!("{key}.{rest}"), value)).collect()
            }
            value => vec![(key.clone(), value)],
        };
        for (key, value) in inner {
            check_key(&format!("key of {place}"), &key)?;
            let given = Given::read(&format!("{place}: {key}"), value)?;
            if set.insert(key.clone(), given).is_some() {
                return Err(SpecError::Twice { place: format!("{place}: {key}") });
            }
        }
    }
    Ok(set)
}

impl Axis {
    /// Reads the axis from its table.
    pub(super) fn read(index: usize, table: &Table) -> Result<Axis, SpecError> {
        let place = format!("axis {}", index + 1);
        let known = ["name", "values", "cases"];
        if let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(SpecError::unknown(format!("key of {place}"), key, known));
        }
        let name = match table.get("name") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            Some(other) => {
                return Err(SpecError::bad(format!("{place}: name"), other, "a text"));
            }
            None => {
                let expected = "the key that varies, or any name if there are cases".to_owned();
                return Err(SpecError::Missing { place: format!("{place}: name"), expected });
            }
        };
        let place = format!("axis {name:?}");
        let list = |key: &str| match table.get(key) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(SpecError::bad(format!("{place}: {key}"), other, "a list")),
        };
        let axis = match (list("values")?, list("cases")?) {
            (Some(values), None) => {
                check_key("axis", &name)?;
                let cases = values.iter().map(|value| {
                    let given = Given::read(&place, value)?;
                    let label = given.to_string();
                    Ok(AxisCase { label, set: BTreeMap::from([(name.clone(), given)]) })
                });
                let cases = cases.collect::<Result<_, SpecError>>()?;
                Axis { name, is_key: true, cases }
            }
            (None, Some(cases)) => {
                let cases = cases.iter().enumerate().map(|(at, case)| read_case(&place, at, case));
                let cases = cases.collect::<Result<_, SpecError>>()?;
                Axis { name, is_key: false, cases }
            }
            _ => {
                let expected = "either values or cases".to_owned();
                return Err(SpecError::Missing { place: format!("{place}: a list"), expected });
            }
        };
        axis.check()?;
        Ok(axis)
    }

    /// Checks how many cases there are, and that their labels differ.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        let place = format!("axis {:?}", self.name);
        let count = self.cases.len();
        if !(1..=VALUES_MAX).contains(&count) {
            let given = if count == 0 { "none".to_owned() } else { count.to_string() };
            return Err(SpecError::bad(place, given, format!("1 to {VALUES_MAX} values")));
        }
        let mut labels = BTreeSet::new();
        match self.cases.iter().find(|case| !labels.insert(&case.label)) {
            Some(case) => Err(SpecError::Twice { place: format!("{place}: {:?}", case.label) }),
            None => Ok(()),
        }
    }

    /// All keys that any of its cases gives a value to.
    pub(super) fn keys(&self) -> BTreeSet<&str> {
        self.cases.iter().flat_map(|case| case.set.keys()).map(String::as_str).collect()
    }

    /// The axis as it stands in a file.
    pub(super) fn to_table(&self) -> Table {
        let mut table = Table::new();
        table.insert("name".to_owned(), Value::String(self.name.clone()));
        let keys = |set: &BTreeMap<String, Given>| -> Table {
            set.iter().map(|(key, given)| (key.clone(), given.to_value())).collect()
        };
        if self.is_key {
            let values = self.cases.iter().flat_map(|case| case.set.values());
            let values = values.map(Given::to_value).collect();
            table.insert("values".to_owned(), Value::Array(values));
        } else {
            let case = |case: &AxisCase| {
                let mut table = keys(&case.set);
                table.insert("label".to_owned(), Value::String(case.label.clone()));
                Value::Table(table)
            };
            table.insert("cases".to_owned(), Value::Array(self.cases.iter().map(case).collect()));
        }
        table
    }
}

fn read_case(place: &str, index: usize, case: &Value) -> Result<AxisCase, SpecError> {
    let place = format!("{place}: case {}", index + 1);
    let Value::Table(table) = case else {
        return Err(SpecError::bad(place, case, "a table with a label"));
    };
    let mut keys = table.clone();
    let label = match keys.remove("label") {
        Some(Value::String(label)) if !label.is_empty() => label,
        Some(other) => return Err(SpecError::bad(format!("{place}: label"), other, "a text")),
        None => {
            let (place, expected) = (format!("{place}: label"), "a text".to_owned());
            return Err(SpecError::Missing { place, expected });
        }
    };
    Ok(AxisCase { label, set: read_table(&place, &keys)? })
}
