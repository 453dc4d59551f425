//! Virtual time that stands still ends the run with an error, and does not hang it.

use crate::support::{at, ns};
use sim_world::kernel::{
    Device, DeviceId, Kernel, KernelError, KernelOptions, NodeId, on_fresh_thread, simulate,
};
use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

const LIMIT: u64 = 10_000;

/// The error of a program that would never end: instant, steps and who took the last.
fn standstill<F>(main: impl FnOnce(Kernel) -> F + Send) -> (u64, u64, String)
where
    F: Future<Output = ()> + 'static,
{
    let options = KernelOptions { standstill_limit: LIMIT, ..KernelOptions::with_seed(1) };
    match on_fresh_thread(|| simulate(options, main)).map(|((), _)| ()) {
        Err(KernelError::Standstill { at, steps, last, .. }) => (at.as_nanos(), steps, last),
        other => panic!("not a standstill: {other:?}"),
    }
}

/// Gives way to other tasks, ready to go on at once.
async fn give_way() {
    let mut given = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn for_ever() {
    std::future::pending().await
}

#[test]
fn a_task_that_yields_for_ever_is_named_by_its_node() {
    let (at, steps, last) = standstill(|kernel| async move {
        let node = kernel.create_node("busy");
        kernel.sleep(ns(42)).await;
        kernel.spawn(node, async {
            loop {
                give_way().await;
            }
        });
        for_ever().await;
    });
    assert_eq!((at, steps, last.as_str()), (42, LIMIT, "a task of busy"));
}

#[test]
fn a_program_that_yields_for_ever_ends() {
    let (_, _, last) = standstill(|_| async {
        loop {
            give_way().await;
        }
    });
    assert_eq!(last, "the program");
}

#[test]
fn two_tasks_that_send_each_other_a_message_for_ever_end() {
    let (_, _, last) = standstill(|kernel| async move {
        let (ping, pinged) = kernel.channel();
        let (pong, ponged) = kernel.channel();
        let (first, second) = (kernel.create_node("table"), kernel.create_node("tennis"));
        ping.send(());
        kernel.spawn(first, async move {
            loop {
                pinged.recv().await;
                pong.send(());
            }
        });
        kernel.spawn(second, async move {
            loop {
                ponged.recv().await;
                ping.send(());
            }
        });
        for_ever().await;
    });
    assert!(["a task of table", "a task of tennis"].contains(&last.as_str()), "{last}");
}

#[test]
fn a_loop_around_a_wait_of_no_length_ends_within_one_poll() {
    let (_, _, last) = standstill(|kernel| async move {
        let node = kernel.create_node("hasty");
        let inside = kernel.clone();
        kernel.spawn(node, async move {
            loop {
                inside.sleep(Duration::ZERO).await;
            }
        });
        for_ever().await;
    });
    assert_eq!(last, "a task of hasty");
}

#[test]
fn a_task_that_spawns_its_successor_for_ever_ends() {
    fn spawn_next(kernel: Kernel, node: NodeId) {
        let next = kernel.clone();
        kernel.spawn(node, async move { spawn_next(next, node) });
    }
    let (_, _, last) = standstill(|kernel| async move {
        let node = kernel.create_node("hydra");
        spawn_next(kernel, node);
        for_ever().await;
    });
    assert_eq!(last, "a task of hydra");
}

#[test]
fn a_device_that_schedules_itself_now_is_named() {
    struct Restless {
        kernel: Kernel,
        id: Cell<Option<DeviceId>>,
    }
    impl Device for Restless {
        fn fire(&self, token: u64) {
            let id = self.id.get().expect("it was registered");
            self.kernel.schedule(self.kernel.now(), id, token + 1);
        }
    }
    let (at, _, last) = standstill(|kernel| async move {
        let restless = Rc::new(Restless { kernel: kernel.clone(), id: Cell::new(None) });
        let device: Rc<dyn Device> = restless.clone();
        let id = kernel.register("restless", Rc::downgrade(&device));
        restless.id.set(Some(id));
        kernel.schedule(at(7), id, 0);
        for_ever().await;
    });
    assert_eq!((at, last.as_str()), (7, "restless"));
}

#[test]
fn time_that_creeps_is_no_better_than_time_that_stands() {
    let (at, _, _) = standstill(|kernel| async move {
        loop {
            kernel.sleep(ns(1)).await;
        }
    });
    assert!(at > 0, "it moved");
}

#[test]
fn steps_below_the_limit_in_every_window_are_no_standstill() {
    let options = KernelOptions { standstill_limit: LIMIT, ..KernelOptions::with_seed(1) };
    let result = on_fresh_thread(|| {
        simulate(options, |kernel| async move {
            for _ in 0..20 {
                for _ in 0..LIMIT / 2 {
                    give_way().await;
                }
                kernel.sleep(Duration::from_millis(1)).await;
            }
            kernel.now()
        })
    });
    assert_eq!(result.map(|(end, _)| end), Ok(at(20_000_000)));
}

#[test]
fn the_same_run_ends_at_the_same_step() {
    let program = |kernel: Kernel| async move {
        for name in ["a", "b", "c"] {
            let node = kernel.create_node(name);
            kernel.spawn(node, async {
                loop {
                    give_way().await;
                }
            });
        }
        for_ever().await;
    };
    assert_eq!(standstill(program), standstill(program));
}
