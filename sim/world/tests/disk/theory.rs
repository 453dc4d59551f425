//! The whole disk waits as its device does: each reply's timing is that of the queue's recursion.
//!
//! Reads arrive in a Poisson stream; the page cache holds one page, so each is a request. A queue
//! that is served in the order of arrival has exact waiting times, customer by customer: with one
//! server `w' = max(0, w + service - gap)`, with several the earliest free one. That the device in
//! itself agrees with the formulas for means is tested beside it (`src/disk/drive.rs`).

use super::support::{profile, run};
use bytes::Bytes;
use sim_model::ledger::Category;
use sim_model::time::Timestamp;
use sim_world::distribution::Latency;
use sim_world::kernel::NodeId;
use sim_world::profile::DiskProfile;
use sim_world::seed::SeedTree;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const CUSTOMERS: usize = 20_000;
/// More than ever wait at once, so that no two reads share a request.
const PAGES: u64 = 1000;

/// Arrivals with a mean gap of `gap_ms`: when each came, waited, and was served.
fn reads(gap_ms: f64, profile: DiskProfile) -> Vec<(Timestamp, Duration, Duration)> {
    let profile = DiskProfile {
        cache_bytes: 16,
        dirty_limit_bytes: 16,
        dirty_background_bytes: 0,
        ..profile
    };
    run(profile, move |kernel, disk, _| async move {
        for page in 0..PAGES {
            disk.write("file", page * 16, Bytes::from(vec![1; 16])).await.expect("room");
        }
        disk.sync("file").await.expect("synced");
        let mut gaps = SeedTree::new(1).stream("gaps");
        let gap = Latency::Exponential { mean_ms: gap_ms };
        let fared = Rc::new(RefCell::new(vec![None; CUSTOMERS]));
        for number in 0..CUSTOMERS {
            kernel.sleep(gap.sample(&mut gaps)).await;
            let (disk, fared, came) = (disk.clone(), fared.clone(), kernel.now());
            kernel.spawn(NodeId::WORLD, async move {
                let page = number as u64 % PAGES;
                let timing = disk.read("file", page * 16, 16).await.expect("there").timing;
                let (waited, served) =
                    (timing.get(Category::Queueing), timing.get(Category::Storage));
                fared.borrow_mut()[number] = Some((came, waited, served));
            });
        }
        kernel.sleep(Duration::from_secs(1)).await;
        fared.take().into_iter().map(|it| it.expect("every read has ended")).collect()
    })
}

/// Checks each customer's wait against first come, first served by `servers`, with the times for
/// which the customers occupied a server.
fn check(fared: &[(Timestamp, Duration, Duration)], servers: usize, occupied: &[Duration]) {
    let mut free = vec![Timestamp::ZERO; servers];
    let mut mean_ms = 0.0;
    for (number, (came, waited, _)) in fared.iter().enumerate() {
        let server = (0..servers).min_by_key(|server| free[*server]).expect("a server");
        let turn = free[server].max(*came);
        assert_eq!(*waited, turn.since(*came), "customer {number}");
        free[server] = turn + occupied[number];
        mean_ms += waited.as_secs_f64() * 1e3 / fared.len() as f64;
    }
    assert!(mean_ms > 0.3, "there was a queue: {mean_ms} ms");
}

#[test]
fn bandwidth_is_one_server_that_transfers() {
    // 16 bytes at 16 kB/s take 1 ms.
    let limited = DiskProfile { bandwidth_bytes_per_s: 16_000.0, ..profile() };
    let fared = reads(2.0, limited);
    assert!(fared.iter().all(|(_, _, served)| *served == Duration::from_millis(1 + 2)));
    check(&fared, 1, &vec![Duration::from_millis(1); CUSTOMERS]);
}

#[test]
fn the_rate_of_requests_is_one_server_that_admits() {
    let limited = DiskProfile { iops: 1000.0, ..profile() };
    let fared = reads(2.0, limited);
    assert!(fared.iter().all(|(_, _, served)| *served == Duration::from_millis(2)));
    check(&fared, 1, &vec![Duration::from_millis(1); CUSTOMERS]);
}

#[test]
fn the_depth_of_the_queue_is_the_number_of_servers() {
    let read = Latency::Exponential { mean_ms: 2.0 };
    let limited = DiskProfile { queue_depth: 4, read, iops: 1e12, ..profile() };
    let fared = reads(2.0 / 4.0 / 0.8, limited);
    let served: Vec<Duration> = fared.iter().map(|(_, _, served)| *served).collect();
    check(&fared, 4, &served);
}
