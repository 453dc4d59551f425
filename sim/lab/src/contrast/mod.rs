//! Two results side by side: runs are paired, and each metric has its difference, interval and verdict.
//!
//! **Pairing.** The first of these ways in which every run has at most one partner, and some run has one:
//!
//! 1. *by specification*: two runs of one specification, engine, settings and seed included (two builds);
//! 2. *by specification but for the engine*: what is left are the engine and its settings;
//! 3. *by seed*: each result has runs of one specification; what they differ in is told;
//! 4. *not at all*: each result has runs of one specification, and no seed in common: independent samples.
//!
//! Runs of one seed meet the same arrivals and the same latencies where they do the same things, so paired
//! differences are much surer than those of independent runs. Groups of pairs that differ in nothing but
//! the seed have a table of their own, and where latencies of single requests are there one of percentiles of
//! all their runs together ([`PooledRow`]). Every interval is by itself: among 20 metrics without any
//! difference, one is shown at 95 %.

mod pooled;
mod read;

pub use pooled::PooledRow;
pub use read::{ContrastError, ResultSet};

use crate::metric::{Limit, METRICS, Metric};
use crate::statistics::{Confidence, Difference, Verdict};
use read::Run;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How runs were paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// Everything is the same.
    BySpecification,
    /// Everything but the engine and its settings.
    ByAllButEngine,
    /// The seed alone.
    BySeed,
    /// Nothing.
    Independent,
}

impl Pairing {
    /// The way in words.
    pub fn words(self) -> &'static str {
        match self {
            Pairing::BySpecification => "paired by specification and seed",
            Pairing::ByAllButEngine => {
                "paired by seed and specification but for engine and settings"
            }
            Pairing::BySeed => "paired by seed",
            Pairing::Independent => "not paired: no seed in common",
        }
    }

    fn key(self, run: &Run) -> Vec<String> {
        let of = |map: &BTreeMap<String, String>| -> Vec<String> {
            map.iter().map(|(key, value)| format!("{key} {value}")).collect()
        };
        match self {
            Pairing::BySpecification => [of(&run.shared), of(&run.engine)].concat(),
            Pairing::ByAllButEngine => of(&run.shared),
            Pairing::BySeed | Pairing::Independent => Vec::new(),
        }
    }
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Contrast {
    /// The baseline, as it was named.
    pub baseline: String,
    /// The other, as it was named.
    pub other: String,
    /// How runs were paired.
    pub pairing: Pairing,
    /// Runs of the baseline and of the other that have no partner.
    pub without_partner: [usize; 2],
    /// Groups of runs that differ in nothing but the seed.
    pub groups: Vec<ContrastGroup>,
}

/// Runs that differ in nothing but the seed and what is compared.
#[derive(Clone, Debug, Serialize)]
pub struct ContrastGroup {
    /// What both sides have in common.
    pub shared: BTreeMap<String, String>,
    /// What they differ in: by key, the baseline's and the other's.
    pub differing: BTreeMap<String, [String; 2]>,
    /// The seeds of the pairs; of independent runs, all.
    pub seeds: Vec<u64>,
    /// How many pairs are the same run, by their digest.
    pub same_runs: usize,
    /// How differences and intervals came about.
    pub method: String,
    /// One for each metric that both sides have.
    pub metrics: Vec<MetricRow>,
    /// Percentiles of all runs of each side together.
    pub pooled: Vec<PooledRow>,
}

/// A metric on both sides.
#[derive(Clone, Debug, Serialize)]
pub struct MetricRow {
    /// Its name.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// What it says.
    pub verdict: Verdict,
}

/// Pairs of runs, by what they have in common.
type Groups<'a> = BTreeMap<Vec<String>, Vec<(Option<&'a Run>, Option<&'a Run>)>>;

/// Compares two results.
///
/// # Errors
/// If their runs cannot be paired.
pub fn contrast(
    baseline: &ResultSet,
    other: &ResultSet,
    confidence: Confidence,
) -> Result<Contrast, ContrastError> {
    let pairings = [Pairing::BySpecification, Pairing::ByAllButEngine, Pairing::BySeed];
    let matched = pairings.into_iter().find_map(|way| Some((way, pair(baseline, other, way)?)));
    let (pairing, groups) = match matched {
        Some(found) => found,
        None if baseline.is_one_specification() && other.is_one_specification() => {
            (Pairing::Independent, independent(baseline, other))
        }
        None => {
            return Err(ContrastError::NoPairs {
                baseline: baseline.place().to_owned(),
                other: other.place().to_owned(),
            });
        }
    };
    let paired: usize = groups.values().map(Vec::len).sum();
    let left = |set: &ResultSet| match pairing {
        Pairing::Independent => 0,
        _ => set.runs().len() - paired,
    };
    Ok(Contrast {
        baseline: baseline.place().to_owned(),
        other: other.place().to_owned(),
        pairing,
        without_partner: [left(baseline), left(other)],
        groups: groups
            .into_values()
            .map(|runs| ContrastGroup::of(&runs, pairing, confidence))
            .collect(),
    })
}

/// The runs in pairs; `None` if a run would have several partners, or none has one.
fn pair<'a>(baseline: &'a ResultSet, other: &'a ResultSet, way: Pairing) -> Option<Groups<'a>> {
    let by_key = |set: &'a ResultSet| {
        let mut runs: BTreeMap<(Vec<String>, u64), &Run> = BTreeMap::new();
        let all = set.runs().iter();
        let distinct =
            all.map(|run| runs.insert((way.key(run), run.seed), run)).all(|old| old.is_none());
        distinct.then_some(runs)
    };
    let (one, two) = (by_key(baseline)?, by_key(other)?);
    let mut groups = Groups::new();
    for ((key, seed), run) in one {
        if let Some(partner) = two.get(&(key.clone(), seed)) {
            groups.entry(key).or_default().push((Some(run), Some(*partner)));
        }
    }
    (!groups.is_empty()).then_some(groups)
}

fn independent<'a>(baseline: &'a ResultSet, other: &'a ResultSet) -> Groups<'a> {
    let of_baseline = baseline.runs().iter().map(|run| (Some(run), None));
    let of_other = other.runs().iter().map(|run| (None, Some(run)));
    Groups::from([(Vec::new(), of_baseline.chain(of_other).collect())])
}

impl ContrastGroup {
    fn of(
        runs: &[(Option<&Run>, Option<&Run>)],
        pairing: Pairing,
        confidence: Confidence,
    ) -> ContrastGroup {
        let one: Vec<&Run> = runs.iter().filter_map(|(run, _)| *run).collect();
        let two: Vec<&Run> = runs.iter().filter_map(|(_, run)| *run).collect();
        let same = |(one, two): &(Option<&Run>, Option<&Run>)| {
            let digest = |run: &Option<&Run>| run.and_then(|run| run.digest.clone());
            digest(one).is_some() && digest(one) == digest(two)
        };
        let (shared, differing) = in_common(one[0], two[0]);
        let seeds: BTreeSet<u64> = one.iter().chain(&two).map(|run| run.seed).collect();
        let metrics: Vec<MetricRow> = METRICS
            .iter()
            .filter_map(|metric| MetricRow::of(metric, &one, &two, pairing, confidence))
            .collect();
        let method = metrics.first().map(|row| {
            let difference = &row.difference;
            match difference.interval {
                Some(_) => format!("{}; {}", difference.method(), difference.design.tests()),
                None => difference.method(),
            }
        });
        ContrastGroup {
            shared,
            differing,
            seeds: seeds.into_iter().collect(),
            same_runs: runs.iter().filter(|pair| same(pair)).count(),
            method: method.unwrap_or_default(),
            metrics,
            pooled: PooledRow::all(&one, &two, pairing),
        }
    }
}

/// What two runs have in common, and what they differ in.
fn in_common(one: &Run, two: &Run) -> (BTreeMap<String, String>, BTreeMap<String, [String; 2]>) {
    let (mut shared, mut differing) = (BTreeMap::new(), BTreeMap::new());
    let all = |run: &Run| -> BTreeMap<String, String> {
        run.shared.clone().into_iter().chain(run.engine.clone()).collect()
    };
    let (one, two) = (all(one), all(two));
    for key in one.keys().chain(two.keys()).collect::<BTreeSet<_>>() {
        let value = |run: &BTreeMap<String, String>| run.get(key).cloned().unwrap_or_default();
        match value(&one) == value(&two) {
            true => drop(shared.insert(key.clone(), value(&one))),
            false => drop(differing.insert(key.clone(), [value(&one), value(&two)])),
        }
    }
    (shared, differing)
}

impl MetricRow {
    /// The metric, if all runs of both sides have it.
    fn of(
        metric: &Metric,
        one: &[&Run],
        two: &[&Run],
        pairing: Pairing,
        confidence: Confidence,
    ) -> Option<MetricRow> {
        let values = |runs: &[&Run]| -> Option<Vec<f64>> {
            runs.iter().map(|run| run.values.get(metric.name).copied()).collect()
        };
        let (one, two) = (values(one)?, values(two)?);
        let difference = match pairing {
            Pairing::Independent => Difference::independent(&one, &two, confidence),
            _ => Difference::paired(&one, &two, confidence),
        }?;
        let verdict = Verdict::of(&difference, metric.better);
        Some(MetricRow { metric: metric.name, unit: metric.unit, difference, verdict })
    }
}

impl Contrast {
    /// The outcome on one line, with the limits that are exceeded.
    pub fn to_json(&self, exceeded: &[String]) -> String {
        #[derive(Serialize)]
        struct WithLimits<'a> {
            #[serde(flatten)]
            contrast: &'a Contrast,
            exceeded: &'a [String],
        }
        let all = WithLimits { contrast: self, exceeded };
        serde_json::to_string(&all).expect("invariant: a contrast has a JSON form")
    }

    /// A line for each group in which a limit is exceeded.
    ///
    /// # Errors
    /// A limit on what was not measured on both sides.
    pub fn exceeded(&self, limits: &[Limit]) -> Result<Vec<String>, ContrastError> {
        let mut lines = Vec::new();
        for limit in limits {
            let mut found = false;
            for group in &self.groups {
                let row = group.metrics.iter().find(|row| row.metric == limit.metric.name);
                let Some(row) = row else { continue };
                found = true;
                if let Some(line) = limit.exceeded(&row.difference) {
                    let place = match self.groups.len() {
                        1 => String::new(),
                        _ => format!(" in {}", group.name()),
                    };
                    lines.push(format!("{line}{place}"));
                }
            }
            if !found {
                let known: BTreeSet<&str> = self
                    .groups
                    .iter()
                    .flat_map(|group| &group.metrics)
                    .map(|row| row.metric)
                    .collect();
                return Err(ContrastError::NotMeasured {
                    metric: limit.metric.name,
                    known: known.into_iter().collect::<Vec<_>>().join(", "),
                });
            }
        }
        Ok(lines)
    }
}

impl ContrastGroup {
    /// The group in a few words: what tells it from others.
    pub fn name(&self) -> String {
        const TOLD: [&str; 6] = ["workload", "engine", "panel", "series", "load", "hosts"];
        let told = TOLD.iter().filter_map(|key| {
            let value = self.shared.get(*key).filter(|value| !value.is_empty())?;
            Some(match *key {
                "workload" | "engine" | "panel" | "series" => value.clone(),
                key => format!("{key} {value}"),
            })
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests;
