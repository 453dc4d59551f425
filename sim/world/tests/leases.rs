//! Leases of blobs: whom they exclude, how they end, and how they change hands.

mod common;

use bytes::Bytes;
use common::{deterministic, run, world};
use sim_world::blob::LeaseId;
use sim_world::distribution::Latency;
use sim_world::profile::Profile;
use sim_world::service::StorageError;
use std::time::Duration;

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn leases_exclude_and_run_out() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 2);
        let (one, two) = (&world.hosts()[0], &world.hosts()[1]);
        let blobs = world.storage().container("c");
        let term = Some(Duration::from_secs(15));
        let acquire = async |host| -> Result<LeaseId, StorageError> {
            blobs.acquire_lease(host, "b", term).await.map(|reply| reply.value)
        };
        assert_eq!(acquire(one).await.expect_err("absent").status(), 404);
        blobs.put(one, "b", text("0"), None).await.expect("put");
        let lease = acquire(one).await.expect("free");
        assert_eq!(acquire(two).await.expect_err("held").status(), 409);
        let without = blobs.put(two, "b", text("2"), None).await;
        assert_eq!(without.expect_err("leased"), StorageError::LeaseLost);
        blobs.put(one, "b", text("1"), Some(lease)).await.expect("the holder");
        kernel.sleep(Duration::from_secs(10)).await;
        blobs.renew_lease(one, "b", lease).await.expect("held");
        kernel.sleep(Duration::from_secs(10)).await;
        assert_eq!(acquire(two).await.expect_err("renewed").status(), 409);
        kernel.sleep(Duration::from_secs(6)).await;
        let late = blobs.put(one, "b", text("1"), Some(lease)).await;
        assert_eq!(late.expect_err("ran out"), StorageError::LeaseLost);
        blobs.renew_lease(one, "b", lease).await.expect("nobody took it");
        kernel.sleep(Duration::from_secs(16)).await;
        let taken = acquire(two).await.expect("ran out");
        assert_eq!(blobs.renew_lease(one, "b", lease).await.expect_err("taken").status(), 409);
        blobs.release_lease(two, "b", taken).await.expect("held");
        let lease = acquire(one).await.expect("released");
        blobs.break_lease(two, "b").await.expect("held");
        assert_eq!(blobs.break_lease(two, "b").await.expect_err("none").status(), 409);
        let late = blobs.delete(one, "b", Some(lease)).await;
        assert_eq!(late.expect_err("broken"), StorageError::LeaseLost);
        assert_eq!(&blobs.get(one, "b").await.expect("exists").value[..], b"1");
    });
}

#[test]
fn a_lease_is_changed_by_whoever_knows_it_and_lists_show_what_is_leased() {
    run(deterministic, |kernel, profile| async move {
        let world = world(&kernel, profile, 2);
        let (one, two) = (&world.hosts()[0], &world.hosts()[1]);
        let blobs = world.storage().container("c");
        for name in ["leases/a", "leases/b", "others/c"] {
            blobs.put(one, name, text("0"), None).await.expect("put");
        }
        let term = Some(Duration::from_secs(15));
        let first = blobs.acquire_lease(one, "leases/b", term).await.expect("free").value;
        let listed = async || {
            let listed = blobs.list_details(two, "leases/").await.expect("listed").value;
            listed.iter().map(|blob| format!("{}={}", blob.name, blob.leased)).collect::<Vec<_>>()
        };
        assert_eq!(listed().await, ["leases/a=false", "leases/b=true"]);
        kernel.sleep(Duration::from_secs(10)).await;
        // Written down and read by another, who takes over; its term starts anew.
        let read = LeaseId::from_bits(first.to_bits());
        let second = blobs.change_lease(two, "leases/b", read).await.expect("known").value;
        kernel.sleep(Duration::from_secs(10)).await;
        assert_eq!(
            blobs.renew_lease(one, "leases/b", first).await.expect_err("lost").status(),
            409
        );
        blobs.put(two, "leases/b", text("2"), Some(second)).await.expect("the holder");
        kernel.sleep(Duration::from_secs(6)).await;
        assert_eq!(listed().await, ["leases/a=false", "leases/b=false"]);
        let late = blobs.change_lease(one, "leases/b", second).await;
        assert_eq!(late.expect_err("ran out").status(), 409);
    });
}

#[test]
fn a_lease_fences_the_late_write_of_its_former_holder() {
    let change = |profile: &mut Profile| {
        deterministic(profile);
        profile.services.blob.latency.page_write = Latency::constant(Duration::from_secs(40));
    };
    run(change, |kernel, profile| async move {
        let world = world(&kernel, profile, 2);
        let (one, two) = (&world.hosts()[0], &world.hosts()[1]);
        let blobs = world.storage().container("c");
        blobs.page_create(one, "log", 4096, None).await.expect("created");
        let term = Some(Duration::from_secs(15));
        let first = blobs.acquire_lease(one, "log", term).await.expect("free").value;
        let (late, client) = (blobs.clone(), one.clone());
        one.spawn(async move {
            let body = Bytes::from(vec![1; 512]);
            let _ = late.page_write(&client, "log", 0, body, Some(first)).await;
            panic!("the writer has died");
        });
        kernel.sleep(Duration::from_secs(1)).await;
        one.kill();
        kernel.sleep(Duration::from_secs(15)).await;
        blobs.acquire_lease(two, "log", term).await.expect("the first ran out");
        kernel.sleep(Duration::from_secs(30)).await;
        assert_eq!(world.meter().total("blob", "page_write"), 1, "served after its client died");
        let content = blobs.get(two, "log").await.expect("exists").value;
        assert!(content.iter().all(|byte| *byte == 0), "and refused");
    });
}
