//! The replicated state of a subnet: a deterministic function of the chain of blocks.
//!
//! Everything in here is equal on all replicas that have executed the same blocks. It holds no clock
//! and no random source; times are those of blocks. A checkpoint is this state as bytes.

mod execution;
mod history;
mod round;
#[cfg(test)]
mod tests;
mod views;

pub(crate) use execution::{Checkpoint, Execution, Program};
pub(crate) use history::{HISTORY_MAX, History};
pub(crate) use round::Round;

use crate::block::{CanisterId, Height, SubnetId};
use crate::canister::{Canister, Outcalls};
use crate::placement::Placement;
use crate::scheduler::Priorities;
use crate::stream::Stream;
use serde::{Deserialize, Serialize};
use sim_model::time::Timestamp;
use std::collections::BTreeMap;

/// Bytes of a page of memory. Source: R. Kashitsyn, mmapped.blog posts/06.
pub(crate) const PAGE_BYTES: u64 = 4_096;
/// Pages that a message execution dirties besides those of its data: stack, allocator, indices.
/// [assumption], with the published 95 % of executions that dirty at most 7 pages in view.
const PAGES_OF_EXECUTION: u64 = 3;

/// The state of a subnet after a block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SubnetState {
    pub(crate) subnet: SubnetId,
    pub(crate) height: Height,
    /// The time of the last block.
    pub(crate) time: Timestamp,
    /// The digest of everything executed so far.
    pub(crate) digest: u64,
    pub(crate) canisters: BTreeMap<CanisterId, Canister>,
    pub(crate) history: History,
    pub(crate) streams: BTreeMap<SubnetId, Stream>,
    pub(crate) outcalls: Outcalls,
    pub(crate) priorities: Priorities,
    /// Pages of each canister that were written since the last checkpoint.
    pub(crate) dirty: BTreeMap<CanisterId, u64>,
    /// Bytes of each canister's memory.
    pub(crate) memory: BTreeMap<CanisterId, u64>,
}

impl SubnetState {
    /// The state before the first block.
    pub(crate) fn new(placement: &Placement, subnet: SubnetId) -> SubnetState {
        let canisters = || placement.canisters(subnet);
        let others = (0..placement.subnets).map(SubnetId).filter(|other| *other != subnet);
        SubnetState {
            subnet,
            height: 0,
            time: Timestamp::ZERO,
            digest: u64::from(subnet.0),
            canisters: canisters().map(|id| (id, Canister::new(id))).collect(),
            history: History::default(),
            streams: others.map(|other| (other, Stream::default())).collect(),
            outcalls: Outcalls::default(),
            priorities: Priorities::new(canisters()),
            dirty: BTreeMap::new(),
            memory: BTreeMap::new(),
        }
    }

    /// Notes what an execution has written; the bytes of its heap delta.
    fn wrote(&mut self, canister: CanisterId, bytes: u64) -> u64 {
        let memory = self.memory.entry(canister).or_default();
        *memory += bytes;
        let pages = PAGES_OF_EXECUTION + bytes.div_ceil(PAGE_BYTES);
        let all = memory.div_ceil(PAGE_BYTES) + PAGES_OF_EXECUTION;
        let dirty = self.dirty.entry(canister).or_default();
        *dirty = (*dirty + pages).min(all);
        pages * PAGE_BYTES
    }

    /// Pages that the next checkpoint has to write.
    pub(crate) fn dirty_pages(&self) -> u64 {
        self.dirty.values().sum()
    }
}
