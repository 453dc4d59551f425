//! The flags of what helps with the command line itself: `completions`, `manual`.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(sim completions bash)
  sim completions zsh > ~/.zfunc/_sim
  sim completions fish > ~/.config/fish/completions/sim.fish";

pub(super) const MANUAL_EXAMPLES: &str = "\
Examples:
  sim manual run | man -l -
  sim manual --out ~/.local/share/man/man1";

/// Flags of `sim completions`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// Shell that the script is for
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Flags of `sim manual`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ManualArguments {
    /// Command that the page is about, such as run or definition check [default: sim itself]
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    pub(crate) command: Vec<String>,

    /// Write the pages of all commands into this folder, beside what else is there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}
