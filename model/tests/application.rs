//! User code that errs or breaks the rules of replay: always a result with a clear message, never
//! harm to the testbed. What only an engine can do wrong is a panic.

mod common;

use common::{message_to, step_alone};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use sim_model::application::{
    ActivityContext, ActivityEnvironment, Application, ApplicationError, ApplicationResult,
    ErrorKind,
};
use sim_model::cursor::Cursor;
use sim_model::history::{EventKind, HistoryEvent};
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::message::{InstanceMessage, TaskMessage};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::step::StepOutcome;
use sim_model::time::Timestamp;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_millis(5);

fn order() -> InstanceId {
    InstanceId::new("order-17")
}

fn payload(value: impl serde::Serialize) -> Payload {
    Payload::encode(&value).expect("a value with a JSON form")
}

fn message(kind: EventKind) -> InstanceMessage {
    message_to(order().as_str(), kind, NOW)
}

fn start(name: &str, input: Payload) -> InstanceMessage {
    message(EventKind::execution_started(name.into(), input))
}

fn answer(task_scheduled_id: u32, result: impl serde::Serialize) -> InstanceMessage {
    message(EventKind::TaskCompleted { task_scheduled_id, result: payload(result) })
}

fn step(cursor: &mut Cursor, work_item: u32, messages: Vec<InstanceMessage>) -> StepOutcome {
    step_alone(cursor, work_item, messages)
}

/// An application with one orchestration, `Main`.
fn main_is<O, F, Fut>(code: F) -> Rc<Application>
where
    O: serde::Serialize + 'static,
    F: Fn(OrchestrationContext) -> Fut + 'static,
    Fut: Future<Output = Result<O, ApplicationError>> + 'static,
{
    let mut app = Application::new();
    app.orchestration("Main", move |ctx: OrchestrationContext, (): ()| code(ctx));
    Rc::new(app)
}

fn call(
    ctx: &OrchestrationContext,
    name: &str,
) -> impl Future<Output = Result<u32, ApplicationError>> {
    ctx.call_activity(name, &1)
}

/// The history of `Main` in `app` after its first step and, if there is one, an answer to call 0.
fn record(app: Rc<Application>, first_answer: Option<u32>) -> Vec<HistoryEvent> {
    let mut cursor = Cursor::new(app, order());
    let mut history = step(&mut cursor, 0, vec![start("Main", payload(()))]).new_events;
    if let Some(result) = first_answer {
        history.extend(step(&mut cursor, 1, vec![answer(0, result)]).new_events);
    }
    assert_eq!(cursor.status(), &RuntimeStatus::Running, "the recorded code must still wait");
    history
}

/// Continues a recorded history with other code. The orchestration must fail in its next step,
/// which must produce nothing else, and be as failed after another replay. Returns the message.
fn continue_with(app: Rc<Application>, mut history: Vec<HistoryEvent>) -> String {
    let mut cursor = Cursor::replay(app.clone(), order(), &history);
    let recorded = history.len();
    assert_eq!(cursor.status(), &RuntimeStatus::Running, "the history says that it runs");
    assert_eq!(cursor.history_len(), recorded);
    let outcome = step(&mut cursor, 9, vec![answer(0, 1)]);
    let RuntimeStatus::Failed(error) = outcome.status.clone() else {
        panic!("the step must fail the orchestration, not leave it {:?}", outcome.status);
    };
    assert_eq!(error.kind, ErrorKind::NonDeterminism);
    assert_eq!(outcome.produced(), 0, "code that went astray has no effects");
    let names: Vec<_> = outcome.new_events.iter().map(|event| event.kind.name()).collect();
    assert_eq!(
        names,
        ["OrchestratorStarted", "TaskCompleted", "ExecutionFailed", "OrchestratorCompleted"]
    );

    history.extend(outcome.new_events);
    let again = Cursor::replay(app, order(), &history);
    assert_eq!(again.status(), &outcome.status);
    assert_eq!(again.last_step(), Some(WorkItemId(9)));
    assert_eq!(again.created(), cursor.created());
    assert_eq!(again.history_len(), cursor.history_len());
    error.message.to_string()
}

fn calls_a_then_b() -> Rc<Application> {
    main_is(|ctx| async move { Ok(call(&ctx, "A").await? + call(&ctx, "B").await?) })
}

#[test]
fn a_call_of_another_activity_is_named() {
    let history = record(main_is(|ctx| async move { call(&ctx, "A").await }), None);
    let other = main_is(|ctx| async move { call(&ctx, "Z").await });
    assert_eq!(
        continue_with(other, history),
        "the history has event 0 TaskScheduled \"A\", \
         but on replay the code decided 0: call of activity \"Z\""
    );
}

#[test]
fn another_second_call_is_named() {
    let history = record(calls_a_then_b(), Some(1));
    let other = main_is(|ctx| async move { Ok(call(&ctx, "A").await? + call(&ctx, "Z").await?) });
    assert_eq!(
        continue_with(other, history),
        "the history has event 1 TaskScheduled \"B\", \
         but on replay the code decided 1: call of activity \"Z\""
    );
}

#[test]
fn calls_in_another_order_are_named() {
    let both = |first: &'static str, second: &'static str| {
        main_is(move |ctx| async move {
            let (first, second) = (call(&ctx, first), call(&ctx, second));
            Ok(first.await? + second.await?)
        })
    };
    assert_eq!(
        continue_with(both("B", "A"), record(both("A", "B"), None)),
        "the history has event 0 TaskScheduled \"A\", \
         but on replay the code decided 0: call of activity \"B\""
    );
}

#[test]
fn a_call_too_few_is_named() {
    // Waits for ever for what comes after its first call.
    let stuck = main_is(|ctx| async move {
        let _ = call(&ctx, "A").await?;
        ctx.wait_for_event::<u32>("never").await
    });
    assert_eq!(
        continue_with(stuck, record(calls_a_then_b(), Some(1))),
        "the history has event 1 TaskScheduled \"B\", but on replay the code decided nothing there"
    );
}

#[test]
fn code_that_ends_before_a_recorded_call_is_named() {
    let returns = main_is(|ctx| async move { call(&ctx, "A").await });
    assert_eq!(
        continue_with(returns, record(calls_a_then_b(), Some(1))),
        "the history has event 1 TaskScheduled \"B\", but on replay the code had completed before"
    );
    let fails = main_is(|ctx| async move {
        let _ = call(&ctx, "A").await?;
        Err::<u32, _>(ApplicationError::user("sold out"))
    });
    assert_eq!(
        continue_with(fails, record(calls_a_then_b(), Some(1))),
        "the history has event 1 TaskScheduled \"B\", \
         but on replay the code had failed (error: sold out) before"
    );
}

#[test]
fn code_that_ends_where_the_history_goes_on_is_named() {
    let forgetful = main_is(|ctx| async move {
        drop(call(&ctx, "A"));
        Ok(1)
    });
    let history = record(main_is(|ctx| async move { call(&ctx, "A").await }), None);
    assert_eq!(
        continue_with(forgetful, history),
        "on replay the code completed, which the history does not have"
    );
}

#[test]
fn a_call_too_many_is_named() {
    let history = record(main_is(|ctx| async move { call(&ctx, "A").await }), None);
    let more = main_is(|ctx| async move {
        let (first, second) = (call(&ctx, "A"), call(&ctx, "B"));
        Ok(first.await? + second.await?)
    });
    assert_eq!(
        continue_with(more, history),
        "on replay the code decided 1: call of activity \"B\", which the history does not have"
    );
}

fn starts(name: &'static str, instance: &'static str) -> Rc<Application> {
    main_is(move |ctx| async move {
        ctx.start_orchestration(name, InstanceId::new(instance), &())?;
        call(&ctx, "A").await
    })
}

#[test]
fn a_start_of_another_instance_is_named() {
    assert_eq!(
        continue_with(starts("Child", "c2"), record(starts("Child", "c1"), None)),
        "the history has event 0 SubOrchestrationInstanceCreated \"Child\" as c1, \
         but on replay the code decided 0: start of orchestration \"Child\" as c2"
    );
    assert_eq!(
        continue_with(starts("Kid", "c1"), record(starts("Child", "c1"), None)),
        "the history has event 0 SubOrchestrationInstanceCreated \"Child\" as c1, \
         but on replay the code decided 0: start of orchestration \"Kid\" as c1"
    );
}

#[test]
fn a_call_in_place_of_a_start_is_named() {
    let history = record(starts("Child", "c1"), None);
    assert_eq!(
        continue_with(main_is(|ctx| async move { call(&ctx, "Child").await }), history),
        "the history has event 0 SubOrchestrationInstanceCreated \"Child\" as c1, \
         but on replay the code decided 0: call of activity \"Child\""
    );
}

#[test]
fn an_orchestration_that_is_gone_on_replay_says_so() {
    assert_eq!(
        continue_with(Rc::new(Application::new()), record(calls_a_then_b(), None)),
        "the history has event 0 TaskScheduled \"A\", but on replay the code had failed \
         (unknown function: no orchestration is registered as \"Main\") before"
    );
}

#[test]
fn another_input_of_the_same_call_is_not_misuse() {
    let with =
        |input: u32| main_is(move |ctx| async move { ctx.call_activity::<u32>("A", &input).await });
    let mut cursor = Cursor::replay(with(2), order(), &record(with(1), None));
    let outcome = step(&mut cursor, 9, vec![answer(0, 40)]);
    assert_eq!(outcome.status, RuntimeStatus::Completed(payload(40)));
}

#[test]
fn a_history_that_has_ended_is_believed_whatever_the_code_does_now() {
    let mut cursor = Cursor::new(main_is(|_| async { Ok(1) }), order());
    let history = step(&mut cursor, 3, vec![start("Main", payload(()))]).new_events;
    for app in [calls_a_then_b(), main_is(|_| async { Ok(2) }), Rc::new(Application::new())] {
        let replayed = Cursor::replay(app, order(), &history);
        assert_eq!(replayed.status(), &RuntimeStatus::Completed(payload(1)));
        assert_eq!(replayed.last_step(), Some(WorkItemId(3)));
    }
}

/// The error with which `Main` ends in its first step.
fn first_step_error(app: Rc<Application>, name: &str, input: Payload) -> ApplicationError {
    let outcome = step(&mut Cursor::new(app, order()), 0, vec![start(name, input)]);
    assert_eq!(outcome.produced(), 0);
    match (outcome.status, &outcome.new_events[2].kind) {
        (RuntimeStatus::Failed(error), EventKind::ExecutionFailed { error: recorded }) => {
            assert_eq!(recorded, &error);
            error
        }
        other => panic!("not a failed orchestration: {other:?}"),
    }
}

#[test]
fn an_unknown_orchestration_fails() {
    let error = first_step_error(Rc::new(Application::new()), "Mian", payload(()));
    assert_eq!(error.kind, ErrorKind::UnknownFunction);
    assert_eq!(error.to_string(), "unknown function: no orchestration is registered as \"Mian\"");
}

#[test]
fn an_input_that_does_not_decode_fails_the_orchestration() {
    let error = first_step_error(calls_a_then_b(), "Main", payload("seven"));
    assert_eq!(error.kind, ErrorKind::Data);
    let start = r#"data error: cannot read "\"seven\"": invalid type: string "seven""#;
    assert!(error.to_string().starts_with(start), "{error}");
}

#[test]
fn an_error_that_code_returns_is_its_result() {
    let app = main_is(|_| async { Err::<(), _>(ApplicationError::user("sold out")) });
    let error = first_step_error(app, "Main", payload(()));
    assert_eq!((error.kind, error.to_string().as_str()), (ErrorKind::User, "error: sold out"));
}

/// A map whose keys are not text has no JSON form.
fn without_json() -> BTreeMap<(u8, u8), u8> {
    BTreeMap::from([((1, 2), 3)])
}

#[test]
fn values_without_a_json_form_are_errors_where_they_are_made() {
    let called = main_is(|ctx| async move { ctx.call_activity::<u32>("A", &without_json()).await });
    let started = main_is(|ctx| async move {
        ctx.start_orchestration("Child", InstanceId::new("c1"), &without_json())
    });
    let returned = main_is(|_| async { Ok(without_json()) });
    for app in [called, started, returned] {
        let error = first_step_error(app, "Main", payload(()));
        assert_eq!(error.kind, ErrorKind::Data);
        assert_eq!(&*error.message, "a value has no JSON form: key must be a string");
    }
}

#[test]
fn code_can_catch_a_failed_call_and_an_answer_of_another_type() {
    let app = main_is(|ctx| async move {
        let first = call(&ctx, "A").await.map_err(|error| error.kind);
        let second = call(&ctx, "B").await.map_err(|error| error.kind);
        Ok(first == Err(ErrorKind::User) && second == Err(ErrorKind::Data))
    });
    let mut cursor = Cursor::new(app, order());
    step(&mut cursor, 0, vec![start("Main", payload(()))]);
    let error = ApplicationError::user("no");
    step(&mut cursor, 1, vec![message(EventKind::TaskFailed { task_scheduled_id: 0, error })]);
    let outcome = step(&mut cursor, 2, vec![answer(1, "not a number")]);
    assert_eq!(outcome.status, RuntimeStatus::Completed(payload(true)));
}

#[test]
fn answers_to_calls_that_were_never_made_are_ignored() {
    let mut cursor = Cursor::new(main_is(|ctx| async move { call(&ctx, "A").await }), order());
    // Even before the start, in one batch with it.
    step(&mut cursor, 0, vec![answer(0, 5), start("Main", payload(()))]);
    let outcome = step(&mut cursor, 1, vec![answer(8, 5), start("Other", payload(()))]);
    assert_eq!(outcome.status, RuntimeStatus::Running);
    assert_eq!(cursor.name().map(|name| &**name), Some("Main"), "a second start changes nothing");
}

#[test]
fn code_sees_its_instance_the_episode_time_and_whether_it_replays() {
    let seen: Rc<RefCell<Vec<_>>> = Rc::default();
    let log = seen.clone();
    let app = main_is(move |ctx| {
        let log = log.clone();
        async move {
            let see = || log.borrow_mut().push((ctx.now(), ctx.is_replaying()));
            see();
            let result = call(&ctx, "A").await?;
            see();
            assert_eq!(ctx.instance_id(), order());
            Ok(result)
        }
    });
    let history = record(app.clone(), None);
    step(&mut Cursor::replay(app, order(), &history), 1, vec![answer(0, 1)]);
    assert_eq!(*seen.borrow(), [(NOW, false), (NOW, true), (NOW, false)]);
}

#[test]
#[should_panic(expected = "a step consumes at least one message")]
fn a_step_without_a_message_panics() {
    step(&mut Cursor::new(calls_a_then_b(), order()), 0, vec![]);
}

#[test]
#[should_panic(expected = "a step of an orchestration that was never started")]
fn a_step_of_an_instance_that_was_never_started_panics() {
    step(&mut Cursor::new(calls_a_then_b(), order()), 0, vec![answer(0, 1)]);
}

#[test]
#[should_panic(expected = "a step of an orchestration that has ended")]
fn a_step_of_an_ended_instance_panics() {
    let mut cursor = Cursor::new(main_is(|_| async { Ok(1) }), order());
    step(&mut cursor, 0, vec![start("Main", payload(()))]);
    step(&mut cursor, 1, vec![answer(0, 1)]);
}

#[test]
#[should_panic(expected = "a step of an orchestration that has ended")]
fn a_step_of_a_replayed_ended_instance_panics() {
    let app = main_is(|_| async { Err::<(), _>(ApplicationError::user("no")) });
    let outcome = step(&mut Cursor::new(app.clone(), order()), 0, vec![start("Main", payload(()))]);
    step(&mut Cursor::replay(app, order(), &outcome.new_events), 1, vec![answer(0, 1)]);
}

/// An environment that writes down what activities ask for.
#[derive(Default)]
struct Notes(RefCell<Vec<(&'static str, Duration)>>);

impl ActivityEnvironment for Notes {
    fn compute(&self, work: Duration) -> LocalBoxFuture<'static, ()> {
        self.0.borrow_mut().push(("compute", work));
        Box::pin(async {})
    }

    fn wait(&self, span: Duration) -> LocalBoxFuture<'static, ()> {
        self.0.borrow_mut().push(("wait", span));
        Box::pin(async {})
    }

    fn read_blob(&self, bytes: u64) -> LocalBoxFuture<'static, ()> {
        self.0.borrow_mut().push(("read", Duration::from_nanos(bytes)));
        Box::pin(async {})
    }

    fn write_blob(&self, bytes: u64) -> LocalBoxFuture<'static, ()> {
        self.0.borrow_mut().push(("write", Duration::from_nanos(bytes)));
        Box::pin(async {})
    }
}

fn run_activity(
    app: &Application,
    notes: &Rc<Notes>,
    name: &str,
    input: Payload,
) -> ApplicationResult {
    let task = TaskMessage {
        id: MessageId { producer: Producer::Client, index: 0 },
        caller: order(),
        event_id: 3,
        name: name.into(),
        input: input.clone(),
        ledger: Ledger::new(NOW),
    };
    let context = ActivityContext::new(notes.clone(), &task);
    app.run_activity(name, context, input).now_or_never().expect("the environment never waits")
}

#[test]
fn activities_use_their_environment_and_end_with_results() {
    const WORK: Duration = Duration::from_millis(3);
    let mut app = Application::new();
    app.activity("Double", |ctx: ActivityContext, number: u32| async move {
        ctx.compute(WORK).await;
        ctx.wait(2 * WORK).await;
        ctx.read_blob(7).await;
        ctx.write_blob(8).await;
        match number {
            0 => Err(ApplicationError::user("nothing to double")),
            _ => Ok(2 * number),
        }
    });
    let notes = Rc::new(Notes::default());
    let run = |name: &str, input| run_activity(&app, &notes, name, input);
    assert_eq!(run("Double", payload(21)), Ok(payload(42)));
    let bytes = Duration::from_nanos;
    let asked = [("compute", WORK), ("wait", 2 * WORK), ("read", bytes(7)), ("write", bytes(8))];
    assert_eq!(*notes.0.borrow(), asked);
    assert_eq!(run("Double", payload(0)), Err(ApplicationError::user("nothing to double")));
    assert_eq!(run("Double", payload("x")).map_err(|error| error.kind), Err(ErrorKind::Data));
    let unknown = run("Duoble", payload(1)).expect_err("no such activity");
    assert_eq!(unknown.to_string(), "unknown function: no activity is registered as \"Duoble\"");
}

#[test]
#[should_panic(expected = "orchestration \"Main\" is registered twice")]
fn two_orchestrations_of_one_name_panic() {
    let mut app = Application::new();
    for _ in 0..2 {
        app.orchestration("Main", |_: OrchestrationContext, (): ()| async { Ok(()) });
    }
}

#[test]
#[should_panic(expected = "activity \"A\" is registered twice")]
fn two_activities_of_one_name_panic() {
    let mut app = Application::new();
    for _ in 0..2 {
        app.activity("A", |_: ActivityContext, (): ()| async { Ok(()) });
    }
}
