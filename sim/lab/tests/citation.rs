//! `CITATION.cff` says of the project what its manifest says.
//!
//! The file is flat enough to be read by lines: a key stands at the start of a line, and the lists
//! are of one word each.

use std::fs;
use std::path::Path;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn value<'a>(citation: &'a str, key: &str) -> &'a str {
    let found = citation.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("CITATION.cff: no {key}")).trim()
}

fn list<'a>(citation: &'a str, key: &str) -> Vec<&'a str> {
    let lines = citation.lines().skip_while(|line| *line != format!("{key}:")).skip(1);
    lines.map_while(|line| line.strip_prefix("  - ")).collect()
}

#[test]
fn version_and_licences_are_those_of_the_manifest() {
    let citation = read("CITATION.cff");
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).expect("a manifest");
    let package = &manifest["workspace"]["package"];
    assert_eq!(Some(value(&citation, "version")), package["version"].as_str());
    let licences = package["license"].as_str().expect("an expression");
    assert_eq!(list(&citation, "license"), licences.split(" OR ").collect::<Vec<_>>());
}

#[test]
fn what_the_format_requires_is_there() {
    let citation = read("CITATION.cff");
    assert_eq!(value(&citation, "cff-version"), "1.2.0");
    assert_eq!(value(&citation, "type"), "software");
    assert!(!value(&citation, "message").is_empty());
    assert!(!value(&citation, "title").is_empty());
    assert_eq!(list(&citation, "authors"), ["name: The sim developers"]);
}
