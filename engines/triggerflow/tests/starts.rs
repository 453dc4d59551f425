//! Several starts of one orchestration, by different hosts, at once or held up: each is a few commands, and
//! one of them wins as a whole.

mod stage;

use futures_util::future::join_all;
use sim_model::engine::ClientError;
use sim_model::id::InstanceId;
use sim_world::fault::{LinkTrouble, Pattern, Trouble};
use stage::{Outcome, Play, Stage, stage, tasks};
use std::rc::Rc;
use std::time::Duration;

type Sets = &'static [(&'static str, &'static str)];

const SECOND: Duration = Duration::from_secs(1);
const STORES: [Sets; 2] = [&[], &[("acknowledgement", "positional")]];

/// Asks a host so much later to start the orchestration; whether it was accepted.
async fn start(play: Rc<Play>, host: usize, after: Duration) -> bool {
    play.kernel.sleep(after).await;
    let client = play.hub.client(host);
    match client.start(stage::request("tasks", "Tasks", 2_u32)).await {
        Ok(()) => true,
        Err(ClientError::Refused(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Three hosts are asked to start the same, one after the other in such a distance: how many say that they did.
async fn all_start(play: &Rc<Play>, apart: Duration) -> usize {
    let starts = (0..3).map(|host| start(play.clone(), host, apart * host as u32));
    join_all(starts).await.into_iter().filter(|accepted| *accepted).count()
}

fn accepted(sets: Sets, apart: Duration, twice: bool) -> Outcome<Vec<usize>> {
    Stage { hosts: 3, sets, ..stage(tasks) }.play(async move |play: Rc<Play>| {
        let mut accepted = Vec::new();
        for runs in 1..=1 + usize::from(twice) {
            accepted.push(all_start(&play, apart).await);
            play.ended_within(runs, 100 * SECOND).await;
            // Whatever else was started would end meanwhile.
            play.kernel.sleep(30 * SECOND).await;
        }
        accepted
    })
}

#[test]
fn of_several_starts_at_once_one_wins() {
    let mut at_once = 0;
    for sets in STORES {
        for step in 0..24 {
            let apart = step * Duration::from_micros(150);
            let outcome = accepted(sets, apart, false);
            assert_eq!(outcome.completions.len(), 1, "{sets:?}, {apart:?}");
            at_once += outcome.counter("starts_overtaken");
            let outcome = outcome.sound();
            assert!(outcome.value[0] >= 1, "{sets:?}, {apart:?}: {:?}", outcome.counters);
        }
    }
    assert!(at_once > 10, "{at_once}: few met");
}

#[test]
fn of_several_that_start_again_what_has_ended_one_wins() {
    let mut at_once = 0;
    for sets in STORES {
        for step in 0..24 {
            let apart = step * Duration::from_micros(150);
            let outcome = accepted(sets, apart, true);
            let found = (&outcome.value, &outcome.counters);
            assert_eq!(outcome.completions.len(), 2, "{sets:?}, {apart:?}: {found:?}");
            assert_eq!(outcome.counter("runs_replaced"), 1);
            at_once += outcome.counter("starts_overtaken");
            let outcome = outcome.sound();
            assert!(outcome.value.iter().all(|accepted| *accepted >= 1), "{sets:?}, {apart:?}");
        }
    }
    assert!(at_once > 20, "{at_once}: few met");
}

/// One host's start is held up from so long after it was asked, for a time in which another one has started the
/// same and it has ended.
fn held_up(sets: Sets, after: Duration) -> Outcome<bool> {
    let store: Pattern = "triggerflow-*".parse().expect("a pattern");
    let from: Pattern = "worker-1".parse().expect("a pattern");
    // Nothing runs on the host whose connections are held up.
    let stage = Stage { hosts: 2, started: Some(1), sets, ..stage(tasks) };
    stage.play(async move |play: Rc<Play>| {
        let (late_play, kernel) = (play.clone(), play.kernel.clone());
        let late = async move { start(late_play, 1, Duration::ZERO).await };
        let others = async {
            kernel.sleep(after).await;
            let what = LinkTrouble::Clog;
            let trouble = Trouble::Link { from, to: store, both_ways: false, what };
            let trouble = play.world.begin(&trouble).expect("a trouble");
            kernel.sleep(SECOND).await;
            let known = play.hub.client(0).status(InstanceId::new("tasks")).await;
            if known.expect("an answer").is_none() {
                assert!(start(play.clone(), 0, Duration::ZERO).await, "nobody else has");
            }
            kernel.sleep(59 * SECOND).await;
            play.world.end(trouble);
        };
        let (late, ()) = futures_util::future::join(late, others).await;
        kernel.sleep(100 * SECOND).await;
        late
    })
}

#[test]
fn a_start_that_comes_late_is_a_run_of_its_own_or_refused() {
    for sets in STORES {
        let (mut once, mut again) = (0, 0);
        for step in 0..60 {
            let after = step * Duration::from_micros(250);
            let outcome = held_up(sets, after);
            let runs = outcome.completions.len();
            match outcome.counter("runs_replaced") {
                0 => assert_eq!(runs, 1, "{sets:?}, {after:?}: {:?}", outcome.counters),
                _ => assert_eq!(runs, 2, "{sets:?}, {after:?}: {:?}", outcome.counters),
            }
            once += u32::from(runs == 1);
            again += u32::from(runs == 2);
            let outcome = outcome.sound_after_faults();
            assert!(
                outcome.value || runs == 1,
                "{sets:?}, {after:?}: a run of its own is accepted"
            );
        }
        assert!(once > 0 && again > 0, "{sets:?}: {once} and {again}");
    }
}
