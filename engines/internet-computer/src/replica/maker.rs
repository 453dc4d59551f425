//! Making blocks, and pulling what goes into them.
//!
//! A block takes, within its limits: client calls of the pool that are in no block before it, the
//! slices of streams that were pulled from other subnets, from where the blocks before it have come to,
//! and outcalls that a quorum of replicas has carried out. The maker checks the signatures of what it
//! takes, as every replica does before it supports the block.

use super::Life;
use crate::block::{Block, Height, Ingress, OutcallId, Payload, Sealed, SubnetId};
use crate::settings::Behaviour;
use crate::state::HISTORY_MAX;
use crate::stream::Slice;
use crate::subnet::Packet;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// The inputs of blocks that are not finalized.
struct Pending {
    calls: BTreeSet<crate::block::IngressId>,
    outcalls: BTreeSet<OutcallId>,
    taken: BTreeMap<SubnetId, (u64, u64)>,
}

impl Life {
    /// A block that extends `parent`.
    pub(super) fn make_block(&self, height: Height, parent: &Rc<Sealed>, rank: u16) -> Rc<Sealed> {
        let earliest = parent.block.time + Duration::from_nanos(1);
        let time = self.now().max(earliest);
        let pending = self.pending(parent);
        let limits = self.subnet.config.block;
        let known = self.subnet.execution.borrow().state().map_or(0, |state| state.history.len());
        let ingress = match known < HISTORY_MAX {
            true => self.pool.borrow().select(time, &pending.calls, limits),
            false => Vec::new(),
        };
        let payload = Payload {
            ingress,
            slices: self.slices_after(&pending),
            outcalls: self.agreed_outcalls(&pending.outcalls),
        };
        Sealed::of(Block { height, parent: parent.hash, maker: self.me, rank, time, payload })
    }

    /// What the blocks that are not finalized yet take, up to and including `parent`.
    fn pending(&self, parent: &Rc<Sealed>) -> Pending {
        let mut pending = Pending {
            calls: BTreeSet::new(),
            outcalls: BTreeSet::new(),
            taken: self.taken.borrow().clone(),
        };
        let mut chain = self.consensus.borrow().unfinalized(parent);
        chain.reverse();
        for sealed in chain {
            let payload = &sealed.block.payload;
            if self.subnet.config.ingress_dedup {
                pending.calls.extend(payload.ingress.iter().map(|ingress| ingress.id));
            }
            pending.outcalls.extend(&payload.outcalls);
            payload.slices.iter().for_each(|slice| note_slice(&mut pending.taken, slice));
        }
        pending
    }

    fn slices_after(&self, pending: &Pending) -> Vec<Slice> {
        let slices = self.slices.borrow();
        let useful = slices.values().filter(|slice| {
            let (taken, signals) = pending.taken.get(&slice.from).copied().unwrap_or_default();
            let brings = slice.begin <= taken && slice.end() > taken;
            brings || slice.signals > signals
        });
        useful.cloned().collect()
    }

    /// Notes that a block is finalized: its inputs are used up.
    pub(super) fn use_inputs(&self, block: &Block) {
        let mut pool = self.pool.borrow_mut();
        block.payload.ingress.iter().for_each(|ingress| pool.finalized(ingress));
        pool.expire(block.time);
        self.use_outcalls(block);
        let mut taken = self.taken.borrow_mut();
        block.payload.slices.iter().for_each(|slice| note_slice(&mut taken, slice));
    }

    /// Adds a client call to the pool; whether it is new.
    pub(super) fn pool_call(&self, ingress: &Rc<Ingress>) -> bool {
        let now = self.now();
        let mut pool = self.pool.borrow_mut();
        match self.subnet.config.ingress_dedup {
            true => pool.add(ingress, now),
            false => pool.add_again(ingress, now),
        }
    }

    /// Pulls from every other subnet once in a round.
    pub(super) fn pull(&self) {
        let subnets = self.subnet.config.subnets;
        let round = self.consensus.borrow().round();
        if subnets == 1 || self.pulled_in.replace(round) == round {
            return;
        }
        if self.behaviour() == Behaviour::Withhold {
            return;
        }
        let others = (0..subnets).map(SubnetId).filter(|other| *other != self.subnet.id);
        for other in others {
            let pick = self.random.borrow_mut().below(u64::from(self.subnet.config.replicas));
            let whom = crate::block::ReplicaId(pick as u16);
            let taken = self.taken.borrow().get(&other).copied().unwrap_or_default().0;
            let Some(address) = self.subnet.directory.of(other, whom) else { continue };
            let (by, reader) = (self.subnet.id, self.address.clone());
            address.send(self.host.node(), 200, Packet::Pull { by, taken, reader });
        }
    }

    /// Gives a slice of the stream to another subnet, as far as it is certified.
    pub(super) fn give_slice(
        &self,
        by: SubnetId,
        taken: u64,
        reader: &sim_world::network::MailboxSender<Packet>,
    ) {
        let visible = self.visible.borrow();
        let Some(round) = visible.as_ref() else { return };
        let execution = self.subnet.execution.borrow();
        let Some(state) = execution.state() else { return };
        let signals = round.taken.get(&by).copied().unwrap_or_default();
        let stream = &state.streams[&by];
        let slice = stream.slice(self.subnet.id, taken, round.height, signals);
        if !self.withholds() {
            let bytes = slice.wire_bytes();
            reader.send(self.host.node(), bytes, Packet::Pulled(slice));
        }
    }
}

fn note_slice(taken: &mut BTreeMap<SubnetId, (u64, u64)>, slice: &Slice) {
    let entry = taken.entry(slice.from).or_default();
    if slice.begin <= entry.0 {
        entry.0 = entry.0.max(slice.end());
    }
    entry.1 = entry.1.max(slice.signals);
}
