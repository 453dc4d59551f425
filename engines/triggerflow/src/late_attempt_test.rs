//! A coordinator whose run is repeated when the workflow has long gone on: the platform runs again what
//! died with its host, after a delay in which a new worker has invoked another one. And one whose answer comes
//! when the worker has found its trigger in the store and gone on.

use crate::coordinator::{self, CoordinatorCall};
use crate::event::{Event, EventId, Position};
use crate::hub::{BACKEND, Hub};
use crate::keys::WorkspaceName;
use crate::plan::Rules;
use crate::record::Record;
use crate::settings::Parameters;
use crate::trigger::Trigger;
use crate::workspace::{Logic, Taken, Workspace};
use crate::{Deployed, SETTINGS};
use bytes::Bytes;
use sim_model::application::{ActivityContext, Application};
use sim_model::codec::{decode, encode};
use sim_model::engine::{Observer, StartRequest, TaskHub};
use sim_model::graph::{GraphRecorder, checks};
use sim_model::history::{EventKind, HistoryEvent, RaisedEvent};
use sim_model::id::{InstanceId, MessageId, Producer, WorkItemId};
use sim_model::ledger::Ledger;
use sim_model::message::{InstanceMessage, critical_ledger};
use sim_model::orchestration::{OrchestrationContext, RuntimeStatus};
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::step::{StepInput, StepOutcome};
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

fn chain() -> WorkspaceName {
    WorkspaceName::plain("chain".into())
}

/// The first run of the coordinator, attempted once more.
fn first_run() -> CoordinatorCall {
    let of = MessageId { producer: Producer::Client, index: 0 };
    CoordinatorCall {
        workspace: chain(),
        start: of,
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
    let registered = connection.set_new(&chain().triggers(), "wake-1", encode(&trigger)).await;
    assert_eq!(registered, Ok(true));
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
        connection.set(&chain().triggers(), done.into()).await.expect("answered");
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

/// A workspace of code with what lies in its stream.
struct Scene {
    workspace: Workspace,
    stream: Vec<(Event, Position)>,
}

impl Scene {
    fn new() -> Scene {
        let rules = Rules::new(&Parameters::new(&Settings::defaults(SETTINGS)));
        let first = Record::default().trigger("wake-0".into());
        let workspace = Workspace::new(InstanceId::new("chain"), rules, Logic::Code, [first]);
        Scene { workspace, stream: Vec::new() }
    }

    /// A workflow that has started, in its first run, and what that has left.
    fn started() -> (Scene, Record) {
        let mut scene = Scene::new();
        assert_eq!(scene.wakes(starting()), "wake-0");
        let first = scene.after(&Record::default(), 1);
        assert_eq!(scene.answers(&first), 1);
        (scene, first)
    }

    /// The next message comes, and wakes the coordinator: by which trigger.
    fn wakes(&mut self, kind: EventKind) -> String {
        let number = self.stream.len() as u32;
        let id = MessageId { producer: Producer::Client, index: number };
        let event = HistoryEvent { timestamp: Timestamp::ZERO, kind };
        let (target, ledger) = (InstanceId::new("chain"), Ledger::new(Timestamp::ZERO));
        let event = Event::of_message(InstanceMessage { id, target, event, ledger });
        let position = Position(u64::from(number) + 1, 0);
        self.stream.push((event.clone(), position));
        let Taken::Fires(firing) = self.workspace.take(event, Some(position)) else {
            panic!("message {number} wakes nobody");
        };
        let woken = firing.triggers[0].clone();
        self.workspace.coordinator_invoked(&woken);
        self.workspace.put_back(firing);
        woken.to_string()
    }

    /// What a run leaves that has read so many messages.
    fn after(&self, record: &Record, messages: usize) -> Record {
        let outcome = StepOutcome::without_effects(RuntimeStatus::Running);
        let reading = record.read(&self.stream[..messages], true);
        record.after((WorkItemId(record.number), Timestamp::ZERO), &reading, &outcome)
    }

    /// The coordinator answers with the trigger for the next run: how many events can be acknowledged.
    fn answers(&mut self, record: &Record) -> usize {
        let trigger = record.trigger(format!("wake-{}", record.number).into());
        self.workspace.coordinator_ended(trigger).len()
    }
}

fn starting() -> EventKind {
    EventKind::execution_started("Chain".into(), Payload::encode(&()).expect("nothing"))
}

fn raised() -> EventKind {
    let (name, input) = ("Go".into(), Payload::encode(&()).expect("nothing"));
    EventKind::EventRaised { event: RaisedEvent::External { name, input } }
}

#[test]
fn a_late_answer_acknowledges_nothing_that_its_run_has_not_consumed() {
    let (mut scene, first) = Scene::started();
    assert_eq!(scene.wakes(raised()), "wake-1");
    assert_eq!(scene.answers(&first), 0, "the answer to a repeated invocation");
    let awaited = |scene: &Scene, id| scene.workspace.awaits_coordinator(id);
    assert!(awaited(&scene, "wake-1"), "its run goes on");
    assert!(!awaited(&scene, "wake-0"), "what is told of it is no news");
    let second = scene.after(&first, 2);
    assert_eq!(scene.answers(&second), 1);

    assert_eq!(scene.wakes(raised()), "wake-2");
    // Another attempt at this run had registered before the event came.
    assert_eq!(scene.answers(&second.skipped(Position(2, 0))), 0);
    assert!(!scene.workspace.is_busy(), "nobody looks at the event any more");
    let again = scene.workspace.unconsumed();
    let [(event, position)] = &again[..] else { panic!("{} events", again.len()) };
    assert!(matches!(scene.workspace.take(event.clone(), *position), Taken::Fires(_)));
}

#[test]
fn what_comes_before_the_start_of_a_workflow_is_left_to_it() {
    let mut scene = Scene::new();
    assert_eq!(scene.wakes(raised()), "wake-0");
    let idle = Record::default().skipped(Position(1, 0));
    assert_eq!(scene.answers(&idle), 1);
    assert_eq!(scene.wakes(starting()), "wake-1");
    assert_eq!(scene.answers(&idle), 0, "the run that starts it goes on");
}

#[test]
fn an_event_whose_bytes_a_disk_has_changed_meanwhile_does_not_wake_runs_for_ever() {
    let (mut scene, first) = Scene::started();
    assert_eq!(scene.wakes(raised()), "wake-1");
    // The run finds the stream as long as it is, and one event less.
    let reading = first.read_until(&scene.stream[..1], Position(2, 0), true);
    assert_eq!(scene.answers(&first.skipped(reading.upto)), 1);
    assert_eq!(scene.workspace.unconsumed().len(), 0);
}

#[test]
fn an_event_that_the_store_has_lost_wakes_two_runs_and_no_more() {
    let (mut scene, mut record) = Scene::started();
    assert_eq!(scene.wakes(raised()), "wake-1");
    for acknowledged in [0, 1] {
        // It ends where it ended before the event came.
        record = record.skipped(Position(1, 0));
        assert_eq!(scene.answers(&record), acknowledged);
        for (event, position) in scene.workspace.unconsumed() {
            let Taken::Fires(firing) = scene.workspace.take(event, position) else {
                panic!("it is looked at again");
            };
            scene.workspace.coordinator_invoked(&firing.triggers[0]);
            scene.workspace.put_back(firing);
        }
    }
    assert!(!scene.workspace.is_busy());
}
