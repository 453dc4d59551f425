//! Kill, pause, resume and restart; how a run ends.

use crate::support::{Log, at, ns, run, run_to_end};
use sim_model::time::Timestamp;
use sim_world::kernel::{Kernel, KernelError, KernelOptions, NodeId, on_fresh_thread, simulate};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Counts drops.
struct Held(Rc<Cell<u32>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn kill_drops_all_tasks_of_the_node_at_that_instant() {
    run_to_end(|kernel| async move {
        let dropped = Rc::new(Cell::new(0));
        let (victim, bystander) = (kernel.create_node("victim"), kernel.create_node("bystander"));
        let polled_after = Rc::new(Cell::new(0));
        for node in [victim, bystander] {
            for task in 0..10 {
                let (kernel, held) = (kernel.clone(), Held(dropped.clone()));
                let polled_after = polled_after.clone();
                let owner = kernel.clone();
                owner.spawn(node, async move {
                    let _held = held;
                    kernel.sleep(ns(200 + task)).await;
                    polled_after.set(polled_after.get() + 1);
                });
            }
        }
        kernel.sleep(ns(100)).await;
        assert_eq!(kernel.pending_events(), 20);
        kernel.kill(victim);
        assert!(!kernel.is_alive(victim) && kernel.is_alive(bystander));
        kernel.sleep(ns(1)).await;
        assert_eq!(dropped.get(), 10, "the tasks of the victim, and no others");
        assert_eq!(kernel.pending_events(), 10, "with their sleeps");
        kernel.spawn(victim, async { unreachable!("a dead node runs nothing") });
        kernel.kill(victim);
        kernel.sleep(Duration::from_secs(1)).await;
        assert_eq!((dropped.get(), polled_after.get()), (20, 10));
    });
}

#[test]
fn a_task_that_kills_its_node_stops_at_its_next_await() {
    run_to_end(|kernel| async move {
        let node = kernel.create_node("suicidal");
        let log = Log::new();
        let (inside, inner_log) = (kernel.clone(), log.clone());
        kernel.spawn(node, async move {
            inside.kill(node);
            inner_log.push("still in the same poll");
            inside.sleep(ns(1)).await;
            unreachable!("the node is dead");
        });
        kernel.sleep(ns(10)).await;
        assert_eq!(log.take(), ["still in the same poll"]);
        assert_eq!(kernel.pending_events(), 0);
    });
}

#[test]
fn a_paused_node_stands_still_and_runs_on() {
    run_to_end(|kernel| async move {
        let node = kernel.create_node("paused");
        let log = Log::new();
        let (inside, inner_log) = (kernel.clone(), log.clone());
        kernel.spawn(node, async move {
            for _ in 0..4 {
                inside.sleep(ns(10)).await;
                inner_log.push(inside.now());
            }
        });
        kernel.sleep(ns(15)).await;
        kernel.pause(node);
        kernel.pause(node);
        assert!(kernel.is_paused(node) && kernel.is_alive(node));
        kernel.sleep(ns(100)).await;
        assert_eq!(log.take(), [at(10)]);
        kernel.resume(node);
        kernel.resume(node);
        kernel.sleep(ns(100)).await;
        assert_eq!(log.take(), [at(115), at(125), at(135)], "the missed wake-up comes on resume");
    });
}

#[test]
fn a_paused_node_can_be_killed_with_destructors_that_use_the_kernel() {
    struct SpawnsOnDrop(Kernel, Log<&'static str>);
    impl Drop for SpawnsOnDrop {
        fn drop(&mut self) {
            let late = self.0.create_node("made in a destructor");
            self.0.spawn(late, async {});
            self.1.push("dropped");
        }
    }
    run_to_end(|kernel| async move {
        let node = kernel.create_node("paused");
        let log = Log::new();
        let (inside, held) = (kernel.clone(), SpawnsOnDrop(kernel.clone(), log.clone()));
        kernel.spawn(node, async move {
            let _held = held;
            inside.sleep(ns(10)).await;
            unreachable!("killed while it was paused");
        });
        kernel.sleep(ns(1)).await;
        kernel.pause(node);
        kernel.sleep(ns(100)).await;
        kernel.kill(node);
        kernel.sleep(ns(1)).await;
        assert_eq!(log.take(), ["dropped"]);
    });
}

#[test]
fn a_restarted_node_runs_new_tasks_and_no_old_ones() {
    run_to_end(|kernel| async move {
        let node = kernel.create_node("host");
        let log = Log::new();
        let start = |name: &'static str| {
            let (inside, log) = (kernel.clone(), log.clone());
            kernel.spawn(node, async move {
                loop {
                    inside.sleep(ns(10)).await;
                    log.push((inside.now(), name));
                }
            });
        };
        start("first life");
        kernel.sleep(ns(15)).await;
        kernel.kill(node);
        kernel.sleep(ns(100)).await;
        kernel.restart(node);
        assert_eq!((kernel.generation(node), kernel.is_alive(node)), (1, true));
        start("second life");
        kernel.sleep(ns(15)).await;
        kernel.restart(node);
        start("third life");
        kernel.sleep(ns(15)).await;
        assert_eq!(kernel.generation(node), 2);
        let expected = [(at(10), "first life"), (at(125), "second life"), (at(140), "third life")];
        assert_eq!(log.take(), expected);
    });
}

#[test]
fn the_end_of_a_run_drops_every_task_and_device() {
    let dropped = on_fresh_thread(|| {
        let dropped = Rc::new(Cell::new(0));
        let held = dropped.clone();
        let main = |kernel: Kernel| async move {
            let node = kernel.create_node("host");
            let frozen = kernel.create_node("frozen");
            for node in [NodeId::WORLD, node, frozen] {
                let (inside, held) = (kernel.clone(), Held(held.clone()));
                let (sender, receiver) = kernel.channel::<u32>();
                kernel.spawn(node, async move {
                    let (_held, _sender) = (held, sender);
                    inside.sleep(ns(5)).await;
                    receiver.recv().await;
                });
            }
            kernel.sleep(ns(1)).await;
            kernel.pause(frozen);
            kernel.sleep(ns(10)).await;
        };
        simulate(KernelOptions::with_seed(1), main).expect("it ends");
        dropped.get()
    });
    assert_eq!(dropped, 3);
}

#[test]
fn many_short_tasks_come_and_go() {
    run_to_end(|kernel| async move {
        let count = Rc::new(Cell::new(0));
        for _ in 0..20_000 {
            let count = count.clone();
            kernel.spawn(NodeId::WORLD, async move { count.set(count.get() + 1) });
            kernel.sleep(ns(1)).await;
        }
        assert_eq!(count.get(), 20_000);
    });
}

#[test]
fn a_stuck_run_ends_with_an_error() {
    let result = run(|kernel| async move {
        kernel.sleep(ns(42)).await;
        let (_resolver, completion) = kernel.completion::<()>();
        completion.await;
    });
    assert_eq!(result.map(|_| ()), Err(KernelError::Stuck { at: at(42) }));
}

#[test]
fn a_run_beyond_its_limit_ends_with_an_error() {
    let limit = Timestamp::from_secs(5);
    let result = on_fresh_thread(|| {
        let options = KernelOptions { time_limit: limit, ..KernelOptions::with_seed(1) };
        simulate(options, |kernel| async move {
            loop {
                kernel.sleep(Duration::from_secs(1)).await;
                assert!(kernel.now() <= limit);
            }
        })
    });
    assert_eq!(result.map(|((), _)| ()), Err(KernelError::TimeLimit { limit }));
}

#[test]
#[should_panic(expected = "the program is broken")]
fn a_panic_of_a_task_ends_the_run() {
    run_to_end(|kernel| async move {
        kernel.spawn(NodeId::WORLD, async { panic!("the program is broken") });
        kernel.sleep(ns(1)).await;
    });
}

#[test]
fn a_task_knows_its_node_and_an_event_has_none() {
    run_to_end(|kernel| async move {
        let node = kernel.create_node("somewhere");
        let seen = Rc::new(Cell::new(None));
        let (inside, found) = (kernel.clone(), seen.clone());
        kernel.spawn(node, async move {
            inside.sleep(ns(5)).await;
            found.set(Some(inside.current_node()));
        });
        kernel.sleep(ns(10)).await;
        assert_eq!(seen.get(), Some(Some(node)));
        kernel.restart(node);
        let (inside, found) = (kernel.clone(), seen.clone());
        seen.set(None);
        kernel.spawn(node, async move { found.set(Some(inside.current_node())) });
        kernel.sleep(ns(10)).await;
        assert_eq!(seen.get(), Some(Some(node)), "also in its next life");
        assert_eq!(kernel.node_name(node).as_ref(), "somewhere");
        assert_eq!(kernel.nodes(), node.0 + 1);
    });
}
