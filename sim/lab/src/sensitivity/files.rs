//! What an analysis of sensitivity leaves on disk.
//!
//! | file | holds |
//! |---|---|
//! | `sensitivity.toml` | what was analysed: run, metric, parameters, factor, seeds |
//! | `summary.json` | the outcome, as `--json` prints it |
//! | `table.csv` | one row for each value of each parameter, by swing |
//! | `sensitivity.svg`, `.png` | the [`SHOWN_MAX`] parameters that move the result most |

use super::{Direction, Effect, ParameterRow, SensitivityOutcome, ValueEffect};
use crate::experiment::csv_of;
use crate::figure::{FigureError, TornadoBar, TornadoFigure, TornadoRow, TornadoSide};
use crate::measure::round;
use crate::results::{PROFILE, SPEC, SUMMARY};
use crate::spec::RunSpec;
use serde::Serialize;
use std::collections::BTreeMap;

/// The file by which an earlier analysis is known.
pub const MARKER: &str = "sensitivity.toml";
/// The figure, without its ending.
const FIGURE: &str = "sensitivity";
/// Most parameters of the figure.
pub const SHOWN_MAX: usize = 15;

/// What was analysed.
#[derive(Serialize)]
struct Asked<'a> {
    metric: &'a str,
    parameters: &'a [String],
    factor: f64,
    seeds: &'a [u64],
    run: RunSpec,
}

impl SensitivityOutcome {
    /// All files of the analysis, with their contents.
    ///
    /// # Errors
    /// If the figure cannot be drawn.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, FigureError> {
        let mut run = self.base().clone();
        let mut files = BTreeMap::new();
        if let Some(text) = self.checked.base.profile_text() {
            files.insert(PROFILE.to_owned(), text.as_bytes().to_vec());
            run.profile = PROFILE.to_owned();
        }
        let asked = &self.checked.asked;
        let asked = Asked {
            metric: self.metric,
            parameters: &asked.parameters,
            factor: asked.factor,
            seeds: &asked.seeds,
            run: run.clone(),
        };
        let asked = toml::to_string(&asked).expect("invariant: an analysis has a TOML form");
        files.insert(MARKER.to_owned(), asked.into_bytes());
        files.insert(SPEC.to_owned(), run.to_toml().into_bytes());
        files.insert(SUMMARY.to_owned(), (self.to_json() + "\n").into_bytes());
        files.insert("table.csv".to_owned(), self.table_csv());
        if let Some(figure) = self.figure(&run.profile) {
            files.insert(format!("{FIGURE}.svg"), figure.to_svg()?.into_bytes());
            files.insert(format!("{FIGURE}.png"), figure.to_png()?);
        }
        Ok(files)
    }

    /// One row for each value of each parameter.
    pub fn table_csv(&self) -> Vec<u8> {
        let heading = [
            "rank",
            "parameter",
            "default",
            "value",
            "direction",
            "effect",
            "mean",
            "change",
            "change_low",
            "change_high",
            "swing",
            "swing_low",
            "swing_high",
            "failed_checks",
        ];
        let rows = self.parameters.iter().enumerate().flat_map(|(index, row)| {
            row.values.iter().map(move |value| csv_row(index + 1, row, value))
        });
        csv_of(heading, rows)
    }

    fn figure(&self, profile: &str) -> Option<TornadoFigure> {
        let moving = self.parameters.iter().filter(|row| row.moves());
        let rows: Vec<TornadoRow> =
            moving.take(SHOWN_MAX).map(tornado_row).filter(|row| !row.bars.is_empty()).collect();
        if rows.is_empty() {
            return None;
        }
        let (spec, still) =
            (self.base(), self.parameters.iter().filter(|row| row.has_no_effect()).count());
        let unit = if self.unit.is_empty() { "count" } else { self.unit };
        Some(TornadoFigure {
            title: format!(
                "What moves {} of {} on {} most",
                self.metric, self.workload, self.engine
            ),
            axis_title: format!(
                "change of {} from its default of {} {unit}, in {unit}",
                self.metric,
                round(self.default_mean, 3)
            ),
            rows,
            caption: format!(
                "One parameter at a time, numbers divided and multiplied by {}, under {} seeds each; bars are \
                 means of paired differences with their 95 % interval (Student's t). {} parameters were \
                 tried, {still} of which leave the run as it is. Load {}, plan {}, {} hosts, {} partitions, \
                 profile {profile}.",
                self.checked.asked.factor,
                self.seeds.len(),
                self.parameters.len(),
                self.load,
                spec.plan,
                spec.hosts,
                spec.partitions,
            ),
        })
    }
}

fn tornado_row(row: &ParameterRow) -> TornadoRow {
    let bar = |value: &ValueEffect| {
        let Effect::Change(difference) = &value.effect else { return None };
        Some(TornadoBar {
            label: value.value.clone(),
            side: match value.direction {
                Direction::Low => TornadoSide::Low,
                Direction::High => TornadoSide::High,
                Direction::Other => TornadoSide::Other,
            },
            change: difference.difference,
            interval: difference.interval.map(|interval| (interval.low, interval.high)),
        })
    };
    TornadoRow {
        label: row.name.clone(),
        default: row.default.clone(),
        bars: row.values.iter().filter_map(bar).collect(),
    }
}

fn csv_row(rank: usize, row: &ParameterRow, value: &ValueEffect) -> [String; 14] {
    let shown =
        |value: Option<f64>| value.map(|value| round(value, 6).to_string()).unwrap_or_default();
    let (effect, change) = match &value.effect {
        Effect::None => ("none".to_owned(), None),
        Effect::Change(change) => ("change".to_owned(), Some(change)),
        Effect::Refused(why) => (format!("refused: {why}"), None),
        Effect::NothingMeasured => ("nothing measured".to_owned(), None),
    };
    let swing = row.swing.as_ref().map(|swing| &swing.difference);
    let interval = change.and_then(|change| change.interval);
    let swing_interval = swing.and_then(|swing| swing.interval);
    let direction = match value.direction {
        Direction::Low => "low",
        Direction::High => "high",
        Direction::Other => "other",
    };
    [
        rank.to_string(),
        row.name.clone(),
        row.default.clone(),
        value.value.clone(),
        direction.to_owned(),
        effect,
        shown(change.map(|change| change.other)),
        shown(change.map(|change| change.difference)),
        shown(interval.map(|interval| interval.low)),
        shown(interval.map(|interval| interval.high)),
        shown(swing.map(|swing| swing.difference)),
        shown(swing_interval.map(|interval| interval.low)),
        shown(swing_interval.map(|interval| interval.high)),
        value.failed_checks.iter().cloned().collect::<Vec<_>>().join(" "),
    ]
}
