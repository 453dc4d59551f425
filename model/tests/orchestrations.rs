//! What orchestration code may rely on: calls begin when they are made, events are received in order,
//! retries and continue-as-new do what they say, and clients may intervene at any moment.

mod common;

use common::{Options, Play, message_to, ms, names, payload, step_alone};
use futures_util::future::{Either, join, join_all, select};
use sim_model::application::{ActivityContext, Application, ApplicationError, ErrorKind};
use sim_model::cursor::Cursor;
use sim_model::engine::ClientMessage;
use sim_model::history::EventKind;
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::{OrchestrationContext, RetryPolicy, RuntimeStatus};
use sim_model::time::Timestamp;
use std::cell::Cell;
use std::rc::Rc;

fn application<O, F, Fut>(code: F) -> Rc<Application>
where
    O: serde::Serialize + 'static,
    F: Fn(OrchestrationContext, u32) -> Fut + 'static,
    Fut: Future<Output = Result<O, ApplicationError>> + 'static,
{
    let mut app = Application::new();
    app.orchestration("Main", code);
    app.activity("Double", |_: ActivityContext, number: u32| async move { Ok(2 * number) });
    let attempts = Rc::new(Cell::new(0));
    app.activity("Third", move |_: ActivityContext, _: u32| {
        attempts.set(attempts.get() + 1);
        let attempt = attempts.get();
        async move {
            match attempt {
                3 => Ok(attempt),
                _ => Err(ApplicationError::user(format!("attempt {attempt}"))),
            }
        }
    });
    app.entity::<u32>("Counter").operation("Add", |_, count: &mut u32, amount: u32| {
        *count += amount;
        Ok(*count)
    });
    Rc::new(app)
}

fn play<O, F, Fut>(code: F) -> Play
where
    O: serde::Serialize + 'static,
    F: Fn(OrchestrationContext, u32) -> Fut + 'static,
    Fut: Future<Output = Result<O, ApplicationError>> + 'static,
{
    let mut play = Play::new(application(code), Options::fifo(1));
    play.start("Main", "main", 0);
    play
}

fn event(number: u32) -> ClientMessage {
    ClientMessage::RaiseEvent { name: "news".into(), input: payload(number) }
}

/// Retries with these pauses: how long they took, and the result.
fn retry(policy: RetryPolicy) -> (u64, Result<u32, String>) {
    let mut play = play(move |ctx, _| async move {
        let begun = ctx.now();
        let result = ctx.call_activity_with_retry::<u32>("Third", &1, policy).await;
        let pauses = ctx.now().since(begun).as_millis() as u64 / 10 * 10;
        Ok((pauses, result.map_err(|error| error.message.to_string())))
    });
    play.run();
    play.result("main")
}

#[test]
fn retries_pause_longer_and_longer_and_end_as_the_policy_says() {
    let policy = RetryPolicy { backoff: 2.0, ..RetryPolicy::new(ms(100), 5) };
    assert_eq!(retry(policy), (300, Ok(3)), "pauses of 100 and 200 ms, then it succeeds");
    let capped = RetryPolicy { max_interval: Some(ms(120)), ..policy };
    assert_eq!(retry(capped), (220, Ok(3)));
    let twice = RetryPolicy { max_attempts: 2, ..policy };
    assert_eq!(retry(twice), (100, Err("attempt 2".to_string())));
    let hasty = RetryPolicy { timeout: Some(ms(50)), ..policy };
    assert_eq!(retry(hasty), (100, Err("attempt 2".to_string())));
    for attempts in [0, 1] {
        let once = RetryPolicy { max_attempts: attempts, ..policy };
        assert_eq!(retry(once), (0, Err("attempt 1".to_string())));
    }
}

#[test]
fn calls_with_retries_run_side_by_side_from_the_moment_they_are_made() {
    let mut play = play(|ctx, _| async move {
        let policy = RetryPolicy::new(ms(10), 3);
        let first = ctx.call_activity_with_retry::<u32>("Double", &1, policy);
        let second = ctx.call_sub_orchestration_with_retry::<u32>("Missing", &1, policy);
        let third = ctx.call_activity::<u32>("Double", &4).await?;
        drop(second);
        Ok(first.await? + third)
    });
    play.run();
    assert_eq!(play.result::<u32>("main"), 10);
    let expected = [
        "OrchestratorStarted",
        "ExecutionStarted",
        "TaskScheduled",
        "SubOrchestrationInstanceCreated",
        "TaskScheduled",
        "OrchestratorCompleted",
    ];
    assert_eq!(names(play.history("main"))[..6], expected);
}

#[test]
fn a_large_input_of_a_retried_sub_orchestration_arrives_unchanged() {
    let mut app = Application::new();
    app.orchestration("Main", |ctx: OrchestrationContext, (): ()| async move {
        let policy = RetryPolicy::new(ms(10), 3);
        ctx.call_sub_orchestration_with_retry::<u128>("Echo", &u128::MAX, policy).await
    });
    app.orchestration("Echo", |_, input: u128| async move { Ok(input) });
    let mut play = Play::new(Rc::new(app), Options::fifo(1));
    play.start("Main", "main", ());
    play.run();
    assert_eq!(play.result::<u128>("main"), u128::MAX);
}

#[test]
fn events_are_received_in_the_order_they_came_by_waits_in_the_order_they_were_made() {
    let mut play = play(|ctx, _| async move {
        let waits = (0..3).map(|_| ctx.wait_for_event::<u32>("news"));
        join_all(waits).await.into_iter().collect::<Result<Vec<_>, _>>()
    });
    for number in [5, 6, 7] {
        play.send("main", event(number));
    }
    play.run();
    assert_eq!(play.result::<Vec<u32>>("main"), [5, 6, 7]);
}

#[test]
fn a_wait_that_is_dropped_leaves_its_event_to_the_next() {
    let mut play = play(|ctx, _| async move {
        let first = ctx.wait_for_event::<u32>("news");
        let second = ctx.wait_for_event::<u32>("news");
        ctx.sleep(ms(10)).await?;
        // The event has come to the first, and nobody has looked.
        drop(first);
        second.await
    });
    let at = play.clock + ms(5);
    play.send_at(&InstanceId::new("main"), event(8), at);
    play.run();
    assert_eq!(play.result::<u32>("main"), 8);
}

#[test]
fn a_wait_that_is_dropped_wakes_the_next_that_waits_already() {
    let mut play = play(|ctx, _| async move {
        let first = ctx.wait_for_event::<u32>("news");
        let second = ctx.wait_for_event::<u32>("news");
        let impatient = async {
            ctx.sleep(ms(10)).await?;
            drop(first);
            Ok(0)
        };
        // More than 30 futures, of which `join_all` polls only those that were woken.
        let others = (0..40).map(|_| Either::Right(std::future::ready(Ok(1))));
        let waits = [Either::Left(Either::Left(second)), Either::Left(Either::Right(impatient))];
        let all = join_all(waits.into_iter().chain(others)).await;
        all.into_iter().sum::<Result<u32, ApplicationError>>()
    });
    let at = play.clock + ms(5);
    play.send_at(&InstanceId::new("main"), event(8), at);
    play.run();
    assert_eq!(play.result::<u32>("main"), 48);
}

#[test]
fn events_that_were_not_taken_are_carried_over_in_the_order_they_came() {
    let mut play = play(|ctx, round| async move {
        if round == 0 {
            let waits: Vec<_> = (0..2).map(|_| ctx.wait_for_event::<u32>("news")).collect();
            ctx.sleep(ms(10)).await?;
            // Two events have come to these waits, and a third to nobody.
            drop(waits);
            return ctx.continue_as_new(&1).await;
        }
        let mut seen: Vec<u32> = Vec::new();
        for _ in 0..3 {
            seen.push(ctx.wait_for_event("news").await?);
        }
        Ok(seen)
    });
    for number in [1, 2, 3] {
        play.send("main", event(number));
    }
    play.run();
    assert_eq!(play.result::<Vec<u32>>("main"), [1, 2, 3]);
}

#[test]
fn answers_to_a_former_execution_are_without_effect() {
    let mut play = play(|ctx, round| async move {
        if round < 3 {
            drop(ctx.call_activity::<u32>("Double", &round));
            drop(ctx.sleep(ms(30)));
            return ctx.continue_as_new(&(round + 1)).await;
        }
        let mut seen = Vec::new();
        for number in [10, 20] {
            seen.push(ctx.call_activity::<u32>("Double", &number).await?);
            ctx.sleep(ms(40)).await?;
        }
        Ok(seen)
    });
    play.run();
    assert_eq!(play.result::<Vec<u32>>("main"), [20, 40]);
}

#[test]
fn continue_as_new_that_is_not_awaited_does_nothing() {
    let mut play = play(|ctx, round| async move {
        drop(ctx.continue_as_new::<u32>(&(round + 1)));
        ctx.sleep(ms(1)).await?;
        Ok(round)
    });
    play.run();
    assert_eq!(play.result::<u32>("main"), 0);
}

#[test]
fn continuing_for_ever_without_waiting_is_misuse() {
    let mut play = play(|ctx, round| async move { ctx.continue_as_new::<()>(&(round + 1)).await });
    play.run();
    let error = play.error("main");
    assert_eq!(error.kind, ErrorKind::Misuse);
    assert!(error.message.contains("1000 times without waiting"), "{error}");
}

#[test]
fn a_suspension_that_comes_with_the_end_of_an_execution_holds() {
    let app = application(|ctx, round| async move {
        match round {
            0 => {
                ctx.wait_for_event::<u32>("news").await?;
                ctx.continue_as_new(&1).await
            }
            _ => ctx.wait_for_event::<u32>("news").await,
        }
    });
    let at = Timestamp::from_millis(3);
    let message = |kind: EventKind| message_to("main", kind, at);
    let mut kept = Cursor::new(app.clone(), InstanceId::new("main"));
    let start = EventKind::execution_started("Main".into(), payload(0));
    let suspend = ClientMessage::Suspend { reason: "wait".into() }.into_event();
    let batch = [start, event(1).into_event(), suspend, event(2).into_event()];
    let first = step_alone(&mut kept, 0, batch.into_iter().map(message).collect());
    assert_eq!(first.status, RuntimeStatus::Suspended);
    assert!(!first.replaces_history);
    let mut rebuilt = Cursor::replay(app, InstanceId::new("main"), &first.new_events);
    common::assert_same(&kept, &rebuilt);
    let resume = message(ClientMessage::Resume { reason: "go".into() }.into_event());
    let outcome = step_alone(&mut kept, 1, vec![resume.clone()]);
    assert_eq!(outcome, step_alone(&mut rebuilt, 1, vec![resume]));
    assert_eq!(outcome.status, RuntimeStatus::Completed(payload(2)));
    assert!(outcome.replaces_history);
}

#[test]
fn an_orchestration_that_is_terminated_before_its_start_does_nothing() {
    let app =
        application(|ctx, number| async move { ctx.call_activity::<u32>("Double", &number).await });
    let message = |kind| message_to("main", kind, Timestamp::from_millis(3));
    let terminate = ClientMessage::Terminate { reason: "no".into() }.into_event();
    let start = EventKind::execution_started("Main".into(), payload(0));
    let mut cursor = Cursor::new(app.clone(), InstanceId::new("main"));
    let outcome = step_alone(&mut cursor, 0, vec![message(terminate), message(start)]);
    assert_eq!(outcome.status, RuntimeStatus::Terminated("no".into()));
    assert_eq!(outcome.produced(), 0);
    let replayed = Cursor::replay(app, InstanceId::new("main"), &outcome.new_events);
    common::assert_same(&cursor, &replayed);
}

#[test]
fn a_terminated_orchestration_stays_so_whatever_its_code_does_now() {
    let mut play = play(|ctx, _| async move {
        let _section = ctx.lock(&[EntityId::new("Counter", "1")]).await?;
        ctx.wait_for_event::<u32>("never").await
    });
    play.run();
    play.send("main", ClientMessage::Terminate { reason: "enough".into() });
    play.run();
    assert_eq!(play.status("main"), RuntimeStatus::Terminated("enough".into()));
    for changed in [
        application(|ctx, _| async move { ctx.sleep(ms(1)).await }),
        application(|ctx, _| async move {
            drop(ctx.lock(&[EntityId::new("Counter", "1")]).await?);
            ctx.wait_for_event::<()>("never").await
        }),
        // Takes its lock out of reach of its own drop: nothing is released where history says so.
        application(|ctx, _| async move {
            std::mem::forget(ctx.lock(&[EntityId::new("Counter", "1")]).await?);
            ctx.wait_for_event::<u32>("never").await
        }),
        Rc::new(Application::new()),
    ] {
        let replayed = Cursor::replay(changed, InstanceId::new("main"), play.history("main"));
        assert_eq!(replayed.status(), &RuntimeStatus::Terminated("enough".into()));
    }
}

#[test]
fn continuing_as_new_where_the_history_does_not_is_named() {
    let mut play = play(|ctx, _| async move { ctx.wait_for_event::<u32>("news").await });
    play.run();
    let changed = application(|ctx, _| async move { ctx.continue_as_new::<u32>(&1).await });
    let mut cursor = Cursor::replay(changed, InstanceId::new("main"), play.history("main"));
    let outcome = step_alone(&mut cursor, 9, vec![play.event("main", "news")]);
    let expected = "on replay the code continued as new, which the history does not have";
    let error = ApplicationError::non_determinism(expected);
    assert_eq!(outcome.status, RuntimeStatus::Failed(error));
}

#[test]
fn an_orchestration_whose_code_went_astray_can_be_terminated() {
    let mut play = play(|ctx, _| async move { ctx.wait_for_event::<u32>("news").await });
    play.run();
    let changed = application(|_, _| async move { Ok(()) });
    let mut cursor = Cursor::replay(changed, InstanceId::new("main"), play.history("main"));
    let terminate = ClientMessage::Terminate { reason: "enough".into() }.into_event();
    let message = message_to("main", terminate, play.clock);
    let outcome = step_alone(&mut cursor, 9, vec![message]);
    assert_eq!(outcome.status, RuntimeStatus::Terminated("enough".into()));
    let ends = outcome.new_events.iter().filter(|event| event.kind.is_end()).count();
    assert_eq!(ends, 1);
}

#[test]
fn the_loser_of_a_race_runs_on_and_is_ignored() {
    let mut play = play(|ctx, _| async move {
        let call = ctx.call_activity::<u32>("Double", &3);
        let winner = match select(ctx.sleep(ms(0)), call).await {
            Either::Left(_) => "timer",
            Either::Right(_) => "call",
        };
        ctx.sleep(ms(50)).await?;
        Ok(winner)
    });
    play.run();
    assert_eq!(play.result::<String>("main"), "timer");
    assert!(names(play.history("main")).contains(&"TaskCompleted"));
}

#[test]
fn events_go_from_orchestration_to_orchestration() {
    let mut app = Application::new();
    app.orchestration("Ask", |ctx: OrchestrationContext, (): ()| async move {
        let child = InstanceId::new("child");
        let answer =
            ctx.call_sub_orchestration_as::<u32>("Tell", child.clone(), &ctx.instance_id());
        let ready: u32 = ctx.wait_for_event("ready").await?;
        ctx.raise_event(&child, "go", &(ready + 1))?;
        answer.await
    });
    app.orchestration("Tell", |ctx: OrchestrationContext, parent: InstanceId| async move {
        ctx.raise_event(&parent, "ready", &1)?;
        ctx.wait_for_event::<u32>("go").await
    });
    let mut play = Play::new(Rc::new(app), Options::disorderly(1));
    play.start("Ask", "main", ());
    play.run();
    assert_eq!(play.result::<u32>("main"), 2);
}

#[test]
fn an_entity_is_no_orchestration() {
    let mut play = play(|ctx, _| async move {
        let key = EntityId::new("Counter", "1").instance_id();
        let called = ctx.call_sub_orchestration_as::<u32>("Main", key.clone(), &0).await;
        let started = ctx.start_orchestration("Main", key.clone(), &0);
        let raised = ctx.raise_event(&key, "news", &0);
        let errors = [called.map(drop), started, raised];
        Ok(errors.map(|result| result.map_err(|error| error.kind == ErrorKind::Misuse)))
    });
    play.run();
    assert_eq!(play.result::<[Result<(), bool>; 3]>("main"), [Err(true); 3]);
}

#[test]
fn what_two_parts_of_the_code_await_side_by_side_comes_to_each() {
    let mut play = play(|ctx, _| async move {
        let chain = |number: u32| {
            let ctx = ctx.clone();
            async move {
                ctx.sleep(ms(u64::from(number))).await?;
                let doubled: u32 = ctx.call_activity("Double", &number).await?;
                ctx.call_entity::<u32>(&EntityId::new("Counter", "1"), "Add", &doubled).await
            }
        };
        let (left, right) = join(chain(3), chain(40)).await;
        Ok((left?, right?))
    });
    play.run();
    assert_eq!(play.result::<(u32, u32)>("main"), (6, 86));
}
