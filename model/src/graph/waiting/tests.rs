//! What instances wait for, in graphs made by hand.

use super::*;
use crate::entity::{Caller, EntityRequest, LockRequest, Operation, RequestKind};
use crate::graph::GraphRecorder;
use crate::history::{EventKind, HistoryEvent, RaisedEvent};
use crate::ledger::Ledger;
use crate::message::{InstanceMessage, TaskMessage, TimerMessage};
use crate::orchestration::RuntimeStatus;
use crate::payload::Payload;
use crate::step::{Served, StepOutcome};
use std::rc::Rc;

const START: Timestamp = Timestamp::ZERO;

fn outcome() -> StepOutcome {
    StepOutcome::without_effects(RuntimeStatus::Running)
}

fn id(by: WorkItemId, index: u32) -> MessageId {
    MessageId { producer: Producer::WorkItem(by), index }
}

fn message(by: WorkItemId, index: u32, target: &str, kind: EventKind) -> InstanceMessage {
    let event = HistoryEvent { timestamp: START, kind };
    let target = InstanceId::new(target);
    InstanceMessage { id: id(by, index), target, event, ledger: Ledger::new(START) }
}

fn task(by: WorkItemId, index: u32, caller: &str) -> TaskMessage {
    TaskMessage {
        id: id(by, index),
        caller: InstanceId::new(caller),
        event_id: 0,
        name: "Work".into(),
        input: nothing(),
        ledger: Ledger::new(START),
    }
}

fn nothing() -> Payload {
    Payload::encode(&()).expect("null")
}

fn request(kind: RequestKind) -> EventKind {
    let request = Box::new(EntityRequest::unordered(kind));
    EventKind::EventRaised { event: RaisedEvent::Request(request) }
}

/// A step that consumes `messages`, or one of a client, and sends what `sends` says; committed.
fn step(
    recorder: &GraphRecorder,
    instance: &str,
    messages: &[MessageId],
    sends: impl FnOnce(WorkItemId, &mut StepOutcome),
) -> WorkItemId {
    let client = messages.is_empty().then(|| recorder.client_message());
    let messages = messages.iter().copied().chain(client);
    let id = recorder.fetch_step(&InstanceId::new(instance), None, messages, START);
    let mut outcome = outcome();
    sends(id, &mut outcome);
    recorder.executed_step(id, &outcome);
    recorder.committed(id);
    id
}

fn is_held(recorder: &GraphRecorder, instance: &str) -> bool {
    let graph = recorder.graph();
    OpenEnds::of(&graph, START).waiting(&InstanceId::new(instance)).held
}

fn waits(recorder: &GraphRecorder, instance: &str) -> (&'static str, String) {
    let graph = recorder.graph();
    let Waiting { kind, detail, .. } =
        OpenEnds::of(&graph, START).waiting(&InstanceId::new(instance));
    (kind, detail)
}

#[test]
fn an_instance_that_nobody_fetched_waits_for_its_start() {
    assert_eq!(waits(&GraphRecorder::default(), "a").0, "start");
}

#[test]
fn an_activity_is_waited_for_until_its_answer_is_in_flight() {
    let recorder = GraphRecorder::default();
    let first = step(&recorder, "a", &[], |id, out| out.tasks.push(task(id, 0, "a")));
    let (kind, detail) = waits(&recorder, "a");
    assert_eq!(kind, "activity");
    assert!(detail.ends_with("not fetched"), "{detail}");
    let activity = recorder.fetch_task(id(first, 0), START);
    assert!(waits(&recorder, "a").1.ends_with("not executed"));
    recorder.executed(activity, 1);
    assert!(waits(&recorder, "a").1.ends_with("not committed"));
    recorder.committed(activity);
    let (kind, detail) = waits(&recorder, "a");
    assert_eq!(kind, "message");
    assert!(detail.contains("from work item 1 (a task), in flight"), "{detail}");
    let answer = [id(activity, 0)].into_iter();
    recorder.fetch_step(&InstanceId::new("a"), Some(first), answer, START);
    let (kind, detail) = waits(&recorder, "a");
    assert_eq!(
        (kind, detail.contains("fetched at 0.000000000 s and not executed")),
        ("step", true)
    );
}

#[test]
fn an_attempt_that_was_lost_is_not_waited_for_once_another_is_committed() {
    let recorder = GraphRecorder::default();
    let message = recorder.client_message();
    let lost = recorder.fetch_step(&InstanceId::new("a"), None, [message].into_iter(), START);
    recorder.executed_step(lost, &outcome());
    assert_eq!(waits(&recorder, "a").0, "step");
    step(&recorder, "a", &[message], |id, out| out.tasks.push(task(id, 0, "a")));
    assert_eq!(waits(&recorder, "a").0, "activity");
}

#[test]
fn a_timer_is_waited_for_until_it_is_due() {
    let recorder = GraphRecorder::default();
    let due = Timestamp::from_secs(5);
    step(&recorder, "a", &[], |by, out| {
        let kind = EventKind::TimerFired { timer_id: 0, fire_at: due };
        out.timers.push(TimerMessage { fire_at: due, message: message(by, 0, "a", kind) });
    });
    assert_eq!(waits(&recorder, "a"), ("timer", "a timer due at 5.000000000 s".to_owned()));
    let graph = recorder.graph();
    let late = OpenEnds::of(&graph, due).waiting(&InstanceId::new("a"));
    assert!(late.detail.contains("has not fired"), "{}", late.detail);
}

#[test]
fn nothing_open_means_an_event_that_nobody_has_sent() {
    let recorder = GraphRecorder::default();
    step(&recorder, "a", &[], |_, _| ());
    assert_eq!(waits(&recorder, "a").0, "event");
}

#[test]
fn a_chain_of_orchestrations_is_followed() {
    let recorder = GraphRecorder::default();
    let start = EventKind::execution_started("Child".into(), nothing());
    let first =
        step(&recorder, "a", &[], |by, out| out.messages.push(message(by, 0, "a:0", start)));
    let (kind, detail) = waits(&recorder, "a");
    assert_eq!(kind, "orchestration");
    assert!(detail.ends_with("is in flight"), "{detail}");
    step(&recorder, "a:0", &[id(first, 0)], |by, out| out.tasks.push(task(by, 0, "a:0")));
    let (_, detail) = waits(&recorder, "a");
    assert!(detail.starts_with("the end of a:0: it waits for an activity"), "{detail}");
}

fn section(owner: &str) -> SectionId {
    SectionId { owner: InstanceId::new(owner), event_id: 0 }
}

fn lock(recorder: &GraphRecorder, owner: &str) -> WorkItemId {
    let request = request(RequestKind::Lock(LockRequest {
        section: section(owner),
        entities: vec![EntityId::new("E", "x")],
        position: 0,
        cancelled: false,
    }));
    step(recorder, owner, &[], |by, out| out.messages.push(message(by, 0, "@E@x", request)))
}

#[test]
fn a_lock_tells_who_holds_it() {
    let recorder = GraphRecorder::default();
    let (holder, waiting) = (lock(&recorder, "holder"), lock(&recorder, "waiting"));
    let held = Served { now: START, operations: Vec::new(), locked_by: Some(section("holder")) };
    step(&recorder, "@E@x", &[id(holder, 0), id(waiting, 0)], |by, out| {
        let result = Ok(nothing());
        let event = RaisedEvent::Answer { event_id: 0, result };
        out.messages.push(message(by, 0, "holder", EventKind::EventRaised { event }));
        out.served = Some(Rc::new(held));
    });
    let (kind, detail) = waits(&recorder, "waiting");
    assert_eq!(kind, "lock");
    let expected = "the grant of its locks: @E@x is locked by critical section 0 of holder";
    assert_eq!(detail, expected);
    assert!(is_held(&recorder, "waiting") && !is_held(&recorder, "holder"));
    assert_eq!(waits(&recorder, "holder").0, "message", "its grant is in flight");
}

#[test]
fn a_call_of_a_locked_entity_tells_who_holds_it() {
    let recorder = GraphRecorder::default();
    let call = request(RequestKind::Operation(Operation {
        name: "Get".into(),
        input: nothing(),
        caller: Some(Caller { instance: InstanceId::new("a"), event_id: 3 }),
        section: None,
        scheduled: None,
    }));
    let first =
        step(&recorder, "a", &[], |by, out| out.messages.push(message(by, 0, "@E@x", call)));
    let (kind, detail) = waits(&recorder, "a");
    assert_eq!(kind, "entity");
    assert!(detail.ends_with("to @E@x is in flight"), "{detail}");
    let held = Served { now: START, operations: Vec::new(), locked_by: Some(section("b")) };
    step(&recorder, "@E@x", &[id(first, 0)], |_, out| out.served = Some(Rc::new(held)));
    let (_, detail) = waits(&recorder, "a");
    let expected = "the answer of @E@x to Get: @E@x is locked by critical section 0 of b";
    assert_eq!(detail, expected);
}

/// An operation of `owner` in its critical section.
fn call_in(recorder: &GraphRecorder, owner: &str) -> MessageId {
    let call = request(RequestKind::Operation(Operation {
        name: "Add".into(),
        input: nothing(),
        caller: Some(Caller { instance: InstanceId::new(owner), event_id: 3 }),
        section: Some(section(owner)),
        scheduled: None,
    }));
    let by = step(recorder, owner, &[], |by, out| out.messages.push(message(by, 0, "@E@x", call)));
    id(by, 0)
}

/// A step of the entity that leaves it locked by `owner`.
fn locked(recorder: &GraphRecorder, messages: &[MessageId], owner: &str) {
    let locked_by = Some(section(owner));
    let held = Served { now: START, operations: Vec::new(), locked_by };
    step(recorder, "@E@x", messages, |_, out| out.served = Some(Rc::new(held)));
}

#[test]
fn an_operation_that_came_before_its_lock_is_behind_those_who_wait_for_it() {
    // The step that granted the lock to "early" was lost: "first" has it when the operation comes.
    let recorder = GraphRecorder::default();
    let [first, early, other] =
        ["first", "early", "other"].map(|owner| id(lock(&recorder, owner), 0));
    locked(&recorder, &[first, early, other], "first");
    let call = call_in(&recorder, "early");
    locked(&recorder, &[call], "first");
    assert!(waits(&recorder, "early").1.ends_with("@E@x is locked by critical section 0 of first"));
    let release = recorder.client_message();
    locked(&recorder, &[release], "early");
    let (kind, detail) = waits(&recorder, "early");
    let expected = "the answer of @E@x to Add: @E@x was locked by critical section 0 of first \
                    when it came, and others wait for the lock";
    assert_eq!((kind, &*detail), ("entity", expected));
    assert!(is_held(&recorder, "early"));
}

#[test]
fn an_operation_that_comes_with_the_request_for_its_lock_is_behind_those_who_asked_before_it() {
    // The step that granted the lock to "early" was lost, and what it had taken comes again together with
    // what came meanwhile, the operation last.
    let recorder = GraphRecorder::default();
    let [early, other] = ["early", "other"].map(|owner| id(lock(&recorder, owner), 0));
    let call = call_in(&recorder, "early");
    locked(&recorder, &[early, other, call], "early");
    let (kind, detail) = waits(&recorder, "early");
    let expected = "the answer of @E@x to Add: @E@x was not locked when it came, and others wait \
                    for the lock";
    assert_eq!((kind, &*detail), ("entity", expected));
    assert!(is_held(&recorder, "early"));

    // Whoever asks for the lock later is behind the operation: it has run, or its answer was lost.
    let late = GraphRecorder::default();
    let early = id(lock(&late, "early"), 0);
    let call = call_in(&late, "early");
    locked(&late, &[early, call], "early");
    let other = id(lock(&late, "other"), 0);
    locked(&late, &[other], "early");
    assert!(!is_held(&late, "early"));
}

#[test]
fn an_operation_under_its_lock_waits_for_nobody() {
    // Nobody else asked for the lock, or it was there when the operation came: its answer was lost.
    let alone = GraphRecorder::default();
    let [first, early] = ["first", "early"].map(|owner| id(lock(&alone, owner), 0));
    locked(&alone, &[first, early], "first");
    let call = call_in(&alone, "early");
    locked(&alone, &[call], "first");
    let release = alone.client_message();
    locked(&alone, &[release], "early");
    assert!(!is_held(&alone, "early"));

    let in_time = GraphRecorder::default();
    let [early, other] = ["early", "other"].map(|owner| id(lock(&in_time, owner), 0));
    locked(&in_time, &[early, other], "early");
    let call = call_in(&in_time, "early");
    locked(&in_time, &[call], "early");
    assert_eq!(waits(&in_time, "early").1, "the answer of @E@x to Add");
    assert!(!is_held(&in_time, "early"));
}
