//! What `sim report` writes, and what it refuses.

mod common;

use common::sim;
use std::fs;
use std::path::Path;
use std::process::Output;

fn output(folder: &Path, arguments: &[&str]) -> Output {
    sim(folder, arguments).output().expect("it starts")
}

/// A folder with the results of a run in `runs/a`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let run = ["run", "--engine", "in-memory", "--load", "batch:2", "--out", "runs/a"];
    assert!(output(folder.path(), &run).status.success());
    folder
}

#[test]
fn a_page_is_written_beside_the_results_or_where_it_is_asked_for() {
    let folder = folder();
    let made = output(folder.path(), &["report", "runs"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stdout).expect("text");
    assert!(said.starts_with("runs/report.html: 1 run, "), "{said}");
    let page = fs::read(folder.path().join("runs/report.html")).expect("a page");
    assert!(page.starts_with(b"<!DOCTYPE html><html lang=\"en\">"));
    let made = output(folder.path(), &["report", "runs", "--out", "page.html"]);
    assert!(made.status.success());
    assert!(page == fs::read(folder.path().join("page.html")).expect("a page"), "the same bytes");
}

#[test]
fn bad_input_is_told_in_a_line_and_nothing_is_written() {
    let folder = folder();
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    for (arguments, message) in [
        (
            &["report"][..],
            "the following required arguments were not provided: <DIR>; see 'sim report --help'",
        ),
        (&["report", "rums"], "rums: there is no such folder; did you mean \"runs\"?"),
        (
            &["report", "runs", "--out", "empty"],
            "--out: empty: is a folder, expected the name of a file such as report.html",
        ),
        (
            &["report", "runs", "--out", "no/page.html"],
            "--out: no/page.html: its folder does not exist",
        ),
        (
            &["report", "runs", "--trace-window", "2s..1s"],
            "--trace-window: \"2s..1s\" is no window of time, expected two instants, the first earlier, such as \
             12s..12500ms, 12s.. or ..1m",
        ),
        (
            &["report", "empty"],
            "empty: holds no results: expected folders made by sim run --out (spec.toml, summary.json), or with the \
             table.csv of an experiment, comparison or sweep",
        ),
    ] {
        let refused = output(folder.path(), arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert_eq!(
            String::from_utf8_lossy(&refused.stderr),
            format!("error: {message}\n"),
            "{arguments:?}"
        );
        assert!(refused.stdout.is_empty());
    }
    fs::write(folder.path().join("runs/a/summary.json"), "{").expect("written");
    let refused = output(folder.path(), &["report", "runs"]);
    assert_eq!(refused.status.code(), Some(2));
    let names = fs::read_dir(folder.path().join("runs")).expect("a folder").count();
    assert_eq!(names, 1, "no page and no part of one");
}
