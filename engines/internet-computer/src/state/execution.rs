//! Execution of the chain, once for all replicas that hold its state in memory.
//!
//! **Why once.** The state is a deterministic function of the blocks, so all correct replicas have equal
//! states; the simulation keeps one of them, and charges its cost to each. It is memory: when no replica
//! is left that holds it, it is gone, and is rebuilt from bytes on disks, a checkpoint and the finalized
//! blocks after it, by executing them again. That must come to the same digests, which is checked.
//!
//! **Forks.** With a safety mechanism switched off, two blocks may be finalized at one height. Then both
//! are executed, each from the state of its parent: states of recent blocks are kept for that. If instead
//! more replicas are Byzantine than are tolerated, nothing is kept: the branch that comes second stands still.

use super::SubnetState;
use super::round::Round;
use super::views::Views;
use crate::block::{BlockHash, Height, Sealed, decode, encode};
use crate::canister::{Costs, Cursors, Trace};
use crate::placement::Placement;
use crate::scheduler::Limits;
use sim_model::application::Application;
use sim_model::graph::GraphRecorder;
use sim_model::id::WorkItemId;
use sim_model::time::Timestamp;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Recent states that are kept where forks can happen.
const STATES_KEPT: u64 = 100;

/// What executing depends on besides the chain.
pub(crate) struct Program {
    pub(crate) application: Rc<Application>,
    pub(crate) graph: GraphRecorder,
    pub(crate) costs: Costs,
    pub(crate) limits: Limits,
    pub(crate) placement: Placement,
    pub(crate) ingress_dedup: bool,
    pub(crate) queue_reservation: bool,
    /// Heights from one checkpoint to the next.
    pub(crate) checkpoint_interval: Height,
    /// Whether a fork is possible.
    pub(crate) forks: bool,
}

/// A checkpoint: the state as bytes, and how much of it had changed.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) height: Height,
    pub(crate) hash: BlockHash,
    pub(crate) bytes: Rc<[u8]>,
    pub(crate) dirty_pages: u64,
}

/// The record of an execution. It is not memory of any replica: it says which work items the run's
/// record knows, and what the digest was.
struct Record {
    items: Vec<WorkItemId>,
    digest: u64,
    reported: bool,
}

type Key = (Height, BlockHash);

/// The execution of one subnet's chain.
pub(crate) struct Execution {
    program: Program,
    /// The latest state and the block that led to it.
    state: Option<(BlockHash, SubnetState)>,
    cursors: Cursors,
    rounds: BTreeMap<Key, Rc<Round>>,
    checkpoints: BTreeMap<Key, Checkpoint>,
    states: BTreeMap<Key, SubnetState>,
    records: BTreeMap<Key, Record>,
    views: Views,
    holders: usize,
}

impl Execution {
    pub(crate) fn new(program: Program) -> Execution {
        Execution {
            program,
            state: None,
            cursors: Cursors::default(),
            rounds: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            states: BTreeMap::new(),
            records: BTreeMap::new(),
            views: Views::default(),
            holders: 0,
        }
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// The latest state, if a replica holds one.
    pub(crate) fn state(&self) -> Option<&SubnetState> {
        self.state.as_ref().map(|(_, state)| state)
    }

    /// A replica loads the state of a checkpoint into its memory.
    pub(crate) fn hold(&mut self, checkpoint: &Checkpoint) {
        self.holders += 1;
        if self.state.is_none() {
            let state: SubnetState = decode(&checkpoint.bytes);
            assert_eq!(state.height, checkpoint.height, "a checkpoint says of which height it is");
            if self.program.forks {
                self.states.insert((checkpoint.height, checkpoint.hash), state.clone());
            }
            self.views.fill(&state);
            self.state = Some((checkpoint.hash, state));
        }
    }

    /// A replica has lost its memory.
    pub(crate) fn release(&mut self) {
        self.holders -= 1;
        if self.holders == 0 {
            self.state = None;
            self.cursors.clear();
            self.rounds.clear();
            self.states.clear();
            self.views = Views::default();
        }
    }

    /// Instances as clients see them.
    pub(crate) fn views(&self) -> &Views {
        &self.views
    }

    /// Executes a finalized block, or tells what that came to. Nothing if the state before it is not
    /// kept: whoever is so far behind has to fetch a checkpoint.
    pub(crate) fn execute(&mut self, sealed: &Sealed, recorded_at: Timestamp) -> Option<Rc<Round>> {
        let key = (sealed.block.height, sealed.hash);
        let (head, state) = self.state.as_ref().expect("invariant: whoever executes holds a state");
        if *head != sealed.block.parent || state.height + 1 != key.0 {
            if let Some(round) = self.rounds.get(&key) {
                return Some(round.clone());
            }
            if key.0 < state.height.saturating_sub(self.kept()) {
                return None;
            }
            if !self.switch(sealed) {
                return None;
            }
        }
        let round = Rc::new(self.run(sealed, recorded_at));
        self.views.add(key.0, &round.views);
        self.rounds.insert(key, round.clone());
        self.prune(key.0);
        Some(round)
    }

    /// Takes up the state of another branch; false if it is not kept.
    fn switch(&mut self, sealed: &Sealed) -> bool {
        let parent = (sealed.block.height - 1, sealed.block.parent);
        let Some(state) = self.states.get(&parent) else { return false };
        self.state = Some((parent.1, state.clone()));
        self.cursors.clear();
        true
    }

    fn run(&mut self, sealed: &Sealed, recorded_at: Timestamp) -> Round {
        let key = (sealed.block.height, sealed.hash);
        let (head, state) = self.state.as_mut().expect("invariant: it was asked for above");
        let mut trace = Trace::default();
        let before = self.records.get(&key);
        if let Some(record) = before {
            trace.again = true;
            trace.given = record.items.iter().copied().collect();
        }
        let (program, cursors) = (&self.program, &mut self.cursors);
        let round =
            state.execute(&sealed.block, sealed.hash, program, cursors, &mut trace, recorded_at);
        *head = sealed.hash;
        match before {
            Some(record) => assert_eq!(
                record.digest, round.digest,
                "executing height {} again came to another state",
                key.0
            ),
            None => {
                let items = round.items.clone();
                self.records.insert(key, Record { items, digest: round.digest, reported: false });
            }
        }
        if key.0.is_multiple_of(self.program.checkpoint_interval) {
            let dirty_pages = state.dirty_pages();
            state.dirty.clear();
            let bytes: Rc<[u8]> = encode(state).into();
            let checkpoint = Checkpoint { height: key.0, hash: key.1, bytes, dirty_pages };
            self.checkpoints.insert(key, checkpoint);
        }
        if self.program.forks {
            self.states.insert(key, state.clone());
        }
        round
    }

    /// The checkpoint of this block.
    pub(crate) fn checkpoint(&self, height: Height, hash: BlockHash) -> Option<Checkpoint> {
        self.checkpoints.get(&(height, hash)).cloned()
    }

    /// Whether the effects of a round are to be reported: true once. A record that is forgotten was
    /// reported: a replica that is slow comes to its rounds when all others are far ahead.
    pub(crate) fn report(&mut self, height: Height, hash: BlockHash) -> bool {
        let record = self.records.get_mut(&(height, hash));
        record.is_some_and(|record| !std::mem::replace(&mut record.reported, true))
    }

    /// Heights for which rounds are kept: replicas serve blocks since the checkpoint before the last,
    /// to replicas whose own checkpoint may be older by as much again.
    fn kept(&self) -> Height {
        4 * self.program.checkpoint_interval
    }

    /// Forgets rounds from which no replica starts any more.
    fn prune(&mut self, height: Height) {
        let keep = height.saturating_sub(self.kept());
        let from = (keep, BlockHash(0));
        self.rounds = split(&mut self.rounds, &from);
        let records = split(&mut self.records, &from);
        let older = std::mem::replace(&mut self.records, records);
        self.records.extend(older.into_iter().filter(|(_, record)| !record.reported));
        self.checkpoints = split(&mut self.checkpoints, &from);
        let from = (height.saturating_sub(STATES_KEPT), BlockHash(0));
        self.states = split(&mut self.states, &from);
    }
}

/// What is at `from` and above; splitting is only worth it if there is something below.
fn split<T>(map: &mut BTreeMap<Key, T>, from: &Key) -> BTreeMap<Key, T> {
    match map.first_key_value() {
        Some((first, _)) if first < from => map.split_off(from),
        _ => std::mem::take(map),
    }
}
