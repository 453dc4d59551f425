//! What a partition does about activities: starting them, moving them, taking their results.

use super::{ActivityWork, Commit, Effect, Handling, Outgoing, Partition};
use crate::event::{ActivityCompleted, Origin, PartitionEvent};
use sim_model::message::TaskMessage;
use sim_model::time::Timestamp;

impl Partition {
    /// Adds the activities that a step has called.
    pub(super) fn call_activities(
        &mut self,
        tasks: Vec<TaskMessage>,
        issued: Timestamp,
        handling: Handling,
        effects: &mut Vec<Effect>,
    ) {
        for mut task in tasks {
            handling.charge(&mut task.ledger);
            let started = self.activities.add(task, self.index, issued);
            effects.extend(started.map(Effect::StartActivity));
        }
        effects.extend(self.activities.plan_offload().map(Effect::PlanOffload));
    }

    /// Takes the result of an activity that ran here: it goes to the instance that called it, here
    /// or, if the activity was moved, on its own partition.
    pub(super) fn activity_completed(
        &mut self,
        completed: ActivityCompleted,
        handling: Handling,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        let mut started = Vec::new();
        if !self.activities.complete(&completed, &mut started) {
            effects.push(Effect::Aborted(completed.work_item));
            return;
        }
        self.commits.push_back((out.position, Commit::WorkItem(completed.work_item)));
        let mut response = completed.response;
        if completed.origin == self.index {
            self.deliver(response, handling, effects);
        } else {
            handling.charge(&mut response.ledger);
            let origin = self.origin(out.position, 0);
            let event = PartitionEvent::RemoteActivityResultReceived { origin, response };
            out.partitions.push((completed.origin, event));
        }
        self.start(started, handling, effects);
    }

    /// Moves the backlog by the rule of the scheduler `static`.
    pub(super) fn offload(
        &mut self,
        decided: Timestamp,
        handling: Handling,
        out: &mut Outgoing,
        effects: &mut Vec<Effect>,
    ) {
        let (leaving, next) = self.activities.offload(self.index, self.partitions);
        for (destination, activities) in leaving {
            self.send_activities(destination, decided, activities, handling, out);
        }
        effects.extend(next.map(Effect::PlanOffload));
    }

    /// Carries out a command of the load monitor. Its destination is told even if there was nothing
    /// to move: the monitor waits to hear from both.
    pub(super) fn transfer(
        &mut self,
        decided: Timestamp,
        (count, destination): (u32, u32),
        handling: Handling,
        out: &mut Outgoing,
    ) {
        if let Some(activities) = self.activities.transfer(decided, count as usize) {
            self.send_activities(destination, decided, activities, handling, out);
        }
    }

    /// Takes activities that another partition has moved here.
    pub(super) fn receive_activities(
        &mut self,
        origin: u32,
        decided: Timestamp,
        activities: Vec<TaskMessage>,
        handling: Handling,
        effects: &mut Vec<Effect>,
    ) {
        let mut started = Vec::new();
        self.activities.receive(activities, origin, decided, &mut started);
        self.start(started, handling, effects);
    }

    /// Where an event that leaves under `position` says it comes from.
    pub(super) fn origin(&self, position: u64, sub_position: u32) -> Origin {
        let (partition, epoch) = (self.index, self.epoch());
        Origin { partition, position, sub_position, epoch, depends: Vec::new() }
    }

    pub(super) fn start(
        &self,
        work: Vec<ActivityWork>,
        handling: Handling,
        effects: &mut Vec<Effect>,
    ) {
        for mut work in work {
            handling.charge(&mut work.message.ledger);
            effects.push(Effect::StartActivity(work));
        }
    }

    fn send_activities(
        &self,
        destination: u32,
        decided: Timestamp,
        mut activities: Vec<TaskMessage>,
        handling: Handling,
        out: &mut Outgoing,
    ) {
        activities.iter_mut().for_each(|task| handling.charge(&mut task.ledger));
        let mut sub_position = 0;
        loop {
            let rest = activities.split_off(activities.len().min(self.config.pack_messages));
            // What is split off leaves its room behind, and this goes into the outbox.
            activities.shrink_to_fit();
            let origin = self.origin(out.position, sub_position);
            let event = PartitionEvent::ActivityTransferReceived { origin, decided, activities };
            out.partitions.push((destination, event));
            if rest.is_empty() {
                break;
            }
            activities = rest;
            sub_position += 1;
        }
    }
}
