//! Hosts that crash, hang, lose their network and come back, at seeded moments: everything completes,
//! nothing is lost, and nothing takes effect twice.

use super::scenario::{Fault, Mix, Scenario, Seen};
use std::ops::RangeInclusive;

/// The moments that CI plays. The larger set: `cargo test -p engine-azure-storage --test survival --
/// --ignored`.
const FEW: RangeInclusive<u64> = 1..=3;
const MANY: RangeInclusive<u64> = 1..=200;

const MANAGERS: [&str; 4] = ["static", "table", "blob-safe", "blob-legacy"];
const CRASHES: [Fault; 3] = [Fault::CrashOne, Fault::CrashTwo, Fault::CrashAll];

/// The settings under which steps are exactly once, and rows are fenced as histories are.
pub const EXACT: &[(&str, &str)] = &[("step_order", "history-first"), ("instance_etag", "true")];

/// Plays a fault at these moments under each of `managers`, with further settings.
pub fn play(
    fault: Fault,
    mix: Mix,
    managers: &[&'static str],
    moments: RangeInclusive<u64>,
    sets: &[(&'static str, &'static str)],
) -> Vec<Seen> {
    let mut seen = Vec::new();
    for manager in managers {
        for seed in moments.clone() {
            let mut all = vec![("partition_management", *manager)];
            all.extend_from_slice(sets);
            seen.push(Scenario { seed, fault, mix, sets: all }.play());
        }
    }
    seen
}

pub fn expect_sound(seen: &[Seen]) {
    let problems = problems(seen);
    let (count, first) = (problems.len(), problems.first());
    assert_eq!(count, 0, "of {} runs; the first: {first:#?}", seen.len());
}

/// The problems of each run that has some.
fn problems(seen: &[Seen]) -> Vec<Vec<String>> {
    seen.iter().map(Seen::problems).filter(|problems| !problems.is_empty()).collect()
}

pub fn total(seen: &[Seen], counter: &str) -> u64 {
    seen.iter().map(|seen| seen.outcome.counters[counter]).sum()
}

/// A host that hangs or is cut off from storage comes back as a zombie.
fn zombies_are_fenced(moments: &RangeInclusive<u64>) -> Vec<Seen> {
    let mut all = Vec::new();
    for fault in [Fault::PauseOne, Fault::PauseLong, Fault::IsolateOne] {
        let order = &[("instance_etag", "true")];
        let seen = play(fault, Mix::Chains, &MANAGERS[1..], moments.clone(), order);
        expect_sound(&seen);
        all.extend(seen);
        expect_sound(&play(fault, Mix::WithBank, &MANAGERS[1..2], moments.clone(), EXACT));
    }
    all
}

/// Others take over from a host that never comes back.
fn lost_hosts_are_replaced(moments: &RangeInclusive<u64>) {
    let managers = &MANAGERS[1..];
    expect_sound(&play(Fault::LoseOne, Mix::Orchestrations, managers, moments.clone(), &[]));
    expect_sound(&play(Fault::LoseOne, Mix::WithBank, managers, moments.clone(), EXACT));
}

/// Chains, fan-outs, timers and children, in the published order of a step. Activities may run twice:
/// the engine promises them at least once.
#[test]
fn whatever_crashes_orchestrations_complete() {
    for fault in CRASHES {
        expect_sound(&play(fault, Mix::Orchestrations, &MANAGERS, FEW, &[]));
    }
}

/// The same and transfers over shared accounts, with the history first: nothing is committed that
/// depends on what is not, and every balance is right.
#[test]
fn whatever_crashes_transfers_are_made_once() {
    for fault in CRASHES {
        expect_sound(&play(fault, Mix::WithBank, &["static", "table"], FEW, EXACT));
    }
}

#[test]
fn whatever_crashes_extended_sessions_begin_again_from_storage() {
    for fault in [Fault::CrashOne, Fault::CrashAll] {
        let sessions = ("extended_sessions", "true");
        expect_sound(&play(fault, Mix::Orchestrations, &["table"], 1..=2, &[sessions]));
        let sets = [EXACT, &[sessions]].concat();
        let seen = play(fault, Mix::WithBank, &["table"], 1..=2, &sets);
        expect_sound(&seen);
        assert!(total(&seen, "extended_session_hits") > 0);
    }
}

#[test]
fn a_lost_host_is_replaced() {
    lost_hosts_are_replaced(&(1..=2));
}

#[test]
fn a_zombie_is_fenced_by_the_etag_of_the_history() {
    let seen = zombies_are_fenced(&(1..=1));
    assert!(total(&seen, "split_brains") > 0, "some zombie tried to write");
    assert!(total(&seen, "leases_lost") > 0, "and found that its queues were taken");
}

#[test]
fn without_the_etag_of_the_history_a_zombie_breaks_the_chain_of_steps() {
    let sets = &[("instance_etag", "true"), ("history_etag", "false")];
    let seen = play(Fault::PauseLong, Mix::Chains, &["table"], 1..=1, sets);
    let problems = problems(&seen).concat();
    let forked = |problem: &String| problem.contains("both continued from the state");
    assert!(problems.iter().any(forked), "{problems:?}");
}

/// The published engine writes the row of an instance without an ETag unless it is told to: a zombie
/// that writes it late undoes what a client could see, and a waiting client waits for ever.
#[test]
fn without_the_etag_of_the_row_a_zombie_undoes_what_clients_see() {
    let seen = play(Fault::PauseOne, Mix::Chains, &["table"], 3..=3, &[]);
    let Seen { outcome, .. } = &seen[0];
    assert!(!outcome.value.unfinished.is_empty(), "as the rows say");
    assert_eq!(outcome.completions.len(), 60, "all have ended");
    assert_eq!(outcome.findings[0], None, "and their histories are sound");
}

/// In the published order a step that is cut off between its puts and its history leaves messages of
/// a step that never was. An operation then runs twice, or a lock stays that nobody holds.
#[test]
fn in_the_published_order_some_crashes_break_transfers() {
    let seen = play(Fault::CrashAll, Mix::WithBank, &["table"], 22..=24, &[]);
    let broken = problems(&seen);
    let doubled = |problem: &String| problem.starts_with("balances");
    assert!(broken.iter().flatten().any(doubled), "an operation ran twice: {broken:?}");
    let stuck = |problem: &String| problem.ends_with("has not ended");
    assert!(broken.iter().flatten().any(stuck), "a lock was never given up: {broken:?}");
    expect_sound(&play(Fault::CrashAll, Mix::WithBank, &["table"], 22..=24, EXACT));
}

/// Work that was in the hands of a host waits for the visibility timeout of its messages, five
/// minutes, and not for the lease of its queues, half a minute.
#[test]
fn work_in_flight_waits_for_the_visibility_timeout() {
    let seen = play(Fault::LoseOne, Mix::Chains, &["table"], 1..=4, &[]);
    expect_sound(&seen);
    let ends = seen.iter().flat_map(|seen| &seen.outcome.completions);
    let seconds: Vec<f64> = ends.map(|end| end.last_updated.as_secs_f64()).collect();
    // The load begins at second 40, and the host is lost within four seconds of that.
    let late = seconds.iter().filter(|end| (340.0..400.0).contains(*end)).count();
    let early = seconds.iter().filter(|end| **end < 100.0).count();
    assert!(late >= 8 && early + late == seconds.len(), "{late} late, {early} early: {seconds:?}");
}

/// Crashes at 200 moments: orchestrations in the published order, and transfers with the history first.
fn survives_crashes_at_many_moments(fault: Fault, manager: &'static str) {
    expect_sound(&play(fault, Mix::Orchestrations, &[manager], MANY, &[]));
    expect_sound(&play(fault, Mix::WithBank, &[manager], MANY, EXACT));
}

macro_rules! crashes_at_200_moments {
    ($($name:ident: $fault:expr, $manager:expr;)*) => {$(
        #[test]
        #[ignore = "the larger set: 200 moments"]
        fn $name() {
            survives_crashes_at_many_moments($fault, $manager);
        }
    )*};
}

crashes_at_200_moments! {
    one_crash_at_200_moments_table: Fault::CrashOne, "table";
    two_crashes_at_200_moments_table: Fault::CrashTwo, "table";
    all_crash_at_200_moments_table: Fault::CrashAll, "table";
    one_crash_at_200_moments_static: Fault::CrashOne, "static";
    two_crashes_at_200_moments_static: Fault::CrashTwo, "static";
    all_crash_at_200_moments_static: Fault::CrashAll, "static";
    one_crash_at_200_moments_blob_safe: Fault::CrashOne, "blob-safe";
    two_crashes_at_200_moments_blob_safe: Fault::CrashTwo, "blob-safe";
    all_crash_at_200_moments_blob_safe: Fault::CrashAll, "blob-safe";
    one_crash_at_200_moments_blob_legacy: Fault::CrashOne, "blob-legacy";
    two_crashes_at_200_moments_blob_legacy: Fault::CrashTwo, "blob-legacy";
    all_crash_at_200_moments_blob_legacy: Fault::CrashAll, "blob-legacy";
}

#[test]
#[ignore = "the larger set: 200 moments of each kind, under each manager with leases"]
fn zombies_at_200_moments() {
    zombies_are_fenced(&MANY);
}

#[test]
#[ignore = "the larger set: 200 moments under each manager with leases"]
fn lost_hosts_at_200_moments() {
    lost_hosts_are_replaced(&MANY);
}
