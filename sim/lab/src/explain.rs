//! Explaining one orchestration of a run that was carried out before.
//!
//! A folder of results holds the specification of its run, which is all that it depends on: the run is
//! repeated with a trail of its ledgers, and the critical path of one orchestration is followed
//! ([`CriticalPath`]). That it is the same run is seen from its digest.

use crate::critical_path::{CriticalPath, Finder};
use crate::progress::Progress;
use crate::results;
use crate::run::{RunError, RunOptions, RunOutcome, run_with};
use crate::spec::{RunSpec, SpecError};
use crate::suggest;
use crate::summary::Summary;
use crate::trace::End;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use sim_model::graph::Graph;
use sim_model::id::InstanceId;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How many names a message lists.
const NAMES_SHOWN: usize = 3;

/// Which orchestration is explained.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// The one with the longest latency, the first of equals.
    Slowest,
    /// The one whose latency this percentage of all does not exceed, by nearest rank.
    Percentile(f64),
    /// The one with this name, or whose name alone begins like this.
    Named(String),
}

/// An orchestration that was explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Its critical path.
    pub path: CriticalPath,
    /// How many orchestrations had a latency that is not longer, itself among them.
    pub rank: usize,
    /// How many there were.
    pub of: usize,
}

/// An orchestration that cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotExplained {
    /// No orchestration has ended.
    #[error("no orchestration of the run has ended, so none has a latency")]
    NothingEnded,
    /// There is none of that name.
    #[error("no orchestration is named {given:?} or begins like that; {}", .nearest.join(", "))]
    Unknown {
        /// What was asked for.
        given: String,
        /// What is near, in words.
        nearest: Vec<String>,
    },
    /// There are several.
    #[error("{count} orchestrations begin with {given:?}: {}{}", .first.join(", "), if *.count > .first.len() { ", ..." } else { "" })]
    Ambiguous {
        /// What was asked for.
        given: String,
        /// How many.
        count: usize,
        /// Some of them.
        first: Vec<String>,
    },
    /// It has not ended.
    #[error(
        "{0} has not ended, so it has no latency; stuck.csv of the results says what it waits for"
    )]
    NotEnded(String),
    /// It is an entity.
    #[error("{0} is an entity, which never ends: only orchestrations have a latency")]
    Entity(String),
}

/// What a run knows of the ends of its orchestrations.
pub(crate) struct Ends<'a> {
    pub(crate) all: &'a IndexMap<InstanceId, End, FxBuildHasher>,
    pub(crate) graph: &'a Graph,
    /// Whether an instance is one that the load started.
    pub(crate) is_of_load: &'a dyn Fn(&InstanceId) -> bool,
}

impl Ends<'_> {
    /// Explains the orchestration that was chosen.
    pub(crate) fn explain(
        &self,
        choice: &Choice,
        finder: &Finder<'_>,
    ) -> Result<Explained, NotExplained> {
        let mut ranked: Vec<(&InstanceId, &End)> =
            self.all.iter().filter(|(instance, _)| (self.is_of_load)(instance)).collect();
        if ranked.is_empty() {
            // The load runs jobs: what they started is all there is.
            ranked = self.all.iter().collect();
        }
        // Stable: of equal latencies the one that ended first comes first.
        ranked.sort_by_key(|(_, end)| end.latency());
        let (instance, end) = match choice {
            Choice::Named(given) => self.named(given)?,
            Choice::Slowest => {
                let longest = ranked.last().ok_or(NotExplained::NothingEnded)?.1.latency();
                let first = ranked.partition_point(|(_, end)| end.latency() < longest);
                ranked[first]
            }
            Choice::Percentile(percentile) => {
                let rank = (percentile / 100.0 * ranked.len() as f64).ceil() as usize;
                let index = rank.clamp(1, ranked.len().max(1)) - 1;
                *ranked.get(index).ok_or(NotExplained::NothingEnded)?
            }
        };
        let rank = ranked.partition_point(|(_, other)| other.latency() <= end.latency());
        let path = finder.path(instance, end);
        path.check().unwrap_or_else(|problem| panic!("the critical path of {instance}: {problem}"));
        Ok(Explained { path, rank, of: ranked.len() })
    }

    fn named(&self, given: &str) -> Result<(&InstanceId, &End), NotExplained> {
        let exact = self.all.get_key_value(&InstanceId::new(given));
        if let Some(found) = exact {
            return Ok(found);
        }
        let like = self.all.iter().filter(|(instance, _)| instance.as_str().starts_with(given));
        let like: Vec<(&InstanceId, &End)> = like.collect();
        match like.as_slice() {
            [] => Err(self.unknown(given)),
            [only] => Ok(*only),
            several => Err(NotExplained::Ambiguous {
                given: given.to_owned(),
                count: several.len(),
                first: several.iter().take(NAMES_SHOWN).map(|(id, _)| id.to_string()).collect(),
            }),
        }
    }

    fn unknown(&self, given: &str) -> NotExplained {
        let asked = InstanceId::new(given);
        let known = self.graph.index_of(&asked).is_some();
        match (known, asked.is_entity()) {
            (true, true) => return NotExplained::Entity(given.to_owned()),
            (true, false) => return NotExplained::NotEnded(given.to_owned()),
            _ => {}
        }
        if self.all.is_empty() {
            return NotExplained::NothingEnded;
        }
        let names = self.all.keys().map(InstanceId::as_str);
        let nearest = match suggest::nearest(given, names.clone()) {
            Some(nearest) => vec![format!("did you mean {nearest:?}?")],
            None => {
                let first: Vec<&str> = names.take(NAMES_SHOWN).collect();
                vec![format!("there are {} such as {}", self.all.len(), first.join(", "))]
            }
        };
        NotExplained::Unknown { given: given.to_owned(), nearest }
    }
}

/// Why a run cannot be explained.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// The folder is no result.
    #[error("{}: holds no result of sim run --out (no {})", .0.display(), results::SPEC)]
    NoResult(PathBuf),
    /// The specification is missing or wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The summary cannot be read.
    #[error("{}: {problem}", path.display())]
    Summary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The run could not be repeated.
    #[error("{}: {source}", folder.display())]
    Run {
        /// The folder of the run.
        folder: PathBuf,
        /// Why.
        source: RunError,
    },
    /// There is no such orchestration.
    #[error(transparent)]
    Choice(#[from] NotExplained),
}

/// A run of which one orchestration was explained.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The orchestration.
    pub explained: Explained,
    /// The summary of the repetition.
    pub summary: Summary,
    /// The digest that the folder records, if it has a summary.
    pub recorded: Option<String>,
}

impl Explanation {
    /// Whether the repetition is the run of the folder, if the folder says.
    pub fn is_same_run(&self) -> Option<bool> {
        self.recorded.as_ref().map(|recorded| *recorded == self.summary.digest)
    }
}

/// Repeats the run of a folder, and explains one of its orchestrations.
///
/// # Errors
/// If the folder is no result, its run cannot be repeated, or there is no such orchestration.
pub fn explain(
    folder: &Path,
    choice: Choice,
    progress: &Progress,
) -> Result<Explanation, ExplainError> {
    let spec = folder.join(results::SPEC);
    if !spec.is_file() {
        return Err(ExplainError::NoResult(folder.to_owned()));
    }
    let spec = RunSpec::load(&spec)?.check()?;
    let recorded = recorded_digest(&folder.join(results::SUMMARY))?;
    let options = RunOptions { explain: Some(choice), ..RunOptions::default() };
    let failed = |source| ExplainError::Run { folder: folder.to_owned(), source };
    let RunOutcome { summary, explained, .. } =
        run_with(&spec, progress, &options).map_err(failed)?;
    let explained = explained.expect("invariant: it was asked for")?;
    Ok(Explanation { explained, summary, recorded })
}

/// The digest of a summary; none if there is no such file.
fn recorded_digest(path: &Path) -> Result<Option<String>, ExplainError> {
    let failed = |problem: String| ExplainError::Summary { path: path.to_owned(), problem };
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let summary: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    match summary.get("digest").and_then(serde_json::Value::as_str) {
        Some(digest) => Ok(Some(digest.to_owned())),
        None => Err(failed("has no field digest, a text".to_owned())),
    }
}
