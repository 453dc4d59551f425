//! Waiting lines are fair and survive the death of those who wait.

use crate::support::{Log, at, ns, run_to_end};
use sim_world::kernel::NodeId;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn a_completion_and_its_resolver_survive_each_other() {
    run_to_end(|kernel| async move {
        let (resolver, completion) = kernel.completion::<u32>();
        drop(completion);
        assert!(resolver.is_abandoned());
        resolver.resolve(1);
        let (resolver, completion) = kernel.completion::<u32>();
        resolver.resolve(2);
        assert!(completion.is_resolved());
        assert_eq!(completion.await, 2);
        let (resolver, completion) = kernel.completion::<u32>();
        drop(resolver);
        assert_eq!(kernel.timeout(Duration::from_secs(9), completion).await, None);
    });
}

#[test]
fn receivers_are_served_in_the_order_of_their_calls() {
    run_to_end(|kernel| async move {
        let (sender, receiver) = kernel.channel();
        let log = Log::new();
        for name in 0..10 {
            let (receiver, log) = (receiver.clone(), log.clone());
            kernel.spawn(NodeId::WORLD, async move {
                let value: u32 = receiver.recv().await;
                log.push((name, value));
            });
            kernel.sleep(ns(1)).await;
        }
        for value in 0..13 {
            sender.send(value);
        }
        assert_eq!(receiver.drain(1), [10], "values of served receivers are theirs");
        kernel.sleep(ns(1)).await;
        let mut served = log.take();
        served.sort_unstable();
        assert_eq!(served, (0..10).map(|name| (name, name)).collect::<Vec<(u32, u32)>>());
        assert_eq!(receiver.recv_many(10).await, [11, 12]);
        assert_eq!((receiver.try_recv(), receiver.len(), sender.is_empty()), (None, 0, true));
    });
}

#[test]
fn values_served_to_a_killed_node_return_to_their_places() {
    run_to_end(|kernel| async move {
        let (sender, receiver) = kernel.channel();
        let node = kernel.create_node("victim");
        for _ in 0..3 {
            let receiver = receiver.clone();
            kernel.spawn(node, async move {
                let value: u32 = receiver.recv().await;
                unreachable!("value {value} reached a dead node");
            });
        }
        kernel.sleep(ns(1)).await;
        for value in 0..5 {
            sender.send(value);
        }
        assert_eq!(receiver.len(), 2);
        kernel.kill(node);
        kernel.sleep(ns(1)).await;
        assert_eq!(receiver.drain(9), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_receiver_that_gives_up_leaves_the_line() {
    run_to_end(|kernel| async move {
        let (sender, receiver) = kernel.channel();
        for _ in 0..1000 {
            assert_eq!(kernel.timeout(ns(1), receiver.recv()).await, None);
        }
        sender.send(7);
        assert_eq!(receiver.recv().await, 7);
    });
}

#[test]
fn semaphores_are_fair_and_survive_a_kill() {
    run_to_end(|kernel| async move {
        let semaphore = kernel.semaphore(2);
        let node = kernel.create_node("victim");
        let log = Log::new();
        for name in 0..6u64 {
            let (inside, semaphore, log) = (kernel.clone(), semaphore.clone(), log.clone());
            // Tasks 1, 2 and 3 die: one holds a permit, two wait, and one of these is served.
            let place = if (1..=3).contains(&name) { node } else { NodeId::WORLD };
            kernel.spawn(place, async move {
                let _permit = semaphore.acquire().await;
                log.push((name, inside.now()));
                inside.sleep(ns(100)).await;
            });
            kernel.sleep(ns(1)).await;
        }
        assert_eq!((semaphore.available(), semaphore.waiting()), (0, 4));
        kernel.sleep_until(at(50)).await;
        kernel.kill(node);
        kernel.sleep(ns(1000)).await;
        assert_eq!((semaphore.available(), semaphore.waiting()), (2, 0));
        let expected = [(0, at(0)), (1, at(1)), (4, at(50)), (5, at(100))];
        assert_eq!(log.take(), expected);
        let permit = semaphore.try_acquire();
        assert_eq!(semaphore.available(), 1);
        drop(permit);
    });
}

#[test]
fn notifications_wake_one_or_all_and_are_stored_once() {
    run_to_end(|kernel| async move {
        let notify = kernel.notify();
        notify.notify_one();
        notify.notify_one();
        notify.notified().await;
        assert_eq!(kernel.timeout(ns(1), notify.notified()).await, None, "stored once");
        let early = notify.notified();
        notify.notify_all();
        early.await;
        assert_eq!(kernel.timeout(ns(1), notify.notified()).await, None, "not stored");
        let woken = Rc::new(Cell::new(0));
        for _ in 0..5 {
            let (notify, woken) = (notify.clone(), woken.clone());
            kernel.spawn(NodeId::WORLD, async move {
                notify.notified().await;
                woken.set(woken.get() + 1);
            });
        }
        kernel.sleep(ns(1)).await;
        notify.notify_one();
        kernel.sleep(ns(1)).await;
        assert_eq!(woken.get(), 1);
        notify.notify_all();
        kernel.sleep(ns(1)).await;
        assert_eq!(woken.get(), 5);
    });
}
