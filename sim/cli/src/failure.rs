//! What can go wrong, and the exit code it ends with.

use crate::arguments::Cli;
use clap::CommandFactory;
use clap::error::ErrorKind;
use sim_lab::diverge::DivergeError;
use sim_lab::explain::ExplainError;
use sim_lab::run::RunError;
use sim_lab::spec::SpecError;
use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

/// The exit codes that are not success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command was carried out, and a check failed or two runs differ.
    CheckFailed = 1,
    /// What was asked for does not exist, does not fit, or cannot be read or written.
    BadInput = 2,
    /// The run could not be carried out to its end.
    NotCarriedOut = 3,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// A failure with the error that led to it.
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit, error: error.into() }
    }

    /// Bad input.
    pub(crate) fn input(error: impl Into<anyhow::Error>) -> Failure {
        Failure::new(Exit::BadInput, error)
    }

    /// Failed checks, named.
    pub(crate) fn checks(message: String) -> Failure {
        Failure::new(Exit::CheckFailed, anyhow::Error::msg(message))
    }

    /// The code the process ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    /// One line: the error and what led to it, unless its message says that already. Control
    /// characters are shown, not sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for cause in self.error.chain().map(|cause| cause.to_string()) {
            if text.is_empty() {
                text = cause;
            } else if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        f.write_str(&one_line(&text))
    }
}

fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push_str("; ");
        }
        for letter in part.chars() {
            match letter.is_control() {
                true => line.extend(letter.escape_default()),
                false => line.push(letter),
            }
        }
    }
    line
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Failure {
        Failure::input(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        let exit = match error {
            // Settings that contradict each other, or a plan that the profile does not have.
            RunError::Deploy(_) | RunError::World(_) | RunError::Fault(_) => Exit::BadInput,
            RunError::Kernel(_) => Exit::NotCarriedOut,
        };
        Failure::new(exit, error)
    }
}

impl From<DivergeError> for Failure {
    fn from(error: DivergeError) -> Failure {
        let exit = match &error {
            DivergeError::Run { source: RunError::Kernel(_), .. } => Exit::NotCarriedOut,
            _ => Exit::BadInput,
        };
        Failure::new(exit, error)
    }
}

impl From<ExplainError> for Failure {
    fn from(error: ExplainError) -> Failure {
        let exit = match &error {
            ExplainError::Run { source: RunError::Kernel(_), .. } => Exit::NotCarriedOut,
            _ => Exit::BadInput,
        };
        Failure::new(exit, error)
    }
}

/// The failure behind an error of the argument parser, as one line that says where help is.
pub(crate) fn of_arguments(error: &clap::Error, arguments: &[OsString]) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let missing = match help_command(arguments).as_str() {
            help @ "sim definition --help" => format!("a command is missing: check; see '{help}'"),
            help => format!("a command is missing: {}; see '{help}'", commands().join(", ")),
        };
        return Failure::input(anyhow::Error::msg(missing));
    }
    if error.kind() == ErrorKind::InvalidUtf8 {
        let strange = arguments.iter().position(|argument| argument.to_str().is_none());
        if let Some(index) = strange {
            let message = format!("argument {index}, {:?}, is not UTF-8 text", arguments[index]);
            return Failure::input(anyhow::Error::msg(message));
        }
    }
    Failure::input(anyhow::Error::msg(condense(&error.to_string(), &help_command(arguments))))
}

/// The names of all commands.
fn commands() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

/// The command whose help speaks of what was asked for.
fn help_command(arguments: &[OsString]) -> String {
    let command = arguments.get(1).and_then(|argument| argument.to_str());
    match command.filter(|name| commands().iter().any(|known| known == name)) {
        Some(name) => format!("sim {name} --help"),
        None => "sim --help".to_owned(),
    }
}

/// The paragraphs of the parser's message in one line, without its usage text.
fn condense(message: &str, help: &str) -> String {
    let mut parts = Vec::new();
    for paragraph in message.split("\n\n") {
        let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let text = text.strip_prefix("tip: ").unwrap_or(text);
        if !(text.is_empty() || text.starts_with("Usage:") || text.starts_with("For more")) {
            parts.push(text.to_owned());
        }
    }
    format!("{}; see '{help}'", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_model::engine::DeployError;
    use sim_model::time::Timestamp;
    use sim_world::kernel::KernelError;

    #[test]
    fn an_error_is_one_line_and_sends_no_control_characters() {
        let error = anyhow::Error::msg("found \u{1b}[31m\r\n  in line 2\n").context("spec.toml");
        let failure = Failure::input(error);
        assert_eq!(failure.to_string(), "spec.toml: found \\u{1b}[31m; in line 2");
    }

    #[test]
    fn the_exit_code_tells_bad_input_from_a_run_that_broke_off() {
        let stuck = || RunError::Kernel(KernelError::Stuck { at: Timestamp::ZERO });
        assert_eq!(Failure::from(stuck()).exit, Exit::NotCarriedOut);
        let side = DivergeError::Run { folder: "a".into(), source: stuck() };
        assert_eq!(Failure::from(side).exit, Exit::NotCarriedOut);
        let problem = "needs more partitions".to_owned();
        let refused = RunError::Deploy(DeployError::Unsupported { engine: "netherite", problem });
        assert_eq!(Failure::from(refused).exit, Exit::BadInput);
        let missing = SpecError::Twice { place: "seed".to_owned() };
        assert_eq!(Failure::from(missing).exit, Exit::BadInput);
    }

    #[test]
    fn a_cause_is_not_told_twice() {
        let cause = std::io::Error::other("disk full");
        let error = anyhow::Error::new(cause).context("out: cannot write: disk full");
        assert_eq!(Failure::input(error).to_string(), "out: cannot write: disk full");
        let error = anyhow::Error::msg("disk full").context("out");
        assert_eq!(Failure::input(error).to_string(), "out: disk full");
    }

    #[test]
    fn the_message_of_the_parser_loses_its_usage() {
        let message = "error: unexpected argument '--enigne' found\n\n  tip: a similar argument \
                       exists: '--engine'\n\nUsage: sim run --engine <NAME>\n\nFor more \
                       information, try '--help'.\n";
        assert_eq!(
            condense(message, "sim run --help"),
            "unexpected argument '--enigne' found; a similar argument exists: '--engine'; see \
             'sim run --help'"
        );
    }
}
