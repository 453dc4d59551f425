//! Entities on engines that do it right, and on engines that do not.

use super::*;
use crate::checks::scene::Scene;
use crate::history::{ClientRequest, Told};
use sim_model::engine::InstanceState;
use sim_model::orchestration::RuntimeStatus;

fn judge(scene: &Scene, history: &[ClientOperation]) -> Vec<Check> {
    let graph = scene.graph.graph();
    checks(&graph, history, &scene.application, Delivery::ExactlyOnce)
}

/// The verdict on operations, and its words.
fn operations(scene: &Scene) -> Check {
    judge(scene, &[]).remove(0)
}

#[test]
fn calls_that_ran_one_after_the_other_pass() {
    let scene = Scene::new();
    let stored = scene.round(10, "a", &vec![], "x", ("Add", 1), None);
    let stored = scene.round(30, "b", &stored, "x", ("Add", 2), None);
    scene.round(50, "a", &stored, "x", ("Get", 0), None);
    scene.round(60, "a", &vec![], "y", ("Get", 0), None);
    let check = operations(&scene);
    assert_eq!((check.verdict, &*check.detail), (Verdict::Pass, "4 operations on 2 entities"));
}

#[test]
fn an_update_that_is_lost_is_found_and_told() {
    let scene = Scene::new();
    let before = vec![];
    scene.round(10, "a", &before, "x", ("Add", 1), None);
    scene.round(30, "b", &before, "x", ("Add", 2), None);
    let check = operations(&scene);
    assert_eq!(check.verdict, Verdict::Fail, "{}", check.detail);
    let expected = "1 breaches, first: @Counter@x: the result of Add(2) fits no order of the 2 \
                    operations up to it";
    assert_eq!(check.detail, expected);
    assert_eq!(
        check.history,
        [
            "0.010000000 s  a calls Add(1), operation 0",
            "0.020000000 s  operation 0 is answered with 1, in work item 2 (a step of a)",
            "0.030000000 s  b calls Add(2), operation 1",
            "0.040000000 s  operation 1 is answered with 2, in work item 5 (a step of b)",
            "-  in state 1, operation 1 would be answered with 3",
        ]
    );
}

#[test]
fn an_operation_that_ran_twice_is_found_once_somebody_sees_it() {
    let scene = Scene::new();
    let request = scene.call(10, ("a", 1), "x", ("Add", 1), None);
    let (stored, answers) = scene.serve(15, &vec![], &[&request]);
    scene.hear(20, "a", answers[0]);
    let (stored, _) = scene.serve(25, &stored, &[&request]);
    assert_eq!(operations(&scene).verdict, Verdict::Pass, "nobody has seen it");
    scene.round(30, "b", &stored, "x", ("Get", 0), None);
    let check = operations(&scene);
    assert_eq!(check.verdict, Verdict::Fail, "{}", check.detail);
    let last = check.history.last().expect("a history");
    assert!(last.contains("would be answered with 1"), "{last}");
}

#[test]
fn what_an_attempt_asked_that_was_given_up_must_have_no_effect() {
    let scene = Scene::new();
    let (request, step) = scene.ask(10, ("a", 1), "x", ("Add", 1), None);
    scene.graph.aborted(step);
    let (stored, _) = scene.serve(15, &vec![], &[&request]);
    scene.round(30, "b", &stored, "x", ("Get", 0), None);
    assert_eq!(operations(&scene).verdict, Verdict::Fail);
    let graph = scene.graph.graph();
    let lenient = checks(&graph, &[], &scene.application, Delivery::AtLeastOnce);
    assert_eq!(lenient[0].verdict, Verdict::Pass, "its engine may repeat steps");
}

#[test]
fn a_call_that_nobody_heard_of_may_have_run_or_not() {
    for serves in [false, true] {
        let scene = Scene::new();
        let request = scene.call(10, ("a", 1), "x", ("Add", 1), None);
        let stored = if serves { scene.serve(15, &vec![], &[&request]).0 } else { vec![] };
        scene.round(30, "b", &stored, "x", ("Get", 0), None);
        assert_eq!(operations(&scene).verdict, Verdict::Pass);
    }
}

fn read(invoked: u64, responded: u64, state: Option<&str>) -> ClientOperation {
    let entity_state =
        state.map(|text| Payload::encode(&text.parse::<i64>().expect("a number")).expect("JSON"));
    let told = InstanceState {
        name: "Counter".into(),
        created: Timestamp::ZERO,
        last_updated: Timestamp::ZERO,
        status: RuntimeStatus::Running,
        custom_status: None,
        entity_state,
    };
    ClientOperation {
        host: 1,
        instance: EntityId::new("Counter", "x").instance_id(),
        request: ClientRequest::Status,
        invoked: Timestamp::from_millis(invoked),
        answer: Some((Timestamp::from_millis(responded), Told::State(Some(Box::new(told))))),
    }
}

/// Two calls, answered at 20 ms and at 40 ms.
fn two_calls() -> Scene {
    let scene = Scene::new();
    let stored = scene.round(10, "a", &vec![], "x", ("Add", 1), None);
    scene.round(30, "a", &stored, "x", ("Add", 1), None);
    scene
}

#[test]
fn reads_that_fit_pass() {
    let fits = [
        read(1, 5, None),
        read(5, 15, None),
        read(11, 29, Some("1")),
        read(31, 60, Some("1")),
        read(31, 60, Some("2")),
        read(61, 70, Some("2")),
    ];
    let found = judge(&two_calls(), &fits);
    assert_eq!((&*found[1].name, found[1].verdict), ("linearizable-reads", Verdict::Pass));
}

#[test]
fn reads_that_do_not_fit_are_observed_and_told() {
    for wrong in [
        vec![read(21, 25, None)],
        vec![read(1, 5, Some("1"))],
        vec![read(50, 55, Some("1"))],
        vec![read(31, 33, Some("2")), read(34, 36, Some("1"))],
        vec![read(50, 55, Some("7"))],
    ] {
        let found = judge(&two_calls(), &wrong);
        assert_eq!(found[0].verdict, Verdict::Pass, "operations are another rule");
        assert_eq!(found[1].verdict, Verdict::Observed, "{wrong:?}");
        assert!(!found[1].history.is_empty(), "{wrong:?}");
    }
}
