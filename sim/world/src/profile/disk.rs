//! Classes of disks: `[disks.<class>]`, named by a machine's or the hosts' key `disk`.

use super::error::ProfileError;
use super::reader::{BANDWIDTH, RATE, RENT, Section};
use crate::distribution::Latency;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A class of disks with the page cache that the operating system puts before it.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskProfile {
    /// Bytes that files can occupy together.
    pub capacity_bytes: u64,
    /// Bytes that the medium writes in whole or not at all.
    pub sector_bytes: u64,
    /// Bytes of a page of the page cache, a multiple of the sector.
    pub page_bytes: u64,
    /// Most bytes of one request to the device, a multiple of the page.
    pub request_bytes_max: u64,
    /// Requests that the device works on at once.
    pub queue_depth: u32,
    /// Requests that the device takes up in a second.
    pub iops: f64,
    /// Bytes that the device transfers in a second.
    pub bandwidth_bytes_per_s: f64,
    /// Latency of a read, besides its transfer.
    pub read: Latency,
    /// Latency of a write, besides its transfer.
    pub write: Latency,
    /// Latency of a flush of the device's own cache.
    pub flush: Latency,
    /// Bytes of writes that the device may have acknowledged without having them on the medium;
    /// 0 if what it acknowledges survives a power loss.
    pub write_cache_bytes: u64,
    /// Bytes of the page cache.
    pub cache_bytes: u64,
    /// Bytes of dirty pages from which on all of them are written back.
    pub dirty_background_bytes: u64,
    /// Bytes of pages, dirty or on their way to the device, above which a writer waits.
    pub dirty_limit_bytes: u64,
    /// Time between two rounds of background write-back and commits of metadata.
    pub writeback_interval: Duration,
    /// Age at which a round writes a dirty page back.
    pub dirty_expire: Duration,
    /// Price, in US dollars per hour.
    pub price_per_hour: f64,
}

const KEYS: [&str; 17] = [
    "capacity",
    "sector",
    "page",
    "request_size_max",
    "queue_depth",
    "iops",
    "bandwidth",
    "read",
    "write",
    "flush",
    "write_cache",
    "cache",
    "dirty_background",
    "dirty_limit",
    "writeback_interval",
    "dirty_expire",
    "price",
];

/// Reads all classes of disks.
pub(super) fn disks(root: &Section) -> Result<BTreeMap<String, Arc<DiskProfile>>, ProfileError> {
    let mut all = BTreeMap::new();
    if !root.has("disks") {
        return Ok(all);
    }
    let classes = root.any_child("disks")?;
    for name in classes.keys() {
        all.insert(name.to_owned(), Arc::new(disk(&classes.child(name, &KEYS)?)?));
    }
    Ok(all)
}

fn disk(s: &Section) -> Result<DiskProfile, ProfileError> {
    let disk = DiskProfile {
        capacity_bytes: s.bytes("capacity")?,
        sector_bytes: s.bytes("sector")?,
        page_bytes: s.bytes("page")?,
        request_bytes_max: s.bytes("request_size_max")?,
        queue_depth: s.count("queue_depth")?,
        iops: s.positive("iops", RATE)?,
        bandwidth_bytes_per_s: s.positive("bandwidth", BANDWIDTH)?,
        read: s.latency("read")?,
        write: s.latency("write")?,
        flush: s.latency("flush")?,
        write_cache_bytes: s.bytes("write_cache")?,
        cache_bytes: s.bytes("cache")?,
        dirty_background_bytes: s.bytes("dirty_background")?,
        dirty_limit_bytes: s.bytes("dirty_limit")?,
        writeback_interval: s.time("writeback_interval")?,
        dirty_expire: s.time("dirty_expire")?,
        price_per_hour: s.number("price", RENT)?,
    };
    multiple(s, "page", disk.page_bytes, "sector", disk.sector_bytes)?;
    multiple(s, "request_size_max", disk.request_bytes_max, "page", disk.page_bytes)?;
    if disk.capacity_bytes < disk.page_bytes {
        return Err(s.error("capacity", "is below page, expected at least one page"));
    }
    if disk.dirty_background_bytes > disk.dirty_limit_bytes {
        return Err(s.error("dirty_background", "is above dirty_limit"));
    }
    if disk.dirty_limit_bytes > disk.cache_bytes {
        return Err(s.error("dirty_limit", "is above cache, expected a part of it"));
    }
    if disk.dirty_limit_bytes < disk.page_bytes {
        return Err(s.error("dirty_limit", "is below page, expected at least one page"));
    }
    if disk.writeback_interval.is_zero() {
        return Err(s.error("writeback_interval", "value is 0, expected more"));
    }
    Ok(disk)
}

/// Checks that a size is a multiple of another one.
fn multiple(
    s: &Section,
    key: &'static str,
    bytes: u64,
    of: &'static str,
    unit: u64,
) -> Result<(), ProfileError> {
    if unit == 0 {
        return Err(s.error(of, "value is 0, expected more"));
    }
    if bytes == 0 || !bytes.is_multiple_of(unit) {
        let problem = format!("value is {bytes} bytes, expected a multiple of {of} ({unit} bytes)");
        return Err(s.error(key, problem));
    }
    Ok(())
}
