//! `sim explain RUN`: where the time of one orchestration went.

use crate::arguments::ExplainArguments;
use crate::crash;
use crate::critical_path;
use crate::failure::Failure;
use crate::repeat::quoted;
use crate::terminal::{self, Look};
use sim_lab::explain::{self, Choice, Explanation};

/// Repeats the run of a folder and explains one of its orchestrations.
pub(crate) fn explain(asked: &ExplainArguments) -> Result<(), Failure> {
    let choice = match (&asked.orchestration, asked.percentile) {
        (Some(name), _) if name.is_empty() => {
            let problem = "--orchestration: the name of the orchestration is empty";
            return Err(Failure::input(anyhow::Error::msg(problem)));
        }
        (Some(name), _) => Choice::Named(name.clone()),
        (None, Some(percentile)) => Choice::Percentile(percentile),
        (None, None) => Choice::Slowest,
    };
    let folder = asked.run.display();
    crash::remember(crash::Running {
        what: "an explanation of a run".to_owned(),
        command: format!("sim explain {}", quoted(&folder.to_string())),
    });
    let found =
        terminal::with_progress(1, |progress| explain::explain(&asked.run, choice, progress))?;
    let page = match asked.json {
        true => critical_path::json(&found),
        false => critical_path::page(&found, Look::of_standard_output()),
    };
    terminal::print(&page)?;
    let Explanation { summary, recorded, .. } = &found;
    match (found.is_same_run(), recorded) {
        (Some(false), Some(recorded)) => Err(Failure::checks(format!(
            "{folder}: this is another run than the one of the folder: its repetition has digest {}, \
             summary.json says {recorded}. Another build made the folder, or spec.toml was changed",
            summary.digest
        ))),
        (None, _) => {
            let problem =
                "has no summary.json, so that it is not known whether this is the same run";
            terminal::note(&format!("{folder}: {problem}"));
            Ok(())
        }
        _ => Ok(()),
    }
}
