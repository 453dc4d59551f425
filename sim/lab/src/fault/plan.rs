//! Fault plans: which faults there are to be, as a person writes them down.
//!
//! A plan is a TOML file with a `[[fault]]` for each entry. An entry names its `kind` and gives the kind's
//! keys. It happens at an instant,
//!
//! ```toml
//! [[fault]]
//! kind = "crash"
//! host = 1
//! at = "10s"
//! for = "5s"
//! ```
//!
//! or again and again at random: at a `rate` (a Poisson process), or a number of `times`, within the
//! span `during`. Values may then be ranges, from which each occurrence draws, and of the names that a
//! pattern matches each occurrence concerns one (all, with `targets = "all"`):
//!
//! ```toml
//! [[fault]]
//! kind = "lose"
//! from = "worker-*"
//! probability = "0.05..0.3"
//! rate = "2/m"
//! during = "0s..60s"
//! for = "1s..10s"
//! ```
//!
//! One kind is of plans only: `swizzle` clogs a random half of the nodes that `node` matches, one after the
//! other, and unclogs them in another order (the swizzle-clog of FoundationDB's simulation: Zhou et al.,
//! SIGMOD 2021, 4.2). It becomes several faults of kind `clog`.

use super::kinds::{Kind, Lasting};
use super::known;
use crate::span;
use crate::spec::SpecError;
use crate::text_file;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// The most that a rate can be, per second.
const RATE_MAX: f64 = 100.0;
/// The most times of one entry.
const TIMES_MAX: u64 = 10_000;
/// The name of the kind that becomes clogs.
pub(super) const SWIZZLE: &str = "swizzle";

/// What happens, as a plan names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// A fault of a kind.
    Kind(&'static Kind),
    /// Clogs, one after the other.
    Swizzle,
}

/// When an entry happens.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum When {
    /// Once, at this instant.
    At(String),
    /// At random.
    Random {
        how_often: HowOften,
        /// Within this span; that of the load if `None`.
        during: Option<Range<Duration>>,
    },
}

/// How often something random happens.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum HowOften {
    /// So many times a second, on average.
    Rate(f64),
    /// A number of times from this range, both included.
    Times(u64, u64),
}

/// One entry of a plan.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where it is, for messages.
    pub place: String,
    pub what: What,
    pub when: When,
    /// Whether each occurrence concerns all names that a pattern matches.
    pub all_targets: bool,
    /// The kind's keys and `for`, as they are written.
    pub fields: BTreeMap<String, String>,
}

/// A fault plan.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    pub(super) entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What the plan is for; only people read it.
    #[serde(rename = "title")]
    _title: Option<String>,
    #[serde(default)]
    fault: Vec<Spanned<toml::Table>>,
}

impl FaultPlan {
    /// Reads the plan in a file.
    ///
    /// # Errors
    /// If the file cannot be read, or the first entry that is wrong, with its line.
    pub fn load(path: &Path) -> Result<FaultPlan, SpecError> {
        let failed = |problem: String| SpecError::File { path: path.to_owned(), problem };
        FaultPlan::parse(&text_file::read(path).map_err(failed)?).map_err(|error| match error {
            SpecError::File { problem, .. } => failed(problem),
            other => failed(other.to_string()),
        })
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// The first entry that is wrong, with its line.
    ///
    /// ```
    /// use sim_lab::fault::FaultPlan;
    /// let text = "[[fault]]\nkind = 'crash'\nhost = '*'\nrate = '3/m'\nfor = '1s..20s'\n";
    /// assert!(FaultPlan::parse(text).is_ok());
    /// let error = FaultPlan::parse(&text.replace("crash", "crush")).unwrap_err();
    /// assert!(error.to_string().contains("line 1"));
    /// assert!(error.to_string().contains("did you mean \"crash\""));
    /// ```
    pub fn parse(text: &str) -> Result<FaultPlan, SpecError> {
        let failed = |problem: String| SpecError::File { path: PathBuf::from("plan"), problem };
        let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let file: File = toml::from_str(text).map_err(|error| match error.span() {
            Some(span) => failed(format!("line {}: {}", line(span.start), error.message())),
            None => failed(error.message().to_owned()),
        })?;
        if file.fault.is_empty() {
            return Err(failed("has no [[fault]], expected at least one".to_owned()));
        }
        let entries = file.fault.iter().enumerate().map(|(index, table)| {
            let place = format!("fault {} (line {})", index + 1, line(table.span().start));
            Entry::read(place, table.get_ref())
        });
        Ok(FaultPlan { entries: entries.collect::<Result<_, _>>()? })
    }
}

impl Entry {
    fn read(place: String, table: &toml::Table) -> Result<Entry, SpecError> {
        let mut fields = BTreeMap::new();
        for (key, value) in table {
            fields.insert(key.clone(), text_of(&place, key, value)?);
        }
        Entry::of(place, fields)
    }

    /// An entry of fields as they are written.
    pub(super) fn of(
        place: String,
        mut fields: BTreeMap<String, String>,
    ) -> Result<Entry, SpecError> {
        let located = |error: SpecError| match error {
            SpecError::Unknown(mut unknown) => {
                unknown.what = format!("{} in {place}", unknown.what);
                SpecError::Unknown(unknown)
            }
            other => other,
        };
        let kind = fields.remove("kind").ok_or_else(|| SpecError::Missing {
            place: format!("{place}: kind"),
            expected: "a kind of fault, such as crash (sim list faults)".to_owned(),
        })?;
        let what = match kind.as_str() {
            SWIZZLE => What::Swizzle,
            name => What::Kind(known(name).map_err(located)?),
        };
        check_keys(&place, what, &fields)?;
        let when = take_when(&place, &mut fields)?;
        let targets = fields.remove("targets");
        let all_targets = match targets.as_deref() {
            None | Some("one") => false,
            Some("all") => true,
            Some(other) => {
                return Err(SpecError::bad(format!("{place}: targets"), other, "one or all"));
            }
        };
        Ok(Entry { place, what, when, all_targets, fields })
    }
}

/// Checks that every key is one that such an entry has.
fn check_keys(place: &str, what: What, fields: &BTreeMap<String, String>) -> Result<(), SpecError> {
    let (name, mut valid, lasts) = match what {
        What::Kind(kind) => {
            let keys = kind.keys.iter().map(|key| key.name).collect::<Vec<_>>();
            (kind.name, keys, kind.lasting == Lasting::Yes)
        }
        What::Swizzle => (SWIZZLE, vec!["node"], true),
    };
    valid.extend(lasts.then_some("for"));
    valid.extend(["at", "rate", "times", "during", "targets"]);
    match fields.keys().find(|key| !valid.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(SpecError::unknown(format!("key of {name} in {place}"), key, valid)),
    }
}

fn text_of(place: &str, key: &str, value: &toml::Value) -> Result<String, SpecError> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(flag) => Ok(flag.to_string()),
        other => Err(SpecError::bad(
            format!("{place}: {key}"),
            other.type_str(),
            "a text, a number, true or false",
        )),
    }
}

fn take_when(place: &str, fields: &mut BTreeMap<String, String>) -> Result<When, SpecError> {
    let bad = |key: &str, text: &str, expected: &str| {
        SpecError::bad(format!("{place}: {key}"), text, expected)
    };
    let (at, rate, times) = (fields.remove("at"), fields.remove("rate"), fields.remove("times"));
    let during = fields.remove("during");
    let how_often = match (&at, rate, times) {
        (Some(_), None, None) => None,
        (None, Some(text), None) => {
            let expected = "a rate above 0 and at most 100 a second, such as 2/m, 0.5/s or 10/h";
            let rate = parse_rate(&text).ok_or_else(|| bad("rate", &text, expected))?;
            Some(HowOften::Rate(rate))
        }
        (None, None, Some(text)) => {
            let expected = "a whole number up to 10000, or a range such as 1..3";
            let times = parse_times(&text).ok_or_else(|| bad("times", &text, expected))?;
            Some(HowOften::Times(times.0, times.1))
        }
        _ => {
            return Err(SpecError::bad(place, "when it happens", "one of at, rate and times"));
        }
    };
    let Some(how_often) = how_often else {
        if let Some(text) = during {
            return Err(bad("during", &text, "no span: it happens at an instant"));
        }
        return Ok(When::At(at.expect("invariant: matched above")));
    };
    let parse = |text: String| {
        let bounds = text.split_once("..").and_then(|(low, high)| {
            let (low, high) = (span::parse(low)?, span::parse(high)?);
            (low < high && high <= super::value::SPAN_MAX).then_some(low..high)
        });
        bounds.ok_or_else(|| bad("during", &text, "two instants within 24h, such as 0s..60s"))
    };
    Ok(When::Random { how_often, during: during.map(parse).transpose()? })
}

fn parse_rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/')?;
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let rate = number.parse::<f64>().ok()? / seconds;
    // A comparison with NaN is false.
    (rate > 0.0 && rate <= RATE_MAX).then_some(rate)
}

fn parse_times(text: &str) -> Option<(u64, u64)> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let (low, high) = (low.parse().ok()?, high.parse().ok()?);
    (low <= high && high <= TIMES_MAX).then_some((low, high))
}

impl fmt::Display for FaultPlan {
    /// The plan as a file; [`FaultPlan::parse`] reads it back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let name = match entry.what {
                What::Kind(kind) => kind.name,
                What::Swizzle => SWIZZLE,
            };
            writeln!(f, "[[fault]]\nkind = \"{name}\"")?;
            for (key, text) in &entry.fields {
                writeln!(f, "{key} = {}", toml::Value::from(text.as_str()))?;
            }
            match &entry.when {
                When::At(at) => writeln!(f, "at = {}", toml::Value::from(at.as_str()))?,
                When::Random { how_often, during } => {
                    match how_often {
                        HowOften::Rate(rate) => writeln!(f, "rate = \"{}/h\"", rate * 3600.0)?,
                        HowOften::Times(low, high) => writeln!(f, "times = \"{low}..{high}\"")?,
                    }
                    if let Some(during) = during {
                        let (low, high) = (span::format(during.start), span::format(during.end));
                        writeln!(f, "during = \"{low}..{high}\"")?;
                    }
                }
            }
            if entry.all_targets {
                writeln!(f, "targets = \"all\"")?;
            }
        }
        Ok(())
    }
}
