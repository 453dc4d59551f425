//! Hosts crash at seeded moments and come back: nothing is lost, nothing happens twice.

mod mixture;
mod stage;

use mixture::{COMPLETIONS, application, play_all};
use sim_model::engine::ClientError;
use sim_model::id::InstanceId;
use sim_world::kernel::NodeId;
use sim_world::seed::SeedTree;
use stage::{Outcome, Play, SPECULATION, Stage, stage};
use std::rc::Rc;
use std::time::Duration;

const HOSTS: u32 = 4;

/// Which hosts crash.
#[derive(Clone, Copy, Debug)]
enum Crash {
    One,
    Two,
    All,
}

type Sets = &'static [(&'static str, &'static str)];

/// Plays the mixture while hosts crash once, at a moment that the seed says, and come back.
fn crashed(seed: u64, crash: Crash, sets: Sets) -> Outcome<()> {
    let stage = Stage { seed, sets, ..stage(application).on(HOSTS) };
    stage.play(async move |play: Rc<Play>| {
        let mut draws = SeedTree::new(seed).stream("crashes");
        // Most of the work is done within a second; the last timers take 7 s.
        let span = if draws.chance(0.8) { 1_500 } else { 8_000 };
        let moment = Duration::from_millis(draws.below(span));
        let count = match crash {
            Crash::One => 1,
            Crash::Two => 2,
            Crash::All => HOSTS as usize,
        };
        let first = draws.below(u64::from(HOSTS)) as usize;
        let down: Vec<Duration> =
            (0..count).map(|_| Duration::from_millis(100 + draws.below(8_000))).collect();
        let crashing = async {
            play.kernel.sleep(moment).await;
            let hosts: Vec<usize> = (0..count).map(|n| (first + n) % HOSTS as usize).collect();
            hosts.iter().for_each(|host| play.crash(*host));
            let back = hosts.iter().zip(&down).map(async |(host, down)| {
                play.kernel.sleep(*down).await;
                play.restart(*host);
            });
            futures_util::future::join_all(back).await;
        };
        futures_util::join!(play_all(&play), crashing);
    })
}

fn survives(seed: u64, crash: Crash, sets: Sets) {
    let outcome = crashed(seed, crash, sets);
    assert_eq!(outcome.findings, [const { None }; 6], "seed {seed}, {crash:?}, {sets:?}");
    assert_eq!(outcome.completions.len(), COMPLETIONS, "seed {seed}, {crash:?}, {sets:?}");
}

#[test]
fn any_one_host_may_crash() {
    for sets in SPECULATION {
        (1..=4).for_each(|seed| survives(seed, Crash::One, sets));
    }
}

#[test]
fn any_two_hosts_may_crash() {
    for sets in SPECULATION {
        (11..=13).for_each(|seed| survives(seed, Crash::Two, sets));
    }
}

#[test]
fn all_hosts_may_crash_at_once() {
    for sets in SPECULATION {
        (21..=23).for_each(|seed| survives(seed, Crash::All, sets));
    }
}

/// Batches through blobs, activities that move, checkpoints all the time, no cursors kept.
#[test]
fn crashes_under_extreme_settings() {
    let extremes: [Sets; 6] = [
        &[("send_batch_bytes", "1"), ("checkpoint_events", "10")],
        &[("activity_scheduler", "static"), ("activity_queue_limit", "1")],
        &[("speculation", "none"), ("checkpoint_events", "10"), ("cursor_cache", "false")],
        &[("speculation", "global"), ("checkpoint_events", "10"), ("send_batch_bytes", "1")],
        &[
            ("speculation", "global"),
            ("activity_scheduler", "static"),
            ("activity_queue_limit", "1"),
        ],
        &[("speculation", "global"), ("rollback_caution", "0s"), ("pack_messages", "1")],
    ];
    for sets in extremes {
        (31..=33).for_each(|seed| survives(seed, Crash::Two, sets));
    }
}

/// Hosts crash again and again, also in the middle of recoveries.
#[test]
fn hosts_may_crash_over_and_over() {
    for sets in SPECULATION {
        let stage = Stage { seed: 5, sets, ..stage(application).on(HOSTS) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            let crashing = async {
                let mut draws = SeedTree::new(5).stream("crashes");
                for _ in 0..25 {
                    play.kernel.sleep(Duration::from_millis(100 + draws.below(9_000))).await;
                    let host = draws.below(u64::from(HOSTS)) as usize;
                    play.crash(host);
                    play.kernel.sleep(Duration::from_millis(10 + draws.below(3_000))).await;
                    play.restart(host);
                }
            };
            futures_util::join!(play_all(&play), crashing);
        });
        assert_eq!(outcome.findings, [const { None }; 6], "{sets:?}");
        assert_eq!(outcome.completions.len(), COMPLETIONS, "{sets:?}");
    }
}

/// What a client was told stays so when everything crashes the moment after, and a client that still
/// waits finds the end through another host.
#[test]
fn what_a_client_was_told_survives_everything() {
    for sets in SPECULATION {
        let stage = Stage { seed: 3, sets, ..stage(application).on(HOSTS) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            let id = |name: &str| InstanceId::new(name);
            play.start("told", "Hello", 5).await;
            play.start("waited-for", "Sleep", 20).await;
            let told = play.client().wait(id("told")).await.expect("an answer");
            let waiting =
                play.kernel.timeout(Duration::from_secs(400), play.client().wait(id("waited-for")));
            play.kernel.spawn(NodeId::WORLD, async move {
                let answer = waiting.await.expect("within five minutes");
                assert!(matches!(answer, Err(ClientError::Unknown(_))), "its host is gone");
            });
            (0..HOSTS as usize).for_each(|host| play.crash(host));
            play.kernel.sleep(Duration::from_secs(1)).await;
            (0..HOSTS as usize).for_each(|host| play.restart(host));
            let client = play.hub.client(2);
            let again = client.wait(id("told")).await.expect("an answer");
            assert_eq!(again, told);
            let ended = client.wait(id("waited-for")).await.expect("an answer");
            assert!(ended.status.is_final());
            play.kernel.sleep(Duration::from_secs(300)).await;
        });
        assert_eq!(outcome.sound().completions.len(), 2, "{sets:?}");
    }
}

#[test]
#[ignore = "minutes: cargo test -p engine-netherite --test crashes -- --ignored"]
fn hosts_may_crash_at_two_hundred_moments() {
    for seed in 1_000..1_200 {
        for sets in SPECULATION {
            for crash in [Crash::One, Crash::Two, Crash::All] {
                survives(seed, crash, sets);
            }
        }
    }
}
