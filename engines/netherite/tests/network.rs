//! Hosts that lose their network, messages that are lost, late or doubled, and answers that never come:
//! nothing is lost, nothing happens twice. And hosts whose clocks are wrong.

mod mixture;
mod stage;

use mixture::{COMPLETIONS, application, play_all};
use sim_world::fault::{Effect, LinkTrouble, Pattern, ServiceTrouble, Trouble};
use sim_world::seed::SeedTree;
use stage::{Outcome, Play, SPECULATION, Stage, stage};
use std::rc::Rc;
use std::time::Duration;

const HOSTS: u32 = 4;

type Sets = &'static [(&'static str, &'static str)];

fn named(text: &str) -> Pattern {
    text.parse().expect("a pattern")
}

/// Everything between these nodes, each way.
fn between(one: &str, other: &str, what: LinkTrouble) -> Trouble {
    Trouble::Link { from: named(one), to: named(other), both_ways: true, what }
}

/// What a host sends to anybody.
fn from_host(host: usize, what: LinkTrouble) -> Trouble {
    let from = named(&format!("worker-{host}"));
    Trouble::Link { from, to: named("*"), both_ways: false, what }
}

fn of_services(what: ServiceTrouble) -> Trouble {
    Trouble::Service { service: named("*"), what }
}

/// Plays the mixture while something is wrong for `lasts`, from a moment that the seed says; what came
/// of it, and how often the trouble showed as `effect`.
fn troubled(
    seed: u64,
    sets: Sets,
    lasts: Duration,
    trouble: impl FnOnce(usize) -> Trouble + Send + 'static,
    effect: Effect,
) -> Outcome<u64> {
    let stage = Stage { seed, sets, ..stage(application).on(HOSTS) };
    stage.play(async move |play: Rc<Play>| {
        let mut draws = SeedTree::new(seed).stream("troubles");
        let moment = Duration::from_millis(draws.below(1_500));
        let host = draws.below(u64::from(HOSTS)) as usize;
        let going_wrong = async {
            play.kernel.sleep(moment).await;
            let id = play.world.begin(&trouble(host)).expect("it can be");
            play.kernel.sleep(lasts).await;
            play.world.end(id);
        };
        futures_util::join!(play_all(&play), going_wrong);
        play.world.fault_counts().of(effect)
    })
}

fn is_sound(outcome: &Outcome<u64>, seed: u64, sets: Sets) {
    assert_eq!(outcome.findings, [const { None }; 6], "seed {seed}, {sets:?}");
    assert_eq!(outcome.completions.len(), COMPLETIONS, "seed {seed}, {sets:?}");
}

fn survives(outcome: &Outcome<u64>, seed: u64, sets: Sets) {
    is_sound(outcome, seed, sets);
    assert!(outcome.value > 0, "seed {seed}, {sets:?}: the trouble showed");
}

/// A host that reaches nobody loses its partitions to others, and takes part again afterwards.
#[test]
fn a_host_may_lose_its_network() {
    let lasts = Duration::from_secs(30);
    for sets in SPECULATION {
        for seed in 1..=4 {
            let cut = |host| between(&format!("worker-{host}"), "*", LinkTrouble::Cut);
            let outcome = troubled(seed, sets, lasts, cut, Effect::MessageCut);
            survives(&outcome, seed, sets);
        }
    }
}

/// What a host sends is held and arrives when its partitions run elsewhere: late writes, which the
/// leases have to fence.
#[test]
fn what_a_host_sends_may_come_late() {
    let lasts = Duration::from_secs(30);
    for sets in SPECULATION {
        for seed in 11..=13 {
            let clog = |host| from_host(host, LinkTrouble::Clog);
            let outcome = troubled(seed, sets, lasts, clog, Effect::MessageHeld);
            survives(&outcome, seed, sets);
        }
    }
}

#[test]
fn a_tenth_of_the_messages_may_be_lost() {
    let lose = |_| between("*", "*", LinkTrouble::Lose { probability: 0.1 });
    for sets in SPECULATION {
        for seed in 21..=23 {
            let lasts = Duration::from_secs(60);
            let outcome = troubled(seed, sets, lasts, lose, Effect::Retransmission);
            survives(&outcome, seed, sets);
        }
    }
}

#[test]
fn a_tenth_of_the_messages_may_come_twice() {
    let duplicate = |_| between("*", "*", LinkTrouble::Duplicate { probability: 0.1 });
    for sets in SPECULATION {
        for seed in 31..=33 {
            let lasts = Duration::from_secs(60);
            let outcome = troubled(seed, sets, lasts, duplicate, Effect::MessageDuplicated);
            survives(&outcome, seed, sets);
        }
    }
}

#[test]
fn a_fifth_of_the_answers_may_be_lost() {
    let lose = |_| of_services(ServiceTrouble::LoseAnswer { probability: 0.2 });
    for sets in SPECULATION {
        for seed in 41..=43 {
            let lasts = Duration::from_secs(60);
            let outcome = troubled(seed, sets, lasts, lose, Effect::AnswerLost);
            survives(&outcome, seed, sets);
        }
    }
}

/// A tenth of the requests takes effect 45 s late: after the client library has repeated them, and after
/// later writes to the same place. Without the conditions on a log's writes a page comes back as it was, and
/// what was durable is gone.
#[test]
fn requests_may_take_effect_after_they_were_repeated() {
    for sets in SPECULATION {
        for seed in 1_000..1_004 {
            let by = Duration::from_secs(45);
            let late = move |_| of_services(ServiceTrouble::ApplyLate { probability: 0.1, by });
            let lasts = Duration::from_secs(60);
            let outcome = troubled(seed, sets, lasts, late, Effect::RequestAppliedLate);
            survives(&outcome, seed, sets);
        }
    }
}

/// The service ends all leases, of hosts on partitions and on logs: whoever had one stops, and begins anew.
#[test]
fn all_leases_may_be_broken() {
    for sets in SPECULATION {
        for seed in 71..=73 {
            let broken = |_| Trouble::Lease { blob: named("*") };
            let outcome = troubled(seed, sets, Duration::ZERO, broken, Effect::LeaseBroken);
            survives(&outcome, seed, sets);
        }
    }
}

/// Whatever goes wrong, at many moments.
#[test]
#[ignore = "minutes: cargo test -p engine-netherite --test network -- --ignored"]
fn networks_may_fail_at_many_moments() {
    let seconds = Duration::from_secs;
    for seed in 1_000..1_040 {
        for sets in SPECULATION {
            let cut = |host| between(&format!("worker-{host}"), "*", LinkTrouble::Cut);
            for lasts in [5, 30, 120] {
                let outcome = troubled(seed, sets, seconds(lasts), cut, Effect::MessageCut);
                is_sound(&outcome, seed, sets);
            }
            let clog = |host| from_host(host, LinkTrouble::Clog);
            for lasts in [5, 30, 120] {
                let outcome = troubled(seed, sets, seconds(lasts), clog, Effect::MessageHeld);
                is_sound(&outcome, seed, sets);
            }
            let late = |by| {
                move |_| {
                    of_services(ServiceTrouble::ApplyLate {
                        probability: 0.1,
                        by: Duration::from_secs(by),
                    })
                }
            };
            for by in [10, 45] {
                let late = late(by);
                let outcome = troubled(seed, sets, seconds(60), late, Effect::RequestAppliedLate);
                is_sound(&outcome, seed, sets);
            }
            let corrupt = |_| between("*", "*", LinkTrouble::Corrupt { probability: 0.05 });
            let outcome = troubled(seed, sets, seconds(60), corrupt, Effect::MessageCorrupted);
            is_sound(&outcome, seed, sets);
        }
    }
}

/// A fifth of the requests takes effect 10 s late, whoever has given them up meanwhile.
#[test]
fn requests_may_take_effect_late() {
    let by = Duration::from_secs(10);
    let late = move |_| of_services(ServiceTrouble::ApplyLate { probability: 0.2, by });
    for sets in SPECULATION {
        for seed in 51..=53 {
            let lasts = Duration::from_secs(60);
            let outcome = troubled(seed, sets, lasts, late, Effect::RequestAppliedLate);
            survives(&outcome, seed, sets);
        }
    }
}

/// Timers fire by the clock of the host that runs the partition.
#[test]
fn a_clock_that_is_ahead_lets_timers_fire_early() {
    for (offset_s, took_s) in [(0_i64, 20_u64), (12, 8), (-30, 50)] {
        let outcome = stage(application).on(1).play(async move |play: Rc<Play>| {
            let (node, offset) = (named("worker-0"), offset_s * 1_000_000_000);
            let wrong = Trouble::Clock { node, offset, drift_ppm: 0 };
            play.world.begin(&wrong).expect("it can be");
            let begun = play.kernel.now();
            play.start("sleeper", "Sleep", 20).await;
            play.end("sleeper").await;
            play.kernel.now().since(begun).as_secs()
        });
        assert_eq!(outcome.value, took_s, "{offset_s} s ahead");
        assert_eq!(outcome.findings[5].is_some(), offset_s > 0, "a timer that is early is found");
    }
}

/// A host whose timer is slow believes that it holds its leases for longer than it does; storage
/// refuses what it writes then.
#[test]
fn a_slow_clock_does_not_let_a_host_keep_its_partitions() {
    for sets in SPECULATION {
        let stage = Stage { seed: 61, sets, ..stage(application).on(HOSTS) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            let slow = Trouble::Clock { node: named("worker-1"), offset: 0, drift_ppm: -800_000 };
            play.world.begin(&slow).expect("it can be");
            play_all(&play).await;
            play.kernel.sleep(Duration::from_secs(300)).await;
            play.world.fault_counts().of(Effect::ClockChanged)
        });
        survives(&outcome, 61, sets);
    }
}
