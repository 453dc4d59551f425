//! The engine in a world without faults: counts of operations, results, and the order rule.

mod common;

use common::{Crash, Plan, Report, hello, mean_millis, run, run_until, try_run};
use sim_model::ledger::Category;
use sim_model::time::Timestamp;
use sim_world::distribution::Latency;
use sim_world::kernel::KernelError;
use sim_world::profile::Profile;
use std::time::Duration;

/// Storage latencies without spread, and rows of instances that are written fast enough for the
/// dedupe read to find them.
fn steady(profile: &mut Profile) {
    let eight = Latency::constant(Duration::from_millis(8));
    let queue = &mut profile.services.queue.latency;
    queue.put = eight.clone();
    queue.get = eight.clone();
    queue.delete = eight.clone();
    let table = &mut profile.services.table.latency;
    table.query = eight.clone();
    table.get = eight.clone();
    table.transaction = eight.clone();
    table.merge = eight;
    table.insert = Latency::constant(Duration::from_millis(4));
}

/// Operations besides gets from control queues, empty polls and status reads.
fn operations_without_polling(report: &Report) -> u64 {
    report.storage_operations() - report.operations["queue.get"]
        + report.counter("work_items_taken")
        - report.counter("status_reads")
}

fn expect_results(report: &Report, count: usize, result: &str) {
    assert_eq!(report.ends.len(), count);
    for end in &report.ends {
        assert_eq!(end.result.as_deref(), Ok(result), "{}", end.instance);
    }
    assert_eq!(report.violations, Vec::<String>::new());
}

#[test]
fn a_chain_of_n_activities_costs_8n_plus_8_operations() {
    for (length, operations) in [(1, 16), (3, 32), (5, 48), (10, 88)] {
        let plan = Plan { profile: steady, wait: true, ..Plan::hello(1, 1, length) };
        let report = run(&plan);
        expect_results(&report, 1, &hello(length));
        assert_eq!(operations_without_polling(&report), operations, "{:#?}", report.operations);
        let n = length;
        assert_eq!(report.operations["queue.put"], 1 + 2 * n);
        assert_eq!(report.operations["queue.delete"], n + n + 1);
        assert_eq!(report.operations["table.get"], 2 + report.counter("status_reads"));
        assert_eq!(report.operations["table.insert"], 1);
        assert_eq!(report.operations["table.query"], n + 1);
        assert_eq!(report.operations["table.transaction"], n + 1);
        assert_eq!(report.operations["table.merge"], n + 1);
        assert!(!report.operations.contains_key("queue.update"), "nothing was put back");
    }
}

#[test]
fn the_order_of_a_step_does_not_change_what_it_costs() {
    let settings = &[("step_order", "history-first")];
    let report = run(&Plan { profile: steady, settings, ..Plan::hello(1, 1, 5) });
    expect_results(&report, 1, &hello(5));
    assert_eq!(operations_without_polling(&report), 48, "{:#?}", report.operations);
    let report = run(&Plan { settings, ..Plan::hello(2, 100, 5) });
    expect_results(&report, 100, &hello(5));
    assert_eq!((report.ccc, report.counter("out_of_order_abandons")), (0, 0));
}

/// Leases are extra operations, and counted apart.
#[test]
fn leases_cost_extra_operations() {
    for (manager, counted) in [
        ("table", ["table.insert", "table.query", "table.replace"]),
        ("blob-safe", ["blob.list", "blob.put", "blob.lease"]),
    ] {
        let settings = Box::leak(Box::new([("partition_management", manager)]));
        let report = run(&Plan { profile: steady, settings, ..Plan::hello(1, 1, 5) });
        expect_results(&report, 1, &hello(5));
        let leases = report.counter("lease_operations");
        assert_eq!(operations_without_polling(&report) - leases, 48, "{manager}");
        assert!(counted.iter().all(|kind| report.operations[*kind] > 0), "{:?}", report.operations);
    }
}

#[test]
fn extended_sessions_save_all_history_queries_but_the_first() {
    let settings = &[("extended_sessions", "true")];
    let report = run(&Plan { profile: steady, settings, ..Plan::hello(1, 1, 5) });
    expect_results(&report, 1, &hello(5));
    assert_eq!(operations_without_polling(&report), 48 - 5, "{:#?}", report.operations);
    assert_eq!(report.counter("extended_session_hits"), 5);
}

#[test]
fn a_chain_of_5_activities_leaves_24_history_rows() {
    let report = run(&Plan { profile: steady, ..Plan::hello(1, 1, 5) });
    assert_eq!(report.history_rows, 24);
}

#[test]
fn two_hundred_chains_on_two_hosts_complete() {
    let report = run(&Plan::hello(2, 200, 5));
    expect_results(&report, 200, &hello(5));
    assert_eq!(report.counter("split_brains"), 0);
    assert_eq!(report.counter("failed_work_items"), 0);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let plan = Plan::hello(2, 40, 3);
    let report = run(&plan);
    assert_eq!(run(&plan), report);
    assert_ne!(run(&Plan { seed: 8, ..plan }).digest, report.digest);
}

#[test]
fn answers_that_overtake_the_history_are_put_back_for_two_seconds() {
    let slow_history = |profile: &mut Profile| {
        steady(profile);
        let slow = Duration::from_millis(80);
        profile.services.table.latency.transaction = Latency::constant(slow);
    };
    let plan = Plan {
        profile: slow_history,
        interval: Duration::from_millis(300),
        ..Plan::hello(1, 20, 3)
    };
    let report = run(&plan);
    expect_results(&report, 20, &hello(3));
    assert!(report.counter("out_of_order_abandons") >= 1, "{:?}", report.counters);
    assert!(report.latency(1.0) >= Duration::from_secs(2), "{:?}", report.latency(1.0));
    assert!(mean_millis(&report, Category::Retries) > 100.0);
    assert!(report.ccc > 0, "activities are committed before the history that called them");

    let settings = &[("prefetch", "false")];
    let report = run(&Plan { settings, ..plan });
    expect_results(&report, 20, &hello(3));
    assert_eq!(report.counter("out_of_order_abandons"), 0, "histories read at dispatch are fresh");
}

#[test]
fn without_the_order_rule_an_early_answer_is_lost() {
    let slow_history = |profile: &mut Profile| {
        steady(profile);
        let slow = Duration::from_millis(80);
        profile.services.table.latency.transaction = Latency::constant(slow);
    };
    let settings = &[("out_of_order_rule", "false")];
    let plan = Plan {
        profile: slow_history,
        settings,
        interval: Duration::from_millis(300),
        ..Plan::hello(1, 1, 1)
    };
    // The answer to the first call finds no history at all, and is dropped: the run never ends.
    let outcome = try_run(&plan, 1);
    assert!(matches!(outcome, Err(KernelError::TimeLimit { .. })), "{outcome:?}");
}

#[test]
fn large_messages_and_rows_go_through_blobs() {
    let report = run(&Plan { name: "Large", input: 100_000, ..Plan::hello(1, 1, 0) });
    expect_results(&report, 1, "100000");
    // The work item, its answer, and the rows of TaskScheduled and TaskCompleted.
    assert_eq!(report.counter("large_writes"), 4);
    assert_eq!(report.operations["blob.put"], 4);
    // The two messages; and TaskScheduled in the history that the second step reads.
    assert_eq!(report.counter("large_reads"), 3);
}

#[test]
fn content_between_the_thresholds_is_large_for_queues_only() {
    let report = run(&Plan { name: "Large", input: 50_000, ..Plan::hello(1, 1, 0) });
    expect_results(&report, 1, "50000");
    assert_eq!(report.counter("large_writes"), 2, "the work item and its answer");
}

#[test]
fn a_wide_fan_out_completes_and_takes_several_transactions() {
    let report = run(&Plan { name: "FanOut", input: 300, ..Plan::hello(2, 1, 0) });
    let digits: usize = (0..300).map(|n: usize| n.to_string().len() + "Hello !".len()).sum();
    expect_results(&report, 1, &digits.to_string());
    assert!(report.counter("history_transactions") > report.counter("history_reads") / 8);
    assert_eq!(report.counter("split_brains"), 0, "{:?}", report.counters);
}

#[test]
fn orchestrations_start_others() {
    let report = run_until(&Plan { name: "Launch", input: 30, ..Plan::hello(2, 1, 0) }, 31);
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.ends.iter().all(|end| end.result.is_ok()));
}

#[test]
fn long_activities_keep_their_work_items() {
    let report = run(&Plan { name: "SlowActivity", input: 900, ..Plan::hello(2, 2, 0) });
    expect_results(&report, 2, "900");
    assert!(report.counter("renewals") >= 4, "{:?}", report.counters);
    assert_eq!(report.counter("lost_locks"), 0);
}

#[test]
fn a_full_buffer_stops_dequeuing() {
    let settings = &[("control_queue_buffer_threshold", "4")];
    let report = run(&Plan { settings, ..Plan::hello(1, 60, 2) });
    expect_results(&report, 60, &hello(2));
    assert!(report.counter("buffer_full_seconds") > 0);
}

#[test]
fn at_low_load_a_few_runs_are_slower_by_the_two_seconds_of_a_message_put_back() {
    let interval = Duration::from_millis(50);
    let report = run(&Plan { interval, ..Plan::hello(4, 1000, 3) });
    expect_results(&report, 1000, &hello(3));
    let put_back = report.counter("start_abandons") + report.counter("out_of_order_abandons");
    let retried: Vec<_> =
        report.ends.iter().filter(|end| !end.timing.get(Category::Retries).is_zero()).collect();
    assert!((1..=80).contains(&put_back), "{:?}", report.counters);
    assert!(retried.len() as u64 <= put_back && !retried.is_empty());
    for end in retried {
        let waited = end.timing.get(Category::Retries);
        assert!(waited > Duration::from_millis(1900), "{}: {waited:?}", end.instance);
    }
}

#[test]
fn a_restarted_host_finishes_what_it_had_begun() {
    let mut slowest = Timestamp::ZERO;
    for at in (50..3050).step_by(150) {
        let crash = Some(Crash { at: Duration::from_millis(at), down: Duration::from_secs(20) });
        let plan = Plan { crash, seed: at, ..Plan::hello(3, 60, 4) };
        let report = run(&plan);
        assert_eq!(report.ends.len(), 60);
        for end in &report.ends {
            assert_eq!(end.result.as_deref(), Ok(hello(4).as_str()), "{}", end.instance);
        }
        let tasks = |violation: &&String| !violation.starts_with("exactly-once tasks");
        assert_eq!(report.violations.iter().filter(tasks).count(), 0, "{:?}", report.violations);
        slowest = slowest.max(report.finished_at);
    }
    let visible_again = Timestamp::from_secs(300);
    assert!(slowest > visible_again, "recovery waits for hidden messages: {slowest}");
}
