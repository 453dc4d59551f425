//! Drives the code of one orchestration: replay from history, then one step at a time.

use super::RuntimeStatus;
use super::context::{OrchestrationContext, Shared};
use super::decision::{Decision, describe};
use crate::application::{Application, ApplicationError, Running};
use crate::history::{EventKind, HistoryEvent};
use crate::id::{InstanceId, MessageId, Producer, WorkItemId};
use crate::ledger::Ledger;
use crate::message::{InstanceMessage, TaskMessage};
use crate::time::Timestamp;
use futures_util::task::noop_waker_ref;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What a step consumes besides the instance's state.
pub struct StepInput {
    /// The attempt that runs the step.
    pub work_item: WorkItemId,
    /// The present, by the clock of the host.
    pub now: Timestamp,
    /// How the orchestration's time was spent up to now; goes with every produced message.
    pub ledger: Ledger,
    /// The consumed messages, in order. Never empty.
    pub messages: Vec<InstanceMessage>,
}

/// What a step produces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOutcome {
    /// The events to append to the history.
    pub new_events: Vec<HistoryEvent>,
    /// Messages for the task queue.
    pub tasks: Vec<TaskMessage>,
    /// Messages for other instances.
    pub messages: Vec<InstanceMessage>,
    /// Where the orchestration is after the step.
    pub status: RuntimeStatus,
}

impl StepOutcome {
    /// How many messages the step produced.
    pub fn produced(&self) -> u32 {
        (self.tasks.len() + self.messages.len()) as u32
    }
}

/// The suspended code of one orchestration.
///
/// ```
/// use sim_model::application::Application;
/// use sim_model::id::InstanceId;
/// use sim_model::orchestration::Cursor;
/// use std::rc::Rc;
/// let cursor = Cursor::new(Rc::new(Application::new()), InstanceId::new("order-17"));
/// assert!(!cursor.has_started());
/// ```
pub struct Cursor {
    application: Rc<Application>,
    shared: Rc<RefCell<Shared>>,
    code: Option<Running>,
    status: RuntimeStatus,
    created: Option<Timestamp>,
    name: Option<Arc<str>>,
    last_step: Option<WorkItemId>,
    events: usize,
    mismatch: Option<ApplicationError>,
}

impl Cursor {
    /// The cursor of an instance without a history.
    pub fn new(application: Rc<Application>, instance: InstanceId) -> Cursor {
        let shared = Shared {
            instance,
            now: Timestamp::ZERO,
            replaying: false,
            next_event_id: 0,
            unrecorded: VecDeque::new(),
            answers: BTreeMap::new(),
        };
        Cursor {
            application,
            shared: Rc::new(RefCell::new(shared)),
            code: None,
            status: RuntimeStatus::Running,
            created: None,
            name: None,
            last_step: None,
            events: 0,
            mismatch: None,
        }
    }

    /// Runs the code again from its start through all of `history`.
    ///
    /// Code that decides something else than the history says does not stop here: the next step
    /// fails the orchestration with an error that names the event.
    pub fn replay(
        application: Rc<Application>,
        instance: InstanceId,
        history: &[HistoryEvent],
    ) -> Cursor {
        let mut cursor = Cursor::new(application, instance);
        cursor.shared.borrow_mut().replaying = true;
        for event in history {
            cursor.apply_recorded(event);
        }
        cursor.shared.borrow_mut().replaying = false;
        cursor.expect_code_where_history_ends(history);
        cursor
    }

    /// Whether the orchestration was started.
    pub fn has_started(&self) -> bool {
        self.created.is_some()
    }

    /// Where the orchestration is in its life.
    pub fn status(&self) -> &RuntimeStatus {
        &self.status
    }

    /// When the orchestration was created, if it was.
    pub fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// The registered name of the orchestration, if it was started.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// The step that wrote the state this cursor continues from.
    pub fn last_step(&self) -> Option<WorkItemId> {
        self.last_step
    }

    /// How many history events the orchestration has.
    pub fn history_len(&self) -> usize {
        self.events
    }

    /// Executes one step: appends an episode to the history and collects what it decided.
    ///
    /// # Panics
    /// If there is no message, or if the orchestration has ended or was never started and none of
    /// the messages starts it: an engine must not fetch such a step.
    pub fn step(&mut self, input: StepInput) -> StepOutcome {
        assert!(!input.messages.is_empty(), "a step consumes at least one message");
        assert!(!self.status.is_final(), "a step of an orchestration that has ended");
        assert!(
            self.has_started() || input.messages.iter().any(InstanceMessage::starts_instance),
            "a step of an orchestration that was never started"
        );
        let at = |kind| HistoryEvent { timestamp: input.now, kind };
        let mut new_events = Vec::with_capacity(input.messages.len() + 3);
        new_events.push(at(EventKind::OrchestratorStarted { work_item: input.work_item }));
        self.apply(&new_events[0]);
        for message in input.messages {
            self.apply(&message.event);
            new_events.push(message.event);
        }
        let decisions = std::mem::take(&mut self.shared.borrow_mut().unrecorded);
        new_events.extend(decisions.iter().map(|(id, decision)| at(decision.event(*id))));
        let (tasks, messages) = self.produce(input.work_item, input.ledger, decisions);
        let end = self.end_event();
        new_events.extend(end.map(&at));
        new_events.push(at(EventKind::OrchestratorCompleted));
        self.last_step = Some(input.work_item);
        self.events += new_events.len();
        StepOutcome { new_events, tasks, messages, status: self.status.clone() }
    }

    /// Turns the end of the code, or a broken rule, into the status and its event.
    fn end_event(&mut self) -> Option<EventKind> {
        if let Some(error) = self.mismatch.clone() {
            self.status = RuntimeStatus::Failed(error);
            self.code = None;
        }
        match self.status.clone() {
            RuntimeStatus::Running => None,
            RuntimeStatus::Completed(result) => Some(EventKind::ExecutionCompleted { result }),
            RuntimeStatus::Failed(error) => Some(EventKind::ExecutionFailed { error }),
        }
    }

    fn produce(
        &self,
        work_item: WorkItemId,
        ledger: Ledger,
        decisions: VecDeque<(u32, Decision)>,
    ) -> (Vec<TaskMessage>, Vec<InstanceMessage>) {
        let caller = self.shared.borrow().instance.clone();
        let (mut tasks, mut messages) = (Vec::new(), Vec::new());
        for (index, (event_id, decision)) in decisions.into_iter().enumerate() {
            let id = MessageId { producer: Producer::WorkItem(work_item), index: index as u32 };
            match decision {
                Decision::CallActivity { name, input } => {
                    let caller = caller.clone();
                    tasks.push(TaskMessage { id, caller, event_id, name, input, ledger });
                }
                Decision::StartOrchestration { instance, name, input } => {
                    // A started orchestration lives its own life: its latency begins here.
                    let ledger = Ledger::new(ledger.at());
                    let kind = EventKind::ExecutionStarted { name, input };
                    let event = HistoryEvent { timestamp: ledger.at(), kind };
                    messages.push(InstanceMessage { id, target: instance, event, ledger });
                }
            }
        }
        (tasks, messages)
    }

    /// Applies an event of the past: decisions must match what the code decided. After a mismatch
    /// the code stands still, and the rest of the history still says where the instance is.
    fn apply_recorded(&mut self, event: &HistoryEvent) {
        self.events += 1;
        if event.kind.decision().is_none() {
            self.apply(event);
        } else if self.mismatch.is_none() {
            self.match_decision(&event.kind);
        }
    }

    fn match_decision(&mut self, event: &EventKind) {
        let decided = self.shared.borrow_mut().unrecorded.pop_front();
        let problem = match decided {
            Some((id, decision)) => {
                if Some(id) == event.decision() && decision.is_recorded_by(event) {
                    return;
                }
                format!("the code decided {id}: {decision}")
            }
            None => match &self.status {
                RuntimeStatus::Running => "the code decided nothing there".to_string(),
                ended => format!("the code had {} before", ending(ended)),
            },
        };
        let recorded = describe(event);
        self.give_up(format!("the history has {recorded}, but on replay {problem}"));
    }

    /// What the code did on replay must be in the history to the end.
    fn expect_code_where_history_ends(&mut self, history: &[HistoryEvent]) {
        // An episode that ends the orchestration closes with its end and OrchestratorCompleted.
        let ended = history.iter().rev().take(2).any(|event| event.kind.is_end());
        if self.mismatch.is_some() || ended {
            return;
        }
        let extra = self.shared.borrow().unrecorded.front().cloned();
        if let Some((id, decision)) = extra {
            let text =
                format!("the code decided {id}: {decision}, which the history does not have");
            self.give_up(format!("on replay {text}"));
        } else if self.status.is_final() {
            let ending = ending(&self.status);
            self.give_up(format!("on replay the code {ending}, which the history does not have"));
        }
    }

    /// The code went another way than the history: nothing it does counts from here on, and the
    /// instance is where the history says.
    fn give_up(&mut self, message: String) {
        self.mismatch = Some(ApplicationError::non_determinism(message));
        self.code = None;
        self.status = RuntimeStatus::Running;
        self.shared.borrow_mut().unrecorded.clear();
    }

    /// Applies an event that is not a decision, and lets the code run.
    fn apply(&mut self, event: &HistoryEvent) {
        match &event.kind {
            EventKind::OrchestratorStarted { work_item } => {
                self.shared.borrow_mut().now = event.timestamp;
                self.last_step = Some(*work_item);
            }
            EventKind::ExecutionStarted { name, input } if self.created.is_none() => {
                self.created = Some(event.timestamp);
                self.name = Some(name.clone());
                let context = OrchestrationContext::new(self.shared.clone());
                if self.mismatch.is_none() {
                    self.code =
                        Some(self.application.run_orchestration(name, context, input.clone()));
                    self.run_code();
                }
            }
            EventKind::TaskCompleted { task_scheduled_id, result } => {
                self.deliver(*task_scheduled_id, Ok(result.clone()));
            }
            EventKind::TaskFailed { task_scheduled_id, error } => {
                self.deliver(*task_scheduled_id, Err(error.clone()));
            }
            EventKind::ExecutionCompleted { result } => {
                self.status = RuntimeStatus::Completed(result.clone());
            }
            EventKind::ExecutionFailed { error } => {
                self.status = RuntimeStatus::Failed(error.clone());
            }
            // A second start of a running instance is ignored, as duplicate answers are.
            EventKind::ExecutionStarted { .. } | EventKind::OrchestratorCompleted => {}
            EventKind::TaskScheduled { .. } | EventKind::OrchestrationStarted { .. } => {
                unreachable!("decisions are matched, not applied")
            }
        }
    }

    /// An answer nobody waits for is a duplicate; it stays in the history and has no effect.
    fn deliver(&mut self, event_id: u32, result: crate::application::ApplicationResult) {
        let answered = self.shared.borrow_mut().answer(event_id, result);
        if let Some(waker) = answered {
            waker.into_iter().for_each(Waker::wake);
            self.run_code();
        }
    }

    fn run_code(&mut self) {
        let Some(code) = self.code.as_mut() else {
            return;
        };
        // Answers wake the awaiting future through its own waker; the code as a whole is polled
        // here, after every event, so its outer waker has nothing to do.
        let mut cx = Context::from_waker(noop_waker_ref());
        if let Poll::Ready(result) = code.as_mut().poll(&mut cx) {
            self.code = None;
            self.status = match result {
                Ok(result) => RuntimeStatus::Completed(result),
                Err(error) => RuntimeStatus::Failed(error),
            };
        }
    }
}

/// How the code ended, in words, for error messages.
fn ending(status: &RuntimeStatus) -> String {
    match status {
        RuntimeStatus::Failed(error) => format!("failed ({error})"),
        other => other.name().to_string(),
    }
}
