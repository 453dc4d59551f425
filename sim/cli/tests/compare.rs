//! `sim compare`, of costs and of results: what it prints and writes, and what it refuses.

mod common;

use common::sim;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

fn run(flags: &[&str]) -> Output {
    sim(Path::new("."), flags).output().expect("it starts")
}

#[test]
fn equal_results_are_a_success() {
    let flags = ["compare", "--results", "--workload", "hello:length=1", "--load", "batch:3"];
    let output = run(&[&flags[..], &["--engine", "netherite", "--seeds", "1..2"]].concat());
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let (_, table) = text.split_once("\n\n").expect("a heading first");
    assert_eq!(
        table,
        "  workload  seed  states  netherite\n  hello        1       3      equal\n  hello        \
         2       3      equal\n\n  2 of 2 compared runs are equal.\n"
    );
}

#[test]
fn json_names_every_case() {
    let flags = ["compare", "--results", "--workload", "sequence:length=2", "--load", "batch:2"];
    let output = run(&[&flags[..], &["--seeds", "5", "--json"]].concat());
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&value["reference"], &value["passed"]), (&"in-memory".into(), &true.into()));
    let case = &value["cases"][0];
    assert_eq!(case["workload"], "sequence:data_exponent=0,length=2");
    assert_eq!((&case["seed"], &case["ended"]), (&5.into(), &2.into()));
    let engines = case["engines"].as_array().expect("engines");
    assert!(engines.len() >= 3, "{engines:?}");
    for engine in engines {
        assert_eq!(engine["results_digest"], engines[0]["results_digest"]);
        assert_eq!(engine["difference"], serde_json::Value::Null);
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    for (flags, expected) in [
        (&["compare", "--engine", "nethrite"][..], "did you mean \"netherite\"?"),
        (&["compare", "--out", "a", "--results"], "--results"),
        (&["compare", "--out", "Cargo.toml"], "--out: Cargo.toml: is not a folder"),
        (&["compare", "--results", "--engine", "in-memory"], "an engine besides the reference"),
        (&["compare", "--results", "--engine", "nethrite"], "did you mean \"netherite\"?"),
        (&["compare", "--results", "--workload", "helo"], "did you mean \"hello\"?"),
        (&["compare", "--results", "--seeds", "3..1"], "expected seeds such as 1..3 or 1,5,9"),
        (&["compare", "--results", "--load", "closed"], "a batch or an open load"),
    ] {
        let output = run(flags);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        assert!(error.starts_with("error: ") && error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

/// Small runs of two workloads on all engines, of which one does not take so many partitions.
const COSTS: [&str; 11] = [
    "compare",
    "--workload",
    "hello:length=2",
    "--workload",
    "ingestion:triggers=3,events=5",
    "--load",
    "batch:2",
    "--seeds",
    "1..2",
    "--partitions",
    "20",
];

#[test]
fn one_table_has_a_row_for_each_engine_and_says_what_is_refused() {
    let output = run(&COSTS);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    for line in [
        "Engines side by side\n",
        "\nhello:length=2, load batch:2,launcher=0\n",
        "\ningestion:events=5,order=turns,parallel=50,triggers=3, load batch:2,launcher=0\n",
        "\nNot carried\n  hello:length=2 on azure-storage: 20 partitions",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    let rows = |engine: &str| {
        let row = move |line: &&str| line.split_whitespace().next() == Some(engine);
        text.lines().filter(row).map(|line| line.split_whitespace().count()).collect::<Vec<_>>()
    };
    // The name, seven numbers and the checks.
    assert_eq!(rows("netherite"), [9, 9], "{text}");
    assert_eq!(rows("in-memory"), [9, 9], "{text}");
    assert_eq!(rows("azure-storage"), [9, 9], "{text}");
    assert!(
        text.lines()
            .filter(|line| line.contains("azure-storage"))
            .all(|line| { line.ends_with("refused") || line.contains(" on azure-storage: ") })
    );
}

/// Every file in `folder` but what may differ, with its content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let named = entries.map(|entry| {
        let name = entry.file_name().into_string().expect("text");
        (name, fs::read(entry.path()).expect("a file"))
    });
    named.filter(|(name, _)| name != "provenance.json").collect()
}

#[test]
fn the_files_are_the_same_bytes_for_any_number_of_threads() {
    let place = tempfile::tempdir().expect("a folder");
    let mut results = Vec::new();
    for threads in ["1", "4"] {
        let out = place.path().join(threads);
        let out_text = out.to_str().expect("text");
        let output = run(&[&COSTS[..], &["--threads", threads, "--out", out_text]].concat());
        assert_eq!(output.status.code(), Some(0));
        results.push((output.stdout, files(&out)));
    }
    assert!(results[0] == results[1], "the same bytes");
    let (_, files) = &results[0];
    assert_eq!(
        files.keys().map(String::as_str).collect::<Vec<_>>(),
        ["comparison.png", "comparison.svg", "comparison.toml", "runs.csv", "table.csv"]
    );
    let text = |name: &str| String::from_utf8(files[name].clone()).expect("text");
    let engines = text("table.csv").lines().count() / 2;
    assert!(engines >= 3, "{}", text("table.csv"));
    assert_eq!(text("table.csv").lines().count(), 1 + 2 * engines);
    assert_eq!(text("runs.csv").lines().count(), 1 + 4 * engines);
    assert!(text("comparison.toml").contains("seeds = [1, 2]"), "{}", text("comparison.toml"));
    for engine in ["netherite", "in-memory", "Not carried by azure-storage"] {
        assert!(text("comparison.svg").contains(engine), "{engine}");
    }
}

#[test]
fn json_of_costs_has_every_engine_and_run() {
    let flags = ["compare", "--workload", "hello:length=1", "--load", "batch:3", "--json"];
    let output = run(&[&flags[..], &["--engine", "in-memory", "--engine", "netherite"]].concat());
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["passed"], true);
    assert_eq!(value["runs"].as_array().map(Vec::len), Some(6));
    let engines = value["groups"][0]["engines"].as_array().expect("engines");
    let names: Vec<_> = engines.iter().map(|row| row["engine"].as_str()).collect();
    assert_eq!(names, [Some("in-memory"), Some("netherite")]);
    for row in engines {
        assert_eq!(row["measured"]["completed"], 9);
        assert!(row["measured"]["latency_ms"]["p50"].as_f64() > Some(0.0), "{row}");
    }
}

#[test]
fn what_no_engine_carries_is_bad_input_in_one_line() {
    let refused = ["--engine", "azure-storage", "--partitions", "20", "--load", "batch:1"];
    for command in [&["run"][..], &["compare"]] {
        let output = run(&[command, &refused[..]].concat());
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{command:?}: {error}");
        assert_eq!(
            error,
            "error: engine azure-storage: 20 partitions: a task hub has 1 to 16 control queues\n"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_refusal_does_not_stop_a_comparison_of_results() {
    let flags = ["compare", "--results", "--workload", "hello:length=1", "--load", "batch:3"];
    let output = run(&[&flags[..], &["--seeds", "1", "--partitions", "20"]].concat());
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("  refused ") && text.contains(" equal"), "{text}");
    assert!(
        text.contains("\nNot carried\n  hello:length=1, azure-storage: 20 partitions"),
        "{text}"
    );
}
