//! Which partition holds an instance, and which host runs a partition.
//!
//! An instance whose key ends in `!n` lives on partition `n mod P`, any other on partition
//! `FNV-1a(key) mod P`. Partitions are dealt to hosts round robin when the hub is deployed.
//! Limit of this version: the assignment does not change while the hub runs.

use sim_model::id::InstanceId;

/// The partition of `instance` among `partitions`.
pub(crate) fn partition_of(instance: &InstanceId, partitions: u32) -> u32 {
    debug_assert!(partitions > 0);
    let pinned = instance.as_str().rsplit_once('!').and_then(|(_, n)| n.parse::<u32>().ok());
    pinned.unwrap_or_else(|| instance.fnv1a()) % partitions
}

/// The host that runs `partition`.
pub(crate) fn host_of(partition: u32, hosts: usize) -> usize {
    partition as usize % hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_pins_an_instance() {
        assert_eq!(partition_of(&InstanceId::new("account!3"), 12), 3);
        assert_eq!(partition_of(&InstanceId::new("account!15"), 12), 3);
        let plain = InstanceId::new("account!x");
        assert_eq!(partition_of(&plain, 12), plain.fnv1a() % 12);
    }
}
