//! Outcalls on a replica: carried out, and told to the others until a block has the outcome.
//!
//! **What it models.** Every replica carries out each outcall that the state has open, signs a share of the
//! outcome and gives it to all others; a block includes the outcome when n - f have done so. A replica that
//! starts carries out again what is open in the state that it has loaded: its shares were in memory. The real
//! network layer delivers a replica's shares for as long as the replica holds them, to whoever was away, too:
//! here a share that no block includes is sent again after [`PATIENCE`].
//!
//! Sources: dfinity/developer-docs, HTTPS outcalls (every replica, agreed by consensus); that requests come
//! from the contexts of the latest state and shares are purged with these (dfinity/ic
//! rs/https_outcalls/consensus), and that every peer gets every artefact that is not purged
//! (rs/p2p/consensus_manager), are [recalled].

use super::{Life, PATIENCE};
use crate::block::{Block, OutcallId, ReplicaId};
use crate::canister::OutcallRequest;
use crate::counters::add;
use crate::state::SubnetState;
use crate::subnet::Packet;
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// Bytes of a share: what it is of, the hash of the outcome, a signature. [assumption]
const SHARE_BYTES: u64 = 300;
/// Time between two looks for shares that are to be sent again. [assumption]
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What a replica knows of outcalls.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// Of each outcall without an outcome in a finalized block: who has carried it out.
    by: BTreeMap<OutcallId, BTreeSet<ReplicaId>>,
    /// When this replica last sent each of its own shares.
    sent: BTreeMap<OutcallId, Timestamp>,
    /// The outcalls with an outcome in a finalized block: all below the first, and the others.
    all_below: u64,
    included: BTreeSet<u64>,
    /// When to look next for shares that are to be sent again.
    look_at: Timestamp,
}

impl Shares {
    /// Whether a finalized block has the outcome.
    fn is_included(&self, id: OutcallId) -> bool {
        id.0 < self.all_below || self.included.contains(&id.0)
    }

    /// A finalized block has the outcome.
    fn include(&mut self, id: OutcallId) {
        self.by.remove(&id);
        self.sent.remove(&id);
        if id.0 >= self.all_below {
            self.included.insert(id.0);
        }
        while self.included.remove(&self.all_below) {
            self.all_below += 1;
        }
    }

    /// A replica has carried out an outcall.
    fn note(&mut self, id: OutcallId, by: ReplicaId) {
        if !self.is_included(id) {
            self.by.entry(id).or_default().insert(by);
        }
    }

    /// The shares of this replica that were sent long ago and are in no block: they count as sent now.
    fn overdue(&mut self, now: Timestamp) -> Vec<OutcallId> {
        if now < self.look_at {
            return Vec::new();
        }
        self.look_at = now + LOOK_INTERVAL;
        let overdue = self.sent.iter_mut().filter(|(_, sent)| now.since(**sent) >= PATIENCE);
        overdue
            .map(|(id, sent)| {
                *sent = now;
                *id
            })
            .collect()
    }
}

impl Life {
    /// Begins with the outcalls of the state that was loaded: those in `finalized`, the blocks after it on the
    /// disk, are done with.
    pub(super) fn load_outcalls(self: &Rc<Life>, state: &SubnetState, finalized: &[&Block]) {
        {
            let mut shares = self.outcalls.borrow_mut();
            state.outcalls.answered().for_each(|id| shares.include(id));
            let of_blocks = finalized.iter().flat_map(|block| &block.payload.outcalls);
            of_blocks.for_each(|id| shares.include(*id));
        }
        state.outcalls.requests().for_each(|(id, request)| self.carry_out(id, request));
    }

    /// Carries out an outcall, as every replica does, unless a block has its outcome already.
    pub(super) fn carry_out(self: &Rc<Life>, id: OutcallId, request: OutcallRequest) {
        if self.outcalls.borrow().is_included(id) {
            return;
        }
        let (host, address) = (self.host.clone(), self.address.clone());
        let kernel = self.subnet.kernel.clone();
        let storage = self.subnet.world.application_storage().clone();
        host.clone().spawn(async move {
            match request {
                OutcallRequest::Read(bytes) => {
                    storage.read(&host, bytes).await;
                }
                OutcallRequest::Write(bytes) => {
                    storage.write(&host, bytes).await;
                }
                OutcallRequest::Wait(span) => kernel.sleep(span).await,
            }
            address.send(host.node(), 0, Packet::OutcallDone(id));
        });
    }

    /// Tells everyone that this replica has carried out an outcall.
    pub(super) fn share_outcall(&self, id: OutcallId) {
        {
            let mut shares = self.outcalls.borrow_mut();
            shares.note(id, self.me);
            if !shares.is_included(id) {
                shares.sent.insert(id, self.now());
            }
        }
        self.send_share(id);
    }

    /// Another replica has carried out an outcall.
    pub(super) fn note_share(&self, from: ReplicaId, id: OutcallId) {
        self.outcalls.borrow_mut().note(id, from);
    }

    /// Sends again what was sent long ago and is in no block.
    pub(super) fn share_again(&self) {
        let overdue = self.outcalls.borrow_mut().overdue(self.now());
        add(&self.subnet.counters.repeated_shares, overdue.len() as u64);
        overdue.into_iter().for_each(|id| self.send_share(id));
    }

    fn send_share(&self, id: OutcallId) {
        for to in self.subnet.others(self.me) {
            self.send(to, SHARE_BYTES, Packet::OutcallShare(self.me, id));
        }
    }

    /// The outcalls for a block that extends those with the outcomes in `pending`.
    pub(super) fn agreed_outcalls(&self, pending: &BTreeSet<OutcallId>) -> Vec<OutcallId> {
        let quorum = usize::from(self.subnet.consensus.certification_quorum);
        let shares = self.outcalls.borrow();
        let agreed = shares
            .by
            .iter()
            .filter(|(id, replicas)| replicas.len() >= quorum && !pending.contains(id));
        agreed.map(|(id, _)| *id).collect()
    }

    /// Notes that a block with these outcomes is finalized.
    pub(super) fn use_outcalls(&self, block: &Block) {
        let mut shares = self.outcalls.borrow_mut();
        block.payload.outcalls.iter().for_each(|id| shares.include(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_block_includes_is_forgotten_and_not_taken_up_again() {
        let mut shares = Shares::default();
        shares.note(OutcallId(1), ReplicaId(2));
        shares.sent.insert(OutcallId(1), Timestamp::ZERO);
        shares.include(OutcallId(1));
        shares.note(OutcallId(1), ReplicaId(3));
        assert!(shares.by.is_empty() && shares.sent.is_empty());
        assert!(shares.is_included(OutcallId(1)) && !shares.is_included(OutcallId(0)));
        shares.include(OutcallId(0));
        assert_eq!((shares.all_below, shares.included.len()), (2, 0), "kept as one number");
    }

    #[test]
    fn a_share_is_overdue_after_a_while_and_then_again() {
        let mut shares = Shares::default();
        shares.sent.insert(OutcallId(4), Timestamp::from_secs(10));
        assert!(shares.overdue(Timestamp::from_secs(12)).is_empty());
        assert_eq!(shares.overdue(Timestamp::from_secs(14)), [OutcallId(4)]);
        assert!(shares.overdue(Timestamp::from_secs(16)).is_empty());
        assert_eq!(shares.overdue(Timestamp::from_secs(17)), [OutcallId(4)]);
    }
}
