//! Where activities run: one orchestration calls many that each need a core for a while.

mod stage;

use futures_util::future::try_join_all;
use sim_model::application::{ActivityContext, Application};
use sim_model::orchestration::OrchestrationContext;
use stage::{Outcome, Play, Stage, stage};
use std::rc::Rc;
use std::time::Duration;

/// Core time of one activity.
const WORK: Duration = Duration::from_secs(1);

fn application() -> Application {
    let mut app = Application::new();
    app.activity("Search", |cx: ActivityContext, number: u32| async move {
        cx.compute(WORK).await;
        Ok(number)
    });
    app.orchestration("Flat", |ctx: OrchestrationContext, n: u32| async move {
        let calls = (0..n).map(|number| ctx.call_activity::<u32>("Search", &number));
        Ok(try_join_all(calls).await?.into_iter().sum::<u32>())
    });
    app.orchestration("Divide", |ctx: OrchestrationContext, n: u32| async move {
        let calls = (0..n).map(|_| ctx.call_sub_orchestration::<u32>("Flat", &20_u32));
        Ok(try_join_all(calls).await?.into_iter().sum::<u32>())
    });
    app
}

/// One orchestration with 1,000 activities on 4 hosts with one core each.
fn run(sets: &'static [(&'static str, &'static str)]) -> Outcome<u32> {
    let stage = Stage { plan: "EP1", sets, ..stage(application).on(4) };
    stage.play(async |play: Rc<Play>| {
        play.start("flat!0", "Flat", 1_000).await;
        play.ended(1).await;
        play.result("flat!0").await
    })
}

#[test]
fn cpu_heavy_activities_are_brought_to_all_hosts() {
    let local = run(&[("activity_scheduler", "local")]).sound();
    assert_eq!((local.counter("moved_activities"), local.counter("load_reports")), (0, 0));
    let latency = |outcome: &Outcome<u32>| {
        let done = &outcome.completions[0];
        done.last_updated.since(done.created).as_secs_f64()
    };
    let sets: [&'static [_]; 2] = [&[("activity_scheduler", "static")], &[]];
    for (name, sets) in ["static", "locavore"].into_iter().zip(sets) {
        let moved = run(sets).sound();
        assert_eq!(moved.value, local.value);
        let faster = latency(&local) / latency(&moved);
        assert!((3.5..4.0).contains(&faster), "{name} is {faster:.2} times as fast as local");
        assert_eq!(moved.counter("transfer_commands") > 0, name == "locavore");
    }
}

/// Messages, moved activities and their results share the ways between partitions. Each must keep
/// its place, with and without speculation: a receiver drops what comes too late.
#[test]
fn moved_activities_and_messages_keep_their_order() {
    let none: &'static [_] = &[("speculation", "none"), ("activity_queue_limit", "1")];
    let local: &'static [_] = &[("activity_queue_limit", "1")];
    let dealt: &'static [_] =
        &[("speculation", "none"), ("activity_queue_limit", "1"), ("activity_scheduler", "static")];
    for sets in [none, local, dealt] {
        let stage = Stage { plan: "EP1", sets, ..stage(application).on(4) };
        let outcome = stage.play(async |play: Rc<Play>| {
            for index in 0..4 {
                play.start(&format!("divide-{index}"), "Divide", 12).await;
            }
            play.ended(4 * 13).await;
            play.result::<u32>("divide-0").await
        });
        let outcome = outcome.sound();
        assert_eq!(outcome.value, 12 * (0..20).sum::<u32>());
        assert!(outcome.counter("moved_activities") > 0);
    }
}
