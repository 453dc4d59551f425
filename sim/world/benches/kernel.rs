//! The bare cost of the kernel: timers, device requests, channels and spawns.
//!
//! Every figure is elements a second on one core. A *device request* is what every cloud
//! service, core and link does at least once for each operation: a task schedules an event and
//! waits, the device fires, completes the request, and the task runs again.
//!
//! Run with `cargo bench -p sim-world --bench kernel`.
#![allow(missing_docs, reason = "the macros of criterion make undocumented items")]

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use sim_world::host::{Host, HostSpec};
use sim_world::kernel::{
    Device, DeviceId, Kernel, KernelOptions, NodeId, Resolver, on_fresh_thread, simulate,
};
use slab::Slab;
use std::cell::RefCell;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Elements of one measured run, in all: so many that its set-up, with the spawning of up to
/// 100,000 tasks, counts for little.
const ELEMENTS: u64 = 2_000_000;

/// Runs one program to its end.
fn run<F>(main: impl FnOnce(Kernel) -> F + Send)
where
    F: Future<Output = ()> + 'static,
{
    let result = on_fresh_thread(|| simulate(KernelOptions::with_seed(1), main));
    result.expect("the program comes to its end");
}

/// Spawns `clients` tasks, each with random numbers of its own, and waits for all.
async fn join_clients<F>(kernel: Kernel, clients: u64, client: impl Fn(Xorshift) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let (done, all_done) = kernel.channel();
    for index in 0..clients {
        let work = client(Xorshift(index.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1));
        let done = done.clone();
        kernel.spawn(NodeId::WORLD, async move {
            work.await;
            done.send(());
        });
    }
    for _ in 0..clients {
        all_done.recv().await;
    }
}

/// Random numbers that cost next to nothing, so that the kernel is measured and not the seed
/// tree.
struct Xorshift(u64);

impl Xorshift {
    /// A latency of about a millisecond.
    fn latency(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_nanos(1_000 + self.0 % 2_000_000)
    }
}

/// Each task sleeps for a time of its own, again and again.
async fn timers(kernel: Kernel, tasks: u64) {
    let sleeper = kernel.clone();
    let client = move |mut random: Xorshift| {
        let kernel = sleeper.clone();
        async move {
            for _ in 0..ELEMENTS / tasks {
                kernel.sleep(random.latency()).await;
            }
        }
    };
    join_clients(kernel, tasks, client).await;
}

/// Completes every request after the latency it names.
struct Server {
    kernel: Kernel,
    id: DeviceId,
    waiting: RefCell<Slab<Resolver<u64>>>,
}

impl Server {
    fn new(kernel: &Kernel) -> Rc<Server> {
        Rc::new_cyclic(|weak: &Weak<Server>| Server {
            kernel: kernel.clone(),
            id: kernel.register("server", weak.clone()),
            waiting: RefCell::default(),
        })
    }

    fn request(&self, latency: Duration) -> impl Future<Output = u64> + use<> {
        let (resolver, completion) = self.kernel.completion();
        let token = self.waiting.borrow_mut().insert(resolver);
        self.kernel.schedule(self.kernel.now() + latency, self.id, token as u64);
        completion
    }
}

impl Device for Server {
    fn fire(&self, token: u64) {
        let resolver = self.waiting.borrow_mut().remove(token as usize);
        resolver.resolve(token);
    }
}

/// Each client sends one request after another to one server.
async fn device_requests(kernel: Kernel, clients: u64) {
    let server = Server::new(&kernel);
    let client = move |mut random: Xorshift| {
        let server = server.clone();
        async move {
            for _ in 0..ELEMENTS / clients {
                server.request(random.latency()).await;
            }
        }
    };
    join_clients(kernel, clients, client).await;
}

/// Each client gives one piece of work after another to a host of eight cores.
async fn host_work(kernel: Kernel, clients: u64) {
    let spec = HostSpec {
        name: "host".to_owned(),
        cores: 8,
        memory_bytes: 1 << 30,
        background_cores: 0.0,
        quantum: None,
    };
    let host = Host::new(&kernel, spec).expect("a valid host");
    let client = move |mut random: Xorshift| {
        let host = host.clone();
        async move {
            for _ in 0..ELEMENTS / clients {
                host.run(random.latency()).await;
            }
        }
    };
    join_clients(kernel, clients, client).await;
}

/// Pairs of tasks that send a value to and fro; an element is one message.
async fn ping_pong(kernel: Kernel, pairs: u64) {
    let (rounds, channels) = (ELEMENTS / pairs / 2, kernel.clone());
    let client = move |_| {
        let kernel = channels.clone();
        let ((ping, pinged), (pong, ponged)) = (kernel.channel(), kernel.channel());
        kernel.spawn(NodeId::WORLD, async move {
            loop {
                pong.send(pinged.recv().await);
            }
        });
        async move {
            for round in 0..rounds {
                ping.send(round);
                ponged.recv().await;
            }
        }
    };
    join_clients(kernel, pairs, client).await;
}

/// Tasks that are spawned, run once, and end.
async fn spawns(kernel: Kernel) {
    const BATCH: u64 = 100;
    for _ in 0..ELEMENTS / BATCH {
        for _ in 0..BATCH {
            kernel.spawn(NodeId::WORLD, async {});
        }
        kernel.sleep(Duration::from_nanos(1)).await;
    }
}

fn kernel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kernel");
    group.throughput(Throughput::Elements(ELEMENTS));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for outstanding in [1_000, 100_000] {
        let name = format!("timers, {outstanding} outstanding");
        group.bench_function(name, |bench| {
            bench.iter(|| run(|kernel| timers(kernel, outstanding)));
        });
    }
    for clients in [10, 1_000] {
        let name = format!("device requests, {clients} clients");
        group.bench_function(name, |bench| {
            bench.iter(|| run(|kernel| device_requests(kernel, clients)));
        });
    }
    group.bench_function("work on 8 cores, 1000 clients", |bench| {
        bench.iter(|| run(|kernel| host_work(kernel, 1_000)));
    });
    for pairs in [10, 1_000] {
        let name = format!("channel messages, {pairs} pairs");
        group.bench_function(name, |bench| {
            bench.iter(|| run(|kernel| ping_pong(kernel, pairs)));
        });
    }
    group.bench_function("spawns", |bench| bench.iter(|| run(spawns)));
    group.finish();
}

criterion_group!(benches, kernel);
criterion_main!(benches);
