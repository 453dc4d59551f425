//! Runs one partition on its host: intake, log, transport.
//!
//! Three long-lived tasks carry the data: the intake takes what was submitted (at most 500 events at
//! once), pays its core time, appends each event to the log and applies it to the state; the log
//! commits; the receiver takes what the transport delivers. All decisions are the state machine's
//! ([`crate::partition`]).

use crate::commit_log::CommitLog;
use crate::event::PartitionEvent;
use crate::host::HostProcess;
use crate::partition::{Effect, Handling, Outgoing, Partition};
use crate::settings::Placement;
use crate::transport::{Confirmation, Letter, Receipt, receive};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use sim_model::cursor::Cursor;
use sim_model::id::InstanceId;
use sim_world::blob::LeaseId;
use sim_world::kernel::{Notify, Receiver, Sender};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// Events that the receiver takes from the transport at once (2021: maximum batch 300).
const RECEIVE_BATCH: usize = 300;
/// How often a partition looks whether its load has to be reported (`StoreWorker.cs`).
const POKE_INTERVAL: Duration = Duration::from_secs(3);
/// How long to wait before asking for a lease again (`BlobManager.cs`).
const LEASE_RETRY: Duration = Duration::from_secs(1);

/// A partition on its host.
pub(crate) struct PartitionRunner {
    index: u32,
    process: Rc<HostProcess>,
    state: RefCell<Partition>,
    log: CommitLog,
    submitted: (Sender<PartitionEvent>, Receiver<PartitionEvent>),
    /// Suspended code of instances, with the session it belongs to.
    cursors: RefCell<FxHashMap<InstanceId, (u64, Cursor)>>,
    /// Tells the timers' task that another timer is the next to fire.
    alarm: Notify,
    /// The log or the lease was lost: nothing is taken in any more.
    stopped: Cell<bool>,
    logged: Cell<u64>,
    replays: Cell<u64>,
}

impl PartitionRunner {
    /// Starts the partition on the host of `process`: it acquires its lease and begins to work.
    pub(crate) fn start(
        index: u32,
        partitions: u32,
        process: Rc<HostProcess>,
    ) -> Rc<PartitionRunner> {
        let kernel = &process.setup.kernel;
        let prefix = format!("p{index:02}");
        let log = CommitLog::new(process.setup.services.blobs.clone(), prefix, kernel.notify());
        let runner = Rc::new(PartitionRunner {
            index,
            state: RefCell::new(Partition::new(index, partitions, process.setup.config.clone())),
            log,
            submitted: kernel.channel(),
            cursors: RefCell::default(),
            alarm: kernel.notify(),
            stopped: Cell::new(false),
            logged: Cell::new(0),
            replays: Cell::new(0),
            process,
        });
        runner.process.add_runner(index, &runner);
        let started = runner.clone();
        runner.process.host().spawn(async move { started.run().await });
        runner
    }

    /// Submits an event to the partition.
    pub(crate) fn submit(&self, event: PartitionEvent) {
        self.submitted.0.send(event);
    }

    /// The cursor of an instance and how many events had to be replayed for it. A cursor of another
    /// session knows a state that was replaced.
    pub(crate) fn cursor(&self, instance: &InstanceId, session: u64) -> (Cursor, usize) {
        if let Some((owner, cursor)) = self.cursors.borrow_mut().remove(instance)
            && owner == session
        {
            return (cursor, 0);
        }
        let application = self.process.setup.application.clone();
        let history = self.state.borrow().history(instance);
        if history.is_empty() {
            return (Cursor::new(application, instance.clone()), 0);
        }
        self.replays.set(self.replays.get() + 1);
        (Cursor::replay(application, instance.clone(), &history), history.len())
    }

    /// Keeps a cursor for the instance's next step.
    pub(crate) fn keep_cursor(&self, instance: InstanceId, session: u64, cursor: Cursor) {
        self.cursors.borrow_mut().insert(instance, (session, cursor));
    }

    /// Counts of the partition's mechanisms, added to `counters`.
    pub(crate) fn count(&self, counters: &mut Counters) {
        counters.log_events += self.logged.get();
        counters.log_commits += self.log.commits();
        counters.replays += self.replays.get();
        let state = self.state.borrow();
        counters.moved_activities += state.moved_activities();
        counters.timers_fired += state.timers_fired();
        counters.instances += state.instance_count() as u64;
    }

    async fn run(self: Rc<Self>) {
        let lease = self.acquire_lease().await;
        let host = self.process.host();
        let renewing = self.clone();
        host.spawn(async move { renewing.renew_lease(lease).await });
        let intake = self.clone();
        host.spawn(async move { intake.take_in().await });
        if self.process.setup.config.placement == Placement::Locavore {
            let poking = self.clone();
            host.spawn(async move { poking.poke().await });
        }
        let timing = self.clone();
        host.spawn(async move { timing.fire_timers().await });
        let receiving = self.clone();
        host.spawn(async move { receiving.receive().await });
        let durable = |position| self.became_durable(position);
        if self.log.run(host, lease, durable).await.is_err() {
            // Without its log a partition cannot promise anything.
            self.stopped.set(true);
        }
    }

    fn lease_name(&self) -> String {
        format!("p{:02}/commit", self.index)
    }

    async fn acquire_lease(&self) -> LeaseId {
        let blobs = &self.process.setup.services.blobs;
        let (host, name) = (self.process.host(), self.lease_name());
        while blobs.put(host, &name, Bytes::new(), None).await.is_err() {
            self.process.setup.kernel.sleep(LEASE_RETRY).await;
        }
        loop {
            let duration = Some(self.process.setup.config.lease_duration);
            let acquired = blobs.acquire_lease(host, &name, duration);
            match acquired.await {
                Ok(reply) => return reply.value,
                Err(_) => self.process.setup.kernel.sleep(LEASE_RETRY).await,
            }
        }
    }

    async fn renew_lease(&self, lease: LeaseId) {
        let blobs = &self.process.setup.services.blobs;
        let name = self.lease_name();
        loop {
            self.process.setup.kernel.sleep(self.process.setup.config.lease_renewal).await;
            if blobs.renew_lease(self.process.host(), &name, lease).await.is_err() {
                self.stopped.set(true);
                return;
            }
        }
    }

    async fn take_in(&self) {
        let mut effects = Vec::new();
        while !self.stopped.get() {
            let events = self.submitted.1.recv_many(self.process.setup.config.intake_batch).await;
            let work = self.process.setup.event_work * events.len() as u32;
            let timing = self.process.host().run(work).await;
            let ended = self.process.setup.kernel.now();
            let begun = sim_model::time::Timestamp::from_nanos(
                ended.as_nanos() - sim_model::time::nanos(timing.ran),
            );
            for event in events {
                let mut position = 0;
                if event.is_logged() {
                    position = self.log.append(&event);
                    self.logged.set(self.logged.get() + 1);
                }
                let handling = Handling { begun, ended };
                self.state.borrow_mut().process(position, event, handling, &mut effects);
                self.perform(&mut effects);
            }
            self.log.wake();
            self.report_load();
        }
    }

    /// Tells the load monitor how busy the partition is, if that is due.
    fn report_load(&self) {
        let report = self.state.borrow_mut().load_report(self.process.setup.kernel.now());
        if let Some(report) = report {
            self.process.send_to_monitor(report);
        }
    }

    /// Lets a partition without events report too.
    async fn poke(&self) {
        while !self.stopped.get() {
            self.report_load();
            self.process.setup.kernel.sleep(POKE_INTERVAL).await;
        }
    }

    /// Submits timers when they are due.
    async fn fire_timers(&self) {
        let kernel = &self.process.setup.kernel;
        loop {
            let now = kernel.now();
            while let Some(event) = self.state.borrow_mut().take_due_timer(now) {
                self.submit(event);
            }
            let next = self.state.borrow().next_timer();
            let alarm = self.alarm.notified();
            match next {
                Some(due) => {
                    let _in_time = kernel.timeout(due.since(now), alarm).await;
                }
                None => alarm.await,
            }
        }
    }

    async fn receive(&self) {
        let process = &self.process;
        let mut subscription =
            process.setup.services.partition_log.subscribe(process.host(), self.index, 0);
        loop {
            let events = receive(
                &process.setup.kernel,
                process.host(),
                &mut subscription,
                &process.setup.services.blobs,
                RECEIVE_BATCH,
            );
            for event in events.await {
                self.submit(event);
            }
        }
    }

    fn became_durable(&self, position: u64) {
        let mut effects = Vec::new();
        let now = self.process.setup.kernel.now();
        self.state.borrow_mut().became_durable(position, now, &mut effects);
        self.perform(&mut effects);
    }

    fn perform(&self, effects: &mut Vec<Effect>) {
        let observer = &self.process.setup.observer;
        for effect in effects.drain(..) {
            match effect {
                Effect::StartStep(work) => self.process.enqueue_step(self.index, work),
                Effect::StartActivity(work) => self.process.enqueue_activity(self.index, work),
                Effect::SetAlarm => self.alarm.notify_one(),
                Effect::PlanOffload(span) => self.plan_offload(span),
                Effect::Submit(event) => self.submit(event),
                Effect::Send(outgoing) => self.send(outgoing),
                Effect::Committed(item) => observer.graph().committed(item),
                Effect::Aborted(item) => observer.graph().aborted(item),
                Effect::Completed(completion) => observer.completed(completion),
                Effect::Discarded(message) => observer.graph().discarded(message),
                Effect::Removed(instance) => observer.graph().removed(&instance),
            }
        }
    }

    fn plan_offload(&self, span: Duration) {
        let (kernel, submit) = (self.process.setup.kernel.clone(), self.submitted.0.clone());
        self.process.host().spawn(async move {
            kernel.sleep(span).await;
            submit.send(PartitionEvent::OffloadDecision { decided: kernel.now() });
        });
    }

    /// Hands an outbox entry to the senders. Entries of read-only events (position 0) are not in
    /// the log and need no confirmation.
    fn send(&self, outgoing: Outgoing) {
        let parts = outgoing.partitions.len() + outgoing.clients.len();
        let confirmation = (outgoing.position > 0)
            .then(|| Confirmation::new(outgoing.position, parts, self.submitted.0.clone()));
        let receipt = || confirmation.clone().map_or(Receipt::None, Receipt::Part);
        for (partition, event) in outgoing.partitions {
            self.process.send_to_partition(partition, Letter { event, receipt: receipt() });
        }
        for (client, event) in outgoing.clients {
            self.process.send_to_client(client, Letter { event, receipt: receipt() });
        }
    }
}

/// Sums over all partitions of a hub.
#[derive(Default)]
pub(crate) struct Counters {
    pub log_events: u64,
    pub log_commits: u64,
    pub replays: u64,
    pub instances: u64,
    pub moved_activities: u64,
    pub timers_fired: u64,
}
