//! Global speculation: what it is good for without faults, and how little a crash undoes.

mod stage;

use futures_util::future::join_all;
use sim_model::application::Application;
use sim_model::engine::Client;
use sim_model::entity::EntityContext;
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::OrchestrationContext;
use stage::{Outcome, Play, Stage, request, stage};
use std::rc::Rc;
use std::time::Duration;

const GLOBAL: &[(&str, &str)] = &[("speculation", "global")];
const LOCAL: &[(&str, &str)] = &[("speculation", "local")];
/// Entities that one orchestration calls, one after the other.
const HOPS: u32 = 8;
const CHAINS: u32 = 400;

/// Chains of calls that cross partitions at every hop.
fn application() -> Application {
    let mut app = Application::new();
    app.entity::<u32>("Counter").operation(
        "Add",
        |_: &mut EntityContext, count: &mut u32, amount: u32| {
            *count += amount;
            Ok(())
        },
    );
    app.orchestration("Hops", |ctx: OrchestrationContext, first: u32| async move {
        for hop in 0..HOPS {
            let counter = EntityId::new("Counter", format!("{}", (first + 7 * hop) % 100));
            ctx.call_entity::<()>(&counter, "Add", &1_u32).await?;
        }
        Ok(first)
    });
    app
}

async fn hops(play: &Play, client: &Rc<dyn Client>, number: u32) -> Duration {
    let begun = play.kernel.now();
    let instance = format!("hops-{number}");
    client.start(request(&instance, "Hops", number)).await.expect("accepted");
    client.wait(InstanceId::new(instance)).await.expect("an answer");
    play.kernel.now().since(begun)
}

/// Twenty chains a second on four hosts, for a while; how long clients waited, sorted.
fn steady(sets: &'static [(&'static str, &'static str)]) -> Outcome<Vec<Duration>> {
    let stage = Stage { sets, ..stage(application).on(4) };
    stage.play(async |play: Rc<Play>| {
        let client = play.client();
        let chain = async |number| {
            play.kernel.sleep(Duration::from_millis(50) * number).await;
            hops(&play, &client, number).await
        };
        let mut waits = join_all((0..CHAINS).map(chain)).await;
        waits.sort();
        waits
    })
}

/// What depends on other partitions' work does not wait for their commits one after the other, and waits
/// do not add up from chain to chain.
#[test]
fn clients_wait_for_one_commit_and_not_for_one_at_each_hop() {
    let (local, global) = (steady(LOCAL).sound(), steady(GLOBAL).sound());
    assert_eq!(global.counter("rollbacks"), 0);
    assert_eq!(global.counter("aborted_work_items"), 0);
    let slowest = |outcome: &Outcome<Vec<Duration>>| *outcome.value.last().expect("a wait");
    assert!(
        2 * slowest(&global) < slowest(&local),
        "{:?} with global, {:?} with local",
        slowest(&global),
        slowest(&local)
    );
}

/// A host that leaves in an orderly way has made its log durable, whatever that depends on: nothing is
/// lost, so nothing is undone.
#[test]
fn an_orderly_stop_undoes_nothing() {
    for seed in 1..=4 {
        let stage = Stage { seed, sets: GLOBAL, ..stage(application).on(4) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            let client = play.client();
            let chains = join_all((0..60).map(|number| hops(&play, &client, number)));
            let stop = async {
                play.kernel.sleep(Duration::from_millis(30 + 17 * seed)).await;
                play.hub.stop_host(3).await;
            };
            futures_util::join!(chains, stop);
        });
        let outcome = outcome.sound();
        assert!(outcome.counter("recoveries") >= 3, "seed {seed}: {:?}", outcome.counters);
        assert_eq!(outcome.counter("rollbacks"), 0, "seed {seed}: {:?}", outcome.counters);
    }
}

/// One host crashes in the middle of everything. What it has lost is known by name wherever it went: one
/// statement of each lost partition makes each of the others roll back once at most, not once for each
/// hop that the lost work has gone.
#[test]
fn each_lost_partition_makes_the_others_roll_back_once_at_most() {
    let mut rollbacks = 0;
    for seed in 1..=6 {
        let stage = Stage { seed, sets: GLOBAL, ..stage(application).on(4) };
        let outcome = stage.play(async move |play: Rc<Play>| {
            let client = play.client();
            for number in 0..CHAINS {
                let start = client.start(request(&format!("hops-{number}"), "Hops", number));
                play.kernel.spawn(play.world.hosts()[0].node(), async move { drop(start.await) });
            }
            play.kernel.sleep(Duration::from_millis(40 + 30 * seed)).await;
            play.crash(1);
            play.kernel.sleep(Duration::from_secs(5)).await;
            play.restart(1);
            play.ended(CHAINS as usize).await;
        });
        let outcome = outcome.sound();
        let (partitions, lost) = (12, 3);
        let most = lost * (partitions - 1);
        assert!(outcome.counter("rollbacks") <= most, "seed {seed}: {:?}", outcome.counters);
        rollbacks += outcome.counter("rollbacks");
    }
    assert!(rollbacks > 0, "no crash has lost anything that others had taken in");
}
