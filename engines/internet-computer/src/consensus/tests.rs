//! Consensus without a world: replicas, a schedule that delays and reorders, and Byzantine makers.

use super::rules::{rank_of, test_parameters};
use super::*;
use crate::block::{Block, Payload};
use proptest::prelude::*;
use sim_world::seed::SeedTree;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// What a Byzantine replica does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Honest,
    /// Sends nothing.
    Silent,
    /// Makes two blocks and shows each to half of the others; signs whatever is signed.
    Equivocates,
    /// Makes its block only after the next maker may have made one.
    Late,
    /// The same, signs every block, and goes on from the one of two that the others do not go on from.
    Forks,
}

/// How late a late replica is.
const LATE: Duration = Duration::from_millis(1_250);

/// A message on its way, the earliest first.
#[derive(Debug)]
struct InFlight {
    at: Timestamp,
    sequence: u64,
    from: u16,
    to: u16,
    artefact: Artefact,
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}
impl Eq for InFlight {}
impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

struct Net {
    parameters: Parameters,
    replicas: Vec<Consensus>,
    faults: Vec<Fault>,
    now: Timestamp,
    wakes: Vec<Option<Timestamp>>,
    flight: BinaryHeap<InFlight>,
    sequence: u64,
    delays: Vec<u64>,
    /// What each replica has finalized.
    chains: Vec<BTreeMap<Height, BlockHash>>,
    conflict: Option<Height>,
}

impl Net {
    fn new(parameters: Parameters, faults: Vec<Fault>, delays: Vec<u64>) -> Net {
        let count = parameters.replicas;
        let new = |id| Consensus::new(ReplicaId(id), parameters, genesis(), 0, Timestamp::ZERO);
        Net {
            parameters,
            replicas: (0..count).map(new).collect(),
            faults,
            now: Timestamp::ZERO,
            wakes: vec![Some(Timestamp::ZERO); usize::from(count)],
            flight: BinaryHeap::new(),
            sequence: 0,
            delays,
            chains: vec![BTreeMap::new(); usize::from(count)],
            conflict: None,
        }
    }

    fn send(&mut self, from: u16, to: u16, artefact: Artefact, extra: Duration) {
        self.sequence += 1;
        let delay = self.delays[self.sequence as usize % self.delays.len()];
        let at = self.now + Duration::from_millis(delay) + extra;
        self.flight.push(InFlight { at, sequence: self.sequence, from, to, artefact });
    }

    fn broadcast(&mut self, from: u16, artefact: &Artefact) {
        let fault = self.faults[usize::from(from)];
        let late = match (fault, artefact) {
            (Fault::Late, Artefact::Proposal(_)) => LATE,
            (Fault::Forks, Artefact::Proposal(block)) if !self.extends_one_of_two(from, block) => {
                LATE
            }
            _ => Duration::ZERO,
        };
        // It votes by itself, and not before it has shown its block.
        let is_vote = matches!(
            artefact,
            Artefact::Share(Share {
                signed: Signed::Notarization(..) | Signed::Finalization(..),
                ..
            })
        );
        if fault == Fault::Forks && is_vote {
            return;
        }
        for to in (0..self.parameters.replicas).filter(|to| *to != from) {
            let artefact = match (fault, artefact) {
                (Fault::Silent, _) => continue,
                (Fault::Equivocates, Artefact::Proposal(block)) if to % 2 == 1 => {
                    Artefact::Proposal(twin(block))
                }
                _ => artefact.clone(),
            };
            self.send(from, to, artefact, late);
        }
        if let Artefact::Proposal(block) = artefact {
            match fault {
                Fault::Equivocates => {
                    self.sign_everything(from, [block.clone(), twin(block)], Duration::ZERO);
                }
                Fault::Forks => self.sign_everything(from, [block.clone()], late),
                _ => {}
            }
        }
    }

    fn extends_one_of_two(&self, id: u16, block: &Sealed) -> bool {
        let replica = &self.replicas[usize::from(id)];
        let parent = replica.block(block.block.height - 1, block.block.parent);
        parent.is_some_and(|parent| replica.rival(parent).is_some())
    }

    /// A Byzantine replica supports and finalizes blocks as it likes.
    fn sign_everything<const N: usize>(
        &mut self,
        from: u16,
        blocks: [Rc<Sealed>; N],
        late: Duration,
    ) {
        for block in blocks {
            let (height, hash) = (block.block.height, block.hash);
            for signed in [Signed::Notarization(height, hash), Signed::Finalization(height, hash)] {
                let share = Artefact::Share(Share { signed, signer: ReplicaId(from) });
                for to in (0..self.parameters.replicas).filter(|to| *to != from) {
                    self.send(from, to, share.clone(), late);
                }
            }
        }
    }

    fn act(&mut self, id: u16, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Broadcast(artefact) => self.broadcast(id, &artefact),
                Action::Propose { height, mut parent, rank } => {
                    if self.faults[usize::from(id)] == Fault::Forks {
                        let rival = self.replicas[usize::from(id)].rival(&parent);
                        parent = rival.unwrap_or(parent);
                    }
                    let block = make(id, height, &parent, rank, 0);
                    let mut out = Vec::new();
                    self.replicas[usize::from(id)].propose(block, &mut out);
                    self.act(id, out);
                    self.wakes[usize::from(id)] = Some(self.now);
                }
                Action::Finalized(block) => self.finalized(id, &block),
                Action::Fetch { height, hash, from } => {
                    let source = &self.replicas[usize::from(from.0)];
                    let known = source.block(height, hash).cloned();
                    if self.faults[usize::from(from.0)] == Fault::Silent {
                        continue;
                    }
                    if let Some(block) = known {
                        self.send(from.0, id, Artefact::Proposal(block), Duration::ZERO);
                    }
                }
                Action::Behind { ahead } => {
                    let above = self.replicas[usize::from(id)].finalized();
                    let missing = self.replicas[usize::from(ahead.0)].artefacts_above(above);
                    for artefact in missing {
                        self.send(ahead.0, id, artefact, Duration::ZERO);
                    }
                }
            }
        }
    }

    fn finalized(&mut self, id: u16, block: &Rc<Sealed>) {
        if self.faults[usize::from(id)] != Fault::Honest {
            return;
        }
        let height = block.block.height;
        let chain = &mut self.chains[usize::from(id)];
        assert_eq!(chain.len() as u64 + 1, height, "blocks are finalized in turn");
        chain.insert(height, block.hash);
        if self.chains.iter().any(|other| other.get(&height).is_some_and(|h| *h != block.hash)) {
            self.conflict.get_or_insert(height);
        }
        // Execution is instant here.
        let mut out = Vec::new();
        self.replicas[usize::from(id)].certify(height, block.hash.0, &mut out);
        self.act(id, out);
    }

    /// Runs for `span` of time.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let wake = self.wakes.iter().flatten().min().copied();
            let arrival = self.flight.peek().map(|first| first.at);
            let Some(next) = wake.into_iter().chain(arrival).min().filter(|at| *at < end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            let mut touched: Vec<u16> = Vec::new();
            while self.flight.peek().is_some_and(|first| first.at <= self.now) {
                let InFlight { from, to, artefact, .. } = self.flight.pop().expect("peeked");
                let mut out = Vec::new();
                if let (Fault::Forks, Artefact::Proposal(block)) =
                    (self.faults[usize::from(to)], &artefact)
                {
                    self.sign_everything(to, [block.clone()], Duration::ZERO);
                }
                self.replicas[usize::from(to)].receive(ReplicaId(from), artefact, &mut out);
                self.act(to, out);
                touched.push(to);
            }
            for id in 0..self.parameters.replicas {
                let due = self.wakes[usize::from(id)].is_some_and(|at| at <= self.now);
                if due || touched.contains(&id) {
                    self.wakes[usize::from(id)] = None;
                    let mut out = Vec::new();
                    let now = self.now;
                    let wake = self.replicas[usize::from(id)].advance(now, &mut out);
                    self.wakes[usize::from(id)] = wake;
                    self.act(id, out);
                }
            }
        }
    }

    fn least_finalized(&self) -> Height {
        let honest = (0..self.faults.len()).filter(|id| self.faults[*id] == Fault::Honest);
        honest.map(|id| self.replicas[id].finalized()).min().expect("someone is honest")
    }
}

fn make(id: u16, height: Height, parent: &Rc<Sealed>, rank: u16, salt: u64) -> Rc<Sealed> {
    let time = Timestamp::from_nanos(parent.block.time.as_nanos() + 1 + salt);
    let (maker, parent) = (ReplicaId(id), parent.hash);
    Sealed::of(Block { height, parent, maker, rank, time, payload: Payload::default() })
}

fn twin(block: &Rc<Sealed>) -> Rc<Sealed> {
    let mut twin = block.block.clone();
    twin.time += Duration::from_nanos(1);
    Sealed::of(twin)
}

fn honest(count: usize) -> Vec<Fault> {
    vec![Fault::Honest; count]
}

#[test]
fn without_faults_a_block_takes_the_notary_delay_and_two_exchanges() {
    let mut net = Net::new(test_parameters(13), honest(13), vec![15]);
    net.run(Duration::from_secs(60));
    // 300 ms, then the exchange of shares; the next round begins with the notarization.
    let expected = 60_000 / 315;
    let height = net.least_finalized();
    assert!((expected - 3..=expected + 3).contains(&height), "{height}, expected {expected}");
    assert_eq!(net.conflict, None);
}

#[test]
fn with_f_silent_replicas_the_chain_grows_more_slowly() {
    let mut faults = honest(13);
    faults[9..].fill(Fault::Silent);
    let mut net = Net::new(test_parameters(13), faults, vec![15]);
    net.run(Duration::from_secs(120));
    let height = net.least_finalized();
    // A silent maker of rank 0 costs a unit delay, and there is one in 4 of 13 heights.
    assert!((120..250).contains(&height), "{height}");
}

#[test]
fn with_more_than_f_silent_replicas_nothing_is_finalized() {
    let mut faults = honest(4);
    faults[2..].fill(Fault::Silent);
    let mut net = Net::new(test_parameters(4), faults, vec![15]);
    net.run(Duration::from_secs(60));
    assert_eq!(net.least_finalized(), 0);
}

/// A maker that shows two blocks gets both of them finalized if f + 1 shares are enough.
#[test]
fn a_small_quorum_lets_two_blocks_be_finalized_at_one_height() {
    let parameters = Parameters { quorum: 2, ..test_parameters(4) };
    let mut faults = honest(4);
    faults[0] = Fault::Equivocates;
    let mut net = Net::new(parameters, faults, vec![15, 40]);
    net.run(Duration::from_secs(30));
    assert!(net.conflict.is_some());
}

/// A late block of the best rank is notarized after the block of the next was supported: who supported
/// both finalizes neither.
#[test]
fn whoever_supported_two_blocks_finalizes_neither() {
    let finalizes = |finalization_check| {
        let parameters = Parameters { finalization_check, ..test_parameters(4) };
        let maker = |rank| {
            let ranked = |id: &u16| rank_of(&parameters, 1, ReplicaId(*id)) == rank;
            (0..4).find(ranked).expect("every rank is held")
        };
        let me = ReplicaId(maker(3));
        let mut replica = Consensus::new(me, parameters, genesis(), 0, Timestamp::ZERO);
        let mut out = Vec::new();
        let next = make(maker(1), 1, &genesis(), 1, 0);
        let late = make(maker(0), 1, &genesis(), 0, 0);
        for (millis, block) in [(1_310, &next), (1_400, &late)] {
            let from = block.block.maker;
            replica.receive(from, Artefact::Proposal(block.clone()), &mut out);
            let _ = replica.advance(Timestamp::from_millis(millis), &mut out);
        }
        for other in [0, 1, 2].map(|rank| ReplicaId(maker(rank))) {
            let share = Share { signed: Signed::Notarization(1, late.hash), signer: other };
            replica.receive(other, Artefact::Share(share), &mut out);
        }
        let _ = replica.advance(Timestamp::from_millis(1_420), &mut out);
        assert_eq!(replica.round(), 2, "the late block is notarized");
        out.iter().any(|action| {
            matches!(action, Action::Broadcast(Artefact::Share(share))
                if share.signed == Signed::Finalization(1, late.hash))
        })
    };
    assert!(!finalizes(true));
    assert!(finalizes(false));
}

/// Whether four replicas, of which one does this, come to finalize two blocks at one height, over links
/// that take up to so many milliseconds, as the seed says.
fn forks(seed: u64, fault: Fault, slowest: u64, finalization_check: bool) -> bool {
    let mut draws = SeedTree::new(seed).stream("schedule");
    let delays = (0..17).map(|_| 1 + draws.below(slowest)).collect();
    let mut faults = honest(4);
    faults[3] = fault;
    let parameters = Parameters { seed, finalization_check, ..test_parameters(4) };
    let mut net = Net::new(parameters, faults, delays);
    net.run(Duration::from_secs(60));
    net.conflict.is_some()
}

/// Some finalize the first block although they have supported the late one too; others go on from that.
#[test]
fn without_the_check_two_blocks_are_finalized_at_one_height() {
    let late = |check| move |seed| forks(seed, Fault::Late, 8_000, check);
    assert!(!(20..40).any(late(true)));
    assert!((20..40).any(late(false)));
}

/// How far four replicas come in two minutes, of which one forks, over links that take up to 100 ms.
fn reached(seed: u64, finalization_check: bool) -> Height {
    let mut draws = SeedTree::new(seed).stream("schedule");
    let delays = (0..17).map(|_| 1 + draws.below(100)).collect();
    let mut faults = honest(4);
    faults[3] = Fault::Forks;
    let parameters = Parameters { seed, finalization_check, ..test_parameters(4) };
    let mut net = Net::new(parameters, faults, delays);
    net.run(Duration::from_secs(120));
    assert_eq!(net.conflict, None, "whoever follows one block hands no other over");
    net.least_finalized()
}

/// One that votes for everything, and extends both, gets a block finalized on another than the one that all
/// have finalized. Nobody can follow: the chain stands still for ever.
#[test]
fn without_the_check_a_replica_that_forks_brings_the_chain_to_a_halt() {
    assert!((0..10).all(|seed| reached(seed, true) > 150));
    assert!((0..10).any(|seed| reached(seed, false) < 50));
}

#[test]
fn what_a_replica_signed_before_a_crash_binds_it_afterwards() {
    let parameters = test_parameters(4);
    let mut replica = Consensus::new(ReplicaId(0), parameters, genesis(), 0, Timestamp::ZERO);
    let maker = (0..4).find(|id| rank_of(&parameters, 1, ReplicaId(*id)) == 0).expect("rank 0");
    let first = make(maker, 1, &genesis(), 0, 0);
    let second = twin(&first);
    let own = Share { signed: Signed::Notarization(1, first.hash), signer: ReplicaId(0) };
    replica.restore(Artefact::Proposal(first));
    replica.restore(Artefact::Share(own));
    let mut out = Vec::new();
    replica.receive(ReplicaId(maker), Artefact::Proposal(second.clone()), &mut out);
    let _ = replica.advance(Timestamp::from_secs(1), &mut out);
    let signs_second = out.iter().any(|action| {
        matches!(action, Action::Broadcast(Artefact::Share(share))
            if share.signed == Signed::Notarization(1, second.hash))
    });
    assert!(!signs_second, "{out:?}");
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Silent),
        Just(Fault::Equivocates),
        Just(Fault::Late),
        Just(Fault::Forks)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Safety: whatever the schedule and f Byzantine replicas do.
    #[test]
    fn no_two_blocks_are_finalized_at_one_height(
        byzantine in proptest::collection::vec(fault(), 2),
        delays in proptest::collection::vec(1u64..3_000, 17),
        seed in any::<u64>(),
    ) {
        let mut faults = honest(7);
        faults[5..].copy_from_slice(&byzantine);
        let parameters = Parameters { seed, ..test_parameters(7) };
        let mut net = Net::new(parameters, faults, delays);
        net.run(Duration::from_secs(40));
        prop_assert_eq!(net.conflict, None);
    }

    /// Liveness: with delays far below the unit delay and f Byzantine replicas the chain grows.
    #[test]
    fn the_chain_grows_despite_f_byzantine_replicas(
        byzantine in proptest::collection::vec(fault(), 2),
        delays in proptest::collection::vec(1u64..100, 17),
        seed in any::<u64>(),
    ) {
        let mut faults = honest(7);
        faults[..2].copy_from_slice(&byzantine);
        let parameters = Parameters { seed, ..test_parameters(7) };
        let mut net = Net::new(parameters, faults, delays);
        net.run(Duration::from_secs(120));
        prop_assert!(net.least_finalized() >= 15, "{}", net.least_finalized());
    }
}
