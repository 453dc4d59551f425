//! Bytes of the store that a disk has changed: passed over and counted, and never the end of the run.

use crate::keys::WorkspaceName;
use crate::late_attempt_test::{SECOND, deployed, start};
use crate::store::StoreError;
use crate::trigger::{Role, Trigger};
use crate::workspace::Logic;
use bytes::Bytes;
use sim_model::engine::TaskHub;
use sim_model::graph::{GraphRecorder, checks};
use sim_model::orchestration::RuntimeStatus;
use sim_model::payload::Payload;
use sim_model::workflow::{Calls, Dag, DagTask, Workflow};
use sim_world::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
use std::rc::Rc;

/// What is no value of anything: a length without what it counts.
const NOISE: Bytes = Bytes::from_static(b"\xff\xff\xff\xff\x7f");

#[test]
fn events_and_triggers_that_do_not_decode_are_passed_over() {
    let main = |kernel: Kernel| async move {
        let graph = GraphRecorder::default();
        let deployed = deployed(&kernel, &graph);
        let hub = &deployed.hub;
        let instance = start(&deployed, 3).await;
        let connection = hub.store.connect(hub.host(0));
        connection.append("chain", NOISE).await.expect("answered");
        // The name under which the first run is to register.
        let field = vec![("wake-1".into(), NOISE)];
        let triggers = WorkspaceName::plain("chain".into()).triggers();
        connection.set(&triggers, field).await.expect("answered");
        let unreadable = connection.get::<Trigger>(&triggers, "wake-1").await;
        assert_eq!(unreadable, Err(StoreError::Unreadable));
        let client = deployed.client(0);
        let state = kernel.timeout(120 * SECOND, client.wait(instance)).await;
        let state = state.expect("it has ended").expect("an answer");
        assert!(matches!(state.status, RuntimeStatus::Completed(_)));
        let count = |name| deployed.counters().iter().find(|(own, _)| *own == name).map(|c| c.1);
        assert!(count("store_unreadable") > Some(3), "by the worker and by each run");
        assert_eq!(count("store_refused"), Some(0));
        let graph = graph.graph();
        assert_eq!(checks::exactly_once(&graph, checks::is_step), None);
        assert_eq!(checks::no_message_lost(&graph, kernel.now()), None);
    };
    on_fresh_thread(|| simulate(KernelOptions::with_seed(1), main).expect("comes to its end"));
}

#[test]
fn a_workflow_that_is_data_misses_none_of_its_triggers() {
    let task = |name: &str, after: Vec<usize>| DagTask {
        name: name.into(),
        activity: "Add".into(),
        calls: Calls::One(Payload::encode(&1).expect("a number")),
        after,
    };
    let dag = Dag { tasks: vec![task("first", vec![]), task("second", vec![0])] };
    let logic = Logic::of(Some(&Workflow::Dag(Rc::new(dag))));
    let whole = logic.triggers(Default::default());
    assert!(logic.has_its_own_among(&whole));
    for damaged in 0..whole.len() {
        let mut triggers = whole.clone();
        triggers.remove(damaged);
        assert!(!logic.has_its_own_among(&triggers), "it misses {}", whole[damaged].id);
        let mut triggers = whole.clone();
        triggers[damaged].role = Role::State(99);
        assert!(!logic.has_its_own_among(&triggers), "{} is another one", whole[damaged].id);
    }
    assert!(Logic::Code.has_its_own_among(&[]), "code makes its triggers as it runs");
}

#[test]
fn what_a_damaged_key_refuses_is_given_up() {
    let main = |kernel: Kernel| async move {
        let graph = GraphRecorder::default();
        let deployed = deployed(&kernel, &graph);
        let hub = &deployed.hub;
        let connection = hub.store.connect(hub.host(0));
        connection.set("key", vec![("field".into(), NOISE)]).await.expect("answered");
        assert_eq!(connection.read("key", Default::default()).await, Vec::new());
        assert_eq!(hub.store.trouble().refused.get(), 1);
    };
    on_fresh_thread(|| simulate(KernelOptions::with_seed(1), main).expect("comes to its end"));
}
