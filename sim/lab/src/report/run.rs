//! A run, read from the folder that `sim run --out` has written.
//!
//! `spec.toml` and `summary.json` must be there; tables that are not are left out of the page (a
//! sweep may keep less of each run). A file that is there and damaged is an error: a page that
//! silently lacks a run would be believed.

use super::ReportError;
use super::find::Place;
use super::latency::quantiles;
use super::picture::Picture;
use super::series::{Ended, Series, Sources};
use super::table::Table;
use super::trace::SpaceTime;
use crate::results::{Provenance, SPEC, SUMMARY};
use crate::spec::RunSpec;
use crate::summary::Summary;
use crate::text_file;
use std::path::Path;
use std::time::Duration;

/// Something that goes wrong by the specification of the run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Disturbance {
    /// As on the command line.
    pub name: String,
    /// When it begins, in seconds from the start of the run.
    pub from: f64,
    /// When it is over.
    pub to: f64,
}

/// A run.
pub(super) struct Run {
    /// Its path from the searched folder.
    pub name: String,
    pub spec: RunSpec,
    /// The specification as the file has it.
    pub spec_text: String,
    pub summary: Summary,
    pub provenance: Option<Provenance>,
    /// Quantiles of the latency that the engine reports, and that clients see.
    pub latency: Option<Vec<f64>>,
    pub client_latency: Option<Vec<f64>>,
    pub series: Series,
    pub operations: Option<Table>,
    pub counters: Option<Table>,
    pub stuck: Option<Table>,
    pub figures: Vec<Picture>,
    /// When the load begins, from the start of the run.
    pub settle: Duration,
    pub disturbances: Vec<Disturbance>,
    /// The part of the trace that is shown, if the run was traced.
    pub trace: Option<SpaceTime>,
}

impl Run {
    /// Reads a run; its series get at most so many points.
    pub(super) fn read(place: &Place, points: usize) -> Result<Run, ReportError> {
        let path = &place.path;
        let spec_text = text(&path.join(SPEC))?;
        let spec = RunSpec::from_toml(&spec_text).map_err(|error| match error {
            // The place is said once.
            crate::spec::SpecError::File { problem, .. } => {
                ReportError::damaged(&path.join(SPEC), problem)
            }
            other => ReportError::damaged(&path.join(SPEC), other),
        })?;
        let summary: Summary = json(&path.join(SUMMARY))?;
        let provenance = path.join("provenance.json");
        let provenance = provenance.is_file().then(|| json(&provenance)).transpose()?;
        let table = |name: &str| Table::read_if_there(&path.join(name));
        let latencies = table("latency.csv")?;
        let latencies = latencies.as_ref().map(|table| Latencies::of(table, path)).transpose()?;
        let latencies = latencies.unwrap_or_default();
        let (rates, levels) = (table("timeseries.csv")?, table("levels.csv")?);
        let ended = &latencies.ended;
        let sources =
            Sources { folder: path, rates: rates.as_ref(), ended, levels: levels.as_ref() };
        let series = sources.series(points)?;
        let settle = spec.load.settle();
        Ok(Run {
            name: place.name.clone(),
            disturbances: disturbances(&spec, settle),
            spec,
            spec_text,
            summary,
            provenance,
            latency: quantiles(latencies.ended.iter().map(|ended| ended.latency).collect()),
            client_latency: quantiles(latencies.client),
            series,
            operations: table("operations.csv")?,
            counters: table("counters.csv")?,
            stuck: table("stuck.csv")?,
            figures: Picture::all_in(&path.join("figures"))?,
            settle,
            trace: None,
        })
    }

    /// What it was made with, if that is told.
    pub(super) fn versions(&self) -> Option<String> {
        let versions = &self.provenance.as_ref()?.versions;
        let shown = |(name, version): (&String, &String)| match version.starts_with(name.as_str()) {
            true => version.clone(),
            false => format!("{name} {version}"),
        };
        Some(versions.iter().map(shown).collect::<Vec<_>>().join(", "))
    }

    /// The command that repeats it, from the searched folder.
    pub(super) fn command(&self) -> String {
        match self.name.as_str() {
            "." => format!("sim run --spec {SPEC}"),
            name => format!("sim run --spec {}", quoted(&format!("{name}/{SPEC}"))),
        }
    }
}

/// A path as a shell takes it unchanged.
fn quoted(path: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./:=,@%+".contains(letter);
    let starts_plain = !path.starts_with('-');
    match path.chars().all(plain) && starts_plain {
        true => path.to_owned(),
        false => format!("'./{}'", path.replace('\'', r"'\''")),
    }
}

/// The text of a file that has to be there.
pub(super) fn text(path: &Path) -> Result<String, ReportError> {
    text_file::read(path).map_err(|problem| ReportError::damaged(path, problem))
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ReportError> {
    serde_json::from_str(&text(path)?).map_err(|error| ReportError::damaged(path, error))
}

/// The columns of `latency.csv` that are shown.
#[derive(Default)]
struct Latencies {
    ended: Vec<Ended>,
    client: Vec<f64>,
}

impl Latencies {
    fn of(table: &Table, folder: &Path) -> Result<Latencies, ReportError> {
        let path = folder.join("latency.csv");
        let column = |name: &str| table.numbers(&path, name);
        let (at, latency) = (column("last_updated_ns")?, column("latency_ms")?);
        let client = column("client_latency_ms")?;
        let ended = |(at, latency): (Option<f64>, Option<f64>)| {
            Some(Ended { at: at? / 1e9, latency: latency? })
        };
        let ended = at.into_iter().zip(latency).filter_map(ended).collect();
        Ok(Latencies { ended, client: client.into_iter().flatten().collect() })
    }
}

/// What goes wrong and when: host events and faults count from the start of the load.
fn disturbances(spec: &RunSpec, settle: Duration) -> Vec<Disturbance> {
    let seconds = |at: Duration| (settle + at).as_secs_f64();
    let events = spec.host_events.iter().map(|event| Disturbance {
        name: event.to_string(),
        from: seconds(event.at),
        to: seconds(event.end()),
    });
    let faults = spec.faults.iter().map(|fault| Disturbance {
        name: fault.to_string(),
        from: seconds(fault.at()),
        to: seconds(fault.end()),
    });
    events.chain(faults).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_command_is_one_word_and_no_flag() {
        assert_eq!(quoted("a/spec.toml"), "a/spec.toml");
        assert_eq!(quoted("my runs/it's/spec.toml"), r"'./my runs/it'\''s/spec.toml'");
        assert_eq!(quoted("-a/spec.toml"), "'./-a/spec.toml'");
    }

    #[test]
    fn faults_are_placed_from_the_start_of_the_run() {
        let spec = RunSpec {
            host_events: vec!["crash:host=1,at=4s,for=3s".parse().expect("an event")],
            faults: vec!["cut:from=worker-1,at=1s,for=2s".parse().expect("a fault")],
            ..RunSpec::default()
        };
        let found = disturbances(&spec, Duration::from_secs(2));
        let spans: Vec<(f64, f64)> = found.iter().map(|found| (found.from, found.to)).collect();
        assert_eq!(spans, [(6.0, 9.0), (3.0, 5.0)]);
        assert_eq!(found[0].name, "crash:host=1,at=4s,for=3s");
    }
}
