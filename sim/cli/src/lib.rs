//! The command line of the testbed: reads what a person asks for, hands it to the lab, and shows
//! what comes back.
//!
//! Nothing here can change a result. Results go to standard output and to `--out`; progress, wall
//! time and errors go to standard error. Standard output has the same bytes for the same command
//! and build, whatever the machine, as long as it is not a terminal.
//!
//! | room | holds |
//! |---|---|
//! | `arguments` | commands, flags, help |
//! | `commands` | one file for each command |
//! | `summary` | the summary for a person |
//! | `report`, `critical_path` | the summary, and one latency, for a person |
//! | `repeat` | the command that repeats a run |
//! | `failure` | errors, exit codes |
//! | `crash` | what is said after a panic |
//! | `terminal`, `text` | width, colours, progress bar; wrapping and tables |
//! | `wall` | the only reader of the wall clock |
#![forbid(unsafe_code)]

mod arguments;
mod commands;
pub mod crash;
mod critical_path;
mod failure;
mod repeat;
mod summary;
mod terminal;
mod text;
mod wall;

use arguments::{Cli, Command};
use failure::Failure;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command with these arguments, the first of which is the name of the program, and
/// returns its exit code: 0 success, 1 a check failed, 2 bad input, 3 the run could not be carried
/// out.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    crash::install();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::complain(&failure.to_string());
            failure.exit_code()
        }
    }
}

fn run(arguments: &[OsString]) -> Result<(), Failure> {
    let cli = match Cli::parse_arguments(arguments, terminal::is_narrow()) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // Help or version was asked for; a reader that is gone is not a fault.
            let _ = error.print();
            return Ok(());
        }
        Err(error) => return Err(failure::of_arguments(&error, arguments)),
    };
    match cli.command {
        Command::Run(asked) => commands::run::run(&asked),
        Command::Saturate(asked) => commands::saturate::saturate(&asked),
        Command::Sensitivity(asked) => commands::sensitivity::sensitivity(&asked),
        Command::Explore(asked) => commands::explore::explore(&asked),
        Command::Replay(asked) => commands::replay::replay(&asked),
        Command::Faults(asked) => commands::faults::faults(&asked),
        Command::List(asked) => commands::list::list(&asked),
        Command::Compare(asked) => commands::compare::compare(&asked),
        Command::Definition(asked) => commands::definition::definition(&asked),
        Command::Diverge(asked) => commands::diverge::diverge(&asked),
        Command::Explain(asked) => commands::explain::explain(&asked),
        Command::Figure(asked) => commands::figure::figure(&asked),
        Command::Report(asked) => commands::report::report(&asked),
        Command::Sweep(asked) => commands::sweep::sweep(&asked),
        Command::Status(asked) => commands::sweep_folder::status(&asked),
        Command::Merge(asked) => commands::sweep_folder::merge(&asked),
        Command::Rerun(asked) => commands::sweep_folder::rerun(&asked),
        Command::Submit(asked) => commands::submit::submit(&asked),
        Command::Completions(asked) => commands::completions::completions(&asked),
        Command::Manual(asked) => commands::manual::manual(&asked),
    }
}
