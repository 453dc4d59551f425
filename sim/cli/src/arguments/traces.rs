//! The flags of what happened, event by event: `run --trace`, `explain`.

use super::whole_number;
use clap::Args;
use sim_lab::trace::EVENTS_MAX_DEFAULT;
use std::path::PathBuf;

/// Most events of a trace.
const EVENTS_MAX: u64 = 100_000_000;

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
