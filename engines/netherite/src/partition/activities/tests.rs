//! Activities alone.

use super::*;
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::payload::Payload;

fn call(event_id: u32) -> TaskMessage {
    TaskMessage {
        id: MessageId { producer: Producer::Client, index: event_id },
        caller: InstanceId::new("caller"),
        event_id,
        name: "work".into(),
        input: Payload::encode(&()).expect("nothing"),
        ledger: Ledger::new(Timestamp::ZERO),
    }
}

fn completed(activity: u64, at_ms: u64, reported_load: u32) -> ActivityCompleted {
    let ledger = Ledger::new(Timestamp::ZERO);
    let id = MessageId { producer: Producer::WorkItem(WorkItemId(0)), index: 0 };
    ActivityCompleted {
        activity,
        work_item: WorkItemId(0),
        origin: 0,
        timestamp: Timestamp::from_millis(at_ms),
        reported_load,
        response: call(activity as u32).response(id, Payload::encode(&()), ledger),
    }
}

/// Partition 3 with `count` activities added at instant 0, of which the first ten are started.
fn filled(placement: Placement, count: u32) -> Activities {
    let mut activities = Activities::new(placement, 10);
    let started = (0..count).filter_map(|n| activities.add(call(n), 3, Timestamp::ZERO)).count();
    assert_eq!(started, (count as usize).min(10));
    activities
}

fn end(activities: &mut Activities, activity: u64, at_ms: u64, reported_load: u32) -> Vec<u64> {
    let mut started = Vec::new();
    assert!(activities.complete(&completed(activity, at_ms, reported_load), &mut started));
    started.iter().map(|work| work.id).collect()
}

#[test]
fn a_completion_starts_what_the_reported_queue_allows() {
    let mut activities = filled(Placement::Local, 30);
    assert_eq!(end(&mut activities, 0, 5, 8), [10, 11]);
    assert_eq!(end(&mut activities, 1, 5, 10), [] as [u64; 0]);
    assert_eq!(end(&mut activities, 2, 5, 0).len(), 10);
    let mut none = Vec::new();
    assert!(!activities.complete(&completed(2, 5, 0), &mut none), "a result counts once");
}

#[test]
fn one_activity_may_always_run() {
    let mut activities = filled(Placement::Local, 12);
    (0..9).for_each(|id| assert_eq!(end(&mut activities, id, 5, 50), [] as [u64; 0]));
    assert_eq!(end(&mut activities, 9, 5, 50), [10], "nothing is pending");
}

#[test]
fn the_average_is_smoothed() {
    let mut activities = filled(Placement::Locavore, 3);
    end(&mut activities, 0, 1_000, 0);
    end(&mut activities, 1, 2_000, 0);
    let report = activities.report(3, Timestamp::from_secs(2)).expect("the first report");
    assert_eq!(report.average_completion, Some(Duration::from_millis(1_100)));
    assert_eq!((report.stationary, report.mobile), (1, 0));
}

#[test]
fn the_static_scheduler_deals_the_backlog_by_number() {
    let mut activities = filled(Placement::Static, 34);
    assert_eq!(activities.plan_offload(), Some(FIRST_OFFLOAD));
    assert_eq!(activities.plan_offload(), None, "one decision is planned already");
    let (leaving, next) = activities.offload(3, 12);
    let sizes: Vec<(u32, usize)> = leaving.iter().map(|(to, sent)| (*to, sent.len())).collect();
    // Numbers 10 to 33: two for each of twelve partitions, of which 15 and 27 are this one's.
    assert_eq!(sizes, (0..12).filter(|to| *to != 3).map(|to| (to, 2)).collect::<Vec<_>>());
    assert_eq!((activities.moved(), next), (22, Some(NEXT_OFFLOAD)));
    (0..2).for_each(|id| drop(end(&mut activities, id, 5, 9)));
    assert_eq!(activities.offload(3, 12), (BTreeMap::new(), None), "the backlog is empty");
}

#[test]
fn only_the_static_scheduler_plans_decisions() {
    for placement in [Placement::Local, Placement::Locavore] {
        assert_eq!(filled(placement, 40).plan_offload(), None);
    }
}

#[test]
fn a_command_moves_the_oldest_of_the_backlog_once() {
    let mut activities = filled(Placement::Locavore, 20);
    let command = Timestamp::from_secs(9);
    let moved = activities.transfer(command, 4).expect("a new command");
    assert_eq!(moved.iter().map(|task| task.event_id).collect::<Vec<_>>(), [10, 11, 12, 13]);
    assert!(activities.transfer(command, 4).is_none(), "delivered twice");
    let rest = activities.transfer(command + Duration::from_nanos(1), 40).expect("a new command");
    assert_eq!(rest.len(), 6, "what is left");
    assert_eq!(activities.moved(), 10);
}

#[test]
fn remotes_start_before_the_backlog_and_do_not_move_again() {
    let mut activities = filled(Placement::Locavore, 12);
    let mut started = Vec::new();
    activities.receive(vec![call(90), call(91)], 7, Timestamp::from_secs(4), &mut started);
    assert!(started.is_empty());
    let report = activities.report(3, Timestamp::from_secs(5)).expect("there is a backlog");
    assert_eq!((report.stationary, report.mobile), (12, 2));
    assert_eq!(report.received, [(7, Timestamp::from_secs(4))]);
    activities.complete(&completed(0, 5, 9), &mut started);
    assert_eq!((started[0].origin, started[0].message.event_id), (7, 90));
}

#[test]
fn reports_are_rare_unless_asked_for_or_there_is_a_backlog() {
    let reported = |activities: &mut Activities, ms| {
        activities.report(3, Timestamp::from_millis(ms)).is_some()
    };
    let mut idle = filled(Placement::Locavore, 1);
    assert_eq!(
        [0, 9_999, 10_000, 10_001].map(|ms| reported(&mut idle, ms)),
        [true, false, true, false]
    );
    idle.solicited(Timestamp::from_secs(11));
    let asked = [11_000, 11_001, 40_999, 41_001].map(|ms| reported(&mut idle, ms));
    assert_eq!(asked, [true, true, true, false]);
    let mut busy = filled(Placement::Locavore, 11);
    assert_eq!([0, 1, 2].map(|ms| reported(&mut busy, ms)), [true; 3]);
    let mut local = filled(Placement::Local, 11);
    assert!(!reported(&mut local, 0), "nobody to tell");
}
