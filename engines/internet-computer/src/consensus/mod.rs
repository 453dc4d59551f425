//! Consensus of one replica: which block is at which height. A plain state machine.
//!
//! **What it models.** The Internet Computer's protocol, height by height. The random beacon ranks the
//! replicas. The maker of rank `r` proposes `r` unit delays after the round began, unless there is a
//! better proposal. A replica supports (notarizes) the best-ranked valid proposal once the notary delay
//! of its rank has passed; two blocks of one rank disqualify that rank. A block with shares of a quorum
//! is notarized, and ends the round; a replica that supported no other block at this height then
//! broadcasts a finalization share. A quorum of these finalizes the block and all its ancestors.
//! Whatever timing and at most `f` Byzantine replicas of `3f + 1` do, no two blocks are finalized at
//! one height.
//!
//! The notary delay slows the chain when notarization runs ahead of finalization (the unit delay
//! grows by half for each height) and when finalization runs ahead of certification (back-pressure of
//! execution); beyond 70 heights ahead of certification or of the pending catch-up package it stops.
//!
//! **Assumptions.** Shares cannot be forged: the owner drops what does not bear its sender's name, and
//! an aggregate holds the shares of a quorum. What a replica has received and signed is on its disk
//! before it acts on it ([`Consensus::restore`]), so that a crash makes nobody sign twice. Artefacts that
//! are missed are asked for ([`Action::Fetch`], [`Action::Behind`]).
//! Sources: dfinity/developer-docs, concepts/protocol/consensus; dfinity/ic
//! rs/consensus/src/consensus/notary.rs@002d5530, block_maker.rs@024de2fc, rs/limits/src/lib.rs@051bb67c;
//! the clauses on ranks and disqualification: Camenisch et al., Internet Computer Consensus, PODC 2022,
//! protocol ICC0.

mod pool;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use pool::{Aggregate, Artefact, Share, Signed};
pub(crate) use rules::{Parameters, tolerated};

use crate::block::{BlockHash, GENESIS, Height, ReplicaId, Sealed};
use pool::Pool;
use sim_model::time::Timestamp;
use std::rc::Rc;

/// Heights behind at which a replica asks for what it has missed.
const BEHIND: Height = 3;

/// What the owner of a replica's consensus has to do.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Send this to all other replicas.
    Broadcast(Artefact),
    /// Make a block and hand it to [`Consensus::propose`].
    Propose { height: Height, parent: Rc<Sealed>, rank: u16 },
    /// Blocks are handed over in the order of their heights, each once.
    Finalized(Rc<Sealed>),
    /// Ask this replica for a block.
    Fetch { height: Height, hash: BlockHash, from: ReplicaId },
    /// This replica has seen much that this one has not.
    Behind { ahead: ReplicaId },
}

/// The consensus of one replica.
pub(crate) struct Consensus {
    me: ReplicaId,
    parameters: Parameters,
    pool: Pool,
    /// The height that is being agreed on, and since when.
    round: Height,
    round_began: Timestamp,
    /// The last height for which a block was asked for.
    proposed: Height,
    /// The last beacon to which this replica has contributed.
    beacon_signed: Height,
    /// The last ancestor that was asked for.
    asked_for: Option<BlockHash>,
    finalized: Rc<Sealed>,
    certified: Height,
    /// The last catch-up package.
    package: Height,
}

impl Consensus {
    /// The consensus of `me` that goes on after `finalized`, of which everything up to `certified` and
    /// the package of height `package` are known.
    pub(crate) fn new(
        me: ReplicaId,
        parameters: Parameters,
        finalized: Rc<Sealed>,
        package: Height,
        now: Timestamp,
    ) -> Consensus {
        let round = finalized.block.height + 1;
        let mut pool = Pool::new(parameters);
        pool.root(&finalized);
        Consensus {
            me,
            parameters,
            pool,
            round,
            round_began: now,
            proposed: finalized.block.height,
            beacon_signed: finalized.block.height,
            asked_for: None,
            certified: package,
            finalized,
            package,
        }
    }

    /// The height up to which blocks are finalized.
    pub(crate) fn finalized(&self) -> Height {
        self.finalized.block.height
    }

    /// The height that is being agreed on.
    pub(crate) fn round(&self) -> Height {
        self.round
    }

    /// The height up to which states are certified.
    pub(crate) fn certified(&self) -> Height {
        self.certified
    }

    /// The height of the last catch-up package.
    pub(crate) fn package(&self) -> Height {
        self.package
    }

    /// A block that is known.
    pub(crate) fn block(&self, height: Height, hash: BlockHash) -> Option<&Rc<Sealed>> {
        self.pool.block(height, hash)
    }

    /// Takes back what this replica has signed and made before it crashed.
    pub(crate) fn restore(&mut self, artefact: Artefact) {
        match artefact {
            Artefact::Proposal(block) => {
                if block.block.maker == self.me {
                    self.proposed = self.proposed.max(block.block.height);
                }
                self.pool.add_block(block);
            }
            Artefact::Aggregate(aggregate) => {
                self.pool.add_aggregate(aggregate);
                self.note_state(aggregate);
            }
            Artefact::Share(share) => {
                assert_eq!(share.signer, self.me, "only own shares are kept");
                if let Signed::Notarization(height, hash) = share.signed {
                    let block = self.pool.block(height, hash).cloned();
                    self.pool.support(&block.expect("invariant: a block is kept before its share"));
                }
                let _ = self.pool.add_share(share);
            }
        }
    }

    /// Everything that a replica which has finalized `above` lacks, as far as it is in memory.
    pub(crate) fn artefacts_above(&self, above: Height) -> Vec<Artefact> {
        self.pool.above(above)
    }

    /// The blocks between the finalized ones and `block`, itself included, latest first.
    pub(crate) fn unfinalized(&self, block: &Rc<Sealed>) -> Vec<Rc<Sealed>> {
        let mut chain = Vec::new();
        let mut current = block.clone();
        while current.block.height > self.finalized() {
            let parent = (current.block.height - 1, current.block.parent);
            chain.push(current);
            match self.pool.block(parent.0, parent.1) {
                Some(block) => current = block.clone(),
                None => break,
            }
        }
        chain
    }

    /// The blocks at a height that are known.
    pub(crate) fn blocks(&self, height: Height) -> Vec<Rc<Sealed>> {
        self.pool.blocks(height)
    }

    /// A notarized block at the height of `block` that is another one: what a fork would extend.
    pub(crate) fn rival(&self, block: &Sealed) -> Option<Rc<Sealed>> {
        self.pool.rival(block.block.height, block.hash)
    }

    /// Takes an artefact that `from` sent; whether it is a block or an aggregate that was not known.
    /// [`Consensus::advance`] draws the conclusions.
    pub(crate) fn receive(
        &mut self,
        from: ReplicaId,
        artefact: Artefact,
        out: &mut Vec<Action>,
    ) -> bool {
        let height = artefact.height();
        if height > self.round + BEHIND {
            out.push(Action::Behind { ahead: from });
        }
        match artefact {
            Artefact::Proposal(block) => self.pool.add_block(block),
            Artefact::Share(share) => {
                self.add_share(share, out);
                false
            }
            Artefact::Aggregate(aggregate) => {
                let new = self.pool.add_aggregate(aggregate);
                self.note_state(aggregate);
                self.want(aggregate.signed, from, out);
                new
            }
        }
    }

    /// Adds a share of any replica, this one included.
    fn add_share(&mut self, share: Share, out: &mut Vec<Action>) {
        if let Some(aggregate) = self.pool.add_share(share) {
            self.note_state(aggregate);
            out.push(Action::Broadcast(Artefact::Aggregate(aggregate)));
        }
        self.want(share.signed, share.signer, out);
    }

    fn sign(&mut self, signed: Signed, out: &mut Vec<Action>) {
        let share = Share { signed, signer: self.me };
        out.push(Action::Broadcast(Artefact::Share(share)));
        self.add_share(share, out);
    }

    /// A block that others sign and this replica does not have is asked for.
    fn want(&self, signed: Signed, from: ReplicaId, out: &mut Vec<Action>) {
        let (Signed::Notarization(height, hash) | Signed::Finalization(height, hash)) = signed
        else {
            return;
        };
        let missing = height > self.finalized() && self.pool.block(height, hash).is_none();
        if missing && from != self.me {
            out.push(Action::Fetch { height, hash, from });
        }
    }

    fn note_state(&mut self, aggregate: Aggregate) {
        match aggregate.signed {
            Signed::Certification(height, _) => self.certified = self.certified.max(height),
            Signed::Package(height, _) => {
                self.package = self.package.max(height);
                self.certified = self.certified.max(height);
            }
            _ => {}
        }
    }

    /// The state after the block of this height has this digest, according to this replica.
    pub(crate) fn certify(&mut self, height: Height, digest: u64, out: &mut Vec<Action>) {
        if height > self.certified {
            self.sign(Signed::Certification(height, digest), out);
        }
    }

    /// The checkpoint of this height has this digest, according to this replica.
    pub(crate) fn package_shares(&mut self, height: Height, digest: u64, out: &mut Vec<Action>) {
        if height > self.package {
            self.sign(Signed::Package(height, digest), out);
        }
    }

    /// Takes the block that this replica has made, and offers it to the others.
    pub(crate) fn propose(&mut self, block: Rc<Sealed>, out: &mut Vec<Action>) {
        assert_eq!(block.block.maker, self.me, "a replica proposes its own blocks");
        self.pool.add_block(block.clone());
        out.push(Action::Broadcast(Artefact::Proposal(block)));
    }

    /// Draws all conclusions from what is known at `now`; when to be called again if nothing arrives.
    pub(crate) fn advance(&mut self, now: Timestamp, out: &mut Vec<Action>) -> Option<Timestamp> {
        loop {
            let finalized = self.finalize(out);
            let ended = self.end_round(now, out);
            if !finalized && !ended {
                break;
            }
        }
        self.contribute_to_beacons(out);
        let propose = self.make_block(now, out);
        let support = self.support(now, out);
        if support == Some(now) {
            // Something was supported: that may have been the last share that was missing.
            return self.advance(now, out);
        }
        match (propose, support) {
            (Some(propose), Some(support)) => Some(propose.min(support)),
            (one, other) => one.or(other),
        }
    }

    /// Hands over blocks of which a descendant, or they themselves, have a finalization.
    fn finalize(&mut self, out: &mut Vec<Action>) -> bool {
        let Some(last) = self.pool.finalized_above(self.finalized()) else { return false };
        let mut chain = self.unfinalized(&last);
        let first = chain.last().expect("invariant: the finalized block is above those before");
        if first.block.parent != self.finalized.hash {
            let first = first.clone();
            self.missing_ancestor(&first, out);
            return false;
        }
        chain.reverse();
        out.extend(chain.into_iter().map(Action::Finalized));
        self.pool.root(&last);
        self.finalized = last;
        if self.round <= self.finalized() {
            // Others have gone ahead.
            self.round = self.finalized();
        }
        self.pool.forget_below(self.finalized().min(self.certified));
        true
    }

    /// Asks the maker of a block for the block before it, once.
    fn missing_ancestor(&mut self, child: &Rc<Sealed>, out: &mut Vec<Action>) {
        let (height, hash) = (child.block.height - 1, child.block.parent);
        if height > self.finalized() && self.asked_for.replace(hash) != Some(hash) {
            out.push(Action::Fetch { height, hash, from: child.block.maker });
        }
    }

    /// Ends the round if one of its blocks is notarized.
    fn end_round(&mut self, now: Timestamp, out: &mut Vec<Action>) -> bool {
        let height = self.round;
        let notarized = self.pool.notarized(height);
        let ends = match notarized {
            Some(block) => Some(block),
            None if height == self.finalized() => Some(self.finalized.hash),
            None => None,
        };
        let Some(block) = ends else { return false };
        let only = self.pool.supported(height).all(|other| other == block);
        if height > self.finalized() && (only || !self.parameters.finalization_check) {
            self.sign(Signed::Finalization(height, block), out);
        }
        self.round += 1;
        self.round_began = now + self.parameters.round_overhead;
        true
    }

    /// The beacon of the next height is made while this one is agreed on.
    fn contribute_to_beacons(&mut self, out: &mut Vec<Action>) {
        let first = (self.beacon_signed + 1).max(self.round);
        for height in first..=self.round + 1 {
            self.sign(Signed::Beacon(height), out);
        }
        self.beacon_signed = self.round + 1;
    }

    fn beacon_is_known(&self) -> bool {
        self.round == 1 || self.pool.has(Signed::Beacon(self.round))
    }

    fn rank(&self, maker: ReplicaId) -> u16 {
        self.pool.rank(self.round, maker)
    }

    /// The least rank of which there is a valid block and that is not disqualified.
    fn best_rank(&self) -> Option<u16> {
        self.pool.candidates(self.round).map(|block| block.block.rank).min()
    }

    /// Asks for a block if it is this replica's turn; when it will be otherwise.
    fn make_block(&mut self, now: Timestamp, out: &mut Vec<Action>) -> Option<Timestamp> {
        if self.proposed >= self.round || !self.beacon_is_known() {
            return None;
        }
        let rank = self.rank(self.me);
        if self.best_rank().is_some_and(|best| best < rank) {
            return None;
        }
        let at = self.round_began + self.parameters.unit_delay * u32::from(rank);
        if now < at {
            return Some(at);
        }
        let parent = self.pool.notarized_parent(self.round)?;
        self.proposed = self.round;
        out.push(Action::Propose { height: self.round, parent, rank });
        None
    }

    /// Supports the best proposal if its time has come; `now` if it did, or when it will.
    fn support(&mut self, now: Timestamp, out: &mut Vec<Action>) -> Option<Timestamp> {
        if !self.beacon_is_known() {
            return None;
        }
        loop {
            let best = self.best_rank()?;
            let delay = self.notary_delay(best)?;
            let at = self.round_began + delay;
            if now < at {
                return Some(at);
            }
            let of_rank = |block: &&Rc<Sealed>| block.block.rank == best;
            let unsupported = |block: &&Rc<Sealed>| {
                !self.pool.supported(self.round).any(|known| known == block.hash)
            };
            let mut new = self.pool.candidates(self.round).filter(of_rank).filter(unsupported);
            let block = new.next()?.clone();
            drop(new);
            if self.pool.supports_rank(self.round, best) {
                self.pool.disqualify(self.round, best);
                continue;
            }
            self.pool.support(&block);
            self.sign(Signed::Notarization(self.round, block.hash), out);
            return Some(now);
        }
    }

    fn notary_delay(&self, rank: u16) -> Option<std::time::Duration> {
        self.parameters.notary_delay(rules::Progress {
            rank,
            notarized: self.round - 1,
            finalized: self.finalized(),
            certified: self.certified,
            package: self.package,
        })
    }
}

/// The block from which every chain starts.
pub(crate) fn genesis() -> Rc<Sealed> {
    let block = crate::block::Block {
        height: 0,
        parent: GENESIS,
        maker: ReplicaId(0),
        rank: 0,
        time: Timestamp::ZERO,
        payload: crate::block::Payload::default(),
    };
    Sealed::of(block)
}
