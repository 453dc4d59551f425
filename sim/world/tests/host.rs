//! Cores: queueing, time slices, background load, pause and crash, to the nanosecond.

use sim_model::time::Timestamp;
use sim_world::host::{CpuTiming, Host, HostSpec, HostSpecError};
use sim_world::kernel::{Kernel, KernelOptions, NodeId, on_fresh_thread, simulate};
use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn timing(queued: u64, ran: u64) -> CpuTiming {
    CpuTiming { queued: ms(queued), ran: ms(ran) }
}

fn spec(cores: u32) -> HostSpec {
    HostSpec {
        name: "host".to_owned(),
        cores,
        memory_bytes: 1 << 30,
        background_cores: 0.0,
        quantum: None,
    }
}

fn run<F>(spec: HostSpec, main: impl FnOnce(Kernel, Host) -> F + Send)
where
    F: Future<Output = ()> + 'static,
{
    let program = |kernel: Kernel| {
        let host = Host::new(&kernel, spec).expect("a valid host");
        main(kernel, host)
    };
    let result = on_fresh_thread(|| simulate(KernelOptions::with_seed(1), program));
    result.expect("the program comes to its end");
}

/// What became of jobs: when each was done, and how it fared.
#[derive(Clone, Default)]
struct Done(Rc<RefCell<Vec<(u64, Timestamp, CpuTiming)>>>);

impl Done {
    /// Gives the host `work`, and notes it under `name` when it is done.
    fn start(&self, kernel: &Kernel, host: &Host, name: u64, work: Duration) {
        let (done, job, kernel) = (self.0.clone(), host.run(work), kernel.clone());
        let owner = kernel.clone();
        owner.spawn(NodeId::WORLD, async move {
            let timing = job.await;
            done.borrow_mut().push((name, kernel.now(), timing));
        });
    }

    fn take(&self) -> Vec<(u64, Timestamp, CpuTiming)> {
        self.0.take()
    }
}

#[test]
fn work_queues_for_cores_first_come_first_served() {
    run(spec(2), |kernel, host| async move {
        let done = Done::default();
        for (name, work) in [(0, 10), (1, 20), (2, 5), (3, 1)] {
            done.start(&kernel, &host, name, ms(work));
        }
        assert_eq!(host.run_queue_length(), 2);
        kernel.sleep(ms(5)).await;
        assert_eq!(host.cpu_used(), ms(10), "two cores at work");
        kernel.sleep(ms(95)).await;
        let expected = [
            (0, at(10), timing(0, 10)),
            (2, at(15), timing(10, 5)),
            (3, at(16), timing(15, 1)),
            (1, at(20), timing(0, 20)),
        ];
        assert_eq!(done.take(), expected);
        assert_eq!(host.cpu_used(), ms(36));
        assert_eq!(host.run(Duration::ZERO).await, CpuTiming::default());
    });
}

#[test]
fn a_quantum_lets_short_work_pass_long_work() {
    run(HostSpec { quantum: Some(ms(10)), ..spec(1) }, |kernel, host| async move {
        let done = Done::default();
        done.start(&kernel, &host, 0, ms(35));
        done.start(&kernel, &host, 1, ms(5));
        done.start(&kernel, &host, 2, ms(10));
        kernel.sleep(ms(100)).await;
        let expected =
            [(1, at(15), timing(10, 5)), (2, at(25), timing(15, 10)), (0, at(50), timing(15, 35))];
        assert_eq!(done.take(), expected);
    });
}

#[test]
fn background_processes_slow_every_core() {
    run(HostSpec { background_cores: 1.0, ..spec(4) }, |kernel, host| async move {
        assert_eq!(host.run(ms(30)).await, timing(0, 40));
        assert_eq!(kernel.now(), at(40));
        assert_eq!(host.cpu_used(), ms(40));
    });
}

#[test]
fn a_paused_host_stands_still() {
    run(HostSpec { quantum: Some(ms(10)), ..spec(1) }, |kernel, host| async move {
        let done = Done::default();
        done.start(&kernel, &host, 0, ms(15));
        kernel.sleep(ms(4)).await;
        host.pause();
        host.pause();
        done.start(&kernel, &host, 1, ms(2));
        kernel.sleep(ms(100)).await;
        assert_eq!((host.cpu_used(), host.run_queue_length()), (ms(4), 1));
        host.resume();
        host.resume();
        kernel.sleep(ms(100)).await;
        // The slice goes on for the 6 ms it had left.
        let expected = [(1, at(112), timing(106, 2)), (0, at(117), timing(102, 15))];
        assert_eq!(done.take(), expected);
    });
}

#[test]
fn a_crash_loses_the_run_queue_and_what_ran() {
    run(spec(1), |kernel, host| async move {
        let done = Done::default();
        done.start(&kernel, &host, 0, ms(10));
        done.start(&kernel, &host, 1, ms(10));
        kernel.sleep(ms(4)).await;
        host.kill();
        assert!(!host.is_alive());
        assert_eq!((host.cpu_used(), host.run_queue_length()), (ms(4), 0));
        assert_eq!(kernel.timeout(ms(50), host.run(ms(1))).await, None, "a dead host runs nothing");
        host.restart();
        assert!(host.is_alive());
        assert_eq!(host.run(ms(3)).await, timing(0, 3));
        assert_eq!(done.take(), []);
    });
}

#[test]
fn a_node_killed_through_the_kernel_loses_its_work_too() {
    run(spec(1), |kernel, host| async move {
        let done = Done::default();
        done.start(&kernel, &host, 0, ms(10));
        done.start(&kernel, &host, 1, ms(10));
        kernel.sleep(ms(4)).await;
        kernel.restart(host.node());
        done.start(&kernel, &host, 2, ms(3));
        kernel.sleep(ms(100)).await;
        assert_eq!(done.take(), [(2, at(7), timing(0, 3))]);
        assert_eq!(host.cpu_used(), ms(7));
    });
}

#[test]
fn work_goes_on_when_nobody_waits_for_it() {
    run(spec(1), |kernel, host| async move {
        assert_eq!(kernel.timeout(ms(2), host.run(ms(10))).await, None);
        assert_eq!(host.run(ms(1)).await, timing(8, 1));
        assert_eq!(kernel.now(), at(11));
    });
}

#[test]
fn impossible_hosts_are_refused_by_name_and_field() {
    let refused = |spec: HostSpec| spec.validate().expect_err("impossible").to_string();
    assert!(spec(1).validate().is_ok());
    for background_cores in [1.0, -0.1, f64::NAN] {
        let error = refused(HostSpec { background_cores, ..spec(1) });
        assert!(error.starts_with("host host: background_cores = "), "{error}");
    }
    assert_eq!(
        spec(0).validate(),
        Err(HostSpecError::NoCores { name: "host".to_owned() }),
        "no core"
    );
    let error = refused(HostSpec { quantum: Some(Duration::ZERO), ..spec(1) });
    assert!(error.contains("quantum"), "{error}");
}
