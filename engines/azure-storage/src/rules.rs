//! What to do with a message: decisions without time, storage or randomness of their own.
//!
//! Source: Azure/durabletask main@5217032, `src/DurableTask.AzureStorage/`:
//! `OrchestrationSession.cs` (IsOutOfOrderMessage), `OrchestrationSessionManager.cs`
//! (DedupeExecutionStartedMessagesAsync), `Messaging/TaskHubQueue.cs:253` (abandon).

use crate::wire::InstanceRow;
use sim_model::entity::RequestKind;
use sim_model::history::{EventId, EventKind, HistoryEvent, ParentInstance, RaisedEvent};
use sim_model::id::{InstanceId, MessageId, Producer};
use sim_model::message::InstanceMessage;
use sim_model::time::Timestamp;
use std::time::Duration;

/// A message for an instance without a history is dropped when it was handed out more often.
const DELIVERIES_WITHOUT_HISTORY: u32 = 5;
/// A start message without its Instances row is dropped when it was handed out this often.
const DELIVERIES_WITHOUT_ROW: u32 = 10;
/// The longest time for which a message is put back.
const ABANDON_DELAY_MAX: Duration = Duration::from_secs(600);

/// How long a message is hidden that is put back after its n-th delivery: 2 s the first time.
pub(crate) fn abandon_delay(dequeue_count: u32) -> Duration {
    let seconds = 1u64.checked_shl(dequeue_count).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(ABANDON_DELAY_MAX)
}

/// Whether a message that is put back after its n-th delivery is put back for the longest time: the
/// published engine then logs it as poison.
pub(crate) fn is_poison(dequeue_count: u32) -> bool {
    abandon_delay(dequeue_count) == ABANDON_DELAY_MAX
}

/// Who waits for the end of an orchestration: the caller and the decision of its call.
type Call = (InstanceId, EventId);

/// What a history says about the messages that may follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    entity: bool,
    started: bool,
    /// When the orchestration ended.
    ended: Option<Timestamp>,
    /// The calls that have asked for this orchestration; all but the first are refused.
    calls: Vec<Call>,
    /// The number of the first decision: those below belong to executions that continued as new.
    first_event_id: EventId,
    /// What is known of each decision, by its number counted from the first.
    decisions: Vec<u8>,
}

const SCHEDULED: u8 = 1;
const ANSWERED: u8 = 2;

impl Facts {
    /// The facts of an instance without a history.
    pub fn new(instance: &InstanceId) -> Facts {
        Facts { entity: instance.is_entity(), ..Facts::default() }
    }

    /// The facts of a whole history.
    pub fn of(instance: &InstanceId, history: &[HistoryEvent]) -> Facts {
        let mut facts = Facts::new(instance);
        facts.extend(history);
        facts
    }

    /// Takes further events into account.
    pub fn extend(&mut self, events: &[HistoryEvent]) {
        if !self.entity {
            events.iter().for_each(|event| self.add(event));
        }
    }

    /// The facts after a step: its events follow the history, or take its place.
    pub fn after_step(&mut self, new_events: &[HistoryEvent], replaces_history: bool) {
        if replaces_history {
            *self = Facts { entity: self.entity, ..Facts::default() };
        }
        self.extend(new_events);
    }

    fn add(&mut self, event: &HistoryEvent) {
        if let EventKind::ExecutionStarted { parent, first_event_id, .. } = &event.kind {
            if !self.started {
                self.first_event_id = *first_event_id;
            }
            self.started = true;
            self.calls.extend(parent.as_deref().map(call));
        }
        if event.kind.is_end() {
            self.ended = Some(event.timestamp);
        }
        if let Some(id) = event.kind.decision() {
            self.mark(id, SCHEDULED);
        }
        if let Some(id) = event.kind.answers() {
            self.mark(id, ANSWERED);
        }
    }

    fn mark(&mut self, id: EventId, flag: u8) {
        let Some(index) = id.checked_sub(self.first_event_id) else { return };
        let index = index as usize;
        if index >= self.decisions.len() {
            self.decisions.resize(index + 1, 0);
        }
        self.decisions[index] |= flag;
    }

    fn has(&self, id: EventId, flag: u8) -> bool {
        let index = id.checked_sub(self.first_event_id);
        let flags = index.and_then(|index| self.decisions.get(index as usize));
        flags.is_some_and(|flags| flags & flag != 0)
    }

    /// Whether the orchestration has ended.
    pub fn ended(&self) -> bool {
        self.ended.is_some()
    }

    fn knows_call(&self, message: &InstanceMessage) -> bool {
        parent(message).is_some_and(|parent| self.calls.contains(&call(parent)))
    }

    /// Whether a message begins a new life of an orchestration that has ended in execution
    /// `execution`. The call that its end has answered does so only if it was made again after that:
    /// its caller may have lost the answer together with the step that called.
    pub fn is_restarted_by(&self, execution: Option<MessageId>, message: &InstanceMessage) -> bool {
        let Some(ended) = self.ended else { return false };
        let another = message.starts_orchestration() && execution != Some(message.id);
        another && (!self.knows_call(message) || message.event.timestamp > ended)
    }
}

fn parent(message: &InstanceMessage) -> Option<&ParentInstance> {
    match &message.event.kind {
        EventKind::ExecutionStarted { parent, .. } => parent.as_deref(),
        _ => None,
    }
}

fn call(parent: &ParentInstance) -> Call {
    (parent.instance.clone(), parent.event_id)
}

/// What to do with a message at the dispatch of its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The step consumes it.
    Run,
    /// The history has it already: the step takes it along, and it has no effect.
    Duplicate,
    /// It is put back: the history that was read does not yet have what it answers, or there is
    /// none yet.
    Abandon,
    /// It is dropped: its instance has ended or never was, or it answers a former execution.
    Discard,
}

/// A message at the dispatch of its instance.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// What was handed out.
    pub message: &'a InstanceMessage,
    /// How often.
    pub dequeue_count: u32,
    /// The execution of the instance's history.
    pub execution: Option<MessageId>,
    /// Whether the out-of-order rule is on.
    pub out_of_order_rule: bool,
}

/// Decides on a message. What is admitted is added to `facts`, so that a message and its copy can
/// come in one batch.
pub(crate) fn admit(facts: &mut Facts, arrival: Arrival<'_>) -> Admission {
    if facts.entity {
        // Every message reaches an entity; the order and duplicates are its sorter's business.
        return Admission::Run;
    }
    let admission = judge(facts, arrival);
    if admission == Admission::Run {
        facts.add(&arrival.message.event);
    }
    admission
}

fn judge(facts: &Facts, arrival: Arrival<'_>) -> Admission {
    let Arrival { message, dequeue_count, execution, out_of_order_rule: rule } = arrival;
    if facts.ended() {
        return Admission::Discard;
    }
    let starts = message.starts_orchestration();
    if !facts.started && !starts {
        let patient = rule && dequeue_count <= DELIVERIES_WITHOUT_HISTORY;
        return if patient { Admission::Abandon } else { Admission::Discard };
    }
    if starts {
        // A call by another orchestration runs: the step answers that it is refused.
        let answered = facts.started && parent(message).is_some() && !facts.knows_call(message);
        let first = !facts.started;
        let run = first || (answered && execution != Some(message.id));
        return if run { Admission::Run } else { Admission::Duplicate };
    }
    match message.event.kind.answers() {
        Some(id) if id < facts.first_event_id => Admission::Discard,
        Some(id) if rule && !facts.has(id, SCHEDULED) => Admission::Abandon,
        Some(id) if facts.has(id, ANSWERED) => Admission::Duplicate,
        _ => Admission::Run,
    }
}

/// Whether an entity recognises a second copy of this message: requests with a stamp are known to
/// its sorter, and a lock that is released stays so. Signals of clients, delayed signals and lock
/// requests on their way from entity to entity carry no stamp.
pub(crate) fn is_recognised(event: &EventKind) -> bool {
    match event {
        EventKind::EventRaised { event: RaisedEvent::Request(request) } => {
            request.stamp.is_some() || matches!(request.kind, RequestKind::Release(_))
        }
        _ => false,
    }
}

/// Whether a message has to be remembered once it is consumed, for as long as its sender may send it
/// again: nothing in a history or in an entity's state tells a second copy of it from a new message.
/// Clients do not send again.
pub(crate) fn is_to_be_remembered(message: &InstanceMessage) -> bool {
    let told = message.event.kind.answers().is_some()
        || message.starts_orchestration()
        || is_recognised(&message.event.kind);
    message.id.producer != Producer::Client && !told
}

/// What to do with a start message, by the Instances row of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It runs.
    Run,
    /// It is put back: the row is not there yet.
    Abandon,
    /// It is dropped: the row shows another execution.
    Discard,
}

/// The dedupe decision. The identity of the start message names the execution.
///
/// A message from an orchestration, not from a client, finds no row on its first delivery: its
/// first step writes the row \[infer\]. A row of an execution that ended before the message was
/// made is about to be replaced by the client that made it, and counts as missing. A call by an
/// orchestration always runs: it must be answered, if only that it is refused.
pub(crate) fn decide_start(
    message: &InstanceMessage,
    row: Option<&InstanceRow>,
    dequeue_count: u32,
) -> Start {
    let by_client = message.id.producer == Producer::Client;
    match row {
        Some(row) if row.execution == message.id => return Start::Run,
        Some(row) => {
            let earlier = row.status.is_final() && row.last_updated <= message.event.timestamp;
            if !earlier && parent(message).is_none() {
                return Start::Discard;
            }
        }
        None => {}
    }
    match by_client {
        false => Start::Run,
        true if dequeue_count >= DELIVERIES_WITHOUT_ROW => Start::Discard,
        true => Start::Abandon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_model::id::{InstanceId, WorkItemId};
    use sim_model::ledger::Ledger;
    use sim_model::orchestration::RuntimeStatus;
    use sim_model::payload::Payload;
    use sim_model::time::Timestamp;

    fn payload() -> Payload {
        Payload::encode(&"x").expect("text")
    }

    fn started() -> EventKind {
        EventKind::execution_started("Hello".into(), payload())
    }

    fn scheduled(event_id: EventId) -> EventKind {
        EventKind::TaskScheduled { event_id, name: "SayHello".into(), input: payload() }
    }

    fn answer(task_scheduled_id: EventId) -> EventKind {
        EventKind::TaskCompleted { task_scheduled_id, result: payload() }
    }

    fn at(seconds: u64, kind: EventKind) -> HistoryEvent {
        HistoryEvent { timestamp: Timestamp::from_secs(seconds), kind }
    }

    fn facts(events: &[EventKind]) -> Facts {
        let events: Vec<_> = events.iter().map(|kind| at(20, kind.clone())).collect();
        Facts::of(&InstanceId::new("i"), &events)
    }

    fn message(index: u32, kind: EventKind) -> InstanceMessage {
        InstanceMessage {
            id: MessageId { producer: Producer::WorkItem(WorkItemId(7)), index },
            target: InstanceId::new("i"),
            event: at(10, kind),
            ledger: Ledger::new(Timestamp::from_secs(10)),
        }
    }

    /// Admits an event as message 0 to an instance whose execution message 9 has started.
    fn admit_event(facts: &mut Facts, event: &EventKind, deliveries: u32, rule: bool) -> Admission {
        let message = message(0, event.clone());
        let execution = Some(MessageId { index: 9, ..message.id });
        let arrival = Arrival {
            message: &message,
            dequeue_count: deliveries,
            execution,
            out_of_order_rule: rule,
        };
        admit(facts, arrival)
    }

    #[test]
    fn abandoned_messages_come_back_after_two_seconds_and_at_most_ten_minutes() {
        let seconds: Vec<u64> = [1, 2, 3, 9, 10, 64, 200]
            .into_iter()
            .map(|count| abandon_delay(count).as_secs())
            .collect();
        assert_eq!(seconds, [2, 4, 8, 512, 600, 600, 600]);
        assert!(!is_poison(9) && is_poison(10));
    }

    #[test]
    fn an_answer_runs_only_after_its_question() {
        let mut history = facts(&[started(), scheduled(0)]);
        assert_eq!(admit_event(&mut history, &answer(1), 1, true), Admission::Abandon);
        assert_eq!(admit_event(&mut history, &answer(0), 1, true), Admission::Run);
        assert_eq!(admit_event(&mut history, &answer(0), 2, true), Admission::Duplicate);
        assert_eq!(admit_event(&mut history, &answer(1), 1, false), Admission::Run, "rule off");
    }

    #[test]
    fn timers_and_answers_of_entities_obey_the_order_rule() {
        let timer = EventKind::TimerFired { timer_id: 1, fire_at: Timestamp::ZERO };
        let result = Ok(payload());
        let granted = EventKind::EventRaised { event: RaisedEvent::Answer { event_id: 2, result } };
        let mut history = facts(&[started(), scheduled(0)]);
        for event in [&timer, &granted] {
            assert_eq!(admit_event(&mut history, event, 1, true), Admission::Abandon);
        }
        let fire_at = Timestamp::ZERO;
        history.extend(&[at(1, EventKind::TimerCreated { event_id: 1, fire_at })]);
        assert_eq!(admit_event(&mut history, &timer, 2, true), Admission::Run);
        assert_eq!(admit_event(&mut history, &timer, 3, true), Admission::Duplicate);
    }

    #[test]
    fn answers_to_former_executions_are_dropped() {
        let mut history = facts(&[started(), scheduled(0), scheduled(1)]);
        let mut again = started();
        if let EventKind::ExecutionStarted { first_event_id, .. } = &mut again {
            *first_event_id = 4;
        }
        history.after_step(&[at(1, again), at(1, scheduled(4))], true);
        assert_eq!(admit_event(&mut history, &answer(1), 1, true), Admission::Discard);
        assert_eq!(admit_event(&mut history, &answer(4), 1, true), Admission::Run);
        assert_eq!(admit_event(&mut history, &answer(5), 1, true), Admission::Abandon);
    }

    #[test]
    fn messages_of_an_unknown_instance_wait_five_deliveries() {
        let raised = RaisedEvent::External { name: "go".into(), input: payload() };
        let mut nothing = Facts::default();
        for event in [
            answer(0),
            EventKind::EventRaised { event: raised },
            EventKind::ExecutionTerminated { reason: "enough".into() },
            EventKind::ExecutionSuspended { reason: "wait".into() },
        ] {
            assert_eq!(admit_event(&mut nothing, &event, 5, true), Admission::Abandon);
            assert_eq!(admit_event(&mut nothing, &event, 6, true), Admission::Discard);
            assert_eq!(admit_event(&mut nothing, &event, 1, false), Admission::Discard, "rule off");
        }
        assert_eq!(admit_event(&mut nothing, &started(), 1, true), Admission::Run);
        assert_eq!(admit_event(&mut nothing, &started(), 1, true), Admission::Duplicate);
    }

    #[test]
    fn everything_reaches_an_entity() {
        let mut entity = Facts::new(&InstanceId::new("@Account@a"));
        for event in [answer(3), started(), EventKind::ExecutionTerminated { reason: "".into() }] {
            assert_eq!(admit_event(&mut entity, &event, 9, true), Admission::Run);
        }
    }

    #[test]
    fn an_ended_instance_takes_no_messages() {
        let mut history = facts(&[started(), EventKind::ExecutionCompleted { result: payload() }]);
        for event in [started(), answer(0)] {
            assert_eq!(admit_event(&mut history, &event, 1, true), Admission::Discard);
        }
        let mut terminated = facts(&[started()]);
        let end = EventKind::ExecutionTerminated { reason: "enough".into() };
        assert_eq!(admit_event(&mut terminated, &end, 1, true), Admission::Run);
        assert_eq!(admit_event(&mut terminated, &end, 1, true), Admission::Discard);
    }

    fn called(event_id: EventId) -> EventKind {
        let (instance, ledger) = (InstanceId::new("p"), Ledger::new(Timestamp::ZERO));
        let mut kind = started();
        if let EventKind::ExecutionStarted { parent, .. } = &mut kind {
            *parent = Some(Box::new(ParentInstance { instance, event_id, ledger }));
        }
        kind
    }

    #[test]
    fn a_call_of_a_running_orchestration_is_answered_once() {
        let mut history = facts(&[called(1)]);
        assert_eq!(admit_event(&mut history, &started(), 1, true), Admission::Duplicate);
        assert_eq!(admit_event(&mut history, &called(1), 1, true), Admission::Duplicate);
        assert_eq!(admit_event(&mut history, &called(2), 1, true), Admission::Run);
        assert_eq!(admit_event(&mut history, &called(2), 2, true), Admission::Duplicate);
    }

    #[test]
    fn a_new_life_begins_after_the_end_only() {
        let end = EventKind::ExecutionCompleted { result: payload() };
        let running = facts(&[called(1)]);
        let ended = facts(&[called(1), end]);
        let first = message(9, called(1)).id;
        let other = message(0, called(2));
        assert!(!running.is_restarted_by(Some(first), &other));
        assert!(ended.is_restarted_by(Some(first), &other));
        assert!(!ended.is_restarted_by(Some(other.id), &other), "its own start");
        let mut again = message(1, called(1));
        assert!(!ended.is_restarted_by(Some(first), &again), "was made before the end");
        again.event.timestamp = Timestamp::from_secs(300);
        assert!(ended.is_restarted_by(Some(first), &again), "the caller began again");
    }

    fn start(producer: Producer) -> InstanceMessage {
        let at = Timestamp::from_secs(10);
        InstanceMessage {
            id: MessageId { producer, index: 3 },
            target: InstanceId::new("i"),
            event: HistoryEvent { timestamp: at, kind: started() },
            ledger: Ledger::new(at),
        }
    }

    fn row(execution: u32, last_updated_secs: u64, status: RuntimeStatus) -> InstanceRow {
        InstanceRow {
            execution: MessageId { producer: Producer::Client, index: execution },
            created: Timestamp::ZERO,
            last_updated: Timestamp::from_secs(last_updated_secs),
            status,
            name: "Hello".into(),
            custom_status: None,
            input: None,
        }
    }

    #[test]
    fn a_start_runs_only_if_its_row_agrees() {
        let message = start(Producer::Client);
        let same = row(3, 10, RuntimeStatus::Running);
        assert_eq!(decide_start(&message, Some(&same), 1), Start::Run);
        assert_eq!(decide_start(&message, None, 9), Start::Abandon);
        assert_eq!(decide_start(&message, None, 10), Start::Discard);
        let running = row(4, 5, RuntimeStatus::Running);
        assert_eq!(decide_start(&message, Some(&running), 1), Start::Discard);
        let ended_before = row(4, 5, RuntimeStatus::Completed(payload()));
        assert_eq!(decide_start(&message, Some(&ended_before), 1), Start::Abandon);
        let ended_after = row(4, 15, RuntimeStatus::Completed(payload()));
        assert_eq!(decide_start(&message, Some(&ended_after), 1), Start::Discard);
    }

    #[test]
    fn a_start_by_an_orchestration_needs_no_row() {
        let message = start(Producer::WorkItem(WorkItemId(9)));
        assert_eq!(decide_start(&message, None, 1), Start::Run);
        let other = row(4, 5, RuntimeStatus::Running);
        assert_eq!(decide_start(&message, Some(&other), 1), Start::Discard);
        let call = InstanceMessage { event: at(10, called(1)), ..message };
        assert_eq!(decide_start(&call, Some(&other), 1), Start::Run, "it must be answered");
    }
}
