//! What `sim run` prints and writes.

mod common;

use common::{SMALL, files, sim, stdout};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// `sim run` with a small load and these flags.
fn small<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    [&SMALL[..], flags].concat()
}

#[test]
fn json_is_one_object_with_the_documented_keys() {
    let folder = folder();
    let arguments = ["run", "--load", "open:rate=20,duration=1s", "--seed", "7", "--json"];
    let output = sim(folder.path(), &arguments).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 1);
    // Anything after the first value would be an error.
    let summary: Value = serde_json::from_str(&text).expect("one JSON value");
    let keys: Vec<&String> = summary.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "engine",
            "workload",
            "seed",
            "digest",
            "orchestrations",
            "virtual_seconds",
            "throughput_per_s",
            "work",
            "other_instances_ended",
            "latency_ms",
            "client_latency_ms",
            "operations",
            "operations_per_orchestration",
            "bytes",
            "cost_usd",
            "checks",
            "breakdown_ms",
        ]
    );
    assert_eq!(summary["engine"], "netherite");
    assert_eq!(summary["workload"], "hello:length=5");
    assert_eq!(summary["seed"], 7);
    let digest = summary["digest"].as_str().expect("a text");
    assert!(digest.len() == 32 && digest.chars().all(|digit| digit.is_ascii_hexdigit()));
    for key in ["started", "completed", "failed", "terminated"] {
        assert!(summary["orchestrations"][key].is_u64(), "{key}");
    }
    for latency in ["latency_ms", "client_latency_ms"] {
        for key in ["p50", "p90", "p95", "p99", "p99_9", "max"] {
            assert!(summary[latency][key].as_f64().is_some_and(|ms| ms > 0.0), "{latency} {key}");
        }
    }
    for key in ["virtual_seconds", "throughput_per_s", "operations_per_orchestration", "cost_usd"] {
        assert!(summary[key].is_f64(), "{key}");
    }
    for table in ["operations", "bytes"] {
        let entries = summary[table].as_object().expect("an object");
        assert!(!entries.is_empty(), "{table}");
        for (name, value) in entries {
            assert!(name.contains('.') && value.is_u64(), "{table}: {name}: {value}");
        }
    }
    for check in summary["checks"].as_array().expect("an array") {
        assert!(check["name"].is_string() && check["detail"].is_string(), "{check}");
        let verdict = check["verdict"].as_str().expect("a text");
        assert!(["pass", "fail", "observed"].contains(&verdict), "{check}");
    }
    let breakdown = summary["breakdown_ms"].as_object().expect("an object");
    assert!(breakdown.values().all(Value::is_f64), "{breakdown:?}");
}

#[test]
fn nobody_waits_in_a_batch() {
    let folder = folder();
    let text = stdout(folder.path(), &small(&["--json"]));
    let summary: Value = serde_json::from_str(&text).expect("one JSON value");
    assert_eq!(summary["client_latency_ms"], Value::Null);
    assert_eq!(summary["orchestrations"]["completed"], 20);
}

#[test]
fn what_is_piped_is_plain_text_of_80_columns() {
    let folder = folder();
    for arguments in [&small(&[])[..], &["list"], &["help"], &["help", "run"]] {
        let text = stdout(folder.path(), arguments);
        assert!(!text.is_empty() && text.ends_with('\n'));
        let control = |letter: char| letter.is_control() && letter != '\n';
        assert!(!text.contains(control), "{arguments:?}: {text:?}");
        assert!(text.lines().all(|line| line.trim_end() == line), "{arguments:?}");
    }
    let text = stdout(folder.path(), &small(&[]));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_defaults_are_the_first_run_of_the_readme() {
    let folder = folder();
    let bare = stdout(folder.path(), &["run", "--seed", "7"]);
    let named = stdout(folder.path(), &["run", "--engine", "netherite", "--seed", "7"]);
    assert_eq!(bare, named);
}

#[test]
fn two_processes_write_the_same_bytes() {
    let folder = folder();
    for engine in ["azure-storage", "in-memory", "internet-computer", "netherite"] {
        let mut printed = Vec::new();
        let mut written = Vec::new();
        for (out, stack) in [("a", "2097152"), ("b", "4194304")] {
            // What the environment holds must not matter.
            let mut command = sim(folder.path(), &small(&["--engine", engine, "--out", out]));
            let output = command.env("RUST_MIN_STACK", stack).env("LANG", out).output();
            printed.push(output.expect("it starts").stdout);
            let mut files = files(&folder.path().join(out));
            assert!(files.remove("provenance.json").is_some());
            written.push(files);
        }
        assert_eq!(printed[0], printed[1], "{engine}");
        let [a, b] = &written[..] else { unreachable!("two runs") };
        assert!(a == b, "{engine}: {:?}", a.keys().filter(|name| a.get(*name) != b.get(*name)));
        let names: Vec<&str> = a.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "counters.csv",
                "events.csv",
                "figures/latency.png",
                "figures/latency.svg",
                "latency.csv",
                "operations.csv",
                "spec.toml",
                "summary.json",
                "timeseries.csv",
            ]
        );
        let summary: Value = serde_json::from_slice(&a["summary.json"]).expect("JSON");
        let text = String::from_utf8(printed.remove(0)).expect("text");
        assert!(text.contains(summary["digest"].as_str().expect("a text")), "{text}");
    }
}

#[test]
fn another_seed_is_another_run() {
    let folder = folder();
    let digest = |seed: &str| {
        let text = stdout(folder.path(), &small(&["--json", "--seed", seed]));
        serde_json::from_str::<Value>(&text).expect("JSON")["digest"].clone()
    };
    assert_ne!(digest("7"), digest("8"));
}

#[test]
fn the_summary_names_a_command_that_repeats_the_run() {
    let folder = folder();
    let flags = ["--seed", "9", "--hosts", "2", "--set", "netherite.speculation=none"];
    let text = stdout(folder.path(), &small(&flags));
    let (_, command) = text.split_once("Repeat it with\n").expect("the command");
    let command = command.replace(" \\\n", " ");
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[0], "sim");
    assert_eq!(stdout(folder.path(), &words[1..]), text);
}

#[test]
fn a_written_specification_repeats_the_run() {
    let folder = folder();
    sim(folder.path(), &small(&["--seed", "5", "--hosts", "3", "--out", "a"])).assert().success();
    sim(folder.path(), &["run", "--spec", "a/spec.toml", "--out", "b"]).assert().success();
    let [mut a, mut b] = ["a", "b"].map(|out| files(&folder.path().join(out)));
    a.remove("provenance.json");
    b.remove("provenance.json");
    assert!(a == b);
    let text = stdout(folder.path(), &["run", "--spec", "a/spec.toml", "--seed", "6", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["seed"], 6);
}

#[test]
fn a_profile_of_ones_own_is_kept_with_the_results() {
    let folder = folder();
    let profile = include_str!("../../../experiments/profiles/azure-2021-10.toml");
    fs::write(folder.path().join("mine.toml"), profile).expect("a file");
    sim(folder.path(), &small(&["--profile", "mine.toml", "--out", "a"])).assert().success();
    fs::remove_file(folder.path().join("mine.toml")).expect("a file");
    sim(folder.path(), &["run", "--spec", "a/spec.toml", "--out", "b"]).assert().success();
    let [a, b] = ["a", "b"].map(|out| files(&folder.path().join(out)));
    assert_eq!(a["profile.toml"], profile.as_bytes());
    assert!(a["summary.json"] == b["summary.json"] && a["events.csv"] == b["events.csv"]);
}

#[test]
fn an_earlier_result_is_replaced() {
    let folder = folder();
    sim(folder.path(), &small(&["--seed", "1", "--out", "a"])).assert().success();
    fs::write(folder.path().join("a").join("note.txt"), "of the first run").expect("a file");
    sim(folder.path(), &small(&["--seed", "2", "--out", "a"])).assert().success();
    let files = files(folder.path());
    assert!(String::from_utf8_lossy(&files["a/spec.toml"]).contains("seed = 2"));
    assert!(!files.contains_key("a/note.txt"));
    assert!(files.keys().all(|name| name.starts_with("a/")), "{:?}", files.keys());
}

#[test]
fn provenance_says_what_may_differ() {
    let folder = folder();
    sim(folder.path(), &small(&["--out", "a"])).assert().success();
    let text = fs::read(folder.path().join("a/provenance.json")).expect("a file");
    let provenance: Value = serde_json::from_slice(&text).expect("JSON");
    assert!(provenance["wall_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    for name in ["sim", "revision", "rustc"] {
        assert!(provenance["versions"][name].is_string(), "{name}");
    }
}

#[test]
fn a_failed_check_is_exit_code_1_and_results_are_written_all_the_same() {
    let folder = folder();
    let arguments = [
        "run",
        "--load",
        "open:rate=20,duration=1s",
        "--json",
        "--out",
        "a",
        // No answer comes as fast as that.
        "--set",
        "netherite.request_timeout=1ms",
    ];
    let output = sim(folder.path(), &arguments).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "error: check completion failed\n");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    let failed = summary["checks"].as_array().expect("an array").iter();
    let failed: Vec<_> = failed.filter(|check| check["verdict"] == "fail").collect();
    assert_eq!(failed.len(), 1);
    assert!(files(&folder.path().join("a")).contains_key("summary.json"));
}

#[test]
fn a_reader_that_leaves_is_no_fault() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(SMALL)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // Closed before anything is written.
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
    assert!(child.wait().expect("it ends").success(), "{stderr}");
    assert!(stderr.starts_with("took ") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_exit_code_3() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).arg("list").stdout(full).output();
    let output = output.expect("it starts");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: cannot write to standard output: No space left on device (os error 28)\n"
    );
}

#[test]
fn histories_are_written_where_they_are_asked_for() {
    let folder = folder();
    let bank = ["run", "--workload", "bank", "--load", "batch:2", "--engine", "in-memory"];
    let with = |flags: &[&str]| {
        stdout(folder.path(), &[&bank[..], flags].concat());
    };
    with(&["--history", "here.edn"]);
    with(&["--history", "jsonl", "--out", "out"]);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect(name);
    let edn = read("here.edn");
    assert!(edn.starts_with("{:index 0, :time "), "{edn}");
    assert!(edn.contains(":type :ok, :f :Get, :value 0, :key \"@Account@src0-!1\""), "{edn}");
    let lines = read("out/history.jsonl");
    let operations: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // Two starts, three calls in each transaction, four accounts read at the end.
    assert_eq!(operations.len(), 2 + 6 + 4);
    assert!(operations.iter().all(|one| one["return"].as_u64() >= one["call"].as_u64()));
}

#[test]
fn a_history_that_cannot_be_written_is_refused_before_the_run() {
    let folder = folder();
    for (given, told) in [
        ("json", "--history: found \"json\", expected edn, jsonl, or a file"),
        ("none/here.edn", "--history: none/here.edn: its folder does not exist"),
    ] {
        let output = sim(folder.path(), &small(&["--history", given])).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{given}");
        let error = String::from_utf8(output.stderr).expect("text");
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_breach_is_followed_by_the_history_that_shows_it() {
    let folder = folder();
    let arguments =
        ["run", "--engine", "azure-storage", "--workload", "sequence", "--load", "batch:20"];
    let text = stdout(folder.path(), &arguments);
    assert!(text.contains("observed  causally-consistent-commit"), "{text}");
    assert!(text.contains("is committed, as number"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}
