//! Timers of a partition: messages that its instances have sent to themselves for later.
//!
//! A timer is armed when the step that created it is applied, and it is part of the partition's
//! state until the event that fires it has been applied: whoever recovers the state knows which
//! timers are still to fire. Source: microsoft/durabletask-netherite, `PartitionState/TimersState.cs`.

use serde::{Deserialize, Serialize};
use sim_model::message::{InstanceMessage, TimerMessage};
use sim_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The timers that have not been fired.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Timers {
    next: u64,
    pending: BTreeMap<u64, TimerMessage>,
    /// Those whose firing was not submitted, earliest first.
    #[serde(skip)]
    armed: BTreeSet<(Timestamp, u64)>,
    fired: u64,
}

impl Timers {
    /// Adds a timer; whether it is now the first to fire.
    pub(crate) fn add(&mut self, timer: TimerMessage) -> bool {
        let id = self.next;
        self.next += 1;
        let key = (timer.fire_at, id);
        self.armed.insert(key);
        self.pending.insert(id, timer);
        self.armed.first() == Some(&key)
    }

    /// When the next timer is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.armed.first().map(|(fire_at, _)| *fire_at)
    }

    /// A timer whose time has come: its firing has to be submitted.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<u64> {
        let (fire_at, id) = *self.armed.first()?;
        (fire_at <= now).then(|| {
            self.armed.pop_first();
            id
        })
    }

    /// A new incarnation begins: what has not fired has to be submitted.
    pub(crate) fn recover(&mut self) {
        self.armed = self.pending.iter().map(|(id, timer)| (timer.fire_at, *id)).collect();
    }

    /// What a timer that has not fired delivers.
    pub(crate) fn message(&self, id: u64) -> Option<&InstanceMessage> {
        self.pending.get(&id).map(|timer| &timer.message)
    }

    /// Fires a timer: what it delivers. `None` if it was fired before.
    pub(crate) fn fire(&mut self, id: u64) -> Option<InstanceMessage> {
        let timer = self.pending.remove(&id)?;
        self.fired += 1;
        Some(timer.message)
    }

    /// How many have fired.
    pub(crate) fn fired(&self) -> u64 {
        self.fired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sim_model::history::{EventKind, HistoryEvent};
    use sim_model::id::{InstanceId, MessageId, Producer};
    use sim_model::ledger::Ledger;

    fn timer(index: u32, fire_at: Timestamp) -> TimerMessage {
        let kind = EventKind::TimerFired { timer_id: index, fire_at };
        let message = InstanceMessage {
            id: MessageId { producer: Producer::Client, index },
            target: InstanceId::new("sleeper"),
            event: HistoryEvent { timestamp: fire_at, kind },
            ledger: Ledger::new(fire_at),
        };
        TimerMessage { fire_at, message }
    }

    proptest! {
        /// Each timer fires once, none before its time, in the order of their times.
        #[test]
        fn each_fires_once_and_in_order(delays in proptest::collection::vec(0u64..50, 1..40)) {
            let mut timers = Timers::default();
            for (index, delay) in delays.iter().enumerate() {
                timers.add(timer(index as u32, Timestamp::from_millis(*delay)));
            }
            let mut fired = Vec::new();
            while let Some(due) = timers.next_due() {
                if due > Timestamp::ZERO {
                    prop_assert!(timers.take_due(Timestamp::from_nanos(due.as_nanos() - 1)).is_none());
                }
                let id = timers.take_due(due).expect("it is due");
                let message = timers.fire(id).expect("the first time");
                prop_assert!(timers.fire(id).is_none(), "once");
                fired.push(message.event.timestamp);
            }
            prop_assert_eq!(fired.len(), delays.len());
            prop_assert!(fired.is_sorted());
        }
    }

    #[test]
    fn only_a_new_first_timer_changes_the_alarm() {
        let mut timers = Timers::default();
        assert!(timers.add(timer(0, Timestamp::from_secs(9))));
        assert!(!timers.add(timer(1, Timestamp::from_secs(9))));
        assert!(timers.add(timer(2, Timestamp::from_secs(3))));
    }
}
