//! Faults: what goes wrong in a run, as data.
//!
//! A [`Fault`] is one thing that goes wrong at one instant, for a span. A run's specification holds a
//! list of them, so that each can be looked at, removed, and repeated. A *plan* (`plan`) says which
//! faults there are to be, by instants or by rates; it is expanded from the run's seed into the list before
//! the run begins (`expand`). `--chaos` is a plan that is made from the engine's fault budget
//! (`chaos`). While the run plays, the list is carried out on the world (`play`).
//!
//! Instants count from the start of the load, after hosts have settled. A fault is written as
//! `kind:key=value,...,at=10s,for=5s`.

mod chaos;
mod expand;
mod explain;
mod kinds;
mod make;
mod plan;
pub(crate) mod play;
mod replicas;
mod value;

pub use chaos::{Chaos, drawable};
pub use expand::{FAULTS_MAX, Targets};
pub use kinds::{Effect, KINDS, Key, Kind, Lasting, MachineChange, kind};
pub use make::{Asked, CHAOS_SPAN_MIN, Made, make, make_with};
pub use plan::FaultPlan;
pub(crate) use replicas::budget_under;
pub use value::{Target, Value, ValueKind};

use crate::spec::{Items, SpecError};
use kinds::Given;
use serde_with::{DeserializeFromStr, SerializeDisplay};
use sim_model::engine::FaultClass;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One thing that goes wrong.
///
/// ```
/// use sim_lab::fault::Fault;
/// let fault: Fault = "cut:from=worker-1,to=queue,one_way=false,at=3s,for=10s".parse().unwrap();
/// assert_eq!(fault.kind().name, "cut");
/// assert_eq!(fault.to_string(), "cut:from=worker-1,to=queue,one_way=false,at=3s,for=10s");
/// assert!("cut:from=worker-1,at=3s".parse::<Fault>().is_err(), "no span");
/// ```
#[derive(Clone, Debug, SerializeDisplay, DeserializeFromStr)]
pub struct Fault {
    kind: &'static Kind,
    /// In the order of the kind's keys.
    values: Vec<Value>,
    at: Duration,
    lasting: Option<Duration>,
}

impl Fault {
    /// Makes a fault of its fields; each is taken out of `fields`.
    ///
    /// # Errors
    /// The first field that is missing, unknown, or does not fit.
    pub(crate) fn from_items(kind: &'static Kind, items: Items) -> Result<Fault, SpecError> {
        let lasts = kind.lasting == Lasting::Yes;
        let mut valid: Vec<&str> = kind.keys.iter().map(|key| key.name).collect();
        valid.push("at");
        valid.extend(lasts.then_some("for"));
        let mut items = items.only(&valid)?;
        let mut values = Vec::new();
        for key in kind.keys {
            let parse = |text: &str| key.kind.parse(text);
            let expected = key.kind.expected();
            values.push(match key.default {
                None => items.required(key.name, parse, expected)?,
                Some(default) => {
                    let usual = key.kind.parse(default);
                    let usual = usual.expect("invariant: defaults of keys are values");
                    items.take(key.name, parse, expected)?.unwrap_or(usual)
                }
            });
        }
        let span = |text: &str| match ValueKind::Span.parse(text) {
            Some(Value::Span(span)) => Some(span),
            _ => None,
        };
        let expected = ValueKind::Span.expected();
        let at = items.required("at", span, expected)?;
        let lasting = match lasts {
            true => Some(items.required("for", span, expected)?),
            false => None,
        };
        Ok(Fault { kind, values, at, lasting })
    }

    /// Its kind.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// Its class.
    pub fn class(&self) -> FaultClass {
        self.kind.class
    }

    /// When it begins, counted from the start of the load.
    pub fn at(&self) -> Duration {
        self.at
    }

    /// When it has ended, counted from the start of the load.
    pub fn end(&self) -> Duration {
        self.at + self.lasting.unwrap_or_default()
    }

    /// What it does.
    pub fn effect(&self) -> Effect {
        let lasting = self.lasting.unwrap_or_default();
        let given = Given { kind: self.kind, values: &self.values, at: self.at, lasting };
        (self.kind.build)(&given)
    }

    /// Its values with the names of their keys.
    pub fn values(&self) -> impl Iterator<Item = (&'static Key, &Value)> {
        self.kind.keys.iter().zip(&self.values)
    }

    /// The number of the host it concerns, if it concerns one.
    pub fn host(&self) -> Option<u32> {
        let mut hosts = self.values().filter(|(key, _)| key.kind == ValueKind::Host);
        match hosts.next() {
            Some((_, Value::Count(host))) => u32::try_from(*host).ok(),
            _ => None,
        }
    }

    /// The same with another span; the fault as it is if it has none.
    pub(crate) fn lasting_only(&self, lasting: Duration) -> Fault {
        Fault { lasting: self.lasting.map(|_| lasting), ..self.clone() }
    }
}

impl PartialEq for Fault {
    fn eq(&self, other: &Fault) -> bool {
        self.kind.name == other.kind.name
            && (&self.values, self.at, self.lasting) == (&other.values, other.at, other.lasting)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind.name)?;
        for (key, value) in self.values() {
            write!(f, "{}={value},", key.name)?;
        }
        write!(f, "at={}", crate::span::format(self.at))?;
        match self.lasting {
            Some(lasting) => write!(f, ",for={}", crate::span::format(lasting)),
            None => Ok(()),
        }
    }
}

impl FromStr for Fault {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Fault, SpecError> {
        let (name, rest) = text.split_once(':').map_or((text, None), |(s, r)| (s, Some(r)));
        let kind = known(name)?;
        Fault::from_items(kind, Items::read(format!("fault {name}"), rest, None)?)
    }
}

/// The kind with this name.
pub(crate) fn known(name: &str) -> Result<&'static Kind, SpecError> {
    let names = KINDS.iter().map(|kind| kind.name);
    kind(name).ok_or_else(|| SpecError::unknown("kind of fault", name, names))
}

/// How many faults there are of each kind, by name.
pub fn by_kind(faults: &[Fault]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for fault in faults {
        *counts.entry(fault.kind.name).or_default() += 1;
    }
    counts
}
