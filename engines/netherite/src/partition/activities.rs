//! Activities of a partition: those started, those kept back, and those that move.
//!
//! **What it models.** A new activity starts if none is pending or if the queue of the host's
//! activity slots is estimated to be shorter than the limit (`WorkItemQueueLimit`); otherwise it
//! waits in the backlog. The estimate is what the last completion reported, plus what was started
//! since. Each completion starts as many more as the estimate allows.
//!
//! What lies in the backlog may move to another partition: round robin by number, 100 ms after the
//! backlog began and then every second (`static`), or when the load monitor says so (`locavore`).
//! An activity moves once: where it arrives it starts, or queues among the *remotes*.
//!
//! **Assumption.** Remotes start before the backlog: they cannot go anywhere else.
//!
//! Source: microsoft/durabletask-netherite, `PartitionState/ActivitiesState.cs`.

use crate::event::{ActivityCompleted, LoadInformation};
use crate::settings::Placement;
use serde::{Deserialize, Serialize};
use sim_model::ledger::Category;
use sim_model::message::TaskMessage;
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long after the backlog began the scheduler `static` first moves it, and how often then.
pub(crate) const FIRST_OFFLOAD: Duration = Duration::from_millis(100);
const NEXT_OFFLOAD: Duration = Duration::from_secs(1);
/// How long a solicitation of the load monitor is good for.
const SOLICITATION_VALIDITY: Duration = Duration::from_secs(30);
/// How often the load is reported if nobody asks and there is no backlog.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// The weight of the newest completion in the average.
const SMOOTHING: f64 = 0.1;

/// An activity to execute.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct ActivityWork {
    /// Its number on this partition.
    pub id: u64,
    /// The partition whose instance called it.
    pub origin: u32,
    /// When it came to this partition; when it was decided that it comes, if it was moved.
    issued: Timestamp,
    /// How often a recovery has started it anew (`DequeueCount`).
    attempts: u32,
    pub message: TaskMessage,
}

/// Pending activities, the backlog and the remotes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Activities {
    placement: Placement,
    limit: usize,
    next: u64,
    /// The host's queue of activities, as far as this partition knows.
    estimated_queue: usize,
    pending: BTreeMap<u64, ActivityWork>,
    backlog: VecDeque<ActivityWork>,
    remotes: VecDeque<ActivityWork>,
    average_completion: Option<Duration>,
    offload_planned: bool,
    solicited_at: Option<Timestamp>,
    reported_at: Option<Timestamp>,
    carried_out: Option<Timestamp>,
    received: BTreeMap<u32, Timestamp>,
    moved: u64,
}

impl Activities {
    pub(crate) fn new(placement: Placement, limit: usize) -> Activities {
        Activities {
            placement,
            limit,
            next: 0,
            estimated_queue: 0,
            pending: BTreeMap::new(),
            backlog: VecDeque::new(),
            remotes: VecDeque::new(),
            average_completion: None,
            offload_planned: false,
            solicited_at: None,
            reported_at: None,
            carried_out: None,
            received: BTreeMap::new(),
            moved: 0,
        }
    }

    /// How many activities were moved away.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// Adds an activity that an instance of partition `here`, this one, has called; what to start.
    pub(crate) fn add(
        &mut self,
        message: TaskMessage,
        here: u32,
        issued: Timestamp,
    ) -> Option<ActivityWork> {
        let work = self.number(message, here, issued);
        if self.has_room() {
            return Some(self.start(work));
        }
        self.backlog.push_back(work);
        None
    }

    /// Adds activities that another partition has moved here; what to start.
    pub(crate) fn receive(
        &mut self,
        messages: Vec<TaskMessage>,
        origin: u32,
        decided: Timestamp,
        started: &mut Vec<ActivityWork>,
    ) {
        self.received.insert(origin, decided);
        for message in messages {
            let work = self.number(message, origin, decided);
            if self.has_room() {
                started.push(self.start(work));
            } else {
                self.remotes.push_back(work);
            }
        }
    }

    /// Ends an activity; whether it was pending (otherwise its result was taken before).
    pub(crate) fn complete(
        &mut self,
        completed: &ActivityCompleted,
        started: &mut Vec<ActivityWork>,
    ) -> bool {
        let Some(ended) = self.pending.remove(&completed.activity) else {
            return false;
        };
        let took = completed.timestamp.since(ended.issued);
        self.average_completion = Some(match self.average_completion {
            Some(average) => average.mul_f64(1.0 - SMOOTHING) + took.mul_f64(SMOOTHING),
            None => took,
        });
        self.estimated_queue = completed.reported_load as usize;
        while self.has_room() {
            let next = self.remotes.pop_front().or_else(|| self.backlog.pop_front());
            let Some(next) = next else { break };
            started.push(self.start(next));
        }
        true
    }

    /// How many activities there are, and how many of them wait and may move.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let all = self.pending.len() + self.backlog.len() + self.remotes.len();
        (all as u32, self.backlog.len() as u32)
    }

    /// A new incarnation begins: what was pending starts anew, and nobody has planned or asked for
    /// anything.
    pub(crate) fn restart(&mut self, now: Timestamp) -> Vec<ActivityWork> {
        self.offload_planned = false;
        self.solicited_at = None;
        self.reported_at = None;
        self.estimated_queue = self.pending.len();
        let restart = |work: &mut ActivityWork| {
            work.attempts += 1;
            let why = Category::Retries.because("started again after its partition recovered");
            work.message.ledger.charge(why, now);
            work.clone()
        };
        self.pending.values_mut().map(restart).collect()
    }

    /// When the next decision about the backlog is due, if one has to be planned now.
    pub(crate) fn plan_offload(&mut self) -> Option<Duration> {
        let wanted = self.placement == Placement::Static && !self.backlog.is_empty();
        (wanted && !std::mem::replace(&mut self.offload_planned, true)).then_some(FIRST_OFFLOAD)
    }

    /// Takes what the scheduler `static` moves out of the backlog, by destination, and says when to
    /// decide again.
    pub(crate) fn offload(
        &mut self,
        here: u32,
        partitions: u32,
    ) -> (BTreeMap<u32, Vec<TaskMessage>>, Option<Duration>) {
        let mut leaving: BTreeMap<u32, Vec<TaskMessage>> = BTreeMap::new();
        for work in std::mem::take(&mut self.backlog) {
            let destination = (work.id % u64::from(partitions)) as u32;
            if destination == here {
                self.backlog.push_back(work);
            } else {
                self.moved += 1;
                leaving.entry(destination).or_default().push(work.message);
            }
        }
        self.offload_planned = !self.backlog.is_empty();
        (leaving, self.offload_planned.then_some(NEXT_OFFLOAD))
    }

    /// Takes what a command of the load monitor moves out of the backlog, oldest first. `None` if
    /// the command was carried out before.
    pub(crate) fn transfer(
        &mut self,
        decided: Timestamp,
        count: usize,
    ) -> Option<Vec<TaskMessage>> {
        if self.carried_out.is_some_and(|last| last >= decided) {
            return None;
        }
        self.carried_out = Some(decided);
        let count = count.min(self.backlog.len());
        self.moved += count as u64;
        Some(self.backlog.drain(..count).map(|work| work.message).collect())
    }

    /// The load monitor has asked for reports.
    pub(crate) fn solicited(&mut self, asked: Timestamp) {
        self.solicited_at = self.solicited_at.max(Some(asked));
        self.reported_at = None;
    }

    /// What to tell the load monitor now, if anything.
    pub(crate) fn report(&mut self, partition: u32, now: Timestamp) -> Option<LoadInformation> {
        let within = |instant: Option<Timestamp>, span| instant.is_some_and(|at| now < at + span);
        let due = !self.backlog.is_empty()
            || within(self.solicited_at, SOLICITATION_VALIDITY)
            || !within(self.reported_at, REPORT_INTERVAL);
        if self.placement != Placement::Locavore || !due {
            return None;
        }
        self.reported_at = Some(now);
        Some(LoadInformation {
            partition,
            stationary: (self.pending.len() + self.remotes.len()) as u32,
            mobile: self.backlog.len() as u32,
            average_completion: self.average_completion,
            carried_out: self.carried_out,
            received: self.received.iter().map(|(origin, decided)| (*origin, *decided)).collect(),
        })
    }

    fn has_room(&self) -> bool {
        self.pending.is_empty() || self.estimated_queue < self.limit
    }

    fn number(&mut self, message: TaskMessage, origin: u32, issued: Timestamp) -> ActivityWork {
        let id = self.next;
        self.next += 1;
        ActivityWork { id, origin, issued, attempts: 0, message }
    }

    fn start(&mut self, work: ActivityWork) -> ActivityWork {
        self.estimated_queue += 1;
        let previous = self.pending.insert(work.id, work.clone());
        assert!(previous.is_none(), "activity {} is started once", work.id);
        work
    }
}

#[cfg(test)]
mod tests;
