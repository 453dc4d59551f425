//! What tests of disks share.

use bytes::Bytes;
use sim_world::disk::Disk;
use sim_world::distribution::Latency;
use sim_world::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
use sim_world::meter::Meter;
use sim_world::profile::DiskProfile;
use sim_world::seed::SeedTree;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A device that reads in 2 ms, writes in 3 ms, flushes in 5 ms, and has no limits that matter;
/// small pages, so that few bytes make many.
pub fn profile() -> DiskProfile {
    DiskProfile {
        capacity_bytes: 1 << 20,
        sector_bytes: 4,
        page_bytes: 16,
        request_bytes_max: 64,
        queue_depth: 1024,
        iops: 1e10,
        bandwidth_bytes_per_s: 1e12,
        read: Latency::constant(ms(2)),
        write: Latency::constant(ms(3)),
        flush: Latency::constant(ms(5)),
        write_cache_bytes: 0,
        cache_bytes: 1 << 16,
        dirty_background_bytes: 1 << 14,
        dirty_limit_bytes: 1 << 15,
        writeback_interval: Duration::from_secs(5),
        dirty_expire: Duration::from_secs(30),
        price_per_hour: 0.0,
    }
}

/// Runs a program with a disk to its end; also the digest of its events.
pub fn run_with_digest<T, F>(
    seed: u64,
    profile: DiskProfile,
    main: impl FnOnce(Kernel, Disk, Meter) -> F + Send,
) -> (T, String)
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let program = |kernel: Kernel| {
        let meter = Meter::new();
        let disk = Disk::new(&kernel, &SeedTree::new(seed), &meter, "machine", &Arc::new(profile));
        main(kernel, disk, meter)
    };
    let run = on_fresh_thread(|| simulate(KernelOptions::with_seed(seed), program));
    let (value, trail) = run.expect("the program comes to its end");
    (value, format!("{trail:?}"))
}

/// Runs a program with a disk to its end.
pub fn run<T, F>(profile: DiskProfile, main: impl FnOnce(Kernel, Disk, Meter) -> F + Send) -> T
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    run_with_digest(1, profile, main).0
}
