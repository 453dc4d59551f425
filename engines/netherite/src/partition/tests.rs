//! The state machine alone, without a world.

use super::*;
use crate::event::{ActivityCompleted, ClientEvent, Deletion, Origin, Phase};
use crate::settings::SETTINGS;
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::Producer;
use sim_model::message::{TaskMessage, TimerMessage};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::settings::Settings;

const NOW: Handling = Handling { begun: Timestamp::ZERO, ended: Timestamp::ZERO };

/// Partition 0 of 2.
fn partition(sets: &[(&str, &str)]) -> Partition {
    cautious(sets, Timestamp::ZERO)
}

/// The same, in an incarnation that is cautious for so long.
fn cautious(sets: &[(&str, &str)], cautious_until: Timestamp) -> Partition {
    let mut settings = Settings::defaults(SETTINGS);
    for (key, value) in sets {
        settings.set(key, value).expect("a valid setting");
    }
    let epochs = vec![(64, 1)];
    let incarnation = Incarnation { epochs, cautious_until, ..Incarnation::default() };
    Partition::new(0, 2, Config::new(&settings), incarnation)
}

fn message_id(index: u32) -> MessageId {
    MessageId { producer: Producer::Client, index }
}

fn start(target: &str, index: u32) -> InstanceMessage {
    let input = Payload::encode(&1).expect("a number");
    let kind = EventKind::execution_started("code".into(), input);
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
    let depends = Vec::new();
    let origin = Origin { partition: 1, position, sub_position: 0, epoch: 1, depends };
    PartitionEvent::TaskMessagesReceived { origin, messages }
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
        replaces_history: false,
        status,
        custom_status: None,
        entity_state: None,
        deleted: false,
        activities: Vec::new(),
        messages: Vec::new(),
        timers: Vec::new(),
        ledger: Ledger::new(Timestamp::ZERO),
        persisted: None,
    }
}

/// Applies one event and returns the effects.
fn apply(partition: &mut Partition, position: u64, event: PartitionEvent) -> Vec<Effect> {
    let mut effects = Vec::new();
    partition.process(position, event.into(), NOW, &mut effects);
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
        Effect::SetAlarm => "alarm",
        Effect::PlanOffload(_) => "plan",
        Effect::Submit(_) => "submit",
        Effect::Send(_) => "send",
        Effect::Tell(..) => "tell",
        Effect::Report(_) => "report",
        Effect::RollBack(_) => "roll back",
        Effect::Committed(..) => "committed",
        Effect::Aborted(_) => "aborted",
        Effect::Completed(..) => "completed",
        Effect::Discarded(_) => "discarded",
        Effect::Removed(_) => "removed",
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

/// Partition 0 with a backlog: instance `a!0` has called `count` activities, of which one runs.
fn loaded(sets: &[(&str, &str)], count: u32) -> (Partition, Vec<Effect>) {
    let mut partition = partition(&[&[("activity_queue_limit", "1")], sets].concat());
    let work = started(&mut partition);
    let mut batch = processed(&work, RuntimeStatus::Running);
    batch.activities = (0..count).map(|n| activity("a!0", n)).collect();
    let effects = apply(&mut partition, 200, PartitionEvent::BatchProcessed(Box::new(batch)));
    (partition, effects)
}

fn completed(activity_id: u64, origin: u32, reported_load: u32) -> PartitionEvent {
    let response = activity("a!0", activity_id as u32).response(
        message_id(9),
        Payload::encode(&()),
        Ledger::new(Timestamp::ZERO),
    );
    PartitionEvent::ActivityCompleted(Box::new(ActivityCompleted {
        activity: activity_id,
        work_item: WorkItemId(8),
        origin,
        timestamp: Timestamp::ZERO,
        reported_load,
        response,
    }))
}

#[test]
fn an_activity_result_counts_once() {
    let (mut partition, _) = loaded(&[], 1);
    assert_eq!(names(&apply(&mut partition, 300, completed(0, 0, 0))), ["step"]);
    assert_eq!(names(&apply(&mut partition, 400, completed(0, 0, 0))), ["aborted"]);
}

#[test]
fn activities_wait_in_the_backlog_while_the_host_is_busy() {
    let (mut partition, effects) = loaded(&[("activity_scheduler", "local")], 3);
    assert_eq!(names(&effects), ["activity"], "one may always run");
    let effects = apply(&mut partition, 300, completed(0, 0, 1));
    assert_eq!(names(&effects), ["step", "activity"]);
}

/// What is handed to the transport.
fn outgoing(effects: &[Effect]) -> impl Iterator<Item = &Outgoing> {
    effects.iter().filter_map(|effect| match effect {
        Effect::Send(out) => Some(out),
        _ => None,
    })
}

/// What is sent to other partitions.
fn sent(effects: &[Effect]) -> Vec<&(u32, PartitionEvent)> {
    outgoing(effects).flat_map(|out| &out.partitions).collect()
}

#[test]
fn a_moved_activity_brings_its_result_home() {
    let (mut home, effects) = loaded(&[("activity_scheduler", "static")], 4);
    let [Effect::StartActivity(_), Effect::PlanOffload(_)] = &effects[..] else {
        panic!("{:?}", names(&effects));
    };
    let decision = PartitionEvent::OffloadDecision { decided: Timestamp::from_millis(100) };
    let effects = apply(&mut home, 300, decision);
    assert_eq!(
        names(&effects),
        ["plan"],
        "one of the backlog stays, the others wait to be durable"
    );
    let effects = durable(&mut home, 301);
    let [(1, transfer)] = sent(&effects)[..] else { panic!("{:?}", sent(&effects)) };
    let PartitionEvent::ActivityTransferReceived { activities, .. } = transfer else {
        panic!("{transfer:?}");
    };
    assert_eq!(activities.iter().map(|task| task.event_id).collect::<Vec<_>>(), [1, 3]);

    // Partition 1 of 2 runs one at once, keeps the other, and sends the results back.
    let settings = [("activity_queue_limit", "1")];
    let mut away = Partition { index: 1, ..partition(&settings) };
    let started = apply(&mut away, 100, transfer.clone());
    let [Effect::StartActivity(work)] = &started[..] else { panic!("{:?}", names(&started)) };
    assert_eq!((work.id, work.origin), (0, 0));
    assert!(apply(&mut away, 200, transfer.clone()).is_empty(), "delivered twice");
    assert_eq!(names(&apply(&mut away, 300, completed(0, 0, 0))), ["activity"]);
    let effects = durable(&mut away, 301);
    let [(0, result)] = sent(&effects)[..] else { panic!("{:?}", sent(&effects)) };

    assert_eq!(names(&apply(&mut home, 400, result.clone())), ["step"]);
    assert!(apply(&mut home, 500, result.clone()).is_empty(), "delivered twice");
}

/// A thousand small events with room for a thousand each would be a million.
#[test]
fn what_is_sent_in_pieces_takes_no_more_room_than_it_has() {
    let (mut home, _) = loaded(&[("pack_messages", "2")], 100);
    let decided = Timestamp::from_secs(9);
    let all = PartitionEvent::TransferCommandReceived { decided, count: 99, destination: 1 };
    apply(&mut home, 300, all);
    let pieces = home.outbox.kept().flat_map(|out| &out.partitions);
    let pieces: Vec<(usize, usize)> = pieces
        .map(|(_, event)| match event {
            PartitionEvent::ActivityTransferReceived { activities, .. } => {
                (activities.len(), activities.capacity())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pieces.len(), 50, "{pieces:?}");
    assert!(pieces.iter().all(|(length, room)| room <= &(2 * length)), "{pieces:?}");
}

#[test]
fn a_command_with_nothing_to_move_is_still_confirmed() {
    let (mut partition, _) = loaded(&[], 1);
    let decided = Timestamp::from_secs(9);
    let command = || PartitionEvent::TransferCommandReceived { decided, count: 5, destination: 1 };
    apply(&mut partition, 300, command());
    let effects = durable(&mut partition, 301);
    let [(1, PartitionEvent::ActivityTransferReceived { activities, .. })] = sent(&effects)[..]
    else {
        panic!("{:?}", sent(&effects));
    };
    assert!(activities.is_empty());
    apply(&mut partition, 400, command());
    assert!(sent(&durable(&mut partition, 401)).is_empty(), "carried out once");
}

/// Starts `a!0` as a client does.
fn creation(number: u64) -> PartitionEvent {
    let (request, phase) = (RequestId { client: 0, number }, Phase::ConfirmAndProcess);
    let mut message = start("a!0", number as u32);
    message.event.timestamp = Timestamp::from_secs(number);
    PartitionEvent::CreationRequestReceived { request, phase, message }
}

/// What clients are told.
fn answers(effects: &[Effect]) -> Vec<&ClientEvent> {
    outgoing(effects).flat_map(|out| &out.clients).map(|(_, answer)| answer).collect()
}

#[test]
fn a_client_can_replace_only_what_has_ended() {
    let mut partition = partition(&[]);
    let work = started(&mut partition);
    assert_eq!(names(&apply(&mut partition, 200, creation(1))), ["discarded"]);
    let refused = durable(&mut partition, 201);
    assert!(matches!(answers(&refused)[..], [ClientEvent::Creation { created: false, .. }]));
    let result = Payload::encode(&()).expect("nothing");
    let end = processed(&work, RuntimeStatus::Completed(result));
    apply(&mut partition, 300, PartitionEvent::BatchProcessed(Box::new(end)));
    let effects = apply(&mut partition, 400, creation(2));
    let [Effect::StartStep(again)] = &effects[..] else { panic!("{:?}", names(&effects)) };
    assert!(again.session > work.session, "what the former life left behind is stale");
    let accepted = durable(&mut partition, 401);
    assert!(matches!(answers(&accepted)[..], [ClientEvent::Creation { created: true, .. }]));
}

/// A transport may deliver a request twice, the second time when all is over.
#[test]
fn a_request_that_comes_twice_starts_nothing_a_second_time() {
    let mut partition = partition(&[]);
    let effects = apply(&mut partition, 100, creation(1));
    let [Effect::StartStep(work)] = &effects[..] else { panic!("{:?}", names(&effects)) };
    assert_eq!(names(&apply(&mut partition, 200, creation(1))), ["discarded"]);
    let end = processed(work, RuntimeStatus::Completed(Payload::encode(&()).expect("nothing")));
    apply(&mut partition, 300, PartitionEvent::BatchProcessed(Box::new(end)));
    assert_eq!(names(&apply(&mut partition, 400, creation(1))), ["discarded"]);
    let told = durable(&mut partition, 401);
    let created =
        |answer: &&&ClientEvent| matches!(answer, ClientEvent::Creation { created: true, .. });
    assert_eq!(answers(&told).iter().filter(created).count(), 3, "whoever asked is told the same");
}

/// Under global speculation nobody is told what a rollback can take back.
#[test]
fn a_question_is_answered_when_what_it_saw_is_committed() {
    let question = || {
        let (request, instance) = (RequestId { client: 0, number: 9 }, InstanceId::new("a!0"));
        PartitionEvent::StateRequestReceived { request, instance }
    };
    let mut bold = partition(&[("speculation", "global")]);
    assert_eq!(answers(&apply(&mut bold, 0, question())).len(), 1, "nothing was begun");
    apply(&mut bold, 200, creation(1));
    assert!(answers(&apply(&mut bold, 0, question())).is_empty());
    assert!(answers(&durable(&mut bold, 200)).is_empty(), "up to it is not beyond it");
    assert!(matches!(
        answers(&durable(&mut bold, 201))[..],
        [ClientEvent::Creation { .. }, ClientEvent::State { state: Some(_), .. }]
    ));
    assert_eq!(answers(&apply(&mut bold, 0, question())).len(), 1);
    let mut local = partition(&[("speculation", "local")]);
    apply(&mut local, 200, creation(1));
    assert_eq!(answers(&apply(&mut local, 0, question())).len(), 1, "as published");
}

/// A message of `a!0` to itself for later, as a timer is.
fn timer(fire_at: Timestamp) -> TimerMessage {
    let kind = EventKind::TimerFired { timer_id: 0, fire_at };
    let event = HistoryEvent { timestamp: fire_at, kind };
    TimerMessage { fire_at, message: InstanceMessage { event, ..start("a!0", 5) } }
}

#[test]
fn a_timer_fires_as_a_logged_event() {
    let mut partition = partition(&[]);
    let work = started(&mut partition);
    let fire_at = Timestamp::from_secs(60);
    let mut batch = processed(&work, RuntimeStatus::Running);
    batch.timers = vec![timer(fire_at)];
    let event = PartitionEvent::BatchProcessed(Box::new(batch));
    assert_eq!(names(&apply(&mut partition, 200, event)), ["alarm"]);
    assert_eq!(partition.next_timer(), Some(fire_at));
    assert!(partition.take_due_timer(Timestamp::from_secs(59)).is_none());
    let fired = partition.take_due_timer(fire_at).expect("due");
    assert!(fired.is_logged());
    assert!(partition.take_due_timer(fire_at).is_none(), "submitted once");
    assert_eq!(names(&apply(&mut partition, 300, fired.clone())), ["step"]);
    assert!(apply(&mut partition, 400, fired).is_empty(), "fired once");
}

#[test]
fn a_step_after_a_message_to_itself_waits_for_durability() {
    let mut partition = partition(&[]);
    let work = started(&mut partition);
    let mut batch = processed(&work, RuntimeStatus::Running);
    batch.messages = vec![timer(Timestamp::ZERO).message];
    let event = PartitionEvent::BatchProcessed(Box::new(batch));
    assert!(apply(&mut partition, 200, event).is_empty());
    let from_outside = received(2, vec![timer(Timestamp::ZERO).message]);
    assert!(apply(&mut partition, 300, from_outside).is_empty(), "it joins the batch");
    assert!(durable(&mut partition, 200).is_empty());
    let effects = durable(&mut partition, 201);
    let [Effect::Committed(..), Effect::StartStep(next)] = &effects[..] else {
        panic!("{:?}", names(&effects));
    };
    assert_eq!(next.messages.len(), 2);
}

#[test]
fn only_what_has_ended_can_be_removed() {
    let mut partition = partition(&[]);
    let deletion = |partition: &mut Partition, position| {
        let (request, phase) = (RequestId { client: 0, number: 1 }, Phase::ConfirmAndProcess);
        let instance = InstanceId::new("a!0");
        let event = PartitionEvent::DeletionRequestReceived { request, phase, instance };
        apply(partition, position, event);
        match answers(&durable(partition, position + 1))[..] {
            [ClientEvent::Deletion { deletion, .. }] => *deletion,
            ref other => panic!("{other:?}"),
        }
    };
    assert_eq!(deletion(&mut partition, 50), Deletion::Absent);
    let work = started(&mut partition);
    assert_eq!(deletion(&mut partition, 200), Deletion::Refused);
    let reason = RuntimeStatus::Terminated("enough".into());
    let end = PartitionEvent::BatchProcessed(Box::new(processed(&work, reason)));
    apply(&mut partition, 300, end);
    assert_eq!(deletion(&mut partition, 400), Deletion::Removed);
    assert_eq!(deletion(&mut partition, 500), Deletion::Absent);
    assert_eq!(partition.instance_count(), 0);
}

#[test]
fn an_entity_without_a_state_is_forgotten_once_its_messages_are_worked_off() {
    let mut partition = partition(&[]);
    let signal = |index| InstanceMessage { target: InstanceId::new("@E@k!0"), ..start("x", index) };
    let effects = apply(&mut partition, 100, received(1, vec![signal(0)]));
    let [Effect::StartStep(work)] = &effects[..] else { panic!("{:?}", names(&effects)) };
    assert!(apply(&mut partition, 150, received(2, vec![signal(1)])).is_empty());
    let gone = |work: &StepWork| {
        let mut batch = processed(work, RuntimeStatus::Running);
        (batch.deleted, batch.replaces_history) = (true, true);
        PartitionEvent::BatchProcessed(Box::new(batch))
    };
    let effects = apply(&mut partition, 200, gone(work));
    let [Effect::StartStep(work)] = &effects[..] else { panic!("{:?}", names(&effects)) };
    assert_eq!(partition.instance_count(), 1);
    assert!(partition.history(&work.instance).is_empty(), "the next step begins afresh");
    assert!(apply(&mut partition, 300, gone(work)).is_empty());
    assert_eq!(partition.instance_count(), 0);
}

/// Without speculation the effects of a step begin when it is durable; what it sends to other
/// partitions leaves under its first position, before whatever was logged later. A receiver would
/// take it for old otherwise.
#[test]
fn messages_leave_in_the_order_of_their_positions() {
    let sets = [("speculation", "none"), ("activity_scheduler", "static")];
    let (mut home, _) = loaded(&sets, 4);
    let mut effects = durable(&mut home, 201);
    let Some(Effect::Submit(persisted)) = effects.pop() else { panic!("{:?}", names(&effects)) };
    apply(&mut home, 210, persisted);
    let effects = apply(&mut home, 220, received(3, vec![start("b!0", 7)]));
    let [Effect::StartStep(work)] = &effects[..] else { panic!("{:?}", names(&effects)) };
    let mut batch = processed(work, RuntimeStatus::Running);
    batch.messages = vec![start("c!1", 8)];
    apply(&mut home, 230, PartitionEvent::BatchProcessed(Box::new(batch)));
    let decision = PartitionEvent::OffloadDecision { decided: Timestamp::from_millis(100) };
    apply(&mut home, 240, decision);
    let effects = durable(&mut home, 251);
    let positions: Vec<u64> = outgoing(&effects).map(|out| out.position).collect();
    assert_eq!(positions, [230, 240]);
    assert_eq!(sent(&effects).len(), 2);
    let Some(Effect::Submit(persisted)) =
        effects.into_iter().find(|effect| matches!(effect, Effect::Submit(_)))
    else {
        panic!("the step is submitted again");
    };
    assert!(sent(&apply(&mut home, 260, persisted)).is_empty(), "it was sent before");
}

const GLOBAL: &[(&str, &str)] = &[("speculation", "global")];

/// An event that partition 1 sent before it was committed.
fn early(position: u64, messages: Vec<InstanceMessage>) -> PartitionEvent {
    let mut event = received(position, messages);
    event.speculate(&[]);
    event
}

#[test]
fn what_is_durable_is_committed_when_its_origin_is() {
    let mut partition = partition(GLOBAL);
    let effects = apply(&mut partition, 100, early(70, vec![start("a!0", 0)]));
    let [Effect::StartStep(work)] = &effects[..] else { panic!("{:?}", names(&effects)) };
    let mut batch = processed(work, RuntimeStatus::Running);
    batch.messages = vec![start("b!1", 1)];
    let effects = apply(&mut partition, 200, PartitionEvent::BatchProcessed(Box::new(batch)));
    let [(1, sent)] = sent(&effects)[..] else { panic!("{:?}", names(&effects)) };
    let depends = &sent.origin().expect("from a partition").depends;
    let named: Vec<_> = depends.iter().map(|work| (work.partition, work.position)).collect();
    assert_eq!(named, [(0, 200), (1, 70)], "itself, and what its partition depends on");
    assert!(durable(&mut partition, 201).is_empty(), "durable, and not committed");
    let statement = |committed| {
        let epochs = vec![(64, 1)];
        PartitionEvent::OriginCommitted { partition: 1, epochs, committed }
    };
    assert!(apply(&mut partition, 0, statement(70)).is_empty(), "not yet");
    let effects = apply(&mut partition, 0, statement(71));
    assert_eq!(names(&effects), ["committed", "tell"]);
    let told = effects.iter().find_map(|effect| match effect {
        Effect::Tell(1, PartitionEvent::OriginCommitted { committed, .. }) => Some(*committed),
        _ => None,
    });
    assert_eq!(told, Some(201), "whoever was sent something early");
}

#[test]
fn a_void_promise_is_where_the_log_is_cut() {
    let mut partition = partition(GLOBAL);
    apply(&mut partition, 100, early(70, vec![start("a!0", 0)]));
    apply(&mut partition, 200, early(90, vec![start("c!0", 1)]));
    let lost = vec![(64, 1), (80, 2)];
    let statement = PartitionEvent::OriginCommitted { partition: 1, epochs: lost, committed: 65 };
    let effects = apply(&mut partition, 0, statement);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::RollBack(200))), "not 100");
    assert!(!partition.admits(&early(95, vec![start("d!0", 2)])), "lost too, and comes late");
}

#[test]
fn what_waited_out_of_caution_leaves_first() {
    let mut partition = cautious(GLOBAL, Timestamp::from_secs(5));
    let send = |partition: &mut Partition, at: u64, handling: Handling| {
        let key = format!("a{at}!0");
        let mut effects = Vec::new();
        let arrival = received(at, vec![start(&key, at as u32)]);
        partition.process(at, arrival.into(), handling, &mut effects);
        let Some(Effect::StartStep(work)) = effects.pop() else { panic!("a step begins") };
        let mut batch = processed(&work, RuntimeStatus::Running);
        batch.messages = vec![start("b!1", 100 + at as u32)];
        let event = PartitionEvent::BatchProcessed(Box::new(batch));
        partition.process(at + 1, event.into(), handling, &mut effects);
        outgoing(&effects).map(|out| out.position).collect::<Vec<_>>()
    };
    let later = Handling { begun: Timestamp::from_secs(5), ended: Timestamp::from_secs(5) };
    assert!(send(&mut partition, 100, NOW).is_empty());
    assert!(send(&mut partition, 200, NOW).is_empty());
    assert_eq!(send(&mut partition, 300, later), [101, 201, 301]);
    assert_eq!(send(&mut partition, 400, later), [401]);
}
