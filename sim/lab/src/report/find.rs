//! The results in a folder, in the order of their paths.
//!
//! A folder is a **run** if it has `spec.toml` or `summary.json` (it needs both), and a **result of
//! an experiment** if it has `table.csv` (with `experiment.toml`, `comparison.toml`, `sweep.toml` or
//! none of them). Folders inside of these are searched as well: a sweep keeps its runs below it.
//! Names that begin with a dot are left alone: results being written have such names. Links to
//! folders are not followed, so that a search ends.

use super::ReportError;
use super::error::nearest_beside;
use crate::results::{SPEC, SUMMARY};
use std::fs;
use std::path::{Path, PathBuf};

/// The table of an experiment's result.
pub(super) const TABLE: &str = "table.csv";

/// Folders deeper than this are not searched: a sweep's runs are two deep.
const DEPTH_MAX: usize = 16;

/// A folder with a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Where it is.
    pub path: PathBuf,
    /// Its path from the searched folder with `/` between names; `.` for that folder itself.
    pub name: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub runs: Vec<Place>,
    pub experiments: Vec<Place>,
}

/// Searches a folder.
pub(super) fn results(folder: &Path) -> Result<Found, ReportError> {
    if !folder.exists() {
        let meant = nearest_beside(folder, Path::is_dir);
        return Err(ReportError::Missing { path: folder.to_owned(), meant });
    }
    if !folder.is_dir() {
        let around = folder.parent().filter(|around| is_result(around));
        let meant = around.map(|around| around.display().to_string());
        return Err(ReportError::NotAFolder { path: folder.to_owned(), meant });
    }
    let mut found = Found::default();
    search(&Place { path: folder.to_owned(), name: ".".to_owned() }, 0, &mut found)?;
    if found.runs.is_empty() && found.experiments.is_empty() {
        let meant = nearest_with_results(folder);
        return Err(ReportError::NoResults { path: folder.to_owned(), meant });
    }
    Ok(found)
}

fn search(place: &Place, depth: usize, found: &mut Found) -> Result<(), ReportError> {
    let has = |name: &str| place.path.join(name).is_file();
    let incomplete =
        |there, missing| Err(ReportError::Incomplete { path: place.path.clone(), there, missing });
    match (has(SPEC), has(SUMMARY)) {
        (true, true) => found.runs.push(place.clone()),
        (true, false) => return incomplete(SPEC, SUMMARY),
        (false, true) => return incomplete(SUMMARY, SPEC),
        (false, false) => {}
    }
    if has(TABLE) {
        found.experiments.push(place.clone());
    }
    if depth < DEPTH_MAX {
        for name in folders(&place.path)? {
            let path = place.path.join(&name);
            let name = if place.name == "." { name } else { format!("{}/{name}", place.name) };
            search(&Place { path, name }, depth + 1, found)?;
        }
    }
    Ok(())
}

/// The names of the folders in a folder, sorted. Runs of digits compare as numbers, so that run 9
/// comes before run 10.
fn folders(path: &Path) -> Result<Vec<String>, ReportError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| ReportError::damaged(path, error))? {
        let entry = entry.map_err(|error| ReportError::damaged(path, error))?;
        // The type of a link is that of the link.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_folder && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_by(|one, other| natural(one).cmp(&natural(other)).then_with(|| one.cmp(other)));
    Ok(names)
}

/// A name as alternating texts and numbers.
pub(super) fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(text_end);
        let digits_end = after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len());
        let (digits, after) = after.split_at(digits_end);
        parts.push((text.to_owned(), digits.parse().unwrap_or(u64::MAX)));
        rest = after;
    }
    parts
}

fn is_result(folder: &Path) -> bool {
    [SPEC, SUMMARY, TABLE].iter().any(|name| folder.join(name).is_file())
}

/// A result beside a folder without any, or the first one in the folder around it.
fn nearest_with_results(folder: &Path) -> Option<String> {
    let holds = |path: &Path| {
        let inside = || {
            folders(path).is_ok_and(|names| names.iter().any(|name| is_result(&path.join(name))))
        };
        path.is_dir() && (is_result(path) || inside())
    };
    nearest_beside(folder, holds)
}
