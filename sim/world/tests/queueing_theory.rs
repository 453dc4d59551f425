//! Trust in the devices: cores and links agree with queueing theory.
//!
//! Customers arrive in a Poisson stream and ask for service; their mean waiting time (without
//! the service itself) must be within 1 % of the formula:
//!
//! | system | mean waiting time, with `m` the mean service and `r` the utilisation |
//! |---|---|
//! | M/M/1 | `m r / (1 - r)` |
//! | M/D/1 | `m r / (2 (1 - r))` |
//! | M/M/c | `m C(c, r) / (c (1 - r))`, with Erlang's C, the probability to wait at all |
//! | tandem of two M/M/1 | the sum of both: departures of an M/M/1 are Poisson (Burke) |
//!
//! Runs are deterministic: a seed passes always or never. The numbers of customers are chosen so
//! that over seeds the measured mean has a standard deviation of at most 0.33 %, a third of the
//! tolerance (for an M/M/1 it is `sqrt((2 + 5r - 4r^2 + r^3) / (r (1 - r)^2 n))`).

use sim_model::time::{Timestamp, nanos};
use sim_world::distribution::Latency;
use sim_world::fault::Carrier;
use sim_world::host::{CpuTiming, Host, HostSpec};
use sim_world::kernel::{Kernel, KernelOptions, NodeId, on_fresh_thread, simulate};
use sim_world::meter::Meter;
use sim_world::network::{LinkProfile, Network};
use sim_world::seed::SeedTree;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// When a message arrives, with nothing wrong.
fn arrival(network: &Network, from: NodeId, to: NodeId, bytes: u64) -> Timestamp {
    let arrival = network.arrival((from, to), bytes, Carrier::Message, None);
    arrival.first().expect("nothing is wrong")
}

/// Customers before the measurement begins.
const WARM_UP: u64 = 50_000;
/// What the measured mean may be off, relatively.
const TOLERANCE: f64 = 0.01;
/// The mean service time.
const SERVICE: Duration = Duration::from_millis(1);

/// Work in progress on a core.
type Work = Pin<Box<dyn Future<Output = CpuTiming>>>;

fn run<T, F>(seed: u64, main: impl FnOnce(Kernel) -> F + Send) -> T
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let result = on_fresh_thread(|| simulate(KernelOptions::with_seed(seed), main));
    result.expect("the run comes to its end").0
}

fn host(kernel: &Kernel, name: &str, cores: u32) -> Host {
    let spec = HostSpec {
        name: name.to_owned(),
        cores,
        memory_bytes: 1 << 30,
        background_cores: 0.0,
        quantum: None,
    };
    Host::new(kernel, spec).expect("a valid host")
}

/// The mean of waiting times after the warm-up, in milliseconds.
#[derive(Default)]
struct Mean {
    customers: u64,
    total_nanos: u128,
}

impl Mean {
    fn add(&mut self, wait: Duration) {
        self.customers += 1;
        if self.customers > WARM_UP {
            self.total_nanos += u128::from(nanos(wait));
        }
    }

    fn ms(&self) -> f64 {
        self.total_nanos as f64 / (self.customers - WARM_UP) as f64 / 1e6
    }
}

fn assert_agrees(system: &str, measured_ms: f64, formula_ms: f64) {
    let error = measured_ms / formula_ms - 1.0;
    assert!(
        error.abs() < TOLERANCE,
        "{system}: mean waiting time {measured_ms} ms, formula {formula_ms} ms, off by {error:+}"
    );
}

/// Arrivals at `cores` cores with this utilisation of each; the mean waiting time in ms.
fn wait_for_cores(
    seed: u64,
    customers: u64,
    cores: u32,
    utilisation: f64,
    service: Latency,
) -> f64 {
    run(seed, move |kernel| async move {
        let seeds = SeedTree::new(seed);
        let host = host(&kernel, "server", cores);
        let (started, finished) = kernel.channel::<Work>();
        let (means, measured) = kernel.completion();
        kernel.spawn(NodeId::WORLD, async move {
            let mut mean = Mean::default();
            while mean.customers < customers {
                mean.add(finished.recv().await.await.queued);
            }
            means.resolve(mean.ms());
        });
        let gap = Latency::exponential(SERVICE.div_f64(utilisation * f64::from(cores)));
        let mut gaps = seeds.stream("gaps");
        let mut services = seeds.stream("services");
        for _ in 0..customers {
            kernel.sleep(gap.sample(&mut gaps)).await;
            started.send(Box::pin(host.run(service.sample(&mut services))));
        }
        measured.await
    })
}

#[test]
fn one_core_is_an_m_m_1_queue() {
    let measured = wait_for_cores(1, 2_700_000, 1, 0.5, Latency::exponential(SERVICE));
    assert_agrees("M/M/1", measured, 0.5 / 0.5);
}

#[test]
fn one_core_with_constant_work_is_an_m_d_1_queue() {
    let measured = wait_for_cores(2, 1_300_000, 1, 0.6, Latency::constant(SERVICE));
    assert_agrees("M/D/1", measured, 0.6 / (2.0 * 0.4));
}

#[test]
fn four_cores_are_an_m_m_4_queue() {
    let measured = wait_for_cores(3, 3_500_000, 4, 0.6, Latency::exponential(SERVICE));
    assert_agrees("M/M/4", measured, erlang_c(4, 0.6) / (4.0 * 0.4));
}

/// The probability that a customer of an M/M/c queue waits.
fn erlang_c(servers: u32, utilisation: f64) -> f64 {
    let offered = f64::from(servers) * utilisation;
    // Erlang's B by its recursion, then C from B.
    let blocked = (1..=servers).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    blocked / (1.0 - utilisation * (1.0 - blocked))
}

#[test]
fn erlang_c_agrees_with_published_values() {
    assert!((erlang_c(1, 0.6) - 0.6).abs() < 1e-12, "one server: the utilisation");
    assert!((erlang_c(2, 0.5) - 1.0 / 3.0).abs() < 1e-12);
}

#[test]
fn two_hosts_in_a_row_are_a_tandem() {
    let (seed, customers, utilisation) = (4, 1_200_000, 0.5);
    let measured = run(seed, move |kernel| async move {
        let seeds = SeedTree::new(seed);
        let (first, second) = (host(&kernel, "first", 1), host(&kernel, "second", 1));
        let (to_first, at_first) = kernel.channel::<Work>();
        let (to_second, at_second) = kernel.channel::<(Duration, Work)>();
        let (means, measured) = kernel.completion();
        let service = Latency::exponential(SERVICE);
        let mut second_services = seeds.stream("second services");
        let second_service = service.clone();
        // One core serves in turn, so awaiting in turn hands each customer on when it is done.
        kernel.spawn(NodeId::WORLD, async move {
            loop {
                let waited = at_first.recv().await.await.queued;
                let work = second.run(second_service.sample(&mut second_services));
                to_second.send((waited, Box::pin(work)));
            }
        });
        kernel.spawn(NodeId::WORLD, async move {
            let mut mean = Mean::default();
            while mean.customers < customers {
                let (waited, work) = at_second.recv().await;
                mean.add(waited + work.await.queued);
            }
            means.resolve(mean.ms());
        });
        let gap = Latency::exponential(SERVICE.div_f64(utilisation));
        let mut gaps = seeds.stream("gaps");
        let mut services = seeds.stream("first services");
        for _ in 0..customers {
            kernel.sleep(gap.sample(&mut gaps)).await;
            to_first.send(Box::pin(first.run(service.sample(&mut services))));
        }
        measured.await
    });
    assert_agrees("tandem", measured, 2.0 * utilisation / (1.0 - utilisation));
}

#[test]
fn the_bandwidth_of_a_link_is_an_m_m_1_queue() {
    let (seed, customers, utilisation) = (5, 1_500_000, 0.5);
    let bytes_per_s = 1_000_000_000u64;
    let measured = run(seed, move |kernel| async move {
        let seeds = SeedTree::new(seed);
        let (from, to) = (kernel.create_node("from"), kernel.create_node("to"));
        let profile = LinkProfile {
            latency: Latency::ZERO,
            bandwidth_bytes_per_s: Some(bytes_per_s),
            ordered: false,
        };
        let network = Network::new(&kernel, &seeds, &Meter::new(), profile);
        let gap = Latency::exponential(SERVICE.div_f64(utilisation));
        let service = Latency::exponential(SERVICE);
        let (mut gaps, mut sizes) = (seeds.stream("gaps"), seeds.stream("sizes"));
        let mut mean = Mean::default();
        for _ in 0..customers {
            kernel.sleep(gap.sample(&mut gaps)).await;
            // At a byte for each nanosecond a size is the time of its transmission.
            let transmission = service.sample(&mut sizes);
            let arrival = arrival(&network, from, to, nanos(transmission));
            mean.add(arrival.since(kernel.now()) - transmission);
        }
        mean.ms()
    });
    assert_agrees("link", measured, utilisation / (1.0 - utilisation));
}
