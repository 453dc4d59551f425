//! A small engine for the tests of the model: it has no cost, can do what the worst transport does,
//! and checks what every engine relies on.
//!
//! Messages wait until they are due; of those that are, one is drawn, and a random part of what
//! waits for the same instance goes into one step. Unless the transport is declared to keep order,
//! the order within the step is random too, and answers and stamped requests are delivered again.
//! Every step is also taken by cursors rebuilt from the stored history, which must agree in everything.
#![allow(dead_code)]

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use sim_model::application::{ActivityContext, ActivityEnvironment, Application};
use sim_model::codec;
use sim_model::cursor::Cursor;
use sim_model::engine::ClientMessage;
use sim_model::graph::{GraphRecorder, checks};
use sim_model::history::{EventKind, HistoryEvent, RaisedEvent};
use sim_model::id::{EntityId, InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::{Category, Ledger, Timing};
use sim_model::message::{InstanceMessage, TaskMessage, critical_ledger};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::step::{EntityBackend, StepInput, StepOutcome};
use sim_model::time::Timestamp;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// More steps than any test needs: an application that takes them goes round in circles.
const STEPS_MAX: u32 = 20_000;

pub fn payload(value: impl serde::Serialize) -> Payload {
    Payload::encode(&value).expect("a value with a JSON form")
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The names of a history's events, in order.
pub fn names(history: &[HistoryEvent]) -> Vec<&'static str> {
    history.iter().map(|event| event.kind.name()).collect()
}

/// Random numbers (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// What cursors are rebuilt from history.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rebuild {
    /// None.
    Never,
    /// One before each step.
    EachStep,
    /// One before each step, and each goes on from there to the end.
    EachPrefix,
}

/// How the engine behaves.
#[derive(Clone, Copy)]
pub struct Options {
    pub seed: u64,
    /// Whether the transport keeps the order of messages and delivers them once.
    pub fifo: bool,
    pub rebuild: Rebuild,
    /// How long a message travels at most.
    pub delay_max: Duration,
    pub max_operations: usize,
    pub max_signal_delay: Option<Duration>,
}

impl Options {
    pub fn fifo(seed: u64) -> Options {
        Options {
            seed,
            fifo: true,
            rebuild: Rebuild::EachStep,
            delay_max: Duration::ZERO,
            max_operations: usize::MAX,
            max_signal_delay: None,
        }
    }

    pub fn disorderly(seed: u64) -> Options {
        Options { fifo: false, delay_max: ms(20), ..Options::fifo(seed) }
    }

    pub fn backend(&self) -> EntityBackend {
        EntityBackend {
            reorder_window: if self.fifo { Duration::ZERO } else { ms(30 * 60 * 1000) },
            max_operations: self.max_operations,
            max_signal_delay: self.max_signal_delay,
            implicit_deletion: self.fifo,
        }
    }
}

/// An activity environment in which nothing takes time.
struct Instantly;

impl ActivityEnvironment for Instantly {
    fn compute(&self, _: Duration) -> LocalBoxFuture<'static, ()> {
        Box::pin(async {})
    }

    fn wait(&self, _: Duration) -> LocalBoxFuture<'static, ()> {
        Box::pin(async {})
    }

    fn read_blob(&self, _: u64) -> LocalBoxFuture<'static, ()> {
        Box::pin(async {})
    }

    fn write_blob(&self, _: u64) -> LocalBoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// One instance: the cursor that was never dropped, and what is stored.
struct Stored {
    kept: Cursor,
    rebuilt: Vec<Cursor>,
    history: Vec<HistoryEvent>,
    last: Option<StepOutcome>,
}

/// A message on its way, and how many messages one after the other led to it.
struct Travelling {
    due: Timestamp,
    chain: u32,
    message: InstanceMessage,
}

/// A step that was taken, for tests that look at steps.
pub struct Taken {
    pub instance: InstanceId,
    pub at: Timestamp,
    /// The longest chain of messages that led to it.
    pub chain: u32,
    pub consumed: Vec<InstanceMessage>,
    pub outcome: StepOutcome,
}

/// The engine.
pub struct Play {
    app: Rc<Application>,
    options: Options,
    random: Random,
    pub clock: Timestamp,
    instances: BTreeMap<InstanceId, Stored>,
    travelling: Vec<Travelling>,
    pub graph: GraphRecorder,
    pub taken: Vec<Taken>,
}

impl Play {
    pub fn new(app: Rc<Application>, options: Options) -> Play {
        Play {
            app,
            options,
            random: Random(options.seed),
            clock: Timestamp::from_millis(1),
            instances: BTreeMap::new(),
            travelling: Vec::new(),
            graph: GraphRecorder::default(),
            taken: Vec::new(),
        }
    }

    /// Sends the start of an orchestration.
    pub fn start(&mut self, name: &str, instance: &str, input: impl serde::Serialize) {
        let kind = EventKind::execution_started(name.into(), payload(input));
        self.post(InstanceId::new(instance), kind, self.clock);
    }

    /// Sends a client's message, at an instant.
    pub fn send_at(&mut self, instance: &InstanceId, message: ClientMessage, at: Timestamp) {
        self.post(instance.clone(), message.into_event(), at);
    }

    /// Sends a client's message now.
    pub fn send(&mut self, instance: &str, message: ClientMessage) {
        self.send_at(&InstanceId::new(instance), message, self.clock);
    }

    /// Sends an operation to an entity now.
    pub fn signal(&mut self, entity: &EntityId, operation: &str, input: impl serde::Serialize) {
        let message =
            ClientMessage::Signal { operation: operation.into(), input: payload(input), at: None };
        self.send_at(&entity.instance_id(), message, self.clock);
    }

    /// Sends any event from outside.
    pub fn post(&mut self, target: InstanceId, kind: EventKind, at: Timestamp) {
        let id = self.graph.client_message();
        let event = HistoryEvent { timestamp: at, kind };
        let message = InstanceMessage { id, target, event, ledger: Ledger::new(at) };
        self.travelling.push(Travelling { due: at, chain: 1, message });
    }

    /// Runs until nothing is on its way, and checks the rules of the execution graph.
    pub fn run(&mut self) {
        self.run_until(Timestamp::MAX);
        let graph = self.graph.graph();
        let found = [
            ("no-message-lost", checks::no_message_lost(&graph, self.clock)),
            ("serial-instances", checks::serial_instances(&graph)),
            ("ccc", checks::causally_consistent_commit(&graph)),
            ("no-timer-early", checks::no_timer_early(&graph)),
            ("tasks", checks::exactly_once(&graph, checks::is_task)),
        ];
        for (rule, finding) in found {
            assert!(finding.is_none(), "{rule}: {finding:?}");
        }
        if self.options.fifo {
            assert_eq!(checks::exactly_once(&graph, checks::is_step), None);
        }
    }

    /// Takes all steps up to an instant.
    pub fn run_until(&mut self, until: Timestamp) {
        for _ in 0..STEPS_MAX {
            let Some(next) = self.travelling.iter().map(|travelling| travelling.due).min() else {
                return;
            };
            if next > until {
                self.clock = self.clock.max(until);
                return;
            }
            self.clock = self.clock.max(next);
            self.step_one();
        }
        panic!("{STEPS_MAX} steps and no end: {:?}", self.statuses());
    }

    fn statuses(&self) -> Vec<(String, String)> {
        let status = |stored: &Stored| stored.kept.status().name().to_string();
        self.instances.iter().map(|(id, stored)| (id.to_string(), status(stored))).collect()
    }

    /// Draws what the next step consumes.
    fn step_one(&mut self) {
        let due = |travelling: &&Travelling| travelling.due <= self.clock;
        let ready: Vec<_> =
            self.travelling.iter().filter(due).map(|t| t.message.target.clone()).collect();
        let target = ready[self.random.below(ready.len())].clone();
        let mine = ready.iter().filter(|other| **other == target).count();
        let count = 1 + self.random.below(mine.min(6));
        let mut batch = Vec::new();
        for _ in 0..count {
            let now = self.clock;
            let candidates: Vec<_> = (0..self.travelling.len())
                .filter(|index| {
                    let travelling = &self.travelling[*index];
                    travelling.due <= now && travelling.message.target == target
                })
                .collect();
            let pick = if self.options.fifo { 0 } else { self.random.below(candidates.len()) };
            batch.push(self.travelling.remove(candidates[pick]));
        }
        self.step(target, batch);
    }

    fn step(&mut self, target: InstanceId, batch: Vec<Travelling>) {
        let ended = |stored: &Stored| stored.kept.status().is_final();
        if self.instances.get(&target).is_none_or(ended) {
            if !batch.iter().any(|travelling| travelling.message.creates_instance()) {
                batch.iter().for_each(|late| self.graph.discarded(late.message.id));
                return;
            }
            let kept = Cursor::new(self.app.clone(), target.clone());
            let stored = Stored { kept, rebuilt: Vec::new(), history: Vec::new(), last: None };
            self.instances.insert(target.clone(), stored);
        }
        let chain = batch.iter().map(|travelling| travelling.chain).max().unwrap_or(0);
        let messages: Vec<_> = batch.into_iter().map(|travelling| travelling.message).collect();
        self.repeat(&messages);
        let outcome = self.take_step(&target, messages.clone());
        let at = self.clock;
        self.absorb(&target, chain, &outcome);
        self.taken.push(Taken { instance: target, at, chain, consumed: messages, outcome });
    }

    /// Delivers copies of some messages later.
    fn repeat(&mut self, messages: &[InstanceMessage]) {
        let may_repeat = |message: &&InstanceMessage| {
            let kind = &message.event.kind;
            let stamped = matches!(kind, EventKind::EventRaised { event: RaisedEvent::Request(r) }
                if r.stamp.is_some());
            kind.answers().is_some() || stamped
        };
        if self.options.fifo {
            return;
        }
        for message in messages.iter().filter(may_repeat) {
            // Each copy may be copied again, so the chance must be small.
            if self.random.below(4) == 0 {
                let due = self.clock + ms(self.random.below(100) as u64);
                self.travelling.push(Travelling { due, chain: 0, message: message.clone() });
            }
        }
    }

    fn take_step(&mut self, target: &InstanceId, messages: Vec<InstanceMessage>) -> StepOutcome {
        let stored = self.instances.get_mut(target).expect("it exists or was created");
        match self.options.rebuild {
            Rebuild::Never => {}
            Rebuild::EachStep => stored.rebuilt.clear(),
            Rebuild::EachPrefix if stored.rebuilt.len() > 12 => {
                let dropped = self.random.below(stored.rebuilt.len());
                stored.rebuilt.remove(dropped);
            }
            Rebuild::EachPrefix => {}
        }
        if self.options.rebuild != Rebuild::Never {
            let rebuilt = Cursor::replay(self.app.clone(), target.clone(), &stored.history);
            stored.rebuilt.push(rebuilt);
        }
        stored.rebuilt.iter().for_each(|cursor| assert_same(&stored.kept, cursor));
        let ids = messages.iter().map(|message| message.id);
        let work_item = self.graph.fetch_step(target, stored.kept.last_step(), ids, self.clock);
        let mut ledger = critical_ledger(&messages);
        ledger.charge(Category::Queueing, self.clock);
        let input = || StepInput {
            work_item,
            now: self.clock,
            ledger,
            execution: Timing::of(Category::Cpu, Duration::from_nanos(7)),
            messages: messages.clone(),
            backend: self.options.backend(),
        };
        let outcome = stored.kept.step(input());
        for cursor in &mut stored.rebuilt {
            assert_eq!(cursor.step(input()), outcome, "a rebuilt cursor of {target} went astray");
        }
        assert_eq!(&outcome.status, stored.kept.status());
        self.graph.executed_step(work_item, &outcome);
        self.graph.committed(work_item);
        check_ledgers(&outcome, self.clock);
        outcome
    }

    /// Takes up what a step produced: history is stored, activities run, messages leave.
    fn absorb(&mut self, target: &InstanceId, chain: u32, outcome: &StepOutcome) {
        let stored = self.instances.get_mut(target).expect("it has taken a step");
        // What an engine gets back is what its store decodes.
        let bytes = codec::encode(&outcome.new_events);
        let events: Vec<HistoryEvent> = codec::decode(&bytes).expect("written by encode");
        if outcome.replaces_history {
            stored.history.clear();
        }
        stored.history.extend(events);
        assert_eq!(stored.kept.history_len(), stored.history.len());
        if outcome.status.is_final() && self.options.rebuild != Rebuild::Never {
            let replayed = Cursor::replay(self.app.clone(), target.clone(), &stored.history);
            assert_same(&stored.kept, &replayed);
        }
        stored.last = Some(outcome.clone());
        if outcome.deleted {
            self.instances.remove(target);
        }
        for message in &outcome.messages {
            let due = self.clock + self.delay();
            self.travelling.push(Travelling { due, chain: chain + 1, message: message.clone() });
        }
        for timer in &outcome.timers {
            let due = timer.fire_at.max(self.clock);
            let message = timer.message.clone();
            self.travelling.push(Travelling { due, chain: chain + 1, message });
        }
        for task in &outcome.tasks {
            let due = self.clock + ms(1) + self.delay();
            let message = self.answer(task, due);
            self.travelling.push(Travelling { due, chain: chain + 2, message });
        }
        self.clock += Duration::from_micros(100);
    }

    fn delay(&mut self) -> Duration {
        let max = self.options.delay_max.as_micros() as usize;
        Duration::from_micros(self.random.below(max + 1) as u64)
    }

    fn answer(&self, task: &TaskMessage, at: Timestamp) -> InstanceMessage {
        let item = self.graph.fetch_task(task.id, self.clock);
        let context = ActivityContext::new(Rc::new(Instantly), task);
        let running = self.app.run_activity(&task.name, context, task.input.clone());
        let result = running.now_or_never().expect("the environment never waits");
        self.graph.executed(item, 1);
        self.graph.committed(item);
        let mut ledger = task.ledger;
        ledger.charge(Category::Network, at);
        let id = MessageId { producer: Producer::WorkItem(item), index: 0 };
        task.response(id, result, ledger)
    }

    /// The stored history of an instance.
    pub fn history(&self, instance: &str) -> &[HistoryEvent] {
        &self.stored(instance).history
    }

    fn stored(&self, instance: &str) -> &Stored {
        let found = self.instances.get(&InstanceId::new(instance));
        found.unwrap_or_else(|| panic!("no {instance} among {:?}", self.statuses()))
    }

    pub fn exists(&self, instance: &str) -> bool {
        self.instances.contains_key(&InstanceId::new(instance))
    }

    pub fn status(&self, instance: &str) -> RuntimeStatus {
        self.stored(instance).kept.status().clone()
    }

    pub fn last(&self, instance: &str) -> &StepOutcome {
        self.stored(instance).last.as_ref().expect("it has taken a step")
    }

    /// An external event, to be given to a cursor by hand.
    pub fn event(&self, instance: &str, name: &str) -> InstanceMessage {
        let event = RaisedEvent::External { name: name.into(), input: payload(()) };
        message_to(instance, EventKind::EventRaised { event }, self.clock)
    }

    /// The result of an orchestration that must have completed.
    pub fn result<O: serde::de::DeserializeOwned>(&self, instance: &str) -> O {
        match self.status(instance) {
            RuntimeStatus::Completed(result) => result.decode().expect("a result of this type"),
            other => panic!("{instance} has not completed: {other:?}"),
        }
    }

    /// The error of an orchestration that must have failed.
    pub fn error(&self, instance: &str) -> sim_model::error::ApplicationError {
        match self.status(instance) {
            RuntimeStatus::Failed(error) => error,
            other => panic!("{instance} has not failed: {other:?}"),
        }
    }

    /// The state of an entity, if it exists and has one.
    pub fn entity<S: serde::de::DeserializeOwned>(&self, entity: &EntityId) -> Option<S> {
        let stored = self.instances.get(&entity.instance_id())?;
        let state = stored.last.as_ref()?.entity_state.as_ref()?;
        Some(state.decode().expect("a state of this type"))
    }

    /// What an entity remembers, as stored: the input of its only episode.
    pub fn remembered(&self, entity: &EntityId) -> serde_json::Value {
        let history = self.history(entity.instance_id().as_str());
        let [_, started, _] = history else { panic!("an entity has one episode: {history:?}") };
        let EventKind::ExecutionStarted { input, .. } = &started.kind else {
            panic!("not the start of an entity: {started:?}")
        };
        input.decode().expect("the state of a scheduler is an object")
    }

    /// Entities that are locked, that keep a request, or that wait for a cancelled section.
    pub fn unsettled(&self) -> Vec<String> {
        let entities = self.instances.keys().filter_map(EntityId::of);
        let is_unsettled = |entity: &EntityId| {
            let remembered = self.remembered(entity);
            ["locked_by", "queue", "half_cancelled", "suspended"]
                .iter()
                .any(|field| remembered.get(field).is_some())
        };
        entities.filter(is_unsettled).map(|entity| entity.to_string()).collect()
    }
}

/// A message from a client.
pub fn message_to(instance: &str, kind: EventKind, at: Timestamp) -> InstanceMessage {
    let id = MessageId { producer: Producer::Client, index: 0 };
    let event = HistoryEvent { timestamp: at, kind };
    InstanceMessage { id, target: InstanceId::new(instance), event, ledger: Ledger::new(at) }
}

/// One step of a cursor by itself, at the time of its last message.
pub fn step_alone(
    cursor: &mut Cursor,
    work_item: u32,
    messages: Vec<InstanceMessage>,
) -> StepOutcome {
    let none = Ledger::new(Timestamp::ZERO);
    let ledger = messages.iter().fold(none, |last, message| *last.later(&message.ledger));
    cursor.step(StepInput {
        work_item: WorkItemId(work_item),
        now: ledger.at(),
        ledger,
        execution: Timing::default(),
        messages,
        backend: Options::fifo(0).backend(),
    })
}

/// Everything that can be seen of two cursors is the same.
pub fn assert_same(kept: &Cursor, replayed: &Cursor) {
    assert_eq!(replayed.has_started(), kept.has_started());
    assert_eq!(replayed.status(), kept.status());
    assert_eq!(replayed.created(), kept.created());
    assert_eq!(replayed.name(), kept.name());
    assert_eq!(replayed.last_step(), kept.last_step());
    assert_eq!(replayed.history_len(), kept.history_len());
}

/// Whatever a step sends explains its time completely: up to now, or up to when it arrives.
fn check_ledgers(outcome: &StepOutcome, now: Timestamp) {
    let check = |ledger: &Ledger, at: Timestamp| {
        assert_eq!(ledger.timing().total(), ledger.at().since(ledger.origin()));
        assert_eq!(ledger.at(), at, "{outcome:?}");
    };
    outcome.tasks.iter().for_each(|task| check(&task.ledger, now));
    outcome.messages.iter().for_each(|message| check(&message.ledger, now));
    for timer in &outcome.timers {
        check(&timer.message.ledger, timer.fire_at.max(now));
    }
}
