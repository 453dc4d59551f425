//! The walls of the house, checked from manifests and sources: who may import whom, who may name
//! what, and how long a file may be. `docs/architecture.md` says why; a breach is reported with
//! its file and line. Comments do not count as code, and neither does text in quotes.

use sim_lab::{registry, workload};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Most lines of a source file.
const SOURCE_LINES_MAX: usize = 600;
/// Most lines of a file of integration tests, which is a list of independent cases.
const TEST_LINES_MAX: usize = 1_000;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository is there")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` (a path from the root) with this extension, sorted.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).expect("a path below the root").display().to_string()
}

/// A member of the workspace: its folder from the root, its name, and every dependency it has in
/// any table (also for tests, for builds and for single platforms), sorted.
struct Member {
    folder: String,
    name: String,
    dependencies: Vec<String>,
}

fn members() -> Vec<Member> {
    let workspace: toml::Table =
        toml::from_str(&read(&root().join("Cargo.toml"))).expect("a manifest");
    let folders = workspace["workspace"]["members"].as_array().expect("a list of members");
    folders.iter().map(|folder| member(folder.as_str().expect("a path"))).collect()
}

fn member(folder: &str) -> Member {
    let manifest: toml::Table =
        toml::from_str(&read(&root().join(folder).join("Cargo.toml"))).expect("a manifest");
    let name = manifest["package"]["name"].as_str().expect("a name").to_owned();
    let mut tables = vec![&manifest];
    if let Some(platforms) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(platforms.values().filter_map(toml::Value::as_table));
    }
    let mut dependencies = Vec::new();
    for table in tables {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let listed = table.get(kind).and_then(toml::Value::as_table);
            dependencies.extend(listed.into_iter().flat_map(|listed| listed.iter()).map(package));
        }
    }
    dependencies.sort();
    dependencies.dedup();
    Member { folder: folder.to_owned(), name, dependencies }
}

/// The package that a line of a manifest asks for, whatever it is called there.
fn package((key, value): (&String, &toml::Value)) -> String {
    let renamed = value.get("package").and_then(toml::Value::as_str);
    renamed.unwrap_or(key).to_owned()
}

fn is_engine(package: &str) -> bool {
    package.starts_with("engine-")
}

/// The members that `member` may import: the arrows of the house.
fn may_import(member: &str, other: &str) -> bool {
    match member {
        "sim-model" => false,
        "sim-world" => other == "sim-model",
        "sim-lab" => is_engine(other) || matches!(other, "sim-model" | "sim-world"),
        "sim-cli" | "sim-mutants" | "example-tiny-engine" => {
            matches!(other, "sim-model" | "sim-world" | "sim-lab")
        }
        engine if is_engine(engine) => matches!(other, "sim-model" | "sim-world"),
        other => panic!("{other} has no place in the house yet: give it one here and in the docs"),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Code,
    Comment,
    Text,
}

/// A source file with each character's part in it.
struct Source {
    path: PathBuf,
    characters: Vec<(char, Part)>,
}

impl Source {
    fn read(path: &Path) -> Source {
        Source { path: path.to_owned(), characters: split(&read(path)) }
    }

    /// The lines of the file with everything but `parts` blanked out.
    fn lines(&self, parts: &[Part]) -> Vec<String> {
        let keep = |&(character, part): &(char, Part)| match character {
            '\n' => '\n',
            _ if parts.contains(&part) => character,
            _ => ' ',
        };
        self.characters.iter().map(keep).collect::<String>().lines().map(str::to_owned).collect()
    }

    /// The places at which `found` holds for a line of the code.
    fn code_lines(&self, found: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = self.lines(&[Part::Code]);
        let at = |(number, line): (usize, &String)| {
            found(line).then(|| format!("{}:{}: {}", shown(&self.path), number + 1, line.trim()))
        };
        lines.iter().enumerate().filter_map(at).collect()
    }

    /// Where unit tests begin: they stand at the end of a file.
    fn tests_begin(&self) -> usize {
        let lines = self.lines(&[Part::Code]);
        lines.iter().position(|line| line.starts_with("#[cfg(test)]")).unwrap_or(lines.len())
    }

    /// Every text in quotes, with the number of the line on which it begins, from 0.
    fn texts(&self) -> Vec<(usize, String)> {
        let (mut texts, mut line, mut inside) = (Vec::new(), 0, false);
        for &(character, part) in &self.characters {
            if part == Part::Text {
                if !inside {
                    texts.push((line, String::new()));
                }
                let (_, text) = texts.last_mut().expect("one was pushed");
                text.push(character);
            }
            inside = part == Part::Text;
            line += usize::from(character == '\n');
        }
        texts
    }
}

/// Tells code, comments and texts apart. The quotes of a text are code; its content is text.
fn split(source: &str) -> Vec<(char, Part)> {
    let input: Vec<char> = source.chars().collect();
    let mut output = Vec::with_capacity(input.len());
    while output.len() < input.len() {
        let at = output.len();
        let rest = &input[at..];
        let (length, part) = match rest {
            ['/', '/', ..] => (rest.iter().take_while(|c| **c != '\n').count(), Part::Comment),
            ['/', '*', ..] => (block_comment(rest), Part::Comment),
            ['\'', '\\', ..] => {
                (3 + rest[3..].iter().take_while(|c| **c != '\'').count() + 1, Part::Code)
            }
            ['\'', _, '\'', ..] => (3, Part::Code),
            ['"', ..] => {
                quoted(&mut output, rest, raw_hashes(&input[..at]));
                continue;
            }
            _ => (1, Part::Code),
        };
        output.extend(rest.iter().take(length).map(|character| (*character, part)));
    }
    output
}

/// The length of a block comment, which may hold others.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut length) = (0_usize, 0);
    while length < rest.len() {
        let step = match &rest[length..] {
            ['/', '*', ..] => {
                depth += 1;
                2
            }
            ['*', '/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        length += step;
        if depth == 0 {
            break;
        }
    }
    length
}

/// The number of hashes if what lies before a quote makes it that of a raw text.
fn raw_hashes(before: &[char]) -> Option<usize> {
    let hashes = before.iter().rev().take_while(|c| **c == '#').count();
    let mut prefix = before[..before.len() - hashes].iter().rev();
    let is_raw = prefix.next() == Some(&'r');
    let starts_word = match prefix.next() {
        Some('b' | 'c') => !prefix.next().is_some_and(|c| c.is_alphanumeric() || *c == '_'),
        Some(before) => !(before.is_alphanumeric() || *before == '_'),
        None => true,
    };
    (is_raw && starts_word).then_some(hashes)
}

/// Adds a text in quotes to `output`; `rest` begins with its quote.
fn quoted(output: &mut Vec<(char, Part)>, rest: &[char], raw: Option<usize>) {
    output.push(('"', Part::Code));
    let mut at = 1;
    while at < rest.len() {
        let closes = rest[at] == '"'
            && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= raw.unwrap_or(0);
        if closes {
            output.push(('"', Part::Code));
            return;
        }
        let escaped = raw.is_none() && rest[at] == '\\';
        for character in &rest[at..(at + 1 + usize::from(escaped)).min(rest.len())] {
            output.push((*character, Part::Text));
            at += 1;
        }
    }
}

fn sources(folder: &str) -> Vec<Source> {
    files(folder, "rs").iter().map(|path| Source::read(path)).collect()
}

/// Whether `line` holds `word` with no part of a name before or after it.
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(in_name) && !line[at + word.len()..].starts_with(in_name)
    })
}

fn assert_none(breaches: Vec<String>, rule: &str) {
    assert!(breaches.is_empty(), "{rule}:\n{}", breaches.join("\n"));
}

#[test]
fn manifests_import_only_downwards() {
    let members = members();
    let mut breaches = Vec::new();
    for member in &members {
        for other in &members {
            let imports = member.dependencies.contains(&other.name);
            if imports && !may_import(&member.name, &other.name) {
                breaches.push(format!("{}/Cargo.toml: {}", member.folder, other.name));
            }
        }
    }
    assert_none(breaches, "a crate imports what is not below it");
}

#[test]
fn sources_name_only_crates_below() {
    // Also catches a path into another crate's folder, which a manifest would not show.
    let members = members();
    let mut breaches = Vec::new();
    for member in &members {
        let forbidden = members
            .iter()
            .filter(|other| other.name != member.name && !may_import(&member.name, &other.name));
        let forbidden: Vec<String> = forbidden.map(|other| other.name.replace('-', "_")).collect();
        for source in sources(&member.folder) {
            breaches.extend(source.code_lines(|line| {
                forbidden.iter().any(|name| has_word(line, name)) || line.contains("#[path")
            }));
        }
    }
    assert_none(breaches, "a source names a crate that is not below its own");
}

/// Crates that the model must do without.
const FOREIGN_TO_THE_MODEL: &str =
    "madsim rand rand_chacha rand_core rand_distr getrandom fastrand tokio mio chrono time uuid";

/// Whether a line of the model's code reaches for a simulator, randomness, a clock or I/O.
fn reaches_outside(line: &str) -> bool {
    // `crate::time` and `sim_model::time` are the model's own.
    let foreign = |name: &str| line.trim_start().starts_with(&format!("use {name}::"));
    let std = |module: &str| has_word(line, &format!("std::{module}"));
    FOREIGN_TO_THE_MODEL.split(' ').any(foreign)
        || "fs io net os env process thread path".split(' ').any(std)
        || "Instant SystemTime RandomState println include_str"
            .split(' ')
            .any(|w| has_word(line, w))
}

#[test]
fn the_model_knows_no_simulator_randomness_clock_or_io() {
    let model = members().into_iter().find(|member| member.name == "sim-model");
    let dependencies = model.expect("the model is a member").dependencies;
    let foreign = |name: &String| {
        FOREIGN_TO_THE_MODEL.split(' ').any(|other| name.replace('-', "_") == other)
    };
    let mut breaches: Vec<String> = dependencies.into_iter().filter(foreign).collect();
    for source in sources("model/src") {
        breaches.extend(source.code_lines(reaches_outside));
    }
    assert_none(breaches, "the model imports or names a simulator, randomness, a clock or I/O");
}

/// Whether a line of code names madsim, other than as the cfg under which all is compiled.
fn names_madsim(line: &str) -> bool {
    has_word(&line.replace("cfg(madsim)", "").replace("not(madsim)", ""), "madsim")
}

#[test]
fn only_the_kernel_names_madsim() {
    let mut breaches = Vec::new();
    for member in members() {
        if member.name != "sim-world" && member.dependencies.iter().any(|name| name == "madsim") {
            breaches.push(format!("{}/Cargo.toml", member.folder));
        }
        for source in sources(&member.folder) {
            if !source.path.starts_with(root().join("sim/world/src/kernel")) {
                breaches.extend(source.code_lines(names_madsim));
            }
        }
    }
    assert_none(breaches, "only sim/world/src/kernel may name madsim");
}

#[test]
fn the_lab_reaches_engines_only_through_the_registry() {
    let engines: Vec<String> =
        members().iter().filter(|member| is_engine(&member.name)).map(|m| m.name.clone()).collect();
    assert_eq!(registry::engines().len(), engines.len(), "every engine crate is registered once");
    let mut breaches = Vec::new();
    for source in sources("sim/lab").into_iter().chain(sources("sim/cli")) {
        if source.path != root().join("sim/lab/src/registry.rs") {
            breaches.extend(source.code_lines(|line| {
                engines.iter().any(|engine| has_word(line, &engine.replace('-', "_")))
            }));
        }
    }
    assert_none(breaches, "only sim/lab/src/registry.rs may import an engine");
}

#[test]
fn the_lab_decides_nothing_by_an_engines_name() {
    // Data that is keyed by an engine's name, and no more: the default run, colours, and whose
    // results are the reference.
    const DATA: [&str; 3] =
        ["sim/lab/src/spec.rs", "sim/lab/src/figure/mod.rs", "sim/lab/src/registry.rs"];
    let engines = registry::engines();
    let mut breaches = Vec::new();
    for source in sources("sim/lab/src") {
        let path = shown(&source.path);
        if DATA.contains(&path.as_str()) || path.ends_with("/tests.rs") {
            continue;
        }
        let tests_begin = source.tests_begin();
        for (line, text) in source.texts() {
            if line < tests_begin && engines.iter().any(|engine| text == engine.name()) {
                breaches.push(format!("{path}:{}: {text:?}", line + 1));
            }
        }
    }
    assert_none(breaches, "a name of an engine in the lab's code");
}

/// The forms in which the name of an engine may appear: `in-memory`, `in_memory`, `InMemory`, all
/// in lower case.
fn forms(engine: &str) -> [String; 3] {
    let name = engine.to_lowercase();
    [name.replace('-', "_"), name.replace('-', ""), name]
}

#[test]
fn the_world_names_no_engine_and_no_workload() {
    let engines: Vec<String> =
        registry::engines().iter().flat_map(|engine| forms(engine.name())).collect();
    let mut breaches = Vec::new();
    for source in sources("sim/world") {
        let path = shown(&source.path);
        let lines = source.lines(&[Part::Code, Part::Comment, Part::Text]);
        for (number, line) in lines.iter().enumerate() {
            let line = line.to_lowercase();
            if let Some(engine) = engines.iter().find(|engine| line.contains(engine.as_str())) {
                breaches.push(format!("{path}:{}: engine {engine:?}", number + 1));
            }
        }
        // Data of tests may be any word.
        let code = if path.starts_with("sim/world/src/") { source.tests_begin() } else { 0 };
        for (number, text) in source.texts() {
            if number < code && names_a_workload(&text) {
                breaches.push(format!("{path}:{}: workload {text:?}", number + 1));
            }
        }
    }
    assert_none(breaches, "the world names an engine or a workload");
}

/// Whether a text is the name of a workload, alone or with parameters. Words of it within other
/// text (a `sequence` number) do not count.
fn names_a_workload(text: &str) -> bool {
    let name = text.split(':').next().unwrap_or(text);
    workload::kinds().iter().any(|kind| kind.name.eq_ignore_ascii_case(name))
}

#[test]
fn profiles_name_engines_and_workloads_only_as_sources() {
    let engines: Vec<String> =
        registry::engines().iter().flat_map(|engine| forms(engine.name())).collect();
    let mut breaches = Vec::new();
    let profiles = files("experiments/profiles", "toml");
    assert!(!profiles.is_empty(), "there are profiles");
    for path in profiles {
        let profile: toml::Table = toml::from_str(&read(&path)).expect("a profile");
        let mut words = Vec::new();
        collect(&toml::Value::Table(profile), &mut words);
        for word in words {
            let lower = word.to_lowercase();
            let engine = engines.iter().any(|engine| lower.contains(engine.as_str()));
            if engine || names_a_workload(&word) || lower.contains("hello") {
                breaches.push(format!("{}: {word:?}", shown(&path)));
            }
        }
    }
    assert_none(breaches, "a profile names an engine or a workload outside source and fitted_to");
}

/// All keys and texts of a profile, except where a number comes from.
fn collect(value: &toml::Value, words: &mut Vec<String>) {
    match value {
        toml::Value::String(text) => words.push(text.clone()),
        toml::Value::Array(values) => values.iter().for_each(|value| collect(value, words)),
        toml::Value::Table(table) => {
            for (key, value) in table {
                if key != "source" && key != "fitted_to" {
                    words.push(key.clone());
                    collect(value, words);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn files_are_short() {
    let mut breaches = Vec::new();
    for member in members() {
        let tests = root().join(&member.folder).join("tests");
        for path in files(&member.folder, "rs") {
            let most = if path.starts_with(&tests) { TEST_LINES_MAX } else { SOURCE_LINES_MAX };
            let lines = read(&path).lines().count();
            if lines > most {
                breaches.push(format!("{}: {lines} lines, at most {most}", shown(&path)));
            }
        }
    }
    assert_none(breaches, "a file is too long to be read at once");
}

/// The first cell of a table row below a heading `### \`folder/\`` holds paths in that folder.
#[test]
fn the_code_map_names_every_source_file_and_no_other() {
    let text = read(&root().join("docs/architecture.md"));
    let mut mapped: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut folder: Option<PathBuf> = None;
    for (number, line) in text.lines().enumerate() {
        if let Some(heading) = line.strip_prefix('#') {
            let path = heading.trim_start_matches('#').trim().split('`').nth(1);
            folder = path.map(|path| root().join(path));
        } else if let (Some(folder), Some(row)) = (&folder, line.strip_prefix("| `")) {
            let cell = row.split('|').next().unwrap_or(row);
            let paths = cell.split('`').step_by(2).filter(|path| path.ends_with(".rs"));
            mapped.extend(paths.map(|path| (folder.join(path), number + 1)));
        }
    }
    let folders = members().into_iter().map(|member| format!("{}/src", member.folder));
    let there: Vec<PathBuf> = folders.flat_map(|folder| files(&folder, "rs")).collect();
    let missing = there.iter().filter(|path| !mapped.contains_key(*path));
    let mut breaches: Vec<String> =
        missing.map(|path| format!("{} is not on the map", shown(path))).collect();
    let gone = mapped.iter().filter(|(path, _)| !path.is_file());
    breaches.extend(gone.map(|(path, line)| format!("line {line}: no {}", shown(path))));
    assert_none(breaches, "the code map of docs/architecture.md and the tree disagree");
}

#[test]
fn code_comments_and_texts_are_told_apart() {
    let source = r##"a "b\"c" /* d /* e */ " */ 'f' '"' '\'' r#"g"h"# "i//j" // k "l"
b'"' br"m\" n: &'static str"##;
    let of = |part: Part| -> String {
        split(source).into_iter().filter(|found| found.1 == part).map(|found| found.0).collect()
    };
    assert_eq!(of(Part::Text), r#"b\"cg"hi//jm\"#);
    assert_eq!(of(Part::Comment), r#"/* d /* e */ " */// k "l""#);
    let code = "a \"\"  'f' '\"' '\\'' r#\"\"# \"\" \nb'\"' br\"\" n: &'static str";
    assert_eq!(of(Part::Code), code);
}

#[test]
fn every_kind_of_breach_would_be_seen() {
    assert!(!may_import("engine-netherite", "engine-in-memory"));
    assert!(!may_import("engine-netherite", "sim-lab"));
    assert!(!may_import("sim-world", "engine-netherite"));
    assert!(!may_import("sim-model", "sim-world"));
    assert!(!may_import("sim-cli", "engine-netherite"));
    assert!(!may_import("sim-cli", "sim-mutants") && !may_import("sim-lab", "sim-mutants"));
    assert!(may_import("sim-lab", "engine-netherite"));
    assert!(
        names_madsim("    use madsim::time::TimeHandle;") && names_madsim("extern crate madsim")
    );
    assert!(!names_madsim("#[cfg(not(madsim))]") && !names_madsim("madsimulate()"));
    for line in
        ["use rand::Rng;", "std::fs::read(path)", "std::time::Instant::now()", "use time::x;"]
    {
        assert!(reaches_outside(line), "{line}");
    }
    assert!(!reaches_outside("use crate::time::Timestamp;"));
    assert!(names_a_workload("hello:length=5") && !names_a_workload("sequence number"));
}
