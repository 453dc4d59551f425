//! Files, page cache, durability: what a process sees and how long it takes.

use super::support::{ms, profile, run, text};
use bytes::Bytes;
use sim_model::ledger::Category;
use sim_world::disk::DiskError;
use std::time::Duration;

#[test]
fn what_is_written_is_read_and_takes_no_time_in_the_cache() {
    run(profile(), |kernel, disk, meter| async move {
        let begun = kernel.now();
        assert_eq!(disk.append("log", text("hello, ")).await.expect("room").value, 0);
        assert_eq!(disk.append("log", text("world of pages")).await.expect("room").value, 7);
        disk.write("log", 7, text("WORLD")).await.expect("room");
        disk.write("gap", 20, text("x")).await.expect("room");
        let read = disk.read("log", 5, 9).await.expect("there");
        assert_eq!(&read.value[..], b", WORLD o");
        assert_eq!(read.timing.total(), Duration::ZERO);
        assert_eq!(&disk.read_all("log").await.expect("there").value[..], b"hello, WORLD of pages");
        let gap = disk.read_all("gap").await.expect("there").value;
        assert_eq!(gap, Bytes::from([vec![0; 20], vec![b'x']].concat()), "gaps are zeros");
        assert_eq!(kernel.now(), begun, "the page cache takes no time");
        assert_eq!(disk.list(), ["gap", "log"]);
        assert_eq!((disk.size("log"), disk.size("none")), (Some(21), None));
        assert_eq!(meter.snapshot(), [], "the device was not touched");
        let error = disk.read("log", 20, 2).await.expect_err("beyond the end");
        assert!(matches!(error, DiskError::BeyondEnd { size: 21, end: 22, .. }), "{error}");
        let error = disk.read_all("none").await.expect_err("no file");
        assert_eq!(error.to_string(), "file \"none\" does not exist");
    });
}

#[test]
fn a_sync_is_data_then_journal_then_flush() {
    run(profile(), |kernel, disk, meter| async move {
        disk.append("log", Bytes::from(vec![7; 100])).await.expect("room");
        let begun = kernel.now();
        let reply = disk.sync("log").await.expect("synced");
        // Seven pages in two requests at once, 3 ms; the journal 3 ms; the flush 5 ms.
        assert_eq!(kernel.now().since(begun), ms(11));
        assert_eq!(reply.timing.get(Category::Storage), ms(11));
        assert_eq!(reply.timing.total(), ms(11));
        let count = |kind| meter.total("disk", kind);
        assert_eq!((count("write"), count("flush"), count("fsync")), (3, 1, 1));
        let bytes = meter.snapshot().iter().map(|op| op.bytes_in).sum::<u64>();
        assert_eq!(bytes, 8 * 16, "whole pages");
        // An overwrite changes no metadata: no journal.
        disk.write("log", 50, text("x")).await.expect("room");
        let begun = kernel.now();
        disk.sync("log").await.expect("synced");
        assert_eq!(kernel.now().since(begun), ms(3 + 5));
        let begun = kernel.now();
        disk.sync("log").await.expect("synced");
        assert_eq!(kernel.now().since(begun), ms(5), "nothing but a flush");
    });
}

#[test]
fn a_process_crash_keeps_the_page_cache_and_a_power_loss_does_not() {
    run(profile(), |_, disk, meter| async move {
        disk.append("log", text("durable")).await.expect("room");
        disk.sync("log").await.expect("synced");
        disk.append("log", text(" or not")).await.expect("room");
        disk.append("new", text("never synced")).await.expect("room");
        assert_eq!(&disk.read_all("log").await.expect("there").value[..], b"durable or not");
        disk.lose_power();
        assert_eq!(disk.list(), ["log"]);
        let read = disk.read_all("log").await.expect("there");
        assert_eq!(&read.value[..], b"durable");
        assert_eq!(read.timing.get(Category::Storage), ms(2), "it comes from the device");
        assert_eq!(meter.total("disk", "read"), 1);
        assert_eq!(disk.read_all("log").await.expect("there").timing.total(), ms(0), "cached");
    });
}
