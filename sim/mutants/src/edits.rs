//! Edits: what a mutant changes in the source of an engine, and how that is done.
//!
//! A file of edits describes one mutant. Its name is the mutant's, its folder the engine's:
//!
//! ```text
//! breaks: what no longer holds, in one line
//! with: netherite.speculation=global     (any number of settings that its campaign has)
//!
//! file: partition/dedup.rs
//! <<<<<<<
//! lines of the source
//! =======
//! lines that take their place
//! >>>>>>>
//! ```
//!
//! with one or more edits. The old lines must be in the file exactly once; the new ones behave like them
//! unless `mutant::is` is told the mutant's name. So one copy of an engine holds all its mutants.
//!
//! Plain text in, plain text out: the build script calls this, and so do the tests.

use std::fmt::Write as _;

/// The lines that separate old and new text.
const OLD: &str = "<<<<<<<";
const NEW: &str = "=======";
const END: &str = ">>>>>>>";

/// A mutant: an engine with one bug.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mutant {
    /// Its name.
    pub name: String,
    /// What no longer holds.
    pub breaks: String,
    /// Settings of its campaign, as `engine.key=value`.
    pub settings: Vec<String>,
    /// What is changed.
    pub edits: Vec<Edit>,
}

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// The file, from the engine's `src`.
    pub file: String,
    /// The lines that are replaced.
    pub old: String,
    /// The lines that take their place.
    pub new: String,
}

/// Where in a file of edits a line belongs.
enum Part {
    Head,
    Old,
    New,
}

/// Reads the file of a mutant.
///
/// # Errors
/// What is wrong with it, and in which line.
pub fn parse(name: &str, text: &str) -> Result<Mutant, String> {
    let mut mutant = Mutant { name: name.to_owned(), ..Mutant::default() };
    let mut part = Part::Head;
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| Err(format!("line {}: {what}: {line:?}", number + 1));
        match part {
            Part::Head => match line.split_once(": ") {
                _ if line.is_empty() => {}
                _ if line == OLD => match mutant.edits.last() {
                    Some(edit) if edit.old.is_empty() => part = Part::Old,
                    _ => return wrong("no `file: ` before this edit"),
                },
                Some(("breaks", what)) if mutant.breaks.is_empty() => {
                    what.clone_into(&mut mutant.breaks)
                }
                Some(("with", setting)) => mutant.settings.push(setting.to_owned()),
                Some(("file", file)) => {
                    mutant.edits.push(Edit { file: file.to_owned(), ..Edit::default() });
                }
                _ => return wrong("expected `breaks: `, `with: `, `file: ` or an edit"),
            },
            Part::Old | Part::New => {
                let edit = mutant.edits.last_mut().expect("invariant: a file was named");
                match (&part, line) {
                    (Part::Old, NEW) => part = Part::New,
                    (Part::New, END) => part = Part::Head,
                    (Part::Old, _) => edit.old = edit.old.clone() + line + "\n",
                    (_, _) => edit.new = edit.new.clone() + line + "\n",
                }
            }
        }
    }
    if !matches!(part, Part::Head) {
        return Err(format!("the last edit has no end: {END}"));
    }
    if mutant.breaks.is_empty() {
        return Err("nothing says what it breaks: `breaks: `".to_owned());
    }
    let choice = format!("mutant::is(\"{name}\")");
    if !mutant.edits.iter().any(|edit| edit.new.contains(&choice)) {
        return Err(format!("no edit asks for {choice}"));
    }
    Ok(mutant)
}

/// Carries an edit out on the text of its file.
///
/// # Errors
/// If the old lines are not there exactly once.
pub fn apply(edit: &Edit, source: &str) -> Result<String, String> {
    match source.matches(&edit.old).count() {
        1 if !edit.old.is_empty() => Ok(source.replacen(&edit.old, &edit.new, 1)),
        count => Err(format!("these lines are there {count} times, and not once:\n{}", edit.old)),
    }
}

/// Makes the root module of a crate a module of another one: paths that begin at the root begin there.
pub fn move_into(module: &str, source: &str) -> String {
    const ROOT: &str = "crate::";
    let mut moved = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find(ROOT) {
        let (before, from) = rest.split_at(at);
        moved.push_str(before);
        let is_part_of_a_name =
            before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        moved.push_str(ROOT);
        if !is_part_of_a_name {
            write!(moved, "{module}::").expect("invariant: memory takes it");
        }
        rest = &from[ROOT.len()..];
    }
    moved + rest
}
