//! The flags of commands that carry out many runs to answer one question: `saturate`, `sensitivity`.

use super::{Seeds, hosts, partitions, seed_list, span_of_time, threads};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const SATURATE_EXAMPLES: &str = "\
Examples:
  sim saturate --engine netherite --target 'p95<500ms'
  sim saturate --engine sql-server --workload bank --target 'client.p99<1s' \\
      --seeds 1..5 --tolerance 2% --out bank-on-sql

Each seed searches by itself: rates are doubled or halved until one meets the
target and another does not, then the gap is halved until it is within the
tolerance. The result is the mean over the seeds with its interval. A target is
a latency of those that 'sim run --require' has.
Ends with exit code 1 if no rate meets the target under some seed.";

pub(super) const SENSITIVITY_EXAMPLES: &str = "\
Examples:
  sim sensitivity --engine netherite
  sim sensitivity --engine azure-storage --workload bank --metric client.p99 \\
      --parameter settings --parameter profile.services --out what-matters
  sim sensitivity --parameter profile.cpu.step --factor 1.5 --seeds 1..10

Parameters are settings (netherite.KEY) and numbers of the profile
(profile.SECTION.KEY); a name also stands for all that begin with it and a
point. Switches of safety mechanisms are tried only if they are named. A value
that leaves the run as it is, event for event, is tried under one seed only.";

/// What runs, and where.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlaceArguments {
    /// Storage engine [default: netherite]
    #[arg(long, value_name = "NAME", help_heading = "What runs")]
    pub(crate) engine: Option<String>,

    /// Application and its parameters [default: hello:length=5]
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]", help_heading = "What runs")]
    pub(crate) workload: Option<String>,

    /// Setting of the engine; can be given several times
    #[arg(long = "set", value_name = "ENGINE.KEY=VALUE", help_heading = "What runs")]
    pub(crate) settings: Vec<String>,

    /// A replication for each of these seeds: 1..3 (both included) or 1,5,9 [default: 1..3]
    #[arg(long, value_name = "SEEDS", help_heading = "What runs",
          default_value = "1..3", hide_default_value = true, value_parser = seed_list)]
    pub(crate) seeds: Seeds,

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

    /// Write table, specification, figure and provenance into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,

    /// Print one JSON object on standard output and nothing else
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

/// Flags of `sim saturate`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SaturateArguments {
    /// Latency that has to be kept, such as p95<500ms or client.p99<1s
    #[arg(long, value_name = "BOUND", help_heading = "What is searched for")]
    pub(crate) target: String,

    /// Part of what is offered that has to be completed in time [default: 95%]
    #[arg(long, value_name = "PERCENT", help_heading = "What is searched for",
          default_value = "95%", hide_default_value = true, value_parser = percent)]
    pub(crate) completes: f64,

    /// How far apart the last rate that meets the target and the next may be [default: 5%]
    #[arg(long, value_name = "PERCENT", help_heading = "What is searched for",
          default_value = "5%", hide_default_value = true, value_parser = percent)]
    pub(crate) tolerance: f64,

    /// First rate that is tried, a second [default: 10]
    #[arg(
        long,
        value_name = "RATE",
        help_heading = "What is searched for",
        default_value = "10",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pub(crate) start_rate: f64,

    /// Lowest rate that may be tried [default: 1]
    #[arg(
        long,
        value_name = "RATE",
        help_heading = "What is searched for",
        default_value = "1",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pub(crate) min_rate: f64,

    /// Highest rate that may be tried [default: 10000]
    #[arg(
        long,
        value_name = "RATE",
        help_heading = "What is searched for",
        default_value = "10000",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pub(crate) max_rate: f64,

    /// How long each rate is offered [default: 30s]
    #[arg(long, value_name = "SPAN", help_heading = "What is searched for",
          default_value = "30s", hide_default_value = true, value_parser = span_of_time)]
    pub(crate) duration: Duration,

    #[command(flatten)]
    pub(crate) place: PlaceArguments,
}

/// Flags of `sim sensitivity`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SensitivityArguments {
    /// What is looked at: throughput, work, latency.p50 to .max, client.p50 to .max, operations,
    /// kilobytes or cost [default: latency.p95]
    #[arg(
        long,
        value_name = "METRIC",
        help_heading = "What is analysed",
        default_value = "latency.p95",
        hide_default_value = true
    )]
    pub(crate) metric: String,

    /// Parameters that are tried: settings, profile, or names of them; can be given several times
    /// [default: all]
    #[arg(long = "parameter", value_name = "NAME", help_heading = "What is analysed")]
    pub(crate) parameters: Vec<String>,

    /// What numbers are divided and multiplied by [default: 2]
    #[arg(
        long,
        value_name = "FACTOR",
        help_heading = "What is analysed",
        default_value = "2",
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pub(crate) factor: f64,

    /// Rows that are printed; all are in table.csv [default: 20]
    #[arg(
        long,
        value_name = "N",
        help_heading = "Output",
        default_value = "20",
        hide_default_value = true
    )]
    pub(crate) top: usize,

    /// When orchestrations are started [default: that of the workload]
    #[arg(long, value_name = "SHAPE", help_heading = "What runs")]
    pub(crate) load: Option<String>,

    #[command(flatten)]
    pub(crate) place: PlaceArguments,
}

/// `5%`, or `0.05`.
fn percent(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let part = number.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    part.map(|number| number / scale).ok_or_else(|| "expected percent such as 5%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_parts() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("0.05"), Ok(0.05));
        for bad in ["", "%", "five", "NaN%", "inf"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
