//! The start of a broker: its logs are read, checked, and cut off after the last sound batch.

use super::Recovery;
use super::batch;
use super::offsets::Offsets;
use super::partition::{OFFSETS_TOPIC, Partition, PartitionKey, file_name, parse_file_name};
use super::server::{Recovered, per_kibibyte};
use crate::disk::{Disk, DiskError};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::profile::BrokerProfile;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Reads all logs.
pub(super) async fn recover(
    kernel: &Kernel,
    machine: &Machine,
    disk: &Disk,
    costs: &BrokerProfile,
) -> Result<(Recovered, Recovery), DiskError> {
    let mut segments: BTreeMap<PartitionKey, Vec<u64>> = BTreeMap::new();
    for name in disk.list() {
        if let Some((key, base)) = parse_file_name(&name) {
            segments.entry(key).or_default().push(base);
        }
    }
    let offsets_key = (OFFSETS_TOPIC.to_owned(), 0);
    if !segments.contains_key(&offsets_key) {
        disk.append(&file_name(&offsets_key, 0), Bytes::new()).await?;
        disk.sync_names().await?;
        segments.insert(offsets_key.clone(), vec![0]);
    }
    let mut recovered = Recovered { partitions: BTreeMap::new(), offsets: Offsets::default() };
    let mut found = Recovery::default();
    for (key, bases) in segments {
        let first = bases[0];
        let mut partition = Partition::new(key.clone(), first, kernel.semaphore(1));
        let mut is_cut = false;
        for base in bases {
            let file = file_name(&key, base);
            if is_cut || base != partition.next_offset() {
                // What comes after a gap cannot follow it.
                found.cut_bytes += disk.size(&file).unwrap_or(0);
                disk.delete(&file)?;
                is_cut = true;
                continue;
            }
            partition.recovered_empty(base);
            let text = disk.read_all(&file).await?.value;
            let work = per_kibibyte(costs.recovery_kibibyte_cpu, text.len());
            machine.host().run(work).await;
            let sound = scan(&mut partition, base, &text, &mut found);
            if key == offsets_key {
                let records = batch::decode(text.slice(..sound)).unwrap_or_default();
                records.iter().for_each(|(_, record)| recovered.offsets.replay(record));
            }
            if sound < text.len() {
                found.cut_bytes += (text.len() - sound) as u64;
                disk.truncate(&file, sound as u64)?;
                is_cut = true;
            }
        }
        recovered.partitions.insert(key, partition);
    }
    Ok((recovered, found))
}

/// Takes up the sound batches at the beginning of a segment: how many bytes they have.
fn scan(partition: &mut Partition, base: u64, text: &Bytes, found: &mut Recovery) -> usize {
    let mut at = 0;
    while let Some(header) = batch::check(&text[at..]) {
        if header.offset != partition.next_offset() {
            break;
        }
        let records = u64::from(header.records);
        partition.recovered(base, header.offset, header.bytes as u64, records);
        found.records += records;
        at += header.bytes;
    }
    at
}
