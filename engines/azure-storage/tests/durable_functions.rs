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
use sim_model::time::Timestamp;
use stage::{Play, Stage, history_rows, instance_bytes, request, stage};
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
    app.entity::<String>("Text")
        .operation("Set", |_: &mut EntityContext, text: &mut String, bytes: usize| {
            *text = "x".repeat(bytes);
            Ok(())
        })
        .operation("Length", |_: &mut EntityContext, text: &mut String, (): ()| Ok(text.len()));
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
/// hops each. Each hop is one put into a control queue, and so is each release.
#[test]
fn a_transfer_is_nine_hops_and_two_releases() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        play.start("t", "Transfer", (1, 2)).await;
        assert!(play.result::<bool>("t").await);
        play.rest().await;
        for number in [1, 2] {
            let account = account(number).instance_id();
            assert_eq!(history_rows(&play, account.as_str()).await, 3, "constant");
        }
    });
    let outcome = outcome.sound();
    assert_eq!(outcome.operations["queue.put"], 1 + 9 + 2, "{:?}", outcome.operations);
    assert_eq!(outcome.operations["queue.delete"], 1 + 9 + 2);
    // The start, the lock and three calls; of the accounts a lock, calls and a release.
    assert_eq!(outcome.steps, 5 + (1 + 2 + 1) + (1 + 1 + 1));
    assert_eq!(outcome.counters["entity_steps"], 7);
    assert_eq!(outcome.operations["table.transaction"], 12);
    assert_eq!(outcome.counters["dedupe_reads"], 1, "only starts are looked up");
}

#[test]
fn concurrent_transfers_conserve_the_sum() {
    for sets in [&[("extended_sessions", "false")], &[("extended_sessions", "true")]] {
        for seed in 1..=4 {
            let stage = Stage { seed, sets, ..stage(application).on(3) };
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

/// A host is lost in the middle of the transfers and comes back. What it had in its hands is handed
/// out again after five minutes, and every transfer ends. The balances are exact, unless an
/// orchestration was cut off between the puts of a step and its history: when that step runs again,
/// what it sends carries other stamps, so that an operation can run twice. (The published engine
/// stamps with times, too.) The record of work items shows it: an entity has consumed what a step
/// sent that was never committed.
#[test]
fn after_a_crash_every_transfer_ends_and_only_cut_off_steps_run_twice() {
    let (mut exact, mut hit) = (0, 0);
    for seed in 1..=16 {
        let stage = Stage { seed, ..stage(application).on(2) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            for index in 0..12 {
                let pair = (2 * index, 2 * index + 1);
                play.start(&format!("t{index}"), "Transfer", pair).await;
            }
            play.kernel.sleep(Duration::from_millis(40 * seed)).await;
            let host = &play.world.hosts()[0];
            host.kill();
            play.kernel.sleep(Duration::from_secs(20)).await;
            host.restart();
            play.hub.start_host(0);
            play.ended(12).await;
            play.rest().await;
            let mut balances = Vec::new();
            for number in 0..24 {
                let state = play.state::<Account>(&account(number)).await;
                balances.push(state.expect("it").balance);
            }
            (balances, play.kernel.now())
        });
        let (balances, ended) = &outcome.value;
        hit += usize::from(*ended > Timestamp::from_secs(300));
        assert_eq!((completed(&outcome), outcome.completions.len()), (12, 12), "seed {seed}");
        assert_eq!(outcome.findings[2..4], [None, None], "seed {seed}");
        let expected: Vec<i64> = (0..24).map(|n| if n % 2 == 0 { -1000 } else { 1000 }).collect();
        if outcome.phantoms == 0 {
            assert_eq!(*balances, expected, "seed {seed}");
            exact += 1;
        }
        let moved = |(balance, expected): (&i64, &i64)| balance / expected;
        let times = balances.iter().zip(&expected).map(moved);
        let more: usize = times.map(|times| times as usize - 1).sum();
        assert!(more <= outcome.phantoms, "seed {seed}: {more} of {}", outcome.phantoms);
    }
    assert!(hit >= 8, "{hit} crashes hit something");
    assert!((4..16).contains(&exact), "{exact} of 16 without cut-off steps");
}

/// The transport keeps no order: puts overtake each other. The sorter in the entity restores it.
#[test]
fn signals_of_each_sender_arrive_in_the_order_they_were_sent() {
    let run = |sets: &'static [(&'static str, &'static str)], seed: u64| {
        let stage = Stage { seed, sets, ..stage(application).on(3) };
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
        assert_eq!(run(&[("extended_sessions", "true")], seed), 0, "seed {seed}");
    }
    for without in [&[("message_sorter", "false")], &[("entity_reorder_window", "0s")]] {
        let disordered: usize = (1..=5).map(|seed| run(without, seed)).sum();
        assert!(disordered > 0, "the sorter has something to do: {without:?}");
    }
}

#[test]
fn batches_are_cut_at_the_limit() {
    let run = |sets| {
        let stage = Stage { sets, ..stage(application) };
        let outcome = stage.play(async |play: Rc<Play>| {
            let log = log();
            join_all((0..200).map(|number| play.signal(&log, "Append", (0, number)))).await;
            play.rest().await;
            play.state::<Vec<(u32, u32)>>(&log).await.expect("a state").len()
        });
        let outcome = outcome.sound();
        assert_eq!(outcome.value, 200);
        outcome.counters["entity_steps"]
    };
    let (large, small) = (run(&[]), run(&[("entity_operation_batch_size", "5")]));
    assert!(large < 40, "{large} steps");
    assert!((40..400).contains(&small), "{small} steps");
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
    assert_eq!(outcome.counters["timers"], 6);
    for end in &outcome.completions {
        let RuntimeStatus::Completed(result) = &end.status else { panic!("{end:?}") };
        let asked = Duration::from_secs(result.decode().expect("seconds"));
        let late = end.last_updated.since(end.created).checked_sub(asked).expect("not early");
        // An idle queue is polled more and more rarely.
        assert!(late < Duration::from_secs(31), "{late:?} after {asked:?}");
        end.ledger.settle(end.created, end.last_updated);
    }
}

/// A queue hides a message for seven days at most.
#[test]
fn timers_of_weeks_are_hidden_in_stages() {
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
    assert_eq!(outcome.counters["timers_put_back"], 2, "after seven days and after fourteen");
    assert_eq!(outcome.counters["timers"], 1 + 3, "a signal is sent again every six days");
}

/// The history of an orchestration that continues as new for ever does not grow, whether it fits one
/// transaction or not.
#[test]
fn continue_as_new_keeps_the_history_bounded() {
    for (width, bound) in [(0, 10), (150, 2 * 460)] {
        for sets in [&[("extended_sessions", "false")], &[("extended_sessions", "true")]] {
            let stage = Stage { sets, ..stage(application) };
            let outcome = stage.play(async move |play: Rc<Play>| {
                play.start("c", "Count", (0, 12, width)).await;
                let mut most = 0;
                while play.completions.borrow().is_empty() {
                    play.kernel.sleep(Duration::from_millis(700)).await;
                    most = most.max(history_rows(&play, "c").await);
                }
                assert_eq!(play.result::<u32>("c").await, 12);
                most
            });
            let outcome = outcome.sound();
            assert!(outcome.value <= bound, "{} rows of width {width}", outcome.value);
            assert_eq!(outcome.counters["replaced_histories"], 12);
            assert_eq!(outcome.completions.len(), 1);
        }
    }
}

#[test]
fn sub_orchestrations_answer_and_a_second_caller_is_refused() {
    let stage = stage(application).on(3);
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
fn large_states_go_through_blobs_and_extended_sessions_read_them_once() {
    let run = |sets| {
        let stage = Stage { sets, ..stage(application) };
        let outcome = stage.play(async |play: Rc<Play>| {
            let text = EntityId::new("Text", "t");
            play.signal(&text, "Set", 100_000).await;
            play.rest().await;
            let small = instance_bytes(&play, "@Text@t").await;
            play.signal(&text, "Length", ()).await;
            play.signal(&text, "Set", 20_000).await;
            play.rest().await;
            let state = play.state::<String>(&text).await.expect("a state");
            assert_eq!(state.len(), 20_000);
            // A pointer into a blob, and then all that the entity remembers.
            assert!(small < 1000, "{small} bytes");
            let inline = instance_bytes(&play, "@Text@t").await;
            assert!((20_000..22_000).contains(&inline), "{inline} bytes");
        });
        let outcome = outcome.sound();
        assert!(outcome.counters["large_writes"] >= 2, "a history row and the Instances row");
        (outcome.counters["history_reads"], outcome.counters["extended_session_hits"])
    };
    let (plain, kept) = (run(&[]), run(&[("extended_sessions", "true")]));
    assert!(kept.0 < plain.0, "{kept:?} and {plain:?}");
    assert!(plain.1 == 0 && kept.1 >= 1);
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
    assert_eq!(outcome.counters["client_messages"], 8);
    assert!(outcome.counters["discards"] >= 2, "{:?}", outcome.counters);
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
        assert_eq!(history_rows(&play, "sleep-1").await, 0);
        assert_eq!(query(InstanceQuery::default()).await, ["sleep-2"]);
        assert!(client.status(InstanceId::new("@Account@a7")).await.expect("it").is_none());
        // An entity that was removed begins anew.
        play.signal(&account(7), "Add", 3).await;
        play.rest().await;
        assert_eq!(play.state::<Account>(&account(7)).await.expect("it").balance, 3);
    });
    let outcome = outcome.sound();
    assert_eq!((outcome.completions.len(), outcome.counters["purges"]), (2, 2), "sleep-2 sleeps");
}
