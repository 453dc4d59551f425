//! What `sim diverge` finds.

mod common;

use common::{SMALL, sim};
use std::fs;
use std::path::Path;

fn result(folder: &Path, out: &str, seed: &str) {
    let flags = ["--seed", seed, "--out", out];
    sim(folder, &[&SMALL[..], &flags].concat()).assert().success();
}

#[test]
fn equal_runs_are_equal() {
    let folder = tempfile::tempdir().expect("a folder");
    result(folder.path(), "a", "7");
    result(folder.path(), "b", "7");
    let output = sim(folder.path(), &["diverge", "a", "b"]).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.starts_with("equal: ") && text.lines().count() == 1, "{text}");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn the_first_event_that_differs_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    result(folder.path(), "a", "7");
    result(folder.path(), "b", "8");
    let output = sim(folder.path(), &["diverge", "a", "b"]).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("specification: seed: 7 / 8\n"), "{text}");
    assert!(text.contains("\n  first:  event ") && text.contains("\n  second: event "), "{text}");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(stderr.starts_with("error: the runs differ from event "), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_record_that_was_tampered_with_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    result(folder.path(), "a", "7");
    result(folder.path(), "b", "7");
    let path = folder.path().join("b").join("events.csv");
    let text = fs::read_to_string(&path).expect("a file");
    let (kept, last) = text.trim_end().rsplit_once(',').expect("a digest");
    let other = if last == "0000000000000000" { "1111111111111111" } else { "0000000000000000" };
    fs::write(&path, format!("{kept},{other}\n")).expect("a file");
    let output = sim(folder.path(), &["diverge", "a", "b"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(stderr, "error: b cannot be repeated\n");
}
