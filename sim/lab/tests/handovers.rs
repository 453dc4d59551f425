//! Partitions that go to another host: who is told of it, and how long each stood still.

use sim_lab::handover::Handover;
use sim_lab::progress::Progress;
use sim_lab::run::{self, RunOutcome};
use sim_lab::spec::{CheckedSpec, RunSpec};
use sim_model::time::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// Twelve seconds in, the second of two hosts is taken out of service, or crashes and comes back.
fn spec(engine: &str, event: &str) -> CheckedSpec {
    let mut spec = RunSpec {
        engine: engine.to_owned(),
        load: "open:rate=20,duration=40s".parse().expect("a load"),
        hosts: 2,
        host_events: vec![event.parse().expect("an event")],
        ..RunSpec::default()
    };
    if engine == "azure-storage" {
        let management = "azure-storage.partition_management".to_owned();
        spec.settings.insert(management, "table".to_owned());
    }
    spec.check().expect("a valid specification")
}

fn outcome(engine: &str, event: &str) -> RunOutcome {
    let outcome = run::run(&spec(engine, event), &Progress::default()).expect("it runs");
    assert!(outcome.summary.passed(), "{engine}, {event}");
    outcome
}

#[test]
fn every_partition_of_a_host_that_leaves_is_handed_over_once() {
    for engine in ["netherite", "azure-storage"] {
        let outcome = outcome(engine, "leave:host=1,at=12s");
        // The settle time of the load is over at 2 s.
        let (before, after): (Vec<Handover>, Vec<Handover>) =
            outcome.handovers.iter().partition(|one| one.first < Timestamp::from_secs(14));
        // One of the lease managers takes everything at first, and hands half of it over.
        let expected = if engine == "netherite" { 0 } else { 6 };
        assert_eq!(before.len(), expected, "{engine}: {before:?}");
        let distinct: BTreeSet<u32> = after.iter().map(|one| one.partition).collect();
        assert_eq!((after.len(), distinct.len()), (6, 6), "{engine}: {after:?}");
        for handover in &after {
            assert_eq!((handover.from.host, handover.to.host), (1, 0), "{engine}");
            let span = handover.span();
            assert!(!span.is_zero() && span < Duration::from_secs(20), "{engine}: {span:?}");
        }
    }
}

#[test]
fn a_host_that_comes_back_is_another_owner() {
    let outcome = outcome("netherite", "crash:host=1,at=12s,for=5s");
    let of_crash = outcome.handovers.iter().filter(|one| (one.from.host, one.from.life) == (1, 0));
    let lost: Vec<&Handover> = of_crash.collect();
    assert_eq!(lost.len(), 6, "{:?}", outcome.handovers);
    let back = |handover: &&&Handover| (handover.to.host, handover.to.life) == (1, 1);
    assert!(lost.iter().any(|one| back(&one)), "{lost:?}");
    let shortest = lost.iter().map(|one| one.span()).min();
    assert!(shortest > Some(Duration::from_secs(20)), "leases have to end: {shortest:?}");
}

#[test]
fn nothing_is_handed_over_while_hosts_stay() {
    let spec =
        RunSpec { load: "open:rate=20,duration=5s".parse().expect("a load"), ..RunSpec::default() };
    let spec = spec.check().expect("a valid specification");
    let outcome = run::run(&spec, &Progress::default()).expect("it runs");
    assert!(outcome.handovers.is_empty());
}
