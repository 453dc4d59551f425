//! Entities: batches, order, scheduled signals, errors, deletion. That an entity rebuilt from its history
//! goes on like the one that was kept is shown for every step here, and in `replay.rs`.

mod common;

use common::{Options, Play, message_to, ms, payload, step_alone};
use serde::{Deserialize, Serialize};
use sim_model::application::{Application, ApplicationError, ErrorKind};
use sim_model::cursor::Cursor;
use sim_model::engine::ClientMessage;
use sim_model::entity::{EntityContext, EntityRequest, RequestKind};
use sim_model::history::{EventKind, HistoryEvent, RaisedEvent};
use sim_model::id::{EntityId, InstanceId};
use sim_model::orchestration::OrchestrationContext;
use sim_model::step::UserWork;
use sim_model::time::Timestamp;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Writes down what it is asked.
#[derive(Default, Serialize, Deserialize)]
struct Log(Vec<u32>);

/// A state that has a JSON form only while `odd` is empty.
#[derive(Default, Serialize, Deserialize)]
struct Fragile {
    good: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    odd: BTreeMap<(u8, u8), u8>,
    #[serde(skip)]
    forgotten: u32,
}

fn log() -> EntityId {
    EntityId::new("Log", "1")
}

fn fragile() -> EntityId {
    EntityId::new("Fragile", "1")
}

fn application() -> Application {
    let mut app = Application::new();
    app.entity::<Log>("Log")
        .operation("Write", |_, log: &mut Log, number: u32| {
            log.0.push(number);
            Ok(log.0.len())
        })
        .operation("WriteAndFail", |_, log: &mut Log, number: u32| {
            log.0.push(number);
            Err::<(), _>(ApplicationError::user("as told"))
        })
        .operation("Delete", |cx: &mut EntityContext, log: &mut Log, (): ()| {
            cx.delete_state();
            log.0.push(99);
            Ok(())
        })
        .operation("Odd", |_, _: &mut Log, (): ()| Ok(BTreeMap::from([((1, 2), 3)])))
        .operation("Work", |cx: &mut EntityContext, _: &mut Log, (): ()| {
            cx.compute(Duration::from_millis(2));
            cx.wait(Duration::from_millis(3));
            cx.read_blob(10);
            cx.write_blob(20);
            cx.write_blob(30);
            Ok((cx.id().clone(), cx.caller().cloned(), cx.now()))
        });
    app.entity::<Fragile>("Fragile")
        .operation("Mend", |_, state: &mut Fragile, (): ()| {
            state.good += 1;
            Ok(state.good)
        })
        .operation("Break", |_, state: &mut Fragile, (): ()| {
            state.odd.insert((1, 2), 3);
            Ok(())
        })
        .operation("Remember", |_, state: &mut Fragile, (): ()| {
            state.forgotten += 1;
            Ok(state.forgotten)
        });
    app
}

type Outcome = Result<serde_json::Value, ApplicationError>;

/// Calls operations one after the other and returns what each answers.
fn call_all(entity: EntityId, calls: &[(&str, serde_json::Value)]) -> (Play, Vec<Outcome>) {
    let mut app = application();
    let calls: Vec<_> =
        calls.iter().map(|(name, input)| (name.to_string(), input.clone())).collect();
    app.orchestration("Main", move |ctx: OrchestrationContext, (): ()| {
        let (entity, calls) = (entity.clone(), calls.clone());
        async move {
            let mut outcomes = Vec::new();
            for (operation, input) in calls {
                let outcome: Outcome = ctx.call_entity(&entity, &operation, &input).await;
                outcomes.push(outcome);
            }
            Ok(outcomes)
        }
    });
    let mut play = Play::new(Rc::new(app), Options::fifo(1));
    play.start("Main", "main", ());
    play.run();
    let outcomes = play.result("main");
    (play, outcomes)
}

#[test]
fn operations_run_one_after_the_other_and_keep_what_they_changed_before_an_error() {
    let one = serde_json::json!(1);
    let (play, outcomes) =
        call_all(log(), &[("Write", one.clone()), ("WriteAndFail", one.clone()), ("Write", one)]);
    assert_eq!(outcomes[1], Err(ApplicationError::user("as told")));
    assert_eq!(outcomes[2], Ok(3.into()));
    assert_eq!(play.entity::<Log>(&log()).map(|log| log.0), Some(vec![1, 1, 1]));
}

#[test]
fn an_unknown_operation_and_an_unknown_entity_are_errors_of_the_caller() {
    let null = serde_json::Value::Null;
    let (_, outcomes) = call_all(log(), &[("Wirte", null.clone())]);
    let error = outcomes[0].clone().expect_err("there is no such operation");
    assert_eq!(error.kind, ErrorKind::UnknownFunction);
    assert_eq!(&*error.message, r#"no operation of entity "Log" is registered as "Wirte""#);

    let (play, outcomes) = call_all(EntityId::new("Lag", "1"), &[("Write", null)]);
    let error = outcomes[0].clone().expect_err("there is no such entity");
    assert_eq!(error.kind, ErrorKind::UnknownFunction);
    assert_eq!(&*error.message, r#"no entity is registered as "Lag""#);
    assert!(!play.exists("@Lag@1"), "it has nothing to remember");
}

#[test]
fn inputs_and_results_without_a_form_are_errors_of_the_caller() {
    let calls = [("Write", "text".into()), ("Odd", serde_json::Value::Null)];
    let (play, outcomes) = call_all(log(), &calls);
    for outcome in outcomes {
        assert_eq!(outcome.map_err(|error| error.kind), Err(ErrorKind::Data));
    }
    assert_eq!(play.entity::<Log>(&log()).map(|log| log.0), Some(vec![]));
}

#[test]
fn an_operation_sees_its_entity_and_its_caller_and_says_what_it_uses() {
    let (play, outcomes) = call_all(log(), &[("Work", serde_json::Value::Null)]);
    let seen: (EntityId, Option<InstanceId>, Timestamp) =
        serde_json::from_value(outcomes[0].clone().expect("it works")).expect("three values");
    assert_eq!(seen.0, log());
    assert_eq!(seen.1, Some(InstanceId::new("main")));
    let expected = UserWork {
        operations: 1,
        compute: ms(2),
        wait: ms(3),
        read_bytes: 10,
        reads: 1,
        written_bytes: 50,
        writes: 2,
    };
    assert_eq!(play.last("@Log@1").work, expected);
}

#[test]
fn a_deleted_state_begins_anew_and_an_empty_entity_is_gone() {
    let (play, _) = call_all(log(), &[("Write", 1.into()), ("Delete", serde_json::Value::Null)]);
    assert!(!play.exists("@Log@1"));
    let calls = [("Write", 1.into()), ("Delete", serde_json::Value::Null), ("Write", 2.into())];
    let (play, _) = call_all(log(), &calls);
    assert_eq!(play.entity::<Log>(&log()).map(|log| log.0), Some(vec![2]));

    // Where order is not kept, what was received must be remembered for the length of the window.
    let mut play = Play::new(Rc::new(application()), Options::disorderly(1));
    play.signal(&log(), "Write", 1);
    play.run();
    play.signal(&log(), "Delete", ());
    play.run();
    assert!(play.exists("@Log@1") && play.entity::<Log>(&log()).is_none());
}

#[test]
fn a_state_without_a_json_form_fails_its_batch_and_is_what_it_was_before() {
    let null = || serde_json::Value::Null;
    let (play, outcomes) =
        call_all(fragile(), &[("Mend", null()), ("Break", null()), ("Mend", null())]);
    let error = outcomes[1].clone().expect_err("the state was not stored");
    assert_eq!(error.kind, ErrorKind::Data);
    assert_eq!(outcomes[2], Ok(2.into()), "the last good state went on");
    assert_eq!(play.entity::<Fragile>(&fragile()).map(|state| state.good), Some(2));
}

#[test]
fn a_state_is_what_its_json_form_says_whether_the_entity_was_kept_or_not() {
    let null = || serde_json::Value::Null;
    let (_, outcomes) = call_all(fragile(), &[("Remember", null()), ("Remember", null())]);
    assert_eq!(outcomes, [Ok(1.into()), Ok(1.into())]);
}

/// One step of an entity that consumes these requests.
fn step(cursor: &mut Cursor, number: u32, requests: &[EventKind]) -> Vec<HistoryEvent> {
    let at = Timestamp::from_millis(u64::from(number));
    let messages = requests.iter().map(|kind| message_to("@Log@1", kind.clone(), at)).collect();
    step_alone(cursor, number, messages).new_events
}

fn write(number: u32) -> EventKind {
    let operation = "Write".into();
    ClientMessage::Signal { operation, input: payload(number), at: None }.into_event()
}

#[test]
fn a_batch_is_limited_and_goes_on_in_the_next_step() {
    let options = Options { max_operations: 3, ..Options::fifo(5) };
    let mut play = Play::new(Rc::new(application()), options);
    for number in 0..20 {
        play.signal(&log(), "Write", number);
    }
    play.run();
    assert_eq!(play.entity::<Log>(&log()).map(|log| log.0), Some((0..20).collect()));
    assert!(play.taken.iter().all(|step| step.outcome.work.operations <= 3));
    let continues = |step: &&common::Taken| {
        step.outcome.messages.iter().any(|message| {
            matches!(&message.event.kind, EventKind::EventRaised {
                event: RaisedEvent::Request(request)
            } if request.kind == RequestKind::Continue)
        })
    };
    assert!(play.taken.iter().filter(continues).count() >= 3);
    assert_eq!(play.unsettled(), [""; 0]);
}

#[test]
fn what_arrives_while_an_entity_is_to_continue_waits_behind() {
    let mut cursor = Cursor::new(Rc::new(application()), log().instance_id());
    let backend =
        sim_model::step::EntityBackend { max_operations: 2, ..Options::fifo(0).backend() };
    let mut run = |number: u32, kinds: &[EventKind]| {
        let at = Timestamp::from_millis(u64::from(number));
        let messages: Vec<_> =
            kinds.iter().map(|kind| message_to("@Log@1", kind.clone(), at)).collect();
        let ledger = sim_model::message::critical_ledger(&messages);
        let outcome = cursor.step(sim_model::step::StepInput {
            work_item: sim_model::id::WorkItemId(number),
            now: at,
            ledger,
            execution: Default::default(),
            messages,
            backend,
        });
        let state = outcome.entity_state.expect("it has a state");
        (state.decode::<Vec<u32>>().expect("a log"), outcome.messages.len())
    };
    assert_eq!(run(1, &[write(1), write(2), write(3)]), (vec![1, 2], 1));
    assert_eq!(run(2, &[write(4)]), (vec![1, 2], 0), "it waits for its own message");
    let go_on = EventKind::EventRaised {
        event: RaisedEvent::Request(Box::new(EntityRequest::unordered(RequestKind::Continue))),
    };
    assert_eq!(run(3, &[go_on]), (vec![1, 2, 3, 4], 0));
}

#[test]
fn signals_for_later_run_then_in_stages_if_the_engine_has_a_limit() {
    for (limit, stages) in [(None, 1), (Some(ms(400)), 3)] {
        let options = Options { max_signal_delay: limit, ..Options::fifo(2) };
        let mut play = Play::new(Rc::new(application()), options);
        let at = play.clock + ms(1_000);
        let signal =
            ClientMessage::Signal { operation: "Write".into(), input: payload(7), at: Some(at) };
        play.send_at(&log().instance_id(), signal, play.clock);
        play.signal(&log(), "Write", 1);
        play.run_until(at.before(ms(1)));
        assert_eq!(play.entity::<Log>(&log()).map(|log| log.0), Some(vec![1]));
        let timers: usize = play.taken.iter().map(|step| step.outcome.timers.len()).sum();
        assert_eq!(timers, stages);
        play.run();
        assert_eq!(play.entity::<Log>(&log()).map(|log| log.0), Some(vec![1, 7]));
        let ran = play.taken.last().expect("it took a step");
        assert!(ran.at >= at, "{} is before {at}", ran.at);
    }
}

#[test]
fn signals_of_one_sender_run_once_and_in_the_order_they_were_sent_even_across_continue_as_new() {
    for seed in 0..100 {
        let mut app = application();
        app.orchestration("Main", |ctx: OrchestrationContext, round: u32| async move {
            for number in 0..4 {
                ctx.signal_entity(&log(), "Write", &(round * 10 + number))?;
                if number == 2 {
                    ctx.sleep(ms(5)).await?;
                }
            }
            if round < 4 { ctx.continue_as_new(&(round + 1)).await } else { Ok(()) }
        });
        let mut play = Play::new(Rc::new(app), Options::disorderly(seed));
        play.start("Main", "main", 0);
        play.run();
        let expected: Vec<u32> =
            (0..5).flat_map(|round| (0..4).map(move |number| round * 10 + number)).collect();
        assert_eq!(play.entity::<Log>(&log()).map(|log| log.0), Some(expected), "seed {seed}");
    }
}

#[test]
fn what_is_not_meant_for_an_entity_changes_nothing() {
    let mut cursor = Cursor::new(Rc::new(application()), log().instance_id());
    let before = step(&mut cursor, 1, &[write(1)]);
    let answer = RaisedEvent::Answer { event_id: 3, result: Ok(payload(())) };
    let external = RaisedEvent::External { name: "x".into(), input: payload(()) };
    let after = step(
        &mut cursor,
        2,
        &[
            EventKind::EventRaised { event: answer },
            EventKind::EventRaised { event: external },
            EventKind::execution_started("Main".into(), payload(())),
            EventKind::ExecutionTerminated { reason: "enough".into() },
        ],
    );
    assert_eq!(before[1], after[1], "everything that it remembers");
}
