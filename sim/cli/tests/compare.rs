//! `sim compare --results`: what it prints, and what it refuses.

mod common;

use common::sim;
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
        (&["compare"][..], "--results"),
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
