//! What a replica has on its disk: all that survives a crash of it.
//!
//! **What it models.** The last checkpoint, the finalized blocks after the one before it, and the
//! artefacts of heights that are not finalized: received blocks, aggregates, and every share that this
//! replica has signed, which is there before it is sent. All of it is bytes.
//!
//! **Assumptions.** A process that crashes loses nothing that it has written; a machine's loss of power
//! with writes in flight is not simulated. Writing takes no time: no step of the protocol waits for a
//! disk, except the checkpoint. Source: dfinity/developer-docs, state-synchronization.

use crate::block::ReplicaId;
use crate::block::{Height, Sealed, decode, encode};
use crate::consensus::{Aggregate, Artefact, Share, Signed};
use crate::state::Checkpoint;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A stored artefact.
#[derive(Clone)]
enum Record {
    Block(Rc<[u8]>),
    Aggregate(Vec<u8>),
    OwnShare(Vec<u8>),
}

/// The disk of one replica.
pub(crate) struct Disk {
    checkpoint: Checkpoint,
    /// The block of the checkpoint and those after the checkpoint before it.
    chain: BTreeMap<Height, Rc<[u8]>>,
    pool: BTreeMap<Height, Vec<Record>>,
    /// The last catch-up package that was signed.
    package: Height,
}

impl Disk {
    pub(crate) fn new(checkpoint: Checkpoint, block: &Sealed) -> Disk {
        let chain = BTreeMap::from([(block.block.height, block.bytes.clone())]);
        Disk { package: checkpoint.height, checkpoint, chain, pool: BTreeMap::new() }
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    pub(crate) fn package(&self) -> Height {
        self.package
    }

    /// Writes a checkpoint; blocks before the one before it are dropped.
    pub(crate) fn write_checkpoint(&mut self, checkpoint: Checkpoint) {
        self.chain = self.chain.split_off(&self.checkpoint.height);
        self.checkpoint = checkpoint;
    }

    /// Replaces everything by a checkpoint that was fetched, with its block. What is finalized or signed
    /// above it stays: whoever forgot that could sign something else at the same heights.
    pub(crate) fn replace(&mut self, checkpoint: Checkpoint, block: &Sealed) {
        let above = checkpoint.height + 1;
        let (mut chain, pool) = (self.chain.split_off(&above), self.pool.split_off(&above));
        *self = Disk::new(checkpoint, block);
        self.chain.append(&mut chain);
        self.pool = pool;
    }

    pub(crate) fn note_package(&mut self, height: Height) {
        self.package = self.package.max(height);
    }

    /// Appends a finalized block; what was kept of its height is no longer needed.
    pub(crate) fn append(&mut self, block: &Sealed) {
        let height = block.block.height;
        self.chain.insert(height, block.bytes.clone());
        self.pool = self.pool.split_off(&(height + 1));
    }

    /// Keeps an artefact: of shares, only own ones are given.
    pub(crate) fn keep(&mut self, artefact: &Artefact) {
        let record = match artefact {
            Artefact::Proposal(block) => Record::Block(block.bytes.clone()),
            Artefact::Aggregate(aggregate) => Record::Aggregate(encode(&aggregate.signed)),
            Artefact::Share(share) => Record::OwnShare(encode(&share.signed)),
        };
        if artefact.height() > self.finalized() {
            self.pool.entry(artefact.height()).or_default().push(record);
        }
    }

    /// The height of the last finalized block.
    pub(crate) fn finalized(&self) -> Height {
        *self.chain.last_key_value().expect("invariant: the block of the checkpoint is there").0
    }

    /// Finalized blocks above `height`; `None` if they are not all here.
    pub(crate) fn blocks_above(&self, height: Height) -> Option<Vec<Rc<Sealed>>> {
        let (first, _) = self.chain.first_key_value()?;
        if height < *first {
            return None;
        }
        Some(self.chain.range(height + 1..).map(|(_, bytes)| Sealed::read(bytes)).collect())
    }

    /// The finalized block at `height`.
    pub(crate) fn block(&self, height: Height) -> Option<Rc<Sealed>> {
        self.chain.get(&height).map(Sealed::read)
    }

    /// The kept artefacts, blocks first, with shares as those of `me`.
    pub(crate) fn artefacts(&self, me: ReplicaId) -> Vec<Artefact> {
        let mut artefacts = Vec::new();
        for records in self.pool.values() {
            let blocks = records.iter().filter_map(|record| match record {
                Record::Block(bytes) => Some(Artefact::Proposal(Sealed::read(bytes))),
                _ => None,
            });
            let signed = |bytes: &[u8]| decode::<Signed>(bytes);
            let others = records.iter().filter_map(|record| match record {
                Record::Block(_) => None,
                Record::Aggregate(bytes) => {
                    Some(Artefact::Aggregate(Aggregate { signed: signed(bytes) }))
                }
                Record::OwnShare(bytes) => {
                    Some(Artefact::Share(Share { signed: signed(bytes), signer: me }))
                }
            });
            artefacts.extend(blocks.chain(others));
        }
        artefacts
    }
}
