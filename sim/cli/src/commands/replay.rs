//! `sim replay`: runs that found something, repeated.

use crate::arguments::ReplayArguments;
use crate::crash;
use crate::failure::Failure;
use crate::terminal::{self, Look};
use crate::text;
use sim_lab::explore::{self, Regression, ReplayError};
use std::path::PathBuf;

/// Repeats every file, and says which do not come to what they say.
pub(crate) fn replay(asked: &ReplayArguments) -> Result<(), Failure> {
    let read = |path: &PathBuf| Ok((path.clone(), Regression::load(path)?));
    let files = asked.files.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    for (_, regression) in &files {
        regression.run.check()?;
    }
    crash::are_findings();
    let look = Look::of_standard_output();
    let mut different = 0;
    for (path, regression) in &files {
        let replayed = explore::replay(regression).map_err(|error| match error {
            ReplayError::Spec(error) => Failure::from(error),
            ReplayError::Run(error) => Failure::from(error),
        })?;
        let name = path.display();
        if replayed.differences.is_empty() {
            let verdict = look.good("as expected");
            let expected = &regression.expect;
            terminal::print(&format!("{name}: {verdict} ({expected})\n"))?;
        } else {
            different += 1;
            let mut page = format!("{name}: {}\n", look.bad("different"));
            for difference in &replayed.differences {
                page += &text::wrap(difference, look.columns, text::INDENT, text::INDENT);
            }
            terminal::print(&page)?;
        }
    }
    match different {
        0 => Ok(()),
        count => {
            let message = format!("{count} of {} runs came to something else", files.len());
            Err(Failure::checks(message))
        }
    }
}
