//! A mixture of workloads that a test plays while hosts fail, and the check of what came of it: chains
//! of activities, transfers between accounts in critical sections, fans of sub-orchestrations and
//! activities, and timers. The driver stands outside and retries like a person would: a request whose
//! outcome is unknown is looked up before it is repeated.

#![allow(dead_code, reason = "each file of tests uses its part")]

use crate::stage::{Play, request};
use futures_util::future::{join_all, try_join_all};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::engine::{Client, ClientError, StartRequest};
use sim_model::entity::EntityContext;
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use std::rc::Rc;
use std::time::Duration;

pub const HELLOS: u32 = 10;
pub const TRANSFERS: u32 = 10;
pub const FANS: u32 = 3;
pub const SLEEPS: u32 = 4;
const ACCOUNTS: u32 = 5;

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

fn account(number: u32) -> EntityId {
    EntityId::new("Account", format!("{number}!{}", 3 * number))
}

pub fn application() -> Application {
    let mut app = Application::new();
    app.activity("SayHello", |_: ActivityContext, city: String| async move {
        Ok(format!("Hello {city}!"))
    });
    app.orchestration("Hello", |ctx: OrchestrationContext, n: u32| async move {
        let mut greetings = 0;
        for number in 0..n {
            let greeting = ctx.call_activity::<String>("SayHello", &number.to_string()).await?;
            greetings += u32::from(greeting == format!("Hello {number}!"));
        }
        Ok(greetings)
    });
    app.entity::<Account>("Account")
        .operation("Get", |_: &mut EntityContext, held: &mut Account, (): ()| Ok(held.balance))
        .operation("Add", |_: &mut EntityContext, held: &mut Account, amount: i64| {
            held.balance += amount;
            Ok(())
        });
    app.orchestration("Transfer", transfer);
    app.orchestration("Fan", |ctx: OrchestrationContext, depth: u32| async move {
        if depth == 0 {
            let calls =
                (0..3).map(|number| ctx.call_activity::<String>("SayHello", &number.to_string()));
            return Ok(try_join_all(calls).await?.len() as u32);
        }
        let calls = (0..3).map(|_| ctx.call_sub_orchestration::<u32>("Fan", &(depth - 1)));
        Ok(try_join_all(calls).await?.into_iter().sum::<u32>())
    });
    app.activity("Pause", |ctx: ActivityContext, (): ()| async move {
        ctx.wait(Duration::from_secs(3)).await;
        Ok(())
    });
    app.orchestration("Wait", |ctx: OrchestrationContext, n: u32| async move {
        let calls = (0..n).map(|_| ctx.call_activity::<()>("Pause", &()));
        Ok(try_join_all(calls).await?.len() as u32)
    });
    app.orchestration("Sleep", |ctx: OrchestrationContext, seconds: u32| async move {
        ctx.sleep(Duration::from_secs(u64::from(seconds))).await?;
        Ok(seconds)
    });
    app
}

async fn transfer(
    ctx: OrchestrationContext,
    (from, to, amount): (u32, u32, i64),
) -> Result<i64, ApplicationError> {
    let (from, to) = (account(from), account(to));
    let _section = ctx.lock(&[from.clone(), to.clone()]).await?;
    ctx.call_entity::<i64>(&from, "Get", &()).await?;
    ctx.call_entity::<()>(&from, "Add", &-amount).await?;
    ctx.call_entity::<()>(&to, "Add", &amount).await?;
    Ok(amount)
}

fn transfer_of(index: u32) -> (u32, u32, i64) {
    let from = index % ACCOUNTS;
    let to = (from + 1 + index % (ACCOUNTS - 1)) % ACCOUNTS;
    (from, to, 10 + i64::from(index))
}

/// A client on a host that is up.
fn client(play: &Play, turn: usize) -> Option<Rc<dyn Client>> {
    let hosts = play.world.hosts().len();
    let host = (0..hosts).map(|step| (turn + step) % hosts).find(|host| play.is_up(*host))?;
    Some(play.hub.client(host))
}

/// Asks until there is an answer, each time of another host.
async fn ask<T, F: Future<Output = Result<T, ClientError>>>(
    play: &Play,
    question: impl Fn(Rc<dyn Client>) -> F,
) -> Result<T, String> {
    for turn in 0..200 {
        if let Some(client) = client(play, turn) {
            match play.kernel.timeout(Duration::from_secs(30), question(client)).await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(ClientError::Refused(reason))) => return Err(reason),
                Some(Err(ClientError::Unknown(_) | ClientError::Unavailable(_))) | None => {}
            }
        }
        play.kernel.sleep(Duration::from_secs(1)).await;
    }
    panic!("no answer after 200 questions at {}", play.kernel.now())
}

async fn start<I: Serialize>(play: &Play, instance: String, name: &str, input: I) {
    loop {
        let answer = match client(play, instance.len()) {
            Some(client) => {
                let started = client.start(request(&instance, name, &input));
                play.kernel.timeout(Duration::from_secs(60), started).await
            }
            None => None,
        };
        if let Some(Ok(())) = answer {
            return;
        }
        // It may be on its way still.
        play.kernel.sleep(Duration::from_secs(60)).await;
        let id = InstanceId::new(instance.as_str());
        let found = ask(play, |client| client.status(id.clone())).await.expect("an answer");
        if found.is_some() {
            return;
        }
    }
}

async fn result<O: DeserializeOwned>(play: &Play, instance: String) -> O {
    let id = InstanceId::new(instance.as_str());
    let state = ask(play, |client| client.wait(id.clone())).await;
    match state.unwrap_or_else(|reason| panic!("{instance}: {reason}")).status {
        RuntimeStatus::Completed(result) => result.decode().expect("a result of this type"),
        other => panic!("{instance} ended as {other:?}"),
    }
}

/// Plays the mixture to its end, and checks every result and every balance.
pub async fn play_all(play: &Play) {
    let number = |name: &'static str, count: u32| (0..count).map(move |n| format!("{name}-{n}"));
    let hellos = join_all(number("hello", HELLOS).map(|id| start(play, id, "Hello", 5)));
    let transfers = number("transfer", TRANSFERS).enumerate();
    let transfers =
        join_all(transfers.map(|(n, id)| start(play, id, "Transfer", transfer_of(n as u32))));
    let fans = join_all(number("fan", FANS).map(|id| start(play, id, "Fan", 2)));
    let sleeps = number("sleep", SLEEPS).enumerate();
    let sleeps = join_all(sleeps.map(|(n, id)| start(play, id, "Sleep", 1 + 2 * n as u32)));
    futures_util::join!(hellos, transfers, fans, sleeps);
    check(play).await;
}

/// All requests of the mixture, for a driver that looks at nothing but the graph.
pub fn requests() -> Vec<StartRequest> {
    let mut requests = Vec::new();
    requests.extend((0..HELLOS).map(|n| request(&format!("hello-{n}"), "Hello", 5)));
    let transfers = 0..TRANSFERS;
    requests
        .extend(transfers.map(|n| request(&format!("transfer-{n}"), "Transfer", transfer_of(n))));
    requests.extend((0..FANS).map(|n| request(&format!("fan-{n}"), "Fan", 2)));
    requests.extend((0..SLEEPS).map(|n| request(&format!("sleep-{n}"), "Sleep", 1 + 2 * n)));
    requests
}

/// Checks every result and every balance.
pub async fn check(play: &Play) {
    for n in 0..HELLOS {
        assert_eq!(result::<u32>(play, format!("hello-{n}")).await, 5);
    }
    for n in 0..FANS {
        assert_eq!(result::<u32>(play, format!("fan-{n}")).await, 27);
    }
    for n in 0..SLEEPS {
        assert_eq!(result::<u32>(play, format!("sleep-{n}")).await, 1 + 2 * n);
    }
    let mut balances = [0; ACCOUNTS as usize];
    for n in 0..TRANSFERS {
        let (from, to, amount) = transfer_of(n);
        assert_eq!(result::<i64>(play, format!("transfer-{n}")).await, amount);
        balances[from as usize] -= amount;
        balances[to as usize] += amount;
    }
    for (number, expected) in balances.into_iter().enumerate() {
        let id = account(number as u32).instance_id();
        let state = ask(play, |client| client.status(id.clone())).await.expect("an answer");
        let stored = state.and_then(|state| state.entity_state).expect("an account");
        let held: Account = stored.decode().expect("an account");
        assert_eq!(held.balance, expected, "account {number}");
    }
}

/// How many orchestrations end in all.
pub const COMPLETIONS: usize = (HELLOS + TRANSFERS + FANS * (1 + 3 + 9) + SLEEPS) as usize;
