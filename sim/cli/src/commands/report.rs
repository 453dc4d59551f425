//! `sim report DIR`: one page about the results in a folder.

use super::in_words;
use crate::arguments::ReportArguments;
use crate::failure::{Exit, Failure};
use crate::terminal;
use anyhow::Error;
use sim_lab::report::{Report, Window};
use std::fs;
use std::path::{Path, PathBuf};

/// The file that is written if nobody names another.
const DEFAULT: &str = "report.html";

/// Reads the results and writes the page. Nothing is written if anything cannot be read.
pub(crate) fn report(asked: &ReportArguments) -> Result<(), Failure> {
    let out = asked.out.clone().unwrap_or_else(|| asked.folder.join(DEFAULT));
    let window = asked.trace_window.as_deref().map(str::parse::<Window>).transpose();
    let window =
        window.map_err(|error| Failure::input(Error::new(error).context("--trace-window")))?;
    if asked.out.is_some() {
        check_place(&out)?;
    }
    let report = Report::read(&asked.folder, window).map_err(Failure::input)?;
    let page = report.to_html();
    write(&out, &page)?;
    let (runs, results) = (report.runs(), report.experiments());
    let mut parts = Vec::new();
    if runs > 0 {
        parts.push(in_words(runs, "run"));
    }
    if results > 0 {
        parts.push(in_words(results, "result") + " of experiments");
    }
    terminal::print(&format!(
        "{}: {}, {} kB\n",
        out.display(),
        parts.join(" and "),
        page.len().div_ceil(1_000)
    ))
}

/// Whether a page can be written there, as far as it can be told before the work.
fn check_place(out: &Path) -> Result<(), Failure> {
    let refused =
        |problem: &str| Err(Failure::input(anyhow::anyhow!("--out: {}: {problem}", out.display())));
    if out.is_dir() {
        return refused("is a folder, expected the name of a file such as report.html");
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => refused("its folder does not exist"),
        _ => Ok(()),
    }
}

/// Writes beside the place and renames, so that no half of a page is ever there.
fn write(out: &Path, page: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let problem = format!("{}: cannot write", out.display());
        Failure::new(Exit::NotCarriedOut, Error::new(error).context(problem))
    };
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let partial: PathBuf = out.with_file_name(format!(".{name}.partial"));
    let written = fs::write(&partial, page).and_then(|()| fs::rename(&partial, out));
    written.map_err(|error| {
        // The first error is the one to report.
        let _ = fs::remove_file(&partial);
        failed(error)
    })
}
