//! What is reported of a partition, once for all of its incarnations.
//!
//! A work item may become durable just before its host dies: its successor finds it in the log and
//! reports it. And a host that was thought dead may report what its successor has reported already.
//! Reports are measurements: here each commit is reported once, by its log position, and whatever an
//! incarnation leaves unfinished is reported as aborted when the next one has rebuilt the state.
//! Nothing in the engine depends on it.
//!
//! **Who is believed.** An incarnation, until the next one *has* the log: one that only opens it may wait for
//! long (for a majority of the machines that keep a replicated log), and meanwhile the one before commits, and
//! names a checkpoint: no record of these commits is read again, so that nobody else would report them.
//!
//! Each step that an incarnation commits is also reported as progress of the partition on its host; not
//! those that it found committed in the log.

use sim_model::engine::{Completion, HostLife, Observer};
use sim_model::graph::checks;
use sim_model::id::{InstanceId, MessageId, WorkItemId};
use sim_model::step::StepOutcome;
use sim_model::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// Counts of the mechanisms of one partition.
#[derive(Default)]
pub(crate) struct Counts {
    pub logged: Cell<u64>,
    pub commits: Cell<u64>,
    /// Time that commits took, all together.
    pub commit_time: Cell<Duration>,
    pub replays: Cell<u64>,
    pub checkpoints: Cell<u64>,
    pub compactions: Cell<u64>,
    pub recoveries: Cell<u64>,
    pub replayed: Cell<u64>,
    pub rollbacks: Cell<u64>,
    pub aborted: Cell<u64>,
    pub voided: Cell<u64>,
    pub lost: Cell<u64>,
    pub evicted: Cell<u64>,
    pub loaded: Cell<u64>,
    pub early: Cell<u64>,
    /// Time from the acquisition of the lease to the first event, over all recoveries.
    pub recovery_time: Cell<Duration>,
}

/// Adds to a counter.
pub(crate) fn bump(cell: &Cell<u64>, by: u64) {
    cell.set(cell.get() + by);
}

/// The reports of one partition.
pub(crate) struct PartitionReports {
    index: u32,
    observer: Observer,
    pub counts: Counts,
    /// How many incarnations have begun.
    begun: Cell<u64>,
    /// The last one that has got the log.
    incarnation: Cell<u64>,
    /// Whether the present incarnation has rebuilt the state.
    rebuilt: Cell<bool>,
    /// Commits before this log position were reported.
    reported: Cell<u64>,
    /// Work items that were fetched and are neither committed nor aborted.
    open: RefCell<BTreeSet<WorkItemId>>,
}

/// The reports of one incarnation. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Reports {
    partition: Rc<PartitionReports>,
    incarnation: u64,
    owner: HostLife,
}

impl PartitionReports {
    pub(crate) fn new(index: u32, observer: Observer) -> Rc<PartitionReports> {
        Rc::new(PartitionReports {
            index,
            observer,
            counts: Counts::default(),
            begun: Cell::new(0),
            incarnation: Cell::new(0),
            rebuilt: Cell::new(false),
            reported: Cell::new(0),
            open: RefCell::default(),
        })
    }
}

impl Reports {
    /// Those of a new incarnation, which begins to open the log.
    pub(crate) fn begin(partition: &Rc<PartitionReports>, owner: HostLife) -> Reports {
        let incarnation = partition.begun.get() + 1;
        partition.begun.set(incarnation);
        Reports { partition: partition.clone(), incarnation, owner }
    }

    /// The incarnation has the log, and none before it can write to it any more: what those say from now on is
    /// not reported. One whose successor has the log already is late, and has lost it again.
    pub(crate) fn take_over(&self) {
        let PartitionReports { incarnation, rebuilt, .. } = &*self.partition;
        if self.incarnation > incarnation.get() {
            incarnation.set(self.incarnation);
            rebuilt.set(false);
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.partition.counts
    }

    fn is_current(&self) -> bool {
        self.partition.incarnation.get() == self.incarnation
    }

    /// A step was taken up, with the messages it consumes.
    pub(crate) fn fetch_step(
        &self,
        instance: &InstanceId,
        predecessor: Option<WorkItemId>,
        messages: impl Iterator<Item = MessageId>,
        now: Timestamp,
    ) -> WorkItemId {
        let graph = self.partition.observer.graph();
        self.fetched(graph.fetch_step(instance, predecessor, messages, now))
    }

    /// An activity was taken up.
    pub(crate) fn fetch_task(&self, message: MessageId, now: Timestamp) -> WorkItemId {
        self.fetched(self.partition.observer.graph().fetch_task(message, now))
    }

    fn fetched(&self, item: WorkItemId) -> WorkItemId {
        if self.is_current() {
            self.partition.open.borrow_mut().insert(item);
        } else {
            self.partition.observer.graph().aborted(item);
        }
        item
    }

    fn is_open(&self, item: WorkItemId) -> bool {
        self.is_current() && self.partition.open.borrow().contains(&item)
    }

    pub(crate) fn executed_step(&self, item: WorkItemId, outcome: &StepOutcome) {
        if self.is_open(item) {
            self.partition.observer.graph().executed_step(item, outcome);
        }
    }

    pub(crate) fn executed_task(&self, item: WorkItemId) {
        if self.is_open(item) {
            self.partition.observer.graph().executed(item, 1);
        }
    }

    fn is_new(&self, position: u64) -> bool {
        self.is_current() && position >= self.partition.reported.get()
    }

    /// The event at `position`, which says what the work item did, is committed.
    pub(crate) fn committed(&self, position: u64, item: WorkItemId) {
        if self.is_new(position) {
            let PartitionReports { index, observer, rebuilt, open, .. } = &*self.partition;
            open.borrow_mut().remove(&item);
            observer.graph().committed(item);
            if rebuilt.get() && checks::is_step(&observer.graph().graph().item(item).kind) {
                observer.progressed(*index, self.owner);
            }
        }
    }

    /// The event at `position`, which ended an orchestration, is committed.
    pub(crate) fn completed(&self, position: u64, completion: Completion) {
        if self.is_new(position) {
            self.partition.observer.completed(completion);
        }
    }

    /// Everything before `committed` has been reported.
    pub(crate) fn final_up_to(&self, committed: u64) {
        if self.is_current() {
            self.partition.reported.set(self.partition.reported.get().max(committed));
        }
    }

    pub(crate) fn aborted(&self, item: WorkItemId) {
        if self.is_current() && self.partition.open.borrow_mut().remove(&item) {
            self.partition.observer.graph().aborted(item);
        }
    }

    pub(crate) fn discarded(&self, message: MessageId) {
        self.partition.observer.graph().discarded(message);
    }

    pub(crate) fn removed(&self, instance: &InstanceId) {
        self.partition.observer.graph().removed(instance);
    }

    /// The state was rebuilt: whatever is not in it was lost with earlier incarnations. Those work items
    /// are in it, and not committed yet.
    pub(crate) fn recovered(&self, uncommitted: impl Iterator<Item = WorkItemId>) {
        if !self.is_current() {
            return;
        }
        self.partition.rebuilt.set(true);
        let mut lost = std::mem::take(&mut *self.partition.open.borrow_mut());
        let kept = uncommitted.filter(|item| lost.remove(item)).collect();
        self.partition.open.replace(kept);
        bump(&self.partition.counts.aborted, lost.len() as u64);
        lost.into_iter().for_each(|item| self.partition.observer.graph().aborted(item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_model::graph::{GraphRecorder, Progress};

    const OWNER: HostLife = HostLife { host: 0, life: 0 };

    /// A partition whose first incarnation has the log, and the record of its work items.
    fn partition() -> (Rc<PartitionReports>, Reports, GraphRecorder) {
        let graph = GraphRecorder::default();
        let partition = PartitionReports::new(0, Observer::new(graph.clone(), |_| ()));
        let first = Reports::begin(&partition, OWNER);
        first.take_over();
        first.recovered(std::iter::empty());
        (partition, first, graph)
    }

    fn executed(reports: &Reports, graph: &GraphRecorder) -> WorkItemId {
        let item = reports.fetch_task(graph.client_message(), Timestamp::ZERO);
        reports.executed_task(item);
        item
    }

    fn progress(graph: &GraphRecorder, item: WorkItemId) -> Progress {
        graph.graph().item(item).progress
    }

    #[test]
    fn an_incarnation_is_believed_until_the_next_one_has_the_log() {
        let (partition, first, graph) = partition();
        let [early, late] = [(); 2].map(|()| executed(&first, &graph));
        let second = Reports::begin(&partition, OWNER);
        // The second one waits for the log; its checkpoint will be the one that the first names now.
        first.committed(64, early);
        first.final_up_to(100);
        second.take_over();
        first.committed(100, late);
        second.recovered(std::iter::empty());
        assert_eq!(progress(&graph, early), Progress::Committed(0));
        assert_eq!(progress(&graph, late), Progress::Aborted, "its record was not read");
        assert_eq!(partition.counts.aborted.get(), 1);
    }

    #[test]
    fn a_commit_that_both_report_counts_once() {
        let (partition, first, graph) = partition();
        let item = executed(&first, &graph);
        let second = Reports::begin(&partition, OWNER);
        first.committed(64, item);
        first.final_up_to(100);
        second.take_over();
        second.committed(64, item);
        second.final_up_to(100);
        second.recovered(std::iter::empty());
        assert_eq!(progress(&graph, item), Progress::Committed(0));
    }

    #[test]
    fn one_that_is_told_late_that_it_had_the_log_is_not_believed() {
        let (partition, _first, graph) = partition();
        let second = Reports::begin(&partition, OWNER);
        let third = Reports::begin(&partition, OWNER);
        third.take_over();
        third.recovered(std::iter::empty());
        let item = executed(&third, &graph);
        second.take_over();
        second.recovered(std::iter::empty());
        third.committed(64, item);
        assert_eq!(progress(&graph, item), Progress::Committed(0));
    }
}
