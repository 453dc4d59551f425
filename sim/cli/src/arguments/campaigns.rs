//! The flags of everything that has to do with faults: `explore`, `replay`, `faults`.

use super::{hosts, runs, seed, span_of_time, threads};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const EXPLORE_EXAMPLES: &str = "\
Examples:
  sim explore --engine netherite --runs 1000
  sim explore --engine all --time 10m --out campaign
  sim explore --engine netherite --set netherite.dedup=false --runs 500

With --out, a campaign that was interrupted goes on where it was when the same
command is given again. What is found is made smaller and written beside it as
found-*.toml, for sim replay. Ends with exit code 1 if anything was found.";

pub(super) const REPLAY_EXAMPLES: &str = "\
Examples:
  sim replay experiments/regressions/*.toml
  sim replay campaign/found-netherite-completion-17.toml

Ends with exit code 1 if a run does not come to what its file says, digest
included.";

pub(super) const FAULTS_EXAMPLES: &str = "\
Examples:
  sim faults --explain experiments/faults/rough-network.toml
  sim faults --explain plan.toml --engine azure-storage --seed 8
  sim faults --chaos storm --seed 7
  sim run --faults plan.toml --seed 7

Kinds of faults and their keys: sim list faults. docs/faults.md explains plans.";
/// Flags of `sim explore`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExploreArguments {
    /// Engines that are explored, or all; can be given several times [default: netherite]
    #[arg(long, value_name = "NAME,...", help_heading = "What is explored")]
    pub(crate) engine: Vec<String>,

    /// Setting of an engine that all of its runs have; can be given several times
    #[arg(long = "set", value_name = "ENGINE.KEY=VALUE", help_heading = "What is explored")]
    pub(crate) settings: Vec<String>,

    /// Application and its parameters [default: one of several for each seed]
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]", help_heading = "What is explored")]
    pub(crate) workload: Option<String>,

    /// Level of chaos: calm, rough or storm [default: one of them for each seed]
    #[arg(long, value_name = "LEVEL", help_heading = "What is explored")]
    pub(crate) chaos: Option<String>,

    /// Kinds of faults that chaos draws from (sim list faults), or none [default: all that the engine
    /// promises to survive]
    #[arg(long, value_name = "KIND,...", help_heading = "What is explored")]
    pub(crate) kinds: Option<String>,

    /// Draw faults that the engine does not promise to survive, too
    #[arg(long, help_heading = "What is explored")]
    pub(crate) beyond_budget: bool,

    /// Checks that count although the engine does not promise their rules
    #[arg(
        long,
        value_name = "CHECK,...",
        help_heading = "What is explored",
        value_delimiter = ','
    )]
    pub(crate) strict: Vec<String>,

    /// Leave settings at their defaults, sizes too
    #[arg(long, help_heading = "What is explored")]
    pub(crate) fixed_settings: bool,

    /// Runs of each engine [default: 500]
    #[arg(long, value_name = "N", help_heading = "How long", default_value = "500",
          hide_default_value = true, allow_negative_numbers = true, value_parser = runs)]
    pub(crate) runs: u64,

    /// Stop after so much time for each engine, such as 10m, even if runs are left
    #[arg(long, value_name = "SPAN", help_heading = "How long", value_parser = span_of_time)]
    pub(crate) time: Option<Duration>,

    /// First seed [default: 1]
    #[arg(long, value_name = "N", help_heading = "Repeating",
          allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,

    /// Number of runs side by side [default: one for each core]
    #[arg(long, value_name = "N", help_heading = "How long",
          allow_negative_numbers = true, value_parser = threads)]
    pub(crate) threads: Option<usize>,

    /// Write states, coverage and what was found into this folder, and go on from there
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
}

/// Flags of `sim replay`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReplayArguments {
    /// Files of runs that found something
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// Flags of `sim faults`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FaultsArguments {
    /// Fault plan that is explained
    #[arg(long, value_name = "FILE", help_heading = "What goes wrong")]
    pub(crate) explain: Option<PathBuf>,

    /// Faults that the seed draws from the engine's fault budget: calm, rough or storm
    #[arg(long, value_name = "LEVEL", help_heading = "What goes wrong")]
    pub(crate) chaos: Option<String>,

    /// Storage engine [default: netherite]
    #[arg(long, value_name = "NAME", help_heading = "What runs")]
    pub(crate) engine: Option<String>,

    /// When orchestrations are started; faults without a span of their own happen as long as they are
    /// [default: open:rate=20,duration=30s]
    #[arg(long, value_name = "SHAPE", help_heading = "What runs")]
    pub(crate) load: Option<String>,

    /// Setting of the engine; can be given several times
    #[arg(long = "set", value_name = "ENGINE.KEY=VALUE", help_heading = "What runs")]
    pub(crate) settings: Vec<String>,

    /// Number of hosts [default: 4]
    #[arg(long, value_name = "N", help_heading = "Where it runs",
          allow_negative_numbers = true, value_parser = hosts)]
    pub(crate) hosts: Option<u32>,

    /// Seed that expands rates [default: 1]
    #[arg(long, value_name = "N", help_heading = "Repeating",
          allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,
}
