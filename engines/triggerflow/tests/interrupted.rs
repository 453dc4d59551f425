//! What is interrupted between two commands: starts, notices to the control plane, invocations, and ends of
//! functions.

mod stage;

use sim_model::engine::{Client, ClientError};
use sim_model::id::InstanceId;
use sim_world::fault::{LinkTrouble, Pattern, ServiceTrouble, Trouble};
use stage::{Outcome, Play, Stage, stage, tasks};
use std::rc::Rc;
use std::time::Duration;

type Sets = &'static [(&'static str, &'static str)];

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn all(pattern: &str) -> Pattern {
    pattern.parse().expect("a pattern")
}

/// Nothing comes from a host for a while.
async fn cut_off(play: &Play, from: &str, to: &str, span: Duration) {
    let (from, to) = (all(from), all(to));
    let trouble = Trouble::Link { from, to, both_ways: false, what: LinkTrouble::Cut };
    let trouble = play.world.begin(&trouble).expect("a trouble");
    play.kernel.sleep(span).await;
    play.world.end(trouble);
}

/// As a robot does that got no answer: looks whether the instance is there, and else starts it.
async fn ask_again(client: &dyn Client, instance: &str) {
    let known = client.status(InstanceId::new(instance)).await.expect("an answer");
    if known.is_none() {
        match client.start(stage::request(instance, "Tasks", 2_u32)).await {
            Ok(()) | Err(ClientError::Refused(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A host dies so long after it was asked to start a workflow, and another one is asked again.
fn start_interrupted(after: Duration, sets: Sets) -> Outcome<usize> {
    Stage { hosts: 3, sets, ..stage(tasks) }.play(async move |play: Rc<Play>| {
        let client = play.hub.client(0);
        play.world.hosts()[0].spawn(async move {
            let _ = client.start(stage::request("tasks", "Tasks", 2_u32)).await;
        });
        play.kernel.sleep(after).await;
        play.crash_for(0, SECOND).await;
        ask_again(&*play.hub.client(1), "tasks").await;
        let begun = play.kernel.now();
        while play.completions.borrow().is_empty() && play.kernel.now().since(begun) < 300 * SECOND
        {
            play.kernel.sleep(SECOND).await;
        }
        play.kernel.sleep(70 * SECOND).await;
        play.completions.borrow().len()
    })
}

#[test]
fn a_start_that_is_interrupted_anywhere_can_be_asked_again() {
    for sets in [&[] as Sets, &[("acknowledgement", "positional")]] {
        let (mut completed, mut relisted) = (0, 0);
        for step in 0..80 {
            let after = step * Duration::from_micros(250);
            let outcome = start_interrupted(after, sets);
            assert_eq!(outcome.value, 1, "{sets:?}, {after:?}: {:?}", outcome.counters);
            let outcome = outcome.sound_after_faults();
            completed += outcome.counter("starts_completed");
            relisted += outcome.counter("workspaces_relisted");
        }
        assert!(completed > 0, "{sets:?}: none died between the row and the event");
        assert!(relisted > 0, "{sets:?}: no host that came back had anything to tell");
    }
}

/// Nothing comes from a host any more, from so long after it was asked to start a workflow.
fn start_cut_off(after: Duration) -> Outcome<usize> {
    Stage { hosts: 2, ..stage(tasks) }.play(async move |play: Rc<Play>| {
        let client = play.hub.client(0);
        play.world.hosts()[0].spawn(async move {
            let _ = client.start(stage::request("tasks", "Tasks", 2_u32)).await;
        });
        play.kernel.sleep(after).await;
        cut_off(&play, "worker-0", "*", 3 * SECOND).await;
        // Longer than a connection takes to be known as broken.
        play.kernel.sleep(30 * SECOND).await;
        ask_again(&*play.hub.client(1), "tasks").await;
        play.kernel.sleep(200 * SECOND).await;
        play.completions.borrow().len()
    })
}

#[test]
fn the_control_plane_is_told_in_the_end() {
    let mut repeated = 0;
    for step in 0..40 {
        let after = step * Duration::from_micros(250);
        let outcome = start_cut_off(after);
        assert_eq!(outcome.value, 1, "{after:?}: {:?}", outcome.counters);
        repeated += outcome.sound_after_faults().counter("notices_repeated");
    }
    assert!(repeated > 0, "no notice was lost");
}

/// The store answers nobody while a function ends, for longer than it tries to publish.
#[test]
fn a_function_that_cannot_publish_its_end_runs_again() {
    const TRIES_ONCE: Sets = &[("publish_attempts", "1"), ("scaling", "standalone")];
    let run = |sets| {
        Stage { hosts: 2, sets, ..stage(tasks) }.play(async |play: Rc<Play>| {
            let client = play.hub.client(0);
            client.start(stage::request("tasks", "Tasks", 1_u32)).await.expect("accepted");
            let invoked = |play: &Play| {
                let counters = play.hub.counters();
                counters.iter().any(|(name, count)| *name == "invocations" && *count > 1)
            };
            while !invoked(&play) {
                play.kernel.sleep(MILLISECOND).await;
            }
            play.kernel.sleep(100 * MILLISECOND).await;
            let what = ServiceTrouble::Outage;
            let trouble = Trouble::Service { service: all("stream-store"), what };
            let trouble = play.world.begin(&trouble).expect("a trouble");
            play.kernel.sleep(SECOND).await;
            play.world.end(trouble);
            play.kernel.sleep(200 * SECOND).await;
            play.completions.borrow().len()
        })
    };
    let outcome = run(TRIES_ONCE);
    assert_eq!(outcome.value, 1, "{:?}", outcome.counters);
    let outcome = outcome.sound_after_faults();
    assert_eq!(outcome.counter("lost_results"), 1);
    assert_eq!(outcome.counter("function_retries"), 1);
    let outcome =
        run(&[("publish_attempts", "1"), ("scaling", "standalone"), ("function_retries", "false")]);
    assert_eq!((outcome.value, outcome.counter("lost_results")), (0, 1), "lost");
}

/// No host can be reached from the others for longer than invocations are repeated.
#[test]
fn an_action_goes_on_until_its_function_is_accepted() {
    const IMPATIENT: Sets = &[("invocation_retries", "0"), ("invocation_timeout", "1s")];
    let outcome =
        Stage { hosts: 2, sets: IMPATIENT, ..stage(tasks) }.play(async |play: Rc<Play>| {
            let client = play.hub.client(0);
            client.start(stage::request("tasks", "Tasks", 8_u32)).await.expect("accepted");
            play.kernel.sleep(8 * SECOND).await;
            cut_off(&play, "worker-*", "worker-*", 8 * SECOND).await;
            play.ended_within(1, 200 * SECOND).await;
        });
    let outcome = outcome.sound_after_faults();
    assert_eq!(outcome.completions.len(), 1);
}
