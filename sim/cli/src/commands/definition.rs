//! `sim definition check FILE`: whether a workflow definition is valid, and what it does.

use crate::arguments::{DefinitionArguments, DefinitionCheckArguments, DefinitionCommand};
use crate::failure::Failure;
use crate::terminal::{self, Look};
use crate::text::{self, INDENT};
use anyhow::Error;
use sim_lab::definition::{Definition, DefinitionError, FunctionLine, Source, StateLine};
use sim_lab::text_file;
use std::path::Path;

/// Stands in a table where there is nothing.
const NOTHING: &str = "-";
/// Spaces between the columns of a table.
const GAP: usize = 2;

/// Carries out one of the commands about definitions.
pub(crate) fn definition(asked: &DefinitionArguments) -> Result<(), Failure> {
    let DefinitionCommand::Check(asked) = &asked.command;
    check(asked)
}

/// Reads a definition, and prints the machine or everything that is wrong.
fn check(asked: &DefinitionCheckArguments) -> Result<(), Failure> {
    let file = asked.file.display().to_string();
    let functions = asked.functions.as_deref();
    let functions_file = functions.map_or_else(String::new, |path| path.display().to_string());
    let document = read(&asked.file)?;
    let description = functions.map(read).transpose()?;
    let description = description.as_deref().map(|text| Source { file: &functions_file, text });
    let definition = Definition::read(Source { file: &file, text: &document }, description)
        .map_err(|error| complaint(&error))?;
    let page = Page { definition: &definition, look: Look::of_standard_output() };
    terminal::print(&page.whole(&file, functions.is_some().then_some(&*functions_file)))
}

fn read(path: &Path) -> Result<String, Failure> {
    text_file::read(path)
        .map_err(|problem| Failure::input(Error::msg(format!("{}: {problem}", path.display()))))
}

/// Tells every problem on a line of its own. The last line sums up.
fn complaint(error: &DefinitionError) -> Failure {
    let line = |problem: &sim_lab::definition::Problem| format!("{}: {problem}", error.file);
    if let [only] = &error.problems[..] {
        return Failure::input(Error::msg(line(only)));
    }
    for problem in &error.problems {
        terminal::complain(&line(problem));
    }
    let count = error.problems.len();
    Failure::input(Error::msg(format!("{}: {count} problems", error.file)))
}

struct Page<'a> {
    definition: &'a Definition,
    look: Look,
}

impl Page<'_> {
    fn whole(&self, file: &str, functions: Option<&str>) -> String {
        let title = format!(
            "{file} is valid: {}, digest {}",
            self.definition.format().name(),
            self.definition.digest()
        );
        let mut page = text::wrap(&self.look.heading(&title), self.look.columns, 0, INDENT);
        if let Some(functions) = functions {
            let line = format!("functions are described in {functions}");
            page += &text::wrap(&line, self.look.columns, INDENT, INDENT);
        }
        page += &self.section("States", &self.states());
        page += &self.section("Functions", &self.functions());
        let warnings = self.definition.warnings().iter().map(ToString::to_string);
        page += &self.list("Warnings", &warnings.collect::<Vec<_>>());
        page + &self.list("Assumed", &self.definition.assumptions())
    }

    fn section(&self, heading: &str, body: &str) -> String {
        match body.is_empty() {
            true => String::new(),
            false => format!("\n{}\n{body}", self.look.heading(heading)),
        }
    }

    fn list(&self, heading: &str, lines: &[String]) -> String {
        let wrapped = |line: &String| text::wrap(line, self.look.columns, INDENT, 2 * INDENT);
        self.section(heading, &lines.iter().map(wrapped).collect::<String>())
    }

    /// A paragraph: its first line, and what belongs to it further in.
    fn paragraph(&self, depth: usize, first: &str, rest: &[String]) -> String {
        // However deep it is, half of the line is left for text.
        let indent = (INDENT * (depth + 1)).min(self.look.columns / 2);
        let mut lines = text::wrap(first, self.look.columns, indent, indent + INDENT);
        for line in rest.iter().filter(|line| !line.is_empty()) {
            let inner = indent + INDENT;
            lines += &text::wrap(line, self.look.columns, inner, inner + INDENT);
        }
        lines
    }

    fn states(&self) -> String {
        let line = |state: &StateLine| {
            let name = match state.what.is_empty() {
                true => state.name.clone(),
                false => format!("{}: {}", state.name, state.what),
            };
            let edges: Vec<String> = state.edges.iter().map(|edge| format!("-> {edge}")).collect();
            match &edges[..] {
                [only] if name.chars().count() + only.chars().count() < self.room(state.depth) => {
                    self.paragraph(state.depth, &format!("{name} {only}"), &[])
                }
                several => self.paragraph(state.depth, &name, several),
            }
        };
        self.definition.states().iter().map(line).collect()
    }

    fn room(&self, depth: usize) -> usize {
        self.look.columns.saturating_sub(INDENT * (depth + 1) + 1)
    }

    /// A table of the columns in which something stands, or paragraphs if it is too wide.
    fn functions(&self) -> String {
        const HEADING: [&str; 7] =
            ["function", "result", "CPU", "waits", "reads", "writes", "fails"];
        let row = |function: &FunctionLine| {
            let mark = if function.assumed { " (assumed)" } else { "" };
            [
                format!("{}{mark}", function.name),
                function.result.clone(),
                function.cpu.clone(),
                function.wait.clone(),
                bytes(function.reads),
                bytes(function.writes),
                function.fails.clone(),
            ]
        };
        let rows: Vec<[String; 7]> = self.definition.functions().iter().map(row).collect();
        let says = |column: &usize| rows.iter().any(|row| row[*column] != NOTHING);
        let columns: Vec<usize> = (0..HEADING.len()).filter(says).collect();
        let width = |column: &usize| {
            let cells = rows.iter().map(|row| row[*column].chars().count());
            cells.chain([HEADING[*column].len()]).max().unwrap_or(0) + GAP
        };
        if columns.iter().map(width).sum::<usize>() + INDENT <= self.look.columns + GAP {
            let heading: Vec<&str> = columns.iter().map(|column| HEADING[*column]).collect();
            let cells = |row: &[String; 7]| columns.iter().map(|at| row[*at].clone()).collect();
            let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
            return match rows.is_empty() {
                true => String::new(),
                false => text::table(&heading, &rows, 2, self.look.columns),
            };
        }
        let paragraph = |row: &[String; 7]| {
            let facts = (1..HEADING.len()).filter(|at| row[*at] != NOTHING);
            let facts: Vec<String> =
                facts.map(|at| format!("{} {}", HEADING[at], row[at])).collect();
            self.paragraph(0, &format!("{}: {}", row[0], facts.join(", ")), &[])
        };
        rows.iter().map(paragraph).collect()
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0 => NOTHING.to_owned(),
        bytes => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{
        "root": "Each",
        "states": {"Each": {"type": "map", "array": "lines", "root": "Work", "states": {
            "Work": {"type": "task", "func_name": "a_function_with_a_rather_long_name"}
        }}}
    }"#;

    #[test]
    fn every_width_is_respected() {
        let source = Source { file: "a.json", text: DOCUMENT };
        let definition = Definition::read(source, None).expect("valid");
        for columns in [20, 40, 60, 80, 100] {
            let look = Look { columns, interactive: true, colours: false };
            let page = Page { definition: &definition, look }.whole("a.json", None);
            let longest_word =
                page.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
            for line in page.lines() {
                let length = line.chars().count();
                assert!(length <= columns.max(longest_word + columns / 2 + 2 * INDENT), "{line:?}");
                assert_eq!(line.trim_end(), line);
            }
            assert!(page.contains("for each of") && page.contains("10 ms"), "{page}");
        }
    }
}
