//! The code of the engine's canisters: what executing one message does.
//!
//! A message to an instance runs one step of it, at once: a canister executes one message at a time, so
//! steps of an instance are serial, and a step's effects are those of the message's execution. User
//! code sees the time of the batch, which is part of the agreed block. The state of suspended user code
//! stays in the canister's memory: it is rebuilt from the stored history only when a replica has lost
//! its memory, and what that costs is the cost of loading a checkpoint.
//!
//! User code runs once in the simulation, whichever replica comes first: it is deterministic, and all
//! replicas would do the same. Identities of work items belong to the record of the run; an execution
//! that is repeated after a loss of all memory takes the same ones.

use super::outcome::{Effect, Ended, Executed, OutcallRequest, OutcallStep};
use super::resources::{Costs, Cursors, Open, Outcalls, Trace};
use super::{Call, Canister, Instance, Letter, Reply};
use crate::block::{CanisterId, Ingress, Method, OutcallId, SubnetId, encode};
use crate::placement::Placement;
use crate::task;
use sim_model::application::{Application, ApplicationError};
use sim_model::cursor::Cursor;
use sim_model::engine::InstanceState;
use sim_model::graph::GraphRecorder;
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::{Category, Cause, Ledger, Timing};
use sim_model::message::{InstanceMessage, TaskMessage};
use sim_model::step::{EntityBackend, StepInput, StepOutcome, UserWork};
use sim_model::time::Timestamp;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Messages arrive once and in order; nothing limits a batch or a delay.
const BACKEND: EntityBackend = EntityBackend {
    reorder_window: Duration::ZERO,
    max_operations: usize::MAX,
    max_signal_delay: None,
    implicit_deletion: true,
};

/// Why a message was not executed earlier.
const IN_A_ROUND: Cause = Category::Commit.because("waited for the round that executes it");
const INGRESS: Cause = Category::Batching.because("waited for the block that takes it in");
const HELD_BY_OUTCALL: Cause =
    Category::Queueing.because("held back until the instance was free again");

/// What the code of canisters works with in one round.
pub(crate) struct CodeEnvironment<'a> {
    pub(crate) application: &'a Rc<Application>,
    pub(crate) graph: &'a GraphRecorder,
    pub(crate) cursors: &'a mut Cursors,
    pub(crate) trace: &'a mut Trace,
    pub(crate) outcalls: &'a mut Outcalls,
    pub(crate) costs: &'a Costs,
    pub(crate) placement: Placement,
    pub(crate) subnet: SubnetId,
    /// The time of the batch: the present, for user code.
    pub(crate) now: Timestamp,
    /// The present of the run, for its record.
    pub(crate) recorded_at: Timestamp,
    /// The digest of everything that was executed.
    pub(crate) digest: &'a mut u64,
    /// States that changed, as clients see them.
    pub(crate) views: &'a mut Vec<(InstanceId, Option<InstanceState>)>,
}

impl CodeEnvironment<'_> {
    /// Executes one message on a thread that has worked for `begin` in this round.
    pub(crate) fn execute(
        &mut self,
        canister: &mut Canister,
        letter: Letter,
        begin: Duration,
    ) -> Executed {
        let mut done = Executed::default();
        let start = self.now + begin;
        match letter {
            Letter::Ingress(ingress) => self.ingress(canister, &ingress, start, &mut done),
            Letter::Request { from, call: Call::Deliver(message) } => {
                self.deliver(canister, message, IN_A_ROUND, start, &mut done);
                done.effects.push(Effect::Respond(from, None));
            }
            Letter::Request { from, call: Call::Run(task) } => {
                self.task(from, task, start, &mut done);
            }
            Letter::Response { from, answer } => {
                let answer = answer.expect("invariant: acknowledgements are not executed");
                debug_assert_ne!(from, canister.id, "tasks are in canisters of their own");
                self.deliver(canister, answer, IN_A_ROUND, start, &mut done);
            }
            Letter::Timer(timer) => {
                self.deliver(canister, timer.message, Category::Polling.into(), start, &mut done);
            }
            Letter::Outcall(id) => self.continue_after(id, &mut done),
        }
        *self.digest = xxh3_64_with_seed(&done.instructions.to_le_bytes(), *self.digest);
        done
    }

    fn ingress(
        &mut self,
        canister: &mut Canister,
        ingress: &Ingress,
        start: Timestamp,
        done: &mut Executed,
    ) {
        let known = |id: &InstanceId| canister.instances.get(id);
        let reply = match &ingress.method {
            Method::Start(message) => {
                let running = known(&message.target).is_some_and(|i| !i.state.status.is_final());
                if running {
                    self.discard(message.id);
                    Reply::Refused(format!("instance {} exists and has not ended", message.target))
                } else {
                    self.deliver(canister, message.clone(), INGRESS, start, done);
                    Reply::Accepted
                }
            }
            Method::Send(message) => {
                self.deliver(canister, message.clone(), INGRESS, start, done);
                Reply::Accepted
            }
            Method::Wait(id) => match known(id) {
                None => Reply::Refused(format!("there is no instance {id}")),
                Some(found) if found.state.status.is_final() => Reply::Ended(found.state.clone()),
                Some(_) => {
                    let instance = canister.instances.get_mut(id).expect("just found");
                    Rc::make_mut(instance).waiting.push(ingress.id);
                    return;
                }
            },
            Method::Purge(id) => self.purge(canister, id),
        };
        done.effects.push(Effect::Reply(ingress.id, reply));
    }

    fn purge(&mut self, canister: &mut Canister, id: &InstanceId) -> Reply {
        let Some(instance) = canister.instances.get(id) else { return Reply::Purged(false) };
        let ended = instance.state.status.is_final() || (id.is_entity() && !instance.busy);
        if !ended {
            return Reply::Refused(format!("instance {id} has not ended"));
        }
        canister.instances.remove(id);
        self.cursors.remove(id);
        self.views.push((id.clone(), None));
        if id.is_entity() && !self.trace.again {
            self.graph.removed(id);
        }
        Reply::Purged(true)
    }

    fn discard(&self, message: MessageId) {
        if !self.trace.again {
            self.graph.discarded(message);
        }
    }

    /// Gives a message to its instance, which runs a step if it is not busy.
    fn deliver(
        &mut self,
        canister: &mut Canister,
        mut message: InstanceMessage,
        waited: Cause,
        start: Timestamp,
        done: &mut Executed,
    ) {
        message.ledger.charge(waited, self.now);
        let id = message.target.clone();
        let found = canister.instances.get_mut(&id);
        if found.as_ref().is_none_or(|instance| instance.state.status.is_final()) {
            if !message.creates_instance() {
                self.discard(message.id);
                return;
            }
            if let Some(former) = found {
                message.number_decisions_from(former.next_event_id);
            }
            self.cursors.remove(&id);
            canister.instances.insert(id.clone(), Rc::new(new_instance(&message)));
        } else if let Some(instance) = found.filter(|instance| instance.busy) {
            Rc::make_mut(instance).held.push_back(message);
            return;
        }
        self.step(canister, &id, message, start, done);
    }

    fn step(
        &mut self,
        canister: &mut Canister,
        id: &InstanceId,
        message: InstanceMessage,
        start: Timestamp,
        done: &mut Executed,
    ) {
        let instance = canister.instances.get(id).expect("invariant: it exists or was created");
        let mut cursor = self.cursor(id, instance);
        let graph = self.graph;
        let item = self.trace.item(|| {
            let messages = std::iter::once(message.id);
            graph.fetch_step(id, instance.last_step, messages, self.recorded_at)
        });
        let mut ledger = message.ledger;
        let begin = start + self.costs.time(done.instructions);
        ledger.charge(Category::Queueing.because("waited for its turn in the round"), begin);
        let own = self.costs.step;
        let why = Category::Cpu.because("the canister executed the step");
        ledger.charge(why, begin + self.costs.time(own));
        let mut outcome = cursor.step(StepInput {
            work_item: item,
            now: self.now,
            ledger,
            execution: Timing::of(Category::Cpu, self.costs.time(own)),
            messages: vec![message],
            backend: BACKEND,
        });
        if !self.trace.again {
            graph.executed_step(item, &outcome);
        }
        let work = std::mem::take(&mut outcome.work);
        let used = self.costs.of(work.compute) + self.costs.operation * u64::from(work.operations);
        let until = begin + self.costs.time(own + used);
        outcome.charge(&Timing::of(Category::Cpu, self.costs.time(used)), until);
        ledger.charge(Category::Cpu.because("the canister ran the code"), until);
        done.instructions += own + used;
        let outcalls = outcalls_of(&work, self.costs.outcall_bytes_max);
        self.keep(canister, id, (item, until), cursor, &outcome, done);
        let mut effects = self.sent(canister, id, outcome, ledger);
        if !outcalls.is_empty() && canister.instances.contains_key(id) {
            let instance = canister.instances.get_mut(id).expect("just asked");
            Rc::make_mut(instance).busy = true;
            effects.push(Effect::Release(id.clone()));
        }
        if outcalls.is_empty() {
            done.effects.append(&mut effects);
        } else {
            done.effects.push(Effect::Outcalls(outcalls, effects));
        }
    }

    /// The suspended code of an instance; from its history if it is not in memory.
    fn cursor(&mut self, id: &InstanceId, instance: &Instance) -> Cursor {
        let kept = self.cursors.remove(id);
        let fits = |cursor: &Cursor| {
            cursor.last_step() == instance.last_step
                && cursor.history_len() == instance.history.len()
        };
        match kept.filter(fits) {
            Some(cursor) => cursor,
            None if instance.history.is_empty() => {
                Cursor::new(self.application.clone(), id.clone())
            }
            None => Cursor::replay(self.application.clone(), id.clone(), &instance.history),
        }
    }

    /// Writes what a step has left into the canister's memory.
    fn keep(
        &mut self,
        canister: &mut Canister,
        id: &InstanceId,
        (item, at): (WorkItemId, Timestamp),
        cursor: Cursor,
        outcome: &StepOutcome,
        done: &mut Executed,
    ) {
        let bytes = encode(&outcome.new_events);
        done.written += bytes.len() as u64;
        *self.digest = xxh3_64_with_seed(&bytes, *self.digest);
        if outcome.deleted {
            canister.instances.remove(id);
            self.views.push((id.clone(), None));
            return;
        }
        let entry = canister.instances.get_mut(id).expect("invariant: a stepping instance stays");
        let instance = Rc::make_mut(entry);
        if outcome.replaces_history {
            instance.history.clear();
        }
        instance.last_step = Some(item);
        instance.state.update(outcome, at);
        if outcome.status.is_final() {
            // What is left of an ended orchestration is its state.
            instance.next_event_id = cursor.next_event_id();
            instance.history = Vec::new();
        } else {
            instance.history.extend(outcome.new_events.iter().cloned());
            self.cursors.insert(id.clone(), cursor);
        }
        self.views.push((id.clone(), Some(instance.state.clone())));
    }

    /// What a step sends, and whom it answers.
    fn sent(
        &mut self,
        canister: &mut Canister,
        id: &InstanceId,
        outcome: StepOutcome,
        ledger: Ledger,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        for task in outcome.tasks {
            let to = self.placement.task_canister(self.subnet, canister.tasks_started);
            canister.tasks_started += 1;
            effects.push(Effect::Call(to, Call::Run(task)));
        }
        for message in outcome.messages {
            let to = self.placement.canister_of(&message.target);
            effects.push(Effect::Call(to, Call::Deliver(message)));
        }
        effects.extend(outcome.timers.into_iter().map(Effect::Timer));
        if outcome.status.is_final() {
            let entry = canister.instances.get_mut(id).expect("invariant: ended ones are kept");
            let instance = Rc::make_mut(entry);
            let state = instance.state.clone();
            let waiting = std::mem::take(&mut instance.waiting).into_iter();
            effects.extend(waiting.map(|call| Effect::Reply(call, Reply::Ended(state.clone()))));
            let ended = Ended { instance: id.clone(), state, ledger };
            effects.push(Effect::Ended(Box::new(ended)));
        }
        effects
    }

    fn task(&mut self, from: CanisterId, task: TaskMessage, start: Timestamp, done: &mut Executed) {
        let graph = self.graph;
        let item = self.trace.item(|| graph.fetch_task(task.id, self.recorded_at));
        let mut ledger = task.ledger;
        let why = Category::Commit.because("waited for the round that executes it");
        ledger.charge(why, self.now);
        ledger.charge(Category::Queueing.because("waited for its turn in the round"), start);
        let (mut result, segments) = task::run(self.application, &task);
        let (first, outcalls) = task::plan(&segments, self.costs);
        let longest = outcalls.iter().map(|step| step.instructions).fold(first, u64::max);
        if longest > self.costs.message_max {
            let problem = format!(
                "activity {:?} needs {longest} instructions in one message execution, the limit is {}",
                task.name, self.costs.message_max
            );
            result = Err(ApplicationError::user(problem));
        }
        done.instructions += self.costs.task + first.min(self.costs.message_max);
        let why = Category::Cpu.because("the canister executed the activity");
        ledger.charge(why, start + self.costs.time(done.instructions));
        if !self.trace.again {
            graph.executed(item, 1);
        }
        let id = MessageId { producer: Producer::WorkItem(item), index: 0 };
        let answer = task.response(id, result, ledger);
        let bytes = encode(&answer.event.kind);
        *self.digest = xxh3_64_with_seed(&bytes, *self.digest);
        done.written += bytes.len() as u64;
        let respond = Effect::Respond(from, Some(answer));
        done.effects.push(match outcalls.is_empty() {
            true => respond,
            false => Effect::Outcalls(outcalls, vec![respond]),
        });
    }

    /// Begins the outcalls of an effect; their identity.
    pub(crate) fn begin_outcalls(
        &mut self,
        canister: CanisterId,
        steps: VecDeque<OutcallStep>,
        then: Vec<Effect>,
    ) -> OutcallId {
        self.outcalls.begin(canister, steps, then)
    }

    /// Goes on after an outcall: with the next one, or with what waited for the last.
    fn continue_after(&mut self, id: OutcallId, done: &mut Executed) {
        let Open { mut steps, mut then, .. } = self.outcalls.end(id);
        let step = steps.pop_front().expect("invariant: it was carried out");
        done.instructions += step.instructions.min(self.costs.message_max);
        if !steps.is_empty() {
            done.effects.push(Effect::Outcalls(steps, then));
            return;
        }
        let why =
            Category::Application.because("the activity waited for what it had called outside");
        then.iter_mut().for_each(|effect| effect.charge(why, self.now));
        done.effects = then;
    }

    /// Lets an instance go on whose step waited for an outcall.
    pub(crate) fn release(
        &mut self,
        canister: &mut Canister,
        id: &InstanceId,
        done: &mut Executed,
    ) {
        let Some(instance) = canister.instances.get_mut(id) else { return };
        let instance = Rc::make_mut(instance);
        instance.busy = false;
        let start = self.now;
        while let Some(message) = canister.instances.get_mut(id).and_then(next_held) {
            self.deliver(canister, message, HELD_BY_OUTCALL, start, done);
        }
    }
}

/// The next message that was held back, if the instance may take it.
fn next_held(instance: &mut Rc<Instance>) -> Option<InstanceMessage> {
    if instance.busy || instance.held.is_empty() {
        return None;
    }
    Rc::make_mut(instance).held.pop_front()
}

fn new_instance(message: &InstanceMessage) -> Instance {
    Instance {
        history: Vec::new(),
        state: InstanceState::of_message(message),
        last_step: None,
        next_event_id: 0,
        waiting: Vec::new(),
        busy: false,
        held: VecDeque::new(),
    }
}

/// The outcalls that a step's own work needs: reads, waiting, writes.
fn outcalls_of(work: &UserWork, bytes_max: u64) -> VecDeque<OutcallStep> {
    let mut requests = Vec::new();
    for read in task::parts(work.read_bytes, work.reads) {
        requests.extend(task::pieces(read, bytes_max).map(OutcallRequest::Read));
    }
    if !work.wait.is_zero() {
        requests.push(OutcallRequest::Wait(work.wait));
    }
    for write in task::parts(work.written_bytes, work.writes) {
        requests.extend(task::pieces(write, bytes_max).map(OutcallRequest::Write));
    }
    requests.into_iter().map(|request| OutcallStep { request, instructions: 0 }).collect()
}
