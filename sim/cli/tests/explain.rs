//! What `sim run --trace` and `sim explain` print, write and refuse.

mod common;

use common::{SMALL, sim, stdout};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn result(folder: &Path, out: &str) {
    sim(folder, &[&SMALL[..], &["--out", out]].concat()).assert().success();
}

/// The one line on standard error of a command that is refused with this exit code.
fn refused(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = sim(folder, arguments).output().expect("it starts");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    text
}

/// The rows of `latency.csv`, each by its columns.
fn latencies(folder: &Path) -> Vec<Vec<(String, String)>> {
    let text = fs::read_to_string(folder.join("latency.csv")).expect("a table");
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let names: Vec<String> = lines.next().expect("a heading").collect();
    lines.map(|row| names.iter().cloned().zip(row).collect()).collect()
}

fn column<'a>(row: &'a [(String, String)], name: &str) -> &'a str {
    &row.iter().find(|(column, _)| column == name).expect("a column").1
}

/// Milliseconds as a table has them, in nanoseconds.
fn nanos(millis: &str) -> u64 {
    millis.replace('.', "").parse().expect("six digits")
}

#[test]
fn a_trace_is_written_where_it_is_asked_for_and_the_results_stay_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = stdout(folder.path(), &[&SMALL[..], &["--json"]].concat());
    for (flags, file) in [
        (&["--trace"][..], "trace.json"),
        (&["--trace", "--out", "a"], "a/trace.json"),
        (&["--trace", "mine.json", "--trace-window", "10ms..50ms"], "mine.json"),
    ] {
        let traced = stdout(folder.path(), &[&SMALL[..], &["--json"], flags].concat());
        assert_eq!(traced, plain, "{flags:?}");
        let text = fs::read_to_string(folder.path().join(file)).expect(file);
        let trace: Value = serde_json::from_str(&text).expect("JSON");
        assert!(trace["traceEvents"].as_array().expect("a list").len() > 100, "{flags:?}");
    }
}

#[test]
fn a_trace_that_is_cut_off_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = ["--json", "--trace", "--trace-events", "100"];
    let output = sim(folder.path(), &[&SMALL[..], &flags].concat()).output().expect("it starts");
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.starts_with("the trace ends at ") && text.contains("--trace-window"), "{text}");
}

#[test]
fn a_trace_that_cannot_be_is_refused_before_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    for (flags, message) in [
        (&["--trace", "no/t.json"][..], "error: --trace: no/t.json: its folder does not exist\n"),
        (&["--trace", "."], "error: --trace: .: is a folder\n"),
        (
            &["--trace", "--trace-window", "5s..2s"],
            "error: --trace-window: \"5s..2s\" is not a part of virtual time: expected two \
             instants, the first earlier, such as 2s..5s\n",
        ),
        (
            &["--trace-window", "1s..2s"],
            "error: the following required arguments were not provided: --trace [<FILE>]; see \
             'sim run --help'\n",
        ),
        (
            &["--trace", "--trace-events", "0"],
            "error: invalid value '0' for '--trace-events <N>': expected a whole number from 1 to \
             100000000; see 'sim run --help'\n",
        ),
    ] {
        assert_eq!(refused(folder.path(), &[&SMALL[..], flags].concat(), 2), message);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left");
    }
}

#[test]
fn the_json_of_an_explanation_is_the_row_of_the_table() {
    let folder = tempfile::tempdir().expect("a folder");
    result(folder.path(), "a");
    let rows = latencies(&folder.path().join("a"));
    let text = stdout(folder.path(), &["explain", "a", "--json"]);
    let found: Value = serde_json::from_str(&text).expect("JSON");
    let slowest = rows.iter().max_by_key(|row| nanos(column(row, "latency_ms"))).expect("rows");
    assert_eq!(found["latency_ns"], nanos(column(slowest, "latency_ms")));
    assert_eq!(found["digest"], found["recorded_digest"]);
    let instance = found["instance"].as_str().expect("a name");
    let row = rows.iter().find(|row| column(row, "instance") == instance).expect("its row");
    let mut sum = 0;
    for (category, time) in found["timing_ns"].as_object().expect("an object") {
        assert_eq!(*time, nanos(column(row, &format!("{category}_ms"))), "{category}");
        let parts = found["elements"].as_array().expect("a list").iter();
        let parts = parts.filter_map(|element| element["parts_ns"].get(category));
        assert_eq!(parts.map(|part| part.as_u64().expect("a number")).sum::<u64>(), *time);
        sum += time.as_u64().expect("a number");
    }
    assert_eq!(found["latency_ns"], sum);
}

#[test]
fn an_explanation_tells_the_path_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    result(folder.path(), "a");
    let text = stdout(folder.path(), &["explain", "a"]);
    // Lines break anywhere.
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "(as in summary.json)",
        "the slowest of 20 orchestrations",
        "+0.000 ms: a client sends",
        "calls an activity: message 0",
        "waited for the partition to take it in",
        "ends the orchestration",
        "latency",
    ] {
        assert!(words.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let name = text.lines().next().expect("a heading");
    let same = stdout(folder.path(), &["explain", "a", "--orchestration", &name[..name.len() - 1]]);
    assert_eq!(same, text, "a begin that no other name has");
    assert_eq!(stdout(folder.path(), &["explain", "a", "--percentile", "100"]), text);
}

#[test]
fn another_run_than_that_of_the_folder_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    result(folder.path(), "a");
    let spec = folder.path().join("a/spec.toml");
    let text = fs::read_to_string(&spec).expect("a specification");
    fs::write(&spec, text.replace("seed = 1\n", "seed = 2\n")).expect("written");
    let output = sim(folder.path(), &["explain", "a"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.starts_with("error: a: this is another run than the one of the folder"), "{text}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("(NOT that of summary.json)"), "{text}");
    fs::remove_file(folder.path().join("a/summary.json")).expect("removed");
    let output = sim(folder.path(), &["explain", "a"]).assert().success().get_output().clone();
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.contains("has no summary.json"), "{text}");
}

#[test]
fn what_cannot_be_explained_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    result(folder.path(), "a");
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    let name = latencies(&folder.path().join("a"))[3][0].1.clone();
    let near = format!("{}!", &name[..name.len() - 1]);
    for (arguments, begin) in [
        (&["explain", "nowhere"][..], "error: nowhere: holds no result of sim run --out"),
        (&["explain", "empty"], "error: empty: holds no result of sim run --out"),
        (&["explain"], "error: the following required arguments were not provided: <RUN>"),
        (
            &["explain", "a", "--orchestration", "zzz"],
            "error: no orchestration is named \"zzz\" or begins like that; there are 20 such as ",
        ),
        (&["explain", "a", "--orchestration", &near], "error: no orchestration is named"),
        (&["explain", "a", "--orchestration", ""], "error: --orchestration: the name"),
        (&["explain", "a", "--orchestration", "0"], "error: 20 orchestrations begin with \"0\": "),
        (&["explain", "a", "--percentile", "101"], "error: invalid value '101'"),
        (&["explain", "a", "--percentile", "NaN"], "error: invalid value 'NaN'"),
        (&["explain", "a", "--percentile", "-1"], "error: invalid value '-1'"),
    ] {
        let text = refused(folder.path(), arguments, 2);
        assert!(text.starts_with(begin), "{arguments:?}: {text}");
    }
    let text = refused(folder.path(), &["explain", "a", "--orchestration", &near], 2);
    assert!(text.contains(&format!("did you mean {name:?}?")), "{text}");
    fs::write(folder.path().join("a/summary.json"), "{}").expect("written");
    let text = refused(folder.path(), &["explain", "a"], 2);
    assert_eq!(text, "error: a/summary.json: has no field digest, a text\n");
}
