//! Who asks in vain, in histories made by hand.

use super::*;
use crate::checks::scene::{Scene, Stored};

/// A step asks for `call` and is lost, or not; then "b" asks the counter for `asks` after each other, every
/// second. The entity that "b" asks in vain from `since` on, and whether it misled "b".
fn asked(lost: bool, call: (&str, i64), asks: &[(&str, i64)], since: u64) -> (bool, bool) {
    let scene = Scene::new();
    let (request, step) = scene.ask(0, ("a", 1), "x", call, None);
    if !lost {
        scene.graph.committed(step);
    }
    let (mut stored, _) = scene.serve(5, &Stored::new(), &[&request]);
    for (number, call) in (1..).zip(asks) {
        stored = scene.round(1_000 * number, "b", &stored, "x", *call, None);
    }
    let graph = scene.graph.graph();
    let effects = LostEffects::of(&graph, &scene.application);
    let (b, since) = (InstanceId::new("b"), Timestamp::from_millis(since));
    let entity =
        graph.index_of(&EntityId::new("Counter", "x").instance_id()).expect("it was asked");
    (effects.asked_in_vain(&b, since) == Some(entity), effects.has_misled(entity, &b))
}

const ADD: (&str, i64) = ("Add", 1);
const GET: (&str, i64) = ("Get", 0);

#[test]
fn who_is_told_the_same_for_ever_asks_in_vain_for_what_a_lost_step_has_done() {
    assert_eq!(asked(true, ADD, &[GET; 5], 0), (true, true));
    assert_eq!(asked(true, ADD, &[ADD, GET, GET, GET, GET, GET], 1_500), (true, true));
}

#[test]
fn what_no_lost_step_has_done_is_nobodys_excuse() {
    assert_eq!(asked(false, ADD, &[GET; 5], 0), (true, false));
    assert_eq!(asked(true, GET, &[GET; 5], 0), (true, false), "it changed nothing");
    assert_eq!(asked(true, ("Add", 0), &[GET; 5], 0), (true, false), "nor did it change anything");
}

#[test]
fn who_is_not_answered_lately_or_is_told_something_else_does_not_ask_in_vain() {
    assert_eq!(asked(true, ADD, &[GET; 4], 0), (false, true), "too few");
    assert_eq!(asked(true, ADD, &[GET; 5], 1_500), (false, true), "the first was long ago");
    assert_eq!(asked(true, ADD, &[ADD; 5], 0), (false, true), "each time something else");
    assert_eq!(asked(true, ADD, &[GET, GET, ADD, GET, GET], 0), (false, true));
}

#[test]
fn the_second_request_of_a_decision_counts_if_the_first_was_lost() {
    // The step is lost and runs again: both requests run, and only the second one is somebody's.
    let scene = Scene::new();
    let (lost, _) = scene.ask(0, ("a", 1), "x", ADD, None);
    let (stored, _) = scene.serve(5, &Stored::new(), &[&lost]);
    let again = scene.call(10, ("a", 1), "x", ADD, None);
    scene.serve(15, &stored, &[&again, &lost]);
    let graph = scene.graph.graph();
    let a = InstanceId::new("a");
    let effects = LostEffects::of(&graph, &scene.application);
    let entity = graph.index_of(&again.target).expect("it was asked");
    assert!(effects.has_misled(entity, &a), "it was told 2 and would have been told 1");
}
