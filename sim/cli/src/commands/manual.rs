//! `sim manual`: manual pages in roff, one for each command, made from the same text as the help.
//!
//! What stands under a command's flags in its help, examples above all, keeps its line breaks. A page
//! has no date: the same build writes the same bytes.

use crate::arguments::{Cli, ManualArguments};
use crate::commands::in_words;
use crate::failure::{Exit, Failure};
use crate::terminal;
use anyhow::{Context, Error};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use sim_lab::suggest::UnknownName;
use std::fs;
use std::path::Path;

/// A page: its file, the command it is about as it is typed, and its text.
struct Page {
    file: String,
    command: String,
    text: String,
}

/// Prints one page, or writes all.
pub(crate) fn manual(asked: &ManualArguments) -> Result<(), Failure> {
    let pages = pages();
    match &asked.out {
        Some(folder) => {
            write(folder, &pages).map_err(|error| Failure::new(Exit::NotCarriedOut, error))?;
            let wrote = in_words(pages.len(), "page");
            terminal::note(&format!("wrote {wrote} to {}", folder.display()));
            Ok(())
        }
        None => terminal::print(&page_about(&pages, &asked.command)?.text),
    }
}

fn page_about<'a>(pages: &'a [Page], command: &[String]) -> Result<&'a Page, Failure> {
    let given = command.join(" ");
    let typed = [&["sim".to_owned()], command].concat().join(" ");
    let found = pages.iter().find(|page| page.command == typed);
    found.ok_or_else(|| {
        let valid = pages.iter().filter_map(|page| page.command.strip_prefix("sim "));
        Failure::input(Error::msg(UnknownName::new("command", given, valid).to_string()))
    })
}

/// The pages of all commands; the one of the program itself comes first.
fn pages() -> Vec<Page> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    of_all(command)
}

fn of_all(command: Command) -> Vec<Page> {
    let below: Vec<Page> = command.get_subcommands().cloned().flat_map(of_all).collect();
    [page(command)].into_iter().chain(below).collect()
}

fn page(command: Command) -> Page {
    let typed = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_commands = command.has_subcommands();
    let source = format!("sim {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command).source(source).manual("sim");
    let mut text = Vec::new();
    let rendered = man
        .render_title(&mut text)
        .and_then(|()| man.render_name_section(&mut text))
        .and_then(|()| man.render_synopsis_section(&mut text))
        .and_then(|()| man.render_description_section(&mut text))
        .and_then(|()| man.render_options_section(&mut text))
        .and_then(|()| match has_commands {
            true => man.render_subcommands_section(&mut text),
            false => Ok(()),
        })
        .and_then(|()| under_the_flags(&after).to_writer(&mut text));
    rendered.expect("invariant: memory takes what is written to it");
    let text = String::from_utf8(text).expect("invariant: help is text");
    Page { file: man.get_filename(), command: typed, text }
}

/// What the help has under the flags. Lines under a heading such as `Examples:` stay lines.
fn under_the_flags(help: &str) -> Roff {
    let mut roff = Roff::new();
    let mut in_notes = false;
    for paragraph in help.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        match paragraph.split_once(":\n") {
            Some((heading, lines)) if lines.starts_with("  ") => {
                in_notes = false;
                roff.control("SH", [heading.to_uppercase().as_str()]);
                roff.control("nf", []);
                for line in lines.lines() {
                    roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
                }
                roff.control("fi", []);
            }
            _ => {
                let opening = if in_notes { ("PP", None) } else { ("SH", Some("NOTES")) };
                roff.control(opening.0, opening.1);
                roff.text([roman(paragraph)]);
                in_notes = true;
            }
        }
    }
    roff
}

/// Writes all pages beside their places before the first is put into its place.
fn write(folder: &Path, pages: &[Page]) -> Result<(), Error> {
    let cannot = |path: &Path| format!("--out: {}: cannot write", path.display());
    fs::create_dir_all(folder).with_context(|| cannot(folder))?;
    let partial = |page: &Page| folder.join(format!(".{}.partial", page.file));
    let written = pages.iter().try_for_each(|page| {
        let path = partial(page);
        fs::write(&path, &page.text).with_context(|| cannot(&path))
    });
    let put = written.and_then(|()| {
        pages.iter().try_for_each(|page| {
            let path = folder.join(&page.file);
            fs::rename(partial(page), &path).with_context(|| cannot(&path))
        })
    });
    if put.is_err() {
        // The first error is the one to report.
        pages.iter().for_each(|page| drop(fs::remove_file(partial(page))));
    }
    put
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the text of a page has it.
    fn in_roff(text: &str) -> String {
        text.replace('-', "\\-")
    }

    #[test]
    fn every_command_has_a_page_with_all_its_flags() {
        let pages = pages();
        assert_eq!((pages[0].file.as_str(), pages[0].command.as_str()), ("sim.1", "sim"));
        for command in Cli::command().get_subcommands() {
            let file = format!("sim-{}.1", command.get_name());
            let page = pages.iter().find(|page| page.file == file).expect(&file);
            for flag in command.get_arguments().filter_map(|argument| argument.get_long()) {
                let flag = in_roff(&format!("--{flag}"));
                assert!(page.text.contains(&flag), "{file}: {flag}");
            }
            assert!(pages[0].text.contains(&in_roff(&format!("sim-{}(1)", command.get_name()))));
        }
        assert!(pages.iter().any(|page| page.file == "sim-definition-check.1"));
    }

    #[test]
    fn examples_keep_their_lines_and_paragraphs_are_notes() {
        let help = "Examples:\n  sim run\n  .x\n\nOne\ntext.\n\nAnother.";
        assert_eq!(
            under_the_flags(help).to_roff(),
            ".SH EXAMPLES\n.nf\nsim run\n\\&.x\n.fi\n.SH NOTES\nOne\ntext.\n.PP\nAnother.\n"
        );
    }

    #[test]
    fn an_unknown_command_is_told_with_the_nearest() {
        let message = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            page_about(&pages(), &words).map(|_| ()).map_err(|failure| failure.to_string())
        };
        let told = message(&["rnu"]).expect_err("there is none");
        assert!(told.starts_with("unknown command \"rnu\": did you mean \"run\"?"), "{told}");
        assert_eq!(message(&["definition", "check"]), Ok(()));
        assert_eq!(message(&[]), Ok(()));
    }
}
