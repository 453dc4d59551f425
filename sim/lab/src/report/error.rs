//! What can be wrong with the folder of a report, and how it is said: one line with the place.

use crate::suggest::nearest;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why no report could be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReportError {
    /// The folder is not there.
    #[error("{}: there is no such folder{}", path.display(), did_you_mean(meant.as_deref()))]
    Missing {
        /// The folder.
        path: PathBuf,
        /// One beside it whose name is near.
        meant: Option<String>,
    },
    /// A file is where a folder was expected.
    #[error("{}: is a file, expected a folder with results{}", path.display(), did_you_mean(meant.as_deref()))]
    NotAFolder {
        /// The file.
        path: PathBuf,
        /// The folder it lies in, if that has results.
        meant: Option<String>,
    },
    /// Nothing in the folder is a result.
    #[error(
        "{}: holds no results: expected folders made by sim run --out (spec.toml, summary.json), or \
         with the table.csv of an experiment, comparison or sweep{}",
        path.display(), did_you_mean(meant.as_deref())
    )]
    NoResults {
        /// The folder.
        path: PathBuf,
        /// A folder beside it that has results.
        meant: Option<String>,
    },
    /// A file of a result cannot be read, or is damaged.
    #[error("{}: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// Part of a result is missing.
    #[error("{}: has {there} but no {missing}: not a whole result; repeat the run with --out, or move it away", path.display())]
    Incomplete {
        /// The folder of the result.
        path: PathBuf,
        /// The file that is there.
        there: &'static str,
        /// The file that is not.
        missing: &'static str,
    },
    /// A window that cannot be shown.
    #[error(
        "{given:?} is no window of time, expected two instants, the first earlier, such as 12s..12500ms, 12s.. or ..1m"
    )]
    Window {
        /// The window as given.
        given: String,
    },
    /// A window in which nothing happens.
    #[error("{}: nothing happens in {window}; its events are from {from} to {to}", path.display())]
    EmptyWindow {
        /// The trace.
        path: PathBuf,
        /// The window.
        window: String,
        /// Its first event.
        from: String,
        /// Its last event.
        to: String,
    },
}

fn did_you_mean(meant: Option<&str>) -> String {
    meant.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default()
}

impl ReportError {
    pub(super) fn damaged(path: &Path, problem: impl ToString) -> ReportError {
        ReportError::Damaged { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// The name beside `path` that is nearest to its own and fits, as a person would write it.
pub(super) fn nearest_beside(path: &Path, fits: impl Fn(&Path) -> bool) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let entries = std::fs::read_dir(parent.unwrap_or(Path::new("."))).ok()?;
    let beside = entries.filter_map(Result::ok).map(|entry| entry.path());
    let beside = beside.filter(|other| other.file_name() != path.file_name() && fits(other));
    let names = beside.filter_map(|other| Some(other.file_name()?.to_str()?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    let found = nearest(&name, names.iter().map(String::as_str))?;
    Some(
        parent
            .map_or(Path::new(found).to_owned(), |parent| parent.join(found))
            .display()
            .to_string(),
    )
}
