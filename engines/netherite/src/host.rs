//! What the partitions of one host share: slots that execute work items, and senders.
//!
//! The host has a queue of orchestration steps, one of entity steps and one of activities, and a
//! fixed number of slots for each (100 by default). Slots only move data: they load a cursor, let the
//! functions runtime execute, and submit the outcome to the incarnation of the partition that the work
//! item came from: if that has ended, the outcome is lost, and its successor executes the item again.

use crate::commit_log::LogPlace;
use crate::event::{ActivityCompleted, BatchProcessed, ClientEvent, MonitorEvent, PartitionEvent};
use crate::partition::{ActivityWork, StepWork};
use crate::reports::PartitionReports;
use crate::runner::PartitionRunner;
use crate::settings::Config;
use crate::transport::{EventSender, Letter, Receipt, TransportCounts};
use sim_model::application::Application;
use sim_model::engine::Observer;
use sim_model::id::{MessageId, Producer};
use sim_model::ledger::Category;
use sim_model::message::critical_ledger;
use sim_world::blob::BlobContainer;
use sim_world::event_log::EventLog;
use sim_world::functions::FunctionsHost;
use sim_world::host::Host;
use sim_world::kernel::{Kernel, Receiver, Resolver, Semaphore, Sender};
use sim_world::seed::SeedTree;
use sim_world::table::Table;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Requests of one life of a client, at most: the numbers of the next life begin behind them.
const REQUESTS_PER_LIFE: u64 = 1 << 40;
/// How often, and how long at most, a host that stops looks whether its senders are done.
const DRAIN_POLL: Duration = Duration::from_millis(10);
const DRAIN_BOUND: Duration = Duration::from_secs(10);

/// A queue of work items, each with the incarnation of the partition it came from.
type Work<T> = (Sender<(Weak<PartitionRunner>, T)>, Receiver<(Weak<PartitionRunner>, T)>);

/// The services that all hosts of a hub share.
#[derive(Clone)]
pub(crate) struct Services {
    pub partition_log: EventLog,
    pub client_log: EventLog,
    pub monitor_log: EventLog,
    pub blobs: BlobContainer,
    /// Where commit logs lie.
    pub log_place: LogPlace,
    /// What partitions publish of their load.
    pub loads: Table,
}

/// What a process is given.
pub(crate) struct ProcessSetup {
    pub index: u32,
    pub kernel: Kernel,
    pub functions: FunctionsHost,
    pub application: Rc<Application>,
    pub observer: Observer,
    pub config: Config,
    pub services: Services,
    /// What is reported of each partition.
    pub reports: Rc<Vec<Rc<PartitionReports>>>,
    pub seeds: SeedTree,
    /// Core time to handle one event.
    pub event_work: Duration,
    pub partitions: u32,
    pub hosts: u32,
}

/// The engine's process on one host.
pub(crate) struct HostProcess {
    pub setup: ProcessSetup,
    pub counts: Rc<TransportCounts>,
    /// How often the host had been restarted when this process began.
    pub life: u32,
    /// Permits to start partitions.
    pub starts: Semaphore,
    /// The partitions that run here.
    running: RefCell<BTreeMap<u32, Weak<PartitionRunner>>>,
    orchestrations: Work<StepWork>,
    entities: Work<StepWork>,
    activities: Work<ActivityWork>,
    to_partitions: Vec<Sender<Letter<PartitionEvent>>>,
    to_clients: Vec<Sender<Letter<ClientEvent>>>,
    to_monitor: Sender<Letter<MonitorEvent>>,
    /// Senders that have a batch in flight.
    busy_senders: Rc<Cell<usize>>,
    /// Requests of this host's client that wait for an answer.
    pub requests: RefCell<BTreeMap<u64, Resolver<ClientEvent>>>,
    pub next_request: Cell<u64>,
}

impl HostProcess {
    /// Starts a process: its senders and slots run on the host from now on.
    pub(crate) fn start(setup: ProcessSetup) -> Rc<HostProcess> {
        let counts = Rc::new(TransportCounts::default());
        let busy = Rc::new(Cell::new(0));
        let life = setup.kernel.generation(setup.functions.host().node());
        let sender = |log: &EventLog, kind: &str, destination: u32| EventSender {
            kernel: setup.kernel.clone(),
            host: setup.functions.host().clone(),
            log: log.clone(),
            destination,
            blobs: setup.services.blobs.clone(),
            name: format!("host{}.{life}-{kind}{destination}", setup.index),
            config: setup.config.clone(),
            counts: counts.clone(),
            busy: busy.clone(),
        };
        let to_partitions = (0..setup.partitions)
            .map(|partition| spawn_sender(sender(&setup.services.partition_log, "p", partition)))
            .collect();
        let to_clients = (0..setup.hosts)
            .map(|client| spawn_sender(sender(&setup.services.client_log, "c", client)))
            .collect();
        let to_monitor = spawn_sender(sender(&setup.services.monitor_log, "m", 0));
        let process = Rc::new(HostProcess {
            starts: setup.kernel.semaphore(setup.config.partition_starts),
            orchestrations: setup.kernel.channel(),
            entities: setup.kernel.channel(),
            activities: setup.kernel.channel(),
            running: RefCell::default(),
            setup,
            counts,
            life,
            to_partitions,
            to_clients,
            to_monitor,
            busy_senders: busy,
            requests: RefCell::default(),
            next_request: Cell::new(u64::from(life) * REQUESTS_PER_LIFE),
        });
        process.spawn_slots();
        process
    }

    pub(crate) fn host(&self) -> &Host {
        self.setup.functions.host()
    }

    /// The name under which this process owns partitions.
    pub(crate) fn name(&self) -> Rc<str> {
        format!("host{}.{}", self.setup.index, self.life).into()
    }

    pub(crate) fn send_to_partition(&self, partition: u32, letter: Letter<PartitionEvent>) {
        self.to_partitions[partition as usize].send(letter);
    }

    pub(crate) fn send_to_client(&self, client: u32, letter: Letter<ClientEvent>) {
        self.to_clients[client as usize].send(letter);
    }

    pub(crate) fn send_to_monitor(&self, event: MonitorEvent) {
        self.to_monitor.send(Letter { event, receipt: Receipt::None });
    }

    /// Notes that a partition runs here.
    pub(crate) fn add_runner(&self, partition: u32, runner: &Rc<PartitionRunner>) {
        self.running.borrow_mut().insert(partition, Rc::downgrade(runner));
    }

    /// Notes that an incarnation of a partition does not run here any more; the next one may already.
    pub(crate) fn remove_runner(&self, partition: u32, runner: &Rc<PartitionRunner>) {
        let mut running = self.running.borrow_mut();
        if running.get(&partition).is_some_and(|noted| noted.as_ptr() == Rc::as_ptr(runner)) {
            running.remove(&partition);
        }
    }

    /// The partitions that run here.
    pub(crate) fn runners(&self) -> Vec<Rc<PartitionRunner>> {
        self.running.borrow().values().filter_map(Weak::upgrade).collect()
    }

    /// Bytes of instances that each of the partitions here may keep in memory: equal shares.
    pub(crate) fn cache_share(&self) -> u64 {
        let mib = self.setup.config.instance_cache * u64::from(self.host().cores());
        (mib << 20) / self.running.borrow().len().max(1) as u64
    }

    /// Waits until everything that was handed to the senders has been sent, or for a while.
    pub(crate) async fn drain(&self) {
        let waiting = || {
            self.busy_senders.get()
                + self.to_partitions.iter().map(Sender::len).sum::<usize>()
                + self.to_clients.iter().map(Sender::len).sum::<usize>()
                + self.to_monitor.len()
        };
        let bound = self.setup.kernel.now() + DRAIN_BOUND;
        while waiting() > 0 && self.setup.kernel.now() < bound {
            self.setup.kernel.sleep(DRAIN_POLL).await;
        }
    }

    pub(crate) fn enqueue_step(&self, runner: &Rc<PartitionRunner>, work: StepWork) {
        let queue = if work.instance.is_entity() { &self.entities } else { &self.orchestrations };
        queue.0.send((Rc::downgrade(runner), work));
    }

    pub(crate) fn enqueue_activity(&self, runner: &Rc<PartitionRunner>, work: ActivityWork) {
        self.activities.0.send((Rc::downgrade(runner), work));
    }

    fn spawn_slots(self: &Rc<Self>) {
        let config = &self.setup.config;
        for (queue, slots) in [
            (&self.orchestrations, config.max_orchestrations),
            (&self.entities, config.max_entities),
        ] {
            for _ in 0..slots {
                self.host().spawn(self.clone().run_steps(queue.1.clone()));
            }
        }
        for _ in 0..config.max_activities {
            self.host().spawn(self.clone().run_activities());
        }
    }

    async fn run_steps(self: Rc<Self>, queue: Receiver<(Weak<PartitionRunner>, StepWork)>) {
        loop {
            let (runner, work) = queue.recv().await;
            if let Some(runner) = runner.upgrade().filter(|runner| runner.is_running()) {
                self.step(&runner, work).await;
            }
        }
    }

    async fn run_activities(self: Rc<Self>) {
        loop {
            let (runner, work) = self.activities.1.recv().await;
            if let Some(runner) = runner.upgrade().filter(|runner| runner.is_running()) {
                self.activity(&runner, work).await;
            }
        }
    }

    async fn step(&self, runner: &PartitionRunner, work: StepWork) {
        let Some((mut cursor, replayed)) = runner.cursor(&work.instance, work.session).await else {
            return;
        };
        let reports = runner.reports();
        let consumed = work.messages.iter().map(|message| message.id);
        let now = self.setup.kernel.now();
        let item = reports.fetch_step(&work.instance, cursor.last_step(), consumed, now);
        let mut ledger = critical_ledger(&work.messages);
        let batch_length = work.messages.len() as u32;
        let outcome = self
            .setup
            .functions
            .step(&mut cursor, replayed, item, &mut ledger, work.messages)
            .await;
        reports.executed_step(item, &outcome);
        if self.setup.config.cursor_cache && !outcome.ends_life() {
            runner.keep_cursor(work.instance.clone(), work.session, cursor);
        }
        runner.submit(PartitionEvent::BatchProcessed(Box::new(BatchProcessed {
            instance: work.instance,
            session: work.session,
            batch_start: work.batch_start,
            batch_length,
            work_item: item,
            timestamp: self.setup.kernel.now(),
            new_events: outcome.new_events,
            replaces_history: outcome.replaces_history,
            status: outcome.status,
            custom_status: outcome.custom_status,
            entity_state: outcome.entity_state,
            deleted: outcome.deleted,
            activities: outcome.tasks,
            messages: outcome.messages,
            timers: outcome.timers,
            ledger,
            persisted: None,
        })));
    }

    async fn activity(&self, runner: &PartitionRunner, work: ActivityWork) {
        let reports = runner.reports();
        let work_item = reports.fetch_task(work.message.id, self.setup.kernel.now());
        let mut ledger = work.message.ledger;
        let result =
            self.setup.functions.task(&self.setup.application, &mut ledger, &work.message).await;
        reports.executed_task(work_item);
        let why = Category::Queueing.because("the end of the activity was noted");
        ledger.charge(why, self.setup.kernel.now());
        let id = MessageId { producer: Producer::WorkItem(work_item), index: 0 };
        let response = work.message.response(id, result, ledger);
        runner.submit(PartitionEvent::ActivityCompleted(Box::new(ActivityCompleted {
            activity: work.id,
            work_item,
            origin: work.origin,
            timestamp: self.setup.kernel.now(),
            reported_load: self.activities.0.len() as u32,
            response,
        })));
    }
}

fn spawn_sender<E: crate::transport::Transported>(sender: EventSender) -> Sender<Letter<E>> {
    let (letters, outgoing) = sender.kernel.channel();
    let host = sender.host.clone();
    host.spawn(sender.run(outgoing));
    letters
}
