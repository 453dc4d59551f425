//! Cores that are slow, and clocks that are wrong.

use crate::common::{deterministic, ms, run, world};
use crate::named;
use sim_model::time::Timestamp;
use sim_world::fault::Trouble;
use sim_world::kernel::Kernel;
use sim_world::world::World;
use std::time::Duration;

fn scene<F>(main: impl FnOnce(Kernel, World) -> F + Send)
where
    F: Future<Output = ()> + 'static,
{
    let change = |profile: &mut sim_world::profile::Profile| {
        deterministic(profile);
        profile.host.background_cores = 0.0;
    };
    run(change, |kernel, profile| {
        let world = world(&kernel, profile, 2);
        main(kernel, world)
    });
}

fn slow(node: &str, slowdown: f64) -> Trouble {
    Trouble::Cpu { node: named(node), slowdown }
}

fn clock(node: &str, offset_ms: i64, drift_ppm: i64) -> Trouble {
    Trouble::Clock { node: named(node), offset: offset_ms * 1_000_000, drift_ppm }
}

#[test]
fn slow_cores_stretch_what_is_under_way_and_what_comes() {
    scene(|kernel, world| async move {
        let host = world.hosts()[0].clone();
        let running = host.run(ms(100));
        let other = world.hosts()[1].run(ms(100));
        kernel.sleep(ms(40)).await;
        let id = world.begin(&slow("worker-0", 3.0)).expect("begins");
        assert_eq!(other.await.total(), ms(100));
        let timing = running.await;
        assert_eq!(timing.total(), ms(40 + 3 * 60));
        assert_eq!(timing.ran, timing.total());
        assert_eq!(host.run(ms(10)).await.ran, ms(30));
        let twice = world.begin(&slow("worker-*", 2.0)).expect("begins");
        assert_eq!(host.run(ms(10)).await.ran, ms(60), "together they multiply");
        world.end(id);
        world.end(twice);
        assert_eq!(host.run(ms(10)).await.ran, ms(10));
    });
}

#[test]
fn a_slow_host_that_stands_still_stays_so() {
    scene(|kernel, world| async move {
        let host = world.hosts()[0].clone();
        let running = host.run(ms(15));
        kernel.sleep(ms(10)).await;
        // At the very instant at which its first time slice ends.
        host.pause();
        let id = world.begin(&slow("worker-0", 2.0)).expect("begins");
        kernel.sleep(ms(50)).await;
        host.resume();
        assert_eq!(running.await.total(), ms(10 + 50 + 10));
        world.end(id);
    });
}

#[test]
fn a_wrong_clock_is_ahead_and_drifts_until_it_is_put_right() {
    scene(|kernel, world| async move {
        let (host, other) = (&world.hosts()[0], &world.hosts()[1]);
        kernel.sleep(Duration::from_secs(10)).await;
        assert_eq!(host.clock_now(), kernel.now());
        let id = world.begin(&clock("worker-0", 500, 100_000)).expect("begins");
        assert_eq!(host.clock_now(), Timestamp::from_millis(10_500));
        kernel.sleep(Duration::from_secs(10)).await;
        assert_eq!(host.clock_now(), Timestamp::from_millis(20_500 + 1_000));
        assert_eq!(other.clock_now(), kernel.now());
        // A timer counts at the clock's speed.
        let before = kernel.now();
        host.sleep(ms(11_000)).await;
        assert_eq!(kernel.now().since(before), ms(10_000));
        let behind = world.begin(&clock("worker-0", -60_000, 0)).expect("begins");
        assert_eq!(host.clock_now(), Timestamp::ZERO, "there is nothing before the start");
        world.end(behind);
        world.end(id);
        assert_eq!(host.clock_now(), kernel.now());
        let before = kernel.now();
        host.sleep(ms(7)).await;
        assert_eq!(kernel.now().since(before), ms(7));
    });
}

/// Whoever waits for an instant by the clock, again and again, gets there.
#[test]
fn the_last_nanosecond_by_a_fast_clock_takes_time() {
    scene(|kernel, world| async move {
        let host = &world.hosts()[0];
        let id = world.begin(&clock("worker-0", 0, 10_000)).expect("begins");
        let due = Timestamp::from_nanos(host.clock_now().as_nanos() + 12_345_679);
        let mut waits = 0;
        while host.clock_now() < due {
            host.sleep(due.since(host.clock_now())).await;
            waits += 1;
            assert!(waits < 10, "{} of {due} at {}", host.clock_now(), kernel.now());
        }
        world.end(id);
    });
}
