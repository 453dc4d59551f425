//! What runs are called, and which of them are repetitions of each other.
//!
//! Runs whose specifications are the same but for the seed form a *group*; groups are what is compared,
//! with means over their runs. Runs stand in the order of workload, conditions, engine, settings and
//! seed, so that engines under the same conditions stand side by side: names of folders may say
//! nothing (those of a sweep are hashes). A label says
//! what tells a run from the others of the report and nothing that all have in common: engine and
//! workload, then `key=value` for each key of the specification that differs. A setting differs if
//! two runs of one engine have different values of it.

use super::find::natural;
use super::run::Run;
use std::collections::{BTreeMap, BTreeSet};

/// A setting of an engine, in a flat specification.
const SETTING: &str = "settings.";
/// Longer values are cut in labels.
const VALUE_MAX: usize = 40;

/// Labels and groups of the runs of a report.
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// Keys that differ, without engine, workload and seed, in the order of a specification.
    pub varying: Vec<String>,
    /// Whether there are several workloads.
    pub workloads_vary: bool,
    /// Of each run: its values of the keys that differ.
    pub values: Vec<Vec<String>>,
    /// Of each run: the number of its group.
    pub group_of: Vec<usize>,
    pub groups: Vec<Group>,
}

/// Runs that differ in nothing but the seed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Group {
    pub label: String,
    pub engine: String,
    /// Its runs, by number.
    pub runs: Vec<usize>,
}

type Flat = BTreeMap<String, String>;

impl Labels {
    /// Puts runs into their order.
    pub(super) fn sort(runs: &mut [Run]) {
        let flat: Vec<Flat> = runs.iter().map(|run| flat(&run.spec_text)).collect();
        let keys = varying(runs, &flat);
        let (settings, conditions): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| key.starts_with(SETTING));
        runs.sort_by_cached_key(|run| {
            let flat = self::flat(&run.spec_text);
            let values = |keys: &[String]| {
                let values = keys.iter().map(|key| flat.get(key).map(|value| natural(value)));
                values.collect::<Vec<_>>()
            };
            let workload = natural(&run.summary.workload);
            let of_engine = (run.spec.engine.clone(), values(&settings));
            (workload, values(&conditions), of_engine, run.spec.seed, natural(&run.name))
        });
    }

    pub(super) fn of(runs: &[Run]) -> Labels {
        let flat: Vec<Flat> = runs.iter().map(|run| flat(&run.spec_text)).collect();
        let workloads: BTreeSet<&str> =
            runs.iter().map(|run| run.summary.workload.as_str()).collect();
        let mut labels = Labels {
            varying: varying(runs, &flat),
            workloads_vary: workloads.len() > 1,
            ..Labels::default()
        };
        let value = |flat: &Flat, key: &String| flat.get(key).cloned().unwrap_or_default();
        labels.values = flat
            .iter()
            .map(|flat| labels.varying.iter().map(|key| value(flat, key)).collect())
            .collect();
        let mut known: BTreeMap<&Flat, usize> = BTreeMap::new();
        for (index, flat) in flat.iter().enumerate() {
            let next = labels.groups.len();
            let group = *known.entry(flat).or_insert(next);
            if group == next {
                let label = labels.without_seed(&runs[index], index);
                let engine = runs[index].spec.engine.clone();
                labels.groups.push(Group { label, engine, runs: Vec::new() });
            }
            labels.groups[group].runs.push(index);
            labels.group_of.push(group);
        }
        labels
    }

    /// What the group of a run is called.
    fn without_seed(&self, run: &Run, index: usize) -> String {
        let mut parts = vec![run.spec.engine.clone()];
        if self.workloads_vary {
            parts.push(run.summary.workload.clone());
        }
        let differing =
            self.varying.iter().zip(&self.values[index]).filter(|(_, value)| !value.is_empty());
        parts.extend(differing.map(|(key, value)| format!("{}={}", short(key), cut(value))));
        parts.join(" · ")
    }

    /// What a run is called.
    pub(super) fn of_run(&self, run: &Run, index: usize) -> String {
        format!("{} · seed {}", self.groups[self.group_of[index]].label, run.spec.seed)
    }
}

/// A key without its place.
pub(super) fn short(key: &str) -> &str {
    let key = key.strip_prefix(SETTING).unwrap_or(key);
    key.split_once('.').map_or(key, |(_, setting)| setting)
}

/// A value that is not too long for a label.
pub(super) fn cut(value: &str) -> String {
    if value.chars().count() <= VALUE_MAX {
        return value.to_owned();
    }
    value.chars().take(VALUE_MAX - 1).chain(['…']).collect()
}

/// A specification without its seed, as texts by key.
fn flat(text: &str) -> Flat {
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let mut flat = Flat::new();
    for (key, value) in table.into_iter().filter(|(key, _)| key != "seed") {
        match value {
            toml::Value::Table(inner) => {
                let inner = inner.into_iter();
                flat.extend(inner.map(|(name, value)| (format!("{key}.{name}"), word(&value))));
            }
            value => {
                flat.insert(key, word(&value));
            }
        }
    }
    flat
}

fn word(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(word).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Keys that differ between runs, shortest first within each place.
fn varying(runs: &[Run], flat: &[Flat]) -> Vec<String> {
    let keys: BTreeSet<&String> = flat.iter().flat_map(BTreeMap::keys).collect();
    let differs = |key: &&&String| {
        let is_setting = key.starts_with(SETTING);
        let mut seen: BTreeMap<&str, BTreeSet<Option<&String>>> = BTreeMap::new();
        for (run, flat) in runs.iter().zip(flat) {
            let of = if is_setting { run.spec.engine.as_str() } else { "" };
            seen.entry(of).or_default().insert(flat.get(**key));
        }
        seen.values().any(|values| values.len() > 1)
    };
    let told_anyway = |key: &&&String| ["engine", "workload"].contains(&key.as_str());
    let mut keys: Vec<String> = keys
        .iter()
        .filter(|key| !told_anyway(key) && differs(key))
        .map(|key| (*key).clone())
        .collect();
    // What runs under comes before what goes wrong and what is set.
    let order =
        ["load", "plan", "hosts", "partitions", "profile", "autoscale", "host_events", "faults"];
    let rank = |key: &String| order.iter().position(|known| known == key).unwrap_or(order.len());
    keys.sort_by_key(|key| (rank(key), key.clone()));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_what_differs() {
        let texts = [
            "engine = 'netherite'\nhosts = 4\nseed = 1\n[settings]\n'netherite.speculation' = 'local'\n",
            "engine = 'netherite'\nhosts = 4\nseed = 2\n[settings]\n'netherite.speculation' = 'local'\n",
            "engine = 'netherite'\nhosts = 4\nseed = 1\n[settings]\n'netherite.speculation' = 'none'\n",
            "engine = 'in-memory'\nhosts = 4\nseed = 1\n[settings]\n",
        ];
        let runs: Vec<Run> = texts.iter().map(|text| crate::report::tests::run_of(text)).collect();
        let labels = Labels::of(&runs);
        assert_eq!(labels.varying, ["settings.netherite.speculation"]);
        assert_eq!(labels.group_of, [0, 0, 1, 2]);
        let group: Vec<&str> = labels.groups.iter().map(|group| group.label.as_str()).collect();
        assert_eq!(
            group,
            ["netherite · speculation=local", "netherite · speculation=none", "in-memory"]
        );
        assert_eq!(labels.of_run(&runs[1], 1), "netherite · speculation=local · seed 2");
    }

    #[test]
    fn engines_under_the_same_conditions_stand_side_by_side() {
        let of = |engine: &str, load: &str, seed: u64| {
            let spec = format!("engine = '{engine}'\nload = '{load}'\nseed = {seed}\n");
            crate::report::tests::run_of(&spec)
        };
        let mut runs = vec![
            of("netherite", "batch:100", 2),
            of("in-memory", "batch:20", 1),
            of("netherite", "batch:20", 1),
            of("netherite", "batch:100", 1),
            of("in-memory", "batch:100", 1),
        ];
        Labels::sort(&mut runs);
        let labels = Labels::of(&runs);
        let labels: Vec<String> =
            runs.iter().enumerate().map(|(index, run)| labels.of_run(run, index)).collect();
        let expected = [
            "in-memory · load=batch:20 · seed 1",
            "netherite · load=batch:20 · seed 1",
            "in-memory · load=batch:100 · seed 1",
            "netherite · load=batch:100 · seed 1",
            "netherite · load=batch:100 · seed 2",
        ];
        assert_eq!(labels, expected);
    }

    #[test]
    fn long_values_are_cut_between_letters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(60)).chars().count(), VALUE_MAX);
    }
}
