//! From the values of a cell to the specification of its run.

use super::axis::Given;
use crate::fault::{self, Asked, FaultPlan};
use crate::load::LoadSpec;
use crate::run::RunError;
use crate::spec::{CheckedSpec, RunSpec, SpecError};
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

/// The values of a cell, by key.
pub(super) type Values<'a> = BTreeMap<&'a str, &'a Given>;

/// A cell on its way to runs: all that does not depend on the seed.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    spec: RunSpec,
    asked: Asked,
}

impl Cell {
    /// Reads the values of a cell. What is more general comes first: the workload, whose own load is the
    /// default one, then its parameters, then the load, then numbers of the load.
    pub(super) fn read(values: &Values<'_>) -> Result<Cell, SpecError> {
        let mut spec = match values.get("workload") {
            Some(given) => RunSpec::of(parsed("workload", given)?),
            None => RunSpec::default(),
        };
        if let Some(given) = values.get("load") {
            spec.load = parsed("load", given)?;
        }
        let mut asked = Asked::default();
        for (key, given) in values {
            match *key {
                "workload" | "load" => {}
                "engine" => spec.engine = one(key, given)?.to_owned(),
                "plan" => spec.plan = one(key, given)?.to_owned(),
                "profile" => spec.profile = one(key, given)?.to_owned(),
                "hosts" => spec.hosts = number(key, given)?,
                "partitions" => spec.partitions = number(key, given)?,
                "autoscale" => spec.autoscale = Some(parsed(key, given)?),
                "host_events" => spec.host_events = list(given)?,
                "faults" => asked.faults = list(given)?,
                "fault_plan" => {
                    asked.plan = Some(FaultPlan::load(Path::new(one(key, given)?))?);
                }
                "chaos" => asked.chaos = Some(parsed(key, given)?),
                dotted => set_dotted(&mut spec, dotted, one(dotted, given)?)?,
            }
        }
        Ok(Cell { spec, asked })
    }

    /// The specification of the run with this seed, and the same checked.
    pub(super) fn run(&self, seed: u64) -> Result<(RunSpec, CheckedSpec), RunError> {
        let mut spec = RunSpec { seed, ..self.spec.clone() };
        if !self.asked.is_empty() {
            spec.faults = fault::make(&spec, &self.asked)?.faults;
        }
        let checked = spec.check()?;
        Ok((spec, checked))
    }
}

fn set_dotted(spec: &mut RunSpec, key: &str, text: &str) -> Result<(), SpecError> {
    match key.split_once('.') {
        Some(("workload", parameter)) => {
            spec.workload.parameters.insert(parameter.to_owned(), text.to_owned());
        }
        Some(("load", item)) => spec.load = with_number(&spec.load, item, text)?,
        _ => {
            spec.settings.insert(key.to_owned(), text.to_owned());
        }
    }
    Ok(())
}

/// The load with another number.
fn with_number(load: &LoadSpec, key: &str, value: &str) -> Result<LoadSpec, SpecError> {
    let text = load.to_string();
    let (shape, items) = text.split_once(':').unwrap_or((&text, ""));
    // A batch leaves out the key of its size.
    let key_of = |item: &str| match item.split_once('=') {
        Some((key, _)) => key.to_owned(),
        None => "size".to_owned(),
    };
    let mut items: Vec<String> =
        items.split(',').filter(|item| key_of(item) != key).map(str::to_owned).collect();
    items.push(format!("{key}={value}"));
    // A size that is left without its key must come first, and does.
    format!("{shape}:{}", items.join(",")).parse()
}

fn one<'a>(key: &str, given: &'a Given) -> Result<&'a str, SpecError> {
    match given {
        Given::One(text) => Ok(text),
        Given::List(_) => Err(SpecError::bad(key, given, "one value, not a list")),
    }
}

fn parsed<T: FromStr<Err = SpecError>>(key: &str, given: &Given) -> Result<T, SpecError> {
    one(key, given)?.parse()
}

fn number(key: &str, given: &Given) -> Result<u32, SpecError> {
    let text = one(key, given)?;
    text.parse().map_err(|_| SpecError::bad(key, text, "a whole number"))
}

/// A list; one value is a list of one.
fn list<T: FromStr<Err = SpecError>>(given: &Given) -> Result<Vec<T>, SpecError> {
    match given {
        Given::One(text) => Ok(vec![text.parse()?]),
        Given::List(texts) => texts.iter().map(|text| text.parse()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_a_load_is_replaced() {
        let with = |load: &str, key: &str, value: &str| {
            let load: LoadSpec = load.parse().expect("a load");
            with_number(&load, key, value).map(|load| load.to_string())
        };
        assert_eq!(
            with("open:rate=20,duration=5s", "rate", "40"),
            Ok("open:rate=40,duration=5s".to_owned())
        );
        assert_eq!(with("batch:20", "size", "40"), Ok("batch:40".to_owned()));
        assert_eq!(with("batch:20", "settle", "4s"), Ok("batch:20,settle=4s".to_owned()));
        let error = with("batch:20", "rate", "4").expect_err("no rate");
        assert_eq!(
            error.to_string(),
            "unknown key of load batch \"rate\": valid: size, launcher, settle"
        );
    }
}
