//! Workflow as code on the whole engine: orchestrations, entities, critical sections, timers, events and
//! clients' requests, under the discipline of the paper.

mod stage;

use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::engine::{ClientError, InstanceQuery};
use sim_model::entity::EntityContext;
use sim_model::id::{EntityId, InstanceId};
use sim_model::ledger::Category;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use stage::{Play, Stage, request, stage};
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

fn account(number: u32) -> EntityId {
    EntityId::new("Account", number.to_string())
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
    app.activity("Hello", |_: ActivityContext, n: u32| async move { Ok(n) });
    app.orchestration("Hellos", |ctx: OrchestrationContext, n: u32| async move {
        let mut sum = 0;
        for number in 0..n {
            sum += ctx.call_activity::<u32>("Hello", &number).await?;
        }
        Ok(sum)
    });
    app.orchestration("FanOut", |ctx: OrchestrationContext, n: u32| async move {
        let calls = (0..n).map(|number| ctx.call_activity::<u32>("Hello", &number));
        Ok(try_join_all(calls).await?.into_iter().sum::<u32>())
    });
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
    app.orchestration("Tree", |ctx: OrchestrationContext, depth: u32| async move {
        if depth == 0 {
            return ctx.call_activity::<u32>("Hello", &1).await;
        }
        let calls = (0..3).map(|_| ctx.call_sub_orchestration::<u32>("Tree", &(depth - 1)));
        Ok(try_join_all(calls).await?.into_iter().sum::<u32>())
    });
    app.orchestration("Write", |ctx: OrchestrationContext, n: u32| async move {
        // Some messages leave with a step of their own, some together.
        for number in 0..n {
            ctx.signal_entity(&EntityId::new("Log", "book"), "Append", &number)?;
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

/// A look, a pod, and then steps of milliseconds.
#[test]
fn a_sequence_of_n_calls_takes_n_and_1_coordinator_runs_which_read_the_whole_stream() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        play.start("hello", "Hellos", 5_u32).await;
        play.result::<u32>("hello").await
    });
    let outcome = outcome.sound();
    assert_eq!(outcome.value, 10);
    assert_eq!(outcome.counter("coordinator_runs"), 6);
    let ends_of_calls = 5 * 6 / 2;
    let starts = 6;
    assert_eq!(outcome.counter("coordinator_events"), ends_of_calls + starts);
    assert_eq!(outcome.counter("invocations"), 5 + 6);
    let done = &outcome.completions[0];
    let timing = done.ledger.settle(done.created, done.last_updated);
    let seconds = |category| timing.get(category).as_secs_f64();
    assert!((4.9..5.1).contains(&seconds(Category::Polling)), "one polling interval: {timing:?}");
    assert!((1.9..2.2).contains(&seconds(Category::Queueing)), "a pod's start: {timing:?}");
    let rest = timing.total().as_secs_f64() - 7.0;
    assert!((0.02..0.3).contains(&rest), "{timing:?}");
    // Each workspace is made with three of them: its global context, its trigger, its row.
    let registered = outcome.operations_of("stream-store.hsetnx") - 3 * (1 + 4);
    assert_eq!(registered, 6, "the trigger for each next run, and how it ended");
}

#[test]
fn a_process_is_there_at_once() {
    let sets = &[("scaling", "standalone")];
    let outcome = Stage { sets, ..stage(application) }.play(async |play: Rc<Play>| {
        play.start("fan", "FanOut", 50_u32).await;
        play.result::<u32>("fan").await
    });
    let outcome = outcome.sound();
    assert_eq!(outcome.value, 49 * 50 / 2);
    let done = &outcome.completions[0];
    let took = done.last_updated.since(done.created);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(outcome.counter("coordinator_runs") < 51, "ends that come together are taken together");
    assert_eq!(outcome.operations_of("stream-store.xinfo"), 0, "nobody looks");
}

#[test]
fn concurrent_transfers_conserve_the_sum() {
    for seed in 1..=3 {
        let stage = Stage { seed, hosts: 3, ..stage(application) };
        let outcome = stage.play(async |play: Rc<Play>| {
            let pairs = [(0, 1), (1, 0), (2, 3), (4, 3), (1, 4), (3, 0), (0, 2), (2, 0)];
            for (index, (from, to)) in pairs.iter().chain(&pairs).enumerate() {
                let input = (*from, *to, 70_i64 + index as i64);
                play.start(&format!("transfer-{index}"), "Transfer", input).await;
            }
            play.ended(16).await;
            // The releases are still on their way.
            play.kernel.sleep(Duration::from_secs(5)).await;
            let mut sum = 0;
            for number in 0..5 {
                let account = state::<Account>(&play, &account(number)).await;
                sum += account.expect("an account").balance;
            }
            sum
        });
        let outcome = outcome.sound();
        assert_eq!((outcome.value, outcome.completions.len()), (0, 16), "only orchestrations end");
        let done = |done: &sim_model::engine::Completion| {
            matches!(done.status, RuntimeStatus::Completed(_))
        };
        assert!(outcome.completions.iter().all(done));
    }
}

#[test]
fn timers_wake_their_workflow_at_their_time_or_at_the_look_after_it() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        for seconds in [40, 3, 20, 0, 1] {
            play.start(&format!("sleep-{seconds}"), "Sleep", seconds).await;
        }
        play.ended(5).await;
    });
    let outcome = outcome.sound();
    for done in &outcome.completions {
        let RuntimeStatus::Completed(result) = &done.status else { panic!("{done:?}") };
        let asked = Duration::from_secs(result.decode().expect("seconds"));
        let slept = done.last_updated.since(done.created);
        // A start takes 7 s; a worker that has gone for want of events takes as long again.
        let late = slept - asked;
        assert!(late < Duration::from_millis(14_500), "{slept:?} instead of {asked:?}");
    }
}

#[test]
fn continue_as_new_keeps_the_stream_short() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        play.start("count", "Count", (0, 30)).await;
        play.result::<u32>("count").await
    });
    let outcome = outcome.sound();
    assert_eq!(outcome.value, 30);
    assert_eq!(outcome.completions.len(), 1);
    assert_eq!(outcome.counter("coordinator_runs"), 32);
    assert!(outcome.counter("coordinator_events") < 2 * 32, "each run reads what is new");
}

#[test]
fn an_entity_keeps_the_order_of_its_signals() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        let entity = EntityId::new("Log", "one");
        join_all((0..300).map(|number| signal(&play, &entity, "Append", number))).await;
        play.kernel.sleep(Duration::from_secs(15)).await;
        state::<Vec<u32>>(&play, &entity).await.expect("a state")
    });
    let outcome = outcome.sound();
    assert!(outcome.value.iter().copied().eq(0..300), "in the order they were sent");
    assert!(outcome.completions.is_empty(), "an entity never ends");
    assert_eq!(outcome.steps, 300, "each event fires");
    assert_eq!(outcome.counter("firings"), 300);
    assert_eq!(outcome.operations_of("stream-store.rpush"), 300);
}

#[test]
fn messages_of_one_instance_to_another_arrive_in_order() {
    for seed in 1..=2 {
        let stage = Stage { seed, hosts: 3, ..stage(application) };
        let outcome = stage.play(async |play: Rc<Play>| {
            play.start("writer", "Write", 60).await;
            play.ended(1).await;
            play.kernel.sleep(Duration::from_secs(20)).await;
            state::<Vec<u32>>(&play, &EntityId::new("Log", "book")).await
        });
        let book = outcome.sound().value.expect("a state");
        assert!(book.iter().copied().eq(0..60), "seed {seed}: {book:?}");
    }
}

#[test]
fn sub_orchestrations_have_workspaces_of_their_own() {
    let outcome = Stage { hosts: 4, ..stage(application) }.play(async |play: Rc<Play>| {
        play.start("tree", "Tree", 3).await;
        play.result::<u32>("tree").await
    });
    let outcome = outcome.sound();
    assert_eq!(outcome.value, 27);
    assert_eq!(outcome.completions.len(), 1 + 3 + 9 + 27, "each is reported");
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
        play.kernel.sleep(Duration::from_secs(15)).await;
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
        play.start("sleep-1", "Sleep", 10).await;
        play.start("sleep-2", "Sleep", 500).await;
        let refused = |answer| matches!(answer, Err(ClientError::Refused(_)));
        assert!(refused(client.start(request("sleep-1", "Sleep", 2)).await), "it runs");
        assert!(refused(client.start(request("@Log@x", "Sleep", 2)).await), "an entity's key");
        assert!(refused(client.purge(id.clone()).await.map(drop)), "it runs");
        play.kernel.sleep(Duration::from_secs(8)).await;
        let seen = client.status(id.clone()).await.expect("an answer").expect("it exists");
        assert_eq!(seen.custom_status, Payload::encode(&"sleeping").ok());
        assert_eq!(&*seen.name, "Sleep");
        assert_eq!(play.result::<u64>("sleep-1").await, 10);

        play.start("sleep-1", "Sleep", 1).await;
        assert_eq!(play.result::<u64>("sleep-1").await, 1, "replaced");
        let entity = EntityId::new("Log", "sleep");
        signal(&play, &entity, "Append", 1).await;
        play.kernel.sleep(Duration::from_secs(10)).await;

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
        play.kernel.sleep(Duration::from_secs(10)).await;
        assert_eq!(state(&play, &entity).await, Some(vec![2]), "a new life");
        let input = Payload::encode(&()).expect("nothing");
        client.signal_entity(&entity, "Clear", input).await.expect("taken");
        play.kernel.sleep(Duration::from_secs(10)).await;
        assert_eq!(keys(InstanceQuery::default()).await, ["sleep-2"], "implicit deletion");
    });
    assert_eq!(outcome.sound().completions.len(), 2);
}

#[test]
fn v3_refuses_to_run_code_whose_stream_it_would_delete() {
    let sets = &[("discipline", "v3")];
    let refused = Stage { sets, ..stage(application) }.refusal();
    assert!(refused.contains("discipline v3"), "{refused}");
}
