//! Whole runs: 10,000 HelloSequence5 on 8 hosts, from the specification to the checked summary.
//!
//! What is measured is the simulator, not the simulated system: wall time on one core.

use criterion::{Criterion, criterion_group, criterion_main};
use sim_lab::progress::Progress;
use sim_lab::run::{RunOptions, run, run_with};
use sim_lab::spec::RunSpec;
use std::hint::black_box;
use std::time::Duration;

fn batch_of_10_000(engine: &str) -> RunSpec {
    RunSpec {
        engine: engine.to_string(),
        load: "batch:10000".parse().expect("a valid load"),
        hosts: 8,
        ..RunSpec::default()
    }
}

fn runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("10,000 HelloSequence5 on 8 hosts");
    group.sample_size(10).measurement_time(Duration::from_secs(30));
    for engine in ["in-memory", "netherite", "azure-storage"] {
        let spec = batch_of_10_000(engine).check().expect("a valid specification");
        group.bench_function(engine, |bencher| {
            bencher.iter(|| {
                let outcome = run(&spec, &Progress::default()).expect("the run ends");
                assert_eq!(outcome.summary.orchestrations.completed, 10_000);
                black_box(outcome.summary.digest.len())
            });
        });
    }
    group.finish();
}

/// The same with and without its checks: the share of them is one minus the ratio of the two. What is
/// recorded for them is recorded in both.
fn judging(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("10,000 HelloSequence5 on 8 hosts, judged or not");
    group.sample_size(10).measurement_time(Duration::from_secs(30));
    for engine in ["in-memory", "netherite", "azure-storage"] {
        let spec = batch_of_10_000(engine).check().expect("a valid specification");
        for judge in [false, true] {
            let options = RunOptions { judge, ..RunOptions::default() };
            let name = format!("{engine}, {}", if judge { "judged" } else { "not judged" });
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let outcome = run_with(&spec, &Progress::default(), &options);
                    black_box(outcome.expect("the run ends").summary.checks.len())
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, runs, judging);
criterion_main!(benches);
