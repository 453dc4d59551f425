//! More instances than memory holds: idle ones lie in storage, and come back when they are needed.

mod stage;

use futures_util::stream::{self, StreamExt};
use sim_model::application::Application;
use sim_model::id::InstanceId;
use sim_model::orchestration::OrchestrationContext;
use sim_model::payload::Payload;
use stage::{Play, Stage, request, stage};
use std::rc::Rc;
use std::time::Duration;

/// Requests that the driver has in flight.
const WIDTH: usize = 150;

fn application() -> Application {
    let mut app = Application::new();
    app.orchestration("Idle", |ctx: OrchestrationContext, number: u64| async move {
        Ok(number + ctx.wait_for_event::<u64>("go").await?)
    });
    app
}

fn name(number: u64) -> String {
    format!("idle-{number:07}")
}

/// Starts so many orchestrations that wait for an event.
async fn start(play: &Play, count: u64) {
    let client = play.client();
    let starts =
        stream::iter(0..count).map(|number| client.start(request(&name(number), "Idle", number)));
    let mut starts = starts.buffer_unordered(WIDTH);
    while let Some(started) = starts.next().await {
        started.expect("accepted");
    }
}

/// Raises the event in every `step`-th, and waits for their ends.
async fn wake(play: &Play, count: u64, step: usize) {
    let client = play.client();
    let woken = stream::iter((0..count).step_by(step)).map(async |number| {
        let one = Payload::encode(&1).expect("a number");
        let id = InstanceId::new(name(number));
        client.raise_event(id, "go", one).await.expect("taken");
        assert_eq!(play.result::<u64>(&name(number)).await, number + 1);
    });
    woken.buffer_unordered(WIDTH).collect::<Vec<()>>().await;
}

/// Watches how much memory the instances take, at most.
async fn watch(play: &Play, most: &std::cell::Cell<u64>) {
    loop {
        play.kernel.sleep(Duration::from_millis(20)).await;
        let counters = play.hub.counters();
        let bytes = counters.iter().find(|(key, _)| *key == "resident_bytes").expect("a counter").1;
        most.set(most.get().max(bytes));
    }
}

/// Plays with `count` instances on one core with `mib` for them; the most memory they took.
fn idle(count: u64, step: usize, sets: &'static [(&'static str, &'static str)]) -> (u64, u64, u64) {
    let stage = Stage { plan: "EP1", sets, ..stage(application).on(1) };
    let outcome = stage.play(async move |play: Rc<Play>| {
        let most = std::cell::Cell::new(0);
        let scene = async {
            start(&play, count).await;
            wake(&play, count, step).await;
        };
        let watching = watch(&play, &most);
        futures_util::pin_mut!(scene, watching);
        let _ended = futures_util::future::select(scene, watching).await;
        most.get()
    });
    let outcome = outcome.sound();
    assert_eq!(outcome.counter("instances"), count);
    assert_eq!(outcome.completions.len() as u64, count.div_ceil(step as u64));
    (outcome.value, outcome.counter("instances_evicted"), outcome.counter("instances_loaded"))
}

#[test]
fn instances_beyond_the_cache_lie_in_storage() {
    let (most, evicted, loaded) = idle(4_000, 3, &[("instance_cache", "2")]);
    assert!(most < (2 << 20) * 5 / 4 + 500_000, "{most} bytes of 2 MiB");
    assert!(evicted > 3_000 && loaded > 1_000, "{evicted} left, {loaded} came back");
    let (most, evicted, loaded) = idle(4_000, 3, &[]);
    assert!(most > 6 << 20, "{most}");
    assert_eq!((evicted, loaded), (0, 0), "200 MiB hold them all");
}

/// The memory of this process so far, at most, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

#[test]
#[ignore = "a minute: cargo test -p engine-netherite --release --test memory -- --ignored"]
fn a_million_idle_instances_take_less_than_four_gib() {
    let (most, evicted, loaded) = idle(1_000_000, 1_000, &[]);
    assert!(most < (200 << 20) * 5 / 4 + (1 << 20), "{most} bytes of 200 MiB");
    assert!(evicted > 800_000 && loaded > 500, "{evicted} left, {loaded} came back");
    assert!(peak_kib() < 4 << 20, "{} KiB", peak_kib());
}
