//! Drives the code of one orchestration, one step at a time.

mod replay;

use super::RuntimeStatus;
use super::context::OrchestrationContext;
use super::decision::Decision;
use super::section::Section;
use super::shared::Shared;
use crate::application::{Application, Running};
use crate::entity::{MessageSorter, RequestKind};
use crate::error::{ApplicationError, ApplicationResult};
use crate::history::{Carried, EventId, EventKind, HistoryEvent, ParentInstance, RaisedEvent};
use crate::id::{InstanceId, WorkItemId};
use crate::ledger::{Category, Ledger, trail};
use crate::message::{InstanceMessage, TaskMessage};
use crate::payload::Payload;
use crate::step::{Outgoing, StepInput, StepOutcome, UserWork};
use crate::time::Timestamp;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// How often an orchestration may continue as new within one step: more often, and it never waits
/// for anything.
const CONTINUATIONS_MAX: u32 = 1_000;

/// How often code may wake itself without getting anywhere, after one event.
const WAKES_MAX: u32 = 10_000;

/// Whether a part of the code has woken another one, so that the code is polled once more.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The suspended code of one orchestration.
pub(crate) struct OrchestrationCursor {
    application: Rc<Application>,
    shared: Rc<RefCell<Shared>>,
    code: Option<Running>,
    status: RuntimeStatus,
    created: Option<Timestamp>,
    name: Option<Arc<str>>,
    parent: Option<Box<ParentInstance>>,
    last_step: Option<WorkItemId>,
    events: usize,
    mismatch: Option<ApplicationError>,
    /// Whether a replayed event has ended the orchestration.
    ended: bool,
    /// The critical section that a replayed history has entered and not left.
    recorded_section: Option<Section>,
    /// Events that arrived while the orchestration was suspended.
    kept: VecDeque<EventKind>,
    /// Orchestrations that tried to start this one while it was running.
    refused: Vec<ParentInstance>,
    /// Stamps of what was sent to entities.
    sorter: MessageSorter<()>,
    woken: Arc<Woken>,
}

impl OrchestrationCursor {
    pub(crate) fn new(application: Rc<Application>, instance: InstanceId) -> Self {
        OrchestrationCursor {
            application,
            shared: Rc::new(RefCell::new(Shared::new(instance))),
            code: None,
            status: RuntimeStatus::Running,
            created: None,
            name: None,
            parent: None,
            last_step: None,
            events: 0,
            mismatch: None,
            ended: false,
            recorded_section: None,
            kept: VecDeque::new(),
            refused: Vec::new(),
            sorter: MessageSorter::default(),
            woken: Arc::default(),
        }
    }

    pub(crate) fn status(&self) -> &RuntimeStatus {
        &self.status
    }

    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.created
    }

    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    pub(crate) fn last_step(&self) -> Option<WorkItemId> {
        self.last_step
    }

    pub(crate) fn next_event_id(&self) -> EventId {
        self.shared.borrow().next_event_id
    }

    pub(crate) fn history_len(&self) -> usize {
        self.events
    }

    /// Executes one step: appends an episode to the history and collects what it decided.
    pub(crate) fn step(&mut self, mut input: StepInput) -> StepOutcome {
        assert!(!input.messages.is_empty(), "a step consumes at least one message");
        assert!(!self.status.is_final(), "a step of an orchestration that has ended");
        assert!(
            self.created.is_some()
                || input.messages.iter().any(InstanceMessage::starts_orchestration),
            "a step of an orchestration that was never started"
        );
        let messages = std::mem::take(&mut input.messages);
        let mut out = Outgoing::new(input.work_item);
        let mut events = Vec::with_capacity(messages.len() + 3);
        self.begin(&input, &mut events);
        for message in messages {
            self.apply(&message.event);
            events.push(message.event);
        }
        self.collect(&input, &mut events, &mut out);
        let replaces_history = self.continue_as_new(&input, &mut events, &mut out);
        self.end(&input, &mut events, &mut out);
        events.push(HistoryEvent { timestamp: input.now, kind: EventKind::OrchestratorCompleted });
        self.last_step = Some(input.work_item);
        self.events = events.len() + if replaces_history { 0 } else { self.events };
        StepOutcome {
            new_events: events,
            replaces_history,
            tasks: out.tasks,
            messages: out.messages,
            timers: out.timers,
            status: self.status.clone(),
            custom_status: self.shared.borrow().custom_status.clone(),
            entity_state: None,
            deleted: false,
            work: UserWork::default(),
            served: None,
        }
    }

    fn begin(&mut self, input: &StepInput, events: &mut Vec<HistoryEvent>) {
        let kind = EventKind::OrchestratorStarted { work_item: input.work_item };
        let event = HistoryEvent { timestamp: input.now, kind };
        self.apply(&event);
        events.push(event);
    }

    /// Runs further executions for as long as the code asks for one. Whether it did.
    fn continue_as_new(
        &mut self,
        input: &StepInput,
        events: &mut Vec<HistoryEvent>,
        out: &mut Outgoing,
    ) -> bool {
        let mut continuations = 0;
        while let Some(next_input) = self.next_execution() {
            continuations += 1;
            if continuations > CONTINUATIONS_MAX {
                let problem = format!(
                    "continued as new more than {CONTINUATIONS_MAX} times without waiting for \
                     anything"
                );
                self.status = RuntimeStatus::Failed(ApplicationError::misuse(problem));
                break;
            }
            // A guard that the code has put out of reach of its own drop is released here.
            self.shared.borrow_mut().leave_section(None);
            self.collect(input, events, out);
            let untaken = self.shared.borrow_mut().begin_execution();
            events.clear();
            self.begin(input, events);
            let created = self.created.take().expect("invariant: an execution has been started");
            let at = |timestamp, kind| HistoryEvent { timestamp, kind };
            let started = at(created, self.started_again(next_input, input));
            self.apply(&started);
            events.push(started);
            for event in untaken {
                let event = at(input.now, EventKind::EventRaised { event });
                self.apply(&event);
                events.push(event);
            }
            self.collect(input, events, out);
        }
        continuations > 0
    }

    /// The start of the next execution.
    fn started_again(&self, next_input: Payload, input: &StepInput) -> EventKind {
        let shared = self.shared.borrow();
        let custom_status = shared.custom_status.clone();
        let sent = self.sorter.sent(input.now, input.backend.reorder_window);
        let carried = Carried { custom_status, sent };
        EventKind::ExecutionStarted {
            name: self.name.clone().expect("invariant: an execution has a name"),
            input: next_input,
            parent: self.parent.clone(),
            first_event_id: shared.next_event_id,
            carried: (carried != Carried::default()).then(|| Box::new(carried)),
        }
    }

    /// The input of the next execution, if the code has ended by asking for one. An orchestration
    /// that was suspended at that moment continues when it is resumed.
    fn next_execution(&mut self) -> Option<Payload> {
        if self.status != RuntimeStatus::Running || self.mismatch.is_some() {
            return None;
        }
        self.shared.borrow_mut().continue_with.take()
    }

    /// Turns new decisions into events and messages.
    fn collect(&mut self, input: &StepInput, events: &mut Vec<HistoryEvent>, out: &mut Outgoing) {
        let decisions = std::mem::take(&mut self.shared.borrow_mut().unrecorded);
        for (event_id, mut decision) in decisions {
            self.stamp(&mut decision, input);
            let kind = decision.event(event_id);
            events.push(HistoryEvent { timestamp: input.now, kind });
            self.produce(event_id, decision, input.ledger, out);
        }
    }

    /// Gives a request to an entity its place among those sent before.
    fn stamp(&mut self, decision: &mut Decision, input: &StepInput) {
        let Decision::SendEvent { target, event: RaisedEvent::Request(request) } = decision else {
            return;
        };
        if !request.is_ordered() {
            return;
        }
        let window = input.backend.reorder_window;
        let instance = self.shared.borrow().instance.clone();
        request.stamp = self.sorter.stamp(&instance, target, input.now, window);
    }

    fn produce(&self, event_id: EventId, decision: Decision, ledger: Ledger, out: &mut Outgoing) {
        let caller = self.shared.borrow().instance.clone();
        match decision {
            Decision::CallActivity { name, input } => {
                let id = out.next_id();
                trail::sent(&ledger, id);
                out.tasks.push(TaskMessage { id, caller, event_id, name, input, ledger });
            }
            Decision::CreateTimer { fire_at } => {
                let kind = EventKind::TimerFired { timer_id: event_id, fire_at };
                out.later(caller, kind, fire_at, ledger);
            }
            Decision::StartOrchestration { instance, name, input, fire_and_forget } => {
                let parent = (!fire_and_forget)
                    .then(|| Box::new(ParentInstance { instance: caller, event_id, ledger }));
                // A started orchestration lives its own life: its latency begins here.
                let ledger = Ledger::new(ledger.at());
                let kind = EventKind::ExecutionStarted {
                    name,
                    input,
                    parent,
                    first_event_id: 0,
                    carried: None,
                };
                out.send(instance, kind, ledger);
            }
            Decision::SendEvent { target, event } => {
                // Whoever is called goes on with the caller's time; nobody waits for the rest.
                let ledger = if is_awaited(&event) { ledger } else { Ledger::new(ledger.at()) };
                out.send(target, EventKind::EventRaised { event }, ledger);
            }
        }
    }

    /// Turns the end of the code, or a broken rule, into the status, its event, and the answer to
    /// whoever waits for it.
    fn end(&mut self, input: &StepInput, events: &mut Vec<HistoryEvent>, out: &mut Outgoing) {
        for parent in std::mem::take(&mut self.refused) {
            let instance = self.shared.borrow().instance.clone();
            let error = ApplicationError::user(format!("{instance} is running already"));
            answer_parent(parent, Err(error), input.ledger, out);
        }
        if let Some(error) = self.mismatch.clone().filter(|_| !self.status.is_final()) {
            self.status = RuntimeStatus::Failed(error);
        }
        if self.status.is_final() {
            self.shared.borrow_mut().leave_section(None);
            self.collect(input, events, out);
        }
        let (kind, result) = match self.status.clone() {
            RuntimeStatus::Running | RuntimeStatus::Suspended => return,
            RuntimeStatus::Completed(result) => {
                (Some(EventKind::ExecutionCompleted { result: result.clone() }), Ok(result))
            }
            RuntimeStatus::Failed(error) => {
                (Some(EventKind::ExecutionFailed { error: error.clone() }), Err(error))
            }
            // The event that ended it is in the episode already.
            RuntimeStatus::Terminated(reason) => {
                (None, Err(ApplicationError::user(format!("terminated: {reason}"))))
            }
        };
        events.extend(kind.map(|kind| HistoryEvent { timestamp: input.now, kind }));
        if let Some(parent) = self.parent.take() {
            answer_parent(*parent, result, input.ledger, out);
        }
    }

    /// Drops the code. What it holds may decide something on its way out: locks are released.
    fn drop_code(&mut self) {
        drop(self.code.take());
    }

    /// Applies an event that is not a decision, and lets the code run.
    fn apply(&mut self, event: &HistoryEvent) {
        match &event.kind {
            EventKind::OrchestratorStarted { work_item } => {
                self.shared.borrow_mut().now = event.timestamp;
                self.last_step = Some(*work_item);
            }
            EventKind::OrchestratorCompleted => {}
            EventKind::ExecutionStarted { .. } => self.start(event),
            EventKind::ExecutionCompleted { result } => {
                self.status = RuntimeStatus::Completed(result.clone());
            }
            EventKind::ExecutionFailed { error } => {
                self.status = RuntimeStatus::Failed(error.clone());
            }
            EventKind::ExecutionTerminated { reason } => self.terminate(reason),
            EventKind::ExecutionSuspended { .. } => {
                if self.status == RuntimeStatus::Running && self.created.is_some() {
                    self.status = RuntimeStatus::Suspended;
                }
            }
            EventKind::ExecutionResumed { .. } => self.resume(),
            kind if self.status == RuntimeStatus::Suspended => self.kept.push_back(kind.clone()),
            kind => self.take(kind),
        }
    }

    fn start(&mut self, event: &HistoryEvent) {
        let EventKind::ExecutionStarted { name, input, parent, first_event_id, carried } =
            &event.kind
        else {
            unreachable!("the caller has looked");
        };
        if self.created.is_some() {
            // A second copy of the start has no effect; another start is refused.
            let other = parent.as_ref().filter(|parent| {
                self.parent.as_ref().is_none_or(|own| {
                    (&own.instance, own.event_id) != (&parent.instance, parent.event_id)
                })
            });
            self.refused.extend(other.map(|parent| (**parent).clone()));
            return;
        }
        self.created = Some(event.timestamp);
        self.name = Some(name.clone());
        self.parent = parent.clone();
        let Carried { custom_status, sent } = carried.as_deref().cloned().unwrap_or_default();
        self.sorter = MessageSorter::default();
        for (destination, stamped) in sent {
            self.sorter.note_sent(&destination, stamped);
        }
        self.shared.borrow_mut().next_event_id = *first_event_id;
        self.shared.borrow_mut().custom_status = custom_status;
        let context = OrchestrationContext::new(self.shared.clone());
        // An orchestration that was terminated before its start has ended already.
        if self.mismatch.is_none() && !self.status.is_final() {
            self.code = Some(self.application.run_orchestration(name, context, input.clone()));
            self.run_code();
        }
    }

    fn terminate(&mut self, reason: &Arc<str>) {
        if !self.status.is_final() {
            self.drop_code();
            self.status = RuntimeStatus::Terminated(reason.clone());
        }
    }

    fn resume(&mut self) {
        if self.status != RuntimeStatus::Suspended {
            return;
        }
        self.status = RuntimeStatus::Running;
        while let Some(kind) = self.kept.pop_front() {
            self.take(&kind);
        }
    }

    /// Gives the code an answer or an external event.
    fn take(&mut self, kind: &EventKind) {
        match kind {
            EventKind::TaskCompleted { task_scheduled_id, result }
            | EventKind::SubOrchestrationInstanceCompleted { task_scheduled_id, result } => {
                self.deliver(*task_scheduled_id, Ok(result.clone()));
            }
            EventKind::TaskFailed { task_scheduled_id, error }
            | EventKind::SubOrchestrationInstanceFailed { task_scheduled_id, error } => {
                self.deliver(*task_scheduled_id, Err(error.clone()));
            }
            EventKind::TimerFired { timer_id, .. } => {
                let fired = Payload::encode(&());
                self.deliver(*timer_id, fired);
            }
            EventKind::EventRaised { event } => match event {
                RaisedEvent::Answer { event_id, result } => {
                    self.deliver(*event_id, result.clone());
                }
                RaisedEvent::External { name, input } => {
                    let raised = self.shared.borrow_mut().raise(name, input.clone());
                    self.wake(raised);
                }
                // Meant for an entity; an orchestration has nothing to say to it.
                RaisedEvent::Request(_) => {}
            },
            other => unreachable!("{} is not given to code", other.name()),
        }
    }

    /// An answer nobody waits for is a duplicate, or one to a former execution; it stays in the
    /// history and has no effect.
    fn deliver(&mut self, event_id: EventId, result: ApplicationResult) {
        let answered = self.shared.borrow_mut().answer(event_id, result);
        self.wake(answered);
    }

    fn wake(&mut self, reached: Option<Option<Waker>>) {
        if let Some(waker) = reached {
            waker.into_iter().for_each(Waker::wake);
            self.run_code();
        }
    }

    /// Polls the code until nothing in it has woken anything else in it. `None` if it never rests.
    fn poll_code(&mut self) -> Option<Poll<ApplicationResult>> {
        let code = self.code.as_mut()?;
        let waker = Waker::from(self.woken.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..WAKES_MAX {
            self.woken.0.store(false, Ordering::Relaxed);
            let polled = code.as_mut().poll(&mut cx);
            if polled.is_ready() || !self.woken.0.load(Ordering::Relaxed) {
                return Some(polled);
            }
        }
        None
    }

    /// Lets the code run, as far as it gets after one event.
    fn run_code(&mut self) {
        if self.code.is_none() {
            return;
        }
        let polled = self.poll_code();
        let shared = self.shared.borrow();
        let status = match (shared.misuse.clone(), polled) {
            (Some(misuse), _) => RuntimeStatus::Failed(misuse),
            (None, Some(Poll::Ready(Ok(result)))) => RuntimeStatus::Completed(result),
            (None, Some(Poll::Ready(Err(error)))) => RuntimeStatus::Failed(error),
            (None, Some(Poll::Pending)) if shared.continue_with.is_some() => RuntimeStatus::Running,
            (None, Some(Poll::Pending)) if shared.is_waiting() => return,
            (None, Some(Poll::Pending)) => RuntimeStatus::Failed(ApplicationError::misuse(
                "the code awaits something that its context did not give it, so that nothing can \
                 wake it",
            )),
            (None, None) => RuntimeStatus::Failed(ApplicationError::misuse(
                "the code wakes itself without end instead of awaiting what its context gives it",
            )),
        };
        drop(shared);
        self.drop_code();
        if status.is_final() {
            // An orchestration that has returned does not continue, whatever it asked for before.
            self.shared.borrow_mut().continue_with = None;
        }
        self.status = status;
    }
}

/// Whether somebody waits for what the event leads to.
fn is_awaited(event: &RaisedEvent) -> bool {
    match event {
        RaisedEvent::Request(request) => match &request.kind {
            RequestKind::Operation(operation) => operation.caller.is_some(),
            RequestKind::Lock(_) => true,
            RequestKind::Release(_) | RequestKind::Continue => false,
        },
        RaisedEvent::External { .. } | RaisedEvent::Answer { .. } => false,
    }
}

/// Tells the caller of an orchestration how it ended. The caller's time goes on with the time that
/// the orchestration took.
fn answer_parent(
    parent: ParentInstance,
    result: ApplicationResult,
    ledger: Ledger,
    out: &mut Outgoing,
) {
    let task_scheduled_id = parent.event_id;
    let mut time = parent.ledger;
    let why = Category::Application.because("waited for the orchestration it had called");
    time.charge_other(&ledger, why);
    let kind = match result {
        Ok(result) => EventKind::SubOrchestrationInstanceCompleted { task_scheduled_id, result },
        Err(error) => EventKind::SubOrchestrationInstanceFailed { task_scheduled_id, error },
    };
    out.send(parent.instance, kind, time);
}
