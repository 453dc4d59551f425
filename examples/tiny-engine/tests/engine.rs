//! What the book says of the example: it carries the workloads, costs what it should, keeps what it
//! promises under the faults of its budget, and the checks notice when its safety mechanism is off.

use example_tiny_engine::Tiny;
use sim_lab::checks::Verdict;
use sim_lab::explore::{self, Campaign};
use sim_lab::progress::Progress;
use sim_lab::registry::Engines;
use sim_lab::run::{RunOutcome, run};
use sim_lab::spec::RunSpec;

/// Seeds of each campaign.
const SEEDS: u64 = 40;

fn engines() -> Engines {
    Engines::built_in().with(Tiny)
}

fn outcome(workload: &str, settings: &[(&str, &str)]) -> RunOutcome {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let spec = RunSpec {
        engine: "tiny".to_owned(),
        load: "batch:50".parse().expect("a load"),
        settings: settings.collect(),
        ..RunSpec::of(workload.parse().expect("a workload"))
    };
    let checked = spec.check_with(&engines()).expect("a valid specification");
    run(&checked, &Progress::default()).expect("a run")
}

fn failed(outcome: &RunOutcome) -> Vec<&str> {
    let checks = outcome.summary.checks.iter();
    checks.filter(|check| check.verdict == Verdict::Fail).map(|check| &*check.name).collect()
}

#[test]
fn hello_and_bank_pass_every_check_and_each_step_is_a_read_and_a_write() {
    for workload in ["hello", "bank", "periodic:ticks=3", "fanout:width=20"] {
        let outcome = outcome(workload, &[]);
        assert_eq!(failed(&outcome), [""; 0], "{workload}");
        assert_eq!(
            outcome.summary.orchestrations.completed,
            outcome.summary.orchestrations.started
        );
    }
    // Six steps of a sequence of five; the first has nothing to read.
    let operations = outcome("hello:length=5", &[]).summary.operations;
    assert_eq!((operations["blob.put"], operations["blob.get"]), (50 * 6, 50 * 5));
    let operations = outcome("hello:length=5", &[("tiny.keep_cursors", "true")]).summary.operations;
    assert_eq!((operations["blob.put"], operations.get("blob.get")), (50 * 6, None));
}

#[test]
fn results_are_those_of_the_reference() {
    for workload in ["hello", "bank"] {
        let tiny = outcome(workload, &[]);
        let checked = RunSpec {
            engine: "in-memory".to_owned(),
            load: "batch:50".parse().expect("a load"),
            ..RunSpec::of(workload.parse().expect("a workload"))
        };
        let reference = run(&checked.check().expect("valid"), &Progress::default()).expect("a run");
        assert_eq!(tiny.results_digest, reference.results_digest, "{workload}");
    }
}

#[test]
fn without_its_safety_mechanism_effects_are_committed_before_their_causes() {
    let outcome = outcome("hello", &[("tiny.write_before_send", "false")]);
    assert_eq!(failed(&outcome), ["causally-consistent-commit"]);
}

#[test]
fn it_keeps_its_promises_under_faults_of_its_budget() {
    let engines = engines();
    let campaign = Campaign::of("tiny");
    let first = explore::first_failure_with(&engines, &campaign, 1, SEEDS).expect("it can be run");
    let first = first.map(|first| (first.spec.seed, first.failure.check));
    assert_eq!(first, None, "seed and check");
}
