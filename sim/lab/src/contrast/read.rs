//! Reading results to compare: folders of runs, and tables of runs.
//!
//! A place is one of: the folder of a run (`spec.toml`, `summary.json`); the folder of a comparison or an
//! experiment (`runs.csv`, which has throughput alone); or a folder of such folders, however deep up to
//! [`DEPTH_MAX`].

use crate::Outcome;
use crate::metric::METRICS;
use crate::results::{PROFILE, SPEC, SUMMARY};
use crate::spec::{RunSpec, SpecError};
use crate::summary::Summary;
use crate::text_file;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How deep folders of folders are looked through.
pub const DEPTH_MAX: usize = 4;
/// The table of runs of an experiment or a comparison.
const RUNS: &str = "runs.csv";

/// The file of latencies in the folder of a run, and what its columns are the metrics of.
const LATENCIES: &str = "latency.csv";
pub(super) const LATENCY_COLUMNS: [(&str, &str); 2] =
    [("latency", "latency_ms"), ("client", "client_latency_ms")];

/// Results that cannot be compared.
#[derive(Debug, Error)]
pub enum ContrastError {
    /// The place does not exist or holds nothing.
    #[error(
        "{}: {problem}, expected the folder of a run (sim run --out), of an experiment or comparison \
         ({RUNS}), or a folder of such folders",
        place.display()
    )]
    NoResult {
        /// The place.
        place: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file cannot be read as what it should be.
    #[error("{}: {problem}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A specification cannot be read.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// No run has exactly one partner.
    #[error(
        "runs of {baseline} and {other} cannot be paired: they have no specification and seed in \
         common; give results of the same workloads, loads and seeds, or of one specification each"
    )]
    NoPairs {
        /// The baseline.
        baseline: String,
        /// The other.
        other: String,
    },
    /// A limit on what the results do not have.
    #[error("{metric} was not measured in both results; measured: {known}")]
    NotMeasured {
        /// The metric.
        metric: &'static str,
        /// What was.
        known: String,
    },
}

/// One run that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    /// Engine and settings.
    pub(super) engine: BTreeMap<String, String>,
    /// The rest of the specification but the seed.
    pub(super) shared: BTreeMap<String, String>,
    pub(super) seed: u64,
    pub(super) digest: Option<String>,
    /// Values by metric.
    pub(super) values: BTreeMap<&'static str, f64>,
    /// The latencies of what completed, by the names of [`LATENCY_COLUMNS`]; none if the result has no file
    /// of them.
    pub(super) latencies: BTreeMap<&'static str, Vec<f64>>,
}

/// The runs of one result.
#[derive(Clone, Debug)]
pub struct ResultSet {
    place: String,
    runs: Vec<Run>,
}

impl ResultSet {
    /// Reads all runs in a place.
    ///
    /// # Errors
    /// If there are none, or a file is damaged.
    pub fn read(place: &Path) -> Result<ResultSet, ContrastError> {
        let mut runs = Vec::new();
        let nothing = |problem: &str| ContrastError::NoResult {
            place: place.to_owned(),
            problem: problem.to_owned(),
        };
        if !place.exists() {
            return Err(nothing("does not exist"));
        }
        if !place.is_dir() {
            return Err(nothing("is not a folder"));
        }
        gather(place, 0, &mut runs)?;
        match runs.is_empty() {
            true => Err(nothing("holds no result")),
            false => Ok(ResultSet { place: place.display().to_string(), runs }),
        }
    }

    #[cfg(test)]
    pub(super) fn new(place: &str, runs: Vec<Run>) -> ResultSet {
        ResultSet { place: place.to_owned(), runs }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Whether the runs differ in nothing but the seed.
    pub(super) fn is_one_specification(&self) -> bool {
        let all: BTreeSet<_> = self.runs.iter().map(|run| (&run.engine, &run.shared)).collect();
        all.len() == 1
    }
}

fn gather(folder: &Path, depth: usize, runs: &mut Vec<Run>) -> Result<(), ContrastError> {
    if folder.join(SPEC).is_file() && folder.join(SUMMARY).is_file() {
        runs.push(run(folder)?);
        return Ok(());
    }
    if folder.join(RUNS).is_file() {
        runs.extend(table(&folder.join(RUNS))?);
        return Ok(());
    }
    if depth == DEPTH_MAX {
        return Ok(());
    }
    let failed = |error: std::io::Error| ContrastError::File {
        file: folder.to_owned(),
        problem: format!("cannot be read: {error}"),
    };
    let mut inside: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        inside.push(entry.map_err(failed)?.path());
    }
    inside.sort();
    // What is being written or replaced begins with a dot.
    let hidden =
        |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
    inside
        .iter()
        .filter(|path| path.is_dir() && !hidden(path))
        .try_for_each(|path| gather(path, depth + 1, runs))
}

/// The run of a folder.
fn run(folder: &Path) -> Result<Run, ContrastError> {
    let file = folder.join(SUMMARY);
    let failed = |problem: String| ContrastError::File { file: file.clone(), problem };
    let text = text_file::read(&file).map_err(failed)?;
    let summary: Summary = serde_json::from_str(&text)
        .map_err(|error| failed(format!("is not the summary of a run: {error}")))?;
    // As it was written: places of files beside the specification say nothing about the run.
    let text = text_file::read(&folder.join(SPEC)).map_err(failed)?;
    let spec = RunSpec::from_toml(&text)?;
    let mut engine: BTreeMap<String, String> = spec.settings.clone();
    engine.insert("engine".to_owned(), spec.engine.clone());
    let mut shared = BTreeMap::from([
        ("workload".to_owned(), spec.workload.to_string()),
        ("load".to_owned(), spec.load.to_string()),
        ("plan".to_owned(), spec.plan.clone()),
        ("hosts".to_owned(), spec.hosts.to_string()),
        ("partitions".to_owned(), spec.partitions.to_string()),
        ("profile".to_owned(), spec.profile.clone()),
    ]);
    for (name, digest) in files_beside(folder).map_err(|error| failed(error.to_string()))? {
        shared.insert(name, digest);
    }
    if let Some(bounds) = spec.autoscale {
        shared.insert("autoscale".to_owned(), bounds.to_string());
    }
    let events: Vec<String> = spec.host_events.iter().map(ToString::to_string).collect();
    let faults: Vec<String> = spec.faults.iter().map(ToString::to_string).collect();
    for (key, all) in [("host_events", events), ("faults", faults)] {
        if !all.is_empty() {
            shared.insert(key.to_owned(), all.join(" "));
        }
    }
    let measured = METRICS.iter().filter_map(|metric| Some((metric.name, metric.of(&summary)?)));
    Ok(Run {
        engine,
        shared,
        seed: spec.seed,
        digest: Some(summary.digest.clone()),
        values: measured.collect(),
        latencies: latencies(folder)?,
    })
}

/// The latencies in the folder of a run, of what completed.
fn latencies(folder: &Path) -> Result<BTreeMap<&'static str, Vec<f64>>, ContrastError> {
    let file = folder.join(LATENCIES);
    let failed = |problem: String| ContrastError::File { file: file.clone(), problem };
    let mut found = BTreeMap::new();
    if !file.is_file() {
        return Ok(found);
    }
    let mut reader = csv::Reader::from_path(&file).map_err(|error| failed(error.to_string()))?;
    let heading = reader.headers().map_err(|error| failed(error.to_string()))?.clone();
    let place = |column: &str| {
        let found = heading.iter().position(|name| name == column);
        found.ok_or_else(|| failed(format!("has no column {column:?}")))
    };
    let status = place("status")?;
    let columns = LATENCY_COLUMNS.map(|(name, column)| Ok((name, column, place(column)?)));
    let columns: Vec<_> = columns.into_iter().collect::<Result<_, ContrastError>>()?;
    found.extend(LATENCY_COLUMNS.map(|(name, _)| (name, Vec::new())));
    for (index, record) in reader.records().enumerate() {
        let line = index + 2;
        let record = record.map_err(|error| failed(format!("line {line}: {error}")))?;
        if &record[status] != Outcome::Completed.name() {
            continue;
        }
        for (name, column, place) in &columns {
            let text = &record[*place];
            if text.is_empty() {
                continue;
            }
            let value = text.parse().ok().filter(|value: &f64| value.is_finite());
            let problem =
                || format!("line {line}, {column}: found {text:?}, expected milliseconds");
            found.entry(*name).or_default().push(value.ok_or_else(|| failed(problem()))?);
        }
    }
    Ok(found)
}

/// A profile and the files of a workload that were written beside the specification, which names them all
/// alike: what is in them counts.
fn files_beside(folder: &Path) -> std::io::Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && (name == PROFILE || name.starts_with("workload-")) {
            digests.insert(name, blake3::hash(&fs::read(&path)?).to_hex()[..16].to_owned());
        }
    }
    Ok(digests)
}

/// The runs of a table.
fn table(file: &Path) -> Result<Vec<Run>, ContrastError> {
    let failed = |problem: String| ContrastError::File { file: file.to_owned(), problem };
    let text = text_file::read(file).map_err(failed)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let heading = reader.headers().map_err(|error| failed(error.to_string()))?.clone();
    for column in ["seed", "throughput_per_s"] {
        if !heading.iter().any(|name| name == column) {
            return Err(failed(format!("has no column {column:?}")));
        }
    }
    let mut runs = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let line = index + 2;
        let record = record.map_err(|error| failed(format!("line {line}: {error}")))?;
        let bad = |column: &str, text: &str| {
            failed(format!("line {line}, {column}: found {text:?}, expected a number"))
        };
        let mut run = Run {
            engine: BTreeMap::new(),
            shared: BTreeMap::new(),
            seed: 0,
            digest: None,
            values: BTreeMap::new(),
            latencies: BTreeMap::new(),
        };
        for (column, text) in heading.iter().zip(&record) {
            match column {
                "seed" => run.seed = text.parse().map_err(|_| bad(column, text))?,
                "digest" => run.digest = Some(text.to_owned()).filter(|text| !text.is_empty()),
                "throughput_per_s" if text.is_empty() => {}
                "throughput_per_s" => {
                    let rate = text.parse().map_err(|_| bad(column, text))?;
                    run.values.insert("throughput", rate);
                }
                // An outcome, not part of what was run.
                "completed" | "failed_checks" => {}
                "engine" => drop(run.engine.insert(column.to_owned(), text.to_owned())),
                _ => drop(run.shared.insert(column.to_owned(), text.to_owned())),
            }
        }
        runs.push(run);
    }
    Ok(runs)
}
