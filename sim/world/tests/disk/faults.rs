//! Injected faults, limits and write-back.

use super::support::{ms, profile, run, run_with_digest, text};
use bytes::Bytes;
use sim_model::ledger::Category;
use sim_world::disk::{Disk, DiskError, DiskFault};
use sim_world::kernel::Kernel;
use sim_world::profile::DiskProfile;
use std::time::Duration;

#[test]
fn a_stall_holds_up_what_is_under_way() {
    run(profile(), |kernel, disk, _| async move {
        disk.append("log", text("some bytes")).await.expect("room");
        let begun = kernel.now();
        let sync = disk.sync("log");
        let stall = async {
            kernel.sleep(ms(1)).await;
            disk.inject(DiskFault::Stall { span: ms(50) });
        };
        let (synced, ()) = futures_util::future::join(sync, stall).await;
        // The data lands when the stall is over; then the journal and the flush.
        assert_eq!(kernel.now().since(begun), ms(1 + 50 + 3 + 5));
        assert_eq!(synced.expect("synced").timing.total(), ms(59));
        let begun = kernel.now();
        disk.inject(DiskFault::Stall { span: ms(10) });
        let timing = disk.sync("log").await.expect("synced").timing;
        assert_eq!(kernel.now().since(begun), ms(15));
        assert_eq!(timing.get(Category::Queueing), ms(10), "it was not taken up");
    });
}

#[test]
fn a_slow_disk_is_slow_until_it_is_mended() {
    run(profile(), |kernel, disk, _| async move {
        disk.inject(DiskFault::Slow { factor: 10.0 });
        disk.append("log", text("some bytes")).await.expect("room");
        let begun = kernel.now();
        disk.sync("log").await.expect("synced");
        assert_eq!(kernel.now().since(begun), ms(110));
        disk.inject(DiskFault::Slow { factor: 1.0 });
        let begun = kernel.now();
        disk.sync("log").await.expect("synced");
        assert_eq!(kernel.now().since(begun), ms(5));
    });
}

#[test]
fn a_failed_read_is_told_and_a_second_one_succeeds() {
    run(profile(), |_, disk, _| async move {
        disk.append("log", text("0123456789abcdefghij")).await.expect("room");
        disk.sync("log").await.expect("synced");
        disk.lose_power();
        disk.inject(DiskFault::ReadErrors { count: 2 });
        let error = disk.read_all("log").await.expect_err("the device fails");
        assert_eq!(error, DiskError::ReadFailed { file: "log".to_owned() });
        let error = disk.append("log", text("x")).await.expect_err("the last page is needed");
        assert_eq!(error, DiskError::ReadFailed { file: "log".to_owned() });
        assert_eq!(disk.read_all("log").await.expect("read").value.len(), 20);
        disk.append("log", text("x")).await.expect("read before");
    });
}

#[test]
fn a_failed_write_is_told_once_and_the_bytes_are_gone() {
    run(profile(), |_, disk, _| async move {
        disk.append("log", text("old")).await.expect("room");
        disk.sync("log").await.expect("synced");
        disk.write("log", 0, text("new")).await.expect("room");
        disk.inject(DiskFault::WriteErrors { count: 1 });
        let error = disk.sync("log").await.expect_err("the write failed");
        assert_eq!(error, DiskError::SyncFailed { file: "log".to_owned() });
        assert_eq!(&disk.read_all("log").await.expect("cached").value[..], b"new");
        disk.sync("log").await.expect("the second sync knows of nothing");
        disk.lose_power();
        assert_eq!(&disk.read_all("log").await.expect("there").value[..], b"old");
    });
}

#[test]
fn a_lost_write_is_told_to_nobody() {
    run(profile(), |_, disk, _| async move {
        disk.append("log", text("old")).await.expect("room");
        disk.sync("log").await.expect("synced");
        disk.write("log", 0, text("new")).await.expect("room");
        disk.inject(DiskFault::LostWrites { count: 1 });
        disk.sync("log").await.expect("the device says so");
        disk.lose_power();
        assert_eq!(&disk.read_all("log").await.expect("there").value[..], b"old");
    });
}

#[test]
fn rot_flips_bits_of_the_medium_only() {
    run(profile(), |_, disk, _| async move {
        disk.inject(DiskFault::BitRot { bits: 3 });
        let bytes = Bytes::from(vec![0; 100]);
        disk.append("log", bytes.clone()).await.expect("room");
        disk.sync("log").await.expect("synced");
        disk.inject(DiskFault::BitRot { bits: 1 });
        assert_eq!(disk.read_all("log").await.expect("cached").value, bytes);
        disk.lose_power();
        let read = disk.read_all("log").await.expect("there").value;
        assert_eq!(read.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    });
}

#[test]
fn a_full_disk_refuses_whole_writes() {
    run(DiskProfile { capacity_bytes: 64, ..profile() }, |_, disk, _| async move {
        disk.append("a", text("0123456789")).await.expect("room");
        disk.append("b", text("0123456789")).await.expect("room");
        assert_eq!(disk.free_bytes(), 32, "files take whole pages");
        let error =
            disk.append("a", Bytes::from(vec![1; 39])).await.expect_err("one page too many");
        assert_eq!(error, DiskError::Full { wanted: 48, free: 32 });
        assert_eq!(disk.size("a"), Some(10), "nothing was written");
        disk.append("a", Bytes::from(vec![1; 38])).await.expect("fits exactly");
        assert_eq!(disk.free_bytes(), 0);
        disk.write("a", 5, text("within")).await.expect("takes no more room");
        disk.delete("b").expect("there");
        disk.inject(DiskFault::Full { free_bytes: 0 });
        disk.append("c", text("x")).await.expect_err("somebody else took the room");
        disk.inject(DiskFault::Full { free_bytes: u64::MAX });
        disk.append("c", text("x")).await.expect("it was given back");
        disk.truncate("a", 1).expect("there");
        assert_eq!(disk.free_bytes(), 32);
    });
}

#[test]
fn old_dirty_pages_are_written_back_and_committed_in_rounds() {
    run(profile(), |kernel, disk, meter| async move {
        disk.append("log", text("not synced")).await.expect("room");
        assert_eq!(disk.dirty_bytes(), 16);
        // Rounds every 5 s; a page is due at the age of 30 s, its size is committed 5 s later.
        kernel.sleep(Duration::from_secs(29)).await;
        assert_eq!((disk.dirty_bytes(), meter.total("disk", "write")), (16, 1), "only the name");
        kernel.sleep(Duration::from_secs(2)).await;
        assert_eq!((disk.dirty_bytes(), meter.total("disk", "write")), (0, 2));
        kernel.sleep(Duration::from_secs(5)).await;
        let events = meter.total("disk", "write");
        assert_eq!(events, 3, "the size");
        kernel.sleep(Duration::from_secs(60)).await;
        assert_eq!(meter.total("disk", "write"), events, "rounds end when all is durable");
        disk.lose_power();
        assert_eq!(&disk.read_all("log").await.expect("there").value[..], b"not synced");
    });
}

#[test]
fn a_writer_waits_above_the_limit_of_dirty_pages() {
    let limited = DiskProfile { dirty_background_bytes: 32, dirty_limit_bytes: 64, ..profile() };
    run(limited, |kernel, disk, _| async move {
        let begun = kernel.now();
        disk.append("log", Bytes::from(vec![1; 48])).await.expect("room");
        assert_eq!(kernel.now(), begun, "above the background limit, below the other");
        assert_eq!(disk.dirty_bytes(), 0, "all is being written");
        disk.append("log", Bytes::from(vec![1; 16])).await.expect("room");
        assert_eq!(kernel.now(), begun, "at the limit");
        let reply = disk.append("log", Bytes::from(vec![1; 160])).await.expect("room");
        assert_eq!(kernel.now().since(begun), ms(3), "what is being written counts too");
        assert_eq!(reply.timing.get(Category::Queueing), ms(3));
        assert_eq!(reply.timing.total(), ms(3));
        assert_eq!(disk.size("log"), Some(224));
    });
}

#[test]
fn syncs_share_a_commit() {
    run(profile(), |kernel, disk, meter| async move {
        for file in 0..20 {
            disk.append(&format!("{file}"), text("x")).await.expect("room");
        }
        let begun = kernel.now();
        let names: Vec<String> = (0..20).map(|file| format!("{file}")).collect();
        let syncs = names.iter().map(|name| disk.sync(name));
        for synced in futures_util::future::join_all(syncs).await {
            synced.expect("synced");
        }
        // All data at once; one commit for the first, one for all others.
        assert_eq!(kernel.now().since(begun), ms(3 + 8 + 8));
        assert_eq!((meter.total("disk", "flush"), meter.total("disk", "fsync")), (2, 20));
    });
}

#[test]
fn names_are_durable_in_their_order_with_any_sync() {
    run(profile(), |_, disk, _| async move {
        disk.append("draft", text("new")).await.expect("room");
        disk.sync("draft").await.expect("synced");
        disk.append("other", text("unrelated")).await.expect("room");
        disk.rename("draft", "final").expect("there");
        disk.lose_power();
        assert_eq!(disk.list(), ["draft"], "neither change was committed");
        disk.append("other", text("unrelated")).await.expect("room");
        disk.rename("draft", "final").expect("there");
        disk.sync("final").await.expect("synced");
        disk.delete("final").expect("there");
        disk.lose_power();
        assert_eq!(disk.list(), ["final", "other"], "the sync committed all names before it");
        assert_eq!(disk.size("other"), Some(0), "and not the bytes of another file");
        disk.delete("final").expect("there");
        disk.sync_names().await.expect("synced");
        disk.lose_power();
        assert_eq!(disk.list(), ["other"]);
    });
}

#[test]
fn what_is_under_way_when_the_power_fails_ends_with_an_error() {
    run(profile(), |kernel, disk, _| async move {
        disk.append("log", text("x")).await.expect("room");
        let sync = disk.sync("log");
        let crash = async {
            kernel.sleep(ms(1)).await;
            disk.lose_power();
        };
        let (synced, ()) = futures_util::future::join(sync, crash).await;
        assert_eq!(synced.expect_err("no power"), DiskError::PowerLost);
        kernel.sleep(Duration::from_secs(60)).await;
        assert_eq!(disk.list(), Vec::<String>::new());
        disk.append("log", text("anew")).await.expect("room");
        disk.sync("log").await.expect("synced");
    });
}

#[test]
fn faults_are_events_and_equal_runs_agree() {
    let program = |fault: Option<DiskFault>| {
        move |kernel: Kernel, disk: Disk, _| async move {
            for number in 0..50u64 {
                disk.write("log", number * 7, text("some bytes")).await.expect("room");
                if number % 10 == 0 {
                    disk.sync("log").await.expect("synced");
                }
            }
            if let Some(fault) = fault {
                disk.inject(fault);
            }
            kernel.sleep(ms(1)).await;
            disk.lose_power();
            disk.read_all("log").await.expect("there").value
        }
    };
    let rot = DiskFault::BitRot { bits: 5 };
    let seeded = |seed, fault| run_with_digest(seed, profile(), program(fault));
    assert_eq!(seeded(1, Some(rot)), seeded(1, Some(rot)));
    assert_ne!(seeded(1, Some(rot)).0, seeded(2, Some(rot)).0, "other bits");
    let harmless = DiskFault::WriteErrors { count: 0 };
    assert_ne!(seeded(1, Some(harmless)).1, seeded(1, None).1, "the trail has the injection");
}

#[test]
fn a_failed_flush_is_told_and_a_later_one_covers_it() {
    let caching = DiskProfile { write_cache_bytes: 1 << 20, ..profile() };
    run(caching, |_, disk, _| async move {
        disk.append("log", text("one")).await.expect("room");
        disk.inject(DiskFault::SyncErrors { count: 2 });
        let failed = DiskError::FlushFailed { file: "log".to_owned() };
        // The first is the flush of the commit that makes name and size durable.
        assert_eq!(disk.sync("log").await, Err(failed.clone()));
        assert_eq!(disk.sync("log").await, Err(failed));
        disk.sync("log").await.expect("it works again");
        disk.lose_power();
        assert_eq!(&disk.read_all("log").await.expect("there").value[..], b"one");
        disk.inject(DiskFault::SyncErrors { count: 9 });
        disk.heal(DiskFault::SyncErrors { count: 9 });
        disk.write("log", 0, text("two")).await.expect("room");
        disk.sync("log").await.expect("it was mended");
    });
}

#[test]
fn a_misdirected_write_spoils_another_page() {
    run(profile(), |_, disk, _| async move {
        disk.append("victim", text("0123456789abcdef")).await.expect("room");
        disk.append("log", text("old")).await.expect("room");
        disk.sync("victim").await.expect("synced");
        disk.sync("log").await.expect("synced");
        disk.write("log", 0, text("new")).await.expect("room");
        disk.inject(DiskFault::MisdirectedWrites { count: 1 });
        disk.sync("log").await.expect("the device says so");
        disk.lose_power();
        assert_eq!(&disk.read_all("log").await.expect("there").value[..], b"old");
        let spoilt = disk.read_all("victim").await.expect("there").value;
        assert_eq!(&spoilt[..], b"new\0\0\0\0\0\0\0\0\0\0\0\0\0");
    });
}

/// How many bytes of each version a file has after so many power losses while it was overwritten.
fn versions_after_losses(losses: usize, torn: bool) -> Vec<(usize, usize)> {
    let mut seen = Vec::new();
    for count in 1..=losses {
        let found = run(profile(), move |kernel, disk, _| async move {
            disk.append("log", text("aaaaaaaaaaaaaaaa")).await.expect("room");
            disk.sync("log").await.expect("synced");
            if torn {
                disk.inject(DiskFault::TornSectors);
            }
            for _ in 0..count {
                disk.write("log", 0, text("bbbbbbbbbbbbbbbb")).await.expect("room");
                let sync = disk.sync("log");
                let cut = async {
                    kernel.sleep(Duration::from_micros(100)).await;
                    disk.lose_power();
                };
                let _ = futures_util::future::join(sync, cut).await;
            }
            let read = disk.read_all("log").await.expect("there").value;
            let bytes = |wanted| read.iter().filter(|byte| **byte == wanted).count();
            (bytes(b'a'), bytes(b'b'))
        });
        seen.push(found);
    }
    seen
}

#[test]
fn sectors_tear_only_if_a_fault_lets_them() {
    let sector = profile().sector_bytes as usize;
    let is_whole = |(a, b): &(usize, usize)| a % sector == 0 && b % sector == 0;
    let whole = versions_after_losses(12, false);
    assert!(whole.iter().all(is_whole), "{whole:?}");
    let torn = versions_after_losses(12, true);
    assert!(!torn.iter().all(is_whole), "{torn:?}");
}

#[test]
fn a_stall_can_end_early() {
    run(profile(), |kernel, disk, _| async move {
        disk.append("log", text("some bytes")).await.expect("room");
        let begun = kernel.now();
        let sync = disk.sync("log");
        let stall = async {
            kernel.sleep(ms(1)).await;
            disk.inject(DiskFault::Stall { span: Duration::from_secs(50) });
            kernel.sleep(ms(20)).await;
            disk.heal(DiskFault::Stall { span: Duration::from_secs(50) });
        };
        let (synced, ()) = futures_util::future::join(sync, stall).await;
        synced.expect("synced");
        let took = kernel.now().since(begun);
        assert!((ms(21)..=ms(1 + 20 + 9)).contains(&took), "{took:?}");
    });
}
