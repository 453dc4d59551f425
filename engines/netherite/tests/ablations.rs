//! Every safety mechanism that faults can put to the test, switched off: the checks catch it.

mod mixture;
mod stage;

use mixture::{COMPLETIONS, application, requests};
use sim_model::engine::StartRequest;
use stage::{Outcome, Play, Stage, request, stage};
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
}

/// Sends all requests from host 0, and leaves them to themselves.
fn ask_for(play: &Play, requests: Vec<StartRequest>) {
    let client = play.client();
    for request in requests {
        let start = client.start(request);
        play.kernel.spawn(play.world.hosts()[0].node(), async move { drop(start.await) });
    }
}

/// The number of orchestrations that the fault leaves to be ended.
fn expected(fault: Fault) -> usize {
    match fault {
        Fault::Crash => COMPLETIONS,
        Fault::Freeze => COMPLETIONS + 30,
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
            Fault::Freeze => {
                play.world.hosts()[1].pause();
                play.kernel.sleep(Duration::from_secs(100)).await;
                let more = |n| request(&format!("later-{n}"), "Hello", 40);
                ask_for(&play, (0..30).map(more).collect());
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
    assert!(
        seeds().any(|seed| !is_sound(fault, &play(seed, fault, without))),
        "{without:?} is caught"
    );
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
