//! What a whole page must be.

use super::*;
use crate::progress::Progress;
use crate::results::{self, Provenance, ResultsFolder};
use crate::run;
use crate::spec::RunSpec;
use crate::summary::Summary;
use std::fs;

/// A run with this specification that came to nothing.
pub(super) fn run_of(spec_text: &str) -> Run {
    let spec = RunSpec::from_toml(spec_text).expect("a specification");
    let summary = Summary {
        engine: spec.engine.clone(),
        workload: spec.workload.to_string(),
        seed: spec.seed,
        ..summary()
    };
    Run {
        name: "a".to_owned(),
        settle: spec.load.settle(),
        spec,
        spec_text: spec_text.to_owned(),
        summary,
        provenance: None,
        latency: None,
        client_latency: None,
        series: series::Series::default(),
        operations: None,
        counters: None,
        stuck: None,
        figures: Vec::new(),
        disturbances: Vec::new(),
        trace: None,
    }
}

fn summary() -> Summary {
    let text = r#"{"engine": "", "workload": "", "seed": 0, "digest": "d", "orchestrations":
        {"started": 0, "completed": 0, "failed": 0, "terminated": 0}, "virtual_seconds": 0.0,
        "throughput_per_s": null, "work": {"unit": "orchestrations", "total": 0.0, "per_s": null},
        "other_instances_ended": 0, "latency_ms": {"p50": null, "p90": null, "p95": null, "p99": null,
        "p99_9": null, "max": null}, "client_latency_ms": null, "operations": {},
        "operations_per_orchestration": null, "bytes": {}, "cost_usd": 0.0, "checks": [],
        "breakdown_ms": null}"#;
    serde_json::from_str(text).expect("a summary")
}

/// Writes the results of a small run into a folder.
fn write_run(folder: &Path, seed: u64) {
    let load = "batch:2".parse().expect("a load");
    let spec = RunSpec { engine: "in-memory".to_owned(), load, seed, ..RunSpec::default() };
    let checked = spec.check().expect("a specification");
    let outcome = run::run(&checked, &Progress::default()).expect("a run");
    let place = ResultsFolder::check(folder).expect("a folder");
    results::write(&place, &checked, &outcome, &Provenance::default()).expect("written");
}

/// A folder with a run `a`, and a result of an experiment `b`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write_run(&folder.path().join("a"), 1);
    let result = folder.path().join("b");
    fs::create_dir(&result).expect("a folder");
    fs::write(result.join("table.csv"), "name,value\nx,1\n").expect("written");
    fs::write(result.join("experiment.toml"), "title = 'An <i>experiment</i>'\n").expect("written");
    folder
}

fn page(folder: &Path) -> String {
    Report::read(folder, None).expect("a report").to_html()
}

fn refused(folder: &Path) -> String {
    Report::read(folder, None).err().expect("no report").to_string()
}

/// What stands between the first `from` and the next `to`.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).expect(from);
    rest.split_once(to).expect(to).0
}

#[test]
fn a_page_has_all_results_below_a_folder() {
    let folder = folder();
    let report = Report::read(folder.path(), None).expect("a report");
    assert_eq!((report.runs(), report.experiments()), (1, 1));
    let page = report.to_html();
    for part in
        ["hello:length=5 on in-memory", "sim run --spec a/spec.toml", "<svg ", "id=\"written\""]
    {
        assert!(page.contains(part), "{part}");
    }
    // A run by itself is its own folder.
    assert!(self::page(&folder.path().join("a")).contains("sim run --spec spec.toml"));
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let (one, other) = (folder(), folder());
    assert_eq!(page(one.path()), page(one.path()));
    assert_eq!(page(one.path()), page(other.path()), "the place is no part of the page");
}

#[test]
fn nothing_is_loaded() {
    let folder = folder();
    fs::write(folder.path().join("b/foreign.svg"), "<svg><image href=\"http://a.b/c\"/></svg>")
        .expect("written");
    let page = page(folder.path());
    let lower = page.to_lowercase();
    for loader in [
        "src=\"http",
        "href=\"http",
        "src=\"//",
        "href=\"//",
        "url(",
        "@import",
        "xlink",
        "<iframe",
        "<object",
        "<embed",
    ] {
        assert!(!lower.contains(loader), "{loader}");
    }
    assert!(page.contains("default-src 'none'"));
    // Whatever else speaks of an address is text: the library's and the licence's.
    let addresses: Vec<&str> = lower.split("http").skip(1).map(|rest| &rest[..12]).collect();
    assert!(
        addresses.iter().all(|rest| rest.starts_with("s://github")
            || rest.starts_with("-equiv=")
            || rest.starts_with("%3a%2f%2f")),
        "{addresses:?}"
    );
}

#[test]
fn what_results_say_is_text() {
    let folder = folder();
    let evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>";
    let place = folder.path().join("a");
    let latency = fs::read_to_string(place.join("latency.csv")).expect("a table");
    let second = latency.lines().nth(1).expect("a row").to_owned();
    let instance = second.split(',').next().expect("an instance");
    fs::write(place.join("latency.csv"), latency.replace(instance, evil)).expect("written");
    let counters = fs::read_to_string(place.join("counters.csv")).expect("a table");
    fs::write(place.join("counters.csv"), format!("{counters}{evil},1\n")).expect("written");
    let summary = fs::read_to_string(place.join("summary.json")).expect("a summary");
    let mut summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
    summary["checks"][0]["detail"] = evil.into();
    summary["workload"] = evil.into();
    fs::write(place.join("summary.json"), summary.to_string()).expect("written");
    fs::write(folder.path().join("b/table.csv"), format!("{evil},value\n{evil},1\n"))
        .expect("written");
    let page = page(folder.path());
    assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "markup came through");
    assert!(!page.contains("<i>experiment</i>"));
    assert_eq!(page.matches("</script>").count(), 2, "data and scripts, and no more");
    let data = between(&page, "<script id=\"data\" type=\"application/json\">", "</script>");
    let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert!(
        data["strings"].as_array().expect("strings").contains(&evil.into()),
        "and it is all there"
    );
}

#[test]
fn many_runs_stay_small() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = folder.path().join("0");
    write_run(&first, 1);
    for number in 1..60 {
        let copy = folder.path().join(number.to_string());
        fs::create_dir(&copy).expect("a folder");
        for file in [
            "spec.toml",
            "summary.json",
            "latency.csv",
            "timeseries.csv",
            "operations.csv",
            "counters.csv",
        ] {
            fs::copy(first.join(file), copy.join(file)).expect("copied");
        }
    }
    let report = Report::read(folder.path(), None).expect("a report");
    let page = report.to_html();
    let data = between(&page, "<script id=\"data\" type=\"application/json\">", "</script>");
    assert!(data.len() / 60 < 5_000, "{} bytes each", data.len() / 60);
    assert_eq!(page.matches("<details id=\"run-").count(), RUNS_WRITTEN_OUT);
    // 9 comes before 10.
    let names: Vec<&str> = report.runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!((names[2], names[10]), ("2", "10"));
}

#[test]
fn what_is_no_folder_of_results_is_refused_with_a_choice() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let beside = |text: &str| text.replace(&folder.path().display().to_string(), "DIR");
    fs::create_dir(at("bb")).expect("a folder");
    for (name, expected) in [
        ("c", "DIR/c: there is no such folder"),
        ("bbb", "DIR/bbb: there is no such folder; did you mean \"DIR/bb\"?"),
        (
            "a/spec.toml",
            "DIR/a/spec.toml: is a file, expected a folder with results; did you mean \"DIR/a\"?",
        ),
        (
            "bb",
            "DIR/bb: holds no results: expected folders made by sim run --out (spec.toml, summary.json), or \
             with the table.csv of an experiment, comparison or sweep; did you mean \"DIR/b\"?",
        ),
    ] {
        assert_eq!(beside(&refused(&at(name))), expected);
    }
}

#[test]
fn damaged_files_are_refused_with_their_place() {
    for (file, content, expected) in [
        (
            "a/summary.json",
            Some("{\"engine\": 5"),
            "DIR/a/summary.json: invalid type: integer `5`, expected a string at line 1 column 12",
        ),
        (
            "a/summary.json",
            None,
            "DIR/a: has spec.toml but no summary.json: not a whole result; repeat the run with --out, or move it away",
        ),
        (
            "a/spec.toml",
            Some("engin = 'netherite'\n"),
            "DIR/a/spec.toml: unknown key of a specification \"engin\": did you mean \"engine\"? valid: engine,",
        ),
        ("a/spec.toml", Some("hosts = 'many'\n"), "DIR/a/spec.toml: "),
        (
            "a/latency.csv",
            Some("instance\nx\n"),
            "DIR/a/latency.csv: line 1: unknown column \"last_updated_ns\": valid: instance",
        ),
        (
            "a/timeseries.csv",
            Some("second,started\n0,1,2\n"),
            "DIR/a/timeseries.csv: line 2: found 3 fields, expected 2",
        ),
        (
            "a/timeseries.csv",
            Some("second,started\n0,x\n"),
            "DIR/a/timeseries.csv: line 2, column started: found \"x\", expected a number",
        ),
        (
            "a/provenance.json",
            Some(""),
            "DIR/a/provenance.json: EOF while parsing a value at line 1 column 0",
        ),
        (
            "a/trace.json",
            Some("[1]"),
            "DIR/a/trace.json: invalid type: integer `1`, expected struct Event at line 1 column 2",
        ),
        ("b/table.csv", Some(""), "DIR/b/table.csv: is empty, expected a heading and rows"),
        ("b/experiment.toml", Some("title = \n"), "DIR/b/experiment.toml: "),
    ] {
        let folder = folder();
        let path = folder.path().join(file);
        match content {
            Some(content) => fs::write(&path, content).expect("written"),
            None => fs::remove_file(&path).expect("removed"),
        }
        let message = refused(folder.path()).replace(&folder.path().display().to_string(), "DIR");
        assert!(message.starts_with(expected), "{file}: {message}");
    }
}
