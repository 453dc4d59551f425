//! The functions runtime: what user code is charged, and what it reads and writes.

mod common;

use common::{deterministic, run, world};
use sim_model::application::{ActivityContext, Application};
use sim_model::cursor::Cursor;
use sim_model::engine::ClientMessage;
use sim_model::entity::EntityContext;
use sim_model::graph::GraphRecorder;
use sim_model::history::HistoryEvent;
use sim_model::id::{EntityId, InstanceId, MessageId, Producer};
use sim_model::ledger::{Category, Ledger};
use sim_model::message::{InstanceMessage, TaskMessage};
use sim_model::payload::Payload;
use sim_model::step::EntityBackend;
use sim_world::functions::FunctionsHost;
use sim_world::profile::Profile;
use sim_world::service::is_operation;
use sim_world::world::World;
use std::rc::Rc;
use std::time::Duration;

const BACKEND: EntityBackend = EntityBackend {
    reorder_window: Duration::ZERO,
    max_operations: 100,
    max_signal_delay: None,
    implicit_deletion: false,
};
const WORK: Duration = Duration::from_millis(30);
const WAIT: Duration = Duration::from_millis(70);

fn undisturbed(profile: &mut Profile) {
    deterministic(profile);
    profile.host.background_cores = 0.0;
}

fn application() -> Rc<Application> {
    let mut application = Application::new();
    application.entity::<u32>("Counter").operation(
        "Add",
        |context: &mut EntityContext, count: &mut u32, amount: u32| {
            context.compute(WORK);
            context.wait(WAIT);
            context.read_blob(1_000_000);
            *count += amount;
            Ok(*count)
        },
    );
    application.activity("Fetch", |context: ActivityContext, bytes: u64| async move {
        context.read_blob(bytes).await;
        context.write_blob(bytes / 2).await;
        Ok(context.call_key())
    });
    Rc::new(application)
}

fn signals(world: &World, graph: &GraphRecorder, count: u32) -> Vec<InstanceMessage> {
    let now = world.kernel().now();
    let signal = || {
        let input = Payload::encode(&1).expect("a number");
        let kind = ClientMessage::Signal { operation: "Add".into(), input, at: None }.into_event();
        InstanceMessage {
            id: graph.client_message(),
            target: EntityId::new("Counter", "c").instance_id(),
            event: HistoryEvent { timestamp: now, kind },
            ledger: Ledger::new(now),
        }
    };
    (0..count).map(|_| signal()).collect()
}

#[test]
fn a_step_of_an_entity_takes_what_its_operations_ask_for() {
    run(undisturbed, |kernel, profile| async move {
        let (graph, cpu) = (GraphRecorder::default(), profile.cpu.clone());
        let world = world(&kernel, profile, 1);
        let functions = FunctionsHost::new(&world, 0, BACKEND);
        let entity = EntityId::new("Counter", "c").instance_id();
        let mut cursor = Cursor::new(application(), entity.clone());
        let messages = signals(&world, &graph, 3);
        let ids = messages.iter().map(|message| message.id);
        let item = graph.fetch_step(&entity, None, ids, kernel.now());
        let begun = kernel.now();
        let mut ledger = Ledger::new(begun);
        let outcome = functions.step(&mut cursor, 0, item, &mut ledger, messages).await;
        assert_eq!(outcome.entity_state.expect("it has one").as_str(), "3");
        let timing = ledger.settle(begun, kernel.now());
        assert_eq!(timing.total(), kernel.now().since(begun));
        assert_eq!(timing.get(Category::Application), 3 * WAIT);
        let reads = 3 * cpu.storage_request;
        assert_eq!(timing.get(Category::Cpu), cpu.step + 3 * (cpu.operation + WORK) + reads);
        assert!(timing.get(Category::Storage) > Duration::ZERO);
        assert_eq!(world.meter().total("application-blob", "get"), 3);
    });
}

#[test]
fn the_applications_own_blobs_cost_time_and_money_but_are_not_the_engines_operations() {
    run(deterministic, |kernel, profile| async move {
        let bandwidth = profile.services.blob.bandwidth_bytes_per_s;
        let world = world(&kernel, profile, 1);
        let functions = FunctionsHost::new(&world, 0, BACKEND);
        let task = TaskMessage {
            id: MessageId { producer: Producer::Client, index: 0 },
            caller: InstanceId::new("o"),
            event_id: 7,
            name: "Fetch".into(),
            input: Payload::encode(&60_000_000).expect("a number"),
            ledger: Ledger::new(kernel.now()),
        };
        let mut ledger = task.ledger;
        let key = functions.task(&application(), &mut ledger, &task).await;
        let again = functions.task(&application(), &mut ledger, &task).await;
        assert_eq!(key, again, "a second attempt at a call has the same key");
        let moved = Duration::from_secs_f64(2.0 * 90_000_000.0 / bandwidth);
        assert!(kernel.now().since(task.ledger.at()) > moved);
        let counted = world.meter().snapshot();
        let own = counted.iter().filter(|counted| counted.service == "application-blob");
        let mut bytes = 0;
        for counted in own {
            assert_eq!(counted.count, 2);
            assert!(!is_operation(&counted.service, &counted.kind));
            bytes += counted.bytes_in + counted.bytes_out;
        }
        assert!(bytes > 180_000_000, "{bytes}");
    });
}
