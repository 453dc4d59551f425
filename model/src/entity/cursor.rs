//! Drives one entity: its stored form in, one step at a time, its stored form out.

use super::code::{EntityState, load};
use super::context::{Effect, EntityContext};
use super::request::{Caller, EntityRequest, LockRequest, Operation, RequestKind};
use super::scheduler::{Next, Pending, SchedulerState};
use crate::application::Application;
use crate::error::ApplicationError;
use crate::history::{EventKind, HistoryEvent, RaisedEvent};
use crate::id::{EntityId, InstanceId, WorkItemId};
use crate::ledger::{Category, Ledger};
use crate::message::InstanceMessage;
use crate::orchestration::RuntimeStatus;
use crate::payload::Payload;
use crate::step::{Outgoing, Served, StepInput, StepOutcome, UserWork};
use crate::time::Timestamp;
use std::rc::Rc;

/// Events of one step: OrchestratorStarted, ExecutionStarted, OrchestratorCompleted.
const EPISODE: usize = 3;

/// An entity in memory.
pub(crate) struct EntityCursor {
    application: Rc<Application>,
    id: EntityId,
    instance: InstanceId,
    scheduler: SchedulerState,
    created: Option<Timestamp>,
    last_step: Option<WorkItemId>,
}

impl EntityCursor {
    pub(crate) fn new(application: Rc<Application>, instance: InstanceId, id: EntityId) -> Self {
        EntityCursor {
            application,
            id,
            instance,
            scheduler: SchedulerState::default(),
            created: None,
            last_step: None,
        }
    }

    /// Takes the state from the only episode of a stored history.
    pub(crate) fn restore(&mut self, history: &[HistoryEvent]) {
        for event in history {
            match &event.kind {
                EventKind::OrchestratorStarted { work_item } => self.last_step = Some(*work_item),
                EventKind::ExecutionStarted { input, .. } => {
                    self.created = Some(event.timestamp);
                    self.scheduler = input.decode().unwrap_or_else(|error| {
                        panic!("the history of {} was not written by a step: {error}", self.id)
                    });
                }
                _ => {}
            }
        }
    }

    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.created
    }

    pub(crate) fn name(&self) -> &std::sync::Arc<str> {
        self.id.name()
    }

    pub(crate) fn last_step(&self) -> Option<WorkItemId> {
        self.last_step
    }

    pub(crate) fn history_len(&self) -> usize {
        if self.created.is_some() { EPISODE } else { 0 }
    }

    /// Executes one step.
    pub(crate) fn step(&mut self, input: StepInput) -> StepOutcome {
        assert!(!input.messages.is_empty(), "a step consumes at least one message");
        let first = &input.messages[0];
        let created = *self.created.get_or_insert(first.event.timestamp);
        let mut step = Step {
            input: &input,
            instance: self.instance.clone(),
            out: Outgoing::new(input.work_item),
            work: UserWork::default(),
            loaded: None,
            answered: Vec::new(),
            ran: Vec::new(),
        };
        let arrived = step.receive(&mut self.scheduler);
        for lock in self.scheduler.enqueue(arrived) {
            step.pass_on(lock);
        }
        self.run_queue(&mut step);
        self.save(&mut step);
        let Step { out, work, ran: operations, .. } = step;
        self.last_step = Some(input.work_item);
        let empty = self.scheduler.is_empty();
        let (new_events, entity_state) = self.episode(&input, created);
        StepOutcome {
            new_events,
            replaces_history: true,
            tasks: out.tasks,
            messages: out.messages,
            timers: out.timers,
            status: RuntimeStatus::Running,
            custom_status: None,
            entity_state,
            deleted: empty && input.backend.implicit_deletion,
            work,
            served: Some(Rc::new(Served {
                now: input.now,
                operations,
                locked_by: self.scheduler.locked_by.clone(),
            })),
        }
    }

    /// Runs what can run, up to the batch limit.
    fn run_queue(&mut self, step: &mut Step<'_>) {
        let mut operations = 0;
        while !self.scheduler.suspended {
            if operations == step.input.backend.max_operations {
                if self.scheduler.is_runnable() {
                    self.scheduler.suspended = true;
                    step.continue_later();
                }
                return;
            }
            match self.scheduler.next() {
                Next::Nothing => return,
                Next::Operation(operation) => {
                    operations += 1;
                    self.run(step, operation);
                }
                Next::Locked(lock) => step.pass_on(lock),
            }
        }
    }

    fn run(&mut self, step: &mut Step<'_>, operation: Pending<Operation>) {
        let Pending { request, ledger } = operation;
        let mut context = EntityContext {
            id: self.id.clone(),
            now: step.input.now,
            caller: request.caller.as_ref().map(|caller| caller.instance.clone()),
            effects: Vec::new(),
            work: UserWork::default(),
            deleted: false,
        };
        let state = step.loaded.get_or_insert_with(|| self.load());
        let result = state.run(&mut context, &request.name, &request.input);
        if context.deleted {
            state.delete();
        }
        for effect in std::mem::take(&mut context.effects) {
            step.effect(effect, &mut self.scheduler);
        }
        step.add_work(&context.work);
        if let Some(Caller { instance, event_id }) = request.caller.clone() {
            let ledger = step.charged(ledger);
            step.answered.push(step.out.messages.len());
            step.out.answer(instance, event_id, result, ledger);
        }
        step.ran.push(request);
    }

    /// The user's state in memory. It lives for one step: the next one begins with the stored form,
    /// as a host does that has never seen the entity.
    fn load(&self) -> Box<dyn EntityState> {
        load(&self.application, &self.id, self.scheduler.state.as_ref())
    }

    /// Stores the user's state. If it has no JSON form, the step leaves the state that it found, and
    /// every call it has answered has failed; what its operations sent stays sent.
    fn save(&mut self, step: &mut Step<'_>) {
        let Some(state) = step.loaded.take() else {
            return;
        };
        match state.save() {
            Ok(stored) => self.scheduler.state = stored,
            Err(reason) => step.fail_answers(&reason),
        }
    }

    /// The history that the step leaves, and the user's state.
    fn episode(
        &self,
        input: &StepInput,
        created: Timestamp,
    ) -> (Vec<HistoryEvent>, Option<Payload>) {
        let stored = Payload::encode(&self.scheduler)
            .expect("invariant: everything an entity remembers has a JSON form");
        let at = |timestamp, kind| HistoryEvent { timestamp, kind };
        let started = EventKind::execution_started(self.id.name().clone(), stored);
        let events = vec![
            at(input.now, EventKind::OrchestratorStarted { work_item: input.work_item }),
            at(created, started),
            at(input.now, EventKind::OrchestratorCompleted),
        ];
        (events, self.scheduler.state.clone())
    }
}

/// A step on its way.
struct Step<'a> {
    input: &'a StepInput,
    instance: InstanceId,
    out: Outgoing,
    work: UserWork,
    /// The user's state, once an operation needed it.
    loaded: Option<Box<dyn EntityState>>,
    /// Which of the messages sent are answers of operations.
    answered: Vec<usize>,
    /// The operations that ran.
    ran: Vec<Operation>,
}

impl Step<'_> {
    /// The requests among the messages, in the order they were sent; those for later are put off.
    /// Other events mean nothing to an entity.
    fn receive(&mut self, scheduler: &mut SchedulerState) -> Vec<Pending<EntityRequest>> {
        let mut arrived = Vec::new();
        for InstanceMessage { event, ledger, .. } in &self.input.messages {
            let EventKind::EventRaised { event: RaisedEvent::Request(request) } = &event.kind
            else {
                continue;
            };
            let stamp = request.stamp.clone();
            let pending = Pending { request: EntityRequest::clone(request), ledger: *ledger };
            let window = self.input.backend.reorder_window;
            match stamp.filter(|_| !window.is_zero()) {
                None => arrived.push(pending),
                Some(stamp) => scheduler.sorter.receive(&stamp, pending, window, &mut |pending| {
                    arrived.push(pending);
                }),
            }
        }
        arrived.retain(|pending| !self.put_off(pending));
        arrived
    }

    /// Whether a request is scheduled for later; then it is sent again for then.
    fn put_off(&mut self, pending: &Pending<EntityRequest>) -> bool {
        let RequestKind::Operation(Operation { scheduled: Some(at), .. }) = &pending.request.kind
        else {
            return false;
        };
        let now = self.input.now;
        if *at <= now {
            return false;
        }
        let limit = self.input.backend.max_signal_delay.map(|delay| now + delay);
        let fire_at = limit.map_or(*at, |limit| limit.min(*at));
        let request = EntityRequest::unordered(pending.request.kind.clone());
        let event = RaisedEvent::Request(Box::new(request));
        let kind = EventKind::EventRaised { event };
        self.out.later(self.instance.clone(), kind, fire_at, pending.ledger);
        true
    }

    /// The ledger of a request that this step serves.
    fn charged(&self, mut ledger: Ledger) -> Ledger {
        let why = Category::Queueing.because("the step of the entity ran");
        ledger.charge_request(&self.input.execution, self.input.now, why);
        ledger
    }

    fn send(&mut self, target: InstanceId, request: EntityRequest, ledger: Ledger) {
        let event = RaisedEvent::Request(Box::new(request));
        self.out.send(target, EventKind::EventRaised { event }, ledger);
    }

    /// Passes a lock request on to the next entity, or answers whoever asked.
    fn pass_on(&mut self, lock: Pending<LockRequest>) {
        let ledger = self.charged(lock.ledger);
        let mut lock = lock.request;
        lock.position += 1;
        if let Some(next) = lock.entities.get(lock.position as usize) {
            let target = next.instance_id();
            let request = EntityRequest::unordered(RequestKind::Lock(lock));
            self.send(target, request, ledger);
        } else if !lock.cancelled {
            let granted = Payload::encode(&()).expect("invariant: null has a JSON form");
            self.out.answer(lock.section.owner, lock.section.event_id, Ok(granted), ledger);
        }
    }

    /// Makes every answer of an operation an error.
    fn fail_answers(&mut self, reason: &ApplicationError) {
        for index in &self.answered {
            let kind = &mut self.out.messages[*index].event.kind;
            if let EventKind::EventRaised { event: RaisedEvent::Answer { result, .. } } = kind {
                *result = Err(reason.clone());
            }
        }
    }

    fn continue_later(&mut self) {
        let request = EntityRequest::unordered(RequestKind::Continue);
        self.send(self.instance.clone(), request, Ledger::new(self.input.now));
    }

    fn effect(&mut self, effect: Effect, scheduler: &mut SchedulerState) {
        let now = self.input.now;
        match effect {
            Effect::Signal { target, operation, input, at } => {
                let target = target.instance_id();
                let window = self.input.backend.reorder_window;
                let stamp = scheduler.sorter.stamp(&self.instance, &target, now, window);
                let kind = RequestKind::Operation(Operation {
                    name: operation,
                    input,
                    caller: None,
                    section: None,
                    scheduled: at,
                });
                self.send(target, EntityRequest { stamp, kind }, Ledger::new(now));
            }
            Effect::Start { name, instance, input } => {
                let kind = EventKind::execution_started(name, input);
                self.out.send(instance, kind, Ledger::new(now));
            }
        }
    }

    fn add_work(&mut self, work: &UserWork) {
        self.work.operations += 1;
        self.work.compute += work.compute;
        self.work.wait += work.wait;
        self.work.read_bytes += work.read_bytes;
        self.work.reads += work.reads;
        self.work.written_bytes += work.written_bytes;
        self.work.writes += work.writes;
    }
}
