//! A key that is started again once its orchestration has ended: nothing of the former life reaches
//! the new one, on any engine.

use sim_lab::registry;
use sim_lab::trial;
use sim_lab::workload::JobContext;
use sim_model::application::{ActivityContext, Application};
use sim_model::engine::StartRequest;
use sim_model::entity::EntityContext;
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use std::time::Duration;

const KEY: &str = "again";

fn application() -> Application {
    let mut app = Application::new();
    app.activity("Wait", |cx: ActivityContext, seconds: u64| async move {
        cx.wait(Duration::from_secs(seconds)).await;
        Ok(seconds)
    });
    app.orchestration("Work", |ctx: OrchestrationContext, seconds: u64| async move {
        ctx.call_activity::<u64>("Wait", &seconds).await
    });
    app.orchestration("Child", |ctx: OrchestrationContext, seconds: u64| async move {
        ctx.sleep(Duration::from_secs(seconds)).await?;
        Ok(seconds)
    });
    app.orchestration("Parent", |ctx: OrchestrationContext, seconds: u64| async move {
        ctx.call_sub_orchestration::<u64>("Child", &seconds).await
    });
    app.orchestration("Lock", |ctx: OrchestrationContext, seconds: u64| async move {
        let account = EntityId::new("Account", "1");
        let section = ctx.lock(std::slice::from_ref(&account)).await?;
        ctx.sleep(Duration::from_secs(seconds)).await?;
        ctx.call_entity::<u64>(&account, "Add", &seconds).await?;
        section.release();
        Ok(seconds)
    });
    app.entity::<u64>("Account").operation(
        "Add",
        |_: &mut EntityContext, sum: &mut u64, amount: u64| {
            *sum += amount;
            Ok(*sum)
        },
    );
    app
}

async fn start(cx: &JobContext, name: &str, seconds: u64) {
    let input = Payload::encode(&seconds).expect("a number");
    let request = StartRequest { instance: InstanceId::new(KEY), name: name.into(), input };
    cx.client().start(request).await.expect("accepted");
}

/// Starts `name`, ends it in the middle, starts it again at once, and waits for the result.
async fn start_twice(cx: &JobContext, name: &str) -> Result<u64, String> {
    let key = InstanceId::new(KEY);
    start(cx, name, 20).await;
    cx.sleep(Duration::from_secs(5)).await;
    cx.client().terminate(key.clone(), "a test").await.expect("accepted");
    cx.client().wait(key.clone()).await.expect("it ends");
    start(cx, name, 60).await;
    match cx.client().wait(key).await.expect("it ends").status {
        RuntimeStatus::Completed(result) => Ok(result.decode().expect("a number")),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn answers_locks_and_children_of_a_former_life_are_not_those_of_the_new_one() {
    for engine in registry::engines() {
        for name in ["Work", "Parent", "Lock"] {
            let play = async move |cx: JobContext| start_twice(&cx, name).await;
            let result = trial::play(engine.name(), application, play);
            let result = result.expect("nothing waits for ever");
            assert_eq!(
                result,
                Ok(60),
                "{name} on {}: see InstanceMessage::number_decisions_from",
                engine.name()
            );
        }
    }
}
