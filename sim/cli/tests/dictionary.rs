//! `docs/dictionary.md` against the files: what the commands write and what is committed in `results/`.
//!
//! A section of the dictionary is a heading `## `file` ...` and a table whose first column has the
//! names in order. A name in angle brackets stands for data: such a column may occur any number of
//! times. Under `### Values of `column`` stand the values that a column may have. Everything that is
//! found must be explained by a section, and every entry must explain something.

mod common;

use common::{files, sim};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const DICTIONARY: &str = "docs/dictionary.md";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What is said of a file.
#[derive(Debug, Default)]
struct Section {
    heading: String,
    file: String,
    columns: Vec<String>,
    /// Values by the column that has them.
    values: BTreeMap<String, Vec<String>>,
}

fn dictionary() -> Vec<Section> {
    let text = fs::read_to_string(root().join(DICTIONARY)).expect(DICTIONARY);
    let mut sections: Vec<Section> = Vec::new();
    let mut values_of = None;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let file = quoted(heading).first().expect("a heading names a file").clone();
            sections.push(Section { heading: heading.to_owned(), file, ..Section::default() });
            values_of = None;
        } else if let Some(heading) = line.strip_prefix("### ") {
            values_of = quoted(heading).first().cloned();
        } else if let (Some(section), Some(row)) = (sections.last_mut(), line.strip_prefix("| `")) {
            let names = quoted(&format!("`{}", row.split(" |").next().expect("a cell")));
            match &values_of {
                Some(column) => section.values.entry(column.clone()).or_default().extend(names),
                None => section.columns.extend(names),
            }
        }
    }
    sections
}

/// The parts of a text that stand in back quotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_pattern(name: &str) -> bool {
    name.contains('<')
}

/// Whether a name is one that the pattern stands for: each part in angle brackets is any text that is
/// not empty.
fn stands_for(pattern: &str, name: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('<') else { return pattern == name };
    let (_, after) = rest.split_once('>').expect("brackets are closed");
    let Some(left) = name.strip_prefix(before) else { return false };
    let ends = left.char_indices().map(|(at, letter)| at + letter.len_utf8());
    ends.into_iter().any(|at| stands_for(after, &left[at..]))
}

/// The entries of `columns` that explain the names of `header`, in order; `None` if they do not.
fn explained<'a>(columns: &'a [String], header: &[String]) -> Option<Vec<&'a String>> {
    let (mut used, mut left) = (Vec::new(), header);
    for column in columns {
        while let [name, rest @ ..] = left
            && stands_for(column, name)
        {
            used.push(column);
            left = rest;
            if !is_pattern(column) {
                break;
            }
        }
        if !is_pattern(column) && used.last() != Some(&column) {
            return None;
        }
    }
    left.is_empty().then_some(used)
}

/// What of the dictionary was met.
#[derive(Default)]
struct Met {
    /// Section, column, and value if it is one.
    entries: BTreeSet<(String, String, String)>,
    unexplained: Vec<String>,
}

impl Met {
    fn entry(&mut self, section: &Section, column: &str, value: &str) {
        let entry = (section.heading.clone(), column.to_owned(), value.to_owned());
        self.entries.insert(entry);
    }

    /// A file with its name and content, found at `place`.
    fn file(&mut self, sections: &[Section], place: &str, content: &[u8]) {
        let name = place.rsplit('/').next().expect("a name");
        match name.rsplit_once('.') {
            Some((_, "csv")) => self.table(sections, place, name, content),
            Some(("summary" | "provenance", "json")) => self.object(sections, place, name, content),
            _ => {}
        }
    }

    fn table(&mut self, sections: &[Section], place: &str, name: &str, content: &[u8]) {
        let text = String::from_utf8(content.to_vec()).expect("text");
        let header: Vec<String> = fields(text.lines().next().unwrap_or_default());
        let of_name = sections.iter().filter(|section| stands_for(&section.file, name));
        let found = of_name
            .filter_map(|section| explained(&section.columns, &header).map(|used| (section, used)));
        let Some((section, used)) = found.into_iter().next() else {
            self.unexplained.push(format!("{place}: {}", header.join(",")));
            return;
        };
        for column in used {
            self.entry(section, column, "");
        }
        for (column, patterns) in &section.values {
            let at = header.iter().position(|name| name == column).expect("the column is there");
            for row in text.lines().skip(1) {
                let value = fields(row)[at].clone();
                match patterns.iter().find(|pattern| stands_for(pattern, &value)) {
                    Some(pattern) => self.entry(section, column, pattern),
                    None => self.unexplained.push(format!("{place}: {column} {value}")),
                }
            }
        }
    }

    fn object(&mut self, sections: &[Section], place: &str, name: &str, content: &[u8]) {
        let value: Value = serde_json::from_slice(content).expect("JSON");
        let section = sections.iter().find(|section| section.file == name).expect(name);
        let mut keys = Vec::new();
        leaves(&value, "", &mut keys);
        for key in keys {
            match section.columns.iter().find(|column| stands_for(column, &key)) {
                Some(column) => self.entry(section, column, ""),
                None => self.unexplained.push(format!("{place}: {key}")),
            }
        }
    }
}

/// The fields of a line of CSV. Fields with line breaks do not occur in our files.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut inside) = (vec![String::new()], false);
    for letter in line.chars() {
        let field = fields.last_mut().expect("invariant: there is always one");
        match letter {
            '"' => inside = !inside,
            ',' if !inside => fields.push(String::new()),
            letter => field.push(letter),
        }
    }
    fields
}

/// The paths of everything in a JSON value that is no object and no list.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let joined = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &joined, found);
            }
        }
        Value::Array(list) => {
            list.iter().for_each(|value| leaves(value, &format!("{path}[]"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

/// An orchestration that waits for longer than a run lasts.
const PATIENT: &str =
    r#"{"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 90000, "End": true}}}"#;

/// Commands that between them write every file and column that commands write and `results/` does not
/// have.
const COMMANDS: [&str; 7] = [
    "run --engine netherite --load open:rate=5,duration=10s --out crash --host-event \
     crash:host=1,at=2s,for=15s --fault lose:from=worker-0,probability=0.2,at=1s,for=3s",
    "run --engine azure-storage --workload sequence --load batch:20 --out observed",
    "run --engine in-memory --workload waves:percent=1 --out levels",
    "run --engine netherite --load open:rate=2,duration=20s --autoscale min=1,max=4 --set \
     netherite.load_publishing=true --out hosts",
    "run --engine in-memory --workload definition:patient.asl.json --load batch:2 --out stuck",
    "compare --engine in-memory --engine netherite --load batch:10 --seeds 1 --out side",
    "explore --engine netherite --runs 3 --out campaign",
];

#[test]
fn every_column_is_explained_and_every_explanation_is_of_something() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("patient.asl.json"), PATIENT).expect("a file");
    for command in COMMANDS {
        let arguments: Vec<&str> = command.split_whitespace().collect();
        let output = sim(folder.path(), &arguments).output().expect("the command starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // A run that hangs is written, and then reported.
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{command}: {said}");
    }
    let sections = dictionary();
    let mut met = Met::default();
    // Rebuilding all figures takes too long for a test; their claims are a table all the same.
    let claims = [("claims.csv".to_owned(), sim_lab::claims::csv(&[]))];
    for (place, content) in files(folder.path()).into_iter().chain(committed()).chain(claims) {
        met.file(&sections, &place, &content);
    }
    assert!(met.unexplained.is_empty(), "not in {DICTIONARY}:\n{}", met.unexplained.join("\n"));
    let mut stale = Vec::new();
    for section in &sections {
        let columns = section.columns.iter().map(|column| (column.as_str(), ""));
        let values = section.values.iter().flat_map(|(column, values)| {
            values.iter().map(move |value| (column.as_str(), value.as_str()))
        });
        let entry = |column: &str, value: &str| {
            (section.heading.clone(), column.to_owned(), value.to_owned())
        };
        let unmet = columns
            .chain(values)
            .filter(|(column, value)| !met.entries.contains(&entry(column, value)));
        stale.extend(unmet.map(|(column, value)| format!("{}: {column} {value}", section.heading)));
    }
    assert!(stale.is_empty(), "in {DICTIONARY} and in no file:\n{}", stale.join("\n"));
}

/// The committed results; runs of one's own are not among them.
fn committed() -> BTreeMap<String, Vec<u8>> {
    let mut found = files(&root().join("results"));
    found.retain(|name, _| !name.starts_with("runs/") && !name.ends_with("provenance.json"));
    found.into_iter().map(|(name, content)| (format!("results/{name}"), content)).collect()
}

#[test]
fn patterns_stand_for_what_is_not_empty() {
    assert!(stands_for("<service>.<kind>", "blob.put"));
    assert!(!stands_for("<service>.<kind>", "blob"));
    assert!(!stands_for("engine <counter>", "engine "));
    assert!(stands_for("<n> hosts, per s", "12 hosts, per s"));
    let columns = ["second", "<service>.<kind>", "end"].map(str::to_owned);
    let header = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert!(explained(&columns, &header(&["second", "a.b", "c.d", "end"])).is_some());
    assert!(explained(&columns, &header(&["second", "end"])).is_some());
    assert!(explained(&columns, &header(&["second", "a.b"])).is_none(), "end is missing");
    assert!(explained(&columns, &header(&["second", "more", "end"])).is_none());
    assert!(explained(&columns, &header(&["a.b", "second", "end"])).is_none());
}
