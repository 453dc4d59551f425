//! Devices fire in order, at their instants.

use crate::support::{Log, at, ns, run_to_end};
use sim_model::time::Timestamp;
use sim_world::kernel::{Device, DeviceId, Kernel, NodeId, Resolver};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// Schedules events and logs when they fire.
struct Bell {
    kernel: Kernel,
    log: Log<(Timestamp, u64)>,
}

impl Device for Bell {
    fn fire(&self, token: u64) {
        self.log.push((self.kernel.now(), token));
    }
}

fn bell(kernel: &Kernel, log: &Log<(Timestamp, u64)>) -> (Rc<Bell>, DeviceId) {
    let bell = Rc::new(Bell { kernel: kernel.clone(), log: log.clone() });
    let device: Rc<dyn Device> = bell.clone();
    let id = kernel.register("bell", Rc::downgrade(&device));
    (bell, id)
}

#[test]
fn events_fire_in_order_of_time_and_scheduling() {
    let log = run_to_end(|kernel| async move {
        let log = Log::new();
        let (_bell, id) = bell(&kernel, &log);
        kernel.schedule(at(20), id, 1);
        kernel.schedule(at(10), id, 2);
        kernel.schedule(at(20), id, 3);
        let cancelled = kernel.schedule(at(15), id, 4);
        kernel.schedule(at(10), id, 5);
        assert!(kernel.cancel(cancelled));
        assert!(!kernel.cancel(cancelled), "cancelled before");
        kernel.sleep(ns(25)).await;
        let past = kernel.schedule(at(1), id, 6);
        assert_eq!(past.at(), at(25), "an instant that has passed becomes now");
        kernel.sleep(ns(1)).await;
        assert!(!kernel.cancel(past), "fired before");
        log.take()
    });
    let expected = [(10, 2), (10, 5), (20, 1), (20, 3), (25, 6)];
    assert_eq!(log, expected.map(|(time, token)| (at(time), token)));
}

#[test]
fn events_of_a_dropped_device_are_void() {
    run_to_end(|kernel| async move {
        let log = Log::new();
        let (device, id) = bell(&kernel, &log);
        kernel.schedule(at(10), id, 1);
        drop(device);
        kernel.sleep(ns(20)).await;
        assert_eq!(log.take(), []);
    });
}

/// Resolves a completion when it fires.
struct Responder {
    kernel: Kernel,
    waiting: RefCell<Option<Resolver<Timestamp>>>,
}

impl Device for Responder {
    fn fire(&self, _token: u64) {
        let resolver = self.waiting.take().expect("one request");
        resolver.resolve(self.kernel.now());
    }
}

#[test]
fn a_device_completes_a_request_at_its_own_instant() {
    run_to_end(|kernel| async move {
        let responder = Rc::new(Responder { kernel: kernel.clone(), waiting: RefCell::default() });
        let device: Rc<dyn Device> = responder.clone();
        let id = kernel.register("responder", Rc::downgrade(&device));
        for round in 1..100u64 {
            let (resolver, completion) = kernel.completion();
            *responder.waiting.borrow_mut() = Some(resolver);
            kernel.schedule(at(round * 1000 + round), id, 0);
            // Later events of this and of other devices do not run ahead of the woken task.
            kernel.schedule(at(round * 1000 + round + 1), DeviceId::KERNEL, 0);
            assert_eq!(completion.await, at(round * 1000 + round));
            assert_eq!(kernel.now(), at(round * 1000 + round));
        }
    });
}

/// Restarts a node and spawns a task there whenever it fires.
struct Operator {
    kernel: Kernel,
    node: NodeId,
    log: Log<Timestamp>,
}

impl Device for Operator {
    fn fire(&self, _token: u64) {
        let (kernel, log) = (self.kernel.clone(), self.log.clone());
        kernel.restart(self.node);
        kernel.pause(self.node);
        kernel.resume(self.node);
        self.kernel.spawn(self.node, async move {
            loop {
                log.push(kernel.now());
                kernel.sleep(ns(10)).await;
            }
        });
    }
}

#[test]
fn a_device_may_restart_nodes_and_spawn_tasks() {
    run_to_end(|kernel| async move {
        let (node, log) = (kernel.create_node("host"), Log::new());
        let operator = Rc::new(Operator { kernel: kernel.clone(), node, log: log.clone() });
        let device: Rc<dyn Device> = operator.clone();
        let id = kernel.register("operator", Rc::downgrade(&device));
        kernel.schedule(at(100), id, 0);
        kernel.schedule(at(115), id, 0);
        kernel.sleep(ns(130)).await;
        assert_eq!(log.take(), [100, 110, 115, 125].map(at));
        assert_eq!(kernel.generation(node), 2);
    });
}

/// Devices hold the kernel, the kernel holds devices weakly: nothing keeps a device alive.
#[test]
fn the_kernel_does_not_keep_devices_alive() {
    run_to_end(|kernel| async move {
        let (device, _) = bell(&kernel, &Log::new());
        let weak: Weak<Bell> = Rc::downgrade(&device);
        drop(device);
        assert!(weak.upgrade().is_none());
    });
}
