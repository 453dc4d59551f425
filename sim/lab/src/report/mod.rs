//! A report: one HTML page about the results in a folder, for people who were not there.
//!
//! A folder is searched for results (`find`): runs, as `sim run --out` writes them, and results
//! of experiments, comparisons and sweeps. Everything that is shown is read from their files and
//! nothing is run again, so a page can be made of results that came from another machine.
//!
//! The page is **one file that asks for nothing else**: style, scripts, figures and data are in it,
//! and its own content security policy forbids to load anything. Tables and figures are plain HTML
//! and inline SVG (`page`), which need no script; what is zoomed, picked, sorted and compared is
//! drawn by the scripts in `assets/report` from the data embedded as JSON (`data`).
//!
//! The bytes of a page depend on the files alone: folders are walked in the order of their names,
//! no clock is read, and the place of the searched folder is not written. Wall times and versions
//! are shown as `provenance.json` has them.
//!
//! What is embedded is bounded, so that a thousand runs make a page that still opens at once:
//! series are averaged over wider spans, distributions are 54 quantiles, and figures and tables of
//! single runs are written out for the first [`RUNS_WRITTEN_OUT`] of them.
//!
//! Units: latencies are milliseconds, times on axes seconds of virtual time from the start of the
//! run, times in a space-time view nanoseconds.

mod assets;
mod breakdown;
mod data;
mod error;
mod experiment;
mod find;
mod label;
mod latency;
mod metric;
mod page;
mod picture;
mod run;
mod series;
mod table;
mod trace;

#[cfg(test)]
mod tests;

pub use error::ReportError;
pub use trace::Window;

use experiment::Experiment;
use label::Labels;
use run::Run;
use std::path::Path;

/// So many runs have their tables and figure in the page for readers without scripts. Each takes
/// some 20 kilobytes.
pub const RUNS_WRITTEN_OUT: usize = 24;

/// What a report is made of.
pub struct Report {
    runs: Vec<Run>,
    experiments: Vec<Experiment>,
    labels: Labels,
}

impl Report {
    /// Reads the results in a folder. Space-time views show `window`, or where each trace is worth a
    /// look.
    ///
    /// # Errors
    /// If the folder has no results, or a file of a result cannot be read: the first in the order of
    /// names, with its place.
    pub fn read(folder: &Path, window: Option<Window>) -> Result<Report, ReportError> {
        let found = find::results(folder)?;
        let points = series::points_each(found.runs.len());
        let runs = found.runs.iter().map(|place| Run::read(place, points));
        let mut runs = runs.collect::<Result<Vec<Run>, ReportError>>()?;
        trace::read_all(&mut runs, &found.runs, window)?;
        let experiments = found.experiments.iter().map(Experiment::read);
        let experiments = experiments.collect::<Result<Vec<Experiment>, ReportError>>()?;
        Labels::sort(&mut runs);
        let labels = Labels::of(&runs);
        Ok(Report { runs, experiments, labels })
    }

    /// The page.
    pub fn to_html(&self) -> String {
        page::of(self)
    }

    /// How many runs it has.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// How many results of experiments it has.
    pub fn experiments(&self) -> usize {
        self.experiments.len()
    }
}
