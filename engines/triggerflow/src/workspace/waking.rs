//! What wakes coordinators, v4, and when it is done with.
//!
//! A trigger that has woken a coordinator waits no more until that answers with the trigger of the next run. What
//! woke it is acknowledged when a record that came back has consumed it. An answer may come late, when the worker
//! has found the trigger in the store and gone on; may be that of another attempt, which had read the stream before
//! the event came; or may never come. So an event is held against what the record covers, and looked at again if
//! nobody is under way to consume it: once, because a second run that does not find it shows that the store
//! has lost it.

use super::{Firing, Workspace};
use crate::event::{Event, EventId, Position};
use crate::record::Record;
use crate::trigger::Trigger;

/// An event that has woken a coordinator.
pub(super) struct Waking {
    event: Event,
    position: Option<Position>,
    /// How many runs there had been.
    after: u32,
}

impl Workspace {
    /// A coordinator is being run, v4: its trigger waits no more.
    pub(crate) fn coordinator_invoked(&mut self, id: &str) {
        self.triggers.entry_mut(id).enabled = false;
    }

    /// Keeps what woke a coordinator until that has ended, v4.
    pub(crate) fn put_back(&mut self, firing: Firing) {
        let position = firing.acknowledged.first().and_then(|(_, position)| *position);
        let after = firing.triggers.first().map_or(0, |id| self.record(id).number);
        self.waking.push(Waking { event: firing.event, position, after });
    }

    /// Whether a coordinator runs that this trigger has woken, v4.
    pub(crate) fn awaits_coordinator(&self, id: &str) -> bool {
        self.triggers.contains(id) && !self.triggers.entry(id).enabled
    }

    /// A coordinator has registered `trigger`, v4: perhaps long ago, so that the workflow has gone on. What had
    /// been consumed by then can be acknowledged; what has woken another run cannot.
    pub(crate) fn coordinator_ended(
        &mut self,
        trigger: Trigger,
    ) -> Vec<(EventId, Option<Position>)> {
        let record = Record::of(&trigger);
        if !self.triggers.contains(&trigger.id) {
            self.install(trigger);
        }
        let retaken = &self.retaken;
        let is_covered = |waking: &mut Waking| {
            // A second run that has not found it shows that the store has lost it.
            let is_lost = retaken.contains(&waking.event.id) && record.number > waking.after;
            let covers = |position| record.covers(position, waking.after);
            is_lost || waking.position.is_none_or(covers)
        };
        let woken = self.waking.extract_if(.., is_covered);
        self.spent.extend(woken.map(|waking| (waking.event.id, waking.position)));
        self.spent()
    }

    /// The coordinator could not be invoked, v4: its trigger waits again, for what is returned.
    pub(crate) fn coordinator_lost(&mut self) -> Vec<(Event, Option<Position>)> {
        for entry in self.triggers.entries_mut() {
            entry.enabled = true;
        }
        self.take_waking()
    }

    /// What has woken coordinators that have ended, and was not consumed: to be taken in again, once.
    pub(crate) fn unconsumed(&mut self) -> Vec<(Event, Option<Position>)> {
        if self.is_busy() {
            return Vec::new();
        }
        self.retaken.extend(self.waking.iter().map(|waking| waking.event.id));
        self.take_waking()
    }

    fn take_waking(&mut self) -> Vec<(Event, Option<Position>)> {
        let woken = std::mem::take(&mut self.waking);
        for waking in &woken {
            self.seen.remove(&waking.event.id);
        }
        woken.into_iter().map(|waking| (waking.event, waking.position)).collect()
    }
}
