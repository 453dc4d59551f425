//! Activities of a partition: those started and those kept back.
//!
//! A new activity starts if none is pending or if the host's queue of activities is shorter than
//! the limit; otherwise it waits in the partition's backlog, from where a global scheduler could
//! move it. Each completion starts the next. This version runs every activity on the host of its
//! partition (the published `Local` scheduler).

use sim_model::message::TaskMessage;
use std::collections::{BTreeMap, VecDeque};

/// An activity to execute.
#[derive(Clone)]
pub(crate) struct ActivityWork {
    pub id: u64,
    pub message: TaskMessage,
}

/// Pending activities and the backlog.
#[derive(Default)]
pub(crate) struct Activities {
    next: u64,
    pending: BTreeMap<u64, TaskMessage>,
    backlog: VecDeque<ActivityWork>,
}

impl Activities {
    /// Adds an activity; what to start now. `host_has_room`: the host's queue is below its limit.
    pub(crate) fn add(
        &mut self,
        message: TaskMessage,
        host_has_room: bool,
    ) -> Option<ActivityWork> {
        let work = ActivityWork { id: self.next, message };
        self.next += 1;
        if self.pending.is_empty() || host_has_room {
            Some(self.start(work))
        } else {
            self.backlog.push_back(work);
            None
        }
    }

    /// Ends an activity; `None` if it is not pending (its result was taken before).
    pub(crate) fn complete(&mut self, id: u64) -> Option<TaskMessage> {
        self.pending.remove(&id)
    }

    /// The next activity of the backlog, if the rule lets it start.
    pub(crate) fn next(&mut self, host_has_room: bool) -> Option<ActivityWork> {
        if !self.pending.is_empty() && !host_has_room {
            return None;
        }
        self.backlog.pop_front().map(|work| self.start(work))
    }

    fn start(&mut self, work: ActivityWork) -> ActivityWork {
        let previous = self.pending.insert(work.id, work.message.clone());
        assert!(previous.is_none(), "activity {} is started once", work.id);
        work
    }
}
