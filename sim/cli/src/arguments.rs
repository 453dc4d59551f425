//! Commands and flags, as the parser and its help have them.
//!
//! Names and values that only the lab can judge are taken as text: the lab's messages name the
//! nearest valid choice.

mod campaigns;
mod figures;
mod searches;
mod setup;
mod sweeps;
mod traces;

pub(crate) use campaigns::{ExploreArguments, FaultsArguments, ReplayArguments};
pub(crate) use figures::{FigureArguments, ReportArguments};
pub(crate) use searches::{PlaceArguments, SaturateArguments, SensitivityArguments};
pub(crate) use setup::{CompletionsArguments, ManualArguments};
pub(crate) use sweeps::{
    MergeArguments, RerunArguments, Scheduler, StatusArguments, SubmitArguments, SweepArguments,
};
pub(crate) use traces::{ExplainArguments, TraceArguments};

use campaigns::{EXPLORE_EXAMPLES, FAULTS_EXAMPLES, REPLAY_EXAMPLES};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use figures::{FIGURE_EXAMPLES, REPORT_EXAMPLES};
use searches::{SATURATE_EXAMPLES, SENSITIVITY_EXAMPLES};
use setup::{COMPLETIONS_EXAMPLES, MANUAL_EXAMPLES};
use sim_lab::spec::{HOSTS_MAX, PARTITIONS_MAX, SEED_MAX};
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use sweeps::{MERGE_EXAMPLES, RERUN_EXAMPLES, STATUS_EXAMPLES, SUBMIT_EXAMPLES, SWEEP_EXAMPLES};
use traces::EXPLAIN_EXAMPLES;

/// Most seeds of one figure.
const SEEDS_MAX: u64 = 1_000;
/// Most runs of one campaign.
const RUNS_MAX: u64 = 100_000_000;
/// Most threads.
const THREADS_MAX: u64 = 1_024;

const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    a check failed (sim run, sim compare, sim figure, sim explore, sim sweep),
       two runs differ (sim diverge, sim compare), a threshold is not kept
       (--require, --fail-if), nothing meets a target (sim saturate), a claim is
       missed (sim figure --all), or a run comes to something else than its file
       says (sim replay, sim explain)
  2    bad input: a name, value, file or folder that does not fit
  3    the work could not be carried out: a run is stuck or reached its limit of
       virtual time (in a sweep the others go on), or results could not be
       written
  101  a fault of the simulator; please report it

Examples:
  sim run --engine netherite --seed 7
  sim list settings
  sim help run";

const RUN_EXAMPLES: &str = "\
Examples:
  sim run --engine netherite --seed 7
  sim run --engine azure-storage --workload hello:length=3 --load batch:1000
  sim run --load open:rate=50,duration=1m --plan EP1 --hosts 8
  sim run --set netherite.speculation=none --out none --seed 7
  sim run --spec none/spec.toml --seed 8
  sim run --json | jq .latency_ms.p50
  sim run --workload bank --history bank.edn
  sim run --require 'latency.p99<100ms' --require 'throughput>15'
  sim run --load batch:20 --trace trace.json

Metrics of --require: throughput, work, latency.p50, .p90, .p95, .p99, .p99_9,
.max, client.p50 to client.max, operations, kilobytes, cost.
Names and settings: sim list. Exit codes: sim --help.";

const COMPARE_EXAMPLES: &str = "\
Examples:
  sim compare --workload hello --load open:rate=20,duration=10s
  sim compare --engine netherite --engine azure-storage --workload dag --out a
  sim compare --results
  sim compare --results --workload bank --engine netherite --seeds 1..5
  sim compare --results --workload hello --load batch:50 --json
  sim compare before after --fail-if 'latency.p50>+5%'
  sim compare runs/netherite runs/azure-storage --json

With two folders (runs of sim run --out, folders of such folders, experiments),
their runs are paired by specification and seed, and each metric has its paired
difference with an interval and a verdict; B is judged against A. Several seeds
are needed for an interval. Metrics: throughput, work, latency.p50 to .max,
client.p50 to .max, operations, kilobytes, cost.

Without folders and --results, one table says what the workloads cost on each engine, and
--out writes table.csv, runs.csv and a figure. An engine that cannot carry a
workload has a row that says so.
Ends with exit code 1 if a check of a run failed, a --fail-if holds or, with
--results, a final state differs from that of in-memory.";

const LIST_EXAMPLES: &str = "\
Examples:
  sim list
  sim list settings | grep speculation";

const DEFINITION_EXAMPLES: &str = "\
Examples:
  sim definition check experiments/definitions/order-pipeline.asl.json
  sim definition check trip.json --functions trip.toml
  sim run --workload definition:trip.json,functions=trip.toml

Ends with exit code 2 if the definition is not valid; every problem is named
with its state and field. docs/definitions.md says what is read and how.";

const DIVERGE_EXAMPLES: &str = "\
Examples:
  sim run --seed 7 --out a
  sim run --seed 8 --out b
  sim diverge a b

Ends with exit code 0 if the runs are equal and with 1 if they differ.";

/// Deterministic simulation of storage engines for stateful serverless applications.
///
/// The application, its load, the hosts, the network and the cloud services are simulated from one
/// seed; only the engine changes. The same command prints the same digest on every machine.
#[derive(Debug, Parser)]
#[command(name = "sim", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the arguments; the first is the name of the program. With `narrow`, help puts
    /// explanations under the flags, not beside them.
    ///
    /// # Errors
    /// What is wrong with them, or the help or version that they ask for.
    pub(crate) fn parse_arguments(
        arguments: &[OsString],
        narrow: bool,
    ) -> Result<Cli, clap::Error> {
        let lay_out = |command: clap::Command| command.next_line_help(narrow);
        let command = lay_out(Cli::command()).mut_subcommands(lay_out);
        Cli::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one workload on one engine and print what came out
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArguments),
    /// Compare two results, or run workloads on several engines and compare what they come to
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArguments),
    /// Search for the highest rate at which an engine still meets a latency target
    #[command(after_help = SATURATE_EXAMPLES)]
    Saturate(SaturateArguments),
    /// Rank the parameters of engine and profile by how far each moves a result
    #[command(after_help = SENSITIVITY_EXAMPLES)]
    Sensitivity(SensitivityArguments),
    /// Search for what an engine does wrong under faults, with many small runs
    #[command(after_help = EXPLORE_EXAMPLES)]
    Explore(ExploreArguments),
    /// Repeat runs that found something, and say whether they still do
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArguments),
    /// Explain a fault plan and print the faults that the seed makes of it
    #[command(after_help = FAULTS_EXAMPLES)]
    Faults(FaultsArguments),
    /// List what can be asked for: engines, workloads, loads, profiles, plans, settings, ablations,
    /// faults,
    /// figures
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArguments),
    /// Check workflow definitions written for other platforms
    #[command(after_help = DEFINITION_EXAMPLES)]
    Definition(DefinitionArguments),
    /// Name the first event in which two runs differ
    #[command(after_help = DIVERGE_EXAMPLES)]
    Diverge(DivergeArguments),
    /// Say where the time of one orchestration of a run went, step by step
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArguments),
    /// Run an experiment, draw it beside what was measured, and print the comparison
    #[command(after_help = FIGURE_EXAMPLES)]
    Figure(FigureArguments),
    /// Make one page, for a browser, of the results in a folder
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArguments),
    /// Run every combination of some axes for several seeds, and go on where that was interrupted
    #[command(after_help = SWEEP_EXAMPLES)]
    Sweep(SweepArguments),
    /// Say how far a sweep is: done, missing, failed
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArguments),
    /// Merge the shards of a sweep
    #[command(after_help = MERGE_EXAMPLES)]
    Merge(MergeArguments),
    /// Repeat the runs of a sweep that failed
    #[command(after_help = RERUN_EXAMPLES)]
    Rerun(RerunArguments),
    /// Submit the shards of a sweep to Slurm or HyperQueue
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(SubmitArguments),
    /// Print a script by which a shell completes commands, flags and names
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArguments),
    /// Print the manual page of a command, or write those of all
    #[command(after_help = MANUAL_EXAMPLES)]
    Manual(ManualArguments),
}

/// Flags of `sim run`. Absent ones leave the default, or what `--spec` says.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RunArguments {
    /// Storage engine [default: netherite]
    #[arg(long, value_name = "NAME", help_heading = "What runs")]
    pub(crate) engine: Option<String>,

    /// Application and its parameters [default: hello:length=5]
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]", help_heading = "What runs")]
    pub(crate) workload: Option<String>,

    /// When orchestrations are started: batch:N, open:rate=R,duration=T or
    /// closed:clients=N,duration=T [default: that of the workload; open:rate=20,duration=30s for
    /// hello]
    #[arg(long, value_name = "SHAPE", help_heading = "What runs")]
    pub(crate) load: Option<String>,

    /// Setting of the engine; can be given several times
    #[arg(long = "set", value_name = "ENGINE.KEY=VALUE", help_heading = "What runs")]
    pub(crate) settings: Vec<String>,

    /// Machine size of the hosts [default: EP2]
    #[arg(long, value_name = "NAME", help_heading = "Where it runs")]
    pub(crate) plan: Option<String>,

    /// Number of hosts [default: 4]
    #[arg(long, value_name = "N", help_heading = "Where it runs",
          allow_negative_numbers = true, value_parser = hosts)]
    pub(crate) hosts: Option<u32>,

    /// Number of partitions of the task hub [default: 12]
    #[arg(long, value_name = "N", help_heading = "Where it runs",
          allow_negative_numbers = true, value_parser = partitions)]
    pub(crate) partitions: Option<u32>,

    /// What happens to a host: crash:host=1,at=40s,for=15s, pause:host=1,at=40s,for=1m,
    /// leave:host=3,at=2m or join:host=3,at=1m, counted from the start of the load; can be given
    /// several times
    #[arg(long = "host-event", value_name = "EVENT", help_heading = "Where it runs")]
    pub(crate) host_events: Vec<String>,

    /// Let hosts join and leave by the votes of the engine, between these numbers of them; --hosts is
    /// how many there are at first
    #[arg(long, value_name = "min=N,max=N", help_heading = "Where it runs")]
    pub(crate) autoscale: Option<String>,

    /// Latencies, limits and prices: a name, or the path of a TOML file [default: azure-2021-10]
    #[arg(long, value_name = "NAME|PATH", help_heading = "Where it runs")]
    pub(crate) profile: Option<String>,

    /// Something that goes wrong, such as cut:from=worker-1,at=3s,for=10s; can be given several times.
    /// Kinds: sim list faults
    #[arg(long = "fault", value_name = "FAULT", help_heading = "What goes wrong")]
    pub(crate) faults: Vec<String>,

    /// Fault plan, whose rates the seed expands; explained by sim faults
    #[arg(long = "faults", value_name = "FILE", help_heading = "What goes wrong")]
    pub(crate) fault_plan: Option<PathBuf>,

    /// Faults that the seed draws from the engine's fault budget: calm, rough or storm
    #[arg(long, value_name = "LEVEL", help_heading = "What goes wrong")]
    pub(crate) chaos: Option<String>,

    /// Seed of all randomness [default: 1]
    #[arg(long, value_name = "N", help_heading = "Repeating",
          allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,

    /// Start from this specification (spec.toml of an earlier run); other flags override it
    #[arg(long, value_name = "FILE", help_heading = "Repeating")]
    pub(crate) spec: Option<PathBuf>,

    /// Write specification, tables, figure and provenance into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,

    /// Write what clients and callers of entities saw, for checkers outside: edn (Jepsen) or jsonl
    /// (one JSON object for each operation), as history.edn or history.jsonl in the folder of --out
    /// or else here; or the name of a file that ends in .edn or .jsonl
    #[arg(long, value_name = "FORM|FILE", help_heading = "Output")]
    pub(crate) history: Option<String>,

    /// End with exit code 1 if a metric does not keep within a bound, such as latency.p99<100ms or
    /// throughput>50; can be given several times
    #[arg(long, value_name = "BOUND", help_heading = "Output")]
    pub(crate) require: Vec<String>,
    #[command(flatten)]
    pub(crate) traces: TraceArguments,

    /// Print one JSON object on standard output and nothing else
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Flags of `sim compare`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompareArguments {
    /// Two results: folders of sim run --out, of experiments or comparisons, or folders of such folders
    #[arg(value_name = "A B", num_args = 0..=2)]
    pub(crate) folders: Vec<PathBuf>,

    /// End with exit code 1 if the mean change from A to B is beyond this, such as latency.p50>+5%
    /// or throughput<-5%; can be given several times
    #[arg(long, value_name = "CHANGE", help_heading = "What is compared")]
    pub(crate) fail_if: Vec<String>,

    /// Compare final states (of every orchestration, job and entity) with those of in-memory,
    /// instead of what the engines cost
    #[arg(long, help_heading = "What is compared")]
    pub(crate) results: bool,

    /// Engines that are compared, or all; can be given several times [default: all]
    #[arg(long, value_name = "NAME,...", help_heading = "What is compared")]
    pub(crate) engine: Vec<String>,

    /// Application and its parameters, or all; can be given several times [default: hello:length=5,
    /// with --results all]
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]", help_heading = "What is compared")]
    pub(crate) workload: Vec<String>,

    /// A run of everything for each of these seeds: 1..3 (both included) or 1,5,9 [default: 1..3]
    #[arg(long, value_name = "SEEDS", help_heading = "What is compared", value_parser = seed_list)]
    pub(crate) seeds: Option<Seeds>,

    /// The load of every workload [default: that of each]
    #[arg(long, value_name = "SHAPE", help_heading = "What is compared")]
    pub(crate) load: Option<String>,

    /// Machine size of the hosts [default: EP2]
    #[arg(long, value_name = "NAME", help_heading = "Where it runs")]
    pub(crate) plan: Option<String>,

    /// Number of hosts [default: 4]
    #[arg(long, value_name = "N", help_heading = "Where it runs",
          allow_negative_numbers = true, value_parser = hosts)]
    pub(crate) hosts: Option<u32>,

    /// Number of partitions of the task hub [default: 12]
    #[arg(long, value_name = "N", help_heading = "Where it runs",
          allow_negative_numbers = true, value_parser = partitions)]
    pub(crate) partitions: Option<u32>,

    /// Latencies, limits and prices: a name, or the path of a TOML file [default: azure-2021-10]
    #[arg(long, value_name = "NAME|PATH", help_heading = "Where it runs")]
    pub(crate) profile: Option<String>,

    /// Number of runs side by side [default: one for each core]
    #[arg(long, value_name = "N", help_heading = "Where it runs",
          allow_negative_numbers = true, value_parser = threads)]
    pub(crate) threads: Option<usize>,

    /// Write table, runs, figure and provenance into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output", conflicts_with = "results")]
    pub(crate) out: Option<PathBuf>,

    /// Print one JSON object on standard output and nothing else
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

impl CompareArguments {
    /// The seeds of runs: 1 to 3 if none are asked for.
    pub(crate) fn seeds(&self) -> Vec<u64> {
        self.seeds.as_ref().map_or_else(|| vec![1, 2, 3], |seeds| seeds.0.clone())
    }
}

/// Seeds in the order they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seeds(pub(crate) Vec<u64>);

/// Flags of `sim list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArguments {
    /// engines, workloads, loads, profiles, plans, settings, ablations, faults or figures; all if absent
    #[arg(value_name = "WHAT")]
    pub(crate) what: Option<String>,
}

/// Commands about workflow definitions.
#[derive(Clone, Debug, Args)]
pub(crate) struct DefinitionArguments {
    #[command(subcommand)]
    pub(crate) command: DefinitionCommand,
}

/// The commands about workflow definitions.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DefinitionCommand {
    /// Validate a definition and print its states, its functions and what is assumed
    Check(DefinitionCheckArguments),
}

/// Flags of `sim definition check`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DefinitionCheckArguments {
    /// A SeBS-Flow definition, or a document of the Amazon States Language
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// What the functions do, as TOML [default: each computes for 10 ms and echoes its input]
    #[arg(long, value_name = "FILE")]
    pub(crate) functions: Option<PathBuf>,
}

/// Flags of `sim diverge`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DivergeArguments {
    /// Folder of the first run, made by sim run --out
    #[arg(value_name = "A")]
    pub(crate) first: PathBuf,

    /// Folder of the second run
    #[arg(value_name = "B")]
    pub(crate) second: PathBuf,
}

fn hosts(text: &str) -> Result<u32, String> {
    whole_number(text, 1..=u64::from(HOSTS_MAX))
}

fn partitions(text: &str) -> Result<u32, String> {
    whole_number(text, 1..=u64::from(PARTITIONS_MAX))
}

fn seed(text: &str) -> Result<u64, String> {
    whole_number(text, 0..=SEED_MAX)
}

/// `1..3`, both included, or `1,5,9`.
fn seed_list(text: &str) -> Result<Seeds, String> {
    let form = || format!("expected seeds such as 1..3 or 1,5,9, at most {SEEDS_MAX} of them");
    let seeds = match text.split_once("..") {
        Some((first, last)) => {
            let (first, last) = (seed(first)?, seed(last.trim_start_matches('='))?);
            if first > last || last - first >= SEEDS_MAX {
                return Err(form());
            }
            (first..=last).collect()
        }
        None => text.split(',').map(seed).collect::<Result<Vec<u64>, String>>()?,
    };
    let mut distinct = seeds.clone();
    distinct.sort_unstable();
    distinct.dedup();
    match distinct.len() == seeds.len() && seeds.len() as u64 <= SEEDS_MAX {
        true => Ok(Seeds(seeds)),
        false => Err(form()),
    }
}

fn seeds(text: &str) -> Result<usize, String> {
    whole_number(text, 1..=SEEDS_MAX)
}

fn runs(text: &str) -> Result<u64, String> {
    whole_number(text, 1..=RUNS_MAX)
}

fn span_of_time(text: &str) -> Result<Duration, String> {
    sim_lab::span::parse(text).ok_or_else(|| format!("expected {}", sim_lab::span::EXPECTED))
}

fn threads(text: &str) -> Result<usize, String> {
    whole_number(text, 1..=THREADS_MAX)
}

fn whole_number<T: FromStr>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let fits = text.parse::<u64>().is_ok_and(|value| range.contains(&value));
    let expected = || format!("expected a whole number from {} to {}", range.start(), range.end());
    text.parse::<T>().ok().filter(|_| fits).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_lab::spec::RunSpec;

    #[test]
    fn the_parser_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_states_the_defaults_there_are() {
        let mut command = Cli::command();
        let run = command.find_subcommand_mut("run").expect("the command");
        let help = run.render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let spec = RunSpec::default();
        for default in [
            spec.engine.clone(),
            spec.workload.to_string(),
            spec.plan.clone(),
            spec.hosts.to_string(),
            spec.partitions.to_string(),
            spec.profile.clone(),
            spec.seed.to_string(),
        ] {
            assert!(help.contains(&format!("[default: {default}]")), "{default}: {help}");
        }
        let load = format!("that of the workload; {} for hello]", spec.load);
        assert!(help.contains(&load), "{help}");
        assert!(spec.settings.is_empty());
    }

    #[test]
    fn seeds_are_a_range_or_a_list() {
        assert_eq!(seed_list("1..3"), Ok(Seeds(vec![1, 2, 3])));
        assert_eq!(seed_list("7"), Ok(Seeds(vec![7])));
        assert_eq!(seed_list("9,1"), Ok(Seeds(vec![9, 1])));
        for bad in ["", "..", "3..1", "1..", "a", "1,1", "1..100000", "1,,2", "-1..2"] {
            assert!(seed_list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        let expected = "expected a whole number from 1 to 100";
        for bad in ["0", "-1", "101", "NaN", "1e3", "", "99999999999999999999999", "4.0"] {
            assert_eq!(hosts(bad), Err(expected.to_owned()), "{bad}");
        }
        assert_eq!(hosts("100"), Ok(100));
        assert_eq!(seed("0"), Ok(0));
    }
}
