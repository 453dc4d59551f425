//! A coordinator whose run is repeated when the workflow has long gone on: the platform runs again what
//! died with its host, after a delay in which a new worker has invoked another one.

use crate::coordinator::{self, CoordinatorCall};
use crate::event::{Event, EventId, Position};
use crate::hub::{BACKEND, Hub};
use crate::record::Record;
use crate::store::keys;
use crate::trigger::Trigger;
use crate::{Deployed, SETTINGS};
use bytes::Bytes;
use sim_model::application::{ActivityContext, Application};
use sim_model::codec::{decode, encode};
use sim_model::engine::{Observer, StartRequest, TaskHub};
use sim_model::graph::{GraphRecorder, checks};
use sim_model::id::{InstanceId, MessageId, Producer};
use sim_model::ledger::Ledger;
use sim_model::message::critical_ledger;
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::step::StepInput;
use sim_model::time::Timestamp;
use sim_world::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
use sim_world::profile::Profile;
use sim_world::world::{Deployment as Machines, World};
use std::rc::Rc;
use std::time::Duration;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

fn application() -> Application {
    let mut app = Application::new();
    app.activity("Work", |cx: ActivityContext, (): ()| async move {
        cx.wait(SECOND).await;
        Ok(1_u32)
    });
    app.orchestration("Chain", |ctx: OrchestrationContext, calls: u32| async move {
        for _ in 0..calls {
            ctx.call_activity::<u32>("Work", &()).await?;
        }
        Ok(calls)
    });
    app
}

pub(crate) fn deployed(kernel: &Kernel, graph: &GraphRecorder) -> Deployed {
    let machines = Machines { plan: "EP2".into(), hosts: 2, partitions: 12 };
    let profile = Rc::new(Profile::named("azure-2021-10").expect("embedded"));
    let world = World::new(kernel, 1, profile, &machines).expect("a world");
    let deployment = sim_model::engine::Deployment {
        application: Rc::new(application()),
        settings: Settings::defaults(SETTINGS),
        observer: Observer::new(graph.clone(), |_| ()),
    };
    let deployed = crate::deployed(&world, deployment).expect("deployable");
    (0..2).for_each(|host| deployed.start_host(host));
    deployed
}

/// Starts a chain of so many calls.
pub(crate) async fn start(deployed: &Deployed, calls: u32) -> InstanceId {
    let instance = InstanceId::new("chain");
    let input = Payload::encode(&calls).expect("a number");
    let request = StartRequest { instance: instance.clone(), name: "Chain".into(), input };
    deployed.client(0).start(request).await.expect("accepted");
    instance
}

/// The first run of the coordinator, attempted once more.
fn first_run() -> CoordinatorCall {
    let of = MessageId { producer: Producer::Client, index: 0 };
    CoordinatorCall {
        workspace: "chain".into(),
        record: Record::from(Position::default()),
        woken_by: (EventId { of, termination: false }, Ledger::new(Timestamp::ZERO)),
    }
}

#[test]
fn a_late_attempt_at_a_run_does_not_count_and_does_again_what_was_decided() {
    let main = |kernel: Kernel| async move {
        let graph = GraphRecorder::default();
        let deployed = deployed(&kernel, &graph);
        let hub = &deployed.hub;
        let instance = start(&deployed, 6).await;
        // Seven seconds until a worker is there; then a call each second.
        for wait in [10, 2, 30] {
            kernel.sleep(wait * SECOND).await;
            assert_eq!(coordinator::run(hub, 1, first_run()).await, None);
        }
        let state = deployed.client(0).wait(instance).await.expect("an answer");
        assert!(state.status.is_final());
        let count = |name| deployed.counters().iter().find(|(own, _)| *own == name).map(|c| c.1);
        assert_eq!(count("coordinator_repetitions"), Some(3));
        // It cannot know whether all was done: each attempt invokes the same function under the same id.
        assert_eq!(count("invocations"), Some(7 + 6 + 3));
        assert!(count("duplicates_dropped") >= Some(2), "their ends count once");
        let graph = graph.graph();
        assert_eq!(checks::exactly_once(&graph, checks::is_step), None);
        assert_eq!(checks::serial_instances(&graph), None);
        assert_eq!(checks::causally_consistent_commit(&graph), None);
        assert_eq!(checks::no_message_lost(&graph, kernel.now()), None);
    };
    on_fresh_thread(|| simulate(KernelOptions::with_seed(1), main).expect("comes to its end"));
}

/// An attempt at the first run that registers its trigger, and dies. Returns what it has left.
async fn registers_and_dies(hub: &Hub, instance: &InstanceId) -> Record {
    let connection = hub.store.connect(hub.host(1));
    let entries = connection.read("chain", Position::default()).await;
    let event =
        |(position, body): (Position, Bytes)| (decode::<Event>(&body).expect("an event"), position);
    let stream: Vec<(Event, Position)> = entries.into_iter().map(event).collect();
    let record = first_run().record;
    let mut reading = record.read(&stream, true);
    let mut cursor = record.replay(&hub.application, instance, &mut reading, BACKEND);
    let (graph, now, messages) = (hub.observer.graph(), hub.now(), reading.fresh.clone());
    let ids = messages.iter().map(|message| message.id);
    let work_item = graph.fetch_step(instance, cursor.last_step(), ids, now);
    let (ledger, execution, backend) = (critical_ledger(&messages), Default::default(), BACKEND);
    let outcome = cursor.step(StepInput { work_item, now, ledger, execution, messages, backend });
    graph.executed_step(work_item, &outcome);
    let next = record.after((work_item, now), &reading, &outcome);
    let trigger = next.trigger("wake-1".into());
    assert!(connection.set_new(&keys::triggers("chain"), "wake-1", encode(&trigger)).await);
    next
}

#[test]
fn a_late_attempt_ends_a_workflow_although_a_run_that_found_nothing_has_followed() {
    let main = |kernel: Kernel| async move {
        let graph = GraphRecorder::default();
        let deployed = deployed(&kernel, &graph);
        let hub = &deployed.hub;
        // It ends in its first run.
        let instance = start(&deployed, 0).await;
        let record = registers_and_dies(hub, &instance).await;
        let idle = CoordinatorCall { record, ..first_run() };
        assert!(coordinator::run(hub, 0, idle).await.is_some());
        let done = ["wake-0", "wake-1"].map(|id| (id.into(), encode(&Trigger::done(id.into()))));
        let connection = hub.store.connect(hub.host(0));
        connection.set(&keys::triggers("chain"), done.into()).await.expect("answered");
        kernel.sleep(60 * SECOND).await;
        assert_eq!(coordinator::run(hub, 1, first_run()).await, None);
        let client = deployed.client(0);
        let state = kernel.timeout(60 * SECOND, client.wait(instance)).await;
        let state = state.expect("it has ended").expect("an answer");
        assert!(matches!(state.status, RuntimeStatus::Completed(_)));
        let graph = graph.graph();
        assert_eq!(checks::exactly_once(&graph, checks::is_step), None);
        assert_eq!(checks::serial_instances(&graph), None);
        assert_eq!(checks::no_message_lost(&graph, kernel.now()), None);
    };
    on_fresh_thread(|| simulate(KernelOptions::with_seed(1), main).expect("comes to its end"));
}
