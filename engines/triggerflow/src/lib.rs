//! The engine `triggerflow`: workflows as triggers on event streams.
//!
//! **What it models.** Triggerflow (DEBS 2020; triggerflow/triggerflow@38186b6 and @e1f9f6d,
//! triggerflow/go-worker@7f7501e): every workflow has a workspace with a stream of events and a table of
//! triggers, and at most one worker process. An event activates triggers; a trigger whose condition is
//! true runs its action, which invokes functions; a function ends with an event of its own. Four
//! disciplines say how a worker makes that last: three published ones and the design of the paper.
//!
//! | module | holds |
//! |---|---|
//! | `event`, `trigger`, `table` | events; triggers with their contexts; which events activate which |
//! | `workspace`, `plan` | the worker as a state machine; what each discipline stores, in which order |
//! | `dag`, `machine`, `joins` | workflows that are data, as triggers |
//! | `record`, `coordinator` | workflow as code: what a coordinator remembers; the coordinator |
//! | `worker` | the worker's process: its start, its main loop, its committer |
//! | `faas` | functions: invoking them, running them, the platform |
//! | `controller`, `hub` | which workspaces have workers; what all parts share |
//! | `api`, `client`, `timers` | creating workspaces and sending; clients; timers |
//! | `whereabouts` | where in the protocol a worker is, for whoever counts what a crash interrupts |
//! | `store`, `logs` | streams, hashes and lists; logs in place of streams |
//!
//! What is simulated and what is left out is in `docs/engines/triggerflow.md`.

mod api;
mod client;
mod controller;
mod coordinator;
mod counters;
#[cfg(test)]
mod crash_tests;
mod dag;
#[cfg(test)]
mod damage_test;
mod event;
mod faas;
mod hub;
mod joins;
mod keys;
#[cfg(test)]
mod late_attempt_test;
mod logs;
mod machine;
mod measure;
mod open_positions;
mod plan;
mod record;
mod settings;
mod starts;
mod store;
mod table;
mod timers;
mod trigger;
mod whereabouts;
mod worker;
mod workspace;

use crate::api::{Globals, WorkspaceRow};
use crate::hub::{Hub, Notice, entity_workspace};
use crate::logs::Logs;
use crate::settings::{Acknowledgement, Discipline, Parameters, SETTINGS};
use crate::store::Store;
use crate::workspace::Logic;
use futures_util::future::LocalBoxFuture;
use sim_model::codec::encode;
use sim_model::engine::{
    Client, DeployError, Deployment, Engine, FaultBudget, FaultClass, Guarantees, InstanceState,
    TaskHub,
};
use sim_model::id::{MessageId, Producer};
use sim_model::orchestration::RuntimeStatus;
use sim_model::settings::{Setting, Settings};
use sim_world::broker::{Broker, BrokerSettings};
use sim_world::host::{Host, HostSpec};
use sim_world::stream_store::{Durability, Fsync, StreamStore};
use sim_world::world::World;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

const NAME: &str = "triggerflow";

/// Every write is synced before it is answered.
const ALWAYS: Durability = Durability::AppendOnly(Fsync::Always);

/// How long a command can be on its way. Connections to the stores have no timeout of their own, so that what
/// TCP repeats is waited for. Source: Linux, Documentation/networking/ip-sysctl.rst, `tcp_retries2`: 924.6 s
/// \[general\].
const TCP_GIVES_UP: Duration = Duration::from_secs(925);

/// Between two looks at whether a host that is taken out of service has nothing left.
const DRAIN_PAUSE: Duration = Duration::from_millis(100);

/// The engine `triggerflow`.
pub struct Triggerflow;

impl Engine<World> for Triggerflow {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "triggers on event streams: one worker for each workflow, disciplines v1 to v4"
    }

    fn guarantees(&self, settings: &Settings) -> Guarantees {
        settings::guarantees(settings)
    }

    fn fault_budget(&self, settings: &Settings) -> FaultBudget {
        // A function whose host died is run again, a worker is started again at the next look.
        let again = settings.span("function_retry_delay")
            + settings.span("polling_interval")
            + settings.span("pod_start")
            + settings.span("invocation_timeout")
            + settings.span("set_aside_delay");
        // The published disciplines lose what a crash interrupts, and take what comes twice for two: also the
        // start of a workflow that is several commands.
        let interrupts = [
            FaultClass::HostCrash,
            FaultClass::HostPowerLoss,
            FaultClass::MachineCrash,
            FaultClass::NetworkLoss,
            FaultClass::ServiceOutage,
            FaultClass::LostAnswer,
            FaultClass::Duplication,
        ];
        let as_published = Parameters::new(settings).discipline != Discipline::V4;
        // What the store has not written is lost with its process, what it has not synced with the power of
        // its machine.
        let durability = settings.choice("durability");
        let mut survives = [&FaultClass::OF_CLOUD[..], &FaultClass::OF_MACHINES].concat();
        survives.retain(|class| match class {
            FaultClass::MachinePowerLoss => durability == "always",
            FaultClass::MachineCrash if durability == "none" => false,
            class => !(as_published && interrupts.contains(class)),
        });
        FaultBudget { survives, heals_within: again * 4 + TCP_GIVES_UP }
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn deploy(
        &self,
        world: &World,
        deployment: Deployment,
    ) -> Result<Rc<dyn TaskHub>, DeployError> {
        Ok(Rc::new(deployed(world, deployment)?))
    }
}

/// Creates the stores and the control plane of a task hub.
fn deployed(world: &World, deployment: Deployment) -> Result<Deployed, DeployError> {
    let Deployment { application, settings, observer } = deployment;
    let parameters = Parameters::new(&settings);
    let unsupported = |problem: String| DeployError::Unsupported { engine: NAME, problem };
    if let (Discipline::V3, Some(name)) =
        (parameters.discipline, application.first_orchestration_as_code())
    {
        return Err(unsupported(format!(
            "discipline v3 deletes the stream that workflow as code, such as {name}, is run from; use \
             v1, v2 or v4, or a workload whose workflows are data (dag, ingestion, waves)"
        )));
    }
    let durability = settings::durability(&settings);
    let store = StreamStore::start(world, "triggerflow-store", durability)
        .map_err(|error| unsupported(error.to_string()))?;
    let control = control_plane(world).map_err(unsupported)?;
    let logs = match parameters.acknowledgement {
        Acknowledgement::List => None,
        Acknowledgement::Positional => {
            let flush_messages = (durability == ALWAYS).then_some(1);
            let settings = BrokerSettings { flush_messages, ..BrokerSettings::default() };
            let broker = Broker::start(world, "triggerflow-broker", settings)
                .map_err(|error| unsupported(error.to_string()))?;
            Some(Logs::new(broker))
        }
    };
    let store = Store::new(store, logs);
    let hub = Hub::new(world, application, observer, parameters, control, store);
    let ran_before = RefCell::new(vec![false; world.hosts().len()]);
    Ok(Deployed { hub, is_started: Cell::new(false), ran_before })
}

/// The machine of the control plane, which never fails.
fn control_plane(world: &World) -> Result<Host, String> {
    let spec = HostSpec {
        name: "triggerflow-control".to_owned(),
        cores: world.profile().host.client_cores,
        memory_bytes: world.profile().host.client_memory_bytes,
        background_cores: 0.0,
        quantum: Some(world.profile().host.quantum),
    };
    Host::new(world.kernel(), spec).map_err(|error| error.to_string())
}

/// A task hub.
struct Deployed {
    hub: Rc<Hub>,
    is_started: Cell<bool>,
    /// Hosts that have run before.
    ran_before: RefCell<Vec<bool>>,
}

impl Deployed {
    fn start_control(&self) {
        let hub = &self.hub;
        hub.start_control();
        timers::start(hub);
        hub.control.spawn(faas::watch(hub.clone()));
        let creating = hub.clone();
        hub.control.spawn(async move {
            for number in 0..creating.parameters.entity_workspaces {
                create_entity_workspace(&creating, number).await;
            }
        });
    }
}

/// Creates a workspace of entities.
async fn create_entity_workspace(hub: &Hub, number: u32) {
    let stream = entity_workspace(number);
    let connection = hub.store.connect(&hub.control);
    let now = hub.now();
    let first = connection.sure(connection.begin(&stream).await);
    // No message starts it.
    let start = MessageId { producer: Producer::Client, index: u32::MAX };
    let globals = Globals { first, start, workflow: None, created: now, parent: None };
    let row = WorkspaceRow {
        start,
        is_plain: true,
        state: InstanceState {
            name: "".into(),
            created: now,
            last_updated: now,
            status: RuntimeStatus::Running,
            custom_status: None,
            entity_state: None,
        },
    };
    let name = row.workspace(&stream);
    let created = starts::create(&connection, &name, &Logic::Entities, &globals, true).await;
    connection.sure(created);
    let written = connection.change_row(&stream, None, Some(encode(&row))).await;
    debug_assert!(written.is_ok(), "repeated until answered");
    hub.notify(&hub.control, Notice::Created(hub.workspace(&name)));
}

impl TaskHub for Deployed {
    fn start_host(&self, host: usize) {
        if !self.is_started.replace(true) {
            self.start_control();
        }
        faas::start_host(&self.hub, host);
        self.hub.host_up(host);
        if std::mem::replace(&mut self.ran_before.borrow_mut()[host], true) {
            let hub = self.hub.clone();
            let back = hub.host(host).clone();
            back.clone().spawn(async move { api::relist(&hub, &back).await });
        }
    }

    fn stop_host(&self, host: usize) -> LocalBoxFuture<'static, ()> {
        let hub = self.hub.clone();
        hub.drain(host);
        hub.platform.close(host);
        Box::pin(async move {
            while hub.workers_on(host) > 0 || hub.platform.running_on(host) > 0 {
                hub.kernel.sleep(DRAIN_PAUSE).await;
            }
        })
    }

    fn client(&self, host: usize) -> Rc<dyn Client> {
        Rc::new(client::TriggerClient::new(&self.hub, host))
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut all = self.hub.counters.all();
        all.push(("looks_left_out", self.hub.looks_left_out()));
        all.push(("pods_waiting", self.hub.waiting()));
        let trouble = self.hub.store.trouble();
        all.push(("store_refused", trouble.refused.get()));
        all.push(("store_retries", trouble.retries.get()));
        all.push(("store_unreadable", trouble.unreadable.get()));
        all.sort_unstable();
        all
    }
}
