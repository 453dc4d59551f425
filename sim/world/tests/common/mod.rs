//! What tests of services share.

use sim_world::distribution::Latency;
use sim_world::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
use sim_world::profile::Profile;
use sim_world::world::{Deployment, World};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a program to its end with the embedded profile, changed by `change`.
pub fn run<T, F>(
    change: impl FnOnce(&mut Profile) + Send,
    main: impl FnOnce(Kernel, Rc<Profile>) -> F + Send,
) -> T
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    on_fresh_thread(|| {
        let mut profile = Profile::named("azure-2021-10").expect("embedded profiles are valid");
        change(&mut profile);
        simulate(KernelOptions::with_seed(1), |kernel| main(kernel, Rc::new(profile)))
            .expect("the program comes to its end")
            .0
    })
}

/// A deployment of plan EP2.
pub fn world(kernel: &Kernel, profile: Rc<Profile>, hosts: u32) -> World {
    let deployment = Deployment { plan: "EP2".to_owned(), hosts, partitions: 4 };
    World::new(kernel, 7, profile, &deployment).expect("a valid deployment")
}

/// Links take 1 ms, servers 5 ms, and CPU nothing.
pub fn deterministic(profile: &mut Profile) {
    let way = Latency::constant(ms(1));
    profile.links.host_to_service.latency = way.clone();
    profile.links.host_to_host.latency = way.clone();
    profile.links.client_to_host.latency = way;
    profile.cpu.storage_request = Duration::ZERO;
    profile.cpu.event_send = Duration::ZERO;
    let services = &mut profile.services;
    let (q, t, b) =
        (&mut services.queue.latency, &mut services.table.latency, &mut services.blob.latency);
    let all = [
        &mut q.put,
        &mut q.get,
        &mut q.delete,
        &mut q.update,
        &mut q.peek,
        &mut q.length,
        &mut t.get,
        &mut t.query,
        &mut t.insert,
        &mut t.replace,
        &mut t.merge,
        &mut t.delete,
        &mut t.transaction,
        &mut b.put,
        &mut b.get,
        &mut b.delete,
        &mut b.page_create,
        &mut b.page_write,
        &mut b.append,
        &mut b.lease,
        &mut b.list,
        &mut services.eventlog.send,
    ];
    for latency in all {
        *latency = Latency::constant(ms(5));
    }
}
