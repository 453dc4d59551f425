//! Every safety mechanism that faults can put to the test, switched off: the checks catch it.

mod mixture;
mod stage;

use futures_util::future::join_all;
use mixture::{COMPLETIONS, application, requests};
use sim_model::engine::StartRequest;
use sim_model::id::InstanceId;
use sim_world::distribution::Latency;
use sim_world::kernel::NodeId;
use sim_world::network::LinkProfile;
use stage::{Outcome, Play, Stage, request, stage};
use std::panic::catch_unwind;
use std::rc::Rc;
use std::time::Duration;

type Sets = &'static [(&'static str, &'static str)];

/// What happens to the hosts besides host 0, on which the client lives.
#[derive(Clone, Copy)]
enum Fault {
    /// One crashes and comes back.
    Crash,
    /// One is frozen until others have taken over, and comes back in the middle of new work; soon
    /// after, all of them crash.
    Freeze,
    /// What one sends to storage takes minutes, until others have taken over and do new work; what it sends
    /// elsewhere does not. Then all of them crash.
    CutOff,
    /// The power of everything fails in the middle of the work.
    PowerLoss,
    /// Two log machines are away for a while; then the third, and the hosts crash.
    Machines,
}

/// Sends all requests from host 0, and leaves them to themselves.
fn ask_for(play: &Play, requests: Vec<StartRequest>) {
    let client = play.client();
    for request in requests {
        let start = client.start(request);
        play.kernel.spawn(play.world.hosts()[0].node(), async move { drop(start.await) });
    }
}

/// What is asked for after others have taken over.
fn later() -> Vec<StartRequest> {
    (0..30).map(|n| request(&format!("later-{n}"), "Hello", 40)).collect()
}

/// What a host sends to the storage account takes this long from now on; `None`: as long as ever.
fn delay_requests(play: &Play, host: usize, latency: Option<Duration>) {
    let usual = &play.world.profile().links.host_to_service;
    let latency = latency.map_or_else(|| usual.latency.clone(), Latency::constant);
    let bandwidth_bytes_per_s = usual.bandwidth_bytes_per_s;
    let link = LinkProfile { latency, bandwidth_bytes_per_s, ordered: false };
    let client = play.world.client_node().0;
    let blob =
        (client..client + 4).map(NodeId).find(|node| &*play.kernel.node_name(*node) == "blob");
    let node = play.world.hosts()[host].node();
    play.world.network().set_link(node, blob.expect("a service"), link);
}

/// The number of orchestrations that the fault leaves to be ended.
fn expected(fault: Fault) -> usize {
    match fault {
        Fault::Crash | Fault::PowerLoss | Fault::Machines => COMPLETIONS,
        Fault::Freeze | Fault::CutOff => COMPLETIONS + 30,
    }
}

/// Plays the mixture, and waits for its end for a while; whether it came.
fn play(seed: u64, fault: Fault, sets: Sets) -> Outcome<bool> {
    let stage = Stage { seed, sets, ..stage(application).on(3) };
    stage.play(async move |play: Rc<Play>| {
        ask_for(&play, requests());
        play.kernel.sleep(Duration::from_millis(60 + 70 * seed)).await;
        match fault {
            Fault::Crash => {
                play.crash(1);
                play.kernel.sleep(Duration::from_secs(2)).await;
                play.restart(1);
            }
            Fault::PowerLoss => {
                let machines = play.world.machines();
                (0..3).for_each(|host| play.world.lose_power_of_host(host));
                machines.iter().for_each(|machine| machine.lose_power());
                play.kernel.sleep(Duration::from_secs(1)).await;
                machines.iter().for_each(|machine| machine.restart());
                (0..3).for_each(|host| play.restart(host));
            }
            Fault::Machines => {
                let machines = play.world.machines();
                machines[1].kill();
                machines[2].kill();
                play.kernel.sleep(Duration::from_millis(300)).await;
                machines[0].kill();
                (0..3).for_each(|host| play.crash(host));
                machines[1].restart();
                machines[2].restart();
                (0..3).for_each(|host| play.restart(host));
                play.kernel.sleep(Duration::from_secs(60)).await;
                machines[0].restart();
            }
            Fault::CutOff => {
                delay_requests(&play, 1, Some(Duration::from_secs(300)));
                play.kernel.sleep(Duration::from_secs(100)).await;
                ask_for(&play, later());
                play.kernel.sleep(Duration::from_millis(500)).await;
                delay_requests(&play, 1, None);
                (0..3).for_each(|host| play.crash(host));
                (0..3).for_each(|host| play.restart(host));
            }
            Fault::Freeze => {
                play.world.hosts()[1].pause();
                play.kernel.sleep(Duration::from_secs(100)).await;
                ask_for(&play, later());
                play.kernel.sleep(Duration::from_millis(100)).await;
                play.world.hosts()[1].resume();
                play.kernel.sleep(Duration::from_millis(300)).await;
                (0..3).for_each(|host| play.crash(host));
                (0..3).for_each(|host| play.restart(host));
            }
        }
        let ended = play.ended(expected(fault));
        play.kernel.timeout(Duration::from_secs(150), ended).await.is_some()
    })
}

fn is_sound(fault: Fault, outcome: &Outcome<bool>) -> bool {
    outcome.value
        && outcome.completions.len() == expected(fault)
        && outcome.findings.iter().all(Option::is_none)
}

/// With the mechanism every seed is sound, without it one of them is not.
fn is_caught(fault: Fault, with: Sets, without: Sets) {
    let seeds = || 1..=6;
    assert!(seeds().all(|seed| is_sound(fault, &play(seed, fault, with))), "{with:?} is sound");
    // The record of work items refuses some of what an engine may then report.
    let passes = |seed| catch_unwind(|| is_sound(fault, &play(seed, fault, without)));
    assert!(seeds().any(|seed| !passes(seed).unwrap_or(false)), "{without:?} is caught");
}

#[test]
fn without_dedup_a_resent_message_counts_twice() {
    is_caught(Fault::Crash, &[], &[("dedup", "false")]);
}

#[test]
fn what_leaves_before_it_is_durable_may_be_lost() {
    is_caught(Fault::Crash, &[], &[("outbox_after_durability", "false")]);
}

#[test]
fn what_is_not_sent_again_may_be_lost() {
    is_caught(Fault::Crash, &[], &[("outbox_resend", "false")]);
}

#[test]
fn what_arrives_while_nobody_listens_is_lost() {
    is_caught(Fault::Crash, &[], &[("input_position", "false")]);
}

#[test]
fn what_is_not_started_again_never_ends() {
    is_caught(Fault::Crash, &[], &[("restart_pending", "false")]);
}

#[test]
fn without_fencing_a_frozen_host_destroys_what_its_successor_wrote() {
    is_caught(
        Fault::Freeze,
        &[("lease_watch", "false")],
        &[("lease_watch", "false"), ("fencing", "false")],
    );
}

#[test]
fn without_fencing_two_hosts_write_one_replicated_log() {
    const UNWATCHED: Sets = &[("log", "replicated-disk"), ("lease_watch", "false")];
    const UNFENCED: Sets =
        &[("log", "replicated-disk"), ("lease_watch", "false"), ("fencing", "false")];
    is_caught(Fault::CutOff, UNWATCHED, UNFENCED);
}

#[test]
fn a_log_that_is_not_synced_is_lost_with_the_power() {
    for log in ["local-disk", "replicated-disk"] {
        let with: Sets = Box::leak(Box::new([("log", log)]));
        let without: Sets = Box::leak(Box::new([("log", log), ("log_sync", "false")]));
        is_caught(Fault::PowerLoss, with, without);
    }
}

#[test]
fn one_machine_of_three_is_no_quorum() {
    const ONE: Sets = &[("log", "replicated-disk"), ("log_quorum", "1")];
    is_caught(Fault::Machines, &[("log", "replicated-disk")], ONE);
}

#[test]
fn a_commit_that_does_not_wait_for_its_causes_breaks_causal_order() {
    is_caught(
        Fault::Crash,
        &[("speculation", "global")],
        &[("speculation", "global"), ("commit_clip", "false")],
    );
}

#[test]
fn without_rollback_lost_work_has_effects() {
    is_caught(
        Fault::Crash,
        &[("speculation", "global")],
        &[("speculation", "global"), ("rollback", "false")],
    );
}

/// A host is frozen until others have taken its partitions over and have ended something there; when it
/// comes back, a client asks for that. How many answers did not know of it.
fn stale_answers(seed: u64, sets: Sets) -> usize {
    let stage = Stage { seed, sets, ..stage(application).on(3) };
    let outcome = stage.play(async move |play: Rc<Play>| {
        play.world.hosts()[1].pause();
        play.kernel.sleep(Duration::from_secs(100)).await;
        // Partitions were dealt to three hosts in turn.
        let names = [1, 4, 7, 10].map(|partition| format!("ended!{partition}"));
        for name in &names {
            play.start(name, "Hello", 1).await;
            assert_eq!(play.result::<u32>(name).await, 1);
        }
        let ask = async |turn: u32| {
            play.kernel.sleep(Duration::from_micros(100) * turn).await;
            let name = &names[turn as usize % names.len()];
            let state = play.client().status(InstanceId::new(name.as_str())).await;
            let state = state.expect("an answer");
            usize::from(state.is_none_or(|state| !state.status.is_final()))
        };
        let questions = join_all((0..300).map(ask));
        let resume = async {
            play.kernel.sleep(Duration::from_millis(8)).await;
            play.world.hosts()[1].resume();
        };
        futures_util::join!(questions, resume).0.into_iter().sum()
    });
    outcome.value
}

/// Questions are answered from memory and never logged, so fencing does not keep a host that was thought
/// dead from answering them.
#[test]
fn without_a_watch_on_its_lease_a_host_that_was_thought_dead_gives_stale_answers() {
    assert!((1..=6).all(|seed| stale_answers(seed, &[]) == 0));
    let stale: usize = (1..=6).map(|seed| stale_answers(seed, &[("lease_watch", "false")])).sum();
    assert!(stale > 0);
}

/// Acknowledgements guard against a transport that loses what it has taken. The event logs of this world
/// keep everything, and a receiver that recovers reads them again from where its own log ends.
#[test]
fn without_acknowledgements_nothing_is_lost_while_event_logs_keep_what_they_took() {
    for speculation in ["none", "local", "global"] {
        let sets: Sets = match speculation {
            "none" => &[("outbox_acks", "false"), ("speculation", "none")],
            "local" => &[("outbox_acks", "false")],
            _ => &[("outbox_acks", "false"), ("speculation", "global")],
        };
        for seed in 1..=6 {
            for fault in [Fault::Crash, Fault::Freeze] {
                assert!(is_sound(fault, &play(seed, fault, sets)), "{speculation}, seed {seed}");
            }
        }
    }
}
