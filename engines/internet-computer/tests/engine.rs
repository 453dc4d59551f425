//! The engine in a world: results, latencies, faults of replicas, and what the switches switch.

mod common;

use common::{Outage, Plan, hello, run, try_run};
use sim_world::fault::Trouble;
use sim_world::kernel::KernelError;
use std::time::Duration;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const SMALL: &[(&str, &str)] = &[("replicas", "4")];

#[test]
fn a_chain_of_activities_ends_in_the_round_that_starts_it() {
    let report = run(&Plan::hello(1, 5));
    report.expect(1, &hello(5));
    let latency = report.latency(1.0);
    assert!(latency < Duration::from_secs(2), "{latency:?}");
    assert_eq!(report.counter("repeated_calls"), 0);
    assert_eq!(report.told.len(), 1);
}

#[test]
fn two_hundred_chains_complete() {
    let report = run(&Plan { settings: SMALL, ..Plan::hello(200, 5) });
    report.expect(200, &hello(5));
    assert_eq!(report.counter("dropped_messages"), 0);
    // A start and a wait for each; a step for each answer and one more, and the tasks.
    assert_eq!(report.counter("ingress_messages"), 400);
    assert_eq!(report.counter("messages"), 400 + 200 * 10);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let plan = Plan { settings: SMALL, ..Plan::hello(20, 3) };
    let report = run(&plan);
    assert_eq!(run(&plan), report);
    assert_ne!(run(&Plan { seed: 8, ..plan }).digest, report.digest);
}

#[test]
fn entities_and_timers() {
    let report = run(&Plan { settings: SMALL, name: "Count", input: 8, ..Plan::hello(10, 0) });
    report.expect(10, "8");
    assert_eq!(report.counters_read, vec![Some("20".to_owned()); 4]);
    assert!(report.latency(0.0) >= Duration::from_secs(2), "it waits for a timer");
}

#[test]
fn a_wide_fan_out_waits_for_free_slots_and_loses_nothing() {
    let settings = &[("replicas", "4"), ("task_canisters", "2")];
    let plan = Plan { settings, name: "FanOut", input: 3_000, ..Plan::hello(1, 0) };
    let report = run(&plan);
    let digits: usize = (0..3_000).map(|n: usize| n.to_string().len() + "Hello !".len()).sum();
    report.expect(1, &digits.to_string());
    assert_eq!(report.counter("dropped_messages"), 0);
    assert!(report.counter("most_calls_kept") > 0 || report.counter("rounds") > 1);
}

#[test]
fn without_reserved_slots_a_wide_fan_out_loses_messages() {
    let settings = &[("replicas", "4"), ("task_canisters", "2"), ("queue_reservation", "false")];
    let plan = Plan { settings, name: "FanOut", input: 3_000, ..Plan::hello(1, 0) };
    let outcome = try_run(&plan, Duration::from_secs(60));
    assert!(
        matches!(outcome, Err(KernelError::TimeLimit { .. })),
        "answers are lost, it never ends: {outcome:?}"
    );
}

#[test]
fn subnets_send_each_other_streams() {
    let settings = &[("replicas", "4"), ("subnets", "3")];
    let report = run(&Plan { settings, name: "Count", input: 8, ..Plan::hello(10, 0) });
    report.expect(10, "8");
    assert_eq!(report.counters_read, vec![Some("20".to_owned()); 4]);
    assert!(report.counter("stream_messages") > 80, "{:?}", report.counters);
}

#[test]
fn long_tasks_are_sliced_and_too_long_ones_fail() {
    let report = run(&Plan { settings: SMALL, name: "Work", input: 3_500, ..Plan::hello(2, 0) });
    report.expect(2, "3500");
    assert!(report.counter("slices") >= 6, "{:?}", report.counters);
    let report = run(&Plan { settings: SMALL, name: "Work", input: 25_000, ..Plan::hello(1, 0) });
    let failed = report.ends[0].result.as_ref().expect_err("25 s are 50 billion instructions");
    assert!(failed.contains("50000000000 instructions"), "{failed}");
}

#[test]
fn what_is_outside_is_done_by_every_replica_and_agreed() {
    let report =
        run(&Plan { settings: SMALL, name: "Fetch", input: 5_000_000, ..Plan::hello(1, 0) });
    report.expect(1, "5000000");
    // Three reads of at most 2 MB, a wait, two writes.
    assert_eq!(report.counter("outcalls"), 6);
}

#[test]
fn f_crashed_replicas_delay_nothing_for_long() {
    const OUTAGES: &[Outage] =
        &[Outage { at: millis(1_000), count: 1, down: Duration::from_secs(20) }];
    let settings = &[("replicas", "4"), ("call_timeout", "3s")];
    let plan = Plan { settings, outages: OUTAGES, interval: millis(100), ..Plan::hello(60, 3) };
    let report = run(&plan);
    report.expect(60, &hello(3));
    assert!(report.counter("replayed_blocks") > 0 || report.counter("rounds") > 10);
}

#[test]
fn more_than_f_crashed_replicas_stall_until_they_are_back() {
    const OUTAGES: &[Outage] =
        &[Outage { at: millis(1_500), count: 2, down: Duration::from_secs(40) }];
    let settings = &[("replicas", "4"), ("call_timeout", "3s")];
    let plan = Plan { settings, outages: OUTAGES, interval: millis(100), ..Plan::hello(40, 3) };
    let report = run(&plan);
    report.expect(40, &hello(3));
    assert!(report.latency(1.0) > Duration::from_secs(30), "{:?}", report.latency(1.0));
}

#[test]
fn when_all_replicas_crash_the_state_is_rebuilt_from_disks() {
    const OUTAGES: &[Outage] = &[
        Outage { at: millis(2_500), count: 4, down: Duration::from_secs(5) },
        Outage { at: millis(25_000), count: 4, down: Duration::from_secs(5) },
    ];
    let settings = &[("replicas", "4"), ("call_timeout", "3s"), ("dkg_interval", "9")];
    let plan = Plan {
        settings,
        outages: OUTAGES,
        interval: millis(300),
        name: "Count",
        input: 8,
        ..Plan::hello(100, 0)
    };
    let report = run(&plan);
    report.expect(100, "8");
    assert_eq!(report.counters_read, vec![Some("200".to_owned()); 4]);
    assert!(report.counter("replayed_blocks") > 0);
    assert!(report.counter("checkpoints") > 0);
}

#[test]
fn a_replica_that_missed_too_much_fetches_a_checkpoint() {
    const OUTAGES: &[Outage] =
        &[Outage { at: millis(1_000), count: 1, down: Duration::from_secs(40) }];
    let settings = &[("replicas", "4"), ("dkg_interval", "9"), ("call_timeout", "3s")];
    let plan = Plan { settings, outages: OUTAGES, interval: millis(1_000), ..Plan::hello(60, 2) };
    let report = run(&plan);
    report.expect(60, &hello(2));
    assert_eq!(report.counter("state_syncs"), 1, "{:?}", report.counters);
}

/// A replica whose cores take thirty times as long is overtaken by more heights than anyone keeps rounds of.
#[test]
fn a_replica_that_executes_too_slowly_fetches_a_checkpoint() {
    fn slow() -> Vec<(Trouble, Duration, Duration)> {
        let node = "replica-0-3".parse().expect("a pattern");
        let trouble = Trouble::Cpu { node, slowdown: 30.0 };
        vec![(trouble, millis(1_000), Duration::from_secs(80))]
    }
    let settings = &[("replicas", "4"), ("dkg_interval", "9"), ("call_timeout", "3s")];
    let plan = Plan { settings, troubles: slow, interval: millis(1_000), ..Plan::hello(100, 2) };
    let report = run(&plan);
    report.expect(100, &hello(2));
    assert!(report.counter("state_syncs") > 0, "{:?}", report.counters);
}

fn misconduct(replica: &str, behaviour: &str) -> Trouble {
    let replica = replica.parse().expect("a pattern");
    Trouble::Misconduct { replica, behaviour: behaviour.to_owned() }
}

/// Of seven replicas two are Byzantine, for some seconds each time, one after the other in each way.
#[test]
fn replicas_that_are_byzantine_for_a_while_change_no_result() {
    fn liars() -> Vec<(Trouble, Duration, Duration)> {
        let ways = ["withhold", "equivocate", "late", "lie", "fork"].into_iter().enumerate();
        let of = |(index, way): (usize, &str)| {
            let at = Duration::from_secs(1 + 4 * index as u64);
            [("replica-0-2", 1), ("replica-0-5", 3)].map(|(replica, lasting)| {
                (misconduct(replica, way), at, Duration::from_secs(lasting))
            })
        };
        ways.flat_map(of).collect()
    }
    let settings = &[("replicas", "7"), ("call_timeout", "3s")];
    let plan = Plan { settings, troubles: liars, interval: millis(250), ..Plan::hello(80, 3) };
    let report = run(&plan);
    report.expect(80, &hello(3));
    assert!(report.departures > 100, "{}", report.departures);
    assert!(report.counter("refused_answers") > 0, "{:?}", report.counters);
}

/// Two of seven replicas are Byzantine.
fn with_byzantine(settings: &'static [(&'static str, &'static str)]) -> common::Report {
    let plan = Plan { settings, interval: millis(250), ..Plan::hello(40, 3) };
    let report = try_run(&plan, Duration::from_secs(300)).expect("f faults are tolerated");
    report.expect(40, &hello(3));
    report
}

#[test]
fn f_replicas_that_send_nothing_change_no_result() {
    let report = with_byzantine(&[("replicas", "7"), ("byzantine", "2"), ("call_timeout", "3s")]);
    assert!(report.counter("blocks_of_other_ranks") > 0, "{:?}", report.counters);
}

#[test]
fn f_replicas_that_make_two_blocks_change_no_result() {
    let settings = &[("replicas", "7"), ("byzantine", "2"), ("byzantine_behaviour", "equivocate")];
    assert!(with_byzantine(settings).counter("blocks_of_other_ranks") > 0);
}

#[test]
fn f_replicas_that_are_late_change_no_result() {
    let settings = &[("replicas", "7"), ("byzantine", "2"), ("byzantine_behaviour", "late")];
    let slowest = with_byzantine(settings).latency(1.0);
    assert!(slowest > Duration::from_secs(1), "{slowest:?}");
}

#[test]
fn certificates_keep_f_replicas_from_lying_to_clients() {
    let settings = &[("replicas", "7"), ("byzantine", "2"), ("byzantine_behaviour", "lie")];
    assert!(with_byzantine(settings).counter("refused_answers") > 0);
}

#[test]
fn without_certificates_a_liar_is_believed() {
    let settings = &[
        ("replicas", "4"),
        ("byzantine", "1"),
        ("byzantine_behaviour", "lie"),
        ("certification", "false"),
    ];
    let plan = Plan { settings, interval: millis(50), ..Plan::hello(40, 3) };
    let report = try_run(&plan, Duration::from_secs(60)).expect("everyone is answered");
    // Some starts were acknowledged and dropped.
    let lost = |told: &&Result<String, String>| {
        told.as_ref().is_err_and(|error| error.contains("there is no instance"))
    };
    let lost = report.told.values().filter(lost).count();
    assert!(lost > 0 && report.ends.len() + lost == 40, "{:?}", report.told);
}

#[test]
fn without_deduplication_calls_are_executed_twice() {
    let settings = &[("replicas", "4"), ("call_timeout", "500ms")];
    let report = run(&Plan { settings, interval: millis(20), ..Plan::hello(40, 1) });
    report.expect(40, &hello(1));
    assert!(report.counter("repeated_calls") > 0, "a gateway that is in a hurry sends calls again");
    let settings = &[("replicas", "4"), ("call_timeout", "500ms"), ("ingress_dedup", "false")];
    let plan = Plan { settings, interval: millis(20), ..Plan::hello(40, 1) };
    let report = try_run(&plan, Duration::from_secs(60)).expect("everyone is answered");
    assert!(report.counter("duplicate_calls") > 0);
    assert!(!report.violations.is_empty());
}

#[test]
fn a_small_quorum_and_two_blocks_fork_the_chain() {
    let settings: &'static [(&str, &str)] = &[
        ("replicas", "7"),
        ("byzantine", "2"),
        ("byzantine_behaviour", "equivocate"),
        ("notarization_quorum", "false"),
    ];
    let plan = Plan { settings, interval: millis(50), ..Plan::hello(40, 3) };
    let report = try_run(&plan, Duration::from_secs(60)).expect("everyone is answered");
    let twice = |violation: &String| violation.starts_with("exactly-once steps");
    assert!(report.violations.iter().any(twice), "{:?}", report.violations);
    let settings = &settings[..3];
    let plan = Plan { settings, ..plan };
    try_run(&plan, Duration::from_secs(60)).expect("everyone is answered").expect(40, &hello(3));
}
