//! Sweeps: every combination of some axes, for several seeds, as one folder of runs.
//!
//! A sweep is a TOML file of `kind = "sweep"` ([`Sweep`]): what all runs have in common (`base`), what
//! varies (`axes`), and the seeds. It is expanded into a [`Plan`], in which every run was checked and has
//! a key, the hash over everything that its results depend on. The plan is carried out on any number of
//! threads, in any number of processes, on any number of machines ([`carry_out`]), and each run is
//! written down by its key when it has ended ([`SweepFolder`]). So a sweep that was killed goes on with
//! what is missing, and the folders of shards are merged by copying ([`SweepFolder::take_in`]).
//!
//! | file | holds |
//! |---|---|
//! | `sweep.toml` | the sweep, every choice written out |
//! | `files/HASH/NAME` | profiles, fault plans and inputs of workloads that it names |
//! | `shard.toml` | which part of the sweep this folder has, if it is not all |
//! | `runs/KEY/` | what `sim run --out` writes of a run, as far as `keep` says |
//! | `records/KEY.json` | what the run came to, and the hashes of its files |
//! | `runs.csv` | a row for each run, in the order of the plan |
//! | `table.csv` | a row for each cell, over its seeds: means and intervals |
//! | `provenance.json` | what may differ between machines |
//!
//! The two tables are written when no run is missing. Everything but `provenance.json` (in the folder and
//! in each run's) is the same bytes whatever the shards, threads and interruptions.
//!
//! Assumptions: files of one folder are renamed atomically, and one process at a time writes to a folder
//! (it holds a lock on `sweep.toml`). A record counts only if its seal and all its files are intact, so
//! that what a crash has torn is run again.

mod axis;
mod carry_out;
mod cell;
mod file;
mod folder;
mod interval;
mod plan;
mod record;
mod shard;
mod table;

pub use axis::{Axis, AxisCase, Given};
pub use carry_out::{Watch, carry_out};
pub use folder::{Loaded, SHARDS, SweepFolder, check_same, load, provenance_of, shard_of};
pub use interval::Interval;
pub use plan::{Plan, Planned, RUNS_MAX};
pub use record::{Outcome, Record};
pub use shard::{SHARDS_MAX, Shard, ShardError};
pub use table::{CellRow, cells, runs_csv, table_csv};

use crate::results::ResultsError;
use crate::run::RunError;
use crate::spec::SpecError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use thiserror::Error;

/// The file by which the folder of a sweep is known.
pub const MARKER: &str = "sweep.toml";

/// How much is kept of each run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// What repeats it, and its summary.
    #[default]
    Summary,
    /// Its tables, too.
    Tables,
}

/// A sweep, as its file says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// What stands over its table.
    pub title: String,
    /// One line that says what it does.
    pub summary: String,
    /// How much is kept of each run.
    pub keep: Keep,
    /// A run of every cell for each of these.
    pub seeds: Vec<u64>,
    /// What all runs have in common, by key.
    pub base: BTreeMap<String, Given>,
    /// What varies: the first axis slowest.
    pub axes: Vec<Axis>,
}

/// A sweep, or a folder of one, that does not fit.
#[derive(Debug, Error)]
pub enum SweepError {
    /// A file that cannot be read.
    #[error("{}: {problem}", path.display())]
    Cannot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Something in the file.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<SpecError>,
    },
    /// A cell that cannot be run.
    #[error("{}: cell {cell}: {problem}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// The cell, by its axes.
        cell: String,
        /// What is wrong with it.
        problem: Box<RunError>,
    },
    /// Two runs that are the same.
    #[error("{}: cells {first} and {second} are the same run", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The first of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The folder of another sweep.
    #[error(
        "{}: holds the results of another sweep ({what} differs): choose a new or empty folder",
        path.display()
    )]
    Other {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// A folder that another process writes to.
    #[error("{}: another process is writing to this sweep; wait for it, or choose another folder", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A folder without a sweep.
    #[error("{}: holds no sweep (no {MARKER})", path.display())]
    NoSweep {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that cannot be read or written.
    #[error(transparent)]
    Results(#[from] ResultsError),
}
