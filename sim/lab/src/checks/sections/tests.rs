//! Critical sections that are isolated, and such that are not.

use super::*;
use crate::checks::scene::Scene;

fn judge(scene: &Scene) -> Option<Check> {
    let graph = scene.graph.graph();
    check(&graph, &scene.application, Delivery::ExactlyOnce)
}

#[test]
fn without_sections_there_is_nothing_to_judge() {
    let scene = Scene::new();
    scene.round(10, "a", &vec![], "x", ("Add", 1), None);
    assert!(judge(&scene).is_none());
}

#[test]
fn sections_one_after_the_other_are_isolated() {
    let scene = Scene::new();
    let x = scene.round(10, "a", &vec![], "x", ("Add", -5), Some("a"));
    let y = scene.round(30, "a", &vec![], "y", ("Add", 5), Some("a"));
    let x = scene.round(50, "b", &x, "x", ("Get", 0), Some("b"));
    scene.round(70, "b", &y, "y", ("Get", 0), Some("b"));
    scene.round(90, "c", &x, "x", ("Add", 1), None);
    let check = judge(&scene).expect("there are sections");
    assert_eq!(check.verdict, Verdict::Pass);
    assert_eq!(check.detail, "2 critical sections, 5 accesses to entities");
}

#[test]
fn a_section_that_sees_half_of_another_one_is_found_and_told() {
    let scene = Scene::new();
    let y = scene.round(1, "z", &vec![], "y", ("Add", 1), None);
    let x = scene.round(10, "a", &vec![], "x", ("Add", -5), Some("a"));
    scene.round(30, "b", &x, "x", ("Get", 0), Some("b"));
    let y = scene.round(50, "b", &y, "y", ("Get", 0), Some("b"));
    scene.round(70, "a", &y, "y", ("Add", 5), Some("a"));
    let check = judge(&scene).expect("there are sections");
    assert_eq!(check.verdict, Verdict::Fail);
    let history = check.history.join("\n");
    for part in [
        "critical section 0 of a changes @Counter@x by Add",
        "critical section 0 of b reads @Counter@x by Get",
        "critical section 0 of b reads @Counter@y by Get",
        "critical section 0 of a changes @Counter@y by Add",
        "critical section 0 of b found @Counter@x as critical section 0 of a had left it",
        "critical section 0 of b found @Counter@y as it was before critical section 0 of a changed it",
    ] {
        assert!(history.contains(part), "{part}\n{history}");
    }
}

#[test]
fn reading_both_ways_is_no_conflict() {
    let scene = Scene::new();
    // The first operation of an entity writes its state.
    let x = scene.round(1, "z", &vec![], "x", ("Add", 1), None);
    let y = scene.round(2, "z", &vec![], "y", ("Add", 1), None);
    let x = scene.round(10, "a", &x, "x", ("Get", 0), Some("a"));
    let x = scene.round(30, "b", &x, "x", ("Get", 0), Some("b"));
    let y = scene.round(50, "b", &y, "y", ("Get", 0), Some("b"));
    scene.round(70, "a", &y, "y", ("Get", 0), Some("a"));
    scene.round(90, "c", &x, "x", ("Add", 1), None);
    assert_eq!(judge(&scene).expect("there are sections").verdict, Verdict::Pass);
}

#[test]
fn a_signal_in_the_middle_of_a_section_is_found() {
    let scene = Scene::new();
    let x = scene.round(10, "a", &vec![], "x", ("Add", 1), Some("a"));
    let x = scene.round(30, "b", &x, "x", ("Add", 1), None);
    scene.round(50, "a", &x, "x", ("Add", 1), Some("a"));
    let check = judge(&scene).expect("there is a section");
    assert_eq!(check.verdict, Verdict::Fail, "{}", check.detail);
}

#[test]
fn a_lost_update_of_two_sections_is_found() {
    let scene = Scene::new();
    let x = scene.round(10, "z", &vec![], "x", ("Add", 1), None);
    scene.round(30, "a", &x, "x", ("Add", 1), Some("a"));
    scene.round(50, "b", &x, "x", ("Add", 1), Some("b"));
    assert_eq!(judge(&scene).expect("there are sections").verdict, Verdict::Fail);
}

#[test]
fn several_operations_of_one_step_are_told_apart() {
    let scene = Scene::new();
    let first = scene.call(10, ("a", 1), "x", ("Get", 0), Some("a"));
    let second = scene.call(11, ("b", 1), "x", ("Add", 1), Some("b"));
    let third = scene.call(12, ("a", 2), "x", ("Get", 0), Some("a"));
    scene.serve(20, &vec![], &[&first, &second, &third]);
    let check = judge(&scene).expect("there are sections");
    assert_eq!(check.verdict, Verdict::Fail, "the second read found what b wrote");
}
