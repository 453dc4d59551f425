//! `sim definition check`, and `sim run` of a definition.

mod common;

use common::{sim, stdout};
use std::fs;
use std::path::{Path, PathBuf};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/definitions")
}

/// A folder with a copy of the examples.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(examples()).expect("examples") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copied");
    }
    folder
}

/// Standard error of a command that must end with exit code 2 and print nothing.
fn refused(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let output = sim(folder, arguments).output().expect("the command starts");
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    let stderr = String::from_utf8(output.stderr).expect("text");
    stderr.lines().map(str::to_owned).collect()
}

#[test]
fn a_valid_definition_is_shown_with_its_states_and_functions() {
    let folder = folder();
    let page = stdout(
        folder.path(),
        &["definition", "check", "trip-booking.json", "--functions", "trip-booking.toml"],
    );
    for line in [
        "  plan_trip: calls plan -> reserve_each_leg",
        "  reserve_each_leg: for each of $.legs, all at once -> book_hotel",
        "    quote: 2 branches side by side -> combine",
        "      branch 1",
        "        seat_offers: calls ask_airline 3 times in a row -> end",
        "    -> on States.ALL: cancel_hotel",
        "    -> if $.trip.days >= 7: rent_car",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}:\n{page}");
    }
    assert!(page.starts_with("trip-booking.json is valid: SeBS-Flow, digest "), "{page}");
    assert!(page.contains("fails 25 % FullyBooked"), "{page}");
    assert!(page.contains("$.hotels\n    has 2"), "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
}

#[test]
fn without_a_description_it_says_what_is_assumed() {
    let folder = folder();
    let page = stdout(folder.path(), &["definition", "check", "order-pipeline.asl.json"]);
    assert!(page.contains("Amazon States Language"), "{page}");
    assert!(page.contains("Charge (assumed)"), "{page}");
    assert!(page.contains("each computes for 10 ms and echoes its\n    input"), "{page}");
}

#[test]
fn every_problem_has_a_line_with_file_state_and_field() {
    let folder = folder();
    let document = r#"{"root": "a", "states": {
        "a": {"type": "task", "func_name": 3, "next": "c"},
        "b": {"type": "mpa"}
    }}"#;
    fs::write(folder.path().join("bad.json"), document).expect("written");
    assert_eq!(
        refused(folder.path(), &["definition", "check", "bad.json"]),
        [
            "error: bad.json: states.a.func_name: found 3, expected the name of a function",
            "error: bad.json: states.b.type: unknown state type \"mpa\": did you mean \"map\"? \
             valid: loop, map, parallel, repeat, switch, task",
            "error: bad.json: 2 problems",
        ]
    );
    fs::write(folder.path().join("bad.toml"), "[functions.splti]\ncpu_ms = 1\n").expect("written");
    assert_eq!(
        refused(
            folder.path(),
            &["definition", "check", "map-reduce.json", "--functions", "bad.toml"]
        ),
        ["error: bad.toml: functions: unknown function \"splti\": did you mean \"split\"? valid: \
          add_up, count_words, shuffle, split"]
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = folder();
    let lines = refused(folder.path(), &["definition", "check", "none.json"]);
    assert!(
        lines.len() == 1 && lines[0].starts_with("error: none.json: No such file"),
        "{lines:?}"
    );
    let lines = refused(folder.path(), &["definition"]);
    assert_eq!(lines, ["error: a command is missing: check; see 'sim definition --help'"]);
    let lines = refused(folder.path(), &["run", "--workload", "definition"]);
    assert!(lines[0].starts_with("error: workload definition: file is missing"), "{lines:?}");
    let lines = refused(folder.path(), &["run", "--workload", "definition:map-reduce.toml"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("map-reduce.toml: line 1, column 1: not valid JSON"), "{lines:?}");
}

#[test]
fn files_that_are_no_text_are_refused_in_words() {
    let folder = folder();
    fs::write(folder.path().join("image.png"), b"\x89PNG\r\n").expect("written");
    for (file, said) in [
        (".", "error: .: is a folder, expected a file"),
        ("image.png", "error: image.png: is not text in UTF-8: byte 0 is part of no letter"),
    ] {
        assert_eq!(refused(folder.path(), &["definition", "check", file]), [said]);
        let workload = format!("definition:{file}");
        assert_eq!(refused(folder.path(), &["run", "--workload", &workload]), [said]);
        assert_eq!(refused(folder.path(), &["run", "--spec", file]), [said]);
    }
    let workload = "definition:map-reduce.json,functions=";
    assert_eq!(
        refused(folder.path(), &["run", "--workload", workload]),
        ["error: parameter of definition \"functions\": found \"\", expected the name of a file"]
    );
}

#[test]
fn names_with_control_characters_do_not_reach_the_terminal() {
    let folder = folder();
    let document = "{\"root\": \"a\\u001b[31m\", \"states\": {\"a\\u001b[31m\": \
                    {\"type\": \"task\", \"func_name\": \"f\\nx\"}}}";
    // As some editors write it.
    fs::write(folder.path().join("d.json"), format!("\u{feff}{document}")).expect("written");
    let shown = stdout(folder.path(), &["definition", "check", "d.json"]);
    assert!(shown.contains("a\\u{1b}[31m: calls f\\nx -> end"), "{shown}");
    assert!(shown.chars().all(|letter| letter == '\n' || !letter.is_control()), "{shown:?}");
}

#[test]
fn a_run_says_what_is_assumed_and_is_repeated_from_its_results() {
    let folder = folder();
    let workload = "definition:order-pipeline.asl.json,functions=order-pipeline.toml";
    let arguments = [
        "run",
        "--engine",
        "in-memory",
        "--workload",
        workload,
        "--load",
        "batch:20",
        "--out",
        "a",
    ];
    let output = sim(folder.path(), &arguments).assert().success().get_output().clone();
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(stderr.contains("note: arrays that the payload lacks have a default"), "{stderr}");
    fs::remove_file(folder.path().join("order-pipeline.asl.json")).expect("removed");
    fs::remove_file(folder.path().join("order-pipeline.toml")).expect("removed");
    stdout(folder.path(), &["run", "--spec", "a/spec.toml", "--out", "b"]);
    stdout(folder.path(), &["diverge", "a", "b"]);
    let specification = fs::read_to_string(folder.path().join("a/spec.toml")).expect("written");
    assert!(specification.contains("digest="), "{specification}");
    let description = folder.path().join("a/workload-functions.toml");
    let text = fs::read_to_string(&description).expect("beside the results");
    fs::write(&description, text.replace("cpu_ms = 8", "cpu_ms = 9")).expect("written");
    let lines = refused(folder.path(), &["run", "--spec", "a/spec.toml"]);
    assert!(lines[0].contains("they were changed"), "{lines:?}");
}
