//! Which parameters there are, and which values of each are tried.
//!
//! Settings come from the engine's own declaration: numbers and spans by the factor, within their limits;
//! flags and choices to each of their other values. Switches of safety mechanisms are left out unless
//! they are asked for by name: without one, an engine is not the same engine. Of the profile, every number
//! is a parameter, but for the plans that are not used, and for prices where no money is looked at.

use super::Sensitivity;
use crate::spec::{CheckedSpec, RunSpec, SpecError};
use crate::{span, suggest};
use serde::Serialize;
use sim_model::settings::{Purpose, Setting, SettingKind};

/// Which way a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Below the default.
    Low,
    /// Above it.
    High,
    /// Another choice.
    Other,
}

/// A value that is tried.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) shown: String,
    pub(super) direction: Direction,
    pub(super) spec: CheckedSpec,
}

/// A parameter with the values that are tried.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) default: String,
    pub(super) values: Vec<Value>,
}

/// Stands for all settings of the engine.
const SETTINGS: &str = "settings";
/// Stands before entries of the profile, and for all of them.
const PROFILE: &str = "profile";

/// The parameters that are asked for.
///
/// # Errors
/// A name that is none.
pub(super) fn of(base: &CheckedSpec, asked: &Sensitivity) -> Result<Vec<Parameter>, SpecError> {
    let settings = settings(base);
    let entries = entries(base);
    let names: Vec<&str> = settings
        .iter()
        .map(|(name, _)| name.as_str())
        .chain(entries.iter().map(|entry| entry.name.as_str()))
        .collect();
    for wanted in &asked.parameters {
        if !names.iter().any(|name| covers(wanted, name)) {
            return Err(unknown(wanted, &names));
        }
    }
    let by_name = |name: &str| asked.parameters.iter().any(|wanted| wanted == name);
    let is_asked = |name: &str| {
        asked.parameters.is_empty() || asked.parameters.iter().any(|wanted| covers(wanted, name))
    };
    let mut parameters = Vec::new();
    for (name, setting) in settings {
        if is_asked(&name) && (setting.purpose != Purpose::Safety || by_name(&name)) {
            parameters.push(of_setting(base, asked, name, setting));
        }
    }
    let plan = format!("{PROFILE}.plans.{}.", base.spec().plan);
    let plans = format!("{PROFILE}.plans.");
    let money = asked.metric.name == "cost";
    for entry in entries {
        let other_plan = entry.name.starts_with(&plans) && !entry.name.starts_with(&plan);
        let left_out = other_plan || (entry.is_price && !money);
        if is_asked(&entry.name) && (!left_out || by_name(&entry.name)) {
            parameters.push(of_entry(base, asked, entry));
        }
    }
    Ok(parameters)
}

/// Whether what is asked for is this parameter, or a group of which it is one.
fn covers(wanted: &str, name: &str) -> bool {
    let below =
        name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    below || (wanted == SETTINGS && !name.starts_with(PROFILE))
}

fn unknown(wanted: &str, names: &[&str]) -> SpecError {
    let groups = names.iter().flat_map(|name| name.match_indices('.').map(|(at, _)| &name[..at]));
    let all = names.iter().copied().chain(groups).chain([SETTINGS, PROFILE]);
    let nearest = match suggest::nearest(wanted, all) {
        Some(nearest) => format!("; the nearest is {nearest:?}"),
        None => String::new(),
    };
    let expected = format!(
        "settings, profile, a setting such as {:?}, or an entry of the profile such as \
         \"profile.cpu.step\" or \"profile.links\"{nearest}",
        names.first().unwrap_or(&SETTINGS)
    );
    SpecError::bad("parameter", wanted, expected)
}

/// All settings of the engine, by their full names.
fn settings(base: &CheckedSpec) -> Vec<(String, Setting)> {
    let engine = base.engine();
    let named = |setting: &Setting| (format!("{}.{}", base.spec().engine, setting.key), *setting);
    engine.settings().iter().map(named).collect()
}

fn of_setting(
    base: &CheckedSpec,
    asked: &Sensitivity,
    name: String,
    setting: Setting,
) -> Parameter {
    let default = base.spec().settings.get(&name).cloned().unwrap_or_default();
    let mut values = Vec::new();
    for (shown, direction) in values_of(&setting, &default, asked.factor) {
        let mut spec: RunSpec = asked.base.clone();
        spec.seed = asked.seeds[0];
        spec.settings.insert(name.clone(), shown.clone());
        // A value that does not go with the others is no value of the parameter here.
        if let Ok(spec) = spec.check() {
            values.push(Value { shown, direction, spec });
        }
    }
    Parameter { name, default, values }
}

/// Other values of a setting than `now`.
fn values_of(setting: &Setting, now: &str, factor: f64) -> Vec<(String, Direction)> {
    let ways = [(Direction::Low, 1.0 / factor), (Direction::High, factor)];
    let mut values: Vec<(String, Direction)> = match setting.kind {
        SettingKind::Flag => {
            ["true", "false"].map(|value| (value.to_owned(), Direction::Other)).to_vec()
        }
        SettingKind::Choice(words) => {
            words.iter().map(|word| ((*word).to_owned(), Direction::Other)).collect()
        }
        SettingKind::Count { min, max } => {
            let Ok(number) = now.parse::<u64>() else { return Vec::new() };
            let scaled = |by: f64| ((number as f64 * by).round() as u64).clamp(min, max);
            ways.map(|(way, by)| (scaled(by).to_string(), way)).to_vec()
        }
        SettingKind::Span { max } => {
            let Some(span) = span::parse(now) else { return Vec::new() };
            // To the microsecond, as spans are written.
            let micros = |by: f64| (span.as_micros() as f64 * by).round() as u64;
            let scaled = |by: f64| std::time::Duration::from_micros(micros(by)).min(max);
            ways.map(|(way, by)| (span::format(scaled(by)), way)).to_vec()
        }
    };
    values.retain(|(value, _)| value != now);
    values
}

/// A number of the profile.
struct ProfileEntry {
    name: String,
    field: String,
    quantity: String,
    is_price: bool,
}

fn entries(base: &CheckedSpec) -> Vec<ProfileEntry> {
    let profile = base.profile();
    let entries = profile.entries.iter().map(|entry| ProfileEntry {
        name: format!("{PROFILE}.{}", entry.field),
        field: entry.field.clone(),
        quantity: entry.quantity.clone(),
        is_price: entry.quantity.contains("usd_per"),
    });
    entries.collect()
}

fn of_entry(base: &CheckedSpec, asked: &Sensitivity, entry: ProfileEntry) -> Parameter {
    let ways = [(Direction::Low, 1.0 / asked.factor), (Direction::High, asked.factor)];
    let mut values = Vec::new();
    for (direction, factor) in ways {
        // A value that the profile cannot have, such as half a core, is none to try.
        let Ok(spec) = base.scaled(&entry.field, factor) else { continue };
        let now = spec
            .profile()
            .entries
            .iter()
            .find(|now| now.field == entry.field)
            .map(|now| now.quantity.clone());
        let shown = now.map(|quantity| short(&quantity)).unwrap_or_default();
        if shown != short(&entry.quantity) {
            values.push(Value { shown, direction, spec });
        }
    }
    Parameter { default: short(&entry.quantity), name: entry.name, values }
}

/// A quantity in few words: of a distribution, the times alone.
fn short(quantity: &str) -> String {
    if !quantity.starts_with("kind") && !quantity.contains("_ms = ") {
        return quantity.to_owned();
    }
    let times = quantity.split(", ").filter_map(|part| {
        let (key, value) = part.split_once(" = ")?;
        let name = key.strip_suffix("_ms")?;
        Some(if name == "value" { format!("{value} ms") } else { format!("{name} {value} ms") })
    });
    times.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn setting(kind: SettingKind) -> Setting {
        Setting { key: "x", kind, default: "", purpose: Purpose::Parameter, help: "" }
    }

    fn tried(kind: SettingKind, now: &str) -> Vec<String> {
        values_of(&setting(kind), now, 2.0).into_iter().map(|(value, _)| value).collect()
    }

    #[test]
    fn numbers_are_halved_and_doubled_within_their_limits() {
        let count = SettingKind::Count { min: 2, max: 100 };
        assert_eq!(tried(count, "20"), ["10", "40"]);
        assert_eq!(tried(count, "3"), ["2", "6"]);
        assert_eq!(tried(count, "2"), ["4"], "not below the least");
        assert_eq!(tried(count, "80"), ["40", "100"]);
        assert!(tried(SettingKind::Count { min: 0, max: 9 }, "0").is_empty(), "no half of nothing");
        let span = SettingKind::Span { max: Duration::from_secs(60) };
        assert_eq!(tried(span, "1s"), ["500ms", "2s"]);
        assert_eq!(tried(span, "40s"), ["20s", "60s"].map(|text| text.replace("60s", "1m")));
        assert_eq!(tried(SettingKind::Flag, "true"), ["false"]);
        assert_eq!(tried(SettingKind::Choice(&["a", "b", "c"]), "b"), ["a", "c"]);
    }

    #[test]
    fn a_name_stands_for_itself_and_for_what_is_below_it() {
        assert!(covers("profile.cpu", "profile.cpu.step") && covers("profile", "profile.cpu.step"));
        assert!(covers("settings", "netherite.dedup") && !covers("settings", "profile.cpu.step"));
        assert!(!covers("profile.cp", "profile.cpu.step"));
        let error = unknown("profile.cpu.stpe", &["netherite.dedup", "profile.cpu.step"]);
        assert!(error.to_string().ends_with("; the nearest is \"profile.cpu.step\""), "{error}");
    }

    #[test]
    fn quantities_are_short() {
        assert_eq!(short("1.4 ms"), "1.4 ms");
        let lognormal = "kind = \"lognormal\", median_ms = 4, sigma = 0.45";
        assert_eq!(short(lognormal), "median 4 ms");
        assert_eq!(short("kind = \"constant\", value_ms = 2"), "2 ms");
    }
}
