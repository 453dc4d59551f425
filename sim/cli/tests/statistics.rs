//! Thresholds, `sim compare A B`, `sim saturate` and `sim sensitivity`: what they print and write, and
//! what they refuse.

mod common;

use common::{files, sim, stdout};
use std::fs;
use std::path::Path;

fn refused(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = sim(folder, arguments).output().expect("it starts");
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    error
}

/// Runs of two engines under three seeds.
fn runs(folder: &Path) {
    for engine in ["netherite", "in-memory"] {
        for seed in ["1", "2", "3"] {
            let out = format!("{engine}/{seed}");
            let run = ["run", "--load", "open:rate=20,duration=2s", "--engine", engine];
            stdout(folder, &[&run[..], &["--seed", seed, "--out", &out]].concat());
        }
    }
}

#[test]
fn requirements_that_are_not_met_are_told_one_by_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = ["run", "--load", "batch:20", "--require", "throughput>0"];
    stdout(folder.path(), &run);
    let more = ["--require", "p99<1us", "--require", "client.p50<1s", "--out", "a"];
    let error = refused(folder.path(), &[&run[..], &more].concat(), 1);
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(lines[0].starts_with("error: latency.p99<0.001ms is not met: "), "{error}");
    assert_eq!(lines[1], "error: client.p50<1000ms is not met: nothing was measured");
    assert_eq!(lines[2], "error: 2 of 3 requirements not met");
    assert!(folder.path().join("a/summary.json").is_file(), "results are written all the same");
    let error = refused(folder.path(), &["run", "--require", "latncy.p50<1s", "--out", "b"], 2);
    assert!(error.contains("--require: unknown metric \"latncy.p50\": did you mean"), "{error}");
    assert!(!folder.path().join("b").exists());
}

#[test]
fn two_results_are_paired_and_judged() {
    let folder = tempfile::tempdir().expect("a folder");
    runs(folder.path());
    let text = stdout(folder.path(), &["compare", "in-memory", "netherite"]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "paired by seed and specification but for engine and settings",
        "engine: in-memory -> netherite",
        "latency.p50 (ms)",
        "slower",
        "Student's t interval at 95 %",
        "All requests of all runs: A B change latency.p50 (ms)",
        "percentile bootstrap over 3 runs, 1999 resamples, interval at 95 %; pairs together. So few",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let same =
        stdout(folder.path(), &["compare", "netherite", "netherite", "--fail-if", "p50>+0%"]);
    assert!(same.contains("All pairs are the same run") && !same.contains("slower"), "{same}");
    let limits = ["--fail-if", "p50>+5%", "--fail-if", "operations<-50%", "--json"];
    let compared = ["compare", "in-memory", "netherite"];
    let output =
        sim(folder.path(), &[&compared[..], &limits].concat()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("text");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["pairing"], "by-all-but-engine");
    assert_eq!(value["exceeded"].as_array().map(Vec::len), Some(1), "{value}");
    assert_eq!(value["groups"][0]["seeds"], serde_json::json!([1, 2, 3]));
    assert_eq!(value["groups"][0]["metrics"][0]["metric"], "throughput");
    let pooled = &value["groups"][0]["pooled"][1];
    assert_eq!(pooled["metric"], "latency.p95");
    let ends =
        ["low", "high"].map(|end| pooled["other"]["interval"][end].as_f64().expect("a number"));
    let value = pooled["other"]["value"].as_f64().expect("a number");
    assert!(ends[0] <= value && value <= ends[1] && ends[0] < ends[1], "{pooled}");
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(error.starts_with("error: latency.p50>+5% holds: +"), "{error}");
}

#[test]
fn results_that_cannot_be_compared_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    stdout(at, &["run", "--load", "batch:5", "--out", "a"]);
    fs::create_dir(at.join("empty")).expect("a folder");
    fs::create_dir(at.join("damaged")).expect("a folder");
    fs::write(at.join("damaged/runs.csv"), "seed,throughput_per_s\n1,fast\n").expect("a file");
    fs::create_dir(at.join("torn")).expect("a folder");
    for file in ["spec.toml", "summary.json"] {
        fs::copy(at.join("a").join(file), at.join("torn").join(file)).expect("a copy");
    }
    let torn =
        "instance,latency_ms,client_latency_ms,status\na,12.5,,completed\nb,NaN,,completed\n";
    fs::write(at.join("torn/latency.csv"), torn).expect("a file");
    for (arguments, expected) in [
        (&["compare", "a"][..], "a second result is missing to compare a with"),
        (&["compare", "a", "b"], "b: does not exist, expected the folder of a run"),
        (&["compare", "a", "empty"], "empty: holds no result"),
        (&["compare", "a", "a/spec.toml"], "a/spec.toml: is not a folder"),
        (&["compare", "a", "damaged"], "line 2, throughput_per_s: found \"fast\""),
        (
            &["compare", "a", "torn"],
            "latency.csv: line 3, latency_ms: found \"NaN\", expected mill",
        ),
        (&["compare", "a", "a", "--engine", "netherite"], "--engine says what is to be run, but a"),
        (&["compare", "a", "a", "--seeds", "1..2"], "--seeds says what is to be run"),
        (&["compare", "a", "a", "--fail-if", "p50>5"], "--fail-if: threshold on latency.p50"),
        (&["compare", "a", "a", "--fail-if", "client.p50>5%"], "client.p50 was not measured"),
        (&["compare", "--fail-if", "p50>5%"], "expected their folders: sim compare A B"),
    ] {
        let error = refused(at, arguments, 2);
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_search_prints_its_trail_and_writes_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let search = ["saturate", "--engine", "azure-storage", "--workload", "hello:length=1"];
    let small = ["--plan", "EP1", "--hosts", "1", "--duration", "2s", "--tolerance", "50%"];
    let target = ["--target", "p90<800ms", "--seeds", "1,2", "--completes", "80%"];
    let all = [&search[..], &small, &target].concat();
    let text = stdout(folder.path(), &[&all[..], &["--out", "a"]].concat());
    for words in ["target latency.p90<800ms", "seed 2: met at", "Rates that were tried", "MSER-5"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let written = files(&folder.path().join("a"));
    for name in ["saturation.toml", "table.csv", "summary.json", "saturation.svg", "saturation.png"]
    {
        assert!(written.contains_key(name), "{name}");
    }
    let json = stdout(folder.path(), &[&all[..], &["--json", "--threads", "1"]].concat());
    assert_eq!(json.as_bytes(), written["summary.json"], "whatever the number of threads");
    for (flags, expected) in [
        (&["--target", "throughput>5"][..], "target: found \"throughput>5\", expected a bound"),
        (&["--target", "p95"], "--target: threshold: found \"p95\""),
        (&["--target", "p95<1s", "--tolerance", "0%"], "tolerance: found \"0 %\""),
        (&["--target", "p95<1s", "--min-rate", "20"], "first rate: found \"10\""),
        (&["--target", "p95<1s", "--completes", "120%"], "completes: found \"1.2\""),
        (&["--target", "p95<1s", "--out", "a/table.csv"], "--out: a/table.csv: is not a folder"),
    ] {
        let error = refused(folder.path(), &[&["saturate"], flags].concat(), 2);
        assert!(error.contains(expected), "{flags:?}: {error}");
    }
}

#[test]
fn an_analysis_ranks_its_parameters_and_writes_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let analysis = ["sensitivity", "--load", "open:rate=10,duration=1s", "--seeds", "1..2"];
    let which = ["--parameter", "profile.cpu.step", "--parameter", "profile.services.queue.rate"];
    let all = [&analysis[..], &which].concat();
    let text = stdout(folder.path(), &[&all[..], &["--out", "a"]].concat());
    for words in ["What moves latency.p95 most", "profile.cpu.step", "2.8 ms", "2 parameters tried"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("profile.services.queue.rate"), "it has no effect: {text}");
    let written = files(&folder.path().join("a"));
    for name in ["sensitivity.toml", "spec.toml", "table.csv", "summary.json", "sensitivity.png"] {
        assert!(written.contains_key(name), "{name}");
    }
    let json = stdout(folder.path(), &[&all[..], &["--json", "--threads", "1"]].concat());
    assert_eq!(json.as_bytes(), written["summary.json"], "whatever the number of threads");
    for (flags, expected) in [
        (
            &["--metric", "latency.p59"][..],
            "--metric: unknown metric \"latency.p59\": did you mean",
        ),
        (&["--parameter", "profile.cpu.stpe"], "the nearest is \"profile.cpu.step\""),
        (&["--factor", "1"], "factor: found \"1\", expected a factor from 1.01 to 100"),
    ] {
        let error = refused(folder.path(), &[&["sensitivity"], flags].concat(), 2);
        assert!(error.contains(expected), "{flags:?}: {error}");
    }
}
