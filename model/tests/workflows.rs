//! Workflows as data: what is carried out equals a direct evaluation of the value, whatever the order
//! in which answers arrive, and a replay from every prefix goes on in the same way.

mod common;

use common::{Options, Play, Rebuild, payload};
use proptest::prelude::*;
use sim_model::application::{ActivityContext, Application, ApplicationError};
use sim_model::engine::ClientMessage;
use sim_model::error::ErrorKind;
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::workflow::{
    Calls, Dag, DagTask, Joins, STATES_ENTERED_MAX, State, StateMachine, Workflow, WorkflowError,
};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

const NAME: &str = "Flow";

type Outcome = Result<Payload, ApplicationError>;

fn mix(left: u64, right: u64) -> u64 {
    (left ^ right.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(23).wrapping_mul(0xff51_afd7)
}

/// What the activity gives: one input in nine is an error.
fn work(input: u64) -> Result<u64, ApplicationError> {
    match mix(input, 5) % 9 {
        0 => Err(ApplicationError::user(format!("cannot work on {input}"))),
        _ => Ok(mix(input, 1)),
    }
}

fn application(workflow: &Workflow) -> Rc<Application> {
    let mut app = Application::new();
    app.workflow(NAME, workflow.clone());
    app.activity("Work", |_: ActivityContext, input: u64| async move { work(input) });
    Rc::new(app)
}

/// Runs the workflow to its end.
fn play(workflow: &Workflow, input: impl serde::Serialize, options: Options) -> Play {
    let mut play = Play::new(application(workflow), options);
    play.start(NAME, "main", input);
    play.run();
    play
}

fn outcome(play: &Play) -> Outcome {
    match play.status("main") {
        RuntimeStatus::Completed(result) => Ok(result),
        RuntimeStatus::Failed(error) => Err(error),
        other => panic!("it has not ended: {other:?}"),
    }
}

fn options(fifo: bool, seed: u64) -> Options {
    let options = if fifo { Options::fifo(seed) } else { Options::disorderly(seed) };
    Options { rebuild: Rebuild::EachPrefix, ..options }
}

fn task(name: &str, calls: Calls, after: &[usize]) -> DagTask {
    DagTask { name: name.into(), activity: "Work".into(), calls, after: after.to_vec() }
}

fn dag(tasks: Vec<DagTask>) -> Workflow {
    Workflow::Dag(Rc::new(Dag { tasks }))
}

/// An input on which the activity fails, or does not.
fn input_that(fails: bool) -> u64 {
    (0..).find(|input| work(*input).is_err() == fails).expect("both exist")
}

fn worked(input: &Payload) -> Outcome {
    work(input.decode()?).map(payload)
}

/// The graph evaluated task by task, as its documentation says.
fn evaluate_dag(dag: &Dag) -> Outcome {
    let mut results: Vec<Option<Outcome>> = Vec::new();
    for task in &dag.tasks {
        let runs = task.after.iter().all(|upstream| matches!(results[*upstream], Some(Ok(_))));
        results.push(runs.then(|| match &task.calls {
            Calls::One(input) => worked(input),
            Calls::Map(inputs) => {
                let results: Result<Vec<Payload>, _> = inputs.iter().map(worked).collect();
                results.map(|results| Payload::list(&results))
            }
        }));
    }
    for (task, result) in dag.tasks.iter().zip(&results) {
        if let Some(Err(error)) = result {
            return Err(task.failure(error));
        }
    }
    let results: Vec<Payload> =
        results.into_iter().map(|r| r.expect("all ran").expect("well")).collect();
    Ok(Payload::list(&results))
}

fn dags() -> impl Strategy<Value = Dag> {
    let calls = prop_oneof![
        3 => (0u64..60).prop_map(|input| Calls::One(payload(input))),
        1 => prop::collection::vec(0u64..60, 0..5)
            .prop_map(|inputs| Calls::Map(inputs.into_iter().map(payload).collect())),
        1 => prop::collection::vec(0u64..60, 31..35)
            .prop_map(|inputs| Calls::Map(inputs.into_iter().map(payload).collect())),
    ];
    prop::collection::vec((calls, any::<u64>()), 0..14).prop_map(|tasks| {
        let task = |(index, (calls, links)): (usize, (Calls, u64))| {
            // About a third of the possible links.
            let linked = |upstream: &usize| mix(links, *upstream as u64).is_multiple_of(3);
            let after: Vec<usize> = (0..index).filter(linked).collect();
            task(&format!("task{index}"), calls, &after)
        };
        Dag { tasks: tasks.into_iter().enumerate().map(task).collect() }
    })
}

/// A machine over numbers; it is made into a [`StateMachine`] and evaluated.
#[derive(Clone, Debug)]
enum Shape {
    Pass,
    Task,
    /// Goes to the state after it, or skips one.
    Choice,
    Map(Vec<Shape>),
    Parallel(Vec<Vec<Shape>>),
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let leaf = prop_oneof![Just(Shape::Pass), Just(Shape::Task), Just(Shape::Choice)];
    let shape = leaf.prop_recursive(3, 20, 3, |inner| {
        let machine = prop::collection::vec(inner, 0..4);
        prop_oneof![
            machine.clone().prop_map(Shape::Map),
            prop::collection::vec(machine, 0..3).prop_map(Shape::Parallel),
        ]
    });
    prop::collection::vec(shape, 0..6)
}

fn name(index: usize) -> Arc<str> {
    format!("state{index}").into()
}

fn number(payload: &Payload) -> Result<u64, ApplicationError> {
    payload.decode()
}

fn folded(results: &Payload) -> Result<u64, ApplicationError> {
    Ok(results.decode::<Vec<u64>>()?.into_iter().fold(7, mix))
}

fn choice(input: u64, index: usize) -> usize {
    index + 1 + (input % 2) as usize
}

/// States in a row; the last one, where choices lead too, passes its input on.
fn machine(shapes: &[Shape]) -> Rc<StateMachine> {
    let mut states: Vec<(Arc<str>, State)> = Vec::new();
    for (index, shape) in shapes.iter().enumerate() {
        let next = Some(name(index + 1));
        let state = match shape {
            Shape::Pass => {
                State::Pass { output: Rc::new(|input| Ok(payload(mix(number(input)?, 3)))), next }
            }
            Shape::Task => State::Task {
                activity: "Work".into(),
                input: Rc::new(|input| Ok(payload(number(input)? % 50))),
                output: Rc::new(|input, result| Ok(payload(mix(number(input)?, number(&result)?)))),
                next,
            },
            Shape::Choice => State::Choice {
                choose: Rc::new(move |input| Ok(name(choice(number(input)?, index)))),
            },
            Shape::Map(body) => State::Map {
                items: Rc::new(|input| {
                    let input = number(input)?;
                    Ok((0..input % 5).map(|item| payload(mix(input, item))).collect())
                }),
                body: machine(body),
                output: Rc::new(|input, results| {
                    Ok(payload(mix(number(input)?, folded(&results)?)))
                }),
                next,
            },
            Shape::Parallel(branches) => State::Parallel {
                input: Rc::new(|input| Ok(payload(number(input)? ^ 1))),
                branches: branches.iter().map(|branch| machine(branch)).collect(),
                output: Rc::new(|input, results| {
                    Ok(payload(mix(number(input)?, folded(&results)?)))
                }),
                next,
            },
        };
        states.push((name(index), state));
    }
    let end = || State::Pass { output: Rc::new(|input| Ok(input.clone())), next: None };
    states.push((name(shapes.len()), end()));
    states.push((name(shapes.len() + 1), end()));
    Rc::new(StateMachine { start: name(0), states })
}

fn evaluate(shapes: &[Shape], input: u64) -> Result<u64, ApplicationError> {
    let (mut at, mut value) = (0, input);
    while let Some(shape) = shapes.get(at) {
        let next = if let Shape::Choice = shape { choice(value, at) } else { at + 1 };
        value = match shape {
            Shape::Pass => mix(value, 3),
            Shape::Task => mix(value, work(value % 50)?),
            Shape::Choice => value,
            Shape::Map(body) => {
                let each: Result<Vec<u64>, _> =
                    (0..value % 5).map(|item| evaluate(body, mix(value, item))).collect();
                mix(value, each?.into_iter().fold(7, mix))
            }
            Shape::Parallel(branches) => {
                let each: Result<Vec<u64>, _> =
                    branches.iter().map(|branch| evaluate(branch, value ^ 1)).collect();
                mix(value, each?.into_iter().fold(7, mix))
            }
        };
        at = next;
    }
    Ok(value)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_graph_comes_to_what_its_evaluation_does(dag in dags(), fifo: bool, seed: u64) {
        let expected = evaluate_dag(&dag);
        let played = play(&Workflow::Dag(Rc::new(dag)), (), options(fifo, seed));
        prop_assert_eq!(outcome(&played), expected);
    }

    #[test]
    fn a_machine_comes_to_what_its_evaluation_does(
        shapes in shapes(), input: u64, fifo: bool, seed: u64
    ) {
        let workflow = Workflow::Machine(machine(&shapes));
        let played = play(&workflow, input, options(fifo, seed));
        prop_assert_eq!(outcome(&played), evaluate(&shapes, input).map(payload));
    }

    #[test]
    fn joins_end_with_the_last_event_they_lack(
        joins in 1u32..40, events in 0u32..6, more in 0u32..3, fifo: bool, seed: u64
    ) {
        let mut play = Play::new(
            application(&Workflow::Joins(Joins { joins, events })),
            options(fifo, seed),
        );
        play.start(NAME, "main", ());
        play.run_until(play.clock);
        raise(&mut play, joins, events.saturating_sub(1) + more);
        play.run();
        if events == 0 || events - 1 + more >= events {
            prop_assert_eq!(play.result::<u32>("main"), joins);
        } else {
            prop_assert_eq!(play.status("main"), RuntimeStatus::Running);
        }
    }
}

/// Raises so many events for each join, round by round.
fn raise(play: &mut Play, joins: u32, events: u32) {
    for _ in 0..events {
        for join in 0..joins {
            let name = join.to_string().into();
            play.send("main", ClientMessage::RaiseEvent { name, input: payload(()) });
        }
    }
}

#[test]
fn many_events_are_taken_by_execution_after_execution() {
    let (joins, events) = (7, 450);
    let workflow = Workflow::Joins(Joins { joins, events });
    let mut play = Play::new(application(&workflow), Options::disorderly(3));
    play.start(NAME, "main", ());
    play.run_until(play.clock);
    raise(&mut play, joins, events);
    raise(&mut play, 1, 5);
    play.run();
    assert_eq!(play.result::<u32>("main"), joins);
    let executions = play.taken.iter().filter(|taken| taken.outcome.replaces_history).count();
    assert_eq!(executions, 3, "3150 events are three times a thousand and some");
    // An event is a row, and so are the begin and the end of each step.
    assert!(play.history("main").len() < 1_000, "{}", play.history("main").len());
}

#[test]
fn tasks_run_side_by_side_once_what_they_are_after_has_succeeded() {
    let one = || Calls::One(payload(input_that(false)));
    let diamond = dag(vec![
        task("a", one(), &[]),
        task("b", one(), &[0]),
        task("c", Calls::Map(vec![payload(input_that(false)); 3]), &[0]),
        task("d", one(), &[1, 2]),
    ]);
    let played = play(&diamond, "ignored", Options::fifo(1));
    let calls: Vec<usize> = played.taken.iter().map(|taken| taken.outcome.tasks.len()).collect();
    assert_eq!(calls.iter().sum::<usize>(), 6);
    assert_eq!(calls[..2], [1, 4], "the second step calls b and all of c");
    assert_eq!(calls.iter().filter(|calls| **calls > 0).count(), 3);
}

#[test]
fn the_first_failure_of_the_graph_counts_and_what_is_beside_it_goes_on() {
    let call = |fails| Calls::One(payload(input_that(fails)));
    let graph = dag(vec![
        task("early", call(false), &[]),
        task(
            "second",
            Calls::Map(vec![payload(input_that(false)), payload(input_that(true))]),
            &[0],
        ),
        task("first in time", call(true), &[]),
        task("beside", call(false), &[0]),
        task("downstream", call(false), &[1, 3]),
    ]);
    let played = play(&graph, (), Options::fifo(1));
    let error = outcome(&played).expect_err("two tasks fail");
    let input = input_that(true);
    assert_eq!(*error.message, *format!("task \"second\" failed: cannot work on {input}"));
    let calls: usize = played.taken.iter().map(|taken| taken.outcome.tasks.len()).sum();
    assert_eq!(calls, 5, "all but what is downstream of a failure");
    let unknown = DagTask { activity: "Wrok".into(), ..task("typo", call(false), &[]) };
    let error =
        outcome(&play(&dag(vec![unknown]), (), Options::fifo(1))).expect_err("no such code");
    assert!(error.message.contains("task \"typo\" failed: unknown function"), "{error}");
}

fn pass(next: Option<&str>) -> State {
    State::Pass { output: Rc::new(|input| Ok(input.clone())), next: next.map(Into::into) }
}

fn one_machine(start: &str, states: Vec<(&str, State)>) -> Rc<StateMachine> {
    let states = states.into_iter().map(|(name, state)| (name.into(), state)).collect();
    Rc::new(StateMachine { start: start.into(), states })
}

#[test]
fn a_machine_that_never_ends_and_a_choice_of_nothing_fail() {
    let choose = |next: &'static str| State::Choice { choose: Rc::new(move |_| Ok(next.into())) };
    let run = |choice| {
        let states = vec![("a", pass(Some("b"))), ("b", choice), ("c", pass(None))];
        outcome(&play(&Workflow::Machine(one_machine("a", states)), 1, Options::fifo(1)))
    };
    assert_eq!(run(choose("c")), Ok(payload(1)));
    let endless = run(choose("a")).expect_err("it goes round in circles");
    assert!(endless.message.contains(&STATES_ENTERED_MAX.to_string()), "{endless}");
    let nowhere = run(choose("d")).expect_err("no such state");
    assert_eq!(nowhere.kind, ErrorKind::Misuse);
    assert!(nowhere.message.contains("\"d\""), "{nowhere}");
}

#[test]
fn what_cannot_be_carried_out_is_refused_when_it_is_registered() {
    let one = || Calls::One(payload(0));
    let machine = |start, states| Workflow::Machine(one_machine(start, states));
    let map = |body| State::Map {
        items: Rc::new(|_| Ok(Vec::new())),
        body,
        output: Rc::new(|_, results| Ok(results)),
        next: None,
    };
    let cases: BTreeMap<&str, Workflow> = [
        ("two tasks are named \"a\"", dag(vec![task("a", one(), &[]), task("a", one(), &[])])),
        (
            "task \"a\" waits for task number 1, which does not come before it",
            dag(vec![task("a", one(), &[1]), task("b", one(), &[])]),
        ),
        (
            "task \"b\" waits for \"a\" twice",
            dag(vec![task("a", one(), &[]), task("b", one(), &[0, 0])]),
        ),
        ("two states are named \"a\"", machine("a", vec![("a", pass(None)), ("a", pass(None))])),
        (
            "the machine starts with \"b\", which is none of its states",
            machine("b", vec![("a", pass(None))]),
        ),
        (
            "state \"a\" within \"m\" is followed by \"m\", which is no state of its machine",
            machine("m", vec![("m", map(one_machine("a", vec![("a", pass(Some("m")))])))]),
        ),
        (
            "the machine within \"m / n\" starts with \"x\", which is none of its states",
            machine(
                "m",
                vec![("m", map(one_machine("n", vec![("n", map(one_machine("x", vec![])))])))],
            ),
        ),
        (
            "1000000 joins of 2 events are more than 500000 events",
            Workflow::Joins(Joins { joins: 1_000_000, events: 2 }),
        ),
    ]
    .into();
    for (expected, workflow) in cases {
        let refused: WorkflowError = workflow.validate().expect_err(expected);
        assert_eq!(refused.to_string(), expected);
    }
}

#[test]
#[should_panic(expected = "workflow \"Flow\" cannot be registered: two tasks are named \"a\"")]
fn registering_it_says_what_is_wrong() {
    let one = || Calls::One(payload(0));
    application(&dag(vec![task("a", one(), &[]), task("a", one(), &[])]));
}

#[test]
fn a_workflow_is_an_orchestration_and_a_value() {
    let workflow = Workflow::Joins(Joins { joins: 1, events: 1 });
    let app = application(&workflow);
    assert!(app.has_orchestration(NAME));
    assert!(matches!(app.workflow_named(NAME), Some(Workflow::Joins(Joins { joins: 1, .. }))));
    assert!(app.workflow_named("Work").is_none());
}
