//! Crashes of hosts and of the database, frozen hosts, networks that fail, and what happens without the
//! checks.

mod stage;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sim_model::application::{ActivityContext, Application};
use sim_model::entity::EntityContext;
use sim_model::id::EntityId;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_world::fault::{LinkTrouble, Pattern, ServiceTrouble, Trouble};
use stage::{Outcome, Play, Stage, database, request, stage};
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

fn account(number: u32) -> EntityId {
    EntityId::new("Account", format!("a{number}"))
}

fn application() -> Application {
    let mut app = Application::new();
    app.activity("Compute", |ctx: ActivityContext, millis: u64| async move {
        ctx.compute(Duration::from_millis(millis)).await;
        Ok(millis)
    });
    app.activity("Wait", |ctx: ActivityContext, seconds: u64| async move {
        ctx.wait(Duration::from_secs(seconds)).await;
        Ok(seconds)
    });
    app.entity::<Account>("Account").operation(
        "Add",
        |_: &mut EntityContext, account: &mut Account, amount: i64| {
            account.balance += amount;
            Ok(account.balance)
        },
    );
    app.orchestration("Chain", |ctx: OrchestrationContext, length: u32| async move {
        for _ in 0..length {
            ctx.call_activity::<u64>("Compute", &20_u64).await?;
        }
        Ok(length)
    });
    app.orchestration("Loop", |ctx: OrchestrationContext, rounds: u32| async move {
        ctx.call_activity::<u64>("Compute", &20_u64).await?;
        if rounds > 0 {
            return ctx.continue_as_new(&(rounds - 1)).await;
        }
        Ok(rounds)
    });
    app.orchestration("Long", |ctx: OrchestrationContext, seconds: u64| async move {
        ctx.call_activity::<u64>("Wait", &seconds).await
    });
    app.orchestration("Transfer", |ctx: OrchestrationContext, pair: (u32, u32)| async move {
        let (from, to) = (account(pair.0), account(pair.1));
        let section = ctx.lock(&[from.clone(), to.clone()]).await?;
        ctx.call_entity::<i64>(&from, "Add", &-1).await?;
        ctx.call_entity::<i64>(&to, "Add", &1).await?;
        section.release();
        Ok(true)
    });
    app
}

const CHAINS: u32 = 20;
const TRANSFERS: u32 = 10;

/// Starts an orchestration from the last host; a start whose outcome is unknown, or that was refused
/// for the moment, is repeated under the same key.
async fn start(play: &Play, instance: String, name: &str, input: impl Serialize) {
    let client = play.client();
    loop {
        match client.start(request(&instance, name, &input)).await {
            Ok(()) => return,
            Err(error) if error.to_string().contains("exists") => return,
            Err(_) => play.kernel.sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Starts chains and transfers, one after the other.
async fn start_all(play: &Play) {
    for number in 0..CHAINS {
        start(play, format!("c{number}"), "Chain", 4_u32).await;
    }
    for number in 0..TRANSFERS {
        start(play, format!("t{number}"), "Transfer", (number % 4, (number + 1) % 4)).await;
    }
}

fn all_completed<T>(outcome: &Outcome<T>, seed: u64) {
    let done = |status: &RuntimeStatus| matches!(status, RuntimeStatus::Completed(_));
    let completed = outcome.completions.iter().filter(|end| done(&end.status)).count();
    assert_eq!(completed, (CHAINS + TRANSFERS) as usize, "seed {seed}");
    assert_eq!(outcome.completions.len(), completed, "seed {seed}: none ends twice");
}

async fn balances(play: &Play) -> i64 {
    let mut sum = 0;
    for number in 0..4 {
        sum += play.state::<Account>(&account(number)).await.expect("it").balance;
    }
    sum
}

#[test]
fn a_host_crashes_and_returns() {
    let mut late = 0;
    for seed in 1..=8 {
        let stage = Stage { seed, hosts: 3, ..stage(application) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            start_all(&play).await;
            play.kernel.sleep(Duration::from_millis(37 * seed)).await;
            play.crash_for(0, Duration::from_secs(5)).await;
            play.crash_for(1, Duration::from_secs(1)).await;
            play.ended((CHAINS + TRANSFERS) as usize).await;
            play.rest().await;
            (balances(&play).await, play.kernel.now().as_secs_f64())
        });
        let outcome = outcome.sound();
        all_completed(&outcome, seed);
        assert_eq!(outcome.value.0, 0, "seed {seed}");
        late += usize::from(outcome.value.1 > 120.0);
    }
    assert!(late >= 4, "{late} crashes hit something, which others fetch after two minutes");
}

/// The database's process crashes (its operating system lives), or the power of its machine fails,
/// again and again while orchestrations are started and run.
#[test]
fn the_database_crashes_and_recovers() {
    let mut unanswered = 0;
    for seed in 1..=10 {
        let stage = Stage { seed, hosts: 2, ..stage(application) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            let starting = {
                let play = play.clone();
                async move { start_all(&play).await }
            };
            let crashing = {
                let play = play.clone();
                async move {
                    for crash in 0..3 {
                        play.kernel.sleep(Duration::from_millis(150 + 61 * seed)).await;
                        let database = database(&play);
                        if (crash + seed) % 2 == 0 {
                            database.kill();
                        } else {
                            database.lose_power();
                        }
                        play.kernel.sleep(Duration::from_secs(2)).await;
                        database.restart();
                    }
                }
            };
            futures_util::future::join(starting, crashing).await;
            play.ended((CHAINS + TRANSFERS) as usize).await;
            play.rest().await;
            balances(&play).await
        });
        let outcome = outcome.sound();
        all_completed(&outcome, seed);
        assert_eq!(outcome.value, 0, "seed {seed}");
        unanswered += outcome.counters["repeated_calls"];
    }
    assert!(unanswered > 20, "{unanswered} calls were repeated");
}

/// Chains and transfers while something is wrong with network or database for a minute.
fn in_trouble(seed: u64, trouble: Trouble) -> Outcome<i64> {
    let stage = Stage { seed, hosts: 3, ..stage(application) };
    let outcome = stage.play(async move |play: Rc<Play>| {
        let going_wrong = async {
            play.kernel.sleep(Duration::from_millis(150 * seed)).await;
            let id = play.world.begin(&trouble).expect("it can be");
            play.kernel.sleep(Duration::from_secs(60)).await;
            play.world.end(id);
            assert!(!play.world.fault_counts().is_empty(), "{trouble:?} showed");
        };
        futures_util::future::join(start_all(&play), going_wrong).await;
        play.ended((CHAINS + TRANSFERS) as usize).await;
        play.rest().await;
        balances(&play).await
    });
    outcome.sound()
}

#[test]
fn networks_may_fail() {
    let named = |text: &str| text.parse::<Pattern>().expect("a pattern");
    let link = |from: &str, what| {
        let (from, to) = (named(from), named("*"));
        Trouble::Link { from, to, both_ways: true, what }
    };
    let service = |what| Trouble::Service { service: named("*"), what };
    for seed in 1..=3 {
        for trouble in [
            link("worker-0", LinkTrouble::Cut),
            link("*", LinkTrouble::Lose { probability: 0.1 }),
            link("*", LinkTrouble::Corrupt { probability: 0.02 }),
            service(ServiceTrouble::LoseAnswer { probability: 0.02 }),
            service(ServiceTrouble::Outage),
        ] {
            let outcome = in_trouble(seed, trouble.clone());
            all_completed(&outcome, seed);
            assert_eq!(outcome.value, 0, "seed {seed}, {trouble:?}");
        }
    }
}

/// What survives is on the disk: a checkpoint, and the log behind it.
#[test]
fn the_database_recovers_from_checkpoints() {
    let outcome = Stage { hosts: 2, ..stage(application) }.play(async |play: Rc<Play>| {
        for round in 0..4 {
            play.start(&format!("r{round}"), "Chain", 3).await;
            play.ended(round + 1).await;
            play.kernel.sleep(Duration::from_secs(50)).await;
            database(&play).lose_power();
            database(&play).restart();
            play.kernel.sleep(Duration::from_secs(20)).await;
        }
        for round in 0..4 {
            assert_eq!(play.result::<u32>(&format!("r{round}")).await, 3);
        }
        let files = database(&play).disk().expect("it has one").list();
        assert!(files.iter().any(|name| name.starts_with("data-")), "{files:?}");
    });
    let outcome = outcome.sound();
    assert!(outcome.operations["sql.checkpoint"] >= 2);
}

/// A host that is frozen for longer than its locks last comes back and commits: too late.
fn frozen(
    seed: u64,
    name: &'static str,
    sets: &'static [(&'static str, &'static str)],
) -> Outcome<()> {
    let stage = Stage { seed, hosts: 2, sets, ..stage(application) };
    stage.play(async move |play: Rc<Play>| {
        let starts = (0..8).map(|n| {
            let play = play.clone();
            async move { play.start(&format!("c{n}"), name, 6).await }
        });
        join_all(starts).await;
        play.kernel.sleep(Duration::from_millis(100 + 13 * seed)).await;
        play.world.hosts()[0].pause();
        play.kernel.sleep(Duration::from_secs(150)).await;
        play.world.hosts()[0].resume();
        play.kernel.sleep(Duration::from_secs(30)).await;
    })
}

#[test]
fn a_frozen_host_cannot_commit_what_others_have_done_since() {
    let (mut split_brains, mut lost_tasks) = (0, 0);
    for seed in 1..=8 {
        let outcome = frozen(seed, "Chain", &[]).sound();
        assert_eq!(outcome.completions.len(), 8, "seed {seed}");
        split_brains += outcome.counters["split_brains"];
        lost_tasks += outcome.counters["lost_tasks"];
    }
    assert!(split_brains >= 2, "{split_brains} second commits of steps");
    assert!(lost_tasks >= 2, "{lost_tasks} second completions of activities");
}

#[test]
fn without_the_keys_of_history_a_second_commit_of_a_step_is_accepted() {
    let breached = (1..=8).filter(|seed| {
        let findings = frozen(*seed, "Chain", &[("history_key", "false")]).findings;
        findings[0].is_some() && findings[3].is_some()
    });
    assert!(breached.count() >= 1);
}

#[test]
fn without_the_check_of_tasks_a_second_completion_is_accepted() {
    let breached = (1..=8)
        .filter(|seed| frozen(*seed, "Chain", &[("task_check", "false")]).findings[1].is_some());
    assert!(breached.count() >= 1);
}

/// An orchestration that has continued as new: its history has no row in common with the one that the
/// frozen host has fetched.
#[test]
fn without_the_check_of_executions_a_second_commit_is_accepted() {
    let run = |seed, sets| frozen(seed, "Loop", sets);
    let caught: u64 = (1..=8).map(|seed| run(seed, &[]).sound().counters["split_brains"]).sum();
    assert!(caught >= 2, "{caught} second commits of steps");
    let breached = (1..=8).filter(|seed| {
        let findings = run(*seed, &[("execution_check", "false")]).findings;
        findings[..4].iter().any(Option::is_some)
    });
    assert!(breached.count() >= 1);
}

/// Two hosts that fetch at the same instant.
#[test]
fn without_row_locks_work_items_are_fetched_twice() {
    let run = |sets| {
        let stage = Stage { hosts: 4, sets, ..stage(application) };
        stage.play(async |play: Rc<Play>| {
            let starts = (0..20).map(|n| {
                let play = play.clone();
                async move { play.start(&format!("c{n}"), "Chain", 3).await }
            });
            join_all(starts).await;
            play.ended(20).await;
        })
    };
    let outcome = run(&[("row_locks", "false")]).sound();
    let second = outcome.counters["split_brains"] + outcome.counters["lost_tasks"];
    assert!(second > 0, "the other checks have caught them: {:?}", outcome.counters);
    // Without those, row locks alone keep work items from being committed twice.
    run(&[("history_key", "false"), ("task_check", "false")]).sound();
    let outcome = run(&[("row_locks", "false"), ("history_key", "false"), ("task_check", "false")]);
    assert!(outcome.findings[0].is_some() || outcome.findings[1].is_some());
}

/// An activity that takes longer than its lock lasts.
#[test]
fn without_renewal_a_long_activity_runs_twice() {
    let run = |sets| {
        let stage = Stage { hosts: 2, sets, ..stage(application) };
        stage.play(async |play: Rc<Play>| {
            play.start("long", "Long", 400).await;
            assert_eq!(play.result::<u64>("long").await, 400);
            play.kernel.sleep(Duration::from_secs(500)).await;
        })
    };
    let outcome = run(&[]).sound();
    assert!(outcome.counters["lock_renewals"] >= 10, "{:?}", outcome.counters);
    assert_eq!(outcome.counters["lost_tasks"], 0);
    let outcome = run(&[("lock_renewal", "false")]).sound();
    assert!(outcome.counters["lost_tasks"] >= 1, "the other check has caught it");
    // Without that, renewal alone keeps the activity from being committed twice.
    run(&[("task_check", "false")]).sound();
    let outcome = run(&[("lock_renewal", "false"), ("task_check", "false")]);
    assert!(outcome.findings[1].is_some());
}

/// What a step has sent in a transaction of its own is there, whether or not the step is.
#[test]
fn without_atomic_commits_a_crash_sends_twice() {
    let run = |seed: u64, sets: &'static [(&'static str, &'static str)]| {
        let stage = Stage { seed, hosts: 2, sets, ..stage(application) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            start_all(&play).await;
            play.kernel.sleep(Duration::from_millis(29 * seed)).await;
            play.crash_for(0, Duration::from_secs(1)).await;
            play.ended((CHAINS + TRANSFERS) as usize).await;
        });
        outcome.findings.iter().any(Option::is_some)
    };
    assert!((1..=6).all(|seed| !run(seed, &[])));
    assert!((1..=6).any(|seed| run(seed, &[("atomic_commit", "false")])));
}

/// Without waiting for the log, a power failure takes back what was committed last, and never a part
/// of a transaction: everything still completes, some of it twice.
#[test]
fn delayed_durability_loses_the_last_commits() {
    let mut lost = 0;
    for seed in 1..=6 {
        let sets = &[("delayed_durability", "true")];
        let stage = Stage { seed, hosts: 2, sets, ..stage(application) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            let starts = (0..8).map(|n| {
                let play = play.clone();
                async move { play.start(&format!("c{n}"), "Chain", 30).await }
            });
            join_all(starts).await;
            play.kernel.sleep(Duration::from_millis(400 + 100 * seed)).await;
            database(&play).lose_power();
            play.kernel.sleep(Duration::from_secs(1)).await;
            database(&play).restart();
            play.kernel.sleep(Duration::from_secs(400)).await;
        });
        lost += usize::from(outcome.findings[..4].iter().any(Option::is_some));
    }
    assert!(lost >= 1, "nothing was lost in {lost} of 6");
}
