//! Entities, critical sections, timers, events and clients' requests on the whole engine.

mod stage;

use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::engine::{ClientError, InstanceQuery};
use sim_model::entity::EntityContext;
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use stage::{Play, SPECULATION, Stage, request, stage};
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

fn account(number: u32) -> EntityId {
    // Neighbours live on neighbouring partitions.
    EntityId::new("Account", format!("{number}!{number}"))
}

fn application() -> Application {
    let mut app = Application::new();
    app.entity::<Account>("Account")
        .operation(
            "Get",
            |_: &mut EntityContext, account: &mut Account, (): ()| Ok(account.balance),
        )
        .operation("Add", |_: &mut EntityContext, account: &mut Account, amount: i64| {
            account.balance += amount;
            Ok(account.balance)
        });
    app.entity::<Vec<u32>>("Log")
        .operation("Append", |_: &mut EntityContext, log: &mut Vec<u32>, number: u32| {
            log.push(number);
            Ok(())
        })
        .operation("Clear", |cx: &mut EntityContext, _: &mut Vec<u32>, (): ()| {
            cx.delete_state();
            Ok(())
        });
    app.entity::<u32>("Ticker").operation(
        "Tick",
        |cx: &mut EntityContext, ticks: &mut u32, left: u32| {
            *ticks += 1;
            if left > 0 {
                let own = cx.id().clone();
                cx.signal(&own, "Tick", &(left - 1))?;
            }
            Ok(())
        },
    );
    app.orchestration("Transfer", transfer);
    app.orchestration("Sleep", |ctx: OrchestrationContext, seconds: u64| async move {
        ctx.set_custom_status(&"sleeping")?;
        ctx.sleep(Duration::from_secs(seconds)).await?;
        Ok(seconds)
    });
    app.orchestration("Count", |ctx: OrchestrationContext, (at, end): (u32, u32)| async move {
        ctx.sleep(Duration::from_secs(1)).await?;
        if at < end {
            return ctx.continue_as_new(&(at + 1, end)).await;
        }
        Ok(at)
    });
    app.orchestration("AddUp", |ctx: OrchestrationContext, n: u32| async move {
        let mut sum = 0;
        for _ in 0..n {
            sum += ctx.wait_for_event::<u32>("number").await?;
        }
        Ok(sum)
    });
    app.activity("One", |_: ActivityContext, (): ()| async move { Ok(1_u32) });
    app.orchestration("Tree", |ctx: OrchestrationContext, depth: u32| async move {
        if depth == 0 {
            return ctx.call_activity::<u32>("One", &()).await;
        }
        let calls = (0..3).map(|_| ctx.call_sub_orchestration::<u32>("Tree", &(depth - 1)));
        Ok(try_join_all(calls).await?.into_iter().sum::<u32>())
    });
    app.orchestration("Write", |ctx: OrchestrationContext, n: u32| async move {
        // Some messages leave with a step of their own, some together.
        for number in 0..n {
            ctx.signal_entity(&EntityId::new("Log", "book!7"), "Append", &number)?;
            if number % 7 == 0 {
                ctx.sleep(Duration::from_millis(1)).await?;
            }
        }
        Ok(())
    });
    app
}

async fn transfer(
    ctx: OrchestrationContext,
    (from, to, amount): (u32, u32, i64),
) -> Result<bool, ApplicationError> {
    let (from, to) = (account(from), account(to));
    let _section = ctx.lock(&[from.clone(), to.clone()]).await?;
    let balance: i64 = ctx.call_entity(&from, "Get", &()).await?;
    let enough = balance + 1_000 >= amount;
    if enough {
        ctx.call_entity::<i64>(&from, "Add", &-amount).await?;
        ctx.call_entity::<i64>(&to, "Add", &amount).await?;
    }
    Ok(enough)
}

async fn state<S: serde::de::DeserializeOwned>(play: &Play, entity: &EntityId) -> Option<S> {
    let state = play.client().status(entity.instance_id()).await.expect("an answer");
    let stored = state.and_then(|state| state.entity_state);
    stored.map(|stored| stored.decode().expect("a state of this type"))
}

fn signal(play: &Play, entity: &EntityId, operation: &str, input: u32) -> impl Future + use<> {
    let input = Payload::encode(&input).expect("a number");
    play.client().signal_entity(entity, operation, input)
}

#[test]
fn concurrent_transfers_conserve_the_sum() {
    for sets in SPECULATION {
        for seed in 1..=5 {
            let stage = Stage { seed, sets, ..stage(application).on(3) };
            let outcome = stage.play(async |play: Rc<Play>| {
                let pairs = [(0, 1), (1, 0), (2, 3), (4, 3), (1, 4), (3, 0), (0, 2), (2, 0)];
                for (index, (from, to)) in pairs.iter().chain(&pairs).enumerate() {
                    let input = (*from, *to, 70_i64 + index as i64);
                    play.start(&format!("transfer-{index}"), "Transfer", input).await;
                }
                play.ended(16).await;
                // The releases are still on their way.
                play.kernel.sleep(Duration::from_secs(1)).await;
                let mut sum = 0;
                for number in 0..5 {
                    let account = state::<Account>(&play, &account(number)).await;
                    sum += account.expect("an account").balance;
                }
                sum
            });
            let outcome = outcome.sound();
            assert_eq!(
                (outcome.value, outcome.completions.len()),
                (0, 16),
                "only orchestrations end"
            );
            let done = |done: &sim_model::engine::Completion| {
                matches!(done.status, RuntimeStatus::Completed(_))
            };
            assert!(outcome.completions.iter().all(done));
        }
    }
}

/// Lock (three hops), three calls (two hops each), all across partitions: each hop waits for a
/// commit. The two releases are not waited for.
#[test]
fn a_transfer_takes_nine_hops_and_their_commits() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        play.start("transfer!3", "Transfer", (1, 2, 5_i64)).await;
        play.result::<bool>("transfer!3").await
    });
    let outcome = outcome.sound();
    assert!(outcome.value);
    let done = &outcome.completions[0];
    let latency = done.last_updated.since(done.created);
    let commit = done.ledger.settle(done.created, done.last_updated);
    let commit = commit.get(sim_model::ledger::Category::Commit);
    let bounds = Duration::from_millis(9 * 18)..Duration::from_millis(9 * 60);
    assert!(bounds.contains(&latency), "{latency:?}");
    assert!(commit > latency / 2, "most of {latency:?} is waiting for commits: {commit:?}");
    // One step of the orchestration for the start, the lock and each call; of each entity one for
    // its lock, its calls and its release.
    assert_eq!(outcome.steps, 5 + (1 + 2 + 1) + (1 + 1 + 1));
}

#[test]
fn timers_fire_at_their_time() {
    for sets in SPECULATION {
        let stage = Stage { sets, ..stage(application) };
        let outcome = stage.play(async |play: Rc<Play>| {
            for seconds in [40, 3, 3, 20, 0, 1] {
                let instance = format!("sleep-{}-{seconds}", play.kernel.now().as_nanos());
                play.start(&instance, "Sleep", seconds).await;
            }
            play.ended(6).await;
        });
        let outcome = outcome.sound();
        for done in &outcome.completions {
            let RuntimeStatus::Completed(result) = &done.status else { panic!("{done:?}") };
            let asked = Duration::from_secs(result.decode().expect("seconds"));
            let slept = done.last_updated.since(done.created);
            let late = slept - asked;
            assert!(late < Duration::from_millis(200), "{slept:?} instead of {asked:?}");
            let timing = done.ledger.settle(done.created, done.last_updated);
            let waited = timing.get(sim_model::ledger::Category::Application);
            assert!(waited >= asked.saturating_sub(late), "the wait is the application's own");
        }
    }
}

#[test]
fn continue_as_new_and_replay_agree() {
    let stage = Stage { sets: &[("cursor_cache", "false")], ..stage(application) };
    let outcome = stage.play(async |play: Rc<Play>| {
        play.start("count", "Count", (0, 50)).await;
        play.result::<u32>("count").await
    });
    let outcome = outcome.sound();
    assert_eq!(outcome.value, 50);
    assert_eq!(outcome.counter("replays"), 51, "each step but the first");
    assert_eq!(outcome.completions.len(), 1);
}

#[test]
fn an_entity_takes_many_signals_in_one_step() {
    let run = |sets| {
        let stage = Stage { sets, ..stage(application) };
        let outcome = stage.play(async |play: Rc<Play>| {
            let entity = EntityId::new("Log", "one");
            join_all((0..1_000).map(|number| signal(&play, &entity, "Append", number))).await;
            play.kernel.sleep(Duration::from_secs(5)).await;
            state::<Vec<u32>>(&play, &entity).await.expect("a state")
        });
        let outcome = outcome.sound();
        assert!(outcome.value.iter().copied().eq(0..1_000), "in the order they were sent");
        assert!(outcome.completions.is_empty(), "an entity never ends");
        outcome.steps
    };
    assert!(run(&[]) < 30, "{} steps", run(&[]));
    let small = run(&[("entity_batch", "10")]);
    assert!((100..1_200).contains(&small), "{small} steps");
}

#[test]
fn messages_of_one_instance_to_another_arrive_in_order() {
    for sets in SPECULATION {
        for seed in 1..=5 {
            let stage = Stage { seed, sets, ..stage(application).on(4) };
            let outcome = stage.play(async |play: Rc<Play>| {
                play.start("writer!2", "Write", 300).await;
                play.ended(1).await;
                play.kernel.sleep(Duration::from_secs(2)).await;
                state::<Vec<u32>>(&play, &EntityId::new("Log", "book!7")).await
            });
            let book = outcome.sound().value.expect("a state");
            assert!(book.iter().copied().eq(0..300), "seed {seed}: {book:?}");
        }
    }
}

#[test]
fn sub_orchestrations_cross_partitions() {
    for sets in SPECULATION {
        let stage = Stage { sets, ..stage(application).on(4) };
        let outcome = stage.play(async |play: Rc<Play>| {
            play.start("tree", "Tree", 4).await;
            play.result::<u32>("tree").await
        });
        let outcome = outcome.sound();
        assert_eq!(outcome.value, 81);
        assert_eq!(outcome.completions.len(), 1 + 3 + 9 + 27 + 81, "each is reported");
    }
}

/// An entity that keeps signalling itself waits for a commit each time: it cannot run ahead of what
/// is durable.
#[test]
fn an_instance_that_keeps_itself_busy_waits_for_its_commits() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        let entity = EntityId::new("Ticker", "t");
        signal(&play, &entity, "Tick", 19).await;
        let begun = play.kernel.now();
        while state::<u32>(&play, &entity).await != Some(20) {
            play.kernel.sleep(Duration::from_millis(1)).await;
        }
        play.kernel.now().since(begun)
    });
    let took = outcome.sound().value;
    assert!(took > 19 * Duration::from_millis(15), "20 ticks took {took:?}");
}

#[test]
fn external_events_suspension_and_termination() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        let (client, sum) = (play.client(), InstanceId::new("sum"));
        let raise = |number: u32| {
            let input = Payload::encode(&number).expect("a number");
            client.raise_event(InstanceId::new("sum"), "number", input)
        };
        raise(99).await.expect("taken, and dropped: there is no such instance");
        play.start("sum", "AddUp", 3).await;
        raise(1).await.expect("taken");
        client.suspend(sum.clone(), "wait").await.expect("taken");
        raise(2).await.expect("taken");
        raise(3).await.expect("taken");
        play.kernel.sleep(Duration::from_secs(5)).await;
        let status =
            client.status(sum.clone()).await.expect("an answer").expect("it exists").status;
        assert_eq!(status, RuntimeStatus::Suspended);
        client.resume(sum, "go on").await.expect("taken");
        assert_eq!(play.result::<u32>("sum").await, 6);

        play.start("endless", "AddUp", 3).await;
        let endless = InstanceId::new("endless");
        client.terminate(endless.clone(), "enough").await.expect("taken");
        let state = client.wait(endless).await.expect("an answer");
        assert_eq!(state.status, RuntimeStatus::Terminated("enough".into()));
    });
    assert_eq!(outcome.sound().completions.len(), 2);
}

#[test]
fn clients_look_replace_and_remove() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        let client = play.client();
        let id = InstanceId::new("sleep-1");
        play.start("sleep-1", "Sleep", 2).await;
        play.start("sleep-2", "Sleep", 100).await;
        let refused = |answer| matches!(answer, Err(ClientError::Refused(_)));
        assert!(refused(client.start(request("sleep-1", "Sleep", 2)).await), "it runs");
        assert!(refused(client.start(request("@Log@x", "Sleep", 2)).await), "an entity's key");
        assert!(refused(client.purge(id.clone()).await.map(drop)), "it runs");
        play.kernel.sleep(Duration::from_secs(1)).await;
        let state = client.status(id.clone()).await.expect("an answer").expect("it exists");
        assert_eq!(state.custom_status, Payload::encode(&"sleeping").ok());
        assert_eq!(&*state.name, "Sleep");
        assert_eq!(play.result::<u64>("sleep-1").await, 2);

        play.start("sleep-1", "Sleep", 1).await;
        assert_eq!(play.result::<u64>("sleep-1").await, 1, "replaced");
        let entity = EntityId::new("Log", "sleep");
        signal(&play, &entity, "Append", 1).await;
        play.kernel.sleep(Duration::from_secs(1)).await;

        let keys = async |query: InstanceQuery| {
            let selected = client.query(query).await.expect("answers");
            selected.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()
        };
        let all = keys(InstanceQuery::default()).await;
        assert_eq!(all, ["@Log@sleep", "sleep-1", "sleep-2"]);
        let ended = InstanceQuery { ended: Some(true), ..InstanceQuery::default() };
        assert_eq!(keys(ended).await, ["sleep-1"]);

        assert!(client.purge(id.clone()).await.expect("an answer"));
        assert!(!client.purge(id.clone()).await.expect("an answer"), "gone");
        assert_eq!(client.status(id).await.expect("an answer"), None);
        assert!(client.purge(entity.instance_id()).await.expect("an answer"));
        signal(&play, &entity, "Append", 2).await;
        play.kernel.sleep(Duration::from_secs(1)).await;
        assert_eq!(state_of_log(&play, &entity).await, Some(vec![2]), "a new life");
        let input = Payload::encode(&()).expect("nothing");
        client.signal_entity(&entity, "Clear", input).await.expect("taken");
        play.kernel.sleep(Duration::from_secs(1)).await;
        assert_eq!(keys(InstanceQuery::default()).await, ["sleep-2"], "implicit deletion");
    });
    assert_eq!(outcome.sound().completions.len(), 2);
}

async fn state_of_log(play: &Play, entity: &EntityId) -> Option<Vec<u32>> {
    state(play, entity).await
}

/// Everything at once, as many times as there are extreme settings.
#[test]
fn extreme_settings_change_no_result() {
    let extremes: [&'static [(&'static str, &'static str)]; 16] = [
        &[("max_orchestrations", "1")],
        &[("max_entities", "1")],
        &[("max_activities", "1")],
        &[("entity_batch", "1")],
        &[("activity_queue_limit", "1")],
        &[("intake_batch", "1")],
        &[("intake_batch", "100000")],
        &[("send_batch_events", "1")],
        &[("send_batch_bytes", "1")],
        &[("pack_messages", "1")],
        &[("pack_messages", "5000")],
        &[("cursor_cache", "false"), ("entity_batch", "2")],
        &[("speculation", "none"), ("cursor_cache", "false"), ("max_entities", "1")],
        &[("speculation", "none"), ("send_batch_bytes", "1"), ("pack_messages", "1")],
        &[("activity_scheduler", "static"), ("activity_queue_limit", "1")],
        &[("activity_scheduler", "local"), ("max_activities", "1"), ("max_orchestrations", "1")],
    ];
    for sets in extremes {
        let stage = Stage { sets, ..stage(application).on(3) };
        let outcome = stage.play(async |play: Rc<Play>| {
            play.start("writer!2", "Write", 40).await;
            play.start("tree", "Tree", 3).await;
            play.start("count", "Count", (0, 3)).await;
            for index in 0..4 {
                play.start(&format!("transfer-{index}"), "Transfer", (index, 3 - index, 7)).await;
            }
            play.ended(1 + 40 + 1 + 4).await;
            play.kernel.sleep(Duration::from_secs(8)).await;
            let book = state::<Vec<u32>>(&play, &EntityId::new("Log", "book!7")).await;
            (book, play.result::<u32>("tree").await, play.result::<u32>("count").await)
        });
        let (book, leaves, count) = outcome.sound().value;
        assert!(book.into_iter().flatten().eq(0..40), "{sets:?}");
        assert_eq!((leaves, count), (27, 3), "{sets:?}");
    }
}
