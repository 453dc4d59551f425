//! Definitions handed to engines as state machines: they come to the same as those carried out as
//! code, and what does not fit is refused by name.

use serde_json::{Value, json};
use sim_lab::checks::Verdict;
use sim_lab::progress::Progress;
use sim_lab::registry;
use sim_lab::run::{RunOutcome, run};
use sim_lab::spec::{RunSpec, SpecError};
use sim_world::seed::{SeedTree, Stream};
use std::fs;
use std::path::Path;

const FUNCTIONS: &str = r#"
[input]
n = 3
xs = [5, 1, 4]
odd = { deep = { n = 7 } }
[default]
cpu_ms = 1
[functions.Echo]
wait = { kind = "uniform", low_ms = 1, high_ms = 30 }
[functions.Luck]
cpu = { kind = "exponential", mean_ms = 3 }
result = { merge = { luck = "of {{n}}" } }
failure = { probability = 0.08, error = "NoLuck", cause = "it was {{n}}" }
[functions.Slow]
wait = { kind = "uniform", low_ms = 500, high_ms = 1100 }
result = { template = { n = 1, slow = true } }
"#;

/// Nested maps and parallel states, choices at the start, in a row and back, timeouts, wrapped calls,
/// and states that see and hand on parts of the payload.
fn example() -> Value {
    let task = |resource: &str, more: Value| {
        let mut task = json!({"Type": "Task", "Resource": resource, "End": true});
        for (key, value) in more.as_object().expect("an object") {
            task[key] = value.clone();
        }
        task
    };
    json!({"StartAt": "Begin", "States": {
        "Begin": {"Type": "Choice", "Choices": [
            {"Variable": "$.n", "NumericGreaterThan": 5, "Next": "Each"},
        ], "Default": "Second"},
        "Second": {"Type": "Choice", "Choices": [
            {"Variable": "$.xs", "IsPresent": true, "Next": "More"},
        ], "Default": "Each"},
        "More": {"Type": "Pass", "Parameters": {
            "n.$": "States.MathAdd($.n, 1)", "xs.$": "$.xs", "odd.$": "$.odd",
        }, "Next": "Begin"},
        "Each": {"Type": "Map", "ItemsPath": "$.xs", "ResultPath": "$.each", "Next": "Both",
            "ItemSelector": {"n.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index",
                             "of.$": "$$.Execution.Name"},
            "ItemProcessor": {"StartAt": "Small", "States": {
                "Small": {"Type": "Choice", "OutputPath": "$", "Choices": [
                    {"Variable": "$.n", "NumericLessThan": 2, "Next": "Plain"},
                ], "Default": "Lucky"},
                "Plain": {"Type": "Pass", "Result": "plain", "ResultPath": "$.kind", "End": true},
                "Lucky": {"Type": "Task", "Resource": "Luck", "ResultPath": "$.got", "Next": "Pair"},
                "Pair": {"Type": "Parallel", "ResultPath": "$.pair", "End": true, "Branches": [
                    {"StartAt": "Left", "States": {"Left": {"Type": "Choice", "Choices": [
                        {"Variable": "$.at", "NumericEquals": 0, "Next": "LeftEcho"},
                    ], "Default": "LeftLuck"},
                        "LeftEcho": task("Echo", json!({"InputPath": "$.n"})),
                        "LeftLuck": task("Luck", json!({"OutputPath": "$.luck"}))}},
                    {"StartAt": "Right", "States": {
                        "Right": task("Echo", json!({"Parameters": {
                            "value.$": "$$.Map.Item.Value", "state.$": "$$.State.Name"}}))}},
                ]},
            }}},
        "Both": {"Type": "Parallel", "ResultPath": "$.both", "Next": "See", "Branches": [
            {"StartAt": "Wrapped", "States": {"Wrapped": task("arn:aws:states:::lambda:invoke", json!({
                "Parameters": {"FunctionName": "Luck", "Payload": {"n.$": "$.n"}},
                "ResultSelector": {"luck.$": "$.Payload.luck"}}))}},
            {"StartAt": "Timed", "States": {"Timed": task("Slow", json!({"TimeoutSeconds": 1}))}},
        ]},
        "See": {"Type": "Choice", "InputPath": "$.odd.deep", "Choices": [
            {"Variable": "$.n", "NumericEquals": 7, "Next": "Last"},
        ]},
        "Last": {"Type": "Pass", "End": true},
    }})
}

/// A machine with random states; names begin with `prefix`, which tells them apart.
fn random_machine(prefix: &str, depth: u64, stream: &mut Stream) -> Value {
    let count = 1 + stream.below(4);
    let name = |index: u64| format!("{prefix}{index}");
    let mut states = json!({});
    for index in 0..count {
        let kind = stream.below(if depth == 0 { 4 } else { 6 });
        let below = format!("{}.", name(index));
        let later = |stream: &mut Stream| name(index + 1 + stream.below(count - index - 1));
        let mut state = match kind {
            0 if index + 1 < count => {
                let (one, other) = (later(stream), later(stream));
                let rule =
                    json!({"Variable": "$.n", "NumericGreaterThan": stream.below(6), "Next": one});
                let mut choice = json!({"Type": "Choice", "Choices": [rule]});
                // Without a default some executions fail.
                if stream.chance(0.9) {
                    choice["Default"] = json!(other);
                }
                choice
            }
            0 | 1 => json!({"Type": "Pass", "Parameters": {
                "n.$": "States.MathAdd($.n, 1)", "xs.$": "$.xs"}}),
            2 => json!({"Type": "Task", "Resource": "Luck", "ResultPath": "$.luck"}),
            3 => {
                json!({"Type": "Task", "Resource": "Echo", "Parameters": {"n.$": "$.n", "xs.$": "$.xs"}})
            }
            4 => json!({"Type": "Map", "ItemsPath": "$.xs", "ResultPath": "$.map",
                "ItemSelector": {"n.$": "$$.Map.Item.Value", "xs.$": "States.ArrayRange(0, $.n, 3)"},
                "ItemProcessor": random_machine(&below, depth - 1, stream)}),
            _ => {
                let branches: Vec<Value> = (0..1 + stream.below(3))
                    .map(|branch| random_machine(&format!("{below}{branch}."), depth - 1, stream))
                    .collect();
                json!({"Type": "Parallel", "ResultPath": "$.parallel", "Branches": branches})
            }
        };
        match () {
            () if state["Type"] == "Choice" => {}
            () if index + 1 == count => state["End"] = json!(true),
            () => state["Next"] = json!(name(index + 1)),
        }
        states[name(index)] = state;
    }
    json!({"StartAt": name(0), "States": states})
}

fn specification(folder: &Path, form: &str, engine: &str, more: &str) -> RunSpec {
    let (document, functions) = (folder.join("d.json"), folder.join("f.toml"));
    let files = format!("{},functions={}", document.display(), functions.display());
    let workload = format!("definition:{files},form={form}{more}");
    RunSpec {
        engine: engine.to_owned(),
        load: "batch:30".parse().expect("a load"),
        ..RunSpec::of(workload.parse().expect("a workload"))
    }
}

fn write(folder: &Path, document: &Value, functions: &str) {
    fs::write(folder.join("d.json"), document.to_string()).expect("written");
    fs::write(folder.join("f.toml"), functions).expect("written");
}

fn outcome(spec: &RunSpec) -> RunOutcome {
    let outcome = run(&spec.check().expect("valid"), &Progress::default()).expect("a run");
    for check in &outcome.summary.checks {
        assert!(check.verdict != Verdict::Fail, "{}: {check:?}", spec.workload);
    }
    outcome
}

#[test]
fn a_machine_as_data_comes_to_the_same_as_code_on_every_engine() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &example(), FUNCTIONS);
    for draws in [",draws=0", ",draws=5"] {
        let code = outcome(&specification(folder.path(), "code", "in-memory", draws));
        let counts = code.summary.orchestrations;
        assert!(counts.completed > 5 && counts.failed > 5, "{counts:?}: both ends are there");
        for engine in registry::engines() {
            let data = outcome(&specification(folder.path(), "data", engine.name(), draws));
            assert_eq!(data.results_digest, code.results_digest, "{}", engine.name());
        }
    }
}

#[test]
fn random_machines_come_to_the_same_in_both_forms() {
    let mut stream = SeedTree::new(5).stream("random machines");
    let folder = tempfile::tempdir().expect("a folder");
    let (mut completed, mut failed) = (0, 0);
    for _ in 0..30 {
        let task = |name: &str, function: &str| {
            let task = json!({"Type": "Task", "Resource": function, "End": true});
            json!({"StartAt": name, "States": {name: task}})
        };
        // Beside it, every function that is described is called.
        let document = json!({"StartAt": "All", "States": {"All": {"Type": "Parallel", "End": true,
            "Branches": [random_machine("S", 2, &mut stream), task("E", "Echo"), task("L", "Slow"),
                         task("U", "Luck")]}}});
        write(folder.path(), &document, FUNCTIONS);
        let digest = |form| {
            let outcome = outcome(&specification(folder.path(), form, "in-memory", ""));
            (outcome.summary.orchestrations, outcome.results_digest)
        };
        let code = digest("code");
        assert_eq!(digest("data"), code, "{document}");
        completed += code.0.completed;
        failed += code.0.failed;
    }
    assert!(completed > 150 && failed > 50, "{completed} {failed}");
}

#[test]
fn a_state_that_does_not_fit_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let with = |state: Value| json!({"StartAt": "Odd", "States": {"Odd": state}});
    let inner = json!({"StartAt": "In", "States": {"In": {"Type": "Pass", "End": true}}});
    let mut bounded = json!({"Type": "Map", "End": true, "MaxConcurrency": 2});
    bounded["ItemProcessor"] = inner;
    let retry = json!([{"ErrorEquals": ["States.ALL"]}]);
    for (state, expected) in [
        (json!({"Type": "Wait", "Seconds": 1, "End": true}), "waits (Wait)"),
        (json!({"Type": "Succeed"}), "is of type Succeed"),
        (json!({"Type": "Fail", "Error": "E"}), "is of type Fail"),
        (json!({"Type": "Task", "Resource": "f", "Retry": retry, "End": true}), "(Retry)"),
        (bounded, "(MaxConcurrency, loop)"),
    ] {
        write(folder.path(), &with(state), "");
        let refused = specification(folder.path(), "data", "in-memory", "").check();
        let refused: SpecError = refused.expect_err(expected);
        let said = refused.to_string();
        assert!(said.contains("form=data: ") && said.contains("state \"Odd\" "), "{said}");
        assert!(said.contains(expected) && said.contains("form=code"), "{said}");
        assert!(specification(folder.path(), "code", "in-memory", "").check().is_ok());
    }
}
