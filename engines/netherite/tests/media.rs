//! Commit logs on disks: hosts and log machines crash, lose their power and come back; nothing is lost, and
//! nothing happens twice.

mod mixture;
mod stage;

use mixture::{COMPLETIONS, application, play_all};
use sim_model::id::InstanceId;
use sim_world::fault::{ServiceTrouble, Trouble};
use sim_world::seed::{SeedTree, Stream};
use stage::{Outcome, Play, Stage, stage};
use std::rc::Rc;
use std::time::Duration;

const HOSTS: usize = 3;
const MACHINES: usize = 3;

type Sets = &'static [(&'static str, &'static str)];

const LOCAL: [Sets; 3] = [
    &[("log", "local-disk"), ("speculation", "none")],
    &[("log", "local-disk"), ("checkpoint_events", "40")],
    &[("log", "local-disk"), ("speculation", "global")],
];
const REPLICATED: [Sets; 3] = [
    &[("log", "replicated-disk"), ("speculation", "none")],
    &[("log", "replicated-disk"), ("checkpoint_events", "40")],
    &[("log", "replicated-disk"), ("speculation", "global")],
];

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Something that crashes.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Host(usize),
    Machine(usize),
}

/// Crashes a host or a log machine, its processes or with its power, and brings it back.
async fn crash(play: &Play, victim: Victim, with_power: bool, down: Duration) {
    match victim {
        Victim::Host(host) if with_power => play.world.lose_power_of_host(host),
        Victim::Host(host) => play.crash(host),
        Victim::Machine(machine) if with_power => play.world.machines()[machine].lose_power(),
        Victim::Machine(machine) => play.world.machines()[machine].kill(),
    }
    play.kernel.sleep(down).await;
    match victim {
        Victim::Host(host) => play.restart(host),
        Victim::Machine(machine) => play.world.machines()[machine].restart(),
    }
}

/// Most of the work is done within a second; the last timers take 7 s.
fn moment(draws: &mut Stream) -> Duration {
    let span = if draws.chance(0.8) { 1_500 } else { 8_000 };
    Duration::from_millis(draws.below(span))
}

/// Plays the mixture while the victims crash, each at a moment that the seed says.
fn crashed(seed: u64, sets: Sets, victims: &[Victim], together: bool) -> Outcome<()> {
    let victims = victims.to_vec();
    let stage = Stage { seed, sets, ..stage(application).on(HOSTS as u32) };
    stage.play(async move |play: Rc<Play>| {
        let mut draws = SeedTree::new(seed).stream("crashes");
        let first = moment(&mut draws);
        let mut plans = Vec::new();
        for victim in victims {
            let at = if together { first } else { moment(&mut draws) };
            let (power, down) =
                (draws.chance(0.5), Duration::from_millis(100 + draws.below(8_000)));
            plans.push((victim, at, power, down));
        }
        let crashing = plans.into_iter().map(async |(victim, at, power, down)| {
            play.kernel.sleep(at).await;
            crash(&play, victim, power, down).await;
        });
        let crashing = futures_util::future::join_all(crashing);
        futures_util::join!(play_all(&play), crashing);
    })
}

fn survives(seed: u64, sets: Sets, victims: &[Victim], together: bool) {
    let outcome = crashed(seed, sets, victims, together);
    assert_eq!(outcome.findings, [const { None }; 6], "seed {seed}, {victims:?}, {sets:?}");
    assert_eq!(outcome.completions.len(), COMPLETIONS, "seed {seed}, {victims:?}, {sets:?}");
}

fn all_hosts() -> Vec<Victim> {
    (0..HOSTS).map(Victim::Host).collect()
}

fn all_machines() -> Vec<Victim> {
    (0..MACHINES).map(Victim::Machine).collect()
}

#[test]
fn a_local_log_survives_its_host() {
    for sets in LOCAL {
        for seed in 1..=6 {
            survives(seed, sets, &[Victim::Host(seed as usize % HOSTS)], false);
            survives(seed, sets, &all_hosts(), seed % 2 == 0);
        }
    }
}

#[test]
fn a_replicated_log_survives_hosts_and_machines() {
    for sets in REPLICATED {
        for seed in 1..=6 {
            let (host, machine) = (seed as usize % HOSTS, seed as usize / 2 % MACHINES);
            survives(seed, sets, &[Victim::Machine(machine)], false);
            survives(seed, sets, &[Victim::Host(host), Victim::Machine(machine)], false);
            survives(seed, sets, &all_machines(), seed % 2 == 0);
            survives(seed, sets, &[all_hosts(), all_machines()].concat(), true);
        }
    }
}

/// A log on a disk is cut where a rollback says, and what was cut off does not come back. Commits are short,
/// so that few crashes lose anything that others have taken in: these do.
#[test]
fn logs_on_disks_roll_back() {
    for sets in [LOCAL[2], REPLICATED[2]] {
        let mut rollbacks = 0;
        for seed in [14, 20, 21, 25, 30, 47] {
            let outcome = crashed(seed, sets, &[Victim::Host(seed as usize % HOSTS)], false);
            rollbacks += outcome.counter("rollbacks");
            assert_eq!(outcome.sound().completions.len(), COMPLETIONS, "seed {seed}, {sets:?}");
        }
        assert!(rollbacks > 0, "no crash has lost anything that others had taken in: {sets:?}");
    }
}

/// What a client was told stays so when the power of everything fails the moment after.
#[test]
fn what_a_client_was_told_survives_the_loss_of_all_power() {
    for sets in [LOCAL, REPLICATED].concat() {
        let stage = Stage { seed: 3, sets, ..stage(application).on(HOSTS as u32) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            play.start("told", "Hello", 5).await;
            let told = play.client().wait(InstanceId::new("told")).await.expect("an answer");
            (0..HOSTS).for_each(|host| play.world.lose_power_of_host(host));
            play.world.machines().iter().for_each(|machine| machine.lose_power());
            play.kernel.sleep(seconds(1)).await;
            play.world.machines().iter().for_each(|machine| machine.restart());
            (0..HOSTS).for_each(|host| play.restart(host));
            let again = play.hub.client(2).wait(InstanceId::new("told")).await.expect("an answer");
            assert_eq!(again, told);
        });
        assert_eq!(outcome.sound().completions.len(), 1, "{sets:?}");
    }
}

/// Without a majority of the machines nothing becomes durable; with it everything goes on.
#[test]
fn a_lost_majority_blocks_and_heals() {
    for sets in REPLICATED {
        let stage = Stage { sets, ..stage(application).on(HOSTS as u32) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            let ended = |play: &Play| play.completions.borrow().len();
            let machines = play.world.machines();
            machines[0].lose_power();
            play.start("with-two", "Hello", 3).await;
            play.end("with-two").await;
            machines[2].kill();
            play.kernel.sleep(Duration::from_millis(100)).await;
            let client = play.client();
            let start = client.start(stage::request("with-one", "Hello", 3));
            play.kernel.spawn(play.world.hosts()[0].node(), async move { drop(start.await) });
            play.kernel.sleep(seconds(25)).await;
            let blocked = ended(&play);
            machines[2].restart();
            play.ended_within(2, seconds(20)).await;
            let healed = ended(&play);
            machines[0].restart();
            play.kernel.sleep(seconds(20)).await;
            // The one that was away has been brought up to date: it and any other are enough.
            machines[1].kill();
            play.start("with-others", "Hello", 3).await;
            play.end("with-others").await;
            (blocked, healed)
        });
        assert_eq!(outcome.sound().value, (1, 2), "{sets:?}");
    }
}

/// Hosts are frozen until others have taken over, and go on as if nothing had happened: what they write
/// late is refused.
#[test]
fn a_late_writer_of_a_replicated_log_is_refused() {
    for sets in REPLICATED {
        for seed in 2..=4 {
            let stage = Stage { seed, sets, ..stage(application).on(HOSTS as u32) };
            let outcome = stage.play(async move |play: Rc<Play>| {
                let freezing = async {
                    play.kernel.sleep(Duration::from_millis(50 * seed)).await;
                    play.pause(1);
                    play.kernel.sleep(seconds(25 * seed)).await;
                    play.resume(1);
                };
                futures_util::join!(play_all(&play), freezing);
            });
            let outcome = outcome.sound();
            assert_eq!(outcome.completions.len(), COMPLETIONS, "seed {seed}, {sets:?}");
            assert!(outcome.counter("leases_lost") > 0, "seed {seed}, {sets:?}");
        }
    }
}

/// Plays orchestrations that are started while the log machines are out, on a host that has lost its leases
/// and not noticed; each partition begins anew there while its last incarnation waits for the machines. One
/// that asks them in vain does so again ten seconds later.
fn succeeds_itself(sets: Sets, outage: Duration) {
    const GREETED: usize = 24;
    let stage = Stage { sets, ..stage(application).on(1) };
    let outcome = stage.play(async move |play: Rc<Play>| {
        let named = |name: &str| name.parse().expect("a pattern");
        // The host has just renewed what it owns, and will not look again for ten seconds.
        play.kernel.sleep(seconds(1)).await;
        play.world.begin(&Trouble::Lease { blob: named("*") }).expect("it can be");
        play.kernel.sleep(seconds(4)).await;
        let (service, what) = (named("log-store"), ServiceTrouble::Outage);
        let trouble = play.world.begin(&Trouble::Service { service, what }).expect("it can be");
        play.kernel.sleep(seconds(1)).await;
        for number in 0..GREETED {
            let (client, name) = (play.client(), format!("hello!{number}"));
            let start = async move { client.start(stage::request(&name, "Hello", 3)).await };
            play.kernel.spawn(play.world.hosts()[0].node(), async { drop(start.await) });
        }
        play.kernel.sleep(outage - seconds(1)).await;
        play.world.end(trouble);
        play.ended_within(GREETED, seconds(60)).await;
        play.kernel.sleep(seconds(20)).await;
    });
    let outcome = outcome.sound();
    assert_eq!(outcome.completions.len(), GREETED, "{sets:?}, {outage:?}");
    assert!(outcome.counter("recoveries") > 0, "{sets:?}, {outage:?}");
    assert_eq!(outcome.counter("instances"), GREETED as u64, "{sets:?}, {outage:?}");
}

/// The last incarnation reaches the machines first: what it commits until they promise the next one, and has in
/// the checkpoint at its end, counts.
#[test]
fn a_partition_commits_until_its_successor_has_the_log() {
    REPLICATED.into_iter().for_each(|sets| succeeds_itself(sets, seconds(6)));
}

/// The next incarnation reaches the machines first, and runs when the last one learns that it is fenced off.
#[test]
fn a_partition_is_known_to_run_when_its_last_incarnation_ends_late() {
    REPLICATED.into_iter().for_each(|sets| succeeds_itself(sets, Duration::from_millis(14_500)));
}

/// A replicated log goes where its partition goes; a local one stays, and waits for its host.
#[test]
fn a_local_log_waits_for_its_host_and_a_replicated_one_moves() {
    let served_without_its_host = |sets: Sets| {
        let stage = Stage { sets, ..stage(application).on(2) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            play.start("before!1", "Hello", 3).await;
            play.end("before!1").await;
            play.stop_host(1).await;
            let client = play.client();
            let start = client.start(stage::request("after!1", "Hello", 3));
            play.kernel.spawn(play.world.hosts()[0].node(), async move { drop(start.await) });
            play.ended_within(2, seconds(90)).await;
            let served = play.completions.borrow().len() == 2;
            play.restart(1);
            play.ended_within(2, seconds(90)).await;
            served
        });
        let outcome = outcome.sound();
        assert_eq!(outcome.completions.len(), 2, "{sets:?}");
        outcome.value
    };
    assert!(!served_without_its_host(LOCAL[0]));
    assert!(served_without_its_host(REPLICATED[0]));
}

/// What a commit costs on each medium, in the order that their mechanisms say.
#[test]
fn commits_are_as_fast_as_their_media() {
    let mean_commit_us = |sets: Sets| {
        let outcome = Stage { sets, ..stage(application).on(2) }.play(async |play: Rc<Play>| {
            play.start("one", "Hello", 20).await;
            play.end("one").await;
        });
        let outcome = outcome.sound();
        outcome.counter("log_commit_us") / outcome.counter("log_commits")
    };
    let [local, replicated, blobs] = ["local-disk", "replicated-disk", "page-blob"].map(|log| {
        let sets = Box::leak(Box::new([("log", log)]));
        mean_commit_us(sets)
    });
    assert!(local < replicated && replicated < blobs, "{local} {replicated} {blobs} us");
}

#[test]
fn a_profile_without_disks_is_refused() {
    for (log, lacks) in [("local-disk", "host.disk"), ("replicated-disk", "log-store")] {
        let sets: Sets = Box::leak(Box::new([("log", log)]));
        let profile = || {
            let mut profile =
                sim_world::profile::Profile::named("azure-2021-10").expect("embedded");
            profile.host.disk = None;
            profile.machines.clear();
            profile
        };
        let told = Stage { sets, profile, ..stage(application) }.refusal();
        assert!(told.contains(lacks), "{told}");
    }
}

#[test]
#[ignore = "minutes: cargo test -p engine-netherite --test media -- --ignored"]
fn logs_survive_at_a_hundred_moments() {
    for seed in 1_000..1_100 {
        let (host, machine) = (seed as usize % HOSTS, seed as usize / 2 % MACHINES);
        for (local, replicated) in LOCAL.into_iter().zip(REPLICATED) {
            survives(seed, local, &all_hosts(), seed % 2 == 0);
            survives(seed, replicated, &[Victim::Host(host), Victim::Machine(machine)], false);
            survives(seed, replicated, &all_machines(), seed % 2 == 0);
            survives(seed, replicated, &[all_hosts(), all_machines()].concat(), true);
        }
    }
}
