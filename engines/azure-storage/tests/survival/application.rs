//! What runs while hosts fail: chains, fan-outs, timers, children, and transfers between accounts.

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::OrchestrationContext;
use std::time::Duration;

/// How often a fan-out is made, one after the other.
pub const ROUNDS: u64 = 5;

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Account {
    pub balance: i64,
}

pub fn account(number: u32) -> EntityId {
    EntityId::new("Account", format!("a{number}"))
}

pub fn application() -> Application {
    let mut app = Application::new();
    app.activity("Double", |_: ActivityContext, number: u64| async move { Ok(2 * number) });
    app.orchestration("Chain", |ctx: OrchestrationContext, length: u64| async move {
        let mut number = 1;
        for _ in 0..length {
            number = ctx.call_activity("Double", &number).await?;
        }
        Ok(number)
    });
    app.orchestration("FanOut", |ctx: OrchestrationContext, width: u64| async move {
        let mut sum = 0;
        for _ in 0..ROUNDS {
            let calls = (0..width).map(|number| ctx.call_activity::<u64>("Double", &number));
            sum += try_join_all(calls).await?.into_iter().sum::<u64>();
        }
        Ok(sum)
    });
    app.orchestration("Timers", |ctx: OrchestrationContext, count: u64| async move {
        for _ in 0..count {
            ctx.sleep(Duration::from_millis(700)).await?;
        }
        Ok(count)
    });
    app.orchestration("Family", |ctx: OrchestrationContext, children: u64| async move {
        let calls = (0..children).map(|_| ctx.call_sub_orchestration::<u64>("Chain", &2_u64));
        Ok(try_join_all(calls).await?.into_iter().sum::<u64>())
    });
    app.entity::<Account>("Account").operation(
        "Add",
        |_: &mut EntityContext, account: &mut Account, amount: i64| {
            account.balance += amount;
            Ok(account.balance)
        },
    );
    app.entity::<u64>("Clerk").operation(
        "Work",
        |cx: &mut EntityContext, done: &mut u64, seconds: u64| {
            cx.wait(Duration::from_secs(seconds));
            *done += 1;
            Ok(*done)
        },
    );
    app.orchestration("Transfer", transfer);
    app
}

async fn transfer(
    ctx: OrchestrationContext,
    (from, to): (u32, u32),
) -> Result<u64, ApplicationError> {
    let (from, to) = (account(from), account(to));
    let section = ctx.lock(&[from.clone(), to.clone()]).await?;
    ctx.call_entity::<i64>(&from, "Add", &-10).await?;
    ctx.call_entity::<i64>(&to, "Add", &10).await?;
    section.release();
    Ok(10)
}
