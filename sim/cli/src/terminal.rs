//! What is known of the terminal, and how text reaches it.
//!
//! The environment is read here, and decides how a text looks, never what it says. (One command reads it
//! besides, for the number of an array's task: `sim sweep --shard auto`.)

use crate::failure::{Exit, Failure};
use crate::wall;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sim_lab::progress::Progress;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Columns of a text that does not go to a terminal: the same everywhere.
const PIPE_COLUMNS: usize = 80;
/// Narrower terminals are written to as if they had this many columns.
const COLUMNS_MIN: usize = 20;
/// Lines longer than this are hard to read.
const COLUMNS_MAX: usize = 100;

/// How a text is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns to fill.
    pub(crate) columns: usize,
    /// Whether the reader is a person at a terminal.
    pub(crate) interactive: bool,
    /// Whether escape sequences for colours may be used.
    pub(crate) colours: bool,
}

impl Look {
    /// The look of a text that is piped or written to a file.
    pub(crate) const PIPED: Look =
        Look { columns: PIPE_COLUMNS, interactive: false, colours: false };

    /// The look of standard output.
    pub(crate) fn of_standard_output() -> Look {
        if !io::stdout().is_terminal() {
            return Look::PIPED;
        }
        let columns = terminal_columns().unwrap_or(PIPE_COLUMNS).clamp(COLUMNS_MIN, COLUMNS_MAX);
        Look { columns, interactive: true, colours: colours_wanted() }
    }

    /// A heading.
    pub(crate) fn heading(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Something that is as it should be.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Something that is not as it should be.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Something to take note of.
    pub(crate) fn notable(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.colours {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

/// Whether standard output is a terminal with too few columns for two columns of text.
pub(crate) fn is_narrow() -> bool {
    io::stdout().is_terminal() && terminal_columns().is_some_and(|columns| columns < 60)
}

fn terminal_columns() -> Option<usize> {
    comfy_table::Table::new().width().map(usize::from)
}

/// <https://no-color.org>, and terminals that cannot.
fn colours_wanted() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// Writes `text` to standard output. A reader that has gone away is not a fault.
///
/// # Errors
/// If the system refuses, for example on a full disk.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error).context("cannot write to standard output");
            Err(Failure::new(Exit::NotCarriedOut, error))
        }
        _ => Ok(()),
    }
}

/// Tells the person at the terminal something that is no result.
pub(crate) fn note(text: &str) {
    // There is nowhere left to report that standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Reports an error.
pub(crate) fn complain(text: &str) {
    let colours = io::stderr().is_terminal() && colours_wanted();
    let look = Look { colours, ..Look::PIPED };
    note(&format!("{} {text}", look.bad("error:")));
}

/// Does `work` behind a progress bar on standard error, if that is a terminal. `runs` is the
/// number of runs that the work consists of.
pub(crate) fn with_progress<T>(runs: usize, work: impl FnOnce(&Progress) -> T) -> T {
    let progress = Progress::default();
    if !io::stderr().is_terminal() {
        return work(&progress);
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    show(&bar, &progress, runs);
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let shown = progress.clone();
    let value = wall::watched(|| work(&progress), || show(&bar, &shown, runs));
    bar.finish_and_clear();
    value
}

/// Does `work`, which tells how much of `total` is done; a person at a terminal sees it.
pub(crate) fn with_count<T>(
    total: u64,
    what: &str,
    work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> T,
) -> T {
    if !io::stderr().is_terminal() {
        return work(&|_| ());
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.set_style(style(&format!("{{pos}}/{{len}} {what} {{wide_bar}} {{eta}}")));
    bar.set_position(0);
    let value = work(&|done| bar.set_position(done));
    bar.finish_and_clear();
    value
}

/// Brings `bar` up to date. The position comes last, since setting it draws.
fn show(bar: &ProgressBar, progress: &Progress, runs: usize) {
    let (completed, expected) = (progress.completed(), progress.expected());
    let simulated = format!("{:.1} s simulated", progress.virtual_time().as_secs_f64());
    if runs > 1 {
        bar.set_style(style("{pos}/{len} runs {wide_bar}"));
        bar.set_length(runs as u64);
        bar.set_position(progress.runs_completed());
    } else if expected > 0 {
        // The length of an open load is an estimate, and must not be overtaken.
        bar.set_style(style("{pos}/{len} {msg} {wide_bar}"));
        bar.set_length(expected.max(completed));
        bar.set_message(simulated);
        bar.set_position(completed);
    } else {
        bar.set_style(style("{pos} orchestrations, {msg}"));
        bar.set_message(simulated);
        bar.set_position(completed);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("invariant: templates are valid (a test)")
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_used_only_where_they_are_wanted() {
        assert_eq!(Look::PIPED.bad("x"), "x");
        let coloured = Look { colours: true, ..Look::PIPED };
        assert_eq!(coloured.bad("x"), "\u{1b}[1;31mx\u{1b}[0m");
    }

    #[test]
    fn every_progress_display_can_be_drawn() {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let progress = Progress::default();
        show(&bar, &progress, 1);
        show(&bar, &progress, 3);
    }
}
