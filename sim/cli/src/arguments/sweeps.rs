//! The flags of everything that has to do with sweeps: `sweep`, `status`, `merge`, `rerun`, `submit`.

use super::{runs, span_of_time, threads, whole_number};
use clap::{Args, ValueEnum};
use sim_lab::sweep::SHARDS_MAX;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const SWEEP_EXAMPLES: &str = "\
Examples:
  sim sweep experiments/sweep-hello.toml --plan
  sim sweep experiments/sweep-hello.toml
  sim sweep experiments/sweep-hello.toml --shard 1/2 --out sweep

A sweep that was interrupted, even killed, goes on where it was when the same
command is given again. Files: sweep.toml, runs.csv, table.csv, runs/, records/
and provenance.json. All but the last are the same bytes whatever the shards,
threads and interruptions.
Ends with exit code 1 if a check of a run failed, and with 3 if a run broke off;
the others are carried out all the same. docs/guide.md explains the file.";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  sim status results/runs/sweep-hello";

pub(super) const MERGE_EXAMPLES: &str = "\
Examples:
  sim merge results/runs/sweep-hello
  sim merge here/shards/00001-of-00002 there/shards/00002-of-00002 --out all

A folder whose shards are in shards/ takes them in itself. Nothing is written if
a run is missing, besides the runs that there are.";

pub(super) const RERUN_EXAMPLES: &str = "\
Examples:
  sim rerun --failed results/runs/sweep-hello

Runs of one build come to the same again: this is for after a fault was mended.";

pub(super) const SUBMIT_EXAMPLES: &str = "\
Examples:
  sim submit slurm big.toml --shards 200 --print
  sim submit slurm big.toml --shards 200 --time 30m --out /shared/big
  sim submit hq big.toml --shards 200 --out /shared/big
  sim submit slurm big.toml --shards 200 --out /shared/big --failed

The folder must be the same on all machines. How far it is: sim status DIR. With
hq, merge by hand when the array is over: sim merge DIR.";

/// Flags of `sim sweep`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SweepArguments {
    /// The sweep, a TOML file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Print what would be run, and what it costs, and run nothing
    #[arg(long, help_heading = "How much")]
    pub(crate) plan: bool,

    /// Run only a part: i/n, auto (from the environment of an array job) or auto/n
    #[arg(long, value_name = "i/n", help_heading = "How much", allow_hyphen_values = true)]
    pub(crate) shard: Option<String>,

    /// Stop after so many runs; the same command goes on
    #[arg(long, value_name = "N", help_heading = "How much",
          allow_negative_numbers = true, value_parser = runs)]
    pub(crate) runs: Option<u64>,

    /// Number of runs side by side [default: one for each core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    pub(crate) threads: Option<usize>,

    /// Folder of the sweep; a shard is in its folder shards/ [default: results/runs/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Flags of `sim status`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatusArguments {
    /// Folder of a sweep, or of one of its shards
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// Flags of `sim merge`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MergeArguments {
    /// Folders of shards, or one that holds them in shards/
    #[arg(value_name = "DIR", required = true)]
    pub(crate) folders: Vec<PathBuf>,

    /// Folder of the whole [default: the one that holds the shards]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Flags of `sim rerun`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RerunArguments {
    /// Folder of a sweep, or of one of its shards
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,

    /// Repeat runs whose checks failed or that broke off
    #[arg(long, required = true)]
    pub(crate) failed: bool,

    /// Number of runs side by side [default: one for each core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    pub(crate) threads: Option<usize>,
}

/// What takes jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scheduler {
    /// Slurm: sbatch
    Slurm,
    /// HyperQueue: hq
    Hq,
}

/// Flags of `sim submit`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SubmitArguments {
    /// What takes the jobs
    #[arg(value_name = "SCHEDULER")]
    pub(crate) scheduler: Scheduler,

    /// The sweep, a TOML file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Number of shards, each a task of one core; best of a minute or more each
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = shards)]
    pub(crate) shards: u32,

    /// Longest time of a task
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = span_of_time)]
    pub(crate) time: Duration,

    /// Only the shards that miss runs
    #[arg(long)]
    pub(crate) failed: bool,

    /// Folder of the sweep [default: results/runs/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Print the scripts and the commands, and submit nothing
    #[arg(long)]
    pub(crate) print: bool,
}

fn shards(text: &str) -> Result<u32, String> {
    whole_number(text, 1..=u64::from(SHARDS_MAX))
}
