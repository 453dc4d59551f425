//! The stage of this engine's tests.

#![allow(dead_code, unused_imports, reason = "each file of tests uses its part")]

use engine_triggerflow::Triggerflow;
use sim_model::application::{ActivityContext, Application};
use sim_model::orchestration::OrchestrationContext;
use sim_world::stage::ClientHost;
pub use sim_world::stage::{Outcome, Play, Stage, finding, request};
use std::time::Duration;

/// Two hosts that start up for a second; requests go to the first. Disciplines differ in what they lose,
/// so that a play does not wait for what is in flight.
pub fn stage(application: fn() -> Application) -> Stage {
    Stage {
        hosts: 2,
        client_host: ClientHost::First,
        settle: Duration::from_secs(1),
        rest: Duration::from_secs(2),
        tail: Duration::ZERO,
        time_limit: Duration::from_secs(7200),
        ..Stage::new(|| Box::new(Triggerflow), application)
    }
}

/// How many operations of this kind the store has served.
pub fn store_operations(play: &Play, kind: &str) -> u64 {
    play.world.meter().total("stream-store", kind)
}

/// Orchestrations that call so many activities of 400 ms, one after the other.
pub fn tasks() -> Application {
    let mut app = Application::new();
    app.activity("Work", |cx: ActivityContext, millis: u64| async move {
        cx.wait(Duration::from_millis(millis)).await;
        Ok(1_u32)
    });
    app.orchestration("Tasks", |ctx: OrchestrationContext, calls: u32| async move {
        let mut sum = 0;
        for _ in 0..calls {
            sum += ctx.call_activity::<u32>("Work", &400_u64).await?;
        }
        Ok(sum)
    });
    app
}
