//! Histories that the rules must accept, and histories that they must reject.

use super::*;
use crate::graph::GraphRecorder;
use crate::id::InstanceId;

use crate::error::ApplicationError;
use crate::history::{EventKind, HistoryEvent};
use crate::ledger::Ledger;
use crate::message::{InstanceMessage, TimerMessage};
use crate::orchestration::RuntimeStatus;
use crate::step::StepOutcome;

const NOW: Timestamp = Timestamp::ZERO;

fn produced(by: WorkItemId, index: u32) -> MessageId {
    MessageId { producer: Producer::WorkItem(by), index }
}

fn commit(recorder: &GraphRecorder, id: WorkItemId, produced: u32) {
    recorder.executed(id, produced);
    recorder.committed(id);
}

/// A legal run: client -> step -> task -> step.
fn legal() -> (GraphRecorder, InstanceId, [WorkItemId; 3]) {
    let recorder = GraphRecorder::default();
    let instance = InstanceId::new("i");
    let start = recorder.client_message();
    let first = recorder.fetch_step(&instance, None, [start].into_iter(), NOW);
    commit(&recorder, first, 1);
    let task = recorder.fetch_task(produced(first, 0), NOW);
    commit(&recorder, task, 1);
    let messages = [produced(task, 0)].into_iter();
    let second = recorder.fetch_step(&instance, Some(first), messages, NOW);
    commit(&recorder, second, 0);
    (recorder, instance, [first, task, second])
}

fn findings(recorder: &GraphRecorder) -> [bool; 5] {
    let graph = recorder.graph();
    [
        exactly_once(&graph, is_step).is_some(),
        exactly_once(&graph, is_task).is_some(),
        no_message_lost(&graph, NOW).is_some(),
        serial_instances(&graph).is_some(),
        causally_consistent_commit(&graph).is_some(),
    ]
}

#[test]
fn a_legal_run_breaks_no_rule() {
    assert_eq!(findings(&legal().0), [false; 5]);
}

#[test]
fn aborted_attempts_break_no_rule() {
    let (recorder, instance, [first, task, second]) = legal();
    let again = recorder.fetch_task(produced(first, 0), NOW);
    recorder.executed(again, 1);
    recorder.aborted(again);
    let messages = [produced(task, 0)].into_iter();
    let stale = recorder.fetch_step(&instance, Some(second), messages, NOW);
    recorder.aborted(stale);
    assert_eq!(findings(&recorder), [false; 5]);
}

#[test]
fn a_task_that_is_committed_twice_is_found() {
    let (recorder, _, [first, ..]) = legal();
    let again = recorder.fetch_task(produced(first, 0), NOW);
    commit(&recorder, again, 0);
    assert_eq!(findings(&recorder), [false, true, false, false, false]);
}

#[test]
fn a_message_consumed_by_two_steps_is_found() {
    let (recorder, instance, [_, task, second]) = legal();
    let messages = [produced(task, 0)].into_iter();
    let again = recorder.fetch_step(&instance, Some(second), messages, NOW);
    commit(&recorder, again, 0);
    assert_eq!(findings(&recorder), [true, false, false, false, false]);
}

#[test]
fn a_lost_message_is_found_and_a_dropped_one_is_not() {
    let (recorder, ..) = legal();
    let lost = recorder.client_message();
    assert_eq!(findings(&recorder), [false, false, true, false, false]);
    recorder.discarded(lost);
    assert_eq!(findings(&recorder), [false; 5]);
}

#[test]
fn an_answer_nobody_consumed_is_found() {
    let (recorder, _, [_, _, second]) = legal();
    let task = recorder.fetch_task(recorder.client_message(), NOW);
    commit(&recorder, task, 1);
    let (count, violation) = no_message_lost(&recorder.graph(), NOW).expect("lost");
    assert_eq!((count, violation.at), (1, task));
    assert!(task > second);
}

#[test]
fn two_steps_from_one_state_are_found() {
    let (recorder, instance, [first, ..]) = legal();
    let messages = [recorder.client_message()].into_iter();
    let fork = recorder.fetch_step(&instance, Some(first), messages, NOW);
    commit(&recorder, fork, 0);
    assert_eq!(findings(&recorder), [false, false, false, true, false]);
    let graph = recorder.graph();
    let (_, violation) = serial_instances(&graph).expect("a fork");
    assert!(violation.detail.contains("state written by work item 0"), "{}", violation.detail);
}

#[test]
fn a_commit_before_its_cause_is_found() {
    let recorder = GraphRecorder::default();
    let instance = InstanceId::new("i");
    let messages = [recorder.client_message()].into_iter();
    let step = recorder.fetch_step(&instance, None, messages, NOW);
    recorder.executed(step, 1);
    let task = recorder.fetch_task(produced(step, 0), NOW);
    commit(&recorder, task, 0);
    assert!(findings(&recorder)[4], "the cause is not committed at all");
    recorder.committed(step);
    assert!(findings(&recorder)[4], "the cause is committed later");
}

#[test]
fn a_commit_that_depends_on_an_aborted_item_is_found() {
    let recorder = GraphRecorder::default();
    let lost = recorder.fetch_task(recorder.client_message(), NOW);
    recorder.executed(lost, 1);
    recorder.aborted(lost);
    let task = recorder.fetch_task(produced(lost, 0), NOW);
    commit(&recorder, task, 0);
    let graph = recorder.graph();
    let (_, violation) = causally_consistent_commit(&graph).expect("a breach");
    assert!(violation.detail.contains("aborted"), "{}", violation.detail);
}

/// A step of `i` that consumes a message of a client, and ends its life or not.
fn life(recorder: &GraphRecorder, predecessor: Option<WorkItemId>, ends: bool) -> WorkItemId {
    let messages = [recorder.client_message()].into_iter();
    let instance = InstanceId::new("i");
    let id = recorder.fetch_step(&instance, predecessor, messages, NOW);
    let status = if ends {
        RuntimeStatus::Failed(ApplicationError::user("the end"))
    } else {
        RuntimeStatus::Running
    };
    recorder.executed_step(id, &outcome(status, Vec::new()));
    recorder.committed(id);
    id
}

fn outcome(status: RuntimeStatus, timers: Vec<TimerMessage>) -> StepOutcome {
    StepOutcome { timers, ..StepOutcome::without_effects(status) }
}

fn forks(recorder: &GraphRecorder) -> Option<String> {
    let finding = serial_instances(&recorder.graph());
    finding.map(|(_, violation)| violation.detail)
}

#[test]
fn a_life_may_begin_after_the_end_of_another_one() {
    let recorder = GraphRecorder::default();
    for _ in 0..3 {
        let first = life(&recorder, None, false);
        life(&recorder, Some(first), true);
    }
    assert_eq!(forks(&recorder), None);
    life(&recorder, None, false);
    assert_eq!(forks(&recorder), None);
    life(&recorder, None, false);
    assert!(forks(&recorder).expect("a fork").ends_with("both continued from no state"));
}

#[test]
fn a_life_that_begins_before_the_end_of_another_one_is_found() {
    let recorder = GraphRecorder::default();
    let first = life(&recorder, None, false);
    life(&recorder, None, false);
    life(&recorder, Some(first), true);
    assert!(forks(&recorder).expect("a fork").ends_with("both continued from no state"));
}

#[test]
fn a_removed_instance_may_begin_again_once() {
    let recorder = GraphRecorder::default();
    life(&recorder, None, false);
    recorder.removed(&InstanceId::new("i"));
    recorder.removed(&InstanceId::new("nobody"));
    life(&recorder, None, false);
    assert_eq!(forks(&recorder), None);
    life(&recorder, None, false);
    assert!(forks(&recorder).is_some());
}

#[test]
fn going_on_from_the_state_of_an_ended_life_or_of_another_instance_is_found() {
    let recorder = GraphRecorder::default();
    let first = life(&recorder, None, true);
    life(&recorder, Some(first), false);
    assert!(forks(&recorder).expect("no state").contains("left no state for it"));

    let recorder = GraphRecorder::default();
    let first = life(&recorder, None, false);
    let messages = [recorder.client_message()].into_iter();
    let other = recorder.fetch_step(&InstanceId::new("j"), Some(first), messages, NOW);
    commit(&recorder, other, 0);
    assert!(forks(&recorder).expect("another's state").contains("left no state for it"));
}

/// A step that has sent a message for later, and that message.
fn timer(recorder: &GraphRecorder, due: Timestamp) -> (WorkItemId, MessageId) {
    let messages = [recorder.client_message()].into_iter();
    let id = recorder.fetch_step(&InstanceId::new("i"), None, messages, NOW);
    let kind = EventKind::TimerFired { timer_id: 0, fire_at: due };
    let message = InstanceMessage {
        id: produced(id, 0),
        target: InstanceId::new("i"),
        event: HistoryEvent { timestamp: due, kind },
        ledger: Ledger::new(due),
    };
    let timers = vec![TimerMessage { fire_at: due, message }];
    recorder.executed_step(id, &outcome(RuntimeStatus::Running, timers));
    recorder.committed(id);
    (id, produced(id, 0))
}

#[test]
fn a_timer_is_lost_only_once_it_is_due() {
    let recorder = GraphRecorder::default();
    let due = Timestamp::from_secs(5);
    let (first, message) = timer(&recorder, due);
    let lost = |now| no_message_lost(&recorder.graph(), now).map(|(count, _)| count);
    assert_eq!(lost(due.before(std::time::Duration::from_nanos(1))), None);
    assert_eq!(lost(due), Some(1));
    let messages = [message].into_iter();
    let second = recorder.fetch_step(&InstanceId::new("i"), Some(first), messages, due);
    commit(&recorder, second, 0);
    assert_eq!(lost(due), None);
    assert_eq!(no_timer_early(&recorder.graph()), None);
}

#[test]
fn a_timer_that_fires_early_is_found() {
    let recorder = GraphRecorder::default();
    let (first, message) = timer(&recorder, Timestamp::from_secs(5));
    let early = Timestamp::from_secs(4);
    let messages = [message].into_iter();
    let second = recorder.fetch_step(&InstanceId::new("i"), Some(first), messages, early);
    commit(&recorder, second, 0);
    let graph = recorder.graph();
    let (count, violation) = no_timer_early(&graph).expect("it is early");
    assert_eq!((count, violation.at), (1, second));
    assert!(violation.detail.ends_with("due at 5.000000000 s"), "{}", violation.detail);
}

/// A recorder whose clock stands at the instant of each fetch, and a host for every second of it.
fn with_moments() -> (GraphRecorder, std::rc::Rc<std::cell::Cell<Timestamp>>) {
    let now = std::rc::Rc::new(std::cell::Cell::new(NOW));
    let (clock, host) = (now.clone(), now.clone());
    let recorder = GraphRecorder::with_moments(
        move || clock.get(),
        move || Some((host.get().as_nanos() / 1_000_000_000) as u32 % 2),
    );
    recorder.name_places(["host-0".to_owned(), "host-1".to_owned()]);
    (recorder, now)
}

fn send(by: WorkItemId, index: u32, target: &str) -> InstanceMessage {
    let kind = EventKind::ExecutionResumed { reason: "x".into() };
    InstanceMessage {
        id: produced(by, index),
        target: InstanceId::new(target),
        event: HistoryEvent { timestamp: NOW, kind },
        ledger: Ledger::new(NOW),
    }
}

/// A step of `from` that sends two messages to `to`, committed.
fn sender(recorder: &GraphRecorder, from: &str, to: &str) -> WorkItemId {
    let messages = [recorder.client_message()].into_iter();
    let id = recorder.fetch_step(&InstanceId::new(from), None, messages, NOW);
    let outcome = StepOutcome {
        messages: vec![send(id, 0, to), send(id, 1, to)],
        ..outcome(RuntimeStatus::Running, Vec::new())
    };
    recorder.executed_step(id, &outcome);
    recorder.committed(id);
    id
}

fn receive(
    recorder: &GraphRecorder,
    predecessor: Option<WorkItemId>,
    messages: &[MessageId],
) -> WorkItemId {
    let messages = messages.iter().copied();
    let id = recorder.fetch_step(&InstanceId::new("to"), predecessor, messages, NOW);
    commit(recorder, id, 0);
    id
}

#[test]
fn messages_in_the_order_they_were_sent_are_accepted() {
    let recorder = GraphRecorder::default();
    let (one, other) = (sender(&recorder, "from", "to"), sender(&recorder, "other", "to"));
    let first = receive(&recorder, None, &[produced(one, 0), produced(other, 0)]);
    receive(&recorder, Some(first), &[produced(other, 1), produced(one, 1)]);
    let (pairs, finding) = fifo_between_instances(&recorder.graph());
    assert_eq!((pairs.messages, pairs.pairs, finding), (4, 2, None));
}

#[test]
fn a_message_that_is_overtaken_is_found() {
    let recorder = GraphRecorder::default();
    let one = sender(&recorder, "from", "to");
    let first = receive(&recorder, None, &[produced(one, 1)]);
    let second = receive(&recorder, Some(first), &[produced(one, 0)]);
    let (_, finding) = fifo_between_instances(&recorder.graph());
    let (count, violation) = finding.expect("it was overtaken");
    assert_eq!((count, violation.at), (1, second));
    assert!(violation.detail.contains("which from had sent later"), "{}", violation.detail);
}

#[test]
fn a_violation_tells_who_where_and_when() {
    let (recorder, now) = with_moments();
    let instance = InstanceId::new("order-17");
    let start = recorder.client_message();
    let at = |seconds| {
        now.set(Timestamp::from_secs(seconds));
        now.get()
    };
    let step = recorder.fetch_step(&instance, None, [start].into_iter(), at(1));
    commit(&recorder, step, 1);
    let message = produced(step, 0);
    let first = recorder.fetch_task(message, at(2));
    commit(&recorder, first, 0);
    let second = recorder.fetch_task(message, at(3));
    at(4);
    commit(&recorder, second, 0);
    let graph = recorder.graph();
    let (_, violation) = exactly_once(&graph, is_task).expect("it was consumed twice");
    assert_eq!(
        violation.history,
        [
            "1.000000000 s  a step of order-17 on host-1 sends message 0 of work item 0",
            "2.000000000 s  work item 1 (a task) is fetched on host-0 with message 0 of work item 0",
            "2.000000000 s  work item 1 is committed, as number 1 of the run",
            "3.000000000 s  work item 2 (a task) is fetched on host-1 with message 0 of work item 0",
            "4.000000000 s  work item 2 is committed, as number 2 of the run",
        ]
    );
}

#[test]
fn a_lost_message_tells_the_attempts_at_it() {
    let (recorder, now) = with_moments();
    let task = recorder.fetch_task(recorder.client_message(), NOW);
    commit(&recorder, task, 1);
    now.set(Timestamp::from_secs(2));
    let message = produced(task, 0);
    let attempt =
        recorder.fetch_step(&InstanceId::new("i"), None, [message].into_iter(), now.get());
    recorder.aborted(attempt);
    let (_, violation) = no_message_lost(&recorder.graph(), now.get()).expect("it is lost");
    let history = violation.history.join("\n");
    assert!(history.contains("a task on host-0 sends message 0 of work item 0"), "{history}");
    assert!(history.contains("work item 1 (a step of i) is fetched on host-0 with"), "{history}");
    assert!(history.contains("work item 1 is given up"), "{history}");
    let end = "no committed work item consumed message 0 of work item 0";
    assert!(history.ends_with(end), "{history}");
}

#[test]
fn what_was_sent_after_the_instant_of_judging_may_be_in_flight() {
    let (recorder, now) = with_moments();
    let [at_rest, later] = [1, 2].map(Timestamp::from_secs);
    let lost = |at| no_message_lost(&recorder.graph(), at).map(|(count, _)| count);
    let task = recorder.fetch_task(recorder.client_message(), NOW);
    commit(&recorder, task, 1);
    now.set(later);
    recorder.client_message();
    let answer = [produced(task, 0)].into_iter();
    let step = recorder.fetch_step(&InstanceId::new("i"), None, answer, later);
    commit(&recorder, step, 1);
    assert_eq!(lost(at_rest), None);
    assert_eq!(lost(later), Some(2), "of the client and of the step");
    // What goes on later is no excuse for what was sent until then.
    now.set(at_rest);
    recorder.client_message();
    let task = recorder.fetch_task(recorder.client_message(), at_rest);
    commit(&recorder, task, 1);
    now.set(later);
    let attempt = [produced(task, 0)].into_iter();
    recorder.aborted(recorder.fetch_step(&InstanceId::new("j"), None, attempt, later));
    assert_eq!(lost(at_rest), Some(2), "of the client and of the task");
}

#[test]
fn every_rule_tells_a_history() {
    let (recorder, instance, [first, _, second]) = legal();
    let again = recorder.fetch_step(&instance, Some(first), [].into_iter(), NOW);
    commit(&recorder, again, 1);
    let graph = recorder.graph();
    let (_, fork) = serial_instances(&graph).expect("a fork");
    assert_eq!(fork.history.len(), 5, "{:?}", fork.history);
    let (_, lost) = no_message_lost(&graph, NOW).expect("nobody took it");
    assert!(lost.history.last().is_some_and(|line| line.contains("nobody fetched")), "{lost:?}");
    assert!(second < again);
}
