//! Equal runs are equal, and the determinism check catches programs that leak.

use crate::support::{Log, at, ns};
use sim_model::time::Timestamp;
use sim_world::kernel::{
    Difference, EventTrail, Kernel, KernelOptions, NodeId, first_difference, on_fresh_thread,
    on_fresh_thread_with_random_hash_order, simulate,
};
use std::future::Future;
use std::time::Duration;

/// A program whose schedule depends on the order in which ready tasks run.
async fn race(kernel: Kernel) -> Vec<u32> {
    let log = Log::new();
    let recorder = kernel.register_recorder("race");
    let arrived = kernel.kind("arrived");
    for task in 0..50u32 {
        let (inside, log) = (kernel.clone(), log.clone());
        kernel.spawn(NodeId::WORLD, async move {
            for _ in 0..100 {
                inside.sleep(ns(10)).await;
                log.push(task);
                inside.record(recorder, arrived, u64::from(task));
            }
        });
    }
    kernel.sleep(Duration::from_micros(10)).await;
    log.take()
}

fn race_with_seed(seed: u64) -> (Vec<u32>, EventTrail) {
    on_fresh_thread(|| simulate(KernelOptions::with_seed(seed), race)).expect("it ends")
}

#[test]
fn one_seed_gives_one_schedule_in_every_run_of_a_process() {
    let (order, trail) = race_with_seed(7);
    assert_eq!(order.len(), 5000);
    assert!(trail.events > 10_000 && trail.marks.len() as u64 == trail.events / 4096);
    for _ in 0..3 {
        let (again, trail_again) = race_with_seed(7);
        assert_eq!(again, order);
        assert_eq!(first_difference(&trail, &trail_again), Difference::None);
        assert_eq!(trail, trail_again);
    }
}

#[test]
fn another_seed_gives_another_schedule() {
    let (order, trail) = race_with_seed(7);
    let (other_order, other_trail) = race_with_seed(8);
    assert_ne!(order, other_order);
    assert_ne!(trail.digest, other_trail.digest);
}

/// Runs a program twice, under hash-map orders of the machine's, and finds where it differs:
/// first by the marks, then again with the differing interval as window.
fn check_determinism<F>(main: fn(Kernel) -> F) -> Difference
where
    F: Future<Output = ()> + 'static,
{
    let once = |window| {
        on_fresh_thread_with_random_hash_order(|| {
            let options =
                KernelOptions { mark_interval: 16, window, ..KernelOptions::with_seed(1) };
            simulate(options, main).expect("it ends").1
        })
    };
    match first_difference(&once(None), &once(None)) {
        Difference::Within(window) => {
            first_difference(&once(Some(window.clone())), &once(Some(window)))
        }
        other => other,
    }
}

/// Sends hundred payloads, one each microsecond; `payload` makes the bytes.
async fn sends(kernel: Kernel, payload: impl Fn(u64) -> Vec<u8>) {
    let recorder = kernel.register_recorder("outbox");
    let sent = kernel.kind("sent");
    for index in 0..100 {
        kernel.sleep(Duration::from_micros(1)).await;
        kernel.record_bytes(recorder, sent, &payload(index));
    }
}

#[test]
fn a_clean_program_passes_the_determinism_check() {
    let difference =
        check_determinism(|kernel| sends(kernel, |index| index.to_le_bytes().to_vec()));
    assert_eq!(difference, Difference::None);
}

#[test]
fn entropy_that_leaks_into_a_payload_is_caught() {
    let difference = check_determinism(|kernel| {
        sends(kernel, |index| {
            let mut payload = index.to_le_bytes().to_vec();
            if index >= 60 {
                payload.extend(entropy());
            }
            payload
        })
    });
    assert_caught(difference, at(61_000));
}

/// Eight bytes of real entropy, as a library would take them that knows no seed.
fn entropy() -> [u8; 8] {
    use std::io::Read;
    let mut bytes = [0; 8];
    let mut source = std::fs::File::open("/dev/urandom").expect("the machine has entropy");
    source.read_exact(&mut bytes).expect("the machine has entropy");
    bytes
}

#[test]
fn a_hash_map_that_is_iterated_into_an_effect_is_caught() {
    let difference = check_determinism(|kernel| {
        sends(kernel, |index| if index == 40 { iterated_hash_map() } else { vec![] })
    });
    assert_caught(difference, at(41_000));
}

/// The keys 0..=255 in the order of a hash map's iteration.
#[allow(clippy::disallowed_types, reason = "the leak that the check must catch")]
fn iterated_hash_map() -> Vec<u8> {
    let map: std::collections::HashMap<u8, ()> = (0..=255).map(|key| (key, ())).collect();
    map.into_keys().collect()
}

/// The difference names the event at which the payload first leaked.
fn assert_caught(difference: Difference, time: Timestamp) {
    let Difference::At { index, left: Some(left), right: Some(right) } = difference else {
        panic!("not caught: {difference:?}");
    };
    for event in [&left, &right] {
        assert_eq!(event.index, index);
        assert_eq!((&*event.component, &*event.kind, event.time), ("outbox", "sent", time));
    }
    assert_ne!(left.digest, right.digest);
}

#[test]
fn what_happens_after_the_end_of_the_trail_is_no_part_of_it() {
    let trail = |goes_on: bool| {
        let main = move |kernel: sim_world::kernel::Kernel| async move {
            kernel.sleep(std::time::Duration::from_nanos(3)).await;
            kernel.end_trail();
            if goes_on {
                kernel.sleep(std::time::Duration::from_secs(1)).await;
                kernel.create_node("too late");
                kernel.end_trail();
            }
        };
        crate::support::run(main).expect("it comes to its end").1
    };
    assert_eq!(trail(false), trail(true));
}
