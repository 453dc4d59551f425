//! What one episode appends to the history: exactly the events of the reference, in its order; and how
//! the time of an orchestration is accounted for.

mod common;

use common::{Options, Play, ms, names, payload};
use futures_util::future::{join_all, select};
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::engine::ClientMessage;
use sim_model::history::{EventKind, HistoryEvent, next_event_id};
use sim_model::id::{EntityId, InstanceId};
use sim_model::ledger::Category;
use sim_model::message::critical_ledger;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::time::Timestamp;
use std::rc::Rc;

/// `Main` is this code; there are activities, a counter and a child.
fn application<O, F, Fut>(code: F) -> Rc<Application>
where
    O: serde::Serialize + 'static,
    F: Fn(OrchestrationContext) -> Fut + 'static,
    Fut: Future<Output = Result<O, ApplicationError>> + 'static,
{
    let mut app = Application::new();
    app.orchestration("Main", move |ctx: OrchestrationContext, (): ()| code(ctx));
    app.orchestration("Child", |ctx: OrchestrationContext, fails: bool| async move {
        ctx.call_activity::<String>("SayHello", &"child").await?;
        if fails { Err(ApplicationError::user("as told")) } else { Ok(1) }
    });
    app.activity("SayHello", |_: ActivityContext, city: String| async move {
        Ok(format!("Hello {city}!"))
    });
    app.entity::<i64>("Counter").operation("Add", |_, count: &mut i64, amount: i64| {
        *count += amount;
        Ok(*count)
    });
    Rc::new(app)
}

fn counter(key: &str) -> EntityId {
    EntityId::new("Counter", key)
}

fn run<O, F, Fut>(code: F) -> Play
where
    O: serde::Serialize + 'static,
    F: Fn(OrchestrationContext) -> Fut + 'static,
    Fut: Future<Output = Result<O, ApplicationError>> + 'static,
{
    let mut play = Play::new(application(code), Options::fifo(1));
    play.start("Main", "main", ());
    play.run();
    play
}

/// The episodes of a history, without the two events that frame each.
fn episodes(history: &[HistoryEvent]) -> Vec<Vec<&'static str>> {
    let mut episodes: Vec<Vec<&'static str>> = Vec::new();
    for name in names(history) {
        match name {
            "OrchestratorStarted" => episodes.push(Vec::new()),
            "OrchestratorCompleted" => {}
            name => episodes.last_mut().expect("an episode has begun").push(name),
        }
    }
    let frames = names(history).iter().filter(|name| **name == "OrchestratorCompleted").count();
    assert_eq!(frames, episodes.len(), "each episode is completed");
    episodes
}

#[test]
fn hello_sequence_5_has_24_rows() {
    let play = run(|ctx| async move {
        let mut greetings = Vec::new();
        for city in ["Tokyo", "Seattle", "London", "Amsterdam", "Mumbai"] {
            greetings.push(ctx.call_activity::<String>("SayHello", &city).await?);
        }
        Ok(greetings)
    });
    let mut rows = Vec::new();
    for episode in 0..6 {
        let consumed = if episode == 0 { "ExecutionStarted" } else { "TaskCompleted" };
        let decided = if episode == 5 { "ExecutionCompleted" } else { "TaskScheduled" };
        rows.extend(["OrchestratorStarted", consumed, decided, "OrchestratorCompleted"]);
    }
    assert_eq!(rows.len(), 24);
    assert_eq!(names(play.history("main")), rows);
    assert_eq!(play.result::<Vec<String>>("main")[4], "Hello Mumbai!");
}

#[test]
fn answers_that_arrive_together_share_an_episode() {
    let play = run(|ctx| async move {
        let calls = (0..3).map(|_| ctx.call_activity::<String>("SayHello", &"all"));
        Ok(join_all(calls).await.len())
    });
    let episodes = episodes(play.history("main"));
    assert_eq!(
        episodes[0],
        ["ExecutionStarted", "TaskScheduled", "TaskScheduled", "TaskScheduled"]
    );
    let rest = episodes[1..].concat();
    let expected = ["TaskCompleted", "TaskCompleted", "TaskCompleted", "ExecutionCompleted"];
    assert_eq!(rest, expected);
}

#[test]
fn a_timer_is_created_and_fires() {
    let play = run(|ctx| async move {
        let before = ctx.now();
        ctx.sleep(ms(250)).await?;
        Ok(ctx.now().since(before) >= ms(250))
    });
    assert!(play.result::<bool>("main"));
    let expected =
        [vec!["ExecutionStarted", "TimerCreated"], vec!["TimerFired", "ExecutionCompleted"]];
    assert_eq!(episodes(play.history("main")), expected);
}

#[test]
fn a_timer_whose_instant_has_passed_fires() {
    let play = run(|ctx| async move { ctx.create_timer(Timestamp::ZERO).await });
    assert!(play.status("main").is_final());
    assert!(play.clock < Timestamp::from_millis(2), "{}", play.clock);
}

#[test]
fn a_sub_orchestration_is_created_and_ends() {
    for (fails, answer) in
        [(false, "SubOrchestrationInstanceCompleted"), (true, "SubOrchestrationInstanceFailed")]
    {
        let play = run(move |ctx| async move {
            let result = ctx.call_sub_orchestration::<u32>("Child", &fails).await;
            Ok(result.map_err(|error| error.message.to_string()))
        });
        let expected = [
            vec!["ExecutionStarted", "SubOrchestrationInstanceCreated"],
            vec![answer, "ExecutionCompleted"],
        ];
        assert_eq!(episodes(play.history("main")), expected);
        let result: Result<u32, String> = play.result("main");
        assert_eq!(result, if fails { Err("as told".to_string()) } else { Ok(1) });
        // The child is named after its parent and the number of the call.
        assert!(play.exists("main:0"));
    }
}

#[test]
fn a_second_orchestration_of_one_key_is_an_error_of_its_caller() {
    let play = run(|ctx| async move {
        let key = InstanceId::new("one");
        let first = ctx.call_sub_orchestration_as::<u32>("Child", key.clone(), &false);
        let second = ctx.call_sub_orchestration_as::<u32>("Child", key, &false).await;
        first.await?;
        Ok(second.map_err(|error| error.message.to_string()))
    });
    let second: Result<u32, String> = play.result("main");
    assert_eq!(second, Err("one is running already".to_string()));
}

#[test]
fn an_orchestration_that_nobody_waits_for_has_no_answer() {
    let play = run(|ctx| async move {
        ctx.start_orchestration("Child", InstanceId::new("free"), &false)?;
        Ok(())
    });
    assert_eq!(
        episodes(play.history("main")),
        [vec!["ExecutionStarted", "SubOrchestrationInstanceCreated", "ExecutionCompleted"]]
    );
    assert_eq!(play.result::<u32>("free"), 1);
}

#[test]
fn a_call_of_an_entity_is_sent_and_raised() {
    let play = run(|ctx| async move {
        ctx.signal_entity(&counter("a"), "Add", &5)?;
        ctx.call_entity::<i64>(&counter("a"), "Add", &2).await
    });
    assert_eq!(play.result::<i64>("main"), 7);
    assert_eq!(
        episodes(play.history("main")),
        [
            vec!["ExecutionStarted", "EventSent", "EventSent"],
            vec!["EventRaised", "ExecutionCompleted"]
        ]
    );
}

#[test]
fn an_entity_has_one_episode_however_long_it_lives() {
    let play = run(|ctx| async move {
        for _ in 0..10 {
            ctx.call_entity::<i64>(&counter("a"), "Add", &1).await?;
        }
        Ok(())
    });
    assert_eq!(play.entity::<i64>(&counter("a")), Some(10));
    let expected = ["OrchestratorStarted", "ExecutionStarted", "OrchestratorCompleted"];
    assert_eq!(names(play.history("@Counter@a")), expected);
}

#[test]
fn a_critical_section_is_one_request_one_grant_and_a_release_for_each_entity() {
    let play = run(|ctx| async move {
        let section = ctx.lock(&[counter("b"), counter("a"), counter("b")]).await?;
        let sum = ctx.call_entity::<i64>(&counter("a"), "Add", &1).await?;
        section.release();
        Ok(sum)
    });
    assert_eq!(
        episodes(play.history("main")),
        [
            vec!["ExecutionStarted", "EventSent"],
            vec!["EventRaised", "EventSent"],
            vec!["EventRaised", "EventSent", "EventSent", "ExecutionCompleted"],
        ]
    );
}

#[test]
fn continue_as_new_leaves_one_episode_with_what_was_not_taken() {
    let mut app = Application::new();
    app.orchestration("Main", |ctx: OrchestrationContext, round: u32| async move {
        if round == 0 {
            ctx.set_custom_status(&"first")?;
            ctx.sleep(ms(10)).await?;
            return ctx.continue_as_new(&1).await;
        }
        let oldest: u32 = ctx.wait_for_event("news").await?;
        let next: u32 = ctx.wait_for_event("news").await?;
        Ok((round, oldest, next))
    });
    let mut play = Play::new(Rc::new(app), Options::fifo(3));
    play.start("Main", "main", 0);
    for number in [7, 8] {
        let event = ClientMessage::RaiseEvent { name: "news".into(), input: payload(number) };
        play.send("main", event);
    }
    play.run();
    assert_eq!(play.result::<(u32, u32, u32)>("main"), (1, 7, 8));
    let expected = ["ExecutionStarted", "EventRaised", "EventRaised", "ExecutionCompleted"];
    assert_eq!(episodes(play.history("main")), [expected.to_vec()]);
    let EventKind::ExecutionStarted { first_event_id, carried, .. } = &play.history("main")[1].kind
    else {
        panic!("the second event is the start")
    };
    assert_eq!(*first_event_id, 1, "decisions are counted on");
    let carried = carried.as_ref().and_then(|carried| carried.custom_status.clone());
    assert_eq!(carried, Some(payload("first")));
    assert_eq!(play.last("main").custom_status, Some(payload("first")));
}

#[test]
fn a_new_life_goes_on_numbering_where_the_former_one_ended() {
    assert_eq!(next_event_id(&[]), 0);
    let play = run(|ctx| async move {
        ctx.call_activity::<String>("SayHello", &"London").await?;
        ctx.sleep(ms(1)).await
    });
    assert_eq!(next_event_id(play.history("main")), 2);
    // The start of a life that decides nothing keeps the number.
    let started = EventKind::ExecutionStarted {
        name: "Main".into(),
        input: payload(()),
        parent: None,
        first_event_id: 7,
        carried: None,
    };
    let start = HistoryEvent { timestamp: play.clock, kind: started };
    assert_eq!(next_event_id(&[start]), 7);
}

#[test]
fn a_terminated_orchestration_ends_with_the_event_that_ended_it() {
    let mut play = Play::new(
        application(|ctx| async move { ctx.wait_for_event::<()>("never").await }),
        Options::fifo(1),
    );
    play.start("Main", "main", ());
    play.run();
    play.send("main", ClientMessage::Suspend { reason: "wait".into() });
    play.run();
    assert_eq!(play.status("main"), RuntimeStatus::Suspended);
    play.send("main", ClientMessage::Resume { reason: "go".into() });
    play.run();
    assert_eq!(play.status("main"), RuntimeStatus::Running);
    play.send("main", ClientMessage::Terminate { reason: "enough".into() });
    play.run();
    assert_eq!(play.status("main"), RuntimeStatus::Terminated("enough".into()));
    let expected = [
        vec!["ExecutionStarted"],
        vec!["ExecutionSuspended"],
        vec!["ExecutionResumed"],
        vec!["ExecutionTerminated"],
    ];
    assert_eq!(episodes(play.history("main")), expected);
}

#[test]
fn what_arrives_while_suspended_is_kept_in_order() {
    let app = application(|ctx| async move {
        let mut seen: Vec<u32> = Vec::new();
        for _ in 0..2 {
            seen.push(ctx.wait_for_event("news").await?);
        }
        ctx.call_activity::<String>("SayHello", &"late").await?;
        Ok(seen)
    });
    let mut play = Play::new(app, Options::fifo(1));
    play.start("Main", "main", ());
    play.send("main", ClientMessage::Suspend { reason: "wait".into() });
    for number in [3, 4] {
        let event = ClientMessage::RaiseEvent { name: "news".into(), input: payload(number) };
        play.send("main", event);
    }
    play.run();
    assert!(!names(play.history("main")).contains(&"TaskScheduled"));
    play.send("main", ClientMessage::Resume { reason: "go".into() });
    play.run();
    assert_eq!(play.result::<Vec<u32>>("main"), [3, 4]);
}

/// The parts of the time of `main`, which must sum to its latency.
fn time_of(play: &Play) -> sim_model::ledger::Timing {
    // The last step of the orchestration consumed what the ledger of its latency is in.
    let steps: Vec<_> = play.taken.iter().filter(|step| step.instance.as_str() == "main").collect();
    let end = steps.last().expect("main took a step");
    let created = play.history("main").iter().find_map(|event| {
        matches!(event.kind, EventKind::ExecutionStarted { .. }).then_some(event.timestamp)
    });
    let created = created.expect("main was started");
    let ledger = critical_ledger(&end.consumed);
    assert_eq!(ledger.origin(), created, "nothing from outside is on the critical path");
    let timing = ledger.settle(created, end.at);
    assert_eq!(timing.total(), end.at.since(created), "the parts sum to the latency");
    timing
}

#[test]
fn the_parts_of_the_time_sum_to_the_latency() {
    for seed in 0..50 {
        let app = application(|ctx| async move {
            ctx.sleep(ms(100)).await?;
            ctx.call_sub_orchestration::<u32>("Child", &false).await?;
            let section = ctx.lock(&[counter("a"), counter("b")]).await?;
            ctx.call_entity::<i64>(&counter("a"), "Add", &1).await?;
            section.release();
            select(ctx.call_entity::<i64>(&counter("a"), "Add", &1), ctx.sleep(ms(60))).await;
            ctx.call_activity::<String>("SayHello", &"all").await
        });
        let mut play = Play::new(app, Options { delay_max: ms(20), ..Options::fifo(seed) });
        play.start("Main", "main", ());
        play.run();
        let timing = time_of(&play);
        // The first timer, and no more than the second.
        let slept = timing.get(Category::Application);
        assert!((ms(100)..=ms(160)).contains(&slept), "{slept:?}");
        // The activity of the child, and the orchestration's own.
        assert!(timing.get(Category::Network) >= ms(2));
    }
}
