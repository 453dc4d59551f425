//! `sim diverge A B`: where two runs part.

use crate::arguments::DivergeArguments;
use crate::crash;
use crate::failure::Failure;
use crate::terminal;
use sim_lab::diverge::{self, Divergence};
use sim_lab::results;

/// Compares two result folders.
pub(crate) fn diverge(asked: &DivergeArguments) -> Result<(), Failure> {
    let (first, second) = (&asked.first, &asked.second);
    for folder in [first, second] {
        if !folder.join(results::SPEC).is_file() {
            let problem = "holds no result of sim run --out (no spec.toml)";
            let error = anyhow::Error::msg(format!("{}: {problem}", folder.display()));
            return Err(Failure::input(error));
        }
    }
    crash::remember(crash::Running {
        what: "a comparison of two runs".to_owned(),
        command: format!("sim diverge {} {}", first.display(), second.display()),
    });
    let repeat = |progress: &_| diverge::first_difference(first, second, progress);
    let found = terminal::with_progress(1, repeat)?;
    terminal::print(&format!("{found}\n"))?;
    match found {
        Divergence::Equal { .. } => Ok(()),
        Divergence::At { index, .. } => {
            Err(Failure::checks(format!("the runs differ from event {index} on")))
        }
        Divergence::NotRepeatable { folder, .. } => {
            Err(Failure::checks(format!("{} cannot be repeated", folder.display())))
        }
    }
}
