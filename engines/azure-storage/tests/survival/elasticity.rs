//! Hosts that join and are taken out of service: ownership of control queues, and work under way.

use super::application::application;
use crate::stage::{Outcome, Play, SERIAL, Stage, owners, request, stage};
use sim_model::id::EntityId;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Chains and fan-outs that are started one after the other, on hosts that are in service.
const STARTED: usize = 400;

type Sets = &'static [(&'static str, &'static str)];

/// How many control queues each host owns, the largest first.
fn loads(owners: &[Option<String>]) -> Vec<usize> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    owners.iter().flatten().for_each(|owner| *counts.entry(owner).or_default() += 1);
    let mut loads: Vec<usize> = counts.into_values().collect();
    loads.sort_unstable_by(|a, b| b.cmp(a));
    loads
}

/// What was seen of the ownership.
#[derive(Default)]
struct Shares {
    alone: Vec<usize>,
    three: Vec<usize>,
    four: Vec<usize>,
    two: Vec<usize>,
    /// How long the orderly stops took.
    stops: Vec<Duration>,
}

/// One host, then three, then four, then two of them, with `patience` before each look at the shares.
fn scale(sets: Sets, patience: Duration) -> Outcome<Shares> {
    let stage = Stage { seed: 5, started: Some(1), sets, ..stage(application).on(4) };
    stage.play(async move |play: Rc<Play>| {
        let load = play.clone();
        play.world.client().spawn(async move {
            for number in 0..STARTED {
                // Clients are on hosts that stay in service.
                let four = Timestamp::from_secs(40) + patience;
                let host = if load.kernel.now() < four { 0 } else { 2 + number % 2 };
                let (name, input) = if number % 10 == 0 { ("FanOut", 8) } else { ("Chain", 5) };
                let client = load.hub.client(host);
                let start = client.start(request(&format!("i{number}"), name, input as u64));
                load.world.hosts()[host].spawn(async move { start.await.expect("started") });
                load.kernel.sleep(patience * 4 / STARTED as u32).await;
            }
        });
        let mut shares = Shares::default();
        play.kernel.sleep(Duration::from_secs(30)).await;
        shares.alone = loads(&owners(&play).await);
        [1, 2].into_iter().for_each(|host| play.hub.start_host(host));
        play.kernel.sleep(patience).await;
        shares.three = loads(&owners(&play).await);
        play.hub.start_host(3);
        play.kernel.sleep(patience).await;
        shares.four = loads(&owners(&play).await);
        for host in [0, 1] {
            let begun = play.kernel.now();
            play.hub.stop_host(host).await;
            shares.stops.push(play.kernel.now().since(begun));
            play.world.hosts()[host].kill();
        }
        play.kernel.sleep(patience).await;
        shares.two = loads(&owners(&play).await);
        play.ended(STARTED).await;
        shares
    })
}

/// Checks what holds for all managers; returns the longest time of an orchestration.
fn expect_moved(outcome: &Outcome<Shares>) -> Duration {
    assert_eq!(outcome.findings[..4], [const { None }; 4], "{:?}", outcome.counters);
    let Shares { alone, three, four, two, stops } = &outcome.value;
    let shares = (&alone[..], &three[..], &four[..], &two[..]);
    assert_eq!(shares, (&[12][..], &[4, 4, 4][..], &[3, 3, 3, 3][..], &[6, 6][..]));
    assert!(stops.iter().all(|stop| *stop < Duration::from_secs(10)), "{stops:?}");
    assert_eq!(outcome.counters["lost_locks"], 0, "no message came again");
    assert_eq!(outcome.completions.len(), STARTED);
    let times = outcome.completions.iter().map(|end| end.last_updated.since(end.created));
    times.max().expect("some have ended")
}

#[test]
fn queues_of_the_table_manager_follow_the_hosts() {
    let outcome = scale(&[("partition_management", "table")], Duration::from_secs(40));
    let longest = expect_moved(&outcome);
    assert!(longest < Duration::from_secs(40), "{longest:?}: nothing waits for five minutes");
    assert_eq!(outcome.counters["split_brains"], 0);
    assert!(outcome.counters["leases_drained"] >= 12, "{:?}", outcome.counters);
    assert_eq!(outcome.counters["leases_lost"], 0, "every queue was handed over");
}

#[test]
fn queues_of_the_safe_blob_manager_follow_the_hosts() {
    let outcome = scale(&[("partition_management", "blob-safe")], Duration::from_secs(90));
    let longest = expect_moved(&outcome);
    assert!(longest < Duration::from_secs(60), "{longest:?}: nothing waits for five minutes");
    assert_eq!(outcome.counters["split_brains"], 0);
    assert_eq!(outcome.counters["leases_lost"], 0, "ownership is not stolen");
}

#[test]
fn queues_of_the_legacy_blob_manager_follow_the_hosts() {
    let outcome = scale(&[("partition_management", "blob-legacy")], Duration::from_secs(90));
    expect_moved(&outcome);
    assert!(outcome.counters["leases_lost"] > 0, "a stolen lease is found out at its renewal");
}

/// Without leases nothing moves: a host that is out of service finishes what it had taken, and what
/// is in its queues waits until it is back.
#[test]
fn queues_that_are_assigned_once_wait_for_their_host() {
    let stage = Stage { seed: 2, ..stage(application).on(2) };
    let outcome = stage.play(async |play: Rc<Play>| {
        for number in 0..20 {
            play.start(&format!("a{number}"), "Chain", 6_u64).await;
        }
        play.hub.stop_host(0).await;
        play.kernel.sleep(Duration::from_secs(400)).await;
        let before = play.completions.borrow().len();
        play.hub.start_host(0);
        play.ended(20).await;
        before
    });
    let outcome = outcome.sound();
    assert!((1..20).contains(&outcome.value), "{} ended without the host", outcome.value);
    assert_eq!(outcome.counters["lost_locks"], 0);
}

/// All hosts find an empty table at the same instant. Under the ETag one of them gets each row.
#[test]
fn without_the_etag_of_a_lease_several_hosts_claim_one_queue() {
    let claimed = |sets: Sets| {
        let stage = Stage { sets, ..stage(application).on(4) };
        let outcome = stage.play(async |play: Rc<Play>| {
            play.kernel.sleep(Duration::from_secs(3)).await;
            play.hub.counters().into_iter().collect::<BTreeMap<_, _>>()["leases_claimed"]
        });
        outcome.value
    };
    assert_eq!(claimed(&[("partition_management", "table")]), 12);
    let without = claimed(&[("partition_management", "table"), ("lease_etag", "false")]);
    assert!(without > 12, "{without} claims of 12 queues");
}

/// Work begins while all hosts claim their queues. Two owners of one queue would fork histories; the ETag of
/// the history is the second line against that, so it is off here.
#[test]
fn without_any_etag_two_owners_of_a_queue_fork_histories() {
    let run = |seed: u64, sets: Sets| {
        let stage = Stage { seed, sets, ..stage(application).on(4) };
        stage.play(async |play: Rc<Play>| {
            play.kernel.sleep(Duration::from_secs(3)).await;
            for number in 0..40 {
                play.start(&format!("f{number}"), "FanOut", 12_u64).await;
            }
            play.kernel.sleep(Duration::from_secs(300)).await;
        })
    };
    const ONE: Sets = &[("partition_management", "table"), ("history_etag", "false")];
    const NONE: Sets =
        &[("partition_management", "table"), ("history_etag", "false"), ("lease_etag", "false")];
    for seed in 1..=3 {
        assert_eq!(run(seed, ONE).sound().completions.len(), 40);
    }
    let forked = (1..=3).filter(|seed| run(*seed, NONE).findings[SERIAL].is_some());
    assert!(forked.count() > 0);
}

/// A host joins while another runs long steps of entities. Without draining, messages that arrive for
/// an entity are taken by the new owner of its queue, while the former one still runs its step.
#[test]
fn without_draining_two_workers_run_steps_of_one_instance() {
    const SIGNALS: u64 = 40;
    let join = |sets: Sets| {
        let stage = Stage { started: Some(1), sets, ..stage(application).on(2) };
        let outcome = stage.play(async |play: Rc<Play>| {
            let clerk = |number: usize| EntityId::new("Clerk", format!("c{number}"));
            play.kernel.sleep(Duration::from_secs(20)).await;
            for round in 0..SIGNALS {
                if round == SIGNALS / 2 {
                    play.hub.start_host(1);
                }
                for number in 0..12 {
                    let (entity, seconds) = (clerk(number), Payload::encode(&1_u64));
                    let client = play.hub.client(0);
                    let sent = client.signal_entity(&entity, "Work", seconds.expect("a number"));
                    sent.await.expect("accepted");
                }
                play.kernel.sleep(Duration::from_millis(900)).await;
            }
            play.rest().await;
            let mut done = Vec::new();
            for number in 0..12 {
                done.push(play.state::<u64>(&clerk(number)).await.expect("a state"));
            }
            done
        });
        assert!(outcome.counters["leases_released"] >= 6, "{:?}", outcome.counters);
        outcome
    };
    const DRAINS: Sets = &[("partition_management", "table")];
    const HASTENS: Sets = &[("partition_management", "table"), ("drain_before_release", "false")];
    for (sets, splits) in [(DRAINS, false), (HASTENS, true)] {
        let outcome = join(sets).sound();
        assert_eq!(outcome.value, [SIGNALS; 12], "the ETag of the history decides");
        assert_eq!(
            outcome.counters["split_brains"] > 0,
            splits,
            "two workers ran steps of one entity"
        );
    }
    // Without that second line, draining alone keeps the chain of steps.
    const DRAINS_ALONE: Sets = &[("partition_management", "table"), ("history_etag", "false")];
    const NEITHER: Sets = &[
        ("partition_management", "table"),
        ("drain_before_release", "false"),
        ("history_etag", "false"),
    ];
    assert_eq!(join(DRAINS_ALONE).sound().value, [SIGNALS; 12]);
    let outcome = join(NEITHER);
    assert!(outcome.findings[SERIAL].is_some(), "{:?}", outcome.findings);
}
