//! Whole runs on the engine without cost: what comes out, and that it comes out again.

use sim_lab::checks::Verdict;
use sim_lab::progress::Progress;
use sim_lab::run::{RunOptions, RunOutcome, run, run_with};
use sim_lab::spec::RunSpec;
use sim_lab::{Outcome, results};
use std::time::Duration;

fn spec(load: &str) -> RunSpec {
    RunSpec {
        engine: "in-memory".to_owned(),
        load: load.parse().expect("a load"),
        seed: 7,
        ..RunSpec::default()
    }
}

fn outcome(spec: &RunSpec) -> RunOutcome {
    let checked = spec.check().expect("a valid specification");
    run(&checked, &Progress::default()).expect("a run")
}

fn assert_all_pass(outcome: &RunOutcome) {
    for check in &outcome.summary.checks {
        assert_eq!(check.verdict, Verdict::Pass, "{check:?}");
    }
}

#[test]
fn an_open_load_runs_to_its_end() {
    let outcome = outcome(&spec("open:rate=50,duration=10s"));
    assert_all_pass(&outcome);
    let counts = outcome.summary.orchestrations;
    // A Poisson count with mean 500 has a standard deviation of 22.
    assert!((400..600).contains(&counts.started), "{counts:?}");
    assert_eq!((counts.completed, counts.failed), (counts.started, 0));
    assert!(outcome.summary.virtual_seconds >= 12.0, "settle time and duration");
    assert!(outcome.summary.client_latency_ms.is_some());
    let series: u32 = outcome.ended_per_second.iter().sum();
    assert_eq!(u64::from(series), counts.completed);
    for record in &outcome.records {
        assert_eq!(record.outcome, Outcome::Completed);
        assert_eq!(record.timing.map(|timing| timing.total()), Some(record.latency()));
        let client = record.client_latency.expect("a client waits");
        assert!(client > record.latency(), "the client sees the network too");
        assert!(record.created > record.intended, "the request travels first");
    }
}

#[test]
fn a_closed_load_has_as_many_requests_at_a_time_as_clients() {
    let outcome = outcome(&spec("closed:clients=5,duration=5s,think=10ms"));
    assert_all_pass(&outcome);
    let mut changes: Vec<(u64, i32)> = Vec::new();
    for record in &outcome.records {
        let client = record.client_latency.expect("a client waits");
        changes.push((record.intended.as_nanos(), 1));
        changes.push(((record.intended + client).as_nanos(), -1));
    }
    changes.sort_unstable();
    let mut now = 0;
    let most = changes
        .iter()
        .map(|(_, change)| {
            now += change;
            now
        })
        .max();
    assert_eq!(most, Some(5));
    assert!(outcome.records.len() > 100, "{}", outcome.records.len());
}

#[test]
fn a_batch_is_started_from_one_trigger_or_through_launchers() {
    for (load, launchers) in [("batch:300", 0), ("batch:300,launcher=70", 5)] {
        let outcome = outcome(&spec(load));
        assert_all_pass(&outcome);
        assert_eq!(outcome.summary.orchestrations.completed, 300, "{load}");
        assert_eq!(outcome.summary.client_latency_ms, None, "nobody waits");
        let instances = outcome.counters.iter().find(|(name, _)| *name == "instances");
        assert_eq!(instances, Some(&("instances", 300 + launchers)), "{load}");
    }
}

#[test]
fn results_do_not_depend_on_the_load() {
    let direct = outcome(&spec("batch:50"));
    let launched = outcome(&spec("batch:50,launcher=20"));
    assert_eq!(direct.results_digest, launched.results_digest);
    assert_ne!(direct.summary.digest, launched.summary.digest);
    assert_ne!(direct.results_digest, outcome(&spec("batch:51")).results_digest);
}

#[test]
fn a_run_that_does_not_end_in_time_fails_the_completion_check() {
    let checked = spec("batch:500").check().expect("valid");
    let options =
        RunOptions { bound: Duration::from_millis(10), window: None, ..RunOptions::default() };
    let outcome = run_with(&checked, &Progress::default(), &options).expect("a run");
    let verdict = |name: &str| {
        let check = outcome.summary.checks.iter().find(|check| check.name == name);
        check.expect("always there").clone()
    };
    let completion = verdict("completion");
    assert_eq!(completion.verdict, Verdict::Fail);
    assert!(completion.detail.contains("of 500 did not end, first: 0"), "{}", completion.detail);
    assert_eq!(verdict("no-message-lost").verdict, Verdict::Observed);
    assert!(!outcome.summary.passed());
}

#[test]
fn one_specification_gives_the_same_bytes_again() {
    for load in ["batch:200", "open:rate=30,duration=5s", "closed:clients=20,duration=2s"] {
        let checked = spec(load).check().expect("valid");
        let first = results::files(&checked, &outcome(&spec(load))).expect("files");
        let again = results::files(&checked, &outcome(&spec(load))).expect("files");
        assert_eq!(first.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
        for (name, content) in &first {
            assert!(content == &again[name], "{load}: {name} differs");
        }
        let other = RunSpec { seed: 8, ..spec(load) };
        assert_ne!(outcome(&spec(load)).summary.digest, outcome(&other).summary.digest);
    }
}

#[test]
fn a_run_is_the_same_alone_and_beside_others() {
    use rayon::prelude::*;
    let specs: Vec<RunSpec> =
        (0..6).map(|seed| RunSpec { seed, ..spec("open:rate=30,duration=3s") }).collect();
    let digests = |threads: usize| -> Vec<String> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let digest = |spec: &RunSpec| outcome(spec).summary.digest;
        pool.install(|| specs.par_iter().map(digest).collect())
    };
    let alone = digests(1);
    assert_eq!(alone, digests(2));
    assert_eq!(alone, digests(4));
}

#[test]
fn the_written_specification_repeats_the_digest() {
    let asked = spec("batch:100");
    let checked = asked.check().expect("valid");
    let written = RunSpec::from_toml(&checked.spec().to_toml()).expect("its own text");
    assert_eq!(&written, checked.spec());
    assert_eq!(outcome(&asked).summary.digest, outcome(&written).summary.digest);
    let again = written.check().expect("valid");
    assert_eq!(again.spec(), checked.spec(), "completing is done once");
}

#[test]
fn progress_is_told_while_a_run_goes_on() {
    let progress = Progress::default();
    let checked = spec("batch:100").check().expect("valid");
    run(&checked, &progress).expect("a run");
    assert_eq!((progress.expected(), progress.completed()), (100, 100));
    assert_eq!(progress.runs_completed(), 1);
    assert!(progress.virtual_time().as_secs_f64() > 2.0);
}

#[test]
fn the_summary_has_the_promised_keys_in_their_order() {
    let json = outcome(&spec("open:rate=20,duration=2s")).summary.to_json();
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    assert_eq!(
        keys(&value),
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
    assert_eq!(keys(&value["orchestrations"]), ["started", "completed", "failed", "terminated"]);
    assert_eq!(keys(&value["work"]), ["unit", "total", "per_s"]);
    for latency in ["latency_ms", "client_latency_ms"] {
        assert_eq!(keys(&value[latency]), ["p50", "p90", "p95", "p99", "p99_9", "max"]);
    }
    assert_eq!(
        keys(&value["breakdown_ms"]),
        [
            "network",
            "storage",
            "throttling",
            "polling",
            "queueing",
            "cpu",
            "batching",
            "commit",
            "retries",
            "application",
        ]
    );
    let names: Vec<&str> = value["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|check| {
            assert_eq!(keys(check), ["name", "verdict", "detail"]);
            check["name"].as_str().expect("text")
        })
        .collect();
    assert_eq!(
        names,
        [
            "exactly-once-steps",
            "exactly-once-tasks",
            "no-message-lost",
            "serial-instances",
            "no-timer-early",
            "causally-consistent-commit",
            "completion",
            "results",
            "breakdown",
            "durability",
        ]
    );
    let digest = value["digest"].as_str().expect("text");
    assert!(digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
    assert_eq!(value["workload"], "hello:length=5");
}

#[test]
fn the_sequence_workload_passes_its_own_check() {
    let workload = "sequence:length=4,data_exponent=10".parse().expect("a workload");
    let outcome = outcome(&RunSpec { workload, ..spec("batch:20") });
    assert_all_pass(&outcome);
    assert_eq!(outcome.summary.orchestrations.completed, 20);
}

#[test]
fn jobs_run_under_every_load() {
    for (load, clients_wait) in [
        ("batch:3", false),
        ("open:rate=2,duration=2s", true),
        ("closed:clients=2,duration=3s,think=500ms", true),
    ] {
        let spec = RunSpec {
            workload: "wordcount:mappers=1,reducers=2,word_limit=20".parse().expect("a workload"),
            ..spec(load)
        };
        let outcome = outcome(&spec);
        assert_all_pass(&outcome);
        let counts = outcome.summary.orchestrations;
        assert!(counts.started > 1 && counts.completed == counts.started, "{load}: {counts:?}");
        assert!(outcome.summary.other_instances_ended >= counts.started, "{load}");
        assert_eq!(outcome.summary.work.total, 20.0 * counts.completed as f64, "{load}");
        assert_eq!(outcome.summary.breakdown_ms, None, "a job has no breakdown");
        assert_eq!(outcome.summary.client_latency_ms.is_some(), clients_wait);
        for record in &outcome.records {
            assert_eq!((record.outcome, record.timing), (Outcome::Completed, None));
            assert_eq!(record.client_latency.is_some(), clients_wait);
            assert!(record.created >= record.intended, "{load}");
        }
        let names: Vec<&str> =
            outcome.summary.checks.iter().map(|check| check.name.as_str()).collect();
        assert!(names.contains(&"entities"), "{names:?}");
    }
}

#[test]
fn launchers_are_for_orchestrations() {
    let workload = "counter".parse().expect("a workload");
    let spec = RunSpec { workload, ..spec("batch:2,launcher=1") };
    let error = spec.check().expect_err("jobs have no launcher").to_string();
    assert!(error.starts_with("load batch: launcher: found \"1\""), "{error}");
}

#[test]
fn a_run_takes_the_load_of_its_workload() {
    let of = |workload: &str| RunSpec::of(workload.parse().expect("a workload")).load.to_string();
    assert_eq!(of("hello"), "open:rate=20,duration=30s");
    assert_eq!(of("collision"), "batch:1");
    let read = RunSpec::from_toml("workload = 'collision'\n").expect("a specification");
    assert_eq!(read.load.to_string(), "batch:1");
}
