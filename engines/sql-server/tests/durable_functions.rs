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
use stage::{Play, Stage, request, stage};
use std::rc::Rc;
use std::time::Duration;

const DAY: u64 = 24 * 3600;

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

fn account(number: u32) -> EntityId {
    EntityId::new("Account", format!("a{number}"))
}

fn log() -> EntityId {
    EntityId::new("Log", "book")
}

fn entities(app: &mut Application) {
    app.entity::<Account>("Account")
        .operation(
            "Get",
            |_: &mut EntityContext, account: &mut Account, (): ()| Ok(account.balance),
        )
        .operation("Add", |_: &mut EntityContext, account: &mut Account, amount: i64| {
            account.balance += amount;
            Ok(account.balance)
        });
    app.entity::<Vec<(u32, u32)>>("Log").operation(
        "Append",
        |_: &mut EntityContext, log: &mut Vec<(u32, u32)>, entry: (u32, u32)| {
            log.push(entry);
            Ok(())
        },
    );
    app.entity::<u32>("Alarm")
        .operation("Ring", |_: &mut EntityContext, rung: &mut u32, (): ()| {
            *rung += 1;
            Ok(())
        })
        .operation("SetFor", |cx: &mut EntityContext, _: &mut u32, seconds: u64| {
            let (own, at) = (cx.id().clone(), cx.now() + Duration::from_secs(seconds));
            cx.signal_at(&own, at, "Ring", &())
        });
}

fn application() -> Application {
    let mut app = Application::new();
    entities(&mut app);
    app.activity("One", |_: ActivityContext, (): ()| async move { Ok(1_u32) });
    app.orchestration("Transfer", transfer);
    app.orchestration("Sleep", |ctx: OrchestrationContext, seconds: u64| async move {
        ctx.set_custom_status(&"sleeping")?;
        ctx.sleep(Duration::from_secs(seconds)).await?;
        Ok(seconds)
    });
    app.orchestration(
        "Count",
        |ctx: OrchestrationContext, (at, end, width): (u32, u32, u32)| async move {
            let calls = (0..width).map(|_| ctx.call_activity::<u32>("One", &()));
            let sum: u32 = try_join_all(calls).await?.into_iter().sum();
            assert_eq!(sum, width);
            ctx.sleep(Duration::from_secs(1)).await?;
            if at < end {
                return ctx.continue_as_new(&(at + 1, end, width)).await;
            }
            Ok(at)
        },
    );
    app.orchestration("AddUp", |ctx: OrchestrationContext, n: u32| async move {
        let mut sum = 0;
        for _ in 0..n {
            sum += ctx.wait_for_event::<u32>("number").await?;
        }
        Ok(sum)
    });
    app.orchestration("Tree", |ctx: OrchestrationContext, depth: u32| async move {
        if depth == 0 {
            return ctx.call_activity::<u32>("One", &()).await;
        }
        let calls = (0..3).map(|_| ctx.call_sub_orchestration::<u32>("Tree", &(depth - 1)));
        Ok(try_join_all(calls).await?.into_iter().sum::<u32>())
    });
    app.orchestration(
        "CallAs",
        |ctx: OrchestrationContext, (child, seconds): (String, u64)| async move {
            let child = InstanceId::new(child);
            ctx.call_sub_orchestration_as::<u64>("Sleep", child, &seconds).await
        },
    );
    app.orchestration("Write", |ctx: OrchestrationContext, (writer, n): (u32, u32)| async move {
        // Some signals leave with a step of their own, some together.
        for number in 0..n {
            ctx.signal_entity(&log(), "Append", &(writer, number))?;
            if number % 3 == 0 {
                ctx.call_activity::<u32>("One", &()).await?;
            }
        }
        Ok(())
    });
    app
}

async fn transfer(
    ctx: OrchestrationContext,
    (from, to): (u32, u32),
) -> Result<bool, ApplicationError> {
    let (from, to) = (account(from), account(to));
    let section = ctx.lock(&[from.clone(), to.clone()]).await?;
    ctx.call_entity::<i64>(&from, "Get", &()).await?;
    ctx.call_entity::<i64>(&from, "Add", &-1000).await?;
    ctx.call_entity::<i64>(&to, "Add", &1000).await?;
    section.release();
    Ok(true)
}

fn completed(outcome: &stage::Outcome<impl Sized>) -> usize {
    let done = |status: &RuntimeStatus| matches!(status, RuntimeStatus::Completed(_));
    outcome.completions.iter().filter(|end| done(&end.status)).count()
}

/// Lock: orchestration, first account, second account, orchestration: three hops. Three calls of two
/// hops each. Each step is a fetch and a commit.
#[test]
fn a_transfer_is_twelve_steps() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        play.start("t", "Transfer", (1, 2)).await;
        assert!(play.result::<bool>("t").await);
        play.rest().await;
    });
    let outcome = outcome.sound();
    // The start, the lock and three calls; of the accounts a lock, calls and a release.
    assert_eq!(outcome.steps, 5 + (1 + 2 + 1) + (1 + 1 + 1));
    assert_eq!(outcome.counters["entity_steps"], 7);
    assert_eq!(outcome.operations["sql._CheckpointOrchestration"], 12);
}

#[test]
fn concurrent_transfers_conserve_the_sum() {
    for sets in [&[], &[("work_item_batch_size", "1")] as &[_]] {
        for seed in 1..=4 {
            let stage = Stage { seed, hosts: 3, sets, ..stage(application) };
            let outcome = stage.play(async |play: Rc<Play>| {
                let pairs = [(0, 1), (1, 0), (2, 3), (4, 3), (1, 4), (3, 0), (0, 2), (2, 0)];
                for (index, pair) in pairs.iter().chain(&pairs).enumerate() {
                    play.start(&format!("t{index}"), "Transfer", pair).await;
                }
                play.ended(16).await;
                play.rest().await;
                let mut sum = 0;
                for number in 0..5 {
                    sum += play.state::<Account>(&account(number)).await.expect("it").balance;
                }
                sum
            });
            let outcome = outcome.sound();
            assert_eq!((outcome.value, completed(&outcome)), (0, 16), "seed {seed}, {sets:?}");
        }
    }
}

#[test]
fn signals_of_each_sender_arrive_in_the_order_they_were_sent() {
    let run = |sets: &'static [(&'static str, &'static str)], seed: u64| {
        let stage = Stage { seed, hosts: 3, sets, ..stage(application) };
        let outcome = stage.play(async |play: Rc<Play>| {
            for writer in 0..10 {
                play.start(&format!("w{writer}"), "Write", (writer, 20)).await;
            }
            // Clients' signals carry no stamps: all arrive, in whatever order.
            let log = log();
            join_all((0..100).map(|number| play.signal(&log, "Append", (99, number)))).await;
            play.ended(10).await;
            play.rest().await;
            play.state::<Vec<(u32, u32)>>(&log).await.expect("a state")
        });
        let outcome = outcome.sound();
        assert_eq!(outcome.value.len(), 300);
        let of = |sender: u32| {
            let entries = outcome.value.iter().filter(|entry| entry.0 == sender);
            entries.map(|entry| entry.1).collect::<Vec<u32>>()
        };
        let mut of_client = of(99);
        of_client.sort_unstable();
        assert!(of_client.into_iter().eq(0..100));
        (0..10).filter(|writer| !of(*writer).into_iter().eq(0..20)).count()
    };
    for seed in 1..=5 {
        assert_eq!(run(&[], seed), 0, "seed {seed}");
    }
}

#[test]
fn a_step_takes_so_many_messages_and_no_more() {
    let run = |sets| {
        let stage = Stage { sets, ..stage(application) };
        let outcome = stage.play(async |play: Rc<Play>| {
            let log = log();
            join_all((0..100).map(|number| play.signal(&log, "Append", (0, number)))).await;
            play.rest().await;
            play.state::<Vec<(u32, u32)>>(&log).await.expect("a state").len()
        });
        let outcome = outcome.sound();
        assert_eq!(outcome.value, 100);
        outcome.counters["entity_steps"]
    };
    let (standard, large) = (run(&[]), run(&[("work_item_batch_size", "1000")]));
    assert!((10..=100).contains(&standard), "{standard} steps");
    assert!(large < standard, "{large} steps");
}

#[test]
fn timers_fire_at_their_time_and_not_before() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        for (index, seconds) in [40, 3, 3, 20, 0, 1].into_iter().enumerate() {
            play.start(&format!("s{index}"), "Sleep", seconds).await;
        }
        play.ended(6).await;
    });
    let outcome = outcome.sound();
    for end in &outcome.completions {
        let RuntimeStatus::Completed(result) = &end.status else { panic!("{end:?}") };
        let asked = Duration::from_secs(result.decode().expect("seconds"));
        let late = end.last_updated.since(end.created).checked_sub(asked).expect("not early");
        // An idle database is polled more and more rarely.
        assert!(late < Duration::from_secs(4), "{late:?} after {asked:?}");
        end.ledger.settle(end.created, end.last_updated);
    }
}

#[test]
fn timers_and_signals_wait_for_weeks() {
    let sets = &[("max_polling_interval", "1h")];
    let stage = Stage { sets, time_limit: Duration::from_secs(60 * DAY), ..stage(application) };
    let outcome = stage.play(async |play: Rc<Play>| {
        let alarm = EntityId::new("Alarm", "clock");
        play.start("s", "Sleep", 20 * DAY).await;
        play.signal(&alarm, "SetFor", 13 * DAY).await;
        play.kernel.sleep(Duration::from_secs(13 * DAY - 60)).await;
        assert_eq!(play.state::<u32>(&alarm).await, Some(0), "not yet");
        play.kernel.sleep(Duration::from_secs(2 * 3600)).await;
        assert_eq!(play.state::<u32>(&alarm).await, Some(1), "the signal came");
        play.ended(1).await;
    });
    let outcome = outcome.sound();
    let end = &outcome.completions[0];
    let slept = end.last_updated.since(end.created);
    let late = slept.checked_sub(Duration::from_secs(20 * DAY)).expect("not early");
    assert!(late < Duration::from_secs(2 * 3600), "{late:?}");
}

#[test]
fn an_orchestration_continues_as_new_for_ever() {
    for width in [0, 30] {
        let outcome = stage(application).play(async move |play: Rc<Play>| {
            play.start("c", "Count", (0, 12, width)).await;
            assert_eq!(play.result::<u32>("c").await, 12);
        });
        let outcome = outcome.sound();
        assert_eq!(outcome.completions.len(), 1);
    }
}

#[test]
fn sub_orchestrations_answer_and_a_second_caller_is_refused() {
    let stage = Stage { hosts: 3, ..stage(application) };
    let outcome = stage.play(async |play: Rc<Play>| {
        play.start("tree", "Tree", 3).await;
        assert_eq!(play.result::<u32>("tree").await, 27);
        play.start("first", "CallAs", ("child", 30)).await;
        play.kernel.sleep(Duration::from_secs(10)).await;
        play.start("second", "CallAs", ("child", 30)).await;
        let RuntimeStatus::Failed(error) = play.end("second").await else { panic!("refused") };
        assert!(error.to_string().contains("child is running"), "{error}");
        assert_eq!(play.result::<u64>("first").await, 30);
        // It has ended: another call begins it again.
        play.start("third", "CallAs", ("child", 1)).await;
        assert_eq!(play.result::<u64>("third").await, 1);
    });
    assert_eq!(outcome.sound().completions.len(), 40 + 2 + 1 + 2);
}

#[test]
fn events_suspension_and_termination() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        let (client, sum) = (play.client(), InstanceId::new("sum"));
        let raise = |instance: &str, number: u32| {
            let input = Payload::encode(&number).expect("a number");
            client.raise_event(InstanceId::new(instance), "number", input)
        };
        raise("nobody", 99).await.expect("taken, and dropped in the end");
        play.start("sum", "AddUp", 3).await;
        raise("sum", 1).await.expect("taken");
        client.suspend(sum.clone(), "wait").await.expect("taken");
        raise("sum", 2).await.expect("taken");
        raise("sum", 3).await.expect("taken");
        play.kernel.sleep(Duration::from_secs(60)).await;
        let state = client.status(sum.clone()).await.expect("an answer").expect("it exists");
        assert_eq!(state.status, RuntimeStatus::Suspended);
        client.resume(sum.clone(), "go on").await.expect("taken");
        assert_eq!(play.result::<u32>("sum").await, 6);
        raise("sum", 4).await.expect("taken, and dropped: it has ended");

        play.start("endless", "AddUp", 3).await;
        let endless = InstanceId::new("endless");
        client.terminate(endless.clone(), "enough").await.expect("taken");
        let state = client.wait(endless).await.expect("an answer");
        assert_eq!(state.status, RuntimeStatus::Terminated("enough".into()));
    });
    let outcome = outcome.sound();
    assert_eq!(outcome.completions.len(), 2);
}

#[test]
fn clients_look_replace_and_remove() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        let client = play.client();
        let refused =
            |answer: Result<(), ClientError>| matches!(answer, Err(ClientError::Refused(_)));
        play.start("sleep-1", "Sleep", 2).await;
        play.start("sleep-2", "Sleep", 100).await;
        play.signal(&account(7), "Add", 5).await;
        assert!(refused(client.start(request("sleep-1", "Sleep", 2)).await), "it runs");
        assert!(refused(client.start(request("@Log@x", "Sleep", 2)).await), "an entity's key");
        assert!(refused(client.purge(InstanceId::new("sleep-1")).await.map(drop)), "it runs");
        assert_eq!(play.result::<u64>("sleep-1").await, 2);

        let query = |query: InstanceQuery| {
            let client = client.clone();
            async move {
                let found = client.query(query).await.expect("an answer");
                found.into_iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()
            }
        };
        let all = query(InstanceQuery::default()).await;
        assert_eq!(all, ["@Account@a7", "sleep-1", "sleep-2"]);
        let prefix = Some("sleep".into());
        let ended = InstanceQuery { prefix, ended: Some(true), ..InstanceQuery::default() };
        assert_eq!(query(ended).await, ["sleep-1"]);
        let named = InstanceQuery { name: Some("Account".into()), ..InstanceQuery::default() };
        assert_eq!(query(named).await, ["@Account@a7"]);
        let state = client.status(InstanceId::new("sleep-2")).await.expect("it").expect("it");
        assert_eq!(state.custom_status.expect("set").as_str(), "\"sleeping\"");

        // A key whose orchestration has ended can be used again.
        play.start("sleep-1", "Sleep", 1).await;
        assert_eq!(play.result::<u64>("sleep-1").await, 1);
        play.rest().await;
        for (instance, existed) in [("sleep-1", true), ("sleep-1", false), ("@Account@a7", true)] {
            let purged = client.purge(InstanceId::new(instance)).await.expect("an answer");
            assert_eq!(purged, existed, "{instance}");
        }
        assert_eq!(query(InstanceQuery::default()).await, ["sleep-2"]);
        assert!(client.status(InstanceId::new("@Account@a7")).await.expect("it").is_none());
        // An entity that was removed begins anew.
        play.signal(&account(7), "Add", 3).await;
        play.rest().await;
        assert_eq!(play.state::<Account>(&account(7)).await.expect("it").balance, 3);
    });
    let outcome = outcome.sound();
    assert_eq!(outcome.completions.len(), 2, "sleep-2 sleeps");
}
