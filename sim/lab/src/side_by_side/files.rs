//! What a comparison of engines leaves on disk: a table, its runs, what was compared, and one figure.
//!
//! | file | holds |
//! |---|---|
//! | `comparison.toml` | engines, workloads, load, seeds and place: what repeats it |
//! | `table.csv` | one row for each workload and engine |
//! | `runs.csv` | one row for each run, with its digest |
//! | `comparison.svg`, `.png` | the distribution of latency by engine, a plot for each workload |

use super::{EngineRow, Group, Measured, SideBySideOutcome};
use crate::experiment::csv_of;
use crate::figure::{CdfCurve, CdfFigure, CdfPanel, FigureError, Stroke};
use crate::results::PROFILE;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The file by which an earlier comparison is known.
pub const MARKER: &str = "comparison.toml";
/// The figure, without its ending.
const FIGURE: &str = "comparison";

/// What was compared.
#[derive(Serialize)]
struct Asked<'a> {
    engines: &'a [String],
    workloads: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<String>,
    seeds: &'a [u64],
    plan: &'a str,
    hosts: u32,
    partitions: u32,
    profile: &'a str,
}

impl SideBySideOutcome {
    /// All files of the comparison, with their contents.
    ///
    /// # Errors
    /// If the figure cannot be drawn.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, FigureError> {
        let mut files = BTreeMap::from([
            (MARKER.to_owned(), self.asked_toml().into_bytes()),
            ("table.csv".to_owned(), self.table_csv()),
            ("runs.csv".to_owned(), self.runs_csv()),
        ]);
        if let Some(text) = self.profile_text() {
            files.insert(PROFILE.to_owned(), text.as_bytes().to_vec());
        }
        if let Some(figure) = self.figure() {
            files.insert(format!("{FIGURE}.svg"), figure.to_svg()?.into_bytes());
            files.insert(format!("{FIGURE}.png"), figure.to_png()?);
        }
        Ok(files)
    }

    /// The text of a profile that is not an embedded one.
    fn profile_text(&self) -> Option<&str> {
        self.checked.specs().next().and_then(|spec| spec.profile_text())
    }

    /// The profile's name: where a file of a profile lay may not reach a result.
    fn profile(&self) -> &str {
        match self.profile_text() {
            Some(_) => PROFILE,
            None => &self.checked.asked.place.profile,
        }
    }

    fn asked_toml(&self) -> String {
        let asked = &self.checked.asked;
        let place = &asked.place;
        let asked = Asked {
            engines: &asked.engines,
            workloads: self.groups.iter().map(|group| group.workload.clone()).collect(),
            load: self.load().map(ToString::to_string),
            seeds: &asked.seeds,
            plan: &place.plan,
            hosts: place.hosts,
            partitions: place.partitions,
            profile: self.profile(),
        };
        toml::to_string(&asked).expect("invariant: a comparison has a TOML form")
    }

    fn rows(&self) -> impl Iterator<Item = (&Group, &EngineRow)> {
        self.groups.iter().flat_map(|group| group.engines.iter().map(move |row| (group, row)))
    }

    /// One row for each workload and engine.
    pub fn table_csv(&self) -> Vec<u8> {
        let heading = [
            "workload",
            "load",
            "engine",
            "runs",
            "completed",
            "unit",
            "throughput_per_s",
            "throughput_min_per_s",
            "throughput_max_per_s",
            "p50_ms",
            "p95_ms",
            "p99_ms",
            "max_ms",
            "client_p50_ms",
            "client_p95_ms",
            "client_p99_ms",
            "operations_per_orchestration",
            "kilobytes_per_orchestration",
            "usd_per_million",
            "failed_checks",
            "refused",
        ];
        csv_of(
            heading,
            self.rows().map(|(group, row)| {
                let measured = row.measured.as_ref();
                let number = |of: fn(&Measured) -> Option<f64>| {
                    measured.and_then(of).map(|value| value.to_string()).unwrap_or_default()
                };
                let count = |of: fn(&Measured) -> u64| {
                    measured.map(|measured| of(measured).to_string()).unwrap_or_default()
                };
                let failed = measured.map(|measured| measured.failed_checks.iter());
                let failed: Vec<&str> = failed.into_iter().flatten().map(String::as_str).collect();
                [
                    group.workload.clone(),
                    group.load.clone(),
                    row.engine.clone(),
                    count(|measured| measured.runs),
                    count(|measured| measured.completed),
                    group.unit.clone(),
                    number(|measured| measured.throughput_per_s),
                    number(|measured| measured.throughput_min_per_s),
                    number(|measured| measured.throughput_max_per_s),
                    number(|measured| measured.latency_ms.p50),
                    number(|measured| measured.latency_ms.p95),
                    number(|measured| measured.latency_ms.p99),
                    number(|measured| measured.latency_ms.max),
                    number(|measured| measured.client_latency_ms.and_then(|client| client.p50)),
                    number(|measured| measured.client_latency_ms.and_then(|client| client.p95)),
                    number(|measured| measured.client_latency_ms.and_then(|client| client.p99)),
                    number(|measured| measured.operations_each),
                    number(|measured| measured.kilobytes_each),
                    number(|measured| measured.usd_per_million),
                    failed.join(" "),
                    row.refused.clone().unwrap_or_default(),
                ]
            }),
        )
    }

    /// One row for each run.
    pub fn runs_csv(&self) -> Vec<u8> {
        let heading = [
            "workload",
            "engine",
            "load",
            "seed",
            "digest",
            "completed",
            "throughput_per_s",
            "failed_checks",
        ];
        csv_of(
            heading,
            self.runs.iter().map(|run| {
                [
                    run.workload.clone(),
                    run.engine.clone(),
                    run.load.clone(),
                    run.seed.to_string(),
                    run.digest.clone().unwrap_or_else(|| "refused".to_owned()),
                    run.completed.to_string(),
                    run.throughput_per_s.map(|rate| rate.to_string()).unwrap_or_default(),
                    run.failed_checks.join(" "),
                ]
            }),
        )
    }

    /// The distribution of latency by engine; `None` if nothing completed.
    pub fn figure(&self) -> Option<CdfFigure> {
        let one_load: BTreeSet<&str> =
            self.groups.iter().map(|group| group.load.as_str()).collect();
        let panel = |group: &Group| {
            let curves: Vec<CdfCurve> = group.engines.iter().filter_map(curve).collect();
            let title = match one_load.len() {
                1 => group.workload.clone(),
                _ => format!("{}, {}", group.workload, group.load),
            };
            // Parameters may go on in the next line.
            let title = title.replace(", ", ",").replace(',', ", ");
            (!curves.is_empty()).then_some(CdfPanel { title, curves, marks: Vec::new() })
        };
        let panels: Vec<CdfPanel> = self.groups.iter().filter_map(panel).collect();
        let title = match &self.groups[..] {
            [only] => format!("Latency of {} by engine", only.workload),
            _ => "Latency by engine".to_owned(),
        };
        let caption = self.caption(&one_load);
        // Workloads differ by orders of magnitude; engines are compared within one.
        (!panels.is_empty()).then_some(CdfFigure { title, panels, own_axes: true, caption })
    }

    fn caption(&self, loads: &BTreeSet<&str>) -> String {
        let asked = &self.checked.asked;
        let place = &asked.place;
        let mut caption = match loads.first() {
            Some(load) if loads.len() == 1 => format!("Load {load}, plan"),
            _ => "Plan".to_owned(),
        };
        let hosts = if place.hosts == 1 { "host" } else { "hosts" };
        let seeds: Vec<String> = asked.seeds.iter().map(u64::to_string).collect();
        caption += &format!(
            " {}, {} {hosts}, {} partitions, profile {}, {} {}. Latency as the engine reports it: \
             last update minus creation; of a job, the duration that its benchmark defines.",
            place.plan,
            place.hosts,
            place.partitions,
            self.profile(),
            if seeds.len() == 1 { "seed" } else { "seeds" },
            seeds.join(", ")
        );
        let refused: Vec<String> = self
            .rows()
            .filter(|(_, row)| row.refused.is_some())
            .map(|(group, row)| format!("{} ({})", row.engine, group.workload))
            .collect();
        match refused.is_empty() {
            true => caption,
            false => format!("{caption} Not carried by {}.", refused.join(", ")),
        }
    }
}

/// The curve of an engine: steps, since some loads complete only a few orchestrations. `None` if none
/// completed.
fn curve(row: &EngineRow) -> Option<CdfCurve> {
    let (mut points, mut below) = (Vec::new(), 0.0);
    for (latency, fraction) in row.measured.as_ref()?.latencies.points() {
        points.extend([(latency, below), (latency, fraction)]);
        below = fraction;
    }
    if points.is_empty() {
        return None;
    }
    let engine = row.engine.clone();
    Some(CdfCurve { label: engine.clone(), engine, stroke: Stroke::Solid, points })
}
