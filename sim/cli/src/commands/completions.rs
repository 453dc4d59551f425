//! `sim completions SHELL`: a script by which a shell completes commands, flags, and the names that
//! engines, workloads, settings, plans, profiles, lists and figures have in this build.
//!
//! Names reach the parser as text, because the lab judges them (see `arguments`). Here each flag that
//! takes one gets the list of names, so that the script can offer them.

use super::list;
use crate::arguments::{Cli, CompletionsArguments};
use crate::failure::Failure;
use crate::terminal;
use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use sim_lab::fault::Chaos;

/// Prints the script.
pub(crate) fn completions(asked: &CompletionsArguments) -> Result<(), Failure> {
    terminal::print(&script(asked.shell))
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut with_names(Cli::command()), "sim", &mut script);
    String::from_utf8(script).expect("invariant: names and help are text")
}

/// The command and all below it, with the names that their arguments take.
fn with_names(command: Command) -> Command {
    let name = command.get_name().to_owned();
    let command = command.mut_args(|argument| match names(&name, &argument) {
        Some(names) => argument.value_parser(PossibleValuesParser::new(names)),
        None => argument,
    });
    command.mut_subcommands(with_names)
}

/// What can stand for an argument of a command, if that is a list of names.
fn names(command: &str, argument: &Arg) -> Option<Vec<String>> {
    match (command, argument.get_id().as_str()) {
        ("list", "what") => Some(list::lists()),
        ("figure", "name") => Some(list::names_in("figures")),
        ("run", "faults") => Some(list::names_in("faults")),
        (_, "engine") => Some(list::names_in("engines")),
        (_, "plan") => Some(list::names_in("plans")),
        (_, "profile") => Some(list::names_in("profiles")),
        (_, "settings") => Some(list::names_in("settings")),
        (_, "workload") => {
            let names = list::names_in("workloads").into_iter();
            // The others are parameters, which follow a name.
            Some(names.filter(|name| !name.contains(':')).collect())
        }
        (_, "chaos") => Some(Chaos::ALL.iter().map(|level| level.name().to_owned()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    /// Every command with all below it, in the order of the help.
    fn all(command: Command) -> Vec<Command> {
        let below: Vec<Command> = command.get_subcommands().cloned().flat_map(all).collect();
        [command].into_iter().chain(below).collect()
    }

    #[test]
    fn each_shell_is_told_every_command_and_flag() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for command in all(Cli::command()) {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
                let flags = command.get_arguments().filter_map(Arg::get_long);
                for flag in flags.map(str::to_owned) {
                    assert!(script.contains(&flag), "{shell}: {} {flag}", command.get_name());
                }
            }
        }
    }

    #[test]
    fn names_of_this_build_are_offered() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let script = script(shell);
            for name in ["azure-storage", "imagerecognition", "EP3", "azure-2021-02", "storm"] {
                assert!(script.contains(name), "{shell}: {name}");
            }
            // Scripts for fish know the values of flags alone.
            assert!(shell == Shell::Fish || script.contains("netherite-maxima"), "{shell}");
        }
    }

    /// A list that a flag was given by mistake would be offered and then refused.
    #[test]
    fn whatever_takes_a_name_is_known_here() {
        let named = |command: &Command| {
            let with = command.get_arguments().filter(|argument| {
                names(command.get_name(), argument).is_some_and(|names| !names.is_empty())
            });
            let with: Vec<&str> = with.map(|argument| argument.get_id().as_str()).collect();
            (!with.is_empty()).then(|| format!("{}: {}", command.get_name(), with.join(" ")))
        };
        let found: Vec<String> = all(Cli::command()).iter().filter_map(named).collect();
        for expected in [
            "run: engine workload settings plan profile faults chaos",
            "list: what",
            "figure: name",
        ] {
            assert!(found.iter().any(|line| line == expected), "{expected}: {found:?}");
        }
    }
}
