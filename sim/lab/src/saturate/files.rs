//! What a search leaves on disk.
//!
//! | file | holds |
//! |---|---|
//! | `saturation.toml` | what was searched for: target, rates, load, seeds, place, settings |
//! | `summary.json` | the outcome, as `--json` prints it |
//! | `table.csv` | one row for each rate that was tried under each seed, with the digest of the run |
//! | `saturation.svg`, `.png` | latency over the rates, with the target and the interval |

use super::{Judgement, SaturationOutcome, Trial};
use crate::experiment::csv_of;
use crate::figure::{FigureError, ResponseFigure, ResponsePoint};
use crate::measure::round;
use crate::results::{PROFILE, SUMMARY};
use crate::span;
use crate::statistics::mean;
use serde::Serialize;
use std::collections::BTreeMap;

/// The file by which an earlier search is known.
pub const MARKER: &str = "saturation.toml";
/// The figure, without its ending.
const FIGURE: &str = "saturation";

/// What was searched for.
#[derive(Serialize)]
struct Asked<'a> {
    engine: &'a str,
    workload: String,
    target: String,
    completes: f64,
    rate_start: f64,
    rate_min: f64,
    rate_max: f64,
    tolerance: f64,
    duration: String,
    settle: String,
    seeds: &'a [u64],
    plan: &'a str,
    hosts: u32,
    partitions: u32,
    profile: &'a str,
    settings: &'a BTreeMap<String, String>,
}

impl SaturationOutcome {
    /// All files of the search, with their contents.
    ///
    /// # Errors
    /// If the figure cannot be drawn.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, FigureError> {
        let mut files = BTreeMap::from([
            (MARKER.to_owned(), self.asked_toml().into_bytes()),
            (SUMMARY.to_owned(), (self.to_json() + "\n").into_bytes()),
            ("table.csv".to_owned(), self.table_csv()),
        ]);
        if let Some(text) = self.checked.first.profile_text() {
            files.insert(PROFILE.to_owned(), text.as_bytes().to_vec());
        }
        if let Some(figure) = self.figure() {
            files.insert(format!("{FIGURE}.svg"), figure.to_svg()?.into_bytes());
            files.insert(format!("{FIGURE}.png"), figure.to_png()?);
        }
        Ok(files)
    }

    /// The profile's name: where a file of a profile lay may not reach a result.
    fn profile(&self) -> &str {
        match self.checked.first.profile_text() {
            Some(_) => PROFILE,
            None => &self.checked.first.spec().profile,
        }
    }

    fn asked_toml(&self) -> String {
        let (asked, spec) = (&self.checked.asked, self.checked.first.spec());
        let asked = Asked {
            engine: &spec.engine,
            workload: spec.workload.to_string(),
            target: asked.target.to_string(),
            completes: asked.completes,
            rate_start: asked.rates.start,
            rate_min: asked.rates.min,
            rate_max: asked.rates.max,
            tolerance: asked.rates.tolerance,
            duration: span::format(asked.duration),
            settle: span::format(asked.settle),
            seeds: &asked.seeds,
            plan: &spec.plan,
            hosts: spec.hosts,
            partitions: spec.partitions,
            profile: self.profile(),
            settings: &spec.settings,
        };
        toml::to_string(&asked).expect("invariant: a search has a TOML form")
    }

    fn trials(&self) -> impl Iterator<Item = (u64, &Trial)> {
        self.searches
            .iter()
            .flat_map(|search| search.trail.iter().map(move |trial| (search.seed, trial)))
    }

    /// One row for each rate that was tried.
    pub fn table_csv(&self) -> Vec<u8> {
        let heading = [
            "seed",
            "rate_per_s",
            "arrivals",
            "warm_up",
            "latency_ms",
            "completed_part",
            "judgement",
            "digest",
        ];
        let shown = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        csv_of(
            heading,
            self.trials().map(|(seed, trial)| {
                [
                    seed.to_string(),
                    trial.rate_per_s.to_string(),
                    trial.arrivals.to_string(),
                    trial.warm_up.to_string(),
                    shown(trial.latency_ms),
                    shown(trial.completed_part),
                    trial.judgement.words(),
                    trial.digest.clone().unwrap_or_default(),
                ]
            }),
        )
    }

    /// The rates that were tried, by rate, with their trials under all seeds.
    pub fn by_rate(&self) -> Vec<(f64, Vec<&Trial>)> {
        let mut all: Vec<&Trial> = self.trials().map(|(_, trial)| trial).collect();
        all.sort_by(|one, other| one.rate_per_s.total_cmp(&other.rate_per_s));
        let same = |one: &&Trial, other: &&Trial| one.rate_per_s == other.rate_per_s;
        all.chunk_by(same).map(|trials| (trials[0].rate_per_s, trials.to_vec())).collect()
    }

    /// Latency over the rates; `None` if nothing was measured.
    fn figure(&self) -> Option<ResponseFigure> {
        let point = |(rate, trials): (f64, Vec<&Trial>)| {
            let values: Vec<f64> = trials.iter().filter_map(|trial| trial.latency_ms).collect();
            let low = values.iter().copied().reduce(f64::min)?;
            let high = values.iter().copied().reduce(f64::max)?;
            let met = trials.iter().all(|trial| trial.judgement == Judgement::Met);
            Some(ResponsePoint { rate, value: mean(&values)?, low, high, met })
        };
        let points: Vec<ResponsePoint> = self.by_rate().into_iter().filter_map(point).collect();
        if points.is_empty() {
            return None;
        }
        let metric = self.target.metric;
        Some(ResponseFigure {
            title: format!(
                "Highest rate of {} on {} with {}",
                self.workload, self.engine, self.target
            ),
            engine: self.engine.clone(),
            x_title: "offered load, orchestrations a second (logarithmic)".to_owned(),
            y_title: format!("{}, {} (logarithmic)", metric.name, metric.unit),
            points,
            bound: self.target.bound(),
            band: self.interval.map(|interval| (interval.low, interval.high)),
            caption: self.caption(),
        })
    }

    fn caption(&self) -> String {
        let (asked, spec) = (&self.checked.asked, self.checked.first.spec());
        let found = match self.rate_per_s {
            None => "No rate met the target under every seed".to_owned(),
            Some(rate) => {
                let at_least = if self.at_least { "at least " } else { "" };
                let interval = self.interval.map(|interval| {
                    format!(
                        " (95 % interval {} to {}, shaded)",
                        round(interval.low, 1),
                        round(interval.high, 1)
                    )
                });
                let rate = round(rate, 1);
                format!("Highest rate {at_least}{rate} a second{}", interval.unwrap_or_default())
            }
        };
        format!(
            "{found}: {}. Each rate for {}, {} {} {}, {} partitions, profile {}, {} seeds; bars from \
             the lowest to the highest seed.",
            self.method,
            span::format(asked.duration),
            spec.hosts,
            spec.plan,
            if spec.hosts == 1 { "host" } else { "hosts" },
            spec.partitions,
            self.profile(),
            asked.seeds.len()
        )
    }
}
