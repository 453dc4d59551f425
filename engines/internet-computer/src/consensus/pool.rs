//! What a replica knows of each height: blocks, shares, aggregates, and what it has supported.
//!
//! Shares are kept as sets of signers; one signer counts once. A block is a candidate if its parent is
//! notarized and its maker has the rank that it claims.

use super::rules::{Parameters, ranks};
use crate::block::{BlockHash, Height, ReplicaId, Sealed};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What replicas sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Signed {
    /// The random beacon that ranks the makers of this height.
    Beacon(Height),
    /// This block is supported at this height.
    Notarization(Height, BlockHash),
    /// No other block was supported at this height.
    Finalization(Height, BlockHash),
    /// The digest of the state after this height.
    Certification(Height, u64),
    /// The digest of the checkpoint of this height.
    Package(Height, u64),
}

impl Signed {
    pub(crate) fn height(self) -> Height {
        match self {
            Signed::Beacon(height)
            | Signed::Notarization(height, _)
            | Signed::Finalization(height, _)
            | Signed::Certification(height, _)
            | Signed::Package(height, _) => height,
        }
    }
}

/// The signature share of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) signed: Signed,
    pub(crate) signer: ReplicaId,
}

/// The shares of a quorum, combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aggregate {
    pub(crate) signed: Signed,
}

/// What replicas send each other about consensus.
#[derive(Clone, Debug)]
pub(crate) enum Artefact {
    /// A block.
    Proposal(Rc<Sealed>),
    /// A signature share.
    Share(Share),
    /// The shares of a quorum.
    Aggregate(Aggregate),
}

impl Artefact {
    pub(crate) fn height(&self) -> Height {
        match self {
            Artefact::Proposal(block) => block.block.height,
            Artefact::Share(share) => share.signed.height(),
            Artefact::Aggregate(aggregate) => aggregate.signed.height(),
        }
    }
}

/// The set of replicas that signed something.
#[derive(Clone, Copy, Debug, Default)]
struct Signers(u64);

impl Signers {
    fn add(&mut self, signer: ReplicaId) {
        self.0 |= 1 << signer.0;
    }

    fn count(self) -> u16 {
        self.0.count_ones() as u16
    }

    fn iter(self) -> impl Iterator<Item = ReplicaId> {
        (0..64).filter(move |bit| self.0 >> bit & 1 == 1).map(ReplicaId)
    }
}

#[derive(Default)]
struct Slot {
    blocks: BTreeMap<BlockHash, Rc<Sealed>>,
    /// In the order of arrival.
    arrived: Vec<BlockHash>,
    shares: BTreeMap<Signed, Signers>,
    aggregates: Vec<Signed>,
    supported: Vec<(u16, BlockHash)>,
    disqualified: Vec<u16>,
}

pub(super) struct Pool {
    parameters: Parameters,
    slots: BTreeMap<Height, Slot>,
    /// Heights below are forgotten.
    floor: Height,
    /// What is given to artefacts of forgotten heights.
    nowhere: Slot,
    /// The ranks at the height that was asked for last: it is the same one again and again.
    ranks: RefCell<(Height, Vec<u16>)>,
}

impl Pool {
    pub(super) fn new(parameters: Parameters) -> Pool {
        Pool {
            parameters,
            slots: BTreeMap::new(),
            floor: 0,
            nowhere: Slot::default(),
            ranks: RefCell::new((0, ranks(&parameters, 0))),
        }
    }

    /// The block on which everything else rests.
    pub(super) fn root(&mut self, block: &Rc<Sealed>) {
        self.add_block(block.clone());
        let (height, hash) = (block.block.height, block.hash);
        self.add_aggregate(Aggregate { signed: Signed::Notarization(height, hash) });
    }

    fn slot(&mut self, height: Height) -> &mut Slot {
        if height < self.floor {
            self.nowhere = Slot::default();
            return &mut self.nowhere;
        }
        self.slots.entry(height).or_default()
    }

    /// Heights below are forgotten, and not learned again.
    pub(super) fn forget_below(&mut self, height: Height) {
        // The last block that is forgotten may still be the parent of one that is not.
        self.floor = self.floor.max(height.saturating_sub(1));
        self.slots = self.slots.split_off(&self.floor);
    }

    /// Adds a block; whether it is new.
    pub(super) fn add_block(&mut self, block: Rc<Sealed>) -> bool {
        let slot = self.slot(block.block.height);
        let hash = block.hash;
        let new = slot.blocks.insert(hash, block).is_none();
        if new {
            slot.arrived.push(hash);
        }
        new
    }

    /// The aggregate that this share completes, if it completes one.
    pub(super) fn add_share(&mut self, share: Share) -> Option<Aggregate> {
        let Share { signed, signer } = share;
        let quorum = self.quorum(signed);
        assert!(signer.0 < self.parameters.replicas, "{signer} is not of this subnet");
        let slot = self.slot(signed.height());
        let signers = slot.shares.entry(signed).or_default();
        signers.add(signer);
        if signers.count() < quorum || slot.aggregates.contains(&signed) {
            return None;
        }
        slot.aggregates.push(signed);
        Some(Aggregate { signed })
    }

    fn quorum(&self, signed: Signed) -> u16 {
        match signed {
            Signed::Beacon(_) => self.parameters.beacon_quorum,
            Signed::Notarization(..) | Signed::Finalization(..) => self.parameters.quorum,
            Signed::Certification(..) | Signed::Package(..) => self.parameters.certification_quorum,
        }
    }

    /// Adds the shares of a quorum; whether that is new.
    pub(super) fn add_aggregate(&mut self, aggregate: Aggregate) -> bool {
        let slot = self.slot(aggregate.signed.height());
        let new = !slot.aggregates.contains(&aggregate.signed);
        if new {
            slot.aggregates.push(aggregate.signed);
        }
        new
    }

    pub(super) fn has(&self, signed: Signed) -> bool {
        self.slots.get(&signed.height()).is_some_and(|slot| slot.aggregates.contains(&signed))
    }

    pub(super) fn block(&self, height: Height, hash: BlockHash) -> Option<&Rc<Sealed>> {
        self.slots.get(&height)?.blocks.get(&hash)
    }

    /// The block at this height that was notarized first and is known.
    pub(super) fn notarized(&self, height: Height) -> Option<BlockHash> {
        let slot = self.slots.get(&height)?;
        slot.aggregates.iter().find_map(|signed| match signed {
            Signed::Notarization(_, hash) if slot.blocks.contains_key(hash) => Some(*hash),
            _ => None,
        })
    }

    /// The blocks at this height.
    pub(super) fn blocks(&self, height: Height) -> Vec<Rc<Sealed>> {
        let slot = self.slots.get(&height).into_iter();
        slot.flat_map(|slot| slot.blocks.values().cloned()).collect()
    }

    /// A block at this height, besides the one with `hash`, that is notarized and known.
    pub(super) fn rival(&self, height: Height, hash: BlockHash) -> Option<Rc<Sealed>> {
        let slot = self.slots.get(&height)?;
        slot.aggregates.iter().find_map(|signed| match signed {
            Signed::Notarization(_, other) if *other != hash => slot.blocks.get(other).cloned(),
            _ => None,
        })
    }

    /// A notarized block to extend at `height`.
    pub(super) fn notarized_parent(&self, height: Height) -> Option<Rc<Sealed>> {
        let hash = self.notarized(height - 1)?;
        self.block(height - 1, hash).cloned()
    }

    /// The highest block above `height` that is finalized by itself and known.
    pub(super) fn finalized_above(&self, height: Height) -> Option<Rc<Sealed>> {
        self.slots.range(height + 1..).rev().find_map(|(_, slot)| {
            slot.aggregates.iter().find_map(|signed| match signed {
                Signed::Finalization(_, hash) => slot.blocks.get(hash).cloned(),
                _ => None,
            })
        })
    }

    /// Valid blocks of ranks that are not disqualified, in the order of their arrival.
    pub(super) fn candidates(&self, height: Height) -> impl Iterator<Item = &Rc<Sealed>> {
        let slot = self.slots.get(&height);
        slot.into_iter().flat_map(move |slot| {
            slot.arrived.iter().map(|hash| &slot.blocks[hash]).filter(move |sealed| {
                let block = &sealed.block;
                !slot.disqualified.contains(&block.rank)
                    && self.has(Signed::Notarization(height - 1, block.parent))
                    && self.rank(height, block.maker) == block.rank
            })
        })
    }

    /// The rank of a maker at `height`.
    pub(super) fn rank(&self, height: Height, maker: ReplicaId) -> u16 {
        let known = &mut *self.ranks.borrow_mut();
        if known.0 != height {
            *known = (height, ranks(&self.parameters, height));
        }
        known.1[usize::from(maker.0)]
    }

    pub(super) fn support(&mut self, block: &Rc<Sealed>) {
        let entry = (block.block.rank, block.hash);
        self.slot(block.block.height).supported.push(entry);
    }

    pub(super) fn supported(&self, height: Height) -> impl Iterator<Item = BlockHash> {
        let slot = self.slots.get(&height);
        slot.into_iter().flat_map(|slot| slot.supported.iter().map(|(_, hash)| *hash))
    }

    pub(super) fn supports_rank(&self, height: Height, rank: u16) -> bool {
        let slot = self.slots.get(&height);
        slot.is_some_and(|slot| slot.supported.iter().any(|(of, _)| *of == rank))
    }

    pub(super) fn disqualify(&mut self, height: Height, rank: u16) {
        self.slot(height).disqualified.push(rank);
    }

    /// Blocks, aggregates and shares above `height`.
    pub(super) fn above(&self, height: Height) -> Vec<Artefact> {
        let mut artefacts = Vec::new();
        for (_, slot) in self.slots.range(height + 1..) {
            artefacts.extend(slot.blocks.values().cloned().map(Artefact::Proposal));
            let aggregates = slot.aggregates.iter();
            artefacts.extend(
                aggregates.map(|signed| Artefact::Aggregate(Aggregate { signed: *signed })),
            );
            for (signed, signers) in &slot.shares {
                let share = |signer| Artefact::Share(Share { signed: *signed, signer });
                artefacts.extend(signers.iter().map(share));
            }
        }
        artefacts
    }
}
