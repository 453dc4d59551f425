//! Where instances and tasks are: which canister, on which subnet.
//!
//! The instances of the model live in as many *instance canisters* as the application's storage has
//! partitions, dealt to the subnets round robin: an instance whose key ends in `!n` in canister
//! `n mod P`, any other in `FNV-1a(key) mod P`. Each subnet also has *task canisters* without state,
//! and an instance canister calls those of its own subnet in turn, so that tasks are spread over the
//! execution threads and never wait for another subnet. A canister never moves: migration is an
//! administrative act on the real system.

use crate::block::{CanisterId, SubnetId};
use sim_model::id::InstanceId;

/// Which canister is where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    /// Subnets.
    pub(crate) subnets: u16,
    /// Instance canisters of all subnets.
    pub(crate) instance_canisters: u32,
    /// Task canisters of each subnet.
    pub(crate) task_canisters: u32,
}

impl Placement {
    /// The canister that holds `instance`.
    pub(crate) fn canister_of(&self, instance: &InstanceId) -> CanisterId {
        let pinned = instance.as_str().rsplit_once('!').and_then(|(_, n)| n.parse::<u32>().ok());
        CanisterId(pinned.unwrap_or_else(|| instance.fnv1a()) % self.instance_canisters)
    }

    /// The subnet of a canister.
    pub(crate) fn subnet_of(&self, canister: CanisterId) -> SubnetId {
        let subnet = match canister.0.checked_sub(self.instance_canisters) {
            None => canister.0 % u32::from(self.subnets),
            Some(task) => task / self.task_canisters,
        };
        SubnetId(u16::try_from(subnet).expect("invariant: canisters are on subnets"))
    }

    /// The task canister of `subnet` whose turn it is.
    pub(crate) fn task_canister(&self, subnet: SubnetId, turn: u64) -> CanisterId {
        let first = self.instance_canisters + u32::from(subnet.0) * self.task_canisters;
        CanisterId(first + (turn % u64::from(self.task_canisters)) as u32)
    }

    /// All canisters of `subnet`.
    pub(crate) fn canisters(&self, subnet: SubnetId) -> impl Iterator<Item = CanisterId> {
        let all = self.instance_canisters + u32::from(self.subnets) * self.task_canisters;
        let placement = *self;
        (0..all).map(CanisterId).filter(move |id| placement.subnet_of(*id) == subnet)
    }

    /// The instance canisters of all subnets.
    pub(crate) fn instance_canisters(&self) -> impl Iterator<Item = CanisterId> {
        (0..self.instance_canisters).map(CanisterId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACEMENT: Placement = Placement { subnets: 3, instance_canisters: 7, task_canisters: 2 };

    #[test]
    fn every_canister_is_on_one_subnet() {
        let mut all: Vec<CanisterId> =
            (0..3).flat_map(|subnet| PLACEMENT.canisters(SubnetId(subnet))).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq((0..13).map(CanisterId)));
        for turn in 0..4 {
            let task = PLACEMENT.task_canister(SubnetId(2), turn);
            assert_eq!(PLACEMENT.subnet_of(task), SubnetId(2));
            assert!(task.0 >= 7);
        }
    }

    #[test]
    fn a_suffix_pins_an_instance() {
        assert_eq!(PLACEMENT.canister_of(&InstanceId::new("account!9")), CanisterId(2));
        let plain = InstanceId::new("account!x");
        assert_eq!(PLACEMENT.canister_of(&plain), CanisterId(plain.fnv1a() % 7));
    }
}
