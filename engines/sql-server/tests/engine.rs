//! The engine in a world without faults: counts of calls, results, core time.

mod stage;

use futures_util::future::join_all;
use sim_model::application::{ActivityContext, Application};
use sim_model::ledger::Category;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use stage::{Outcome, Play, Stage, stage};
use std::rc::Rc;
use std::time::Duration;

fn application() -> Application {
    let mut app = Application::new();
    app.activity("SayHello", |_: ActivityContext, name: String| async move {
        Ok(format!("Hello {name}!"))
    });
    app.orchestration("Hello", |ctx: OrchestrationContext, length: u32| async move {
        for number in 0..length {
            ctx.call_activity::<String>("SayHello", &format!("number {number}")).await?;
        }
        Ok(length)
    });
    app
}

async fn hello(play: Rc<Play>, count: u32, length: u32) {
    join_all((0..count).map(|n| {
        let play = play.clone();
        async move { play.start(&format!("hello-{n:04}"), "Hello", length).await }
    }))
    .await;
    play.ended(count as usize).await;
}

/// Procedure calls, without polls that found nothing.
fn calls<T>(outcome: &Outcome<T>) -> u64 {
    let inside = ["sql.log_flush", "sql.checkpoint", "sql.lock_wait", "sql.deadlock"];
    let of_service = |name: &str| name.starts_with("sql.") && !inside.contains(&name);
    let all = outcome.operations.iter().filter(|(name, _)| of_service(name));
    let empty = outcome.counters["empty_orchestration_fetches"]
        + outcome.counters["empty_activity_fetches"];
    all.map(|(_, count)| count).sum::<u64>() - empty
}

#[test]
fn a_chain_of_n_activities_is_4n_plus_3_calls() {
    for (length, expected) in [(1, 7), (3, 15), (5, 23), (10, 43)] {
        let outcome =
            stage(application).play(async move |play: Rc<Play>| hello(play, 1, length).await);
        let outcome = outcome.sound();
        assert_eq!(calls(&outcome), expected, "{:#?}", outcome.operations);
        let n = u64::from(length);
        assert_eq!(outcome.operations["sql.CreateInstance"], 1);
        assert_eq!(outcome.operations["sql._CheckpointOrchestration"], n + 1);
        assert_eq!(outcome.operations["sql._CompleteTasks"], n);
        assert_eq!(outcome.steps as u64, n + 1);
        assert!(!outcome.operations.contains_key("sql.lock_wait"));
    }
}

#[test]
fn a_hundred_chains_on_two_hosts_complete_without_conflicts() {
    let stage = Stage { hosts: 2, ..stage(application) };
    let outcome = stage.play(async |play: Rc<Play>| hello(play, 100, 5).await).sound();
    assert_eq!(calls(&outcome), 2300);
    assert_eq!(outcome.completions.len(), 100);
    let done = |status: &RuntimeStatus| matches!(status, RuntimeStatus::Completed(_));
    assert!(outcome.completions.iter().all(|end| done(&end.status)));
    for counter in ["split_brains", "lost_tasks", "unfinished_work_items", "repeated_calls"] {
        assert_eq!(outcome.counters[counter], 0, "{counter}");
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let run = |seed| {
        let stage = Stage { seed, hosts: 2, ..stage(application) };
        stage.play(async |play: Rc<Play>| hello(play, 20, 3).await).digest
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// With nothing else to do, a step waits for the network, the database's cores and its log.
#[test]
fn the_latency_of_a_chain_is_explained() {
    let outcome = stage(application).play(async |play: Rc<Play>| hello(play, 1, 5).await);
    let end = outcome.completions[0].clone();
    let timing = end.ledger.settle(end.created, end.last_updated);
    let millis = |category| timing.get(category).as_secs_f64() * 1e3;
    // Eleven fetches are a round trip each and core time of the database; each work item, the creation
    // and the fetches wait for the log.
    assert!(millis(Category::Network) > 10.0, "{timing:?}");
    assert!(millis(Category::Cpu) > 20.0, "{timing:?}");
    assert!(millis(Category::Commit) > 11.0 * 2.0 * 6.0, "{timing:?}");
    assert_eq!(timing.total(), end.last_updated.since(end.created));
}

/// What a host commits wakes its own loops; other hosts find it at their next poll.
#[test]
fn without_local_wake_ups_every_hop_waits_for_a_poll() {
    let latency = |sets| {
        let stage = Stage { sets, ..stage(application) };
        let outcome = stage.play(async |play: Rc<Play>| {
            play.kernel.sleep(Duration::from_secs(20)).await;
            hello(play, 1, 5).await;
        });
        let end = &outcome.completions[0];
        end.last_updated.since(end.created)
    };
    let (with, without) = (latency(&[]), latency(&[("local_wake_up", "false")]));
    assert!(with < Duration::from_millis(600), "{with:?}");
    assert!(without > 2 * with, "{without:?} and {with:?}");
}

/// Fetching skips what others hold. If it waits instead, hosts hold each other up.
#[test]
fn without_readpast_fetches_wait_for_each_other() {
    let run = |sets| {
        let stage = Stage { hosts: 4, sets, ..stage(application) };
        stage.play(async |play: Rc<Play>| hello(play, 60, 3).await).sound()
    };
    let (with, without) = (run(&[]), run(&[("readpast", "false")]));
    assert!(!with.operations.contains_key("sql.lock_wait"), "{:?}", with.operations);
    assert!(without.operations["sql.lock_wait"] > 50, "{:?}", without.operations);
}
