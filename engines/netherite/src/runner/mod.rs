//! One incarnation of a partition on its host: recovery, intake, log, transport, checkpoints.
//!
//! Long-lived tasks carry the data: the intake takes what was submitted (at most 500 events at once),
//! pays its core time, appends each event to the log and applies it to the state; the log commits;
//! the receiver takes what the transport delivers; others fire timers, take checkpoints, and report
//! to the load monitor. All decisions are the state machine's ([`crate::partition`]).
//!
//! An incarnation begins with what is in the blobs ([`recovery`](self)) and ends when it is stopped,
//! loses its lease or its log, or has to roll back. Whatever it had not made durable is lost with it.

mod checkpoint;
mod intake;
mod recovery;
mod upkeep;

use crate::commit_log::CommitLog;
use crate::event::{Input, InputPosition, Origin, PartitionEvent};
use crate::host::HostProcess;
use crate::lease::PartitionLease;
use crate::partition::{Effect, Origins, Outgoing, Partition};
use crate::reports::{Reports, bump};
use crate::stop::Stop;
use crate::transport::{Confirmation, Letter, Receipt};
use rustc_hash::FxHashMap;
use sim_model::cursor::Cursor;
use sim_model::id::InstanceId;
use sim_world::kernel::{Notify, Receiver, Sender};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// How long an incarnation that ends in an orderly way waits for its last commit.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// How an incarnation ended.
pub(crate) enum Ending {
    /// It was stopped in an orderly way.
    Stopped,
    /// Its lease or its log was lost.
    Lost,
    /// It had taken in what another partition has lost.
    RollBack(Resumption),
}

/// What an incarnation leaves to the next one under the same lease.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resumption {
    /// What it knew of the others.
    pub origins: Origins,
    /// Nothing that its log holds from this position on is kept.
    pub cut: Option<u64>,
}

/// An incarnation of a partition.
pub(crate) struct PartitionRunner {
    index: u32,
    prefix: String,
    process: Rc<HostProcess>,
    lease: Rc<PartitionLease>,
    reports: Reports,
    state: RefCell<Partition>,
    log: CommitLog,
    submitted: (Sender<Input>, Receiver<Input>),
    /// Suspended code of instances, with the session it belongs to.
    cursors: RefCell<FxHashMap<InstanceId, (u64, Cursor)>>,
    /// Tells the timers' task that another timer is the next to fire.
    alarm: Notify,
    /// Nothing is taken in any more.
    closed: Stop,
    /// Everything ends.
    ended: Stop,
    ending: RefCell<Option<Ending>>,
    /// Up to where the log is committed and reported to be, and who waits for more.
    committed: (Cell<u64>, Notify),
    checkpoints: checkpoint::Progress,
    latency: upkeep::Latencies,
}

impl PartitionRunner {
    /// Whether it still takes anything in.
    pub(crate) fn is_running(&self) -> bool {
        !self.closed.is_stopped()
    }

    pub(crate) fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Submits an event to the partition.
    pub(crate) fn submit(&self, event: PartitionEvent) {
        self.submitted.0.send(event.into());
    }

    /// The cursor of an instance and how many events had to be replayed for it. A cursor of another
    /// session knows a state that was replaced. `None` if the incarnation ends first.
    pub(crate) async fn cursor(
        &self,
        instance: &InstanceId,
        session: u64,
    ) -> Option<(Cursor, usize)> {
        let kept = self.cursors.borrow_mut().remove(instance);
        if let Some((_, cursor)) = kept.filter(|(owner, _)| *owner == session) {
            return Some((cursor, 0));
        }
        loop {
            let address = self.state.borrow().cold(instance);
            match address {
                Some(address) => self.load(vec![(instance.clone(), address)]).await?,
                None => break,
            }
        }
        let application = self.process.setup.application.clone();
        let history = self.state.borrow().history(instance);
        if history.is_empty() {
            return Some((Cursor::new(application, instance.clone()), 0));
        }
        bump(&self.reports.counts().replays, 1);
        Some((Cursor::replay(application, instance.clone(), &history), history.len()))
    }

    /// Keeps a cursor for the instance's next step.
    pub(crate) fn keep_cursor(&self, instance: InstanceId, session: u64, cursor: Cursor) {
        self.cursors.borrow_mut().insert(instance, (session, cursor));
    }

    /// How many instances the partition has.
    pub(crate) fn instances(&self) -> u64 {
        self.state.borrow().instance_count() as u64
    }

    /// How many activities were moved to other partitions, by all incarnations.
    pub(crate) fn moved_activities(&self) -> u64 {
        self.state.borrow().moved_activities()
    }

    /// How many timers have fired, in all incarnations.
    pub(crate) fn timers_fired(&self) -> u64 {
        self.state.borrow().timers_fired()
    }

    /// How many events are kept because they may have to be sent again.
    pub(crate) fn outbox_entries(&self) -> u64 {
        self.state.borrow().outbox_entries() as u64
    }

    /// Bytes of instances in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.state.borrow().resident_bytes()
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&self) -> Ending {
        self.ended.stopped().await;
        self.ending.borrow_mut().take().unwrap_or(Ending::Lost)
    }

    /// Ends it at once: what is not durable is lost.
    fn end(&self, ending: Ending) {
        if !self.ended.is_stopped() {
            self.ending.replace(Some(ending));
            self.closed.stop();
            self.ended.stop();
        }
    }

    /// Ends it in an orderly way: everything taken in is made durable, and a checkpoint makes the
    /// next start short.
    pub(crate) async fn stop(self: &Rc<Self>) -> Ending {
        self.closed.stop();
        let kernel = self.process.setup.kernel.clone();
        if self.process.setup.config.checkpoint_on_stop {
            let last = self.ended.unless(self.clone().last_checkpoint());
            kernel.timeout(LAST_COMMIT, last).await;
        }
        let last = self.ended.unless(self.log.until_durable(self.log.end()));
        kernel.timeout(LAST_COMMIT, last).await;
        self.end(Ending::Stopped);
        self.ended().await
    }

    /// Ends it because what it took in at `position` was lost. What lies before is made durable; when the
    /// last commit is through, the incarnation ends.
    fn roll_back(&self, position: u64) {
        if self.closed.is_stopped() {
            return;
        }
        self.closed.stop();
        bump(&self.reports.counts().rollbacks, 1);
        self.log.close(position);
    }

    /// Waits until the log is committed up to `position`.
    async fn until_committed(&self, position: u64) {
        loop {
            let committed = self.committed.1.notified();
            if self.state.borrow().committed() >= position {
                return;
            }
            committed.await;
        }
    }

    fn became_durable(self: &Rc<Self>, position: u64) {
        let mut effects = Vec::new();
        let now = self.process.setup.kernel.now();
        self.state.borrow_mut().became_durable(position, now, &mut effects);
        self.perform(&mut effects);
    }

    fn perform(self: &Rc<Self>, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::StartStep(work) => self.process.enqueue_step(self, work),
                Effect::StartActivity(work) => self.process.enqueue_activity(self, work),
                Effect::SetAlarm => self.alarm.notify_one(),
                Effect::PlanOffload(span) => self.plan_offload(span),
                Effect::Submit(event) => self.submit(event),
                Effect::Send(outgoing) => self.send(outgoing),
                Effect::Tell(partition, event) => {
                    let letter = Letter { event, receipt: Receipt::None };
                    self.process.send_to_partition(partition, letter);
                }
                Effect::Report(positions) => {
                    self.process.send_to_monitor(crate::event::MonitorEvent::Positions(positions));
                }
                Effect::RollBack(position) => self.roll_back(position),
                Effect::Committed(position, item) => self.reports.committed(position, item),
                Effect::Aborted(item) => self.reports.aborted(item),
                Effect::Completed(position, completion) => {
                    self.reports.completed(position, *completion);
                }
                Effect::Discarded(message) => self.reports.discarded(message),
                Effect::Removed(instance) => self.reports.removed(&instance),
            }
        }
        let committed = self.state.borrow().committed();
        if self.committed.0.replace(committed) != committed {
            self.reports.final_up_to(committed);
            self.committed.1.notify_all();
        }
    }

    fn plan_offload(&self, span: Duration) {
        let (kernel, submit) = (self.process.setup.kernel.clone(), self.submitted.0.clone());
        self.process.host().spawn(async move {
            kernel.sleep(span).await;
            submit.send(PartitionEvent::OffloadDecision { decided: kernel.now() }.into());
        });
    }

    /// Hands an outbox entry to the senders. Entries of read-only events (position 0) are not in
    /// the log and need no confirmation.
    fn send(&self, outgoing: Outgoing) {
        let parts = (outgoing.partitions.len(), outgoing.clients.len());
        let confirmation = (outgoing.position > 0)
            .then(|| Confirmation::new(outgoing.position, parts, self.submitted.0.clone()));
        let receipt = || confirmation.clone().map_or(Receipt::None, Receipt::Part);
        for (partition, event) in outgoing.partitions {
            let early = event.origin().is_some_and(Origin::is_speculative);
            bump(&self.reports.counts().early, u64::from(early));
            self.process.send_to_partition(partition, Letter { event, receipt: receipt() });
        }
        for (client, event) in outgoing.clients {
            self.process.send_to_client(client, Letter { event, receipt: receipt() });
        }
    }

    /// Where in the input queue to go on after a restart.
    fn input_position(&self) -> InputPosition {
        self.state.borrow().input_position()
    }
}
