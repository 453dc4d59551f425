//! Virtual time is exact, and sleeps can be cancelled.

use crate::support::{at, ns, run_to_end};
use sim_model::time::Timestamp;
use sim_world::kernel::NodeId;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn a_task_woken_at_an_instant_sees_that_instant() {
    run_to_end(|kernel| async move {
        let done = Rc::new(Cell::new(0));
        for task in 0..500u64 {
            let (kernel, done) = (kernel.clone(), done.clone());
            let owner = kernel.clone();
            owner.spawn(NodeId::WORLD, async move {
                for step in 1..20u64 {
                    let deadline = kernel.now() + ns(1 + (task * 7919 + step * 104_729) % 1000);
                    kernel.sleep_until(deadline).await;
                    assert_eq!(kernel.now(), deadline);
                }
                done.set(done.get() + 1);
            });
        }
        kernel.sleep(Duration::from_secs(1)).await;
        assert_eq!(kernel.now(), Timestamp::from_secs(1));
        assert_eq!(done.get(), 500);
    });
}

#[test]
fn an_instant_that_has_passed_completes_at_once() {
    run_to_end(|kernel| async move {
        kernel.sleep(ns(10)).await;
        kernel.sleep_until(at(3)).await;
        kernel.sleep(Duration::ZERO).await;
        assert_eq!(kernel.now(), at(10));
        assert_eq!(kernel.pending_events(), 0);
    });
}

#[test]
fn a_dropped_sleep_leaves_nothing_behind() {
    run_to_end(|kernel| async move {
        for _ in 0..10_000 {
            let slow = kernel.sleep(Duration::from_secs(30));
            assert_eq!(kernel.timeout(ns(5), slow).await, None);
            assert_eq!(
                kernel.timeout(Duration::from_secs(30), kernel.sleep(ns(5))).await,
                Some(())
            );
        }
        assert_eq!(kernel.now(), at(100_000), "no cancelled sleep moved the clock");
        assert_eq!(kernel.pending_events(), 0);
    });
}

#[test]
fn a_future_that_is_ready_at_the_deadline_is_in_time() {
    run_to_end(|kernel| async move {
        assert_eq!(kernel.timeout(ns(5), kernel.sleep(ns(5))).await, Some(()));
        assert_eq!(kernel.timeout(Duration::ZERO, async { 1 }).await, Some(1));
    });
}
