//! Crashes of hosts under the whole engine, both ways of acknowledging, scaling, and what published
//! races do.

mod stage;

use sim_model::application::{ActivityContext, Application};
use sim_model::engine::Client;
use sim_model::entity::EntityContext;
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use sim_model::workflow::{Joins, Workflow};
use stage::{Outcome, Play, Stage, stage};
use std::rc::Rc;
use std::time::Duration;

type Sets = &'static [(&'static str, &'static str)];

const SECOND: Duration = Duration::from_secs(1);

fn application() -> Application {
    let mut app = Application::new();
    app.activity("Work", |cx: ActivityContext, millis: u64| async move {
        cx.wait(Duration::from_millis(millis)).await;
        Ok(1_u32)
    });
    app.entity::<u32>("Counter").operation(
        "Add",
        |_: &mut EntityContext, count: &mut u32, amount: u32| {
            *count += amount;
            Ok(*count)
        },
    );
    app.orchestration(
        "Chain",
        |ctx: OrchestrationContext, (calls, millis): (u32, u64)| async move {
            let mut sum = 0;
            for _ in 0..calls {
                sum += ctx.call_activity::<u32>("Work", &millis).await?;
                let counter = EntityId::new("Counter", "all");
                ctx.call_entity::<u32>(&counter, "Add", &1_u32).await?;
            }
            Ok(sum)
        },
    );
    app.orchestration(
        "Tasks",
        |ctx: OrchestrationContext, (calls, millis): (u32, u64)| async move {
            let mut sum = 0;
            for _ in 0..calls {
                sum += ctx.call_activity::<u32>("Work", &millis).await?;
            }
            Ok(sum)
        },
    );
    app.orchestration("Two", |ctx: OrchestrationContext, (): ()| async move {
        ctx.wait_for_event::<()>("go").await?;
        ctx.wait_for_event::<()>("go").await?;
        Ok(2)
    });
    app
}

/// A workflow as data, which runs under every discipline.
fn three_joins() -> Application {
    let mut app = Application::new();
    app.workflow("Joins", Workflow::Joins(Joins { joins: 3, events: 10 }));
    app
}

fn null() -> Payload {
    Payload::encode(&()).expect("nothing")
}

/// A client on the host that does not crash.
fn client(play: &Play) -> Rc<dyn Client> {
    play.hub.client(1)
}

async fn start(play: &Play, instance: &str, name: &str, input: impl serde::Serialize) {
    client(play).start(stage::request(instance, name, input)).await.expect("accepted");
}

async fn raise(play: &Play, subjects: impl IntoIterator<Item = u32>) {
    for subject in subjects {
        let instance = InstanceId::new("joins");
        client(play).raise_event(instance, &subject.to_string(), null()).await.expect("taken");
    }
}

/// Chains of activities and entities go on while each host crashes in turn.
fn chains(sets: Sets, seed: u64) -> Outcome<(usize, u32)> {
    Stage { hosts: 4, seed, sets, ..stage(application) }.play(async move |play: Rc<Play>| {
        for index in 0..6 {
            start(&play, &format!("chain-{index}"), "Chain", (20_u32, 300_u64)).await;
        }
        play.kernel.sleep(8 * SECOND).await;
        for host in [0, 2, 3, 0] {
            play.kernel.sleep(SECOND).await;
            play.crash_for(host, SECOND).await;
        }
        let begun = play.kernel.now();
        while play.completions.borrow().len() < 6 && play.kernel.now().since(begun) < 600 * SECOND {
            play.kernel.sleep(SECOND).await;
        }
        play.kernel.sleep(150 * SECOND).await;
        let counter = EntityId::new("Counter", "all").instance_id();
        let state = client(&play).status(counter).await.expect("an answer");
        let count = state.and_then(|state| state.entity_state).map(|state| state.decode());
        let ended = play.completions.borrow().len();
        (ended, count.and_then(Result::ok).unwrap_or_default())
    })
}

#[test]
fn under_v4_nothing_is_lost_or_done_twice_when_hosts_crash() {
    const POSITIONAL: Sets = &[("acknowledgement", "positional")];
    for sets in [&[], POSITIONAL] {
        for seed in 1..=3 {
            let outcome = chains(sets, seed);
            assert_eq!(outcome.value, (6, 120), "{sets:?}, seed {seed}");
            let outcome = outcome.sound_after_faults();
            assert!(outcome.counter("workers_started") > 7, "{sets:?}, seed {seed}");
            assert!(outcome.counter("function_retries") > 0, "{sets:?}, seed {seed}");
        }
    }
}

#[test]
fn without_retries_of_functions_a_chain_stands_still() {
    let outcome = chains(&[("function_retries", "false")], 1);
    assert!(outcome.value.0 < 6, "{:?} {:?}", outcome.value, outcome.counters);
}

/// Two joins have half of their events, then one has all of its own; the host crashes, and the rest comes.
fn joins(sets: Sets) -> (bool, Outcome<bool>) {
    let outcome = Stage { hosts: 2, sets, ..stage(three_joins) }.play(async |play: Rc<Play>| {
        start(&play, "joins", "Joins", ()).await;
        raise(&play, [1, 2, 1, 2, 1, 2, 1, 2, 1, 2].into_iter().chain([0; 10])).await;
        play.kernel.sleep(9 * SECOND).await;
        play.crash_for(0, SECOND).await;
        play.kernel.sleep(5 * SECOND).await;
        let before = play.completions.borrow().len() == 1;
        raise(&play, [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]).await;
        play.kernel.sleep(20 * SECOND).await;
        before
    });
    (outcome.completions.len() == 1, outcome)
}

#[test]
fn a_crash_in_the_middle_of_joins_under_each_discipline() {
    let (ended, outcome) = joins(&[]);
    assert!(ended && !outcome.value, "v4: when all events are there");
    outcome.sound();
    let (ended, outcome) = joins(&[("acknowledgement", "positional")]);
    assert!(ended && !outcome.value, "v4 on a log");
    outcome.sound();
    let (ended, outcome) = joins(&[("discipline", "v1")]);
    assert!(ended && !outcome.value, "v1: by replay");
    let (ended, outcome) = joins(&[("discipline", "v2")]);
    assert!(ended && outcome.value, "v2: before the last events were sent");
    let (ended, _) = joins(&[("discipline", "v3")]);
    assert!(!ended, "v3: events of open joins were deleted");
    let (ended, _) = joins(&[("discipline", "v1"), ("acknowledgement", "positional")]);
    assert!(!ended, "v1 on a log: the commit of one join's events went past those of others");
}

/// What one join writes holds the half-full counts of the others, whose events come again after the crash.
#[test]
fn without_applied_ids_a_join_counts_events_twice() {
    let (ended, outcome) = joins(&[("applied_ids", "false")]);
    assert!(ended && outcome.value, "before the last events were sent: {:?}", outcome.counters);
}

/// Workflow as code under the published disciplines: each firing acknowledges one event and deletes its
/// transient trigger (v1).
#[test]
fn code_under_v1_and_v2() {
    let run = |sets| {
        let outcome =
            Stage { hosts: 2, sets, ..stage(application) }.play(async |play: Rc<Play>| {
                start(&play, "tasks", "Tasks", (5_u32, 200_u64)).await;
                play.ended(1).await;
            });
        assert_eq!(outcome.counter("coordinator_runs"), 6, "{sets:?}");
        outcome
    };
    const V1: Sets = &[("discipline", "v1")];
    const V2: Sets = &[("discipline", "v2")];
    let v1 = run(V1);
    assert_eq!(v1.operations_of("stream-store.rpush"), 6);
    assert_eq!(v1.operations_of("stream-store.hdel"), 6);
    assert_eq!(
        v1.counter("discoveries"),
        5,
        "a look for each trigger that a coordinator registered"
    );
    let v2 = run(V2);
    assert_eq!((v2.operations_of("stream-store.rpush"), v2.operations_of("store.hdel")), (0, 0));
}

/// The published race: an event that comes between a coordinator's read and the registration of its next
/// trigger lies in a queue that nobody reads. Here two events come ever further apart.
#[test]
fn an_event_between_two_runs_of_a_coordinator_is_lost_unless_it_is_set_aside() {
    let run = |sets| {
        Stage { hosts: 2, sets, ..stage(application) }.play(async |play: Rc<Play>| {
            for index in 0..24_u32 {
                let instance = format!("two-{index}");
                start(&play, &instance, "Two", ()).await;
                play.kernel.sleep(SECOND).await;
                for _ in 0..2 {
                    let instance = InstanceId::new(instance.as_str());
                    client(&play).raise_event(instance, "go", null()).await.expect("taken");
                    play.kernel.sleep(Duration::from_micros(400) * index).await;
                }
                play.kernel.sleep(3 * SECOND).await;
            }
            play.completions.borrow().len()
        })
    };
    let v1 = run(&[("scaling", "standalone"), ("discipline", "v1")]);
    assert!(v1.value < 24 && v1.counter("dead_letters") > 0, "{} ended", v1.value);
    let without = run(&[("scaling", "standalone"), ("set_aside", "false")]);
    assert!(without.value < 24 && without.counter("dead_letters") > 0, "{} ended", without.value);
    let v4 = run(&[("scaling", "standalone")]);
    assert_eq!(v4.value, 24);
    assert!(v4.counter("set_aside") > 0);
    v4.sound();
}

#[test]
fn workers_follow_the_workflows() {
    let outcome = Stage { hosts: 2, ..stage(application) }.play(async |play: Rc<Play>| {
        for index in 0..8 {
            start(&play, &format!("chain-{index}"), "Tasks", (3_u32, 2_000_u64)).await;
        }
        play.ended(8).await;
        play.kernel.sleep(30 * SECOND).await;
    });
    let outcome = outcome.sound();
    let most = outcome.levels.iter().map(|(_, _, workers)| *workers).max();
    assert_eq!(most, Some(8), "one for each");
    let (since, _, last) = *outcome.levels.last().expect("a level");
    assert_eq!(last, 0, "scaled to zero");
    let first = outcome.levels[0].0;
    assert!((Timestamp::from_secs(8)..Timestamp::from_secs(9)).contains(&first), "{first}");
    assert!(since < Timestamp::from_secs(30));
}

#[test]
fn a_worker_without_events_is_stopped_and_comes_back() {
    for sets in [&[] as Sets, &[("idle_stop", "10s"), ("cooldown", "1h")]] {
        let stage = Stage { hosts: 2, sets, ..stage(three_joins) };
        let outcome = stage.play(async |play: Rc<Play>| {
            start(&play, "joins", "Joins", ()).await;
            raise(&play, [0]).await;
            play.kernel.sleep(40 * SECOND).await;
            raise(&play, (0..10).flat_map(|_| [1, 2]).chain([0; 9])).await;
            play.ended(1).await;
        });
        let outcome = outcome.sound();
        let levels: Vec<u64> = outcome.levels.iter().map(|(_, _, workers)| *workers).collect();
        assert_eq!(levels, [1, 0, 1, 0], "{sets:?}");
        let RuntimeStatus::Completed(joins) = &outcome.completions[0].status else {
            panic!("{:?}", outcome.completions)
        };
        assert_eq!(joins.as_str(), "3");
    }
}

#[test]
fn pods_wait_for_a_place() {
    let sets = &[("pods_per_core", "1")];
    let outcome = Stage { hosts: 2, sets, ..stage(application) }.play(async |play: Rc<Play>| {
        for index in 0..12 {
            start(&play, &format!("chain-{index}"), "Tasks", (2_u32, 10_u64)).await;
        }
        play.ended(12).await;
    });
    let outcome = outcome.sound();
    let most = outcome.levels.iter().map(|(_, _, workers)| *workers).max();
    assert_eq!(most, Some(4), "two hosts of two cores");
    assert_eq!(outcome.completions.len(), 12);
}

#[test]
fn a_host_can_be_taken_out_of_service() {
    let outcome = Stage { hosts: 2, ..stage(application) }.play(async |play: Rc<Play>| {
        for index in 0..4 {
            start(&play, &format!("chain-{index}"), "Chain", (10_u32, 300_u64)).await;
        }
        play.kernel.sleep(9 * SECOND).await;
        play.hub.stop_host(0).await;
        play.world.hosts()[0].kill();
        play.ended(4).await;
        play.kernel.sleep(5 * SECOND).await;
    });
    // Nothing ran there any more: nothing is repeated.
    let outcome = outcome.sound();
    assert_eq!(outcome.counter("function_retries"), 0);
    assert_eq!(outcome.completions.len(), 4);
}

#[test]
fn runs_repeat_to_the_event() {
    let (first, second) = (chains(&[], 5), chains(&[], 5));
    assert_eq!(first.digest, second.digest);
    assert_eq!(first.operations, second.operations);
    assert_ne!(first.digest, chains(&[], 6).digest);
}
