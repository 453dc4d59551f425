//! Where two runs part: the first event in which they differ.
//!
//! The recorded marks of both runs name the first interval of some thousand events that differs.
//! Both runs are then repeated, keeping that interval in full, and compared event for event. A
//! repetition that does not give its own recorded marks again is a finding of its own: the run is
//! not deterministic, or was made by another build.

use crate::progress::Progress;
use crate::results;
use crate::run::{RunError, RunOptions, run_with};
use crate::spec::{CheckedSpec, RunSpec, SpecError};
use sim_world::kernel::{self, Difference, EventTrail, TrailEvent};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What the comparison found.
#[derive(Clone, Debug, PartialEq)]
pub enum Divergence {
    /// The runs are equal, event for event.
    Equal {
        /// How many events.
        events: u64,
    },
    /// The runs part.
    At {
        /// Keys of the specification that differ: key, first, second.
        specs: Vec<(String, String, String)>,
        /// The number of the event, from 0.
        index: u64,
        /// What the first run has there; `None` if it has ended.
        left: Option<TrailEvent>,
        /// What the second run has there; `None` if it has ended.
        right: Option<TrailEvent>,
    },
    /// A run could not be repeated: it does not give its own record again.
    NotRepeatable {
        /// The folder of the run.
        folder: PathBuf,
        /// The first events that differ from the record lie in this range.
        events: Range<u64>,
        /// The first event of the repetition in that range.
        from: Option<TrailEvent>,
    },
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |event: &Option<TrailEvent>| match event {
            Some(event) => event.to_string(),
            None => "the run has ended".to_owned(),
        };
        match self {
            Divergence::Equal { events } => write!(f, "equal: {events} events, one digest"),
            Divergence::At { specs, index, left, right } => {
                for (key, left, right) in specs {
                    writeln!(f, "specification: {key}: {left} / {right}")?;
                }
                writeln!(f, "the runs agree in {index} events, and part at event {index}:")?;
                writeln!(f, "  first:  {}", shown(left))?;
                write!(f, "  second: {}", shown(right))
            }
            Divergence::NotRepeatable { folder, events, from } => {
                let (folder, start, end) = (folder.display(), events.start, events.end);
                write!(
                    f,
                    "{folder}: repeating the run does not give its record again: it leaves the \
                     record between events {start} and {end}"
                )?;
                if let Some(event) = from {
                    write!(f, ", after {event}")?;
                }
                f.write_str(". The run is not deterministic, or was made by another build")
            }
        }
    }
}

/// Why two runs could not be compared.
#[derive(Debug, Error)]
pub enum DivergeError {
    /// A specification is missing or wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The marks of a run are missing or wrong.
    #[error("{}: {problem}", path.display())]
    Events {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A run could not be repeated at all.
    #[error("{}: {source}", folder.display())]
    Run {
        /// The folder of the run.
        folder: PathBuf,
        /// Why.
        source: RunError,
    },
}

/// A result folder that was read.
struct Side {
    folder: PathBuf,
    spec: CheckedSpec,
    recorded: EventTrail,
}

impl Side {
    fn read(folder: &Path) -> Result<Side, DivergeError> {
        let spec = RunSpec::load(&folder.join(results::SPEC))?.check()?;
        let path = folder.join(results::EVENTS);
        let recorded = std::fs::read(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| results::parse_events(&text))
            .map_err(|problem| DivergeError::Events { path, problem })?;
        Ok(Side { folder: folder.to_owned(), spec, recorded })
    }

    /// Repeats the run and keeps `window`.
    fn repeat(&self, window: &Range<u64>, progress: &Progress) -> Result<EventTrail, DivergeError> {
        let options = RunOptions { window: Some(window.clone()), ..RunOptions::default() };
        let outcome = run_with(&self.spec, progress, &options);
        let failed = |source| DivergeError::Run { folder: self.folder.clone(), source };
        Ok(outcome.map_err(failed)?.trail)
    }

    /// Whether `repeated` is what was recorded; if not, where it leaves the record.
    fn verify(
        &self,
        repeated: &EventTrail,
        progress: &Progress,
    ) -> Result<Option<Divergence>, DivergeError> {
        let Difference::Within(events) = kernel::first_difference(&self.recorded, repeated) else {
            return Ok(None);
        };
        let from = self.repeat(&events, progress)?.window.into_iter().next();
        Ok(Some(Divergence::NotRepeatable { folder: self.folder.clone(), events, from }))
    }
}

/// Compares two result folders. Runs whose marks differ are repeated, the second after the first.
///
/// # Errors
/// If a folder is no result, or its run cannot be repeated.
pub fn first_difference(
    a: &Path,
    b: &Path,
    progress: &Progress,
) -> Result<Divergence, DivergeError> {
    let (left, right) = (Side::read(a)?, Side::read(b)?);
    let window = match kernel::first_difference(&left.recorded, &right.recorded) {
        Difference::None => return Ok(Divergence::Equal { events: left.recorded.events }),
        Difference::Within(window) => window,
        Difference::At { index, .. } => index..index + 1,
    };
    let mut repeated = Vec::new();
    for side in [&left, &right] {
        let trail = side.repeat(&window, progress)?;
        if let Some(finding) = side.verify(&trail, progress)? {
            return Ok(finding);
        }
        repeated.push(trail);
    }
    match kernel::first_difference(&repeated[0], &repeated[1]) {
        Difference::At { index, left: first, right: second } => {
            let specs = spec_differences(left.spec.spec(), right.spec.spec());
            Ok(Divergence::At { specs, index, left: first, right: second })
        }
        other => unreachable!("repetitions equal to records that differ, yet: {other:?}"),
    }
}

/// The keys in which two specifications differ.
fn spec_differences(a: &RunSpec, b: &RunSpec) -> Vec<(String, String, String)> {
    let flat = |spec: &RunSpec| {
        let mut all = spec.settings.clone();
        for (key, value) in [
            ("engine", spec.engine.clone()),
            ("workload", spec.workload.to_string()),
            ("load", spec.load.to_string()),
            ("plan", spec.plan.clone()),
            ("hosts", spec.hosts.to_string()),
            ("autoscale", spec.autoscale.map(|bounds| bounds.to_string()).unwrap_or_default()),
            ("partitions", spec.partitions.to_string()),
            ("profile", spec.profile.clone()),
            ("seed", spec.seed.to_string()),
        ] {
            all.insert(key.to_owned(), value);
        }
        all
    };
    let (a, b) = (flat(a), flat(b));
    let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let absent = || "(absent)".to_owned();
    keys.into_iter()
        .map(|key| (key, a.get(key).cloned(), b.get(key).cloned()))
        .filter(|(_, left, right)| left != right)
        .map(|(key, left, right)| {
            (key.clone(), left.unwrap_or_else(absent), right.unwrap_or_else(absent))
        })
        .collect()
}
