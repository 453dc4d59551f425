//! The state machine alone, without a world.

use super::*;
use crate::settings::SETTINGS;
use sim_model::history::EventKind;
use sim_model::id::Producer;
use sim_model::message::TaskMessage;
use sim_model::payload::Payload;
use sim_model::settings::Settings;

const NOW: Handling =
    Handling { begun: Timestamp::ZERO, ended: Timestamp::ZERO, host_has_room: true };

/// Partition 0 of 2.
fn partition(sets: &[(&str, &str)]) -> Partition {
    let mut settings = Settings::defaults(SETTINGS);
    for (key, value) in sets {
        settings.set(key, value).expect("a valid setting");
    }
    Partition::new(0, 2, Config::new(&settings))
}

fn message_id(index: u32) -> MessageId {
    MessageId { producer: Producer::Client, index }
}

fn start(target: &str, index: u32) -> InstanceMessage {
    let input = Payload::encode(&1).expect("a number");
    let kind = EventKind::ExecutionStarted { name: "code".into(), input };
    InstanceMessage {
        id: message_id(index),
        target: InstanceId::new(target),
        event: HistoryEvent { timestamp: Timestamp::ZERO, kind },
        ledger: Ledger::new(Timestamp::ZERO),
    }
}

fn activity(caller: &str, event_id: u32) -> TaskMessage {
    let (name, input) = ("work".into(), Payload::encode(&()).expect("nothing"));
    let (caller, ledger) = (InstanceId::new(caller), Ledger::new(Timestamp::ZERO));
    TaskMessage { id: message_id(100 + event_id), caller, event_id, name, input, ledger }
}

fn received(position: u64, messages: Vec<InstanceMessage>) -> PartitionEvent {
    PartitionEvent::TaskMessagesReceived { origin: 1, position, sub_position: 0, messages }
}

fn processed(work: &StepWork, status: RuntimeStatus) -> BatchProcessed {
    BatchProcessed {
        instance: work.instance.clone(),
        session: work.session,
        batch_start: work.batch_start,
        batch_length: work.messages.len() as u32,
        work_item: WorkItemId(7),
        timestamp: Timestamp::from_millis(5),
        new_events: Vec::new(),
        status,
        activities: Vec::new(),
        messages: Vec::new(),
        ledger: Ledger::new(Timestamp::ZERO),
        persisted: false,
    }
}

/// Applies one event and returns the effects.
fn apply(partition: &mut Partition, position: u64, event: PartitionEvent) -> Vec<Effect> {
    let mut effects = Vec::new();
    partition.process(position, event, NOW, &mut effects);
    effects
}

fn durable(partition: &mut Partition, position: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    partition.became_durable(position, Timestamp::from_millis(20), &mut effects);
    effects
}

fn names(effects: &[Effect]) -> Vec<&'static str> {
    let name = |effect: &Effect| match effect {
        Effect::StartStep(_) => "step",
        Effect::StartActivity(_) => "activity",
        Effect::Submit(_) => "submit",
        Effect::Send(_) => "send",
        Effect::Committed(_) => "committed",
        Effect::Aborted(_) => "aborted",
        Effect::Completed(_) => "completed",
        Effect::Discarded(_) => "discarded",
    };
    effects.iter().map(name).collect()
}

fn started(partition: &mut Partition) -> StepWork {
    let mut effects = apply(partition, 100, received(1, vec![start("a!0", 0)]));
    match effects.pop() {
        Some(Effect::StartStep(work)) if effects.is_empty() => work,
        _ => panic!("a start begins a step"),
    }
}

#[test]
fn a_duplicate_delivery_is_dropped_unless_dedup_is_off() {
    let both = |sets: &[(&str, &str)]| {
        let mut partition = partition(sets);
        let first = names(&apply(&mut partition, 100, received(1, vec![start("a!0", 0)])));
        let second = names(&apply(&mut partition, 200, received(1, vec![start("b!0", 1)])));
        (first, second)
    };
    assert_eq!(both(&[]), (vec!["step"], vec![]));
    assert_eq!(both(&[("dedup", "false")]), (vec!["step"], vec!["step"]));
}

#[test]
fn messages_leave_only_when_their_step_is_durable() {
    for (setting, at_once, later) in
        [("true", vec![], vec!["committed", "send"]), ("false", vec!["send"], vec!["committed"])]
    {
        let mut partition = partition(&[("outbox_after_durability", setting)]);
        let work = started(&mut partition);
        let mut batch = processed(&work, RuntimeStatus::Running);
        batch.messages = vec![start("b!1", 1)];
        let event = PartitionEvent::BatchProcessed(Box::new(batch));
        assert_eq!(names(&apply(&mut partition, 200, event)), at_once);
        assert!(durable(&mut partition, 200).is_empty(), "not yet: the position is the step's own");
        assert_eq!(names(&durable(&mut partition, 201)), later);
    }
}

#[test]
fn local_effects_begin_at_once_or_after_durability() {
    let step_with_activity = |sets: &[(&str, &str)]| {
        let mut partition = partition(sets);
        let work = started(&mut partition);
        let mut batch = processed(&work, RuntimeStatus::Running);
        batch.activities = vec![activity("a!0", 0)];
        let event = PartitionEvent::BatchProcessed(Box::new(batch));
        let effects = apply(&mut partition, 200, event);
        (partition, effects)
    };
    let (_, effects) = step_with_activity(&[]);
    assert_eq!(names(&effects), ["activity"]);
    let (mut partition, effects) = step_with_activity(&[("speculation", "none")]);
    assert!(effects.is_empty(), "the step is only remembered");
    let mut effects = durable(&mut partition, 201);
    assert_eq!(names(&effects), ["committed", "submit"]);
    let Some(Effect::Submit(event)) = effects.pop() else { unreachable!("it was seen") };
    assert_eq!(names(&apply(&mut partition, 300, event)), ["activity"]);
}

#[test]
fn messages_that_arrive_during_a_step_make_the_next_batch() {
    let mut partition = partition(&[]);
    let work = started(&mut partition);
    let answers = (0..3).map(|n| {
        let result = Payload::encode(&n).map_err(|error| panic!("{error}"));
        activity("a!0", n).response(message_id(n), result, Ledger::new(Timestamp::ZERO))
    });
    let effects = apply(&mut partition, 200, received(2, answers.collect()));
    assert!(effects.is_empty(), "one step at a time");
    let event = PartitionEvent::BatchProcessed(Box::new(processed(&work, RuntimeStatus::Running)));
    let effects = apply(&mut partition, 300, event);
    let [Effect::StartStep(next)] = &effects[..] else { panic!("{:?}", names(&effects)) };
    assert_eq!((next.batch_start, next.messages.len()), (1, 3));
}

#[test]
fn a_step_of_a_closed_session_is_given_up() {
    let mut partition = partition(&[]);
    let work = started(&mut partition);
    let result = Payload::encode(&()).expect("nothing");
    let end = || {
        let batch = processed(&work, RuntimeStatus::Completed(result.clone()));
        PartitionEvent::BatchProcessed(Box::new(batch))
    };
    assert!(apply(&mut partition, 200, end()).is_empty());
    assert_eq!(names(&apply(&mut partition, 300, end())), ["aborted"]);
    assert_eq!(names(&durable(&mut partition, 400)), ["committed", "completed"]);
}

#[test]
fn an_activity_result_counts_once() {
    let mut partition = partition(&[]);
    let work = started(&mut partition);
    let mut batch = processed(&work, RuntimeStatus::Running);
    batch.activities = vec![activity("a!0", 0)];
    apply(&mut partition, 200, PartitionEvent::BatchProcessed(Box::new(batch)));
    let completed = || PartitionEvent::ActivityCompleted {
        activity: 0,
        work_item: WorkItemId(8),
        response: activity("a!0", 0).response(
            message_id(9),
            Payload::encode(&()),
            Ledger::new(Timestamp::ZERO),
        ),
    };
    assert_eq!(names(&apply(&mut partition, 300, completed())), ["step"]);
    assert_eq!(names(&apply(&mut partition, 400, completed())), ["aborted"]);
}

#[test]
fn activities_wait_in_the_backlog_while_the_host_is_busy() {
    let mut partition = partition(&[]);
    let work = started(&mut partition);
    let mut batch = processed(&work, RuntimeStatus::Running);
    batch.activities = (0..3).map(|n| activity("a!0", n)).collect();
    let busy = Handling { host_has_room: false, ..NOW };
    let mut effects = Vec::new();
    let event = PartitionEvent::BatchProcessed(Box::new(batch));
    partition.process(200, event, busy, &mut effects);
    assert_eq!(names(&effects), ["activity"], "one may always run");
    let response = activity("a!0", 0).response(
        message_id(9),
        Payload::encode(&()),
        Ledger::new(Timestamp::ZERO),
    );
    let event =
        PartitionEvent::ActivityCompleted { activity: 0, work_item: WorkItemId(8), response };
    effects.clear();
    partition.process(300, event, busy, &mut effects);
    assert_eq!(names(&effects), ["step", "activity"]);
}

#[test]
fn a_start_of_a_known_key_has_no_taker() {
    let mut partition = partition(&[]);
    started(&mut partition);
    let effects = apply(&mut partition, 200, received(2, vec![start("a!0", 5)]));
    assert_eq!(names(&effects), ["discarded"]);
    let request = RequestId { client: 0, number: 1 };
    let phase = Phase::ConfirmAndProcess;
    let event =
        PartitionEvent::CreationRequestReceived { request, phase, message: start("a!0", 6) };
    apply(&mut partition, 300, event);
    let effects = durable(&mut partition, 400);
    let refused = |effect: &Effect| {
        matches!(effect, Effect::Send(out)
            if matches!(out.clients[..], [(0, ClientEvent::Creation { created: false, .. })]))
    };
    assert!(effects.iter().any(refused), "{:?}", names(&effects));
}
