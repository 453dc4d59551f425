//! One round: the execution of one block.
//!
//! **What it models.** The inputs of the block are inducted into the queues of canisters. Then the
//! scheduler runs inner iterations: canisters execute, what they send to canisters of the same subnet is
//! moved to its input queue at the end of the iteration, without consensus, and the next iteration
//! begins, until nobody has work or a limit is reached. So a chain of calls on one subnet ends in one
//! round if the limits allow. What goes to other subnets enters the streams.
//!
//! How long the round takes on a replica follows from the instructions: in each iteration the longest
//! thread. Sources: dfinity/developer-docs, concepts/protocol/message-routing, execution; dfinity/ic
//! rs/execution_environment/src/scheduler/round_schedule.rs@002d5530.

use super::SubnetState;
use crate::block::{Block, BlockHash, CanisterId, Height, IngressReply, OutcallId, SubnetId};
use crate::canister::{
    Canister, CodeEnvironment, Cursors, Effect, Ended, Executed, Letter, OutcallRequest, Paused,
    Trace,
};
use crate::state::Program;
use sim_model::engine::InstanceState;
use sim_model::id::{InstanceId, WorkItemId};
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What executing a block came to.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) height: Height,
    pub(crate) hash: BlockHash,
    /// The digest of the state after it.
    pub(crate) digest: u64,
    pub(crate) time: Timestamp,
    /// Instructions from the beginning to the end: in each iteration those of the longest thread.
    pub(crate) critical: u64,
    /// Instructions of each thread.
    pub(crate) threads: Vec<u64>,
    /// The rank of the maker.
    pub(crate) rank: u16,
    /// Client calls that the block carried.
    pub(crate) ingress: u64,
    /// Messages that it carried from other subnets.
    pub(crate) streamed: u64,
    /// Message executions.
    pub(crate) messages: u64,
    /// Client calls that the block carried and that were known.
    pub(crate) duplicates: u64,
    /// Messages that were dropped because a queue was full.
    pub(crate) dropped: u64,
    pub(crate) iterations: u64,
    /// Executions that were paused, and those that were given up to start again.
    pub(crate) slices: u64,
    pub(crate) aborted: u64,
    /// Calls that wait for a free slot.
    pub(crate) kept: u64,
    /// Work items, in the order of their execution.
    pub(crate) items: Vec<WorkItemId>,
    pub(crate) replies: Vec<IngressReply>,
    pub(crate) ended: Vec<Ended>,
    pub(crate) views: Vec<(InstanceId, Option<InstanceState>)>,
    pub(crate) outcalls: Vec<(OutcallId, OutcallRequest)>,
    /// How far each reverse stream was taken.
    pub(crate) taken: BTreeMap<SubnetId, u64>,
}

/// A round on its way.
struct Running<'a> {
    program: &'a Program,
    trace: &'a mut Trace,
    cursors: &'a mut Cursors,
    recorded_at: Timestamp,
    round: Round,
    /// Canisters whose long execution had its slice.
    sliced: BTreeSet<CanisterId>,
    /// Canisters that had their full turn.
    full: BTreeSet<CanisterId>,
    heap_delta: u64,
}

impl SubnetState {
    /// Executes a block.
    pub(crate) fn execute(
        &mut self,
        block: &Block,
        hash: BlockHash,
        program: &Program,
        cursors: &mut Cursors,
        trace: &mut Trace,
        recorded_at: Timestamp,
    ) -> Round {
        assert_eq!(block.height, self.height + 1, "blocks are executed in turn");
        assert!(block.time > self.time, "the time of blocks grows");
        self.height = block.height;
        self.time = block.time;
        let threads = program.limits.threads;
        let round = Round {
            height: block.height,
            hash,
            time: block.time,
            rank: block.rank,
            ingress: block.payload.ingress.len() as u64,
            threads: vec![0; threads],
            ..Round::default()
        };
        let mut running = Running {
            program,
            trace,
            cursors,
            recorded_at,
            round,
            sliced: BTreeSet::new(),
            full: BTreeSet::new(),
            heap_delta: 0,
        };
        running.induct(self, block);
        while running.iterate(self) {}
        running.end(self)
    }
}

impl Running<'_> {
    /// Brings the inputs of a block into the queues.
    fn induct(&mut self, state: &mut SubnetState, block: &Block) {
        state.history.forget(block.time);
        for ingress in &block.payload.ingress {
            let new = state.history.add(ingress.id, ingress.expiry);
            if !new {
                self.round.duplicates += 1;
            }
            if new || !self.program.ingress_dedup {
                let canister = state.canisters.get_mut(&ingress.canister);
                canister
                    .expect("invariant: clients know the canisters")
                    .queues
                    .push_ingress(ingress.clone());
            }
        }
        for slice in &block.payload.slices {
            let stream = state.streams.get_mut(&slice.from);
            for routed in stream.expect("invariant: subnets know each other").accept(slice) {
                self.round.streamed += 1;
                self.deliver(state, routed.to, routed.letter);
            }
        }
        for outcall in &block.payload.outcalls {
            if let Some(canister) = state.outcalls.answer(*outcall) {
                let canister = state.canisters.get_mut(&canister).expect("invariant: it exists");
                canister.queues.push_local(Letter::Outcall(*outcall));
            }
        }
        for canister in state.canisters.values_mut() {
            canister.fire_timers(block.time);
            let rate = self.program.limits.canister_heap_delta;
            canister.heap_delta_debit = canister.heap_delta_debit.saturating_sub(rate);
        }
    }

    /// Puts a message into a canister's input queue. An acknowledgement is taken at once.
    fn deliver(&mut self, state: &mut SubnetState, to: CanisterId, letter: Letter) {
        let reservation = self.program.queue_reservation;
        let canister = state.canisters.get_mut(&to).expect("invariant: it is of this subnet");
        if let Letter::Response { from, answer: None } = letter {
            canister.queues.close(to, from, reservation);
        } else if !canister.queues.push(letter, reservation) {
            self.round.dropped += 1;
        }
    }

    /// One inner iteration; whether there may be another.
    fn iterate(&mut self, state: &mut SubnetState) -> bool {
        let limits = self.program.limits;
        let rate = limits.canister_heap_delta;
        let can_run = |id: &CanisterId, canister: &Canister| {
            canister.has_work() && canister.heap_delta_debit < rate && !self.sliced.contains(id)
        };
        let able = state.canisters.iter().filter(|(id, canister)| can_run(id, canister));
        let ready: Vec<CanisterId> = able.map(|(id, _)| *id).collect();
        if ready.is_empty() {
            return false;
        }
        let is_long = |id: &&CanisterId| state.canisters[id].paused.is_some();
        let long: BTreeSet<CanisterId> = ready.iter().filter(is_long).copied().collect();
        self.round.iterations += 1;
        let before = self.round.critical;
        let mut longest = 0;
        for (thread, canisters) in
            state.priorities.assign(&ready, &long, limits.threads).into_iter().enumerate()
        {
            let used = self.run_thread(state, &canisters, before);
            self.round.threads[thread] += used;
            longest = longest.max(used);
        }
        let ending = limits.finalization_overhead * ready.len() as u64;
        self.round.critical += longest + ending;
        if !limits.transitive {
            return false;
        }
        self.route(state);
        longest > 0
            && self.round.critical + limits.message_overhead <= limits.round
            && self.heap_delta < limits.iteration_heap_delta
    }

    /// Runs the canisters of one thread, of which `before` instructions of the round are over.
    fn run_thread(
        &mut self,
        state: &mut SubnetState,
        canisters: &[CanisterId],
        before: u64,
    ) -> u64 {
        let limits = self.program.limits;
        let mut used = 0;
        for (place, id) in canisters.iter().enumerate() {
            let minimum = limits.canister_overhead + limits.message_overhead;
            if before + used + minimum > limits.round {
                break;
            }
            used += limits.canister_overhead;
            let mut canister = state.canisters.remove(id).expect("invariant: it is ready");
            while before + used + limits.message_overhead <= limits.round {
                let Some(more) = self.run_message(state, &mut canister, before + used) else {
                    break;
                };
                used += more;
                if canister.paused.is_some() {
                    break;
                }
            }
            if place == 0 || !canister.has_work() {
                self.full.insert(*id);
            }
            state.canisters.insert(*id, canister);
        }
        used
    }

    /// Executes one message of a canister, or one slice; the instructions that took.
    fn run_message(
        &mut self,
        state: &mut SubnetState,
        canister: &mut Canister,
        begin: u64,
    ) -> Option<u64> {
        let limits = self.program.limits;
        if let Some(mut paused) = canister.paused.take() {
            let slice = paused.remaining.min(limits.slice);
            paused.remaining -= slice;
            if paused.remaining == 0 {
                return Some(slice + self.apply(state, canister, paused.effects));
            }
            self.pause(canister, paused);
            return Some(slice);
        }
        let letter = canister.queues.pop()?;
        self.round.messages += 1;
        let answered = match &letter {
            Letter::Response { from, .. } => Some(*from),
            _ => None,
        };
        let begin = self.program.costs.time(begin + limits.message_overhead);
        let done = self.with_code(state, |code| code.execute(canister, letter, begin));
        if let Some(from) = answered {
            canister.queues.close(canister.id, from, self.program.queue_reservation);
        }
        let Executed { instructions, effects, written } = done;
        let delta = state.wrote(canister.id, written);
        canister.heap_delta_debit += delta;
        self.heap_delta += delta;
        let total = limits.message_overhead + instructions;
        if limits.slicing && total > limits.slice {
            self.pause(canister, Paused { total, remaining: total - limits.slice, effects });
            return Some(limits.slice);
        }
        Some(total + self.apply(state, canister, effects))
    }

    fn pause(&mut self, canister: &mut Canister, paused: Paused) {
        self.round.slices += 1;
        self.sliced.insert(canister.id);
        canister.paused = Some(paused);
    }

    fn with_code<T>(
        &mut self,
        state: &mut SubnetState,
        act: impl FnOnce(&mut CodeEnvironment<'_>) -> T,
    ) -> T {
        act(&mut CodeEnvironment {
            application: &self.program.application,
            graph: &self.program.graph,
            cursors: self.cursors,
            trace: self.trace,
            outcalls: &mut state.outcalls,
            costs: &self.program.costs,
            placement: self.program.placement,
            subnet: state.subnet,
            now: state.time,
            recorded_at: self.recorded_at,
            digest: &mut state.digest,
            views: &mut self.round.views,
        })
    }

    /// Lets effects take place; instructions of what they set going.
    fn apply(
        &mut self,
        state: &mut SubnetState,
        canister: &mut Canister,
        effects: Vec<Effect>,
    ) -> u64 {
        let (me, reservation) = (canister.id, self.program.queue_reservation);
        let mut instructions = 0;
        for effect in effects {
            match effect {
                Effect::Call(to, call) => canister.queues.call(me, to, call, reservation),
                Effect::Respond(to, answer) => {
                    canister.queues.respond(to, Letter::Response { from: me, answer });
                }
                Effect::Timer(timer) => {
                    let key = (timer.fire_at, canister.timers_started);
                    canister.timers_started += 1;
                    canister.timers.insert(key, timer);
                }
                Effect::Reply(id, reply) => {
                    let height = state.height;
                    state.history.answer(id, height, reply.clone());
                    self.round.replies.push((id, reply));
                }
                Effect::Ended(ended) => self.round.ended.push(*ended),
                Effect::Outcalls(steps, then) => {
                    let request = steps[0].request;
                    let id = self.with_code(state, |code| code.begin_outcalls(me, steps, then));
                    self.round.outcalls.push((id, request));
                }
                Effect::Release(instance) => {
                    let mut done = Executed::default();
                    self.with_code(state, |code| code.release(canister, &instance, &mut done));
                    state.wrote(me, done.written);
                    instructions += done.instructions;
                    instructions += self.apply(state, canister, done.effects);
                }
            }
        }
        instructions
    }

    /// Moves what canisters send: to queues of this subnet, or into streams that have room.
    fn route(&mut self, state: &mut SubnetState) {
        let ids: Vec<CanisterId> = state.canisters.keys().copied().collect();
        for id in ids {
            let canister = state.canisters.get_mut(&id).expect("invariant: just listed");
            let output = canister.queues.take_output();
            let mut left: VecDeque<(CanisterId, Letter)> = VecDeque::new();
            for (to, letter) in output {
                let subnet = self.program.placement.subnet_of(to);
                if subnet == state.subnet {
                    self.deliver(state, to, letter);
                    continue;
                }
                let blocked =
                    left.iter().any(|(to, _)| self.program.placement.subnet_of(*to) == subnet);
                let height = state.height;
                let stream = state.streams.get_mut(&subnet).expect("invariant: a known subnet");
                if blocked || !stream.has_room() {
                    left.push_back((to, letter));
                } else {
                    stream.push(height, to, letter);
                }
            }
            let canister = state.canisters.get_mut(&id).expect("invariant: just listed");
            canister.queues.put_back(left);
        }
    }

    /// Ends the round.
    fn end(mut self, state: &mut SubnetState) -> Round {
        // What a full stream kept back may fit now, and acknowledgements may have freed slots.
        self.route(state);
        let paused = state.canisters.values().filter(|canister| canister.paused.is_some());
        let paused: Vec<CanisterId> = paused.map(|canister| canister.id).collect();
        for id in state.priorities.aborted(&paused, self.program.limits.paused_max) {
            let canister = state.canisters.get_mut(&id).expect("invariant: just listed");
            if let Some(paused) = &mut canister.paused {
                paused.remaining = paused.total;
                self.round.aborted += 1;
            }
        }
        state.priorities.end_round(&self.full);
        let mut round = self.round;
        round.kept = state.canisters.values().map(|canister| canister.queues.kept() as u64).sum();
        round.taken = state.streams.iter().map(|(id, stream)| (*id, stream.taken)).collect();
        round.items.clone_from(&self.trace.used);
        round.digest = state.digest ^ state.height;
        round
    }
}

impl Round {
    /// How long the round takes, and for how long each further thread is busy.
    pub(crate) fn times(&self, program: &Program) -> (Duration, Vec<Duration>) {
        let longest = self.threads.iter().copied().max().unwrap_or(0);
        let mut others = self.threads.clone();
        if let Some(place) = others.iter().position(|thread| *thread == longest) {
            others.remove(place);
        }
        let time = |instructions: u64| program.costs.time(instructions);
        (time(self.critical), others.into_iter().map(time).collect())
    }
}
