//! Histories for tests of the checks: orchestrations that call entities, played by hand on the model's
//! own cursors, so that a test decides what a faulty engine does.

use sim_model::application::Application;
use sim_model::cursor::Cursor;
use sim_model::entity::{Caller, EntityContext, EntityRequest, Operation, RequestKind, SectionId};
use sim_model::graph::GraphRecorder;
use sim_model::history::{EventId, EventKind, HistoryEvent, RaisedEvent};
use sim_model::id::{EntityId, InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::{Ledger, Timing};
use sim_model::message::InstanceMessage;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::step::{EntityBackend, StepInput, StepOutcome};
use sim_model::time::Timestamp;
use std::cell::Cell;
use std::rc::Rc;

/// A counter: `Add` answers with the sum, `Get` reads it.
pub(super) fn counters() -> Application {
    let mut application = Application::new();
    application
        .entity::<i64>("Counter")
        .operation("Add", |_: &mut EntityContext, sum: &mut i64, by: i64| {
            *sum += by;
            Ok(*sum)
        })
        .operation("Get", |_: &mut EntityContext, sum: &mut i64, (): ()| Ok(*sum));
    application
}

/// A stored entity: nothing, or the history that its last step left.
pub(super) type Stored = Vec<HistoryEvent>;

/// A run on its way.
pub(super) struct Scene {
    pub(super) graph: GraphRecorder,
    pub(super) application: Rc<Application>,
    now: Rc<Cell<Timestamp>>,
}

impl Scene {
    pub(super) fn new() -> Scene {
        let now = Rc::new(Cell::new(Timestamp::ZERO));
        let clock = now.clone();
        let graph = GraphRecorder::with_moments(move || clock.get(), || None);
        Scene { graph, application: Rc::new(counters()), now }
    }

    fn at(&self, millis: u64) -> Timestamp {
        self.now.set(Timestamp::from_millis(millis));
        self.now.get()
    }

    fn outcome() -> StepOutcome {
        StepOutcome::without_effects(RuntimeStatus::Running)
    }

    /// An orchestration calls an operation of the counter `key`; the message, and the step, which is left
    /// executed.
    pub(super) fn ask(
        &self,
        millis: u64,
        caller: (&str, EventId),
        key: &str,
        call: (&str, i64),
        section: Option<&str>,
    ) -> (InstanceMessage, WorkItemId) {
        let now = self.at(millis);
        let messages = [self.graph.client_message()].into_iter();
        let instance = InstanceId::new(caller.0);
        let step = self.graph.fetch_step(&instance, None, messages, now);
        let (name, input) = call;
        let input = match name {
            "Get" => Payload::encode(&()),
            _ => Payload::encode(&input),
        };
        let of = |owner: &str| SectionId { owner: InstanceId::new(owner), event_id: 0 };
        let operation = Operation {
            name: name.into(),
            input: input.expect("a value"),
            caller: Some(Caller { instance, event_id: caller.1 }),
            section: section.map(of),
            scheduled: None,
        };
        let request = Box::new(EntityRequest::unordered(RequestKind::Operation(operation)));
        let kind = EventKind::EventRaised { event: RaisedEvent::Request(request) };
        let message = InstanceMessage {
            id: MessageId { producer: Producer::WorkItem(step), index: 0 },
            target: EntityId::new("Counter", key).instance_id(),
            event: HistoryEvent { timestamp: now, kind },
            ledger: Ledger::new(now),
        };
        let outcome = StepOutcome { messages: vec![message.clone()], ..Scene::outcome() };
        self.graph.executed_step(step, &outcome);
        (message, step)
    }

    /// [`Scene::ask`], committed.
    pub(super) fn call(
        &self,
        millis: u64,
        caller: (&str, EventId),
        key: &str,
        call: (&str, i64),
        section: Option<&str>,
    ) -> InstanceMessage {
        let (message, step) = self.ask(millis, caller, key, call, section);
        self.graph.committed(step);
        message
    }

    /// The entity serves requests, continuing from `stored`; what it leaves, and its answers.
    pub(super) fn serve(
        &self,
        millis: u64,
        stored: &Stored,
        requests: &[&InstanceMessage],
    ) -> (Stored, Vec<MessageId>) {
        let now = self.at(millis);
        let instance = requests[0].target.clone();
        let mut cursor = Cursor::replay(self.application.clone(), instance.clone(), stored);
        let messages = requests.iter().map(|request| request.id);
        let item = self.graph.fetch_step(&instance, cursor.last_step(), messages, now);
        let outcome = cursor.step(StepInput {
            work_item: item,
            now,
            ledger: Ledger::new(now),
            execution: Timing::default(),
            messages: requests.iter().map(|request| (*request).clone()).collect(),
            backend: EntityBackend {
                reorder_window: std::time::Duration::ZERO,
                max_operations: 100,
                max_signal_delay: None,
                implicit_deletion: true,
            },
        });
        self.graph.executed_step(item, &outcome);
        self.graph.committed(item);
        let answers = outcome.messages.iter().map(|answer| answer.id).collect();
        (outcome.new_events, answers)
    }

    /// The caller hears an answer.
    pub(super) fn hear(&self, millis: u64, caller: &str, answer: MessageId) {
        let now = self.at(millis);
        let messages = [answer].into_iter();
        let step = self.graph.fetch_step(&InstanceId::new(caller), None, messages, now);
        self.graph.executed_step(step, &Scene::outcome());
        self.graph.committed(step);
    }

    /// A call that is served at once and heard of 10 ms after it was made.
    pub(super) fn round(
        &self,
        millis: u64,
        caller: &str,
        stored: &Stored,
        key: &str,
        call: (&str, i64),
        section: Option<&str>,
    ) -> Stored {
        let number = u32::try_from(millis).expect("a short history");
        let request = self.call(millis, (caller, number), key, call, section);
        let (stored, answers) = self.serve(millis + 5, stored, &[&request]);
        self.hear(millis + 10, caller, answers[0]);
        stored
    }
}
