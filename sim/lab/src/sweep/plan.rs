//! The plan of a sweep: its runs, checked, in their order, each with its key.
//!
//! The first axis varies slowest, seeds vary fastest. A key is the hash over what the run's results
//! depend on: its specification with every default written out, the contents of the files it reads, and
//! the revision of what is written of a run. So it does not depend on the sweep, on where files lie, or
//! on how a value was written; but neither on the build, which `provenance.json` tells.

use super::cell::{Cell, Values};
use super::file::Packed;
use super::{Shard, Sweep, SweepError};
use crate::results;
use crate::run::RunError;
use crate::spec::{CheckedSpec, RunSpec, SpecError};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Most runs of one sweep.
pub const RUNS_MAX: usize = 100_000;
/// The revision of what is written of a run. Raise it when that changes: everything is then run again.
const REVISION: u32 = 1;

/// A run of a plan.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its cell, by number.
    pub cell: usize,
    /// Its seed.
    pub seed: u64,
    /// 32 hexadecimal digits over everything its results depend on.
    pub key: String,
    /// The rank of its key among all.
    rank: usize,
    spec: RunSpec,
}

impl Planned {
    /// What is run, with all faults.
    pub fn spec(&self) -> &RunSpec {
        &self.spec
    }

    pub(super) fn check(&self) -> Result<CheckedSpec, SpecError> {
        self.spec.check()
    }
}

/// A sweep whose every run was checked.
#[derive(Clone, Debug)]
pub struct Plan {
    sweep: Sweep,
    packed: Packed,
    runs: Vec<Planned>,
}

impl Plan {
    /// Reads the sweep in a file and checks every run.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(path: &Path) -> Result<Plan, SweepError> {
        let sweep = Sweep::load(path)?;
        let failed =
            |problem| SweepError::File { path: path.to_owned(), problem: Box::new(problem) };
        let factors = sweep.axes.iter().map(|axis| axis.cases.len());
        let cells = factors.fold(1_usize, usize::saturating_mul);
        let count = cells.saturating_mul(sweep.seeds.len());
        if count > RUNS_MAX {
            return Err(failed(SpecError::bad("runs", count, format!("at most {RUNS_MAX}"))));
        }
        let in_cell = |cell: usize, problem: RunError| SweepError::Cell {
            path: path.to_owned(),
            cell: sweep.cell_name(cell),
            problem: Box::new(problem),
        };
        let read = |cell: usize| {
            Cell::read(&sweep.values(cell)).map_err(|error| in_cell(cell, error.into()))
        };
        let read = (0..cells).map(read).collect::<Result<Vec<_>, _>>()?;
        let one = |index: usize| -> Result<Planned, SweepError> {
            let (cell, seed) = (index / sweep.seeds.len(), sweep.seeds[index % sweep.seeds.len()]);
            let (spec, checked) = read[cell].run(seed).map_err(|error| in_cell(cell, error))?;
            Ok(Planned { cell, seed, key: key(&checked), rank: 0, spec })
        };
        let runs: Vec<_> = (0..count).into_par_iter().map(one).collect();
        // Not collected as a result in parallel, which would keep any of several errors.
        let mut runs = runs.into_iter().collect::<Result<Vec<Planned>, _>>()?;
        rank(&mut runs).map_err(|(first, second)| SweepError::Duplicate {
            path: path.to_owned(),
            first: sweep.cell_name(first),
            second: sweep.cell_name(second),
        })?;
        let packed = sweep.pack()?;
        Ok(Plan { sweep, packed, runs })
    }

    /// The sweep.
    pub fn sweep(&self) -> &Sweep {
        &self.sweep
    }

    /// Its runs.
    pub fn runs(&self) -> &[Planned] {
        &self.runs
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.runs.len() / self.sweep.seeds.len()
    }

    /// The runs of a shard, by their place in the plan.
    pub fn of_shard(&self, shard: Shard) -> Vec<usize> {
        (0..self.runs.len()).filter(|index| shard.has(self.runs[*index].rank)).collect()
    }

    /// What is written into the folder: the text of the sweep, and files beside it.
    pub(super) fn packed(&self) -> &Packed {
        &self.packed
    }

    /// A run in words: its cell and its seed.
    pub fn name(&self, run: usize) -> String {
        let Planned { cell, seed, .. } = &self.runs[run];
        format!("{}, seed {seed}", self.sweep.cell_name(*cell))
    }
}

impl Sweep {
    /// Where on each axis a cell is.
    fn places(&self, cell: usize) -> Vec<usize> {
        let mut left = cell;
        let mut places: Vec<usize> = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            places.push(left % axis.cases.len());
            left /= axis.cases.len();
        }
        places.reverse();
        places
    }

    /// The labels of a cell, one for each axis.
    pub fn labels(&self, cell: usize) -> Vec<&str> {
        let places = self.axes.iter().zip(self.places(cell));
        places.map(|(axis, place)| axis.cases[place].label.as_str()).collect()
    }

    /// A cell in words.
    pub fn cell_name(&self, cell: usize) -> String {
        let labels = self.axes.iter().zip(self.labels(cell));
        let labels: Vec<String> =
            labels.map(|(axis, label)| format!("{}={label}", axis.name)).collect();
        if labels.is_empty() { "without axes".to_owned() } else { labels.join(", ") }
    }

    /// The values of a cell; those of axes replace those of the base.
    fn values(&self, cell: usize) -> Values<'_> {
        let mut values: Values<'_> =
            self.base.iter().map(|(key, given)| (key.as_str(), given)).collect();
        for (axis, place) in self.axes.iter().zip(self.places(cell)) {
            let set = axis.cases[place].set.iter();
            values.extend(set.map(|(key, given)| (key.as_str(), given)));
        }
        values
    }
}

fn key(spec: &CheckedSpec) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(&REVISION.to_le_bytes());
    // Names of files are shown in the summary, and in no specification that is written.
    add(spec.spec().workload.shown().to_string().as_bytes());
    for (name, content) in results::specification(spec) {
        add(name.as_bytes());
        add(&content);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Ranks the runs by their keys.
///
/// # Errors
/// The cells of two runs with one key.
fn rank(runs: &mut [Planned]) -> Result<(), (usize, usize)> {
    let mut by_key: BTreeMap<String, usize> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        if let Some(earlier) = by_key.insert(run.key.clone(), index) {
            return Err((runs[earlier].cell, run.cell));
        }
    }
    for (rank, index) in by_key.into_values().enumerate() {
        runs[index].rank = rank;
    }
    Ok(())
}

/// The path of a sweep in its folder.
pub(super) fn file_in(folder: &Path) -> PathBuf {
    folder.join(super::MARKER)
}
