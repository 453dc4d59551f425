//! Results on disk: one folder for each run.
//!
//! | file | holds |
//! |---|---|
//! | `spec.toml` | everything needed to repeat the run, every default written out |
//! | `profile.toml` | the profile, if it is not an embedded one |
//! | `workload-<key>.<extension>` | the files that the workload read |
//! | `summary.json` | the summary, as `sim run --json` prints it |
//! | `latency.csv` | one row for each orchestration: times, status, and where its latency went |
//! | `operations.csv` | operations, bytes and price for each service and kind |
//! | `timeseries.csv` | orchestrations and operations for each second of virtual time |
//! | `levels.csv` | if any were reported: levels over time, a row for each change of each |
//! | `stuck.csv` | if anything has not ended: what each orchestration or job waits for |
//! | `handovers.csv` | if there were any: partitions that went to another host, and how long each stood still |
//! | `counters.csv` | the engine's own counters, and the cost split in three |
//! | `events.csv` | marks of the event trail, by which two runs are compared |
//! | `figures/latency.svg`, `.png` | the latency distribution of the run |
//! | `provenance.json` | what may differ between machines: versions, wall time |
//!
//! All but `provenance.json` are the same bytes for the same specification and build. A folder is
//! written under another name beside its place and renamed when it is complete, so that nothing
//! half-written is ever found in its place. An earlier result there is replaced; any other folder
//! that is not empty is left alone.

mod tables;

use crate::figure::{CdfCurve, CdfFigure, CdfPanel, FigureError, Stroke};
use crate::measure;
use crate::run::RunOutcome;
use crate::spec::{CheckedSpec, RunSpec};
use crate::workload::Orchestrations;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The specification of a run.
pub const SPEC: &str = "spec.toml";
/// A profile that is not embedded.
pub const PROFILE: &str = "profile.toml";
/// The summary of a run.
pub const SUMMARY: &str = "summary.json";
/// What may differ between machines and repetitions.
pub const PROVENANCE: &str = "provenance.json";
/// The marks of the event trail.
pub const EVENTS: &str = "events.csv";

/// A folder that cannot take results.
#[derive(Debug, Error)]
pub enum ResultsError {
    /// The folder holds something else.
    #[error(
        "{}: holds other files and no earlier result (no {marker}): choose a new or empty folder",
        path.display()
    )]
    NotAResult {
        /// The folder.
        path: PathBuf,
        /// The file by which an earlier result is known.
        marker: &'static str,
    },
    /// The place is no folder, or has no name of its own.
    #[error("{}: is not a folder that results can be written to", path.display())]
    NotAFolder {
        /// The place.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{}: cannot write: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The figure cannot be drawn.
    #[error(transparent)]
    Figure(#[from] FigureError),
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> ResultsError {
    let path = path.to_owned();
    move |source| ResultsError::Io { path, source }
}

/// What may differ between machines and repetitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Wall time of the run in seconds.
    pub wall_seconds: f64,
    /// Versions of what the run was made with, by name.
    pub versions: BTreeMap<String, String>,
}

impl Provenance {
    /// The provenance as a file.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("invariant: a provenance has a JSON form") + "\n"
    }
}

/// A place that was found fit for results.
#[derive(Clone, Debug)]
pub struct ResultsFolder {
    path: PathBuf,
    partial: PathBuf,
    replaced: PathBuf,
}

impl ResultsFolder {
    /// Checks, before a run starts, that its results can be written to `path`. Nothing is left
    /// there by the check.
    ///
    /// # Errors
    /// If the place holds something else, is no folder, or cannot be written.
    pub fn check(path: &Path) -> Result<ResultsFolder, ResultsError> {
        ResultsFolder::check_for(path, SPEC)
    }

    /// [`ResultsFolder::check`] for results that are known by the file `marker`.
    ///
    /// # Errors
    /// As for [`ResultsFolder::check`].
    pub fn check_for(path: &Path, marker: &'static str) -> Result<ResultsFolder, ResultsError> {
        let not_a_folder = || ResultsError::NotAFolder { path: path.to_owned() };
        let full = std::path::absolute(path).map_err(at(path))?;
        let name = full.file_name().ok_or_else(not_a_folder)?.to_string_lossy().into_owned();
        let parent = full.parent().ok_or_else(not_a_folder)?.to_owned();
        if full.exists() {
            if !full.is_dir() {
                return Err(not_a_folder());
            }
            let empty = fs::read_dir(&full).map_err(at(path))?.next().is_none();
            if !empty && !full.join(marker).is_file() {
                return Err(ResultsError::NotAResult { path: path.to_owned(), marker });
            }
        }
        let folder = ResultsFolder {
            partial: parent.join(format!(".{name}.partial")),
            replaced: parent.join(format!(".{name}.replaced")),
            path: full,
        };
        folder.probe(&parent)?;
        Ok(folder)
    }

    /// Makes and removes a folder in the nearest one that exists.
    fn probe(&self, parent: &Path) -> Result<(), ResultsError> {
        let existing = parent.ancestors().find(|ancestor| ancestor.exists());
        let existing = existing.unwrap_or(Path::new("/"));
        if !existing.is_dir() {
            return Err(ResultsError::NotAFolder { path: existing.to_owned() });
        }
        let name = self.partial.file_name().expect("invariant: it was given a name");
        let probe = existing.join(name);
        remove(&probe)?;
        fs::create_dir(&probe).map_err(at(&self.path))?;
        fs::remove_dir(&probe).map_err(at(&probe))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the files through `write`, which is given a folder beside this one, and puts them
    /// into place.
    ///
    /// # Errors
    /// What `write` says, or the system; the place is then as it was.
    pub fn fill(
        &self,
        write: impl FnOnce(&Path) -> Result<(), ResultsError>,
    ) -> Result<(), ResultsError> {
        remove(&self.partial)?;
        fs::create_dir_all(&self.partial).map_err(at(&self.partial))?;
        let written = write(&self.partial).and_then(|()| self.put_into_place());
        if written.is_err() {
            // The first error is the one to report.
            let _ = remove(&self.partial);
        }
        written
    }

    fn put_into_place(&self) -> Result<(), ResultsError> {
        if !self.path.exists() {
            return fs::rename(&self.partial, &self.path).map_err(at(&self.path));
        }
        remove(&self.replaced)?;
        fs::rename(&self.path, &self.replaced).map_err(at(&self.path))?;
        if let Err(error) = fs::rename(&self.partial, &self.path) {
            let _ = fs::rename(&self.replaced, &self.path);
            return Err(at(&self.path)(error));
        }
        remove(&self.replaced)
    }
}

pub(crate) fn remove(folder: &Path) -> Result<(), ResultsError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

/// Writes one file of a result.
///
/// # Errors
/// What the system says.
pub(crate) fn write_file(
    folder: &Path,
    name: &str,
    content: impl AsRef<[u8]>,
) -> Result<(), ResultsError> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    fs::write(&path, content).map_err(at(&path))
}

/// Writes a file, through one beside it: whoever reads it sees the old content or the new one. Folders above
/// it are made.
///
/// # Errors
/// What the system says; the file is then as it was.
pub fn replace_file(path: &Path, content: &[u8]) -> Result<(), ResultsError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let name =
        path.file_name().ok_or_else(|| ResultsError::NotAFolder { path: path.to_owned() })?;
    let partial = format!(".{}.partial", name.to_string_lossy());
    write_file(parent, &partial, content)?;
    fs::rename(parent.join(&partial), path).map_err(at(path))
}

/// Writes the results of a run.
///
/// # Errors
/// What the system says; the place is then as it was.
pub fn write(
    folder: &ResultsFolder,
    spec: &CheckedSpec,
    outcome: &RunOutcome,
    provenance: &Provenance,
) -> Result<(), ResultsError> {
    write_files(folder, files(spec, outcome)?, provenance)
}

/// Writes files that make up a result, and its provenance.
///
/// # Errors
/// What the system says; the place is then as it was.
pub fn write_files(
    folder: &ResultsFolder,
    files: BTreeMap<String, Vec<u8>>,
    provenance: &Provenance,
) -> Result<(), ResultsError> {
    folder.fill(|place| {
        for (name, content) in files {
            write_file(place, &name, content)?;
        }
        write_file(place, PROVENANCE, provenance.to_json())
    })
}

/// What repeats a run: its specification, and the files it reads under the names they have there.
pub fn specification(spec: &CheckedSpec) -> BTreeMap<String, Vec<u8>> {
    let mut repeat: RunSpec = spec.spec().clone();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    if let Some(text) = spec.profile_text() {
        files.insert(PROFILE.to_owned(), text.into());
        repeat.profile = PROFILE.to_owned();
    }
    repeat.workload = repeat.workload.with_file_names(|key, path| {
        let extension = path.extension().map(|extension| format!(".{}", extension.display()));
        format!("workload-{key}{}", extension.unwrap_or_default())
    });
    for (key, file) in spec.parameters().files() {
        files.insert(repeat.workload.parameters[*key].clone(), file.text.as_bytes().to_vec());
    }
    files.insert(SPEC.to_owned(), repeat.to_toml().into());
    files
}

/// The summary and the tables of a run.
pub fn tables(spec: &CheckedSpec, outcome: &RunOutcome) -> BTreeMap<String, Vec<u8>> {
    let orchestrations = Orchestrations::new(spec.build_workload(), outcome.naming);
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    files.insert(SUMMARY.to_owned(), outcome.summary.to_json_pretty().into());
    files.insert("latency.csv".to_owned(), tables::latency(outcome, &orchestrations));
    files.insert("operations.csv".to_owned(), tables::operations(outcome));
    files.insert("timeseries.csv".to_owned(), tables::timeseries(outcome));
    if !outcome.levels.is_empty() {
        files.insert("levels.csv".to_owned(), tables::levels(outcome));
    }
    if !outcome.stuck.is_empty() {
        files.insert("stuck.csv".to_owned(), tables::stuck(outcome));
    }
    if !outcome.handovers.is_empty() {
        files.insert("handovers.csv".to_owned(), tables::handovers(outcome));
    }
    files.insert("counters.csv".to_owned(), tables::counters(outcome));
    files.insert(EVENTS.to_owned(), tables::events(&outcome.trail));
    files
}

/// The files of a result that depend on specification and build alone, with their contents.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn files(
    spec: &CheckedSpec,
    outcome: &RunOutcome,
) -> Result<BTreeMap<String, Vec<u8>>, FigureError> {
    let mut files = specification(spec);
    files.extend(tables(spec, outcome));
    if let Some(figure) = latency_figure(spec, outcome) {
        files.insert("figures/latency.svg".to_owned(), figure.to_svg()?.into());
        files.insert("figures/latency.png".to_owned(), figure.to_png()?);
    }
    Ok(files)
}

pub(crate) use tables::parse_events;

/// The latency distribution of a run; `None` if nothing completed.
pub fn latency_figure(spec: &CheckedSpec, outcome: &RunOutcome) -> Option<CdfFigure> {
    let asked = spec.spec();
    let curve = |label: &str, stroke: Stroke, latencies: measure::Latencies| {
        (latencies.count() > 0).then(|| CdfCurve {
            label: label.to_owned(),
            engine: asked.engine.clone(),
            stroke,
            points: latencies.points(),
        })
    };
    let curves: Vec<CdfCurve> = [
        curve("engine", Stroke::Solid, measure::engine_latencies(&outcome.records)),
        curve("client", Stroke::Dashed, measure::client_latencies(&outcome.records)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if curves.is_empty() {
        return None;
    }
    let workload = asked.workload.shown().to_string();
    Some(CdfFigure {
        title: format!("Latency of {workload} on {}", asked.engine),
        panels: vec![CdfPanel { title: workload, curves, marks: Vec::new() }],
        own_axes: false,
        caption: format!(
            "Load {}, plan {}, {} hosts, {} partitions, profile {}, seed {}, digest {}.",
            asked.load,
            asked.plan,
            asked.hosts,
            asked.partitions,
            outcome.summary_profile(spec),
            asked.seed,
            outcome.summary.digest
        ),
    })
}

impl RunOutcome {
    /// The profile's name: where a file of a profile lay may not reach a result.
    fn summary_profile(&self, spec: &CheckedSpec) -> String {
        match spec.profile_text() {
            Some(_) => PROFILE.to_owned(),
            None => spec.spec().profile.clone(),
        }
    }
}
