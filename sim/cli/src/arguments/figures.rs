//! The flags of what is drawn: `figure`, `report`.

use super::{seeds, threads};
use clap::Args;
use std::path::PathBuf;

pub(super) const FIGURE_EXAMPLES: &str = "\
Examples:
  sim figure netherite-hello-latency
  sim figure netherite-hello-latency --seeds 2 --out figure
  sim figure --all --quick
  sim figure my-experiment.toml

Files: NAME.svg, NAME.png, table.csv, runs.csv, experiment.toml, and
provenance.json. All but the last are the same for any number of threads.
--all also writes claims.csv, and ends with exit code 1 if a claim is missed
and experiments/claims.toml does not say why.";

pub(super) const REPORT_EXAMPLES: &str = "\
Examples:
  sim run --seed 7 --out runs/a
  sim run --seed 8 --out runs/b
  sim report runs
  sim report results --out results.html
  sim report runs --trace-window 12s..12500ms

The page is one file that loads nothing: it can be sent by mail, and opens from
a disk. It has every run and every result of an experiment below the folder.";

/// Flags of `sim figure`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FigureArguments {
    /// Name of the figure, see sim list figures; or the path of an experiment of your own, a file that
    /// ends in .toml
    #[arg(value_name = "NAME|PATH", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) name: Option<String>,

    /// Rebuild every figure, and say which claims about them are met
    #[arg(long, conflicts_with = "seeds")]
    pub(crate) all: bool,

    /// Few runs for a first look: one seed, few numbers of hosts, short campaigns
    #[arg(long, conflicts_with = "seeds")]
    pub(crate) quick: bool,

    /// Folder for the files [default: results/runs/NAME; with --all a folder for each figure in
    /// results/runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Number of seeds, each a run of every curve [default: those of the experiment]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seeds)]
    pub(crate) seeds: Option<usize>,

    /// Number of runs side by side [default: one for each core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = threads)]
    pub(crate) threads: Option<usize>,
}

/// Flags of `sim report`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReportArguments {
    /// Folder with results, at any depth: of sim run --out, sim figure, sim compare --out, sweeps
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,

    /// The page [default: report.html in the folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// What the space-time views of traced runs show, such as 2s..2500ms or 2s.., in virtual time from
    /// the start of a run [default: from the first fault or the first message of the load on]; as
    /// much of it as a page has room for
    #[arg(long, value_name = "FROM..UNTIL")]
    pub(crate) trace_window: Option<String>,
}
