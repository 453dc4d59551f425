//! What an operation on a cloud service costs the simulator.
//!
//! Each figure is operations a second on one core, CPU charge, links, limits, effect, meter and
//! event trail included, with 800 tasks on 8 hosts. The mix is one step of an orchestration that
//! is stored operation by operation.
//!
//! Run with `cargo bench -p sim-world --bench services`.
#![allow(missing_docs, reason = "the macros of criterion make undocumented items")]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sim_world::host::Host;
use sim_world::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
use sim_world::profile::Profile;
use sim_world::table::{TableAction, TableOperation};
use sim_world::world::{Deployment, World};
use std::rc::Rc;
use std::time::Duration;

const CLIENTS: usize = 800;
const ROUNDS: usize = 60;
const OPERATIONS_PER_ROUND: usize = 7;
const BATCHES: usize = 100;

/// Runs `client` on all hosts, `CLIENTS` times at once.
fn run<F>(client: impl Fn(World, Host, usize) -> F + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let main = move |kernel: Kernel| async move {
        let profile = Profile::named("azure-2021-10").expect("embedded profiles are valid");
        let deployment = Deployment { plan: "EP3".to_owned(), hosts: 8, partitions: 12 };
        let world =
            World::new(&kernel, 7, Rc::new(profile), &deployment).expect("a valid deployment");
        let (done, all_done) = kernel.channel();
        for index in 0..CLIENTS {
            let host = world.hosts()[index % 8].clone();
            let (work, done) = (client(world.clone(), host.clone(), index), done.clone());
            host.spawn(async move {
                work.await;
                done.send(());
            });
        }
        for _ in 0..CLIENTS {
            all_done.recv().await;
        }
    };
    on_fresh_thread(|| simulate(KernelOptions::with_seed(1), main))
        .expect("the program comes to its end");
}

/// One orchestration step: fetch, read the history, put, transaction, merge, delete.
async fn steps(world: World, host: Host, client: usize) {
    let storage = world.storage();
    let queue = storage.queue(&format!("control-{}", client % 12));
    let (history, instances) = (storage.table("history"), storage.table("instances"));
    let body = Bytes::from(vec![7; 300]);
    for round in 0..ROUNDS {
        let instance = format!("instance-{client}-{}", round / 6);
        queue.put(&host, body.clone(), Duration::ZERO).await.expect("served");
        let taken = queue.get(&host, 1, Duration::from_secs(300)).await.expect("served");
        history.query_partition(&host, &instance).await.expect("served");
        let rows = (0..3)
            .map(|row| {
                let action = TableAction::InsertOrReplace(body.clone());
                TableOperation::new(format!("{:016x}", round % 6 * 3 + row), action)
            })
            .collect();
        history.transaction(&host, &instance, rows).await.expect("served");
        instances.insert_or_merge(&host, &instance, "", body.clone()).await.expect("served");
        instances.get(&host, &instance, "").await.expect("served");
        for message in taken.value {
            queue.delete(&host, message.id, message.pop_receipt).await.expect("served");
        }
    }
}

/// Batches of one event to an event log with a reader for each partition.
async fn batches(world: World, host: Host, client: usize) {
    let log = world.event_log("partitions", 12);
    if client < 12 {
        let (reader, partition) = (host.clone(), client as u32);
        let mut subscription = log.subscribe(&reader, partition, 0);
        host.spawn(async move {
            loop {
                subscription.recv(300).await;
            }
        });
    }
    let body = Bytes::from(vec![7; 300]);
    for _ in 0..BATCHES {
        while log.send(&host, client as u32 % 12, vec![body.clone()]).await.is_err() {
            world.kernel().sleep(Duration::from_secs(5)).await;
        }
    }
}

fn services(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("services");
    group.sample_size(10);
    group.throughput(Throughput::Elements((CLIENTS * ROUNDS * OPERATIONS_PER_ROUND) as u64));
    group.bench_function("storage operations", |bencher| bencher.iter(|| run(steps)));
    group.throughput(Throughput::Elements((CLIENTS * BATCHES) as u64));
    group.bench_function("event batches", |bencher| bencher.iter(|| run(batches)));
    group.finish();
}

criterion_group!(benches, services);
criterion_main!(benches);
