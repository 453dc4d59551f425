//! The book is right: its commands print what it says, its files are read as it says, and its links lead
//! somewhere.
//!
//! A chapter is played from top to bottom in a folder of its own, which has `experiments/`. Blocks by
//! their first line:
//!
//! | block | is |
//! |---|---|
//! | `console` | commands after `$ `, and what each prints on standard output; `...` stands for any lines; `? N` for the exit code, and then standard error counts as printed, too |
//! | `toml NAME`, `json NAME` | a file that the commands below it read |
//! | `sh` | commands of others, such as cargo, which are not played |
//! | `rust PATH` | lines of the file at `PATH`, in their order |

mod common;

use common::{files, sim};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Markdown files of a folder, by their path from the root of the project.
fn pages(folder: &str) -> BTreeMap<String, String> {
    let found = files(&root().join(folder)).into_iter();
    let found = found.filter(|(name, _)| name.ends_with(".md"));
    let text = |content| String::from_utf8(content).expect("text");
    found.map(|(name, content)| (format!("{folder}/{name}"), text(content))).collect()
}

/// A fenced block: its first line without the fence, and its content.
struct Block {
    kind: String,
    argument: Option<String>,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let (kind, argument) = info
                    .split_once(' ')
                    .map_or((info, None), |(kind, rest)| (kind, Some(rest.to_owned())));
                open = Some(Block { kind: kind.to_owned(), argument, text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// A command, what it prints by the book, and the exit code if that is said.
struct Command {
    words: Vec<String>,
    printed: Vec<String>,
    code: Option<i32>,
}

fn commands(block: &str) -> Vec<Command> {
    let mut found: Vec<Command> = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        if let Some(begin) = line.strip_prefix("$ ") {
            let mut command = begin.to_owned();
            while let Some(part) = command.strip_suffix('\\') {
                command = format!("{part}{}", lines.next().expect("the command goes on"));
            }
            let words = command.split_whitespace().map(str::to_owned).collect();
            found.push(Command { words, printed: Vec::new(), code: None });
            continue;
        }
        let command = found.last_mut().expect("a block of commands begins with one");
        match line.strip_prefix("? ") {
            Some(code) => command.code = Some(code.parse().expect("an exit code")),
            None => command.printed.push(line.trim_end().to_owned()),
        }
    }
    found
}

/// Whether lines are as expected, where `...` stands for any number of them.
fn matches(expected: &[String], lines: &[&str]) -> bool {
    match expected {
        [] => lines.is_empty(),
        [any, rest @ ..] if any == "..." => {
            (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]))
        }
        [first, rest @ ..] => lines.first() == Some(&&**first) && matches(rest, &lines[1..]),
    }
}

/// Runs a command; what is otherwise than the book says, if anything is.
fn play(folder: &Path, page: &str, command: &Command) -> Option<String> {
    let shown = command.words.join(" ");
    let (program, arguments) = command.words.split_first().expect("a word");
    assert_eq!(program, "sim", "{page}: {shown}: only sim is played");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = sim(folder, &arguments).output().expect("the command starts");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let printed = match command.code {
        Some(_) => format!("{stdout}{stderr}"),
        None => stdout.into_owned(),
    };
    let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let same_code = output.status.code() == Some(command.code.unwrap_or(0));
    (!same_code || !matches(&command.printed, &lines)).then(|| {
        let (status, expected) = (output.status, command.printed.join("\n"));
        format!("{page}: {shown}\n{status}, prints\n{printed}\nand not\n{expected}\n{stderr}")
    })
}

#[test]
fn commands_print_what_the_book_says() {
    let (mut played, mut wrong) = (0, Vec::new());
    for (page, text) in pages("docs/book") {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files(&root().join("experiments")) {
            let path = folder.path().join("experiments").join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, content).expect("written");
        }
        for Block { kind, argument, text } in blocks(&text) {
            match (kind.as_str(), argument) {
                ("console", None) => {
                    for command in commands(&text) {
                        wrong.extend(play(folder.path(), &page, &command));
                        played += 1;
                    }
                }
                ("toml" | "json", Some(name)) => {
                    fs::write(folder.path().join(name), text).expect("written");
                }
                ("rust", Some(path)) => quotes(&page, &path, &text),
                ("sh", None) => {
                    let ours = text.lines().find(|line| line.starts_with("sim run"));
                    assert_eq!(ours, None, "{page}: a command that could be played");
                }
                ("text", None) => {}
                (kind, argument) => panic!("{page}: a block of kind {kind} {argument:?}"),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(played > 20, "{played} commands");
}

/// Every line that is quoted stands in the file, in that order; `// ...` stands for what is left out.
fn quotes(page: &str, path: &str, text: &str) {
    let source = fs::read_to_string(root().join(path)).expect(path);
    let mut left = source.lines();
    for line in text.lines().filter(|line| line.trim() != "// ...") {
        let found = left.by_ref().any(|other| other.trim() == line.trim());
        assert!(found, "{page}: {path} has no line {line:?} after the ones before it");
    }
}

/// A heading as the end of a link to it.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let mut all = pages("docs");
    for name in ["README.md", "notebooks/README.md", "CHANGELOG.md", "BENCHMARKS.md"] {
        all.insert(name.to_owned(), fs::read_to_string(root().join(name)).expect(name));
    }
    let mut broken = Vec::new();
    for (page, text) in &all {
        for target in targets(text).filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = root().join(page).parent().expect("a folder").to_owned();
            let path = if file.is_empty() { root().join(page) } else { folder.join(file) };
            let is_page = path.extension().is_some_and(|extension| extension == "md");
            let content = if is_page { fs::read_to_string(&path).ok() } else { None };
            let has = |content: &String| {
                let headings = content.lines().filter(|line| line.starts_with('#'));
                headings
                    .map(|line| slug(line.trim_start_matches('#').trim()))
                    .any(|it| it == anchor)
            };
            if !path.exists() || (!anchor.is_empty() && !content.as_ref().is_some_and(has)) {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_summary_names_every_chapter() {
    let chapters = pages("docs/book");
    let summary = &chapters["docs/book/SUMMARY.md"];
    let named: Vec<&str> = targets(summary).filter(|target| !target.starts_with("../")).collect();
    let there: Vec<&str> = chapters
        .keys()
        .filter_map(|page| page.strip_prefix("docs/book/"))
        .filter(|page| *page != "SUMMARY.md")
        .collect();
    let mut sorted = named.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, there);
}

#[test]
fn dots_stand_for_any_lines() {
    let expected = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(matches(&expected("a\n...\nd"), &["a", "b", "c", "d"]));
    assert!(matches(&expected("a\n...\nd"), &["a", "d"]));
    assert!(!matches(&expected("a\n...\nd"), &["a", "b"]));
    assert!(!matches(&expected("a"), &["a", "b"]));
    let commands = commands("$ sim run \\\n  --seed 7\nsaid\n? 2\n");
    assert_eq!((commands[0].words.len(), commands[0].code), (4, Some(2)));
}
