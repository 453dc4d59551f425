//! Hosts crash at seeded moments and come back: nothing is lost, nothing happens twice.

mod common;
mod mixture;

use common::{Outcome, Play, SPECULATION, Stage};
use mixture::{COMPLETIONS, application, play_all};
use sim_world::seed::SeedTree;
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
    let stage = Stage { seed, sets, ..Stage::new(application).on_hosts(HOSTS) };
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
    assert_eq!(outcome.findings, [const { None }; 5], "seed {seed}, {crash:?}, {sets:?}");
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
