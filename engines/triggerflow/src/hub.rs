//! What all parts of a task hub share: the world, the application, the control plane, and measurements.
//!
//! The control plane (controller and timer service) and the platform that invokes functions are not what
//! is compared: they run on a machine of their own that never fails. Workers and functions run on the
//! hosts, and the stores on theirs.

use crate::api::End;
use crate::controller::{Controller, Order, PodNumber, WorkspaceNumber};
use crate::counters::Counters;
use crate::event::Position;
use crate::faas::Platform;
use crate::keys::WorkspaceName;
use crate::measure::Measure;
use crate::plan::Rules;
use crate::settings::Parameters;
use crate::store::{Connection, Store};
use crate::whereabouts::Whereabouts;
use crate::worker::{self, Input};
use crate::workspace::Logic;
use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use sim_model::application::Application;
use sim_model::codec::encode;
use sim_model::engine::Observer;
use sim_model::id::InstanceId;
use sim_model::step::EntityBackend;
use sim_model::time::Timestamp;
use sim_world::functions::FunctionsHost;
use sim_world::host::Host;
use sim_world::kernel::{Kernel, Notify, Sender};
use sim_world::network::{MailboxSender, Network};
use sim_world::world::World;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a request to the control plane [assumption: one short message].
const CONTROL_BYTES: u64 = 300;

/// After how long a notice that was not acknowledged is sent again [assumption: the first back-off of
/// common clients of the Kubernetes API is of this order].
const NOTICE_TIMEOUT: Duration = Duration::from_secs(1);

/// Events bring messages once and in order; nothing limits a batch or a delay.
pub(crate) const BACKEND: EntityBackend = EntityBackend {
    reorder_window: Duration::ZERO,
    max_operations: usize::MAX,
    max_signal_delay: None,
    implicit_deletion: true,
};

/// What the control plane is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice {
    /// A workspace was created.
    Created(WorkspaceNumber),
    /// A worker has ended, which had received its stream up to there.
    Stopped(WorkspaceNumber, PodNumber, Position),
    /// A workflow has ended.
    Removed(WorkspaceNumber),
}

/// A worker, as whoever stops it sees it.
pub(crate) struct Pod {
    number: PodNumber,
    place: usize,
    generation: u32,
    input: Sender<Input>,
    /// Whether it has started.
    runs: bool,
    whereabouts: Whereabouts,
}

/// A deployed application.
pub(crate) struct Hub {
    pub(crate) kernel: Kernel,
    pub(crate) network: Network,
    pub(crate) application: Rc<Application>,
    pub(crate) observer: Observer,
    pub(crate) parameters: Parameters,
    pub(crate) rules: Rules,
    pub(crate) counters: Counters,
    pub(crate) measure: Measure,
    pub(crate) functions: Vec<FunctionsHost>,
    pub(crate) platform: Platform,
    pub(crate) store: Store,
    /// Core time of sending an invocation.
    pub(crate) invocation: Duration,
    /// The control plane's machine.
    pub(crate) control: Host,
    controller: RefCell<Controller>,
    notices: RefCell<Option<MailboxSender<Notice>>>,
    rescheduled: Notify,
    names: RefCell<IndexSet<WorkspaceName, FxBuildHasher>>,
    pods: RefCell<BTreeMap<WorkspaceNumber, Pod>>,
    /// Workers that were running when it was last reported.
    reported: Cell<u64>,
}

impl Hub {
    pub(crate) fn new(
        world: &World,
        application: Rc<Application>,
        observer: Observer,
        parameters: Parameters,
        control: Host,
        store: Store,
    ) -> Rc<Hub> {
        let kernel = world.kernel();
        let hosts = world.hosts();
        let capacities: Vec<usize> = hosts
            .iter()
            .map(|host| (u64::from(host.cores()) * parameters.pods_per_core) as usize)
            .collect();
        let Parameters { scaling, polling_interval, cooldown, .. } = parameters;
        let controller = Controller::new(scaling, polling_interval, cooldown, &capacities);
        let functions =
            (0..hosts.len()).map(|index| FunctionsHost::new(world, index, BACKEND)).collect();
        Rc::new(Hub {
            kernel: kernel.clone(),
            network: world.network().clone(),
            measure: Measure::new(observer.clone()),
            application,
            observer,
            rules: Rules::new(&parameters),
            counters: Counters::default(),
            platform: Platform::new(hosts.len()),
            functions,
            store,
            invocation: world.profile().cpu.event_send,
            control,
            controller: RefCell::new(controller),
            notices: RefCell::default(),
            rescheduled: kernel.notify(),
            names: RefCell::default(),
            pods: RefCell::default(),
            reported: Cell::new(0),
            parameters,
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.kernel.now()
    }

    pub(crate) fn host(&self, place: usize) -> &Host {
        self.functions[place].host()
    }

    /// The number of a workspace, by its name.
    pub(crate) fn workspace(&self, name: &WorkspaceName) -> WorkspaceNumber {
        self.names.borrow_mut().insert_full(name.clone()).0
    }

    /// The name of a workspace.
    pub(crate) fn name(&self, workspace: WorkspaceNumber) -> WorkspaceName {
        let names = self.names.borrow();
        names.get_index(workspace).expect("invariant: workspaces are interned").clone()
    }

    /// The stream that messages for `instance` go to.
    pub(crate) fn stream_of(&self, instance: &InstanceId) -> Arc<str> {
        if instance.is_entity() {
            entity_workspace(instance.fnv1a() % self.parameters.entity_workspaces)
        } else {
            instance.as_str().into()
        }
    }

    /// The code of a workspace whose workflow is registered as `name`; none for that of entities.
    pub(crate) fn logic(&self, name: Option<&str>) -> Logic {
        match name {
            None => Logic::Entities,
            Some(name) => Logic::of(self.application.workflow_named(name)),
        }
    }

    /// Tells whoever waits how a workflow ended.
    pub(crate) async fn publish_end(
        &self,
        connection: &Connection,
        workspace: &WorkspaceName,
        end: &End,
    ) {
        connection.sure(connection.add(&workspace.termination(), encode(end)).await);
    }

    /// Tells the control plane something. A notice that the network loses is sent again, as long as the
    /// host lives; each can come late or twice.
    pub(crate) fn notify(&self, from: &Host, notice: Notice) {
        let notices = self.notices.borrow();
        let notices = notices.as_ref().expect("invariant: the control plane runs");
        if notices.send(from.node(), CONTROL_BYTES, notice) {
            return;
        }
        let (notices, kernel, node) = (notices.clone(), self.kernel.clone(), from.node());
        let lost = self.counters.notices_repeated.clone();
        from.spawn(async move {
            loop {
                kernel.sleep(NOTICE_TIMEOUT).await;
                lost.count();
                if notices.send(node, CONTROL_BYTES, notice) {
                    return;
                }
            }
        });
    }

    /// Starts the control plane.
    pub(crate) fn start_control(self: &Rc<Self>) {
        let (sender, receiver) = self.network.mailbox(self.control.node());
        *self.notices.borrow_mut() = Some(sender);
        let hub = self.clone();
        self.control.spawn(async move {
            loop {
                let notice = receiver.recv().await;
                hub.noticed(notice);
            }
        });
        let hub = self.clone();
        self.control.spawn(async move { hub.look().await });
    }

    fn noticed(self: &Rc<Self>, notice: Notice) {
        let now = self.now();
        let orders = match notice {
            Notice::Created(workspace) => self.controller.borrow_mut().created(workspace, now),
            Notice::Stopped(workspace, ended, received) => {
                let is_this = |pod: &Pod| pod.number == ended;
                if self.pods.borrow().get(&workspace).is_some_and(is_this) {
                    self.pods.borrow_mut().remove(&workspace);
                }
                self.controller.borrow_mut().stopped(workspace, ended, received, now)
            }
            Notice::Removed(workspace) => {
                let pod = self.pods.borrow_mut().remove(&workspace);
                if let Some(pod) = pod {
                    pod.input.send(Input::End);
                }
                self.controller.borrow_mut().removed(workspace, now)
            }
        };
        self.carry_out(orders);
        self.report_workers();
        self.rescheduled.notify_one();
    }

    /// Looks at streams when it is time.
    async fn look(self: &Rc<Self>) {
        let connection = Rc::new(self.store.connect(&self.control));
        loop {
            let due = self.controller.borrow().next_due();
            let rescheduled = self.rescheduled.notified();
            match due {
                None => rescheduled.await,
                Some(due) if due > self.now() => {
                    let wait = due.since(self.now());
                    let _ = self.kernel.timeout(wait, rescheduled).await;
                }
                Some(_) => self.look_now(&connection),
            }
        }
    }

    fn look_now(self: &Rc<Self>, connection: &Rc<Connection>) {
        let due = self.controller.borrow_mut().take_due(self.now());
        for workspace in due {
            let (hub, connection) = (self.clone(), connection.clone());
            self.control.spawn(async move {
                let last = connection.last_event(hub.name(workspace).stream()).await.ok();
                hub.note_away();
                let orders = hub.controller.borrow_mut().looked(workspace, last, hub.now());
                hub.carry_out(orders);
                hub.rescheduled.notify_one();
            });
        }
    }

    fn note_away(&self) {
        for (place, functions) in self.functions.iter().enumerate() {
            if !functions.host().is_alive() {
                self.controller.borrow_mut().host_away(place, self.now());
            }
        }
    }

    fn carry_out(self: &Rc<Self>, orders: Vec<Order>) {
        for order in orders {
            match order {
                Order::Start { workspace, place, pod, wanted } => {
                    self.start_pod((workspace, pod), place, wanted);
                }
                Order::Stop { workspace } => self.stop_pod(workspace),
            }
        }
    }

    fn stop_pod(&self, workspace: WorkspaceNumber) {
        if let Some(pod) = self.pods.borrow().get(&workspace) {
            pod.input.send(Input::Stop);
        }
    }

    fn start_pod(
        self: &Rc<Self>,
        (workspace, number): (WorkspaceNumber, PodNumber),
        place: usize,
        wanted: Timestamp,
    ) {
        let host = self.host(place);
        let (input, receiver) = self.kernel.channel();
        let generation = self.kernel.generation(host.node());
        let whereabouts = Whereabouts::default();
        let (runs, input_of, noted) = (false, input.clone(), whereabouts.clone());
        let pod = Pod { number, place, generation, input: input_of, runs, whereabouts: noted };
        self.pods.borrow_mut().insert(workspace, pod);
        let hub = self.clone();
        host.spawn(async move {
            hub.kernel.sleep(hub.parameters.worker_start).await;
            let pod = (workspace, number);
            worker::run(hub, pod, place, wanted, (input, receiver), whereabouts).await;
        });
    }

    /// A worker has started.
    pub(crate) fn worker_runs(&self, workspace: WorkspaceNumber) {
        if let Some(pod) = self.pods.borrow_mut().get_mut(&workspace) {
            pod.runs = true;
        }
        self.counters.workers_started.count();
        self.report_workers();
    }

    /// Reports how many workers run, if that has changed.
    pub(crate) fn report_workers(&self) {
        let alive = |pod: &&Pod| {
            let node = self.host(pod.place).node();
            pod.runs && self.kernel.is_alive(node) && self.kernel.generation(node) == pod.generation
        };
        let running = self.pods.borrow().values().filter(alive).count() as u64;
        if self.reported.replace(running) != running {
            self.observer.level("workers", running);
        }
    }

    /// A host is up: its workers start again.
    pub(crate) fn host_up(self: &Rc<Self>, place: usize) {
        self.count_crashed(place);
        self.report_workers();
        let orders = self.controller.borrow_mut().host_up(place, self.now());
        self.carry_out(orders);
        self.rescheduled.notify_one();
    }

    /// Counts where the workers were that the host's crash has ended.
    fn count_crashed(&self, place: usize) {
        let generation = self.kernel.generation(self.host(place).node());
        self.pods.borrow_mut().retain(|_, pod| {
            let has_crashed = pod.place == place && pod.generation != generation;
            if has_crashed {
                self.counters.crashed_at(pod.whereabouts.point());
            }
            !has_crashed
        });
    }

    /// A host is to take no more workers; those it has are told to end.
    pub(crate) fn drain(&self, place: usize) {
        self.controller.borrow_mut().host_away(place, self.now());
        let workspaces = self.controller.borrow().workers_on(place);
        workspaces.into_iter().for_each(|workspace| self.stop_pod(workspace));
    }

    /// How many workers a host has.
    pub(crate) fn workers_on(&self, place: usize) -> usize {
        self.controller.borrow().workers_on(place).len()
    }

    /// How many pods wait for a place.
    pub(crate) fn waiting(&self) -> u64 {
        self.controller.borrow().waiting()
    }

    /// Looks at streams that the controller left out.
    pub(crate) fn looks_left_out(&self) -> u64 {
        self.controller.borrow().looks_left_out()
    }
}

/// The name of a workspace of entities. No orchestration has it: it is the key of an entity.
pub(crate) fn entity_workspace(number: u32) -> Arc<str> {
    format!("@entities@{number}").into()
}
