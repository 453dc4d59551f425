//! What to do with a message: decisions without time, storage or randomness of their own.
//!
//! Source: Azure/durabletask main@5217032, `src/DurableTask.AzureStorage/`:
//! `OrchestrationSession.cs` (IsOutOfOrderMessage), `OrchestrationSessionManager.cs`
//! (DedupeExecutionStartedMessagesAsync), `Messaging/TaskHubQueue.cs:253` (abandon).

use crate::wire::InstanceRow;
use sim_model::history::{EventId, EventKind, HistoryEvent};
use sim_model::id::{MessageId, Producer};
use sim_model::message::InstanceMessage;
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

/// What a history says about the messages that may follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    started: bool,
    ended: bool,
    /// What is known of each decision, by its number.
    decisions: Vec<u8>,
}

const SCHEDULED: u8 = 1;
const ANSWERED: u8 = 2;

impl Facts {
    /// The facts of a whole history.
    pub fn of(history: &[HistoryEvent]) -> Facts {
        let mut facts = Facts::default();
        for event in history {
            facts.add(&event.kind);
        }
        facts
    }

    /// Takes one more event into account.
    pub fn add(&mut self, event: &EventKind) {
        match event {
            EventKind::ExecutionStarted { .. } => self.started = true,
            EventKind::ExecutionCompleted { .. } | EventKind::ExecutionFailed { .. } => {
                self.ended = true;
            }
            _ => {}
        }
        if let Some(id) = event.decision() {
            self.mark(id, SCHEDULED);
        }
        if let Some(id) = event.answers() {
            self.mark(id, ANSWERED);
        }
    }

    fn mark(&mut self, id: EventId, flag: u8) {
        let index = id as usize;
        if index >= self.decisions.len() {
            self.decisions.resize(index + 1, 0);
        }
        self.decisions[index] |= flag;
    }

    fn has(&self, id: EventId, flag: u8) -> bool {
        self.decisions.get(id as usize).is_some_and(|flags| flags & flag != 0)
    }

    /// Whether the orchestration has ended.
    pub fn ended(&self) -> bool {
        self.ended
    }
}

/// What to do with a message at the dispatch of its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The step consumes it.
    Run,
    /// The history has it already: the step takes it along, and it has no effect.
    Duplicate,
    /// It is put back: the history that was read does not yet have what it answers.
    Abandon,
    /// It is dropped: its instance has ended or never was.
    Discard,
}

/// Decides on a message that was handed out for the `dequeue_count`-th time. What is admitted is
/// added to `facts`, so that a message and its copy can come in one batch.
pub(crate) fn admit(
    facts: &mut Facts,
    event: &EventKind,
    dequeue_count: u32,
    out_of_order_rule: bool,
) -> Admission {
    let admission = judge(facts, event, dequeue_count, out_of_order_rule);
    if admission == Admission::Run {
        facts.add(event);
    }
    admission
}

fn judge(facts: &Facts, event: &EventKind, dequeue_count: u32, rule: bool) -> Admission {
    if facts.ended {
        return Admission::Discard;
    }
    let starts = matches!(event, EventKind::ExecutionStarted { .. });
    if !facts.started && !starts {
        let patient = rule && dequeue_count <= DELIVERIES_WITHOUT_HISTORY;
        return if patient { Admission::Abandon } else { Admission::Discard };
    }
    if starts {
        return if facts.started { Admission::Duplicate } else { Admission::Run };
    }
    match event.answers() {
        Some(id) if rule && !facts.has(id, SCHEDULED) => Admission::Abandon,
        Some(id) if facts.has(id, ANSWERED) => Admission::Duplicate,
        _ => Admission::Run,
    }
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
/// made is about to be replaced by the client that made it, and counts as missing.
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
            if !earlier {
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

/// The identity of the message that names the execution, if one of `messages` starts it.
pub(crate) fn started_execution<'a>(
    messages: impl Iterator<Item = &'a InstanceMessage>,
) -> Option<MessageId> {
    messages.filter(|message| message.starts_instance()).map(|message| message.id).next()
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
        EventKind::ExecutionStarted { name: "Hello".into(), input: payload() }
    }

    fn scheduled(event_id: EventId) -> EventKind {
        EventKind::TaskScheduled { event_id, name: "SayHello".into(), input: payload() }
    }

    fn answer(task_scheduled_id: EventId) -> EventKind {
        EventKind::TaskCompleted { task_scheduled_id, result: payload() }
    }

    fn facts(events: &[EventKind]) -> Facts {
        let mut facts = Facts::default();
        events.iter().for_each(|event| facts.add(event));
        facts
    }

    #[test]
    fn abandoned_messages_come_back_after_two_seconds_and_at_most_ten_minutes() {
        let seconds: Vec<u64> = [1, 2, 3, 9, 10, 64, 200]
            .into_iter()
            .map(|count| abandon_delay(count).as_secs())
            .collect();
        assert_eq!(seconds, [2, 4, 8, 512, 600, 600, 600]);
    }

    #[test]
    fn an_answer_runs_only_after_its_question() {
        let mut history = facts(&[started(), scheduled(0)]);
        assert_eq!(admit(&mut history, &answer(1), 1, true), Admission::Abandon);
        assert_eq!(admit(&mut history, &answer(0), 1, true), Admission::Run);
        assert_eq!(admit(&mut history, &answer(0), 2, true), Admission::Duplicate);
        assert_eq!(admit(&mut history, &answer(1), 1, false), Admission::Run, "rule off");
    }

    #[test]
    fn messages_of_an_unknown_instance_wait_five_deliveries() {
        let mut nothing = Facts::default();
        assert_eq!(admit(&mut nothing, &answer(0), 5, true), Admission::Abandon);
        assert_eq!(admit(&mut nothing, &answer(0), 6, true), Admission::Discard);
        assert_eq!(admit(&mut nothing, &answer(0), 1, false), Admission::Discard, "rule off");
        assert_eq!(admit(&mut nothing, &started(), 1, true), Admission::Run);
        assert_eq!(admit(&mut nothing, &started(), 1, true), Admission::Duplicate);
    }

    #[test]
    fn an_ended_instance_takes_no_messages() {
        let mut history = facts(&[started(), EventKind::ExecutionCompleted { result: payload() }]);
        for event in [started(), answer(0)] {
            assert_eq!(admit(&mut history, &event, 1, true), Admission::Discard);
        }
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
    }
}
