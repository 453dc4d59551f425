//! A coordinator whose run is repeated when the workflow has long gone on: the platform runs again what
//! died with its host, after a delay in which a new worker has invoked another one.

use crate::coordinator::{self, CoordinatorCall};
use crate::event::{EventId, Position};
use crate::record::Record;
use crate::{Deployed, SETTINGS};
use sim_model::application::{ActivityContext, Application};
use sim_model::engine::{Observer, StartRequest, TaskHub};
use sim_model::graph::{GraphRecorder, checks};
use sim_model::id::{InstanceId, MessageId, Producer};
use sim_model::ledger::Ledger;
use sim_model::orchestration::OrchestrationContext;
use sim_model::payload::Payload;
use sim_model::settings::Settings;
use sim_model::time::Timestamp;
use sim_world::kernel::{Kernel, KernelOptions, on_fresh_thread, simulate};
use sim_world::profile::Profile;
use sim_world::world::{Deployment as Machines, World};
use std::rc::Rc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

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

fn deployed(kernel: &Kernel, graph: &GraphRecorder) -> Deployed {
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
        let instance = InstanceId::new("chain");
        let input = Payload::encode(&6_u32).expect("a number");
        let request = StartRequest { instance: instance.clone(), name: "Chain".into(), input };
        deployed.client(0).start(request).await.expect("accepted");
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
