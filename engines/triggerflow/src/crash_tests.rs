//! What a crash of the worker does under each discipline: one test for each cell of the table in
//! `docs/engines/triggerflow.md`. A worker's state machine runs over bytes in maps; a crash drops it
//! between two phases of a firing, and a new one starts from the bytes.

use crate::event::{Event, EventId, Kind, Position, TaskCall};
use crate::open_positions::OpenPositions;
use crate::plan::{Phase, Plan, Rules};
use crate::settings::Discipline;
use crate::trigger::{Effects, Trigger, TriggerId};
use crate::workspace::{Logic, Taken, Workspace};
use bytes::Bytes;
use sim_model::codec::{decode, encode};
use sim_model::history::{EventKind, HistoryEvent, RaisedEvent};
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::message::InstanceMessage;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::time::Timestamp;
use sim_model::workflow::{Calls, Dag, DagTask, Joins, State, StateMachine, Workflow};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

const V1: Rules = rules(Discipline::V1, false);
const V2: Rules = rules(Discipline::V2, false);
const V3: Rules = rules(Discipline::V3, false);
const V4: Rules = rules(Discipline::V4, false);
const V1_LOG: Rules = rules(Discipline::V1, true);
const V4_LOG: Rules = rules(Discipline::V4, true);

const fn rules(discipline: Discipline, positional: bool) -> Rules {
    let v4 = matches!(discipline, Discipline::V4);
    Rules {
        discipline,
        positional,
        dedup: v4,
        applied_ids: v4,
        ordered_commit: v4,
        broker_local_events: v4,
        set_aside: v4,
        dirty_checkpoints: v4,
        redeliveries: 2,
    }
}

/// Where the worker crashes: before this phase of this firing, both counted from 0.
type Crash = Option<(usize, usize)>;

/// A workspace, its stores, and what its workers did.
struct Scene {
    rules: Rules,
    workflow: Workflow,
    triggers: BTreeMap<TriggerId, Bytes>,
    stream: BTreeMap<Position, Bytes>,
    acknowledged: BTreeSet<Position>,
    offset: Position,
    /// Fired triggers, with how many different events they had taken in since they last fired.
    fired: Vec<(TriggerId, usize)>,
    invoked: Vec<TaskCall>,
    finished: usize,
    ended: Option<RuntimeStatus>,
    items: u32,
    messages: u32,
}

impl Scene {
    fn new(rules: Rules, workflow: Workflow) -> Scene {
        let triggers = Logic::of(Some(&workflow)).triggers(Position::default()).into_iter();
        Scene {
            rules,
            triggers: triggers.map(|trigger| (trigger.id.clone(), encode(&trigger))).collect(),
            workflow,
            stream: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            offset: Position::default(),
            fired: Vec::new(),
            invoked: Vec::new(),
            finished: 0,
            ended: None,
            items: 0,
            messages: 0,
        }
    }

    fn append(&mut self, event: &Event) {
        let last = self.stream.keys().next_back().map_or(0, |position| position.1);
        let next = last.max(self.messages as u64) + 1;
        self.messages += 1;
        self.stream.insert(Position(0, next), encode(event));
    }

    fn message(&mut self, kind: EventKind) -> Event {
        let id = MessageId { producer: Producer::Client, index: self.messages };
        let event = HistoryEvent { timestamp: Timestamp::ZERO, kind };
        let (target, ledger) = (InstanceId::new("run"), Ledger::new(Timestamp::ZERO));
        Event::of_message(InstanceMessage { id, target, event, ledger })
    }

    fn start(mut self) -> Scene {
        let input = Payload::encode(&()).expect("nothing");
        let event = self.message(EventKind::execution_started("Run".into(), input));
        self.append(&event);
        self
    }

    fn raise(&mut self, subjects: &[u32]) -> &mut Scene {
        for subject in subjects {
            let (name, input) =
                (subject.to_string().into(), Payload::encode(&()).expect("nothing"));
            let event = RaisedEvent::External { name, input };
            let event = self.message(EventKind::EventRaised { event });
            self.append(&event);
        }
        self
    }

    /// Functions that were invoked end.
    fn run_functions(&mut self) -> &mut Scene {
        for call in self.invoked.split_off(self.finished) {
            let producer = Producer::WorkItem(WorkItemId(1_000 + self.messages));
            let id = MessageId { producer, index: 0 };
            let result = Ok(call.task.input.clone());
            let response = call.task.response(id, result, Ledger::new(Timestamp::ZERO));
            self.append(&Event::termination(&call, response));
            self.invoked.push(call);
        }
        self.finished = self.invoked.len();
        self
    }

    /// A worker starts and takes what is in the stream, until it has done all or crashes.
    fn live(&mut self, crash: Crash) -> &mut Scene {
        let decoded = |bytes: &Bytes| decode::<Trigger>(bytes).expect("a trigger");
        let stored: Vec<Trigger> = self.triggers.values().map(decoded).collect();
        let logic = Logic::of(Some(&self.workflow));
        let mut worker = Workspace::new(InstanceId::new("run"), self.rules, logic, stored);
        let (mut waiting, mut open) = (VecDeque::new(), OpenPositions::default());
        let mut received = BTreeSet::new();
        for (position, body) in self.stream.clone() {
            let event: Event = decode(&body).expect("an event");
            if self.acknowledged.contains(&position) || position <= self.offset {
                worker.note_acknowledged(&event);
                continue;
            }
            open.receive(position);
            received.insert(position);
            waiting.push_back((event, Some(position)));
        }
        let entries: Vec<(Event, Position)> =
            waiting.iter().map(|(event, at)| (event.clone(), at.expect("a position"))).collect();
        for recovery in worker.recover(&entries) {
            let done = |id: &EventId| recovery.acknowledged.iter().any(|(own, _)| own == id);
            waiting.retain(|(event, _)| !done(&event.id));
            self.act(&recovery.effects, &mut waiting);
            self.acknowledge(&recovery.acknowledged, &mut open);
        }
        let mut firings = 0;
        while let Some((event, position)) = waiting.pop_front() {
            let Taken::Fires(mut firing) = worker.take(event, position) else { continue };
            let distinct: BTreeSet<EventId> =
                firing.acknowledged.iter().map(|(id, _)| *id).collect();
            for id in &firing.triggers {
                self.fired.push((id.clone(), distinct.len()));
            }
            let item = WorkItemId(self.items);
            self.items += 1;
            let effects = worker.act(&mut firing, item, Ledger::new(Timestamp::ZERO));
            worker.leave_outbox(&firing, item, &effects);
            let plan = Plan::of(&mut worker, &firing);
            let phases = plan.main_loop.into_iter().chain(plan.committer);
            for (number, phase) in phases.enumerate() {
                if crash == Some((firings, number)) {
                    return self;
                }
                match phase {
                    Phase::Act => self.act(&effects, &mut waiting),
                    Phase::WriteEach(contexts) | Phase::WriteTogether(contexts) => {
                        self.triggers.extend(contexts);
                    }
                    Phase::Acknowledge(events) => self.acknowledge(&events, &mut open),
                    Phase::Retire(_) => unreachable!("no coordinators here"),
                    Phase::RemoveTriggers(ids) => {
                        ids.iter().for_each(|id| drop(self.triggers.remove(id)));
                    }
                    Phase::DeleteReceived => {
                        received.iter().for_each(|at| drop(self.stream.remove(at)));
                    }
                    Phase::Acknowledged(triggers, events) => {
                        worker.triggers.forget(&triggers, &events);
                    }
                    Phase::Committed => {}
                }
            }
            firings += 1;
            if crash == Some((firings, 0)) {
                return self;
            }
        }
        self
    }

    fn act(&mut self, effects: &Effects, queue: &mut VecDeque<(Event, Option<Position>)>) {
        self.invoked.extend(effects.calls.iter().cloned());
        for local in &effects.locals {
            if self.rules.broker_local_events {
                self.append(local);
                let (position, _) = self.stream.last_key_value().expect("just appended");
                queue.push_back((local.clone(), Some(*position)));
            } else {
                queue.push_back((local.clone(), None));
            }
        }
        self.ended = self.ended.take().or_else(|| effects.ended.clone());
    }

    fn acknowledge(&mut self, events: &[(EventId, Option<Position>)], open: &mut OpenPositions) {
        let positions: Vec<Position> = events.iter().filter_map(|(_, at)| *at).collect();
        if !self.rules.positional {
            self.acknowledged.extend(positions);
        } else if self.rules.is_v4() {
            self.offset = open.consume(&positions).unwrap_or(self.offset).max(self.offset);
        } else {
            self.offset = positions.into_iter().max().unwrap_or(self.offset);
        }
    }

    /// How often triggers fired, and with how many different events at least.
    fn firings(&self, id: &str) -> (usize, usize) {
        let of = self.fired.iter().filter(|(own, _)| **own == *id);
        let least = of.clone().map(|(_, distinct)| *distinct).min();
        (of.count(), least.unwrap_or_default())
    }
}

fn joins() -> Workflow {
    Workflow::Joins(Joins { joins: 2, events: 4 })
}

fn dag(tasks: &[(&str, usize)]) -> Workflow {
    let input = Payload::encode(&1).expect("a number");
    let task = |(index, (name, calls)): (usize, &(&str, usize))| DagTask {
        name: (*name).into(),
        activity: "Work".into(),
        calls: match calls {
            1 => Calls::One(input.clone()),
            _ => Calls::Map(vec![input.clone(); *calls]),
        },
        after: index.checked_sub(1).into_iter().collect(),
    };
    Workflow::Dag(Rc::new(Dag { tasks: tasks.iter().enumerate().map(task).collect() }))
}

/// Passes a value on twice.
fn passes() -> Workflow {
    let same =
        || -> sim_model::workflow::Transform { Rc::new(|input: &Payload| Ok(input.clone())) };
    Workflow::Machine(Rc::new(StateMachine {
        start: "A".into(),
        states: vec![
            ("A".into(), State::Pass { output: same(), next: Some("B".into()) }),
            ("B".into(), State::Pass { output: same(), next: None }),
        ],
    }))
}

#[test]
fn mid_aggregation_before_anything_fired_every_discipline_replays() {
    for rules in [V1, V2, V3, V4, V1_LOG, V4_LOG] {
        let mut scene = Scene::new(rules, joins());
        scene.raise(&[0, 1, 0, 1, 0, 1]).live(None).raise(&[0, 1]).live(None);
        for join in ["join-0", "join-1"] {
            assert_eq!(scene.firings(join).0, 1, "{rules:?}");
        }
        assert!(scene.ended.is_some(), "{rules:?}");
    }
}

/// A join has fired, another has had two of its four events; the worker crashes, and the other two come.
fn after_another_fired(rules: Rules) -> Scene {
    let mut scene = Scene::new(rules, joins());
    scene.raise(&[0, 1, 0, 1, 0, 0]).live(None);
    assert_eq!(scene.firings("join-0"), (1, 4), "{rules:?}");
    scene.live(None).raise(&[1, 1]).live(None);
    scene
}

#[test]
fn mid_aggregation_after_another_firing_v1_and_v4_replay() {
    for rules in [V1, V4, V4_LOG] {
        let scene = after_another_fired(rules);
        assert_eq!(scene.firings("join-0"), (1, 4), "{rules:?}");
        assert_eq!(scene.firings("join-1"), (1, 4), "{rules:?}");
        assert!(scene.ended.is_some(), "{rules:?}");
    }
}

#[test]
fn mid_aggregation_after_another_firing_v1_on_a_log_loses_events() {
    let scene = after_another_fired(V1_LOG);
    assert_eq!(scene.firings("join-1").0, 0, "the commit went past two of its events");
    assert!(scene.ended.is_none());
}

#[test]
fn mid_aggregation_after_another_firing_v2_counts_twice() {
    let mut scene = Scene::new(V2, joins());
    scene.raise(&[0, 1, 0, 1, 0, 0]).live(None);
    scene.live(None);
    assert_eq!(scene.firings("join-1"), (1, 2), "with two of four events");
    assert_eq!(scene.firings("join-0").0, 1 + 4, "once more for each event that is replayed");
}

#[test]
fn mid_aggregation_after_another_firing_v3_loses_events() {
    let scene = after_another_fired(V3);
    assert_eq!(scene.firings("join-1").0, 0);
    assert_eq!(scene.stream.len(), 2, "of eight events; the firing deleted the first six");
}

#[test]
fn between_action_and_acknowledgement_tasks_are_invoked_twice_under_v4_with_one_identity() {
    // Phases: act, then the rest. Under v4: write, committed, act, acknowledge.
    for (rules, before) in [(V1, 1), (V2, 1), (V3, 1), (V4, 3), (V4_LOG, 3)] {
        let mut scene = Scene::new(rules, dag(&[("a", 1), ("b", 1)])).start();
        scene.live(Some((0, before))).live(None);
        let ids: Vec<MessageId> = scene.invoked.iter().map(|call| call.task.id).collect();
        assert_eq!(ids.len(), 2, "{rules:?}");
        assert_eq!(ids[0] == ids[1], rules.is_v4(), "{rules:?}");
        scene.run_functions().live(None).run_functions().live(None);
        // Under v1 to v3 the second end of `a` is counted, and a graph waits for exactly one.
        if rules.is_v4() {
            assert!(scene.ended.is_some(), "{rules:?}");
            assert_eq!(scene.firings("b").0, 1, "{rules:?}");
        }
    }
}

#[test]
fn between_contexts_and_action_v4_acts_when_it_is_back() {
    for rules in [V4, V4_LOG] {
        let mut scene = Scene::new(rules, dag(&[("a", 1), ("b", 1)])).start();
        scene.live(Some((0, 1)));
        assert!(scene.invoked.is_empty(), "{rules:?}");
        scene.live(None);
        assert_eq!(scene.invoked.len(), 1, "{rules:?}");
        assert_eq!(scene.firings("a").0, 1, "the trigger does not fire again: {rules:?}");
        scene.run_functions().live(None).run_functions().live(None);
        assert!(scene.ended.is_some(), "{rules:?}");
    }
}

/// The size of a join is written by the action of the map before it; the worker crashes right after that
/// firing was acknowledged.
fn after_acknowledgement(rules: Rules, phase: usize) -> Scene {
    let mut scene = Scene::new(rules, dag(&[("a", 1), ("map", 3), ("last", 1)])).start();
    scene.live(None).run_functions().live(Some((0, phase)));
    assert_eq!(scene.invoked.len(), 1 + 3, "{rules:?}");
    scene.run_functions().live(None).run_functions().live(None);
    scene
}

#[test]
fn after_acknowledgement_the_size_of_a_join_is_lost_unless_it_was_written() {
    for rules in [V1, V3] {
        let scene = after_acknowledgement(rules, 2);
        assert!(scene.ended.is_none(), "{rules:?}: the join waits for ever");
        assert_eq!(scene.firings("last").0, 0, "{rules:?}");
    }
    for rules in [V4, V4_LOG] {
        assert!(after_acknowledgement(rules, 4).ended.is_some(), "{rules:?}");
    }
    let unordered = Rules { ordered_commit: false, ..V4 };
    assert!(after_acknowledgement(unordered, 2).ended.is_none(), "act, acknowledge, crash");
}

#[test]
fn local_events_vanish_unless_the_broker_has_them() {
    let run = |rules, phase| {
        let mut scene = Scene::new(rules, passes()).start();
        scene.live(Some((0, phase))).live(None);
        scene
    };
    assert!(run(V1, 2).ended.is_none(), "acknowledged, and its local event is gone");
    assert!(run(V3, 2).ended.is_none(), "deleted, and its local event is gone");
    let again = run(V2, 3);
    assert!(again.ended.is_some(), "never acknowledged, so it is replayed");
    assert_eq!(again.firings("A").0, 2);
    for rules in [V4, V4_LOG] {
        let scene = run(rules, 4);
        assert!(scene.ended.is_some(), "{rules:?}");
        assert_eq!(scene.firings("A").0, 1, "{rules:?}");
    }
    assert!(run(Rules { broker_local_events: false, ..V4 }, 4).ended.is_none());
}

#[test]
fn an_event_that_comes_twice_counts_once_only_with_ids() {
    for (rules, fires) in
        [(V1, 1), (V2, 1), (V3, 1), (V4, 0), (Rules { dedup: false, applied_ids: false, ..V4 }, 1)]
    {
        let mut scene = Scene::new(rules, joins());
        scene.raise(&[0, 0, 0]);
        let copy = scene.stream.values().next().cloned().expect("an event");
        let copy: Event = decode(&copy).expect("an event");
        assert_eq!(copy.kind, Kind::Signal);
        scene.append(&copy);
        scene.live(None);
        assert_eq!(scene.firings("join-0").0, fires, "{rules:?}");
    }
}

#[test]
fn without_applied_ids_v4_counts_twice_as_v2_does() {
    let scene = after_another_fired(Rules { applied_ids: false, dedup: false, ..V4 });
    assert!(scene.firings("join-1").0 > 0);
    let written = Rules { applied_ids: false, dedup: false, ..V4 };
    let mut scene = Scene::new(written, joins());
    scene.raise(&[0, 1, 0, 1, 0, 0]).live(None);
    scene.live(None);
    assert_eq!(scene.firings("join-1"), (1, 2), "with two of four events");
}

#[test]
fn events_of_a_former_firing_that_nobody_has_acknowledged_are_not_taken_again() {
    let signal = |index| {
        let input = Payload::encode(&()).expect("nothing");
        let event = RaisedEvent::External { name: "Add".into(), input };
        let kind = EventKind::EventRaised { event };
        let event = HistoryEvent { timestamp: Timestamp::ZERO, kind };
        let (target, ledger) = (InstanceId::new("@Counter@1"), Ledger::new(Timestamp::ZERO));
        let id = MessageId { producer: Producer::Client, index };
        let message = InstanceMessage { id, target, event, ledger };
        (Event::of_message(message), Position(0, u64::from(index) + 1))
    };
    let entries: Vec<(Event, Position)> = (0..3).map(signal).collect();
    let worker = |stored: Vec<Trigger>| {
        Workspace::new(InstanceId::new("@entities@0"), V4, Logic::Entities, stored)
    };
    let mut stored: BTreeMap<TriggerId, Bytes> = BTreeMap::new();
    let mut first = worker(Logic::Entities.triggers(Position::default()));
    let mut steps = Vec::new();
    for (number, (event, position)) in entries.iter().take(2).enumerate() {
        let Taken::Fires(firing) = first.take(event.clone(), Some(*position)) else {
            panic!("each signal is a step");
        };
        let (id, item) = (firing.triggers[0].clone(), WorkItemId(number as u32));
        first.entity_stepped(&id, None, item);
        first.leave_outbox(&firing, item, &Effects::default());
        for phase in Plan::of(&mut first, &firing).main_loop {
            if let Phase::WriteTogether(contexts) = phase {
                stored.extend(contexts);
            }
        }
        steps.push(firing.acknowledged);
    }
    // The committer is behind, and another worker starts.
    let decoded = |bytes: &Bytes| decode::<Trigger>(bytes).expect("a trigger");
    let mut second = worker(stored.values().map(decoded).collect());
    let [recovery] = &second.recover(&entries)[..] else { panic!("one trigger") };
    let recovered: BTreeSet<EventId> = recovery.acknowledged.iter().map(|(id, _)| *id).collect();
    let stepped: BTreeSet<EventId> = steps.iter().flatten().map(|(id, _)| *id).collect();
    assert_eq!(recovered, stepped);
    let (event, position) = entries[2].clone();
    let Taken::Fires(firing) = second.take(event, Some(position)) else { panic!("a step") };
    assert_eq!(firing.messages.len(), 1, "what was consumed is not consumed again");
    // What is acknowledged is not carried on.
    let ids: Vec<EventId> = recovered.into_iter().collect();
    second.triggers.forget(std::slice::from_ref(&recovery.trigger), &ids);
    second.leave_outbox(&firing, WorkItemId(9), &Effects::default());
    let outbox = second.triggers.context(&firing.triggers[0]).outbox.clone().expect("an outbox");
    assert_eq!(outbox.consumed, [firing.acknowledged[0].0]);
}
