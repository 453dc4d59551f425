//! The flags of what happened, event by event: `run --trace`, `explain`.

use super::whole_number;
use clap::Args;
use sim_lab::trace::EVENTS_MAX_DEFAULT;
use std::path::PathBuf;

/// Most events of a trace.
const EVENTS_MAX: u64 = 100_000_000;

pub(super) const EXPLAIN_EXAMPLES: &str = "\
Examples:
  sim run --engine netherite --seed 7 --out a
  sim explain a
  sim explain a --percentile 50
  sim explain a --orchestration 000017
  sim explain a --json | jq .timing_ns

The run is repeated from spec.toml of the folder. Ends with exit code 1 if its
digest is not that of summary.json: then another build made the folder.";

/// Flags of `sim explain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Folder of the run, made by sim run --out
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,

    /// Name of the orchestration (first column of latency.csv), or its begin if no other begins like
    /// that [default: the one with the longest latency]
    #[arg(long, value_name = "ID")]
    pub(crate) orchestration: Option<String>,

    /// The orchestration whose latency this percentage of all does not exceed
    #[arg(long, value_name = "P", conflicts_with = "orchestration",
          allow_negative_numbers = true, value_parser = percentage)]
    pub(crate) percentile: Option<f64>,

    /// Print one JSON object on standard output and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

fn percentage(text: &str) -> Result<f64, String> {
    let fits = |value: &f64| (0.0..=100.0).contains(value);
    text.parse::<f64>()
        .ok()
        .filter(fits)
        .ok_or_else(|| "expected a number from 0 to 100".to_owned())
}

/// Flags of `sim run` about its trace.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TraceArguments {
    /// Write what happened, event by event, for Perfetto (ui.perfetto.dev) and speedscope [default
    /// FILE: trace.json in the folder of --out or else here]
    #[arg(long, value_name = "FILE", num_args = 0..=1, help_heading = "Output")]
    #[allow(clippy::option_option, reason = "a flag that may have a value")]
    pub(crate) trace: Option<Option<PathBuf>>,

    /// Part of virtual time that the trace shows, such as 2s..5s, 2s.. or ..5s, from the start of the
    /// run [default: all]
    #[arg(long, value_name = "FROM..UNTIL", requires = "trace", help_heading = "Output")]
    pub(crate) trace_window: Option<String>,

    /// Most events of the trace; what begins later is left out
    #[arg(long, value_name = "N", requires = "trace", help_heading = "Output",
          allow_negative_numbers = true, default_value_t = EVENTS_MAX_DEFAULT,
          value_parser = events)]
    pub(crate) trace_events: u64,
}

fn events(text: &str) -> Result<u64, String> {
    whole_number(text, 1..=EVENTS_MAX)
}
