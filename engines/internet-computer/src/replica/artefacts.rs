//! Consensus on a replica: what arrives is verified and given to the machine; what it asks for is done.
//!
//! Artefacts that one step of the machine broadcasts go out as one message. Large blocks are announced
//! and fetched. A Byzantine replica departs from the protocol here, in what it sends; it can sign with
//! its own name only.

use super::{Handled, Life};
use crate::block::{BlockHash, Height, ReplicaId, Sealed};
use crate::consensus::{Action, Artefact, Share, Signed};
use crate::counters::add;
use crate::settings::Behaviour;
use crate::state::Checkpoint;
use crate::subnet::Packet;
use sim_model::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of a share or an aggregate on the wire. [general] a signature, an index and a hash.
const SIGNATURE_BYTES: u64 = 150;
/// How much later than its turn a replica shows a block that it holds back, in unit delays: about when the
/// next maker's block is supported, 300 ms after a unit delay.
const LATE: f64 = 1.3;
/// Replicas from which chunks of a checkpoint are fetched side by side. [assumption]
const SYNC_PEERS: u64 = 5;
/// Bytes of a chunk of a checkpoint. Source: R. Kashitsyn, mmapped.blog posts/02 (1 MiB).
const CHUNK_BYTES: usize = 1 << 20;
/// How long a replica knows itself to be behind after it has seen that. [assumption]
const BEHIND_FOR: Duration = Duration::from_secs(2);

impl Life {
    /// Core time for the signatures in these packets.
    pub(super) fn verification(&self, packets: &[Packet]) -> Duration {
        let costs = &self.subnet.costs;
        let (mut signatures, mut requests) = (0, 0);
        for packet in packets {
            let Packet::Artefacts(_, artefacts) = packet else { continue };
            for artefact in artefacts.iter() {
                signatures += 1;
                if let Artefact::Proposal(block) = artefact {
                    requests += block.block.payload.ingress.len() as u32;
                }
            }
        }
        let signatures: u32 = signatures;
        costs.share_verify * signatures.div_ceil(costs.verify_threads)
            + costs.request_verify * requests
    }

    /// Handles what has arrived.
    pub(super) fn handle(self: &Rc<Life>, packet: Packet, actions: &mut Vec<Action>) -> Handled {
        match packet {
            Packet::Artefacts(from, artefacts) => {
                artefacts.iter().for_each(|artefact| self.receive(from, artefact, actions));
            }
            Packet::Advert(from, height, hash) => {
                if self.consensus.borrow().block(height, hash).is_none() {
                    self.send(from, 100, Packet::Fetch(self.me, height, hash));
                }
            }
            Packet::Fetch(from, height, hash) => {
                let block = self.consensus.borrow().block(height, hash).cloned();
                if let Some(block) = block.filter(|_| !self.holds_back(height, hash)) {
                    self.send_block(from, block);
                }
            }
            Packet::CatchUp { from, above } => self.give_what_is_missing(from, above),
            Packet::Checkpoint(checkpoint, block) => return self.replace(checkpoint, &block),
            Packet::Gossip(ingress) => {
                self.verify_request();
                self.pool_call(&ingress);
            }
            Packet::Submit(ingress, gateway) => self.submit(ingress, gateway),
            Packet::Query { token, question, gateway } => self.query(token, question, gateway),
            Packet::OutcallShare(from, id) => self.note_share(from, id),
            Packet::OutcallDone(id) => self.share_outcall(id),
            Packet::Pull { by, taken, reader } => self.give_slice(by, taken, &reader),
            Packet::Pulled(slice) => {
                self.slices.borrow_mut().insert(slice.from, slice);
            }
            Packet::Executed(round) => {
                self.fill_queue();
                let mut consensus = self.consensus.borrow_mut();
                consensus.certify(round.height, round.digest, actions);
                drop(consensus);
                self.uncertified.borrow_mut().push_back(round);
            }
            Packet::Manifest(height, digest) => {
                self.consensus.borrow_mut().package_shares(height, digest, actions);
            }
        }
        Handled::GoOn
    }

    fn receive(&self, from: ReplicaId, artefact: &Artefact, actions: &mut Vec<Action>) {
        // Of shares only own ones are kept: none is new in this sense.
        let new = self.consensus.borrow_mut().receive(from, artefact.clone(), actions);
        if new {
            self.disk().borrow_mut().keep(artefact);
        }
        if let (true, Artefact::Proposal(block)) = (new, artefact)
            && self.behaviour() == Behaviour::Fork
            && !self.holds_back_at(block.block.height)
        {
            self.conduct.departed();
            self.sign_all([block]);
        }
    }

    /// Does what the consensus machine asks for until it asks for nothing; when it wants to be asked
    /// again.
    pub(super) async fn settle(self: &Rc<Life>, mut actions: Vec<Action>) -> Option<Timestamp> {
        loop {
            let now = self.now();
            let wake = self.consensus.borrow_mut().advance(now, &mut actions);
            if actions.is_empty() {
                self.release();
                self.pull();
                self.flush();
                return wake;
            }
            let mut made = Vec::new();
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::Propose { height, parent, rank } => made.push((height, parent, rank)),
                    other => self.act(other),
                }
            }
            for (height, parent, rank) in made {
                self.flush();
                let parent = self.parent_of_choice(parent);
                let block = self.make_block(height, &parent, rank);
                let requests = block.block.payload.ingress.len() as u32;
                self.host.run(self.subnet.costs.request_verify * requests).await;
                self.consensus.borrow_mut().propose(block, &mut actions);
            }
        }
    }

    fn act(self: &Rc<Life>, action: Action) {
        match action {
            Action::Broadcast(artefact) => {
                // What is signed is on the disk before it is sent.
                self.disk().borrow_mut().keep(&artefact);
                match artefact {
                    Artefact::Proposal(block) => self.offer(block),
                    // Whoever hears of a block asks for it.
                    Artefact::Share(Share {
                        signed:
                            Signed::Notarization(height, hash) | Signed::Finalization(height, hash),
                        ..
                    }) if self.holds_back(height, hash) => {}
                    other => self.outbox.borrow_mut().push(other),
                }
            }
            Action::Finalized(block) => {
                self.progress_at.set(self.now());
                self.disk().borrow_mut().append(&block);
                self.use_inputs(&block.block);
                self.hand_over(block);
            }
            Action::Fetch { height, hash, from } => {
                self.send(from, 100, Packet::Fetch(self.me, height, hash));
            }
            Action::Behind { ahead } => {
                self.behind_until.set(self.now() + BEHIND_FOR);
                self.catch_up(ahead);
            }
            Action::Propose { .. } => unreachable!("blocks are made by the caller"),
        }
    }

    /// Sends what is to be sent to all others.
    fn flush(&self) {
        let artefacts = std::mem::take(&mut *self.outbox.borrow_mut());
        let package = self.consensus.borrow().package();
        self.disk().borrow_mut().note_package(package);
        if artefacts.is_empty() {
            return;
        }
        let bytes = SIGNATURE_BYTES * artefacts.len() as u64;
        let artefacts: Rc<[Artefact]> = artefacts.into();
        for to in self.subnet.others(self.me) {
            self.send(to, bytes, Packet::Artefacts(self.me, artefacts.clone()));
        }
    }

    /// The parent of a block of this replica: `parent`, unless it forks and has the choice.
    fn parent_of_choice(&self, parent: Rc<Sealed>) -> Rc<Sealed> {
        if self.behaviour() != Behaviour::Fork {
            return parent;
        }
        self.consensus.borrow().rival(&parent).unwrap_or(parent)
    }

    /// Whether this replica holds a block of its own back.
    fn delays(&self, block: &Sealed) -> bool {
        match self.behaviour() {
            Behaviour::Late => true,
            // A block that extends one of two has to be the first at its height.
            Behaviour::Fork => {
                let consensus = self.consensus.borrow();
                let parent = consensus.block(block.block.height - 1, block.block.parent);
                parent.is_none_or(|parent| consensus.rival(parent).is_none())
            }
            _ => false,
        }
    }

    /// Offers a block of this replica to all others.
    fn offer(self: &Rc<Life>, block: Rc<Sealed>) {
        if self.delays(&block) {
            self.conduct.departed();
            let place = (block.block.height, block.hash);
            self.held_back.borrow_mut().insert(place);
            let wait = self.subnet.consensus.unit_delay.mul_f64(LATE);
            let life = Rc::downgrade(self);
            let kernel = self.subnet.kernel.clone();
            self.host.spawn(async move {
                kernel.sleep(wait).await;
                if let Some(life) = life.upgrade() {
                    life.held_back.borrow_mut().remove(&place);
                    life.offer_now(&block);
                    life.vote_for_what_was_held_back(&block);
                }
            });
            return;
        }
        self.offer_now(&block);
        if self.behaviour() == Behaviour::Fork {
            self.sign_all([&block]);
        }
    }

    fn holds_back(&self, height: Height, hash: BlockHash) -> bool {
        self.held_back.borrow().contains(&(height, hash))
    }

    /// Whether it has a block at this height that it has not shown yet.
    fn holds_back_at(&self, height: Height) -> bool {
        self.held_back.borrow().iter().any(|(at, _)| *at == height)
    }

    /// Sends the shares that would have told of a block too early.
    fn vote_for_what_was_held_back(&self, block: &Rc<Sealed>) {
        if self.behaviour() == Behaviour::Fork {
            let blocks = self.consensus.borrow().blocks(block.block.height);
            self.sign_all(&blocks);
        } else {
            let signed = Signed::Notarization(block.block.height, block.hash);
            let share = Share { signed, signer: self.me };
            self.outbox.borrow_mut().push(Artefact::Share(share));
        }
        self.flush();
    }

    fn offer_now(&self, block: &Rc<Sealed>) {
        let twin = (self.behaviour() == Behaviour::Equivocate).then(|| twin_of(block));
        for to in self.subnet.others(self.me) {
            match &twin {
                Some(twin) if to.0 % 2 == 1 => self.send_block(to, twin.clone()),
                None if block.wire_bytes() > self.subnet.config.push_bytes => {
                    self.send(to, 100, Packet::Advert(self.me, block.block.height, block.hash));
                }
                _ => self.send_block(to, block.clone()),
            }
        }
        if let Some(twin) = twin {
            self.conduct.departed();
            self.sign_all([block, &twin]);
        }
    }

    fn send_block(&self, to: ReplicaId, block: Rc<Sealed>) {
        let bytes = block.wire_bytes() + SIGNATURE_BYTES;
        self.send(to, bytes, Packet::Artefacts(self.me, [Artefact::Proposal(block)].into()));
    }

    /// A Byzantine replica supports and finalizes more than one block.
    fn sign_all<'a>(&self, blocks: impl IntoIterator<Item = &'a Rc<Sealed>>) {
        let mut outbox = self.outbox.borrow_mut();
        for sealed in blocks {
            let (height, hash) = (sealed.block.height, sealed.hash);
            for signed in [Signed::Notarization(height, hash), Signed::Finalization(height, hash)] {
                outbox.push(Artefact::Share(Share { signed, signer: self.me }));
            }
        }
    }

    /// Sends a replica that is behind what it lacks: blocks and artefacts, or a checkpoint.
    fn give_what_is_missing(&self, to: ReplicaId, above: Height) {
        let disk = self.disk().borrow();
        if let Some(blocks) = disk.blocks_above(above) {
            let mut artefacts: Vec<Artefact> = blocks.into_iter().map(Artefact::Proposal).collect();
            artefacts.extend(self.consensus.borrow().artefacts_above(above));
            if artefacts.is_empty() {
                return;
            }
            let size = |artefact: &Artefact| match artefact {
                Artefact::Proposal(block) => block.wire_bytes(),
                _ => SIGNATURE_BYTES,
            };
            let bytes = artefacts.iter().map(size).sum();
            self.send(to, bytes, Packet::Artefacts(self.me, artefacts.into()));
            return;
        }
        let checkpoint = disk.checkpoint().clone();
        if checkpoint.height > disk.package() || checkpoint.height <= above {
            return;
        }
        let block = disk.block(checkpoint.height).expect("invariant: a checkpoint has its block");
        let theirs = self.subnet.disks[usize::from(to.0)].borrow().checkpoint().bytes.clone();
        let bytes = differing_bytes(&checkpoint.bytes, &theirs) / SYNC_PEERS;
        self.send(to, bytes, Packet::Checkpoint(checkpoint, block));
    }

    /// Takes a checkpoint of another replica, if it is ahead of what this one can come to by itself.
    fn replace(&self, checkpoint: Checkpoint, block: &Rc<Sealed>) -> Handled {
        let reached = match self.stranded.get() {
            true => self.executed.get(),
            false => self.consensus.borrow().finalized(),
        };
        if checkpoint.height <= reached {
            return Handled::GoOn;
        }
        add(&self.subnet.counters.state_syncs, 1);
        self.disk().borrow_mut().replace(checkpoint, block);
        Handled::StartAgain
    }
}

/// Another block of the same maker at the same place.
fn twin_of(block: &Rc<Sealed>) -> Rc<Sealed> {
    let mut twin = block.block.clone();
    twin.time += Duration::from_nanos(1);
    Sealed::of(twin)
}

/// Bytes of the chunks of `ours` that `theirs` does not have at the same place: a replica that fetches
/// a checkpoint compares manifests first.
fn differing_bytes(ours: &[u8], theirs: &[u8]) -> u64 {
    let mut theirs = theirs.chunks(CHUNK_BYTES);
    let differs = |chunk: &&[u8]| theirs.next() != Some(*chunk);
    ours.chunks(CHUNK_BYTES).filter(differs).map(|chunk| chunk.len() as u64).sum()
}
