//! Workflow definitions: what is read, what is refused and how, what executions come to, and that
//! every engine comes to the same.

use serde_json::{Value, json};
use sim_lab::checks::Verdict;
use sim_lab::definition::{Definition, DefinitionError, Format, Source};
use sim_lab::progress::Progress;
use sim_lab::registry;
use sim_lab::run::{RunOutcome, run};
use sim_lab::spec::RunSpec;
use sim_world::seed::{SeedTree, Stream};
use std::fs;
use std::path::PathBuf;

/// The examples: document and description of its functions.
const EXAMPLES: [(&str, &str); 4] = [
    ("map-reduce.json", "map-reduce.toml"),
    ("order-pipeline.asl.json", "order-pipeline.toml"),
    ("poll-until-done.asl.json", "poll-until-done.toml"),
    ("trip-booking.json", "trip-booking.toml"),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../experiments/definitions").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).expect("an example")
}

fn read(document: &str, functions: Option<&str>) -> Result<Definition, DefinitionError> {
    let functions = functions.map(|text| Source { file: "f.toml", text });
    Definition::read(Source { file: "d.json", text: document }, functions)
}

/// The problems of a document, one line each.
fn problems(document: &Value) -> Vec<String> {
    let error = read(&document.to_string(), None).expect_err("a document with problems");
    error.problems.iter().map(ToString::to_string).collect()
}

/// What the execution with index 0 comes to.
fn outcome(document: &Value, functions: &str) -> Result<Value, String> {
    read(&document.to_string(), Some(functions)).expect("valid").expected(0, 0)
}

/// A document of the Amazon States Language with the state `S` and some that may follow.
fn states(state: Value) -> Value {
    json!({"StartAt": "S", "States": {
        "S": state,
        "Yes": {"Type": "Pass", "Result": "yes", "End": true},
        "No": {"Type": "Pass", "Result": "no", "End": true},
    }})
}

#[test]
fn every_problem_of_a_sebs_definition_is_named_with_state_and_field() {
    let document = json!({"root": "strat", "states": {
        "start": {"type": "task", "func_nam": "f", "next": "choose"},
        "choose": {"type": "switch", "cases": [
            {"var": "a..b", "op": "=>", "val": [1], "next": "nowhere"},
        ], "default": 7},
        "each": {"type": "map", "array": "xs", "root": "inner", "states": {
            "outer": {"type": "loop", "func_name": "", "array": "ys"},
        }},
        "side": {"type": "parallel", "parallel_functions": []},
        "again": {"type": "repeat", "func_name": "f", "count": 0},
        "odd": {"type": "tsak"},
        "none": 3,
    }});
    assert_eq!(
        problems(&document),
        [
            "states.start.func_name: is missing, expected the name of a function",
            "states.start: unknown field of task state \"func_nam\": did you mean \"func_name\"? \
             valid: func_name, failure",
            "states.choose.default: found 7, expected the name of a state",
            "states.choose.cases[0].var: \"a..b\": it must be names of fields with points between \
             them",
            "states.choose.cases[0].op: unknown comparison \"=>\": did you mean \"==\"? valid: <, \
             <=, ==, >=, >",
            "states.choose.cases[0].val: expected a number, text or boolean",
            "states.each.states.outer.func_name: found the text \"\", expected the name of a \
             function",
            "states.side.parallel_functions: is empty, expected an array of machines",
            "states.again.count: found 0, expected a whole number from 1 to 25000",
            "states.odd.type: unknown state type \"tsak\": did you mean \"task\"? valid: loop, \
             map, parallel, repeat, switch, task",
            "states.none: found 3, expected an object",
            "root: unknown state \"strat\": did you mean \"start\"? valid: again, choose, each, \
             none, odd, side, start",
            "states.each.root: unknown state \"inner\": valid: outer",
        ]
    );
}

#[test]
fn every_problem_of_a_states_document_is_named_with_state_and_field() {
    let document = json!({"StartAt": "First", "Version": "2.0", "States": {
        "First": {"Type": "Task", "Resource": "f", "Next": "Nxet", "End": true,
                  "InputPath": "$..x", "ResultPath": "$.a[*]", "Paramters": {}},
        "Next": {"Type": "Choice", "Choices": [
            {"Variable": "$.x", "StringEqual": "a", "Next": "First"},
            {"Variable": "$.x", "NumericLessThan": "3", "Next": "First"},
            {"And": [{"Variable": "$.x", "IsNull": true, "Next": "First"}], "Next": "First"},
            {"StringEquals": "a", "IsNull": true, "Next": "First"},
        ]},
        "Pause": {"Type": "Wait", "Seconds": 1, "Timestamp": "soon", "Next": "First"},
        "Each": {"Type": "Map", "Iterator": {"StartAt": "First", "States": {
            "First": {"Type": "Succeed", "Next": "x"}}}, "End": true},
        "Try": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true,
                "Parameters": {"FunctionName.$": "$.f", "a.$": "States.UUID()"},
                "Retry": [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["States.Tiemout"]}],
                "Catch": [{"ErrorEquals": [], "Next": "Gone"}]},
        "Stop": {"Type": "Fail", "Error": "E", "ErrorPath": "$.e"},
        "Lost": {"Type": "Pass"},
        "Other": {"Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% 1 %}", "End": true},
    }});
    let found = problems(&document);
    for expected in [
        "Version: found \"2.0\", expected 1.0",
        "States.First.InputPath: \"$..x\": descent (..) is not simulated",
        "States.First.ResultPath: \"$.a[*]\": it must name one place",
        "States.First.End: stands beside Next",
        "States.First: unknown field of Task state \"Paramters\": did you mean \"Parameters\"?",
        "States.Next.Choices[0]: unknown operator \"StringEqual\": did you mean \"StringEquals\"?",
        "States.Next.Choices[1].NumericLessThan: found the text \"3\", expected a number",
        "States.Next.Choices[2].And[0].Next: stands in an inner rule",
        "States.Next.Choices[3]: found IsNull and StringEquals, expected one operator",
        "States.Pause: found 2 of Seconds, SecondsPath, Timestamp, TimestampPath",
        "States.Pause.Timestamp: found \"soon\"",
        "States.Each.Iterator.States.First: unknown field of Succeed state \"Next\"",
        "States.Each.Iterator.States.First: the name is taken by States.First",
        "States.Try.Parameters: FunctionName is missing",
        "States.Try.Parameters.\"a.$\": \"States.UUID()\": States.UUID is not simulated",
        "States.Try.Retry[0].ErrorEquals[0]: States.ALL stands alone, and in the last entry only",
        "States.Try.Retry[1].ErrorEquals[0]: unknown reserved error \"States.Tiemout\": did you",
        "States.Try.Catch[0].ErrorEquals: is empty, expected an array of error names",
        "States.Stop.Error: stands beside ErrorPath",
        "States.Lost: Next is missing, or \"End\": true",
        "States.Other.QueryLanguage: \"JSONata\" is not simulated, expected JSONPath",
        "States.Other.Output: belongs to JSONata",
        "States.First.Next: unknown state \"Nxet\": did you mean \"Next\"?",
    ] {
        assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}: {found:#?}");
    }
    assert_eq!(found.len(), 23, "{found:#?}");
}

#[test]
fn what_is_no_definition_at_all_says_what_would_be_one() {
    for document in [json!({}), json!([]), json!(3), json!({"root": "a", "StartAt": "a"})] {
        let found = problems(&document);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("document: neither a SeBS-Flow definition"), "{found:?}");
    }
    let error = read("{\"root\": 1, \"root\": 2}", None).expect_err("a key twice");
    assert_eq!(
        error.to_string(),
        "d.json: line 1, column 18: not valid JSON: the key \"root\" stands twice in one object"
    );
}

#[test]
fn warnings_name_what_is_not_simulated_and_what_is_never_reached() {
    let document = json!({"StartAt": "A", "TimeoutSeconds": 9, "States": {
        "A": {"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask.sync", "Next": "A",
              "HeartbeatSeconds": 3, "Retry": [{"ErrorEquals": ["E"], "JitterStrategy": "FULL"}]},
        "B": {"Type": "Map", "ItemReader": {}, "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": "C", "States": {"C": {"Type": "Succeed"}}}, "End": true},
    }});
    let definition = read(&document.to_string(), None).expect("valid");
    let warnings: Vec<String> = definition.warnings().iter().map(ToString::to_string).collect();
    for expected in [
        "TimeoutSeconds: is not simulated",
        "States.A.HeartbeatSeconds: is not simulated",
        "States.A.Resource: .sync is not simulated",
        "States.A.Retry[0].JitterStrategy: is not simulated",
        "States.B.ItemReader: is not simulated",
        "States.B.ItemProcessor.ProcessorConfig.Mode: is not simulated",
        "States.B.ItemProcessor.ProcessorConfig.ExecutionType: is not simulated",
        "States.B: state \"B\" is never entered",
        "States.A: no state ends the machine that begins with \"A\"",
    ] {
        assert!(warnings.iter().any(|line| line.starts_with(expected)), "{expected} {warnings:#?}");
    }
    assert_eq!(warnings.len(), 9, "{warnings:#?}");
    assert_eq!(definition.functions()[0].name, "runTask");
}

#[test]
fn a_description_must_fit_its_definition() {
    let document = text("map-reduce.json");
    let error = read(
        &document,
        Some("[functions.count_wrods]\ncpu_ms = 1\n[arrays]\nlengths = { prats = 3 }\n"),
    )
    .expect_err("two names that are not there");
    let lines: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
    assert_eq!(error.file, "f.toml");
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("did you mean \"count_words\"?"), "{lines:?}");
    assert!(lines[1].contains("did you mean \"$.parts\"?"), "{lines:?}");
}

/// A pass state from `input` with these fields.
fn passed(fields: &Value, input: &str) -> Result<Value, String> {
    let mut state = json!({"Type": "Pass", "End": true});
    let state_fields = state.as_object_mut().expect("an object");
    state_fields.extend(fields.as_object().expect("an object").clone());
    outcome(&states(state), &format!("input = {input}"))
}

#[test]
fn payloads_flow_through_a_state_as_the_language_says() {
    let input = "{ a = { b = [1, 2] }, c = 3 }";
    for (fields, expected) in [
        (json!({}), json!({"a": {"b": [1, 2]}, "c": 3})),
        (json!({"InputPath": "$.a"}), json!({"b": [1, 2]})),
        (json!({"InputPath": null}), json!({})),
        (json!({"OutputPath": "$.a.b[1]"}), json!(2)),
        (json!({"OutputPath": null}), json!({})),
        (json!({"Result": 7, "ResultPath": "$.a.d"}), json!({"a": {"b": [1, 2], "d": 7}, "c": 3})),
        (json!({"Result": 7, "ResultPath": null}), json!({"a": {"b": [1, 2]}, "c": 3})),
        (json!({"InputPath": "$.a", "ResultPath": "$.c", "OutputPath": "$.c.b"}), json!([1, 2])),
        (
            json!({"Parameters": {"x.$": "$.a.b[0]", "n.$": "$$.State.Name"}}),
            json!({"x": 1, "n": "S"}),
        ),
    ] {
        assert_eq!(passed(&fields, input), Ok(expected), "{fields}");
    }
    for (fields, error) in [
        (json!({"InputPath": "$.x"}), "States.Runtime: state \"S\": InputPath $.x is not in"),
        (json!({"OutputPath": "$.x"}), "States.Runtime: state \"S\": OutputPath $.x is not in"),
        (json!({"Parameters": {"x.$": "$.x"}}), "States.ParameterPathFailure: state \"S\": $.x"),
        (json!({"ResultPath": "$.c.d"}), "States.ResultPathMatchFailure: state \"S\": $.c.d"),
        (json!({"Parameters": {"x.$": "States.StringToJson('{')"}}), "States.IntrinsicFailure"),
    ] {
        let found = passed(&fields, input).expect_err("a failure");
        assert!(found.starts_with(error), "{fields}: {found}");
    }
}

#[test]
fn choices_lead_to_the_first_rule_that_holds() {
    let input = "input = { n = 5, t = '2026-01-02T00:00:00Z', s = 'abc' }\n";
    for (rule, holds) in [
        (json!({"Variable": "$.n", "NumericGreaterThanEquals": 5}), true),
        (json!({"Variable": "$.n", "NumericLessThanPath": "$.n"}), false),
        (json!({"Variable": "$.s", "StringMatches": "a*c"}), true),
        (json!({"Variable": "$.s", "StringLessThan": "abd"}), true),
        (json!({"Variable": "$.t", "TimestampGreaterThan": "2026-01-01T23:59:59Z"}), true),
        (json!({"Variable": "$.t", "IsTimestamp": true}), true),
        (json!({"Variable": "$.s", "IsNumeric": true}), false),
        (json!({"Variable": "$.x", "IsPresent": false}), true),
        (json!({"Not": {"Variable": "$.n", "IsString": true}}), true),
        (
            json!({"Or": [{"Variable": "$.n", "IsNull": true},
                          {"Variable": "$.n", "IsBoolean": false}]}),
            true,
        ),
        (json!({"Variable": "$$.State.Name", "StringEquals": "S"}), true),
    ] {
        let mut rule = rule;
        rule["Next"] = json!("Yes");
        let choice = json!({"Type": "Choice", "Choices": [&rule], "Default": "No"});
        let expected = if holds { "yes" } else { "no" };
        assert_eq!(outcome(&states(choice), input), Ok(json!(expected)), "{rule}");
    }
    let rule = json!({"Variable": "$.n", "NumericEquals": 6, "Next": "Yes"});
    let undecided = states(json!({"Type": "Choice", "Choices": [rule]}));
    let error = outcome(&undecided, input).expect_err("no rule");
    assert!(error.starts_with("States.NoChoiceMatched: state \"S\""), "{error}");
    let rule = json!({"Variable": "$.x", "NumericEquals": 6, "Next": "Yes"});
    let absent = states(json!({"Type": "Choice", "Choices": [rule], "Default": "No"}));
    assert!(outcome(&absent, input).expect_err("absent").contains("$.x is not in the payload"));
}

#[test]
fn failures_are_tried_again_and_caught_by_name() {
    let failing = "[functions.f]\nfailure = { probability = 1, error = 'Broken', cause = 'so' }\n";
    let task = |more: Value| {
        let mut task = json!({"Type": "Task", "Resource": "f", "Next": "Yes"});
        task.as_object_mut().expect("an object").extend(more.as_object().expect("too").clone());
        outcome(&states(task), failing)
    };
    assert_eq!(task(json!({})), Err("Broken: so".to_owned()));
    let caught = json!([{"ErrorEquals": ["Other"], "Next": "Yes"},
                        {"ErrorEquals": ["Broken"], "Next": "No"}]);
    assert_eq!(task(json!({"Catch": caught})), Ok(json!("no")));
    let by_kind = json!([{"ErrorEquals": ["States.Timeout"], "Next": "Yes"},
                         {"ErrorEquals": ["States.TaskFailed"], "Next": "No"}]);
    assert_eq!(task(json!({"Catch": by_kind})), Ok(json!("no")));
    let document = json!({"StartAt": "S", "States": {
        "S": {"Type": "Task", "Resource": "f", "Catch": [
            {"ErrorEquals": ["States.ALL"], "ResultPath": "$.e", "Next": "T"}], "End": true},
        "T": {"Type": "Fail", "ErrorPath": "$.e.Error",
              "CausePath": "States.Format('{} again', $.e.Cause)"},
    }});
    assert_eq!(outcome(&document, failing), Err("Broken: so again".to_owned()));
    // Half of the calls fail: with ten further attempts hardly any execution does.
    let shaky = "[functions.f]\nfailure = { probability = 0.5, error = 'Broken' }\n";
    let count = |attempts: u64| {
        let retry = json!([{"ErrorEquals": ["Broken"], "MaxAttempts": attempts}]);
        let task = json!({"Type": "Task", "Resource": "f", "Retry": retry, "End": true});
        let definition = read(&states(task).to_string(), Some(shaky)).expect("valid");
        (0..400).filter(|index| definition.expected(0, *index).is_err()).count()
    };
    // Binomials with means 200 and 50 have standard deviations of 10 and 7.
    assert!((160..240).contains(&count(0)) && (22..78).contains(&count(2)), "{}", count(2));
    assert!(count(10) < 8, "{}", count(10));
}

#[test]
fn a_task_that_takes_too_long_times_out() {
    let slow = "[functions.f]\ncpu_ms = 900\nwait_ms = 200\n";
    let task = |limit: Value| {
        let mut task = json!({"Type": "Task", "Resource": "f", "Next": "Yes", "Catch": [
            {"ErrorEquals": ["States.Timeout"], "Next": "No"}]});
        task.as_object_mut().expect("an object").extend(limit.as_object().expect("too").clone());
        outcome(&states(task), &format!("input = {{ limit = 1 }}\n{slow}"))
    };
    assert_eq!(task(json!({"TimeoutSeconds": 1})), Ok(json!("no")));
    assert_eq!(task(json!({"TimeoutSecondsPath": "$.limit"})), Ok(json!("no")));
    assert_eq!(task(json!({"TimeoutSeconds": 2})), Ok(json!("yes")));
}

#[test]
fn maps_and_branches_keep_their_order() {
    let inner = json!({"StartAt": "I", "States": {"I": {"Type": "Pass", "End": true}}});
    let map = json!({"Type": "Map", "ItemsPath": "$.xs", "ResultPath": "$.ys",
                     "ItemProcessor": inner,
                     "ItemSelector": {"v.$": "$$.Map.Item.Value", "i.$": "$$.Map.Item.Index",
                                      "k.$": "$.k"}, "MaxConcurrency": 2, "End": true});
    assert_eq!(
        outcome(&states(map.clone()), "input = { k = 1, xs = ['a', 'b'] }")
            .map(|mut v| v["ys"].take()),
        Ok(json!([{"v": "a", "i": 0, "k": 1}, {"v": "b", "i": 1, "k": 1}]))
    );
    let absent = "input = { k = 1 }\narrays = { lengths = { '$.xs' = 3 } }\n";
    let ys = outcome(&states(map.clone()), absent).map(|mut value| value["ys"].take());
    assert_eq!(ys.map(|ys| ys.as_array().map(Vec::len)), Ok(Some(3)));
    let error = outcome(&states(map), "input = { k = 1, xs = 3 }").expect_err("no array");
    assert!(error.contains("$.xs: found a number, expected an array"), "{error}");
    let branch = |name: &str, then: Value| json!({"StartAt": name, "States": {name: then}});
    let parallel = json!({"Type": "Parallel", "End": true, "Branches": [
        branch("A", json!({"Type": "Pass", "Result": 1, "End": true})),
        branch("B", json!({"Type": "Pass", "End": true})),
    ]});
    assert_eq!(outcome(&states(parallel), "input = { k = 1 }"), Ok(json!([1, {"k": 1}])));
    let failing = json!({"Type": "Parallel", "End": true, "Branches": [
        branch("A", json!({"Type": "Fail", "Error": "First"})),
        branch("B", json!({"Type": "Fail", "Error": "Second"})),
    ]});
    assert_eq!(outcome(&states(failing), ""), Err("First".to_owned()));
}

#[test]
fn sebs_states_do_what_the_suite_says() {
    let functions = "input = { xs = [{ v = 1 }, { v = 2 }], k = 'p', n = 3 }\n\
        [functions.mark]\nresult = { merge = { seen = true } }\n\
        [functions.grow]\nresult = { template = ['{{.}}'] }\n\
        [functions.bad]\nfailure = { probability = 1, error = 'E' }\n";
    let of = |state: Value| {
        let mut document = json!({"root": "s", "states": {"s": state}});
        for (name, function) in [("t", "mark"), ("u", "grow"), ("v", "bad")] {
            document["states"][name] = json!({"type": "task", "func_name": function});
        }
        outcome(&document, functions)
    };
    let payload = json!({"xs": [{"v": 1}, {"v": 2}], "k": "p", "n": 3});
    let with = |key: &str, value: Value| {
        let mut payload = payload.clone();
        payload[key] = value;
        payload
    };
    let task =
        |name: &str| json!({"root": "i", "states": {"i": {"type": "task", "func_name": name}}});
    let each = |more: Value| {
        let mut map = task("mark");
        map["type"] = json!("map");
        map["array"] = json!("xs");
        map.as_object_mut().expect("an object").extend(more.as_object().expect("too").clone());
        map
    };
    for (state, expected) in [
        (json!({"type": "task", "func_name": "mark"}), with("seen", json!(true))),
        (json!({"type": "task", "func_name": "bad", "failure": "t"}), with("seen", json!(true))),
        (json!({"type": "task", "func_name": "bad", "failure": null, "next": "t"}), Value::Null),
        (each(json!({})), with("xs", json!([{"v": 1, "seen": true}, {"v": 2, "seen": true}]))),
        (
            each(json!({"common_params": "k, x"})),
            with(
                "xs",
                json!([
                    {"array_element": {"v": 1}, "k": "p", "x": null, "seen": true},
                    {"array_element": {"v": 2}, "k": "p", "x": null, "seen": true},
                ]),
            ),
        ),
        (
            json!({"type": "loop", "func_name": "mark", "array": "xs"}),
            with("xs", json!([{"v": 1, "seen": true}, {"v": 2, "seen": true}])),
        ),
        (json!({"type": "repeat", "func_name": "grow", "count": 3}), json!([[[payload]]])),
        (
            json!({"type": "parallel", "parallel_functions": [task("grow"), task("mark")]}),
            json!([[payload], with("seen", json!(true))]),
        ),
        (
            json!({"type": "switch", "cases": [
                {"var": "n", "op": "<", "val": 3, "next": "s"},
                {"var": "absent.path", "op": "==", "val": 3, "next": "s"},
                {"var": "k", "op": "==", "val": "p", "next": "t"}]}),
            with("seen", json!(true)),
        ),
        (
            json!({"type": "switch", "cases": [{"var": "n", "op": ">", "val": 3, "next": "t"}]}),
            payload.clone(),
        ),
    ] {
        match expected {
            Value::Null => assert_eq!(of(state.clone()), Err("E".to_owned()), "{state}"),
            expected => assert_eq!(of(state.clone()), Ok(expected), "{state}"),
        }
    }
}

#[test]
fn without_a_description_everything_has_its_stated_default() {
    let document = text("map-reduce.json");
    let definition = read(&document, None).expect("valid");
    let result = definition.expected(0, 0).expect("an echo never fails");
    assert_eq!(result["parts"].as_array().map(Vec::len), Some(10));
    let assumptions = definition.assumptions().join("\n");
    for said in ["computes for 10 ms", "echoes", "an empty object", "$.parts has 10"] {
        assert!(assumptions.contains(said), "{said}: {assumptions}");
    }
    assert!(definition.functions().iter().all(|function| function.assumed));
}

#[test]
fn loops_without_end_and_payloads_without_bound_fail_clearly() {
    let again = |state: Value| {
        let mut state = state;
        state["Next"] = json!("S");
        outcome(&states(state), "input = { a = 1 }").expect_err("bounded")
    };
    let endless = again(json!({"Type": "Pass"}));
    assert!(endless.contains("state \"S\": more than 25000 states are entered"), "{endless}");
    let deep = again(json!({"Type": "Pass", "Parameters": {"a.$": "$"}}));
    assert!(deep.starts_with("States.DataLimitExceeded: state \"S\": the payload nests"), "{deep}");
    let wide = again(json!({"Type": "Pass", "Parameters": {"a.$": "States.Array($.a, $.a)"}}));
    assert!(wide.starts_with("States.DataLimitExceeded"), "{wide}");
    let text = json!({"a.$": "States.Format('{}{}{}', $.a, $.a, $.a)"});
    let long = again(json!({"Type": "Pass", "Parameters": text}));
    assert!(long.contains("the payload has over 4194304 bytes"), "{long}");
    let forever = states(json!({"Type": "Task", "Resource": "f", "End": true, "Retry": [
        {"ErrorEquals": ["E"], "MaxAttempts": 99_999_999}]}));
    let failing = "[functions.f]\nfailure = { probability = 1, error = 'E' }\n";
    let forever = outcome(&forever, failing).expect_err("bounded");
    assert!(forever.contains("more than 25000 states"), "{forever}");
    let inner = json!({"StartAt": "I", "States": {"I": {
        "Type": "Map", "ItemsPath": "$.b", "End": true,
        "ItemProcessor": {"StartAt": "J", "States": {"J": {"Type": "Succeed"}}}}}});
    let broad =
        states(json!({"Type": "Map", "ItemsPath": "$.a", "ItemProcessor": inner, "End": true}));
    let broad = outcome(&broad, "arrays = { default_length = 1000 }").expect_err("bounded");
    assert!(broad.contains("1000000 machines would be carried out side by side"), "{broad}");
}

#[test]
fn nesting_is_bounded_with_a_clear_error() {
    let nest = |depth: usize| {
        (1..depth).fold(
            json!({"root": "t", "states": {"t": {"type": "task", "func_name": "f"}}}),
            |inner, _| {
                let mut map = inner;
                map["type"] = json!("map");
                map["array"] = json!("xs");
                json!({"root": "m", "states": {"m": map}})
            },
        )
    };
    let deepest = read(&nest(24).to_string(), Some("arrays = { default_length = 1 }"));
    assert!(deepest.expect("as deep as may be").expected(0, 0).is_ok());
    let found = problems(&nest(25));
    assert!(found[0].ends_with("machines stand at most 24 deep within each other"), "{found:?}");
    let branches = (1..24).fold(json!({"Type": "Succeed"}), |inner, depth| {
        let name = format!("S{depth}");
        let branch = json!({"StartAt": &name, "States": {&name: inner}});
        json!({"Type": "Parallel", "End": true, "Branches": [branch]})
    });
    let deepest = json!({"StartAt": "S", "States": {"S": branches}}).to_string();
    assert!(read(&deepest, None).expect("as deep as may be").expected(0, 0).is_ok());
    let error = read(&"{\"root\":".repeat(10_000), None).expect_err("far too deep");
    assert!(error.to_string().contains("recursion limit exceeded"), "{error}");
}

#[test]
fn the_examples_have_every_state_type_of_their_format() {
    let used = |format: Format, key: &str, found: &mut Vec<String>| {
        for (document, functions) in EXAMPLES {
            let (document, functions) = (text(document), text(functions));
            if read(&document, Some(&functions)).expect("valid").format() == format {
                collect(&serde_json::from_str(&document).expect("JSON"), key, found);
            }
        }
        found.sort();
        found.dedup();
    };
    let (mut sebs, mut states) = (Vec::new(), Vec::new());
    used(Format::Sebs, "type", &mut sebs);
    used(Format::AmazonStates, "Type", &mut states);
    assert_eq!(sebs, ["loop", "map", "parallel", "repeat", "switch", "task"]);
    assert_eq!(states, ["Choice", "Fail", "Map", "Parallel", "Pass", "Succeed", "Task", "Wait"]);
}

fn collect(value: &Value, key: &str, found: &mut Vec<String>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        match inner {
            Value::String(text) if name == key => found.push(text.clone()),
            inner => collect(inner, key, found),
        }
    }
    value.as_array().into_iter().flatten().for_each(|inner| collect(inner, key, found));
}

#[test]
fn executions_of_the_examples_take_different_ways() {
    for (document, functions) in EXAMPLES {
        let definition = read(&text(document), Some(&text(functions))).expect("valid");
        let outcomes: Vec<_> = (0..200).map(|index| definition.expected(0, index)).collect();
        let again: Vec<_> = (0..200).map(|index| definition.expected(0, index)).collect();
        assert_eq!(outcomes, again, "{document}");
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        match document {
            // Orders fail and polls run out of patience now and then; trips are undone by a saga.
            "order-pipeline.asl.json" | "poll-until-done.asl.json" => {
                assert!((1..100).contains(&failed), "{document}: {failed}");
            }
            _ => assert_eq!(failed, 0, "{document}"),
        }
        if document == "trip-booking.json" {
            let undone = |outcome: &&Result<Value, String>| {
                outcome.as_ref().is_ok_and(|result| result.get("booked") == Some(&json!(false)))
            };
            let undone = outcomes.iter().filter(undone).count();
            assert!((20..150).contains(&undone), "{undone} of 200 trips were undone");
        }
        let other: Vec<_> = (0..200).map(|index| definition.expected(1, index)).collect();
        assert!(document == "map-reduce.json" || outcomes != other, "{document}: draws differ");
    }
}

// ---- mutation fuzz -------------------------------------------------------------------------

/// A value that fits hardly anywhere.
fn strange(stream: &mut Stream) -> Value {
    let choices = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("\u{202e}$.\u{0}\n\u{1b}[31m"),
        json!("$..a[?(@.x)]"),
        json!("States.Format('{}"),
        json!("x".repeat(5_000)),
        json!([]),
        json!([[[[[[]]]]]]),
        json!({}),
        json!({"": {"\n": null}}),
    ];
    choices[stream.below(choices.len() as u64) as usize].clone()
}

/// Changes one place somewhere in `value`; `depth` bounds how far down it is.
fn mutate(value: &mut Value, stream: &mut Stream) {
    let descend = stream.chance(0.85);
    match value {
        Value::Object(object) if !object.is_empty() => {
            let at = stream.below(object.len() as u64) as usize;
            let key = object.keys().nth(at).expect("in range").clone();
            if descend && !object[&key].is_string() && !object[&key].is_number() {
                return mutate(&mut object[&key], stream);
            }
            match stream.below(5) {
                0 => drop(object.shift_remove(&key)),
                1 => {
                    let moved = object.shift_remove(&key).expect("there");
                    object.insert(renamed(&key, stream), moved);
                }
                2 => object[&key] = strange(stream),
                3 => {
                    let other = object.keys().nth(stream.below(object.len() as u64) as usize);
                    let other = other.expect("in range").clone();
                    let (a, b) = (object[&key].clone(), object[&other].clone());
                    object[&key] = b;
                    object[&other] = a;
                }
                _ => {
                    object.insert(renamed(&key, stream), strange(stream));
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let at = stream.below(items.len() as u64) as usize;
            match stream.below(4) {
                0 => drop(items.remove(at)),
                1 => items[at] = strange(stream),
                _ => mutate(&mut items[at], stream),
            }
        }
        other => *other = strange(stream),
    }
}

fn renamed(key: &str, stream: &mut Stream) -> String {
    match stream.below(5) {
        0 => key.chars().rev().collect(),
        1 => format!("{key}\u{301}"),
        2 => key.to_lowercase(),
        3 => format!("{key}.$"),
        _ => key.chars().skip(1).collect(),
    }
}

/// Changes the text itself: cuts it, doubles a part, or puts something strange into it.
fn mutate_text(text: &str, stream: &mut Stream) -> String {
    let boundary = |stream: &mut Stream| {
        let at = stream.below(text.len() as u64) as usize;
        (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
    };
    let (one, other) = (boundary(stream), boundary(stream));
    let (from, to) = (one.min(other), one.max(other));
    match stream.below(5) {
        0 => text[..from].to_owned(),
        1 => format!("{}{}", &text[..to], &text[from..]),
        2 => format!("{}{}", &text[..from], &text[to..]),
        3 => format!("{}{}{}", &text[..from], "[{".repeat(500), &text[from..]),
        _ => {
            let inserted = ["\"", "\\ud800", "\u{feff}", "1e999", ",", "}", "\u{0}", "{\"a\":"];
            let inserted = inserted[stream.below(8) as usize];
            format!("{}{inserted}{}", &text[..from], &text[from..])
        }
    }
}

/// Every problem is one line that names a place and says something.
fn assert_clear(error: &DefinitionError, of: &str) {
    assert!(!error.problems.is_empty(), "{of}");
    let lines = error.problems.iter().map(ToString::to_string).chain([error.to_string()]);
    for line in lines {
        let plain = !line.chars().any(char::is_control) && line.len() < 5_000;
        assert!(plain && line.contains(": "), "{line:?} of {of}");
    }
    for problem in &error.problems {
        assert!(!problem.place.is_empty() && problem.message.len() > 5, "{problem:?} of {of}");
    }
}

#[test]
fn a_thousand_malformed_documents_end_in_clear_errors() {
    let mut stream = SeedTree::new(11).stream("mutation of definitions");
    let (mut refused, mut carried_out) = (0, 0);
    while refused < 1_000 {
        let (document, functions) = EXAMPLES[stream.below(4) as usize];
        let (document, functions) = (text(document), text(functions));
        let mutated = match stream.chance(0.75) {
            true => {
                let mut value: Value = serde_json::from_str(&document).expect("JSON");
                (0..=stream.below(3)).for_each(|_| mutate(&mut value, &mut stream));
                value.to_string()
            }
            false => mutate_text(&document, &mut stream),
        };
        match read(&mutated, None) {
            Err(error) => {
                assert_clear(&error, &mutated);
                refused += 1;
            }
            // What is still valid can be carried out, whatever it comes to.
            Ok(definition) => {
                let _ = definition.expected(0, 0);
                let described = read(&mutated, Some(&functions));
                let _ = described.map(|definition| definition.expected(0, 1));
                carried_out += 1;
            }
        }
    }
    assert!(carried_out > 50, "{carried_out} mutations were still valid");
    assert!(carried_out < 2_000, "{carried_out} mutations were still valid");
}

#[test]
fn malformed_descriptions_end_in_clear_errors() {
    let mut stream = SeedTree::new(12).stream("mutation of descriptions");
    let mut refused = 0;
    while refused < 300 {
        let (document, functions) = EXAMPLES[stream.below(4) as usize];
        let (document, functions) = (text(document), text(functions));
        let mutated = match stream.chance(0.5) {
            true => {
                let table: toml::Table = toml::from_str(&functions).expect("TOML");
                let mut value = serde_json::to_value(table).expect("JSON");
                mutate(&mut value, &mut stream);
                // What TOML cannot say is left as it was.
                toml::to_string(&value).unwrap_or(functions)
            }
            false => mutate_text(&functions, &mut stream),
        };
        match read(&document, Some(&mutated)) {
            Err(error) => {
                assert_clear(&error, &mutated);
                assert_eq!(error.file, "f.toml");
                refused += 1;
            }
            Ok(definition) => drop(definition.expected(0, 0)),
        }
    }
}

// ---- on engines ----------------------------------------------------------------------------

fn on_engine(engine: &str, document: &str, functions: Option<&str>, seed: u64) -> RunOutcome {
    batch_on_engine(engine, (document, functions), seed, 40)
}

fn batch_on_engine(
    engine: &str,
    (document, functions): (&str, Option<&str>),
    seed: u64,
    size: u32,
) -> RunOutcome {
    let mut workload = format!("definition:{}", path(document).display());
    if let Some(functions) = functions {
        workload += &format!(",functions={}", path(functions).display());
    }
    let spec = RunSpec {
        engine: engine.to_owned(),
        load: format!("batch:{size}").parse().expect("a load"),
        seed,
        ..RunSpec::of(workload.parse().expect("a workload"))
    };
    let outcome = run(&spec.check().expect("valid"), &Progress::default()).expect("a run");
    for check in &outcome.summary.checks {
        // What an engine does not promise is observed, and may be.
        let kept = check.verdict != Verdict::Fail;
        assert!(kept, "{engine} {document} seed {seed}: {check:?}");
    }
    outcome
}

#[test]
fn every_engine_comes_to_the_same_results() {
    for (document, functions) in EXAMPLES {
        for (functions, seed) in [(Some(functions), 1), (Some(functions), 2), (None, 1)] {
            let engines = registry::engines();
            let digest = |name| (name, on_engine(name, document, functions, seed).results_digest);
            let digests: Vec<(&str, String)> =
                engines.iter().map(|engine| digest(engine.name())).collect();
            let first = &digests[0].1;
            assert!(digests.iter().all(|(_, digest)| digest == first), "{document} {digests:?}");
        }
    }
}

/// What stands in the map and what in the parallel state of a machine with machines `depth` deep in
/// it: by turns the next machine, the other is a leaf.
fn by_turns(depth: u32, next: Option<Value>, leaf: Value) -> (Value, Value) {
    match next {
        None => (leaf.clone(), leaf),
        Some(next) if depth.is_multiple_of(2) => (next, leaf),
        Some(next) => (leaf, next),
    }
}

/// A machine of SeBS-Flow with every state type, and machines like it `depth` deep in it.
fn sebs_machine(depth: u32) -> Value {
    let leaf = json!({"root": "leaf", "states": {"leaf": {"type": "task", "func_name": "safe"}}});
    let next = depth.checked_sub(1).map(sebs_machine);
    let (item, branch) = by_turns(depth, next, leaf.clone());
    json!({"root": "try", "states": {
        "try": {"type": "task", "func_name": "risky", "failure": "undo", "next": "choose"},
        "undo": {"type": "task", "func_name": "safe", "next": "choose"},
        "choose": {"type": "switch", "default": "again", "cases": [
            {"var": "array_element.index", "op": "==", "val": 1, "next": "each"}]},
        "again": {"type": "repeat", "func_name": "safe", "count": 2, "next": "each"},
        "each": {"type": "loop", "func_name": "fatal", "array": "items", "next": "spread"},
        "spread": {"type": "map", "array": "parts", "common_params": "id", "next": "aside",
                   "root": item["root"], "states": item["states"]},
        "aside": {"type": "parallel", "parallel_functions": [branch, leaf]},
    }})
}

/// The same of the Amazon States Language. Names of states are told apart by `number`.
fn states_machine(depth: u32, number: &mut u32) -> Value {
    *number += 1;
    let name = |kind: &str| format!("{kind}{number}");
    let [pass, choice, wait, task, map, parallel, done, fail] =
        ["Pass", "Choice", "Wait", "Task", "Map", "Parallel", "Done", "Fail"].map(name);
    let ask = name("Ask");
    let leaf = |name: &String| {
        json!({"StartAt": name, "States": {
            name: {"Type": "Task", "Resource": "Safe", "End": true}}})
    };
    let (note, other) = (leaf(&name("Note")), leaf(&name("Leaf")));
    let next = depth.checked_sub(1).map(|depth| states_machine(depth, number));
    let (mut item, branch) = by_turns(depth, next, other);
    if depth == 0 {
        item = leaf(&format!("Item{number}"));
    }
    let again =
        |error: &str| json!([{"ErrorEquals": [error], "MaxAttempts": 1, "BackoffRate": 2.0}]);
    let otherwise = |next: &String| json!([{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": next}]);
    json!({"StartAt": pass, "States": {
        pass.clone(): {"Type": "Pass", "Parameters": {"at.$": "$$.State.Name"},
                       "ResultPath": "$.pass", "Next": choice},
        choice: {"Type": "Choice", "Default": task, "Choices": [
            {"Variable": "$.index", "IsPresent": true, "Next": wait}]},
        wait: {"Type": "Wait", "Seconds": 1, "Next": task},
        task: {"Type": "Task", "Resource": "Risky", "ResultPath": "$.task", "Next": map,
               "Retry": again("Flaky"), "Catch": otherwise(&ask)},
        // In one machine it does not matter; in the others the machine fails.
        ask: {"Type": "Choice", "Default": fail, "Choices": [
            {"Variable": "$.pass.at", "StringEquals": "Pass2", "Next": map}]},
        map: {"Type": "Map", "ItemsPath": "$.items", "ResultPath": "$.map", "Next": parallel,
              "ItemProcessor": item, "Retry": again("Refused"), "Catch": otherwise(&parallel)},
        parallel: {"Type": "Parallel", "InputPath": "$.pass", "ResultPath": "$.parallel",
                   "Branches": [branch, note], "Retry": again("Refused"), "Next": done},
        done: {"Type": "Succeed"},
        fail: {"Type": "Fail", "Error": "Refused", "Cause": "it failed twice"},
    }})
}

/// The state types of machines that are within `depth` other ones.
fn types_at(machine: &Value, depth: u32, found: &mut Vec<String>) {
    let states = machine.get("states").or(machine.get("States"));
    for state in states.and_then(Value::as_object).into_iter().flat_map(|states| states.values()) {
        let kind = state.get("type").or(state.get("Type")).and_then(Value::as_str);
        let inner = ["parallel_functions", "Branches"].map(|key| state.get(key));
        let branches = inner.into_iter().flatten().filter_map(Value::as_array).flatten();
        let map = state.get("ItemProcessor").or(state.get("states").map(|_| state));
        match depth {
            0 => found.extend(kind.map(str::to_owned)),
            _ => branches.chain(map).for_each(|inner| types_at(inner, depth - 1, found)),
        }
    }
}

const DEEP_FUNCTIONS: &str = "arrays = { default_length = 2 }\ndefault = { cpu_ms = 1 }\n";

#[test]
fn every_state_type_three_deep_comes_to_the_same_on_every_engine() {
    let failing = |name: &str, share: f64, error: &str| {
        format!("[functions.{name}]\nfailure = {{ probability = {share}, error = '{error}' }}\n")
    };
    let folder = tempfile::tempdir().expect("a folder");
    for (name, document, functions, types) in [
        (
            "deep.json",
            sebs_machine(3),
            [failing("risky", 0.3, "Flaky"), failing("fatal", 0.02, "Broken")].concat(),
            &["loop", "map", "parallel", "repeat", "switch", "task"][..],
        ),
        (
            "deep.asl.json",
            states_machine(3, &mut 0),
            failing("Risky", 0.5, "Flaky"),
            &["Choice", "Fail", "Map", "Parallel", "Pass", "Succeed", "Task", "Wait"],
        ),
    ] {
        let mut found = Vec::new();
        types_at(&document, 3, &mut found);
        found.sort();
        found.dedup();
        assert_eq!(found, types, "{name}");
        let (document, functions) = (document.to_string(), format!("{DEEP_FUNCTIONS}{functions}"));
        let definition = read(&document, Some(&functions)).expect("valid");
        let failed = (0..8).filter(|index| definition.expected(0, *index).is_err()).count();
        assert!((1..8).contains(&failed), "{name}: {failed} of 8 fail");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (file, described) = (path(name), path("functions.toml"));
        fs::write(&file, document).expect("written");
        fs::write(&described, functions).expect("written");
        let digests: Vec<(&str, String)> = registry::engines()
            .iter()
            .map(|engine| {
                let files = (&*file, Some(&*described));
                (engine.name(), batch_on_engine(engine.name(), files, 1, 8).results_digest)
            })
            .collect();
        assert!(digests.iter().all(|(_, digest)| *digest == digests[0].1), "{name} {digests:?}");
    }
}

#[test]
fn a_changed_file_does_not_go_unnoticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let document = folder.path().join("d.json");
    fs::write(&document, text("map-reduce.json")).expect("written");
    let asked = RunSpec::of(format!("definition:{}", document.display()).parse().expect("valid"));
    let checked = asked.check().expect("valid");
    let written = RunSpec::from_toml(&checked.spec().to_toml()).expect("its own text");
    assert_eq!(written.check().expect("unchanged").spec(), checked.spec());
    let digest = &checked.spec().workload.parameters["digest"];
    assert_ne!(digest, "0");
    fs::write(&document, text("trip-booking.json")).expect("written");
    let error = written.check().expect_err("changed").to_string();
    assert!(error.contains(digest) && error.contains("they were changed"), "{error}");
    assert!(asked.check().is_ok(), "nobody has said what it should be");
}
