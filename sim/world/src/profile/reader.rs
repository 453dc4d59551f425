//! Reads a profile's TOML with errors that name the field.
//!
//! A profile is a tree of *sections* (plain tables) whose leaves are *entries*: tables with a
//! `value`, a `unit` and either a `source` or a `fitted_to` label, or a latency distribution with
//! the same labels. A section declares its keys before it is read, so that a misspelt key is
//! reported as such and not as a missing one.

use super::error::{ProfileError, nearest};
use super::{Entry, Provenance};
use crate::distribution::Latency;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use toml::{Table, Value};

const SOURCE: &str = "source";
const FITTED_TO: &str = "fitted_to";
const KIND: &str = "kind";
const LATENCY_EXPECTED: &str =
    "a latency { kind = \"lognormal\", median_ms = .., sigma = .., source = .. }";
/// The kinds of [`Latency`] and their parameters.
const LATENCY_KINDS: [(&str, &[&str]); 5] = [
    ("constant", &["value_ms"]),
    ("lognormal", &["median_ms", "sigma"]),
    ("exponential", &["mean_ms"]),
    ("uniform", &["low_ms", "high_ms"]),
    ("measured", &["quantiles_ms"]),
];
const QUANTITY_KEYS: [&str; 4] = ["value", "unit", SOURCE, FITTED_TO];

/// What a number measures: its units, each with the factor to the base unit.
#[derive(Clone, Copy)]
pub(super) struct Dimension {
    expected: &'static str,
    units: &'static [(&'static str, f64)],
}

/// A span of time, in nanoseconds.
const TIME: Dimension = Dimension {
    expected: "a span of time",
    units: &[("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)],
};
/// A size, in bytes.
const SIZE: Dimension = Dimension {
    expected: "a size",
    units: &[
        ("bytes", 1.0),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("MB", 1e6),
        ("GB", 1e9),
    ],
};
/// A rate of things, per second.
pub(super) const RATE: Dimension = Dimension { expected: "a rate", units: &[("1/s", 1.0)] };
/// A rate of bytes, per second.
pub(super) const BANDWIDTH: Dimension = Dimension {
    expected: "a bandwidth",
    units: &[
        ("bytes/s", 1.0),
        ("MB/s", 1e6),
        ("MiB/s", 1_048_576.0),
        ("Mbit/s", 1.25e5),
        ("Gbit/s", 1.25e8),
    ],
};
/// A number of things.
const COUNT: Dimension = Dimension { expected: "a number of things", units: &[("count", 1.0)] };
/// A number of cores, whole or not.
pub(super) const CORES: Dimension =
    Dimension { expected: "a number of cores", units: &[("cores", 1.0)] };
/// A factor.
pub(super) const RATIO: Dimension = Dimension { expected: "a ratio", units: &[("ratio", 1.0)] };
/// Money for each thing counted, in US dollars.
pub(super) const PRICE: Dimension = Dimension {
    expected: "a price for each operation",
    units: &[("usd_per_10k", 1e-4), ("usd_per_million", 1e-6)],
};
/// Money for time, in US dollars for each hour of a 730-hour month.
pub(super) const RENT: Dimension = Dimension {
    expected: "a price for time",
    units: &[("usd_per_hour", 1.0), ("usd_per_month", 1.0 / HOURS_PER_MONTH)],
};
/// The length of a month in price lists.
const HOURS_PER_MONTH: f64 = 730.0;

/// What all sections of one profile share.
pub(super) struct Context<'a> {
    pub profile: &'a str,
    pub entries: RefCell<Vec<Entry>>,
}

impl Context<'_> {
    fn error(&self, field: &str, problem: impl Into<String>) -> ProfileError {
        ProfileError::Field {
            profile: self.profile.to_owned(),
            field: field.to_owned(),
            problem: problem.into(),
        }
    }
}

/// A table of entries and further sections.
pub(super) struct Section<'a> {
    context: &'a Context<'a>,
    path: String,
    table: &'a Table,
}

impl<'a> Section<'a> {
    /// The outermost section, with exactly the sections `keys`.
    pub fn root(
        context: &'a Context<'a>,
        table: &'a Table,
        keys: &[&'static str],
    ) -> Result<Self, ProfileError> {
        let section = Section { context, path: String::new(), table };
        section.refuse_unknown(table, keys, &section.path)?;
        Ok(section)
    }

    /// The section `key`, with no other keys than `keys`.
    pub fn child(&self, key: &str, keys: &[&'static str]) -> Result<Section<'a>, ProfileError> {
        let section = self.any_child(key)?;
        section.refuse_unknown(section.table, keys, &section.path)?;
        Ok(section)
    }

    /// The section `key`, whose keys are names of the profile's own choice.
    pub fn any_child(&self, key: &str) -> Result<Section<'a>, ProfileError> {
        let path = self.field(key);
        let table = self.table_at(key, &path, "a section")?;
        Ok(Section { context: self.context, path, table })
    }

    /// The keys of this section, in order.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.table.keys().map(String::as_str)
    }

    /// Whether the optional entry `key` is present.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// An error about the section itself or one of its entries.
    pub fn error(&self, key: &str, problem: impl Into<String>) -> ProfileError {
        self.context.error(&self.field(key), problem)
    }

    /// A number >= 0 of the given dimension, in its base unit.
    pub fn number(&self, key: &str, dimension: Dimension) -> Result<f64, ProfileError> {
        let path = self.field(key);
        let expected = format!("{{ value = .., unit = {:?}, source = .. }}", dimension.units[0].0);
        let table = self.table_at(key, &path, &format!("{} {expected}", dimension.expected))?;
        self.refuse_unknown(table, &QUANTITY_KEYS, &path)?;
        let value = match table.get("value") {
            Some(Value::Integer(value)) => *value as f64,
            Some(Value::Float(value)) => *value,
            Some(other) => {
                let problem = format!("value is a {}, expected a number", other.type_str());
                return Err(self.context.error(&path, problem));
            }
            None => {
                let problem = format!("value is missing, expected {}", dimension.expected);
                return Err(self.context.error(&path, problem));
            }
        };
        if !value.is_finite() || value < 0.0 {
            let problem = format!("value is {value}, expected a finite number >= 0");
            return Err(self.context.error(&path, problem));
        }
        let (unit, factor) = self.unit(table, &path, dimension)?;
        let provenance = self.provenance(table, &path)?;
        let quantity = format!("{value} {unit}");
        self.context.entries.borrow_mut().push(Entry { field: path, quantity, provenance });
        Ok(value * factor)
    }

    /// A number > 0.
    pub fn positive(&self, key: &str, dimension: Dimension) -> Result<f64, ProfileError> {
        let value = self.number(key, dimension)?;
        if value > 0.0 { Ok(value) } else { Err(self.error(key, "value is 0, expected more")) }
    }

    /// A span of time.
    pub fn time(&self, key: &str) -> Result<Duration, ProfileError> {
        let nanos = self.number(key, TIME)?;
        if nanos >= u64::MAX as f64 {
            return Err(self.error(key, "value is longer than 584 years"));
        }
        Ok(Duration::from_nanos(nanos.round() as u64))
    }

    /// A whole number of bytes.
    pub fn bytes(&self, key: &str) -> Result<u64, ProfileError> {
        self.whole(key, SIZE)
    }

    /// A whole number of things, at least 1.
    pub fn count(&self, key: &str) -> Result<u32, ProfileError> {
        let value = self.whole(key, COUNT)?;
        match u32::try_from(value) {
            Ok(value) if value > 0 => Ok(value),
            _ => Err(self.error(key, format!("value is {value}, expected 1 to {}", u32::MAX))),
        }
    }

    /// A whole number of things, perhaps 0.
    pub fn count_or_zero(&self, key: &str) -> Result<u32, ProfileError> {
        let value = self.whole(key, COUNT)?;
        u32::try_from(value)
            .map_err(|_| self.error(key, format!("value is {value}, expected up to {}", u32::MAX)))
    }

    /// The name of something that another section describes.
    pub fn name(&self, key: &str) -> Result<&'a str, ProfileError> {
        match self.table.get(key) {
            Some(Value::String(name)) => Ok(name),
            Some(other) => {
                Err(self.error(key, format!("is of type {}, expected a name", other.type_str())))
            }
            None => Err(self.error(key, "is missing, expected a name")),
        }
    }

    /// A distribution of latencies.
    pub fn latency(&self, key: &str) -> Result<Latency, ProfileError> {
        let path = self.field(key);
        let table = self.table_at(key, &path, LATENCY_EXPECTED)?;
        let Some(Value::String(kind)) = table.get(KIND) else {
            let problem = format!("kind is missing, expected {LATENCY_EXPECTED}");
            return Err(self.context.error(&path, problem));
        };
        let parameters = self.latency_parameters(kind, &path)?;
        let mut keys = vec![KIND, SOURCE, FITTED_TO];
        keys.extend(parameters);
        self.refuse_unknown(table, &keys, &path)?;
        if let Some(missing) = parameters.iter().find(|name| !table.contains_key(**name)) {
            let problem = format!("{missing} is missing, expected a number");
            return Err(self.context.error(&path, problem));
        }
        for (name, value) in
            table.iter().filter(|(name, _)| name.ends_with("_ms") || *name == "sigma")
        {
            if !matches!(value, Value::Integer(_) | Value::Float(_) | Value::Array(_)) {
                let problem = format!("{name} is a {}, expected a number", value.type_str());
                return Err(self.context.error(&path, problem));
            }
        }
        let provenance = self.provenance(table, &path)?;
        let mut plain = table.clone();
        plain.remove(SOURCE);
        plain.remove(FITTED_TO);
        let quantity =
            plain.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>();
        let latency: Latency = Value::Table(plain)
            .try_into()
            .map_err(|error: toml::de::Error| self.context.error(&path, error.message()))?;
        latency.validate().map_err(|error| self.context.error(&path, error.to_string()))?;
        let entry = Entry { field: path, quantity: quantity.join(", "), provenance };
        self.context.entries.borrow_mut().push(entry);
        Ok(latency)
    }

    fn latency_parameters(
        &self,
        kind: &str,
        path: &str,
    ) -> Result<&'static [&'static str], ProfileError> {
        if let Some((_, parameters)) = LATENCY_KINDS.iter().find(|(known, _)| *known == kind) {
            return Ok(parameters);
        }
        let known = LATENCY_KINDS.map(|(known, _)| known);
        let hint = match nearest(kind, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("expected one of {}", known.join(", ")),
        };
        Err(self.context.error(path, format!("kind {kind:?} is unknown, {hint}")))
    }

    fn whole(&self, key: &str, dimension: Dimension) -> Result<u64, ProfileError> {
        let value = self.number(key, dimension)?;
        let rounded = value.round();
        if (value - rounded).abs() > 1e-9 * value.abs() || rounded >= 2f64.powi(53) {
            return Err(self.error(key, format!("value is {value}, expected a whole number")));
        }
        Ok(rounded as u64)
    }

    fn field(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn table_at(&self, key: &str, path: &str, expected: &str) -> Result<&'a Table, ProfileError> {
        match self.table.get(key) {
            Some(Value::Table(table)) => Ok(table),
            Some(other) => {
                let problem = format!("is of type {}, expected {expected}", other.type_str());
                Err(self.context.error(path, problem))
            }
            None => Err(self.context.error(path, format!("is missing, expected {expected}"))),
        }
    }

    fn refuse_unknown(
        &self,
        table: &Table,
        keys: &[&'static str],
        path: &str,
    ) -> Result<(), ProfileError> {
        let Some(unknown) = table.keys().find(|key| !keys.contains(&key.as_str())) else {
            return Ok(());
        };
        let field = if path.is_empty() { unknown.clone() } else { format!("{path}.{unknown}") };
        // Prefer what is absent from the table: that is what a misspelling leaves out.
        let absent = keys.iter().copied().filter(|key| !table.contains_key(*key));
        let problem = match nearest(unknown, absent).or_else(|| nearest(unknown, keys.to_vec())) {
            Some(known) => format!("is unknown, did you mean {known:?}?"),
            None => format!("is unknown, expected one of {}", keys.join(", ")),
        };
        Err(self.context.error(&field, problem))
    }

    fn unit(
        &self,
        table: &Table,
        path: &str,
        dimension: Dimension,
    ) -> Result<(&'static str, f64), ProfileError> {
        let names = || {
            dimension
                .units
                .iter()
                .map(|(unit, _)| format!("{unit:?}"))
                .collect::<Vec<_>>()
                .join(" or ")
        };
        let given = match table.get("unit") {
            Some(Value::String(unit)) => unit,
            _ => {
                let problem = format!("unit is missing, expected {}", names());
                return Err(self.context.error(path, problem));
            }
        };
        dimension.units.iter().find(|(unit, _)| unit == given).copied().ok_or_else(|| {
            self.context.error(path, format!("unit is {given:?}, expected {}", names()))
        })
    }

    fn provenance(&self, table: &Table, path: &str) -> Result<Provenance, ProfileError> {
        let label = |key: &str| match table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.trim().is_empty() => {
                Ok(Some(Arc::from(text.as_str())))
            }
            Some(_) => Err(self.context.error(path, format!("{key} is not a text with content"))),
        };
        match (label(SOURCE)?, label(FITTED_TO)?) {
            (Some(source), None) => Ok(Provenance::Source(source)),
            (None, Some(figure)) => Ok(Provenance::FittedTo(figure)),
            (None, None) => {
                Err(self.context.error(path, "has neither source nor fitted_to, expected one"))
            }
            (Some(_), Some(_)) => {
                Err(self.context.error(path, "has both source and fitted_to, expected one"))
            }
        }
    }
}
