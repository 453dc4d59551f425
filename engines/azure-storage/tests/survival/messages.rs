//! Messages that stay hidden, come again, do not decode; long histories; clients without an answer.

use crate::stage::{Outcome, Play, Stage, delay_requests, history_rows, request, stage};
use bytes::Bytes;
use futures_util::future::try_join_all;
use sim_model::application::{ActivityContext, Application};
use sim_model::engine::ClientError;
use sim_model::entity::EntityContext;
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::OrchestrationContext;
use sim_model::payload::Payload;
use std::rc::Rc;
use std::time::Duration;

fn application() -> Application {
    let mut app = Application::new();
    app.activity("One", |_: ActivityContext, (): ()| async move { Ok(1_u64) });
    app.activity("Slow", |context: ActivityContext, seconds: u64| async move {
        context.wait(Duration::from_secs(seconds)).await;
        Ok(seconds)
    });
    app.orchestration("Slow", |ctx: OrchestrationContext, seconds: u64| async move {
        ctx.call_activity::<u64>("Slow", &seconds).await
    });
    app.orchestration("FanOut", |ctx: OrchestrationContext, width: u64| async move {
        let calls = (0..width).map(|_| ctx.call_activity::<u64>("One", &()));
        Ok(try_join_all(calls).await?.into_iter().sum::<u64>())
    });
    app.entity::<u64>("Slow").operation(
        "Work",
        |cx: &mut EntityContext, done: &mut u64, seconds: u64| {
            cx.wait(Duration::from_secs(seconds));
            *done += 1;
            Ok(*done)
        },
    );
    app
}

type Sets = &'static [(&'static str, &'static str)];

/// An activity and an operation of an entity that take far longer than a message stays hidden.
fn long_work(sets: Sets) -> Outcome<u64> {
    let stage = Stage { sets, ..stage(application).on(2) };
    stage.play(async |play: Rc<Play>| {
        let entity = EntityId::new("Slow", "e");
        play.start("slow", "Slow", 1000_u64).await;
        play.signal(&entity, "Work", 1000_u64).await;
        assert_eq!(play.result::<u64>("slow").await, 1000);
        play.kernel.sleep(Duration::from_secs(2500)).await;
        play.state::<u64>(&entity).await.expect("a state")
    })
}

#[test]
fn messages_of_long_work_stay_hidden() {
    let outcome = long_work(&[("partition_management", "table")]).sound();
    let counters = &outcome.counters;
    assert!(counters["renewals"] >= 3 && counters["control_renewals"] >= 3, "{counters:?}");
    assert_eq!((outcome.value, counters["work_items_taken"], counters["lost_locks"]), (1, 1, 0));
}

#[test]
fn without_renewal_long_work_is_handed_out_again() {
    let outcome = long_work(&[("visibility_renewal", "false")]);
    assert_eq!(outcome.counters["renewals"] + outcome.counters["control_renewals"], 0);
    assert!(outcome.counters["work_items_taken"] > 1, "the activity runs more than once");
    assert!(outcome.findings[1].is_some(), "and has two answers");
    assert!(outcome.counters["lost_locks"] > 0, "{:?}", outcome.counters);
}

/// 1000 rows make a page of a query: a history of more is read in several requests.
#[test]
fn long_histories_are_read_page_by_page() {
    let stage = stage(application);
    let outcome = stage.play(async |play: Rc<Play>| {
        play.start("wide", "FanOut", 1200_u64).await;
        let sum = play.result::<u64>("wide").await;
        (sum, history_rows(&play, "wide").await)
    });
    let outcome = outcome.sound();
    let (sum, rows) = outcome.value;
    assert!(sum == 1200 && rows > 2400, "{sum} of {rows} rows");
    // Reading for this test takes three pages; the engine reads many times when there are more.
    let pages = outcome.operations["table.query"] - 3;
    let reads = outcome.counters["history_reads"];
    assert!(pages > reads + 20, "{pages} pages in {reads} reads");
}

/// A message that does not decode is put back for longer and longer, up to ten minutes, and never
/// given up; nothing else waits for it.
#[test]
fn poison_is_put_back_for_ever() {
    let outcome = stage(application).play(async |play: Rc<Play>| {
        let storage = play.world.storage();
        for queue in ["taskhub-control-03", "taskhub-workitems"] {
            let garbage = Bytes::from_static(&[9; 40]);
            let queue = storage.queue(queue);
            queue.put(play.world.client(), garbage, Duration::ZERO).await.expect("put");
        }
        play.start("wide", "FanOut", 20_u64).await;
        assert_eq!(play.result::<u64>("wide").await, 20);
        play.kernel.sleep(Duration::from_secs(3600)).await;
    });
    let outcome = outcome.sound();
    // 2 + 4 + ... + 512 s is 17 minutes; then every ten.
    assert!(outcome.counters["undecodable_messages"] >= 20, "{:?}", outcome.counters);
    assert!((6..=10).contains(&outcome.counters["poison_messages"]), "{:?}", outcome.counters);
}

/// A client whose host is cut off from storage: what it sent may arrive, and it is told so; one that
/// waits goes on waiting, and gets its answer once the network is back.
#[test]
fn clients_without_an_answer_are_told_that_they_can_ask_again() {
    let outcome = stage(application).on(2).play(async |play: Rc<Play>| {
        play.start("before", "Slow", 500_u64).await;
        play.kernel.sleep(Duration::from_secs(1)).await;
        delay_requests(&play, 1, Some(Duration::from_secs(400)));
        let client = play.hub.client(1);
        let (answer, unknown) = play.kernel.completion();
        let waiting = play.hub.client(1).wait(InstanceId::new("before"));
        let (ended, end) = play.kernel.completion();
        let host = &play.world.hosts()[1];
        host.spawn(async move {
            let status = client.status(InstanceId::new("before")).await;
            answer.resolve((client.start(request("during", "Slow", 1_u64)).await, status));
        });
        host.spawn(async move { ended.resolve(waiting.await) });
        let (started, status) = unknown.await;
        // Both had only read: nothing has taken effect.
        assert!(matches!(status, Err(ClientError::Unavailable(_))), "{status:?}");
        assert!(matches!(started, Err(ClientError::Unavailable(_))), "{started:?}");
        delay_requests(&play, 1, None);
        let state = end.await.expect("an answer in the end");
        assert!(state.status.is_final());
        play.ended(1).await;
    });
    let outcome = outcome.sound();
    assert!(outcome.counters["failed_status_reads"] > 0);
}

/// A client library repeats a put that was not answered, and both are applied. With the history first
/// only refused puts of clients are repeated.
#[test]
fn signals_without_an_answer_are_put_once_with_the_history_first() {
    let signal = |sets: Sets| {
        let stage = Stage { sets, ..stage(application).on(2) };
        let outcome = stage.play(async |play: Rc<Play>| {
            let entity = EntityId::new("Slow", "e");
            delay_requests(&play, 1, Some(Duration::from_secs(100)));
            let input = Payload::encode(&0_u64).expect("a number");
            let (sent, answer) = play.kernel.completion();
            let client = play.hub.client(1);
            let target = entity.clone();
            let signal =
                async move { sent.resolve(client.signal_entity(&target, "Work", input).await) };
            play.world.hosts()[1].spawn(signal);
            assert!(matches!(answer.await, Err(ClientError::Unknown(_))));
            delay_requests(&play, 1, None);
            play.kernel.sleep(Duration::from_secs(600)).await;
            play.state::<u64>(&entity).await.expect("a state")
        });
        (outcome.value, outcome.findings[0].is_some())
    };
    let (times, twice) = signal(&[]);
    assert!(times > 1 && twice, "{times} times");
    assert_eq!(signal(&[("step_order", "history-first")]), (1, false));
}

/// Two clients start one key at the same time, and the second start message comes when the first
/// execution has ended. The row shows which one counts.
#[test]
fn without_the_dedupe_read_an_orchestration_runs_twice() {
    let ends = |sets: Sets| {
        // The second host has a client and no worker, and this key is in a queue of the first.
        let stage = Stage { sets, started: Some(1), ..stage(application).on(2) };
        let outcome = stage.play(async |play: Rc<Play>| {
            for host in [0, 1] {
                let start = play.hub.client(host).start(request("once", "FanOut", 1_u64));
                play.world.hosts()[host].spawn(async move { start.await.expect("started") });
            }
            // The second client has read that there is no row; its put takes longer.
            play.kernel.sleep(Duration::from_millis(2)).await;
            delay_requests(&play, 1, Some(Duration::from_secs(20)));
            play.kernel.sleep(Duration::from_secs(100)).await;
        });
        outcome.completions.len()
    };
    assert_eq!(ends(&[]), 1);
    assert_eq!(ends(&[("dedupe_read", "false")]), 2);
}
