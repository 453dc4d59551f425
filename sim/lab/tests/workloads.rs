//! Every workload, at its default size and in its variants: all checks pass.

use sim_lab::checks::Verdict;
use sim_lab::progress::Progress;
use sim_lab::run::{RunOutcome, run};
use sim_lab::spec::RunSpec;
use sim_lab::workload;

/// Runs `workload` with its own default load.
fn outcome(engine: &str, workload: &str) -> RunOutcome {
    let workload: sim_lab::spec::WorkloadSpec = workload.parse().expect(workload);
    let spec = RunSpec {
        engine: engine.to_owned(),
        load: workload.default_load(),
        workload,
        seed: 7,
        ..RunSpec::default()
    };
    let checked = spec.check().expect("a valid specification");
    run(&checked, &Progress::default()).expect("a run")
}

fn assert_all_pass(what: &str, outcome: &RunOutcome) {
    for check in &outcome.summary.checks {
        assert_eq!(check.verdict, Verdict::Pass, "{what}: {check:?}");
    }
    let counts = outcome.summary.orchestrations;
    assert!(counts.started > 0, "{what}");
    assert_eq!(counts.completed, counts.started, "{what}");
}

#[test]
fn every_workload_passes_its_checks_at_its_default_size() {
    let kinds = workload::kinds().iter();
    for kind in kinds.filter(|kind| kind.files.iter().all(|file| !file.required)) {
        let outcome = outcome("in-memory", kind.name);
        assert_all_pass(kind.name, &outcome);
    }
}

#[test]
fn every_variant_passes_its_checks() {
    for workload in [
        "bank:variant=random,accounts=5",
        "collision:variant=flat-parallel,billions=40",
        "dag:shape=map",
        "dag:shape=fault-tolerance",
        "dag:shape=joined,length=4,width=6,sleep=100ms",
        "dag:length=1,sleep=0s",
        "ingestion:triggers=1,events=3000",
        "passes:states=1",
        "periodic:ticks=7,ticks_per_execution=7",
        "periodic:ticks=7,ticks_per_execution=1,interval=0s",
        "producerconsumer:producers=1,consumers=3,batches=1,batch_size=1",
        "semaphore:permits=1,hold=5ms,retry=3ms",
        "store:stores=1,slots=2,value_bytes=1",
        "wordcount:mappers=1,reducers=1,word_limit=10",
    ] {
        assert_all_pass(workload, &outcome("in-memory", workload));
    }
}

#[test]
fn workflows_as_data_run_on_every_engine() {
    for engine in sim_lab::registry::engines() {
        for workload in [
            "dag:length=5,sleep=100ms",
            "dag:shape=map,width=40,sleep=100ms",
            "dag:shape=fault-tolerance",
            "dag:shape=joined,length=4,width=6,sleep=100ms",
            "ingestion:triggers=3,events=400",
            "passes:states=4",
            "waves:percent=5",
        ] {
            let what = format!("{workload} on {}", engine.name());
            let outcome = outcome(engine.name(), workload);
            let failed = |check: &&sim_lab::checks::Check| check.verdict == Verdict::Fail;
            assert_eq!(outcome.summary.checks.iter().find(failed), None, "{what}");
            let counts = outcome.summary.orchestrations;
            assert_eq!(counts.completed, counts.started, "{what}");
        }
    }
}

#[test]
fn the_throughput_of_a_job_counts_its_units_over_the_duration_it_reports() {
    let outcome = outcome("in-memory", "producerconsumer:batches=5");
    let work = &outcome.summary.work;
    assert_eq!((work.unit.as_str(), work.total), ("signals", 1_000.0));
    let [job] = &outcome.records[..] else { panic!("one job, not {}", outcome.records.len()) };
    let per_s = work.per_s.expect("the job takes time");
    // Rates are rounded for the summary.
    assert!((per_s * job.latency().as_secs_f64() - 1_000.0).abs() < 1.0, "{per_s}");
    // The trigger looks every 5 s, and that does not enter the duration.
    assert!(job.latency().as_secs() < 5, "{:?}", job.latency());
}
